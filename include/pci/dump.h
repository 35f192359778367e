/* SPDX-License-Identifier: MIT
 *
 * A function's configuration space in words, in the form of pciutils' `lspci -vv`: header, BARs with kind, size and
 * address, capabilities with their fields; with `hex` its bytes too, as `lspci -x` has them, so that `lspci -F FILE` reads
 * what was printed. And its interrupt vectors, for `info irq`.
 *
 * Any thread with the topology lock (which keeps the BARs where they are) and no device lock. The bytes are copied under the
 * device's lock, and printed without it.
 *
 * Source: PCI Local Bus 3.0, chapter 6; PCI Bus Power Management 1.2, 3.2; PCI Express Base 3.0, 7.8; virtio 1.2, 4.1.4.
 */
#ifndef PCI_DUMP_H
#define PCI_DUMP_H

#include <stdbool.h>
#include <stdio.h>

struct pci_device;

void pci_dump(struct pci_device *pci, FILE *out, bool hex);
/* One line for INTx, one for each MSI and MSI-X vector: GSI, address and data as the guest wrote them, mask and pending bit,
 * messages sent and dropped. Nothing where the function has no interrupt. */
void pci_dump_irqs(struct pci_device *pci, FILE *out);

#endif
