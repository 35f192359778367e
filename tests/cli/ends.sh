# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# How runs end, several things at once among them; and that nothing is left behind.

test_many_short_runs_leave_nothing() {
    n=0
    while [ $n -lt $((50 * ${TEST_SCALE:-1})) ]; do
        n=$((n + 1))
        got=0
        timeout -k 5 60 "$vmlet" run -k "$value" --device exit -m 16 -c $((n % 4 + 1)) >out 2>err </dev/null || got=$?
        [ $got = 42 ] && [ ! -s err ] || { echo "run $n: status $got"; cat err; return 1; }
    done
    [ -z "$(ls run/vmlet)" ]
}

test_exit_with_the_console_full() {
    "$vmlet" run -k "$flood" --device exit -m 16 --result result | { sleep 1; wc -c; } >n
    [ "$(cat n)" -eq 100000 ]
    result status=0 reason=exited
}

test_triple_fault_and_timeout() {
    for t in 1ms 10ms 20ms 50ms 100ms; do
        got=0
        timeout -k 5 60 "$vmlet" run -k "$triple" -m 16 --timeout $t --result result >out 2>err || got=$?
        case $got in
        123) result reason=triple-fault ;;
        124) result reason=timeout ;;
        *) return 1 ;;
        esac
    done
}

test_result_through_a_pipe() {
    mkfifo fifo
    cat fifo >result &
    status 42 "$vmlet" run -k "$value" --device exit --result fifo
    wait
    result source=guest status=42 reason=exited
    "$vmlet" run -k "$value" --device exit --result /dev/fd/3 3>result || [ $? = 42 ]
    result status=42
    status 42 "$vmlet" run -k "$value" --device exit --result /dev/full && line '/dev/full: No space left'
    for option in result junit; do # and no success without the report of it
        status 125 "$vmlet" run -k "$edu_driver" -m 16 --device exit --device edu --$option /dev/full && line '/dev/full: No space left'
    done
}

test_pipes_that_nobody_reads() {
    mkfifo fifo
    status 42 "$vmlet" run -k "$value" --device exit --timeout 1 --result fifo && line 'fifo: nobody reads it'
    status 125 "$vmlet" run -k "$value" --timeout 1 --kernel-log fifo --result result && line 'fifo: nobody reads it'
    result reason=setup status=125
    "$vmlet" run -k "$value" --kernel-log fifo --result result &
    guest=$!
    hears $guest
    kill $guest
    ended 143
    result reason=signal status=143
}

test_ram_file_that_somebody_truncates() {
    guest ram "$count" --mem-file ram --result result >out 2>err
    : >ram
    ended 125
    grep -q 'ram: .*trunc\|ram.*short' err || { cat err; return 1; }
    result source=vmlet status=125 reason=setup
}

test_keys_and_terminals() {
    command -v script >/dev/null || { echo "needs script"; return 77; }
    cat >inner <<END
stty -a >before
'$vmlet' run -k '$idle' -m 16 --name keys \$1 --result result
echo \$? >status
stty -a >after
END
    run() { script -qec "sh inner '$1'" /dev/null >typescript; }
    up() { until_true "$vmlet" info keys mtree; } # then the terminal is raw, too
    { up; printf 'x\001\001x\001x'; sleep 0.5; } | run '--timeout 60'
    cmp before after && result reason=stopped 'detail=Ctrl-a x' && [ "$(cat status)" = 123 ]
    { sleep 2; } | run '--timeout 1'
    cmp before after && result reason=timeout
    { up; printf '\003'; sleep 2; } | run '--timeout 2' # Ctrl-c is the guest's
    cmp before after && result reason=timeout
}

test_an_idle_guest_wakes_nobody() {
    command -v strace >/dev/null || { echo "needs strace"; return 77; }
    "$vmlet" run -k "$idle" -m 16 --name i --timeout 90 &
    guest=$!
    until_true "$vmlet" info i mtree
    got=0
    timeout -s INT 3 strace -f -p $guest -o trace || got=$?
    kill $guest
    ended 143
    # the look at halted CPUs comes after 1, 2 and 4 s, some 15 calls each
    grep -c '^[0-9]* *[a-z]' trace >calls || true
    echo "$(cat calls) calls"
    [ "$(cat calls)" -lt 60 ]
}

# A test program that did not start its tests must not pass for one whose tests passed.
test_gate_on_tests_that_never_came() {
    status 123 "$vmlet" run -k "$serial" --device exit --fail-on tests --kernel-log k --result result
    line 'gate: tests: no test was seen'
    result status=123 reason=gate
    grep -q '^detail=tests: no test was seen .*(the guest.s status was 0)$' result
    status 0 "$vmlet" run -k "$serial" --device exit --fail-on warn --kernel-log k
}
