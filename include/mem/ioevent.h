/* SPDX-License-Identifier: MIT
 *
 * The listeners that tell KVM of ioeventfds and of coalesced I/O, for the memory and the port space, and the
 * draining of the coalesced ring.
 *
 * ioeventfds: when KVM refuses one, that is a warning, and the write takes the slow way to the same eventfd.
 *
 * Coalesced I/O: writes to a zone are put into a ring by the kernel, without an exit; KVM's side delivers them, in order
 * (vcpus_drain(), kvm/vcpu.h), before any exit is dispatched. ioevents_drain() asks for that: before the loop works on
 * a device, with no device lock held. Deleting a zone or a region does it by itself, while the old view still stands, so
 * that the writes reach whom they were meant for. Without zones it is one load and a branch.
 *
 * Source: Linux Documentation/virt/kvm/api.rst, 4.59 KVM_IOEVENTFD, 4.116 KVM_(UN)REGISTER_COALESCED_MMIO.
 */
#ifndef MEM_IOEVENT_H
#define MEM_IOEVENT_H

#include "mem/view.h"

/* What it asks of KVM; a fake in the tests. 0 or -errno. */
struct ioevents_ops {
    int (*eventfd)(void *ctx, bool pio, uint64_t addr, unsigned size, bool match, uint64_t value, int fd,
                   bool add);
    /* Both NULL where KVM has no such ring: then every write exits. */
    int (*zone)(void *ctx, bool pio, uint64_t addr, uint64_t size, bool add);
    void (*drain)(void *ctx); /* returns when all that was in the ring has been delivered */
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
