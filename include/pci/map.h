/* SPDX-License-Identifier: MIT
 *
 * Where PCI lives in the guest's address spaces: the one home of these numbers, from which the host bridge
 * decodes, BARs are placed, ACPI's _CRS, _PRT and MCFG are made, and Interrupt Line is filled. Ranges are
 * first and last address, inclusive. No state, no locks: any thread.
 */
#ifndef PCI_MAP_H
#define PCI_MAP_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PCI_CONFIG_ADDRESS = 0xcf8, /* PCI 3.0, 3.2.2.3.2: CONFIG_ADDRESS, a dword register */
    PCI_CONFIG_DATA = 0xcfc,    /* CONFIG_DATA, a window of four bytes */
    PCI_IO_FIRST = 0xc000,      /* I/O BARs */
    PCI_IO_LAST = 0xffff,
    /* told to guests; Linux asks every slot of every bus in MCFG: 16,000 exits for 256 of them */
    PCI_BUSES = 1,
    PCI_INTX_GSI = 16, /* first of the eight lines that INTx is spread over */
    PCI_INTX_GSIS = 8,
};

#define PCI_ECAM_BASE  0xe0000000u /* PCI Express 3.0, 7.2.2: 4 KiB a function, 1 MiB a bus */
#define PCI_ECAM_SIZE  0x10000000u /* reserved for buses 0 to 255 */
#define PCI_RAM_LOW    0xc0000000u /* RAM reaches up to here, the rest of it goes on at 4 GiB */
#define PCI_MEM0_FIRST 0xc0000000u /* 32-bit windows, below and above ECAM */
#define PCI_MEM0_LAST  0xdfffffffu
#define PCI_MEM1_FIRST 0xf0000000u
#define PCI_MEM1_LAST  0xfebfffffu

/* The GSI of an interrupt pin (1 = INTA# … 4 = INTD#) of a slot on bus 0: both _PRT and Interrupt Line say
 * this. */
static inline unsigned pci_intx_gsi(unsigned slot, unsigned pin)
{
    return PCI_INTX_GSI + ((slot + pin - 1) & (PCI_INTX_GSIS - 1));
}

/* The 64-bit window of a machine with ram_size bytes of RAM, split at PCI_RAM_LOW, whose guest has physical
 * addresses of phys_bits: from the end of RAM, at least 4 GiB, rounded up to 1 GiB, to the end of the address
 * space, at most 2^48 (what four levels of nested page tables reach). False: there is no room, or phys_bits
 * <= 32, as it should be given for a 32-bit kernel (without PAE it cannot reach the window and warns of it).
 */
static inline bool pci_window64(uint64_t ram_size, unsigned phys_bits, uint64_t *first, uint64_t *last)
{
    const uint64_t gib = 1ull << 30;
    if (phys_bits > 48)
        phys_bits = 48;
    if (phys_bits <= 32 || ram_size > 1ull << 48)
        return false;
    uint64_t ram_end = 4 * gib + (ram_size > PCI_RAM_LOW ? ram_size - PCI_RAM_LOW : 0);
    *first = (ram_end + gib - 1) / gib * gib;
    *last = (1ull << phys_bits) - 1;
    return *first < *last;
}

#endif
