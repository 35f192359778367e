/* SPDX-License-Identifier: MIT
 *
 * Seeing a device: what it discards, and what its drivers do wrong, by name.
 *
 * Drops. Whatever a device discards (a packet, an interrupt, a transfer) has a reason with a name and a counter. The class
 * lists the names, an enum beside them numbers them:
 *
 *     enum { E1000_DROP_RX_OFF, E1000_DROP_RX_LONG, … };
 *     static const char *const e1000_drops[] = {"rx: RCTL.EN=0", "rx: longer than RCTL allows", …, NULL};
 *     … .drops = e1000_drops …
 *     device_drop(dev, E1000_DROP_RX_OFF);
 *
 * The first of each is said once (at --loglevel info), each is in the trace, all are counted in `vmlet info NAME stats`. The
 * layers below count for themselves what they refuse: accesses in device->refused, interrupts in struct pci_device, DMA in
 * struct space.
 *
 * Misuse. Rules about drivers stand beside the device in the same way: .lints is a list of sentences, and the device's code
 * calls device_lint(dev, RULE) where it sees that a driver breaks one. It costs a call and a count; reported only with
 * --lint, once for each rule and device. Rules that hold for every device are in guest/lint.c.
 *
 * What an access leads to. .explain puts a few words behind a line of the trace, "TDH=2: 3 descriptors". It is called after
 * a read and before a write takes effect, so it sees the state that decides; with reg NULL for an interrupt: its cause,
 * "0x100". Returns buf, or NULL for nothing to say. It must change nothing.
 *
 * All of these run with the device's lock held.
 */
#ifndef MEM_WATCH_H
#define MEM_WATCH_H

#include "mem/device.h"

void device_drop(struct device *dev, unsigned reason);
void device_lint(struct device *dev, unsigned rule);

/* `vmlet info NAME stats`, the device's part: counts that are not 0. Takes the lock. */
void device_stats(struct device *dev, FILE *out);

/* --- inside mem/ */
bool watch_counters(struct device *dev) __attribute__((warn_unused_result));
void watch_free(struct device *dev);

#endif
