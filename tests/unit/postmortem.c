// SPDX-License-Identifier: MIT
/* What a kernel's configuration file says that it lacks. */
#include "test.h"

#include "guest/kconfig.h"
#include "guest/postmortem.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOOD                                                                                                 \
    "CONFIG_X86=y\nCONFIG_PRINTK=y\nCONFIG_TTY=y\nCONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n"      \
    "CONFIG_SERIAL_8250_RUNTIME_UARTS=4\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n# CONFIG_RD_XZ is not "  \
    "set\nCONFIG_BINFMT_ELF=y\nCONFIG_PCI=y\nCONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_VIRTIO_FS=m\n"

static char missing[512];

/* The good configuration with one line changed. */
static bool lacks(const char *line, const char *instead, unsigned given, const char *compression)
{
    char text[2048] = GOOD, *at = line ? strstr(text, line) : NULL;
    if (line) {
        CHECK(at != NULL);
        char rest[2048];
        snprintf(rest, sizeof rest, "%s", at + strlen(line));
        snprintf(at, sizeof text - (size_t)(at - text), "%s%s", instead, rest);
    }
    struct kconfig *k = kconfig_open_data("c", text, strlen(text));
    CHECK(k != NULL);
    bool any = postmortem_missing(k, given, compression, missing, sizeof missing);
    kconfig_free(k);
    CHECK_EQ(any, *missing != 0);
    return any;
}

enum {
    ALL = POSTMORTEM_SILENT | POSTMORTEM_INITRD | POSTMORTEM_COMMAND | POSTMORTEM_DISK,
};

TEST(postmortem_names_what_is_missing)
{
    static const struct {
        const char *line, *instead;
        unsigned given;
        const char *missing;
    } rows[] = {
        {"CONFIG_SERIAL_8250_CONSOLE=y\n",                           "# CONFIG_SERIAL_8250_CONSOLE is not set\n", POSTMORTEM_SILENT,
         "no serial console (CONFIG_SERIAL_8250_CONSOLE)"                                                                                                                                },
        {"CONFIG_SERIAL_8250_CONSOLE=y\n",                           "CONFIG_SERIAL_8250_CONSOLE=n\n",            ALL,
         "no serial console (CONFIG_SERIAL_8250_CONSOLE)"                                                                                                                                },
        {"CONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n",     "CONFIG_SERIAL_8250=m\n",                    ALL,
         "no serial ports but as a module (CONFIG_SERIAL_8250)"                                                                                                                          },
        {"CONFIG_TTY=y\nCONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_SERIAL_8250_RUNTIME_UARTS="
         "4\n",                                             "",                                          ALL,                    "no terminals, so no serial ports (CONFIG_TTY)"},
        {"CONFIG_PRINTK=y\n",                                        "",                                          POSTMORTEM_SILENT,      "no kernel log (CONFIG_PRINTK)"                },
        {"CONFIG_BLK_DEV_INITRD=y\n",                                "",                                          ALL,                    "no initramfs support (CONFIG_BLK_DEV_INITRD)" },
        {"CONFIG_BINFMT_ELF=y\n",                                    "",                                          POSTMORTEM_INITRD,      "no ELF programs (CONFIG_BINFMT_ELF)"          },
        {"CONFIG_SERIAL_8250_RUNTIME_UARTS=4\n",                     "CONFIG_SERIAL_8250_RUNTIME_UARTS=1\n",      POSTMORTEM_COMMAND,
         "only one serial port, and the command needs the second (CONFIG_SERIAL_8250_RUNTIME_UARTS)"                                                                                     },
        {"CONFIG_PCI=y\nCONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_BLK=m\n", "",                                          POSTMORTEM_DISK,
         "no PCI, on which disks and shares are (CONFIG_PCI), no virtio over PCI, by which disks and shares "
         "are reached "
         "(CONFIG_VIRTIO_PCI), no driver for the disks (CONFIG_VIRTIO_BLK)"                                                                                                              },
        {"CONFIG_VIRTIO_FS=m\n",                                     "",                                          ALL | POSTMORTEM_SHARE,
         "no virtio-fs, which shares are (CONFIG_VIRTIO_FS)"                                                                                                                             },
        {"CONFIG_VIRTIO_BLK=m\n",                                    "# CONFIG_VIRTIO_BLK is not set\n",          ALL,
         "no driver for the disks (CONFIG_VIRTIO_BLK)"                                                                                                                                   },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(lacks(rows[i].line, rows[i].instead, rows[i].given, NULL));
        CHECK_STR(missing, rows[i].missing);
    }
}

