# SPDX-License-Identifier: MIT
# The control socket of a running guest.

# A guest called g1 that says "up" and stays, until the test ends.
start() { # [OPTION...]
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    vmlet run -k "$CLOUD" --name g1 --result result "$@" -- sh -c 'echo up; i=0; while :; do echo $i; i=$((i + 1)); sleep 1; done' >out 2>err </dev/null &
    pid=$!
    # shellcheck disable=SC2064 # the value of now
    trap "kill -9 $pid 2>/dev/null || :" EXIT
    wait_for 100 grep -q up out
    cp out up
}

test_list_mtree_pause_resume_and_stop() { # 180 s
    start
    vmlet list >list
    expect_match list '^.*g1'
    vmlet info g1 mtree >tree
    expect_match tree '^ *[0-9a-f]{16}-[0-9a-f]{16} \(prio -?[0-9]+, (i/o|ram|rom|container)\): '
    expect_match tree 'alias'
    vmlet info g1 mtree -f >flat
    expect_match flat '^ *0000000000000000-[0-9a-f]{16} \(prio -?[0-9]+, ram\)'
    expect_match flat 'ram'
    vmlet pause g1
    sleep 1
    a=$(wc -l <out)
    sleep 3
    expect "$(wc -l <out)" -le $((a + 1))
    vmlet resume g1
    sleep 4
    expect "$(wc -l <out)" -gt $((a + 1))
    vmlet stop g1
    status=0
    wait $pid || status=$?
    expect_status 123
    expect_match result '^reason=stopped$'
    vmlet list >list
    expect_no_match list 'g1'
}
# The command is told by SIGTERM, and may say what it has to; one that will not end is killed.
test_stop_asks_the_command() { # 120 s
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    for answer in 'echo bye; exit 0' ''; do
        vmlet run -k "$CLOUD" -n mode=none --name asked --result result -- sh -c "trap '$answer' TERM; echo up; while :; do sleep 0.1; done" >out 2>err </dev/null &
        pid=$!
        wait_for 100 grep -q up out
        began=$(date +%s)
        vmlet stop asked
        status=0
        wait $pid || status=$?
        expect_status 123
        expect_match result '^reason=stopped$'
        if [ "$answer" ]; then
            expect_match out '^bye$'
            expect_match result '^detail=vmlet stop: the guest reported 0$'
        else
            expect $(($(date +%s) - began)) -ge 5
            expect_match result '^detail=vmlet stop: the (command died, which counts as 137|guest was asked, and did not end)$'
        fi
    done
}
test_socket_of_a_dead_process() { # 180 s
    start
    kill -9 $pid
    wait $pid || :
    vmlet list >list
    expect_no_match list 'g1'
}
test_no_such_guest() { # 10 s
    XDG_RUNTIME_DIR=$PWD run vmlet pause nobody
    expect "$status" != 0
    expect_match err 'nobody'
}
# The guest's time stands still with it, whichever clock it takes, and its watchdogs (lockups after 2 s, stalls after 3) say
# nothing of a pause of 6.
pause_stops() { # CLOCK PARAMS
    mkfifo go
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    # shellcheck disable=SC2016 # for the guest
    vmlet run -k "$CLOUD" -c 2 --name g1 --kernel-log kernel.log -p "watchdog_thresh=1 rcupdate.rcu_cpu_stall_timeout=3 $2" -- \
        sh -c 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource
               while :; do :; done & cut -d. -f1 /proc/uptime; echo up; read x; cut -d. -f1 /proc/uptime; sleep 2' >out 2>err <go &
    pid=$!
    # shellcheck disable=SC2064 # the value of now
    trap "kill -9 $pid 2>/dev/null || :" EXIT
    exec 9>go
    wait_for 100 grep -q up out
    vmlet pause g1
    sleep 6
    vmlet resume g1
    echo >&9
    status=0
    wait $pid || status=$?
    expect_status 0
    expect "$(sed -n 1p out)" = "$1"
    expect $(($(sed -n 4p out) - $(sed -n 2p out))) -le 4
    expect_no_match kernel.log '[Ll]ockup|stall(ed|s on)|unstable.*clocksource|skew'
}
test_pause_stops_kvmclock() { # 180 s
    pause_stops kvm-clock ''
}
test_pause_stops_the_tsc() { # 180 s
    pause_stops tsc 'clocksource=tsc tsc=reliable'
}
# Prodded as by lkvm: a SysRq key through the serial console, an NMI that no driver expects.
test_debug() { # 180 s
    start --kernel-log kernel.log -c 1 -p 'console=ttyS0'
    vmlet debug g1 >dump
    expect_match dump '^vCPU 0$'
    expect_match dump '^RIP  ffffffff[0-9a-f]{8} '
    vmlet debug g1 --sysrq s
    wait_for 10 grep -q 'sysrq: Emergency Sync' kernel.log
    vmlet debug g1 --nmi
    wait_for 10 grep -q 'NMI received for unknown reason' kernel.log
    vmlet stat g1 >stat
    expect_match stat '^vCPU 0 .* exits: .*io [0-9]'
}
