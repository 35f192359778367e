/* SPDX-License-Identifier: MIT
 *
 * Bytes into guest RAM, and what all protocols share: the GDT, the identity page tables, the first registers,
 * the initrds.
 *
 * RAM is as fresh as it was made: anonymous memory is zero, a file's may not be, so what must be zero is
 * written.
 */
#include "guest/loader.h"

#include <inttypes.h>
#include <string.h>

#include "guest/bytes.h"
#include "mem/ram.h"

enum {
    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    CR4_PAE = 1 << 5,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    RFLAGS_ONE = 1 << 1, /* reads as one, always */
    PTE_PRESENT = 1 << 0,
    PTE_WRITE = 1 << 1,
    PTE_LARGE = 1 << 7,
    PAGE = 4096,
    PD_COUNT = 4, /* 4 GiB in 2 MiB pages: no CPU needs to have 1 GiB pages for it */
};
#define CR0_PG (1ull << 31)

bool load_claim(struct load *load, const char *part, uint64_t gpa, uint64_t size)
{
    switch (place_claim(&load->place, gpa, size)) {
    case PLACE_OK:
        return true;
    case PLACE_TAKEN:
        return image_fail(load->image, "%s (0x%" PRIx64 " bytes at 0x%" PRIx64 ") overlaps another", part,
                          size, gpa);
    case PLACE_FULL:
        return image_fail(load->image, "%s: the image has too many parts", part);
    case PLACE_NOT_RAM:
        break;
    }
    if (size - 1 > UINT64_MAX - gpa)
        return image_fail(load->image,
                          "%s (0x%" PRIx64 " bytes at 0x%" PRIx64 ") ends past the address space", part, size,
                          gpa);
    if (gpa >= 0x100000 && gpa < RAM_LOW_END && size <= RAM_LOW_END - gpa)
        return image_fail(load->image,
                          "%s needs RAM from 0x%" PRIx64 " to 0x%" PRIx64 ", %" PRIu64
                          " MiB in all, and the guest has %" PRIu64 " MiB (give it more with -m)",
                          part, gpa, gpa + size - 1, (gpa + size + 0xfffff) >> 20, load->ram_size >> 20);
    return image_fail(load->image, "%s (0x%" PRIx64 " bytes at 0x%" PRIx64 ") lies outside the guest's RAM",
                      part, size, gpa);
}

bool load_table(struct load *load, uint64_t size, uint64_t align, uint64_t *gpa)
{
    if (place_find(&load->place, size, align, BOOT_TABLES_MIN, BOOT_TABLES_END, gpa) ||
        place_find(&load->place, size, align, 0x100000, load->ram_below_4g, gpa))
        return true;
    return image_fail(load->image,
                      "no room for %" PRIu64 " bytes of boot tables beside it (give more RAM with -m)", size);
}

static void *host_at(struct load *load, uint64_t gpa, uint64_t size)
{
    void *p = ram_host(load->config->ram, gpa, size);
    if (!p)
        image_fail(load->image, "guest RAM does not hold 0x%" PRIx64 " bytes at 0x%" PRIx64, size, gpa);
    return p;
}

bool load_bytes(struct load *load, uint64_t gpa, const void *data, uint64_t size)
{
    if (size == 0)
        return true;
    void *p = host_at(load, gpa, size);
    if (p)
        memcpy(p, data, size);
    return p;
}

bool load_zero(struct load *load, uint64_t gpa, uint64_t size)
{
    if (size == 0 || load->config->ram->kind == RAM_ANON)
        return true;
    void *p = host_at(load, gpa, size);
    if (p)
        memset(p, 0, size);
    return p;
}

bool load_file(struct load *load, const struct image *image, uint64_t offset, uint64_t gpa, uint64_t size)
{
    if (size == 0)
        return true;
    void *p = host_at(load, gpa, size);
    return p && image_read(image, offset, p, size);
}

bool load_string(struct load *load, const char *s, uint64_t *gpa)
{
    uint64_t size = strlen(s) + 1;
    return load_table(load, size, 16, gpa) && load_bytes(load, *gpa, s, size);
}

