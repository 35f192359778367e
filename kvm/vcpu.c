/* SPDX-License-Identifier: MIT
 *
 * vCPU threads: the loop around KVM_RUN, and the requests that bring a vCPU out of it. The protocol is in vcpu.h; what
 * it rests on:
 *
 *   vCPU                                   requester
 *   in_run = 1            (seq_cst)        request |= bit          (seq_cst)
 *   request == 0?         (seq_cst)        in_run == 1?            (seq_cst)
 *     yes: KVM_RUN                           yes: immediate_exit = 1, signal
 *   in_run = 0            (seq_cst)        (hold) wait for in_run == 0
 *
 * immediate_exit is set by the requester and not by the signal's handler, which is empty: the signal's only task is to
 * end a KVM_RUN that has begun. The vCPU clears it after each EINTR and looks at its requests after that, so a request
 * cannot get lost; at worst KVM_RUN returns once for nothing.
 *
 * Waiting is done on futexes on the very words, so that neither side needs a lock.
 */
#include "kvm/priv.h"
#include "kvm/debug.h"
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_SIZE VM_PAGE /* KVM_COALESCED_MMIO_MAX uses the name */

static __thread struct vcpu *self;

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* --- the vCPU's side */

static inline void run_enter(struct vcpu *vcpu)
{
    atomic_store(&vcpu->in_run, 1);
}

static inline void run_leave(struct vcpu *vcpu)
{
    atomic_store(&vcpu->in_run, 0);
    if (__builtin_expect(atomic_load(&vcpu->request) & REQUEST_HOLD, 0))
        futex_wake(&vcpu->in_run);
}

static inline void count(struct vcpu *vcpu, unsigned reason)
{
    _Atomic uint64_t *n = &vcpu->exits[reason < VCPU_EXITS ? reason : 0];
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

static inline void clear_immediate_exit(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELAXED);
}

static inline bool ring_empty(const struct kvm_coalesced_mmio_ring *ring)
{
    return __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);
}

/* `first` moves on only after the write was dispatched: whoever finds the ring empty knows that all of it was. */
static void drain(struct vcpus *vcpus)
{
    struct kvm_coalesced_mmio_ring *ring = vcpus->ring;
    lock_take(&vcpus->ring_lock);
    while (!ring_empty(ring)) {
        uint32_t first = ring->first % KVM_COALESCED_MMIO_MAX;
        struct kvm_coalesced_mmio e = ring->coalesced_mmio[first];
        if (e.len > sizeof e.data)
            e.len = sizeof e.data;
        if (e.pio)
            vcpus->ops->pio(vcpus->ctx, self, (uint16_t)e.phys_addr, true, e.len, 1, e.data);
        else
            vcpus->ops->mmio(vcpus->ctx, self, e.phys_addr, true, e.len, e.data);
        __atomic_store_n(&ring->first, (first + 1) % KVM_COALESCED_MMIO_MAX, __ATOMIC_RELEASE);
    }
    lock_drop(&vcpus->ring_lock);
}

void vcpus_drain(struct vcpus *vcpus)
{
    if (vcpus->ring && !ring_empty(vcpus->ring))
        drain(vcpus);
}

/* One exit. Returns whether the vCPU can go on. */
static inline bool dispatch(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct vcpus *all = vcpu->all;
    unsigned reason = run->exit_reason;

    count(vcpu, reason);
    if (all->ring && __builtin_expect(!ring_empty(all->ring), 0))
        drain(all);
    switch (reason) {
    case KVM_EXIT_IO:
        vcpu->incomplete = true;
        vcpu->last = (struct last_exit){reason, run->io.direction == KVM_EXIT_IO_OUT, run->io.port};
        all->ops->pio(all->ctx, vcpu, run->io.port, run->io.direction == KVM_EXIT_IO_OUT, run->io.size,
                      run->io.count, (uint8_t *)run + run->io.data_offset);
        return true;
    case KVM_EXIT_MMIO:
        vcpu->incomplete = true;
        vcpu->last = (struct last_exit){reason, run->mmio.is_write, run->mmio.phys_addr};
        all->ops->mmio(all->ctx, vcpu, run->mmio.phys_addr, run->mmio.is_write, run->mmio.len,
                       run->mmio.data);
        return true;
    default:
        vcpu->incomplete = false;
        vcpu->last = (struct last_exit){reason, false, 0};
        return exit_other(vcpu);
    }
}

