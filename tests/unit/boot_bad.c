/* SPDX-License-Identifier: MIT
 *
 * Kernel images that nobody should trust (rows L1 to L3). Each is refused with one sentence that names the file, or
 * boots; none reaches beyond its buffer (the image is copied to a buffer of just its size, so that the address sanitizer
 * sees) or writes over another part of what is loaded.
 */
#include "kernels.h"

/* One for all mutations; being anonymous, what should be zero is left alone (and not checked). */
static struct ram *small_ram(void)
{
    static struct ram ram = {.size = 64 * MIB, .kind = RAM_ANON};
    if (!ram.host)
        ram.host = mmap(NULL, ram.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(ram.host != MAP_FAILED);
    return &ram;
}

static bool boots(const void *data, uint64_t size)
{
    if (!k_open(data, size)) {
        CHECK(k_err[0]);
        return false;
    }
    CHECK(!k_err[0]);
    return k_load(&(struct boot_config){.ram = small_ram()});
}

/* What is always true: a refusal has a sentence, an acceptance starts inside RAM with its tables there. */
static bool sane(const void *data, uint64_t size)
{
    if (!boots(data, size)) {
        CHECK(!strncmp(k_err, "kernel img: ", 12) && k_err[12] && !strchr(k_err, '\n'));
        return false;
    }
    CHECK(k_state.rip < 64 * MIB);
    k_mem(k_state.gdt_base, k_state.gdt_limit + 1);
    switch (boot_info(k_boot)->format) {
    case BOOT_BZIMAGE64:
    case BOOT_ELF64:
        k_mem(k_state.cr3, 6 * 4096);
        /* fallthrough */
    case BOOT_BZIMAGE32:
        k_mem(k_state.rsi, 4096);
        break;
    case BOOT_PVH:
    case BOOT_MULTIBOOT:
        k_mem(k_state.rbx, 56);
        break;
    }
    return true;
}

static uint64_t get_field(const uint8_t *p, unsigned width)
{
    uint64_t v = 0;
    memcpy(&v, p, width);
    return v;
}

/* Every value that the row names: 0, 1, all ones, one more and one less than the good one, and the sign bit. */
static void sweep(uint8_t *(*good)(void), uint64_t size, unsigned at, unsigned width)
{
    uint64_t was = get_field(good() + at, width);
    uint64_t values[] = {0, 1, ~0ull, was + 1, was - 1, 1ull << (8 * width - 1), ~0ull >> (65 - 8 * width)};
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint8_t *b = good();
        memcpy(b + at, &values[i], width);
        sane(b, size);
    }
}

/* --- L1 */

static bool mb_flat_boots(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    uint8_t *b = mb_flat();
    put32(b + MB_FLAT_AT + 12, header);
    put32(b + MB_FLAT_AT + 16, load);
    put32(b + MB_FLAT_AT + 20, load_end);
    put32(b + MB_FLAT_AT + 24, bss_end);
    put32(b + MB_FLAT_AT + 28, entry);
    return sane(b, MB_FLAT);
}

TEST(L1_multiboot_address_header)
{
    const uint32_t load = MB_FLAT_LOAD, header = load + MB_FLAT_AT, end = load + MB_FLAT, bss = end + 0x1000,
                   entry = load + 0x80;
    CHECK(mb_flat_boots(header, load, end, bss, entry));
    /* 64 headers: four ways to be wrong, 16 distances each */
    for (unsigned i = 0; i < 16; i++) {
        uint32_t d = 1u << (2 * i);
        CHECK_REFUSED(mb_flat_boots(header, load, end, end - d < end ? end - d : 1, entry),
                      ""); /* bss_end < load_end */
        CHECK_REFUSED(mb_flat_boots(header, load, load - d - 1 < load ? load - d - 1 : 1, 0, entry),
                      ""); /* load_end < load */
        CHECK_REFUSED(mb_flat_boots(load - d < load ? load - d : 0, load, end, bss, entry),
                      "");      /* header < load */
        uint32_t high = 0u - d; /* everything up against 2^32 */
        CHECK_REFUSED(
            mb_flat_boots(high + MB_FLAT_AT, high, high + MB_FLAT, high + MB_FLAT + 0x1000, high + 0x80), "");
    }
}

