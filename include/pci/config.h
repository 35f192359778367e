/* SPDX-License-Identifier: MIT
 *
 * Configuration space: the registers of the type 0 header, and how a function's bytes are read and written.
 *
 * A function has its bytes and, of the same length, two masks: which bits a write sets, and which a written one
 * clears. Nothing else is needed for sizing, read-only fields or Status: address bits below a BAR's size are not
 * writable, so all ones read back as the size.
 *
 * Accesses are of 1, 2 or 4 bytes inside a dword; anything else, and what lies past the function's end, reads
 * all ones and is dropped.
 *
 * Source: PCI Local Bus Specification 3.0, chapter 6.
 */
#ifndef PCI_CONFIG_H
#define PCI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mem/watch.h"

enum {
    PCI_CONFIG_SIZE = 256, /* a conventional function; reads beyond are all ones */
    PCI_CONFIG_SIZE_EXPRESS = 4096,

    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION_ID = 0x08,
    PCI_CLASS_CODE = 0x09, /* three bytes: interface, subclass, base class */
    PCI_CACHE_LINE_SIZE = 0x0c,
    PCI_LATENCY_TIMER = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_ROM_BASE = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_HEADER_END = 0x40, /* the device's own registers and capabilities from here on */

    PCI_COMMAND_IO = 1 << 0,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_PARITY = 1 << 6,
    PCI_COMMAND_SERR = 1 << 8,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,

    PCI_STATUS_INTERRUPT = 1 << 3,
    PCI_STATUS_CAPABILITIES = 1 << 4,
    PCI_STATUS_W1C = 0xf900, /* data parity, signaled and received aborts, SERR, parity */

    PCI_HEADER_MULTIFUNCTION = 0x80,
    PCI_BAR_IO_SPACE = 1,
    PCI_BAR_MEM_64 = 4,
    PCI_BAR_MEM_PREFETCH = 8,
    PCI_ROM_ENABLE = 1,

    PCI_CAP_POWER = 0x01,
    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11,

    PCI_MSI_CONTROL = 2, /* offsets in the capability: 64-bit addresses, a mask bit for each vector */
    PCI_MSI_ADDRESS = 4,
    PCI_MSI_DATA = 12,
    PCI_MSI_MASK = 16,
    PCI_MSI_PENDING = 20,
    PCI_MSI_SIZE = 24,
    PCI_MSI_ENABLE = 1 << 0, /* control */
    PCI_MSI_64 = 1 << 7,
    PCI_MSI_MASKABLE = 1 << 8,

    PCI_MSIX_CONTROL = 2,
    PCI_MSIX_TABLE = 4, /* offset and BAR number */
    PCI_MSIX_PBA = 8,
    PCI_MSIX_SIZE = 12,
    PCI_MSIX_MASKALL = 1 << 14, /* control */
    PCI_MSIX_ENABLE = 1 << 15,
    PCI_MSIX_ENTRY_MASK = 1, /* vector control */

    PCI_POWER_CONTROL = 4, /* PMCSR */
    PCI_POWER_STATE = 3,
    PCI_POWER_NO_RESET = 1 << 3, /* D3hot to D0 keeps everything */
};

struct pci_device;

/* Guest accesses to a function: topology lock held, no device lock. A write moves BARs and opens or shuts the
 * bus-master space as the new bytes say. */
uint32_t pci_config_read(struct pci_device *pci, unsigned reg, unsigned size);
void pci_config_write(struct pci_device *pci, unsigned reg, uint32_t value, unsigned size);

/* All BARs and the bus-master space from the bytes, in one transaction. Topology lock held. */
void pci_config_apply(struct pci_device *pci);

/* Inside pci/, device lock held. Bytes reg to reg + size were written: routes and pending messages follow. */
void pci_msi_written(struct pci_device *pci, unsigned reg, unsigned size);
/* The line, from what the device asserts, INTX_DISABLE, and whether messages are on. */
void pci_intx_update(struct pci_device *pci);

/* Inside pci/, device lock held, only while the function is watched (mem/watch.h). A configuration access: false when a watcher
 * keeps a write away; a read's value may change. */
bool pci_watch_config(struct pci_device *pci, bool write, unsigned reg, unsigned size, uint32_t *value);
/* An interrupt: what became of vector vec. */
void pci_watch_irq(struct pci_device *pci, unsigned vec, enum watch_irq what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A write to, or read of, the MSI-X table. */
void pci_watch_msix(struct pci_device *pci, bool write, uint64_t offset, unsigned size, uint64_t value);

static inline uint16_t pci_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t pci_get32(const uint8_t *p)
{
    return (uint32_t)pci_get16(p) | (uint32_t)pci_get16(p + 2) << 16;
}
static inline void pci_set16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void pci_set32(uint8_t *p, uint32_t v)
{
    pci_set16(p, v);
    pci_set16(p + 2, v >> 16);
}

#endif
