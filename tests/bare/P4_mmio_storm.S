// SPDX-License-Identifier: MIT
// Bad inputs P2, P4 and X8: reads and writes of 1, 2, 4 and 8 bytes, at any alignment and across pages, over
// configuration space, holes, the interrupt controllers, the serial shadow and the end of RAM. The run goes on to its end.
// args: --device exit --console none
#include "bare.inc"
#include "random.inc"
    cld
    mov $areas, %ebx
1:  step
    mov $600, %ecx
2:  call random
    and 4(%ebx), %eax        /* within the area */
    add (%ebx), %eax
    mov %eax, %edi
    test $3, %cl             /* now and then, over the end of a page */
    jnz 3f
    or $0xfff, %edi
    mov %ecx, %eax
    shr $2, %eax
    and $7, %eax
    sub %eax, %edi
3:  mov (%edi), %al
    mov (%edi), %ax
    mov (%edi), %eax
    xor %eax, %eax
    xor %edx, %edx
    call random
    cmpl $0, 8(%ebx)
    je 4f
    mov %al, (%edi)
    mov %ax, (%edi)
    mov %eax, (%edi)
    movl $-1, (%edi)
    movl $0, (%edi)
    lock incl (%edi)
4:  dec %ecx
    jnz 2b
    add $12, %ebx
    cmpl $0, 4(%ebx)
    jne 1b
    step
    mov $0xe0000000, %esi    /* the bridge is what it was */
    cmpl $0x00081b36, (%esi)
    fail_if ne
    pass
    .data
areas: /* where, mask, written */
    .long 0xe0000000, 0x00000fff, 1 /* the bridge */
    .long 0xe0000000, 0x0fffffff, 1 /* functions and buses that are not there */
    .long 0xc0000000, 0x1fffffff, 1 /* windows without BARs */
    .long 0xf0000000, 0x07ffffff, 1
    .long 0x00ffffe0, 0x0000003f, 1 /* the end of 16 MiB of RAM */
    .long 0xfec00000, 0x000000ff, 0 /* reads: a write may be an NMI to us */
    .long 0xfee00000, 0x00000fff, 0
    .long 0xfed00000, 0x0000ffff, 1
    .long 0xfedf0000, 0x00000fff, 1 /* the serial shadow */
    .long 0xfef00000, 0x0007ffff, 1
    .long 0xfffff000, 0x000007ff, 1
    .long 0, 0, 0
