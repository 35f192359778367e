/* SPDX-License-Identifier: MIT
 *
 * Good kernels of every format: what lies in guest RAM after boot_load() and in which state the vCPU starts,
 * read back as the kernel would.
 */
#include "kernels.h"

static const struct boot_source two_initrds[] = {
    {"one", "ABCDE", 5},
    {NULL,  "xyz",   3}
};

static void check_state(bool long_mode, uint64_t rip)
{
    CHECK_EQ(k_state.mode, long_mode ? BOOT_LONG64 : BOOT_PROTECTED32);
    CHECK_EQ(k_state.rip, rip);
    CHECK_EQ(k_state.rflags, 2);
    CHECK_EQ(k_state.cr0 & 0x80000001, long_mode ? 0x80000001 : 1);
    CHECK_EQ(k_state.cr4, long_mode ? 0x20 : 0);
    CHECK_EQ(k_state.efer, long_mode ? 0x500 : 0);
    CHECK(k_state.gdt_limit >= BOOT_DS + 7);
    const uint8_t *gdt = k_mem(k_state.gdt_base, k_state.gdt_limit + 1);
    CHECK_EQ(get64(gdt), 0);
    /* Descriptor bits: limit 0xfffff in pages, base 0, present, ring 0; code with L or D as the mode is. */
    CHECK_EQ(get64(gdt + BOOT_CS), long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
    CHECK_EQ(get64(gdt + BOOT_DS), 0x00cf93000000ffff);
}

/* Walks the page tables as the CPU does; returns the physical address, or all ones where nothing is mapped.
 */
static uint64_t walk(uint64_t va)
{
    uint64_t table = k_state.cr3;
    for (int shift = 39; shift >= 21; shift -= 9) {
        uint64_t e = get64(k_mem(table + 8 * (va >> shift & 511), 8));
        if ((e & 3) != 3)
            return ~0ull;
        table = e & 0x000ffffffffff000;
        if (e & 0x80)
            return table + (va & ((1ull << shift) - 1));
    }
    return ~0ull;
}

static void check_e820(const uint8_t *p, unsigned n, unsigned step, uint64_t ram)
{
    struct boot_e820 map[BOOT_E820_MAX];
    CHECK_EQ(n, boot_e820(ram, map));
    for (unsigned i = 0; i < n; i++, p += step) {
        CHECK_EQ(get64(p), map[i].addr);
        CHECK_EQ(get64(p + 8), map[i].size);
        CHECK_EQ(get32(p + 16), map[i].type);
    }
}

static void check_code(uint64_t gpa)
{
    const uint8_t *p = k_mem(gpa, BZ_CODE);
    for (unsigned i = 0; i < BZ_CODE; i++)
        CHECK_EQ(p[i], (uint8_t)(i * 7));
}

TEST(e820_layout)
{
    struct boot_e820 m[BOOT_E820_MAX];
    unsigned n = boot_e820(256 * MIB, m);
    CHECK_EQ(n, 5);
    CHECK(m[0].addr == 0 && m[0].size == 0x9fc00 && m[0].type == BOOT_E820_RAM);
    CHECK(m[1].addr == 0x9fc00 && m[1].size == 0x400 && m[1].type == BOOT_E820_RESERVED);
    CHECK(m[2].addr == 0xe0000 && m[2].size == 0x20000 && m[2].type == BOOT_E820_RESERVED);
    CHECK(m[3].addr == MIB && m[3].size == 255 * MIB && m[3].type == BOOT_E820_RAM);
    CHECK(m[4].addr == 0xe0000000 && m[4].size == 256 * MIB && m[4].type == BOOT_E820_RESERVED);
}

TEST(e820_all_sizes_sum_up_and_ascend)
{
    static const uint64_t sizes[] = {MIB,        2 * MIB, 3 * GIB - 4096, 3 * GIB, 3 * GIB + 4096,
                                     3584 * MIB, 5 * GIB, 1024 * GIB};
    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct boot_e820 m[BOOT_E820_MAX];
        unsigned n = boot_e820(sizes[s], m);
        uint64_t sum = 0, end = 0;
        for (unsigned i = 0; i < n; i++) {
            CHECK(m[i].size > 0 && m[i].addr >= end);
            end = m[i].addr + m[i].size;
            CHECK(m[i].type != BOOT_E820_RAM || end <= 3 * GIB || m[i].addr >= 4 * GIB);
            sum += m[i].type == BOOT_E820_RAM ? m[i].size : 0;
        }
        CHECK_EQ(sum, sizes[s] - (MIB - 0x9fc00)); /* all but what lies under a PC's hole below 1 MiB */
    }
}

