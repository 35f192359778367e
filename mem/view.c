// SPDX-License-Identifier: MIT
/* Rendering: from a region tree to sorted, disjoint ranges. See include/mem/view.h.
 *
 * Theory: a walk over the tree, children before what they lie on and the topmost child first, yields every visible or
 * hidden piece ("paint") in the order of visibility, cut to all that encloses it. So the paint's number alone decides
 * who is seen where. A sweep over the addresses keeps the paints that cover the current one in a heap by that number; its
 * top is what is seen. With n paints that is n log n, whatever the tree looks like; painting into the holes of a sorted
 * array, as is usual, moves the array's tail n times.
 *
 * Places are signed 128-bit numbers on the way: an alias shows its target at "base - offset", which may lie below 0.
 *
 * The scratch arrays are kept from one commit to the next; the topology lock guards them. */
#include "mem/view.h"

#include "kvm/host/log.h"

#include <stdlib.h>
#include <string.h>

struct paint {
    uint64_t first, last;
    const struct region *region;
    uint64_t offset;
    bool readonly;
};

struct start {
    uint64_t first;
    uint32_t paint;
};

/* A growing array of items of any size. */
struct array {
    void *items;
    uint32_t n, room;
};

static struct {
    struct array paints, starts, heap, ranges, eventfds, zones;
    uint32_t visits;
    bool failed;
} scratch;
static uint64_t last_generation;

static void *append(struct array *a, size_t size)
{
    if (a->n == a->room) {
        uint32_t room = a->room ? a->room * 2 : 64;
        void *grown = realloc(a->items, room * size);
        if (!grown) {
            scratch.failed = true;
            return NULL;
        }
        a->items = grown;
        a->room = room;
    }
    return (char *)a->items + size * a->n++;
}

/* Paints r, whose first byte stands at base, within [first, last]. */
static void walk(const struct region *r, __int128 base, uint64_t first, uint64_t last, bool readonly,
                 unsigned depth)
{
    if (!r->enabled || r->size == 0 || depth > REGION_DEPTH_MAX || ++scratch.visits > REGION_VISITS_MAX)
        return;
    __int128 end = base + region_last(r);
    if (base > last || end < first)
        return;
    if (base > first)
        first = (uint64_t)base;
    if (end < last)
        last = (uint64_t)end;
    readonly |= r->readonly;
    if (r->kind == REGION_ALIAS) {
        if (r->target)
            walk(r->target, base - r->target_offset, first, last, readonly, depth + 1);
        return;
    }
    for (uint32_t i = r->n_children; i-- > 0;)
        walk(r->children[i], base + r->children[i]->offset, first, last, readonly, depth + 1);
    if (r->kind == REGION_CONTAINER)
        return;
    struct paint *p = append(&scratch.paints, sizeof *p);
    struct start *s = append(&scratch.starts, sizeof *s);
    if (!p || !s)
        return;
    *p = (struct paint){first, last, r, (uint64_t)(first - base), readonly};
    *s = (struct start){first, scratch.paints.n - 1};
}

static int by_first(const void *a, const void *b)
{
    const struct start *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* --- a heap of paint numbers, the smallest on top */

static void heap_push(uint32_t paint)
{
    uint32_t *slot = append(&scratch.heap, sizeof *slot);
    if (!slot)
        return;
    uint32_t *h = scratch.heap.items, i = scratch.heap.n - 1;
    for (; i > 0 && h[(i - 1) / 2] > paint; i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = paint;
}

static void heap_pop(void)
{
    uint32_t *h = scratch.heap.items, n = --scratch.heap.n, moved = h[n], i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && h[child + 1] < h[child])
            child++;
        if (h[child] >= moved)
            break;
        h[i] = h[child];
        i = child;
    }
    h[i] = moved;
}

static void emit(const struct paint *p, uint64_t first, uint64_t last)
{
    uint64_t offset = p->offset + (first - p->first);
    if (scratch.ranges.n) {
        struct range *prev = (struct range *)scratch.ranges.items + scratch.ranges.n - 1;
        if (prev->region == p->region && prev->readonly == p->readonly && prev->last + 1 == first &&
            prev->offset + (first - prev->first) == offset) {
            prev->last = last;
            return;
        }
    }
    struct range *r = append(&scratch.ranges, sizeof *r);
    if (r)
        *r = (struct range){.first = first,
                            .last = last,
                            .region = (struct region *)p->region,
                            .offset = offset,
                            .readonly = p->readonly,
                            .log = p->region->log};
}

static void sweep(void)
{
    const struct paint *paints = scratch.paints.items;
    const struct start *starts = scratch.starts.items;
    uint32_t n = scratch.starts.n, next = 0;
    uint64_t at = 0;

    while (!scratch.failed) {
        while (scratch.heap.n && paints[*(uint32_t *)scratch.heap.items].last < at)
            heap_pop();
        if (scratch.heap.n == 0) {
            if (next == n)
                return;
            at = starts[next].first;
        }
        while (next < n && starts[next].first == at)
            heap_push(starts[next++].paint);
        if (scratch.failed)
            return;
        const struct paint *top = &paints[*(uint32_t *)scratch.heap.items];
        uint64_t last = top->last;
        if (next < n && starts[next].first <= last)
            last = starts[next].first - 1;
        emit(top, at, last);
        if (last == UINT64_MAX)
            return;
        at = last + 1;
    }
}

