// SPDX-License-Identifier: MIT
/* The transitional device's second face: the registers of virtio 0.9.5 in an I/O BAR, in front of the device's own configuration
 * structure (virtio 1.2, 4.1.4.10, and the Legacy Interface sections). The device behind is the same; what differs is: features
 * are 32 bits that nobody confirms; a queue has the size that the device says, lies in one piece, and is enabled by being
 * given a page; the vectors are there only while MSI-X is on, and move the rest by four bytes. Accesses to the header
 * are of a register's own size; others read all ones and are dropped.
 *
 * Runs with the device's lock held. */
#include "kvm/host/log.h"
#include "virtio/pci.h"

enum {
    DEVICE_FEATURES = 0,
    DRIVER_FEATURES = 4,
    QUEUE_ADDRESS = 8, /* page number */
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = VIRTIO_LEGACY_NOTIFY,
    DEVICE_STATUS = 18,
    ISR_STATUS = 19,
    CONFIG_VECTOR = 20, /* these two with MSI-X on only */
    QUEUE_VECTOR = 22,
    HEADER = 20,
    HEADER_MSIX = 24,

    PAGE = 4096, /* alignment of the used ring, and unit of the address */
    BAR_SIZE = 128,
};

static unsigned header_size(const struct virtio_device *v)
{
    return pci_get16(v->pci.config + v->pci.msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE ? HEADER_MSIX : HEADER;
}

static struct virtq *selected(struct virtio_device *v)
{
    return v->queue_select < v->n_queues ? virtio_queue(v, v->queue_select) : NULL;
}

static unsigned width_of(uint64_t offset)
{
    return offset < QUEUE_SIZE ? 4 : offset == DEVICE_STATUS || offset == ISR_STATUS ? 1 : 2;
}

static bool is_register(uint64_t offset, unsigned size)
{
    unsigned width = width_of(offset);
    return size == width && offset % width == 0;
}

static void set_address(struct virtio_device *v, uint32_t page)
{
    struct virtq *q = selected(v);
    if (!q || v->resetting)
        return;
    if (!page) {
        if (q->inflight)
            q->enabled = 0; /* pushes go nowhere; it comes back by a reset of the device */
        else
            virtq_reset(q);
        return;
    }
    if (q->enabled)
        return;
    q->size = q->max;
    q->desc = (uint64_t)page * PAGE;
    q->avail = q->desc + sizeof(struct virtq_desc) * q->size;
    q->used = (q->avail + 2 * (3u + q->size) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    q->event_idx = v->accepted >> VIRTIO_F_EVENT_IDX & 1;
    q->indirect = v->accepted >> VIRTIO_F_INDIRECT_DESC & 1;
    const char *why = q->inflight ? "it has requests of an earlier life" : virtq_enable(q);
    if (why)
        virtq_break(q, why);
    else if (virtio_is_live(v))
        virtio_turn(v, q);
}

static void set_status(struct virtio_device *v, uint8_t value)
{
    if (v->resetting)
        return;
    if (!value) {
        virtio_begin_reset(v);
        return;
    }
    uint8_t was = v->status;
    if (was & VIRTIO_STATUS_FEATURES_OK) {
        guest_bug("%s: the legacy status written by a driver of virtio 1", v->pci.dev.id);
        return;
    }
    if (!v->legacy) /* what came by the other interface may be anything */
        v->accepted &= v->offered & UINT32_MAX;
    v->legacy = true;
    v->status |= value & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
                          VIRTIO_STATUS_FAILED);
    if (v->status & ~was & VIRTIO_STATUS_DRIVER_OK)
        virtio_started(v);
}

static uint64_t header_read(struct virtio_device *v, uint64_t offset)
{
    const struct virtq *q = selected(v);
    switch (offset) {
    case DEVICE_FEATURES:
        return (uint32_t)v->offered;
    case DRIVER_FEATURES:
        return (uint32_t)v->accepted;
    case QUEUE_ADDRESS:
        return q && q->enabled ? q->desc / PAGE : 0;
    case QUEUE_SIZE:
        return q ? q->max : 0;
    case QUEUE_SELECT:
        return v->queue_select;
    case DEVICE_STATUS:
        return v->status;
    case ISR_STATUS:
        return virtio_take_isr(v);
    case CONFIG_VECTOR:
        return v->config_vector;
    case QUEUE_VECTOR:
        return q ? q->vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static void header_write(struct virtio_device *v, uint64_t offset, uint64_t value)
{
    struct virtq *q = selected(v);
    switch (offset) {
    case DRIVER_FEATURES: /* nobody is there to hear that he took too many */
        if (!(v->status & VIRTIO_STATUS_DRIVER_OK) && !v->resetting)
            v->accepted = value & v->offered;
        break;
    case QUEUE_ADDRESS:
        set_address(v, (uint32_t)value);
        break;
    case QUEUE_SELECT:
        v->queue_select = (uint16_t)value;
        break;
    case QUEUE_NOTIFY:
        virtio_kick(v, value);
        break;
    case DEVICE_STATUS:
        set_status(v, (uint8_t)value);
        break;
    case CONFIG_VECTOR:
        v->config_vector = virtio_vector(v, value);
        break;
    case QUEUE_VECTOR:
        if (q)
            q->vector = virtio_vector(v, value);
        break;
    default:
        break;
    }
}

static struct reg_map *config_of(struct virtio_device *v)
{
    return v->pci.dev.n_maps > VIRTIO_BANK_CONFIG ? device_map(&v->pci.dev, VIRTIO_BANK_CONFIG) : NULL;
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_device *v = opaque;
    unsigned header = header_size(v);
    struct reg_map *config = config_of(v);
    if (offset < header)
        return is_register(offset, size) ? header_read(v, offset) : UINT64_MAX;
    return config ? regs_read(config, offset - header, size) : UINT64_MAX;
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_device *v = opaque;
    unsigned header = header_size(v);
    struct reg_map *config = config_of(v);
    if (offset >= header && config)
        regs_write(config, offset - header, value, size);
    else if (offset < header && is_register(offset, size))
        header_write(v, offset, value);
}

static const struct region_ops legacy_ops = {legacy_read, legacy_write, 1 | 2 | 4, 0};

const char *virtio_legacy_init(struct virtio_device *v)
{
    region_init_io(&v->legacy_bar, "virtio-legacy", BAR_SIZE, &legacy_ops, v, &v->pci.dev.lock, &v->pci.dev);
    pci_bar(&v->pci, VIRTIO_BAR_LEGACY, PCI_BAR_IO, &v->legacy_bar);
    for (unsigned i = 0; i < v->n_queues; i++)
        if (!region_ioeventfd_add(&v->legacy_bar, QUEUE_NOTIFY, 2, true, i, v->queues[i].kick_fd))
            return "its doorbells have a place already";
    return NULL;
}
