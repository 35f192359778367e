/* SPDX-License-Identifier: MIT
 *
 * What shows a guest's devices to whoever writes their drivers, put on a board as the options say: the log of map changes
 * (always), --fault, --trace, --lint. Each is a unit of its own; this one makes them in the order in which they see things:
 * faults first, so that traces show what the guest sees.
 *
 * Set-up and loop thread.
 */
#ifndef GUEST_SEEING_H
#define GUEST_SEEING_H

#include <stddef.h>
#include <stdint.h>

struct board;
struct gate;
struct machine_options;
struct network;
struct seeing;
struct symbols;

/* After the board is whole, before a vCPU runs. symbols: NULL for none. patience: ns that a FIFO's reader is waited for.
 * die()s on options that are wrong. */
struct seeing *seeing_new(struct board *board, struct network *network, const struct machine_options *options,
                          const struct gate *gate, struct symbols *symbols, uint64_t patience);
/* The vCPUs have ended; the loop, which it may run for `ns` at most, too: what is only known now (an interrupt that was never
 * acknowledged), and the trace's last lines. */
void seeing_counts(const struct seeing *seeing, char *out, size_t size); /* guest/fault.h, faults_counts() */
void seeing_end(struct seeing *seeing, uint64_t ns);

#endif
