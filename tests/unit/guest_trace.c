// SPDX-License-Identifier: MIT
/* Traces of edu, word for word: include/guest/trace.h. */
#include "test.h"
#include <sys/mman.h>
#include "guest/fault.h"
#include "guest/trace.h"
#include "guest/trace_line.h"
#include "mem/maplog.h"
#include "see_board.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

static struct trace *trace;
static int text_fd;
static char json_path[64];

/* "vCPU" 2 at 0x1000 while the test says so. */
static bool on_cpu;
static bool where(void *ctx, unsigned *cpu, uint64_t *pc)
{
    (void)ctx;
    *cpu = 2;
    *pc = 0xffffffff81000000;
    return on_cpu;
}

static bool begin_with(const char *list, size_t ring, const char *file)
{
    static const char *v[2];
    v[0] = list;
    struct opt_list lists = {v, 1};
    text_fd = memfd_create("text", 0);
    trace = trace_new(&(struct trace_config){.board = &m->board,
                                             .list = &lists,
                                             .file = file,
                                             .patience = 0,
                                             .text_fd = text_fd,
                                             .ring = ring,
                                             .where = where},
                      m->err, sizeof m->err);
    return trace != NULL;
}

static void begin(const char *list)
{
    snprintf(json_path, sizeof json_path, "/tmp/vmlet-trace-%d.json", getpid());
    on_cpu = false;
    see_board("edu0");
    CHECK(begin_with(list, 0, json_path));
}

static char *slurp(int fd)
{
    static char buf[2][1 << 16];
    static unsigned turn;
    char *b = buf[turn++ % 2];
    ssize_t n = pread(fd, b, sizeof buf[0] - 1, 0);
    b[n < 0 ? 0 : n] = 0;
    return b;
}

/* The end of the trace; what was written. */
static char *text(void)
{
    trace_drain(trace, 60000000000);
    char *s = slurp(text_fd);
    close(text_fd);
    trace_free(trace);
    return s;
}
static char *json(void)
{
    int fd = open(json_path, O_RDONLY);
    char *s = slurp(fd);
    close(fd);
    unlink(json_path);
    return s;
}

/* Of each line's head only the fraction of the second, and `*` for a vCPU. */
static char *brief(char *s)
{
    static char buf[1 << 16];
    size_t n = 0;
    buf[0] = 0;
    for (char *line = s, *end; (end = strchr(line, '\n')); line = end + 1) {
        CHECK(end - line > 38 && !strncmp(line, "    0.", 6));
        n += (size_t)snprintf(buf + n, sizeof buf - n, "%.6s %s %.*s\n", line + 6,
                              line[13] == '-' ? "-" : "*", (int)(end - line - 38), line + 38);
    }
    return buf;
}

TEST(the_head_of_a_line)
{
    begin("edu");
    now_ns += 12345678901;
    rd(0, 4);
    on_cpu = true;
    rd(0, 4);
    CHECK_STR(text(), "   12.345678 -     -                  edu0 R ID=0x10000ed\n"
                      "   12.345678 cpu2  0xffffffff81000000 edu0 R ID=0x10000ed\n");
    unlink(json_path);
}

TEST(trace_of_registers_interrupts_and_dma)
{
    begin("edu");
    on_cpu = true;
    rd(0x00, 4);
    wr(0x08, 5, 4);
    wr(0x20, 0x80, 4);
    rd(0x20, 4);
    on_cpu = false;
    pass(2 * MS);
    on_cpu = true;
    wr(0x64, 1, 4);
    wr(0x64, 1, 4); /* nothing more to lower */
    wr(0x21, 5, 1);
    rd(0x44, 4);
    wr(0x00, 1, 4);
    rd(0x60, 4);
    rd(0x80, 4);
    CHECK_STR(brief(text()), "000000 * edu0 R ID=0x10000ed\n"
                             "000000 * edu0 W FACTORIAL=5\n"
                             "000000 * edu0 W STATUS=0x80 IRQFACT\n"
                             "000000 * edu0 R STATUS=0x81 COMPUTING IRQFACT\n"
                             "002000 - edu0 IRQ 0x1 -> INTx line 17\n"
                             "002000 * edu0 W INTR_ACK=1 FACT\n"
                             "002000 * edu0 IRQ -> INTx line 17 down\n"
                             "002000 * edu0 W INTR_ACK=1 FACT\n"
                             "002000 * edu0 W STATUS+1/1=5 refused: a size that it does not take\n"
                             "002000 * edu0 R 0x44/4 refused: no register there\n"
                             "002000 * edu0 W ID=1 refused: it is read-only\n"
                             "002000 * edu0 R INTR_RAISE refused: it is write-only\n"
                             "002000 * edu0 R DMA_SRC/4=0\n");
}

