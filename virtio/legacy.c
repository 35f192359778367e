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
    HEADER = 20, /* without the vectors, which are there with MSI-X on only */
    HEADER_MSIX = 24,

    PAGE = 4096, /* alignment of the used ring, and unit of the address */
    BAR_SIZE = 128,
};

static unsigned header_size(const struct virtio_device *v)
{
    return pci_get16(v->pci.config + v->pci.msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE ? HEADER_MSIX : HEADER;
}

static uint64_t queue_pfn_read(struct device *dev, unsigned index)
{
    const struct virtq *q = virtio_selected(virtio_of(dev));
    (void)index;
    return q && q->enabled ? q->desc / PAGE : 0;
}

static void queue_pfn_write(struct device *dev, unsigned index, uint64_t page)
{
    struct virtio_device *v = virtio_of(dev);
    struct virtq *q = virtio_selected(v);
    (void)index;
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
    q->desc = page * PAGE;
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

static void status_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
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

static uint64_t host_features_read(struct device *dev, unsigned index)
{
    (void)index;
    return (uint32_t)virtio_of(dev)->offered;
}

static uint64_t guest_features_read(struct device *dev, unsigned index)
{
    (void)index;
    return (uint32_t)virtio_of(dev)->accepted;
}

static void guest_features_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
    if (!(v->status & VIRTIO_STATUS_DRIVER_OK) && !v->resetting)
        v->accepted = value & v->offered; /* nobody is there to hear that he took too many */
}

static uint64_t queue_num_read(struct device *dev, unsigned index)
{
    const struct virtq *q = virtio_selected(virtio_of(dev));
    (void)index;
    return q ? q->max : 0;
}

static void queue_notify_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    virtio_kick(virtio_of(dev), value);
}

static uint64_t queue_vector_read(struct device *dev, unsigned index)
{
    const struct virtq *q = virtio_selected(virtio_of(dev));
    (void)index;
    return q ? q->vector : VIRTIO_NO_VECTOR;
}

/* Named as in Linux' virtio_pci.h, apart from the other interface's: a fault script says which it means. */
#define V(member_) REG_FIELD(struct virtio_device, member_)
static const struct reg legacy_regs[] = {
    {"host_features",              0, 4, .flags = REG_RO | REG_PURE, .read = host_features_read},
    {"guest_features",                           4, 4, .flags = REG_PURE, .read = guest_features_read, .write = guest_features_write},
    {"queue_pfn",  8, 4, .flags = REG_PURE, .read = queue_pfn_read, .write = queue_pfn_write},
    {"queue_num",             12, 2, .flags = REG_RO | REG_PURE, .read = queue_num_read},
    {"queue_sel",                           14, 2, .writable = 0xffff, V(queue_select)},
    {"notify", VIRTIO_LEGACY_NOTIFY, 2, .write = queue_notify_write},
    {"legacy_status",                            18, 1, V(status), .write = status_write, .bits = virtio_status_bits},
    {"isr",                          19, 1, .flags = REG_RO, V(isr), .read = virtio_isr_read, .bits = virtio_isr_bits},
    {"msi_config_vector",           HEADER, 2, V(config_vector), .write = virtio_config_vector_write},
    {"msi_queue_vector",    HEADER + 2, 2, .flags = REG_PURE, .read = queue_vector_read,
     .write = virtio_queue_vector_write},
    {0                 },
};
static const struct reg_bank legacy_bank = {.name = "legacy", .size = HEADER_MSIX, .regs = legacy_regs};

/* The bank that an access goes to, and the offset in it. */
static struct reg_map *bank_of(struct virtio_device *v, uint64_t *offset)
{
    unsigned header = header_size(v);
    if (*offset < header)
        return v->legacy_regs;
    *offset -= header;
    return virtio_bank(v, VIRTIO_BANK_CONFIG);
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    struct reg_map *map = bank_of(opaque, &offset);
    return map ? regs_read(map, offset, size) : UINT64_MAX;
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct reg_map *map = bank_of(opaque, &offset);
    if (map)
        regs_write(map, offset, value, size);
    virtio_load_selected(opaque); /* the other interface shows it, too */
}

static const struct region_ops legacy_ops = {legacy_read, legacy_write, 1 | 2 | 4, 0};

const char *virtio_legacy_init(struct virtio_device *v)
{
    if (!(v->legacy_regs = device_add_bank(&v->pci.dev, &legacy_bank)))
        return "no memory for its registers";
    region_init_io(&v->legacy_bar, "virtio-legacy", BAR_SIZE, &legacy_ops, v, &v->pci.dev.lock, &v->pci.dev);
    pci_bar(&v->pci, VIRTIO_BAR_LEGACY, PCI_BAR_IO, &v->legacy_bar);
    for (unsigned i = 0; i < v->n_queues; i++)
        if (!region_ioeventfd_add(&v->legacy_bar, VIRTIO_LEGACY_NOTIFY, 2, true, i, v->queues[i].kick_fd))
            return "its doorbells have a place already";
    return NULL;
}
