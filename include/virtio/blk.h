/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "mem/device.h"

extern const struct device_class blk_class; /* virtio-blk: see virtio/blk.c */

#endif
