// SPDX-License-Identifier: MIT
/* Jobs of a device, and the registers that start them and are locked by them: mem/job.h. */
#include "fake_board.h"

enum {
    BASE = 0x10000,
    CTL = 0x00,   /* bit 5: what GO started runs */
    GO = 0x04,    /* starts it */
    SHUT = 0x08,  /* locked while it runs */
    OWN = 0x10,   /* bit 0 starts another one, and says that it runs */
    MAGIC = 0x18, /* a constant */
};

struct worker {
    struct device dev;
    uint32_t ctl, go, shut;
    uint64_t own;
    unsigned done;
};

static void job_done(struct device *dev)
{
    CHECK(lock_held(&dev->lock));
    ((struct worker *)dev)->done++;
}
static const struct job go_job = {JOB(struct worker, ctl), 0x20, 1000, job_done};
static const struct job own_job = {JOB(struct worker, own), 1, 1000, job_done};

/* clang-format off */
static const struct reg worker_regs[] = {
    {"CTL",   CTL,   4, .reset = 0x11, .writable = 0xf, REG_FIELD(struct worker, ctl)},
    {"GO",    GO,    4, .writable = 0xf, .job = &go_job, .flags = REG_START, REG_FIELD(struct worker, go)},
    {"SHUT",  SHUT,  4, .writable = 0xf, .job = &go_job, REG_FIELD(struct worker, shut)},
    {"OWN",   OWN,   8, .sizes = 4 | 8, .writable = 7, .job = &own_job, .flags = REG_START, REG_FIELD(struct worker, own)},
    {"MAGIC", MAGIC, 4, .reset = 0x600d, .flags = REG_RO},
    {0},
};
/* clang-format on */
static const struct reg_bank worker_bank = {.name = "regs", .size = 0x20, .regs = worker_regs};

static const char *worker_init(struct device *dev, struct board *board)
{
    return region_add(board->mem_root, &device_map(dev, 0)->region, BASE, 0) ? NULL : "does not fit";
}

static const struct device_class worker_class = {
    .name = "worker",
    .help = "a device for tests",
    .size = sizeof(struct worker),
    .banks = (const struct reg_bank *const[]){&worker_bank, NULL},
    .init = worker_init,
};

static struct fake_board fb;
static struct worker *w;

static void begin(void)
{
    board_make(&fb);
    w = (struct worker *)board_device(&fb, &worker_class, NULL);
}
static uint64_t rd(unsigned reg, unsigned size)
{
    uint64_t v = 0;
    space_read(&fb.mem, BASE + reg, size, &v);
    return v;
}
static void wr(unsigned reg, uint64_t v, unsigned size)
{
    space_write(&fb.mem, BASE + reg, size, &v);
}

TEST(job_runs_locks_and_ends)
{
    begin();
    CHECK_EQ(rd(MAGIC, 4), 0x600d);
    wr(SHUT, 1, 4);
    wr(GO, 0x13, 4);
    CHECK_EQ(rd(CTL, 4), 0x31);
    CHECK_EQ(rd(GO, 4), 3);
    wr(SHUT, 2, 4);
    wr(GO, 4, 4);
    CHECK_EQ(rd(SHUT, 4), 1);
    CHECK_EQ(rd(GO, 4), 3);
    CHECK_EQ(w->dev.refused[REG_FAULT_LOCKED], 2);
    board_pass(&fb, 999);
    CHECK_EQ(w->done, 0);
    CHECK_EQ(rd(CTL, 4), 0x31);
    board_pass(&fb, 1);
    CHECK_EQ(w->done, 1);
    CHECK_EQ(rd(CTL, 4), 0x11);
    wr(SHUT, 2, 4);
    CHECK_EQ(rd(SHUT, 4), 2);
    board_break(&fb);
}

TEST(job_started_by_a_bit_of_its_own_register)
{
    begin();
    wr(OWN, 6, 4); /* not that bit: nothing is stored either */
    CHECK_EQ(rd(OWN, 8), 0);
    wr(OWN, 0x35, 8);
    CHECK_EQ(rd(OWN, 8), 5);
    wr(OWN, 3, 4);
    CHECK_EQ(rd(OWN, 8), 5);
    CHECK_EQ(rd(CTL, 4), 0x11);
    board_pass(&fb, 1000);
    CHECK_EQ(w->done, 1);
    CHECK_EQ(rd(OWN, 8), 4);
    board_break(&fb);
}

TEST(job_ends_by_reset_and_begins_anew_after_a_load)
{
    char state[4096];
    begin();
    wr(GO, 1, 4);
    board_pass(&fb, 900);
    size_t n = device_save(&w->dev, state, sizeof state);
    device_reset(&w->dev);
    CHECK_EQ(rd(CTL, 4), 0x11);
    board_pass(&fb, 5000);
    CHECK_EQ(w->done, 0);
    CHECK(!device_load(&w->dev, state, n));
    CHECK_EQ(rd(CTL, 4), 0x31);
    board_pass(&fb, 999);
    CHECK_EQ(w->done, 0);
    board_pass(&fb, 1);
    CHECK_EQ(w->done, 1);
    board_break(&fb);
}

TEST(job_and_constant_in_a_dump)
{
    char text[1024] = "";
    begin();
    wr(OWN, 1, 4);
    FILE *out = fmemopen(text, sizeof text, "w");
    device_dump(&w->dev, out);
    fclose(out);
    CHECK(strstr(text, "OWN          0x0000000000000001"));
    CHECK(strstr(text, "MAGIC        0x0000600d"));
    board_break(&fb);
}
