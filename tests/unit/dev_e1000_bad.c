// SPDX-License-Identifier: MIT
/* What hostile drivers and peers make of the e1000: rows E and P11 of the bad inputs, by name. Each must end with a card that
 * works, nothing lost to others, and no more work than the ring's length. */
#include "test.h"
#include "e1000_board.h"

#include <pthread.h>

TEST(E1_e1000_head_and_tail_outside_the_ring)
{
    uint8_t f[64];
    static const uint32_t values[] = {RING, RING + 1, 0x7fff, 0xffff};
    for (unsigned i = 0; i < 16; i++) {
        start();
        ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
        rx_setup(RING, RING - 1, RCTL_UPE, 2048);
        unsigned tx_reg = i & 4 ? TDH : TDT, rx_reg = i & 4 ? RDH : RDT;
        for (unsigned k = 0; k < 16; k++)
            tx_legacy(TX_BUF, 64, CMD);
        if (i & 8)
            wr(TDT, 5);
        wr(tx_reg, values[i & 3]);
        wr(rx_reg, values[i & 3]);
        step();
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
        CHECK(dropped(RX_RING) == 1);
        wr(tx_reg, 0); /* all well again */
        wr(rx_reg, i & 4 ? 0 : RING - 1);
        wr(TDT, 5);
        step();
        CHECK_EQ(rd(TDH), 5);
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
        CHECK(dropped(RX_RING) == 1);
        CHECK_EQ(rd(RDH), 1);
    }
}

TEST(E2_e1000_segmentation_that_makes_no_progress)
{
    static uint8_t f[65600];
    static const struct {
        unsigned hdrlen, mss, paylen, len;
        enum e1000_drop why;
    } cases[] = {
        {0,   1460,  1000,    1054, TX_HDRLEN     },
        {54,  0,     1000,    1054, TX_MSS        },
        {0,   0,     0,       1054, TX_HDRLEN     },
        {54,  1460,  1000,    53,   TX_HDRLEN     },
        {54,  1460,  0,       54,   E1000_DROPS   }, /* no payload: one segment */
        {54,  1460,  0xfffff, 1054, E1000_DROPS   }, /* PAYLEN is not believed */
        {54,  65535, 1000,    1054, E1000_DROPS   },
        {54,  1,     1000,    1054, E1000_DROPS   },
        {240, 65535, 1000,    1054, TX_TSO_HEADERS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int software = 0; software < 2; software++) {
            start();
            if (software)
                port_accept(&peer.port, 0);
            tso_frame(f, 1000);
            struct tx_context c = tso_context((uint16_t)cases[i].mss, cases[i].paylen);
            c.hdrlen = (uint8_t)cases[i].hdrlen;
            tx_ctx(c);
            tx_data(TX_BUF, cases[i].len, TXD_TSE | CMD, TXD_POPTS_IXSM | TXD_POPTS_TXSM);
            tx_go();
            CHECK_EQ(rd(TDH), 2);
            CHECK(tx_dd(1));
            if (cases[i].why != E1000_DROPS) {
                CHECK_EQ(peer.n, 0);
                CHECK_EQ(dropped(cases[i].why), 1);
                CHECK_EQ(rd(0x40fc), 1); /* TSCTFC */
            } else {
                CHECK(peer.n);
            }
        }
    }
    start(); /* 64 KiB in segments of one byte */
    port_accept(&peer.port, 0);
    size_t n = tso_frame(f, 65000);
    tx_ctx(tso_context(1, 65000));
    tx_data(TX_BUF, (uint32_t)n, TXD_TSE | CMD, TXD_POPTS_TXSM);
    tx_go();
    CHECK(tx_dd(1));
    CHECK_EQ(peer.n, 0);
}

TEST(E3_e1000_header_longer_than_the_buffer_for_it)
{
    static uint8_t f[2048];
    for (unsigned hdrlen = 0; hdrlen < 256; hdrlen++) {
        for (unsigned len = 14; len < 300; len += 13) {
            if (len == 14 || hdrlen % 64 == 0)
                start();
            tso_frame(f, 1000);
            struct tx_context c = tso_context(100, 1000);
            c.hdrlen = (uint8_t)hdrlen;
            tx_ctx(c);
            tx_data(TX_BUF, len, TXD_TSE | CMD, TXD_POPTS_IXSM | TXD_POPTS_TXSM);
            tx_go();
            CHECK_EQ(rd(TDH), rd(TDT));
            if (hdrlen > 240)
                CHECK(dropped(TX_HDRLEN));
        }
        devices_free(&m->board);
    }
}

