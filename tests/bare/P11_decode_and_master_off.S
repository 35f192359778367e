// SPDX-License-Identifier: MIT
// Bad input P11: DMA with bus mastering off, accesses with memory or I/O decoding off, configuration of what is not there.
// args: --device exit --device edu --device pci-testdev --console none
// err: edu0: dma refused: bus master off
#include "bare.inc"
#include "pci.inc"
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %ebx
    movl $0x11223344, 0x500000
    step                     /* 1: in, with mastering on, */
    movl $0x500000, 0x80(%ebx)
    movl $0x40000, 0x88(%ebx)
    movl $4, 0x90(%ebx)
    movl $1, 0x98(%ebx)
1:  testl $1, 0x98(%ebx)
    jnz 1b
    step                     /* 2: out, with mastering off when it would happen: it ends, and nothing was written */
    movl $0x40000, 0x80(%ebx)
    movl $0x500010, 0x88(%ebx)
    movl $0, 0x500010
    movl $3, 0x98(%ebx)
    command COMMAND_MEMORY
2:  testl $1, 0x98(%ebx)
    jnz 2b
    cmpl $0, 0x500010
    fail_if ne
    step                     /* 3: on again: it works */
    command (COMMAND_MEMORY | COMMAND_MASTER)
    movl $3, 0x98(%ebx)
3:  testl $1, 0x98(%ebx)
    jnz 3b
    cmpl $0x11223344, 0x500010
    fail_if ne
    step                     /* 4: memory decoding off while a transfer runs: it goes on, unseen */
    movl $0x500020, 0x88(%ebx)
    movl $3, 0x98(%ebx)
    command COMMAND_MASTER
    cmpl $-1, 0x98(%ebx)
    fail_if ne
    movl $0x99, 4(%ebx)      /* and nobody takes writes */
4:  cmpl $0x11223344, 0x500020
    jne 4b
    command (COMMAND_MEMORY | COMMAND_MASTER)
    cmpl $~0x99, 4(%ebx)
    fail_if e
    step                     /* 5: I/O decoding off: ports are nobody's, memory is still there */
    find PCI_TESTDEV
    mov 0x10(%esi), %ebx
    mov 0x14(%esi), %edx
    and $0xfffc, %edx
    command (COMMAND_MEMORY | COMMAND_IO)
    mov $1, %al
    out %al, %dx
    inc %edx
    in %dx, %al
    cmp $1, %al
    fail_if ne
    command COMMAND_MEMORY
    in %dx, %al
    cmp $0xff, %al
    fail_if ne
    cmpb $1, 1(%ebx)
    fail_if ne
    command COMMAND_IO
    in %dx, %al
    cmp $1, %al
    fail_if ne
    cmpb $0xff, 1(%ebx)
    fail_if ne
    step                     /* 6: every function that is not there, on this bus and the last, is ones and takes writes */
    mov $ECAM, %esi
    xor %ecx, %ecx
5:  mov (%esi), %eax
    cmp $-1, %eax
    je 6f
    inc %ecx
    jmp 7f
6:  movl $0, (%esi)
    movl $0, 4(%esi)
    movl $0xc0000000, 0x10(%esi)
    cmpl $-1, (%esi)
    fail_if ne
7:  add $0x1000, %esi
    cmp $ECAM + 0x100000, %esi
    jb 5b
    expect %ecx 3
    mov $ECAM + 0xff00000, %esi
8:  cmpl $-1, (%esi)
    fail_if ne
    movl $-1, 4(%esi)
    add $0x1000, %esi
    cmp $ECAM + 0x10000000, %esi
    jb 8b
    pass
