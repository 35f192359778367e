// SPDX-License-Identifier: MIT
// The information block: memory, command line (program first), modules with their strings, in order.
// args: --device exit -p "alpha beta" -i "$WORK/one" -i "$WORK/two"
// file: one first
// file: two second!
#include "bare.inc"
    step                     /* 1: the magic */
    cmp $0x2badb002, %eax
    fail_if ne
    step                     /* 2: memory, command line and modules are there */
    mov (%ebx), %eax
    and $0xd, %eax
    expect %eax 0xd
    step                     /* 3: mem_lower: at least 600 KiB, at most 640 */
    mov 4(%ebx), %eax
    cmp $600, %eax
    fail_if b
    cmp $640, %eax
    fail_if a
    step                     /* 4: mem_upper: 15 MiB of our 16 */
    mov 8(%ebx), %eax
    expect %eax 15360
    step                     /* 5: the command line: after the first blank, "alpha beta" */
    mov 16(%ebx), %esi
1:  lodsb
    test %al, %al
    fail_if z
    cmp $' ', %al
    jne 1b
    mov $words, %edi
    mov $11, %ecx            /* the NUL too */
    repe cmpsb
    fail_if ne
    step                     /* 6: two modules */
    mov 20(%ebx), %eax
    expect %eax 2
    step                     /* 7: their bytes */
    mov 24(%ebx), %edx
    mov (%edx), %esi
    mov 4(%edx), %eax
    sub %esi, %eax
    expect %eax 6
    cmpl $0x73726966, (%esi) /* "firs" */
    fail_if ne
    step                     /* 8 */
    mov 16(%edx), %esi
    mov 20(%edx), %eax
    sub %esi, %eax
    expect %eax 8
    cmpl $0x6f636573, (%esi) /* "seco" */
    fail_if ne
    step                     /* 9: out of page 0, of 0x1000 and of the image */
    cmp $0x2000, %ebx
    fail_if b
    cmp $0x2000, %esi
    fail_if b
    pass
words:
    .asciz "alpha beta"
