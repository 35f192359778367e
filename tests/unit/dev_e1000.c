// SPDX-License-Identifier: MIT
/* The e1000 on a board without KVM: identity, registers, EEPROM, PHY, link, interrupts, reset, state; what Intel's driver
 * does in its self-test. The rings are in dev_e1000_tx.c and dev_e1000_rx.c. */
#include "test.h"
#include "e1000_board.h"

TEST(e1000_is_an_82540em)
{
    card_new(NULL);
    CHECK_EQ(cf8(0, nic->devfn, 0, 4), 0x100e8086);
    CHECK_EQ(cf8(0, nic->devfn, 8, 4) >> 8, 0x020000);
    CHECK_EQ(cf8(0, nic->devfn, 0x2c, 4), 0x001e8086);
    CHECK_EQ(cf8(0, nic->devfn, 0x3d, 1), 1);
    cf8_write(nic->devfn, 0x10, ~0u, 4);
    CHECK_EQ(cf8(0, nic->devfn, 0x10, 4), 0xfffe0000); /* 128 KiB, 32 bits */
    cf8_write(nic->devfn, 0x18, ~0u, 4);
    CHECK_EQ(cf8(0, nic->devfn, 0x18, 4), 0xfffffff9); /* 8 ports */
    card_new("mac=00:1b:21:aa:bb:cc");
    CHECK_EQ(rd(RA), 0xaa211b00);
    CHECK_EQ(rd(RA + 4), 0x8000ccbb);
    static const char *const bad[] = {"mac=1:2:3:4:5", "mac=01:00:00:00:00:01",  "mac=0:0:0:0:0:0",
                                      "mac=hello",     "mac=52:54:00:12:34:567", "mac=52:54:00:12:34:56:78"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!device_new(&m->board, &e1000_class, NULL, bad[i], m->err, sizeof m->err));
        CHECK(strstr(m->err, "mac="));
    }
}

/* --- EEPROM */

static uint16_t eerd(unsigned word)
{
    wr(EERD, word << 8 | 1);
    CHECK_EQ(rd(EERD) & 0xff1f, word << 8 | 0x10);
    return (uint16_t)(rd(EERD) >> 16);
}

static void wire_bit(unsigned bit)
{
    uint32_t base = 0x42 | (bit ? 4 : 0); /* REQ, CS, DI */
    wr(EECD, base);
    wr(EECD, base | 1);
    wr(EECD, base);
}
static void wire_bits(unsigned value, int n)
{
    while (n--)
        wire_bit(value >> n & 1);
}
static void wire_start(void)
{
    wr(EECD, 0x40);
    CHECK_EQ(rd(EECD) & 0x3c0, 0x1c0); /* granted, present, 64 words */
    wr(EECD, 0x42);
}
static uint16_t wire_word(void)
{
    uint16_t v = 0;
    for (int i = 0; i < 16; i++) {
        wr(EECD, 0x43);
        v = (uint16_t)(v << 1 | (rd(EECD) >> 3 & 1));
        wr(EECD, 0x42);
    }
    return v;
}

TEST(e1000_eeprom_by_eerd_and_by_wire)
{
    card_new(NULL);
    uint16_t sum = 0;
    for (unsigned i = 0; i < 64; i++) {
        wire_start();
        wire_bits(6, 3);
        wire_bits(i, 6);
        uint16_t word = wire_word();
        CHECK_EQ(word, eerd(i));
        sum = (uint16_t)(sum + word);
    }
    CHECK_EQ(sum, 0xbaba);
    CHECK_EQ(eerd(0), 0x5452);
    CHECK_EQ(eerd(2), 0x5634);
    wire_start(); /* one read goes on from word to word, and zeros before the start bit are nothing */
    wire_bits(0, 5);
    wire_bits(6, 3);
    wire_bits(62, 6);
    for (unsigned i = 62; i < 66; i++)
        CHECK_EQ(wire_word(), eerd(i % 64));
    wr(EECD, 0);
}

