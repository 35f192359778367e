// SPDX-License-Identifier: MIT
// Reset by port 0xcf9.
// result: ^reason=reboot$
#include "bare.inc"
    mov $0xcf9, %edx
    mov $2, %al
    out %al, %dx
    mov $6, %al
    out %al, %dx
1:  hlt
    jmp 1b
