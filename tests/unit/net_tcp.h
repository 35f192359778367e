/* SPDX-License-Identifier: MIT
 *
 * A world for TCP's tests: a clock that is moved by hand, sockets of a host that does not exist, and the guest's end of
 * the wire. Sockets hold no bytes: what the far end sends is a function of its place in the stream (far_byte), and what
 * the guest sends (guest_byte) is compared on arrival, so that gigabytes cost nothing. Nothing here uses net/tcp_conn.h.
 */
#ifndef TESTS_UNIT_NET_TCP_H
#define TESTS_UNIT_NET_TCP_H

#include "test.h"

#include <arpa/inet.h>
#include <errno.h>

#include "net/offload.h"
#include "net/tcp.h"

enum {
    W_SOCKETS = 2200,
    W_OUT = 512, /* segments to the guest that are kept for a test to look at */
    F_FIN = 1,
    F_SYN = 2,
    F_RST = 4,
    F_PSH = 8,
    F_ACK = 16,
    F_URG = 32,
    G_PORT = 40000,
    P_PORT = 80,
};

/* One socket of the fake host, with its far end. */
struct sock {
    bool open, connecting, eof, shut, reset, tight, drop_written;
    int error;                 /* a pending one: -errno */
    uint64_t arrived, taken;   /* from the far end: [taken, arrived) is in the receive queue */
    uint64_t written, drained; /* by the guest: written - drained fills the send buffer */
    uint64_t copied;           /* bytes that peeks have copied */
    uint32_t size;             /* of the send buffer */
    uint32_t peek_off, stream;
    loop_fd_fn *fn;
    void *arg;
};

struct seg {
    uint16_t guest_port, peer_port; /* 0: G_PORT, P_PORT */
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t wnd, urgent;
    uint32_t len;
    const uint8_t *data; /* to the stack: NULL and from: guest_byte() from there on */
    uint64_t from;
    uint32_t stream;
    const uint8_t *options;
    uint8_t options_len;
    uint8_t offset; /* 0: the right one */
    /* out: */
    uint16_t mss, gso_size;
    int scale; /* -1: no option */
    bool v6;
    struct ip_addr src, dst;
    uint8_t first[64];
};

struct world {
    uint64_t now;
    struct clock clock;
    struct loop *loop;
    struct tcp *t;
    struct sock socks[W_SOCKETS];
    int opened, open; /* sockets ever, now */
    bool no_peek_off, v6, ending;
    uint32_t send_buffer, receive_buffer;
    uint64_t calls;
    /* answers to the stack's questions */
    int connect_error; /* of connect() itself */
    enum ip_error verdict;
    bool busy;
    uint16_t mss;
    /* what it said */
    struct seg out[W_OUT];
    unsigned out_head, out_n;
    uint64_t sent, refused;
    enum ip_error refused_why;
    uint8_t refused_quote[8];
    void (*hook)(struct world *w, const struct seg *s, const uint8_t *data); /* takes all, instead of out */
    void *hook_arg;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 33)) * 0xff51afd7ed558ccd;
    return z ^ (z >> 29);
}
/* A word of eight bytes of a stream, so that long stretches are quick. */
static inline uint8_t stream_byte(uint32_t stream, uint64_t at)
{
    return (uint8_t)(mix((at >> 3) + ((uint64_t)stream << 40)) >> (at & 7) * 8);
}
static inline uint8_t far_byte(uint32_t stream, uint64_t at)
{
    return stream_byte(stream * 2 + 1, at);
}
static inline uint8_t guest_byte(uint32_t stream, uint64_t at)
{
    return stream_byte(stream * 2, at);
}

static inline int32_t seq_left(uint32_t from, uint32_t to)
{
    return (int32_t)(to - from);
}

/* --- the fake host */

static struct sock *w_sock(void *ctx, int fd)
{
    struct world *w = ctx;
    w->calls++;
    CHECK(fd >= 0 && fd < w->opened && w->socks[fd].open);
    return &w->socks[fd];
}

static int w_new_socket(struct world *w)
{
    CHECK(w->opened < W_SOCKETS);
    w->socks[w->opened] = (struct sock){.open = true, .size = w->send_buffer, .stream = (uint32_t)w->opened};
    w->open++;
    return w->opened++;
}

