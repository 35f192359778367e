/* SPDX-License-Identifier: MIT
 *
 * A vCPU's state as firmware would leave it (MSRs, machine check banks) and as a boot protocol wants it (vcpu_set_boot).
 * KVM's own reset values stand for everything that is not named here: FPU, XCR0, debug registers, local APIC.
 *
 * Source: Intel SDM 3A 10.1.1 (reset state), 4 (MSRs); Linux Documentation/virt/kvm/api.rst 4.12, 4.19, 4.104.
 */
#include "kvm/priv.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

enum msr {
    MSR_IA32_MISC_ENABLE = 0x1a0,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_LSTAR = 0xc0000082,
};
enum {
    MISC_ENABLE_FAST_STRING = 1 << 0,
    MTRR_DEF_TYPE_E = 1 << 11,
    MTRR_WRITE_BACK = 6,
    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    SEGMENT_CODE = 11, /* execute/read, accessed */
    SEGMENT_DATA = 3,  /* read/write, accessed */
};

/* struct kvm_msrs with one entry. */
struct one_msr {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entry;
};
static_assert(offsetof(struct one_msr, entry) == offsetof(struct kvm_msrs, entries),
              "layout of struct kvm_msrs");

static bool msr_get(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    struct one_msr m = {.nmsrs = 1, .entry.index = index};
    bool ok = ioctl(vcpu->fd, KVM_GET_MSRS, &m) == 1;
    *value = ok ? m.entry.data : 0;
    return ok;
}

/* An MSR that this KVM does not know is none that the guest could miss: no error. */
static void msr_set(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    struct one_msr m = {
        .nmsrs = 1, .entry = {.index = index, .data = value}
    };
    (void)!ioctl(vcpu->fd, KVM_SET_MSRS, &m);
}

/* One bank instead of KVM's 32: no machine check is ever injected, and each bank costs a Linux guest some six exits at
 * boot. (No bank at all is refused by KVM.) */
static void mce_init(struct vcpu *vcpu)
{
    uint64_t cap = 0;
    if (!vcpu->all->vm->mce || ioctl(vcpu->all->vm->dev, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap) < 0)
        return;
    cap = (cap & ~UINT64_C(0xff)) | 1;
    (void)!ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &cap);
}

int state_init(struct vcpu *vcpu)
{
    uint64_t misc;

    mce_init(vcpu);
    if (msr_get(vcpu, MSR_IA32_MISC_ENABLE, &misc))
        msr_set(vcpu, MSR_IA32_MISC_ENABLE, misc | MISC_ENABLE_FAST_STRING);
    /* Memory is write-back unless page tables say otherwise: there is no firmware to write the ranges. */
    msr_set(vcpu, MSR_MTRR_DEF_TYPE, MTRR_DEF_TYPE_E | MTRR_WRITE_BACK);
    return ioctl(vcpu->fd, KVM_GET_SREGS, &vcpu->sregs0) < 0 ? -errno : 0;
}

static struct kvm_segment segment(enum vcpu_mode mode, uint16_t selector, bool code)
{
    bool real = mode == VCPU_REAL16;
    return (struct kvm_segment){
        .base = real ? (uint64_t)selector << 4 : 0,
        .limit = real ? 0xffff : 0xffffffff,
        .selector = selector,
        .type = code ? SEGMENT_CODE : SEGMENT_DATA,
        .present = 1,
        .s = 1,
        .db = !real && (!code || mode == VCPU_PROTECTED32),
        .l = code && mode == VCPU_LONG64,
        .g = !real,
    };
}

int vcpu_set_boot(struct vcpu *vcpu, const struct vcpu_boot *boot)
{
    struct kvm_sregs sregs = vcpu->sregs0;
    struct kvm_regs regs = {
        .rip = boot->rip,
        .rsp = boot->rsp,
        .rflags = boot->rflags | 2,
        .rax = boot->rax,
        .rbx = boot->rbx,
        .rcx = boot->rcx,
        .rdx = boot->rdx,
        .rsi = boot->rsi,
        .rdi = boot->rdi,
    };
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

    sregs.cs = segment(boot->mode, boot->cs, true);
    sregs.ds = segment(boot->mode, boot->ds, false);
    sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
    if (boot->mode != VCPU_REAL16) {
        sregs.cr0 = boot->cr0 | CR0_PE | CR0_ET;
        sregs.cr3 = boot->cr3;
        sregs.cr4 = boot->cr4;
        sregs.efer = boot->efer;
        sregs.gdt.base = boot->gdt_base;
        sregs.gdt.limit = boot->gdt_limit;
    }
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0 ||
        ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable) < 0)
        return -errno;
    return 0;
}

struct entries {
    uint64_t lstar, idt;
};

static void entries_get(void *arg, struct vcpu *vcpu)
{
    struct entries *e = arg;
    struct kvm_sregs s;
    if (ioctl(vcpu->fd, KVM_GET_SREGS, &s) == 0)
        e->idt = s.idt.base;
    (void)msr_get(vcpu, MSR_LSTAR, &e->lstar);
}

void vcpu_entries(struct vcpu *vcpu, uint64_t *lstar, uint64_t *idt)
{
    struct entries e = {0, 0};
    if (vcpu_self() == vcpu)
        entries_get(&e, vcpu);
    else
        vcpu_call(vcpu, entries_get, &e);
    *lstar = e.lstar;
    *idt = e.idt;
}
