# SPDX-License-Identifier: MIT
# What a Linux-level test may use. A test file, tests/linux/NN-name.sh, holds functions and nothing else:
#
#   # programs: iasl                   host programs that the tests run beside vmlet (`need iasl` skips where missing)
#   # files: build/gcc/bench/bare:/bin/bare    files of the tree or the host that the tests want, HOSTFILE[:PATH]
#   # kernels: rt                      kernels beside cloud, full and i386
#   test_exit_7() { # 20 s             the time limit; 60 s unless given
#       run vmlet run -k "$CLOUD" -- sh -c 'exit 7'
#       expect_status 7
#   }
#
# Each test runs in a sh of its own, with -eu, in an empty folder, on the host or in the bed: it must do with busybox's
# sh and applets. It fails when a command fails that nobody looked at, or by fail(), and is skipped by skip().
# Given: vmlet in PATH, $CLOUD $FULL $I386 (vmlinuz), $CLOUD_MODULES …, $WHERE (host or bed).

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
