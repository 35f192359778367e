# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# Memory that two guests share: by a file, and by a memfd that was inherited.

# pair OPTIONS: two guests with the payload's pair mode and that memory; they pass a message 400 times.
pair() {
    "$vmlet" run -k "$ivshmem" -p pair -m 16 -c 1 --device exit --device "ivshmem-plain,$1" --timeout 90 2>err.a &
    guest=$!
    got=0
    timeout -k 5 100 "$vmlet" run -k "$ivshmem" -p pair -m 16 -c 1 --device exit --device "ivshmem-plain,$1" 2>err.b ||
        got=$?
    other=0
    wait "$guest" || other=$?
    case $got,$other in 10,11 | 11,10) ;; *) echo "they ended with $got and $other"; cat err.a err.b; return 1 ;; esac
}

test_two_guests_pass_a_message_through_a_file() {
    pair path=shared,size=64K
    [ "$(od -An -tu4 -j4 -N4 shared | tr -d ' ')" = 400 ] # the host has it, too
}

test_two_guests_share_a_memfd() {
    command -v python3 >/dev/null || { echo "no python3"; return 77; }
    cat >memfd.py <<'END'
import os, sys
fd = os.memfd_create("shared", 0)
os.ftruncate(fd, 65536)
os.dup2(fd, 9)
os.execvp(sys.argv[1], sys.argv[1:])
END
    cat >both.sh <<'END'
v=$1 k=$2
words="-m 16 -c 1 --device exit --device ivshmem-plain,path=/dev/fd/9 --timeout 90"
"$v" run -k "$k" -p pair $words &
a=0 b=0
"$v" run -k "$k" -p pair $words || a=$?
wait $! || b=$?
echo "$a $b"
END
    python3 memfd.py sh both.sh "$vmlet" "$ivshmem" >out
    case $(cat out) in "10 11" | "11 10") ;; *) cat out; return 1 ;; esac
}

test_shared_file_that_cannot_be() {
    status 125 "$vmlet" run -k "$value" --device ivshmem-plain && line 'ivshmem-plain0: size= is missing'
    status 125 "$vmlet" run -k "$value" --device ivshmem-plain,path=none && line 'not there \(give size=\)'
    status 125 "$vmlet" run -k "$value" --device ivshmem-plain,path=.,size=64K && line 'ivshmem-plain0.*Is a directory'
    status 125 "$vmlet" run -k "$value" --device ivshmem-plain,size=3M && line 'power of two'
    [ ! -e none ]
}
