// SPDX-License-Identifier: MIT
/* Cards and cables: see include/guest/network.h. What a card model is, and what a backend is, are the two tables; the rest
 * goes through them. */
#include "guest/network.h"

#include "devices/e1000.h"
#include "guest/drivers.h"
#include "guest/machine.h"
#include "guest/netopt.h"
#include "guest/network_priv.h"
#include "kvm/host/ctl.h"
#include "kvm/host/lock.h"
#include "mem/device.h"
#include "net/hub.h"
#include "net/pcap.h"
#include "net/user.h"
#include "virtio/net.h"
#include "virtio/vhost.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct model models[] = {
    {"virtio-net",     &virtio_net_class, virtio_net_port, virtio_net_set_link, true},
    {"e1000", &e1000_class, e1000_port, e1000_set_link, false},
    {0           },
};

/* ---- set-up */

static const struct model *model_of(const struct net_options *o)
{
    for (const struct model *m = models; m->name; m++)
        if (!o->model || !strcmp(m->name, o->model))
            return m;
    return NULL;
}

static const char *check(const struct net_options *o)
{
    const char *known = NULL;
    const struct model *model = model_of(o);
    if (model && o->mq > 1 && !model->virtio)
        return opts_say("--network %s: mq=: %s has one queue (use model=virtio-net)", o->text, model->name);
    if (model && o->legacy && !model->virtio)
        return opts_say("--network %s: legacy: %s is no virtio card (use model=virtio-net)", o->text,
                        model->name);
    if (model)
        return NULL;
    for (model = models; model->name; model++)
        known = known ? opts_say("%s, %s", known, model->name) : model->name;
    return opts_say("--network %s: model=%s is no card of this build (it has %s)", o->text, o->model, known);
}

const char *network_check(const struct machine_options *o)
{
    for (unsigned i = 0; i < o->n_nets; i++) {
        const struct net_options *card = &o->nets[i];
        const char *error = check(card);
        if (error || (error = vhost_card_check(o, i)))
            return error;
        for (unsigned k = 0; k < i; k++)
            if (card->pcap && o->nets[k].pcap && !strcmp(card->pcap, o->nets[k].pcap))
                return opts_say("--network %s: pcap=%s is another card's already", card->text, card->pcap);
    }
    return NULL;
}

void network_drivers(const struct machine_options *o, struct drivers *drivers)
{
    for (unsigned i = 0; i < o->n_nets; i++)
        drivers_add(drivers, model_of(&o->nets[i])->name);
}

bool network_has_peers(const struct machine_options *o)
{
    for (unsigned i = 0; i < o->n_nets; i++)
        if (o->nets[i].hub || (o->nets[i].mode != NET_NONE && o->nets[i].mode != NET_LOOPBACK))
            return true;
    return false;
}

static struct hub *hub_named(struct network *nw, const char *name)
{
    for (unsigned i = 0; i < nw->n_hubs; i++)
        if (!strcmp(hub_name(nw->hubs[i]), name))
            return nw->hubs[i];
    struct hub *h = hub_new(nw->net, name); /* there are no more names than cards */
    if (h)
        nw->hubs[nw->n_hubs++] = h;
    return h;
}

/* Where the card's cable ends; with a hub, the backend has a cable of its own to it. */
static bool join_hub(struct card *card, char *err, size_t err_size)
{
    card->socket = card->back;
    if (!card->o->hub)
        return true;
    struct port *beside = NULL;
    card->hub = hub_named(card->nw, card->o->hub);
    card->socket = card->hub ? hub_port(card->hub) : NULL;
    if (card->socket && card->back && (beside = hub_port(card->hub)))
        port_connect(card->back, beside);
    if (card->socket && (!card->back || beside))
        return true;
    snprintf(err, err_size, "%s: hub %s: has no port left, or there is no memory for one", card->id,
             card->o->hub);
    return false;
}