TEST(L1_multiboot_says_what_is_wrong)
{
    const uint32_t load = MB_FLAT_LOAD, header = load + MB_FLAT_AT, end = load + MB_FLAT, entry = load + 0x80;
    CHECK_REFUSED(mb_flat_boots(load - 4, load, end, 0, entry),
                  "header_addr 0xffffc lies before load_addr 0x100000");
    CHECK_REFUSED(mb_flat_boots(header, load - 4, end, 0, entry), "lies before the start of the file");
    CHECK_REFUSED(mb_flat_boots(header, load, load, 0, entry), "load_end_addr");
    CHECK_REFUSED(mb_flat_boots(header, load, header + 31, 0, load), "cuts its own header");
    CHECK_REFUSED(mb_flat_boots(header, load, end + 1, 0, entry), "cut short");
    CHECK_REFUSED(mb_flat_boots(header, load, end, end - 1, entry), "bss_end_addr");
    CHECK_REFUSED(mb_flat_boots(header, load, end, 64 * MIB + 1, entry), "needs RAM");
    CHECK_REFUSED(mb_flat_boots(header, load, end, 0, load - 1), "entry_addr");
    CHECK_REFUSED(mb_flat_boots(header, load, end, end + 64, end), "entry_addr");
    CHECK_REFUSED(mb_flat_boots(0x9f000 + MB_FLAT_AT, 0x9f000, 0, 0, 0x9f080),
                  "lies outside the guest's RAM");
    CHECK(mb_flat_boots(header, load, end, 64 * MIB,
                        entry)); /* to the last byte of RAM; tables find low memory */
}

TEST(L1_multiboot_header_place_and_flags)
{
    uint8_t *b = mb_flat();
    put32(b + MB_FLAT_AT + 8, 1);
    CHECK_REFUSED(sane(b, MB_FLAT), "not a kernel"); /* the checksum is wrong: no header */

    static const uint32_t must[] = {1 << 3, 1 << 15, 0xffff};
    for (unsigned i = 0; i < 3; i++) {
        b = mb_flat();
        mb_header(b + MB_FLAT_AT, 1 << 16 | must[i]);
        CHECK_REFUSED(sane(b, MB_FLAT), must[i] & 4 ? "video mode" : "unknown features");
    }
    b = mb_flat();
    mb_header(b + MB_FLAT_AT, 1 << 17 | 1 << 16); /* optional flags are ignored */
    CHECK(sane(b, MB_FLAT));
    b = mb_flat();
    mb_header(b + MB_FLAT_AT, 3);
    CHECK_REFUSED(sane(b, MB_FLAT), "gives no addresses, and the file is no ELF file");

    /* The last dword that lies in the first 8 KiB; one that does not; and files that end inside of the header. */
    memset(mb_image, 0x90, MB_FLAT);
    mb_header(mb_image + 8192 - 12, 0);
    CHECK_REFUSED(sane(mb_image, MB_FLAT), "no ELF file");
    memset(mb_image, 0x90, MB_FLAT);
    mb_header(mb_image + 8192 - 8, 0);
    CHECK_REFUSED(sane(mb_image, MB_FLAT), "not a kernel");
    b = mb_flat();
    for (unsigned size = 1; size < MB_FLAT_AT + 40; size++)
        CHECK_REFUSED(sane(b, size), "");
    memset(mb_image, 0x90, MB_FLAT);
    mb_header(mb_image + 8192 - 12, 1 << 16);
    CHECK_REFUSED(sane(mb_image, MB_FLAT), "cut short");
}

TEST(L1_multiboot_fields)
{
    for (unsigned at = 0; at < 32; at += 4)
        sweep(mb_flat, MB_FLAT, MB_FLAT_AT + at, 4);
}

/* --- L2 */

