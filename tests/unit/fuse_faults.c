// SPDX-License-Identifier: MIT
/* X7: each call to the host fails once, by each of the errors that hosts have, while a guest goes through all it can ask. The
 * functions below stand in front of libc's; while armed, the n-th call of the chosen one fails. What is checked: each answer is
 * one, no descriptor and no node is lost, and the same again with the host well succeeds. And a host without room. */
#include "fuse_board.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "virtio/fuse_priv.h"

static const char *victim;
static int victim_errno, countdown, calls;

static bool fails(const char *name)
{
    if (!victim || strcmp(name, victim) != 0)
        return false;
    calls++;
    if (!countdown || --countdown)
        return false;
    errno = victim_errno;
    return true;
}

#define WRAP(ret, name, params, ...)                                                                         \
    ret name params                                                                                          \
    {                                                                                                        \
        static ret(*next) params;                                                                            \
        if (fails(#name))                                                                                    \
            return -1;                                                                                       \
        if (!next)                                                                                           \
            *(void **)&next = dlsym(RTLD_NEXT, #name);                                                       \
        return next(__VA_ARGS__);                                                                            \
    }

WRAP(int, statx, (int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict sx), fd,
     path, flags, mask, sx)
WRAP(int, fstatfs, (int fd, struct statfs *sf), fd, sf)
WRAP(ssize_t, getdents64, (int fd, void *buf, size_t n), fd, buf, n)
WRAP(off_t, lseek, (int fd, off_t at, int whence), fd, at, whence)
WRAP(ssize_t, preadv, (int fd, const struct iovec *iov, int n, off_t at), fd, iov, n, at)
WRAP(ssize_t, preadv2, (int fd, const struct iovec *iov, int n, off_t at, int how), fd, iov, n, at, how)
WRAP(ssize_t, pwritev2, (int fd, const struct iovec *iov, int n, off_t at, int how), fd, iov, n, at, how)
WRAP(int, fchownat, (int fd, const char *name, uid_t uid, gid_t gid, int flags), fd, name, uid, gid, flags)
WRAP(int, fchmodat, (int fd, const char *name, mode_t mode, int flags), fd, name, mode, flags)
WRAP(int, fchmod, (int fd, mode_t mode), fd, mode)
WRAP(int, utimensat, (int fd, const char *name, const struct timespec t[2], int flags), fd, name, t, flags)
WRAP(int, ftruncate, (int fd, off_t size), fd, size)
WRAP(ssize_t, readlinkat, (int fd, const char *restrict name, char *restrict buf, size_t n), fd, name, buf, n)
WRAP(int, mkdirat, (int fd, const char *name, mode_t mode), fd, name, mode)
WRAP(int, mknodat, (int fd, const char *name, mode_t mode, dev_t dev), fd, name, mode, dev)
WRAP(int, symlinkat, (const char *to, int fd, const char *name), to, fd, name)
WRAP(int, unlinkat, (int fd, const char *name, int flags), fd, name, flags)
WRAP(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), a, from, b, to, flags)
WRAP(int, linkat, (int a, const char *from, int b, const char *to, int flags), a, from, b, to, flags)

/* Never to the disk: that is slow, and not what is tested. */
int fsync(int fd)
{
    (void)fd;
    return fails("fsync") ? -1 : 0;
}
int fdatasync(int fd)
{
    (void)fd;
    return fails("fdatasync") ? -1 : 0;
}

WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
WRAP(ssize_t, copy_file_range, (int a, off_t *at, int b, off_t *to, size_t n, unsigned flags), a, at, b, to,
     n, flags)
WRAP(int, setxattr, (const char *path, const char *name, const void *value, size_t n, int flags), path, name,
     value, n, flags)
WRAP(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t n), path, name, value, n)
WRAP(ssize_t, listxattr, (const char *path, char *list, size_t n), path, list, n)
WRAP(int, removexattr, (const char *path, const char *name), path, name)
WRAP(int, unshare, (int flags), flags)
WRAP(int, name_to_handle_at, (int fd, const char *name, struct file_handle *h, int *mnt, int flags), fd, name,
     h, mnt, flags)
WRAP(int, open_by_handle_at, (int fd, struct file_handle *h, int flags), fd, h, flags)

int openat(int fd, const char *name, int flags, ...)
{
    static int (*next)(int, const char *, int, ...);
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    if (fails("openat"))
        return -1;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "openat");
    return next(fd, name, flags, mode);
}

static const char *const victims[] = {
    "openat",           "statx",      "fstatfs",   "getdents64",  "lseek",     "preadv",
    "preadv2",          "pwritev2",   "fchownat",  "fchmodat",    "fchmod",    "utimensat",
    "ftruncate",        "readlinkat", "mkdirat",   "mknodat",     "symlinkat", "unlinkat",
    "renameat2",        "linkat",     "fsync",     "fdatasync",   "fallocate", "copy_file_range",
    "setxattr",         "getxattr",   "listxattr", "removexattr", "unshare",   "name_to_handle_at",
    "open_by_handle_at"};
