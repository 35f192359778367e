// SPDX-License-Identifier: MIT
/* What of guest memory the kernel may touch, and which pages it has written: a listener on the card's bus-master space.
 *
 * The map is kept as a sorted list of RAM ranges. A commit that changed it stops the queues, gives the kernel the new table and
 * starts what can be: so there is never a queue that works on half a table. Read-only RAM is left out: the kernel's table
 * knows no such thing, and no driver sends from ROM.
 *
 * The dirty log is one bitmap by guest address, written by the kernel with atomic operations, taken out by us in the same
 * way. It grows with the map and is given back when nobody logs.
 *
 * All functions run with the topology lock held; those that touch queues take the card's lock as well. */
#include "virtio/vhost_priv.h"

#include <string.h>
#include <sys/mman.h>

#include "kvm/host/log.h"
#include "mem/ram.h"

static struct vhost *of(struct listener *l)
{
    return (struct vhost *)((char *)l - offsetof(struct vhost, listener));
}

static bool is_memory(const struct range *r)
{
    return r->region->ram && !r->readonly && r->region->kind == REGION_RAM;
}

/* --- the dirty log */

static uint64_t log_bytes(const struct vhost *vh)
{
    uint64_t last = vh->n_map ? vh->map[vh->n_map - 1].range.last : 0;
    return (last / RAM_PAGE / 64 + 1) * sizeof(uint64_t);
}

static void sync_range(struct vhost *vh, const struct range *r)
{
    uint64_t first = r->first / RAM_PAGE, last = r->last / RAM_PAGE;
    uint64_t offset = r->region->ram_offset + r->offset;
    if (vh->lost)
        ram_dirty_mark(r->region->ram, offset, r->last - r->first + 1);
    if (!vh->log)
        return;
    for (uint64_t word = first / 64; word <= last / 64 && word < vh->log_size / sizeof *vh->log; word++) {
        uint64_t mask = UINT64_MAX;
        if (word == first / 64)
            mask &= UINT64_MAX << first % 64;
        if (word == last / 64)
            mask &= UINT64_MAX >> (63 - last % 64);
        if (!(__atomic_load_n(&vh->log[word], __ATOMIC_RELAXED) & mask))
            continue;
        uint64_t got = __atomic_fetch_and(&vh->log[word], ~mask, __ATOMIC_ACQ_REL) & mask;
        for (; got; got &= got - 1) {
            uint64_t page = word * 64 + (unsigned)__builtin_ctzll(got);
            ram_dirty_mark(r->region->ram, offset + (page - first) * RAM_PAGE, 1);
        }
    }
}

static void drop_log(struct vhost *vh)
{
    for (unsigned i = 0; i < vh->n_map; i++)
        sync_range(vh, &vh->map[i].range);
    if (vh->log)
        munmap(vh->log, vh->log_size);
    vh->log = NULL;
    vh->log_size = 0;
}

/* A bitmap for the map as it is; the kernel knows it when this is true. */
static bool make_log(struct vhost *vh)
{
    uint64_t size = log_bytes(vh);
    bool done = true;
    if (vh->log && size <= vh->log_size)
        return true;
    uint64_t *log = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (log == MAP_FAILED)
        return false;
    uint64_t base = (uintptr_t)log;
    for (unsigned pair = 0; pair < vh->o.pairs; pair++)
        done = vhost_call(vh, pair, &VHOST_REQUEST(VHOST_SET_LOG_BASE), &base) && done;
    if (!done) {
        munmap(log, size);
        return false;
    }
    drop_log(vh); /* the kernel has let go of it */
    vh->log = log;
    vh->log_size = size;
    return true;
}

/* Lock held. Features and the rings' addresses carry the flag; both may change while a queue runs. */
static void set_log(struct vhost *vh)
{
    bool want = vh->global;
    for (unsigned i = 0; i < vh->n_map; i++)
        want |= vh->map[i].log;
    bool can = !want || make_log(vh), was = vh->logging;
    if (!can && !vh->lost)
        warn("%s: vhost: the dirty log: no memory for it (all pages count as written)", vh->o.name);
    vh->lost = !can;
    vh->logging = want && can;
    if (vh->logging == was)
        return;
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++) {
        struct vhost_queue *q = &vh->queues[i];
        if (q->running && (!vhost_set_features(vh, i / 2) || !vhost_set_addresses(q)))
            vh->lost = want;
    }
    if (!vh->logging)
        drop_log(vh);
}

/* --- the table */

