// SPDX-License-Identifier: MIT
/* vhost=1: a virtio card and a tap whose frames the host's kernel moves. Here is what joins the two: neither knows the other. */
#include "guest/network_priv.h"

#include <errno.h>
#include <string.h>

#include "guest/machine.h"
#include "kvm/host/log.h"
#include "net/tap.h"
#include "virtio/net.h"
#include "virtio/vhost.h"

const char *vhost_card_check(const struct machine_options *o, unsigned index)
{
    const struct net_options *card = &o->nets[index];
    const char *id = opts_say("net%u:", index), *with = NULL;
    if (!card->vhost)
        return NULL;
    if (card->model && strcmp(card->model, virtio_net_class.name))
        return opts_say("--network %s: vhost= is for model=virtio-net", card->text);
    if (card->legacy)
        return opts_say("--network %s: legacy does not go with vhost=: the host's kernel serves virtio 1 "
                        "(leave one of them out)",
                        card->text);
    if (card->pcap)
        with = "pcap=";
    else if (card->hub)
        with = "hub=";
    for (size_t i = 0; i < o->faults.n; i++)
        if (!strncmp(o->faults.v[i], id, strlen(id)))
            with = opts_say("--fault %s", o->faults.v[i]);
    return with
               ? opts_say("--network %s: %s does not go with vhost=: the host's kernel moves the frames, and "
                          "vmlet sees none (leave one of them out)",
                          card->text, with)
               : NULL;
}

static void offload(void *tap, uint8_t accepts)
{
    (void)tap_offload(tap, accepts); /* a bit less than the driver takes is nothing that anybody misses */
}

static bool attach(void *tap, unsigned pair, bool attached)
{
    static bool said;
    bool done = tap_queue_attach(tap, pair, attached);
    if (!done && !said && !tap_is_gone(tap))
        warn("tap \"%s\": queue %u: TUNSETQUEUE: %s (the guest has fewer pairs of queues)", tap_ifname(tap),
             pair, strerror(errno));
    said |= !done && !tap_is_gone(tap);
    return done;
}

static bool alive(void *tap)
{
    return tap_look(tap);
}

bool vhost_card_open(struct card *card, char *err, size_t err_size)
{
    if (!card->o->vhost)
        return true;
    if (!tap_has_vnet_header(card->tap)) {
        snprintf(err, err_size, "%s: vhost=: the tap of fd=%u has no vnet header (open it with IFF_VNET_HDR)",
                 card->id, card->o->fd);
        return false;
    }
    struct vhost_options o = {
        .name = card->id,
        .uso = tap_has_uso(card->tap),
        .offload = offload,
        .attach = attach,
        .alive = alive,
        .tap_ctx = card->tap,
    };
    while (o.pairs < VHOST_PAIRS_MAX && tap_fd(card->tap, o.pairs) >= 0) {
        o.tap[o.pairs] = tap_fd(card->tap, o.pairs);
        o.pairs++;
    }
    card->vhost = vhost_new(&o, err, err_size);
    return card->vhost;
}

bool vhost_card_plug(struct card *card, char *err, size_t err_size)
{
    if (!card->vhost)
        return true;
    tap_hand_over(card->tap, true);
    card->vhosted = true;
    if (virtio_net_set_vhost(card->dev, card->vhost))
        return true;
    snprintf(err, err_size, "%s: vhost: the host's kernel refused (leave vhost= out)", card->id);
    return false;
}

void vhost_card_close(struct card *card)
{
    if (card->vhosted)
        (void)!virtio_net_set_vhost(card->dev, NULL);
    else
        vhost_free(card->vhost);
    card->vhosted = false;
    card->vhost = NULL;
}
