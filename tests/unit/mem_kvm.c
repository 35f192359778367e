// SPDX-License-Identifier: MIT
/* The memory layer on a real KVM: slots, read-only slots, slots that split under a running guest, the dirty log,
 * ioeventfds and coalesced zones. The guests are a few instructions each; see kvm_guest.h for the macros. */
#include "kvm_guest.h"

#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/kvm.h"
#include "mem/ram.h"

#include <sched.h>

enum {
    RAM_BYTES = 16 << 20,
};

struct board {
    struct region root, io_root, exit_port, hook_port;
    struct space memory, io;
    struct ram *ram;
    struct kvm_link link;
    struct slots *slots;
    struct ioevents *ioevents;
    int exit_fd;
    void (*hook)(struct board *b); /* a write to port 0x99, on the vCPU's thread */
    _Atomic unsigned ram_exits;    /* accesses to RAM that came as exits */
};

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct board *b = opaque;
    (void)offset;
    (void)size;
    eventfd_write(b->exit_fd, (value & 0xff) + 1);
}

static void hook_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct board *b = opaque;
    (void)offset;
    (void)value;
    (void)size;
    b->hook(b);
}

static const struct region_ops port_ops = {NULL, port_write, 1, 0};
static const struct region_ops hook_ops = {NULL, hook_write, 1, 0};

static void on_pio(void *ctx, struct vcpu *vcpu, uint16_t port, bool write, unsigned size, unsigned count,
                   void *data)
{
    struct board *b = ctx;
    (void)vcpu;
    for (unsigned i = 0; i < count; i++) {
        if (write)
            space_write(&b->io, port, size, (char *)data + i * size);
        else
            space_read(&b->io, port, size, (char *)data + i * size);
    }
}

static void on_mmio(void *ctx, struct vcpu *vcpu, uint64_t gpa, bool write, unsigned size, void *data)
{
    struct board *b = ctx;
    (void)vcpu;
    epoch_enter();
    const struct range *r = view_find(atomic_load(&b->memory.view), gpa);
    if (r && r->region->host)
        atomic_fetch_add(&b->ram_exits, 1);
    epoch_leave();
    if (write)
        space_write(&b->memory, gpa, size, data);
    else
        space_read(&b->memory, gpa, size, data);
}

static void on_stopped(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop)
{
    struct board *b = ctx;
    (void)vcpu;
    printf("%s\n", stop->why);
    eventfd_write(b->exit_fd, GUEST_STOPPED + 1);
}

static const struct vcpu_ops board_ops = {.pio = on_pio, .mmio = on_mmio, .stopped = on_stopped};

static struct board *board_new(void)
{
    char err[512];
    struct board *b = calloc(1, sizeof *b);
    if (!b || access("/dev/kvm", R_OK | W_OK) < 0)
        SKIP("no /dev/kvm that this user may open");
    b->exit_fd = eventfd(0, EFD_CLOEXEC);
    region_init_container(&b->root, "system", REGION_ALL);
    region_init_container(&b->io_root, "io", 0x10000);
    space_init(&b->memory, &b->root, "memory");
    space_init(&b->io, &b->io_root, "I/O");
    region_init_io(&b->exit_port, "exit", 1, &port_ops, b, NULL, NULL);
    region_init_io(&b->hook_port, "hook", 1, &hook_ops, b, NULL, NULL);
    region_add(&b->io_root, &b->exit_port, 0xf8, 0);
    region_add(&b->io_root, &b->hook_port, 0x99, 0);
    b->ram = ram_new(&(struct ram_opts){.size = RAM_BYTES}, err, sizeof err);
    CHECK(b->ram);
    ram_map(b->ram, &b->root);
    b->link.vm = vm_open(NULL, err, sizeof err);
    if (!b->link.vm) {
        printf("%s\n", err);
        CHECK(!"vm_open");
    }
    b->slots = slots_new_kvm(&b->memory, &b->link);
    b->ioevents = ioevents_new_kvm(&b->memory, &b->io, &b->link);
    b->link.vcpus = vcpus_new(b->link.vm, 1, &board_ops, b, err, sizeof err);
    CHECK(b->link.vcpus);
    return b;
}

