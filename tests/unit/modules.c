// SPDX-License-Identifier: MIT
/* Modules made here: an ELF header, a .modinfo section, and nothing else. */
#include "test.h"

#include "guest/initramfs.h"
#include "guest/modules.h"
#include "kvm/host/log.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELEASE "6.1.0-test"

static char dir[64];

static void put(const char *name, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
        abort();
    close(fd);
}

static size_t ko_make(uint8_t *out, const char *name, const char *depends, const char *release)
{
    static const char names[] = "\0.modinfo\0.shstrtab";
    char info[512];
    int n = 0;
    if (name)
        n += snprintf(info + n, sizeof info - (size_t)n, "name=%s", name) + 1;
    n += snprintf(info + n, sizeof info - (size_t)n, "license=MIT") + 1;
    n += snprintf(info + n, sizeof info - (size_t)n, "depends=%s", depends) + 1;
    n += snprintf(info + n, sizeof info - (size_t)n, "vermagic=%s SMP mod_unload ", release) + 1;
    Elf64_Ehdr head = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_machine = EM_X86_64,
        .e_version = 1,
        .e_shoff = sizeof head + 512 + sizeof names,
        .e_ehsize = sizeof head,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = 3,
        .e_shstrndx = 2,
    };
    Elf64_Shdr sections[3] = {
        {0                       },
        { .sh_name = 1,  .sh_type = SHT_PROGBITS, .sh_offset = sizeof head, .sh_size = (uint64_t)n},
        {  .sh_name = 10, .sh_type = SHT_STRTAB,   .sh_offset = sizeof head + 512, .sh_size = sizeof names},
    };
    memset(out, 0, sizeof head + 512);
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, info, (size_t)n);
    memcpy(out + sizeof head + 512, names, sizeof names);
    memcpy(out + head.e_shoff, sections, sizeof sections);
    return head.e_shoff + sizeof sections;
}

static void put_ko(const char *file, const char *name, const char *depends)
{
    uint8_t bytes[4096];
    put(file, bytes, ko_make(bytes, name, depends, RELEASE));
}

static void make_dir(void)
{
    strcpy(dir, "/tmp/vmlet-mod-XXXXXX");
    if (!mkdtemp(dir))
        abort();
    char path[256];
    snprintf(path, sizeof path, "%s/kernel", dir);
    mkdir(path, 0755);
    put_ko("kernel/a.ko", "a", "b-dash,c");
    put_ko("kernel/b-dash.ko", "b_dash", "d");
    put_ko("kernel/c.ko", "c", "d");
    put_ko("kernel/d.ko", "d", "");
    put_ko("kernel/loop1.ko", "loop1", "loop2");
    put_ko("kernel/loop2.ko", "loop2", "loop1");
    put_ko("kernel/needy.ko", "needy", "nowhere");
    put_ko("kernel/builtuser.ko", "builtuser", "inside");
    put("modules.builtin", "kernel/lib/inside.ko\n", 21);
}

static void remove_dir(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command))
        abort();
}

static const char *order(const struct modules *m)
{
    static char text[512];
    *text = 0;
    for (size_t i = 0; i < m->count; i++) {
        strcat(strcat(text, i ? " " : ""), m->items[i].name);
        if (*m->items[i].params)
            strcat(strcat(strcat(text, "("), m->items[i].params), ")");
        if (m->items[i].optional)
            strcat(text, "?");
    }
    return text;
}

TEST(modules_in_the_order_of_their_needs)
{
    struct modules m;
    make_dir();
    modules_init(&m, dir, RELEASE);
    CHECK(modules_add(&m, "a,speed=10,list=1,2,3,name=x"));
    CHECK_STR(order(&m), "d b_dash c a(speed=10 list=1,2,3 name=x)");
    CHECK(modules_add(&m, "c")); /* there already */
    CHECK_EQ(m.count, 4);
    CHECK(!modules_add(&m, "d,debug=1")); /* too late for parameters */
    CHECK(strstr(m.error, "parameters"));
    modules_free(&m);

    modules_init(&m, dir, RELEASE);
    CHECK(modules_add(&m, "b_dash")); /* - and _ are one */
    CHECK(modules_add(&m, "builtuser"));
    CHECK(modules_add(&m, "inside")); /* in the kernel: nothing to do */
    CHECK_STR(order(&m), "d b_dash builtuser");
    modules_free(&m);

    /* With the lists of depmod the answer is the same; a list is believed as to where, not as to what. */
    static const char dep[] = "kernel/d.ko:\nkernel/c.ko: kernel/d.ko\nkernel/a.ko: x\nkernel/b-dash.ko:\n";
    put("modules.dep", dep, sizeof dep - 1);
    modules_init(&m, dir, RELEASE);
    CHECK(modules_add(&m, "a"));
    CHECK_STR(order(&m), "d b_dash c a");
    modules_free(&m);
    remove_dir();
}

