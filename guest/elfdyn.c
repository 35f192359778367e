// SPDX-License-Identifier: MIT
/* ELF headers of untrusted files, read with pread() in bounded pieces: see include/guest/elfdyn.h. 32-bit structures are
 * widened to the 64-bit ones on the way in, so that only one form is looked at. */
#include "guest/elfdyn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SEGMENTS_MAX = 128,
    DYNAMIC_MAX = 1 << 16, /* bytes */
};

struct file {
    int fd;
    uint64_t size;
    uint8_t bits;
    Elf64_Ehdr head;
    Elf64_Phdr segments[SEGMENTS_MAX];
    unsigned count;
};

static bool get(const struct file *f, uint64_t at, void *out, size_t n)
{
    if (n > f->size || at > f->size - n)
        return false;
    for (size_t done = 0; done < n;) {
        ssize_t part = pread(f->fd, (char *)out + done, n - done, (off_t)(at + done));
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        done += (size_t)part;
    }
    return true;
}

static bool open_file(struct file *f, const char *path)
{
    struct stat st;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0)
        return false;
    if (fstat(f->fd, &st) || !S_ISREG(st.st_mode)) {
        close(f->fd);
        return false;
    }
    f->size = (uint64_t)st.st_size;
    return true;
}

static bool read_head(struct file *f)
{
    union {
        uint8_t ident[EI_NIDENT];
        Elf32_Ehdr e32;
        Elf64_Ehdr e64;
    } u;
    if (!get(f, 0, u.ident, sizeof u.ident) || memcmp(u.ident, ELFMAG, SELFMAG) ||
        u.ident[EI_DATA] != ELFDATA2LSB)
        return false;
    if (u.ident[EI_CLASS] == ELFCLASS64) {
        f->bits = 64;
        if (!get(f, 0, &u.e64, sizeof u.e64))
            return false;
        f->head = u.e64;
        return true;
    }
    if (u.ident[EI_CLASS] != ELFCLASS32 || !get(f, 0, &u.e32, sizeof u.e32))
        return false;
    f->bits = 32;
    f->head = (Elf64_Ehdr){
        .e_type = u.e32.e_type,
        .e_machine = u.e32.e_machine,
        .e_phoff = u.e32.e_phoff,
        .e_phentsize = u.e32.e_phentsize,
        .e_phnum = u.e32.e_phnum,
    };
    return true;
}

static bool read_segments(struct file *f)
{
    size_t each = f->bits == 64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (!f->head.e_phnum)
        return true;
    if (f->head.e_phnum > SEGMENTS_MAX || f->head.e_phentsize != each || f->head.e_phoff > f->size)
        return false;
    for (unsigned i = 0; i < f->head.e_phnum; i++) {
        uint64_t at = f->head.e_phoff + i * each;
        Elf32_Phdr p;
        if (f->bits == 64) {
            if (!get(f, at, &f->segments[i], each))
                return false;
            continue;
        }
        if (!get(f, at, &p, each))
            return false;
        f->segments[i] = (Elf64_Phdr){.p_type = p.p_type,
                                      .p_offset = p.p_offset,
                                      .p_vaddr = p.p_vaddr,
                                      .p_filesz = p.p_filesz,
                                      .p_memsz = p.p_memsz};
    }
    f->count = f->head.e_phnum;
    return true;
}

static const Elf64_Phdr *segment(const struct file *f, uint32_t type)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->segments[i].p_type == type)
            return &f->segments[i];
    return NULL;
}

/* Where the byte at a virtual address lies in the file, and how many follow it there. */
static bool offset_of(const struct file *f, uint64_t vaddr, uint64_t *at, uint64_t *left)
{
    for (unsigned i = 0; i < f->count; i++) {
        const Elf64_Phdr *p = &f->segments[i];
        if (p->p_type != PT_LOAD || vaddr < p->p_vaddr || vaddr - p->p_vaddr >= p->p_filesz)
            continue;
        uint64_t in = vaddr - p->p_vaddr;
        if (p->p_offset > f->size || in >= f->size - p->p_offset)
            return false;
        *at = p->p_offset + in;
        *left = p->p_filesz - in < f->size - *at ? p->p_filesz - in : f->size - *at;
        return true;
    }
    return false;
}

/* A string of at most PATH_MAX bytes, malloc()ed; NULL if it has no end there. */
static char *get_string(const struct file *f, uint64_t at, uint64_t left)
{
    char text[PATH_MAX];
    size_t n = left < sizeof text ? (size_t)left : sizeof text;
    if (!get(f, at, text, n) || !memchr(text, 0, n))
        return NULL;
    return strdup(text);
}

