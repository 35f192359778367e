/* SPDX-License-Identifier: MIT
 *
 * The host's side of a disk: a raw file or a block device, never looked into (what a guest writes to a raw disk cannot
 * turn it into another format at the next start). Requests are asynchronous: through io_uring, or, where that is not to be
 * had and for what is rare, through the work pool.
 *
 * A request is embedded in its owner; its pieces are guest memory. It completes on the loop, or within disk_submit(), with
 * done(req, 0 or -errno), between the guard's enter and leave. All functions are called with the owner's lock held.
 *
 * Truth about writes: a flush, or a write through, succeeds only when fdatasync() did. Once one has failed the host may
 * have dropped what it covered, and a later one that succeeds would say nothing about that: so all further ones fail as
 * well, until the disk is opened anew.
 *
 * direct: O_DIRECT. Requests that are not aligned as the file wants it go through the page cache, one by one; Linux keeps
 * the two coherent.
 */
#ifndef VIRTIO_DISK_H
#define VIRTIO_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kvm/host/loop.h"
#include "kvm/host/uring.h"
#include "kvm/host/work.h"

enum disk_op {
    DISK_READ,
    DISK_WRITE,
    DISK_FLUSH,
    DISK_DISCARD, /* a hint: not to be able to is success */
    DISK_ZERO,
};

struct disk;
struct disk_req {
    enum disk_op op;
    bool through; /* write: done when it is on the medium */
    bool unmap;   /* zero: may give the space back */
    uint64_t offset, len;
    struct iovec *iov; /* read, write: len bytes; both are used up */
    uint16_t n_iov;
    void (*done)(struct disk_req *req, int result);

    struct disk *disk;
    struct uring_op uring; /* disk.c's */
    struct work_job job;
    bool buffered;
    bool unsynced; /* what failed was, or may have been, the writing of what is cached */
    int result;
};

struct disk_config {
    const char *path, *name; /* name: the device's, for messages; both live as long as the disk */
    bool ro, direct, no_uring;
    unsigned requests; /* at most so many at a time */
    struct loop *loop;
    struct work *work;
    void (*enter)(void *ctx); /* the owner's lock */
    void (*leave)(void *ctx); /* after a batch of completions: publish them, drop the lock */
    void *ctx;
};

struct disk {
    struct disk_config config;
    uint64_t size;       /* bytes, a multiple of 512 */
    uint32_t physical;   /* block size below which writes are slow: 512 or more */
    int fd, buffered_fd; /* the same without direct */
    struct uring *uring; /* NULL: the pool */
    struct loop_fd ready;
    unsigned dio_mem, dio_offset; /* alignment for direct; 1: none */
    bool lost;                    /* a flush failed */
    uint64_t errors, warned;      /* warned: when, loop's time */
};

/* NULL, or a sentence in err. Set-up. */
const char *disk_open(struct disk *d, const struct disk_config *config, char *err, size_t errlen);
/* Set-up thread, the loop not running: waits for what io_uring has under way; the pool is its owner's to end. */
void disk_close(struct disk *d);

void disk_start(struct disk *d, struct disk_req *req); /* offset and len were checked against size */
void disk_submit(struct disk *d);                      /* once after a batch of starts */

#endif
