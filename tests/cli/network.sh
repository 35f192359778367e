# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# The words of -n: 125 and one line that names what is wrong with them.

test_bad_network_words_are_named() {
    bad=0
    while read -r words; do
        case $words in '' | '#'*) continue ;; esac
        regex=${words#* :: } words=${words%% :: *}
        { status 125 "$vmlet" run -k "$value" -n "$words" && line "$regex"; } || { echo "  words: $words"; bad=1; }
    done <<END
junk :: junk: no such key
mode=junk :: must be one of
mode=tap,hostfwd=tcp::1-:1 :: hostfwd= is for mode=user
mode=stream :: needs path=
mode=socket :: needs fd=
mode=loopback,model=rtl8139 :: (model=rtl8139|no network cards)
mode=loopback,guest_mac=ff:ff:ff:ff:ff:ff :: no card's address
END
    return $bad
}

test_network_help() {
    status 0 "$vmlet" run -n help && grep -q hostfwd out
}

test_no_network() {
    status 42 "$vmlet" run -k "$value" -n mode=none --device exit
}

test_network_verbs_without_a_card() {
    guest n "$idle" -n mode=none
    status 0 "$vmlet" info n net && [ ! -s out ]
    status 1 "$vmlet" link n net0 down && line 'no such card'
    status 1 "$vmlet" link n net0 && line 'link takes'
    status 1 "$vmlet" forward n add tcp::1-:1 && line 'has not mode=user'
    status 1 "$vmlet" forward n drop tcp::1-:1 && line 'forward takes'
    "$vmlet" stop n
    ended 123
}