TEST(e1000_eeprom_is_written_when_enabled)
{
    card_new(NULL);
    uint16_t before = eerd(8);
    wire_start();
    wire_bits(5, 3), wire_bits(8, 6), wire_bits(0x1234, 16);
    CHECK_EQ(eerd(8), before); /* not enabled */
    wire_start();
    wire_bits(0x13, 5), wire_bits(0, 4); /* EWEN */
    wire_start();
    wire_bits(5, 3), wire_bits(8, 6), wire_bits(0x1234, 16);
    wire_start();
    CHECK(rd(EECD) & 8); /* ready */
    CHECK_EQ(eerd(8), 0x1234);
    wire_start();
    wire_bits(7, 3), wire_bits(8, 6); /* ERASE */
    CHECK_EQ(eerd(8), 0xffff);
    wire_start();
    wire_bits(4, 3), wire_bits(0x10, 6), wire_bits(0x4242, 16); /* WRAL */
    CHECK_EQ(eerd(0), 0x4242);
    CHECK_EQ(eerd(63), 0x4242);
    wr(CTRL, CTRL_RST); /* the address is read from it again */
    CHECK_EQ(rd(RA), 0x42424242);
    wire_start();
    wire_bits(5, 3), wire_bits(8, 6), wire_bits(0x1111, 16);
    CHECK_EQ(eerd(8), 0x4242); /* reset has disabled it */
}

TEST(E13_e1000_serial_wires_take_anything)
{
    uint64_t seed = 13;
    card_new(NULL);
    wr(EERD, 64 << 8 | 1);
    CHECK_EQ(rd(EERD), 0xffff4010);
    wr(EERD, 255 << 8 | 1);
    CHECK_EQ(rd(EERD), 0xffffff10);
    for (unsigned phy = 0; phy < 32; phy++) {
        for (unsigned op = 0; op < 4; op++) {
            wr(MDIC, op << 26 | phy << 21 | 31 << 16 | 0x1234);
            CHECK(rd(MDIC) & 1u << 28);
            CHECK_EQ(!(rd(MDIC) & 1u << 30), phy == 1 && (op == 1 || op == 2));
        }
    }
    for (int i = 0; i < 200000; i++) {
        uint64_t r = test_rand(&seed);
        if (r & 1)
            wr(EECD, (uint32_t)(r >> 8 & 0x7f) | 0x42);
        else if (r & 2)
            wr(EECD, (uint32_t)(r >> 8));
        else if (r & 4)
            wr(MDIC, (uint32_t)(r >> 8));
        else
            wr(EERD, (uint32_t)(r >> 8));
        rd(EECD), rd(MDIC), rd(EERD);
    }
    step();
}

/* --- PHY and link */

static uint16_t phy_rd(unsigned reg)
{
    wr(MDIC, 2u << 26 | 1u << 21 | reg << 16);
    CHECK_EQ(rd(MDIC) & 0x5fff0000, 0x18200000 | reg << 16);
    return (uint16_t)rd(MDIC);
}
static void phy_wr(unsigned reg, uint16_t value)
{
    wr(MDIC, 1u << 26 | 1u << 21 | reg << 16 | value);
    CHECK_EQ(rd(MDIC) & 0x50000000, 0x10000000);
}

TEST(e1000_phy_is_a_88e1000_with_a_gigabit_link)
{
    card_new(NULL);
    CHECK_EQ(phy_rd(2), 0x0141);
    CHECK_EQ(phy_rd(3) & 0xfff0, 0x0c20);
    phy_rd(1);
    CHECK_EQ(phy_rd(1) & 0x24, 0x24);
    CHECK_EQ(phy_rd(17) & 0xec00, 0xac00); /* 1000, full duplex, resolved, link */
    CHECK_EQ(phy_rd(10) & 0x3800, 0x3800);
    CHECK_EQ(rd(STATUS) & 0xc3, 0x83);
    wr(IMS, ICR_MDAC);
    wr(MDIC, 2u << 26 | 1u << 21 | 1u << 29);
    CHECK(line());
    CHECK_EQ(rd(ICR), ICR_MDAC);
}

