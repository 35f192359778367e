// SPDX-License-Identifier: MIT
/* Configuration bytes: see include/pci/config.h. What follows from the bytes (where BARs are, whether the function may
 * master the bus) is worked out afresh after each write to the header, and kept nowhere but in the memory map. */
#include "pci/config.h"

#include <assert.h>

#include "pci/bus.h"
#include "pci/device.h"

static bool fits(const struct pci_device *pci, unsigned reg, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && (reg & 3) + size <= 4 && reg < pci->config_size;
}

uint32_t pci_config_read(struct pci_device *pci, unsigned reg, unsigned size)
{
    uint32_t value = 0;
    if (!fits(pci, reg, size))
        return UINT32_MAX;
    lock_take(&pci->dev.lock);
    if (pci->read_hook)
        pci->read_hook(pci, reg, size);
    memcpy(&value, pci->config + reg, size);
    if (__builtin_expect(pci->dev.watch != NULL, 0))
        pci_watch_config(pci, false, reg, size, &value);
    lock_drop(&pci->dev.lock);
    return value;
}

void pci_config_write(struct pci_device *pci, unsigned reg, uint32_t value, unsigned size)
{
    if (!fits(pci, reg, size))
        return;
    lock_take(&pci->dev.lock);
    if (__builtin_expect(pci->dev.watch != NULL, 0) && !pci_watch_config(pci, true, reg, size, &value)) {
        lock_drop(&pci->dev.lock);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t *byte = &pci->config[reg + i], written = (uint8_t)(value >> (8 * i));
        uint8_t writable = pci->writable[reg + i];
        *byte = (uint8_t)((*byte & ~writable) | (written & writable));
        *byte &= (uint8_t) ~(written & pci->w1c[reg + i]);
    }
    if (reg >= PCI_HEADER_END)
        pci_msi_written(pci, reg, size);
    if (pci->written_hook)
        pci->written_hook(pci, reg, size);
    pci_intx_update(pci);
    bool moves = reg < PCI_HEADER_END || (pci->power && reg == pci->power + (unsigned)PCI_POWER_CONTROL);
    lock_drop(&pci->dev.lock);
    if (moves)
        pci_config_apply(pci);
}

/* Where a BAR is by the bytes, and whether it is on. */
static bool bar_address(const struct pci_device *pci, unsigned number, uint64_t *addr)
{
    uint16_t command = pci_get16(pci->config + PCI_COMMAND);
    const uint8_t *reg = pci->config + (number == PCI_ROM ? PCI_ROM_BASE : PCI_BAR0 + 4 * number);
    uint32_t low = pci_get32(reg);
    switch (pci->bars[number].kind) {
    case PCI_BAR_IO:
        *addr = low & ~3u;
        return command & PCI_COMMAND_IO;
    case PCI_BAR_MEM32:
        *addr = low & ~0xfu;
        return command & PCI_COMMAND_MEMORY;
    case PCI_BAR_MEM64:
    case PCI_BAR_MEM64_PREFETCH:
        *addr = (low & ~0xfu) | (uint64_t)pci_get32(reg + 4) << 32;
        return command & PCI_COMMAND_MEMORY;
    case PCI_BAR_ROM:
        *addr = low & ~0x7ffu;
        return command & PCI_COMMAND_MEMORY && low & PCI_ROM_ENABLE;
    case PCI_BAR_NONE:
        break;
    }
    return false;
}

/* The topology lock keeps the bytes that matter here from changing after they were copied: only configuration writes
 * change them, and those hold it. */
void pci_config_apply(struct pci_device *pci)
{
    uint64_t addr[PCI_BARS] = {0};
    bool on[PCI_BARS], master, was = pci->dma.master;

    lock_take(&pci->dev.lock);
    for (unsigned i = 0; i < PCI_BARS; i++)
        on[i] = bar_address(pci, i, &addr[i]) && pci_is_awake(pci);
    master = pci_is_master(pci);
    lock_drop(&pci->dev.lock);

    transaction_begin();
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct region *r = pci->bars[i].region;
        if (!r)
            continue;
        if (!on[i] && r->enabled)
            region_enable(r, false);
        if (on[i] && r->offset != addr[i])
            region_move(r, addr[i]);
        if (on[i] && !r->enabled)
            region_enable(r, true);
    }
    if (was != master)
        space_set_master(&pci->dma, master);
    transaction_commit();
    if (master && !was && pci->master_hook) {
        lock_take(&pci->dev.lock);
        pci->master_hook(pci);
        lock_drop(&pci->dev.lock);
    }
}

/* --- set-up */

