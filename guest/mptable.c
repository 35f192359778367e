// SPDX-License-Identifier: MIT
/* The MP table: see include/guest/mptable.h. Structs spelled as in the specification, copied as they are: x86 is
 * little-endian and nothing in them is padded. */
#include "guest/mptable.h"

#include <assert.h>
#include <string.h>

#include "devices/pm.h"
#include "guest/firmware.h"
#include "pci/map.h"

struct floating_pointer { /* 4.1 */
    char signature[4];
    uint32_t address;
    uint8_t length, spec_rev, checksum, features[5]; /* all 0: a table, and virtual wire mode */
};
static_assert(sizeof(struct floating_pointer) == MPTABLE_POINTER_SIZE, "4.1");

struct header { /* 4.2 */
    char signature[4];
    uint16_t length;
    uint8_t spec_rev, checksum;
    char oem_id[8], product_id[12];
    uint32_t oem_table;
    uint16_t oem_size, entries;
    uint32_t lapic;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
};
static_assert(sizeof(struct header) == 44, "4.2");

struct processor { /* 4.3.1 */
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
};
struct bus { /* 4.3.2 */
    uint8_t type, id;
    char name[6]; /* padded with blanks */
};
struct ioapic { /* 4.3.3 */
    uint8_t type, id, version, flags;
    uint32_t address;
};
struct interrupt { /* 4.3.4, 4.3.5: the I/O APIC's, and the local ones */
    uint8_t type, kind;
    uint16_t flags;
    uint8_t bus, irq, apic, pin;
};
static_assert(sizeof(struct processor) == 20 && sizeof(struct bus) == 8 && sizeof(struct ioapic) == 8 &&
                  sizeof(struct interrupt) == 8,
              "4.3");

enum {
    SPEC_1_4 = 4,
    PROCESSOR = 0, /* entry types, table 4-3 */
    BUS = 1,
    IOAPIC = 2,
    IO_INTERRUPT = 3,
    LOCAL_INTERRUPT = 4,
    CPU_ENABLED = 1 << 0,
    CPU_BOOTSTRAP = 1 << 1,
    CPU_FAMILY_6 = 6 << 8,
    FEATURE_FPU = 1 << 0,
    FEATURE_APIC = 1 << 9,
    INT = 0, /* interrupt types, table 4-10 */
    NMI = 1,
    EXT_INT = 3,
    AS_THE_BUS_HAS_IT = 0, /* ISA: edge, active high; PCI: level, active low */
    LEVEL_HIGH = 0xd,
    PCI_BUS = 0,
    ISA_BUS = 1,
    IOAPIC_ID = 0, /* as in the MADT and in KVM's IOAPIC */
    IOAPIC_VERSION = 0x11,
    IOAPIC_USABLE = 1,
    LAPIC_VERSION = 0x14,
    ALL_APICS = 0xff,
    ISA_IRQS = 16,
    PIT_IRQ = 0,
    PIT_PIN = 2, /* where the cascade's line would be */
    CASCADE = 2,
    PCI_SLOTS = 32,
    PCI_PINS = 4,
};

static_assert(sizeof(struct header) + MPTABLE_MAX_CPUS * sizeof(struct processor) + 2 * sizeof(struct bus) +
                      sizeof(struct ioapic) +
                      (ISA_IRQS + PCI_SLOTS * PCI_PINS + 2) * sizeof(struct interrupt) <=
                  MPTABLE_SIZE,
              "the largest fits");

struct writer {
    uint8_t *out;
    size_t length;
    uint16_t entries;
};

static void put(struct writer *w, const void *entry, size_t size)
{
    memcpy(w->out + w->length, entry, size);
    w->length += size;
    w->entries++;
}

static void put_interrupt(struct writer *w, uint16_t flags, uint8_t bus, unsigned irq, unsigned pin)
{
    const struct interrupt i = {IO_INTERRUPT, INT, flags, bus, (uint8_t)irq, IOAPIC_ID, (uint8_t)pin};
    put(w, &i, sizeof i);
}

static void put_interrupts(struct writer *w, bool pci)
{
    const struct interrupt local[] = {
        {LOCAL_INTERRUPT, EXT_INT, AS_THE_BUS_HAS_IT, ISA_BUS, 0, 0,         0},
        {LOCAL_INTERRUPT, NMI,     AS_THE_BUS_HAS_IT, ISA_BUS, 0, ALL_APICS, 1},
    };
    for (unsigned irq = 0; irq < ISA_IRQS; irq++)
        if (irq != CASCADE)
            put_interrupt(w, irq == PM_SCI ? LEVEL_HIGH : AS_THE_BUS_HAS_IT, ISA_BUS, irq,
                          irq == PIT_IRQ ? PIT_PIN : irq);
    for (unsigned slot = 0; pci && slot < PCI_SLOTS; slot++)
        for (unsigned pin = 0; pin < PCI_PINS; pin++)
            put_interrupt(w, AS_THE_BUS_HAS_IT, PCI_BUS, slot << 2 | pin, pci_intx_gsi(slot, pin + 1));
    put(w, &local[0], sizeof local[0]);
    put(w, &local[1], sizeof local[1]);
}

static void put_bus(struct writer *w, unsigned id, const char *name)
{
    struct bus bus = {.type = BUS, .id = (uint8_t)id};
    memcpy(bus.name, name, sizeof bus.name);
    put(w, &bus, sizeof bus);
}

size_t mptable_build(unsigned cpus, bool pci, uint32_t address, uint8_t out[MPTABLE_SIZE],
                     uint8_t pointer[MPTABLE_POINTER_SIZE])
{
    struct header h = {
        .spec_rev = SPEC_1_4,
        .lapic = LOCAL_APIC_ADDRESS,
    };
    static const char *const buses[] = {"PCI   ", "ISA   "};
    const struct ioapic ioapic = {IOAPIC, IOAPIC_ID, IOAPIC_VERSION, IOAPIC_USABLE, IOAPIC_ADDRESS};
    struct writer w = {out, sizeof h, 0};

    for (unsigned i = 0; i < cpus && i < MPTABLE_MAX_CPUS; i++) {
        const struct processor cpu = {
            .type = PROCESSOR,
            .apic_id = (uint8_t)i,
            .apic_version = LAPIC_VERSION,
            .flags = i ? CPU_ENABLED : CPU_ENABLED | CPU_BOOTSTRAP,
            .signature = CPU_FAMILY_6,
            .features = FEATURE_FPU | FEATURE_APIC,
        };
        put(&w, &cpu, sizeof cpu);
    }
    for (unsigned i = pci ? PCI_BUS : ISA_BUS; i <= ISA_BUS; i++)
        put_bus(&w, i, buses[i]);
    put(&w, &ioapic, sizeof ioapic);
    put_interrupts(&w, pci);

    memcpy(h.signature, "PCMP", sizeof h.signature);
    memcpy(h.oem_id, "VMLET   ", sizeof h.oem_id);
    memcpy(h.product_id, "VMLET       ", sizeof h.product_id);
    h.length = (uint16_t)w.length;
    h.entries = w.entries;
    memcpy(out, &h, sizeof h);
    out[offsetof(struct header, checksum)] = firmware_checksum(out, w.length);

    struct floating_pointer p = {.address = address, .length = 1 /* paragraph */, .spec_rev = SPEC_1_4};
    memcpy(p.signature, "_MP_", sizeof p.signature);
    p.checksum = firmware_checksum(&p, sizeof p);
    memcpy(pointer, &p, sizeof p);
    return w.length;
}
