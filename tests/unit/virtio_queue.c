// SPDX-License-Identifier: MIT
/* Rings against what drivers do wrong (section V), interrupts and kicks as they are asked for. */
#include "virtio_toy.h"

TEST(virtio_interrupts_as_the_driver_asks)
{
    toy_start(ALL);
    vq_no_interrupt(0, true);
    FINE(4, 4, {A, 4, 0}, {B, 4, F_WRITE});
    CHECK(!vd_line());
    vq_no_interrupt(0, false);
    FINE(4, 4, {A, 4, 0}, {B, 4, F_WRITE});
    CHECK(vd_line());
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 1);
    CHECK(!vd_line());
    /* the event index: only at the entry that the driver names, also across the wrap of 16 bits */
    toy_start(ALL | F_EVENT);
    unsigned want = 10;
    vq_interrupt_at(0, want);
    for (unsigned i = 0; i < 70000; i++) {
        uint32_t id, len;
        FINE(0, 0, {A, 0, 0});
        CHECK(vq_used(0, &id, &len));
        bool up = g_read(vd.cap[CAP_ISR], 1);
        CHECK_EQ(up, i == want);
        if (up) {
            want += 1 + i % 300;
            vq_interrupt_at(0, want);
        }
    }
}

TEST(virtio_kicks_are_asked_for_only_when_it_is_idle)
{
    for (unsigned event = 0; event < 2; event++) {
        toy_start(ALL | (event ? F_EVENT : 0));
        unsigned old = vd.q[0].avail_idx;
        vq_add(0,
               (struct vq_buf[]){
                   {A, 4, 0}
        },
               1, 0);
        CHECK(vq_wants_kick(0, old));
        toy->hold = true; /* it has taken one and waits: the next must be announced */
        vq_kick(0);
        old = vd.q[0].avail_idx;
        vq_add(0,
               (struct vq_buf[]){
                   {A, 4, 0}
        },
               1, 1);
        CHECK(vq_wants_kick(0, old));
    }
}

/* --- section V */

TEST(V1_descriptor_loops)
{
    toy_start(ALL);
    vq_desc(0, 0, A, 4, F_NEXT, 0); /* itself */
    vq_avail(0, 0);
    is_broken();
    vq_desc(0, 0, A, 4, F_NEXT, 1);
    vq_desc(0, 1, A, 0, F_NEXT, 0);
    vq_avail(0, 0);
    is_broken();
    for (unsigned i = 0; i < TOY_SIZE; i++)
        vq_desc(0, i, A, 4, F_NEXT, (i + 1) % TOY_SIZE);
    vq_avail(0, 0);
    is_broken();
    for (unsigned i = 0; i < TOY_SIZE; i++) /* as long as the queue is no loop */
        vq_desc(0, i, A, 4, i + 1 < TOY_SIZE ? F_NEXT : 0, i + 1);
    vq_avail(0, 0);
    is_fine(4 * TOY_SIZE, 0);
}

TEST(V2_links_and_heads_beyond_the_queue)
{
    static const unsigned beyond[] = {TOY_SIZE, TOY_SIZE + 1, 0x7fff, 0x8000, 0xffff};
    toy_start(ALL);
    for (unsigned i = 0; i < 5; i++) {
        vq_desc(0, 0, A, 4, F_NEXT, beyond[i]);
        vq_avail(0, 0);
        is_broken();
        vq_avail(0, beyond[i]);
        is_broken();
    }
    vq_desc(0, 0, A, 4, 0, 0xffff); /* not followed */
    vq_avail(0, 0);
    is_fine(4, 0);
}

TEST(V3_buffers_that_are_not_ram)
{
    static const struct vq_buf bad[] = {
        {UINT64_MAX,     2,          0      },
        {UINT64_MAX - 3, 8,          F_WRITE},
        {RAM_END - 4,    8,          0      },
        {RAM_END - 4,    8,          F_WRITE},
        {RAM_END,        1,          0      },
        {0xc0000000,     16,         0      },
        {0xe0000000,     4,          F_WRITE},
        {0xfee00000,     4,          F_WRITE},
        {1ull << 63,     1,          F_WRITE},
        {A,              UINT32_MAX, 0      },
        {0,              UINT32_MAX, F_WRITE},
    };
    toy_start(ALL);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        BROKEN(bad[i]);
        BROKEN({A, 4, 0}, {B, 4, F_WRITE}, {bad[i].gpa, bad[i].len, F_WRITE});
    }
    /* its own registers are no memory either */
    BROKEN({vd.cap[CAP_COMMON], 4, F_WRITE});
    BROKEN({vd.cap[CAP_NOTIFY], 2, F_WRITE});
    FINE(4, 0, {A, 4, 0}, {UINT64_MAX, 0, F_WRITE}, {0xfee00000, 0, F_WRITE});
    FINE(4, 4, {RAM_END - 4, 4, 0}, {RAM_END - 8, 4, F_WRITE});
}

