# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# Debian's gdb at --gdb, on a bare-metal program: what its users do, and what happens to the guest when they stop doing it.

# gdb_at [COMMAND...]: a gdb with the program's symbols, connected; its words are in $WORK/said.
gdb_at() {
    for c in "$@"; do
        set -- "$@" -ex "$c"
        shift
    done
    timeout -k 5 "$((60 * ${TEST_SLOW:-1}))" gdb -nx -q -batch -ex 'set remotetimeout 30' -ex 'target remote ./g' \
        "$@" "$debugged" >said 2>&1 </dev/null || true
}
said() { # REGEX...
    for r in "$@"; do
        grep -Eq -- "$r" said || { echo "gdb did not say: $r"; cat said; return 1; }
    done
}
need_gdb() {
    command -v gdb >/dev/null || { echo "needs gdb"; exit 77; }
}

test_breaks_registers_memory() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait --result result
    gdb_at 'p/x $eax' 'p $pc' 'break work' 'continue' 'p $pc' 'x/1i $pc' 'stepi' 'stepi' 'p $ebx' 'stepi' \
        'p *(int *)&counter' 'delete' 'hbreak loop_top' 'continue' 'p/x $eax' 'set $ecx = 2' 'set *(int *)&counter = 100' \
        'p $cs' 'p $cr0' 'p $mxcsr' 'set $xmm3.v4_int32[1] = 5' 'set $st1 = 2.5' 'set $mxcsr = 0x1f00' 'stepi' 'stepi' 'stepi' 'stepi' 'p $xmm3.v4_int32' 'p $st1' 'p $mxcsr' \
        'p *(int *)&counter' 'monitor info mtree' 'monitor stop' 'delete' 'continue'
    ended 42
    said '^\$1 = 0x2badb002' '^\$2 = .*<_start>' '^\$3 = .*<work>' 'push +%ebx' '^\$4 = 7$' '^\$5 = 7$' '^\$6 = 0x12345678' \
        '^\$7 = 16' '^\$8 = \[ PE ET ?\]' '^\$9 = 8064' '^\$10 = \{0, 5, 0, 0\}' '^\$11 = 2.5' '^\$12 = 7936' '^\$13 = 102' 'address-space: memory' 'monitor takes the words' 'exited with code 052'
    result source=guest status=42
    [ ! -e g ]
}

# What is no RAM is not touched, and what is not writable is not written; breakpoints are not seen in memory.
test_memory() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait --device edu
    gdb_at "set breakpoint always-inserted on" 'x/2xb 0xfee00000' 'x/2xb 0x5000000' 'x/2xb 0xc0000000' 'set *(int *)0xfee00000 = 1' 'set *(int *)0x5000000 = 1' \
        'x/1xb &work' 'break work' 'break loop_top' 'stepi' 'x/1xb &work' 'set *(char *)&work = 0x90' 'x/1xb &work' 'delete' 'x/1xb &work' \
        'set *(char *)&work = 0x53' 'monitor info regs edu0' 'continue'
    ended 42
    for a in 0xfee00000 0x5000000 0xc0000000; do
        said "Cannot access memory at address $a"
    done
    [ "$(sed -n 's/.*<work>:.*\(0x..\)$/\1/p' said | tr '\n' ' ')" = '0x53 0x53 0x90 0x90 ' ] || { cat said; return 1; }
    said 'refused: 0 at no register, 0 of a wrong size'
}

# A processor that runs on hardware sees data accesses; one that KVM emulates does not, and gdb's own stepping does.
test_watch() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait
    gdb_at 'hbreak loop_top' 'continue' 'delete' 'set can-use-hw-watchpoints 0' 'watch *(int *)&counter' 'continue' 'p $ecx' 'continue' 'p $ecx' \
        'delete' 'continue'
    ended 42
    said 'Old value = 14' 'New value = 15' 'New value = 16' '^\$1 = 5' '^\$2 = 4'
}

test_threads() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait
    gdb_at 'info threads' 'hbreak protected' 'continue' 'info threads' 'p $_thread' 'delete' 'set scheduler-locking on' 'stepi 3' \
        'p *(int *)&other' 'thread 1' 'x/1i $pc' 'set scheduler-locking off' 'continue'
    ended 42
    said 'Thread 1 "vCPU 0" \(running\)' 'Thread 2 "vCPU 1" \(waiting for' '^\$1 = 2$' '^\$2 = 1$' 'Switching to thread 1' 'exited with code 052'
}