static uint8_t *elf32_multiboot(void)
{
    uint8_t *b = elf_good(false, false);
    mb_header(b + ELF_MB_AT, 3);
    return b;
}
static uint8_t *elf64_plain(void)
{
    return elf_good(true, false);
}
static uint8_t *elf64_pvh(void)
{
    return elf_good(true, true);
}
static uint8_t *elf32_pvh(void)
{
    return elf_good(false, true);
}
static uint8_t *(*const elf_kinds[])(void) = {elf64_plain, elf64_pvh, elf32_pvh, elf32_multiboot};

TEST(L2_elf_every_field)
{
    for (unsigned k = 0; k < 4; k++) {
        bool is_64 = k < 2;
        CHECK(sane(elf_kinds[k](), ELF_SIZE));
        for (unsigned at = 0; at < 16; at++)
            sweep(elf_kinds[k], ELF_SIZE, at, 1);
        for (unsigned at = 16; at < ELF_PHDR_AT + 3 * (is_64 ? 56 : 32); at += 2) {
            sweep(elf_kinds[k], ELF_SIZE, at, 2);
            if (at % 4 == 0)
                sweep(elf_kinds[k], ELF_SIZE, at, 4);
            if (is_64 && at % 8 == 0)
                sweep(elf_kinds[k], ELF_SIZE, at, 8);
        }
        for (unsigned at = ELF_NOTE_AT; at < ELF_NOTE_AT + 60; at += 4)
            sweep(elf_kinds[k], ELF_SIZE, at, 4);
    }
}

static bool elf64_with(unsigned at, unsigned width, uint64_t value)
{
    uint8_t *b = elf64_plain();
    memcpy(b + at, &value, width);
    return sane(b, ELF_SIZE);
}

TEST(L2_elf_says_what_is_wrong)
{
    enum {
        E_TYPE = 16,
        E_MACHINE = 18,
        E_ENTRY = 24,
        E_PHOFF = 32,
        E_PHENTSIZE = 54,
        E_PHNUM = 56
    };
    enum {
        TEXT = ELF_PHDR_AT + 56,
        DATA = TEXT + 56,
        P_TYPE = 0,
        P_OFFSET = 8,
        P_PADDR = 24,
        P_FILESZ = 32,
        P_MEMSZ = 40
    };
    CHECK_REFUSED(elf64_with(EI_CLASS, 1, 3), "32 or 64 bit");
    CHECK_REFUSED(elf64_with(EI_DATA, 1, 2), "little endian");
    CHECK_REFUSED(elf64_with(E_MACHINE, 2, 183), "another machine");
    CHECK_REFUSED(elf64_with(E_TYPE, 2, ET_DYN), "type 3");
    CHECK_REFUSED(elf64_with(E_PHOFF, 8, ELF_SIZE), "lie outside the file");
    CHECK_REFUSED(elf64_with(E_PHOFF, 8, ~0ull), "lie outside the file");
    CHECK_REFUSED(elf64_with(E_PHOFF, 8, ELF_SIZE - 3 * 56 + 1), "lie outside the file");
    CHECK_REFUSED(elf64_with(E_PHENTSIZE, 2, 0), "program headers of 0 bytes");
    CHECK_REFUSED(elf64_with(E_PHENTSIZE, 2, 0xffff), "program headers of 65535 bytes");
    CHECK_REFUSED(elf64_with(E_PHNUM, 2, 0), "0 ELF program headers");
    CHECK_REFUSED(elf64_with(E_PHNUM, 2, 0xffff), "65535 ELF program headers");
    CHECK_REFUSED(elf64_with(E_ENTRY, 8, 0), "in no segment");
    CHECK_REFUSED(elf64_with(E_ENTRY, 8, ELF_DATA_PADDR + ELF_DATA_MEM), "in no segment");
    CHECK_REFUSED(elf64_with(E_ENTRY, 8, ~0ull), "in no segment");

    CHECK_REFUSED(elf64_with(TEXT + P_OFFSET, 8, ~0ull), "cut short");
    CHECK_REFUSED(elf64_with(TEXT + P_OFFSET, 8, ELF_SIZE - ELF_TEXT + 1), "cut short");
    CHECK_REFUSED(elf64_with(TEXT + P_FILESZ, 8, ~0ull), "cut short");
    CHECK_REFUSED(elf64_with(TEXT + P_FILESZ, 8, ELF_TEXT + 1), "larger than p_memsz");
    CHECK_REFUSED(elf64_with(TEXT + P_MEMSZ, 8, ELF_TEXT - 1), "larger than p_memsz");
    CHECK_REFUSED(elf64_with(TEXT + P_MEMSZ, 8, 0), "none in memory");
    CHECK_REFUSED(elf64_with(TEXT + P_MEMSZ, 8, 0x4001), "overlaps another");
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, ELF_DATA_PADDR), "overlaps another");
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, ~0ull), "wraps");
    CHECK_REFUSED(elf64_with(DATA + P_MEMSZ, 8, ~0ull), "wraps");
    CHECK_REFUSED(elf64_with(DATA + P_MEMSZ, 8, 64 * MIB - ELF_DATA_PADDR + 1), "needs RAM");
    CHECK(elf64_with(DATA + P_MEMSZ, 8, 64 * MIB - ELF_DATA_PADDR));
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, 0xe0000000), "lies outside the guest's RAM"); /* ECAM */
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, 0xfee00000), "lies outside the guest's RAM"); /* local APIC */
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, 0xe0000), "lies outside the guest's RAM"); /* ACPI tables */
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, 0x9f000),
                  "lies outside the guest's RAM"); /* across 0x9fc00 */
    CHECK_REFUSED(elf64_with(TEXT + P_PADDR, 8, 1ull << 52), "lies outside the guest's RAM");

    CHECK_REFUSED(sane(elf_good(false, false), ELF_SIZE), "neither a Multiboot header nor a PVH note");
    uint8_t *b = elf64_plain();
    put32(b + TEXT, PT_NULL);
    put32(b + DATA, PT_NULL);
    CHECK_REFUSED(sane(b, ELF_SIZE), "nothing to load");
}

