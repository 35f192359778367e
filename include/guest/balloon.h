/* SPDX-License-Identifier: MIT
 *
 * `vmlet balloon NAME [+MIB | -MIB | MIB]`, lkvm's `-i MIB` and `-d MIB` too: how much memory the host wants from a guest that
 * has a virtio-balloon (--balloon). Without a number it says how much that is, and how much it has. Loop thread.
 */
#ifndef GUEST_BALLOON_H
#define GUEST_BALLOON_H

#include <stdbool.h>
#include <stdio.h>

struct machine;

const char *balloon_verb(struct machine *m, int argc, char **argv, FILE *out); /* a ctl_fn's answer */
/* Lines for `stat`: the balloon, and the guest's own numbers, which are asked for. False: not yet (ctl_later). */
bool balloon_memory(struct machine *m, FILE *out) __attribute__((warn_unused_result));

#endif
