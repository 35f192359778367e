// SPDX-License-Identifier: MIT
/* Who is told what in which order; trees that are refused; how the map is printed. */
#include "test.h"

#include "kvm/host/log.h"
#include "mem/mtree.h"
#include "mem/ram.h"
#include "mem/view.h"

static char story[4096];

struct teller {
    struct listener listener;
    char name;
};

static void tell(struct listener *l, const char *what, uint64_t at)
{
    size_t n = strlen(story);
    if (at == UINT64_MAX)
        snprintf(story + n, sizeof story - n, "%c:%s ", ((struct teller *)l)->name, what);
    else
        snprintf(story + n, sizeof story - n, "%c:%s@%llx ", ((struct teller *)l)->name, what,
                 (unsigned long long)at);
}

static struct space *watched; /* what is published while they are told */
static bool published(uint64_t at)
{
    return view_find(atomic_load(&watched->view), at) != NULL;
}

static void t_begin(struct listener *l)
{
    tell(l, "begin", UINT64_MAX);
}
static void t_commit(struct listener *l)
{
    tell(l, "commit", UINT64_MAX);
}
static void t_del(struct listener *l, const struct range *r)
{
    tell(l, published(r->first) ? "del" : "DEL", r->first);
}
static void t_add(struct listener *l, const struct range *r)
{
    tell(l, published(r->first) ? "add" : "ADD", r->first);
}
static void t_nop(struct listener *l, const struct range *r)
{
    tell(l, "nop", r->first);
}
static void t_log_start(struct listener *l, const struct range *r, uint8_t was, uint8_t is)
{
    tell(l, was ? "log+" : "log", r->first);
    (void)is;
}
static void t_log_stop(struct listener *l, const struct range *r, uint8_t was, uint8_t is)
{
    (void)was;
    tell(l, is ? "nolog-" : "nolog", r->first);
}
static void t_fd_add(struct listener *l, const struct view_eventfd *e)
{
    tell(l, "fd", e->addr);
}
static void t_fd_del(struct listener *l, const struct view_eventfd *e)
{
    tell(l, "nofd", e->addr);
}
static void t_zone_add(struct listener *l, const struct view_zone *z)
{
    tell(l, "zone", z->first);
}
static void t_zone_del(struct listener *l, const struct view_zone *z)
{
    tell(l, "nozone", z->first);
}
static void t_global(struct listener *l)
{
    tell(l, "global", UINT64_MAX);
}
static void t_noglobal(struct listener *l)
{
    tell(l, "noglobal", UINT64_MAX);
}
static void t_sync(struct listener *l, const struct range *r)
{
    tell(l, "sync", r->first);
}
static void t_clear(struct listener *l, const struct range *r)
{
    tell(l, "clear", r->last);
}

static const struct listener_ops ops = {
    .begin = t_begin,
    .region_del = t_del,
    .region_add = t_add,
    .region_nop = t_nop,
    .log_start = t_log_start,
    .log_stop = t_log_stop,
    .eventfd_del = t_fd_del,
    .eventfd_add = t_fd_add,
    .coalesced_del = t_zone_del,
    .coalesced_add = t_zone_add,
    .commit = t_commit,
    .log_sync = t_sync,
    .log_clear = t_clear,
    .log_global_start = t_global,
    .log_global_stop = t_noglobal,
};

static const struct region_ops no_ops = {.sizes = 1 | 2 | 4 | 8};

static const char *told(void)
{
    static char copy[sizeof story];
    memcpy(copy, story, sizeof story);
    story[0] = 0;
    return copy;
}

