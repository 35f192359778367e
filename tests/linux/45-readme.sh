# SPDX-License-Identifier: MIT
# module: guest/edu-driver
# files: README.md:/t/README.md
# programs: socat
# What README.md shows, run as it stands there: the commands are read from it, and so are the lines that it promises. Others of its
# lines are in 69-ci, 75-virtio-fs and 76-vhost.

test_readme_brings_up_a_driver() { # 90 s
    sed -n '/^## Bring up a driver/,/^## Seeing/s/^    //p' "$(readme)" >lines
    sed -n '/^\.\/vmlet run/,/^[0-9]/{/^[0-9]/!p}' lines >said.sh
    grep -q 'echo 10 >factorial' said.sh || { cat lines; fail "no such command in README.md"; }
    mkdir -p build/module/full
    ln -s "$EDU_KO" build/module/full/edu.ko
    ln -s "$(command -v vmlet)" vmlet
    run sh -c "set -- $FULL $FULL_MODULES; $(cat said.sh)"
    expect_status 0
    expect_match out '^3628800$'
    expect_match out '^1 0x1 msi$'
    # time and program counter are of that run; the vector is the guest's choice
    grep -E '^ *[0-9]+\.[0-9]+ (cpu|-)' lines | sed 's/^.*edu0/edu0/; s/vector [0-9]*/vector N/' >promised
    expect "$(wc -l <promised)" -ge 5
    sed -n 's/^.*edu0/edu0/p' err | sed 's/vector [0-9]*/vector N/' >came
    while read -r line; do
        grep -qxF -- "$line" came || { cat came; fail "README.md promises: $line"; }
    done <promised
}

# `make check` is whatever is found by that name.
share_line() { # BEGINNING
    mkdir -p bin src
    printf '#!/bin/sh\n[ "$1" = check ] && echo checked >made && cat made && pwd\n' >bin/make
    chmod +x bin/make
    echo one >src/one
    ln -sf "$CLOUD" bzImage
    rm -f made
    line=$(readme_line "$1")
    run env PATH="$PWD/bin:$PATH" sh -c "$line"
}
test_readme_share_lines() { # 150 s
    [ -r "/boot/vmlinuz-$(uname -r)" ] || skip "this kernel is not to be read"
    share_line 'vmlet run --share / -- make check'
    expect_status 0
    expect_out 'checked\n%s\n' "$PWD"
    [ ! -e made ] || fail "the guest wrote to the host's folder"
    share_line 'vmlet run --share / --share . -- make check'
    expect_status 0
    expect_out 'checked\n%s\n' "$PWD"
    expect "$(cat made)" = checked
    share_line 'vmlet run -k bzImage --share src,ro -- '
    expect_status 0
    expect_match out '^-rw.* one$'
}

# socat on both sides, as it is written; the guest's kernel is this one.
test_readme_vsock_line() { # 90 s
    need socat
    [ -r "/boot/vmlinuz-$(uname -r)" ] || skip "this kernel is not to be read"
    rm -f /tmp/v.sock /tmp/v.sock_7
    line=$(readme_line 'UNIX-LISTEN:/tmp/v.sock_7')
    run sh -c "$line; status=\$?; wait; exit \$status"
    expect_status 0
    expect_match out "^Linux version $(uname -r) "
    expect ! -e /tmp/v.sock
}

# A hundred boots are as many as one likes: two here. The other line goes on until one fails: at once.
test_readme_lines_for_many_boots() { # 120 s
    printf '#!/bin/sh\nexit 5\n' >./test
    chmod +x test
    ln -s "$CLOUD" bzImage
    line=$(readme_line 'vmlet run --repeat 100 -j 2')
    run sh -c "$(echo "$line" | sed 's/--repeat 100/--repeat 2/')"
    expect_status 5
    expect_match out '^boot 2  *5 .* ended with status 5$'
    expect_match out '^0 passed, 2 failed'
    line=$(readme_line 'vmlet run --until-fail')
    run sh -c "$line"
    expect_status 5
    expect_match out '^0 passed, 1 failed'
}
