/* SPDX-License-Identifier: MIT
 *
 * Power management: ACPI's fixed registers (ACPI 6.4, 4.8.3) and the reset register at 0xcf9. For
 * guest/acpi.c the numbers that go into the FADT; for the host's side the power button.
 */
#ifndef DEVICES_PM_H
#define DEVICES_PM_H

#include <stdbool.h>
#include <stdint.h>

struct device;
struct device_class;

enum {
    PM_BASE = 0x600,
    PM1A_EVT_BLK = 0x600, /* PM1_STS, PM1_EN: 2 + 2 bytes */
    PM1_EVT_LEN = 4,
    PM1A_CNT_BLK = 0x604,
    PM1_CNT_LEN = 2,
    PM_TMR_BLK = 0x608, /* 32 bits at PM_TIMER_HZ: FADT's TMR_VAL_EXT */
    PM_TMR_LEN = 4,
    PM_LEN = 16,
    PM_SCI = 9, /* level, active high; DSDT and MADT say so */
    PM_TIMER_HZ = 3579545,

    PM_SLP_TYP_S5 = 5, /* _S5's first element */

    RESET_PORT = 0xcf9, /* FADT RESET_REG, I/O, 8 bits */
    RESET_VALUE = 0x06, /* FADT RESET_VALUE: SYS_RST | RST_CPU */
};

/* One of each in every machine. No SMI command port: the guest finds SCI_EN set and ACPI already on (FADT
 * SMI_CMD 0). pm ends the board with BOARD_POWEROFF at SLP_TYP 5 with SLP_EN; reset with BOARD_REBOOT
 * at a 0 to 1 change of RST_CPU (bit 2), whatever SYS_RST says. */
extern const struct device_class pm_class, reset_class;

/* The user pressed the power button: PWRBTN_STS, and SCI when the guest has enabled it. Returns whether it
 * has (a guest that has not will not react). Any thread without a device lock. */
bool pm_power_button(struct device *pm);

#endif
