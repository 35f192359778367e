/* SPDX-License-Identifier: MIT
 *
 * A tiny guest on /dev/kvm for unit tests of kvm/: RAM of 1 MiB at 0, machine code at GUEST_CODE, a log of all accesses.
 * Code is written with GUEST16(name, "assembler") or GUEST32(); addresses of its labels are AT(name, label).
 * A write to port 0xf8 ends the guest's part: guest_wait() returns its value.
 *
 * Tests SKIP where there is no usable /dev/kvm.
 */
#ifndef TESTS_UNIT_KVM_GUEST_H
#define TESTS_UNIT_KVM_GUEST_H

#include "kvm/debug.h"
#include "kvm/irq.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "test.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    GUEST_CODE = 0x1000,
    GUEST_STACK = 0x8000,
    GUEST_RAM = 1 << 20,
    GUEST_LOG = 4096,
    GUEST_PATIENCE = 60000, /* ms; for a machine that is very busy */
};

#define GUEST_ASM(bits, name, text)                                                                          \
    __asm__(".pushsection .data\n" #name "_start:\n.code" #bits "\n" text "\n" #name                         \
            "_end:\n.code64\n.popsection\n");                                                                \
    extern uint8_t name##_start[], name##_end[]
#define GUEST16(name, text) GUEST_ASM(16, name, text)
#define GUEST32(name, text) GUEST_ASM(32, name, text)
#define AT(name, label)     "(" #label " - " #name "_start + 0x1000)"
#define EXIT_AL             "out %al, $0xf8\n1: cli\nhlt\njmp 1b\n"
#define GUEST_LOAD(guest, name)                                                                              \
    memcpy((guest)->ram + GUEST_CODE, name##_start, (size_t)(name##_end - name##_start))

struct guest_access {
    bool pio, write;
    uint8_t size, cpu;
    uint64_t addr, value;
};
struct guest {
    struct vm *vm;
    struct vcpus *vcpus;
    struct irqs *irqs;
    uint8_t *ram;
    int exit_fd; /* eventfd: value written to 0xf8, plus 1; 1000 after stopped(), 999 after debug() */
    pthread_mutex_t lock;
    struct guest_access log[GUEST_LOG];
    _Atomic unsigned n;
    struct vcpu_stop stop; /* valid once guest_wait() returned GUEST_STOPPED */
    uint64_t (*read)(struct guest *g, bool pio, uint64_t addr, unsigned size); /* NULL: all ones */
    struct vcpu_debug_event event; /* the last; valid once guest_wait() returned GUEST_DEBUG */
    void (*hook)(struct guest *g, const struct guest_access *a); /* on the vCPU's thread */
};
enum {
    GUEST_DEBUG = 998,
    GUEST_STOPPED = 999,
};

static inline void guest_log(struct guest *g, const struct guest_access *a)
{
    pthread_mutex_lock(&g->lock);
    unsigned n = atomic_load(&g->n);
    if (n < GUEST_LOG)
        g->log[n] = *a;
    atomic_store(&g->n, n + 1);
    pthread_mutex_unlock(&g->lock);
    if (g->hook)
        g->hook(g, a);
    if (a->pio && a->write && a->addr == 0xf8)
        eventfd_write(g->exit_fd, (a->value & 0xff) + 1);
}

static inline void guest_access(struct guest *g, struct vcpu *vcpu, bool pio, uint64_t addr, bool write,
                                unsigned size, void *data)
{
    struct guest_access a = {pio, write, (uint8_t)size, vcpu ? (uint8_t)vcpu_index(vcpu) : 255, addr, 0};
    if (write) {
        memcpy(&a.value, data, size);
    } else {
        a.value = g->read ? g->read(g, pio, addr, size) : UINT64_MAX >> (64 - 8 * size);
        memcpy(data, &a.value, size);
    }
    guest_log(g, &a);
}

static inline void guest_pio(void *ctx, struct vcpu *vcpu, uint16_t port, bool write, unsigned size,
                             unsigned count, void *data)
{
    for (unsigned i = 0; i < count; i++)
        guest_access(ctx, vcpu, true, port, write, size, (uint8_t *)data + i * size);
}

static inline void guest_mmio(void *ctx, struct vcpu *vcpu, uint64_t gpa, bool write, unsigned size,
                              void *data)
{
    guest_access(ctx, vcpu, false, gpa, write, size, data);
}

static inline void guest_stopped(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop)
{
    struct guest *g = ctx;
    (void)vcpu;
    g->stop = *stop;
    eventfd_write(g->exit_fd, GUEST_STOPPED + 1);
}

static inline void guest_debug(void *ctx, struct vcpu *vcpu, const struct vcpu_debug_event *event)
{
    struct guest *g = ctx;
    (void)vcpu;
    g->event = *event;
    eventfd_write(g->exit_fd, GUEST_DEBUG + 1);
}

static inline bool guest_read_mem(void *ctx, uint64_t gpa, void *data, unsigned size)
{
    struct guest *g = ctx;
    if (gpa > GUEST_RAM - size)
        return false;
    memcpy(data, g->ram + gpa, size);
    return true;
}

static const struct vcpu_ops guest_ops = {
    .pio = guest_pio,
    .mmio = guest_mmio,
    .stopped = guest_stopped,
    .debug = guest_debug,
    .read_mem = guest_read_mem,
};

static inline void guest_free(struct guest *g)
{
    vcpus_free(g->vcpus);
    irqs_free(g->irqs);
    vm_close(g->vm);
    munmap(g->ram, GUEST_RAM);
    close(g->exit_fd);
    free(g);
}

static inline struct guest *guest_new(unsigned cpus)
{
    char err[512];
    struct guest *g = calloc(1, sizeof *g);
    if (!g || access("/dev/kvm", R_OK | W_OK) < 0)
        SKIP("no /dev/kvm that this user may open");
    g->vm = vm_open(NULL, err, sizeof err);
    if (!g->vm) {
        printf("%s\n", err);
        CHECK(!"vm_open");
    }
    pthread_mutex_init(&g->lock, NULL);
    g->exit_fd = eventfd(0, EFD_CLOEXEC);
    g->ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g->irqs = irqs_kvm(g->vm);
    CHECK(g->ram != MAP_FAILED);
    struct vm_slot slot = {.slot = 0, .gpa = 0, .size = GUEST_RAM, .host = g->ram};
    CHECK_EQ(vm_slot_set(g->vm, &slot), 0);
    g->vcpus = vcpus_new(g->vm, cpus, &guest_ops, g, err, sizeof err);
    if (!g->vcpus) {
        printf("%s\n", err);
        CHECK(!"vcpus_new");
    }
    return g;
}

static inline void guest_start(struct guest *g, enum vcpu_mode mode)
{
    char err[512];
    struct vcpu_boot boot = {.mode = mode, .rip = GUEST_CODE, .rsp = GUEST_STACK, .cr0 = 1};
    if (mode == VCPU_PROTECTED32) {
        boot.cs = 0x10;
        boot.ds = 0x18;
    }
    CHECK_EQ(vcpu_set_boot(vcpus_get(g->vcpus, 0), &boot), 0);
    CHECK(vcpus_start(g->vcpus, err, sizeof err));
}

/* The value written to the exit port, GUEST_STOPPED, or -1 when nothing came. */
static inline int guest_wait(struct guest *g)
{
    struct pollfd p = {.fd = g->exit_fd, .events = POLLIN};
    eventfd_t value;
    if (poll(&p, 1, GUEST_PATIENCE) != 1 || eventfd_read(g->exit_fd, &value) < 0)
        return -1;
    if (value == GUEST_STOPPED + 1)
        printf("%s\n", g->stop.why);
    return (int)value - 1;
}

/* Access i of the log is this one. */
#define CHECK_ACCESS(g, i, pio_, addr_, write_, size_, value_)                                               \
    do {                                                                                                     \
        CHECK((i) < atomic_load(&(g)->n));                                                                   \
        CHECK_EQ((g)->log[i].pio, pio_);                                                                     \
        CHECK_EQ((g)->log[i].addr, addr_);                                                                   \
        CHECK_EQ((g)->log[i].write, write_);                                                                 \
        CHECK_EQ((g)->log[i].size, size_);                                                                   \
        CHECK_EQ((g)->log[i].value, value_);                                                                 \
    } while (0)

#endif
