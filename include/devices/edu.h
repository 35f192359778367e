/* SPDX-License-Identifier: MIT
 *
 * edu, QEMU's teaching device: see devices/edu.c. Only by --device, any number of them.
 */
#ifndef DEVICES_EDU_H
#define DEVICES_EDU_H

extern const struct device_class edu_class;

#endif
