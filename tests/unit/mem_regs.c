// SPDX-License-Identifier: MIT
/* Register tables: a bank with every kind of register, once by hand and once against a model that knows nothing of
 * indexes. */
#include "fake_board.h"
#include "kvm/host/opts.h"

enum {
    BASE = 0x10000
};

struct toy {
    struct device dev;
    uint32_t id, ctl, ims, tail, latch, wide_lo;
    uint64_t wide;
    uint32_t table[8];
    uint16_t small;
    uint8_t index_reg, page0, page1, bytes[4];
    struct {
        uint32_t head, pad;
    } queue[3];
    uint32_t shut;
    /* what the callbacks saw */
    unsigned writes, last_index;
    uint64_t last_value;
    /* options */
    uint32_t factor;
    bool fast;
    uint32_t addr;
    uint16_t counts[3];
    struct device_timer timer;
    struct device_task task;
    unsigned fired, ran;
};

static struct toy *toy(struct device *dev)
{
    return (struct toy *)dev;
}

static void note(struct device *dev, unsigned index, uint64_t value)
{
    toy(dev)->writes++;
    toy(dev)->last_index = index;
    toy(dev)->last_value = value;
}

static void ims_write(struct device *dev, unsigned index, uint64_t value)
{
    note(dev, index, value);
    toy(dev)->ims |= (uint32_t)value; /* a set register: the callback decides */
}

static uint64_t live_read(struct device *dev, unsigned index)
{
    (void)dev;
    return 0xabcd0000 + index;
}

static unsigned toy_page(struct device *dev)
{
    return toy(dev)->index_reg & 1;
}

static const struct job toy_job = {JOB(struct toy, ctl), 0x20, 0,
                                   NULL}; /* only for its bit: see mem_jobs.c */

static const struct reg_bits ctl_bits[] = {
    {"EN",   0, 0},
    {"MODE",     4, 3},
    {"TOP", 31, 1},
    {0    }
};
static const struct reg toy_regs[] = {
    {"ID",                    0x00, 4, .page = REG_ANY_PAGE, .reset = 0x010000ed, REG_FIELD(struct toy, id)},
    {"CTL",                      0x04, 4, .page = REG_ANY_PAGE, .sizes = 1 | 2 | 4, .reset = 0x11, .writable = 0x80ff00ff,
     .write = note, .bits = ctl_bits, REG_FIELD(struct toy, ctl)},
    {"LATCH",    0x08, 4, .page = REG_ANY_PAGE, .sizes = 1 | 4, .w1c = 0x0fff, .writable = 0xf000,
     REG_FIELD(struct toy, latch)},
    {"COR",                    0x0c, 4, .page = REG_ANY_PAGE, .sizes = 2 | 4, .writable = 0xffffffff, .clear_on_read = 0xffff,
     REG_FIELD(struct toy, tail)},
    {"IMS",                   0x10, 4, .page = REG_ANY_PAGE, .write = ims_write, REG_FIELD(struct toy, ims)},
    {"WIDE",                      0x18, 8, .page = REG_ANY_PAGE, .sizes = 4 | 8, .writable = UINT64_MAX,
     REG_FIELD(struct toy, wide)},
    {"TABLE",     0x20, 4, .page = REG_ANY_PAGE, .count = 8, .writable = 0x7fffffff, .reset = 7, .write = note,
     REG_FIELD(struct toy, table)},
    {"QUEUE", 0x80, 4, .page = REG_ANY_PAGE, .count = 3, .stride = 0x20, .writable = UINT32_MAX,
     .field_stride = 8, REG_FIELD(struct toy, queue)},
    {"LIVE",       0x84, 4, .page = REG_ANY_PAGE, .count = 3, .stride = 0x20, .flags = REG_RO | REG_PURE,
     .read = live_read},
    {"KICK",                   0x84, 4, .page = REG_ANY_PAGE, .count = 3, .stride = 0x20, .flags = REG_WO, .write = note},
    {"SMALL",                 0x40, 2, .page = REG_ANY_PAGE, .writable = 0xffff, .flags = REG_KEEP, .reset = 0x1234,
     REG_FIELD(struct toy, small)},
    {"INDEX",                      0x43, 1, .page = REG_ANY_PAGE, .writable = 0xff, REG_FIELD(struct toy, index_reg)},
    {"P0",         0x44, 1, .page = 0, .writable = 0xff, REG_FIELD(struct toy, page0)},
    {"P1",     0x44, 1, .page = 1, .writable = 0xff, REG_FIELD(struct toy, page1)},
    {"SHUT",                 0x48, 4, .page = REG_ANY_PAGE, .writable = UINT32_MAX, .write = note, .job = &toy_job,
     REG_FIELD(struct toy, shut)},
    {0                  },
};
static const struct reg_bank toy_bank = {.name = "regs",
                                         .size = 0x100,
                                         .regs = toy_regs,
                                         .hole = 0x5555555555555555,
                                         .pages = 2,
                                         .page = toy_page};

