// SPDX-License-Identifier: MIT
/* ivshmem-plain: RAM in a BAR, between boards, under DMA, and under the dirty log. */
#include "test.h"
#include "kvm/host/log.h"
#include "mem/slots.h"
#include "pci_board.h"

#include <unistd.h>

extern const struct device_class ivshmem_class;

enum {
    SIZE = 64 << 10
};
static char path[64];

static struct pci_device *ivshmem_new(const char *options)
{
    return (struct pci_device *)device_new(&m->board, &ivshmem_class, NULL, options, m->err, sizeof m->err);
}

static uint64_t bar2(const struct pci_device *dev)
{
    return (cf8(0, dev->devfn, 0x18, 4) & ~15u) | (uint64_t)cf8(0, dev->devfn, 0x1c, 4) << 32;
}

static const char *file(void)
{
    static char options[128];
    strcpy(path, "/tmp/ivshmem.XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    snprintf(options, sizeof options, "path=%s,size=64K", path);
    return options;
}

TEST(ivshmem_is_what_its_specification_says)
{
    machine_new();
    struct pci_device *dev = ivshmem_new("size=1M");
    CHECK(dev && placed());
    CHECK_STR(dev->dev.id, "ivshmem-plain0");
    CHECK_EQ(cf8(0, dev->devfn, 0, 4), 0x11101af4);
    CHECK_EQ(cf8(0, dev->devfn, 8, 4), 0x05000001);
    CHECK_EQ(cf8(0, dev->devfn, 0x3d, 1), 0);
    CHECK_EQ(cf8(0, dev->devfn, 0x18, 4) & 15, 0xc); /* 64 bits, prefetchable */
    CHECK_EQ(dev->bars[0].size, 256);
    CHECK_EQ(dev->bars[2].size, 1 << 20);
    uint64_t regs = cf8(0, dev->devfn, 0x10, 4) & ~15u;
    for (unsigned reg = 0; reg < 16; reg += 4) {
        uint32_t v = ~0u;
        space_write(&m->memory, regs + reg, 4, &v);
        space_read(&m->memory, regs + reg, 4, &v);
        CHECK_EQ(v, 0);
    }
    devices_free(&m->board);
}

TEST(ivshmem_refuses_sizes_that_are_no_bar)
{
    static const struct {
        const char *options, *why;
    } bad[] = {
        {NULL,                          "size= is missing"  },
        {"size=0",                      "size= is missing"  },
        {"size=2048",                   "power of two"      },
        {"size=3M",                     "power of two"      },
        {"path=/nonexistent/x",         "not there"         },
        {"path=/dev/null",              "empty"             },
        {"path=/dev/null,size=64K",     "not a regular file"},
        {"path=/nonexistent/x,size=4K", "No such file"      },
    };
    machine_new();
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!ivshmem_new(bad[i].options));
        if (!strstr(m->err, bad[i].why))
            printf("%s\n", m->err);
        CHECK(strstr(m->err, bad[i].why) && !strchr(m->err, '\n'));
    }
    CHECK(!m->board.devices->next); /* the bridge */
}

/* Two boards with one file: what one writes the other reads, wherever each has its BAR. */
TEST(ivshmem_two_boards_share_a_file)
{
    const char *options = file();
    struct machine *boards[2];
    struct pci_device *devs[2];
    uint64_t at[2];
    char text[16];
    for (int i = 0; i < 2; i++) {
        machine_new();
        boards[i] = m;
        CHECK((devs[i] = ivshmem_new(options)));
        CHECK(placed());
        if (i)
            cf8_write(devs[i]->devfn, 0x18, 0xf0100000, 4);
        at[i] = bar2(devs[i]);
    }
    CHECK(at[0] != at[1]);
    space_write(&boards[0]->memory, at[0] + 0x1ff8, 16, "message to board");
    space_read(&boards[1]->memory, at[1] + 0x1ff8, 16, text);
    CHECK(!memcmp(text, "message to board", 16));
    space_write(&boards[1]->memory, at[1] + SIZE - 4, 4, "back");
    space_read(&boards[0]->memory, at[0] + SIZE - 4, 4, text);
    CHECK(!memcmp(text, "back", 4));
    m = boards[1];
    cf8_write(devs[1]->devfn, PCI_COMMAND, 0, 2); /* gone from one, not from the other */
    CHECK_EQ(who(at[1] + 0x1ff8), NOBODY);
    space_read(&boards[0]->memory, at[0] + 0x1ff8, 16, text);
    CHECK(!memcmp(text, "message to board", 16));
    for (int i = 0; i < 2; i++)
        devices_free(&boards[i]->board);
    int keep[4] = {0};
    FILE *f = fopen(path, "r"); /* and the host has it still */
    CHECK(f && fseek(f, 0x1ff8, SEEK_SET) == 0 && fread(keep, 1, 16, f) == 16);
    CHECK(!memcmp(keep, "message to board", 16));
    fclose(f);
    /* the size is the file's, when none is given */
    machine_new();
    snprintf(text, sizeof text, "%s", "x");
    char by_file[128];
    snprintf(by_file, sizeof by_file, "path=%s", path);
    CHECK((devs[0] = ivshmem_new(by_file)));
    CHECK_EQ(devs[0]->bars[2].size, SIZE);
    devices_free(&m->board);
    unlink(path);
}

