// SPDX-License-Identifier: MIT
/* The region tree and its transactions: see include/mem/region.h.
 *
 * Theory: a change marks every space that may show the region: up through its parents, and from each of them through
 * the aliases that show it. `mark` holds the number of the walk that last saw a region, so that no walk visits one
 * twice, however many changes a transaction has. Only the marked spaces are rendered at commit.
 *
 * Lock: everything here runs under the topology lock. It is recursive within a thread by a thread-local count, so that
 * PCI can hold it around a whole configuration access and still call functions that take it. */
#include "mem/region.h"

#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "mem/ram.h"
#include "mem/view.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct lock topology = LOCK_INITIALIZER(LOCK_TOPOLOGY, "topology");
static _Thread_local unsigned topology_depth;
static unsigned transaction_depth;
static uint64_t last_mark;   /* the newest walk's number */
static uint64_t change_mark; /* of the walks of changed() since the tree last grew */

void topology_take(void)
{
    if (topology_depth++ == 0)
        lock_take(&topology);
}

void topology_drop(void)
{
    assert(topology_depth > 0);
    if (--topology_depth == 0)
        lock_drop(&topology);
}

void transaction_begin(void)
{
    lock_assert_below(LOCK_COALESCED, "transaction_begin");
    topology_take();
    assert(!listeners_running); /* they must not change the map */
    if (transaction_depth++ == 0)
        change_mark = ++last_mark;
}

void transaction_commit(void)
{
    assert(topology_depth > 0 && transaction_depth > 0);
    if (--transaction_depth == 0)
        space_update_changed();
    topology_drop();
}

/* Everything that may show r is to be rendered again. The recursion is as deep as the tree, which region_add bounds. */
static void changed(struct region *r)
{
    for (; r && r->mark != change_mark; r = r->parent) {
        r->mark = change_mark;
        for (struct space *s = r->spaces; s; s = s->next_same_root)
            space_mark_changed(s);
        for (struct region *a = r->aliases; a; a = a->next_alias)
            changed(a);
    }
}

/* --- set-up */

static void init(struct region *r, const char *name, enum region_kind kind, uint64_t size)
{
    memset(r, 0, sizeof *r);
    r->name = name;
    r->kind = kind;
    r->size = size;
    r->enabled = true;
}

void region_init_container(struct region *r, const char *name, uint64_t size)
{
    init(r, name, REGION_CONTAINER, size);
}

static bool inside_block(const struct ram *ram, uint64_t offset, uint64_t size)
{
    return offset <= ram->size && size <= ram->size - offset;
}

static void init_memory(struct region *r, const char *name, enum region_kind kind, struct ram *ram,
                        uint64_t ram_offset, uint64_t size)
{
    if (!inside_block(ram, ram_offset, size))
        die("region %s: 0x%llx bytes at 0x%llx do not lie inside RAM block %s of 0x%llx", name,
            (unsigned long long)size, (unsigned long long)ram_offset, ram->name,
            (unsigned long long)ram->size);
    init(r, name, kind, size);
    r->ram = ram;
    r->ram_offset = ram_offset;
    r->host = ram->host + ram_offset;
    r->readonly = kind == REGION_ROM;
}

void region_init_ram(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset, uint64_t size)
{
    init_memory(r, name, REGION_RAM, ram, ram_offset, size);
}

void region_init_rom(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset, uint64_t size)
{
    init_memory(r, name, REGION_ROM, ram, ram_offset, size);
}

void region_init_rom_io(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset,
                        uint64_t size, const struct region_ops *ops, void *opaque, struct lock *lock,
                        struct device *dev)
{
    init_memory(r, name, REGION_ROM, ram, ram_offset, size);
    r->ops = ops;
    r->opaque = opaque;
    r->lock = lock;
    r->dev = dev;
}

void region_init_io(struct region *r, const char *name, uint64_t size, const struct region_ops *ops,
                    void *opaque, struct lock *lock, struct device *dev)
{
    init(r, name, REGION_IO, size);
    r->ops = ops;
    r->opaque = opaque;
    r->lock = lock;
    r->dev = dev;
}

void region_init_alias(struct region *r, const char *name, struct region *target, uint64_t target_offset,
                       uint64_t size)
{
    init(r, name, REGION_ALIAS, size);
    topology_take();
    r->target = target;
    r->target_offset = target_offset;
    r->next_alias = target->aliases;
    target->aliases = r;
    topology_drop();
}

