/* SPDX-License-Identifier: MIT
 *
 * The driver's side of virtio over PCI, for unit tests: written from virtio 1.2 (4.1 for the way through configuration
 * space and the BAR, 2.7 for the rings), with numbers of its own, so that it and virtio/ do not share a mistake. Everything
 * goes through guest accesses: ports, memory space, guest RAM.
 *
 *     vdev_new(&rng_class, "rate=1M");        a board, the device, its capabilities found, bus master on
 *     vdev_start(features);                    reset … DRIVER_OK, all queues of their full size
 *     vq_add(0, bufs, n, head) / vq_kick(0) / vq_used(0, &id, &len)
 */
#ifndef TESTS_UNIT_VIRTIO_BOARD_H
#define TESTS_UNIT_VIRTIO_BOARD_H

#include "test.h"

#include "kvm/host/log.h"
#include "net/port.h"
#include "pci_board.h"

#include <sched.h>
#include <time.h>

enum {
    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
    CAP_ACCESS = 5,

    F_NEXT = 1,
    F_WRITE = 2,
    F_INDIRECT = 4,

    ST_ACK = 1,
    ST_DRIVER = 2,
    ST_DRIVER_OK = 4,
    ST_FEATURES_OK = 8,
    ST_NEEDS_RESET = 64,
    ST_FAILED = 128,

    /* registers of the common structure, 4.1.4.3 */
    C_DFSELECT = 0,
    C_DF = 4,
    C_GFSELECT = 8,
    C_GF = 12,
    C_MSIX = 16,
    C_NUMQ = 18,
    C_STATUS = 20,
    C_GENERATION = 21,
    C_SELECT = 22,
    C_SIZE = 24,
    C_VECTOR = 26,
    C_ENABLE = 28,
    C_NOFF = 30,
    C_DESC = 32,
    C_AVAIL = 40,
    C_USED = 48,
};
#define F_BIT(n)    (1ull << (n))
#define F_VERSION_1 F_BIT(32)
#define F_EVENT     F_BIT(29)
#define F_INDIR     F_BIT(28)

enum {
    VQ_AREA = 0x8000,     /* of guest memory for one queue's rings */
    VQ_BASE = 0x10000,    /* the first one */
    VQ_BUFFERS = 0x80000, /* free for the tests' buffers, to the end of RAM at 1 MiB */
    VQ_COUNT = 8,
    VQ_MOST = 1024, /* descriptors of one queue that fit into its area */
};

struct vq_driver {
    uint64_t desc, avail, used;
    uint16_t size, avail_idx, used_seen;
    uint16_t given_back;     /* used entries whose descriptors vq_add() knows to be free again */
    uint16_t chain[VQ_MOST]; /* the chain of vq_add() that a descriptor is part of: its head + 1; 0: none */
};
static struct {
    struct pci_device *pci;
    uint64_t cap[6]; /* address of each structure */
    uint32_t cap_len[6], multiplier;
    unsigned access; /* offset of the configuration access capability */
    struct vq_driver q[VQ_COUNT];
    bool event_idx;
} vd;

static struct net vd_net; /* for cards */
static uint64_t vd_now_ns;
static inline uint64_t vd_now(void *ctx)
{
    (void)ctx;
    return __atomic_load_n(&vd_now_ns, __ATOMIC_RELAXED); /* by drivers on threads, too */
}
static const struct clock vd_clock = {vd_now, NULL};

/* --- guest memory */

static inline uint64_t g_read(uint64_t gpa, unsigned size)
{
    uint64_t v = 0;
    space_read(&m->memory, gpa, size, &v);
    return v;
}
static inline void g_write(uint64_t gpa, uint64_t v, unsigned size)
{
    space_write(&m->memory, gpa, size, &v);
}
static inline void g_fill(uint64_t gpa, uint8_t byte, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        g_write(gpa + i, byte, 1);
}

/* --- the device */

