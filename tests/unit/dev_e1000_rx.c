// SPDX-License-Identifier: MIT
/* The e1000's receiver: buffers of every size, filters, VLANs, checksums, interrupts, backpressure; and the rows E of the bad
 * inputs that come from the peer's side. */
#include "test.h"
#include "e1000_board.h"
#include "net/offload.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t group[6] = {0x01, 0x00, 0x5e, 0x12, 0x34, 0x56};
static const uint8_t other[6] = {0x02, 0, 0, 0, 0, 9};

/* The frame in descriptors from `first` on, as long as they say. */
static uint32_t received(unsigned first, uint8_t *out, struct rx_desc_tail *last)
{
    uint32_t len = 0;
    for (unsigned i = first;; i = (i + 1) % rx_size) {
        struct rx_desc_tail d = rx_desc(i);
        CHECK(d.status & RXD_STAT_DD);
        ram_get(rx_addr(i), out + len, d.length);
        len += d.length;
        if (last)
            *last = d;
        if (d.status & RXD_STAT_EOP)
            return len;
        CHECK_EQ(d.status, RXD_STAT_DD);
    }
}

TEST(e1000_receives_into_every_size_of_buffer)
{
    static const struct {
        uint32_t bits, size;
    } sizes[] = {
        {0,                    2048 },
        {1u << 16,             1024 },
        {2u << 16,             512  },
        {3u << 16,             256  },
        {RCTL_BSEX | 1u << 16, 16384},
        {RCTL_BSEX | 2u << 16, 8192 },
        {RCTL_BSEX | 3u << 16, 4096 },
        {RCTL_BSEX,            2048 }
    };
    static const uint32_t lengths[] = {14,   59,   60,   61,   255,  256,  257,
                                       1020, 1514, 1518, 2044, 2048, 9000, 16380};
    static uint8_t f[16384], back[20000];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int secrc = 0; secrc < 2; secrc++) {
            card_new(secrc ? NULL : "fcs");
            rx_setup(256, 255, RCTL_LPE | sizes[s].bits | (secrc ? RCTL_SECRC : 0), sizes[s].size);
            for (unsigned i = 0; i < 256; i++) { /* in 0x78000 bytes, one after the other */
                uint64_t at = RX_BUF + (uint64_t)(i * sizes[s].size) % 0x70000;
                ram_put(RX_AT + 16 * i, &at, 8);
            }
            unsigned head = 0;
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                uint32_t len = lengths[l] < 60 ? 60 : lengths[l], all = len + (secrc ? 0 : 4);
                struct rx_desc_tail d;
                memset(f, 0, 60);
                make_frame(f, NULL, 0x0900, lengths[l]);
                CHECK_EQ(give(f, lengths[l]), PORT_SENT);
                CHECK_EQ(received(head, back, &d), all);
                CHECK(!memcmp(back, f, len));
                uint32_t fcs = ~e1000_crc(~0u, f, len);
                CHECK(secrc || !memcmp(back + len, &fcs, 4));
                CHECK_EQ(d.checksum, (uint16_t)~sum16(back, all, 0));
                CHECK_EQ(d.status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_IXSM);
                CHECK_EQ(d.errors, 0);
                unsigned n = (all + sizes[s].size - 1) / sizes[s].size;
                CHECK_EQ(rd(RDH), (head + n) % 256);
                head = (head + n) % 256;
                wr(RDT, (head + 255) % 256);
            }
        }
    }
}

