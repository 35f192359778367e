// SPDX-License-Identifier: MIT
/* Checksums and segmentation: see include/net/offload.h. */
#include "net/offload.h"

#include <string.h>
#include <x86intrin.h>

enum {
    ETH_TYPE = 12,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88a8,

    IPV4_LEN = 2, /* offsets in the headers */
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6,
    IPV4_PROTOCOL = 9,
    IPV4_CSUM = 10,
    IPV4_SRC = 12,
    IPV4_MORE_OR_OFFSET = 0x3fff,
    IPV6_LEN = 4,
    IPV6_NEXT = 6,
    IPV6_SRC = 8,
    IPV6_HEADER = 40,
    NEXT_HOP_BY_HOP = 0,
    NEXT_ROUTING = 43,
    NEXT_OPTIONS = 60,
    IPPROTO_TCP_ = 6,
    IPPROTO_UDP_ = 17,

    TCP_SEQ = 4,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CSUM = 16,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
    UDP_LEN = 4,
    UDP_CSUM = 6,
    UDP_HEADER = 8,
    IP_PACKET_MAX = 65535,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static void set16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}
static void set32(uint8_t *p, uint32_t v)
{
    set16(p, v >> 16);
    set16(p + 2, v);
}

/* --- sums. Words are added as they lie in memory: the one's complement sum does not care which byte is the
 * high one, as long as it is put back in the same order (RFC 1071, 2B). */

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* 64 bytes are a chain of additions with carry; 2^64 is 1 in this sum, so that carries are only counted. */
static uint64_t sum_bytes(const uint8_t *p, size_t len)
{
    unsigned long long wide = 0;
    uint64_t carries = 0;
    for (; len >= 64; p += 64, len -= 64) {
        unsigned char c = 0;
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            unsigned long long w;
            memcpy(&w, p + i * 8, 8);
            c = _addcarry_u64(c, wide, w, &wide);
        }
        carries += c;
    }
    uint64_t sum = fold(wide) + carries;
    for (; len >= 4; p += 4, len -= 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        sum += w;
    }
    if (len >= 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        sum += w;
        p += 2;
        len -= 2;
    }
    if (len) {
        uint16_t w = 0;
        memcpy(&w, p, 1);
        sum += w;
    }
    return sum;
}

size_t offload_length(const struct iovec *iov, int n)
{
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        if (iov[i].iov_len > PORT_FRAME_MAX - len)
            return SIZE_MAX;
        len += iov[i].iov_len;
    }
    return len;
}

/* What of a piece lies in the len bytes from offset on, which both become what they are behind it; empty: nothing. */
static inline struct iovec part_of(struct iovec piece, size_t *offset, size_t *len)
{
    if (*offset >= piece.iov_len) {
        *offset -= piece.iov_len;
        return (struct iovec){0};
    }
    struct iovec part = {(uint8_t *)piece.iov_base + *offset, piece.iov_len - *offset};
    if (part.iov_len > *len)
        part.iov_len = *len;
    *offset = 0;
    *len -= part.iov_len;
    return part;
}

uint16_t offload_sum(const struct iovec *iov, int n, size_t offset, size_t len)
{
    uint64_t sum = 0;
    bool odd = false; /* the piece begins in the middle of a word */
    for (int i = 0; i < n && len; i++) {
        struct iovec part = part_of(iov[i], &offset, &len);
        uint16_t here = fold(sum_bytes(part.iov_base, part.iov_len));
        sum += odd ? __builtin_bswap16(here) : here;
        odd ^= part.iov_len & 1;
    }
    return fold(sum);
}

/* A finished checksum in memory's order. 0 goes out as 0xffff, which is the same number and, for UDP, not "none". */
static void put_checksum(uint8_t *at, uint64_t sum)
{
    uint16_t c = (uint16_t)~fold(sum);
    if (!c)
        c = 0xffff;
    memcpy(at, &c, 2);
}

/* --- pieces */

static size_t copy_out(uint8_t *to, size_t max, const struct iovec *iov, int n)
{
    size_t done = 0;
    for (int i = 0; i < n && done < max; i++) {
        size_t here = iov[i].iov_len < max - done ? iov[i].iov_len : max - done;
        memcpy(to + done, iov[i].iov_base, here);
        done += here;
    }
    return done;
}

/* The pieces that hold len bytes from offset on; at most n. */
static int slice(const struct iovec *iov, int n, size_t offset, size_t len, struct iovec *out)
{
    int pieces = 0;
    for (int i = 0; i < n && len; i++) {
        struct iovec part = part_of(iov[i], &offset, &len);
        if (part.iov_len)
            out[pieces++] = part;
    }
    return pieces;
}

