// SPDX-License-Identifier: MIT
// Powers off when the power button is pressed (`vmlet stop`), which here nobody does. It listens by PM1a enable at 0x602 and
// looks at PM1a status at 0x600, bit 8; _S5_ has sleep type 5.
// args: --timeout 1
// status: 124
// result: ^reason=timeout$
#include "bare.inc"
    mov $0x602, %edx
    mov $0x100, %eax         /* PWRBTN_EN */
    out %ax, %dx
    mov $0x600, %edx
1:  in %dx, %ax
    test $0x100, %eax
    jz 1b
    mov $0x604, %edx
    mov $0x3400, %eax        /* SLP_EN, SLP_TYP 5 */
    out %ax, %dx
    stand_still
