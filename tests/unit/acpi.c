// SPDX-License-Identifier: MIT
/* ACPI tables and the AML encoder. The judge of the whole is acpica-tools' iasl: it must take every table
 * apart, and compile the DSDT that it saw back into the same bytes without a remark. */
#include "firmware_bytes.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "guest/acpi.h"
#include "guest/aml.h"
#include "guest/boot.h"
#include "pci/map.h"

static uint8_t image[ACPI_SIZE];

/* The table with this signature, found as a guest finds it; its length and checksum are checked. */
static const uint8_t *table(const char *signature, size_t size, uint32_t *len)
{
    uint64_t xsdt = le(image + 24, 8), at = 0;
    CHECK(xsdt >= ACPI_BASE && xsdt + 36 <= ACPI_BASE + size);
    const uint8_t *x = image + (xsdt - ACPI_BASE);
    CHECK(!memcmp(x, "XSDT", 4));
    uint32_t n = (uint32_t)le(x + 4, 4);
    CHECK_EQ(sum(x, n), 0);
    if (!strcmp(signature, "XSDT"))
        at = xsdt;
    for (uint32_t i = 36; i + 8 <= n; i += 8)
        if (!memcmp(image + (le(x + i, 8) - ACPI_BASE), signature, 4))
            at = le(x + i, 8);
    if (!strcmp(signature, "DSDT") || !strcmp(signature, "FACS")) {
        const uint8_t *fadt = table("FACP", size, len);
        at = le(fadt + (signature[0] == 'D' ? 40 : 36), 4);
    }
    if (!at)
        return NULL;
    CHECK(at >= ACPI_BASE && at + 8 <= ACPI_BASE + size);
    const uint8_t *t = image + (at - ACPI_BASE);
    *len = (uint32_t)le(t + 4, 4);
    CHECK(!memcmp(t, signature, 4));
    CHECK(at + *len <= ACPI_BASE + size);
    if (strcmp(signature, "FACS"))
        CHECK_EQ(sum(t, *len), 0);
    else
        CHECK_EQ(at % 64, 0);
    return t;
}

static const struct acpi_board full = {
    .cpus = 4,
    .ram_size = 8ull << 30,
    .phys_bits = 40,
    .serial = 0xf,
    .rtc = true,
    .i8042 = true,
    .pci = true,
    .pvpanic_port = 0x505,
};
static const struct acpi_board lean = {.cpus = 1, .ram_size = 64 << 20, .phys_bits = 32, .serial = 1};

