// SPDX-License-Identifier: MIT
/* Accesses: which region gets one, in what sizes, under which lock; DMA; bus-master spaces. */
#include "test.h"

#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/ram.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* An I/O region that writes down what it is asked. */
struct probe {
    struct region region;
    struct lock lock;
    uint64_t offset, value, answer;
    unsigned size, reads, writes;
    bool locked;
};

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    struct probe *p = opaque;
    p->offset = offset;
    p->size = size;
    p->reads++;
    p->locked = pthread_mutex_trylock(&p->lock.m) != 0;
    return p->answer + (size == 1 ? offset : 0);
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct probe *p = opaque;
    p->offset = offset;
    p->size = size;
    p->value = p->writes++ ? p->value << 8 | value : value;
    p->locked = pthread_mutex_trylock(&p->lock.m) != 0;
}

static const struct region_ops all_sizes = {probe_read, probe_write, 1 | 2 | 4 | 8, 0};
static const struct region_ops dwords = {probe_read, probe_write, 4, 0};
static const struct region_ops isa = {probe_read, probe_write, 1, REGION_SPLIT};
static const struct region_ops nothing = {NULL, NULL, 1 | 2 | 4 | 8, 0};

static void probe_init(struct probe *p, const struct region_ops *ops, uint64_t size)
{
    memset(p, 0, sizeof *p);
    lock_init(&p->lock, LOCK_DEVICE, "probe");
    region_init_io(&p->region, "probe", size, ops, p, &p->lock, NULL);
}

struct board {
    struct region root;
    struct space memory;
    struct ram *ram;
};

static void board_init(struct board *b, uint64_t ram_size)
{
    char err[256] = "";
    memset(b, 0, sizeof *b);
    region_init_container(&b->root, "system", REGION_ALL);
    space_init(&b->memory, &b->root, "memory");
    if (ram_size) {
        b->ram = ram_new(&(struct ram_opts){.size = ram_size}, err, sizeof err);
        if (!b->ram)
            printf("%s\n", err);
        else
            ram_map(b->ram, &b->root);
    }
}

static void board_free(struct board *b)
{
    space_free(&b->memory);
    if (b->ram)
        ram_free(b->ram);
    region_free(&b->root);
}

TEST(access_reaches_the_op_with_the_lock_held)
{
    struct board b;
    struct probe p;
    uint64_t v = 0;
    board_init(&b, 0);
    probe_init(&p, &all_sizes, 0x1000);
    region_add(&b.root, &p.region, 0xfe000000, 0);
    static const unsigned sizes[] = {1, 2, 4, 8};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t mask = sizes[i] == 8 ? ~0ull : (1ull << sizes[i] * 8) - 1;
        p.writes = 0;
        p.answer = 0x1122334455667788;
        CHECK(space_write(&b.memory, 0xfe000010, sizes[i], &(uint64_t){0xfedcba9876543210}));
        CHECK_EQ(p.value, 0xfedcba9876543210 & mask);
        CHECK_EQ(p.offset, 0x10);
        CHECK_EQ(p.size, sizes[i]);
        CHECK(p.locked);
        v = 0;
        CHECK(space_read(&b.memory, 0xfe000020, sizes[i], &v));
        CHECK_EQ(v, (0x1122334455667788 + (sizes[i] == 1 ? 0x20 : 0)) & mask);
        CHECK(p.locked);
    }
    CHECK(pthread_mutex_trylock(&p.lock.m) == 0); /* and dropped afterwards */
    pthread_mutex_unlock(&p.lock.m);
    region_free(&p.region);
    board_free(&b);
}

TEST(access_of_a_size_not_allowed_is_ones_and_counted)
{
    struct board b;
    struct probe p;
    board_init(&b, 0);
    probe_init(&p, &dwords, 0x1000);
    region_add(&b.root, &p.region, 0x1000, 0);
    for (unsigned len = 1; len <= 8; len++) {
        uint8_t data[9] = {0};
        uint64_t refused = p.region.refused;
        bool fine = len == 4;
        CHECK(space_read(&b.memory, 0x1000, len, data) == fine);
        CHECK(space_write(&b.memory, 0x1000, len, data) == fine);
        CHECK_EQ(p.region.refused, refused + (fine ? 0 : 2));
        for (unsigned i = 0; i < len && !fine; i++)
            CHECK_EQ(data[i], 0xff);
        CHECK_EQ(data[len], 0); /* and not a byte further */
    }
    CHECK_EQ(p.reads, 1);
    CHECK_EQ(p.writes, 1);
    region_free(&p.region);
    board_free(&b);
}