TEST(E11_e1000_frames_longer_than_may_be)
{
    static uint8_t f[65535];
    static const uint32_t lengths[] = {1518, 1519, 1523, 2048, 9000, 16380, 16381, 16384, 65535};
    for (unsigned bits = 0; bits < 16; bits++) {
        uint32_t bsize = (bits & 3) << 16 | (bits & 4 ? RCTL_BSEX : 0), lpe = bits & 8 ? RCTL_LPE : 0;
        card_new(NULL);
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            make_frame(f, NULL, 0x0900, lengths[l]);
            rx_setup(256, 255, bsize | lpe, 256);
            uint64_t drops = dropped(RX_LONG);
            CHECK_EQ(give(f, lengths[l]), PORT_SENT);
            bool fits = lengths[l] <= (lpe ? 16380u : 1518u);
            CHECK_EQ(dropped(RX_LONG), drops + !fits);
            CHECK_EQ(rd(RDH) != 0, fits);
            CHECK_EQ(rd(0x40ac), !fits); /* ROC */
        }
    }
    card_new(NULL); /* larger than all buffers that are posted: waits; than all that can be: dropped */
    make_frame(f, NULL, 0x0900, 9000);
    rx_setup(64, 2, RCTL_LPE, 2048);
    struct iovec iov = {f, 9000};
    struct port_meta meta = {0};
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_BUSY);
    step();
    CHECK_EQ(rd(RDH), 0);
    wr(RDT, 5);
    step();
    CHECK_EQ(peer.readies, 1);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(rd(RDH), 5);
    rx_setup(8, 7, RCTL_LPE | 3u << 16, 256);
    CHECK_EQ(give(f, 9000), PORT_SENT);
    CHECK_EQ(dropped(RX_RING_SMALL), 1);
}

TEST(E12_e1000_frames_of_every_small_size)
{
    uint8_t f[80], back[80];
    card_new(NULL);
    rx_setup(128, 127, RCTL_SECRC, 2048);
    unsigned n = 0;
    for (size_t len = 0; len < 70; len++) {
        memset(f, 0, sizeof f);
        make_frame(f, NULL, 0x0800, 70);
        CHECK_EQ(give(f, len), PORT_SENT);
        CHECK_EQ(rd(RDH), n + (len >= 14));
        if (len < 14)
            continue;
        CHECK_EQ(received(n, back, NULL), len < 60 ? 60 : len);
        CHECK(!memcmp(f, back, len));
        for (size_t i = len; i < 60; i++)
            CHECK_EQ(back[i], 0);
        n++;
    }
}

/* --- filters */

static bool gets(const uint8_t *to)
{
    uint8_t f[64];
    uint32_t before = rd(RDH);
    make_frame(f, to, 0x0900, sizeof f);
    give(f, sizeof f);
    wr(RDT, (rd(RDH) + RING - 1) % RING);
    return rd(RDH) != before;
}
static bool inexact(void)
{
    return rx_desc((rd(RDH) + RING - 1) % RING).status & RXD_STAT_PIF;
}

TEST(e1000_address_filters)
{
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 1024);
    CHECK(gets(mac) && !inexact());
    CHECK(!gets(other) && !gets(group) && !gets(broadcast));
    CHECK_EQ(dropped(RX_FILTER), 3);
    wr(RCTL, RCTL_EN | RCTL_UPE);
    CHECK(gets(other) && inexact() && !gets(group));
    wr(RCTL, RCTL_EN | RCTL_MPE);
    CHECK(!gets(other) && gets(group) && inexact() && gets(broadcast));
    wr(RCTL, RCTL_EN | RCTL_BAM);
    CHECK(!gets(other) && !gets(group) && gets(broadcast) && !inexact());
    wr(RCTL, RCTL_EN);
    for (unsigned i = 1; i < 16; i++) {
        uint8_t a[6] = {0x02, 0, 0, 0, 1, (uint8_t)i};
        wr(RA + 8 * i, 0x00000002);
        wr(RA + 8 * i + 4, 1 | i << 8);
        CHECK(!gets(a)); /* not valid */
        wr(RA + 8 * i + 4, 1 | i << 8 | RAH_AV);
        CHECK(gets(a) && !inexact());
        wr(RA + 8 * i + 4, 1 | i << 8 | RAH_AV | 2u << 16); /* reserved */
        CHECK(!gets(a));
    }
}