static int w_connect(void *ctx, const struct sockaddr *to, socklen_t len)
{
    struct world *w = ctx;
    (void)to, (void)len;
    if (w->connect_error)
        return -w->connect_error;
    int fd = w_new_socket(w);
    w->socks[fd].connecting = true;
    return fd;
}
static bool w_prepare(void *ctx, int fd, uint32_t *buffer)
{
    *buffer = ((struct world *)ctx)->receive_buffer;
    return w_sock(ctx, fd)->open && !((struct world *)ctx)->no_peek_off;
}
static int w_error(void *ctx, int fd)
{
    struct sock *s = w_sock(ctx, fd);
    int error = s->error;
    s->error = 0;
    return error;
}
static ssize_t w_peek(void *ctx, int fd, void *to, size_t len)
{
    struct sock *s = w_sock(ctx, fd);
    struct world *w = ctx;
    uint64_t at = s->taken + (w->no_peek_off ? 0 : s->peek_off), n = s->arrived > at ? s->arrived - at : 0;
    n = n < len ? n : len;
    if (!n && s->error)
        return w_error(ctx, fd);
    if (!n)
        return s->eof ? 0 : -EAGAIN;
    for (uint64_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = far_byte(s->stream, at + i);
    s->copied += n;
    s->peek_off += w->no_peek_off ? 0 : (uint32_t)n;
    return (ssize_t)n;
}
static int w_peek_offset(void *ctx, int fd, uint32_t offset)
{
    CHECK(!((struct world *)ctx)->no_peek_off);
    w_sock(ctx, fd)->peek_off = offset;
    return 0;
}
static ssize_t w_discard(void *ctx, int fd, size_t len)
{
    struct sock *s = w_sock(ctx, fd);
    uint64_t n = s->arrived - s->taken < len ? s->arrived - s->taken : len;
    CHECK_EQ(n, len); /* nothing is acknowledged that was not there */
    s->taken += n;
    s->peek_off -= s->peek_off < n ? s->peek_off : (uint32_t)n;
    return (ssize_t)n;
}
static ssize_t w_send(void *ctx, int fd, const struct iovec *iov, int n)
{
    struct sock *s = w_sock(ctx, fd);
    CHECK(!s->connecting && !s->shut);
    if (s->error)
        return w_error(ctx, fd);
    uint64_t room = s->size - (s->written - s->drained), done = 0;
    for (int i = 0; i < n; i++) {
        for (size_t j = 0; j < iov[i].iov_len && done < room; j++, done++)
            CHECK_EQ(((uint8_t *)iov[i].iov_base)[j], guest_byte(s->stream, s->written + done));
    }
    s->written += done;
    if (done < offload_length(iov, n))
        s->tight = true;
    return done ? (ssize_t)done : -EAGAIN;
}
static int w_room(void *ctx, int fd, uint32_t *used, uint32_t *size)
{
    struct sock *s = w_sock(ctx, fd);
    *used = (uint32_t)(s->written - s->drained);
    *size = s->size;
    return 0;
}
static bool w_writable(void *ctx, int fd)
{
    struct sock *s = w_sock(ctx, fd);
    uint64_t used = s->written - s->drained;
    if (s->size - used >= used / 2)
        return true;
    s->tight = true;
    return false;
}
static void w_shutdown(void *ctx, int fd)
{
    struct sock *s = w_sock(ctx, fd);
    CHECK(!s->shut);
    s->shut = true;
}
static void w_close(void *ctx, int fd, bool reset)
{
    struct world *w = ctx;
    struct sock *s = w_sock(ctx, fd);
    CHECK(!s->fn);
    CHECK(reset || w->ending || s->taken == s->arrived); /* else the kernel sends RST */
    s->open = false;
    s->reset = reset;
    w->open--;
}
static bool w_watch(void *ctx, struct loop *loop, struct loop_fd *f, int fd, loop_fd_fn *fn, void *arg)
{
    struct sock *s = w_sock(ctx, fd);
    (void)loop;
    f->fd = fd;
    s->fn = fn;
    s->arg = arg;
    return true;
}
static void w_unwatch(void *ctx, struct loop_fd *f)
{
    struct world *w = ctx;
    for (int i = w->opened - 1; i >= 0; i--) {
        if (w->socks[i].open && i == f->fd && w->socks[i].fn) {
            w->socks[i].fn = NULL;
            return;
        }
    }
}
static const struct tcp_host fake_host = {
    .connect = w_connect,
    .prepare = w_prepare,
    .error = w_error,
    .peek = w_peek,
    .peek_offset = w_peek_offset,
    .discard = w_discard,
    .send = w_send,
    .room = w_room,
    .writable = w_writable,
    .shutdown = w_shutdown,
    .close = w_close,
    .watch = w_watch,
    .unwatch = w_unwatch,
};

/* --- the IP side */

static enum port_result w_ip_send(void *ctx, const struct ip_out *o)
{
    struct world *w = ctx;
    const uint8_t *h = o->header;
    if (w->busy)
        return PORT_BUSY;
    w->sent++;
    CHECK_EQ(o->proto, IP_TCP);
    CHECK(o->hlen >= 20 && o->hlen <= 60 && o->hlen == (h[12] >> 4) * 4u);
    CHECK(h[16] == 0 && h[17] == 0);
    size_t len = o->n ? offload_length(o->iov, o->n) : 0;
    CHECK(len + o->hlen + 40 <= 65535 + 20);
    CHECK(o->gso_size == 0 || o->gso_size < len);
    struct seg s = {.peer_port = (uint16_t)(h[0] << 8 | h[1]),
                    .guest_port = (uint16_t)(h[2] << 8 | h[3]),
                    .seq = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7],
                    .ack = (uint32_t)h[8] << 24 | (uint32_t)h[9] << 16 | (uint32_t)h[10] << 8 | h[11],
                    .flags = h[13],
                    .wnd = (uint16_t)(h[14] << 8 | h[15]),
                    .len = (uint32_t)len,
                    .gso_size = o->gso_size,
                    .scale = -1,
                    .src = o->src,
                    .dst = o->dst,
                    .v6 = !ip_is4(&o->dst)};
    for (size_t i = 20; i + 1 < o->hlen && h[i]; i += h[i] == 1 ? 1 : h[i + 1]) {
        if (h[i] == 2)
            s.mss = (uint16_t)(h[i + 2] << 8 | h[i + 3]);
        if (h[i] == 3)
            s.scale = h[i + 2];
    }
    CHECK(o->n <= 1);
    if (len)
        memcpy(s.first, o->iov[0].iov_base, len < sizeof s.first ? len : sizeof s.first);
    if (w->hook) {
        w->hook(w, &s, len ? o->iov[0].iov_base : NULL);
    } else {
        w->out[(w->out_head + w->out_n) % W_OUT] = s;
        if (w->out_n < W_OUT)
            w->out_n++;
        else
            w->out_head++;
    }
    return PORT_SENT;
}
static void w_refuse(void *ctx, const struct ip_packet *p, enum ip_error e)
{
    struct world *w = ctx;
    w->refused++;
    w->refused_why = e;
    CHECK_EQ(ip_copy(p, 0, w->refused_quote, 8), 8);
}
static enum ip_error w_policy(void *ctx, const struct ip_addr *dst, uint16_t port, struct ip_sock *to)
{
    *to = ip_sock(dst, port);
    return ((struct world *)ctx)->verdict;
}
static uint16_t w_mss(void *ctx, bool v6)
{
    return (uint16_t)(((struct world *)ctx)->mss - (v6 ? 20 : 0));
}
static const struct tcp_ops fake_ops = {
    .send = w_ip_send, .refuse = w_refuse, .policy = w_policy, .mss = w_mss};