TEST(E4_e1000_checksum_offsets_beyond_the_frame)
{
    static const uint32_t lengths[] = {14, 60, 200};
    uint8_t f[200];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned css = 0; css < 256; css++) {
            for (unsigned cso = 0; cso < 256; cso++) {
                uint64_t before = dropped(TX_CSUM);
                bool fits = css < lengths[i] && cso + 1 < lengths[i];
                tx_raw(TX_BUF, lengths[i] | CMD | TXD_IC | cso << 16, css << 8);
                tx_go();
                CHECK_EQ(dropped(TX_CSUM) - before, !fits);
                const uint8_t *p = sent(0, NULL, NULL);
                if (!fits)
                    CHECK(!memcmp(p, f, lengths[i]));
            }
        }
    }
    CHECK_EQ(peer.n, 3 * 65536);
    uint64_t seed = 4; /* contexts: both checksums, and an end in front of the start */
    for (int i = 0; i < 20000; i++) {
        uint64_t r = test_rand(&seed), s = test_rand(&seed);
        tx_ctx((struct tx_context){.ipcss = (uint8_t)r,
                                   .ipcso = (uint8_t)(r >> 8),
                                   .ipcse = (uint16_t)((r >> 16) % 300),
                                   .tucss = (uint8_t)(r >> 32),
                                   .tucso = (uint8_t)(r >> 40),
                                   .tucse = (uint16_t)((r >> 48) % 300)});
        tx_data(TX_BUF, 1 + s % 200, CMD, (uint32_t)(s >> 32) & 0x300);
        tx_go();
        CHECK_EQ(rd(TDH), rd(TDT));
    }
}

TEST(E5_e1000_context_and_data_in_every_order)
{
    uint64_t seed = 5;
    uint8_t f[512];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    tx_ctx(tso_context(100, 100)); /* the row's own sequence */
    tx_data(TX_BUF, 54, TXD_TSE, 0);
    tx_data(TX_BUF, 0, TXD_TSE, 0);
    tx_ctx(tso_context(1, 1));
    tx_data(0, 100, TXD_TSE, 0);
    tx_data(TX_BUF, 10, TXD_TSE | CMD, 0);
    tx_go();
    CHECK_EQ(rd(TDH), 6);
    CHECK_EQ(dropped(TX_MIXED), 1);
    for (int i = 0; i < 30000; i++) {
        uint64_t r = test_rand(&seed), s = test_rand(&seed);
        static const uint32_t sizes[] = {0, 1, 13, 14, 54, 60, 500, 4096, 16300, 65000, 0xfffff};
        uint32_t size = sizes[r % 11], flags = (uint32_t)(r >> 8) & 0xff000000;
        uint64_t addr = r >> 40 & 15 ? TX_BUF + (r >> 44 & 0x7fff) : r >> 48 & 1 ? 0 : bar;
        switch (s & 3) {
        case 0:
            tx_raw(s >> 8, (uint32_t)r, (uint32_t)s); /* whatever */
            break;
        case 1:
            tx_ctx((struct tx_context){.ipcss = (uint8_t)(s >> 8 & 31),
                                       .tucss = (uint8_t)(s >> 16 & 63),
                                       .tucso = (uint8_t)(s >> 24 & 63),
                                       .hdrlen = (uint8_t)(s >> 32),
                                       .mss = (uint16_t)(s >> 40 & 2047),
                                       .lower = (uint32_t)(s >> 32) & 0xf0fffff});
            break;
        case 2:
            tx_raw(addr, (size & 0xffff) | (flags & ~TXD_DEXT), (uint32_t)s);
            break;
        default:
            tx_data(addr, size, flags & ~(15u << 20), (uint32_t)(s >> 32));
        }
        if (s >> 50 & 1)
            tx_go();
    }
    tx_data(TX_BUF, 64, CMD, 0);
    tx_go();
    CHECK(rd(TDH) == rd(TDT) || dropped(TX_RING) == 0);
}