static void timer_fn(struct device *dev)
{
    CHECK(lock_held(&dev->lock));
    toy(dev)->fired++;
}

static void task_fn(struct device *dev)
{
    CHECK(lock_held(&dev->lock));
    toy(dev)->ran++;
}

static const char *toy_init(struct device *dev, struct board *board)
{
    if (toy(dev)->factor == 13)
        return "factor=13: bad luck (choose another)";
    device_timer_init(dev, &toy(dev)->timer, timer_fn);
    device_task_init(dev, &toy(dev)->task, task_fn);
    return region_add(board->mem_root, &device_map(dev, 0)->region, BASE, 0) ? NULL : "does not fit";
}

static const char *toy_loaded(struct device *dev)
{
    return toy(dev)->ctl & 0x40 ? "CTL.6 is reserved" : NULL;
}

static const struct opt toy_options[] = {OPT_U32(struct toy, factor, "factor", 0, "N", "times", .max = 100),
                                         OPT_FLAG(struct toy, fast, "fast", 0, "hurry"), OPT_END};
static const struct opt toy_bus_options[] = {OPT_U32(struct toy, addr, "addr", 0, "SLOT", "place on the bus"),
                                             OPT_END};
static const struct state_field toy_state[] = {
    STATE(struct toy, writes), STATE_ARRAY(struct toy, counts), {0}};
static const struct device_class toy_class = {
    .name = "toy",
    .help = "a device for tests",
    .size = sizeof(struct toy),
    .options = toy_options,
    .bus = &(const struct device_bus){toy_bus_options, NULL},
    .banks = (const struct reg_bank *const[]){&toy_bank,       NULL},
    .state = toy_state,
    .init = toy_init,
    .loaded = toy_loaded,
};
static const struct device_class lone_class = {
    .name = "lone", .help = "one is enough", .size = sizeof(struct device), .single = true};
static const struct device_class inner_class = {
    .name = "inner", .help = "not for you", .size = sizeof(struct device), .internal = true};
static const struct device_class *const class_list[] = {&toy_class, &lone_class, &inner_class, NULL};

static struct fake_board fb;

static uint64_t rd(unsigned offset, unsigned size)
{
    uint64_t v = 0;
    space_read(&fb.mem, BASE + offset, size, &v);
    return v;
}

static void wr(unsigned offset, uint64_t v, unsigned size)
{
    space_write(&fb.mem, BASE + offset, size, &v);
}

TEST(regs_plain_storage_masks_and_lanes)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    CHECK_EQ(rd(0, 4), 0x010000ed);
    wr(0, 0xffffffff, 4); /* read only */
    CHECK_EQ(t->id, 0x010000ed);
    CHECK_EQ(t->dev.refused[REG_FAULT_DIRECTION], 1);

    CHECK_EQ(rd(4, 4), 0x11);
    wr(4, 0xffffffff, 4);
    CHECK_EQ(rd(4, 4), 0x80ff00ff);
    CHECK_EQ(t->last_value, 0xffffffff); /* the callback sees what was written, masks aside */
    wr(6, 0x00, 1);
    CHECK_EQ(rd(4, 4), 0x800000ff);
    CHECK_EQ(t->last_value, 0x800000ff); /* other lanes: what the register holds */
    wr(6, 0x1234, 2);
    CHECK_EQ(rd(4, 4), 0x003400ff);
    CHECK_EQ(rd(6, 1), 0x34);
    CHECK_EQ(rd(7, 1), 0x00);

    wr(0x18, 0x1122334455667788, 8);
    CHECK_EQ(rd(0x1c, 4), 0x11223344);
    wr(0x18, 0xdeadbeef, 4);
    CHECK_EQ(t->wide, 0x11223344deadbeef);
    board_break(&fb);
}

