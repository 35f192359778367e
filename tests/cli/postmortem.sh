# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# A Linux kernel that dies before it prints: why, in one paragraph. The kernels are a few instructions in an ELF file that is
# entered as vmlinux is (linux_kernel of tests/cli/run).

config() { # LINES without what is missing
    printf 'CONFIG_X86=y\nCONFIG_64BIT=y\nCONFIG_PRINTK=y\nCONFIG_TTY=y\nCONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_SERIAL_8250_RUNTIME_UARTS=4\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\nCONFIG_PCI=y\n'
}

says() { # REGEX
    grep -Eq -- "$1" err && return
    echo "not said: $1"
    cat err
    return 1
}

test_postmortem_of_a_triple_fault() {
    linux_kernel k 'lidt nothing(%rip); ud2;'
    config | grep -v -e SERIAL_8250_CONSOLE -e INITRD >config-6.1-test
    status 123 "$vmlet" run -k k -m 64 --result result
    says 'the kernel 6.1-test printed nothing; vCPU 0.*; config-6.1-test: it has no serial console \(CONFIG_SERIAL_8250_CONSOLE\), no initramfs support \(CONFIG_BLK_DEV_INITRD\)$'
    result reason=triple-fault
    grep -q '^detail=vCPU 0: triple fault at RIP .*; the kernel has no serial console' result
    says 'it stood at RIP 0x1000'
}

test_postmortem_of_a_silent_hang() {
    linux_kernel k 'mov $0x70, %dx; mov $1, %al; out %al, %dx; 1: pause; jmp 1b;'
    config | grep -v BINFMT_ELF >config
    status 124 "$vmlet" run -k k -m 64 --timeout 3 --result result
    says "printed nothing; vCPU 0's last exit was io: a write to port 0x70, it stood at RIP 0x1000"
    says 'config: it has no ELF programs \(CONFIG_BINFMT_ELF\)$'
    grep -q '^detail=the time was up after 3 s; the kernel has no ELF programs' result
    status 124 "$vmlet" run -k k -m 64 --silence-timeout 2 -c 1
    says 'it has no ELF programs'
    rm config
    status 124 "$vmlet" run -k k -m 64 --timeout 3
    says 'printed nothing; .*; no config-RELEASE beside it says what it was built with$'
    config >config
    status 124 "$vmlet" run -k k -m 64 --timeout 3 -- /bin/true
    says 'printed nothing \(only warnings were asked of it: --kernel-log stderr shows all\); .*: it has all that vmlet needs$'
    [ "$(wc -l <err)" = 1 ]
}

test_postmortem_with_symbols() {
    linux_kernel k 'cli; hlt; jmp _start;'
    status 123 "$vmlet" run -k k -m 64 --symbols k
    says "printed nothing; vCPU 0.*it stood at RIP 0x[0-9a-f]+ \(_start"
}

test_postmortem_is_silent_about_those_that_printed() {
    linux_kernel k 'mov $0x3f8, %dx; mov $0x78, %al; out %al, %dx; mov $10, %al; out %al, %dx; 1: pause; jmp 1b;'
    config | grep -v SERIAL_8250_CONSOLE >config
    status 124 "$vmlet" run -k k -m 64 --timeout 3
    [ ! -s err ]
    config | grep -v INITRD >config
    status 124 "$vmlet" run -k k -m 64 --timeout 3
    says 'the kernel 6.1-test never got to its init; config: it has no initramfs support \(CONFIG_BLK_DEV_INITRD\)$'
    "$vmlet" run -k k -m 64 >printed 2>err &
    guest=$!
    until_true test -s printed
    kill $guest
    ended 143
    [ ! -s err ]
}
