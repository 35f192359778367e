# SPDX-License-Identifier: MIT
# lkvm's setup and sandbox: a root folder of the user's, and a guest on the host's own root.

test_setup_and_a_shell_in_it() { # 90 s
    mkdir home
    HOME=$PWD/home
    export HOME
    run vmlet setup box
    expect_status 0
    box=home/.local/share/vmlet/box
    printf 'echo one >/root/kept; grep " / " /proc/mounts; id -u; exit\n' >in
    run vmlet run -k "$CLOUD" -n mode=none -d box --timeout 80 --result r
    expect_status 0
    expect "$(cat $box/root/kept)" = one
    expect_match out ' / (fuse|virtiofs)'
    expect_match out '^0'
    grep -qx reason=poweroff r || fail "$(cat r)"
}
test_sandbox() { # 90 s
    echo host >mine
    run vmlet sandbox -k "$CLOUD" -n mode=none -- sh -c 'cat mine; echo guest >mine; cat mine; echo x >/etc/vmlet-was-here; cat /etc/vmlet-was-here; exit 5'
    expect_status 5
    expect_out 'host\nguest\nx\n'
    expect "$(cat mine)" = host
    [ ! -e /etc/vmlet-was-here ] || fail "the host's root was written to"
}