TEST(E6_e1000_packet_without_end)
{
    uint8_t f[64];
    start();
    ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
    tx_setup(4096);
    for (int i = 0; i < 20000; i++) {
        tx_data(TX_BUF, 4096, TXD_TSE | TXD_RS, 0);
        if (i % 50 == 0)
            tx_go();
    }
    CHECK_EQ(peer.n, 0);
    CHECK(dropped(TX_PIECES) + dropped(TX_LONG));
    tx_data(TX_BUF, 64, CMD, 0); /* the end of it, and one that is well */
    tx_data(TX_BUF, 64, CMD, 0);
    tx_go();
    CHECK_EQ(peer.n, 1);
    CHECK_EQ(rd(TDH), rd(TDT));
    tx_setup(8); /* a ring that is full of it */
    for (int i = 0; i < 7; i++)
        tx_legacy(TX_BUF, 10, 0);
    tx_go();
    CHECK_EQ(rd(TDH), 7);
    tx_legacy(TX_BUF, 10, CMD);
    tx_legacy(TX_BUF, 64, CMD);
    tx_go();
    CHECK_EQ(peer.n, 2);
}

TEST(E7_e1000_ring_lengths_that_are_none)
{
    static const uint32_t lengths[] = {0, 1, 127, 128, 0xfff80, 0xfffff, 0xffffffff, 0x80};
    uint8_t f[64];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tx_setup(RING);
        rx_setup(RING, RING - 1, RCTL_UPE, 2048);
        for (int k = 0; k < 4; k++)
            tx_legacy(TX_BUF, 64, CMD);
        peer.busy = true; /* changed while there is something in it */
        tx_go();
        wr(TDLEN, lengths[i]);
        wr(RDLEN, lengths[i]);
        peer.busy = false;
        port_ready(&peer.port);
        step();
        give(f, sizeof f);
        wr(TDT, 7);
        wr(RDT, 7);
        step();
        give(f, sizeof f);
    }
    CHECK(dropped(TX_RING));
    CHECK(dropped(RX_RING));
    CHECK(nic->dev.lints[LINT_RING_LENGTH]);
    CHECK(nic->dev.lints[LINT_TAIL]);
}

TEST(E9_e1000_rings_and_buffers_in_bars)
{
    uint8_t f[64];
    start();
    uint64_t targets[] = {bar, bar + TDT, bar + RDT, 0xfec00000, 0xfee00000, 0xe0000000, 0xfffffff0};
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
        tx_setup(RING);
        uint64_t drops = dropped(TX_BUFFER_DMA);
        tx_legacy(targets[i], 64, CMD); /* its data */
        tx_go();
        CHECK_EQ(dropped(TX_BUFFER_DMA), drops + 1);
        CHECK(tx_dd(0));
        rx_setup(RING, RING - 1, RCTL_UPE, 2048);
        ram_put(RX_AT, &targets[i], 8);
        drops = dropped(RX_BUFFER_DMA);
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
        CHECK_EQ(dropped(RX_BUFFER_DMA), drops + 1);
        CHECK_EQ(rx_desc(0).errors, RXD_ERR_RXE);
        CHECK_EQ(give(f, sizeof f), PORT_SENT); /* the next one is well */
        CHECK_EQ(rd(RDH), 2);
        wr(TDBAL, (uint32_t)targets[i]); /* and the rings themselves */
        wr(TDH, 0);
        wr(TDT, 10);
        wr(RDBAL, (uint32_t)targets[i]);
        step();
        CHECK_EQ(rd(TDH), 0);
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
        CHECK(dropped(TX_RING_DMA) && dropped(RX_RING_DMA));
    }
    CHECK_EQ(peer.n, 0);
}