static inline void vdev_find_caps(void)
{
    for (unsigned at = cf8(0, vd.pci->devfn, 0x34, 1); at; at = cf8(0, vd.pci->devfn, at + 1, 1)) {
        if (cf8(0, vd.pci->devfn, at, 1) != 9)
            continue;
        unsigned type = cf8(0, vd.pci->devfn, at + 3, 1), bar = cf8(0, vd.pci->devfn, at + 4, 1);
        if (type == CAP_ACCESS)
            vd.access = at;
        if (type < 1 || type > 4 || vd.cap[type])
            continue;
        uint64_t low = cf8(0, vd.pci->devfn, 0x10 + 4 * bar, 4);
        uint64_t high = (low & 6) == 4 ? cf8(0, vd.pci->devfn, 0x14 + 4 * bar, 4) : 0;
        vd.cap[type] = (high << 32 | (low & ~15ull)) + cf8(0, vd.pci->devfn, at + 8, 4);
        vd.cap_len[type] = cf8(0, vd.pci->devfn, at + 12, 4);
        if (type == CAP_NOTIFY)
            vd.multiplier = cf8(0, vd.pci->devfn, at + 16, 4);
    }
}

/* A board with nothing on it but the bridge; then, what the test wants on the board, and the device. */
static inline void vdev_prepare(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    memset(&vd, 0, sizeof vd);
    machine_new();
    loop_free(m->board.loop);
    m->board.loop = loop_new(&vd_clock);
    net_init(&vd_net, m->board.loop);
    m->board.net = &vd_net;
}
static inline struct device *vdev_add(const struct device_class *class, const char *options)
{
    vd.pci = (struct pci_device *)device_new(&m->board, class, NULL, options, m->err, sizeof m->err);
    if (!vd.pci)
        printf("%s\n", m->err);
    CHECK(vd.pci);
    CHECK(placed());
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vdev_find_caps();
    CHECK(vd.cap[CAP_COMMON] && vd.cap[CAP_NOTIFY] && vd.cap[CAP_ISR] && vd.access);
    return &vd.pci->dev;
}
static inline struct device *vdev_new(const struct device_class *class, const char *options)
{
    vdev_prepare();
    return vdev_add(class, options);
}

static inline uint64_t c_read(unsigned reg, unsigned size)
{
    return g_read(vd.cap[CAP_COMMON] + reg, size);
}
static inline void c_write(unsigned reg, uint64_t v, unsigned size)
{
    g_write(vd.cap[CAP_COMMON] + reg, v, size);
}
static inline unsigned vd_status(void)
{
    return (unsigned)c_read(C_STATUS, 1);
}
static inline uint64_t vd_features(void)
{
    c_write(C_DFSELECT, 0, 4);
    uint64_t low = c_read(C_DF, 4);
    c_write(C_DFSELECT, 1, 4);
    return low | c_read(C_DF, 4) << 32;
}
static inline void vd_accept(uint64_t features)
{
    c_write(C_GFSELECT, 0, 4);
    c_write(C_GF, (uint32_t)features, 4);
    c_write(C_GFSELECT, 1, 4);
    c_write(C_GF, features >> 32, 4);
}
/* Runs the loop until nothing is left to do. */
static inline void vd_run(void)
{
    for (unsigned i = 0; i < 100000 && loop_step(m->board.loop); i++)
        ;
}
static inline uint64_t vd_real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
/* For what is done on threads of the pool, which may wait for a processor and for the host's disk: runs the loop until cond is true.
 * false: a minute of real time has passed, so it hangs. */
static inline bool vd_patience(uint64_t began_ms)
{
    sched_yield();
    vd_run();
    return vd_real_ms() - began_ms < 60000;
}
#define VD_UNTIL(cond)                                                                                       \
    ({                                                                                                       \
        uint64_t began_ = vd_real_ms();                                                                      \
        bool done_;                                                                                          \
        vd_run();                                                                                            \
        while (!(done_ = (cond)) && vd_patience(began_))                                                     \
            ;                                                                                                \
        done_;                                                                                               \
    })
