// SPDX-License-Identifier: MIT
// The same for one that leaves the kernel all the time.
// args: --device exit --timeout 1
// status: 124
// seconds: 30
#include "bare.inc"
1:  in $0x80, %al
    jmp 1b
