// SPDX-License-Identifier: MIT
/* virtio-blk against virtio 1.2, 5.2: requests of every kind in every framing, on a real file, through io_uring and through
 * the pool; and section B of what guests and hosts do wrong. */
#include "virtio/blk.h"
#include "kvm/host/work.h"
#include "virtio_board.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_ID = 8,
    T_DISCARD = 11,
    T_ZERO = 13,
    S_OK = 0,
    S_IOERR = 1,
    S_UNSUPP = 2,
    S_NONE = 0xaa, /* what the tests put there before */

    HEADER = VQ_BUFFERS,
    DATA = VQ_BUFFERS + 0x1000,
    STATUS = VQ_BUFFERS + 0x800,
    SECTORS = 256,
    F_RO = 5,
    F_FLUSH = 9,
    F_MQ = 12,
    F_DISCARD = 13,
    F_ZERO = 14,
};
#define ALL (F_VERSION_1 | F_INDIR | F_BIT(F_FLUSH) | F_BIT(F_DISCARD) | F_BIT(F_ZERO))

static char path[64];
static int file = -1;
static struct work *work;
static bool threads;

static uint8_t pattern(uint64_t byte)
{
    return (uint8_t)(byte / 512 * 7 + byte % 512 * 3 + 1);
}

static void file_new(unsigned sectors)
{
    if (file >= 0)
        close(file);
    snprintf(path, sizeof path, "/tmp/vmlet-blk-XXXXXX");
    file = mkstemp(path);
    CHECK(file >= 0);
    uint8_t buf[512];
    for (unsigned s = 0; s < sectors; s++) {
        for (unsigned i = 0; i < 512; i++)
            buf[i] = pattern(s * 512ull + i);
        CHECK(pwrite(file, buf, 512, s * 512) == 512);
    }
}

/* vdev_new() with a pool on the board */
static struct device *blk_new_on(const char *disk, const char *more, uint64_t features)
{
    char options[200];
    snprintf(options, sizeof options, "file=%s%s%s%s", disk, *more ? "," : "", more,
             threads ? ",threads" : "");
    vdev_prepare();
    work = m->board.work = work_new(m->board.loop, 4);
    struct device *dev = vdev_add(&blk_class, options);
    if (features)
        vdev_start(features & vd_features());
    return dev;
}
static struct device *blk_new(const char *more, uint64_t features)
{
    file_new(SECTORS);
    struct device *dev = blk_new_on(path, more, features);
    unlink(path);
    return dev;
}

/* Everything under way comes in. */
static void settle(unsigned used)
{
    CHECK(VD_UNTIL((uint16_t)(vq_used_idx(0) - used) <= 0x8000));
}

static void header(uint32_t type, uint64_t sector)
{
    g_write(HEADER, type, 4);
    g_write(HEADER + 4, 0, 4);
    g_write(HEADER + 8, sector, 8);
    g_write(STATUS, S_NONE, 1);
}

/* One request in the usual three descriptors; returns its status, *len the used length. */
static unsigned request(uint32_t type, uint64_t sector, uint32_t bytes, uint32_t *len)
{
    uint32_t id, l;
    bool in = type == T_IN || type == T_ID;
    header(type, sector);
    struct vq_buf bufs[] = {
        {HEADER, 16,    0               },
        {DATA,   bytes, in ? F_WRITE : 0},
        {STATUS, 1,     F_WRITE         }
    };
    if (!bytes)
        bufs[1] = bufs[2];
    unsigned before = vq_used_idx(0);
    vq_add(0, bufs, bytes ? 3 : 2, 0);
    vq_kick(0);
    settle((uint16_t)(before + 1));
    CHECK(vq_used(0, &id, &l));
    CHECK_EQ(id, 0);
    if (len)
        *len = l;
    return (unsigned)g_read(STATUS, 1);
}

