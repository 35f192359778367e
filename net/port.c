// SPDX-License-Identifier: MIT
/* Ports: see include/net/port.h.
 *
 * A frame goes one of two ways. Straight: the receiver's owner is not on the stack, no other card's lock is in the
 * way, and nothing waits in front of it. Put off: copied into the receiver's ring, as it was sent, and delivered by
 * the port's task from the loop, where nothing is on the stack. Treatment for the receiver (checksum, segments)
 * happens at delivery, so both ways share it.
 *
 * A train of segments may be stopped in the middle by BUSY. Then the sender is told SENT, and the frame goes on
 * from the ring at the segment that was refused: the ring is empty on the straight way, so there is always room. */
#include "net/port.h"

#include "kvm/host/ring.h"
#include <stdlib.h>
#include <string.h>

#include "net/offload.h"

/* In front of each frame in the ring. */
struct record {
    uint32_t len;
    uint32_t sent; /* segments of it that the receiver has */
    struct port_meta meta;
};

static const char *const drop_names[PORT_DROPS] = {
    [PORT_DROP_NONE] = "none",
    [PORT_DROP_UNPLUGGED] = "unplugged",
    [PORT_DROP_SHORT] = "shorter than an Ethernet header",
    [PORT_DROP_LONG] = "too long",
    [PORT_DROP_CSUM] = "checksum request beyond the headers",
    [PORT_DROP_GSO_TYPE] = "segmentation type does not fit the headers",
    [PORT_DROP_GSO_SIZE] = "segment size",
    [PORT_DROP_HEADERS] = "segmentation without whole headers",
    [PORT_DROP_RECEIVER] = "dropped by the receiver",
};

const char *port_drop_name(enum port_drop why)
{
    return (unsigned)why < PORT_DROPS ? drop_names[why] : "?";
}

/* --- the owner's code is on the stack between these two */

static void owner_enter(struct port *port)
{
    port->active++;
    if (port->enter) {
        port->net->cards++;
        port->enter(port->guard_ctx);
    }
}

static void owner_leave(struct port *port)
{
    if (port->enter) {
        port->leave(port->guard_ctx);
        port->net->cards--;
    }
    port->active--;
}

static bool must_put_off(const struct port *to)
{
    return to->active || (to->enter && to->net->cards);
}

/* --- the ring */

