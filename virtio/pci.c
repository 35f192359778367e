// SPDX-License-Identifier: MIT
/* virtio over PCI: see include/virtio/pci.h. Here is what is not a register: the capabilities and the BAR, kicks on their way
 * from the ioeventfd to the device, interrupts, and the beginning and end of a reset. */
#include "virtio/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm/host/log.h"

enum {
    PAGE = 4096,
    CAP_SIZE = 16, /* struct virtio_pci_cap (4.1.4) */
    CAP_TYPE = 3,
    CAP_BAR = 4,
    CAP_OFFSET = 8,
    CAP_LENGTH = 12,
    CAP_NOTIFY_MULTIPLIER = 16,
    CAP_ACCESS_DATA = 16,

    CAP_COMMON_CFG = 1,
    CAP_NOTIFY_CFG = 2,
    CAP_ISR_CFG = 3,
    CAP_DEVICE_CFG = 4,
    CAP_PCI_CFG = 5,

    PCI_VENDOR_VIRTIO = 0x1af4,
    PCI_DEVICE_MODERN = 0x1040, /* + the virtio id (4.1.2) */
};

static const struct opt bus_options[] = {
    OPT_STRING(struct pci_device, addr, "addr", 0, "SLOT[.FUNCTION]",
               "place on the PCI bus, hexadecimal as lspci shows it"),
    OPT_FLAG(struct virtio_device, transitional, "legacy", 0, "virtio 0.9.5 as well, for kernels before 4.0"),
    OPT_END,
};
const struct device_bus virtio_bus = {
    bus_options, NULL}; /* virtio_init() does it, which knows what sort of device it is */

/* Of the class's: the header of old, which is no part of the BAR, comes after them. */
struct reg_map *virtio_bank(struct virtio_device *v, unsigned bank)
{
    return bank <= VIRTIO_BANK_CONFIG && v->pci.dev.class->banks[bank] ? device_map(&v->pci.dev, bank) : NULL;
}

/* --- interrupts */

uint16_t virtio_vector(const struct virtio_device *v, uint64_t vector)
{
    return vector < v->pci.n_msix ? (uint16_t)vector : VIRTIO_NO_VECTOR; /* 4.1.5.1.2.1 */
}

/* With MSI-X on, NO_VECTOR is one that pci_raise() drops. */
static void interrupt(struct virtio_device *v, uint16_t vector, uint8_t isr)
{
    v->isr |= isr;
    pci_raise(&v->pci, vector);
}

void virtio_flush(struct virtio_device *v, struct virtq *q)
{
    if (virtq_publish(q) && !v->resetting)
        interrupt(v, q->vector, VIRTIO_ISR_QUEUE);
}

void virtio_signal(struct virtio_device *v, struct virtq *q)
{
    if (virtq_signal(q) && virtio_is_live(v))
        interrupt(v, q->vector, VIRTIO_ISR_QUEUE);
}

void virtio_interrupt(struct virtio_device *v, struct virtq *q)
{
    if (virtio_is_live(v))
        interrupt(v, q->vector, VIRTIO_ISR_QUEUE);
}

void virtio_hand_over(struct virtio_device *v, struct virtq *q)
{
    loop_fd_remove(&v->queues[q->index].kick);
}

void virtio_config_changed(struct virtio_device *v)
{
    v->generation++;
    if (virtio_is_live(v))
        interrupt(v, v->config_vector, VIRTIO_ISR_CONFIG);
}

static void queue_broke(struct virtq *q, const char *why)
{
    struct virtio_device *v = q->owner;
    guest_bug("%s: queue %u: %s: it stands still until the guest resets the device", v->pci.dev.id, q->index,
              why);
    v->status |= VIRTIO_STATUS_NEEDS_RESET;
    if (virtio_is_live(v)) /* 2.1.2 */
        interrupt(v, v->config_vector, VIRTIO_ISR_CONFIG);
}

