# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# The words of -n: 125 and one line that names what is wrong with them.

tap=v$$n # one run of the tests beside another

test_bad_network_words_are_named() {
    bad=0
    mkdir folder
    while read -r words; do
        case $words in '' | '#'*) continue ;; esac
        regex=${words#* :: } words=${words%% :: *}
        { status 125 "$vmlet" run -k "$value" -n "$words" && line "$regex"; } || { echo "  words: $words"; bad=1; }
    done <<END
junk :: junk: no such key
mode=junk :: must be one of
mode=tap,hostfwd=tcp::1-:1 :: hostfwd= is for mode=user
mode=stream :: needs path=
mode=socket :: needs fd=
mode=loopback,model=rtl8139 :: (model=rtl8139|no network cards)
mode=loopback,guest_mac=ff:ff:ff:ff:ff:ff :: no card's address
mode=user,vhost :: vhost= is for mode=tap
mode=tap,vhost,model=e1000 :: vhost= is for model=virtio-net
mode=tap,vhost,legacy :: legacy does not go with vhost=
mode=tap,vhost,pcap=x :: pcap= does not go with vhost=
mode=tap,vhost,hub=lan :: hub= does not go with vhost=
mode=tap,mq=2,model=e1000 :: e1000 has one queue
model=e1000,legacy :: e1000 is no virtio card
hostfwd=tcp:junk :: net0: hostfwd=tcp:junk
hostfwd=tcp::70000-:1 :: hostfwd=tcp::70000-:1
hostfwd=tcp::22-:0 :: hostfwd=tcp::22-:0
net=10.0.0.0/33 :: net=10.0.0.0/33
guest_ip=1.2.3 :: guest_ip=1.2.3
tftp=/nonexistent :: tftp=/nonexistent: No such file
pcap=/nonexistent/x :: net0: pcap /nonexistent/x: No such file .*name a file
pcap=folder :: net0: pcap folder: Is a directory
mode=socket,fd=99 :: net0: fd=99: is no open socket
mode=tap,fd=99 :: net0: tap .*fd=99: Bad file
mode=stream,path=/nonexistent/x,listen :: net0: /nonexistent/x: cannot be made: No such file
mode=stream,path=folder,listen :: net0: folder: is no socket
END
    return $bad
}

test_vhost_and_what_does_not_go_with_it() {
    status 125 "$vmlet" run -k "$value" -n mode=tap,vhost --fault net0:irq:drop@1 && line 'fault net0:irq:drop@1 does not go with vhost='
    [ ! -e /dev/vhost-net ] || { echo "there is /dev/vhost-net here"; return 77; }
    [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ] || { echo "no /dev/net/tun that we may open"; return 77; }
    status 125 "$vmlet" run -k "$value" -n mode=tap,vhost,tapif=${tap}2 && line 'net0: /dev/vhost-net: No such file .*modprobe vhost_net'
    ! ip link show ${tap}2 2>/dev/null
}

test_network_help() {
    status 0 "$vmlet" run -n help && grep -q hostfwd out
}

test_bad_taps_are_named_with_a_remedy() {
    [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ] || { echo "no /dev/net/tun that we may open"; return 77; }
    status 125 "$vmlet" run -k "$value" -n mode=tap,tapif=lo && line 'net0: tap "lo": TUNSETIFF: .* is no tap'
    status 125 "$vmlet" run -k "$value" -n mode=tap,script=/nonexistent,tapif=${tap}0 && line "${tap}0\": script /nonexistent: No such file"
    status 125 "$vmlet" run -k "$value" -n mode=tap,host_ip=junk,tapif=${tap}0 && line 'host_ip=junk: is no IPv4'
    ! ip link show ${tap}0 2>/dev/null
}

# What is set up is taken down again, however the run ends.
test_tap_scripts_and_sockets_are_cleaned_up() {
    [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ] || { echo "no /dev/net/tun that we may open"; return 77; }
    printf '#!/bin/sh\necho $1 >>%s\n' "$PWD/log" >script
    chmod +x script
    n="mode=tap,tapif=${tap}1,script=$PWD/script,downscript=$PWD/script"
    status 42 "$vmlet" run -k "$value" -n "$n" -n "mode=stream,path=$PWD/sock,listen" --device exit
    [ "$(cat log)" = "${tap}1
${tap}1" ] && [ ! -e sock ]
    status 125 "$vmlet" run -k "$value" -n "$n" -n pcap=/nonexistent/x --device exit && line 'net1: pcap'
    [ "$(wc -l <log)" = 4 ]
    guest t "$idle" -n "$n"
    kill -TERM $guest
    ended 143
    [ "$(wc -l <log)" = 6 ]
}

test_no_network() {
    status 42 "$vmlet" run -k "$value" -n mode=none --device exit
}

test_network_verbs_without_a_card() {
    guest n "$idle" -n mode=none
    status 0 "$vmlet" info n net && [ ! -s out ]
    status 1 "$vmlet" link n net0 down && line 'no such card'
    status 1 "$vmlet" link n net0 && line 'link takes'
    status 1 "$vmlet" forward n add tcp::1-:1 && line 'has not mode=user'
    status 1 "$vmlet" forward n drop tcp::1-:1 && line 'forward takes'
    "$vmlet" stop n
    ended 123
}

# Deleted under a guest, a tap is a line of warning and a cable that is out for good; a hub's cable stays in. Nothing spins, and the
# run ends as it would have.
test_taps_that_are_deleted() {
    [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ] || { echo "no /dev/net/tun that we may open"; return 77; }
    guest t "$idle" -n mode=tap,tapif=${tap}3 -n mode=tap,tapif=${tap}4,model=e1000 -n mode=tap,tapif=${tap}5,hub=h 2>log
    ip link set ${tap}3 down
    ip link set ${tap}3 up
    for n in 3 4 5; do ip link del $tap$n; done
    gone() { [ "$("$vmlet" info t net | grep -c ', gone$')" = 3 ]; }
    until_true gone
    [ "$("$vmlet" info t net | grep -c ', link down$')" = 2 ]
    for n in 0 1; do refused "net$n: what it was plugged into is gone" "$vmlet" link t net$n up; done
    status 0 "$vmlet" link t net2 down && status 0 "$vmlet" link t net2 up
    used=$(awk '{ print $14 + $15 }' "/proc/$guest/stat")
    sleep 1
    used=$(($(awk '{ print $14 + $15 }' "/proc/$guest/stat") - used))
    [ $used -le 10 ] || { echo "it used $used hundredths of a second"; return 1; }
    kill -TERM $guest
    ended 143
    [ "$(grep -c 'it was deleted (the card has no network from now on)$' log)" = 3 ] && [ "$(wc -l <log)" = 3 ]
}