TEST(E16_e1000_reset_disable_and_move_in_the_middle)
{
    uint64_t seed = 16;
    uint8_t f[64];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    for (int i = 0; i < 20000; i++) {
        uint64_t r = test_rand(&seed);
        switch (r % 20) {
        case 0:
            wr(CTRL, CTRL_RST);
            wr(CTRL, 0x201 | CTRL_SLU);
            break;
        case 1:
            wr(TCTL, (uint32_t)(r >> 8) & 2);
            break;
        case 2:
            wr(RCTL, (uint32_t)(r >> 8));
            break;
        case 3:
            e1000_set_link(&nic->dev, r >> 8 & 1);
            break;
        case 4:
            cf8_write(nic->devfn, PCI_COMMAND, (uint32_t)(r >> 8 & 4) | PCI_COMMAND_MEMORY, 2);
            break;
        case 5:
            cf8_write(nic->devfn, 0x10, 0xc0000000 + (uint32_t)(r >> 8 & 15) * 0x20000, 4);
            bar = cf8(0, nic->devfn, 0x10, 4) & ~15u;
            break;
        case 6:
            wr(ICS, (uint32_t)(r >> 8));
            wr(IMS, (uint32_t)(r >> 16));
            wr(IMC, (uint32_t)(r >> 24));
            break;
        case 7:
            wr(ITR, (uint32_t)(r >> 8) & 0xff);
            rd(ICR);
            break;
        case 8:
            tx_setup(RING);
            break;
        case 9:
            rx_setup(RING, RING - 1, RCTL_UPE | RCTL_BAM, 2048);
            break;
        case 10:
            peer.busy = r >> 8 & 1;
            if (!peer.busy)
                port_ready(&peer.port);
            break;
        case 11:
            pass(r >> 8 & 0xffff);
            break;
        case 12:
            wr(RDTR, (uint32_t)(r >> 8) & 0x800000ff);
            wr(TIDV, (uint32_t)(r >> 16) & 0xff);
            break;
        default:
            for (unsigned k = 0; k < (r >> 8) % 8; k++)
                tx_legacy(TX_BUF, 64, CMD | ((uint32_t)r & TXD_IDE));
            wr(TDT, tx_tail);
            if (r >> 16 & 1)
                step();
            if (r >> 17 & 1)
                give(f, sizeof f);
        }
    }
    device_reset(&nic->dev);
    peer.busy = false;
    port_ready(&peer.port);
    step();
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
    e1000_set_link(&nic->dev, true);
    wr(CTRL, 0x201 | CTRL_SLU);
    pass(20 * MS);
    tx_setup(RING);
    unsigned before = peer.n;
    tx_legacy(TX_BUF, 64, CMD);
    tx_go();
    CHECK_EQ(peer.n, before + 1);
}

TEST(E17_e1000_rings_at_the_ends_of_everything)
{
    uint8_t f[64];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    wr(TDBAL, 0xffffff80); /* wraps at 2^64 */
    wr(TDBAH, 0xffffffff);
    wr(TDT, 20);
    step();
    CHECK_EQ(rd(TDH), 0);
    CHECK_EQ(dropped(TX_RING), 1);
    wr(TDBAH, 0);
    wr(TDBAL, RAM_END - 0x80); /* runs out of RAM */
    wr(TDT, 21);
    step();
    CHECK_EQ(dropped(TX_RING_DMA), 1);
    tx_setup(RING); /* a packet that lies over its own descriptors, and is written back over */
    tx_legacy(TX_AT, 1024, CMD);
    tx_legacy(TX_AT + 16, 1008, CMD);
    tx_go();
    CHECK_EQ(rd(TDH), 2);
    tx_setup(RING); /* the last bytes of RAM, and one more */
    tx_legacy(RAM_END - 64, 64, CMD);
    tx_legacy(RAM_END - 64, 65, CMD);
    tx_go();
    CHECK_EQ(dropped(TX_BUFFER_DMA), 1);
    tx_raw(UINT64_MAX - 31, 64 | CMD, 0);
    tx_go();
    CHECK_EQ(dropped(TX_BUFFER_DMA), 2);
    /* a receive buffer over the ring: the frame's bytes become the next descriptors */
    rx_setup(RING, RING - 1, RCTL_UPE, 2048);
    uint64_t at = RX_AT;
    ram_put(RX_AT, &at, 8);
    for (int i = 0; i < 5; i++)
        give(f, sizeof f);
    wr(RDBAL, 0xffffff80);
    wr(RDBAH, 0xffffffff);
    give(f, sizeof f);
    CHECK(dropped(RX_RING));
}