TEST(trace_of_dma_both_ways_and_refused)
{
    begin("edu");
    wr(0x80, 0x1f000, 8);
    wr(0x88, 0x40000, 8);
    wr(0x90, 64, 4);
    wr(0x98, 5, 4);
    wr(0x90, 65, 4);
    pass(100 * MS);
    dma(0x40000, 0x2000, 16, 3);
    pass(100 * MS);
    dma(0x50000, 0x2000, 16, 3);
    pass(100 * MS);
    dma(0x40000, 0xfff0000, 16, 3);
    pass(100 * MS);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    wr(0x98, 3, 4);
    pass(100 * MS);
    wr(0x64, 0x100, 4);
    CHECK_STR(brief(text()),
              "000000 - edu0 W DMA_SRC=0x1f000\n"
              "000000 - edu0 W DMA_DST=0x40000\n"
              "000000 - edu0 W DMA_CNT/4=0x40\n"
              "000000 - edu0 W DMA_CMD/4=5 RUN IRQ (64 bytes 0x1f000 -> 0x40000, from RAM)\n"
              "000000 - edu0 W DMA_CNT/4=0x41 refused: locked while the device is busy\n"
              "100000 - edu0 dma R 0x1f000+64\n"
              "100000 - edu0 IRQ 0x100 -> INTx line 17\n"
              "100000 - edu0 W DMA_SRC=0x40000\n"
              "100000 - edu0 W DMA_DST=0x2000\n"
              "100000 - edu0 W DMA_CNT=0x10\n"
              "100000 - edu0 W DMA_CMD/4=3 RUN FROM_EDU (16 bytes 0x40000 -> 0x2000, to RAM)\n"
              "200000 - edu0 dma W 0x2000+16\n"
              "200000 - edu0 W DMA_SRC=0x50000\n"
              "200000 - edu0 W DMA_DST=0x2000\n"
              "200000 - edu0 W DMA_CNT=0x10\n"
              "200000 - edu0 W DMA_CMD/4=3 RUN FROM_EDU (16 bytes 0x50000 -> 0x2000, to RAM)\n"
              "300000 - edu0 dma drop: not in the buffer (0x40000-0x40fff)\n"
              "300000 - edu0 W DMA_SRC=0x40000\n"
              "300000 - edu0 W DMA_DST=0xfff0000\n"
              "300000 - edu0 W DMA_CNT=0x10\n"
              "300000 - edu0 W DMA_CMD/4=3 RUN FROM_EDU (16 bytes 0x40000 -> 0xfff0000, to RAM)\n"
              "400000 - edu0 dma W 0xfff0000+16 refused: not in RAM\n"
              "400000 - edu0 W DMA_CMD/4=3 RUN FROM_EDU (16 bytes 0x40000 -> 0xfff0000, to RAM)\n"
              "500000 - edu0 dma W 0xfff0000+16 refused: bus master off\n"
              "500000 - edu0 W INTR_ACK=0x100 DMA\n"
              "500000 - edu0 IRQ -> INTx line 17 down\n");
    unlink(json_path);
}

