# SPDX-License-Identifier: MIT
# programs: socat
# files: build/gcc/unit/virtio_vhost_kernel:/bin/virtio_vhost_kernel build/tools/kexec:/bin/kexec-now
# vhost=1: the host's kernel moves the frames between the guest's rings and a tap. What the guest does to the card while it
# does so: resets, driver gone and back, bus master off, vectors masked, cable out; and what the user does: pause, trace.

serve() { # PORT: the files in www
    mkdir -p www
    head -c 10000000 /dev/urandom >www/file
    busybox httpd -f -p "$1" -h "$PWD/www" &
    stop_later $!
}
# In the background, reachable as $1.
guest() { # NAME OPTION...
    name=$1
    shift
    background_guest "$name" -m 256 -c 1 --no-dhcp "$@"
}
have_vhost() {
    [ -c /dev/vhost-net ] || skip "no /dev/vhost-net here"
}
up='ip link set eth0 up; ip addr add 10.76.0.2/24 dev eth0'
get='wget -q -O /tmp/file http://10.76.0.1:8076/file && md5sum </tmp/file'
irqs() { # FILE: how the queues interrupt, and how often they started
    sed -n 's/^ *queue \([0-9]*\): \([a-z]*\), interrupts by \([a-z ]*\), started \([0-9]*\) times, errors \([0-9]*\)$/\1 \2 \3 \4 \5/p' "$1"
}

