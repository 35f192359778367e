// SPDX-License-Identifier: MIT
/* Every request that changes something, and what the host's folder looks like afterwards. */
#include "fuse_board.h"

#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static struct stat host(struct board *b, const char *name)
{
    struct stat st;
    CHECK(lstat(board_path(b, name), &st) == 0);
    return st;
}

TEST(fuse_create_write_read_back)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o, o2;
    CHECK_EQ(board_create(b, 1, "new", O_RDWR | O_EXCL, 0666, &e, &o), 0);
    CHECK_EQ(e.attr.mode, S_IFREG | 0644); /* the request's umask, not ours */
    CHECK_EQ(board_write(b, o.fh, 0, "hello world", 11, 0), 11);
    CHECK_EQ(board_write(b, o.fh, 6, "there", 5, 0), 5);
    CHECK_EQ(host(b, "new").st_size, 11);
    CHECK_EQ(board_read(b, o.fh, 0, 100), 11);
    CHECK(!memcmp(b->reply, "hello there", 11));
    CHECK_EQ(board_create(b, 1, "new", O_RDWR | O_EXCL, 0666, &e, &o2), -EEXIST);
    CHECK_EQ(board_create(b, 1, "new", O_RDWR | O_TRUNC, 0666, &e, &o2), 0); /* made by somebody meanwhile */
    CHECK_EQ(host(b, "new").st_size, 0);
    struct fuse_flush_in flush = {.fh = o.fh};
    CHECK_EQ(board_call(b, FUSE_FLUSH, e.nodeid, &flush, sizeof flush, NULL, 0), 0);
    struct fuse_fsync_in sync = {.fh = o.fh, .fsync_flags = FUSE_FSYNC_FDATASYNC};
    CHECK_EQ(board_call(b, FUSE_FSYNC, e.nodeid, &sync, sizeof sync, NULL, 0), 0);
    CHECK_EQ(board_release(b, e.nodeid, o.fh, FUSE_RELEASE), 0);
    CHECK_EQ(board_release(b, e.nodeid, o2.fh, FUSE_RELEASE), 0);
    CHECK_EQ(board_open(b, e.nodeid, O_WRONLY, &o), 0);
    CHECK_EQ(board_write(b, o.fh, 2, "cd", 2, 0), 2);
    CHECK_EQ(host(b, "new").st_size, 4);
    CHECK_EQ(board_read(b, o.fh, 0, 10), -EBADF);
    board_free(b);
}

TEST(fuse_setattr_sets_what_it_says_and_no_more)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    struct fuse_attr attr;
    board_file(b, "a", "0123456789");
    CHECK(symlink("nowhere", board_path(b, "link")) == 0);
    uint64_t a = board_node(b, 1, "a"), l = board_node(b, 1, "link");
    CHECK(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 04711}) > 0);
    CHECK_EQ(host(b, "a").st_mode & 07777, 04711);
    CHECK(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 4}) > 0);
    CHECK_EQ(host(b, "a").st_size, 4);
    CHECK_EQ(board_open(b, a, O_RDWR, &o), 0);
    CHECK(board_setattr(b, a,
                        (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = o.fh, .size = 8}) > 0);
    CHECK_EQ(host(b, "a").st_size, 8);
    CHECK_EQ(
        board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = 99, .size = 8}),
        -EBADF);
    CHECK(board_setattr(b, a,
                        (struct fuse_setattr_in){
                            .valid = FATTR_MTIME, .mtime = 1000, .mtimensec = 5, .atime = 7, .size = 1}) > 0);
    struct stat st = host(b, "a");
    CHECK(st.st_mtim.tv_sec == 1000 && st.st_mtim.tv_nsec == 5 && st.st_atim.tv_sec != 7 && st.st_size == 8);
    CHECK(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_ATIME | FATTR_ATIME_NOW}) > 0);
    CHECK(host(b, "a").st_atim.tv_sec > 1000 && host(b, "a").st_mtim.tv_sec == 1000);
    CHECK(board_setattr(b, l, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 77}) >
          0); /* the link's own */
    CHECK_EQ(host(b, "link").st_mtim.tv_sec, 77);
    if (geteuid() == 0) {
        CHECK(board_setattr(b, a,
                            (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID | FATTR_MODE,
                                                     .uid = 1234,
                                                     .gid = 4321,
                                                     .mode = 06755}) > 0);
        st = host(b, "a");
        CHECK(st.st_uid == 1234 && st.st_gid == 4321 && (st.st_mode & 07777) == 06755);
        CHECK(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 5}) > 0);
        st = host(b, "a");
        CHECK(st.st_uid == 1234 && st.st_gid == 5 && !(st.st_mode & 06000)); /* a chown takes them away */
        CHECK(board_setattr(b, l, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 9}) > 0);
        CHECK_EQ(host(b, "link").st_uid, 9);
    }
    CHECK_EQ(board_setattr(b, 1, (struct fuse_setattr_in){.valid = FATTR_SIZE}), -EISDIR);
    CHECK_EQ(board_getattr(b, a, &attr), 0);
    CHECK_EQ(attr.size, 8);
    board_free(b);
}