TEST(regs_locked_writes_do_nothing)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    wr(0x48, 5, 4);
    CHECK_EQ(t->last_value, 5);
    wr(4, 0x20, 4); /* locks it */
    unsigned writes = t->writes;
    wr(0x48, 6, 4);
    CHECK_EQ(rd(0x48, 4), 5); /* reads go on */
    CHECK_EQ(t->writes, writes);
    CHECK_EQ(t->dev.refused[REG_FAULT_LOCKED], 1);
    wr(4, 0, 4);
    wr(0x48, 7, 4);
    CHECK_EQ(rd(0x48, 4), 7);
    CHECK_EQ(t->dev.refused[REG_FAULT_LOCKED], 1);
    board_break(&fb);
}

TEST(regs_write_one_to_clear)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    t->latch = 0xfff;
    wr(8, 0, 4);
    CHECK_EQ(t->latch, 0xfff);
    wr(8, 0x0f0, 4);
    CHECK_EQ(t->latch, 0xf0f);
    wr(9, 0xa1, 1); /* one byte: the other lanes are not ones */
    CHECK_EQ(t->latch, 0xae0f);
    wr(8, 0xffff, 4);
    CHECK_EQ(t->latch, 0xf000);
    board_break(&fb);
}

TEST(regs_clear_on_read)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    wr(0xc, 0xcafe1234, 4);
    CHECK_EQ(rd(0xc, 4), 0xcafe1234);
    CHECK_EQ(rd(0xc, 4), 0xcafe0000);
    t->tail = 0x00015678;
    CHECK_EQ(rd(0xe, 2), 0x0001); /* whichever lane is read */
    CHECK_EQ(t->tail, 0x00010000);
    FILE *out = tmpfile();
    t->tail = 0x1ffff;
    device_dump(&t->dev, out); /* looking changes nothing */
    CHECK_EQ(t->tail, 0x1ffff);
    fclose(out);
    board_break(&fb);
}

TEST(regs_arrays_strides_and_indices)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    CHECK_EQ(rd(0x20, 4), 7);
    CHECK_EQ(rd(0x3c, 4), 7);
    wr(0x34, 0xfffffff0, 4);
    CHECK_EQ(t->table[5], 0x7ffffff0);
    CHECK_EQ(t->last_index, 5);
    wr(0xa0, 0x11, 4);
    wr(0xc0, 0x22, 4);
    CHECK_EQ(t->queue[1].head, 0x11);
    CHECK_EQ(t->queue[2].head, 0x22);
    CHECK_EQ(t->queue[1].pad | t->queue[2].pad, 0);
    CHECK_EQ(rd(0xc4, 4), 0xabcd0002);
    wr(0xa4, 5, 4); /* the other register at that offset */
    CHECK_EQ(t->last_index, 1);
    CHECK_EQ(t->last_value, 5);
    CHECK_EQ(rd(0x88, 4), 0x55555555);
    CHECK_EQ(rd(0xe0, 4), 0x55555555); /* past the third element */
    board_break(&fb);
}

TEST(regs_set_register_and_pages)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    wr(0x10, 0x5, 4);
    wr(0x10, 0x8, 4);
    CHECK_EQ(t->ims, 0xd);
    wr(0x44, 0xaa, 1);
    wr(0x43, 1, 1);
    wr(0x44, 0xbb, 1);
    CHECK_EQ(t->page0, 0xaa);
    CHECK_EQ(t->page1, 0xbb);
    wr(0x43, 2, 1);
    CHECK_EQ(rd(0x44, 1), 0xaa);
    board_break(&fb);
}

