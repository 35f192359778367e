/* SPDX-License-Identifier: MIT
 *
 * Initrds, command lines, files and RAM sizes that do not fit (rows L4 to L7): one sentence that names the file.
 */
#include "kernels.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- L4 */

static char dir[4096];
static const char *path_in(const char *name)
{
    static char path[sizeof dir + 64];
    if (!dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(dir, sizeof(dir), "%s/vmlet-boot.XXXXXX", tmp ? tmp : "/tmp");
        CHECK(mkdtemp(dir) != NULL);
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void remove_dir(void)
{
    rmdir(dir);
    dir[0] = '\0';
}

static const char *sparse_file(const char *name, off_t size)
{
    const char *path = path_in(name);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(fd >= 0);
    bool ok = ftruncate(fd, size) == 0;
    close(fd);
    CHECK(ok);
    return path;
}

static bool with_initrd(uint8_t *kernel, uint64_t size, struct ram *ram, struct boot_source source)
{
    CHECK(k_open(kernel, size));
    return k_load(&(struct boot_config){.ram = ram, .initrds = &source, .n_initrds = 1});
}

#define CHECK_INITRD_REFUSED(ok, words)                                                                      \
    do {                                                                                                     \
        CHECK(!(ok));                                                                                        \
        if (strncmp(k_err, "initrd ", 7) || !strstr(k_err, words)) {                                         \
            printf("%s:%d: the reason is \"%s\"\n", __FILE__, __LINE__, k_err);                              \
            longjmp(test_end, 1);                                                                            \
        }                                                                                                    \
    } while (0)

TEST(L4_initrd_sizes)
{
    static const off_t sizes[] = {65 << 20, 5ll << 30, 1ll << 40};
    uint8_t *kinds[] = {bz_good(), elf_good(true, true)};
    static const uint64_t kind_sizes[] = {BZ_SIZE, ELF_SIZE};
    struct ram *ram = test_ram(64 * MIB);
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < 3; i++) {
            const char *path = sparse_file("initrd", sizes[i]);
            bool ok = with_initrd(kinds[k], kind_sizes[k], ram, (struct boot_source){.path = path});
            unlink(path);
            CHECK_INITRD_REFUSED(ok, "do not fit below 64 MiB");
        }
        const char *path = sparse_file("initrd", 0);
        bool ok = with_initrd(kinds[k], kind_sizes[k], ram, (struct boot_source){.path = path});
        unlink(path);
        CHECK_INITRD_REFUSED(ok, "the file is empty");
        CHECK_INITRD_REFUSED(
            with_initrd(kinds[k], kind_sizes[k], ram, (struct boot_source){.data = "", .size = 0}), "empty");
    }
    remove_dir();
}

TEST(L4_initrd_larger_than_4g_with_enough_ram)
{
    struct ram *ram = test_ram(8 * GIB);
    const char *path = sparse_file("initrd", 5ll << 30);
    bool ok = with_initrd(bz_good(), BZ_SIZE, ram, (struct boot_source){.path = path});
    unlink(path);
    remove_dir();
    CHECK_INITRD_REFUSED(ok, "do not fit below 2048 MiB");
}

TEST(L4_initrd_no_room_beside_the_kernel)
{
    struct ram *ram = test_ram(64 * MIB);
    uint8_t *b = bz_good();
    put32(b + 0x260, 40 * MIB); /* kernel from 16 to 56 MiB; 8 above, 15 below */
    const char *path = sparse_file("initrd", 15 * MIB);
    CHECK(with_initrd(b, BZ_SIZE, ram, (struct boot_source){.path = path}));
    CHECK_EQ(get32(k_mem(k_state.rsi + 0x218, 4)), MIB);
    path = sparse_file("initrd", 15 * MIB + 1);
    bool ok = with_initrd(b, BZ_SIZE, ram, (struct boot_source){.path = path});
    unlink(path);
    remove_dir();
    CHECK_INITRD_REFUSED(ok, "no room");
}