TEST(fuse_privileges_end_where_the_request_says_so)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    board_file(b, "a", "x");
    uint64_t a = board_node(b, 1, "a");
    const char *path = board_path(b, "a");
    if (geteuid())
        SKIP("for others the host's kernel does it");
    CHECK(chmod(path, 06755) == 0);
    CHECK_EQ(board_open(b, a, O_RDWR, &o), 0);
    CHECK_EQ(board_write(b, o.fh, 0, "a", 1, 0), 1);
    CHECK_EQ(host(b, "a").st_mode & 07777, 06755);
    CHECK_EQ(board_write(b, o.fh, 0, "a", 1, FUSE_WRITE_KILL_SUIDGID), 1);
    CHECK_EQ(host(b, "a").st_mode & 07777, 0755);
    CHECK(chmod(path, 02745) == 0); /* setgid without group execution is no privilege */
    CHECK_EQ(board_write(b, o.fh, 0, "a", 1, FUSE_WRITE_KILL_SUIDGID), 1);
    CHECK_EQ(host(b, "a").st_mode & 07777, 02745);
    CHECK(chmod(path, 04755) == 0);
    CHECK(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 9}) >
          0);
    CHECK_EQ(host(b, "a").st_mode & 07777, 0755);
    CHECK(chmod(path, 04755) == 0);
    struct fuse_open_in in = {.flags = O_WRONLY | O_TRUNC, .open_flags = FUSE_OPEN_KILL_SUIDGID};
    CHECK(board_call(b, FUSE_OPEN, a, &in, sizeof in, NULL, 0) > 0);
    CHECK_EQ(host(b, "a").st_mode & 07777, 0755);
    CHECK_EQ(host(b, "a").st_size, 0);
    board_free(b);
}

