// SPDX-License-Identifier: MIT
// Bad input P3: edu's BAR sized with decoding on; moved over RAM, the APICs, ECAM, another BAR, to 0 and to the top, where
// it answers or does not, but nobody else changes; then moved and switched at random while another CPU uses it (10^5 times by make soak).
// args: --device exit --device edu --device pci-testdev --console none -c 2
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "cpus.inc"
#define ID 0x010000ed
    find PCI_TESTDEV
    mov 0x10(%esi), %edi
    find EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov 0x10(%esi), %ebx
    step                     /* 1: all ones to the BAR while it decodes: its size, and edu is at the top of 4 GiB now */
    movl $-1, 0x10(%esi)
    cmpl $0xfff00000, 0x10(%esi)
    fail_if ne
    cmpl $ID, 0xfff00000
    fail_if ne
    cmpl $-1, (%ebx)
    fail_if ne
    movl $ID, 0xfff00004     /* liveness */
    cmpl $~ID, 0xfff00004
    fail_if ne
    mov %ebx, 0x10(%esi)
    cmpl $~ID, 4(%ebx)       /* the same device, back again */
    fail_if ne
    step                     /* 2: over RAM: RAM is seen, and written */
    movl $0x55aa55aa, 0xa00000
    movl $0xa00000, 0x10(%esi)
    cmpl $0x55aa55aa, 0xa00000
    fail_if ne
    movl $1, 0xa00004
    cmpl $1, 0xa00004
    fail_if ne
    cmpl $-1, (%ebx)
    fail_if ne
    step                     /* 3: at 0, where this program's stack and data are */
    movl $0, 0x10(%esi)
    push %ebx
    pop %ebx
    cmpl $-1, (%ebx)
    fail_if ne
    step                     /* 4: over the local APIC and the IOAPIC */
    mov LAPIC + 0x30, %ecx
    movl $LAPIC, 0x10(%esi)
    cmp LAPIC + 0x30, %ecx
    fail_if ne
    movl $1, 0xfec00000
    mov 0xfec00010, %ecx
    movl $0xfec00000, 0x10(%esi)
    cmp 0xfec00010, %ecx
    fail_if ne
    cmpl $1, 0xfec00000
    fail_if ne
    step                     /* 5: over ECAM: this is how it comes back */
    movl $ECAM, 0x10(%esi)
    cmpl $0x00081b36, ECAM
    fail_if ne
    mov %ebx, 0x10(%esi)
    cmpl $ID, (%ebx)
    fail_if ne
    step                     /* 6: over the other device's BAR, and away again */
    mov %edi, %eax
    and $0xfff00000, %eax
    mov %eax, 0x10(%esi)
    mov %ebx, 0x10(%esi)
    movb $0, (%edi)
    cmpb $1, 1(%edi)
    fail_if ne
    cmpl $ID, (%ebx)
    fail_if ne
    step                     /* 7: decoding off and on */
    command COMMAND_MASTER
    cmpl $-1, (%ebx)
    fail_if ne
    command COMMAND_MEMORY
    cmpl $ID, (%ebx)
    fail_if ne

    step                     /* 8: at random, against another CPU */
    mov %ebx, bar
    movl $0, 4(%ebx)
    mov $0x700000, %edi      /* RAM that must not change */
    mov $0x400, %ecx
1:  mov %edi, (%edi)
    add $4096, %edi
    loop 1b
    second_cpu
    mov bar, %ebx
    mov $(2000 * TEST_SCALE), %ecx
2:  call random
    mov %eax, %edx
    and $0xfff00000, %eax
    test $3, %dl
    jnz 3f
    mov %ebx, %eax           /* every fourth time, home */
3:  mov %eax, 0x10(%esi)
    test $0x1c, %dl
    jnz 4f
    command COMMAND_MASTER
    command COMMAND_MEMORY
4:  cmpl $0, wrong
    fail_if ne
    dec %ecx
    jnz 2b
    mov %ebx, 0x10(%esi)
    mov rounds, %eax         /* the other one is alive, and finds it at home */
5:  mov rounds, %edx
    sub %eax, %edx
    cmp $10, %edx
    jb 5b
    cmpl $0, seen
    fail_if e
    cmpl $0, missed
    fail_if e
    step                     /* 9: and RAM is as it was */
    mov $0x700000, %edi
    mov $0x400, %ecx
6:  cmp %edi, (%edi)
    fail_if ne
    add $4096, %edi
    loop 6b
    pass

second:                      /* the device, or nobody: all of it or nothing */
    here_i_am
    mov bar, %ebx
    mov $1, %ecx
7:  mov (%ebx), %eax
    incl seen
    cmp $ID, %eax
    je 8f
    decl seen
    incl missed
    cmp $-1, %eax
    jne 9f
8:  mov %ecx, 4(%ebx)
    mov 4(%ebx), %eax
    not %eax
    cmp %ecx, %eax
    je 1f
    cmp $0, %eax             /* not there when it was read, */
    je 1f
    mov %ecx, %edx           /* or not when it was written */
    sub %eax, %edx
    cmp $0x1000, %edx
    ja 9f
1:  inc %ecx
    lock incl rounds
    jmp 7b
9:  movl $1, wrong
    jmp 7b

    .data
bar:
    .long 0
wrong:
    .long 0
seen:
    .long 0
missed:
    .long 0
rounds:
    .long 0
