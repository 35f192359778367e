// SPDX-License-Identifier: MIT
/* A request's way: its header and what is fixed of it are copied out of guest memory once, checked by the table below
 * (lengths, names, room for the reply, whether the share may be changed, whether there is such a node), and then one
 * operation is called. Data goes between the file and the guest's pieces without a copy. A reply's header is written last,
 * since only then is its length known. */
#include "virtio/fuse_priv.h"

#include <stdio.h>

#include "kvm/host/log.h"

/* --- pieces */

static struct fuse_pieces pieces_of(struct iovec *iov, int n)
{
    struct fuse_pieces p = {iov, n, 0};
    for (int i = 0; i < n; i++)
        p.left += iov[i].iov_len;
    return p;
}

void fuse_skip(struct fuse_pieces *p, size_t n)
{
    while (n) {
        size_t part = p->iov->iov_len < n ? p->iov->iov_len : n;
        p->iov->iov_base = (char *)p->iov->iov_base + part;
        p->iov->iov_len -= part;
        p->left -= part;
        n -= part;
        if (!p->iov->iov_len) {
            p->iov++;
            p->n--;
        }
    }
}

bool fuse_get(struct fuse_pieces *p, void *to, size_t n)
{
    if (n > p->left)
        return false;
    for (char *at = to; n;) {
        size_t part = p->iov->iov_len < n ? p->iov->iov_len : n;
        if (part)
            memcpy(at, p->iov->iov_base, part);
        at += part;
        n -= part;
        p->iov->iov_base = (char *)p->iov->iov_base + part;
        p->iov->iov_len -= part;
        p->left -= part;
        if (!p->iov->iov_len) {
            p->iov++;
            p->n--;
        }
    }
    return true;
}

/* False: there is not as much room. */
static bool put(struct fuse_pieces *p, const void *from, size_t n)
{
    if (n > p->left)
        return false;
    for (const char *at = from; n;) {
        size_t part = p->iov->iov_len < n ? p->iov->iov_len : n;
        if (part)
            memcpy(p->iov->iov_base, at, part);
        at += part;
        n -= part;
        fuse_skip(p, part);
        while (n && !p->iov->iov_len) {
            p->iov++;
            p->n--;
        }
    }
    return true;
}

void fuse_cut(struct fuse_pieces *p, size_t n)
{
    if (n >= p->left)
        return;
    p->left = n;
    for (int i = 0; i < p->n; i++) {
        if (p->iov[i].iov_len >= n) {
            p->iov[i].iov_len = n;
            p->n = i + (n > 0);
            return;
        }
        n -= p->iov[i].iov_len;
    }
}

int fuse_text(struct fuse_pieces *p, char *to, size_t max)
{
    for (size_t n = 0; p->left;) {
        const char *from = p->iov->iov_base;
        size_t part = p->iov->iov_len < max - n ? p->iov->iov_len : max - n;
        if (part)
            memcpy(to + n, from, part); /* the one look at it: what is copied is what is searched */
        const char *end = memchr(to + n, 0, part);
        if (end) {
            fuse_skip(p, (size_t)(end - (to + n)) + 1);
            return 0;
        }
        n += part;
        if (n == max)
            return -ENAMETOOLONG;
        fuse_skip(p, part);
        while (p->left && !p->iov->iov_len) {
            p->iov++;
            p->n--;
        }
    }
    return -EINVAL;
}

int fuse_reply(struct fuse_call *c, const void *out, size_t n)
{
    return put(&c->rep, out, n) ? (int)n : -EINVAL;
}

/* --- the table */

enum {
    PIECES = 20, /* at once: of 64 KiB in pages, and what goes along */
};

enum {
    NODE = 1 << 0,    /* about a node that the guest must know */
    DIR = 1 << 1,     /* which must be a folder */
    CHANGES = 1 << 2, /* EROFS if the share is read-only */
    MUTE = 1 << 3,    /* has no reply */
    REST = 1 << 4,    /* the operation itself reads what follows */
    EARLY = 1 << 5,   /* before INIT */
    QUICK = 1 << 6,   /* may be done at once */
};

struct op {
    fuse_op *fn;
    uint8_t in, out; /* bytes: of the fixed argument, of the fixed reply */
    uint8_t names, flags;
};

