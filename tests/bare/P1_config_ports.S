// SPDX-License-Identifier: MIT
// Bad input P1: 0xcf8-0xcff written and read at every offset in every width. Only a dword at 0xcf8 is the address
// latch; a byte at 0xcf9 is the reset register, and 0 there resets nothing; across the end of a dword is nobody's.
#include "bare.inc"
#define LATCH 0x80000000 /* vendor and device of 00.0 */
    mov $0xcf8, %ecx     /* the port */
next_port:
    mov $1, %ebx         /* the width */
next_width:
    call set_latch
    step                 /* 1, 5, 9, …: a write */
    xor %eax, %eax
    mov %ecx, %edx
    cmp $2, %ebx
    je 2f
    ja 4f
    out %al, %dx
    jmp 5f
2:  out %ax, %dx
    jmp 5f
4:  out %eax, %dx
5:  mov $LATCH, %esi
    cmp $4, %ebx
    jne 6f
    cmp $0xcf8, %ecx
    jne 6f
    xor %esi, %esi       /* the one that counts */
6:  mov $0xcf8, %edx
    in %dx, %eax
    cmp %esi, %eax
    jne failed
    step                 /* 2: what it selects is still the bridge, and its ids were not written */
    call set_latch
    mov $0xcfc, %edx
    in %dx, %eax
    expect %eax 0x00081b36
    step                 /* 3: a read */
    mov $-1, %eax
    mov %ecx, %edx
    cmp $2, %ebx
    je 2f
    ja 4f
    in %dx, %al
    jmp 5f
2:  in %dx, %ax
    jmp 5f
4:  in %dx, %eax
5:  mov $-1, %esi        /* ones, but for: */
    cmp $0xcfc, %ecx
    jae 7f
    cmp $0xcf9, %ecx
    jne 8f
    cmp $1, %ebx         /* the reset register, which says what it likes */
    je 9f
8:  cmp $0xcf8, %ecx
    jne 8f
    cmp $4, %ebx
    jne 8f
    mov $LATCH, %esi
    jmp 8f
7:  mov %ecx, %edi       /* the data window, inside the dword */
    and $3, %edi
    lea (%edi,%ebx), %edx
    cmp $4, %edx
    ja 8f
    push %ecx
    lea (,%edi,8), %ecx
    mov $0x00081b36, %edx
    shr %cl, %edx
    cmp $2, %ebx
    jb 1f
    je 2f
    mov %edx, %esi
    jmp 3f
1:  mov $0xffffff00, %esi
    and $0xff, %edx
    or %edx, %esi
    jmp 3f
2:  mov $0xffff0000, %esi
    and $0xffff, %edx
    or %edx, %esi
3:  pop %ecx
8:  cmp %esi, %eax
    jne failed
9:  step                 /* 4 */
    shl $1, %ebx
    cmp $4, %ebx
    jbe next_width
    inc %ecx
    cmp $0xcff, %ecx
    jbe next_port
    pass

set_latch:
    mov $LATCH, %eax
    mov $0xcf8, %edx
    out %eax, %dx
    ret
