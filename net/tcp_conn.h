/* SPDX-License-Identifier: MIT
 *
 * The inside of TCP, for net/tcp*.c alone. tcp.c: the table and the loop's side; tcp_in.c: what the guest sends;
 * tcp_out.c: what it is sent, and time; tcp_host.c: the host's sockets; tcp_print.c: for people.
 */
#ifndef NET_TCP_CONN_H
#define NET_TCP_CONN_H

#include "net/tcp.h"

enum tcp_header_flags {
    FIN = 1,
    SYN = 2,
    RST = 4,
    PSH = 8,
    ACK = 16,
    URG = 32,
};

enum {
    TCP_WSCALE = 7,           /* our window scale; 65535 << 7 = 8 MiB */
    TCP_BUFFER = 256 * 1024,  /* the one buffer between sockets and segments; nothing stays in it */
    TCP_FLIGHT = 1024 * 1024, /* towards a guest, at most, unacknowledged */
    TCP_MSS_MIN = 64,         /* a guest that asks for less does not mean it */
    TCP_LAZY = 16 * 1024,     /* acknowledged bytes that may stay in the socket's queue, to save calls … */
    TCP_LAZY_COPIED = 2 * 1024, /* … which each peek copies again where there is no SO_PEEK_OFF */
    TCP_LAZY_LOOKS = 8, /* … and small pieces, each a buffer of the kernel's that every peek walks past */
    TCP_ACK_BYTES = 16 * 1024, /* this much, or two segments, are acknowledged at once */
    TCP_DUPACKS = 3,
    TCP_BUDGET = 64, /* turns of connections in one run of the task */
};

#define TCP_MS              UINT64_C(1000000)
#define TCP_ACK_DELAY       (20 * TCP_MS) /* time for an answer that carries it; each lapse is a wake-up */
#define TCP_RTO_MIN         (200 * TCP_MS)
#define TCP_RTO_FIRST       (1000 * TCP_MS)
#define TCP_RTO_MAX         (60000 * TCP_MS)
#define TCP_TIME_WAIT       (1000 * TCP_MS)
#define TCP_CHALLENGE_EVERY (20 * TCP_MS)
#define TCP_KEEPALIVE       (7200 * 1000 * TCP_MS)
#define TCP_KEEPALIVE_PROBE (75 * 1000 * TCP_MS)

enum {
    TCP_RETRIES = 15,    /* RFC 9293, 3.8.3: R2 */
    TCP_SYN_RETRIES = 6, /* of SYNs: 1 + 2 + … + 64 s */
    TCP_PROBES = 9,      /* of keepalive */
};

/* What has happened to a connection. Its state by RFC 9293 follows from these (tcp_print.c), and is not stored. */
enum conn_flags {
    CONNECTING = 1 << 0, /* the host's connect() is under way; the guest waits for its SYN-ACK */
    SYN_IN = 1 << 1,     /* the guest's SYN is here: rcv_nxt is known */
    SYN_OUT = 1 << 2,    /* ours was sent, or is to be */
    SYN_ACKED = 1 << 3,  /* with SYN_IN: established */
    FIN_IN = 1 << 4,     /* the guest's, and all before it was taken by the socket */
    FIN_OUT = 1 << 5,    /* ours, with number fin_seq */
    FIN_ACKED = 1 << 6,
    CLOSED_FIRST = 1 << 7, /* our FIN was sent before the guest's was here: TIME_WAIT follows */
    TIME_WAITING = 1 << 8, /* all is over, no socket any more */

    READABLE = 1 << 9,    /* the socket may have more than was peeked */
    HOST_EOF = 1 << 10,   /* and after that nothing comes */
    HOST_ERROR = 1 << 11, /* or a reset */
    HOST_FULL = 1 << 12,  /* EPOLLOUT is awaited */
    NOT_TAKEN = 1 << 13,  /* the socket refused bytes that the guest thinks are on their way */
    PEEK_OFF = 1 << 14,
    FORWARDED = 1 << 15, /* by tcp_forward(): policy was asked elsewhere */

    /* to be done in the next turn */
    SEND_SYN = 1 << 16,
    SEND_ACK = 1 << 17,
    SEND_RST = 1 << 18,   /* then the entry is free */
    SEND_AGAIN = 1 << 19, /* the first segment that is not acknowledged */
    SEND_PROBE = 1 << 20,
    SEND_SMALL = 1 << 21, /* although the window is silly */
    RECOVERY = 1 << 22,   /* RFC 6582: until `recover` is acknowledged */

