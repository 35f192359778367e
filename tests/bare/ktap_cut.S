// SPDX-License-Identifier: MIT
// A test that fails in the last line of a log, whose end the guest did not live to print, has failed.
// args: --device exit --fail-on tests
// status: 123
// err: tests: 1 passed, 1 failed, 0 skipped$
// result: ^reason=gate$
// result: ^last_line=not ok 2 by interrupt$
#include "bare.inc"
    mov $text, %esi
    mov $text_end - text, %ecx
    mov $COM1, %edx
    cld
    rep outsb
    pass
text:
    .ascii "KTAP version 1\n1..2\nok 1 polled\nnot ok 2 by interrupt"
text_end:
