// SPDX-License-Identifier: MIT
/* The host bridge: see include/pci/host.h. */
#include "pci/host.h"

#include "pci/bus.h"
#include "pci/device.h"
#include "pci/map.h"

enum {
    LATCH_ENABLE = 1u << 31,
    LATCH_KEPT = 0x8ffffffc,
    CONFIG_PORTS = 8,
    ALL_SIZES = 1 | 2 | 4,
};

struct pci_host {
    struct pci_device pci;
    struct pci_bus bus;
    struct region ports, ecam;
    uint32_t latch; /* CONFIG_ADDRESS; guarded by the topology lock */
};

/* One access to configuration space: bus, function and register in ECAM's form (PCI Express 3.0, table 7-1).
 * Topology lock held. */
static struct pci_device *target(const struct pci_host *host, uint64_t where)
{
    unsigned bus = (unsigned)(where >> 20), devfn = where >> 12 & 0xff;
    return bus == 0 ? pci_bus_find(&host->bus, devfn) : NULL;
}

static uint64_t config_read(struct pci_host *host, uint64_t where, unsigned size)
{
    struct pci_device *pci = target(host, where);
    return pci ? pci_config_read(pci, where & 0xfff, size) : UINT64_MAX;
}

static void config_write(struct pci_host *host, uint64_t where, uint64_t value, unsigned size)
{
    struct pci_device *pci = target(host, where);
    if (pci)
        pci_config_write(pci, where & 0xfff, (uint32_t)value, size);
}

/* The latch says bus 23:16, function 15:8, register 27:24 and 7:2. */
static uint64_t latch_where(const struct pci_host *host)
{
    uint32_t l = host->latch;
    return (uint64_t)(l >> 16 & 0xff) << 20 | (l >> 8 & 0xff) << 12 | (l >> 24 & 0xf) << 8 | (l & 0xfc);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_host *host = opaque;
    uint64_t value = UINT64_MAX;
    topology_take();
    if (offset == 0 && size == 4)
        value = host->latch;
    else if (offset >= 4 && host->latch & LATCH_ENABLE)
        value = config_read(host, latch_where(host) + (offset - 4), size);
    topology_drop();
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_host *host = opaque;
    topology_take();
    if (offset == 0 && size == 4)
        host->latch = (uint32_t)value & LATCH_KEPT;
    else if (offset >= 4 && host->latch & LATCH_ENABLE)
        config_write(host, latch_where(host) + (offset - 4), value, size);
    topology_drop();
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    topology_take();
    uint64_t value = config_read(opaque, offset, size);
    topology_drop();
    return value;
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    topology_take();
    config_write(opaque, offset, value, size);
    topology_drop();
}

static const struct region_ops ports_ops = {ports_read, ports_write, ALL_SIZES, 0};
static const struct region_ops ecam_ops = {ecam_read, ecam_write, ALL_SIZES, 0};

static const struct pci_ids host_ids = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

static const char *host_init(struct device *dev, struct board *board)
{
    struct pci_host *host = (struct pci_host *)dev;
    pci_bus_init(&host->bus, board);
    region_init_io(&host->ports, "pci-config", CONFIG_PORTS, &ports_ops, host, NULL, dev);
    region_init_io(&host->ecam, "pci-ecam", PCI_ECAM_SIZE, &ecam_ops, host, NULL, dev);
    region_add(board->io_root, &host->ports, PCI_CONFIG_ADDRESS, 0);
    region_add(board->mem_root, &host->ecam, PCI_ECAM_BASE, 0);

    host->pci.addr = "0.0";
    const char *error = pci_device_init(&host->pci, board, &host_ids);
    if (error)
        return error;
    /* It decodes and masters always, and there is nothing in its Command register to switch. */
    pci_set16(host->pci.writable + PCI_COMMAND, 0);
    pci_set16(host->pci.config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    return NULL;
}

static void host_fini(struct device *dev)
{
    struct pci_host *host = (struct pci_host *)dev;
    region_free(&host->ports);
    region_free(&host->ecam);
    pci_bus_free(&host->bus, dev->board);
}

static const struct state_field host_state[] = {
    STATE(struct pci_host, latch),
    {.name = NULL},
};

const struct device_class pci_host_class = {
    .name = "pci-host",
    .help = "PCI host bridge",
    .size = sizeof(struct pci_host),
    .state = host_state,
    .internal = true,
    .single = true,
    .init = host_init,
    .fini = host_fini,
};
