/* SPDX-License-Identifier: MIT
 *
 * Interrupts that go nowhere but into a log: for boards in unit tests. `struct irqs *irqs = fake_irq_new(&fake);`
 */
#ifndef TESTS_UNIT_FAKE_IRQ_H
#define TESTS_UNIT_FAKE_IRQ_H

#include "kvm/irq.h"
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    FAKE_IRQ_LOG = 256,
};
struct fake_irq {
    bool level[IRQ_LINES];
    unsigned changes[IRQ_LINES];
    unsigned sent; /* messages; the last FAKE_IRQ_LOG are kept at sent % FAKE_IRQ_LOG */
    struct fake_irq_message {
        uint32_t addr, data;
    } log[FAKE_IRQ_LOG];
    bool refuse; /* send() answers that no CPU took it */
    unsigned updates;
    int update_error; /* what update() answers */
    struct fake_irq_message table[IRQ_ROUTES_MAX];
    int fds[IRQ_ROUTES_MAX]; /* 0: none */
};

static void fake_irq_line(void *ctx, unsigned gsi, bool level)
{
    struct fake_irq *f = ctx;
    f->level[gsi] = level;
    f->changes[gsi]++;
}

static bool fake_irq_send(void *ctx, uint32_t addr, uint32_t data)
{
    struct fake_irq *f = ctx;
    f->log[f->sent++ % FAKE_IRQ_LOG] = (struct fake_irq_message){addr, data};
    return !f->refuse;
}

static int fake_irq_fd(void *ctx, unsigned gsi)
{
    struct fake_irq *f = ctx;
    return f->fds[gsi - IRQ_LINES] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int fake_irq_update(void *ctx, unsigned gsi, uint32_t addr, uint32_t data)
{
    struct fake_irq *f = ctx;
    f->updates++;
    if (!f->update_error)
        f->table[gsi - IRQ_LINES] = (struct fake_irq_message){addr, data};
    return f->update_error;
}

static void fake_irq_free(void *ctx)
{
    struct fake_irq *f = ctx;
    for (unsigned i = 0; i < IRQ_ROUTES_MAX; i++)
        if (f->fds[i])
            close(f->fds[i]);
}

static inline struct irqs *fake_irq_new(struct fake_irq *f)
{
    static const struct irq_ops ops = {
        .line = fake_irq_line,
        .send = fake_irq_send,
        .fd = fake_irq_fd,
        .update = fake_irq_update,
        .free = fake_irq_free,
    };
    *f = (struct fake_irq){0};
    return irqs_new(&ops, f);
}

#endif
