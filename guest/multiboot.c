/* SPDX-License-Identifier: MIT
 *
 * Multiboot 1, for bare-metal programs: a header in the first 8 KiB of an ELF file or of any file (then it
 * gives the load addresses), entered in 32-bit protected mode with EAX the loader's magic and EBX the
 * information block.
 *
 * Such programs take page 0, 0x1000 and what follows their image without asking, so all that we hand over
 * lies in low memory, as high as possible below 0x90000; modules that would reach below 0x80000 there lie at
 * the top of RAM.
 *
 * Source: Multiboot Specification 0.6.96, 3.1 (header), 3.2 (machine state), 3.3 (information).
 */
#include "guest/loader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "guest/bytes.h"

enum {
    MB_HEADER_MAGIC = 0x1badb002,
    MB_LOADER_MAGIC = 0x2badb002,
    MB_MODS_ALIGNED = 1 << 0, /* always done */
    MB_MEMORY_INFO = 1 << 1,  /* always given */
    MB_VIDEO_MODE = 1 << 2,
    MB_ADDRESSES = 1 << 16,
    MB_MUST = 0xffff, /* flags that a loader must understand */

    /* header */
    MBH_FLAGS = 4,
    MBH_CHECKSUM = 8,
    MBH_SHORT = 12,
    MBH_HEADER_ADDR = 12,
    MBH_LOAD_ADDR = 16,
    MBH_LOAD_END_ADDR = 20,
    MBH_BSS_END_ADDR = 24,
    MBH_ENTRY_ADDR = 28,
    MBH_SIZE = 32,

    /* information */
    MBI_FLAGS = 0,
    MBI_MEM_LOWER = 4,
    MBI_MEM_UPPER = 8,
    MBI_CMDLINE = 16,
    MBI_MODS_COUNT = 20,
    MBI_MODS_ADDR = 24,
    MBI_MMAP_LENGTH = 44,
    MBI_MMAP_ADDR = 48,
    MBI_BOOT_LOADER_NAME = 64,
    MBI_SIZE = 120,
    MBI_HAS_MEMORY = 1 << 0,
    MBI_HAS_CMDLINE = 1 << 2,
    MBI_HAS_MODS = 1 << 3,
    MBI_HAS_MMAP = 1 << 6,
    MBI_HAS_LOADER_NAME = 1 << 9,

    MMAP_ENTRY = 24, /* size (of the rest), addr, len, type */
    MOD_ENTRY = 16,  /* start, end, string, 0 */
    MODS_MAX = 64,
    CMDLINE_MAX = 65535,
    LOW_END = 0xa0000,
    MODULES_MIN = 0x80000, /* below is where programs put stacks and start further processors */
};

/* 3.1.2 and 3.1.3: from the header's place in the file and in memory follows the place of all the rest. All
 * sums are of 32-bit values in 64 bits, so none wraps. */
static bool parse_addresses(const struct image *image, const uint8_t *h, uint64_t at, struct multiboot *mb)
{
    uint64_t header = get32(h + MBH_HEADER_ADDR), load = get32(h + MBH_LOAD_ADDR),
             load_end = get32(h + MBH_LOAD_END_ADDR), bss_end = get32(h + MBH_BSS_END_ADDR),
             entry = get32(h + MBH_ENTRY_ADDR);
    if (header < load)
        return image_fail(image, "Multiboot header_addr 0x%" PRIx64 " lies before load_addr 0x%" PRIx64,
                          header, load);
    if (header - load > at)
        return image_fail(image,
                          "Multiboot load_addr 0x%" PRIx64
                          " lies before the start of the file (header_addr 0x%" PRIx64 ", header at %" PRIu64
                          ")",
                          load, header, at);
    mb->offset = at - (header - load);
    uint64_t rest = image->size - mb->offset;
    if (load_end == 0)
        load_end = load + rest;
    if (load_end <= load)
        return image_fail(image, "Multiboot load_end_addr 0x%" PRIx64 " is not after load_addr 0x%" PRIx64,
                          load_end, load);
    if (load_end - load > rest)
        return image_fail(
            image, "cut short: Multiboot wants %" PRIu64 " bytes from %" PRIu64 ", the file has %" PRIu64,
            load_end - load, mb->offset, image->size);
    if (header + MBH_SIZE > load_end)
        return image_fail(image, "Multiboot load_end_addr 0x%" PRIx64 " cuts its own header at 0x%" PRIx64,
                          load_end, header);
    if (bss_end == 0)
        bss_end = load_end;
    if (bss_end < load_end)
        return image_fail(image, "Multiboot bss_end_addr 0x%" PRIx64 " lies before load_end_addr 0x%" PRIx64,
                          bss_end, load_end);
    if (entry < load || entry >= load_end)
        return image_fail(image,
                          "Multiboot entry_addr 0x%" PRIx64 " is outside of what is loaded (0x%" PRIx64
                          "-0x%" PRIx64 ")",
                          entry, load, load_end - 1);
    mb->by_address = true;
    mb->load = load;
    mb->load_size = load_end - load;
    mb->bss_end = bss_end;
    mb->entry = entry;
    return true;
}

static bool parse_at(struct boot *boot, uint64_t at, struct multiboot *mb)
{
    const uint8_t *h = boot->head + at;
    mb->flags = get32(h + MBH_FLAGS);
    if (mb->flags & MB_VIDEO_MODE)
        return image_fail(&boot->image,
                          "its Multiboot header asks for a video mode, and there is no display");
    if (mb->flags & MB_MUST & ~(MB_MODS_ALIGNED | MB_MEMORY_INFO))
        return image_fail(&boot->image, "its Multiboot header asks for unknown features (flags 0x%x)",
                          mb->flags);
    if (!(mb->flags & MB_ADDRESSES)) {
        if (!elf_is(boot))
            return image_fail(&boot->image,
                              "its Multiboot header gives no addresses, and the file is no ELF file");
        return elf_parse(boot, &mb->elf);
    }
    if (boot->head_size - at < MBH_SIZE)
        return image_fail(&boot->image, "its Multiboot header at %" PRIu64 " is cut short", at);
    return parse_addresses(&boot->image, h, at, mb);
}

static enum boot_parse multiboot_parse(struct boot *boot)
{
    for (uint64_t at = 0; at + MBH_SHORT <= boot->head_size; at += 4) {
        const uint8_t *h = boot->head + at;
        if (get32(h) != MB_HEADER_MAGIC || get32(h) + get32(h + MBH_FLAGS) + get32(h + MBH_CHECKSUM) != 0)
            continue;
        if (!parse_at(boot, at, &boot->multiboot))
            return BOOT_PARSE_BAD;
        boot->info =
            (struct boot_info){.format = BOOT_MULTIBOOT, .is_32bit = true, .cmdline_max = CMDLINE_MAX};
        return BOOT_PARSE_OK;
    }
    return BOOT_PARSE_OTHER;
}

static bool load_program(struct load *load, const struct multiboot *mb, uint64_t *entry, bool *low)
{
    if (!mb->by_address) {
        for (unsigned i = 0; i < mb->elf.count; i++)
            *low |= mb->elf.segments[i].paddr < LOW_END;
        return elf_load(load, &mb->elf) && elf_entry(load, &mb->elf, mb->elf.e_entry, entry);
    }
    *low = mb->load < LOW_END;
    *entry = mb->entry;
    return load_claim(load, "the program", mb->load, mb->bss_end - mb->load) &&
           load_file(load, load->image, mb->offset, mb->load, mb->load_size) &&
           load_zero(load, mb->load + mb->load_size, mb->bss_end - mb->load - mb->load_size);
}

static bool load_module(struct load *load, unsigned n, bool low, uint8_t *entry)
{
    struct image image;
    uint64_t gpa, name;
    if (!load_open_initrd(load, n, &image))
        return false;
    bool ok = (!low && place_find(&load->place, image.size, 4096, MODULES_MIN, BOOT_TABLES_END, &gpa)) ||
              place_find(&load->place, image.size, 4096, 0x100000, load->ram_below_4g, &gpa) ||
              image_fail(&image,
                         "no room for a module of %" PRIu64 " KiB beside the program (give more RAM with -m)",
                         image.size >> 10);
    ok = ok && load_file(load, &image, 0, gpa, image.size) && load_string(load, image.name, &name);
    image_close(&image);
    if (!ok)
        return false;
    put32(entry, (uint32_t)gpa);
    put32(entry + 4, (uint32_t)(gpa + image.size));
    put32(entry + 8, (uint32_t)name);
    put32(entry + 12, 0);
    return true;
}

/* 3.3: mmap entries carry the size of what follows their size field. */
static unsigned put_mmap(uint8_t *p, const struct place *place)
{
    for (unsigned i = 0; i < place->map_count; i++, p += MMAP_ENTRY) {
        put32(p, MMAP_ENTRY - 4);
        put64(p + 4, place->map[i].addr);
        put64(p + 12, place->map[i].size);
        put32(p + 20, place->map[i].type);
    }
    return place->map_count * MMAP_ENTRY;
}

static bool load_info(struct load *load, bool low, uint64_t *gpa)
{
    uint8_t info[MBI_SIZE] = {0}, mmap[MMAP_ENTRY * BOOT_E820_MAX], mods[MOD_ENTRY * MODS_MAX];
    unsigned n_mods = load->config->n_initrds;
    uint64_t cmdline, loader, mmap_at, mods_at;

    if (n_mods > MODS_MAX)
        return image_fail(load->image, "%u modules (at most %d)", n_mods, MODS_MAX);
    unsigned mmap_size = put_mmap(mmap, &load->place);
    if (!load_table(load, sizeof(info), 16, gpa) || !load_table(load, mmap_size, 16, &mmap_at) ||
        !load_bytes(load, mmap_at, mmap, mmap_size) || !load_string(load, "vmlet", &loader) ||
        !load_string(load, load->cmdline, &cmdline))
        return false;
    for (unsigned n = 0; n < n_mods; n++) {
        if (!load_module(load, n, low, mods + MOD_ENTRY * n))
            return false;
    }
    uint64_t mods_size = (uint64_t)MOD_ENTRY * n_mods;
    if (!load_table(load, mods_size ? mods_size : 1, 16, &mods_at) ||
        !load_bytes(load, mods_at, mods, mods_size))
        return false;

    put32(info + MBI_FLAGS,
          MBI_HAS_MEMORY | MBI_HAS_CMDLINE | MBI_HAS_MODS | MBI_HAS_MMAP | MBI_HAS_LOADER_NAME);
    put32(info + MBI_MEM_LOWER, (uint32_t)(load->place.map[0].size >> 10));
    put32(info + MBI_MEM_UPPER,
          load->ram_below_4g > 0x100000 ? (uint32_t)((load->ram_below_4g - 0x100000) >> 10) : 0);
    put32(info + MBI_CMDLINE, (uint32_t)cmdline);
    put32(info + MBI_MODS_COUNT, n_mods);
    put32(info + MBI_MODS_ADDR, (uint32_t)mods_at);
    put32(info + MBI_MMAP_LENGTH, mmap_size);
    put32(info + MBI_MMAP_ADDR, (uint32_t)mmap_at);
    put32(info + MBI_BOOT_LOADER_NAME, (uint32_t)loader);
    return load_bytes(load, *gpa, info, sizeof(info));
}

static bool multiboot_load(struct load *load)
{
    uint64_t entry, info;
    bool low = false;
    if (!load_program(load, &load->boot->multiboot, &entry, &low) || !load_info(load, low, &info) ||
        !load_state(load, BOOT_PROTECTED32, entry))
        return false;
    load->state->rax = MB_LOADER_MAGIC;
    load->state->rbx = info;
    return true;
}

const struct boot_loader multiboot_loader = {multiboot_parse, multiboot_load};
