// SPDX-License-Identifier: MIT
// A thousand requests to virtio-rng, one by one, from a driver of 60 instructions: each is kicked, and polled for. What the
// kicks cost the process is counted in tests/cli/virtio.sh.
// args: --device exit --device virtio-rng --console none
// repeat: --device exit --device virtio-rng --console none --trace virtio-rng --trace-file /dev/null
#include "bare.inc"
#include "pci.inc"
#include "virtio.inc"
#define VIRTIO_RNG 0x10441af4
#define BUFFER     MEMORY
    virtio_start VIRTIO_RNG
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
