// SPDX-License-Identifier: MIT
// Two CPUs write to the exit port at once, for ever: the machine ends once, and nothing hangs.
// args: --device exit -c 2
// status: 7
// repeat: --device exit -c 2 --loglevel error
// repeat: --device exit -c 2 --timeout 5
#include "bare.inc"
    movl $0x1ff, LAPIC + 0xf0
    mov $trampoline, %esi    /* to 0x8000, the SIPI's vector 8 */
    mov $0x8000, %edi
    mov $trampoline_end - trampoline, %ecx
    cld
    rep movsb
    movl $0, 0x9000          /* the other is up */
    movl $0xc4500, LAPIC + 0x300
    movl $0xc4608, LAPIC + 0x300
1:  pause
    cmpl $1, 0x9000
    jne 1b
    mov $7, %al
2:  out %al, $EXIT_PORT
    jmp 2b
    .code16
trampoline:
    xor %ax, %ax
    mov %ax, %ds
    movl $1, 0x9000
    mov $7, %al
1:  out %al, $EXIT_PORT
    jmp 1b
trampoline_end:
