// SPDX-License-Identifier: MIT
/* pci-testdev and pc-testdev on a board without KVM, as the programs that look for them use them. */
#include "test.h"
#include "kvm/host/log.h"
#include "pci_board.h"

extern const struct device_class pc_testdev_class, pci_testdev_class;

static struct pci_device *dev;
static uint64_t mem;
static uint16_t ports;

static void where_bars_are(void)
{
    mem = cf8(0, dev->devfn, 0x10, 4) & ~15u;
    ports = (uint16_t)(cf8(0, dev->devfn, 0x14, 4) & ~3u);
}

static void testdev_new(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    machine_new();
    dev = (struct pci_device *)device_new(&m->board, &pci_testdev_class, NULL, NULL, m->err, sizeof m->err);
    CHECK(dev && placed());
    where_bars_are();
    CHECK(mem && ports);
}

/* One BAR or the other. */
static uint32_t get(bool io, unsigned offset, unsigned size)
{
    uint32_t v = 0;
    if (io)
        return in((uint16_t)(ports + offset), size);
    space_read(&m->memory, mem + offset, size, &v);
    return v;
}
static void put(bool io, unsigned offset, uint32_t v, unsigned size)
{
    if (io)
        out((uint16_t)(ports + offset), v, size);
    else
        space_write(&m->memory, mem + offset, size, &v);
}

static const char *const names[2][3] = {
    {"mmio-no-eventfd",   "mmio-wildcard-eventfd",   "mmio-datamatch-eventfd"  },
    {"portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd"},
};

static void run_tests(void)
{
    for (unsigned io = 0; io < 2; io++) {
        for (unsigned test = 0; test < 3; test++) {
            put(io, 0, test, 1);
            CHECK_EQ(get(io, 12, 4), 0);
            CHECK_EQ(get(io, 1, 1), 1);
            uint32_t offset = get(io, 4, 4), data = get(io, 8, 4);
            char name[32];
            for (unsigned i = 0; i < sizeof name; i++)
                name[i] = (char)get(io, 16 + i, 1);
            CHECK_STR(name, names[io][test]);
            for (unsigned i = 0; i < 16; i++)
                put(io, offset, data, 1);
            CHECK_EQ(get(io, 12, 4), 16);
            put(io, offset, data ^ 1, 1); /* another value: only the wildcard takes it */
            CHECK_EQ(get(io, 12, 4), 16 + (test == 1));
            put(!io, io ? offset : 0x80, data, 1); /* other places */
            put(io, offset + 4, data, 1);
            CHECK_EQ(get(io, 12, 4), 16 + (test == 1));
            put(io, offset, data, 1);
            CHECK_EQ(get(io, 12, 1), 17 + (test == 1));
        }
        for (unsigned test = 3; test < 256; test++) { /* there are no more: the header is empty */
            put(io, 0, test, 1);
            for (unsigned at = 0; at < 32; at += 4)
                CHECK_EQ(get(io, at, 4), 0);
        }
    }
}

TEST(pci_testdev_counts_by_mmio_port_and_eventfd)
{
    testdev_new();
    CHECK_EQ(cf8(0, dev->devfn, 0, 4), 0x00051b36);
    CHECK_EQ(cf8(0, dev->devfn, 0x3d, 1), 0); /* no interrupt pin */
    CHECK_EQ(dev->bars[0].size, 4096);
    CHECK_EQ(dev->bars[1].size, 256);
    run_tests();
}

/* The ioeventfds go where the BAR goes, and come back with decoding. */
TEST(P3_pci_testdev_bars_moved_take_their_ioeventfds_along)
{
    testdev_new();
    uint32_t old_mem = (uint32_t)mem, old_ports = ports;
    cf8_write(dev->devfn, 0x10, 0xf1234000, 4);
    cf8_write(dev->devfn, 0x14, 0xd100, 4);
    where_bars_are();
    CHECK_EQ(mem, 0xf1234000);
    CHECK_EQ(ports, 0xd100);
    CHECK_EQ(who(old_mem), NOBODY);
    CHECK_EQ(who_io(old_ports), NOBODY);
    run_tests();
    put(false, 0, 1, 1);
    uint32_t offset = get(false, 4, 4);
    cf8_write(dev->devfn, PCI_COMMAND, 0, 2);
    put(false, offset, 0, 1); /* nobody is there */
    cf8_write(dev->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 2);
    CHECK_EQ(get(false, 12, 4), 0);
    put(false, offset, 0, 1);
    CHECK_EQ(get(false, 12, 4), 1);
    run_tests();
}

/* Traces take the ioeventfds away; the count stays the same. */
TEST(pci_testdev_counts_without_ioeventfds)
{
    testdev_new();
    region_plain(dev->bars[0].region, true);
    region_plain(dev->bars[1].region, true);
    run_tests();
    region_plain(dev->bars[0].region, false);
    run_tests();
}

TEST(S4_pci_testdev_takes_any_offset_size_and_value)
{
    uint64_t seed = 7;
    testdev_new();
    for (unsigned long n = test_scale(100000); n; n--) {
        uint64_t r = test_rand(&seed);
        unsigned offset = (unsigned)(r & 0xfff), size = 1u << (r >> 12 & 3) % 3;
        bool io = r >> 14 & 1;
        if (io)
            offset &= 0xff;
        if (r >> 15 & 1)
            put(io, r >> 16 & 1 ? offset : 0, (uint32_t)(r >> 32), size);
        else
            get(io, offset, size);
    }
    run_tests();
}