TEST(listeners_are_told_in_order)
{
    struct region root, a, b;
    struct space s;
    struct teller one = {
        .listener = {.ops = &ops, .priority = 1},
          .name = '1'
    };
    struct teller two = {
        .listener = {.ops = &ops, .priority = 2},
          .name = '2'
    };
    struct teller silent = {
        .listener = {.ops = &(const struct listener_ops){0}, .priority = 0}
    };
    uint64_t bits;
    char err[256];
    struct ram *ram = ram_new(&(struct ram_opts){.size = 16 * RAM_PAGE}, err, sizeof err);
    CHECK(ram);
    story[0] = 0;
    region_init_container(&root, "root", REGION_ALL);
    space_init(&s, &root, "space");
    watched = &s;
    listener_register(&s, &two.listener);
    listener_register(&s, &one.listener);
    listener_register(&s, &silent.listener); /* each callback may be missing */
    CHECK_STR(told(), "2:begin 2:commit 1:begin 1:commit ");

    region_init_io(&a, "a", 0x100, &no_ops, NULL, NULL, NULL);
    CHECK(region_ioeventfd_add(&a, 0x10, 4, false, 0, 5));
    region_coalesce(&a, 0x20, 8);
    region_add(&root, &a, 0x1000, 0);
    CHECK_STR(told(), "1:begin 2:begin 1:add@1000 2:add@1000 1:fd@1010 2:fd@1010 1:zone@1020 2:zone@1020 "
                      "1:commit 2:commit ");
    region_move(&a, 0x1000); /* nothing changed: nothing is told */
    CHECK_STR(told(), "");
    transaction_begin();
    transaction_begin();
    region_enable(&a, false);
    transaction_commit();
    CHECK_STR(told(), ""); /* only the outermost */
    region_enable(&a, true);
    transaction_commit();
    CHECK_STR(told(), "1:begin 2:begin 1:nop@1000 2:nop@1000 1:commit 2:commit ");

    /* deletions first and in reverse, with the old view still published; additions under the new one */
    region_move(&a, 0x2000);
    CHECK_STR(told(),
              "1:begin 2:begin 2:nozone@1020 1:nozone@1020 2:nofd@1010 1:nofd@1010 2:del@1000 1:del@1000 "
              "1:add@2000 2:add@2000 1:fd@2010 2:fd@2010 1:zone@2020 2:zone@2020 1:commit 2:commit ");
    listener_unregister(&two.listener);
    CHECK_STR(told(), "2:begin 2:nozone@2020 2:nofd@2010 2:del@2000 2:commit ");

    /* the dirty log */
    region_init_ram(&b, "b", ram, 0, 16 * RAM_PAGE);
    region_add(&root, &b, 0x10000, 0);
    told();
    CHECK(region_log(&b, REGION_LOG_USER, true));
    CHECK_STR(told(), "1:begin 1:nop@2000 1:nop@10000 1:log@10000 1:commit ");
    CHECK(region_log(&b, REGION_LOG_DISPLAY, true));
    CHECK_STR(told(), "1:begin 1:nop@2000 1:nop@10000 1:log+@10000 1:commit ");
    CHECK(region_log(&b, REGION_LOG_USER, false));
    CHECK_STR(told(), "1:begin 1:nop@2000 1:nop@10000 1:nolog-@10000 1:commit ");
    CHECK_EQ(region_log_fetch(&b, REGION_LOG_DISPLAY, RAM_PAGE, 2 * RAM_PAGE, &bits), 0);
    CHECK_STR(told(), "1:sync@11000 1:clear@12fff "); /* the part that was asked for */
    CHECK(log_global_start());
    CHECK(log_global_start());
    CHECK_STR(told(), "1:global ");
    listener_register(&s, &two.listener);
    CHECK_STR(told(), "2:begin 2:global 2:add@2000 2:add@10000 2:log@10000 2:fd@2010 2:zone@2020 2:commit ");
    log_global_stop();
    CHECK_STR(told(), "");
    log_global_stop();
    log_global_stop(); /* one too many */
    CHECK_STR(told(), "2:noglobal 1:noglobal ");
    listener_unregister(&two.listener);
    CHECK_STR(told(), "2:begin 2:nozone@2020 2:nofd@2010 2:del@2000 2:nolog@10000 2:del@10000 2:commit ");
    space_free(&s);
    region_free(&a);
    region_free(&b);
    region_free(&root);
    ram_free(ram);
}

