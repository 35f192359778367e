# SPDX-License-Identifier: MIT
# fio on virtio-blk: what it wrote at random, 32 requests at a time, it reads back, in the guest and from the host's file.
# soak-programs: fio
# programs: mkfs.ext4

# The way of the guest's requests does not show in the data: the host's fio, which knows the seed, finds all of it.
fio_verifies() { # FILE OPTIONS MIB
    for engine in io_uring libaio; do
        words="--name=v --rw=randwrite --bsrange=4k-64k --size=${3}m --verify=crc32c --verify_fatal=1 --randseed=$3 --group_reporting --minimal"
        rm -f "$1"
        truncate -s "${3}M" "$1"
        run vmlet run -m 512 -k "$CLOUD" -n mode=none --share / --device "virtio-blk,file=$1$2" -- \
            fio $words --filename=/dev/vda --direct=1 --ioengine=$engine --iodepth=32
        expect_status 0
        expect_no_match err 'vmlet:|verify'
        read_kib=$(tail -n 1 out | cut -d';' -f6) wrote_kib=$(tail -n 1 out | cut -d';' -f47)
        expect "$read_kib" = $(($3 * 1024))
        expect "$wrote_kib" = $(($3 * 1024))
        fio $words --filename="$1" --ioengine=psync --verify_only >host.log 2>&1 || fail "the host does not find in $1 what the guest wrote"
        echo "$1$2, $engine: $3 MiB written and read back"
    done
}

test_virtio_blk_fio() { # 90 s, soak
    need fio
    fio_verifies d.img '' 32
    fio_verifies d.img ,threads 32
    fio_verifies d.img ,queues=4 16
}

# Through O_DIRECT, which tmpfs does not have: on ext4.
test_virtio_blk_fio_direct() { # 60 s, soak
    need fio mkfs.ext4
    ext4_here 128 || skip 'no ext4 to be had here'
    fio_verifies big/d.img '' 24
    fio_verifies big/d.img ,direct 24
    fio_verifies big/d.img ,direct,threads 24
}

# dd's own O_DIRECT in the guest, in sizes that are no power of two, at places that are none.
test_virtio_blk_dd_direct() { # 60 s
    truncate -s 16M d.img
    head -c 3500000 /dev/urandom >x
    run vmlet run -k "$CLOUD" -n mode=none --add x:/x -d d.img -- sh -c 'set -e
        dd if=/x of=/dev/vda bs=3584 seek=7 count=900 oflag=direct 2>/dev/null; dd if=/dev/vda bs=512 skip=49 count=6300 iflag=direct 2>/dev/null | md5sum
        dd if=/x of=/dev/vda bs=512 seek=32767 count=2 oflag=direct 2>/dev/null || echo full'
    expect_status 0
    expect_out '%s\nfull\n' "$(head -c 3225600 x | md5sum)"
    expect "$(dd if=d.img bs=3584 skip=7 count=900 2>/dev/null | md5sum)" = "$(head -c 3225600 x | md5sum)"
    expect "$(dd if=d.img bs=512 skip=32767 2>/dev/null | md5sum)" = "$(head -c 512 x | md5sum)"
}