static bool card_init(struct network *nw, unsigned i, const struct machine_options *o, char *err,
                      size_t err_size)
{
    struct card *card = &nw->cards[i];
    char own[32];
    *card = (struct card){.nw = nw,
                          .o = &o->nets[i],
                          .model = model_of(&o->nets[i]),
                          .backend = &net_backends[o->nets[i].mode]};
    snprintf(card->id, sizeof card->id, "net%u", i);
    snprintf(own, sizeof own, "guest-%ld", (long)getpid());
    if (card->o->has_mac)
        memcpy(card->mac, card->o->mac, sizeof card->mac);
    else
        netopt_mac_of(o->name ? o->name : own, i, card->mac);
    for (unsigned k = 0; k < i; k++)
        if (!memcmp(nw->cards[k].mac, card->mac, sizeof card->mac)) {
            snprintf(err, err_size, "%s: has the address of %s (give each a guest_mac= of its own)", card->id,
                     nw->cards[k].id);
            return false;
        }
    if (!card->backend->open(card, err, err_size))
        return false;
    if (vhost_card_open(card, err, err_size) && join_hub(card, err, err_size) &&
        (!card->o->pcap || (card->pcap = pcap_new(nw->net->loop, card->id, card->o->pcap, err, err_size))))
        return true;
    vhost_card_close(card);
    card->backend->close(card);
    return false;
}

static struct network *the_network; /* for exit() in the middle of set-up: a tap's down script still runs */

static void stop_at_exit(void)
{
    network_stop(the_network);
}

struct network *network_new(const struct machine_options *o, struct net *net, bool linux_guest, char *err,
                            size_t err_size)
{
    unsigned cards = o->default_net && !linux_guest ? 0 : o->n_nets;
    struct network *nw = calloc(1, sizeof *nw + cards * sizeof *nw->cards);
    if (!nw) {
        snprintf(err, err_size, "network: out of memory");
        return NULL;
    }
    nw->net = net;
    nw->host_name = o->name;
    if (!the_network)
        atexit(stop_at_exit);
    the_network = nw;
    for (; nw->n < cards; nw->n++)
        if (!card_init(nw, nw->n, o, err, err_size)) {
            network_stop(nw);
            return NULL;
        }
    return nw;
}

static void enter(void *dev)
{
    device_enter(dev);
}

static void leave(void *dev)
{
    lock_drop(&((struct device *)dev)->lock);
}

bool network_build(struct network *nw, struct board *board, char *err, size_t err_size)
{
    for (unsigned i = 0; i < nw->n; i++) {
        struct card *card = &nw->cards[i];
        const uint8_t *m = card->mac;
        char options[64];
        int n = snprintf(options, sizeof options, "mac=%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
                         m[4], m[5]);
        if (card->o->mq > 1)
            n += snprintf(options + n, sizeof options - (size_t)n, ",queues=%u", card->o->mq);
        if (card->o->legacy)
            snprintf(options + n, sizeof options - (size_t)n, ",legacy");
        card->dev = device_new(board, card->model->class, card->id, options, err, err_size);
        if (!card->dev)
            return false;
    }
    return true;
}

bool network_plug(struct network *nw, char *err, size_t err_size)
{
    for (unsigned i = 0; i < nw->n; i++) {
        struct card *card = &nw->cards[i];
        if (!vhost_card_plug(card, err, err_size))
            return false;
        card->port = card->model->port(card->dev);
        port_guard(card->port, enter, leave, card->dev);
        if (card->socket)
            port_connect(card->port, card->socket);
        if (card->pcap)
            pcap_watch(card->pcap, card->port);
    }
    return true;
}

void network_stop(struct network *nw)
{
    if (!nw || nw->stopped)
        return;
    nw->stopped = true;
    for (unsigned i = 0; i < nw->n; i++) {
        struct card *card = &nw->cards[i];
        if (card->port)
            port_disconnect(card->port);
        pcap_free(card->pcap);
        vhost_card_close(card);
        card->backend->close(card);
    }
    for (unsigned i = 0; i < nw->n_hubs; i++)
        hub_free(nw->hubs[i]);
}

