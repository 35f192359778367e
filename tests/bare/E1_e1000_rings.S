// SPDX-License-Identifier: MIT
// A hostile driver of an e1000 in loopback: heads and tails beyond the ring (E1), ring lengths of 0 and of no multiple of 128
// (E7), buffers and rings in no RAM (E8), in its own BAR and in others' (E9), over the ring itself (E17), and descriptors at random (E5, E6). Each time
// it works again afterwards, registers and RAM that were not given to it are as they were.
// args: --device exit -n mode=loopback,model=e1000 --device edu --console none
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "e1000.inc"
#define GUARD 0x5a5a5a5a
    mov $CARD_END, %edi      /* what must not change */
    mov $GUARD, %eax
    mov $0x8000 / 4, %ecx
    cld
    rep stosl
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %eax
    movl $0x12345678, 4(%eax)
    mov %eax, edu
    mov %eax, targets
    add $0x80, %eax          /* where it would do DMA */
    mov %eax, targets + 4
    card_find
    mov %ebx, targets + 8
    lea TDT(%ebx), %eax      /* a frame that sets it going again */
    mov %eax, targets + 12
    step                     /* 1: it works, round the ring and on */
    card_up
    mov $20, %esi
1:  round_trip 0x11223344
    dec %esi
    jnz 1b
    step                     /* 2: E1: tail, then head, beyond the ring: nothing is sent */
    card_up
    movl $100, TDT(%ebx)
    call settle
    movl $0xffff, TDH(%ebx)
    movl $0xfffe, TDT(%ebx)
    call settle
    movl $0xffff, RDH(%ebx)
    movl $0xffff, RDT(%ebx)
    call settle
    card_up
    round_trip 0x22334455
    step                     /* 3: E7: lengths */
    mov $lengths, %esi
2:  card_up
    mov (%esi), %eax
    mov %eax, TDLEN(%ebx)
    mov %eax, RDLEN(%ebx)
    movl $1, TDT(%ebx)
    movl $5, TDT(%ebx)
    movl $0, RDT(%ebx)
    call settle
    add $4, %esi
    cmp $lengths_end, %esi
    jb 2b
    card_up
    round_trip 0x33445566
    step                     /* 4: E8, E9: rings that are devices, or nowhere */
    mov $targets, %esi
3:  card_up
    mov (%esi), %eax
    mov %eax, TDBAL(%ebx)
    mov 4(%esi), %eax        /* and the next one's, for good measure */
    mov %eax, RDBAL(%ebx)
    movl $4, TDT(%ebx)
    call settle
    call check
    add $4, %esi
    cmp $targets_end - 4, %esi
    jb 3b
    movl $-1, TDBAH(%ebx)    /* E17: it wraps */
    movl $0xffffff80, TDBAL(%ebx)
    movl $1, TDT(%ebx)
    call settle
    card_up
    round_trip 0x44556677
    step                     /* 5: E9: buffers that are devices: nothing is sent from there, nothing received to there */
    mov $targets, %esi
4:  card_up
    mov (%esi), %eax
    mov %eax, TX_RING
    movl $EOP_IFCS_RS | 64, TX_RING + 8
    mov %eax, RX_RING
    movl $FRAME, TX_RING + 16
    movl $EOP_IFCS_RS | 64, TX_RING + 24
    movl $2, TDT(%ebx)
5:  cmpl $2, TDH(%ebx)
    jne 5b
    call settle
    call check
    add $4, %esi
    cmp $targets_end, %esi
    jb 4b
    card_up
    round_trip 0x55667788
    step                     /* 6: E17: its own ring as the receiver's buffer, and the receiver's ring sent */
    card_up
    movl $RX_RING, RX_RING
    movl $TX_RING, RX_RING + 16
    movl $RX_RING, TX_RING
    movl $EOP_IFCS_RS | 128, TX_RING + 8
    movl $TX_RING, TX_RING + 16
    movl $EOP_IFCS_RS | 128, TX_RING + 24
    movl $2, TDT(%ebx)
    call settle
    card_up
    round_trip 0x66778899
    step                     /* 7: E5, E6: at random, with these addresses among others */
    mov $400, %esi
6:  test $31, %esi
    jnz 7f
    card_up
7:  mov $TX_RING, %edi
8:  call random
    and $7, %eax
    mov targets(, %eax, 4), %eax
    test $4, %al
    jz 9f
    mov $FRAME, %eax
9:  mov %eax, (%edi)
    movl $0, 4(%edi)
    call random
    and $0xff10ffff, %eax    /* legacy, context and data descriptors; all commands */
    mov %eax, 8(%edi)
    call random
    mov %eax, 12(%edi)
    add $16, %edi
    cmp $TX_RING + 128, %edi
    jb 8b
    call random
    and $7, %eax
    mov %eax, TDT(%ebx)
    dec %esi
    jnz 6b
    call settle
    call check
    card_up
    round_trip 0x778899aa
    step                     /* 8: RAM that was not the card's is as it was */
    mov $CARD_END, %edi
    mov $0x8000 / 4, %ecx
    mov $GUARD, %eax
    repe scasl
    fail_if ne
    pass

settle:                      /* some time for the ring, in which a wrong one would go on for ever */
    mov $300, %ecx
1:  mov STATUS(%ebx), %eax
    loop 1b
    ret
check:                       /* edu is as it was, and idle; the APIC, and configuration space */
    mov edu, %eax
    cmpl $~0x12345678, 4(%eax)
    jne failed
    cmpl $0, 0x80(%eax)
    jne failed
    cmpl $0, 0x98(%eax)
    jne failed
    cmpl $0x00081b36, ECAM
    jne failed
    testl $STATUS_LU, STATUS(%ebx)
    jz failed
    ret

    .data
edu:
    .long 0
lengths:
    .long 0, 1, 0x7f, 0x81, 0xfff80, 0xffffffff, 0x80000000
lengths_end:
targets:                     /* edu, its DMA registers, the card, its tail */
    .long 0, 0, 0, 0
    .long LAPIC, ECAM, 0xfec00000, 0xa0000000
targets_end:
