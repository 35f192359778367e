// SPDX-License-Identifier: MIT
/* Misuse by drivers, with edu: each rule when it is broken, and a driver that breaks none. include/guest/lint.h. */
#include "test.h"
#include "guest/gate.h"
#include "guest/info.h"
#include "guest/lint.h"
#include "guest/result.h"
#include "see_board.h"

static struct lint *lint;
static char caught[8192];

static void on_caught(void *ctx, const char *sentence)
{
    (void)ctx;
    snprintf(caught + strlen(caught), sizeof caught - strlen(caught), "%s\n", sentence);
}
static const struct gate gate = {1u << GATE_LINT, on_caught, NULL};

static bool on_cpu;
static bool where(void *ctx, unsigned *cpu, uint64_t *pc)
{
    (void)ctx;
    *cpu = 1;
    *pc = 0x40007c;
    return on_cpu;
}

static void begin(void)
{
    on_cpu = false;
    caught[0] = 0;
    see_board("edu0");
    lint = lint_new(&(struct lint_config){.board = &m->board, .gate = &gate, .where = where}, m->err,
                    sizeof m->err);
    CHECK(lint);
}

/* What was reported since the last time. */
static char *news(void)
{
    static char buf[sizeof caught];
    strcpy(buf, caught);
    caught[0] = 0;
    return buf;
}

TEST(a_good_driver_is_left_alone)
{
    begin();
    CHECK_EQ(rd(0x00, 4), 0x010000ed);
    wr(0x04, 1, 4);
    wr(0x20, 0x80, 4);
    wr(0x08, 5, 4);
    pass(2 * MS);
    CHECK_EQ(rd(0x24, 4), 1);
    wr(0x64, 1, 4);
    dma(0x1000, 0x40000, 4096, 5);
    pass(100 * MS);
    wr(0x64, 0x100, 4);
    dma(0x40000, 0xff000, 4096, 3);
    pass(100 * MS);
    device_reset(&edu->dev);
    dma(0x1000, 0x40000, 16, 1);
    pass(100 * MS);
    msi_on(33);
    wr(0x60, 1, 4);
    wr(0x64, 1, 4);
    pass(5000 * MS);
    lint_end(lint);
    CHECK_STR(news(), "");
    lint_free(lint);
}

TEST(rule_registers)
{
    begin();
    on_cpu = true;
    for (int i = 0; i < 3; i++) { /* each is told once */
        wr(0x21, 5, 1);
        rd(0x44, 4);
        wr(0x00, 1, 4);
        rd(0x60, 4);
    }
    CHECK_STR(
        news(),
        "lint: edu0: a register access of a size that it does not take: W STATUS+1/1=5, at 0x40007c on cpu1\n"
        "lint: edu0: an access to no register: R 0x44/4, at 0x40007c on cpu1\n"
        "lint: edu0: a write to a read-only register: W ID=1, at 0x40007c on cpu1\n"
        "lint: edu0: a read of a write-only register: R INTR_RAISE, at 0x40007c on cpu1\n");
    on_cpu = false;
    wr(0x08, 3, 4);
    wr(0x08, 4, 4);
    CHECK_STR(news(), "lint: edu0: a write to a register while the device is busy: W FACTORIAL=4\n");
    char *buf;
    size_t size;
    FILE *f = open_memstream(&buf, &size);
    char id[] = "edu0", *words[] = {id};
    CHECK(!info_stats(&m->board, 1, words, f));
    fclose(f);
    CHECK_STR(buf, "edu0:\n"
                   "  register refused: no register there: 3\n"
                   "  register refused: a size that it does not take: 3\n"
                   "  register refused: read-only or write-only: 6\n"
                   "  register refused: locked while the device is busy: 1\n"
                   "  misuse: an access to no register: 3\n"
                   "  misuse: a register access of a size that it does not take: 3\n"
                   "  misuse: a write to a read-only register: 3\n"
                   "  misuse: a read of a write-only register: 3\n"
                   "  misuse: a write to a register while the device is busy: 1\n");
    free(buf);
    lint_free(lint);
}

TEST(rule_dma_outside_ram)
{
    begin();
    dma(0x100000, 0x40000, 16, 1); /* RAM ends there */
    pass(100 * MS);
    CHECK_STR(news(), "lint: edu0: DMA outside RAM: dma R 0x100000+16\n");
    dma(0xffff8, 0x40000, 16, 1);
    pass(100 * MS);
    dma(0xffff0, 0x40000, 16, 1); /* ends with it */
    pass(100 * MS);
    CHECK_STR(news(), "");
    lint_free(lint);
}

TEST(rule_dma_with_bus_mastering_off)
{
    begin();
    dma(0x1000, 0x40000, 16, 1);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    pass(100 * MS);
    CHECK_STR(news(), "lint: edu0: DMA with bus mastering off: dma R 0x1000+16\n");
    wr(0x98, 1, 4);
    CHECK_STR(news(), "lint: edu0: DMA is started with bus mastering off: W DMA_CMD/4=1 RUN\n");
    lint_free(lint);
}

TEST(rule_started_after_a_reset)
{
    begin();
    dma(0x1000, 0x40000, 16, 1);
    pass(100 * MS);
    device_reset(&edu->dev);
    CHECK_STR(news(), "");
    rd(0x98, 4);
    wr(0x98, 1, 4);
    CHECK_STR(news(),
              "lint: edu0: DMA is started after a reset, before anything was set up: W DMA_CMD/4=1 RUN\n");
    lint_free(lint);
}

