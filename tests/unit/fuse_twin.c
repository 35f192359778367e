// SPDX-License-Identifier: MIT
/* Work by chance on a mount of the server and on a plain folder, call by call: each returns the same, with the same error, and
 * in the end both trees hold the same. What is not compared is what no two folders have alike: times, inode numbers, blocks. */
#include "fuse_mount.h"

#include <limits.h>
#include <linux/fs.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "virtio/fuse_priv.h"

enum {
    FDS = 8,
    ROOM = 40000,
    NAMES = 6
};

struct twin {
    uint64_t seed;
    const char *at[2]; /* the mount, the plain folder */
    int fd[FDS][2];
    unsigned slots; /* of these */
    char buf[2][ROOM];
    unsigned long turn, good;
    char what[200];
};

static uint64_t below(struct twin *t, uint64_t n)
{
    return test_rand(&t->seed) % n;
}

static void name(struct twin *t, char *to)
{
    unsigned dir = (unsigned)below(t, 5), n = (unsigned)below(t, NAMES);
    if (dir < 2)
        sprintf(to, "d%u/n%u", dir, n);
    else if (dir == 2)
        sprintf(to, "d%u", (unsigned)below(t, 3));
    else
        sprintf(to, "n%u", n);
}

struct op {
    int kind, slot, slot2, flags;
    mode_t mode;
    char one[64], two[64];
    off_t at, at2;
    size_t n;
    char fill;
};

static const char *path(const struct twin *t, int side, const char *name, char *to)
{
    sprintf(to, "%s/%s", t->at[side], name);
    return to;
}

static long result(long rc)
{
    return rc < 0 ? -errno : rc;
}

static long stat_of(const struct stat *st)
{
    return S_ISDIR(st->st_mode) ? (long)st->st_mode
                                : (long)(st->st_mode ^ st->st_size << 18 ^ (long)st->st_nlink << 56 ^
                                         (long)st->st_uid << 50 ^ (long)st->st_rdev << 40);
}

static long sum(const char *p, long n)
{
    uint64_t s = (uint64_t)n;
    for (long i = 0; i < n; i++)
        s = s * 31 + (unsigned char)p[i];
    return (long)(s >> 1);
}

static long list(const char *where)
{
    DIR *d = opendir(where);
    long n = 0;
    if (!d)
        return -errno;
    for (struct dirent *e; (e = readdir(d));)
        n += sum(e->d_name, (long)strlen(e->d_name)) % 100003 + e->d_type;
    closedir(d);
    return n;
}

static long map_write(int fd, const struct op *o)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!st.st_size || !S_ISREG(st.st_mode))
        return 0;
    size_t n = (size_t)st.st_size < ROOM ? (size_t)st.st_size : ROOM, at = (size_t)o->at % n;
    char *map = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    memset(map + at, o->fill, n - at < 500 ? n - at : 500);
    long rc = o->flags & 1 ? result(msync(map, n, MS_SYNC)) : 0;
    rc += sum(map, (long)n) & 0xffffff;
    munmap(map, n);
    return rc;
}

enum {
    OPEN,
    TMPFILE,
    CLOSE,
    WRITE,
    READ,
    TRUNCATE,
    FTRUNCATE,
    RENAME,
    LINK,
    SYMLINK,
    READLINK,
    UNLINK,
    MKDIR,
    RMDIR,
    CHMOD,
    FCHMOD,
    STAT,
    FSTAT,
    UTIME,
    FALLOCATE,
    SEEK,
    SETX,
    GETX,
    LISTX,
    REMOVEX,
    COPY,
    LIST,
    MAP,
    MKNOD,
    APPEND,
    FSYNC,
    LINKFD,
    CHOWN,
    KINDS
};

