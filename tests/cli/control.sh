# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# The control socket from outside, and what a paused guest still answers to.

# ask NAME TEXT: sends the bytes as they are, prints the answer.
ask() {
    python3 - "$XDG_RUNTIME_DIR/vmlet/$1.sock" "$2" <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
try:
    s.sendall(sys.argv[2].encode().decode("unicode_escape").encode("latin1"))
    while data := s.recv(4096):
        sys.stdout.write(data.decode())
except (BrokenPipeError, ConnectionResetError):
    pass
END
}

test_pause_resume_stop() {
    guest ctl "$idle" --result result
    status 0 "$vmlet" list && grep -Eq "^ctl +$guest +0:00:[0-5][0-9] +0:00:[0-5][0-9] +[0-9]+M$" out
    status 0 "$vmlet" info ctl mtree && grep -q 'system' out
    status 0 "$vmlet" info ctl mtree -f && [ -s out ]
    refused 'takes -f' "$vmlet" info ctl mtree -x
    refused 'there is no .bogus. \(there are mtree, qtree' "$vmlet" info ctl bogus
    refused 'not paused' "$vmlet" resume ctl
    refused 'no further words' "$vmlet" pause ctl now
    status 0 "$vmlet" pause ctl
    refused 'paused already' "$vmlet" pause ctl
    status 0 "$vmlet" info ctl mtree
    status 0 "$vmlet" resume --name ctl
    status 0 "$vmlet" pause -a
    status 0 "$vmlet" stop ctl
    ended 123
    result source=vmlet reason=stopped status=123 'detail=vmlet stop'
    [ ! -e run/vmlet/ctl.sock ]
}

# Who listens to the power button is asked to end, and says by power-off that it did; a paused one cannot be asked.
test_stop_asks_first() {
    guest b "$button" --result result
    until_true sh -c "'$vmlet' info b regs pm | grep -q 'PM1_EN.*PWRBTN'"
    refused 'takes --now' "$vmlet" stop b now
    status 0 "$vmlet" stop b
    ended 123
    result source=vmlet reason=stopped status=123 'detail=vmlet stop: the guest powered off'
    guest b "$button" --result result
    status 0 "$vmlet" stop b --now
    ended 123
    result reason=stopped 'detail=vmlet stop --now'
    guest b "$button" --result result
    until_true sh -c "'$vmlet' info b regs pm | grep -q 'PM1_EN.*PWRBTN'"
    status 0 "$vmlet" pause b
    status 0 "$vmlet" stop b
    ended 123
    result reason=stopped 'detail=vmlet stop'
}

# What the guest would see with lspci is what the host sees; pciutils reads our bytes and agrees with our words.
test_info() {
    guest i "$idle" --device edu,addr=3.0
    status 0 "$vmlet" info i qtree && grep -q 'dev: edu, id "edu0", addr 03.0' out
    status 0 "$vmlet" info i irq && grep -Eq '^ +4 .* serial0 \(0, 0\)' out
    status 0 "$vmlet" info i regs edu0 && grep -q 'ID  *0x010000ed' out
    status 0 "$vmlet" info i mtree && grep -q 'address-space: edu0.dma' out
    refused 'there are serial0' "$vmlet" info i regs edu7
    status 0 "$vmlet" info i pci -x && mv out bytes
    if command -v lspci >/dev/null; then
        lspci -n -vv -F bytes >theirs 2>/dev/null
        grep -q '^00:03.0 00ff: 1234:11e8 (rev 10)' theirs
        # what both print in the same words: control, and a capability's fields
        grep -E '^.(Control|Capabilities|	Address)' theirs >a
        grep -E '^.(Control|Capabilities|	Address)' bytes >b
        [ -s a ] && cmp a b
    fi
    status 0 "$vmlet" stop i
    ended 123
}

test_debug_and_stat() {
    guest x "$count" -c 2 >numbers
    status 0 "$vmlet" debug x
    grep -q '^vCPU 0$' out && grep -q '^vCPU 1$' out && grep -Eq '^RAX  [0-9a-f]{16} ' out && grep -Eq '^code [0-9a-f]{2} ' out
    status 0 "$vmlet" debug --dump -n x # lkvm's order of words
    status 0 "$vmlet" pause x
    status 0 "$vmlet" debug x -d && grep -q '^mp state' out
    status 0 "$vmlet" stat x
    grep -Eq '^state +stands still, paused$' out && grep -Eq '^vCPU 0 +[0-9.]+ s of a processor, [0-9]+ exits: .*io [0-9]+' out
    status 0 "$vmlet" stat -m -n x && grep -Eq '^memory +16384 KiB' out && [ "$(wc -l <out)" = 1 ]
    refused 'are 0 to 1' "$vmlet" debug x --nmi 2
    refused 'not a number' "$vmlet" debug x --nmi z
    refused 'one letter' "$vmlet" debug x --sysrq
    refused 'one letter' "$vmlet" debug x --sysrq ab
    refused 'it is --dump' "$vmlet" debug x --bogus
    refused 'takes -m or nothing' "$vmlet" stat x -x
    status 0 "$vmlet" debug x --sysrq h
    status 0 "$vmlet" resume x
    status 0 "$vmlet" stop x
    ended 123
    guest y "$idle" -c 1 # an NMI ends its halt; it has no table of handlers
    status 0 "$vmlet" debug y --nmi 0
    ended 123
}

