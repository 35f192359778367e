/* SPDX-License-Identifier: MIT
 *
 * A board with an e1000 on it, without KVM: a driver's hands (registers, rings in 1 MiB of RAM), a peer at the other end of
 * the cable that keeps what it is given, and a clock of the test's.
 */
#ifndef TESTS_UNIT_E1000_BOARD_H
#define TESTS_UNIT_E1000_BOARD_H

#include "devices/e1000_priv.h"
#include "kvm/host/log.h"
#include "net/port.h"
#include "pci_board.h"

enum {
    US = 1000,
    TX_AT = 0x10000, /* places in RAM */
    RX_AT = 0x20000,
    TX_BUF = 0x40000,
    RX_BUF = 0x80000,
    RAM_END = 0x100000,
    CTRL = 0,
    STATUS = 8,
    EECD = 0x10,
    EERD = 0x14,
    CTRL_EXT = 0x18,
    MDIC = 0x20,
    VET = 0x38,
    ICR = 0xc0,
    ITR = 0xc4,
    ICS = 0xc8,
    IMS = 0xd0,
    IMC = 0xd8,
    RCTL = 0x100,
    TCTL = 0x400,
    RDBAL = 0x2800,
    RDBAH = 0x2804,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    RDTR = 0x2820,
    RADV = 0x282c,
    RSRPD = 0x2c00,
    TDBAL = 0x3800,
    TDBAH = 0x3804,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    TIDV = 0x3820,
    TXDCTL = 0x3828,
    TADV = 0x382c,
    RXCSUM = 0x5000,
    MTA = 0x5200,
    RA = 0x5400,
    VFTA = 0x5600,
    RING = 64, /* descriptors, unless a test says otherwise */
    KEPT = 4096,
};

static _Atomic uint64_t now_ns;
static uint64_t test_now(void *ctx)
{
    (void)ctx;
    return now_ns;
}
static const struct clock test_clock = {test_now, NULL};

static struct pci_device *nic;
static struct e1000 *card;
static uint64_t bar;
static uint32_t io_bar;

/* --- the peer */

static struct peer {
    struct net net;
    struct port port;
    bool busy;
    unsigned n, readies; /* frames that came; the last KEPT of them are in `frames` */
    struct {
        uint8_t *bytes;
        uint32_t len;
        struct port_meta meta;
    } frames[KEPT];
} peer;

static enum port_result peer_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    (void)port;
    if (peer.busy)
        return PORT_BUSY;
    size_t len = 0, at = 0;
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    uint8_t *bytes = malloc(len ? len : 1);
    for (int i = 0; i < n; at += iov[i++].iov_len)
        memcpy(bytes + at, iov[i].iov_base, iov[i].iov_len);
    unsigned slot = peer.n++ % KEPT;
    free(peer.frames[slot].bytes);
    peer.frames[slot].bytes = bytes;
    peer.frames[slot].len = (uint32_t)len;
    peer.frames[slot].meta = *meta;
    return PORT_SENT;
}
static void peer_ready(struct port *port)
{
    (void)port;
    peer.readies++;
}
static const struct port_ops peer_ops = {.receive = peer_receive, .ready = peer_ready};

/* --- registers */

static inline uint32_t rd(unsigned reg)
{
    uint32_t v = 0;
    space_read(&m->memory, bar + reg, 4, &v);
    return v;
}
static inline void wr(unsigned reg, uint32_t v)
{
    space_write(&m->memory, bar + reg, 4, &v);
}
static inline bool line(void)
{
    return irq_level(m->board.irqs, nic->line.gsi);
}
static inline void step(void)
{
    while (loop_step(m->board.loop))
        ;
}
static inline void pass(uint64_t ns)
{
    now_ns += ns;
    step();
}
static inline uint64_t dropped(enum e1000_drop why)
{
    return nic->dev.drops[why];
}

/* --- a driver */