TEST(acpi_is_found_and_sums_up)
{
    uint32_t len;
    size_t n = acpi_build(&full, image);
    CHECK(n > 0 && n <= ACPI_SIZE);
    CHECK(!memcmp(image, "RSD PTR ", 8));
    CHECK_EQ(sum(image, 20), 0);
    CHECK_EQ(sum(image, 36), 0);
    static const char *const names[] = {"XSDT", "FACP", "APIC", "MCFG", "DSDT", "FACS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(table(names[i], n, &len));
}

TEST(acpi_same_facts_same_bytes)
{
    static uint8_t again[ACPI_SIZE];
    memset(image, 0xaa, sizeof image);
    memset(again, 0x55, sizeof again);
    size_t n = acpi_build(&full, image);
    CHECK_EQ(acpi_build(&full, again), n);
    CHECK(!memcmp(image, again, n));
    CHECK_EQ(image[n], 0xaa); /* nothing behind the length is touched */
}

TEST(acpi_fadt_says_what_there_is)
{
    uint32_t len;
    size_t n = acpi_build(&full, image);
    const uint8_t *f = table("FACP", n, &len);
    CHECK_EQ(len, 276);
    CHECK_EQ(le(f + 46, 2), 9);     /* SCI_INT */
    CHECK_EQ(le(f + 48, 4), 0);     /* SMI_CMD */
    CHECK_EQ(le(f + 56, 4), 0x600); /* PM1a_EVT_BLK */
    CHECK_EQ(le(f + 64, 4), 0x604); /* PM1a_CNT_BLK */
    CHECK_EQ(le(f + 76, 4), 0x608); /* PM_TMR_BLK */
    CHECK_EQ(le(f + 80, 4), 0);     /* GPE0_BLK */
    CHECK_EQ(f[88], 4);
    CHECK_EQ(f[89], 2);
    CHECK_EQ(f[91], 4);
    CHECK_EQ(f[108], 0x32);                   /* CENTURY */
    CHECK_EQ(le(f + 109, 2), 1 | 2 | 4 | 16); /* IAPC_BOOT_ARCH */
    CHECK(le(f + 112, 4) & 1 << 10);          /* RESET_REG_SUP */
    CHECK(!(le(f + 112, 4) & 1 << 20));       /* not hardware-reduced */
    CHECK(!(le(f + 112, 4) & 1 << 4));        /* a fixed power button */
    CHECK_EQ(f[116], 1);                      /* RESET_REG: I/O space */
    CHECK_EQ(le(f + 120, 8), 0xcf9);
    CHECK_EQ(f[128], 6);
    CHECK_EQ(le(f + 140, 8), le(f + 40, 4)); /* X_DSDT is DSDT */

    n = acpi_build(&lean, image);
    f = table("FACP", n, &len);
    CHECK_EQ(f[108], 0);
    CHECK_EQ(le(f + 109, 2), 1 | 4 | 16 | 32);
    CHECK(!table("MCFG", n, &len));
}

TEST(acpi_madt_lists_every_cpu_once)
{
    static const unsigned counts[] = {1, 2, 254, 255, 256, 257, ACPI_MAX_CPUS};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct acpi_board b = full;
        static bool seen[ACPI_MAX_CPUS];
        unsigned cpus = 0, others[16] = {0};
        uint32_t len;
        b.cpus = counts[c];
        memset(seen, 0, sizeof seen);
        size_t n = acpi_build(&b, image);
        const uint8_t *m = table("APIC", n, &len);
        CHECK_EQ(le(m + 36, 4), 0xfee00000);
        for (uint32_t i = 44; i < len; i += m[i + 1]) {
            CHECK(m[i + 1] >= 6 && i + m[i + 1] <= len);
            if (m[i] == 0 || m[i] == 9) {
                uint64_t id = m[i] ? le(m + i + 4, 4) : m[i + 3], uid = m[i] ? le(m + i + 12, 4) : m[i + 2];
                CHECK(id < b.cpus && !seen[id]);
                CHECK_EQ(id, uid);
                CHECK_EQ(le(m + i + (m[i] ? 8 : 4), 4), 1); /* enabled */
                CHECK_EQ(m[i], id >= 255 ? 9 : 0);          /* 255 is xAPIC's broadcast */
                seen[id] = true;
                cpus++;
            } else {
                CHECK(m[i] < 16);
                others[m[i]]++;
            }
            if (m[i] == 2 && m[i + 3] == 0)
                CHECK_EQ(le(m + i + 4, 4), 2); /* the PIT */
            if (m[i] == 2 && m[i + 3] == 9)
                CHECK_EQ(le(m + i + 8, 2), 0xd); /* SCI: level, high */
        }
        CHECK_EQ(cpus, b.cpus);
        CHECK_EQ(others[1], 1);
        CHECK_EQ(others[2], 2);
        CHECK_EQ(others[4], 1);
        CHECK_EQ(others[10], b.cpus > 255);
    }
    struct acpi_board b = full;
    b.cpus = 0;
    CHECK_EQ(acpi_build(&b, image), 0);
    b.cpus = ACPI_MAX_CPUS + 1;
    CHECK_EQ(acpi_build(&b, image), 0);
}

TEST(acpi_mcfg_names_bus_0_only)
{
    uint32_t len;
    size_t n = acpi_build(&full, image);
    const uint8_t *m = table("MCFG", n, &len);
    CHECK_EQ(len, 60);
    CHECK_EQ(le(m + 44, 8), PCI_ECAM_BASE);
    CHECK_EQ(le(m + 52, 2), 0);
    CHECK_EQ(m[54], 0);
    CHECK_EQ(m[55],
             0); /* a guest that believes in more buses looks for devices on them, by two exits a slot */
}

TEST(acpi_agrees_with_e820)
{
    /* ECAM and the tables are reserved, RAM lies in no window. */
    static const uint64_t sizes[] = {64ull << 20, 3ull << 30, (3ull << 30) + 4096, 5ull << 30, 4095ull << 30};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct boot_e820 map[BOOT_E820_MAX];
        unsigned n = boot_e820(sizes[s], map);
        uint64_t first, last, ram = 0;
        bool ecam = false, tables = false;
        CHECK(pci_window64(sizes[s], 46, &first, &last));
        for (unsigned i = 0; i < n; i++) {
            uint64_t a = map[i].addr, z = map[i].addr + map[i].size - 1;
            if (map[i].type == BOOT_E820_RAM) {
                ram = z;
                CHECK(z < PCI_RAM_LOW || a >= 1ull << 32);
                CHECK(z < first);
            } else {
                ecam |= a <= PCI_ECAM_BASE && z >= PCI_ECAM_BASE + (PCI_ECAM_SIZE - 1);
                tables |= a <= ACPI_BASE && z >= ACPI_BASE + ACPI_SIZE - 1;
            }
        }
        CHECK(ram && ecam && tables);
    }
}

