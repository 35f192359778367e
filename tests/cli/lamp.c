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
};

static void lamp_blinked(struct device *dev)
{
    ((struct lamp *)dev)->ctl ^= LAMP_CTL_ON;
    pci_causes_raise(dev, 0, 1);
}

static const struct job lamp_blink = {JOB(struct lamp, ctl), LAMP_CTL_BLINKS, 1000000, lamp_blinked};

static const struct reg lamp_regs[] = {
    {"ID",             0x00, 4, .flags = REG_RO, .reset = 0x1a3b},
    {"CTL",               0x04, 4, .writable = 3, .flags = REG_START, .job = &lamp_blink, REG_FIELD(struct lamp, ctl),
     .bits = REG_BITS({"ON", 0, 1}, {"BLINKS", 1, 1})},
    {"LEVEL", 0x08, 4, .writable = 0xff, .reset = 100, REG_FIELD(struct lamp, level)},
    {"SEEN",            0x0c, 4, .w1c = 1, .write = pci_causes_ack, REG_FIELD(struct lamp, seen)},
    {0              },
};
static const struct reg_bank lamp_bank = {
    .name = "regs", .size = 4096, .regs = lamp_regs, .hole = UINT64_MAX};

const struct device_class lamp_class = {
    .name = "lamp",
    .help = "a lamp that blinks",
    .size = sizeof(struct lamp),
    .options = (const struct opt[]){OPT_U32(struct lamp, watts, "watts", 0, "N", "how bright"), OPT_END},
    .bus =
        PCI_FUNCTION(.ids = {.vendor = 0x1af4,                  .device = 0x10f0,                    .class_code = 0xff0000, .pin = 1},
                     .bars = {{PCI_BAR_MEM32, .bank = 0}           },
        .msi = 1, .causes = offsetof(struct lamp, seen)),
    .banks = (const struct reg_bank *const[]){&lamp_bank,NULL                },
};