TEST(e820_tiny_ram)
{
    struct boot_e820 m[BOOT_E820_MAX];
    boot_e820(4096, m);
    CHECK(m[0].addr == 0 && m[0].size == 4096);
}

TEST(bzimage64)
{
    static const uint8_t seed[32] = "thirty-two bytes of randomness!";
    CHECK(k_open(bz_good(), BZ_SIZE));
    const struct boot_info *info = boot_info(k_boot);
    CHECK_EQ(info->format, BOOT_BZIMAGE64);
    CHECK(info->is_linux && !info->is_32bit);
    CHECK_EQ(info->cmdline_max, 2047);
    CHECK_STR(info->release, "6.1.0-18-test-amd64");
    CHECK_STR(info->version, "6.1.0-18-test-amd64 (someone@somewhere) #1 SMP");

    CHECK(k_load(&(struct boot_config){.ram = test_ram(256 * MIB),
                                       .cmdline = "console=ttyS0 quiet",
                                       .initrds = two_initrds,
                                       .n_initrds = 2,
                                       .rsdp = 0xe0010,
                                       .rng_seed = seed,
                                       .rng_seed_size = sizeof(seed)}));
    check_state(true, BZ_PREF + 0x200);
    check_code(BZ_PREF);

    uint64_t bp_at = k_state.rsi;
    CHECK(bp_at >= 0x10000 && bp_at <= 0x8f000);
    const uint8_t *bp = k_mem(bp_at, 4096);
    CHECK_EQ(get32(bp + 0x202), 0x53726448);
    CHECK_EQ(get16(bp + 0x206), 0x020f);
    CHECK_EQ(get32(bp + 0x260), BZ_INIT); /* the image's header was taken over */
    CHECK_EQ(bp[0x210], 0xff);
    CHECK(bp[0x211] & 1);
    CHECK_EQ(get32(bp + 0x214), BZ_PREF);
    CHECK_EQ(bp[0x1ef], 0); /* sentinel */
    CHECK_EQ(get64(bp + 0x70), 0xe0010);
    CHECK_STR((const char *)k_mem(get32(bp + 0x228), 20), "console=ttyS0 quiet");
    check_e820(bp + 0x2d0, bp[0x1e8], 20, 256 * MIB);

    uint64_t initrd = get32(bp + 0x218);
    CHECK_EQ(get32(bp + 0x21c), 12);
    CHECK_EQ(initrd, 256 * MIB - 4096); /* as high as can be */
    CHECK(!memcmp(k_mem(initrd, 12), "ABCDE\0\0\0xyz\0", 12));

    const uint8_t *data = k_mem(get64(bp + 0x250), 16 + 32);
    CHECK_EQ(get64(data), 0);
    CHECK_EQ(get32(data + 8), 9);
    CHECK_EQ(get32(data + 12), 32);
    CHECK(!memcmp(data + 16, seed, 32));

    static const uint64_t mapped[] = {0, 0x1234, BZ_PREF, 0xbfffffff, 0xfee00000, 0xffffffff};
    for (unsigned i = 0; i < sizeof(mapped) / sizeof(mapped[0]); i++)
        CHECK_EQ(walk(mapped[i]), mapped[i]);
    CHECK_EQ(walk(4 * GIB), ~0ull);
}

TEST(bzimage_nothing_given)
{
    CHECK(k_open(bz_good(), BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(256 * MIB)}));
    const uint8_t *bp = k_mem(k_state.rsi, 4096);
    CHECK_EQ(get32(bp + 0x218), 0);
    CHECK_EQ(get32(bp + 0x21c), 0);
    CHECK_EQ(get64(bp + 0x250), 0);
    CHECK_EQ(*k_mem(get32(bp + 0x228), 1), 0);
}

TEST(bzimage32_without_64bit_entry)
{
    uint8_t *b = bz_good();
    put16(b + 0x236, 0);
    CHECK(k_open(b, BZ_SIZE));
    CHECK_EQ(boot_info(k_boot)->format, BOOT_BZIMAGE32);
    CHECK(boot_info(k_boot)->is_32bit);
    CHECK(k_load(&(struct boot_config){.ram = test_ram(256 * MIB)}));
    check_state(false, BZ_PREF);
    CHECK_EQ(k_state.rbx, 0);
    CHECK_EQ(k_state.rdi, 0);
    CHECK_EQ(get32(k_mem(k_state.rsi + 0x214, 4)), BZ_PREF);
}

