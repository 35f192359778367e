# SPDX-License-Identifier: MIT
# The user network between a guest and peers that mean no good, and the guest that means none itself (netfoe, tests/linux/netfoe.c);
# iperf3; pairs of queues that change under traffic.
# programs: iperf3 ethtool
# files: build/tools/netpeer:/bin/netpeer build/tools/netfoe:/bin/netfoe

# KiB that a process has made its own beside the guest's memory, which is in larger mappings
beside() { # PID
    awk '/^[0-9a-f]+-[0-9a-f]+ / { next } /^Size:/ { small = $2 < 16384 } /^Private_Dirty:/ && small { n += $2 } END { print n + 0 }' \
        "/proc/$1/smaps"
}
scale() { echo $(($1 * ${TEST_SCALE:-1})); }

# T2, T4, T5, T6, U10 with the host's side hostile; U3, U4, U7 to U10, T1 to T3, T7 with the guest's: it is online as before, and
# nothing has grown.
test_foes_on_both_sides() { # 240 s
    need netfoe netpeer
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    netfoe dns 127.0.0.1 &
    stop_later $!
    netfoe serve 127.0.0.1 9200 &
    stop_later $!
    # shellcheck disable=SC2016 # expanded in the guest
    vmlet run -m 256 -k "$CLOUD" --name foe -n model=virtio-net,hostfwd=tcp:127.0.0.1:9203-:9001 \
        --add "$(command -v netfoe):/bin/netfoe" --add "$(command -v netpeer):/bin/netpeer" -- sh -c '
        nslookup name.test | sed -n "s/^Address.* 192/192/p"
        netfoe play 10.0.2.2 9200
        netfoe raw 10.0.2.15 10.0.2.2 10.0.2.3 && echo first
        netfoe raw 10.0.2.15 10.0.2.2 10.0.2.3 && echo second
        ping -c 1 -W 5 10.0.2.2 | grep "1 packets received"
        nslookup name.test | sed -n "s/^Address.* 192/again 192/p"
        netpeer serve 9001 & echo ready; sleep 200' >out 2>err </dev/null &
    guest=$!
    stop_later $guest
    ran='vmlet run' status=0
    wait_for 200 grep -q first out
    small=$(beside $guest)
    wait_for 60 grep -q ready out
    for part in up rewritten urgent-there urgent-here half drip resets deaf endless datagrams; do
        expect_match out "^ok $part\$"
    done
    expect_no_match out FAIL
    expect_match out '^192\.0\.2\.5$'
    expect_match out '^again 192\.0\.2\.5$'
    expect_match out '1 packets received'
    large=$(beside $guest)
    [ "$large" -lt $((small + 512)) ] || fail "KiB beside the guest's memory: $small, then $large"
    vmlet info foe net >info.log
    for why in 'malformed IP header' 'malformed UDP' 'malformed DNS query' 'malformed or overlapping fragment' 'fragments: no room' \
        'from an address that no guest may have' 'refused by the policy' 'DNS answer that fits no query'; do
        expect_match info.log "[0-9] $why"
    done
    expect_no_match info.log 'dropped: checksum'
    expect_match info.log 'no such connection +[0-9]{3}'
    # a forward that is flooded, and serves on
    run netfoe flood 127.0.0.1 9203 "$(scale 200)"
    expect_status 0
    n=30
    until netpeer rr 127.0.0.1 9203 20 >rr.log 2>&1 || [ $((n -= 1)) = 0 ]; do sleep 1; done
    expect_match rr.log '^rr '
    vmlet stop foe
}

test_iperf3_both_ways() { # 240 s
    need iperf3
    add_programs iperf3
    iperf3 -s -B 127.0.0.1 -p 5207 >server.log 2>&1 &
    stop_later $!
    # shellcheck disable=SC2086 # words
    run vmlet run -m 384 -k "$CLOUD" -n model=virtio-net $adds -- sh -c '
        iperf3 -c 10.0.2.2 -p 5207 -n 20M -f M && echo sent
        iperf3 -c 10.0.2.2 -p 5207 -n 20M -R -P 4 -f M && echo received
        iperf3 -c 10.0.2.2 -p 5207 -u -b 8M -n 1M -f M && echo datagrams'
    expect_status 0
    for word in sent received datagrams; do
        expect_match out "^$word\$"
    done
}

# The driver goes from one pair of queues to two and back while bytes flow both ways, each of which is looked at.
pairs() { # NETWORK PORT
    need ethtool netpeer
    add_programs ethtool
    printf '#!/bin/sh\nip addr add 10.58.0.1/24 dev $1\nip link set $1 up\n' >up.sh
    chmod +x up.sh
    netpeer serve 0.0.0.0 "$2" &
    stop_later $!
    # shellcheck disable=SC2086 # words
    run vmlet run -m 384 -c 2 -k "$CLOUD" --no-dhcp -n "mode=tap,script=$PWD/up.sh,mq=2$1" $adds \
        --add "$(command -v netpeer):/bin/netpeer" -- sh -c '
        ip addr add 10.58.0.15/24 dev eth0
        ethtool -l eth0 | grep -c "Combined:.*2"
        netpeer get 10.58.0.1 '"$2"' 30000000 >get & one=$!
        netpeer put 10.58.0.1 '"$2"' 30000000 >put & two=$!
        n=0
        while kill -0 $one 2>/dev/null || kill -0 $two 2>/dev/null; do
            ethtool -L eth0 combined $((n % 2 + 1)) || exit 3
            n=$((n + 1))
            usleep 50000
        done
        wait $one && wait $two || exit 4
        cat get put
        echo changed $n
        netpeer many 10.58.0.1 '"$2"' 40'
    expect_status 0
    expect_match out '^2$'
    expect_match out '^get '
    expect_match out '^put '
    expect_match out '^changed ([5-9]|[1-9][0-9])'
    expect_match out '^many 40'
}
test_pairs_change_under_traffic() { # 200 s
    pairs '' 9205
}
test_pairs_change_under_traffic_with_vhost() { # 200 s
    [ -e /dev/vhost-net ] || skip "no vhost-net here"
    pairs ,vhost 9206
}
