// SPDX-License-Identifier: MIT
/* What a virtio-net card interrupts its driver for, and when: sent frames of which the driver hears by their answers, and frames that
 * wait for buffers on a pair that is given up. */
#include "virtio_net_board.h"

#include "virtio/pci.h"

static struct virtq *queue(unsigned n)
{
    return virtio_queue((struct virtio_device *)vd.pci, n);
}
/* Interrupts of the queue since the last call. */
static unsigned interrupts(unsigned n)
{
    static uint64_t before[VQ_COUNT];
    uint64_t was = before[n];
    before[n] = queue(n)->interrupts;
    return (unsigned)(before[n] - was);
}
static void start(uint64_t more)
{
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG) | more);
    memset(host.frame, 0, sizeof host.frame);
    rx_buffers(0, 8, 1526);
    vq_interrupt_at(TX, 0);
    interrupts(TX);
    interrupts(RX);
}

/* Linux: as it is interrupted for the answer it looks at what was sent, and asks for the next one. */
TEST(vnet_a_small_frame_whose_answer_comes_is_one_interrupt)
{
    start(F_EVENT);
    for (unsigned i = 0; i < 4; i++) {
        from_guest(TX, 0, 60, 1);
        CHECK_EQ(vq_used_idx(TX), i + 1); /* it can see it at once */
        CHECK_EQ(interrupts(TX), 0);
        CHECK_EQ(to_guest(2, 60, 1, NULL), PORT_SENT);
        vq_interrupt_at(RX, i + 1);
        CHECK_EQ(interrupts(RX), 1);
        vq_interrupt_at(TX, i + 1);
        vd_now_ns += VIRTIO_NET_QUIET - 1;
        vd_run();
        CHECK_EQ(interrupts(TX), 0);
    }
    vd_now_ns += 2 * VIRTIO_NET_QUIET;
    vd_run();
    CHECK_EQ(interrupts(TX), 0);
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER); /* and nothing runs in an idle guest */
}

/* The numbers of the ring go round, and a driver that wants no interrupt may have any old number for that (Linux: 0). */
TEST(vnet_quiet_goes_round_the_rings_numbers)
{
    start(F_EVENT);
    for (unsigned i = 0; i < 66000; i++) {
        bool hears = i % 100 < 50;
        vq_interrupt_at(TX, hears ? i : 0);
        from_guest(TX, 0, 20, 1);
        CHECK((uint16_t)(queue(TX)->used_idx - queue(TX)->signalled) == (hears || !(i & 0xffff)));
        CHECK_EQ(interrupts(TX), 0);
        vd_now_ns += 1000;
    }
    vq_interrupt_at(TX, 66000 & 0xffff);
    vd_now_ns += 2 * VIRTIO_NET_QUIET;
    vd_run();
    CHECK_EQ(interrupts(TX), 0);
}

TEST(vnet_a_frame_without_an_answer_is_told_of_after_a_while)
{
    start(F_EVENT);
    from_guest(TX, 0, 60, 1);
    vd_now_ns += VIRTIO_NET_QUIET - 1;
    vd_run();
    CHECK_EQ(interrupts(TX), 0);
    vd_now_ns += 1;
    vd_run();
    CHECK_EQ(interrupts(TX), 1);
    CHECK(vd_line());
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER);

    /* the oldest decides, not the last */
    vq_interrupt_at(TX, 1);
    from_guest(TX, 0, 60, 1);
    vd_now_ns += VIRTIO_NET_QUIET - 10;
    from_guest(TX, 0, 60, 1);
    CHECK_EQ(interrupts(TX), 0);
    vd_now_ns += 10;
    vd_run();
    CHECK_EQ(interrupts(TX), 1);
}

TEST(vnet_many_or_large_frames_are_told_of_at_once)
{
    start(F_EVENT);
    from_guest(TX, 0, 1514, 1);
    CHECK_EQ(interrupts(TX), 1);
    vq_interrupt_at(TX, 1);
    for (unsigned i = 0; i < 4; i++) {
        from_guest(TX, 0, 60, 1);
        CHECK_EQ(interrupts(TX), 0);
    }
    from_guest(TX, 0, 60, 1); /* the fifth that it does not look at */
    CHECK_EQ(interrupts(TX), 1);
    /* a driver that has room for few waits for each */
    card(NULL);
    vdev_start_sized(F_VERSION_1 | F_EVENT, 4);
    vq_interrupt_at(TX, 0);
    interrupts(TX);
    from_guest(TX, 0, 60, 1);
    CHECK_EQ(interrupts(TX), 1);
}

TEST(vnet_a_driver_that_wants_no_interrupt_gets_none_and_one_without_event_index_all)
{
    start(F_EVENT);
    vq_interrupt_at(TX, 0x8000);
    from_guest(TX, 0, 60, 1);
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER);
    start(0);
    from_guest(TX, 0, 60, 1);
    CHECK_EQ(interrupts(TX), 1);
    vq_no_interrupt(TX, true);
    from_guest(TX, 0, 60, 1);
    vd_now_ns += 2 * VIRTIO_NET_QUIET;
    vd_run();
    CHECK_EQ(interrupts(TX), 0);
}

TEST(vnet_a_reset_owes_nothing)
{
    start(F_EVENT);
    from_guest(TX, 0, 60, 1);
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER);
    start(F_EVENT);
    vd_now_ns += 2 * VIRTIO_NET_QUIET;
    vd_run();
    CHECK_EQ(interrupts(TX), 0);
}

/* Frames of a flow wait for buffers of pair 1; the driver goes back to one pair and never fills that again. */
TEST(vnet_a_pair_that_is_given_up_holds_nothing_up)
{
    uint32_t id, len;
    card("queues=2");
    vdev_start_sized(F_VERSION_1 | F_BIT(NF_CTRL) | F_BIT(NF_MQ), 64); /* queue 4 commands */
    for (uint16_t pairs = 2; pairs; pairs--) {
        g_write(VQ_BUFFERS, 4, 2);
        g_write(VQ_BUFFERS + 2, pairs, 2);
        vq_add(4,
               (struct vq_buf[]){
                   {VQ_BUFFERS,        4, 0      },
                   {VQ_BUFFERS + 8192, 1, F_WRITE}
        },
               2, 0);
        vq_kick(4);
        CHECK(vq_used(4, &id, &len));
        CHECK_EQ(g_read(VQ_BUFFERS + 8192, 1), 0);
        if (pairs == 1)
            break;
        static const struct port_meta none;
        struct iovec iov = {flow_by_pair_1(), FLOW_LEN};
        rx_buffers(0, 4, 1526);
        CHECK_EQ(port_send(&host.port, &iov, 1, &none), PORT_BUSY);
        vd_run();
        CHECK_EQ(host.readies, 0);
    }
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(to_guest(2, 60, 7, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
}
