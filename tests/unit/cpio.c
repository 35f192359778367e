// SPDX-License-Identifier: MIT
/* The archive is read back by a parser of the test's own, and by busybox's cpio where that is installed. */
#include "test.h"

#include "guest/cpio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct found {
    const char *name;
    const uint8_t *bytes;
    uint32_t mode, size, major, minor, nlink, mtime, ino;
};

struct archive {
    uint8_t *bytes;
    uint64_t size;
    struct found all[4096];
    unsigned count;
    bool sound;
};

static uint32_t hex(const uint8_t *p)
{
    char text[9] = {0};
    memcpy(text, p, 8);
    return (uint32_t)strtoul(text, NULL, 16);
}

static struct archive *parse(struct cpio *c)
{
    static struct archive a;
    free(a.bytes);
    a = (struct archive){.size = cpio_size(c)};
    a.bytes = malloc(a.size + 8);
    memset(a.bytes, 0xee, a.size + 8);
    if (!cpio_write(c, a.bytes))
        return &a;
    for (int i = 0; i < 8; i++)
        if (a.bytes[a.size + (unsigned)i] != 0xee)
            return &a;
    for (uint64_t at = 0; at + 110 <= a.size;) {
        const uint8_t *h = a.bytes + at;
        uint32_t name = hex(h + 94), size = hex(h + 54);
        uint64_t data = (at + 110 + name + 3) & ~3ull;
        if (memcmp(h, "070701", 6) || data + size > a.size || h[110 + name - 1])
            return &a;
        struct found f = {(const char *)h + 110, a.bytes + data, hex(h + 14), size,      hex(h + 78),
                          hex(h + 86),           hex(h + 38),    hex(h + 46), hex(h + 6)};
        at = (data + size + 3) & ~3ull;
        if (!strcmp(f.name, "TRAILER!!!")) {
            a.sound = at == a.size && at % 4 == 0;
            return &a;
        }
        a.all[a.count++] = f;
    }
    return &a;
}

static const struct found *get(const struct archive *a, const char *name)
{
    for (unsigned i = 0; i < a->count; i++)
        if (!strcmp(a->all[i].name, name))
            return &a->all[i];
    return NULL;
}

static bool has_text(const struct found *f, const char *text)
{
    return f && f->size == strlen(text) && !memcmp(f->bytes, text, f->size);
}

TEST(cpio_kinds_and_parents)
{
    struct cpio *c = cpio_new();
    CHECK(cpio_bytes(c, "/a/b/c.txt", 0640, "hello", 5));
    CHECK(cpio_node(c, "dev/console", S_IFCHR | 0600, 5, 1));
    CHECK(cpio_symlink(c, "a/link", "b/c.txt"));
    CHECK(cpio_dir(c, "/tmp", 01777));
    struct archive *a = parse(c);
    CHECK(a->sound);
    CHECK_EQ(a->count, 7);
    CHECK_STR(a->all[0].name, "a");
    CHECK_STR(a->all[1].name, "a/b");
    CHECK_EQ(get(a, "a/b")->mode, S_IFDIR | 0755);
    CHECK_EQ(get(a, "a/b")->nlink, 2);
    CHECK_EQ(get(a, "a/b/c.txt")->mode, S_IFREG | 0640);
    CHECK_EQ(get(a, "a/b/c.txt")->nlink, 1);
    CHECK(has_text(get(a, "a/b/c.txt"), "hello"));
    CHECK(has_text(get(a, "a/link"), "b/c.txt"));
    CHECK_EQ(get(a, "a/link")->mode, S_IFLNK | 0777);
    CHECK_EQ(get(a, "dev/console")->mode, S_IFCHR | 0600);
    CHECK_EQ(get(a, "dev/console")->major, 5);
    CHECK_EQ(get(a, "dev/console")->minor, 1);
    CHECK_EQ(get(a, "tmp")->mode, S_IFDIR | 01777);
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < i; k++)
            CHECK(a->all[i].ino != a->all[k].ino);
    cpio_free(c);
}