TEST(regs_refuse_sizes_holes_and_crossings)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    CHECK_EQ(rd(0, 1), 0xff); /* ID takes 4 only */
    CHECK_EQ(rd(8, 2), 0xffff);
    CHECK_EQ(rd(4, 8), UINT64_MAX); /* wider than the register */
    CHECK_EQ(rd(7, 2), 0xffff);     /* leaves it */
    CHECK_EQ(rd(6, 4), 0xffffffff);
    CHECK_EQ(t->dev.refused[REG_FAULT_SIZE], 5);
    CHECK_EQ(rd(0x14, 4), 0x55555555);
    CHECK_EQ(rd(0xff, 1), 0x55);
    wr(0x14, 1, 4);
    CHECK_EQ(t->dev.refused[REG_FAULT_HOLE], 3);
    CHECK_EQ(regs_read(device_map(&t->dev, 0), UINT64_MAX, 8), 0x5555555555555555);
    regs_write(device_map(&t->dev, 0), 0x100000004, 1, 4); /* no wrapping to 4 */
    CHECK_EQ(t->ctl, 0x11);
    board_break(&fb);
}

TEST(regs_reset_and_keep)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    CHECK_EQ(rd(0x40, 2), 0x1234);
    wr(0x40, 0x4321, 2);
    wr(0x20, 1, 4);
    wr(4, 0, 4);
    device_reset(&t->dev);
    CHECK_EQ(rd(0x40, 2), 0x4321);
    CHECK_EQ(rd(0x20, 4), 7);
    CHECK_EQ(rd(4, 4), 0x11);
    board_break(&fb);
}

/* A second reading of the table, slow and plain, for accesses without side effects outside the fields. */
static const struct reg *model_find(struct toy *t, unsigned offset, bool write, unsigned *index,
                                    unsigned *lane)
{
    for (const struct reg *r = toy_regs; r->name; r++) {
        if (r->page != REG_ANY_PAGE && r->page != (t->index_reg & 1))
            continue;
        if (write ? r->flags & REG_RO : r->flags & REG_WO)
            continue;
        for (unsigned i = 0; i < (r->count ? r->count : 1u); i++) {
            unsigned at = r->offset + i * (r->stride ? r->stride : r->width);
            if (offset >= at && offset < at + r->width) {
                *index = i;
                *lane = offset - at;
                return r;
            }
        }
    }
    return NULL;
}

TEST(regs_any_value_in_any_size_and_order)
{
    uint64_t seed = 42;
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    for (unsigned long n = test_scale(200000); n; n--) {
        uint64_t r = test_rand(&seed), value = test_rand(&seed);
        unsigned offset = r & 0xff, size = 1u << (r >> 8 & 3), index = 0, lane = 0;
        bool write = r >> 10 & 1;
        uint64_t mask = size == 8 ? UINT64_MAX : (1ull << size * 8) - 1, want;
        const struct reg *reg = model_find(t, offset, write, &index, &lane);
        unsigned sizes = reg ? (reg->sizes ? reg->sizes : reg->width) : 0;
        bool fits = reg && (sizes & size) && lane + size <= reg->width;
        uint64_t field = reg ? reg_field_get(&t->dev, reg, index) : 0;

        if (!write) {
            if (!reg)
                want = model_find(t, offset, true, &index, &lane) ? UINT64_MAX : 0x5555555555555555;
            else if (!fits)
                want = UINT64_MAX;
            else
                want = (reg->read ? 0xabcd0000 + index : field) >> lane * 8;
            CHECK_EQ(rd(offset, size), want & mask);
            if (fits && reg->clear_on_read)
                CHECK_EQ(t->tail, field & 0xffff0000);
            continue;
        }
        value &= mask;
        want = field;
        if (fits && !(reg->job && job_runs(&t->dev, reg->job)))
            for (unsigned bit = lane * 8; bit < (lane + size) * 8; bit++) {
                bool one = value >> (bit - lane * 8) & 1;
                if (reg->w1c >> bit & 1 ? one : reg->writable >> bit & 1)
                    want = (want & ~(1ull << bit)) | (reg->w1c >> bit & 1 ? 0 : (uint64_t)one << bit);
                if (!strcmp(reg->name, "IMS") && one)
                    want |= 1ull << bit;
            }
        wr(offset, value, size);
        if (reg && reg->field)
            CHECK_EQ(reg_field_get(&t->dev, reg, index), want);
    }
    board_break(&fb);
}

/* ---- hooks and text ---- */

