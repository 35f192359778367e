// SPDX-License-Identifier: MIT
// What a dead kernel does next is not what happened: the result stays panic.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    panic
    lidt none
    ud2
    stand_still
    .data
none:
    .space 6
