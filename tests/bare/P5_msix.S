// SPDX-License-Identifier: MIT
// MSI-X of virtio-rng: a masked vector sets its pending bit and is sent when it is unmasked, by its own mask and by the
// function's; the entry is what counts at that moment. Then the bad inputs P5 and P6: every offset of the table's BAR, past
// the last entry and in the pending bits, in every size and unaligned; and P8: an entry rewritten and masked without end.
// args: --device exit --device virtio-rng --console none
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "irqs.inc"
#include "rng.inc"
    irqs_on
    rng_find
    call start               /* EBX: notify address */
    step                     /* 1: a message for each buffer */
    first_message
    cmpl $1, hits(0x41)
    fail_if ne
    step                     /* 2: masked: the pending bit, and no message */
    movl $ENTRY_MASK, 12(%edi)
    call kick
    call wait_pending
    take
    expect %ecx 0
    step                     /* 3: once, however often */
    call kick
    call kick
    movl $0, 12(%edi)
    take_one
    mov pending, %eax
    testl $1, (%eax)
    fail_if nz
    step                     /* 4: masked, the entry rewritten, unmasked: the new one */
    movl $ENTRY_MASK, 12(%edi)
    call kick
    call wait_pending
    movl $0x42, 8(%edi)
    take
    expect %ecx 0
    movl $0, 12(%edi)
    take_one
    cmpl $1, hits(0x42)
    fail_if ne
    step                     /* 5: the function's mask */
    mov msix, %eax
    movb $ENABLE | MASKALL, 3(%eax)
    call kick
    call wait_pending
    take
    expect %ecx 0
    mov msix, %eax
    movb $ENABLE, 3(%eax)
    take_one
    step                     /* 6: bus mastering off: the device can do nothing, its message is not kept */
    pushl hits(0x42)
    command COMMAND_MEMORY
    movw $0, (%ebx)
    command (COMMAND_MEMORY | COMMAND_MASTER)
    take
    call start               /* it may have given up its queue */
    call kick
    take_one
    pop %edx
    inc %edx
    cmp hits(0x42), %edx
    fail_if ne
    step                     /* 7, P6: bytes, words and unaligned dwords are ones, and change nothing */
    mov $4, %ecx
1:  mov $0xfee01234, %eax
    movb $-1, (%edi)
    movw $-1, 2(%edi)
    movl $-1, 1(%edi)
    movl $-1, 6(%edi)
    cmpb $-1, (%edi)
    fail_if ne
    cmpl $-1, 2(%edi)
    fail_if ne
    loop 1b
    cmpl $LAPIC, (%edi)
    fail_if ne
    cmpl $0x42, 8(%edi)
    fail_if ne
    step                     /* 8, P5: past the last entry, and all of the pending bits: not to be written */
    mov entries, %ecx
    shl $4, %ecx
    add %edi, %ecx
2:  movl $-1, (%ecx)
    cmpl $-1, (%ecx)
    fail_if e
    add $4, %ecx
    mov table, %eax
    add $0x1000, %eax
    cmp %eax, %ecx
    jb 2b
    mov pending, %eax
    cmpl $0, (%eax)
    fail_if ne
    step                     /* 9: every dword of the table: what sticks is the address, data, and the mask bit alone */
    mov msix, %eax
    movb $ENABLE | MASKALL, 3(%eax)
    mov table, %edx
    mov entries, %ecx
3:  movl $-1, (%edx)
    movl $-1, 4(%edx)
    movl $-1, 8(%edx)
    movl $-1, 12(%edx)
    cmpl $-4, (%edx)
    fail_if ne
    cmpl $-1, 8(%edx)
    fail_if ne
    cmpl $1, 12(%edx)
    fail_if ne
    add $16, %edx
    loop 3b
    mov msix, %eax
    movb $ENABLE, 3(%eax)
    step                     /* 10, P8: rewritten and masked under an interrupting device, with messages that are none among them */
    mov $4000, %edx
4:  call random
    mov %eax, (%edi)
    test $7, %al
    jz 5f
    movl $LAPIC, (%edi)
5:  movl $0, 4(%edi)
    and $0xf, %eax
    or $0x50, %eax
    mov %eax, 8(%edi)
    mov %edx, %eax
    and $1, %eax
    mov %eax, 12(%edi)
    test $63, %edx
    jnz 6f
    call kick
    take
6:  dec %edx
    jnz 4b
    step                     /* 11: and it is as good as new */
    mov $0x43, %eax
    call set_entry
    take
    mov hits(0x43), %edx
    call kick
    take_one
    inc %edx
    cmp %edx, hits(0x43)
    fail_if ne
    pass
