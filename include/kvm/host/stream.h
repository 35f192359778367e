/* SPDX-License-Identifier: MIT
 *
 * Bytes from and to descriptors of which nothing is known: standard input and output may be a terminal, a pipe that nobody
 * reads, a file on a slow disk, a socket, /dev/full, closed. A write or read of any of them may block, and O_NONBLOCK would be
 * set for everybody who shares the open file (the user's shell among them). Polling first does not help with files, is
 * unsafe where others read the same pipe, and a terminal blocks in the middle of a write. Opening /proc/self/fd/N anew gives
 * flags of one's own for some pipes and terminals, fails for sockets and other users' pipes, and for a pty's master makes
 * another pty. So each stream has a thread of its own, started when there is something for it to do, which may block as long
 * as it likes; between it and the guest is a ring of fixed size. Descriptors, and their flags, stay as they are.
 *
 * Nothing grows: what does not fit the ring is not taken, and the caller is told when there is room again. Nothing is lost:
 * what was taken is written, in order, or the stream has an error. Nothing blocks: neither the loop nor a vCPU ever waits.
 *
 * Any thread, with any lock below LOCK_LOOP held, may write, read and ask; callbacks run on the loop, without a lock.
 */
#ifndef KVM_HOST_STREAM_H
#define KVM_HOST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kvm/host/loop.h"

/* First thing in main(): fills descriptors 0, 1 and 2 where they are closed, with something that fails as a closed one does
 * (EBADF for 0's reader and 1's and 2's writer), so that no file we open becomes somebody's standard output. */
void stream_reserve_standard(void);

/* Standard input has one reader. False: it is taken. Loop thread. */
bool stream_claim_stdin(void) __attribute__((warn_unused_result));
void stream_release_stdin(void);

/* --- Out ----------------------------------------------------------------------------------------------------------- */

struct stream_out;

struct stream_out_ops {
    /* There is room for at least half the ring again, after a write that was cut short. */
    void (*room)(void *arg);
    /* All that was taken has been written (or there was an error). Called when stream_out_notify_empty() asked. */
    void (*empty)(void *arg);
    /* A write failed with this errno (EPIPE: the reader is gone; ENOSPC, EIO, EBADF). Called once; from then on everything
     * is taken and thrown away, so that the guest goes on. Whether the run goes on is the owner's to say. */
    void (*error)(void *arg, int error);
};

/* fd is duplicated and stays the caller's. size: of the ring, at least 1. Any op may be NULL. NULL and errno. */
struct stream_out *stream_out_new(struct loop *loop, int fd, size_t size, const struct stream_out_ops *ops,
                                  void *arg);

/* Takes what fits and returns how much that was. Less than n: ops.room follows. */
size_t stream_out_write(struct stream_out *s, const void *data, size_t n);

/* How much would fit now; it becomes less only by writing. */
size_t stream_out_room(struct stream_out *s);

/* ops.empty follows, at once if nothing is under way. The way to end a run: on the loop, so that signals still work when
 * the reader of a full pipe never comes back. A stream whose bytes were lost is not empty before ops.error has said so. */
void stream_out_notify_empty(struct stream_out *s);
bool stream_out_is_empty(struct stream_out *s);

/* 0 or the errno of the write that failed. */
int stream_out_error(struct stream_out *s);

/* Loop thread; in a callback too. No callback follows. What is still in the ring is thrown away. A thread that is stuck
 * in write() is left to itself with its memory (it touches nothing but its own ring, and ends when its write does). NULL
 * is fine. */
void stream_out_free(struct stream_out *s);

/* --- In ------------------------------------------------------------------------------------------------------------ */

struct stream_in;

/* fd is duplicated and stays the caller's. Nothing is read before stream_in_start(); then no more than size bytes ahead of
 * the consumer. ready() is called on the loop when bytes come to an empty ring, and at the end; a consumer that leaves bytes
 * there comes back by itself. NULL and errno. */
struct stream_in *stream_in_new(struct loop *loop, int fd, size_t size, void (*ready)(void *arg), void *arg);
void stream_in_start(struct stream_in *s);

/* Takes up to n bytes that are there. */
size_t stream_in_read(struct stream_in *s, void *data, size_t n);
size_t stream_in_available(struct stream_in *s);

/* All was read and no more will come: end of file, hang-up, or an error (0 or its errno). */
bool stream_in_ended(struct stream_in *s);
int stream_in_error(struct stream_in *s);

/* Loop thread; as stream_out_free(). A thread that waits for input is woken, unless it is stuck in read() itself. */
void stream_in_free(struct stream_in *s);

#endif
