/* SPDX-License-Identifier: MIT
 *
 * Which format a kernel has, and the frame of loading it; the theory is in guest/boot.h.
 */
#include "guest/loader.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/ram.h"

/* Each is recognised by a magic of its own. Multiboot before plain ELF: its programs often are ELF files,
 * too. */
static const struct boot_loader *const loaders[] = {&bzimage_loader, &multiboot_loader, &elf_loader};

const struct boot_info *boot_info(const struct boot *boot)
{
    return &boot->info;
}

void boot_set_version(struct boot_info *info, const char *s)
{
    size_t n = 0, release = 0;
    for (; s[n] && s[n] != '\n' && n < sizeof(info->version) - 1; n++)
        info->version[n] = isprint((unsigned char)s[n]) ? s[n] : '?';
    info->version[n] = '\0';

    while (isalnum((unsigned char)s[release]) || (s[release] && strchr("._+-~:", s[release])))
        release++;
    if (release >= sizeof(info->release) || s[0] == '.' ||
        (s[release] && !isspace((unsigned char)s[release])))
        release = 0;
    memcpy(info->release, s, release);
    info->release[release] = '\0';
}

static bool identify(struct boot *boot)
{
    boot->head_size = boot->image.size < BOOT_HEAD ? (uint32_t)boot->image.size : BOOT_HEAD;
    if (!image_read(&boot->image, 0, boot->head, boot->head_size))
        return false;
    for (unsigned i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++) {
        enum boot_parse result = loaders[i]->parse(boot);
        boot->loader = loaders[i];
        if (result != BOOT_PARSE_OTHER)
            return result == BOOT_PARSE_OK;
    }
    if (boot->head_size >= 512 && boot->head[510] == 0x55 && boot->head[511] == 0xaa)
        return image_fail(&boot->image,
                          "a boot sector without a Linux setup header: a disk image, or a kernel older than "
                          "the boot protocol");
    return image_fail(&boot->image,
                      "not a kernel: neither a bzImage nor an ELF file nor a Multiboot program");
}

static struct boot *open_image(const char *name, const void *data, uint64_t size, char *err, size_t err_size)
{
    struct boot *boot = calloc(1, sizeof(*boot));
    if (!boot) {
        snprintf(err, err_size, "kernel %s: out of memory", name);
        return NULL;
    }
    boot->image = (struct image){.what = "kernel", .name = name, .fd = -1, .err = err, .err_size = err_size};
    if ((data ? image_open_data(&boot->image, data, size) : image_open(&boot->image, name)) && identify(boot))
        return boot;
    boot_close(boot);
    return NULL;
}

struct boot *boot_open(const char *path, char *err, size_t err_size)
{
    return open_image(path, NULL, 0, err, err_size);
}

struct boot *boot_open_data(const char *name, const void *data, uint64_t size, char *err, size_t err_size)
{
    return open_image(name, data ? data : "", size, err, err_size);
}

void boot_close(struct boot *boot)
{
    if (!boot)
        return;
    image_close(&boot->image);
    free(boot);
}

bool boot_load(struct boot *boot, const struct boot_config *config, struct boot_state *state, char *err,
               size_t err_size)
{
    boot->image.err = err;
    boot->image.err_size = err_size;
    *state = (struct boot_state){0};

    struct load load = {.boot = boot, .image = &boot->image, .config = config, .state = state};
    load.ram_size = config->ram->size;
    load.ram_below_4g = load.ram_size < RAM_LOW_END ? load.ram_size : RAM_LOW_END;
    place_init(&load.place, load.ram_size);

    const char *given = config->cmdline ? config->cmdline : "";
    char *named = NULL;
    if (!boot->info.is_linux && asprintf(&named, "%s%s%s", boot->image.name, *given ? " " : "", given) < 0)
        return image_fail(&boot->image, "out of memory");
    load.cmdline = named ? named : given;

    bool ok;
    size_t length = strlen(load.cmdline);
    if (length > boot->info.cmdline_max)
        ok = image_fail(&boot->image, "a command line of %zu bytes; this kernel takes at most %" PRIu32,
                        length, boot->info.cmdline_max);
    else
        ok = boot->loader->load(&load);
    free(named);
    return ok;
}
