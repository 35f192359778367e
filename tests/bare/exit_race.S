// SPDX-License-Identifier: MIT
// Two CPUs write to the exit port at once, for ever: the machine ends once, and nothing hangs.
// args: --device exit -c 2
// status: 7
// repeat: --device exit -c 2 --loglevel error
// repeat: --device exit -c 2 --timeout 5
#include "bare.inc"
#include "cpus.inc"
    second_cpu
race:
    mov $7, %al
1:  out %al, $EXIT_PORT
    jmp 1b
second:
    here_i_am
    jmp race