static const int errors[] = {ENOMEM, EMFILE, ENOSPC, EIO, EINTR};

/* Everything once. True: all of it went well. */
static bool everything(struct board *b)
{
    struct fuse_entry_out e = {0}, f = {0};
    struct fuse_open_out o = {0}, d = {0};
    bool ok = true;
    b->uid = b->gid = 1000;
    ok &= board_create(b, 1, "f", O_RDWR, 0666, &f, &o) == 0;
    b->uid = b->gid = 0;
    ok &= board_write(b, o.fh, 0, "0123456789", 10, FUSE_WRITE_KILL_SUIDGID) == 10;
    ok &= board_read(b, o.fh, 0, 100) == 10;
    ok &= board_setattr(b, f.nodeid,
                        (struct fuse_setattr_in){.valid = FATTR_MODE | FATTR_UID | FATTR_MTIME | FATTR_SIZE |
                                                          FATTR_KILL_SUIDGID,
                                                 .mode = 04755,
                                                 .uid = geteuid(),
                                                 .size = 8,
                                                 .mtime = 5}) > 0;
    ok &= board_write(b, o.fh, 0, "0", 1, FUSE_WRITE_KILL_SUIDGID) == 1;
    struct fuse_fsync_in sync = {.fh = o.fh}, data = {.fh = o.fh, .fsync_flags = 1};
    ok &= board_call(b, FUSE_FSYNC, f.nodeid, &sync, sizeof sync, NULL, 0) == 0;
    ok &= board_call(b, FUSE_FSYNC, f.nodeid, &data, sizeof data, NULL, 0) == 0;
    struct fuse_fallocate_in fall = {.fh = o.fh, .length = 4096};
    ok &= board_call(b, FUSE_FALLOCATE, f.nodeid, &fall, sizeof fall, NULL, 0) == 0;
    struct fuse_copy_file_range_in copy = {.fh_in = o.fh, .fh_out = o.fh, .off_out = 8192, .len = 10};
    ok &= board_call(b, FUSE_COPY_FILE_RANGE, f.nodeid, &copy, sizeof copy, NULL, 0) > 0;
    struct fuse_lseek_in seek = {.fh = o.fh, .whence = SEEK_DATA};
    ok &= board_call(b, FUSE_LSEEK, f.nodeid, &seek, sizeof seek, NULL, 0) > 0;
    struct fuse_setxattr_in set = {.size = 1};
    struct fuse_getxattr_in get = {.size = 100};
    ok &= board_call(b, FUSE_SETXATTR, f.nodeid, &set, sizeof set, "user.x\0v", 8) == 0;
    ok &= board_name(b, FUSE_GETXATTR, f.nodeid, &get, sizeof get, "user.x") == 1;
    ok &= board_call(b, FUSE_LISTXATTR, f.nodeid, &get, sizeof get, NULL, 0) > 0;
    ok &= board_name(b, FUSE_REMOVEXATTR, f.nodeid, NULL, 0, "user.x") == 0;
    struct fuse_mkdir_in mk = {.mode = 0755};
    struct fuse_mknod_in nod = {.mode = S_IFIFO | 0600};
    ok &= board_name(b, FUSE_MKDIR, 1, &mk, sizeof mk, "d") > 0;
    ok &= board_name(b, FUSE_MKNOD, 1, &nod, sizeof nod, "p") > 0;
    ok &= board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0to", 5) > 0;
    memcpy(&e, b->reply, sizeof e);
    ok &= board_call(b, FUSE_READLINK, e.nodeid, NULL, 0, NULL, 0) == 2;
    struct fuse_link_in ln = {f.nodeid};
    ok &= board_name(b, FUSE_LINK, 1, &ln, sizeof ln, "l") > 0;
    struct fuse_rename_in ren = {1};
    ok &= board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "l\0m", 4) == 0;
    ok &= board_open(b, 1, O_DIRECTORY, &d) == 0;
    struct fuse_read_in rd = {.fh = d.fh, .size = 4096};
    ok &= board_call(b, FUSE_READDIRPLUS, 1, &rd, sizeof rd, NULL, 0) > 0;
    ok &= board_call(b, FUSE_READDIR, 1, &rd, sizeof rd, NULL, 0) > 0;
    ok &= board_call(b, FUSE_STATFS, 1, NULL, 0, NULL, 0) > 0;
    ok &= board_lookup(b, 1, "m", &e) == 0;
    ok &= board_open(b, f.nodeid, O_RDONLY, &d) == 0;
    static const char *const names[] = {"f", "p", "s", "l", "m"};
    for (unsigned i = 0; i < 5; i++)
        ok &= (board_name(b, FUSE_UNLINK, 1, NULL, 0, names[i]) == 0) == (i != 3);
    ok &= board_name(b, FUSE_RMDIR, 1, NULL, 0, "d") == 0;
    return ok;
}

