// SPDX-License-Identifier: MIT
/* What a guest asks of a shared folder in good faith: names, attributes, listings, data. */
#include "fuse_board.h"

#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

TEST(fuse_init_agrees_on_what_both_can)
{
    struct board *b = board_new(NULL);
    struct fuse_init_out out;
    memcpy(&out, b->reply, sizeof out);
    CHECK_EQ(out.major, 7);
    CHECK_EQ(out.max_pages, 256);
    CHECK_EQ(out.max_write, 1 << 20);
    uint32_t want =
        FUSE_DO_READDIRPLUS | FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES;
    CHECK_EQ(out.flags & want, want);
    CHECK_EQ(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE | FUSE_EXPORT_SUPPORT),
             0);
    CHECK_EQ(board_init(b, FUSE_MAX_PAGES), sizeof out); /* no more than was offered */
    memcpy(&out, b->reply, sizeof out);
    CHECK_EQ(out.flags, FUSE_MAX_PAGES);
    board_free(b);
}

TEST(fuse_lookup_getattr_and_forget)
{
    struct board *b = board_new(NULL);
    struct fuse_entry_out e, again;
    struct fuse_attr attr;
    struct stat st;
    board_file(b, "a", "hello");
    CHECK(stat(board_path(b, "a"), &st) == 0);
    CHECK_EQ(board_lookup(b, FUSE_ROOT_ID, "a", &e), 0);
    CHECK_EQ(e.attr.size, 5);
    CHECK_EQ(e.attr.ino, st.st_ino);
    CHECK_EQ(e.attr.mode, st.st_mode);
    CHECK_EQ(e.attr.mtime, st.st_mtim.tv_sec);
    CHECK_EQ(e.attr.mtimensec, st.st_mtim.tv_nsec);
    CHECK(e.entry_valid == 0 && e.entry_valid_nsec <= 1000000000 && e.attr_valid == 0);
    CHECK_EQ(board_lookup(b, FUSE_ROOT_ID, "a", &again), 0);
    CHECK_EQ(again.nodeid, e.nodeid);
    CHECK_EQ(board_getattr(b, e.nodeid, &attr), 0);
    CHECK_EQ(attr.size, 5);
    CHECK_EQ(board_stats(b).nodes, 2);
    board_forget(b, e.nodeid, 1);
    CHECK_EQ(board_getattr(b, e.nodeid, &attr), 0);
    board_forget(b, e.nodeid, 1);
    CHECK_EQ(board_getattr(b, e.nodeid, &attr), -ESTALE);
    CHECK_EQ(board_stats(b).nodes, 1);
    CHECK_EQ(board_lookup(b, FUSE_ROOT_ID, "nobody", &e), -ENOENT);
    board_free(b);
}

static unsigned list(struct board *b, uint32_t op, uint64_t node, uint32_t size, unsigned *plus)
{
    struct fuse_open_out o;
    unsigned n = 0;
    uint64_t at = 0;
    CHECK_EQ(board_open(b, node, O_DIRECTORY, &o), 0);
    for (;;) {
        struct fuse_read_in in = {.fh = o.fh, .offset = at, .size = size};
        int len = board_call(b, op, node, &in, sizeof in, NULL, 0);
        CHECK(len >= 0 && len <= (int)size);
        if (!len)
            break;
        size_t pos = 0;
        while (pos < (size_t)len) {
            struct fuse_entry_out e = {0};
            struct fuse_dirent d;
            if (op == FUSE_READDIRPLUS) {
                memcpy(&e, b->reply + pos, sizeof e);
                pos += sizeof e;
            }
            memcpy(&d, b->reply + pos, sizeof d);
            CHECK(d.namelen && d.namelen < 256);
            n++;
            if (e.nodeid)
                (*plus)++;
            at = d.off;
            pos += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
        }
        CHECK_EQ(pos, len);
    }
    CHECK_EQ(board_release(b, node, o.fh, FUSE_RELEASEDIR), 0);
    return n;
}

TEST(fuse_a_listing_has_each_name_once)
{
    struct board *b = board_new(NULL);
    for (unsigned i = 0; i < 300; i++) {
        char name[300];
        int n = snprintf(name, sizeof name, "%u", i);
        memset(name + n, 'x', i % 7 == 0 ? 200 : 0);
        name[n + (i % 7 == 0 ? 200 : 0)] = 0;
        board_file(b, name, "");
    }
    unsigned plus = 0;
    CHECK_EQ(list(b, FUSE_READDIR, FUSE_ROOT_ID, 4096, &plus), 302);
    CHECK_EQ(list(b, FUSE_READDIR, FUSE_ROOT_ID, 65536, &plus), 302);
    CHECK_EQ(list(b, FUSE_READDIR, FUSE_ROOT_ID, 400, &plus), 302);
    CHECK_EQ(plus, 0);
    CHECK_EQ(list(b, FUSE_READDIRPLUS, FUSE_ROOT_ID, 4096, &plus), 302);
    CHECK_EQ(plus, 300);
    CHECK_EQ(board_stats(b).nodes, 301);
    CHECK_EQ(board_stats(b).files, 0);
    board_free(b);
}

TEST(fuse_reads_what_the_file_has)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    board_file(b, "a", "hello world");
    uint64_t a = board_node(b, FUSE_ROOT_ID, "a");
    CHECK_EQ(board_open(b, a, O_RDONLY, &o), 0);
    CHECK_EQ(board_read(b, o.fh, 0, 4096), 11);
    CHECK(!memcmp(b->reply, "hello world", 11));
    CHECK_EQ(board_read(b, o.fh, 6, 3), 3);
    CHECK(!memcmp(b->reply, "wor", 3));
    CHECK_EQ(board_read(b, o.fh, 100, 10), 0);
    CHECK_EQ(board_release(b, a, o.fh, FUSE_RELEASE), 0);
    CHECK_EQ(board_read(b, o.fh, 0, 10), -EBADF);
    board_free(b);
}