TEST(e1000_negotiates_what_is_asked_for)
{
    card_new(NULL);
    wr(IMS, ICR_LSC);
    phy_wr(9, 0);      /* no gigabit */
    phy_wr(0, 0x1200); /* again */
    CHECK(line());     /* the link went */
    CHECK_EQ(rd(ICR), ICR_LSC);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK_EQ(phy_rd(1) & 0x24, 0);
    pass(20 * MS);
    CHECK_EQ(rd(ICR), ICR_LSC);
    CHECK_EQ(rd(STATUS) & 0xc3, 0x43);
    CHECK_EQ(phy_rd(1) & 4, 0); /* the loss shows once */
    CHECK_EQ(phy_rd(1) & 4, 4);
    phy_wr(0, 0x0100); /* forced: 10, full */
    CHECK_EQ(rd(STATUS) & 0xc3, 0x03);
    phy_wr(0, 0x0900); /* powered down */
    CHECK(!(rd(STATUS) & STATUS_LU));
    wr(CTRL, rd(CTRL) | 1u << 31); /* PHY_RST */
    pass(20 * MS);
    CHECK_EQ(rd(STATUS) & 0xc3, 0x83);
    CHECK_EQ(phy_rd(0), 0x1140);
    wr(CTRL, rd(CTRL) & ~(uint32_t)CTRL_SLU);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK_EQ(phy_rd(17) & 0x400, 0x400); /* the PHY's is up */
    wr(CTRL, 0x801 | CTRL_SLU);          /* forced speed: 10 */
    CHECK_EQ(rd(STATUS) & 0xc3, 0x03);
}

TEST(e1000_cable_is_pulled_and_put_in)
{
    uint8_t f[100];
    card_new(NULL);
    wr(IMS, ICR_LSC);
    rx_setup(RING, RING - 1, RCTL_BAM, 2048);
    make_frame(f, NULL, 0x0800, sizeof f);
    e1000_set_link(&nic->dev, false);
    CHECK(line());
    CHECK_EQ(rd(ICR), ICR_LSC);
    CHECK(!(rd(STATUS) & STATUS_LU));
    CHECK_EQ(give(f, sizeof f), PORT_SENT);
    CHECK_EQ(dropped(RX_LINK), 1);
    tx_setup(RING);
    tx_legacy(RX_BUF, 100, TXD_EOP | TXD_IFCS | TXD_RS);
    tx_go();
    CHECK(tx_dd(0));
    CHECK_EQ(dropped(TX_LINK), 1);
    e1000_set_link(&nic->dev, true);
    CHECK(!(rd(STATUS) & STATUS_LU));
    pass(20 * MS);
    CHECK(rd(STATUS) & STATUS_LU);
    CHECK(line());
    CHECK_EQ(give(f, sizeof f), PORT_SENT);
    CHECK_EQ(rd(RDH), 1);
    wr(CTRL, 0x201);
    CHECK_EQ(give(f, sizeof f), PORT_SENT);
    CHECK_EQ(dropped(RX_SLU), 1);
}

/* --- interrupts */

TEST(e1000_interrupt_registers)
{
    card_new(NULL);
    wr(ICS, ICR_TXDW | ICR_RXT0);
    CHECK(!line());
    CHECK(dropped(IRQ_MASKED));
    CHECK_EQ(rd(ICS), 0xffffffff); /* write-only */
    CHECK_EQ(rd(IMC), 0xffffffff);
    wr(IMS, ICR_RXT0);
    CHECK(line());
    CHECK_EQ(rd(IMS), ICR_RXT0);
    wr(IMS, ICR_LSC);
    CHECK_EQ(rd(IMS), ICR_RXT0 | ICR_LSC);
    wr(ICR, ICR_RXT0); /* writing ones clears as well */
    CHECK(!line());
    CHECK_EQ(rd(ICR), ICR_TXDW);
    CHECK_EQ(rd(ICR), 0);
    wr(ICS, ICR_LSC);
    CHECK(line());
    wr(IMC, ICR_LSC);
    CHECK(!line());
    wr(IMS, ICR_LSC);
    CHECK(line());
    CHECK_EQ(rd(ICR), ICR_LSC);
    CHECK(!line());
    wr(ICS, 0xffffffff);
    CHECK_EQ(rd(ICR), ICR_BITS);
    wr(IMS, 0xffffffff);
    CHECK_EQ(rd(IMS), ICR_BITS);
}

