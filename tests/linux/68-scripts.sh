# SPDX-License-Identifier: MIT
# vmlet between other programs: pipes from guest to guest, odd bytes, odd ends.

# All bytes but 0, in one argument, in a variable, and as the name of a file; arguments as they are given.
test_every_odd_byte() {
    i=1
    while [ $i -lt 256 ]; do
        printf "\\$(printf %o $i)"
        i=$((i + 1))
    done >all
    printf x >>all # what $() cuts off are line ends
    all=$(cat all)
    run vmlet run -k "$CLOUD" -n mode=none --env "ODD=$all" -- sh -c '
        printf %s "$1"; printf %s "$ODD"; printf %s "$0"; shift; for a; do printf "<%s>\n" "$a"; done' \
        "$all" "$all" 'a b' '' "it's" '"q"' '*' '$HOME' '
' '--' '-x'
    expect_status 0
    { cat all all all; printf '<a b>\n<>\n<it'"'"'s>\n<"q">\n<*>\n<$HOME>\n<\n>\n<-->\n<-x>\n'; } >wanted
    cmp wanted out
}
test_from_guest_to_guest() { # 120 s
    vmlet run -k "$CLOUD" -n mode=none -m 128 -- seq 1 2000 2>err1 | vmlet run -k "$CLOUD" -n mode=none -m 128 -- awk '{ s += $1 } END { print s }' >out 2>err2
    expect_out '2001000\n'
}
# The reader ends first: the writer's command has its SIGPIPE, and both end.
test_from_guest_to_guest_that_leaves() { # 120 s
    { vmlet run -k "$CLOUD" -n mode=none -m 128 -- yes 2>err1 || echo $? >status; } | vmlet run -k "$CLOUD" -n mode=none -m 128 -- head -n 1 >out 2>err2
    expect_out 'y\n'
    expect -s status
}
