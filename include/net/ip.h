/* SPDX-License-Identifier: MIT
 *
 * The inside of the user-mode network (net/user.h): what its protocols share. A protocol is given parsed packets, asks
 * the policy where it may go, sends packets without knowing Ethernet or whose address is whose, and refuses in words
 * the guest understands (ICMP). Nobody outside of net/ includes this.
 *
 * Data flow: card -> user.c (Ethernet) -> ip4.c or ip6.c (headers, fragments) -> tcp_input(), udp_input() …; and
 * back: user_ip_send() -> ip4.c or ip6.c -> neigh.c (whose MAC) -> port.
 *
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that tables and comparisons need not know.
 * Such an address on the wire as IPv6 is refused before anybody sees it.
 *
 * Threads: the loop's alone. No function here blocks or allocates.
 */
#ifndef NET_IP_H
#define NET_IP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "net/port.h"

struct user;

/* --- addresses (addr.c) */

struct ip_addr {
    uint8_t b[16];
};

enum {
    IP_ADDR_TEXT = 48
};

struct ip_addr ip_addr4(const uint8_t bytes[4]);
struct ip_addr ip_addr6(const uint8_t bytes[16]);
static inline bool ip_is4(const struct ip_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return !memcmp(a->b, mapped, 12);
}
static inline bool ip_same(const struct ip_addr *a, const struct ip_addr *b)
{
    return !memcmp(a, b, sizeof *a);
}
/* The first `bits` of 128 are the same; for IPv4 prefixes add 96. */
bool ip_in(const struct ip_addr *a, const struct ip_addr *net, unsigned bits);
/* text: either family, no scope. */
bool ip_parse(const char *text, struct ip_addr *a) __attribute__((warn_unused_result));
const char *ip_text(const struct ip_addr *a, char text[IP_ADDR_TEXT]); /* returns text */

/* An address of the host's sockets. */
struct ip_sock {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};
struct ip_sock ip_sock(const struct ip_addr *a, uint16_t port);
/* false: of another family. IPv4-mapped addresses of a dual-stack socket come out as IPv4. */
bool ip_of_sock(const struct sockaddr *sa, struct ip_addr *a, uint16_t *port)
    __attribute__((warn_unused_result));

/* --- packets from the guest */

enum {
    IP_ICMP = 1,
    IP_TCP = 6,
    IP_UDP = 17,
    IP_ICMP6 = 58,
};

/* All lengths are checked: iov has exactly len bytes. They are guest memory (read once into a local, check, use) and
 * are there only during the call. src is an address that a guest may have; dst is not checked. A packet that was
 * reassembled from fragments looks like any other. */
struct ip_packet {
    struct ip_addr src, dst;
    bool v6;
    uint8_t proto;
    uint8_t ttl;       /* IPv6: hop limit; >= 1 */
    bool df;           /* IPv4's DF; always set for IPv6 that came in one piece */
    bool csum_ok;      /* nothing to check: it never was on a wire */
    uint16_t gso_size; /* not 0: the payload is a train of TCP segments of this size under one header */
    const struct iovec *iov;
    int n; /* the payload: from the TCP, UDP or ICMP header on */
    size_t len;
};

/* Copies min(len, what is there) bytes from offset on; returns how many. */
size_t ip_copy(const struct ip_packet *p, size_t offset, void *to, size_t len);
/* The payload's bytes [offset, offset + len) as pieces: n, or -1 when out has not enough. len <= what is there. */
int ip_slice(const struct iovec *iov, int n, size_t offset, size_t len, struct iovec *out, int max);
/* The checksum of TCP, UDP or ICMP is right, or need not be looked at. */
bool ip_checksum_ok(const struct ip_packet *p) __attribute__((warn_unused_result));

/* --- packets to the guest */

struct ip_out {
    struct ip_addr src, dst; /* of one family */
    uint8_t proto;
    uint8_t ttl; /* 0: 64 */
    /* the TCP, UDP or ICMP header (its checksum field is filled in here), and what follows it if short */
    void *header;
    size_t hlen;             /* <= IP_OUT_HEADER_MAX */
    const struct iovec *iov; /* the rest */
    int n;
    uint16_t gso_size; /* TCP only: a train of segments, cut by the card or by its port */
};
enum {
    IP_OUT_HEADER_MAX = 128,
};

/* Sends with the checksum and what else is needed (fragments, if it is longer than the MTU and no train). PORT_BUSY:
 * the card has no room; keep it, user_ready() calls tcp_ready() and the others when there is some. PORT_SENT also when
 * nobody is known to have dst: then it was asked for (ARP, NDP) and the packet is lost. */
enum port_result user_ip_send(struct user *u, const struct ip_out *o) __attribute__((warn_unused_result));
/* What a TCP segment may carry (MSS) to this guest: MTU less headers. */
uint16_t user_mss(const struct user *u, bool v6);

/* --- refusals (icmp.c), and the policy (policy.c) */

enum ip_error {
    IP_OK,
    IP_NO_NET, /* unreachable: network, host, protocol, port */
    IP_NO_HOST,
    IP_NO_PROTO,
    IP_NO_PORT,
    IP_PROHIBITED, /* the policy, or the host's firewall, says no */
    IP_TOO_BIG,    /* with the MTU that fits */
    IP_HOPS,       /* hop limit exceeded */
    IP_REASSEMBLY, /* fragments: time exceeded */
    IP_ERRORS,
};

/* What errno of connect(), send() … means for the guest; IP_NO_HOST for what has no better word. */
enum ip_error ip_error_of(int error);

/* Tells the sender of p, as `from` (NULL: the gateway of p's family), that it will not get there. Never in answer to
 * ICMP errors, multicast or other than first fragments; bounded in rate. mtu: for IP_TOO_BIG. Of the payload the first
 * bytes are quoted; a p that is made up afterwards needs 8 of them (ports, and the sequence number for TCP). */
void ip_refuse(struct user *u, const struct ip_packet *p, enum ip_error e, unsigned mtu,
               const struct ip_addr *from);

/* Whether the guest may reach dst, and where on the host that is: IP_OK and *to, or why not (to be given to
 * ip_refuse(); a TCP may say RST instead). port in host order; 0 for ICMP. */
enum ip_error user_policy(struct user *u, uint8_t proto, const struct ip_addr *dst, uint16_t port,
                          struct ip_sock *to);
/* The other way: as whom the guest sees a host peer that comes in by a forward. The host's loopback is the gateway, and
 * so is an address that the guest would look for on its own wire. */
void user_peer(struct user *u, const struct ip_addr *guest, const struct sockaddr *peer, struct ip_addr *src,
               uint16_t *port);

#endif
