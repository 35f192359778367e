// SPDX-License-Identifier: MIT
/* virtio-net under drivers that are wrong or hostile: rows N1, N2 and N5. */
#include "virtio_net_board.h"

TEST(N1_vnet_receive_buffers_of_one_byte_and_one_that_is_nowhere)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    rx_buffers(0, 60 + HEADER - 1, 1);
    CHECK_EQ(to_guest(2, 60, 0x5a, NULL), PORT_BUSY); /* one too few: none is taken */
    CHECK(!vq_used(RX, &id, &len));
    rx_buffers(60 + HEADER - 1, 1, 1);
    CHECK_EQ(to_guest(2, 60, 0x5a, NULL), PORT_SENT);
    for (unsigned i = 0; i < 60 + HEADER; i++)
        CHECK(vq_used(RX, &id, &len) && id == i && len == 1);
    CHECK(!vq_used(RX, &id, &len));
    CHECK_EQ(g_read(RX_AT(10), 1), 60 + HEADER);
    CHECK_EQ(g_read(RX_AT(60 + HEADER - 1), 1), 0x5a);
    /* the second of three buffers is not memory: nobody hears of a frame, and the queue is broken */
    for (unsigned i = 0; i < 3; i++)
        vq_add(RX,
               (struct vq_buf[]){
                   {i == 1 ? 0xfee00000 : RX_AT(i), 50, F_WRITE}
        },
               1, i);
    vq_kick(RX);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_SENT);
    CHECK(!vq_used(RX, &id, &len));
    CHECK(vd_status() & ST_NEEDS_RESET);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    rx_buffers(0, 1, 200);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len) && len == 112);
}

TEST(N2_vnet_chains_that_are_no_frames)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1);
    vq_add(TX,
           (struct vq_buf[]){
               {VQ_BUFFERS, HEADER - 1, 0}
    },
           1, 0);
    vq_add(TX,
           (struct vq_buf[]){
               {VQ_BUFFERS,        HEADER + 60, 0      },
               {VQ_BUFFERS + 4096, 10,          F_WRITE}
    },
           2, 1);
    vq_add(TX,
           (struct vq_buf[]){
               {VQ_BUFFERS, HEADER, 0}
    },
           1, 3);
    vq_add(TX,
           (struct vq_buf[]){
               {VQ_BUFFERS, 70000, 0}
    },
           1, 4);
    vq_kick(TX);
    for (unsigned i = 0; i < 4; i++)
        CHECK(vq_used(TX, &id, &len) && len == 0);
    CHECK_EQ(host.n, 0);
    CHECK(!(vd_status() & ST_NEEDS_RESET));
    from_guest(TX, 5, 60, 1);
    CHECK_EQ(host.n, 1);
}

TEST(N2_vnet_frame_in_as_many_pieces_as_there_can_be)
{
    static struct vq_buf pieces[256];
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1);
    g_fill(VQ_BUFFERS, 0, HEADER);
    for (unsigned i = 0; i < 256; i++) {
        pieces[i] = (struct vq_buf){VQ_BUFFERS + i, 1, 0};
        if (i >= HEADER)
            g_write(VQ_BUFFERS + i, i == HEADER ? 2 : i, 1);
    }
    vq_add(TX, pieces, 256, 0);
    vq_kick(TX);
    CHECK(vq_used(TX, &id, &len));
    CHECK_EQ(host.n, 1);
    CHECK_EQ(host.len, 256 - HEADER);
    CHECK(host.frame[20] == 32 && host.frame[host.len - 1] == 255);
}

TEST(N5_vnet_commands_that_are_none)
{
    uint32_t id, len;
    uint8_t zero[16] = {0};
    card(NULL);
    vdev_start(CTRL_FEATURES);
    CHECK_EQ(control(9, 0, zero, 4), 1);
    CHECK_EQ(control(0, 9, zero, 1), 1);
    CHECK_EQ(control(0, 0, zero, 2), 1);
    CHECK_EQ(control(0, 0, NULL, 0), 1);
    CHECK_EQ(control(1, 1, zero, 5), 1);
    CHECK_EQ(control(4, 0, zero, 2), 1);
    uint32_t endless[2] = {0xffffffff, 0xffffffff};
    CHECK_EQ(control(1, 0, endless, 8), 1);
    vq_add(CTRL,
           (struct vq_buf[]){
               {VQ_BUFFERS, 1, 0}
    },
           1, 0);
    vq_kick(CTRL);
    CHECK(vq_used(CTRL, &id, &len) && len == 0);
}
