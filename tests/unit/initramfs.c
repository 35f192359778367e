// SPDX-License-Identifier: MIT
/* The generated initramfs: what is in it, and what is refused. */
#include "test.h"

#include "guest/busybox.h"
#include "guest/command_file.h"
#include "guest/initramfs.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGV(...) ((char *const *)(const char *const[]){__VA_ARGS__, NULL})
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct initramfs_error error;

static struct cpio *build(const struct initramfs_spec *spec)
{
    struct cpio *c = initramfs_build(spec, &error);
    if (!c)
        printf("%s\n", error.text);
    return c;
}

/* The bytes of a file in the archive; a copy with a NUL behind. */
static char *content(struct cpio *c, const char *name, size_t *size)
{
    static uint8_t *bytes;
    uint64_t total = cpio_size(c);
    free(bytes);
    bytes = malloc(total);
    if (!cpio_write(c, bytes))
        return NULL;
    for (uint64_t at = 0; at + 110 <= total;) {
        char number[9] = {0};
        memcpy(number, bytes + at + 94, 8);
        uint64_t name_size = strtoul(number, NULL, 16);
        memcpy(number, bytes + at + 54, 8);
        uint64_t n = strtoul(number, NULL, 16), data = (at + 110 + name_size + 3) & ~3ull;
        if (!strcmp((char *)bytes + at + 110, name)) {
            static char copy[1 << 20];
            if (n >= sizeof copy)
                return NULL;
            memcpy(copy, bytes + data, n);
            copy[n] = 0;
            *size = n;
            return copy;
        }
        at = (data + n + 3) & ~3ull;
    }
    return NULL;
}

TEST(initramfs_of_a_shell_command)
{
    size_t n;
    struct cpio *c = build(&(struct initramfs_spec){
        .argv = ARGV("sh", "-c", "exit 7"), .env = ARGV("PATH=/x"), .cwd = "/somewhere/else"});
    CHECK(c);
    CHECK(cpio_has(c, "/init"));
    CHECK(cpio_has(c, "/dev/console"));
    CHECK(cpio_has(c, "/bin/sh"));
    CHECK(cpio_has(c, "/somewhere/else"));
    CHECK(cpio_has(c, "/lib64/ld-linux-x86-64.so.2"));
    char *text = content(c, "init", &n);
    CHECK(text && n == (size_t)(init_blob_end - init_blob) && !memcmp(text, init_blob, n));
    text = content(c, ".vmlet/command", &n);
    CHECK(text && !memcmp(text, COMMAND_MAGIC, 8));
    CHECK(memmem(text, n, "exit 7", 7));
    CHECK(memmem(text, n, "/somewhere/else", 16));
    CHECK(memmem(text, n, "PATH=/x", 8));
    cpio_free(c);
}

TEST(initramfs_of_a_guest_with_the_hosts_root)
{
    size_t n;
    struct cpio *c =
        build(&(struct initramfs_spec){.argv = ARGV("sh", "-c", "exit 7"),
                                       .cwd = "/somewhere/else",
                                       .add = LIST("/etc/passwd:/etc/added", "/etc/passwd:/bin/x"),
                                       .shares = LIST("tag7", "/", "ro", "tag8", "/some/where", ""),
                                       .host_root = true});
    CHECK(c);
    CHECK(cpio_has(c, "/init"));
    CHECK(!cpio_has(c, "/usr/bin/sh") && !cpio_has(c, "/usr/bin/busybox") && !cpio_has(c, "/somewhere"));
    CHECK(cpio_has(c, SHARE_ADDED "/etc/added") && !cpio_has(c, "/etc/added"));
    char real[PATH_MAX], name[PATH_MAX + 64]; /* a link of the host's is no folder in the layer above it */
    CHECK(realpath("/bin", real));
    snprintf(name, sizeof name, SHARE_ADDED "%s/x", real);
    CHECK(cpio_has(c, name));
    char *text = content(c, ".vmlet/command", &n);
    struct command_head head;
    CHECK(text && n > sizeof head);
    memcpy(&head, text, sizeof head);
    CHECK_EQ(head.shares, 2);
    CHECK_EQ(head.argc, 3);
    CHECK(memmem(text, n, "tag7", 5) && memmem(text, n, "/some/where", 12));
    cpio_free(c);
    /* no command: the shell that is named */
    CHECK(c = build(&(struct initramfs_spec){.cwd = "/x", .host_root = true, .shell = "/opt/some-shell"}));
    text = content(c, ".vmlet/command", &n);
    CHECK(text && memmem(text, n, "/opt/some-shell", 16) && memmem(text, n, "/x", 3));
    cpio_free(c);
    /* another machine's program is known before boot all the same */
    char file[] = "/tmp/vmlet-arm-XXXXXX";
    int fd = mkstemp(file);
    uint8_t elf[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = 183, [20] = 1, [52] = 64};
    CHECK(fd >= 0 && write(fd, elf, sizeof elf) == sizeof elf && !fchmod(fd, 0755));
    CHECK(!build(&(struct initramfs_spec){.argv = ARGV(file), .cwd = "/", .host_root = true}));
    CHECK_EQ(error.status, 126);
    close(fd);
    unlink(file);
}