/* KVM_RUN failed. EINTR is a kick (or a stray signal); EAGAIN is how KVM says that a CPU that waited for its SIPI has
 * it now. */
static bool run_failed(struct vcpu *vcpu, int error)
{
    if (error == EINTR) {
        clear_immediate_exit(vcpu);
        count(vcpu, KVM_EXIT_INTR);
        return true;
    }
    if (error == EAGAIN)
        return true;
    exit_failed(vcpu, error);
    return false;
}

static void die_alone(struct vcpu *vcpu)
{
    atomic_fetch_or(&vcpu->request, REQUEST_DEAD);
}

/* Lets KVM finish the instruction of the last exit (the value read gets into its register) without running the guest.
 * An access in several pieces exits again for each. It touches guest memory, so it counts as being in KVM_RUN; false:
 * somebody holds, try again later. */
static bool complete(struct vcpu *vcpu)
{
    while (vcpu->incomplete) {
        run_enter(vcpu);
        if (atomic_load(&vcpu->request) & REQUEST_HOLD) {
            run_leave(vcpu);
            return false;
        }
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
        int r = ioctl(vcpu->fd, KVM_RUN, 0);
        int error = errno;
        clear_immediate_exit(vcpu);
        run_leave(vcpu);
        if (r >= 0) {
            if (!dispatch(vcpu))
                die_alone(vcpu);
        } else {
            vcpu->incomplete = false;
            if (!run_failed(vcpu, error))
                die_alone(vcpu);
        }
    }
    return true;
}

/* Whoever takes the bit runs the call: the vCPU, or, after its thread's end, the caller. */
static void serve_call(struct vcpu *vcpu)
{
    if (!(atomic_fetch_and(&vcpu->request, ~(uint32_t)REQUEST_CALL) & REQUEST_CALL))
        return;
    vcpu->call_fn(vcpu->call_arg, vcpu);
    atomic_store(&vcpu->call_done, 1);
    futex_wake(&vcpu->call_done);
}

static void set_parked(struct vcpu *vcpu, uint32_t parked)
{
    atomic_store(&vcpu->parked, parked);
    futex_wake(&vcpu->parked);
}

/* Until the pause ends; calls are served meanwhile. */
static void park(struct vcpu *vcpu)
{
    uint32_t request;
    set_parked(vcpu, 1);
    while ((request = atomic_load(&vcpu->request)) & REQUEST_PAUSE && !(request & REQUEST_STOP)) {
        if (request & REQUEST_CALL)
            serve_call(vcpu);
        else
            futex_wait(&vcpu->request, request);
    }
    clock_paused(vcpu);
    set_parked(vcpu, 0);
}

/* There are requests: stays here as long as the vCPU may not enter KVM_RUN. false: the end. */
static bool attend(struct vcpu *vcpu)
{
    for (;;) {
        uint32_t request = atomic_load(&vcpu->request);
        if (request & REQUEST_STOP)
            return false;
        if (request & REQUEST_KICK) {
            atomic_fetch_and(&vcpu->request, ~(uint32_t)REQUEST_KICK);
        } else if (request & REQUEST_HOLD) {
            futex_wait(&vcpu->request, request);
        } else if (request & (REQUEST_CALL | REQUEST_PAUSE)) {
            if (!complete(vcpu))
                continue;
            if (request & REQUEST_CALL) {
                serve_call(vcpu);
                continue;
            }
            park(vcpu);
        } else if (request & (REQUEST_DEAD | REQUEST_DEBUG)) {
            futex_wait(&vcpu->request, request);
        } else {
            return true;
        }
    }
}

void *vcpu_thread(void *arg)
{
    struct vcpu *vcpu = arg;
    char name[16];

    self = vcpu;
    atomic_store(&vcpu->tid, (int)syscall(SYS_gettid));
    snprintf(name, sizeof name, "vcpu%u", vcpu->index);
    pthread_setname_np(pthread_self(), name);
    for (;;) {
        run_enter(vcpu);
        if (__builtin_expect(atomic_load(&vcpu->request) != 0, 0)) {
            run_leave(vcpu);
            if (!attend(vcpu))
                break;
            continue;
        }
        int r = ioctl(vcpu->fd, KVM_RUN, 0);
        int error = errno;
        run_leave(vcpu);
        bool goes_on;
        if (__builtin_expect(r >= 0, 1)) {
            goes_on = dispatch(vcpu);
        } else {
            vcpu->incomplete = false; /* KVM completes first, then looks at immediate_exit */
            goes_on = run_failed(vcpu, error);
        }
        if (__builtin_expect(!goes_on, 0))
            die_alone(vcpu);
    }
    atomic_store(&vcpu->ended, 1);
    serve_call(vcpu);
    set_parked(vcpu, 1);
    return NULL;
}

