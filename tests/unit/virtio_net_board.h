/* SPDX-License-Identifier: MIT
 *
 * A virtio-net card whose driver is the test, and whose cable the test holds the other end of. */
#ifndef TESTS_UNIT_VIRTIO_NET_BOARD_H
#define TESTS_UNIT_VIRTIO_NET_BOARD_H

#include "virtio/net.h"
#include "virtio_board.h"

#include "net/offload.h"

enum {
    RX = 0,
    TX = 1,
    CTRL = 2,
    HEADER = 12,
    FLOW_LEN = 60,

    NF_CSUM = 0,
    NF_GUEST_CSUM = 1,
    NF_CTRL_OFFLOADS = 2,
    NF_GUEST_TSO4 = 7,
    NF_GUEST_TSO6 = 8,
    NF_GUEST_ECN = 9,
    NF_HOST_TSO4 = 11,
    NF_MRG = 15,
    NF_STATUS = 16,
    NF_CTRL = 17,
    NF_CTRL_RX = 18,
    NF_CTRL_VLAN = 19,
    NF_ANNOUNCE = 21,
    NF_MQ = 22,
    NF_MAC_ADDR = 23,
};

/* The other end of the cable. */
static struct {
    struct port port;
    unsigned n, room, readies;
    size_t len;
    uint8_t frame[PORT_FRAME_MAX];
    struct port_meta meta;
} host;

static enum port_result host_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    (void)port;
    if (!host.room)
        return PORT_BUSY;
    host.room--;
    host.n++;
    host.meta = *meta;
    host.len = 0;
    for (int i = 0; i < n; i++) {
        memcpy(host.frame + host.len, iov[i].iov_base, iov[i].iov_len);
        host.len += iov[i].iov_len;
    }
    return PORT_SENT;
}
static void host_ready(struct port *port)
{
    (void)port;
    host.readies++;
}
static const struct port_ops host_ops = {.receive = host_receive, .ready = host_ready};

static void enter(void *dev)
{
    device_enter(dev);
}
static void leave(void *dev)
{
    lock_drop(&((struct device *)dev)->lock);
}

static inline struct device *card(const char *options)
{
    struct device *dev = vdev_new(&virtio_net_class, options);
    free(host.port.ring); /* of the test before */
    memset(&host, 0, sizeof host);
    host.room = 1u << 30;
    CHECK(port_init(&host.port, &vd_net, "host", &host_ops));
    port_guard(virtio_net_port(dev), enter, leave, dev);
    port_connect(virtio_net_port(dev), &host.port);
    return dev;
}

/* A frame of the host's with this address, byte i of it is i; its last byte is `mark`. */
static inline enum port_result to_guest(uint8_t first, size_t len, uint8_t mark, const struct port_meta *meta)
{
    static const struct port_meta none;
    static uint8_t frame[PORT_FRAME_MAX];
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)i;
    memset(frame, first, 6);
    frame[12] = 0x88, frame[13] = 0xb5;
    frame[len - 1] = mark;
    struct iovec iov[2] = {
        {frame,      20      },
        {frame + 20, len - 20}
    };
    enum port_result r = port_send(&host.port, iov, 2, meta ? meta : &none);
    vd_run();
    return r;
}

/* A frame of the guest's: header at VQ_BUFFERS, then the bytes, in two descriptors. */
static inline void from_guest(unsigned queue, unsigned head, size_t len, uint8_t mark)
{
    g_fill(VQ_BUFFERS, 0, HEADER);
    for (size_t i = 0; i < len; i++)
        g_write(VQ_BUFFERS + HEADER + i, i < 6 ? 2 : (uint8_t)i, 1);
    g_write(VQ_BUFFERS + HEADER + len - 1, mark, 1);
    vq_add(queue,
           (struct vq_buf[]){
               {VQ_BUFFERS,          HEADER,        0},
               {VQ_BUFFERS + HEADER, (uint32_t)len, 0}
    },
           2, head);
    vq_kick(queue);
}

/* A segment of a TCP flow leaves by pair 1 (queue 3). Returns its answer, FLOW_LEN bytes, which comes in there too. */
static inline void *flow_by_pair_1(void)
{
    static uint8_t out[FLOW_LEN] = {2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0, 0x45}, back[FLOW_LEN];
    for (unsigned i = 26; i < 38; i++) /* addresses and ports */
        out[i] = (uint8_t)(i * 7);
    g_fill(VQ_BUFFERS, 0, HEADER);
    for (unsigned i = 0; i < FLOW_LEN; i++)
        g_write(VQ_BUFFERS + HEADER + i, out[i], 1);
    vq_add(3,
           (struct vq_buf[]){
               {VQ_BUFFERS, HEADER + FLOW_LEN, 0}
    },
           1, 0);
    vq_kick(3);
    memcpy(back, out, FLOW_LEN);
    memcpy(back + 26, out + 30, 4);
    memcpy(back + 30, out + 26, 4);
    memcpy(back + 34, out + 36, 2);
    memcpy(back + 36, out + 34, 2);
    return back;
}

static inline uint8_t control(unsigned class, unsigned command, const void *data, unsigned len)
{
    uint32_t id, used;
    g_write(VQ_BUFFERS, class, 1);
    g_write(VQ_BUFFERS + 1, command, 1);
    for (unsigned i = 0; i < len; i++)
        g_write(VQ_BUFFERS + 2 + i, ((const uint8_t *)data)[i], 1);
    g_write(VQ_BUFFERS + 8192, 0x77, 1);
    vq_add(CTRL,
           (struct vq_buf[]){
               {VQ_BUFFERS,        2 + len, 0      },
               {VQ_BUFFERS + 8192, 1,       F_WRITE}
    },
           2, 0);
    vq_kick(CTRL);
    CHECK(vq_used(CTRL, &id, &used));
    CHECK_EQ(used, 1);
    return (uint8_t)g_read(VQ_BUFFERS + 8192, 1);
}

/* Receive buffers of this size, heads 0 … n - 1, a page apart. */
static inline void rx_buffers(unsigned first, unsigned n, uint32_t size)
{
    for (unsigned i = first; i < first + n; i++)
        vq_add(RX,
               (struct vq_buf[]){
                   {VQ_BUFFERS + 0x10000 + 0x800 * i, size, F_WRITE}
        },
               1, i);
    vq_kick(RX);
}
#define RX_AT(i) (VQ_BUFFERS + 0x10000 + 0x800 * (i))

#define CTRL_FEATURES                                                                                        \
    (F_VERSION_1 | F_BIT(NF_CTRL) | F_BIT(NF_CTRL_RX) | F_BIT(NF_CTRL_VLAN) | F_BIT(NF_MAC_ADDR) |           \
     F_BIT(NF_MRG))

#endif
