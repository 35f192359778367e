// SPDX-License-Identifier: MIT
/* edu on a board without KVM, against what QEMU's docs/specs/edu says. The clock is the test's. */
#include "test.h"
#include "see_board.h"

static void edu_new(const char *options)
{
    edu_board(NULL, options);
}
static bool line(void)
{
    return irq_level(m->board.irqs, edu->line.gsi);
}

TEST(edu_is_what_its_specification_says)
{
    edu_new(NULL);
    CHECK_EQ(cf8(0, edu->devfn, 0, 4), 0x11e81234);
    CHECK_EQ(cf8(0, edu->devfn, 8, 4), 0x00ff0010);
    CHECK_EQ(cf8(0, edu->devfn, 0x2c, 4), 0x11001af4);
    CHECK_EQ(cf8(0, edu->devfn, 0x3d, 1), 1);
    cf8_write(edu->devfn, 0x10, ~0u, 4);
    CHECK_EQ(cf8(0, edu->devfn, 0x10, 4), 0xfff00000); /* 1 MiB, 32 bits, not prefetchable */
    cf8_write(edu->devfn, 0x10, (uint32_t)bar, 4);
    CHECK_EQ(rd(0x00, 4), 0x010000ed);
    wr(0x00, 0, 4);
    CHECK_EQ(rd(0x00, 4), 0x010000ed);
    wr(0x04, 0x12345678, 4);
    CHECK_EQ(rd(0x04, 4), 0xedcba987);
}

TEST(edu_factorial_takes_time_and_interrupts)
{
    static const struct {
        uint32_t n, result;
    } cases[] = {
        {0,          1         },
        {1,          1         },
        {5,          120       },
        {12,         479001600 },
        {13,         1932053504},
        {33,         0x80000000},
        {34,         0         },
        {0xffffffff, 0         }
    };
    edu_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wr(0x08, cases[i].n, 4);
        CHECK_EQ(rd(0x20, 4), 1);
        wr(0x08, 3, 4); /* ignored while busy */
        pass(MS / 2);
        CHECK_EQ(rd(0x20, 4), 1);
        pass(MS);
        CHECK_EQ(rd(0x20, 4), 0);
        CHECK_EQ(rd(0x08, 4), cases[i].result);
        CHECK(!line());
    }
    /* started first, asked for the interrupt only then */
    wr(0x08, 4, 4);
    wr(0x20, 0xffffffff, 4);
    CHECK_EQ(rd(0x20, 4), 0x81);
    pass(2 * MS);
    CHECK(line());
    CHECK_EQ(rd(0x24, 4), 1);
    wr(0x64, 0x100, 4); /* not the one that is up */
    CHECK(line());
    wr(0x64, 1, 4);
    CHECK(!line());
    CHECK_EQ(rd(0x24, 4), 0);
}

TEST(edu_raise_and_ack_and_msi)
{
    edu_new(NULL);
    wr(0x60, 0x8001, 4);
    wr(0x60, 0x10, 4);
    CHECK_EQ(rd(0x24, 4), 0x8011);
    CHECK_EQ(rd(0x60, 4), 0xffffffff); /* write-only */
    CHECK(line());
    cf8_write(edu->devfn, PCI_COMMAND, 0x400 | PCI_COMMAND_MEMORY, 2);
    CHECK(!line()); /* INTX_DISABLE while asserted: P10 */
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    CHECK(line());
    unsigned cap = edu->msi;
    cf8_write(edu->devfn, cap + 4, 0xfee00000, 4);
    cf8_write(edu->devfn, cap + 8, 0, 4);
    CHECK_EQ(cf8(0, edu->devfn, cap + 2, 2), 0x80); /* 64-bit address, one vector, no mask bit */
    cf8_write(edu->devfn, cap + 16, ~0u, 4);
    CHECK_EQ(cf8(0, edu->devfn, cap + 16, 4), 0);
    cf8_write(edu->devfn, cap + 12, 0x41, 2);
    cf8_write(edu->devfn, cap + 2, 1, 2);
    CHECK(!line()); /* D5: MSI switched on while raised */
    unsigned before = m->fake.sent;
    wr(0x60, 2, 4);
    wr(0x60, 2, 4);
    CHECK_EQ(m->fake.sent, before + 2);
    wr(0x64, ~0u, 4);
    CHECK_EQ(rd(0x24, 4), 0);
    /* Linux lets go of a vector without a mask bit by zeros in it, MSI still on: no fault, unless one is sent there */
    uint64_t bugs = log_guest_bugs();
    before = m->fake.sent;
    cf8_write(edu->devfn, cap + 4, 0, 4);
    cf8_write(edu->devfn, cap + 12, 0, 2);
    CHECK_EQ(log_guest_bugs(), bugs);
    wr(0x60, 2, 4);
    CHECK_EQ(log_guest_bugs(), bugs + 1);
    CHECK_EQ(edu->irq_dropped, 1);
    CHECK_EQ(m->fake.sent, before);
}

