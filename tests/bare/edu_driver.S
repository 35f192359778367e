// SPDX-License-Identifier: MIT
// A driver of edu, as --trace, --lint and --fault see it: identification, factorial by polling, an interrupt raised and
// acknowledged, DMA from RAM, and one thing that no driver may do. edu is function 01.0, its BAR at 0xc0000000.
// args: --device exit --device edu --trace edu,pci --loglevel info
// err: ^ +0\.[0-9]{6} cpu0  0x[0-9a-f]+ +edu0 config W COMMAND=6 MEMORY MASTER$
// err: ^ +0\.[0-9]{6} cpu0  0x[0-9a-f]+ +edu0 R ID=0x10000ed$
// err: edu0 W FACTORIAL=5$
// err: edu0 R STATUS=0$
// err: edu0 W INTR_RAISE=0x100 DMA$
// err: edu0 IRQ 0x100 -> INTx line 17$
// err: edu0 R INTR_STATUS=0x100 DMA$
// err: edu0 W INTR_ACK=0x100 DMA$
// err: edu0 IRQ -> INTx line 17 down$
// err: edu0 W DMA_CMD/4=1 RUN \(64 bytes 0x100000 -> 0x40000, from RAM\)$
// err: ^ +0\.[0-9]{6} - +- +edu0 dma R 0x100000\+64$
// err: edu0 W STATUS\+1/1=5 refused: a size that it does not take$
#include "bare.inc"
#include "edu.inc"
    edu_on                   /* 1 */
    step                     /* 2: 5! */
    movl $5, 8(%esi)
1:  mov 0x20(%esi), %eax
    test $1, %eax
    jnz 1b
    mov 8(%esi), %eax
    expect %eax 120
    step                     /* 3: an interrupt's cause */
    movl $0x100, 0x60(%esi)
    mov 0x24(%esi), %eax
    expect %eax 0x100
    mov %eax, 0x64(%esi)
    movl $0x100000, 0x80(%esi)
    movl $0x40000, 0x88(%esi)
    movl $64, 0x90(%esi)
    movl $1, 0x98(%esi)
2:  mov 0x98(%esi), %eax
    test $1, %eax
    jnz 2b
    movb $5, 0x21(%esi)
    pass
