/* SPDX-License-Identifier: MIT
 *
 * The PVH entry: 32-bit protected mode, paging off, EBX = hvm_start_info with command line, one module (the
 * initrds joined: Linux takes the first module only), memory map and RSDP.
 *
 * Sources: Xen docs/misc/pvh.pandoc (entry state) and public/arch-x86/hvm/start_info.h, version 1.
 */
#include "guest/loader.h"

#include "guest/bytes.h"

enum {
    START_MAGIC = 0,
    START_VERSION = 4,
    START_NR_MODULES = 12,
    START_MODLIST_PADDR = 16,
    START_CMDLINE_PADDR = 24,
    START_RSDP_PADDR = 32,
    START_MEMMAP_PADDR = 40,
    START_MEMMAP_ENTRIES = 48,
    START_SIZE = 56,

    MODULE_PADDR = 0,
    MODULE_SIZE = 8,
    MODULE_ENTRY = 32,

    MEMMAP_ADDR = 0,
    MEMMAP_SIZE = 8,
    MEMMAP_TYPE = 16, /* as in e820 */
    MEMMAP_ENTRY = 24,

    XEN_HVM_START_MAGIC_VALUE = 0x336ec578,
    TABLES = START_SIZE + 8 + MODULE_ENTRY + MEMMAP_ENTRY * BOOT_E820_MAX,
};

bool pvh_load(struct load *load, const struct elf *elf)
{
    uint8_t tables[TABLES] = {0}, *start = tables, *module = start + START_SIZE + 8,
            *memmap = module + MODULE_ENTRY;
    const struct place *place = &load->place;
    uint64_t entry, gpa, cmdline, initrd, initrd_size;

    if (!elf_entry(load, elf, elf->pvh_entry, &entry) || !load_table(load, TABLES, 64, &gpa) ||
        !load_string(load, load->cmdline, &cmdline) ||
        !load_initrds(load, load->ram_below_4g, &initrd, &initrd_size))
        return false;

    put32(start + START_MAGIC, XEN_HVM_START_MAGIC_VALUE);
    put32(start + START_VERSION, 1);
    put64(start + START_CMDLINE_PADDR, cmdline);
    put64(start + START_RSDP_PADDR, load->config->rsdp);
    if (initrd_size) {
        put32(start + START_NR_MODULES, 1);
        put64(start + START_MODLIST_PADDR, gpa + (uint64_t)(module - tables));
        put64(module + MODULE_PADDR, initrd);
        put64(module + MODULE_SIZE, initrd_size);
    }
    put64(start + START_MEMMAP_PADDR, gpa + (uint64_t)(memmap - tables));
    put32(start + START_MEMMAP_ENTRIES, place->map_count);
    for (unsigned i = 0; i < place->map_count; i++) {
        put64(memmap + MEMMAP_ENTRY * i + MEMMAP_ADDR, place->map[i].addr);
        put64(memmap + MEMMAP_ENTRY * i + MEMMAP_SIZE, place->map[i].size);
        put32(memmap + MEMMAP_ENTRY * i + MEMMAP_TYPE, place->map[i].type);
    }
    if (!load_bytes(load, gpa, tables, TABLES) || !load_state(load, BOOT_PROTECTED32, entry))
        return false;
    load->state->rbx = gpa;
    return true;
}
