/* SPDX-License-Identifier: MIT
 *
 * Two ports by which a bare-metal program ends the machine with a status. `exit`: the low 8 bits are the status.
 * `isa-debug-exit`: (v << 1 | 1) modulo 256, so that no write looks like success by accident, as QEMU's device of that
 * name does. Any width, at the port itself; reads give 0.
 */
#include "devices/platform.h"
#include "mem/device.h"

static void exit_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    board_end(dev->board, BOARD_EXIT, value & 0xff);
}

static void debug_exit_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    board_end(dev->board, BOARD_EXIT, (value << 1 | 1) & 0xff);
}

/* One byte of ports, under which a register of four lies: a wide access begins at the port. */
static const struct reg exit_regs[] = {
    {"EXIT", 0, 4, .sizes = 1 | 2 | 4, .write = exit_write},
    {0    }
};
static const struct reg debug_exit_regs[] = {
    {"EXIT", 0, 4, .sizes = 1 | 2 | 4, .write = debug_exit_write},
    {0    }
};
static const struct reg_bank exit_bank = {.name = "port", .size = 1, .regs = exit_regs};
static const struct reg_bank debug_exit_bank = {.name = "port", .size = 1, .regs = debug_exit_regs};

static const char *exit_init(struct device *dev, struct board *board)
{
    (void)board;
    device_map_ports(dev, 0, EXIT_PORT);
    return NULL;
}

static const char *debug_exit_init(struct device *dev, struct board *board)
{
    (void)board;
    device_map_ports(dev, 0, DEBUG_EXIT_PORT);
    return NULL;
}

const struct device_class exit_class = {
    .name = "exit",
    .help = "port 0xf8: a write ends the machine with that status",
    .size = sizeof(struct device),
    .banks = (const struct reg_bank *const[]){&exit_bank, NULL},
    .single = true,
    .init = exit_init,
};

const struct device_class debugexit_class = {
    .name = "isa-debug-exit",
    .help = "port 0xf4: a write of v ends the machine with status (v << 1 | 1) modulo 256",
    .size = sizeof(struct device),
    .banks = (const struct reg_bank *const[]){&debug_exit_bank, NULL},
    .single = true,
    .init = debug_exit_init,
};