TEST(L2_elf_too_many_segments)
{
    static uint8_t many[4096 + 512 * 56];
    memcpy(many, elf64_plain(), 64);
    put64(many + 32, 4096);
    put16(many + 56, 65);
    for (unsigned i = 0; i < 512; i++)
        elf_segment(many + 4096 + 56 * i, true, PT_LOAD, 0, 0, 0x1000000 + i * 16, 16, 16);
    CHECK_REFUSED(sane(many, sizeof(many)), "more than 64 segments");
    put16(many + 56, 64);
    CHECK(sane(many, sizeof(many)));
}

TEST(L2_elf_cut_at_every_length)
{
    for (unsigned k = 0; k < 4; k++) {
        for (unsigned size = 1; size < ELF_SIZE; size += size < 1024 ? 1 : 509) {
            uint8_t *b = elf_kinds[k]();
            CHECK_REFUSED(sane(b, size), "");
        }
    }
}

TEST(L2_elf_notes_odd)
{
    /* namesz and descsz that wrap or reach past the note, a note that ends in its head, a description of 3 bytes */
    static const struct {
        unsigned at;
        uint32_t value;
        bool pvh;
    } odd[] = {
        {0,       ~0u,        false},
        {0,       0x7fffffff, false},
        {4,       ~0u,        false},
        {4,       0x80000000, false},
        {28 + 4,  3,          false},
        {28 + 4,  ~0u,        false},
        {28,      5,          false},
        {28 + 12, 0x206e6558, false},
        {28 + 8,  19,         false},
        {8,       1,          true }
    };
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        uint8_t *b = elf64_pvh();
        put32(b + ELF_NOTE_AT + odd[i].at, odd[i].value);
        CHECK(sane(b, ELF_SIZE));
        CHECK_EQ(boot_info(k_boot)->format, odd[i].pvh ? BOOT_PVH : BOOT_ELF64);
    }
    uint8_t *b = elf64_pvh();
    put64(b + ELF_NOTE_AT + 44, 1ull << 32 | ELF_PVH_ENTRY);
    CHECK_REFUSED(sane(b, ELF_SIZE), "in no segment");
}

