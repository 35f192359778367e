/* SPDX-License-Identifier: MIT
 *
 * The guest's ACPI tables, made from a plain struct of facts: bytes out, nothing else touched.
 *
 *   RSDP  XSDT  FADT  FACS  MADT  MCFG  DSDT
 *
 * all in 0xE0000-0xFFFFF, the RSDP first, at ACPI_BASE. acpi_build() is a pure function (any thread, before
 * the guest runs); the caller copies its bytes to ACPI_BASE in guest RAM and hands ACPI_BASE to the loader as
 * the RSDP's address.
 *
 * What the tables promise and the machine must keep:
 *
 *   PM block   as include/devices/pm.h has it: PM1a event and control, 32-bit PM timer, SCI level and
 *              active high, S5, reset register, fixed power button; no GPE block
 *   ACPI mode  from the start: SMI_CMD is 0
 *   PIT        ISA IRQ 0 arrives at GSI (IOAPIC pin) 2
 *   CPUs       the APIC id of CPU i is i; ids from 255 on are x2APIC
 *   LINT1      NMI on every CPU
 *   PCI        as include/pci/map.h
 *
 * What is left out on purpose, since a guest would spend exits on probing it: HPET, VGA, DMA and PIC devices,
 * an embedded controller, S3 and S4, GPEs.
 *
 * Source: ACPI 6.3: 5.2.5 RSDP, 5.2.9 FADT, 5.2.10 FACS, 5.2.12 MADT, 6.2.13 _PRT, 7.4.2 _Sx, 16.1 sleeping
 * states, 20 AML; PCI Firmware 3.2, 4.1.2 MCFG, 4.5.1 _OSC.
 */
#ifndef GUEST_ACPI_H
#define GUEST_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ACPI_BASE = 0xe0000, /* also the address of the RSDP */
    ACPI_SIZE = 0x20000,
    ACPI_MAX_CPUS = 1024, /* whose tables fit */
};

struct acpi_board {
    unsigned cpus;
    uint64_t ram_size;
    unsigned phys_bits;    /* of the guest's CPU; 32 for a 32-bit kernel: see pci_window64() */
    uint8_t serial;        /* bit i: COM(i+1) exists, at its usual ports and IRQ */
    bool rtc;              /* CMOS clock at 0x70, IRQ 8, with the century in 0x32 */
    bool i8042;            /* false: Linux does not probe 0x60/0x64 */
    bool pci;              /* host bridge, ECAM */
    uint16_t pvpanic_port; /* 0: none */
};

/* Writes the tables, as they are to stand at ACPI_BASE, and returns their length. 0: cpus is 0 or above
 * ACPI_MAX_CPUS. */
size_t acpi_build(const struct acpi_board *board, uint8_t out[ACPI_SIZE]) __attribute__((warn_unused_result));

/* The DSDT's content, without the table header: a part of acpi_build(), in guest/dsdt.c. */
struct aml;
void acpi_dsdt(struct aml *a, const struct acpi_board *board);

#endif
