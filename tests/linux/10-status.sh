# SPDX-License-Identifier: MIT
# The exit status of `vmlet run`, and what --result says of it.

result() { expect_match result "^$1=$2\$"; }

test_exit_7() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'exit 7'
    expect_status 7
    result source guest
    result status 7
    result reason exited
}
test_killed_by_signal() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'kill -9 $$'
    expect_status 137
    result source guest
    result reason signaled
}
test_command_not_found() {
    run vmlet run -k "$CLOUD" -- /no/such/command
    expect_status 127
    expect_match err '/no/such/command: .*(No such file|not found)'
}
test_command_not_executable() {
    echo text >data
    run vmlet run -k "$CLOUD" --add data:/data -- /data
    expect_status 126
}
# The cloud kernel's is 69-ci's.
test_panic_full_kernel() {
    run vmlet run -k "$FULL_QUICK" --result result -- sh -c 'echo c >/proc/sysrq-trigger; sleep 30'
    expect_status 123
    result source vmlet
    result reason panic
    expect_match result '^detail=.*sysrq triggered crash'
}
test_panic_said_by_a_program_is_none() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'echo "say Kernel panic - not syncing: no" >/dev/kmsg; exit 255'
    expect_status 255
    result reason exited
}
test_timeout() { # 20 s
    start=$(now_ms)
    run vmlet run -k "$CLOUD" --timeout 3 --result result -- sleep 60
    took=$(($(now_ms) - start))
    expect_status 124
    result source vmlet
    result reason timeout
    expect $took -ge 2900
    expect $took -lt 9000
}
test_timeout_after_userspace() {
    run vmlet run -k "$CLOUD" --timeout 20 --result result -- sh -c 'echo up; sleep 60'
    expect_status 124
    expect_out 'up\n'
}
test_poweroff_under_a_command() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'poweroff -f; sleep 30'
    expect_status 123
    result reason poweroff
}
test_reboot_under_a_command() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'reboot -f; sleep 30'
    expect_status 123
    result reason reboot
}
test_halt_under_a_command() {
    run vmlet run -k "$CLOUD" --result result -- sh -c 'halt -f; sleep 30'
    expect_status 123
    result reason halted
}
# Without a command there is no status that is owed.
own_init() { # REASON LINES [PARAMS]
    make_initrd "$2"
    run vmlet run -k "$CLOUD" -i "$initrd" -p "${3-quiet}" --result result
    result reason "$1"
}
test_poweroff() {
    own_init poweroff 'poweroff -f'
    expect_status 0
}
test_reboot_by_triple_fault() {
    own_init triple-fault 'reboot -f' 'quiet reboot=t,f'
    expect_status 123
}
test_reboot_by_keyboard_controller() {
    own_init reboot 'reboot -f' 'quiet reboot=k,f'
    expect_status 0
}
test_reboot_by_acpi() { # which is what Linux does unless told otherwise, as under a command above
    own_init reboot 'reboot -f' 'quiet reboot=a,f'
    expect_status 0
}
test_reboot_by_cf9() {
    own_init reboot 'reboot -f' 'quiet reboot=p,f'
    expect_status 0
}
test_halt() {
    own_init halted 'halt -f'
    expect_status 123
}
test_panic_without_a_command() {
    own_init panic 'exit 1'
    expect_status 123
}

# What never starts: status 125 and one line that names the thing.
refused() { # REGEX ARGS...
    refused_re=$1
    shift
    run vmlet run "$@"
    expect_status 125
    expect "$(grep -c . err)" = 1
    expect_match err "$refused_re"
    expect_out ''
}
test_bad_option() { # 10 s
    refused '--no-such-option' --no-such-option
}
test_bad_size() { # 10 s
    refused '12q' -k "$CLOUD" -m 12q
}
test_missing_kernel() { # 10 s
    refused '/no/such/kernel.*No such file' -k /no/such/kernel
}
test_missing_initrd() { # 10 s
    refused '/no/such/initrd.*No such file' -k "$CLOUD" -i /no/such/initrd
}
test_kernel_is_no_kernel() { # 10 s
    echo text >data
    refused 'data' -k data
}
test_no_kvm() { # 10 s
    refused '/no/such/kvm' -k "$CLOUD" --dev /no/such/kvm
}
test_too_many_cpus() { # 10 s
    refused '100000' -k "$CLOUD" -c 100000
}
test_result_of_a_refusal() { # 10 s
    run vmlet run -k /no/such/kernel --result result
    expect_status 125
    result source vmlet
    result reason setup
}
test_sigterm() {
    { vmlet run -k "$CLOUD" --result result -- sh -c 'echo up; sleep 60' >out 2>err </dev/null & } 2>/dev/null
    pid=$!
    wait_for 30 grep -q up out
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    expect_status 143
    result reason signal
}
