// SPDX-License-Identifier: MIT
/* A function's conversation outside its own registers, for who watches it (mem/watch.h): configuration space, the MSI-X
 * table, interrupts. The names of configuration registers and their bits stand in register tables, as a device's own do.
 *
 * Everything here runs with the function's lock held. Source: PCI Local Bus 3.0, 6.1 and 6.8. */
#include <stdarg.h>

#include "mem/watch.h"
#include "pci/device.h"

static const struct reg_bits command_bits[] = {
    {"IO",     0, 1},
    {"MEMORY",       1, 1},
    {"MASTER", 2, 1},
    {"PARITY",       6, 1},
    {"SERR", 8, 1},
    {"INTX_DISABLE",       10, 1},
    {0}
};
static const struct reg_bits status_bits[] = {
    {"INTERRUPT",    3, 1},
    {"CAPABILITIES",             4, 1},
    {0}
};
static const struct reg_bits msi_bits[] = {
    {"ENABLE",  0, 1},
    {"CAPABLE",        1, 3},
    {"VECTORS", 4, 3},
    {"64BIT",        7, 1},
    {"MASKABLE", 8, 1},
    {0       }
};
static const struct reg_bits msix_bits[] = {
    {"SIZE",    0, 11},
    {"MASKALL",       14, 1},
    {"ENABLE", 15, 1},
    {0       }
};
static const struct reg_bits power_bits[] = {
    {"STATE",    0, 2},
    {"NO_RESET",         3, 1},
    {0}
};

/* clang-format off */
static const struct reg header[] = {
    {"VENDOR_ID",            PCI_VENDOR_ID,           .width = 2},
    {"DEVICE_ID",            PCI_DEVICE_ID,           .width = 2},
    {"COMMAND",              PCI_COMMAND,             .width = 2, .bits = command_bits},
    {"STATUS",               PCI_STATUS,              .width = 2, .bits = status_bits},
    {"REVISION_ID",          PCI_REVISION_ID,         .width = 1},
    {"CLASS_CODE",           PCI_CLASS_CODE,          .width = 1, .count = 3},
    {"CACHE_LINE_SIZE",      PCI_CACHE_LINE_SIZE,     .width = 1},
    {"LATENCY_TIMER",        PCI_LATENCY_TIMER,       .width = 1},
    {"HEADER_TYPE",          PCI_HEADER_TYPE,         .width = 1},
    {"BIST",                 0x0f,                    .width = 1},
    {"BAR",                  PCI_BAR0,                .width = 4, .count = 6},
    {"CARDBUS_CIS",          0x28,                    .width = 4},
    {"SUBSYSTEM_VENDOR_ID",  PCI_SUBSYSTEM_VENDOR_ID, .width = 2},
    {"SUBSYSTEM_ID",         PCI_SUBSYSTEM_ID,        .width = 2},
    {"ROM_BASE",             PCI_ROM_BASE,            .width = 4},
    {"CAPABILITIES",         PCI_CAPABILITIES,        .width = 1},
    {"INTERRUPT_LINE",       PCI_INTERRUPT_LINE,      .width = 1},
    {"INTERRUPT_PIN",        PCI_INTERRUPT_PIN,       .width = 1},
    {"MIN_GNT",              0x3e,                    .width = 1},
    {"MAX_LAT",              0x3f,                    .width = 1},
    {0},
};
/* Offsets are in the capability. */
static const struct reg msi[] = {
    {"MSI_CAP",              0,                       .width = 2},
    {"MSI_CONTROL",          PCI_MSI_CONTROL,         .width = 2, .bits = msi_bits},
    {"MSI_ADDRESS_LO",       PCI_MSI_ADDRESS,         .width = 4},
    {"MSI_ADDRESS_HI",       PCI_MSI_ADDRESS + 4,     .width = 4},
    {"MSI_DATA",             PCI_MSI_DATA,            .width = 2},
    {"MSI_MASK",             PCI_MSI_MASK,            .width = 4},
    {"MSI_PENDING",          PCI_MSI_PENDING,         .width = 4},
    {0},
};
static const struct reg msix[] = {
    {"MSIX_CAP",             0,                       .width = 2},
    {"MSIX_CONTROL",         PCI_MSIX_CONTROL,        .width = 2, .bits = msix_bits},
    {"MSIX_TABLE",           PCI_MSIX_TABLE,          .width = 4},
    {"MSIX_PBA",             PCI_MSIX_PBA,            .width = 4},
    {0},
};
static const struct reg power[] = {
    {"PM_CAP",               0,                       .width = 2},
    {"PM_PMC",               2,                       .width = 2},
    {"PM_CONTROL",           PCI_POWER_CONTROL,       .width = 2, .bits = power_bits},
    {0},
};
/* clang-format on */
enum {
    ENTRY = 16, /* of the MSI-X table */
};
static const struct reg table[] = {
    {"MSIX_ADDRESS_LO", 0,  .width = 4, .count = PCI_MSIX_MAX, .stride = ENTRY},
    {"MSIX_ADDRESS_HI", 4,  .width = 4, .count = PCI_MSIX_MAX, .stride = ENTRY},
    {"MSIX_DATA",       8,  .width = 4, .count = PCI_MSIX_MAX, .stride = ENTRY},
    {"MSIX_VECTOR",     12, .width = 4, .count = PCI_MSIX_MAX, .stride = ENTRY},
};

