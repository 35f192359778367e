// SPDX-License-Identifier: MIT
/* The KVM listener against a fake KVM that is as strict as the real one, and that compares the slots with the view after
 * each commit, page by page; the dirty log from guest to fetch. */
#include "test.h"

#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/mtree.h"
#include "mem/ram.h"
#include "mem/slots.h"

#include <errno.h>
#include <unistd.h>

enum {
    PAGES = 96, /* of the guest's small world */
    SLOTS = 64,
    REGIONS = 14,
};

/* --- a fake KVM */

struct fake_slot {
    uint64_t gpa, size;
    uint8_t *host;
    uint32_t flags;
    bool dirty[PAGES];
};

struct fake {
    struct fake_slot slot[SLOTS];
    bool gone[PAGES]; /* pages that a deletion outside of hold has left without memory in this commit */
    unsigned held, errors, calls, gets, clears;
    int fail_next; /* errno of the next set() that adds */
};

#define WRONG(f, ...)                                                                                        \
    do {                                                                                                     \
        (f)->errors++;                                                                                       \
        printf(__VA_ARGS__);                                                                                 \
    } while (0)

static int fake_set(void *ctx, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
    struct fake *f = ctx;
    f->calls++;
    if (id >= SLOTS) {
        WRONG(f, "slot %u\n", id);
        return -EINVAL;
    }
    struct fake_slot *s = &f->slot[id];
    if (gpa % RAM_PAGE || size % RAM_PAGE || (uintptr_t)host % RAM_PAGE ||
        gpa / RAM_PAGE + size / RAM_PAGE > PAGES) {
        WRONG(f, "slot %u: alignment\n", id);
        return -EINVAL;
    }
    if (size == 0) {
        if (s->size == 0) {
            WRONG(f, "slot %u: deleted, but not there\n", id);
            return -EINVAL;
        }
        if ((s->flags & SLOT_LOG) && !f->held)
            WRONG(f, "slot %u: deleted while vCPUs may still dirty it\n", id);
        for (uint64_t p = 0; p < s->size / RAM_PAGE && !f->held; p++)
            f->gone[s->gpa / RAM_PAGE + p] = true;
        memset(s, 0, sizeof *s);
        return 0;
    }
    if (s->size) { /* flags alone may change */
        if (s->gpa != gpa || s->size != size || s->host != host || ((s->flags ^ flags) & SLOT_READONLY)) {
            WRONG(f, "slot %u: changed in place\n", id);
            return -EINVAL;
        }
        if (s->flags == flags)
            WRONG(f, "slot %u: nothing changed\n", id);
        memset(s->dirty, 0, sizeof s->dirty);
        s->flags = flags;
        return 0;
    }
    if (f->fail_next) {
        int e = f->fail_next;
        f->fail_next = 0;
        return -e;
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (f->slot[i].size && gpa < f->slot[i].gpa + f->slot[i].size && f->slot[i].gpa < gpa + size) {
            WRONG(f, "slot %u: overlaps %u\n", id, i);
            return -EEXIST;
        }
    for (uint64_t p = 0; p < size / RAM_PAGE; p++)
        if (f->gone[gpa / RAM_PAGE + p])
            WRONG(f, "page %u was away for a moment, and vCPUs were not held\n",
                  (unsigned)(gpa / RAM_PAGE + p));
    *s = (struct fake_slot){.gpa = gpa, .size = size, .host = host, .flags = flags};
    return 0;
}

static int fake_dirty_get(void *ctx, uint32_t id, uint64_t *bitmap)
{
    struct fake *f = ctx;
    struct fake_slot *s = &f->slot[id];
    f->gets++;
    if (!s->size || !(s->flags & SLOT_LOG)) {
        WRONG(f, "slot %u: has no dirty log\n", id);
        return -ENOENT;
    }
    memset(bitmap, 0, (s->size / RAM_PAGE + 63) / 64 * 8);
    for (uint64_t p = 0; p < s->size / RAM_PAGE; p++)
        if (s->dirty[p])
            bitmap[p / 64] |= UINT64_C(1) << p % 64;
    return 0;
}

static int fake_dirty_get_and_clear(void *ctx, uint32_t id, uint64_t *bitmap)
{
    struct fake *f = ctx;
    int e = fake_dirty_get(ctx, id, bitmap);
    memset(f->slot[id].dirty, 0, sizeof f->slot[id].dirty);
    return e;
}

static int fake_dirty_clear(void *ctx, uint32_t id, uint64_t first, uint32_t pages, const uint64_t *bitmap)
{
    struct fake *f = ctx;
    struct fake_slot *s = &f->slot[id];
    uint64_t all = s->size / RAM_PAGE;
    f->clears++;
    if (!(s->flags & SLOT_LOG) || first % 64 || first > all || pages > all - first ||
        (pages % 64 && first + pages != all)) {
        WRONG(f, "slot %u: clear of %llu pages at %llu\n", id, (unsigned long long)pages,
              (unsigned long long)first);
        return -EINVAL;
    }
    for (uint64_t p = 0; p < pages; p++)
        if (bitmap[p / 64] >> p % 64 & 1)
            s->dirty[first + p] = false;
    return 0;
}

static void fake_hold(void *ctx)
{
    struct fake *f = ctx;
    if (f->held++)
        WRONG(f, "held twice\n");
}

static void fake_release(void *ctx)
{
    struct fake *f = ctx;
    if (f->held-- != 1)
        WRONG(f, "released, but not held\n");
}

static const struct slots_ops fake_ops = {fake_set, fake_dirty_get, fake_dirty_clear, fake_hold,
                                          fake_release};
static const struct slots_ops fake_old_ops = {fake_set, fake_dirty_get_and_clear, NULL, fake_hold,
                                              fake_release};

/* A vCPU writes one byte, as KVM would see it. false: that is an exit. */
static bool guest_write(struct fake *f, uint64_t gpa)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct fake_slot *s = &f->slot[i];
        if (!s->size || gpa < s->gpa || gpa >= s->gpa + s->size)
            continue;
        if (s->flags & SLOT_READONLY)
            return false;
        if (s->flags & SLOT_LOG)
            s->dirty[(gpa - s->gpa) / RAM_PAGE] = true;
        return true;
    }
    return false;
}

/* What should back a page: host address, or NULL. */
static uint8_t *page_host(const struct view *v, uint64_t page, bool rom_slots, bool *readonly)
{
    uint64_t gpa = page * RAM_PAGE;
    const struct range *r = view_find(v, gpa);
    if (!r || r->last - gpa < RAM_PAGE - 1 || !r->region->host)
        return NULL;
    *readonly = r->readonly;
    uint8_t *host = r->region->host + r->offset + (gpa - r->first);
    return (uintptr_t)host % RAM_PAGE || (r->readonly && !rom_slots) ? NULL : host;
}

static bool slots_are_view(struct fake *f, const struct slots *slots, const struct view *v,
                           const struct slots_limits *limits)
{
    bool fine = true;
    for (uint64_t page = 0; page < PAGES; page++) {
        bool readonly = false, backed = false;
        uint8_t *want = page_host(v, page, limits->readonly, &readonly);
        for (unsigned i = 0; i < SLOTS; i++) {
            struct fake_slot *s = &f->slot[i];
            if (!s->size || page * RAM_PAGE - s->gpa >= s->size)
                continue;
            backed = true;
            fine &= want == s->host + (page * RAM_PAGE - s->gpa) && readonly == !!(s->flags & SLOT_READONLY);
            fine &= slots_find(slots, page * RAM_PAGE) == (int)i && s->size <= limits->max_size;
        }
        fine &= backed == (want != NULL);
    }
    return fine;
}

/* Comes first and marks where a commit begins. */
struct marker {
    struct listener listener;
    struct fake *fake;
};
static void marker_begin(struct listener *l)
{
    struct fake *f = ((struct marker *)l)->fake;
    memset(f->gone, 0, sizeof f->gone);
}
static const struct listener_ops marker_ops = {.begin = marker_begin};

struct world {
    struct marker marker;
    struct region root, r[REGIONS];
    struct space memory;
    struct ram *ram;
    struct fake fake;
    struct slots *slots;
};

static const struct region_ops no_ops = {.sizes = 1 | 2 | 4 | 8};

static uint64_t below(uint64_t *seed, uint64_t n)
{
    return test_rand(seed) % n;
}

/* Mostly whole pages. */
static uint64_t place(uint64_t *seed, uint64_t n_pages)
{
    return below(seed, n_pages) * RAM_PAGE + (below(seed, 5) ? 0 : below(seed, RAM_PAGE));
}

