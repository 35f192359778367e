// SPDX-License-Identifier: MIT
/* The backends that a card can be plugged into: one line of the table each, and a few lines that turn the words of -n into
 * what the unit in net/ takes. */
#include "guest/network_priv.h"

#include "net/stream.h"
#include "net/tap.h"
#include "net/user.h"

static bool none_open(struct card *card, char *err, size_t err_size)
{
    (void)card, (void)err, (void)err_size;
    return true;
}

static void none_close(struct card *card)
{
    (void)card;
}

static bool loopback_open(struct card *card, char *err, size_t err_size)
{
    if (!port_loopback(&card->own, card->nw->net)) {
        snprintf(err, err_size, "%s: out of memory", card->id);
        return false;
    }
    card->back = &card->own;
    return true;
}

static void loopback_close(struct card *card)
{
    port_free(&card->own);
}

/* Each card of a guest in a network of its own, IPv4's where nothing is said, IPv6's in any case: so it can tell them apart. */
static unsigned user_index(const struct card *card)
{
    unsigned before = 0;
    for (const struct card *c = card->nw->cards; c < card; c++)
        before += c->o->mode == NET_USER;
    return before;
}

static const char *user_net(const struct card *card)
{
    const struct net_options *o = card->o;
    unsigned before = user_index(card);
    return o->net || o->guest_ip || o->host_ip || !before ? o->net : opts_say("10.0.%u.0/24", 2 + before);
}

static bool user_open(struct card *card, char *err, size_t err_size)
{
    const struct net_options *o = card->o;
    struct user_options options = {
        .name = card->id,
        .net = user_net(card),
        .subnet6 = (uint16_t)user_index(card),
        .guest_ip = o->guest_ip,
        .host_ip = o->host_ip,
        .host_name = card->nw->host_name,
        .restricted = o->restrict_net,
        .no_loopback = !o->loopback,
        .tftp = o->tftp,
        .bootfile = o->bootfile,
        .hostfwd = o->hostfwd.v,
        .n_hostfwd = o->hostfwd.n,
    };
    card->user = user_new(card->nw->net, card->nw->net->loop, &options, err, err_size);
    card->back = card->user ? user_port(card->user) : NULL;
    return card->user;
}

static void user_close(struct card *card)
{
    user_free(card->user);
}

static void user_show(struct card *card, FILE *out)
{
    user_print(card->user, out);
}

/* An interface that is made for this guest gets lkvm's address, if the user says none. */
#define TAP_ADDRESS "192.168.33.1/24"

static void tap_gone(void *card)
{
    network_lost(card);
}

static bool tap_open(struct card *card, char *err, size_t err_size)
{
    const struct net_options *o = card->o;
    bool given = o->fd != NET_FD_NONE;
    struct tap_options options = {
        .name = card->id,
        .ifname = o->tapif,
        .fd = given ? (int)o->fd : -1,
        .script = o->script,
        .downscript = o->downscript,
        .address = o->host_ip                       ? o->host_ip
                   : given || o->tapif || o->script ? NULL
                                                    : TAP_ADDRESS,
        .queues = o->mq,
        .gone = tap_gone,
        .gone_ctx = card,
    };
    card->tap = tap_new(card->nw->net, &options, err, err_size);
    card->back = card->tap ? tap_port(card->tap) : NULL;
    return card->tap;
}

static void tap_close(struct card *card)
{
    tap_free(card->tap);
}

static void tap_show(struct card *card, FILE *out)
{
    tap_print(card->tap, out);
}

static bool socket_open(struct card *card, char *err, size_t err_size)
{
    const struct net_options *o = card->o;
    struct stream_options options = {
        .name = card->id, .path = o->path, .listen = o->listen, .fd = (int)o->fd};
    card->stream = stream_new(card->nw->net, &options, err, err_size);
    card->back = card->stream ? stream_port(card->stream) : NULL;
    return card->stream;
}

static void socket_close(struct card *card)
{
    stream_free(card->stream);
}

static void socket_show(struct card *card, FILE *out)
{
    stream_print(card->stream, out);
}

const struct backend net_backends[NET_MODES] = {
    [NET_NONE] = {none_open,     none_close,     NULL       },
    [NET_LOOPBACK] = {loopback_open, loopback_close, NULL       },
    [NET_USER] = {user_open,     user_close,     user_show  },
    [NET_TAP] = {tap_open,      tap_close,      tap_show   },
    [NET_STREAM] = {socket_open,   socket_close,   socket_show},
    [NET_SOCKET] = {socket_open,   socket_close,   socket_show},
};
