/* SPDX-License-Identifier: MIT
 *
 * lamp: the smallest device that has something of everything, to begin a new one with: registers with bits, an option, work that takes
 * its time, an interrupt by MSI or INTx. With ENTRY(lamp) in guest/classes.c it is complete (tests/cli/device.sh): access
 * checks, help, --trace, --lint, --fault, info, saved state and reset all come from its tables.
 */
#include "pci/device.h"

enum {
    LAMP_CTL_ON = 1 << 0,
    LAMP_CTL_BLINKS = 1 << 1,
};

struct lamp {
    struct pci_device pci;
    uint32_t ctl, level, seen;
    uint32_t watts; /* option */
    struct device_timer timer;
};

static void lamp_blinked(struct device *dev)
{
    struct lamp *l = (struct lamp *)dev;
    l->ctl ^= LAMP_CTL_ON;
    l->seen = 1;
    pci_raise(&l->pci, 0);
}

static void lamp_ack(struct device *dev, unsigned index, uint64_t value)
{
    struct lamp *l = (struct lamp *)dev;
    (void)index, (void)value;
    if (!l->seen)
        pci_lower(&l->pci);
}

static const struct job lamp_blink = {JOB(struct lamp, timer, ctl), LAMP_CTL_BLINKS, 1000000, lamp_blinked};

static const struct reg lamp_regs[] = {
    {"ID",             0x00, 4, .flags = REG_RO, .reset = 0x1a3b},
    {"CTL",               0x04, 4, .writable = 3, .flags = REG_START, .job = &lamp_blink, REG_FIELD(struct lamp, ctl),
     .bits = REG_BITS({"ON", 0, 1}, {"BLINKS", 1, 1})},
    {"LEVEL", 0x08, 4, .writable = 0xff, .reset = 100, REG_FIELD(struct lamp, level)},
    {"SEEN",            0x0c, 4, .w1c = 1, .write = lamp_ack, REG_FIELD(struct lamp, seen)},
    {0              },
};
static const struct reg_bank lamp_bank = {
    .name = "regs", .size = 4096, .regs = lamp_regs, .hole = UINT64_MAX};

static const char *lamp_init(struct device *dev, struct board *board)
{
    static const struct pci_ids ids = {.vendor = 0x1af4, .device = 0x10f0, .class_code = 0xff0000, .pin = 1};
    struct lamp *l = (struct lamp *)dev;
    const char *error = pci_device_init(&l->pci, board, &ids);
    if (error)
        return error;
    pci_bar(&l->pci, 0, PCI_BAR_MEM32, &device_map(dev, 0)->region);
    return pci_msi(&l->pci, 1);
}

const struct device_class lamp_class = {
    .name = "lamp",
    .help = "a lamp that blinks",
    .size = sizeof(struct lamp),
    .options = (const struct opt[]){OPT_U32(struct lamp, watts, "watts", 0, "N", "how bright"), OPT_END},
    .bus_options = pci_bus_options,
    .banks = (const struct reg_bank *const[]){&lamp_bank,                  NULL                   },
    .jobs = (const struct job *const[]){&lamp_blink,            NULL                },
    .init = lamp_init,
};
