/* SPDX-License-Identifier: MIT
 *
 * Flows of UDP and ping: flow.c has the theory. */
#ifndef NET_FLOW_H
#define NET_FLOW_H

#include "net/user_priv.h"

enum {
    FLOWS_MAX = 2048,
    FLOW_BATCH = 8,
    FLOW_DATAGRAM = 65536,
    FLOW_LOW_HOPS = 32, /* hop limits up to this are passed on */
};

enum flow_state {
    FLOW_ASKED,    /* the guest sent, nobody answered yet */
    FLOW_ANSWERED, /* both sent */
    FLOW_SHORT,    /* one question, one answer: DNS by UDP to anywhere, ping */
};

struct flow {
    struct user *u;
    struct loop_fd fd;         /* the socket; not registered: it is the forward's */
    struct ip_addr guest, dst; /* as the guest sees them */
    uint16_t gport, dport;     /* ping: the guest's identifier, 0 */
    uint8_t proto;             /* IP_UDP; IP_ICMP, IP_ICMP6 */
    uint8_t state;
    uint8_t hops;
    bool df, opened;
    bool raw;          /* ping: a raw socket */
    uint16_t sequence; /* ping: the last one, for errors */
    uint16_t host_id;  /* ping by a raw socket: the identifier there */
    struct fwd *forward;
    struct ip_sock peer; /* by a forward: who that is; ping: who is asked */
    enum port_result (*answer)(struct flow *f, const struct iovec *data);
    uint64_t used;
    uint64_t bytes_in, bytes_out, datagrams_in, datagrams_out;
    struct flow *chain;
    struct flow *older, *newer;
};

/* A datagram from the host that waits in its place of the batch. */
struct flow_datagram {
    struct flow *flow; /* NULL: nobody's */
    size_t offset, len;
};

struct flows {
    struct user *u;
    unsigned n, max, touched; /* in use, at most, of `all` that ever were */
    struct flow *unused;
    struct flow ends; /* of the list: newer is the oldest, older the newest */
    struct loop_timer timer;
    struct flow *hash[1024];
    uint8_t *memory; /* of the batch */
    struct flow_datagram batch[FLOW_BATCH];
    unsigned batch_n, batch_at;
    bool disarmed; /* somebody is */
    struct flow all[FLOWS_MAX];
};

struct flow *flow_find(struct user *u, uint8_t proto, const struct ip_addr *guest, uint16_t gport,
                       const struct ip_addr *dst, uint16_t dport);
/* Never fails: the oldest gives way. */
struct flow *flow_new(struct user *u, uint8_t proto, const struct ip_addr *guest, uint16_t gport,
                      const struct ip_addr *dst, uint16_t dport, enum flow_state state);
void flow_free(struct flow *f);
void flow_use(struct flow *f); /* now */
void flow_free_forwarded(struct user *u, const struct fwd *forward);

/* A non-blocking socket; when there are no descriptors, flows are given up for it. -1 and errno. */
int flow_socket(struct user *u, int family, int type, int protocol);
/* fd becomes the flow's, or is closed: false and errno. */
bool flow_connect(struct flow *f, int fd, const struct ip_sock *to, loop_fd_fn *fn)
    __attribute__((warn_unused_result));
/* DF and hop limit of the guest's packet, for the socket. */
void flow_follow(struct flow *f, const struct ip_packet *p);
/* Sends by the flow's own socket; errors are passed to the guest. false: not sent. */
bool flow_send(struct flow *f, const struct iovec *iov, int n);
/* EPOLLERR: the socket's errors become ICMP. */
void flow_errors(struct flow *f);

/* Reads a batch from f and gives it to the card; `of` says whose each datagram is (NULL: nobody's), and may cut it by
 * d->offset and d->len. */
typedef struct flow *flow_of_fn(void *arg, const struct ip_sock *from, uint8_t *data,
                                struct flow_datagram *d);
void flow_read(struct user *u, struct loop_fd *f, flow_of_fn *of, void *arg);

#endif
