// SPDX-License-Identifier: MIT
/* The policy: where a guest may go, and where on the host that is. One table for both families; the first row that fits
 * decides, what fits none is allowed. In front of it are the network's own addresses, and `restrict`; behind it the
 * question whether the port is one of this process's own (and the address one of this host's: a forward on port 80
 * forbids nobody the port 80 of others).
 *
 * Addresses that carry an IPv4 address within (NAT64, 6to4) are judged by that too, so that no spelling of a forbidden
 * address gets through. Metadata services hand out the host's credentials to whoever asks from the host: never a
 * guest. Sources: RFC 6890, 6052, 8215, 3056; the cloud vendors' manuals for the metadata addresses. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/user_priv.h"

static const struct rule {
    const char *net;
    int inside; /* not 0: at this byte is an IPv4 address, judged instead */
    const char *why;
} rules[POLICY_RULES] = {
    {"0.0.0.0/8",          0,  "this network"            },
    {"127.0.0.0/8",        0,  "loopback"                },
    {"169.254.0.0/16",     0,  "link-local and metadata" },
    {"100.100.100.200/32", 0,  "metadata"                },
    {"168.63.129.16/32",   0,  "metadata"                },
    {"192.0.0.192/32",     0,  "metadata"                },
    {"224.0.0.0/4",        0,  "multicast"               },
    {"240.0.0.0/4",        0,  "reserved and broadcast"  },
    {"::/96",              0,  "unspecified and loopback"},
    {"fe80::/10",          0,  "link-local"              },
    {"ff00::/8",           0,  "multicast"               },
    {"fd00:ec2::254/128",  0,  "metadata"                },
    {"fd20:ce::254/128",   0,  "metadata"                },
    {"64:ff9b::/96",       12, "IPv4 within: NAT64"      },
    {"64:ff9b:1::/48",     12, "IPv4 within: NAT64"      },
    {"2002::/16",          2,  "IPv4 within: 6to4"       },
};

bool ip_parse_net(const char *text, struct ip_addr *net, unsigned *bits)
{
    char copy[IP_ADDR_TEXT + 8], *end;
    snprintf(copy, sizeof copy, "%s", text);
    char *slash = strchr(copy, '/');
    if (!slash || slash[1] < '0' || slash[1] > '9')
        return false;
    *slash = 0;
    unsigned long n = strtoul(slash + 1, &end, 10);
    if (*end || !ip_parse(copy, net) || n > (ip_is4(net) ? 32 : 128))
        return false;
    *bits = (unsigned)n + (ip_is4(net) ? 96 : 0);
    return true;
}

void policy_init(struct user *u)
{
    for (int i = 0; i < POLICY_RULES; i++)
        if (!ip_parse_net(rules[i].net, &u->rules[i].net, &u->rules[i].bits))
            abort(); /* the table above is wrong: no input leads here */
}

static _Atomic uint16_t own_ports[2][65536]; /* TCP, UDP: how many sockets of ours */

void user_own_port_add(uint8_t proto, uint16_t port)
{
    atomic_fetch_add_explicit(&own_ports[proto == IP_UDP][port], 1, memory_order_relaxed);
}

void user_own_port_remove(uint8_t proto, uint16_t port)
{
    atomic_fetch_sub_explicit(&own_ports[proto == IP_UDP][port], 1, memory_order_relaxed);
}

static bool is_own_port(uint8_t proto, uint16_t port)
{
    return (proto == IP_TCP || proto == IP_UDP) &&
           atomic_load_explicit(&own_ports[proto == IP_UDP][port], memory_order_relaxed);
}

/* Whether addr is one of this host's: a socket may have it, or the kernel would send from it to it (a second address of a network
 * is spoken to from the first; a whole network that is local has addresses that IPv6 sockets may not have). Nothing is sent. */
static bool is_host(const struct ip_addr *addr)
{
    struct ip_sock to = ip_sock(addr, 9), at = ip_sock(addr, 0), from = {.len = sizeof from.in6};
    struct ip_addr mine;
    uint16_t port;
    int fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* cannot tell */
    bool is = (connect(fd, &to.sa, to.len) == 0 && getsockname(fd, &from.sa, &from.len) == 0 &&
               ip_of_sock(&from.sa, &mine, &port) && ip_same(&mine, addr));
    close(fd);
    if (is)
        return true;
    fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    is = bind(fd, &at.sa, at.len) == 0;
    close(fd);
    return is;
}