TEST(modules_as_files)
{
    struct modules m;
    char path[256], needy[256];
    make_dir();
    put_ko("mine.ko", "mine", "c,other");
    put_ko("other.ko", NULL, ""); /* no name= (kernels before 4.16): that of the file */
    snprintf(path, sizeof path, "%s/mine.ko,p=1", dir);
    snprintf(needy, sizeof needy, "%s/other.ko", dir);
    modules_init(&m, NULL, RELEASE);
    CHECK(!modules_add(&m, path));
    CHECK(strstr(m.error, "needs c, which is not in any module folder"));
    modules_free(&m);
    modules_init(&m, dir, RELEASE);
    CHECK(modules_add(&m, needy));
    CHECK(modules_add(&m, path));
    CHECK_STR(order(&m), "other d c mine(p=1)");
    modules_free(&m);
    remove_dir();
}

TEST(modules_refused)
{
    struct modules m;
    uint8_t bytes[4096];
    char path[256];
    make_dir();
    modules_init(&m, dir, RELEASE);
    CHECK(!modules_add(&m, "nothing"));
    CHECK(strstr(m.error, "module nothing: not in"));
    CHECK(!modules_add(&m, ""));
    CHECK(!modules_add(&m, ",a=1"));
    CHECK(!modules_add(&m, "needy"));
    CHECK(strstr(m.error, "needs nowhere"));
    CHECK(!modules_add(&m, "loop1"));
    CHECK(strstr(m.error, "depends on itself"));
    CHECK(!modules_add(&m, "/no/such.ko"));
    CHECK(strstr(m.error, "No such file"));
    modules_free(&m);

    static const struct {
        const char *name, *bytes;
        size_t n;
        const char *why;
    } files[] = {
        {"x.ko",     "\3757zXZ",             5,  "xz: "  },
        {"y.ko.zst", "\x28\xb5\x2f\xfd....", 8,  "zstd: "},
        {"z.ko.gz",  "\x1f\x8b....",         6,  "gzip: "},
        {"t.ko",     "no module at all",     16, "no ELF"},
        {"e.ko",     "",                     0,  "no ELF"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        put(files[i].name, files[i].bytes, files[i].n);
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        modules_init(&m, dir, RELEASE);
        CHECK(!modules_add(&m, path));
        CHECK(strstr(m.error, files[i].why));
        modules_free(&m);
    }
    put("old.ko", bytes, ko_make(bytes, "old", "", "5.10.0-other"));
    snprintf(path, sizeof path, "%s/old.ko", dir);
    modules_init(&m, dir, RELEASE);
    CHECK(!modules_add(&m, path));
    CHECK(strstr(m.error, "is for kernel 5.10.0-other, and the guest's is " RELEASE));
    modules_free(&m);
    modules_init(&m, dir, NULL); /* release not known: not checked */
    CHECK(modules_add(&m, path));
    modules_free(&m);
    modules_init(&m, dir, NULL);
    CHECK(!modules_add(&m, "/bin/sh")); /* a program */
    modules_free(&m);
    remove_dir();
}

/* One folder with all of them, as no distribution has it, and an unpacked one at the end of the chain. */
TEST(modules_compressed)
{
    static const char *const commands[] = {"xz kernel/a.ko", "zstd -q --rm kernel/b-dash.ko",
                                           "gzip kernel/c.ko"};
    struct modules m;
    char command[300];
    uint8_t bytes[4096];
    make_dir();
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "cd %s && %s 2>/dev/null", dir, commands[i]);
        if (system(command)) {
            remove_dir();
            SKIP("xz, zstd or gzip is not here");
        }
    }
    modules_init(&m, dir, RELEASE);
    CHECK(modules_add(&m, "a,x=1"));
    CHECK_STR(order(&m), "d b_dash c a(x=1)");
    CHECK(!m.items[0].unpacked);
    CHECK(m.items[3].unpacked);
    CHECK_EQ(m.items[3].size, ko_make(bytes, "a", "b-dash,c", RELEASE));
    CHECK(!memcmp(m.items[3].unpacked, bytes, m.items[3].size));
    modules_free(&m);

    struct initramfs_error error;
    struct cpio *c = initramfs_build(
        &(struct initramfs_spec){
            .argv = (char *const *)(const char *const[]){"sh", NULL},
            .modules = (const char *const[]){"a",  NULL},
            .modules_dir = dir,
            .kernel_release = RELEASE,
    },
        &error);
    CHECK(c && cpio_has(c, "/.vmlet/modules/a.ko") && cpio_has(c, "/.vmlet/modules/c.ko"));
    uint64_t n = cpio_size(c);
    void *image = malloc(n);
    CHECK(image && cpio_write(c, image));
    CHECK(memmem(image, n, bytes, 512)); /* a's bytes, uncompressed */
    free(image);
    cpio_free(c);

    /* no tool: a sentence */
    const char *path = getenv("PATH");
    char *kept = strdup(path ? path : "");
    setenv("PATH", dir, 1);
    modules_init(&m, dir, RELEASE);
    CHECK(!modules_add(&m, "a"));
    CHECK(strstr(m.error, "a.ko.xz: is compressed, and cannot be unpacked: xz: No such file or directory"));
    modules_free(&m);

    /* a tool that never stops writing is stopped by the size, and what it wrote is refused */
    snprintf(command, sizeof command, "%s/xz", dir);
    put("xz", "#!/bin/sh\nexec /bin/cat /dev/zero\n", 33);
    chmod(command, 0755);
    modules_init(&m, dir, RELEASE);
    CHECK(!modules_add(&m, "a"));
    CHECK(strstr(m.error, "ended with status 1"));
    modules_free(&m);
    setenv("PATH", kept, 1);
    free(kept);
    remove_dir();
}

