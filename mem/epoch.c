// SPDX-License-Identifier: MIT
/* Epochs: see include/mem/epoch.h for the theory. One mutex guards the list of threads and the list of what waits to be
 * freed; readers touch it at their first and last moment only. */
#include "mem/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>

_Thread_local struct epoch_thread epoch_self;
_Atomic uint64_t epoch_now = 1;

/* Innermost: nothing is called with it held. Not a struct lock, because readers register under any lock. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct epoch_thread *threads;
static struct epoch_item *waiting; /* newest first */
static unsigned n_waiting;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void forget(void *arg)
{
    struct epoch_thread *t = arg;
    pthread_mutex_lock(&mutex);
    if (t->prev)
        t->prev->next = t->next;
    else
        threads = t->next;
    if (t->next)
        t->next->prev = t->prev;
    pthread_mutex_unlock(&mutex);
    t->registered = false; /* another destructor may still read: then it registers again */
}

static void make_key(void)
{
    pthread_key_create(&key, forget);
}

void epoch_register(void)
{
    struct epoch_thread *t = &epoch_self;
    pthread_once(&once, make_key);
    pthread_setspecific(key, t);
    pthread_mutex_lock(&mutex);
    t->prev = NULL;
    t->next = threads;
    if (threads)
        threads->prev = t;
    threads = t;
    pthread_mutex_unlock(&mutex);
    t->registered = true;
}

/* The oldest epoch that a reader is in; UINT64_MAX when all are outside. Mutex held. */
static uint64_t oldest(void)
{
    uint64_t min = UINT64_MAX;
    for (struct epoch_thread *t = threads; t; t = t->next) {
        uint64_t word = atomic_load_explicit(&t->word, memory_order_seq_cst);
        if (word != 0 && word < min)
            min = word;
    }
    return min;
}

/* Unlinks what nobody can see any more. Mutex held. */
static struct epoch_item *take_free(void)
{
    struct epoch_item *done = NULL;
    uint64_t seen = oldest();
    for (struct epoch_item **at = &waiting; *at;) {
        struct epoch_item *item = *at;
        if (item->epoch <= seen) {
            *at = item->next;
            item->next = done;
            done = item;
            n_waiting--;
        } else {
            at = &item->next;
        }
    }
    return done;
}

static void free_all(struct epoch_item *done)
{
    while (done) {
        struct epoch_item *next = done->next;
        done->free(done);
        done = next;
    }
}

void epoch_retire(struct epoch_item *item, void (*free_fn)(struct epoch_item *))
{
    item->free = free_fn;
    pthread_mutex_lock(&mutex);
    item->epoch = atomic_fetch_add_explicit(&epoch_now, 1, memory_order_seq_cst) + 1;
    item->next = waiting;
    waiting = item;
    n_waiting++;
    struct epoch_item *done = take_free();
    bool many = n_waiting > EPOCH_DEFERRED_MAX;
    pthread_mutex_unlock(&mutex);
    free_all(done);
    if (many)
        epoch_wait();
}

void epoch_wait(void)
{
    uint64_t now = atomic_fetch_add_explicit(&epoch_now, 1, memory_order_seq_cst) + 1;
    for (;;) {
        pthread_mutex_lock(&mutex);
        bool all_left = oldest() >= now;
        struct epoch_item *done = take_free();
        pthread_mutex_unlock(&mutex);
        free_all(done);
        if (all_left)
            return;
        sched_yield(); /* sections are some dozens of instructions: a reader that is in one was preempted */
    }
}

unsigned epoch_deferred(void)
{
    pthread_mutex_lock(&mutex);
    unsigned n = n_waiting;
    pthread_mutex_unlock(&mutex);
    return n;
}

unsigned epoch_threads(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&mutex);
    for (struct epoch_thread *t = threads; t; t = t->next)
        n++;
    pthread_mutex_unlock(&mutex);
    return n;
}
