/* SPDX-License-Identifier: MIT
 *
 * A guest made of bytes, on the user network, with a fake clock: sends frames, and keeps what comes back. */
#ifndef TESTS_UNIT_USER_NET_H
#define TESTS_UNIT_USER_NET_H

#include "test.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/offload.h"
#include "net/user_priv.h"

enum {
    GOT_MAX = 256,
    GOT_BYTES = 4096 /* of each frame kept */
};

struct bed {
    struct port card; /* first */
    struct loop *loop;
    struct net net;
    struct user *user;
    uint64_t now;
    bool full; /* the card has no room */
    unsigned got, readied;
    struct {
        size_t len;
        uint8_t frame[GOT_BYTES];
        struct port_meta meta;
    } frames[GOT_MAX];
};

static const uint8_t guest_mac[6] = {0x02, 1, 2, 3, 4, 5};
static const uint8_t GUEST[4] = {10, 0, 2, 15}, HOST[4] = {10, 0, 2, 2}, DNS[4] = {10, 0, 2, 3};

static enum port_result bed_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    struct bed *b = (struct bed *)port;
    size_t at = 0;
    if (b->full)
        return PORT_BUSY;
    if (b->got < GOT_MAX) {
        for (int i = 0; i < n; i++)
            for (size_t k = 0; k < iov[i].iov_len; k++, at++)
                if (at < GOT_BYTES)
                    b->frames[b->got].frame[at] = ((uint8_t *)iov[i].iov_base)[k];
        b->frames[b->got].len = at;
        b->frames[b->got].meta = *meta;
    }
    b->got++;
    return PORT_SENT;
}

static void bed_ready(struct port *port)
{
    ((struct bed *)port)->readied++;
}

static const struct port_ops bed_ops = {.receive = bed_receive, .ready = bed_ready};

static uint64_t bed_clock(void *ctx)
{
    return ((struct bed *)ctx)->now;
}

static inline struct bed *bed_new(const struct user_options *o)
{
    static const struct user_options defaults;
    struct bed *b = calloc(1, sizeof *b);
    struct clock clock = {bed_clock, b};
    char err[256] = "";
    b->now = 1000ull * 1000 * 1000 * 1000;
    b->loop = loop_new(&clock);
    net_init(&b->net, b->loop);
    CHECK(port_init(&b->card, &b->net, "card", &bed_ops));
    b->user = user_new(&b->net, b->loop, o ? o : &defaults, err, sizeof err);
    CHECK_STR(err, "");
    CHECK(b->user);
    port_connect(&b->card, user_port(b->user));
    return b;
}

static inline void bed_free(struct bed *b)
{
    user_free(b->user);
    port_free(&b->card);
    loop_free(b->loop);
    free(b);
}

static inline void bed_run(struct bed *b)
{
    while (loop_step(b->loop))
        ;
}

/* Moves the clock, stopping at every deadline. */
static inline void bed_wait(struct bed *b, uint64_t ns)
{
    uint64_t end = b->now + ns;
    for (bed_run(b); loop_next(b->loop) <= end; bed_run(b))
        if (loop_next(b->loop) > b->now)
            b->now = loop_next(b->loop);
    b->now = end;
    bed_run(b);
}

static inline void bed_send(struct bed *b, const void *frame, size_t len)
{
    static const struct port_meta finished;
    uint8_t *copy = malloc(len ? len : 1); /* exactly as long: the sanitizer sees what is read behind it */
    memcpy(copy, frame, len);
    struct iovec iov = {copy, len};
    CHECK(port_send(&b->card, &iov, 1, &finished) == PORT_SENT);
    free(copy);
    bed_run(b);
}

static inline uint16_t sum_of(const void *bytes, size_t len)
{
    struct iovec iov = {(void *)bytes, len};
    return offload_sum(&iov, 1, 0, len);
}

/* An IPv4 packet with its checksums as a frame, in a buffer of the caller's; returns its length. */
static inline size_t make4(uint8_t *f, uint8_t proto, const uint8_t *src, const uint8_t *dst, const void *l4,
                           size_t len)
{
    static const uint8_t gateway[6] = {0x52, 0x55, 10, 0, 2, 2};
    struct ip_out o = {.src = ip_addr4(src), .dst = ip_addr4(dst), .proto = proto};
    memcpy(f, gateway, 6);
    memcpy(f + 6, guest_mac, 6);
    set16(f + 12, ETH_IPV4);
    ip4_header(f + 14, &o, len, 0, IP4_DF);
    memmove(f + 34, l4, len);
    int at = proto == IP_TCP ? 16 : proto == IP_UDP ? 6 : 2;
    if (len >= (size_t)at + 2) {
        memset(f + 34 + at, 0, 2);
        uint16_t sum = sum_of(f + 34, len);
        if (proto != IP_ICMP)
            sum = ip_sum_add(sum, ip_pseudo_sum(&o.src, &o.dst, proto, len));
        sum = (uint16_t)~sum;
        memcpy(f + 34 + at, &sum, 2);
    }
    return 34 + len;
}

static inline void send4(struct bed *b, uint8_t proto, const uint8_t *src, const uint8_t *dst, const void *l4,
                         size_t len)
{
    uint8_t *f = malloc(len + 34);
    bed_send(b, f, make4(f, proto, src, dst, l4, len));
    free(f);
}

static inline void send_udp4(struct bed *b, uint16_t sport, const uint8_t *dst, uint16_t dport,
                             const void *data, size_t len)
{
    uint8_t *l4 = malloc(len + 8);
    set16(l4, sport);
    set16(l4 + 2, dport);
    set16(l4 + 4, (uint32_t)len + 8);
    memcpy(l4 + 8, data, len);
    send4(b, IP_UDP, GUEST, dst, l4, len + 8);
    free(l4);
}

/* The frame that came last; its IPv4 payload. */
static inline uint8_t *last_frame(struct bed *b)
{
    CHECK(b->got > 0 && b->got <= GOT_MAX);
    return b->frames[b->got - 1].frame;
}
static inline uint8_t *last_l4(struct bed *b)
{
    return last_frame(b) + 34;
}
static inline size_t last_l4_len(struct bed *b)
{
    return get16(last_frame(b) + 16) - 20u;
}
/* The last frame is an ICMP error of this kind. */
static inline bool last_is_error(struct bed *b, uint8_t type, uint8_t code)
{
    return b->got && get16(last_frame(b) + 12) == ETH_IPV4 && last_frame(b)[23] == IP_ICMP &&
           last_l4(b)[0] == type && last_l4(b)[1] == code;
}

static bool isolated;

/* A socket on 127.0.0.1; its port. */
static inline int host_socket(int type, uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0 &&
          getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    *port = ntohs(in.sin_port);
    return fd;
}

/* true: a network namespace of our own, with nothing but loopback, from here to the process's end. */
static inline bool isolate(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (isolated)
        return true;
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    isolated = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    close(fd);
    return isolated;
}

#endif
