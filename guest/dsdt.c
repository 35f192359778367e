// SPDX-License-Identifier: MIT
/* The DSDT: the devices that a guest cannot find by itself, as ACPI's byte code. What is promised here is
 * listed in include/guest/acpi.h. Everything is a constant object but _OSC, so that a guest's interpreter has
 * nothing to run and causes no exit. */
#include <stdio.h>
#include <string.h>

#include "devices/platform.h"
#include "devices/pm.h"
#include "devices/serial.h"
#include "guest/acpi.h"
#include "guest/aml.h"
#include "pci/map.h"

static void put_cpus(struct aml *a, const struct acpi_board *b)
{
    for (unsigned i = 0; i < b->cpus; i++) {
        char name[8];
        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        aml_device(a, name);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_end(a);
    }
}

/* _PRT: every pin of every slot, wired straight to the IOAPIC (source 0 means that the index is the GSI). */
static void put_routing(struct aml *a)
{
    aml_name(a, "_PRT");
    aml_package(a, 32 * 4);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 1; pin <= 4; pin++) {
            aml_package(a, 4);
            aml_int(a, slot << 16 | 0xffff);
            aml_int(a, pin - 1);
            aml_int(a, 0);
            aml_int(a, pci_intx_gsi(slot, pin));
            aml_end(a);
        }
    }
    aml_end(a);
}

/* _OSC: no firmware keeps a PCI Express feature to itself, so all that is asked for is granted: the argument
 * goes back as it came. An unknown UUID sets bit 2 of its first dword (6.2.11). */
static void put_osc(struct aml *a)
{
    aml_method(a, "_OSC", 4, true);
    aml_if(a);
    aml_op(a, AML_LNOT);
    aml_op(a, AML_LEQUAL);
    aml_op(a, AML_ARG0);
    aml_uuid(a, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    aml_op(a, AML_CREATE_DWORD);
    aml_op(a, AML_ARG3);
    aml_int(a, 0);
    aml_path(a, "CDW1");
    aml_op(a, AML_OR);
    aml_path(a, "CDW1");
    aml_int(a, 4);
    aml_path(a, "CDW1");
    aml_end(a);
    aml_op(a, AML_RETURN);
    aml_op(a, AML_ARG3);
    aml_end(a);
}

static void put_pci(struct aml *a, const struct acpi_board *b)
{
    uint64_t first, last;
    aml_device(a, "PCI0");
    aml_name_eisa(a, "_HID", "PNP0A08");
    aml_name_eisa(a, "_CID", "PNP0A03");
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_SEG", 0);
    aml_name_int(a, "_BBN", 0);
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_bus_window(a, 0, PCI_BUSES - 1);
    aml_res_io(a, PCI_CONFIG_ADDRESS, 8);
    aml_res_io_window(a, PCI_IO_FIRST, PCI_IO_LAST);
    aml_res_memory_window32(a, PCI_MEM0_FIRST, PCI_MEM0_LAST);
    aml_res_memory_window32(a, PCI_MEM1_FIRST, PCI_MEM1_LAST);
    if (pci_window64(b->ram_size, b->phys_bits, &first, &last))
        aml_res_memory_window64(a, first, last);
    aml_resources_end(a);
    put_routing(a);
    put_osc(a);
    aml_end(a);

    /* ECAM is not the bridge's to pass on. A device of its own holds it, which is where Linux looks for
     * it. */
    aml_device(a, "ECAM");
    aml_name_eisa(a, "_HID", "PNP0C02");
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_res_memory(a, PCI_ECAM_BASE, PCI_ECAM_SIZE);
    aml_resources_end(a);
    aml_end(a);
}

/* A device on fixed ports: up to two ranges of them; port or irq 0: none. */
static void put_isa(struct aml *a, const char *name, const char *hid, unsigned uid, uint16_t port,
                    uint8_t len, uint16_t port2, unsigned irq)
{
    aml_device(a, name);
    if (strlen(hid) == 7)
        aml_name_eisa(a, "_HID", hid);
    else
        aml_name_string(a, "_HID", hid);
    aml_name_int(a, "_UID", uid);
    aml_name(a, "_CRS");
    aml_resources(a);
    if (port)
        aml_res_io(a, port, len);
    if (port2)
        aml_res_io(a, port2, len);
    if (irq)
        aml_res_irq(a, irq);
    aml_resources_end(a);
    aml_end(a);
}

void acpi_dsdt(struct aml *a, const struct acpi_board *b)
{
    aml_scope(a, "_SB"); /* from the root; iasl, too, leaves the root prefix out here */
    put_cpus(a, b);
    if (b->pci)
        put_pci(a, b);
    for (unsigned i = 0; i < SERIAL_PORTS; i++) {
        char name[] = {'C', 'O', 'M', (char)('1' + i), 0};
        if (b->serial & 1u << i)
            put_isa(a, name, "PNP0501", i + 1, serial_places[i].port, SERIAL_LEN, 0, serial_places[i].gsi);
    }
    if (b->rtc)
        put_isa(a, "RTC", "PNP0B00", 0, RTC_PORT, RTC_LEN, 0, RTC_GSI);
    if (b->i8042) {
        put_isa(a, "KBD", "PNP0303", 0, I8042_DATA, 1, I8042_COMMAND, 1);
        put_isa(a, "MOU", "PNP0F13", 0, 0, 0, 0, 12);
    }
    if (b->pvpanic_port)
        put_isa(a, "PEVT", "QEMU0001", 0, b->pvpanic_port, 1, 0, 0);
    aml_end(a);

    aml_name(a, "_S5");
    aml_package(a, 4);
    aml_int(a, PM_SLP_TYP_S5); /* for PM1a; then for PM1b, of which there is none */
    aml_int(a, 0);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_end(a);
}
