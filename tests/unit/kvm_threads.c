/* SPDX-License-Identifier: MIT
 * vCPU threads against their requesters: pause, hold, kick, call, stop; the coalesced ring; ioeventfds; the dirty log. */
#include "kvm_guest.h"
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* Stands before libc's: how many threads are in KVM_RUN. */
static _Atomic unsigned in_kvm_run;
int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (request == KVM_RUN)
        atomic_fetch_add(&in_kvm_run, 1);
    int r = (int)syscall(SYS_ioctl, fd, request, arg);
    if (request == KVM_RUN)
        atomic_fetch_sub(&in_kvm_run, 1);
    return r;
}

/* Counts in the port, for ever: each write is one more than the last. */
GUEST32(counter, "xor %eax, %eax\n1: inc %eax\nout %eax, $0x80\njmp 1b\n");
/* Counts in memory, without exits. */
GUEST32(spinner, "1: lock incl 0x6000\njmp 1b\n");

static uint32_t ram32(struct guest *g, unsigned at)
{
    return __atomic_load_n((uint32_t *)(g->ram + at), __ATOMIC_RELAXED);
}

/* Waits until the word changes; patience as everywhere. */
static bool changes(struct guest *g, unsigned at, uint32_t from)
{
    for (unsigned i = 0; i < GUEST_PATIENCE; i++) {
        if (ram32(g, at) != from)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

static bool log_grows(struct guest *g, unsigned from)
{
    for (unsigned i = 0; i < GUEST_PATIENCE; i++) {
        if (atomic_load(&g->n) > from)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

TEST(vcpus_pause_and_resume)
{
    struct guest *g = guest_new(2);
    GUEST_LOAD(g, spinner);
    guest_start(g, VCPU_PROTECTED32);
    for (unsigned i = 0; i < 200; i++) {
        uint32_t before = ram32(g, 0x6000);
        CHECK(changes(g, 0x6000, before));
        vcpus_pause(g->vcpus);
        CHECK(vcpus_paused(g->vcpus));
        before = ram32(g, 0x6000);
        vcpus_pause(g->vcpus); /* a second one is one */
        for (unsigned j = 0; j < 50; j++)
            sched_yield();
        CHECK_EQ(ram32(g, 0x6000), before);
        vcpus_resume(g->vcpus);
        if (i % 2) /* at once again: takes no old parking for a new one */
            vcpus_pause(g->vcpus), vcpus_resume(g->vcpus);
    }
    CHECK(!vcpus_paused(g->vcpus));
    vcpus_stop(g->vcpus);
    vcpus_join(g->vcpus);
    vcpus_pause(g->vcpus); /* after the end: nothing to wait for */
    vcpus_resume(g->vcpus);
    guest_free(g);
}

/* A value that was read is in its register once the vCPU is paused: the instruction is finished, RIP behind it. */
GUEST32(reader, "xor %eax, %eax\n1: inl $0x81, %eax\nmovl %eax, 0x6000\njmp 1b\n");
static void look_registers(void *arg, struct vcpu *vcpu)
{
    (void)vcpu;
    *(struct vcpu **)arg = vcpu_self();
}

TEST(vcpus_pause_completes_the_last_exit)
{
    struct guest *g = guest_new(1);
    char text[4096] = "";
    GUEST_LOAD(g, reader);
    g->read = NULL;
    guest_start(g, VCPU_PROTECTED32);
    for (unsigned i = 0; i < 100; i++) {
        unsigned n = atomic_load(&g->n);
        CHECK(log_grows(g, n));
        vcpus_pause(g->vcpus);
        FILE *f = fmemopen(text, sizeof text, "w");
        vcpu_dump(vcpus_get(g->vcpus, 0), f);
        fclose(f);
        /* "in" is 2 bytes at 0x1002: RIP is 0x1004 after it, or 0x1002 before it with all of it undone. */
        char *rip = strstr(text, "RIP");
        CHECK(rip);
        uint64_t at = strtoull(rip + 3, NULL, 16);
        CHECK(at >= 0x1000 && at < 0x1010);
        if (at == 0x1004)
            CHECK(strstr(text, "RAX  00000000ffffffff"));
        vcpus_resume(g->vcpus);
    }
    guest_free(g);
}

TEST(vcpu_call_runs_on_the_threads_own)
{
    struct guest *g = guest_new(2);
    struct vcpu *who = NULL;
    vcpu_call(vcpus_get(g->vcpus, 0), look_registers, &who); /* before start: here */
    CHECK(who == NULL);
    GUEST_LOAD(g, spinner);
    guest_start(g, VCPU_PROTECTED32);
    for (unsigned i = 0; i < 500; i++) {
        vcpu_call(vcpus_get(g->vcpus, i & 1), look_registers, &who);
        CHECK(who == vcpus_get(g->vcpus, i & 1));
    }
    vcpus_pause(g->vcpus);
    who = NULL;
    vcpu_call(vcpus_get(g->vcpus, 1), look_registers, &who);
    CHECK(who == vcpus_get(g->vcpus, 1));
    CHECK(vcpu_self() == NULL);
    vcpus_resume(g->vcpus);
    CHECK_EQ(vcpu_nmi(vcpus_get(g->vcpus, 1)), 0);
    guest_free(g);
}

/* Callers against the threads' end: each call is run, by one or by the other. */
static void add_one(void *arg, struct vcpu *vcpu)
{
    (void)vcpu;
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}
static void *call_often(void *arg)
{
    struct guest *g = arg;
    _Atomic unsigned done = 0;
    for (unsigned i = 0; i < 300; i++)
        vcpu_call(vcpus_get(g->vcpus, i & 1), add_one, &done);
    return (void *)(uintptr_t)atomic_load(&done);
}

TEST(vcpu_call_against_stop)
{
    struct guest *g = guest_new(2);
    pthread_t t;
    void *done;
    GUEST_LOAD(g, spinner);
    guest_start(g, VCPU_PROTECTED32);
    CHECK(!pthread_create(&t, NULL, call_often, g));
    CHECK(changes(g, 0x6000, 0));
    vcpus_stop(g->vcpus);
    pthread_join(t, &done);
    CHECK_EQ((uintptr_t)done, 300);
    guest_free(g);
}

/* bad-inputs X7: a storm of signals from outside, and of kicks, while the guest counts: no write is lost or doubled. */
static void *storm(void *arg)
{
    struct guest *g = arg;
    for (unsigned i = 0; i < 20000 && atomic_load(&g->n) < 3000; i++) {
        vcpu_kick(vcpus_get(g->vcpus, 0));
        if (i % 16 == 0)
            kill(getpid(), SIGRTMIN); /* a stray one, to whichever thread takes it */
    }
    return NULL;
}

TEST(X7_kvm_run_eintr_storm)
{
    struct guest *g = guest_new(1);
    pthread_t t;
    GUEST_LOAD(g, counter);
    guest_start(g, VCPU_PROTECTED32);
    CHECK(!pthread_create(&t, NULL, storm, g));
    pthread_join(t, NULL);
    CHECK(log_grows(g, 100));
    vcpus_pause(g->vcpus);
    for (unsigned i = 0; i < atomic_load(&g->n) && i < GUEST_LOG; i++)
        CHECK_ACCESS(g, i, true, 0x80, true, 4, i + 1);
    guest_free(g);
}

/* A slot is taken away and put back under a guest that never stops using it. Held, it never sees the hole. */
static void *remap(void *arg)
{
    struct guest *g = arg;
    struct vm_slot low = {.slot = 0, .gpa = 0, .size = GUEST_RAM, .host = g->ram}, none = low;
    intptr_t failed = 0;
    none.size = 0;
    for (unsigned i = 0; i < 100; i++) {
        vcpus_hold(g->vcpus);
        failed |= atomic_load(&in_kvm_run) != 0;
        failed |= vm_slot_set(g->vm, &none);
        failed |= vm_slot_set(g->vm, &low);
        failed |= atomic_load(&in_kvm_run) != 0;
        vcpus_release(g->vcpus);
    }
    return (void *)failed;
}

TEST(vcpus_hold_while_two_threads_remap)
{
    struct guest *g = guest_new(2);
    pthread_t a, b;
    void *fa, *fb;
    GUEST_LOAD(g, spinner);
    guest_start(g, VCPU_PROTECTED32);
    CHECK(changes(g, 0x6000, 0));
    CHECK(!pthread_create(&a, NULL, remap, g) && !pthread_create(&b, NULL, remap, g));
    for (unsigned i = 0; i < 20; i++) {
        vcpus_pause(g->vcpus);
        vcpus_resume(g->vcpus);
    }
    pthread_join(a, &fa);
    pthread_join(b, &fb);
    CHECK(!fa && !fb);
    CHECK_EQ(atomic_load(&g->n), 0); /* no MMIO exit, no stop */
    uint32_t before = ram32(g, 0x6000);
    CHECK(changes(g, 0x6000, before));
    guest_free(g);
}

/* The same from a vCPU's own callback, as a guest that moves a BAR does. */
static void remap_here(struct guest *g, const struct guest_access *a)
{
    if (!a->pio || a->addr != 0x80 || a->value > 50)
        return;
    struct vm_slot low = {.slot = 0, .gpa = 0, .size = GUEST_RAM, .host = g->ram}, none = low;
    none.size = 0;
    vcpus_hold(g->vcpus);
    bool failed = vm_slot_set(g->vm, &none) || vm_slot_set(g->vm, &low);
    vcpus_release(g->vcpus);
    if (failed || a->value == 50)
        eventfd_write(g->exit_fd, failed ? 2 : 51);
}

TEST(vcpus_hold_from_a_callback)
{
    struct guest *g = guest_new(2);
    GUEST_LOAD(g, counter);
    g->hook = remap_here;
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 50);
    guest_free(g);
}

/* Coalesced writes are seen before the exit that comes after them, in order, ports and memory mixed. */
/* clang-format off */
GUEST32(coalesced,
        "movl $1, 0xd0000000\n"
        "movb $2, 0xd0000004\n"
        "mov $3, %al\n"
        "out %al, $0x90\n"
        "movw $4, 0xd0000008\n"
        "out %al, $0x80\n" /* exits */
        "movl $5, 0xd0000000\n"
        "out %al, $0xf8\n"
        "movl $6, 0xd0000000\n"
        "movl $7, 0x6000\n"
        "1: cli\n"
        "hlt\n"
        "jmp 1b\n");
/* clang-format on */

TEST(vcpu_coalesced_ring_is_drained_in_order)
{
    struct guest *g = guest_new(2);
    int r = vm_coalesce_add(g->vm, false, 0xd0000000, 0x1000);
    int p = vm_coalesce_add(g->vm, true, 0x90, 1);
    if (r == -EOPNOTSUPP || p == -EOPNOTSUPP) {
        guest_free(g);
        SKIP("this KVM does not coalesce");
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(p, 0);
    GUEST_LOAD(g, coalesced);
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 3);
    CHECK_ACCESS(g, 0, false, 0xd0000000, true, 4, 1);
    CHECK_ACCESS(g, 1, false, 0xd0000004, true, 1, 2);
    CHECK_ACCESS(g, 2, true, 0x90, true, 1, 3);
    CHECK_ACCESS(g, 3, false, 0xd0000008, true, 2, 4);
    CHECK_ACCESS(g, 4, true, 0x80, true, 1, 3);
    CHECK_ACCESS(g, 5, false, 0xd0000000, true, 4, 5);
    CHECK_ACCESS(g, 6, true, 0xf8, true, 1, 3);
    /* The last one waits in the ring for whoever drains. */
    CHECK(changes(g, 0x6000, 0));
    CHECK_EQ(atomic_load(&g->n), 7);
    vcpus_drain(g->vcpus);
    CHECK_ACCESS(g, 7, false, 0xd0000000, true, 4, 6);
    vcpus_drain(g->vcpus);
    CHECK_EQ(atomic_load(&g->n), 8);
    struct vcpu_stats s;
    vcpu_stats(vcpus_get(g->vcpus, 0), &s);
    CHECK_EQ(s.total, 2);
    CHECK_EQ(vm_coalesce_del(g->vm, false, 0xd0000000, 0x1000), 0);
    guest_free(g);
}

/* clang-format off */
GUEST32(doorbell,
        "movl $1, 0xd0000000\n"  /* any width */
        "movw $2, 0xd0000000\n"
        "movl $7, 0xd0000010\n"  /* matches */
        "movl $8, 0xd0000010\n"  /* does not */
        "mov $0x55, %al\n"
        "out %al, $0x92\n"
        "mov $4, %al\n" EXIT_AL);
/* clang-format on */

static eventfd_t take(int fd)
{
    eventfd_t v = 0;
    return eventfd_read(fd, &v) == 0 ? v : 0;
}

TEST(vm_ioeventfds_fire)
{
    struct guest *g = guest_new(1);
    int any = eventfd(0, EFD_NONBLOCK), match = eventfd(0, EFD_NONBLOCK), port = eventfd(0, EFD_NONBLOCK);
    struct vm_ioeventfd e[] = {
        {.addr = 0xd0000000, .fd = any},
        {            .addr = 0xd0000010, .size = 4,    .match = true, .value = 7, .fd = match},
        { .pio = true,                   .addr = 0x92, .size = 1, .fd = port},
    };
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(vm_ioeventfd_add(g->vm, &e[i]), 0);
    CHECK_EQ(vm_ioeventfd_add(g->vm, &e[1]), -EEXIST);
    GUEST_LOAD(g, doorbell);
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 4);
    CHECK_EQ(take(any), 2);
    CHECK_EQ(take(match), 1);
    CHECK_EQ(take(port), 1);
    CHECK_ACCESS(g, 0, false, 0xd0000010, true, 4, 8);
    CHECK_ACCESS(g, 1, true, 0xf8, true, 1, 4);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(vm_ioeventfd_del(g->vm, &e[i]), 0);
    CHECK(vm_ioeventfd_del(g->vm, &e[0]) < 0);
    close(any);
    close(match);
    close(port);
    guest_free(g);
}

GUEST32(dirtier, "movb $1, 0x40000\nmovb $1, 0x43000\nout %al, $0x91\n"
                 "movb $1, 0x44000\nmov $2, %al\n" EXIT_AL);
static int second_half;
static void between(struct guest *g, const struct guest_access *a)
{
    uint64_t bits[4] = {0};
    if (a->addr != 0x91)
        return;
    second_half = vm_dirty_get(g->vm, 0, bits);
    if (!second_half && (!(bits[1] & 1) || !(bits[1] >> 3 & 1) || bits[1] >> 4 & 1))
        second_half = 1;
    if (!second_half)
        second_half = vm_dirty_clear(g->vm, 0, 64, 64, (uint64_t[]){bits[1]});
    memset(bits, 0, sizeof bits);
    if (!second_half)
        second_half = vm_dirty_get(g->vm, 0, bits);
    if (!second_half && bits[1])
        second_half = 2;
}

TEST(vm_dirty_log_get_and_clear)
{
    struct guest *g = guest_new(1);
    struct vm_slot slot = {.slot = 0, .flags = VM_SLOT_LOG, .gpa = 0, .size = GUEST_RAM, .host = g->ram};
    uint64_t bits[4] = {0};
    CHECK_EQ(vm_dirty_words(GUEST_RAM), 4);
    CHECK_EQ(vm_dirty_words(65 * VM_PAGE), 2);
    CHECK(vm_dirty_get(g->vm, 0, bits) < 0); /* not logged yet */
    CHECK_EQ(vm_slot_set(g->vm, &slot), 0);
    CHECK_EQ(vm_dirty_get(g->vm, 0, bits), 0);
    CHECK_EQ(bits[1], 0); /* starts clean */
    GUEST_LOAD(g, dirtier);
    second_half = -1;
    g->hook = between;
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 2);
    CHECK_EQ(second_half, 0);
    CHECK_EQ(vm_dirty_get(g->vm, 0, bits), 0);
    CHECK_EQ(bits[1], 1 << 4); /* only what came after the clear */
    guest_free(g);
}

GUEST32(readonly, "movb $1, 0x200000\nmovb 0x200001, %al\n" EXIT_AL);
TEST(vm_readonly_slot_exits_on_writes_alone)
{
    struct guest *g = guest_new(1);
    struct vm_slot rom = {.slot = 1, .flags = VM_SLOT_READONLY, .gpa = 0x200000, .size = 0x1000};
    rom.host = g->ram + 0x80000;
    g->ram[0x80001] = 0x42;
    CHECK_EQ(vm_slot_set(g->vm, &rom), 0);
    GUEST_LOAD(g, readonly);
    guest_start(g, VCPU_PROTECTED32);
    CHECK_EQ(guest_wait(g), 0x42);
    CHECK_ACCESS(g, 0, false, 0x200000, true, 1, 1);
    CHECK_EQ(g->ram[0x80000], 0);
    guest_free(g);
}
