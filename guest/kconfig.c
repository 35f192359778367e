// SPDX-License-Identifier: MIT
/* A kernel's configuration file: see include/guest/kconfig.h. Kept as its text; a question is a search, as few are asked. */
#include "guest/kconfig.h"

#include "guest/image.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 4 << 20, /* bytes; a distribution's has 300,000 */
};

struct kconfig {
    char *path, *text;
};

/* What stands behind `CONFIG_OPTION=`; NULL: no such line. */
static const char *value_of(const struct kconfig *k, const char *option)
{
    size_t n = strlen(option);
    for (const char *line = k->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, "CONFIG_", 7) && !strncmp(line + 7, option, n) && line[7 + n] == '=')
            return line + 8 + n;
    }
    return NULL;
}

static struct kconfig *read_all(struct image *image)
{
    struct kconfig *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->path = strdup(image->name);
    k->text = image->size <= TEXT_MAX ? calloc(1, image->size + 1) : NULL;
    if (k->path && k->text && image_read(image, 0, k->text, image->size) && value_of(k, "X86"))
        return k;
    kconfig_free(k);
    return NULL;
}

struct kconfig *kconfig_open(const char *path)
{
    char err[PATH_MAX + 128];
    struct image image = {.what = "config", .name = path, .err = err, .err_size = sizeof err};
    if (!image_open(&image, path))
        return NULL;
    struct kconfig *k = read_all(&image);
    image_close(&image);
    return k;
}

struct kconfig *kconfig_open_data(const char *name, const void *text, size_t n)
{
    char err[PATH_MAX + 128];
    struct image image = {.what = "config", .name = name, .err = err, .err_size = sizeof err};
    return image_open_data(&image, text, n) ? read_all(&image) : NULL;
}

struct kconfig *kconfig_find(const char *kernel, const char *release)
{
    static const struct {
        const char *name; /* behind it the release, before it the image's folder, which ends in `in` */
        bool folder, release;
        const char *in;
    } places[] = {
        {"config-",          true,  true,  ""              },
        {"config",           true,  false, ""              },
        {".config",          true,  false, ""              }, /* of vmlinux */
        {"../../../.config", true,  false, "arch/x86/boot/"},
        {"/boot/config-",    false, true,  ""              },
    };
    const char *slash = strrchr(kernel, '/');
    int folder = slash ? (int)(slash + 1 - kernel) : 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[PATH_MAX];
        int in = (int)strlen(places[i].in);
        if (in > folder || memcmp(kernel + folder - in, places[i].in, (size_t)in))
            continue;
        if (places[i].release && !*release)
            continue;
        int n = snprintf(path, sizeof path, "%.*s%s%s", places[i].folder ? folder : 0, kernel, places[i].name,
                         places[i].release ? release : "");
        struct kconfig *k = n < (int)sizeof path ? kconfig_open(path) : NULL;
        if (k)
            return k;
    }
    return NULL;
}

void kconfig_free(struct kconfig *k)
{
    if (!k)
        return;
    free(k->path);
    free(k->text);
    free(k);
}

const char *kconfig_path(const struct kconfig *k)
{
    return k->path;
}

enum kconfig_value kconfig_get(const struct kconfig *k, const char *option)
{
    const char *value = value_of(k, option);
    return !value || *value == 'n' ? KCONFIG_NO : *value == 'm' ? KCONFIG_MODULE : KCONFIG_YES;
}

uint64_t kconfig_number(const struct kconfig *k, const char *option)
{
    const char *value = value_of(k, option);
    return value ? strtoull(value, NULL, 0) : 0;
}
