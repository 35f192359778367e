// SPDX-License-Identifier: MIT
/* virtio-balloon against virtio 1.2, 5.5: lists of pages, reports, statistics; that only memory goes which may; and what a
 * driver may do wrong (section V of the bad inputs). */
#include "virtio/balloon.h"
#include "mem/ram.h"
#include "virtio_board.h"

#include <sys/mman.h>

enum {
    F_STATS = 1,
    F_OOM = 2,
    F_REPORT = 5,

    INFLATE = 0,
    DEFLATE = 1,
    STATS = 2,
    REPORT_LINUX = 3, /* counts the queues in use */
    REPORT = 4,

    LIST = VQ_BUFFERS,
    PAGES = VQ_BUFFERS + 0x10000, /* what the tests give away */
};
#define ALL (F_VERSION_1 | F_BIT(F_STATS) | F_BIT(F_OOM) | F_BIT(F_REPORT))

static struct device *balloon(void)
{
    struct device *dev = vdev_new(&balloon_class, NULL);
    vdev_start(ALL);
    return dev;
}

static bool resident(uint64_t gpa)
{
    unsigned char there = 0;
    void *host = ram_host(m->ram, gpa, 4096);
    CHECK(host && mincore(host, 4096, &there) == 0);
    return there & 1;
}

static void list(unsigned queue, const uint32_t *pages, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        g_write(LIST + 4 * i, pages[i], 4);
    vq_add(queue,
           (struct vq_buf[]){
               {LIST, 4 * n, 0}
    },
           1, 0);
    vq_kick(queue);
    uint32_t id, len;
    CHECK(vq_used(queue, &id, &len) && id == 0 && len == 0);
}

static struct balloon_state state(struct device *dev)
{
    struct balloon_state s;
    virtio_balloon_state(dev, &s);
    return s;
}

TEST(balloon_asks_and_is_told)
{
    struct device *dev = balloon();
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10451af4);
    CHECK_EQ(vd_features() & 0x3f, F_BIT(F_STATS) | F_BIT(F_OOM) | F_BIT(F_REPORT));
    virtio_balloon_set(dev, 16 << 20);
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1) & 2, 2);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 4), 4096);
    g_write(vd.cap[CAP_DEVICE] + 4, 1234, 4);
    g_write(vd.cap[CAP_DEVICE], 99, 4); /* read-only */
    CHECK_EQ(state(dev).wanted, 16 << 20);
    CHECK_EQ(state(dev).actual, 1234ull << 12);
    CHECK(state(dev).running);
    c_write(C_STATUS, 0, 1);
    CHECK_EQ(state(dev).actual, 0);
    CHECK_EQ(state(dev).wanted, 16 << 20);
}

TEST(balloon_pages_go_and_come_back_as_zeros)
{
    struct device *dev = balloon();
    enum {
        FIRST = PAGES >> 12
    };
    for (unsigned i = 0; i < 8; i++)
        g_fill(PAGES + i * 4096ull, 0x55, 16);
    CHECK(resident(PAGES) && resident(PAGES + 7 * 4096));
    list(INFLATE, (uint32_t[]){FIRST + 1, FIRST + 2, FIRST + 6, FIRST + 5, FIRST + 4}, 5);
    static const bool gone[] = {false, true, true, false, true, true, true, false};
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(resident(PAGES + i * 4096), !gone[i]);
        CHECK_EQ(g_read(PAGES + i * 4096, 4), gone[i] ? 0 : 0x55555555);
    }
    CHECK_EQ(state(dev).freed, 5 * 4096);
    list(DEFLATE, (uint32_t[]){FIRST + 1, FIRST + 2}, 2);
    g_write(PAGES + 4096, 7, 4);
    CHECK_EQ(g_read(PAGES + 4096, 4), 7);
}

TEST(balloon_reports_on_the_queue_of_the_specification_and_of_linux)
{
    struct device *dev = balloon();
    static const unsigned queues[] = {REPORT, REPORT_LINUX};
    for (unsigned i = 0; i < 2; i++) {
        uint32_t id, len;
        g_fill(PAGES, 0x55, 4096);
        g_fill(PAGES + 4096, 0x55, 4096);
        g_fill(PAGES + 3 * 4096, 0x55, 4096);
        g_fill(PAGES + 4 * 4096, 0x55, 4096);
        vq_add(queues[i],
               (struct vq_buf[]){
                   {PAGES,                8192, F_WRITE},
                   {PAGES + 3 * 4096 + 8, 8192, F_WRITE}  /* no whole page but one */
        },
               2, 4);
        vq_kick(queues[i]);
        CHECK(vq_used(queues[i], &id, &len) && id == 4 && len == 0);
        CHECK(!resident(PAGES) && !resident(PAGES + 4096) && resident(PAGES + 3 * 4096));
        CHECK_EQ(g_read(PAGES + 3 * 4096, 4), 0x55555555);
        CHECK_EQ(g_read(PAGES + 4 * 4096, 4), 0);
    }
    CHECK_EQ(state(dev).reported, 6 * 4096);
}