#define BOARD_START(b, code)                                                                                 \
    do {                                                                                                     \
        char err_[512];                                                                                      \
        struct vcpu_boot boot_ = {.mode = VCPU_PROTECTED32,                                                  \
                                  .rip = GUEST_CODE,                                                         \
                                  .rsp = GUEST_STACK,                                                        \
                                  .rflags = 2,                                                               \
                                  .cr0 = 1,                                                                  \
                                  .cs = 0x10,                                                                \
                                  .ds = 0x18};                                                               \
        CHECK(ram_write((b)->ram, GUEST_CODE, code##_start, (uint64_t)(code##_end - code##_start)));         \
        CHECK_EQ(vcpu_set_boot(vcpus_get((b)->link.vcpus, 0), &boot_), 0);                                   \
        CHECK(vcpus_start((b)->link.vcpus, err_, sizeof err_));                                              \
    } while (0)

static int board_wait(struct board *b)
{
    struct pollfd p = {.fd = b->exit_fd, .events = POLLIN};
    eventfd_t value;
    if (poll(&p, 1, GUEST_PATIENCE) != 1 || eventfd_read(b->exit_fd, &value) < 0)
        return -1;
    return (int)value - 1;
}

static void board_stop(struct board *b)
{
    vcpus_stop(b->link.vcpus);
    vcpus_join(b->link.vcpus);
}

static void board_free(struct board *b)
{
    slots_free(b->slots);
    ioevents_free(b->ioevents);
    vcpus_free(b->link.vcpus);
    vm_close(b->link.vm);
    space_free(&b->memory);
    space_free(&b->io);
    ram_free(b->ram);
    region_free(&b->exit_port);
    region_free(&b->hook_port);
    region_free(&b->root);
    region_free(&b->io_root);
    close(b->exit_fd);
    free(b);
}

static volatile uint32_t *word(struct board *b, uint64_t gpa)
{
    return ram_host(b->ram, gpa, 4);
}

/* --- */

GUEST32(rom, "movl 0xe0004, %eax\n"
             "movl %eax, 0x6000\n"
             "movl $0x12345678, 0xe0004\n" /* dropped */
             "movl 0xe0004, %eax\n"
             "movl %eax, 0x6004\n"
             "movl $0xaabbccdd, 0xfffffc\n" /* RAM's last word */
             "movl 0x1000000, %eax\n"       /* behind it */
             "movl %eax, 0x6008\n"
             "mov $7, %al\n" EXIT_AL);

TEST(kvm_reads_rom_and_drops_writes_to_it)
{
    struct board *b = board_new();
    struct region bios;
    char err[256];
    struct ram *block = ram_new(&(struct ram_opts){.name = "bios", .size = 0x10000}, err, sizeof err);
    CHECK(block);
    region_init_rom(&bios, "bios", block, 0, 0x10000);
    *(uint32_t *)(block->host + 4) = 0xcafef00d;
    region_add(&b->root, &bios, 0xe0000, 1); /* over RAM */
    BOARD_START(b, rom);
    CHECK_EQ(board_wait(b), 7);
    board_stop(b);
    CHECK_EQ(*word(b, 0x6000), 0xcafef00d);
    CHECK_EQ(*word(b, 0x6004), 0xcafef00d);
    CHECK_EQ(*word(b, 0xe0004), 0); /* nor did it reach what lies below */
    CHECK_EQ(bios.refused, 1);
    CHECK_EQ(*word(b, 0xfffffc), 0xaabbccdd);
    CHECK_EQ(*word(b, 0x6008), 0xffffffff);
    CHECK_EQ(b->memory.nowhere, 1);
    board_free(b);
    region_free(&bios);
    ram_free(block);
}

/* The guest runs from, and counts in, the slot that is being cut. */
GUEST32(count, "1: incl 0x6000\n"
               "cmpl $0, 0x7000\n"
               "je 1b\n"
               "mov $3, %al\n" EXIT_AL);

TEST(kvm_slots_change_under_a_running_guest)
{
    struct board *b = board_new();
    struct region bar;
    region_init_io(&bar, "bar", 0x1000, &port_ops, b, NULL, NULL);
    region_enable(&bar, false);
    region_add(&b->root, &bar, 0x9000, 1);
    BOARD_START(b, count);
    uint32_t before = 0;
    for (unsigned i = 0; i < 100; i++) {
        region_enable(&bar, i % 2 == 0);
        if (i % 10 == 9) { /* and the guest gets on */
            while (*word(b, 0x6000) == before && atomic_load(&b->ram_exits) == 0)
                sched_yield();
            before = *word(b, 0x6000);
        }
    }
    *word(b, 0x7000) = 1;
    CHECK_EQ(board_wait(b), 3);
    board_stop(b);
    CHECK_EQ(slots_stats(b->slots).holds, 100);
    CHECK_EQ(slots_stats(b->slots).failures, 0);
    CHECK_EQ(b->ram_exits, 0); /* RAM was there all the time */
    CHECK_EQ(b->memory.nowhere, 0);
    board_free(b);
    region_free(&bar);
}

GUEST32(dirty, "movb $1, 0x10000\n"
               "movb $1, 0x15fff\n"
               "mov $1, %al\n"
               "out %al, $0xf8\n"
               "1: cmpl $0, 0x7000\n"
               "je 1b\n"
               "movb $1, 0x12000\n"
               "mov $2, %al\n" EXIT_AL);

TEST(kvm_dirty_log)
{
    struct board *b = board_new();
    struct region bar;
    uint64_t bits = 0;
    CHECK(region_log(&b->ram->region, REGION_LOG_USER, true));
    BOARD_START(b, dirty);
    CHECK_EQ(board_wait(b), 1);
    CHECK(dma_write(&b->memory, 0x11000, "x", 1)); /* and a device */
    CHECK_EQ(region_log_fetch(&b->ram->region, REGION_LOG_USER, 0x10000, 0x10000, &bits), 3);
    CHECK_EQ(bits, 1 << 0 | 1 << 1 | 1 << 5);
    CHECK_EQ(region_log_fetch(&b->ram->region, REGION_LOG_USER, 0x10000, 0x10000, &bits), 0);
    *word(b, 0x7000) = 1;
    CHECK_EQ(board_wait(b), 2);
    /* the slot goes before anybody asks */
    region_init_io(&bar, "bar", 0x1000, &port_ops, b, NULL, NULL);
    region_add(&b->root, &bar, 0x40000, 1);
    CHECK_EQ(region_log_fetch(&b->ram->region, REGION_LOG_USER, 0x10000, 0x10000, &bits), 1);
    CHECK_EQ(bits, 1 << 2);
    CHECK(region_log(&b->ram->region, REGION_LOG_USER, false));
    board_stop(b);
    CHECK_EQ(slots_stats(b->slots).failures, 0);
    board_free(b);
    region_free(&bar);
}

struct written {
    uint8_t bytes[32];
    unsigned n;
};

static void note(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct written *w = opaque;
    (void)offset;
    (void)size;
    if (w->n < sizeof w->bytes)
        w->bytes[w->n++] = (uint8_t)value;
}
static const struct region_ops note_ops = {NULL, note, 1 | 2 | 4, 0};

GUEST32(doorbell, "movw $1, 0xd0000010\n"
                  "movw $1, 0xd0000010\n"
                  "movw $2, 0xd0000020\n" /* not the value that is waited for */
                  "movw $3, 0xd0000020\n"
                  "mov $0xc010, %dx\n"
                  "out %ax, %dx\n"
                  "out %al, $0x99\n" /* moves the region */
                  "movw $1, 0xd1000010\n"
                  "movw $1, 0xd0000010\n" /* nobody is there any more */
                  "mov $9, %al\n" EXIT_AL);

static struct region doorbell_region;
static void move_doorbell(struct board *b)
{
    (void)b;
    region_move(&doorbell_region, 0xd1000000);
}

TEST(kvm_ioeventfds_follow_the_region)
{
    struct board *b = board_new();
    struct region ports;
    struct written seen = {0};
    int any = eventfd(0, EFD_NONBLOCK), three = eventfd(0, EFD_NONBLOCK), port = eventfd(0, EFD_NONBLOCK);
    eventfd_t n = 0;
    region_init_io(&doorbell_region, "notify", 0x1000, &note_ops, &seen, NULL, NULL);
    region_init_io(&ports, "ports", 0x20, &note_ops, &seen, NULL, NULL);
    CHECK(region_ioeventfd_add(&doorbell_region, 0x10, 2, false, 0, any));
    CHECK(region_ioeventfd_add(&doorbell_region, 0x20, 2, true, 3, three));
    CHECK(region_ioeventfd_add(&ports, 0x10, 2, false, 0, port));
    region_add(&b->root, &doorbell_region, 0xd0000000, 0);
    region_add(&b->io_root, &ports, 0xc000, 0);
    b->hook = move_doorbell;
    BOARD_START(b, doorbell);
    CHECK_EQ(board_wait(b), 9);
    board_stop(b);
    CHECK(eventfd_read(any, &n) == 0 && n == 3);
    CHECK(eventfd_read(three, &n) == 0 && n == 1);
    CHECK(eventfd_read(port, &n) == 0 && n == 1);
    CHECK(seen.n == 1 && seen.bytes[0] == 2); /* only the other value came as an exit */
    CHECK_EQ(b->memory.nowhere, 1);
    board_free(b);
    region_free(&doorbell_region);
    region_free(&ports);
    close(any);
    close(three);
    close(port);
}

GUEST32(fifo, "movb $0x41, 0xd0000000\n"
              "movb $0x42, 0xd0000000\n"
              "movb $0x43, 0xd0000004\n"
              "movb $0x44, 0xd0000100\n" /* not in the zone: exits, after the three */
              "movb $0x45, 0xd0000000\n"
              "mov $4, %al\n" EXIT_AL);

TEST(kvm_coalesced_writes_come_in_order)
{
    struct board *b = board_new();
    struct region fifo_region;
    struct written seen = {0};
    region_init_io(&fifo_region, "fifo", 0x1000, &note_ops, &seen, NULL, NULL);
    region_coalesce(&fifo_region, 0, 8);
    region_add(&b->root, &fifo_region, 0xd0000000, 0);
    if (ioevents_zones == 0) {
        board_free(b);
        region_free(&fifo_region);
        SKIP("this KVM has no coalesced I/O");
    }
    BOARD_START(b, fifo);
    CHECK_EQ(board_wait(b), 4);
    board_stop(b);
    CHECK(seen.n == 5 && !memcmp(seen.bytes, "ABCDE", 5));
    board_free(b);
    CHECK_EQ(ioevents_zones, 0);
    region_free(&fifo_region);
}
