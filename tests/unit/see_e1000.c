// SPDX-License-Identifier: MIT
/* e1000 as traces, lint and faults see it: a driver that sends a packet, and what drivers do wrong. */
#include "test.h"
#include "e1000_board.h"
#include "guest/fault.h"
#include "guest/gate.h"
#include "guest/lint.h"
#include "guest/trace.h"

#include <sys/mman.h>
#include <unistd.h>

static char caught[4096];
static void on_caught(void *ctx, const char *sentence)
{
    (void)ctx;
    snprintf(caught + strlen(caught), sizeof caught - strlen(caught), "%s\n", sentence);
}
static const struct gate gate = {1u << GATE_LINT, on_caught, NULL};

/* They stay with their boards to the end: the next test's board is made when the last one's is freed, and that is seen too. */
static void *kept[16];
static unsigned n_kept;
static void *keep(void *p)
{
    CHECK(p && n_kept < sizeof kept / sizeof *kept);
    return kept[n_kept++] = p;
}

static struct lint *linted(void)
{
    struct lint *lint =
        lint_new(&(struct lint_config){.board = &m->board, .gate = &gate}, m->err, sizeof m->err);
    caught[0] = 0;
    return keep(lint);
}

/* The trace of what fn does, without the heads of the lines. */
static char *trace_of(void (*fn)(void))
{
    static char buf[1 << 16];
    struct opt_list list = {
        (const char *[]){"e1000", NULL},
          1
    };
    int fd = memfd_create("trace", 0);
    struct trace *trace = trace_new(&(struct trace_config){.board = &m->board, .list = &list, .text_fd = fd},
                                    m->err, sizeof m->err);
    keep(trace);
    fn();
    trace_drain(trace, 60000000000);
    ssize_t n = pread(fd, buf, sizeof buf - 1, 0);
    CHECK(n >= 0);
    buf[n] = 0;
    close(fd);
    char *to = buf;
    for (char *line = buf, *end; (end = strchr(line, '\n')); line = end + 1) {
        memmove(to, line + 38, (size_t)(end + 1 - line) - 38);
        to += end + 1 - line - 38;
    }
    *to = 0;
    return buf;
}

static void send_one(void)
{
    uint8_t f[100];
    make_frame(f, NULL, 0x0800, sizeof f);
    ram_put(TX_BUF, f, sizeof f);
    tx_legacy(TX_BUF, sizeof f, CMD);
    tx_go();
}

TEST(trace_of_a_packet)
{
    start();
    wr(IMS, 1);
    CHECK_STR(trace_of(send_one), "e10000 W TDT=1 (TDH=0: 1 descriptors)\n"
                                  "e10000 dma R 0x10000+16\n"
                                  "e10000 dma R 0x40000+100\n"
                                  "e10000 dma W 0x1000c+4\n"
                                  "e10000 irq held: not in IMS\n" /* TXQE */
                                  "e10000 IRQ ICR=0x3 -> INTx line 17\n");
}

TEST(lint_of_a_good_driver)
{
    start();
    struct lint *lint = linted();
    wr(CTRL, rd(CTRL) | CTRL_RST);
    wr(CTRL, 0x201 | CTRL_SLU);
    pass(20 * MS);
    rd(ICR);
    tx_setup(RING);
    rx_setup(32, 31, RCTL_BAM, 2048);
    wr(IMS, 0x9d);
    send_one();
    rd(ICR);
    wr(CTRL, rd(CTRL) | CTRL_RST);
    wr(TDH, 0); /* as Linux tidies up behind it */
    wr(TDT, 0);
    pass(5000ull * MS);
    lint_end(lint);
    CHECK_STR(caught, "");
}

/* `ethtool -t`, the part with the registers, as Linux 6.1 has it (e1000_ethtool.c, e1000_reg_test): patterns with the units
 * off, and those of the rings' bases with the receiver on; what is read-only is written to see that it is. */
