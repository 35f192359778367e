// SPDX-License-Identifier: MIT
// HLT ends by a line: COM1's transmitter interrupt, IRQ 4, by way of the PIC.
#include "bare.inc"
    lgdt gdtr
    ljmp $0x10, $1f
1:  movl $(0x10 << 16), %eax
    mov $handler, %ecx
    mov %cx, %ax
    mov %eax, idt + 0x24 * 8
    mov $handler, %ecx
    mov $0x8e00, %cx
    mov %ecx, idt + 0x24 * 8 + 4
    lidt idtr
    mov $0x11, %al           /* PICs: vectors 0x20 and 0x28, all masked but IRQ 4 */
    out %al, $0x20
    out %al, $0xa0
    mov $0x20, %al
    out %al, $0x21
    mov $0x28, %al
    out %al, $0xa1
    mov $4, %al
    out %al, $0x21
    mov $2, %al
    out %al, $0xa1
    mov $1, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0xef, %al
    out %al, $0x21
    mov $0xff, %al
    out %al, $0xa1
    mov $COM1 + 4, %edx      /* OUT2 lets the interrupt out; THRE is pending as soon as it is enabled */
    mov $8, %al
    out %al, %dx
    mov $COM1 + 1, %edx
    mov $2, %al
    out %al, %dx
    sti
1:  hlt
    jmp 1b
handler:
    step                     /* 1: it says so: transmitter empty */
    mov $COM1 + 2, %edx
    in %dx, %al
    and $0xf, %al
    cmp $2, %al
    fail_if ne
    pass
    .balign 8
gdt:
    .quad 0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
    .word 31
    .long gdt
idtr:
    .word 0x30 * 8 - 1
    .long idt
    .balign 8
idt:
    .space 0x30 * 8
