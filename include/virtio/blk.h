/* SPDX-License-Identifier: MIT
 *
 * virtio-blk, a disk: a device class (mem/device.h), and nothing else to call. Its options are the class's own
 * (`--device virtio-blk,help`); what a disk may be is virtio/disk.h's, how requests travel virtio/blk.c's.
 *
 * Thread: the loop's, under the device's lock. Source: virtio 1.2, 5.2.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "mem/device.h"

extern const struct device_class blk_class;

#endif
