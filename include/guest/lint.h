/* SPDX-License-Identifier: MIT
 *
 * --lint: what drivers do wrong, told by device and rule, once each, with where the guest was:
 *
 *     vmlet: lint: edu0: a register access of a size that it does not take: W STATUS+1/1=5, at 0x40007c
 *
 * Watched are the PCI devices. Rules for all of them are one table in guest/lint.c, worked out of what the device's hook
 * points tell (mem/watch.h):
 *
 *   register        an access to no register; of a wrong size; a write to what is read-only; a read of what is write-only; a write
 *                   to what is locked while the device is busy
 *   DMA             outside RAM; with bus mastering off
 *   start           a write to a register that starts DMA (REG_DMA in its table) with bus mastering off; or as the first
 *                   write after a reset
 *   interrupt       a message with bus mastering off; one that nobody acknowledges within LINT_ACK of guest time. Acknowledged is
 *                   what the device lowers; MSI-X needs no acknowledgement
 *
 * Rules of one device stand beside it: its class's .lints and device_lint(). How often each was broken is counted (info stats).
 *
 * Threads: under the device's lock, on any; lint_new() at set-up, lint_end() on the loop thread when the vCPUs have ended.
 */
#ifndef GUEST_LINT_H
#define GUEST_LINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "kvm/host/ns.h"

struct board;
struct device;
struct gate;
struct lint;

#define LINT_ACK SECOND /* ns */

struct lint_config {
    struct board *board;
    const struct gate *gate;                               /* may be NULL */
    bool (*where)(void *ctx, unsigned *cpu, uint64_t *pc); /* the vCPU whose thread this is; false: none's */
    const char *(*name)(void *ctx, uint64_t pc, char *buf,
                        size_t size); /* see guest/trace.h; NULL: nothing has one */
    void *ctx;
};

/* Watches every PCI function that was asked for. NULL: a sentence in err. */
struct lint *lint_new(const struct lint_config *config, char *err, size_t errlen);
/* What is only known at the end: interrupts that nobody acknowledged. */
void lint_end(struct lint *lint);
void lint_free(struct lint *lint); /* after the devices' last access */

/* For info stats: how often this device's driver broke the rules that hold for all; nothing without --lint. Device's lock
 * held. */
void lint_stats(const struct device *dev, FILE *out);

#endif
