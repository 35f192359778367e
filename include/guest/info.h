/* SPDX-License-Identifier: MIT
 *
 * `vmlet info NAME qtree | pci [-x] [ID] | regs ID | irq | stats [ID]`: a board in words, for the control socket and for
 * gdb's `monitor`. It needs no KVM and no machine: unit tests run it on a fake board.
 *
 *   qtree     devices as a tree: those of the board, PCI's below their bridge; each with its options, register banks, BARs
 *   pci       configuration space like `lspci -vv`; -x: with its bytes, which `lspci -F FILE` reads
 *   regs      all registers of one device by name, with bit fields, and its other state (mem/device.h)
 *   irq       the 24 lines with level, sources and counts; each function's MSI and MSI-X vectors
 *   stats     what was discarded, refused and misused, by name, with counts; nothing that is 0
 *
 * Loop thread, no lock held; out is memory. Each is a ctl_fn but for the first argument: NULL, or a sentence.
 */
#ifndef GUEST_INFO_H
#define GUEST_INFO_H

#include <stdio.h>

struct board;

const char *info_qtree(struct board *board, int argc, char **argv, FILE *out);
const char *info_pci(struct board *board, int argc, char **argv, FILE *out);
const char *info_regs(struct board *board, int argc, char **argv, FILE *out);
const char *info_irq(struct board *board, int argc, char **argv, FILE *out);
const char *info_stats(struct board *board, int argc, char **argv, FILE *out);

#endif
