// SPDX-License-Identifier: MIT
/* ACPI tables: see include/guest/acpi.h. The tables with fixed layouts are structs, spelled as in the
 * specification; the DSDT is guest/dsdt.c's. x86 is little-endian and these structs are packed, so they are
 * copied as they are. */
#include "guest/acpi.h"

#include <assert.h>
#include <string.h>

#include "devices/platform.h"
#include "devices/pm.h"
#include "guest/firmware.h"
#include "guest/aml.h"
#include "pci/map.h"

#define PACKED __attribute__((packed))

struct header { /* 5.2.6 */
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} PACKED;
static_assert(sizeof(struct header) == 36, "table header");

struct rsdp { /* 5.2.5.3 */
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt_address, length;
    uint64_t xsdt_address;
    uint8_t extended_checksum, reserved[3];
} PACKED;
static_assert(sizeof(struct rsdp) == 36, "RSDP");

struct gas { /* 5.2.3.2 */
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} PACKED;

struct fadt { /* 5.2.9 */
    struct header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved0, preferred_pm_profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk, gpe0_blk,
        gpe1_blk;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved1;
    uint32_t flags;
    struct gas reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
    struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk,
        x_gpe0_blk, x_gpe1_blk, sleep_control_reg, sleep_status_reg;
    char hypervisor_vendor[8];
} PACKED;
static_assert(sizeof(struct fadt) == 276, "FADT of revision 6");

enum {
    /* IAPC_BOOT_ARCH, 5.2.9.3 */
    LEGACY_DEVICES = 1 << 0,
    HAS_8042 = 1 << 1,
    VGA_NOT_PRESENT = 1 << 2,
    NO_PCIE_ASPM = 1 << 4,
    CMOS_RTC_NOT_PRESENT = 1 << 5,
    /* Flags, 5.2.9, table 5-34 */
    WBINVD = 1 << 0,
    PROC_C1 = 1 << 2,
    SLP_BUTTON = 1 << 5, /* there is no fixed sleep button */
    FIX_RTC = 1 << 6,    /* the RTC's wake status is not in the PM block */
    TMR_VAL_EXT = 1 << 8,
    RESET_REG_SUP = 1 << 10,
    /* generic addresses */
    SPACE_SYSTEM_IO = 1,
    ACCESS_BYTE = 1,
    ACCESS_WORD = 2,
    ACCESS_DWORD = 3,
};

/* 5.2.10. There is no S3 and no global lock to keep in it, but only a hardware-reduced machine may go
 * without. */
struct facs {
    char signature[4];
    uint32_t length, hardware_signature, firmware_waking_vector, global_lock, flags;
    uint64_t x_firmware_waking_vector;
    uint8_t version, reserved0[3];
    uint32_t ospm_flags;
    uint8_t reserved1[24];
} PACKED;
static_assert(sizeof(struct facs) == 64, "FACS");

struct madt { /* 5.2.12 */
    struct header header;
    uint32_t local_apic_address, flags;
} PACKED;
enum {
    PCAT_COMPAT = 1,
    CPU_ENABLED = 1,
    LEVEL_HIGH = 0x0d, /* MPS INTI flags: active high 1, level 3 << 2 */
    XAPIC_MAX_ID = 254,
};
struct madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} PACKED;
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} PACKED;
struct madt_iso {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
} PACKED;
struct madt_lapic_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} PACKED;
struct madt_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t x2apic_id, flags, uid;
} PACKED;
struct madt_x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
} PACKED;
static_assert(sizeof(struct madt_lapic) == 8 && sizeof(struct madt_ioapic) == 12 &&
                  sizeof(struct madt_iso) == 10 && sizeof(struct madt_lapic_nmi) == 6 &&
                  sizeof(struct madt_x2apic) == 16 && sizeof(struct madt_x2apic_nmi) == 12,
              "MADT entries");

struct mcfg { /* PCI Firmware 3.2, 4.1.2 */
    struct header header;
    uint64_t reserved0, base;
    uint16_t segment;
    uint8_t bus_first, bus_last;
    uint32_t reserved1;
} PACKED;
static_assert(sizeof(struct mcfg) == 60, "MCFG");