TEST(P11_e1000_with_bus_mastering_off)
{
    uint8_t f[64];
    start();
    ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
    rx_setup(RING, RING - 1, RCTL_UPE, 2048);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    tx_legacy(TX_BUF, 64, CMD);
    tx_go();
    give(f, sizeof f);
    CHECK_EQ(dropped(TX_MASTER), 1);
    CHECK_EQ(dropped(RX_MASTER), 1);
    CHECK_EQ(rd(TDH) | rd(RDH), 0);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    step(); /* what the tail offered goes out by itself; what came is lost, and the next is not */
    CHECK_EQ(peer.n, 1);
    CHECK_EQ(rd(TDH), 1);
    give(f, sizeof f);
    CHECK_EQ(rd(RDH), 1);
    CHECK_EQ(dropped(RX_MASTER), 1);
}

/* A frame of many segments is dropped whole by a card that takes none: one drop, and nobody cuts it up. */
TEST(E12_e1000_that_is_closed_gets_no_segments)
{
    static uint8_t f[PORT_HEADER + 20 + 20 + 9000];
    struct iovec iov = {f, sizeof f};
    struct port_meta meta = {.flags = PORT_NEEDS_CSUM,
                             .gso_type = PORT_GSO_TCPV4,
                             .gso_size = 1000,
                             .csum_start = PORT_HEADER + 20,
                             .csum_offset = 16};
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    memset(f + PORT_HEADER, 0, 40);
    f[PORT_HEADER] = 0x45;
    f[PORT_HEADER + 2] = (uint8_t)((sizeof f - PORT_HEADER) >> 8);
    f[PORT_HEADER + 3] = (uint8_t)(sizeof f - PORT_HEADER);
    f[PORT_HEADER + 9] = 6;
    f[PORT_HEADER + 32] = 5 << 4;
    rx_setup(RING, RING - 1, RCTL_UPE, 2048);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(dropped(RX_MASTER), 1);
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    e1000_set_link(&nic->dev, false);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(dropped(RX_LINK), 1);
    CHECK_EQ(rd(RDH), 0);
    e1000_set_link(&nic->dev, true);
    now_ns += 2 * SECOND;
    step();
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    step();
    CHECK_EQ(rd(RDH), 9);
}

/* Registers and rings in any order, with any values, for a while. */
TEST(e1000_takes_anything)
{
    uint64_t seed = 1000;
    static uint8_t noise[RAM_END];
    start();
    for (size_t i = 0; i < sizeof noise; i += 8) {
        uint64_t r = test_rand(&seed);
        memcpy(noise + i, &r, 8);
    }
    ram_put(0, noise, sizeof noise);
    static const unsigned hot[] = {CTRL,  RCTL, TCTL, TDBAL, TDBAH, TDLEN, TDH,    TDT,  RDBAL, RDBAH,
                                   RDLEN, RDH,  RDT,  ICR,   IMS,   ITR,   RXCSUM, RDTR, TIDV,  MDIC};
    for (unsigned long i = 0; i < test_scale(60000); i++) {
        uint64_t r = test_rand(&seed), v = test_rand(&seed);
        unsigned reg = r & 3 ? hot[(r >> 8) % 20] : (unsigned)(r >> 8) & 0x1ffff;
        unsigned size = r >> 32 & 7 ? 4 : 1u << (r >> 35 & 3);
        if (reg == TDBAH || reg == RDBAH)
            v &= v >> 40 & 3 ? 0 : UINT64_MAX;
        if (reg == TDBAL || reg == RDBAL)
            v &= 0xfffff;
        if (reg == RCTL || reg == TCTL)
            v |= 2;
        if (r >> 40 & 1)
            space_write(&m->memory, bar + reg, size, &v);
        else
            space_read(&m->memory, bar + reg, size, &v);
        if (!(r >> 41 & 15))
            give(noise + (v & 0xffff), 14 + (v >> 20 & 0x3fff));
        if (!(r >> 45 & 7))
            pass(r >> 48 & 0xfffff);
        if (!(i % 5000)) {
            cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
            ram_put(0, noise, sizeof noise);
        }
    }
    device_reset(&nic->dev);
    pass(20 * MS);
    CHECK_EQ(rd(CTRL), 0x201);
}
TEST(E15_e1000_vlan_insert_in_short_frames)
{
    uint8_t f[64];
    uint32_t len;
    start();
    wr(CTRL, rd(CTRL) | CTRL_VME);
    ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
    for (uint32_t n = 1; n < 18; n++) {
        unsigned before = peer.n;
        uint64_t drops = dropped(TX_SHORT);
        tx_raw(TX_BUF, n | CMD | TXD_VLE, 5u << 16);
        tx_go();
        CHECK_EQ(peer.n, before + (n >= 14));
        CHECK_EQ(dropped(TX_SHORT), drops + (n < 14));
        if (n < 14)
            continue;
        const uint8_t *p = sent(0, &len, NULL);
        CHECK_EQ(len, 60);
        CHECK(!memcmp(p + 12, "\x81\0\0\5\x08\0", 6));
    }
}

