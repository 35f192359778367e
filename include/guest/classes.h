/* SPDX-License-Identifier: MIT
 *
 * The class list: every device that --device can add, one line each in guest/classes.c. A new device is its file, which defines
 * NAME_class, and its line ENTRY(NAME): tests/cli/device.sh counts them with a device of 50 lines, tests/cli/lamp.c.
 */
#ifndef GUEST_CLASSES_H
#define GUEST_CLASSES_H

#include "mem/device.h"

extern const struct device_class *const device_classes[]; /* NULL-ended */

#endif
