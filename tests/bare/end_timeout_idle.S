// SPDX-License-Identifier: MIT
// The same for one that sleeps with interrupts on: idle is not dead.
// args: --device exit --timeout 4
// status: 124
// result: ^reason=timeout$
// seconds: 30
#include "bare.inc"
    mov $0xff, %al           /* PICs: all masked, so that the PIT wakes nobody */
    out %al, $0x21
    out %al, $0xa1
    sti
1:  hlt
    jmp 1b
