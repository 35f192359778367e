/* SPDX-License-Identifier: MIT
 *
 * What the payloads share: a Multiboot 1 header, the exit port, steps. A payload ends with `pass`, or with `fail_if` at
 * the step that went wrong, whose number becomes the status (1 up).
 *
 * Entered as Multiboot says: protected mode, flat segments, paging and interrupts off, EAX 0x2BADB002, EBX the
 * information block. A software KVM emulates every instruction here: keep to plain ones (no iret, no SSE).
 */
#define EXIT_PORT 0xf8
#define COM1      0x3f8
#define LAPIC     0xfee00000

    .code32
    .section .text.header, "ax"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
    .text
    .globl _start
_start:
    mov $0x80000, %esp
    xor %ebp, %ebp /* the step */

/* Ends the machine with AL. */
.macro end_al
    out %al, $EXIT_PORT
99: cli
    hlt
    jmp 99b
.endm

.macro end code
    mov $\code, %al
    end_al
.endm

.macro pass
    end 0
.endm

/* The next step; then `fail_if cc` ends with its number if the condition holds. */
.macro step
    inc %ebp
.endm
.macro fail_if cc
    j\cc failed
.endm
/* \value is in the register, else this step failed. */
.macro expect reg value
    cmp $\value, \reg
    jne failed
.endm

    .subsection 1
failed:
    mov %ebp, %eax
    end_al
    .previous
