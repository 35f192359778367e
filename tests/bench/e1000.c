// SPDX-License-Identifier: MIT
/* What an e1000 frame costs, in instructions: the unit tests' board without KVM, a peer that forgets every frame (tx) or that
 * has 1514 of them to give (rx), FRAMES of them in the way of KIND. tests/bench/run counts two runs and divides the difference.
 * On its own it says how long a frame takes.
 *
 *   tx60 tx1514       a legacy descriptor each, RS on every one, a tail write each 32 frames
 *   kick1514          the same with a tail write each frame, as an idle card's driver does it
 *   csum1514          a context and a data descriptor each, TCP checksum left to the peer
 *   frag1514          three descriptors a frame
 *   tso65k soft65k    64 KiB in a context and 17 data descriptors, to a peer that takes it whole, or in segments
 *   rx60 rx1514       received, a descriptor each, tail written back every 16
 *   rxsum1514         the same with RXCSUM.TUOFLD
 *   rxtso65k          64 KiB that come whole and are cut into 45 such frames on their way in */
#include "../unit/test.h"
#include "../unit/e1000_board.h"

#include <time.h>

#define CMD (TXD_EOP | TXD_IFCS | TXD_RS)

static const char *kind;
static unsigned long frames;
static struct port null_port;
static uint8_t frame[70000];

static void tx(unsigned len, unsigned each, bool context, unsigned parts)
{
    for (unsigned long i = 0; i < frames; i++) {
        if (context)
            tx_ctx((struct tx_context){.ipcss = 14, .ipcso = 24, .ipcse = 33, .tucss = 34, .tucso = 50});
        for (unsigned p = 0; p < parts; p++) {
            unsigned at = len * p / parts, n = len * (p + 1) / parts - at;
            uint32_t cmd = p + 1 == parts ? CMD : 0;
            if (context)
                tx_data(TX_BUF + at, n, cmd, TXD_POPTS_TXSM);
            else
                tx_legacy(TX_BUF + at, n, cmd);
        }
        if (i % each == each - 1)
            tx_go();
    }
    tx_go();
}

static void tso(bool soft)
{
    size_t n = tso_frame(frame, 65000);
    if (soft)
        port_accept(&null_port, PORT_ACCEPT_CSUM);
    for (unsigned long i = 0; i < frames; i++) {
        tx_ctx(tso_context(1448, 65000));
        for (size_t at = 0; at < n; at += 4096)
            tx_data(TX_BUF + at, (uint32_t)(n - at < 4096 ? n - at : 4096),
                    TXD_TSE | (n - at <= 4096 ? CMD : 0), TXD_POPTS_IXSM | TXD_POPTS_TXSM);
        tx_go();
    }
}

static void rx(size_t len)
{
    rx_setup(256, 255, RCTL_BAM, 2048);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t at = RX_BUF + i % 64 * 2048;
        ram_put(RX_AT + 16 * i, &at, 8);
    }
    struct iovec iov = {frame, len};
    struct port_meta meta = {0};
    for (unsigned long i = 0; i < frames; i++) {
        CHECK_EQ(port_send(&null_port, &iov, 1, &meta), PORT_SENT);
        if (i % 16 == 15)
            wr(RDT, (unsigned)(i + 1 + 255) % 256);
    }
}

/* Whole from the peer, as a tap gives it, and cut up on its way in. */
static void rx_tso(void)
{
    size_t n = tso_frame(frame, 65000);
    struct iovec iov = {frame, n};
    struct port_meta meta = {.flags = PORT_NEEDS_CSUM,
                             .gso_type = PORT_GSO_TCPV4,
                             .gso_size = 1448,
                             .csum_start = 34,
                             .csum_offset = 16};
    unsigned tail = 255;
    rx_setup(256, tail, RCTL_BAM, 2048);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t at = RX_BUF + i % 64 * 2048;
        ram_put(RX_AT + 16 * i, &at, 8);
    }
    for (unsigned long i = 0; i < frames; i++) {
        CHECK_EQ(port_send(&null_port, &iov, 1, &meta), PORT_SENT);
        wr(RDT, tail = (tail + 45) % 256);
    }
}

TEST(bench)
{
    struct timespec a, b;
    kind = getenv("KIND") ? getenv("KIND") : "tx1514";
    frames = getenv("FRAMES") ? strtoul(getenv("FRAMES"), NULL, 10) : 100000;
    card_new(NULL);
    CHECK(port_null(&null_port, &peer.net));
    port_connect(&card->port, &null_port);
    tx_setup(256);
    bool is_rx = kind[0] == 'r';
    size_t len = strstr(kind, "1514") ? 1514 : 60;
    make_ipv4(frame, 6, 1514 - 54);
    ram_put(TX_BUF, frame, 2048);
    wr(IMS, ICR_TXDW | ICR_RXT0);
    if (!strcmp(kind, "rxtso65k"))
        wr(RXCSUM, RXCSUM_TUOFLD); /* as Linux sets it */
    if (!strncmp(kind, "rxsum", 5))
        wr(RXCSUM, RXCSUM_TUOFLD | 14);
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (!strcmp(kind, "rxtso65k"))
        rx_tso();
    else if (is_rx)
        rx(len);
    else if (strstr(kind, "65k"))
        tso(kind[0] == 's');
    else
        tx((unsigned)len, kind[0] == 'k' ? 1 : 32, kind[0] == 'c', kind[0] == 'f' ? 3 : 1);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
    printf("%s: %.0f ns a frame\n", kind, ns / (double)(frames ? frames : 1));
}
