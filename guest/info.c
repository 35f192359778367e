// SPDX-License-Identifier: MIT
/* A board in words: see include/guest/info.h. Nothing is kept for it: all comes from the tables and bytes that the devices
 * have anyway. */
#include "guest/info.h"

#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"
#include "kvm/irq.h"
#include "mem/device.h"
#include "pci/bus.h"
#include "pci/device.h"
#include "pci/dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP = 2, /* columns a level */
};

/* The function that this device is, or NULL. */
static struct pci_device *function_of(const struct board *board, const struct device *dev)
{
    for (unsigned i = 0; board->pci && i < PCI_DEVFNS; i++) {
        struct pci_device *pci = pci_bus_find(board->pci, i);
        if (pci && &pci->dev == dev)
            return pci;
    }
    return NULL;
}

/* --- qtree */

static void put_bars(const struct pci_device *pci, FILE *out, int indent)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct region *r = pci->bars[i].region;
        if (!r)
            continue;
        fprintf(out, "%*s", indent, "");
        fprintf(out, i == PCI_ROM ? "rom" : "bar %u", i);
        fprintf(out, ": %s at 0x%" PRIx64 " [0x%" PRIx64 "] %s%s\n",
                pci->bars[i].kind == PCI_BAR_IO ? "i/o" : "mem", r->offset, r->offset + pci->bars[i].size - 1,
                r->name, r->enabled ? "" : " [disabled]");
    }
}

static void put_banks(const struct device *dev, FILE *out, int indent)
{
    for (unsigned i = 0; i < dev->n_maps; i++) {
        const struct region *r = &dev->maps[i].region;
        if (r->parent)
            fprintf(out, "%*s%s at 0x%" PRIx64 " [0x%" PRIx64 "] %s%s\n", indent, "",
                    r->parent == dev->board->io_root ? "i/o" : "mem", r->offset, r->offset + r->size - 1,
                    r->name, r->enabled ? "" : " [disabled]");
        else
            fprintf(out, "%*sregisters %s\n", indent, "", r->name);
    }
}

static void put_device(struct board *board, struct device *dev, FILE *out, int indent)
{
    const struct pci_device *pci = function_of(board, dev);
    fprintf(out, "%*sdev: %s, id \"%s\"", indent, "", dev->class->name, dev->id);
    if (pci)
        fprintf(out, ", addr %02x.%u", pci_slot(pci), pci->devfn & 7u);
    fputc('\n', out);
    indent += STEP;
    if (dev->class->options)
        opts_values(out, dev->class->options, dev, indent);
    if (!pci) {
        put_banks(dev, out, indent);
        return;
    }
    const uint8_t *c = pci->config; /* of these bytes, none changes */
    fprintf(out, "%*sclass %02x%02x, PCI %04x:%04x, subsystem %04x:%04x\n", indent, "", c[PCI_CLASS_CODE + 2],
            c[PCI_CLASS_CODE + 1], pci_get16(c + PCI_VENDOR_ID), pci_get16(c + PCI_DEVICE_ID),
            pci_get16(c + PCI_SUBSYSTEM_VENDOR_ID), pci_get16(c + PCI_SUBSYSTEM_ID));
    put_bars(pci, out, indent);
}

const char *info_qtree(struct board *board, int argc, char **argv, FILE *out)
{
    const struct pci_device *bridge = board->pci ? pci_bus_find(board->pci, 0) : NULL;
    (void)argv;
    if (argc)
        return "info qtree takes no further words";
    topology_take();
    fputs("bus: board\n", out);
    for (struct device *dev = board->devices; dev; dev = dev->next) {
        const struct pci_device *pci = function_of(board, dev);
        if (pci && pci != bridge)
            continue; /* below the bridge */
        put_device(board, dev, out, STEP);
        if (!pci)
            continue;
        fprintf(out, "%*sbus: pci\n", 2 * STEP, "");
        for (unsigned i = 1; i < PCI_DEVFNS; i++)
            if (pci_bus_find(board->pci, i))
                put_device(board, &pci_bus_find(board->pci, i)->dev, out, 3 * STEP);
    }
    topology_drop();
    return NULL;
}