static void clean(struct board *b)
{
    static const char *const names[] = {"f", "p", "s", "l", "m", "d"};
    for (unsigned i = 0; i < 6; i++)
        remove(board_path(b, names[i]));
}

static void each_call_fails_once(struct board *b)
{
    if (!everything(b)) {
        clean(b);
        board_free(b);
        SKIP("a file system that cannot do all of it");
    }
    fuse_reset(b->s);
    CHECK(board_init(b, ~0u & ~(1u << 31)) > 0);
    unsigned before = files_in("/proc/self/fd"), failed = 0;
    for (unsigned v = 0; v < sizeof victims / sizeof *victims; v++)
        for (unsigned e = 0; e < sizeof errors / sizeof *errors; e++)
            for (int n = 1;; n++) {
                victim = victims[v];
                victim_errno = errors[e];
                countdown = n;
                calls = 0;
                bool ok = everything(b);
                bool reached = calls >= n;
                failed += !ok;
                victim = NULL;
                clean(b);
                fuse_reset(b->s);
                struct fuse_stats st = board_stats(b);
                CHECK(st.nodes == 1 && st.files == 0 && st.descriptors == 0);
                CHECK_EQ(files_in("/proc/self/fd"), before);
                CHECK(board_init(b, ~0u & ~(1u << 31)) > 0);
                if (!reached)
                    break;
            }
    CHECK(failed > 200);
    CHECK(everything(b));
    board_free(b);
}

TEST(x7_each_host_call_fails_once)
{
    each_call_fails_once(board_new(NULL));
}

TEST(x7_and_with_handles_for_want_of_descriptors)
{
    struct board *b = board_new(NULL);
    fuse_fds_set_most(8); /* six nodes, the rest by handle where that can be */
    struct fuse_entry_out e;
    char name[8];
    for (unsigned i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "x%u", i);
        board_file(b, name, "");
    }
    int rc = 0;
    for (unsigned i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "x%u", i);
        rc = board_lookup(b, 1, name, &e);
    }
    if (rc < 0) {
        fuse_fds_set_most(0);
        board_free(b);
        SKIP("no file handles here");
    }
    fuse_reset(b->s);
    CHECK(board_init(b, ~0u & ~(1u << 31)) > 0);
    each_call_fails_once(b);
    fuse_fds_set_most(0);
}

TEST(x7_a_host_without_room)
{
    if (geteuid() || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        SKIP("no mounts of one's own");
    struct board *b = board_new(NULL);
    if (mount("none", board_path(b, ""), "tmpfs", 0, "size=64k,nr_inodes=8") < 0) {
        board_free(b);
        SKIP("no tmpfs");
    }
    fuse_free(b->s);
    struct fuse_config config = {.path = board_path(b, ""), .name = "fs0"};
    char err[256];
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s && board_init(b, 0) > 0);
    static char data[100000];
    struct fuse_entry_out e;
    struct fuse_open_out o;
    CHECK_EQ(board_create(b, 1, "a", O_RDWR, 0600, &e, &o), 0);
    int n = board_write(b, o.fh, 0, data, sizeof data, 0); /* as much as went, and then the reason */
    CHECK(n > 0 && n <= 65536);
    CHECK_EQ(board_write(b, o.fh, (uint64_t)n, data, 4096, 0), -ENOSPC);
    CHECK_EQ(board_write(b, o.fh, 0, data, 4096, 0), 4096);
    char name[8];
    int rc = 0;
    for (unsigned i = 0; i < 10 && rc == 0; i++) {
        snprintf(name, sizeof name, "n%u", i);
        rc = board_create(b, 1, name, O_RDWR, 0600, &e, &o);
    }
    CHECK_EQ(rc, -ENOSPC);
    umount2(board_path(b, ""),
            MNT_DETACH); /* and taken away: who has it goes on, no name leads there any more */
    CHECK_EQ(board_lookup(b, 1, "a", &e), 0);
    board_free(b);
}

TEST(x7_a_limit_of_descriptors_reached_while_running)
{
    struct board *b = board_new(NULL);
    struct rlimit old, none;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    board_file(b, "a", "a");
    uint64_t a = board_node(b, 1, "a");
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    none = old;
    none.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    int opened = board_open(b, a, O_RDONLY, &o), made = board_create(b, 1, "b", O_RDWR, 0600, &e, &o);
    int listed = board_open(b, 1, O_DIRECTORY, &o), known = board_lookup(b, 1, "a", &e);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(opened == -ENFILE && made == -ENFILE && listed == -ENFILE && known == 0);
    CHECK_EQ(board_open(b, a, O_RDONLY, &o), 0);
    CHECK(access(board_path(b, "b"), F_OK) < 0);
    board_free(b);
}
