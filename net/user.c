// SPDX-License-Identifier: MIT
/* The user network as a whole: see include/net/user.h, and include/net/ip.h for its inside.
 *
 * This file is its ends: options in, the port to the card, Ethernet frames sorted by type and packets by protocol. A
 * frame is handled to its end on the stack of the card that sent it; what it makes us answer goes back through
 * the port, which puts it off until the card is done. So receive() never says BUSY: what the host's side cannot take
 * is backpressure of TCP's window, and other protocols' loss. */
#include "net/user_priv.h"

#include <stdlib.h>
#include <sys/random.h>

#include "net/tcp.h"

static const char *const drop_names[USER_DROPS] = {
#define X(id, name) name,
    USER_DROP_LIST(X)
#undef X
};

bool user_is_us(const struct user *u, const struct ip_addr *a)
{
    return ip_same(a, &u->host4) || ip_same(a, &u->dns4) || ip_same(a, &u->host6) || ip_same(a, &u->dns6) ||
           ip_same(a, &u->link6);
}

bool user_is_many(const struct user *u, const struct ip_addr *a)
{
    if (!ip_is4(a))
        return a->b[0] == 0xff;
    return a->b[12] >> 4 == 14 || get32(a->b + 12) == 0xffffffff || ip_same(a, &u->broadcast4);
}

bool user_is_guest(const struct user *u, const struct ip_addr *a)
{
    static const struct ip_addr link_local = {
        {0xfe, 0x80}
    };
    if (user_is_us(u, a))
        return false;
    if (ip_is4(a))
        return ip_in(a, &u->net4, u->bits4) && !ip_same(a, &u->net4) && !ip_same(a, &u->broadcast4);
    return ip_in(a, &u->net6, u->bits6) || ip_in(a, &link_local, 64);
}

void user_deliver(struct user *u, const struct ip_packet *p)
{
    if (p->ttl <= 1 && !user_is_us(u, &p->dst) && !user_is_many(u, &p->dst)) {
        user_drop(u, USER_DROP_UNREACHABLE);
        ip_refuse(u, p, IP_HOPS, 0, NULL);
        return;
    }
    if (p->proto != IP_UDP && p->proto != IP_ICMP6 && user_is_nobody(&p->src)) {
        user_drop(u, USER_DROP_SOURCE); /* DHCP and NDP look themselves: they serve who has no address yet */
        return;
    }
    switch (p->proto) {
    case IP_ICMP:
    case IP_ICMP6:
        icmp_input(u, p);
        return;
    case IP_TCP:
        user_tcp_input(u, p);
        return;
    case IP_UDP:
        udp_input(u, p);
        return;
    default:
        if (user_is_many(u, &p->dst)) {
            user_drop(u, USER_DROP_MULTICAST); /* IGMP, for instance */
            return;
        }
        user_drop(u, USER_DROP_UNREACHABLE);
        ip_refuse(u, p, IP_NO_PROTO, 0, NULL);
    }
}

static bool for_us(const struct user *u, const uint8_t *dst)
{
    return dst[0] & 1 || !memcmp(dst, u->mac, 6);
}

static enum port_result user_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    struct user *u = (struct user *)port;
    uint8_t head[HEAD_MAX];
    struct ip_packet all = {.iov = iov, .n = n}; /* for ip_copy() */
    struct frame f = {.head = head, .iov = iov, .n = n, .meta = meta};
    f.head_len = ip_copy(&all, 0, head, sizeof head);
    for (int i = 0; i < n; i++)
        f.len += iov[i].iov_len;
    if (!for_us(u, head) || head[6] & 1) {
        user_drop(u, USER_DROP_MAC);
        return PORT_SENT;
    }
    switch (get16(head + 12)) {
    case ETH_IPV4:
        ip4_input(u, &f);
        break;
    case ETH_IPV6:
        ip6_input(u, &f);
        break;
    case ETH_ARP:
        arp_input(u, &f);
        break;
    default:
        user_drop(u, USER_DROP_ETHERTYPE); /* 802.3 lengths, VLAN tags and all others */
    }
    return PORT_SENT;
}

static void user_ready(struct port *port)
{
    struct user *u = (struct user *)port;
    flow_ready(u);
    tcp_ready(u->tcp);
}

static const struct port_ops user_ops = {.receive = user_receive, .ready = user_ready};

/* --- set-up */

static bool set_net(struct user *u, const struct user_options *o, char *err, size_t errlen)
{
    const char *text = o->net ? o->net : "10.0.2.0/24";
    unsigned bits;
    if (!ip_parse_net(text, &u->net4, &bits) || !ip_is4(&u->net4) || bits < 96 + 8 || bits > 96 + 29) {
        snprintf(err, errlen, "net=%s: not an IPv4 network such as 10.0.2.0/24, /8 to /29", text);
        return false;
    }
    u->bits4 = bits;
    bits -= 96;
    uint32_t mask = ~0u << (32 - bits), net = get32(u->net4.b + 12) & mask;
    uint32_t guest = net + (bits <= 27 ? 15 : 4), host = net + 2, dns = net + 3;
    struct ip_addr a;
    const struct {
        const char *key, *value;
        uint32_t *to;
    } given[] = {
        {"guest_ip", o->guest_ip, &guest},
        {"host_ip",  o->host_ip,  &host },
    };
    for (int i = 0; i < 2; i++) {
        if (!given[i].value)
            continue;
        if (!ip_parse(given[i].value, &a) || !ip_is4(&a) || (get32(a.b + 12) & mask) != net ||
            get32(a.b + 12) == net || get32(a.b + 12) == (net | ~mask)) {
            snprintf(err, errlen, "%s=%s: not an address of a machine in the network %s (net=)", given[i].key,
                     given[i].value, text);
            return false;
        }
        *given[i].to = get32(a.b + 12);
    }
    if (guest == host) {
        snprintf(err, errlen, "guest_ip and host_ip are the same, %s",
                 o->guest_ip ? o->guest_ip : o->host_ip);
        return false;
    }
    for (dns = net + 3; dns == guest || dns == host; dns++)
        ;
    u->net4 = u->host4 = u->guest4 = u->dns4 = u->broadcast4 = ip_addr4(u->net4.b + 12);
    set32(u->net4.b + 12, net);
    set32(u->host4.b + 12, host);
    set32(u->dns4.b + 12, dns);
    set32(u->guest4.b + 12, guest);
    set32(u->broadcast4.b + 12, net | ~mask);
    return true;
}