/* Tables one after the other. The AML encoder serves as the byte sink for all of them. */
struct writer {
    struct aml a;
    size_t start; /* of the table that is being written */
    unsigned n;
    uint64_t tables[4]; /* what XSDT lists */
};

static void align(struct writer *w, size_t to)
{
    static const uint8_t zero[64];
    aml_bytes(&w->a, zero, -w->a.len & (to - 1));
}

/* Length and checksum are set by table_end(). */
static struct header header(const char *signature, uint8_t revision)
{
    struct header h = {.revision = revision, .oem_revision = 1, .creator_revision = 1};
    memcpy(h.signature, signature, 4);
    memcpy(h.oem_id, "VMLET ", 6);
    memcpy(h.oem_table_id, "VMLET   ", 8);
    memcpy(h.creator_id, "VMLT", 4);
    return h;
}

static void table_begin(struct writer *w)
{
    align(w, 16);
    w->start = w->a.len;
}

static uint64_t table_end(struct writer *w)
{
    if (w->a.full)
        return 0;
    uint8_t *t = w->a.buf + w->start;
    uint32_t length = (uint32_t)(w->a.len - w->start);
    memcpy(t + offsetof(struct header, length), &length, sizeof length);
    t[offsetof(struct header, checksum)] = firmware_checksum(t, length);
    return ACPI_BASE + w->start;
}

static uint64_t put_facs(struct writer *w)
{
    struct facs facs = {
        .signature = {'F', 'A', 'C', 'S'},
          .length = sizeof facs, .version = 2
    };
    align(w, 64);
    aml_bytes(&w->a, &facs, sizeof facs);
    return ACPI_BASE + w->a.len - sizeof facs;
}

static uint64_t put_dsdt(struct writer *w, const struct acpi_board *b)
{
    struct header h = header("DSDT", 2); /* from 2 on integers have 64 bits */
    table_begin(w);
    aml_bytes(&w->a, &h, sizeof h);
    acpi_dsdt(&w->a, b);
    return table_end(w);
}

static uint64_t put_fadt(struct writer *w, const struct acpi_board *b, uint64_t facs, uint64_t dsdt)
{
#define IO_REG(port, bits, access)                                                                           \
    {                                                                                                        \
        SPACE_SYSTEM_IO, bits, 0, access, port                                                               \
    }
    struct fadt fadt = {
        .header = header("FACP", 6),
        .minor_version = 3,
        .firmware_ctrl = (uint32_t)facs,
        .dsdt = (uint32_t)dsdt,
        .x_dsdt = dsdt,
        .sci_int = PM_SCI,
        .pm1a_evt_blk = PM1A_EVT_BLK,
        .pm1_evt_len = PM1_EVT_LEN,
        .x_pm1a_evt_blk = IO_REG(PM1A_EVT_BLK, 32, ACCESS_WORD),
        .pm1a_cnt_blk = PM1A_CNT_BLK,
        .pm1_cnt_len = PM1_CNT_LEN,
        .x_pm1a_cnt_blk = IO_REG(PM1A_CNT_BLK, 16, ACCESS_WORD),
        .pm_tmr_blk = PM_TMR_BLK,
        .pm_tmr_len = PM_TMR_LEN,
        .x_pm_tmr_blk = IO_REG(PM_TMR_BLK, 32, ACCESS_DWORD),
        .p_lvl2_lat = 0xfff, /* above 100 and 1000: there is no C2 and no C3 */
        .p_lvl3_lat = 0xfff,
        .century = b->rtc ? RTC_CENTURY : 0,
        .iapc_boot_arch = VGA_NOT_PRESENT | NO_PCIE_ASPM,
        .flags = WBINVD | PROC_C1 | SLP_BUTTON | FIX_RTC | TMR_VAL_EXT | RESET_REG_SUP,
        .reset_reg = IO_REG(RESET_PORT, 8, ACCESS_BYTE),
        .reset_value = RESET_VALUE,
        .hypervisor_vendor = {'V', 'M', 'L', 'E', 'T'},
    };
    if (b->serial || b->i8042)
        fadt.iapc_boot_arch |= LEGACY_DEVICES;
    if (b->i8042)
        fadt.iapc_boot_arch |= HAS_8042;
    if (!b->rtc)
        fadt.iapc_boot_arch |= CMOS_RTC_NOT_PRESENT;
    table_begin(w);
    aml_bytes(&w->a, &fadt, sizeof fadt);
    return table_end(w);
}

