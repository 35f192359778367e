/* SPDX-License-Identifier: MIT
 *
 * Names for a guest kernel's addresses, from a file that the user names: an ELF file with a symbol table (vmlinux, its .debug
 * file, a bare-metal program) or a System.map (or the guest's /proc/kallsyms).
 *
 * A kernel with KASLR does not run where its symbols are. By how much it was moved is worked out, never guessed:
 *
 *   MSR_LSTAR            the guest's entry for system calls, less `entry_SYSCALL_64` of the file; from cpu_init() on
 *   IDTR's base          less `idt_table`; from x86_64_start_kernel() until the table moves to its fixed place
 *   "Kernel Offset: …"   the line that a panic ends with (arch/x86/kernel/setup.c, dump_kernel_offset)
 *   nokaslr              on the command line: not at all
 *
 * Until one of them is known nothing of a 64-bit kernel gets a name. A move that is no multiple of the smallest alignment that
 * a kernel can be built with means that the file belongs to another kernel. Programs that run below the upper half of the
 * address space are where their file says.
 *
 * The file is untrusted: read once with bounds (guest/image.h), sizes capped, one sentence for what is wrong with it. Opened by
 * the set-up thread and constant afterwards, but for the move, which is atomic: any thread, no lock, no allocation.
 *
 * Sources: System V ABI, 4 (section header, symbol table); Linux scripts/mksysmap, arch/x86/mm/kaslr.c,
 * arch/x86/kernel/idt.c, arch/x86/Kconfig (PHYSICAL_ALIGN).
 */
#ifndef GUEST_SYMBOLS_H
#define GUEST_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;

/* NULL: a sentence in err. */
struct symbols *symbols_open(const char *path, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* From memory, which may go afterwards; name is for messages. */
struct symbols *symbols_open_data(const char *name, const void *data, uint64_t size, char *err,
                                  size_t err_size) __attribute__((warn_unused_result));
void symbols_free(struct symbols *s);
size_t symbols_count(const struct symbols *s);

/* What tells where the kernel is; each may be 0 for not known. false: the file is not of the kernel that runs. */
bool symbols_learn(struct symbols *s, uint64_t lstar, uint64_t idt);
/* A line of the kernel's log, without its prefix. */
void symbols_learn_line(struct symbols *s, const char *line);
void symbols_learn_unmoved(struct symbols *s);
bool symbols_placed(const struct symbols *s);

/* The symbol that an address of the guest lies in, the last one at or below it: "name+0x12", "name" at its start, "" for none.
 * Returns buf. */
const char *symbols_name(const struct symbols *s, uint64_t addr, char *buf, size_t size);
/* Copies a line and puts " (name+0x12)" behind each address in it that has one: 16 hexadecimal digits, or up to that many behind
 * 0x, or 8 of a 32-bit program. Cut to fit. true: it put in something. */
bool symbols_line(const struct symbols *s, const char *line, char *buf, size_t size);

#endif