/* clang-format off */
#define IN(name)  sizeof(struct fuse_##name##_in)
#define OUT(name) sizeof(struct fuse_##name##_out)
static const struct op ops[] = {
    [FUSE_LOOKUP]          = {fuse_op_lookup,          0,                     OUT(entry),   1, NODE | DIR | QUICK},
    [FUSE_FORGET]          = {fuse_op_forget,          IN(forget),            0,            0, MUTE},
    [FUSE_GETATTR]         = {fuse_op_getattr,         IN(getattr),           OUT(attr),    0, NODE | QUICK},
    [FUSE_SETATTR]         = {fuse_op_setattr,         IN(setattr),           OUT(attr),    0, NODE | CHANGES},
    [FUSE_READLINK]        = {fuse_op_readlink,        0,                     0,            0, NODE},
    [FUSE_SYMLINK]         = {fuse_op_symlink,         0,                     OUT(entry),   1, NODE | DIR | CHANGES | REST},
    [FUSE_MKNOD]           = {fuse_op_mknod,           IN(mknod),             OUT(entry),   1, NODE | DIR | CHANGES},
    [FUSE_MKDIR]           = {fuse_op_mkdir,           IN(mkdir),             OUT(entry),   1, NODE | DIR | CHANGES},
    [FUSE_UNLINK]          = {fuse_op_unlink,          0,                     0,            1, NODE | DIR | CHANGES},
    [FUSE_RMDIR]           = {fuse_op_rmdir,           0,                     0,            1, NODE | DIR | CHANGES},
    [FUSE_RENAME]          = {fuse_op_rename,          IN(rename),            0,            2, NODE | DIR | CHANGES},
    [FUSE_RENAME2]         = {fuse_op_rename2,         IN(rename2),           0,            2, NODE | DIR | CHANGES},
    [FUSE_LINK]            = {fuse_op_link,            IN(link),              OUT(entry),   1, NODE | DIR | CHANGES},
    [FUSE_OPEN]            = {fuse_op_open,            IN(open),              OUT(open),    0, NODE},
    [FUSE_CREATE]          = {fuse_op_create,          IN(create),            OUT(entry) + OUT(open),
                                                                                           1, NODE | DIR | CHANGES},
    [FUSE_TMPFILE]         = {fuse_op_tmpfile,         IN(create),            OUT(entry) + OUT(open),
                                                                                           1, NODE | DIR | CHANGES},
    [FUSE_READ]            = {fuse_op_read,            IN(read),              0,            0, QUICK},
    [FUSE_WRITE]           = {fuse_op_write,           IN(write),             OUT(write),   0, CHANGES | REST},
    [FUSE_STATFS]          = {fuse_op_statfs,          0,                     OUT(statfs),  0, NODE},
    [FUSE_RELEASE]         = {fuse_op_release,         IN(release),           0,            0, 0},
    [FUSE_FSYNC]           = {fuse_op_fsync,           IN(fsync),             0,            0, 0},
    [FUSE_SETXATTR]        = {fuse_op_setxattr,        FUSE_COMPAT_SETXATTR_IN_SIZE, 0,            0, NODE | CHANGES | REST},
    [FUSE_GETXATTR]        = {fuse_op_getxattr,        IN(getxattr),          0,            0, NODE | REST},
    [FUSE_LISTXATTR]       = {fuse_op_listxattr,       IN(getxattr),          0,            0, NODE},
    [FUSE_REMOVEXATTR]     = {fuse_op_removexattr,     0,                     0,            0, NODE | CHANGES | REST},
    [FUSE_FLUSH]           = {fuse_op_flush,           IN(flush),             0,            0, 0},
    [FUSE_INIT]            = {fuse_op_init,            offsetof(struct fuse_init_in, flags2), OUT(init),    0, REST | EARLY},
    [FUSE_OPENDIR]         = {fuse_op_opendir,         IN(open),              OUT(open),    0, NODE | DIR},
    [FUSE_READDIR]         = {fuse_op_readdir,         IN(read),              0,            0, NODE | DIR},
    [FUSE_READDIRPLUS]     = {fuse_op_readdirplus,     IN(read),              0,            0, NODE | DIR},
    [FUSE_RELEASEDIR]      = {fuse_op_release,         IN(release),           0,            0, 0},
    [FUSE_FSYNCDIR]        = {fuse_op_fsync,           IN(fsync),             0,            0, 0},
    [FUSE_ACCESS]          = {fuse_op_access,          IN(access),            0,            0, NODE},
    [FUSE_DESTROY]         = {fuse_op_destroy,         0,                     0,            0, EARLY},
    [FUSE_BATCH_FORGET]    = {fuse_op_batch_forget,    IN(batch_forget),      0,            0, MUTE | REST},
    [FUSE_FALLOCATE]       = {fuse_op_fallocate,       IN(fallocate),         0,            0, CHANGES},
    [FUSE_LSEEK]           = {fuse_op_lseek,           IN(lseek),             OUT(lseek),   0, 0},
    [FUSE_COPY_FILE_RANGE] = {fuse_op_copy_file_range, IN(copy_file_range),   OUT(write),   0, CHANGES},
    [FUSE_SYNCFS]          = {fuse_op_syncfs,          IN(syncfs),            0,            0, NODE},
    /* Left out, ENOSYS: GETLK SETLK SETLKW (fuse.h says why), INTERRUPT (virtio-fs sends none), BMAP, IOCTL, POLL,
     * NOTIFY_REPLY (nothing is ever notified), SETUPMAPPING REMOVEMAPPING (no window). */
};
#undef IN
#undef OUT
/* clang-format on */

