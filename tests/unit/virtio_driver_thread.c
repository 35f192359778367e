// SPDX-License-Identifier: MIT
/* A driver on a thread of its own, as careful with kicks and interrupts as Linux is: it kicks only where the device asks for
 * it (2.7.7, 2.7.10) and sleeps until it is interrupted where it asked for that. One kick or one interrupt too few, and it
 * sleeps for ever. */
#include "virtio_board.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "kvm/host/work.h"
#include "virtio/blk.h"
#include "virtio/pci.h"

enum {
    DEPTH = 16,
    SECTORS = 2048,
    SLOT = 0x1000, /* of guest memory for a request: header, data at 0x200, status at 0x800 */
};
static _Atomic bool over, failed;
static _Atomic unsigned done_requests, kicks, sleeps;
static unsigned total;
static bool mixed; /* requests of all kinds and up to 126 pieces, in indirect tables */
static const char *stuck;

/* The line goes up, is seen in ISR, and goes down. */
static bool wait_for_interrupt(void)
{
    uint64_t began = vd_real_ms();
    sleeps++;
    while (!vd_line()) {
        if (vd_real_ms() - began > 60000)
            return false;
        sched_yield();
    }
    g_read(vd.cap[CAP_ISR], 1);
    return true;
}

static void add_mixed(unsigned slot, uint64_t at, uint64_t r)
{
    static const uint8_t types[] = {0, 0, 0, 1, 1, 4, 11, 13}; /* read, write, flush, discard, write zeroes */
    uint64_t table = VQ_BUFFERS + (uint64_t)DEPTH * SLOT + (uint64_t)slot * 0x1000,
             pages = VQ_BUFFERS + 2 * DEPTH * SLOT;
    unsigned type = types[r & 7], pieces = type < 4 ? 1 + (unsigned)(r >> 8) % 126 : type == 4 ? 0 : 1;
    uint32_t bytes = pieces * 4096;
    g_write(at, type, 4);
    g_write(at + 8, type < 4 ? (r >> 20) % (SECTORS - bytes / 512) : 0, 8);
    g_write(at + 0x100, (r >> 20) % 256, 8); /* the segment of those that have one */
    g_write(at + 0x108, 1 + (r >> 40) % 128, 4);
    g_write(at + 0x10c, type == 13 ? r >> 50 & 1 : 0, 4);
    vq_desc_at(table, 0, at, 16, F_NEXT, 1);
    for (unsigned i = 0; i < pieces; i++)
        vq_desc_at(table, 1 + i, type < 4 ? pages + (i * 37u + slot) % 32 * 4096 : at + 0x100,
                   type < 4 ? 4096 : 16, F_NEXT | (type ? 0 : F_WRITE), i + 2);
    vq_desc_at(table, 1 + pieces, at + 0x800, 1, F_WRITE, 0);
    vq_desc(0, 3 * slot, table, 16 * (pieces + 2), F_INDIRECT, 0);
    vq_avail(0, 3 * slot);
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
            if (mixed) {
                add_mixed(slot, at, test_rand(&seed));
                continue;
            }
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
                (!mixed && g_read(at + 0x200, 8) != g_read(at + 16, 8))) {
                printf("request %u: type %u sector %u answered %u\n", id, (unsigned)g_read(at, 4),
                       (unsigned)g_read(at + 8, 8), (unsigned)g_read(at + 0x800, 1));
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
#ifdef __SANITIZE_THREAD__
    SKIP("the thread sanitizer does not see the order that a ring's fences give to its buffers");
#endif
    char path[] = "/dev/shm/vmlet-blk-XXXXXX", options[100]; /* a tmpfs where there is one */
    int file = mkstemp(path);
    if (file < 0)
        file = mkstemp(memcpy(path, "/tmp/vmlet-blk-XXXXXX", sizeof "/tmp/vmlet-blk-XXXXXX"));
    pthread_t thread;
    CHECK(file >= 0);
    for (uint64_t i = 0; i < SECTORS && !mixed; i++) /* mixed begins as a hole */
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
    total = (unsigned)test_scale(mixed ? 4000 : 20000);
    CHECK(pthread_create(&thread, NULL, driver, (void *)(uintptr_t)features) == 0);
    while (!over && !failed)
        if (!loop_step(m->board.loop))
            sched_yield();
    pthread_join(thread, NULL);
    if (failed) {
        struct virtq *q = &((struct virtio_device *)vd.pci)->queues[0].q;
        printf("%s after %u requests: the driver is at %u, the device has seen %u, taken %u, has %u under "
               "way, used %u; work %u\n",
               stuck, done_requests, vd.q[0].avail_idx, q->avail_idx, q->last_avail, q->inflight, q->used_idx,
               work_pending(m->board.work));
    }
    CHECK(!failed);
    CHECK(kicks < total); /* in batches, and not one a request where it runs */
    CHECK(work_free(m->board.work, 60000000000));
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
TEST(driver_thread_with_all_kinds_of_requests)
{
    mixed = true;
    drive("", F_VERSION_1 | F_EVENT | F_INDIR | F_BIT(9) | F_BIT(13) | F_BIT(14));
    drive("", F_VERSION_1 | F_INDIR | F_BIT(13) | F_BIT(14)); /* and every write through */
    drive(",threads", F_VERSION_1 | F_EVENT | F_INDIR | F_BIT(9) | F_BIT(13) | F_BIT(14));
    mixed = false;
}