TEST(lint_of_the_self_test)
{
    static const uint32_t test[] = {0x5a5a5a5a, 0xa5a5a5a5, 0, UINT32_MAX};
    static const struct {
        uint32_t reg, write;
    } off[] = {
        {RDBAH, UINT32_MAX},
        {RDLEN, 0xfffff   },
        {RDH,   0xffff    },
        {RDT,   0xffff    },
        {TDBAH, UINT32_MAX},
        {TDLEN, 0xfffff   },
    };
    start();
    struct lint *lint = linted();
    wr(CTRL, rd(CTRL) | CTRL_RST);
    wr(CTRL, 0x201 | CTRL_SLU);
    uint32_t status = rd(STATUS);
    wr(STATUS, 0xfffff833);
    CHECK_EQ(rd(STATUS), status);
    for (unsigned r = 0; r < sizeof off / sizeof *off; r++)
        for (unsigned i = 0; i < 4; i++)
            wr(off[r].reg, off[r].write & test[i]);
    wr(RCTL, 0);
    wr(RCTL, 0x06dfb3fe & 0x003ffffb);
    wr(TCTL, 0);
    wr(RCTL, 0x06dfb3fe);
    for (unsigned i = 0; i < 4; i++)
        wr(RDBAL, test[i]);
    for (unsigned i = 0; i < 4; i++)
        wr(TDBAL, test[i]);
    wr(RCTL, 0);
    lint_end(lint);
    CHECK_STR(caught, "");
}

TEST(lint_of_rings)
{
    start();
    struct lint *lint = linted();
    wr(TDBAL, TX_AT + 8);
    wr(TDLEN, 200);
    CHECK_STR(caught, ""); /* it may yet be put right */
    wr(TDT, 1);
    CHECK(strstr(caught, "ring base is not aligned to 16 bytes"));
    CHECK(strstr(caught, "ring length is no multiple of 128"));
    CHECK(!strstr(caught, "tail beyond the ring"));
    wr(TDBAL, TX_AT);
    wr(TDLEN, 128);
    caught[0] = 0;
    wr(TDT, 8);
    CHECK(strstr(caught, "tail beyond the ring"));
    caught[0] = 0;
    wr(CTRL, rd(CTRL) | CTRL_RST);
    wr(TDT, 0);
    CHECK(strstr(caught, "DMA is started after a reset, before anything was set up: W TDT=0"));
    caught[0] = 0;
    cf8_write(nic->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    wr(RDT, 0);
    CHECK(strstr(caught, "DMA is started with bus mastering off: W RDT=0"));
    (void)lint;
}

static const char *set_link(void *ctx, const char *id, const char *word)
{
    (void)ctx, (void)id;
    e1000_set_link(&nic->dev, !strcmp(word, "up"));
    return NULL;
}

static struct faults *faulty(const char *spec)
{
    struct opt_list list = {
        (const char *[]){spec, NULL},
          1
    };
    struct faults *faults =
        faults_new(&(struct fault_config){&m->board, &list, set_link, NULL}, m->err, sizeof m->err);
    return keep(faults);
}

TEST(fault_of_the_cable)
{
    start();
    faulty("e10000:link:flap@2");
    CHECK(rd(STATUS) & STATUS_LU);
    rd(STATUS);
    step();
    CHECK(!(rd(STATUS) & STATUS_LU));
    pass(FAULT_FLAP);
    pass(20 * MS);
    CHECK(rd(STATUS) & STATUS_LU);
}

/* A descriptor that cannot be read is a descriptor outside RAM: the ring stops, as it says it does. */
TEST(fault_of_a_descriptor)
{
    start();
    faulty("e10000:dma.r:fail@1");
    send_one();
    CHECK_EQ(peer.n, 0);
    CHECK_EQ(dropped(TX_RING_DMA), 1);
}

TEST(fault_of_a_packet)
{
    start();
    faulty("e10000:dma:ones@2"); /* pulled out between descriptor and packet */
    send_one();
    CHECK_EQ(peer.n, 0);
    CHECK_EQ(rd(STATUS), 0xffffffff);
    pass(5000ull * MS);
}
