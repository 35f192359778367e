/* SPDX-License-Identifier: MIT
 *
 * Split virtqueues, the device's side. A queue is three rings in guest memory: descriptors, what the driver made available,
 * what the device used. This file takes requests off and puts them back; it knows no transport and no device.
 *
 *     while (virtq_pop(q, &chain)) {             // off the queue: every descriptor was read once, into chain.iov
 *         … use chain.iov (out_n pieces to read from, then in_n pieces to write to) …
 *         virtq_push(q, &chain, bytes_written);  // may come later and in any order: each chain exactly once
 *     }
 *     virtio_flush(v, q);                        // publishes all pushes at once, and interrupts if the guest wants it
 *
 * What a guest says is believed never: heads and links are below the size, a chain has no more descriptors than the
 * queue (in an indirect table: than the queue may have at most), readable ones come before writable ones, every byte is
 * RAM that the device's bus-master space reaches, all of a chain is less than 4 GiB, tables do not nest, and no
 * head is under way twice. So what is under way is bounded by the queue's size. A ring that says otherwise is broken: the
 * queue stops (virtq_pop() is false), q->broke() is called once, and the transport sets DEVICE_NEEDS_RESET. What
 * is under way may still be pushed. A zero-length descriptor is legal and is left out; a chain may have no bytes at all.
 *
 * Nothing is copied: pieces point into guest memory, which lives as long as the VM, so a request that is under way when
 * the guest resets the device or moves its memory does no harm to the process. What is read through them may change at
 * any moment: read once into a local, check that.
 *
 * Notifications: while requests are found the guest is told not to kick; virtq_pop() returning false turns kicks on again
 * (flags, or the event index) and has looked once more after that, so none is lost. Interrupts: virtq_publish()
 * says whether the guest wants one for what was published since the last.
 *
 * No packed rings: they would save 1 % of a request (tests/bench/README.md has the figures).
 *
 * Lock: the device's. Threads: any. No allocation, no system call, after virtq_init(). Sizes in bytes.
 * Source: virtio 1.2, 2.6 and 2.7 (2.7.5 descriptors, 2.7.6 available, 2.7.7 and 2.7.10 suppression, 2.7.8 used).
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/access.h"

enum {
    VIRTQ_MAX = 1024, /* the largest size that a device may offer */
    /* Pieces of a chain beyond one a descriptor: buffers that cross from one block of RAM into another. */
    VIRTQ_SPARE = 4,

    VIRTQ_DESC_F_NEXT = 1,
    VIRTQ_DESC_F_WRITE = 2,
    VIRTQ_DESC_F_INDIRECT = 4,
    VIRTQ_AVAIL_F_NO_INTERRUPT = 1,
    VIRTQ_USED_F_NO_NOTIFY = 1,

    VIRTQ_DESC_ALIGN = 16,
    VIRTQ_AVAIL_ALIGN = 2,
    VIRTQ_USED_ALIGN = 4,
};

struct virtq_desc { /* as in guest memory, little-endian */
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct virtq_used_elem {
    uint32_t id, len;
};
_Static_assert(sizeof(struct virtq_desc) == 16 && sizeof(struct virtq_used_elem) == 8, "virtio 1.2, 2.7");

/* A request. The caller gives iov and room (q->max + VIRTQ_SPARE takes every chain; one with more pieces breaks the
 * queue) and keeps both until the push. */
struct virtq_chain {
    struct iovec *iov;
    uint16_t room;
    uint16_t out_n, in_n; /* pieces: iov[0 … out_n) are the driver's, the in_n after them the device's */
    uint16_t head;
    uint32_t out_len, in_len; /* their bytes; both together less than 4 GiB */
};

struct virtq {
    /* What the driver has chosen; the transport's, and in saved states. */
    uint64_t desc, avail, used; /* guest addresses */
    uint16_t size, max;         /* the driver's; what the device offered */
    uint8_t enabled;
    uint8_t broken;
    uint16_t vector;
    uint16_t last_avail;      /* index of the next entry to look at */
    uint16_t used_idx;        /* as published */
    bool event_idx, indirect; /* negotiated */

