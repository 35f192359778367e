// SPDX-License-Identifier: MIT
/* What IPv4 and IPv6 have in common: pieces of packets, checksums, and the way out to the card.
 *
 * Out: Ethernet, IP and transport headers are put together in one buffer on the stack, the data follows as the
 * caller's pieces, so that nothing is copied here. The checksum is left to the card or its port (PORT_NEEDS_CSUM with
 * the pseudo header's sum in the field), which do it only if a guest wants it done. A TCP train goes out whole; only
 * datagrams above the MTU are cut, into fragments, with the checksum done in software.
 *
 * Sources: RFC 1071, 768, 791, 8200 (4.5, 8.1), 4443 (2.3). */
#include <stdlib.h>

#include "net/offload.h"
#include "net/user_priv.h"

size_t ip_copy(const struct ip_packet *p, size_t offset, void *to, size_t len)
{
    size_t done = 0;
    for (int i = 0; i < p->n && done < len; i++) {
        size_t there = p->iov[i].iov_len;
        if (offset >= there) {
            offset -= there;
            continue;
        }
        size_t part = there - offset < len - done ? there - offset : len - done;
        memcpy((uint8_t *)to + done, (const uint8_t *)p->iov[i].iov_base + offset, part);
        done += part;
        offset = 0;
    }
    return done;
}

int ip_slice(const struct iovec *iov, int n, size_t offset, size_t len, struct iovec *out, int max)
{
    int made = 0;
    for (int i = 0; i < n && len; i++) {
        size_t there = iov[i].iov_len;
        if (offset >= there) {
            offset -= there;
            continue;
        }
        size_t part = there - offset < len ? there - offset : len;
        if (made == max)
            return -1;
        out[made++] = (struct iovec){(uint8_t *)iov[i].iov_base + offset, part};
        len -= part;
        offset = 0;
    }
    return made;
}

/* --- checksums, in memory's byte order */

uint16_t ip_sum_add(uint16_t a, uint16_t b)
{
    uint32_t sum = (uint32_t)a + b;
    return (uint16_t)(sum + (sum >> 16));
}

uint16_t ip_pseudo_sum(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, size_t len)
{
    uint8_t pseudo[40] = {0};
    size_t size = 40;
    if (ip_is4(src)) {
        size = 12;
        memcpy(pseudo, src->b + 12, 4);
        memcpy(pseudo + 4, dst->b + 12, 4);
        pseudo[9] = proto;
        set16(pseudo + 10, (uint32_t)len);
    } else {
        memcpy(pseudo, src->b, 16);
        memcpy(pseudo + 16, dst->b, 16);
        set32(pseudo + 32, (uint32_t)len);
        pseudo[39] = proto;
    }
    struct iovec iov = {pseudo, size};
    return offload_sum(&iov, 1, 0, size);
}

/* Where the checksum is in a header, and whether the pseudo header is part of it; -1: it has none. */
static int checksum_at(uint8_t proto)
{
    switch (proto) {
    case IP_TCP:
        return 16;
    case IP_UDP:
        return 6;
    case IP_ICMP:
    case IP_ICMP6:
        return 2;
    default:
        return -1;
    }
}

bool ip_checksum_ok(const struct ip_packet *p)
{
    uint16_t stored, sum;
    int at = checksum_at(p->proto);
    if (p->csum_ok || at < 0)
        return true;
    if (ip_copy(p, (size_t)at, &stored, 2) < 2)
        return false;
    if (p->proto == IP_UDP && stored == 0)
        return !p->v6; /* IPv4's: none was made. IPv6 wants one (RFC 8200, 8.1) */
    sum = offload_sum(p->iov, p->n, 0, p->len);
    if (p->proto != IP_ICMP)
        sum = ip_sum_add(sum, ip_pseudo_sum(&p->src, &p->dst, p->proto, p->len));
    return sum == 0xffff;
}

/* --- out */

struct sending {
    struct user *u;
    const struct ip_out *o;
    struct iovec all[PORT_IOV_MAX]; /* transport header and data */
    int n;
    size_t len; /* of these */
    bool v6;
};

static enum port_result send_frame(struct user *u, const struct ip_addr *dst, uint8_t *eth, size_t head,
                                   const struct iovec *iov, int n, const struct port_meta *meta)
{
    struct iovec out[PORT_IOV_MAX];
    const uint8_t *mac = neigh_find(u, dst);
    memcpy(eth + 6, u->mac, 6);
    set16(eth + 12, ip_is4(dst) ? ETH_IPV4 : ETH_IPV6);
    if (mac)
        memcpy(eth, mac, 6);
    out[0] = (struct iovec){eth, head};
    if (n)
        memcpy(out + 1, iov, (size_t)n * sizeof *iov);
    if (mac)
        return port_send(&u->port, out, n + 1, meta);
    neigh_ask(u, dst, out, n + 1, meta);
    return PORT_SENT;
}