TEST(initramfs_is_the_same_each_time)
{
    const struct initramfs_spec spec = {.argv = ARGV("ls"), .cwd = "/"};
    struct cpio *a = build(&spec), *b = build(&spec);
    CHECK(a && b && cpio_size(a) == cpio_size(b));
    uint8_t *x = malloc(cpio_size(a)), *y = malloc(cpio_size(a));
    CHECK(cpio_write(a, x) && cpio_write(b, y));
    CHECK(!memcmp(x, y, cpio_size(a)));
    free(x);
    free(y);
    cpio_free(a);
    cpio_free(b);
}

TEST(initramfs_without_command_has_a_shell)
{
    struct cpio *c = build(&(struct initramfs_spec){0});
    CHECK(c && cpio_has(c, "/bin/sh"));
    cpio_free(c);
    c = build(&(struct initramfs_spec){.no_busybox = true});
    CHECK(c && cpio_has(c, "/bin/sh") && !cpio_has(c, "/bin/busybox"));
    cpio_free(c);
}

TEST(initramfs_busybox_links)
{
    if (!busybox_find())
        SKIP("no static busybox");
    size_t n;
    struct cpio *c = build(&(struct initramfs_spec){.argv = ARGV("sh")});
    CHECK(c && cpio_has(c, "/bin/busybox"));
    CHECK(cpio_has(c, "/bin/ls") && cpio_has(c, "/bin/awk") && cpio_has(c, "/sbin/mount") &&
          cpio_has(c, "/usr/bin/["));
    char *text = content(c, "usr/bin/ls", &n);
    CHECK(text);
    CHECK_STR(text, "busybox");
    /* All that `busybox --list` names, and nothing else. */
    char line[100];
    unsigned listed = 0;
    FILE *f = popen("busybox --list", "r");
    while (fgets(line, sizeof line, f)) {
        char name[128];
        line[strcspn(line, "\n")] = 0;
        snprintf(name, sizeof name, "/usr/bin/%s", line);
        CHECK(cpio_has(c, name));
        listed++;
    }
    pclose(f);
    CHECK(listed > 100);
    cpio_free(c);
}

TEST(initramfs_busybox_table)
{
    static const char text[] =
        "junk\0[\0[[\0no\0[\0[[\0a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q\0r\0s\0t\0\0z";
    size_t n = 0;
    const char *table = busybox_table(text, sizeof text, &n);
    CHECK(table == text + 13);
    CHECK_EQ(n, 2 + 3 + 20 * 2);
    CHECK(!busybox_table(text, 40, &n));
    CHECK(!busybox_table("", 0, &n));
}

static void put(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode))
        abort();
    close(fd);
}