TEST(access_to_nothing_is_ones_and_counted)
{
    struct board b;
    uint64_t v = 0;
    board_init(&b, 0);
    CHECK(!space_read(&b.memory, 0, 4, &v));
    CHECK_EQ(v, 0xffffffff);
    CHECK(!space_write(&b.memory, UINT64_MAX, 8, &v));
    CHECK_EQ(b.memory.nowhere, 2);
    board_free(&b);
}

TEST(access_without_ops_is_ones)
{
    struct board b;
    struct region r;
    uint64_t v = 0;
    board_init(&b, 0);
    region_init_io(&r, "hole", 0x10, &nothing, NULL, NULL, NULL);
    region_add(&b.root, &r, 0, 0);
    CHECK(space_read(&b.memory, 4, 2, &v));
    CHECK_EQ(v, 0xffff);
    CHECK(space_write(&b.memory, 4, 2, &v));
    region_free(&r);
    board_free(&b);
}

TEST(access_split_makes_bytes)
{
    struct board b;
    struct probe p;
    board_init(&b, 0);
    probe_init(&p, &isa, 2);
    region_add(&b.root, &p.region, 0x70, 0);
    CHECK(space_write(&b.memory, 0x70, 2, &(uint16_t){0x2211}));
    CHECK_EQ(p.writes, 2);
    CHECK_EQ(p.size, 1);
    CHECK_EQ(p.value, 0x1122); /* the low byte first */
    p.answer = 0x40;
    uint32_t v = 0;
    CHECK(space_read(&b.memory, 0x71, 4, &v));
    CHECK_EQ(p.reads, 1); /* bytes past the end are nobody's */
    CHECK_EQ(v, 0xffffff41);
    CHECK_EQ(p.region.refused, 0);
    region_free(&p.region);
    board_free(&b);
}

TEST(access_first_byte_selects_the_region)
{
    /* outl 0xCF8 is whole although 0xCF9 lies over it */
    struct board b;
    struct probe address, reset;
    board_init(&b, 0);
    probe_init(&address, &all_sizes, 4);
    probe_init(&reset, &all_sizes, 1);
    region_add(&b.root, &address.region, 0xcf8, 0);
    region_add(&b.root, &reset.region, 0xcf9, 1);
    CHECK(space_write(&b.memory, 0xcf8, 4, &(uint32_t){0x80000810}));
    CHECK_EQ(address.value, 0x80000810);
    CHECK_EQ(reset.writes, 0);
    CHECK(space_write(&b.memory, 0xcf9, 1, &(uint8_t){6}));
    CHECK_EQ(reset.value, 6);
    CHECK_EQ(address.writes, 1);
    CHECK(space_write(&b.memory, 0xcfa, 1, &(uint8_t){7}));
    CHECK_EQ(address.offset, 2);
    region_free(&address.region);
    region_free(&reset.region);
    board_free(&b);
}

