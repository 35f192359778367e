// SPDX-License-Identifier: MIT
/* What no kernel sends, and a host's folder that changes under our hands. Rows X1 to X4 of the list of bad inputs, which
 * speak of 9p, and what is FUSE's own: wrong lengths, unknown requests, no room for the reply. */
#include "fuse_board.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "virtio/fuse_priv.h"

static const struct {
    uint32_t op, fixed;
    unsigned names;
} named[] = {
    {FUSE_LOOKUP,  0,                              1},
    {FUSE_MKDIR,   sizeof(struct fuse_mkdir_in),   1},
    {FUSE_MKNOD,   sizeof(struct fuse_mknod_in),   1},
    {FUSE_UNLINK,  0,                              1},
    {FUSE_RMDIR,   0,                              1},
    {FUSE_CREATE,  sizeof(struct fuse_create_in),  1},
    {FUSE_RENAME,  sizeof(struct fuse_rename_in),  2},
    {FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2},
};

TEST(x1_names_that_are_none_are_refused)
{
    struct board *b = board_new(NULL);
    static const struct {
        const char *name;
        int error;
    } bad[] = {
        {"",           -EINVAL},
        {".",          -EINVAL},
        {"..",         -EINVAL},
        {"/",          -EINVAL},
        {"/etc",       -EINVAL},
        {"../outside", -EINVAL},
        {"d/../..",    -EINVAL},
        {"a/",         -EINVAL},
        {"d/a",        -EINVAL},
        {"./a",        -EINVAL},
        {"//",         -EINVAL},
    };
    CHECK(mkdir(board_path(b, "d"), 0755) == 0);
    board_file(b, "a", "a");
    for (unsigned i = 0; i < sizeof named / sizeof *named; i++)
        for (unsigned j = 0; j < sizeof bad / sizeof *bad; j++)
            for (unsigned which = 0; which < named[i].names; which++) {
                struct fuse_rename2_in arg[3] = {{.newdir = 1}}; /* zeros do for the others */
                char text[64];
                size_t n = 0;
                for (unsigned k = 0; k < named[i].names; k++) {
                    const char *name = k == which ? bad[j].name : "a";
                    memcpy(text + n, name, strlen(name) + 1);
                    n += strlen(name) + 1;
                }
                CHECK_EQ(board_call(b, named[i].op, 1, arg, named[i].fixed, text, n), bad[j].error);
            }
    CHECK_EQ(files_in(board_path(b, "")), 4);
    CHECK_EQ(files_in(b->dir), 3); /* nothing came to be beside it */
    board_free(b);
}

TEST(x1_nul_in_a_name_and_no_nul_at_all)
{
    struct board *b = board_new(NULL);
    struct fuse_mkdir_in mk = {.mode = 0755};
    CHECK_EQ(board_call(b, FUSE_MKDIR, 1, &mk, sizeof mk, "a\0b", 4), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_MKDIR, 1, &mk, sizeof mk, "abc", 3), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_MKDIR, 1, &mk, sizeof mk, NULL, 0), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_UNLINK, 1, NULL, 0, NULL, 0), -EINVAL);
    struct fuse_rename_in ren = {1};
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a", 2), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b", 3), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b\0c", 6), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0t\0u", 6), -EINVAL);
    CHECK_EQ(board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0t", 3), -EINVAL);
    CHECK_EQ(files_in(board_path(b, "")), 2);
    board_free(b);
}

TEST(x1_names_of_255_256_and_64_kib)
{
    struct board *b = board_new(NULL);
    static char name[65537];
    struct fuse_mkdir_in mk = {.mode = 0755};
    static const unsigned lengths[] = {256, 257, 4096, 65536};
    memset(name, 'n', sizeof name - 1);
    for (unsigned i = 0; i < 4; i++) {
        name[lengths[i]] = 0;
        CHECK_EQ(board_name(b, FUSE_MKDIR, 1, &mk, sizeof mk, name), -ENAMETOOLONG);
        name[lengths[i]] = 'n';
    }
    name[65536] = 0;
    CHECK_EQ(board_call(b, FUSE_MKDIR, 1, &mk, sizeof mk, name, 65536), -ENAMETOOLONG);
    name[255] = 0;
    CHECK(board_name(b, FUSE_MKDIR, 1, &mk, sizeof mk, name) > 0);
    struct fuse_getxattr_in get = {.size = 10};
    name[255] = 'n';
    CHECK_EQ(board_name(b, FUSE_GETXATTR, 1, &get, sizeof get, name), -ERANGE);
    CHECK_EQ(board_name(b, FUSE_REMOVEXATTR, 1, NULL, 0, ""), -ERANGE);
    static char link_args[8192] = "s";
    memset(link_args + 2, 't', sizeof link_args - 3);
    CHECK_EQ(board_call(b, FUSE_SYMLINK, 1, NULL, 0, link_args, sizeof link_args), -ENAMETOOLONG);
    board_free(b);
}

