# SPDX-License-Identifier: MIT
# A guest that dies before its init calls: what its kernel lacks, from the config-RELEASE file beside the image.

# A copy of the cloud kernel, with a configuration file of our own beside it: the real one less the lines that match.
copy_kernel() { # REGEX
    cp "$CLOUD" vmlinuz
    release=${CLOUD##*/vmlinuz-}
    printf 'CONFIG_X86=y\nCONFIG_PRINTK=y\nCONFIG_TTY=y\nCONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_SERIAL_8250_RUNTIME_UARTS=4\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\n' |
        grep -v "$1" >"config-$release"
}

test_kernel_with_a_spoiled_payload() { # 60 s
    copy_kernel SERIAL_8250_CONSOLE
    # in the middle of the compressed kernel: the decompressor gives up, and halts where nobody sees
    dd if=/dev/zero of=vmlinuz bs=1024 seek=2048 count=64 conv=notrunc 2>/dev/null
    run vmlet run -k vmlinuz -n mode=none --timeout 30 --result r -- true
    expect "$status" != 0
    expect_match err "the kernel $release printed nothing.*vCPU 0.*; config-$release: it has no serial console \(CONFIG_SERIAL_8250_CONSOLE\)"
    expect_match r '^detail=.*the kernel has no serial console'
}
test_kernel_without_initramfs() { # 60 s
    copy_kernel INITRD
    run vmlet run -k vmlinuz -n mode=none -p rdinit=/absent --timeout 50 --result r -- true
    expect_status 123
    expect_match r '^reason=panic'
    expect_match err "the kernel $release never got to its init; config-$release: it has no initramfs support \(CONFIG_BLK_DEV_INITRD\)"
}
