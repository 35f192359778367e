# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# Many boots of a real kernel.
# module: guest/edu-driver

test_batch() { # 120 s
    cat >list <<END
run -k $CLOUD -n mode=none -- true
run -k $CLOUD -n mode=none -- sh -c 'echo it went wrong; exit 3'
run -k $CLOUD -n mode=none --kernel-log none -- sh -c 'echo c >/proc/sysrq-trigger'
END
    run vmlet batch list --timeout 60 --junit junit.xml
    expect_status 1
    expect_match out '^ok    list:1 '
    expect_match out '^list:2  *3 .* ended with status 3$'
    expect_match out '^    \| it went wrong$'
    expect_match out "^    vmlet run --timeout 60s -k $CLOUD -n mode=none -- sh -c 'echo it went wrong; exit 3'\$"
    expect_match out '^list:3  *123 .* panic: Kernel panic - not syncing: sysrq triggered crash$'
    expect_match out '^1 passed, 2 failed'
    expect_match junit.xml 'tests="3" failures="2"'
}

# --repeat and --until-fail as the README has them: 45-readme.

# A hundred in `make soak`.
test_boots_in_a_row() { # 120 s
    run vmlet run -k "$CLOUD" -n mode=none --timeout 120 --until-fail --repeat $((2 * ${TEST_SCALE:-1})) -- true
    expect_status 0
    expect_match out "^$((2 * ${TEST_SCALE:-1})) passed, 0 failed"
}

# The driver of the README: whatever its device does, neither a warning nor a panic nor a hang comes of it. `make soak` tries every
# place; each is a boot of the full kernel.
test_probe_sweep_of_the_edu_driver() { # 300 s
    [ -n "${EDU_KO-}" ] || skip "no edu.ko could be built"
    run vmlet run -k "$FULL_QUICK" -n mode=none --device edu --module "$EDU_KO" --probe-sweep edu --sweep-max ${TEST_SCALE:-2} -- \
        sh -c 'cd /sys/bus/pci/devices/0000:00:01.0 && echo 10 >factorial && cat factorial'
    expect_match out '^edu: [0-9]+ register reads'
    expect_match out '^edu: [1-9][0-9]* interrupts'
    expect_match out '^ok    no fault '
    expect_match out '^ok    edu:(read|look):drop@1 '
    expect_match out '^ok    edu:irq:drop@1 '
    expect_match out ' 0 failed'
    expect_status 0
}

# The gate is on in a sweep: a boot that warns by itself is no beginning.
test_probe_sweep_wants_a_good_start() { # 60 s
    run vmlet run -k "$CLOUD" -n mode=none --device edu --probe-sweep edu -- sh -c 'exit 1'
    expect_status 125
    expect_match err 'the boot without a fault did not end with 0'
}
