// SPDX-License-Identifier: MIT
/* The MP table, read as a guest reads it: from the signature in the EBDA's kilobyte on. */
#include "firmware_bytes.h"
#include "test.h"

#include "guest/mptable.h"
#include "pci/map.h"

enum {
    AT = 0xe1230,
};
static uint8_t image[MPTABLE_SIZE + 1], pointer[MPTABLE_POINTER_SIZE];

/* What entry walks meet: sizes by type, the count, the length. */
struct seen {
    unsigned cpus, enabled, bootstraps, buses, ioapics, irqs, locals;
    unsigned isa[16], pci[128]; /* pins */
};

static struct seen walk(size_t n)
{
    struct seen s = {0};
    const uint8_t *p = image + 44, *end = image + n;
    unsigned entries = le(image + 34, 2);
    for (; p < end && entries; entries--) {
        switch (*p) {
        case 0:
            CHECK_EQ(p[1], s.cpus++); /* the APIC id is the index */
            s.enabled += p[3] & 1;
            s.bootstraps += p[3] >> 1 & 1;
            p += 20;
            break;
        case 1:
            CHECK(!memcmp(p + 2, p[1] ? "ISA   " : "PCI   ", 6));
            s.buses++;
            p += 8;
            break;
        case 2:
            CHECK_EQ(le(p + 4, 4), 0xfec00000);
            s.ioapics++;
            p += 8;
            break;
        case 3:
            CHECK_EQ(p[1], 0);
            if (p[4])
                s.isa[p[5] & 15] = p[7];
            else
                s.pci[p[5] & 127] = p[7];
            s.irqs++;
            p += 8;
            break;
        default:
            CHECK_EQ(*p, 4);
            s.locals++;
            p += 8;
        }
    }
    CHECK(p == end && !entries);
    return s;
}

TEST(mptable_is_found_and_sums_up)
{
    image[MPTABLE_SIZE] = 0x5a;
    for (unsigned cpus = 1; cpus <= 300; cpus = cpus < 4 ? cpus + 1 : cpus + 37) {
        size_t n = mptable_build(cpus, true, AT, image, pointer);
        CHECK(n > 44 && n <= MPTABLE_SIZE);
        CHECK(!memcmp(pointer, "_MP_", 4));
        CHECK_EQ(le(pointer + 4, 4), AT);
        CHECK(pointer[8] == 1 && pointer[9] == 4 && !pointer[11] && !pointer[12]);
        CHECK_EQ(sum(pointer, sizeof pointer), 0);
        CHECK(!memcmp(image, "PCMP", 4));
        CHECK_EQ(le(image + 4, 2), n);
        CHECK_EQ(sum(image, n), 0);
        CHECK_EQ(le(image + 36, 4), 0xfee00000);
        struct seen s = walk(n);
        CHECK_EQ(s.cpus, cpus < MPTABLE_MAX_CPUS ? cpus : MPTABLE_MAX_CPUS);
        CHECK(s.enabled == s.cpus && s.bootstraps == 1 && s.buses == 2 && s.ioapics == 1 && s.locals == 2);
    }
    CHECK_EQ(image[MPTABLE_SIZE], 0x5a);
}

TEST(mptable_routes_as_acpi_does)
{
    struct seen s = walk(mptable_build(1, true, AT, image, pointer));
    CHECK_EQ(s.irqs, 15 + 128);
    CHECK_EQ(s.isa[0], 2); /* the PIT, as irq_kvm.c routes it */
    CHECK_EQ(s.isa[2], 0); /* the cascade has no entry */
    for (unsigned i = 3; i < 16; i++)
        CHECK_EQ(s.isa[i], i);
    for (unsigned i = 0; i < 128; i++)
        CHECK_EQ(s.pci[i], pci_intx_gsi(i >> 2, (i & 3) + 1));
    s = walk(mptable_build(2, false, AT, image, pointer));
    CHECK(s.irqs == 15 && s.buses == 1);
}
