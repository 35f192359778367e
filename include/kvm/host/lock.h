/* SPDX-License-Identifier: MIT
 *
 * Mutexes that know their place. Every lock has a rank, and a thread takes locks in rising rank only, one
 * lock of a rank at a time; whoever keeps to that cannot deadlock:
 *
 *   topology -> coalesced ring -> device (one at a time) -> interrupts -> trace -> queues -> loop -> log
 *
 * Debug builds (DEBUG=1, any SAN=) keep a list of what each thread holds, and abort() with the two names at
 * the first lock that is taken in the wrong order, taken twice, or dropped by a thread that does not hold it.
 * Release builds are bare pthread mutexes. Locks live as long as their owner; there is nothing to fail and
 * nothing to free.
 */
#ifndef KVM_HOST_LOCK_H
#define KVM_HOST_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "kvm/host/ns.h"

enum lock_rank {
    LOCK_TOPOLOGY = 1, /* the memory and I/O map, the config-address latch */
    LOCK_COALESCED,    /* the coalesced-I/O ring */
    LOCK_DEVICE,       /* one device's registers */
    LOCK_IRQ,          /* interrupt lines and routes */
    LOCK_TRACE,        /* a trace's line on its way into the streams */
    LOCK_QUEUE,        /* streams, the work pool: leaves but for posts to the loop */
    LOCK_LOOP,         /* a loop's timers and tasks */
    LOCK_LOG,
};

struct lock {
    pthread_mutex_t m;
    uint8_t rank;
    const char *name; /* for the debug message; must outlive the lock */
};

#define LOCK_INITIALIZER(rank_, name_)                                                                       \
    {                                                                                                        \
        PTHREAD_MUTEX_INITIALIZER, (rank_), (name_)                                                          \
    }

static inline void lock_init(struct lock *lock, enum lock_rank rank, const char *name)
{
    *lock = (struct lock)LOCK_INITIALIZER((uint8_t)rank, name);
}

/* A condition whose time-outs are CLOCK_MONOTONIC. */
static inline void lock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

#ifdef DEBUG
void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);
bool lock_held(const struct lock *lock);
void lock_wait(struct lock *lock, pthread_cond_t *cond);
void lock_wait_until(struct lock *lock, pthread_cond_t *cond, uint64_t monotonic_ns);
void lock_assert_below(enum lock_rank rank, const char *what);
#else
static inline void lock_take(struct lock *lock)
{
    pthread_mutex_lock(&lock->m);
}

static inline void lock_drop(struct lock *lock)
{
    pthread_mutex_unlock(&lock->m);
}

/* Whether this thread holds the lock. Only debug builds know; release builds say yes, so use it in assert()
 * only. */
static inline bool lock_held(const struct lock *lock)
{
    (void)lock;
    return true;
}

/* pthread_cond_wait. No other lock may be held. */
static inline void lock_wait(struct lock *lock, pthread_cond_t *cond)
{
    pthread_cond_wait(cond, &lock->m);
}

/* The same with an end, in ns of CLOCK_MONOTONIC; cond must be made by lock_cond_init(). */
static inline void lock_wait_until(struct lock *lock, pthread_cond_t *cond, uint64_t monotonic_ns)
{
    struct timespec ts = ns_timespec(monotonic_ns);
    pthread_cond_timedwait(cond, &lock->m, &ts);
}

/* Debug builds: abort()s when this thread holds a lock of this rank or a higher one. For what must not be
 * called with such a lock held although it takes none itself: `lock_assert_below(LOCK_DEVICE,
 * "transaction_begin")`. */
static inline void lock_assert_below(enum lock_rank rank, const char *what)
{
    (void)rank;
    (void)what;
}
#endif

#endif
