// SPDX-License-Identifier: MIT
// Tests in what a guest prints, one of them skipped: seen, none failed, so the gate is open.
// args: --device exit --fail-on tests
// out: ^ok 1 polled$
// err: tests: 1 passed, 0 failed, 1 skipped$
// result: ^tests_passed=1$
// result: ^tests_skipped=1$
#include "bare.inc"
    mov $text, %esi
    mov $text_end - text, %ecx
    mov $COM1, %edx
    cld
    rep outsb
    pass
text:
    .ascii "KTAP version 1\n1..2\nok 1 polled\nok 2 by interrupt # SKIP no line\n"
text_end:
