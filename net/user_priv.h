/* SPDX-License-Identifier: MIT
 *
 * struct user, and what the files of the user network call of each other. Each file opens with its theory; ip.h is
 * what they share with tcp*.c. */
#ifndef NET_USER_PRIV_H
#define NET_USER_PRIV_H

#include "net/ip.h"
#include "net/user.h"

enum {
    ETH_HEADER = 14,
    ETH_IPV4 = 0x0800,
    ETH_ARP = 0x0806,
    ETH_IPV6 = 0x86dd,

    IP4_HEADER = 20,
    IP4_HEADER_MAX = 60,
    IP4_DF = 0x4000, /* of the fragment word */
    IP4_MF = 0x2000,
    IP4_OFFSET = 0x1fff,
    IP6_HEADER = 40,
    IP6_FRAGMENT_HEADER = 8,
    IP6_MTU_MIN = 1280,
    IP_TTL_OURS = 64,
    IP_PACKET_MAX = 65535,

    ICMP_HEADER = 8,
    UDP_HEADER = 8,
    DHCP_SERVER_PORT = 67,
    DHCP_CLIENT_PORT = 68,

    HEAD_MAX = ETH_HEADER + IP4_HEADER_MAX, /* what is copied of a frame before it is looked at */
    NEIGHBOURS = 64,
    POLICY_RULES = 16,
};

static inline uint16_t get16(const void *at)
{
    const uint8_t *p = at;
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get32(const void *at)
{
    const uint8_t *p = at;
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}
static inline void set16(void *at, uint32_t v)
{
    uint8_t *p = at;
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void set32(void *at, uint32_t v)
{
    uint8_t *p = at;
    set16(p, v >> 16);
    set16(p + 2, v);
}

/* Why a packet went no further: X(enumerator, name). */
#define USER_DROP_LIST(X)                                                                                    \
    X(USER_DROP_ETHERTYPE, "neither ARP, IPv4 nor IPv6")                                                     \
    X(USER_DROP_MAC, "for another MAC address")                                                              \
    X(USER_DROP_ARP, "malformed ARP")                                                                        \
    X(USER_DROP_HEADER, "malformed IP header")                                                               \
    X(USER_DROP_SOURCE, "from an address that no guest may have")                                            \
    X(USER_DROP_CHECKSUM, "wrong checksum")                                                                  \
    X(USER_DROP_IPV6_OFF, "IPv6 while it is off")                                                            \
    X(USER_DROP_MULTICAST, "multicast or broadcast that nobody serves")                                      \
    X(USER_DROP_FRAGMENT, "malformed or overlapping fragment")                                               \
    X(USER_DROP_FRAGMENT_ROOM, "fragments: no room")                                                         \
    X(USER_DROP_FRAGMENT_TIME, "fragments: never completed")                                                 \
    X(USER_DROP_ICMP, "malformed or unknown ICMP")                                                           \
    X(USER_DROP_ICMP_RATE, "ICMP error above the rate")                                                      \
    X(USER_DROP_NDP, "malformed or unanswered neighbour discovery")                                          \
    X(USER_DROP_UDP, "malformed UDP")                                                                        \
    X(USER_DROP_DHCP, "malformed or unanswered DHCP")                                                        \
    X(USER_DROP_TFTP, "malformed or refused TFTP")                                                           \
    X(USER_DROP_DNS, "malformed DNS query")                                                                  \
    X(USER_DROP_DNS_ANSWER, "DNS answer that fits no query")                                                 \
    X(USER_DROP_DNS_ROOM, "DNS: too many queries at once")                                                   \
    X(USER_DROP_POLICY, "refused by the policy")                                                             \
    X(USER_DROP_UNREACHABLE, "refused: nothing there")                                                       \
    X(USER_DROP_FLOW_ROOM, "oldest flow given up for a new one")                                             \
    X(USER_DROP_SOCKETS, "no socket to be had")                                                              \
    X(USER_DROP_SEND, "the host's socket took it not")                                                       \
    X(USER_DROP_BUSY, "answer lost: the card had no room")                                                   \
    X(USER_DROP_NEIGHBOUR, "to a guest that nobody knows")
enum user_drop {
#define X(id, name) id,
    USER_DROP_LIST(X)
#undef X
    USER_DROPS
};

struct neighbour {
    struct ip_addr addr;
    uint8_t mac[6];
    bool valid;
};

/* The host's resolvers. */
enum {
    RESOLVERS_MAX = 8
};
struct resolv {
    char path[256];
    uint16_t port;
    struct ip_sock at[RESOLVERS_MAX];
    int n;            /* >= 1 */
    int first;        /* the one that answered last */
    int64_t stamp[5]; /* of the file: device, inode, size, mtime */
};

struct dhcp;
struct dns;
struct flows;
struct frags;
struct fwds;
struct tcp;
struct tftp;

struct user {
    struct port port; /* first */
    struct loop *loop;
    const char *name;

    /* who is who */
    struct ip_addr net4, host4, dns4, guest4, broadcast4;
    struct ip_addr net6, host6, dns6, link6; /* link6: the router's link-local address */
    unsigned bits4, bits6;                   /* of 128 */
    uint8_t mac[6];
    uint16_t mtu;
    bool restricted, loopback, ipv6;
    char host_name[64], bootfile[128];

    struct neighbour neighbours[NEIGHBOURS];
    struct neighbour *last; /* the one found last; never NULL */
    uint64_t advertised;    /* when the router was last; 0: never */
    uint64_t asked;         /* when somebody was asked for last */
    struct ip_addr pending_dst;
    size_t pending_len; /* not 0: a frame that waits for its neighbour */
    struct port_meta pending_meta;
    uint8_t pending[1600];

    uint16_t ip_id, ping_id;
    bool ping_told;      /* that the host does not let us */
    uint64_t error_time; /* the bucket of ICMP errors */
    unsigned errors_left;

    struct {
        struct ip_addr net;
        unsigned bits;
    } rules[POLICY_RULES]; /* the policy's table, parsed */
    struct resolv resolv;
    struct flows *flows;
    struct frags *frags;
    struct dns *dns;
    struct dhcp *dhcp;
    struct tftp *tftp;
    struct fwds *fwds;
    struct tcp *tcp;

    uint64_t drops[USER_DROPS];
    struct iovec in[PORT_IOV_MAX]; /* payload of the packet that is being read */
};

static inline void user_drop(struct user *u, enum user_drop why)
{
    u->drops[why]++;
}

/* A frame whose head was copied. */
struct frame {
    const uint8_t *head; /* from the Ethernet header on: min(len, HEAD_MAX) bytes */
    size_t head_len;
    const struct iovec *iov;
    int n;
    size_t len;
    const struct port_meta *meta;
};

/* user.c: a parsed packet to its protocol */
void user_deliver(struct user *u, const struct ip_packet *p);
bool user_is_us(const struct user *u,
                const struct ip_addr *a); /* gateway, DNS server, our link-local address */
bool user_is_many(const struct user *u, const struct ip_addr *a);  /* multicast, broadcast */
bool user_is_guest(const struct user *u, const struct ip_addr *a); /* an address that a guest may have */
/* 0.0.0.0 and ::, which DHCP and NDP may come from. All other packets' sources are a guest's (ip4.c, ip6.c). */
static inline bool user_is_nobody(const struct ip_addr *a)
{
    return !get32(a->b + 12) && (ip_is4(a) || !(get32(a->b) | get32(a->b + 4) | get32(a->b + 8)));
}

/* ip.c */
uint16_t ip_sum_add(uint16_t a, uint16_t b);
uint16_t ip_pseudo_sum(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, size_t len);
/* Datagram in one buffer, for small answers. BUSY: dropped and counted. */
void ip_answer(struct user *u, const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto, void *l4,
               size_t len);
/* UDP datagram: header made here. */
enum port_result ip_send_udp(struct user *u, const struct ip_addr *src, uint16_t sport,
                             const struct ip_addr *dst, uint16_t dport, const struct iovec *iov, int n);

/* ip4.c, ip6.c */
void ip4_input(struct user *u, const struct frame *f);
void ip6_input(struct user *u, const struct frame *f);
/* p from a next header's number on, which is at that place of its payload. */
void ip6_deliver(struct user *u, struct ip_packet *p, int next, size_t at);
void ip4_header(uint8_t *h, const struct ip_out *o, size_t payload, uint16_t id, uint16_t fragment);
size_t ip6_header(uint8_t *h, const struct ip_out *o, size_t payload, uint32_t id, unsigned offset, bool more,
                  bool fragment);

/* neigh.c */
void neigh_init(struct user *u);
/* The neighbour that was found last is this one: so its address is a guest's, and there is nothing to learn. */
static inline bool neigh_is_last(const struct user *u, const struct ip_addr *addr, const uint8_t mac[6])
{
    return u->last->valid && ip_same(&u->last->addr, addr) && !memcmp(u->last->mac, mac, 6);
}
void neigh_learn(struct user *u, const struct ip_addr *addr, const uint8_t mac[6]);
/* NULL: nobody knows. */
const uint8_t *neigh_find(struct user *u, const struct ip_addr *addr);
/* Asks for dst, and keeps the frame for it if there is room: its MAC goes into its first bytes. */
void neigh_ask(struct user *u, const struct ip_addr *dst, const struct iovec *iov, int n,
               const struct port_meta *meta);
void arp_input(struct user *u, const struct frame *f);

/* frag.c: a fragment, whose payload is p's; id is the packet's */
struct frags *frags_new(struct user *u);
void frags_free(struct frags *fr);
void frag_input(struct user *u, const struct ip_packet *p, uint32_t id, size_t offset, bool more);

/* flow.c */
struct flow;
struct fwd;
struct flows *flows_new(struct user *u);
void flows_free(struct flows *fl);
void flows_print(struct user *u, FILE *out);
void flow_ready(struct user *u); /* the card has room again */

/* udp.c */
void udp_input(struct user *u, const struct ip_packet *p);
struct flow *udp_flow_forwarded(struct user *u, struct fwd *forward, const struct ip_addr *guest,
                                uint16_t gport, const struct ip_sock *peer);

/* The servers: p is UDP, whole and with a good checksum. */
struct dhcp *dhcp_new(struct user *u);
void dhcp_free(struct dhcp *d);
void dhcp_input(struct user *u, const struct ip_packet *p);
void dhcp_print(struct user *u, FILE *out);
struct dns *dns_new(struct user *u, const struct user_options *o);
void dns_free(struct dns *d);
void dns_input(struct user *u, const struct ip_packet *p, uint16_t sport);
void dns_print(struct user *u, FILE *out);

/* false: it is not TFTP's */
bool tftp_input(struct user *u, const struct ip_packet *p, uint16_t sport, uint16_t dport);
struct tftp *tftp_new(struct user *u, const char *folder, char *err, size_t errlen);
void tftp_free(struct tftp *t);
void tftp_print(struct user *u, FILE *out);

/* tftp_file.c. open: a descriptor, or -1 and errno. read: -1 and EAGAIN: not in memory yet. */
int tftp_open(int folder, const char *name, uint64_t *size);
ssize_t tftp_read(int fd, uint64_t at, void *to, size_t len, uint64_t file_size);

/* ping.c: an echo request, with a good checksum, to somebody else */
void ping_input(struct user *u, const struct ip_packet *p);

/* fwd.c */
struct fwds *fwds_new(struct user *u);
void fwds_free(struct fwds *fs);
void fwds_print(struct user *u, FILE *out);
void fwd_rearm(struct user *u);
bool fwd_send(struct fwd *f, const struct ip_sock *to, const struct iovec *iov, int n);

/* user_tcp.c: between this and TCP. forward: false: it was refused; fd is gone in every case */
struct tcp *user_tcp_new(struct user *u, char *err, size_t errlen);
void user_tcp_input(struct user *u, const struct ip_packet *p);
bool user_tcp_forward(struct user *u, int fd, const struct ip_addr *guest, uint16_t gport,
                      const struct ip_addr *peer, uint16_t pport);

/* ndp.c */
bool ndp_input(struct user *u, const struct ip_packet *p); /* false: it is not NDP's */
void ndp_ask(struct user *u, const struct ip_addr *target);
void ndp_renew(struct user *u); /* a guest was heard of: is its router's lifetime half over? */

/* icmp.c */
void icmp_input(struct user *u, const struct ip_packet *p);

/* resolv.c */
void resolv_init(struct resolv *r, const struct user_options *o);
/* Reads the file again if it is not the one that was read. true: it was read. */
bool resolv_check(struct resolv *r);
struct ip_sock resolv_first(struct resolv *r);

/* policy.c */
void policy_init(struct user *u);
/* "10.0.0.0/8"; bits of 128. */
bool ip_parse_net(const char *text, struct ip_addr *net, unsigned *bits) __attribute__((warn_unused_result));
void policy_print(struct user *u, FILE *out);

#endif