static uint64_t w_clock(void *ctx)
{
    return ((struct world *)ctx)->now;
}

static inline void w_open(struct world *w, uint32_t connections)
{
    char err[100];
    w->now = 1000000000000;
    w->clock = (struct clock){w_clock, w};
    w->loop = loop_new(&w->clock);
    CHECK(w->loop);
    if (!w->mss)
        w->mss = 1460;
    if (!w->send_buffer)
        w->send_buffer = 200000;
    if (!w->receive_buffer)
        w->receive_buffer = 131072;
    w->t = tcp_new(&(struct tcp_config){.loop = w->loop,
                                        .ops = &fake_ops,
                                        .ctx = w,
                                        .connections = connections,
                                        .seed = 42,
                                        .host = &fake_host,
                                        .host_ctx = w},
                   err, sizeof err);
    CHECK(w->t);
}
static inline void w_close_all(struct world *w)
{
    w->ending = true;
    tcp_free(w->t);
    CHECK_EQ(w->open, 0); /* no descriptor is lost */
    loop_free(w->loop);
}
static inline void w_run(struct world *w)
{
    while (loop_step(w->loop))
        ;
}
/* Moves the clock by ns, stopping where timers are due. */
static inline void w_wait(struct world *w, uint64_t ns)
{
    uint64_t end = w->now + ns, next;
    while ((next = loop_next(w->loop)) <= end) {
        w->now = next > w->now ? next : w->now;
        w_run(w);
    }
    w->now = end;
    w_run(w);
}
static inline void w_event(struct world *w, int fd, uint32_t events)
{
    if (w->socks[fd].open && w->socks[fd].fn)
        w->socks[fd].fn(w->socks[fd].arg, events);
}

/* --- the guest's end of the wire */

