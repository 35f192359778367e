/* SPDX-License-Identifier: MIT
 *
 * Spaces, their views, and listeners.
 *
 * A space is a root region and its published view: the tree rendered into sorted, disjoint ranges, neighbours
 * that continue each other merged. A view never changes once published; readers find it under an epoch
 * (mem/epoch.h).
 *
 * A bus-master space is what a PCI device sees of memory. It is not rendered: it publishes the memory space's
 * view while its master switch is on, and the empty view while it is off. It starts off. It can have listeners of its own
 * (virtio/vhost.h): the switch tells them that everything is gone, or has come, and while it is on they hear of each change
 * of the memory space, after that space's own listeners.
 *
 * Commit: each space that was changed is rendered once; the old and the new view are walked side by side, and
 * each listener of the space is told, in priority order (deletions in reverse order):
 *
 *     begin
 *     coalesced_del, eventfd_del      of what is gone
 *     region_del                      of ranges that are gone; the old view is still the published one
 *     -- the new view is published --
 *     region_add, or region_nop       new ranges, and those that stayed; ascending addresses
 *     log_start, log_stop             when the dirty-log clients of a range changed (region_add is followed
 * by log_start if it has any) eventfd_add, coalesced_add commit
 *
 * All callbacks run with the topology lock held, on the committing thread, outside any epoch, with no device
 * lock held; each may be NULL. They may not change the map.
 */
#ifndef MEM_VIEW_H
#define MEM_VIEW_H

#include "mem/epoch.h"
#include "mem/region.h"

#include <stdio.h>

struct range {
    uint64_t first, last;  /* addresses, both inside */
    struct region *region; /* RAM, ROM or I/O */
    uint64_t offset;       /* of first, in the region */
    bool readonly;
    bool has_eventfds; /* some of the view's ioeventfds lie in it */
    uint8_t log;       /* the region's dirty-log clients */
};

struct view_eventfd {
    uint64_t addr;
    struct region *region;
    struct region_eventfd e;
};

struct view_zone {
    uint64_t first, last;
    struct region *region;
};

struct view {
    uint64_t generation; /* of no other view, ever */
    uint32_t slot;       /* of the per-thread cache */
    uint32_t n, n_eventfds, n_zones;
    const struct range *ranges;          /* ascending */
    const struct view_eventfd *eventfds; /* ascending by address */
    const struct view_zone *zones;
    struct epoch_item retired;
};

struct listener;
struct listener_ops {
    void (*begin)(struct listener *l);
    void (*region_del)(struct listener *l, const struct range *r);
    void (*region_add)(struct listener *l, const struct range *r);
    void (*region_nop)(struct listener *l, const struct range *r);
    void (*log_start)(struct listener *l, const struct range *r, uint8_t old_log, uint8_t new_log);
    void (*log_stop)(struct listener *l, const struct range *r, uint8_t old_log, uint8_t new_log);
    void (*eventfd_del)(struct listener *l, const struct view_eventfd *e);
    void (*eventfd_add)(struct listener *l, const struct view_eventfd *e);
    void (*coalesced_del)(struct listener *l, const struct view_zone *z);
    void (*coalesced_add)(struct listener *l, const struct view_zone *z);
    void (*commit)(struct listener *l);

    /* On demand. log_sync: mark in the RAM block (ram_dirty_merge) what the guest wrote in that range.
     * log_clear: the pages of the range were fetched; watch them again. */
    void (*log_sync)(struct listener *l, const struct range *r);
    void (*log_clear)(struct listener *l, const struct range *r);
    void (*log_global_start)(struct listener *l);
    void (*log_global_stop)(struct listener *l);
};

/* Embedded in its owner. */
struct listener {
    const struct listener_ops *ops;
    int priority; /* lower ones are told of additions first and of deletions last */
    struct space *space;
    struct listener *prev, *next;
};

struct space {
    _Atomic(const struct view *) view;
    struct region *root;
    const char *name;
    _Atomic uint64_t nowhere; /* accesses to nothing */

    struct space *memory;       /* bus-master space: whose view it shows */
    _Atomic bool master;        /* changed under the topology lock, looked at by who counts a refusal */
    struct device *dev, *watch; /* whose it is; the same while it is watched (mem/watch.h), else NULL */
    _Atomic uint64_t refused_off, refused_ram; /* DMA: with bus mastering off; of what is not RAM */
    struct space *followers, *next_follower;   /* memory space: its bus-master spaces */
    struct space *next_same_root, *next;       /* all spaces */
    struct listener *first_listener, *last_listener;
    bool changed;
};

/* Set-up. name must live as long as the space. The root may have children already. */
void space_init(struct space *s, struct region *root, const char *name);
void space_init_bus_master(struct space *s, struct space *memory, const char *name);
void space_free(struct space *s); /* no readers any more; for tests and the end */

/* COMMAND.MASTER. Takes the topology lock, tells the listeners; not from device code. */
void space_set_master(struct space *s, bool on);

/* Tells the listener all that stands: begin, [log_global_start], region_add (log_start), eventfd_add,
 * coalesced_add, commit. From set-up or the loop, no device lock held, no transaction open. unregister: the
 * same as deletions. */
void listener_register(struct space *s, struct listener *l);
void listener_unregister(struct listener *l);

/* The range that holds addr, or NULL. Inside an epoch, or with the topology lock held. O(log n). */
const struct range *view_find(const struct view *v, uint64_t addr);

/* All spaces, for printing; topology lock held. */
struct space *space_first(void);

/* Dirty pages of a RAM region since the last fetch by the same client, bit i of bitmap = page (4 KiB)
 * offset/4096 + i of the region; asks the listeners for what the guest wrote, takes and clears the bits, and
 * lets the pages be watched again. Read the pages only after the call. offset and size are multiples of 4 KiB
 * inside the region; bitmap has (size / 4096 + 63) / 64 words, all of which are written. Returns the number
 * of bits set. Takes the topology lock. */
uint64_t region_log_fetch(struct region *r, enum region_log client, uint64_t offset, uint64_t size,
                          uint64_t *bitmap);

/* REGION_LOG_GLOBAL for all RAM blocks and all spaces. false: no memory for the bitmaps. Nests. */
bool log_global_start(void);
void log_global_stop(void);

/* --- inside mem/ and for tests: renders root anew, NULL when there is no memory. Topology lock held. */
struct view *view_render(const struct region *root);
void view_free(struct view *v);
extern bool listeners_running; /* callbacks are being called; topology lock */
/* at the outermost commit */
void space_mark_changed(struct space *s);
void space_update_changed(void);

#endif
