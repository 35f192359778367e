// SPDX-License-Identifier: MIT
/* File operations by chance, the same ones for the same seed: fsops FOLDER SEED COUNT. They go to a small set of names and
 * descriptors, so that they meet each other: renamed over, unlinked while open, read through a mapping. A line for each says
 * what came of it, with a sum of the bytes that were read. Run on the host and in a guest on two folders of one file system, it
 * prints the same twice, unless whoever brought the folder into the guest does not do what the host does.
 *
 * Left out is what two folders need not agree on: times that are not set, the size of a folder, blocks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    OPEN = 8,
    MOST = 300000,
    PIECE = 70000
};

static uint64_t state;
static int fds[OPEN];
static bool writable[OPEN];
static unsigned char bytes[PIECE];

static uint32_t chance(uint32_t n) /* 0 .. n - 1 */
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % n);
}

static uint32_t sum(const void *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * 16777619u;
    return h;
}

/* One of 7 folders (of which some are below others) and 12 names in each. */
static const char *name(char *to)
{
    static const char *const dirs[] = {".", "a", "a/b", "a/b/c", "d", "d/e", "f"};
    sprintf(to, "%s/n%u", dirs[chance(7)], chance(12));
    return to;
}

static const char *folder(char *to)
{
    static const char *const dirs[] = {"a", "a/b", "a/b/c", "d", "d/e", "f", "f/n1", "a/n2"};
    return strcpy(to, dirs[chance(8)]);
}

static void fill(size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = ((uint64_t)chance(1u << 31) << 31) ^ chance(1u << 31);
        memcpy(bytes + i, &x, n - i < 8 ? n - i : 8);
    }
}

/* --- on names */

static int op_open(uint32_t *h)
{
    static const int flags[] = {O_RDONLY,
                                O_RDWR,
                                O_RDWR | O_CREAT,
                                O_RDWR | O_CREAT | O_EXCL,
                                O_RDWR | O_TRUNC,
                                O_WRONLY | O_CREAT | O_APPEND,
                                O_RDWR | O_NOFOLLOW,
                                O_RDONLY | O_DIRECTORY};
    char n[64];
    unsigned k = chance(OPEN), f = chance(8);
    if (fds[k] >= 0)
        close(fds[k]);
    fds[k] = open(name(n), flags[f], 0644);
    writable[k] = fds[k] >= 0 && f != 0 && f != 7;
    *h = k;
    return fds[k] < 0 ? -1 : 0;
}
static int op_make(uint32_t *h)
{
    char n[64];
    *h = chance(PIECE / 4);
    int fd = open(name(n), O_WRONLY | O_CREAT | O_TRUNC, 0600 + 8 * chance(8));
    if (fd < 0)
        return -1;
    fill(*h);
    ssize_t done = write(fd, bytes, *h);
    close(fd);
    return (int)done;
}
static int op_unlink(uint32_t *h)
{
    char n[64];
    (void)h;
    return unlink(name(n));
}
static int op_mkdir(uint32_t *h)
{
    char n[64];
    (void)h;
    return mkdir(chance(3) ? folder(n) : name(n), 0755);
}
static int op_rmdir(uint32_t *h)
{
    char n[64];
    (void)h;
    return rmdir(chance(3) ? name(n) : folder(n));
}
static int op_rename(uint32_t *h)
{
    char from[64], to[64];
    unsigned how = chance(6);
    *h = how;
    name(from);
    name(to);
    return how == 0   ? renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE)
           : how == 1 ? renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)
           : how == 2 ? rename(folder(from), to)
                      : rename(from, to);
}
static int op_link(uint32_t *h)
{
    char from[64], to[64];
    (void)h;
    name(from);
    return link(from, name(to));
}
static int op_symlink(uint32_t *h)
{
    char n[64], target[64];
    (void)h;
    sprintf(target, "n%u", chance(14));
    return symlink(target, name(n));
}
static int op_readlink(uint32_t *h)
{
    char n[64], target[64];
    ssize_t got = readlink(name(n), target, sizeof target);
    *h = got > 0 ? sum(target, (size_t)got) : 0;
    return (int)got;
}
static void told(const struct stat *s, uint32_t *h)
{
    uint64_t w[] = {s->st_mode, s->st_nlink, S_ISDIR(s->st_mode) ? 0 : (uint64_t)s->st_size, s->st_uid,
                    s->st_gid};
    *h = sum(w, sizeof w);
}
static int op_stat(uint32_t *h)
{
    char n[64];
    struct stat s;
    int rc = chance(2) ? stat(name(n), &s) : lstat(name(n), &s);
    if (!rc)
        told(&s, h);
    return rc;
}
static int op_chmod(uint32_t *h)
{
    char n[64];
    *h = chance(512) | 0600;
    return chmod(name(n), *h);
}
static int op_times(uint32_t *h)
{
    char n[64];
    struct timespec t[2] = {
        {chance(1u << 30), 123456789},
        {chance(1u << 30), 987654321}
    };
    struct stat s;
    name(n);
    int rc = utimensat(AT_FDCWD, n, t, AT_SYMLINK_NOFOLLOW);
    if (!rc && !(rc = lstat(n, &s)))
        *h = sum(&s.st_mtim, sizeof s.st_mtim);
    return rc;
}
static int op_truncate(uint32_t *h)
{
    char n[64];
    *h = chance(MOST);
    return truncate(name(n), *h);
}
static int op_list(uint32_t *h)
{
    char n[64];
    DIR *d = opendir(chance(8) ? folder(n) : ".");
    if (!d)
        return -1;
    int many = 0;
    for (struct dirent *e; (e = readdir(d)); many++) /* in whatever order */
        *h += sum(e->d_name, strlen(e->d_name)) ^ e->d_type;
    closedir(d);
    return many;
}
static int op_xattr(uint32_t *h)
{
    char n[64], key[] = "user.x0", value[200];
    name(n);
    key[6] = (char)('0' + chance(4));
    switch (chance(4)) {
    case 0:
        memset(value, (int)chance(256), sizeof value);
        return lsetxattr(n, key, value, chance(sizeof value), 0);
    case 1:
        return lremovexattr(n, key);
    case 2:
        return (int)llistxattr(n, NULL, 0);
    }
    ssize_t got = lgetxattr(n, key, value, sizeof value);
    *h = got > 0 ? sum(value, (size_t)got) : 0;
    return (int)got;
}

