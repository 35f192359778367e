// SPDX-License-Identifier: MIT
/* Ops tables over kvm/: see include/mem/kvm.h. Nothing but translation. */
#include "mem/kvm.h"

#include "kvm/vcpu.h"
#include "kvm/vm.h"

static int set(void *ctx, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
    struct kvm_link *k = ctx;
    struct vm_slot s = {.slot = slot, .gpa = gpa, .size = size, .host = host};
    if (flags & SLOT_LOG)
        s.flags |= VM_SLOT_LOG;
    if (flags & SLOT_READONLY)
        s.flags |= VM_SLOT_READONLY;
    return vm_slot_set(k->vm, &s);
}

static int dirty_get(void *ctx, uint32_t slot, uint64_t *bitmap)
{
    return vm_dirty_get(((struct kvm_link *)ctx)->vm, slot, bitmap);
}

static int dirty_clear(void *ctx, uint32_t slot, uint64_t first, uint32_t pages, const uint64_t *bitmap)
{
    return vm_dirty_clear(((struct kvm_link *)ctx)->vm, slot, first, pages, bitmap);
}

static void hold(void *ctx)
{
    struct kvm_link *k = ctx;
    if (k->vcpus)
        vcpus_hold(k->vcpus);
}

static void release(void *ctx)
{
    struct kvm_link *k = ctx;
    if (k->vcpus)
        vcpus_release(k->vcpus);
}

static const struct slots_ops slots_ops = {set, dirty_get, dirty_clear, hold, release};

struct slots *slots_new_kvm(struct space *memory, struct kvm_link *link)
{
    struct slots_limits limits = {
        .slots = vm_max_slots(link->vm), .max_size = vm_slot_max_size(), .readonly = true};
    return slots_new(memory, &slots_ops, link, &limits);
}

static int event(void *ctx, bool pio, uint64_t addr, unsigned size, bool match, uint64_t value, int fd,
                 bool add)
{
    struct kvm_link *k = ctx;
    struct vm_ioeventfd e = {
        .pio = pio, .match = match, .size = (uint8_t)size, .addr = addr, .value = value, .fd = fd};
    return add ? vm_ioeventfd_add(k->vm, &e) : vm_ioeventfd_del(k->vm, &e);
}

static int zone(void *ctx, bool pio, uint64_t addr, uint64_t size, bool add)
{
    struct kvm_link *k = ctx;
    uint32_t bytes = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    return add ? vm_coalesce_add(k->vm, pio, addr, bytes) : vm_coalesce_del(k->vm, pio, addr, bytes);
}

static void drain(void *ctx)
{
    struct kvm_link *k = ctx;
    if (k->vcpus)
        vcpus_drain(k->vcpus);
}

static const struct ioevents_ops ioevents_ops = {event, zone, drain};

struct ioevents *ioevents_new_kvm(struct space *memory, struct space *io, struct kvm_link *link)
{
    return ioevents_new(memory, io, &ioevents_ops, link);
}
