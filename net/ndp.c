// SPDX-License-Identifier: MIT
/* Neighbour discovery (RFC 4861, 4862, 8106): the router's advertisement, and whose MAC address an IPv6 address has.
 *
 * An advertisement is sent when a guest solicits one, and again when a guest that has one is heard of and it is half
 * over: so no timer runs. It says: a prefix to make addresses from (for ever), a router (for as long as can be said, 18
 * hours), the DNS server, the link's MTU. There is no DHCPv6.
 *
 * Solicitations are answered for the gateway, the DNS server and the router's link-local address; that is also the answer to
 * somebody who wants to take one of these. Whoever asks for others gets none, and nothing is kept of it. A message is
 * believed only with hop limit 255 (it came from this link), code 0, and options that fit. */
#include "net/user_priv.h"
#include "kvm/host/ns.h"

enum {
    ROUTER_SOLICIT = 133,
    ROUTER_ADVERT = 134,
    NEIGHBOUR_SOLICIT = 135,
    NEIGHBOUR_ADVERT = 136,
    REDIRECT = 137,
    SOLICIT = 24, /* bytes, and those of an advertisement */
    NA_ROUTER = 0x80,
    NA_SOLICITED = 0x40,
    NA_OVERRIDE = 0x20,

    OPTION_SOURCE = 1,
    OPTION_TARGET = 2,
    OPTION_PREFIX = 3,
    OPTION_MTU = 5,
    OPTION_RDNSS = 25,
    PREFIX_ON_LINK = 0x80,
    PREFIX_AUTONOMOUS = 0x40,

    ROUTER_LIFETIME = 65535, /* s (RFC 8319) */
    MESSAGE_MAX = 512,
};
#define RENEW (ROUTER_LIFETIME / 2 * SECOND)

static const struct ip_addr all_nodes = {
    {0xff, 2, [15] = 1}
};

/* Every option has a length that is not 0 and fits. */
static bool options_ok(const uint8_t *o, size_t len)
{
    while (len) {
        if (len < 8 || !o[1] || o[1] * 8u > len)
            return false;
        len -= o[1] * 8u;
        o += o[1] * 8u;
    }
    return true;
}

static uint8_t *put_mac(struct user *u, uint8_t *o, uint8_t type)
{
    o[0] = type;
    o[1] = 1;
    memcpy(o + 2, u->mac, 6);
    return o + 8;
}

static void advertise_router(struct user *u, const struct ip_addr *to)
{
    uint8_t m[16 + 8 + 32 + 8 + 24] = {ROUTER_ADVERT}, *o = m + 16;
    m[4] = IP_TTL_OURS;
    if (!u->restricted)
        set16(m + 6, ROUTER_LIFETIME); /* else it is nobody's way out */
    o = put_mac(u, o, OPTION_SOURCE);
    o[0] = OPTION_PREFIX;
    o[1] = 4;
    o[2] = (uint8_t)u->bits6;
    o[3] = PREFIX_ON_LINK | PREFIX_AUTONOMOUS;
    set32(o + 4, 0xffffffff); /* valid and preferred for ever */
    set32(o + 8, 0xffffffff);
    memcpy(o + 16, u->net6.b, 16);
    o += 32;
    o[0] = OPTION_MTU;
    o[1] = 1;
    set32(o + 4, u->mtu);
    o += 8;
    o[0] = OPTION_RDNSS;
    o[1] = 3;
    set32(o + 4, 0xffffffff);
    memcpy(o + 8, u->dns6.b, 16);
    u->advertised = loop_now(u->loop);
    ip_answer(u, &u->link6, to, IP_ICMP6, m, sizeof m);
}

void ndp_renew(struct user *u)
{
    if (u->advertised && loop_now(u->loop) - u->advertised > RENEW)
        advertise_router(u, &all_nodes);
}

static void advertise_neighbour(struct user *u, const struct ip_addr *target, const struct ip_addr *to,
                                bool solicited)
{
    uint8_t m[SOLICIT + 8] = {NEIGHBOUR_ADVERT};
    m[4] = NA_OVERRIDE | (solicited ? NA_SOLICITED : 0) | (ip_same(target, &u->dns6) ? 0 : NA_ROUTER);
    memcpy(m + 8, target->b, 16);
    put_mac(u, m + SOLICIT, OPTION_TARGET);
    ip_answer(u, target, to, IP_ICMP6, m, sizeof m);
}

void ndp_ask(struct user *u, const struct ip_addr *target)
{
    uint8_t m[SOLICIT + 8] = {NEIGHBOUR_SOLICIT};
    struct ip_addr group = {
        {0xff, 2, [11] = 1, [12] = 0xff, [13] = target->b[13], [14] = target->b[14], [15] = target->b[15]}
    };
    memcpy(m + 8, target->b, 16);
    put_mac(u, m + SOLICIT, OPTION_SOURCE);
    ip_answer(u, &u->link6, &group, IP_ICMP6, m, sizeof m);
}

bool ndp_input(struct user *u, const struct ip_packet *p)
{
    static const struct ip_addr unspecified;
    uint8_t m[MESSAGE_MAX];
    size_t len = ip_copy(p, 0, m, sizeof m), fixed = 8;
    bool nobody = ip_same(&p->src, &unspecified);
    if (len < 8 || m[0] < ROUTER_SOLICIT || m[0] > REDIRECT)
        return false;
    if (m[0] == NEIGHBOUR_SOLICIT || m[0] == NEIGHBOUR_ADVERT)
        fixed = SOLICIT;
    if (p->ttl != 255 || m[1] != 0 || len < fixed || p->len > sizeof m ||
        !options_ok(m + fixed, len - fixed)) {
        user_drop(u, USER_DROP_NDP);
        return true;
    }
    struct ip_addr target = ip_addr6(m + 8);
    if (m[0] == ROUTER_SOLICIT) {
        advertise_router(u, nobody ? &all_nodes : &p->src);
    } else if (m[0] == NEIGHBOUR_SOLICIT && user_is_us(u, &target) && !ip_is4(&target)) {
        advertise_neighbour(u, &target, nobody ? &all_nodes : &p->src, !nobody);
        ndp_renew(u);
    } else if (m[0] != NEIGHBOUR_ADVERT || nobody) { /* an advertisement taught its address when it came in */
        user_drop(u, USER_DROP_NDP);
    }
    return true;
}
