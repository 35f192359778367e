/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_FS_H
#define VIRTIO_FS_H

#include "mem/device.h"

enum {
    FS_TAG_BYTES = 36, /* virtio 1.2, 5.11.4 */
};

enum fs_cache {
    FS_CACHE_AUTO, /* the guest keeps names and attributes for less than a second */
    FS_CACHE_NONE,
};

extern const struct device_class fs_class; /* virtio-fs: see virtio/fs.c */

#endif