bool load_open_initrd(struct load *load, unsigned n, struct image *image)
{
    const struct boot_source *source = &load->config->initrds[n];
    *image = (struct image){.what = "initrd",
                            .name = source->path ? source->path : "(built in memory)",
                            .fd = -1,
                            .err = load->image->err,
                            .err_size = load->image->err_size};
    return source->data ? image_open_data(image, source->data, source->size)
                        : image_open(image, source->path);
}

static uint64_t padded(uint64_t size)
{
    return (size + 3) & ~3ull;
}

/* The archives are opened twice, to be measured and to be read: so as many can be joined as the user likes
 * with one descriptor, and a file that changed between the two is refused. */
bool load_initrds(struct load *load, uint64_t limit, uint64_t *gpa, uint64_t *size)
{
    struct image image;
    uint64_t sum = 0;
    *gpa = *size = 0;
    if (limit > load->ram_below_4g)
        limit = load->ram_below_4g;
    for (unsigned n = 0; n < load->config->n_initrds; n++) {
        if (!load_open_initrd(load, n, &image))
            return false;
        image_close(&image);
        if (image.size > limit || padded(image.size) > limit - sum)
            return image_fail(&image,
                              "%" PRIu64 " MiB of initrd do not fit below %" PRIu64
                              " MiB, as far as the kernel and the guest's RAM allow",
                              (sum + image.size) >> 20, limit >> 20);
        sum += padded(image.size);
    }
    if (sum == 0)
        return true;
    if (!place_find(&load->place, sum, PAGE, 0x100000, limit, gpa))
        return image_fail(&image,
                          "no room for %" PRIu64 " KiB of initrd between the kernel and %" PRIu64 " MiB",
                          sum >> 10, limit >> 20);
    for (unsigned n = 0; n < load->config->n_initrds; n++) {
        if (!load_open_initrd(load, n, &image))
            return false;
        bool ok = padded(image.size) <= sum - *size || image_fail(&image, "it grew while it was read");
        ok = ok && load_file(load, &image, 0, *gpa + *size, image.size) &&
             load_zero(load, *gpa + *size + image.size, padded(image.size) - image.size);
        image_close(&image);
        if (!ok)
            return false;
        *size += padded(image.size);
    }
    return true;
}

/* boot.rst, "32-bit Boot Protocol": flat __BOOT_CS and __BOOT_DS. The others ask for no GDT and get the
 * same. */
static bool load_gdt(struct load *load, enum boot_mode mode, uint64_t *gpa)
{
    uint8_t gdt[BOOT_DS + 8] = {0};
    put64(gdt + BOOT_CS, mode == BOOT_LONG64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
    put64(gdt + BOOT_DS, 0x00cf93000000ffff);
    load->state->gdt_limit = sizeof(gdt) - 1;
    return load_table(load, sizeof(gdt), 16, gpa) && load_bytes(load, *gpa, gdt, sizeof(gdt));
}

static bool load_page_tables(struct load *load, uint64_t *pml4)
{
    uint8_t *p;
    if (!load_table(load, (2 + PD_COUNT) * PAGE, PAGE, pml4) ||
        !(p = host_at(load, *pml4, (2 + PD_COUNT) * PAGE)))
        return false;
    uint64_t pdpt = *pml4 + PAGE, pd = pdpt + PAGE;
    memset(p, 0, 2 * PAGE);
    put64(p, pdpt | PTE_PRESENT | PTE_WRITE);
    for (unsigned i = 0; i < PD_COUNT; i++)
        put64(p + PAGE + 8 * i, (pd + i * PAGE) | PTE_PRESENT | PTE_WRITE);
    for (uint64_t i = 0; i < PD_COUNT * PAGE / 8; i++)
        put64(p + 2 * PAGE + 8 * i, i << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE);
    return true;
}

bool load_state(struct load *load, enum boot_mode mode, uint64_t rip)
{
    struct boot_state *s = load->state;
    *s = (struct boot_state){.mode = mode, .rip = rip, .rflags = RFLAGS_ONE, .cr0 = CR0_PE | CR0_ET};
    if (mode == BOOT_LONG64) {
        s->cr0 |= CR0_PG;
        s->cr4 = CR4_PAE;
        s->efer = EFER_LME | EFER_LMA;
        if (!load_page_tables(load, &s->cr3))
            return false;
    }
    return load_gdt(load, mode, &s->gdt_base);
}
