/* SPDX-License-Identifier: MIT
 *
 * TCP of the user-mode network: the guest speaks TCP with addresses anywhere, and behind each connection stands a
 * socket of the host's. net/tcp.c opens with the theory: the kernel's socket buffers are the only ones, so that
 * a connection costs a table entry and a descriptor, whatever flows through it.
 *
 * The IP side (net/user.h, net/ip.h) gives messages in by tcp_input() and sends them through ops->send. Nothing is sent from within
 * tcp_input(), but for answers to what belongs to no connection: replies wait for a task of the loop's, which also
 * joins what several segments of one batch ask for. When ops->send says PORT_BUSY nothing is lost and nothing is
 * kept: the bytes are still in the host's socket. The IP side calls tcp_ready() when it can send again.
 *
 * Threads: loop thread only, no locks. Nothing blocks. Memory: all of it is taken by tcp_new(), pages become real
 * as they are used; a connection beyond the limit is refused with RST.
 *
 * Sources: RFC 9293 (TCP), 7323 section 2 (window scale), 6298 (retransmission time), 5681 section 3.2 and 6582 (fast
 * retransmit), 5961 (blind attacks), 1122 section 4.2 (keepalive, half-close), 6093 (urgent data is ordinary data).
 * Not offered: timestamps, selective acknowledgements, ECN, fast open; tcp.c says why.
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include <stdio.h>
#include <sys/socket.h>

#include "kvm/host/loop.h"
#include "net/ip.h"

enum {
    TCP_HEADER = 20,
    TCP_HEADER_MAX = 60,
    TCP_CONNECTIONS = 4096, /* the default limit */
};

/* The IP side, as TCP sees it: net/ip.h has the manual of each call. */
struct tcp_ops {
    /* user_ip_send(). The header is complete but for the checksum. gso_size is set when the payload is longer than one
     * segment; never is the whole longer than 65,535 bytes. After PORT_BUSY tcp_ready() follows. */
    enum port_result (*send)(void *ctx, const struct ip_out *o);
    /* ip_refuse(): a connection could not be made. p is made up of what is known of the SYN. */
    void (*refuse)(void *ctx, const struct ip_packet *p, enum ip_error e);
    /* user_policy(). What is not IP_OK is told to the guest: IP_NO_PORT by RST, all else by refuse() and, since not
     * everybody minds ICMP, RST. */
    enum ip_error (*policy)(void *ctx, const struct ip_addr *peer, uint16_t port, struct ip_sock *to);
    /* user_mss() */
    uint16_t (*mss)(void *ctx, bool v6);
};

/* Whose a connection is: both ends as the guest sees them, ports in host order. */
struct tcp_ends {
    struct ip_addr guest, peer;
    uint16_t guest_port, peer_port;
};

/* The calls to the host, in a table so that tests can play the host. Results are as of the system calls, with
 * -errno for errors; none blocks, and none raises a signal. */
struct tcp_host {
    int (*connect)(void *ctx, const struct sockaddr *to,
                   socklen_t len); /* a prepared descriptor; does not wait */
    /* Sets the options of every socket; *buffer: how much it may hold of what was received, overhead counted. true: it
     * has SO_PEEK_OFF. */
    bool (*prepare)(void *ctx, int fd, uint32_t *buffer);
    int (*error)(void *ctx, int fd); /* SO_ERROR: 0 or -errno */
    /* The received bytes from the start of the socket's queue, or from peek_offset() on, which a peek moves forward by what
     * it returns and a discard() back by what it takes. */
    ssize_t (*peek)(void *ctx, int fd, void *to, size_t len);
    int (*peek_offset)(void *ctx, int fd, uint32_t offset);
    ssize_t (*discard)(void *ctx, int fd, size_t len); /* from the queue's front */
    ssize_t (*send)(void *ctx, int fd, const struct iovec *iov, int n);
    int (*room)(void *ctx, int fd, uint32_t *used, uint32_t *size); /* of its send buffer, overhead counted */
    bool (*writable)(void *ctx, int fd); /* false: EPOLLOUT follows when a third of that buffer is free */
    void (*shutdown)(void *ctx, int fd); /* no more is written */
    void (*close)(void *ctx, int fd, bool reset);
    /* Edges of EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLRDHUP, EPOLLERR and EPOLLHUP. */
    bool (*watch)(void *ctx, struct loop *loop, struct loop_fd *f, int fd, loop_fd_fn *fn, void *arg);
    void (*unwatch)(void *ctx, struct loop_fd *f);
};
extern const struct tcp_host tcp_host_kernel; /* net/tcp_host.c */

