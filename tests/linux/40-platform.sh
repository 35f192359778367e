# SPDX-License-Identifier: MIT
# The platform as the guest's own tools see it.
# programs: iasl

# Disassembled and compiled again without a warning, as the guest received them.
test_acpi_tables() { # 120 s
    need iasl
    run vmlet run -k "$CLOUD" --kernel-log none -- tar -cf - -C /sys/firmware/acpi/tables .
    expect_status 0
    mkdir tables && tar -xf out -C tables
    for t in DSDT FACP APIC MCFG; do expect -s "tables/$t"; done
    cd tables
    find . -type f | sed 's,^\./,,' | while read -r t; do
        [ -s "$t" ] && [ -f "$t" ] || continue
        case $t in dynamic/* | data/*) continue ;; esac
        cp "$t" "../$t.dat"
    done
    cd ..
    for t in *.dat; do
        # FACS has no checksum and no source form that compiles to itself.
        [ "$t" != FACS.dat ] || continue
        iasl -d "$t" >iasl.log 2>&1 || fail "$t: iasl cannot disassemble it"
        expect_no_match iasl.log 'Warning|Error|Invalid|Incorrect'
        iasl -we -p again "${t%.dat}.dsl" >iasl.log 2>&1 || fail "$t: does not compile again"
        expect_match iasl.log '(Compilation successful. 0 Errors, 0 Warnings|Table data|Compilation complete. 0 Errors, 0 Warnings)'
        expect_no_match iasl.log '[1-9][0-9]* (Warnings|Errors)'
    done
}

# One guest looks at all of it.
test_devices() { # 60 s
    before=$(date +%s)
    run vmlet run -k "$CLOUD" -p loglevel=7 --kernel-log kernel.log -- sh -c 'date +%s
        grep -c "uart:16550A" /proc/tty/driver/serial
        cat /sys/devices/system/clocksource/clocksource0/available_clocksource
        cat /sys/bus/acpi/devices/*/hid'
    after=$(date +%s)
    expect_status 0
    expect "$(sed -n 1p out)" -ge "$before"
    expect "$(sed -n 1p out)" -le $((after + 1))
    expect "$(sed -n 2p out)" = 4
    expect_match out 'kvm-clock'
    expect_match out 'LNXPWRBN|PNP0C0C'
    expect_match out 'PNP0A0[38]'
    expect_match out 'PNP0501'
    expect_match out 'QEMU0001'
    expect_match kernel.log 'Hypervisor detected: KVM'
}
