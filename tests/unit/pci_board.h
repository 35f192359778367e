/* SPDX-License-Identifier: MIT
 *
 * A board without KVM for PCI's tests: memory, ports, a bridge, and toys, devices whose BARs say their own name. Each
 * test makes a new one; it is left to the end of the process.
 */
#ifndef TESTS_UNIT_PCI_BOARD_H
#define TESTS_UNIT_PCI_BOARD_H

#include "fake_irq.h"
#include "mem/access.h"
#include "mem/ram.h"
#include "pci/bus.h"
#include "pci/device.h"
#include "pci/host.h"
#include "pci/map.h"

/* --- a device with BARs as its options say: bars="i8,m12,w14,p20,r11": kind and log2 of the size */

struct toy {
    struct pci_device pci;
    const char *bars;
    uint32_t pin, msi, msix; /* MSI-X is in BAR 5 */
    bool power, express;
    struct region regions[PCI_BARS];
    uint64_t last_offset, last_value;
};

/* Byte k of a BAR reads as (its number + 1) * 16 + function slot, so that who answers is known. */
static inline uint64_t toy_read(void *opaque, uint64_t offset, unsigned size)
{
    struct region *r = *(struct region **)opaque;
    struct toy *toy = (struct toy *)r->dev;
    (void)size;
    toy->last_offset = offset;
    return (uint64_t)(r - toy->regions + 1) << 8 | toy->pci.devfn;
}

static inline void toy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct region *r = *(struct region **)opaque;
    struct toy *toy = (struct toy *)r->dev;
    (void)size;
    toy->last_offset = offset;
    toy->last_value = value;
}

static const struct region_ops toy_ops = {toy_read, toy_write, 1 | 2 | 4 | 8, 0};
static struct region *toy_self[64];
static unsigned toy_selves;

static inline const char *toy_init(struct device *dev, struct board *board)
{
    struct toy *toy = (struct toy *)dev;
    struct pci_ids ids = {
        .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .revision = 3, .pin = (uint8_t)toy->pin};
    const char *error = pci_device_init(&toy->pci, board, &ids);
    if (error)
        return error;
    unsigned number = 0;
    for (const char *b = toy->bars; b && *b; b += b[strcspn(b, "+")] ? strcspn(b, "+") + 1 : strlen(b)) {
        static const char kinds[] = "?imwpr";
        enum pci_bar_kind kind = (enum pci_bar_kind)(strchr(kinds, *b) - kinds);
        unsigned n = kind == PCI_BAR_ROM ? PCI_ROM : number;
        struct region *r = &toy->regions[n];
        toy_self[toy_selves % 64] = r;
        region_init_io(r, "toy-bar", 1ull << atoi(b + 1), &toy_ops, &toy_self[toy_selves++ % 64], &dev->lock,
                       dev);
        pci_bar(&toy->pci, n, kind, r);
        number += kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH ? 2 : 1;
    }
    if (toy->power)
        pci_power(&toy->pci);
    if (toy->express)
        pci_express(&toy->pci);
    if (toy->msi && (error = pci_msi(&toy->pci, toy->msi)))
        return error;
    if (toy->msix && (error = pci_msix(&toy->pci, 5, toy->msix)))
        return error;
    return NULL;
}

static const struct opt toy_options[] = {
    OPT_STRING(struct toy, bars, "bars", 0, "LIST", "kind and log2 of the size of each"),
    OPT_U32(struct toy, pin, "pin", 0, "N", "interrupt pin", .max = 4),
    OPT_U32(struct toy, msi, "msi", 0, "N", "vectors", .max = PCI_MSI_MAX),
    OPT_U32(struct toy, msix, "msix", 0, "N", "vectors", .max = PCI_MSIX_MAX),
    OPT_FLAG(struct toy, power, "power", 0, "power management"),
    OPT_FLAG(struct toy, express, "express", 0, "PCI Express"),
    OPT_END,
};
static const struct device_class toy_class = {
    .name = "toy",
    .help = "for tests",
    .size = sizeof(struct toy),
    .options = toy_options,
    .bus = &(const struct device_bus){pci_bus_options, NULL}, /* init() does it: it depends on options */
    .init = toy_init,
};