TEST(fuse_names_are_made_removed_and_moved)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_mkdir_in mkdir_in = {.mode = 0777, .umask = 027};
    CHECK(board_name(b, FUSE_MKDIR, 1, &mkdir_in, sizeof mkdir_in, "d") > 0);
    memcpy(&e, b->reply, sizeof e);
    uint64_t d = e.nodeid;
    CHECK_EQ(host(b, "d").st_mode, S_IFDIR | 0750);
    struct fuse_mknod_in mknod_in = {.mode = S_IFIFO | 0640, .umask = 0};
    CHECK(board_name(b, FUSE_MKNOD, d, &mknod_in, sizeof mknod_in, "fifo") > 0);
    CHECK_EQ(host(b, "d/fifo").st_mode, S_IFIFO | 0640);
    if (geteuid() == 0) {
        mknod_in = (struct fuse_mknod_in){.mode = S_IFCHR | 0600, .rdev = 0x345u << 20 | 0x105 << 8 | 0x67};
        int rc = board_name(b, FUSE_MKNOD, d, &mknod_in, sizeof mknod_in, "dev");
        if (rc > 0) {
            memcpy(&e, b->reply, sizeof e);
            struct stat st = host(b, "d/dev");
            CHECK_EQ(e.attr.rdev, mknod_in.rdev);
            CHECK_EQ(major(st.st_rdev), 0x105);
            CHECK_EQ(minor(st.st_rdev), (0x345 << 8 | 0x67));
        } else
            CHECK_EQ(rc, -EPERM); /* a container */
    }
    const char link_args[] = "s\0the/../target";
    CHECK(board_call(b, FUSE_SYMLINK, d, NULL, 0, link_args, sizeof link_args) > 0);
    memcpy(&e, b->reply, sizeof e);
    CHECK_EQ(e.attr.mode & S_IFMT, S_IFLNK);
    CHECK_EQ(board_call(b, FUSE_READLINK, e.nodeid, NULL, 0, NULL, 0), 13);
    CHECK(!memcmp(b->reply, "the/../target", 13));
    CHECK_EQ(board_call(b, FUSE_READLINK, d, NULL, 0, NULL, 0), -EINVAL);

    board_file(b, "a", "a");
    uint64_t a = board_node(b, 1, "a");
    struct fuse_link_in link_in = {a};
    CHECK(board_name(b, FUSE_LINK, d, &link_in, sizeof link_in, "hard") > 0);
    memcpy(&e, b->reply, sizeof e);
    CHECK_EQ(e.nodeid, a);
    CHECK_EQ(e.attr.nlink, 2);
    link_in.oldnodeid = board_node(b, d, "s"); /* the link itself, not what it says */
    CHECK(board_name(b, FUSE_LINK, d, &link_in, sizeof link_in, "s2") > 0);
    CHECK_EQ(host(b, "d/s2").st_mode & S_IFMT, S_IFLNK);
    link_in.oldnodeid = d;
    CHECK_EQ(board_name(b, FUSE_LINK, 1, &link_in, sizeof link_in, "d2"), -EPERM);

    struct fuse_rename_in ren = {d};
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b", 4), 0);
    CHECK(access(board_path(b, "a"), F_OK) < 0);
    CHECK_EQ(board_node(b, d, "b"), a);
    struct fuse_rename2_in ren2 = {.newdir = d, .flags = RENAME_NOREPLACE};
    CHECK_EQ(board_call(b, FUSE_RENAME2, d, &ren2, sizeof ren2, "b\0hard", 7), -EEXIST);
    ren2.flags = RENAME_EXCHANGE;
    CHECK_EQ(board_call(b, FUSE_RENAME2, d, &ren2, sizeof ren2, "b\0s", 4), 0);
    CHECK_EQ(host(b, "d/b").st_mode & S_IFMT, S_IFLNK);
    ren2.flags = 1 << 7;
    CHECK_EQ(board_call(b, FUSE_RENAME2, d, &ren2, sizeof ren2, "b\0s", 4), -EINVAL);
    ren2 = (struct fuse_rename2_in){.newdir = 12345};
    CHECK_EQ(board_call(b, FUSE_RENAME2, d, &ren2, sizeof ren2, "b\0s", 4), -ESTALE);

    CHECK_EQ(board_name(b, FUSE_RMDIR, 1, NULL, 0, "d"), -ENOTEMPTY);
    CHECK_EQ(board_name(b, FUSE_UNLINK, 1, NULL, 0, "d"), -EISDIR);
    static const char *const names[] = {"b", "s", "s2", "hard", "fifo", "dev"};
    for (unsigned i = 0; i < 6; i++)
        CHECK(board_name(b, FUSE_UNLINK, d, NULL, 0, names[i]) == 0 || i == 5);
    CHECK_EQ(board_name(b, FUSE_RMDIR, d, NULL, 0, "b"), -ENOENT);
    CHECK_EQ(board_name(b, FUSE_RMDIR, 1, NULL, 0, "d"), 0);
    CHECK(access(board_path(b, "d"), F_OK) < 0);
    board_free(b);
}