/* --- under KVM's dirty log, and DMA */

static struct {
    uint64_t gpa, size;
    uint32_t flags;
    void *host;
    uint64_t dirty; /* of the first 64 pages */
} slot[16];

static int slot_set(void *ctx, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size, void *host)
{
    (void)ctx;
    CHECK(id < 16);
    slot[id].gpa = gpa, slot[id].size = size, slot[id].flags = flags, slot[id].host = host;
    return 0;
}
static int slot_dirty(void *ctx, uint32_t id, uint64_t *bitmap)
{
    (void)ctx;
    bitmap[0] = slot[id].dirty;
    slot[id].dirty = 0;
    return 0;
}
static const struct slots_ops slot_ops = {.set = slot_set, .dirty_get = slot_dirty};

static int slot_at(uint64_t gpa)
{
    for (int i = 0; i < 16; i++)
        if (slot[i].size && gpa - slot[i].gpa < slot[i].size)
            return i;
    return -1;
}

TEST(ivshmem_memory_is_a_slot_that_moves_and_logs)
{
    machine_new();
    struct slots *slots =
        slots_new(&m->memory, &slot_ops, NULL, &(struct slots_limits){.slots = 16, .readonly = true});
    struct pci_device *dev = ivshmem_new("size=64K"), *card = &toy_new("bars=m12")->pci;
    CHECK(dev && card && placed());
    struct region *r = dev->bars[2].region;
    uint64_t at = bar2(dev), bitmap = 0;
    int id = slot_at(at);
    CHECK(id >= 0 && slot[id].size == SIZE && !(slot[id].flags & SLOT_LOG));
    void *host = slot[id].host;

    CHECK(region_log(r, REGION_LOG_USER, true));
    id = slot_at(at);
    CHECK(slot[id].flags & SLOT_LOG);
    slot[id].dirty = 1 << 2;                         /* the guest's own write, which KVM knows of */
    space_write(&m->memory, at + 0x3ffe, 4, "abcd"); /* one by way of an exit, over two pages */
    cf8_write(card->devfn, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    lock_take(&card->dev.lock); /* another device's DMA */
    CHECK(dma_write(&card->dma, at + 0x5000, "x", 1));
    lock_drop(&card->dev.lock);
    CHECK_EQ(region_log_fetch(r, REGION_LOG_USER, 0, SIZE, &bitmap), 4);
    CHECK_EQ(bitmap, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);
    CHECK(!memcmp((char *)host + 0x3ffe, "abcd", 4));

    slot[id].dirty = 1 << 7; /* and then it moves: nothing of the log is lost */
    cf8_write(dev->devfn, 0x18, 0xf2340000, 4);
    cf8_write(dev->devfn, 0x1c, 0, 4);
    CHECK_EQ(slot_at(at), -1);
    id = slot_at(0xf2340000);
    CHECK(id >= 0 && slot[id].host == host && slot[id].flags & SLOT_LOG);
    slot[id].dirty = 1 << 15;
    bitmap = 0;
    CHECK_EQ(region_log_fetch(r, REGION_LOG_USER, 0, SIZE, &bitmap), 2);
    CHECK_EQ(bitmap, 1 << 7 | 1 << 15);

    cf8_write(dev->devfn, PCI_COMMAND, 0, 2); /* not decoded: no slot, and no DMA gets there */
    CHECK_EQ(slot_at(0xf2340000), -1);
    CHECK(!dma_write(&card->dma, 0xf2340000, "x", 1));
    cf8_write(dev->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK(slot_at(0xf2340000) >= 0);
    CHECK(region_log(r, REGION_LOG_USER, false));
    CHECK(!(slot[slot_at(0xf2340000)].flags & SLOT_LOG));
    slots_free(slots);
}
