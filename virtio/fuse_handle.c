// SPDX-License-Identifier: MIT
/* Files by handle: virtio/fuse_handle.h. Mounts are asked for by their number under the nodes' lock; the descriptor of one
 * stays until the server ends. */
#include "virtio/fuse_handle.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

bool fuse_handle_equal(const struct file_handle *a, const struct file_handle *b)
{
    return a->handle_bytes == b->handle_bytes && a->handle_type == b->handle_type &&
           !memcmp(a->f_handle, b->f_handle, a->handle_bytes);
}

static int mount_fd(struct fuse_server *s, uint64_t mnt)
{
    int fd = -1;
    lock_take(&s->nodes_lock);
    for (unsigned i = 0; i < s->n_mounts && fd < 0; i++)
        if (s->mounts[i].mnt == mnt)
            fd = s->mounts[i].fd;
    lock_drop(&s->nodes_lock);
    return fd;
}

/* Makes sure of a descriptor on fd's mount; and that what was made of it opens again, as it does not everywhere. */
static bool mount_known(struct fuse_server *s, int fd, uint64_t mnt, unsigned mode,
                        struct file_handle *handle)
{
    if (mount_fd(s, mnt) >= 0)
        return true;
    if (!S_ISDIR(mode) && !S_ISREG(mode))
        return false; /* not to be opened; something else of that mount may come first */
    int open = fuse_reopen(s, fd, O_RDONLY | (S_ISDIR(mode) ? O_DIRECTORY : O_NONBLOCK));
    if (open < 0)
        return false;
    int again = open_by_handle_at(open, handle, O_PATH | O_CLOEXEC);
    if (again < 0) {
        close(open);
        return false;
    }
    close(again);
    lock_take(&s->nodes_lock);
    bool there = false;
    for (unsigned i = 0; i < s->n_mounts; i++)
        there |= s->mounts[i].mnt == mnt;
    if (!there && s->n_mounts < sizeof s->mounts / sizeof *s->mounts) {
        s->mounts[s->n_mounts++] = (struct fuse_mount){mnt, open};
        there = true;
        open = -1;
    }
    lock_drop(&s->nodes_lock);
    if (open >= 0)
        close(open);
    return there;
}

struct file_handle *fuse_handle_make(struct fuse_server *s, int fd, uint64_t mnt, unsigned mode)
{
    if (!s->by_handle)
        return NULL;
    struct {
        struct file_handle h;
        unsigned char room[MAX_HANDLE_SZ];
    } buf = {.h.handle_bytes = MAX_HANDLE_SZ};
    int mount_id;
    if (name_to_handle_at(fd, "", &buf.h, &mount_id, AT_EMPTY_PATH) < 0 ||
        !mount_known(s, fd, mnt, mode, &buf.h))
        return NULL;
    struct file_handle *handle = malloc(sizeof *handle + buf.h.handle_bytes);
    if (handle) {
        *handle = buf.h;
        memcpy(handle->f_handle, buf.room, buf.h.handle_bytes);
    }
    return handle;
}

int fuse_handle_open(struct fuse_server *s, uint64_t mnt, struct file_handle *handle)
{
    int fd = mount_fd(s, mnt);
    if (fd < 0)
        return -ESTALE;
    fd = open_by_handle_at(fd, handle, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? errno == EMFILE ? -ENFILE : -errno : fd;
}

void fuse_handles_free(struct fuse_server *s)
{
    for (unsigned i = 0; i < s->n_mounts; i++)
        close(s->mounts[i].fd);
    s->n_mounts = 0;
}
