// SPDX-License-Identifier: MIT
// What goes to COM1 goes to standard output: polled byte by byte, and by a string.
// out: ^first line$
// out: ^second line$
#include "bare.inc"
    mov $text, %esi
    mov $COM1, %edx
1:  add $5, %edx             /* line status: transmitter empty */
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    sub $5, %edx
    lodsb
    test %al, %al
    jz 3f
    out %al, %dx
    jmp 1b
3:  mov $string, %esi
    mov $string_end - string, %ecx
    cld
    rep outsb
    pass
text:
    .asciz "first line\n"
string:
    .ascii "second line\n"
string_end:
