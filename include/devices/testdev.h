/* SPDX-License-Identifier: MIT
 *
 * Devices that conformance programs of other projects expect, by the names and numbers that QEMU gave them; only by --device.
 * See devices/pc_testdev.c and devices/pci_testdev.c.
 */
#ifndef DEVICES_TESTDEV_H
#define DEVICES_TESTDEV_H

extern const struct device_class pc_testdev_class, pci_testdev_class;

#endif
