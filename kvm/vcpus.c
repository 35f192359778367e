/* SPDX-License-Identifier: MIT
 *
 * The set of vCPUs: made, started, joined, counted, looked at. The threads' own loop is vcpu.c.
 */
#include "kvm/host/ns.h"
#include "kvm/priv.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK_SIZE = 256 * 1024,
    RFLAGS_IF = 1 << 9,
};

static const char *set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *supported)
{
    struct vm *vm = vcpu->all->vm;
    size_t size = sizeof *supported + supported->nent * sizeof supported->entries[0];
    struct cpuid_config config = {.index = vcpu->index,
                                  .count = vcpu->all->n,
                                  .tsc_khz = vm_tsc_khz(vm),
                                  .tsc_deadline = vm->tsc_deadline};
    struct kvm_cpuid2 *c = malloc(size + CPUID_ROOM * sizeof c->entries[0]);
    if (!c)
        return "memory for CPUID";
    memcpy(c, supported, size);
    cpuid_fill(c, &config);
    int r = ioctl(vcpu->fd, KVM_SET_CPUID2, c);
    int error = errno;
    free(c);
    errno = error;
    return r < 0 ? "KVM_SET_CPUID2" : NULL;
}

/* What failed, with errno; NULL: nothing. */
static const char *vcpu_make(struct vcpu *vcpu, const struct kvm_cpuid2 *supported)
{
    struct vm *vm = vcpu->all->vm;

    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
    if (vcpu->fd < 0)
        return "KVM_CREATE_VCPU";
    void *run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return "mmap of kvm_run";
    vcpu->run = run;
    if (vcpu->index == 0) {
        int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
        atomic_store(&vm->tsc_khz, khz > 0 ? (unsigned)khz : 0);
    }
    const char *failed = set_cpuid(vcpu, supported); /* before MSRs: KVM checks them against it */
    if (failed)
        return failed;
    int r = state_init(vcpu);
    errno = -r;
    return r ? "KVM_GET_SREGS" : NULL;
}

