// SPDX-License-Identifier: MIT
// pvpanic: the guest says that it panicked, and stops.
// status: 123
// result: ^reason=panic$
#include "bare.inc"
    mov $PVPANIC, %edx
    in %dx, %al
    step
    test $1, %al
    fail_if z
    panic
    stand_still
