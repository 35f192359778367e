/* SPDX-License-Identifier: MIT
 *
 * The host bridge: function 00.0 and the two ways to configuration space, with the same bytes behind both.
 *
 *   0xcf8  CONFIG_ADDRESS  a latch, written and read by whole dwords; bytes and words pass it by (so the reset
 *                          register at 0xcf9, another device's, can lie over it)
 *   0xcfc  CONFIG_DATA     1, 2 or 4 bytes at 0xcfc + n, inside the dword, while bit 31 of the latch is set
 *   ECAM   PCI_ECAM_BASE   1, 2 or 4 bytes inside a dword
 *
 * Latch bits 27:24 are bits 11:8 of the register number, as on AMD's processors; Linux uses them there when it has no
 * ECAM. Bits 30:28 and 1:0 read as 0.
 *
 * It calls itself 1b36:0008, the id that QEMU reserves for a plain PCI Express host bridge: Linux has no quirk for
 * it, where Intel's chipset ids bring a quirk, an errata check or a hidden device each.
 *
 * These regions belong to no device's lock. An access takes the topology lock, which guards the latch, then the
 * lock of the function that it is for (see pci/config.h). Any thread.
 *
 * Made first of all PCI devices: device_new(board, &pci_host_class, "pci", NULL, …) sets board->pci.
 *
 * Sources: PCI Local Bus 3.0, 3.2.2.3.2; PCI Express Base 3.0, 7.2.2.
 */
#ifndef PCI_HOST_H
#define PCI_HOST_H

extern const struct device_class pci_host_class;

#endif
