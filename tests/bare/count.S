// SPDX-License-Identifier: MIT
// Numbers, one a line of eight digits, for ever: a reader who comes back later finds them in order.
// args: --timeout 1
// status: 124
// out: ^00000100$
#include "bare.inc"
    mov $COM1, %edx
    movl $0x30303030, digits
    movl $0x30303030, digits + 4
    cld
line:
    add $5, %edx
1:  in %dx, %al              /* line status: transmitter empty */
    test $0x20, %al
    jz 1b
    sub $5, %edx
    mov $digits, %esi
    mov $9, %ecx
    rep outsb
    mov $digits + 7, %edi
2:  incb (%edi)
    cmpb $0x3a, (%edi)
    jne line
    movb $0x30, (%edi)
    dec %edi
    jmp 2b
    .data
digits:
    .ascii "00000000\n"
