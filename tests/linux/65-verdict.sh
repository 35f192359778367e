# SPDX-License-Identifier: MIT
# What scripts are told: 69-ci has the gate, tests in log and output, silence. Here is what is excused.

test_gate_allows() {
    run vmlet run -k "$CLOUD" --fail-on warn --allow 'made[ ]up' -- sh -c 'echo "<4>WARNING: CPU: 0 PID: 1 at made up" >/dev/kmsg; exit 3'
    expect_status 3
}
