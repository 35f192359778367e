/* SPDX-License-Identifier: MIT
 *
 * irq.c's operations on KVM's in-kernel interrupt controllers.
 *
 * KVM has one routing table, written whole. Ours is: IRQ n to the PICs for n < 16; GSI n to pin n of the IOAPIC, but
 * GSI 0 (the PIT's) to pin 2, as on every PC since the first IOAPIC; and one MSI entry for each route that has an eventfd
 * and a message. A write costs a grace period of the readers, so nothing is written that is the same as before.
 *
 * A route's eventfd is tied to its GSI once and stays; while the table has no entry for the GSI, signals are eaten.
 */
#include "kvm/irq.h"
#include "kvm/host/log.h"
#include "kvm/priv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    PIC_LINES = 8, /* each of the two */
    PIT_GSI = 0,
    PIT_PIN = 2,
    CASCADE = 2,
    FIXED_MAX = 2 * PIC_LINES + IRQ_LINES,
};

struct irq_kvm {
    struct vm *vm;
    struct kvm_irq_routing *table; /* the fixed entries, then the MSI entries in no order */
    unsigned fixed;
    int fds[IRQ_ROUTES_MAX]; /* by GSI - IRQ_LINES; -1: none */
};

static void add_pin(struct kvm_irq_routing *t, unsigned gsi, unsigned chip, unsigned pin)
{
    t->entries[t->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = {.irqchip = chip, .pin = pin}
    };
}

static void add_fixed(struct kvm_irq_routing *t)
{
    for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++) {
        if (gsi < 2 * PIC_LINES && gsi != CASCADE)
            add_pin(t, gsi, gsi < PIC_LINES ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                    gsi % PIC_LINES);
        if (gsi != PIT_PIN)
            add_pin(t, gsi, KVM_IRQCHIP_IOAPIC, gsi == PIT_GSI ? PIT_PIN : gsi);
    }
}

/* Before the chips are there (vm_chips()) the table waits for them in k->vm. */
static int write_table(struct irq_kvm *k)
{
    k->vm->routing = k->table;
    if (!k->vm->chips)
        return 0;
    return ioctl(k->vm->fd, KVM_SET_GSI_ROUTING, k->table) < 0 ? -errno : 0;
}

static void kvm_line(void *ctx, unsigned gsi, bool level)
{
    struct irq_kvm *k = ctx;
    struct kvm_irq_level l = {.irq = gsi, .level = level};
    if (ioctl(k->vm->fd, KVM_IRQ_LINE, &l) < 0)
        warn("interrupt line %u: KVM_IRQ_LINE: %s", gsi, strerror(errno));
}

static bool kvm_send(void *ctx, uint32_t addr, uint32_t data)
{
    struct irq_kvm *k = ctx;
    struct kvm_msi msi = {.address_lo = addr, .data = data};
    return ioctl(k->vm->fd, KVM_SIGNAL_MSI, &msi) > 0; /* 0: no CPU there, or its APIC is off */
}

static int kvm_fd(void *ctx, unsigned gsi)
{
    struct irq_kvm *k = ctx;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi};
    if (ioctl(k->vm->fd, KVM_IRQFD, &irqfd) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    k->fds[gsi - IRQ_LINES] = fd;
    return fd;
}

static int kvm_update(void *ctx, unsigned gsi, uint32_t addr, uint32_t data)
{
    struct irq_kvm *k = ctx;
    struct kvm_irq_routing *t = k->table;
    unsigned i = k->fixed;

    while (i < t->nr && t->entries[i].gsi != gsi)
        i++;
    if (addr) {
        t->nr += i == t->nr;
        t->entries[i] = (struct kvm_irq_routing_entry){
            .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI, .u.msi = {.address_lo = addr, .data = data}
        };
    } else {
        if (i == t->nr)
            return 0;
        t->entries[i] = t->entries[--t->nr];
    }
    return write_table(k);
}

static void kvm_free(void *ctx)
{
    struct irq_kvm *k = ctx;
    for (unsigned i = 0; i < IRQ_ROUTES_MAX; i++)
        if (k->fds[i] >= 0)
            close(k->fds[i]);
    k->vm->routing = NULL;
    free(k->table);
    free(k);
}

static const struct irq_ops kvm_ops = {
    .line = kvm_line,
    .send = kvm_send,
    .fd = kvm_fd,
    .update = kvm_update,
    .free = kvm_free,
};

struct irqs *irqs_kvm(struct vm *vm)
{
    struct irq_kvm *k = calloc(1, sizeof *k);
    struct kvm_irq_routing *table =
        calloc(1, sizeof *table + (FIXED_MAX + IRQ_ROUTES_MAX) * sizeof table->entries[0]);
    if (!k || !table)
        die("interrupts: %s", strerror(ENOMEM));
    k->vm = vm;
    k->table = table;
    memset(k->fds, 0xff, sizeof k->fds);
    add_fixed(table);
    k->fixed = table->nr;
    int r = write_table(k);
    if (r < 0)
        die("/dev/kvm: KVM_SET_GSI_ROUTING: %s", strerror(-r));
    return irqs_new(&kvm_ops, k);
}
