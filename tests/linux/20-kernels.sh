# SPDX-License-Identifier: MIT
# Unmodified Debian kernels, with the generated initramfs and with an initrd of their own; what they say of the machine.

complaints='ACPI (Error|Warning|BIOS)|[Ff]irmware [Bb]ug|\[Firmware (Bug|Warn)|BUG:|WARNING: CPU|BIOS bug|mtrr: your|MMCONFIG.*not reserved'

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
runs() { # KERNEL [OPTION...]
    kernel=$1
    shift
    run vmlet run -k "$kernel" --kernel-log kernel.log -p loglevel=7 "$@" -- uname -r
    expect_status 0
    expect_out '%s\n' "${kernel##*/vmlinuz-}"
    expect_match kernel.log 'Linux version'
    expect_no_match kernel.log "$complaints"
}

test_cloud() { runs "$CLOUD"; }
test_full() { # 90 s
    runs "$FULL"
}
test_cloud_own_initrd() { own_boot "$CLOUD"; }
test_full_own_initrd() { # 90 s
    own_boot "$FULL"
}
test_i386_own_initrd() { # 90 s
    need busybox-i386
    own_boot "$I386" "$(command -v busybox-i386)"
    expect_match all.log 'up: .* i686'
}
test_i386_command_is_refused() {
    run vmlet run -k "$I386" -- true
    expect_status 126
    expect_match err '32'
}
test_two_cpus() {
    run vmlet run -k "$CLOUD" -c 2 -- sh -c 'grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online'
    expect_status 0
    expect_out '2\n0-1\n'
}
test_params_extend() {
    run vmlet run -k "$CLOUD" -p 'vmlet.word=1 quiet' -- cat /proc/cmdline
    expect_status 0
    expect_match out 'panic=-1.* vmlet.word=1 quiet'
}
