/* SPDX-License-Identifier: MIT
 *
 * The listeners that tell KVM of ioeventfds and of coalesced I/O, for the memory and the port space, and the
 * draining of the coalesced ring.
 *
 * ioeventfds: when KVM refuses one, that is a warning, and the write takes the slow way to the same eventfd.
 *
 * Coalesced I/O: writes to a zone are put into a ring by the kernel, without an exit. ioevents_drain()
 * delivers them, in order, through space_write(). It must be called before any exit is dispatched and before
 * the loop works on a device, with no device lock held; deleting a zone or a region calls it, too. Without
 * zones it is one load and a branch. An entry leaves the ring after it was delivered, under the ring's lock
 * (LOCK_COALESCED): so whoever finds the ring empty knows that all that was in it has been delivered.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.59 KVM_IOEVENTFD, 4.116 KVM_(UN)REGISTER_COALESCED_MMIO.
 */
#ifndef MEM_IOEVENT_H
#define MEM_IOEVENT_H

#include "mem/view.h"

struct ioevent_write {
    uint64_t addr;
    bool pio;
    uint8_t len;
    uint8_t data[8];
};

/* What it asks of KVM; a fake in the tests. 0 or -errno. */
struct ioevents_ops {
    int (*eventfd)(void *ctx, bool pio, uint64_t addr, unsigned size, bool match, uint64_t value, int fd,
                   bool add);
    /* The three of coalescing are NULL where KVM has none: then there are no zones. */
    int (*zone)(void *ctx, bool pio, uint64_t addr, uint64_t size, bool add);
    bool (*peek)(void *ctx, struct ioevent_write *w); /* the oldest entry; false: empty */
    void (*pop)(void *ctx);
};

struct ioevents;
struct ioevents *ioevents_new(struct space *memory, struct space *io, const struct ioevents_ops *ops,
                              void *ctx);
void ioevents_free(struct ioevents *e);

extern _Atomic unsigned ioevents_zones; /* of all */
void ioevents_drain_all(void);
static inline void ioevents_drain(void)
{
    if (__builtin_expect(atomic_load_explicit(&ioevents_zones, memory_order_relaxed) != 0, 0))
        ioevents_drain_all();
}

#endif