/* --- what a frame is */

bool offload_accepted(const struct port_meta *meta, uint8_t accepts)
{
    static const uint8_t needs[] = {[PORT_GSO_TCPV4] = PORT_ACCEPT_TSO4,
                                    [PORT_GSO_TCPV6] = PORT_ACCEPT_TSO6,
                                    [PORT_GSO_UDP_L4] = PORT_ACCEPT_USO};
    uint8_t type = meta->gso_type & (uint8_t)~PORT_GSO_ECN, need = 0;
    if (meta->flags & PORT_NEEDS_CSUM)
        need |= PORT_ACCEPT_CSUM;
    if (meta->gso_type != PORT_GSO_NONE) {
        if (type >= sizeof needs || !needs[type])
            return false;
        need |= PORT_ACCEPT_CSUM | needs[type] | (meta->gso_type & PORT_GSO_ECN ? PORT_ACCEPT_ECN : 0);
    }
    return (need & ~accepts) == 0;
}

/* Finds the IP header and the one behind it in the first `have` bytes. */
static bool find_headers(struct offload *o, size_t have, uint8_t *protocol)
{
    const uint8_t *h = o->header;
    size_t l3 = PORT_HEADER, l4;
    unsigned type = get16(h + ETH_TYPE);
    for (int tags = 0; tags < 2 && (type == TYPE_VLAN || type == TYPE_QINQ); tags++) {
        if (l3 + 4 > have)
            return false;
        type = get16(h + l3 + 2);
        l3 += 4;
    }
    if (type == TYPE_IPV4) {
        if (l3 + 20 > have || h[l3] >> 4 != 4 || (h[l3] & 0xf) < 5)
            return false;
        if (get16(h + l3 + IPV4_FRAGMENT) & IPV4_MORE_OR_OFFSET)
            return false;
        l4 = l3 + (h[l3] & 0xfu) * 4;
        *protocol = h[l3 + IPV4_PROTOCOL];
    } else if (type == TYPE_IPV6) {
        if (l3 + IPV6_HEADER > have || h[l3] >> 4 != 6)
            return false;
        *protocol = h[l3 + IPV6_NEXT];
        l4 = l3 + IPV6_HEADER;
        while (*protocol == NEXT_HOP_BY_HOP || *protocol == NEXT_ROUTING || *protocol == NEXT_OPTIONS) {
            if (l4 + 8 > have)
                return false;
            *protocol = h[l4];
            l4 += (h[l4 + 1] + 1u) * 8; /* rises each time, so this ends */
        }
        o->ipv6 = true;
    } else {
        return false;
    }
    if (l4 > have)
        return false;
    o->l3 = (uint16_t)l3;
    o->l4 = (uint16_t)l4;
    return true;
}

static enum port_drop plan_gso(struct offload *o, size_t len, size_t have, const struct port_meta *meta)
{
    uint8_t protocol, type = meta->gso_type & (uint8_t)~PORT_GSO_ECN;
    if (type != PORT_GSO_TCPV4 && type != PORT_GSO_TCPV6 && meta->gso_type != PORT_GSO_UDP_L4)
        return PORT_DROP_GSO_TYPE;
    if (!find_headers(o, have, &protocol))
        return PORT_DROP_HEADERS;
    o->udp = type == PORT_GSO_UDP_L4;
    if (protocol != (o->udp ? IPPROTO_UDP_ : IPPROTO_TCP_) ||
        (!o->udp && o->ipv6 != (type == PORT_GSO_TCPV6)))
        return PORT_DROP_GSO_TYPE;
    if (meta->flags & PORT_NEEDS_CSUM &&
        (meta->csum_start != o->l4 || meta->csum_offset != (o->udp ? UDP_CSUM : TCP_CSUM)))
        return PORT_DROP_CSUM;

    size_t header = o->udp ? UDP_HEADER : 20;
    if (header > have - o->l4)
        return PORT_DROP_HEADERS;
    if (!o->udp)
        header = (o->header[o->l4 + TCP_OFFSET] >> 4) * 4u;
    if (header < 8 || (!o->udp && header < 20) || header > have - o->l4)
        return PORT_DROP_HEADERS;
    o->header_len = (uint32_t)(o->l4 + header);
    o->payload = (uint32_t)(len - o->header_len);
    o->gso_size = meta->gso_size;
    if (o->gso_size == 0 || o->payload / o->gso_size >= OFFLOAD_SEGMENTS_MAX)
        return PORT_DROP_GSO_SIZE;
    uint32_t largest = o->payload < o->gso_size ? o->payload : o->gso_size;
    if (o->header_len - o->l3 + largest > IP_PACKET_MAX)
        return PORT_DROP_GSO_SIZE;
    o->segments = o->payload ? (o->payload + o->gso_size - 1) / o->gso_size : 1;
    o->gso = true;
    return PORT_DROP_NONE;
}

