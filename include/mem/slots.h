/* SPDX-License-Identifier: MIT
 *
 * The listener that turns a memory space's view into KVM memory slots.
 *
 * RAM and ROM ranges are cut inwards to whole 4 KiB pages (what is left over, like everything else without a
 * slot, comes back as an MMIO exit, which space_read and space_write serve), into slots of the host's largest
 * size, ROM and read-only ranges as read-only slots.
 *
 * Changes are collected from begin on and applied in commit: deletions, then additions. To the vCPUs a change
 * looks atomic: when a deleted and an added slot overlap, they are held out of KVM_RUN meanwhile. A slot that
 * logs dirty pages is synced before it is deleted, and for that, too, they are held: a page written between
 * the two would be lost. The log flag alone changes in place.
 *
 * When KVM refuses a slot (none free, …) that is a warning (ten at most); the range is then served by exits, and each
 * later commit tries again.
 *
 * Everything runs on the committing thread with the topology lock held.
 * Source: Linux Documentation/virt/kvm/api.rst, 4.35 KVM_SET_USER_MEMORY_REGION, 4.8 KVM_GET_DIRTY_LOG, 4.117
 * KVM_CLEAR_DIRTY_LOG.
 */
#ifndef MEM_SLOTS_H
#define MEM_SLOTS_H

#include "mem/view.h"

enum slot_flag {
    SLOT_LOG = 1,      /* KVM_MEM_LOG_DIRTY_PAGES */
    SLOT_READONLY = 2, /* KVM_MEM_READONLY */
};

/* What it asks of KVM; a fake in the tests. All return 0 or -errno. */
struct slots_ops {
    int (*set)(void *ctx, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
               void *host); /* size 0: delete */
    /* Pages written since the last call (or, with dirty_clear, since they were last cleared) are set; the
     * others not. bitmap has a word for each 64 pages begun. */
    int (*dirty_get)(void *ctx, uint32_t slot, uint64_t *bitmap);
    /* NULL: dirty_get clears by itself. first is a multiple of 64; so is pages, unless they end the slot. */
    int (*dirty_clear)(void *ctx, uint32_t slot, uint64_t first, uint32_t pages, const uint64_t *bitmap);
    /* After hold no vCPU is in KVM_RUN, and none enters until release. Either may be NULL. */
    void (*hold)(void *ctx);
    void (*release)(void *ctx);
};

struct slots_limits {
    uint32_t slots;    /* KVM_CAP_NR_MEMSLOTS */
    uint64_t max_size; /* of one slot, bytes; 0: no limit but KVM's own, 2^31 - 1 pages */
    bool readonly;     /* KVM_CAP_READONLY_MEM; without it ROM has no slots */
};

struct slots;

/* Registers with memory, priority 10; die()s when there is no memory for its tables. ops and ctx stay. */
struct slots *slots_new(struct space *memory, const struct slots_ops *ops, void *ctx,
                        const struct slots_limits *limits);
void slots_free(struct slots *s);

/* The slot that backs an address, or -1. Topology lock held. */
int slots_find(const struct slots *s, uint64_t gpa);
/* For mtree_print_flat(): writes " KVM slot 3", " KVM slot 3, 4 (dirty log)" or nothing. */
void slots_note(void *slots, FILE *out, const struct range *r);
/* How often vCPUs were held, slots set and deleted; for tests and `stats`. */
struct slots_stats {
    uint64_t holds, adds, dels, flag_changes, failures;
};
struct slots_stats slots_stats(const struct slots *s);

#endif
