// SPDX-License-Identifier: MIT
// MSI-X of virtio-rng: a masked vector sets its pending bit and is sent when it is unmasked, by its own mask and by the
// function's; the entry is what counts at that moment. Then the bad inputs P5 and P6: every offset of the table's BAR, past
// the last entry and in the pending bits, in every size and unaligned; and P8: an entry rewritten and masked without end.
// args: --device exit --device virtio-rng --console none
// seconds: 60
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "irqs.inc"
#define VIRTIO_RNG 0x10441af4
#define DESC       0x600000
#define AVAIL      0x601000
#define USED       0x602000
#define BUFFER     0x603000
#define ENTRY_MASK 1
#define ENABLE     0x80
#define MASKALL    0x40
    irqs_on
    find VIRTIO_RNG
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov $0x11, %al           /* the table and the pending bits */
    call find_capability
    mov %edi, msix
    mov 4(%edi), %eax
    call bar_and_offset
    mov %eax, table
    mov 8(%edi), %eax
    call bar_and_offset
    mov %eax, pending
    movzwl 2(%edi), %eax
    and $0x7ff, %eax
    inc %eax
    mov %eax, entries
    call start               /* EBX: notify address */
    step                     /* 1: a message for each buffer */
    mov table, %edi
    mov $0x41, %eax
    call set_entry
    mov msix, %eax
    movb $ENABLE, 3(%eax)
    call kick
    take_one
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

bar_and_offset:              /* EAX: of a capability; to an address */
    mov %eax, %edx
    and $7, %edx
    and $~7, %eax
    mov 0x10(%esi, %edx, 4), %edx
    and $~15, %edx
    add %edx, %eax
    ret

set_entry:                   /* entry 0 to vector EAX, unmasked */
    movl $LAPIC, (%edi)
    movl $0, 4(%edi)
    mov %eax, 8(%edi)
    movl $0, 12(%edi)
    ret

virtio_area:                 /* EAX: the address of the virtio structure of type AL; EDX: its capability */
    mov %esi, %edx
    add $0x33, %edx
1:  movzbl 1(%edx), %edx
    test %edx, %edx
    jz failed
    add %esi, %edx
    cmpb $9, (%edx)
    jne 1b
    cmp %al, 3(%edx)
    jne 1b
    push %edx
    movzbl 4(%edx), %eax
    or 8(%edx), %eax
    call bar_and_offset
    pop %edx
    ret

start:                       /* the device up, queue 0 with vector 0; EBX: where to kick it. EDI stays */
    mov $1, %al
    call virtio_area
    mov %eax, %ecx
    movb $0, 20(%ecx)
1:  cmpb $0, 20(%ecx)
    jne 1b
    movb $1, 20(%ecx)
    movb $3, 20(%ecx)
    movl $1, 8(%ecx)         /* feature 32: VERSION_1 */
    movl $1, 12(%ecx)
    movl $0, 8(%ecx)
    movl $0, 12(%ecx)
    movb $0xb, 20(%ecx)
    movw $0, 22(%ecx)
    movw $8, 24(%ecx)
    movw $0, 26(%ecx)
    movl $DESC, 32(%ecx)
    movl $0, 36(%ecx)
    movl $AVAIL, 40(%ecx)
    movl $0, 44(%ecx)
    movl $USED, 48(%ecx)
    movl $0, 52(%ecx)
    movl $0, AVAIL
    movl $0, USED
    movl $BUFFER, DESC
    movl $0, DESC + 4
    movl $16, DESC + 8
    movl $2, DESC + 12       /* the device writes */
    movw $1, 28(%ecx)
    movb $0xf, 20(%ecx)
    movzwl 30(%ecx), %ebx
    mov $2, %al
    call virtio_area
    imul 16(%edx), %ebx
    add %eax, %ebx
    ret

kick:                        /* one buffer, and until it is used. All registers stay */
    push %eax
    mov AVAIL + 2, %ax
    movzwl %ax, %eax
    and $7, %eax
    movw $0, AVAIL + 4(, %eax, 2)
    incw AVAIL + 2
    movw $0, (%ebx)
1:  mov AVAIL + 2, %ax
    cmp USED + 2, %ax
    jne 1b
    pop %eax
    ret

wait_pending:                /* vector 0's bit; a device may be slower than its used ring */
    mov pending, %eax
1:  testl $1, (%eax)
    jz 1b
    ret

    .data
msix:
    .long 0
table:
    .long 0
pending:
    .long 0
entries:
    .long 0
