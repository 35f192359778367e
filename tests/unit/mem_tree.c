// SPDX-License-Identifier: MIT
/* Region trees against an oracle that asks, for each byte by itself, who is on top; and listeners, whose record of
 * additions and deletions must at all times be the view. */
#include "test.h"

#include "kvm/host/log.h"
#include "mem/mtree.h"
#include "mem/ram.h"
#include "mem/view.h"

enum {
    BYTES = 256, /* the oracle's world; roots are a little smaller or larger */
    REGIONS = 24,
};

static struct ram *small_ram(uint64_t size)
{
    char err[256];
    struct ram *ram = ram_new(&(struct ram_opts){.name = "ram", .size = size}, err, sizeof err);
    if (!ram)
        printf("%s\n", err);
    return ram;
}

static const struct region_ops no_ops = {.sizes = 1 | 2 | 4 | 8};

/* --- the oracle: recursive, byte by byte, on small numbers */

struct seen {
    const struct region *region;
    uint64_t offset;
    bool readonly;
};

static int by_top(const void *a, const void *b)
{
    const struct region *x = *(const struct region *const *)a, *y = *(const struct region *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->order > y->order ? -1 : 1;
}

/* at: offset in r, which may be outside. */
static bool look(const struct region *r, __int128 at, bool readonly, struct seen *out)
{
    if (!r->enabled || at < 0 || at > UINT64_MAX || r->size == 0 || (r->size != REGION_ALL && at >= r->size))
        return false;
    readonly |= r->readonly;
    if (r->kind == REGION_ALIAS)
        return r->target && look(r->target, at + r->target_offset, readonly, out);
    const struct region *top[REGIONS];
    for (uint32_t i = 0; i < r->n_children; i++)
        top[i] = r->children[i];
    qsort(top, r->n_children, sizeof top[0], by_top);
    for (uint32_t i = 0; i < r->n_children; i++)
        if (look(top[i], at - top[i]->offset, readonly, out))
            return true;
    if (r->kind == REGION_CONTAINER)
        return false;
    *out = (struct seen){r, (uint64_t)at, readonly};
    return true;
}

static bool agrees(const struct view *v, const struct region *root)
{
    for (uint32_t i = 0; i < v->n; i++) {
        const struct range *r = &v->ranges[i], *p = r - 1;
        if (r->first > r->last || (i > 0 && p->last >= r->first))
            return false;
        /* neighbours that continue each other have merged */
        if (i > 0 && p->last + 1 == r->first && p->region == r->region && p->readonly == r->readonly &&
            p->offset + (r->first - p->first) == r->offset)
            return false;
        if (r->last >= BYTES)
            return false;
    }
    for (uint64_t at = 0; at < BYTES; at++) {
        struct seen s;
        const struct range *r = view_find(v, at);
        if (look(root, at, false, &s) != (r != NULL))
            return false;
        if (r &&
            (r->region != s.region || r->offset + (at - r->first) != s.offset || r->readonly != s.readonly))
            return false;
    }
    return true;
}

/* --- a listener that keeps a copy of the map from what it is told */

struct copy {
    struct listener listener;
    struct range ranges[512];
    struct view_eventfd eventfds[256];
    struct view_zone zones[256];
    unsigned n, n_eventfds, n_zones, begun, commits, nops, clashes;
    uint8_t log[512];
};

static struct copy *copy_of(struct listener *l)
{
    return (struct copy *)l;
}

static int copy_find(struct copy *c, const struct range *r)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->ranges[i].first == r->first && c->ranges[i].last == r->last &&
            c->ranges[i].region == r->region && c->ranges[i].offset == r->offset &&
            c->ranges[i].readonly == r->readonly)
            return (int)i;
    return -1;
}

static void copy_begin(struct listener *l)
{
    copy_of(l)->begun++;
}
static void copy_commit(struct listener *l)
{
    struct copy *c = copy_of(l);
    c->commits++;
    if (c->commits != c->begun)
        c->clashes++;
}

static void copy_del(struct listener *l, const struct range *r)
{
    struct copy *c = copy_of(l);
    int i = copy_find(c, r);
    if (i < 0) {
        c->clashes++;
        return;
    }
    c->n--;
    c->ranges[i] = c->ranges[c->n];
    c->log[i] = c->log[c->n];
}

static void copy_add(struct listener *l, const struct range *r)
{
    struct copy *c = copy_of(l);
    for (unsigned i = 0; i < c->n; i++) /* never two things at one address */
        if (r->first <= c->ranges[i].last && c->ranges[i].first <= r->last)
            c->clashes++;
    if (c->n == 512 || c->begun == c->commits) {
        c->clashes++;
        return;
    }
    c->log[c->n] = 0;
    c->ranges[c->n++] = *r;
}

