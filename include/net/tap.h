/* SPDX-License-Identifier: MIT
 *
 * A backend on a tap interface of the host: frames go to and come from the host's kernel, one system call each. Opened by
 * name, made anew, or handed in as a descriptor.
 *
 * Offloads. Where the tap has a vnet header (always, but for a descriptor that was opened without), frames go both ways
 * unfinished: TUNSETOFFLOAD asks for all there is each time the tap is opened or taken back from vhost. What the peer does
 * not accept is finished by the port, after one read of up to 64 KiB in place of one a segment: an e1000 receives half as
 * fast again for it. vhost has no port behind it, and sets what its driver takes.
 *
 * Backpressure. A peer that says BUSY leaves one frame here, the descriptor is not asked any more, and the interface's own
 * queue (txqueuelen) fills, then drops, as a wire would. A tap that takes nothing (EAGAIN) makes the card keep its frames.
 *
 * Reads per wake-up follow what the last one found, so that one frame costs one read, mostly without another that finds
 * nothing, and a burst up to TAP_BUDGET of them.
 *
 * Host trouble never ends the run: an interface that is down, or a frame that the kernel refuses (EINVAL: a vnet header that it
 * does not believe), is a counted drop; one that was deleted is said once, whoever asked for gone() is told, and the card's cable
 * leads nowhere from then on. Who reads a tap hears of its end by that; while vhost does, net/tap_gone.c listens for it.
 *
 * Threads: set-up and the loop. Sources: Documentation/networking/tuntap.rst, <linux/if_tun.h>; virtio 1.2, 5.1.6.
 */
#ifndef NET_TAP_H
#define NET_TAP_H

#include <stdio.h>

#include "net/port.h"

enum {
    TAP_BUDGET = 64, /* frames read in one go */
    TAP_QUEUES_MAX = 8,
    TAP_VNET_HEADER = 12, /* as vhost and virtio 1 want it, with num_buffers */
    TAP_SCRIPT_SECONDS = 10,
};

struct tap_options {
    const char *name;   /* "net0", for messages */
    const char *ifname; /* NULL: a new one, tapN */
    int fd; /* an open tap (IFF_TAP | IFF_NO_PI), -1: none. Ours from then on, and non-blocking: nobody else may read it */
    const char *script, *downscript; /* NULL: none. Run with the interface's name as the one argument */
    const char *address; /* of an interface that this makes: "192.168.33.1" or "10.1.0.1/16"; NULL: none */
    unsigned queues;     /* 0: 1. More than one are for vhost; the port uses the first */
    /* it was deleted: once, from the loop, with nobody else on the stack. NULL: nobody asks */
    void (*gone)(void *ctx);
    void *gone_ctx;
};

struct tap;

/* NULL and a sentence with a remedy. */
struct tap *tap_new(struct net *net, const struct tap_options *o, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* Runs the down script. NULL is fine. */
void tap_free(struct tap *t);

struct port *tap_port(struct tap *t);
const char *tap_ifname(const struct tap *t);
bool tap_is_gone(const struct tap *t);
bool tap_look(struct tap *t); /* asks the kernel: whether it is still there. Loop thread */
void tap_print(struct tap *t, FILE *out);

/* For vhost, which reads and writes the descriptors itself. Hand over first: the port then takes no more frames and reads none.
 * Queue 0 is always attached; the others are after tap_queue_attach(). -1: there is no such queue. */
int tap_fd(const struct tap *t, unsigned queue);
void tap_hand_over(struct tap *t, bool given);
bool tap_queue_attach(struct tap *t, unsigned queue, bool attached) __attribute__((warn_unused_result));
/* PORT_ACCEPT_ bits; 0 or -errno. */
int tap_offload(struct tap *t, uint8_t accepts);
bool tap_has_vnet_header(const struct tap *t);
bool tap_has_uso(const struct tap *t); /* UDP segmentation, both ways: Linux 6.2 */

#endif