TEST(rule_dma_mask)
{
    begin();
    dma(0x1000 | 1ull << 28, 0x40000, 16, 1);
    pass(100 * MS);
    CHECK_STR(news(), "lint: edu0: DMA address with bits that dma_mask has not: they are cut off\n");
    dma(0x1000 | 1ull << 28, 0x40000, 16, 1);
    pass(100 * MS);
    CHECK_STR(news(), "");
    lint_free(lint);
}

TEST(rule_message_with_bus_mastering_off)
{
    begin();
    msi_on(33);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    wr(0x60, 1, 4);
    CHECK_STR(news(),
              "lint: edu0: an interrupt message with bus mastering off: IRQ -> dropped: bus master off\n");
    lint_free(lint);
}

TEST(rule_interrupt_never_acknowledged)
{
    begin();
    wr(0x60, 1, 4);
    pass(999 * MS);
    CHECK_STR(news(), "");
    wr(0x64, 1, 4);
    pass(1000 * MS);
    CHECK_STR(news(), "");
    wr(0x60, 1, 4);
    pass(1000 * MS);
    CHECK_STR(news(), "lint: edu0: an interrupt that nobody acknowledges\n");
    wr(0x64, 1, 4);
    wr(0x60, 1, 4);
    pass(5000 * MS);
    CHECK_STR(news(), ""); /* once */
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER);
    lint_free(lint);

    begin(); /* the run ends while it waits */
    wr(0x60, 1, 4);
    now_ns += 1000 * MS;
    lint_end(lint);
    CHECK_STR(news(), "lint: edu0: an interrupt that nobody acknowledges\n");
    lint_free(lint);

    begin(); /* a short while before the end is no fault */
    wr(0x60, 1, 4);
    now_ns += 500 * MS;
    lint_end(lint);
    CHECK_STR(news(), "");
    lint_free(lint);

    begin(); /* with INTx disabled none was sent */
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 2);
    wr(0x60, 1, 4);
    pass(2000 * MS);
    CHECK_STR(news(), "");
    lint_free(lint);
}

static uint64_t guest_ns;
static uint64_t guest_clock(void *ctx)
{
    (void)ctx;
    return guest_ns;
}

TEST(a_paused_guest_need_not_acknowledge)
{
    begin();
    guest_ns = 5;
    m->board.guest = (struct clock){guest_clock, NULL};
    wr(0x60, 1, 4);
    pass(3000 * MS);
    CHECK_STR(news(), "");
    guest_ns += 1000 * MS;
    pass(1000 * MS);
    CHECK_STR(news(), "lint: edu0: an interrupt that nobody acknowledges\n");
    lint_free(lint);
}

TEST(the_gate)
{
    static const struct {
        const char *list, *error;
        uint32_t on;
    } cases[] = {
        {"lint",      NULL,                    1u << GATE_LINT},
        {"lint,lint", NULL,                    1u << GATE_LINT},
        {"",          "there is no `` (",      0              },
        {"lint,",     "there is no `` (",      0              },
        {"lin",       "there is no `lin` (",   0              },
        {"lints",     "there is no `lints` (", 0              },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t on = 0;
        const char *error = gate_parse(cases[i].list, &on);
        CHECK(!error == !cases[i].error);
        if (error)
            CHECK(!strncmp(error, cases[i].error, strlen(cases[i].error)));
        else
            CHECK_EQ(on, cases[i].on);
    }
    struct gate off = {0, on_caught, NULL};
    caught[0] = 0;
    gate_catch(NULL, GATE_LINT, "nobody");
    gate_catch(&off, GATE_LINT, "nobody");
    CHECK_STR(caught, "");
    gate_catch(&gate, GATE_LINT, "this");
    CHECK_STR(caught, "this\n");
}

TEST(the_gate_turns_good_ends_into_123)
{
    static const struct {
        enum end_reason reason;
        int status, want;
        enum end_reason then;
    } cases[] = {
        {END_EXITED,   0,   123, END_GATE   },
        {END_EXITED,   3,   123, END_GATE   },
        {END_SIGNALED, 137, 123, END_GATE   },
        {END_POWEROFF, 0,   123, END_GATE   },
        {END_REBOOT,   0,   123, END_GATE   },
        {END_TIMEOUT,  0,   124, END_TIMEOUT},
        {END_PANIC,    0,   123, END_PANIC  },
        {END_STOPPED,  0,   123, END_STOPPED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct result r = {0};
        CHECK(result_end(&r, cases[i].reason, cases[i].status, NULL));
        result_caught(&r, "lint: edu0: bad\n");
        result_caught(&r, "lint: edu0: worse");
        result_gate(&r);
        CHECK_EQ(result_status(&r), cases[i].want);
        CHECK_EQ(r.reason, cases[i].then);
        if (cases[i].status == 3)
            CHECK_STR(r.detail, "lint: edu0: bad? (the guest's status was 3)");
    }
    struct result r = {0};
    result_end(&r, END_EXITED, 0, NULL);
    result_gate(&r);
    CHECK_EQ(result_status(&r), 0);
}
