# SPDX-License-Identifier: MIT
# The command's three streams, each apart and byte for byte; the kernel's log on its own way.

test_out_and_err_apart() {
    run vmlet run -k "$CLOUD" -p loglevel=7 --kernel-log none -- sh -c 'echo to out; echo to err >&2; printf "no newline"'
    expect_status 0
    expect_out 'to out\nno newline'
    expect "$(cat err)" = "to err"
}
# All byte values, nothing translated; a pipe that ends is the end in the guest.
test_in_byte_for_byte() { # 90 s
    i=0
    while [ $i -lt 256 ]; do
        printf "\\$(printf %o $i)"
        i=$((i + 1))
    done >all
    n=0
    while [ $n -lt 64 ]; do
        cat all
        n=$((n + 1))
    done >in
    run vmlet run -k "$CLOUD" -- sh -c 'tee /tmp/all; cat /tmp/all >&2'
    expect_status 0
    cmp in out
    tail -c 16384 err >err.tail # the kernel's log stands before it
    cmp in err.tail
}
test_in_from_a_pipe() {
    printf 'one\ntwo\n' | vmlet run -k "$CLOUD" -- wc -l >out
    expect_out '2\n'
}
test_in_is_dev_null() {
    vmlet run -k "$CLOUD" -- wc -c </dev/null >out
    expect_out '0\n'
}
test_in_is_a_file_that_is_not_read() {
    head -c 100000 /dev/zero >in
    run vmlet run -k "$CLOUD" -- true
    expect_status 0
}
test_big_output() { # 120 s
    run vmlet run -k "$CLOUD" -- seq 1 $((10000 * ${TEST_SCALE:-1}))
    expect_status 0
    seq 1 $((10000 * ${TEST_SCALE:-1})) | cmp - out
}
# A reader that goes away: the command gets its SIGPIPE, and nothing hangs.
test_reader_goes_away() {
    { vmlet run -k "$CLOUD" -- yes 2>err || echo $? >status; } | head -n 2 >out
    expect_out 'y\ny\n'
    expect -s status
}
test_full_out_holds_back() { # 90 s
    { vmlet run -k "$CLOUD" -- seq 1 20000; echo $? >status; } | { sleep 12; cat; } >out
    seq 1 20000 | cmp - out
    expect "$(cat status)" = 0
}
# To a file: 30-pci-acpi; to stderr: 20-kernels; nowhere: above.
test_kernel_log_to_stdout() {
    run vmlet run -k "$CLOUD" -p loglevel=7 --kernel-log stdout -- echo hi
    expect_status 0
    expect_match out 'Linux version'
    expect_match out '^hi$'
    expect_no_match err 'Linux version'
}