static unsigned tx_tail, tx_size, rx_tail, rx_size;

static inline void ram_put(uint64_t at, const void *bytes, size_t len)
{
    CHECK(ram_write(m->ram, at, bytes, len));
}
static inline void ram_get(uint64_t at, void *bytes, size_t len)
{
    CHECK(ram_read(m->ram, at, bytes, len));
}

static inline void tx_setup(unsigned n)
{
    wr(TDBAL, TX_AT);
    wr(TDBAH, 0);
    wr(TDLEN, n * 16);
    wr(TDH, 0);
    wr(TDT, 0);
    wr(TCTL, TCTL_EN | TCTL_PSP);
    tx_tail = 0;
    tx_size = n;
}
static inline void rx_setup(unsigned n, unsigned posted, uint32_t rctl, uint32_t buffer)
{
    wr(RCTL, 0);
    wr(RDBAL, RX_AT);
    wr(RDBAH, 0);
    wr(RDLEN, n * 16);
    wr(RDH, 0);
    for (unsigned i = 0; i < n; i++) {
        uint64_t d[2] = {RX_BUF + (uint64_t)(i * buffer) % (RAM_END - RX_BUF - 0x8000), 0};
        ram_put(RX_AT + i * 16, d, 16);
    }
    rx_size = n;
    rx_tail = posted;
    wr(RDT, posted);
    wr(RCTL, RCTL_EN | rctl);
}
/* A descriptor behind the last; the tail is written by tx_go(). */
static inline void tx_raw(uint64_t addr, uint32_t lower, uint32_t upper)
{
    struct tx_desc d = {addr, lower, upper};
    ram_put(TX_AT + tx_tail * 16, &d, 16);
    tx_tail = (tx_tail + 1) % tx_size;
}
static inline void tx_go(void)
{
    wr(TDT, tx_tail);
    step();
}
static inline void tx_legacy(uint64_t addr, uint32_t len, uint32_t cmd)
{
    tx_raw(addr, len | cmd, 0);
}
static inline void tx_data(uint64_t addr, uint32_t len, uint32_t cmd, uint32_t upper)
{
    tx_raw(addr, len | TXD_DEXT | 1u << TXD_DTYP_SHIFT | cmd, upper);
}
static inline void tx_ctx(struct tx_context c)
{
    uint64_t w[2];
    c.lower |= TXD_DEXT;
    memcpy(w, &c, 16);
    tx_raw(w[0], (uint32_t)w[1], (uint32_t)(w[1] >> 32));
}
static inline bool tx_dd(unsigned i)
{
    struct tx_desc d;
    ram_get(TX_AT + i * 16, &d, 16);
    return d.upper & TXD_STA_DD;
}
static inline struct rx_desc_tail rx_desc(unsigned i)
{
    struct rx_desc_tail t;
    ram_get(RX_AT + i * 16 + 8, &t, 8);
    return t;
}
static inline uint64_t rx_addr(unsigned i)
{
    uint64_t a;
    ram_get(RX_AT + i * 16, &a, 8);
    return a;
}
/* From the peer. */
static inline enum port_result give(const void *bytes, size_t len)
{
    struct iovec iov = {(void *)bytes, len};
    struct port_meta meta = {0};
    enum port_result r = port_send(&peer.port, &iov, 1, &meta);
    step();
    return r;
}

static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

/* dst NULL: the card's own address. */
static inline size_t make_frame(uint8_t *f, const uint8_t *dst, uint16_t type, size_t len)
{
    memcpy(f, dst ? dst : mac, 6);
    memcpy(f + 6, "\x02\1\2\3\4\5", 6);
    f[12] = (uint8_t)(type >> 8);
    f[13] = (uint8_t)type;
    for (size_t i = 14; i < len; i++)
        f[i] = (uint8_t)(i * 7);
    return len;
}

