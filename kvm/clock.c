/* SPDX-License-Identifier: MIT
 *
 * The guest's clocks over a pause: see vcpu.h, "Time". Called with all vCPUs parked, so that none of them is in an ioctl of its
 * own; KVM's locks do the rest.
 *
 * kvmclock is one number of the VM (4.29 KVM_GET_CLOCK, 4.30 KVM_SET_CLOCK): read at the pause, put back at the resume. The TSC
 * is an offset of each vCPU: all are lowered by what vCPU 0's TSC has gained meanwhile, and by exactly the same, since KVM
 * takes TSCs for synchronous by equal offsets (KVM_VCPU_TSC_CTRL, Documentation/virt/kvm/devices/vcpu.rst, 4; Linux 5.16).
 * Rejected: writing IA32_TSC, whose heuristics for "the same value a bit later" are for migration; and the TSC left
 * alone, since a guest whose clocksource it is sees a jump of the length of the pause.
 */
#include "kvm/priv.h"
#include <assert.h>
#include <stddef.h>
#include <sys/ioctl.h>

enum {
    MSR_IA32_TSC = 0x10,
};

struct tsc_msr {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entry;
};
static_assert(offsetof(struct tsc_msr, entry) == offsetof(struct kvm_msrs, entries),
              "layout of struct kvm_msrs");

static bool tsc_get(const struct vcpu *vcpu, uint64_t *tsc)
{
    struct tsc_msr m = {.nmsrs = 1, .entry.index = MSR_IA32_TSC};
    bool ok = ioctl(vcpu->fd, KVM_GET_MSRS, &m) == 1;
    *tsc = m.entry.data;
    return ok;
}

static bool has_offset(const struct vcpu *vcpu)
{
    struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET};
    return ioctl(vcpu->fd, KVM_HAS_DEVICE_ATTR, &attr) == 0;
}

static void offset_lower(const struct vcpu *vcpu, uint64_t by)
{
    uint64_t offset;
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset};
    if (ioctl(vcpu->fd, KVM_GET_DEVICE_ATTR, &attr) < 0)
        return;
    offset -= by;
    (void)!ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr);
}

void clock_pause(struct vcpus *vcpus)
{
    struct kvm_clock_data data = {0};
    struct clock_pause *p = &vcpus->clock;
    p->kvmclock = ioctl(vcpus->vm->fd, KVM_GET_CLOCK, &data) == 0;
    p->kvmclock_ns = data.clock;
    p->tsc = has_offset(&vcpus->vcpu[0]) && tsc_get(&vcpus->vcpu[0], &p->tsc_ticks);
}

void clock_resume(struct vcpus *vcpus)
{
    struct clock_pause *p = &vcpus->clock;
    struct kvm_clock_data data = {.clock = p->kvmclock_ns};
    uint64_t now;
    if (p->tsc && tsc_get(&vcpus->vcpu[0], &now) && now > p->tsc_ticks)
        for (unsigned i = 0; i < vcpus->n; i++)
            offset_lower(&vcpus->vcpu[i], now - p->tsc_ticks);
    if (p->kvmclock)
        (void)!ioctl(vcpus->vm->fd, KVM_SET_CLOCK, &data);
    p->kvmclock = p->tsc = false;
}

/* EINVAL: the guest does not use kvmclock. */
void clock_paused(struct vcpu *vcpu)
{
    (void)!ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}