uint64_t virtio_isr_read(struct device *dev, unsigned index)
{
    struct virtio_device *v = virtio_of(dev);
    uint8_t isr = v->isr;
    (void)index;
    v->isr = 0;
    pci_lower(&v->pci);
    return isr;
}

void virtio_kick(struct virtio_device *v, uint64_t queue)
{
    uint64_t one = 1;
    if (queue < v->n_queues && write(v->queues[queue].kick_fd, &one, sizeof one) < 0) {
        /* EAGAIN: it could not be more ready */
    }
}

/* --- turns: on the loop, with the device's lock */

static void take_turn(struct virtio_device *v, struct virtio_queue *vq)
{
    struct virtq *q = &vq->q;
    if (!virtio_is_live(v) || !q->enabled || q->broken)
        return;
    q->again = false;
    q->budget = q->size;
    v->type->queue_ready(v, q);
    q->budget = UINT32_MAX;
    virtio_flush(v, q);
    if (q->again)
        loop_task_post(&vq->turn);
}

static void on_turn(void *arg)
{
    struct virtio_queue *vq = arg;
    struct virtio_device *v = vq->q.owner;
    device_enter(&v->pci.dev);
    take_turn(v, vq);
    lock_drop(&v->pci.dev.lock);
}

static void on_kick(void *arg, uint32_t events)
{
    struct virtio_queue *vq = arg;
    (void)events;
    on_turn(vq);
}

void virtio_turn(struct virtio_device *v, struct virtq *q)
{
    (void)v;
    loop_task_post(&((struct virtio_queue *)q)->turn);
}

/* Kicks from before DRIVER_OK were dropped, so each queue is looked at. */
void virtio_started(struct virtio_device *v)
{
    if (v->type->driver_ok)
        v->type->driver_ok(v);
    for (unsigned i = 0; i < v->n_queues; i++)
        loop_task_post(&v->queues[i].turn);
}

/* Kicks of a time without bus mastering found nothing; a driver that waits for their answers gives no other. */
static void master_on(struct pci_device *pci)
{
    struct virtio_device *v = (struct virtio_device *)pci;
    for (unsigned i = 0; i < v->n_queues && virtio_is_live(v); i++)
        loop_task_post(&v->queues[i].turn);
}

/* --- reset (2.4, 4.1.4.3.1) */

void virtio_reset_done(struct virtio_device *v)
{
    v->resetting = v->legacy = false;
    v->status = 0;
    v->isr = 0;
    v->accepted = 0;
    v->device_feature_select = v->driver_feature_select = 0;
    v->queue_select = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->num_queues = (uint16_t)v->n_queues;
    for (unsigned i = 0; i < v->n_queues; i++)
        virtq_reset(virtio_queue(v, i));
    pci_lower(&v->pci);
    virtio_load_selected(v);
}

void virtio_begin_reset(struct virtio_device *v)
{
    if (v->resetting)
        return;
    v->resetting = true;
    for (unsigned i = 0; i < v->n_queues; i++)
        virtio_queue(v, i)->enabled = 0;
    if (!v->type->reset || v->type->reset(v))
        virtio_reset_done(v);
}

void virtio_class_reset(struct device *dev)
{
    virtio_begin_reset(virtio_of(dev));
}

/* --- configuration space as a way to the BAR (4.1.4.9) */

/* The register bank, and the offset in it, that the capability's fields name; NULL: none. */
static struct reg_map *access_target(struct virtio_device *v, uint64_t *offset, unsigned *size)
{
    const uint8_t *cap = v->pci.config + v->access;
    uint32_t at = pci_get32(cap + CAP_OFFSET), length = pci_get32(cap + CAP_LENGTH);
    if (cap[CAP_BAR] != VIRTIO_BAR || (length != 1 && length != 2 && length != 4) || at % length)
        return NULL;
    struct reg_map *map = virtio_bank(v, at / PAGE);
    *offset = at % PAGE;
    *size = length;
    return map && *offset < map->bank->size ? map : NULL;
}

