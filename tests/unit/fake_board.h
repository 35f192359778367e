/* SPDX-License-Identifier: MIT
 *
 * A board without KVM: two spaces, a log of interrupts, clocks that stand still until the test moves them. One a test:
 * board_make(&fb) … board_break(&fb).
 */
#ifndef TESTS_UNIT_FAKE_BOARD_H
#define TESTS_UNIT_FAKE_BOARD_H

#include "fake_irq.h"
#include "mem/access.h"
#include "mem/device.h"
#include "test.h"

struct fake_board {
    struct board b;
    struct region mem_root, io_root;
    struct space mem, io;
    struct fake_irq irq;
    uint64_t now, wall, guest; /* ns */
    unsigned ends;
    enum board_end why;
    int status;
    char err[256];
};

static inline uint64_t fake_now(void *ctx)
{
    return *(uint64_t *)ctx;
}

static inline void fake_end(void *ctx, enum board_end why, int status)
{
    struct fake_board *f = ctx;
    if (!f->ends++) {
        f->why = why;
        f->status = status;
    }
}

static inline void board_make(struct fake_board *f)
{
    memset(f, 0, sizeof(*f));
    f->now = 1000000;
    f->wall = 1700000000ull * 1000000000; /* 2023-11-14 22:13:20, a Tuesday */
    region_init_container(&f->mem_root, "memory", REGION_ALL);
    region_init_container(&f->io_root, "io", 0x10000);
    space_init(&f->mem, &f->mem_root, "memory");
    space_init(&f->io, &f->io_root, "I/O");
    f->b.memory = &f->mem;
    f->b.io = &f->io;
    f->b.mem_root = &f->mem_root;
    f->b.io_root = &f->io_root;
    f->b.irqs = fake_irq_new(&f->irq);
    f->b.loop = loop_new(&(struct clock){fake_now, &f->now});
    f->b.wall = (struct clock){fake_now, &f->wall};
    f->b.guest = (struct clock){fake_now, &f->guest};
    f->b.end = fake_end;
    f->b.end_ctx = f;
    f->b.devices_tail = &f->b.devices;
    CHECK(f->b.loop && f->b.irqs);
}

static inline void board_break(struct fake_board *f)
{
    devices_free(&f->b);
    space_free(&f->io);
    space_free(&f->mem);
    region_free(&f->io_root);
    region_free(&f->mem_root);
    loop_free(f->b.loop);
    irqs_free(f->b.irqs);
}

static inline struct device *board_device(struct fake_board *f, const struct device_class *class,
                                          const char *options)
{
    struct device *dev = device_new(&f->b, class, NULL, options, f->err, sizeof(f->err));
    if (!dev)
        printf("%s\n", f->err);
    CHECK(dev);
    return dev;
}

/* All three clocks together, in one go; then what is due. */
static inline void board_pass(struct fake_board *f, uint64_t ns)
{
    f->now += ns;
    f->wall += ns;
    f->guest += ns;
    while (loop_step(f->b.loop))
        ;
}

/* The same, but stopping at each deadline on the way. Returns how many there were. */
static inline unsigned board_run(struct fake_board *f, uint64_t ns)
{
    uint64_t end = f->now + ns, next;
    unsigned wakes = 0;
    board_pass(f, 0);
    while ((next = loop_next(f->b.loop)) <= end) {
        board_pass(f, next > f->now ? next - f->now : 0);
        wakes++;
    }
    board_pass(f, end - f->now);
    return wakes;
}

static inline uint64_t port_in(struct fake_board *f, uint16_t port, unsigned size)
{
    uint64_t v = 0;
    (void)space_read(&f->io, port, size, &v);
    return v;
}

static inline void port_out(struct fake_board *f, uint16_t port, uint64_t value, unsigned size)
{
    (void)space_write(&f->io, port, size, &value);
}

static inline uint8_t inb(struct fake_board *f, uint16_t port)
{
    return (uint8_t)port_in(f, port, 1);
}

static inline void outb(struct fake_board *f, uint16_t port, unsigned value)
{
    port_out(f, port, value, 1);
}

/* Every port from first to last, each width, reads and writes, in a random order with random values. */
static inline void port_storm(struct fake_board *f, uint16_t first, uint16_t last, unsigned long n,
                              uint64_t seed)
{
    for (unsigned long i = 0; i < n; i++) {
        uint64_t r = test_rand(&seed);
        uint16_t port = (uint16_t)(first + r % (last - first + 1u));
        unsigned size = 1u << (r >> 16 & 3) % 3;
        uint64_t value = r >> 20 & 1 ? test_rand(&seed) : (r >> 21 & 1 ? UINT64_MAX : 0);
        if (r >> 22 & 1)
            port_out(f, port, value, size);
        else
            port_in(f, port, size);
        if (!(r >> 24 & 63))
            board_pass(f, r >> 32 & 0xffffff);
    }
}

#endif
