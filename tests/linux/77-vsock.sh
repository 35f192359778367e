# SPDX-License-Identifier: MIT
# programs: socat
# virtio-vsock: programs of the guest (AF_VSOCK) and of the host (Unix sockets), with socat at both ends and Debian's drivers.

sum() { md5sum <"$1"; }

# 10 MB each way, whole; nobody at the other end; the file gone at the end.
test_vsock_both_ways() { # 180 s
    need socat
    add_programs socat
    head -c 10000000 /dev/urandom >file
    socat -u UNIX-LISTEN:v.sock_7 CREATE:back &
    stop_later $!
    # shellcheck disable=SC2086 # words
    vmlet run -m 256 -c 1 -k "$CLOUD" -n mode=none --vsock "3,path=$PWD/v.sock" $adds -- sh -c '
        head -c 10000000 /dev/urandom >/tmp/file; md5sum </tmp/file
        socat -u VSOCK-LISTEN:99 CREATE:/tmp/in &
        socat -u OPEN:/tmp/file VSOCK-CONNECT:2:7
        socat -u OPEN:/tmp/file VSOCK-CONNECT:2:8 2>/dev/null || echo nobody at 8
        echo sent; wait; md5sum </tmp/in' >v.out 2>v.log </dev/null &
    guest_pid=$!
    stop_later $guest_pid
    wait_for 100 grep -q sent v.out
    (echo CONNECT 98; sleep 1) | socat -t 5 - UNIX-CONNECT:v.sock >answer98 || :
    (echo CONNECT 99; cat file) | socat -t 20 - UNIX-CONNECT:v.sock >answer99
    wait $guest_pid || fail "the guest ended with $?"
    ran='vmlet run' status=0
    cp v.out out
    expect_match out '^nobody at 8$'
    wait_for 10 test "$(sum back)" = "$(head -n 1 v.out)"
    expect "$(tail -n 1 v.out)" = "$(sum file)"
    expect_match answer99 '^OK [0-9]+$'
    expect ! -s answer98
    expect ! -e v.sock
}

somebody_at_99() { (echo CONNECT 99; sleep 0.3) | socat -t 5 - UNIX-CONNECT:v.sock | grep -q '^OK '; }

# Connections side by side, both ways at once, each an echo: what is sent comes back, and is nobody else's. In soak fifty each way,
# eight at a time. (Linux gives up a connect after two seconds, which a busy bed can lose at once: then the guest tries again.)
test_vsock_echoes_side_by_side() { # 120 s
    need socat
    add_programs socat
    n=$((1 + ${TEST_SCALE:-1})) bytes=200000
    seq 100000 999999 | head -c $bytes >file
    sum=$(md5sum <file)
    mkdir back
    mkfifo hold
    socat -t 60 UNIX-LISTEN:v.sock_7,fork EXEC:cat &
    stop_later $!
    # shellcheck disable=SC2086 # words
    vmlet run -m 256 -c 1 -k "$CLOUD" -n mode=none --vsock "3,path=$PWD/v.sock" --add file:/file $adds -- sh -c '
        socat -t 60 VSOCK-LISTEN:99,fork,backlog=128 EXEC:cat & listener=$!
        read -r _; i=0
        while [ $i -lt '$n' ]; do i=$((i + 1)); { for try in 1 2 3 4; do ! socat -t 60 - VSOCK-CONNECT:2:7 </file >/tmp/$i || break; done; md5sum </tmp/$i; } & all="$all $!"; [ $((i % 8)) != 0 ] || { wait $all; all=; }; done
        [ -z "$all" ] || wait $all; echo finished; read -r _; kill $listener' >v.out 2>v.log <hold &
    guest_pid=$!
    exec 8>hold
    stop_later $guest_pid
    wait_for 100 somebody_at_99
    echo >&8
    i=0 all=
    while [ $i -lt $n ]; do
        i=$((i + 1))
        { (echo CONNECT 99; cat file) | socat -t 60 - UNIX-CONNECT:v.sock | tail -n +2 | md5sum >back/$i; } &
        all="$all $!"
        # shellcheck disable=SC2086 # numbers
        [ $((i % 8)) != 0 ] || { wait $all; all=; }
    done
    # shellcheck disable=SC2086 # numbers
    [ -z "$all" ] || wait $all
    wait_for 600 grep -q finished v.out
    echo >&8
    wait $guest_pid || fail "the guest ended with $?"
    ran='vmlet run' status=0
    cp v.out out
    expect "$(cat back/* | grep -cxF "$sum")" = $n
    expect "$(grep -cxF "$sum" out)" = $n
}

# The option in one line, and what is wrong with it.
test_vsock_refusals() { # 30 s
    for with in 2,path=v.sock x,path=v.sock 3,path=/nowhere/v.sock 3,path=/dev/null; do
        run vmlet run -k "$CLOUD" --vsock "$with"
        expect_status 125
        expect "$(wc -l <err)" = 1
        expect_match err 'vsock'
    done
}