TEST(x1_rename_does_not_cross_the_share)
{
    struct board *b = board_new(NULL);
    CHECK(mkdir(board_path(b, "d"), 0755) == 0);
    board_file(b, "a", "a");
    uint64_t a = board_node(b, 1, "a");
    struct fuse_rename_in ren = {a}; /* a file is no folder */
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b", 4), -ENOTDIR);
    CHECK_EQ(board_name(b, FUSE_UNLINK, a, NULL, 0, "x"), -ENOTDIR);
    CHECK_EQ(board_name(b, FUSE_LOOKUP, a, NULL, 0, "x"), -ENOTDIR);
    for (uint64_t id = 0; id < 3000; id += id < 10 ? 1 : 997) /* numbers that were never given */
        if (id != 1 && id != a) {
            ren.newdir = id;
            CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b", 4), -ESTALE);
            CHECK_EQ(board_name(b, FUSE_UNLINK, id, NULL, 0, "a"), -ESTALE);
        }
    CHECK_EQ(board_name(b, FUSE_UNLINK, UINT64_MAX, NULL, 0, "a"), -ESTALE);
    CHECK_EQ(board_name(b, FUSE_UNLINK, 1ull << 32 | 1, NULL, 0, "a"), -ESTALE);
    board_free(b);
}

/* --- X2 */

struct swapper {
    struct board *b;
    atomic_bool end;
    atomic_uint turns;
};

static void *swap_for_ever(void *arg)
{
    struct swapper *sw = arg;
    char names[3][128];
    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof names[i], "%s/share/%s", sw->b->dir,
                 i == 0   ? "x"
                 : i == 1 ? "file"
                          : "link");
    while (!atomic_load(&sw->end)) {
        renameat2(AT_FDCWD, names[0], AT_FDCWD, names[2],
                  RENAME_EXCHANGE); /* x: a link out of the share; and back */
        atomic_fetch_add(&sw->turns, 1);
    }
    return NULL;
}

TEST(x2_a_file_swapped_for_a_link_never_leads_out)
{
    struct board *b = board_new(NULL);
    char secret[128], target[128];
    snprintf(secret, sizeof secret, "%s/secret", b->dir);
    snprintf(target, sizeof target, "%s", secret);
    FILE *f = fopen(secret, "w");
    CHECK(f && fputs("SECRET", f) >= 0 && fclose(f) == 0 && chmod(secret, 0600) == 0);
    board_file(b, "x", "public");
    CHECK(symlink(target, board_path(b, "link")) == 0);
    struct swapper sw = {.b = b};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, swap_for_ever, &sw) == 0);
    bool leaked = false;
    unsigned opens = 0;
    for (unsigned long i = 0; (i < test_scale(3000) || (!opens && i < 300000)) && !leaked; i++) {
        struct fuse_entry_out e;
        struct fuse_open_out o;
        int rc = i % 2 ? board_lookup(b, 1, "x", &e) : board_create(b, 1, "x", O_RDWR, 0600, &e, &o);
        if (rc < 0)
            continue;
        if (i % 2)
            rc = board_open(b, e.nodeid, O_RDWR, &o);
        if (rc == 0) {
            opens++;
            int n = board_read(b, o.fh, 0, 100);
            leaked |= n != 6 || memcmp(b->reply, "public", 6);
            board_release(b, e.nodeid, o.fh, FUSE_RELEASE);
        }
        struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 0644};
        board_setattr(b, e.nodeid, set);
        board_forget(b, e.nodeid, 1);
    }
    atomic_store(&sw.end, true);
    pthread_join(thread, NULL);
    CHECK(!leaked);
    CHECK(opens > 0);
    struct stat st;
    CHECK(stat(secret, &st) == 0);
    CHECK_EQ(st.st_mode & 07777, 0600);
    board_free(b);
}

