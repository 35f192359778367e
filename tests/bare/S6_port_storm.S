// SPDX-License-Identifier: MIT
// Bad inputs S6 and X8: every port, in each width, in and out, then the same at random with strings over the ends of
// ranges. Left out is only what ends the machine by contract, in the width that does. Nothing floods the log.
// args: --device exit --console none
#include "bare.inc"
#include "random.inc"
    cld
    step                     /* 1: read them all */
    xor %edx, %edx
1:  in %dx, %al
    in %dx, %ax
    in %dx, %eax
    inc %dx
    jnz 1b
    step                     /* 2: write to them all: all ones, zeros, noise */
    xor %edx, %edx
2:  call deadly_byte
    jz 3f
    mov $-1, %eax
    out %al, %dx
    call random
    out %al, %dx
3:  call deadly_word
    jz 4f
    mov $-1, %eax
    out %ax, %dx
    call random
    out %ax, %dx
4:  call deadly_dword
    jz 5f
    mov $-1, %eax
    out %eax, %dx
    call random
    out %eax, %dx
5:  inc %dx
    jnz 2b
    step                     /* 3: strings, of ports that are drawn */
    mov $1000, %ebx
6:  call random
    mov %eax, %edx
    test $1, %bl             /* every second one among the fixed devices */
    jz 7f
    and $0x7ff, %edx
7:  mov $0x500000, %edi
    mov $9, %ecx
    rep insb
    mov $3, %ecx
    rep insw
    mov $3, %ecx
    rep insl
    mov $0x500000, %esi
    call deadly_word
    jz 8f
    mov $5, %ecx
    rep outsw
8:  call deadly_dword
    jz 9f
    mov $5, %ecx
    rep outsl
9:  dec %ebx
    jnz 6b
    step                     /* 4: the scratch register is still one */
    mov $COM1 + 3, %edx
    xor %eax, %eax
    out %al, %dx
    mov $COM1 + 7, %edx
    mov $0x5a, %al
    out %al, %dx
    in %dx, %al
    cmp $0x5a, %al
    fail_if ne
    pass

/* ZF: an access of this width to port DX may end the machine. */
deadly_byte:
    cmp $0x605, %dx
    je 1f
    cmp $0xcf9, %dx
    je 1f
deadly_word:
    cmp $0x604, %dx
    je 1f
deadly_dword:                /* of ports that split, the first byte counts */
    cmp $0x505, %dx
    je 1f
    cmp $0x64, %dx
    je 1f
    cmp $0x60, %dx
    je 1f
    cmp $0xf8, %dx
1:  ret
