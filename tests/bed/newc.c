// SPDX-License-Identifier: MIT
// newc: packs an initramfs (the "newc" cpio of Documentation/driver-api/early-userspace/buffer-format.rst in
// Linux) from a list on standard input to standard output, without root, cpio or a staging folder. A line is
// one of
//
//   dir PATH MODE            node PATH MODE c|b MAJOR MINOR
//   link PATH TARGET         file PATH MODE HOSTFILE
//
// separated by single tabs, so that host paths may have spaces. Files are written in the order given; the
// archive ends in a trailer and is padded to 512 bytes, so that archives can simply be concatenated.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum {
    NEWC_ALIGN = 4,
    NEWC_BLOCK = 512
};

static unsigned inode;
static unsigned long written;

static void die(const char *what, const char *name)
{
    fprintf(stderr, "newc: %s: ", name);
    perror(what);
    exit(1);
}

static void put(const void *p, size_t n)
{
    if (fwrite(p, 1, n, stdout) != n)
        die("write", "standard output");
    written += n;
}

static void align(unsigned to)
{
    static const char zero[NEWC_BLOCK];
    put(zero, (to - written % to) % to);
}

static void header(const char *path, unsigned mode, unsigned size, unsigned rdev)
{
    char h[128];
    unsigned len = strlen(path) + 1;

    snprintf(h, sizeof(h), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++inode, mode, 0, 0,
             1, 0, size, 0, 0, major(rdev), minor(rdev), len, 0);
    put(h, 6 + 13 * 8);
    put(path, len);
    align(NEWC_ALIGN);
}

static void file(const char *path, unsigned mode, const char *from)
{
    static char buf[1 << 16];
    struct stat st;
    FILE *f = fopen(from, "rb");
    unsigned long left;

    if (!f || fstat(fileno(f), &st) != 0)
        die("open", from);
    header(path, S_IFREG | mode, st.st_size, 0);
    for (left = st.st_size; left;) {
        size_t n = fread(buf, 1, left < sizeof(buf) ? left : sizeof(buf), f);

        if (!n)
            die("read (it shrank)", from);
        put(buf, n);
        left -= n;
    }
    fclose(f);
    align(NEWC_ALIGN);
}

int main(void)
{
    static char line[16384];

    while (fgets(line, sizeof(line), stdin)) {
        char *f[6] = {0}, *rest = line;
        const char *kind;
        unsigned mode;

        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 6 && rest; i++)
            f[i] = strsep(&rest, "\t");
        kind = f[0];
        if (!f[1] || !f[2]) {
            fprintf(stderr, "newc: bad line: %s\n", line);
            return 1;
        }
        mode = strtoul(f[2], NULL, 8);
        if (!strcmp(kind, "dir")) {
            header(f[1], S_IFDIR | mode, 0, 0);
        } else if (!strcmp(kind, "link")) {
            header(f[1], S_IFLNK | 0777, strlen(f[2]), 0);
            put(f[2], strlen(f[2]));
            align(NEWC_ALIGN);
        } else if (!strcmp(kind, "node") && f[5]) {
            header(f[1], (*f[3] == 'b' ? S_IFBLK : S_IFCHR) | mode, 0, makedev(atoi(f[4]), atoi(f[5])));
        } else if (!strcmp(kind, "file") && f[3]) {
            file(f[1], mode, f[3]);
        } else {
            fprintf(stderr, "newc: bad line: %s %s\n", kind, f[1]);
            return 1;
        }
    }
    header("TRAILER!!!", 0, 0, 0);
    align(NEWC_BLOCK);
    if (fflush(stdout) != 0)
        die("write", "standard output");
    return 0;
}
