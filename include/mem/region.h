/* SPDX-License-Identifier: MIT
 *
 * Regions: the tree that says what a guest sees where. A region is embedded in its owner, is set up once by
 * one of the region_init functions, and lives as long as the VM. Kinds:
 *
 *   container  shows its children; leaves holes to what lies below it
 *   RAM, ROM   a piece of a RAM block (mem/ram.h); ROM is RAM that the guest cannot write
 *   I/O        an ops table, called with the owning device's lock held
 *   alias      shows a window of another region, which need not have a parent; the target's own place does
 * not matter
 *
 * Any region but an alias may have children; they lie over it. Among siblings the higher priority wins; with
 * the same priority, the one added later. A child is cut at the ends of its parent. A disabled region hides
 * all that is in it. readonly holds for everything seen through the region.
 *
 * Sizes are in bytes. REGION_ALL is 2^64. Size 0 is legal and shows nothing. A child whose offset + size
 * passes 2^64 is cut there.
 *
 * Transactions: each function that changes the map opens its own, and they nest: what follows from the map is
 * worked out once, at the outermost commit (see mem/view.h). A transaction holds the topology lock
 * (LOCK_TOPOLOGY), which nests within a thread. So the map is never changed with a device lock held, that is:
 * never from device code; debug builds assert it. Callers: set-up, and PCI's BAR dispatch. Listeners must not
 * change the map.
 *
 * Memory: children arrays grow at region_add() and friends, which are for set-up; region_move, _enable and
 * _set_readonly allocate only the new view. When the host has no memory for that, the old view stays, with a
 * warning, until the next commit.
 *
 * The model (priorities, aliases, flat views, listeners) is that of QEMU's memory API, docs/devel/memory.rst.
 */
#ifndef MEM_REGION_H
#define MEM_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct device;
struct lock;
struct ram;
struct space;

#define REGION_ALL UINT64_MAX /* a size: 2^64 */

enum {
    REGION_DEPTH_MAX = 32, /* containers and aliases inside each other; deeper ones are refused */
    /* regions visited in one walk, once for each way to them; see region_add() */
    REGION_VISITS_MAX = 1u << 18,
};

enum region_kind {
    REGION_CONTAINER,
    REGION_RAM,
    REGION_ROM,
    REGION_IO,
    REGION_ALIAS,
};

enum region_flag {
    /* A 1-byte register behind an 8-bit ISA port: an access of 2, 4 or 8 bytes becomes that many of 1 byte,
     * at rising offsets; bytes past the region's end read all ones and are dropped. */
    REGION_SPLIT = 1,
};

/* Called with the region's lock held (if it has one). offset + size may lie past the region's end (an access
 * is not cut), never offset itself. size is one of sizes; value has no bits above it, and those of a result
 * are dropped. Each may be NULL: reads all ones, writes dropped. Always const. */
struct region_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    uint8_t sizes; /* allowed sizes: OR of 1, 2, 4, 8 */
    uint8_t flags; /* enum region_flag */
};

/* Who wants to know which pages of a RAM region were written. */
enum region_log {
    REGION_LOG_GLOBAL, /* all RAM, by log_global_start() */
    REGION_LOG_DISPLAY,
    REGION_LOG_USER,
    REGION_LOG_CLIENTS,
};

struct region_eventfd {
    uint64_t offset;
    uint8_t size; /* 1, 2, 4, 8; 0: an access of any size */
    bool match;   /* only when the written value is: */
    uint64_t value;
    int fd; /* eventfd, non-blocking */
};
struct region_zone {
    uint64_t offset, size;
};

/* Fields are read-only outside mem/. */
struct region {
    /* what an access needs, first */
    const struct region_ops *ops;
    void *opaque;
    struct lock *lock;
    uint8_t *host; /* RAM, ROM: first byte in this process */
    uint64_t size;
    enum region_kind kind;
    bool enabled, readonly, plain; /* plain: ioeventfds and coalescing are off, see region_plain() */
    uint8_t log;                   /* set of 1 << enum region_log */
    _Atomic uint64_t refused;      /* accesses of a size not allowed, writes to what is read-only */