/* The driver's interrupt test: masked causes raise nothing, unmasked ones do, whichever bit it is. */
TEST(e1000_interrupt_self_test)
{
    card_new(NULL);
    wr(IMC, 0xffffffff);
    for (unsigned i = 0; i < 10; i++) {
        uint32_t mask = 1u << i;
        wr(IMC, mask);
        wr(ICS, mask);
        CHECK(!line());
        wr(IMS, mask);
        CHECK(line());
        CHECK(rd(ICR) & mask);
        wr(IMC, ~mask & 0x7fff);
        wr(ICS, ~mask & 0x7fff);
        CHECK(!line());
    }
}

TEST(e1000_itr_keeps_interrupts_apart)
{
    card_new(NULL);
    wr(IMS, ICR_RXT0);
    wr(ITR, 1000); /* 256 us */
    wr(ICS, ICR_RXT0);
    CHECK(line());
    rd(ICR);
    wr(ICS, ICR_RXT0);
    CHECK(!line());
    CHECK_EQ(dropped(IRQ_THROTTLED), 1);
    pass(255 * US);
    CHECK(!line());
    pass(1 * US);
    CHECK(line());
    rd(ICR);
    wr(ICS, ICR_RXT0);
    CHECK(!line());
    wr(ITR, 0); /* off: at once */
    CHECK(line());
    rd(ICR);
    wr(ITR, 1000);
    pass(300 * US);
    wr(ICS, ICR_RXT0);
    CHECK(line());
    rd(ICR);
    wr(ICS, ICR_RXT0);
    rd(ICR); /* taken back while it is held */
    pass(300 * US);
    CHECK(!line());
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER); /* idle */
}

TEST(e1000_msi_is_a_message_each_time)
{
    card_new(NULL);
    unsigned cap = nic->msi;
    cf8_write(nic->devfn, cap + 4, 0xfee00000, 4);
    cf8_write(nic->devfn, cap + 12, 0x41, 2);
    cf8_write(nic->devfn, cap + 2, 1, 2);
    unsigned before = m->fake.sent;
    wr(IMS, ICR_LSC | ICR_RXT0);
    wr(ICS, ICR_LSC);
    wr(ICS, ICR_RXT0); /* not acknowledged yet: the same one */
    CHECK_EQ(m->fake.sent, before + 1);
    CHECK_EQ(rd(ICR), ICR_LSC | ICR_RXT0);
    wr(ICS, ICR_LSC);
    CHECK_EQ(m->fake.sent, before + 2);
    CHECK(!line());
    rd(ICR);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    wr(ICS, ICR_LSC); /* a message is a write that needs the bus: it goes out when the card has it again */
    CHECK_EQ(m->fake.sent, before + 2);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    CHECK_EQ(m->fake.sent, before + 3);
}

/* --- registers */

static void pattern(unsigned reg, uint32_t mask, uint32_t write)
{
    static const uint32_t words[] = {0x5a5a5a5a, 0xa5a5a5a5, 0, 0xffffffff};
    for (int i = 0; i < 4; i++) {
        wr(reg, words[i] & write);
        if (rd(reg) != (words[i] & write & mask))
            printf("register 0x%x\n", reg);
        CHECK_EQ(rd(reg), words[i] & write & mask);
    }
}

