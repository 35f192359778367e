/* SPDX-License-Identifier: MIT
 *
 * bzImage: a boot sector and 16-bit setup code (not run), whose header says how to enter the protected-mode
 * code that follows. It is entered at +0x200 in long mode where it has that entry (XLF_KERNEL_64), at +0 in
 * protected mode where it has not: 32-bit kernels, and 64-bit ones older than 3.8.
 *
 * Where it goes: at its preferred address, where it would run anyway; below that is no use to any kernel, as
 * the decompressor moves up to it. The kernel then owns init_size bytes from there.
 *
 * Source: Linux, Documentation/arch/x86/boot.rst.
 */
#include "guest/loader.h"

#include <inttypes.h>

#include "guest/bytes.h"
#include "mem/ram.h"

/* Offsets in the file, spelled as in boot.rst. */
enum {
    SETUP_SECTS = 0x1f1,
    SYSSIZE = 0x1f4,
    BOOT_FLAG = 0x1fe,
    JUMP = 0x200,
    HEADER = 0x202,
    VERSION = 0x206,
    KERNEL_VERSION = 0x20e,
    LOADFLAGS = 0x211,
    KERNEL_ALIGNMENT = 0x230,
    RELOCATABLE_KERNEL = 0x234,
    XLOADFLAGS = 0x236,
    CMDLINE_SIZE = 0x238,
    PAYLOAD_OFFSET = 0x248,
    PAYLOAD_LENGTH = 0x24c,
    PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    HEADER_END = 0x290, /* the most that boot_params has room for */

    BOOT_FLAG_MAGIC = 0xaa55,
    HDRS = 0x53726448,
    LOADED_HIGH = 1 << 0,
    XLF_KERNEL_64 = 1 << 0,

    SECTOR = 512,
    ENTRY_64 = 0x200,
    LOAD_HIGH_AT = 0x100000,
};

/* Only for people and for the look-up of modules: an image without it is as good. */
static void parse_version(struct boot *boot, unsigned setup_sects)
{
    char s[sizeof(boot->info.version)] = "";
    uint64_t at = get16(boot->head + KERNEL_VERSION);
    if (at == 0 || at >= (uint64_t)setup_sects * SECTOR)
        return;
    uint64_t rest = boot->image.size - (at + 0x200), n = rest < sizeof(s) - 1 ? rest : sizeof(s) - 1;
    if (image_read(&boot->image, at + 0x200, s, n))
        boot_set_version(&boot->info, s);
}

static bool parse_place(struct boot *boot, struct bzimage *bz)
{
    const struct image *image = &boot->image;
    const uint8_t *h = boot->head;
    uint64_t align = get32(h + KERNEL_ALIGNMENT);
    bool has_pref = bz->version >= 0x020a;
    uint64_t pref = has_pref ? get64(h + PREF_ADDRESS) : 0;
    uint64_t need = has_pref ? get32(h + INIT_SIZE) : 0;
    if (need < bz->payload_size)
        need = bz->payload_size;
    if (pref >= RAM_LOW_END)
        return image_fail(image, "it wants to be at 0x%" PRIx64 ", where no guest has RAM", pref);

    if (!h[RELOCATABLE_KERNEL]) {
        /* It moves itself from where it is loaded to pref_address: the whole way must be free. */
        uint64_t run = pref ? pref : LOAD_HIGH_AT;
        uint64_t end = run + need;
        bz->load = LOAD_HIGH_AT;
        if (end < bz->load + bz->payload_size)
            end = bz->load + bz->payload_size;
        bz->claim = run < bz->load ? run : bz->load;
        bz->claim_size = end - bz->claim;
        return true;
    }
    if (align == 0 || (align & (align - 1)))
        return image_fail(image, "kernel_alignment 0x%" PRIx64 " is not a power of two", align);
    if (align >= RAM_LOW_END / 2)
        return image_fail(image, "kernel_alignment 0x%" PRIx64 " is absurd", align);
    bz->load = ((pref ? pref : LOAD_HIGH_AT) + align - 1) & ~(align - 1);
    bz->claim = bz->load;
    bz->claim_size = need;
    return true;
}

