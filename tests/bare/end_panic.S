// SPDX-License-Identifier: MIT
// pvpanic: the guest says that it panicked, and stops.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    mov $0x505, %edx
    in %dx, %al
    step
    test $1, %al
    fail_if z
    mov $1, %al
    out %al, %dx
1:  cli
    hlt
    jmp 1b
