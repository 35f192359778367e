// SPDX-License-Identifier: MIT
// ACPI S5 by the PM block at 0x600: PM1a control at 0x604. The sleep type is what DSDT says; the payload takes it from
// there as an operating system does: it looks for the name _S5_.
// result: ^reason=poweroff$
#include "bare.inc"
    mov $0xe0000, %esi
1:  step
    cmpl $0x5f35535f, (%esi) /* "_S5_" */
    je 2f
    inc %esi
    cmp $0x100000, %esi
    jb 1b
    end 1
2:  add $7, %esi             /* name, PackageOp, PkgLength, NumElements */
    movzbl (%esi), %eax
    cmp $0x0a, %al           /* BytePrefix */
    jne 3f
    movzbl 1(%esi), %eax
3:  and $7, %eax
    shl $10, %eax
    or $0x2000, %eax         /* SLP_EN */
    mov $0x604, %edx
    out %ax, %dx
    stand_still
