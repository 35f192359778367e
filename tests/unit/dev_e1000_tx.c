// SPDX-License-Identifier: MIT
/* The e1000's transmitter: every kind of descriptor, offload and write-back. What hostile rings make of it is in
 * dev_e1000_bad.c. */
#include "test.h"
#include "e1000_board.h"

TEST(e1000_sends_legacy_descriptors)
{
    uint8_t f[1514];
    uint32_t len;
    start();
    wr(IMS, ICR_TXDW);
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    tx_legacy(TX_BUF, 14, 0);
    tx_legacy(TX_BUF + 14, 500, 0);
    tx_legacy(TX_BUF + 514, 0, 0); /* no data */
    tx_raw(0, 100, 0);             /* nor here */
    tx_legacy(TX_BUF + 514, 1000, CMD);
    tx_legacy(TX_BUF, 20, TXD_EOP | TXD_IFCS); /* short: padded; no RS */
    tx_go();
    CHECK_EQ(peer.n, 2);
    CHECK(!memcmp(sent(-1, &len, NULL), f, sizeof f));
    CHECK_EQ(len, sizeof f);
    const uint8_t *p = sent(0, &len, NULL);
    CHECK_EQ(len, 60);
    CHECK(!memcmp(p, f, 20));
    for (int i = 20; i < 60; i++)
        CHECK_EQ(p[i], 0);
    CHECK_EQ(rd(TDH), 6);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(tx_dd(i), i == 4);
    CHECK(line());
    CHECK_EQ(rd(ICR), ICR_TXDW | ICR_TXQE);
    CHECK_EQ(rd(0x4080), 2); /* GPTC */
    CHECK_EQ(rd(0x4090), sizeof f + 4 + 64);
    wr(TCTL, TCTL_EN); /* without PSP */
    tx_legacy(TX_BUF, 20, CMD);
    tx_go();
    sent(0, &len, NULL);
    CHECK_EQ(len, 20);
}

TEST(e1000_sends_once_it_is_enabled_and_wraps)
{
    uint8_t f[200];
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    wr(TCTL, 0);
    tx_legacy(TX_BUF, sizeof f, CMD);
    tx_go();
    CHECK_EQ(peer.n, 0);
    wr(TCTL, TCTL_EN);
    step();
    CHECK_EQ(peer.n, 1);
    for (int i = 0; i < 1000; i++) {
        tx_legacy(TX_BUF, sizeof f, i % 3 ? CMD : CMD & ~TXD_RS);
        if (i % 7 == 0)
            tx_go();
    }
    tx_go();
    CHECK_EQ(peer.n, 1001);
    CHECK_EQ(rd(TDH), rd(TDT));
}

TEST(e1000_waits_for_the_rest_of_a_packet)
{
    uint8_t f[300];
    uint32_t len;
    start();
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    tx_legacy(TX_BUF, 100, 0);
    tx_go();
    tx_legacy(TX_BUF + 100, 100, 0);
    tx_go();
    CHECK_EQ(peer.n, 0);
    tx_legacy(TX_BUF + 200, 100, CMD);
    tx_go();
    CHECK_EQ(peer.n, 1);
    CHECK(!memcmp(sent(0, &len, NULL), f, 300));
    CHECK_EQ(rd(TDH), 3);
}

TEST(e1000_loses_nothing_to_a_busy_peer)
{
    uint8_t f[200];
    start();
    ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
    peer.busy = true;
    for (int i = 0; i < 10; i++)
        tx_legacy(TX_BUF, sizeof f, CMD);
    tx_go();
    CHECK_EQ(rd(TDH), 0);
    CHECK(!tx_dd(0));
    CHECK_EQ(loop_step(m->board.loop), 0); /* nobody spins */
    tx_legacy(TX_BUF, sizeof f, CMD);
    tx_go();
    CHECK_EQ(rd(TDH), 0);
    peer.busy = false;
    port_ready(&peer.port);
    step();
    CHECK_EQ(peer.n, 11);
    CHECK_EQ(rd(TDH), 11);
    CHECK(tx_dd(10));
    peer.busy = true; /* and the plug is pulled in the middle of it */
    tx_legacy(TX_BUF, sizeof f, CMD);
    tx_go();
    e1000_set_link(&nic->dev, false);
    step();
    CHECK(tx_dd(11));
    CHECK_EQ(dropped(TX_LINK), 1);
}

/* --- checksums */