TEST(modules_wanted_by_devices)
{
    struct modules m;
    make_dir();
    log_set_level(LOG_LEVEL_ERROR);
    modules_init(&m, dir, RELEASE);
    modules_want(&m, "c");
    modules_want(&m, "nothing");
    modules_want(&m, "needy"); /* cannot be had */
    modules_want(&m, "inside");
    CHECK_STR(order(&m), "d? c?");
    CHECK_STR(m.error, "");
    modules_free(&m);
    remove_dir();
}

TEST(modules_damaged_files)
{
    uint8_t good[4096], bad[4096];
    uint64_t seed = 3;
    char path[256];
    make_dir();
    size_t n = ko_make(good, "good", "c", RELEASE);
    snprintf(path, sizeof path, "%s/bad.ko", dir);
    for (unsigned long i = 0; i < test_scale(500); i++) {
        struct modules m;
        memcpy(bad, good, n);
        for (int k = 0; k < 4; k++) {
            /* headers and section table mostly */
            size_t at = test_rand(&seed) % 2 ? test_rand(&seed) % 80 : n - 1 - test_rand(&seed) % 192;
            bad[at] = (uint8_t)(test_rand(&seed) % 2 ? 0xff : test_rand(&seed));
        }
        put("bad.ko", bad, i % 4 ? n : test_rand(&seed) % n);
        modules_init(&m, dir, RELEASE);
        if (!modules_add(&m, path))
            CHECK(*m.error);
        modules_free(&m);
    }
    remove_dir();
}

TEST(modules_folder_of_a_kernel)
{
    char path[256], command[512], *found;
    make_dir();
    snprintf(command, sizeof command,
             "cd %s && mkdir -p boot lib/modules/1.2.3 tree/arch/x86/boot x/flat/lib/modules/1.2.3 && touch "
             "boot/vmlinuz "
             "tree/arch/x86/boot/bzImage tree/modules.order x/flat/vmlinuz",
             dir);
    CHECK(!system(command));
    static const struct {
        const char *image, *folder;
    } rows[] = {
        {"boot/vmlinuz",               "lib/modules/1.2.3"       },
        {"x/flat/vmlinuz",             "x/flat/lib/modules/1.2.3"},
        {"tree/arch/x86/boot/bzImage", "tree"                    },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[256];
        snprintf(path, sizeof path, "%s/%s", dir, rows[i].image);
        snprintf(want, sizeof want, "%s/%s", dir, rows[i].folder);
        found = modules_find_dir(path, "1.2.3");
        CHECK(found);
        CHECK_STR(found, want);
        free(found);
    }
    CHECK(!modules_find_dir(NULL, NULL));
    CHECK(!modules_find_dir("/no/such/image", "no-such-release"));
    CHECK(!modules_find_dir(NULL, "../../etc"));
    remove_dir();
}

TEST(modules_in_the_initramfs)
{
    struct initramfs_error error;
    make_dir();
    struct cpio *c = initramfs_build(
        &(struct initramfs_spec){
            .argv = (char *const *)(const char *const[]){"sh",  NULL},
            .modules = (const char *const[]){        "c", NULL    },
            .wanted = (const char *const[]){ "b-dash", "nothing",     NULL},
            .modules_dir = dir,
            .kernel_release = RELEASE
    },
        &error);
    CHECK(c);
    CHECK(cpio_has(c, "/.vmlet/modules/d.ko") && cpio_has(c, "/.vmlet/modules/c.ko") &&
          cpio_has(c, "/.vmlet/modules/b_dash.ko"));
    CHECK(!cpio_has(c, "/.vmlet/modules/a.ko"));
    cpio_free(c);
    remove_dir();
}
