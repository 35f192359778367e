# SPDX-License-Identifier: MIT
# module: guest/edu-driver
# files: README.md:/t/README.md
# programs: socat mkfs.ext4 script
# vmlinux: cloud
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

# --- In `make soak`: a boot for each line that no other test has.

# The files that the README's lines name; `make` and ./configure are whatever is found by that name.
readme_files() {
    mkdir -p bin src
    ln -sf "$CLOUD" bzImage
    ln -sf "$(command -v vmlet)" vmlet
    printf '#!/bin/sh\n[ "$1" = check ] && echo checked >made && cat made && exit 2\n' >bin/make
    printf '#!/bin/sh\npwd\nexit 3\n' >configure
    chmod +x bin/make configure
    echo one >src/one
    PATH=$PWD/bin:$PATH
    export PATH
}
run_line() { # STATUS WORDS
    line=$(readme_line "$2")
    run sh -c "$line"
    expect_status "$1"
}
# An initrd of the user's own: busybox, and an init that says what it was given.
own_initrd() {
    mkdir -p ir/bin ir/dev ir/proc
    cp /bin/busybox ir/bin/
    printf '#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n/bin/busybox cat /proc/cmdline\n/bin/busybox poweroff -f\n' >ir/init
    chmod +x ir/init
    (cd ir && find . | cpio -o -H newc) >initrd.img 2>/dev/null
}

test_readme_first_lines() { # 400 s, soak
    readme_files
    [ -r "/boot/vmlinuz-$(uname -r)" ] || skip "this kernel is not to be read"
    run_line 0 './vmlet run -k /boot/vmlinuz-$(uname -r)' # of echo, which says the command's
    expect_out '%s\n7\n' "$(uname -r)"
    run_line 0 'vmlet run -k bzImage -- uname -a='
    expect_match out '^Linux .* x86_64'
    run_line 2 '--result r.txt'
    expect_out 'checked\n'
    grep -qx status=2 r.txt && grep -q 'Linux version' k.log || fail "$(cat r.txt)"
    run_line 0 'ping -c 1 10.0.2.2'
    expect_match out '1 packets received'
    truncate -s 1M disk.img
    echo 'ls /dev/vda; exit' >in
    run_line 0 '-d disk.img -n hostfwd'
    expect_match out '^/dev/vda'
    echo 'head -c 4 /sys/bus/pci/devices/0000:00:01.0/config >/dev/null; exit' >in
    run_line 0 'vmlet run -k bzImage --device edu --trace edu='
    rm in
    run_line 3 'vmlet run --share / -- ./configure'
    expect_out '%s\n' "$PWD"
    run_line 2 'vmlet sandbox -- make check'
    expect_out 'checked\n'
}
test_readme_shells() { # 300 s, soak
    readme_files
    echo 'uname -s; exit' >in
    run_line 0 'vmlet run -k bzImage='
    expect_match out '^Linux'
    run_line 0 'vmlet run --share /='
    expect_match out '^Linux'
    echo 'cat /sys/class/tty/console/active; exit' >in
    run_line 0 'vmlet run -k bzImage --console virtio='
    expect_match out '^hvc0'
    HOME=$PWD/home
    mkdir home
    export HOME
    echo 'echo here >kept; exit' >in
    run_line 0 'vmlet setup box'
    expect "$(cat home/.local/share/vmlet/box/root/kept)" = here
}
test_readme_kernels() { # 200 s, soak
    readme_files
    own_initrd
    ln -s "$CLOUD_VMLINUX" vmlinux
    run_line 0 'vmlet run -k bzImage -i initrd.img -p quiet'
    expect_match out 'console=ttyS0 panic=-1 quiet'
    run_line 0 'vmlet run -k vmlinux -c 2 -m 1G'
    expect_out '2\n'
}
test_readme_disks() { # 200 s, soak
    readme_files
    ext4_here 300 || skip "no loop device, or no ext4"
    cd big
    cp -P ../bzImage .
    truncate -s 16M disk.img fast.img sdb
    other=$(losetup -f) && losetup "$other" sdb && ln -s "$other" /dev/sdb1 || skip "no second loop device"
    run_line 0 '-d disk.img -d /dev/sdb1,ro'
    losetup -d "$other"
    rm /dev/sdb1
    for d in vda vdb vdc; do expect_match out "16384 $d"; done
    # one partition from 1 MiB up (its entry: type, first sector, sectors), and an init in it
    truncate -s 64M debian.img
    printf '\000\000\000\000\203\000\000\000\000\010\000\000\000\370\001\000' | dd of=debian.img bs=1 seek=446 conv=notrunc 2>/dev/null
    printf '\125\252' | dd of=debian.img bs=1 seek=510 conv=notrunc 2>/dev/null
    other=$(losetup -f) && losetup -o 1048576 "$other" debian.img && mkfs.ext4 -q "$other" && mkdir m && mount -t ext4 "$other" m
    mkdir m/sbin m/dev m/proc m/bin
    cp /bin/busybox m/bin
    printf '#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n/bin/busybox grep vda /proc/mounts\n/bin/busybox poweroff -f\n' >m/sbin/init
    chmod +x m/sbin/init
    umount m
    losetup -d "$other"
    run_line 0 "-p 'root=/dev/vda1 rw'"
    expect_match out '^/dev/vda1 / ext4 rw'
    cd ..
}
test_readme_channels_and_balloon() { # 300 s, soak
    readme_files
    run_line 0 'port=log=file:log.txt'
    expect "$(cat log.txt)" = hi
    line=$(readme_line 'vmlet run -k bzImage -m 2G --balloon --name g')
    mkfifo held
    exec 9<>held # an input that does not end: with it, the shell would, and the guest
    sh -c "exec $line" >g.out 2>&1 <&9 &
    guest=$!
    stop_later $guest
    wait_for 60 sh -c 'vmlet stat g -m | grep -q "^ *free "' # the guest's own words: its driver is there
    run_line 0 'vmlet balloon g +512'
    wait_for 30 sh -c 'vmlet balloon g | grep -q "^balloon  512 MiB of 2048 MiB"'
    run_line 0 'vmlet stat g -m'
    vmlet stop g
    wait $guest || [ $? = 123 ]
}
test_readme_script_line() { # 60 s, soak
    readme_files
    printf '#!/bin/sh\necho TAP version 13; echo 1..1; echo ok 1 a\n' >run-tests
    chmod +x run-tests
    sed -n '/^## In scripts/,/^- /s/^    //p' "$(readme)" >script
    grep -q 'vmlet run -k bzImage --timeout 300' script
    run sh -e ./script
    expect_status 0
    grep -q 'name="a"/>' result.xml
}
