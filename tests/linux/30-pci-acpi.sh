# SPDX-License-Identifier: MIT
# programs: lspci
# What Debian's kernels say of the ACPI tables and the PCI bus, and what their users see of them.

test_acpi_cloud_says_nothing() { # 90 s
    run timeout 85 vmlet run -k "$CLOUD" -c 2 -m 512 -p ignore_loglevel --kernel-log k.log -- \
        sh -c 'uname -r; grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online
        ls /sys/bus/acpi/devices /sys/bus/pnp/devices /sys/firmware/acpi/tables; cat /proc/ioports'
    expect_status 0
    expect_match k.log 'Linux version'
    expect_no_match err 'Linux version' # it has its own way
    expect_no_match k.log "$complaints"
    no_firmware_complaints k.log
    expect "$(head -n 3 out | tr '\n' ' ')" = "${CLOUD##*/vmlinuz-} 2 0-1 "
    for name in LNXPWRBN:00 PNP0A08:00 PNP0C02:00 PNP0501:03 QEMU0001:00 ACPI0007:01 DSDT FACP APIC MCFG FACS; do
        expect_match out "^$name\$"
    done
    expect_match out '0600-0603 : ACPI PM1a_EVT_BLK'
    expect_match out 'c000-ffff : PCI Bus 0000:00'
}

test_acpi_full_says_nothing() { # 90 s
    run timeout 85 vmlet run -k "$FULL" -c 1 -m 512 -p ignore_loglevel --kernel-log k.log -- uname -r
    expect_status 0
    expect_out '%s\n' "${FULL##*/vmlinuz-}"
    expect_match k.log 'Linux version'
    expect_no_match k.log "$complaints"
    no_firmware_complaints k.log
}

# lspci itself is the command, so that its libraries come along: once through the kernel, once by the ports.
test_pci_lspci_by_both_mechanisms() { # 60 s
    need lspci
    for how in linux-sysfs intel-conf1; do
        run timeout 30 vmlet run -k "$CLOUD" -n mode=none -c 1 -m 512 -- lspci -A $how -n -vv -xxx
        expect_status 0
        expect_match out '^00:00\.0 0600: 1b36:0008$'
        expect_match out '^00: 36 1b 08 00 06 00 '
        expect "$(grep -c '^[0-9a-f][0-9a-f]:[0-9a-f][0-9a-f][.]' out)" = 1
        expect_no_match out 'unknown header|nassigned|access denied|!!!'
        grep '^[0-9a-f]0: ' out >"$how.bytes"
        expect "$(wc -l <"$how.bytes")" = 16
    done
    cmp linux-sysfs.bytes intel-conf1.bytes
}

# Cache line size and latency timer are the guest's to write and are put back. Reads past 256 bytes come by ECAM: a conventional function has none there, so Linux gives it the small size.
test_pci_config_from_the_guest() { # 40 s
    run timeout 30 vmlet run -k "$CLOUD" -n mode=none -c 1 -m 512 -- sh -ec '
        cd /sys/bus/pci/devices
        ls
        cd 0000:00:00.0
        cat vendor device class
        wc -c <config
        before=$(od -An -tx1 config)
        i=0
        while [ $i -lt 256 ]; do printf "\377\377\377\377" | dd of=config bs=1 seek=$i conv=notrunc 2>/dev/null; i=$((i + 4)); done
        printf "\0\0\0\0" | dd of=config bs=1 seek=12 conv=notrunc 2>/dev/null
        [ "$before" = "$(od -An -tx1 config)" ] && echo unchanged
        ls /sys/class/net'
    expect_status 0
    expect_match out '^unchanged$'
    expect "$(tr '\n' ' ' <out)" = '0000:00:00.0 0x1b36 0x0008 0x060000 256 unchanged lo '
}
# Without ACPI the MP table (which cloud kernels do not read) says where interrupts arrive: the timer's, the card's INTx, and that there are two CPUs.
test_mp_table_where_acpi_is_off() { # 90 s
    run vmlet run -k "$FULL_QUICK" -c 2 -p 'acpi=off pci=nomsi ignore_loglevel' --kernel-log k.log -- \
        sh -c 'nproc; ping -c 1 -W 20 10.0.2.2 && cat /proc/interrupts'
    expect_status 0
    expect_match out '^2$'
    expect_match out ' 0% packet loss'
    expect_match out 'IO-APIC +17-fasteoi +virtio'
    expect_match k.log 'found SMP MP-table at \[mem 0x0009fc00'
    expect_no_match k.log 'MPTABLE: .*(not|bad|unknown)|wrong mptable'
}
