// SPDX-License-Identifier: MIT
// Something to debug (tests/cli/gdb.sh): two calls, a counter, a second CPU that counts for ever. Run alone it ends with 42.
// args: --device exit -c 2
// status: 42
#include "bare.inc"
    .globl work, loop_top, counter, spin, other, protected
    call work
    call work
    movl $0x12345678, %eax
    mov $5, %ecx
loop_top:
    incl counter
    dec %ecx
    jnz loop_top
    movl $0x1ff, LAPIC + 0xf0
    mov $trampoline, %esi
    mov $0x8000, %edi
    mov $trampoline_end - trampoline, %ecx
    cld
    rep movsb
    movl $0xc4500, LAPIC + 0x300
    movl $0xc4608, LAPIC + 0x300
spin:
    pause
    cmpl $0, other
    je spin
    mov $42, %al
    end_al
work:
    push %ebx
    mov $7, %ebx
    add %ebx, counter
    pop %ebx
    ret
    .code16
trampoline:
    xor %ax, %ax
    mov %ax, %ds
1:  incl 0x9000
    cmpl $1000, 0x9000
    jb 1b
    mov $other, %ebx
    movl $0, 0x9000
    lgdtl gdt_pointer - trampoline + 0x8000
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $protected
gdt_pointer:
    .short gdt_end - gdt - 1
    .long gdt
trampoline_end:
    .code32
protected:
    mov $16, %eax
    mov %eax, %ds
1:  incl other
    jmp 1b
    .balign 8
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_end:
    .data
counter: .long 0
other:   .long 0
