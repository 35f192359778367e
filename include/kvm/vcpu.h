/* SPDX-License-Identifier: MIT
 *
 * The virtual CPUs: one thread each, in KVM_RUN or dispatching what KVM_RUN returned for. This unit knows
 * nobody above it: it is given a const table at creation.
 *
 * Getting a vCPU out of KVM_RUN ("kick"): each vCPU has a word of requests. A requester sets a bit, then
 * looks at in_run; the vCPU sets in_run, then looks at the word; both seq_cst, so that one of them sees the
 * other. Only a vCPU with in_run set is sent the signal, whose handler sets kvm_run.immediate_exit: a signal
 * that comes between the look and KVM_RUN makes KVM_RUN return at once. In user space a vCPU is never
 * interrupted on purpose (late signals restart system calls), and a kick costs nothing when there is nobody
 * to kick.
 *
 *   hold      nobody is in KVM_RUN until released; a vCPU that dispatches goes on doing so (for memslot
 * changes) pause     every vCPU is parked between two exits with its last exit completed; its state can be
 * read and set stop      every thread ends
 *
 * Time: over a pause the guest's kvmclock and TSC stand still (clock.c), and each vCPU is told that it was paused
 * (KVM_KVMCLOCK_CTRL), so that its watchdogs do not bark. What is not done: the TSC goes on where KVM cannot set its offset
 * (before Linux 5.16); timers of the local APIC and the PIT that fall due in the pause fire right after it; nothing sets the
 * guest's wall clock afterwards, which lags by the pause until the guest asks somebody (the RTC, NTP). A hold, and a vCPU that
 * a debugger keeps alone, stop no clock.
 *
 * Hot path: from KVM_RUN's return to its next call no system call, no lock, no allocation but the callback's
 * own. Counters are written by their own thread only (relaxed).
 *
 * Source: Linux Documentation/virt/kvm/api.rst: 4.10 KVM_RUN, 5 "The kvm_run structure".
 */
#ifndef KVM_VCPU_H
#define KVM_VCPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct vm;
struct vcpu;
struct vcpus;

enum vcpu_stop_reason {
    VCPU_STOP_TRIPLE_FAULT, /* KVM_EXIT_SHUTDOWN */
    VCPU_STOP_KVM_ERROR,    /* internal error, fail entry, unknown exit, KVM_RUN's errno */
    VCPU_STOP_HALTED,       /* KVM_EXIT_HLT: only where KVM does not halt by itself */
    VCPU_STOP_SHUTDOWN,     /* KVM_EXIT_SYSTEM_EVENT */
    VCPU_STOP_RESET,
    VCPU_STOP_CRASH,
};
struct vcpu_stop {
    enum vcpu_stop_reason reason;
    char why[256];   /* one line: "vCPU 0: triple fault at RIP 0x1000 (code 0f 0b …)" */
    char dump[2048]; /* lines: registers, segments, control registers, code bytes */
};

struct vcpu_debug_event;
struct vcpu_ops {
    /* A port access. String forms come as one call with count > 1: the port is accessed count times, data
     * holds count items of size bytes each, in order. size is 1, 2 or 4. On a read the callee fills data. */
    void (*pio)(void *ctx, struct vcpu *vcpu, uint16_t port, bool write, unsigned size, unsigned count,
                void *data);
    /* A memory access that no slot takes: size 1 to 8, not only powers of two. */
    void (*mmio)(void *ctx, struct vcpu *vcpu, uint64_t gpa, bool write, unsigned size, void *data);
    /* This vCPU cannot go on. It waits for vcpus_stop() afterwards; the others still run.
     * stop is the callee's until it returns. */
    void (*stopped)(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop);
    /* A breakpoint, a watchpoint or a step (kvm/debug.h): the vCPU stands still from now on, until vcpu_debug_hold() lets it
     * go. event is the callee's until it returns. NULL: nobody debugs. */
    void (*debug)(void *ctx, struct vcpu *vcpu, const struct vcpu_debug_event *event);
    /* Guest RAM for the code bytes in a report; false: not RAM. May be NULL. */
    bool (*read_mem)(void *ctx, uint64_t gpa, void *data, unsigned size);
};
/* The callbacks run on the vCPU's thread, with no lock held. pio and mmio also run for coalesced writes, then
 * with LOCK_COALESCED held, on any vCPU's thread or vcpus_drain()'s. */

/* n vCPUs of vm, numbered 0 to n - 1 (their APIC IDs), with CPUID, MSRs and local APICs set up; vCPU 0 boots,
 * the others wait for INIT/SIPI in the kernel. No thread yet. NULL on failure, one sentence in err. */
struct vcpus *vcpus_new(struct vm *vm, unsigned n, const struct vcpu_ops *ops, void *ctx, char *err,
                        size_t err_size) __attribute__((warn_unused_result));
/* After vcpus_stop(), or without vcpus_start(). */
void vcpus_free(struct vcpus *vcpus);

unsigned vcpus_count(const struct vcpus *vcpus);
struct vcpu *vcpus_get(struct vcpus *vcpus, unsigned index);
unsigned vcpu_index(const struct vcpu *vcpu);
/* The vCPU whose thread this is, or NULL. */
struct vcpu *vcpu_self(void);

