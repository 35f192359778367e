/* SPDX-License-Identifier: MIT
 *
 * From a kernel file to a guest that can be started: which format it is, the image, the initrds and the
 * command line in guest RAM, the tables that the format's protocol hands over, and the state of the first
 * vCPU.
 *
 *   boot_open()   opens the file, finds the format, checks every header field; guest RAM is not needed yet
 *   boot_load()   writes to guest RAM and fills in the first vCPU's registers
 *   boot_close()
 *
 * Two steps, because what goes into a generated initramfs depends on the kernel (its release, 32 or 64 bit).
 *
 * Formats, in the order in which they are tried:
 *   bzImage     64-bit entry (protocol >= 2.12, XLF_KERNEL_64), else the 32-bit entry (protocol >= 2.06)
 *   Multiboot   version 1 header in the first 8 KiB: ELF, or any file with load addresses in the header
 *   PVH         ELF with XEN_ELFNOTE_PHYS32_ENTRY (type 18, owner "Xen")
 *   ELF         64-bit vmlinux: entered at e_entry like the 64-bit entry of a bzImage
 *
 * Everything in the file is untrusted: a header that cannot be right is refused with one sentence, which
 * names the file and the reason and is left for the caller to show; nothing here ends the process. The file
 * is read with pread(), never mapped, so one that shrinks meanwhile is an error message and not a SIGBUS.
 * FIFOs, folders and devices are refused.
 *
 * Owner of all of it: the thread that sets the machine up, before any vCPU runs. No locks, no globals.
 *
 * Sources: Linux Documentation/arch/x86/boot.rst and zero-page.rst; Xen public/arch-x86/hvm/start_info.h and
 * docs/misc/pvh; Multiboot Specification 0.6.96; System V ABI, ELF chapters.
 */
#ifndef GUEST_BOOT_H
#define GUEST_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ram; /* mem/ram.h */

enum boot_format {
    BOOT_BZIMAGE64,
    BOOT_BZIMAGE32,
    BOOT_PVH,
    BOOT_ELF64,
    BOOT_MULTIBOOT,
};

/* What is known of a kernel before it is loaded. */
struct boot_info {
    enum boot_format format;
    bool is_32bit;        /* the kernel runs no 64-bit programs (for Multiboot: meaningless, true) */
    bool is_linux;        /* false for Multiboot: no default command line, no generated initramfs */
    uint32_t cmdline_max; /* longest command line the kernel takes, without the NUL */
    char release[128];    /* "6.1.0-18-cloud-amd64"; empty when the image does not say (often ELF) */
    char version[256];    /* the whole string, release first; empty as above */
};

/* A file (path) or bytes in memory (path NULL, or a name for messages and module strings, and data !=
 * NULL). */
struct boot_source {
    const char *path;
    const void *data;
    uint64_t size; /* with data only */
};

struct boot_config {
    struct ram *ram;
    const char *cmdline; /* final; for Multiboot the program's name is put before it. NULL is "" */
    const struct boot_source *initrds;
    unsigned n_initrds; /* Linux and PVH get them joined, each padded to 4 bytes; Multiboot one module each */
    uint64_t rsdp;      /* guest address of ACPI's RSDP, 0 for none */
    /* handed to Linux as SETUP_RNG_SEED, or NULL; the copy in guest RAM is the only one made */
    const void *rng_seed;
    uint32_t rng_seed_size;
};

/* The state in which the first vCPU starts. Interrupts are off (rflags 2), A20 is on. Segments are flat, base
 * 0, limit 4 GiB, present, DPL 0: CS is BOOT_CS, execute/read, accessed; DS, ES, FS, GS and SS are BOOT_DS,
 * read/write, accessed. TR and LDTR as after reset. A GDT that says the same lies in guest RAM. */
enum boot_mode {
    BOOT_PROTECTED32, /* CS.D 1, CS.L 0; paging off */
    BOOT_LONG64,      /* CS.D 0, CS.L 1; paging on, the first 4 GiB mapped one to one */
};
enum {
    BOOT_CS = 0x10,
    BOOT_DS = 0x18,
};

struct boot_state {
    enum boot_mode mode;
    uint64_t rip, rsp;
    uint64_t rax, rbx, rsi, rdi; /* all other general registers are 0 */
    uint64_t rflags;
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_base;
    uint16_t gdt_limit;
};

struct boot; /* an opened kernel */

/* NULL on failure, with one sentence in err ("kernel FILE: reason"). path is also the name in
 * messages. */
struct boot *boot_open(const char *path, char *err, size_t err_size) __attribute__((warn_unused_result));
/* The same from memory; data must stay until boot_close(). For tests and fuzzing. */
struct boot *boot_open_data(const char *name, const void *data, uint64_t size, char *err, size_t err_size)
    __attribute__((warn_unused_result));
void boot_close(struct boot *boot);

const struct boot_info *boot_info(const struct boot *boot);

/* May be called once a boot. On failure guest RAM may hold parts of the image. */
bool boot_load(struct boot *boot, const struct boot_config *config, struct boot_state *state, char *err,
               size_t err_size) __attribute__((warn_unused_result));

/* --- the memory map: one table, from which boot_params, PVH's and Multiboot's maps are made, and with which
 * ACPI agrees */

enum boot_e820_type {
    BOOT_E820_RAM = 1,
    BOOT_E820_RESERVED = 2,
};
struct boot_e820 {
    uint64_t addr, size;
    enum boot_e820_type type;
};
enum {
    BOOT_E820_MAX = 8,
};

/* The map of a machine with ram_size bytes of RAM, ascending, without overlap; returns the number of
 * entries. */
unsigned boot_e820(uint64_t ram_size, struct boot_e820 map[BOOT_E820_MAX]);

#endif