TEST(P4_access_over_the_end_and_sums_that_wrap)
{
    struct board b;
    struct probe p, top, empty;
    uint64_t v = 0;
    board_init(&b, 0);
    probe_init(&p, &all_sizes, 0x10);
    probe_init(&top, &all_sizes, 0x1000); /* 0x10 bytes of it fit below 2^64 */
    probe_init(&empty, &all_sizes, 0);
    region_add(&b.root, &p.region, 0x1000, 0);
    region_add(&b.root, &top.region, UINT64_MAX - 0xf, 0);
    region_add(&b.root, &empty.region, 0x1004, 5);
    const struct view *view = atomic_load(&b.memory.view);
    CHECK_EQ(view->n, 2); /* size 0 shows nothing */
    CHECK_EQ(view->ranges[1].last, UINT64_MAX);

    CHECK(space_write(&b.memory, 0x100f, 8, &v)); /* whole, to the op, with offset + size past the end */
    CHECK_EQ(p.offset, 0xf);
    CHECK_EQ(p.size, 8);
    CHECK_EQ(p.writes, 1);
    CHECK(!space_write(&b.memory, 0x0fff, 8, &v)); /* begins before it: nobody's */
    CHECK(!space_write(&b.memory, 0x1010, 1, &v));
    CHECK_EQ(p.writes, 1);
    CHECK(space_read(&b.memory, UINT64_MAX, 8, &v)); /* no wrap to address 0 */
    CHECK_EQ(top.offset, 0xf);

    /* string I/O over the end: each item is an access of its own */
    for (unsigned i = 0; i < 32; i++)
        CHECK(space_write(&b.memory, 0x1000 + i, 1, &v) == (i < 16));
    CHECK_EQ(empty.reads + empty.writes, 0);
    region_free(&p.region);
    region_free(&top.region);
    region_free(&empty.region);
    board_free(&b);
}

TEST(P4_ram_access_over_the_end_reads_ones)
{
    struct board b;
    uint8_t data[16];
    board_init(&b, 0x1000);
    CHECK(b.ram);
    memset(b.ram->host, 0x11, 0x1000);
    CHECK(space_read(&b.memory, 0xffc, 8, data));
    CHECK(!memcmp(data, "\x11\x11\x11\x11\xff\xff\xff\xff", 8));
    memset(data, 0x22, sizeof data);
    CHECK(space_write(&b.memory, 0xffe, 16, data)); /* would hit the guard page */
    CHECK_EQ(b.ram->host[0xfff], 0x22);
    CHECK_EQ(b.ram->host[0xffd], 0x11);
    board_free(&b);
}

TEST(access_ram_and_rom)
{
    struct board b;
    struct region rom, shadow;
    uint32_t v = 0;
    board_init(&b, 0x10000);
    CHECK(b.ram);
    region_init_rom(&rom, "rom", b.ram, 0x1000, 0x1000);
    region_add(&b.root, &rom, 0x100000, 0);
    region_init_alias(&shadow, "shadow", &b.ram->region, 0x2000, 0x1000);
    region_add(&b.root, &shadow, 0x200000, 0);
    region_set_readonly(&shadow, true);

    CHECK(space_write(&b.memory, 0x1004, 4, &(uint32_t){0xdeadbeef}));
    CHECK(space_read(&b.memory, 0x100004, 4, &v)); /* the same byte through the ROM */
    CHECK_EQ(v, 0xdeadbeef);
    CHECK(!space_write(&b.memory, 0x100004, 4, &(uint32_t){0}));
    CHECK(space_read(&b.memory, 0x1004, 4, &v));
    CHECK_EQ(v, 0xdeadbeef);
    CHECK_EQ(rom.refused, 1);
    CHECK(!space_write(&b.memory, 0x200000, 1, &v)); /* read-only through the alias, */
    CHECK(space_write(&b.memory, 0x2000, 1, &v));    /* writable beside it */
    region_free(&rom);
    region_free(&shadow);
    board_free(&b);
}

