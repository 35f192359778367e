// SPDX-License-Identifier: MIT
/* Files and what is in them. Data goes between the host's file and the guest's memory by preadv() and pwritev(), with nothing
 * in between. The host's kernel takes the set-user-ID bits away when an ordinary user writes; as root we do it where the
 * request says so (HANDLE_KILLPRIV_V2).
 *
 * O_APPEND is each write's, not the descriptor's: the guest's kernel writes pages of a mapping by any handle that it has of the
 * file, and they must go where they were; and a process may set and clear the flag by fcntl(). */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <unistd.h>

enum {
    OPEN_FLAGS = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME,
    IOV_MOST = 1024, /* UIO_MAXIOV */
    AT_ONCE_MOST = 1 << 16,
    /* in one request: it holds a thread, and a reset waits for it. Who wants more asks again */
    COPY_MOST = 1 << 27,
};

/* Asks for the mode alone: who asks for a file's times makes its next write leave a finer, dearer one (Linux 6.13). */
int fuse_kill_suidgid(int fd)
{
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &sx) < 0)
        return -errno;
    mode_t mode = sx.stx_mode & 07777, group = S_ISGID | S_IXGRP;
    mode_t gone = (mode & S_ISUID) | ((mode & group) == group ? S_ISGID : 0);
    return gone && fchmod(fd, mode & ~gone) < 0 ? -errno : 0;
}

