// SPDX-License-Identifier: MIT
/* ioeventfds and coalesced zones: what KVM is told of them as the map moves. */
#include "fake_board.h"

#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/ioevent.h"

#include <errno.h>

struct fake_io {
    struct {
        bool pio;
        uint64_t addr;
        unsigned size;
        int fd;
    } events[16];
    struct {
        bool pio;
        uint64_t addr, size;
    } zones[16];
    unsigned n_events, n_zones, errors, drains;
    int refuse; /* errno */
    /* the ring */
    struct space *space;
    uint64_t ring_addr;
    uint8_t ring[8];
    unsigned in_ring;
};

static int fake_event(void *ctx, bool pio, uint64_t addr, unsigned size, bool match, uint64_t value, int fd,
                      bool add)
{
    struct fake_io *f = ctx;
    (void)match;
    (void)value;
    if (add && f->refuse)
        return -f->refuse;
    for (unsigned i = 0; i < f->n_events; i++)
        if (f->events[i].pio == pio && f->events[i].addr == addr && f->events[i].size == size) {
            if (add) {
                f->errors++;
                return -EEXIST;
            }
            f->errors += f->events[i].fd != fd;
            f->events[i] = f->events[--f->n_events];
            return 0;
        }
    if (!add)
        return -ENOENT;
    f->events[f->n_events].pio = pio;
    f->events[f->n_events].addr = addr;
    f->events[f->n_events].size = size;
    f->events[f->n_events++].fd = fd;
    return 0;
}

static int fake_zone(void *ctx, bool pio, uint64_t addr, uint64_t size, bool add)
{
    struct fake_io *f = ctx;
    if (add) {
        f->zones[f->n_zones].pio = pio;
        f->zones[f->n_zones].addr = addr;
        f->zones[f->n_zones++].size = size;
        return 0;
    }
    for (unsigned i = 0; i < f->n_zones; i++)
        if (f->zones[i].pio == pio && f->zones[i].addr == addr && f->zones[i].size == size) {
            f->zones[i] = f->zones[--f->n_zones];
            return 0;
        }
    f->errors++;
    return -ENOENT;
}

static void fake_drain(void *ctx)
{
    struct fake_io *f = ctx;
    f->drains++;
    for (unsigned i = 0; i < f->in_ring; i++)
        space_write(f->space, f->ring_addr, 1, &f->ring[i]);
    f->in_ring = 0;
}

static const struct ioevents_ops fake_io_ops = {fake_event, fake_zone, fake_drain};

struct seen {
    uint8_t bytes[16];
    unsigned n;
};
static void see(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct seen *s = opaque;
    (void)offset;
    (void)size;
    s->bytes[s->n++] = (uint8_t)value;
}
static const struct region_ops seen_ops = {NULL, see, 1 | 2 | 4 | 8, 0};

TEST(ioevents_follow_the_map)
{
    struct region mem_root, io_root, bar, ports;
    struct space memory, io;
    struct seen seen = {0};
    struct fake_io f = {0};
    region_init_container(&mem_root, "system", REGION_ALL);
    region_init_container(&io_root, "io", 0x10000);
    region_init_io(&bar, "notify", 0x1000, &seen_ops, &seen, NULL, NULL);
    region_init_io(&ports, "ports", 0x20, &seen_ops, &seen, NULL, NULL);
    space_init(&memory, &mem_root, "memory");
    space_init(&io, &io_root, "I/O");
    CHECK(region_ioeventfd_add(&bar, 0, 2, false, 0, 100));
    CHECK(region_ioeventfd_add(&bar, 4, 2, false, 0, 101));
    CHECK(region_ioeventfd_add(&ports, 0x10, 0, false, 0, 102));
    region_add(&mem_root, &bar, 0xc0000000, 0);
    struct ioevents *e = ioevents_new(&memory, &io, &fake_io_ops, &f); /* late: is told what stands */
    CHECK_EQ(f.n_events, 2);
    region_add(&io_root, &ports, 0xc000, 0);
    CHECK_EQ(f.n_events, 3);
    CHECK(f.events[2].pio && f.events[2].addr == 0xc010 && f.events[2].size == 0);
    region_move(&bar, 0xd0000000);
    CHECK_EQ(f.n_events, 3);
    for (unsigned i = 0; i < f.n_events; i++)
        CHECK(f.events[i].pio || f.events[i].addr >> 28 == 0xd);
    struct region cover;
    region_init_io(&cover, "cover", 4, &seen_ops, &seen, NULL, NULL);
    region_add(&mem_root, &cover, 0xd0000004, 1); /* what is hidden has no ioeventfd */
    CHECK_EQ(f.n_events, 2);
    region_enable(&cover, false);
    CHECK_EQ(f.n_events, 3);
    region_plain(&bar, true);
    CHECK_EQ(f.n_events, 1);
    f.refuse = ENOSPC;
    log_set_level(LOG_LEVEL_ERROR);
    region_plain(&bar, false); /* refused: a warning, the slow way stays */
    log_set_level(LOG_LEVEL_WARNING);
    CHECK_EQ(f.n_events, 1);
    ioevents_free(e);
    CHECK_EQ(f.n_events, 0);
    CHECK_EQ(f.errors, 0);
    space_free(&memory);
    space_free(&io);
    region_free(&bar);
    region_free(&ports);
    region_free(&cover);
    region_free(&mem_root);
    region_free(&io_root);
}