static void data_fill(uint64_t from, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        g_write(DATA + i, pattern(from + i), 1);
}
static bool data_is(uint64_t from, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        if (g_read(DATA + i, 1) != pattern(from + i))
            return false;
    return true;
}
static bool file_is(uint64_t at, uint64_t from, unsigned len)
{
    uint8_t b;
    for (unsigned i = 0; i < len; i++)
        if (pread(file, &b, 1, (off_t)(at + i)) != 1 || b != (from == UINT64_MAX ? 0 : pattern(from + i)))
            return false;
    return true;
}

static void reads_and_writes(void)
{
    uint32_t len;
    blk_new("serial=abc", ALL);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10421af4);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 8), SECTORS);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 4, 4), 0);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 20, 4), 512);
    CHECK_EQ(request(T_IN, 3, 1024, &len), S_OK);
    CHECK_EQ(len, 1025);
    CHECK(data_is(3 * 512, 1024));
    data_fill(9000, 1536);
    CHECK_EQ(request(T_OUT, 200, 1536, &len), S_OK);
    CHECK_EQ(len, 1);
    CHECK(file_is(200 * 512, 9000, 1536));
    CHECK(file_is(199 * 512, 199 * 512, 512) && file_is(203 * 512, 203 * 512, 512));
    CHECK_EQ(request(T_FLUSH, 0, 0, &len), S_OK);
    CHECK_EQ(request(T_IN, SECTORS - 1, 512, NULL), S_OK);
    CHECK(data_is((SECTORS - 1) * 512, 512));
    CHECK_EQ(request(99, 0, 0, NULL), S_UNSUPP);
    CHECK_EQ(request(T_IN, 0, 0, NULL), S_OK);
    devices_free(&m->board);
}

TEST(blk_reads_and_writes_by_io_uring)
{
    threads = false;
    reads_and_writes();
}

TEST(blk_reads_and_writes_by_threads)
{
    threads = true;
    reads_and_writes();
    threads = false;
}

static void segment(uint64_t sector, uint32_t sectors, uint32_t flags)
{
    g_write(DATA, sector, 8);
    g_write(DATA + 8, sectors, 4);
    g_write(DATA + 12, flags, 4);
}

TEST(blk_discards_and_writes_zeroes)
{
    blk_new("", ALL);
    segment(8, 16, 1);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_OK);
    CHECK(file_is(8 * 512, UINT64_MAX, 16 * 512));
    CHECK(file_is(7 * 512, 7 * 512, 512) && file_is(24 * 512, 24 * 512, 512));
    segment(40, 3, 0);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_OK);
    CHECK(file_is(40 * 512, UINT64_MAX, 3 * 512) && file_is(43 * 512, 43 * 512, 512));
    segment(48, 16, 0);
    CHECK_EQ(request(T_DISCARD, 0, 16, NULL), S_OK);
    CHECK(file_is(47 * 512, 47 * 512, 512) && file_is(64 * 512, 64 * 512, 512));
    struct stat st;
    CHECK(fstat(file, &st) == 0 && st.st_size == SECTORS * 512);
    segment(SECTORS - 1, 2, 0);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_IOERR);
    segment(UINT64_MAX, 2, 0);
    CHECK_EQ(request(T_DISCARD, 0, 16, NULL), S_IOERR);
    segment(0, UINT32_MAX, 0);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_IOERR);
    segment(0, 1, 2);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_UNSUPP);
    segment(0, 1, 1);
    CHECK_EQ(request(T_DISCARD, 0, 16, NULL), S_UNSUPP);
    CHECK_EQ(request(T_DISCARD, 0, 15, NULL), S_UNSUPP);
    CHECK_EQ(request(T_DISCARD, 0, 32, NULL), S_UNSUPP);
    CHECK(file_is(0, 0, 512));
}

/* More than the loop should copy by itself: all of RAM read twice over, into the same place. */
TEST(blk_reads_megabytes_at_once)
{
    uint32_t id, len;
    file_new(4096);
    blk_new_on(path, "", ALL);
    unlink(path);
    header(T_IN, 0);
    vq_desc(0, 0, HEADER, 16, F_NEXT, 1);
    for (unsigned i = 1; i <= 32; i++)
        vq_desc(0, i, DATA, 65536, F_NEXT | F_WRITE, i + 1);
    vq_desc(0, 33, STATUS, 1, F_WRITE, 0);
    vq_avail(0, 0);
    vq_kick(0);
    settle(1);
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(len, (2 << 20) + 1);
    CHECK_EQ(g_read(STATUS, 1), S_OK);
    CHECK(data_is((2 << 20) - 65536, 65536));
}