TEST(L4_initrd_addr_max_below_kernel)
{
    static const uint32_t limits[] = {0, 1, 0xfff, 0xfffff, 0x100000, 0x100002};
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        uint8_t *b = bz_good();
        put32(b + 0x22c, limits[i]);
        CHECK_INITRD_REFUSED(
            with_initrd(b, BZ_SIZE, test_ram(64 * MIB), (struct boot_source){NULL, "abcd", 4}), "");
    }
    uint8_t *b = bz_good();
    put32(b + 0x22c, 0x100003); /* the first bytes at 1 MiB, far below the kernel */
    CHECK(with_initrd(b, BZ_SIZE, test_ram(64 * MIB), (struct boot_source){NULL, "abcd", 4}));
}

TEST(L4_many_initrds)
{
    static struct boot_source many[300];
    for (unsigned i = 0; i < 300; i++)
        many[i] = (struct boot_source){NULL, "abcde", 5};
    CHECK(k_open(bz_good(), BZ_SIZE));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB), .initrds = many, .n_initrds = 300}));
    CHECK_EQ(get32(k_mem(k_state.rsi + 0x21c, 4)), 2400);
    CHECK(k_open(mb_flat(), MB_FLAT));
    CHECK_REFUSED(k_load(&(struct boot_config){.ram = test_ram(64 * MIB), .initrds = many, .n_initrds = 300}),
                  "300 modules");
    CHECK(k_open(mb_flat(), MB_FLAT));
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB), .initrds = many, .n_initrds = 32}));
    for (unsigned i = 0; i < 32; i++) {
        const uint8_t *e = k_mem(get32(k_mem(k_state.rbx + 24, 4)) + 16 * i, 16);
        CHECK(!memcmp(k_mem(get32(e), 5), "abcde", 5));
    }
}

TEST(L4_multiboot_module_too_big)
{
    const char *path = sparse_file("mod", 5ll << 30);
    bool ok = with_initrd(mb_flat(), MB_FLAT, test_ram(64 * MIB), (struct boot_source){.path = path});
    unlink(path);
    remove_dir();
    CHECK_INITRD_REFUSED(ok, "no room for a module");
}

/* --- L5 */

static bool with_cmdline(const uint8_t *kernel, uint64_t size, size_t length)
{
    char *s = malloc(length + 1);
    memset(s, 'x', length);
    s[length] = '\0';
    bool ok = k_open(kernel, size) && k_load(&(struct boot_config){.ram = test_ram(64 * MIB), .cmdline = s});
    free(s);
    return ok;
}

TEST(L5_cmdline_length)
{
    uint8_t *b = bz_good();
    CHECK(with_cmdline(b, BZ_SIZE, 2047));
    CHECK_EQ(strlen((const char *)k_mem(get32(k_mem(k_state.rsi + 0x228, 4)), 2048)), 2047);
    CHECK_REFUSED(with_cmdline(b, BZ_SIZE, 2048),
                  "a command line of 2048 bytes; this kernel takes at most 2047");
    CHECK_REFUSED(with_cmdline(b, BZ_SIZE, 65536), "at most 2047");
    CHECK_REFUSED(with_cmdline(b, BZ_SIZE, 1 << 20), "at most 2047");
    put32(b + 0x238, 0); /* means 255 */
    CHECK(with_cmdline(b, BZ_SIZE, 255));
    CHECK_REFUSED(with_cmdline(b, BZ_SIZE, 256), "at most 255");
    put32(b + 0x238, 0xffffffff);
    CHECK(with_cmdline(b, BZ_SIZE, 65536));
    CHECK(with_cmdline(b, BZ_SIZE, 1 << 20)); /* not below 1 MiB any more */
    CHECK_REFUSED(with_cmdline(b, BZ_SIZE, 80 << 20), "no room");

    CHECK(with_cmdline(elf_good(true, true), ELF_SIZE, 2047));
    CHECK_REFUSED(with_cmdline(elf_good(true, true), ELF_SIZE, 2048), "at most 2047");
    CHECK_REFUSED(with_cmdline(elf_good(true, false), ELF_SIZE, 65536), "at most 2047");
    CHECK(with_cmdline(mb_flat(), MB_FLAT, 65535 - 4)); /* "img " comes before it */
    CHECK_REFUSED(with_cmdline(mb_flat(), MB_FLAT, 65535 - 3), "at most 65535");
}

