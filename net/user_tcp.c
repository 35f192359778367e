// SPDX-License-Identifier: MIT
/* Between the user network and TCP (net/tcp.h), which knows the network only by four calls. */
#include "net/tcp.h"
#include "net/user_priv.h"

static enum port_result send_packet(void *ctx, const struct ip_out *o)
{
    return user_ip_send(ctx, o);
}

static void refuse(void *ctx, const struct ip_packet *p, enum ip_error e)
{
    user_drop(ctx, e == IP_PROHIBITED ? USER_DROP_POLICY : USER_DROP_UNREACHABLE);
    ip_refuse(ctx, p, e, 0, NULL);
}

static enum ip_error policy(void *ctx, const struct ip_addr *peer, uint16_t port, struct ip_sock *to)
{
    return user_policy(ctx, IP_TCP, peer, port, to);
}

static uint16_t mss(void *ctx, bool v6)
{
    return user_mss(ctx, v6);
}

static const struct tcp_ops ops = {.send = send_packet, .refuse = refuse, .policy = policy, .mss = mss};

struct tcp *user_tcp_new(struct user *u, char *err, size_t errlen)
{
    return tcp_new(&(struct tcp_config){.loop = u->loop, .ops = &ops, .ctx = u}, err, errlen);
}

void user_tcp_input(struct user *u, const struct ip_packet *p)
{
    if (user_is_many(u, &p->dst))
        user_drop(u, USER_DROP_MULTICAST); /* TCP is between two */
    else
        tcp_input(u->tcp, p);
}

bool user_tcp_forward(struct user *u, int fd, const struct ip_addr *guest, uint16_t gport,
                      const struct ip_addr *peer, uint16_t pport)
{
    struct tcp_ends ends = {.guest = *guest, .guest_port = gport, .peer = *peer, .peer_port = pport};
    return tcp_forward(u->tcp, fd, &ends);
}