TEST(transactions_render_only_what_changed)
{
    struct region root, io_root, target, alias, child;
    struct space s, io, shown;
    region_init_container(&root, "root", REGION_ALL);
    region_init_container(&io_root, "io", 0x10000);
    region_init_container(&target, "target", 0x1000);
    region_init_alias(&alias, "alias", &target, 0, 0x1000);
    region_init_io(&child, "child", 0x10, &no_ops, NULL, NULL, NULL);
    space_init(&s, &root, "memory");
    space_init(&io, &io_root, "I/O");
    space_init(&shown, &target, "target");
    uint64_t g_memory = atomic_load(&s.view)->generation, g_io = atomic_load(&io.view)->generation;
    transaction_begin(); /* the child joins a container that joins the tree later in the same transaction */
    region_add(&target, &child, 0x20, 0);
    region_add(&root, &alias, 0x8000, 0);
    transaction_commit();
    CHECK(view_find(atomic_load(&s.view), 0x8020) != NULL);
    CHECK(view_find(atomic_load(&shown.view), 0x20) != NULL);
    CHECK_EQ(atomic_load(&io.view)->generation, g_io);
    CHECK(atomic_load(&s.view)->generation != g_memory);
    region_move(&child, 0x40); /* seen through the alias, too */
    CHECK(view_find(atomic_load(&s.view), 0x8040) != NULL && !view_find(atomic_load(&s.view), 0x8020));
    transaction_begin();
    region_add(&io_root, &target, 0, 0);
    region_move(&child, 0x60);
    transaction_commit();
    CHECK(view_find(atomic_load(&io.view), 0x60) != NULL);
    space_free(&s);
    space_free(&io);
    space_free(&shown);
    region_free(&child);
    region_free(&alias);
    region_free(&target);
    region_free(&io_root);
    region_free(&root);
}

TEST(region_priorities_and_ties)
{
    struct region root, low, high, later;
    struct space s;
    region_init_container(&root, "root", REGION_ALL);
    region_init_io(&low, "low", 0x1000, &no_ops, NULL, NULL, NULL);
    region_init_io(&high, "high", 0x100, &no_ops, NULL, NULL, NULL);
    region_init_io(&later, "later", 0x10, &no_ops, NULL, NULL, NULL);
    space_init(&s, &root, "space");
    region_add(&root, &high, 0x200, 5);
    region_add(&root, &low, 0, -5);
    region_add(&root, &later, 0x2f8, 5); /* the same priority: on top, because it came later */
    const struct view *v = atomic_load(&s.view);
    CHECK_EQ(v->n, 4);
    CHECK(v->ranges[0].region == &low && v->ranges[1].region == &high && v->ranges[2].region == &later);
    CHECK(v->ranges[3].region == &low && v->ranges[3].first == 0x308 && v->ranges[3].offset == 0x308);
    CHECK_EQ(v->ranges[1].last, 0x2f7);
    region_remove(&high);
    region_add(&root, &high, 0x200, 5); /* now the other one came later */
    v = atomic_load(&s.view);
    CHECK(v->ranges[2].region == &later && v->ranges[2].first == 0x300 && v->ranges[2].offset == 8);
    space_free(&s);
    region_free(&low);
    region_free(&high);
    region_free(&later);
    region_free(&root);
}