TEST(pci_testdev_state_goes_round)
{
    static uint8_t state[4096];
    testdev_new();
    put(true, 0, 0, 1);
    put(true, get(true, 4, 4), 0xfa, 1);
    size_t n = device_save(&dev->dev, state, sizeof state);
    CHECK(n < sizeof state);
    device_reset(&dev->dev);
    CHECK_EQ(get(true, 1, 1), 0);
    CHECK(!device_load(&dev->dev, state, n));
    CHECK_EQ(get(true, 12, 4), 1);
    devices_free(&m->board);
}

/* --- pc-testdev */

static struct device *pc;

static void pc_testdev_new(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    machine_new();
    pc = device_new(&m->board, &pc_testdev_class, NULL, NULL, m->err, sizeof m->err);
    CHECK(pc);
    CHECK_STR(pc->id, "pc-testdev");
}

TEST(pc_testdev_latches_have_lanes)
{
    pc_testdev_new();
    for (uint16_t port = 0xe0; port <= 0xe8; port += 8) {
        out(port, 0x11223344, 4);
        out((uint16_t)(port + 1), 0xaa, 1);
        out((uint16_t)(port + 2), 0xbbcc, 2);
        CHECK_EQ(in(port, 4), 0xbbccaa44);
        CHECK_EQ(in((uint16_t)(port + 3), 1), 0xbb);
        CHECK_EQ(in(port, 2), 0xaa44);
    }
    out(0xe0, 0, 4);
    CHECK_EQ(in(0xe8, 4), 0xbbccaa44); /* one each */
}

TEST(pc_testdev_sets_interrupt_lines)
{
    pc_testdev_new();
    for (unsigned n = 0; n < 24; n++) {
        out((uint16_t)(0x2000 + n), 2, 1);
        for (unsigned k = 0; k < 24; k++)
            CHECK_EQ(irq_level(m->board.irqs, k), k == n);
        out((uint16_t)(0x2000 + n), 0, 1);
    }
    out(0x2004, 0x01000100, 4); /* split into bytes */
    CHECK(!irq_level(m->board.irqs, 4) && irq_level(m->board.irqs, 5) && irq_level(m->board.irqs, 7));
    out(0x2016, 0x01010101, 4); /* past the end */
    CHECK(irq_level(m->board.irqs, 23));
    device_reset(pc);
    for (unsigned k = 0; k < 24; k++)
        CHECK(!irq_level(m->board.irqs, k));
}

TEST(pc_testdev_memory_stores_what_is_written)
{
    uint64_t v = 0x1122334455667788, w = 0;
    pc_testdev_new();
    space_write(&m->memory, 0xff000ffb, 8, &v);
    space_read(&m->memory, 0xff000ffb, 8, &w);
    CHECK_EQ(w, v);
    space_read(&m->memory, 0xff000ffd, 2, &w);
    CHECK_EQ(w & 0xffff, 0x5566);
    space_write(&m->memory, 0xff00fffc, 8, &v); /* over its end: dropped */
    w = 0;
    space_read(&m->memory, 0xff00fffc, 4, &w);
    CHECK_EQ(w, 0);
}

/* The page is as it was, and can be written; what is not RAM is refused, whatever the guest asks for. */
TEST(S4_pc_testdev_flush_of_any_address)
{
    static const uint32_t bad[] = {0x100000, 0xff000000, 0xfffff000, 0xe0000000, 0xffffffff};
    pc_testdev_new();
    CHECK(ram_write(m->ram, 0x3ffc, "abcd", 4));
    uint64_t bugs = log_guest_bugs();
    for (unsigned at = 0; at < 1 << 20; at += 4096)
        out(0xe4, at | (at >> 12 & 0xfff), 4);
    CHECK_EQ(log_guest_bugs(), bugs);
    CHECK(!memcmp(m->ram->host + 0x3ffc, "abcd", 4));
    memset(m->ram->host, 1, m->ram->size);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        out(0xe4, bad[i], 4);
    CHECK_EQ(log_guest_bugs(), bugs + sizeof bad / sizeof *bad);
    out(0xe4, 0x1000, 2); /* a dword or nothing */
    CHECK_EQ(in(0xe4, 4), 0xffffffff);
}

TEST(pc_testdev_state_goes_round)
{
    static uint8_t state[1 << 17];
    uint32_t v = 0x12345678;
    pc_testdev_new();
    out(0x2003, 1, 1);
    out(0xe8, 5, 4);
    space_write(&m->memory, 0xff000100, 4, &v);
    size_t n = device_save(pc, state, sizeof state);
    CHECK(n < sizeof state);
    device_reset(pc);
    v = 0;
    space_write(&m->memory, 0xff000100, 4, &v);
    CHECK(!device_load(pc, state, n));
    CHECK(irq_level(m->board.irqs, 3));
    CHECK_EQ(in(0xe8, 4), 5);
    space_read(&m->memory, 0xff000100, 4, &v);
    CHECK_EQ(v, 0x12345678);
    devices_free(&m->board);
}
