/* SPDX-License-Identifier: MIT
 *
 * Bus 0: 32 slots of 8 functions, INTx, and the first placing of BARs.
 *
 * Slots are given by addr= or dealt: the lowest free one among those whose INTA# line has the fewest users, so that up to
 * seven devices share no interrupt. Slot 0 is the host bridge's.
 *
 * BARs live in two containers, for memory and for I/O ports, that lie below everything else (priority -1): a BAR
 * that the guest moves over RAM, ECAM or a fixed port is hidden there, and where two BARs overlap the one of the
 * higher function wins. The range of the APICs and of KVM's own pages, PCI_APIC_HOLE, is kept from PCI altogether.
 *
 * The bus is part of the host bridge (pci/host.c), which is a device like others; board->pci points to it.
 * Set-up is on one thread; afterwards the bus is read-only but for what the functions' own locks guard.
 */
#ifndef PCI_BUS_H
#define PCI_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/region.h"

struct board;
struct pci_device;

enum {
    PCI_SLOTS = 32,
    PCI_FUNCTIONS = 8,
    PCI_DEVFNS = PCI_SLOTS * PCI_FUNCTIONS,
    PCI_BUS_PRIORITY = -1, /* of the containers */
};
#define PCI_APIC_HOLE_FIRST 0xfec00000u /* IOAPIC, local APIC, KVM's TSS and identity map */
#define PCI_APIC_HOLE_SIZE  0x00400000u

struct pci_bus {
    struct pci_device *functions[PCI_DEVFNS];
    struct region memory, io; /* containers */
    struct region apic_hole;
};

void pci_bus_init(struct pci_bus *bus, struct board *board);
void pci_bus_free(struct pci_bus *bus, struct board *board); /* its functions are gone */

/* Function devfn of bus 0, or NULL. */
static inline struct pci_device *pci_bus_find(const struct pci_bus *bus, unsigned devfn)
{
    return devfn < PCI_DEVFNS ? bus->functions[devfn] : NULL;
}

/* Puts the function where addr ("SLOT[.FUNCTION]", hexadecimal as lspci prints them; NULL: dealt) says. NULL, or a sentence in
 * err. */
const char *pci_bus_attach(struct pci_bus *bus, struct pci_device *pci, const char *addr, char *err,
                           size_t errlen);

/* After the last device was made, before the guest runs: gives every BAR an address as firmware would, largest
 * first (map.h's 32-bit windows, then the 64-bit one), and switches decoding on. false: a sentence in err (a BAR has no
 * room, a slot has no function 0). */
bool pci_bus_place(struct pci_bus *bus, uint64_t ram_size, unsigned phys_bits, char *err, size_t errlen)
    __attribute__((warn_unused_result));

#endif
