# SPDX-License-Identifier: MIT
# programs: script
# A command on a terminal of its own: size, resizing, keys that are signals, raw keys, job control, and its status.

test_command_on_a_terminal() { # 200 s
    cat >inner <<'END'
stty rows 40 cols 100
(while ! grep -q 'SIZED' typed; do sleep 0.3; done; stty rows 51 cols 123 </dev/tty) &
exec vmlet run -k "$CLOUD" -n mode=none --kernel-log none -- sh -c '
    [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all three
    trap "echo interrupted; exit 5" INT
    stty size
    echo SI"ZED"
    while [ "$(stty size)" = "40 100" ]; do sleep 0.2; done
    stty size
    old=$(stty -g); stty raw -echo
    echo RA"W"
    key=$(dd bs=1 count=1 2>/dev/null | od -An -tx1)
    stty "$old"
    echo "key$key"
    echo WAI"TS"
    while :; do sleep 0.2; done'
END
    : >typed
    {
        wait_for 100 grep -q RAW typed
        printf '\003' # a byte like any other now
        wait_for 30 grep -q WAITS typed
        printf '\003' # and SIGINT here
        wait_for 30 grep -q interrupted typed
    } | { script -qfec 'sh inner' typed >/dev/null || echo $? >status; }
    for line in 'all three' '40 100' '51 123' 'key 03' '(\^C)?interrupted'; do expect_match typed "^$line"; done
    expect "$(cat status)" = 5
}
test_job_control_on_a_terminal() { # 200 s
    : >typed
    {
        wait_for 100 grep -q '# ' typed
        printf 'sleep 1000\n'
        sleep 3
        printf '\032' # Ctrl-Z
        wait_for 30 grep -q Stopped typed
        printf 'jobs; kill %%1; fg; echo STA""TUS $?; exit 9\n'
        wait_for 30 grep -q 'STATUS 143' typed
        sleep 2
    } | { script -qfec "vmlet run -k $CLOUD -n mode=none --kernel-log none -- sh -i" typed >/dev/null || echo $? >status; }
    expect_match typed '^STATUS 143'
    expect_no_match typed "can't access tty|job control turned off"
    expect "$(cat status)" = 9
}
