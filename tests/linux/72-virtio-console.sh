# SPDX-License-Identifier: MIT
# virtio-console with Debian's own driver: the guest's console on hvc0, and named ports.
# programs: script socat

# A whole log: the early console has it up to the line that hvc0 goes on with, and nothing is said twice.
test_virtio_console_from_a_pipe() { # 150 s
    printf 'echo on $(tty) >/dev/hvc0\nexit\n' >in
    run vmlet run -k "$CLOUD" --console virtio -n mode=none
    expect_status 0
    expect "$(grep -c 'Linux version' out)" = 1
    expect_match out 'console \[hvc0\] enabled'
    expect_match out '^on /dev/hvc0'
}
test_virtio_console_full_kernel() { # 240 s
    printf 'echo on $(tty) $(uname -r)\nexit\n' >in
    run vmlet run -k "$FULL_QUICK" --console virtio -n mode=none -p quiet
    expect_status 0
    expect_match out '^on /dev/hvc0 [0-9.-]*-amd64'
}
# A panic after the log has moved over to hvc0 is a panic.
test_virtio_console_panic() { # 150 s
    printf 'echo c >/proc/sysrq-trigger\n' >in
    run vmlet run -k "$CLOUD" --console virtio -n mode=none -p quiet --result result
    expect_status 123
    expect_match result '^reason=panic'
    expect_match out 'Kernel panic - not syncing: sysrq triggered crash'
}
# With a command it carries the kernel's log, and the command's streams stay apart.
test_virtio_console_beside_a_command() { # 120 s
    run vmlet run -k "$CLOUD" --console virtio -n mode=none -p loglevel=7 -- sh -c 'echo hi; echo marked >/dev/kmsg'
    expect_status 0
    expect_out 'hi\n'
    expect "$(grep -c 'Linux version' err)" = 1
    expect_match err 'marked'
}
test_virtio_console_terminal_and_its_size() { # 200 s
    cat >inner <<'END'
stty rows 40 cols 100
(while ! grep -q 'READY' typed; do sleep 0.3; done; stty rows 51 cols 123 </dev/tty) &
vmlet run -k "$CLOUD" --console virtio -n mode=none -p quiet
END
    : >typed
    {
        wait_for 100 grep -q '# ' typed
        printf 'stty size; echo READ""Y; while [ "$(stty size)" = "40 100" ]; do sleep 0.3; done; stty size; exit\n'
        wait_for 60 grep -q '51 123' typed
        sleep 2
    } | script -qfec 'sh inner' typed >/dev/null
    expect_match typed '^40 100'
    expect_match typed '^51 123'
}
# 10 MB pasted in soak; what is pasted arrives byte for byte, as fast as the guest reads. Text: Linux takes Ctrl-O on an hvc
# console for SysRq.
test_virtio_console_paste() { # 300 s
    n=$((200000 * ${TEST_SCALE:-1}))
    seq 2000000 | head -c $n >pasted
    : >out
    {
        printf 'stty raw -echo; echo RE""ADY; head -c %d | sha1sum; poweroff -f\n' $n
        wait_for 100 grep -q READY out
        cat pasted
        sleep 1
    } | vmlet run -k "$CLOUD" --console virtio -n mode=none -p quiet >out 2>err || status=$?
    expect_match out "$(sha1sum <pasted | cut -c 1-40)"
}
test_virtio_ports() { # 180 s
    dd if=/dev/urandom of=source bs=64k count=16 2>/dev/null
    socat -u UNIX-LISTEN:none OPEN:/dev/null & # a name that is no port's
    vmlet run -k "$CLOUD" -n mode=none --name ports --device "virtio-console,port=log=file:log.txt,port=in=input:source,port=org.vmlet.agent=unix:agent" -- sh -c '
        cat /sys/class/virtio-ports/*/name
        echo to a file >/dev/vport0p1
        head -c 1048576 /dev/vport0p2 | sha1sum
        exec 3<>/dev/vport0p3; head -n 1 <&3; echo answer >&3; sleep 1; echo more >/dev/vport0p1' >out 2>err &
    wait_for 20 test -S agent
    { echo question; sleep 60; } | socat -t 60 - UNIX-CONNECT:agent >heard &
    status=0
    wait %2 || status=$?
    expect_status 0
    expect_out 'log\nin\norg.vmlet.agent\n%s\nquestion\n' "$(sha1sum <source)"
    expect "$(cat log.txt)" = "to a file
more"
    expect "$(cat heard)" = answer
    [ ! -e agent ] || fail 'the socket is still there'
    kill %1 %3 2>/dev/null || :
}
# A slow reader holds the guest's writer, and loses nothing.
test_virtio_port_slow_reader() { # 180 s
    vmlet run -k "$CLOUD" -n mode=none --device virtio-console,port=slow=unix:slow -- sh -c '
        while ! echo x 2>/dev/null >/dev/vport0p1; do sleep 0.1; done
        seq 1 100000 >/dev/vport0p1; cat /proc/uptime; sleep 3' >out 2>err &
    wait_for 20 test -S slow
    socat -u UNIX-CONNECT:slow - | { sleep 12; cat; } >heard
    wait %1
    { echo x; seq 1 100000; } | cmp - heard
}
