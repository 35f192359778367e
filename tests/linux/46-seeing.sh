# SPDX-License-Identifier: MIT
# module: guest/edu-driver
# Traces, lint and faults with Debian's own drivers: they break no rule, and their words are all there.

test_debians_e1000_linted_and_traced() { # 90 s
    run timeout 80 vmlet run -k "$FULL_QUICK" -c 1 -m 256 -n model=e1000,mode=loopback --trace net0,mem --trace-file t.json --fail-on lint \
        -- sh -c 'ip link set eth0 up; ip addr add 10.0.0.1/24 dev eth0; ping -c 1 -W 1 10.0.0.2; ip link set eth0 down; true'
    expect_status 0
    expect_match t.json '^\{"t":[0-9]+,"cpu":0,"pc":"0xffffffff[0-9a-f]{8}","dev":"net0","class":"e1000","op":"R","reg":"STATUS"'
    expect_match t.json '"op":"W","reg":"TDT","size":4,"value":"0x[0-9a-f]+","led":"TDH=[0-9]+: [0-9]+ descriptors"'
    expect_match t.json '"op":"irq","up":true,"cause":"ICR=0x[0-9a-f]+","led":"INTx line [0-9]+"'
    expect_match t.json '"op":"dma","dir":"W"'
    run vmlet trace-diff t.json t.json
    expect_status 0
}

# Every device of the house at once, used, taken from its driver and given back: none of the drivers breaks a rule. Neither do those
# for virtio 0.9.5.
every_device() { # KERNEL OPTION...
    truncate -s 1M disk shm
    mkdir -p share
    echo shared >share/f
    cat >lines <<'EOF'
for e in eth0 eth1; do [ ! -e /sys/class/net/$e ] || { ip link set $e up; udhcpc -i $e -n -q -s /bin/true; } >/dev/null 2>&1; done
head -c 16 /dev/hwrng | wc -c
dd if=/dev/vda of=/tmp/d bs=64k 2>/dev/null
dd if=/tmp/d of=/dev/vda bs=64k oflag=direct 2>/dev/null
for p in /dev/vport*p1; do echo here >$p; done
cat share/f
[ ! -e /dev/edu0 ] || { dd if=/tmp/d of=/dev/edu0 bs=4096 count=1 2>/dev/null; (cd /sys/bus/pci/drivers/edu/0*; echo 5 >factorial; cat factorial); }
umount share
n=0
for d in /sys/bus/pci/devices/*/driver; do
    f=${d%/driver} f=${f##*/} r=$(readlink -f $d)
    echo $f >$r/unbind
    echo $f >$r/bind
    [ ! -e $d ] || n=$((n + 1))
done
echo $n drivers
EOF
    k=$1
    shift
    run timeout 85 vmlet run -k "$k" -c 1 -m 512 --no-dhcp --kernel-log k.log --fail-on lint,warn,bug,oops --rng --balloon --vsock 9,path=v.sock \
        --share share "$@" --device edu --device pci-testdev --device pc-testdev --device ivshmem-plain,path=shm --add lines:/lines -- sh -e /lines
    expect_status 0
    expect_no_match err 'vmlet: (lint|guest)'
    expect_match out '^16$'
    expect_match out '^shared$'
    expect "$(cat log.txt)" = here
}
test_debians_drivers_of_every_device_linted() { # 90 s
    every_device "$FULL_QUICK" -n model=e1000 -n mode=user -d disk --device virtio-console,port=log=file:log.txt --module "$EDU_KO"
    expect_match out '^120$'
    expect_match out '^9 drivers$'
}
test_debians_drivers_of_virtio_0_9_5_linted() { # 90 s, soak
    every_device "$CLOUD" -n legacy --device virtio-blk,file=disk,legacy --device virtio-console,legacy,port=log=file:log.txt \
        --device virtio-rng,legacy --trace virtio-blk,net0 --trace-file t.json --module virtio_pci,force_legacy=1
    expect_match t.json '"class":"virtio-blk","op":"W","reg":"legacy_status".*DRIVER_OK'
    expect_match t.json '"class":"virtio-net","op":"W","reg":"notify"'
    expect_no_match t.json '"reg":"device_status"'
    expect_match out '^8 drivers$'
}

test_a_cable_that_flaps() { # 90 s
    run timeout 80 vmlet run -k "$FULL_QUICK" -c 1 -m 256 -n model=e1000,mode=loopback --kernel-log k.log --fault net0:link:flap@12900 \
        -- sh -c 'ip link set eth0 up; for i in 1 2 3 4 5 6 7 8; do cat /sys/class/net/eth0/statistics/*_errors >/dev/null; sleep 1
            ! dmesg | grep -q "NIC Link is Down" || break; done'
    expect_status 0
    expect_match k.log 'eth0: NIC Link is Down|eth0 NIC Link is Down'
}