TEST(balloon_reports_are_not_wanted)
{
    vdev_new(&balloon_class, "noreporting");
    CHECK_EQ(vd_features() & F_BIT(F_REPORT), 0);
    CHECK(device_new(&m->board, &balloon_class, "second", NULL, m->err, sizeof m->err) == NULL);
}

/* --- statistics */

static void stats_buffer(uint16_t tag, uint64_t value)
{
    g_write(LIST, tag, 2);
    g_write(LIST + 2, value, 8);
    g_write(LIST + 10, 5, 2); /* total */
    g_write(LIST + 12, 1 << 20, 8);
    vq_add(STATS,
           (struct vq_buf[]){
               {LIST, 20, 0}
    },
           1, 0);
    vq_kick(STATS);
}
static const char *stats_text(struct device *dev)
{
    static char text[1024];
    memset(text, 0, sizeof text);
    FILE *f = fmemopen(text, sizeof text - 1, "w");
    virtio_balloon_print(dev, f);
    fclose(f);
    return text;
}

TEST(balloon_statistics_when_somebody_asks)
{
    uint64_t age;
    uint32_t id, len;
    struct device *dev = balloon();
    vd_now_ns = 5000000000;
    stats_buffer(4, 111 << 10);
    CHECK(!vq_used(STATS, &id, &len)); /* kept, to ask with */
    vd_now_ns += 3000000000;
    CHECK(!virtio_balloon_stats(dev, &age));
    CHECK(vq_used(STATS, &id, &len) && len == 0);
    CHECK(!virtio_balloon_stats(dev, &age));
    CHECK(!vq_used(STATS, &id, &len)); /* asked once */
    vd_now_ns += 1000000;
    CHECK(vq_wants_kick(STATS, vd.q[STATS].avail_idx));
    stats_buffer(4, 222 << 10);
    CHECK(virtio_balloon_stats(dev, &age));
    CHECK_EQ(age, 0);
    CHECK(strstr(stats_text(dev), "free                 222 KiB\n"));
    CHECK(strstr(stats_text(dev), "total                1024 KiB\n"));
    CHECK(loop_next(m->board.loop) == LOOP_NEVER); /* by no timer */
    /* a guest that does not answer */
    vd_now_ns += 2000000000;
    CHECK(!virtio_balloon_stats(dev, &age));
    vd_now_ns += 1000000000;
    CHECK(virtio_balloon_stats(dev, &age));
    CHECK_EQ(age, 3000000000);
    c_write(C_STATUS, 0, 1);
    CHECK(virtio_balloon_stats(dev, &age) && age == UINT64_MAX);
}

TEST(V14_balloon_statistics_of_no_sense)
{
    struct device *dev = balloon();
    uint64_t age;
    vd_now_ns = 5000000000;
    stats_buffer(0xffff, UINT64_MAX); /* an unknown one */
    CHECK_STR(stats_text(dev), "         total                1024 KiB\n");
    vd_now_ns += 3000000000;
    (void)!virtio_balloon_stats(dev, &age);
    for (unsigned i = 0; i < 0x4000; i += 8)
        g_write(PAGES + i, 0x0004000400040004, 8);
    vq_add(
        STATS,
        (struct vq_buf[]){
            {PAGES,     0x3fff, 0      },
            {PAGES,     1,      0      },
            {PAGES + 8, 100,    F_WRITE}  /* and one of the wrong direction */
    },
        3, 8);
    vq_kick(STATS);
    CHECK(virtio_balloon_stats(dev, &age));
    CHECK(strstr(stats_text(dev), "free"));
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
}

/* --- what a driver may do wrong */

TEST(V3_balloon_pages_that_are_no_ram)
{
    struct device *dev = balloon();
    g_fill(PAGES, 0x55, 16);
    uint64_t bar = vd.cap[CAP_COMMON] >> 12;
    list(INFLATE,
         (uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX - 1, 0x100, 0xff, 0xfee00, (uint32_t)bar, 0xc0000,
                      PAGES >> 12, 0x80000000},
         10);
    CHECK_EQ(state(dev).freed, 2 * 4096); /* the last page of RAM at 1 MiB, and ours */
    CHECK(!resident(PAGES));
    CHECK_EQ(dev->drops[0], 8);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
}

TEST(P11_balloon_frees_nothing_with_bus_master_off)
{
    struct device *dev = balloon();
    g_fill(PAGES, 0x55, 16);
    g_write(LIST, PAGES >> 12, 4);
    vq_add(INFLATE,
           (struct vq_buf[]){
               {LIST, 4, 0}
    },
           1, 0);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    vq_kick(INFLATE);
    CHECK_EQ(state(dev).freed, 0);
    CHECK(resident(PAGES));
}

TEST(V4_balloon_lists_of_odd_lengths)
{
    static const uint32_t lengths[] = {0, 1, 3, 5, 4095};
    struct device *dev = balloon();
    for (unsigned i = 0; i < 5; i++) {
        uint32_t id, len;
        g_write(LIST, PAGES >> 12, 4);
        vq_add(INFLATE,
               (struct vq_buf[]){
                   {LIST, lengths[i], 0}
        },
               1, i);
        vq_kick(INFLATE);
        CHECK(vq_used(INFLATE, &id, &len) && id == i);
        vq_add(INFLATE,
               (struct vq_buf[]){
                   {LIST, 4, F_WRITE}
        },
               1, 5 + i); /* the wrong direction */
        vq_kick(INFLATE);
        CHECK(vq_used(INFLATE, &id, &len) && id == 5 + i && len == 0);
    }
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
    CHECK(state(dev).running);
}