/* --- the requester's side */

static void request(struct vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_or(&vcpu->request, bits);
    if (atomic_load(&vcpu->in_run)) {
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
        syscall(SYS_tgkill, getpid(), atomic_load(&vcpu->tid), VCPU_SIGNAL);
    } else if (bits & ~(uint32_t)(REQUEST_HOLD | REQUEST_KICK)) {
        futex_wake(&vcpu->request); /* it may be waiting in attend() */
    }
}

static void unrequest(struct vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_and(&vcpu->request, ~bits);
    futex_wake(&vcpu->request);
}

void vcpu_debug_stay(struct vcpu *vcpu)
{
    atomic_fetch_or(&vcpu->request, REQUEST_DEBUG);
}

void vcpu_debug_hold(struct vcpu *vcpu, bool on)
{
    if (on)
        request(vcpu, REQUEST_DEBUG);
    else
        unrequest(vcpu, REQUEST_DEBUG);
}

void vcpu_kick(struct vcpu *vcpu)
{
    request(vcpu, REQUEST_KICK);
}

void vcpus_hold(struct vcpus *vcpus)
{
    pthread_mutex_lock(&vcpus->hold_lock);
    for (unsigned i = 0; i < vcpus->n; i++)
        request(&vcpus->vcpu[i], REQUEST_HOLD);
    for (unsigned i = 0; i < vcpus->n; i++)
        while (atomic_load(&vcpus->vcpu[i].in_run))
            futex_wait(&vcpus->vcpu[i].in_run, 1);
}

void vcpus_release(struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->n; i++)
        unrequest(&vcpus->vcpu[i], REQUEST_HOLD);
    pthread_mutex_unlock(&vcpus->hold_lock);
}

void vcpus_pause(struct vcpus *vcpus)
{
    assert(!self); /* it would wait for itself */
    if (atomic_exchange(&vcpus->paused, true))
        return;
    for (unsigned i = 0; i < vcpus->n; i++)
        request(&vcpus->vcpu[i], REQUEST_PAUSE);
    for (unsigned i = 0; i < vcpus->n; i++)
        while (vcpus->vcpu[i].started && !atomic_load(&vcpus->vcpu[i].parked))
            futex_wait(&vcpus->vcpu[i].parked, 0);
    clock_pause(vcpus);
}

/* Waits until each has left its place, so that the next pause does not take the old parking for the new. */
void vcpus_resume(struct vcpus *vcpus)
{
    if (!atomic_load(&vcpus->paused))
        return;
    clock_resume(vcpus);
    for (unsigned i = 0; i < vcpus->n; i++)
        unrequest(&vcpus->vcpu[i], REQUEST_PAUSE);
    for (unsigned i = 0; i < vcpus->n; i++) {
        struct vcpu *vcpu = &vcpus->vcpu[i];
        while (atomic_load(&vcpu->parked) && !atomic_load(&vcpu->ended))
            futex_wait(&vcpu->parked, 1);
    }
    atomic_store(&vcpus->paused, false);
}

bool vcpus_paused(const struct vcpus *vcpus)
{
    return atomic_load(&vcpus->paused);
}

void vcpu_call(struct vcpu *vcpu, void (*fn)(void *arg, struct vcpu *vcpu), void *arg)
{
    assert(!self);
    pthread_mutex_lock(&vcpu->call_lock);
    if (!vcpu->started) {
        fn(arg, vcpu);
    } else {
        vcpu->call_fn = fn;
        vcpu->call_arg = arg;
        atomic_store(&vcpu->call_done, 0);
        request(vcpu, REQUEST_CALL);
        /* A thread that ends looks for a call after it has said so. */
        if (atomic_load(&vcpu->ended))
            serve_call(vcpu);
        while (!atomic_load(&vcpu->call_done))
            futex_wait(&vcpu->call_done, 0);
    }
    pthread_mutex_unlock(&vcpu->call_lock);
}

void vcpus_stop(struct vcpus *vcpus)
{
    for (unsigned i = 0; i < vcpus->n; i++)
        request(&vcpus->vcpu[i], REQUEST_STOP);
}

struct vcpu *vcpu_self(void)
{
    return self;
}
