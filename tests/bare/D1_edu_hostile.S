// SPDX-License-Identifier: MIT
// A hostile driver of edu: transfers that leave its buffer (D1), to and from what is no RAM, its own BAR among it, and above
// its mask (D2); bytes and words, offsets without a register, causes acknowledged that are not there (D5); and an end while the
// longest factorial and a transfer run (D3).
// args: --device exit --device edu,dma_mask=0xefffffff --console none
// err: edu0: dma refused: not in the buffer
#include "bare.inc"
#include "pci.inc"
#define IN  0x500000
#define OUT 0x510000
    cld
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %ebx
    mov %ebx, own
    mov $IN, %edi
    mov $0x400, %ecx
1:  mov %edi, (%edi)
    add $4, %edi
    loop 1b
    step                     /* 1: the buffer filled */
    mov $fill, %esi
    call transfer
    step                     /* 2, D1: and no transfer past it changes it */
    mov $outside, %esi
2:  call transfer
    cmp $outside_end, %esi
    jb 2b
    movl $0x99999999, OUT    /* what comes out by such a one is nothing */
    mov $leaving, %esi
3:  call transfer
    cmpl $0x99999999, OUT
    fail_if ne
    cmp $leaving_end, %esi
    jb 3b
    step                     /* 3, D2: addresses that are no RAM: its own registers, the APIC, configuration space, none */
    movl $0x12345678, 4(%ebx)
    mov $devices, %esi
4:  call transfer
    cmp $devices_end, %esi
    jb 4b
    cmpl $~0x12345678, 4(%ebx)
    fail_if ne
    cmpl $0x00081b36, ECAM
    fail_if ne
    step                     /* 4, D2: above the mask: cut off */
    mov $above, %esi
    call transfer
    cmpl $IN, OUT + 0x2000
    fail_if ne
    step                     /* 5: the buffer is as it was */
    mov $drain, %esi
    call transfer
    mov $IN, %esi
    mov $OUT, %edi
    mov $0x400, %ecx
    repe cmpsl
    fail_if ne
    step                     /* 6, D5: sizes and offsets */
    movl $0, 4(%ebx)
    xor %ecx, %ecx
5:  cmpb $-1, (%ebx, %ecx)
    fail_if ne
    cmpw $-1, (%ebx, %ecx)
    fail_if ne
    movb $0x55, (%ebx, %ecx)
    movw $0x5555, (%ebx, %ecx)
    test $3, %cl             /* unaligned */
    jz 6f
    cmpl $-1, (%ebx, %ecx)
    fail_if ne
    movl $0x55555555, (%ebx, %ecx)
6:  inc %ecx
    cmp $0x120, %ecx
    jb 5b
    mov $0x28, %ecx          /* nobody's */
7:  movl $0, (%ebx, %ecx)
    cmpl $-1, (%ebx, %ecx)
    fail_if ne
    add $4, %ecx
    cmp $0x80, %ecx
    jb 7b
    cmpl $-1, 0x40000(%ebx)  /* the buffer is not to be seen */
    fail_if ne
    cmpl $-1, 0xffffc(%ebx)
    fail_if ne
    cmpl $-1, 4(%ebx)        /* and nothing of it did anything */
    fail_if ne
    cmpl $0x010000ed, (%ebx)
    fail_if ne
    cmpl $0, 0x20(%ebx)
    fail_if ne
    movl $-1, 0x64(%ebx)
    movl $0x10, 0x60(%ebx)
    movl $0xffffffef, 0x64(%ebx) /* not what is up */
    cmpl $0x10, 0x24(%ebx)
    fail_if ne
    step                     /* 7, D3: the longest factorial, again and again, and an end in the middle of it */
    mov $100, %ecx
8:  movl $-1, 8(%ebx)
    loop 8b
9:  testl $1, 0x20(%ebx)
    jnz 9b
    cmpl $0, 8(%ebx)
    fail_if ne
    mov $fill, %esi
    call registers
    movl $-1, 8(%ebx)
    pass

transfer:                    /* the next of ESI's: source, destination, count, command */
    call registers
1:  testl $1, 0x98(%ebx)
    jnz 1b
    ret
registers:
    lodsl
    call address
    mov %eax, 0x80(%ebx)
    lodsl
    call address
    mov %eax, 0x88(%ebx)
    lodsl
    mov %eax, 0x90(%ebx)
    lodsl
    mov %eax, 0x98(%ebx)
    ret
address:                     /* 4 stands for its own BAR */
    cmp $4, %eax
    jne 1f
    mov own, %eax
1:  ret

    .data
own:
    .long 0
fill:
    .long IN, 0x40000, 0x1000, 1
drain:
    .long 0x40000, OUT, 0x1000, 3
outside:
    .long OUT, 0x40000, 0x1001, 1
    .long OUT, 0x40001, 0x1000, 1
    .long OUT, 0x3ffff, 2, 1
    .long OUT, 0x40fff, 2, 1
    .long OUT, 0, 16, 1
    .long OUT, 0x40000, 0xffffffff, 1
    .long OUT, 0xffffffff, 0x41000, 1
outside_end:
leaving:
    .long 0x41000, OUT, 4, 3
    .long 0x40ffd, OUT, 4, 3
    .long 0x3fffc, OUT, 0x1004, 3
    .long 0x40000, OUT, 0x80000000, 3
    .long 0xffffffff, OUT, 4, 3
leaving_end:
devices:
    .long 0x40000, 4, 16, 3
    .long 4, 0x40000, 16, 1
    .long 0x40000, ECAM, 16, 3
    .long 0x40000, 0x7fffffc, 16, 3
    .long 0x8000000, 0x40000, 16, 1
devices_end:
above:
    .long 0x40000, 0x10000000 | OUT + 0x2000, 4, 3
