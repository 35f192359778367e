// SPDX-License-Identifier: MIT
/* BARs: moved anywhere at any time, what answers is what the bytes say. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pci_board.h"

TEST(P3_bar_moved_everywhere)
{
    machine_new();
    CHECK(toy_new("bars=m16,addr=1.0"));
    CHECK(toy_new("bars=m12+w32,addr=2.0"));
    CHECK(placed());
    uint32_t a = cf8(0, 0x08, PCI_BAR0, 4);
    uint8_t ram = 0x5a;
    CHECK(space_write(&m->memory, 0x8000, 1, &ram));
    /* onto the other BAR: the higher function wins, and the rest of the larger shows around it */
    cf8_write(0x10, PCI_BAR0, a + 0x3000, 4);
    CHECK_EQ(who(a + 0x2ffe), BAR_OF(0, 0x08));
    CHECK_EQ(who(a + 0x3000), BAR_OF(0, 0x10));
    CHECK_EQ(who(a + 0x4000), BAR_OF(0, 0x08));
    /* over RAM: RAM stays; ECAM and the APICs stay */
    cf8_write(0x08, PCI_BAR0, 0, 4);
    CHECK_EQ(who(0x8000), 0x5a);
    CHECK_EQ(who(a), NOBODY);
    cf8_write(0x08, PCI_BAR0, PCI_ECAM_BASE, 4);
    CHECK_EQ(ecam(0, 0, 0, 4), 0x00081b36);
    cf8_write(0x08, PCI_BAR0, 0xfee00000, 4);
    CHECK_EQ(who(0xfee00000), NOBODY);
    cf8_write(0x08, PCI_BAR0, 0xfec00000, 4);
    CHECK_EQ(who(0xfec00000), NOBODY);
    /* behind RAM, at the top of 4 GiB */
    cf8_write(0x08, PCI_BAR0, 0x00100000, 4);
    CHECK_EQ(who(0x0010fffe), BAR_OF(0, 0x08));
    cf8_write(0x08, PCI_BAR0, 0xffffffff, 4);
    CHECK_EQ(who(0xffff0000), BAR_OF(0, 0x08));
    CHECK_EQ(who(0xfffffffe), BAR_OF(0, 0x08));
    /* 64 bits: the halves are written one after the other, at the top of the space nothing wraps */
    cf8_write(0x10, PCI_BAR0 + 8, UINT32_MAX, 4);
    CHECK_EQ(cf8(0, 0x10, PCI_BAR0 + 8, 4), UINT32_MAX);
    CHECK_EQ(cf8(0, 0x10, PCI_BAR0 + 4, 4), 4);
    CHECK_EQ(who(0xffffffff00000000), BAR_OF(1, 0x10));
    CHECK_EQ(who(0xfffffffffffffffe), BAR_OF(1, 0x10));
    cf8_write(0x10, PCI_BAR0 + 8, 0, 4);
    CHECK_EQ(who(0x8000), 0x5a);
    CHECK_EQ(who(0xfee00000), NOBODY);
    cf8_write(0x10, PCI_BAR0 + 8, 7, 4);
    CHECK_EQ(who(0x7deadbeee), BAR_OF(1, 0x10));
    /* sizing with decode on leaves it where it was put back to */
    cf8_write(0x08, PCI_BAR0, a, 4);
    cf8_write(0x08, PCI_BAR0, UINT32_MAX, 4);
    CHECK_EQ(cf8(0, 0x08, PCI_BAR0, 4), 0xffff0000);
    cf8_write(0x08, PCI_BAR0, a, 4);
    CHECK_EQ(who(a), BAR_OF(0, 0x08));
}