TEST(e1000_asks_for_checksums)
{
    uint8_t f[1000];
    uint32_t len;
    struct port_meta meta;
    start();
    size_t n = make_ipv4(f, 6, 400);
    uint8_t right[1000];
    memcpy(right, f, n);
    be16(f + 24, 0);
    be16(f + 50, sum16(f + 26, 8, 6 + 420)); /* the pseudo header */
    ram_put(TX_BUF, f, n);
    tx_ctx((struct tx_context){.ipcss = 14, .ipcso = 24, .ipcse = 33, .tucss = 34, .tucso = 50});
    tx_data(TX_BUF, 54, 0, TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_data(TX_BUF + 54, (uint32_t)n - 54, CMD, 0);
    tx_go();
    CHECK_EQ(peer.n, 1);
    const uint8_t *p = sent(0, &len, &meta);
    CHECK_EQ(meta.flags, PORT_NEEDS_CSUM);
    CHECK_EQ(meta.csum_start, 34);
    CHECK_EQ(meta.csum_offset, 16);
    CHECK(!memcmp(p + 14, right + 14, 20));                             /* IP's is in */
    port_accept(&peer.port, 0);                                         /* a peer that cannot */
    tx_data(TX_BUF, (uint32_t)n, CMD, TXD_POPTS_IXSM | TXD_POPTS_TXSM); /* the context stays */
    tx_go();
    CHECK(!memcmp(sent(0, &len, NULL), right, n));
    CHECK_EQ(len, n);
    /* to a byte before the end, which no peer can be asked for */
    tx_ctx((struct tx_context){.tucss = 34, .tucso = 50, .tucse = (uint16_t)(n - 3)});
    tx_data(TX_BUF, (uint32_t)n, CMD, TXD_POPTS_TXSM);
    tx_go();
    p = sent(0, NULL, NULL);
    uint16_t partial = (uint16_t)~sum16(f + 34, n - 3 - 34 + 1, 0);
    CHECK_EQ((uint16_t)(p[50] << 8 | p[51]), partial);
    /* legacy: IC */
    tx_raw(TX_BUF, (uint32_t)n | CMD | TXD_IC | 50u << 16, 34 << 8);
    tx_go();
    p = sent(0, NULL, NULL);
    CHECK(!memcmp(p + 34, right + 34, n - 34));
}

/* --- segmentation */

TEST(e1000_segmentation_is_asked_for)
{
    static uint8_t f[65600];
    uint32_t len;
    struct port_meta meta;
    start();
    size_t n = tso_frame(f, 60000);
    tx_ctx(tso_context(1460, 60000));
    for (size_t at = 0; at < n; at += 4096)
        tx_data(TX_BUF + at, (uint32_t)(n - at < 4096 ? n - at : 4096), TXD_TSE | (n - at <= 4096 ? CMD : 0),
                TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_go();
    CHECK_EQ(peer.n, 1);
    const uint8_t *p = sent(0, &len, &meta);
    CHECK_EQ(len, n);
    CHECK_EQ(meta.gso_type, PORT_GSO_TCPV4);
    CHECK_EQ(meta.gso_size, 1460);
    CHECK_EQ(meta.hdr_len, 54);
    CHECK_EQ(meta.flags, PORT_NEEDS_CSUM);
    CHECK_EQ(meta.csum_start, 34);
    CHECK_EQ(meta.csum_offset, 16);
    CHECK_EQ((unsigned)(p[16] << 8 | p[17]), n - 14);
    CHECK_EQ(sum16(p + 14, 20, 0), 0xffff);
    CHECK_EQ((unsigned)(p[50] << 8 | p[51]), sum16(p + 26, 8, (uint32_t)(6 + n - 34)));
    CHECK(!memcmp(p + 54, f + 54, n - 54));
    CHECK_EQ(rd(0x40f8), 1);  /* TSCTC */
    CHECK_EQ(rd(0x40d4), 42); /* TPT: segments */
    CHECK_EQ(rd(0x4090), 60000 + 42 * 58);
}

TEST(e1000_segmentation_for_who_cannot)
{
    static uint8_t f[65600];
    uint32_t len, total = 0;
    start();
    port_accept(&peer.port, PORT_ACCEPT_CSUM);
    size_t n = tso_frame(f, 10000);
    tx_ctx(tso_context(1460, 10000));
    tx_data(TX_BUF, 54, TXD_TSE, TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_data(TX_BUF + 54, (uint32_t)n - 54, TXD_TSE | CMD, 0);
    tx_go();
    CHECK_EQ(peer.n, 7);
    for (int i = 0; i < 7; i++) {
        const uint8_t *p = sent(i - 6, &len, NULL);
        CHECK_EQ(len, i < 6 ? 1514 : 54 + 10000 - 6 * 1460);
        CHECK_EQ(sum16(p + 14, 20, 0), 0xffff);
        CHECK_EQ(sum16(p + 34, len - 34, sum16(p + 26, 8, 6 + len - 34)), 0xffff);
        CHECK_EQ((unsigned)(p[40] << 8 | p[41]), total);
        CHECK_EQ(p[47], i < 6 ? 0x10 : 0x19);
        CHECK(!memcmp(p + 54, f + 54 + total, len - 54));
        total += len - 54;
    }
    CHECK_EQ(total, 10000);
}

TEST(e1000_segments_ipv6_and_udp)
{
    uint8_t f[3000];
    struct port_meta meta;
    start();
    make_frame(f, NULL, 0x86dd, sizeof f);
    memset(f + 14, 0, 60);
    f[14] = 0x60;
    f[20] = 6;
    f[66] = 0x50;
    ram_put(TX_BUF, f, sizeof f);
    tx_ctx((struct tx_context){
        .ipcss = 14, .tucss = 54, .tucso = 70, .hdrlen = 74, .mss = 1000, .lower = TXD_TUCMD_TCP | 2926});
    tx_data(TX_BUF, sizeof f, TXD_TSE | CMD, TXD_POPTS_TXSM);
    tx_go();
    const uint8_t *p = sent(0, NULL, &meta);
    CHECK_EQ(meta.gso_type, PORT_GSO_TCPV6);
    CHECK_EQ((unsigned)(p[18] << 8 | p[19]), 3000 - 54);
    size_t n = make_ipv4(f, 17, 2000);
    ram_put(TX_BUF, f, n);
    tx_ctx((struct tx_context){.ipcss = 14,
                               .ipcso = 24,
                               .ipcse = 33,
                               .tucss = 34,
                               .tucso = 40,
                               .hdrlen = 42,
                               .mss = 500,
                               .lower = TXD_TUCMD_IP | 2000});
    tx_data(TX_BUF, (uint32_t)n, TXD_TSE | CMD, TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_go();
    p = sent(0, NULL, &meta);
    CHECK_EQ(meta.gso_type, PORT_GSO_UDP_L4);
    CHECK_EQ((unsigned)(p[38] << 8 | p[39]), 2008);
}

/* --- VLAN */

TEST(e1000_inserts_vlan_tags)
{
    uint8_t f[400];
    uint32_t len;
    struct port_meta meta;
    start();
    size_t n = make_ipv4(f, 6, 200);
    ram_put(TX_BUF, f, n);
    tx_raw(TX_BUF, (uint32_t)n | CMD | TXD_VLE, 0x6123u << 16);
    tx_go();
    CHECK(!memcmp(sent(0, &len, NULL), f, n)); /* not without CTRL.VME */
    CHECK_EQ(len, n);
    wr(CTRL, rd(CTRL) | CTRL_VME);
    tx_raw(TX_BUF, (uint32_t)n | CMD | TXD_VLE, 0x6123u << 16);
    tx_go();
    const uint8_t *p = sent(0, &len, NULL);
    CHECK_EQ(len, n + 4);
    CHECK(!memcmp(p, f, 12) && !memcmp(p + 12, "\x81\0\x61\x23", 4) && !memcmp(p + 16, f + 12, n - 12));
    wr(VET, 0x88a8);
    tx_ctx((struct tx_context){.ipcss = 14, .ipcso = 24, .ipcse = 33, .tucss = 34, .tucso = 50});
    tx_data(TX_BUF, 5, 0, TXD_POPTS_TXSM | TXD_POPTS_IXSM);
    tx_data(TX_BUF + 5, (uint32_t)n - 5, CMD | TXD_VLE, 7u << 16);
    tx_go();
    p = sent(0, &len, &meta);
    CHECK_EQ(len, n + 4);
    CHECK_EQ(meta.csum_start, 38);
    CHECK(!memcmp(p, f, 12) && !memcmp(p + 12, "\x88\xa8\0\7", 4));
    n = tso_frame(f, 300);
    wr(VET, 0x8100);
    tx_ctx(tso_context(100, 300));
    tx_data(TX_BUF, (uint32_t)n, CMD | TXD_TSE | TXD_VLE, 5u << 16 | TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_go();
    sent(0, &len, &meta);
    CHECK_EQ(len, n + 4);
    CHECK_EQ(meta.hdr_len, 58);
    CHECK_EQ(meta.csum_start, 38);
    port_accept(&peer.port, 0);
    tx_data(TX_BUF, (uint32_t)n, CMD | TXD_TSE | TXD_VLE, 5u << 16 | TXD_POPTS_IXSM | TXD_POPTS_TXSM);
    tx_go();
    for (int i = -2; i <= 0; i++) {
        p = sent(i, &len, NULL);
        CHECK_EQ(len, 158);
        CHECK(!memcmp(p + 12, "\x81\0\0\5\x08\0", 6));
        CHECK_EQ(sum16(p + 38, len - 38, sum16(p + 30, 8, 6 + len - 38)), 0xffff);
    }
}

/* --- interrupts of the transmitter */

TEST(e1000_transmit_interrupts_are_delayed)
{
    uint8_t f[64];
    start();
    ram_put(TX_BUF, f, make_frame(f, NULL, 0x0800, sizeof f));
    wr(IMS, ICR_TXDW);
    wr(TIDV, 100); /* 102.4 us */
    wr(TADV, 250); /* 256 us */
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE);
    tx_go();
    CHECK(tx_dd(0)); /* the write-back is not */
    CHECK(!line());
    pass(100 * US);
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE); /* starts it anew */
    tx_go();
    pass(100 * US);
    CHECK(!line());
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE);
    tx_go();
    pass(55 * US);
    CHECK(!line());
    pass(2 * US); /* 257 since the first */
    CHECK(line());
    rd(ICR);
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE);
    tx_go();
    pass(103 * US);
    CHECK(line());
    rd(ICR);
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE);
    tx_go();
    tx_legacy(TX_BUF, 64, CMD); /* at once, and clears the timer */
    tx_go();
    CHECK(line());
    rd(ICR);
    pass(MS);
    CHECK(!line());
    wr(TIDV, 0);
    tx_legacy(TX_BUF, 64, CMD | TXD_IDE);
    tx_go();
    CHECK(line());
    rd(ICR);
    wr(IMS, ICR_TXD_LOW);
    wr(IMC, ICR_TXDW);
    wr(TXDCTL, 1u << 25); /* 8 */
    for (int i = 0; i < 8; i++)
        tx_legacy(TX_BUF, 64, CMD);
    tx_go();
    CHECK(!line());
    for (int i = 0; i < 9; i++)
        tx_legacy(TX_BUF, 64, CMD);
    tx_go();
    CHECK(line());
}