static char trace[4096];

static void hook_access(void *ctx, struct device *dev, const struct reg *reg, unsigned index, bool write,
                        uint64_t offset, unsigned size, uint64_t value)
{
    char name[32], bits[64];
    (void)ctx, (void)offset;
    snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "%s %c %s/%u=%" PRIx64 " (%s);", dev->id,
             write ? 'W' : 'R', reg_name_text(reg, index, name, sizeof(name)), size, value,
             reg_bits_text(reg, value, bits, sizeof(bits)));
}

static void hook_written(void *ctx, struct device *dev, const struct reg *reg, unsigned index)
{
    (void)ctx, (void)index;
    snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "%s now %" PRIx64 ";", reg->name,
             reg_field_get(dev, reg, index));
}

static void hook_refused(void *ctx, struct device *dev, enum reg_fault why, const struct reg *reg, bool write,
                         uint64_t offset, unsigned size, uint64_t value)
{
    (void)ctx, (void)dev, (void)value;
    snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "no%d %s %c%u@%" PRIx64 ";", why,
             reg ? reg->name : "-", write ? 'W' : 'R', size, offset);
}

static bool hook_intercept(void *ctx, struct reg_map *map, bool write, uint64_t offset, unsigned size,
                           uint64_t *value)
{
    (void)map, (void)write, (void)size;
    *value = UINT64_MAX;
    return offset == *(uint64_t *)ctx;
}

TEST(regs_hooks_see_names_values_and_refusals)
{
    uint64_t gone = 0x40;
    const struct reg_hooks hooks = {hook_access, hook_written, hook_refused, hook_intercept, &gone};
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    t->dev.hooks = &hooks;
    trace[0] = 0;
    wr(4, 0x80000031, 4);
    rd(0x28, 4);
    CHECK_STR(trace, "toy0 W CTL/4=80000031 (EN MODE=3 TOP);CTL now 80000031;toy0 R TABLE[2]/4=7 ();");
    trace[0] = 0;
    wr(0, 1, 4);
    rd(0x14, 2);
    rd(0x24, 2);
    CHECK_STR(trace, "no2 ID W4@0;no0 - R2@14;no1 TABLE R2@24;");
    CHECK_EQ(rd(0x40, 2), 0xffff); /* a fault stands in */
    wr(0x40, 5, 2);
    CHECK_EQ(t->small, 0x1234);
    t->dev.hooks = NULL;
    CHECK_EQ(rd(0x40, 2), 0x1234);
    board_break(&fb);
}

TEST(regs_bits_text_is_cut_at_whole_fields)
{
    char buf[12];
    CHECK_STR(reg_bits_text(&toy_regs[1], 0x80000031, buf, sizeof(buf)), "EN MODE=3");
    CHECK_STR(reg_bits_text(&toy_regs[1], 0, buf, sizeof(buf)), "");
    CHECK_STR(reg_bits_text(&toy_regs[1], 0x71, buf, 6), "EN");
}

TEST(device_dump_shows_every_register)
{
    char *text = NULL;
    size_t len = 0;
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    wr(4, 0x21, 4);
    t->counts[1] = 0x77;
    FILE *out = open_memstream(&text, &len);
    device_dump(&t->dev, out);
    fclose(out);
    CHECK(strstr(text, "toy0.regs:\n"));
    CHECK(strstr(text, "00004 CTL          0x00000021  EN MODE=2\n"));
    CHECK(strstr(text, "00034 TABLE[5]     0x00000007\n"));
    CHECK(strstr(text, "000c4 LIVE[2]      0xabcd0002\n"));
    CHECK(strstr(text, "KICK[2]      -\n"));
    CHECK(strstr(text, "counts       0x0 0x77 0x0\n"));
    free(text);
    board_break(&fb);
}

/* ---- classes and instances ---- */

