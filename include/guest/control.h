/* SPDX-License-Identifier: MIT
 *
 * What a running guest answers on its control socket (kvm/host/ctl.h): `help` lists it. One table in
 * guest/control.c. All of it on the loop thread.
 */
#ifndef GUEST_CONTROL_H
#define GUEST_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct control;
struct ctl;
struct loop;
struct machine;

/* Opens the socket under that name (NULL: guest-PID). NULL: err has a sentence. */
struct control *control_new(struct machine *m, struct loop *loop, const char *name, char *err,
                            size_t err_size) __attribute__((warn_unused_result));
void control_free(struct control *c);

/* --- what the machine lends to it (guest/machine.c) */
struct slots;
struct board;
struct hold;
struct slots *machine_slots(struct machine *m);
struct network;
struct network *machine_network(struct machine *m);
struct board *machine_board(struct machine *m);
struct hold *machine_hold(struct machine *m);
/* Runs one line of the control socket's language. NULL, or a sentence. */
const char *machine_command(struct machine *m, char *line, FILE *out);
const char *control_command(struct control *c, char *line, FILE *out);
/* Ends the run at once; and asks the guest to end, which has ten seconds for it: at once, too, where nobody listens, the guest is
 * held, or it was asked before. */
void machine_stop(struct machine *m, const char *detail);
void machine_ask_to_stop(struct machine *m);

#endif
