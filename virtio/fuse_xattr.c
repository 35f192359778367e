// SPDX-License-Identifier: MIT
/* Extended attributes, ACLs and file capabilities among them. The calls take no O_PATH descriptor, so they go by
 * /proc/self/fd, which leads to the inode itself. A value in one piece goes straight between the guest's memory and the host's
 * kernel; else over a buffer of at most 64 KiB. */
#include "virtio/fuse_priv.h"

#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef XATTR_NAME_MAX
#define XATTR_NAME_MAX 255
#endif
#ifndef XATTR_SIZE_MAX
#define XATTR_SIZE_MAX 65536
#endif

static int attribute(struct fuse_call *c, char name[XATTR_NAME_MAX + 1])
{
    int rc = fuse_text(&c->req, name, XATTR_NAME_MAX + 1);
    return rc == -ENAMETOOLONG || (rc == 0 && !*name) ? -ERANGE : rc;
}

/* An ACL may take the group's execution rights: then a setgid bit that its setter might not have set goes too. */
static int drop_sgid(struct fuse_call *c)
{
    struct fuse_fd_name fd;
    struct stat st;
    const char *path = fuse_fd_path(c->fd, &fd);
    if (fstat(c->fd, &st) < 0)
        return -errno;
    return st.st_mode & S_ISGID && chmod(path, st.st_mode & 07777 & ~(mode_t)S_ISGID) < 0 ? -errno : 0;
}

int fuse_op_setxattr(struct fuse_call *c)
{
    struct fuse_setxattr_in *in = &c->in.setxattr;
    char name[XATTR_NAME_MAX + 1];
    struct fuse_fd_name path;
    in->setxattr_flags = in->padding = 0;
    size_t more = sizeof *in - FUSE_COMPAT_SETXATTR_IN_SIZE;
    bool extended = atomic_load_explicit(&c->s->flags, memory_order_relaxed) & FUSE_SETXATTR_EXT;
    if (extended && !fuse_get(&c->req, &in->setxattr_flags, more))
        return -EINVAL;
    int rc = attribute(c, name);
    if (rc < 0)
        return rc;
    if (in->size != c->req.left)
        return -EINVAL;
    if (in->size > XATTR_SIZE_MAX)
        return -E2BIG;
    void *copy = NULL, *value = in->size ? c->req.iov->iov_base : NULL;
    if (in->size && c->req.iov->iov_len < in->size) {
        value = copy = malloc(in->size);
        if (!copy || !fuse_get(&c->req, copy, in->size)) {
            free(copy);
            return -ENOMEM;
        }
    }
    rc = setxattr(fuse_fd_path(c->fd, &path), name, value, in->size, (int)in->flags) < 0 ? -errno : 0;
    free(copy);
    if (rc == 0 && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)
        rc = drop_sgid(c);
    return rc;
}

/* name: NULL for the list of names. */
static int read_out(struct fuse_call *c, const char *name)
{
    const struct fuse_getxattr_in *in = &c->in.getxattr;
    struct fuse_fd_name fd;
    const char *path = fuse_fd_path(c->fd, &fd);
    if (!in->size) {
        ssize_t n = name ? getxattr(path, name, NULL, 0) : listxattr(path, NULL, 0);
        struct fuse_getxattr_out out = {.size = (uint32_t)n};
        return n < 0 ? -errno : sizeof out > c->rep.left ? -EINVAL : fuse_reply(c, &out, sizeof out);
    }
    if (in->size > c->rep.left)
        return -EINVAL;
    size_t size = in->size < XATTR_SIZE_MAX ? in->size : XATTR_SIZE_MAX;
    while (!c->rep.iov->iov_len) {
        c->rep.iov++;
        c->rep.n--;
    }
    void *copy = NULL, *to = c->rep.iov->iov_base;
    if (c->rep.iov->iov_len < size)
        to = copy = malloc(size);
    if (!to)
        return -ENOMEM;
    ssize_t n = name ? getxattr(path, name, to, size) : listxattr(path, to, size);
    int rc = n < 0 ? -errno : (int)n;
    if (n > 0 && copy)
        rc = fuse_reply(c, copy, (size_t)n);
    free(copy);
    return rc;
}

int fuse_op_getxattr(struct fuse_call *c)
{
    char name[XATTR_NAME_MAX + 1];
    int rc = attribute(c, name);
    return rc < 0 ? rc : c->req.left ? -EINVAL : read_out(c, name);
}

int fuse_op_listxattr(struct fuse_call *c)
{
    return read_out(c, NULL);
}

int fuse_op_removexattr(struct fuse_call *c)
{
    char name[XATTR_NAME_MAX + 1];
    struct fuse_fd_name path;
    int rc = attribute(c, name);
    if (rc < 0)
        return rc;
    if (c->req.left)
        return -EINVAL;
    return removexattr(fuse_fd_path(c->fd, &path), name) < 0 ? -errno : 0;
}