TEST(blk_takes_headers_data_and_status_in_any_pieces)
{
    blk_new("", ALL);
    uint32_t id, len;
    header(T_IN, 5);
    /* header in three, data in three with the status in the last's end; through an indirect table */
    const uint64_t table = VQ_BUFFERS + 0x3000;
    vq_desc_at(table, 0, HEADER, 1, F_NEXT, 1);
    vq_desc_at(table, 1, HEADER + 1, 14, F_NEXT, 2);
    vq_desc_at(table, 2, HEADER + 15, 1, F_NEXT, 3);
    vq_desc_at(table, 3, DATA, 511, F_NEXT | F_WRITE, 4);
    vq_desc_at(table, 4, 0xfee00000, 0, F_NEXT | F_WRITE, 5); /* no bytes at all */
    vq_desc_at(table, 5, DATA + 511, 514, F_WRITE, 0);
    vq_desc(0, 7, table, 6 * 16, F_INDIRECT, 0);
    vq_avail(0, 7);
    vq_kick(0);
    settle(1);
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(id, 7);
    CHECK_EQ(len, 1025);
    CHECK(data_is(5 * 512, 1024));
    CHECK_EQ(g_read(DATA + 1024, 1), S_OK);
    /* a write whose header and data share a piece */
    header(T_OUT, 6);
    for (unsigned i = 0; i < 512; i++)
        g_write(HEADER + 16 + i, pattern(70000 + i), 1);
    vq_add(0,
           (struct vq_buf[]){
               {HEADER, 16 + 512, 0      },
               {STATUS, 1,        F_WRITE}
    },
           2, 3);
    vq_kick(0);
    settle(2);
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(g_read(STATUS, 1), S_OK);
    CHECK(file_is(6 * 512, 70000, 512));
}

TEST(blk_direct)
{
    file_new(SECTORS);
    /* /tmp may have no direct I/O: then opening says so, in one sentence */
    int probe = open(path, O_RDWR | O_DIRECT);
    if (probe < 0)
        SKIP("no direct I/O in /tmp");
    close(probe);
    blk_new_on(path, "direct", ALL);
    unlink(path);
    CHECK_EQ(request(T_IN, 8, 4096, NULL), S_OK);
    CHECK(data_is(8 * 512, 4096));
    data_fill(5, 4096);
    CHECK_EQ(request(T_OUT, 16, 4096, NULL), S_OK);
    CHECK(file_is(16 * 512, 5, 4096));
    /* a sector alone, and memory that is not aligned at all */
    data_fill(77, 512);
    CHECK_EQ(request(T_OUT, 17, 512, NULL), S_OK);
    CHECK(file_is(17 * 512, 77, 512));
    CHECK_EQ(request(T_IN, 15, 1536, NULL), S_OK);
    CHECK(data_is(15 * 512, 512));
    uint32_t id, len;
    header(T_IN, 17);
    vq_add(0,
           (struct vq_buf[]){
               {HEADER,   16,  0      },
               {DATA + 3, 512, F_WRITE},
               {STATUS,   1,   F_WRITE}
    },
           3, 0);
    unsigned before = vq_used_idx(0);
    vq_kick(0);
    settle((uint16_t)(before + 1));
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(g_read(STATUS, 1), S_OK);
    CHECK_EQ(g_read(DATA + 3, 1), pattern(77));
}

TEST(blk_serves_many_at_once_in_a_batch)
{
    blk_new("", ALL | F_EVENT);
    unsigned irqs = m->fake.changes[vd.pci->line.gsi];
    vq_add_reads(0, DATA, 32);
    vq_interrupt_at(0, 31); /* when all are there */
    vq_kick(0);
    settle(32);
    CHECK_EQ(vq_used_idx(0), 32);
    CHECK_EQ(m->fake.changes[vd.pci->line.gsi] - irqs, 1);
    for (unsigned i = 0; i < 32; i++)
        for (unsigned k = 0; k < 512; k++)
            CHECK_EQ(g_read(DATA + 0x800 * i + 0x200 + k, 1), pattern(i * 512 + k));
}

