// SPDX-License-Identifier: MIT
// A triple fault ends the run, is named, and shows registers.
// status: 123
// err: triple fault
// err: CR0
// result: ^reason=triple-fault$
// result: ^source=vmlet$
#include "bare.inc"
    lidt nothing
    ud2
nothing:
    .word 0
    .long 0