TEST(x2_the_folder_itself_removed)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct fuse_attr attr;
    CHECK(rmdir(board_path(b, "")) == 0);
    CHECK_EQ(board_lookup(b, 1, "a", &e), -ENOENT);
    CHECK_EQ(board_create(b, 1, "a", O_RDWR, 0600, &e, &o), -ENOENT);
    CHECK_EQ(board_getattr(b, 1, &attr), 0);
    CHECK_EQ(board_open(b, 1, O_DIRECTORY, &o), 0);
    struct fuse_read_in in = {.fh = o.fh, .size = 4096};
    CHECK(board_call(b, FUSE_READDIR, 1, &in, sizeof in, NULL, 0) == -ENOENT || b->len < 100);
    /* A new one in its place is not the one that was named. */
    CHECK(mkdir(board_path(b, ""), 0755) == 0);
    board_file(b, "a", "a");
    CHECK_EQ(board_lookup(b, 1, "a", &e), -ENOENT);
    board_free(b);
}

TEST(x2_a_file_replaced_on_the_host_is_found_anew)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    struct fuse_attr attr;
    board_file(b, "a", "old");
    uint64_t old = board_node(b, 1, "a");
    CHECK_EQ(board_open(b, old, O_RDONLY, &o), 0);
    board_file(b, "a.tmp", "newer");
    CHECK(rename(board_path(b, "a.tmp"), board_path(b, "a")) == 0);
    uint64_t now = board_node(b, 1, "a");
    CHECK(now != old);
    CHECK_EQ(board_getattr(b, now, &attr), 0);
    CHECK_EQ(attr.size, 5);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 3); /* who has it open keeps it, as everywhere */
    CHECK_EQ(board_getattr(b, old, &attr), 0);
    CHECK_EQ(attr.nlink, 0);
    /* Removed and made anew under the old number of its inode: still another file. */
    for (int i = 0; i < 50; i++) {
        uint64_t before = board_node(b, 1, "a");
        CHECK(unlink(board_path(b, "a")) == 0);
        board_file(b, "a", "again");
        CHECK(board_node(b, 1, "a") != before);
    }
    board_free(b);
}

/* --- X3 */

TEST(x3_devices_fifos_and_sockets_are_never_opened)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    CHECK(mkfifo(board_path(b, "fifo"), 0666) == 0);
    CHECK(symlink("fifo", board_path(b, "link")) == 0);
    CHECK(mkdir(board_path(b, "dir"), 0755) == 0);
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", board_path(b, "socket"));
    CHECK(bind(sock, (struct sockaddr *)&un, sizeof un) == 0);
    bool dev = mknod(board_path(b, "null"), S_IFCHR | 0666, makedev(1, 3)) == 0;
    static const char *const names[] = {"fifo", "link", "socket", "null"};
    static const uint32_t flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_NONBLOCK, O_RDWR | O_TRUNC};
    for (unsigned i = 0; i < (dev ? 4 : 3); i++)
        for (unsigned j = 0; j < 5; j++) {
            uint64_t n = board_node(b, 1, names[i]);
            int want = i == 1 ? -ELOOP : -ENXIO;
            CHECK_EQ(board_open(b, n, flags[j], &o), want);
            CHECK_EQ(board_open(b, n, flags[j] | O_DIRECTORY, &o), -ENOTDIR);
            CHECK_EQ(board_create(b, 1, names[i], flags[j], 0666, &e, &o), want); /* it was made meanwhile */
            CHECK_EQ(board_setattr(b, n, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EINVAL);
            struct fuse_syncfs_in sync = {0};
            CHECK_EQ(board_call(b, FUSE_SYNCFS, n, &sync, sizeof sync, NULL, 0), 0);
            struct fuse_getxattr_in get = {.size = 10};
            int rc = board_name(b, FUSE_GETXATTR, n, &get, sizeof get, "user.x");
            CHECK(rc == -ENODATA || rc == -EOPNOTSUPP || rc == -EPERM);
        }
    uint64_t d = board_node(b, 1, "dir");
    CHECK_EQ(board_open(b, d, O_RDONLY, &o), -EISDIR);
    /* Flags that would make open() something else are not passed on. */
    board_file(b, "f", "text");
    CHECK_EQ(board_open(b, board_node(b, 1, "f"),
                        O_RDONLY | O_CREAT | O_EXCL | O_NOCTTY | O_NOFOLLOW | O_PATH, &o),
             0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 4);
    close(sock);
    board_free(b);
}

