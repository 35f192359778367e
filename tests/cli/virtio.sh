# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# What virtio costs the process, and what is said about disks.

test_a_kick_costs_no_exit() {
    command -v strace >/dev/null || { echo "needs strace"; return 77; }
    # a thousand requests: the process is woken for each, and the vCPU never leaves the kernel for one
    # (a file a thread: in one for all, a call that another thread's comes into is cut in two)
    strace -ff -o trace "$vmlet" run -k "$rng" --device exit --device virtio-rng --console none
    cat trace.* >trace
    runs=$(grep -c 'KVM_RUN' trace) asked=$(grep -c 'getrandom(.*, 16, ' trace) reads=$(grep -c '^read(.*\\0", 8)' trace || true)
    echo "$runs KVM_RUN, $asked requests, $reads reads of eventfds"
    [ "$asked" -eq 1000 ]
    [ "$runs" -lt 150 ]
    [ "$reads" -lt 50 ]
}

test_disks_that_are_none() {
    for d in /nowhere/disk /dev/null '' ',ro'; do
        got=0
        "$vmlet" run -k "$value" -d "$d" 2>err || got=$?
        [ "$got" = 125 ]
        [ "$(wc -l <err)" = 1 ]
        cat err
    done
    truncate -s 1M d.img
    guest d "$idle" -d d.img
    got=0
    "$vmlet" run -k "$value" -d d.img 2>err || got=$?
    kill $guest
    ended 143 # until then the disk is its own
    [ "$got" = 125 ] && grep -q 'another process has it as its disk' err
    "$vmlet" run -k "$value" --device exit -d d.img,ro --device virtio-blk,file=d.img,ro || got=$?
    [ "$got" = 42 ]
}

test_vsock_words_and_files() {
    for with in 2,path=v.sock x,path=v.sock 3,path= 3,path=/nowhere/v.sock 3,path=/dev/null; do
        got=0
        "$vmlet" run -k "$value" --vsock "$with" 2>err || got=$?
        cat err
        [ "$got" = 125 ] && [ "$(wc -l <err)" = 1 ] && grep -q vsock err
    done
    # a socket that is there while the guest is, however it ends; one that was left by a dead process is replaced
    for end in stop KILL TERM; do
        "$vmlet" run -k "$idle" -m 16 --name vs --timeout 90 --vsock 3,path="$PWD/v.sock" &
        pid=$!
        until_true "$vmlet" info vs mtree >/dev/null
        [ -S v.sock ]
        got=0
        "$vmlet" run -k "$value" --vsock "4,path=$PWD/v.sock" 2>err || got=$?
        [ "$got" = 125 ] && grep -q 'somebody listens there' err
        if [ $end = stop ]; then "$vmlet" stop vs; else kill -$end $pid; fi
        wait $pid || :
        [ $end = KILL ] || [ ! -e v.sock ]
    done
}
