# SPDX-License-Identifier: MIT
# Disks and entropy over virtio, with Debian's own drivers (modules of the cloud kernel).
# programs: mkfs.ext4 fsck.ext4 debugfs
# soak-programs: rngtest

disk() { # NAME MIB: an empty file with ext4 on it
    truncate -s "${2}M" "$1"
    mkfs.ext4 -q -F "$1"
}

test_virtio_rng() { # 120 s
    run vmlet run -k "$CLOUD" --rng -- sh -c 'cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=4k count=256 2>/dev/null | gzip -1 | wc -c'
    expect_status 0
    expect_match out '^virtio_rng'
    expect "$(tail -n 1 out)" -ge 1048576 # what is random does not shrink
}
# A megabyte through the tests of FIPS 140-2, which one block of good randomness in 1,200 does not pass either.
test_virtio_rng_passes_rngtest() { # 60 s, soak
    need rngtest
    add_programs rngtest
    # shellcheck disable=SC2086 # words
    run vmlet run -k "$CLOUD" -n mode=none --rng $adds -- sh -c 'dd if=/dev/hwrng bs=2500 count=404 iflag=fullblock 2>/dev/null | rngtest -c 400 2>&1; true'
    expect_status 0
    expect "$(sed -n 's/.*FIPS 140-2 successes: //p' out)" -ge 396
    expect "$(awk '/failures: / { n += $NF } END { print n }' out)" -le 4
}
test_virtio_blk_mount_write_and_check() { # 240 s
    disk d.img 64
    run vmlet run -k "$CLOUD" -d d.img -- sh -c 'set -e; mkdir -p /mnt; mount /dev/vda /mnt; dd if=/dev/urandom of=/mnt/file bs=64k count=64 2>/dev/null
        mkdir /mnt/d; for i in $(seq 200); do echo $i >/mnt/d/$i; done; sha1sum </mnt/file; cat /sys/block/vda/serial; echo; umount /mnt'
    expect_status 0
    expect_match out '^virtio-blk0$'
    fsck.ext4 -fn d.img >fsck.log 2>&1 || fail "the file system is damaged"
    sum=$(head -n 1 out)
    expect "$(debugfs -R 'cat /file' d.img 2>/dev/null | sha1sum)" = "$sum"
    run vmlet run -k "$CLOUD" -d d.img,ro -- sh -c 'set -e; mkdir -p /mnt; mount -o ro /dev/vda /mnt; sha1sum </mnt/file; ls /mnt/d | wc -l; cat /mnt/d/77
        ! dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null'
    expect_status 0
    expect_out '%s\n200\n77\n' "$sum"
}
test_virtio_blk_two_disks_direct_and_queues() { # 180 s
    truncate -s 16M a.img
    truncate -s 8M b.img
    run vmlet run -k "$CLOUD" -c 2 -d a.img --device virtio-blk,file=b.img,serial=second,threads -- sh -c 'set -e
        cat /sys/block/vda/size /sys/block/vdb/size /sys/block/vdb/serial; echo; ls /sys/block/vda/mq | wc -l
        dd if=/dev/urandom of=x bs=1M count=8 2>/dev/null
        for d in vda vdb; do dd if=x of=/dev/$d bs=64k oflag=direct 2>/dev/null; dd if=/dev/$d bs=256k count=32 iflag=direct 2>/dev/null | cmp - x; done
        blkdiscard -o 0 -l 4194304 /dev/vda; dd if=/dev/vda bs=1M count=4 iflag=direct 2>/dev/null | tr -d "\0" | wc -c'
    expect_status 0
    expect_out '32768\n16384\nsecond\n2\n0\n'
    cmp -n 4194304 a.img /dev/zero
    expect "$(dd if=a.img bs=1M skip=4 count=4 2>/dev/null | sha1sum)" = "$(dd if=b.img bs=1M skip=4 count=4 2>/dev/null | sha1sum)"
}
test_virtio_blk_host_disk_full() { # 180 s
    mkdir small
    mount -t tmpfs -o size=4M none small || skip "no tmpfs to be had"
    truncate -s 32M small/d.img
    run vmlet run -k "$CLOUD" -d small/d.img -- sh -c 'dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync 2>dd.log && echo no error; grep -ciE "(I/O|Input/output) error" dd.log
        dd if=/dev/vda of=/dev/null bs=1M count=1 2>/dev/null && echo alive'
    umount small
    expect_status 0
    expect_out '1\nalive\n'
    expect_match err 'virtio-blk0: .*write.*No space left'
}
test_virtio_blk_is_root() { # 180 s
    mkdir -p r/bin r/sbin r/proc r/sys r/dev r/run r/etc
    cp /bin/busybox r/bin/busybox
    printf '#!/bin/busybox sh\n/bin/busybox grep " / " /proc/mounts >/result\n/bin/busybox echo "$0" "$@" >>/result\n/bin/busybox sync\n/bin/busybox poweroff -f\n' >r/sbin/init
    chmod +x r/sbin/init
    truncate -s 32M d.img
    mkfs.ext4 -q -F -d r d.img
    run vmlet run -k "$CLOUD" -d d.img -p 'root=/dev/vda rw single'
    expect_status 0
    debugfs -R 'cat /result' d.img >result.log 2>/dev/null
    expect_match result.log '^/dev/(vda|root) / ext4 rw'
    expect_match result.log '^/sbin/init single$'
    run vmlet run -k "$CLOUD" -d d.img -p 'root=/dev/vdz1'
    expect_status 123
    expect_match out 'root=/dev/vdz1: mount: there is no such device \(a disk without partitions is root=/dev/vda\)'
}
test_virtio_legacy_driver() { # 180 s
    truncate -s 8M d.img
    run vmlet run -k "$CLOUD" -n mode=none --fail-on lint --device virtio-blk,file=d.img,legacy --device virtio-rng,legacy --module virtio_pci,force_legacy=1 -- sh -c 'set -e
        cat /sys/bus/virtio/devices/virtio*/features | cut -c 33 | sort -u; dd if=/dev/hwrng of=x bs=4k count=64 2>/dev/null; dd if=x of=/dev/vda bs=16k conv=fsync 2>/dev/null
        dd if=/dev/vda bs=64k count=4 iflag=direct 2>/dev/null | cmp - x; cat /sys/block/vda/size'
    expect_status 0
    expect_out '0\n16384\n' # VERSION_1 (bit 32) was not negotiated
}
