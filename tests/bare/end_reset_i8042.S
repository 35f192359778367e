// SPDX-License-Identifier: MIT
// Reset by the keyboard controller.
// result: ^reason=reboot$
#include "bare.inc"
    mov $0xfe, %al
    out %al, $0x64
1:  hlt
    jmp 1b
