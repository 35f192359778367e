/* SPDX-License-Identifier: MIT
 *
 * A debugger's view of a vCPU: see debug.h. Each public function is a call to the vCPU's thread (vcpu_call), and a static
 * one that does the ioctls there.
 */
#include "kvm/debug.h"
#include "kvm/priv.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

enum dr {
    DR6_HIT = 0xf, /* B0-B3 */
    DR7_ONE = 1 << 10,
    DR7_GLOBAL_EXACT = 1 << 9,
    MSR_KERNEL_GS_BASE = 0xc0000102,
    BREAKPOINT_VECTOR = 3,
    INT3 = 0xcc,
};

struct reg_call {
    struct vcpu_regs *out;
    const struct vcpu_regs *in;
    int error;
};

/* --- registers */

struct kernel_gs {
    uint32_t nmsrs, pad;
    struct kvm_msr_entry entry;
};
static_assert(offsetof(struct kernel_gs, entry) == offsetof(struct kvm_msrs, entries),
              "layout of struct kvm_msrs");

/* The first 512 bytes of XSAVE's area (SDM 1, table 10-2). Not KVM_GET_FPU: it leaves MXCSR out, and what KVM_SET_FPU sets is
 * not marked as in use. */
struct fx {
    uint16_t fcw, fsw;
    uint8_t ftw, reserved;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16], xmm[16][16];
};
static_assert(offsetof(struct fx, st) == 32 && offsetof(struct fx, xmm) == 160, "XSAVE's legacy area");
enum {
    XSAVE_BV = 512 / 4, /* in struct kvm_xsave's words */
    XSAVE_X87_SSE = 3,
};

/* All that KVM is asked for. */
struct raw {
    struct kvm_regs r;
    struct kvm_sregs s;
    struct kernel_gs gs;
    struct kvm_xsave x; /* last: it ends with an array of no fixed size */
};

static int raw_get(struct vcpu *vcpu, struct raw *raw)
{
    *raw = (struct raw){
        .gs = {.nmsrs = 1, .entry.index = MSR_KERNEL_GS_BASE}
    };
    if (ioctl(vcpu->fd, KVM_GET_REGS, &raw->r) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &raw->s) < 0 ||
        ioctl(vcpu->fd, KVM_GET_XSAVE, &raw->x) < 0)
        return -errno;
    if (ioctl(vcpu->fd, KVM_GET_MSRS, &raw->gs) != 1)
        raw->gs.entry.data = 0;
    return 0;
}

/* FXSAVE's tag has a bit a register, the full word two: 3 for an empty one. */
static uint32_t tag_full(uint8_t abridged)
{
    uint32_t full = 0;
    for (unsigned i = 0; i < 8; i++)
        if (!(abridged >> i & 1))
            full |= 3u << 2 * i;
    return full;
}

static uint8_t tag_abridged(uint32_t full)
{
    uint8_t abridged = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((full >> 2 * i & 3) != 3)
            abridged |= (uint8_t)(1u << i);
    return abridged;
}