TEST(bzimage_old_protocol_206)
{
    uint8_t *b = bz_good();
    put16(b + 0x206, 0x0206);
    b[0x201] = 0x3a; /* header ends at 0x23c */
    b[0x234] = 0;
    memset(b + 0x23c, 0xcc, 0x290 - 0x23c); /* not header: code */
    CHECK(k_open(b, BZ_SIZE));
    CHECK_EQ(boot_info(k_boot)->format, BOOT_BZIMAGE32);
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB), .rng_seed = "1234", .rng_seed_size = 4}));
    check_state(false, 0x100000);
    check_code(0x100000);
    CHECK_EQ(get64(k_mem(k_state.rsi + 0x250, 8)), 0); /* no setup_data before 2.09 */
}

TEST(bzimage_not_relocatable)
{
    uint8_t *b = bz_good();
    b[0x234] = 0;
    put32(b + 0x230, 0); /* then the alignment does not matter */
    CHECK(k_open(b, BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    check_state(true, 0x100200);
    check_code(0x100000);
}

TEST(bzimage_setup_sects_0_means_4)
{
    uint8_t *b = bz_good();
    CHECK_EQ(b[0x1f1], 4);
    b[0x1f1] = 0;
    CHECK(k_open(b, BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    check_code(BZ_PREF);
}

TEST(bzimage_with_signature_after_it)
{
    static uint8_t big[BZ_SIZE + 1500];
    memcpy(big, bz_good(), BZ_SIZE);
    memset(big + BZ_SIZE, 0x5a, 1500);
    CHECK(k_open(big, sizeof(big)));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    check_code(BZ_PREF);
    CHECK_EQ(*k_mem(BZ_PREF + BZ_CODE, 1), 0);
}

TEST(bzimage_preferred_address_is_aligned_up)
{
    uint8_t *b = bz_good();
    put64(b + 0x258, 0x1100000);
    CHECK(k_open(b, BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    CHECK_EQ(k_state.rip, 0x1200200);
}

TEST(bzimage_initrd_respects_addr_max_and_ram_above_4g)
{
    uint8_t *b = bz_good();
    put32(b + 0x22c, 0x37ffffff);
    CHECK(k_open(b, BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(5 * GIB), .initrds = two_initrds, .n_initrds = 2}));
    CHECK_EQ(get32(k_mem(k_state.rsi + 0x218, 4)), 0x37fff000);
    check_e820(k_mem(k_state.rsi + 0x2d0, 200), *k_mem(k_state.rsi + 0x1e8, 1), 20, 5 * GIB);

    put32(b + 0x22c, 0xffffffff);
    CHECK(k_open(b, BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(5 * GIB), .initrds = two_initrds, .n_initrds = 2}));
    CHECK_EQ(get32(k_mem(k_state.rsi + 0x218, 4)), 0xbffff000); /* never above 3 GiB */
}

TEST(bzimage_version_string_odd)
{
    static const struct {
        const char *text, *release;
    } odd[] = {
        {"../../etc (x)",     ""               },
        {"6.1.0/evil x",      ""               },
        {"6.1.0+deb12~rc1 x", "6.1.0+deb12~rc1"},
        {"6.1.0",             "6.1.0"          },
        {"",                  ""               },
        {"\n",                ""               },
    };
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        uint8_t *b = bz_good();
        memset(b + BZ_VERSION_AT, 0, 64);
        strcpy((char *)b + BZ_VERSION_AT, odd[i].text);
        CHECK(k_open(b, BZ_SIZE));
        CHECK_STR(boot_info(k_boot)->release, odd[i].release);
    }
    uint8_t *b = bz_good();
    put16(b + 0x20e, 4 * 512); /* just past the setup code */
    CHECK(k_open(b, BZ_SIZE));
    CHECK_STR(boot_info(k_boot)->version, "");
    memset(b + BZ_VERSION_AT, 'a', BZ_SETUP - BZ_VERSION_AT); /* no NUL, longer than any buffer */
    put16(b + 0x20e, BZ_VERSION_AT - 0x200);
    CHECK(k_open(b, BZ_SIZE));
    CHECK_EQ(strlen(boot_info(k_boot)->version), sizeof(boot_info(k_boot)->version) - 1);
    CHECK_STR(boot_info(k_boot)->release, "");
}

static void check_elf_loaded(const uint8_t *b)
{
    CHECK(!memcmp(k_mem(ELF_TEXT_PADDR, ELF_TEXT), b + ELF_TEXT_AT, ELF_TEXT));
    CHECK(!memcmp(k_mem(ELF_DATA_PADDR, ELF_DATA), b + ELF_DATA_AT, ELF_DATA));
    const uint8_t *bss = k_mem(ELF_DATA_PADDR + ELF_DATA, ELF_DATA_MEM - ELF_DATA);
    for (unsigned i = 0; i < ELF_DATA_MEM - ELF_DATA; i++)
        CHECK_EQ(bss[i], 0);
}

TEST(elf64_entry)
{
    uint8_t *b = elf_good(true, false);
    CHECK(k_open(b, ELF_SIZE));
    CHECK_EQ(boot_info(k_boot)->format, BOOT_ELF64);
    CHECK(!boot_info(k_boot)->is_32bit && boot_info(k_boot)->is_linux);
    struct ram *ram = test_ram(256 * MIB);
    memset(ram_host(ram, ELF_DATA_PADDR, ELF_DATA_MEM), 0xee,
           ELF_DATA_MEM); /* RAM on a file need not be zero */
    CHECK(k_load(&(struct boot_config){.ram = ram,
                                       .cmdline = "root=x",
                                       .initrds = two_initrds,
                                       .n_initrds = 2,
                                       .rsdp = 0xe0000,
                                       .rng_seed = "1234",
                                       .rng_seed_size = 4}));
    check_state(true, ELF_ENTRY);
    check_elf_loaded(b);
    const uint8_t *bp = k_mem(k_state.rsi, 4096);
    CHECK_EQ(get16(bp + 0x1fe), 0xaa55);
    CHECK_EQ(get32(bp + 0x202), 0x53726448);
    CHECK_EQ(bp[0x210], 0xff);
    CHECK_EQ(get64(bp + 0x70), 0xe0000);
    CHECK_STR((const char *)k_mem(get32(bp + 0x228), 8), "root=x");
    CHECK(!memcmp(k_mem(get32(bp + 0x218), 12), "ABCDE\0\0\0xyz\0", 12));
    CHECK(get64(bp + 0x250) != 0);
    check_e820(bp + 0x2d0, bp[0x1e8], 20, 256 * MIB);
}

TEST(elf64_entry_virtual)
{
    uint8_t *b = elf_good(true, false);
    put64(b + 24, ELF_VIRTUAL + ELF_ENTRY);
    CHECK(k_open(b, ELF_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    CHECK_EQ(k_state.rip, ELF_ENTRY);
}

TEST(pvh)
{
    for (unsigned is_64 = 0; is_64 < 2; is_64++) {
        uint8_t *b = elf_good(is_64, true);
        CHECK(k_open(b, ELF_SIZE));
        CHECK_EQ(boot_info(k_boot)->format, BOOT_PVH);
        CHECK_EQ(boot_info(k_boot)->is_32bit, !is_64);
        CHECK(k_load(&(struct boot_config){.ram = test_ram(256 * MIB),
                                           .cmdline = "root=x",
                                           .initrds = two_initrds,
                                           .n_initrds = 2,
                                           .rsdp = 0xe0000}));
        check_state(false, ELF_PVH_ENTRY);
        check_elf_loaded(b);
        const uint8_t *s = k_mem(k_state.rbx, 56);
        CHECK_EQ(get32(s), 0x336ec578);
        CHECK_EQ(get32(s + 4), 1);
        CHECK_EQ(get32(s + 12), 1);
        CHECK_STR((const char *)k_mem(get64(s + 24), 8), "root=x");
        CHECK_EQ(get64(s + 32), 0xe0000);
        const uint8_t *mod = k_mem(get64(s + 16), 32);
        CHECK_EQ(get64(mod + 8), 12);
        CHECK(!memcmp(k_mem(get64(mod), 12), "ABCDE\0\0\0xyz\0", 12));
        check_e820(k_mem(get64(s + 40), 24 * get32(s + 48)), get32(s + 48), 24, 256 * MIB);
    }
}

TEST(elf_release_from_build_salt)
{
    static const struct {
        const char *salt, *release;
    } salts[] = {
        {"6.1.0-56-cloud-amd64", "6.1.0-56-cloud-amd64"},
        {"",                     ""                    },
        {"abc",                  ""                    },
        {"6/../..",              ""                    }
    };
    for (unsigned i = 0; i < sizeof(salts) / sizeof(salts[0]); i++) {
        uint8_t *b = elf_good(true, true), *n = b + ELF_NOTE_AT + 28 + 24; /* behind Xen's note */
        put64(b + ELF_PHDR_AT + 32, 28 + 24 + 20 + 24);                    /* p_filesz of the notes */
        put32(n, 6);
        put32(n + 4, (uint32_t)strlen(salts[i].salt) + 1);
        put32(n + 8, 0x100);
        strcpy((char *)n + 12, "Linux");
        strcpy((char *)n + 20, salts[i].salt);
        CHECK(k_open(b, ELF_SIZE));
        CHECK_EQ(boot_info(k_boot)->format, BOOT_PVH);
        CHECK_STR(boot_info(k_boot)->release, salts[i].release);
    }
}

TEST(pvh_without_initrd)
{
    CHECK(k_open(elf_good(true, true), ELF_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(256 * MIB)}));
    CHECK_EQ(get32(k_mem(k_state.rbx + 12, 4)), 0);
    CHECK_EQ(get64(k_mem(k_state.rbx + 16, 8)), 0);
}

/* The program takes page 0, 0x1000 and what follows it: whatever we hand over must be elsewhere. */
static void check_clear(uint64_t gpa, uint64_t len, uint64_t image_end)
{
    CHECK(gpa >= 0x10000);
    CHECK(gpa + len <= 0x90000 || gpa >= image_end + 0x100000);
}

static void check_multiboot_info(uint64_t ram, uint64_t image_end, const char *cmdline)
{
    CHECK_EQ(k_state.rax, 0x2badb002);
    const uint8_t *i = k_mem(k_state.rbx, 120);
    check_clear(k_state.rbx, 120, image_end);
    check_clear(k_state.gdt_base, 32, image_end);
    CHECK_EQ(get32(i) & (1 | 4 | 8 | 64), 1 | 4 | 8 | 64);
    CHECK_EQ(get32(i + 4), 639);
    CHECK_EQ(get32(i + 8), ((ram < 3 * GIB ? ram : 3 * GIB) - MIB) / 1024);
    CHECK_STR((const char *)k_mem(get32(i + 16), strlen(cmdline) + 1), cmdline);
    check_clear(get32(i + 16), strlen(cmdline) + 1, image_end);
    uint32_t length = get32(i + 44), at = get32(i + 48);
    check_clear(at, length, image_end);
    CHECK_EQ(length % 24, 0);
    CHECK_EQ(get32(k_mem(at, length)), 20);
    check_e820(k_mem(at, length) + 4, length / 24, 24, ram);
    CHECK_STR((const char *)k_mem(get32(i + 64), 6), "vmlet");
    uint32_t n = get32(i + 20);
    for (unsigned m = 0; m < n; m++) {
        const uint8_t *e = k_mem(get32(i + 24) + 16 * m, 16);
        CHECK_EQ(get32(e) % 4096, 0);
        check_clear(get32(e), get32(e + 4) - get32(e), image_end);
    }
}

TEST(multiboot_elf32)
{
    uint8_t *b = elf_good(false, false);
    mb_header(b + ELF_MB_AT, 0);
    CHECK(k_open(b, ELF_SIZE));
    CHECK_EQ(boot_info(k_boot)->format, BOOT_MULTIBOOT);
    CHECK(!boot_info(k_boot)->is_linux);
    CHECK(k_load(&(struct boot_config){
        .ram = test_ram(5 * GIB), .cmdline = "-a b", .initrds = two_initrds, .n_initrds = 2}));
    check_state(false, ELF_ENTRY);
    check_elf_loaded(b);
    check_multiboot_info(5 * GIB, ELF_DATA_PADDR + ELF_DATA_MEM, "img -a b");
    const uint8_t *i = k_mem(k_state.rbx, 120);
    CHECK_EQ(get32(i + 20), 2);
    const uint8_t *e = k_mem(get32(i + 24), 32);
    CHECK(get32(e + 4) - get32(e) == 5 && !memcmp(k_mem(get32(e), 5), "ABCDE", 5));
    CHECK_STR((const char *)k_mem(get32(e + 8), 4), "one");
    CHECK(get32(e + 20) - get32(e + 16) == 3 && !memcmp(k_mem(get32(e + 16), 3), "xyz", 3));
}

TEST(multiboot_name_alone)
{
    uint8_t *b = elf_good(false, false);
    mb_header(b + ELF_MB_AT, 3);
    CHECK(k_open(b, ELF_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(32 * MIB)}));
    check_multiboot_info(32 * MIB, ELF_DATA_PADDR + ELF_DATA_MEM, "img");
}

TEST(multiboot_low_program_and_big_module)
{
    static uint8_t module[1 << 20];
    const struct boot_source mod = {"big", module, sizeof(module)};
    for (unsigned low = 0; low < 2; low++) {
        uint8_t *b = mb_flat();
        uint32_t load = low ? 0x8000 : MB_FLAT_LOAD;
        for (unsigned field = 12; field <= 28; field += 4)
            put32(b + MB_FLAT_AT + field, get32(b + MB_FLAT_AT + field) - MB_FLAT_LOAD + load);
        CHECK(k_open(b, MB_FLAT));
        CHECK(k_load(&(struct boot_config){.ram = test_ram(32 * MIB), .initrds = &mod, .n_initrds = 1}));
        CHECK_EQ(k_state.rip, load + 0x80);
        CHECK(!memcmp(k_mem(load, MB_FLAT), b, MB_FLAT));
        check_multiboot_info(32 * MIB, load + MB_FLAT + 0x1000, "img");
        CHECK_EQ(get32(k_mem(get32(k_mem(k_state.rbx + 24, 4)), 4)), 31 * MIB);
    }
}

TEST(multiboot_modules_small_and_large)
{
    static uint8_t bytes[100000];
    const struct boot_source mods[] = {
        {"small", bytes, 3000         },
        {"large", bytes, sizeof(bytes)}
    };
    CHECK(k_open(mb_flat(), MB_FLAT));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(32 * MIB), .initrds = mods, .n_initrds = 2}));
    const uint8_t *e = k_mem(get32(k_mem(k_state.rbx + 24, 4)), 32);
    CHECK(get32(e) >= 0x80000 && get32(e + 4) <= 0x90000); /* above what programs use for stacks */
    CHECK_EQ(get32(e + 16), (32 * MIB - sizeof(bytes)) & ~4095ull);
}

