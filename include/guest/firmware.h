/* SPDX-License-Identifier: MIT
 *
 * What ACPI's tables (guest/acpi.h) and the MP table (guest/mptable.h) say alike. Pure; any thread.
 */
#ifndef GUEST_FIRMWARE_H
#define GUEST_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#define IOAPIC_ADDRESS     0xfec00000u
#define LOCAL_APIC_ADDRESS 0xfee00000u

/* The byte that makes the sum of all of them 0, where it stands as 0 so far. */
static inline uint8_t firmware_checksum(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint8_t sum = 0;
    while (n--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

#endif
