# SPDX-License-Identifier: MIT
# What a Linux-level test may use. A test file, tests/linux/NN-name.sh, holds functions and nothing else:
#
#   # programs: iasl                   host programs that the tests run beside vmlet (`need iasl` skips where missing)
#   # soak-programs: fio             the same, in `make soak` alone
#   # files: build/gcc/bench/bare:/bin/bare    files of the tree or the host that the tests want, HOSTFILE[:PATH]
#   # module: guest/edu-driver       is built for the full kernel; gives $EDU_KO, its edu.ko
#   # kernels: rt                      kernels beside cloud, full and i386
#   # vmlinux: cloud                   gives $CLOUD_VMLINUX, the ELF file inside the image
#   # debug: cloud                    gives $CLOUD_DEBUG, the ELF file of its debug package, in `make soak`
#   test_exit_7() { # 20 s             the time limit; 60 s unless given; `20 s, soak`: for `make soak` alone
#       run vmlet run -k "$CLOUD" -- sh -c 'exit 7'
#       expect_status 7
#   }
#
# Each test runs in a sh of its own, with -eu, in an empty folder, on the host or in the bed: it must do with busybox's
# sh and applets. It fails when a command fails that nobody looked at, or by fail(), and is skipped by skip().
# Given: vmlet in PATH, $CLOUD $FULL $I386 (vmlinuz), $CLOUD_MODULES …, $WHERE (host or bed); $FULL_QUICK, the ELF file inside
# $FULL, for what is not about how a kernel is entered: in a bed, unpacking XZ takes longer than all the rest of a boot
# (`# vmlinux: full` brings it).
FULL_QUICK=${FULL_VMLINUX:-${FULL-}}

fail() { echo "FAILED: $*"; show; exit 1; }
skip() { echo "$*"; exit 77; }
need() { # PROGRAM...
    for need_p in "$@"; do command -v "$need_p" >/dev/null 2>&1 || skip "no $need_p here"; done
}

# Runs a command; leaves $status, and what it printed in the files out and err. Its standard input is `in` if there is one.
run() { # COMMAND...
    ran="$*"
    [ -e in ] || : >in
    status=0
    "$@" <in >out 2>err || status=$?
}

# All that is known of the last run().
show() {
    [ -n "${ran-}" ] || return 0
    echo "command: $ran"
    echo "status:  ${status-}"
    for show_f in out err *.log; do
        [ -s "$show_f" ] || continue
        echo "--- $show_f (last 60 lines of $(wc -l <"$show_f"))"
        tail -n 60 "$show_f" | tr -d '\r'
    done
}

expect_status() { # N
    [ "$status" = "$1" ] || fail "status $status, not $1"
}
# The whole of standard output, byte for byte, as printf would write it.
expect_out() { # FORMAT [ARG...]
    # shellcheck disable=SC2059 # it is a format
    printf "$@" >wanted
    cmp -s out wanted || { echo "--- wanted:"; cat wanted; fail "another standard output"; }
}
expect_match() { # FILE REGEX
    grep -Eq -- "$2" "$1" || fail "$1: nothing matches '$2'"
}
expect_no_match() { # FILE REGEX
    ! grep -En -- "$2" "$1" || fail "$1: something matches '$2'"
}
# A comparison, as for test(1).
expect() { # A OP B
    [ "$@" ] || fail "not true: $*"
}
now_ms() { awk '{ printf "%d\n", $1 * 1000 }' /proc/uptime; }

# What no log of a Debian kernel may have.
complaints='ACPI (Error|Warning|BIOS)|[Ff]irmware [Bb]ug|\[Firmware (Bug|Warn)|BUG:|WARNING: CPU|BIOS bug|mtrr: your|MMCONFIG.*not reserved'

# Nothing in a kernel's log that blames the firmware. "Firmware Info" is no blame, but we give no occasion for it either; the usual
# line about pci=nocrs is Linux's advice to everybody.
no_firmware_complaints() { # LOG
    grep -v 'Using host bridge windows from ACPI' "$1" >dmesg.log
    expect_match dmesg.log 'ACPI: RSDP 0x'
    expect_no_match dmesg.log 'ACPI.*([Ee]rror|[Ww]arning|[Ee]xception|[Ii]nvalid|[Ff]ailed)|ACPI BIOS|[Ff]irmware (Bug|Warn|Info)'
    expect_no_match dmesg.log 'not CPU addressable|overlap|conflict|[Bb]ogus|MP-BIOS|noapic|pci=|can.t claim|no compatible bridge'
    expect_match dmesg.log 'PCI: Using configuration type 1'
    expect_match dmesg.log 'PCI: MMCONFIG at \[mem 0xe0000000-.*reserved'
    expect_match dmesg.log 'ACPI: Using IOAPIC for interrupt routing'
}

