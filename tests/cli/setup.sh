# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# lkvm's setup and sandbox, as far as they go without Linux.

test_setup_makes_a_root_folder() {
    [ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || { echo "needs a static busybox"; return 77; }
    HOME=$PWD/home && mkdir home && export HOME
    unset XDG_DATA_HOME
    status 0 "$vmlet" setup box
    made=home/.local/share/vmlet/box
    grep -q "$made is a root folder now; .vmlet run -d box. starts" out
    [ -x $made/bin/busybox ] && [ -x $made/bin/init ] && [ "$(readlink $made/bin/sh)" = busybox ]
    [ -x $made/sbin/init ] && [ "$(stat -c %a $made/tmp)" = 1777 ] && [ ! -L $made/bin/init ]
    refused 'box: is there already' "$vmlet" setup box
    status 0 env XDG_DATA_HOME="$PWD/data" "$vmlet" setup box
    [ -d data/vmlet/box/etc ]
    status 0 "$vmlet" setup
    [ -d home/.local/share/vmlet/default ]
    [ "$(ls home/.local/share/vmlet)" = "box
default" ] # and nothing half-made
}

test_setup_names_and_places_that_are_wrong() {
    [ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || { echo "needs a static busybox"; return 77; }
    export HOME="$PWD"
    unset XDG_DATA_HOME
    for name in ../x a/b '' .; do
        status 1 "$vmlet" setup "$name" && line 'name "'
    done
    status 125 "$vmlet" setup a b && line 'takes one name'
    refused 'HOME is not set' env -u HOME "$vmlet" setup x
    : >file
    refused 'Not a directory' env HOME="$PWD/file" "$vmlet" setup x
    [ "$(id -u)" = 0 ] || return 0
    mkdir small && mount -t tmpfs -o size=200k none small || return 0
    wrong=0
    refused 'No space left' env HOME="$PWD/small" "$vmlet" setup x || wrong=1
    left=$(ls small/.local/share/vmlet)
    umount small
    [ -z "$left" ] && [ $wrong = 0 ]
}

test_folders_as_roots_that_cannot_be() {
    mkdir folder 'with blank'
    linux_kernel k
    status 125 "$vmlet" run -k k -d folder -- /bin/true && line '-d folder: .*--share folder'
    status 125 "$vmlet" run -k k -d folder -i k && line '-d folder: .*no -i'
    status 125 "$vmlet" run -k k -d 'with blank' && line 'no blank'
    status 125 "$vmlet" run -k k -d / && line 'sandbox'
    status 125 "$vmlet" run -k k -d absent && line 'absent: open: No such file'
}
