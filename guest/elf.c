/* SPDX-License-Identifier: MIT
 *
 * ELF kernels: the program headers say what goes where (by physical address); a Xen note says where PVH
 * enters, else e_entry is Linux' startup_64. Multiboot uses the same program headers.
 *
 * Everything is copied field by field into struct elf and checked there; segments must lie in RAM and not
 * over one another, which load_claim() sees to.
 *
 * Sources: System V ABI, chapter 5 (program header, notes); Xen public/elfnote.h (PHYS32_ENTRY); Linux
 * arch/x86/kernel/head_64.S (startup_64 is entered like the 64-bit entry of a bzImage).
 */
#include "guest/loader.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest/bytes.h"

enum {
    XEN_ELFNOTE_PHYS32_ENTRY = 18,
    LINUX_ELFNOTE_BUILD_SALT = 0x100,
    NOTE_HEAD = 12,      /* namesz, descsz, type */
    NOTES_MAX = 1 << 16, /* bytes of a PT_NOTE segment that are looked at */
    PHNUM_MAX = 512,
};

bool elf_is(const struct boot *boot)
{
    return boot->head_size >= SELFMAG && !memcmp(boot->head, ELFMAG, SELFMAG);
}

static uint64_t align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

static void parse_notes(struct elf *elf, const uint8_t *p, uint64_t size, uint64_t align)
{
    while (size >= NOTE_HEAD) {
        uint64_t namesz = get32(p), descsz = get32(p + 4);
        uint32_t type = get32(p + 8);
        uint64_t desc = align_up(NOTE_HEAD + namesz, align);
        uint64_t end = align_up(desc + descsz, align);
        if (desc > size || descsz > size - desc)
            return; /* cut short: what came before it counts */
        if (type == XEN_ELFNOTE_PHYS32_ENTRY && namesz == 4 && !memcmp(p + NOTE_HEAD, "Xen", 4) &&
            (descsz == 4 || descsz == 8)) {
            elf->has_pvh = true;
            elf->pvh_entry = descsz == 4 ? get32(p + desc) : get64(p + desc);
        }
        if (type == LINUX_ELFNOTE_BUILD_SALT && namesz == 6 && !memcmp(p + NOTE_HEAD, "Linux", 6) &&
            descsz > 0 && descsz <= sizeof(elf->build_salt) && p[desc + descsz - 1] == '\0')
            memcpy(elf->build_salt, p + desc, descsz);
        if (end >= size)
            return;
        p += end;
        size -= end;
    }
}

static bool read_notes(const struct image *image, struct elf *elf, uint64_t offset, uint64_t size,
                       uint64_t align)
{
    uint64_t n = size < NOTES_MAX ? size : NOTES_MAX;
    uint8_t *notes = malloc(n ? n : 1);
    if (!notes)
        return image_fail(image, "out of memory");
    bool ok = image_read(image, offset, notes, n);
    if (ok)
        parse_notes(elf, notes, n, align == 8 ? 8 : 4);
    free(notes);
    return ok;
}

static bool parse_segment(const struct image *image, struct elf *elf, unsigned n, uint32_t type,
                          uint64_t align, const struct elf_segment *s)
{
    if (type != PT_LOAD && type != PT_NOTE)
        return true;
    if (s->offset > image->size || s->filesz > image->size - s->offset)
        return image_fail(image,
                          "cut short: program header %u wants %" PRIu64 " bytes at %" PRIu64
                          ", the file has %" PRIu64,
                          n, s->filesz, s->offset, image->size);
    if (type == PT_NOTE)
        return read_notes(image, elf, s->offset, s->filesz, align);
    if (s->memsz == 0)
        return s->filesz == 0 ||
               image_fail(image, "program header %u has bytes in the file and none in memory", n);
    if (s->filesz > s->memsz)
        return image_fail(image,
                          "program header %u: p_filesz 0x%" PRIx64 " is larger than p_memsz 0x%" PRIx64, n,
                          s->filesz, s->memsz);
    if (s->memsz - 1 > UINT64_MAX - s->paddr)
        return image_fail(image, "program header %u: p_paddr 0x%" PRIx64 " + p_memsz 0x%" PRIx64 " wraps", n,
                          s->paddr, s->memsz);
    if (elf->count == ELF_SEGMENTS)
        return image_fail(image, "more than %d segments", ELF_SEGMENTS);
    elf->segments[elf->count++] = *s;
    return true;
}