static void make(struct world *w, uint64_t *seed, const struct slots_ops *ops,
                 const struct slots_limits *limits)
{
    char err[256];
    memset(w, 0, sizeof *w);
    w->ram = ram_new(&(struct ram_opts){.size = PAGES * RAM_PAGE}, err, sizeof err);
    region_init_container(&w->root, "system", PAGES * RAM_PAGE);
    space_init(&w->memory, &w->root, "memory");
    for (unsigned i = 0; i < REGIONS; i++) {
        struct region *r = &w->r[i];
        uint64_t offset = place(seed, PAGES / 2), size = place(seed, PAGES / 2);
        switch (below(seed, 5)) {
        case 0:
            region_init_io(r, "io", size, &no_ops, NULL, NULL, NULL);
            break;
        case 1:
            region_init_rom(r, "rom", w->ram, offset, size);
            break;
        case 2:
            region_init_ram(r, "ram", w->ram, offset, size);
            break;
        default:
            region_init_alias(r, "alias", &w->ram->region, offset, size);
        }
        if (below(seed, 4))
            region_add(&w->root, r, place(seed, PAGES), (int)below(seed, 4));
    }
    w->marker = (struct marker){.listener.ops = &marker_ops, .fake = &w->fake};
    listener_register(&w->memory, &w->marker.listener);
    w->slots = slots_new(&w->memory, ops, &w->fake, limits);
}

static void change(struct world *w, uint64_t *seed)
{
    struct region *r = &w->r[below(seed, REGIONS)];
    switch (below(seed, 6)) {
    case 0:
        region_enable(r, below(seed, 3));
        break;
    case 1:
        region_set_readonly(r, below(seed, 2));
        break;
    case 2:
        if (r->kind == REGION_ALIAS)
            region_set_alias_offset(r, place(seed, PAGES / 2));
        break;
    case 3:
        if (r->parent)
            region_remove(r);
        else
            region_add(&w->root, r, place(seed, PAGES), (int)below(seed, 4));
        break;
    default:
        region_move(r, place(seed, PAGES));
    }
}

static void unmake(struct world *w)
{
    slots_free(w->slots);
    space_free(&w->memory);
    for (unsigned i = 0; i < REGIONS; i++)
        region_free(&w->r[i]);
    region_free(&w->root);
    ram_free(w->ram);
}

TEST(slots_are_the_view_page_by_page)
{
    static struct world w;
    static const struct slots_limits limits[] = {
        {SLOTS, 0,            true },
        {SLOTS, 8 * RAM_PAGE, true },
        {SLOTS, 0,            false},
    };
    uint64_t seed = 99, holds = 0, adds = 0;
    for (unsigned long i = 0; i < test_scale(600); i++) {
        struct slots_limits lim = limits[i % 3];
        make(&w, &seed, &fake_ops, &lim);
        if (!lim.max_size)
            lim.max_size = UINT64_MAX;
        for (unsigned j = 0; j < 12; j++) {
            if (!slots_are_view(&w.fake, w.slots, atomic_load(&w.memory.view), &lim) || w.fake.errors) {
                printf("case %lu, change %u\n", i, j);
                mtree_print_flat(stdout, slots_note, w.slots);
                CHECK(!"slots are not the view, or KVM would have refused");
            }
            transaction_begin();
            for (unsigned k = 0, n = (unsigned)below(&seed, 3) + 1; k < n; k++)
                change(&w, &seed);
            transaction_commit();
        }
        struct slots_stats stats = slots_stats(w.slots);
        CHECK_EQ(stats.failures, 0);
        holds += stats.holds;
        adds += stats.adds;
        slots_free(w.slots); /* all are taken away again */
        for (unsigned j = 0; j < SLOTS; j++)
            CHECK_EQ(w.fake.slot[j].size, 0);
        w.slots = NULL;
        unmake(&w);
    }
    CHECK(holds > test_scale(600) / 6 && adds > holds);
}

