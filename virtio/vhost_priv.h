/* SPDX-License-Identifier: MIT
 *
 * What virtio/vhost.c (queues) and virtio/vhost_memory.c (the table, the dirty log) share.
 */
#ifndef VIRTIO_VHOST_PRIV_H
#define VIRTIO_VHOST_PRIV_H

#include "mem/view.h"
#include "virtio/vhost.h"

#include <linux/vhost.h> /* after virtio/pci.h: it has macros of the same names, and values */

/* Feature bits in which the kernel has a say: the rings', and the buffers' (MRG_RXBUF). */
#define VHOST_CARES                                                                                          \
    (1ull << VIRTIO_F_INDIRECT_DESC | 1ull << VIRTIO_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1 | 1ull << 15)

enum {
    VHOST_WARNINGS = 10, /* a guest can start a card as often as it likes */
};

struct vhost_request {
    const char *name;
    unsigned long number;
};
#define VHOST_REQUEST(request_) ((const struct vhost_request){#request_, request_})

struct vhost_queue {
    struct vhost *vh;
    unsigned index;
    bool running;
    int call_fd, error_fd; /* ours */
    int called;            /* what the kernel signals; -1: nothing yet */
    struct loop_fd call, error;
    const uint16_t *used; /* the used ring, as the kernel was told */
    uint64_t starts, errors;
};

struct vhost {
    struct vhost_options o;
    struct virtio_device *v; /* NULL until it is plugged in */
    int fds[VHOST_PAIRS_MAX];
    uint64_t features, acked[VHOST_PAIRS_MAX];
    struct vhost_queue queues[2 * VHOST_PAIRS_MAX];
    unsigned active; /* pairs */
    /* Pairs that were active since DRIVER_OK. What was to be sent on one of them is sent: a driver that gives a pair up
     * waits for it, and Linux's TCP sends nothing again that a card still has. */
    unsigned sending;
    bool link, held;
    unsigned warned;

    /* The map, as the listener heard it, and what the kernel knows of it: n_regions 0 is nothing. */
    struct listener listener;
    struct vhost_region {
        struct range range;
        uint8_t log; /* clients, besides the global one */
    } map[VHOST_REGIONS_MAX];
    unsigned n_map, n_regions, over; /* over: there was no room for so many */
    bool changed, global;

    bool logging;      /* the kernel logs */
    bool lost;         /* it should, and cannot: everything counts as written */
    uint64_t *log;     /* a bit a page, by guest address */
    uint64_t log_size; /* bytes */
};

bool vhost_call(struct vhost *vh, unsigned pair, const struct vhost_request *r, void *arg)
    __attribute__((warn_unused_result));
bool vhost_set_features(struct vhost *vh, unsigned pair) __attribute__((warn_unused_result));
bool vhost_set_addresses(struct vhost_queue *q) __attribute__((warn_unused_result));
void vhost_stop_all(struct vhost *vh);

void vhost_listen(struct vhost *vh);
void vhost_unlisten(struct vhost *vh);

#endif