/* --- loopback */

TEST(e1000_loops_in_mac_and_phy)
{
    uint8_t f[1024], back[1024];
    for (int phy = 0; phy < 2; phy++) {
        start();
        rx_setup(256, 255, RCTL_BAM | RCTL_SECRC | (phy ? 0 : 1u << 6), 2048);
        if (phy)
            wr(MDIC, 1u << 26 | 1u << 21 | 0x4140);
        e1000_set_link(&nic->dev, false); /* no cable is needed */
        make_frame(f, (const uint8_t *)"\xff\xff\xff\xff\xff\xff", 0x0800, sizeof f);
        ram_put(TX_BUF, f, sizeof f);
        for (int i = 0; i < 40; i++)
            tx_legacy(TX_BUF, sizeof f, CMD & ~TXD_RS);
        tx_go();
        CHECK_EQ(peer.n, 0);
        CHECK_EQ(rd(RDH), 40);
        CHECK_EQ(rd(TDH), 40);
        ram_get(rx_addr(39), back, sizeof back);
        CHECK(!memcmp(f, back, sizeof f));
        CHECK_EQ(rx_desc(39).length, sizeof f);
        for (int i = 0; i < 230; i++) { /* more than there are buffers: nothing waits here */
            tx_legacy(TX_BUF, sizeof f, CMD & ~TXD_RS);
            if (i % 30 == 0)
                tx_go();
        }
        tx_go();
        CHECK_EQ(rd(TDH), rd(TDT));
        CHECK_EQ(rd(RDH), 255);
        CHECK_EQ(dropped(RX_OVERRUN), 15);
        CHECK_EQ(rd(0x4010), 15); /* MPC */
        CHECK(rd(ICR) & ICR_RXO);
    }
}

TEST(e1000_driver_supplies_the_fcs)
{
    uint8_t f[104];
    uint32_t len;
    start();
    make_frame(f, NULL, 0x0800, 100);
    uint32_t crc = ~e1000_crc(~0u, f, 100);
    memcpy(f + 100, &crc, 4);
    ram_put(TX_BUF, f, sizeof f);
    tx_legacy(TX_BUF, 101, 0);
    tx_legacy(TX_BUF + 101, 3, TXD_EOP | TXD_RS);
    tx_go();
    CHECK(!memcmp(sent(0, &len, NULL), f, 100));
    CHECK_EQ(len, 100);
    tx_legacy(TX_BUF, 100, TXD_EOP | TXD_RS);
    tx_legacy(TX_BUF, 3, TXD_EOP | TXD_RS);
    tx_go();
    CHECK_EQ(peer.n, 1);
    CHECK_EQ(dropped(TX_FCS), 1);
    CHECK_EQ(dropped(TX_SHORT), 1);
    CHECK_EQ(e1000_crc(~0u, "123456789", 9), ~0xcbf43926u);
}
