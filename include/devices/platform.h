/* SPDX-License-Identifier: MIT
 *
 * The small fixed devices of the PC platform, and the ports that guest/acpi.c needs of them.
 */
#ifndef DEVICES_PLATFORM_H
#define DEVICES_PLATFORM_H

#include <stdint.h>

struct device_class;

enum {
    RTC_PORT = 0x70, /* index, data */
    RTC_LEN = 2,
    RTC_GSI = 8,
    RTC_CENTURY = 0x32, /* FADT CENTURY */

    I8042_DATA = 0x60,
    I8042_COMMAND = 0x64, /* status at reads; 0xfe resets the machine */

    PVPANIC_PORT = 0x505,
    EXIT_PORT = 0xf8,
    DEBUG_EXIT_PORT = 0xf4,
};

/* rtc: option base=host|monotonic|guest. i8042: no keyboard and no mouse behind it. Both in every machine. */
extern const struct device_class rtc_class, i8042_class, pvpanic_class;
/* Only by --device: "exit" (low 8 bits are the status) and "isa-debug-exit" ((v << 1 | 1) modulo 256). */
extern const struct device_class exit_class, debugexit_class;

#endif
