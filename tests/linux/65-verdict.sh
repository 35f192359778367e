# SPDX-License-Identifier: MIT
# What scripts are told: the gate on the kernel's log, tests in the output, silence.

test_gate_on_a_warning() {
    run vmlet run -k "$CLOUD" --fail-on warn,bug --result r -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at made up" >/dev/kmsg; echo done'
    expect_status 123
    expect_out 'done\n'
    expect_match err 'gate: warn: WARNING: CPU: 0 PID: 1 at made up'
    grep -qx 'reason=gate' r && grep -qx 'warnings=1' r || fail "the result file: $(cat r)"
}
test_gate_allows() {
    run vmlet run -k "$CLOUD" --fail-on warn --allow 'made[ ]up' -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at made up" >/dev/kmsg; exit 3'
    expect_status 3
}
test_tests_and_junit() {
    run vmlet run -k "$CLOUD" --junit j.xml --fail-on tests --kernel-log none -- sh -c 'printf "TAP version 13\n1..2\nok 1 one\nnot ok 2 two\n"; echo "KTAP version 1" >/dev/kmsg; echo "1..1" >/dev/kmsg; echo "ok 1 three" >/dev/kmsg'
    expect_status 123
    expect_match err 'tests: 2 passed, 1 failed, 0 skipped'
    grep -q 'name="two"><failure' j.xml && grep -q 'name="three"/>' j.xml || fail "$(cat j.xml)"
}
test_silence_is_an_end() {
    run vmlet run -k "$CLOUD" --silence-timeout 15 -- sh -c 'for i in 1 2 3; do echo $i; sleep 1; done; sleep 60'
    expect_status 124
    expect_out '1\n2\n3\n'
}