static void copy_nop(struct listener *l, const struct range *r)
{
    struct copy *c = copy_of(l);
    c->nops++;
    if (copy_find(c, r) < 0)
        c->clashes++;
}

static void copy_log(struct listener *l, const struct range *r, uint8_t was, uint8_t is)
{
    struct copy *c = copy_of(l);
    int i = copy_find(c, r);
    if (i < 0 || (c->log[i] != was && c->log[i] != is)) /* both start and stop may be told of one change */
        c->clashes++;
    else
        c->log[i] = is;
}

static void copy_eventfd_add(struct listener *l, const struct view_eventfd *e)
{
    struct copy *c = copy_of(l);
    c->eventfds[c->n_eventfds++] = *e;
}

static void copy_eventfd_del(struct listener *l, const struct view_eventfd *e)
{
    struct copy *c = copy_of(l);
    for (unsigned i = 0; i < c->n_eventfds; i++)
        if (!memcmp(&c->eventfds[i].addr, &e->addr, 8) && c->eventfds[i].e.fd == e->e.fd &&
            c->eventfds[i].region == e->region) {
            c->eventfds[i] = c->eventfds[--c->n_eventfds];
            return;
        }
    c->clashes++;
}

static void copy_zone_add(struct listener *l, const struct view_zone *z)
{
    struct copy *c = copy_of(l);
    c->zones[c->n_zones++] = *z;
}

static void copy_zone_del(struct listener *l, const struct view_zone *z)
{
    struct copy *c = copy_of(l);
    for (unsigned i = 0; i < c->n_zones; i++)
        if (c->zones[i].first == z->first && c->zones[i].last == z->last && c->zones[i].region == z->region) {
            c->zones[i] = c->zones[--c->n_zones];
            return;
        }
    c->clashes++;
}

static const struct listener_ops copy_ops = {
    .begin = copy_begin,
    .region_del = copy_del,
    .region_add = copy_add,
    .region_nop = copy_nop,
    .log_start = copy_log,
    .log_stop = copy_log,
    .eventfd_del = copy_eventfd_del,
    .eventfd_add = copy_eventfd_add,
    .coalesced_del = copy_zone_del,
    .coalesced_add = copy_zone_add,
    .commit = copy_commit,
};

static bool copy_is(struct copy *c, const struct view *v)
{
    if (c->clashes || c->n != v->n || c->n_eventfds != v->n_eventfds || c->n_zones != v->n_zones ||
        c->begun != c->commits)
        return false;
    for (uint32_t i = 0; i < v->n; i++) {
        int at = copy_find(c, &v->ranges[i]);
        if (at < 0 || c->log[at] != v->ranges[i].log)
            return false;
    }
    for (uint32_t i = 0; i < v->n_eventfds; i++) {
        bool found = false;
        for (unsigned j = 0; j < c->n_eventfds; j++)
            found |= c->eventfds[j].addr == v->eventfds[i].addr && c->eventfds[j].e.fd == v->eventfds[i].e.fd;
        if (!found)
            return false;
    }
    return true;
}

/* --- random trees */

struct world {
    struct region r[REGIONS];
    unsigned n;
    struct space space;
    struct ram *ram;
    struct copy first, late;
};

static uint64_t below(uint64_t *seed, uint64_t n)
{
    return test_rand(seed) % n;
}

static void make(struct world *w, uint64_t *seed)
{
    static const uint64_t sizes[] = {0, 1, 2, 7, 16, 33, 64, 100, 128, 200, 256, REGION_ALL};
    w->n = 2 + (unsigned)below(seed, REGIONS - 2);
    region_init_container(&w->r[0], "root", BYTES);
    for (unsigned i = 1; i < w->n; i++) {
        uint64_t size = sizes[below(seed, 12)];
        switch (below(seed, 6)) {
        case 0:
            region_init_container(&w->r[i], "container", size);
            break;
        case 1:
            region_init_ram(&w->r[i], "ram", w->ram, below(seed, 64), size == REGION_ALL ? 77 : size);
            break;
        case 2:
            region_init_rom(&w->r[i], "rom", w->ram, below(seed, 64), size == REGION_ALL ? 78 : size);
            break;
        case 3:
        case 4:
            if (i > 1) {
                region_init_alias(&w->r[i], "alias", &w->r[1 + below(seed, i - 1)],
                                  below(seed, 4) ? below(seed, 128) : UINT64_MAX - below(seed, 99), size);
                break;
            } /* fall through */
        default:
            region_init_io(&w->r[i], "io", size, &no_ops, NULL, NULL, NULL);
        }
    }
    for (unsigned i = 1; i < w->n; i++)
        region_add(&w->r[below(seed, 2) ? 0 : below(seed, i)], &w->r[i], below(seed, BYTES),
                   (int)below(seed, 3) - 1);
    space_init(&w->space, &w->r[0], "space");
}

