/* SPDX-License-Identifier: MIT
 *
 * The MultiProcessor Specification's table, for guests without ACPI: Linux built without it (KUnit's, tinyconfig's) or booted
 * with acpi=off. It says what the MADT and _PRT say: the CPUs, the IOAPIC, where ISA and PCI interrupts arrive.
 *
 * Without it such a Linux takes its ticks from the PIT by way of the PIC and LINT0, and may hang at boot: it switches its local
 * APIC off and on while the PIT runs, KVM (seen with 6.1) loses the PIC's interrupt that comes in between, and the next
 * ones wait behind it (an LVT0 that becomes unmasked is not looked at again).
 *
 * Two pieces: the floating pointer, where Linux looks second (the kilobyte below 640 KiB; it is the EBDA in e820), so that
 * no kernel scans the BIOS's 64 KiB, and the table itself, anywhere below 4 GiB. Pure: bytes out, any thread.
 *
 * Source: MultiProcessor Specification 1.4, chapter 4, appendix D (PCI).
 */
#ifndef GUEST_MPTABLE_H
#define GUEST_MPTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MPTABLE_POINTER_AT = 0x9fc00,
    MPTABLE_POINTER_SIZE = 16,
    MPTABLE_MAX_CPUS = 255, /* APIC ids have a byte, and 255 means all: CPUs from there on are not told of */
    MPTABLE_SIZE = 8192,    /* of the largest */
};

/* Writes the table for `cpus` (1 up), which is to stand at `address` (a multiple of 16), and the pointer to it; returns the
 * table's length. */
size_t mptable_build(unsigned cpus, bool pci, uint32_t address, uint8_t out[MPTABLE_SIZE],
                     uint8_t pointer[MPTABLE_POINTER_SIZE]) __attribute__((warn_unused_result));

#endif
