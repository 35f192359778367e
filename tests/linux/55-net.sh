# SPDX-License-Identifier: MIT
# programs: tcpdump dnsmasq socat passt
# Networks: what a guest finds when nothing is said, and every kind of backend, with Debian's own drivers in the guest and Debian's
# own programs at the other end.

vm() { # OPTION...
    run timeout 110 vmlet run -m 256 -c 1 "$@"
}
serve() { # PORT: the files in www
    mkdir -p www
    busybox httpd -f -p "$1" -h "$PWD/www" &
    stop_later $!
}
# dnsmasq wants to know who root is, which the bed does not say.
name_root() {
    [ -e /etc/passwd ] || echo 'root:x:0:0:root:/:/bin/sh' >/etc/passwd
    [ -e /etc/group ] || echo 'root:x:0:' >/etc/group
}
# In the background, reachable as $1.
guest() { # NAME OPTION...
    name=$1
    shift
    background_guest "$name" -m 256 -c 1 "$@"
}

# Nothing is said: an address, a route, a name server, a host that can be reached, a file that comes whole.
test_online_without_a_word() { # 120 s
    serve 8055
    head -c 3000000 /dev/urandom >www/file
    vm -k "$CLOUD" --name web -- sh -c '
        ip addr show eth0; ip route; cat /etc/resolv.conf; uname -n; ip addr show lo
        ping -c 1 10.0.2.2
        wget -q -O /tmp/file http://10.0.2.2:8055/file && md5sum </tmp/file'
    expect_status 0
    expect_match out 'inet 10\.0\.2\.15/24'
    expect_match out '^default via 10\.0\.2\.2 dev eth0'
    expect_match out '^nameserver 10\.0\.2\.3$'
    expect_match out '^web$'
    expect_match out 'inet 127\.0\.0\.1/8'
    expect_match out '1 packets received'
    expect_match out "^$(md5sum <www/file)"
}

# The same with the other card, on a kernel that has its driver as a module, and back: upload, a way in, names.
test_e1000_in_the_user_network() { # 150 s
    need dnsmasq socat
    serve 8056
    head -c 2000000 /dev/urandom >www/file
    name_root
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    dnsmasq --no-daemon --no-hosts --no-resolv --listen-address=127.0.0.1 --bind-interfaces --user=root \
        --address=/name.test/10.0.2.2 >dns.log 2>&1 &
    stop_later $!
    socat -u TCP-LISTEN:8057,bind=127.0.0.1,reuseaddr CREATE:back &
    stop_later $!
    guest e -k "$FULL_QUICK" -n model=e1000,hostfwd=tcp:127.0.0.1:8059-:7,pcap=e.pcap -- sh -c '
        nslookup name.test
        wget -q -O /tmp/file http://name.test:8056/file && md5sum </tmp/file
        nc 10.0.2.2 8057 </tmp/file >/dev/null
        n=300 # Linux takes 2 s or so before it asks for a router
        until ip -6 addr show eth0 | grep "inet6 fd" || [ $((n -= 1)) = 0 ]; do usleep 100000; done
        echo ready
        nc -l -p 7 -e cat || :'
    wait_for 110 grep -q ready e.out
    ran='vmlet run' status=0
    cp e.out out
    expect_match out 'Address.*10\.0\.2\.2$'
    expect_match out "^$(md5sum <www/file)"
    expect_match out 'inet6 fd'
    wait_for 10 cmp -s back www/file
    vmlet info e net >info
    expect_match info '^net0: e1000, 02:.*mode=user$'
    expect_match info 'forward tcp 127\.0\.0\.1 port 8059 to 10\.0\.2\.15 port 7'
    expect_match info 'pcap e\.pcap: [0-9]+ frames, 0 missed(, written by a thread)?$'
    vmlet forward e add tcp:127.0.0.1:8060-:7
    vmlet forward e remove tcp:127.0.0.1:8059
    vmlet info e net >info
    expect_no_match info 'port 8059'
    expect_match info 'forward tcp 127\.0\.0\.1 port 8060'
    echo through | timeout 10 socat -t 5 - TCP:127.0.0.1:8060 >echoed
    expect "$(cat echoed)" = through
    wait $guest_pid || fail "the guest ended with $?"
    need tcpdump
    tcpdump -Z root -n -r e.pcap >frames 2>tcpdump.log || fail "tcpdump cannot read it"
    expect_match frames 'IP 10\.0\.2\.15\.[0-9]+ > 10\.0\.2\.2\.8056: Flags \[S\]'
    expect_match frames 'IP 10\.0\.2\.2\.8056 > 10\.0\.2\.15\.[0-9]+: Flags \[S\.\]'
    tcpdump -Z root -n -vv -r e.pcap 2>tcpdump.log | grep -Ec 'bad (udp )?cksum|incorrect' >bad || :
    expect "$(cat bad)" = 0
}

