/* SPDX-License-Identifier: MIT
 *
 * ivshmem-plain: shared memory as a PCI function (QEMU's docs/specs/ivshmem-spec). PCI 1af4:1110, revision 1, class 0x0500,
 * no interrupt. BAR2, 64 bits and prefetchable, is the memory; BAR0 holds registers that mean something only to a device
 * with a doorbell, and are here for programs that read them: all 0.
 *
 *   --device ivshmem-plain,path=FILE[,size=SIZE]   all guests that name the file share it. /dev/fd/N is a memfd that was
 *                                                  inherited. Without a path, memory of its own, to be had by
 *                                                  others as /proc/PID/fd/N.
 *
 * The BAR is RAM like any other: KVM maps it wherever the guest puts it, other devices reach it by DMA, its pages are logged
 * when written. Guests and host see each other's writes at once; what they mean by them is theirs to agree.
 */
#include "mem/ram.h"
#include "pci/device.h"

#include <sys/stat.h>

enum {
    REGS_SIZE = 256,
};

struct ivshmem {
    struct pci_device pci;
    const char *path; /* options */
    uint64_t size;
    struct ram *ram;
    char name[48];
};

/* clang-format off */
static const struct reg ivshmem_regs[] = {
    {"INTR_MASK",   0x00, 4, .flags = REG_RO},
    {"INTR_STATUS", 0x04, 4, .flags = REG_RO},
    {"IV_POSITION", 0x08, 4, .flags = REG_RO},
    {"DOORBELL",    0x0c, 4, .flags = REG_RO},
    {0},
};
/* clang-format on */
static const struct reg_bank ivshmem_bank = {.name = "regs", .size = REGS_SIZE, .regs = ivshmem_regs};

static const char *ivshmem_init(struct device *dev, struct board *board)
{
    struct ivshmem *s = (struct ivshmem *)dev;
    struct stat st;
    if (!s->size && s->path && stat(s->path, &st) == 0)
        s->size = (uint64_t)st.st_size;
    if (!s->size)
        return s->path ? "the file is empty or not there (give size=)" : "size= is missing";
    if (s->size < RAM_PAGE || s->size & (s->size - 1))
        return "its size is no power of two from 4K up, as a BAR's must be";
    (void)board;
    snprintf(s->name, sizeof s->name, "%s.memory", dev->id);
    s->ram = ram_new(
        &(struct ram_opts){
            .name = s->name, .size = s->size, .kind = s->path ? RAM_FILE : RAM_MEMFD, .path = s->path},
        dev->error, sizeof dev->error);
    if (!s->ram)
        return dev->error;
    pci_bar(&s->pci, 2, PCI_BAR_MEM64_PREFETCH, &s->ram->region);
    return NULL;
}

static void ivshmem_fini(struct device *dev)
{
    struct ivshmem *s = (struct ivshmem *)dev;
    region_remove(&s->ram->region);
    s->pci.bars[2].region = NULL;
    ram_free(s->ram);
}

static const struct opt ivshmem_options[] = {
    OPT_STRING(struct ivshmem, path, "path", 0, "FILE", "the memory is this file's; it is made if need be"),
    OPT_SIZE(struct ivshmem, size, "size", 0, 1, "a power of two", .dflt = "the file's"),
    OPT_END,
};

const struct device_class ivshmem_class = {
    .name = "ivshmem-plain",
    .help = "memory shared between guests and host, in a BAR (PCI 1af4:1110)",
    .size = sizeof(struct ivshmem),
    .options = ivshmem_options,
    .bus = PCI_FUNCTION(.ids = {.vendor = 0x1af4, .device = 0x1110, .class_code = 0x050000, .revision = 1},
                        .bars = {{PCI_BAR_MEM32, .bank = 0}  }
        ),
    .banks = (const struct reg_bank *const[]){&ivshmem_bank,              NULL                  },
    .init = ivshmem_init,
    .fini = ivshmem_fini,
};
