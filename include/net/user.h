/* SPDX-License-Identifier: MIT
 *
 * The user-mode network: a router, DHCP, DNS and TFTP server in the process, which carries what the guest sends by
 * ordinary sockets of the host. It needs no privileges, no set-up and no second program.
 *
 *   10.0.2.0/24  the guest's network: guest .15, host (gateway) .2, DNS .3    fd76:6d6c:6574::/64  the same in IPv6
 *
 * Owner: the machine, one per network; several cards can share one by a hub. Thread: all of it on the loop, no
 * locks, nothing blocks; an idle guest makes it do nothing. Everything is bounded, and what is beyond the bounds is
 * refused to the guest where its protocol has a word for that, and always counted by name.
 *
 * What the guest may reach is one table, printed by user_print(): anything the host can reach, with the host's
 * loopback at the gateway's address; but never loopback, link-local or metadata addresses, nor this process's own
 * sockets, by their own address.
 */
#ifndef NET_USER_H
#define NET_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "net/port.h"

struct user;

enum {
    USER_FORWARDS_MAX = 64, /* of one network */
};

/* Strings are only read during user_new(), but for name, which lives as long. All zero: the defaults. */
struct user_options {
    const char *name;      /* "net0", for messages and `info` */
    const char *net;       /* "10.0.2.0/24", /8 to /29 */
    const char *guest_ip;  /* the address the first card is given; host number 15 of net */
    const char *host_ip;   /* the gateway; host number 2 of net. DNS is the next one that is free */
    const char *host_name; /* told to the guest by DHCP; NULL: none */
    bool restricted;       /* restrict=on: only what is forwarded; nothing else leaves */
    bool no_loopback;      /* loopback=off: the gateway's address does not lead to the host's loopback */
    bool no_ipv6;
    uint16_t subnet6; /* the last 16 bits of the IPv6 prefix: a guest with two networks tells them apart */
    const char *tftp; /* a folder, to be served read-only; NULL: no TFTP */
    const char *bootfile;       /* network boot: file name given by DHCP; NULL: none */
    uint16_t mtu;               /* 0: 1500 */
    const char *const *hostfwd; /* "tcp:[ADDR]:PORT-[ADDR]:PORT" or udp:, as in QEMU */
    size_t n_hostfwd;

    /* for tests */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
    uint16_t dns_port;       /* of the resolvers; 0: 53 */
};

/* NULL and one sentence without a full stop. */
struct user *user_new(struct net *net, struct loop *loop, const struct user_options *o, char *err,
                      size_t errlen);
struct port *user_port(struct user *u); /* to be connected to a card or a hub */
void user_free(struct user *u);         /* NULL is nothing */

/* `info NAME net`: addresses, leases, connections and flows with state and bytes, forwards, the policy, drops by reason. */
void user_print(struct user *u, FILE *out);

/* Forwards, at run time. spec as in hostfwd; remove finds it by protocol, host address and port (what follows the `-` may
 * be left out). Host port 0: the kernel chooses, user_print() says. false and one sentence. */
bool user_forward_add(struct user *u, const char *spec, char *err, size_t errlen);
bool user_forward_remove(struct user *u, const char *spec, char *err, size_t errlen);

/* Sockets of the process itself, which no guest may reach at the host's addresses: gdb's, hostfwd's own … proto: IPPROTO_TCP
 * or IPPROTO_UDP. Any thread; counted, so each add needs its remove. */
void user_own_port_add(uint8_t proto, uint16_t port);
void user_own_port_remove(uint8_t proto, uint16_t port);

#endif
