/* SPDX-License-Identifier: MIT
 *
 * Epochs: how views are read without locks and freed without waiting. A reader
 *
 *     epoch_enter(); view = atomic_load(&space->view); … copy what is needed … ; epoch_leave();
 *
 * may use what it loaded in between, and nothing of it afterwards. Sections are short, never block and do not
 * nest: a thread that sleeps in KVM_RUN or on a lock is outside, and holds nobody up.
 *
 * A writer publishes the new object, then gives the old one to epoch_retire(). It is freed at once or at a
 * later call, as soon as no thread can still see it.
 *
 * Theory. A global counter, and a word per thread: 0 outside, else the counter's value on entry. retire()
 * raises the counter to E after the new object is published. A reader whose word is >= E loaded the counter
 * after that, so sees the new object; one whose word is 0 at the scan either left, or its seq_cst store of
 * the word comes after our seq_cst scan, and then its load of the pointer, too, comes after our seq_cst
 * publication (Dekker's pattern). Only 0 < word < E delays the freeing.
 *
 * Threads register at their first epoch_enter() and are forgotten at their end.
 */
#ifndef MEM_EPOCH_H
#define MEM_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct epoch_thread {
    _Atomic uint64_t word;
    bool registered;
    struct epoch_thread *prev, *next;
};
extern _Thread_local struct epoch_thread epoch_self;
extern _Atomic uint64_t epoch_now;

void epoch_register(void);

static inline void epoch_enter(void)
{
    if (__builtin_expect(!epoch_self.registered, 0))
        epoch_register();
    uint64_t now = atomic_load_explicit(&epoch_now, memory_order_acquire);
    /* seq_cst: pairs with the scan in epoch.c; the caller's load of the pointer must be seq_cst as well,
     * which on x86 is a plain load. */
    atomic_store_explicit(&epoch_self.word, now, memory_order_seq_cst);
}

static inline void epoch_leave(void)
{
    atomic_store_explicit(&epoch_self.word, 0, memory_order_release);
}

/* Embedded in what is to be freed. */
struct epoch_item {
    struct epoch_item *next;
    uint64_t epoch;
    void (*free)(struct epoch_item *);
};

enum {
    EPOCH_DEFERRED_MAX = 8, /* more than these and the writer waits for the readers, some microseconds */
};

/* Any thread that is outside; writers may race. free is called here or in a later call, by any writer. */
void epoch_retire(struct epoch_item *item, void (*free)(struct epoch_item *));
/* Waits until every section that was open at the call is left. */
void epoch_wait(void);
/* For tests: how many items still wait, and how many threads are known. */
unsigned epoch_deferred(void);
unsigned epoch_threads(void);

#endif
