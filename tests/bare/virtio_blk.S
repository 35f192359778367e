// SPDX-License-Identifier: MIT
// A thousand sectors read from a disk, which is this program's own file, one by one: kicked, and polled for; then an interrupt
// line that goes up and down.
// args: --device exit --console none -d $WORK/virtio_blk,ro
// repeat: --device exit --console none --device virtio-blk,file=$WORK/virtio_blk,ro,threads
#include "bare.inc"
#include "pci.inc"
#define VIRTIO_BLK 0x10421af4
#define DESC       0x200000
#define AVAIL      0x201000
#define USED       0x202000
#define HEADER     0x203000
#define STATUS_AT  0x203010
#define BUFFER     0x204000
#ifndef REQUESTS
#define REQUESTS   1000
#endif
/* the BAR: common configuration, ISR, doorbells, a page each; registers as in virtio 1.2, 4.1.4.3 */
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE        0x0c
#define STATUS                0x14
#define QUEUE_SELECT          0x16
#define QUEUE_SIZE            0x18
#define QUEUE_ENABLE          0x1c
#define QUEUE_DESC            0x20
#define QUEUE_DRIVER          0x28
#define QUEUE_DEVICE          0x30
#define ISR                   0x1000
#define DOORBELL              0x2000
    find VIRTIO_BLK
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x20(%esi), %ebx     /* BAR 4 */
    and $~15, %ebx
    step                     /* 1: negotiation */
    movb $0, STATUS(%ebx)
    movb $1, STATUS(%ebx)
    movb $3, STATUS(%ebx)
    movl $1, DRIVER_FEATURE_SELECT(%ebx)
    movl $1, DRIVER_FEATURE(%ebx) /* VERSION_1 */
    movb $11, STATUS(%ebx)
    cmpb $11, STATUS(%ebx)
    fail_if ne
    step                     /* 2: the queue */
    movw $0, QUEUE_SELECT(%ebx)
    movw $8, QUEUE_SIZE(%ebx)
    movl $DESC, QUEUE_DESC(%ebx)
    movl $AVAIL, QUEUE_DRIVER(%ebx)
    movl $USED, QUEUE_DEVICE(%ebx)
    movw $1, QUEUE_ENABLE(%ebx)
    cmpw $1, QUEUE_ENABLE(%ebx)
    fail_if ne
    movb $15, STATUS(%ebx)
    movl $HEADER, DESC
    movl $16, DESC + 8
    movl $0x10001, DESC + 12
    movl $BUFFER, DESC + 16
    movl $512, DESC + 24
    movl $0x20003, DESC + 28
    movl $STATUS_AT, DESC + 32
    movl $1, DESC + 40
    movl $2, DESC + 44
    movw $1, AVAIL           /* no interrupts */
    step                     /* 3: requests; the ring's entries are all 0 */
    xor %ecx, %ecx
1:  inc %ecx
    movl $0, BUFFER
    movb $0xff, STATUS_AT
    movw %cx, AVAIL + 2
    movw $0, DOORBELL(%ebx)
2:  pause
    cmpw %cx, USED + 2
    jne 2b
    cmpb $0, STATUS_AT
    fail_if ne
    cmpl $0x464c457f, BUFFER /* "\x7fELF" */
    fail_if ne
    cmp $REQUESTS, %ecx
    jb 1b
    step                     /* 4: with an interrupt: ISR says so, once */
    cmpb $0, ISR(%ebx)
    fail_if ne
    movw $0, AVAIL
    inc %ecx
    movw %cx, AVAIL + 2
    movw $0, DOORBELL(%ebx)
3:  movb ISR(%ebx), %al
    test %al, %al
    jz 3b
    expect %al, 1
    cmpb $0, ISR(%ebx)
    fail_if ne
    step                     /* 5: reset */
    movb $0, STATUS(%ebx)
4:  cmpb $0, STATUS(%ebx)
    jne 4b
    pass