test_paused_guests_end() {
    guest p "$count" --timeout 4 --result result >numbers
    status 0 "$vmlet" pause p
    sleep 0.2
    size=$(stat -c %s numbers)
    sleep 0.5
    [ "$(stat -c %s numbers)" = "$size" ]
    ended 124
    result reason=timeout
    guest p "$idle" --result result
    status 0 "$vmlet" pause p
    kill -TERM $guest
    ended 143
    result reason=signal status=143 detail=Terminated
}

test_names() {
    guest n "$idle"
    status 125 "$vmlet" run -k "$idle" --name n --timeout 1 && line 'name "n": a guest of that name is running'
    kill -9 $guest
    ended 137
    [ -S run/vmlet/n.sock ]
    status 42 "$vmlet" run -k "$value" --device exit --name n
    [ ! -e run/vmlet/n.sock ]
}

test_X5_what_lies_where_the_socket_goes() {
    mkdir -m 700 run/vmlet
    : >victim
    ln -s "$WORK/victim" run/vmlet/n.sock
    status 125 "$vmlet" run -k "$value" --device exit --name n && line 'is no socket'
    rm run/vmlet/n.sock
    mkdir run/vmlet/n.sock
    status 125 "$vmlet" run -k "$value" --device exit --name n && line 'is no socket'
    rmdir run/vmlet/n.sock run/vmlet
    ln -s "$WORK" run/vmlet
    status 125 "$vmlet" run -k "$value" --device exit --name n && line 'symbolic link'
    rm run/vmlet
    mkdir -m 777 run/vmlet
    chmod 777 run/vmlet
    status 125 "$vmlet" run -k "$value" --device exit --name n && line 'open to other users'
}

test_hostile_clients() {
    command -v python3 >/dev/null || { echo "needs python3"; return 77; }
    guest h "$idle"
    ask h '\n' | grep -qx 'error: no command (try help)'
    ask h 'pause "\n' | grep -q '^error: '
    ask h 'pau\x00se\n' | grep -q '^error: a zero byte'
    ask h "$(head -c 70000 /dev/zero | tr '\0' a)" >long
    ask h 'help\nstop\n' | grep -q '^stop'
    python3 - run/vmlet/h.sock <<'END' &
import socket, sys, time
crowd = []
for i in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(sys.argv[1])
        s.send(b"inf")
    except BlockingIOError:
        pass
    crowd.append(s)
time.sleep(2)
END
    crowd=$!
    sleep 0.5
    kill -0 $guest
    wait $crowd
    until_true "$vmlet" info h mtree
    status 0 "$vmlet" stop h
    ended 123
}

# A guest that nobody named runs without a socket, where there can be none; one that was named does not.
test_no_place_for_a_socket() {
    long=$PWD/$(printf 'x%.0s' $(seq 100))
    mkdir -p "$long"
    status 42 env XDG_RUNTIME_DIR="$long" "$vmlet" run -k "$value" --device exit && line 'cannot be reached'
    status 125 env XDG_RUNTIME_DIR="$long" "$vmlet" run -k "$value" --device exit --name n && line 'name'
}

# A process that is stopped answers nobody; who waits for it can still be told to stop waiting.
test_verbs_that_wait_can_be_ended() {
    guest wait -k "$idle"
    kill -STOP $guest
    for verb in info stop pause; do
        words=$([ $verb != info ] || echo mtree)
        # shellcheck disable=SC2086
        "$vmlet" $verb wait $words >out 2>err &
        sleep 0.3
        kill -TERM $!
        for _ in $(seq 1200); do
            kill -0 $! 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL $! 2>/dev/null && echo "$verb waits on" && kill -KILL $guest && return 1
    done
    kill -CONT $guest
    kill -TERM $guest # unless one of the stops has been heard
    wait $guest || true
}

# A job in the background of a terminal: it runs on while its user types at the shell, and takes the keys once it is brought forward.
# Keys are typed when the shell asks for them: what comes earlier is echoed by the terminal, too, and would be taken for its words.
test_in_the_background_of_a_terminal() {
    command -v script >script.path || { echo "no script"; exit 77; }
    command -v bash >bash.path || { echo "no bash"; exit 77; }
    mkfifo keys
    script -qefc "TERM=dumb PS1='ready: ' bash --norc --noprofile -i" seen <keys >script.out &
    # shellcheck disable=SC2064 # the value of now
    trap "{ timeout 60 '$vmlet' stop job --now; kill $!; } >left 2>&1 || :" EXIT
    exec 7>keys
    asked() { [ "$(grep -c 'ready: ' seen)" -ge "$1" ]; } # so often
    until_true asked 1
    printf "'%s' run -k %s -m 16 -c 1 --name job &\\n" "$vmlet" "$idle" >&7
    until_true timeout 60 "$vmlet" stat job
    until_true asked 2
    printf 'echo one; jobs\n' >&7
    until_true grep -q '^\[1\].*Running' seen
    timeout 60 "$vmlet" stat job >stat
    grep -q '^state *runs' stat
    until_true asked 3
    printf 'fg\n' >&7
    until_true grep -q "^'*$vmlet'* run.* --name job.\$" seen # as the shell says, without the &
    until_true sh -c "printf '\\001x' >&7; sleep 0.5; ! timeout 60 '$vmlet' stat job" # it looks twice a second
    until_true asked 4 # the shell has its terminal back
    exec 7>&-
}
