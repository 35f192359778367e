// SPDX-License-Identifier: MIT
// What a dead kernel does next is not what happened: the result stays panic.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    mov $0x505, %edx
    mov $1, %al
    out %al, %dx
    mov $0xcf9, %edx; mov $6, %al; out %al, %dx
1:  cli
    hlt
    jmp 1b
    .data
none:
    .space 6
