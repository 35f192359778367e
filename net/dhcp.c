// SPDX-License-Identifier: MIT
/* The DHCP server (RFC 2131, 2132): an address, the router, the DNS server, the MTU, the host's name for the guest, and what
 * a network boot wants to know (TFTP server and file).
 *
 * Addresses are leased by hardware address: the first guest gets guest_ip, others on the same network (a hub) those
 * above it. A lease that is asked for is held by whoever has it; when all LEASES are taken, the one that was used least
 * recently gives way, if it was only offered or released, or has run out: a client that was told LEASE_SECONDS has asked
 * again by then, or is gone. What a client asks for and may not have is answered with NAK, so that it starts again at
 * once. Options are read to the message's end and no further, and what they should hold is believed only at its exact
 * length. Nothing here has a timer: that a lease has run out is found when its address is wanted. */
#include <stdlib.h>

#include "kvm/host/ns.h"
#include "net/user_priv.h"

enum {
    BOOTP_OP = 0, /* offsets */
    BOOTP_HTYPE = 1,
    BOOTP_HLEN = 2,
    BOOTP_XID = 4,
    BOOTP_FLAGS = 10,
    BOOTP_CIADDR = 12,
    BOOTP_YIADDR = 16,
    BOOTP_SIADDR = 20,
    BOOTP_GIADDR = 24,
    BOOTP_CHADDR = 28,
    BOOTP_FILE = 108,
    BOOTP_COOKIE = 236,
    BOOTP_OPTIONS = 240,
    BOOTP_BROADCAST = 0x8000,
    COOKIE = 0x63825363,

    DISCOVER = 1,
    OFFER = 2,
    REQUEST = 3,
    DECLINE = 4,
    ACK = 5,
    NAK = 6,
    RELEASE = 7,
    INFORM = 8,

    OPT_PAD = 0,
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_HOST_NAME = 12,
    OPT_MTU = 26,
    OPT_BROADCAST = 28,
    OPT_REQUESTED = 50,
    OPT_LEASE = 51,
    OPT_TYPE = 53,
    OPT_SERVER = 54,
    OPT_TFTP_SERVER = 66,
    OPT_BOOTFILE = 67,
    OPT_END = 255,

    MESSAGE_MAX = 1400, /* of what is read, and written */
    LEASE_SECONDS = 24 * 3600,
    LEASES = 64,
};

struct lease {
    uint8_t mac[6];
    bool used, bound, declined;
    uint32_t age;   /* of its last use */
    uint64_t since; /* bound or declined: the loop's time of it */
};
/* leases[i] is of address first + i */
struct dhcp {
    uint32_t first;
    unsigned n;
    uint32_t age;
    uint64_t counts[INFORM + 1]; /* messages in and out, by type */
    struct lease leases[LEASES];
};

struct dhcp *dhcp_new(struct user *u)
{
    struct dhcp *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->first = get32(u->guest4.b + 12);
    d->n = get32(u->broadcast4.b + 12) - d->first;
    if (d->n > LEASES)
        d->n = LEASES;
    return d;
}

void dhcp_free(struct dhcp *d)
{
    free(d);
}

static uint32_t address_of(const struct dhcp *d, const struct lease *l)
{
    return d->first + (uint32_t)(l - d->leases);
}

static bool is_ours(struct user *u, uint32_t address)
{
    return address == get32(u->host4.b + 12) || address == get32(u->dns4.b + 12);
}

/* Its address is nobody else's to have. */
static bool is_held(struct user *u, const struct lease *l)
{
    return l->used && (l->bound || l->declined) && loop_now(u->loop) - l->since <= LEASE_SECONDS * SECOND;
}

/* The client's lease, or with `make` a new one; NULL: no address is left. */
static struct lease *lease_of(struct user *u, const uint8_t mac[6], bool make)
{
    struct dhcp *d = u->dhcp;
    struct lease *best = NULL;
    for (unsigned i = 0; i < d->n; i++) {
        struct lease *l = &d->leases[i];
        if (l->used && !l->declined && !memcmp(l->mac, mac, 6))
            return l;
        if (is_ours(u, address_of(d, l)) || is_held(u, l))
            continue;
        if (!best || (best->used && (!l->used || l->age < best->age)))
            best = l;
    }
    if (!make || !best)
        return NULL;
    *best = (struct lease){.used = true, .age = ++d->age};
    memcpy(best->mac, mac, 6);
    return best;
}

