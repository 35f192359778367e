// SPDX-License-Identifier: MIT
/* The files that guest/symbols.h takes: System.map, ELF. Untrusted: everything is checked against the file's size before it
 * is used, and what is kept is capped. */
#include "guest/symbols_priv.h"

#include "guest/bytes.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TABLE_MAX = 256 << 20, /* bytes of a System.map, a symbol table, its strings */
    SECTIONS_MAX = 1 << 20,
};

enum rank {
    RANK_GLOBAL, /* code */
    RANK_LOCAL,
    RANK_DATA,
};

/* Symbols of tools: one that stands before a function would hide the end of the function before it. */
static bool is_noise(const char *name)
{
    return !strncmp(name, "__pfx_", 6) || !strncmp(name, "__cfi_", 6) || !strncmp(name, ".L", 2) ||
           *name == '$';
}

/* ---- ADDRESS TYPE NAME [\t[MODULE]] */

static uint8_t rank_of(char type)
{
    return type == 'T' || type == 'W' ? RANK_GLOBAL : type == 't' || type == 'w' ? RANK_LOCAL : RANK_DATA;
}

static bool map_line(struct symbols *s, const struct image *image, const char *line, unsigned number)
{
    char *end;
    size_t digits = strspn(line, "0123456789abcdefABCDEF");
    const char *name = line + digits + 3;
    if (digits < 8 || digits > 16 || line[digits] != ' ' || !line[digits + 1] || line[digits + 2] != ' ')
        return image_fail(image,
                          number == 1
                              ? "neither an ELF file nor a System.map: line %u is not \"ADDRESS TYPE NAME\""
                              : "line %u is not \"ADDRESS TYPE NAME\"",
                          number);
    if (strstr(name, "System.map is in "))
        return image_fail(
            image,
            "it is a stub, with no symbol in it: \"%.160s\" (install that package, and name the "
            "vmlinux or System.map in its /usr/lib/debug/boot)",
            name);
    uint64_t addr = strtoull(line, &end, 16);
    size_t n = strcspn(name, " \t");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return image_fail(image, "line %u has a name that cannot be one", number);
    if (line[digits + 1] == 'A' || line[digits + 1] == 'a' || line[digits + 1] == 'U' || is_noise(name))
        return true;
    return symbols_add(s, addr, rank_of(line[digits + 1]), name, n) ||
           image_fail(image, "too many symbols for the memory");
}

bool symbols_read_map(struct symbols *s, const struct image *image)
{
    if (image->size > TABLE_MAX)
        return image_fail(image, "neither an ELF file nor a System.map: too large for one");
    char *text = malloc(image->size + 1);
    if (!text)
        return image_fail(image, "out of memory");
    bool ok = image_read(image, 0, text, image->size);
    unsigned number = 0;
    uint64_t any = 0;
    text[image->size] = 0;
    if (ok && memchr(text, 0, image->size))
        ok = image_fail(image, "neither an ELF file nor a System.map: it is no text");
    for (char *line = text, *next; ok && *line; line = next) {
        next = strchrnul(line, '\n');
        if (*next)
            *next++ = 0;
        ok = map_line(s, image, line, ++number);
        any |= ok ? strtoull(line, NULL, 16) : 1;
    }
    if (ok && number && !any)
        ok = image_fail(image,
                        "all addresses in it are 0: /proc/kallsyms hides them from who may not see them "
                        "(kernel.kptr_restrict)");
    free(text);
    return ok;
}

/* ---- ELF */

struct section {
    uint32_t type, link;
    uint64_t offset, size, entsize;
};

struct file {
    const struct image *image;
    bool is_64;
    uint64_t shoff, shnum;
    unsigned shentsize;
};

static bool section_read(const struct file *f, uint64_t index, struct section *out)
{
    uint8_t b[sizeof(Elf64_Shdr)];
    if (!image_read(f->image, f->shoff + index * f->shentsize, b, f->shentsize))
        return false;
    if (f->is_64) {
        Elf64_Shdr sh;
        memcpy(&sh, b, sizeof sh);
        *out = (struct section){sh.sh_type, sh.sh_link, sh.sh_offset, sh.sh_size, sh.sh_entsize};
    } else {
        Elf32_Shdr sh;
        memcpy(&sh, b, sizeof sh);
        *out = (struct section){sh.sh_type, sh.sh_link, sh.sh_offset, sh.sh_size, sh.sh_entsize};
    }
    return true;
}

