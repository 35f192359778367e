// SPDX-License-Identifier: MIT
/* Neighbours: which MAC address a guest's address has; and ARP (RFC 826, 5227), by which the guest learns ours.
 *
 * Every good packet from the guest teaches us where it came from, so that we hardly ever ask. The table is small and
 * set-associative: a guest that invents addresses only pushes out its own. Our own addresses cannot be learnt. When a
 * packet is for somebody unknown, he is asked for (at most ten times a second in all), and one such frame is kept until he
 * answers: the first connection through a forward to a silent guest.
 *
 * ARP: requests for the gateway and the DNS server are answered, and nothing else; a claim of one of these addresses
 * is answered with the truth, if it was a request, and never believed. */
#include "net/offload.h"
#include "net/user_priv.h"

enum {
    ARP_PACKET = 28,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
    WAYS = 4,
    ASK_INTERVAL = 100 * 1000 * 1000, /* ns */
};

void neigh_init(struct user *u)
{
    u->last = u->neighbours;
}

static struct neighbour *set_of(struct user *u, const struct ip_addr *addr)
{
    const uint8_t *b = addr->b;
    unsigned hash = (unsigned)(b[15] ^ b[14] * 5 ^ b[13] * 7 ^ b[9] * 3 ^ b[7]);
    return u->neighbours + hash % (NEIGHBOURS / WAYS) * WAYS;
}

static struct neighbour *look_up(struct user *u, const struct ip_addr *addr)
{
    if (u->last->valid && ip_same(&u->last->addr, addr))
        return u->last;
    struct neighbour *set = set_of(u, addr);
    for (int i = 0; i < WAYS; i++)
        if (set[i].valid && ip_same(&set[i].addr, addr))
            return u->last = &set[i];
    return NULL;
}

void neigh_learn(struct user *u, const struct ip_addr *addr, const uint8_t mac[6])
{
    struct neighbour *n = look_up(u, addr);
    if (n && !memcmp(n->mac, mac, 6))
        return;
    if (!n) {
        n = set_of(u, addr); /* the newest goes first, the oldest of the set falls out */
        memmove(n + 1, n, (WAYS - 1) * sizeof *n);
        n->addr = *addr;
        n->valid = true;
        u->last = n;
    }
    memcpy(n->mac, mac, 6);
    if (u->pending_len && ip_same(&u->pending_dst, addr)) {
        struct iovec iov = {u->pending, u->pending_len};
        memcpy(u->pending, mac, 6);
        u->pending_len = 0;
        if (port_send(&u->port, &iov, 1, &u->pending_meta) == PORT_BUSY)
            user_drop(u, USER_DROP_BUSY);
    }
}

const uint8_t *neigh_find(struct user *u, const struct ip_addr *addr)
{
    static uint8_t many[6];
    const struct neighbour *n = look_up(u, addr);
    if (n)
        return n->mac;
    if (!user_is_many(u, addr))
        return NULL;
    if (ip_is4(addr)) {
        memset(many, 0xff, 6); /* broadcast; we send no IPv4 multicast */
    } else {
        memset(many, 0x33, 2);
        memcpy(many + 2, addr->b + 12, 4);
    }
    return many;
}

static void arp_send(struct user *u, uint16_t op, const uint8_t *eth_dst, const struct ip_addr *sender,
                     const uint8_t *target_mac, const struct ip_addr *target)
{
    static const struct port_meta finished;
    uint8_t frame[60] = {0}; /* padded to Ethernet's least */
    uint8_t *a = frame + ETH_HEADER;
    struct iovec iov = {frame, sizeof frame};
    memcpy(frame, eth_dst, 6);
    memcpy(frame + 6, u->mac, 6);
    set16(frame + 12, ETH_ARP);
    set16(a, 1);
    set16(a + 2, ETH_IPV4);
    a[4] = 6;
    a[5] = 4;
    set16(a + 6, op);
    memcpy(a + 8, u->mac, 6);
    memcpy(a + 14, sender->b + 12, 4);
    memcpy(a + 18, target_mac, 6);
    memcpy(a + 24, target->b + 12, 4);
    if (port_send(&u->port, &iov, 1, &finished) == PORT_BUSY)
        user_drop(u, USER_DROP_BUSY);
}

void neigh_ask(struct user *u, const struct ip_addr *dst, const struct iovec *iov, int n,
               const struct port_meta *meta)
{
    static const uint8_t nobody[6], all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    size_t len = offload_length(iov, n);
    user_drop(u, USER_DROP_NEIGHBOUR);
    if (len <= sizeof u->pending) {
        u->pending_len = 0;
        for (int i = 0; i < n; i++) {
            memcpy(u->pending + u->pending_len, iov[i].iov_base, iov[i].iov_len);
            u->pending_len += iov[i].iov_len;
        }
        u->pending_dst = *dst;
        u->pending_meta = *meta;
    }
    uint64_t now = loop_now(u->loop);
    if (u->asked && now - u->asked < ASK_INTERVAL)
        return;
    u->asked = now;
    if (ip_is4(dst))
        arp_send(u, ARP_REQUEST, all, &u->host4, nobody, dst);
    else
        ndp_ask(u, dst);
}

void arp_input(struct user *u, const struct frame *f)
{
    const uint8_t *a = f->head + ETH_HEADER;
    uint16_t op;
    if (f->head_len < ETH_HEADER + ARP_PACKET || get16(a) != 1 || get16(a + 2) != ETH_IPV4 || a[4] != 6 ||
        a[5] != 4) {
        user_drop(u, USER_DROP_ARP);
        return;
    }
    op = get16(a + 6);
    struct ip_addr sender = ip_addr4(a + 14), target = ip_addr4(a + 24);
    if ((op != ARP_REQUEST && op != ARP_REPLY) || memcmp(a + 8, f->head + 6, 6)) {
        user_drop(u, USER_DROP_ARP);
        return;
    }
    if (user_is_guest(u, &sender))
        neigh_learn(u, &sender, a + 8);
    else if (get32(a + 14))
        user_drop(u, USER_DROP_SOURCE); /* ours, for instance; 0 is a probe (RFC 5227) */
    if (op == ARP_REQUEST && user_is_us(u, &target))
        arp_send(u, ARP_REPLY, f->head + 6, &target, a + 8, &sender);
    ndp_renew(u); /* such a question comes now and then */
}