    uint16_t index; /* number of the queue */
    void *owner;    /* the device */
    void (*broke)(struct virtq *q, const char *why);
    struct space *dma;

    /* Where the rings are in this process, as of `generation` (mem/access.h). */
    uint64_t generation;
    const struct virtq_desc *desc_ring;
    uint16_t *avail_ring;   /* flags, idx, ring[size], used_event */
    struct iovec used_ring; /* flags, idx, ring[size], avail_event */
    bool mapped;

    uint16_t avail_idx;            /* the driver's, as last read */
    uint16_t used_next;            /* pushed up to here, published up to used_idx */
    uint16_t signalled;            /* used_idx at the last decision about an interrupt */
    uint16_t inflight;             /* popped and not pushed */
    bool quiet;                    /* NO_NOTIFY is set */
    bool again;                    /* virtq_pop() stopped for the budget with work left */
    uint32_t budget;               /* chains that pop may still take in this turn */
    uint64_t busy[VIRTQ_MAX / 64]; /* heads under way */

    uint64_t interrupts; /* that publishing asked for */
};

/* Set-up. max is a power of two, at most VIRTQ_MAX. broke() is called with the queue already marked. */
void virtq_init(struct virtq *q, unsigned index, unsigned max, struct space *dma, void *owner,
                void (*broke)(struct virtq *q, const char *why));
/* Back to where nothing is chosen; what was under way is forgotten (nothing may be pushed for it any more). */
void virtq_reset(struct virtq *q);
/* The driver says that its choices stand: NULL and it is enabled, or what is wrong with them (2.7: size, alignment,
 * rings over each other, past the end of the address space). That they are RAM is checked at every use. */
const char *virtq_enable(struct virtq *q) __attribute__((warn_unused_result));

/* The next request, or false: there is none, or the queue is not enabled, broken, or out of reach (bus master off). */
bool virtq_pop(struct virtq *q, struct virtq_chain *chain) __attribute__((warn_unused_result));
/* Is there a request? As virtq_pop() it turns kicks on when not. */
bool virtq_ready(struct virtq *q) __attribute__((warn_unused_result));
/* Puts the last n popped chains back, none of which has been pushed: they come again. */
void virtq_unpop(struct virtq *q, const struct virtq_chain *const *chains, unsigned n);
/* For who found too few: kicks when there are more than were seen so far. True: there are already, look again. */
bool virtq_more(struct virtq *q) __attribute__((warn_unused_result));
/* The device is done with it and has written the first len of its in_len bytes (more are cut). */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t len);
/* Shows the driver what was pushed. True: it wants an interrupt. */
bool virtq_publish(struct virtq *q) __attribute__((warn_unused_result));
/* The same in two: shows it, and says how many of those shown the driver wants to be interrupted for, as things stand; it is asked
 * again with the next, or by virtq_signal(). For who may wait with that, as the driver may find them by itself. */
unsigned virtq_show(struct virtq *q) __attribute__((warn_unused_result));
bool virtq_signal(struct virtq *q) __attribute__((warn_unused_result));
/* Marks the queue broken, for a device that finds what no driver may do. */
void virtq_break(struct virtq *q, const char *why);

/* Requests that the driver has made available and nobody has taken: never more than the size. */
unsigned virtq_waiting(struct virtq *q);

/* Bytes between guest pieces and a buffer: from byte `skip` on, at most len; returns how many there were. */
size_t virtq_copy_out(const struct virtq_chain *chain, size_t skip, void *buf, size_t len); /* driver's */
size_t virtq_copy_in(const struct virtq_chain *chain, size_t skip, const void *buf,
                     size_t len); /* device's */
/* Takes the first n bytes off the pieces at *iov; returns how many there were. For headers in front of data. */
size_t virtq_skip(struct iovec **iov, uint16_t *n_iov, size_t n);

#endif
