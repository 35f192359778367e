/* SPDX-License-Identifier: MIT
 *
 * For the loader's tests: guest RAM, and well-formed kernel images of every format, small and built in
 * memory, for the tests to boot or to spoil.
 */
#ifndef TESTS_UNIT_KERNELS_H
#define TESTS_UNIT_KERNELS_H

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/boot.h"
#include "guest/bytes.h"
#include "mem/ram.h"
#include "test.h"

#define MIB (1024ull * 1024)
#define GIB (1024ull * MIB)

/* Of a file, so that loaders take it to be dirty. */
static inline struct ram *test_ram(uint64_t size)
{
    static struct ram ram;
    if (ram.host)
        munmap(ram.host, ram.size);
    ram = (struct ram){.size = size, .kind = RAM_FILE};
    ram.host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ram.host == MAP_FAILED ? NULL : &ram;
}

/* One after the other: each use takes the place of the last, so failed tests leave nothing behind. */
static char k_err[512];
static struct boot *k_boot;
static struct boot_state k_state;
static struct ram *k_ram;

static inline const uint8_t *k_mem(uint64_t gpa, uint64_t len)
{
    const uint8_t *p = ram_host(k_ram, gpa, len);
    CHECK(p != NULL);
    return p;
}

static inline bool k_open(const void *data, uint64_t size)
{
    static void *copy;
    boot_close(k_boot);
    free(copy);
    copy = malloc(size ? size
                       : 1); /* of just this size, so that the address sanitizer sees every byte too far */
    if (size)
        memcpy(copy, data, size);
    k_err[0] = '\0';
    k_boot = boot_open_data("img", copy, size, k_err, sizeof(k_err));
    return k_boot;
}

static inline bool k_load(const struct boot_config *config)
{
    k_ram = config->ram;
    k_err[0] = '\0';
    return boot_load(k_boot, config, &k_state, k_err, sizeof(k_err));
}

/* Refused, with a sentence that names the image and has the given words in it. */
#define CHECK_REFUSED(ok, words)                                                                             \
    do {                                                                                                     \
        CHECK(!(ok));                                                                                        \
        if (strncmp(k_err, "kernel img: ", 12) || !strstr(k_err, words) || strchr(k_err, '\n')) {            \
            printf("%s:%d: the reason is \"%s\", without \"%s\"\n", __FILE__, __LINE__, k_err, words);       \
            longjmp(test_end, 1);                                                                            \
        }                                                                                                    \
    } while (0)

/* --- bzImage: 4 setup sectors, 64 KiB of code of which byte i is i * 7 */

enum {
    BZ_SETUP = 5 * 512,
    BZ_CODE = 64 * 1024,
    BZ_SIZE = BZ_SETUP + BZ_CODE,
    BZ_PREF = 0x1000000,
    BZ_INIT = 0x800000,
    BZ_VERSION_AT = 0x600, /* in the file */
};
static uint8_t bz_image[BZ_SIZE];

static inline uint8_t *bz_good(void)
{
    uint8_t *b = bz_image;
    memset(b, 0, BZ_SIZE);
    for (unsigned i = 0; i < BZ_CODE; i++)
        b[BZ_SETUP + i] = (uint8_t)(i * 7);
    b[0x1f1] = BZ_SETUP / 512 - 1;
    put32(b + 0x1f4, BZ_CODE / 16);
    put16(b + 0x1fe, 0xaa55);
    b[0x200] = 0xeb;
    b[0x201] = 0x6a;
    memcpy(b + 0x202, "HdrS", 4);
    put16(b + 0x206, 0x020f);
    put16(b + 0x20e, BZ_VERSION_AT - 0x200);
    b[0x211] = 1;
    put32(b + 0x214, 0x100000);
    put32(b + 0x22c, 0x7fffffff);
    put32(b + 0x230, 0x200000);
    b[0x234] = 1;
    b[0x235] = 21;
    put16(b + 0x236, 0x3);
    put32(b + 0x238, 2047);
    put32(b + 0x248, 0x300);
    put32(b + 0x24c, 0x1000);
    put64(b + 0x258, BZ_PREF);
    put32(b + 0x260, BZ_INIT);
    strcpy((char *)b + BZ_VERSION_AT, "6.1.0-18-test-amd64 (someone@somewhere) #1 SMP");
    return b;
}

/* --- ELF: three program headers (a note and two segments), 32 or 64 bit */

enum {
    ELF_PHDR_AT = 64,
    ELF_NOTE_AT = 0x200,
    ELF_TEXT_AT = 0x1000,
    ELF_TEXT = 0x2000,
    ELF_DATA_AT = 0x3000,
    ELF_DATA = 0x800,
    ELF_DATA_MEM = 0x3000,
    ELF_SIZE = ELF_DATA_AT + ELF_DATA,
    ELF_TEXT_PADDR = 0x1000000,
    ELF_DATA_PADDR = 0x1004000,
    ELF_PVH_ENTRY = ELF_TEXT_PADDR + 0x150,
    ELF_ENTRY = ELF_TEXT_PADDR + 0x40,
    ELF_MB_AT = 0x1010,
};
#define ELF_VIRTUAL 0xffffffff80000000ull
static uint8_t elf_image[ELF_SIZE];