TEST(region_cycles_and_depth_are_refused)
{
    struct region c[80], alias, io, root, up;
    struct space s;
    log_set_level(LOG_LEVEL_ERROR);
    for (unsigned i = 0; i < 80; i++)
        region_init_container(&c[i], "c", 0x1000);
    region_init_container(&root, "root", REGION_ALL);
    region_init_io(&io, "io", 0x10, &no_ops, NULL, NULL, NULL);
    CHECK(region_add(&c[0], &c[1], 0, 0));
    CHECK(!region_add(&c[1], &c[0], 0, 0)); /* through children */
    CHECK(!region_add(&c[0], &c[0], 0, 0)); /* itself */
    CHECK(!region_add(&c[2], &c[1], 0, 0)); /* a second parent */
    region_init_alias(&alias, "alias", &c[0], 0, 0x1000);
    CHECK(!region_add(&c[1], &alias, 0, 0)); /* through an alias */
    CHECK(!region_add(&alias, &io, 0, 0));   /* an alias has no children */
    CHECK(region_add(&root, &alias, 0, 0));
    region_remove(&c[1]);

    unsigned depth = 1;
    while (depth < 80 && region_add(&c[depth - 1], &c[depth], 0, 0))
        depth++;
    CHECK_EQ(depth, REGION_DEPTH_MAX - 2); /* root and alias are above them */
    region_remove(&c[1]);                  /* a deep chain below a deep chain */
    for (unsigned i = 40; i < 60; i++)
        CHECK(region_add(&c[i], &c[i + 1], 0, 0));
    CHECK(!region_add(&c[20], &c[40], 0, 0));
    region_init_alias(&up, "up", &c[40], 0, 0x1000);
    CHECK(!region_add(&c[20], &up, 0, 0));
    CHECK(region_add(&c[60], &io, 8, 0));
    CHECK(region_add(&root, &up, 0x5000, 0)); /* aliases count on the way up */
    space_init(&s, &root, "space");
    CHECK_EQ(atomic_load(&s.view)->n, 1);
    CHECK_EQ(atomic_load(&s.view)->ranges[0].first, 0x5008);
    space_free(&s);
    region_free(&up);
    region_free(&alias);
    for (unsigned i = 0; i < 80; i++)
        region_free(&c[i]);
    region_free(&io);
    region_free(&root);
    log_set_level(LOG_LEVEL_WARNING);
}

TEST(region_aliases_that_multiply_are_bounded)
{
    enum {
        LEVELS = 9,
        TIMES = 16,
    };
    /* each level shows the one below 16 times: 2^32 ways to one register. Too many are refused, rendering ends soon */
    static struct region c[LEVELS], shown[LEVELS][TIMES];
    struct region io;
    struct space s;
    unsigned refused = 0;
    log_set_level(LOG_LEVEL_ERROR);
    region_init_io(&io, "io", 1, &no_ops, NULL, NULL, NULL);
    region_init_container(&c[0], "c", REGION_ALL);
    CHECK(region_add(&c[0], &io, 0, 0));
    for (unsigned i = 1; i < LEVELS; i++)
        region_init_container(&c[i], "c", REGION_ALL);
    space_init(&s, &c[LEVELS - 1], "space");
    for (unsigned i = 1; i < LEVELS; i++) {
        for (unsigned k = 0; k < TIMES; k++) {
            region_init_alias(&shown[i][k], "a", &c[i - 1], 0, UINT64_C(1) << 4 * i);
            refused += !region_add(&c[i], &shown[i][k], (uint64_t)k << 4 * i, 0);
        }
    }
    CHECK(refused > 0);
    CHECK(atomic_load(&s.view)->n <= REGION_VISITS_MAX);
    space_free(&s);
    for (unsigned i = LEVELS; i-- > 0;) {
        for (unsigned k = 0; k < TIMES && i > 0; k++)
            region_free(&shown[i][k]);
        region_free(&c[i]);
    }
    region_free(&io);
    log_set_level(LOG_LEVEL_WARNING);
}

/* --- the printed form */