/* --- on descriptors */

static int op_write(uint32_t *h)
{
    unsigned k = chance(OPEN), len = chance(chance(4) ? 5000 : PIECE), at = chance(MOST);
    bool here = !chance(3);
    fill(len);
    *h = k;
    return (int)(here ? write(fds[k], bytes, len) : pwrite(fds[k], bytes, len, at));
}
static int op_read(uint32_t *h)
{
    unsigned k = chance(OPEN), len = chance(PIECE), at = chance(MOST);
    ssize_t n = chance(3) ? pread(fds[k], bytes, len, at) : read(fds[k], bytes, len);
    *h = n > 0 ? sum(bytes, (size_t)n) : 0;
    return (int)n;
}
static int op_ftruncate(uint32_t *h)
{
    *h = chance(MOST);
    return ftruncate(fds[chance(OPEN)], *h);
}
static int op_allocate(uint32_t *h)
{
    static const int modes[] = {0, 1, 3, 0x10}; /* plain, keep size, punch a hole, zero a range */
    unsigned k = chance(OPEN), mode = chance(4), at = chance(MOST), len = 1 + chance(MOST / 4);
    *h = mode;
    return fallocate(fds[k], modes[mode], at, len);
}
static int op_fstat(uint32_t *h)
{
    struct stat s;
    int rc = fstat(fds[chance(OPEN)], &s);
    if (!rc)
        told(&s, h);
    return rc;
}
static int op_sync(uint32_t *h)
{
    (void)h;
    unsigned k = chance(OPEN);
    return chance(2) ? fsync(fds[k]) : fdatasync(fds[k]);
}
static int op_copy(uint32_t *h)
{
    off_t from = chance(MOST), to = chance(MOST);
    unsigned a = chance(OPEN), b = chance(OPEN);
    struct stat s, t;
    *h = a * OPEN + b;
    if (fstat(fds[a], &s) || fstat(fds[b], &t) || s.st_ino == t.st_ino)
        return 0;
    return (int)copy_file_range(fds[a], &from, fds[b], &to, chance(PIECE), 0);
}
static int op_map(uint32_t *h)
{
    unsigned k = chance(OPEN), len = 1 + chance(PIECE), page = chance(8), at = chance(4096);
    bool change = chance(2);
    struct stat s;
    if (fstat(fds[k], &s) || !S_ISREG(s.st_mode) || (change && !writable[k]))
        return -1;
    if (s.st_size <= (off_t)page * 4096)
        return 0;
    size_t there = (size_t)s.st_size - page * 4096;
    if (len > there)
        len = (unsigned)there;
    unsigned char *p =
        mmap(NULL, len, change ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fds[k], page * 4096L);
    if (p == MAP_FAILED)
        return -1;
    *h = sum(p, len);
    if (change && at < len) {
        fill(200);
        memcpy(p + at, bytes, len - at < 200 ? len - at : 200);
    }
    if (change && chance(2) && msync(p, len, MS_SYNC))
        return -2;
    return munmap(p, len);
}

static const struct {
    const char *name;
    int (*run)(uint32_t *h);
    unsigned often;
} ops[] = {
    {"open",      op_open,      10},
    {"make",      op_make,      4 },
    {"unlink",    op_unlink,    3 },
    {"mkdir",     op_mkdir,     4 },
    {"rmdir",     op_rmdir,     1 },
    {"rename",    op_rename,    5 },
    {"link",      op_link,      3 },
    {"symlink",   op_symlink,   2 },
    {"readlink",  op_readlink,  2 },
    {"stat",      op_stat,      8 },
    {"chmod",     op_chmod,     2 },
    {"times",     op_times,     2 },
    {"truncate",  op_truncate,  3 },
    {"list",      op_list,      3 },
    {"xattr",     op_xattr,     4 },
    {"write",     op_write,     14},
    {"read",      op_read,      14},
    {"ftruncate", op_ftruncate, 3 },
    {"allocate",  op_allocate,  4 },
    {"fstat",     op_fstat,     6 },
    {"sync",      op_sync,      2 },
    {"copy",      op_copy,      3 },
    {"map",       op_map,       6 },
};

int main(int argc, char **argv)
{
    if (argc != 4 || chdir(argv[1])) {
        fprintf(stderr, "usage: fsops FOLDER SEED COUNT\n");
        return 2;
    }
    state = strtoull(argv[2], NULL, 0);
    umask(022);
    memset(fds, -1, sizeof fds);
    unsigned all = 0, n_ops = sizeof ops / sizeof *ops;
    for (unsigned i = 0; i < n_ops; i++)
        all += ops[i].often;
    for (long i = 0, count = strtol(argv[3], NULL, 0); i < count; i++) {
        unsigned pick = chance(all), k = 0;
        while (pick >= ops[k].often)
            pick -= ops[k++].often;
        uint32_t h = 0;
        errno = 0;
        int rc = ops[k].run(&h);
        printf("%ld %s %d %08" PRIx32 " %s\n", i, ops[k].name, rc, h, rc < 0 ? strerrorname_np(errno) : "");
    }
    return fflush(stdout) ? 1 : 0;
}
