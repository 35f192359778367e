// SPDX-License-Identifier: MIT
// Bad input P2: all ones to all 64 dwords of the bridge, through the ports and through ECAM, in every width. Cache line
// size and latency timer are the guest's own; everything else has to be as it was.
#include "bare.inc"
    mov $0xe0000000, %esi
    mov $before, %edi
    mov $64, %ecx
1:  mov (%esi), %eax
    mov %eax, (%edi)
    add $4, %esi
    add $4, %edi
    loop 1b

    mov $0, %ebx         /* dwords through the ports */
1:  lea 0x80000000(%ebx), %eax
    mov $0xcf8, %edx
    out %eax, %dx
    mov $-1, %eax
    mov $0xcfc, %edx
    out %eax, %dx
    add $4, %ebx
    cmp $256, %ebx
    jb 1b
    call compare         /* 1 */

    mov $0xe0000000, %esi
1:  movl $-1, (%esi)     /* through ECAM */
    movw $-1, (%esi)
    movw $-1, 2(%esi)
    movb $-1, (%esi)
    movb $-1, 1(%esi)
    movb $-1, 2(%esi)
    movb $-1, 3(%esi)
    movl $-1, 1(%esi)    /* across the dword: dropped */
    add $4, %esi
    cmp $0xe0001000, %esi /* and past its 256 bytes */
    jb 1b
    call compare         /* 2 */

    step                 /* 3: zeros change nothing either */
    mov $0xe0000000, %esi
1:  movl $0, (%esi)
    add $4, %esi
    cmp $0xe0000100, %esi
    jb 1b
    call compare         /* 4 */
    pass

compare:
    step
    mov $0xe0000000, %esi
    mov $before, %edi
1:  mov (%esi), %eax
    cmp $0xe000000c, %esi
    jne 2f
    and $0xffff0000, %eax
2:  cmp %eax, (%edi)
    jne failed
    add $4, %esi
    add $4, %edi
    cmp $0xe0000100, %esi
    jb 1b
    ret

    .bss
before:
    .space 256