TEST(mtree_prints_what_qemu_prints)
{
    struct region root, io_root, bios, isa, window, bar, port;
    struct space memory, io, dev;
    char err[256], *text = NULL;
    size_t size = 0;
    struct ram *ram = ram_new(&(struct ram_opts){.size = 0x4000000}, err, sizeof err);
    struct ram *rom = ram_new(&(struct ram_opts){.name = "pc.bios", .size = 0x20000}, err, sizeof err);
    CHECK(ram && rom);
    region_init_container(&root, "system", REGION_ALL);
    region_init_container(&io_root, "io", 0x10000);
    region_init_rom(&bios, "pc.bios", rom, 0, 0x20000);
    region_init_alias(&isa, "isa-bios", &bios, 0x10000, 0x10000);
    region_init_container(&window, "pci", 0x10000000);
    region_init_io(&bar, "edu0.regs", 0x100000, &no_ops, NULL, NULL, NULL);
    region_init_io(&port, "com1", 8, &no_ops, NULL, NULL, NULL);
    space_init(&memory, &root, "memory");
    space_init(&io, &io_root, "I/O");
    space_init_bus_master(&dev, &memory, "edu0");
    ram_map(ram, &root);
    region_add(&root, &bios, 0xfffe0000, 0);
    region_add(&root, &isa, 0xf0000, 1);
    region_add(&root, &window, 0xc0000000, -1);
    region_add(&window, &bar, 0x8000000, 1);
    region_add(&io_root, &port, 0x3f8, 0);
    region_enable(&port, false);

    FILE *out = open_memstream(&text, &size);
    mtree_print(out);
    fclose(out);
    CHECK_STR(text, "address-space: memory\n"
                    "  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
                    "    0000000000000000-0000000003ffffff (prio 0, ram): alias ram-below-3g @memory "
                    "0000000000000000-0000000003ffffff\n"
                    "    00000000000f0000-00000000000fffff (prio 1, rom): alias isa-bios @pc.bios "
                    "0000000000010000-000000000001ffff\n"
                    "    00000000c0000000-00000000cfffffff (prio -1, i/o): pci\n"
                    "      00000000c8000000-00000000c80fffff (prio 1, i/o): edu0.regs\n"
                    "    00000000fffe0000-00000000ffffffff (prio 0, rom): pc.bios\n"
                    "\n"
                    "address-space: I/O\n"
                    "  0000000000000000-000000000000ffff (prio 0, i/o): io\n"
                    "    00000000000003f8-00000000000003ff (prio 0, i/o): com1 [disabled]\n"
                    "\n"
                    "address-space: edu0\n"
                    "  0000000000000000-ffffffffffffffff (prio 0, i/o): bus master container\n"
                    "    0000000000000000-ffffffffffffffff (prio 0, i/o): alias bus master @system "
                    "0000000000000000-ffffffffffffffff [disabled]\n"
                    "\n"
                    "memory-region: memory\n"
                    "  0000000000000000-0000000003ffffff (prio 0, ram): memory\n"
                    "\n"
                    "memory-region: pc.bios\n"
                    "  00000000fffe0000-00000000ffffffff (prio 0, rom): pc.bios\n"
                    "\n");
    free(text);

    space_set_master(&dev, true);
    out = open_memstream(&text, &size);
    mtree_print_flat(out, NULL, NULL);
    fclose(out);
    CHECK_STR(text, "FlatView #0\n"
                    " AS \"memory\", root: system\n"
                    " AS \"edu0\", root: bus master container\n"
                    " Root memory region: system\n"
                    "  0000000000000000-00000000000effff (prio 0, ram): memory\n"
                    "  00000000000f0000-00000000000fffff (prio 0, rom): pc.bios @0000000000010000\n"
                    "  0000000000100000-0000000003ffffff (prio 0, ram): memory @0000000000100000\n"
                    "  00000000c8000000-00000000c80fffff (prio 1, i/o): edu0.regs\n"
                    "  00000000fffe0000-00000000ffffffff (prio 0, rom): pc.bios\n"
                    "\n"
                    "FlatView #1\n"
                    " AS \"I/O\", root: io\n"
                    " Root memory region: io\n"
                    "  No rendered FlatView\n"
                    "\n");
    free(text);
    space_free(&dev);
    space_free(&memory);
    space_free(&io);
    ram_free(ram);
    region_free(&isa);
    region_free(&bios);
    ram_free(rom);
    region_free(&bar);
    region_free(&window);
    region_free(&port);
    region_free(&root);
    region_free(&io_root);
}
