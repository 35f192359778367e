/* SPDX-License-Identifier: MIT
 *
 * The map in words, in the form that QEMU's monitor prints for `info mtree` and `info mtree -f`:
 *
 *     address-space: memory
 *       0000000000000000-ffffffffffffffff (prio 0, i/o): system
 *         0000000000000000-00000000bfffffff (prio 0, ram): alias ram-below-4g @memory
 * 0000000000000000-00000000bfffffff
 *
 *     FlatView #0
 *      AS "memory", root: system
 *      Root memory region: system
 *       0000000000000000-00000000000bffff (prio 0, ram): memory KVM slot 0
 *       00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
 *
 * The tree ends with the log of map changes (mem/maplog.h), where there is one.
 *
 * Take the topology lock; out should be memory, not a pipe.
 */
#ifndef MEM_MTREE_H
#define MEM_MTREE_H

#include "mem/view.h"

void mtree_print(FILE *out);
/* note: called at the end of each RAM or ROM range of a rendered space, to add what backs it (slots_note);
 * may be NULL. */
void mtree_print_flat(FILE *out, void (*note)(void *ctx, FILE *out, const struct range *r), void *ctx);

#endif