/* --- L6 */

static bool open_path(const char *path)
{
    boot_close(k_boot);
    k_err[0] = '\0';
    k_boot = boot_open(path, k_err, sizeof(k_err));
    return k_boot;
}

static const char *kernel_file(const void *data, size_t size)
{
    const char *path = sparse_file("kernel", 0);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    size_t n = fwrite(data, 1, size, f);
    fclose(f);
    CHECK_EQ(n, size);
    return path;
}

TEST(L6_not_a_file)
{
    const char *fifo = path_in("fifo");
    CHECK(mkfifo(fifo, 0600) == 0); /* nobody writes to it: opening must not wait */
    bool ok = open_path(fifo);
    unlink(fifo);
    CHECK(!ok && strstr(k_err, "it is a pipe, not a regular file") && strstr(k_err, "/fifo: "));
    CHECK(!open_path(dir) && strstr(k_err, "a folder"));
    CHECK(!open_path("/dev/zero") && strstr(k_err, "kernel /dev/zero: it is a character device"));
    CHECK(!open_path("/nonexistent/kernel") &&
          strstr(k_err, "kernel /nonexistent/kernel: No such file or directory"));
    CHECK(!open_path("") && k_err[0]);
    static const char *const bad[] = {"/dev/zero", "/", "/nonexistent"};
    for (unsigned i = 0; i < 3; i++) {
        CHECK_INITRD_REFUSED(
            with_initrd(bz_good(), BZ_SIZE, test_ram(64 * MIB), (struct boot_source){.path = bad[i]}),
            bad[i]);
        CHECK_INITRD_REFUSED(
            with_initrd(mb_flat(), MB_FLAT, test_ram(64 * MIB), (struct boot_source){.path = bad[i]}),
            bad[i]);
    }
    remove_dir();
}

TEST(L6_kernel_shrinks)
{
    static const unsigned rest[] = {0, 1, BZ_SETUP, BZ_SIZE - 1};
    for (unsigned i = 0; i < 4; i++) {
        const char *path = kernel_file(bz_good(), BZ_SIZE);
        CHECK(open_path(path));
        CHECK(truncate(path, rest[i]) == 0);
        bool ok = k_load(&(struct boot_config){.ram = test_ram(64 * MIB)});
        unlink(path);
        CHECK(!ok && strstr(k_err, "it shrank while it was read"));
    }
    const char *path = kernel_file(bz_good(), BZ_SIZE);
    CHECK(open_path(path));
    unlink(path); /* gone, but held open: boots */
    CHECK(k_load(&(struct boot_config){.ram = test_ram(64 * MIB)}));
    remove_dir();
}

TEST(L6_kernel_empty)
{
    const char *path = sparse_file("kernel", 0);
    bool ok = open_path(path);
    unlink(path);
    remove_dir();
    CHECK(!ok && strstr(k_err, "the file is empty"));
    CHECK_REFUSED(k_open("", 0), "empty");
}

/* --- RAM that is too small for anything */

TEST(L7_ram_sizes_at_the_edges)
{
    static const uint64_t sizes[] = {4096, 0x10000, 0x9f000, MIB, MIB + 4096, 16 * MIB, 3584 * MIB};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ram *ram = test_ram(sizes[i]);
        uint8_t *kinds[] = {bz_good(), elf_good(true, true), mb_flat()};
        static const uint64_t kind_sizes[] = {BZ_SIZE, ELF_SIZE, MB_FLAT};
        for (unsigned k = 0; k < 3; k++) {
            CHECK(k_open(kinds[k], kind_sizes[k]));
            bool ok = k_load(&(struct boot_config){
                .ram = ram, .initrds = &(struct boot_source){NULL, "abcd", 4},
                      .n_initrds = 1
            });
            CHECK_EQ(ok, sizes[i] > 32 * MIB || (k == 2 && sizes[i] > 2 * MIB));
            if (!ok)
                CHECK_REFUSED(ok, "-m");
        }
    }
}