static char *table_string(const struct file *f, uint64_t table, uint64_t index)
{
    uint64_t offset, left;
    if (index > UINT64_MAX - table || !offset_of(f, table + index, &offset, &left))
        return NULL;
    return get_string(f, offset, left);
}

static bool dynamic_entry(const struct file *f, const Elf64_Phdr *p, uint64_t i, Elf64_Dyn *d)
{
    size_t each = f->bits == 64 ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn);
    Elf32_Dyn d32;
    if ((i + 1) * each > p->p_filesz || (i + 1) * each > DYNAMIC_MAX || p->p_offset > f->size)
        return false;
    if (f->bits == 64)
        return get(f, p->p_offset + i * each, d, each) && d->d_tag != DT_NULL;
    if (!get(f, p->p_offset + i * each, &d32, each))
        return false;
    d->d_tag = d32.d_tag;
    d->d_un.d_val = d32.d_un.d_val;
    return d->d_tag != DT_NULL;
}

static void read_dynamic(const struct file *f, struct elfdyn *elf)
{
    const Elf64_Phdr *p = segment(f, PT_DYNAMIC);
    Elf64_Dyn d;
    uint64_t table = 0;
    if (!p)
        return;
    for (uint64_t i = 0; dynamic_entry(f, p, i, &d); i++)
        if (d.d_tag == DT_STRTAB)
            table = d.d_un.d_ptr;
    for (uint64_t i = 0; dynamic_entry(f, p, i, &d); i++) {
        char **to = d.d_tag == DT_RPATH && !elf->rpath                       ? &elf->rpath
                    : d.d_tag == DT_RUNPATH && !elf->runpath                 ? &elf->runpath
                    : d.d_tag == DT_NEEDED && elf->count < ELFDYN_NEEDED_MAX ? &elf->needed[elf->count]
                                                                             : NULL;
        if (!to)
            continue;
        *to = table_string(f, table, d.d_un.d_val);
        elf->count += d.d_tag == DT_NEEDED && *to;
    }
}

bool elfdyn_read(const char *path, struct elfdyn *elf)
{
    struct file f = {0};
    memset(elf, 0, sizeof *elf);
    if (!open_file(&f, path))
        return false;
    bool ok = read_head(&f) && read_segments(&f);
    if (ok) {
        elf->bits = f.bits;
        elf->type = f.head.e_type;
        elf->machine = f.head.e_machine;
        const Elf64_Phdr *p = segment(&f, PT_INTERP);
        char *interp = p && p->p_offset < f.size ? get_string(&f, p->p_offset, f.size - p->p_offset) : NULL;
        if (interp)
            strcpy(elf->interp, interp);
        free(interp);
        read_dynamic(&f, elf);
    }
    close(f.fd);
    return ok;
}

void elfdyn_free(struct elfdyn *elf)
{
    for (unsigned i = 0; i < elf->count; i++)
        free(elf->needed[i]);
    free(elf->rpath);
    free(elf->runpath);
    memset(elf, 0, sizeof *elf);
}

static bool section_at(const struct file *f, unsigned i, Elf64_Shdr *s)
{
    return f->head.e_shoff <= f->size && get(f, f->head.e_shoff + (uint64_t)i * sizeof *s, s, sizeof *s);
}

static char *find_section(const struct file *f, const char *name, size_t max, size_t *size)
{
    Elf64_Shdr names, s;
    char text[64];
    size_t n = strlen(name) + 1;
    if (f->bits != 64 || f->head.e_shentsize != sizeof s || !section_at(f, f->head.e_shstrndx, &names))
        return NULL;
    for (unsigned i = 0; i < f->head.e_shnum && section_at(f, i, &s); i++) {
        if (n > sizeof text || s.sh_name >= names.sh_size || names.sh_offset > f->size ||
            !get(f, names.sh_offset + s.sh_name, text, n) || memcmp(text, name, n))
            continue;
        if (s.sh_size > max || s.sh_type == SHT_NOBITS)
            return NULL;
        char *bytes = malloc(s.sh_size + 1);
        if (!bytes)
            return NULL;
        bytes[s.sh_size] = 0;
        *size = s.sh_size;
        if (get(f, s.sh_offset, bytes, s.sh_size))
            return bytes;
        free(bytes);
        return NULL;
    }
    return NULL;
}

char *elfdyn_section(const char *path, const char *name, size_t max, size_t *size)
{
    struct file f = {0};
    if (!open_file(&f, path))
        return NULL;
    char *bytes = read_head(&f) ? find_section(&f, name, max, size) : NULL;
    close(f.fd);
    return bytes;
}