TEST(e1000_source_address_filter)
{
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 1024);
    uint32_t low, high = 0;
    uint8_t f[64];
    make_frame(f, other, 0x0900, sizeof f);
    memcpy(&low, f + 6, 4);
    memcpy(&high, f + 10, 2);
    wr(RA + 8, low);
    wr(RA + 12, high | RAH_AV);
    CHECK(!gets(other));
    wr(RA + 12, high | RAH_AV | 1u << 16);
    CHECK(gets(other));
}

TEST(e1000_multicast_table)
{
    static const unsigned shift[] = {4, 3, 2, 0}; /* 47:36, 46:35, 45:34, 43:32 of the address */
    uint64_t seed = 3;
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 1024);
    for (int i = 0; i < 400; i++) {
        uint8_t a[6];
        uint64_t r = test_rand(&seed);
        memcpy(a, &r, 6);
        a[0] |= 1;
        unsigned mo = r >> 60 & 3, hash = ((unsigned)(a[5] << 8 | a[4]) >> shift[mo]) & 0xfff;
        wr(RCTL, RCTL_EN | mo << 12);
        CHECK(!gets(a));
        wr(MTA + 4 * (hash >> 5), 1u << (hash & 31));
        CHECK(gets(a) && inexact());
        a[0] &= 0xfe; /* the table is for groups */
        CHECK(!gets(a));
        wr(MTA + 4 * (hash >> 5), ~(1u << (hash & 31)));
        a[0] |= 1;
        CHECK(!gets(a));
        wr(MTA + 4 * (hash >> 5), 0);
    }
}

static bool gets_vlan(uint16_t tag)
{
    uint8_t f[70];
    uint32_t before = rd(RDH);
    make_frame(f, NULL, 0x8100, sizeof f);
    be16(f + 14, tag);
    be16(f + 16, 0x0900);
    give(f, sizeof f);
    wr(RDT, (rd(RDH) + RING - 1) % RING);
    return rd(RDH) != before;
}

TEST(e1000_vlan_filter)
{
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 1024);
    CHECK(gets_vlan(0x123));
    wr(RCTL, RCTL_EN | RCTL_VFE);
    CHECK(!gets_vlan(0x123));
    CHECK_EQ(dropped(RX_VLAN), 1);
    CHECK(gets(mac)); /* without a tag */
    wr(VFTA + 4 * (0x123 >> 5), 1u << (0x123 & 31));
    CHECK(gets_vlan(0x123) && gets_vlan(0xf123) && !gets_vlan(0x122));
    wr(RCTL, RCTL_EN | RCTL_VFE | RCTL_CFIEN);
    CHECK(gets_vlan(0x0123) && !gets_vlan(0x1123));
    wr(RCTL, RCTL_EN | RCTL_VFE | RCTL_CFIEN | RCTL_CFI);
    CHECK(!gets_vlan(0x0123) && gets_vlan(0x1123));
    CHECK_EQ(dropped(RX_CFI), 2);
    wr(VET, 0x88a8);
    CHECK(gets_vlan(0x777)); /* no tag any more */
}