/* Register, bits that can be written: those of Intel's self-test. */
TEST(e1000_register_self_test)
{
    static const struct {
        unsigned reg;
        uint32_t mask, write;
    } regs[] = {
        {0x28,   0xffffffff, 0xffffffff},
        {0x2c,   0xffff,     0xffffffff},
        {0x30,   0xffff,     0xffffffff},
        {VET,    0xffff,     0xffffffff},
        {RDTR,   0xffff,     0xffffffff},
        {RDBAH,  0xffffffff, 0xffffffff},
        {RDLEN,  0xfff80,    0xfffff   },
        {RDH,    0xffff,     0xffff    },
        {RDT,    0xffff,     0xffff    },
        {0x2168, 0xfff8,     0xfff8    },
        {0x170,  0xffff,     0xffff    },
        {0x410,  0x3fffffff, 0x3fffffff},
        {TDBAH,  0xffffffff, 0xffffffff},
        {TDLEN,  0xfff80,    0xfffff   },
        {RDBAL,  0xfffffff0, 0xffffffff},
        {0x178,  0xc000ffff, 0xffff    },
        {TDBAL,  0xfffffff0, 0xffffffff},
        {TIDV,   0xffff,     0xffff    },
    };
    card_new(NULL);
    uint32_t status = rd(STATUS);
    wr(STATUS, 0xffff833);
    CHECK_EQ(rd(STATUS), status);
    for (size_t i = 0; i < sizeof regs / sizeof *regs; i++)
        pattern(regs[i].reg, regs[i].mask, regs[i].write);
    wr(RCTL, 0);
    CHECK_EQ(rd(RCTL), 0);
    wr(RCTL, 0x003ffffb & 0x06dfb3fe);
    CHECK_EQ(rd(RCTL), 0x003ffffb & 0x06dfb3fe);
    wr(TCTL, 0);
    CHECK_EQ(rd(TCTL), 0);
    wr(RCTL, 0x06dfb3fe);
    CHECK_EQ(rd(RCTL), 0x06dfb3fe);
    for (unsigned i = 0; i < 16; i++)
        pattern(RA + 8 * i + 4, 0x8003ffff, 0xffffffff);
    for (unsigned i = 0; i < 128; i++)
        pattern(MTA + 4 * i, 0xffffffff, 0xffffffff);
    for (unsigned i = 0; i < 128; i++)
        pattern(VFTA + 4 * i, 0xffffffff, 0xffffffff);
    step();
}

TEST(e1000_reset_by_ctrl_and_through_the_io_bar)
{
    card_new(NULL);
    for (int io = 0; io < 2; io++) {
        tx_setup(RING);
        rx_setup(RING, RING - 1, RCTL_UPE, 2048);
        wr(IMS, ICR_LSC);
        wr(ICS, ICR_LSC | ICR_TXDW);
        wr(MTA + 4, 5);
        wr(RA, 1);
        CHECK(line());
        if (io) {
            out((uint16_t)io_bar, CTRL, 4);
            CHECK_EQ(in((uint16_t)io_bar, 4), CTRL);
            CHECK_EQ(in((uint16_t)(io_bar + 4), 4), rd(CTRL));
            out((uint16_t)(io_bar + 4), CTRL_RST | 0x201, 4);
        } else {
            wr(CTRL, CTRL_RST | 0x201);
        }
        CHECK(!line());
        CHECK_EQ(rd(CTRL), 0x201);
        CHECK_EQ(rd(ICR), 0);
        CHECK_EQ(rd(IMS), 0);
        CHECK_EQ(rd(RCTL) | rd(TCTL) | rd(TDLEN) | rd(RDT) | rd(MTA + 4), 0);
        CHECK_EQ(rd(RA), 0x12005452);
        CHECK_EQ(rd(RA + 4), 0x80005634);
        wr(CTRL, 0x201 | CTRL_SLU);
        CHECK(rd(STATUS) & STATUS_LU); /* the PHY was left alone */
    }
    out((uint16_t)io_bar, 0x20000, 4);
    CHECK_EQ(in((uint16_t)(io_bar + 4), 4), 0);
    out((uint16_t)(io_bar + 4), 1, 4);
}

