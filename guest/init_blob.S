/* SPDX-License-Identifier: MIT
 * The in-guest init (guest/init), built by the Makefile, as bytes inside vmlet. */
    .section .rodata, "a"
    .balign 16
    .globl init_blob, init_blob_end
    .hidden init_blob, init_blob_end
init_blob:
    .incbin INIT_ELF
init_blob_end:
    .section .note.GNU-stack, "", @progbits