/* --- L3 */

static bool bz_with(unsigned at, unsigned width, uint64_t value)
{
    uint8_t *b = bz_good();
    memcpy(b + at, &value, width);
    return sane(b, BZ_SIZE);
}

TEST(L3_bzimage_cut_at_every_length)
{
    uint8_t *b = bz_good();
    for (unsigned size = 1; size < BZ_SIZE - 15; size += size < 1024 ? 1 : 1021)
        CHECK_REFUSED(sane(b, size), "");
    CHECK_REFUSED(sane(b, 0x263), "cut short in its setup header");
    CHECK_REFUSED(sane(b, 0x268), "cut short");
    CHECK_REFUSED(sane(b, BZ_SETUP), "cut short");
    CHECK_REFUSED(sane(b, BZ_SIZE - 16), "cut short: it says 65536 bytes of code, the file has 65520");
    CHECK(sane(b, BZ_SIZE - 15)); /* the last paragraph need not be whole */
}

TEST(L3_bzimage_setup_sects)
{
    CHECK(bz_with(0x1f1, 1, 0));
    CHECK_REFUSED(bz_with(0x1f1, 1, 255), "cut short"); /* 128 KiB of setup in a file of 66 */
    CHECK_REFUSED(bz_with(0x1f1, 1, 5), "cut short");
    CHECK(bz_with(0x1f1, 1, 3)); /* wrong, but who could know */
}

TEST(L3_bzimage_magics)
{
    CHECK_REFUSED(bz_with(0x1fe, 2, 0), "no boot flag");
    CHECK_REFUSED(bz_with(0x1fe, 2, 0x55aa), "no boot flag");
    CHECK_REFUSED(bz_with(0x202, 4, 0), "older than the boot protocol");
    CHECK_REFUSED(bz_with(0x202, 4, 0x53726449), "boot sector");
}

TEST(L3_bzimage_version)
{
    CHECK_REFUSED(bz_with(0x206, 2, 0), "boot protocol 0.00 is too old");
    CHECK_REFUSED(bz_with(0x206, 2, 0x0205), "boot protocol 2.05 is too old");
    CHECK_REFUSED(bz_with(0x206, 2, 0xffff), "not known");
    CHECK(bz_with(0x206, 2, 0x0206));
    CHECK(bz_with(0x206, 2, 0x02ff));
    CHECK_REFUSED(bz_with(0x211, 1, 0), "zImage");
    CHECK_REFUSED(bz_with(0x201, 1, 0), "setup header ends at 0x202");
    CHECK_REFUSED(bz_with(0x201, 1, 0x61), "setup header ends at 0x263");
    CHECK(bz_with(0x201, 1, 0xff)); /* longer than boot_params has room for: cut there */
}

TEST(L3_bzimage_syssize)
{
    CHECK_REFUSED(bz_with(0x1f4, 4, 0), "only 0 bytes of code");
    CHECK_REFUSED(bz_with(0x1f4, 4, 1), "only 16 bytes of code");
    CHECK_REFUSED(bz_with(0x1f4, 4, 0xffffffff), "cut short: it says 68719476720 bytes");
    CHECK_REFUSED(bz_with(0x1f4, 4, BZ_CODE / 16 + 1), "cut short");
    CHECK(bz_with(0x1f4, 4, BZ_CODE / 16 - 1));
    CHECK_REFUSED(bz_with(0x248, 4, 0xffffffff), "compressed payload");
    CHECK_REFUSED(bz_with(0x24c, 4, 0xffffffff), "compressed payload");
    CHECK_REFUSED(bz_with(0x24c, 4, BZ_CODE - 0x300 + 1), "compressed payload");
    CHECK(bz_with(0x24c, 4, BZ_CODE - 0x300));
}