TEST(device_names_and_options)
{
    board_make(&fb);
    struct device *a = device_add(&fb.b, class_list, "toy,factor=3,fast,addr=5", fb.err, sizeof(fb.err));
    struct device *b = device_add(&fb.b, class_list, "toy,id=toy1", fb.err, sizeof(fb.err));
    CHECK(a && b);
    CHECK_STR(a->id, "toy0");
    CHECK_EQ(toy(a)->factor, 3);
    CHECK(toy(a)->fast);
    CHECK_EQ(toy(a)->addr, 5);
    CHECK(device_find(&fb.b, "toy1") == b);
    struct device *c = device_add(&fb.b, class_list, "toy", fb.err, sizeof(fb.err));
    CHECK(c);
    CHECK_STR(c->id, "toy2"); /* toy1 was taken by name */
    CHECK(!device_find(&fb.b, "toy3"));
    board_break(&fb);
}

TEST(device_errors_name_the_device)
{
    static const struct {
        const char *spec, *words[3];
    } rows[] = {
        {"toi",                                             {"toi", "--device help"}   },
        {"inner",                                           {"inner", "no such device"}},
        {"toy,factor=1000",                                 {"toy", "factor"}          },
        {"toy,colour=red",                                  {"toy", "colour"}          },
        {"toy,factor=13",                                   {"toy0", "bad luck"}       },
        {"toy,id=a/b",                                      {"id=a/b", "not a name"}   },
        {"toy,id=",                                         {"id=", "not a name"}      },
        {"toy,id=0123456789012345678901234567890123456789", {"not a name"}             },
        {"lone",                                            {"lone", "one already"}    },
        {"toy,id=lone",                                     {"id=lone", "taken"}       },
        {"",                                                {"--device"}               },
    };
    board_make(&fb);
    CHECK(device_add(&fb.b, class_list, "lone", fb.err, sizeof(fb.err)));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fb.err[0] = 0;
        CHECK(!device_add(&fb.b, class_list, rows[i].spec, fb.err, sizeof(fb.err)));
        for (unsigned w = 0; w < 3 && rows[i].words[w]; w++) {
            if (!strstr(fb.err, rows[i].words[w]))
                printf("%s: %s\n", rows[i].spec, fb.err);
            CHECK(strstr(fb.err, rows[i].words[w]));
        }
    }
    board_break(&fb);
}

TEST(device_help_comes_from_the_tables)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    device_class_print(class_list, out);
    fputs("--\n", out);
    device_class_help(&toy_class, out);
    fclose(out);
    CHECK(strstr(text, "toy") && strstr(text, "a device for tests") && strstr(text, "lone"));
    CHECK(!strstr(text, "inner"));
    char *help = strstr(text, "--\n");
    CHECK(strstr(help, "factor=N") && strstr(help, "addr=SLOT") && strstr(help, "id=ID"));
    free(text);
}

TEST(device_timers_and_tasks_hold_the_lock)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    lock_take(&t->dev.lock);
    device_timer_set(&t->timer, fb.now + 500);
    device_task_post(&t->task);
    device_task_post(&t->task);
    lock_drop(&t->dev.lock);
    board_pass(&fb, 0);
    CHECK_EQ(t->ran, 1);
    CHECK_EQ(t->fired, 0);
    board_pass(&fb, 499);
    CHECK_EQ(t->fired, 0);
    board_pass(&fb, 1);
    CHECK_EQ(t->fired, 1);
    board_pass(&fb, 10000);
    CHECK_EQ(t->fired, 1);

    lock_take(&t->dev.lock);
    device_timer_set(&t->timer, fb.now + 500);
    device_timer_set(&t->timer, fb.now + 900); /* moved */
    lock_drop(&t->dev.lock);
    board_pass(&fb, 600);
    CHECK_EQ(t->fired, 1);
    board_pass(&fb, 300);
    CHECK_EQ(t->fired, 2);
    lock_take(&t->dev.lock);
    device_timer_set(&t->timer, fb.now + 500);
    device_timer_cancel(&t->timer);
    lock_drop(&t->dev.lock);
    CHECK_EQ(board_run(&fb, 10000), 0);
    CHECK_EQ(t->fired, 2);
    board_break(&fb);
}

/* The loop's timer fires, waits for the lock, and finds that the device has cancelled it meanwhile: played by running the
 * loop's callback by hand. */
