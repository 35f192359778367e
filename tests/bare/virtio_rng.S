// SPDX-License-Identifier: MIT
// A thousand requests to virtio-rng, one by one, from a driver of 60 instructions: each is kicked, and polled for. What the
// kicks cost the process is counted in tests/cli/virtio.sh.
// args: --device exit --device virtio-rng --console none
// repeat: --device exit --device virtio-rng --console none --trace virtio-rng --trace-file /dev/null
#include "bare.inc"
#include "pci.inc"
#define VIRTIO_RNG 0x10441af4
#define DESC       0x200000
#define AVAIL      0x201000
#define USED       0x202000
#define BUFFER     0x203000
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
#define DOORBELL              0x2000
    find VIRTIO_RNG
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
    movl $BUFFER, DESC
    movl $0, DESC + 4
    movl $16, DESC + 8
    movl $2, DESC + 12       /* the device writes */
    movw $1, AVAIL           /* no interrupts */
    step                     /* 3: requests */
    xor %ecx, %ecx
1:  mov %ecx, %eax
    and $7, %eax
    movw $0, AVAIL + 4(,%eax,2)
    inc %ecx
    movl $0, BUFFER
    movl $0, BUFFER + 4
    movw %cx, AVAIL + 2
    movw $0, DOORBELL(%ebx)
2:  pause
    cmpw %cx, USED + 2
    jne 2b
    mov %ecx, %eax
    dec %eax
    and $7, %eax
    cmpl $16, USED + 8(,%eax,8) /* its length */
    fail_if ne
    mov BUFFER, %eax
    or BUFFER + 4, %eax      /* 2^-64 for nothing */
    fail_if z
    cmp $REQUESTS, %ecx
    jb 1b
    step                     /* 4: reset */
    movb $0, STATUS(%ebx)
    cmpb $0, STATUS(%ebx)
    fail_if ne
    pass
