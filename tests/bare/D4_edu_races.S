// SPDX-License-Identifier: MIT
// A hostile guest with four edus and two CPUs: one starts transfers, factorials and interrupts as fast as it can, with
// registers rewritten while they run (D4); the other moves the BARs, and switches mastering and decoding. Only the page that was given to
// them may change, and in the end all work.
// args: --device exit --device edu --device edu --device edu --device edu --console none -c 2
#include "bare.inc"
#include "random.inc"
#include "pci.inc"
#include "cpus.inc"
#define PAGE  0x600000
#define GUARD 0x5a5a5a5a
    mov $PAGE - 0x4000, %edi /* what must not change, around the page */
    mov $GUARD, %eax
    mov $0x9000 / 4, %ecx
    cld
    rep stosl
    mov $functions, %ebx     /* all of them, and where they are */
    mov $ECAM - 0x1000, %esi
    mov $4, %ecx
1:  find_next EDU
    command (COMMAND_MEMORY | COMMAND_MASTER)
    mov %esi, (%ebx)
    mov 0x10(%esi), %eax
    mov %eax, 16(%ebx)
    add $4, %ebx
    loop 1b
    second_cpu
    step                     /* 1: for a while */
    mov $6000, %edi
2:  call random
    mov %eax, %edx
    and $3, %eax
    mov places(, %eax, 4), %ebx
    shr $2, %edx
    mov $0x40000, %ecx       /* the device's side: in the buffer, and past its end */
    test $1, %dl
    jz 3f
    or $0xffc, %ecx
3:  mov $PAGE, %eax          /* RAM's side: the page, or what no device may have */
    test $6, %dl
    jnz 4f
    mov $LAPIC, %eax
4:  test $8, %dl
    jz 5f
    xchg %eax, %ecx
5:  mov %eax, 0x80(%ebx)
    mov %ecx, 0x88(%ebx)
    mov %edx, %eax
    and $0xff0, %eax
    mov %eax, 0x90(%ebx)
    mov $5, %eax             /* to edu, where RAM is the source */
    test $8, %dl
    jz 6f
    mov $7, %eax
6:  mov %eax, 0x98(%ebx)
    movl $20, 8(%ebx)
    movl $0x80, 0x20(%ebx)
    mov %edx, 0x60(%ebx)
    movl $-1, 0x64(%ebx)
    dec %edi
    jnz 2b
    step                     /* 2: the other CPU is at it, too */
    movl $1, stop
    cmpl $100, moves
    fail_if b
7:  cmpl $2, stop
    jne 7b
    step                     /* 3: nothing but the page has changed */
    mov $PAGE - 0x4000, %edi
    mov $0x4000 / 4, %ecx
    mov $GUARD, %eax
    repe scasl
    fail_if ne
    add $0x1000, %edi
    mov $0x4000 / 4, %ecx
    repe scasl
    fail_if ne
    step                     /* 4: every one of them still works */
    mov $4, %ecx
8:  mov functions - 4(, %ecx, 4), %esi
    mov places - 4(, %ecx, 4), %ebx
    mov %ebx, 0x10(%esi)
    command (COMMAND_MEMORY | COMMAND_MASTER)
9:  testl $1, 0x98(%ebx)
    jnz 9b
    movl $PAGE - 4, 0x80(%ebx)
    movl $0x40100, 0x88(%ebx)
    movl $4, 0x90(%ebx)
    movl $1, 0x98(%ebx)
1:  testl $1, 0x98(%ebx)
    jnz 1b
    movl $0x40100, 0x80(%ebx)
    lea PAGE + 0x40(, %ecx, 4), %eax
    mov %eax, 0x88(%ebx)
    movl $3, 0x98(%ebx)
1:  testl $1, 0x98(%ebx)
    jnz 1b
    cmpl $GUARD, (%eax)
    fail_if ne
    dec %ecx
    jnz 8b
    pass

second:
    here_i_am
    mov $0x12345677, %edx
1:  next %edx %eax           /* a row of its own */
    mov %edx, %ecx
    and $3, %ecx
    mov functions(, %ecx, 4), %esi
    test $4, %dl
    jz 2f
    mov %edx, %eax           /* anywhere, the APICs and RAM included */
    and $0xfff00000, %eax
    mov %eax, 0x10(%esi)
    pause
    mov places(, %ecx, 4), %eax
    mov %eax, 0x10(%esi)
2:  test $8, %dl
    jz 3f
    command COMMAND_MEMORY
3:  test $16, %dl
    jz 4f
    command 0
4:  command (COMMAND_MEMORY | COMMAND_MASTER)
    incl moves
    cmpl $0, stop
    je 1b
    movl $2, stop
5:  cli
    hlt
    jmp 5b

    .data
functions:
    .long 0, 0, 0, 0
places:
    .long 0, 0, 0, 0
moves:
    .long 0
stop:
    .long 0