static const struct op *op_of(uint32_t opcode)
{
    return opcode < sizeof ops / sizeof *ops && ops[opcode].fn ? &ops[opcode] : NULL;
}

/* 0, or why no name of a file can be this. */
static int name_wrong(const char *name)
{
    if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || strchr(name, '/'))
        return -EINVAL;
    return 0;
}

static int arguments(struct fuse_call *c, const struct op *op)
{
    if (c->h.total_extlen || !fuse_get(&c->req, &c->in, op->in))
        return -EINVAL;
    for (unsigned i = 0; i < op->names; i++) {
        int rc = fuse_text(&c->req, c->name[i], sizeof c->name[i]);
        if (rc < 0)
            return rc;
        rc = name_wrong(c->name[i]);
        if (rc < 0 && c->h.opcode != FUSE_TMPFILE) /* its name is a word of the kernel's for the log */
            return rc;
    }
    return c->req.left && !(op->flags & REST) ? -EINVAL : 0;
}

static int with_node(struct fuse_call *c, const struct op *op)
{
    struct fuse_server *s = c->s;
    c->node = fuse_node_hold(s, c->h.nodeid);
    if (!c->node)
        return -ESTALE;
    struct fuse_open *open = NULL;
    int rc;
    if (c->at_once && (!c->node->local || c->node->fd < 0))
        rc = FUSE_LATER;
    else if ((op->flags & DIR) && c->node->type != S_IFDIR)
        rc = -ENOTDIR;
    else if ((op->flags & CHANGES) && c->node->sealed)
        rc = -EROFS;
    else
        rc = c->fd = fuse_node_fd(s, c->node);
    /* A handle is stale once its file has no name any more, but one that is open is there still: tmpfile(), fstat(). */
    if (rc == -ESTALE && !c->at_once && (open = fuse_open_hold_of(s, c->h.nodeid)))
        rc = c->fd = open->fd;
    if (rc >= 0) {
        rc = op->fn(c);
        if (!open)
            fuse_node_fd_done(c->node, c->fd);
    }
    if (open)
        fuse_open_put(s, open);
    fuse_node_put(s, c->node);
    return rc;
}

static int serve(struct fuse_call *c, const struct op *op)
{
    if (c->at_once && !(op && op->flags & QUICK))
        return FUSE_LATER;
    if (!op)
        return -ENOSYS;
    if (!(op->flags & EARLY) && !atomic_load_explicit(&c->s->running, memory_order_acquire))
        return -EIO;
    int rc = arguments(c, op);
    if (rc < 0)
        return rc;
    if (op->out > c->rep.left)
        return -EINVAL;
    if ((op->flags & CHANGES) && c->s->ro)
        return -EROFS;
    return op->flags & NODE ? with_node(c, op) : op->fn(c);
}