TEST(E14_e1000_every_offset_and_width)
{
    card_new(NULL);
    uint64_t v;
    uint32_t first_ra = rd(RA);
    wr(MTA - 4, 0xffffffff); /* beside the arrays: holes, and no element of them */
    wr(RA + 16 * 8, 0xffffffff);
    wr(VFTA + 128 * 4, 0xffffffff);
    wr(MTA + 127 * 4, 0x1234);
    CHECK_EQ(rd(RA), first_ra);
    CHECK_EQ(rd(MTA - 4) | rd(RA + 16 * 8), 0);
    CHECK_EQ(rd(RA + 15 * 8 + 4), 0);
    CHECK_EQ(rd(VFTA), 0);
    for (unsigned off = 0; off < 0x20000; off++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            if (size == 4 && off % 4 == 0 && off < 0x4000)
                continue; /* they do things; below */
            v = UINT64_MAX;
            space_write(&m->memory, bar + off, size, &v);
            space_read(&m->memory, bar + off, size, &v);
        }
    }
    for (unsigned off = 0; off < 0x4000; off += 4) {
        wr(off, 0);
        wr(off, 0xffffffff);
        rd(off);
    }
    for (uint64_t io = 0; io < 1u << 31; io += (1u << 20) - 4) {
        out((uint16_t)io_bar, (uint32_t)io, 4);
        out((uint16_t)(io_bar + 4), 0xffffffff, 4);
        in((uint16_t)(io_bar + 4), 4);
    }
    for (unsigned off = 0; off < 8; off++) {
        for (unsigned size = 1; size <= 4; size *= 2) {
            out((uint16_t)(io_bar + off), 0xffffffff, size);
            in((uint16_t)(io_bar + off), size);
        }
    }
    step();
    device_reset(&nic->dev);
    CHECK_EQ(rd(CTRL), 0x201);
}

TEST(e1000_statistics_clear_when_read)
{
    uint8_t f[100];
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 2048);
    make_frame(f, NULL, 0x0800, sizeof f);
    for (int i = 0; i < 3; i++)
        give(f, sizeof f);
    CHECK_EQ(rd(0x4074), 3); /* GPRC */
    CHECK_EQ(rd(0x4074), 0);
    CHECK_EQ(rd(0x4060), 3);   /* PRC127 */
    CHECK_EQ(rd(0x4088), 312); /* GORCL stays until GORCH is read */
    CHECK_EQ(rd(0x4088), 312);
    CHECK_EQ(rd(0x408c), 0);
    CHECK_EQ(rd(0x4088), 0);
    card->stats[(STAT_GPRC - E1000_STATS) / 4] = UINT32_MAX;
    card->stats[(STAT_GORCL - E1000_STATS) / 4] = UINT32_MAX;
    give(f, sizeof f);
    CHECK_EQ(rd(0x4074), UINT32_MAX); /* sticks */
    CHECK_EQ(rd(0x4088), 103);
    CHECK_EQ(rd(0x408c), 1);
    wr(0x4074, 5);
    CHECK_EQ(rd(0x4074), 0);
}

TEST(e1000_state_survives_save_and_load)
{
    static uint8_t state[1 << 17];
    card_new(NULL);
    rx_setup(RING, 5, RCTL_UPE, 2048);
    tx_setup(RING);
    wr(IMS, ICR_LSC);
    wr(ICS, ICR_LSC);
    phy_wr(4, 0x0021);
    wire_start();
    wire_bits(6, 3), wire_bits(0, 6); /* in the middle of a read */
    size_t n = device_save(&nic->dev, state, sizeof state);
    CHECK(n && n < sizeof state);
    device_reset(&nic->dev);
    CHECK(!line());
    CHECK(!device_load(&nic->dev, state, n));
    CHECK(line());
    CHECK_EQ(rd(RDT), 5);
    CHECK_EQ(wire_word(), 0x5452);
    CHECK_EQ(phy_rd(4), 0x0021);
    CHECK_EQ(rd(ICR), ICR_LSC);
    uint64_t seed = 7; /* and no saved state is too strange */
    for (int i = 0; i < 300; i++) {
        static uint8_t copy[sizeof state];
        memcpy(copy, state, n);
        for (int k = 0; k < 20; k++)
            copy[test_rand(&seed) % n] = (uint8_t)test_rand(&seed);
        (void)!device_load(&nic->dev, copy, n);
        pass(MS);
        wire_word();
    }
}
