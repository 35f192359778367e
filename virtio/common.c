// SPDX-License-Identifier: MIT
/* The registers of the modern transport as tables: the common configuration structure (virtio 1.2, 4.1.4.3), the ISR byte
 * (4.1.4.5) and the doorbells (4.1.4.4). What belongs to a queue is shown of the one selected: the registers' fields
 * are a copy of it (v->sel), made anew when another is selected and after each write, so that a write that is refused
 * leaves no trace and the halves of an address can be written one by one. */
#include "kvm/host/log.h"
#include "virtio/pci.h"

/* --- features (2.2, 3.1.1) */

static uint64_t device_feature_read(struct device *dev, unsigned index)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
    return v->device_feature_select < 2 ? (uint32_t)(v->offered >> 32 * v->device_feature_select) : 0;
}

static uint64_t driver_feature_read(struct device *dev, unsigned index)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
    return v->driver_feature_select < 2 ? (uint32_t)(v->accepted >> 32 * v->driver_feature_select) : 0;
}

static void driver_feature_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
    if (v->status & VIRTIO_STATUS_FEATURES_OK || v->resetting) {
        guest_bug("%s: driver_feature written after FEATURES_OK", dev->id);
        return;
    }
    if (v->legacy) {
        guest_bug("%s: driver_feature written by a driver of the legacy interface", dev->id);
        return;
    }
    if (v->driver_feature_select >= 2) {
        if (value)
            guest_bug("%s: feature bits of word %u, of which none is offered", dev->id,
                      v->driver_feature_select);
        return;
    }
    unsigned shift = 32 * v->driver_feature_select;
    v->accepted = (v->accepted & ~(0xffffffffull << shift)) | value << shift;
}

static bool features_fit(struct virtio_device *v)
{
    const char *id = v->pci.dev.id;
    if (v->accepted & ~v->offered) {
        guest_bug("%s: the driver took features 0x%llx, which were not offered", id,
                  (unsigned long long)(v->accepted & ~v->offered));
        return false;
    }
    if (!(v->accepted >> VIRTIO_F_VERSION_1 & 1)) {
        guest_bug("%s: the driver did not take VERSION_1", id);
        return false;
    }
    if (v->type->features_ok && !v->type->features_ok(v, v->accepted)) {
        guest_bug("%s: features 0x%llx do not go together", id, (unsigned long long)v->accepted);
        return false;
    }
    return true;
}

/* --- status (2.1): a driver sets bits one after the other, and clears them all at once */

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
    uint8_t was = v->status,
            now = was | (value & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |
                                  VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED));
    if (was & ~value & ~VIRTIO_STATUS_NEEDS_RESET)
        guest_bug("%s: device_status 0x%x clears bits of 0x%x (only 0 does)", dev->id, (unsigned)value, was);
    if (now & ~was & VIRTIO_STATUS_FEATURES_OK && !features_fit(v))
        now &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    if (now & ~was & VIRTIO_STATUS_DRIVER_OK && !(now & VIRTIO_STATUS_FEATURES_OK)) {
        guest_bug("%s: DRIVER_OK without FEATURES_OK", dev->id);
        now &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    }
    v->status = now;
    if (now & ~was & VIRTIO_STATUS_DRIVER_OK)
        virtio_started(v);
}

/* --- queues */

struct virtq *virtio_selected(struct virtio_device *v)
{
    return v->queue_select < v->n_queues ? virtio_queue(v, v->queue_select) : NULL;
}

void virtio_load_selected(struct virtio_device *v)
{
    const struct virtq *q = virtio_selected(v);
    v->sel = (struct virtio_selected){0};
    if (q)
        v->sel = (struct virtio_selected){.size = q->size,
                                          .vector = q->vector,
                                          .enable = q->enabled,
                                          .notify_off = q->index,
                                          .desc = q->desc,
                                          .driver = q->avail,
                                          .device = q->used};
}

static void queue_select_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value;
    virtio_load_selected(virtio_of(dev));
}

/* Size and addresses: they stand once the queue is enabled (4.1.4.3.2). */
static void queue_written(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    struct virtq *q = virtio_selected(v);
    (void)index, (void)value;
    if (q && !q->enabled && !v->resetting) {
        q->size = v->sel.size;
        q->desc = v->sel.desc;
        q->avail = v->sel.driver;
        q->used = v->sel.device;
        return;
    }
    guest_bug("%s: queue %u changed while it %s", dev->id, v->queue_select,
              q ? "is enabled" : "does not exist");
    virtio_load_selected(v);
}

