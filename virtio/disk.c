// SPDX-License-Identifier: MIT
/* See include/virtio/disk.h. A request goes to io_uring; whatever comes back from there in a way that needs thought (busy,
 * refused flags) goes to a thread of the pool, which may block and does it by the plain calls. */
#include "virtio/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "virtio/queue.h"

enum {
    SECTOR = 512,
    /* What the page cache has is copied while it is submitted, on the loop: not more than that in one go. */
    INLINE_MOST = 1 << 20,
};
#define WARN_AGAIN UINT64_C(5000000000) /* ns */

/* --- ends */

static void finish(struct disk_req *req, int result)
{
    struct disk *d = req->disk;
    static const char *const names[] = {"read", "write", "flush", "discard", "write zeroes"};
    if (result < 0) {
        uint64_t now = loop_now(d->config.loop);
        if (!d->errors++ || now - d->warned > WARN_AGAIN) {
            d->warned = now;
            warn("%s: %s: %s at byte %llu: %s (the guest is told; error %llu of this disk)", d->config.name,
                 d->config.path, names[req->op], (unsigned long long)req->offset, strerror(-result),
                 (unsigned long long)d->errors);
        }
    }
    req->done(req, result);
}

/* n bytes were moved; true: that was all. */
static bool advance(struct disk_req *req, size_t n)
{
    virtq_skip(&req->iov, &req->n_iov, n);
    req->offset += n;
    req->len -= n < req->len ? n : req->len;
    return req->len == 0;
}

static bool aligned(const struct disk *d, const struct disk_req *req)
{
    uint64_t bits = req->offset | req->len;
    uintptr_t mem = 0;
    for (unsigned i = 0; i < req->n_iov; i++) {
        mem |= (uintptr_t)req->iov[i].iov_base;
        bits |= req->iov[i].iov_len;
    }
    return bits % d->dio_offset == 0 && mem % d->dio_mem == 0;
}

static int req_fd(const struct disk *d, const struct disk_req *req)
{
    return req->buffered ? d->buffered_fd : d->fd;
}

/* --- the pool: no locks, and the request is ours alone until done() */

