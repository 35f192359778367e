/* SPDX-License-Identifier: MIT
 *
 * Files kept by handle (name_to_handle_at(2)) where descriptors run out: needs CAP_DAC_READ_SEARCH and a file system that has
 * them. To open one takes a descriptor, not O_PATH, of something on the same mount: one is kept for each mount, of at most 64.
 */
#ifndef VIRTIO_FUSE_HANDLE_H
#define VIRTIO_FUSE_HANDLE_H

#include "virtio/fuse_priv.h"

/* NULL: no. free() it. */
struct file_handle *fuse_handle_make(struct fuse_server *s, int fd, uint64_t mnt, unsigned mode);
/* O_PATH descriptor, or -errno; ESTALE: the file is gone. */
int fuse_handle_open(struct fuse_server *s, uint64_t mnt, struct file_handle *handle);
bool fuse_handle_equal(const struct file_handle *a, const struct file_handle *b);
void fuse_handles_free(struct fuse_server *s);

#endif