TEST(blk_has_a_queue_for_each_vcpu)
{
    file_new(SECTORS);
    vdev_prepare();
    m->board.cpus = 4;
    work = m->board.work = work_new(m->board.loop, 2);
    char options[100];
    snprintf(options, sizeof options, "file=%s", path);
    vdev_add(&blk_class, options);
    unlink(path);
    CHECK(vd_features() & F_BIT(F_MQ));
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 34, 2), 4);
    vdev_start(ALL | F_BIT(F_MQ));
    for (unsigned q = 0; q < 4; q++) {
        header(T_IN, q);
        vq_add(q,
               (struct vq_buf[]){
                   {HEADER, 16,  0      },
                   {DATA,   512, F_WRITE},
                   {STATUS, 1,   F_WRITE}
        },
               3, 0);
        vq_kick(q);
        CHECK(VD_UNTIL(vq_used_idx(q)));
        CHECK_EQ(g_read(STATUS, 1), S_OK);
        CHECK(data_is(q * 512, 512));
    }
}

/* --- section B */

/* What Linux's driver reads for the features that are offered (virtblk_probe()): --lint finds nothing in it. */
TEST(blk_configuration_has_all_that_its_features_promise)
{
    static const uint8_t fields[][2] = {
        {0,  8}, /* capacity */
        {12, 4}, /* seg_max */
        {20, 4}, /* blk_size */
        {24, 1}, /* physical_block_exp, alignment_offset, min_io_size, opt_io_size */
        {25, 1},
        {26, 2},
        {28, 4},
        {34, 2}, /* num_queues */
        {36, 4}, /* discard, write zeroes */
        {40, 4},
        {44, 4},
        {48, 4},
        {52, 4},
        {56, 1},
    };
    struct device *dev = blk_new("queues=2", F_VERSION_1);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        g_read(vd.cap[CAP_DEVICE] + fields[i][0], fields[i][1]);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 25, 1), 0);
    for (unsigned fault = 0; fault < REG_FAULTS; fault++)
        CHECK_EQ(dev->refused[fault], 0);
}

TEST(B1_sectors_beyond_the_end)
{
    blk_new("", ALL);
    struct {
        uint64_t sector;
        uint32_t bytes;
    } bad[] = {
        {SECTORS,          512                },
        {SECTORS - 1,      1024               },
        {UINT64_MAX,       512                },
        {UINT64_MAX / 512, 512                },
        {UINT64_MAX - 1,   1024               },
        {1ull << 55,       512                },
        {(1ull << 55) + 1, 512                },
        {0,                (SECTORS + 1) * 512},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t len;
        CHECK_EQ(request(T_IN, bad[i].sector, bad[i].bytes, &len), S_IOERR);
        CHECK_EQ(len, 0);
        CHECK_EQ(request(T_OUT, bad[i].sector, bad[i].bytes, NULL), S_IOERR);
    }
    struct stat st;
    CHECK(fstat(file, &st) == 0 && st.st_size == SECTORS * 512);
    CHECK_EQ(request(T_IN, SECTORS - 1, 512, NULL), S_OK);
}

static void malformed(const struct vq_buf *bufs, unsigned n, unsigned want_status)
{
    uint32_t id, len;
    unsigned before = vq_used_idx(0);
    g_write(STATUS, S_NONE, 1);
    vq_add(0, bufs, n, 0);
    vq_kick(0);
    settle((uint16_t)(before + 1));
    CHECK(vq_used(0, &id, &len)); /* returned once, whatever it is */
    CHECK(!vq_used(0, &id, &len));
    CHECK_EQ(g_read(STATUS, 1), want_status);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
}
#define MALFORMED(want_, ...)                                                                                \
    malformed((struct vq_buf[]){__VA_ARGS__},                                                                \
              sizeof((struct vq_buf[]){__VA_ARGS__}) / sizeof(struct vq_buf), want_)

