// SPDX-License-Identifier: MIT
/* Hosts and guests that are odd in ways of their own: a container that forbids unshare(), a file system whose handles come
 * back with another file, files that may only be added to; a guest that maps what it has opened to append to. */
#include "fuse_board.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "virtio/fuse_priv.h"

/* --- in place of libc's */

static bool no_unshare;
static const char *handle_leads_to;
static int opened_by_handle;

int unshare(int flags)
{
    static int (*next)(int);
    if (no_unshare) {
        errno = EPERM;
        return -1;
    }
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "unshare");
    return next(flags);
}

int open_by_handle_at(int fd, struct file_handle *h, int flags)
{
    static int (*next)(int, struct file_handle *, int);
    if (handle_leads_to) {
        opened_by_handle++;
        return open(handle_leads_to, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    }
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "open_by_handle_at");
    return next(fd, h, flags);
}

/* --- where the guest may not have a umask of its own; first, since a thread that has one keeps it */

TEST(x7_in_a_container_that_forbids_unshare_files_are_made)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct stat st;
    mode_t old = umask(022);
    no_unshare = true;
    b->uid = b->gid = geteuid() ? geteuid() : 1234;
    CHECK_EQ(chmod(board_path(b, ""), 0777), 0);
    struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0666, .umask = 077};
    CHECK(board_name(b, FUSE_CREATE, 1, &in, sizeof in, "a") > 0);
    CHECK(stat(board_path(b, "a"), &st) == 0);
    CHECK_EQ(st.st_mode, S_IFREG | 0600);
    CHECK_EQ(st.st_uid, b->uid);
    struct fuse_mkdir_in mk = {.mode = 0777, .umask = 027};
    CHECK(board_name(b, FUSE_MKDIR, 1, &mk, sizeof mk, "d") > 0);
    CHECK(stat(board_path(b, "d"), &st) == 0);
    CHECK_EQ(st.st_mode, S_IFDIR | 0750);
    struct fuse_mknod_in node = {.mode = S_IFIFO | 0666, .umask = 07};
    CHECK(board_name(b, FUSE_MKNOD, 1, &node, sizeof node, "p") > 0);
    CHECK(stat(board_path(b, "p"), &st) == 0);
    CHECK_EQ(st.st_mode, S_IFIFO | 0640);
    CHECK(board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0a", 4) > 0);
    CHECK_EQ(umask(022), 022); /* the process's is left alone */
    no_unshare = false;
    CHECK_EQ(board_create(b, 1, "later", O_RDWR, 0666, &e, &o), 0);
    umask(old);
    board_free(b);
}

/* --- X4: a handle whose file is another one by now */

TEST(x4_a_handle_that_comes_back_as_a_fifo_is_stale)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    struct fuse_attr attr;
    if (!board_stats(b).root)
        SKIP("not root: no file handles");
    fuse_fds_set_most(64);
    char name[16];
    uint64_t id = 0;
    for (int i = 0; i < 100; i++) { /* beyond three quarters of them by handle */
        snprintf(name, sizeof name, "f%d", i);
        board_file(b, name, "text");
        id = board_node(b, 1, name);
    }
    char fifo[128];
    snprintf(fifo, sizeof fifo, "%s/fifo", b->dir);
    CHECK(mkfifo(fifo, 0600) == 0);
    CHECK_EQ(board_open(b, id, O_RDONLY, &o), 0);
    CHECK_EQ(board_release(b, id, o.fh, FUSE_RELEASE), 0);
    handle_leads_to = fifo;
    unsigned before = board_stats(b).files;
    int rc = board_open(b, id, O_RDONLY, &o), got = board_getattr(b, id, &attr);
    int cut = board_setattr(b, id, (struct fuse_setattr_in){.valid = FATTR_SIZE});
    handle_leads_to = NULL;
    fuse_fds_set_most(0);
    if (!opened_by_handle)
        SKIP("no file handles here");
    CHECK_EQ(rc, -ESTALE);
    CHECK_EQ(got, -ESTALE);
    CHECK_EQ(cut, -ESTALE);
    CHECK_EQ(board_stats(b).files, before);
    board_free(b);
}