static long one_side(struct twin *t, const struct op *o, int side)
{
    char a[200], b[200], *buf = t->buf[side];
    int *fd = &t->fd[o->slot][side], fd2 = t->fd[o->slot2][side];
    struct stat st;
    path(t, side, o->one, a);
    path(t, side, o->two, b);
    long rc;
    switch (o->kind) {
    case OPEN:
    case TMPFILE:
        if (*fd >= 0)
            close(*fd);
        *fd = open(o->kind == OPEN ? a : t->at[side], o->flags, o->mode);
        return *fd < 0 ? -errno : 0;
    case CLOSE:
        rc = *fd < 0 ? 0 : result(close(*fd));
        *fd = -1;
        return rc;
    case WRITE:
        memset(buf, o->fill, o->n);
        return result(pwrite(*fd, buf, o->n, o->at));
    case APPEND:
        if (lseek(*fd, o->at, SEEK_SET) < 0)
            return -errno;
        memset(buf, o->fill, o->n);
        return result(write(*fd, buf, o->n));
    case READ:
        rc = pread(*fd, buf, o->n, o->at);
        return rc < 0 ? -errno : sum(buf, rc);
    case TRUNCATE:
        return result(truncate(a, o->at));
    case FTRUNCATE:
        return result(ftruncate(*fd, o->at));
    case RENAME:
        return result(renameat2(AT_FDCWD, a, AT_FDCWD, b, (unsigned)o->flags));
    case LINK:
        return result(link(a, b));
    case SYMLINK:
        return result(symlink(o->two, a));
    case READLINK:
        rc = readlink(a, buf, ROOM);
        return rc < 0 ? -errno : sum(buf, rc);
    case UNLINK:
        return result(unlink(a));
    case MKDIR:
        return result(mkdir(a, o->mode));
    case RMDIR:
        return result(rmdir(a));
    case CHMOD:
        return result(chmod(a, o->mode));
    case FCHMOD:
        return result(fchmod(*fd, o->mode));
    case STAT:
        return lstat(a, &st) < 0 ? -errno : stat_of(&st);
    case FSTAT:
        return fstat(*fd, &st) < 0 ? -errno : stat_of(&st);
    case UTIME: {
        struct timespec times[2] = {
            {o->at,  5},
            {o->at2, 7}
        };
        if (utimensat(AT_FDCWD, a, times, AT_SYMLINK_NOFOLLOW) < 0 || lstat(a, &st) < 0)
            return -errno;
        return st.st_mtime;
    }
    case FALLOCATE:
        return result(fallocate(*fd, o->flags, o->at, (off_t)o->n));
    case SEEK: /* where data is depends on what the host has read of what was only allocated */
        rc = result(lseek(*fd, o->at, o->flags & 1 ? SEEK_DATA : SEEK_HOLE));
        return fstat(*fd, &st) < 0 ? rc
                                   : rc < 0 && o->at < st.st_size && S_ISREG(st.st_mode) && !(o->flags & 1);
    case SETX:
        memset(buf, o->fill, o->n);
        return result(lsetxattr(a, o->two, buf, o->n % 500, o->flags & 3));
    case GETX:
        rc = lgetxattr(a, o->two, buf, o->n % 600);
        return rc < 0 ? -errno : sum(buf, o->n % 600 ? rc : 0);
    case LISTX:
        return result(llistxattr(a, buf, o->n % 100));
    case REMOVEX:
        return result(lremovexattr(a, o->two));
    case COPY: {
        off_t from = o->at, to = o->at2;
        return result(copy_file_range(*fd, &from, fd2, &to, o->n, 0));
    }
    case LIST:
        return list(a);
    case MAP:
        return map_write(*fd, o);
    case MKNOD:
        return result(mknod(a, o->flags & 1 ? S_IFIFO | o->mode : S_IFCHR | o->mode, makedev(1, 3)));
    case FSYNC:
        return result(o->flags & 1 ? fsync(*fd) : fdatasync(*fd));
    case LINKFD:
        sprintf(b, "/proc/self/fd/%d", *fd);
        return result(linkat(AT_FDCWD, b, AT_FDCWD, a, AT_SYMLINK_FOLLOW));
    case CHOWN:
        return result(lchown(a, o->flags != 2 ? 1234 : (uid_t)-1, o->flags & 2 ? 4321 : (gid_t)-1));
    }
    return 0;
}

static const char *const kinds[] = {
    "open",    "tmpfile",   "close",  "write", "read",   "truncate", "ftruncate", "rename", "link",
    "symlink", "readlink",  "unlink", "mkdir", "rmdir",  "chmod",    "fchmod",    "stat",   "fstat",
    "utime",   "fallocate", "seek",   "setx",  "getx",   "listx",    "removex",   "copy",   "list",
    "map",     "mknod",     "append", "fsync", "linkfd", "chown"};

