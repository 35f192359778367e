# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# `vmlet batch`: lines, statuses, logs, signals; odd hosts. exit_value ends with 42, edu_driver with 0.

pass="run -k $edu_driver --device exit --device edu -m 16 -c 1"

# No guest of ours: neither a socket nor a process whose parent is gone.
nobody_left() {
    until_true sh -c '! pgrep -f -- "--name [b]atch-'"$1"'-"'
    [ -z "$(ls run/vmlet 2>/dev/null)" ]
}

test_batch_of_all_kinds() {
    cat >list <<END
# a comment, a blank line

vmlet run -k $value --device exit -m 16 # 42
$pass
run -k $idle -m 16 --timeout 0.3125
run -k $triple -m 16
run -k '/no such kernel' -m 16
END
    status 1 "$vmlet" batch list -j 2 --timeout 15 --junit junit.xml --logs logs
    grep -q '^list:3  *42 .* ended with status 42$' out
    grep -q "^    vmlet run --timeout 15s -k $value --device exit -m 16\$" out
    grep -q '^list:4  *0 .* passed$' out
    grep -q '^list:5  *124 .* timeout: the time was up after 0.3125 s$' out
    grep -q '^list:6  *123 .* triple-fault: vCPU 0' out
    grep -q '^list:7  *125 .* setup: kernel /no such kernel: No such file' out
    grep -q "^    vmlet run --timeout 15s -k '/no such kernel' -m 16\$" out
    grep -q '^1 passed, 4 failed, [0-9.]* s$' out
    [ ! -s err ]
    grep -q 'tests="5" failures="4" skipped="0"' junit.xml
    grep -q 'name="list:4" time="[0-9.]*"/>' junit.xml
    [ "$(ls logs | tr '\n' ' ')" = 'list-3.log list-4.log list-5.log list-6.log list-7.log ' ]
    grep -q 'triple fault at RIP' logs/list-6.log
    echo "run -k '/no such kernel' -m 16" >list
    status 1 "$vmlet" batch list --timeout 1000001 # as a number with an exponent it would be no time
    grep -q '^    vmlet run --timeout 1000001s ' out && grep -q 'setup: kernel /no such kernel' out
}

test_batch_that_passes() {
    printf '%s\n%s\n%s\n' "$pass" "$pass" "$pass" | status_in 0 "$vmlet" batch - -j 3
    [ "$(grep -c '^ok    stdin:[1-3] ' out)" = 3 ]
    : >empty
    status 125 "$vmlet" batch empty && line '^vmlet: empty: there is no run in it$'
    printf '# nothing\n\n' | status_in 125 "$vmlet" batch - && line '^vmlet: -: there is no run in it$'
}

# as status(), with our standard input
status_in() {
    want=$1
    shift
    got=0
    timeout -k 5 "$((30 * ${TEST_SLOW:-1}))" "$@" >out 2>err || got=$?
    [ $got = "$want" ] || { echo "status $got, not $want"; cat out err; failed; }
}

test_a_failed_line_can_be_repeated() {
    echo "run -k $value --device exit -m 16 -p 'a \$b \"c\" it'\\''s *'" >list
    status 1 "$vmlet" batch list
    sed -n 's/^    vmlet run/run/p' out | tail -n 1 >again
    status 1 "$vmlet" batch again
    ln -s "$vmlet" vmlet
    sed 's/^/PATH=.:$PATH vmlet /' again >script
    status 42 sh script
}

test_batch_mistakes_are_told_before_anything_runs() {
    cat >bad <<END
$pass --result r
run -k 'x
run -k x | tee y
list
run --bogus
END
    status 125 "$vmlet" batch bad
    grep -q "^vmlet: bad:2: a ' is not closed" err
    grep -q '^vmlet: bad:3: .* for a shell' err
    grep -q '^vmlet: bad:4: list: a line is a run command' err
    grep -q '^vmlet: bad:5: --bogus: no such option' err
    [ "$(wc -l <err)" = 4 ] && [ ! -s out ] && [ ! -e r ]
    printf '%s --name x\n%s --name x\n' "$pass" "$pass" >bad
    status 125 "$vmlet" batch bad -j 2 && line '^vmlet: bad:2: --name x: bad:1 has it too'
    status 0 "$vmlet" batch bad
    seq 30 >bad
    status 125 "$vmlet" batch bad
    [ "$(wc -l <err)" = 21 ] && grep -q 'bad: and 10 more' err
    head -c 300000 /dev/urandom >bad
    status 125 "$vmlet" batch bad
    [ "$(wc -l <err)" -le 21 ]
}

