/* SPDX-License-Identifier: MIT
 *
 * io_uring by plain system calls: the little of it that disks need. A ring belongs to one owner, who calls everything here
 * from one thread at a time (a device's lock), and watches uring_fd() for EPOLLIN: then completions wait for uring_reap().
 * Completions that come while submitting (the page cache had it) are there at once: reap after each submit.
 *
 * Nothing under way is cancelled; what its operation points to stays until done(). At most `entries` operations are
 * under way, so no completion is ever lost or late for want of room.
 *
 * Source: Linux include/uapi/linux/io_uring.h, io_uring_setup(2), io_uring_enter(2).
 */
#ifndef KVM_HOST_URING_H
#define KVM_HOST_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct uring;

/* Embedded in its owner. result: as the system call's, or -errno. done() may add and submit. */
struct uring_op {
    void (*done)(struct uring_op *op, int result);
};

/* NULL and errno: ENOSYS, EPERM (a kernel or a sandbox without it), ENOMEM. entries: a power of two. */
struct uring *uring_new(unsigned entries);
/* Waits for what is under way, without calling done(). */
void uring_free(struct uring *u);
int uring_fd(const struct uring *u);

/* Puts an operation into the ring; uring_submit() starts it. False: `entries` are under way already. rw_flags: RWF_…. */
bool uring_readv(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov, unsigned n,
                 uint64_t offset) __attribute__((warn_unused_result));
bool uring_writev(struct uring *u, struct uring_op *op, int fd, const struct iovec *iov, unsigned n,
                  uint64_t offset, uint32_t rw_flags) __attribute__((warn_unused_result));
bool uring_fdatasync(struct uring *u, struct uring_op *op, int fd) __attribute__((warn_unused_result));

/* One system call for all that were put in. What the kernel does not take is done() with its -errno, here. */
void uring_submit(struct uring *u);
/* done() for each that has completed; no system call. How many there were. */
unsigned uring_reap(struct uring *u);

#endif