/* What the bytes say, worked out a second time: which BAR answers at addr. Higher functions win. */
static uint32_t expect_at(uint64_t addr)
{
    if (addr < 1 << 20 || (addr >= PCI_ECAM_BASE && addr < PCI_ECAM_BASE + (uint64_t)PCI_ECAM_SIZE) ||
        (addr >= 0xfec00000 && addr < 0xff000000))
        return 0; /* something else lies there */
    for (int devfn = 255; devfn >= 0; devfn--) {
        struct toy *toy = (struct toy *)pci_bus_find(m->board.pci, (unsigned)devfn);
        if (!toy || devfn == 0 || !(ecam(0, (unsigned)devfn, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY))
            continue;
        uint64_t base = ecam(0, (unsigned)devfn, PCI_BAR0, 4) & ~0xfu;
        if (addr >= base && addr - base < toy->regions[0].size)
            return BAR_OF(0, (unsigned)devfn);
    }
    return NOBODY;
}

TEST(P3_random_moves_against_the_bytes)
{
    uint64_t seed = 3;
    machine_new();
    CHECK(toy_new("bars=m16,addr=1.0") && toy_new("bars=m20,addr=2.0") && toy_new("bars=m12,addr=3.0"));
    CHECK(placed());
    unsigned long n = test_scale(20000);
    unsigned hits = 0;
    for (unsigned long i = 0; i < n; i++) {
        uint64_t r = test_rand(&seed);
        unsigned devfn = (1 + r % 3) * 8;
        if (r >> 60 == 0)
            ecam_write(devfn, PCI_COMMAND, (r >> 8) & 7, 2);
        else
            ecam_write(devfn, PCI_BAR0, 0xf0000000 | (uint32_t)((r >> 8) & 0x3ffff0), 4);
        uint64_t addr = 0xf0000000 + (test_rand(&seed) & 0x3ffffe);
        uint32_t want = expect_at(addr);
        hits += want != NOBODY;
        CHECK_EQ(who(addr), want);
    }
    CHECK(hits > n / 20 && hits < n - n / 20);
}

/* One vCPU moves and switches a BAR, another reads it: every answer is the BAR's or nobody's. */
static atomic_bool racing;
static void *reader(void *arg)
{
    uint64_t seed = 7;
    unsigned *bad = arg;
    while (racing) {
        uint32_t got = who(0xf0000000 + (test_rand(&seed) & 0x1fffe));
        *bad += got != NOBODY && got != BAR_OF(0, 0x08);
    }
    return NULL;
}

TEST(P3_bar_moves_while_another_vcpu_reads)
{
    pthread_t t;
    unsigned bad = 0;
    machine_new();
    CHECK(toy_new("bars=m16,addr=1.0") && placed());
    racing = true;
    CHECK(!pthread_create(&t, NULL, reader, &bad));
    for (unsigned i = 0; i < 5000; i++) {
        cf8_write(0x08, PCI_BAR0, 0xf0000000 + (i & 1) * 0x10000, 4);
        if (i % 3 == 0)
            cf8_write(0x08, PCI_COMMAND, i & PCI_COMMAND_MEMORY, 2);
    }
    racing = false;
    pthread_join(t, NULL);
    CHECK_EQ(bad, 0);
}

TEST(pci_io_bar_moves_and_ports_stay)
{
    machine_new();
    CHECK(toy_new("bars=i5,addr=1.0") && placed());
    CHECK_EQ(cf8(0, 0x08, PCI_BAR0, 4), PCI_IO_FIRST | 1);
    CHECK_EQ(who_io(PCI_IO_FIRST + 30), BAR_OF(0, 0x08));
    cf8_write(0x08, PCI_BAR0, 0x1000, 4);
    CHECK_EQ(who_io(PCI_IO_FIRST), NOBODY);
    CHECK_EQ(who_io(0x1000), BAR_OF(0, 0x08));
    /* over the configuration ports: those stay, so the guest can always get it away */
    cf8_write(0x08, PCI_BAR0, 0xce0, 4);
    CHECK_EQ(cf8(0, 0x08, 0, 4), 0x56781234);
    cf8_write(0x08, PCI_BAR0, 0xffff1000, 4); /* ports have 16 bits */
    CHECK_EQ(cf8(0, 0x08, PCI_BAR0, 4), 0xffff1001);
    CHECK_EQ(who_io(0x1000), NOBODY);
    cf8_write(0x08, PCI_BAR0, 0xffe0, 4);
    CHECK_EQ(who_io(0xfffe), BAR_OF(0, 0x08));
}

TEST(pci_rom_needs_both_enables)
{
    machine_new();
    CHECK(toy_new("bars=r12,addr=1.0") && placed());
    uint32_t rom = cf8(0, 0x08, PCI_ROM_BASE, 4);
    CHECK(rom && !(rom & 1));
    CHECK_EQ(who(rom), NOBODY);
    cf8_write(0x08, PCI_ROM_BASE, rom | 1, 4);
    CHECK_EQ(who(rom), BAR_OF(PCI_ROM, 0x08));
    cf8_write(0x08, PCI_COMMAND, 0, 2);
    CHECK_EQ(who(rom), NOBODY);
}

TEST(pci_bars_are_placed_apart_in_the_windows)
{
    static const char *const devices[] = {"bars=m12+m29+i8", "bars=p30+m4", "bars=w33", "bars=i2+i12+m27+r16",
                                          "bars=m12+p14"};
    struct {
        uint64_t first, last;
    } used[16];
    unsigned n = 0;
    machine_new();
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        CHECK(toy_new(devices[i]));
    CHECK(placed());
    for (unsigned devfn = 8; devfn < 6 * 8; devfn += 8) {
        struct toy *toy = (struct toy *)pci_bus_find(m->board.pci, devfn);
        for (unsigned b = 0; b < PCI_BARS; b++) {
            struct pci_bar *bar = &toy->pci.bars[b];
            if (!bar->region || bar->kind == PCI_BAR_ROM)
                continue;
            uint64_t at = bar->region->offset, last = at + bar->size - 1;
            CHECK_EQ(at % bar->size, 0);
            if (bar->kind == PCI_BAR_IO) {
                CHECK(at >= PCI_IO_FIRST && last <= PCI_IO_LAST);
                CHECK_EQ(who_io((uint32_t)at), BAR_OF(b, devfn));
                continue;
            }
            CHECK((at >= PCI_MEM0_FIRST && last <= PCI_MEM0_LAST) ||
                  (at >= PCI_MEM1_FIRST && last <= PCI_MEM1_LAST) || (at >= 1ull << 32 && last < 1ull << 40));
            CHECK_EQ(last > UINT32_MAX, bar->size >= 1 << 30); /* what fits lies below */
            CHECK_EQ(who(at), BAR_OF(b, devfn));
            CHECK_EQ(who(last - 1), BAR_OF(b, devfn));
            for (unsigned i = 0; i < n; i++)
                CHECK(last < used[i].first || at > used[i].last);
            used[n].first = at;
            used[n++].last = last;
        }
    }
    CHECK_EQ(n, 8);
}

TEST(pci_bar_without_room_is_refused_by_name)
{
    machine_new();
    CHECK(toy_new("bars=m30"));
    CHECK(!placed());
    CHECK(strstr(m->err, "toy0") && strstr(m->err, "BAR 0"));
    machine_new();
    CHECK(toy_new("bars=w34"));
    CHECK(!pci_bus_place(m->board.pci, 1 << 20, 32, m->err,
                         sizeof m->err)); /* a 32-bit kernel has no such window */
    CHECK(pci_bus_place(m->board.pci, 1 << 20, 36, m->err, sizeof m->err));
}

/* What hangs on a BAR goes with it: here an ioeventfd, which a kick must find wherever the BAR is. */
static unsigned kicks(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof n) == sizeof n ? (unsigned)n : 0;
}

