// SPDX-License-Identifier: MIT
// dispatch: N accesses of one kind (-DKIND='...'). EDX is the port of COM1's scratch register, which only keeps its byte;
// EDI an ECAM address (cache line size of the host bridge), ESI one that is nobody's. How many instructions vmlet spends on
// one is the difference of two runs with different N.
#include "../bare/bare.inc"
    mov $N, %ecx
    mov $COM1 + 7, %edx
    mov $0xe000000c, %edi
    mov $0xfed40000, %esi
    mov $0x41, %eax
1:  KIND
    dec %ecx
    jnz 1b
    pass
