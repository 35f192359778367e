// SPDX-License-Identifier: MIT
/* Echo to others than ourselves: a real echo request of the host's, so that what is dead is dead.
 *
 * Linux lets ordinary users ping by datagram sockets (icmp(7), ping_group_range), which see only their own answers and
 * choose the identifier themselves; the guest's is put back. Where that is not allowed a raw socket is tried, for
 * which privileges are needed: it sees all answers from that address, so that ours are told by an identifier of our own. Where
 * neither may be, one line says what would allow it, and the guest is told that it is prohibited.
 *
 * A flow (flow.c) is one guest's identifier and one destination: one `ping`. */
#include <errno.h>
#include <netinet/icmp6.h>

#include <linux/icmp.h>

#include "kvm/host/log.h"
#include "net/flow.h"
#include "net/offload.h"

enum {
    ECHO_REPLY4 = 0,
    ECHO4 = 8,
    ECHO6 = 128,
    ECHO_REPLY6 = 129,
};

static enum port_result answer(struct flow *f, const struct iovec *data)
{
    struct ip_out o = {
        .src = f->dst,
        .dst = f->guest,
        .proto = f->proto,
        .header = data->iov_base,
        .hlen = ICMP_HEADER,
        .iov = &(struct iovec){(uint8_t *)data->iov_base + ICMP_HEADER, data->iov_len - ICMP_HEADER},
        .n = data->iov_len > ICMP_HEADER
    };
    flow_use(f);
    return user_ip_send(f->u, &o);
}

/* An answer to this flow, as it came: raw IPv4 sockets give its IP header too. A ping socket also gives what others than its
 * peer say under its identifier, although it is connected. */
static struct flow *read_answer(void *arg, const struct ip_sock *from, uint8_t *data, struct flow_datagram *d)
{
    struct flow *f = arg;
    struct ip_addr who, asked;
    uint16_t port;
    if (!ip_of_sock(&from->sa, &who, &port) || !ip_of_sock(&f->peer.sa, &asked, &port) ||
        !ip_same(&who, &asked))
        return NULL;
    if (f->raw && f->proto == IP_ICMP) {
        size_t ihl = d->len ? (data[0] & 15u) * 4 : 0;
        if (ihl < IP4_HEADER || ihl > d->len)
            return NULL;
        d->offset = ihl;
        d->len -= ihl;
    }
    uint8_t *icmp = data + d->offset;
    if (d->len < ICMP_HEADER || icmp[0] != (f->proto == IP_ICMP ? ECHO_REPLY4 : ECHO_REPLY6) ||
        icmp[1] != 0 || (f->raw && get16(icmp + 4) != f->host_id))
        return NULL;
    set16(icmp + 4, f->gport);
    return f;
}

static void readable(void *arg, uint32_t events)
{
    struct flow *f = arg;
    if (events & EPOLLERR)
        flow_errors(f);
    if (events & EPOLLIN)
        flow_read(f->u, &f->fd, read_answer, f);
}

static void set_filter(int fd, bool v6)
{
    struct icmp6_filter all_but6;
    struct icmp_filter all_but4 = {~(1u << ECHO_REPLY4)};
    ICMP6_FILTER_SETBLOCKALL(&all_but6);
    ICMP6_FILTER_SETPASS(ECHO_REPLY6, &all_but6);
    if (v6)
        setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &all_but6, sizeof all_but6);
    else
        setsockopt(fd, SOL_RAW, ICMP_FILTER, &all_but4, sizeof all_but4);
}

/* -1: neither is allowed, or there are no descriptors. */
static int open_socket(struct user *u, bool v6, bool *raw)
{
    int family = v6 ? AF_INET6 : AF_INET, protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    int fd = flow_socket(u, family, SOCK_DGRAM, protocol);
    *raw = false;
    if (fd >= 0 || (errno != EACCES && errno != EPERM))
        return fd;
    *raw = true;
    fd = flow_socket(u, family, SOCK_RAW, protocol);
    if (fd >= 0)
        set_filter(fd, v6);
    else if (!u->ping_told && (errno == EPERM || errno == EACCES)) {
        u->ping_told = true;
        warn("%s: ping: the host allows neither ping nor raw sockets (sysctl -w "
             "net.ipv4.ping_group_range=\"0 2147483647\" "
             "allows it)",
             u->name);
    }
    return fd;
}

static struct flow *open_flow(struct user *u, const struct ip_packet *p, uint16_t id)
{
    struct ip_sock to;
    bool raw;
    enum ip_error e = user_policy(u, p->proto, &p->dst, 0, &to);
    if (e != IP_OK) {
        user_drop(u, e == IP_PROHIBITED ? USER_DROP_POLICY : USER_DROP_UNREACHABLE);
        ip_refuse(u, p, e, 0, NULL);
        return NULL;
    }
    int fd = open_socket(u, p->v6, &raw);
    if (fd < 0) {
        user_drop(u, USER_DROP_SOCKETS);
        ip_refuse(u, p, errno == EAFNOSUPPORT ? IP_NO_NET : IP_PROHIBITED, 0, NULL);
        return NULL;
    }
    struct flow *f = flow_new(u, p->proto, &p->src, id, &p->dst, 0, FLOW_SHORT);
    f->answer = answer;
    f->raw = raw;
    f->peer = to;
    f->host_id = (uint16_t)(u->ping_id++ * 0x9e37u + 1);
    if (flow_connect(f, fd, &to, readable))
        return f;
    e = ip_error_of(errno);
    user_drop(u, USER_DROP_UNREACHABLE);
    flow_free(f);
    ip_refuse(u, p, e, 0, NULL);
    return NULL;
}

void ping_input(struct user *u, const struct ip_packet *p)
{
    uint8_t h[ICMP_HEADER];
    struct iovec out[PORT_IOV_MAX];
    ip_copy(p, 0, h, sizeof h); /* icmp.c has seen that it is there, and an echo request */
    struct flow *f = flow_find(u, p->proto, &p->src, get16(h + 4), &p->dst, 0);
    if (!f && !(f = open_flow(u, p, get16(h + 4))))
        return;
    out[0] = (struct iovec){h, sizeof h};
    int n = ip_slice(p->iov, p->n, ICMP_HEADER, p->len - ICMP_HEADER, out + 1, PORT_IOV_MAX - 1);
    if (n < 0)
        return;
    set16(h + 4, f->host_id); /* ping sockets put in their own */
    memset(h + 2, 0, 2);
    if (f->raw && !p->v6) { /* all others are the kernel's */
        uint16_t sum = offload_sum(out, n + 1, 0, p->len);
        sum = (uint16_t)~sum;
        memcpy(h + 2, &sum, 2);
    }
    f->sequence = get16(h + 6);
    flow_use(f);
    flow_follow(f, p);
    if (flow_send(f, out, n + 1)) {
        f->bytes_out += p->len - ICMP_HEADER;
        f->datagrams_out++;
    }
}
