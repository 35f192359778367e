// SPDX-License-Identifier: MIT
// A driver of edu that takes the failures of its device badly, each in its own way: for --probe-sweep. The first read
// (of ID) is checked; ones in the second (LIVENESS) are a triple fault, in the third (STATUS) a panic, in the fourth (INTR_STATUS)
// a hang, in a hundred more of INTR_STATUS nothing; a transfer that fails is waited for, an interrupt that gets lost is not.
// args: --device exit --device edu
#include "bare.inc"
#include "edu.inc"
    edu_on                   /* 1 */
    movl $5, 4(%esi)
    mov 4(%esi), %eax        /* its complement */
    cmp $0xffffffff, %eax
    je dies
    mov 0x20(%esi), %eax
    cmp $0xffffffff, %eax
    je panics
    mov $100, %ecx
    mov 0x24(%esi), %eax
1:  cmp $0xffffffff, %eax
    je hangs
    mov 0x24(%esi), %ebx
    dec %ecx
    jnz 1b
    movl $1, 0x60(%esi)
    mov $0x200000, %edi
    movl $1, (%edi)
    movl $0x40000, 0x80(%esi)
    mov %edi, 0x88(%esi)
    movl $4, 0x90(%esi)
    movl $3, 0x98(%esi)      /* from edu, where nothing but zeros are */
2:  cmpl $0, (%edi)
    jnz 2b
    pass
dies:
    lidt nothing
    ud2
panics:
    mov $0x505, %edx
    mov $1, %al
    out %al, %dx
    cli
    hlt
hangs:
    jmp hangs
nothing:
    .word 0
    .long 0
