// SPDX-License-Identifier: MIT
/* Flows: what UDP and ping know of a conversation. Each is one connected socket of the host, so that the kernel lets
 * in only answers from where the guest sent to, and hands out ICMP errors to the one they are for. A flow that came in
 * by a forward has none of its own: it answers through the forward's.
 *
 * Bounds: FLOWS_MAX, or a quarter of the descriptors the process may have; above that, or when the host has no
 * descriptor left, the flow that was quiet longest gives way (RFC 4787, REQ-5's time only while there is room). Expiry is
 * one timer, which looks at all flows when the first may be over, not oftener than once a second, and sleeps when there
 * are none.
 *
 * From the host: datagrams are read in batches into buffers of all flows in common. When the card has no room the rest of
 * the batch stays there, and whoever becomes readable meanwhile is disarmed, until user_ready(). So the kernel's
 * buffers are the queue, and nothing is dropped on this side of them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/flow.h"
#include "kvm/host/ns.h"

enum {
    HASH = 1024,
};
static const uint64_t timeout_s[] = {
    [FLOW_ASKED] = 30,
    [FLOW_ANSWERED] = 180, /* RFC 4787, REQ-5: two minutes at least */
    [FLOW_SHORT] = 10,
};

static unsigned hash_of(uint8_t proto, const struct ip_addr *guest, uint16_t gport, const struct ip_addr *dst,
                        uint16_t dport)
{
    uint32_t h = (get32(guest->b + 12) ^ get32(dst->b + 12) ^ get32(dst->b + 4) ^ proto) * 0x9e3779b1u;
    h = (h ^ ((uint32_t)gport << 16 | dport)) * 0x85ebca6bu;
    return (h ^ h >> 15) % HASH;
}

/* --- the list of use, most recent first */

static void unlink_use(struct flow *f)
{
    f->older->newer = f->newer;
    f->newer->older = f->older;
}

static void link_newest(struct flows *fl, struct flow *f)
{
    f->older = fl->ends.older;
    f->newer = &fl->ends;
    f->older->newer = f;
    fl->ends.older = f;
}

void flow_use(struct flow *f)
{
    struct flows *fl = f->u->flows;
    f->used = loop_now(f->u->loop);
    if (f->newer != &fl->ends) {
        unlink_use(f);
        link_newest(fl, f);
    }
}

/* --- life */

void flow_free(struct flow *f)
{
    struct flows *fl = f->u->flows;
    struct flow **link = &fl->hash[hash_of(f->proto, &f->guest, f->gport, &f->dst, f->dport)];
    while (*link != f)
        link = &(*link)->chain;
    *link = f->chain;
    unlink_use(f);
    if (f->fd.loop) {
        int fd = f->fd.fd;
        loop_fd_remove(&f->fd);
        close(fd);
    }
    for (unsigned i = 0; i < FLOW_BATCH; i++)
        if (fl->batch[i].flow == f)
            fl->batch[i].flow = NULL;
    f->chain = fl->unused;
    fl->unused = f;
    fl->n--;
}

void flow_free_forwarded(struct user *u, const struct fwd *forward)
{
    for (struct flow *f = u->flows->ends.newer, *next; f != &u->flows->ends; f = next) {
        next = f->newer;
        if (f->forward == forward)
            flow_free(f);
    }
}

static uint64_t deadline(const struct flow *f)
{
    return f->used + timeout_s[f->state] * SECOND;
}

static void expire(void *arg)
{
    struct flows *fl = arg;
    uint64_t now = loop_now(fl->u->loop), first = LOOP_NEVER;
    for (struct flow *f = fl->ends.newer, *next; f != &fl->ends; f = next) {
        next = f->newer;
        if (deadline(f) <= now)
            flow_free(f);
        else if (deadline(f) < first)
            first = deadline(f);
    }
    if (first != LOOP_NEVER)
        loop_timer_set(&fl->timer, first > now + SECOND ? first : now + SECOND);
}

struct flow *flow_find(struct user *u, uint8_t proto, const struct ip_addr *guest, uint16_t gport,
                       const struct ip_addr *dst, uint16_t dport)
{
    struct flow *f = u->flows->hash[hash_of(proto, guest, gport, dst, dport)];
    while (f && !(f->gport == gport && f->dport == dport && f->proto == proto && ip_same(&f->dst, dst) &&
                  ip_same(&f->guest, guest)))
        f = f->chain;
    return f;
}

/* The oldest with a descriptor gives it up. */
static bool make_room(struct user *u)
{
    struct flow *oldest = u->flows->ends.newer;
    while (oldest != &u->flows->ends && oldest->forward)
        oldest = oldest->newer; /* has no descriptor to give */
    if (oldest == &u->flows->ends)
        return false;
    user_drop(u, USER_DROP_FLOW_ROOM);
    flow_free(oldest);
    return true;
}

struct flow *flow_new(struct user *u, uint8_t proto, const struct ip_addr *guest, uint16_t gport,
                      const struct ip_addr *dst, uint16_t dport, enum flow_state state)
{
    struct flows *fl = u->flows;
    if (fl->n == fl->max) {
        user_drop(u, USER_DROP_FLOW_ROOM);
        flow_free(fl->ends.newer);
    }
    struct flow *f = fl->unused;
    if (f)
        fl->unused = f->chain;
    else
        f = &fl->all[fl->touched++]; /* pages become real as they are used */
    fl->n++;
    *f = (struct flow){
        .u = u, .proto = proto, .guest = *guest, .gport = gport, .dst = *dst, .dport = dport, .state = state};
    unsigned h = hash_of(proto, guest, gport, dst, dport);
    f->chain = fl->hash[h];
    fl->hash[h] = f;
    f->used = loop_now(u->loop);
    link_newest(fl, f);
    if (!loop_timer_armed(&fl->timer) || deadline(f) < fl->timer.deadline)
        loop_timer_set(&fl->timer, deadline(f));
    return f;
}