TEST(V4_nothing_at_all)
{
    uint32_t id, len;
    toy_start(ALL);
    FINE(0, 0, {A, 0, 0});
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(len, 0);
    FINE(0, 0, {A, 0, 0}, {B, 0, F_WRITE}, {B, 0, F_WRITE});
    FINE(0, 8, {A, 0, 0}, {B, 0, F_WRITE}, {B, 8, F_WRITE});
    CHECK_EQ(toy->in_n, 1);
}

TEST(V5_more_bytes_than_can_be_counted)
{
    toy_start(ALL);
    /* 64 descriptors of 1 MiB less than the most are fine; in a table that repeats the same memory they pass 4 GiB */
    for (unsigned i = 0; i < TOY_SIZE; i++)
        vq_desc(0, i, 0, RAM_END, (i + 1 < TOY_SIZE ? F_NEXT : 0), i + 1);
    vq_avail(0, 0);
    vq_kick(0);
    CHECK_EQ(toy->out_len, 64u << 20);
    for (unsigned i = 0; i < 5000; i++) /* more pieces than there is room for */
        vq_desc_at(T, i % 1500, A, 1, F_NEXT, i % 1500 + 1);
    vq_desc(0, 0, T, 1500 * 16, F_INDIRECT, 0);
    vq_avail(0, 0);
    unsigned chains = toy->chains;
    vq_kick(0);
    CHECK(vd_status() & ST_NEEDS_RESET);
    CHECK_EQ(toy->chains, chains);
}

TEST(V6_indirect_tables_that_lie)
{
    toy_start(ALL);
    static const struct {
        uint64_t at;
        uint32_t len;
        unsigned flags;
    } bad[] = {
        {T,              0,          F_INDIRECT         },
        {T,              8,          F_INDIRECT         },
        {T,              17,         F_INDIRECT         },
        {T,              UINT32_MAX, F_INDIRECT         },
        {T,              16,         F_INDIRECT | F_NEXT},
        {RAM_END,        16,         F_INDIRECT         },
        {RAM_END - 8,    16,         F_INDIRECT         },
        {UINT64_MAX - 7, 16,         F_INDIRECT         },
        {0xfee00000,     32,         F_INDIRECT         },
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        vq_desc_at(T, 0, A, 4, F_NEXT, 1);
        vq_desc_at(T, 1, A, 4, F_NEXT, 2);
        vq_desc(0, 0, bad[i].at, bad[i].len, bad[i].flags, 1);
        vq_avail(0, 0);
        is_broken();
    }
    vq_desc_at(T, 0, T + 64, 16, F_INDIRECT, 0); /* in itself */
    vq_desc(0, 0, T, 32, F_INDIRECT, 0);
    vq_avail(0, 0);
    is_broken();
    vq_desc_at(T, 0, A, 4, F_NEXT, 2); /* past its own end */
    vq_avail(0, 0);
    vq_desc(0, 0, T, 32, F_INDIRECT, 0);
    is_broken();
    vq_desc_at(T, 0, A, 4, F_NEXT, 0); /* a loop in it */
    vq_desc(0, 0, T, 32, F_INDIRECT, 0);
    vq_avail(0, 0);
    is_broken();
    /* well: plain descriptors first, WRITE on the table means nothing, more entries than are used, off its alignment */
    for (unsigned odd = 0; odd < 16; odd += 3) {
        vq_desc_at(T + odd, 1, A, 4, F_NEXT, 3);
        vq_desc_at(T + odd, 0, A, 4, F_NEXT, 1);
        vq_desc_at(T + odd, 3, B, 10, F_WRITE, 9);
        vq_desc(0, 0, A, 1, F_NEXT, 1);
        vq_desc(0, 1, T + odd, 100 * 16, F_INDIRECT | F_WRITE, 0);
        vq_avail(0, 0);
        is_fine(9, 10);
    }
    /* as many entries as the queue has are fine, one more is not; after plain ones as well */
    for (unsigned plain = 0; plain < 2; plain++)
        for (unsigned n = TOY_SIZE - 1; n <= TOY_SIZE + 1; n++) {
            vdev_start(ALL);
            for (unsigned k = 0; k < n; k++)
                vq_desc_at(T, k, A + 8 * k, 8, k + 1 < n ? F_NEXT : 0, k + 1);
            vq_desc(0, 0, A, 1, F_NEXT, 1);
            vq_desc(0, plain, T, n * 16, F_INDIRECT, 0);
            vq_avail(0, 0);
            if (n <= TOY_SIZE)
                is_fine(8 * n + plain, 0);
            else
                is_broken();
        }
    /* not negotiated */
    vdev_start(F_VERSION_1);
    vq_desc_at(T, 0, A, 4, 0, 0);
    vq_desc(0, 0, T, 16, F_INDIRECT, 0);
    vq_avail(0, 0);
    is_broken();
}

