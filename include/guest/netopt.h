/* SPDX-License-Identifier: MIT
 *
 * What `-n k=v,…` says, checked: one struct a card. A key that means nothing in the card's mode is refused with a sentence,
 * not dropped. lkvm's keys keep lkvm's meaning, but for the mode when none is given (lkvm: tap; here: user).
 *
 * mode=none alone is lkvm's: no card at all, nor the default one. With any other key it is a card without a cable.
 * hub=NAME without mode= joins the card alone; with a mode, what that mode brings is plugged into the hub beside it.
 *
 * Set-up thread; nothing here touches the host but to look names up. Texts live as long as the process.
 */
#ifndef GUEST_NETOPT_H
#define GUEST_NETOPT_H

#include "kvm/host/opts.h"

#include <stdbool.h>
#include <stdint.h>

enum net_mode {
    NET_NONE,
    NET_LOOPBACK,
    NET_USER,
    NET_TAP,
    NET_STREAM,
    NET_SOCKET,
    NET_MODES,
};

enum {
    NET_CARDS_MAX = 8,
    NET_FD_NONE = UINT32_MAX,
    NET_QUEUES_MAX = 8,
};

struct net_options {
    const char *text; /* as it was given */
    int mode;         /* enum net_mode */
    const char *model;
    bool legacy; /* virtio-net: transitional */
    const char *guest_mac;
    bool has_mac;
    uint8_t mac[6];                       /* if it has one */
    const char *guest_ip, *host_ip, *net; /* user, tap: texts that their units read */
    const char *tapif, *script, *downscript;
    uint32_t fd; /* NET_FD_NONE: none */
    bool vhost;
    uint32_t mq; /* queue pairs; 0: 1 */
    const char *path;
    bool listen;
    const char *hub, *pcap;
    struct opt_list hostfwd;
    bool restrict_net, loopback;
    const char *tftp, *bootfile;
};

extern const struct opt net_option_table[];
extern const char *const net_mode_names[NET_MODES];

/* All of them, in the order given: *cards has *n, at most NET_CARDS_MAX, which live as long as the process; none given: a
 * virtio-net card in the user network. NULL or a sentence. */
const char *netopt_parse(const struct opt_list *texts, struct net_options **cards, unsigned *n)
    __attribute__((warn_unused_result));

/* One of them: `-n TEXT`. absent: it says that there is no card. */
const char *netopt_parse_one(const char *text, struct net_options *o, bool *absent)
    __attribute__((warn_unused_result));

/* The address of a card that was given none: locally administered, from the guest's name and the card's index, so that a
 * guest has the same ones each time and two guests on a wire have not. */
void netopt_mac_of(const char *guest, unsigned index, uint8_t mac[6]);

#endif
