/* SPDX-License-Identifier: MIT
 * The guest's CPUID, made from tables as KVM would give them, without KVM. */
#include "kvm/priv.h"
#include "test.h"

static const struct kvm_cpuid_entry2 intel[] = {
    {.function = 0,                          .eax = 0x1f,       .ebx = 0x756e6547                                    },
    {.function = 1,                          .ebx = 0xff081200, .ecx = 0xffffffff,                                     .edx = 0xffffffff},
    {.function = 4,                                      .index = 0,                                           .flags = 1,                                                 .eax = 0xfc004121},
    {.function = 4,                     .index = 1,                                      .flags = 1,                               .eax = 0xfc1fc163}, /* level 3 */
    {.function = 4,                            .index = 2,.flags = 1             },
    {.function = 6, .eax = 0xff,                  .ecx = 9                                                         },
    {.function = 7,                           .index = 0,                   .flags = 1,               .ebx = 4, .ecx = 1u << 30, .edx = 1u << 22 | 1u << 24 | 1u << 25},
    {.function = 0xb,  .index = 0,.flags = 1,                      .edx = 77},
    {.function = 0xd, .index = 0,                  .flags = 1,                                                         .eax = 0xe7},
    {.function = 0x12,                            .index = 0,                                              .flags = 1,                                                                              .eax = 3},
    {.function = 0x15,                            .eax = 2,                  .ebx = 200,    .ecx = 25000000},
    {.function = 0x16,                       .eax = 1234  },
    {.function = 0x1d,                                      .index = 1,                                        .flags = 1, .eax = 5},
    {.function = 0x40000000,                       .eax = 0x40000001,                                        .ebx = 0x4b4d564b                                                         },
    {.function = 0x80000001                                     },
    {.function = 0x80000008,                              .eax = 0x302e,                                      .ecx = 0                                                                          },
};
static const struct kvm_cpuid_entry2 amd[] = {
    {.function = 0,          .eax = 0xd,                      .ebx = 0x68747541},
    {.function = 1         },
    {.function = 7,            .index = 0,                                .flags = 1                                    },
    {.function = 0x40000000,                      .eax = 0x40000001           },
    {.function = 0x80000001, .ecx = 1u << 22                    },
    {.function = 0x80000008, .eax = 0x3030,                   .ecx = 0x703f},
    {.function = 0x8000001d,                      .index = 0, .flags = 1,                       .eax = 0x3ffc121},
    {.function = 0x8000001d,         .index = 3,                                .flags = 1,     .eax = 0x4163},
    {.function = 0x8000001d,            .index = 4,                                        .flags = 1       },
    {.function = 0x8000001e,          .eax = 99,    .ebx = 0x101,                               .ecx = 0x300},
    {.function = 0x8000001f,            .eax = 0xf,                          .ebx = 0x4173                               },
};

static struct kvm_cpuid2 *table(const struct kvm_cpuid_entry2 *e, unsigned n)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof *c + (n + CPUID_ROOM) * sizeof *e);
    memcpy(c->entries, e, n * sizeof *e);
    c->nent = n;
    return c;
}
#define TABLE(a) table(a, sizeof a / sizeof a[0])

static struct kvm_cpuid_entry2 leaf(const struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
    unsigned n = 0;
    struct kvm_cpuid_entry2 found = {0};
    for (unsigned i = 0; i < c->nent; i++)
        if (c->entries[i].function == function && c->entries[i].index == index) {
            found = c->entries[i];
            n++;
        }
    CHECK_EQ(n, 1);
    return found;
}