TEST(e1000_vlan_strip)
{
    uint8_t f[1518], back[2048];
    struct rx_desc_tail d;
    card_new(NULL);
    wr(CTRL, rd(CTRL) | CTRL_VME);
    rx_setup(RING, RING - 1, RCTL_SECRC, 2048);
    size_t n = make_ipv4(f + 4, 6, 500) + 4;
    memmove(f, f + 4, 12);
    memcpy(f + 12, "\x81\0\x61\x23", 4);
    wr(RXCSUM, RXCSUM_IPOFLD | RXCSUM_TUOFLD | 14);
    struct iovec iov[4] = {
        {f,      5     },
        {f + 5,  9     },
        {f + 14, 3     },
        {f + 17, n - 17}
    };
    struct port_meta meta = {0};
    CHECK_EQ(port_send(&peer.port, iov, 4, &meta), PORT_SENT);
    CHECK_EQ(received(0, back, &d), n - 4);
    CHECK(!memcmp(back, f, 12) && !memcmp(back + 12, f + 16, n - 16));
    CHECK_EQ(d.special, 0x6123);
    CHECK_EQ(d.status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_VP | RXD_STAT_IPCS | RXD_STAT_TCPCS);
    CHECK_EQ(d.errors, 0);
    CHECK_EQ(d.checksum, (uint16_t)~sum16(back + 14, n - 18, 0));
    wr(CTRL, rd(CTRL) & ~(uint32_t)CTRL_VME);
    CHECK_EQ(give(f, n), PORT_SENT);
    CHECK_EQ(received(1, back, &d), n);
    CHECK_EQ(d.status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_IPCS | RXD_STAT_TCPCS); /* through the tag */
    CHECK_EQ(d.special, 0);
}

TEST(E15_e1000_vlan_strip_of_short_frames)
{
    uint8_t f[80], back[128];
    struct rx_desc_tail d;
    card_new(NULL);
    wr(CTRL, rd(CTRL) | CTRL_VME);
    rx_setup(RING, RING - 1, RCTL_SECRC | RCTL_UPE, 2048);
    unsigned n = 0;
    for (size_t len = 12; len < 64; len++) {
        memset(f, 0, sizeof f);
        memcpy(f, mac, 6);
        memcpy(f + 12, "\x81\0\0\5\x08\0", 6);
        give(f, len);
        if (len < 14)
            continue;
        CHECK_EQ(received(n++, back, &d), len < 60 ? 56 : len - 4);
        CHECK_EQ(d.special, len < 16 ? 0 : 5);
        CHECK(d.status & RXD_STAT_VP);
    }
    CHECK_EQ(rd(RDH), n);
}

/* --- checksums */

static struct rx_desc_tail check(const uint8_t *f, size_t n)
{
    uint32_t at = rd(RDH);
    give(f, n);
    CHECK_EQ(rd(RDH), (at + 1) % RING);
    wr(RDT, at);
    return rx_desc(at);
}

TEST(e1000_checks_checksums)
{
    static uint8_t f[1600];
    uint64_t seed = 8;
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 2048);
    for (int i = 0; i < 600; i++) {
        uint64_t r = test_rand(&seed);
        uint8_t proto = r & 1 ? 6 : 17;
        uint32_t pcss = r & 2 ? 14 : r >> 8 & 0x7f, want = 0, errors = 0;
        size_t n = make_ipv4(f, proto, 6 + (r >> 16) % 1400), pad = 0;
        wr(RXCSUM, pcss | ((uint32_t)r & (RXCSUM_IPOFLD | RXCSUM_TUOFLD) & 0x300));
        uint32_t rxcsum = rd(RXCSUM);
        if (r & 4) { /* bytes behind the IP packet are no part of it */
            pad = r >> 40 & 15;
            memset(f + n, 0x5a, pad);
        }
        if (rxcsum & RXCSUM_IPOFLD)
            want |= RXD_STAT_IPCS;
        if (rxcsum & RXCSUM_TUOFLD)
            want |= RXD_STAT_TCPCS;
        if (r & 8 && i % 3 == 0) {
            f[26] ^= 0x10; /* an address: both are wrong */
            errors = (want & RXD_STAT_IPCS ? RXD_ERR_IPE : 0) | (want & RXD_STAT_TCPCS ? RXD_ERR_TCPE : 0);
        } else if (i % 3 == 1) {
            f[n - 1] ^= 1;
            errors = want & RXD_STAT_TCPCS ? RXD_ERR_TCPE : 0;
        }
        struct rx_desc_tail d = check(f, n + pad);
        CHECK_EQ(d.status & 0x7f, RXD_STAT_DD | RXD_STAT_EOP | (want ? want : RXD_STAT_IXSM));
        CHECK_EQ(d.errors, errors);
        size_t len = n + pad < 60 ? 60 : n + pad;
        if (n + pad >= 60 && pcss < len)
            CHECK_EQ(d.checksum, (uint16_t)~sum16(f + pcss, len - pcss, 0));
    }
}