TEST(V7_an_available_index_that_jumps)
{
    static const unsigned jumps[] = {TOY_SIZE + 1, 1000, 0x8000, 0xffff};
    toy_start(ALL);
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < TOY_SIZE; k++)
            vq_desc(0, k, A, 4, 0, 0);
        g_write(vd.q[0].avail + 2, jumps[i], 2);
        unsigned chains = toy->chains;
        is_broken();
        CHECK(toy->chains - chains <= 2); /* those of is_broken() itself */
    }
    /* backwards by one, after one was served, is 65535 ahead */
    FINE(4, 0, {A, 4, 0});
    g_write(vd.q[0].avail + 2, 0, 2);
    vq_kick(0);
    CHECK(vd_status() & ST_NEEDS_RESET);
    /* as many as the queue holds are fine, and one turn takes no more than that, however many come meanwhile */
    vdev_start(ALL);
    for (unsigned k = 0; k < TOY_SIZE; k++) {
        vq_desc(0, k, A, 4, 0, 0);
        vq_avail(0, k);
    }
    vq_kick(0);
    CHECK_EQ(vq_used_idx(0), TOY_SIZE);
}

TEST(V8_a_head_that_is_under_way_already)
{
    toy_start(ALL);
    toy->hold = true;
    vq_add(0,
           (struct vq_buf[]){
               {A, 4, 0}
    },
           1, 3);
    vq_kick(0);
    CHECK_EQ(toy->n_held, 1);
    vq_avail(0, 3);
    vq_kick(0);
    CHECK(vd_status() & ST_NEEDS_RESET);
    CHECK_EQ(toy->n_held, 1);
    lock_take(&toy->v.pci.dev.lock);
    virtq_push(&toy->v.queues[0].q, &toy->held[0], 0); /* once: the second is nothing */
    virtq_push(&toy->v.queues[0].q, &toy->held[0], 0);
    virtio_flush(&toy->v, &toy->v.queues[0].q);
    lock_drop(&toy->v.pci.dev.lock);
    CHECK_EQ(vq_used_idx(0), 1);
}

TEST(V17_readable_after_writable)
{
    toy_start(ALL);
    BROKEN({A, 4, F_WRITE}, {B, 4, 0});
    BROKEN({A, 4, 0}, {A, 4, F_WRITE}, {B, 1, 0});
    FINE(0, 4, {A, 4, F_WRITE}, {B, 0, 0}); /* of no bytes: nobody can tell */
}

TEST(V18_requests_without_end)
{
    toy_start(ALL);
    toy->hold = true;
    for (unsigned i = 0; i < TOY_SIZE; i++)
        vq_add(0,
               (struct vq_buf[]){
                   {A, 4, 0}
        },
               1, i);
    vq_kick(0);
    CHECK_EQ(toy->n_held, TOY_SIZE);
    vq_avail(0, 0); /* one more than there are */
    vq_kick(0);
    CHECK_EQ(toy->n_held, TOY_SIZE);
    /* and a reset waits for them */
    c_write(C_STATUS, 0, 1);
    CHECK(vd_status() != 0);
    c_write(C_STATUS, ST_ACK, 1);
    CHECK(vd_status() != ST_ACK);
    lock_take(&toy->v.pci.dev.lock);
    for (unsigned i = 0; i < TOY_SIZE; i++)
        virtq_push(&toy->v.queues[0].q, &toy->held[i], 4);
    virtio_flush(&toy->v, &toy->v.queues[0].q);
    toy->n_held = 0;
    virtio_reset_done(&toy->v);
    lock_drop(&toy->v.pci.dev.lock);
    CHECK_EQ(vd_status(), 0);
    CHECK_EQ(vq_used_idx(0), 0); /* nothing of the old life is seen */
    toy->hold = false;
    vdev_start(ALL);
    FINE(4, 0, {A, 4, 0});
}

/* The bus master switch: with it off nothing is reached, and nothing is the driver's fault. */
TEST(virtio_with_bus_mastering_off)
{
    toy_start(ALL);
    vq_add(0,
           (struct vq_buf[]){
               {A, 4, 0}
    },
           1, 0);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    vq_kick(0);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
    CHECK_EQ(toy->chains, 0);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vq_kick(0);
    CHECK_EQ(vq_used_idx(0), 1);
}

/* A driver that kicked meanwhile waits for the answer, and kicks no more. */
TEST(P11_kicks_without_bus_mastering_are_made_good)
{
    uint32_t id, len;
    toy_start(ALL);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    vq_add(0,
           (struct vq_buf[]){
               {A, 4, 0}
    },
           1, 0);
    vq_kick(0);
    CHECK_EQ(toy->chains, 0);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vd_run();
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(id, 0);
    unsigned turns = toy->turns; /* the same again is no switching on */
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vd_run();
    CHECK_EQ(toy->turns, turns);
}
