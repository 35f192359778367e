# SPDX-License-Identifier: MIT
# --symbols with Debian's kernel: its addresses are random, and its symbols come from a boot where they are not.

# Some lines of a System.map, from the guest's own /proc/kallsyms (all of it takes minutes through a serial port).
make_map() {
    run vmlet run -k "$CLOUD" -n mode=none -p nokaslr -- sh -c 'mount -t proc proc /proc 2>/dev/null
        grep -E " (_stext|entry_SYSCALL_64|vfs_read|start_kernel|_etext|_end)$" /proc/kallsyms'
    expect_status 0
    mv out map
    grep -q ' T entry_SYSCALL_64$' map || fail "this guest hides its symbols: $(cat map)"
}

test_names_under_kaslr() { # 120 s
    make_map
    # what a kernel without KALLSYMS would print: addresses, as they are with this boot's KASLR
    run vmlet run -k "$CLOUD" -n mode=none --symbols map --fail-on warn --junit j.xml -- sh -c '
        mount -t proc proc /proc 2>/dev/null
        at() { grep " $1\$" /proc/kallsyms | cut -d " " -f 1; }
        a=$(at vfs_read) b=$(at start_kernel)
        { echo "<4>WARNING: CPU: 0 PID: 1 at made up"; echo "<4>RIP: 0010:0x$a"; echo "<4> [<$b>] ? 0x$b"; echo "<4>---[ end trace 0000000000000000 ]---"; } |
            while read -r l; do echo "$l" >/dev/kmsg; done
        echo $a'
    expect_status 123
    expect_match err 'gate: warn: WARNING: CPU: 0 PID: 1 at made up'
    expect_match err 'vmlet:   RIP: 0010:0x[0-9a-f]{16} \(vfs_read\)'
    expect_match err 'vmlet:    \[<[0-9a-f]{16} \(start_kernel\)>\] \? 0x[0-9a-f]{16} \(start_kernel\)'
    grep -q '(vfs_read)' j.xml || fail "no name in $(cat j.xml)"
    # a register dump, while it idles; and the map of another kernel
    vmlet run -k "$CLOUD" -n mode=none --name sym --symbols map -- sleep 60 >out 2>err &
    guest=$!
    wait_for 40 sh -c 'vmlet debug sym --dump >dump; grep -Eq "RIP  [0-9a-f]{16} \([a-z_]+" dump'
    vmlet stop sym
    wait $guest || [ $? = 123 ]
    sed 's/^ffffffff\(.....\)\(...\) T entry_SYSCALL_64$/ffffffff\1fff T entry_SYSCALL_64/' map >other
    run vmlet run -k "$CLOUD" -n mode=none --symbols other --fail-on warn -- sh -c 'echo "<4>WARNING: made up" >/dev/kmsg'
    expect_status 123
    expect_match err 'symbols: they are of another kernel'
}
