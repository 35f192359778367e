# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC2034
# What a script may hand over that is wrong: one line says what, before a guest starts. And odd surroundings.

refuses() { # STATUS REGEX WORDS...
    want=$1 regex=$2
    shift 2
    status "$want" "$vmlet" run -n mode=none -m 64 "$@" && line "$regex"
}

test_kernels_that_are_none() {
    echo 'I am a kernel' >text
    refuses 125 'kernel text: ' -k text
    : >empty
    refuses 125 'kernel empty: the file is empty' -k empty
    refuses 125 'kernel folder: it is a folder' -k "$(mkdir folder && echo folder)"
}

test_initrds_that_do_not_fit() {
    linux_kernel k
    truncate -s 1G large
    refuses 125 'initrd large: .*(RAM|memory|-m)' -k k -i large
    truncate -s 5G huge
    refuses 125 'initrd huge: ' -k k -i huge
}

test_commands_that_cannot_run() {
    linux_kernel k
    cp /bin/true foreign
    printf '\267\000' | dd of=foreign bs=1 seek=18 conv=notrunc 2>/dev/null # e_machine: EM_AARCH64
    refuses 126 'foreign: is a program for .*, and the guest is x86-64' -k k -- ./foreign
}

test_modules_that_cannot_be_loaded() {
    linux_kernel k # its release is 6.1-test
    printf '.section .modinfo,"a"\n.asciz "name=drv"\n.asciz "vermagic=5.10.0-other SMP mod_unload "\n' >m.S
    $cc -c -o drv.ko m.S
    refuses 125 'module \./drv.ko: is for kernel 5.10.0-other, and the guest.s is 6.1-test \(build it for that one\)' -k k --module ./drv.ko -- /bin/true
    sed s/5.10.0-other/6.1-test/ m.S >n.S
    $cc -c -o good.ko n.S
    for tool in gzip xz zstd; do
        command -v $tool >/dev/null || { echo "needs $tool"; return 77; }
        $tool -k -c good.ko >good.ko.$tool
        $tool -c drv.ko >drv.ko.$tool # is read as if it were not compressed
        refuses 125 "module ./drv.ko.$tool: is for kernel 5.10.0-other" -k k --module ./drv.ko.$tool -- /bin/true
        $tool -c good.ko | head -c 99 >half.ko.$tool
        refuses 125 "module ./half.ko.$tool: is compressed, and cannot be unpacked: $tool: ended with status" -k k --module ./half.ko.$tool -- /bin/true
    done
    echo text >text.ko
    refuses 125 'module \./text.ko: is no ELF file' -k k --module ./text.ko -- /bin/true
    refuses 125 'module \./absent.ko: No such file' -k k --module ./absent.ko -- /bin/true
}

test_names_in_use() {
    guest twice "$idle"
    status 125 "$vmlet" run -k "$idle" -m 16 --name twice && line 'twice'
    "$vmlet" info twice mtree >out # the first one is still there
    kill $guest
    ended 143
}

test_killed_guests_leave_a_dead_socket_at_most() {
    guest dead "$idle"
    kill -9 $guest
    ended 137
    [ "$(find . -name '*.sock' | wc -l)" -le 1 ]
    [ "$(find run -type f | wc -l)" = 0 ]
    status 0 "$vmlet" list
    guest dead "$idle" # the name is free
    kill $guest
    ended 143
    [ -z "$(ls run/vmlet)" ]
}

test_without_a_terminal() {
    command -v setsid >/dev/null || { echo "needs setsid"; return 77; }
    status 42 setsid -w "$vmlet" run -k "$value" -m 16 --device exit
    status 42 setsid -w sh -c "'$vmlet' run -k '$value' -m 16 --device exit <&- "
}

# A cgroup's limit ends vmlet as the kernel ends any process; nothing of it stays.
test_in_a_cgroup_with_little_memory() {
    for base in /sys/fs/cgroup /sys/fs/cgroup/memory; do
        group=$base/vmlet-test-$$
        mkdir $group 2>/dev/null || continue
        for limit in $group/memory.max $group/memory.limit_in_bytes; do
            [ -w $limit ] && break 2
        done
        rmdir $group
        group=
    done
    [ -n "$group" ] && [ -d "$group" ] || { echo "needs a memory cgroup of its own"; return 77; }
    trap 'rmdir $group' EXIT
    echo 16M >$limit
    echo 0 2>/dev/null >$group/memory.swap.max || true
    inside() { sh -c 'echo $$ >'$group'/cgroup.procs; exec "$@"' sh "$@"; }
    got=0
    inside timeout -k 5 60 "$vmlet" run -k "$value" -m 1G -c 1 --device exit >out 2>err </dev/null || got=$?
    [ $got = 42 ] # memory is the host's only when it is touched
    got=0
    inside timeout -k 5 60 "$vmlet" run -k "$value" -m 64 -c 1 --device exit --mem-prealloc --name low >out 2>err </dev/null || got=$?
    [ $got = 137 ] || [ $got = 125 ] || { echo "status $got"; cat err; return 1; }
    status 0 "$vmlet" list
    [ -z "$(ls run/vmlet)" ]
}
