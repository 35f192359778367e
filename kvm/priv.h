/* SPDX-License-Identifier: MIT
 *
 * What the files of kvm/ share among themselves, and nobody else sees: the structs behind vm.h and vcpu.h, in terms of
 * <linux/kvm.h>.
 */
#ifndef KVM_PRIV_H
#define KVM_PRIV_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include "kvm/host/lock.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

struct vm {
    int dev, fd;
    unsigned max_vcpus, max_slots;
    unsigned coalesced_page; /* of the ring, in a vCPU's mapping; 0: no coalesced memory */
    bool coalesced_pio;
    bool tsc_deadline;
    bool mce;
    size_t run_size;
    const char *path;                /* in messages */
    bool chips;                      /* the interrupt controllers are there */
    struct kvm_irq_routing *routing; /* to be written when they come: irq_kvm.c's; NULL: KVM's own */
    _Atomic unsigned tsc_khz;
    struct kvm_cpuid2 *supported; /* NULL: not asked yet */
};

/* Bits of vcpu.request. */
enum {
    REQUEST_KICK = 1 << 0,
    REQUEST_HOLD = 1 << 1,
    REQUEST_PAUSE = 1 << 2,
    REQUEST_CALL = 1 << 3,
    REQUEST_STOP = 1 << 4,
    REQUEST_DEAD = 1 << 5,  /* its own: stopped() was called */
    REQUEST_DEBUG = 1 << 6, /* kept out by a debugger */
};
#define VCPU_SIGNAL SIGRTMIN

struct vcpu {
    /* Read and written at each exit, by this thread first of all. */
    struct kvm_run *run;
    struct vcpus *all;
    int fd;
    bool incomplete;          /* KVM finishes the last exit's instruction at the next KVM_RUN */
    _Atomic uint32_t in_run;  /* futex: who holds waits for 0 */
    _Atomic uint32_t request; /* futex: REQUEST_*; this thread waits for a change while it is kept out */
    _Atomic uint64_t exits[VCPU_EXITS];
    struct last_exit { /* kicks apart */
        uint32_t reason;
        bool write;
        uint64_t where; /* port, address */
    } last;

    unsigned index;
    _Atomic uint32_t parked; /* futex: who pauses waits for 1 */
    _Atomic uint32_t ended;  /* the thread runs no calls any more */
    _Atomic int tid;         /* set by the thread before it first sets in_run */
    pthread_t thread;
    bool started;

    pthread_mutex_t call_lock; /* one vcpu_call() at a time */
    void (*call_fn)(void *arg, struct vcpu *vcpu);
    void *call_arg;
    _Atomic uint32_t call_done; /* futex */

    bool debug_on, debug_soft; /* debug.c; this thread */

    uint64_t seen; /* vcpus_all_halted(): exits when last asked */
    struct kvm_sregs sregs0;
};

struct vcpus {
    struct vm *vm;
    const struct vcpu_ops *ops;
    void *ctx;
    struct kvm_coalesced_mmio_ring *ring; /* NULL: none */
    struct lock ring_lock;
    /* taken from hold() to release(); outside of the ranks: its holder takes none */
    pthread_mutex_t hold_lock;
    _Atomic bool paused;
    struct clock_pause {
        bool kvmclock, tsc; /* whether it was read */
        uint64_t kvmclock_ns, tsc_ticks;
    } clock;
    unsigned n;
    struct vcpu vcpu[];
};

/* --- vm.c: PIC, IOAPIC, PIT and the promise of local APICs, once; vcpus_new() calls it. So late because on Linux 6.18
 * their places on KVM's buses start a grace period that the next memory slot waits for: 4 to 8 ms of every start. */
bool vm_chips(struct vm *vm, char *err, size_t n) __attribute__((warn_unused_result));

/* --- vcpu.c: the thread's body, arg is the struct vcpu. */
void *vcpu_thread(void *arg);

/* --- cpuid.c. Pure: `c` comes as KVM_GET_SUPPORTED_CPUID gave it and is made vCPU `index` of `count`. Entries may be
 * added: room for CPUID_ROOM more than nent. */
struct cpuid_config {
    unsigned index, count;
    unsigned tsc_khz; /* 0: unknown */
    bool tsc_deadline;
};
enum {
    CPUID_ROOM = 8,
};
void cpuid_fill(struct kvm_cpuid2 *c, const struct cpuid_config *config);
/* What KVM supports, asked once (a tenth of the time that set-up takes); vm's. NULL: errno. Set-up thread. */
const struct kvm_cpuid2 *cpuid_supported(struct vm *vm);

/* --- state.c: a new vCPU's MSRs and machine check banks; 0 or -errno. */
int state_init(struct vcpu *vcpu);

/* --- exit.c: what KVM_RUN returned for besides port and memory accesses. Returns whether the vCPU can go on; else
 * stopped() was called. */
bool exit_other(struct vcpu *vcpu);
/* KVM_RUN failed with this errno (neither EINTR nor EAGAIN): stopped(). */
void exit_failed(struct vcpu *vcpu, int error);

/* --- debug.c: KVM_RUN returned for a debugger; false: it did not, or there is none. */
bool debug_exit(struct vcpu *vcpu);
/* --- vcpu.c: REQUEST_DEBUG on the vCPU's own thread. */
void vcpu_debug_stay(struct vcpu *vcpu);

/* --- clock.c: all vCPUs are parked. */
void clock_pause(struct vcpus *vcpus);
void clock_resume(struct vcpus *vcpus);
/* The vCPU's own thread, after a pause: tells the guest's watchdogs of it. */
void clock_paused(struct vcpu *vcpu);

/* --- dump.c: the report's parts; on the vCPU's thread, out of KVM_RUN. */
struct report {
    uint64_t rip;
    bool rip_known;
    bool reset;    /* the registers are those of a reset: SVM keeps none over a shutdown */
    char code[64]; /* "0f 0b …" from RIP on, or why there is none */
};
void dump_registers(struct vcpu *vcpu, char *text, size_t size, struct report *report);

#endif
