# SPDX-License-Identifier: MIT
# programs: ethtool lspci setpci socat
# Debian's full kernel and its own e1000.ko against the e1000: up to two cards, on a loopback or on a hub with a network
# namespace for each, so that what one sends the other's driver receives.
# shellcheck disable=SC2016 # expanded in the guest


# What a guest's lines begin with. Two cards are A (10.1.0.1, here) and B (10.1.0.2, in a namespace: `b COMMAND`).
guest_lines() { # LINES
    cat >lines <<'EOF'
fail() { echo "guest: $*"; dmesg | tail -n 30; exit 1; }
wait_for() { # SECONDS COMMAND...
    n=$(($1 * 10)); shift
    until "$@" >/dev/null 2>&1; do n=$((n - 1)); [ $n -gt 0 ] || fail "waited in vain for: $*"; sleep 0.1; done
}
up() { ip link set eth0 up; wait_for 10 grep -q 1 /sys/class/net/eth0/carrier; }
b() { nsenter --net=/proc/$other/ns/net "$@"; }
apart() { [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
listen='grep -Eq :138[89].0+:0000.0A /proc/net/tcp /proc/net/tcp6' # somebody does, at 5000 or 5001
b_is_up() { b ip link show eth1 | grep -q LOWER_UP; }
stat() { ethtool -S "$1" | awk -v s="$2:" '$1 == s { print $2 }'; }
two() {
    unshare -n sleep 1000 & other=$!
    wait_for 10 apart
    ip link set eth1 netns $other
    ip addr add 10.1.0.1/24 dev eth0
    b ip addr add 10.1.0.2/24 dev eth1
    b ip link set eth1 up
    up
    wait_for 10 b_is_up
    wait_for 10 ping -c 1 -W 1 10.1.0.2
}
carry() { # bytes A to B and B to A, by TCP
    seq 1 "$1" >/tmp/sent
    want=$(md5sum </tmp/sent)
    mkfifo /tmp/hold 2>/dev/null || true
    exec 9<>/tmp/hold # a server whose standard input ends would hang up
    b nc -l -p 5000 <&9 >/tmp/got & server=$!
    wait_for 10 b $listen
    nc 10.1.0.2 5000 </tmp/sent
    wait $server
    [ "$(md5sum </tmp/got)" = "$want" ] || fail "A to B: $(wc -c </tmp/got) bytes that are not those sent"
    nc -l -p 5001 <&9 >/tmp/got & server=$!
    wait_for 10 $listen
    b nc 10.1.0.1 5001 </tmp/sent
    wait $server
    [ "$(md5sum </tmp/got)" = "$want" ] || fail "B to A: $(wc -c </tmp/got) bytes that are not those sent"
}
EOF
    echo "$1" >>lines
}

# shellcheck disable=SC2154 # adds: by add_programs
one_card() {
    need ethtool
    add_programs ethtool
    # shellcheck disable=SC2086 # words
    run timeout "$1" vmlet run -k "$FULL_QUICK" -c 1 -m 512 --no-dhcp -n mode=loopback,model=e1000 $adds --add lines:/lines -- sh -e /lines
}
# shellcheck disable=SC2154 # the same
two_cards() {
    need ethtool
    add_programs ethtool
    # shellcheck disable=SC2086 # words
    run timeout "$1" vmlet run -k "$FULL_QUICK" -c 1 -m 512 --no-dhcp -n mode=none,hub=h,model=e1000 -n mode=none,hub=h,model=e1000 \
        --module 8021q $adds --add lines:/lines -- sh -e /lines
}

test_e1000_offline_self_test() { # 90 s
    guest_lines '
        up
        ethtool -i eth0
        ethtool -d eth0
        ethtool -t eth0 offline
        up
        ethtool -t eth0 online
        ethtool eth0'
    one_card 85
    expect_status 0
    expect_match out '^driver: e1000$'
    expect_match out 'Set link up: +1$'
    expect_match out '^M88 PHY STATUS REGISTER: +0x0000AC00$'
    expect "$(grep -c 'The test result is PASS' out)" = 2
    for t in Register Eeprom Interrupt Loopback; do expect_match out "^$t test +\\(offline\\).*[^0-9]0\$"; done
    expect_match out 'Speed: 1000Mb/s'
    expect_match out 'Link detected: yes'
}

# The loopback gives every frame back: what went out came in.
test_e1000_traffic_comes_back() { # 60 s
    guest_lines '
        up
        ip addr add 10.1.0.1/24 dev eth0
        arping -c 5 -I eth0 10.1.0.2 >/dev/null || true
        all_back() { [ "$(stat eth0 rx_broadcast)" = "$(stat eth0 tx_broadcast)" ]; }
        wait_for 10 all_back
        [ "$(stat eth0 tx_broadcast)" -ge 5 ] || fail "nothing sent"
        [ "$(stat eth0 rx_no_buffer_count)$(stat eth0 rx_missed_errors)$(stat eth0 rx_errors)" = 000 ] || fail errors
        ethtool -e eth0 | head -n 3
        ethtool -S eth0'
    one_card 55
    expect_status 0
}

test_e1000_two_drivers_talk() { # 120 s
    guest_lines '
        two
        ping -c 5 -i 0.2 -s 1400 10.1.0.2
        [ "$(stat eth0 tx_tcp_seg_good)" = 0 ] || fail "segments before TCP"
        carry 100000
        [ "$(stat eth0 tx_tcp_seg_good)" -gt 0 ] || fail "no TSO"
        [ "$(stat eth0 rx_csum_offload_good)" -gt 0 ] || fail "no checksum was checked"
        [ "$(stat eth0 rx_csum_offload_errors)" = 0 ] || fail "wrong checksums"
        ethtool -K eth0 tso off
        before=$(stat eth0 tx_tcp_seg_good)
        carry 50000
        [ "$(stat eth0 tx_tcp_seg_good)" = "$before" ] || fail "TSO is off"
        ethtool -K eth0 tso off tx off rx off
        carry 20000
        [ "$(stat eth0 rx_errors)$(stat eth0 tx_errors)$(stat eth0 tx_timeout_count)" = 000 ] || fail errors'
    two_cards 115
    expect_status 0
    expect_match out '5 packets received'
}

test_e1000_vlans_and_jumbo_frames() { # 120 s
    find "$FULL_MODULES/" -name 8021q.ko | grep -q . || skip 'the kernel in the cache was unpacked without 8021q.ko'
    guest_lines '
        two
        for dir in on off; do
            ethtool -K eth0 rxvlan $dir txvlan $dir
            ip link add link eth0 name v5 type vlan id 5
            b ip link add link eth1 name v5 type vlan id 5
            ip addr add 10.5.0.1/24 dev v5; ip link set v5 up
            b ip addr add 10.5.0.2/24 dev v5; b ip link set v5 up
            wait_for 5 ping -c 1 -W 1 10.5.0.2
            ping -c 3 -i 0.2 -s 1472 10.5.0.2
            b ip link del v5
            ping -c 1 -W 1 10.5.0.2 && fail "VLAN 5 is gone, and answers" # B drops it by its filter
            ip link del v5
        done
        ip link set eth0 mtu 9000
        b ip link set eth1 mtu 9000
        up; wait_for 10 b_is_up
        wait_for 10 ping -c 1 -W 1 10.1.0.2
        ping -c 3 -i 0.2 -s 8972 10.1.0.2
        [ "$(stat eth0 rx_long_length_errors)" = 0 ] || fail "too long"
        carry 50000
        ip link set eth0 mtu 4000
        up
        ping -c 3 -i 0.2 -s 3972 10.1.0.2
        for i in 64 128 256 1024 4096; do ethtool -G eth0 rx $i tx $i; up; wait_for 5 ping -c 1 -W 1 10.1.0.2; done'
    two_cards 115
    expect_status 0
    expect "$(grep -c '3 packets received' out)" = 4
}

# Under traffic both ways.
test_e1000_leaves_and_comes_back() { # 90 s
    guest_lines '
        two
        dev=$(readlink -f /sys/class/net/eth0/device)
        while :; do ping -i 0.01 -c 100 -s 1000 10.1.0.2 || sleep 0.1; done >/dev/null 2>&1 &
        while :; do b ping -i 0.01 -c 100 -s 1000 10.1.0.1 || sleep 0.1; done >/dev/null 2>&1 &
        for way in unbind remove; do
            ip link set eth0 up
            if [ $way = unbind ]; then
                echo "${dev##*/}" >/sys/bus/pci/drivers/e1000/unbind
                [ ! -e /sys/class/net/eth0 ] || fail "still there"
                echo "${dev##*/}" >/sys/bus/pci/drivers/e1000/bind
            else
                echo 1 >"$dev/remove"
                [ ! -e "$dev" ] || fail "still there"
                echo 1 >/sys/bus/pci/rescan
            fi
            wait_for 20 [ -e /sys/class/net/eth0 ]
            ip addr add 10.1.0.1/24 dev eth0
            up
            wait_for 10 ping -c 1 -W 1 10.1.0.2
        done'
    two_cards 85
    expect_status 0
}

# The cable is pulled out and put back on the host. What is sent to groups comes in for those that A joined (more than there are
# addresses for, so that the table of hashes takes part), or for all with allmulti.
test_e1000_cable_and_groups() { # 150 s
    need ethtool socat
    guest_lines '
        two
        echo pull
        wait_for 20 grep -q 0 /sys/class/net/eth0/carrier
        ! ping -c 1 -W 1 10.1.0.2 >/dev/null 2>&1 || fail "no cable, and it goes through"
        echo plug
        wait_for 20 grep -q 1 /sys/class/net/eth0/carrier
        wait_for 10 ping -c 1 -W 1 10.1.0.2
        b sh -c "echo 1 >/proc/sys/net/ipv6/conf/eth1/disable_ipv6" # its looking for routers would be counted, too
        b ip route add 224.0.0.0/4 dev eth1
        to() { echo to $1 | b socat -u - UDP4-DATAGRAM:224.7.7.$1:7000; }
        counted() { # those of 224.7.7.200 that the card takes, after all that was on its way
            had=$(stat eth0 rx_multicast)
            to 200; to 200; to 200
            ping -c 1 -W 5 10.1.0.2 >/dev/null || fail "no answer"
            echo $(($(stat eth0 rx_multicast) - had))
        }
        [ $(counted) = 0 ] || fail "a group that nobody joined"
        joins=
        for i in $(seq 1 18); do joins=$joins,ip-add-membership=224.7.7.$i:10.1.0.1; done
        socat -u UDP4-RECV:7000$joins - >/tmp/heard &
        wait_for 10 grep -q 120707E0 /proc/net/igmp
        for i in $(seq 1 18); do to $i; done
        all_came() { [ $(sort -u /tmp/heard | wc -l) = 18 ]; }
        wait_for 10 all_came
        [ $(counted) = 0 ] || fail "another group"
        ifconfig eth0 allmulti
        [ $(counted) -ge 3 ] || fail "not all groups"
        ifconfig eth0 -allmulti
        [ $(counted) = 0 ] || fail "still all groups"
        echo through'
    add_programs ethtool socat
    # shellcheck disable=SC2086 # words
    background_guest e -k "$FULL_QUICK" -c 1 -m 512 --no-dhcp --timeout 140 -n mode=none,hub=h,model=e1000 -n mode=none,hub=h,model=e1000 \
        $adds --add lines:/lines -- sh -e /lines
    wait_for 100 grep -q pull e.out
    vmlet link e net0 down
    wait_for 20 grep -q plug e.out
    vmlet link e net0 up
    status=0
    wait $guest_pid || status=$?
    expect_status 0
    expect_match e.out '^through$'
}

test_e1000_up_and_down() { # 90 s
    guest_lines '
        two
        i=0
        while [ $i -lt '"$((20 * ${TEST_SCALE:-1}))"' ]; do
            ip link set eth0 down
            ip link set eth0 up
            i=$((i + 1))
        done
        up
        wait_for 10 ping -c 1 -W 1 10.1.0.2
        ! dmesg | grep -E "Hang|timed out|Oops|BUG:|WARNING: CPU" || fail "the kernel complains"
        echo $i times'
    two_cards $((85 * ${TEST_SCALE:-1}))
    expect_status 0
    expect_match out ' times$'
}

# Bus mastering is taken away and given back under load, both ways: no DMA meanwhile, with the reason said; all goes on by itself, and
# nothing of TCP's is missing. Six seconds without are enough for the driver's own watchdog too (a second is: "Detected Tx Unit Hang").
test_e1000_bus_master_off_and_on() { # 150 s
    need ethtool setpci
    guest_lines '
        two
        dev=$(basename "$(readlink -f /sys/class/net/eth0/device)")
        master() { setpci -s "$dev" COMMAND=$1:4; }
        seq 1 400000 >/tmp/sent
        want=$(md5sum </tmp/sent)
        mkfifo /tmp/hold
        exec 9<>/tmp/hold
        b nc -l -p 5000 <&9 >/tmp/there & there=$!
        nc -l -p 5001 <&9 >/tmp/here & here=$!
        wait_for 10 b $listen
        wait_for 10 $listen
        flood() { while ! [ -e /tmp/done ]; do timeout 2 "$@" >/dev/null 2>&1 || :; done; }
        flood ping -i 0.01 -s 1000 10.1.0.2 & flood b ping -i 0.01 -s 1000 10.1.0.1 & # what drops may cost; TCP below must be whole
        nc 10.1.0.2 5000 </tmp/sent & to_there=$!
        b nc 10.1.0.1 5001 </tmp/sent & to_here=$!
        for i in 1 2 3 4; do
            master 0
            tdh=$(ethtool -d eth0 | grep TDH) rdh=$(ethtool -d eth0 | grep RDH)
            sleep 0.$i
            [ "$(ethtool -d eth0 | grep TDH)" = "$tdh" ] || fail "sends without the bus"
            [ "$(ethtool -d eth0 | grep RDH)" = "$rdh" ] || fail "receives without the bus"
            master 4
            sleep 0.3
        done
        touch /tmp/done
        wait $to_there $to_here $there $here
        [ "$(md5sum </tmp/there)" = "$want" ] || fail "not all is there"
        [ "$(md5sum </tmp/here)" = "$want" ] || fail "not all is here"
        ping -q -s 1000 -i 0.1 -c 70 10.1.0.2 >/dev/null & pinged=$!
        sleep 0.2
        master 0
        sleep 6
        master 4
        wait $pinged || :
        wait_for 20 ping -c 1 -W 1 10.1.0.2
        wait_for 20 b ping -c 1 -W 1 10.1.0.1
        carry 50000
        echo and a long one'
    add_programs ethtool setpci
    # shellcheck disable=SC2086 # words
    run timeout 145 vmlet run -k "$FULL" -c 1 -m 512 --no-dhcp --lint --loglevel info -n mode=none,hub=h,model=e1000 -n mode=none,hub=h,model=e1000 \
        $adds --add lines:/lines -- sh -e /lines
    expect_status 0
    expect_match out '^and a long one$'
    expect_match err 'net0: tx held: bus master off'
    expect_match err 'lint: net0: DMA is started with bus mastering off: W [RT]DT='
    expect_match err "net0: rx drop: bus master off"
    expect_no_match err "net1: .*bus master"
}

test_e1000_lspci() { # 60 s
    need lspci
    run timeout 55 vmlet run -k "$CLOUD" -c 1 -m 256 -n mode=none,model=e1000 -- lspci -n -vvv
    expect_status 0
    awk '/8086:100e/,/^$/' out >card
    expect_match card '0200: 8086:100e \(rev 02\)'
    expect_match card 'Region 0: Memory at [cf][0-9a-f]{7} \(32-bit, non-prefetchable\) \[size=128K\]$'
    expect_match card 'Region 2: I/O ports at [c-f][0-9a-f]{3} \[size=8\]$'
    expect_match card 'Power Management'
    expect_match card 'MSI: Enable- Count=1/1 Maskable- 64bit[+]$'
    expect_no_match card 'unknown|nassigned|denied|!!!|ignored'
}
