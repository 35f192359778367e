/* SPDX-License-Identifier: MIT
 *
 * virtio over PCI: the modern transport, and what the author of a virtio device needs to know. The instance's struct begins
 * with a struct virtio_device (which begins with struct pci_device), a const table says what the device is, and the class
 * takes the transport's parts from VIRTIO_CLASS():
 *
 *     struct rng { struct virtio_device v; … };
 *
 *     static const struct virtio_type rng_type = {.id = 4, .pci_class = 0x00ff00, .queue_ready = rng_queue_ready};
 *
 *     static const char *rng_init(struct device *dev, struct board *board)
 *     {
 *         struct rng *r = (struct rng *)dev;
 *         virtio_add_queue(&r->v, 64);
 *         return virtio_init(&r->v, board, &rng_type); // last: the queues and v.offered stand
 *     }
 *     const struct device_class rng_class = {.name = "virtio-rng", …, .size = sizeof(struct rng), .init = rng_init,
 *                                            VIRTIO_CLASS(NULL)};
 *
 * and its line in guest/classes.c; the drivers that a guest needs stand in guest/drivers.c. The configuration structure is a
 * register bank (mem/regs.h) whose fields lie in the instance: VIRTIO_CLASS(&net_config_bank); fields that have no
 * reset value in the table are set by init and marked REG_KEEP. Let registers take any size up to their width.
 *
 * queue_ready(v, q) runs on the loop with the device's lock held, when the guest has made buffers available, and once for
 * each queue after DRIVER_OK. It takes what it wants by virtq_pop() (at most one queue's length in a turn; with more the
 * transport calls again in the next pass of the loop) and pushes what is done; the transport publishes after it. A device
 * that pushes at other times (a frame came, the disk is done; also on the loop, under the lock) calls virtio_flush() itself,
 * once a batch. Buffers that were not taken wait; virtq_pop() may be called whenever the device needs one.
 *
 * A kick costs no exit to user space: its ioeventfd hangs on the notify region from set-up to the end, and the
 * loop waits on it edge-triggered, without reading it. A kick of a queue that is not alive is dropped. The slow way (trace)
 * writes the same eventfd.
 *
 * Reset: queues stop at once. With requests under way whose buffers something else still writes to, reset() returns
 * false, status keeps reading what it was (the driver waits for 0, as the specification has it), and the device calls
 * virtio_reset_done() when the last has come in; their pushes are ignored.
 *
 * Features: v->offered = the type's, the instance's own (set before virtio_init()) and the transport's. FEATURES_OK stays
 * clear when the driver took one that was not offered, not VERSION_1, or what features_ok() refuses. After that
 * they stand until reset: virtio_has(). A card tells its port in driver_ok() and reset(), from any thread:
 * port_accept(&port, virtio_has(v, VIRTIO_NET_F_GUEST_CSUM) ? … : 0).
 *
 * Transitional: with the option `legacy` a device whose type has a legacy_id shows the interface of virtio 0.9.5 too, for
 * kernels before 4.0: an I/O BAR, rings in one piece, 32 feature bits, no FEATURES_OK. Whoever asks virtio_has() need
 * not know. That interface has no way to say that a reset takes time; a driver that resets a disk with requests under way is
 * not heard before they are in.
 *
 * Lock: the device's. Source: virtio 1.2, 2.1-2.4 (status, features, notifications, reset), 4.1 (PCI).
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "mem/device.h"
#include "pci/device.h"
#include "virtio/queue.h"

enum {
    VIRTIO_QUEUES_MAX = 72, /* of a device */
    VIRTIO_NO_VECTOR = 0xffff,

    VIRTIO_STATUS_ACKNOWLEDGE = 1, /* 2.1 */
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,

    VIRTIO_F_INDIRECT_DESC = 28, /* bit numbers, 6 */
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_IN_ORDER = 35,

    VIRTIO_ISR_QUEUE = 1,
    VIRTIO_ISR_CONFIG = 2,

    VIRTIO_BANK_COMMON = 0, /* of class->banks: also their place in the BAR, in pages */
    VIRTIO_BANK_ISR = 1,
    VIRTIO_BANK_NOTIFY = 2,
    VIRTIO_BANK_CONFIG = 3,

    VIRTIO_BAR_LEGACY = 0,
    VIRTIO_BAR_MSIX = 1,
    VIRTIO_BAR = 4,
};

struct virtio_device;

struct virtio_type {
    uint16_t id; /* 1 network card, 2 disk, 3 console, 4 entropy … (5) */
    /* PCI device id of the transitional device, if the device can do without VERSION_1; 0: it cannot */
    uint16_t legacy_id;
    uint32_t pci_class; /* base class << 16 | subclass << 8 | interface */
    uint64_t features;  /* 1ull << bit, besides the transport's */
    void (*queue_ready)(struct virtio_device *v, struct virtq *q);
    bool (*features_ok)(struct virtio_device *v, uint64_t features); /* NULL: any of those offered */
    void (*driver_ok)(struct virtio_device *v);                      /* NULL: nothing to do */
    bool (*reset)(struct virtio_device *v); /* NULL: nothing to do. False: virtio_reset_done() will come */
    const char *(*loaded)(struct virtio_device *v); /* as in struct device_class; NULL: nothing to do */
    void (*fini)(struct virtio_device *v);
};

struct virtio_queue {
    struct virtq q; /* first */
    int kick_fd;
    struct loop_fd kick;
    struct loop_task turn;
};

/* What the registers show of the selected queue. */
struct virtio_selected {
    uint16_t size, vector, enable, notify_off;
    uint64_t desc, driver, device;
};