enum port_drop offload_plan(struct offload *o, const struct iovec *iov, int n, const struct port_meta *meta)
{
    size_t len = offload_length(iov, n);
    o->gso = o->ipv6 = o->udp = false;
    o->l3 = o->l4 = 0;
    if (len < PORT_HEADER)
        return PORT_DROP_SHORT;
    if (len > PORT_FRAME_MAX)
        return PORT_DROP_LONG;
    size_t have = copy_out(o->header, sizeof o->header, iov, n);
    if (meta->gso_type != PORT_GSO_NONE)
        return plan_gso(o, len, have, meta);

    o->segments = 1;
    o->header_len = 0;
    if (meta->flags & PORT_NEEDS_CSUM) {
        /* the field must lie in the frame, behind where the sum begins, which follows from its being unsigned */
        uint32_t end = (uint32_t)meta->csum_start + meta->csum_offset + 2;
        if (end > have || meta->csum_start < PORT_HEADER)
            return PORT_DROP_CSUM;
        o->l4 = meta->csum_start;
        o->header_len = end;
    }
    o->payload = (uint32_t)(len - o->header_len);
    o->gso_size = o->payload;
    return PORT_DROP_NONE;
}

/* The header of segment i of a train: what changes from one to the next. */
static void segment_header(const struct offload *o, unsigned i, uint32_t payload, uint64_t payload_sum,
                           uint8_t *h)
{
    uint8_t *l3 = h + o->l3, *l4 = h + o->l4;
    uint32_t l4_len = o->header_len - o->l4 + payload;
    uint64_t sum = payload_sum;
    uint8_t *csum = l4 + (o->udp ? UDP_CSUM : TCP_CSUM), pseudo[4] = {0};

    if (o->ipv6) {
        set16(l3 + IPV6_LEN, o->header_len - o->l3 - IPV6_HEADER + payload);
        sum += sum_bytes(l3 + IPV6_SRC, 32);
    } else {
        set16(l3 + IPV4_LEN, o->header_len - o->l3 + payload);
        set16(l3 + IPV4_ID, get16(l3 + IPV4_ID) + i);
        set16(l3 + IPV4_CSUM, 0);
        put_checksum(l3 + IPV4_CSUM, sum_bytes(l3, o->l4 - o->l3));
        sum += sum_bytes(l3 + IPV4_SRC, 8);
    }
    if (o->udp) {
        set16(l4 + UDP_LEN, l4_len);
    } else {
        set32(l4 + TCP_SEQ, get32(l4 + TCP_SEQ) + i * o->gso_size);
        if (i > 0)
            l4[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
        if (i + 1 < o->segments)
            l4[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
    pseudo[1] = o->udp ? IPPROTO_UDP_ : IPPROTO_TCP_;
    set16(pseudo + 2, l4_len);
    set16(csum, 0);
    /* the header has an even length, so payload's words are whole */
    put_checksum(csum, sum + sum_bytes(pseudo, 4) + sum_bytes(l4, o->header_len - o->l4));
}

int offload_segment(const struct offload *o, unsigned i, uint8_t header[OFFLOAD_HEADER_MAX],
                    const struct iovec *iov, int n, struct iovec *out)
{
    size_t from = o->header_len + (size_t)i * o->gso_size;
    uint32_t payload =
        o->payload - i * o->gso_size < o->gso_size ? o->payload - i * o->gso_size : o->gso_size;

    memcpy(header, o->header, o->header_len);
    if (o->gso) {
        segment_header(o, i, payload, offload_sum(iov, n, from, payload), header);
    } else if (o->header_len) {
        struct iovec head = {header, o->header_len};
        /* the field holds the pseudo header's sum, and is summed like the rest (virtio 1.2, 5.1.6.2) */
        uint32_t in_header = o->header_len - o->l4;
        uint64_t sum = offload_sum(&head, 1, o->l4, in_header);
        uint16_t rest = offload_sum(iov, n, from, payload);
        sum += in_header & 1 ? __builtin_bswap16(rest) : rest;
        put_checksum(header + o->header_len - 2, sum);
    }
    int pieces = 0;
    if (o->header_len)
        out[pieces++] = (struct iovec){header, o->header_len};
    return pieces + slice(iov, n, from, payload, out + pieces);
}