TEST(access_slow_way_signals_the_ioeventfd)
{
    struct board b;
    struct probe p;
    uint64_t count;
    int any = eventfd(0, EFD_NONBLOCK), two = eventfd(0, EFD_NONBLOCK);
    board_init(&b, 0);
    probe_init(&p, &all_sizes, 0x1000);
    CHECK(region_ioeventfd_add(&p.region, 0x10, 2, false, 0, any));
    CHECK(!region_ioeventfd_add(&p.region, 0x10, 2, false, 0, two)); /* twice the same */
    CHECK(region_ioeventfd_add(&p.region, 0x20, 2, true, 7, two));
    CHECK(!region_ioeventfd_add(&p.region, 0x20, 3, false, 0, two));
    region_add(&b.root, &p.region, 0x4000, 0);

    CHECK(space_write(&b.memory, 0x4010, 2, &(uint16_t){5}));
    CHECK(read(any, &count, 8) == 8 && count == 1);
    CHECK_EQ(p.writes, 0);
    CHECK(space_write(&b.memory, 0x4010, 4, &(uint32_t){5})); /* another size */
    CHECK_EQ(p.writes, 1);
    CHECK(space_write(&b.memory, 0x4020, 2, &(uint16_t){6})); /* another value */
    CHECK_EQ(p.writes, 2);
    CHECK(space_write(&b.memory, 0x4020, 2, &(uint16_t){7}));
    CHECK_EQ(p.writes, 2);
    CHECK(read(two, &count, 8) == 8 && count == 1);

    region_move(&p.region, 0x8000); /* it follows the map */
    CHECK(space_write(&b.memory, 0x8020, 2, &(uint16_t){7}));
    CHECK(read(two, &count, 8) == 8 && count == 1);
    CHECK(!space_write(&b.memory, 0x4020, 2, &(uint16_t){7}));
    region_plain(&p.region, true); /* --trace */
    CHECK(space_write(&b.memory, 0x8020, 2, &(uint16_t){7}));
    CHECK_EQ(p.writes, 3);
    CHECK(read(two, &count, 8) < 0);
    region_plain(&p.region, false);
    region_ioeventfd_remove(&p.region, 0x20, 2, true, 7, two);
    CHECK(space_write(&b.memory, 0x8020, 2, &(uint16_t){7}));
    CHECK_EQ(p.writes, 4);
    close(any);
    close(two);
    region_free(&p.region);
    board_free(&b);
}

/* --- DMA */

TEST(dma_checks_everything)
{
    struct board b;
    struct space bm;
    struct probe p;
    struct region rom;
    uint8_t buf[64] = {1, 2, 3, 4};
    board_init(&b, 0x10000);
    CHECK(b.ram);
    space_init_bus_master(&bm, &b.memory, "dev0");
    probe_init(&p, &all_sizes, 0x1000);
    region_add(&b.root, &p.region, 0x8000, 1); /* over RAM */
    region_init_rom(&rom, "rom", b.ram, 0, 0x1000);
    region_add(&b.root, &rom, 0x100000, 0);

    CHECK(!dma_read(&bm, 0x1000, buf, 4)); /* bus mastering is off */
    CHECK(!dma_write(&bm, 0x1000, buf, 4));
    space_set_master(&bm, true);
    CHECK(dma_write(&bm, 0x1000, buf, 4));
    CHECK(!memcmp(b.ram->host + 0x1000, buf, 4));
    CHECK(dma_read(&bm, 0x1000, buf + 8, 4));
    CHECK(!memcmp(buf, buf + 8, 4));

    CHECK(!dma_write(&bm, 0x8000, buf, 4)); /* a device's registers */
    CHECK(!dma_read(&bm, 0x8ffc, buf, 4));
    CHECK(!dma_write(&bm, 0x7ffe, buf, 4));  /* ends in them */
    CHECK_EQ(b.ram->host[0x7ffe], 0);        /* nothing of it was written */
    CHECK(!dma_write(&bm, 0xfffe, buf, 4));  /* past the end */
    CHECK(!dma_write(&bm, 0x10000, buf, 1)); /* behind it */
    CHECK(!dma_write(&bm, UINT64_MAX - 1, buf, 4));
    CHECK(!dma_write(&bm, UINT64_MAX, buf, 2));
    CHECK(!dma_read(&bm, 0x1000, buf, SIZE_MAX)); /* wraps before a byte is copied */
    CHECK(dma_write(&bm, UINT64_MAX, buf, 0));    /* nothing, nowhere */
    CHECK(!dma_write(&bm, 0x100000, buf, 4));     /* ROM */
    CHECK(dma_read(&bm, 0x100000, buf, 4));
    CHECK_EQ(p.reads + p.writes, 0);

    region_move(&p.region, 0x200000); /* the view follows */
    CHECK(dma_write(&bm, 0x8000, buf, 4));
    space_set_master(&bm, false);
    CHECK(!dma_read(&bm, 0x1000, buf, 4));
    region_move(&p.region, 0x300000); /* a commit does not turn it on again */
    CHECK(!dma_read(&bm, 0x1000, buf, 4));
    space_free(&bm);
    region_free(&p.region);
    region_free(&rom);
    board_free(&b);
}

