// SPDX-License-Identifier: MIT
/* DHCP messages: see dhcp.h. What is heard is anybody's on the wire: every length is checked before it is used, names are
 * letters, digits, dots and dashes or nothing, an address that no host can have is no lease. */
#include "dhcp.h"

enum {
    COOKIE = 4,
    BROADCAST = 0x80, /* flags, first byte: answer to all, for this host has no address yet */
};

/* RFC 2132 */
enum option {
    OPTION_PAD = 0,
    OPTION_MASK = 1,
    OPTION_ROUTER = 3,
    OPTION_DNS = 6,
    OPTION_HOST = 12,
    OPTION_DOMAIN = 15,
    OPTION_MTU = 26,
    OPTION_REQUESTED = 50,
    OPTION_LEASE = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_LIST = 55,
    OPTION_SIZE = 57,
    OPTION_CLIENT = 61,
    OPTION_END = 255,
};

static const uint8_t cookie[COOKIE] = {99, 130, 83, 99};

static uint8_t *add(uint8_t *at, enum option option, const void *value, uint8_t n)
{
    *at++ = (uint8_t)option;
    *at++ = n;
    __builtin_memcpy(at, value, n);
    return at + n;
}

size_t dhcp_make(uint8_t out[DHCP_SEND_MAX], uint32_t xid, const uint8_t mac[6],
                 const struct dhcp_lease *lease, bool renew)
{
    static const uint8_t wanted[] = {OPTION_MASK,   OPTION_ROUTER, OPTION_DNS,  OPTION_HOST,
                                     OPTION_DOMAIN, OPTION_MTU,    OPTION_LEASE};
    static const uint8_t size[2] = {1500 >> 8, 1500 & 0xff};
    uint8_t type = lease ? DHCP_REQUEST : DHCP_DISCOVER, client[7] = {1};
    uint8_t *at = out + DHCP_FIXED + COOKIE;
    __builtin_memset(out, 0, DHCP_SEND_MAX);
    out[0] = 1; /* BOOTREQUEST */
    out[1] = 1; /* Ethernet */
    out[2] = 6;
    __builtin_memcpy(out + 4, &xid, 4);
    out[10] = renew ? 0 : BROADCAST;
    if (renew)
        __builtin_memcpy(out + 12, &lease->address, 4); /* ciaddr */
    __builtin_memcpy(out + 28, mac, 6);
    __builtin_memcpy(out + DHCP_FIXED, cookie, COOKIE);
    __builtin_memcpy(client + 1, mac, 6);
    at = add(at, OPTION_TYPE, &type, 1);
    at = add(at, OPTION_CLIENT, client, sizeof client);
    at = add(at, OPTION_SIZE, size, sizeof size);
    at = add(at, OPTION_LIST, wanted, sizeof wanted);
    if (lease && !renew) { /* RFC 2131, table 5: neither when renewing */
        at = add(at, OPTION_REQUESTED, &lease->address, 4);
        at = add(at, OPTION_SERVER, &lease->server, 4);
    }
    *at++ = OPTION_END;
    return at - out < 300 ? 300 : (size_t)(at - out); /* BOOTP's least; some servers want it */
}

static uint32_t word(const uint8_t *p)
{
    uint32_t w;
    __builtin_memcpy(&w, p, 4);
    return w;
}

/* A name that may go into a file and to sethostname(). */
static void read_name(char out[DHCP_NAME_MAX], const uint8_t *p, unsigned n)
{
    out[0] = 0;
    while (n && !p[n - 1]) /* some servers count the NUL */
        n--;
    if (n >= DHCP_NAME_MAX)
        return;
    for (unsigned i = 0; i < n; i++) {
        uint8_t c = p[i], letter = c | 0x20;
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && !(i && (c == '-' || c == '.')))
            return;
    }
    __builtin_memcpy(out, p, n);
    out[n] = 0;
}

static void read_option(struct dhcp_lease *l, uint8_t option, const uint8_t *p, unsigned n)
{
    switch (option) {
    case OPTION_TYPE:
        l->type = n == 1 ? p[0] : 0;
        break;
    case OPTION_MASK:
        l->mask = n == 4 ? word(p) : 0;
        break;
    case OPTION_ROUTER:
        l->router = n >= 4 ? word(p) : 0;
        break;
    case OPTION_SERVER:
        l->server = n == 4 ? word(p) : 0;
        break;
    case OPTION_DNS:
        for (l->n_dns = 0; l->n_dns < DHCP_DNS_MAX && n >= 4; p += 4, n -= 4)
            l->dns[l->n_dns++] = word(p);
        break;
    case OPTION_MTU:
        l->mtu = n == 2 ? (uint16_t)(p[0] << 8 | p[1]) : 0;
        break;
    case OPTION_LEASE:
        l->seconds = n == 4 ? __builtin_bswap32(word(p)) : UINT32_MAX;
        break;
    case OPTION_DOMAIN:
        read_name(l->domain, p, n);
        break;
    case OPTION_HOST:
        read_name(l->host, p, n);
        break;
    default:
        break;
    }
}

/* One that a host can have: not 0/8, 127/8, nor from 224 up. */
static bool is_host(uint32_t address)
{
    uint8_t first = (uint8_t)address;
    return first && first != 127 && first < 224;
}

bool dhcp_read(const uint8_t *b, size_t n, uint32_t xid, const uint8_t mac[6], struct dhcp_lease *l)
{
    *l = (struct dhcp_lease){.seconds = UINT32_MAX};
    if (n < DHCP_FIXED + COOKIE || b[0] != 2 || b[1] != 1 || b[2] != 6 || word(b + 4) != xid ||
        __builtin_memcmp(b + 28, mac, 6) || __builtin_memcmp(b + DHCP_FIXED, cookie, COOKIE))
        return false;
    l->address = word(b + 16); /* yiaddr */
    for (size_t at = DHCP_FIXED + COOKIE; at < n && b[at] != OPTION_END;) {
        uint8_t option = b[at++];
        if (option == OPTION_PAD)
            continue;
        if (at == n || b[at] > n - at - 1)
            return false;
        read_option(l, option, b + at + 1, b[at]);
        at += 1u + b[at];
    }
    if (l->type == DHCP_NAK)
        return true;
    if (!l->mask) { /* the class's, as before masks were sent */
        uint8_t first = (uint8_t)l->address;
        l->mask = first < 128 ? 0x000000ff : first < 192 ? 0x0000ffff : 0x00ffffff;
    }
    if (!is_host(l->router))
        l->router = 0;
    return (l->type == DHCP_OFFER || l->type == DHCP_ACK) && is_host(l->address) && l->server;
}
