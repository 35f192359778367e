/* SPDX-License-Identifier: MIT
 *
 * What virtio/vsock.c (packets, the guest's side) and virtio/vsock_host.c (Unix sockets) share. Source: virtio 1.2, 5.10.6.
 */
#ifndef VIRTIO_VSOCK_PRIV_H
#define VIRTIO_VSOCK_PRIV_H

#include "kvm/host/unix_listener.h"
#include "virtio/pci.h"
#include "virtio/vsock.h"

enum {
    VSOCK_CID_HOST = 2,
    VSOCK_TYPE_STREAM = 1,

    VSOCK_OP_REQUEST = 1,
    VSOCK_OP_RESPONSE = 2,
    VSOCK_OP_RST = 3,
    VSOCK_OP_SHUTDOWN = 4,
    VSOCK_OP_RW = 5,
    VSOCK_OP_CREDIT_UPDATE = 6,
    VSOCK_OP_CREDIT_REQUEST = 7,

    VSOCK_SHUTDOWN_RCV = 1, /* flags: the sender will receive no more */
    VSOCK_SHUTDOWN_SEND = 2,

    VSOCK_QUEUE = 256,
    VSOCK_PIECES = VSOCK_QUEUE + VIRTQ_SPARE,
    VSOCK_HELLO = 32,           /* "CONNECT 4294967295\n" and some */
    VSOCK_FIRST_PORT = 1 << 30, /* of those that the host's ends of connections get */
};

/* As in guest memory, little-endian. */
struct vsock_header {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "5.10.6");

enum vsock_state { /* from CALLING on it has ports */
    VSOCK_FREE,
    VSOCK_GREETING, /* a program of the host's has to say CONNECT */
    VSOCK_CALLING,  /* the guest waits for a program of the host's whose queue is full */
    VSOCK_ASKING,   /* the guest has to answer */
    VSOCK_OPEN,
};

/* What is to be said to the guest. */
enum {
    VSOCK_SAY_REQUEST = 1 << 0,
    VSOCK_SAY_RESPONSE = 1 << 1,
    VSOCK_SAY_CREDIT = 1 << 2,
    VSOCK_SAY_DATA = 1 << 3, /* the socket has some, or its end */
    VSOCK_SAY_SHUTDOWN = 1 << 4,
    VSOCK_SAY_RST = 1 << 5, /* the last word: it is free after that */
};

struct vsock;
struct vsock_conn {
    struct vsock *vs;
    enum vsock_state state;
    int fd; /* -1: closed already */
    struct loop_fd watch;
    uint64_t deadline; /* LOOP_NEVER: none */
    unsigned calls;    /* that are left */
    uint32_t guest_port, host_port;
    uint32_t peer_alloc, peer_fwd, sent; /* to the guest: its credit, and bytes */
    uint32_t got, fwd, told;             /* from it: bytes, those passed on, those it was told of */
    uint8_t *ring;                       /* VSOCK_BUFFER bytes that the socket did not take */
    uint32_t head, used;
    unsigned say;
    bool queued; /* in the list of those that have something to say */
    struct vsock_conn *next;
    bool eof;       /* the host's program sends no more */
    bool hup;       /* … and takes no more */
    uint8_t closed; /* VSOCK_SHUTDOWN_, as the guest said */
    char hello[VSOCK_HELLO];
    uint8_t n_hello;
};

struct vsock {
    struct virtio_device v; /* first */
    uint64_t cid;           /* configuration */
    uint32_t cid_option;
    const char *path;
    struct unix_listener listener; /* zeroed at first */
    struct loop_fd watch;
    uint64_t accept_again; /* LOOP_NEVER: it is not in want of descriptors */
    struct device_timer patience;
    struct device_task clear; /* a reset, on the loop */
    bool told_reset;          /* the guest is to hear that all connections are gone */
    uint32_t next_port;

    unsigned n_conns;
    struct vsock_conn conns[VSOCK_CONNS];
    uint8_t *rings;
    struct vsock_conn *first, **last; /* who has something to say */
    struct vsock_header resets[VSOCK_RESETS];
    unsigned resets_head, resets_used;
    bool tx_waits; /* for room in it */
    uint64_t packets_in, packets_out;

    struct iovec tx_iov[VSOCK_PIECES], rx_iov[VSOCK_PIECES], iov[VSOCK_PIECES];
};

/* --- vsock.c */
static inline struct virtq *vsock_rx(struct vsock *vs)
{
    return virtio_queue(&vs->v, 0);
}
/* c has something to say; vsock_pump() says it. */
void vsock_say(struct vsock_conn *c, unsigned what);
void vsock_pump(struct vsock *vs);
struct vsock_conn *vsock_find(struct vsock *vs, uint32_t host_port, uint32_t guest_port);

/* --- vsock_host.c: lock held, loop */
const char *vsock_listen(struct vsock *vs, char *error, size_t size); /* set-up; NULL or a sentence */
void vsock_unlisten(struct vsock *vs);
struct vsock_conn *vsock_take(struct vsock *vs, int fd,
                              enum vsock_state state); /* NULL: there is none left; fd -1: CALLING */
void vsock_release(struct vsock_conn *c);              /* closed and free */
void vsock_reset_conn(struct vsock_conn *c);           /* closed, and free when the guest has heard of it */
/* To the program that listens for this port: a socket, or -1; errno is EAGAIN where it has as many waiting as it said. */
int vsock_connect(struct vsock *vs, uint32_t port);
void vsock_opened(struct vsock_conn *c); /* the guest said yes: so does the host's program hear */
/* Takes all bytes: writes, and keeps what is not taken. false: they are more than fit, or the socket is dead. */
bool vsock_write(struct vsock_conn *c, const struct iovec *iov, int n, uint32_t len)
    __attribute__((warn_unused_result));
/* What the socket is asked for follows from the connection's state. */
void vsock_arm(struct vsock_conn *c);
uint32_t vsock_credit(const struct vsock_conn *c);      /* bytes that the guest takes */
void vsock_deadline(struct vsock_conn *c, uint64_t ns); /* from now on; LOOP_NEVER */
void vsock_impatient(struct device *dev);

#endif