/* In a callback, on the vCPU's own thread: where the guest is. Its RIP as KVM has it in the middle of the exit: of the
 * instruction for a read, behind it for a write (whose instruction KVM has finished). 0: not to be had. One ioctl. */
uint64_t vcpu_pc(struct vcpu *vcpu);

/* What tells where a Linux guest's kernel lies: where SYSCALL enters it (MSR_LSTAR), the base of its IDT; 0: not to be had. On the
 * vCPU's own thread in a callback, or by vcpu_call()'s rules. */
void vcpu_entries(struct vcpu *vcpu, uint64_t *lstar, uint64_t *idt);

/* Where a vCPU starts. Segments are flat, base 0, limit 4 GiB, selectors given; interrupts as rflags says. */
enum vcpu_mode {
    VCPU_REAL16,      /* base = selector * 16, limit 64 KiB, paging off */
    VCPU_PROTECTED32, /* CS.D 1, CS.L 0; cr0.PE set by the caller's cr0 */
    VCPU_LONG64,      /* CS.D 0, CS.L 1; caller's cr0, cr3, cr4, efer have paging on */
};
struct vcpu_boot {
    enum vcpu_mode mode;
    uint64_t rip, rsp, rflags;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi; /* the other general registers are 0 */
    uint64_t cr0, cr3, cr4, efer;          /* real mode: ignored */
    uint64_t gdt_base;
    uint16_t gdt_limit;
    uint16_t cs, ds; /* ds for DS, ES, FS, GS and SS */
};
/* Before vcpus_start(), or paused. 0 or -errno. */
int vcpu_set_boot(struct vcpu *vcpu, const struct vcpu_boot *boot) __attribute__((warn_unused_result));

/* Threads: one start a life. false: one sentence in err, no thread is left. */
bool vcpus_start(struct vcpus *vcpus, char *err, size_t err_size) __attribute__((warn_unused_result));
/* Asks all threads to end, from any thread, a vCPU's own included; does not wait. */
void vcpus_stop(struct vcpus *vcpus);
/* Waits for them; not from a vCPU's thread, nor with a lock that a callback may want. Implies
 * vcpus_stop(). */
void vcpus_join(struct vcpus *vcpus);

/* Loop thread only, no device lock held. pause() returns when all are parked, their last port or register
 * read completed; a second pause is one. */
void vcpus_pause(struct vcpus *vcpus);
void vcpus_resume(struct vcpus *vcpus);
bool vcpus_paused(const struct vcpus *vcpus);

/* Nobody in KVM_RUN between the two. Any thread, a vCPU's own in a callback too; one holder at a time (a
 * second one waits). Callers hold no lock that a third thread takes while it holds. Works before start and
 * after stop. */
void vcpus_hold(struct vcpus *vcpus);
void vcpus_release(struct vcpus *vcpus);

/* Makes the vCPU leave KVM_RUN and enter it again. Any thread. */
void vcpu_kick(struct vcpu *vcpu);

/* Runs fn on the vCPU's thread, out of KVM_RUN, and waits for it (paused vCPUs do it too, without resuming).
 * Not from a vCPU's own thread, one caller at a time (a second waits), no lock held that a callback may want.
 * Before start and after join, fn runs here. */
void vcpu_call(struct vcpu *vcpu, void (*fn)(void *arg, struct vcpu *vcpu), void *arg);

/* Dispatches what is in the coalesced ring, if anything: before the loop works on a device that has coalesced
 * zones, and before such a region goes. Any thread; takes LOCK_COALESCED. */
void vcpus_drain(struct vcpus *vcpus);

/* Is the guest dead: every vCPU halted with interrupts off and no NMI to come, or waiting for a SIPI that
 * nobody can send? False whenever any vCPU has left the kernel since the last time this was asked, without
 * disturbing anyone; else each is kicked once and looked at. Loop thread, on a timer that backs off. */
bool vcpus_all_halted(struct vcpus *vcpus);

/* An NMI as from the chipset (4.64 KVM_NMI); by vcpu_call(), so same rules. 0 or -errno. */
int vcpu_nmi(struct vcpu *vcpu);
/* Registers as in vcpu_stop.dump, of a vCPU that may run (vcpu_call()). */
void vcpu_dump(struct vcpu *vcpu, FILE *out);

/* Exits to user space, by KVM's reason number (KVM_EXIT_*); kicks count as INTR. Any thread, no stop of the
 * guest. */
enum {
    VCPU_EXITS = 64,
};
struct vcpu_stats {
    uint64_t exits[VCPU_EXITS];
    uint64_t total; /* without INTR */
};
void vcpu_stats(const struct vcpu *vcpu, struct vcpu_stats *stats);
/* What the guest left the kernel for last, kicks apart: "io: a write to port 0x3f8"; "" for nothing yet. After vcpus_join(). */
void vcpu_last_exit(const struct vcpu *vcpu, char *buf, size_t size);
/* "at RIP 0x1000 (code 0f 0b …)", by vcpu_call()'s rules; "" where registers cannot be read, or were
 * lost with a triple fault. */
void vcpu_where(struct vcpu *vcpu, char *buf, size_t size);
/* Processor time of its thread, ns, guest and vmlet together; 0 before the start. */
uint64_t vcpu_cpu_ns(const struct vcpu *vcpu);
/* "io", "mmio", …; NULL for numbers that have none. */
const char *vcpu_exit_name(unsigned reason);

#endif
