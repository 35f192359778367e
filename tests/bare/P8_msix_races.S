// SPDX-License-Identifier: MIT
// Bad input P8 with two CPUs: one rewrites, masks and switches an MSI-X entry as fast as it can, with messages that are none among
// them, the other makes the device interrupt all the while. Then each interrupt comes where it should, once.
// args: --device exit --device virtio-rng --console none -c 2
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "irqs.inc"
#include "cpus.inc"
#include "rng.inc"
#define MOVES (5000 * TEST_SCALE) /* of four writes to the entry each: P8 asks for 10^6 */
    irqs_on
    rng_find
    call start
    first_message
    second_cpu
    step                     /* 1: under fire; what comes is of the vectors that were written */
    mov $300, %edx
1:  call kick
    test $7, %edx
    jnz 2f
    take
2:  dec %edx
    jnz 1b
    cmpl $MOVES, moves
    jae 4f
3:  call kick
    cmpl $MOVES, moves
    jb 3b
4:  movl $1, stop
5:  cmpl $2, stop
    jne 5b
    step                     /* 2: as good as new */
    mov msix, %eax
    movb $ENABLE, 3(%eax)
    mov $0x43, %eax
    call set_entry
    take                     /* what was on its way */
    take
    mov $20, %esi
6:  mov hits(0x43), %edx
    call kick
    take_one
    inc %edx
    cmp %edx, hits(0x43)
    fail_if ne
    dec %esi
    jnz 6b
    step                     /* 3: masked, the pending bit, and once */
    movl $ENTRY_MASK, 12(%edi)
    call kick
    call wait_pending
    take
    expect %ecx 0
    movl $0, 12(%edi)
    take_one
    pass

second:
    here_i_am
    mov table, %edi
1:  call random
    mov %eax, %edx
    and $0xf, %eax
    or $0x50, %eax
    test $0x70, %edx
    jnz 2f
    movl $0x12345000, (%edi) /* now and then, where no APIC is */
2:  mov %eax, 8(%edi)
    movl $LAPIC, (%edi)
    movl $ENTRY_MASK, 12(%edi)
    movl $0, 12(%edi)
    test $0x300, %edx
    jnz 3f
    mov msix, %eax
    movb $ENABLE | MASKALL, 3(%eax)
    movb $ENABLE, 3(%eax)
3:  test $0xc00, %edx
    jnz 4f
    mov msix, %eax
    movb $0, 3(%eax)
    movb $ENABLE, 3(%eax)
4:  incl moves
    cmpl $0, stop
    je 1b
    movl $2, stop
    stand_still

    .data
moves:
    .long 0
stop:
    .long 0
