/* SPDX-License-Identifier: MIT
 *
 * Between the files of guest/symbols.h: symbols.c (look-up, the kernel's move) and symbols_file.c (what is in the file).
 */
#ifndef GUEST_SYMBOLS_PRIV_H
#define GUEST_SYMBOLS_PRIV_H

#include "guest/image.h"
#include "guest/symbols.h"

#include <stdatomic.h>

struct symbol {
    uint64_t addr;
    uint32_t name; /* in names */
    uint8_t rank;  /* of several at one address the lowest has the name */
};

enum {
    SYMBOLS_MAX = 4 << 20,     /* a kernel has 200,000 */
    SYMBOLS_NAMES = 256 << 20, /* bytes of them */
    SYMBOLS_NAME = 512,        /* KSYM_NAME_LEN */
};

struct symbols {
    struct symbol *v; /* ascending, one an address */
    size_t n, room;
    char *names;
    size_t used, size;
    bool kernel;                       /* in the upper half: it may have been moved */
    uint64_t entry_syscall, idt_table; /* as linked; 0: not in the file */
    _Atomic uint64_t moved;
    _Atomic bool placed;
};

/* false: a sentence by image_fail(). */
bool symbols_read_map(struct symbols *s, const struct image *image) __attribute__((warn_unused_result));
bool symbols_read_elf(struct symbols *s, const struct image *image) __attribute__((warn_unused_result));
/* name need not end. false: no memory, or too many. */
bool symbols_add(struct symbols *s, uint64_t addr, uint8_t rank, const char *name, size_t n)
    __attribute__((warn_unused_result));

#endif
