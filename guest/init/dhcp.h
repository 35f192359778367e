/* SPDX-License-Identifier: MIT
 *
 * DHCP's client side as two functions over bytes: what to say, and what was heard. No system calls, no state, so that the unit tests
 * compile this very file. Sources: RFC 2131 (4.4, the client), 2132 (options), 3442 is not spoken.
 */
#ifndef GUEST_INIT_DHCP_H
#define GUEST_INIT_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DHCP_DISCOVER = 1, /* RFC 2132, 9.6 */
    DHCP_OFFER = 2,
    DHCP_REQUEST = 3,
    DHCP_ACK = 5,
    DHCP_NAK = 6,

    DHCP_SERVER_PORT = 67,
    DHCP_CLIENT_PORT = 68,
    DHCP_FIXED = 236,    /* before the cookie */
    DHCP_SEND_MAX = 548, /* RFC 2131, 2: what every server takes */
    DHCP_DNS_MAX = 3,    /* as many as resolv.conf may have */
    DHCP_NAME_MAX = 64,
};

/* Addresses are in network order, as they come. */
struct dhcp_lease {
    uint8_t type; /* DHCP_OFFER, DHCP_ACK or DHCP_NAK */
    uint32_t address, mask, router, server;
    uint32_t dns[DHCP_DNS_MAX];
    unsigned n_dns;
    uint16_t mtu;                                    /* 0: not told */
    uint32_t seconds;                                /* UINT32_MAX: for ever */
    char domain[DHCP_NAME_MAX], host[DHCP_NAME_MAX]; /* "" if not told, or not made of a name's letters */
};

/* A DISCOVER (lease NULL), or a REQUEST for what a lease offers; renew: from its holder. Returns its bytes. */
size_t dhcp_make(uint8_t out[DHCP_SEND_MAX], uint32_t xid, const uint8_t mac[6],
                 const struct dhcp_lease *lease, bool renew);

/* false: not for us, or no DHCP, or damaged: to be ignored. */
bool dhcp_read(const uint8_t *bytes, size_t n, uint32_t xid, const uint8_t mac[6], struct dhcp_lease *lease);

#endif