TEST(initramfs_added_files)
{
    char dir[] = "/tmp/vmlet-add-XXXXXX", one[64], colon[64], with[128], command[64];
    size_t n;
    CHECK(mkdtemp(dir));
    snprintf(one, sizeof one, "%s/one", dir);
    snprintf(colon, sizeof colon, "%s/a:/b", dir);
    put(one, "1", 0644);
    snprintf(command, sizeof command, "mkdir %s/a:", dir);
    CHECK(!system(command));
    put(colon, "2", 0644);
    snprintf(with, sizeof with, "%s:/etc/other/name", one);
    struct cpio *c = build(&(struct initramfs_spec){
        .argv = ARGV("sh"), .cwd = "/", .add = LIST(one, with, colon, "/etc/hosts")});
    CHECK(c);
    CHECK_STR(content(c, one + 1, &n), "1");
    CHECK_STR(content(c, "etc/other/name", &n), "1");
    CHECK_STR(content(c, colon + 1, &n), "2");
    cpio_free(c);
    /* A folder, with another name, and by a relative name. */
    snprintf(with, sizeof with, "%s:/data", dir);
    char here[256];
    CHECK(getcwd(here, sizeof here) && !chdir(dir));
    c = build(&(struct initramfs_spec){.argv = ARGV("./one"), .add = LIST(with, ".", "one")});
    CHECK(!chdir(here));
    CHECK(c);
    CHECK_STR(content(c, "data/one", &n), "1");
    CHECK_STR(content(c, one + 1, &n), "1");
    cpio_free(c);
    CHECK(!initramfs_build(&(struct initramfs_spec){.argv = ARGV("sh"), .add = LIST("/no/such/file:/x")},
                           &error));
    CHECK_EQ(error.status, 125);
    CHECK_STR(error.text, "--add /no/such/file: No such file or directory");
    CHECK(!initramfs_build(&(struct initramfs_spec){.argv = ARGV("sh"), .add = LIST("/dev/null")}, &error));
    CHECK(!initramfs_build(&(struct initramfs_spec){.argv = ARGV("sh"), .add = LIST("")}, &error));
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK(!system(command));
}

TEST(initramfs_command_of_another_architecture)
{
    static const char arm[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [16] = 2, [18] = (char)183, [20] = 1};
    char path[] = "/tmp/vmlet-arm-XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, arm, sizeof arm) == sizeof arm && !fchmod(fd, 0755));
    close(fd);
    CHECK(!initramfs_build(&(struct initramfs_spec){.argv = ARGV(path)}, &error));
    CHECK_EQ(error.status, 126);
    CHECK(strstr(error.text, "is a program for arm64"));
    unlink(path);
}

TEST(initramfs_unknown_command_is_left_to_the_guest)
{
    struct cpio *c = build(&(struct initramfs_spec){.argv = ARGV("no-such-command")});
    CHECK(c);
    cpio_free(c);
}

TEST(initramfs_large_arguments)
{
    char *big = malloc(120001), *argv[20];
    size_t n;
    memset(big, 'x', 120000);
    big[120000] = 0;
    argv[0] = (char *)(uintptr_t) "echo";
    for (int i = 1; i < 7; i++)
        argv[i] = big;
    argv[7] = NULL;
    struct cpio *c = build(&(struct initramfs_spec){.argv = argv});
    CHECK(c && content(c, ".vmlet/command", &n));
    CHECK(n > 6 * 120000);
    cpio_free(c);
    free(big);
}

TEST(initramfs_modules_dir_must_be_there)
{
    CHECK(!initramfs_build(&(struct initramfs_spec){.argv = ARGV("sh"), .modules_dir = "/no/such"}, &error));
    CHECK_STR(error.text, "--modules-dir /no/such: No such file or directory");
    CHECK(!initramfs_build(
        &(struct initramfs_spec){.argv = ARGV("sh"), .modules = LIST("e1000"), .modules_dir = "/etc"},
        &error));
    CHECK_EQ(error.status, 125);
    CHECK_STR(error.text, "module e1000: not in /etc (--modules-dir DIR, or --module ./FILE.ko)");
}
