// SPDX-License-Identifier: MIT
/* ICMP and ICMPv6 (RFC 792, 4443): echo for our own addresses, and the errors that tell a guest why not.
 *
 * An error quotes a header made afresh from the parsed packet, which may long be gone (a connect that fails later), and
 * the beginning of its payload. None is sent about errors, about what was sent to many, or about parts of a packet
 * (RFC 1122, 3.2.2), nor more than ERRORS_PER_SECOND: beyond that the guest is flooding. */
#include <errno.h>

#include "net/user_priv.h"

enum {
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO = 8,
    ICMP_TIME = 11,
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME = 3,
    ICMP6_PARAMETER = 4,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,

    QUOTE_MAX4 = 576 - IP4_HEADER - ICMP_HEADER, /* RFC 1812, 4.3.2.3 */
    QUOTE_MAX6 = IP6_MTU_MIN - IP6_HEADER - ICMP_HEADER,
    ERRORS_PER_SECOND = 200,
};

static const struct {
    uint8_t type4, code4, type6, code6;
} error_table[IP_ERRORS] = {
    [IP_NO_NET] = {ICMP_UNREACHABLE, 0,  ICMP6_UNREACHABLE, 0},
    [IP_NO_HOST] = {ICMP_UNREACHABLE, 1,  ICMP6_UNREACHABLE, 3},
    [IP_NO_PROTO] = {ICMP_UNREACHABLE, 2,  ICMP6_PARAMETER,   1},
    [IP_NO_PORT] = {ICMP_UNREACHABLE, 3,  ICMP6_UNREACHABLE, 4},
    [IP_PROHIBITED] = {ICMP_UNREACHABLE, 13, ICMP6_UNREACHABLE, 1},
    [IP_TOO_BIG] = {ICMP_UNREACHABLE, 4,  ICMP6_TOO_BIG,     0},
    [IP_HOPS] = {ICMP_TIME,        0,  ICMP6_TIME,        0},
    [IP_REASSEMBLY] = {ICMP_TIME,        1,  ICMP6_TIME,        1},
};

enum ip_error ip_error_of(int error)
{
    switch (error) {
    case 0:
        return IP_OK;
    case ENETUNREACH:
    case ENETDOWN:
    case EAFNOSUPPORT:
    case EADDRNOTAVAIL:
        return IP_NO_NET;
    case ENOPROTOOPT: /* what Linux makes of "protocol unreachable" */
        return IP_NO_PROTO;
    case ECONNREFUSED:
        return IP_NO_PORT;
    case EACCES:
    case EPERM:
        return IP_PROHIBITED;
    case EMSGSIZE:
        return IP_TOO_BIG;
    default:
        return IP_NO_HOST;
    }
}

static bool within_rate(struct user *u)
{
    uint64_t now = loop_now(u->loop);
    if (now - u->error_time >= 1000 * 1000 * 1000) {
        u->error_time = now;
        u->errors_left = ERRORS_PER_SECOND;
    }
    return u->errors_left && u->errors_left--;
}

/* An error about an error would go round for ever. */
static bool is_error(const struct ip_packet *p)
{
    uint8_t type;
    if (p->proto != IP_ICMP && p->proto != IP_ICMP6)
        return false;
    if (!ip_copy(p, 0, &type, 1))
        return true;
    return p->v6 ? type < 128 : type != ICMP_ECHO;
}

void ip_refuse(struct user *u, const struct ip_packet *p, enum ip_error e, unsigned mtu,
               const struct ip_addr *from)
{
    uint8_t l4[ICMP_HEADER + IP6_MTU_MIN] = {0};
    struct ip_out quoted = {.src = p->src, .dst = p->dst, .proto = p->proto, .ttl = p->ttl};
    size_t header = p->v6 ? IP6_HEADER : IP4_HEADER;
    size_t max = p->v6 ? QUOTE_MAX6 : QUOTE_MAX4;

    if (e == IP_OK || is_error(p) || user_is_many(u, &p->dst) || !user_is_guest(u, &p->src))
        return;
    if (!within_rate(u)) {
        user_drop(u, USER_DROP_ICMP_RATE);
        return;
    }
    l4[0] = p->v6 ? error_table[e].type6 : error_table[e].type4;
    l4[1] = p->v6 ? error_table[e].code6 : error_table[e].code4;
    if (e == IP_TOO_BIG)
        set32(l4 + 4, mtu);
    if (e == IP_NO_PROTO && p->v6)
        set32(l4 + 4, 6); /* the pointer: IPv6's next header field */
    if (p->v6)
        ip6_header(l4 + ICMP_HEADER, &quoted, p->len, 0, 0, false, false);
    else
        ip4_header(l4 + ICMP_HEADER, &quoted, p->len, 0, p->df ? IP4_DF : 0);
    size_t len = ICMP_HEADER + header + ip_copy(p, 0, l4 + ICMP_HEADER + header, max - header);
    ip_answer(u, from ? from : p->v6 ? &u->host6 : &u->host4, &p->src, p->v6 ? IP_ICMP6 : IP_ICMP, l4, len);
}

static void echo_reply(struct user *u, const struct ip_packet *p)
{
    uint8_t header[ICMP_HEADER];
    struct iovec rest[PORT_IOV_MAX - 2];
    int n = ip_slice(p->iov, p->n, ICMP_HEADER, p->len - ICMP_HEADER, rest, PORT_IOV_MAX - 2);
    ip_copy(p, 0, header, sizeof header);
    header[0] = p->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY;
    struct ip_out o = {.src = p->dst,
                       .dst = p->src,
                       .proto = p->proto,
                       .header = header,
                       .hlen = sizeof header,
                       .iov = rest,
                       .n = n};
    if (n < 0 || user_ip_send(u, &o) == PORT_BUSY)
        user_drop(u, USER_DROP_BUSY);
}

void icmp_input(struct user *u, const struct ip_packet *p)
{
    uint8_t h[ICMP_HEADER];
    if (ip_copy(p, 0, h, sizeof h) < sizeof h || p->v6 != (p->proto == IP_ICMP6)) {
        user_drop(u, USER_DROP_ICMP);
    } else if (!ip_checksum_ok(p)) {
        user_drop(u, USER_DROP_CHECKSUM);
    } else if (p->v6 && ndp_input(u, p)) {
        ;
    } else if (user_is_nobody(&p->src)) {
        user_drop(u, USER_DROP_SOURCE);
    } else if (user_is_many(u, &p->dst)) {
        user_drop(u, USER_DROP_MULTICAST); /* MLD among it: there is nobody to report groups to */
    } else if (h[0] != (p->v6 ? ICMP6_ECHO : ICMP_ECHO) || h[1] != 0) {
        user_drop(u, USER_DROP_ICMP); /* the guest's own errors and others: nobody here waits for them */
    } else if (user_is_us(u, &p->dst)) {
        echo_reply(u, p);
    } else {
        ping_input(u, p);
    }
}