static void set_net6(struct user *u, uint16_t subnet)
{
    static const struct ip_addr prefix = {
        {0xfd, 'v', 'm', 'l', 'e', 't'}
    };
    u->net6 = prefix;
    set16(u->net6.b + 6, subnet);
    u->host6 = u->dns6 = u->net6;
    u->bits6 = 64;
    u->host6.b[15] = 2;
    u->dns6.b[15] = 3;
    u->link6 = (struct ip_addr){
        {0xfe, 0x80, [15] = 2}
    };
}

struct user *user_new(struct net *net, struct loop *loop, const struct user_options *o, char *err,
                      size_t errlen)
{
    struct user *u = calloc(1, sizeof *u);
    if (!u || !port_init(&u->port, net, o->name ? o->name : "user", &user_ops)) {
        snprintf(err, errlen, "user network: no memory");
        free(u);
        return NULL;
    }
    port_accept(&u->port, PORT_ACCEPT_CSUM | PORT_ACCEPT_TSO4 | PORT_ACCEPT_TSO6 | PORT_ACCEPT_ECN);
    u->loop = loop;
    u->name = u->port.name;
    u->mtu = o->mtu ? o->mtu : 1500;
    u->restricted = o->restricted;
    u->loopback = !o->no_loopback;
    u->ipv6 = !o->no_ipv6;
    if (getrandom(&u->ip_id, sizeof u->ip_id, GRND_NONBLOCK) < 0)
        u->ip_id = 1;
    u->ping_id = u->ip_id;
    neigh_init(u);
    policy_init(u);
    set_net6(u, o->subnet6);
    if (u->mtu < IP6_MTU_MIN || u->mtu > 65520) {
        snprintf(err, errlen, "mtu=%u: not in 1280-65520", u->mtu);
        goto fail;
    }
    if (!set_net(u, o, err, errlen))
        goto fail;
    memcpy(u->mac, (const uint8_t[]){0x52, 0x55}, 2);
    memcpy(u->mac + 2, u->host4.b + 12, 4);
    snprintf(u->host_name, sizeof u->host_name, "%s", o->host_name ? o->host_name : "");
    snprintf(u->bootfile, sizeof u->bootfile, "%s", o->bootfile ? o->bootfile : "");
    if (!(u->tcp = user_tcp_new(u, err, errlen))) /* first: it raises the limit of descriptors */
        goto fail;
    if (!(u->flows = flows_new(u)) || !(u->frags = frags_new(u)) || !(u->dns = dns_new(u, o)) ||
        !(u->dhcp = dhcp_new(u)) || !(u->fwds = fwds_new(u))) {
        snprintf(err, errlen, "user network: no memory");
        goto fail;
    }
    if (o->tftp && !(u->tftp = tftp_new(u, o->tftp, err, errlen)))
        goto fail;
    for (size_t i = 0; i < o->n_hostfwd; i++)
        if (!user_forward_add(u, o->hostfwd[i], err, errlen))
            goto fail;
    return u;
fail:
    user_free(u);
    return NULL;
}

void user_free(struct user *u)
{
    if (!u)
        return;
    port_free(&u->port);
    fwds_free(u->fwds);
    tcp_free(u->tcp);
    flows_free(u->flows);
    frags_free(u->frags);
    dns_free(u->dns);
    dhcp_free(u->dhcp);
    tftp_free(u->tftp);
    free(u);
}

struct port *user_port(struct user *u)
{
    return &u->port;
}

void user_print(struct user *u, FILE *out)
{
    char a[IP_ADDR_TEXT], b[IP_ADDR_TEXT], c[IP_ADDR_TEXT], d[IP_ADDR_TEXT];
    fprintf(out, "user network %s/%u: guest %s, gateway %s, DNS %s, MTU %u\n", ip_text(&u->net4, a),
            u->bits4 - 96, ip_text(&u->guest4, b), ip_text(&u->host4, c), ip_text(&u->dns4, d), u->mtu);
    if (u->ipv6)
        fprintf(out, "  IPv6 %s/%u: gateway %s, DNS %s\n", ip_text(&u->net6, a), u->bits6,
                ip_text(&u->host6, c), ip_text(&u->dns6, d));
    dhcp_print(u, out);
    dns_print(u, out);
    tftp_print(u, out);
    fwds_print(u, out);
    tcp_print(u->tcp, out);
    flows_print(u, out);
    policy_print(u, out);
    fprintf(out, "dropped:\n");
    for (int i = 0; i < USER_DROPS; i++)
        if (u->drops[i])
            fprintf(out, "  %10llu %s\n", (unsigned long long)u->drops[i], drop_names[i]);
}