/* What a frame that comes whole is cut into looks to the driver like the same frames from a wire, checksums and all: those are not
 * computed again, but follow from the headers. IPv4 with and without options, IPv6, TCP and UDP, any PCSS. */
TEST(e1000_cut_frames_are_as_from_a_wire)
{
    static uint8_t f[20000];
    uint64_t seed = 11;
    card_new(NULL);
    for (int i = 0; i < 400; i++) {
        uint64_t r = test_rand(&seed);
        bool v6 = r & 1, udp = r & 2;
        uint32_t ip = v6 ? 40 : 20 + (r >> 4 & 3) * 4, l4 = 14 + ip,
                 header = l4 + (udp ? 8 : 20 + (r >> 6 & 3) * 4);
        uint32_t payload = 1 + (uint32_t)(r >> 16) % 9000, gso = 1 + (uint32_t)(r >> 32) % 1400;
        uint32_t n = header + payload, pcss = r & 4 ? 0 : (r >> 8) % 120;
        if (payload / gso > 20)
            gso = payload / 20 + 1;
        for (uint32_t k = 0; k < n; k++)
            f[k] = (uint8_t)(test_rand(&seed) >> 24);
        memcpy(f, mac, 6);
        be16(f + 12, v6 ? 0x86dd : 0x0800);
        f[14] = v6 ? 0x60 : (uint8_t)(0x40 | ip / 4);
        f[v6 ? 20 : 23] = udp ? 17 : 6;
        if (!v6)
            be16(f + 20, 0);
        if (!udp)
            f[l4 + 12] = (uint8_t)((header - l4) / 4 << 4);
        struct port_meta meta = {.flags = PORT_NEEDS_CSUM,
                                 .gso_type = udp  ? PORT_GSO_UDP_L4
                                             : v6 ? PORT_GSO_TCPV6
                                                  : PORT_GSO_TCPV4,
                                 .gso_size = (uint16_t)gso,
                                 .csum_start = (uint16_t)l4,
                                 .csum_offset = udp ? 6 : 16};
        struct iovec whole = {f, n};
        struct offload o;
        CHECK_EQ(offload_plan(&o, &whole, 1, &meta), PORT_DROP_NONE);
        struct rx_desc_tail tails[32];
        static uint8_t bytes[32][2048], again[2048];

        wr(RXCSUM, pcss | (uint32_t)(r >> 48 & 3) << 8);
        rx_setup(RING, RING - 1, 0, 2048);
        for (unsigned k = 0; k < o.segments; k++) {
            static uint8_t one[2048];
            uint8_t head[OFFLOAD_HEADER_MAX];
            struct iovec out[2];
            size_t len = 0;
            int pieces = offload_segment(&o, k, head, &whole, 1, out);
            for (int p = 0; p < pieces; len += out[p++].iov_len)
                memcpy(one + len, out[p].iov_base, out[p].iov_len);
            CHECK_EQ(give(one, len), PORT_SENT);
            tails[k] = rx_desc(k);
            ram_get(rx_addr(k), bytes[k], tails[k].length);
        }
        rx_setup(RING, RING - 1, 0, 2048);
        CHECK_EQ(port_send(&peer.port, &whole, 1, &meta), PORT_SENT);
        CHECK_EQ(rd(RDH), o.segments);
        for (unsigned k = 0; k < o.segments; k++) {
            struct rx_desc_tail d = rx_desc(k);
            CHECK(!memcmp(&d, &tails[k], sizeof d));
            ram_get(rx_addr(k), again, d.length);
            CHECK(!memcmp(again, bytes[k], d.length));
        }
    }
}