static bool is_access_data(const struct virtio_device *v, unsigned reg)
{
    return reg / 4 == (v->access + CAP_ACCESS_DATA) / 4u;
}

static void access_read(struct pci_device *pci, unsigned reg, unsigned size)
{
    struct virtio_device *v = (struct virtio_device *)pci;
    uint64_t offset;
    unsigned length;
    (void)size;
    if (!is_access_data(v, reg))
        return;
    struct reg_map *map = access_target(v, &offset, &length);
    if (map)
        pci_set32(pci->config + v->access + CAP_ACCESS_DATA, (uint32_t)regs_read(map, offset, length));
}

static void access_written(struct pci_device *pci, unsigned reg, unsigned size)
{
    struct virtio_device *v = (struct virtio_device *)pci;
    uint64_t offset;
    unsigned length;
    (void)size;
    if (!is_access_data(v, reg))
        return;
    struct reg_map *map = access_target(v, &offset, &length);
    if (map)
        regs_write(map, offset, pci_get32(pci->config + v->access + CAP_ACCESS_DATA), length);
}

/* --- set-up */

static uint8_t *add_capability(struct virtio_device *v, uint8_t type, unsigned bank, unsigned size)
{
    uint8_t *cap = v->pci.config + pci_capability(&v->pci, PCI_CAP_VENDOR, size);
    cap[2] = (uint8_t)size;
    cap[CAP_TYPE] = type;
    if (type != CAP_PCI_CFG) {
        cap[CAP_BAR] = VIRTIO_BAR;
        pci_set32(cap + CAP_OFFSET, bank * PAGE);
        pci_set32(cap + CAP_LENGTH, (uint32_t)device_map(&v->pci.dev, bank)->bank->size);
    }
    return cap;
}

static void add_capabilities(struct virtio_device *v)
{
    uint8_t *cap = add_capability(v, CAP_PCI_CFG, 0, CAP_SIZE + 4);
    v->access = (uint8_t)(cap - v->pci.config);
    v->pci.writable[v->access + CAP_BAR] = 0xff;
    memset(v->pci.writable + v->access + CAP_OFFSET, 0xff, 12); /* offset, length, data */
    v->pci.read_hook = access_read;
    v->pci.written_hook = access_written;

    if (virtio_bank(v, VIRTIO_BANK_CONFIG))
        add_capability(v, CAP_DEVICE_CFG, VIRTIO_BANK_CONFIG, CAP_SIZE);
    cap = add_capability(v, CAP_NOTIFY_CFG, VIRTIO_BANK_NOTIFY, CAP_SIZE + 4);
    pci_set32(cap + CAP_NOTIFY_MULTIPLIER, 4);
    add_capability(v, CAP_ISR_CFG, VIRTIO_BANK_ISR, CAP_SIZE);
    add_capability(v, CAP_COMMON_CFG, VIRTIO_BANK_COMMON, CAP_SIZE);
}

struct virtq *virtio_add_queue(struct virtio_device *v, unsigned max)
{
    assert(v->n_queues < VIRTIO_QUEUES_MAX);
    struct virtio_queue *vq = &v->queues[v->n_queues];
    vq->kick_fd = -1;
    virtq_init(&vq->q, v->n_queues++, max, &v->pci.dma, v, queue_broke);
    return &vq->q;
}

static const char *add_kick(struct virtio_device *v, struct virtio_queue *vq)
{
    struct loop *loop = v->pci.dev.board->loop;
    loop_task_init(loop, &vq->turn, on_turn, vq);
    vq->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* edge-triggered: each write of the kernel's wakes us, and nobody reads the sum */
    if (vq->kick_fd < 0 || !loop_fd_add(loop, &vq->kick, vq->kick_fd, EPOLLIN | EPOLLET, on_kick, vq) ||
        !region_ioeventfd_add(&device_map(&v->pci.dev, VIRTIO_BANK_NOTIFY)->region, 4ull * vq->q.index, 0,
                              false, 0, vq->kick_fd)) {
        snprintf(v->pci.dev.error, sizeof v->pci.dev.error, "doorbell of queue %u: %s", vq->q.index,
                 strerror(errno));
        return v->pci.dev.error;
    }
    return NULL;
}