static inline void elf_segment(uint8_t *p, bool is_64, uint32_t type, uint64_t offset, uint64_t vaddr,
                               uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
    if (is_64) {
        Elf64_Phdr ph = {type, 5, offset, vaddr, paddr, filesz, memsz, 4};
        memcpy(p, &ph, sizeof(ph));
    } else {
        Elf32_Phdr ph = {
            type, (uint32_t)offset, (uint32_t)vaddr, (uint32_t)paddr, (uint32_t)filesz, (uint32_t)memsz, 5,
            4};
        memcpy(p, &ph, sizeof(ph));
    }
}

static inline uint8_t *elf_good(bool is_64, bool pvh)
{
    uint8_t *b = elf_image;
    unsigned step = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint64_t virt = is_64 ? ELF_VIRTUAL : 0xc0000000;
    memset(b, 0, ELF_SIZE);
    for (unsigned i = ELF_TEXT_AT; i < ELF_SIZE; i++)
        b[i] = (uint8_t)(i * 13 + 1);
    if (is_64) {
        Elf64_Ehdr eh = {.e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = 1,
                         .e_entry = ELF_ENTRY,
                         .e_phoff = ELF_PHDR_AT,
                         .e_ehsize = sizeof(eh),
                         .e_phentsize = step,
                         .e_phnum = 3};
        memcpy(eh.e_ident, ELFMAG "\2\1\1", 7);
        memcpy(b, &eh, sizeof(eh));
    } else {
        Elf32_Ehdr eh = {.e_type = ET_EXEC,
                         .e_machine = EM_386,
                         .e_version = 1,
                         .e_entry = ELF_ENTRY,
                         .e_phoff = ELF_PHDR_AT,
                         .e_ehsize = sizeof(eh),
                         .e_phentsize = step,
                         .e_phnum = 3};
        memcpy(eh.e_ident, ELFMAG "\1\1\1", 7);
        memcpy(b, &eh, sizeof(eh));
    }
    elf_segment(b + ELF_PHDR_AT, is_64, PT_NOTE, ELF_NOTE_AT, 0, 0, 60, 60);
    elf_segment(b + ELF_PHDR_AT + step, is_64, PT_LOAD, ELF_TEXT_AT, virt + ELF_TEXT_PADDR, ELF_TEXT_PADDR,
                ELF_TEXT, ELF_TEXT);
    elf_segment(b + ELF_PHDR_AT + 2 * step, is_64, PT_LOAD, ELF_DATA_AT, virt + ELF_DATA_PADDR,
                ELF_DATA_PADDR, ELF_DATA, ELF_DATA_MEM);
    uint8_t *n = b + ELF_NOTE_AT; /* a note of somebody else (6 + 5 bytes, both padded), then Xen's */
    put32(n, 6);
    put32(n + 4, 5);
    put32(n + 8, 18);
    memcpy(n + 12, "Other", 6);
    n += 12 + 8 + 8;
    put32(n, 4);
    put32(n + 4, is_64 ? 8 : 4);
    put32(n + 8, pvh ? 18 : 17);
    memcpy(n + 12, "Xen", 4);
    put32(n + 16, ELF_PVH_ENTRY);
    return b;
}

/* --- Multiboot: into an ELF image, or a flat one of 16 KiB loaded at 1 MiB with its header at 0x40 */

enum {
    MB_FLAT = 16384,
    MB_FLAT_AT = 0x40,
    MB_FLAT_LOAD = 0x100000,
};
static uint8_t mb_image[MB_FLAT];

static inline void mb_header(uint8_t *h, uint32_t flags)
{
    put32(h, 0x1badb002);
    put32(h + 4, flags);
    put32(h + 8, 0u - 0x1badb002 - flags);
}

static inline uint8_t *mb_flat(void)
{
    uint8_t *b = mb_image;
    for (unsigned i = 0; i < MB_FLAT; i++)
        b[i] = (uint8_t)(i * 5 + 3);
    mb_header(b + MB_FLAT_AT, 1 << 16 | 3);
    put32(b + MB_FLAT_AT + 12, MB_FLAT_LOAD + MB_FLAT_AT);
    put32(b + MB_FLAT_AT + 16, MB_FLAT_LOAD);
    put32(b + MB_FLAT_AT + 20, MB_FLAT_LOAD + MB_FLAT);
    put32(b + MB_FLAT_AT + 24, MB_FLAT_LOAD + MB_FLAT + 0x1000);
    put32(b + MB_FLAT_AT + 28, MB_FLAT_LOAD + 0x80);
    return b;
}

#endif
