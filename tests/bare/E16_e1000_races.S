// SPDX-License-Identifier: MIT
// Bad input E16: while one CPU sends bursts through an e1000 in loopback, the other resets it, switches units, link, mastering
// and decoding, moves its BAR, and storms ICS, IMS and ITR. Nothing but the card's own memory changes, and in the end it works.
// args: --device exit -n mode=loopback,model=e1000 --console none -c 2
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "cpus.inc"
#include "e1000.inc"
#define GUARD 0x5a5a5a5a
    mov $CARD_END, %edi
    mov $GUARD, %eax
    mov $0x8000 / 4, %ecx
    cld
    rep stosl
    card_find
    mov %esi, function
    mov %ebx, bar
    step                     /* 1: it works */
    card_up
    round_trip 0x01020304
    second_cpu
    step                     /* 2: bursts, as far as they go */
    mov $1500, %ebp
1:  mov $TX_RING, %edi
2:  movl $FRAME, (%edi)
    movl $0, 4(%edi)
    movl $EOP_IFCS_RS | 600, 8(%edi)
    movl $0, 12(%edi)
    add $16, %edi
    cmp $TX_RING + 128, %edi
    jb 2b
    mov TDH(%ebx), %eax
    dec %eax
    and $7, %eax
    mov %eax, TDT(%ebx)
    mov RDH(%ebx), %eax
    dec %eax
    and $7, %eax
    mov %eax, RDT(%ebx)
    mov ICR(%ebx), %eax
    test $15, %ebp           /* and set up anew after what the other one did, without waiting for a link */
    jnz 3f
    movl $CTRL_SLU, CTRL(%ebx)
    movl $TX_RING, TDBAL(%ebx)
    movl $128, TDLEN(%ebx)
    movl $RX_RING, RDBAL(%ebx)
    movl $128, RDLEN(%ebx)
    movl $TCTL_ON, TCTL(%ebx)
    movl $RCTL_ON, RCTL(%ebx)
3:  dec %ebp
    jnz 1b
    mov $2, %ebp
    movl $1, stop
4:  cmpl $2, stop
    jne 4b
    step                     /* 3: the other one was at it */
    cmpl $50, moves
    fail_if b
    step                     /* 4: it works again, once what was still on the cable has come */
5:  card_up
    mov $300, %ecx
6:  mov STATUS(%ebx), %eax
    loop 6b
    cmpl $0, RDH(%ebx)
    jne 5b
    round_trip 0x05060708
    step                     /* 5: and RAM is as it was */
    mov $CARD_END, %edi
    mov $0x8000 / 4, %ecx
    mov $GUARD, %eax
    repe scasl
    fail_if ne
    pass

second:
    here_i_am
    mov function, %esi
    mov bar, %ebx
1:  call random              /* its own: the first one does without */
    mov %eax, %edx
    and $15, %eax
    jmp *acts(, %eax, 4)
reset:
    movl $CTRL_RST, CTRL(%ebx)
    jmp next
units:
    movl $0, TCTL(%ebx)
    movl $0, RCTL(%ebx)
    movl $RCTL_ON, RCTL(%ebx)
    movl $TCTL_ON, TCTL(%ebx)
    jmp next
link:
    movl $0, CTRL(%ebx)
    movl $CTRL_SLU, CTRL(%ebx)
    jmp next
master:
    command COMMAND_MEMORY
    command (COMMAND_MEMORY | COMMAND_MASTER)
    jmp next
decode:
    command 0
    command (COMMAND_MEMORY | COMMAND_MASTER)
    jmp next
move:
    and $0xfffe0000, %edx
    mov %edx, 0x10(%esi)
    mov %ebx, 0x10(%esi)
    jmp next
causes:
    mov %edx, ICS(%ebx)
    mov %edx, IMS(%ebx)
    mov %edx, ITR(%ebx)
    mov %edx, IMC(%ebx)
    jmp next
rings:
    mov %edx, TDH(%ebx)
    mov %edx, RDH(%ebx)
    and $0x6f80, %edx        /* longer than it is, but in the card's memory: what a ring covers is given to it */
    mov %edx, TDLEN(%ebx)
    mov %edx, RDLEN(%ebx)
    movl $128, TDLEN(%ebx)
    movl $128, RDLEN(%ebx)
next:
    incl moves
    cmpl $0, stop
    je 1b
    movl $2, stop
    stand_still

    .data
function:
    .long 0
bar:
    .long 0
moves:
    .long 0
stop:
    .long 0
acts:
    .long reset, units, units, link, master, master, decode, move
    .long move, move, causes, causes, causes, rings, rings, causes
