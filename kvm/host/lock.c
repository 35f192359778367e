// SPDX-License-Identifier: MIT
/* The debug side of include/kvm/host/lock.h: a short stack of held locks per thread, asked at every step.
 * Ranks are taken in strictly rising order, so the top of the stack alone decides; locks may be dropped in
 * any order. */
#include "kvm/host/lock.h"
#include "kvm/host/ns.h"

#ifdef DEBUG

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HELD_MAX = LOCK_LOG
}; /* one of each rank */

static _Thread_local const struct lock *held[HELD_MAX];
static _Thread_local unsigned n_held;

/* Not through the log: its lock may be the one in question. */
static _Noreturn void wrong(const char *what, const char *name, const char *other)
{
    char line[256];
    int len = snprintf(line, sizeof line, "vmlet: lock order: %s \"%s\"%s%s%s\n", what, name,
                       other ? " with \"" : "", other ? other : "", other ? "\" held" : "");
    if (write(STDERR_FILENO, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1) < 0) {
        /* abort() says it too */
    }
    abort();
}

static void note_taken(const struct lock *lock)
{
    held[n_held++] = lock;
}

static void check_take(const struct lock *lock)
{
    if (!lock->rank || lock->rank > LOCK_LOG)
        wrong("use of a lock that was never initialised:", lock->name ? lock->name : "?", NULL);
    for (unsigned i = 0; i < n_held; i++)
        if (held[i]->rank >= lock->rank)
            wrong(held[i] == lock ? "second take of" : "take of", lock->name, held[i]->name);
}

static void note_dropped(const struct lock *lock)
{
    for (unsigned i = n_held; i-- > 0;)
        if (held[i] == lock) {
            memmove(&held[i], &held[i + 1], (n_held - i - 1) * sizeof held[0]);
            n_held--;
            return;
        }
    wrong("drop by a thread that does not hold", lock->name, NULL);
}

void lock_take(struct lock *lock)
{
    check_take(lock);
    pthread_mutex_lock(&lock->m);
    note_taken(lock);
}

void lock_drop(struct lock *lock)
{
    note_dropped(lock);
    pthread_mutex_unlock(&lock->m);
}

bool lock_held(const struct lock *lock)
{
    for (unsigned i = 0; i < n_held; i++)
        if (held[i] == lock)
            return true;
    return false;
}

void lock_wait(struct lock *lock, pthread_cond_t *cond)
{
    /* Whoever sleeps with another lock held stops all who want that one. */
    if (n_held != 1 || held[0] != lock)
        wrong("wait under more than, or without", lock->name, NULL);
    pthread_cond_wait(cond, &lock->m);
}

void lock_wait_until(struct lock *lock, pthread_cond_t *cond, uint64_t monotonic_ns)
{
    struct timespec ts = ns_timespec(monotonic_ns);
    if (n_held != 1 || held[0] != lock)
        wrong("wait under more than, or without", lock->name, NULL);
    pthread_cond_timedwait(cond, &lock->m, &ts);
}

void lock_assert_below(enum lock_rank rank, const char *what)
{
    for (unsigned i = 0; i < n_held; i++)
        if (held[i]->rank >= rank)
            wrong("call of", what, held[i]->name);
}

#endif
