// SPDX-License-Identifier: MIT
// A thousand sectors read from a disk, which is this program's own file, one by one: kicked, and polled for; then an interrupt
// line that goes up and down.
// args: --device exit --console none -d $WORK/virtio_blk,ro
// repeat: --device exit --console none --device virtio-blk,file=$WORK/virtio_blk,ro,threads
#include "bare.inc"
#include "pci.inc"
#include "virtio.inc"
#define VIRTIO_BLK 0x10421af4
#define HEADER     MEMORY
#define STATUS_AT  (MEMORY + 0x10)
#define BUFFER     (MEMORY + 0x1000)
    virtio_start VIRTIO_BLK
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
