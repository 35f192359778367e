// SPDX-License-Identifier: MIT
/* A function from its table, and what most of them do with their interrupts and transfers: see include/pci/device.h. */
#include "kvm/host/log.h"
#include "mem/access.h"
#include "pci/device.h"

static const struct pci_function *function_of(const struct device *dev)
{
    const struct device_bus *bus = dev->class->bus;
    return bus && bus->init == pci_function_init ? (const struct pci_function *)bus : NULL;
}

const char *pci_function_init(struct device *dev, struct board *board)
{
    const struct pci_function *f = function_of(dev);
    struct pci_device *pci = (struct pci_device *)dev;
    const char *error = pci_device_init(pci, board, &f->ids);
    if (error)
        return error;
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bars[i].kind != PCI_BAR_NONE)
            pci_bar(pci, i, f->bars[i].kind, &device_map(dev, f->bars[i].bank)->region);
    if (f->power)
        pci_power(pci);
    return f->msi_plain ? pci_msi_unmaskable(pci) : f->msi ? pci_msi(pci, f->msi) : NULL;
}

const uint32_t *pci_causes(const struct device *dev)
{
    const struct pci_function *f = function_of(dev);
    return f && f->causes ? (const uint32_t *)((const char *)dev + f->causes) : NULL;
}

void pci_causes_raise(struct device *dev, unsigned index, uint64_t causes)
{
    uint32_t *pending = (uint32_t *)pci_causes(dev);
    (void)index;
    if ((*pending |= (uint32_t)causes))
        pci_raise((struct pci_device *)dev, 0);
}

void pci_causes_ack(struct device *dev, unsigned index, uint64_t causes)
{
    uint32_t *pending = (uint32_t *)pci_causes(dev);
    (void)index;
    if (!(*pending &= ~(uint32_t)causes))
        pci_lower((struct pci_device *)dev);
}

bool pci_dma(struct pci_device *pci, bool to_ram, uint64_t gpa, void *buf, size_t len)
{
    uint64_t refused = pci->dma.refused_ram + pci->dma.refused_off;
    if (to_ram ? dma_write(&pci->dma, gpa, buf, len) : dma_read(&pci->dma, gpa, buf, len))
        return true;
    if (refused == pci->dma.refused_ram + pci->dma.refused_off)
        return false; /* by a fault of --fault's: no guest did that */
    guest_bug("%s: dma refused: %s: %zu bytes %s 0x%llx", pci->dev.id,
              pci_is_master(pci) ? "not in RAM" : "bus master off (COMMAND bit 2)", len,
              to_ram ? "to" : "from", (unsigned long long)gpa);
    return false;
}