/* ---- while it runs */

static void print_port(const char *what, const struct port *port, FILE *out)
{
    fprintf(out, "  %-9s %llu frames, %llu bytes, %llu times told to wait\n", what,
            (unsigned long long)port->frames, (unsigned long long)port->bytes,
            (unsigned long long)port->busy);
    for (unsigned i = PORT_DROP_NONE + 1; i < PORT_DROPS; i++)
        if (port->drops[i])
            fprintf(out, "    dropped %llu: %s\n", (unsigned long long)port->drops[i],
                    port_drop_name((enum port_drop)i));
}

static void print_card(struct card *card, FILE *out)
{
    const uint8_t *m = card->mac;
    fprintf(out, "%s: %s, %02x:%02x:%02x:%02x:%02x:%02x, mode=%s%s\n", card->id, card->model->name, m[0],
            m[1], m[2], m[3], m[4], m[5], net_mode_names[card->o->mode], card->down ? ", link down" : "");
    if (card->vhosted)
        vhost_print(card->vhost, out);
    else
        print_port("sent", card->port, out);
    if (card->socket && !card->vhosted)
        print_port("received", card->socket, out);
    if (card->hub)
        fprintf(out, "  hub %s\n", card->o->hub);
    if (card->backend->print)
        card->backend->print(card, out);
    if (card->pcap)
        pcap_print(card->pcap, out);
}

void network_print(struct network *nw, FILE *out)
{
    for (unsigned i = 0; i < nw->n; i++)
        print_card(&nw->cards[i], out);
    for (unsigned i = 0; i < nw->n_hubs; i++)
        hub_print(nw->hubs[i], out);
}

void network_hold(void *network, bool held)
{
    struct network *nw = network;
    for (unsigned i = 0; i < nw->n; i++)
        if (nw->cards[i].vhosted)
            virtio_net_hold(nw->cards[i].dev, held);
}

static struct card *find(struct network *nw, const char *id)
{
    for (unsigned i = 0; i < nw->n; i++)
        if (!strcmp(nw->cards[i].id, id))
            return &nw->cards[i];
    return NULL;
}

static void set_link(struct card *card, bool up)
{
    if (card->down == !up)
        return;
    card->down = !up;
    if (up && card->socket)
        port_connect(card->port, card->socket);
    card->model->set_link(card->dev, up);
    if (!up)
        port_disconnect(card->port);
}

void network_lost(struct card *card)
{
    if (!card->port || card->nw->stopped || card->hub)
        return;
    card->lost = true;
    set_link(card, false);
}

const char *network_link(struct network *nw, const char *id, const char *word)
{
    struct card *card = find(nw, id);
    bool up = !strcmp(word, "up");
    if (!card)
        return ctl_say("%s: there is no such card (`info NAME net` names them)", id);
    if (!up && strcmp(word, "down"))
        return ctl_say("%s: a link is up or down", word);
    if (up && card->lost)
        return ctl_say("%s: what it was plugged into is gone (start the guest again)", id);
    set_link(card, up);
    return NULL;
}

const char *network_forward(struct network *nw, bool add, const char *rule, const char *id)
{
    struct card *card = id ? find(nw, id) : NULL;
    unsigned users = 0;
    char err[256];
    for (unsigned i = 0; i < nw->n; i++)
        if (nw->cards[i].o->mode == NET_USER) {
            users++;
            card = id ? card : &nw->cards[i];
        }
    if (id && !card)
        return ctl_say("%s: there is no such card (`info NAME net` names them)", id);
    if (id ? card->o->mode != NET_USER : !users)
        return ctl_say("%s has not mode=user, which alone knows forwards", id ? id : "this guest's network");
    if (!id && users > 1)
        return "which card? (forward add|remove RULE CARD)";
    if (add ? user_forward_add(card->user, rule, err, sizeof err)
            : user_forward_remove(card->user, rule, err, sizeof err))
        return NULL;
    return ctl_say("%s", err);
}