TEST(edu_dma_both_ways)
{
    char text[16] = "from RAM to edu", back[16] = "";
    edu_new(NULL);
    CHECK(ram_write(m->ram, 0x1000, text, sizeof text));
    dma(0x1000, 0x40010, sizeof text, 1 | 4);
    CHECK_EQ(rd(0x98, 4), 5);
    pass(99 * MS);
    CHECK_EQ(rd(0x98, 4), 5);
    pass(2 * MS);
    CHECK_EQ(rd(0x98, 4), 4);
    CHECK(line());
    CHECK_EQ(rd(0x24, 4), 0x100);
    wr(0x64, 0x100, 4);
    dma(0x40010, 0x2000, sizeof text, 1 | 2);
    pass(101 * MS);
    CHECK(!line());
    CHECK(ram_read(m->ram, 0x2000, back, sizeof back));
    CHECK_STR(back, text);
    CHECK_EQ(rd(0x84, 4), 0xffffffff); /* the upper halves are not decoded */
    wr(0x80, ~UINT64_C(0), 8);
    wr(0x80, 0x1234, 4); /* 4 bytes set all of it */
    CHECK_EQ(rd(0x80, 8), 0x1234);
    dma(0, 0, 0, 2); /* without START: ignored */
    CHECK_EQ(rd(0x98, 4), 2);
}

/* What came back from edu's buffer after RAM -> edu at dst with cnt: nothing outside of it was touched. */
TEST(D1_edu_dma_range_outside_the_buffer_copies_nothing)
{
    static const struct {
        uint64_t dst, cnt;
    } bad[] = {
        {0x3ffff,                     1           },
        {0x40000,                     4097        },
        {0x40001,                     4096        },
        {0x41000,                     1           },
        {0,                           16          },
        {~UINT64_C(0),                2           },
        {0x40000,                     ~UINT64_C(0)},
        {~UINT64_C(0) - 0x3ffff,      0x80000     },
        {0x40fff,                     2           },
        {UINT64_C(1) << 32 | 0x40000, 4           }
    };
    edu_new(NULL);
    struct device *dev = &edu->dev;
    static uint8_t before[1 << 16], after[1 << 16];
    uint8_t ones[64];
    memset(ones, 0xff, sizeof ones);
    CHECK(ram_write(m->ram, 0x1000, ones, sizeof ones));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dma(0x1000, bad[i].dst, bad[i].cnt, 0); /* the registers, without START */
        wr(0x98, 1 | 4, 4);
        size_t n = device_save(dev, before, sizeof before);
        pass(101 * MS);
        CHECK_EQ(rd(0x24, 4), 0x100); /* it ends, and says so */
        wr(0x64, 0x100, 4);
        wr(0x98, 1 | 4, 4);
        CHECK(n < sizeof before && device_save(dev, after, sizeof after) == n);
        CHECK(!memcmp(before, after, n));
        pass(101 * MS);
        wr(0x64, 0x100, 4);
        dma(bad[i].dst, 0x1000, bad[i].cnt, 1 | 2);
        pass(101 * MS);
        CHECK(ram_read(m->ram, 0x1000, after, sizeof ones) && !memcmp(after, ones, sizeof ones));
    }
    dma(0x1000, 0x40fff, 1, 1); /* the last byte is inside, and so are all 4096 */
    pass(101 * MS);
    dma(0x40000, 0x1000, 4096, 1 | 2);
    pass(101 * MS);
    CHECK(ram_read(m->ram, 0x1fff, after, 1) && after[0] == 0xff);
}

