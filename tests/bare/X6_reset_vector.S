// SPDX-License-Identifier: MIT
// Code at the reset vector, where a PC has its firmware and there is nothing here.
// status: 123
// result: ^reason=kvm-error$
// err: KVM cannot emulate an instruction.* at RIP 0xfffffff0
#include "bare.inc"
    mov $0xfffffff0, %eax
    jmp *%eax