TEST(fuse_as_root_files_belong_to_the_guests_user)
{
    if (geteuid())
        SKIP("not root");
    struct board *b = board_new(NULL);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct fuse_mkdir_in in = {.mode = 0700};
    CHECK(chmod(board_path(b, ""), 0700) ==
          0); /* the guest's kernel lets whom it lets, by a group we do not hear of */
    CHECK(mkdir(board_path(b, "sgid"), 02777) == 0 && chmod(board_path(b, "sgid"), 02777) == 0);
    CHECK(chown(board_path(b, "sgid"), 0, 777) == 0 && chmod(board_path(b, "sgid"), 02777) == 0);
    uint64_t sgid = board_node(b, 1, "sgid");
    b->uid = 1234;
    b->gid = 4321;
    CHECK_EQ(board_create(b, 1, "f", O_WRONLY, 0600, &e, &o), 0);
    CHECK(e.attr.uid == 1234 && e.attr.gid == 4321);
    CHECK(board_name(b, FUSE_MKDIR, 1, &in, sizeof in, "d") > 0);
    CHECK(host(b, "d").st_uid == 1234 && host(b, "d").st_gid == 4321);
    CHECK(board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0t", 4) > 0);
    CHECK(host(b, "s").st_uid == 1234 && host(b, "s").st_gid == 4321);
    CHECK_EQ(board_create(b, sgid, "f", O_WRONLY, 0600, &e, &o), 0);
    CHECK(e.attr.uid == 1234 && e.attr.gid == 777); /* as the folder says */
    b->uid = 0;
    CHECK_EQ(board_create(b, 1, "g", O_WRONLY, 0600, &e, &o), 0);
    CHECK(e.attr.uid == 0 && e.attr.gid == 4321);
    b->gid = 0;
    CHECK_EQ(board_create(b, 1, "h", O_WRONLY, 0666, &e, &o), 0); /* and we are ourselves again */
    CHECK(e.attr.uid == 0 && e.attr.gid == 0);
    CHECK(access("/etc/shadow", R_OK) == 0 || errno == ENOENT);
    board_free(b);
}

TEST(fuse_not_as_root_files_are_the_users_own)
{
    if (geteuid())
        SKIP("the other tests show it");
    pid_t pid = fork();
    if (!pid) { /* no CHECK in here */
        if (setgid(65534) || setuid(65534))
            _exit(9);
        struct board *b = board_new(NULL);
        struct fuse_entry_out e;
        struct fuse_open_out o;
        b->uid = b->gid = 1234;
        int rc = board_create(b, 1, "f", O_RDWR, 0666, &e, &o);
        bool own = rc == 0 && e.attr.uid == 65534 && e.attr.gid == 65534 && !board_stats(b).root;
        rc = board_setattr(b, e.nodeid, (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 0});
        bool refused = rc == -EPERM;
        rc = board_setattr(b, e.nodeid, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0600});
        bool mode = rc > 0;
        struct fuse_link_in in = {e.nodeid};
        bool linked = board_name(b, FUSE_LINK, 1, &in, sizeof in, "g") > 0;
        board_free(b);
        _exit(!own ? 1 : !refused ? 2 : !mode ? 3 : !linked ? 4 : 0);
    }
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
}