/* A guest's fstat() and fchmod() do not say by which handle. */
TEST(x4_a_file_kept_by_handle_and_open_outlives_its_name)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o, made;
    struct fuse_attr attr;
    char name[16];
    if (!board_stats(b).root)
        SKIP("not root: no file handles");
    fuse_fds_set_most(40);
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "f%d", i);
        board_file(b, name, "text");
        board_node(b, 1, name);
    }
    CHECK(symlink("f0", board_path(b, "link")) == 0);
    int link = board_lookup(b, 1, "link", &e); /* the first by handle: nothing of its mount was opened yet */
    uint64_t id = link < 0 ? 0 : board_node(b, 1, "f0");
    board_file(b, "g", "text");
    id = board_node(b, 1, "g");
    int open = board_open(b, id, O_RDWR, &o), create = board_create(b, 1, "h", O_RDWR, 0600, &e, &made);
    CHECK(unlink(board_path(b, "g")) == 0 && unlink(board_path(b, "h")) == 0);
    int got = board_getattr(b, id, &attr), got2 = board_getattr(b, e.nodeid, &attr);
    int set = board_setattr(b, e.nodeid, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0640});
    int after = board_getattr(b, e.nodeid, &attr);
    fuse_fds_set_most(0);
    CHECK_EQ(link, 0);
    CHECK_EQ(open, 0);
    CHECK_EQ(create, 0);
    CHECK_EQ(got, 0);
    CHECK_EQ(got2, 0);
    CHECK(set > 0 && after == 0);
    CHECK_EQ(attr.mode & 07777, 0640);
    CHECK_EQ(attr.nlink, 0);
    board_free(b);
}

/* --- O_APPEND is each write's */

static int put(struct board *b, uint64_t fh, uint64_t at, const char *text, uint32_t flags, uint32_t how)
{
    struct fuse_write_in in = {
        .fh = fh, .offset = at, .size = (uint32_t)strlen(text), .flags = flags, .write_flags = how};
    struct fuse_write_out out;
    int rc = board_call(b, FUSE_WRITE, 0, &in, sizeof in, text, in.size);
    if (rc < 0)
        return rc;
    memcpy(&out, b->reply, sizeof out);
    return (int)out.size;
}

static bool holds(const struct board *b, const char *name, const char *text)
{
    char got[64] = "";
    FILE *f = fopen(board_path(b, name), "r");
    bool same = f && fgets(got, sizeof got, f) && !strcmp(got, text);
    if (f)
        fclose(f);
    return same;
}

TEST(fuse_a_mapped_page_goes_where_it_was_whatever_the_handle_appends)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    struct fuse_entry_out e;
    board_file(b, "a", "abcdef");
    CHECK_EQ(board_open(b, board_node(b, 1, "a"), O_RDWR | O_APPEND, &o), 0);
    CHECK_EQ(put(b, o.fh, 0, "ABCDEF", 0, FUSE_WRITE_CACHE), 6); /* the kernel's write-back of a page */
    CHECK(holds(b, "a", "ABCDEF"));
    CHECK_EQ(put(b, o.fh, 1, "xy", O_RDWR | O_APPEND, FUSE_WRITE_CACHE), 2);
    CHECK(holds(b, "a", "AxyDEF"));
    CHECK_EQ(put(b, o.fh, 6, "1", O_RDWR | O_APPEND, 0), 1);
    FILE *f = fopen(board_path(b, "a"), "a"); /* meanwhile, on the host */
    CHECK(f && fputs("host", f) >= 0 && fclose(f) == 0);
    CHECK_EQ(put(b, o.fh, 7, "2", O_RDWR | O_APPEND, 0), 1); /* nothing is written over */
    CHECK(holds(b, "a", "AxyDEF1host2"));
    CHECK_EQ(put(b, o.fh, 0, "B", O_RDWR, 0), 1); /* after fcntl(F_SETFL) without it */
    CHECK(holds(b, "a", "BxyDEF1host2"));

    CHECK_EQ(board_create(b, 1, "c", O_RDWR | O_APPEND, 0644, &e, &o), 0);
    CHECK_EQ(put(b, o.fh, 0, "one", O_RDWR | O_APPEND, 0), 3);
    CHECK_EQ(put(b, o.fh, 0, "two", O_RDWR | O_APPEND, 0), 3);
    CHECK_EQ(put(b, o.fh, 0, "O", 0, FUSE_WRITE_CACHE), 1);
    CHECK(holds(b, "c", "Onetwo"));
    board_free(b);
}

