// SPDX-License-Identifier: MIT
// Without --device there is no exit port: the write is dropped and the guest goes on, here into a halt.
// args: --nodefaults
// status: 123
// result: ^reason=halted$
#include "bare.inc"
    pass
