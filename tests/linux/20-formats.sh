# SPDX-License-Identifier: MIT
# The ways into a kernel, the memory map that it is given, joined initrds, and files that are no kernel.
# vmlinux: cloud

# How it was entered is seen in the protocol version that it found: its PVH entry writes 2.12, the loader's ELF way 2.15.
entered='cat /sys/kernel/boot_params/version'

test_vmlinux_by_pvh_entry() { # 60 s
    run vmlet run -k "$CLOUD_VMLINUX" -m 256 -- sh -c "$entered"
    expect_status 0
    expect_out '0x020c\n'
}

# The same kernel without its notes: their program header (type 4) becomes one of type 0.
test_vmlinux_by_64_bit_entry() { # 60 s
    cp "$CLOUD_VMLINUX" plain
    at=64
    until [ "$(od -An -tu4 -j $at -N 4 plain | tr -d ' ')" = 4 ]; do
        at=$((at + 56))
        expect $at -lt 1024
    done
    dd if=/dev/zero of=plain bs=1 seek=$at count=4 conv=notrunc 2>/dev/null
    run vmlet run -k plain -m 256 -- sh -c "$entered; dmesg | grep BIOS-e820"
    rm plain
    expect_status 0
    expect_match out '^0x020f$'
    expect_match out '0x0000000000100000-0x000000000fffffff\] usable'
    expect_match out '0x00000000e0000000-0x00000000efffffff\] reserved'
}

test_ram_on_both_sides_of_the_hole() { # 60 s
    [ "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" -gt 4096 ] || skip "4 GiB are more than there is here"
    run vmlet run -k "$CLOUD" -m 4G -c 1 -- sh -c "dmesg | grep BIOS-e820"
    expect_status 0
    expect_match out '0x0000000000100000-0x00000000bfffffff\] usable'
    expect_match out '0x0000000100000000-0x000000013fffffff\] usable'
}

# Sizes that are no multiple of 4, and one of them compressed.
test_odd_initrds_are_joined() { # 60 s
    make_initrd 'cat /second /third; poweroff -f'
    echo the second >second
    echo the third >third
    echo second | cpio -o -H newc 2>/dev/null >second.cpio
    printf '\0' >>second.cpio
    echo third | cpio -o -H newc 2>/dev/null | gzip >third.cpio.gz
    run vmlet run -k "$CLOUD" -m 256 -p quiet -i "$initrd" -i second.cpio -i third.cpio.gz
    expect_status 0
    expect_match out '^the second'
    expect_match out '^the third'
}

# One line that names the file, status 125, and at once.
test_files_that_are_no_kernel() { # 20 s
    mkfifo fifo
    head -c 300000 "$CLOUD" >cut.img
    for file in fifo cut.img /dev/zero . missing; do
        run vmlet run -k "$file" -m 256
        expect_status 125
        expect "$(wc -l <err)" -eq 1
        expect_match err "kernel $file: "
    done
    run vmlet run -k "$CLOUD" -m 256 -i fifo
    expect_status 125
    expect_match err 'initrd fifo: it is a pipe'
}

test_too_little_ram() { # 20 s
    run vmlet run -k "$CLOUD" -m 32 -- true
    expect_status 125
    expect_match err '-m'
}