static bool header_read(struct file *f)
{
    const struct image *image = f->image;
    uint8_t h[sizeof(Elf64_Ehdr)] = {0};
    uint64_t n = image->size < sizeof h ? image->size : sizeof h;
    if (!image_read(image, 0, h, n))
        return false;
    f->is_64 = h[EI_CLASS] == ELFCLASS64;
    if (n < (f->is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
        return image_fail(image, "cut short in its ELF header");
    if ((!f->is_64 && h[EI_CLASS] != ELFCLASS32) || h[EI_DATA] != ELFDATA2LSB)
        return image_fail(image, "not an ELF file of 32 or 64 bit, little endian");
    unsigned type = get16(h + offsetof(Elf64_Ehdr, e_type)),
             machine = get16(h + offsetof(Elf64_Ehdr, e_machine));
    if (machine != EM_X86_64 && machine != EM_386)
        return image_fail(image, "an ELF file for another machine (e_machine %u), not for x86", machine);
    if (type != ET_EXEC && type != ET_DYN)
        return image_fail(image, "an ELF file of type %u has no addresses yet (name vmlinux, not a module)",
                          type);
    f->shoff = f->is_64 ? get64(h + offsetof(Elf64_Ehdr, e_shoff)) : get32(h + offsetof(Elf32_Ehdr, e_shoff));
    f->shentsize =
        get16(h + (f->is_64 ? offsetof(Elf64_Ehdr, e_shentsize) : offsetof(Elf32_Ehdr, e_shentsize)));
    f->shnum = get16(h + (f->is_64 ? offsetof(Elf64_Ehdr, e_shnum) : offsetof(Elf32_Ehdr, e_shnum)));
    if (!f->shoff)
        return image_fail(image, "it has no symbol table: it was stripped");
    if (f->shentsize != (f->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr)))
        return image_fail(image, "ELF section headers of %u bytes", f->shentsize);
    struct section first;
    if (f->shoff > image->size || f->shentsize > image->size - f->shoff || !section_read(f, 0, &first))
        return image_fail(image, "cut short: its section headers lie outside the file");
    if (!f->shnum) /* more than 0xff00: the first header has the number */
        f->shnum = first.size;
    if (f->shnum > SECTIONS_MAX || f->shnum * f->shentsize > image->size - f->shoff)
        return image_fail(image, "cut short: its section headers lie outside the file");
    return true;
}

/* The section's bytes, with a 0 behind them; NULL: told. */
static char *section_bytes(const struct file *f, const struct section *s, const char *what)
{
    char *bytes = NULL;
    if (s->size > TABLE_MAX)
        image_fail(f->image, "its %s is too large: %" PRIu64 " bytes", what, s->size);
    else if (s->offset > f->image->size || s->size > f->image->size - s->offset)
        image_fail(f->image, "cut short: its %s lies outside the file", what);
    else if (!(bytes = malloc(s->size + 1)))
        image_fail(f->image, "out of memory");
    else if (!image_read(f->image, s->offset, bytes, s->size)) {
        free(bytes);
        bytes = NULL;
    }
    if (bytes)
        bytes[s->size] = 0;
    return bytes;
}

static bool add_elf_symbol(struct symbols *s, const char *p, bool is_64, const char *strings,
                           uint64_t strings_size)
{
    Elf64_Sym sym;
    if (is_64) {
        memcpy(&sym, p, sizeof sym);
    } else {
        Elf32_Sym narrow;
        memcpy(&narrow, p, sizeof narrow);
        sym = (Elf64_Sym){.st_name = narrow.st_name,
                          .st_info = narrow.st_info,
                          .st_shndx = narrow.st_shndx,
                          .st_value = narrow.st_value};
    }
    unsigned type = ELF64_ST_TYPE(sym.st_info);
    bool is_code = type == STT_FUNC || type == STT_NOTYPE;
    if ((!is_code && type != STT_OBJECT) || sym.st_shndx == SHN_UNDEF || sym.st_shndx == SHN_ABS ||
        sym.st_name >= strings_size)
        return true;
    const char *name = strings + sym.st_name; /* ends: strings do */
    bool global = ELF64_ST_BIND(sym.st_info) != STB_LOCAL;
    uint8_t rank = !is_code ? RANK_DATA : global ? RANK_GLOBAL : RANK_LOCAL;
    size_t n = strnlen(name, SYMBOLS_NAME);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
            return true;
    return is_noise(name) || symbols_add(s, sym.st_value, rank, name, n);
}

static bool add_table(struct symbols *s, const struct file *f, const struct section *table)
{
    struct section strings;
    size_t width = f->is_64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
    if (table->entsize != width)
        return image_fail(f->image, "ELF symbols of %" PRIu64 " bytes", table->entsize);
    if (table->link >= f->shnum || !section_read(f, table->link, &strings) || strings.type != SHT_STRTAB)
        return image_fail(f->image, "its symbol table has no names");
    char *symbols = section_bytes(f, table, "symbol table");
    char *names = symbols ? section_bytes(f, &strings, "string table") : NULL;
    bool ok = names != NULL;
    for (uint64_t i = 0; ok && i < table->size / width; i++)
        ok = add_elf_symbol(s, symbols + i * width, f->is_64, names, strings.size) ||
             image_fail(f->image, "too many symbols for the memory");
    free(symbols);
    free(names);
    return ok;
}

bool symbols_read_elf(struct symbols *s, const struct image *image)
{
    struct file f = {.image = image};
    if (!header_read(&f))
        return false;
    for (uint64_t i = 0; i < f.shnum; i++) {
        struct section section;
        if (!section_read(&f, i, &section))
            return false;
        if (section.type == SHT_SYMTAB)
            return add_table(s, &f, &section);
    }
    return image_fail(image, "it has no symbol table: it was stripped");
}