test_batch_words() {
    echo "$pass" >list
    status 125 "$vmlet" batch && line 'takes the name of one file'
    status 125 "$vmlet" batch list list && line 'takes the name of one file'
    status 125 "$vmlet" batch nothing && line 'batch: nothing: No such file'
    status 125 "$vmlet" batch . && line 'batch: \.: Is a directory'
    status 125 "$vmlet" batch list -j 0 && line '-j 0: must be'
    status 125 "$vmlet" batch list --junit /nonexistent/x && line '--junit /nonexistent/x: its folder'
    status 125 "$vmlet" batch list --logs /nonexistent/x && line '--logs /nonexistent/x: No such file'
    status 125 "$vmlet" batch list --logs list && line '--logs list: not a folder'
    : >list
    status 0 "$vmlet" batch --help && grep -q -- --fail-fast out
}

test_batch_lines_that_are_too_long_or_odd() {
    { printf '%s -p ' "$pass"; head -c 1000000 /dev/zero | tr '\0' x; echo; echo "$pass"; } >list
    status 1 "$vmlet" batch list
    grep -q '^FAIL  list:1 .* a word of the command is longer than the kernel hands on' out
    grep -q '^ok    list:2 ' out
    printf '%s\0 x\n' "$pass" >list
    status 125 "$vmlet" batch list && line 'list:1: it has a control character'
    printf '%s\r\n' "$pass" >list
    status 0 "$vmlet" batch list
    for j in 0 -1 1025 x ''; do status 125 "$vmlet" batch list -j "$j" && line "batch: -j $j: "; done
    status 0 "$vmlet" batch list -j 1000
    odd=$(printf 'a\nb\033[1mc')
    cp list "$odd"
    status 0 "$vmlet" batch "$odd" && grep -q '^ok    a?b?\[1mc:1 ' out
}

test_batch_fail_fast() {
    printf 'run -k %s -m 16 --device exit\nrun -k %s -m 16\n%s\n' "$value" "$idle" "$pass" >list
    status 1 "$vmlet" batch list -j 2 --fail-fast --junit j
    grep -q '^list:2  *143 .* stopped$' out
    grep -q '^list:3  *-  *-  not run$' out
    grep -q '^0 passed, 1 failed, 1 stopped, 1 not run' out
    grep -q 'tests="3" failures="1" skipped="2"' j
}

test_batch_ends_its_guests_on_signals() {
    printf 'run -k %s -m 16\nrun -k %s -m 16\n%s\n' "$idle" "$idle" "$pass" >list
    for s in INT TERM HUP; do
        rm -f out
        env --default-signal "$vmlet" batch list -j 2 >out 2>err </dev/null &
        guest=$!
        until_true "$vmlet" info "batch-$guest-2" mtree
        until_true "$vmlet" info "batch-$guest-1" mtree
        kill -$s $guest
        case $s in INT) ended 130 ;; TERM) ended 143 ;; HUP) ended 129 ;; esac
        grep -q ': ending what runs (2)' out
        grep -q '^0 passed, 0 failed, 2 stopped, 1 not run' out
        nobody_left $guest
    done
}

test_batch_killed_takes_its_guests_along() {
    printf 'run -k %s -m 16\nrun -k %s -m 16\n' "$idle" "$idle" >list
    "$vmlet" batch list -j 2 >out 2>err </dev/null &
    guest=$!
    until_true "$vmlet" info "batch-$guest-2" mtree
    kill -9 $guest
    ended 137
    nobody_left $guest
}

test_batch_on_a_full_disk() {
    printf 'run -k %s -m 16\n%s\n' "$triple" "$pass" >list
    (ulimit -f 1; status 1 "$vmlet" batch list --logs logs) # 512 bytes are less than the triple fault's dump
    grep -q 'list:1: its log in logs is lost: File too large' err
    printf '%s\n' "$pass" >list
    status 125 "$vmlet" batch list --junit /dev/full && line '/dev/full: No space left'
    mkfifo logs/list-1.log.x && mv logs/list-1.log.x logs/list-1.log
    status 125 "$vmlet" batch list --logs logs && line 'list:1: its log in logs is lost'
    rm logs/list-1.log && ln -s ../precious logs/list-1.log && echo 1 >precious
    status 125 "$vmlet" batch list --logs logs && line 'is lost'
    [ "$(cat precious)" = 1 ]
}

