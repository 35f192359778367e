// SPDX-License-Identifier: MIT
// ivshmem-plain: two functions with one file are one memory, wherever their BARs are. With the word `pair` the payload
// wants a second guest with the same file, and the two pass a message to and fro; who comes first is A.
// args: --device exit --device ivshmem-plain,path=$WORK/shared,size=64K --device ivshmem-plain,path=$WORK/shared --console none
#include "bare.inc"
#include "pci.inc"
    mov 16(%ebx), %eax       /* the command line, whose last word may be it */
    mov %eax, %edi
    find IVSHMEM
    command COMMAND_MEMORY
    mov 0x18(%esi), %ebx
    and $~15, %ebx
1:  cmpb $0, (%edi)
    je alone
    cmpl $0x72696170, (%edi) /* "pair" */
    je pair
    inc %edi
    jmp 1b

alone:
    step                     /* 1: registers that say nothing */
    mov 0x10(%esi), %edi
    cmpl $0, 8(%edi)
    fail_if ne
    step                     /* 2: two windows */
    find_next IVSHMEM
    command COMMAND_MEMORY
    mov 0x18(%esi), %edi
    and $~15, %edi
    cmp %edi, %ebx
    fail_if e
    movl $0x12345678, 0xfffc(%ebx)
    cmpl $0x12345678, 0xfffc(%edi)
    fail_if ne
    step                     /* 3: one moves: the same memory, seen elsewhere, and gone from where it was */
    movl $0xf8880000, 0x18(%esi)
    movl $0, 0x1c(%esi)
    cmpl $0x12345678, 0xf888fffc
    fail_if ne
    cmpl $-1, 0xfffc(%edi)
    fail_if ne
    movl $5, 0xf888fffc
    cmpl $5, 0xfffc(%ebx)
    fail_if ne
    step                     /* 4: program code in it runs, and follows */
    movl $0x00c3b042, 0x100(%ebx) /* inc %edx as an opcode that every mode has; mov $0xc3, %al; then ret */
    movl $0xc3, 0x103(%ebx)
    xor %edx, %edx
    mov $0xf8880100, %eax
    call *%eax
    expect %edx 1
    step                     /* 5: decoding off: nobody there; on: as it was */
    command 0
    cmpl $-1, 0xf888fffc
    fail_if ne
    command COMMAND_MEMORY
    cmpl $5, 0xf888fffc
    fail_if ne
    pass

pair:                        /* +0 who is there, +4 whose turn, +0x1000 the message */
    step                     /* 1 */
    xor %eax, %eax
    mov $1, %ecx
    lock cmpxchg %ecx, (%ebx)
    mov $0, %edx             /* A takes even turns, B the others */
    jz 1f
    mov $1, %edx
1:  mov 4(%ebx), %eax
    cmp $400, %eax           /* on one processor each turn takes a time slice */
    jae 3f
    mov %eax, %ecx
    and $1, %ecx
    cmp %edx, %ecx
    jne 1b
    test %eax, %eax          /* what the other one wrote is there before its turn ended */
    jz 2f
    cmp %eax, 0x1000(%ebx)
    fail_if ne
2:  inc %eax
    mov %eax, 0x1000(%ebx)
    mov %eax, 4(%ebx)
    jmp 1b
3:  mov %edx, %eax           /* A's status is 10, B's is 11 */
    add $10, %al
    end_al
