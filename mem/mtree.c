// SPDX-License-Identifier: MIT
/* The map in words: see include/mem/mtree.h. Two listings: the tree of each space with every region in it, hidden ones
 * too, and then the trees that aliases refer to; and the rendered views, spaces with the same view together. */
#include "mem/mtree.h"

#include "mem/maplog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Regions that aliases show, each to be listed once after the spaces. Grows while it is walked. */
struct targets {
    const struct region **items;
    size_t n, room;
};

static void remember(struct targets *t, const struct region *r)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->items[i] == r)
            return;
    if (t->n == t->room) {
        size_t room = t->room ? t->room * 2 : 16;
        const struct region **grown = realloc(t->items, room * sizeof *grown);
        if (!grown)
            return;
        t->items = grown;
        t->room = room;
    }
    t->items[t->n++] = r;
}

static int by_address(const void *a, const void *b)
{
    const struct region *x = *(const struct region *const *)a, *y = *(const struct region *const *)b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->order > y->order ? -1 : 1;
}

static uint64_t last_of(uint64_t first, uint64_t size)
{
    if (size == REGION_ALL)
        return UINT64_MAX;
    return size == 0 ? first : size - 1 > UINT64_MAX - first ? UINT64_MAX : first + (size - 1);
}

static void line(FILE *out, unsigned indent, uint64_t first, uint64_t last, const struct region *r)
{
    fprintf(out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", (int)indent, "", first, last,
            r->priority, region_kind_name(r));
}

static void print_region(FILE *out, struct targets *t, const struct region *r, uint64_t base, unsigned indent)
{
    uint64_t first = base + r->offset;
    line(out, indent, first, last_of(first, r->size), r);
    if (r->kind == REGION_ALIAS && r->target) {
        remember(t, r->target);
        fprintf(out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name, r->target->name, r->target_offset,
                last_of(r->target_offset, r->size));
    } else {
        fputs(r->name, out);
    }
    fputs(r->enabled ? "\n" : " [disabled]\n", out);
    if (r->n_children == 0)
        return;
    const struct region **sorted = malloc(r->n_children * sizeof(const struct region *));
    if (!sorted)
        return;
    memcpy(sorted, r->children, r->n_children * sizeof(const struct region *));
    qsort(sorted, r->n_children, sizeof(const struct region *), by_address);
    for (uint32_t i = 0; i < r->n_children; i++)
        print_region(out, t, sorted[i], first, indent + 2);
    free(sorted);
}

/* Whether s is the first of the spaces with the same root (tree) or view (flat). */
static bool first_with(const struct space *s, bool flat)
{
    for (const struct space *o = space_first(); o != s; o = o->next)
        if (flat ? atomic_load(&o->view) == atomic_load(&s->view) : (o->root && o->root == s->root))
            return false;
    return true;
}

static void print_bus_master(FILE *out, const struct space *s)
{
    fprintf(out, "  %016x-%016" PRIx64 " (prio 0, i/o): bus master container\n", 0, UINT64_MAX);
    fprintf(out, "    %016x-%016" PRIx64 " (prio 0, i/o): alias bus master @%s %016x-%016" PRIx64 "%s\n\n", 0,
            UINT64_MAX, s->memory->root->name, 0, UINT64_MAX, s->master ? "" : " [disabled]");
}

void mtree_print(FILE *out)
{
    struct targets t = {0};
    topology_take();
    for (const struct space *s = space_first(); s; s = s->next) {
        if (!first_with(s, false))
            continue;
        fprintf(out, "address-space: %s\n", s->name);
        if (!s->root) {
            if (s->memory)
                print_bus_master(out, s);
            continue;
        }
        for (const struct space *same = s->next; same; same = same->next)
            if (same->root == s->root)
                fprintf(out, "address-space: %s\n", same->name);
        print_region(out, &t, s->root, 0, 2);
        fputc('\n', out);
    }
    for (size_t i = 0; i < t.n; i++) {
        fprintf(out, "memory-region: %s\n", t.items[i]->name);
        print_region(out, &t, t.items[i], 0, 2);
        fputc('\n', out);
    }
    maplog_print(out);
    topology_drop();
    free(t.items);
}

static void print_range(FILE *out, const struct range *r)
{
    fprintf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", r->first, r->last, r->region->priority,
            r->region->host && r->readonly ? "rom" : region_kind_name(r->region), r->region->name);
    if (r->offset)
        fprintf(out, " @%016" PRIx64, r->offset);
}

void mtree_print_flat(FILE *out, void (*note)(void *ctx, FILE *out, const struct range *r), void *ctx)
{
    unsigned n = 0;
    topology_take();
    for (const struct space *s = space_first(); s; s = s->next) {
        if (!first_with(s, true))
            continue;
        const struct view *v = atomic_load(&s->view);
        const struct region *root = s->root ? s->root : s->master ? s->memory->root : NULL;
        fprintf(out, "FlatView #%u\n", n++);
        for (const struct space *same = s; same; same = same->next)
            if (atomic_load(&same->view) == v)
                fprintf(out, " AS \"%s\", root: %s\n", same->name,
                        same->root ? same->root->name : "bus master container");
        fprintf(out, " Root memory region: %s\n", root ? root->name : "(none)");
        for (uint32_t i = 0; i < v->n; i++) {
            print_range(out, &v->ranges[i]);
            if (note && v->ranges[i].region->host)
                note(ctx, out, &v->ranges[i]);
            fputc('\n', out);
        }
        fputs(v->n ? "\n" : "  No rendered FlatView\n\n", out);
    }
    topology_drop();
}
