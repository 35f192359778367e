# SPDX-License-Identifier: MIT
# TCP of the user network, with Debian's kernels as guests: bytes both ways with checksums, many connections, idle ones, forwards,
# and the words for what cannot be reached. netpeer (tests/bench/netpeer.c) checks each byte itself.
# files: build/tools/netpeer:/bin/netpeer

peer() {
    need netpeer
    netpeer serve 127.0.0.1 9001 >peer.log 2>&1 &
    peer_pid=$!
    trap 'kill $peer_pid 2>/dev/null' EXIT
    tool=$(command -v netpeer)
}
guest() { # KERNEL CARD COMMAND
    run vmlet run -m 512 -k "$1" -n "$2" --add "$tool:/bin/netpeer" -- sh -c "$3"
}

test_100_mb_over_http_and_back() { # 120 s
    peer
    mkdir www
    head -c 100000000 /dev/urandom >www/blob
    sum=$(md5sum <www/blob)
    busybox httpd -f -p 127.0.0.1:9002 -h www &
    httpd=$!
    trap 'kill $peer_pid $httpd 2>/dev/null' EXIT
    guest "$CLOUD" model=virtio-net 'wget -q -O - http://10.0.2.2:9002/blob | md5sum; netpeer put 10.0.2.2 9001 100000000 >&2'
    expect_status 0
    expect_out '%s\n' "$sum"
    expect_match err 'put [0-9.]+ MB/s'
}
test_both_ways_with_e1000() { # 120 s
    peer
    guest "$FULL_QUICK" model=e1000 'netpeer get 10.0.2.2 9001 30000000 && netpeer put 10.0.2.2 9001 30000000'
    expect_status 0
    expect_match out 'get [0-9.]+ MB/s'
    expect_match out 'put [0-9.]+ MB/s'
}
# KiB that a process has made its own beside the guest's memory, which is in larger mappings
beside() { # PID
    awk '/^[0-9a-f]+-[0-9a-f]+ / { next } /^Size:/ { small = $2 < 16384 } /^Private_Dirty:/ && small { n += $2 } END { print n + 0 }' \
        "/proc/$1/smaps"
}
# Twice 1,024: the second time needs nothing that the first had not, and neither needs much.
test_1024_connections_at_once_and_memory_is_flat() { # 240 s
    peer
    vmlet run -m 512 -k "$CLOUD" --add "$tool:/bin/netpeer" -- sh -c 'netpeer many 10.0.2.2 9001 16 2
        netpeer many 10.0.2.2 9001 1024 3 && netpeer many 10.0.2.2 9001 1024 3 && netpeer conn 10.0.2.2 9001 100' >out 2>err </dev/null &
    vm=$!
    while kill -0 $vm 2>/dev/null; do
        echo "$(grep -c many out || :) $(beside $vm)" >>memory.log
        sleep 0.3
    done
    ran='vmlet run' status=0
    wait $vm || status=$?
    expect_status 0
    expect "$(grep -c 'many 1024' out)" = 2
    expect_match out 'conn [0-9.]+ /s'
    awk '{ if ($2 > most[$1]) most[$1] = $2 } END { print most[0], most[1], most[2]; exit !(most[0] && most[1] - most[0] < 2048 && most[2] - most[1] < 128) }' \
        memory.log >flat.log || fail "KiB beside the guest's memory with 16, 1,024 and 1,024 again: $(cat flat.log)"
}
test_idle_connection_is_held() { # 90 s
    peer
    guest "$CLOUD" model=virtio-net 'netpeer many 10.0.2.2 9001 3 12'
    expect_status 0
    expect_match out 'many 3'
}
test_connections_are_held_idle_for_minutes() { # 500 s, soak
    peer
    guest "$CLOUD" model=virtio-net 'netpeer many 10.0.2.2 9001 20 400'
    expect_status 0
    expect_match out 'many 20'
}
test_refused_is_told_at_once() { # 60 s
    peer
    guest "$CLOUD" model=virtio-net 'time -p netpeer rr 10.0.2.2 1 1; netpeer rr 127.0.0.2 9001 1'
    expect_match out 'connect: Connection refused'
    expect_match err 'real 0\.'
}
test_forward_to_a_server_in_the_guest() { # 90 s
    peer
    vmlet run -m 512 -k "$CLOUD" -n model=virtio-net,hostfwd=tcp:127.0.0.1:9003-:9001 --add "$tool:/bin/netpeer" \
        -- sh -c 'netpeer serve 9001 & sleep 60' >guest.log 2>&1 &
    vm=$!
    trap 'kill $peer_pid $vm 2>/dev/null' EXIT
    n=0
    until netpeer rr 127.0.0.1 9003 1 >/dev/null 2>&1; do # before the guest listens, the answer is a reset
        n=$((n + 1))
        [ $n -lt 60 ] || fail "the guest does not answer: $(tail -n 20 guest.log)"
        sleep 1
    done
    run netpeer get 127.0.0.1 9003 20000000
    expect_status 0
    run netpeer put 127.0.0.1 9003 20000000
    expect_status 0
    run netpeer many 127.0.0.1 9003 200
    expect_status 0
}