static uint64_t put_madt(struct writer *w, const struct acpi_board *b)
{
    struct madt madt = {header("APIC", 5), LOCAL_APIC_ADDRESS, PCAT_COMPAT};
    struct madt_ioapic ioapic = {1, sizeof ioapic, 0, 0, IOAPIC_ADDRESS, 0};
    struct madt_iso pit = {2, sizeof pit, 0, 0, 2, 0};
    struct madt_iso sci = {2, sizeof sci, 0, PM_SCI, PM_SCI, LEVEL_HIGH};
    struct madt_lapic_nmi nmi = {4, sizeof nmi, 0xff, 0, 1}; /* all CPUs, LINT1 */
    struct madt_x2apic_nmi x2nmi = {.type = 10, .length = sizeof x2nmi, .uid = 0xffffffff, .lint = 1};

    table_begin(w);
    aml_bytes(&w->a, &madt, sizeof madt);
    for (unsigned i = 0; i < b->cpus && i <= XAPIC_MAX_ID; i++) {
        struct madt_lapic cpu = {0, sizeof cpu, (uint8_t)i, (uint8_t)i, CPU_ENABLED};
        aml_bytes(&w->a, &cpu, sizeof cpu);
    }
    for (unsigned i = XAPIC_MAX_ID + 1; i < b->cpus; i++) {
        struct madt_x2apic cpu = {9, sizeof cpu, 0, i, CPU_ENABLED, i};
        aml_bytes(&w->a, &cpu, sizeof cpu);
    }
    aml_bytes(&w->a, &ioapic, sizeof ioapic);
    aml_bytes(&w->a, &pit, sizeof pit);
    aml_bytes(&w->a, &sci, sizeof sci);
    aml_bytes(&w->a, &nmi, sizeof nmi);
    if (b->cpus > XAPIC_MAX_ID + 1)
        aml_bytes(&w->a, &x2nmi, sizeof x2nmi);
    return table_end(w);
}

static uint64_t put_mcfg(struct writer *w)
{
    struct mcfg mcfg = {.header = header("MCFG", 1), .base = PCI_ECAM_BASE, .bus_last = PCI_BUSES - 1};
    table_begin(w);
    aml_bytes(&w->a, &mcfg, sizeof mcfg);
    return table_end(w);
}

static uint64_t put_xsdt(struct writer *w)
{
    struct header h = header("XSDT", 1);
    table_begin(w);
    aml_bytes(&w->a, &h, sizeof h);
    aml_bytes(&w->a, w->tables, w->n * sizeof w->tables[0]);
    return table_end(w);
}

size_t acpi_build(const struct acpi_board *b, uint8_t out[ACPI_SIZE])
{
    struct rsdp rsdp = {.signature = "RSD PTR", .revision = 2, .length = sizeof rsdp};
    struct writer w = {.n = 0};
    if (b->cpus == 0 || b->cpus > ACPI_MAX_CPUS)
        return 0;
    aml_init(&w.a, out, ACPI_SIZE);
    aml_bytes(&w.a, &rsdp, sizeof rsdp); /* its place; what stands in it comes below */

    uint64_t facs = put_facs(&w);
    uint64_t dsdt = put_dsdt(&w, b);
    w.tables[w.n++] = put_fadt(&w, b, facs, dsdt); /* the FADT is the first by custom */
    w.tables[w.n++] = put_madt(&w, b);
    if (b->pci)
        w.tables[w.n++] = put_mcfg(&w);
    rsdp.xsdt_address = put_xsdt(&w);
    if (w.a.full || w.a.depth)
        return 0;

    rsdp.signature[7] = ' ';
    memcpy(rsdp.oem_id, "VMLET ", 6);
    rsdp.checksum = firmware_checksum(&rsdp, 20);
    rsdp.extended_checksum = firmware_checksum(&rsdp, sizeof rsdp);
    memcpy(out, &rsdp, sizeof rsdp);
    return w.a.len;
}