static bool parse_header(struct boot *boot, struct bzimage *bz)
{
    const struct image *image = &boot->image;
    const uint8_t *h = boot->head;
    unsigned setup_sects = h[SETUP_SECTS] ? h[SETUP_SECTS] : 4;

    /* What the header does not reach reads as zero, like what the file does not. */
    unsigned end = HEADER + h[JUMP + 1];
    if (end > HEADER_END)
        end = HEADER_END;
    memcpy(bz->header, h + SETUP_SECTS, end > SETUP_SECTS ? end - SETUP_SECTS : 0);

    bz->version = get16(h + VERSION);
    if (bz->version < 0x0206 || !(h[LOADFLAGS] & LOADED_HIGH))
        return image_fail(
            image, "boot protocol %u.%02u%s is too old: a bzImage of Linux 2.6.22 or later is needed",
            bz->version >> 8, bz->version & 0xff, h[LOADFLAGS] & LOADED_HIGH ? "" : ", loaded low (zImage),");
    if (bz->version >= 0x0300)
        return image_fail(image, "boot protocol %u.%02u is not known", bz->version >> 8, bz->version & 0xff);
    unsigned need = bz->version >= 0x020a ? INIT_SIZE + 4 : CMDLINE_SIZE + 4;
    if (end < need)
        return image_fail(image, "its setup header ends at 0x%x, protocol %u.%02u needs 0x%x", end,
                          bz->version >> 8, bz->version & 0xff, need);

    bz->payload_offset = (setup_sects + 1) * SECTOR;
    uint64_t syssize = (uint64_t)get32(h + SYSSIZE) * 16;
    if (bz->payload_offset >= image->size)
        return image_fail(image, "cut short: %u setup sectors, and the file ends after %" PRIu64 " bytes",
                          setup_sects, image->size);
    uint64_t rest = image->size - bz->payload_offset;
    if (syssize > rest && syssize - rest >= 16) /* the last paragraph need not be whole */
        return image_fail(image, "cut short: it says %" PRIu64 " bytes of code, the file has %" PRIu64,
                          syssize, rest);
    bz->payload_size = syssize < rest ? syssize : rest; /* what follows is a signature */
    if (bz->payload_size <= ENTRY_64)
        return image_fail(image, "only %" PRIu64 " bytes of code", bz->payload_size);
    if (bz->version >= 0x0208) {
        uint64_t offset = get32(h + PAYLOAD_OFFSET), length = get32(h + PAYLOAD_LENGTH);
        if (offset > bz->payload_size || length > bz->payload_size - offset)
            return image_fail(image,
                              "its compressed payload (%" PRIu64 " bytes at %" PRIu64
                              ") is not inside its %" PRIu64 " bytes of code",
                              length, offset, bz->payload_size);
    }

    bz->entry64 = bz->version >= 0x020c && get16(h + XLOADFLAGS) & XLF_KERNEL_64;
    uint32_t cmdline_size = get32(h + CMDLINE_SIZE);
    boot->info = (struct boot_info){.format = bz->entry64 ? BOOT_BZIMAGE64 : BOOT_BZIMAGE32,
                                    .is_32bit = !bz->entry64,
                                    .is_linux = true,
                                    .cmdline_max = cmdline_size ? cmdline_size : 255};
    parse_version(boot, setup_sects);
    return parse_place(boot, bz);
}

static enum boot_parse bzimage_parse(struct boot *boot)
{
    const uint8_t *h = boot->head;
    bool hdrs = boot->head_size >= HEADER + 4 && get32(h + HEADER) == HDRS;
    bool flag = boot->head_size >= BOOT_FLAG + 2 && get16(h + BOOT_FLAG) == BOOT_FLAG_MAGIC;
    if (!hdrs)
        return BOOT_PARSE_OTHER;
    if (!flag)
        image_fail(&boot->image, "it has a Linux setup header but no boot flag 0xaa55");
    else if (boot->head_size < INIT_SIZE + 4)
        image_fail(&boot->image, "cut short in its setup header: %" PRIu64 " bytes", boot->image.size);
    else if (parse_header(boot, &boot->bzimage))
        return BOOT_PARSE_OK;
    return BOOT_PARSE_BAD;
}

static bool bzimage_load(struct load *load)
{
    const struct bzimage *bz = &load->boot->bzimage;
    uint64_t boot_params;
    if (!load_claim(load, "the kernel", bz->claim, bz->claim_size) ||
        !load_file(load, load->image, bz->payload_offset, bz->load, bz->payload_size) ||
        !params_load(load, bz, &boot_params) ||
        !load_state(load, bz->entry64 ? BOOT_LONG64 : BOOT_PROTECTED32,
                    bz->load + (bz->entry64 ? ENTRY_64 : 0)))
        return false;
    load->state->rsi = boot_params;
    return true;
}

const struct boot_loader bzimage_loader = {bzimage_parse, bzimage_load};