bool elf_parse(struct boot *boot, struct elf *elf)
{
    const struct image *image = &boot->image;
    const uint8_t *h = boot->head;
    *elf = (struct elf){.is_64 = boot->head_size > EI_CLASS && h[EI_CLASS] == ELFCLASS64};
    bool is_64 = elf->is_64;
    if (boot->head_size < (is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
        return image_fail(image, "cut short in its ELF header: %" PRIu64 " bytes", image->size);
    if ((!is_64 && h[EI_CLASS] != ELFCLASS32) || h[EI_DATA] != ELFDATA2LSB)
        return image_fail(image, "not an ELF file of 32 or 64 bit, little endian");
    unsigned e_type = get16(h + offsetof(Elf64_Ehdr, e_type)),
             machine = get16(h + offsetof(Elf64_Ehdr, e_machine));
    if (machine != EM_X86_64 && machine != EM_386)
        return image_fail(image, "an ELF file for another machine (e_machine %u), not for x86", machine);
    if (e_type != ET_EXEC)
        return image_fail(image, "an ELF file of type %u, not an executable that is linked to an address",
                          e_type);

    elf->e_entry =
        is_64 ? get64(h + offsetof(Elf64_Ehdr, e_entry)) : get32(h + offsetof(Elf32_Ehdr, e_entry));
    uint64_t phoff =
        is_64 ? get64(h + offsetof(Elf64_Ehdr, e_phoff)) : get32(h + offsetof(Elf32_Ehdr, e_phoff));
    unsigned phentsize =
        get16(h + (is_64 ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize)));
    unsigned phnum = get16(h + (is_64 ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum)));
    if (phentsize != (is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
        return image_fail(image, "ELF program headers of %u bytes", phentsize);
    if (phnum == 0 || phnum > PHNUM_MAX)
        return image_fail(image, "%u ELF program headers", phnum);
    if (phoff > image->size || (uint64_t)phnum * phentsize > image->size - phoff)
        return image_fail(
            image, "its ELF program headers (%u at %" PRIu64 ") lie outside the file of %" PRIu64 " bytes",
            phnum, phoff, image->size);

    for (unsigned n = 0; n < phnum; n++) {
        uint8_t b[sizeof(Elf64_Phdr)];
        if (!image_read(image, phoff + (uint64_t)n * phentsize, b, phentsize))
            return false;
        struct elf_segment s;
        uint64_t align;
        if (is_64) {
            Elf64_Phdr ph;
            memcpy(&ph, b, sizeof(ph));
            s = (struct elf_segment){ph.p_offset, ph.p_filesz, ph.p_vaddr, ph.p_paddr, ph.p_memsz};
            align = ph.p_align;
        } else {
            Elf32_Phdr ph;
            memcpy(&ph, b, sizeof(ph));
            s = (struct elf_segment){ph.p_offset, ph.p_filesz, ph.p_vaddr, ph.p_paddr, ph.p_memsz};
            align = ph.p_align;
        }
        if (!parse_segment(image, elf, n, get32(b), align, &s))
            return false;
    }
    return elf->count || image_fail(image, "an ELF file with nothing to load");
}

bool elf_load(struct load *load, const struct elf *elf)
{
    for (unsigned i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segments[i];
        char part[32];
        snprintf(part, sizeof(part), "segment %u", i);
        if (!load_claim(load, part, s->paddr, s->memsz))
            return false;
    }
    for (unsigned i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segments[i];
        if (!load_file(load, load->image, s->offset, s->paddr, s->filesz) ||
            !load_zero(load, s->paddr + s->filesz, s->memsz - s->filesz))
            return false;
    }
    return true;
}

bool elf_entry(const struct load *load, const struct elf *elf, uint64_t entry, uint64_t *gpa)
{
    for (unsigned virt = 0; virt < 2; virt++) {
        for (unsigned i = 0; i < elf->count; i++) {
            const struct elf_segment *s = &elf->segments[i];
            uint64_t base = virt ? s->vaddr : s->paddr;
            if (entry < base || entry - base >= s->memsz)
                continue;
            *gpa = entry - base + s->paddr;
            return *gpa <= UINT32_MAX ||
                   image_fail(load->image, "its entry at 0x%" PRIx64 " lies above 4 GiB", *gpa);
        }
    }
    return image_fail(load->image, "its entry 0x%" PRIx64 " is in no segment that is loaded", entry);
}

static enum boot_parse elf_loader_parse(struct boot *boot)
{
    struct elf *elf = &boot->elf;
    if (!elf_is(boot))
        return BOOT_PARSE_OTHER;
    if (!elf_parse(boot, elf))
        return BOOT_PARSE_BAD;
    if (!elf->has_pvh && !elf->is_64) {
        image_fail(&boot->image,
                   "a 32-bit ELF file with neither a Multiboot header nor a PVH note (a Linux kernel has "
                   "a bzImage beside it)");
        return BOOT_PARSE_BAD;
    }
    boot->info = (struct boot_info){.format = elf->has_pvh ? BOOT_PVH : BOOT_ELF64,
                                    .is_32bit = !elf->is_64,
                                    .is_linux = true,
                                    .cmdline_max = BOOT_LINUX_CMDLINE_MAX};
    /* A bzImage's header says its release; of an ELF only the salt is known that Debian and Fedora build it with. */
    if (elf->build_salt[0] >= '1' && elf->build_salt[0] <= '9')
        boot_set_version(&boot->info, elf->build_salt);
    return BOOT_PARSE_OK;
}

static bool elf_loader_load(struct load *load)
{
    const struct elf *elf = &load->boot->elf;
    uint64_t entry, boot_params;
    if (!elf_load(load, elf))
        return false;
    if (elf->has_pvh)
        return pvh_load(load, elf);
    if (!elf_entry(load, elf, elf->e_entry, &entry) || !params_load(load, NULL, &boot_params) ||
        !load_state(load, BOOT_LONG64, entry))
        return false;
    load->state->rsi = boot_params;
    return true;
}

const struct boot_loader elf_loader = {elf_loader_parse, elf_loader_load};
