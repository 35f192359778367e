/* SPDX-License-Identifier: MIT
 *
 * pvpanic: a byte by which the guest's kernel says that it panicked (QEMU docs/specs/pvpanic; ACPI device QEMU0001, port
 * 0x505). Reads say which events are known. A kernel that will run its crash kernel says CRASH_LOADED instead, and the
 * machine goes on.
 */
#include "devices/platform.h"
#include "kvm/host/log.h"
#include "mem/device.h"

enum {
    PVPANIC_PANICKED = 0x01,
    PVPANIC_CRASH_LOADED = 0x02,
};

struct pvpanic {
    struct device dev;
    uint8_t events; /* what is known; read only */
};

static void pvpanic_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    if (value & PVPANIC_PANICKED)
        board_end(dev->board, BOARD_PANIC, 0);
    else if (value & PVPANIC_CRASH_LOADED)
        guest_note(LOG_LEVEL_INFO, "%s: the guest panicked and starts its crash kernel", dev->id);
}

static const struct reg_bits pvpanic_bits[] = {
    {"PANICKED",     0, 1},
    {"CRASH_LOADED",             1, 1},
    {0}
};
static const struct reg pvpanic_regs[] = {
    {"EVENT", 0, 1, .reset = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED, .write = pvpanic_write,
     .bits = pvpanic_bits, REG_FIELD(struct pvpanic, events)},
    {0     }
};
static const struct reg_bank pvpanic_bank = {
    .name = "port", .size = 1, .regs = pvpanic_regs, .region_flags = REGION_SPLIT, .region_sizes = 1};

static const char *pvpanic_init(struct device *dev, struct board *board)
{
    (void)board;
    device_map_ports(dev, 0, PVPANIC_PORT);
    return NULL;
}

const struct device_class pvpanic_class = {
    .name = "pvpanic",
    .help = "port 0x505: the guest says that it panicked",
    .size = sizeof(struct pvpanic),
    .banks = (const struct reg_bank *const[]){&pvpanic_bank, NULL},
    .internal = true,
    .single = true,
    .init = pvpanic_init,
};
