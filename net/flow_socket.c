// SPDX-License-Identifier: MIT
/* A flow's own socket: what is passed through it besides data.
 *
 * Towards the network: DF, so that a guest that looks for the path's MTU finds it (RFC 1191, 8899), and low hop limits,
 * so that its traceroute works. Back from it: ICMP errors, out of the socket's error queue (ip(7), IP_RECVERR), with the
 * router's own address where a router speaks. An error is also the result of the next call on the socket,
 * which then has not done what it should: so it is tried again. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "net/flow.h"

enum {
    ERRORS_AT_ONCE = 8,
};

/* --- the state of the socket that follows the guest's packets */

void flow_follow(struct flow *f, const struct ip_packet *p)
{
    int fd = f->fd.fd, value;
    if (f->df != p->df || !f->opened) { /* DF: the guest looks for the path's MTU, and is to be told it */
        f->df = p->df;
        value = p->df ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT; /* the IPv6 values are the same */
        setsockopt(fd, p->v6 ? IPPROTO_IPV6 : IPPROTO_IP, p->v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &value,
                   sizeof value);
        f->opened = true;
    }
    uint8_t hops = p->ttl <= FLOW_LOW_HOPS ? (uint8_t)(p->ttl - 1) : 0; /* traceroute; else the host's own */
    if (f->hops != hops) {
        f->hops = hops;
        value = hops ? hops : -1;
        setsockopt(fd, p->v6 ? IPPROTO_IPV6 : IPPROTO_IP, p->v6 ? IPV6_UNICAST_HOPS : IP_TTL, &value,
                   sizeof value);
    }
}

bool flow_connect(struct flow *f, int fd, const struct ip_sock *to, loop_fd_fn *fn)
{
    int on = 1;
    bool v6 = to->sa.sa_family == AF_INET6;
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof on);
    if (connect(fd, &to->sa, to->len) == 0 && loop_fd_add(f->u->loop, &f->fd, fd, EPOLLIN, fn, f))
        return true;
    int error = errno;
    close(fd);
    errno = error;
    return false;
}

/* --- errors */

static enum ip_error error_of_icmp(const struct sock_extended_err *e)
{
    static const enum ip_error unreachable4[16] = {IP_NO_NET,  IP_NO_HOST,    IP_NO_PROTO,   IP_NO_PORT,
                                                   IP_TOO_BIG, IP_NO_HOST,    IP_NO_NET,     IP_NO_HOST,
                                                   IP_NO_HOST, IP_PROHIBITED, IP_PROHIBITED, IP_NO_NET,
                                                   IP_NO_HOST, IP_PROHIBITED, IP_PROHIBITED, IP_PROHIBITED};
    static const enum ip_error unreachable6[8] = {IP_NO_NET,  IP_PROHIBITED, IP_NO_HOST,    IP_NO_HOST,
                                                  IP_NO_PORT, IP_PROHIBITED, IP_PROHIBITED, IP_NO_HOST};
    if (e->ee_origin == SO_EE_ORIGIN_LOCAL)
        return e->ee_errno == EMSGSIZE ? IP_TOO_BIG : IP_OK;
    if (e->ee_origin == SO_EE_ORIGIN_ICMP)
        return e->ee_type == 3 && e->ee_code < 16 ? unreachable4[e->ee_code]
               : e->ee_type == 11                 ? IP_HOPS
                                                  : IP_OK;
    if (e->ee_origin == SO_EE_ORIGIN_ICMP6)
        return e->ee_type == 1 && e->ee_code < 8 ? unreachable6[e->ee_code]
               : e->ee_type == 2                 ? IP_TOO_BIG
               : e->ee_type == 3                 ? IP_HOPS
                                                 : IP_OK;
    return IP_OK;
}

static void refuse(struct flow *f, enum ip_error e, unsigned mtu, const struct ip_addr *from)
{
    uint8_t l4[8] = {0};
    struct iovec iov = {l4, sizeof l4};
    struct ip_packet p = {.src = f->guest,
                          .dst = f->dst,
                          .v6 = !ip_is4(&f->dst),
                          .proto = f->proto,
                          .ttl = IP_TTL_OURS,
                          .df = true,
                          .iov = &iov,
                          .n = 1,
                          .len = sizeof l4};
    if (f->proto == IP_UDP) {
        set16(l4, f->gport);
        set16(l4 + 2, f->dport);
        set16(l4 + 4, UDP_HEADER);
    } else {
        l4[0] = p.v6 ? 128 : 8; /* echo request */
        set16(l4 + 4, f->gport);
        set16(l4 + 6, f->sequence);
    }
    user_drop(f->u, e == IP_PROHIBITED ? USER_DROP_POLICY : USER_DROP_UNREACHABLE);
    if (e == IP_TOO_BIG) {
        unsigned least = p.v6 ? IP6_MTU_MIN : 68;
        mtu = mtu < least ? least : mtu > f->u->mtu ? f->u->mtu : mtu;
    }
    ip_refuse(f->u, &p, e, mtu, from);
}

void flow_errors(struct flow *f)
{
    for (int i = 0; i < ERRORS_AT_ONCE; i++) {
        uint8_t data[64], control[256] __attribute__((aligned(8)));
        struct iovec iov = {data, sizeof data};
        struct msghdr m = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(f->fd.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            struct sock_extended_err e;
            struct {
                struct sock_extended_err e;
                struct sockaddr_in6 offender;
            } all = {0};
            struct ip_addr from;
            uint16_t port;
            if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
                !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
                continue;
            size_t len = c->cmsg_len - CMSG_LEN(0);
            if (len < sizeof e)
                continue;
            memcpy(&all, CMSG_DATA(c), len < sizeof all ? len : sizeof all);
            e = all.e;
            enum ip_error error = error_of_icmp(&e);
            if (error == IP_OK)
                continue;
            /* A router on the way speaks for itself; all else comes from where the guest sent to, which may go by
             * another name with it. */
            bool router = error == IP_HOPS && ip_of_sock((struct sockaddr *)&all.offender, &from, &port);
            refuse(f, error, e.ee_info, router ? &from : &f->dst);
        }
    }
    /* what the queue did not explain */
    int error;
    socklen_t len = sizeof error;
    getsockopt(f->fd.fd, SOL_SOCKET, SO_ERROR, &error, &len);
}

bool flow_send(struct flow *f, const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    for (int i = 0; i < 2; i++) {
        if (sendmsg(f->fd.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        switch (errno) {
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
            user_drop(f->u, USER_DROP_SEND);
            return false;
        case EMSGSIZE: /* the queue says which size fits */
            flow_errors(f);
            return false;
        case EPERM:
        case EACCES:
        case ENETUNREACH:
        case EINVAL:
            refuse(f, ip_error_of(errno), 0, NULL);
            return false;
        default: /* that of an earlier datagram: this one has not been tried */
            flow_errors(f);
        }
    }
    user_drop(f->u, USER_DROP_SEND);
    return false;
}