TEST(acpi_window64)
{
    uint64_t first, last;
    CHECK(pci_window64(64 << 20, 40, &first, &last));
    CHECK_EQ(first, 4ull << 30);
    CHECK_EQ(last, (1ull << 40) - 1);
    CHECK(pci_window64(3ull << 30, 36, &first, &last));
    CHECK_EQ(first, 4ull << 30);
    CHECK(pci_window64((3ull << 30) + 1, 36, &first, &last));
    CHECK_EQ(first, 5ull << 30);
    CHECK(pci_window64(8ull << 30, 52, &first, &last));
    CHECK_EQ(first, 9ull << 30);
    CHECK_EQ(last, (1ull << 48) - 1);
    CHECK(!pci_window64(64 << 20, 32, &first, &last));
    CHECK(!pci_window64((64ull << 30) - (1ull << 30), 36, &first,
                        &last)); /* RAM to the end of the address space */
    CHECK(!pci_window64(UINT64_MAX, 46, &first, &last));
}

TEST(acpi_intx_lines)
{
    for (unsigned slot = 0; slot < 32; slot++)
        for (unsigned pin = 1; pin <= 4; pin++)
            CHECK_EQ(pci_intx_gsi(slot, pin), 16 + ((slot + pin - 1) & 7));
}

/* --- the encoder, against bytes put down by hand from the specification */

static uint8_t code[0x120000];

#define CODE_IS(a, ...)                                                                                      \
    do {                                                                                                     \
        static const uint8_t want_[] = {__VA_ARGS__};                                                        \
        CHECK(!(a).full);                                                                                    \
        CHECK_EQ((a).len, sizeof want_);                                                                     \
        CHECK(!memcmp((a).buf, want_, sizeof want_));                                                        \
        aml_init(&(a), code, sizeof code);                                                                   \
    } while (0)

