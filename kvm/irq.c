/* SPDX-License-Identifier: MIT
 *
 * Lines and routes: see irq.h. Everything that is not KVM's: the OR over a line's sources, the check of messages, the
 * counts. A route's message is one 64-bit word, address above data (a good address fits in 32 bits, and is never 0), so
 * that who sends needs no lock against who writes.
 */
#include "kvm/irq.h"
#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    MSI_BASE = 0xFEE, /* address bits 31:20 */
    MSI_BASE_SHIFT = 20,
    MSI_DELIVERY_SHIFT = 8, /* of the data, three bits */
};
/* Delivery modes a device may use: fixed, lowest priority, NMI, INIT, ExtINT. SMI needs firmware that is not there; the
 * other two are reserved, and KVM would complain to the host's log about them. */
static const bool delivery_ok[8] = {[0] = true, [1] = true, [4] = true, [5] = true, [7] = true};

struct route {
    _Atomic uint64_t message; /* address << 32 | data; 0: not set */
    _Atomic uint64_t sent, dropped;
    int fd; /* -1: none asked for. route_lock */
};

struct irqs {
    const struct irq_ops *ops;
    void *ctx;
    struct lock line_lock, route_lock; /* never both */
    unsigned asserted[IRQ_LINES];      /* sources at 1; line_lock */
    struct irq_line *sources;          /* line_lock */
    irq_watch_fn *watch;               /* line_lock */
    void *watch_ctx;
    _Atomic uint64_t rises[IRQ_LINES];
    _Atomic uint64_t dropped, refused; /* sends on what is no route; messages that are none */
    _Atomic unsigned n;
    struct route routes[IRQ_ROUTES_MAX];
};

struct irqs *irqs_new(const struct irq_ops *ops, void *ctx)
{
    struct irqs *irqs = calloc(1, sizeof *irqs);
    if (!irqs)
        die("interrupts: %s", strerror(ENOMEM));
    irqs->ops = ops;
    irqs->ctx = ctx;
    lock_init(&irqs->line_lock, LOCK_IRQ, "interrupt lines");
    lock_init(&irqs->route_lock, LOCK_IRQ, "interrupt routes");
    return irqs;
}

void irqs_free(struct irqs *irqs)
{
    if (irqs && irqs->ops->free)
        irqs->ops->free(irqs->ctx);
    free(irqs);
}

/* --- lines */

void irq_line_init(struct irq_line *line, struct irqs *irqs, unsigned gsi, const char *name)
{
    *line = (struct irq_line){.irqs = irqs, .gsi = (uint8_t)(gsi < IRQ_LINES ? gsi : 0), .name = name};
    lock_take(&irqs->line_lock);
    line->next = irqs->sources;
    irqs->sources = line;
    lock_drop(&irqs->line_lock);
}

void irq_line_fini(struct irq_line *line)
{
    struct irqs *irqs = line->irqs;
    if (!irqs)
        return;
    irq_line_set(line, false);
    lock_take(&irqs->line_lock);
    for (struct irq_line **at = &irqs->sources; *at; at = &(*at)->next) {
        if (*at == line) {
            *at = line->next;
            break;
        }
    }
    lock_drop(&irqs->line_lock);
}

/* line_lock held. The change reaches KVM under the lock: the last word about a line is that of its last change. */
static void source_changed(struct irqs *irqs, const struct irq_line *line, unsigned gsi, bool level)
{
    if (level ? irqs->asserted[gsi]++ == 0 : --irqs->asserted[gsi] == 0) {
        if (level)
            atomic_fetch_add_explicit(&irqs->rises[gsi], 1, memory_order_relaxed);
        irqs->ops->line(irqs->ctx, gsi, level);
        if (__builtin_expect(irqs->watch != NULL, 0))
            irqs->watch(irqs->watch_ctx, line->name, gsi, level);
    }
}

void irqs_watch(struct irqs *irqs, irq_watch_fn *fn, void *ctx)
{
    lock_take(&irqs->line_lock);
    irqs->watch = fn;
    irqs->watch_ctx = ctx;
    lock_drop(&irqs->line_lock);
}

void irq_line_set(struct irq_line *line, bool level)
{
    struct irqs *irqs = line->irqs;
    lock_take(&irqs->line_lock);
    if (line->level != level) {
        line->level = level;
        line->rises += level;
        source_changed(irqs, line, line->gsi, level);
    }
    lock_drop(&irqs->line_lock);
}

bool irq_level(const struct irqs *irqs, unsigned gsi)
{
    struct lock *lock = (struct lock *)&irqs->line_lock;
    if (gsi >= IRQ_LINES)
        return false;
    lock_take(lock);
    bool level = irqs->asserted[gsi] != 0;
    lock_drop(lock);
    return level;
}

/* --- routes */

static struct route *route_of(struct irqs *irqs, int gsi)
{
    unsigned i = (unsigned)gsi - IRQ_LINES;
    return i < atomic_load(&irqs->n) ? &irqs->routes[i] : NULL;
}

