# SPDX-License-Identifier: MIT
# Folders of the host in the guest (virtio-fs), with Debian's own virtiofs, fuse and overlay modules; the host's own root
# below an overlay.
# programs: git

# Everything that a file system is used for, below the current folder; what it prints is the same everywhere.
operations='
set -e
umask 022
mkdir -p a/b/c a/empty; echo one >a/one; cp a/one a/b/two; ln a/one a/hard; ln -s one a/soft; ln -s /no/where a/dangling
mv a/b a/moved; mv a/moved/two a/moved/c/three; echo more >>a/one; dd if=/dev/zero of=a/sparse bs=1 count=1 seek=1000000 2>/dev/null
truncate -s 12345 a/cut; truncate -s 3 a/hard; chmod 640 a/cut; chmod 1777 a/empty; touch -d "2001-02-03 04:05:06" a/cut
mkfifo a/fifo; mknod a/null c 1 3; i=0; while [ $i -lt 300 ]; do echo $i >a/moved/f$i; i=$((i + 1)); done
rm a/moved/f7 a/moved/f299; mv a/moved/f8 a/moved/f9; rmdir a/empty; mkdir a/empty
exec 5>a/open; rm a/open; echo gone >&5; echo still >&5; exec 5>&-
dd if=/dev/urandom of=a/big bs=64k count=40 2>/dev/null; cp a/big a/copy; cmp a/big a/copy; sync; sync -f a/big 2>/dev/null || :; rm a/big a/copy
fallocate -l 70000 a/room 2>/dev/null || truncate -s 70000 a/room
chown 12:34 a/cut; mkdir a/deep; cd a/deep; mkdir -p 1/2/3/4/5/6/7/8; cd 1/2; mv 3 ../../three; cd ../../three; pwd | sed "s,.*/a/,a/,"; cd ../../..
! mkdir a/one 2>/dev/null; ! rmdir a/moved 2>/dev/null; ! ls a/nothing 2>/dev/null; ! cat a 2>/dev/null
'
# Names, kinds, modes, owners, sizes, links and contents.
listing='
find . | sort | while read -r f; do
    [ -L "$f" ] && t=$(readlink "$f") || t=
    [ -d "$f" ] && s= || s="%s %h"
    stat -c "%n %F %a %u %g $s $t" "$f"
done
find . -type f | sort | xargs md5sum
'

test_share_does_what_the_host_does() { # 240 s
    mkdir host guest
    (cd host && sh -c "$operations" >../host.ops && sh -c "$listing" >../host.list)
    run vmlet run -k "$CLOUD" --share guest --cwd "$PWD/guest" -- sh -c "$operations$listing"
    cat host.ops host.list >wanted
    cmp wanted out || { diff wanted out | head -20; fail "the guest sees something else"; }
    (cd guest && sh -c "$listing") >guest.list
    cmp host.list guest.list || { diff host.list guest.list | head -20; fail "the host sees something else"; }
    expect "$status" = 0
    (cd host && tar cf - a/moved) | tar tvf - | sed 's/ 20.*[0-9] a/ a/' >host.tar
    (cd guest && tar cf - a/moved) | tar tvf - | sed 's/ 20.*[0-9] a/ a/' >guest.tar
    cmp host.tar guest.tar
}

test_share_with_the_full_kernel() { # 240 s
    mkdir s
    cp /bin/busybox s
    sum=$(md5sum <s/busybox)
    run vmlet run -k "$FULL_QUICK" --share s,ro -- sh -c 'md5sum <'"$PWD"'/s/busybox; '"$PWD"'/s/busybox echo runs from there; grep virtiofs /proc/mounts | cut -d" " -f2'
    expect_status 0
    expect_out '%s\nruns from there\n%s/s\n' "$sum" "$PWD"
}

test_share_odd_names() { # 120 s
    mkdir s
    long=$(printf 'n%.0s' $(seq 255))
    set -- '-rf' 'a b' 'new
line' '*' '\back' "it's" 'grüße' "$long" '...' '.hidden' "$(printf 'bytes\377\001')"
    for name; do printf %s "$name" >"s/$name"; done
    # the guest reads each, and makes it anew under another folder
    run vmlet run -k "$CLOUD" --share . -- sh -c 'mkdir t; for f in s/* s/.hidden s/...; do n=${f#s/}; [ "$(cat -- "$f"; echo x)" = "${n}x" ] && printf %s "$n" >"t/$n" || echo "differs: $f"; done
        (: >"t/n'"$long"'") 2>/dev/null && echo 256 bytes; ls -A t | wc -l'
    expect_status 0
    expect_out '11\n'
    for name; do expect "$(cat "t/$name"; echo x)" = "${name}x"; done
}