TEST(B2_requests_that_are_none)
{
    blk_new("", ALL);
    header(T_IN, 0);
    MALFORMED(S_NONE, {HEADER, 16, 0});                        /* head only */
    MALFORMED(S_NONE, {HEADER, 16, 0}, {DATA, 512, 0});        /* no status */
    MALFORMED(S_NONE, {HEADER, 16, 0}, {STATUS, 0, F_WRITE});  /* of no length */
    MALFORMED(S_IOERR, {HEADER, 15, 0}, {STATUS, 1, F_WRITE}); /* short header */
    MALFORMED(S_IOERR, {STATUS, 1, F_WRITE});                  /* no header */
    MALFORMED(S_NONE, {HEADER, 16, F_WRITE}, {DATA, 512, F_WRITE},
              {DATA + 512, 1, F_WRITE}); /* header is ours */
    header(T_IN, 0);
    MALFORMED(S_OK, {HEADER, 7, 0}, {HEADER + 7, 9, 0}, {DATA, 512, F_WRITE}, {STATUS, 1, F_WRITE});
    MALFORMED(S_IOERR, {HEADER, 16, 0}, {DATA, 511, F_WRITE}, {STATUS, 1, F_WRITE});
    MALFORMED(S_IOERR, {HEADER, 16, 0}, {DATA, 513, F_WRITE}, {STATUS, 1, F_WRITE});
    header(T_OUT, 0);
    MALFORMED(S_IOERR, {HEADER, 16, 0}, {DATA, 100, 0}, {STATUS, 1, F_WRITE});
    CHECK(file_is(0, 0, 512));
    /* a status on the last byte of RAM is as good as any */
    header(T_IN, 0);
    uint32_t id, len;
    unsigned before = vq_used_idx(0);
    vq_add(0,
           (struct vq_buf[]){
               {HEADER,        16,  0      },
               {DATA,          512, F_WRITE},
               {(1 << 20) - 1, 1,   F_WRITE}
    },
           3, 0);
    vq_kick(0);
    settle((uint16_t)(before + 1));
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(g_read((1 << 20) - 1, 1), S_OK);
    /* and one beyond it breaks the ring */
    vq_add(0,
           (struct vq_buf[]){
               {HEADER,  16,  0      },
               {DATA,    512, F_WRITE},
               {1 << 20, 1,   F_WRITE}
    },
           3, 0);
    vq_kick(0);
    CHECK(vd_status() & ST_NEEDS_RESET);
    vdev_start(ALL);
    CHECK_EQ(request(T_IN, 1, 512, NULL), S_OK);
}

TEST(B3_a_read_only_disk_and_odd_requests)
{
    blk_new("ro,serial=123456789012345678901234", ALL);
    CHECK(vd_features() & F_BIT(F_RO));
    CHECK(!(vd_features() & (F_BIT(F_DISCARD) | F_BIT(F_ZERO))));
    data_fill(1, 512);
    CHECK_EQ(request(T_OUT, 0, 512, NULL), S_IOERR);
    segment(0, 8, 0);
    CHECK_EQ(request(T_DISCARD, 0, 16, NULL), S_IOERR);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), S_IOERR);
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), S_OK);
    CHECK_EQ(request(T_IN, 0, 512, NULL), S_OK);
    CHECK(file_is(0, 0, 4096));
    for (uint32_t type = 0; type < 40; type++)
        if (type != T_IN && type != T_OUT && type != T_FLUSH && type != T_ID && type != T_DISCARD &&
            type != T_ZERO)
            CHECK_EQ(request(type, 0, 0, NULL), S_UNSUPP);
    uint32_t len;
    g_fill(DATA, 0x55, 64);
    CHECK_EQ(request(T_ID, 0, 1, &len), S_OK);
    CHECK_EQ(len, 2);
    CHECK_EQ(g_read(DATA, 2), 0x5531);
    CHECK_EQ(request(T_ID, 0, 4096, &len), S_OK);
    CHECK_EQ(g_read(DATA + 19, 1), '0');
    CHECK_EQ(g_read(DATA + 20, 1), 0x55);
    CHECK_EQ(len, 20);
}