int irq_route_new(struct irqs *irqs)
{
    int gsi = -1;
    lock_take(&irqs->route_lock);
    unsigned i = atomic_load(&irqs->n);
    if (i < IRQ_ROUTES_MAX) {
        irqs->routes[i].fd = -1;
        atomic_store(&irqs->n, i + 1);
        gsi = (int)i + IRQ_LINES;
    }
    lock_drop(&irqs->route_lock);
    return gsi;
}

static bool message_ok(uint64_t addr, uint32_t data)
{
    return addr >> MSI_BASE_SHIFT == MSI_BASE && delivery_ok[data >> MSI_DELIVERY_SHIFT & 7];
}

/* Stores the message; a route with an eventfd is told to KVM as well. Under the lock, so that two writers leave the
 * same in both places. */
static bool route_store(struct irqs *irqs, struct route *route, int gsi, uint64_t message)
{
    bool ok = true;
    lock_take(&irqs->route_lock);
    if (atomic_load(&route->message) != message) {
        int r = route->fd >= 0 ? irqs->ops->update(irqs->ctx, (unsigned)gsi, (uint32_t)(message >> 32),
                                                   (uint32_t)message)
                               : 0;
        ok = r == 0;
        if (!ok)
            warn("interrupt route %d: KVM_SET_GSI_ROUTING: %s", gsi, strerror(-r));
        atomic_store(&route->message, ok ? message : 0);
    }
    lock_drop(&irqs->route_lock);
    return ok;
}

bool irq_route_set(struct irqs *irqs, int gsi, uint64_t addr, uint32_t data)
{
    struct route *route = route_of(irqs, gsi);
    if (!route)
        return false;
    bool ok = message_ok(addr, data);
    uint64_t message = ok ? addr << 32 | data : 0;
    if (!ok)
        atomic_fetch_add_explicit(&irqs->refused, 1, memory_order_relaxed);
    if (atomic_load(&route->message) == message)
        return ok;
    return route_store(irqs, route, gsi, message) && ok;
}

bool irq_route_send(struct irqs *irqs, int gsi)
{
    struct route *route = route_of(irqs, gsi);
    uint64_t message = route ? atomic_load(&route->message) : 0;
    bool taken = message && irqs->ops->send(irqs->ctx, (uint32_t)(message >> 32), (uint32_t)message);
    _Atomic uint64_t *count = !route ? &irqs->dropped : taken ? &route->sent : &route->dropped;
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    return message;
}

int irq_route_fd(struct irqs *irqs, int gsi)
{
    struct route *route = route_of(irqs, gsi);
    if (!route)
        return -EINVAL;
    lock_take(&irqs->route_lock);
    int r = route->fd;
    if (r < 0) {
        uint64_t message = atomic_load(&route->message);
        r = irqs->ops->fd(irqs->ctx, (unsigned)gsi);
        if (r >= 0 && message) {
            int e = irqs->ops->update(irqs->ctx, (unsigned)gsi, (uint32_t)(message >> 32), (uint32_t)message);
            if (e < 0)
                warn("interrupt route %d: KVM_SET_GSI_ROUTING: %s", gsi, strerror(-e));
        }
        if (r >= 0)
            route->fd = r;
    }
    lock_drop(&irqs->route_lock);
    return r;
}

size_t irq_sources(struct irqs *irqs, struct irq_source *sources, size_t max)
{
    size_t n = 0;
    lock_take(&irqs->line_lock);
    for (const struct irq_line *l = irqs->sources; l; l = l->next, n++)
        if (n < max)
            sources[n] = (struct irq_source){l->name, l->gsi, l->level, l->rises};
    lock_drop(&irqs->line_lock);
    return n;
}

bool irq_route_get(struct irqs *irqs, int gsi, struct irq_route *out)
{
    struct route *route = route_of(irqs, gsi);
    if (!route)
        return false;
    uint64_t message = atomic_load(&route->message);
    lock_take(&irqs->route_lock);
    bool fd = route->fd >= 0;
    lock_drop(&irqs->route_lock);
    *out = (struct irq_route){
        .addr = (uint32_t)(message >> 32),
        .data = (uint32_t)message,
        .sent = atomic_load_explicit(&route->sent, memory_order_relaxed),
        .dropped = atomic_load_explicit(&route->dropped, memory_order_relaxed),
        .fd = fd,
    };
    return true;
}

void irq_stats(const struct irqs *irqs, struct irq_stats *stats)
{
    for (unsigned i = 0; i < IRQ_LINES; i++)
        stats->lines[i] = atomic_load_explicit(&irqs->rises[i], memory_order_relaxed);
    stats->sent = 0;
    stats->dropped = atomic_load_explicit(&irqs->dropped, memory_order_relaxed);
    stats->refused = atomic_load_explicit(&irqs->refused, memory_order_relaxed);
    stats->routes = atomic_load(&irqs->n);
    for (unsigned i = 0; i < stats->routes; i++) {
        stats->sent += atomic_load_explicit(&irqs->routes[i].sent, memory_order_relaxed);
        stats->dropped += atomic_load_explicit(&irqs->routes[i].dropped, memory_order_relaxed);
    }
}