# The instruction that ends the machine is a step, and its last one.
test_step_to_the_end() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait
    gdb_at 'hbreak spin' 'continue' 'delete' 'stepi 100000'
    ended 42
    said 'exited with code 052'
}

test_interrupt_detach_attach() {
    need_gdb
    guest d "$idle" --gdb ./g --result result
    gdb_at 'shell : >attached' 'continue' 'x/1i $pc' & # a halted CPU; nobody stops it but Ctrl-C
    session=$!
    until_true test -e attached
    until_true sh -c "'$vmlet' stat d | grep -q '^state  *runs'"
    status 0 "$vmlet" info d irq
    pkill -INT -P "$(pgrep -P $session timeout | head -n 1)" gdb || true
    wait $session
    said 'received signal SIGINT' '=> '
    status 0 "$vmlet" pause d
    status 0 "$vmlet" resume d
    gdb_at 'info threads' 'detach'
    said 'vCPU 0' 'detached'
    gdb_at 'kill'
    ended 123
    result reason=stopped 'detail=killed by gdb'
}

# Breakpoints go with the gdb that made them, however it goes.
test_a_gdb_that_vanishes() {
    need_gdb
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait
    gdb_at 'break work' 'break loop_top' 'hbreak spin' 'continue' 'shell kill -KILL $PPID'
    ended 42
}

test_stopped_and_still_there() {
    guest d "$debugged" --device exit --gdb ./g --gdb-wait --timeout 4 --result result
    refused 'gdb that holds it' "$vmlet" resume d
    status 0 "$vmlet" info d pci
    ended 124
    result reason=timeout
    guest d "$debugged" --device exit --gdb ./g --gdb-wait --result result
    status 0 "$vmlet" stop d
    ended 123
}

# Garbage, a browser, and a second gdb are hung up on.
test_X_who_else_comes() {
    command -v python3 >/dev/null || { echo "needs python3"; return 77; }
    guest d "$debugged" --device exit -c 2 --gdb ./g --gdb-wait
    python3 - <<'END'
import socket
def come():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect("./g")
    return s
def hung_up(s, data):
    try:
        s.sendall(data)
        while s.recv(4096):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass
def packet(text):
    return b"$" + text + b"#%02x" % (sum(text) & 255)
for junk in b"GET / HTTP/1.1\r\n\r\n", b"\0" * 10000, bytes(range(256)) * 100, b"-":
    hung_up(come(), junk)
s = come()
s.sendall(packet(b"?"))
assert s.recv(1) == b"+"
other = come()
assert other.recv(10) == b""
# bad checksum: asked for again; then it works
s.recv(100)
s.sendall(b"+$?#00")
assert s.recv(1) == b"-"
s.sendall(packet(b"m" + b"f" * 17 + b",4"))
assert b"$E16" in s.recv(100)
s.sendall(b"$" + b"m" * 1000000 + b"#00")
assert s.recv(1) == b"-"
s.sendall(packet(b"qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff"))
assert b"$l#" in s.recv(100)
s.sendall(packet(b"m400000,ffffffffffffffff"))
s.close()
s = come()
s.sendall(packet(b"D"))
END
    ended 42
}

test_where() {
    status 125 "$vmlet" run -k "$value" --device exit --gdb-wait && line 'gdb-wait: for whom'
    status 125 "$vmlet" run -k "$value" --device exit --gdb x && line 'not a port'
    status 125 "$vmlet" run -k "$value" --device exit --gdb 65536 && line 'not a port'
    status 125 "$vmlet" run -k "$value" --device exit --gdb /nowhere/g && line '/nowhere/g: No such file'
    : >file
    status 125 "$vmlet" run -k "$value" --device exit --gdb ./file && line 'Address already in use'
    [ -e file ]
    status 42 "$vmlet" run -k "$value" --device exit --gdb ./g
    [ ! -e g ]
    guest d "$idle" --gdb ./g
    status 125 "$vmlet" run -k "$value" --device exit --gdb ./g && line 'Address already in use'
    kill -9 $guest
    ended 137
    [ -S g ]
    status 42 "$vmlet" run -k "$value" --device exit --gdb ./g # nobody answers there: it is taken
    need_gdb
    command -v python3 >/dev/null || { echo "needs python3"; return 77; }
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    guest d "$debugged" --device exit -c 2 --gdb "$port" --gdb-wait
    timeout 60 gdb -nx -q -batch -ex "target remote 127.0.0.1:$port" -ex 'continue' "$debugged" >said 2>&1 || true
    ended 42
    said 'exited with code 052'
}
