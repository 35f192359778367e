// SPDX-License-Identifier: MIT
/* Epochs: what waits and what is freed, by hand; then readers against a writer that moves the map under them (meant for
 * SAN=thread and SAN=address). */
#include "test.h"

#include "kvm/host/lock.h"
#include "mem/access.h"
#include "mem/epoch.h"
#include "mem/ram.h"

#include <pthread.h>
#include <stdatomic.h>

struct thing {
    struct epoch_item item;
    unsigned *freed;
};

static void thing_free(struct epoch_item *item)
{
    struct thing *t = (struct thing *)item;
    ++*t->freed;
    free(t);
}

static void thing_retire(unsigned *freed)
{
    struct thing *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->freed = freed;
    epoch_retire(&t->item, thing_free);
}

TEST(epoch_frees_at_once_when_nobody_reads)
{
    unsigned freed = 0;
    thing_retire(&freed);
    CHECK_EQ(freed, 1);
    CHECK_EQ(epoch_deferred(), 0);
}

/* A thread that goes in and out on command. */
struct visitor {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    int want, is; /* 0 out, 1 in, 2 gone */
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    pthread_mutex_lock(&v->mutex);
    while (v->want != 2) {
        if (v->want != v->is) {
            if (v->want)
                epoch_enter();
            else
                epoch_leave();
            v->is = v->want;
            pthread_cond_broadcast(&v->cond);
        }
        pthread_cond_wait(&v->cond, &v->mutex);
    }
    pthread_mutex_unlock(&v->mutex);
    return NULL;
}

static void visitor_set(struct visitor *v, int want)
{
    pthread_mutex_lock(&v->mutex);
    v->want = want;
    pthread_cond_broadcast(&v->cond);
    while (want != 2 && v->is != want)
        pthread_cond_wait(&v->cond, &v->mutex);
    pthread_mutex_unlock(&v->mutex);
    if (want == 2)
        pthread_join(v->thread, NULL);
}

static void visitor_start(struct visitor *v)
{
    memset(v, 0, sizeof *v);
    pthread_mutex_init(&v->mutex, NULL);
    pthread_cond_init(&v->cond, NULL);
    pthread_create(&v->thread, NULL, visit, v);
}

TEST(epoch_defers_while_somebody_reads)
{
    struct visitor early, late;
    unsigned freed = 0, known = epoch_threads();
    visitor_start(&early);
    visitor_start(&late);
    visitor_set(&early, 1);
    thing_retire(&freed);
    CHECK_EQ(freed, 0); /* the early reader may see it */
    visitor_set(&late, 1);
    CHECK(epoch_threads() == known + 2);
    thing_retire(&freed);
    CHECK_EQ(freed, 0);
    visitor_set(&early, 0);
    thing_retire(&freed);
    CHECK_EQ(freed, 1); /* the first: the late reader came after it, but before the other two */
    CHECK_EQ(epoch_deferred(), 2);
    visitor_set(&late, 0);
    thing_retire(&freed);
    CHECK_EQ(freed, 4);
    visitor_set(&early, 2);
    visitor_set(&late, 2);
    CHECK_EQ(epoch_threads(), known); /* forgotten at their end */
}

static void *leave_later(void *arg)
{
    struct visitor *v = arg;
    while (epoch_deferred() <= EPOCH_DEFERRED_MAX) /* until the writer is in its wait */
        sched_yield();
    visitor_set(v, 0);
    return NULL;
}

TEST(epoch_deferral_is_bounded)
{
    struct visitor v;
    pthread_t helper;
    unsigned freed = 0;
    visitor_start(&v);
    visitor_set(&v, 1);
    for (unsigned i = 0; i < EPOCH_DEFERRED_MAX; i++)
        thing_retire(&freed);
    CHECK_EQ(freed, 0);
    CHECK_EQ(epoch_deferred(), EPOCH_DEFERRED_MAX);
    pthread_create(&helper, NULL, leave_later, &v);
    thing_retire(&freed); /* one too many: waits for the reader */
    CHECK_EQ(freed, EPOCH_DEFERRED_MAX + 1);
    pthread_join(helper, NULL);
    visitor_set(&v, 2);
}

/* --- the whole: accesses while the map changes */

enum {
    READERS = 3,
    MOVES = 400,
};

static struct region root, bar, ram_alias;
static struct space memory, bm;
static struct lock bar_lock;
static uint64_t bar_count; /* under bar_lock */
static _Atomic bool done;
static _Atomic unsigned wrong, hits, dma_hits;

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    (void)size;
    bar_count++;
    return 0xb0000000 + offset;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    (void)opaque;
    (void)size;
    bar_count += value - offset + 1; /* they are equal */
}

static const struct region_ops bar_ops = {bar_read, bar_write, 4, 0};

static void *reader(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    while (!atomic_load(&done)) {
        uint64_t r = test_rand(&seed);
        uint64_t base = (r >> 32 & 3) * 0x10000, offset = r & 0xffc;
        uint32_t v = (uint32_t)offset;
        switch (r >> 40 & 3) {
        case 0:
            if (space_read(&memory, base + offset, 4, &v)) {
                atomic_fetch_add(&hits, 1);
                if (v != 0xb0000000 + offset && v != 0) /* the BAR or RAM, never anything else */
                    atomic_fetch_add(&wrong, 1);
            } else if (v != UINT32_MAX) {
                atomic_fetch_add(&wrong, 1);
            }
            break;
        case 1:
            space_write(&memory, base + 0x2000 + offset, 4, &v); /* nothing, or RAM's second page on */
            break;
        default:
            if (dma_read(&bm, base + offset, &v, 4)) {
                atomic_fetch_add(&dma_hits, 1);
                if (v != 0)
                    atomic_fetch_add(&wrong, 1);
            }
        }
    }
    return NULL;
}

TEST(epoch_readers_against_a_moving_map)
{
    char err[256];
    pthread_t threads[READERS];
    uint64_t seed = 11;
    struct ram *ram = ram_new(&(struct ram_opts){.size = 16 * RAM_PAGE}, err, sizeof err);
    CHECK(ram);
    lock_init(&bar_lock, LOCK_DEVICE, "bar");
    region_init_container(&root, "system", REGION_ALL);
    region_init_io(&bar, "bar", 0x1000, &bar_ops, NULL, &bar_lock, NULL);
    region_init_alias(&ram_alias, "ram", &ram->region, 0, 16 * RAM_PAGE);
    space_init(&memory, &root, "memory");
    space_init_bus_master(&bm, &memory, "dev0");
    region_add(&root, &bar, 0, 1);
    region_add(&root, &ram_alias, 0x10000, 0);
    for (uintptr_t i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, reader, (void *)(i + 1));
    unsigned moves = 0;
    while (moves < MOVES || atomic_load(&hits) < 100 || atomic_load(&dma_hits) < 100) {
        transaction_begin();
        region_move(&bar, (test_rand(&seed) & 3) * 0x10000);
        if (test_rand(&seed) & 1)
            region_move(&ram_alias, (test_rand(&seed) & 3) * 0x10000);
        region_enable(&bar, test_rand(&seed) & 3);
        transaction_commit();
        space_set_master(&bm, test_rand(&seed) & 3);
        moves++;
    }
    atomic_store(&done, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(wrong, 0);
    CHECK(epoch_deferred() <= EPOCH_DEFERRED_MAX);
    space_free(&bm);
    space_free(&memory);
    epoch_wait();
    CHECK_EQ(epoch_deferred(), 0);
    region_free(&bar);
    region_free(&ram_alias);
    region_free(&root);
    ram_free(ram);
}
