// SPDX-License-Identifier: MIT
/* Listing folders. A listing is asked for in pieces of the guest's size; the place between two is the host's own cookie
 * (d_off). A cookie may be no more than a count of names (tmpfs before Linux 6.6, and all that stands on libfs): to seek to
 * one after names were removed goes past as many as were removed, and `rm -r` would leave them. So who reads on from where it
 * was never makes us seek: what the host gave and the guest has not yet had is kept with the open folder, together with what
 * the last answer had, for a kernel asks for that again when its own caller had no room for all of it. An answer ends with
 * what one call to the host gave, so there is never more to keep than that. Only a rewind, which reads the names anew,
 * and seekdir() seek.
 *
 * Most of that memory is bounded for all folders of a server together; one that finds none goes without, and seeks back.
 *
 * READDIRPLUS gives with each name what LOOKUP would. A name that cannot be looked up (gone meanwhile, table full) is given
 * without: then the guest asks when it wants to know. */
#include "virtio/fuse_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BUFFER = 32 << 10, /* libc's own too */
    KEPT_MOST = 4 << 20,
    PLUS = sizeof(struct fuse_entry_out),
};

/* What one call gave. */
struct fuse_list {
    uint64_t from, at; /* the cookies before the first entry, and before `next` */
    uint32_t len, next;
    _Alignas(struct dirent64) char bytes[];
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

/* Gives the guest what there is room for, from the place on; that moves behind it. */
static void give(struct fuse_call *c, const char *bytes, uint32_t len, uint32_t *next, uint64_t *at,
                 bool plus)
{
    while (*next < len) {
        const struct dirent64 *d = (const struct dirent64 *)(bytes + *next);
        bool hidden = c->node->sealed && !dots(d->d_name);
        if (!hidden && !put(c, d, plus))
            return;
        *at = (uint64_t)d->d_off;
        *next += d->d_reclen;
    }
}

void fuse_list_free(struct fuse_server *s, struct fuse_list *list)
{
    if (list)
        atomic_fetch_sub_explicit(&s->listed, list->len, memory_order_relaxed);
    free(list);
}

static bool keep(struct fuse_server *s, struct fuse_open *open, const struct fuse_list *list,
                 const char *bytes)
{
    uint32_t all = atomic_fetch_add_explicit(&s->listed, list->len, memory_order_relaxed);
    struct fuse_list *kept = all > KEPT_MOST - BUFFER ? NULL : malloc(sizeof *kept + list->len);
    if (!kept) {
        atomic_fetch_sub_explicit(&s->listed, list->len, memory_order_relaxed);
        return false;
    }
    *kept = *list;
    memcpy(kept->bytes, bytes, list->len);
    open->list = kept;
    return true;
}

/* Whether what is kept goes on behind the cookie; then that is its place. */
static bool find(struct fuse_list *list, uint64_t cookie)
{
    if (cookie != list->at) {
        uint32_t next = 0;
        for (uint64_t at = list->from; at != cookie && next < list->len;) {
            const struct dirent64 *d = (const struct dirent64 *)(list->bytes + next);
            at = (uint64_t)d->d_off;
            next += d->d_reclen;
        }
        list->at = cookie;
        list->next = next;
    }
    return list->next < list->len;
}

static int seek(struct fuse_open *open, uint64_t cookie)
{
    int rc = lseek(open->fd, (off_t)cookie, SEEK_SET) < 0 ? -errno : 0;
    open->pos = rc < 0 ? UINT64_MAX : cookie;
    return rc;
}

/* Fills the reply from where the descriptor is. */
static int fill(struct fuse_call *c, struct fuse_open *open, bool plus)
{
    union {
        struct dirent64 align;
        char bytes[BUFFER];
    } buf;
    size_t room = c->rep.left;
    struct fuse_list list;
    do {
        ssize_t n = getdents64(open->fd, buf.bytes, sizeof buf.bytes);
        if (n <= 0)
            return n < 0 ? -errno : 0;
        list = (struct fuse_list){.from = open->pos, .at = open->pos, .len = (uint32_t)n};
        give(c, buf.bytes, list.len, &list.next, &list.at, plus);
        open->pos = list.at;
        for (uint32_t next = list.next; next < list.len;) {
            const struct dirent64 *d = (const struct dirent64 *)(buf.bytes + next);
            open->pos = (uint64_t)d->d_off;
            next += d->d_reclen;
        }
    } while (list.next == list.len && c->rep.left == room); /* nothing of it is to be seen */
    if (!keep(c->s, open, &list, buf.bytes) && list.next < list.len)
        (void)seek(open, list.at); /* the next one finds out */
    return list.next < list.len && c->rep.left == room ? -EINVAL : 0;
}

static int go_on(struct fuse_call *c, struct fuse_open *open, uint64_t cookie, bool plus)
{
    struct fuse_list *kept = open->list;
    size_t room = c->rep.left;
    if (kept && cookie && find(kept, cookie)) {
        give(c, kept->bytes, kept->len, &kept->next, &kept->at, plus);
        if (c->rep.left != room)
            return 0;
        if (kept->next < kept->len)
            return -EINVAL;
        cookie = kept->at; /* nothing of it is to be seen */
    }
    fuse_list_free(c->s, kept);
    open->list = NULL;
    int rc = open->pos == cookie ? 0 : seek(open, cookie);
    return rc < 0 ? rc : fill(c, open, plus);
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
    /* What of its names may be seen is the node's to say: another's word does not count. */
    rc = open->node == c->h.nodeid ? go_on(c, open, in->offset, plus) : -EBADF;
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