static enum port_result send_fragments(struct sending *s)
{
    static const struct port_meta finished;
    struct user *u = s->u;
    size_t ip = s->v6 ? IP6_HEADER + IP6_FRAGMENT_HEADER : IP4_HEADER;
    size_t step = (u->mtu - ip) & ~(size_t)7;
    uint16_t id = ++u->ip_id;
    for (size_t at = 0; at < s->len; at += step) {
        uint8_t head[ETH_HEADER + IP6_HEADER + IP6_FRAGMENT_HEADER];
        struct iovec part[PORT_IOV_MAX - 1];
        size_t len = s->len - at < step ? s->len - at : step;
        bool more = at + len < s->len;
        int n = ip_slice(s->all, s->n, at, len, part, PORT_IOV_MAX - 1);
        if (n < 0)
            return PORT_SENT;
        if (s->v6)
            ip6_header(head + ETH_HEADER, s->o, len, id, (unsigned)at, more, true);
        else
            ip4_header(head + ETH_HEADER, s->o, len, id, (uint16_t)(at / 8 | (more ? IP4_MF : 0)));
        /* In the middle of a packet too: it is sent again from its start, and its receiver forgets this beginning */
        if (send_frame(u, &s->o->dst, head, ETH_HEADER + ip, part, n, &finished) == PORT_BUSY)
            return PORT_BUSY;
    }
    return PORT_SENT;
}

/* The checksum over everything, into the header. */
static void finish_checksum(struct sending *s, int at)
{
    uint8_t *field = (uint8_t *)s->o->header + at;
    uint16_t sum;
    memset(field, 0, 2);
    sum = offload_sum(s->all, s->n, 0, s->len);
    if (s->o->proto != IP_ICMP)
        sum = ip_sum_add(sum, ip_pseudo_sum(&s->o->src, &s->o->dst, s->o->proto, s->len));
    sum = (uint16_t)~sum;
    if (s->o->proto == IP_UDP && sum == 0)
        sum = 0xffff;
    memcpy(field, &sum, 2);
}

enum port_result user_ip_send(struct user *u, const struct ip_out *o)
{
    struct sending s;
    s.u = u;
    s.o = o;
    s.v6 = !ip_is4(&o->dst);
    if (o->n < 0 || o->n > PORT_IOV_MAX - 2 || o->hlen > IP_OUT_HEADER_MAX)
        return PORT_SENT;
    s.all[0] = (struct iovec){o->header, o->hlen};
    if (o->n)
        memcpy(s.all + 1, o->iov, (size_t)o->n * sizeof *o->iov);
    s.n = o->n + 1;
    s.len = offload_length(s.all, s.n);

    size_t ip = s.v6 ? IP6_HEADER : IP4_HEADER;
    int at = checksum_at(o->proto);
    if (s.len > IP_PACKET_MAX - (s.v6 ? 0 : ip))
        return PORT_SENT; /* nobody here makes such */
    if (s.len + ip > u->mtu && !o->gso_size) {
        if (at >= 0)
            finish_checksum(&s, at);
        return send_fragments(&s);
    }

    struct port_meta meta = {0};
    uint8_t head[ETH_HEADER + IP6_HEADER + IP_OUT_HEADER_MAX];
    if (o->proto == IP_TCP || o->proto == IP_UDP) {
        uint16_t sum = ip_pseudo_sum(&o->src, &o->dst, o->proto, s.len);
        memcpy((uint8_t *)o->header + at, &sum, 2);
        meta.flags = PORT_NEEDS_CSUM;
        meta.csum_start = (uint16_t)(ETH_HEADER + ip);
        meta.csum_offset = (uint16_t)at;
    } else if (at >= 0) {
        finish_checksum(&s, at);
    }
    if (o->gso_size && s.len + ip > u->mtu) {
        meta.gso_type = s.v6 ? PORT_GSO_TCPV6 : PORT_GSO_TCPV4;
        meta.gso_size = o->gso_size;
        meta.hdr_len = (uint16_t)(ETH_HEADER + ip + o->hlen);
    }
    if (s.v6)
        ip6_header(head + ETH_HEADER, o, s.len, 0, 0, false, false);
    else
        ip4_header(head + ETH_HEADER, o, s.len, meta.gso_type ? ++u->ip_id : 0, IP4_DF);
    memcpy(head + ETH_HEADER + ip, o->header, o->hlen);
    return send_frame(u, &o->dst, head, ETH_HEADER + ip + o->hlen, o->iov, o->n, &meta);
}

uint16_t user_mss(const struct user *u, bool v6)
{
    return (uint16_t)(u->mtu - (v6 ? IP6_HEADER : IP4_HEADER) - 20);
}

void ip_answer(struct user *u, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, void *l4,
               size_t len)
{
    size_t hlen = len < IP_OUT_HEADER_MAX ? len : IP_OUT_HEADER_MAX;
    struct iovec rest = {(uint8_t *)l4 + hlen, len - hlen};
    struct ip_out o = {.src = *src,
                       .dst = *dst,
                       .proto = proto,
                       .ttl =
                           proto == IP_ICMP6 ? 255 : 0, /* NDP wants it so (RFC 4861), others do not mind */
                       .header = l4,
                       .hlen = hlen,
                       .iov = &rest,
                       .n = rest.iov_len != 0};
    if (user_ip_send(u, &o) == PORT_BUSY)
        user_drop(u, USER_DROP_BUSY);
}

enum port_result ip_send_udp(struct user *u, const struct ip_addr *src, uint16_t sport,
                             const struct ip_addr *dst, uint16_t dport, const struct iovec *iov, int n)
{
    uint8_t header[UDP_HEADER];
    set16(header, sport);
    set16(header + 2, dport);
    set16(header + 4, (uint32_t)(UDP_HEADER + offload_length(iov, n)));
    set16(header + 6, 0);
    struct ip_out o = {
        .src = *src, .dst = *dst, .proto = IP_UDP, .header = header, .hlen = UDP_HEADER, .iov = iov, .n = n};
    return user_ip_send(u, &o);
}