TEST(E10_e1000_loopback_into_its_own_rings)
{
    uint8_t f[4096];
    start();
    /* received frames are written over the transmit ring, and make new descriptors there */
    memset(f, 0xff, sizeof f);
    for (unsigned i = 0; i < 4096 / 16; i++) {
        struct tx_desc d = {TX_BUF, 1024 | CMD, 0};
        memcpy(f + 16 * i, &d, 16);
    }
    ram_put(TX_BUF, f, sizeof f);
    rx_setup(RING, RING - 1, RCTL_UPE | RCTL_MPE | RCTL_LPE | 1u << 6, 2048);
    for (unsigned i = 0; i < RING; i++) {
        uint64_t to = i & 1 ? TX_AT : RX_AT;
        ram_put(RX_AT + 16 * i, &to, 8);
    }
    for (unsigned i = 0; i < RING - 1; i++)
        tx_legacy(TX_BUF, 1024, CMD);
    tx_go();
    for (int i = 0; i < 100; i++) {
        wr(RDT, (rd(RDH) + RING - 1) % RING);
        wr(TDT, (rd(TDH) + RING - 1) % RING);
        step();
    }
    device_reset(&nic->dev);
    step();
}

/* A vCPU at the registers while the loop walks the rings and the peer sends: for the thread sanitizer. */
static _Atomic bool vcpu_done;

static void *vcpu(void *arg)
{
    uint64_t seed = 99;
    (void)arg;
    for (int i = 0; i < 20000; i++) {
        uint64_t r = test_rand(&seed);
        static const unsigned regs[] = {ICR, IMS, IMC, ICS, TDH, RDH, STATUS, ITR, 0x4080, 0x4074};
        wr(TDT, (rd(TDH) + (unsigned)r % 8) % RING);
        wr(RDT, (rd(RDH) + RING - 1) % RING);
        if (r >> 8 & 1)
            wr(regs[2 + (r >> 9 & 1)], (uint32_t)(r >> 16));
        rd(regs[(r >> 32) % 10]);
        if (!(r >> 40 & 0xff)) {
            wr(CTRL, CTRL_RST);
            wr(CTRL, 0x201 | CTRL_SLU);
            wr(TDBAL, TX_AT);
            wr(TDLEN, RING * 16);
            wr(TCTL, TCTL_EN);
            wr(RDBAL, RX_AT);
            wr(RDLEN, RING * 16);
            wr(RCTL, RCTL_EN | RCTL_UPE);
        }
    }
    vcpu_done = true;
    return NULL;
}

TEST(E16_e1000_registers_race_the_loop)
{
    uint8_t f[64];
    pthread_t thread;
    struct iovec iov = {f, sizeof f};
    struct port_meta meta = {0};
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    for (unsigned i = 0; i < RING; i++)
        tx_legacy(TX_BUF, 64, CMD);
    rx_setup(RING, RING - 1, RCTL_UPE, 2048);
    vcpu_done = false;
    CHECK(!pthread_create(&thread, NULL, vcpu, NULL));
    while (!vcpu_done) {
        loop_step(m->board.loop);
        (void)!port_send(&peer.port, &iov, 1, &meta);
        now_ns += 1000;
    }
    pthread_join(thread, NULL);
    step();
    CHECK(peer.n);
}
