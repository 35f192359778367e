// SPDX-License-Identifier: MIT
/* The two simplest backends: one that forgets every frame, and one that gives it back. */
#include "net/port.h"

static enum port_result null_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    (void)port, (void)iov, (void)n, (void)meta;
    return PORT_SENT;
}

static const struct port_ops null_ops = {.receive = null_receive};

bool port_null(struct port *port, struct net *net)
{
    bool ok = port_init(port, net, "null", &null_ops);
    port_accept(port, PORT_ACCEPT_ALL);
    return ok;
}

/* The sender is on the stack, so what comes back is put off into its ring; when that is full, it is the sender that
 * is told BUSY, and the ring's being emptied that readies it again. */
static enum port_result loopback_receive(struct port *port, const struct iovec *iov, int n,
                                         const struct port_meta *meta)
{
    return port_send(port, iov, n, meta);
}

static void loopback_ready(struct port *port)
{
    port_ready(port);
}

static const struct port_ops loopback_ops = {.receive = loopback_receive, .ready = loopback_ready};

bool port_loopback(struct port *port, struct net *net)
{
    bool ok = port_init(port, net, "loopback", &loopback_ops);
    port_accept(port, PORT_ACCEPT_ALL);
    return ok;
}