# 10 MB each way, whole; the interrupts go past vmlet; a cable out and in again; a pause in the middle.
test_vhost_moves_frames_both_ways() { # 180 s
    have_vhost
    need socat
    serve 8076
    socat -u TCP-LISTEN:8077,reuseaddr,fork OPEN:back,creat,append &
    stop_later $!
    guest v -k "$CLOUD" -n mode=tap,vhost=1,tapif=tap76,host_ip=10.76.0.1/24 -- sh -c "
        $up; $get
        nc 10.76.0.1 8077 </tmp/file
        echo sent
        while [ \$(cat /sys/class/net/eth0/carrier) = 1 ]; do sleep 0.1; done; echo down
        while [ \$(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done; echo up
        $get"
    wait_for 100 grep -q sent v.out
    vmlet info v net >info
    ran='vmlet run' status=0
    cp v.out out
    expect_match out "^$(md5sum <www/file)"
    wait_for 10 cmp -s back www/file
    expect_match info '^net0: virtio-net, .*mode=tap$'
    expect_match info '^  vhost: 1 of 1 pair in use, [1-9][0-9]* pieces? of memory$'
    irqs info >queues
    expect_out_is queues '0 running irqfd 1 0' '1 running irqfd 1 0'
    vmlet link v net0 down
    wait_for 20 grep -q down v.out
    vmlet info v net >info
    irqs info >queues
    expect_out_is queues '0 stopped irqfd 1 0' '1 stopped irqfd 1 0'
    vmlet link v net0 up
    wait_for 20 grep -q up v.out
    vmlet pause v
    vmlet info v net >info
    expect_match info 'vhost: .* held$'
    irqs info >queues
    expect_out_is queues '0 stopped irqfd 2 0' '1 stopped irqfd 2 0'
    vmlet resume v
    wait $guest_pid || fail "the guest ended with $?"
    cp v.out out
    expect "$(grep -c "^$(md5sum <www/file)" out)" = 2
}
expect_out_is() { # FILE LINE...
    is_f=$1
    shift
    printf '%s\n' "$@" >is_wanted
    cmp -s "$is_f" is_wanted || { cat "$is_f"; fail "$is_f is not as wanted"; }
}

# The driver unbound and bound, twice; the whole function through the same; bus master off (nothing moves, nothing breaks) and
# on; vectors masked and unmasked by a change of affinity; in the end the guest reboots.
test_vhost_follows_its_driver() { # 180 s
    have_vhost
    serve 8076
    cat >steps <<EOF
$up; $get
cd /sys/bus/virtio/drivers/virtio_net
for d in virtio*; do :; done
for i in 1 2; do
    echo \$d >unbind; echo \$d >bind; $up; $get
done
p=/sys/bus/pci/devices/\$(basename \$(readlink -f /sys/bus/virtio/devices/\$d/..))
b=\$(basename \$p)
echo \$b >/sys/bus/pci/drivers/virtio-pci/unbind
echo \$b >/sys/bus/pci/drivers/virtio-pci/bind
sleep 0.5; $up; $get
was=\$(dd if=\$p/config bs=2 skip=2 count=1 2>/dev/null | hexdump -e '1/2 "%d"')
master() { # 1|0
    c=\$((\$was & ~4 | 4 * \$1))
    printf "\\\\\$(printf %o \$((\$c & 255)))\\\\\$(printf %o \$((\$c >> 8)))" | dd of=\$p/config bs=2 seek=2 count=1 conv=notrunc 2>/dev/null
}
master 0
ping -c 1 -W 1 10.76.0.1 >/dev/null || echo cut off
master 1
sleep 1
ping -c 1 -W 5 10.76.0.1 >/dev/null && echo back again
$get
EOF
    guest v -k "$CLOUD" --add steps:/steps -n mode=tap,vhost=1,tapif=tap76,host_ip=10.76.0.1/24 -- sh /steps
    wait $guest_pid || fail "the guest ended with $?"
    ran='vmlet run' status=0
    cp v.out out
    expect "$(grep -c "^$(md5sum <www/file)" out)" = 5
    expect_match out '^cut off$'
    expect_match out '^back again$'
    expect_no_match v.log 'vhost|queue'
}

# Traced, each doorbell and each interrupt is seen, and the frames move all the same. The card is what the README says; a tap
# that vmlet makes has its address by itself.
test_vhost_traced() { # 120 s
    have_vhost
    serve 8076
    line=$(readme_line '-n mode=tap,vhost=1')
    # shellcheck disable=SC2086 # words
    guest v -k "$CLOUD" --trace virtio-net $line -- sh -c "
        $(echo "$up; $get" | sed 's/10\.76\.0\./192.168.33./g')"
    wait $guest_pid || fail "the guest ended with $?"
    ran='vmlet run' status=0
    cp v.out out
    expect_match out "^$(md5sum <www/file)"
    expect_match v.log 'net0.*queue_notify'
    expect_match v.log 'net0.*MSI-X vector'
}

# Four processors, four pairs: all of them carry frames.
test_vhost_with_several_pairs() { # 180 s
    have_vhost
    serve 8076
    guest v -c 4 -k "$CLOUD" -n mode=tap,vhost=1,mq=4,tapif=tap76,host_ip=10.76.0.1/24 -- sh -c "
        $up
        ls -d /sys/class/net/eth0/queues/tx-*
        for i in 0 1 2 3; do taskset \$((1 << \$i)) sh -c '$get' & done; wait
        cat /proc/interrupts; echo finished; sleep 600"
    wait_for 150 grep -q finished v.out
    vmlet info v net >info
    ran='vmlet run' status=0
    cp v.out out
    expect "$(grep -c "^$(md5sum <www/file)" out)" -ge 1
    expect_match info 'vhost: 4 of 4 pairs in use'
    expect "$(irqs info | grep -c running)" = 8
    # output and input vectors of each pair have fired
    for i in 0 1 2 3; do
        awk -v n="virtio[0-9]*-output.$i" '$NF ~ n { for (k = 2; k <= 5; k++) s += $k } END { exit !s }' out ||
            fail "pair $i was never used"
    done
    vmlet stop v
    wait $guest_pid || :
}

# The next kernel by kexec, while frames come in: bus mastering goes off under the rings, and another driver finds the card as the
# first left it. (A guest that reboots ends its run.)
test_vhost_follows_a_kexec() { # 240 s
    have_vhost
    serve 8076
    cat >first <<EOF
$up; $get
sh /pack
(while :; do wget -q -O /dev/null http://10.76.0.1:8076/file; done) &
sleep 1
kexec-now /vmlinuz /k.cpio 'console=ttyS0 quiet panic=-1'
EOF
    next_kernel <<EOF
mkdir -p /tmp; $up; $get >/tmp/sum
echo "second kernel: \$(cat /tmp/sum)"
EOF
    # shellcheck disable=SC2086 # words
    guest v -k "$CLOUD" --add first:/first $next -n mode=tap,vhost=1,tapif=tap76,host_ip=10.76.0.1/24 -- sh /first
    status=0
    wait $guest_pid || status=$?
    ran='vmlet run'
    cp v.out out
    expect_status 123 # its command never came back
    expect_match out "^$(md5sum <www/file)"
    expect_match v.log "second kernel: $(md5sum <www/file)"
    expect_no_match v.log 'net0.*(queue|vhost)'
}

# Masked vectors, the dirty log, resets and changes of the map under traffic, balloon, rings that lie: a driver that is a program,
# on the real thing.
test_vhost_against_a_driver_of_our_own() { # 60 s
    have_vhost
    need virtio_vhost_kernel
    run virtio_vhost_kernel
    expect_status 0
    expect_no_match out '^SKIP'
}

# What does not go together is refused in one line.
test_vhost_refusals() { # 30 s
    for with in mode=user,vhost=1 mode=tap,vhost=1,model=e1000 mode=tap,vhost=1,legacy mode=tap,vhost=1,pcap=x mode=tap,vhost=1,hub=h; do
        run vmlet run -k "$CLOUD" -n "$with"
        expect_status 125
        expect "$(wc -l <err)" = 1
        expect_match err 'vhost'
    done
    run vmlet run -k "$CLOUD" -n mode=tap,vhost=1 --fault net0:irq:drop@1
    expect_status 125
    expect "$(wc -l <err)" = 1
    expect_match err '--fault net0:irq:drop@1 does not go with vhost='
}