static bool turn(struct twin *t)
{
    static const char *const attrs[] = {"user.a", "user.b", "trusted.t", "user.", "security.x", "none"};
    static const int falloc[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                 FALLOC_FL_ZERO_RANGE};
    struct op o = {.kind = (int)below(t, KINDS),
                   .slot = (int)below(t, t->slots),
                   .slot2 = (int)below(t, t->slots),
                   .flags = (int)below(t, 4),
                   .mode = (mode_t)below(t, 010000),
                   .at = (off_t)below(t, 30000),
                   .at2 = (off_t)below(t, 30000),
                   .n = below(t, 9000),
                   .fill = (char)('a' + below(t, 26))};
    name(t, o.one);
    name(t, o.two);
    if (o.kind == OPEN)
        o.flags = (int)below(t, 3) | (below(t, 2) ? O_CREAT : 0) | (below(t, 6) ? 0 : O_EXCL) |
                  (below(t, 5) ? 0 : O_TRUNC) | (below(t, 3) ? 0 : O_APPEND) |
                  (below(t, 8) ? 0 : O_NOFOLLOW) | (below(t, 9) ? 0 : O_DIRECTORY) | O_NONBLOCK;
    if ((o.flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY) && o.kind == OPEN)
        o.flags &= ~O_DIRECTORY;
    if (o.kind == TMPFILE)
        o.flags = O_TMPFILE | O_RDWR | (below(t, 3) ? 0 : O_EXCL);
    if (o.kind == FALLOCATE)
        o.flags = falloc[below(t, 4)];
    if (o.kind >= SETX && o.kind <= REMOVEX)
        strcpy(o.two, attrs[below(t, 6)]);
    if (o.kind == MKNOD &&
        t->slots < FDS) /* with handles: one that is open in the guest alone is gone with its name */
        o.kind = STAT;
    long rc[2];
    for (int side = 0; side < 2; side++) {
        errno = 0;
        rc[side] = one_side(t, &o, side);
    }
    t->turn++;
    t->good += rc[0] >= 0;
    snprintf(t->what, sizeof t->what, "%s %s %s fd %d,%d flags 0%o mode 0%o at %ld,%ld n %zu: %ld, but %ld",
             kinds[o.kind], o.one, o.two, o.slot, o.slot2, (unsigned)o.flags, (unsigned)o.mode, (long)o.at,
             (long)o.at2, o.n, rc[0], rc[1]);
    if (getenv("TWIN_TRACE"))
        fprintf(stderr, "%lu %s\n", t->turn, t->what);
    return rc[0] == rc[1];
}

static int work(const char *mount, const char *plain, unsigned slots, unsigned long turns)
{
    static struct twin t;
    const char *seed = getenv("TEST_SEED");
    t.seed = seed ? strtoull(seed, NULL, 0) : 5;
    t.at[0] = mount;
    t.at[1] = plain;
    t.slots = slots;
    memset(t.fd, -1, sizeof t.fd);
    umask(022);
    for (unsigned long i = 0; i < turns; i++)
        if (!turn(&t)) {
            fprintf(stderr, "turn %lu: %s\n", t.turn, t.what);
            return 1;
        }
    if (t.good < turns / 5) {
        fprintf(stderr, "only %lu of %lu calls succeeded\n", t.good, turns);
        return 2;
    }
    return 0;
}

static void chance(const struct fuse_config *config, unsigned slots)
{
    static struct mounted m;
    m = (struct mounted){.fd = -1};
    const char *why = mount_at(&m, config);
    char plain[96], both[300];
    int status = 0, same = 0;
    if (!why) {
        snprintf(plain, sizeof plain, "%s/plain", m.dir);
        CHECK(mkdir(plain, 0755) == 0);
        pid_t pid = fork_client(&m);
        if (!pid)
            _exit(work(m.at, plain, slots, test_scale(20000)));
        waitpid(pid, &status, 0);
        snprintf(
            both, sizeof both,
            "cd %s && find share plain ! -type f ! -type d ! -type l -delete && find share -type f -printf "
            "'%%P %%m %%s %%U %%n\\n' | sort >1; find plain -type f "
            "-printf '%%P %%m %%s %%U %%n\\n' | sort >2; cmp 1 2 && diff -r --no-dereference share plain >&2",
            m.dir);
        same = status ? 0 : system(both);
    }
    unmount(&m);
    if (why)
        SKIP(why);
    CHECK_EQ(status, 0);
    CHECK_EQ(same, 0);
}

TEST(fuse_kernel_chance_does_the_same_on_the_mount_and_on_the_host)
{
    chance(NULL, FDS);
}

TEST(fuse_kernel_chance_without_a_cache)
{
    chance(&(struct fuse_config){.no_cache = true}, FDS);
}

TEST(fuse_kernel_chance_with_handles)
{
    fuse_fds_set_most(20); /* fifteen of them nodes, then by handle */
    chance(NULL, 3);
    fuse_fds_set_most(0);
}
