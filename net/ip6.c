// SPDX-License-Identifier: MIT
/* IPv6 headers, read and written (RFC 8200).
 *
 * Extension headers are walked with two bounds, the end of what was copied and a count: nobody honest has more than a few.
 * Hop-by-hop and destination options are read as far as their types, since one that is unknown may ask for the packet
 * to be dropped (4.2); routing headers with segments left are refused (5095); a fragment header leads to frag.c, except one
 * that is whole by itself (6946). What is behind the payload length is Ethernet's padding, and a jumbo payload is
 * not for links like this.
 *
 * An IPv4-mapped address on the wire is not IPv6: it is dropped here, so that nobody above can take it for IPv4. */
#include "net/user_priv.h"

enum {
    NEXT_HOP_BY_HOP = 0,
    NEXT_ROUTING = 43,
    NEXT_FRAGMENT = 44,
    NEXT_NONE = 59,
    NEXT_OPTIONS = 60,
    EXTENSIONS_MAX = 8,
    EXTENSION_MAX = 256, /* bytes of one */
    OPTION_PAD1 = 0,
    OPTION_ACTION = 0xc0, /* not 0: who does not know it drops the packet */
    OPTION_JUMBO = 0xc2,
};

/* One header of options, len bytes. */
static bool options_ok(const uint8_t *h, size_t len)
{
    for (size_t at = 2; at < len;) {
        if (h[at] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (len - at < 2 || h[at + 1] > len - at - 2 || h[at] & OPTION_ACTION)
            return false;
        at += 2u + h[at + 1];
    }
    return true;
}

/* The extension headers of p, from *at on, up to a protocol or a fragment header: its number. -1: drop it. */
static int walk(const struct ip_packet *p, int next, size_t *at)
{
    uint8_t h[EXTENSION_MAX];
    for (int i = 0; next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_OPTIONS; i++) {
        size_t len;
        if (i == EXTENSIONS_MAX || p->len - *at < 8 || ip_copy(p, *at, h, 8) < 8)
            return -1;
        len = 8u + h[1] * 8u;
        if (len > sizeof h || len > p->len - *at || ip_copy(p, *at, h, len) < len)
            return -1;
        if (next == NEXT_ROUTING ? h[3] != 0 : !options_ok(h, len))
            return -1;
        if (next == NEXT_HOP_BY_HOP && i > 0)
            return -1; /* only the first may be that */
        next = h[0];
        *at += len;
    }
    return next;
}

/* The payload from `at` on, of p. */
static void advance(struct ip_packet *p, struct iovec *in, size_t at)
{
    struct iovec pieces[PORT_IOV_MAX];
    p->n = ip_slice(p->iov, p->n, at, p->len - at, pieces, PORT_IOV_MAX);
    memcpy(in, pieces, (size_t)p->n * sizeof *pieces);
    p->iov = in;
    p->len -= at;
}

void ip6_input(struct user *u, const struct frame *f)
{
    const uint8_t *h = f->head + ETH_HEADER;
    uint8_t fragment[IP6_FRAGMENT_HEADER];
    size_t at = 0;
    if (!u->ipv6) {
        user_drop(u, USER_DROP_IPV6_OFF);
        return;
    }
    if (f->len < ETH_HEADER + IP6_HEADER || h[0] >> 4 != 6 ||
        get16(h + 4) > f->len - ETH_HEADER - IP6_HEADER || h[7] == 0) {
        user_drop(u, USER_DROP_HEADER);
        return;
    }
    struct ip_packet p = {
        .src = ip_addr6(h + 8),
        .dst = ip_addr6(h + 24),
        .v6 = true,
        .ttl = h[7],
        .df = true,
        .csum_ok = f->meta->flags & (PORT_NEEDS_CSUM | PORT_DATA_VALID),
        .gso_size = (f->meta->gso_type & ~PORT_GSO_ECN) == PORT_GSO_TCPV6 ? f->meta->gso_size : 0,
        .iov = u->in,
        .len = get16(h + 4),
    };
    if (ip_is4(&p.dst) || user_is_nobody(&p.dst)) {
        user_drop(u, USER_DROP_SOURCE);
        return;
    }
    if (!neigh_is_last(u, &p.src, f->head + 6)) {
        /* Nobody yet: it asks whether its address is free, or for a router (RFC 4861) */
        bool nobody = user_is_nobody(&p.src) && !ip_is4(&p.src);
        if (!nobody && (ip_is4(&p.src) || !user_is_guest(u, &p.src))) {
            user_drop(u, USER_DROP_SOURCE);
            return;
        }
        if (!nobody)
            neigh_learn(u, &p.src, f->head + 6);
    }
    p.n = ip_slice(f->iov, f->n, ETH_HEADER + IP6_HEADER, p.len, u->in, PORT_IOV_MAX);

    int next = walk(&p, h[6], &at);
    if (next == NEXT_FRAGMENT && ip_copy(&p, at, fragment, sizeof fragment) == sizeof fragment) {
        uint16_t word = get16(fragment + 2);
        at += sizeof fragment;
        if (word & ~7u || word & 1) {
            p.proto = fragment[0]; /* headers behind it are seen when it is whole */
            advance(&p, u->in, at);
            frag_input(u, &p, get32(fragment + 4), word & ~7u, word & 1);
            return;
        }
        next = fragment[0];
    }
    ip6_deliver(u, &p, next, at);
}

/* From a protocol's number on: also of what was put together, whose extension headers come now. */
void ip6_deliver(struct user *u, struct ip_packet *p, int next, size_t at)
{
    if (next >= 0 && next != NEXT_FRAGMENT)
        next = walk(p, next, &at);
    if (next < 0 || next == NEXT_FRAGMENT || next == NEXT_NONE) {
        user_drop(u, USER_DROP_HEADER);
        return;
    }
    p->proto = (uint8_t)next;
    if (at)
        advance(p, u->in, at);
    user_deliver(u, p);
}

size_t ip6_header(uint8_t *h, const struct ip_out *o, size_t payload, uint32_t id, unsigned offset, bool more,
                  bool fragment)
{
    set32(h, 0x60000000);
    set16(h + 4, (uint32_t)(payload + (fragment ? IP6_FRAGMENT_HEADER : 0)));
    h[6] = fragment ? NEXT_FRAGMENT : o->proto;
    h[7] = o->ttl ? o->ttl : IP_TTL_OURS;
    memcpy(h + 8, o->src.b, 16);
    memcpy(h + 24, o->dst.b, 16);
    if (!fragment)
        return IP6_HEADER;
    h[40] = o->proto;
    h[41] = 0;
    set16(h + 42, offset | more);
    set32(h + 44, id);
    return IP6_HEADER + IP6_FRAGMENT_HEADER;
}
