# SPDX-License-Identifier: MIT
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

test_a_cable_that_flaps() { # 90 s
    run timeout 80 vmlet run -k "$FULL_QUICK" -c 1 -m 256 -n model=e1000,mode=loopback --kernel-log k.log --fault net0:link:flap@12900 \
        -- sh -c 'ip link set eth0 up; for i in 1 2 3 4 5 6 7 8; do cat /sys/class/net/eth0/statistics/*_errors >/dev/null; sleep 1
            ! dmesg | grep -q "NIC Link is Down" || break; done'
    expect_status 0
    expect_match k.log 'eth0: NIC Link is Down|eth0 NIC Link is Down'
}