TEST(x3_a_mount_of_the_kernels_own_is_empty)
{
    struct fuse_config config = {.path = "/", .name = "fs0"};
    char err[256];
    struct board *b = calloc(1, sizeof *b);
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s && board_init(b, FUSE_DO_READDIRPLUS) > 0);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    uint64_t proc = board_node(b, 1, "proc");
    CHECK_EQ(board_lookup(b, proc, "self", &e), -ENOENT);
    CHECK_EQ(board_lookup(b, proc, "sysrq-trigger", &e), -ENOENT);
    CHECK_EQ(board_create(b, proc, "sysrq-trigger", O_WRONLY, 0600, &e, &o), -EROFS);
    CHECK_EQ(board_open(b, proc, O_DIRECTORY, &o), 0);
    struct fuse_read_in in = {.fh = o.fh, .size = 65536};
    int n = board_call(b, FUSE_READDIRPLUS, proc, &in, sizeof in, NULL, 0);
    CHECK(n > 0 && n <= 2 * 160); /* "." and ".." */
    in.offset = 0;                /* the same folder under another's number */
    CHECK_EQ(board_call(b, FUSE_READDIRPLUS, 1, &in, sizeof in, NULL, 0), -EBADF);
    CHECK_EQ(board_call(b, FUSE_READDIR, 1, &in, sizeof in, NULL, 0), -EBADF);
    fuse_free(b->s);
    config.path = "/proc/self"; /* named, so given */
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s && board_init(b, 0) > 0);
    CHECK_EQ(board_lookup(b, 1, "status", &e), 0);
    CHECK_EQ(board_open(b, e.nodeid, O_RDONLY, &o), 0);
    CHECK(board_read(b, o.fh, 0, 100) > 10);
    fuse_free(b->s);
    free(b);
}

/* --- X4 */

TEST(x4_handles_are_closed_once_and_do_not_come_back)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o, o2;
    board_file(b, "a", "aaaa");
    board_file(b, "b", "bb");
    uint64_t a = board_node(b, 1, "a");
    CHECK_EQ(board_open(b, a, O_RDWR, &o), 0);
    struct fuse_rename_in ren = {1};
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "b\0a", 4), 0); /* over what is open */
    CHECK_EQ(board_read(b, o.fh, 0, 10), 4);
    CHECK_EQ(board_release(b, a, o.fh, FUSE_RELEASEDIR), -EBADF);
    CHECK_EQ(board_release(b, a, o.fh, FUSE_RELEASE), 0);
    CHECK_EQ(board_release(b, a, o.fh, FUSE_RELEASE), -EBADF);
    CHECK_EQ(board_open(b, a, O_RDWR, &o2), 0);
    CHECK(o2.fh != o.fh);
    CHECK_EQ(board_read(b, o.fh, 0, 10), -EBADF);
    CHECK_EQ(board_write(b, o.fh, 0, "x", 1, 0), -EBADF);
    uint64_t seed = 4;
    for (int i = 0; i < 10000; i++) {
        uint64_t fh = test_rand(&seed);
        CHECK_EQ(board_read(b, i % 2 ? fh : fh >> 40, 0, 10), -EBADF);
    }
    CHECK_EQ(board_stats(b).files, 1);
    board_free(b);
}

TEST(x4_forget_counts_what_was_never_counted)
{
    struct board *b = board_new(NULL);
    struct fuse_attr attr;
    board_file(b, "a", "a");
    uint64_t a = board_node(b, 1, "a");
    board_forget(b, a, UINT64_MAX);
    CHECK_EQ(board_getattr(b, a, &attr), -ESTALE);
    board_forget(b, a, 1);
    uint64_t again = board_node(b, 1, "a");
    CHECK(again != a);
    board_forget(b, a, 1); /* the old number */
    CHECK_EQ(board_getattr(b, again, &attr), 0);
    for (int i = 0; i < 10; i++)
        board_forget(b, 1, UINT64_MAX); /* the folder itself stays */
    CHECK_EQ(board_getattr(b, 1, &attr), 0);
    struct {
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one[2];
    } batch = {
        {.count = UINT32_MAX},
        { {again, 1},         {12345, 1}}
    };
    CHECK_EQ(board_call(b, FUSE_BATCH_FORGET, 0, &batch, sizeof batch, NULL, 0), 0);
    CHECK_EQ(board_getattr(b, again, &attr), -ESTALE);
    CHECK_EQ(board_stats(b).nodes, 1);
    board_free(b);
}

