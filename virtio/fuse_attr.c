// SPDX-License-Identifier: MIT
/* Names and attributes: what is behind a name, what it looks like, and changing that. The guest's kernel has checked who
 * may (default_permissions), so as root we do what is asked. An O_PATH descriptor is changed through /proc/self/fd, which
 * leads to the very inode, be it a symbolic link. */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

int fuse_op_forget(struct fuse_call *c)
{
    fuse_node_forget(c->s, c->h.nodeid, c->in.forget.nlookup);
    return 0;
}

int fuse_op_batch_forget(struct fuse_call *c)
{
    struct fuse_forget_one one;
    for (uint32_t i = 0; i < c->in.batch_forget.count && fuse_get(&c->req, &one, sizeof one); i++)
        fuse_node_forget(c->s, one.nodeid, one.nlookup);
    return 0;
}

int fuse_op_lookup(struct fuse_call *c)
{
    struct fuse_entry_out out;
    int rc = c->at_once ? fuse_node_look_at_once(c->s, c->node, c->fd, c->name[0], &out)
                        : fuse_node_look(c->s, c->node, c->fd, c->name[0], 0, &out);
    if (rc == -ENOENT && c->s->valid_ns) { /* nobody of that name, for as long as a name is good */
        memset(&out, 0, sizeof out);
        fuse_valid(c->s, &out.entry_valid, &out.entry_valid_nsec);
        rc = 0;
    }
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

static int attr_reply(struct fuse_call *c, int fd)
{
    struct statx sx;
    int rc = fuse_statx(fd, "", &sx);
    if (rc < 0)
        return rc;
    struct fuse_attr_out out = {0};
    fuse_valid(c->s, &out.attr_valid, &out.attr_valid_nsec);
    fuse_attr(c->node, &sx, &out.attr);
    return fuse_reply(c, &out, sizeof out);
}

int fuse_op_getattr(struct fuse_call *c)
{
    return attr_reply(c, c->fd); /* the node is the file, whatever handle may come along */
}

static int set_size(struct fuse_call *c)
{
    const struct fuse_setattr_in *in = &c->in.setattr;
    if (c->node->type != S_IFREG)
        return c->node->type == S_IFDIR ? -EISDIR : -EINVAL;
    struct fuse_open *open = in->valid & FATTR_FH ? fuse_open_hold(c->s, in->fh, FUSE_KIND_FILE) : NULL;
    if (in->valid & FATTR_FH && !open)
        return -EBADF;
    int rc, fd = open && open->writable ? open->fd : fuse_reopen(c->s, c->fd, O_WRONLY | O_NONBLOCK);
    if (fd < 0)
        rc = fd;
    else {
        rc = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
        if (rc == 0 && in->valid & FATTR_KILL_SUIDGID)
            rc = fuse_kill_suidgid(fd);
        if (!open || fd != open->fd)
            close(fd);
    }
    if (open)
        fuse_open_put(c->s, open);
    return rc;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec, uint32_t nsec)
{
    if (!(valid & set))
        return (struct timespec){0, UTIME_OMIT};
    if (valid & now)
        return (struct timespec){0, UTIME_NOW};
    return (struct timespec){(time_t)sec, (long)(nsec < 1000000000 ? nsec : 999999999)};
}

/* A new owner takes the set-user-ID bits away, so a new mode comes after it; times come after the size, which sets them. */
int fuse_op_setattr(struct fuse_call *c)
{
    const struct fuse_setattr_in *in = &c->in.setattr;
    struct fuse_fd_name name;
    int rc = 0;
    if (in->valid & (FATTR_UID | FATTR_GID)) {
        uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
        gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;
        rc = fchownat(c->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    }
    if (rc == 0 && in->valid & FATTR_SIZE)
        rc = set_size(c);
    if (rc == 0 && in->valid & FATTR_MODE)
        rc = fchmodat(c->s->proc, fuse_fd_name(c->fd, &name), in->mode & 07777, 0) < 0 ? -errno : 0;
    if (rc == 0 && in->valid & (FATTR_ATIME | FATTR_MTIME)) {
        struct timespec times[2] = {
            time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
            time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec)};
        rc = utimensat(c->s->proc, fuse_fd_name(c->fd, &name), times, 0) < 0 ? -errno : 0;
    }
    return rc < 0 ? rc : attr_reply(c, c->fd);
}

int fuse_op_readlink(struct fuse_call *c)
{
    char target[PATH_MAX];
    ssize_t n = c->node->type == S_IFLNK ? readlinkat(c->fd, "", target, sizeof target) : -1;
    if (n < 0)
        return c->node->type == S_IFLNK ? -errno : -EINVAL;
    if ((size_t)n > c->rep.left)
        return -ENAMETOOLONG;
    return fuse_reply(c, target, (size_t)n);
}

int fuse_op_statfs(struct fuse_call *c)
{
    struct statfs sf;
    if (fstatfs(c->fd, &sf) < 0)
        return -errno;
    struct fuse_statfs_out out = {
        .st = {.blocks = sf.f_blocks,
               .bfree = sf.f_bfree,
               .bavail = sf.f_bavail,
               .files = sf.f_files,
               .ffree = sf.f_ffree,
               .bsize = (uint32_t)sf.f_bsize,
               .namelen = (uint32_t)sf.f_namelen,
               .frsize = (uint32_t)(sf.f_frsize ? sf.f_frsize : sf.f_bsize)}
    };
    return fuse_reply(c, &out, sizeof out);
}

/* Only by kernels that do not check permissions themselves. */
int fuse_op_access(struct fuse_call *c)
{
    uint32_t mask = c->in.access.mask & (R_OK | W_OK | X_OK);
    struct fuse_fd_name name;
    struct statx sx;
    if (mask & W_OK && c->s->ro)
        return -EROFS;
    if (!c->s->root)
        return faccessat(c->s->proc, fuse_fd_name(c->fd, &name), (int)mask, AT_EACCESS) < 0 ? -errno : 0;
    int rc = fuse_statx(c->fd, "", &sx);
    if (rc < 0)
        return rc;
    if (!c->h.uid)
        return mask & X_OK && !(sx.stx_mode & 0111) && !S_ISDIR(sx.stx_mode) ? -EACCES : 0;
    unsigned mode = c->h.uid == sx.stx_uid   ? sx.stx_mode >> 6
                    : c->h.gid == sx.stx_gid ? sx.stx_mode >> 3
                                             : sx.stx_mode;
    return mask & ~mode ? -EACCES : 0;
}
