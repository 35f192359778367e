# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034,SC2217 # sleep holds a pipe open
# Standard streams that are closed, full, never read, or never end; the signals that come meanwhile.

rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; } # KiB
cpu() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }                    # ticks of 10 ms

test_S3_closed_descriptors_become_no_file_of_ours() {
    bad=0
    for n in 0 1 2 3 4 5 6 7; do
        words=
        [ $((n & 1)) = 0 ] || words="$words 0<&-"
        [ $((n & 2)) = 0 ] || words="$words 1>&-"
        [ $((n & 4)) = 0 ] || words="$words 2>&-"
        eval "timeout 60 '$vmlet' run -k '$serial' --device exit --kernel-log k --result result $words" >out 2>err || bad=1
        result source=guest status=0 reason=exited || bad=1
        grep -qx 'second line' k || { echo "the log is damaged with$words"; bad=1; }
    done
    return $bad
}

test_S2_a_gibibyte_of_input_that_nobody_reads() {
    mkfifo in
    dd if=/dev/zero bs=1M count=1024 2>dd.log | { sh -c "echo \$\$ >pid; exec '$vmlet' run -k '$idle' -m 16 --name s2 --timeout 90" || echo $? >status; } &
    until_true "$vmlet" info s2 mtree
    pid=$(cat pid)
    before=$(rss "$pid") ticks=$(cpu "$pid")
    sleep 2
    after=$(rss "$pid") used=$(($(cpu "$pid") - ticks))
    "$vmlet" stop s2
    until_true test -s status
    [ "$(cat status)" = 123 ]
    echo "resident $before -> $after KiB, $used ticks"
    [ $((after - before)) -lt 1024 ] && [ $used -lt 20 ]
}

# The numbers of payload `count` in file $1 follow each other (the last line may be cut).
in_order() {
    awk 'length($0) == 8 && $0 != sprintf("%08d", NR - 1) { print "line " NR ": " $0; bad = 1; exit } END { exit bad || NR < 1000 }' "$1"
}

test_S3_a_reader_who_comes_back_finds_all_in_order() {
    "$vmlet" run -k "$count" -m 16 --timeout 4 | { sleep 2; cat >out; }
    in_order out
}

test_S3_time_is_up_while_nobody_reads() {
    mkfifo pipe
    sleep 20 0<pipe &
    reader=$!
    got=0
    timeout -k 5 60 "$vmlet" run -k "$count" -m 16 --timeout 1 --result result >pipe || got=$?
    kill $reader
    [ $got = 124 ]
    result reason=timeout status=124
}

test_S3_signals_while_nobody_reads() {
    mkfifo pipe
    sleep 30 0<pipe &
    reader=$!
    for sig in 15 2 1 3; do
        # a shell's background job ignores INT and QUIT, and so would vmlet
        env --default-signal "$vmlet" run -k "$count" -m 16 --name s3 --result result >pipe &
        guest=$!
        until_true "$vmlet" info s3 mtree
        sleep 0.3
        kill -$sig $guest
        ended $((128 + sig))
        result source=vmlet reason=signal status=$((128 + sig))
        [ ! -e run/vmlet/s3.sock ]
    done
    kill $reader
}

test_S3_full_disk_and_reader_that_goes() {
    got=0
    timeout -k 5 60 "$vmlet" run -k "$count" -m 16 --timeout 1 >/dev/full 2>err || got=$?
    [ $got = 124 ] && line 'standard output: No space left on device'
    { timeout -k 5 60 "$vmlet" run -k "$count" -m 16 --timeout 1 2>err || echo $? >status; } | head -n 5 >out
    [ "$(cat status)" = 124 ] && [ "$(tail -n 1 out)" = 00000004 ] && [ ! -s err ]
    status 124 "$vmlet" run -k "$count" -m 16 --timeout 1 --kernel-log /dev/full && line '/dev/full: No space left'
    status 124 sh -c "ulimit -f 8; exec '$vmlet' run -k '$count' -m 16 --timeout 1 --kernel-log k" && line 'k: File too large'
}

# Not even where the kernel's log is all that there is.
test_S3_a_log_on_a_full_disk_is_no_success() {
    got=0
    "$vmlet" run -k "$serial" --device exit -m 16 --result result >/dev/full 2>err </dev/null || got=$?
    [ $got = 125 ] && line 'standard output: No space left on device'
    result status=125 source=vmlet 'detail=standard output: No space left on device'
    status 125 "$vmlet" run -k "$serial" --device exit -m 16 --kernel-log /dev/full && line '/dev/full: No space left'
    status 42 "$vmlet" run -k "$value" --device exit -m 16 --kernel-log /dev/full # which says nothing
    "$vmlet" run -k "$serial" --device exit -m 16 </dev/null >&- 2>err && return 1 || [ $? = 125 ]
}

test_S3_output_that_nobody_took_is_no_success() {
    mkfifo pipe
    sleep 20 0<pipe &
    reader=$!
    exec 9>pipe
    dd if=/dev/zero bs=1 count=65536 >&9 2>dd.log # full
    got=0
    timeout -k 5 60 "$vmlet" run -k "$serial" --device exit -m 16 --timeout 1 --result result >&9 || got=$?
    kill $reader
    [ $got = 124 ]
    result source=vmlet reason=timeout
}

test_stop_and_continue() {
    "$vmlet" run -k "$count" -m 16 --timeout 60 --name sc >out &
    guest=$!
    until_true "$vmlet" info sc mtree
    for _ in 1 2 3; do
        kill -STOP $guest
        sleep 0.1
        kill -CONT $guest
        kill -WINCH $guest
        kill -PIPE $guest
    done
    until_true sh -c '[ "$(wc -l <out)" -gt 1000 ]'
    "$vmlet" stop sc
    ended 123
    in_order out
}

