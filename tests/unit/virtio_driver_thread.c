// SPDX-License-Identifier: MIT
/* A driver on a thread of its own, as careful with kicks and interrupts as Linux is: it kicks only where the device asks for
 * it (2.7.7, 2.7.10) and sleeps until it is interrupted where it asked for that. One kick or one interrupt too few, and it
 * sleeps for ever. */
#include "virtio_board.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "kvm/host/work.h"
#include "virtio/blk.h"

enum {
    DEPTH = 16,
    SECTORS = 512,
    SLOT = 0x1000, /* of guest memory for a request: header, data at 0x200, status at 0x800 */
};
static _Atomic bool over, failed;
static _Atomic unsigned done_requests, kicks, sleeps;
static unsigned total;
static const char *stuck;

static uint64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The line goes up, is seen in ISR, and goes down. */
static bool wait_for_interrupt(void)
{
    uint64_t began = real_ms();
    sleeps++;
    while (!vd_line()) {
        if (real_ms() - began > 20000)
            return false;
        sched_yield();
    }
    g_read(vd.cap[CAP_ISR], 1);
    return true;
}

static void *driver(void *arg)
{
    struct vq_driver *q = &vd.q[0];
    unsigned free_slots[DEPTH], n_free = DEPTH, asked = 0, got = 0;
    uint64_t seed = (uintptr_t)arg;
    for (unsigned i = 0; i < DEPTH; i++)
        free_slots[i] = i;
    while (got < total) {
        /* a batch of some */
        uint16_t old = q->avail_idx;
        for (unsigned n = (unsigned)(test_rand(&seed) % (n_free + 1)); n && asked < total; n--, asked++) {
            unsigned slot = free_slots[--n_free];
            uint64_t at = VQ_BUFFERS + (uint64_t)slot * SLOT, sector = test_rand(&seed) % SECTORS;
            g_write(at, 0, 4);
            g_write(at + 8, sector, 8);
            g_write(at + 16, sector, 8); /* for us */
            g_write(at + 0x800, 0xaa, 1);
            vq_add(0,
                   (struct vq_buf[]){
                       {at,         16,  0      },
                       {at + 0x200, 512, F_WRITE},
                       {at + 0x800, 1,   F_WRITE}
            },
                   3, 3 * slot);
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (old != q->avail_idx && vq_wants_kick(0, old)) {
            kicks++;
            g_write(vd.cap[CAP_NOTIFY], 0, 2);
        }
        uint32_t id, len;
        bool any = false;
        while (vq_used(0, &id, &len)) {
            uint64_t at = VQ_BUFFERS + (uint64_t)(id / 3) * SLOT;
            if (id % 3 || id / 3 >= DEPTH || g_read(at + 0x800, 1) ||
                g_read(at + 0x200, 8) != g_read(at + 16, 8)) {
                stuck = "a wrong answer";
                failed = true;
                return NULL;
            }
            free_slots[n_free++] = id / 3;
            got++;
            done_requests = got;
            any = true;
        }
        if (any || n_free == DEPTH)
            continue;
        /* nothing to do before one is done: an interrupt, please, from here on; and look once more */
        if (vd.event_idx)
            vq_interrupt_at(0, q->used_seen);
        else
            vq_no_interrupt(0, false);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (vq_used_idx(0) == q->used_seen && !wait_for_interrupt()) {
            stuck = vq_used_idx(0) == q->used_seen ? "a kick was lost" : "an interrupt was lost";
            failed = true;
            return NULL;
        }
        if (!vd.event_idx)
            vq_no_interrupt(0, true);
    }
    over = true;
    return NULL;
}

static void drive(const char *more, uint64_t features)
{
    char path[] = "/tmp/vmlet-blk-XXXXXX", options[100];
    int file = mkstemp(path);
    pthread_t thread;
    CHECK(file >= 0);
    for (uint64_t i = 0; i < SECTORS; i++)
        CHECK(pwrite(file, &i, 8, (off_t)(i * 512)) == 8);
    CHECK(ftruncate(file, SECTORS * 512) == 0);
    vdev_prepare();
    m->board.work = work_new(m->board.loop, 4);
    snprintf(options, sizeof options, "file=%s%s", path, more);
    vdev_add(&blk_class, options);
    unlink(path);
    close(file);
    vdev_start_sized(features, 64);
    g_read(vd.cap[CAP_ISR], 1);
    over = failed = false;
    done_requests = kicks = sleeps = 0;
    total = (unsigned)test_scale(20000);
    CHECK(pthread_create(&thread, NULL, driver, (void *)(uintptr_t)features) == 0);
    while (!over && !failed)
        if (!loop_step(m->board.loop))
            sched_yield();
    pthread_join(thread, NULL);
    if (failed)
        printf("%s after %u requests\n", stuck, done_requests);
    CHECK(!failed);
    CHECK(kicks < total); /* in batches, and not one a request where it runs */
    CHECK(work_free(m->board.work, 5000000000));
    m->board.work = NULL;
}

TEST(driver_thread_with_event_index)
{
    drive("", F_VERSION_1 | F_EVENT);
}
TEST(driver_thread_with_flags)
{
    drive("", F_VERSION_1);
}
TEST(driver_thread_with_event_index_and_pool)
{
    drive(",threads", F_VERSION_1 | F_EVENT);
}
TEST(driver_thread_with_flags_and_pool)
{
    drive(",threads", F_VERSION_1);
}