static enum ip_error judge(const struct user *u, const struct ip_addr *dst)
{
    for (int i = 0; i < POLICY_RULES; i++) {
        if (!ip_in(dst, &u->rules[i].net, u->rules[i].bits))
            continue;
        if (!rules[i].inside)
            return IP_PROHIBITED;
        struct ip_addr within = ip_addr4(dst->b + rules[i].inside);
        return judge(u, &within);
    }
    return IP_OK;
}

/* The network's own addresses. */
static enum ip_error judge_inside(struct user *u, uint8_t proto, const struct ip_addr *dst, uint16_t port,
                                  struct ip_sock *to)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    bool v6 = !ip_is4(dst);
    if (ip_same(dst, v6 ? &u->dns6 : &u->dns4)) {
        if (port != 53 || (proto != IP_TCP && proto != IP_UDP))
            return IP_NO_PORT;
        if (u->restricted)
            return IP_PROHIBITED;
        *to = resolv_first(&u->resolv);
        return IP_OK;
    }
    if (!ip_same(dst, v6 ? &u->host6 : &u->host4))
        return u->restricted ? IP_PROHIBITED : IP_NO_HOST;
    if (u->restricted || !u->loopback || is_own_port(proto, port))
        return IP_PROHIBITED;
    struct ip_addr loopback = v6 ? ip_addr6(loopback6) : ip_addr4(loopback4);
    *to = ip_sock(&loopback, port);
    return IP_OK;
}

enum ip_error user_policy(struct user *u, uint8_t proto, const struct ip_addr *dst, uint16_t port,
                          struct ip_sock *to)
{
    enum ip_error e;
    if (ip_in(dst, &u->net4, u->bits4) || ip_in(dst, &u->net6, u->bits6))
        return judge_inside(u, proto, dst, port, to);
    e = u->restricted ? IP_PROHIBITED : judge(u, dst);
    if (e == IP_OK && is_own_port(proto, port) && is_host(dst))
        e = IP_PROHIBITED;
    if (e == IP_OK)
        *to = ip_sock(dst, port);
    return e;
}

void user_peer(struct user *u, const struct ip_addr *guest, const struct sockaddr *peer, struct ip_addr *src,
               uint16_t *port)
{
    bool v6 = !ip_is4(guest);
    if (!ip_of_sock(peer, src, port)) {
        *src = (struct ip_addr){0};
        *port = 0;
    }
    if (ip_is4(src) == v6 || judge(u, src) != IP_OK || ip_in(src, &u->net4, u->bits4) ||
        ip_in(src, &u->net6, u->bits6))
        *src = v6 ? u->host6 : u->host4;
}

void policy_print(struct user *u, FILE *out)
{
    char text[IP_ADDR_TEXT];
    fprintf(out, "policy, the first that fits:\n");
    fprintf(out, "  %-24s %s\n", ip_text(&u->host4, text),
            u->restricted ? "refused: restrict=on"
            : u->loopback ? "127.0.0.1, but for vmlet's own ports"
                          : "refused: loopback=off");
    if (u->ipv6)
        fprintf(out, "  %-24s %s\n", ip_text(&u->host6, text),
                u->restricted ? "refused: restrict=on"
                : u->loopback ? "::1, but for vmlet's own ports"
                              : "refused: loopback=off");
    fprintf(out, "  %-24s %s\n", ip_text(&u->dns4, text),
            u->restricted ? "refused: restrict=on" : "port 53: the host's resolver");
    if (u->restricted) {
        fprintf(out, "  %-24s refused: restrict=on\n", "everything");
        return;
    }
    for (int i = 0; i < POLICY_RULES; i++)
        fprintf(out, "  %-24s %s: %s\n", rules[i].net, rules[i].inside ? "judged" : "refused", rules[i].why);
    fprintf(out, "  %-24s allowed, but for vmlet's own ports on this host\n", "everything else");
}
