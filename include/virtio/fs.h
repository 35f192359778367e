/* SPDX-License-Identifier: MIT
 *
 * virtio-fs, a folder of the host in the guest: a device class (mem/device.h); its server is virtio/fuse.h's, how requests
 * travel is virtio/fs.c's. guest/share.c makes one for each --share.
 *
 * Thread: the device on the loop, under its lock; requests in the pool, without one. Source: virtio 1.2, 5.11.
 */
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

extern const struct device_class fs_class;

#endif