TEST(fuse_a_file_that_may_only_be_added_to_can_be_added_to)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    board_file(b, "log", "1");
    int fd = open(board_path(b, "log"), O_RDONLY), flags = 0;
    CHECK(fd >= 0);
    bool could = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
    flags |= FS_APPEND_FL;
    could = could && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    int rw = board_open(b, board_node(b, 1, "log"), O_RDWR, &o);
    int rc = board_open(b, board_node(b, 1, "log"), O_WRONLY | O_APPEND, &o);
    int wrote = rc < 0 ? rc : put(b, o.fh, 1, "2", O_WRONLY | O_APPEND, 0);
    bool right = holds(b, "log", "12");
    flags &= ~FS_APPEND_FL;
    if (could)
        could = ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
    close(fd);
    board_free(b);
    if (!could)
        SKIP("no chattr +a here");
    CHECK_EQ(rw, -EPERM);
    CHECK_EQ(rc, 0);
    CHECK_EQ(wrote, 1);
    CHECK(right);
}

/* --- read-only: not even the times of reading */

TEST(fuse_reading_a_read_only_share_leaves_its_times)
{
    struct board *b = board_new(&(struct fuse_config){.ro = true});
    struct fuse_open_out o;
    struct stat st;
    struct timespec old[2] = {
        {1000, 0},
        {2000, 0}
    }; /* relatime would set it */
    if (!board_stats(b).root)
        SKIP("not root: the files may be another's");
    board_file(b, "a", "text");
    CHECK(mkdir(board_path(b, "d"), 0755) == 0);
    CHECK(utimensat(AT_FDCWD, board_path(b, "a"), old, 0) == 0);
    CHECK(utimensat(AT_FDCWD, board_path(b, "d"), old, 0) == 0);
    CHECK_EQ(board_open(b, board_node(b, 1, "a"), O_RDONLY, &o), 0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 4);
    uint64_t d = board_node(b, 1, "d");
    CHECK_EQ(board_open(b, d, O_DIRECTORY, &o), 0);
    struct fuse_read_in in = {.fh = o.fh, .size = 4096};
    CHECK(board_call(b, FUSE_READDIRPLUS, d, &in, sizeof in, NULL, 0) > 0);
    CHECK(stat(board_path(b, "a"), &st) == 0);
    CHECK_EQ(st.st_atime, 1000);
    CHECK(stat(board_path(b, "d"), &st) == 0);
    CHECK_EQ(st.st_atime, 1000);
    board_free(b);
}

/* --- `ulimit -n` reached by the rest of the process */

TEST(x7_a_close_is_no_error_for_want_of_descriptors)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct rlimit was, none;
    CHECK_EQ(board_create(b, 1, "a", O_RDWR, 0644, &e, &o), 0);
    CHECK_EQ(board_write(b, o.fh, 0, "text", 4, 0), 4);
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    none = was;
    none.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    struct fuse_flush_in in = {.fh = o.fh};
    int rc = board_call(b, FUSE_FLUSH, e.nodeid, &in, sizeof in, NULL, 0);
    setrlimit(RLIMIT_NOFILE, &was);
    CHECK_EQ(rc, 0);
    board_free(b);
}

/* --- X2: mounts that come and go, and folders that are swapped for links */