TEST(coalesced_writes_reach_whom_they_were_meant_for)
{
    struct region mem_root, io_root, bar;
    struct space memory, io;
    struct seen seen = {0};
    struct fake_io f = {0};
    region_init_container(&mem_root, "system", REGION_ALL);
    region_init_container(&io_root, "io", 0x10000);
    region_init_io(&bar, "fifo", 0x1000, &seen_ops, &seen, NULL, NULL);
    space_init(&memory, &mem_root, "memory");
    space_init(&io, &io_root, "I/O");
    region_coalesce(&bar, 0x10, 8);
    struct ioevents *e = ioevents_new(&memory, &io, &fake_io_ops, &f);
    ioevents_drain();
    CHECK_EQ(f.drains, 0); /* no zones: nothing is asked */
    region_add(&mem_root, &bar, 0x10000, 0);
    CHECK_EQ(f.n_zones, 1);
    CHECK(!f.zones[0].pio && f.zones[0].addr == 0x10010 && f.zones[0].size == 8);
    f.space = &memory;
    f.ring_addr = 0x10010;
    memcpy(f.ring, "abc", 3);
    f.in_ring = 3;
    ioevents_drain();
    CHECK(seen.n == 3 && !memcmp(seen.bytes, "abc", 3));
    f.in_ring = 2;
    region_move(&bar, 0x20000); /* what was written before goes to the place that the region had */
    CHECK(seen.n == 5 && !memcmp(seen.bytes, "abcab", 5));
    CHECK_EQ(f.n_zones, 1);
    CHECK_EQ(f.zones[0].addr, 0x20010);
    f.ring_addr = 0x20010;
    f.in_ring = 1;
    region_remove(&bar);
    CHECK_EQ(seen.n, 6);
    CHECK_EQ(f.n_zones, 0);
    CHECK_EQ(ioevents_zones, 0);
    ioevents_free(e);
    CHECK_EQ(f.errors, 0);
    space_free(&memory);
    space_free(&io);
    region_free(&bar);
    region_free(&mem_root);
    region_free(&io_root);
}

TEST(coalesced_zones_that_are_equal_are_one)
{
    struct region mem_root, io_root, bar;
    struct space memory, io;
    struct seen seen = {0};
    struct fake_io f = {0};
    region_init_container(&mem_root, "system", REGION_ALL);
    region_init_container(&io_root, "io", 0x10000);
    region_init_io(&bar, "fifo", 0x20, &seen_ops, &seen, NULL, NULL);
    space_init(&memory, &mem_root, "memory");
    space_init(&io, &io_root, "I/O");
    struct ioevents *e = ioevents_new(&memory, &io, &fake_io_ops, &f);
    region_add(&mem_root, &bar, 0x10000, 0);
    region_coalesce(&bar, 0x10, 0x10);
    region_coalesce(&bar, 0x10, 0x100); /* the same, once it is cut at the region's end */
    region_coalesce(&bar, 0x10, 0x10);
    CHECK_EQ(f.n_zones, 1);
    CHECK_EQ(ioevents_zones, 1);
    region_remove(&bar);
    CHECK_EQ(f.n_zones, 0);
    CHECK_EQ(ioevents_zones, 0);
    ioevents_free(e);
    CHECK_EQ(f.errors, 0);
    space_free(&memory);
    space_free(&io);
    region_free(&bar);
    region_free(&mem_root);
    region_free(&io_root);
}

/* The loop's work on a device finds what the guest wrote before. */

struct fifo {
    struct device dev;
    struct region region;
    struct device_timer timer;
    struct device_task task;
    unsigned written, at_timer, at_task;
};

static void fifo_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    (void)offset;
    (void)value;
    (void)size;
    ((struct fifo *)opaque)->written++;
}
static const struct region_ops fifo_ops = {NULL, fifo_write, 1, 0};

static void fifo_timer(struct device *dev)
{
    struct fifo *f = (struct fifo *)dev;
    f->at_timer = f->written;
}

static void fifo_task(struct device *dev)
{
    struct fifo *f = (struct fifo *)dev;
    f->at_task = f->written;
}

static const char *fifo_init(struct device *dev, struct board *board)
{
    struct fifo *f = (struct fifo *)dev;
    region_init_io(&f->region, "fifo", 0x100, &fifo_ops, f, &dev->lock, dev);
    region_coalesce(&f->region, 0, 0x100);
    region_add(board->mem_root, &f->region, 0x1000, 0);
    device_timer_init(dev, &f->timer, fifo_timer);
    device_task_init(dev, &f->task, fifo_task);
    return NULL;
}

static void fifo_fini(struct device *dev)
{
    region_free(&((struct fifo *)dev)->region);
}

static const struct device_class fifo_class = {.name = "fifo",
                                               .help = "for this test",
                                               .size = sizeof(struct fifo),
                                               .init = fifo_init,
                                               .fini = fifo_fini};

TEST(coalesced_writes_come_before_the_loops_work)
{
    static struct fake_board b;
    struct fake_io f = {0};
    board_make(&b);
    struct fifo *fifo = (struct fifo *)board_device(&b, &fifo_class, NULL);
    struct ioevents *e = ioevents_new(&b.mem, &b.io, &fake_io_ops, &f);
    CHECK_EQ(f.n_zones, 1);
    f.space = &b.mem;
    f.ring_addr = 0x1000;
    lock_take(&fifo->dev.lock);
    device_timer_set(&fifo->timer, b.now + 1000);
    lock_drop(&fifo->dev.lock);
    f.in_ring = 3;
    board_pass(&b, 2000);
    CHECK_EQ(fifo->at_timer, 3);
    f.in_ring = 2;
    device_task_post(&fifo->task);
    board_pass(&b, 0);
    CHECK_EQ(fifo->at_task, 5);
    f.in_ring = 1;
    device_reset(&fifo->dev);
    CHECK_EQ(fifo->written, 6);
    ioevents_free(e);
    board_break(&b);
}
