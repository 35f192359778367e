/* SPDX-License-Identifier: MIT
 *
 * Ports: the ends of network cables. A card has one, a backend (tap, user network, hub …) has one, and
 * port_connect() plugs two together. Neither side knows what the other is.
 *
 *   port_send(port, frame)   hands a frame to the peer. PORT_SENT: the peer has it, or it was dropped and counted.
 *                            PORT_BUSY: the peer has no room; the sender keeps the frame, and its ready() is called
 *                            once when it is worth trying again. So nothing is lost and nothing grows: a tap that is
 *                            told BUSY is disarmed, and the kernel's socket buffer is the queue.
 *   ops->receive(port, …)    the peer's side of it, with the same two answers. After BUSY the owner calls port_ready()
 *                            when it can take frames again, and is not called before.
 *
 * What a frame still needs (checksum, segmentation) travels with it as struct port_meta, the fields of
 * virtio_net_hdr in host order. What the receiver does not accept is done here, in software (net/offload.h). No field of
 * meta is believed.
 *
 * No two owners ever call each other in a circle. While an owner's code is on the stack (it is sending, receiving or
 * in ready()), a frame for it is copied into its port's ring, and a task on the loop delivers it later. A card runs
 * under its device's lock, of which a thread may hold one: so while any card is on the stack, a frame for another
 * card is put off in the same way. The ring is bounded (PORT_RING_BYTES); when it is full the sender is told BUSY.
 * Frames never overtake each other.
 *
 * Cards are told from backends by their guard: enter() and leave(), which take and drop the device's lock around
 * receive() and ready(). A card sends with its lock held, on the loop.
 *
 * Threads: everything on the loop thread, no locks; only port_ready() and port_accept() may be called from any
 * thread, with a device's lock held. Ports are set up before the loop runs, or on it.
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "kvm/host/loop.h"

enum {
    PORT_HEADER = 14,                 /* an Ethernet header: no frame is shorter */
    PORT_FRAME_MAX = 65535 + 14 + 16, /* an IP packet of 64 KiB with its header and tags */
    PORT_IOV_MAX = 1024,              /* pieces of a frame */
    PORT_RING_BYTES = 256 * 1024,
    PORT_BUDGET = 64, /* frames from a ring in one go */
};

enum port_result {
    PORT_SENT,
    PORT_BUSY,
};

/* virtio 1.2, 5.1.6: struct virtio_net_hdr, with its constants. All zero: an ordinary, finished frame. */
struct port_meta {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len; /* a hint */
    uint16_t gso_size;
    uint16_t csum_start, csum_offset;
};
enum {
    PORT_NEEDS_CSUM = 1, /* flags */
    PORT_DATA_VALID = 2,
    PORT_SUMMED = 0x80, /* only here, and only from net/port.c: see PORT_ACCEPT_SUMMED */

    PORT_GSO_NONE = 0, /* gso_type */
    PORT_GSO_TCPV4 = 1,
    PORT_GSO_TCPV6 = 4,
    PORT_GSO_UDP_L4 = 5,
    PORT_GSO_ECN = 0x80, /* may be added to the TCP types */
};

/* What a receiver takes unfinished: an OR of these. */
enum {
    PORT_ACCEPT_CSUM = 1 << 0, /* PORT_NEEDS_CSUM, PORT_DATA_VALID; needed for all others */
    PORT_ACCEPT_TSO4 = 1 << 1,
    PORT_ACCEPT_TSO6 = 1 << 2,
    PORT_ACCEPT_ECN = 1 << 3,
    PORT_ACCEPT_USO = 1 << 4,
    PORT_ACCEPT_ALL = 0x1f,
    /* Not to be given less finished frames, but to be told (PORT_SUMMED) of those that net/port.c has cut itself: their TCP or UDP
     * checksum is right, and ends where the frame does. Nobody else's word is passed on. */
    PORT_ACCEPT_SUMMED = 1 << 5,
};

