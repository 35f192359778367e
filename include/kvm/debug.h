/* SPDX-License-Identifier: MIT
 *
 * What a debugger needs of a vCPU: its registers, the guest's page tables, breakpoints, watchpoints, single steps.
 *
 * Threads: everything here is for the loop, by vcpu_call() and its rules, on a vCPU that runs or is paused; values of a
 * running one are of some moment.
 *
 * A vCPU that meets something it was armed for calls vcpu_ops.debug on its own thread and then stands still (apart from
 * any pause), until vcpu_debug_hold(vcpu, false). A debugger that wants some vCPUs to stand while others run holds those.
 *
 * Breakpoints that are int3 in memory are the caller's affair (this unit does not write memory): `soft` makes KVM return for
 * every int3, also for the guest's own, which vcpu_debug_inject() then hands to the guest. Where KVM emulates instructions
 * it cannot do an int3; such a failure counts as one. An int3 is met before it is executed: RIP is its address.
 *
 * Hardware breakpoints and watchpoints go into DR0-DR3 of the processor (the guest's own are kept from it while one is set).
 * Execution is met before the instruction, data after it. KVM that emulates instructions sees no data watchpoints.
 *
 * A step runs one instruction. Interrupts are held back meanwhile, where KVM can do that (KVM_GUESTDBG_BLOCKIRQ, Linux
 * 5.15); else a step may end in an interrupt handler.
 *
 * Sources: Linux Documentation/virt/kvm/api.rst 4.87 KVM_SET_GUEST_DEBUG, 4.36 KVM_TRANSLATE, 4.11-4.13, 4.22; Intel SDM
 * 3B, 17.2 (DR6, DR7).
 */
#ifndef KVM_DEBUG_H
#define KVM_DEBUG_H

#include "kvm/vcpu.h"

enum {
    VCPU_HARD = 4, /* DR0-DR3 */
};

/* As the processor has them; the x87 tag word is the full one (2 bits a register, 3: empty; other tags read as 0). */
struct vcpu_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
    uint32_t cs, ss, ds, es, fs, gs;
    uint64_t cs_base, fs_base, gs_base, k_gs_base, cr0, cr2, cr3, cr4, cr8, efer;
    uint8_t st[8][16]; /* 80 bits each */
    uint32_t fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop;
    uint8_t xmm[16][16];
    uint32_t mxcsr;
};
/* 0 or -errno. */
int vcpu_regs_get(struct vcpu *vcpu, struct vcpu_regs *regs) __attribute__((warn_unused_result));
/* Only what differs is set. Segment selectors and cs_base cannot be changed: a selector without its descriptor would be a
 * state that no processor is in. 0 or -errno (EINVAL: KVM refuses such control registers). */
int vcpu_regs_set(struct vcpu *vcpu, const struct vcpu_regs *regs) __attribute__((warn_unused_result));

/* A linear address by the page tables that the vCPU uses now; without paging it is the physical one. false: not mapped. */
bool vcpu_translate(struct vcpu *vcpu, uint64_t linear, uint64_t *gpa) __attribute__((warn_unused_result));

enum vcpu_hard_kind {
    VCPU_HARD_NONE,
    VCPU_HARD_EXECUTE, /* size 1 */
    VCPU_HARD_WRITE,
    VCPU_HARD_ACCESS, /* x86 has none for reads alone */
};
struct vcpu_debug {
    bool step, soft;
    struct vcpu_hard {
        enum vcpu_hard_kind kind;
        uint8_t size; /* 1, 2, 4, 8; addr is a multiple of it */
        uint64_t addr;
    } hard[VCPU_HARD];
};
/* All zero: no debugging. 0 or -errno. */
int vcpu_debug_set(struct vcpu *vcpu, const struct vcpu_debug *debug) __attribute__((warn_unused_result));
/* The int3 that the vCPU stands at is the guest's own: it gets its exception when it goes on. 0 or -errno. */
int vcpu_debug_inject(struct vcpu *vcpu) __attribute__((warn_unused_result));
/* Keeps the vCPU out of the guest, or no longer. Does not wait. */
void vcpu_debug_hold(struct vcpu *vcpu, bool on);
/* Whether KVM can do any of it. */
bool vm_can_debug(const struct vm *vm);

enum vcpu_debug_what {
    VCPU_DEBUG_STEP,
    VCPU_DEBUG_SOFT, /* an int3, at pc */
    VCPU_DEBUG_HARD, /* hard[slot] */
};
struct vcpu_debug_event {
    enum vcpu_debug_what what;
    unsigned slot;
    uint64_t pc; /* linear */
};

/* "running", "halted", "waiting for SIPI", "stopped for good": for thread lists. */
const char *vcpu_state_name(struct vcpu *vcpu);

#endif
