// SPDX-License-Identifier: MIT
/* Names for the guest's addresses: the table, where the kernel was moved to, lines with names in them. See
 * include/guest/symbols.h; what is in the file is symbols_file.c's. */
#include "guest/symbols_priv.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPPER_HALF (UINT64_C(1) << 63)
#define ALIGN_MIN  (UINT64_C(2) << 20)  /* PHYSICAL_ALIGN's least on x86-64 */
#define MOVED_MAX  (UINT64_C(1) << 30)  /* KERNEL_IMAGE_SIZE with KASLR */
#define FAR        (UINT64_C(16) << 20) /* no function and no table is that long: a hole between sections */

/* ---- the table */

static bool grow(void *array, size_t *room, size_t need, size_t width)
{
    if (need <= *room)
        return true;
    size_t n = *room ? *room * 2 : 4096;
    while (n < need)
        n *= 2;
    void *p = realloc(*(void **)array, n * width);
    if (!p)
        return false;
    *(void **)array = p;
    *room = n;
    return true;
}

bool symbols_add(struct symbols *s, uint64_t addr, uint8_t rank, const char *name, size_t n)
{
    if (n >= SYMBOLS_NAME)
        n = SYMBOLS_NAME - 1;
    if (!n)
        return true;
    if (s->n == SYMBOLS_MAX || s->used > SYMBOLS_NAMES || !grow(&s->v, &s->room, s->n + 1, sizeof *s->v) ||
        !grow(&s->names, &s->size, s->used + n + 1, 1))
        return false;
    s->v[s->n++] = (struct symbol){addr, (uint32_t)s->used, rank};
    memcpy(s->names + s->used, name, n);
    s->names[s->used + n] = 0;
    s->used += n + 1;
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    return x->name < y->name ? -1 : x->name > y->name; /* the file's order */
}

static uint64_t address_of(const struct symbols *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->names + s->v[i].name, name))
            return s->v[i].addr;
    return 0;
}

/* A kernel's file has constants and offsets in per-CPU areas beside its addresses: those are low. */
static void finish(struct symbols *s)
{
    size_t n = 0;
    bool kernel = false;
    for (size_t i = 0; i < s->n && !kernel; i++)
        kernel = s->v[i].addr >= UPPER_HALF;
    for (size_t i = 0; i < s->n; i++)
        if (!kernel || s->v[i].addr >= UPPER_HALF)
            s->v[n++] = s->v[i];
    s->n = n;
    s->kernel = kernel;
    s->entry_syscall = address_of(s, "entry_SYSCALL_64");
    s->idt_table = address_of(s, "idt_table");
    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, by_address);
    n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (!n || s->v[n - 1].addr != s->v[i].addr)
            s->v[n++] = s->v[i];
    s->n = n;
}

static const struct {
    const char *magic;
    uint8_t n;
    const char *what;
} others[] = {
    {"\x1f\x8b",         2, "gzip" },
    {"\xfd"
     "7zXZ",        5, "xz"   },
    {"\x28\xb5\x2f\xfd", 4, "zstd" },
    {"BZh",              3, "bzip2"},
    {"\x04\x22\x4d\x18", 4, "lz4"  },
};

static bool read_any(struct symbols *s, const struct image *image)
{
    uint8_t head[0x206] = {0};
    uint64_t n = image->size < sizeof head ? image->size : sizeof head;
    if (!image_read(image, 0, head, n))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!memcmp(head, others[i].magic, others[i].n))
            return image_fail(image, "it is compressed (%s): unpack it first", others[i].what);
    if (!memcmp(head + 0x202, "HdrS", 4))
        return image_fail(
            image, "a bzImage has no symbols: they are in the vmlinux or System.map that was built with it");
    return memcmp(head, ELFMAG, SELFMAG) ? symbols_read_map(s, image) : symbols_read_elf(s, image);
}

static struct symbols *read_all(struct image *image)
{
    struct symbols *s = calloc(1, sizeof *s);
    if (!s)
        image_fail(image, "out of memory");
    else if (read_any(s, image)) {
        finish(s);
        if (s->n)
            return s;
        image_fail(image, "there is no symbol in it");
    }
    symbols_free(s);
    return NULL;
}

struct symbols *symbols_open(const char *path, char *err, size_t err_size)
{
    struct image image = {.what = "--symbols", .name = path, .err = err, .err_size = err_size};
    if (!image_open(&image, path))
        return NULL;
    struct symbols *s = read_all(&image);
    image_close(&image);
    return s;
}

struct symbols *symbols_open_data(const char *name, const void *data, uint64_t size, char *err,
                                  size_t err_size)
{
    struct image image = {.what = "--symbols", .name = name, .err = err, .err_size = err_size};
    return image_open_data(&image, data, size) ? read_all(&image) : NULL;
}

