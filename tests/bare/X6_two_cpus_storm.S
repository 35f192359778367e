// SPDX-License-Identifier: MIT
// Two CPUs at once at the clock, the serial ports, the keyboard controller, power management and configuration space: each
// draws ports of its own, none that ends the machine. The first CPU's end is the end.
// args: --device exit --console none -c 2
#include "bare.inc"
#include "cpus.inc"
#include "random.inc"
    second_cpu
    mov $0x2545f491, %esi
    mov $20000, %ebx
    call storm
    step
    cmpl $2, cpus_up         /* the other is at it, too */
    fail_if b
    movl $0xc4500, LAPIC + 0x300 /* INIT and SIPI while it works */
    movl $0xc4608, LAPIC + 0x300
    movl $0xc4608, LAPIC + 0x300
    movl $0xc4500, LAPIC + 0x300
    mov $1000, %ebx
    call storm
    pass

storm:                       /* EBX accesses from the seed ESI */
    next %esi %eax
    mov %esi, %eax
    shr $8, %eax
    and $63, %eax
    movzwl ports(, %eax, 2), %edx
    mov %esi, %eax
    shr $16, %eax
    test $1, %esi
    jz 2f
    out %al, %dx
    jmp 3f
2:  in %dx, %al
    test $2, %esi
    jz 3f
    in %dx, %eax
3:  dec %ebx
    jnz storm
    ret

second:
    mov $0x1234567, %esi
1:  here_i_am
    mov $1000, %ebx
    call storm
    jmp 1b

    .data
ports:
    .word 0x70, 0x71, 0x70, 0x71, 0x70, 0x71, 0x70, 0x71
    .word 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff
    .word 0x2f8, 0x2f9, 0x2fa, 0x2fb, 0x2fc, 0x2fd, 0x2fe, 0x2ff
    .word 0x3e8, 0x3e9, 0x3ea, 0x3eb, 0x3ec, 0x3ed, 0x3ee, 0x3ef
    .word 0x2e8, 0x2e9, 0x2ea, 0x2eb, 0x2ec, 0x2ed, 0x2ee, 0x2ef
    .word 0x600, 0x601, 0x602, 0x603, 0x608, 0x609, 0x60a, 0x60b
    .word 0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0xcfa, 0xcfb, 0xcfc
    .word 0x60, 0x61, 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x80