/* Who says that of a frame of its own is not believed. */
TEST(e1000_believes_no_peer_about_a_checksum)
{
    uint8_t f[200];
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 2048);
    wr(RXCSUM, RXCSUM_TUOFLD);
    size_t n = make_ipv4(f, 6, 100);
    f[n - 1] ^= 1;
    struct iovec iov = {f, n};
    struct port_meta meta = {.flags = PORT_SUMMED | PORT_DATA_VALID};
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(rx_desc(0).errors, RXD_ERR_TCPE);
}

TEST(e1000_leaves_alone_what_it_cannot_check)
{
    uint8_t f[200];
    card_new(NULL);
    rx_setup(RING, RING - 1, 0, 2048);
    wr(RXCSUM, RXCSUM_IPOFLD | RXCSUM_TUOFLD);
    size_t n = make_ipv4(f, 17, 100);
    be16(f + 40, 0); /* UDP without a checksum */
    CHECK_EQ(check(f, n).status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_IPCS);
    n = make_ipv4(f, 6, 100);
    be16(f + 20, 0x2000); /* a fragment */
    be16(f + 24, 0);
    be16(f + 24, ~(uint32_t)sum16(f + 14, 20, 0));
    struct rx_desc_tail d = check(f, n);
    CHECK_EQ(d.status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_IPCS);
    CHECK_EQ(d.errors, 0);
    n = make_ipv4(f, 6, 100);
    be16(f + 16, 1000); /* longer than the frame */
    CHECK(check(f, n).status & RXD_STAT_IXSM);
    f[14] = 0x44; /* a header that is too short */
    CHECK(check(f, n).status & RXD_STAT_IXSM);
    make_frame(f, NULL, 0x0806, 60);
    CHECK(check(f, 60).status & RXD_STAT_IXSM);
    /* IPv6, and IPv4 behind SNAP */
    make_frame(f, NULL, 0x86dd, 100);
    memset(f + 14, 0, 40);
    f[14] = 0x60;
    f[19] = 46;
    f[20] = 6;
    f[66] = 0x50;
    be16(f + 70, 0);
    be16(f + 70, ~(uint32_t)sum16(f + 54, 46, sum16(f + 22, 32, 6 + 46)));
    CHECK_EQ(check(f, 100).status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_TCPCS);
    n = make_ipv4(f, 6, 30);
    memmove(f + 22, f + 14, n - 14);
    be16(f + 12, (uint32_t)(n - 14 + 8));
    memcpy(f + 14, "\xaa\xaa\3\0\0\0\x08\0", 8);
    CHECK_EQ(check(f, n + 8).status, RXD_STAT_DD | RXD_STAT_EOP | RXD_STAT_IPCS | RXD_STAT_TCPCS);
    uint64_t seed = 9; /* headers of noise */
    for (int i = 0; i < 5000; i++) {
        make_ipv4(f, i & 1 ? 6 : 17, 100);
        for (int k = 0; k < 4; k++)
            f[12 + test_rand(&seed) % 50] = (uint8_t)test_rand(&seed);
        give(f, 60 + test_rand(&seed) % 90);
        wr(RDT, (rd(RDH) + RING - 1) % RING);
    }
}

/* --- interrupts, descriptors */

