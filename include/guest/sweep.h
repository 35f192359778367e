/* SPDX-License-Identifier: MIT
 *
 * --probe-sweep CLASS: what a driver does when its device fails, at every place where it can.
 *
 * A first boot, without a fault, counts how many register reads, DMA transfers and interrupts the device has. Then the same boot once
 * for each of them (guest/fault.h):
 *
 *     CLASS:read:drop@K   the K-th read gives all ones        CLASS:dma:fail@K   the K-th transfer is refused
 *     CLASS:irq:drop@K    the K-th interrupt gets lost
 *
 * More than --sweep-max reads: CLASS:look:drop@K, so that what polls is one place and not a thousand.
 *
 * A command that fails by it is right: its driver has noticed. Found is what no fault of a device's may lead to: the kernel panics,
 * warns (--fail-on, SWEEP_GATE where the options name none), dies without a word, or hangs (--timeout; where the options have none,
 * SWEEP_SLOWER times as long as the first boot, at least SWEEP_LEAST). A command killed by a signal is none of these.
 *
 * With one vCPU (which the options may change) the same boot has the same events, but for what polls: a K that was not reached is
 * counted and told. Still more than --sweep-max of a kind: as many, evenly spread, the first and the last among them.
 *
 * Status: 0 nothing found, 1 something, 125 the first boot failed by itself, or a file of ours could not be written.
 *
 * Main thread; once a process.
 */
#ifndef GUEST_SWEEP_H
#define GUEST_SWEEP_H

#include <stdint.h>
#include "kvm/host/ns.h"

#define SWEEP_GATE   "warn,bug,oops,kasan,ubsan,kcsan,lockdep,hung,rcu"
#define SWEEP_SLOWER 10
#define SWEEP_LEAST  (10 * SECOND)          /* ns */
#define SWEEP_FIRST  UINT64_C(300000000000) /* --timeout of the first boot */
#define SWEEP_MAX    100

struct machine_options;

int sweep_run(const struct machine_options *o, int argc, char **argv);

/* The i-th of at most `max` numbers from 1 to count, evenly spread: *n of them there are. For tests. */
uint64_t sweep_pick(uint64_t count, uint32_t max, uint64_t i, uint64_t *n);

#endif