# The interface of virtio 0.9.5, which the kernel's driver is told to use.
test_online_by_legacy_virtio_net() { # 120 s
    serve 8070
    head -c 3000000 /dev/urandom >www/file
    vm -k "$CLOUD" -n legacy --fail-on lint --module virtio_pci,force_legacy=1 -- sh -c '
        cut -c 33 /sys/bus/virtio/devices/virtio0/features
        wget -q -O /tmp/file http://10.0.2.2:8070/file && md5sum </tmp/file'
    expect_status 0
    expect_match out '^0$' # VERSION_1 (bit 32) was not negotiated
    expect_match out "^$(md5sum <www/file)"
}

# A tap that vmlet makes, with a script; DHCP from dnsmasq; both cards.
tap() { # KERNEL MODEL PORT
    need dnsmasq
    name_root
    serve "$3"
    head -c 3000000 /dev/urandom >www/file
    printf '#!/bin/sh\nip addr add 10.55.0.1/24 dev $1\nip link set $1 up\necho $1 >up\n%s%s\n' \
        'dnsmasq --no-hosts --no-resolv --port=0 --interface=$1 --bind-interfaces --user=root --pid-file=$PWD/pid ' \
        '--dhcp-range=10.55.0.50,10.55.0.50,1h --dhcp-option=option:dns-server,10.55.0.1 --domain=lan.test --dhcp-leasefile=$PWD/leases' >up.sh
    printf '#!/bin/sh\necho $1 >down\nkill $(cat pid)\n' >down.sh
    chmod +x up.sh down.sh
    vm -k "$1" -n "mode=tap,model=$2,tapif=tap55,script=$PWD/up.sh,downscript=$PWD/down.sh" -- sh -c '
        ip addr show eth0; cat /etc/resolv.conf
        ping -c 1 10.55.0.1
        wget -q -O /tmp/file http://10.55.0.1:'"$3"'/file && md5sum </tmp/file'
    expect_status 0
    expect_match out 'inet 10\.55\.0\.50/24'
    expect_match out '^search lan\.test$'
    expect_match out '^nameserver 10\.55\.0\.1$'
    expect_match out '1 packets received'
    expect_match out "^$(md5sum <www/file)"
    expect "$(cat up down)" = "tap55
tap55"
}
test_tap_virtio_net() { # 120 s
    tap "$CLOUD" virtio-net 8061
}
test_tap_e1000() { # 120 s
    tap "$FULL_QUICK" e1000 8062
}

# Debian's passt as the network. Its DHCP (of 2023: broadcasts came later) answers to the address that the guest is to have, where
# no kernel hears it, and Debian's have packet sockets in a module. So the guest takes its address by itself. passt takes the host's
# routes for a model, and the bed has none; it shuts itself into a root of its own, for which an initramfs will not do.
test_passt_is_the_network() { # 120 s
    need passt
    [ "$WHERE" = bed ] || skip "only the bed's routes may be changed"
    serve 8072
    head -c 3000000 /dev/urandom >www/file
    insmod "$(find "/lib/modules/$(uname -r)" -name dummy.ko)" 2>/dev/null || :
    ip link add dummy0 type dummy 2>/dev/null || :
    ip addr add 192.0.2.1/24 dev dummy0
    ip link set dummy0 up
    ip route add default via 192.0.2.254
    WIRE=/tmp/passt.$$ # where it may make a socket after it has become nobody
    export WIRE
    mkdir -p /r
    unshare -m sh -c 'mount --rbind / /r && cd /r && mount --move . / &&
        exec chroot . passt -f -4 -q --runas 1000:1000 -s "$WIRE" -a 10.0.2.15 -n 24 -g 10.0.2.2' >passt.log 2>&1 &
    stop_later $!
    wait_for 10 [ -S "$WIRE" ]
    vm -k "$CLOUD" --no-dhcp -n "mode=stream,path=$WIRE" -- sh -c '
        ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
        wget -q -O /tmp/file http://10.0.2.2:8072/file && md5sum </tmp/file'
    ip link set dummy0 down
    expect_status 0
    expect_match out "^$(md5sum <www/file)"
}