TEST(multiboot_flat)
{
    uint8_t *b = mb_flat();
    CHECK(k_open(b, MB_FLAT));
    struct ram *ram = test_ram(32 * MIB);
    memset(ram_host(ram, MB_FLAT_LOAD + MB_FLAT, 0x1000), 0xee, 0x1000);
    CHECK(k_load(&(struct boot_config){.ram = ram}));
    check_state(false, MB_FLAT_LOAD + 0x80);
    CHECK(!memcmp(k_mem(MB_FLAT_LOAD, MB_FLAT), b, MB_FLAT));
    CHECK_EQ(*k_mem(MB_FLAT_LOAD + MB_FLAT, 1), 0);
    CHECK_EQ(*k_mem(MB_FLAT_LOAD + MB_FLAT + 0xfff, 1), 0);
    check_multiboot_info(32 * MIB, MB_FLAT_LOAD + MB_FLAT + 0x1000, "img");
}

TEST(multiboot_flat_load_end_0_is_the_files_end)
{
    uint8_t *b = mb_flat();
    put32(b + MB_FLAT_AT + 20, 0);
    put32(b + MB_FLAT_AT + 24, 0);
    CHECK(k_open(b, MB_FLAT));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(32 * MIB)}));
    CHECK(!memcmp(k_mem(MB_FLAT_LOAD, MB_FLAT), b, MB_FLAT));
}

/* An image that lies where the tables usually are pushes them elsewhere; nothing is overwritten. */
TEST(tables_make_way_for_the_image)
{
    uint8_t *b = elf_good(false, false);
    unsigned step = sizeof(Elf32_Phdr);
    mb_header(b + ELF_MB_AT, 0);
    put32(b + ELF_PHDR_AT + 2 * step + 12, 0x8000);           /* paddr of the data segment */
    put32(b + ELF_PHDR_AT + 2 * step + 20, 0x9fc00 - 0x8000); /* memsz: all of low memory */
    CHECK(k_open(b, ELF_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(32 * MIB), .initrds = two_initrds, .n_initrds = 2}));
    CHECK(k_state.rbx > ELF_TEXT_PADDR + ELF_TEXT);
    CHECK(!memcmp(k_mem(0x8000, ELF_DATA), b + ELF_DATA_AT, ELF_DATA));
    const uint8_t *bss = k_mem(0x8000 + ELF_DATA, 0x9fc00 - 0x8000 - ELF_DATA);
    for (unsigned i = 0; i < 0x9fc00 - 0x8000 - ELF_DATA; i++)
        CHECK_EQ(bss[i], 0);
}
