// SPDX-License-Identifier: MIT
// What a dead kernel does next is not what happened: the result stays panic.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    panic
    mov $0xcf9, %edx
    mov $6, %al
    out %al, %dx
    stand_still