static void change(struct world *w, uint64_t *seed)
{
    struct region *r = &w->r[1 + below(seed, w->n - 1)], *p = &w->r[below(seed, 2) ? 0 : below(seed, w->n)];
    uint64_t offset = below(seed, 8) ? below(seed, BYTES) : UINT64_MAX - below(seed, BYTES);
    switch (below(seed, 12)) {
    case 0:
        region_enable(r, below(seed, 4));
        break;
    case 1:
    case 2:
        region_move(r, offset);
        break;
    case 3:
        region_set_readonly(r, below(seed, 2));
        break;
    case 4:
        region_remove(r);
        break;
    case 5:
        if (!r->ram)
            region_resize(r, below(seed, BYTES + 1));
        break;
    case 6:
        if (r->ram && !region_log(r, (enum region_log)below(seed, REGION_LOG_CLIENTS), below(seed, 2)))
            abort();
        break;
    case 7:
        if (r->kind == REGION_ALIAS)
            region_set_alias_offset(r, offset);
        if (r->kind == REGION_IO && r->n_eventfds < 3)
            region_ioeventfd_add(r, below(seed, 64), 1u << below(seed, 4), below(seed, 2), below(seed, 3),
                                 (int)(r - w->r) * 10 + (int)r->n_eventfds);
        if (r->kind == REGION_IO && r->n_zones < 2)
            region_coalesce(r, below(seed, 64), 1 + below(seed, 64));
        break;
    case 8:
        region_plain(r, below(seed, 2));
        break;
    default:
        if (r->parent)
            region_remove(r);
        region_add(p, r, offset, (int)below(seed, 3) - 1);
    }
}

static void unmake(struct world *w)
{
    space_free(&w->space);
    for (unsigned i = 0; i < w->n; i++)
        region_free(&w->r[i]);
}

TEST(render_agrees_with_oracle_per_byte)
{
    uint64_t seed = 0x5eed;
    unsigned long cases = test_scale(20000), seen_ranges = 0;
    static struct world w; /* large */
    log_set_level(LOG_LEVEL_ERROR);
    struct ram *ram = small_ram(RAM_PAGE);
    CHECK(ram);
    for (unsigned long i = 0; i < cases; i++) {
        uint64_t at = seed;
        memset(&w, 0, sizeof w);
        w.ram = ram;
        make(&w, &seed);
        w.first.listener = (struct listener){.ops = &copy_ops, .priority = 1};
        listener_register(&w.space, &w.first.listener);
        for (unsigned j = 0, n = (unsigned)below(&seed, 6) + 1; j < n; j++) {
            bool nested = below(&seed, 2);
            transaction_begin();
            for (unsigned k = 0, m = (unsigned)below(&seed, 8) + 1; k < m; k++) {
                if (nested)
                    transaction_begin();
                change(&w, &seed);
                if (nested)
                    transaction_commit();
            }
            transaction_commit();
            const struct view *v = atomic_load(&w.space.view);
            seen_ranges += v->n;
            if (!agrees(v, &w.r[0]) || !copy_is(&w.first, v)) {
                printf("case %lu, seed 0x%llx, change %u\n", i, (unsigned long long)at, j);
                mtree_print(stdout);
                mtree_print_flat(stdout, NULL, NULL);
                CHECK(!"the view is not what the oracle sees, or the listener was told something else");
            }
        }
        /* one that comes late is told the same */
        w.late.listener = (struct listener){.ops = &copy_ops, .priority = 0};
        listener_register(&w.space, &w.late.listener);
        CHECK(copy_is(&w.late, atomic_load(&w.space.view)));
        listener_unregister(&w.late.listener);
        CHECK(w.late.n == 0 && w.late.n_eventfds == 0 && w.late.n_zones == 0 && w.late.clashes == 0);
        unmake(&w);
        CHECK(w.first.n == 0 && w.first.clashes == 0);
    }
    CHECK(seen_ranges > cases * 10); /* the trees were not all empty */
    CHECK(space_first() == NULL);
    ram_free(ram);
    log_set_level(LOG_LEVEL_WARNING);
}