TEST(cpio_links_in_names_are_followed)
{
    struct cpio *c = cpio_new();
    cpio_symlink(c, "bin", "usr/bin");
    cpio_symlink(c, "usr/sbin", "bin");
    cpio_symlink(c, "abs", "/usr/sbin");
    cpio_symlink(c, "deep/up", "../usr");
    cpio_bytes(c, "/bin/sh", 0755, "1", 1);
    cpio_bytes(c, "/usr/sbin/ip", 0755, "2", 1);
    cpio_bytes(c, "/abs/x", 0755, "3", 1);
    cpio_bytes(c, "/deep/up/y", 0755, "4", 1);
    CHECK(cpio_has(c, "/usr/bin/sh"));
    CHECK(cpio_has(c, "/abs/ip"));
    CHECK(!cpio_has(c, "/abs/nothing"));
    struct archive *a = parse(c);
    CHECK(a->sound);
    CHECK(has_text(get(a, "usr/bin/sh"), "1"));
    CHECK(has_text(get(a, "usr/bin/ip"), "2"));
    CHECK(has_text(get(a, "usr/bin/x"), "3"));
    CHECK(has_text(get(a, "usr/y"), "4"));
    CHECK(!get(a, "bin/sh"));
    cpio_free(c);
}

TEST(cpio_added_again_takes_the_new_content)
{
    struct cpio *c = cpio_new();
    cpio_bytes(c, "f", 0644, "old", 3);
    cpio_symlink(c, "l", "f");
    CHECK(cpio_bytes(c, "f", 0755, "newer", 5));
    CHECK(cpio_bytes(c, "l", 0644, "file", 4));
    CHECK(cpio_dir(c, "d", 0700));
    CHECK(cpio_dir(c, "d", 0711));
    struct archive *a = parse(c);
    CHECK(a->sound);
    CHECK_EQ(a->count, 3);
    CHECK(has_text(get(a, "f"), "newer"));
    CHECK_EQ(get(a, "f")->mode, S_IFREG | 0755);
    CHECK_EQ(get(a, "l")->mode, S_IFREG | 0644);
    CHECK_EQ(get(a, "d")->mode, S_IFDIR | 0711);
    CHECK(!cpio_bytes(c, "d", 0644, "", 0));
    CHECK(strstr(cpio_error(c), "folder"));
    cpio_free(c);
}

static bool refused(bool (*add)(struct cpio *), const char *why)
{
    struct cpio *c = cpio_new();
    bool ok = !add(c) && strstr(cpio_error(c), why);
    if (!ok)
        printf("got: %s\n", cpio_error(c));
    ok = ok && !cpio_dir(c, "later", 0755); /* an error stays */
    cpio_free(c);
    return ok;
}

static bool add_dots(struct cpio *c)
{
    return cpio_bytes(c, "a/../../etc/x", 0644, "", 0);
}

static bool add_dots_last(struct cpio *c)
{
    return cpio_dir(c, "a/..", 0755);
}

static bool add_loop(struct cpio *c)
{
    cpio_symlink(c, "one", "two");
    cpio_symlink(c, "two", "one");
    return cpio_bytes(c, "one/x", 0644, "", 0);
}

static bool add_growing_loop(struct cpio *c)
{
    cpio_symlink(c, "one", "one/more");
    return cpio_bytes(c, "one/x", 0644, "", 0);
}

static bool add_below_file(struct cpio *c)
{
    cpio_bytes(c, "file", 0644, "", 0);
    return cpio_bytes(c, "file/x", 0644, "", 0);
}

static bool add_long(struct cpio *c)
{
    static char name[5000];
    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = i % 100 ? 'n' : '/';
    return cpio_dir(c, name, 0755);
}

static bool add_long_part(struct cpio *c)
{
    static char name[300];
    memset(name, 'n', sizeof name - 1);
    return cpio_dir(c, name, 0755);
}

static bool add_root(struct cpio *c)
{
    return cpio_bytes(c, "/", 0644, "", 0);
}

static bool add_missing(struct cpio *c)
{
    return cpio_file(c, "x", "/no/such/file");
}

static bool add_device(struct cpio *c)
{
    return cpio_file(c, "x", "/dev/null");
}

TEST(cpio_refuses)
{
    CHECK(refused(add_dots, ".."));
    CHECK(refused(add_dots_last, ".."));
    CHECK(refused(add_loop, "symbolic links"));
    CHECK(refused(add_growing_loop, "symbolic links"));
    CHECK(refused(add_below_file, "not a folder"));
    CHECK(refused(add_long, "too long"));
    CHECK(refused(add_long_part, "too long"));
    CHECK(refused(add_root, "root"));
    CHECK(refused(add_missing, "No such file"));
    CHECK(refused(add_device, "regular"));
}

