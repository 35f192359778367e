// SPDX-License-Identifier: MIT
// isa-debug-exit at 0xf4: (v << 1) | 1.
// args: --device isa-debug-exit
// status: 67
#include "bare.inc"
    mov $0x21, %al
    out %al, $0xf4
1:  hlt
    jmp 1b
