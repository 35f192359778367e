// SPDX-License-Identifier: MIT
/* Slots and first addresses: see include/pci/bus.h. */
#include "pci/bus.h"

#include <ctype.h>
#include <stdlib.h>

#include "pci/device.h"
#include "pci/map.h"

const struct opt pci_bus_options[] = {
    OPT_STRING(struct pci_device, addr, "addr", 0, "SLOT[.FUNCTION]",
               "place on the PCI bus, hexadecimal as lspci shows it"),
    OPT_END,
};

static const struct region_ops nothing_ops = {.sizes = 1 | 2 | 4 | 8};

void pci_bus_init(struct pci_bus *bus, struct board *board)
{
    region_init_container(&bus->memory, "pci", REGION_ALL);
    region_init_container(&bus->io, "pci-io", 0x10000);
    region_init_io(&bus->apic_hole, "apics", PCI_APIC_HOLE_SIZE, &nothing_ops, NULL, NULL, NULL);
    region_add(board->mem_root, &bus->memory, 0, PCI_BUS_PRIORITY);
    region_add(board->mem_root, &bus->apic_hole, PCI_APIC_HOLE_FIRST, 0);
    region_add(board->io_root, &bus->io, 0, PCI_BUS_PRIORITY);
    board->pci = bus;
}

void pci_bus_free(struct pci_bus *bus, struct board *board)
{
    region_free(&bus->memory);
    region_free(&bus->io);
    region_free(&bus->apic_hole);
    board->pci = NULL;
}

static unsigned line_users(const struct pci_bus *bus, unsigned gsi)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PCI_DEVFNS; i++) {
        const struct pci_device *p = bus->functions[i];
        n += p && p->config[PCI_INTERRUPT_PIN] && p->line.gsi == gsi;
    }
    return n;
}

static bool slot_is_free(const struct pci_bus *bus, unsigned slot)
{
    for (unsigned f = 0; f < PCI_FUNCTIONS; f++)
        if (bus->functions[slot * PCI_FUNCTIONS + f])
            return false;
    return true;
}

/* The lowest of the free slots whose line has the fewest users; 0: all are taken. */
static unsigned deal_slot(const struct pci_bus *bus)
{
    unsigned best = 0, least = UINT32_MAX;
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        unsigned users = line_users(bus, pci_intx_gsi(slot, 1));
        if (users < least && slot_is_free(bus, slot)) {
            best = slot;
            least = users;
        }
    }
    return best;
}

/* "1f.7" */
static bool parse_addr(const char *s, unsigned *devfn)
{
    char *end;
    unsigned long slot = strtoul(s, &end, 16), function = 0;
    if (end == s || !isxdigit((unsigned char)*s) || slot >= PCI_SLOTS)
        return false;
    if (*end == '.') {
        if (end[1] < '0' || end[1] > '7')
            return false;
        function = (unsigned long)(end[1] - '0');
        end += 2;
    }
    *devfn = (unsigned)(slot * PCI_FUNCTIONS + function);
    return *end == 0;
}

const char *pci_bus_attach(struct pci_bus *bus, struct pci_device *pci, const char *addr, char *err,
                           size_t errlen)
{
    unsigned devfn;
    if (!addr) {
        if (!(devfn = deal_slot(bus) * PCI_FUNCTIONS))
            return "all 31 PCI slots are taken (addr=SLOT.FUNCTION puts several devices into one)";
    } else if (!parse_addr(addr, &devfn)) {
        snprintf(err, errlen, "addr=%.32s: not a PCI address (1.0 to 1f.7)", addr);
        return err;
    }
    if (bus->functions[devfn]) {
        snprintf(err, errlen, "addr=%x.%u is taken by %s", devfn >> 3, devfn & 7,
                 bus->functions[devfn]->dev.id);
        return err;
    }
    bus->functions[devfn] = pci;
    pci->devfn = (uint8_t)devfn;
    if (pci->config[PCI_INTERRUPT_PIN]) {
        unsigned gsi = pci_intx_gsi(pci_slot(pci), pci->config[PCI_INTERRUPT_PIN]);
        irq_line_init(&pci->line, pci->dev.board->irqs, gsi, pci->dev.id);
        pci->config[PCI_INTERRUPT_LINE] = (uint8_t)gsi;
    }
    if (devfn & 7) { /* whichever of a slot's functions came first */
        unsigned first = devfn & ~7u;
        for (unsigned f = first; f < first + PCI_FUNCTIONS; f++)
            if (bus->functions[f])
                bus->functions[f]->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
    } else {
        for (unsigned f = devfn + 1; f < devfn + PCI_FUNCTIONS; f++)
            if (bus->functions[f])
                pci->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTIFUNCTION;
    }
    return NULL;
}

