// SPDX-License-Identifier: MIT
// What a dead kernel does next is not what happened: the result stays panic.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    panic
    mov $0x604, %edx
    mov $0x3400, %eax
    out %ax, %dx
    stand_still
