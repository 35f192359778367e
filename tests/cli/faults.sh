# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# X7: each call to the host fails once, in the whole program.

# The front, or a reason why there is none.
front() {
    $cc -O1 -shared -fPIC -o fault.so "$top/tests/cli/fault.c" -ldl 2>cc.log || { echo "$cc makes no shared objects"; return 77; }
    case $(nm "$vmlet" 2>/dev/null) in
    *__asan* | *__tsan*) echo "sanitizers have fronts of their own"; return 77 ;;
    esac
    LD_PRELOAD=$WORK/fault.so "$vmlet" version >/dev/null 2>&1 || { echo "nothing can be preloaded"; return 77; }
}

# What was read so far is not all of a batch.
test_X7_an_interrupted_read_of_a_batch() {
    front || return $?
    echo nonsense >list
    status 125 env LD_PRELOAD="$WORK/fault.so" FAULT='read 1 4' FAULT_FIRED=fired "$vmlet" batch list
    [ -e fired ]
    grep -q '^vmlet: list:1: nonsense: a line is a run command' err
}

test_X7_each_call_fails_once() {
    front || return $?
    bad=0
    # call, errno, how many of them are tried. After its set-up the guest runs: what fails then ends it by kvm-error.
    while read -r call error most; do
        n=0
        while [ $n -lt "$most" ]; do
            n=$((n + 1))
            rm -f fired result
            got=0
            LD_PRELOAD=$WORK/fault.so FAULT="$call $n $error" FAULT_FIRED=fired timeout -k 5 60 \
                "$vmlet" run -k "$serial" --device exit -m 16 -c 2 --result result >out 2>err </dev/null || got=$?
            [ -e fired ] || break
            lines=$(wc -l <err)
            case $got in
            0) [ "$lines" -gt 0 ] || grep -q 'second line' out && continue ;;
            123) grep -qx reason=kvm-error result && grep -q KVM_RUN err && continue ;;
            125) [ "$lines" -ge 1 ] && [ "$lines" -le 2 ] && continue ;;
            esac
            echo "$call, call $n, errno $error: status $got"
            head -n 3 err
            bad=1
        done
    done <<END
open 13 20
mmap 12 20
ioctl 12 60
ioctl 22 60
eventfd 24 9
epoll_create1 24 9
epoll_ctl 12 9
signalfd 24 9
socket 24 9
bind 28 9
listen 98 9
madvise 22 9
pread 5 9
pthread_create 11 9
mkdir 28 9
fcntl 24 9
calloc 12 100
malloc 12 30
END
    return $bad
}