void virtio_queue_vector_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    struct virtq *q = virtio_selected(v);
    (void)index;
    if (q)
        q->vector = virtio_vector(v, value);
    if (q && v->pci.vectors_hook)
        v->pci.vectors_hook(&v->pci);
    virtio_load_selected(v);
}

static void queue_enable_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    struct virtq *q = virtio_selected(v);
    (void)index;
    if (!q || value != 1 || v->resetting || !(v->status & VIRTIO_STATUS_FEATURES_OK)) {
        guest_bug("%s: queue_enable of queue %u set to %u%s", dev->id, v->queue_select, (unsigned)value,
                  !q                                         ? ": there is no such queue"
                  : !(v->status & VIRTIO_STATUS_FEATURES_OK) ? " before FEATURES_OK"
                                                             : "");
    } else if (!q->enabled) {
        q->event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX);
        q->indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC);
        const char *why = virtq_enable(q);
        if (why)
            virtq_break(q, why);
        else if (virtio_is_live(v))
            virtio_turn(v, q);
    }
    virtio_load_selected(v);
}

void virtio_config_vector_write(struct device *dev, unsigned index, uint64_t value)
{
    struct virtio_device *v = virtio_of(dev);
    (void)index;
    v->config_vector = virtio_vector(v, value);
}

const struct reg_bits virtio_status_bits[] = {
    {"ACKNOWLEDGE", 0, 1},
    {"DRIVER",            1, 1},
    {"DRIVER_OK",      2, 1},
    {"FEATURES_OK",            3, 1},
    {"NEEDS_RESET",   6, 1},
    {"FAILED",            7, 1},
    {0},
};

#define V(member_)   REG_FIELD(struct virtio_device, member_)
#define ANY(member_) .writable = (1ull << 8 * sizeof(((struct virtio_device *)0)->member_)) - 1, V(member_)
#define ADDRESS(member_)                                                                                     \
    .width = 8, .sizes = 4 | 8, .writable = UINT64_MAX, V(member_), .write = queue_written
static const struct reg common_regs[] = {
    {"device_feature_select",      0x00, 4, ANY(device_feature_select)},
    {"device_feature",                           0x04, 4, .flags = REG_RO | REG_PURE, .read = device_feature_read},
    {"driver_feature_select",                            0x08, 4, ANY(driver_feature_select)},
    {"driver_feature",0x0c, 4, .flags = REG_PURE, .read = driver_feature_read,
     .write = driver_feature_write},
    {"config_msix_vector",  0x10, 2, V(config_vector), .write = virtio_config_vector_write},
    {"num_queues",                            0x12, 2, .flags = REG_RO, V(num_queues)},
    {"device_status",0x14, 1, V(status), .write = status_write, .bits = virtio_status_bits},
    {"config_generation",  0x15, 1, .flags = REG_RO, V(generation)},
    {"queue_select",             0x16, 2, ANY(queue_select), .write = queue_select_write},
    {"queue_size",                           0x18, 2, ANY(sel.size), .write = queue_written},
    {"queue_msix_vector", 0x1a, 2, V(sel.vector), .write = virtio_queue_vector_write},
    {"queue_enable",                            0x1c, 2, V(sel.enable), .write = queue_enable_write},
    {"queue_notify_off",                       0x1e, 2, .flags = REG_RO, V(sel.notify_off)},
    {"queue_desc",            0x20, ADDRESS(sel.desc)},
    {"queue_driver",                            0x28, ADDRESS(sel.driver)},
    {"queue_device",0x30, ADDRESS(sel.device)},
    {0            },
};
const struct reg_bank virtio_common_bank = {.name = "common", .size = 0x38, .regs = common_regs};

/* --- ISR: reading clears it and takes the line down */

const struct reg_bits virtio_isr_bits[] = {
    {"QUEUE",  0, 1},
    {"CONFIG",       1, 1},
    {0},
};
static const struct reg isr_regs[] = {
    {"isr_status", 0, 1, .flags = REG_RO, V(isr), .read = virtio_isr_read, .bits = virtio_isr_bits},
    {0          },
};
const struct reg_bank virtio_isr_bank = {.name = "isr", .size = 4, .regs = isr_regs};

/* --- doorbells: one for each queue, 4 bytes apart. Only traced guests and KVMs without ioeventfds come here. */

static void notify_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)value;
    virtio_kick(virtio_of(dev), index);
}

static const struct reg notify_regs[] = {
    {"queue_notify", 0, 4, .sizes = 1 | 2 | 4, .flags = REG_WO, .count = VIRTIO_QUEUES_MAX,
     .write = notify_write},
    {0            },
};
const struct reg_bank virtio_notify_bank = {
    .name = "notify", .size = 4 * VIRTIO_QUEUES_MAX, .regs = notify_regs};