TEST(L3_bzimage_place)
{
    CHECK_REFUSED(bz_with(0x260, 4, 0xffffffff), "lies outside the guest's RAM");
    CHECK_REFUSED(bz_with(0x260, 4, 64 * MIB),
                  "needs RAM from 0x1000000 to 0x4ffffff, 80 MiB in all, and the guest has 64");
    CHECK_REFUSED(bz_with(0x260, 4, 48 * MIB + 1), "-m");
    CHECK(bz_with(0x260, 4, 48 * MIB));
    CHECK(bz_with(0x260, 4, 0)); /* then what it brings is what it needs */
    CHECK_REFUSED(bz_with(0x258, 8, ~0ull), "where no guest has RAM");
    CHECK_REFUSED(bz_with(0x258, 8, 3 * GIB), "where no guest has RAM");
    CHECK_REFUSED(bz_with(0x258, 8, 3 * GIB - 1), "lies outside the guest's RAM");
    CHECK_REFUSED(bz_with(0x258, 8, 64 * MIB), "needs RAM");
    CHECK(bz_with(0x258, 8, 0));
    CHECK_EQ(k_state.rip, 0x200200); /* aligned up from 1 MiB */
    CHECK(bz_with(0x258, 8, 1));
    CHECK_REFUSED(bz_with(0x230, 4, 0), "kernel_alignment 0x0");
    CHECK_REFUSED(bz_with(0x230, 4, 3), "not a power of two");
    CHECK_REFUSED(bz_with(0x230, 4, 1u << 31), "absurd");
    CHECK_REFUSED(bz_with(0x230, 4, 1u << 30), "needs RAM");
    CHECK(bz_with(0x230, 4, 1));
}

TEST(L3_bzimage_not_relocatable_over_holes)
{
    uint8_t *b = bz_good();
    b[0x234] = 0;
    put64(b + 0x258, 0x90000); /* would move itself through the hole below 1 MiB */
    CHECK_REFUSED(sane(b, BZ_SIZE), "lies outside the guest's RAM");
}

TEST(L3_bzimage_fields)
{
    for (unsigned at = 0x1f0; at < 0x290; at++) {
        sweep(bz_good, BZ_SIZE, at, 1);
        if (at % 2 == 0)
            sweep(bz_good, BZ_SIZE, at, 2);
        if (at % 4 == 0)
            sweep(bz_good, BZ_SIZE, at, 4);
        if (at % 8 == 0)
            sweep(bz_good, BZ_SIZE, at, 8);
    }
}

/* --- seeded mutations: bytes, runs, splices and interesting values anywhere in the first pages */

TEST(L1_L2_L3_random_mutations)
{
    uint64_t seed = 0x766d6c6574, accepted = 0, refused = 0;
    for (unsigned long n = 0; n < test_scale(40000); n++) {
        unsigned kind = n % 6;
        uint8_t *b = kind < 4 ? elf_kinds[kind]() : kind == 4 ? bz_good() : mb_flat();
        uint64_t size = kind < 4 ? ELF_SIZE : kind == 4 ? BZ_SIZE : MB_FLAT;
        unsigned base = kind < 4    ? 0
                        : kind == 4 ? 0x1f0
                                    : MB_FLAT_AT,
                 span = kind < 4    ? 0x260
                        : kind == 4 ? 0xa0
                                    : 32;
        unsigned changes = 1 + test_rand(&seed) % 6;
        while (changes--) {
            static const uint64_t nice[] = {0,         1,          0x7f,       0x80,       0xff,
                                            0x1000,    0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                            0x3ffffff, 0x4000000,  ~0ull,      ~0ull >> 1};
            uint64_t r = test_rand(&seed);
            uint64_t v = r & 1 ? nice[(r >> 8) % 14] : test_rand(&seed);
            unsigned width = 1u << (r >> 1) % 4, at = base + (unsigned)(r >> 32) % (span - width + 1);
            memcpy(b + at, &v, width);
        }
        if (test_rand(&seed) % 8 == 0)
            size = 1 + test_rand(&seed) % size;
        if (sane(b, size))
            accepted++;
        else
            refused++;
    }
    CHECK(accepted > test_scale(40000) / 20); /* the mutations are not so wild that nothing is tried */
    CHECK(refused > test_scale(40000) / 4);
}