/* --- a board */

static struct machine {
    struct board board;
    struct region mem_root, io_root;
    struct space memory, io;
    struct fake_irq fake;
    struct ram *ram;
    char err[256];
} * m;

static inline void board_ended(void *ctx, enum board_end why, int status)
{
    (void)ctx, (void)why, (void)status;
}

static inline void machine_new(void)
{
    m = calloc(1, sizeof *m);
    toy_selves = 0;
    region_init_container(&m->mem_root, "system", REGION_ALL);
    region_init_container(&m->io_root, "io", 0x10000);
    space_init(&m->memory, &m->mem_root, "memory");
    space_init(&m->io, &m->io_root, "io");
    m->ram = ram_new(&(struct ram_opts){.size = 1 << 20}, m->err, sizeof m->err);
    CHECK(m->ram);
    ram_map(m->ram, &m->mem_root);
    m->board =
        (struct board){.memory = &m->memory, .io = &m->io, .mem_root = &m->mem_root, .io_root = &m->io_root};
    m->board.irqs = fake_irq_new(&m->fake);
    m->board.loop = loop_new(NULL);
    m->board.end = board_ended;
    m->board.devices_tail = &m->board.devices;
    CHECK(device_new(&m->board, &pci_host_class, "pci", NULL, m->err, sizeof m->err));
}

static inline struct toy *toy_new(const char *options)
{
    return (struct toy *)device_new(&m->board, &toy_class, NULL, options, m->err, sizeof m->err);
}

static inline bool placed(void)
{
    return pci_bus_place(m->board.pci, 1 << 20, 40, m->err, sizeof m->err);
}

/* --- the guest's accesses */

static inline uint32_t in(uint16_t port, unsigned size)
{
    uint32_t v = 0;
    space_read(&m->io, port, size, &v);
    return v;
}
static inline void out(uint16_t port, uint32_t v, unsigned size)
{
    space_write(&m->io, port, size, &v);
}
static inline uint32_t ones(unsigned size)
{
    return size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
}
static inline uint32_t cf8(unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
    out(0xcf8, 0x80000000 | bus << 16 | devfn << 8 | (reg & 0xfc), 4);
    return in((uint16_t)(0xcfc + (reg & 3)), size);
}
static inline void cf8_write(unsigned devfn, unsigned reg, uint32_t v, unsigned size)
{
    out(0xcf8, 0x80000000 | devfn << 8 | (reg & 0xfc), 4);
    out((uint16_t)(0xcfc + (reg & 3)), v, size);
}
static inline uint64_t ecam_addr(unsigned bus, unsigned devfn, unsigned reg)
{
    return PCI_ECAM_BASE + ((uint64_t)bus << 20 | devfn << 12 | reg);
}
static inline uint32_t ecam(unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
    uint32_t v = 0;
    space_read(&m->memory, ecam_addr(bus, devfn, reg), size, &v);
    return v;
}
static inline void ecam_write(unsigned devfn, unsigned reg, uint32_t v, unsigned size)
{
    space_write(&m->memory, ecam_addr(0, devfn, reg), size, &v);
}
/* Which BAR of which function answers at addr: (number + 1) << 8 | devfn; ones: nobody. */
static inline uint32_t who(uint64_t addr)
{
    uint16_t v = 0;
    space_read(&m->memory, addr, 2, &v);
    return v;
}
static inline uint32_t who_io(uint32_t port)
{
    return in((uint16_t)port, 2);
}
enum {
    NOBODY = 0xffff
};
#define BAR_OF(number, devfn) ((uint32_t)((number) + 1) << 8 | (devfn))

#endif