TEST(x2_a_file_system_below_unmounted_and_another_mounted)
{
    if (geteuid() || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        SKIP("no mounts of one's own");
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct fuse_attr attr;
    CHECK(mkdir(board_path(b, "m"), 0755) == 0);
    board_file(b, "m/below", "below");
    CHECK(mount("none", board_path(b, "m"), "tmpfs", 0, NULL) == 0);
    board_file(b, "m/a", "first");
    uint64_t m = board_node(b, 1, "m"), a = board_node(b, m, "a");
    CHECK_EQ(board_open(b, a, O_RDWR, &o), 0);
    CHECK(umount2(board_path(b, "m"), MNT_DETACH) == 0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 5); /* who has it open keeps it, as everywhere */
    CHECK_EQ(board_getattr(b, a, &attr), 0);
    uint64_t under = board_node(b, 1, "m");
    CHECK(under != m);
    CHECK_EQ(board_lookup(b, under, "a", &e), -ENOENT);
    CHECK_EQ(board_lookup(b, under, "below", &e), 0);
    CHECK(mount("none", board_path(b, "m"), "tmpfs", 0, NULL) == 0);
    board_file(b, "m/a", "second");
    uint64_t m2 = board_node(b, 1, "m"), a2 = board_node(b, m2, "a");
    CHECK(m2 != m && m2 != under && a2 != a);
    CHECK_EQ(board_getattr(b, a2, &attr), 0);
    CHECK_EQ(attr.size, 6);
    struct fuse_rename_in ren = {m2}; /* from one to the other */
    CHECK_EQ(board_call(b, FUSE_RENAME, m, &ren, sizeof ren, "a\0b", 4), -EXDEV);
    struct fuse_link_in link = {a};
    CHECK_EQ(board_name(b, FUSE_LINK, m2, &link, sizeof link, "l"), -EXDEV);
    fuse_reset(b->s); /* nothing holds it any longer */
    CHECK(umount2(board_path(b, "m"), 0) == 0);
    board_free(b);
}

struct swapper {
    char a[160], b[160];
    atomic_bool end;
};

static void *swap_for_ever(void *arg)
{
    struct swapper *s = arg;
    while (!atomic_load(&s->end))
        renameat2(AT_FDCWD, s->a, AT_FDCWD, s->b, RENAME_EXCHANGE);
    return NULL;
}

TEST(x2_a_folder_swapped_for_a_link_out_never_leads_out)
{
    struct board *b = board_new(NULL);
    struct swapper s = {.end = false};
    char out[128], file[160];
    snprintf(out, sizeof out, "%s/out", b->dir);
    snprintf(file, sizeof file, "%s/f", out);
    FILE *f = mkdir(out, 0777) == 0 ? fopen(file, "w") : NULL;
    CHECK(f && fputs("SECRET", f) >= 0 && fclose(f) == 0);
    CHECK(mkdir(board_path(b, "x"), 0777) == 0 && symlink("../out", board_path(b, "link")) == 0);
    board_file(b, "x/f", "public");
    snprintf(s.a, sizeof s.a, "%s", board_path(b, "x"));
    snprintf(s.b, sizeof s.b, "%s", board_path(b, "link"));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, swap_for_ever, &s) == 0);
    unsigned long in = 0;
    bool leaked = false;
    for (unsigned long i = 0; (i < test_scale(3000) || (!in && i < 300000)) && !leaked; i++) {
        struct fuse_entry_out d, e;
        struct fuse_open_out o = {0};
        struct fuse_mkdir_in mk = {.mode = 0777};
        if (board_lookup(b, 1, "x", &d) < 0)
            continue;
        if (board_lookup(b, d.nodeid, "f", &e) == 0) {
            in++;
            leaked = S_ISLNK(d.attr.mode) || e.attr.uid != geteuid() ||
                     (board_open(b, e.nodeid, O_RDONLY, &o) == 0 &&
                      (board_read(b, o.fh, 0, 10) != 6 || memcmp(b->reply, "public", 6)));
            if (!leaked)
                board_release(b, e.nodeid, o.fh, FUSE_RELEASE);
            board_forget(b, e.nodeid, 1);
        }
        int made = board_name(b, FUSE_MKDIR, d.nodeid, &mk, sizeof mk, "new");
        leaked |= made >= 0 && !S_ISDIR(d.attr.mode);
        if (made >= 0)
            board_name(b, FUSE_RMDIR, d.nodeid, NULL, 0, "new");
        board_forget(b, d.nodeid, 1);
    }
    atomic_store(&s.end, true);
    pthread_join(thread, NULL);
    CHECK(!leaked);
    CHECK(in > 0);
    CHECK(rmdir(out) < 0 && unlink(file) == 0 && rmdir(out) == 0); /* it is as it was */
    board_free(b);
}