TEST(pci_ioeventfd_follows_its_bar)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint32_t value = 1;
    machine_new();
    struct toy *t = toy_new("bars=m12+w14,addr=1.0");
    CHECK(fd >= 0 && t && placed());
    CHECK(region_ioeventfd_add(&t->regions[1], 0x100, 4, false, 0, fd));
    uint64_t at = cf8(0, 0x08, PCI_BAR0 + 4, 4) & ~0xfull;
    space_write(&m->memory, at + 0x100, 4, &value);
    CHECK_EQ(kicks(fd), 1);
    cf8_write(0x08, PCI_BAR0 + 8, 0x12, 4); /* above 4 GiB */
    space_write(&m->memory, at + 0x100, 4, &value);
    CHECK_EQ(kicks(fd), 0);
    space_write(&m->memory, (0x12ull << 32) + at + 0x100, 4, &value);
    CHECK_EQ(kicks(fd), 1);
    cf8_write(0x08, PCI_COMMAND, 0, 2);
    space_write(&m->memory, (0x12ull << 32) + at + 0x100, 4, &value);
    CHECK_EQ(kicks(fd), 0);
    cf8_write(0x08, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    space_write(&m->memory, (0x12ull << 32) + at + 0x100, 4, &value);
    CHECK_EQ(kicks(fd), 1);
    CHECK_EQ(t->last_value, 0); /* it never reached the device */
    close(fd);
}

