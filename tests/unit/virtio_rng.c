// SPDX-License-Identifier: MIT
/* virtio-rng, and through it the way of a request: kick, turn, used ring, interrupt. */
#include "virtio/rng.h"
#include "virtio_board.h"

static bool random_at(uint64_t gpa, unsigned len)
{
    unsigned zeros = 0;
    for (unsigned i = 0; i < len; i++)
        zeros += g_read(gpa + i, 1) == 0;
    return zeros < len / 8 + 2;
}

TEST(rng_fills_what_it_is_given)
{
    vdev_new(&rng_class, NULL);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10441af4);
    CHECK_EQ(cf8(0, vd.pci->devfn, 8, 1), 1);
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    g_fill(VQ_BUFFERS, 0, 8192);
    vq_add(0,
           (struct vq_buf[]){
               {VQ_BUFFERS,        100,  F_WRITE},
               {VQ_BUFFERS + 4096, 1000, F_WRITE}
    },
           2, 5);
    CHECK(!vq_used(0, &id, &len));
    vq_kick(0);
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(id, 5);
    CHECK_EQ(len, 1100);
    CHECK(random_at(VQ_BUFFERS, 100) && random_at(VQ_BUFFERS + 4096, 1000));
    CHECK_EQ(g_read(VQ_BUFFERS + 100, 4), 0);
    CHECK_EQ(g_read(VQ_BUFFERS + 5096, 4), 0);
    CHECK(vd_line());
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 1);
    CHECK(!vd_line());
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 0);
    CHECK(!vq_used(0, &id, &len));
}

TEST(rng_is_bounded_by_its_rate)
{
    vdev_new(&rng_class, "rate=1M");
    vdev_start(F_VERSION_1);
    /* 60 requests of 32 KiB: the burst of 64 KiB is there at once, the rest takes its time */
    for (unsigned i = 0; i < 60; i++)
        vq_add(0,
               (struct vq_buf[]){
                   {VQ_BUFFERS, 32 << 10, F_WRITE}
        },
               1, i);
    vq_kick(0);
    uint64_t sum = 0, began = vd_now_ns;
    for (;;) {
        uint32_t id, len;
        while (vq_used(0, &id, &len))
            sum += len;
        if (vq_used_idx(0) == 60)
            break;
        CHECK(sum <= (64 << 10) + (vd_now_ns - began) / 1000 + 1024 + (vd_now_ns - began) / 10000);
        uint64_t next = loop_next(m->board.loop);
        CHECK(next != LOOP_NEVER); /* somebody waits */
        vd_now_ns = next;
        vd_run();
    }
    CHECK(sum >= 60);
    /* a request gets what there is; whoever asks again gets the rest, later */
    vd_now_ns += 1000000000;
    vd_run();
    CHECK(loop_next(m->board.loop) == LOOP_NEVER); /* idle: nothing ticks */
}

TEST(V18_a_request_of_any_size_takes_bounded_time)
{
    vdev_new(&rng_class, NULL);
    vdev_start(F_VERSION_1);
    struct vq_buf bufs[64];
    for (unsigned i = 0; i < 64; i++)
        bufs[i] = (struct vq_buf){VQ_BUFFERS, 512 << 10, F_WRITE};
    vq_add(0, bufs, 64, 0);
    vq_kick(0);
    uint32_t id, len;
    CHECK(vq_used(0, &id, &len));
    CHECK(len > 0 && len <= 64 << 10);
}