static bool ring_add(struct port *p, const struct iovec *iov, int n, const struct port_meta *meta, size_t len,
                     unsigned sent)
{
    struct record rec = {(uint32_t)len, sent, *meta};
    if (sizeof rec + len > PORT_RING_BYTES - p->ring_used)
        return false;
    size_t at = (p->ring_head + p->ring_used) % PORT_RING_BYTES;
    ring_put(p->ring, PORT_RING_BYTES, at, &rec, sizeof rec);
    at += sizeof rec;
    for (int i = 0; i < n; i++) {
        ring_put(p->ring, PORT_RING_BYTES, at % PORT_RING_BYTES, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    p->ring_used += sizeof rec + len;
    return true;
}

/* The oldest frame, as one or two pieces of the ring. */
static int ring_first(const struct port *p, struct record *rec, struct iovec iov[2])
{
    ring_get(p->ring, PORT_RING_BYTES, p->ring_head, rec, sizeof *rec);
    size_t at = (p->ring_head + sizeof *rec) % PORT_RING_BYTES;
    size_t first = PORT_RING_BYTES - at < rec->len ? PORT_RING_BYTES - at : rec->len;
    iov[0] = (struct iovec){p->ring + at, first};
    iov[1] = (struct iovec){p->ring, rec->len - first};
    return iov[1].iov_len ? 2 : 1;
}

static void ring_drop_first(struct port *p, const struct record *rec)
{
    p->ring_head = (p->ring_head + sizeof *rec + rec->len) % PORT_RING_BYTES;
    p->ring_used -= sizeof *rec + rec->len;
}

/* --- delivery */

static enum port_result receive(struct port *to, const struct iovec *iov, int n, const struct port_meta *meta)
{
    /* blocked is set before the call: the owner may unblock it from another thread before it returns */
    atomic_store_explicit(&to->blocked, true, memory_order_relaxed);
    owner_enter(to);
    enum port_result result = to->ops->receive(to, iov, n, meta);
    owner_leave(to);
    if (result == PORT_SENT)
        atomic_store_explicit(&to->blocked, false, memory_order_relaxed);
    return result;
}

/* Whether a receiver would drop every segment of a frame: then it is not worth cutting up. */
static bool closed(struct port *to)
{
    if (!to->ops->closed)
        return false;
    owner_enter(to);
    bool is = to->ops->closed(to);
    owner_leave(to);
    return is;
}

/* Gives the frame to its receiver in the form that it accepts, from segment *sent on. On BUSY *sent says how far it got.
 * A frame that cannot be given in any form is dropped: *why. */
static enum port_result deliver(struct port *to, const struct iovec *iov, int n, const struct port_meta *meta,
                                unsigned *sent, enum port_drop *why)
{
    uint8_t accepts = atomic_load_explicit(&to->accepts, memory_order_relaxed);
    *why = PORT_DROP_NONE;
    if (*sent == 0 && offload_accepted(meta, accepts)) {
        struct port_meta as_is = *meta;
        as_is.flags &= accepts & PORT_ACCEPT_CSUM ? PORT_NEEDS_CSUM | PORT_DATA_VALID : 0;
        return receive(to, iov, n, &as_is);
    }

    static const struct port_meta finished, summed = {.flags = PORT_SUMMED};
    struct offload o;
    uint8_t header[OFFLOAD_HEADER_MAX];
    struct iovec out[PORT_IOV_MAX + 1];
    if ((*why = offload_plan(&o, iov, n, meta)) != PORT_DROP_NONE)
        return PORT_SENT;
    if (o.segments > 1 && closed(to))
        return PORT_SENT;
    const struct port_meta *made = o.gso && accepts & PORT_ACCEPT_SUMMED ? &summed : &finished;
    for (; *sent < o.segments; ++*sent) {
        int pieces = offload_segment(&o, *sent, header, iov, n, out);
        if (receive(to, out, pieces, made) == PORT_BUSY)
            return PORT_BUSY;
    }
    return PORT_SENT;
}

static enum port_result busy(struct port *from, struct port *to)
{
    to->peer_waits = from->peer == to; /* unless the plug was pulled meanwhile */
    from->busy++;
    return PORT_BUSY;
}

static enum port_result dropped(struct port *from, enum port_drop why)
{
    from->drops[why]++;
    return PORT_SENT;
}

static enum port_result send_to(struct port *from, struct port *to, const struct iovec *iov, int n,
                                const struct port_meta *meta, size_t len)
{
    unsigned sent = 0;
    enum port_drop why;
    if (must_put_off(to)) {
        if (!ring_add(to, iov, n, meta, len, 0))
            return busy(from, to);
        loop_task_post(&to->flush);
    } else {
        if (to->ring_used || atomic_load_explicit(&to->blocked, memory_order_acquire))
            return busy(from, to);
        if (deliver(to, iov, n, meta, &sent, &why) == PORT_BUSY) {
            if (sent == 0)
                return busy(from, to);
            if (!ring_add(to, iov, n, meta, len, sent)) /* cannot be: it is empty */
                return dropped(from, PORT_DROP_RECEIVER);
        }
        if (why != PORT_DROP_NONE)
            return dropped(from, why);
    }
    from->frames++;
    from->bytes += len;
    if (from->watch)
        from->watch->frame(from->watch, iov, n, meta);
    if (to->watch)
        to->watch->frame(to->watch, iov, n, meta);
    return PORT_SENT;
}

enum port_result port_send(struct port *from, const struct iovec *iov, int n, const struct port_meta *meta)
{
    struct port *to = from->peer;
    size_t len = n < 0 || n > PORT_IOV_MAX ? SIZE_MAX : offload_length(iov, n);
    if (!to)
        return dropped(from, PORT_DROP_UNPLUGGED);
    if (len < PORT_HEADER)
        return dropped(from, PORT_DROP_SHORT);
    if (len > PORT_FRAME_MAX)
        return dropped(from, PORT_DROP_LONG);

    /* The sender is on the stack, and if it is a card, so is its lock. */
    from->active++;
    from->net->cards += from->enter != NULL;
    enum port_result result = send_to(from, to, iov, n, meta, len);
    from->net->cards -= from->enter != NULL;
    from->active--;
    return result;
}

static void tell_ready(struct port *port)
{
    if (!port->ops->ready)
        return;
    owner_enter(port);
    port->ops->ready(port);
    owner_leave(port);
}

/* Task on the loop: nobody's code is on the stack. */
static void flush(void *arg)
{
    struct port *to = arg;
    for (int budget = PORT_BUDGET; to->ring_used; budget--) {
        struct record rec;
        struct iovec iov[2];
        enum port_drop why;
        if (atomic_load_explicit(&to->blocked, memory_order_acquire))
            return;
        if (budget == 0) {
            loop_task_post(&to->flush); /* others want to run as well */
            return;
        }
        int n = ring_first(to, &rec, iov);
        unsigned sent = rec.sent;
        if (deliver(to, iov, n, &rec.meta, &sent, &why) == PORT_BUSY) {
            if (to->ring_used) { /* not if the receiver pulled its own plug */
                rec.sent = sent;
                ring_put(to->ring, PORT_RING_BYTES, to->ring_head, &rec, sizeof rec);
            }
            return;
        }
        if (why != PORT_DROP_NONE && to->peer)
            dropped(to->peer, why);
        if (to->ring_used)
            ring_drop_first(to, &rec);
    }
    if (to->peer_waits && to->peer && !atomic_load_explicit(&to->blocked, memory_order_acquire)) {
        to->peer_waits = false;
        tell_ready(to->peer);
    }
}

void port_ready(struct port *port)
{
    atomic_store_explicit(&port->blocked, false, memory_order_release);
    loop_task_post(&port->flush);
}

void port_accept(struct port *port, uint8_t accepts)
{
    atomic_store_explicit(&port->accepts, accepts, memory_order_relaxed);
}

void port_drop(struct port *receiver)
{
    if (receiver->peer)
        receiver->peer->drops[PORT_DROP_RECEIVER]++;
}

/* --- set-up */

void net_init(struct net *net, struct loop *loop)
{
    *net = (struct net){.loop = loop};
}

bool port_init(struct port *port, struct net *net, const char *name, const struct port_ops *ops)
{
    *port = (struct port){.ops = ops, .name = name, .net = net};
    port->ring = malloc(PORT_RING_BYTES); /* pages are real only once they are used */
    loop_task_init(net->loop, &port->flush, flush, port);
    return port->ring != NULL;
}

void port_guard(struct port *port, void (*enter)(void *), void (*leave)(void *), void *ctx)
{
    port->enter = enter;
    port->leave = leave;
    port->guard_ctx = ctx;
}

void port_connect(struct port *a, struct port *b)
{
    port_disconnect(a);
    port_disconnect(b);
    a->peer = b;
    b->peer = a;
}

/* Its peer is gone: what was on the way is lost, and a sender that waits hears of it, to find the plug pulled. */
static void unplug(struct port *port)
{
    port->peer = NULL;
    port->ring_head = port->ring_used = 0;
    port->peer_waits = false;
}

void port_disconnect(struct port *port)
{
    struct port *peer = port->peer;
    if (!peer)
        return;
    bool port_owed = peer->peer_waits, peer_owed = port->peer_waits;
    unplug(port);
    unplug(peer);
    if (port_owed)
        tell_ready(port);
    if (peer_owed)
        tell_ready(peer);
}

void port_free(struct port *port)
{
    port_disconnect(port);
    loop_task_cancel(&port->flush);
    free(port->ring);
    port->ring = NULL;
}
