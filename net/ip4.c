// SPDX-License-Identifier: MIT
/* IPv4 headers, read and written (RFC 791, 1122).
 *
 * A packet is believed when its lengths nest (header within total length within frame), its options end where the
 * header does, its checksum is right, and its source is an address that a guest may have: DHCP alone may come from
 * 0.0.0.0. Options are checked and then ignored, source routes are refused. What the frame has behind the total length is
 * Ethernet's padding. */
#include "net/offload.h"
#include "net/user_priv.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_LSRR = 131,
    OPTION_SSRR = 137,
};

/* The options' own lengths; and none that asks for another way than ours. */
static bool options_ok(const uint8_t *o, size_t len)
{
    for (size_t at = 0; at < len && o[at] != OPTION_END;) {
        if (o[at] == OPTION_NOP) {
            at++;
            continue;
        }
        if (len - at < 2 || o[at + 1] < 2 || o[at + 1] > len - at || o[at] == OPTION_LSRR ||
            o[at] == OPTION_SSRR)
            return false;
        at += o[at + 1];
    }
    return true;
}

void ip4_input(struct user *u, const struct frame *f)
{
    const uint8_t *h = f->head + ETH_HEADER;
    size_t there = f->len - ETH_HEADER, ihl, total;
    uint16_t fragment;
    struct iovec header = {(void *)h, IP4_HEADER};

    if (there < IP4_HEADER || h[0] >> 4 != 4)
        goto malformed;
    ihl = (h[0] & 15u) * 4;
    total = get16(h + 2);
    if (ihl < IP4_HEADER || ihl > total || total > there || h[8] == 0)
        goto malformed;
    header.iov_len = ihl; /* <= 60: all of it is in head */
    if (offload_sum(&header, 1, 0, ihl) != 0xffff) {
        user_drop(u, USER_DROP_CHECKSUM);
        return;
    }
    if (ihl > IP4_HEADER && !options_ok(h + IP4_HEADER, ihl - IP4_HEADER))
        goto malformed;

    struct ip_packet p = {
        .src = ip_addr4(h + 12),
        .dst = ip_addr4(h + 16),
        .proto = h[9],
        .ttl = h[8],
        .iov = u->in,
        .len = total - ihl,
    };
    fragment = get16(h + 6);
    p.df = fragment & IP4_DF;
    p.csum_ok = f->meta->flags & (PORT_NEEDS_CSUM | PORT_DATA_VALID);
    p.gso_size = (f->meta->gso_type & ~PORT_GSO_ECN) == PORT_GSO_TCPV4 ? f->meta->gso_size : 0;
    if (!neigh_is_last(u, &p.src, f->head + 6)) {
        bool nobody = user_is_nobody(&p.src) && p.proto == IP_UDP;
        if (!nobody && !user_is_guest(u, &p.src)) {
            user_drop(u, USER_DROP_SOURCE);
            return;
        }
        if (!nobody)
            neigh_learn(u, &p.src, f->head + 6);
    }
    p.n = ip_slice(f->iov, f->n, ETH_HEADER + ihl, p.len, u->in, PORT_IOV_MAX);
    if (fragment & (IP4_MF | IP4_OFFSET)) {
        frag_input(u, &p, get16(h + 4), (fragment & IP4_OFFSET) * 8u, fragment & IP4_MF);
        return;
    }
    user_deliver(u, &p);
    return;
malformed:
    user_drop(u, USER_DROP_HEADER);
}

void ip4_header(uint8_t *h, const struct ip_out *o, size_t payload, uint16_t id, uint16_t fragment)
{
    struct iovec iov = {h, IP4_HEADER};
    uint16_t sum;
    h[0] = 0x45;
    h[1] = 0;
    set16(h + 2, (uint32_t)(IP4_HEADER + payload));
    set16(h + 4, id);
    set16(h + 6, fragment);
    h[8] = o->ttl ? o->ttl : IP_TTL_OURS;
    h[9] = o->proto;
    set16(h + 10, 0);
    memcpy(h + 12, o->src.b + 12, 4);
    memcpy(h + 16, o->dst.b + 12, 4);
    sum = (uint16_t)~offload_sum(&iov, 1, 0, IP4_HEADER);
    memcpy(h + 10, &sum, 2);
}
