/* SPDX-License-Identifier: MIT
 *
 * The loop's timers, earliest first: an intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986). Putting needs
 * constant time, taking log n amortised; neither needs memory, so setting a timer cannot fail. The caller has the lock. */
#ifndef TIMER_HEAP_H
#define TIMER_HEAP_H

#include "kvm/host/loop.h"

/* t is in no heap; its deadline is set and does not change while it is in this one. */
void timer_heap_put(struct loop_timer **root, struct loop_timer *t);

/* t is in this heap. */
void timer_heap_take(struct loop_timer **root, struct loop_timer *t);

#endif