void symbols_free(struct symbols *s)
{
    if (!s)
        return;
    free(s->v);
    free(s->names);
    free(s);
}

size_t symbols_count(const struct symbols *s)
{
    return s->n;
}

/* ---- where the kernel is */

static void place(struct symbols *s, uint64_t moved)
{
    atomic_store_explicit(&s->moved, moved, memory_order_relaxed);
    atomic_store_explicit(&s->placed, true, memory_order_release); /* symbols_placed() acquires */
}

bool symbols_placed(const struct symbols *s)
{
    return !s->kernel || atomic_load_explicit(&s->placed, memory_order_acquire);
}

static bool learn_one(struct symbols *s, uint64_t there, uint64_t linked)
{
    uint64_t moved = there - linked;
    if (moved % ALIGN_MIN || moved >= MOVED_MAX)
        return false;
    place(s, moved);
    return true;
}

bool symbols_learn(struct symbols *s, uint64_t lstar, uint64_t idt)
{
    if (symbols_placed(s))
        return true;
    if (s->entry_syscall && lstar >= UPPER_HALF)
        return learn_one(s, lstar, s->entry_syscall);
    /* An IDT that lies somewhere else is an earlier or a later one. */
    if (s->idt_table && idt >= UPPER_HALF)
        (void)learn_one(s, idt, s->idt_table);
    return true;
}

void symbols_learn_line(struct symbols *s, const char *line)
{
    static const char words[] = "Kernel Offset: ";
    char *end;
    if (strncmp(line, words, sizeof words - 1) || symbols_placed(s))
        return;
    line += sizeof words - 1;
    if (!strncmp(line, "disabled", 8)) {
        place(s, 0);
        return;
    }
    uint64_t moved = strtoull(line, &end, 16);
    if (end != line && !strncmp(end, " from ", 6) && moved % ALIGN_MIN == 0 && moved < MOVED_MAX)
        place(s, moved);
}

void symbols_learn_unmoved(struct symbols *s)
{
    place(s, 0);
}

/* ---- look-up */

/* The last symbol at or below the address, and how far in it the address is. NULL: none. */
static const struct symbol *find(const struct symbols *s, uint64_t addr, uint64_t *offset)
{
    if (!symbols_placed(s))
        return NULL;
    uint64_t linked = addr - atomic_load_explicit(&s->moved, memory_order_relaxed);
    size_t low = 0, high = s->n; /* the first above it */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->v[mid].addr <= linked)
            low = mid + 1;
        else
            high = mid;
    }
    if (!low || low == s->n) /* what follows the last one has no end */
        return NULL;
    const struct symbol *found = &s->v[low - 1];
    *offset = linked - found->addr;
    return *offset < FAR ? found : NULL;
}

const char *symbols_name(const struct symbols *s, uint64_t addr, char *buf, size_t size)
{
    uint64_t offset;
    const struct symbol *found = find(s, addr, &offset);
    *buf = 0;
    if (!found)
        return buf;
    if (offset)
        snprintf(buf, size, "%s+0x%" PRIx64, s->names + found->name, offset);
    else
        snprintf(buf, size, "%s", s->names + found->name);
    return buf;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The address that begins at p, and its length as text; 0: none does. */
static size_t address_at(const struct symbols *s, const char *p, uint64_t *addr)
{
    size_t x = p[0] == '0' && p[1] == 'x' ? 2 : 0, n = strspn(p + x, "0123456789abcdefABCDEF");
    if (n > 16 || is_word(p[x + n]) || !(x ? n > 0 : n == 16 || (n == 8 && !s->kernel)))
        return 0;
    *addr = strtoull(p + x, NULL, 16);
    return x + n;
}

bool symbols_line(const struct symbols *s, const char *line, char *buf, size_t size)
{
    bool named = false;
    size_t n = 0;
    char name[SYMBOLS_NAME + 32];
    for (const char *p = line; *p && n + 1 < size;) {
        uint64_t addr;
        size_t len = p == line || !is_word(p[-1]) ? address_at(s, p, &addr) : 0;
        if (!len) {
            buf[n++] = *p++;
            continue;
        }
        size_t room = size - n;
        int wrote = *symbols_name(s, addr, name, sizeof name)
                        ? snprintf(buf + n, room, "%.*s (%s)", (int)len, p, name)
                        : snprintf(buf + n, room, "%.*s", (int)len, p);
        named |= *name != 0;
        n += (size_t)wrote < room ? (size_t)wrote : room - 1;
        p += len;
    }
    if (size)
        buf[n] = 0;
    return named;
}