/* --- pci */

static const char *no_device(struct board *board, const char *id)
{
    char ids[256] = "";
    size_t at = 0;
    for (const struct device *d = board->devices; d && at < sizeof ids - sizeof d->id - 2; d = d->next)
        at += (size_t)snprintf(ids + at, sizeof ids - at, "%s%s", at ? " " : "", d->id);
    return ctl_say("%.40s: no such device (there are %s)", id, ids);
}

const char *info_pci(struct board *board, int argc, char **argv, FILE *out)
{
    bool hex = false;
    struct pci_device *one = NULL;
    for (int i = 0; i < argc; i++) {
        struct device *dev;
        if (!strcmp(argv[i], "-x"))
            hex = true;
        else if (argv[i][0] == '-' || one)
            return "info pci takes -x and the id of one device";
        else if (!(dev = device_find(board, argv[i])))
            return no_device(board, argv[i]);
        else if (!(one = function_of(board, dev)))
            return ctl_say("%s is no PCI device", dev->id);
    }
    topology_take();
    for (unsigned i = 0; board->pci && i < PCI_DEVFNS; i++) {
        struct pci_device *pci = pci_bus_find(board->pci, i);
        if (pci && (!one || pci == one))
            pci_dump(pci, out, hex);
    }
    topology_drop();
    return NULL;
}

/* --- regs */

const char *info_regs(struct board *board, int argc, char **argv, FILE *out)
{
    if (argc != 1)
        return "info regs takes the id of one device (`info qtree` lists them)";
    struct device *dev = device_find(board, argv[0]);
    if (!dev)
        return no_device(board, argv[0]);
    device_dump(dev, out);
    return NULL;
}

/* --- irq */

static int source_order(const void *a, const void *b)
{
    const struct irq_source *x = a, *y = b;
    return x->gsi != y->gsi ? (int)x->gsi - (int)y->gsi : strcmp(x->name, y->name);
}

const char *info_irq(struct board *board, int argc, char **argv, FILE *out)
{
    enum {
        SOURCES = PCI_DEVFNS + 64,
    };
    (void)argv;
    if (argc)
        return "info irq takes no further words";
    struct irq_source *sources = calloc(SOURCES, sizeof *sources);
    if (!sources)
        return "out of memory";
    size_t n = irq_sources(board->irqs, sources, SOURCES), i = 0;
    if (n > SOURCES)
        n = SOURCES;
    struct irq_stats stats;
    irq_stats(board->irqs, &stats);
    qsort(sources, n, sizeof *sources, source_order);
    fputs("line  level  rises       sources (level, rises)\n", out);
    for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++) {
        if (i == n || sources[i].gsi != gsi)
            continue; /* nobody's; 0 and 2 are KVM's own */
        fprintf(out, "%4u  %5u  %-10" PRIu64 " ", gsi, irq_level(board->irqs, gsi), stats.lines[gsi]);
        for (; i < n && sources[i].gsi == gsi; i++)
            fprintf(out, " %s (%u, %" PRIu64 ")", sources[i].name, sources[i].level, sources[i].rises);
        fputc('\n', out);
    }
    fprintf(out,
            "messages: %" PRIu64 " sent, %" PRIu64 " dropped, %" PRIu64
            " that were none; %u routes, GSI %u up\n",
            stats.sent, stats.dropped, stats.refused, stats.routes, IRQ_LINES);
    free(sources);
    topology_take();
    for (unsigned f = 0; board->pci && f < PCI_DEVFNS; f++)
        if (pci_bus_find(board->pci, f))
            pci_dump_irqs(pci_bus_find(board->pci, f), out);
    topology_drop();
    return NULL;
}