test_share_links_do_not_lead_out() { # 120 s
    mkdir s outside
    echo secret >outside/file
    ln -s ../outside/file s/relative
    ln -s "$PWD/outside" s/absolute
    ln -s / s/root
    run vmlet run -k "$CLOUD" --share s --cwd / -- sh -c 'cd '"$PWD"'/s; cat relative; cat absolute/file; cat ../outside/file; cat root'"$PWD"'/outside/file
        readlink relative; ln -s ../outside new; cat new/file; mkdir d; cd d; cat ../../outside/file; cat /'"$PWD"'/s/../outside/file; true'
    expect_status 0
    expect_out '../outside/file\n'
    expect_no_match out secret
    expect "$(readlink s/new)" = ../outside
}

test_share_ro_and_below_it_one_to_write_to() { # 120 s
    mkdir -p s/inner
    echo kept >s/file
    run vmlet run -k "$CLOUD" --share s/inner,tag=in --share s,ro,tag=out -- sh -c 'cd '"$PWD"'/s
        for c in "echo x >file" "rm file" "mkdir d" "mv file g" "ln -s a b" "chmod 600 file" "touch file" "truncate -s 0 file"; do sh -c "$c" 2>/dev/null && echo "could: $c"; done
        mount -o remount,rw '"$PWD"'/s; echo x 2>/dev/null >file && echo could write after a remount
        mkdir -p /m; mount -t virtiofs out /m && cat /m/file; mount -t virtiofs nothing /m 2>/dev/null && echo "a tag that nobody has"
        echo guest >inner/new; cat inner/new; cut -d" " -f1-3 /proc/mounts | grep virtiofs | sort'
    expect_status 0
    expect_out 'kept\nguest\nin %s/s/inner virtiofs\nout /m virtiofs\nout %s/s virtiofs\n' "$PWD" "$PWD"
    expect "$(cat s/file)" = kept
    expect "$(cat s/inner/new)" = guest
    expect "$(ls s | tr '\n' ' ')" = 'file inner '
}

# The guest waits for changes that the host makes to what it has looked at.
test_share_sees_a_change_within_a_second() { # 120 s
    mkdir s
    echo old >s/file
    echo old >s/other
    vmlet run -k "$CLOUD" --share s -- sh -c 'cd '"$PWD"'/s; cat file other >/dev/null; ls nothing 2>/dev/null; : >ready
        while ! grep -q new file; do :; done; while [ ! -e nothing ]; do :; done; : >seen; grep -c . file; cat other; ls' >out 2>err </dev/null &
    pid=$!
    wait_for 60 [ -e s/ready ]
    before=$(now_ms)
    echo 'new, and longer' >s/file
    mv s/other s/nothing
    echo replaced >s/other
    while [ ! -e s/seen ] && [ $(($(now_ms) - before)) -lt 20000 ]; do sleep 0.05; done
    took=$(($(now_ms) - before))
    status=0
    wait $pid || status=$?
    ran='a change on the host'
    expect_status 0
    expect_out '1\nreplaced\nfile\nnothing\nother\nready\nseen\n'
    expect "$took" -le 6000 # a second, and what the bed takes for it; for ever, were it only cached
}
test_share_without_cache_sees_it_at_once() { # 120 s
    mkdir s
    echo old >s/file
    vmlet run -k "$CLOUD" --share s,cache=none -- sh -c 'cd '"$PWD"'/s; cat file; : >ready; for n in 1 2 3 4 5; do
        while [ ! -e go$n ]; do stat -c %s file >/dev/null; read -r _ <file; done; cat file; : >seen$n; done' >out 2>err </dev/null &
    pid=$!
    wait_for 60 [ -e s/ready ]
    for n in 1 2 3 4 5; do
        case $n in
        1 | 3) echo "content $n" >s/file ;;
        2) printf 'content 2\n' | dd of=s/file conv=notrunc 2>/dev/null ;; # as long as before
        *) echo "content $n" >s/new && mv s/new s/file ;;
        esac
        : >s/go$n # whoever sees this sees the rest
        wait_for 30 [ -e s/seen$n ]
    done
    status=0
    wait $pid || status=$?
    ran='changes without a cache'
    expect_status 0
    expect_out 'old\ncontent 1\ncontent 2\ncontent 3\ncontent 4\ncontent 5\n'
}

