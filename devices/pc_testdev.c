/* SPDX-License-Identifier: MIT
 *
 * pc-testdev: the fixed ports and memory of QEMU's device of that name (hw/misc/pc-testdev.c), which bare-metal conformance
 * programs use to make things happen from inside:
 *
 *   0xe0, 0xe8   a latch of 32 bits each, by lanes
 *   0xe4         dword: the page at that guest address loses and gets back its protection, so that KVM drops what it has
 *                mapped of it
 *   0x2000 + n   byte: the level of interrupt line n, 0-23
 *   0xff000000   64 KiB that store what is written: memory whose every access leaves the guest
 *
 * QEMU takes all access to the page away for a moment. Another CPU that touches it then gets an error out of KVM, and a
 * guest must not be able to end its VM so. Adding the right to execute, and taking it back, tells KVM the same and
 * hurts nobody.
 */
#include "kvm/host/log.h"
#include "kvm/irq.h"
#include "mem/access.h"
#include "mem/device.h"
#include "mem/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LATCH_PORT = 0xe0,
    LATCH2_PORT = 0xe8,
    FLUSH_PORT = 0xe4,
    LINES_PORT = 0x2000,
    LINES = 24,
    MEMORY_SIZE = 0x10000,
};
#define MEMORY_BASE 0xff000000u

struct pc_testdev {
    struct device dev;
    uint32_t latch, latch2;
    uint8_t levels[LINES];
    uint8_t bytes[MEMORY_SIZE];
    struct irq_line lines[LINES];
    struct region memory;
};

static void flush_write(struct device *dev, unsigned index, uint64_t value)
{
    struct iovec page;
    uint64_t offset;
    (void)index;
    if (dma_iov(dev->board->memory, value & ~(uint64_t)(RAM_PAGE - 1), RAM_PAGE, false, &page, 1) != 1) {
        guest_bug("%s: FLUSH of 0x%llx, which is not RAM", dev->id, (unsigned long long)value);
        return;
    }
    const struct ram *ram = ram_of(page.iov_base, &offset);
    if (!ram)
        return;
    uint8_t *host = ram->host + (offset & ~(ram->page_size - 1));
    if (mprotect(host, ram->page_size, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        warn("%s: FLUSH: mprotect: %s", dev->id, strerror(errno));
    if (mprotect(host, ram->page_size, PROT_READ | PROT_WRITE) < 0)
        warn("%s: FLUSH: mprotect: %s", dev->id, strerror(errno));
}

static void level_write(struct device *dev, unsigned index, uint64_t value)
{
    struct pc_testdev *t = (struct pc_testdev *)dev;
    t->levels[index] = value != 0;
    irq_line_set(&t->lines[index], value != 0);
}

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pc_testdev *t = opaque;
    uint64_t value = UINT64_MAX;
    if (size <= MEMORY_SIZE - offset)
        memcpy(&value, t->bytes + offset, size);
    return value;
}
static void memory_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pc_testdev *t = opaque;
    if (size <= MEMORY_SIZE - offset)
        memcpy(t->bytes + offset, &value, size);
}
static const struct region_ops memory_ops = {memory_read, memory_write, 1 | 2 | 4 | 8, 0};

/* clang-format off */
static const struct reg latch_regs[] = {
    {"LATCH", 0, 4, .sizes = 1 | 2 | 4, .writable = UINT32_MAX, REG_FIELD(struct pc_testdev, latch)},
    {0},
};
static const struct reg latch2_regs[] = {
    {"LATCH2", 0, 4, .sizes = 1 | 2 | 4, .writable = UINT32_MAX, REG_FIELD(struct pc_testdev, latch2)},
    {0},
};
static const struct reg flush_regs[] = {
    {"FLUSH", 0, 4, .flags = REG_WO, .write = flush_write},
    {0},
};
static const struct reg line_regs[] = {
    {"LEVEL", 0, 1, .count = LINES, .flags = REG_WO, .write = level_write},
    {0},
};
/* clang-format on */
static const struct reg_bank latch_bank = {.name = "latch", .size = 4, .regs = latch_regs};
static const struct reg_bank latch2_bank = {.name = "latch2", .size = 4, .regs = latch2_regs};
static const struct reg_bank flush_bank = {.name = "flush", .size = 4, .regs = flush_regs};
static const struct reg_bank line_bank = {
    .name = "lines", .size = LINES, .regs = line_regs, .region_sizes = 1, .region_flags = REGION_SPLIT};

static const char *testdev_init(struct device *dev, struct board *board)
{
    struct pc_testdev *t = (struct pc_testdev *)dev;
    device_map_ports(dev, 0, LATCH_PORT);
    device_map_ports(dev, 1, LATCH2_PORT);
    device_map_ports(dev, 2, FLUSH_PORT);
    device_map_ports(dev, 3, LINES_PORT);
    for (unsigned i = 0; i < LINES; i++)
        irq_line_init(&t->lines[i], board->irqs, i, dev->id);
    region_init_io(&t->memory, "pc-testdev.memory", MEMORY_SIZE, &memory_ops, t, &dev->lock, dev);
    return region_add(board->mem_root, &t->memory, MEMORY_BASE, 0) ? NULL : "its memory has no place";
}

static void testdev_reset(struct device *dev)
{
    for (unsigned i = 0; i < LINES; i++)
        level_write(dev, i, 0);
}

static const char *testdev_loaded(struct device *dev)
{
    for (unsigned i = 0; i < LINES; i++)
        level_write(dev, i, ((struct pc_testdev *)dev)->levels[i]);
    return NULL;
}

static void testdev_fini(struct device *dev)
{
    struct pc_testdev *t = (struct pc_testdev *)dev;
    for (unsigned i = 0; i < LINES; i++)
        irq_line_fini(&t->lines[i]);
    region_free(&t->memory);
}

static const struct state_field testdev_state[] = {
    STATE_ARRAY(struct pc_testdev, levels), STATE_ARRAY(struct pc_testdev, bytes), {0}};

const struct device_class pc_testdev_class = {
    .name = "pc-testdev",
    .help = "QEMU's ports for conformance programs: interrupt lines, latches, memory, page flush",
    .size = sizeof(struct pc_testdev),
    .banks = (const struct reg_bank *const[]){&latch_bank, &latch2_bank, &flush_bank, &line_bank, NULL},
    .state = testdev_state,
    .single = true,
    .init = testdev_init,
    .reset = testdev_reset,
    .loaded = testdev_loaded,
    .fini = testdev_fini,
};
