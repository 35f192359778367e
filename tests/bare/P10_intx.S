// SPDX-License-Identifier: MIT
// Bad input P10, INTx: two functions on one line, which stays up until both are low; INTX_DISABLE while it is asserted; a
// storm of status reads; MSI switched on and off while it is asserted; a line without a driver. Status bit 3 tells the truth throughout.
// args: --device exit --device edu,addr=1.0 --device edu,addr=9.0 --console none
#include "bare.inc"
#include "pci.inc"
#include "irqs.inc"
#define RAISE 0x60
#define ACK   0x64
#define ISR   0x24
    irqs_on
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov %esi, first
    mov 0x10(%esi), %ebx
    find_next EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %edi     /* ESI, EDI: the second; EBX: the first */
    step                     /* 1: the line that Interrupt Line says, the same for both */
    cmpb $17, 0x3c(%esi)
    fail_if ne
    mov first, %eax
    cmpb $17, 0x3c(%eax)
    fail_if ne
    line 17, 0x41
    take
    expect %ecx 0
    step                     /* 2: one up: an interrupt at each acknowledgement at the APIC, for as long as it is up */
    movl $1, RAISE(%ebx)
    take
    cmp $1, %ecx
    fail_if b
    testw $8, 6(%esi)        /* not the second's */
    fail_if nz
    mov first, %eax
    testw $8, 6(%eax)
    fail_if z
    step                     /* 3: both up, the first down: still up */
    movl $1, RAISE(%edi)
    movl $-1, ACK(%ebx)
    take
    cmp $1, %ecx
    fail_if b
    testw $8, 6(%esi)
    fail_if z
    step                     /* 4: both down: quiet */
    movl $-1, ACK(%edi)
    take                     /* what was on its way */
    take
    expect %ecx 0
    testw $8, 6(%esi)
    fail_if nz
    step                     /* 5: disabled while asserted: quiet, and Status says that it would be up */
    movl $0x80, RAISE(%edi)
    take
    command (COMMAND_MEMORY | COMMAND_MASTER | INTX_DISABLE)
    take
    take
    expect %ecx 0
    testw $8, 6(%esi)
    fail_if z
    step                     /* 6: the other one is not disabled */
    movl $1, RAISE(%ebx)
    take
    cmp $1, %ecx
    fail_if b
    movl $-1, ACK(%ebx)
    take
    take
    expect %ecx 0
    step                     /* 7: enabled again: there it is */
    command (COMMAND_MEMORY | COMMAND_MASTER)
    take
    cmp $1, %ecx
    fail_if b
    step                     /* 8: MSI on while it is asserted: the line falls; off: it comes back */
    push %edi
    message 0x42
    pop %edi
    take
    take
    expect %ecx 0
    push %edi
    message_off
    pop %edi
    take
    cmp $1, %ecx
    fail_if b
    step                     /* 9: a storm of reads changes nothing */
    mov $5000, %edx
1:  cmpl $0x80, ISR(%edi)
    fail_if ne
    cmpl $0, ISR(%ebx)
    fail_if ne
    dec %edx
    jnz 1b
    take
    cmp $1, %ecx
    fail_if b
    step                     /* 10: a storm of raises and acknowledgements, and quiet after it */
    mov $3000, %edx
2:  movl $2, RAISE(%ebx)
    movl $4, RAISE(%edi)
    movl $-1, ACK(%ebx)
    movl $-1, ACK(%edi)
    dec %edx
    jnz 2b
    take
    take
    expect %ecx 0
    step                     /* 11: up with nobody who serves it, for a thousand interrupts; the machine goes on */
    movl $1, RAISE(%ebx)
    mov $1000, %edx
3:  take
    sub %ecx, %edx
    ja 3b
    line_off 17
    take
    take
    expect %ecx 0
    pass                     /* left asserted: so the machine ends */
    .data
first:
    .long 0