test_share_busy_on_both_sides() { # 240 s
    mkdir s
    vmlet run -k "$CLOUD" --share s -- sh -c 'cd '"$PWD"'/s; : >ready; i=0
        while [ ! -e stop ]; do i=$((i + 1)); echo "guest $i" >>both; echo "guest $i" >g.new; mv g.new g; grep -qE "^host [0-9]+$" h 2>/dev/null || [ ! -e h ] || { echo torn; cat h; }; done; echo $i >count' >out 2>err </dev/null &
    pid=$!
    wait_for 60 [ -e s/ready ]
    n=0
    while [ $n -lt $((300 * ${TEST_SCALE:-1})) ]; do
        n=$((n + 1))
        echo "host $n" >>s/both
        echo "host $n" >s/h.new
        mv s/h.new s/h
        [ ! -e s/g ] || grep -qE '^guest [0-9]+$' s/g || fail "torn: $(cat s/g)"
    done
    : >s/stop
    status=0
    wait $pid || status=$?
    ran='busy on both sides'
    expect_status 0
    expect_out ''
    grep '^host ' s/both | sort -k2n | awk -v n=$n '$2 != NR { exit 1 } END { if (NR != n) exit 1 }' || fail "the host's lines are not all there"
    grep '^guest ' s/both | sort -k2n | awk -v n="$(cat s/count)" '$2 != NR { exit 1 } END { if (NR != n) exit 1 }' || fail "the guest's lines are not all there"
    expect_no_match s/both '(guest.*host|host.*guest)'
}

# A tree of small files that the guest makes, packs, unpacks, compares and removes; `make soak`: 50,000 of them.
test_share_tree_of_small_files() { # 300 s
    mkdir s
    files=$((1000 * ${TEST_SCALE:-1}))
    run vmlet run -k "$CLOUD" -m 1G --share s --timeout 3000 -- sh -c 'set -e; cd '"$PWD"'/s; awk -v n='$files' "BEGIN { for (i = 0; i < n; i++) { d = \"d\" i % 50; if (i < 50) system(\"mkdir \" d); f = d \"/f\" i; print i, i * 7919 % 65521 >f; close(f) } }"
        find . -type f | wc -l; tar cf ../all.tar .; mkdir ../copy; tar xf ../all.tar -C ../copy; diff -r . ../copy && echo same
        cd ..; cp -a s/d0 s/d0.copy; diff -r s/d0 s/d0.copy; rm -r s/d0.copy; rm -r s/d1; find s -type f | wc -l'
    expect_status 0
    expect_out '%s\nsame\n%s\n' $files $((files - files / 50))
    i=0
    for d in s/d*; do i=$((i + $(ls "$d" | wc -l))); done
    expect $i = $((files - files / 50))
    expect "$(cat s/d7/f57)" = "57 $((57 * 7919 % 65521))"
}

test_share_unreadable_and_other_mistakes() { # 20 s
    : >file
    run vmlet run -k "$CLOUD" --share no/such/folder -- true
    expect_status 125
    expect_match err '^vmlet: .*--share no/such/folder: No such file or directory'
    expect "$(wc -l <err)" = 1
    run vmlet run -k "$CLOUD" --share file -- true
    expect_status 125
    expect_match err 'file: is no folder'
    run vmlet run -k "$CLOUD" --share .,tag=x --share /usr,tag=x -- true
    expect_status 125
    expect_match err 'tag=x'
    run vmlet run -k "$CLOUD" --share /proc -- true
    expect_status 125
}

# Kernels that have not all of it: the modules are in a folder of our own.
test_share_needs_the_kernels_help() { # 180 s
    mkdir m s
    run vmlet run -k "$CLOUD" --modules-dir m --share s -- true
    expect_status 125
    expect_match err -- '--share .*/s: this kernel has no virtio-fs'
    expect "$(grep -c . err)" -le 4 # and perhaps the kernel's own warnings
    find "$CLOUD_MODULES/kernel" '(' -name 'virtio*.ko' -o -name fuse.ko ')' -exec cp {} m ';'
    run vmlet run -k "$CLOUD" --modules-dir m --share s -- echo fine
    expect_status 0
    run vmlet run -k "$CLOUD" --modules-dir m --share / -- true
    expect_status 125
    expect_match err -- '--share /: mount: this kernel has no overlay file system'
}

