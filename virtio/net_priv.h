/* SPDX-License-Identifier: MIT
 *
 * What virtio/net.c (frames) and virtio/net_ctrl.c (the control queue, filters) share. Source: virtio 1.2, 5.1.
 */
#ifndef VIRTIO_NET_PRIV_H
#define VIRTIO_NET_PRIV_H

#include "net/ether.h"
#include "net/port.h"
#include "virtio/net.h"
#include "virtio/vhost.h"
#include "virtio/pci.h"

enum {
    VIRTIO_NET_F_CSUM = 0, /* 5.1.3, bit numbers */
    VIRTIO_NET_F_GUEST_CSUM = 1,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
    VIRTIO_NET_F_MAC = 5,
    VIRTIO_NET_F_GUEST_TSO4 = 7,
    VIRTIO_NET_F_GUEST_TSO6 = 8,
    VIRTIO_NET_F_GUEST_ECN = 9,
    VIRTIO_NET_F_HOST_TSO4 = 11,
    VIRTIO_NET_F_HOST_TSO6 = 12,
    VIRTIO_NET_F_HOST_ECN = 13,
    VIRTIO_NET_F_MRG_RXBUF = 15,
    VIRTIO_NET_F_STATUS = 16,
    VIRTIO_NET_F_CTRL_VQ = 17,
    VIRTIO_NET_F_CTRL_RX = 18,
    VIRTIO_NET_F_CTRL_VLAN = 19,
    VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
    VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
    VIRTIO_NET_F_MQ = 22,
    VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
    VIRTIO_NET_F_GUEST_USO4 = 54,
    VIRTIO_NET_F_GUEST_USO6 = 55,
    VIRTIO_NET_F_HOST_USO = 56,

    VIRTIO_NET_S_LINK_UP = 1, /* 5.1.4, status */
    VIRTIO_NET_S_ANNOUNCE = 2,

    VIRTIO_NET_HEADER = 12,        /* 5.1.6, with num_buffers */
    VIRTIO_NET_LEGACY_HEADER = 10, /* 5.1.6.1: without, if buffers are not merged */
    VIRTIO_NET_PAIRS_MAX = 8,
    VIRTIO_NET_QUEUE = 256, /* entries of a receive or transmit queue */
    VIRTIO_NET_CTRL_QUEUE = 64,

    NET_MAC_TABLE = 64, /* of each kind; more mean all */
    NET_VLANS = 4096,
    NET_FLOWS = 256,

    /* sent, and the driver not told: as many, and as large, as tie up nobody's buffers */
    NET_QUIET_FRAMES = 4,
    NET_QUIET_BYTES = 1024,

    NET_ANNOUNCEMENTS = 3,
};

/* What a frame is checked against, as the driver asked for it. */
struct net_filter {
    uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast; /* 5.1.6.5.1, in the order of the commands */
    uint8_t uni_all, multi_all;                                 /* the tables were too small */
    uint8_t n_uni, n_multi;
    uint8_t uni[NET_MAC_TABLE][ETHER_ADDRESS], multi[NET_MAC_TABLE][ETHER_ADDRESS];
    uint64_t vlans[NET_VLANS / 64];
};

enum net_drop {
    NET_DROP_NO_DRIVER,
    NET_DROP_FILTER,
    NET_DROP_VLAN,
    NET_DROP_SMALL_BUFFER,
    NET_DROP_SHORT_QUEUE,
    NET_DROP_TX_SHORT,
    NET_DROP_TX_WRITABLE,
};

struct virtio_net {
    struct virtio_device v; /* first */
    struct port port;
    struct vhost *vhost; /* NULL: frames go through the port */
    const char *mac_text;
    uint32_t pairs_max;

    uint8_t first_mac[ETHER_ADDRESS]; /* the card's own: what `mac` is at each reset */
    uint8_t mac[ETHER_ADDRESS];       /* configuration */
    uint16_t status, max_pairs;

    uint16_t pairs;    /* in use */
    uint64_t offloads; /* guest's, as bits of features */
    struct net_filter filter;
    uint8_t flows[NET_FLOWS]; /* pair that a flow was last sent on */

    uint32_t to_flush; /* receive queues with frames not shown yet, a bit each */
    uint16_t starved;  /* frames wait for buffers: its queue + 1 */
    bool give_up;      /* drop the next frame that finds too few */
    uint8_t tx_waits;  /* pairs whose next frame the peer refused, a bit each */
    struct device_task flush;
    struct device_timer patience;

    uint8_t quiet;     /* pairs whose sent frames were shown without an interrupt, a bit each */
    uint64_t quiet_at; /* the oldest that the driver has not seen */
    struct device_timer quiet_end;

    unsigned announcements; /* still to be asked for since the cable was plugged in */
    struct device_timer announce;

    struct iovec tx_iov[VIRTIO_NET_QUEUE + VIRTQ_SPARE];
    /* of the buffers of one frame; twice what a chain may have, so that each finds room for the longest */
    struct iovec rx_iov[2 * (VIRTIO_NET_QUEUE + VIRTQ_SPARE)];
    struct virtq_chain rx[VIRTIO_NET_QUEUE];
};

/* --- net_ctrl.c; lock held */
void net_filter_reset(struct virtio_net *n);
/* Whether the driver wants the frame; counts what it does not. */
bool net_wanted(struct virtio_net *n, const struct iovec *iov, int n_iov);
void net_control(struct virtio_net *n, struct virtq *q);
void net_set_pairs(struct virtio_net *n, uint16_t pairs);
/* Whoever waits for receive buffers may try again. */
void net_fed(struct virtio_net *n);
/* Tells the port what frames may still need, from n->offloads. */
void net_accept(struct virtio_net *n);

static inline size_t net_header_size(const struct virtio_net *n)
{
    return n->v.legacy && !virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF) ? VIRTIO_NET_LEGACY_HEADER
                                                                     : VIRTIO_NET_HEADER;
}
static inline struct virtq *net_rx_queue(struct virtio_net *n, unsigned pair)
{
    return virtio_queue(&n->v, 2 * pair);
}
static inline struct virtq *net_tx_queue(struct virtio_net *n, unsigned pair)
{
    return virtio_queue(&n->v, 2 * pair + 1);
}
static inline struct virtq *net_control_queue(struct virtio_net *n)
{
    /* 5.1.2: without MQ there is one pair, whatever was offered */
    return virtio_queue(&n->v, virtio_has(&n->v, VIRTIO_NET_F_MQ) ? 2 * n->max_pairs : 2);
}

#endif