TEST(dma_over_several_ranges)
{
    struct board b;
    struct region piece[20], hole;
    struct iovec iov[32];
    static uint8_t buf[0x8000], back[0x8000];
    board_init(&b, 0x20000);
    CHECK(b.ram);
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)(i * 7 + i / 256);
    /* one page after the other, from the back of the block to the front: 8 pieces */
    for (unsigned i = 0; i < 8; i++) {
        region_init_alias(&piece[i], "piece", &b.ram->region, 0x10000 - (i + 1) * 0x1000, 0x1000);
        region_add(&b.root, &piece[i], 0x100000 + i * 0x1000, 0);
    }
    CHECK(dma_write(&b.memory, 0x100010, buf, 0x7fe0));
    CHECK(dma_read(&b.memory, 0x100010, back, 0x7fe0));
    CHECK(!memcmp(buf, back, 0x7fe0));
    CHECK(!memcmp(b.ram->host + 0xf010, buf, 0xff0)); /* the first page lies last */
    CHECK_EQ(dma_iov(&b.memory, 0x100010, 0x7fe0, true, iov, 32), 8);
    CHECK(iov[0].iov_base == b.ram->host + 0xf010 && iov[0].iov_len == 0xff0 && iov[7].iov_len == 0xff0);
    CHECK_EQ(dma_iov(&b.memory, 0x100010, 0x7fe0, true, iov, 7), (uint64_t)-1);
    CHECK_EQ(dma_iov(&b.memory, 0x100ff0, 0x20, true, iov, 2), 2);
    CHECK_EQ(dma_iov(&b.memory, 0x1000, 0x2000, true, iov, 1), 1);
    CHECK_EQ(dma_iov(&b.memory, 0x100000, 0x8001, false, iov, 32), (uint64_t)-1);
    CHECK_EQ(dma_iov(&b.memory, 0x1000, 0, true, iov, 0), 0);

    /* neighbours in the guest and in the host, from two regions: one piece */
    region_init_alias(&piece[8], "piece", &b.ram->region, 0x18000, 0x1000);
    region_init_ram(&piece[9], "piece", b.ram, 0x19000, 0x1000);
    region_add(&b.root, &piece[8], 0x200000, 0);
    region_add(&b.root, &piece[9], 0x201000, 0);
    CHECK_EQ(dma_iov(&b.memory, 0x200800, 0x1000, true, iov, 1), 1);

    region_init_io(&hole, "hole", 1, &nothing, NULL, NULL, NULL);
    region_add(&b.root, &hole, 0x103800, 1);
    memset(back, 0x5a, sizeof back);
    CHECK(!dma_write(&b.memory, 0x100010, back, 0x7fe0)); /* a hole of one byte, in the middle */
    CHECK(!memcmp(b.ram->host + 0xf010, buf, 0xff0));     /* nothing was written before it either */
    for (unsigned i = 0; i < 10; i++)
        region_free(&piece[i]);
    region_free(&hole);
    board_free(&b);
}

TEST(space_bus_master_shows_the_memory_space)
{
    struct board b;
    struct space bm;
    board_init(&b, 0x1000);
    CHECK(b.ram);
    space_init_bus_master(&bm, &b.memory, "dev0");
    CHECK_EQ(atomic_load(&bm.view)->n, 0);
    space_set_master(&bm, true);
    CHECK(atomic_load(&bm.view) == atomic_load(&b.memory.view));
    region_enable(&b.ram->low, false);
    CHECK(atomic_load(&bm.view) == atomic_load(&b.memory.view));
    CHECK_EQ(atomic_load(&bm.view)->n, 0);
    space_set_master(&bm, false);
    region_enable(&b.ram->low, true);
    CHECK_EQ(atomic_load(&bm.view)->n, 0);
    CHECK_EQ(atomic_load(&b.memory.view)->n, 1);
    space_free(&bm);
    board_free(&b);
}