struct virtio_device {
    struct pci_device pci; /* first */
    const struct virtio_type *type;
    uint64_t offered, accepted;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t config_vector, num_queues, queue_select;
    uint8_t status, generation, isr;
    bool resetting;
    struct virtio_selected sel;
    struct virtio_queue queues[VIRTIO_QUEUES_MAX];
    unsigned n_queues;
    struct region bar, legacy_bar;
    struct reg_map *legacy_regs; /* NULL: not transitional */
    bool transitional;           /* option legacy: the interface of old is there, too */
    bool legacy;                 /* the driver uses it: no FEATURES_OK, no VERSION_1 */
    uint8_t access;              /* capability of access through configuration space */
};

/* --- set-up, in init: queues in order of their numbers, at least one; then virtio_init(). max: a power of two. */
struct virtq *virtio_add_queue(struct virtio_device *v, unsigned max);
const char *virtio_init(struct virtio_device *v, struct board *board, const struct virtio_type *type);

/* --- the device's side; lock held */
static inline struct virtq *virtio_queue(struct virtio_device *v, unsigned index)
{
    return &v->queues[index].q;
}
/* Publishes what was pushed, and interrupts the guest if it wants that. */
void virtio_flush(struct virtio_device *v, struct virtq *q);
/* For what virtq_show() has shown: interrupts the guest if it wants that by now. */
void virtio_signal(struct virtio_device *v, struct virtq *q);
/* For queues that somebody else serves (vhost): their kicks reach v->queues[].kick_fd and nobody here, ever; set-up, after
 * virtio_init(). And an interrupt that the other could not send by pci_vector_fd(). */
void virtio_hand_over(struct virtio_device *v, struct virtq *q);
void virtio_interrupt(struct virtio_device *v, struct virtq *q);
/* The configuration changed: its generation, and an interrupt. */
void virtio_config_changed(struct virtio_device *v);
void virtio_reset_done(struct virtio_device *v);
/* queue_ready(v, q) soon, on the loop: for who stopped taking for a reason of its own. Any thread. */
void virtio_turn(struct virtio_device *v, struct virtq *q);
/* The driver is running, and reset is not under way. */
static inline bool virtio_is_live(const struct virtio_device *v)
{
    return v->status & VIRTIO_STATUS_DRIVER_OK && !v->resetting;
}
/* Negotiated: false until FEATURES_OK. */
static inline bool virtio_has(const struct virtio_device *v, unsigned bit)
{
    return (v->legacy || v->status & VIRTIO_STATUS_FEATURES_OK) && v->accepted >> bit & 1;
}

/* --- for the class table */
extern const struct reg_bank virtio_common_bank, virtio_isr_bank, virtio_notify_bank;
extern const struct device_bus virtio_bus;
void virtio_class_reset(struct device *dev);
const char *virtio_class_loaded(struct device *dev);
void virtio_class_fini(struct device *dev);

/* config: the bank of the configuration structure, or NULL. */
#define VIRTIO_CLASS(config)                                                                                 \
    .bus = &virtio_bus,                                                                                      \
    .banks = (const struct reg_bank *const[]){&virtio_common_bank, &virtio_isr_bank, &virtio_notify_bank,    \
                                              config, NULL},                                                 \
    .reset = virtio_class_reset, .loaded = virtio_class_loaded, .fini = virtio_class_fini

/* The transport's part of class->state: {VIRTIO_STATE, STATE(struct rng, …), {0}}. */
#define VIRTIO_STATE_QUEUE_(member_)                                                                         \
    {                                                                                                        \
        .name = "queue." #member_, .offset = offsetof(struct virtio_device, queues[0].q.member_),            \
        .width = sizeof(((struct virtq *)0)->member_), .count = VIRTIO_QUEUES_MAX,                           \
        .stride = sizeof(struct virtio_queue)                                                                \
    }
#define VIRTIO_STATE                                                                                         \
    STATE(struct virtio_device, accepted), VIRTIO_STATE_QUEUE_(desc), VIRTIO_STATE_QUEUE_(avail),            \
        VIRTIO_STATE_QUEUE_(used), VIRTIO_STATE_QUEUE_(size), VIRTIO_STATE_QUEUE_(enabled),                  \
        VIRTIO_STATE_QUEUE_(broken), VIRTIO_STATE_QUEUE_(vector), VIRTIO_STATE_QUEUE_(last_avail),           \
        VIRTIO_STATE_QUEUE_(used_idx)

enum {
    VIRTIO_LEGACY_NOTIFY = 16, /* offset of its doorbell */
};

/* --- between virtio/pci.c, virtio/common.c and virtio/legacy.c */
static inline struct virtio_device *virtio_of(struct device *dev)
{
    return (struct virtio_device *)dev;
}
void virtio_begin_reset(struct virtio_device *v);
void virtio_load_selected(struct virtio_device *v);
void virtio_started(struct virtio_device *v); /* DRIVER_OK was set */
/* One of the BAR's; NULL: there is none. */
struct reg_map *virtio_bank(struct virtio_device *v, unsigned bank);
extern const struct reg_bits virtio_status_bits[], virtio_isr_bits[];
uint16_t virtio_vector(const struct virtio_device *v, uint64_t vector);
/* What the two interfaces have in common: the queue that queue_select names, or NULL; and functions of registers. */
struct virtq *virtio_selected(struct virtio_device *v);
void virtio_config_vector_write(struct device *dev, unsigned index, uint64_t value);
void virtio_queue_vector_write(struct device *dev, unsigned index, uint64_t value);
uint64_t virtio_isr_read(struct device *dev, unsigned index);
void virtio_kick(struct virtio_device *v, uint64_t queue); /* the slow way */
const char *virtio_legacy_init(struct virtio_device *v);   /* virtio/legacy.c: the BAR and its doorbells */

#endif