static inline struct ip_addr w_addr(bool v6, uint8_t last)
{
    struct ip_addr a = {{0}};
    uint8_t b4[4] = {10, 0, 2, last};
    if (!v6)
        return ip_addr4(b4);
    a.b[0] = 0xfd;
    a.b[15] = last;
    return a;
}

/* Without running the loop. */
static inline void w_put(struct world *w, const struct seg *s)
{
    static uint8_t buf[70000];
    uint32_t header = 20 + (s->options_len + 3u) / 4 * 4;
    uint16_t g = s->guest_port ? s->guest_port : G_PORT, p = s->peer_port ? s->peer_port : P_PORT;
    uint8_t h[20] = {(uint8_t)(g >> 8),
                     (uint8_t)g,
                     (uint8_t)(p >> 8),
                     (uint8_t)p,
                     (uint8_t)(s->seq >> 24),
                     (uint8_t)(s->seq >> 16),
                     (uint8_t)(s->seq >> 8),
                     (uint8_t)s->seq,
                     (uint8_t)(s->ack >> 24),
                     (uint8_t)(s->ack >> 16),
                     (uint8_t)(s->ack >> 8),
                     (uint8_t)s->ack,
                     s->offset ? s->offset : (uint8_t)(header / 4 << 4),
                     s->flags,
                     (uint8_t)(s->wnd >> 8),
                     (uint8_t)s->wnd,
                     0,
                     0,
                     (uint8_t)(s->urgent >> 8),
                     (uint8_t)s->urgent};
    memcpy(buf, h, 20);
    memset(buf + 20, 0, header - 20);
    if (s->options_len)
        memcpy(buf + 20, s->options, s->options_len);
    for (uint32_t i = 0; i < s->len; i++)
        buf[header + i] = s->data ? s->data[i] : guest_byte(s->stream, s->from + i);
    struct iovec iov = {buf, header + s->len};
    struct ip_packet packet = {.src = w_addr(w->v6, 15),
                               .dst = w_addr(w->v6, 99),
                               .v6 = w->v6,
                               .proto = IP_TCP,
                               .ttl = 64,
                               .csum_ok = true,
                               .iov = &iov,
                               .n = 1,
                               .len = iov.iov_len};
    tcp_input(w->t, &packet);
}
static inline void w_in(struct world *w, const struct seg *s)
{
    w_put(w, s);
    w_run(w);
}
/* The next segment that the guest was sent; one that is missing is all zero. */
static inline struct seg w_out(struct world *w)
{
    struct seg s = {.scale = -1};
    if (w->out_n) {
        s = w->out[w->out_head++ % W_OUT];
        w->out_head %= W_OUT;
        w->out_n--;
    }
    return s;
}
static inline void w_forget(struct world *w)
{
    w->out_n = 0;
}

/* A connection made by the guest, in the established state; numbers are the next ones of each side. */
struct link {
    int fd;
    uint32_t seq, ack;
    uint16_t port;
};
static const uint8_t opt_usual[] = {2, 4, 0x05, 0xb4, 1, 3, 3, 7}; /* MSS 1460, scale 7 */
enum {
    GUEST_ISS = 0xfffff000u, /* so that every longer test wraps */
    GUEST_WND = 500,         /* << 7 */
};
/* The host's connect() is through; the SYN-ACK that follows. */
static inline struct seg w_connected(struct world *w, int fd)
{
    w->socks[fd].connecting = false;
    w_event(w, fd, EPOLLOUT);
    w_run(w);
    return w_out(w);
}
static inline struct link w_establish(struct world *w, uint16_t port)
{
    struct link l = {.port = port};
    w_in(w, &(struct seg){.guest_port = port,
                          .seq = GUEST_ISS,
                          .flags = F_SYN,
                          .wnd = 64000,
                          .options = opt_usual,
                          .options_len = sizeof opt_usual});
    l.fd = w->opened - 1;
    CHECK(l.fd >= 0 && w->socks[l.fd].connecting);
    CHECK_EQ(w->out_n, 0); /* no SYN-ACK before the host has connected */
    struct seg s = w_connected(w, l.fd);
    CHECK_EQ(s.flags, F_SYN | F_ACK);
    CHECK_EQ(s.ack, GUEST_ISS + 1u);
    l.seq = GUEST_ISS + 1u;
    l.ack = s.seq + 1;
    w_in(w, &(struct seg){.guest_port = port, .seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(w->out_n, 0);
    return l;
}
static inline void w_arrive(struct world *w, int fd, uint64_t n)
{
    w->socks[fd].arrived += n;
    w_event(w, fd, EPOLLIN);
    w_run(w);
}

#endif