test_batch_with_odd_streams() {
    printf '%s\n%s\n' "$pass" "$pass" >list
    got=0
    "$vmlet" batch list <&- >/dev/full 2>err || got=$?
    [ $got = 125 ] && grep -q 'standard output: cannot be written' err
    got=0
    "$vmlet" batch list >&- 2>err </dev/null || got=$?
    [ $got = 125 ]
    { got=0; "$vmlet" batch list 2>err </dev/null || got=$?; echo $got >status; } | true
    [ "$(cat status)" = 125 ] && grep -q 'standard output' err
    got=0
    setsid "$vmlet" batch list >out 2>&- <&- || got=$?
    [ $got = 0 ] && grep -q '^2 passed' out
    "$vmlet" batch - <&- >out 2>err || got=$?
    [ $got = 125 ] && line 'batch: standard input: Bad file'
    # nobody reads: the boots go on, and a signal ends the wait
    mkfifo pipe
    # shellcheck disable=SC2217 # that is the point
    sleep 30 <pipe &
    reader=$!
    for i in $(seq 120); do echo "run -k /nonexistent/$i-$(head -c 500 /dev/zero | tr '\0' x)"; done >list
    env --default-signal "$vmlet" batch list -j 8 --junit j >pipe 2>err </dev/null &
    guest=$!
    until_true test -s j
    kill -INT $guest
    ended 130
    kill $reader
}

test_batch_on_a_terminal() {
    command -v script >/dev/null || { echo "needs script"; return 77; }
    printf '%s\nrun -k %s -m 16 --timeout 1.5\n' "$pass" "$idle" >list
    script -qec "'$vmlet' batch list" /dev/null >typescript </dev/null || :
    tr '\r' '\n' <typescript >lines
    grep -q '\[#*\.*\] 1 of 2, 1 running, 0 failed, 0:0' lines
    ! grep -q '^ok ' lines
    grep -q 'FAIL  list:2' lines
    grep -q '1 passed, 1 failed' lines
    script -qec "'$vmlet' batch list >out" /dev/null >typescript </dev/null || :
    grep -q ' of 2, ' typescript
    grep -q '^ok ' out
    ! grep -q "$(printf '\033')" out
}

test_batch_of_many_leaves_nothing() {
    for _ in $(seq $((40 * ${TEST_SCALE:-1}))); do echo "$pass"; done >list
    "$vmlet" batch list -j 4 >out
    grep -q "^$((40 * ${TEST_SCALE:-1})) passed, 0 failed" out
    [ -z "$(ls run/vmlet)" ]
}

test_batch_of_lines_that_are_many_boots() {
    printf '%s --repeat 3 -j 2\nrun -k %s --device exit -m 16 --repeat 2\n' "$pass" "$value" >list
    status 1 "$vmlet" batch list
    grep -q '^list:1  *0 .* passed$' out
    grep -q '^list:2  *42 .* ended with status 42$' out
    printf 'run -k %s -m 16 --until-fail\n' "$idle" >list
    "$vmlet" batch list >out 2>err </dev/null &
    guest=$!
    until_true sh -c '[ -n "$(ls run/vmlet)" ]'
    kill -9 $guest # and the guest's parent is told, and tells the guest
    ended 137
    until_true sh -c '[ -z "$(ls run/vmlet)" ]'
}

test_batch_without_descriptors_left() {
    for _ in 1 2 3 4 5 6; do echo "$pass"; done >list
    # shellcheck disable=SC3045 # dash and busybox have it
    (ulimit -n 24; status 1 "$vmlet" batch list -j 6)
    grep -q ' 125 .* it could not be started: Too many open files$' out
    grep -q '^[1-5] passed, [1-5] failed' out # make, for one, leaves some open in its children
}

test_guests_of_lines_keep_their_results() {
    printf 'run -k %s --device exit -m 16 --result r --name mine\n' "$value" >list
    status 1 "$vmlet" batch list
    cp r result
    result source=guest status=42 reason=exited
}

# Some launchers ignore SIGCHLD, and leave it so: then a child's status is nobody's.
test_batch_under_ignored_sigchld() {
    cat >ignore.c <<'END'
#include <signal.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    (void)argc;
    signal(SIGCHLD, SIG_IGN);
    execv(argv[1], argv + 1);
    return 99;
}
END
    $cc -o ignore ignore.c
    printf '%s\n%s\n' "$pass" "run -k $value --device exit" >lines
    status 1 ./ignore "$vmlet" batch lines
    grep -q '^1 passed, 1 failed' out
}