    const char *name;
    const char *role; /* what it is to its device, "BAR0"; NULL: it has no such name */
    struct device *dev;
    struct ram *ram;
    uint64_t ram_offset;

    struct region *parent;
    uint64_t offset; /* in the parent */
    int32_t priority;
    uint32_t order;           /* of its addition among siblings */
    struct region **children; /* ascending by (priority, order): the last one is on top */
    uint32_t n_children, children_room;
    uint32_t next_order;

    struct region *target; /* alias */
    uint64_t target_offset;
    struct region *aliases, *next_alias; /* all aliases that show this region */
    struct space *spaces;                /* those whose root it is */

    struct region_eventfd *eventfds;
    struct region_zone *zones;
    uint32_t n_eventfds, n_zones;
    uint64_t mark; /* of tree walks */
};

/* --- set-up. name must live as long as the region. */
void region_init_container(struct region *r, const char *name, uint64_t size);
/* size bytes of the block from ram_offset on; die()s when they do not lie inside it. */
void region_init_ram(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset, uint64_t size);
void region_init_rom(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset, uint64_t size);
/* lock: the owning device's, or NULL when ops do their own. dev: who it belongs to, or NULL. */
void region_init_io(struct region *r, const char *name, uint64_t size, const struct region_ops *ops,
                    void *opaque, struct lock *lock, struct device *dev);
/* ROM whose writes reach ops->write, as an I/O region's do; reads are the block's bytes, and cost a guest no exit. */
void region_init_rom_io(struct region *r, const char *name, struct ram *ram, uint64_t ram_offset,
                        uint64_t size, const struct region_ops *ops, void *opaque, struct lock *lock,
                        struct device *dev);
void region_init_alias(struct region *r, const char *name, struct region *target, uint64_t target_offset,
                       uint64_t size);
/* Takes it out of the tree and frees what it holds; the children lose their parent. For tests and the end. */
void region_free(struct region *r);

/* --- the map; any thread without a device lock.
 * region_add: false, with a warning and nothing changed, when child has a parent, when parent is an alias, or
 * when the tree would get a cycle or be deeper than REGION_DEPTH_MAX. */
bool region_add(struct region *parent, struct region *child, uint64_t offset, int priority);
void region_remove(struct region *child); /* no parent: nothing to do */
void region_move(struct region *r, uint64_t offset);
void region_resize(struct region *r, uint64_t size); /* container and I/O; RAM within its block */
void region_enable(struct region *r, bool on);
void region_set_readonly(struct region *r, bool on);
void region_set_alias_offset(struct region *r, uint64_t target_offset);

/* A write of that size to that offset signals fd, mostly without leaving the kernel, and does not reach ops.
 * The slow way (space_write) signals the same fd. Twice the same {offset, size, match, value}: false. The fd
 * is the caller's; it may be closed once _remove has returned, unless a transaction is still open. */
bool region_ioeventfd_add(struct region *r, uint64_t offset, unsigned size, bool match, uint64_t value,
                          int fd);
void region_ioeventfd_remove(struct region *r, uint64_t offset, unsigned size, bool match, uint64_t value,
                             int fd);
/* Writes there may be collected and delivered later, in order, at the next exit (mem/ioevent.h). */
void region_coalesce(struct region *r, uint64_t offset, uint64_t size);
/* Every access reaches ops at once: ioeventfds and coalescing are away while it is on (--trace). */
void region_plain(struct region *r, bool on);

/* Dirty logging of a RAM region, on its whole RAM block when DMA marks pages, and where it is mapped when the
 * guest does. false: no memory for the bitmap. See region_log_fetch() in mem/view.h. */
bool region_log(struct region *r, enum region_log client, bool on);

/* --- transactions */
void transaction_begin(void);
void transaction_commit(void);
/* The topology lock alone; nests, also with transactions. */
void topology_take(void);
void topology_drop(void);

const char *
region_kind_name(const struct region *r); /* "i/o", "ram", "rom" as QEMU says; an alias's is its target's */

/* --- inside mem/ */
/* size - 1; not for size 0. */
static inline uint64_t region_last(const struct region *r)
{
    return r->size == REGION_ALL ? UINT64_MAX : r->size - 1;
}

#endif