TEST(B4_a_file_that_is_truncated_under_the_guest)
{
    for (threads = false;; threads = true) {
        blk_new("", ALL);
        CHECK(ftruncate(file, 100 * 512) == 0);
        uint32_t len;
        g_fill(DATA, 0x77, 4096);
        CHECK_EQ(request(T_IN, 150, 512, &len), S_IOERR);
        CHECK_EQ(len, 0);
        CHECK_EQ(g_read(DATA, 8), 0x7777777777777777);       /* nothing of anybody's */
        CHECK_EQ(request(T_IN, 98, 4 * 512, &len), S_IOERR); /* short */
        CHECK_EQ(request(T_IN, 99, 512, &len), S_OK);
        data_fill(0, 512);
        CHECK_EQ(request(T_OUT, 150, 512, NULL), S_OK); /* it grows again */
        CHECK_EQ(request(T_IN, 150, 512, NULL), S_OK);
        if (threads)
            break;
    }
    threads = false;
}

TEST(B5_reset_with_requests_in_flight)
{
    threads = true; /* they complete only when the loop runs */
    blk_new("", ALL);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 16; i++) {
            uint64_t at = DATA + 0x800 * i;
            g_write(at, i & 1 ? T_OUT : T_IN, 4);
            g_write(at + 8, i, 8);
            vq_add(0,
                   (struct vq_buf[]){
                       {at,         16,  0                  },
                       {at + 0x200, 512, i & 1 ? 0 : F_WRITE},
                       {at + 0x400, 1,   F_WRITE            }
            },
                   3, 3 * i);
        }
        c_write(C_SELECT, 0, 2);
        g_write(vd.cap[CAP_NOTIFY], 0, 2);
        for (unsigned i = 0; i < round % 5; i++)
            loop_step(m->board.loop);
        c_write(C_STATUS, 0, 1);
        bool waited = vd_status() != 0;
        c_write(C_STATUS, ST_ACK, 1); /* nobody listens before the reset is done */
        CHECK(VD_UNTIL(!waited || vd_status() == 0 || vd_status() == ST_ACK));
        while (work_pending(work))
            vd_run();
        /* all that was under way is in: what comes now is a new life */
        uint64_t before = g_read(DATA + 0x200, 8);
        vd_run();
        CHECK_EQ(g_read(DATA + 0x200, 8), before);
        vdev_start(ALL);
        CHECK_EQ(vq_used_idx(0), 0);
        CHECK_EQ(request(T_FLUSH, 0, 0, NULL), S_OK);
        vdev_start(ALL);
    }
    CHECK(work_free(work, 60000000000));
    threads = false;
}

TEST(B6_a_disk_is_raw_whatever_it_holds)
{
    file_new(SECTORS);
    static const uint8_t qcow2[] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 11};
    CHECK(pwrite(file, qcow2, sizeof qcow2, 0) == sizeof qcow2);
    CHECK(pwrite(file, "/etc/passwd", 11, 512) == 11);
    blk_new_on(path, "", ALL);
    unlink(path);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 8), SECTORS);
    CHECK_EQ(request(T_IN, 0, 1024, NULL), S_OK);
    CHECK_EQ(g_read(DATA, 4), 0xfb494651);
    CHECK_EQ(g_read(DATA + 512, 4), 0x6374652f);
}

TEST(blk_refuses_what_is_no_disk)
{
    static const char *const bad[] = {"file=/nowhere/disk", "file=/tmp", "file=/dev/null", "ro", ""};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        vdev_prepare();
        CHECK(!device_new(&m->board, &blk_class, NULL, bad[i], m->err, sizeof m->err));
        CHECK(strlen(m->err) > 10);
    }
    /* two writers of one file would ruin it */
    file_new(8);
    blk_new_on(path, "", 0);
    char options[100];
    snprintf(options, sizeof options, "file=%s,ro", path);
    CHECK(!device_new(&m->board, &blk_class, NULL, options, m->err, sizeof m->err));
    CHECK(strstr(m->err, "another"));
    unlink(path);
}
