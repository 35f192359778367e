// SPDX-License-Identifier: MIT
/* Who holds the guest: see include/guest/hold.h. */
#include "guest/hold.h"

#include "kvm/host/loop.h"
#include "kvm/vcpu.h"

bool hold_take(struct hold *h, enum holder who)
{
    if (h->by & who)
        return false;
    if (!h->by) {
        vcpus_pause(h->vcpus);
        h->since = loop_now(h->loop);
        if (h->changed)
            h->changed(h->ctx, true);
    }
    h->by |= who;
    return true;
}

bool hold_release(struct hold *h, enum holder who)
{
    if (!(h->by & who))
        return false;
    h->by &= ~(unsigned)who;
    if (h->by)
        return true;
    h->held_ns += loop_now(h->loop) - h->since;
    h->since = 0;
    if (h->changed)
        h->changed(h->ctx, false);
    vcpus_resume(h->vcpus);
    return true;
}

uint64_t hold_now(const struct hold *h)
{
    return (h->since ? h->since : loop_now(h->loop)) - h->held_ns;
}
