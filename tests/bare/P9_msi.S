// SPDX-License-Identifier: MIT
// MSI of edu: each raise is a message, to the vector that stands there now; none with bus mastering off. Then the bad inputs:
// P8, the entry rewritten and switched (10^6 times by make soak) under an interrupting device; P9, addresses and data at random.
// args: --device exit --device edu --console none
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "irqs.inc"
#define RAISE 0x60
#define ACK   0x64
    irqs_on
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %ebx
    line 17, 0x50            /* nothing may come by this way */
    step                     /* 1: a message */
    message 0x41             /* EDI stays at the capability */
    movl $1, RAISE(%ebx)
    take_one
    cmpl $1, hits(0x41)
    fail_if ne
    step                     /* 2: one more for the next cause, acknowledged or not; none for the acknowledgement */
    movl $2, RAISE(%ebx)
    take_one
    movl $-1, ACK(%ebx)
    take
    expect %ecx 0
    step                     /* 3: another vector: from now on */
    movw $0x42, 12(%edi)
    movl $1, RAISE(%ebx)
    take_one
    cmpl $1, hits(0x42)
    fail_if ne
    step                     /* 4: bus mastering off: no message, and none later on */
    command COMMAND_MEMORY
    movl $1, RAISE(%ebx)
    take
    expect %ecx 0
    command (COMMAND_MEMORY | COMMAND_MASTER)
    take
    expect %ecx 0
    step                     /* 5: to a CPU that is not there */
    movl $0xfee77000, 4(%edi)
    movl $1, RAISE(%ebx)
    take
    expect %ecx 0
    movl $LAPIC, 4(%edi)
    step                     /* 6, P8: a new vector each time, off and on, and each time it comes, where it should */
    movl $-1, ACK(%ebx)
    mov $(20000 * TEST_SCALE), %edx
1:  mov %edx, %eax
    and $0xf, %eax
    or $0x40, %eax
    mov %ax, 12(%edi)
    movw $0, 2(%edi)
    movw $1, 2(%edi)
    test $0xf, %edx          /* (taking one costs most) */
    jnz 2f
    movl $1, RAISE(%ebx)
    take_one
2:  dec %edx
    jnz 1b
    step                     /* 7, P9: messages that are none */
    mov $2000, %edx
3:  call random
    mov %eax, 4(%edi)
    call random
    mov %eax, %ecx
    and $3, %ecx
    jz 4f
    xor %eax, %eax           /* mostly below 4 GiB, and in the range of the APICs */
    orl $0xfee00000, 4(%edi)
4:  mov %eax, 8(%edi)
    call random
    and $0xfff0, %eax
    or $0x0200, %eax         /* no INIT, NMI or SIPI to ourselves: SMI, reserved, ExtINT, lowest … */
    and $0xfbff, %eax
    mov %ax, 12(%edi)
    movl $1, RAISE(%ebx)
    dec %edx
    jnz 3b
    step                     /* 8: and after all that it works */
    movl $LAPIC, 4(%edi)
    movl $0, 8(%edi)
    movw $0x43, 12(%edi)
    take
    mov hits(0x43), %edx
    movl $1, RAISE(%ebx)
    take_one
    inc %edx
    cmp %edx, hits(0x43)
    fail_if ne
    cmpl $0, hits(0x50)      /* MSI was on throughout, INTx never */
    fail_if ne
    pass
