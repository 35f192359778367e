// SPDX-License-Identifier: MIT
// RAM from 1 MiB to its end can be written and holds what was written; above it reads are all ones, writes are dropped.
#include "bare.inc"
    step                     /* 1: one word in each MiB from 5 up */
    mov $0x500000, %edi
1:  mov %edi, (%edi)
    add $0x100000, %edi
    cmp $0x1000000, %edi
    jb 1b
    mov $0x500000, %edi
2:  cmp %edi, (%edi)
    fail_if ne
    add $0x100000, %edi
    cmp $0x1000000, %edi
    jb 2b
    step                     /* 2: the last word */
    movl $0x12345678, 0xfffffc
    cmpl $0x12345678, 0xfffffc
    fail_if ne
    step                     /* 3: nothing behind it, in all sizes */
    movl $0, 0x1000000
    cmpl $-1, 0x1000000
    fail_if ne
    cmpw $-1, 0x1000002
    fail_if ne
    cmpb $-1, 0x1000003
    fail_if ne
    step                     /* 4: an access over the end: RAM's part is RAM's, the rest reads as ones */
    movw $0x3412, 0xfffffe
    mov 0xfffffe, %eax
    cmp $0x3412, %ax
    fail_if ne
    step                     /* 5: a read of nothing changes no other register byte */
    mov $0x11223344, %eax
    movb 0xd0000000, %al
    expect %eax 0x112233ff
    pass
