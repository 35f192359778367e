// SPDX-License-Identifier: MIT
/* A hub: see include/net/hub.h. */
#include "net/hub.h"

#include <stdlib.h>
#include <string.h>

#include "net/offload.h"

struct member {
    struct port port; /* first */
    struct hub *hub;
    char name[48];
    bool blocked;   /* said BUSY; frame[] waits for it */
    bool waits;     /* was told BUSY as a sender */
    uint64_t since; /* blocked since */
    uint64_t lost;  /* frames dropped for it */
    struct port_meta meta;
    size_t len;
    uint8_t frame[PORT_FRAME_MAX];
};

struct hub {
    struct net *net;
    char name[33];
    unsigned n;
    struct member *members[HUB_PORTS];
    struct loop_timer patience;
};

static bool is_dead(const struct member *m, uint64_t now)
{
    return m->blocked && now - m->since >= HUB_PATIENCE;
}

static void release_senders(struct hub *h)
{
    for (unsigned i = 0; i < h->n; i++) {
        struct member *m = h->members[i];
        if (m->waits) {
            m->waits = false;
            port_ready(&m->port);
        }
    }
}

static void on_patience(void *arg)
{
    release_senders(arg);
}

/* Somebody alive has no room: the sender has to wait, until that one is ready or taken for dead. */
static bool must_wait(struct hub *h, const struct member *from, uint64_t now)
{
    uint64_t earliest = LOOP_NEVER;
    for (unsigned i = 0; i < h->n; i++) {
        const struct member *m = h->members[i];
        if (m != from && m->blocked && !is_dead(m, now) && m->since + HUB_PATIENCE < earliest)
            earliest = m->since + HUB_PATIENCE;
    }
    if (earliest == LOOP_NEVER)
        return false;
    if (!loop_timer_armed(&h->patience))
        loop_timer_set(&h->patience, earliest);
    return true;
}

static void offer(struct member *m, const struct iovec *iov, int n, const struct port_meta *meta,
                  uint64_t now)
{
    if (m->blocked) {
        m->lost++;
        return;
    }
    if (port_send(&m->port, iov, n, meta) == PORT_SENT)
        return;
    m->blocked = true;
    m->since = now;
    m->meta = *meta;
    m->len = 0;
    for (int i = 0; i < n; m->len += iov[i++].iov_len)
        memcpy(m->frame + m->len, iov[i].iov_base, iov[i].iov_len);
}

static enum port_result hub_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    struct member *from = (struct member *)port;
    struct hub *h = from->hub;
    uint64_t now = loop_now(h->net->loop);
    if (must_wait(h, from, now)) {
        from->waits = true;
        return PORT_BUSY;
    }
    for (unsigned i = 0; i < h->n; i++)
        if (h->members[i] != from && h->members[i]->port.peer)
            offer(h->members[i], iov, n, meta, now);
    return PORT_SENT;
}

static void hub_ready(struct port *port)
{
    struct member *m = (struct member *)port;
    if (!m->blocked)
        return;
    struct iovec iov = {m->frame, m->len};
    if (port_send(&m->port, &iov, 1, &m->meta) == PORT_BUSY)
        return; /* `since` stays: who says that it is ready and takes nothing is as dead as who is silent */
    m->blocked = false;
    release_senders(m->hub);
}

static const struct port_ops hub_ops = {.receive = hub_receive, .ready = hub_ready};

struct hub *hub_new(struct net *net, const char *name)
{
    struct hub *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->net = net;
    snprintf(h->name, sizeof h->name, "%s", name);
    loop_timer_init(net->loop, &h->patience, on_patience, h);
    return h;
}

const char *hub_name(const struct hub *h)
{
    return h->name;
}

struct port *hub_port(struct hub *h)
{
    struct member *m = h->n < HUB_PORTS ? calloc(1, sizeof *m) : NULL;
    if (!m)
        return NULL;
    m->hub = h;
    snprintf(m->name, sizeof m->name, "%s.%u", h->name, h->n);
    if (!port_init(&m->port, h->net, m->name, &hub_ops)) {
        free(m);
        return NULL;
    }
    port_accept(&m->port, PORT_ACCEPT_ALL);
    h->members[h->n++] = m;
    return &m->port;
}

void hub_print(struct hub *h, FILE *out)
{
    fprintf(out, "hub %s:\n", h->name);
    for (unsigned i = 0; i < h->n; i++) {
        const struct member *m = h->members[i];
        fprintf(out, "  %s to %s: %llu frames, %llu bytes, %llu lost while it took none%s\n", m->name,
                m->port.peer ? m->port.peer->name : "nobody", (unsigned long long)m->port.frames,
                (unsigned long long)m->port.bytes, (unsigned long long)m->lost,
                !m->blocked                          ? ""
                : is_dead(m, loop_now(h->net->loop)) ? ", takes none"
                                                     : ", is waited for");
    }
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    loop_timer_cancel(&h->patience);
    for (unsigned i = 0; i < h->n; i++)
        port_free(&h->members[i]->port);
    for (unsigned i = 0; i < h->n; i++)
        free(h->members[i]);
    free(h);
}
