// SPDX-License-Identifier: MIT
// Code in the I/O APIC's page, and past the end of RAM: KVM fetches no instruction from there, and says so.
// status: 123
// result: ^reason=kvm-error$
#include "bare.inc"
    mov $0xfec00000, %eax
    jmp *%eax
