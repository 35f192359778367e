# SPDX-License-Identifier: MIT
# files: build/kernel/minimal:/bin/kernel-minimal build/kernel/minimal.map:/bin/kernel-minimal.map
# files: build/kernel/kunit:/bin/kernel-kunit build/kernel/rt:/bin/kernel-rt
# Kernels of our own (tests/own-kernels builds them for `make soak`): one with hardly anything in it, and one with KUnit.

own() { # NAME: its file in $kernel
    kernel=$(command -v "kernel-$1") || skip "there is no kernel of our own here (tests/own-kernels builds it)"
}

test_kernel_with_hardly_anything() { # 90 s, soak
    own minimal
    echo 'a line' >in
    run vmlet run -k "$kernel" --result r --kernel-log none -- sh -c 'read -r line; echo "$line"; echo err >&2; exit 7'
    expect_status 7
    expect_out 'a line\n'
    expect "$(cat err)" = err
    run vmlet run -k "$kernel" -- sh -c 'kill -9 $$'
    expect_status 137
}
# Without a file system to mount it would go on to busybox's init: the panic takes both words.
test_panic_of_a_kernel_with_hardly_anything() { # 90 s, soak
    own minimal
    run vmlet run -k "$kernel" -p 'rdinit=/absent init=/absent' --result r -- true
    expect_status 123
    grep -qx reason=panic r && grep -q '^detail=Kernel panic - not syncing: Requested init /absent failed' r || fail "$(cat r)"
}
# It has no KALLSYMS: what its traces are, only System.map tells.
test_names_for_a_kernel_without_kallsyms() { # 60 s, soak
    own minimal
    vmlet run -k "$kernel" --name tiny --symbols "$kernel.map" -- sleep 50 >out 2>err &
    guest=$!
    wait_for 40 sh -c 'vmlet debug tiny --dump >dump; grep -Eq "RIP  [0-9a-f]{16} \([a-z_]+" dump'
    vmlet stop tiny
    wait $guest || [ $? = 123 ]
}
# One command, as the README has it.
test_kunit() { # 120 s, soak
    own kunit
    run vmlet run -k "$kernel" -p 'kunit_shutdown=reboot' --fail-on tests --junit kunit.xml --timeout 300 --result r
    expect_status 0
    grep -qx tests_failed=0 r && grep -Eqx 'tests_passed=[1-9][0-9]+' r && grep -Eqx 'tests_skipped=[1-9][0-9]*' r || fail "$(cat r)"
    grep -q 'name="vmlet_may_fail"/>' kunit.xml || fail "$(cat kunit.xml)"
    run vmlet run -k "$kernel" -p 'kunit_shutdown=reboot vmlet_test.fail=1' --fail-on tests --junit kunit.xml --timeout 300 --result r
    expect_status 123
    grep -qx tests_failed=1 r && grep -qx reason=gate r || fail "$(cat r)"
    grep -q 'name="vmlet_may_fail"><failure' kunit.xml || fail "$(cat kunit.xml)"
}
test_rt_kernel() { # 90 s, soak
    own rt
    run vmlet run -k "$kernel" -n mode=none -c 2 --fail-on warn,bug,oops -- sh -c 'uname -v; exit 4'
    expect_status 4
    expect_match out PREEMPT_RT
}
test_a_hundred_boots_in_a_row() { # 1200 s, soak
    n=0
    while [ $n -lt 100 ]; do
        run vmlet run -k "$CLOUD" -n mode=none -m 128 --timeout 120 -- sh -c 'exit 42'
        [ "$status" = 42 ] || fail "boot $n"
        n=$((n + 1))
    done
}
