# SPDX-License-Identifier: MIT
# Unmodified Debian kernels, with the generated initramfs and with an initrd of their own; what they say of the machine.


# The kernel's whole log is clean, and the guest comes to userspace and goes down by itself.
own_boot() { # KERNEL [BUSYBOX] [OPTION...]
    kernel=$1 busybox=${2-}
    shift 2 2>/dev/null || shift
    make_initrd 'echo "up: $(uname -r) $(uname -m)" >/dev/console; poweroff -f' "$busybox"
    run vmlet run -k "$kernel" -i "$initrd" --kernel-log kernel.log "$@"
    expect_status 0
    cat out kernel.log >all.log
    expect_match all.log 'up: '
    expect_no_match all.log "$complaints"
}

# With a command: 30-pci-acpi.
test_cloud_own_initrd() { own_boot "$CLOUD"; }
test_full_own_initrd() { # 90 s
    own_boot "$FULL"
}
test_i386_own_initrd() { # 90 s
    need busybox-i386
    own_boot "$I386" "$(command -v busybox-i386)" -c 1 -m 512 -p 'ignore_loglevel panic=-1'
    expect_match all.log 'up: .* i686'
    # a 32-bit kernel without PAE cannot reach a 64-bit window and would say so
    no_firmware_complaints kernel.log
}
test_i386_command_is_refused() {
    run vmlet run -k "$I386" -- true
    expect_status 126
    expect_match err '32'
}
test_params_extend() { # and the kernel's log goes to stderr by default
    run vmlet run -k "$CLOUD" -p 'vmlet.word=1 loglevel=7' -- cat /proc/cmdline
    expect_status 0
    expect_match out 'panic=-1.* vmlet.word=1 loglevel=7'
    expect "$(wc -l <out)" = 1
    expect_match err 'Linux version'
}
