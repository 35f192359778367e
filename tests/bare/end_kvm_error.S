// SPDX-License-Identifier: MIT
// Code where no memory is: KVM cannot go on, and the report says where.
// status: 123
// err: KVM cannot emulate an instruction.* at RIP 0xd0000000
// result: ^reason=kvm-error$
#include "bare.inc"
    mov $0xd0000000, %eax
    jmp *%eax