static inline bool vd_line(void)
{
    return irq_level(m->board.irqs, vd.pci->line.gsi);
}

/* --- queues */

static inline void vq_place(unsigned n, unsigned size)
{
    struct vq_driver *q = &vd.q[n];
    *q = (struct vq_driver){.size = (uint16_t)size, .desc = VQ_BASE + (uint64_t)n * VQ_AREA};
    q->avail = q->desc + 16 * size;
    q->used = (q->avail + 6 + 2 * size + 3) & ~3ull;
    CHECK(q->used + 6 + 8 * size <= q->desc + VQ_AREA);
    g_fill(q->desc, 0, VQ_AREA);
}
static inline void vq_program(unsigned n)
{
    struct vq_driver *q = &vd.q[n];
    c_write(C_SELECT, n, 2);
    c_write(C_SIZE, q->size, 2);
    c_write(C_DESC, q->desc, 4); /* halves, as drivers do */
    c_write(C_DESC + 4, q->desc >> 32, 4);
    c_write(C_AVAIL, q->avail, 4);
    c_write(C_AVAIL + 4, q->avail >> 32, 4);
    c_write(C_USED, q->used, 4);
    c_write(C_USED + 4, q->used >> 32, 4);
}

/* 3.1.1, up to but without the queues */
static inline void vdev_negotiate(uint64_t features)
{
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK_EQ(vd_status(), 0);
    c_write(C_STATUS, ST_ACK, 1);
    c_write(C_STATUS, ST_ACK | ST_DRIVER, 1);
    vd_accept(features);
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK, 1);
    vd.event_idx = features & F_EVENT;
}
static inline void vdev_driver_ok(void)
{
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK, 1);
}
static inline void vdev_start_sized(uint64_t features, unsigned size)
{
    vdev_negotiate(features);
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER | ST_FEATURES_OK);
    unsigned n = (unsigned)c_read(C_NUMQ, 2);
    for (unsigned i = 0; i < n && i < VQ_COUNT; i++) {
        c_write(C_SELECT, i, 2);
        unsigned most = (unsigned)c_read(C_SIZE, 2);
        vq_place(i, size && size < most ? size : most);
        vq_program(i);
        c_write(C_ENABLE, 1, 2);
        CHECK_EQ(c_read(C_ENABLE, 2), 1);
    }
    vdev_driver_ok();
    vd_run();
}
static inline void vdev_start(uint64_t features)
{
    vdev_start_sized(features, 0);
}

static inline void vq_desc_at(uint64_t table, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
                              unsigned next)
{
    g_write(table + 16 * i, addr, 8);
    g_write(table + 16 * i + 8, len, 4);
    g_write(table + 16 * i + 12, flags, 2);
    g_write(table + 16 * i + 14, next, 2);
}
static inline void vq_desc(unsigned n, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    vq_desc_at(vd.q[n].desc, i, addr, len, flags, next);
}
/* Makes a head available (its descriptors are written); the device does not know yet. */
static inline void vq_avail(unsigned n, unsigned head)
{
    struct vq_driver *q = &vd.q[n];
    g_write(q->avail + 4 + 2 * (q->avail_idx & (q->size - 1u)), head, 2);
    q->avail_idx++;
    g_write(q->avail + 2, q->avail_idx, 2);
}
static inline void vq_kick(unsigned n)
{
    c_write(C_SELECT, n, 2);
    g_write(vd.cap[CAP_NOTIFY] + c_read(C_NOFF, 2) * vd.multiplier, n, 2);
    vd_run();
}
/* Does the device want to hear of what was added after `old` entries? 2.7.7, 2.7.10 */
static inline bool vq_wants_kick(unsigned n, unsigned old)
{
    struct vq_driver *q = &vd.q[n];
    if (!vd.event_idx)
        return !(g_read(q->used, 2) & 1);
    uint16_t event = (uint16_t)g_read(q->used + 4 + 8 * q->size, 2);
    return (uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - old);
}
/* When the device is to interrupt: all (0), never (1); with the event index: at entry `at`. */
static inline void vq_no_interrupt(unsigned n, bool off)
{
    g_write(vd.q[n].avail, off, 2);
}
static inline void vq_interrupt_at(unsigned n, unsigned at)
{
    g_write(vd.q[n].avail + 4 + 2 * vd.q[n].size, at, 2);
}
static inline unsigned vq_used_idx(unsigned n)
{
    return (unsigned)g_read(vd.q[n].used + 2, 2);
}
/* The next used element; false: none. */
static inline bool vq_used(unsigned n, uint32_t *id, uint32_t *len)
{
    struct vq_driver *q = &vd.q[n];
    if (vq_used_idx(n) == q->used_seen)
        return false;
    uint64_t at = q->used + 4 + 8 * (q->used_seen++ & (q->size - 1u));
    *id = (uint32_t)g_read(at, 4);
    *len = (uint32_t)g_read(at + 4, 4);
    return true;
}

