# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# --repeat, --until-fail, --probe-sweep. exit_value ends with 42, edu_driver with 0; sweep is a driver that its device's failures
# kill in several ways.

good="-k $edu_driver --device exit --device edu -m 16 -c 1"
swept="-k $sweep --device exit --device edu -m 16"

long() { # as status(), for what takes long
    want=$1
    shift
    got=0
    timeout -k 5 "$((120 * ${TEST_SLOW:-1}))" "$@" >out 2>err </dev/null || got=$?
    [ $got = "$want" ] && return
    echo "status $got, not $want: $*"
    cat out err
    return 1
}

test_repeat() {
    status 0 "$vmlet" run $good --repeat 3 --result result --junit j --logs logs
    grep -q '^3 passed, 0 failed' out && [ ! -s err ]
    result source=guest status=0 reason=exited
    grep -q 'tests="3" failures="0" skipped="0"' j
    [ "$(ls logs | tr '\n' ' ')" = 'boot-1.log boot-2.log boot-3.log ' ]
    status 42 "$vmlet" run -k "$value" --device exit -m 16 --repeat 3 -j 2 --result result
    grep -q '^0 passed, 3 failed' out
    grep -q "^    vmlet run -k $value --device exit -m 16\$" out
    result status=42
    status 0 "$vmlet" run $good --repeat 2 --name same
}

# A host whose KVM device is gone after the second boot: what failed, and how often it did well.
test_until_fail() {
    cp "$value" payload
    cp "$edu_driver" good.elf
    ln -s good.elf link
    (until_true grep -q '^ok    boot 2' out2 && ln -sfn payload link.new && mv -T link.new link) &
    got=0
    timeout -k 5 120 "$vmlet" run -k link --device exit --device edu -m 16 -c 1 --until-fail --result result >out2 2>err </dev/null || got=$?
    wait
    [ $got = 42 ]
    grep -Eq '^[0-9]+ passed, 1 failed' out2
    [ "$(grep -c '^ok ' out2)" -ge 2 ]
    result status=42
    status 0 "$vmlet" run $good --until-fail --repeat 2
}

test_repeat_ends_clean_on_signals() {
    for how in '--repeat 9' --until-fail; do
        rm -f result out
        env --default-signal "$vmlet" run -k "$idle" -m 16 $how --name it --result result >out 2>err </dev/null &
        guest=$!
        until_true "$vmlet" info it mtree
        kill -INT $guest
        ended 130
        grep -q '^0 passed, 0 failed, 1 stopped' out
        result source=vmlet status=130 reason=signal
        [ -z "$(ls run/vmlet)" ]
    done
    "$vmlet" run -k "$idle" -m 16 --until-fail --name it >out 2>err </dev/null &
    guest=$!
    until_true "$vmlet" info it mtree
    kill -9 $guest
    ended 137
    until_true sh -c '[ -z "$(ls run/vmlet)" ]'
}

test_many_words() {
    bad=0
    while read -r words; do
        regex=${words#* :: } words=${words%% :: *}
        { status 125 "$vmlet" run -k "$value" $words && line "$regex"; } || { echo "  words: $words"; bad=1; }
    done <<END
--repeat 0 :: --repeat 0: must be
--repeat x :: --repeat x: not a number
--repeat :: --repeat: needs a value
-j 2 :: --jobs and --logs are for many boots
--logs x :: --jobs and --logs are for many boots
--sweep-max 3 :: --sweep-max: of what
--repeat 2 --probe-sweep edu :: goes without --repeat
--repeat 2 -j 2 --name x :: cannot have one --name
--repeat 2 --logs /nonexistent/x :: --logs /nonexistent/x: No such file
--repeat 2 --junit /nonexistent/x :: --junit /nonexistent/x: its folder
--probe-sweep a:b :: --probe-sweep a:b: not a device
--probe-sweep= :: --probe-sweep : not a device
END
    return $bad
}

test_fault_counts() {
    status 0 "$vmlet" run $good --fault edu:irq:count --fault edu0:look:count --fault edu:irq:drop@9 --result result
    result 'fault=edu:irq:count 1' 'fault=edu0:look:count 5' 'fault=edu:irq:drop@9 1'
    grep -q '^vmlet: fault: edu:irq:count: 1 such events$' err
    status 125 "$vmlet" run $good --device edu --fault edu:irq:count && line 'there are 2 devices of class edu: which one'
}

test_probe_sweep() {
    long 1 "$vmlet" run $swept --probe-sweep edu --sweep-max 8 --timeout 6 -j 2 --result result --junit j --logs logs
    grep -q '^edu: 4 register reads, those of one register in a row as one$' out
    grep -q '^edu: 1 DMA transfers$' out
    grep -q '^edu: 1 interrupts$' out
    grep -q '^edu:look:drop@2  *123 .* triple-fault: ' out
    grep -q '^edu:look:drop@3  *123 .* panic: ' out
    grep -q '^edu:look:drop@4  *124 .* timeout: ' out
    grep -q "^    vmlet run -c 1 --fail-on [a-z,]* --fault edu:look:drop@2 $swept --timeout 6\$" out
    grep -q '^ok    edu:look:drop@1 .* ended with status 1$' out
    grep -q '^edu:dma:fail@1  *124 .* timeout: ' out
    grep -q '^ok    edu:irq:drop@1 ' out
    grep -q '^3 passed, 4 failed' out
    result status=123 reason=triple-fault
    grep -q 'tests="7" failures="4" skipped="0"' j
    grep -q 'triple fault' logs/edu-look-drop@2.log
    sed -n 's/^    vmlet run/run/p' out | sort -u | grep @2 >again # as it was told, it happens again
    status 1 "$vmlet" batch again
    grep -q 'triple-fault' out
}

# All reads where that is asked for: 104, of which the later ones in the loop harm nobody.
test_probe_sweep_of_each_read() {
    long 1 "$vmlet" run $swept --probe-sweep edu0 --sweep-max 104 --timeout 6 -j 4
    grep -q '^edu0: 104 register reads$' out
    grep -q '^edu0:read:drop@4  *124 ' out
    grep -q '^103 passed, 4 failed' out
}

test_probe_sweep_that_finds_nothing() {
    status 0 "$vmlet" run $good --probe-sweep edu --result result
    grep -q '^8 passed, 0 failed' out && [ ! -s err ]
    result status=0 'fault=edu:irq:count 1'
}

test_probe_sweep_that_cannot_be() {
    status 125 "$vmlet" run -k "$value" --device exit --device edu -m 16 --probe-sweep edu
    grep -q 'the boot without a fault did not end with 0' err
    grep -q '^0 passed, 1 failed' out
    status 125 "$vmlet" run $good --probe-sweep e1000
    grep -q 'there is no device .e1000.' out
}
