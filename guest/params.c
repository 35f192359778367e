/* SPDX-License-Identifier: MIT
 *
 * Linux' boot_params: a zeroed page with the image's setup header copied in, what a loader must write there,
 * and the e820 map. screen_info stays zero, so that the kernel looks for no VGA card.
 *
 * Sources: Linux Documentation/arch/x86/zero-page.rst and boot.rst, arch/x86/include/uapi/asm/bootparam.h.
 */
#include "guest/loader.h"

#include <inttypes.h>

#include "guest/bytes.h"

/* Offsets in boot_params, spelled as there. */
enum {
    ACPI_RSDP_ADDR = 0x070,
    E820_ENTRIES = 0x1e8,
    HDR = 0x1f1,
    VID_MODE = 0x1fa,
    BOOT_FLAG = 0x1fe,
    HEADER = 0x202,
    VERSION = 0x206,
    TYPE_OF_LOADER = 0x210,
    LOADFLAGS = 0x211,
    CODE32_START = 0x214,
    RAMDISK_IMAGE = 0x218,
    RAMDISK_SIZE = 0x21c,
    CMD_LINE_PTR = 0x228,
    INITRD_ADDR_MAX = 0x22c,
    KERNEL_ALIGNMENT = 0x230,
    CMDLINE_SIZE = 0x238,
    SETUP_DATA = 0x250,
    E820_TABLE = 0x2d0,
    E820_ENTRY = 20,
    BOOT_PARAMS_SIZE = 4096,

    TYPE_UNDEFINED = 0xff,
    VID_MODE_NORMAL = 0xffff,
    LOADED_HIGH = 1 << 0,
    SETUP_RNG_SEED = 9,
    SETUP_DATA_HEAD = 16, /* next, type, len */
};

/* An ELF brings no header: the fields that the kernel itself reads later. */
static void params_elf_header(uint8_t *bp)
{
    put16(bp + BOOT_FLAG, 0xaa55);
    put32(bp + HEADER, 0x53726448);
    put16(bp + VERSION, 0x020f); /* setup_data is read from 2.09 on */
    bp[LOADFLAGS] = LOADED_HIGH;
    put32(bp + INITRD_ADDR_MAX, 0x7fffffff);
    put32(bp + KERNEL_ALIGNMENT, 0x1000000);
    put32(bp + CMDLINE_SIZE, BOOT_LINUX_CMDLINE_MAX);
}

static bool params_rng_seed(struct load *load, uint8_t *bp, unsigned version)
{
    const struct boot_config *c = load->config;
    uint8_t head[SETUP_DATA_HEAD] = {0};
    uint64_t gpa;
    if (!c->rng_seed || !c->rng_seed_size || version < 0x0209)
        return true;
    put32(head + 8, SETUP_RNG_SEED);
    put32(head + 12, c->rng_seed_size);
    put64(bp + SETUP_DATA, 0);
    if (!load_table(load, (uint64_t)SETUP_DATA_HEAD + c->rng_seed_size, 16, &gpa) ||
        !load_bytes(load, gpa, head, SETUP_DATA_HEAD) ||
        !load_bytes(load, gpa + SETUP_DATA_HEAD, c->rng_seed, c->rng_seed_size))
        return false;
    put64(bp + SETUP_DATA, gpa);
    return true;
}

bool params_load(struct load *load, const struct bzimage *bz, uint64_t *gpa)
{
    uint8_t bp[BOOT_PARAMS_SIZE] = {0};
    uint64_t initrd, initrd_size, cmdline;

    if (bz)
        memcpy(bp + HDR, bz->header, sizeof(bz->header));
    else
        params_elf_header(bp);
    unsigned version = get16(bp + VERSION);
    uint64_t initrd_limit = (uint64_t)get32(bp + INITRD_ADDR_MAX) + 1;

    if (!load_table(load, BOOT_PARAMS_SIZE, BOOT_PARAMS_SIZE, gpa) ||
        !load_string(load, load->cmdline, &cmdline) ||
        !load_initrds(load, initrd_limit, &initrd, &initrd_size) || !params_rng_seed(load, bp, version))
        return false;

    bp[TYPE_OF_LOADER] = TYPE_UNDEFINED;
    put16(bp + VID_MODE, VID_MODE_NORMAL);
    if (bz)
        put32(bp + CODE32_START, (uint32_t)bz->load);
    put32(bp + CMD_LINE_PTR, (uint32_t)cmdline);
    put32(bp + RAMDISK_IMAGE, (uint32_t)initrd); /* all of these lie below 4 GiB */
    put32(bp + RAMDISK_SIZE, (uint32_t)initrd_size);
    put64(bp + ACPI_RSDP_ADDR,
          load->config->rsdp); /* read since 4.20; older kernels search 0xe0000-0xfffff */

    const struct place *place = &load->place;
    bp[E820_ENTRIES] = (uint8_t)place->map_count;
    for (unsigned i = 0; i < place->map_count; i++) {
        uint8_t *e = bp + E820_TABLE + E820_ENTRY * i;
        put64(e, place->map[i].addr);
        put64(e + 8, place->map[i].size);
        put32(e + 16, place->map[i].type);
    }
    return load_bytes(load, *gpa, bp, sizeof(bp));
}