struct vq_buf {
    uint64_t gpa;
    uint32_t len;
    unsigned flags;
};
/* For drivers that lie: whatever else uses these descriptors. */
static inline void vq_add_unclaimed(unsigned n, const struct vq_buf *bufs, unsigned n_bufs, unsigned head)
{
    for (unsigned i = 0; i < n_bufs; i++)
        vq_desc(n, head + i, bufs[i].gpa, bufs[i].len, bufs[i].flags | (i + 1 < n_bufs ? F_NEXT : 0),
                head + i + 1);
    vq_avail(n, head);
}
/* Two chains under way at once that share a descriptor are a test's mistake, and a race where a device works on them on threads
 * of its own: vq_add() ends the test program. A chain is under way until the device has put it into the used ring, whether or not
 * the test looks there. */
static inline void vq_claim(unsigned n, unsigned head, unsigned n_bufs)
{
    struct vq_driver *q = &vd.q[n];
    uint16_t used = (uint16_t)vq_used_idx(n);
    if ((uint16_t)(used - q->given_back) > q->size) { /* more than the ring remembers */
        memset(q->chain, 0, sizeof q->chain);
        q->given_back = used;
    }
    for (; q->given_back != used; q->given_back++) {
        uint32_t id = (uint32_t)g_read(q->used + 4 + 8 * (q->given_back & (q->size - 1u)), 4);
        for (uint32_t i = id; i < VQ_MOST && q->chain[i] == id + 1; i++)
            q->chain[i] = 0;
    }
    for (unsigned i = head; i < head + n_bufs; i++) {
        if (i >= q->size || i >= VQ_MOST || q->chain[i]) {
            printf("vq_add: queue %u: descriptor %u of the chain at %u is outside of the table, or still "
                   "under way\n",
                   n, i, head);
            abort(); /* not CHECK: drivers on threads add, too */
        }
        q->chain[i] = (uint16_t)(head + 1);
    }
}
/* A chain from descriptor `head` on (its followers are head + 1 …); buffers: {gpa, length, F_WRITE or 0}. */
static inline void vq_add(unsigned n, const struct vq_buf *bufs, unsigned n_bufs, unsigned head)
{
    vq_claim(n, head, n_bufs);
    vq_add_unclaimed(n, bufs, n_bufs, head);
}

/* Reads of a disk's sectors 0 … n - 1 (virtio-blk) made available all at once: the request of sector i lies at base + 0x800 i,
 * its data 0x200 further. */
static inline void vq_add_reads(unsigned q, uint64_t base, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = base + 0x800 * i;
        g_write(at, 0, 4);
        g_write(at + 8, i, 8);
        vq_add(q,
               (struct vq_buf[]){
                   {at,         16,  0      },
                   {at + 0x200, 512, F_WRITE},
                   {at + 0x400, 1,   F_WRITE}
        },
               3, 3 * i);
    }
}

#endif
