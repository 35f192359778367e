// SPDX-License-Identifier: MIT
/* A server's beginning and end, and the agreement with the guest's kernel (INIT) on what each can do. What is not here:
 * POSIX_LOCKS and FLOCK_LOCKS (fuse.h says why), WRITEBACK_CACHE (the host would see what the guest wrote only later, and the
 * guest would not see what the host wrote), EXPORT_SUPPORT (names "." and ".."), NO_OPEN_SUPPORT, DAX. */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "virtio/fuse_handle.h"

enum {
    MINOR_LEAST = 31, /* Linux 5.4, the first with virtio-fs */
    PAGES = 256,
    PAGE = 4096,
    NODES = 1 << 20,
    FILES = 1 << 16,
    BACKGROUND = 64,
};

static const uint64_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK |
                               FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                               FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES |
                               FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT |
                               FUSE_INIT_EXT | FUSE_DIRECT_IO_ALLOW_MMAP_;

int fuse_op_init(struct fuse_call *c)
{
    struct fuse_server *s = c->s;
    struct fuse_init_in *in = &c->in.init;
    size_t rest = sizeof *in - offsetof(struct fuse_init_in, flags2);
    memset(&in->flags2, 0, rest);
    if (c->req.left > rest || !fuse_get(&c->req, &in->flags2, c->req.left))
        return -EINVAL;
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
    if (in->major > FUSE_KERNEL_VERSION) /* it asks again, in our words */
        return fuse_reply(c, &out, sizeof out);
    if (in->major < FUSE_KERNEL_VERSION || in->minor < MINOR_LEAST) {
        guest_bug("%s: FUSE %u.%u is too old: 7.%d is the least (a kernel since 5.4)", s->name, in->major,
                  in->minor, MINOR_LEAST);
        return -EPROTO;
    }
    uint64_t theirs = in->flags | (in->flags & FUSE_INIT_EXT ? (uint64_t)in->flags2 << 32 : 0);
    uint64_t flags = theirs & wanted;
    if (s->no_cache)
        flags &= ~(uint64_t)FUSE_CACHE_SYMLINKS;
    fuse_reset(s); /* a kernel that starts anew knows no node of the last one's */
    unsigned pages = flags & FUSE_MAX_PAGES ? s->max_pages : 32;
    out.max_readahead = in->max_readahead;
    out.flags = (uint32_t)flags;
    out.flags2 = (uint32_t)(flags >> 32);
    out.max_background = BACKGROUND;
    out.congestion_threshold = BACKGROUND / 4 * 3;
    out.max_write = pages * PAGE;
    out.time_gran = 1;
    out.max_pages = (uint16_t)pages;
    if (in->minor < out.minor)
        out.minor = in->minor;
    atomic_store_explicit(&s->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&s->running, true, memory_order_release);
    return fuse_reply(c, &out, sizeof out);
}

int fuse_op_destroy(struct fuse_call *c)
{
    fuse_reset(c->s);
    return 0;
}

static bool fail(char *err, size_t errlen, const char *path, const char *what, int error)
{
    snprintf(err, errlen, "%s: %s: %s", path, what, strerror(error));
    return false;
}

static bool start(struct fuse_server *s, const struct fuse_config *config, char *err, size_t errlen)
{
    lock_init(&s->opens_lock, LOCK_QUEUE, "fuse files");
    s->proc = -1;
    s->path = strdup(config->path);
    s->name = strdup(config->name);
    s->ro = config->ro;
    s->no_cache = config->no_cache;
    s->valid_ns = s->no_cache ? 0 : FUSE_VALID_NS;
    s->max_pages = config->max_pages ? config->max_pages : PAGES;
    if (s->max_pages > UINT16_MAX)
        s->max_pages = UINT16_MAX;
    s->max_nodes = config->max_nodes ? config->max_nodes : NODES;
    fuse_fds_init();
    unsigned quarter = fuse_fds_most() / 4;
    s->max_files = config->max_files ? config->max_files : quarter < FILES ? quarter : FILES;
    s->opens = calloc(s->max_files / 256 + 1, sizeof(*s->opens));
    if (!s->path || !s->name || !s->opens || !fuse_nodes_init(s))
        return fail(err, errlen, config->path, "share", ENOMEM);
    s->by_handle = fuse_id_init(s);
    int fd = open(s->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errlen, s->path, "open", errno);
    int rc = fuse_nodes_root(s, fd);
    if (rc < 0) {
        close(fd);
        return fail(err, errlen, s->path, "statx", -rc);
    }
    s->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (s->proc < 0)
        return fail(err, errlen, s->path, "/proc/self/fd (is /proc mounted?)", errno);
    rc = fuse_reopen(s, fd,
                     O_RDONLY | O_DIRECTORY); /* else the guest would find a folder that it cannot list */
    if (rc < 0)
        return fail(err, errlen, s->path, "open", -rc);
    close(rc);
    free(fuse_handle_make(s, fd, s->top->key.mnt,
                          S_IFDIR)); /* a link that comes first has no way to its mount */
    return true;
}

struct fuse_server *fuse_new(const struct fuse_config *config, char *err, size_t errlen)
{
    struct fuse_server *s = calloc(1, sizeof *s);
    if (!s) {
        fail(err, errlen, config->path, "share", ENOMEM);
        return NULL;
    }
    if (!start(s, config, err, errlen)) {
        fuse_free(s);
        return NULL;
    }
    return s;
}

void fuse_free(struct fuse_server *s)
{
    if (!s)
        return;
    fuse_opens_free(s);
    fuse_nodes_free(s);
    if (s->proc >= 0)
        close(s->proc);
    free(s->path);
    free(s->name);
    free(s);
}
