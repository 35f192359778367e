// SPDX-License-Identifier: MIT
// Bad input X6: MSRs and CPUID leaves at random and garbage in CR4, with a handler that goes on behind each fault: KVM
// refuses or takes them, and the run ends by the guest's own word. (No hypercalls: a software KVM may not come back from them.)
// args: --device exit --console none
#include "bare.inc"
#include "random.inc"
    movl $idt, idtr + 2
    mov $idt, %edi           /* all 32 exceptions come to `fault` */
    mov $32, %ecx
1:  mov $fault, %eax
    mov %ax, (%edi)
    mov %cs, 2(%edi)
    movw $0x8e00, 4(%edi)
    shr $16, %eax
    mov %ax, 6(%edi)
    add $8, %edi
    loop 1b
    lidt idtr
    mov $2000, %ebx
1:  movl $3f, resume
    call random
    mov %eax, %ecx
    test $1, %bl             /* every second one among the known ranges */
    jz 4f
    and $0xc0001fff, %ecx
4:  rdmsr
3:  movl $5f, resume
    call random              /* the value; EFER, APIC base and the like stay out of it */
    cmp $0x1b, %ecx
    je 5f
    cmp $0xc0000080, %ecx
    je 5f
    cmp $0x277, %ecx
    je 5f
    xor %edx, %edx
    wrmsr
5:  movl $6f, resume
    call random
    call random
    mov %ebx, %esi
    mov %eax, %ecx
    and $0xc00000ff, %eax
    cpuid
    mov %esi, %ebx
6:  dec %ebx
    jnz 1b
    step                     /* 1: CR4's reserved bits fault */
    movl $9f, resume
    mov $0x80000000, %eax
    mov %eax, %cr4
    jmp failed
9:  pass

fault:                       /* where from does not matter; interrupts stay off */
    incl faults
    mov $0x80000, %esp
    jmp *resume
    .data
faults:
    .long 0
resume:
    .long 0
idtr:
    .word 255
    .long 0
    .balign 8
idt:
    .space 256