test_host_root() { # 180 s
    printf '#!/bin/sh\necho script "$@"\n' >script
    chmod +x script
    : >plain
    mkdir out.d
    run vmlet run -k "$CLOUD" --share / -- sh -c 'pwd; ./script a "b c"; vmlet version; echo guest >/etc/of-the-guest; rm script; mv out.d moved; ls; cat /etc/of-the-guest
        grep -c " / overlay " /proc/mounts; ls -d /proc/1 /sys/class /dev/null /run; cat /etc/resolv.conf; exit 7'
    expect_status 7
    vmlet version >version
    expect_out '%s\nscript a b c\n%s\nerr\nin\nmoved\nout\nplain\nguest\n1\n/dev/null\n/proc/1\n/run\n/sys/class\nnameserver 10.0.2.3\n' "$PWD" "$(cat version)"
    expect "$([ -e /etc/of-the-guest ] && echo there)" = ''
    [ -x script ] && [ -d out.d ] && [ ! -e moved ] || fail "the host's files are not as they were"
    run vmlet run -k "$CLOUD" --share / -- ./script 1 2
    expect_status 0
    expect_out 'script 1 2\n'
    run vmlet run -k "$CLOUD" --share / -- no-such-command
    expect_status 127
    run vmlet run -k "$CLOUD" --share / -- ./plain
    expect_status 126
}

test_host_root_with_a_folder_to_write_to() { # 120 s
    mkdir w
    echo added >file
    run vmlet run -k "$CLOUD" --share / --share w --add file:/etc/from/the/file -- sh -c 'echo result >w/result; echo lost >beside; cat /etc/from/the/file w/result beside; [ -e /etc/passwd ] || [ -d /etc ]'
    expect_status 0
    expect_out 'added\nresult\nlost\n'
    expect "$(cat w/result)" = result
    [ ! -e beside ] || fail "the guest wrote to the host"
}

test_host_root_gives_a_shell() { # 120 s
    printf 'echo in-$((40 + 2)); pwd; exit\n' >in
    run vmlet run -k "$CLOUD" -n mode=none --share /
    expect_status 0
    expect_match out 'in-42'
    tr -d '\r' <out >out.log
    expect_match out.log "^$PWD"
    expect_no_match out 'run --share /'
    run vmlet run -k "$CLOUD" -n mode=none
    expect_status 0
    expect_match out 'vmlet run --share /'
    expect_match out 'in-42'
}

# With an initrd of one's own the tags are there, and nothing else.
test_share_with_an_initrd_of_ones_own() { # 120 s
    mkdir src
    echo from the host >src/file
    for m in fuse virtiofs virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci; do
        cp "$(find "$CLOUD_MODULES/kernel" -name $m.ko)" . 2>/dev/null || : # built in
    done
    mkdir -p root/m
    cp ./*.ko root/m 2>/dev/null || :
    make_initrd 'for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci fuse virtiofs; do [ ! -e /m/$m.ko ] || insmod /m/$m.ko; done
mkdir -p /mnt; mount -t virtiofs work /mnt && cat /mnt/file; echo from the guest >/mnt/answer; umount /mnt; poweroff -f'
    cp "$initrd" initrd.img
    ln -s "$CLOUD" bzImage
    line=$(readme_line 'vmlet run -k bzImage -i initrd.img --share')
    run sh -c "$line"
    expect_status 0
    expect_match out 'from the host'
    expect "$(cat src/answer)" = 'from the guest'
}

# A program of the host's that looks at every file's times, sizes and inode numbers.
test_host_root_runs_git_as_the_host_does() { # 240 s
    need git
    export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1
    git init -q repo 2>/dev/null
    git -C repo config status.showUntrackedFiles no
    cd repo
    git config user.name x && git config user.email x@x
    for d in a b c; do
        mkdir $d
        i=0
        while [ $i -lt 60 ]; do i=$((i + 1)); echo "$d $i" >$d/$i; done
    done
    git add . && git commit -qm one
    run vmlet run -k "$CLOUD" --env HOME="$HOME" --share / --share . -- sh -c 'git status --short; git fsck 2>&1 | grep -c error; echo changed >a/7; rm b/8; : >c/new; git add c; git status --short; git commit -qam two; git status --short | wc -l'
    expect_status 0
    expect_out '0\n M a/7\n D b/8\nA  c/new\n0\n'
    expect "$(git log --format=%s | tr '\n' ' ')" = 'two one '
    expect "$(git show HEAD:a/7)" = changed
    git fsck >fsck.log 2>&1 || fail "the repository is damaged"
}