struct tcp_config {
    struct loop *loop;
    const struct tcp_ops *ops;
    void *ctx;
    uint32_t connections; /* 0: TCP_CONNECTIONS */
    uint64_t seed;        /* of initial sequence numbers and the hash; 0: from the host's random numbers */
    const struct tcp_host *host; /* NULL: tcp_host_kernel */
    void *host_ctx;
};

enum tcp_counter {
    TCP_SEGMENTS_IN,
    TCP_SEGMENTS_OUT,
    TCP_BYTES_IN, /* guest to host, taken by the host's sockets */
    TCP_BYTES_OUT,
    TCP_CONNECTS, /* by the guest */
    TCP_FORWARDS, /* by tcp_forward() */
    TCP_RETRANSMITS,
    TCP_BUSY, /* ops->send said PORT_BUSY */
    TCP_RESETS_IN,
    TCP_RESETS_OUT,
    /* why a message, or a part of it, was not taken */
    TCP_BAD_HEADER, /* shorter than a header, data offset < 5 or beyond the message */
    TCP_BAD_CHECKSUM,
    TCP_BAD_ADDRESS,   /* port 0 */
    TCP_NO_CONNECTION, /* RST sent */
    TCP_OUT_OF_ORDER,  /* behind a gap: dropped, duplicate ACK */
    TCP_OUT_OF_WINDOW, /* unacceptable sequence number: ACK (RFC 9293, 3.10.7.4) */
    TCP_BAD_ACK,       /* of what was never sent, or too old (RFC 5961, 5) */
    TCP_CHALLENGED,    /* SYN or inexact RST inside a connection (RFC 5961, 3 and 4) */
    TCP_NOT_TAKEN,     /* the host's socket was full: not acknowledged */
    TCP_REFUSED_POLICY,
    TCP_REFUSED_FULL, /* no entry left in the table */
    TCP_REFUSED_HOST, /* no descriptor, no memory … */
    TCP_COUNTERS,
};

struct tcp;

/* Raises the soft limit of descriptors towards what the connections need. NULL and a sentence: no memory. */
struct tcp *tcp_new(const struct tcp_config *config, char *err, size_t n) __attribute__((warn_unused_result));
/* Sends nothing to the guest. What it has sent, FIN included, is still delivered by the host's kernel; other connections
 * are reset. */
void tcp_free(struct tcp *t);

/* A TCP message from the guest. */
void tcp_input(struct tcp *t, const struct ip_packet *p);

/* The IP side can send again after PORT_BUSY. */
void tcp_ready(struct tcp *t);

/* A connection that the host accepted (hostfwd) goes on to the guest: ends->peer is the address that the guest is to see,
 * ends->peer_port a port that is wanted (0, or taken: another is chosen). fd is a non-blocking stream socket and
 * becomes t's in every case. false: no room, or no port left; it was reset. */
bool tcp_forward(struct tcp *t, int fd, const struct tcp_ends *ends);

/* The guest was reset: its connections are no more, as with tcp_free(). */
void tcp_guest_reset(struct tcp *t);

uint64_t tcp_counter(const struct tcp *t, enum tcp_counter which);
unsigned tcp_connections(const struct tcp *t); /* TIME_WAIT counts */

/* For `info NAME net`: one line a connection (ends, state, bytes each way, what is in flight), then the counters that are
 * not zero. */
void tcp_print(const struct tcp *t, FILE *out);

#endif