/* --- lengths, requests, room */

TEST(fuse_wrong_lengths_are_refused_and_answered)
{
    struct board *b = board_new(NULL);
    static uint8_t req[400], rep[400];
    struct fuse_open_out o;
    board_file(b, "a", "a");
    uint64_t a = board_node(b, 1, "a");
    CHECK_EQ(board_open(b, a, O_RDWR, &o), 0);
    for (uint32_t op = 0; op < 60; op++)
        for (unsigned n = 0; n < 140; n++) {
            if (op == FUSE_INIT || op == FUSE_DESTROY || op == FUSE_LOOKUP)
                continue;
            memset(req, 0, sizeof req);
            struct fuse_in_header h = {.len = n, .opcode = op, .unique = 7, .nodeid = 1};
            memcpy(req, &h, sizeof h);
            size_t got = board_raw(b, req, n, rep, 200);
            CHECK(n < 40 ? got == 0 : got <= 200);
            h.len = n + 1; /* and one that lies */
            memcpy(req, &h, sizeof h);
            got = board_raw(b, req, n, rep, 200);
            bool mute = op == FUSE_FORGET || op == FUSE_BATCH_FORGET;
            CHECK_EQ(got, n < 40 || mute ? 0 : 16);
            if (got) {
                struct fuse_out_header out;
                memcpy(&out, rep, sizeof out);
                CHECK(out.len == 16 && out.unique == 7 && (out.error == -EINVAL));
            }
        }
    struct fuse_write_in w = {.fh = o.fh, .size = 100};
    CHECK_EQ(board_call(b, FUSE_WRITE, a, &w, sizeof w, "short", 5), -EINVAL);
    w.size = 2;
    CHECK_EQ(board_call(b, FUSE_WRITE, a, &w, sizeof w, "longer", 6), -EINVAL);
    w.size = UINT32_MAX;
    CHECK_EQ(board_call(b, FUSE_WRITE, a, &w, sizeof w, "x", 1), -EINVAL);
    CHECK_EQ(board_read(b, o.fh, 0, UINT32_MAX), -EINVAL);
    CHECK_EQ(board_read(b, o.fh, 0, sizeof b->reply + 1), -EINVAL);
    for (int i = 0; i < 2; i++) /* from the pool, and at once */
        CHECK_EQ(board_read(b, o.fh, UINT64_MAX, 1), -EINVAL);
    w.size = 1;
    w.offset = INT64_MAX;
    CHECK(board_call(b, FUSE_WRITE, a, &w, sizeof w, "x", 1) < 0);
    w.offset = UINT64_MAX; /* where the descriptor is, to pwritev2() */
    CHECK_EQ(board_call(b, FUSE_WRITE, a, &w, sizeof w, "x", 1), -EINVAL);
    struct fuse_setxattr_in set = {.size = 1 << 20};
    CHECK_EQ(board_call(b, FUSE_SETXATTR, a, &set, sizeof set, "user.x\0v", 8), -EINVAL);
    struct fuse_setattr_in in = {.valid = FATTR_SIZE, .size = UINT64_MAX};
    CHECK_EQ(board_setattr(b, a, in), -EINVAL);
    in = (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtimensec = UINT32_MAX};
    CHECK(board_setattr(b, a, in) > 0);
    board_free(b);
}

