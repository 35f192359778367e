// SPDX-License-Identifier: MIT
/* The transitional device under a driver of virtio 0.9.5: written from the Legacy Interface sections of virtio 1.2 (4.1.4.10, 2.7.2:
 * rings in one piece, the used ring on a page of its own). */
#include "virtio/rng.h"
#include "virtio_board.h"

static uint16_t io;
enum {
    L_FEATURES = 0,
    L_ACCEPT = 4,
    L_ADDRESS = 8,
    L_SIZE = 12,
    L_SELECT = 14,
    L_NOTIFY = 16,
    L_STATUS = 18,
    L_ISR = 19,
    RING = 0x20000,
    BUF = VQ_BUFFERS,
};

static void legacy_new(void)
{
    vdev_new(&rng_class, "legacy");
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10051af4);
    CHECK_EQ(cf8(0, vd.pci->devfn, 8, 1), 0); /* revision */
    CHECK_EQ(cf8(0, vd.pci->devfn, 0x2c, 4), 0x00041af4);
    uint32_t bar = cf8(0, vd.pci->devfn, 0x10, 4);
    CHECK_EQ(bar & 3, 1);
    io = (uint16_t)(bar & ~3u);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

/* The driver's rings; the helpers of virtio_board.h find them there. */
static void legacy_start(uint32_t features)
{
    out(io + L_STATUS, 0, 1);
    out(io + L_STATUS, ST_ACK, 1);
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    out(io + L_ACCEPT, features, 4);
    out(io + L_SELECT, 0, 2);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    unsigned size = in(io + L_SIZE, 2);
    CHECK(size && !(size & (size - 1)));
    struct vq_driver *q = &vd.q[0];
    *q = (struct vq_driver){.size = (uint16_t)size, .desc = RING};
    q->avail = RING + 16 * size;
    q->used = (q->avail + 2 * (3 + size) + 4095) / 4096 * 4096;
    g_fill(RING, 0, 0x4000);
    vd.event_idx = features >> 29 & 1;
    out(io + L_ADDRESS, RING / 4096, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), RING / 4096);
    out(io + L_STATUS, ST_ACK | ST_DRIVER | ST_DRIVER_OK, 1);
    vd_run();
    CHECK_EQ(in(io + L_STATUS, 1), ST_ACK | ST_DRIVER | ST_DRIVER_OK);
}

static void ask(unsigned head)
{
    uint32_t id, len;
    g_fill(BUF, 0, 64);
    vq_add(0,
           (struct vq_buf[]){
               {BUF, 64, F_WRITE}
    },
           1, head);
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(id, head);
    CHECK_EQ(len, 64);
    CHECK(g_read(BUF, 8) != 0);
}

TEST(legacy_driver_is_served)
{
    legacy_new();
    CHECK_EQ(in(io + L_FEATURES, 4), 3u << 28);
    legacy_start(0);
    for (unsigned i = 0; i < 200; i++)
        ask(i % 64);
    CHECK(vd_line());
    CHECK_EQ(in(io + L_ISR, 1), 1);
    CHECK(!vd_line());
    legacy_start(1u << 29);
    ask(0);
    ask(1);
    /* and a modern one finds the same device modern */
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    vq_add(0,
           (struct vq_buf[]){
               {BUF, 64, F_WRITE}
    },
           1, 0);
    vq_kick(0);
    CHECK(vq_used(0, &id, &len));
}

TEST(legacy_queue_is_taken_away_by_page_0)
{
    legacy_new();
    legacy_start(0);
    ask(0);
    out(io + L_ADDRESS, 0, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    legacy_start(0);
    ask(0);
}

TEST(V12_V14_legacy_registers_at_every_offset_and_width)
{
    uint64_t seed = 5;
    legacy_new();
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t r = test_rand(&seed);
        uint16_t at = (uint16_t)(io + r % 140);
        unsigned size = 1u << (r >> 8) % 3;
        if (r >> 16 & 1)
            out(at, (uint32_t)(r >> 17 & 1 ? r >> 32 : r >> 32 & 0xff), size);
        else
            in(at, size);
        if (i % 64 == 0)
            vd_run();
    }
    out(io + L_SELECT, 7, 2); /* no such queue */
    CHECK_EQ(in(io + L_SIZE, 2), 0);
    out(io + L_ADDRESS, 1, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    out(io + L_NOTIFY, 7, 2);
    out(io + L_NOTIFY, 0xffff, 2);
    vd_run();
    legacy_start(0);
    ask(0);
    /* a ring that is not in RAM breaks the queue, and the guest can start anew */
    out(io + L_STATUS, 0, 1);
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    out(io + L_SELECT, 0, 2);
    out(io + L_ADDRESS, 0xfee00, 4);
    out(io + L_STATUS, ST_ACK | ST_DRIVER | ST_DRIVER_OK, 1);
    vd_run();
    CHECK(in(io + L_STATUS, 1) & ST_NEEDS_RESET);
    legacy_start(0);
    ask(0);
}
