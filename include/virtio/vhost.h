/* SPDX-License-Identifier: MIT
 *
 * vhost-net: the host's kernel serves the receive and transmit queues of a network card, between guest memory and a tap,
 * without this process. Negotiation, control queue, configuration, resets stay here.
 *
 *   one /dev/vhost-net for each pair of queues; its two rings are the pair's
 *   kick         the queue's ioeventfd; nobody on the loop waits for it (virtio_hand_over())
 *   call         the vector's irqfd (pci_vector_fd()); or, while the vector is masked, MSI-X off, the device traced or KVM without
 *                irqfds, an eventfd of ours, and the loop raises the interrupt
 *   error        an eventfd: the ring or a buffer is not what the kernel can use; the queue is broken (DEVICE_NEEDS_RESET)
 *   memory       what the card's bus-master space shows as RAM, told by a listener there: nothing while bus mastering is off
 *   dirty pages  the kernel logs by guest address while anybody logs any RAM; log_sync() brings it to the RAM blocks
 *
 * A queue runs while the driver is (DRIVER_OK), the queue is enabled and not broken, its rings are in RAM, its pair is in use
 * (or was, since the driver started: what is there to be sent is sent all the same, as a tap's queue can when it is detached),
 * the link is up and the guest is not held. Whatever changes, vhost_update() starts and stops what has to be; a queue that stops
 * gives its indices back into struct virtq, from where it starts again. A change of the map stops all, replaces the table, and
 * starts what can still be.
 *
 * Stopping and starting are a few ioctls each, which wait for the kernel's worker to finish the batch it is in (half a
 * megabyte at most): the one wait that there is under a device's lock, and by design: after a reset, a bus master switched off
 * or a pause nothing may be written to guest memory any more.
 *
 * Trouble of the host's (an ioctl fails) is a warning, and breaks the queue.
 *
 * Lock: the card's, for all but set-up; the listener's calls hold the topology lock and take the card's.
 * Sources: <linux/vhost.h>; Linux drivers/vhost; virtio 1.2, 2.4, 2.7, 5.1.
 */
#ifndef VIRTIO_VHOST_H
#define VIRTIO_VHOST_H

#include "virtio/pci.h"

enum {
    VHOST_PAIRS_MAX = 8,
    VHOST_REGIONS_MAX = 64, /* what Linux takes (vhost.max_mem_regions) */
};

/* The kernel, or a test's. All but open return 0 or -errno. */
struct vhost_ops {
    int (*open)(void *ctx); /* a descriptor, to be close()d; or -errno */
    int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
};

struct vhost_options {
    const char *name;            /* "net0", for messages; lives as long as it */
    const struct vhost_ops *ops; /* NULL: /dev/vhost-net */
    void *ctx;
    unsigned pairs;
    /* descriptors of taps with a header of 12 bytes (TUNSETVNETHDRSZ), not blocking */
    int tap[VHOST_PAIRS_MAX];
    bool uso; /* the tap knows UDP segmentation */
    /* What the driver takes unfinished (PORT_ACCEPT_); a pair comes into use or goes out of it. Any thread, the card's lock held.
     * false: the host refused, and it is said. */
    void (*offload)(void *tap_ctx, uint8_t accepts);
    bool (*attach)(void *tap_ctx, unsigned pair, bool attached);
    /* Asked when the kernel reports an error: false, the tap is no more, and no ring is to blame. Loop thread, no lock held. NULL:
     * it always is. */
    bool (*alive)(void *tap_ctx);
    void *tap_ctx;
};

struct vhost;

/* --- set-up. NULL and a sentence with a remedy. */
struct vhost *vhost_new(const struct vhost_options *o, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* Those of `features` that the card may offer with it. */
uint64_t vhost_features(const struct vhost *vh, uint64_t features);
bool vhost_knows_uso(const struct vhost *vh);
/* The card's data queues are 0 … 2 * pairs - 1. */
bool vhost_plug(struct vhost *vh, struct virtio_device *v) __attribute__((warn_unused_result));
/* Stops everything. No lock held; NULL is fine. */
void vhost_free(struct vhost *vh);

/* --- the card's; lock held */
void vhost_update(struct vhost *vh);
void vhost_driver_ok(
    struct vhost *vh); /* what the tap has kept from before is dropped; then vhost_update() */
void vhost_set_pairs(struct vhost *vh, unsigned pairs);
void vhost_set_link(struct vhost *vh, bool up);
void vhost_set_held(struct vhost *vh, bool held);
void vhost_vectors(struct vhost *vh); /* vectors became live, were masked, or given to other queues */
void vhost_offload(struct vhost *vh, uint8_t accepts);
void vhost_print(struct vhost *vh, FILE *out); /* takes the lock */

#endif
