// SPDX-License-Identifier: MIT
// A guest that writes over everything in RAM but its own code: boot structures, ACPI tables, the stack it was given; and over
// the pages below 4 GiB that KVM keeps for itself on some processors. Nothing of vmlet's hangs on them.
// args: --device exit -c 2
#include "bare.inc"
    cld
    mov $0xdeadbeef, %eax
    xor %edi, %edi
    mov $0x100000, %ecx      /* 4 MiB of double words, up to here */
    rep stosl
    mov $end_of_program + 4095, %edi
    and $0xfffff000, %edi
    mov $0x1000000, %ecx     /* and to the end of 16 MiB */
    sub %edi, %ecx
    shr $2, %ecx
    rep stosl
    mov $0xfff00000, %edi    /* there is no memory for most of it, so only some */
    mov $256, %ecx
1:  mov %eax, (%edi)
    mov %eax, 0xffe(%edi)
    add $4096, %edi
    loop 1b
    step
    cmpl $0xdeadbeef, 0xe0000 + 0x1000
    fail_if ne
    cmpl $0xdeadbeef, 0xfffffc
    fail_if ne
    pass
    .bss
end_of_program:
    .space 4
