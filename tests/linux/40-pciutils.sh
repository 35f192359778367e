# SPDX-License-Identifier: MIT
# programs: lspci setpci
# What pciutils see of devices, and do to them.

# lspci -vvv of one function, without names: every field is as a card of that kind has it.
test_lspci_vvv_shows_nothing_odd() { # 60 s
    need lspci
    run timeout 50 vmlet run -k "$CLOUD" -c 1 -m 256 -n mode=none --device edu,addr=3.0 --device pci-testdev,addr=4.0 \
        --device ivshmem-plain,size=1M,addr=5.0 -- lspci -n -vvv -xxxx
    expect_status 0
    expect_no_match out '[^<]unknown|nassigned|denied|!!!|irtual|isabled|TAbort[+]|MAbort[+]|SERR[+]|PERR[+]|ignored|rev ff'
    expect "$(grep -c '^[0-9a-f]0: ' out)" = 64 # conventional functions have 256 bytes
    awk '/^00:03/,/^$/' out >edu
    expect_match edu '^00:03\.0 00ff: 1234:11e8 \(rev 10\)$'
    expect_match edu 'Subsystem: 1af4:1100$'
    expect_match edu 'Control: I/O- Mem[+] BusMaster- .*DisINTx-$'
    expect_match edu 'Status: Cap[+] 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast .*INTx-$'
    expect_match edu 'Interrupt: pin A routed to IRQ [0-9]+$'
    expect_match edu 'Region 0: Memory at [cf][0-9a-f]{7} \(32-bit, non-prefetchable\) \[size=1M\]$'
    expect_match edu 'Capabilities: \[40\] MSI: Enable- Count=1/1 Maskable- 64bit[+]$'
    awk '/^00:04/,/^$/' out >testdev
    expect_match testdev 'Control: I/O[+] Mem[+] BusMaster- '
    expect_match testdev 'Region 0: Memory at [cf][0-9a-f]{7} \(32-bit, non-prefetchable\) \[size=4K\]$'
    expect_match testdev 'Region 1: I/O ports at [c-f][0-9a-f]{3} \[size=256\]$'
    expect_no_match testdev 'Interrupt|Capabilities'
    awk '/^00:05/,/^$/' out >ivshmem
    expect_match ivshmem '^00:05\.0 0500: 1af4:1110 \(rev 01\)$'
    expect_match ivshmem 'Region 2: Memory at [0-9a-f]+ \(64-bit, prefetchable\) \[size=1M\]$'
}

# The device is where the BAR says: by a write to the register, with no driver and no kernel in between.
test_p3_setpci_moves_a_bar_and_the_device_follows() { # 60 s
    need setpci
    add_programs setpci
    # shellcheck disable=SC2086 # words
    run timeout 50 vmlet run -k "$CLOUD" -c 1 -m 256 --device edu,addr=3.0 $adds -- sh -ec '
        p="setpci -s 00:03.0"
        id() { busybox devmem 0x$1 32; }
        $p COMMAND=2
        at=$($p BASE_ADDRESS_0)
        id $at
        $p BASE_ADDRESS_0=f0100000
        echo moved $(id f0100000) $(id $at)
        $p BASE_ADDRESS_0=ffffffff
        echo size $($p BASE_ADDRESS_0) $(id fff00000)
        $p BASE_ADDRESS_0=00100000
        echo over RAM $(id $at)
        $p BASE_ADDRESS_0=$at
        echo back $(id $at)
        $p COMMAND=0
        echo off $(id $at)
        $p COMMAND=2
        $p STATUS=ffff VENDOR_ID=0 DEVICE_ID=0 REVISION=0 40.l=ffffffff
        echo ids $($p VENDOR_ID DEVICE_ID REVISION) $($p CAP_MSI+2.w)
        $p CAP_MSI+2.w=0
        echo 1 >/sys/bus/pci/devices/0000:00:03.0/remove
        echo 1 >/sys/bus/pci/rescan
        $p COMMAND=2
        echo rescan $(id $($p BASE_ADDRESS_0))'
    expect_status 0
    expect_match out '^0x010000ED$'
    expect_match out '^moved 0x010000ED 0xFFFFFFFF$'
    expect_match out '^size fff00000 0x010000ED$'
    expect_match out '^over RAM 0xFFFFFFFF$'
    expect_match out '^back 0x010000ED$'
    expect_match out '^off 0xFFFFFFFF$'
    expect_match out '^ids 1234 11e8 10 00f1$'
    expect_match out '^rescan 0x010000ED$'
}