TEST(slots_hold_vcpus_only_when_old_and_new_overlap)
{
    static struct world w;
    uint64_t seed = 1;
    make(&w, &seed, &fake_ops, &(struct slots_limits){SLOTS, 0, true});
    for (unsigned i = 0; i < REGIONS; i++)
        region_remove(&w.r[i]);
    struct region ram, other, io;
    region_init_alias(&ram, "ram", &w.ram->region, 0, 16 * RAM_PAGE);
    region_init_ram(&other, "other", w.ram, 0, 16 * RAM_PAGE);
    region_init_io(&io, "bar", RAM_PAGE, &no_ops, NULL, NULL, NULL);
    uint64_t holds = slots_stats(w.slots).holds;
    region_add(&w.root, &ram, 0, 0);
    region_add(&w.root, &io, 40 * RAM_PAGE, 1);
    region_move(&io, 41 * RAM_PAGE);  /* registers move: no slot changes */
    region_move(&ram, 20 * RAM_PAGE); /* RAM moves to elsewhere */
    region_remove(&ram);
    region_add(&w.root, &ram, 0, 0);
    CHECK_EQ(slots_stats(w.slots).holds, holds);
    unsigned calls = w.fake.calls;
    transaction_begin(); /* the same memory through another region: nothing for KVM to do */
    region_remove(&ram);
    region_add(&w.root, &other, 0, 0);
    transaction_commit();
    CHECK_EQ(w.fake.calls, calls);
    CHECK(region_log(&other, REGION_LOG_USER, true));
    CHECK_EQ(w.fake.slot[slots_find(w.slots, 0)].flags, SLOT_LOG);
    transaction_begin(); /* only the log flag differs */
    region_remove(&other);
    region_add(&w.root, &ram, 0, 0);
    transaction_commit();
    CHECK_EQ(w.fake.slot[slots_find(w.slots, 0)].flags, 0);
    transaction_begin();
    region_remove(&ram);
    region_add(&w.root, &other, 0, 0);
    transaction_commit();
    CHECK_EQ(w.fake.slot[slots_find(w.slots, 0)].flags, SLOT_LOG);
    CHECK(region_log(&other, REGION_LOG_USER, false));
    CHECK_EQ(w.fake.calls, calls + 4);
    CHECK_EQ(slots_stats(w.slots).holds, holds);
    region_move(&io, 4 * RAM_PAGE); /* into the middle of RAM: one slot becomes two */
    CHECK_EQ(slots_stats(w.slots).holds, holds + 1);
    region_set_readonly(&other, true);
    CHECK_EQ(slots_stats(w.slots).holds, holds + 2);
    CHECK_EQ(w.fake.errors, 0);
    region_free(&ram);
    region_free(&other);
    region_free(&io);
    unmake(&w);
}

TEST(slots_refused_by_kvm_are_served_by_exits)
{
    static struct world w;
    uint64_t seed = 2;
    log_set_level(LOG_LEVEL_ERROR);
    make(&w, &seed, &fake_ops, &(struct slots_limits){3, 0, true}); /* far too few */
    for (unsigned i = 0; i < 50; i++) {
        if (i % 7 == 0)
            w.fake.fail_next = ENOMEM;
        change(&w, &seed);
    }
    CHECK(slots_stats(w.slots).failures > 0);
    for (unsigned i = 3; i < SLOTS; i++)
        CHECK_EQ(w.fake.slot[i].size, 0);
    CHECK_EQ(w.fake.errors, 0);
    const struct view *v = atomic_load(&w.memory.view);
    for (uint32_t i = 0; i < v->n; i++)
        if (v->ranges[i].region->host && !v->ranges[i].readonly) {
            CHECK(space_write(&w.memory, v->ranges[i].first, 1, "x"));
        }
    unmake(&w);
    log_set_level(LOG_LEVEL_WARNING);
}

TEST(slots_with_vast_ram)
{
    /* pieces of the largest size, aligned, in one KVM that has a limit of 1 GiB and a bit */
    static struct world w;
    uint64_t seed = 1;
    make(&w, &seed, &fake_ops, &(struct slots_limits){SLOTS, (UINT64_C(1) << 30) + 12345, true});
    unmake(&w);
    CHECK_EQ(w.fake.errors, 0);
}

/* --- the dirty log, from the guest's write to the fetch */

