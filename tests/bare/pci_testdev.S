// SPDX-License-Identifier: MIT
// pci-testdev as conformance programs use it: each test of each BAR, by exits and by ioeventfds, with and without data match,
// counts what was written; and again after the BARs were moved. Under --trace, which
// takes the ioeventfds away, the counts are the same.
// args: --device exit --device pci-testdev --console none
// repeat: --device exit --device pci-testdev --console none --trace pci-testdev
#include "bare.inc"
#include "pci.inc"
    find PCI_TESTDEV
    command (COMMAND_MEMORY | COMMAND_IO)
    call memory_tests        /* 1-3 */
    call port_tests          /* 4-6 */
    step                     /* 7: moved */
    movl $0xf5678000, 0x10(%esi)
    movl $0xee01, 0x14(%esi)
    call memory_tests        /* 8-10 */
    call port_tests          /* 11-13 */
    step                     /* 14: a test that there is not */
    mov 0x10(%esi), %ebx
    movb $3, (%ebx)
    cmpb $0, 1(%ebx)
    fail_if ne
    pass

memory_tests:
    mov 0x10(%esi), %ebx
    mov $0, %ecx
1:  step
    mov %cl, (%ebx)
    cmpb $1, 1(%ebx)
    fail_if ne
    cmpl $0, 12(%ebx)
    fail_if ne
    mov 4(%ebx), %edi
    add %ebx, %edi
    mov 8(%ebx), %eax
    mov $100, %edx
2:  mov %al, (%edi)
    dec %edx
    jnz 2b
    cmpl $100, 12(%ebx)
    fail_if ne
    not %eax
    mov %al, (%edi)          /* another value: for the second test only */
    mov $100, %eax
    cmp $1, %ecx
    jne 3f
    inc %eax
3:  cmp %eax, 12(%ebx)
    fail_if ne
    inc %ecx
    cmp $3, %ecx
    jb 1b
    ret

port_tests:
    mov 0x14(%esi), %ebx
    and $0xfffc, %ebx
    mov $0, %ecx
1:  step
    mov %ebx, %edx
    mov %cl, %al
    out %al, %dx
    lea 1(%ebx), %edx
    in %dx, %al
    cmp $1, %al
    fail_if ne
    lea 8(%ebx), %edx
    in %dx, %eax
    mov %eax, %edi
    lea 4(%ebx), %edx
    in %dx, %eax
    add %ebx, %eax
    mov %eax, %edx
    mov %edi, %eax
    mov $100, %edi
2:  out %al, %dx
    dec %edi
    jnz 2b
    not %eax
    out %al, %dx
    lea 12(%ebx), %edx
    in %dx, %eax
    mov $100, %edi
    cmp $1, %ecx
    jne 3f
    inc %edi
3:  cmp %edi, %eax
    fail_if ne
    inc %ecx
    cmp $3, %ecx
    jb 1b
    ret
