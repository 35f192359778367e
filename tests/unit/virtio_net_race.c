// SPDX-License-Identifier: MIT
/* A card, its port and its driver at once: the driver, on a thread of its own as a vCPU is, resets the card, moves its rings,
 * spoils its descriptors and takes bus mastering away, while frames go both ways on the loop. The device's lock and the checked
 * rings are all that is between them. */
#include "virtio/net.h"
#include "virtio_board.h"

#include <pthread.h>

enum {
    RX = 0,
    TX = 1,
    SIZE = 16,
    FRAME = 600,
    NF_MRG = 15,
    NF_CTRL = 17,
};

static struct port host;
static uint64_t from_guest, refused;
static _Atomic bool over;
static _Atomic uint64_t starts;

static enum port_result host_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    uint64_t len = 0;
    (void)port, (void)meta;
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    CHECK(len <= PORT_FRAME_MAX);
    from_guest++;
    return from_guest % 7 ? PORT_SENT : PORT_BUSY;
}
static const struct port_ops host_ops = {.receive = host_receive, .ready = NULL};

static void enter(void *dev)
{
    device_enter(dev);
}
static void leave(void *dev)
{
    lock_drop(&((struct device *)dev)->lock);
}

/* Guest memory is everybody's at any moment: that race is meant. */
__attribute__((no_sanitize("thread"))) static void put(uint64_t gpa, uint64_t value, unsigned size)
{
    volatile uint8_t *at = (volatile uint8_t *)ram_host(m->ram, 0, 1 << 20) + gpa;
    if (size == 8)
        *(volatile uint64_t *)at = value;
    else if (size == 4)
        *(volatile uint32_t *)at = (uint32_t)value;
    else
        *(volatile uint16_t *)at = (uint16_t)value;
}
__attribute__((no_sanitize("thread"))) static void clear(uint64_t gpa, unsigned len)
{
    volatile uint8_t *at = (volatile uint8_t *)ram_host(m->ram, 0, 1 << 20) + gpa;
    while (len--)
        *at++ = 0;
}

__attribute__((no_sanitize("thread"))) static uint16_t used_idx(const struct vq_driver *q)
{
    return *(volatile uint16_t *)((volatile uint8_t *)ram_host(m->ram, 0, 1 << 20) + q->used + 2);
}

static void set_queue(unsigned n, uint64_t seed)
{
    struct vq_driver *q = &vd.q[n];
    uint64_t base = VQ_BASE + (2 * n + (seed & 1)) * 0x4000; /* now here, now there */
    *q = (struct vq_driver){.size = SIZE, .desc = base, .avail = base + 0x1000, .used = base + 0x2000};
    clear(base, 0x3000);
    for (unsigned i = 0; i < SIZE; i++) {
        put(q->desc + 16 * i, VQ_BUFFERS + (n * SIZE + i) * 0x800, 8);
        put(q->desc + 16 * i + 8, 0x800, 4);
        put(q->desc + 16 * i + 12, n == RX ? F_WRITE : 0, 2);
        put(q->avail + 4 + 2 * i, i, 2);
    }
    vq_program(n);
    c_write(C_ENABLE, 1, 2);
}

static void set_up(uint64_t r)
{
    c_write(C_STATUS, 0, 1);
    c_write(C_STATUS, ST_ACK | ST_DRIVER, 1);
    vd_accept(F_VERSION_1 | F_BIT(NF_CTRL) | (r & 4 ? F_BIT(NF_MRG) : 0) | (r & 8 ? F_EVENT : 0));
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK, 1);
    set_queue(RX, r);
    set_queue(TX, r >> 1);
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK, 1);
    starts++;
}

static void *driver(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    while (!over) {
        uint64_t r = test_rand(&seed);
        unsigned n = r >> 8 & 1;
        struct vq_driver *q = &vd.q[n];
        switch (r & 31) {
        case 0:
        case 1:
            set_up(r >> 16);
            break;
        case 2:
            cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | (r >> 9 & 1 ? PCI_COMMAND_MASTER : 0),
                      2);
            break;
        case 3: /* a descriptor that no driver writes, and back */
            put(q->desc + 16 * (r >> 16 & 15), r >> 20, 8);
            put(q->desc + 16 * (r >> 16 & 15) + 8, (uint32_t)(r >> 32), 4);
            break;
        case 4:
            put(q->desc + 16 * (r >> 16 & 15), VQ_BUFFERS + (n * SIZE + (r >> 16 & 15)) * 0x800, 8);
            put(q->desc + 16 * (r >> 16 & 15) + 8, 0x800, 4);
            break;
        case 5: /* an index far ahead */
            put(q->avail + 2, r >> 16, 2);
            break;
        case 6:
            c_write(C_STATUS, 0, 1);
            break;
        default:
            if (q->size) { /* as many as the device has done with, or all but */
                uint16_t free = (uint16_t)(SIZE - (uint16_t)(q->avail_idx - used_idx(q)));
                put(q->avail + 2, q->avail_idx += (uint16_t)(free <= SIZE ? (r >> 40) % (free + 1u) : 0), 2);
                g_write(vd.cap[CAP_NOTIFY] + n * vd.multiplier, n, 2);
            }
            if (vd_status() & ST_NEEDS_RESET)
                set_up(r >> 16);
        }
    }
    return NULL;
}

TEST(V9_a_card_raced_by_its_driver_while_frames_come)
{
    static uint8_t frame[FRAME];
    static const struct port_meta none;
    struct iovec iov = {frame, FRAME};
    uint64_t given = 0;
    pthread_t thread;
    struct device *dev = vdev_new(&virtio_net_class, NULL);
    CHECK(port_init(&host, &vd_net, "host", &host_ops));
    port_guard(virtio_net_port(dev), enter, leave, dev);
    port_connect(virtio_net_port(dev), &host);
    over = false;
    starts = 0;
    CHECK(pthread_create(&thread, NULL, driver, (void *)(uintptr_t)7) == 0);
    /* until the driver has had its turns: on a loaded machine it may come late */
    for (uint64_t i = 0; i < test_scale(100000) || starts < 50 || from_guest < 50; i++) {
        if (port_send(&host, &iov, 1, &none) == PORT_SENT)
            given++;
        else
            refused++;
        if (!(i & 3)) {
            loop_step(m->board.loop);
            vd_now_ns += VIRTIO_NET_PATIENCE / 16;
        }
        if (!(i & 1023))
            port_ready(&host);
    }
    over = true;
    pthread_join(thread, NULL);
    CHECK(given && from_guest);

    /* and it works when the driver behaves */
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    set_up(0);
    vd_run();
    port_ready(&host);
    put(vd.q[RX].avail + 2, SIZE, 2);
    g_write(vd.cap[CAP_NOTIFY], 0, 2);
    vd_run();
    CHECK_EQ(port_send(&host, &iov, 1, &none), PORT_SENT);
    vd_run();
    CHECK(vq_used_idx(RX) >= 1);
}
