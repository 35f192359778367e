// SPDX-License-Identifier: MIT
// Bad input P7: every value for the configuration's and a queue's vector: those of the table stay, all others read as none;
// also with a queue selected that is not there. A device that has no vector uses buffers without an interrupt.
// args: --device exit --device virtio-rng --console none
#include "bare.inc"
#include "pci.inc"
#include "irqs.inc"
#include "rng.inc"
    irqs_on
    rng_find
    call start
    first_message
    step                     /* 1: all of them */
    mov $1, %al
    call virtio_area
    mov %eax, %edi
    xor %ecx, %ecx
1:  mov %ecx, %edx           /* what is to be read: itself, or none */
    cmp entries, %ecx
    jb 2f
    mov $0xffff, %edx
2:  mov %cx, 16(%edi)        /* config_msix_vector */
    cmp %dx, 16(%edi)
    fail_if ne
    mov %cx, 26(%edi)        /* queue_msix_vector */
    cmp %dx, 26(%edi)
    fail_if ne
    inc %ecx
    cmp $0x10000, %ecx
    jb 1b
    step                     /* 2: of a queue that is not there: no other queue's */
    movw $0xffff, 22(%edi)
    movw $0, 26(%edi)
    movw $1, 22(%edi)
    movw $0, 26(%edi)
    movw $0, 22(%edi)
    cmpw $0xffff, 26(%edi)
    fail_if ne
    step                     /* 3: none: the buffer is used, nothing comes */
    call kick
    take
    expect %ecx 0
    step                     /* 4: and as before, with one */
    movw $0, 26(%edi)
    call kick
    take_one
    pass