static unsigned fill(const struct vhost *vh, struct vhost_memory_region *regions)
{
    for (unsigned i = 0; i < vh->n_map; i++) {
        const struct range *r = &vh->map[i].range;
        regions[i] = (struct vhost_memory_region){
            .guest_phys_addr = r->first,
            .memory_size = r->last - r->first + 1,
            .userspace_addr = (uintptr_t)r->region->host + r->offset,
        };
    }
    return vh->n_map;
}

static void set_table(struct vhost *vh)
{
    union {
        struct vhost_memory head;
        char room[sizeof(struct vhost_memory) + VHOST_REGIONS_MAX * sizeof(struct vhost_memory_region)];
    } table = {.head = {0}};
    bool done = !vh->over;
    if (vh->over && vh->warned++ < VHOST_WARNINGS)
        warn("%s: vhost: guest memory is in more than %d pieces", vh->o.name, VHOST_REGIONS_MAX);
    if (!vh->over)
        table.head.nregions = fill(vh, table.head.regions);
    for (unsigned pair = 0; pair < vh->o.pairs; pair++)
        done = vhost_call(vh, pair, &VHOST_REQUEST(VHOST_SET_MEM_TABLE), &table.head) && done;
    vh->n_regions = done ? vh->n_map : 0;
}

static void map_begin(struct listener *l)
{
    of(l)->changed = false;
}

static void map_add(struct listener *l, const struct range *r)
{
    struct vhost *vh = of(l);
    unsigned at = vh->n_map;
    if (!is_memory(r))
        return;
    vh->changed = true;
    if (vh->n_map == VHOST_REGIONS_MAX) {
        vh->over++;
        return;
    }
    while (at && vh->map[at - 1].range.first > r->first)
        at--;
    memmove(&vh->map[at + 1], &vh->map[at], (vh->n_map - at) * sizeof *vh->map);
    vh->map[at] = (struct vhost_region){.range = *r};
    vh->n_map++;
}

static struct vhost_region *find(struct vhost *vh, const struct range *r)
{
    for (unsigned i = 0; i < vh->n_map; i++)
        if (vh->map[i].range.first == r->first)
            return &vh->map[i];
    return NULL;
}

static void map_del(struct listener *l, const struct range *r)
{
    struct vhost *vh = of(l);
    struct vhost_region *known = is_memory(r) ? find(vh, r) : NULL;
    if (!is_memory(r))
        return;
    vh->changed = true;
    if (!known) {
        vh->over--;
        return;
    }
    /* No queue may write there any more before its pages are asked for the last time. */
    lock_take(&vh->v->pci.dev.lock);
    vhost_stop_all(vh);
    lock_drop(&vh->v->pci.dev.lock);
    sync_range(vh, &known->range);
    unsigned at = (unsigned)(known - vh->map);
    memmove(known, known + 1, (--vh->n_map - at) * sizeof *known);
}

static void log_changed(struct listener *l, const struct range *r, uint8_t old, uint8_t new)
{
    struct vhost_region *known = is_memory(r) ? find(of(l), r) : NULL;
    (void)old;
    if (known)
        known->log = new &(uint8_t) ~(1u << REGION_LOG_GLOBAL);
}

static void map_commit(struct listener *l)
{
    struct vhost *vh = of(l);
    lock_take(&vh->v->pci.dev.lock);
    if (vh->changed) {
        vhost_stop_all(vh);
        set_table(vh);
    }
    set_log(vh);
    vhost_update(vh);
    lock_drop(&vh->v->pci.dev.lock);
}

static void log_sync(struct listener *l, const struct range *r)
{
    if (is_memory(r))
        sync_range(of(l), r);
}

static void global(struct vhost *vh, bool on)
{
    lock_take(&vh->v->pci.dev.lock);
    vh->global = on;
    set_log(vh);
    lock_drop(&vh->v->pci.dev.lock);
}

static void on_log_start(struct listener *l)
{
    global(of(l), true);
}

static void on_log_stop(struct listener *l)
{
    global(of(l), false);
}

static const struct listener_ops ops = {
    .begin = map_begin,
    .region_del = map_del,
    .region_add = map_add,
    .log_start = log_changed,
    .log_stop = log_changed,
    .commit = map_commit,
    .log_sync = log_sync,
    .log_global_start = on_log_start,
    .log_global_stop = on_log_stop,
};

void vhost_listen(struct vhost *vh)
{
    vh->listener.ops = &ops;
    listener_register(&vh->v->pci.dma, &vh->listener);
}

/* Tells that everything is gone: the queues stop. */
void vhost_unlisten(struct vhost *vh)
{
    if (vh->listener.space)
        listener_unregister(&vh->listener);
    if (vh->log)
        munmap(vh->log, vh->log_size);
}