/* V5: the same list of a million pages 64 times over: in turns, and to its end. */
TEST(V5_balloon_huge_lists_take_bounded_time)
{
    struct vq_buf bufs[64];
    uint32_t id, len;
    struct device *dev = balloon();
    for (uint64_t at = PAGES; at < PAGES + 0x10000; at += 4)
        g_write(at, 0xffffff00, 4); /* no RAM: costs most */
    for (unsigned i = 0; i < 64; i++)
        bufs[i] = (struct vq_buf){PAGES, 0x10000, 0};
    vq_add(INFLATE, bufs, 64, 0);
    c_write(C_SELECT, INFLATE, 2);
    g_write(vd.cap[CAP_NOTIFY] + c_read(C_NOFF, 2) * vd.multiplier, INFLATE, 2);
    loop_step(m->board.loop);
    CHECK(dev->drops[0] > 0 && dev->drops[0] <= 2 * 4096);
    CHECK(!vq_used(INFLATE, &id, &len));
    vd_run();
    CHECK_EQ(dev->drops[0], 64 * 0x4000);
    CHECK(vq_used(INFLATE, &id, &len));
    /* a reset in the middle forgets how far it was */
    vq_add(INFLATE, bufs, 64, 0);
    g_write(vd.cap[CAP_NOTIFY] + c_read(C_NOFF, 2) * vd.multiplier, INFLATE, 2);
    loop_step(m->board.loop);
    vdev_start(ALL);
    g_fill(PAGES, 0x55, 16);
    list(INFLATE, (uint32_t[]){PAGES >> 12}, 1);
    CHECK_EQ(state(dev).freed, 4096);
}

TEST(V15_balloon_random_drivers)
{
    uint64_t seed = 20260102, age;
    struct device *dev = vdev_new(&balloon_class, NULL);
    for (unsigned round = 0; round < 60; round++) {
        vdev_start_sized(round % 4 ? ALL : F_VERSION_1, 16);
        for (unsigned step = 0; step < 60; step++) {
            static const uint32_t lengths[] = {0, 1, 4, 10, 20, 4096, 1 << 20, 0xffffffff};
            uint64_t r = test_rand(&seed);
            unsigned q = (unsigned)(r % 5), head = (unsigned)(r >> 8) % 18;
            g_write(LIST + 4 * (r >> 16 & 63), r >> 20 & 1 ? r >> 32 : 0xa0 + (r >> 32) % 64, 4);
            vq_desc(q, head % 16, r & 1 << 13 ? LIST : 0xa0000 + (r >> 20) % 0x50000, lengths[(r >> 40) % 8],
                    (unsigned)(r >> 44) % 4, (unsigned)(r >> 48) % 17);
            vq_avail(q, head % 17);
            vq_kick(q);
            if (r >> 60 == 1)
                (void)!virtio_balloon_stats(dev, &age);
            if (r >> 60 == 2)
                virtio_balloon_set(dev, r >> 10);
            if (r >> 60 == 3)
                g_write(vd.cap[CAP_DEVICE] + (r >> 10) % 20, r, 1 << (r >> 50) % 4);
            vd_now_ns += r >> 40;
        }
    }
    vdev_start(ALL);
    g_fill(PAGES, 0x55, 16);
    list(INFLATE, (uint32_t[]){PAGES >> 12}, 1);
    CHECK_EQ(g_read(PAGES, 4), 0);
}

/* --- memory of other kinds */

TEST(ram_discard_takes_whole_pages_and_never_beyond)
{
    char err[128];
    static const enum ram_kind kinds[] = {RAM_ANON, RAM_MEMFD};
    for (unsigned i = 0; i < 2; i++) {
        struct ram *ram = ram_new(&(struct ram_opts){.size = 1 << 20, .kind = kinds[i]}, err, sizeof err);
        CHECK(ram);
        memset(ram->host, 1, ram->size);
        CHECK_EQ(ram_discard(ram->host + 100, 4096), 0); /* parts of two */
        CHECK_EQ(ram_discard(ram->host + 100, 2 * 4096), 4096);
        CHECK_EQ(ram->host[4095], 1);
        CHECK_EQ(ram->host[4096], 0);
        CHECK_EQ(ram->host[8192], 1);
        CHECK_EQ(ram_discard(ram->host + ram->size - 4096, 8192), 0); /* past the end */
        CHECK_EQ(ram->host[ram->size - 1], 1);
        CHECK_EQ(ram_discard(ram->host, UINT64_MAX), 0);
        CHECK_EQ(ram_discard(&err, sizeof err), 0); /* nobody's RAM */
        CHECK_EQ(ram_discard(ram->host, 0), 0);
        ram_free(ram);
    }
}