TEST(trace_of_messages_and_configuration)
{
    begin("edu,pci");
    msi_on(33);
    wr(0x60, 0x100, 4);
    wr(0x64, 0x100, 4);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE, 2);
    wr(0x60, 0x100, 4);
    msi_on(0);
    wr(0x60, 0x1, 4);
    cf8(0, edu->devfn, PCI_COMMAND, 4);
    cf8(0, edu->devfn, PCI_BAR0, 4);
    cf8(0, edu->devfn, PCI_STATUS + 1, 1);
    cf8(0, 0, PCI_VENDOR_ID, 2);
    CHECK_STR(brief(text()), "000000 - edu0 config W MSI_ADDRESS_LO=0xfee00000\n"
                             "000000 - edu0 config W MSI_DATA=0x21\n"
                             "000000 - edu0 config W MSI_CONTROL=1 ENABLE\n"
                             "000000 - edu0 W INTR_RAISE=0x100 DMA\n"
                             "000000 - edu0 IRQ 0x100 -> MSI vector 33\n"
                             "000000 - edu0 W INTR_ACK=0x100 DMA\n"
                             "000000 - edu0 config W COMMAND=0x402 MEMORY INTX_DISABLE\n"
                             "000000 - edu0 W INTR_RAISE=0x100 DMA\n"
                             "000000 - edu0 IRQ 0x100 -> dropped: bus master off\n"
                             "000000 - edu0 config W MSI_ADDRESS_LO=0xfee00000\n"
                             "000000 - edu0 config W MSI_DATA=0\n"
                             "000000 - edu0 config W MSI_CONTROL=0\n"
                             "000000 - edu0 W INTR_RAISE=1 FACT\n"
                             "000000 - edu0 IRQ 0x101 -> held: INTx is disabled\n"
                             "000000 - edu0 config R COMMAND/4=0x180402 MEMORY INTX_DISABLE\n"
                             "000000 - edu0 config R BAR[0]=0xc0000000\n"
                             "000000 - edu0 config R 0x7/1=0\n"
                             "000000 - pci config R VENDOR_ID=0x1b36\n");
    unlink(json_path);
}

TEST(trace_as_json)
{
    begin("edu,mem,irq");
    on_cpu = true;
    wr(0x98, 5, 4);
    wr(0x22, 9, 2);
    rd(0x20, 4);
    on_cpu = false;
    struct maplog *log = maplog_new(&m->memory, trace_map, trace);
    cf8_write(edu->devfn, PCI_BAR0, 0xd0000000, 4);
    pass(100 * MS);
    text();
    maplog_free(log);
    CHECK_STR(
        json(),
        "{\"t\":0,\"cpu\":2,\"pc\":\"0xffffffff81000000\",\"dev\":\"edu0\",\"class\":\"edu\",\"op\":\"W\","
        "\"reg\":\"DMA_CMD\",\"size\":4,\"value\":\"0x5\",\"bits\":{\"RUN\":1,\"IRQ\":1},"
        "\"led\":\"0 bytes 0x0 -> 0x0, from RAM\"}\n"
        "{\"t\":0,\"cpu\":2,\"pc\":\"0xffffffff81000000\",\"dev\":\"edu0\",\"class\":\"edu\",\"op\":\"W\","
        "\"reg\":\"STATUS\",\"offset\":2,\"size\":2,\"value\":\"0x9\",\"bits\":{},"
        "\"error\":\"a size that it does not take\"}\n"
        "{\"t\":0,\"cpu\":2,\"pc\":\"0xffffffff81000000\",\"dev\":\"edu0\",\"class\":\"edu\",\"op\":\"R\","
        "\"reg\":\"STATUS\",\"size\":4,\"value\":\"0x0\",\"bits\":{}}\n"
        "{\"t\":0,\"op\":\"mem\",\"text\":\"BAR0 of edu0 0xc0000000 -> 0xd0000000\"}\n"
        "{\"t\":100000000,\"dev\":\"edu0\",\"class\":\"edu\",\"op\":\"drop\","
        "\"text\":\"dma drop: not in the buffer (0x40000-0x40fff)\"}\n"
        "{\"t\":100000000,\"op\":\"line\",\"text\":\"17 up (edu0)\"}\n"
        "{\"t\":100000000,\"dev\":\"edu0\",\"class\":\"edu\",\"op\":\"irq\",\"up\":true,\"cause\":\"0x100\","
        "\"led\":\"INTx line 17\"}\n");
}