TEST(postmortem_names_nothing_that_did_not_matter)
{
    CHECK(!lacks(NULL, NULL, ALL, NULL));
    CHECK(!lacks("CONFIG_SERIAL_8250_CONSOLE=y\n", "", POSTMORTEM_INITRD | POSTMORTEM_COMMAND,
                 NULL)); /* it did print */
    CHECK(!lacks("CONFIG_BLK_DEV_INITRD=y\n", "", POSTMORTEM_SILENT, NULL));
    CHECK(!lacks("CONFIG_VIRTIO_BLK=m\n", "", POSTMORTEM_INITRD, NULL));
    CHECK(!lacks("CONFIG_SERIAL_8250_RUNTIME_UARTS=4\n", "", POSTMORTEM_SILENT, NULL));
}

TEST(postmortem_initrds_that_cannot_be_unpacked)
{
    CHECK_STR(postmortem_compression((const uint8_t *)"\x1f\x8b\x08", 3), "RD_GZIP");
    CHECK_STR(postmortem_compression((const uint8_t *)"\xfd"
                                                      "7zXZ\0",
                                     6),
              "RD_XZ");
    CHECK_STR(postmortem_compression((const uint8_t *)"\x28\xb5\x2f\xfd", 4), "RD_ZSTD");
    CHECK(!postmortem_compression((const uint8_t *)"070701", 6));
    CHECK(!postmortem_compression((const uint8_t *)"\x1f", 1));
    CHECK(!lacks(NULL, NULL, ALL, "RD_GZIP"));
    CHECK(lacks(NULL, NULL, ALL, "RD_XZ"));
    CHECK_STR(missing, "no way to unpack the initrd (CONFIG_RD_XZ)");
    CHECK(!lacks(NULL, NULL, POSTMORTEM_SILENT, "RD_XZ"));
}

TEST(kconfig_files)
{
    char dir[] = "/tmp/kconfig.XXXXXX", path[128];
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/vmlinuz", dir);
    struct kconfig *k = kconfig_find(path, "0.0-none");
    CHECK(!k);
    static const char *const names[] = {".config", "config",
                                        "config-6.1-test"}; /* each before those already there */
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        FILE *f = fopen(path, "w");
        fputs("CONFIG_X86=y\nCONFIG_X=y\nCONFIG_N=12\nCONFIG_M=m\nCONFIG_XY=y\n", f);
        fclose(f);
        char kernel[128];
        snprintf(kernel, sizeof kernel, "%s/vmlinuz", dir);
        k = kconfig_find(kernel, "6.1-test");
        CHECK(k && !strcmp(kconfig_path(k), path));
        kconfig_free(k);
    }
    char tree[160], of_tree[192];
    snprintf(tree, sizeof tree, "%s/arch", dir), mkdir(tree, 0755);
    snprintf(tree, sizeof tree, "%s/arch/x86", dir), mkdir(tree, 0755);
    snprintf(of_tree, sizeof of_tree, "%s/bzImage", tree);
    CHECK(!kconfig_find(of_tree, "")); /* a folder that is no kernel tree's */
    snprintf(tree, sizeof tree, "%s/arch/x86/boot", dir), mkdir(tree, 0755);
    snprintf(of_tree, sizeof of_tree, "%s/bzImage", tree);
    k = kconfig_find(of_tree, "");
    CHECK(k && strstr(kconfig_path(k), "boot/../../../.config"));
    kconfig_free(k);
    k = kconfig_open(path);
    CHECK_EQ(kconfig_get(k, "X"), KCONFIG_YES);
    CHECK_EQ(kconfig_get(k, "M"), KCONFIG_MODULE);
    CHECK_EQ(kconfig_get(k, "XYZ"), KCONFIG_NO);
    CHECK_EQ(kconfig_number(k, "N"), 12);
    CHECK_EQ(kconfig_number(k, "Z"), 0);
    kconfig_free(k);
    CHECK(!kconfig_open(dir) && !kconfig_open("/dev/zero"));
    CHECK(!kconfig_open_data("c", "CONFIG_ARM64=y\n", 15) && !kconfig_open_data("c", "\0\0\0", 3));
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(tree);
    snprintf(tree, sizeof tree, "%s/arch/x86", dir), rmdir(tree);
    snprintf(tree, sizeof tree, "%s/arch", dir), rmdir(tree);
    CHECK(rmdir(dir) == 0);
}