static bool writes(uint32_t flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* Takes fd. What the guest may keep of the file, and its handle. */
static int opened(struct fuse_call *c, struct fuse_node *node, uint64_t id, int fd, uint32_t flags,
                  struct fuse_open_out *out)
{
    struct fuse_server *s = c->s;
    struct statx sx;
    *out = (struct fuse_open_out){0};
    if (s->no_cache)
        out->open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    else if (node && fuse_statx(fd, "", &sx) == 0 && fuse_node_settled(s, node, &sx))
        out->open_flags = FOPEN_KEEP_CACHE;
    bool writable = (flags & O_ACCMODE) != O_RDONLY;
    if (!writable)
        out->open_flags |= FOPEN_NOFLUSH; /* nothing that close() could report */
    return fuse_open_add(s, fd, FUSE_KIND_FILE, writable, id, &out->fh);
}

static int open_node(struct fuse_call *c, struct fuse_node *node, uint64_t id, int path_fd, uint32_t flags,
                     uint32_t how, struct fuse_open_out *out)
{
    if (node->type != S_IFREG)
        return node->type == S_IFDIR ? -EISDIR : node->type == S_IFLNK ? -ELOOP : -ENXIO;
    if (node->sealed)
        return -EACCES;
    if (writes(flags) && c->s->ro)
        return -EROFS;
    int host = (int)(flags & OPEN_FLAGS) | O_NONBLOCK; /* a lease must not hold us */
    if (c->s->ro && c->s->root)
        host |= O_NOATIME; /* the times of reading are the host's own */
    int fd = fuse_reopen(c->s, path_fd, host);
    if (fd == -EPERM) /* not the file's owner, or it may only be added to (chattr +a) */
        fd = fuse_reopen(c->s, path_fd, (host & ~O_NOATIME) | (int)(flags & O_APPEND));
    if (fd < 0)
        return fd;
    int rc = flags & O_TRUNC && how & FUSE_OPEN_KILL_SUIDGID ? fuse_kill_suidgid(fd) : 0;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return opened(c, node, id, fd, flags, out);
}

int fuse_op_open(struct fuse_call *c)
{
    struct fuse_open_out out;
    int rc = open_node(c, c->node, c->h.nodeid, c->fd, c->in.open.flags, c->in.open.open_flags, &out);
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

static int created(struct fuse_call *c, int fd, struct fuse_entry_out *entry, struct fuse_open_out *out)
{
    int rc = fuse_node_of(c->s, c->node, fd, entry);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = opened(c, NULL, entry->nodeid, fd, c->in.create.flags, out);
    if (rc < 0)
        fuse_node_forget(c->s, entry->nodeid, 1);
    return rc;
}

/* What stands there already is not opened by name: it may be anything. */
static int create_old(struct fuse_call *c, struct fuse_entry_out *entry, struct fuse_open_out *out)
{
    int rc = fuse_node_look(c->s, c->node, c->fd, c->name[0], 0, entry);
    if (rc < 0)
        return rc;
    struct fuse_node *node = fuse_node_hold(c->s, entry->nodeid);
    int fd = node ? fuse_node_fd(c->s, node) : -ESTALE;
    rc = fd;
    if (fd >= 0) {
        rc = open_node(c, node, entry->nodeid, fd, c->in.create.flags, c->in.create.open_flags, out);
        fuse_node_fd_done(node, fd);
    }
    if (node)
        fuse_node_put(c->s, node);
    if (rc < 0)
        fuse_node_forget(c->s, entry->nodeid, 1);
    return rc;
}

static int make(struct fuse_call *c, const char *name, int flags)
{
    mode_t mode = c->in.create.mode & 07777;
    int rc = fuse_id_enter(c, c->in.create.umask, &mode);
    if (rc < 0)
        return rc;
    flags |= (int)(c->in.create.flags & OPEN_FLAGS & ~(uint32_t)O_NOATIME) | O_CLOEXEC;
    rc = openat(c->fd, name, flags, mode);
    if (rc < 0)
        rc = errno == EMFILE ? -ENFILE : -errno;
    fuse_id_leave(c);
    return rc;
}

static int both(struct fuse_call *c, int rc, const struct fuse_entry_out *entry,
                const struct fuse_open_out *out)
{
    if (rc < 0)
        return rc;
    fuse_reply(c, entry, sizeof *entry);
    fuse_reply(c, out, sizeof *out);
    return sizeof *entry + sizeof *out;
}

int fuse_op_create(struct fuse_call *c)
{
    struct fuse_entry_out entry;
    struct fuse_open_out out;
    int rc = make(c, c->name[0], O_CREAT | O_EXCL | O_NOFOLLOW);
    if (rc >= 0)
        rc = created(c, rc, &entry, &out);
    else if (rc == -EEXIST && !(c->in.create.flags & O_EXCL))
        rc = create_old(c, &entry, &out);
    return both(c, rc, &entry, &out);
}

int fuse_op_tmpfile(struct fuse_call *c)
{
    struct fuse_entry_out entry;
    struct fuse_open_out out;
    if ((c->in.create.flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    int rc = make(c, ".", O_TMPFILE | (int)(c->in.create.flags & O_EXCL));
    if (rc >= 0)
        rc = created(c, rc, &entry, &out);
    return both(c, rc, &entry, &out);
}

/* Less than asked for is not yet the end: the next page may only not be there yet. */
static int read_at_once(struct fuse_call *c, struct fuse_open *open)
{
    uint64_t at = c->in.read.offset;
    while (c->rep.left) {
        ssize_t got = preadv2(open->fd, c->rep.iov, c->rep.n, (off_t)at, RWF_NOWAIT);
        if (got < 0) {
            if (errno == EOPNOTSUPP || errno == ENOSYS)
                atomic_store_explicit(&open->waits, true, memory_order_relaxed);
            return FUSE_LATER;
        }
        if (!got)
            break;
        fuse_skip(&c->rep, (size_t)got);
        at += (uint64_t)got;
    }
    return (int)(at - c->in.read.offset);
}

int fuse_op_read(struct fuse_call *c)
{
    const struct fuse_read_in *in = &c->in.read;
    if (in->size > c->rep.left || in->size > INT_MAX ||
        in->offset > INT64_MAX) /* -1: preadv2() would go on */
        return -EINVAL;
    struct fuse_open *open = fuse_open_hold(c->s, in->fh, FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    fuse_cut(&c->rep, in->size);
    if (c->at_once) {
        bool waits = in->size > AT_ONCE_MOST || atomic_load_explicit(&open->waits, memory_order_relaxed);
        int n = waits ? FUSE_LATER : read_at_once(c, open);
        fuse_open_put(c->s, open);
        return n;
    }
    uint64_t at = in->offset;
    int done = 0, rc = 0;
    while (c->rep.left) {
        int n = c->rep.n < IOV_MOST ? c->rep.n : IOV_MOST;
        ssize_t got = preadv(open->fd, c->rep.iov, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = got < 0 ? -errno : 0;
            break;
        }
        fuse_skip(&c->rep, (size_t)got);
        at += (uint64_t)got;
        done += (int)got;
        if (n < IOV_MOST)
            break; /* all, or the end */
    }
    fuse_open_put(c->s, open);
    return done ? done : rc;
}

int fuse_op_write(struct fuse_call *c)
{
    const struct fuse_write_in *in = &c->in.write;
    if (in->size != c->req.left || in->size > INT_MAX || in->offset > INT64_MAX)
        return -EINVAL;
    struct fuse_open *open = fuse_open_hold(c->s, in->fh, FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    int rc = in->write_flags & FUSE_WRITE_KILL_SUIDGID && open->writable ? fuse_kill_suidgid(open->fd) : 0;
    int how = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE) ? RWF_APPEND : 0;
    uint64_t at = in->offset;
    while (rc == 0 && c->req.left) {
        int n = c->req.n < IOV_MOST ? c->req.n : IOV_MOST;
        ssize_t put = pwritev2(open->fd, c->req.iov, n, (off_t)at, how);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            rc = put < 0 ? -errno : -ENOSPC;
        else {
            fuse_skip(&c->req, (size_t)put);
            at += (uint64_t)put;
        }
    }
    fuse_open_put(c->s, open);
    struct fuse_write_out out = {.size = (uint32_t)(at - in->offset)};
    return rc < 0 && !out.size ? rc : fuse_reply(c, &out, sizeof out);
}

/* A close() of one of perhaps several descriptors: file systems that report late errors then do it here. */
int fuse_op_flush(struct fuse_call *c)
{
    struct fuse_open *open = fuse_open_hold(c->s, c->in.flush.fh, FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    int rc = 0;
    if (open->writable) {
        int fd = fcntl(open->fd, F_DUPFD_CLOEXEC, 3); /* want of descriptors is no error of the file's */
        rc = fd >= 0 && close(fd) < 0 && errno != EINTR ? -errno : 0;
    }
    fuse_open_put(c->s, open);
    return rc;
}

int fuse_op_release(struct fuse_call *c)
{
    return fuse_open_release(c->s, c->in.release.fh,
                             c->h.opcode == FUSE_RELEASEDIR ? FUSE_KIND_DIR : FUSE_KIND_FILE);
}

int fuse_op_fsync(struct fuse_call *c)
{
    struct fuse_open *open =
        fuse_open_hold(c->s, c->in.fsync.fh, c->h.opcode == FUSE_FSYNCDIR ? FUSE_KIND_DIR : FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    int rc = (c->in.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(open->fd) : fsync(open->fd)) < 0
                 ? -errno
                 : 0;
    fuse_open_put(c->s, open);
    return rc;
}

int fuse_op_fallocate(struct fuse_call *c)
{
    const struct fuse_fallocate_in *in = &c->in.fallocate;
    struct fuse_open *open = fuse_open_hold(c->s, in->fh, FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    int rc;
    do
        rc = fallocate(open->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno : 0;
    while (rc == -EINTR);
    fuse_open_put(c->s, open);
    return rc;
}

int fuse_op_lseek(struct fuse_call *c)
{
    const struct fuse_lseek_in *in = &c->in.lseek;
    if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
        return -EINVAL; /* the guest's kernel does the others */
    struct fuse_open *open = fuse_open_hold(c->s, in->fh, FUSE_KIND_FILE);
    if (!open)
        return -EBADF;
    off_t at = lseek(open->fd, (off_t)in->offset, (int)in->whence);
    int rc = at < 0 ? -errno : 0;
    fuse_open_put(c->s, open);
    struct fuse_lseek_out out = {(uint64_t)at};
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

int fuse_op_copy_file_range(struct fuse_call *c)
{
    const struct fuse_copy_file_range_in *in = &c->in.copy;
    struct fuse_open *from = fuse_open_hold(c->s, in->fh_in, FUSE_KIND_FILE);
    struct fuse_open *to = fuse_open_hold(c->s, in->fh_out, FUSE_KIND_FILE);
    off_t at_in = (off_t)in->off_in, at_out = (off_t)in->off_out;
    size_t len = in->len < COPY_MOST ? (size_t)in->len : COPY_MOST;
    ssize_t n =
        from && to ? copy_file_range(from->fd, &at_in, to->fd, &at_out, len, (unsigned)in->flags) : -1;
    int rc = !from || !to ? -EBADF : n < 0 ? -errno : 0;
    if (from)
        fuse_open_put(c->s, from);
    if (to)
        fuse_open_put(c->s, to);
    struct fuse_write_out out = {.size = (uint32_t)n};
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

int fuse_op_syncfs(struct fuse_call *c)
{
    if (c->s->ro || c->node->sealed || (c->node->type != S_IFDIR && c->node->type != S_IFREG))
        return 0;
    int fd = fuse_reopen(c->s, c->fd, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return fd;
    int rc = syncfs(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}