TEST(device_timer_cancelled_while_the_loop_waits)
{
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    lock_take(&t->dev.lock);
    device_timer_set(&t->timer, fb.now);
    device_timer_cancel(&t->timer);
    lock_drop(&t->dev.lock);
    t->timer.timer.fn(t->timer.timer.arg);
    CHECK_EQ(t->fired, 0);
    lock_take(&t->dev.lock);
    device_timer_set(&t->timer, fb.now);
    device_timer_set(&t->timer, fb.now + 10);
    lock_drop(&t->dev.lock);
    t->timer.timer.fn(t->timer.timer.arg);
    CHECK_EQ(t->fired, 0);
    board_pass(&fb, 10);
    CHECK_EQ(t->fired, 1);
    board_break(&fb);
}

/* ---- saved state ---- */

TEST(device_state_goes_round)
{
    static char buf[4096], again[4096];
    board_make(&fb);
    struct toy *a = toy(board_device(&fb, &toy_class, NULL));
    struct toy *b = toy(device_new(&fb.b, &toy_class, "other", NULL, fb.err, sizeof(fb.err)));
    CHECK(b);
    a->ctl = 0x21;
    a->table[7] = 0x7654321;
    a->queue[2].head = 9;
    a->queue[2].pad = 1; /* no state */
    a->wide = 0x1122334455667788;
    a->counts[2] = 0xbeef;
    a->small = 3;
    a->page1 = 4;
    size_t n = device_save(&a->dev, buf, sizeof(buf));
    CHECK(n > 0 && n <= sizeof(buf));
    CHECK_EQ(device_save(&a->dev, NULL, 0), n);
    memset(again, 0x5a, sizeof(again));
    CHECK_EQ(device_save(&a->dev, again, 10), n);
    CHECK(!memcmp(again, buf, 10) && again[10] == 0x5a);
    b->ims = 77; /* a value that the state does not leave */
    CHECK(!device_load(&b->dev, buf, n));
    CHECK_EQ(b->ctl, 0x21);
    CHECK_EQ(b->table[7], 0x7654321);
    CHECK_EQ(b->queue[2].head, 9);
    CHECK_EQ(b->queue[2].pad, 0);
    CHECK_EQ(b->wide, 0x1122334455667788);
    CHECK_EQ(b->counts[2], 0xbeef);
    CHECK_EQ(b->ims, 0);
    CHECK_EQ(device_save(&b->dev, again, sizeof(again)), n);
    CHECK(!memcmp(buf, again, n));
    board_break(&fb);
}

TEST(device_state_from_a_hostile_file)
{
    static char buf[4096], bad[4096];
    uint64_t seed = 7;
    board_make(&fb);
    struct toy *t = toy(board_device(&fb, &toy_class, NULL));
    size_t n = device_save(&t->dev, buf, sizeof(buf));

    for (size_t cut = 1; cut < n; cut++) { /* every length: refused, or cut between two records */
        char *exact = malloc(cut);
        memcpy(exact, buf, cut);
        const char *sentence = device_load(&t->dev, exact, cut);
        CHECK(!sentence || strstr(sentence, "cut off"));
        free(exact);
    }
    for (unsigned long i = test_scale(20000); i; i--) {
        memcpy(bad, buf, n);
        for (unsigned k = 1 + test_rand(&seed) % 4; k; k--)
            bad[test_rand(&seed) % n] = (char)test_rand(&seed);
        (void)device_load(&t->dev, bad, n);
    }
    static const char alien[] = "\x05"
                                "alien\x01\x01\0\0\0x";
    CHECK(strstr(device_load(&t->dev, alien, sizeof(alien) - 1), "does not have"));
    static const char huge[] = "\x06"
                               "counts\x08\xff\xff\xff\xff";
    CHECK(strstr(device_load(&t->dev, huge, sizeof(huge) - 1), "cut off"));
    static const char narrow[] = "\x06"
                                 "counts\x01\x03\0\0\0abc";
    CHECK(strstr(device_load(&t->dev, narrow, sizeof(narrow) - 1), "another size"));
    static const char refused[] = "\x08"
                                  "regs/CTL\x04\x01\0\0\0\x40\0\0\0";
    CHECK(strstr(device_load(&t->dev, refused, sizeof(refused) - 1), "reserved"));
    CHECK_EQ(t->ctl, 0x11); /* as after reset */
    CHECK(!device_load(&t->dev, buf, n));
    board_break(&fb);
}
