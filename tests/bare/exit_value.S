// SPDX-License-Identifier: MIT
// A write to the exit port ends the machine with the low 8 bits, whatever the width.
// status: 42
// result: ^status=42$
// result: ^source=guest$
// result: ^reason=exited$
#include "bare.inc"
    mov $0xffffff2a, %eax
    mov $EXIT_PORT, %edx
    out %eax, %dx
1:  hlt
    jmp 1b