# Two guests joined by a path; a cable that is pulled and plugged in again.
test_two_guests_and_a_stream() { # 150 s
    guest a -k "$CLOUD" -n "mode=stream,path=$PWD/wire,listen" --no-dhcp -- sh -c '
        mkdir /tmp/www; head -c 1000000 /dev/urandom >/tmp/www/file; md5sum </tmp/www/file
        ip addr add 10.56.0.1/24 dev eth0; httpd -f -p 80 -h /tmp/www'
    wait_for 60 [ -S wire ]
    guest b -k "$CLOUD" -n "mode=stream,path=$PWD/wire" --no-dhcp -- sh -c '
        ip addr show eth0 >/tmp/before; grep -q ",UP" /tmp/before && ! grep "inet " /tmp/before && echo up without an address
        ip addr add 10.56.0.2/24 dev eth0
        until ping -c 1 -W 1 10.56.0.1 >/dev/null; do :; done; echo reached
        while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done; echo pulled
        while [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do sleep 0.1; done; echo back
        until ping -c 1 -W 1 10.56.0.1 >/dev/null; do :; done
        wget -q -O - http://10.56.0.1/file | md5sum; echo finished'
    wait_for 100 grep -q reached b.out
    vmlet info b net >info
    expect_match info "socket $PWD/wire: connected"
    vmlet link b net0 down
    wait_for 20 grep -q pulled b.out
    vmlet info b net >info
    expect_match info 'link down'
    vmlet link b net0 up
    wait_for 60 grep -q finished b.out
    ran='two guests' status=0
    cp b.out out
    expect_match out '^up without an address$'
    expect "$(grep -c ' -$' a.out)" = 1
    expect "$(grep ' -$' a.out)" = "$(grep ' -$' b.out)"
    vmlet stop a
    wait_for 10 sh -c '! [ -e wire ]'
}

# One guest, two cards in a hub, and the user network beside them: both get an address of their own.
test_hub_with_two_cards_and_the_user_network() { # 120 s
    vm -k "$CLOUD" -n hub=lan,mode=user -n hub=lan -- sh -c 'ip addr; ping -c 1 -I eth1 10.0.2.2'
    expect_status 0
    expect_match out 'inet 10\.0\.2\.15/24'
    expect_match out 'inet 10\.0\.2\.1[67]/24'
    expect_match out '1 packets received'
}

# Two cards, each in a user network of its own: no address of one is the other's.
test_two_cards_in_two_user_networks() { # 120 s
    serve 8071
    head -c 100000 /dev/urandom >www/file
    vm -k "$CLOUD" -n model=virtio-net -n model=virtio-net -- sh -c '
        n=100
        until [ "$(ip -6 addr | grep "inet6 fd" | grep -vc tentative)" = 2 ] || [ $((n -= 1)) = 0 ]; do usleep 100000; done
        ip addr; ip -6 route
        wget -q -O - http://10.0.3.2:8071/file | md5sum
        ping -6 -c 1 -W 5 fd76:6d6c:6574::2; ping -6 -c 1 -W 5 fd76:6d6c:6574:1::2'
    expect_status 0
    expect_match out 'inet 10\.0\.2\.15/24'
    expect_match out 'inet 10\.0\.3\.15/24'
    expect_match out 'inet6 fd76:6d6c:6574:0?:[0-9a-f:]+/64'
    expect_match out 'inet6 fd76:6d6c:6574:1:[0-9a-f:]+/64'
    expect_match out "^$(md5sum <www/file)"
    expect "$(grep -c '1 packets received' out)" = 2
}

# Every frame comes back to a card in loopback (which has a filter of its own: what counts is ARP's broadcasts), and nobody is asked for an address: nothing waits.
test_loopback_gives_every_frame_back() { # 90 s
    vm -k "$CLOUD" -n mode=loopback -- sh -c '
        ip addr add 10.57.0.1/24 dev eth0
        ping -c 3 -W 1 10.57.0.2 >/dev/null
        cat /sys/class/net/eth0/statistics/rx_packets
        cat /etc/resolv.conf 2>/dev/null || echo none'
    expect_status 0
    expect_match out '^none$'
    expect "$(sed -n 1p out)" -ge 3
}