TEST(e1000_receive_interrupts)
{
    uint8_t f[64];
    card_new(NULL);
    make_frame(f, NULL, 0x0900, sizeof f);
    rx_setup(RING, RING - 1, 0, 2048);
    wr(IMS, ICR_RXT0);
    give(f, sizeof f);
    CHECK(line());
    rd(ICR);
    wr(RDTR, 100);
    wr(RADV, 250);
    give(f, sizeof f);
    CHECK(rx_desc(1).status & RXD_STAT_DD);
    CHECK(!line());
    pass(100 * US);
    give(f, sizeof f);
    pass(100 * US);
    CHECK(!line());
    give(f, sizeof f);
    pass(57 * US); /* the absolute one */
    CHECK(line());
    rd(ICR);
    give(f, sizeof f);
    CHECK(!line());
    wr(RDTR, 1u << 31 | 100); /* FPD: at once */
    CHECK(line());
    CHECK_EQ(rd(RDTR), 100);
    rd(ICR);
    pass(MS);
    CHECK(!line());
    wr(RSRPD, 68); /* small packets do not wait */
    wr(IMS, ICR_SRPD);
    give(f, sizeof f);
    CHECK(line());
    CHECK_EQ(rd(ICR) & ICR_SRPD, ICR_SRPD);
    for (unsigned rdmts = 0; rdmts < 3; rdmts++) {
        rx_setup(RING, RING - 1, rdmts << 8, 2048);
        rd(ICR);
        unsigned n = 0, limit = RING >> (1 + rdmts);
        do {
            give(f, sizeof f);
            n++;
        } while (!(rd(ICR) & ICR_RXDMT0) && n < 100);
        CHECK_EQ(RING - 1 - n, limit);
    }
}

TEST(e1000_holds_frames_until_there_are_descriptors)
{
    uint8_t f[64];
    struct iovec iov = {f, sizeof f};
    struct port_meta meta = {0};
    card_new(NULL);
    make_frame(f, NULL, 0x0900, sizeof f);
    rx_setup(RING, 3, 0, 2048);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_BUSY);
    step();
    CHECK_EQ(peer.readies, 0);
    CHECK_EQ(loop_step(m->board.loop), 0); /* nobody spins */
    CHECK_EQ(rd(0x40a0), 1);               /* RNBC */
    wr(RDT, 4);
    step();
    CHECK_EQ(peer.readies, 1);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_BUSY);
    wr(RCTL, 0); /* and who waits for a receiver that was switched off hears of it */
    step();
    CHECK_EQ(peer.readies, 2);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(dropped(RX_DISABLED), 1);
    wr(RCTL, RCTL_EN);
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_BUSY);
    wr(CTRL, CTRL_RST);
    step();
    CHECK_EQ(peer.readies, 3);
}

/* Buffers come back 16 at a time from Linux: the peer is told when half of them are there, or some of them for 20 ms. */
TEST(e1000_wakes_the_peer_for_half_a_ring)
{
    uint8_t f[64];
    struct iovec iov = {f, sizeof f};
    struct port_meta meta = {0};
    card_new(NULL);
    make_frame(f, NULL, 0x0900, sizeof f);
    rx_setup(RING, RING - 1, 0, 2048);
    unsigned tail = RING - 1;
    for (unsigned round = 0; round < 4; round++) {
        while (port_send(&peer.port, &iov, 1, &meta) == PORT_SENT)
            ;
        CHECK_EQ(rd(RDH), tail % RING);
        unsigned before = peer.readies;
        if (round == 2) { /* none for a long time, and then one */
            pass(1000 * MS);
            CHECK_EQ(peer.readies, before);
            wr(RDT, ++tail % RING);
            step();
            CHECK_EQ(peer.readies, before + 1);
            continue;
        }
        wr(RDT, (tail += 16) % RING);
        pass(19 * MS);
        CHECK_EQ(peer.readies, before);
        if (round == 1) { /* and no more */
            pass(MS);
            CHECK_EQ(peer.readies, before + 1);
            continue;
        }
        wr(RDT, (tail += 14) % RING);
        step();
        CHECK_EQ(peer.readies, before);
        wr(RDT, ++tail % RING);
        step();
        CHECK_EQ(peer.readies, before + 1);
    }
}

TEST(e1000_receive_ring_wraps)
{
    uint8_t f[1000], back[2048];
    card_new(NULL);
    rx_setup(8, 7, 3u << 16, 256);
    for (unsigned i = 0; i < 500; i++) {
        make_frame(f, NULL, 0x0900, sizeof f);
        f[20] = (uint8_t)i;
        CHECK_EQ(give(f, sizeof f), PORT_SENT); /* 4 descriptors */
        CHECK_EQ(received(i * 4 % 8, back, NULL), 1004);
        CHECK(!memcmp(f, back, sizeof f));
        wr(RDT, (rd(RDH) + 7) % 8);
    }
}