static void general(struct vcpu_regs *v, struct kvm_regs *r, bool to_kvm)
{
    uint64_t *const pairs[][2] = {
        {&v->rax,    (uint64_t *)&r->rax   },
        {&v->rbx,    (uint64_t *)&r->rbx   },
        {&v->rcx,    (uint64_t *)&r->rcx   },
        {&v->rdx,    (uint64_t *)&r->rdx   },
        {&v->rsi,    (uint64_t *)&r->rsi   },
        {&v->rdi,    (uint64_t *)&r->rdi   },
        {&v->rbp,    (uint64_t *)&r->rbp   },
        {&v->rsp,    (uint64_t *)&r->rsp   },
        {&v->r8,     (uint64_t *)&r->r8    },
        {&v->r9,     (uint64_t *)&r->r9    },
        {&v->r10,    (uint64_t *)&r->r10   },
        {&v->r11,    (uint64_t *)&r->r11   },
        {&v->r12,    (uint64_t *)&r->r12   },
        {&v->r13,    (uint64_t *)&r->r13   },
        {&v->r14,    (uint64_t *)&r->r14   },
        {&v->r15,    (uint64_t *)&r->r15   },
        {&v->rip,    (uint64_t *)&r->rip   },
        {&v->rflags, (uint64_t *)&r->rflags},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        *pairs[i][to_kvm] = *pairs[i][!to_kvm];
}

static void from_raw(struct vcpu_regs *v, struct raw *raw)
{
    const struct kvm_sregs *s = &raw->s;
    const struct fx *f = (const struct fx *)raw->x.region;
    *v = (struct vcpu_regs){
        .cs = s->cs.selector,
        .ss = s->ss.selector,
        .ds = s->ds.selector,
        .es = s->es.selector,
        .fs = s->fs.selector,
        .gs = s->gs.selector,
        .cs_base = s->cs.base,
        .fs_base = s->fs.base,
        .gs_base = s->gs.base,
        .k_gs_base = raw->gs.entry.data,
        .cr0 = s->cr0,
        .cr2 = s->cr2,
        .cr3 = s->cr3,
        .cr4 = s->cr4,
        .cr8 = s->cr8,
        .efer = s->efer,
        .fctrl = f->fcw,
        .fstat = f->fsw,
        .ftag = tag_full(f->ftw),
        .fiseg = (uint32_t)(f->fip >> 32),
        .fioff = (uint32_t)f->fip,
        .foseg = (uint32_t)(f->fdp >> 32),
        .fooff = (uint32_t)f->fdp,
        .fop = f->fop,
        .mxcsr = f->mxcsr,
    };
    general(v, &raw->r, false);
    memcpy(v->st, f->st, sizeof v->st);
    memcpy(v->xmm, f->xmm, sizeof v->xmm);
}

static void to_raw(const struct vcpu_regs *v, struct raw *raw)
{
    struct vcpu_regs copy = *v;
    struct kvm_sregs *s = &raw->s;
    struct fx *f = (struct fx *)raw->x.region;
    general(&copy, &raw->r, true);
    s->fs.base = v->fs_base, s->gs.base = v->gs_base;
    s->cr0 = v->cr0, s->cr2 = v->cr2, s->cr3 = v->cr3, s->cr4 = v->cr4, s->cr8 = v->cr8, s->efer = v->efer;
    f->fcw = (uint16_t)v->fctrl;
    f->fsw = (uint16_t)v->fstat;
    f->ftw = tag_abridged(v->ftag);
    f->fip = (uint64_t)v->fiseg << 32 | v->fioff;
    f->fdp = (uint64_t)v->foseg << 32 | v->fooff;
    f->fop = (uint16_t)v->fop;
    f->mxcsr = v->mxcsr;
    memcpy(f->st, v->st, sizeof f->st);
    memcpy(f->xmm, v->xmm, sizeof f->xmm);
    raw->gs.entry.data = v->k_gs_base;
}

static void get_regs(void *arg, struct vcpu *vcpu)
{
    struct reg_call *call = arg;
    struct raw raw;
    call->error = raw_get(vcpu, &raw);
    if (!call->error)
        from_raw(call->out, &raw);
}

int vcpu_regs_get(struct vcpu *vcpu, struct vcpu_regs *regs)
{
    struct reg_call call = {.out = regs};
    vcpu_call(vcpu, get_regs, &call);
    return call.error;
}

static void set_regs(void *arg, struct vcpu *vcpu)
{
    struct reg_call *call = arg;
    struct raw old, new;
    call->error = raw_get(vcpu, &old);
    if (call->error)
        return;
    new = old;
    to_raw(call->in, &new);
    if ((memcmp(&old.s, &new.s, sizeof old.s) && ioctl(vcpu->fd, KVM_SET_SREGS, &new.s) < 0) ||
        (memcmp(&old.r, &new.r, sizeof old.r) && ioctl(vcpu->fd, KVM_SET_REGS, &new.r) < 0) ||
        (memcmp(&old.x, &new.x, sizeof old.x) &&
         (new.x.region[XSAVE_BV] |= XSAVE_X87_SSE, ioctl(vcpu->fd, KVM_SET_XSAVE, &new.x) < 0)))
        call->error = -errno;
    else if (old.gs.entry.data != new.gs.entry.data && ioctl(vcpu->fd, KVM_SET_MSRS, &new.gs) != 1)
        call->error = -EINVAL;
}

int vcpu_regs_set(struct vcpu *vcpu, const struct vcpu_regs *regs)
{
    struct reg_call call = {.in = regs};
    vcpu_call(vcpu, set_regs, &call);
    return call.error;
}

/* --- addresses */

static void translate(void *arg, struct vcpu *vcpu)
{
    struct kvm_translation *tr = arg;
    if (ioctl(vcpu->fd, KVM_TRANSLATE, tr) < 0)
        tr->valid = 0;
}

bool vcpu_translate(struct vcpu *vcpu, uint64_t linear, uint64_t *gpa)
{
    struct kvm_translation tr = {.linear_address = linear};
    vcpu_call(vcpu, translate, &tr);
    *gpa = tr.physical_address;
    return tr.valid;
}

/* --- breakpoints and steps */

bool vm_can_debug(const struct vm *vm)
{
    return ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG) > 0;
}

static uint32_t step_control(const struct vm *vm)
{
    int can = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
    return KVM_GUESTDBG_SINGLESTEP | (can > 0 ? (uint32_t)can & KVM_GUESTDBG_BLOCKIRQ : 0);
}