const char *virtio_init(struct virtio_device *v, struct board *board, const struct virtio_type *type)
{
    struct pci_ids ids = {
        .vendor = PCI_VENDOR_VIRTIO,
        .device = (uint16_t)(PCI_DEVICE_MODERN + type->id),
        .class_code = type->pci_class,
        .revision = 1,
        .pin = 1,
    };
    assert(v->n_queues && type->queue_ready);
    if (v->transitional && !type->legacy_id)
        return "legacy: virtio 0.9.5 has no such device";
    if (v->transitional) { /* 4.1.2.1 */
        ids.device = type->legacy_id;
        ids.revision = 0;
        ids.subsystem_vendor = PCI_VENDOR_VIRTIO;
        ids.subsystem = type->id;
    }
    v->type = type;
    v->offered |= type->features | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_EVENT_IDX |
                  1ull << VIRTIO_F_INDIRECT_DESC;
    const char *error = pci_device_init(&v->pci, board, &ids);
    if (error)
        return error;
    unsigned vectors = v->n_queues + 1;
    if ((error = pci_msix(&v->pci, VIRTIO_BAR_MSIX, vectors < PCI_MSIX_MAX ? vectors : PCI_MSIX_MAX)))
        return error;
    region_init_container(&v->bar, "virtio", 4 * PAGE);
    for (unsigned i = 0; i < v->pci.dev.n_maps; i++)
        if (!region_add(&v->bar, &device_map(&v->pci.dev, i)->region, (uint64_t)i * PAGE, 0))
            return "its registers have a place already";
    pci_bar(&v->pci, VIRTIO_BAR, PCI_BAR_MEM64, &v->bar);
    add_capabilities(v);
    v->pci.master_hook = master_on;
    for (unsigned i = 0; i < v->n_queues; i++)
        if ((error = add_kick(v, &v->queues[i])))
            return error;
    return v->transitional ? virtio_legacy_init(v) : NULL;
}

/* After a load: what the bytes say must be what a driver could have set up. */
const char *virtio_class_loaded(struct device *dev)
{
    struct virtio_device *v = virtio_of(dev);
    if (v->accepted & ~v->offered)
        return "features that this machine does not offer";
    v->num_queues = (uint16_t)v->n_queues;
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = virtio_queue(v, i);
        q->event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX);
        q->indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC);
        q->avail_idx = q->last_avail;
        q->used_next = q->signalled = q->used_idx;
        if (q->enabled && virtq_enable(q))
            return "a queue that could not have been enabled";
        loop_task_post(&v->queues[i].turn);
    }
    virtio_load_selected(v);
    return v->type->loaded ? v->type->loaded(v) : NULL;
}

void virtio_class_fini(struct device *dev)
{
    struct virtio_device *v = virtio_of(dev);
    struct region *notify = &device_map(dev, VIRTIO_BANK_NOTIFY)->region;
    if (v->type && v->type->fini)
        v->type->fini(v);
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtio_queue *vq = &v->queues[i];
        if (vq->kick_fd < 0)
            continue;
        loop_task_cancel(&vq->turn);
        loop_fd_remove(&vq->kick);
        if (v->transitional)
            region_ioeventfd_remove(&v->legacy_bar, VIRTIO_LEGACY_NOTIFY, 2, true, i, vq->kick_fd);
        region_ioeventfd_remove(notify, 4ull * i, 0, false, 0, vq->kick_fd);
        close(vq->kick_fd);
    }
    if (v->bar.name)
        region_free(&v->bar);
    if (v->legacy_bar.name)
        region_free(&v->legacy_bar);
}
