// SPDX-License-Identifier: MIT
// INIT and SIPI to all others: each CPU comes up once, with an APIC ID of its own; the status is how many there are.
// args: --device exit -c 4
// status: 4
#include "bare.inc"
    movl $0x1ff, LAPIC + 0xf0
    mov $trampoline, %esi    /* to 0x8000, the SIPI's vector 8 */
    mov $0x8000, %edi
    mov $trampoline_end - trampoline, %ecx
    cld
    rep movsb
    movl $0, 0x9000          /* who is up: a bit each */
    movl $0xc4500, LAPIC + 0x300
    movl $0xc4608, LAPIC + 0x300
1:  pause
    cmpl $0xe, 0x9000
    jne 1b
    mov $4, %al
    end_al
    .code16
trampoline:
    xor %ax, %ax
    mov %ax, %ds
    mov $1, %eax
    cpuid
    shr $24, %ebx            /* APIC ID */
    mov %bl, %cl
    mov $1, %eax
    shl %cl, %eax
    lock orl %eax, 0x9000
    stand_still
trampoline_end:
