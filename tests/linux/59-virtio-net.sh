# SPDX-License-Identifier: MIT
# programs: tcpdump ethtool
# files: build/tools/kexec:/bin/kexec-now
# vmlinux: full
# virtio-net's control queue with Debian's own driver: an address of the guest's own, VLANs and multicast by its filters, the
# announcement after a cable was out, and a card that the guest takes out and finds again. Two cards on a hub, the second in a
# network namespace of its own; what passes the first is recorded. The drivers are not promiscuous: what comes has passed the filter
# that they set.

test_virtio_net_filters_announces_and_comes_back() { # 150 s
    need tcpdump
    find "$FULL_MODULES/" -name 8021q.ko | grep -q . || skip 'the kernel in the cache was unpacked without 8021q.ko'
    cat >lines <<'EOT'
fail() { echo "guest: $*"; ip addr; dmesg | tail -n 20; exit 1; }
wait_for() { n=$(($1 * 10)); shift; until "$@" >/dev/null 2>&1; do n=$((n - 1)); [ $n -gt 0 ] || fail "in vain: $*"; sleep 0.1; done; }
b() { nsenter --net=/proc/$other/ns/net "$@"; }
apart() { [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; }
unshare -n sleep 1000 & other=$!
wait_for 10 apart
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 # what it says to groups would be counted
ip link set eth1 netns $other
b sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
b ip addr add 10.59.0.1/24 dev eth1
b ip link set eth1 up
b ip route add 224.0.0.0/4 dev eth1
ip link set eth0 address 02:00:00:00:59:07
ip link set eth0 up
ip addr add 10.59.0.2/24 dev eth0
wait_for 20 ping -c 1 -W 1 10.59.0.1
echo own address
ip link set eth0 address 02:00:00:00:59:08 # and while it is up
wait_for 20 ping -c 1 -W 1 10.59.0.1
echo another address

for n in "eth0 2" "b eth1 1"; do
    on= ; [ "${n%% *}" != b ] || on=b n=${n#* }
    $on ip link add link ${n% *} name v5 type vlan id 5
    $on ip addr add 10.59.5.${n#* }/24 dev v5
    $on ip link set v5 up
done
wait_for 20 ping -c 1 -W 1 10.59.5.1
echo vlan 5
ip link del v5
b ping -c 1 -W 1 10.59.5.2 >/dev/null && fail "VLAN 5 is gone, and answers"
echo no vlan 5

# How many of 20 frames to a group reach the card. All hosts (224.0.0.1) have joined that one.
got() { was=$(cat /sys/class/net/eth0/statistics/rx_packets); b ping -q -c 20 -i 0.02 -W 1 $1 >/dev/null; echo $(($(cat /sys/class/net/eth0/statistics/rx_packets) - was)); }
n=$(got 224.0.0.1); [ $n -ge 20 ] || fail "$n of 20 to a group that it is in"
n=$(got 224.0.0.77); [ $n -lt 5 ] || fail "$n of 20 to a group that it is not in"
ifconfig eth0 allmulti
n=$(got 224.0.0.77); [ $n -ge 20 ] || fail "$n of 20 with all groups let in"
ifconfig eth0 -allmulti
n=$(got 224.0.0.77); [ $n -lt 5 ] || fail "$n of 20 to a group that it is not in again"
echo groups

wait_for 60 grep -q 0 /sys/class/net/eth0/carrier
echo unplugged
wait_for 60 grep -q 1 /sys/class/net/eth0/carrier
sleep 1.5 # it is asked three times
echo plugged in again

b ping -q -s 1400 -i 0.005 10.59.0.2 >/dev/null & # under traffic
d=$(readlink -f /sys/class/net/eth0/device/..)
for i in 1 2 3; do
    wait_for 20 ping -c 1 -W 1 10.59.0.1
    echo 1 >$d/remove
    [ ! -e /sys/class/net/eth0 ] || fail "it is still there"
    echo 1 >/sys/bus/pci/rescan
    wait_for 20 [ -e /sys/class/net/eth0 ]
    ip link set eth0 up
    ip addr add 10.59.0.2/24 dev eth0
done
wait_for 20 ping -c 1 -W 1 10.59.0.1
cat /sys/class/net/eth0/address
echo taken out and found again
dmesg | grep -E 'timed out|Oops|BUG:|WARNING: CPU|not a head' && fail "the kernel complains"
exit 0
EOT
    background_guest v -m 512 -c 1 --no-dhcp -k "$FULL_QUICK" --module 8021q --add lines:/lines \
        -n mode=none,hub=h,pcap=a.pcap,guest_mac=02:00:00:00:59:01 -n mode=none,hub=h -- sh -e /lines
    ran='vmlet run' status=running
    wait_for 90 sh -c "grep -q groups v.out || ! kill -0 $guest_pid"
    cp v.out out
    expect_match out '^groups$'
    vmlet info v stats >info
    expect_match info "rx drop: the driver.s VLAN filter"
    vmlet link v net0 down
    wait_for 60 grep -q unplugged v.out
    vmlet link v net0 up
    status=0
    wait $guest_pid || status=$?
    cp v.out out
    expect_status 0
    expect_match out '^plugged in again$'
    expect_match out '^02:00:00:00:59:01$'
    expect_match out '^taken out and found again$'
    [ -e /etc/passwd ] || echo 'root:x:0:0:root:/:/bin/sh' >/etc/passwd
    [ -e /etc/group ] || echo 'root:x:0:' >/etc/group
    tcpdump -Z root -n -e -r a.pcap arp >frames 2>tcpdump.log || fail 'tcpdump cannot read it'
    expect_match frames '02:00:00:00:59:07 > .*who-has 10\.59\.0\.1'
    # a gratuitous request, by which switches learn where it is
    expect_match frames '02:00:00:00:59:08 > .*(Announcement 10\.59\.0\.2|who-has 10\.59\.0\.2 .*tell 10\.59\.0\.2)'
    expect_no_match v.log 'vmlet: '
}

# Pairs of queues that vmlet itself serves, on a tap: each carries its flows both ways, their number changes under traffic, and a
# kernel that knows nothing of it takes over by kexec.
test_virtio_net_pairs_of_queues_change_and_outlive_a_kexec() { # 240 s, soak
    need ethtool
    mkdir www
    head -c 300000 /dev/urandom >www/file
    busybox httpd -f -p 8058 -h "$PWD/www" &
    stop_later $!
    add_programs ethtool
    cat >lines <<'EOT'
fail() { echo "guest: $*"; ethtool -S eth0; dmesg | tail -n 20; exit 1; }
ip link set eth0 up
ip addr add 10.58.0.2/24 dev eth0
get() { wget -q -O - http://10.58.0.1:8058/file | md5sum; }
stat() { ethtool -S eth0 | awk -v s="$1:" '$1 == s { print $2 }'; }
now() { ethtool -l eth0 | awk '/^Current/ { c = 1 } c && $1 == "Combined:" { print $2 }'; }
sum=$(get)
echo "whole: $sum"
echo "at first $(now)"
ethtool -L eth0 combined 5 2>/dev/null && fail "more pairs than there are"
ethtool -L eth0 combined 4 || fail "four pairs"
[ "$(now)" = 4 ] || fail "there are $(now) pairs"
for q in 0 1 2 3; do # a flow follows the pair on which it is sent
    for other in 0 1 2 3; do echo 0 >/sys/class/net/eth0/queues/tx-$other/xps_cpus; done
    echo 3 >/sys/class/net/eth0/queues/tx-$q/xps_cpus
    rx=$(stat rx_queue_${q}_packets) tx=$(stat tx_queue_${q}_packets)
    [ "$(get)" = "$sum" ] || fail "not the file, on pair $q"
    rx=$(($(stat rx_queue_${q}_packets) - rx)) tx=$(($(stat tx_queue_${q}_packets) - tx))
    [ $rx -ge 6 ] && [ $tx -ge 6 ] || fail "pair $q: $rx in, $tx out"
    echo "pair $q carries"
done
for q in 0 1 2 3; do echo 3 >/sys/class/net/eth0/queues/tx-$q/xps_cpus; done
for k in 1 2; do
    (while :; do get; usleep 200000; done >/tmp/sums.$k) & # room for the rest: both processors of the guest may be one
    flows="$flows $!"
done
for n in 1 4 2 3 1 4 2 4; do
    ethtool -L eth0 combined $n || fail "no change to $n"
    [ "$(now)" = $n ] || fail "$(now) pairs, not $n"
    [ "$(get)" = "$sum" ] || fail "not the file, with $n pairs"
done
sleep 1
[ "$(sort -u /tmp/sums.*)" = "$sum" ] || fail "$(sort /tmp/sums.* | uniq -c)"
echo "changed under $(cat /tmp/sums.* | wc -l) files"
dmesg | grep -E 'timed out|Oops|BUG:|WARNING: CPU|not a head' && fail "the kernel complains"
sh /pack
# Under traffic Linux 6.1 itself may not come to its end: it marks its queues as broken, and virtnet_poll_cleantx() turns for ever
# on what was sent.
kill $flows
sleep 2
echo kexec
kexec-now /vmlinuz /k.cpio 'console=ttyS0 quiet panic=-1'
EOT
    next_kernel <<'EOT'
ip link set eth0 up
ip addr add 10.58.0.2/24 dev eth0
echo "second kernel: $(ls -d /sys/class/net/eth0/queues/tx-* | wc -l) queues, $(wget -q -O - http://10.58.0.1:8058/file | md5sum)"
EOT
    # shellcheck disable=SC2086 # words
    background_guest v --no-dhcp -m 256 -c 2 -k "$CLOUD" $adds $next --add lines:/lines \
        -n mode=tap,mq=4,tapif=tap58,host_ip=10.58.0.1/24 -- sh /lines
    ran='vmlet run' status=0
    wait $guest_pid || status=$?
    cp v.out out
    expect_status 123 # its command never came back
    expect_match out "^whole: $(md5sum <www/file)"
    expect_match out '^at first 2$'
    expect "$(grep -c '^pair [0-3] carries$' out)" = 4
    expect_match out '^changed under [1-9][0-9]* files$'
    expect_match v.log "second kernel: [24] queues, $(md5sum <www/file)"
    expect_no_match v.log '^vmlet: net0'
}
