/* SPDX-License-Identifier: MIT
 *
 * What became of the memory map: the last MAPLOG_LINES changes of where devices' regions are seen, in words:
 *
 *     BAR0 of edu0 0xfe000000 -> 0xfeb00000
 *     BAR0 of edu0 0xfeb00000 -> off           decoding, or the whole device, was switched off
 *     BAR0 of edu0 0xfeb00000 -> hidden        something lies over all of it
 *
 * A listener on a space like others (mem/view.h): so it tells what the guest sees, not what a register says. A transaction that
 * moves a region makes one line. Only regions that belong to a device are told of. It grows no further than its ring.
 *
 * Threads: maplog_new() at set-up; maplog_print() any thread; tell() runs with the topology lock held.
 */
#ifndef MEM_MAPLOG_H
#define MEM_MAPLOG_H

#include "mem/view.h"

#include <stdio.h>

enum {
    MAPLOG_LINES = 64,
    MAPLOG_TEXT = 192,
};

struct maplog;

/* What stands when it is made is where it begins: no lines. tell: called for each line; may be NULL. die()s without memory. */
struct maplog *maplog_new(struct space *space, void (*tell)(void *ctx, const char *line), void *ctx);
void maplog_free(struct maplog *log);

/* The lines of all logs, the oldest first, behind one that says how many there were. Takes the topology lock. */
void maplog_print(FILE *out);

#endif