static void put_file(const char *dir, const char *name, const char *text, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode))
        abort();
    close(fd);
}

static char *make_tree(void)
{
    static char dir[] = "/tmp/vmlet-cpio-XXXXXX", path[256];
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir))
        abort();
    snprintf(path, sizeof path, "%s/sub", dir);
    mkdir(path, 0750);
    put_file(dir, "z", "last", 0600);
    put_file(dir, "run.sh", "#!/bin/sh\n", 0755);
    put_file(dir, "sub/empty", "", 0644);
    snprintf(path, sizeof path, "%s/sub/link", dir);
    if (symlink("../z", path))
        abort();
    snprintf(path, sizeof path, "%s/fifo", dir);
    if (mkfifo(path, 0600))
        abort();
    return dir;
}

static void remove_tree(const char *dir)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command))
        abort();
}

TEST(cpio_tree_of_the_host)
{
    const char *dir = make_tree();
    struct cpio *c = cpio_new();
    CHECK(cpio_tree(c, "/opt/t", dir));
    struct archive *a = parse(c);
    CHECK(a->sound);
    CHECK_EQ(a->count, 7);
    CHECK(has_text(get(a, "opt/t/z"), "last"));
    CHECK_EQ(get(a, "opt/t/run.sh")->mode, S_IFREG | 0755);
    CHECK_EQ(get(a, "opt/t/sub")->mode, S_IFDIR | 0750);
    CHECK_EQ(get(a, "opt/t/sub/empty")->size, 0);
    CHECK(has_text(get(a, "opt/t/sub/link"), "../z"));
    CHECK(get(a, "opt/t/z")->mtime > 1000000000);
    CHECK(!get(a, "opt/t/fifo"));
    /* The same again gives the same bytes. */
    struct cpio *again = cpio_new();
    CHECK(cpio_tree(again, "/opt/t", dir));
    CHECK_EQ(cpio_size(again), a->size);
    uint8_t *bytes = malloc(a->size);
    CHECK(cpio_write(again, bytes));
    CHECK(!memcmp(bytes, a->bytes, a->size));
    free(bytes);
    cpio_free(again);
    cpio_free(c);
    remove_tree(dir);
}

TEST(L6_cpio_file_changes_between)
{
    const char *dir = make_tree();
    char path[256];
    struct cpio *c = cpio_new();
    snprintf(path, sizeof path, "%s/z", dir);
    CHECK(cpio_file(c, "z", path));
    put_file(dir, "z", "longer than it was", 0600);
    CHECK(has_text(get(parse(c), "z"), "long"));
    put_file(dir, "z", "x", 0600);
    uint8_t bytes[4096];
    CHECK(cpio_size(c) <= sizeof bytes);
    CHECK(!cpio_write(c, bytes));
    CHECK(strstr(cpio_error(c), "shorter"));
    cpio_free(c);
    remove_tree(dir);
}

TEST(cpio_many_names)
{
    struct cpio *c = cpio_new();
    char name[64];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "/d%u/f%u", i % 7, i);
        CHECK(cpio_bytes(c, name, 0644, name, strlen(name)));
    }
    struct archive *a = parse(c);
    CHECK(a->sound);
    CHECK_EQ(a->count, 3007);
    CHECK(has_text(get(a, "d4/f2993"), "/d4/f2993"));
    cpio_free(c);
}

TEST(cpio_read_by_busybox)
{
    if (access("/bin/busybox", X_OK))
        SKIP("no busybox");
    char path[] = "/tmp/vmlet-cpio-XXXXXX", command[256], line[256], text[1024] = "";
    const char *dir = make_tree();
    struct cpio *c = cpio_new();
    cpio_tree(c, "/t", dir);
    struct archive *a = parse(c);
    int fd = mkstemp(path);
    CHECK(a->sound && write(fd, a->bytes, a->size) == (ssize_t)a->size);
    close(fd);
    snprintf(command, sizeof command, "busybox cpio -t < %s 2>/dev/null", path);
    FILE *f = popen(command, "r");
    while (fgets(line, sizeof line, f))
        strcat(text, line);
    CHECK_EQ(pclose(f), 0);
    CHECK_STR(text, "t\nt/run.sh\nt/sub\nt/sub/empty\nt/sub/link\nt/z\n");
    unlink(path);
    cpio_free(c);
    remove_tree(dir);
}