static inline uint16_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++)
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
static inline void be16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
/* Ethernet, IPv4, TCP or UDP, payload: right in every checksum. */
static inline size_t make_ipv4(uint8_t *f, uint8_t proto, size_t payload)
{
    size_t l4 = proto == 6 ? 20 : 8, len = 34 + l4 + payload;
    make_frame(f, NULL, 0x0800, len);
    memset(f + 14, 0, 20 + l4);
    f[14] = 0x45;
    be16(f + 16, (uint32_t)(20 + l4 + payload));
    f[22] = 64;
    f[23] = proto;
    memcpy(f + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
    be16(f + 24, ~(uint32_t)sum16(f + 14, 20, 0));
    be16(f + 34, 1000);
    be16(f + 36, 2000);
    if (proto == 6)
        f[46] = 0x50;
    else
        be16(f + 38, (uint32_t)(8 + payload));
    uint32_t pseudo = sum16(f + 26, 8, proto + (uint32_t)(l4 + payload));
    be16(f + (proto == 6 ? 50 : 40), ~(uint32_t)sum16(f + 34, l4 + payload, pseudo));
    return len;
}

static void card_new(const char *options)
{
    log_set_level(LOG_LEVEL_ERROR);
    if (peer.port.ops) { /* the test's last board */
        devices_free(&m->board);
        port_free(&peer.port);
        for (unsigned i = 0; i < KEPT; i++)
            free(peer.frames[i].bytes);
    }
    machine_new();
    loop_free(m->board.loop);
    m->board.loop = loop_new(&test_clock);
    memset(&peer, 0, sizeof peer);
    net_init(&peer.net, m->board.loop);
    m->board.net = &peer.net;
    nic = (struct pci_device *)device_new(&m->board, &e1000_class, NULL, options, m->err, sizeof m->err);
    CHECK(nic);
    card = (struct e1000 *)nic;
    CHECK(placed());
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
    bar = cf8(0, nic->devfn, 0x10, 4) & ~15u;
    io_bar = cf8(0, nic->devfn, 0x18, 4) & ~3u;
    CHECK(bar && io_bar);
    CHECK(port_init(&peer.port, &peer.net, "peer", &peer_ops));
    port_accept(&peer.port, PORT_ACCEPT_ALL);
    port_connect(e1000_port(&nic->dev), &peer.port);
    wr(CTRL, 0x201 | CTRL_SLU);
    pass(20 * MS);
    rd(ICR);
}

/* --- what the transmitter's tests share */

#define CMD (TXD_EOP | TXD_IFCS | TXD_RS)

/* The packet that the peer has had last; -1: the one before. */
static inline const uint8_t *sent(int back, uint32_t *len, struct port_meta *meta)
{
    CHECK((int)peer.n + back > 0);
    unsigned slot = (peer.n - 1 + (unsigned)back) % KEPT;
    if (len)
        *len = peer.frames[slot].len;
    if (meta)
        *meta = peer.frames[slot].meta;
    return peer.frames[slot].bytes;
}

static inline void start(void)
{
    card_new(NULL);
    tx_setup(RING);
}

static inline struct tx_context tso_context(uint16_t mss, uint32_t paylen)
{
    return (struct tx_context){.ipcss = 14,
                               .ipcso = 24,
                               .ipcse = 33,
                               .tucss = 34,
                               .tucso = 50,
                               .hdrlen = 54,
                               .mss = mss,
                               .lower = paylen | TXD_TUCMD_TCP | TXD_TUCMD_IP};
}

/* As Intel's driver leaves the headers: no length, no IP checksum, a pseudo header without its length. */
static inline size_t tso_frame(uint8_t *f, size_t payload)
{
    size_t n = make_ipv4(f, 6, payload);
    be16(f + 16, 0);
    be16(f + 24, 0);
    be16(f + 50, sum16(f + 26, 8, 6));
    f[47] = 0x19; /* ACK, PSH, FIN */
    ram_put(TX_BUF, f, n);
    return n;
}

#endif
