/* SPDX-License-Identifier: MIT
 *
 * A hub: every frame that comes in at one port goes out at all others. No addresses are learned; who wants a switch has the
 * host's bridges.
 *
 * Backpressure with several receivers: a member that says BUSY keeps back the one frame that it was offered (a copy, here), and
 * from then on whoever sends is told BUSY too, so that nothing is lost and the hub goes at the pace of its slowest member. But
 * one that has taken nothing for HUB_PATIENCE is taken for dead (a guest that is paused, a driver that is gone): frames for
 * it are dropped and counted until it is ready again, and the others go on at full speed.
 *
 * Offloads: members get frames as unfinished as each accepts; net/port.c finishes them for the others.
 *
 * Thread: set-up and the loop, no locks. An idle hub has no timer.
 */
#ifndef NET_HUB_H
#define NET_HUB_H

#include <stdio.h>

#include "kvm/host/ns.h"
#include "net/port.h"

enum {
    HUB_PORTS = 16,
};
#define HUB_PATIENCE SECOND

struct hub;

/* name is copied. NULL: no memory. */
struct hub *hub_new(struct net *net, const char *name);
const char *hub_name(const struct hub *h);

/* A port more, to be connected to whoever joins. NULL: there are HUB_PORTS already, or no memory. */
struct port *hub_port(struct hub *h);

void hub_print(struct hub *h, FILE *out);
void hub_free(struct hub *h); /* with its ports; NULL is fine */

#endif
