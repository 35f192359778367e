# SPDX-License-Identifier: MIT
# gdb on Debian's cloud kernel: by address, and, for `make soak`, with the kernel's debug package (280 MB). With hardware
# breakpoints alone: the bed's processor, QEMU's, hands a nested guest's int3 to that guest, whatever KVM asked for (its
# raise_interrupt2() looks at the intercept of INT n in place of #BP's); those of software are tried in tests/cli/gdb.sh.
# files: build/gdb-minimal/usr/bin/gdb:/bin/gdb
# debug: cloud
# shellcheck disable=SC2016 # dollars are gdb's

need_gdb() {
    need gdb
    gdb -nx -q -batch -ex 'p 6 * 7' >out 2>err || skip "gdb does not run here"
}
guest() { # OPTION...: begins it, and waits for its socket; its command reads a line of ./stay when it is to go on
    mkfifo stay
    exec 5<>stay
    vmlet run -k "$CLOUD" --gdb ./g "$@" >guest.out 2>guest.log <stay &
    pid=$!
    # shellcheck disable=SC2064 # the value of now
    trap "kill -9 $pid 2>/dev/null || :" EXIT
    wait_for 20 test -S g
}
debug() { # SECONDS FILE COMMAND...: a gdb's words are in out and err
    limit=$1 file=$2
    shift 2
    for c in "$@"; do
        set -- "$@" -ex "$c"
        shift
    done
    ran="gdb $*"
    timeout "$limit" gdb -nx -q -batch -ex 'set arch i386:x86-64' -ex 'set remotetimeout 60' ${file:+"$file"} \
        -ex 'target remote ./g' "$@" >out 2>err || :
}
ended() { # STATUS
    status=0
    wait $pid || status=$?
    expect_status "$1"
}

test_kernel() { # 150 s
    need_gdb
    vmlet run -k "$CLOUD" -c 1 -n mode=none -p nokaslr -- grep -E ' T (start_kernel|_text)$' /proc/kallsyms >symbols </dev/null
    start=$(sed -n 's/ T start_kernel$//p' symbols) text=$(sed -n 's/ T _text$//p' symbols)
    guest -c 2 -n mode=none -p nokaslr --gdb-wait -- sh -c 'hostname foo; hostname; read go; exit 7'
    debug 100 '' "hbreak *0x$start" continue 'info threads' delete 'p $cs' 'p $cr0' 'x/1i $pc' stepi stepi "x/2xb 0x$text" \
        'x/1xb 0x7fffdeadb000' 'p/x $r15' 'p/x $fctrl' 'monitor info irq' \
        'shell (sleep 4; kill -INT $PPID) &' continue 'p $pc > 0xffffffff80000000' detach
    echo go >&5
    ended 7
    expect "$(cat guest.out)" = foo
    expect_match out "hit Breakpoint 1, 0x$start"
    expect_match out 'Thread 2 "vCPU 1" \(waiting for'
    expect_match out '^\$1 = 16$'
    expect_match out '^\$2 = \[ .*PG.*\]'
    expect_match out "^=> 0x$start:"
    expect_match out "^0x$text:.0x"
    expect_match err 'Cannot access memory at address 0x7fffdeadb000'
    expect_match out "^.4 = 0x37f"
    expect_match err '^line +level'
    expect_match out 'received signal SIGINT'
    expect_match out 'detached'
}

# What its symbols are, the guest says: /proc/kallsyms.
test_kernel_with_kaslr() { # 120 s
    need_gdb
    guest -c 1 -m 512 -n mode=none -- sh -c 'grep -E " [TD] (linux_banner|_text|__x64_sys_sethostname)$" /proc/kallsyms; echo; read go; hostname foo; hostname'
    wait_for 60 grep -q '^$' guest.out
    name=$(sed -n 's/ T __x64_sys_sethostname$//p' guest.out) text=$(sed -n 's/ T _text$//p' guest.out)
    debug 60 '' "hbreak *0x$name" 'shell echo go >stay' continue 'p $rip' delete "x/2xb 0x$text" detach
    ended 0
    expect_match guest.out '^foo$'
    expect_match out "Breakpoint 1, 0x$name in"
    expect_match out "^0x$text:.0x"
}

# Sources' lines and types, by the package linux-image-…-dbg; a variable is watched by the processor.
test_kernel_with_its_debug_package() { # 500 s, soak
    need_gdb
    [ -e "${CLOUD_DEBUG-}" ] || fail "the debug package was not to be had"
    guest -c 2 -n mode=none -p 'nokaslr foo=bar' --gdb-wait -- hostname foo
    debug 300 "$CLOUD_DEBUG" 'hbreak start_kernel' continue bt 'x/s linux_banner' 'p init_task.comm' delete \
        'watch saved_command_line' continue bt 'p boot_command_line' delete 'hbreak __do_sys_sethostname' continue bt 'info threads' \
        'p init_uts_ns.name.nodename' delete detach
    ended 0
    expect_match out 'hit Breakpoint 1, start_kernel \(\) at init/main\.c:[0-9]+'
    expect_match out 'Linux version 6'
    expect_match out '"swapper'
    expect_match out 'Hardware watchpoint 2: saved_command_line'
    expect_match out '^New value = 0x[0-9a-f]+'
    expect_match out 'foo=bar'
    expect_match out 'hit Breakpoint 3[.0-9]*, .*__do_sys_sethostname'
    expect_match out '^#[0-9]+ .* do_syscall_64 \(.*common\.c:[0-9]+'
    expect_match out '"\(none\)'

    # with KASLR: where the kernel is, the guest says
    guest -c 1 -m 512 -n mode=none -- sh -c 'grep " T _text$" /proc/kallsyms; while :; do hostname foo; sleep 1; done'
    wait_for 150 grep -q _text guest.out
    text=$(sed -n 's/ T _text$//;s/^/0x/p' guest.out)
    debug 150 '' "add-symbol-file $CLOUD_DEBUG -o $((text - 0xffffffff81000000))" 'x/s linux_banner' 'hbreak __do_sys_sethostname' \
        continue bt 'p &_text' kill
    ended 123
    expect_match out 'Linux version 6'
    expect_match out 'Breakpoint 1[.0-9]*, .*__do_sys_sethostname'
    expect_match out "= .* $text <"
}

# The two lines of README.md; what is typed at gdb comes from its standard input.
test_readme_lines_with_the_debug_package() { # 400 s, soak
    need_gdb
    ln -s "$CLOUD" bzImage
    ln -s "$CLOUD_DEBUG" vmlinux
    line=$(readme_line 'vmlet run -k bzImage -p nokaslr --gdb')
    sh -c "exec $line" >guest.out 2>guest.log </dev/null &
    pid=$!
    # shellcheck disable=SC2064 # the value of now
    trap "kill -9 $pid 2>/dev/null || :" EXIT
    wait_for 20 test -S gdb.sock
    line=$(readme_line "gdb -ex 'target remote")
    printf 'bt\nkill\n' >in # what it would ask, it answers itself where nobody sits at a terminal
    run sh -c "$line"
    expect_match out 'Breakpoint 1, start_kernel' # "Thread 1 … hit" in front of it with several processors
    expect_match out '^#0  start_kernel'
    ended 123
}