TEST(cpuid_of_intel_cpu_3_of_6)
{
    struct kvm_cpuid2 *c = TABLE(intel);
    struct cpuid_config config = {.index = 3, .count = 6, .tsc_khz = 2100123, .tsc_deadline = true};
    cpuid_fill(c, &config);
    struct kvm_cpuid_entry2 e = leaf(c, 1, 0);
    CHECK_EQ(e.ebx, 0x03081200); /* APIC ID 3, room for 8, the rest as it was */
    CHECK(!(e.ecx >> 3 & 1));    /* MONITOR */
    CHECK(e.ecx >> 21 & 1);      /* x2APIC */
    CHECK(e.ecx >> 24 & 1);      /* TSC deadline */
    CHECK(!(e.ecx >> 27 & 1));   /* OSXSAVE */
    CHECK(e.edx >> 28 & 1);      /* HTT */
    CHECK_EQ(leaf(c, 4, 0).eax, 0x1c000121);
    CHECK_EQ(leaf(c, 4, 1).eax, 0x1c01c163); /* level 3: shared by all 8 */
    CHECK_EQ(leaf(c, 4, 2).eax, 0);
    CHECK_EQ(leaf(c, 6, 0).eax, 4);
    e = leaf(c, 7, 0);
    CHECK_EQ(e.ebx | e.ecx | e.edx, 0); /* no SGX; no AMX, whose state is not in leaf 0xd */
    e = leaf(c, 0xb, 0);
    CHECK_EQ(e.eax, 0);
    CHECK_EQ(e.ebx, 1);
    CHECK_EQ(e.ecx, 0x100);
    CHECK_EQ(e.edx, 3);
    e = leaf(c, 0xb, 1);
    CHECK_EQ(e.eax, 3);
    CHECK_EQ(e.ebx, 6);
    CHECK_EQ(e.ecx, 0x201);
    e = leaf(c, 0xb, 2);
    CHECK_EQ(e.ebx, 0);
    CHECK_EQ(e.ecx, 2);
    CHECK_EQ(e.edx, 3);
    CHECK_EQ(leaf(c, 0x12, 0).eax, 0);
    e = leaf(c, 0x15, 0);
    CHECK_EQ((uint64_t)e.ecx * e.ebx / e.eax, UINT64_C(2100123000));
    CHECK_EQ(leaf(c, 0x16, 0).eax, 2100);
    CHECK_EQ(leaf(c, 0x1d, 1).eax, 0);
    CHECK_EQ(leaf(c, 0x40000000, 0).eax, 0x40000010);
    CHECK_EQ(leaf(c, 0x40000010, 0).eax, 2100123);
    CHECK_EQ(leaf(c, 0x40000010, 0).ebx, 1000000);
    CHECK_EQ(leaf(c, 0x80000001, 0).ecx, 0); /* no CmpLegacy on Intel */
    CHECK_EQ(leaf(c, 0x80000008, 0).ecx, 0);
    free(c);
}

TEST(cpuid_of_amd_cpu_4_of_5)
{
    struct kvm_cpuid2 *c = TABLE(amd);
    struct cpuid_config config = {.index = 4, .count = 5};
    cpuid_fill(c, &config);
    struct kvm_cpuid_entry2 e = leaf(c, 1, 0);
    CHECK_EQ(e.ebx, 0x04080000);
    CHECK(!(e.ecx >> 24 & 1)); /* this KVM has no TSC deadline */
    CHECK_EQ(leaf(c, 0x80000001, 0).ecx, 1u << 22 | 2);
    CHECK_EQ(leaf(c, 0x80000008, 0).ecx, 0x3004);
    CHECK_EQ(leaf(c, 0x80000008, 0).eax, 0x3030);
    CHECK_EQ(leaf(c, 0x8000001d, 0).eax, 0x121);
    CHECK_EQ(leaf(c, 0x8000001d, 3).eax, 0x10163);
    e = leaf(c, 0x8000001e, 0);
    CHECK_EQ(e.eax, 4);
    CHECK_EQ(e.ebx, 4);
    CHECK_EQ(e.ecx, 0);
    CHECK_EQ(leaf(c, 0x8000001f, 0).eax, 0);
    CHECK_EQ(leaf(c, 0x40000000, 0).eax, 0x40000001); /* unknown frequency: no leaf */
    for (unsigned i = 0; i < c->nent; i++)
        CHECK(c->entries[i].function != 0xb); /* not invented */
    free(c);
}

TEST(cpuid_of_one_cpu_has_no_siblings)
{
    struct kvm_cpuid2 *c = TABLE(amd);
    struct cpuid_config config = {.index = 0, .count = 1};
    cpuid_fill(c, &config);
    CHECK_EQ(leaf(c, 1, 0).ebx, 0x00010000);
    CHECK_EQ(leaf(c, 1, 0).edx >> 28 & 1, 0);
    CHECK_EQ(leaf(c, 0x80000001, 0).ecx, 1u << 22);
    CHECK_EQ(leaf(c, 0x80000008, 0).ecx & 0xf0ff, 0);
    free(c);
}

TEST(cpuid_counts_up_to_the_most)
{
    for (unsigned count = 1; count <= VM_MAX_VCPUS; count++) {
        struct kvm_cpuid2 *c = TABLE(intel);
        struct cpuid_config config = {.index = count - 1, .count = count, .tsc_khz = 1};
        cpuid_fill(c, &config);
        CHECK_EQ(leaf(c, 1, 0).ebx >> 24, count - 1);
        unsigned shift = leaf(c, 0xb, 1).eax;
        CHECK((count - 1) >> shift == 0);                    /* all in one package */
        CHECK(shift == 0 || (count - 1) >> (shift - 1) > 0); /* and no bit more */
        CHECK_EQ(leaf(c, 0xb, 1).ebx, count);
        unsigned in_byte = leaf(c, 1, 0).ebx >> 16 & 0xff;
        CHECK(in_byte >= count);
        free(c);
    }
}
