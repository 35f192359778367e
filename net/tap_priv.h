/* SPDX-License-Identifier: MIT
 *
 * What net/tap.c and net/tap_open.c share.
 */
#ifndef NET_TAP_PRIV_H
#define NET_TAP_PRIV_H

#include <assert.h>
#include <net/if.h>

#include "kvm/host/loop.h"
#include "net/tap.h"

/* struct virtio_net_hdr_mrg_rxbuf (virtio 1.2, 5.1.6), little endian as the host is. */
struct tap_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
    uint16_t num_buffers;
};
static_assert(sizeof(struct tap_header) == TAP_VNET_HEADER, "the kernel's layout");

#define TAP_F_USO4_AND_USO6 0x60u /* TUN_F_USO4 | TUN_F_USO6, Linux 6.2 */

struct tap {
    struct port port; /* first */
    const char *name, *downscript;
    char ifname[IFNAMSIZ];
    int fds[TAP_QUEUES_MAX];
    unsigned queues;
    bool vnet, uso; /* it has a header; the kernel knows UDP segmentation */
    bool multi;     /* IFF_MULTI_QUEUE */

    struct loop_fd watch;
    unsigned burst; /* frames to read at the next wake-up */
    bool held;      /* frame[] waits for the peer */
    bool full;      /* the card waits for the tap */
    bool given;     /* vhost has it */
    bool dead;      /* deleted */
    void (*on_gone)(void *ctx);
    void *gone_ctx;
    struct loop_task gone_task;
    int links_fd; /* of net/tap_gone.c, while vhost has it; else -1 */
    struct loop_fd links;
    struct loop_timer links_later;
    bool down_said;
    uint64_t refused; /* frames that the kernel did not take */
    struct tap_header header;
    size_t len;
    uint8_t frame[PORT_FRAME_MAX];
    uint8_t whole[PORT_FRAME_MAX];
};

/* ---- net/tap_gone.c */
void tap_gone(struct tap *t, const char *why); /* from wherever it was noticed */
void tap_gone_init(struct tap *t, struct loop *loop);
void tap_gone_listen(struct tap *t, bool on);
void tap_gone_fini(struct tap *t);

/* The port and the watch, once the descriptors are there. */
bool tap_start(struct tap *t, struct net *net) __attribute__((warn_unused_result));

#endif
