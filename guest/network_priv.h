/* SPDX-License-Identifier: MIT
 *
 * What guest/network.c (cards, cables) and guest/backends.c (what they are plugged into) share.
 */
#ifndef GUEST_NETWORK_PRIV_H
#define GUEST_NETWORK_PRIV_H

#include "guest/netopt.h"
#include "guest/network.h"
#include "net/port.h"

struct card;
struct machine_options;
struct device;
struct device_class;

struct model {
    const char *name;
    const struct device_class *class;
    struct port *(*port)(struct device *dev);
    void (*set_link)(struct device *dev, bool up); /* no lock held */
    bool virtio;                                   /* several queues, drivers of old */
};

/* A mode. */
struct backend {
    bool (*open)(struct card *card, char *err,
                 size_t err_size); /* set-up: fills card->back, if it brings a port */
    void (*close)(struct card *card);
    void (*print)(struct card *card, FILE *out); /* NULL: nothing to add */
};
extern const struct backend net_backends[NET_MODES];

struct card {
    struct network *nw;
    const struct net_options *o;
    const struct model *model;
    const struct backend *backend;
    char id[16];
    uint8_t mac[6];
    struct device *dev;
    struct port *port; /* the card's; NULL until it is built */
    struct port *back; /* the backend's; NULL: it has none */
    bool down;         /* the cable is out */
    bool lost;         /* what it was plugged into is gone for good */
    union {            /* the backend's own */
        struct port own;
        struct tap *tap;
        struct stream *stream;
        struct user *user;
    };
    struct vhost *vhost; /* NULL: without; the card's once it is plugged in */
    bool vhosted;
    struct hub *hub;
    struct port *socket; /* where its cable ends: the backend's port or the hub's; NULL: nowhere */
    struct pcap *pcap;
};

/* What the card's backend was is no more: its cable is out, unless a hub is at its end. Loop thread, no lock held. */
void network_lost(struct card *card);

/* ---- guest/vhost_card.c: vhost=1 ---- */
/* NULL, or a sentence: what else is said of the card that does not go with it. */
const char *vhost_card_check(const struct machine_options *o, unsigned index);
bool vhost_card_open(struct card *card, char *err, size_t err_size); /* the tap is open */
bool vhost_card_plug(struct card *card, char *err, size_t err_size);
void vhost_card_close(struct card *card);

struct network {
    struct net *net;
    const char *host_name; /* told to the guest; NULL: it has no name */
    unsigned n, n_hubs;
    bool stopped;
    struct hub *hubs[NET_CARDS_MAX];
    struct card cards[];
};

#endif
