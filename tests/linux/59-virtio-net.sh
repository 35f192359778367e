# SPDX-License-Identifier: MIT
# programs: tcpdump
# vmlinux: full
# virtio-net's control queue with Debian's own driver: an address of the guest's own, VLANs and multicast by its filters, the
# announcement after a cable was out, and a card that the guest takes out and finds again. Two cards on a hub, the second in a
# network namespace of its own; what passes the first is recorded. The drivers are not promiscuous: what comes has passed the filter
# that they set.

test_virtio_net_filters_announces_and_comes_back() { # 120 s
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
got() { was=$(cat /sys/class/net/eth0/statistics/rx_packets); b ping -q -c 20 -i 0.02 -w 2 $1 >/dev/null; echo $(($(cat /sys/class/net/eth0/statistics/rx_packets) - was)); }
n=$(got 224.0.0.1); [ $n -ge 20 ] || fail "$n of 20 to a group that it is in"
n=$(got 224.0.0.77); [ $n -lt 5 ] || fail "$n of 20 to a group that it is not in"
ifconfig eth0 allmulti
n=$(got 224.0.0.77); [ $n -ge 20 ] || fail "$n of 20 with all groups let in"
ifconfig eth0 -allmulti
n=$(got 224.0.0.77); [ $n -lt 5 ] || fail "$n of 20 to a group that it is not in again"
echo groups

wait_for 60 grep -q 0 /sys/class/net/eth0/carrier
wait_for 60 grep -q 1 /sys/class/net/eth0/carrier
sleep 1
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
    sleep 1.5
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
