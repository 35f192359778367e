// SPDX-License-Identifier: MIT
/* A driver that changes its rings while the device reads them, and rings of noise. */
#include "virtio_toy.h"

#include <pthread.h>

/* --- V9, V20: a driver on another thread, which also changes its descriptors under the device's eyes */

static _Atomic bool race_end;
static uint64_t race_torn;
/* The races are the point. */
__attribute__((no_sanitize("thread"))) static void *race_driver(void *arg)
{
    uint8_t *ram = arg;
    struct vq_driver *q = &vd.q[0];
    uint16_t *avail = (uint16_t *)(ram + q->avail), *used = (uint16_t *)(ram + q->used);
    uint16_t idx = 0, seen = 0;
    uint64_t seed = 3;
    while (!race_end) {
        uint64_t r = test_rand(&seed);
        volatile struct virtq_desc *d = (volatile struct virtq_desc *)(ram + q->desc) + r % TOY_SIZE;
        uint16_t now = __atomic_load_n(&used[1], __ATOMIC_ACQUIRE);
        if ((uint16_t)(idx - now) > TOY_SIZE) /* more used than was made available: half an index was seen */
            race_torn++;
        seen = now;
        if ((uint16_t)(idx - seen) <
            TOY_SIZE / 2) { /* the others are ours to spoil, as are those under way */
            avail[2 + idx % TOY_SIZE] = (uint16_t)(idx % TOY_SIZE);
            __atomic_store_n(&avail[1], ++idx, __ATOMIC_RELEASE);
        }
        d->len = r & 64 ? 16 : (uint32_t)(r >> 40);
        d->addr = r & 128 ? A : r >> 20;
        d->len = 16;
        d->addr = A;
    }
    return NULL;
}

static void race(void)
{
    pthread_t thread;
    toy_start(ALL);
    for (unsigned i = 0; i < TOY_SIZE; i++)
        vq_desc(0, i, A, 16, 0, 0);
    race_end = false;
    race_torn = 0;
    CHECK(pthread_create(&thread, NULL, race_driver, ram_host(m->ram, 0, RAM_END)) == 0);
    for (unsigned i = 0; i < test_scale(20000) || (!toy->chains && i < 20000000);
         i++) { /* until both have run */
        virtio_turn(&toy->v, &toy->v.queues[0].q);
        loop_step(m->board.loop);
        if (vd_status() & ST_NEEDS_RESET) { /* it read nonsense, once, and said so */
            lock_take(&toy->v.pci.dev.lock);
            toy->v.queues[0].q.broken = 0;
            toy->v.status &= (uint8_t)~ST_NEEDS_RESET;
            lock_drop(&toy->v.pci.dev.lock);
        }
        CHECK(toy->out_len == 16 || toy->out_len <= RAM_END);
    }
    race_end = true;
    pthread_join(thread, NULL);
    CHECK(toy->chains > 0);
    CHECK_EQ(race_torn, 0);
}
TEST(V9_descriptors_that_change_while_they_are_read)
{
    race();
}

TEST(V20_a_used_index_is_never_seen_in_halves)
{
    race();
}

/* --- rings of noise */
TEST(virtio_ring_fuzz)
{
    uint64_t seed = getenv("TEST_SEED") ? strtoull(getenv("TEST_SEED"), NULL, 0) : 42;
    toy_start(ALL | F_EVENT);
    for (unsigned round = 0; round < test_scale(3000); round++) {
        uint64_t r = test_rand(&seed);
        vdev_start_sized(ALL | (r & 1 ? F_EVENT : 0), 1u << (r >> 8) % 7);
        toy->hold = false;
        for (unsigned n = 0; n < 8; n++) {
            struct vq_driver *q = &vd.q[r >> 16 & 1];
            for (unsigned i = 0; i < q->size; i++) {
                uint64_t x = test_rand(&seed), y = test_rand(&seed);
                uint64_t at = x & 7 ? A + (x >> 8 & 0xffff) : x & 8 ? T : x;
                vq_desc_at(q->desc, i, at,
                           (uint32_t)(y & 7 ? y >> 8 & 0xff : y >> 32) & (x & 16 ? ~0u : ~15u),
                           (unsigned)(y >> 3 & (y & 0x80 ? 7 : 3)),
                           (unsigned)(y >> 16 & (y & 0x100 ? q->size - 1u : 0xffff)));
                vq_desc_at(T, i, A + (y & 0xfff), x >> 9 & 0xff, x >> 3 & 7, x >> 20 & 63);
                g_write(q->avail + 4 + 2 * i, x >> 30 & (x & 0x200 ? q->size - 1u : 0xffff), 2);
            }
            g_write(q->avail + 2,
                    g_read(q->avail + 2, 2) + (r & 0xff0000 ? r >> 24 & (q->size - 1u) : r >> 40), 2);
            g_write(q->avail, r >> 50 & 1, 2);
            vq_kick((unsigned)(r >> 16 & 1));
            r = test_rand(&seed);
        }
    }
    toy->hold = false;
    vdev_start(ALL);
    FINE(4, 0, {A, 4, 0});
}