TEST(D2_edu_dma_to_masked_missing_and_own_addresses)
{
    uint8_t byte = 0;
    edu_new(NULL);
    CHECK(ram_write(m->ram, 0x3000, "A", 1));
    dma(0x3000, 0x40000, 1, 1);
    pass(101 * MS);
    dma(0x40000, UINT64_C(0xf0000000) | 0x4000, 1, 3); /* above 28 bits: cut */
    pass(101 * MS);
    CHECK(ram_read(m->ram, 0x4000, &byte, 1) && byte == 'A');
    edu_new("dma_mask=0xffffffff");
    uint64_t bugs = log_guest_bugs();
    dma(0x40000, bar + 4, 4, 3); /* its own registers */
    pass(101 * MS);
    CHECK_EQ(rd(0x04, 4), 0);
    dma(0x40000, 0x100000, 4, 3); /* past RAM */
    pass(101 * MS);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2); /* P11: bus master off */
    dma(0x40000, 0x1000, 4, 3);
    pass(101 * MS);
    CHECK_EQ(log_guest_bugs(), bugs + 3);
    CHECK_EQ(rd(0x98, 4), 2);
}

TEST(D3_edu_end_does_not_wait_for_a_factorial)
{
    edu_new(NULL);
    for (int i = 0; i < 100; i++) {
        wr(0x08, 0xffffffff, 4);
        device_reset(&edu->dev);
        CHECK_EQ(rd(0x20, 4), 0);
    }
    wr(0x08, 0xffffffff, 4);
    pass(1 * MS); /* the whole of it takes no longer than any other */
    CHECK_EQ(rd(0x20, 4), 0);
}

TEST(D4_edu_locked_while_it_runs_and_silent_after_reset)
{
    edu_new(NULL);
    dma(0x1000, 0x40000, 16, 1 | 4);
    dma(0x5555, 0x6666, 0x77, 1 | 2);
    CHECK_EQ(rd(0x80, 8), 0x1000);
    CHECK_EQ(rd(0x88, 8), 0x40000);
    CHECK_EQ(rd(0x90, 8), 16);
    CHECK_EQ(rd(0x98, 8), 5);
    wr(0x08, 5, 4);
    device_reset(&edu->dev);
    pass(200 * MS);
    CHECK(!line());
    CHECK_EQ(rd(0x24, 4), 0);
    CHECK_EQ(rd(0x98, 4), 0);
}

TEST(D5_edu_takes_every_size_and_offset)
{
    edu_new(NULL);
    for (unsigned reg = 0; reg < 0x110; reg++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t ones = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
            bool low = size == 4 && (reg <= 8 || reg == 0x20 || reg == 0x24) && reg % 4 == 0;
            bool high = (size == 4 || size == 8) && reg >= 0x80 && reg <= 0x98 && reg % 8 == 0;
            if (low || high)
                continue;
            if (size != 4 || (reg != 0x60 && reg != 0x64))
                wr(reg, UINT64_MAX, size);
            CHECK_EQ(rd(reg, size), ones);
        }
    }
    CHECK_EQ(rd(0x24, 4), 0);
    CHECK_EQ(rd(0x80, 8), 0);
    CHECK_EQ(rd(0x40000, 4), 0xffffffff); /* the buffer is not readable through the BAR */
}

TEST(edu_state_survives_save_and_load)
{
    static uint8_t state[1 << 16];
    edu_new(NULL);
    wr(0x04, 1, 4);
    wr(0x20, 0x80, 4);
    wr(0x08, 6, 4);
    size_t n = device_save(&edu->dev, state, sizeof state);
    CHECK(n && n < sizeof state);
    device_reset(&edu->dev);
    CHECK(!device_load(&edu->dev, state, n));
    CHECK_EQ(rd(0x04, 4), 0xfffffffe);
    pass(2 * MS);
    CHECK_EQ(rd(0x08, 4), 720);
    CHECK(line());
}
