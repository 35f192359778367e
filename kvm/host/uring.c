// SPDX-License-Identifier: MIT
/* See include/kvm/host/uring.h. Two rings are shared with the kernel: we write the tail of the submissions and the head of
 * the completions with release and read the other ends with acquire. Each submission's user_data is its operation. */
#include "kvm/host/uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct uring {
    int fd;
    unsigned entries, pending; /* pending: put in, and not yet done() */
    unsigned unsubmitted;      /* put in since the last submit */
    void *rings;
    size_t rings_size;
    struct io_uring_sqe *sqes;
    uint32_t *sq_head, *sq_tail, *sq_array, sq_mask;
    uint32_t *cq_head, *cq_tail, cq_mask;
    struct io_uring_cqe *cqes;
};

static int enter(struct uring *u, unsigned submit, unsigned wait)
{
    int n;
    do
        n = (int)syscall(SYS_io_uring_enter, u->fd, submit, wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

struct uring *uring_new(unsigned entries)
{
    struct io_uring_params p = {.flags = IORING_SETUP_CLAMP};
    struct uring *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
    if (u->fd < 0) {
        free(u);
        return NULL;
    }
    /* one mapping for both rings, completions kept when their ring is full, plain reads of any file: Linux 5.7 */
    uint32_t need = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
    size_t sq = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
    size_t cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    u->entries = p.sq_entries;
    u->rings_size = sq > cq ? sq : cq;
    u->rings = (p.features & need) != need ? MAP_FAILED
                                           : mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE,
                                                  MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQ_RING);
    u->sqes = u->rings == MAP_FAILED ? MAP_FAILED
                                     : mmap(NULL, p.sq_entries * sizeof *u->sqes, PROT_READ | PROT_WRITE,
                                            MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQES);
    if (u->sqes == MAP_FAILED) {
        int e = u->rings == MAP_FAILED && (p.features & need) != need ? ENOSYS : errno;
        if (u->rings != MAP_FAILED)
            munmap(u->rings, u->rings_size);
        close(u->fd);
        free(u);
        errno = e;
        return NULL;
    }
    char *base = u->rings;
    u->sq_head = (uint32_t *)(base + p.sq_off.head);
    u->sq_tail = (uint32_t *)(base + p.sq_off.tail);
    u->sq_array = (uint32_t *)(base + p.sq_off.array);
    u->sq_mask = *(uint32_t *)(base + p.sq_off.ring_mask);
    u->cq_head = (uint32_t *)(base + p.cq_off.head);
    u->cq_tail = (uint32_t *)(base + p.cq_off.tail);
    u->cq_mask = *(uint32_t *)(base + p.cq_off.ring_mask);
    u->cqes = (struct io_uring_cqe *)(base + p.cq_off.cqes);
    return u;
}

int uring_fd(const struct uring *u)
{
    return u->fd;
}

static struct io_uring_sqe *put(struct uring *u, struct uring_op *op, uint8_t opcode, int fd)
{
    if (u->pending == u->entries)
        return NULL;
    uint32_t at = (*u->sq_tail + u->unsubmitted) & u->sq_mask;
    struct io_uring_sqe *sqe = &u->sqes[at];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = (uintptr_t)op;
    u->sq_array[at] = at;
    u->unsubmitted++;
    u->pending++;
    return sqe;
}

static bool put_rw(struct uring *u, struct uring_op *op, uint8_t opcode, int fd, const struct iovec *iov,
                   unsigned n, uint64_t offset, uint32_t flags)
{
    struct io_uring_sqe *sqe = put(u, op, opcode, fd);
    if (!sqe)
        return false;
    sqe->addr = (uintptr_t)iov;
    sqe->len = n;
    sqe->off = offset;
    sqe->rw_flags = (int)flags;
    return true;
}

bool uring_readv(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov, unsigned n,
                 uint64_t offset)
{
    return put_rw(u, op, IORING_OP_READV, fd, iov, n, offset, 0);
}

bool uring_writev(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov, unsigned n,
                  uint64_t offset, uint32_t rw_flags)
{
    return put_rw(u, op, IORING_OP_WRITEV, fd, iov, n, offset, rw_flags);
}

bool uring_fdatasync(struct uring *u, struct uring_op *op, int fd)
{
    struct io_uring_sqe *sqe = put(u, op, IORING_OP_FSYNC, fd);
    if (sqe)
        sqe->fsync_flags = IORING_FSYNC_DATASYNC;
    return sqe != NULL;
}

/* The kernel took none of what is between its head and our tail: we take it back, last first. done() may put another in
 * its place, and submit that. */
static void take_back(struct uring *u, int error)
{
    for (;;) {
        uint32_t tail = *u->sq_tail;
        if (tail == __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE))
            return;
        struct uring_op *op = (struct uring_op *)(uintptr_t)u->sqes[(tail - 1) & u->sq_mask].user_data;
        __atomic_store_n(u->sq_tail, tail - 1, __ATOMIC_RELEASE);
        u->pending--;
        op->done(op, error);
    }
}

void uring_submit(struct uring *u)
{
    if (!u->unsubmitted)
        return;
    __atomic_store_n(u->sq_tail, *u->sq_tail + u->unsubmitted, __ATOMIC_RELEASE);
    for (unsigned left = u->unsubmitted; left;) {
        u->unsubmitted = 0;
        int n = enter(u, left, 0);
        if (n <= 0) {
            take_back(u, n ? n : -EAGAIN);
            return;
        }
        left -= (unsigned)n < left ? (unsigned)n : left; /* an entry that is refused ends a batch early */
    }
}

unsigned uring_reap(struct uring *u)
{
    unsigned n = 0;
    for (;;) {
        uint32_t head = *u->cq_head;
        if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
            return n;
        struct io_uring_cqe cqe = u->cqes[head & u->cq_mask];
        __atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
        u->pending--;
        n++;
        struct uring_op *op = (struct uring_op *)(uintptr_t)cqe.user_data;
        op->done(op, cqe.res);
    }
}

void uring_free(struct uring *u)
{
    if (!u)
        return;
    u->pending -= u->unsubmitted;
    while (u->pending) { /* buffers of theirs are about to go */
        uint32_t head = *u->cq_head;
        if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE)) {
            if (enter(u, 0, 1) < 0)
                break;
            continue;
        }
        __atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
        u->pending--;
    }
    munmap(u->sqes, u->entries * sizeof *u->sqes);
    munmap(u->rings, u->rings_size);
    close(u->fd);
    free(u);
}
