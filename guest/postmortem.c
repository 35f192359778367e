// SPDX-License-Identifier: MIT
/* What a kernel was built without: see include/guest/postmortem.h. */
#include "guest/postmortem.h"

#include "guest/kconfig.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SILENT  POSTMORTEM_SILENT
#define INITRD  POSTMORTEM_INITRD
#define COMMAND POSTMORTEM_COMMAND
#define DISK    POSTMORTEM_DISK
#define SHARE   POSTMORTEM_SHARE

static const struct {
    const char *option;
    unsigned when;  /* any of these */
    bool module_ok; /* the generated initramfs loads it */
    const char *words;
} needs[] = {
    {"PRINTK",              SILENT,           false, "no kernel log"                                            },
    {"TTY",                 SILENT | COMMAND, false, "no terminals, so no serial ports"                         },
    {"SERIAL_8250",         SILENT | COMMAND, false, "no serial ports"                                          },
    {"SERIAL_8250_CONSOLE", SILENT,           false, "no serial console"                                        },
    {"BLK_DEV_INITRD",      INITRD,           false, "no initramfs support"                                     },
    {"BINFMT_ELF",          INITRD,           false, "no ELF programs"                                          },
    {"PCI",                 DISK | SHARE,     false, "no PCI, on which disks and shares are"                    },
    {"VIRTIO_PCI",          DISK | SHARE,     true,  "no virtio over PCI, by which disks and shares are reached"},
    {"VIRTIO_BLK",          DISK,             true,  "no driver for the disks"                                  },
    {"VIRTIO_FS",           SHARE,            true,  "no virtio-fs, which shares are"                           },
};

static const struct {
    uint8_t magic[6], n;
    const char *option;
} compressions[] = {
    {{0x1f, 0x8b},                     2, "RD_GZIP" },
    {{'B', 'Z', 'h'},                  3, "RD_BZIP2"},
    {{0x5d, 0x00, 0x00},               3, "RD_LZMA" },
    {{0xfd, '7', 'z', 'X', 'Z', 0x00}, 6, "RD_XZ"   },
    {{0x89, 'L', 'Z', 'O', 0x00},      5, "RD_LZO"  },
    {{0x02, 0x21, 0x4c, 0x18},         4, "RD_LZ4"  },
    {{0x28, 0xb5, 0x2f, 0xfd},         4, "RD_ZSTD" },
};

const char *postmortem_compression(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < sizeof compressions / sizeof *compressions; i++)
        if (n >= compressions[i].n && !memcmp(head, compressions[i].magic, compressions[i].n))
            return compressions[i].option;
    return NULL;
}

struct list {
    char *buf;
    size_t size, n;
};

static void add(struct list *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct list *l, const char *fmt, ...)
{
    va_list ap;
    if (l->n + 3 >= l->size)
        return;
    if (l->n)
        l->n += (size_t)snprintf(l->buf + l->n, l->size - l->n, ", ");
    va_start(ap, fmt);
    int wrote = vsnprintf(l->buf + l->n, l->size - l->n, fmt, ap);
    va_end(ap);
    l->n += wrote > 0 ? (size_t)wrote : 0;
    if (l->n >= l->size)
        l->n = l->size - 1;
}

bool postmortem_missing(const struct kconfig *config, unsigned given, const char *compression, char *buf,
                        size_t size)
{
    struct list l = {buf, size, 0};
    bool port = true;
    *buf = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        enum kconfig_value value = kconfig_get(config, needs[i].option);
        if (!(given & needs[i].when) || value == KCONFIG_YES ||
            (value == KCONFIG_MODULE && needs[i].module_ok))
            continue;
        if (!port && !strncmp(needs[i].option, "SERIAL_8250", 11))
            continue; /* follows from what was said */
        port &= strcmp(needs[i].option, "TTY") && strcmp(needs[i].option, "SERIAL_8250");
        add(&l, "%s%s (CONFIG_%s)", needs[i].words, value == KCONFIG_MODULE ? " but as a module" : "",
            needs[i].option);
    }
    if (port && given & COMMAND && kconfig_number(config, "SERIAL_8250_RUNTIME_UARTS") < 2)
        add(&l, "only one serial port, and the command needs the second (CONFIG_SERIAL_8250_RUNTIME_UARTS)");
    if (given & INITRD && compression && kconfig_get(config, "BLK_DEV_INITRD") != KCONFIG_NO &&
        kconfig_get(config, compression) != KCONFIG_YES)
        add(&l, "no way to unpack the initrd (CONFIG_%s)", compression);
    return l.n > 0;
}