/* The register where an access begins. */
static const struct reg *find(const struct reg *regs, unsigned at, unsigned *index)
{
    for (; regs->name; regs++) {
        unsigned count = regs->count ? regs->count : 1;
        if (at >= regs->offset && at - regs->offset < count * regs->width) {
            *index = (at - regs->offset) / regs->width;
            return (at - regs->offset) % regs->width ? NULL : regs;
        }
    }
    return NULL;
}

static const struct reg *config_reg(const struct pci_device *pci, unsigned at, unsigned *index)
{
    const struct {
        const struct reg *regs;
        uint8_t first;
        uint8_t size;
    } caps[] = {
        {msi,   pci->msi,   PCI_MSI_SIZE },
        {msix,  pci->msix,  PCI_MSIX_SIZE},
        {power, pci->power, 8            }
    };
    *index = 0;
    if (at < PCI_HEADER_END)
        return find(header, at, index);
    for (unsigned i = 0; i < sizeof caps / sizeof *caps; i++)
        if (caps[i].first && at >= caps[i].first && at - caps[i].first < caps[i].size)
            return find(caps[i].regs, at - caps[i].first, index);
    return NULL;
}

bool pci_watch_config(struct pci_device *pci, bool write, unsigned reg, unsigned size, uint32_t *value)
{
    struct watch_event e = {
        .kind = WATCH_CONFIG, .write = write, .size = size, .offset = reg, .value = *value};
    e.reg = config_reg(pci, reg, &e.index);
    if (watch_ask(&pci->dev, &e) == WATCH_SKIP) {
        *value = (uint32_t)e.value;
        return false;
    }
    watch_tell(&pci->dev, &e);
    return true;
}

void pci_watch_msix(struct pci_device *pci, bool write, uint64_t offset, unsigned size, uint64_t value)
{
    struct watch_event e = {
        .kind = WATCH_REG, .write = write, .size = size, .offset = offset, .value = value};
    if (offset >= pci->n_msix * (uint64_t)ENTRY)
        return; /* pending bits and nothing */
    e.reg = &table[offset % ENTRY / 4];
    e.index = (unsigned)(offset / ENTRY);
    watch_tell(&pci->dev, &e);
}

void pci_watch_irq(struct pci_device *pci, unsigned vec, enum watch_irq what, const char *fmt, ...)
{
    char text[96];
    struct watch_event e = {.kind = WATCH_IRQ,
                            .write = what != WATCH_IRQ_DOWN,
                            .index = vec,
                            .value = what,
                            .text = fmt ? text : NULL};
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
    }
    watch_tell(&pci->dev, &e);
}