struct message {
    uint8_t b[MESSAGE_MAX];
    size_t len;
    uint8_t type;
    uint32_t requested, server; /* 0: not given */
};

/* false: the options do not hold together. */
static bool read_options(struct message *m)
{
    const uint8_t *o = m->b;
    m->type = 0;
    m->requested = m->server = 0;
    for (size_t at = BOOTP_OPTIONS; at < m->len && o[at] != OPT_END;) {
        if (o[at] == OPT_PAD) {
            at++;
            continue;
        }
        if (m->len - at < 2 || o[at + 1] > m->len - at - 2)
            return false;
        const uint8_t *value = o + at + 2;
        uint8_t len = o[at + 1];
        if (o[at] == OPT_TYPE && len == 1)
            m->type = *value;
        else if (o[at] == OPT_REQUESTED && len == 4)
            m->requested = get32(value);
        else if (o[at] == OPT_SERVER && len == 4)
            m->server = get32(value);
        at += 2u + len;
    }
    return m->type >= DISCOVER && m->type <= INFORM;
}

/* --- answers */

static uint8_t *put(uint8_t *to, uint8_t option, const void *value, size_t len)
{
    *to++ = option;
    *to++ = (uint8_t)len;
    memcpy(to, value, len);
    return to + len;
}

static void answer(struct user *u, const struct message *q, uint8_t type, uint32_t address)
{
    uint8_t m[UDP_HEADER + MESSAGE_MAX] = {0}, *b = m + UDP_HEADER, *o = b + BOOTP_OPTIONS, value[4];
    struct ip_addr to;
    b[BOOTP_OP] = 2;
    b[BOOTP_HTYPE] = 1;
    b[BOOTP_HLEN] = 6;
    memcpy(b + BOOTP_XID, q->b + BOOTP_XID, 4);
    memcpy(b + BOOTP_FLAGS, q->b + BOOTP_FLAGS, 2);
    memcpy(b + BOOTP_CHADDR, q->b + BOOTP_CHADDR, 16);
    set32(b + BOOTP_COOKIE, COOKIE);
    o = put(o, OPT_TYPE, &type, 1);
    o = put(o, OPT_SERVER, u->host4.b + 12, 4);
    if (type != NAK) {
        uint32_t mask = u->bits4 == 96 ? 0 : ~0u << (128 - u->bits4);
        memcpy(b + BOOTP_CIADDR, q->b + BOOTP_CIADDR, 4);
        set32(b + BOOTP_YIADDR, address);
        if (address) { /* INFORM has its own */
            set32(value, LEASE_SECONDS);
            o = put(o, OPT_LEASE, value, 4);
        }
        set32(value, mask);
        o = put(o, OPT_MASK, value, 4);
        o = put(o, OPT_ROUTER, u->host4.b + 12, 4);
        o = put(o, OPT_DNS, u->dns4.b + 12, 4);
        o = put(o, OPT_BROADCAST, u->broadcast4.b + 12, 4);
        set16(value, u->mtu);
        o = put(o, OPT_MTU, value, 2);
        if (u->host_name[0])
            o = put(o, OPT_HOST_NAME, u->host_name, strlen(u->host_name));
        if (u->tftp || u->bootfile[0]) {
            char text[IP_ADDR_TEXT];
            memcpy(b + BOOTP_SIADDR, u->host4.b + 12, 4);
            ip_text(&u->host4, text);
            o = put(o, OPT_TFTP_SERVER, text, strlen(text));
        }
        if (u->bootfile[0]) {
            memcpy(b + BOOTP_FILE, u->bootfile, strlen(u->bootfile));
            o = put(o, OPT_BOOTFILE, u->bootfile, strlen(u->bootfile));
        }
    }
    *o++ = OPT_END;
    size_t len = (size_t)(o - b);
    if (len < 300)
        len = 300; /* RFC 951's size: some clients want it */

    /* To whom (RFC 2131, 4.1): a client that has an address, there; else as it can hear. */
    if (type != NAK && get32(q->b + BOOTP_CIADDR))
        to = ip_addr4(q->b + BOOTP_CIADDR);
    else if (type != NAK && address && !(get16(q->b + BOOTP_FLAGS) & BOOTP_BROADCAST))
        to = ip_addr4(b + BOOTP_YIADDR);
    else
        to = ip_addr4((const uint8_t[]){255, 255, 255, 255});
    if (user_is_guest(u, &to))
        neigh_learn(u, &to, q->b + BOOTP_CHADDR);
    else if (!user_is_many(u, &to))
        return;
    u->dhcp->counts[type]++;
    set16(m, DHCP_SERVER_PORT);
    set16(m + 2, DHCP_CLIENT_PORT);
    set16(m + 4, (uint32_t)(UDP_HEADER + len));
    ip_answer(u, &u->host4, &to, IP_UDP, m, UDP_HEADER + len);
}

