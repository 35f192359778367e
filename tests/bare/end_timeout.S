// SPDX-License-Identifier: MIT
// A guest that loops for ever is ended by --timeout, in time.
// args: --device exit --timeout 1
// repeat: --device exit --timeout 1 -c 3
// status: 124
// result: ^reason=timeout$
// seconds: 30
#include "bare.inc"
1:  pause
    jmp 1b
