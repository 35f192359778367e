// SPDX-License-Identifier: MIT
/* UDP (RFC 768, 4787). The guest's datagrams go to the servers in this process (DHCP, DNS, TFTP), or by a flow (flow.c) to
 * where the policy says; answers come back as from where the guest sent to. A datagram is passed on whole: what is above
 * the MTU came in fragments and leaves in fragments, as each side's path wants them. */
#include <errno.h>

#include "net/flow.h"

/* Two questions and answers at most: no reason to remember for long (RFC 4787, REQ-5 allows it for such ports). */
static bool is_short(uint16_t port)
{
    return port == 53 || port == 123;
}

static enum port_result answer(struct flow *f, const struct iovec *data)
{
    enum port_result r = ip_send_udp(f->u, &f->dst, f->dport, &f->guest, f->gport, data, 1);
    if (r == PORT_SENT) {
        if (f->state == FLOW_ASKED)
            f->state = FLOW_ANSWERED;
        flow_use(f);
    }
    return r;
}

static struct flow *the_flow(void *arg, const struct ip_sock *from, uint8_t *data, struct flow_datagram *d)
{
    (void)from, (void)data, (void)d;
    return arg;
}

static void readable(void *arg, uint32_t events)
{
    struct flow *f = arg;
    if (events & EPOLLERR)
        flow_errors(f);
    if (events & EPOLLIN)
        flow_read(f->u, &f->fd, the_flow, f);
}

struct flow *udp_flow_forwarded(struct user *u, struct fwd *forward, const struct ip_addr *guest,
                                uint16_t gport, const struct ip_sock *peer)
{
    struct ip_addr src;
    uint16_t port;
    user_peer(u, guest, &peer->sa, &src, &port);
    struct flow *f = flow_find(u, IP_UDP, guest, gport, &src, port);
    if (f && f->forward != forward) {
        flow_free(f); /* the guest's own, to the same place: whoever speaks now is right */
        f = NULL;
    }
    if (!f) {
        f = flow_new(u, IP_UDP, guest, gport, &src, port, FLOW_ASKED);
        f->forward = forward;
        f->answer = answer;
    }
    f->peer = *peer;
    return f;
}

static struct flow *open_flow(struct user *u, const struct ip_packet *p, uint16_t sport, uint16_t dport)
{
    struct ip_sock to;
    enum ip_error e = user_policy(u, IP_UDP, &p->dst, dport, &to);
    if (e != IP_OK) {
        user_drop(u, e == IP_PROHIBITED ? USER_DROP_POLICY : USER_DROP_UNREACHABLE);
        ip_refuse(u, p, e, 0, NULL);
        return NULL;
    }
    int fd = flow_socket(u, to.sa.sa_family, SOCK_DGRAM, 0);
    if (fd < 0) {
        user_drop(u, USER_DROP_SOCKETS);
        ip_refuse(u, p, errno == EAFNOSUPPORT ? IP_NO_NET : IP_PROHIBITED, 0, NULL);
        return NULL;
    }
    struct flow *f =
        flow_new(u, IP_UDP, &p->src, sport, &p->dst, dport, is_short(dport) ? FLOW_SHORT : FLOW_ASKED);
    f->answer = answer;
    if (flow_connect(f, fd, &to, readable))
        return f;
    e = ip_error_of(errno);
    user_drop(u, USER_DROP_UNREACHABLE);
    flow_free(f);
    ip_refuse(u, p, e, 0, NULL);
    return NULL;
}

/* Servers of this process. */
static bool served(struct user *u, const struct ip_packet *p, uint16_t sport, uint16_t dport)
{
    if (dport == DHCP_SERVER_PORT && !p->v6 && (user_is_many(u, &p->dst) || ip_same(&p->dst, &u->host4))) {
        dhcp_input(u, p);
        return true;
    }
    if (dport == 53 && (ip_same(&p->dst, &u->dns4) || ip_same(&p->dst, &u->dns6))) {
        dns_input(u, p, sport);
        return true;
    }
    return !user_is_nobody(&p->src) && tftp_input(u, p, sport, dport);
}

void udp_input(struct user *u, const struct ip_packet *p)
{
    uint8_t h[UDP_HEADER];
    if (ip_copy(p, 0, h, sizeof h) < sizeof h || get16(h + 4) < UDP_HEADER || get16(h + 4) > p->len ||
        !get16(h) || !get16(h + 2)) {
        user_drop(u, USER_DROP_UDP);
        return;
    }
    uint16_t sport = get16(h), dport = get16(h + 2);
    struct ip_packet cut = *p; /* to UDP's own length: what IP has behind it is nobody's */
    struct iovec pieces[PORT_IOV_MAX];
    cut.len = get16(h + 4);
    if (cut.len < p->len) {
        cut.n = ip_slice(p->iov, p->n, 0, cut.len, pieces, PORT_IOV_MAX);
        cut.iov = pieces;
    }
    if (!ip_checksum_ok(&cut)) {
        user_drop(u, USER_DROP_CHECKSUM);
        return;
    }
    if (served(u, &cut, sport, dport))
        return;
    if (user_is_nobody(&p->src)) { /* only DHCP knows nobody */
        user_drop(u, USER_DROP_SOURCE);
        return;
    }
    if (user_is_many(u, &p->dst)) {
        user_drop(u, USER_DROP_MULTICAST);
        return;
    }
    struct flow *f = flow_find(u, IP_UDP, &p->src, sport, &p->dst, dport);
    if (!f && !(f = open_flow(u, &cut, sport, dport)))
        return;
    struct iovec data[PORT_IOV_MAX];
    int n = ip_slice(cut.iov, cut.n, UDP_HEADER, cut.len - UDP_HEADER, data, PORT_IOV_MAX);
    bool sent;
    flow_use(f);
    if (f->forward) {
        sent = fwd_send(f->forward, &f->peer, data, n);
        if (!sent)
            user_drop(u, USER_DROP_SEND);
        if (f->state == FLOW_ASKED)
            f->state = FLOW_ANSWERED;
    } else {
        flow_follow(f, p);
        sent = flow_send(f, data, n);
    }
    if (sent) {
        f->bytes_out += cut.len - UDP_HEADER;
        f->datagrams_out++;
    }
}