int flow_socket(struct user *u, int family, int type, int protocol)
{
    int fd;
    do
        fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    while (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) &&
           make_room(u));
    return fd;
}

/* --- batches */

static void disarm(struct flows *fl, struct loop_fd *f)
{
    loop_fd_events(f, 0);
    fl->disarmed = true;
}

/* true: the batch is gone. */
static bool flush_batch(struct flows *fl)
{
    for (; fl->batch_at < fl->batch_n; fl->batch_at++) {
        struct flow_datagram *d = &fl->batch[fl->batch_at];
        if (!d->flow)
            continue;
        struct iovec iov = {fl->memory + (size_t)fl->batch_at * FLOW_DATAGRAM + d->offset, d->len};
        if (d->flow->answer(d->flow, &iov) == PORT_BUSY)
            return false;
        d->flow->bytes_in += d->len;
        d->flow->datagrams_in++;
    }
    for (unsigned i = 0; i < fl->batch_n; i++)
        fl->batch[i].flow = NULL;
    fl->batch_n = fl->batch_at = 0;
    return true;
}

void flow_read(struct user *u, struct loop_fd *f, flow_of_fn *of, void *arg)
{
    struct flows *fl = u->flows;
    struct mmsghdr m[FLOW_BATCH];
    struct iovec iov[FLOW_BATCH];
    struct ip_sock from[FLOW_BATCH];
    if (fl->batch_n) {
        disarm(fl, f);
        return;
    }
    for (unsigned i = 0; i < FLOW_BATCH; i++) {
        iov[i] = (struct iovec){fl->memory + (size_t)i * FLOW_DATAGRAM, FLOW_DATAGRAM};
        m[i] = (struct mmsghdr){
            .msg_hdr = {.msg_iov = &iov[i],
                        .msg_iovlen = 1,
                        .msg_name = &from[i].sa,
                        .msg_namelen = sizeof from[i].in6}
        };
    }
    int n = recvmmsg(f->fd, m, FLOW_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct flow_datagram *d = &fl->batch[i];
        d->len = m[i].msg_len;
        d->offset = 0;
        from[i].len = m[i].msg_hdr.msg_namelen;
        d->flow = of(arg, &from[i], iov[i].iov_base, d);
    }
    if (n > 0) {
        fl->batch_n = (unsigned)n;
        fl->batch_at = 0;
        if (!flush_batch(fl))
            disarm(fl, f);
    }
}

void flow_ready(struct user *u)
{
    struct flows *fl = u->flows;
    if (!flush_batch(fl) || !fl->disarmed)
        return;
    fl->disarmed = false;
    for (struct flow *f = fl->ends.newer; f != &fl->ends; f = f->newer)
        if (f->fd.loop)
            loop_fd_events(&f->fd, EPOLLIN);
    fwd_rearm(u);
}

/* --- set-up */

struct flows *flows_new(struct user *u)
{
    struct flows *fl = calloc(1, sizeof *fl);
    struct rlimit limit;
    if (!fl)
        return NULL;
    fl->memory = mmap(NULL, (size_t)FLOW_BATCH * FLOW_DATAGRAM, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fl->memory == MAP_FAILED) {
        free(fl);
        return NULL;
    }
    fl->u = u;
    fl->max = FLOWS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < fl->max)
        fl->max = limit.rlim_cur < 16 ? 4 : (unsigned)(limit.rlim_cur / 4);
    fl->ends.newer = fl->ends.older = &fl->ends;
    loop_timer_init(u->loop, &fl->timer, expire, fl);
    return fl;
}

void flows_free(struct flows *fl)
{
    if (!fl)
        return;
    while (fl->ends.newer != &fl->ends)
        flow_free(fl->ends.newer);
    loop_timer_cancel(&fl->timer);
    munmap(fl->memory, (size_t)FLOW_BATCH * FLOW_DATAGRAM);
    free(fl);
}

void flows_print(struct user *u, FILE *out)
{
    char a[IP_ADDR_TEXT], b[IP_ADDR_TEXT];
    uint64_t now = loop_now(u->loop);
    fprintf(out, "flows: %u of at most %u\n", u->flows->n, u->flows->max);
    for (struct flow *f = u->flows->ends.older; f != &u->flows->ends; f = f->older)
        fprintf(out, "  %-4s %s:%u %s:%u  %s %llu s, out %llu bytes in %llu, in %llu bytes in %llu%s\n",
                f->proto == IP_UDP ? "udp" : "ping", ip_text(&f->guest, a), f->gport, ip_text(&f->dst, b),
                f->dport, f->state == FLOW_ANSWERED ? "answered, quiet for" : "quiet for",
                (unsigned long long)((now - f->used) / SECOND), (unsigned long long)f->bytes_out,
                (unsigned long long)f->datagrams_out, (unsigned long long)f->bytes_in,
                (unsigned long long)f->datagrams_in, f->forward ? ", by a forward" : "");
}