/* Memory of the host's in a BAR: the guest's own RAM stays in front, DMA of other functions reaches it. */
TEST(pci_ram_in_a_bar)
{
    static struct region shared;
    uint32_t value = 0x600df00d, got = 0;
    machine_new();
    struct toy *t = toy_new("addr=1.0"), *other = toy_new("addr=2.0");
    struct ram *ram = ram_new(&(struct ram_opts){.size = 1 << 20}, m->err, sizeof m->err);
    CHECK(t && other && ram);
    region_init_ram(&shared, "shared", ram, 0, 1 << 20);
    pci_bar(&t->pci, 2, PCI_BAR_MEM64_PREFETCH, &shared);
    CHECK(placed());
    uint64_t at = cf8(0, 0x08, PCI_BAR0 + 8, 4) & ~0xfull;
    CHECK(at && at % (1 << 20) == 0);
    space_write(&m->memory, at + 0x1234, 4, &value);
    cf8_write(0x08, PCI_BAR0 + 12, 5, 4);
    CHECK(!space_read(&m->memory, at + 0x1234, 4, &got));
    CHECK(space_read(&m->memory, (5ull << 32) + at + 0x1234, 4, &got));
    CHECK_EQ(got, value);
    cf8_write(0x10, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    CHECK(dma_read(&other->pci.dma, (5ull << 32) + at + 0x1234, &got, 4));
    CHECK_EQ(got, value);
    cf8_write(0x08, PCI_BAR0 + 12, 0, 4);
    cf8_write(0x08, PCI_BAR0 + 8, 0, 4); /* over the guest's RAM */
    CHECK(space_read(&m->memory, 0x1234, 4, &got));
    CHECK_EQ(got, 0);
}

/* What the bus, the map and the spaces have of a device goes with it; a topology change afterwards meets nothing of it. */
TEST(pci_devices_that_are_freed_leave_nothing_behind)
{
    machine_new();
    struct toy *a = toy_new("bars=m12+i8,msix=2,pin=1"), *b = toy_new("bars=m12");
    CHECK(a && b && placed());
    CHECK(!device_new(&m->board, &toy_class, NULL, "addr=1.0", m->err, sizeof m->err)); /* taken */
    unsigned devfn = a->pci.devfn;
    uint64_t at = cf8(0, devfn, 0x10, 4) & ~15u;
    ecam_write(devfn, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
    CHECK_EQ(who(at), BAR_OF(0, devfn));
    CHECK(m->memory.followers);
    devices_free(&m->board);
    CHECK(!m->memory.followers);
    CHECK(!m->board.devices);
    region_enable(&m->ram->low, false);
    region_enable(&m->ram->low, true);
    CHECK_EQ(who(at), NOBODY);
}
