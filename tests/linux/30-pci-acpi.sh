# SPDX-License-Identifier: MIT
# programs: lspci
# What Debian's kernels say of the ACPI tables and the PCI bus, and what their users see of them.

# Nothing in a kernel's log that blames the firmware. "Firmware Info" is no blame, but we give no occasion for it either.
no_complaints() { # LOG
    expect_match "$1" 'ACPI: RSDP 0x'
    expect_no_match "$1" 'ACPI.*([Ee]rror|[Ww]arning|[Ee]xception|[Ii]nvalid|[Ff]ailed)|ACPI BIOS|[Ff]irmware (Bug|Warn|Info)'
    expect_no_match "$1" 'not CPU addressable|overlap|conflict|[Bb]ogus|MP-BIOS|noapic|pci=|can.t claim|no compatible bridge'
    expect_match "$1" 'PCI: Using configuration type 1'
    expect_match "$1" 'PCI: MMCONFIG at \[mem 0xe0000000-.*reserved'
    expect_match "$1" 'ACPI: Using IOAPIC for interrupt routing'
}

# The usual line about pci=nocrs is Linux's advice to everybody.
kernel_log() { # FILE
    grep -v 'Using host bridge windows from ACPI' "$1" >dmesg.log
    no_complaints dmesg.log
}

test_acpi_cloud_says_nothing() { # 60 s
    run timeout 55 vmlet run -k "$CLOUD" -c 2 -m 512 -p ignore_loglevel --kernel-log k.log -- \
        sh -c 'ls /sys/bus/acpi/devices /sys/bus/pnp/devices /sys/firmware/acpi/tables; cat /proc/ioports'
    expect_status 0
    kernel_log k.log
    for name in LNXPWRBN:00 PNP0A08:00 PNP0C02:00 PNP0501:03 QEMU0001:00 ACPI0007:01 DSDT FACP APIC MCFG FACS; do
        expect_match out "^$name\$"
    done
    expect_match out '0600-0603 : ACPI PM1a_EVT_BLK'
    expect_match out 'c000-ffff : PCI Bus 0000:00'
}

test_acpi_full_says_nothing() { # 90 s
    run timeout 85 vmlet run -k "$FULL" -c 1 -m 512 -p ignore_loglevel --kernel-log k.log -- true
    expect_status 0
    kernel_log k.log
}

# A 32-bit kernel without PAE cannot reach a 64-bit window and would say so. It finds no init: that is the end of the log.
test_acpi_i386_says_nothing() { # 90 s
    run timeout 85 vmlet run -k "$I386" -c 1 -m 512 -p 'ignore_loglevel panic=-1' --kernel-log k.log
    expect_status 123
    expect_match k.log 'Kernel panic - not syncing: VFS'
    kernel_log k.log
}