/* --- requests */

static void request(struct user *u, const struct message *m)
{
    const uint8_t *mac = m->b + BOOTP_CHADDR;
    uint32_t ciaddr = get32(m->b + BOOTP_CIADDR), wanted = m->requested ? m->requested : ciaddr;
    struct lease *l = lease_of(u, mac, false);
    if (m->server && m->server != get32(u->host4.b + 12)) { /* it took another server's offer */
        if (l)
            l->bound = false;
        return;
    }
    if (!l && wanted - u->dhcp->first < u->dhcp->n && !is_ours(u, wanted)) {
        struct lease *free_one = &u->dhcp->leases[wanted - u->dhcp->first];
        if (!free_one->used) { /* it had it in an earlier life of ours: let it */
            l = free_one;
            *l = (struct lease){.used = true};
            memcpy(l->mac, mac, 6);
        }
    }
    if (!l || address_of(u->dhcp, l) != wanted) {
        answer(u, m, NAK, 0);
        return;
    }
    l->bound = true;
    l->age = ++u->dhcp->age;
    l->since = loop_now(u->loop);
    answer(u, m, ACK, wanted);
}

void dhcp_input(struct user *u, const struct ip_packet *p)
{
    struct message m;
    struct lease *l;
    m.len = ip_copy(p, UDP_HEADER, m.b, sizeof m.b);
    if (m.len < BOOTP_OPTIONS || p->len - UDP_HEADER > sizeof m.b || m.b[BOOTP_OP] != 1 ||
        m.b[BOOTP_HTYPE] != 1 || m.b[BOOTP_HLEN] != 6 || get32(m.b + BOOTP_COOKIE) != COOKIE ||
        m.b[BOOTP_CHADDR] & 1 || !read_options(&m)) {
        user_drop(u, USER_DROP_DHCP);
        return;
    }
    u->dhcp->counts[m.type]++;
    switch (m.type) {
    case DISCOVER:
        l = lease_of(u, m.b + BOOTP_CHADDR, true);
        if (l)
            answer(u, &m, OFFER, address_of(u->dhcp, l));
        else
            user_drop(u, USER_DROP_DHCP);
        break;
    case REQUEST:
        request(u, &m);
        break;
    case DECLINE: /* somebody has it already: not again */
        l = lease_of(u, m.b + BOOTP_CHADDR, false);
        if (l && address_of(u->dhcp, l) == m.requested) {
            l->declined = true;
            l->since = loop_now(u->loop);
        }
        break;
    case RELEASE:
        l = lease_of(u, m.b + BOOTP_CHADDR, false);
        if (l && address_of(u->dhcp, l) == get32(m.b + BOOTP_CIADDR))
            l->bound = false; /* and it gets the same again, if nobody needs it more */
        break;
    case INFORM:
        answer(u, &m, ACK, 0);
        break;
    default: /* a server's word */
        user_drop(u, USER_DROP_DHCP);
    }
}

void dhcp_print(struct user *u, FILE *out)
{
    fprintf(out, "leases:\n");
    for (unsigned i = 0; i < u->dhcp->n; i++) {
        const struct lease *l = &u->dhcp->leases[i];
        uint8_t bytes[4];
        char text[IP_ADDR_TEXT];
        if (!l->used)
            continue;
        set32(bytes, address_of(u->dhcp, l));
        struct ip_addr a = ip_addr4(bytes);
        fprintf(out, "  %-15s %02x:%02x:%02x:%02x:%02x:%02x %s\n", ip_text(&a, text), l->mac[0], l->mac[1],
                l->mac[2], l->mac[3], l->mac[4], l->mac[5],
                l->declined ? "declined"
                : l->bound  ? "bound"
                            : "offered or released");
    }
}