struct vcpus *vcpus_new(struct vm *vm, unsigned n, const struct vcpu_ops *ops, void *ctx, char *err,
                        size_t err_size)
{
    if (n == 0 || n > vm->max_vcpus) {
        snprintf(err, err_size, "%u CPUs: this KVM runs 1 to %u in one guest (ask for at most %u)", n,
                 vm->max_vcpus, vm->max_vcpus);
        return NULL;
    }
    if (!vm_chips(vm, err, err_size))
        return NULL;
    struct vcpus *vcpus = calloc(1, sizeof *vcpus + n * sizeof vcpus->vcpu[0]);
    const struct kvm_cpuid2 *supported = cpuid_supported(vm);
    if (!vcpus || !supported) {
        snprintf(err, err_size, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
        free(vcpus);
        return NULL;
    }
    vcpus->vm = vm;
    vcpus->ops = ops;
    vcpus->ctx = ctx;
    vcpus->n = n;
    lock_init(&vcpus->ring_lock, LOCK_COALESCED, "coalesced ring");
    pthread_mutex_init(&vcpus->hold_lock, NULL);
    for (unsigned i = 0; i < n; i++) {
        vcpus->vcpu[i].all = vcpus;
        vcpus->vcpu[i].index = i;
        vcpus->vcpu[i].fd = -1;
        vcpus->vcpu[i].seen = UINT64_MAX;
        pthread_mutex_init(&vcpus->vcpu[i].call_lock, NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        const char *failed = vcpu_make(&vcpus->vcpu[i], supported);
        if (!failed)
            continue;
        snprintf(err, err_size, "vCPU %u: %s: %s%s", i, failed, strerror(errno),
                 errno == EMFILE ? " (raise `ulimit -n`)" : "");
        vcpus_free(vcpus);
        return NULL;
    }
    if (vm->coalesced_page)
        vcpus->ring = (void *)((char *)vcpus->vcpu[0].run + (size_t)vm->coalesced_page * VM_PAGE);
    return vcpus;
}

void vcpus_free(struct vcpus *vcpus)
{
    if (!vcpus)
        return;
    vcpus_join(vcpus);
    for (unsigned i = 0; i < vcpus->n; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        if (vcpu->run)
            munmap(vcpu->run, vcpus->vm->run_size);
        if (vcpu->fd >= 0)
            close(vcpu->fd);
        pthread_mutex_destroy(&vcpu->call_lock);
    }
    pthread_mutex_destroy(&vcpus->hold_lock);
    free(vcpus);
}

static void kick_signal(int signal)
{
    (void)signal;
}

/* The thread's signals: its own, and those that a thread brings on itself (a truncated RAM file's SIGBUS, …). */
static void block_signals(sigset_t *old)
{
    static const int kept[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, VCPU_SIGNAL);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        sigdelset(&set, kept[i]);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

bool vcpus_start(struct vcpus *vcpus, char *err, size_t err_size)
{
    struct sigaction action = {.sa_handler = kick_signal, .sa_flags = SA_RESTART};
    pthread_attr_t attr;
    sigset_t old;
    int error = 0;

    sigaction(VCPU_SIGNAL, &action, NULL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    block_signals(&old);
    /* The boot CPU last: no guest code runs before every thread is there. */
    for (unsigned i = vcpus->n; i-- > 0 && !error;) {
        vcpus->vcpu[i].started = true; /* read by nobody else before we return */
        error = pthread_create(&vcpus->vcpu[i].thread, &attr, vcpu_thread, &vcpus->vcpu[i]);
        if (error)
            vcpus->vcpu[i].started = false;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (!error)
        return true;
    snprintf(err, err_size,
             "vCPU threads: pthread_create: %s (raise `ulimit -u`, or ask for fewer CPUs than %u)",
             strerror(error), vcpus->n);
    vcpus_join(vcpus);
    return false;
}

void vcpus_join(struct vcpus *vcpus)
{
    vcpus_stop(vcpus);
    for (unsigned i = 0; i < vcpus->n; i++) {
        if (vcpus->vcpu[i].started)
            pthread_join(vcpus->vcpu[i].thread, NULL);
        vcpus->vcpu[i].started = false;
    }
}

unsigned vcpus_count(const struct vcpus *vcpus)
{
    return vcpus->n;
}

struct vcpu *vcpus_get(struct vcpus *vcpus, unsigned index)
{
    return &vcpus->vcpu[index];
}

unsigned vcpu_index(const struct vcpu *vcpu)
{
    return vcpu->index;
}

void vcpu_stats(const struct vcpu *vcpu, struct vcpu_stats *stats)
{
    stats->total = 0;
    for (unsigned i = 0; i < VCPU_EXITS; i++) {
        stats->exits[i] = atomic_load_explicit(&vcpu->exits[i], memory_order_relaxed);
        if (i != KVM_EXIT_INTR)
            stats->total += stats->exits[i];
    }
}

uint64_t vcpu_cpu_ns(const struct vcpu *vcpu)
{
    clockid_t clock;
    return vcpu->started && !pthread_getcpuclockid(vcpu->thread, &clock) ? ns_on(clock) : 0;
}

static uint64_t exits(const struct vcpu *vcpu)
{
    struct vcpu_stats stats;
    vcpu_stats(vcpu, &stats);
    return stats.total;
}

/* Nothing but another CPU can wake it: halted with interrupts off and no NMI, or waiting for INIT or SIPI. */
static void look_halted(void *arg, struct vcpu *vcpu)
{
    bool *halted = arg;
    struct kvm_mp_state mp;
    struct kvm_regs regs;
    struct kvm_vcpu_events events;

    *halted = false;
    if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp) < 0)
        return;
    if (mp.mp_state == KVM_MP_STATE_UNINITIALIZED || mp.mp_state == KVM_MP_STATE_INIT_RECEIVED) {
        *halted = true;
        return;
    }
    if (mp.mp_state != KVM_MP_STATE_HALTED || ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
        ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
        return;
    *halted =
        !(regs.rflags & RFLAGS_IF) && !events.nmi.pending && !events.nmi.injected && !events.smi.pending;
}

bool vcpus_all_halted(struct vcpus *vcpus)
{
    bool quiet = true;
    for (unsigned i = 0; i < vcpus->n; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        uint64_t now = exits(vcpu);
        /* In user space it is busy with an exit (or paused): not halted, and not to be waited for from here. */
        quiet &= now == vcpu->seen && atomic_load(&vcpu->in_run);
        vcpu->seen = now;
    }
    for (unsigned i = 0; i < vcpus->n && quiet; i++)
        vcpu_call(&vcpus->vcpu[i], look_halted, &quiet);
    return quiet;
}

static void send_nmi(void *arg, struct vcpu *vcpu)
{
    *(int *)arg = ioctl(vcpu->fd, KVM_NMI, 0) < 0 ? -errno : 0;
}

int vcpu_nmi(struct vcpu *vcpu)
{
    int r = 0;
    vcpu_call(vcpu, send_nmi, &r);
    return r;
}

uint64_t vcpu_pc(struct vcpu *vcpu)
{
    struct kvm_regs regs;
    return ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ? 0 : regs.rip;
}