TEST(fuse_no_room_for_the_reply_does_nothing)
{
    struct board *b = board_new(NULL);
    uint8_t req[128] = {0}, rep[200];
    board_file(b, "a", "a");
    struct fuse_in_header h = {.len = 42, .opcode = FUSE_LOOKUP, .nodeid = 1};
    memcpy(req, &h, sizeof h);
    req[40] = 'a';
    for (size_t room = 0; room <= 144; room++) {
        struct iovec out[1] =
            {
                {req, 42}
        },
                     in[1] = {{rep, room}};
        size_t got = fuse_answer(b->s, out, 1, in, room ? 1 : 0);
        CHECK_EQ(got, room < 16 ? 0 : room < 144 ? 16 : 144);
        CHECK_EQ(board_stats(b).nodes, room < 144 ? 1 : 2); /* it would be a node that nobody ever forgets */
    }
    /* All in pieces of one byte, with empty ones between. */
    struct iovec out[84], in[300];
    for (int i = 0; i < 84; i++)
        out[i] = (struct iovec){req + i / 2, i % 2};
    for (int i = 0; i < 300; i++)
        in[i] = (struct iovec){rep + i / 2, i % 2};
    CHECK_EQ(fuse_answer(b->s, out, 84, in, 300), 144);
    struct fuse_entry_out e;
    memcpy(&e, rep + 16, sizeof e);
    CHECK_EQ(e.attr.size, 1);
    board_free(b);
}

TEST(fuse_unknown_requests_are_enosys)
{
    struct board *b = board_new(NULL);
    static const uint32_t ops[] = {0,
                                   7,
                                   19,
                                   FUSE_GETLK,
                                   FUSE_SETLK,
                                   FUSE_SETLKW,
                                   FUSE_INTERRUPT,
                                   FUSE_BMAP,
                                   FUSE_IOCTL,
                                   FUSE_POLL,
                                   FUSE_NOTIFY_REPLY,
                                   FUSE_SETUPMAPPING,
                                   FUSE_REMOVEMAPPING,
                                   52,
                                   100,
                                   4096,
                                   1048576,
                                   436207616,
                                   UINT32_MAX};
    for (unsigned i = 0; i < sizeof ops / sizeof *ops; i++)
        CHECK_EQ(board_call(b, ops[i], 1, NULL, 0, NULL, 0), -ENOSYS);
    board_free(b);
}