/* Whatever a device says, a line stays a line and JSON stays JSON. */
TEST(json_of_odd_names)
{
    static const struct {
        const char *said, *json;
    } cases[] = {
        {"plain",                                            "plain"                         },
        {"a \"b\" c\\d",                                     "a \\\"b\\\" c\\\\d"            },
        {"x\n\t\x01\x7fy",                                   "x\\u000a\\u0009\\u0001\\u007fy"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"                                  },
        {"\xff\xc3(\xe2\x82",                                "\\ufffd\\ufffd(\\ufffd\\ufffd" },
        {"\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80",
         "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd"                   },
    };
    see_board("a.b_c-1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buf[TRACE_JSON], want[512];
        struct watch_event e = {.kind = WATCH_DROP, .text = cases[i].said};
        size_t n = trace_json(&(struct trace_line){.dev = &edu->dev, .e = &e}, buf, sizeof buf);
        snprintf(want, sizeof want,
                 "{\"t\":0,\"dev\":\"a.b_c-1\",\"class\":\"edu\",\"op\":\"drop\",\"text\":\"%s\"}\n",
                 cases[i].json);
        CHECK_STR(buf, want);
        CHECK_EQ(n, strlen(want));
    }
}

/* In any room the line ends as it should, and nothing is written past the room. */
TEST(lines_are_cut_whole)
{
    static const struct reg_bits bits[] = {
        {"ONE", 0, 1},
        {"TWO",    1, 1},
        {"WIDE", 8, 24},
        {0   }
    };
    static const struct reg reg = {"A_LONG_NAME", 0, 4, .bits = bits};
    struct watch_event e = {.kind = WATCH_REG, .write = true, .size = 4, .value = 0xffffffff, .reg = &reg};
    struct trace_line l = {
        .has_cpu = true, .pc = UINT64_MAX, .cpu = 253, .led = "words \"quoted\" \\ \xc3\xbc"};
    see_board("edu0");
    l.dev = &edu->dev;
    l.e = &e;
    for (size_t size = 96; size < 400; size++) {
        char buf[512];
        memset(buf, '#', sizeof buf);
        size_t n = trace_json(&l, buf, size);
        CHECK(n < size && buf[n] == 0 && buf[n - 1] == '\n' && buf[n - 2] == '}');
        CHECK(!memchr(buf, '\n', n - 1) && buf[size] == '#');
        unsigned quotes = 0, depth = 0;
        for (size_t i = 0; i < n; i++) {
            if (buf[i] == '\\' && quotes % 2)
                i++;
            else if (buf[i] == '"')
                quotes++;
            else if (quotes % 2 == 0)
                depth += (buf[i] == '{') - (buf[i] == '}');
        }
        CHECK(quotes % 2 == 0 && depth == 0);
        n = trace_text(&l, buf, size);
        CHECK(n < size && buf[n] == 0 && buf[n - 1] == '\n');
    }
}

TEST(trace_lists_that_are_wrong)
{
    static const struct {
        const char *list, *error;
    } cases[] = {
        {"edu1",                                                                   "--trace edu1: no such device or kind (pci edu0 pci irq dma mem all)"},
        {"",                                                                       "--trace: a name is empty (a list such as edu,pci,irq)"              },
        {"edu,,pci",                                                               "--trace: a name is empty (a list such as edu,pci,irq)"              },
        {"edu,",                                                                   "--trace: a name is empty (a list such as edu,pci,irq)"              },
        {"edu,e\nx",                                                               "--trace e\nx: no such device or kind (pci edu0 pci irq dma mem all)"},
        {"0123456789012345678901234567890123456789012345678901234567890123456789",
         "--trace: no name is that long (a list such as edu,pci,irq)"                                                                                   },
    };
    see_board("edu0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(!begin_with(cases[i].list, 0, NULL));
        CHECK_STR(m->err, cases[i].error);
        CHECK(!edu->dev.watch);
        close(text_fd);
    }
    CHECK(!begin_with("edu", 0, "/nowhere/there"));
    CHECK_STR(m->err, "--trace-file /nowhere/there: No such file or directory");
    CHECK(!begin_with("edu", 0, "/"));
    CHECK_STR(m->err, "--trace-file /: Is a directory");
}

/* Nobody reads: lines are lost and counted, nobody waits, and what comes later says how many. */
TEST(trace_without_a_reader_is_counted)
{
    char fifo[64];
    int hold;
    see_board("edu0");
    snprintf(fifo, sizeof fifo, "/tmp/vmlet-fifo-%d", getpid());
    CHECK(mkfifo(fifo, 0600) == 0);
    CHECK(!begin_with("edu", 4096, fifo));
    CHECK_STR(strchr(m->err, ':'), ": nobody opened the FIFO for reading");
    hold = open(fifo, O_RDONLY | O_NONBLOCK);
    fcntl(hold, F_SETPIPE_SZ, 4096);
    CHECK(begin_with("edu", 4096, fifo));
    unlink(fifo);
    enum {
        READS = 500,
    };
    for (int i = 0; i < READS; i++)
        rd(0, 4);
    usleep(20000); /* the writer's thread has filled the pipe and waits; the ring is as full as it gets */
    uint64_t lost = trace_lost(trace);
    CHECK(lost > 0);
    unsigned told = 0;
    size_t kept = 0;
    char buf[65536];
    fcntl(hold, F_SETFL, 0);
    alarm(100);
    for (int i = 0; i < READS && !told;
         i++) { /* a reader again: sooner or later a line fits, behind the gap's */
        ssize_t n = read(hold, buf + kept, sizeof buf - 1 - kept); /* which may end in the middle of a line */
        CHECK(n > 0);
        buf[kept + (size_t)n] = 0;
        char *gap = strstr(buf, "{\"lost\":");
        if (gap && strchr(gap, '\n'))
            told = (unsigned)atoi(gap + 8);
        char *rest = strrchr(buf, '\n');
        rest = rest ? rest + 1 : buf;
        kept = strlen(rest);
        memmove(buf, rest, kept + 1);
        usleep(1000);
        rd(0, 4);
    }
    alarm(0);
    CHECK(told > 0 && told <= READS + 500);
    close(hold);
    signal(SIGPIPE, SIG_IGN);
    text();
}

/* A full disk and a FIFO whose reader goes away end the trace, not the guest. */
TEST(trace_to_what_fails)
{
    see_board("edu0");
    CHECK(begin_with("edu", 0, "/dev/full"));
    for (int i = 0; i < 3; i++)
        rd(0, 4);
    CHECK_EQ(rd(0, 4), 0x010000ed);
    CHECK(strlen(text()) > 100);
}

TEST(trace_takes_shortcuts_away)
{
    begin("edu0");
    CHECK(device_map(&edu->dev, 0)->region.plain);
    text();
    unlink(json_path);
    begin("dma"); /* needs no plain registers */
    CHECK(!device_map(&edu->dev, 0)->region.plain);
    text();
    unlink(json_path);
}

TEST(trace_of_faults)
{
    static const char *specs[] = {"edu0:write.STATUS:drop@1", "edu0:read:drop@1", "edu0:irq:drop@1",
                                  "edu0:read:double@2", NULL};
    struct opt_list list = {specs, 4};
    see_board("edu0");
    struct faults *faults =
        faults_new(&(struct fault_config){.board = &m->board, .specs = &list}, m->err, sizeof m->err);
    CHECK(faults);
    CHECK(begin_with("edu", 0, NULL));
    wr(0x20, 0x80, 4);
    rd(0x20, 4);
    wr(0x60, 1, 4);
    rd(0x24, 4);
    CHECK_STR(brief(text()), "000000 - edu0 fault: edu0:write.STATUS:drop@1: W STATUS=0x80\n"
                             "000000 - edu0 fault: edu0:read:drop@1: R STATUS=0xffffffff\n"
                             "000000 - edu0 W INTR_RAISE=1 FACT\n"
                             "000000 - edu0 fault: edu0:irq:drop@1\n"
                             "000000 - edu0 fault: edu0:read:double@2\n"
                             "000000 - edu0 R INTR_STATUS=1 FACT\n");
}

enum {
    THREADS = 3,
    READS_EACH = 1500,
};
static void *reader(void *arg)
{
    for (int i = 0; i < READS_EACH; i++)
        rd(i % 2 ? 0 : 0x44, 4);
    return arg;
}

/* Lines of several vCPUs do not mix, none is lost while somebody takes them, and both files say the same. */
TEST(trace_of_many_threads)
{
    static char all[4 << 20];
    pthread_t threads[THREADS];
    begin("edu");
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, reader, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    trace_drain(trace, 60000000000);
    CHECK_EQ(trace_lost(trace), 0);
    int fds[] = {text_fd, open(json_path, O_RDONLY)};
    for (int i = 0; i < 2; i++) {
        ssize_t n = pread(fds[i], all, sizeof all - 1, 0);
        unsigned lines = 0;
        CHECK(n > 0 && n < (ssize_t)sizeof all - 1);
        all[n] = 0;
        for (char *line = all, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
            *end = 0;
            const char *whole = i ? "\"size\":4" : " edu0 R ";
            CHECK(strstr(line, whole) && !strstr(strstr(line, whole) + 1, whole));
        }
        CHECK_EQ(lines, THREADS * READS_EACH);
        close(fds[i]);
    }
    trace_free(trace);
    unlink(json_path);
}
