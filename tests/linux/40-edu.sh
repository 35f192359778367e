# SPDX-License-Identifier: MIT
# module: guest/edu-driver
# vmlinux: full
# programs: lspci setpci
# edu behind the driver of guest/edu-driver, in Debian's full kernel: interrupts of both kinds, DMA both ways, and a device
# that comes and goes under it.

edu() { # LINES [OPTION...]: runs the lines in a guest with edu and its driver; $f is the function's folder in sysfs
    lines=$1
    shift
    [ $# -gt 0 ] || set -- --device edu --module "$EDU_KO"
    run timeout 80 vmlet run -k "$FULL_QUICK" -c 2 -m 256 --kernel-log k.log "$@" -- sh -ec "
        f=\$(dirname \$(grep -l 0x11e8 /sys/bus/pci/devices/*/device | head -n 1))
        $lines"
    expect_no_match err '^vmlet: guest:' # nor has vmlet with the driver
    # the kernel has nothing to complain about
    expect_no_match k.log '^.[ 0-9.]*. (BUG|WARNING|Oops|Call Trace|general protection)|nobody cared|unhandled'
}
works='
    echo 10 >$f/factorial
    [ "$(cat $f/factorial)" = 3628800 ]
    head -c 4096 /dev/urandom >a
    dd if=a of=/dev/edu0 bs=4096 2>/dev/null
    dd if=/dev/edu0 of=b bs=4096 2>/dev/null
    cmp a b
'

test_edu_msi() { # 90 s
    edu "$works"'
        read -r count causes mode <$f/interrupts
        [ "$count $causes $mode" = "3 0x100 msi" ]
        grep "PCI-MSI.*edu0" /proc/interrupts
        echo 0x8000 >$f/raise
        sleep 0.1
        cat $f/interrupts
        echo 34 >$f/factorial
        cat $f/factorial
        printf middle | dd of=/dev/edu0 bs=1 seek=2000 2>/dev/null
        dd if=/dev/edu0 bs=6 skip=2000 count=1 iflag=skip_bytes 2>/dev/null; echo
        dd if=/dev/edu0 bs=4096 count=2 2>/dev/null | wc -c'
    expect_status 0
    expect_match out '^4 0x8000 msi$'
    expect_match out '^0$'
    expect_match out '^middle$'
    expect_match out '^4096$'
}

# Two on one line, both by INTx: each answers for its own; then one of them alone has work.
test_p10_edu_two_on_one_line_by_intx() { # 90 s
    edu '
        for d in 1 2 3 4 5; do
            for n in 01 09; do
                echo $d >/sys/bus/pci/devices/0000:00:$n.0/factorial
            done
        done
        cat /sys/bus/pci/devices/0000:00:0[19].0/interrupts /sys/bus/pci/devices/0000:00:0[19].0/factorial
        grep "IO-APIC.*fasteoi.*edu0, edu1" /proc/interrupts
        '"$works"'
        cat /sys/bus/pci/devices/0000:00:0[19].0/interrupts' \
        --device edu,addr=1.0 --device edu,addr=9.0 --module "$EDU_KO,msi=0"
    expect_status 0
    expect "$(grep -c '^5 0x1 intx$' out)" = 3
    expect "$(grep -c '^8 0x100 intx$' out)" = 1
    expect "$(grep -c '^120$' out)" = 2
}

test_edu_unbind_remove_and_rescan() { # 150 s
    edu "$works"'
        slot=${f##*/}
        for i in 1 2 3 4 5; do
            echo $slot >/sys/bus/pci/drivers/edu/unbind
            [ ! -e /dev/edu0 ]
            echo $slot >/sys/bus/pci/drivers/edu/bind
            '"$works"'
        done
        exec 3</dev/edu0
        for i in 1 2 3; do
            echo 1 >$f/remove
            [ ! -e $f ] && [ ! -e /dev/edu1 ]
            [ $i != 1 ] || ! dd bs=16 count=1 <&3 >/dev/null 2>err
            echo 1 >/sys/bus/pci/rescan
            [ -e $f/driver ]
            echo 5 >$f/factorial
            [ "$(cat $f/factorial)" = 120 ]
        done
        grep "No such device" err
        exec 3<&-
        echo 1 >$f/remove
        echo 1 >/sys/bus/pci/rescan
        '"$works"'
        rmmod edu
        [ ! -e /dev/edu0 ]
        cat /proc/interrupts'
    expect_status 0
    expect_match out 'No such device'
    expect_no_match out 'edu0'
}

# What the README promises of driver bring-up: each word of the driver's by name, and a lint without a finding.
test_edu_traced_and_linted() { # 90 s
    edu 'echo 10 >$f/factorial; echo hello >/dev/edu0; cat $f/factorial' \
        --device edu --module "$EDU_KO" -n mode=none --trace edu --trace-file trace.json --lint --fail-on lint
    expect_status 0
    expect_out '3628800\n'
    for line in 'R ID=0x10000ed' 'R LIVENESS=0xedcba987' 'W STATUS=0x80 IRQFACT' 'W FACTORIAL=0xa' \
        'IRQ 0x1 -> MSI vector [0-9]+' 'R INTR_STATUS=1 FACT' 'W INTR_ACK=1 FACT' 'R FACTORIAL=0x375f00' \
        'W DMA_CNT.*=6' 'W DMA_CMD.*=5 RUN IRQ' 'IRQ 0x100 -> MSI vector [0-9]+'; do
        expect_match err "edu0 $line"
    done
    expect_match trace.json '"dev":"edu0".*"reg":"FACTORIAL"'
}
