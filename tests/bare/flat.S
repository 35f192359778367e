// SPDX-License-Identifier: MIT
// A Multiboot image that is no ELF file: the header's address fields say where it goes.
// format: flat
    .code32
    .text
    .globl _start
header:
    .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
    .long header, header, end, end + 0x1000, _start
_start:
    cmp $0x2badb002, %eax
    setne %al
    cmpl $0, end /* the bss is clear */
    jne 1f
    out %al, $0xf8
1:  cli
    hlt
    jmp 1b
    .balign 4
end:
