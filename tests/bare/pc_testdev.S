// SPDX-License-Identifier: MIT
// pc-testdev: its latches, its memory, its interrupt lines up to the CPU, and a page whose mapping is dropped again and again
// while another CPU writes to it.
// args: --device exit --device pc-testdev --console none -c 2
#include "bare.inc"
#include "irqs.inc"
#include "cpus.inc"
    step                     /* 1: latches, by lanes */
    mov $0xe0, %edx
    mov $0x11223344, %eax
    out %eax, %dx
    mov $0xe9, %edx
    out %al, %dx
    mov $0xe2, %edx
    in %dx, %ax
    cmp $0x1122, %ax
    fail_if ne
    mov $0xe8, %edx
    in %dx, %eax
    expect %eax 0x00004400
    step                     /* 2: memory, in every size and unaligned */
    mov $0xff000000, %edi
    movl $0x12345678, 0x7fd(%edi)
    cmpb $0x34, 0x7ff(%edi)
    fail_if ne
    cmpw $0x1234, 0x7ff(%edi)
    fail_if ne
    movl $-1, 0xfffc(%edi)
    incl 0xfffc(%edi)
    cmpl $0, 0xfffc(%edi)
    fail_if ne
    mov $text, %esi          /* a string in, and out again */
    mov $8, %ecx
    cld
    rep movsb
    mov $0xff000000, %esi
    mov $text, %edi
    mov $8, %ecx
    repe cmpsb
    fail_if ne
    step                     /* 3: line 7 up: the IOAPIC's pin sends its vector, an edge */
    irqs_on
    movl $0x10 + 2 * 7, IOAPIC
    movl $0x37, IOAPIC + 0x10
    take
    expect %ecx 0
    mov $0x2007, %edx
    mov $1, %al
    out %al, %dx
    take_one
    cmpl $1, hits(0x37)
    fail_if ne
    take                     /* still up: no more */
    expect %ecx 0
    xor %eax, %eax
    out %al, %dx
    step                     /* 4: the page stays what it is */
    second_cpu
    mov $1000, %ecx
    mov $0xe4, %edx
    mov $0x600000, %eax
1:  out %eax, %dx
    dec %ecx
    jnz 1b
    mov 0x600000, %eax       /* the other one goes on writing to it */
2:  mov 0x600000, %ecx
    sub %eax, %ecx
    cmp $100, %ecx
    jb 2b
    mov $-1, %eax            /* and of what is no RAM nothing comes */
    out %eax, %dx
    mov $0xfee00000, %eax
    out %eax, %dx
    pass
second:
    here_i_am
3:  lock incl 0x600000
    jmp 3b
    .data
text:
    .ascii "a string"
