/* SPDX-License-Identifier: MIT
 *
 * The memory map that every boot protocol hands over: RAM as the machine has it (below 3 GiB, the rest from 4
 * GiB), with the reserved ranges of one table cut out of it.
 *
 * What is neither RAM nor reserved here is where a PC has it: the VGA window 0xA0000-0xDFFFF, the PCI
 * windows, the APICs. ACPI's _CRS and MADT tell of those.
 */
#include "guest/boot.h"

#define MIB (1024ull * 1024)
#define GIB (1024ull * MIB)

/* Ascending; what a machine always has in these places, whatever its RAM. */
static const struct boot_e820 layout[] = {
    {0,          0x9fc00,    BOOT_E820_RAM     }, /* 639 KiB: what programs expect of low memory */
    {0x9fc00,    0x400,      BOOT_E820_RESERVED}, /* where a PC has its EBDA */
    {0xe0000,    0x20000,    BOOT_E820_RESERVED}, /* ACPI tables; also searched for the RSDP's signature */
    {1 * MIB,    3071 * MIB, BOOT_E820_RAM     },
    {0xe0000000, 256 * MIB,
     BOOT_E820_RESERVED                        }, /* ECAM: Linux uses MCFG only where e820 or ACPI reserves it */
    {4 * GIB,    0,          BOOT_E820_RAM     }, /* as much as is left */
};
_Static_assert(sizeof(layout) / sizeof(layout[0]) <= BOOT_E820_MAX, "map fits");

unsigned boot_e820(uint64_t ram_size, struct boot_e820 map[BOOT_E820_MAX])
{
    uint64_t below = ram_size < 3 * GIB ? ram_size : 3 * GIB;
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof(layout) / sizeof(layout[0]); i++) {
        struct boot_e820 e = layout[i];
        if (e.addr == 4 * GIB)
            e.size = ram_size - below;
        else if (e.type == BOOT_E820_RAM && e.addr >= below)
            e.size = 0;
        else if (e.type == BOOT_E820_RAM && e.size > below - e.addr)
            e.size = below - e.addr;
        if (e.size)
            map[n++] = e;
    }
    return n;
}
