# SPDX-License-Identifier: MIT
# The README's lines for a workflow, taken from there as they stand, and what they say when the kernel passes, warns, panics, hangs.

workflow() { # TESTS [SED]: what ./run-tests does; how the step is changed
    sed -n '/^### In CI/,/^### Many boots/s/^        //p' "$(readme)" >step
    expect "$(wc -l <step)" = 3
    [ -z "${2-}" ] || sed -i "$2" step
    mkdir -p arch/x86/boot
    ln -sf "$CLOUD" arch/x86/boot/bzImage
    printf '#!/bin/sh\n%s\n' "$1" >run-tests
    chmod +x run-tests
    rm -f kernel.log vmlet.xml vmlet.txt
    run sh -e ./step
}

test_ci_lines_pass() { # 60 s
    workflow 'echo "TAP version 13"; echo 1..2; echo "ok 1 a"; echo "ok 2 b # SKIP"'
    expect_status 0
    grep -qx 'reason=exited' vmlet.txt && grep -qx 'tests_passed=1' vmlet.txt || fail "$(cat vmlet.txt)"
    grep -q 'name="a"/>' vmlet.xml || fail "$(cat vmlet.xml)"
    expect_match kernel.log 'Linux version'
}
test_ci_lines_tests_fail() { # 60 s
    workflow 'echo ran; exit 3'
    expect_status 3
    workflow 'echo "TAP version 13"; echo 1..2; echo "not ok 1 a"; echo "ok 2 b"
        echo "KTAP version 1" >/dev/kmsg; echo "1..1" >/dev/kmsg; echo "ok 1 three" >/dev/kmsg'
    expect_status 123
    expect_match err 'tests: 2 passed, 1 failed, 0 skipped'
    grep -qx 'reason=gate' vmlet.txt && grep -q 'name="a"><failure' vmlet.xml && grep -q 'name="three"/>' vmlet.xml ||
        fail "$(cat vmlet.txt vmlet.xml)"
}
test_ci_lines_kernel_warns() { # 60 s
    workflow 'echo "<4>WARNING: CPU: 0 PID: 1 at kernel/made_up.c:1 f+0x1/0x2" >/dev/kmsg; echo passed'
    expect_status 123
    expect_out 'passed\n'
    expect_match err 'gate: warn: WARNING: CPU: 0 PID: 1 at kernel/made_up.c:1'
    grep -qx 'reason=gate' vmlet.txt && grep -qx 'warnings=1' vmlet.txt || fail "$(cat vmlet.txt)"
    grep -q 'made_up.c:1' vmlet.xml || fail "$(cat vmlet.xml)"
}
test_ci_lines_kernel_panics() { # 60 s
    workflow 'echo c >/proc/sysrq-trigger; sleep 60'
    expect_status 123
    grep -qx 'reason=panic' vmlet.txt && grep -qx 'source=vmlet' vmlet.txt && grep -q '^detail=.*sysrq triggered crash' vmlet.txt ||
        fail "$(cat vmlet.txt)"
    expect_match kernel.log 'Kernel panic - not syncing: sysrq triggered crash'
}
test_ci_lines_kernel_hangs() { # 60 s
    workflow 'echo begun; for i in 1 2 3; do sleep 1; echo $i; done; while :; do sleep 1000; done' 's/--silence-timeout 120/--silence-timeout 12/'
    expect_status 124
    expect_out 'begun\n1\n2\n3\n'
    grep -qx 'reason=timeout' vmlet.txt && grep -q '^detail=nothing came from the guest for 12 s' vmlet.txt || fail "$(cat vmlet.txt)"
}
