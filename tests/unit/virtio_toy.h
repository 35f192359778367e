/* SPDX-License-Identifier: MIT
 *
 * A virtio device for tests of queues and transport: three queues; it copies what it is given to read into what it is given
 * to write, or holds what it gets.
 */
#ifndef TESTS_UNIT_VIRTIO_TOY_H
#define TESTS_UNIT_VIRTIO_TOY_H

#include "virtio_board.h"

#include "virtio/pci.h"

enum {
    TOY_SIZE = 64,
    TOY_QUEUES = 3,
    TOY_FEATURE = 5,
    TOY_NEEDS = 6, /* only with TOY_FEATURE */
};

struct toy_v {
    struct virtio_device v;
    uint64_t magic;
    uint32_t word;
    uint16_t half;
    uint8_t bytes[6];
    struct iovec iov[TOY_SIZE + VIRTQ_SPARE];
    unsigned chains, turns, driver_oks, resets;
    uint32_t out_len, in_len; /* of the last chain */
    unsigned out_n, in_n;
    bool hold; /* takes and does not give back */
    struct virtq_chain held[TOY_SIZE];
    unsigned n_held;
};
static struct toy_v *toy;

static void toy_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct virtq_chain c = {.iov = toy->iov, .room = TOY_SIZE + VIRTQ_SPARE};
    (void)v;
    toy->turns++;
    while (virtq_pop(q, &c)) {
        uint8_t buf[4096];
        toy->chains++;
        toy->out_len = c.out_len, toy->in_len = c.in_len;
        toy->out_n = c.out_n, toy->in_n = c.in_n;
        if (toy->hold) {
            CHECK(toy->n_held < TOY_SIZE); /* V18: never more than the queue is long */
            toy->held[toy->n_held++] = c;
            continue;
        }
        size_t n = virtq_copy_out(&c, 0, buf, sizeof buf);
        virtq_push(q, &c, (uint32_t)virtq_copy_in(&c, 0, buf, n));
    }
}
static bool toy_features_ok(struct virtio_device *v, uint64_t features)
{
    (void)v;
    return !(features >> TOY_NEEDS & 1) || features >> TOY_FEATURE & 1;
}
static void toy_driver_ok(struct virtio_device *v)
{
    ((struct toy_v *)v)->driver_oks++;
}
static bool toy_reset(struct virtio_device *v)
{
    ((struct toy_v *)v)->resets++;
    return !((struct toy_v *)v)->n_held;
}
static const struct virtio_type toy_type = {
    .id = 42,
    .pci_class = 0xff0000,
    .features = F_BIT(TOY_FEATURE) | F_BIT(TOY_NEEDS),
    .queue_ready = toy_queue_ready,
    .features_ok = toy_features_ok,
    .driver_ok = toy_driver_ok,
    .reset = toy_reset,
};
static const char *toy_v_init(struct device *dev, struct board *board)
{
    toy = (struct toy_v *)dev;
    toy->magic = 0x1122334455667788;
    for (unsigned i = 0; i < TOY_QUEUES; i++)
        virtio_add_queue(&toy->v, TOY_SIZE);
    return virtio_init(&toy->v, board, &toy_type);
}
static const struct reg toy_config_regs[] = {
    {"magic",                     0, 8, .sizes = 1 | 2 | 4 | 8, .flags = REG_RO | REG_KEEP, REG_FIELD(struct toy_v, magic)},
    {"word",                          8, 4, .sizes = 1 | 2 | 4, .writable = 0xffffffff, REG_FIELD(struct toy_v, word)},
    {"half", 12, 2, .sizes = 1 | 2, .writable = 0xff, REG_FIELD(struct toy_v, half)},
    {"bytes",                     16, 1, .count = 6, .writable = 0xff, REG_FIELD(struct toy_v, bytes)},
    {0                     },
};
static const struct reg_bank toy_config = {.name = "config", .size = 24, .regs = toy_config_regs};
static const struct state_field toy_state[] = {VIRTIO_STATE, {0}};
static const struct device_class toy_v_class = {
    .name = "vtoy",
    .help = "a toy",
    .size = sizeof(struct toy_v),
    .state = toy_state,
    .init = toy_v_init,
    VIRTIO_CLASS(&toy_config),
};

#define ALL (F_VERSION_1 | F_INDIR)
static inline void toy_start(uint64_t features)
{
    vdev_new(&toy_v_class, NULL);
    vdev_start(features);
}

enum {
    A = VQ_BUFFERS,
    B = VQ_BUFFERS + 0x4000,
    T = VQ_BUFFERS + 0x8000, /* an indirect table */
    RAM_END = 1 << 20,
};

/* The ring is broken and says so; other queues and, after a reset, this one go on. */
static inline void is_broken(void)
{
    vq_kick(0);
    CHECK(vd_status() & ST_NEEDS_RESET);
    CHECK_EQ(vq_used_idx(0), 0);
    CHECK(g_read(vd.cap[CAP_ISR], 1) & 2); /* told by a configuration interrupt */
    unsigned chains = toy->chains;
    vq_kick(0);
    CHECK_EQ(toy->chains, chains);
    vq_add(1,
           (struct vq_buf[]){
               {A, 4, 0}
    },
           1, 0);
    vq_kick(1);
    CHECK_EQ(vq_used_idx(1), 1);
    vdev_start(ALL);
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
    vq_add(0,
           (struct vq_buf[]){
               {A, 4, 0      },
               {B, 4, F_WRITE}
    },
           2, 0);
    vq_kick(0);
    CHECK_EQ(vq_used_idx(0), 1);
    vdev_start(ALL);
}
static inline void is_fine(uint32_t out_len, uint32_t in_len)
{
    unsigned used = vq_used_idx(0);
    vq_kick(0);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
    CHECK_EQ((uint16_t)(vq_used_idx(0) - used), 1);
    CHECK_EQ(toy->out_len, out_len);
    CHECK_EQ(toy->in_len, in_len);
}
#define BROKEN(...)                                                                                          \
    do {                                                                                                     \
        vq_add(0, (struct vq_buf[]){__VA_ARGS__},                                                            \
               sizeof((struct vq_buf[]){__VA_ARGS__}) / sizeof(struct vq_buf), 0);                           \
        is_broken();                                                                                         \
    } while (0)
#define FINE(out_, in_, ...)                                                                                 \
    do {                                                                                                     \
        vq_add(0, (struct vq_buf[]){__VA_ARGS__},                                                            \
               sizeof((struct vq_buf[]){__VA_ARGS__}) / sizeof(struct vq_buf), 0);                           \
        is_fine(out_, in_);                                                                                  \
    } while (0)

#endif