    URGENT = 1 << 23, /* the far end has sent urgent data: the kernel's reads stop where that begins */
};

struct tcp_conn {
    struct tcp *t;
    struct tcp_ends ends;
    struct tcp_conn *hash_next;
    struct tcp_conn *work_next, **work_pprev; /* pprev NULL: has nothing to do */
    struct tcp_conn *wait_next, **wait_pprev; /* TIME_WAIT, oldest first */
    struct loop_fd watch;
    struct loop_timer timer; /* armed no later than the earliest of the times below */
    int fd;                  /* -1: closed */
    uint32_t flags;

    /* To the guest. Sequence numbers: head <= snd_una <= snd_nxt <= snd_max; head is that of the first byte in the
     * socket's queue, snd_nxt goes back to snd_una when the retransmission timer fires. */
    uint32_t head, snd_una, snd_nxt, snd_max, fin_seq, recover;
    uint32_t snd_wnd, snd_wl1, snd_wl2, max_wnd, cwnd;
    uint32_t peek_at; /* SO_PEEK_OFF as the kernel has it */
    uint16_t mss;
    uint8_t snd_scale, rcv_scale;
    uint8_t dupacks;
    uint8_t retries;    /* without progress: the time-out doubles with each */
    uint8_t unanswered; /* probes */
    uint8_t looks;      /* peeks that found less than a segment since the socket's queue was last relieved */
    uint16_t lazy;      /* TCP_LAZY, or less */

    /* From the guest. */
    uint32_t rcv_nxt, rcv_edge, rcv_acked; /* rcv_edge: end of the window as the guest knows it */
    uint32_t room, room_top;               /* bytes that the socket surely takes; at the last look */

    uint32_t srtt, rttvar, rtt_seq; /* microseconds; 0: not known */
    uint64_t rto, rtt_at;           /* ns; rtt_at 0: nothing is timed */
    uint64_t rto_at, ack_at, heard_at, challenged_at, timer_at;
    uint64_t bytes_in, bytes_out;
};

struct tcp {
    struct tcp_config cfg;
    const struct tcp_host *host;
    struct tcp_conn *conns, *free, **table, *last;
    uint32_t limit, fresh, used, mask;
    uint32_t connecting, asking; /* to the host; to the guest, by forwards: at most half of the limit each */
    uint64_t seed[2];
    struct tcp_conn *work, **work_tail;
    struct tcp_conn *waiting, **waiting_tail;
    struct loop_task task;
    uint64_t now; /* of the current turn */
    bool busy;    /* ops->send said PORT_BUSY */
    uint64_t counters[TCP_COUNTERS];
    uint8_t *buffer;
};

static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}
static inline bool conn_established(const struct tcp_conn *c)
{
    return (c->flags & (SYN_IN | SYN_ACKED)) == (SYN_IN | SYN_ACKED);
}
static inline uint64_t tcp_now(const struct tcp *t)
{
    return loop_now(t->cfg.loop);
}

/* --- tcp.c */

struct tcp_conn *conn_find(struct tcp *t, const struct tcp_ends *ends);
/* NULL: none is left. Not in the table's count of connecting ones; fd -1. */
struct tcp_conn *conn_new(struct tcp *t, const struct tcp_ends *ends);
void conn_free(struct tcp_conn *c, bool reset); /* at once; closes the socket */
void conn_work(struct tcp_conn *c);             /* a turn, from the task */
bool conn_watch(struct tcp_conn *c);
void conn_answered(struct tcp_conn *c);  /* the guest has: before SYN_ACKED is set */
void conn_prepare(struct tcp_conn *c);   /* options of its socket */
void conn_time_wait(struct tcp_conn *c); /* the socket is closed, the entry stays for a while */
/* The guest is to be told RST; the socket is closed at once. */
void conn_abort(struct tcp_conn *c);
/* The host could not connect. */
void conn_refuse(struct tcp_conn *c, enum ip_error e); /* IP_OK: its time was up */

/* --- tcp_in.c */

void conn_connected(struct tcp_conn *c); /* the host's side is there: SYN-ACK */

/* --- tcp_out.c */

/* All that is due: false: PORT_BUSY. The connection may be gone after it. */
bool conn_turn(struct tcp_conn *c);
void conn_timer(void *arg);
void conn_look_for_room(struct tcp_conn *c);
/* A message that belongs to no connection; dropped when the card is busy. */
void tcp_send_reset(struct tcp *t, const struct tcp_ends *ends, uint32_t seq, uint32_t ack, uint8_t flags);

#endif
