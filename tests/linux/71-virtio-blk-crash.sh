# SPDX-License-Identifier: MIT
# Disks that lose their machine: ext4 below busy writers of the guest when vmlet is killed, at seeded moments, and when what
# the host had cached of the disk goes with it. $TEST_SEED repeats a run.
# programs: mkfs.ext4 e2fsck debugfs

# Writes for ever below /mnt, as writer $1, from generation $2 on, and says what it has synced: NAME GENERATION. Files are of
# lines of 16 bytes, NAME GENERATION (of ten digits), of which a sector holds 32: so a line is old or new, and never something between.
#   n  a new file each time                     r  one of a few files, replaced by a rename
#   o  overwritten in its place                 a  appended to
writer='
lines() { yes "$1 $2" | head -n "$3"; }
keep() { dd of="$1" bs=4k conv="$2" 2>/dev/null; }
w=$1 g=$2
cd /mnt
while :; do
    g=$((g + 1)) m=$((g / 4 % 20))
    case $((g % 4)) in
    0) name=n$w$((10 + m)); lines $name $g $((g * 37 % 700 + 1)) | keep $name.$g fsync && sync . ;;
    1) name=r$w$((10 + m)); lines $name $g $((g * 37 % 700 + 1)) | keep t$w fsync && mv t$w $name && sync . ;;
    2) name=o$w$((10 + m % 3)); lines $name $g 512 | keep $name notrunc,fsync ;;
    3) name=a${w}00; lines $name $g 16 | dd of=$name bs=256 iflag=fullblock oflag=append conv=notrunc,fsync 2>/dev/null ;;
    esac && echo $name $g
done'

