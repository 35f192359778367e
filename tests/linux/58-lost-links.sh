# SPDX-License-Identifier: MIT
# What a card is plugged into changes under it: a tap that goes down and up, a bridge around it that comes and goes, a tap that is
# deleted, by name and with its network namespace. All of it under traffic both ways.

# In the background, reachable as $1.
guest() { # NAME OPTION...
    name=$1
    shift
    background_guest "$name" --no-dhcp "$@"
}
# To be fetched at port 8058, and an echo at port 8059, both on all addresses.
serve() { # BYTES
    mkdir -p www
    head -c "$1" /dev/urandom >www/file
    busybox httpd -f -p 8058 -h "$PWD/www" &
    stop_later $!
    busybox nc -ll -p 8059 -e cat 2>/dev/null &
    stop_later $!
}
counts() { # IFNAME: what came from the guest, and went to it
    cat "/sys/class/net/$1/statistics/rx_packets" "/sys/class/net/$1/statistics/tx_packets" | tr '\n' ' '
}
# Whether frames go both ways over each of these since the last time it was asked.
moving() { # IFNAME...
    for moving_if; do
        [ -e "$moving_if.counts" ] || counts "$moving_if" >"$moving_if.counts"
        read -r rx tx <"$moving_if.counts"
        counts "$moving_if" >"$moving_if.now"
        read -r rx_now tx_now <"$moving_if.now"
        [ "$rx_now" -gt $((rx + 20)) ] && [ "$tx_now" -gt $((tx + 20)) ] || return 1
    done
}
still_moving() { # IFNAME...
    for still_if; do counts "$still_if" >"$still_if.counts"; done
    wait_for 30 moving "$@"
}
# Hundredths of a second of a processor that a process used in one second.
used_in_a_second() { # PID
    used=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
    sleep 1
    echo $(($(awk '{ print $14 + $15 }' "/proc/$1/stat") - used))
}

# Three cards: by vmlet itself, by vhost, an e1000. One line for a tap that is down, one for one that is deleted; then the guest's
# carrier is 0, the guest goes on and nothing spins.
test_taps_that_go_down_and_away_under_traffic() { # 240 s
    [ -c /dev/vhost-net ] || skip "no /dev/vhost-net here"
    serve 2000000
    cat >lines <<'EOT'
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore # in the bridge each card hears who-has for the other
i=0
for c in eth0 eth1 eth2; do
    ip addr add 10.58.$i.2/24 dev $c
    ip link set $c up
    (while [ "$(cat /sys/class/net/$c/carrier)" = 1 ]; do timeout 10 wget -q -O /dev/null http://10.58.$i.1:8058/file || sleep 0.2; done) &
    (while [ "$(cat /sys/class/net/$c/carrier)" = 1 ]; do timeout 10 nc 10.58.$i.1 8059 </dev/zero >/dev/null || sleep 0.2; done) &
    (while [ "$(cat /sys/class/net/$c/carrier)" = 1 ]; do sleep 0.2; done; echo $c down) &
    i=$((i + 1))
done
wait
echo quiet
sleep 5
exit 7
EOT
    guest v -m 512 -c 1 -k "$FULL" --add lines:/lines -n mode=tap,tapif=tap58a,host_ip=10.58.0.1/24 \
        -n mode=tap,vhost=1,tapif=tap58b,host_ip=10.58.1.1/24 -n mode=tap,model=e1000,tapif=tap58c,host_ip=10.58.2.1/24 -- sh /lines
    ran='vmlet run' status=running
    wait_for 100 [ -e /sys/class/net/tap58c ]
    wait_for 100 moving tap58a tap58b tap58c

    for t in tap58a tap58b tap58c; do ip link set $t down; done
    sleep 1.5
    for t in tap58a tap58b tap58c; do ip link set $t up; done
    still_moving tap58a tap58b tap58c
    expect "$(grep -c 'is down' v.log)" = 2 # vhost drops without a word

    # a bridge around two of them, and away again
    for m in llc stp bridge; do insmod "$(find "/lib/modules/$(uname -r)/" -name $m.ko)" 2>/dev/null || :; done
    ip link add br58 type bridge
    for t in a:0 b:1; do
        ip addr del 10.58.${t#*:}.1/24 dev tap58${t%:*}
        ip link set tap58${t%:*} master br58
        ip addr add 10.58.${t#*:}.1/24 dev br58
    done
    ip link set br58 up
    still_moving tap58a tap58b
    ip link set br58 down
    ip link del br58
    sleep 0.5
    for t in a:0 b:1; do ip addr add 10.58.${t#*:}.1/24 dev tap58${t%:*}; done
    still_moving tap58a tap58b tap58c
    expect "$(grep -c '^vmlet: ' v.log)" = 2

    ip link del tap58a
    wait_for 20 grep -q 'eth0 down' v.out
    still_moving tap58b tap58c
    unshare -n sleep 100 &
    elsewhere=$!
    sleep 0.5
    ip link set tap58b netns $elsewhere
    kill $elsewhere
    wait_for 30 grep -q 'eth1 down' v.out
    still_moving tap58c
    ip link del tap58c
    wait_for 20 grep -q 'eth2 down' v.out
    ran='vmlet run'
    vmlet info v net >info
    expect "$(grep -c 'link down$' info)" = 3
    expect "$(grep -c ', gone$' info)" = 3
    rc=0
    vmlet link v net1 up >out 2>err || rc=$?
    expect $rc = 1
    expect_match err 'net1: what it was plugged into is gone'
    wait_for 30 grep -q quiet v.out
    used=$(used_in_a_second $guest_pid)
    expect "$used" -lt 30
    status=0
    wait $guest_pid || status=$?
    expect_status 7
    expect "$(grep -c 'it was deleted (the card has no network from now on)$' v.log)" = 3
    expect "$(grep '^vmlet: ' v.log | grep -vc 'is down')" = 3 # one that is deleted is down for a moment before
}