void region_free(struct region *r)
{
    transaction_begin();
    region_remove(r);
    while (r->n_children)
        region_remove(r->children[r->n_children - 1]);
    if (r->target) {
        struct region **at = &r->target->aliases;
        while (*at != r)
            at = &(*at)->next_alias;
        *at = r->next_alias;
    }
    for (struct region *a = r->aliases; a; a = a->next_alias) {
        changed(a);
        a->target = NULL; /* shows nothing */
    }
    transaction_commit();
    free(r->children);
    free(r->eventfds);
    free(r->zones);
    memset(r, 0, sizeof *r);
}

/* --- the tree */

/* Is `wanted` reachable from r through children and alias targets? */
static bool reaches(struct region *r, const struct region *wanted, uint64_t mark)
{
    if (r == wanted)
        return true;
    if (r->mark == mark)
        return false;
    r->mark = mark;
    if (r->target && reaches(r->target, wanted, mark))
        return true;
    for (uint32_t i = 0; i < r->n_children; i++)
        if (reaches(r->children[i], wanted, mark))
            return true;
    return false;
}

/* Levels from r down and from r up, r counted in both; more than limit where there are more. There are no cycles, so
 * the walks end; paths may be many where aliases meet again: an empty budget counts as too deep. */
static unsigned depth_down(const struct region *r, unsigned limit, unsigned *budget)
{
    unsigned deepest = 0;
    if (limit == 0 || *budget == 0)
        return limit + 1;
    --*budget;
    if (r->target)
        deepest = depth_down(r->target, limit - 1, budget);
    for (uint32_t i = 0; i < r->n_children && deepest < limit; i++) {
        const struct region *c = r->children[i];
        unsigned d = c->n_children || c->target ? depth_down(c, limit - 1, budget) : 1;
        if (d > deepest)
            deepest = d;
    }
    return deepest + 1;
}

static unsigned depth_up(const struct region *r, unsigned limit, unsigned *budget)
{
    unsigned deepest = 0;
    if (limit == 0 || *budget == 0)
        return limit + 1;
    --*budget;
    if (r->parent)
        deepest = depth_up(r->parent, limit - 1, budget);
    for (const struct region *a = r->aliases; a && deepest < limit; a = a->next_alias) {
        unsigned d = depth_up(a, limit - 1, budget);
        if (d > deepest)
            deepest = d;
    }
    return deepest + 1;
}

static bool too_deep(const struct region *parent, const struct region *child)
{
    unsigned budget = REGION_VISITS_MAX;
    unsigned up = depth_up(parent, REGION_DEPTH_MAX, &budget);
    if (up > REGION_DEPTH_MAX)
        return true;
    budget = REGION_VISITS_MAX;
    return depth_down(child, REGION_DEPTH_MAX - up, &budget) > REGION_DEPTH_MAX - up;
}

static const char *why_not(struct region *parent, struct region *child)
{
    if (child->parent)
        return "it has a parent already";
    if (parent->kind == REGION_ALIAS)
        return "an alias has no children";
    if (reaches(child, parent, ++last_mark))
        return "it would contain itself";
    if (too_deep(parent, child))
        return "regions would lie too deep inside each other";
    return NULL;
}