/* --- what hangs on the ranges */

static int by_eventfd(const void *a, const void *b)
{
    const struct view_eventfd *x = a, *y = b;
#define ORDER(member)                                                                                        \
    if (x->member != y->member)                                                                              \
    return x->member < y->member ? -1 : 1
    ORDER(addr);
    ORDER(e.size);
    ORDER(e.match);
    ORDER(e.value);
    ORDER(e.fd);
    ORDER(region);
    return 0;
}

static int by_zone(const void *a, const void *b)
{
    const struct view_zone *x = a, *y = b;
    ORDER(first);
    ORDER(last);
    ORDER(region);
    return 0;
}

static void add_eventfds(struct range *r)
{
    for (uint32_t i = 0; i < r->region->n_eventfds; i++) {
        const struct region_eventfd *e = &r->region->eventfds[i];
        /* like an access, it belongs to the range of its first byte */
        if (e->offset < r->offset || e->offset - r->offset > r->last - r->first)
            continue;
        struct view_eventfd *v = append(&scratch.eventfds, sizeof *v);
        if (!v)
            return;
        *v = (struct view_eventfd){r->first + (e->offset - r->offset), r->region, *e};
        r->has_eventfds = true;
    }
}

static void add_zones(const struct range *r)
{
    uint64_t from = r->offset, to = r->offset + (r->last - r->first);
    for (uint32_t i = 0; i < r->region->n_zones; i++) {
        uint64_t first = r->region->zones[i].offset, last = first + (r->region->zones[i].size - 1);
        if (first > to || last < from)
            continue;
        if (first < from)
            first = from;
        if (last > to)
            last = to;
        struct view_zone *z = append(&scratch.zones, sizeof *z);
        if (z)
            *z = (struct view_zone){r->first + (first - from), r->first + (last - from), r->region};
    }
}

/* Zones of one region may overlap, and be equal after the cut: each is there once, or it would be told of twice as gone
 * and once as new. */
static void sort_zones(void)
{
    struct view_zone *z = scratch.zones.items;
    uint32_t n = 1;
    qsort(z, scratch.zones.n, sizeof *z, by_zone);
    for (uint32_t i = 1; i < scratch.zones.n; i++)
        if (by_zone(&z[i], &z[n - 1]) != 0)
            z[n++] = z[i];
    scratch.zones.n = n;
}

struct view *view_render(const struct region *root)
{
    scratch.paints.n = scratch.starts.n = scratch.heap.n = 0;
    scratch.ranges.n = scratch.eventfds.n = scratch.zones.n = 0;
    scratch.visits = 0;
    scratch.failed = false;

    walk(root, 0, 0, UINT64_MAX, false, 1);
    if (scratch.visits > REGION_VISITS_MAX)
        warn("region %s: more than %u ways lead to its regions; some are not shown", root->name,
             REGION_VISITS_MAX);
    if (!scratch.failed && scratch.starts.n)
        qsort(scratch.starts.items, scratch.starts.n, sizeof(struct start), by_first);
    sweep();
    struct range *ranges = scratch.ranges.items;
    for (uint32_t i = 0; i < scratch.ranges.n; i++)
        if (ranges[i].region->kind == REGION_IO && !ranges[i].readonly && !ranges[i].region->plain) {
            add_eventfds(&ranges[i]);
            add_zones(&ranges[i]);
        }
    if (scratch.eventfds.n)
        qsort(scratch.eventfds.items, scratch.eventfds.n, sizeof(struct view_eventfd), by_eventfd);
    if (scratch.zones.n)
        sort_zones();
    if (scratch.failed)
        return NULL;

    size_t ranges_size = scratch.ranges.n * sizeof(struct range);
    size_t eventfds_size = scratch.eventfds.n * sizeof(struct view_eventfd);
    size_t zones_size = scratch.zones.n * sizeof(struct view_zone);
    struct view *v = malloc(sizeof *v + ranges_size + eventfds_size + zones_size);
    if (!v)
        return NULL;
    char *to = (char *)(v + 1);
    *v = (struct view){.generation = ++last_generation,
                       .n = scratch.ranges.n,
                       .n_eventfds = scratch.eventfds.n,
                       .n_zones = scratch.zones.n,
                       .ranges = (struct range *)to,
                       .eventfds = (struct view_eventfd *)(to + ranges_size),
                       .zones = (struct view_zone *)(to + ranges_size + eventfds_size)};
    if (ranges_size)
        memcpy(to, scratch.ranges.items, ranges_size);
    if (eventfds_size)
        memcpy(to + ranges_size, scratch.eventfds.items, eventfds_size);
    if (zones_size)
        memcpy(to + ranges_size + eventfds_size, scratch.zones.items, zones_size);
    return v;
}

void view_free(struct view *v)
{
    free(v);
}

const struct range *view_find(const struct view *v, uint64_t addr)
{
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->ranges[mid].last < addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n && v->ranges[lo].first <= addr ? &v->ranges[lo] : NULL;
}
