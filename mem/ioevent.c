// SPDX-License-Identifier: MIT
/* ioeventfds and coalesced zones: see include/mem/ioevent.h. Two listeners, one for each space, that pass on what they
 * are told; what KVM refused is remembered nowhere: its deletion fails as silently as the slow way works. */
#include "mem/ioevent.h"

#include "kvm/host/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARNINGS = 10, /* a guest can move its BARs as often as it likes */
};

struct half {
    struct listener listener;
    struct ioevents *owner;
    bool pio;
};

struct ioevents {
    struct half memory, io;
    const struct ioevents_ops *ops;
    void *ctx;
    unsigned refused;
    struct ioevents *next;
};

_Atomic unsigned ioevents_zones;
/* Made at set-up, before there are threads. */
static struct ioevents *all;

void ioevents_drain_all(void)
{
    for (struct ioevents *e = all; e; e = e->next)
        if (e->ops->drain)
            e->ops->drain(e->ctx);
}

static struct half *half_of(struct listener *l)
{
    return (struct half *)l; /* its first member */
}

static int tell_eventfd(struct half *h, const struct view_eventfd *e, bool add)
{
    return h->owner->ops->eventfd(h->owner->ctx, h->pio, e->addr, e->e.size, e->e.match, e->e.value, e->e.fd,
                                  add);
}

static void on_eventfd_add(struct listener *l, const struct view_eventfd *e)
{
    struct half *h = half_of(l);
    int error = tell_eventfd(h, e, true);
    if (error < 0 && h->owner->refused++ < WARNINGS)
        warn("%s: ioeventfd of %u bytes at %s 0x%llx: %s (its writes take the slow way)", e->region->name,
             e->e.size, h->pio ? "port" : "address", (unsigned long long)e->addr, strerror(-error));
}

static void on_eventfd_del(struct listener *l, const struct view_eventfd *e)
{
    tell_eventfd(half_of(l), e, false);
}

static void on_zone_add(struct listener *l, const struct view_zone *z)
{
    struct half *h = half_of(l);
    if (!h->owner->ops->zone)
        return;
    int error = h->owner->ops->zone(h->owner->ctx, h->pio, z->first, z->last - z->first + 1, true);
    if (error < 0 && error != -EOPNOTSUPP && h->owner->refused++ < WARNINGS)
        warn("%s: coalescing at %s 0x%llx: %s (its writes exit one by one)", z->region->name,
             h->pio ? "port" : "address", (unsigned long long)z->first, strerror(-error));
    if (error == 0)
        atomic_fetch_add_explicit(&ioevents_zones, 1, memory_order_relaxed);
}

/* First KVM puts no more of them into the ring, then the ring is emptied: the old view is still published, so they
 * reach the region that they were written to. */
static void on_zone_del(struct listener *l, const struct view_zone *z)
{
    struct half *h = half_of(l);
    if (!h->owner->ops->zone)
        return;
    int error = h->owner->ops->zone(h->owner->ctx, h->pio, z->first, z->last - z->first + 1, false);
    ioevents_drain();
    if (error == 0)
        atomic_fetch_sub_explicit(&ioevents_zones, 1, memory_order_relaxed);
}

static void on_region_del(struct listener *l, const struct range *r)
{
    (void)l;
    (void)r;
    ioevents_drain();
}

static const struct listener_ops listener_ops = {
    .region_del = on_region_del,
    .eventfd_del = on_eventfd_del,
    .eventfd_add = on_eventfd_add,
    .coalesced_del = on_zone_del,
    .coalesced_add = on_zone_add,
};

static void start(struct half *h, struct ioevents *owner, struct space *space, bool pio)
{
    *h = (struct half){
        .listener = {.ops = &listener_ops, .priority = 20},
          .owner = owner, .pio = pio
    };
    listener_register(space, &h->listener);
}

struct ioevents *ioevents_new(struct space *memory, struct space *io, const struct ioevents_ops *ops,
                              void *ctx)
{
    struct ioevents *e = calloc(1, sizeof *e);
    if (!e)
        die("ioeventfds: no memory");
    e->ops = ops;
    e->ctx = ctx;
    e->next = all;
    all = e;
    start(&e->memory, e, memory, false);
    start(&e->io, e, io, true);
    return e;
}

void ioevents_free(struct ioevents *e)
{
    if (!e)
        return;
    if (e->memory.listener.space)
        listener_unregister(&e->memory.listener);
    if (e->io.listener.space)
        listener_unregister(&e->io.listener);
    struct ioevents **at = &all;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
}