/* Where in the parent's array a child with this key stands, or is to be inserted. */
static uint32_t child_index(const struct region *parent, int32_t priority, uint32_t order)
{
    uint32_t lo = 0, hi = parent->n_children;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct region *c = parent->children[mid];
        if (c->priority < priority || (c->priority == priority && c->order < order))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool region_add(struct region *parent, struct region *child, uint64_t offset, int priority)
{
    transaction_begin();
    const char *why = why_not(parent, child);
    if (why) {
        warn("region %s: cannot be added to %s: %s", child->name, parent->name, why);
        change_mark = ++last_mark; /* the walk overwrote marks */
        transaction_commit();
        return false;
    }
    if (parent->n_children == parent->children_room) {
        uint32_t room = parent->children_room ? parent->children_room * 2 : 8;
        struct region **grown = realloc(parent->children, room * sizeof *grown);
        if (!grown)
            die("region %s: no memory for %u children", parent->name, room);
        parent->children = grown;
        parent->children_room = room;
    }
    child->parent = parent;
    child->offset = offset;
    child->priority = priority;
    child->order = parent->next_order++;
    uint32_t at = child_index(parent, priority, child->order);
    memmove(&parent->children[at + 1], &parent->children[at],
            (parent->n_children - at) * sizeof *parent->children);
    parent->children[at] = child;
    parent->n_children++;
    change_mark = ++last_mark; /* what changed in the child before was marked up to the child only */
    changed(child);
    transaction_commit();
    return true;
}

void region_remove(struct region *child)
{
    struct region *parent = child->parent;
    if (!parent)
        return;
    transaction_begin();
    changed(child);
    uint32_t at = child_index(parent, child->priority, child->order);
    parent->n_children--;
    memmove(&parent->children[at], &parent->children[at + 1],
            (parent->n_children - at) * sizeof *parent->children);
    child->parent = NULL;
    transaction_commit();
}

void region_move(struct region *r, uint64_t offset)
{
    transaction_begin();
    if (r->offset != offset) {
        r->offset = offset;
        changed(r);
    }
    transaction_commit();
}

void region_resize(struct region *r, uint64_t size)
{
    if (r->ram && !inside_block(r->ram, r->ram_offset, size))
        die("region %s: 0x%llx bytes do not lie inside RAM block %s", r->name, (unsigned long long)size,
            r->ram->name);
    transaction_begin();
    if (r->size != size) {
        r->size = size;
        changed(r);
    }
    transaction_commit();
}

void region_enable(struct region *r, bool on)
{
    transaction_begin();
    if (r->enabled != on) {
        r->enabled = on;
        changed(r);
    }
    transaction_commit();
}

void region_set_readonly(struct region *r, bool on)
{
    transaction_begin();
    if (r->readonly != on && r->kind != REGION_ROM) {
        r->readonly = on;
        changed(r);
    }
    transaction_commit();
}

void region_set_alias_offset(struct region *r, uint64_t target_offset)
{
    assert(r->kind == REGION_ALIAS);
    transaction_begin();
    if (r->target_offset != target_offset) {
        r->target_offset = target_offset;
        changed(r);
    }
    transaction_commit();
}

/* --- what hangs on regions */

static struct region_eventfd *eventfd_find(struct region *r, uint64_t offset, unsigned size, bool match,
                                           uint64_t value)
{
    for (uint32_t i = 0; i < r->n_eventfds; i++) {
        struct region_eventfd *e = &r->eventfds[i];
        if (e->offset == offset && e->size == size && e->match == match && (!match || e->value == value))
            return e;
    }
    return NULL;
}

bool region_ioeventfd_add(struct region *r, uint64_t offset, unsigned size, bool match, uint64_t value,
                          int fd)
{
    bool added = false;
    if (size > 8 || (size & (size - 1)) || (size == 0 && match))
        return false;
    transaction_begin();
    if (!eventfd_find(r, offset, size, match, value)) {
        struct region_eventfd *grown = realloc(r->eventfds, (r->n_eventfds + 1) * sizeof *grown);
        if (!grown)
            die("region %s: no memory for an ioeventfd", r->name);
        r->eventfds = grown;
        r->eventfds[r->n_eventfds++] = (struct region_eventfd){offset, (uint8_t)size, match, value, fd};
        changed(r);
        added = true;
    }
    transaction_commit();
    return added;
}

void region_ioeventfd_remove(struct region *r, uint64_t offset, unsigned size, bool match, uint64_t value,
                             int fd)
{
    transaction_begin();
    struct region_eventfd *e = eventfd_find(r, offset, size, match, value);
    if (e && e->fd == fd) {
        *e = r->eventfds[--r->n_eventfds];
        changed(r);
    }
    transaction_commit();
}

void region_coalesce(struct region *r, uint64_t offset, uint64_t size)
{
    if (size == 0 || size > UINT64_MAX - offset)
        return;
    transaction_begin();
    struct region_zone *grown = realloc(r->zones, (r->n_zones + 1) * sizeof *grown);
    if (!grown)
        die("region %s: no memory for a coalesced zone", r->name);
    r->zones = grown;
    r->zones[r->n_zones++] = (struct region_zone){offset, size};
    changed(r);
    transaction_commit();
}

void region_plain(struct region *r, bool on)
{
    transaction_begin();
    if (r->plain != on) {
        r->plain = on;
        changed(r);
    }
    transaction_commit();
}

bool region_log(struct region *r, enum region_log client, bool on)
{
    bool done = true;
    assert(r->ram);
    transaction_begin();
    uint8_t bit = (uint8_t)(1u << client);
    if (!!(r->log & bit) != on) {
        done = ram_log(r->ram, client, on);
        if (done) {
            r->log ^= bit;
            changed(r);
        }
    }
    transaction_commit();
    return done;
}

const char *region_kind_name(const struct region *r)
{
    for (unsigned i = 0; r->kind == REGION_ALIAS && r->target && i < REGION_DEPTH_MAX; i++)
        r = r->target;
    if (r->kind == REGION_ROM || (r->kind == REGION_RAM && r->readonly))
        return "rom";
    return r->kind == REGION_RAM ? "ram" : "i/o";
}
