/* SPDX-License-Identifier: MIT
 *
 * The cards of a machine and what they are plugged into. One table of card models, one of backends (guest/network.c); a new
 * one is a line. Cards are net0, net1 … in the order of their -n.
 *
 *   network_new()    from options to open backends: taps are opened, their scripts run (set-up, may take 10 s)
 *   network_build()  the cards themselves, on the board
 *   network_plug()   all cables: after it frames may pass, once the loop runs
 *   network_stop()   down scripts, captures closed, sockets removed
 *
 * All on the loop thread or before it runs.
 */
#ifndef GUEST_NETWORK_H
#define GUEST_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct board;
struct machine_options;
struct net;
struct network;

/* NULL, or why these options cannot be: a model or mode that this build has not, a mode that does not go with a model. */
const char *network_check(const struct machine_options *o) __attribute__((warn_unused_result));

/* The drivers of the cards, for the initramfs. */
struct drivers;
void network_drivers(const struct machine_options *o, struct drivers *drivers);
/* Somebody may answer at a card's other end. */
bool network_has_peers(const struct machine_options *o);

/* The default card is for Linux alone: a bare-metal program would have to know it. NULL: err has a sentence. */
struct network *network_new(const struct machine_options *o, struct net *net, bool linux_guest, char *err,
                            size_t err_size) __attribute__((warn_unused_result));
bool network_build(struct network *nw, struct board *board, char *err, size_t err_size)
    __attribute__((warn_unused_result));
bool network_plug(struct network *nw, char *err, size_t err_size) __attribute__((warn_unused_result));
/* NULL is fine; so is a second time. */
void network_stop(struct network *nw);

/* For struct hold: cards that the host's kernel serves stand still with the guest. */
void network_hold(void *network, bool held);

/* `info NAME net` */
void network_print(struct network *nw, FILE *out);
/* `link NAME net0 up|down`: the cable itself; the card's driver is told. NULL or a sentence. */
const char *network_link(struct network *nw, const char *id, const char *word);
/* `forward NAME add|remove RULE [net0]`. NULL or a sentence. */
const char *network_forward(struct network *nw, bool add, const char *rule, const char *id);

#endif
