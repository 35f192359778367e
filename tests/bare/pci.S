// SPDX-License-Identifier: MIT
// The host bridge by both mechanisms: same words, every size; a function that is not there reads as ones.
#include "bare.inc"
    step                     /* 1: mechanism 1 is there: the address latch reads back */
    mov $0xcf8, %edx
    mov $0x80000000, %eax
    out %eax, %dx
    in %dx, %eax
    expect %eax 0x80000000
    step                     /* 2: vendor and device, the same through ECAM at 0xe0000000 */
    mov $0xcfc, %edx
    in %dx, %eax
    cmp $-1, %eax
    fail_if e
    cmp 0xe0000000, %eax
    fail_if ne
    step                     /* 3: in halves and bytes */
    mov %eax, %ebx
    add $2, %edx
    in %dx, %ax
    shl $16, %eax
    sub $2, %edx
    in %dx, %ax
    cmp %eax, %ebx
    fail_if ne
    mov 0xe0000003, %al
    shl $8, %eax
    mov 0xe0000002, %al
    shl $8, %eax
    mov 0xe0000001, %al
    shl $8, %eax
    mov 0xe0000000, %al
    cmp %eax, %ebx
    fail_if ne
    step                     /* 4: class 06 00: a host bridge */
    cmpw $0x0600, 0xe000000a
    fail_if ne
    step                     /* 5: slot 31, function 7, and another bus: nobody */
    cmpl $-1, 0xe00ff000
    fail_if ne
    cmpl $-1, 0xefff0000
    fail_if ne
    mov $0xcf8, %edx
    mov $0x8000ff00, %eax
    out %eax, %dx
    mov $0xcfc, %edx
    in %dx, %eax
    expect %eax -1
    step                     /* 6: with bit 31 clear the data port is nobody's */
    mov $0xcf8, %edx
    xor %eax, %eax
    out %eax, %dx
    mov $0xcfc, %edx
    in %dx, %eax
    expect %eax -1
    pass
