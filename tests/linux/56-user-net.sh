# SPDX-License-Identifier: MIT
# The user network beside TCP, with Debian's kernel as the guest: what is alive, dead, refused or forwarded, and fragments.
# programs: socat dnsmasq

# A host with a far address that answers (192.0.2.1), one that does not (198.51.100.9), and one without a way there (203.0.113.1).
far() {
    ip addr add 192.0.2.1/32 dev lo 2>/dev/null || :
    ip route add 198.51.100.0/24 dev lo 2>/dev/null || :
}
later() { # PID...
    # shellcheck disable=SC2064 # the value of now
    trap "kill $* 2>/dev/null || :" EXIT
}

test_ping_udp_and_names() { # 150 s
    need socat dnsmasq
    far
    [ -e /etc/passwd ] || echo 'root:x:0:0:root:/:/bin/sh' >/etc/passwd
    printf 'nameserver 127.0.0.9\nnameserver 127.0.0.1\n' >/etc/resolv.conf # nobody is at the first
    dnsmasq --no-daemon --no-hosts --no-resolv --listen-address=127.0.0.1,192.0.2.1 --bind-interfaces --user=root \
        --address=/name.test/192.0.2.1 >dns.log 2>&1 &
    dns=$!
    socat -u UDP-RECV:9061,bind=127.0.0.1 CREATE:datagrams &
    later $dns $!
    mkdir tftp
    head -c 100000 /dev/urandom >tftp/file
    run vmlet run -m 256 -k "$CLOUD" -n "tftp=$PWD/tftp" -- sh -c '
        ping -c 1 -W 5 192.0.2.1 >/dev/null && echo alive
        ping -c 1 -W 2 198.51.100.9 >/dev/null || echo dead
        ping -c 1 -W 5 -s 20000 10.0.2.2 >/dev/null && echo fragments
        ping -c 1 -W 5 -s 20000 192.0.2.1 >/dev/null && echo far fragments
        n=300 # Linux takes 2 s or so before it asks for a router
        until ip -6 route | grep "^default via fe80::2" || [ $((n -= 1)) = 0 ]; do usleep 100000; done
        ping -6 -c 1 -W 5 fd76:6d6c:6574::2 >/dev/null && echo six
        nslookup name.test | grep "Address.*192.0.2.1" >/dev/null && echo name
        nslookup name.test 192.0.2.1 | grep "Address.*192.0.2.1$" >/dev/null && echo far datagrams
        syslogd -R 10.0.2.2:9061; logger a datagram; logger another
        tftp -g -r file -l /tmp/file 10.0.2.2 && md5sum </tmp/file
        tftp -g -r ../../etc/passwd -l /tmp/passwd 10.0.2.2 || echo no passwd'
    expect_status 0
    for word in alive dead fragments 'far fragments' six '.*default via fe80::2.*' name 'far datagrams' 'no passwd'; do
        expect_match out "^$word\$"
    done
    expect_match out "^$(md5sum <tftp/file)"
    expect_match datagrams 'a datagram'
}

# Nothing leaves, and it is said at once; what is forwarded works all the same.
test_restrict() { # 120 s
    need socat
    far
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    vmlet run -m 256 -k "$CLOUD" --name r -n restrict,hostfwd=tcp:127.0.0.1:9063-:7 -- sh -c '
        ping -c 1 -W 2 192.0.2.1 >/dev/null || echo no ping
        wget -T 5 -O - http://10.0.2.2:80/ || echo no host
        wget -T 5 -O - http://192.0.2.1/ || echo no world
        nslookup name.test 2>&1 | grep -i refused
        echo ready
        nc -l -p 7 -e cat' >out 2>err </dev/null &
    later $!
    wait_for 90 grep -q ready out
    for word in 'no ping' 'no host' 'no world'; do
        expect_match out "^$word\$"
    done
    expect_match out 'REFUSED'
    vmlet info r net >info
    expect_match info 'restrict=on'
    expect_match info '10\.0\.2\.15 .*bound'
    expect_match info 'refused by the policy'
    echo through | timeout 10 socat -t 5 - TCP:127.0.0.1:9063 >echoed
    expect "$(cat echoed)" = through
}
