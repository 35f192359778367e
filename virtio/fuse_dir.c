// SPDX-License-Identifier: MIT
/* Listing folders. A listing is asked for in pieces of the guest's size; the place between two is the host's own cookie
 * (d_off), so nothing is kept but a descriptor. The host is asked for no more entries than surely fit, so that almost never
 * some are read that have to be sought back. Known fault: where a cookie counts positions (tmpfs before Linux 6.6), a guest
 * that goes back after it has removed names misses as many; `rm -r` of a large folder then leaves some.
 *
 * READDIRPLUS gives with each name what LOOKUP would. A name that cannot be looked up (gone meanwhile, table full) is given
 * without: then the guest asks when it wants to know. */
#include "virtio/fuse_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

enum {
    BUFFER = 16 << 10,
    ENTRY_LEAST = 24, /* the host's for a short name */
    ENTRY_MOST = (offsetof(struct dirent64, d_name) + NAME_MAX + 1 + 7) & ~7, /* and for the longest */
    PLUS = sizeof(struct fuse_entry_out),
};

int fuse_op_opendir(struct fuse_call *c)
{
    struct fuse_open_out out = {0};
    int fd = fuse_reopen(c->s, c->fd, O_RDONLY | O_DIRECTORY | (c->s->ro && c->s->root ? O_NOATIME : 0));
    if (fd < 0)
        return fd;
    int rc = fuse_open_add(c->s, fd, FUSE_KIND_DIR, false, c->h.nodeid, &out.fh);
    return rc < 0 ? rc : fuse_reply(c, &out, sizeof out);
}

static bool dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static size_t record(size_t len, bool plus)
{
    return FUSE_DIRENT_ALIGN(offsetof(struct fuse_dirent, name) + len) + (plus ? PLUS : 0);
}

/* How much to ask the host for, when there is so much room for the guest's records. */
static size_t ask(size_t room, bool plus)
{
    size_t most = room / record(1, plus) * ENTRY_LEAST; /* a long name grows both alike */
    return most < ENTRY_MOST ? ENTRY_MOST : most > BUFFER ? BUFFER : most;
}

/* False: no room for it. */
static bool put(struct fuse_call *c, const struct dirent64 *d, bool plus)
{
    static const char zeros[8];
    size_t len = strlen(d->d_name), total = record(len, plus);
    if (total > c->rep.left)
        return false;
    if (plus) {
        struct fuse_entry_out out;
        if (dots(d->d_name) || fuse_node_look(c->s, c->node, c->fd, d->d_name, d->d_ino, &out) < 0)
            memset(&out, 0, sizeof out);
        fuse_reply(c, &out, sizeof out);
        total -= PLUS;
    }
    struct fuse_dirent head = {.ino = fuse_ino(c->node, d->d_ino),
                               .off = (uint64_t)d->d_off,
                               .namelen = (uint32_t)len,
                               .type = d->d_type};
    fuse_reply(c, &head, offsetof(struct fuse_dirent, name));
    fuse_reply(c, d->d_name, len);
    fuse_reply(c, zeros, total - offsetof(struct fuse_dirent, name) - len);
    return true;
}

/* Fills the reply from where the descriptor is. */
static int fill(struct fuse_call *c, struct fuse_open *open, bool plus)
{
    union {
        struct dirent64 align;
        char bytes[BUFFER];
    } buf;
    size_t room = c->rep.left;
    for (;;) {
        ssize_t n = getdents64(open->fd, buf.bytes, ask(c->rep.left, plus));
        if (n < 0 && c->rep.left == room)
            return -errno;
        if (n <= 0)
            return 0;
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(buf.bytes + at);
            bool hidden = c->node->sealed && !dots(d->d_name);
            if (!hidden && !put(c, d, plus)) {
                open->pos = lseek(open->fd, (off_t)open->pos, SEEK_SET) < 0 ? UINT64_MAX : open->pos;
                return c->rep.left == room ? -EINVAL : 0;
            }
            open->pos = (uint64_t)d->d_off;
            at += d->d_reclen;
        }
        if (c->rep.left < record(NAME_MAX, plus))
            return 0;
    }
}

static int list(struct fuse_call *c, bool plus)
{
    const struct fuse_read_in *in = &c->in.read;
    if (in->size > c->rep.left || in->size > INT_MAX)
        return -EINVAL;
    int rc;
    struct fuse_open *open = fuse_open_hold_alone(c->s, in->fh, &rc);
    if (!open)
        return rc;
    fuse_cut(&c->rep, in->size);
    if (open->pos != in->offset) {
        rc = lseek(open->fd, (off_t)in->offset, SEEK_SET) < 0 ? -errno : 0;
        open->pos = rc < 0 ? UINT64_MAX : in->offset;
    }
    if (rc == 0)
        rc = fill(c, open, plus);
    fuse_open_put_alone(c->s, open);
    return rc < 0 ? rc : (int)(in->size - c->rep.left);
}

int fuse_op_readdir(struct fuse_call *c)
{
    return list(c, false);
}

int fuse_op_readdirplus(struct fuse_call *c)
{
    return list(c, true);
}