# Whether all that was acknowledged (the lines of $1) is in the files of folder $2; says what is not.
all_there() { # ACKED FOLDER
    (cd "$2" && find . -name '[nroa][0-9][0-9][0-9]*' | sed 's,^\./,,') >names
    # shellcheck disable=SC2046 # names without blanks
    (cd "$2" && xargs awk -v acked="../$1" '
        function bad(why) { print FILENAME ": line " FNR ": " why ": " $0; wrong = 1 }
        function ended() {
            if (kind == "n" && (file in synced) && n != size(gen)) { print file ": " n " lines"; wrong = 1 }
            if (kind == "r" && n != size(gen)) { print file ": " n " lines, not " size(gen); wrong = 1 }
            if (kind == "o" && (file in synced) && n != 512) { print file ": " n " lines of 512"; wrong = 1 }
        }
        function size(g) { return g * 37 % 700 + 1 }
        BEGIN {
            while ((getline line <acked) > 0) {
                if (split(line, f, " ") != 2 || f[1] !~ /^[nroa][0-9][0-9][0-9]$/ || f[2] !~ /^[0-9]+$/) continue
                kind = substr(f[1], 1, 1)
                name = kind == "n" ? f[1] "." f[2] : f[1]
                synced[name] = f[2]
                if (kind == "a") chunks[name " " f[2]] = 0
                acks++
            }
            kind = ""
        }
        FNR == 1 {
            ended()
            file = FILENAME; kind = substr(file, 1, 1); name = substr(file, 1, 4); seen[file] = 1; n = 0
            gen = $2 + 0
        }
        {
            n++
            if (length($0) != 15 || $1 != name || $2 !~ /^[0-9]+$/ || NF != 2) {
                # a file that nobody has synced may be anything, the end of what was appended too
                if (kind == "r" || (file in synced) && kind != "a") bad("no line of this file")
                next
            }
            if (kind == "a") { if ((file " " ($2 + 0)) in chunks) chunks[file " " ($2 + 0)]++; next }
            if (kind != "o" && $2 + 0 != gen) bad("of another generation")
            if ((file in synced) && $2 + 0 < synced[file]) bad("older than " synced[file])
        }
        END {
            ended()
            for (f in synced) if (!(f in seen)) { print f ": is not there"; wrong = 1 }
            for (c in chunks) if (chunks[c] != 16) { print c ": " chunks[c] " of 16 lines appended"; wrong = 1 }
            print acks " acknowledged, all looked for"
            exit wrong
        }' <../names) >missing 2>&1
}

# A disk of a loop device: its cache can be lost, as in a power cut, by taking the file below it as it is at that moment,
# while the device is held open (the last close would write it all back). $disk is the device, if there is one to be had.
loop_up() { # FILE
    disk=$1
    loop_for "$1" || return 1
    disk=$loop
    exec 9<"$loop"
}
loop_down() {
    exec 9<&-
    losetup -d "$disk"
}

# Fifty times in soak, in four ways: through io_uring and through threads, each with and without loss of the host's cache.
# The disk goes from one to the next as it is, its journal not replayed: that is the guest's part.
test_virtio_blk_killed_at_random_moments() { # 120 s
    seed=${TEST_SEED:-1} round=0 cuts=0
    truncate -s 64M d.img
    mkfs.ext4 -q -F d.img
    : >acked
    ran="vmlet run, killed"
    printf %s "$writer" >writer
    [ "$WHERE" != bed ] || echo 360000 >/proc/sys/vm/dirty_writeback_centisecs # the cache stays one
    while [ $round -lt "${TEST_SCALE:-1}" ]; do
        round=$((round + 1))
        case $((round % 4)) in
        0 | 3) how=,threads ;;
        *) how= ;;
        esac
        cut=
        [ $((round % 2)) = 0 ] || { loop_up d.img && cut=1 cuts=$((cuts + 1)); }
        [ -n "$cut" ] || disk=d.img
        vmlet run -m 256 -k "$CLOUD" -n mode=none --device "virtio-blk,file=$disk$how" --add writer:/writer -- sh -c "
            mkdir -p /mnt; mount /dev/vda /mnt; for w in 1 2 3; do sh /writer \$w $((1000000000 + round * 100000)) & done; wait" >round.out 2>err &
        pid=$!
        wait_for 120 [ -s round.out ]
        moment=$(awk -v s=$((seed * 1000 + round)) 'BEGIN { srand(s); printf "%.3f", rand() * 4 }')
        sleep "$moment"
        kill -9 $pid
        wait $pid || :
        [ -z "$cut" ] || cp d.img cut.img
        [ -z "$cut" ] || { loop_down; mv cut.img d.img; }
        # a line that was cut off by the end is no acknowledgement
        [ "$(tail -c 1 round.out | wc -l)" = 1 ] || sed -i '$d' round.out
        cat round.out >>acked
        cp d.img checked.img
        rc=0
        e2fsck -fy checked.img >fsck.log 2>&1 || rc=$?
        at="seed $seed, round $round ($how, $([ -n "$cut" ] && echo power cut || echo kill) after $moment s)"
        expect "$rc" -le 1
        # The sums in the superblock are nobody's: ext4 does not journal them, and counts afresh when it mounts. An orphaned inode
        # is what the journal leaves to be done: a file that was replaced, whose blocks were still to be given back.
        sed '/^\(Clearing\|Truncating\) orphaned inode [0-9]* /d' fsck.log |
            sed '/^Free [a-z]* count wrong ([0-9]*, counted=[0-9]*)\.$/d; /^Fix? yes$/d; /^e2fsck /d; /: recovering journal$/d; /^Pass [1-5]/d; /^$/d; /FILE SYSTEM WAS MODIFIED/d; / files ([0-9.]*% non-contiguous)/d' >mended.log
        [ ! -s mended.log ] || fail "$at: fsck had more to do than to replay the journal"
        e2fsck -fn checked.img >fsck.log 2>&1 || fail "$at: fsck is not content"
        rm -rf files && mkdir files
        debugfs -R 'rdump / files' checked.img >/dev/null 2>&1
        rm checked.img
        all_there acked files || { head -n 20 missing; fail "$at: not all is there that was acknowledged"; }
        expect "$(grep -c . round.out)" -gt 0
        echo "$at: $(grep -c . round.out) synced; $(cat missing)"
    done
    echo "$round rounds, $cuts with a power cut"
}