TEST(E8_e1000_receive_buffers_that_are_none)
{
    uint8_t f[1000], back[2048];
    card_new(NULL);
    make_frame(f, NULL, 0x0900, sizeof f);
    rx_setup(RING, RING - 1, 3u << 16, 256);
    static const uint64_t bad[] = {RAM_END,    RAM_END - 10,     0xd0000000,
                                   UINT64_MAX, UINT64_MAX - 100, 1ull << 63};
    for (unsigned i = 0; i < 6; i++)
        ram_put(RX_AT + 16 * (4 * i + i % 4), &bad[i], 8);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_EQ(give(f, sizeof f), PORT_SENT);
        CHECK_EQ(rd(RDH), 4 * i + 4);
        CHECK_EQ(rx_desc(4 * i + 3).errors, RXD_ERR_RXE);
        CHECK_EQ(dropped(RX_BUFFER_DMA), i + 1);
    }
    uint64_t none = 0; /* 0 is no buffer: given back, and the frame goes on in the next (3.2.6) */
    ram_put(RX_AT + 16 * 24, &none, 8);
    ram_put(RX_AT + 16 * 26, &none, 8);
    CHECK_EQ(give(f, sizeof f), PORT_SENT);
    CHECK_EQ(rd(RDH), 30);
    CHECK_EQ(rx_desc(24).status, RXD_STAT_DD);
    CHECK_EQ(rx_desc(26).status, RXD_STAT_DD);
    CHECK_EQ(rx_desc(24).length, 0);
    uint32_t len = 0;
    for (unsigned i = 25; i < 30; i++) {
        struct rx_desc_tail d = rx_desc(i);
        ram_get(rx_addr(i) ? rx_addr(i) : RX_BUF, back + len, d.length);
        len += d.length;
    }
    CHECK_EQ(len, 1004);
    CHECK(!memcmp(back, f, sizeof f));
    rx_setup(4096, 4095, 0, 16); /* a ring of nothing else */
    for (unsigned i = 0; i < 4096; i++)
        ram_put(RX_AT + 16 * i, &none, 8);
    struct iovec iov = {f, sizeof f};
    struct port_meta meta = {0};
    CHECK_EQ(port_send(&peer.port, &iov, 1, &meta), PORT_BUSY);
    CHECK_EQ(rd(RDH), 4095);
    CHECK_EQ(rx_desc(4094).status, RXD_STAT_DD);
}

TEST(e1000_flow_control_frames)
{
    static const uint8_t to[6] = {0x01, 0x80, 0xc2, 0, 0, 1};
    uint8_t f[64];
    card_new(NULL);
    rx_setup(RING, RING - 1, RCTL_MPE, 2048);
    make_frame(f, to, 0x8808, sizeof f);
    be16(f + 14, 1);
    be16(f + 16, 100);
    give(f, sizeof f);
    CHECK_EQ(dropped(RX_CONTROL), 1); /* RFCE is off: a control frame like any other */
    wr(RCTL, RCTL_EN | RCTL_MPE | RCTL_PMCF);
    give(f, sizeof f);
    CHECK_EQ(rd(RDH), 1);
    wr(CTRL, rd(CTRL) | CTRL_RFCE);
    wr(RCTL, RCTL_EN | RCTL_MPE | RCTL_DPF);
    give(f, sizeof f);
    be16(f + 16, 0);
    give(f, sizeof f);
    CHECK_EQ(dropped(RX_PAUSE), 2);
    CHECK_EQ(rd(0x4050), 1); /* XOFFRXC */
    CHECK_EQ(rd(0x4048), 1); /* XONRXC */
}
