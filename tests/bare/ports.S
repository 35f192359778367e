// SPDX-License-Identifier: MIT
// Ports that nobody has read as ones in every width; a register that is there keeps a byte, by single and by string I/O.
#include "bare.inc"
    step                     /* 1 */
    mov $0x1234, %edx
    xor %eax, %eax
    in %dx, %al
    expect %eax 0xff
    step                     /* 2 */
    xor %eax, %eax
    in %dx, %ax
    expect %eax 0xffff
    step                     /* 3 */
    in %dx, %eax
    expect %eax -1
    step                     /* 4: COM1's scratch register */
    mov $COM1 + 7, %edx
    mov $0x5a, %al
    out %al, %dx
    xor %eax, %eax
    in %dx, %al
    expect %eax 0x5a
    step                     /* 5: a string of bytes: the last one stays */
    mov $text, %esi
    mov $5, %ecx
    cld
    rep outsb
    xor %eax, %eax
    in %dx, %al
    expect %eax 'o'
    step                     /* 6: and comes back as often as it is read */
    mov $buffer, %edi
    mov $4, %ecx
    rep insb
    cmpl $0x6f6f6f6f, buffer
    fail_if ne
    step                     /* 7: a count of 0 does nothing */
    xor %ecx, %ecx
    mov $text, %esi
    rep outsb
    in %dx, %al
    cmp $'o', %al
    fail_if ne
    step                     /* 8: backwards */
    std
    mov $text + 4, %esi
    mov $5, %ecx
    rep outsb
    cld
    in %dx, %al
    cmp $'h', %al
    fail_if ne
    pass
text:
    .ascii "hello"
    .balign 4
buffer:
    .long 0