/* The enable bit, kind and length of one breakpoint in DR7. */
static uint64_t dr7_of(unsigned i, const struct vcpu_hard *h)
{
    static const uint8_t kinds[] = {[VCPU_HARD_EXECUTE] = 0, [VCPU_HARD_WRITE] = 1, [VCPU_HARD_ACCESS] = 3};
    static const uint8_t sizes[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    return 2ull << 2 * i | (uint64_t)kinds[h->kind] << (16 + 4 * i) |
           (uint64_t)sizes[h->size] << (18 + 4 * i);
}

struct debug_call {
    const struct vcpu_debug *debug;
    int error;
};

static void set_debug(void *arg, struct vcpu *vcpu)
{
    struct debug_call *call = arg;
    const struct vcpu_debug *d = call->debug;
    struct kvm_guest_debug g = {.control = (d->step ? step_control(vcpu->all->vm) : 0) |
                                           (d->soft ? KVM_GUESTDBG_USE_SW_BP : 0)};
    for (unsigned i = 0; i < VCPU_HARD; i++) {
        if (d->hard[i].kind == VCPU_HARD_NONE)
            continue;
        g.control |= KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[i] = d->hard[i].addr;
        g.arch.debugreg[7] |= dr7_of(i, &d->hard[i]) | DR7_ONE | DR7_GLOBAL_EXACT;
    }
    if (g.control)
        g.control |= KVM_GUESTDBG_ENABLE;
    call->error = ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &g) < 0 ? -errno : 0;
    if (call->error)
        return;
    vcpu->debug_on = g.control != 0;
    vcpu->debug_soft = d->soft;
}

int vcpu_debug_set(struct vcpu *vcpu, const struct vcpu_debug *debug)
{
    struct debug_call call = {.debug = debug};
    vcpu_call(vcpu, set_debug, &call);
    return call.error;
}

static void inject(void *arg, struct vcpu *vcpu)
{
    struct kvm_vcpu_events e;
    int *error = arg;
    *error = 0;
    if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &e) < 0) {
        *error = -errno;
        return;
    }
    e.exception.injected = 1;
    e.exception.nr = BREAKPOINT_VECTOR;
    e.exception.has_error_code = 0;
    e.exception.error_code = 0;
    if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &e) < 0)
        *error = -errno;
}

int vcpu_debug_inject(struct vcpu *vcpu)
{
    int error;
    vcpu_call(vcpu, inject, &error);
    return error;
}

/* KVM's emulator met an int3, which it does not know. */
static bool cannot_int3(const struct kvm_run *run)
{
    return run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
           run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->emulation_failure.ndata >= 1 &&
           run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES &&
           run->emulation_failure.insn_size > 0 && run->emulation_failure.insn_bytes[0] == INT3;
}

bool debug_exit(struct vcpu *vcpu)
{
    const struct kvm_run *run = vcpu->run;
    struct vcpu_debug_event event = {.what = VCPU_DEBUG_STEP};
    if (!vcpu->debug_on || !vcpu->all->ops->debug)
        return false;
    if (run->exit_reason == KVM_EXIT_DEBUG) {
        event.pc = run->debug.arch.pc;
        if (run->debug.arch.exception == BREAKPOINT_VECTOR) {
            event.what = VCPU_DEBUG_SOFT;
        } else if (run->debug.arch.dr6 & DR6_HIT) {
            event.what = VCPU_DEBUG_HARD;
            event.slot = (unsigned)__builtin_ctzll(run->debug.arch.dr6 & DR6_HIT);
        }
    } else if (vcpu->debug_soft && cannot_int3(run)) {
        struct kvm_regs r;
        struct kvm_sregs s;
        if (ioctl(vcpu->fd, KVM_GET_REGS, &r) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0)
            return false;
        event.what = VCPU_DEBUG_SOFT;
        event.pc = s.cs.base + r.rip;
    } else {
        return false;
    }
    vcpu_debug_stay(vcpu); /* before anybody can know of it, and let it go */
    vcpu->all->ops->debug(vcpu->all->ctx, vcpu, &event);
    return true;
}

static void get_state(void *arg, struct vcpu *vcpu)
{
    static const char *const names[] = {
        [KVM_MP_STATE_RUNNABLE] = "running",
        [KVM_MP_STATE_UNINITIALIZED] = "waiting for INIT",
        [KVM_MP_STATE_INIT_RECEIVED] = "waiting for SIPI",
        [KVM_MP_STATE_HALTED] = "halted",
        [KVM_MP_STATE_SIPI_RECEIVED] = "running",
    };
    struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
    const char **name = arg;
    ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp);
    *name = mp.mp_state < sizeof names / sizeof *names ? names[mp.mp_state] : NULL;
    if (!*name)
        *name = "in a state of its own";
    if (atomic_load(&vcpu->request) & REQUEST_DEAD)
        *name = "stopped for good";
}

const char *vcpu_state_name(struct vcpu *vcpu)
{
    const char *name;
    vcpu_call(vcpu, get_state, &name);
    return name;
}