TEST(fuse_nothing_before_init_nor_after_destroy)
{
    struct board *b = board_new(NULL);
    struct fuse_attr attr;
    CHECK_EQ(board_call(b, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    CHECK_EQ(board_getattr(b, 1, &attr), -EIO);
    struct fuse_init_in in = {.major = 6, .minor = 99};
    CHECK_EQ(board_call(b, FUSE_INIT, 0, &in, sizeof in, NULL, 0), -EPROTO);
    in = (struct fuse_init_in){.major = 7, .minor = 30};
    CHECK_EQ(board_call(b, FUSE_INIT, 0, &in, sizeof in, NULL, 0), -EPROTO);
    in = (struct fuse_init_in){.major = 8};
    CHECK_EQ(board_call(b, FUSE_INIT, 0, &in, sizeof in, NULL, 0), 64); /* "7", and nothing else yet */
    CHECK_EQ(board_getattr(b, 1, &attr), -EIO);
    in = (struct fuse_init_in){.major = 7, .minor = 31};
    CHECK_EQ(board_call(b, FUSE_INIT, 0, &in, 16, NULL, 0), 64); /* as short as Linux 5.4's */
    CHECK_EQ(board_getattr(b, 1, &attr), 0);
    CHECK_EQ(board_call(b, FUSE_INIT, 0, &in, sizeof in, "more", 4), -EINVAL);
    board_free(b);
}

/* --- bounds */

TEST(fuse_a_full_table_is_enfile)
{
    struct fuse_config config = {.max_nodes = 50, .max_files = 20};
    struct board *b = board_new(&config);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    char name[16];
    uint64_t ids[60];
    unsigned n = 0;
    for (unsigned i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "f%u", i);
        board_file(b, name, "");
        int rc = board_lookup(b, 1, name, &e);
        CHECK_EQ(rc, n < 49 ? 0 : -ENFILE);
        if (rc == 0)
            ids[n++] = e.nodeid;
    }
    CHECK_EQ(board_create(b, 1, "new", O_RDWR, 0600, &e, &o), -ENFILE);
    CHECK_EQ(board_stats(b).files, 0);
    /* A listing goes on, with names alone. */
    CHECK_EQ(board_open(b, 1, O_DIRECTORY, &o), 0);
    struct fuse_read_in in = {.fh = o.fh, .size = 65536};
    CHECK(board_call(b, FUSE_READDIRPLUS, 1, &in, sizeof in, NULL, 0) >= 60 * 160);
    board_release(b, 1, o.fh, FUSE_RELEASEDIR);
    board_forget(b, ids[7], 2);
    CHECK_EQ(board_lookup(b, 1, "f55", &e), 0);
    for (unsigned i = 0; i < 25; i++)
        CHECK_EQ(board_open(b, ids[0], O_RDONLY, &o), i < 20 ? 0 : -ENFILE);
    fuse_reset(b->s);
    CHECK_EQ(board_stats(b).files, 0);
    CHECK_EQ(board_stats(b).descriptors, 0);
    CHECK(board_init(b, 0) > 0);
    CHECK_EQ(board_lookup(b, 1, "f55", &e), 0);
    board_free(b);
}

TEST(fuse_few_descriptors_are_enough_for_many_files)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct fuse_attr attr;
    char name[16];
    fuse_fds_set_most(64);
    uint64_t ids[500];
    int last = 0;
    unsigned n = 0;
    for (; n < 500 && last == 0; n++) {
        snprintf(name, sizeof name, "f%u", n);
        board_file(b, name, name);
        last = board_lookup(b, 1, name, &e);
        ids[n] = e.nodeid;
    }
    unsigned held = board_stats(b).descriptors;
    CHECK(held <= 48);
    if (last < 0) { /* not root, or a file system without handles: a bound, said cleanly */
        CHECK_EQ(last, -ENFILE);
        CHECK(n >= 48);
        fuse_fds_set_most(0);
        board_free(b);
        SKIP("no file handles here");
    }
    for (unsigned i = 0; i < 500; i++) { /* each is what it was, and is found again */
        snprintf(name, sizeof name, "f%u", i);
        CHECK_EQ(board_node(b, 1, name), ids[i]);
        CHECK_EQ(board_getattr(b, ids[i], &attr), 0);
        CHECK_EQ(attr.size, strlen(name));
        CHECK_EQ(board_open(b, ids[i], O_RDWR, &o), 0);
        CHECK_EQ(board_read(b, o.fh, 0, 10), strlen(name));
        CHECK(!memcmp(b->reply, name, strlen(name)));
        CHECK_EQ(board_release(b, ids[i], o.fh, FUSE_RELEASE), 0);
    }
    /* Gone, and its inode number perhaps another file's: stale, not that file. */
    for (unsigned i = 400; i < 500; i++) {
        snprintf(name, sizeof name, "f%u", i);
        CHECK(unlink(board_path(b, name)) == 0);
        board_file(b, name, "another");
        CHECK(board_getattr(b, ids[i], &attr) == -ESTALE || attr.nlink == 0 || attr.size != 7);
        CHECK(board_node(b, 1, name) != ids[i]);
    }
    CHECK(board_stats(b).descriptors <= 48);
    /* Without a name, but open. */
    board_file(b, "gone", "12345");
    uint64_t gone = board_node(b, 1, "gone");
    CHECK_EQ(board_open(b, gone, O_RDWR, &o), 0);
    CHECK(unlink(board_path(b, "gone")) == 0);
    struct fuse_getattr_in by = {.getattr_flags = FUSE_GETATTR_FH, .fh = o.fh};
    CHECK(board_call(b, FUSE_GETATTR, gone, &by, sizeof by, NULL, 0) > 0);
    CHECK(board_setattr(b, gone,
                        (struct fuse_setattr_in){.valid = FATTR_FH | FATTR_SIZE, .fh = o.fh, .size = 2}) > 0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 2);
    CHECK_EQ(board_release(b, gone, o.fh, FUSE_RELEASE), 0);
    CHECK_EQ(board_getattr(b, gone, &attr), -ESTALE);
    CHECK_EQ(board_open(b, gone, O_RDWR, &o), -ESTALE);
    fuse_reset(b->s);
    CHECK_EQ(board_stats(b).descriptors, 0);
    fuse_fds_set_most(0);
    board_free(b);
}

TEST(fuse_a_folder_that_cannot_be_shared_is_said)
{
    char err[256] = "";
    static const char *const paths[] = {"/nonexistent", "/etc/passwd", "/dev/null", ""};
    for (unsigned i = 0; i < 4; i++) {
        struct fuse_config config = {.path = paths[i], .name = "fs0"};
        *err = 0;
        CHECK(!fuse_new(&config, err, sizeof err));
        CHECK(strstr(err, i == 1 || i == 2 ? "Not a directory" : "No such file"));
    }
}