static int zero_by_hand(struct disk *d, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[64 << 10];
    while (len) {
        size_t part = len < sizeof zeros ? (size_t)len : sizeof zeros;
        ssize_t n = pwrite(d->buffered_fd, zeros, part, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -ENOSPC;
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int allocate(struct disk *d, int mode, uint64_t offset, uint64_t len)
{
    int rc;
    do
        rc = fallocate(d->buffered_fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int blocking_zero(struct disk *d, const struct disk_req *req)
{
    int rc = -EOPNOTSUPP;
    if (req->unmap)
        rc = allocate(d, FALLOC_FL_PUNCH_HOLE, req->offset, req->len);
    if (rc == -EOPNOTSUPP)
        rc = allocate(d, FALLOC_FL_ZERO_RANGE, req->offset, req->len);
    if (rc == -EOPNOTSUPP)
        rc = zero_by_hand(d, req->offset, req->len);
    return rc;
}

static int blocking_rw(struct disk *d, struct disk_req *req)
{
    while (req->len) {
        ssize_t n = req->op == DISK_READ ? preadv(req_fd(d, req), req->iov, req->n_iov, (off_t)req->offset)
                                         : pwritev(req_fd(d, req), req->iov, req->n_iov, (off_t)req->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL && !req->buffered && d->config.direct) {
            req->buffered = true;
            continue;
        }
        if (n <= 0)
            return n ? -errno : req->op == DISK_READ ? -EIO : -ENOSPC; /* 0: the file has become shorter */
        advance(req, (size_t)n);
    }
    return 0;
}

static int sync_data(struct disk_req *req)
{
    int rc;
    do
        rc = fdatasync(req->disk->fd) < 0 ? -errno : 0;
    while (rc == -EINTR);
    req->unsynced = rc < 0;
    return rc;
}

static void blocking_run(void *arg)
{
    struct disk_req *req = arg;
    struct disk *d = req->disk;
    switch (req->op) {
    case DISK_READ:
        req->result = blocking_rw(d, req);
        break;
    case DISK_WRITE:
        req->result = blocking_rw(d, req);
        if (!req->result && req->through)
            req->result = sync_data(req);
        break;
    case DISK_FLUSH:
        req->result = sync_data(req);
        break;
    case DISK_DISCARD:
        req->result = allocate(d, FALLOC_FL_PUNCH_HOLE, req->offset, req->len);
        if (req->result == -EOPNOTSUPP)
            req->result = 0;
        break;
    case DISK_ZERO:
        req->result = blocking_zero(d, req);
        if (!req->result && req->through)
            req->result = sync_data(req);
        break;
    }
}

static void settle(struct disk_req *req, int result)
{
    struct disk *d = req->disk;
    if (req->op == DISK_FLUSH || ((req->op == DISK_WRITE || req->op == DISK_ZERO) && req->through)) {
        if (result < 0 && req->unsynced)
            d->lost = true;
        else if (d->lost)
            result = -EIO;
    }
    finish(req, result);
}

static void blocking_done(void *arg)
{
    struct disk_req *req = arg;
    struct disk *d = req->disk;
    d->config.enter(d->config.ctx);
    settle(req, req->result);
    d->config.leave(d->config.ctx);
}

static void start_blocking(struct disk_req *req)
{
    req->job = (struct work_job){.run = blocking_run, .done = blocking_done, .arg = req};
    work_submit(req->disk->config.work, &req->job);
}

/* --- io_uring */

static bool start_uring(struct disk *d, struct disk_req *req)
{
    switch (req->op) {
    case DISK_READ:
        return uring_readv(d->uring, &req->uring, req_fd(d, req), req->iov, req->n_iov, req->offset);
    case DISK_WRITE:
        return uring_writev(d->uring, &req->uring, req_fd(d, req), req->iov, req->n_iov, req->offset,
                            req->through ? RWF_DSYNC : 0);
    case DISK_FLUSH:
        return uring_fdatasync(d->uring, &req->uring, d->fd);
    case DISK_DISCARD:
    case DISK_ZERO:
        break;
    }
    return false;
}

static void go_on(struct disk *d, struct disk_req *req)
{
    if (start_uring(d, req))
        uring_submit(d->uring);
    else
        start_blocking(req);
}

static void uring_done(struct uring_op *op, int result)
{
    struct disk_req *req = (struct disk_req *)((char *)op - offsetof(struct disk_req, uring));
    struct disk *d = req->disk;
    if (result == -EAGAIN || result == -EINTR || result == -EOPNOTSUPP || result == -EBUSY ||
        result == -ENOMEM) {
        start_blocking(req);
    } else if (result == -EINVAL && d->config.direct && !req->buffered && req->op != DISK_FLUSH) {
        req->buffered = true;
        go_on(d, req);
    } else if (req->op == DISK_FLUSH || result < 0) {
        req->unsynced =
            req->op == DISK_FLUSH || !d->config.direct; /* a write through: it may have been its sync */
        settle(req, result < 0 ? result : 0);
    } else if (!result && req->len) {
        settle(req, req->op == DISK_READ ? -EIO : -ENOSPC); /* the file has become shorter; no room */
    } else if (advance(req, (size_t)result)) {
        settle(req, 0);
    } else {
        go_on(d, req);
    }
}

static void on_ready(void *arg, uint32_t events)
{
    struct disk *d = arg;
    (void)events;
    d->config.enter(d->config.ctx);
    uring_reap(d->uring);
    d->config.leave(d->config.ctx);
}

void disk_start(struct disk *d, struct disk_req *req)
{
    req->disk = d;
    req->unsynced = false;
    req->uring.done = uring_done;
    req->buffered = d->config.direct && (req->op == DISK_READ || req->op == DISK_WRITE) && !aligned(d, req);
    bool quick = d->config.direct || req->len <= INLINE_MOST;
    if (!d->uring || !quick || !start_uring(d, req))
        start_blocking(req);
}

void disk_submit(struct disk *d)
{
    if (!d->uring)
        return;
    uring_submit(d->uring);
    uring_reap(d->uring);
}

/* --- set-up */

static const char *say(const struct disk *d, char *err, size_t errlen, const char *what, const char *remedy)
{
    snprintf(err, errlen, "%s: %s: %s%s", d->config.path, what, strerror(errno), remedy);
    return err;
}

static const char *find_size(struct disk *d, const struct stat *st, char *err, size_t errlen)
{
    if (S_ISBLK(st->st_mode)) {
        unsigned physical = 0;
        if (ioctl(d->buffered_fd, BLKGETSIZE64, &d->size) < 0)
            return say(d, err, errlen, "its size", "");
        if (ioctl(d->buffered_fd, BLKPBSZGET, &physical) == 0 && physical > SECTOR)
            d->physical = physical;
    } else {
        d->size = (uint64_t)st->st_size;
        d->physical =
            st->st_blksize > SECTOR && !(st->st_blksize & (st->st_blksize - 1)) && st->st_blksize <= 65536
                ? (uint32_t)st->st_blksize
                : SECTOR;
    }
    if (d->size % SECTOR)
        warn("%s: %s: the last %llu bytes make no sector, and are not shown to the guest", d->config.name,
             d->config.path, (unsigned long long)(d->size % SECTOR));
    d->size -= d->size % SECTOR;
    return NULL;
}

static void find_alignment(struct disk *d, const struct stat *st)
{
    int sector = 0;
    d->dio_mem = d->dio_offset = SECTOR;
    if (S_ISBLK(st->st_mode) && ioctl(d->fd, BLKSSZGET, &sector) == 0 && sector > SECTOR)
        d->dio_mem = d->dio_offset = (unsigned)sector;
#ifdef STATX_DIOALIGN
    struct statx x;
    if (statx(d->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_mask & STATX_DIOALIGN &&
        x.stx_dio_offset_align) {
        d->dio_mem = x.stx_dio_mem_align;
        d->dio_offset = x.stx_dio_offset_align;
    }
#endif
}

const char *disk_open(struct disk *d, const struct disk_config *config, char *err, size_t errlen)
{
    struct stat st;
    *d = (struct disk){.config = *config, .fd = -1, .physical = SECTOR, .dio_mem = 1, .dio_offset = 1};
    int flags =
        (config->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK; /* a FIFO is refused, not waited for */
    d->buffered_fd = open(config->path, flags);
    if (d->buffered_fd < 0)
        return say(d, err, errlen, "open",
                   errno == EACCES || errno == EROFS ? " (ro shows it to the guest read-only)"
                   : errno == EISDIR                 ? " (a disk is a file or a block device)"
                                                     : "");
    /* io_uring would answer EAGAIN where it is to wait */
    if (fcntl(d->buffered_fd, F_SETFL, flags & ~O_NONBLOCK) < 0 || fstat(d->buffered_fd, &st) < 0)
        return say(d, err, errlen, "fstat", "");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        snprintf(err, errlen, "%s: a disk is a file or a block device", config->path);
        return err;
    }
    if (S_ISREG(st.st_mode) && flock(d->buffered_fd, (config->ro ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0 &&
        errno == EWOULDBLOCK) {
        snprintf(err, errlen, "%s: another process has it as its disk (only ro for all may share it)",
                 config->path);
        return err;
    }
    const char *error = find_size(d, &st, err, errlen);
    if (error)
        return error;
    d->fd = d->buffered_fd;
    if (config->direct) {
        d->fd = open(config->path, (flags & ~O_NONBLOCK) | O_DIRECT);
        if (d->fd < 0)
            return say(d, err, errlen, "open for direct I/O",
                       errno == EINVAL ? " (its file system has none; drop direct)" : "");
        find_alignment(d, &st);
    }
    unsigned entries = 1;
    while (entries < config->requests)
        entries *= 2;
    d->uring = config->no_uring ? NULL : uring_new(entries);
    if (d->uring && !loop_fd_add(config->loop, &d->ready, uring_fd(d->uring), EPOLLIN, on_ready, d)) {
        uring_free(d->uring);
        d->uring = NULL;
    }
    return NULL;
}

void disk_close(struct disk *d)
{
    if (d->uring) {
        loop_fd_remove(&d->ready);
        uring_free(d->uring);
    }
    if (d->fd >= 0 && d->fd != d->buffered_fd)
        close(d->fd);
    if (d->buffered_fd >= 0)
        close(d->buffered_fd);
    d->fd = d->buffered_fd = -1;
}
