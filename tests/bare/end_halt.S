// SPDX-License-Identifier: MIT
// All CPUs halted with interrupts off: nothing can happen any more, and the run ends by itself.
// args: --device exit -c 2
// status: 123
// result: ^reason=halted$
// seconds: 60
#include "bare.inc"
1:  cli
    hlt
    jmp 1b