TEST(fuse_xattrs)
{
    struct board *b = board_new(NULL);
    board_file(b, "a", "x");
    uint64_t a = board_node(b, 1, "a");
    struct {
        struct fuse_setxattr_in in;
        char text[32];
    } set = {.in = {.size = 5}, .text = "user.one\0value"};
    int rc = board_call(b, FUSE_SETXATTR, a, &set.in, sizeof set.in, set.text, 14);
    if (rc == -EOPNOTSUPP) {
        board_free(b);
        SKIP("/tmp has no extended attributes");
    }
    CHECK_EQ(rc, 0);
    char value[16];
    CHECK_EQ(getxattr(board_path(b, "a"), "user.one", value, sizeof value), 5);
    CHECK(!memcmp(value, "value", 5));
    set.in.flags = XATTR_CREATE;
    CHECK_EQ(board_call(b, FUSE_SETXATTR, a, &set.in, sizeof set.in, set.text, 14), -EEXIST);
    struct fuse_getxattr_in get = {.size = 100};
    CHECK_EQ(board_name(b, FUSE_GETXATTR, a, &get, sizeof get, "user.one"), 5);
    CHECK(!memcmp(b->reply, "value", 5));
    get.size = 4;
    CHECK_EQ(board_name(b, FUSE_GETXATTR, a, &get, sizeof get, "user.one"), -ERANGE);
    get.size = 0;
    struct fuse_getxattr_out out;
    CHECK_EQ(board_name(b, FUSE_GETXATTR, a, &get, sizeof get, "user.one"), sizeof out);
    memcpy(&out, b->reply, sizeof out);
    CHECK_EQ(out.size, 5);
    CHECK_EQ(board_name(b, FUSE_GETXATTR, a, &get, sizeof get, "user.two"), -ENODATA);
    get.size = 1000;
    rc = board_call(b, FUSE_LISTXATTR, a, &get, sizeof get, NULL, 0);
    CHECK(rc >= 9 && memmem(b->reply, (size_t)rc, "user.one", 9));
    CHECK_EQ(board_name(b, FUSE_REMOVEXATTR, a, NULL, 0, "user.one"), 0);
    CHECK_EQ(board_name(b, FUSE_REMOVEXATTR, a, NULL, 0, "user.one"), -ENODATA);
    board_free(b);
}

