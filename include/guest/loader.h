/* SPDX-License-Identifier: MIT
 *
 * What the loaders of the formats share, inside guest/: one boot_load() in progress, how bytes get into guest
 * RAM, and the tables that more than one protocol hands over. Not for others; they use guest/boot.h.
 *
 * A format is a struct boot_loader: parse() looks at the head of the file and says whether the format is its
 * own, load() does the work. Both tell failures by image_fail() of the kernel's image, or of the initrd's.
 */
#ifndef GUEST_LOADER_H
#define GUEST_LOADER_H

#include "guest/boot.h"
#include "guest/image.h"
#include "guest/place.h"

enum {
    BOOT_HEAD = 8192, /* bytes of the file that parse() sees; Multiboot's header lies in them */
    /* The tables for the kernel lie between these: not in page 0 or at 0x1000 where programs put their first
     * CPU's things, not above where BIOS data may be expected. */
    BOOT_TABLES_MIN = 0x10000,
    BOOT_TABLES_END = 0x90000,
    BOOT_LINUX_CMDLINE_MAX = 2047, /* COMMAND_LINE_SIZE of x86 less the NUL, where the image does not say */
};

struct bzimage {
    uint8_t header[0x290 - 0x1f1]; /* the setup header as it goes to boot_params, from 0x1f1; zero where the
                                      file has none */
    uint16_t version;
    bool entry64;
    uint64_t payload_offset, payload_size; /* protected-mode code in the file */
    uint64_t load, claim, claim_size;      /* where it is put; what it needs, from where on */
};

enum {
    ELF_SEGMENTS = 64,
};
struct elf {
    struct elf_segment {
        uint64_t offset, filesz, vaddr, paddr, memsz;
    } segments[ELF_SEGMENTS];
    unsigned count;
    uint64_t e_entry;
    bool is_64;
    bool has_pvh;
    uint64_t pvh_entry;
    char build_salt[128]; /* of Linux' note, which distributions set to the release */
};

struct multiboot {
    uint32_t flags;
    bool by_address; /* load addresses in the header instead of ELF's */
    uint64_t offset, load, load_size, bss_end, entry;
    struct elf elf;
};

struct boot {
    struct image image; /* the kernel */
    struct boot_info info;
    const struct boot_loader *loader;
    uint32_t head_size;
    uint8_t head[BOOT_HEAD];
    union {
        struct bzimage bzimage;
        struct elf elf;
        struct multiboot multiboot;
    };
};

struct load {
    struct boot *boot;
    const struct image *image; /* the kernel's */
    const struct boot_config *config;
    struct boot_state *state;
    const char *cmdline;
    uint64_t ram_size;
    uint64_t ram_below_4g;
    struct place place;
};

enum boot_parse {
    BOOT_PARSE_OK,
    BOOT_PARSE_OTHER, /* not of this format: the next is asked */
    BOOT_PARSE_BAD,   /* of this format, and refused; the reason is told */
};

struct boot_loader {
    enum boot_parse (*parse)(struct boot *boot);
    bool (*load)(struct load *load);
};

extern const struct boot_loader bzimage_loader, multiboot_loader, elf_loader; /* elf: PVH or 64-bit entry */

/* Fills in version and release from an untrusted string, cut at sizes and line ends, made printable; the release becomes
 * part of a path (/lib/modules/RELEASE) and stays empty when it could leave it. */
void boot_set_version(struct boot_info *info, const char *s);

/* --- load.c: bytes into guest RAM. gpa ranges must have been claimed or found before. */

/* Claims [gpa, gpa+size) for a part of the kernel ("segment 3"), or says why it cannot be there. */
bool load_claim(struct load *load, const char *part, uint64_t gpa, uint64_t size)
    __attribute__((warn_unused_result));
/* A place for a table of the boot protocol below BOOT_TABLES_END, or else anywhere in RAM below 4 GiB. */
bool load_table(struct load *load, uint64_t size, uint64_t align, uint64_t *gpa)
    __attribute__((warn_unused_result));
bool load_bytes(struct load *load, uint64_t gpa, const void *data, uint64_t size)
    __attribute__((warn_unused_result));
bool load_zero(struct load *load, uint64_t gpa, uint64_t size) __attribute__((warn_unused_result));
/* From a file straight into guest RAM. */
bool load_file(struct load *load, const struct image *image, uint64_t offset, uint64_t gpa, uint64_t size)
    __attribute__((warn_unused_result));
/* A NUL-ended string as a table. */
bool load_string(struct load *load, const char *s, uint64_t *gpa) __attribute__((warn_unused_result));

/* All initrds one after another, each padded to 4 bytes, as high as possible below limit; size 0 when there
 * are none. */
bool load_initrds(struct load *load, uint64_t limit, uint64_t *gpa, uint64_t *size)
    __attribute__((warn_unused_result));
/* The image for source n of the configuration; image_close() it. */
bool load_open_initrd(struct load *load, unsigned n, struct image *image) __attribute__((warn_unused_result));

/* GDT, page tables and registers for the mode, with rip; the caller adds the protocol's own registers. */
bool load_state(struct load *load, enum boot_mode mode, uint64_t rip) __attribute__((warn_unused_result));

/* --- params.c: Linux' boot_params ("zero page") with initrd, command line, e820, RSDP and random seed, for
 * both entries of a bzImage and for an ELF's. bz is NULL for an ELF. The guest address goes to *gpa. */
bool params_load(struct load *load, const struct bzimage *bz, uint64_t *gpa)
    __attribute__((warn_unused_result));

/* --- elf.c: the program headers, for both users. */
bool elf_parse(struct boot *boot, struct elf *elf) __attribute__((warn_unused_result));
bool elf_load(struct load *load, const struct elf *elf) __attribute__((warn_unused_result));
/* A physical entry address: as it is when a segment is loaded there, else translated like a virtual one. */
bool elf_entry(const struct load *load, const struct elf *elf, uint64_t entry, uint64_t *gpa)
    __attribute__((warn_unused_result));
bool elf_is(const struct boot *boot);

/* --- pvh.c */
bool pvh_load(struct load *load, const struct elf *elf) __attribute__((warn_unused_result));

#endif
