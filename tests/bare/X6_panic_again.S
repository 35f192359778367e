// SPDX-License-Identifier: MIT
// A guest that goes on saying that it panicked, through pvpanic and on its console, is given the time of its first word.
// status: 123
// args: --loglevel info --console none
// result: ^reason=panic$
#include "bare.inc"
    cld
1:  mov $0x505, %edx
    mov $3, %al
    out %al, %dx
    mov $COM1, %edx
    mov $line, %esi
2:  lodsb
    test %al, %al
    jz 1b
    out %al, %dx
    jmp 2b
    .data
line:
    .asciz "Kernel panic - not syncing: again\n"