void pci_bar(struct pci_device *pci, unsigned number, enum pci_bar_kind kind, struct region *region)
{
    static const uint32_t least[] = {[PCI_BAR_IO] = 4,
                                     [PCI_BAR_MEM32] = 16,
                                     [PCI_BAR_MEM64] = 16,
                                     [PCI_BAR_MEM64_PREFETCH] = 16,
                                     [PCI_BAR_ROM] = 2048};
    static const uint8_t bits[] = {[PCI_BAR_IO] = PCI_BAR_IO_SPACE,
                                   [PCI_BAR_MEM64] = PCI_BAR_MEM_64,
                                   [PCI_BAR_MEM64_PREFETCH] = PCI_BAR_MEM_64 | PCI_BAR_MEM_PREFETCH,
                                   [PCI_BAR_ROM] = 0};
    static const char *const roles[PCI_BARS] = {"BAR0", "BAR1", "BAR2", "BAR3", "BAR4", "BAR5", "ROM"};
    bool wide = kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH;
    struct pci_bar *bar = &pci->bars[number];
    unsigned reg = number == PCI_ROM ? PCI_ROM_BASE : PCI_BAR0 + 4 * number;
    assert(number < PCI_BARS && (number == PCI_ROM) == (kind == PCI_BAR_ROM) && !bar->region);
    assert(!wide || (number < PCI_ROM - 1 && !bar[1].region));

    bar->kind = kind;
    bar->region = region;
    bar->size = least[kind];
    while (bar->size < region->size)
        bar->size <<= 1;
    uint64_t writable = ~(bar->size - 1);
    pci->config[reg] = bits[kind];
    pci_set32(pci->writable + reg, (uint32_t)writable | (kind == PCI_BAR_ROM ? PCI_ROM_ENABLE : 0));
    if (wide)
        pci_set32(pci->writable + reg + 4, (uint32_t)(writable >> 32));
    pci->writable[PCI_COMMAND] |= kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    region->role = roles[number];
    region_enable(region, false);
    if (!region_add(kind == PCI_BAR_IO ? &pci->bus->io : &pci->bus->memory, region, 0, pci->devfn))
        assert(!"a BAR's region has a place already");
}

unsigned pci_capability(struct pci_device *pci, uint8_t id, unsigned size)
{
    unsigned at = pci->cap_end;
    assert(size >= 2 && at + size <= PCI_CONFIG_SIZE);
    pci->config[at] = id;
    pci->config[at + 1] = pci->config[PCI_CAPABILITIES];
    pci->config[PCI_CAPABILITIES] = (uint8_t)at;
    pci->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    pci->cap_end = (uint8_t)((at + size + 3) & ~3u);
    return at;
}

/* Its registers are at reset: no cause is left for INTx. */
static void pci_device_reset(struct device *dev)
{
    pci_lower((struct pci_device *)dev);
}

static void pci_device_leave(struct device *dev)
{
    struct pci_device *pci = (struct pci_device *)dev;
    pci->bus->functions[pci->devfn] = NULL;
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (pci->bars[i].region)
            region_remove(pci->bars[i].region);
    if (pci->msix)
        region_free(&pci->msix_region);
    irq_line_fini(&pci->line);
    space_free(&pci->dma);
}

struct pci_device *pci_device_of(struct device *dev)
{
    return dev->leave == pci_device_leave ? (struct pci_device *)dev : NULL;
}

const char *pci_device_init(struct pci_device *pci, struct board *board, const struct pci_ids *ids)
{
    uint8_t *c = pci->config;
    if (!(pci->bus = board->pci))
        return "there is no PCI bus for it";
    pci->config_size = PCI_CONFIG_SIZE;
    pci->cap_end = PCI_HEADER_END;
    pci_set16(c + PCI_VENDOR_ID, ids->vendor);
    pci_set16(c + PCI_DEVICE_ID, ids->device);
    c[PCI_REVISION_ID] = ids->revision;
    pci_set16(c + PCI_CLASS_CODE, ids->class_code);
    c[PCI_CLASS_CODE + 2] = (uint8_t)(ids->class_code >> 16);
    pci_set16(c + PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor ? ids->subsystem_vendor : 0x1af4);
    pci_set16(c + PCI_SUBSYSTEM_ID, ids->subsystem_vendor ? ids->subsystem : 0x1100);
    c[PCI_INTERRUPT_PIN] = ids->pin;

    pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    pci->writable[PCI_LATENCY_TIMER] = 0xff;
    pci_set16(pci->writable + PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
                                               (ids->pin ? PCI_COMMAND_INTX_DISABLE : 0));
    pci_set16(pci->w1c + PCI_STATUS, PCI_STATUS_W1C);
    if (ids->pin)
        pci->writable[PCI_INTERRUPT_LINE] = 0xff;

    /* the address may be refused, so what others keep a pointer to comes after it */
    const char *error = pci_bus_attach(pci->bus, pci, pci->addr, pci->dev.error, sizeof pci->dev.error);
    if (error)
        return error;
    snprintf(pci->dma_name, sizeof pci->dma_name, "%s.dma", pci->dev.id);
    space_init_bus_master(&pci->dma, board->memory, pci->dma_name);
    pci->dma.dev = &pci->dev;
    pci->dev.bus_reset = pci_device_reset;
    pci->dev.leave = pci_device_leave;
    return NULL;
}
