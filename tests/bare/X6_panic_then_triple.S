// SPDX-License-Identifier: MIT
// What a dead kernel does next is not what happened: the result stays panic.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    mov $0x505, %edx
    mov $1, %al
    out %al, %dx
    lidt none; ud2
1:  cli
    hlt
    jmp 1b
    .data
none:
    .space 6
