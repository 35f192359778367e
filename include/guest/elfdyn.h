/* SPDX-License-Identifier: MIT
 *
 * Reads from an ELF file what decides which other files it needs: its kind, its interpreter, the names of its libraries and
 * where it says to look for them; and, of a kernel module, a section by name. (ELF: System V ABI, chapters 4 and 5.)
 *
 * The file is untrusted and may change while it is read: every number is checked against the file's size and against a
 * bound of our own before it is used, and reads are pread()s into buffers of ours, so nothing worse than a false
 * answer comes of it. Set-up only, any thread.
 */
#ifndef GUEST_ELFDYN_H
#define GUEST_ELFDYN_H

#include <elf.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ELFDYN_NEEDED_MAX = 256
};

struct elfdyn {
    uint8_t bits;          /* 32 or 64 */
    uint16_t type;         /* ET_EXEC, ET_DYN, ET_REL */
    uint16_t machine;      /* EM_X86_64 … */
    char interp[PATH_MAX]; /* "" if none */
    char *rpath, *runpath; /* NULL if none */
    char *needed[ELFDYN_NEEDED_MAX];
    unsigned count;
};

/* false: not a sound little-endian ELF file (nothing to free then). */
bool elfdyn_read(const char *path, struct elfdyn *elf) __attribute__((warn_unused_result));
void elfdyn_free(struct elfdyn *elf);

/* The bytes of the first section of that name of a 64-bit file, with a NUL behind them; malloc()ed; NULL if there is none, it is
 * larger than max, or the file is not sound. */
char *elfdyn_section(const char *path, const char *name, size_t max, size_t *size);

#endif