TEST(fuse_room_holes_copies_and_the_rest)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e, e2;
    struct fuse_open_out o, o2;
    CHECK_EQ(board_create(b, 1, "a", O_RDWR, 0600, &e, &o), 0);
    CHECK_EQ(board_create(b, 1, "b", O_RDWR, 0600, &e2, &o2), 0);
    struct fuse_fallocate_in fall = {.fh = o.fh, .offset = 0, .length = 1 << 20};
    int rc = board_call(b, FUSE_FALLOCATE, e.nodeid, &fall, sizeof fall, NULL, 0);
    CHECK(rc == 0 || rc == -EOPNOTSUPP);
    if (rc == 0)
        CHECK_EQ(host(b, "a").st_size, 1 << 20);
    CHECK_EQ(board_write(b, o.fh, 0, "0123456789", 10, 0), 10);
    struct fuse_copy_file_range_in copy = {
        .fh_in = o.fh, .off_in = 2, .nodeid_out = e2.nodeid, .fh_out = o2.fh, .off_out = 1, .len = 4};
    struct fuse_write_out w;
    CHECK_EQ(board_call(b, FUSE_COPY_FILE_RANGE, e.nodeid, &copy, sizeof copy, NULL, 0), sizeof w);
    memcpy(&w, b->reply, sizeof w);
    CHECK_EQ(w.size, 4);
    CHECK_EQ(board_read(b, o2.fh, 0, 10), 5);
    CHECK(!memcmp(b->reply, "\0002345", 5));
    copy.fh_out = 1;
    CHECK_EQ(board_call(b, FUSE_COPY_FILE_RANGE, e.nodeid, &copy, sizeof copy, NULL, 0), -EBADF);
    struct fuse_lseek_in seek = {.fh = o2.fh, .offset = 0, .whence = SEEK_HOLE};
    struct fuse_lseek_out at;
    CHECK_EQ(board_call(b, FUSE_LSEEK, e2.nodeid, &seek, sizeof seek, NULL, 0), sizeof at);
    memcpy(&at, b->reply, sizeof at);
    CHECK_EQ(at.offset, 5);
    seek.whence = SEEK_END;
    CHECK_EQ(board_call(b, FUSE_LSEEK, e2.nodeid, &seek, sizeof seek, NULL, 0), -EINVAL);
    struct statfs sf;
    struct fuse_statfs_out st;
    CHECK(statfs(board_path(b, ""), &sf) == 0);
    CHECK_EQ(board_call(b, FUSE_STATFS, 1, NULL, 0, NULL, 0), sizeof st);
    memcpy(&st, b->reply, sizeof st);
    CHECK(st.st.blocks == (uint64_t)sf.f_blocks && st.st.namelen == (uint32_t)sf.f_namelen);
    struct fuse_syncfs_in sync = {0};
    CHECK_EQ(board_call(b, FUSE_SYNCFS, 1, &sync, sizeof sync, NULL, 0), 0);
    struct fuse_access_in acc = {.mask = R_OK | W_OK};
    CHECK_EQ(board_call(b, FUSE_ACCESS, e.nodeid, &acc, sizeof acc, NULL, 0), 0);
    acc.mask = X_OK;
    CHECK_EQ(board_call(b, FUSE_ACCESS, e.nodeid, &acc, sizeof acc, NULL, 0), -EACCES);
    if (geteuid() == 0) {
        b->uid = 5;
        acc.mask = R_OK;
        CHECK_EQ(board_call(b, FUSE_ACCESS, e.nodeid, &acc, sizeof acc, NULL, 0), -EACCES);
        b->uid = 0;
    }
    CHECK_EQ(board_open(b, 1, O_DIRECTORY, &o), 0);
    struct fuse_fsync_in fsync_in = {.fh = o.fh};
    CHECK_EQ(board_call(b, FUSE_FSYNCDIR, 1, &fsync_in, sizeof fsync_in, NULL, 0), 0);
    CHECK_EQ(board_call(b, FUSE_FSYNC, 1, &fsync_in, sizeof fsync_in, NULL, 0),
             -EBADF); /* a folder's handle */
    struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | 0640, .umask = 0};
    rc = board_name(b, FUSE_TMPFILE, 1, &tmp, sizeof tmp, "#1/2");
    CHECK(rc > 0 || rc == -EOPNOTSUPP);
    if (rc > 0) {
        memcpy(&e, b->reply, sizeof e);
        CHECK(e.attr.nlink == 0 && e.attr.mode == (S_IFREG | 0640));
        struct fuse_link_in in = {e.nodeid};
        CHECK(board_name(b, FUSE_LINK, 1, &in, sizeof in, "named") > 0);
        CHECK_EQ(host(b, "named").st_nlink, 1);
    }
    CHECK_EQ(board_call(b, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    CHECK_EQ(board_stats(b).nodes, 1);
    CHECK_EQ(board_stats(b).files, 0);
    board_free(b);
}

TEST(fuse_read_only_changes_nothing)
{
    struct fuse_config config = {.ro = true};
    struct board *b = board_new(&config);
    struct fuse_entry_out e;
    struct fuse_open_out o;
    board_file(b, "a", "text");
    CHECK(mkdir(board_path(b, "d"), 0755) == 0);
    struct stat before = host(b, "a"), now;
    uint64_t a = board_node(b, 1, "a");
    CHECK_EQ(board_open(b, a, O_RDWR, &o), -EROFS);
    CHECK_EQ(board_open(b, a, O_WRONLY, &o), -EROFS);
    CHECK_EQ(board_open(b, a, O_RDONLY | O_TRUNC, &o), -EROFS);
    CHECK_EQ(board_open(b, a, 3, &o), -EROFS);
    CHECK_EQ(board_open(b, a, O_RDONLY, &o), 0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), 4);
    CHECK_EQ(board_write(b, o.fh, 0, "x", 1, 0), -EROFS);
    CHECK_EQ(board_create(b, 1, "new", O_RDWR, 0666, &e, &o), -EROFS);
    CHECK_EQ(board_create(b, 1, "a", O_RDONLY, 0666, &e, &o), -EROFS);
    CHECK_EQ(board_setattr(b, a, (struct fuse_setattr_in){.valid = FATTR_MODE}), -EROFS);
    struct fuse_mkdir_in mk = {.mode = 0755};
    struct fuse_mknod_in nod = {.mode = S_IFIFO};
    struct fuse_link_in ln = {a};
    struct fuse_rename_in ren = {1};
    struct fuse_rename2_in ren2 = {.newdir = 1};
    struct fuse_setxattr_in set = {.size = 1};
    struct fuse_fallocate_in fall = {.fh = o.fh, .length = 10};
    struct fuse_copy_file_range_in copy = {.fh_in = o.fh, .fh_out = o.fh, .len = 1};
    struct fuse_create_in tmp = {.flags = O_RDWR};
    CHECK_EQ(board_name(b, FUSE_MKDIR, 1, &mk, sizeof mk, "n"), -EROFS);
    CHECK_EQ(board_name(b, FUSE_MKNOD, 1, &nod, sizeof nod, "n"), -EROFS);
    CHECK_EQ(board_name(b, FUSE_LINK, 1, &ln, sizeof ln, "n"), -EROFS);
    CHECK_EQ(board_name(b, FUSE_TMPFILE, 1, &tmp, sizeof tmp, "n"), -EROFS);
    CHECK_EQ(board_name(b, FUSE_UNLINK, 1, NULL, 0, "a"), -EROFS);
    CHECK_EQ(board_name(b, FUSE_RMDIR, 1, NULL, 0, "d"), -EROFS);
    CHECK_EQ(board_call(b, FUSE_SYMLINK, 1, NULL, 0, "s\0t", 4), -EROFS);
    CHECK_EQ(board_call(b, FUSE_RENAME, 1, &ren, sizeof ren, "a\0b", 4), -EROFS);
    CHECK_EQ(board_call(b, FUSE_RENAME2, 1, &ren2, sizeof ren2, "a\0b", 4), -EROFS);
    CHECK_EQ(board_call(b, FUSE_SETXATTR, a, &set, sizeof set, "user.x\0v", 8), -EROFS);
    CHECK_EQ(board_name(b, FUSE_REMOVEXATTR, a, NULL, 0, "user.x"), -EROFS);
    CHECK_EQ(board_call(b, FUSE_FALLOCATE, a, &fall, sizeof fall, NULL, 0), -EROFS);
    CHECK_EQ(board_call(b, FUSE_COPY_FILE_RANGE, a, &copy, sizeof copy, NULL, 0), -EROFS);
    now = host(b, "a");
    CHECK(now.st_ctim.tv_sec == before.st_ctim.tv_sec && now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    CHECK(access(board_path(b, "n"), F_OK) < 0 && access(board_path(b, "b"), F_OK) < 0);
    board_free(b);
}

TEST(fuse_pages_are_kept_only_of_a_file_that_rests)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    board_file(b, "new", "x");
    uint64_t n = board_node(b, 1, "new");
    for (int i = 0; i < 2; i++) { /* so young that it might change within one tick of its clock */
        CHECK_EQ(board_open(b, n, O_RDONLY, &o), 0);
        CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, 0);
    }
    board_free(b);
    struct fuse_config config = {.path = "/usr/bin", .name = "fs0"}, none = {.no_cache = true};
    char err[256];
    b = calloc(1, sizeof *b);
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s && board_init(b, 0) > 0);
    n = board_node(b, 1, "env");
    CHECK_EQ(board_open(b, n, O_RDONLY, &o), 0);
    CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, 0);
    CHECK_EQ(board_open(b, n, O_RDONLY, &o), 0);
    CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE);
    fuse_free(b->s);
    free(b);
    b = board_new(&none);
    struct fuse_entry_out e;
    board_file(b, "new", "x");
    CHECK_EQ(board_lookup(b, 1, "new", &e), 0);
    CHECK(!e.entry_valid && !e.entry_valid_nsec && !e.attr_valid && !e.attr_valid_nsec);
    CHECK_EQ(board_open(b, e.nodeid, O_RDONLY, &o), 0);
    CHECK_EQ(o.open_flags & (FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO), FOPEN_DIRECT_IO);
    CHECK_EQ(board_name(b, FUSE_LOOKUP, 1, NULL, 0, "nobody"), -ENOENT); /* not even that is remembered */
    board_free(b);
}