/* Why frames were dropped; counted in the sender's port. */
enum port_drop {
    PORT_DROP_NONE,
    PORT_DROP_UNPLUGGED, /* no peer */
    PORT_DROP_SHORT,     /* less than an Ethernet header */
    PORT_DROP_LONG,      /* more than PORT_FRAME_MAX bytes or PORT_IOV_MAX pieces */
    PORT_DROP_CSUM,      /* csum_start and csum_offset point out of the frame's headers */
    PORT_DROP_GSO_TYPE,  /* unknown, or not what the headers say */
    PORT_DROP_GSO_SIZE,  /* 0, more segments than OFFLOAD_SEGMENTS_MAX, or too big for one packet */
    PORT_DROP_HEADERS,   /* segmentation asked for, but no whole IP and TCP or UDP header found */
    PORT_DROP_RECEIVER,  /* the receiver's own decision, counted by port_drop() */
    PORT_DROPS,
};
const char *port_drop_name(enum port_drop why);

struct port;
struct port_ops {
    /* n: at most PORT_IOV_MAX + 1, for a header that was made anew stands in front of what it came in. */
    enum port_result (*receive)(struct port *port, const struct iovec *iov, int n,
                                const struct port_meta *meta);
    void (*ready)(struct port *port); /* NULL: it never keeps a frame (drops are its own to count) */
    /* Asked before a frame is cut up for it: true, it would drop all the segments, and has counted the frame as dropped with the
     * reason. NULL: it never would. */
    bool (*closed)(struct port *port);
};

/* Sees the frames that pass a port, both ways, as they were sent: unfinished, perhaps (net/pcap.h). It runs in the middle of
 * port_send() and calls no port. Embedded in its owner; set and cleared on the loop. */
struct port_watch {
    void (*frame)(struct port_watch *watch, const struct iovec *iov, int n, const struct port_meta *meta);
};

/* Loop thread only, but for `blocked` and `accepts`. */
struct port {
    const struct port_ops *ops;
    const char *name;
    struct net *net;
    struct port *peer;
    struct port_watch *watch; /* NULL: nobody */
    void (*enter)(void *ctx); /* guard of a card; NULL: a backend */
    void (*leave)(void *ctx);
    void *guard_ctx;
    unsigned active;         /* calls of the owner's on the stack */
    bool peer_waits;         /* the peer was told BUSY and is owed a ready() */
    _Atomic bool blocked;    /* receive() said BUSY, and port_ready() has not come */
    _Atomic uint8_t accepts; /* PORT_ACCEPT_ */
    struct loop_task flush;
    uint8_t *ring; /* records of put-off frames; made with the port */
    size_t ring_head, ring_used;
    uint64_t frames, bytes, busy; /* sent by this port, with success; refused by the peer */
    uint64_t drops[PORT_DROPS];
};

/* What the ports of a machine have in common. */
struct net {
    struct loop *loop;
    unsigned cards; /* guarded ports that are active: a device's lock is held */
};
void net_init(struct net *net, struct loop *loop);

/* name lives as long as the port. false: no memory for the ring. */
bool port_init(struct port *port, struct net *net, const char *name, const struct port_ops *ops)
    __attribute__((warn_unused_result));
void port_guard(struct port *port, void (*enter)(void *), void (*leave)(void *), void *ctx);
void port_free(struct port *port); /* disconnects first */

void port_connect(struct port *a, struct port *b);
/* Both ends: frames that were put off are lost, a waiting sender is told ready(). No owner may be on the stack. */
void port_disconnect(struct port *port);

enum port_result port_send(struct port *port, const struct iovec *iov, int n, const struct port_meta *meta)
    __attribute__((warn_unused_result));

/* Any thread. The owner can receive again after BUSY. */
void port_ready(struct port *port);
/* Any thread. What receive() takes unfinished from now on; a frame that is on its way may still come with more. */
void port_accept(struct port *port, uint8_t accepts);
/* The receiver dropped a frame that it was given. */
void port_drop(struct port *receiver);

/* A peer that takes every frame and forgets it, and one that gives every frame back. free with port_free(). */
bool port_null(struct port *port, struct net *net) __attribute__((warn_unused_result));
bool port_loopback(struct port *port, struct net *net) __attribute__((warn_unused_result));

#endif