/* --- from outside */

/* False: not at once. */
static bool answer(struct fuse_server *s, struct iovec *req, int n_req, struct iovec *rep, int n_rep,
                   bool at_once, size_t *written)
{
    struct fuse_call call, *c = &call;
    *written = 0;
    c->s = s;
    c->at_once = at_once;
    c->req = pieces_of(req, n_req);
    c->rep = pieces_of(rep, n_rep);
    size_t total = c->req.left;
    if (!fuse_get(&c->req, &c->h, sizeof c->h)) {
        if (!at_once)
            guest_bug("%s: a request of %zu bytes, less than a header (ignored)", s->name, total);
        return !at_once;
    }
    const struct op *op = op_of(c->h.opcode);
    bool mute = op && op->flags & MUTE;
    if (!mute && c->rep.left < sizeof(struct fuse_out_header)) {
        if (!at_once)
            guest_bug("%s: request %u has no room for a reply (ignored)", s->name, c->h.opcode);
        return !at_once;
    }
    struct iovec head[sizeof(struct fuse_out_header)];
    int n_head = 0;
    for (size_t want = sizeof(struct fuse_out_header);
         !mute && want;) { /* where the header goes, at the end */
        size_t part = c->rep.iov->iov_len < want ? c->rep.iov->iov_len : want;
        if (part)
            head[n_head++] = (struct iovec){c->rep.iov->iov_base, part};
        want -= part;
        if (part)
            fuse_skip(&c->rep, part);
        else {
            c->rep.iov++;
            c->rep.n--;
        }
    }
    int rc = c->h.len == total ? serve(c, op) : -EINVAL;
    if (rc == FUSE_LATER)
        return false;
    atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
    if (rc < 0)
        atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
    if (mute)
        return true;
    struct fuse_out_header out = {.len = (uint32_t)sizeof out + (rc > 0 ? (uint32_t)rc : 0),
                                  .error = rc < 0 ? rc : 0,
                                  .unique = c->h.unique};
    struct fuse_pieces to = {head, n_head, sizeof out};
    *written = put(&to, &out, sizeof out) ? out.len : 0;
    return true;
}

size_t fuse_answer(struct fuse_server *s, struct iovec *req, int n_req, struct iovec *rep, int n_rep)
{
    size_t written;
    return answer(s, req, n_req, rep, n_rep, false, &written) ? written : 0;
}

bool fuse_answer_at_once(struct fuse_server *s, const struct iovec *req, int n_req, const struct iovec *rep,
                         int n_rep, size_t *written)
{
    struct iovec out[PIECES], in[PIECES];
    uint32_t opcode;
    if (n_req < 1 || n_req > PIECES || n_rep > PIECES || req->iov_len < sizeof(struct fuse_in_header))
        return false;
    memcpy(&opcode, (const char *)req->iov_base + offsetof(struct fuse_in_header, opcode), sizeof opcode);
    const struct op *op = op_of(opcode); /* a first look, which may be wrong: then serve() says so */
    if (!op || !(op->flags & QUICK))
        return false;
    memcpy(out, req, (size_t)n_req * sizeof *out);
    memcpy(in, rep, (size_t)n_rep * sizeof *in);
    return answer(s, out, n_req, in, n_rep, true, written);
}

void fuse_reset(struct fuse_server *s)
{
    atomic_store_explicit(&s->running, false, memory_order_release);
    fuse_opens_reset(s);
    fuse_nodes_reset(s);
}

void fuse_stats(struct fuse_server *s, struct fuse_stats *stats)
{
    *stats = (struct fuse_stats){.requests = atomic_load_explicit(&s->requests, memory_order_relaxed),
                                 .errors = atomic_load_explicit(&s->errors, memory_order_relaxed),
                                 .descriptors = fuse_fds_used(),
                                 .root = s->root,
                                 .running = atomic_load_explicit(&s->running, memory_order_relaxed)};
    lock_take(&s->nodes_lock);
    stats->nodes = s->n_nodes;
    lock_drop(&s->nodes_lock);
    lock_take(&s->opens_lock);
    stats->files = s->n_opens;
    lock_drop(&s->opens_lock);
}