# README.md, which 45-readme brings along.
readme() {
    for readme_f in "${TESTS%/*}/README.md" "${TESTS%/*/*}/README.md" /t/README.md; do
        [ ! -e "$readme_f" ] || { echo "$readme_f"; return; }
    done
    fail "no README.md here"
}
# The one command of README.md that has these words, without what is said beside it; that is these words, where they end in "=".
readme_line() { # WORDS
    sed -n 's/^    //p' "$(readme)" | sed 's/   .*/=/; s/ &=\{0,1\}$/=/; s/[^=]$/&=/' | grep -F -- "$1" | sed 's/=$//' >readme.line
    case $1 in *=) grep -xF -- "${1%=}" readme.line >readme.whole || :; mv readme.whole readme.line ;; esac
    [ "$(wc -l <readme.line)" = 1 ] || fail "README.md has not one line with '$1': $(cat readme.line)"
    cat readme.line
}

# --add words for dynamic programs with their libraries, in $adds.
add_programs() { # PROGRAM...
    adds=
    for add_p in "$@"; do
        add_f=$(command -v "$add_p")
        adds="$adds --add $add_f:/bin/$add_p"
        for add_l in $(/lib64/ld-linux-x86-64.so.2 --list "$add_f" | sed -n 's,.*[[:space:]]\(/[^ ]*\) (0x.*,\1,p'); do
            adds="$adds --add $add_l:$add_l"
        done
    done
}

# A loop device, which only root may have; false where there is none to be had.
loop_for() { # FILE: in $loop
    [ "$(id -u)" = 0 ] || return 1
    { [ -e /dev/loop-control ] || insmod "$CLOUD_MODULES/kernel/drivers/block/loop.ko" || modprobe loop; } 2>/dev/null || return 1
    loop=$(losetup -f 2>/dev/null) && losetup "$loop" "$1"
}
# ext4 in the folder ./big: a file system of the host's that knows more than tmpfs does.
ext4_here() { # MIB
    mkdir big
    truncate -s "${1}M" big.img
    mkfs.ext4 -q -F big.img && loop_for big.img && mount -t ext4 "$loop" big || return 1
    # shellcheck disable=SC2064 # the folder of now
    trap "cd '$PWD'; umount big 2>/dev/null; losetup -d $loop" EXIT
}

# What the test left in the background ends with it.
stop_later() { # PID...
    later="${later-} $*"
    # shellcheck disable=SC2064 # the value of now
    trap "kill $later 2>/dev/null || :" EXIT
}

# `vmlet run` in the background, reachable as NAME: its process is $guest_pid, its output NAME.out and NAME.log.
background_guest() { # NAME OPTION...
    guest_name=$1
    shift
    XDG_RUNTIME_DIR=$PWD
    export XDG_RUNTIME_DIR
    vmlet run --name "$guest_name" "$@" >"$guest_name.out" 2>"$guest_name.log" </dev/null &
    guest_pid=$!
    stop_later $guest_pid
}

# A kernel that follows the guest's by kexec: what its first process does is on standard input, $next are the options for it. In the
# guest `sh /pack` makes its archive, and `kexec-now /vmlinuz /k.cpio WORDS` starts it.
next_kernel() {
    need kexec-now
    {
        cat <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for i in 1 2 3 4; do for m in /m/*.ko; do insmod $m 2>/dev/null; done; done
sleep 0.5
EOF
        cat
        echo poweroff -f
    } >second
    chmod +x second
    cat >pack <<'EOF'
mkdir -p /k/bin /k/m /k/proc /k/sys /k/dev
cp /bin/busybox /k/bin/busybox
cp /.vmlet/modules/*.ko /k/m
cp /second /k/init
mknod /k/dev/console c 5 1
(cd /k && find . | cpio -o -H newc >/k.cpio)
EOF
    next="--add second:/second --add pack:/pack --add $(command -v kexec-now):/bin/kexec-now --add $CLOUD:/vmlinuz"
}

# Waits until a command succeeds, at most $1 seconds.
wait_for() { # SECONDS COMMAND...
    wait_end=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$wait_end" ] || fail "waited in vain for: $*"
        sleep 0.2
    done
}

# An initrd of our own, as a user would bring one: busybox, a console, and an init that runs the lines given. Its name is
# $initrd. For every kernel that runs 32- or 64-bit programs: busybox must be one that it can run, $2 or the host's.
make_initrd() { # LINES [BUSYBOX]
    [ "$(id -u)" = 0 ] || skip "only root can make device nodes for an initrd"
    mkdir -p root/bin root/dev root/proc root/sys
    own=$(command -v busybox) || skip "no busybox here"
    [ -e "$own" ] || own=/bin/busybox # busybox's own sh names its applets without a path
    cp "${2:-$own}" root/bin/busybox
    ln -sf busybox root/bin/sh
    mknod root/dev/console c 5 1 2>/dev/null || [ -e root/dev/console ] || skip "no device nodes here"
    {
        printf '#!/bin/sh\n/bin/busybox --install -s /bin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\n'
        printf 'mount -t devtmpfs dev /dev\n%s\n' "$1"
    } >root/init
    chmod +x root/init
    (cd root && find . | cpio -o -H newc 2>/dev/null) >own.cpio
    initrd=$PWD/own.cpio
}
