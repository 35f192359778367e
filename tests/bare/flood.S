// SPDX-License-Identifier: MIT
// 100,000 bytes to COM1, then the exit: all of them come out.
#include "bare.inc"
    mov $COM1, %edx
    mov $100000, %ecx
    mov $0x61, %al
1:  mov %al, %bl
    add $5, %edx
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    sub $5, %edx
    mov %bl, %al
    out %al, %dx
    dec %ecx
    jnz 1b
    pass
