/* SPDX-License-Identifier: MIT
 *
 * e1000: an Intel 82540EM (PCI 8086:100e), the gigabit card that Linux's own e1000 and nearly every other system drives.
 * Only by --device, any number of them; what it is plugged into is the caller's business. The theory is in
 * devices/e1000.c, the register source Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
 * Manual", 317453-006.
 */
#ifndef DEVICES_E1000_H
#define DEVICES_E1000_H

#include <stdbool.h>

struct device;
struct port;
extern const struct device_class e1000_class;

/* The card's end of the cable, named as the device; lives as long as it. Set-up, or loop thread. */
struct port *e1000_port(struct device *dev);

/* Any thread, no device's lock held: pulls the cable out, or puts it in again (it is in at first). The guest sees what a
 * PHY shows, and an LSC interrupt; frames meanwhile are dropped. */
void e1000_set_link(struct device *dev, bool up);

#endif