TEST(aml_terms)
{
    struct aml a;
    aml_init(&a, code, sizeof code);
    aml_int(&a, 0);
    CODE_IS(a, 0x00);
    aml_int(&a, 1);
    CODE_IS(a, 0x01);
    aml_int(&a, 2);
    CODE_IS(a, 0x0a, 2);
    aml_int(&a, 0x100);
    CODE_IS(a, 0x0b, 0, 1);
    aml_int(&a, 0x10000);
    CODE_IS(a, 0x0c, 0, 0, 1, 0);
    aml_int(&a, 0xffffffff);
    CODE_IS(a, 0x0c, 0xff, 0xff, 0xff, 0xff);
    aml_int(&a, 0x100000000);
    CODE_IS(a, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
    aml_path(&a, "\\_SB");
    CODE_IS(a, '\\', '_', 'S', 'B', '_');
    aml_path(&a, "_SB.PCI0");
    CODE_IS(a, 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0');
    aml_path(&a, "\\A.B.C");
    CODE_IS(a, '\\', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_');
    aml_eisa(&a, "PNP0A03");
    CODE_IS(a, 0x0c, 0x41, 0xd0, 0x0a, 0x03);
    aml_uuid(&a, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    CODE_IS(a, 0x11, 0x13, 0x0a, 0x10, 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41,
            0xc0, 0x3d, 0xd7, 0x66);
    aml_device(&a, "X");
    aml_name_int(&a, "_UID", 0);
    aml_end(&a);
    CODE_IS(a, 0x5b, 0x82, 0x0b, 'X', '_', '_', '_', 0x08, '_', 'U', 'I', 'D', 0);
    aml_resources(&a);
    aml_resources_end(&a);
    CODE_IS(a, 0x11, 0x05, 0x0a, 0x02, 0x79, 0x00);
}

TEST(aml_lengths_at_every_boundary)
{
    /* content sizes around 63, 4095 and 1 Mi; the length read back must count itself and the content */
    static const size_t sizes[] = {0,    1,    61,   62,      63,      64,      4091,
                                   4092, 4093, 4094, 0xffffb, 0xffffc, 0xffffd, 0xffffe};
    static const uint8_t zero[0x100000];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct aml a;
        aml_init(&a, code, sizeof code);
        aml_if(&a);
        aml_bytes(&a, zero, sizes[s]);
        aml_end(&a);
        CHECK(!a.full);
        unsigned follow = code[1] >> 6;
        size_t total = follow ? code[1] & 0xfu : code[1] & 0x3fu;
        if (follow)
            CHECK_EQ(code[1] & 0x30, 0);
        for (unsigned i = 0; i < follow; i++)
            total |= (size_t)code[2 + i] << (4 + 8 * i);
        CHECK_EQ(total, a.len - 1);
        CHECK_EQ(total, sizes[s] + 1 + follow);
        /* and in the fewest bytes */
        CHECK(follow == 0 || total - 1 >= (follow == 1 ? 0x40u : follow == 2 ? 0x1000u : 0x100000u));
    }
}

static void some_terms(struct aml *a)
{
    aml_scope(a, "\\_SB");
    aml_device(a, "DEV0");
    aml_name_eisa(a, "_HID", "PNP0501");
    aml_resources(a);
    aml_res_io(a, 0x3f8, 8);
    aml_resources_end(a);
    aml_end(a);
    aml_end(a);
}

TEST(aml_full_is_kept_and_nothing_is_written_behind)
{
    struct aml whole;
    aml_init(&whole, code, sizeof code);
    some_terms(&whole);
    for (size_t max = 0; max <= whole.len; max++) {
        struct aml a;
        memset(code, 0xee, 128);
        aml_init(&a, code, max);
        some_terms(&a);
        CHECK_EQ(a.full, max < whole.len);
        CHECK(a.len <= max);
        CHECK_EQ(code[max], 0xee);
    }
    struct aml a;
    aml_init(&a, code, sizeof code);
    for (int i = 0; i <= AML_DEPTH; i++)
        aml_if(&a);
    CHECK(a.full);
    aml_init(&a, code, sizeof code);
    aml_end(&a); /* nothing is open */
    CHECK(a.full);
}

/* --- iasl */

static char dir[] = "/tmp/vmlet-acpi-XXXXXX";

static void remove_dir(void)
{
    char cmd[64];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd))
        printf("%s is left behind\n", dir);
}

static void save(const char *name, const uint8_t *bytes, uint32_t len)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, len, f) == len && fclose(f) == 0);
}

static bool shell(const char *line)
{
    char cmd[512];
    snprintf(cmd, sizeof cmd, "cd %s && { %s; }", dir, line);
    bool ok = system(cmd) == 0;
    if (!ok)
        printf("failed: %s\n", line);
    return ok;
}

TEST(acpi_iasl_takes_apart_and_compiles_without_a_remark)
{
    static const char *const names[] = {"FACP", "APIC", "MCFG", "DSDT", "FACS", "XSDT"};
    struct acpi_board boards[] = {full, lean, full};
    boards[2].cpus = 300;
    if (system("command -v iasl >/dev/null 2>&1"))
        SKIP("iasl is not installed (acpica-tools)");
    CHECK(mkdtemp(dir));
    atexit(remove_dir);
    for (size_t b = 0; b < sizeof boards / sizeof *boards; b++) {
        size_t n = acpi_build(&boards[b], image);
        CHECK(n);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            uint32_t len;
            char line[320];
            const uint8_t *t = table(names[i], n, &len);
            if (!t)
                continue;
            save("t.dat", t, len);
            CHECK(shell("rm -f t.dsl t.aml; iasl -d t.dat >d.out 2>&1 || { cat d.out; false; }"));
            CHECK(shell("! grep -Ei 'warning|error|invalid|unknown' d.out"));
            CHECK(shell("! grep -Ei 'invalid|unknown|\\*\\*\\*\\*' t.dsl"));
            CHECK(shell("iasl -p t t.dsl >c.out 2>&1 && grep -Eq '[^0-9]0 Errors, 0 Warnings' c.out || { cat "
                        "c.out; false; }"));
            if (strcmp(names[i], "DSDT") != 0)
                continue;
            CHECK(shell("grep -Eq '0 Errors, 0 Warnings, 0 Remarks' c.out || { cat c.out; false; }"));
            /* the same bytes, but for the compiler's name and version, and with them the checksum */
            snprintf(line, sizeof line,
                     "for f in t.dat t.aml; do { head -c 9 $f; tail -c +11 $f | head -c 18; tail -c +37 $f; "
                     "} >$f.bytes; "
                     "done; cmp t.dat.bytes t.aml.bytes");
            CHECK(shell(line));
        }
    }
}
