// SPDX-License-Identifier: MIT
/* `vmlet info NAME stats`: what was discarded and refused, by name (mem/watch.h); and what PCI and the spaces count for
 * themselves. See include/guest/info.h. */
#include "guest/info.h"

#include "guest/lint.h"
#include "kvm/host/log.h"
#include "mem/watch.h"
#include "pci/bus.h"
#include "pci/device.h"

#include <inttypes.h>
#include <string.h>

static void count(FILE *out, const char *what, uint64_t n)
{
    if (n)
        fprintf(out, "  %s: %" PRIu64 "\n", what, n);
}

static void pci_stats(const struct board *board, const struct device *dev, FILE *out)
{
    for (unsigned i = 0; board->pci && i < PCI_DEVFNS; i++) {
        struct pci_device *pci = pci_bus_find(board->pci, i);
        if (!pci || &pci->dev != dev)
            continue;
        lock_take(&pci->dev.lock);
        count(out, "interrupt messages sent", pci->irq_sent);
        count(out, "irq held: masked", pci->irq_held);
        count(out, "irq dropped: bus master off, or no such vector", pci->irq_dropped);
        lock_drop(&pci->dev.lock);
    }
}

const char *info_stats(struct board *board, int argc, char **argv, FILE *out)
{
    struct device *one = argc == 1 ? device_find(board, argv[0]) : NULL;
    if (argc > 1 || (argc == 1 && !one))
        return "info stats takes nothing, or the id of one device (`info qtree` lists them)";
    for (struct device *dev = board->devices; dev; dev = dev->next) {
        if (one && dev != one)
            continue;
        device_stats(dev, out);
        pci_stats(board, dev, out);
        lock_take(&dev->lock);
        lint_stats(dev, out);
        lock_drop(&dev->lock);
    }
    if (one)
        return NULL;
    fputs("machine:\n", out);
    count(out, "accesses to no memory", atomic_load_explicit(&board->memory->nowhere, memory_order_relaxed));
    count(out, "accesses to no port", atomic_load_explicit(&board->io->nowhere, memory_order_relaxed));
    count(out, "things that no driver may do", log_guest_bugs());
    return NULL;
}