static void dirty_round(const struct slots_ops *ops, uint64_t seed)
{
    static struct world w;
    static const enum region_log clients[] = {REGION_LOG_GLOBAL, REGION_LOG_USER};
    bool model[2][PAGES] = {0}, may[2][PAGES] = {0}, watched[2] = {0};
    uint64_t bits[(PAGES + 63) / 64];
    make(&w, &seed, ops, &(struct slots_limits){SLOTS, below(&seed, 2) * 8 * RAM_PAGE, true});
    for (unsigned i = 0; i < 200; i++) {
        uint64_t gpa = below(&seed, PAGES * RAM_PAGE);
        const struct range *r = view_find(atomic_load(&w.memory.view), gpa);
        uint64_t page =
            r && r->region->ram ? (r->region->ram_offset + r->offset + gpa - r->first) / RAM_PAGE : 0;
        bool ram = r && r->region->ram && !r->readonly;
        switch (below(&seed, 8)) {
        case 0:
            change(&w, &seed);
            break;
        case 1: {
            unsigned c = (unsigned)below(&seed, 2);
            watched[c] = below(&seed, 4);
            memset(model[c], 0, sizeof model[c]);
            /* what KVM had noted for the other one may be reported to this one, too */
            for (unsigned k = 0; k < PAGES; k++)
                may[c][k] = model[!c][k] || may[!c][k];
            if (c == 0) {
                if (w.ram->log_users[REGION_LOG_GLOBAL])
                    log_global_stop();
                if (watched[c])
                    CHECK(log_global_start());
            } else {
                /* every region of the block is logged, so whatever shows it is */
                CHECK(region_log(&w.ram->region, REGION_LOG_USER, false));
                for (unsigned k = 0; k < REGIONS; k++)
                    if (w.r[k].ram)
                        CHECK(region_log(&w.r[k], REGION_LOG_USER, false));
                CHECK_EQ(w.ram->log_users[REGION_LOG_USER], 0);
                CHECK(region_log(&w.ram->region, REGION_LOG_USER, watched[c]));
                for (unsigned k = 0; k < REGIONS; k++)
                    if (w.r[k].ram)
                        CHECK(region_log(&w.r[k], REGION_LOG_USER, watched[c]));
            }
            break;
        }
        case 2:
        case 3: { /* a fetch of some pages */
            unsigned c = (unsigned)below(&seed, 2);
            uint64_t first = below(&seed, PAGES), n = 1 + below(&seed, PAGES - first), count = 0;
            if (!watched[c])
                break;
            uint64_t got = region_log_fetch(&w.ram->region, clients[c], first * RAM_PAGE, n * RAM_PAGE, bits);
            for (uint64_t p = 0; p < n; p++) {
                bool bit = bits[p / 64] >> p % 64 & 1;
                CHECK(bit || !model[c][first + p]);                      /* nothing is lost, */
                CHECK(!bit || model[c][first + p] || may[c][first + p]); /* nothing invented */
                count += bit;
                model[c][first + p] = may[c][first + p] = false;
            }
            CHECK_EQ(got, count);
            break;
        }
        case 4: /* DMA */
            if (dma_write(&w.memory, gpa, "x", 1)) {
                CHECK(ram);
                model[0][page] = model[1][page] = true;
            }
            break;
        default: /* the guest; what has no slot comes as an exit */
            if (guest_write(&w.fake, gpa) || space_write(&w.memory, gpa, 1, "x"))
                if (ram)
                    model[0][page] = model[1][page] = true;
        }
        CHECK_EQ(w.fake.errors, 0);
    }
    if (w.ram->log_users[REGION_LOG_GLOBAL])
        log_global_stop();
    unmake(&w);
}

TEST(dirty_log_loses_and_invents_nothing)
{
    for (unsigned long i = 0; i < test_scale(150); i++)
        dirty_round(&fake_ops, 1000 + i);
}

TEST(dirty_log_without_manual_protection)
{
    for (unsigned long i = 0; i < test_scale(150); i++)
        dirty_round(&fake_old_ops, 5000 + i);
}

TEST(slots_in_the_flat_listing)
{
    static struct world w;
    uint64_t seed = 3;
    char *text = NULL;
    size_t size = 0;
    make(&w, &seed, &fake_ops, &(struct slots_limits){SLOTS, 8 * RAM_PAGE, true});
    for (unsigned i = 0; i < REGIONS; i++)
        region_remove(&w.r[i]);
    struct region ram;
    region_init_alias(&ram, "low", &w.ram->region, 0, 16 * RAM_PAGE);
    region_add(&w.root, &ram, 0, 0);
    CHECK(region_log(&w.ram->region, REGION_LOG_USER, true));
    FILE *out = open_memstream(&text, &size);
    mtree_print_flat(out, slots_note, w.slots);
    fclose(out);
    char want[128];
    snprintf(
        want, sizeof want,
        "  0000000000000000-000000000000ffff (prio 0, ram): memory KVM slot %d (dirty log), %d (dirty log)\n",
        slots_find(w.slots, 0), slots_find(w.slots, 8 * RAM_PAGE));
    CHECK(strstr(text, want));
    free(text);
    CHECK(region_log(&w.ram->region, REGION_LOG_USER, false));
    region_free(&ram);
    unmake(&w);
}
