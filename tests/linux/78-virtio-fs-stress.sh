# SPDX-License-Identifier: MIT
# Much going on in a folder of the host that a guest has: what comes of it is what the host's own calls give.
# programs: git
# files: build/tools/fsops:/bin/fsops

listing='find . | sort | while read -r f; do
    [ -L "$f" ] && t=$(readlink "$f") || t=
    [ -d "$f" ] && s= || s="%s %h"
    stat -c "%n %F %a %u %g $s $t" "$f"
done
find . -type f | sort | xargs md5sum'

# COUNT operations of each seed, on the host and in a guest, in two folders of FOLDER.
same_operations() { # FOLDER COUNT SEED...
    here=$PWD/$1 count=$2 where=$1
    shift 2
    for seed; do
        rm -rf "$here/host" "$here/guest"
        mkdir "$here/host" "$here/guest"
        fsops "$here/host" "$seed" "$count" >host.ops
        run vmlet run -m 256 -k "$CLOUD" -n mode=none --share "$here/guest" --share . -- fsops "$here/guest" "$seed" "$count"
        expect_status 0
        cmp host.ops out || { diff host.ops out | head -n 10; fail "seed $seed: the guest's calls end otherwise"; }
        (cd "$here/host" && sh -c "$listing") >host.list
        (cd "$here/guest" && sh -c "$listing") >guest.list
        cmp host.list guest.list || { diff host.list guest.list | head -n 10; fail "seed $seed: what is left is not the same"; }
        echo "$where, seed $seed: $count operations alike, $(wc -l <host.list) lines of files"
    done
}

# A thousand in `make test`, 20 times 20,000 in soak, half of them on ext4.
test_share_operations_by_chance() { # 300 s
    mkdir small
    if [ -z "${TEST_SCALE-}" ]; then
        same_operations small 1500 "${TEST_SEED:-1}"
    else
        same_operations small 20000 1 2 3 4 5 6 7 8 9 10
    fi
}

test_share_operations_by_chance_on_ext4() { # 300 s, soak
    ext4_here 256 || skip 'no ext4 to be had here'
    same_operations big 20000 11 12 13 14 15 16 17 18 19 20
}

# A tree of the host's: what git and tar say of it in the guest is what they say on the host; then the guest changes some
# of it, and the host's git says which. 50,000 files in soak.
test_share_git_and_tar_of_a_tree() { # 300 s
    need git
    export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1
    n=$((1000 * ${TEST_SCALE:-1}))
    mkdir repo
    cd repo
    git init -q . 2>/dev/null
    git config user.name x
    git config user.email x@x
    git config core.compression 0
    git config gc.auto 0
    for d in 0 1 2 3 4 5 6 7 8 9; do mkdir -p $d/a/b $d/c $d/d; done
    awk -v n=$n 'BEGIN { split("a/b c d .", sub_)
        for (i = 0; i < n; i++) { f = i % 10 "/" sub_[i % 4 + 1] "/f" i; for (k = i % 40; k >= 0; k--) print i, k, i * k >f; close(f) } }'
    git add . && git commit -qm one
    rm 2/d/f2 4/a/b/f4
    echo more >>1/c/f1
    echo new >5/new
    chmod 755 7/c/f17
    cd ..
    look='cd repo; git status --short; git ls-files -s | md5sum; find . -path ./.git -prune -o -type f -print | sort >../$0; wc -l <../$0; tar cf - -T ../$0 | md5sum; du -s --apparent-size . >/dev/null 2>&1; ls -lR . | grep -v "^total" | md5sum'
    sh -c "$look" of-host >host.out 2>host.err
    here=$(now_ms)
    run vmlet run -m 512 -k "$CLOUD" -n mode=none --env HOME="$HOME" --env GIT_CONFIG_NOSYSTEM=1 --share / --share . -- sh -c "$look" of-guest
    expect_status 0
    cmp out host.out || { diff out host.out | head -n 10; fail "the guest sees another tree"; }
    echo "$n files: $(($(now_ms) - here)) ms in the guest"
    run vmlet run -m 512 -k "$CLOUD" -n mode=none --env HOME="$HOME" --env GIT_CONFIG_NOSYSTEM=1 --share / --share . -- sh -c '
        cd repo; git checkout -q -- . && git status --short; for i in 1 2 3 4 5 6 7 8 9; do echo changed >$i/d/by-the-guest; done; rm -r 0; git add -A; git commit -qm two; git status --short | wc -l'
    expect_status 0
    expect_out '?? 5/new\n0\n'
    expect "$(git -C repo status --short | wc -l)" = 0
    expect "$(git -C repo diff --shortstat --no-renames HEAD~1 | cut -d' ' -f2)" = $((n / 10 + 10))
    git -C repo fsck >fsck.log 2>&1 || fail "the repository is damaged"
}

# Names are removed while they are listed. On a tmpfs, whose places in a list were counts of names until Linux 6.6.
test_share_a_large_folder_is_removed() { # 120 s
    mkdir s
    mount -t tmpfs none s || skip 'no tmpfs to be had here'
    mkdir s/large
    for i in $(seq 3000); do echo "s/large/f$i"; done | xargs touch
    run vmlet run -k "$CLOUD" -n mode=none --share s -- sh -c 'cd '"$PWD"'/s; ls large | wc -l; rm -r large; ls'
    [ "$(ls s | wc -l)" = 0 ] || fail "$(ls s/large | wc -l) are left"
    umount s
    expect_status 0
    expect_out '3000\n'
}
