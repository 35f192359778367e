/* SPDX-License-Identifier: MIT
 *
 * Interrupts from devices to the guest: 24 lines and any number of MSI routes, behind a const table of
 * operations, so that a whole board runs in a unit test on a fake (tests/unit/fake_irq.h).
 *
 * Lines: GSI n is pin n of the IOAPIC and, below 16, IRQ n of the PICs (GSI 0 and 2 belong to PIT and
 * cascade). A line is the OR of its sources; each source (struct irq_line, embedded in its device) has its
 * own level, ISA lines too. Edge or level is the IOAPIC's choice, not ours: an edge-triggered source sets its
 * level to 1 and back to 0.
 *
 * Routes: one per MSI or MSI-X vector of a function, taken once, its address and data updated in place; the
 * number is the GSI that KVM's tables and irqfds use (24 and up). irq_route_send() goes straight to the
 * kernel (KVM_SIGNAL_MSI); only a route whose eventfd was asked for is in KVM's routing table, and that table
 * is written anew only when the address or data of such a route really changes. So a guest that rewrites or
 * masks one vector a million times costs neither memory nor, without an eventfd, a system call.
 *
 * An address that is no MSI address (0xFEExxxxx), or a delivery mode that no device may use (SMI, reserved),
 * is refused here and never reaches KVM; the route then sends nothing and counts.
 *
 * Threads: all functions from any thread. irq_line_set(), irq_route_new() and irq_route_fd() take LOCK_IRQ;
 * so does irq_route_set() for a route with an eventfd. irq_route_send() takes no lock.
 *
 * Sources: Intel SDM 3A, 11.11 (MSI address and data); Linux Documentation/virt/kvm/api.rst 4.25
 * KVM_IRQ_LINE, 4.52 KVM_SET_GSI_ROUTING, 4.75 KVM_IRQFD, 4.70 KVM_SIGNAL_MSI.
 */
#ifndef KVM_IRQ_H
#define KVM_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;
struct irqs;

enum {
    IRQ_LINES = 24,
    IRQ_ROUTES_MAX = 2048, /* all functions' vectors together */
};

struct irq_ops {
    /* Called with LOCK_IRQ held, on changes of the ORed level only. */
    void (*line)(void *ctx, unsigned gsi, bool level);
    /* Sends one message; address and data are checked. Returns whether a CPU took it. */
    bool (*send)(void *ctx, uint32_t addr, uint32_t data);
    /* LOCK_IRQ held. An eventfd that sends route gsi's message when it is written; the caller keeps it open
     * for ever. -errno on failure. */
    int (*fd)(void *ctx, unsigned gsi);
    /* LOCK_IRQ held. The message of a route that has an eventfd changed; addr 0: it sends nothing now. 0 or
     * -errno. */
    int (*update)(void *ctx, unsigned gsi, uint32_t addr, uint32_t data);
    void (*free)(void *ctx); /* may be NULL */
};

struct irqs *irqs_new(const struct irq_ops *ops, void *ctx) __attribute__((warn_unused_result));
/* The real one. Made before vcpus_new(), it does nothing until then: no line may be raised and no eventfd asked for.
 * irqs_free() before vm_close(). */
struct irqs *irqs_kvm(struct vm *vm) __attribute__((warn_unused_result));
void irqs_free(struct irqs *irqs);

/* --- lines */
struct irq_line {
    struct irqs *irqs;
    const char *name; /* of the source, for `info irq` */
    struct irq_line *next;
    uint64_t rises;
    uint8_t gsi;
    bool level;
};
/* Level 0; gsi < IRQ_LINES. Once a line; it and its name live as long as irqs. */
void irq_line_init(struct irq_line *line, struct irqs *irqs, unsigned gsi, const char *name);
void irq_line_fini(struct irq_line *line); /* its device goes; one never made: nothing */
void irq_line_set(struct irq_line *line, bool level);
bool irq_level(const struct irqs *irqs, unsigned gsi); /* the OR; for `info irq` */

/* For traces: told of each change of a line's level, with the source that made it; LOCK_IRQ held. NULL: nobody any more. */
typedef void irq_watch_fn(void *ctx, const char *source, unsigned gsi, bool level);
void irqs_watch(struct irqs *irqs, irq_watch_fn *fn, void *ctx);

/* --- MSI routes */
/* A GSI from IRQ_LINES up; -1 when IRQ_ROUTES_MAX are taken. Set-up only. Sends nothing until set. */
int irq_route_new(struct irqs *irqs);
/* false: refused (see above), the route sends nothing until it is set to something better. Also refused: a
 * failure of KVM's (warned about). Same address and data as before: no cost. */
bool irq_route_set(struct irqs *irqs, int gsi, uint64_t addr, uint32_t data)
    __attribute__((warn_unused_result));
/* Sends the message now; false: dropped and counted, because the route is not set, or to no message. */
bool irq_route_send(struct irqs *irqs, int gsi);
/* The route's eventfd, made at the first call, for who signals without us (vhost, VFIO, a thread that has the
 * fd): a write of 1 sends. The same fd for the life of the VM, closed by irqs_free(). -errno. */
int irq_route_fd(struct irqs *irqs, int gsi);

/* For `info irq`, a snapshot: the sources of all lines, the last made first; returns how many there are. */
struct irq_source {
    const char *name;
    unsigned gsi;
    bool level;
    uint64_t rises;
};
size_t irq_sources(struct irqs *irqs, struct irq_source *sources, size_t max);
/* A route: its message (addr 0: none), what irq_route_send() did with it, whether it has an eventfd (what goes out by
 * that is KVM's affair, and counted by nobody). false: no such route. */
struct irq_route {
    uint32_t addr, data;
    uint64_t sent, dropped;
    bool fd;
};
bool irq_route_get(struct irqs *irqs, int gsi, struct irq_route *route);

struct irq_stats {
    uint64_t lines[IRQ_LINES]; /* rises */
    uint64_t sent, dropped, refused;
    unsigned routes;
};
void irq_stats(const struct irqs *irqs, struct irq_stats *stats);

#endif
