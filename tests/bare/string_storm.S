// SPDX-License-Identifier: MIT
// Strings longer than a page of items, of words, out and in: every item is dispatched. The scratch register takes the
// low byte only, so the count is told by the time it takes: all of them, or the guest would not end in order.
#include "bare.inc"
    cld
    step                     /* 1: 10,000 bytes out */
    mov $COM1 + 7, %edx
    mov $0x500000, %edi
    mov $10000, %ecx
    mov $0x41, %al
    rep stosb
    movb $0x42, -1(%edi)
    mov $0x500000, %esi
    mov $10000, %ecx
    rep outsb
    test %ecx, %ecx
    fail_if nz
    cmp $0x500000 + 10000, %esi
    fail_if ne
    step                     /* 2: the last of them was the last */
    in %dx, %al
    cmp $0x42, %al
    fail_if ne
    step                     /* 3: 5,000 double words in, of nobody's port */
    mov $0x1234, %edx
    mov $0x600000, %edi
    mov $5000, %ecx
    rep insl
    cmpl $-1, 0x600000
    fail_if ne
    cmpl $-1, 0x600000 + 19996
    fail_if ne
    cmpl $0, 0x600000 + 20000
    fail_if ne
    pass