/* --- first addresses */

struct window {
    uint64_t next, last;
};

static bool window_take(struct window *w, uint64_t size, uint64_t *addr)
{
    uint64_t at = (w->next + size - 1) & ~(size - 1);
    if (at < w->next || at > w->last || w->last - at < size - 1)
        return false;
    *addr = at;
    w->next = at + size; /* 0 when it ends at 2^64: no window does */
    return true;
}

struct want {
    struct pci_device *pci;
    unsigned number;
    uint64_t size;
};

/* Largest first: then powers of two leave no gaps. Equal ones by function and number, so that the same machine has the same
 * addresses. */
static int want_order(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    if (x->pci->devfn != y->pci->devfn)
        return x->pci->devfn < y->pci->devfn ? -1 : 1;
    return (int)x->number - (int)y->number;
}

static bool place(const struct want *want, struct window *io, struct window mem[3])
{
    struct pci_device *pci = want->pci;
    enum pci_bar_kind kind = pci->bars[want->number].kind;
    uint8_t *reg = pci->config + (want->number == PCI_ROM ? PCI_ROM_BASE : PCI_BAR0 + 4 * want->number);
    bool wide = kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH;
    uint64_t addr;
    if (kind == PCI_BAR_IO) {
        if (!window_take(io, want->size, &addr))
            return false;
        pci->config[PCI_COMMAND] |= PCI_COMMAND_IO;
    } else {
        if (!window_take(&mem[0], want->size, &addr) && !window_take(&mem[1], want->size, &addr) &&
            !(wide && window_take(&mem[2], want->size, &addr)))
            return false;
        pci->config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
    }
    pci_set32(reg, pci_get32(reg) | (uint32_t)addr); /* a ROM stays disabled */
    if (wide)
        pci_set32(reg + 4, (uint32_t)(addr >> 32));
    return true;
}

bool pci_bus_place(struct pci_bus *bus, uint64_t ram_size, unsigned phys_bits, char *err, size_t errlen)
{
    struct window io = {PCI_IO_FIRST, PCI_IO_LAST};
    struct window mem[3] = {
        {PCI_MEM0_FIRST, PCI_MEM0_LAST},
        {PCI_MEM1_FIRST, PCI_MEM1_LAST},
        {1,              0            }
    };
    static struct want wants[PCI_DEVFNS * PCI_BARS]; /* set-up is on one thread */
    unsigned n = 0;

    if (!pci_window64(ram_size, phys_bits, &mem[2].next, &mem[2].last))
        mem[2] = (struct window){1, 0};
    for (unsigned i = 0; i < PCI_DEVFNS; i++) {
        struct pci_device *pci = bus->functions[i];
        if (!pci)
            continue;
        if (!bus->functions[i & ~7u]) {
            snprintf(err, errlen, "%s: addr=%x.%u: slot %x has no function 0, so no guest looks for it",
                     pci->dev.id, i >> 3, i & 7, i >> 3);
            return false;
        }
        for (unsigned b = 0; b < PCI_BARS; b++)
            if (pci->bars[b].region)
                wants[n++] = (struct want){pci, b, pci->bars[b].size};
    }
    qsort(wants, n, sizeof *wants, want_order);
    for (unsigned i = 0; i < n; i++) {
        if (!place(&wants[i], &io, mem)) {
            snprintf(err, errlen, "%s: no room for BAR %u of %llu bytes", wants[i].pci->dev.id,
                     wants[i].number, (unsigned long long)wants[i].size);
            return false;
        }
    }
    transaction_begin();
    for (unsigned i = 0; i < PCI_DEVFNS; i++)
        if (bus->functions[i])
            pci_config_apply(bus->functions[i]);
    transaction_commit();
    return true;
}
