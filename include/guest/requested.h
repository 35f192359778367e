/* SPDX-License-Identifier: MIT
 *
 * The devices that the options ask for, besides the platform's own and the network cards: --device, and the words that stand
 * for one (-d FILE is --device virtio-blk,file=FILE; --rng is --device virtio-rng, --console virtio is a virtio-console of
 * its own). In order: a guest's first disk is the first -d. Set-up thread.
 */
#ifndef GUEST_REQUESTED_H
#define GUEST_REQUESTED_H

#include <stdbool.h>
#include <stddef.h>

#define REQUESTED_HVC "console0" /* the id of the console that --console virtio makes */

struct board;
struct drivers;
struct machine_options;

/* False: a sentence in err. */
bool requested_build(const struct machine_options *o, struct board *board, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* The kernel modules that these devices would like. */
void requested_drivers(const struct machine_options *o, struct drivers *d);

#endif
