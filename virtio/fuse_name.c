// SPDX-License-Identifier: MIT
/* What changes a folder: making, removing, renaming, linking. Always a parent's descriptor and one component. */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int look(struct fuse_call *c)
{
    struct fuse_entry_out out;
    int rc = fuse_node_look(c->s, c->node, c->fd, c->name[0], 0, &out);
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

int fuse_op_symlink(struct fuse_call *c)
{
    char target[PATH_MAX];
    mode_t mode = 0777;
    int rc = fuse_text(&c->req, target, sizeof target);
    if (rc < 0)
        return rc;
    if (c->req.left)
        return -EINVAL;
    rc = fuse_id_enter(c, 0, &mode);
    if (rc < 0)
        return rc;
    rc = symlinkat(target, c->fd, c->name[0]) < 0 ? -errno : 0;
    fuse_id_leave(c);
    return rc < 0 ? rc : look(c);
}

int fuse_op_mknod(struct fuse_call *c)
{
    const struct fuse_mknod_in *in = &c->in.mknod;
    dev_t dev = makedev(in->rdev >> 8 & 0xfff, (in->rdev & 0xff) | (in->rdev >> 12 & 0xfff00));
    mode_t mode = in->mode & (S_IFMT | 07777);
    int rc = fuse_id_enter(c, in->umask, &mode);
    if (rc < 0)
        return rc;
    rc = mknodat(c->fd, c->name[0], mode, dev) < 0 ? -errno : 0;
    fuse_id_leave(c);
    return rc < 0 ? rc : look(c);
}

int fuse_op_mkdir(struct fuse_call *c)
{
    mode_t mode = c->in.mkdir.mode & 07777;
    int rc = fuse_id_enter(c, c->in.mkdir.umask, &mode);
    if (rc < 0)
        return rc;
    rc = mkdirat(c->fd, c->name[0], mode) < 0 ? -errno : 0;
    fuse_id_leave(c);
    return rc < 0 ? rc : look(c);
}

int fuse_op_unlink(struct fuse_call *c)
{
    return unlinkat(c->fd, c->name[0], 0) < 0 ? -errno : 0;
}

int fuse_op_rmdir(struct fuse_call *c)
{
    return unlinkat(c->fd, c->name[0], AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int rename_to(struct fuse_call *c, uint64_t dir, uint32_t flags)
{
    if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    struct fuse_node *to = fuse_node_hold(c->s, dir);
    if (!to)
        return -ESTALE;
    int rc = to->type != S_IFDIR ? -ENOTDIR : to->sealed ? -EROFS : fuse_node_fd(c->s, to);
    if (rc >= 0) {
        int fd = rc;
        rc = renameat2(c->fd, c->name[0], fd, c->name[1], flags) < 0 ? -errno : 0;
        fuse_node_fd_done(to, fd);
    }
    fuse_node_put(c->s, to);
    return rc;
}

int fuse_op_rename(struct fuse_call *c)
{
    return rename_to(c, c->in.rename.newdir, 0);
}

int fuse_op_rename2(struct fuse_call *c)
{
    return rename_to(c, c->in.rename2.newdir, c->in.rename2.flags);
}

/* c->node is the folder. By /proc/self/fd the link is of the very inode, and may be made without CAP_DAC_READ_SEARCH. */
int fuse_op_link(struct fuse_call *c)
{
    struct fuse_fd_name name;
    struct fuse_node *old = fuse_node_hold(c->s, c->in.link.oldnodeid);
    if (!old)
        return -ESTALE;
    int fd = old->type == S_IFDIR ? -EPERM : fuse_node_fd(c->s, old), rc = fd;
    if (fd >= 0) {
        rc = linkat(c->s->proc, fuse_fd_name(fd, &name), c->fd, c->name[0], AT_SYMLINK_FOLLOW) < 0 ? -errno
                                                                                                   : 0;
        fuse_node_fd_done(old, fd);
    }
    fuse_node_put(c->s, old);
    return rc < 0 ? rc : look(c);
}
