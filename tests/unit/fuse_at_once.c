// SPDX-License-Identifier: MIT
/* What is answered on the loop: it says the same as the pool would, never waits, and what it cannot do at once it leaves as
 * it was. */
#include "fuse_board.h"

#include <sys/statfs.h>
#include <linux/magic.h>

#include "virtio/fuse_priv.h"

enum {
    ROOM = 4096
};

static bool local(const struct board *b)
{
    struct statfs sf;
    CHECK(statfs(b->dir, &sf) == 0);
    return sf.f_type == EXT4_SUPER_MAGIC || sf.f_type == XFS_SUPER_MAGIC || sf.f_type == TMPFS_MAGIC ||
           sf.f_type == BTRFS_SUPER_MAGIC;
}

/* 1: answered, 0: left to the pool, which was asked then. Both say the same. */
static int ask(struct board *b, uint32_t op, uint64_t node, const void *arg, size_t n, const void *more,
               size_t n_more)
{
    uint8_t req[512], one[ROOM], two[ROOM];
    struct fuse_in_header h = {
        .len = (uint32_t)(sizeof h + n + n_more), .opcode = op, .unique = 77, .nodeid = node};
    memcpy(req, &h, sizeof h);
    if (n)
        memcpy(req + sizeof h, arg, n);
    if (n_more)
        memcpy(req + sizeof h + n, more, n_more);
    struct iovec out[3] = {
        {req,                h.len < sizeof h ? h.len : sizeof h},
        {req + sizeof h,     n                                  },
        {req + sizeof h + n, n_more                             }
    };
    struct iovec in[2] = {
        {one,      16       },
        {one + 16, ROOM - 16}
    };
    struct iovec out_was[3], in_was[2];
    memcpy(out_was, out, sizeof out);
    memcpy(in_was, in, sizeof in);
    memset(one, 0, sizeof one);
    memset(two, 0, sizeof two);
    struct fuse_stats before = board_stats(b);
    size_t written = 0;
    bool at_once = fuse_answer_at_once(b->s, out, 3, in, 2, &written);
    CHECK(!memcmp(out_was, out, sizeof out) && !memcmp(in_was, in, sizeof in));
    if (!at_once) {
        struct fuse_stats after = board_stats(b);
        CHECK(after.requests == before.requests && after.nodes == before.nodes &&
              after.files == before.files && after.descriptors == before.descriptors);
    }
    in[0].iov_base = two;
    in[1].iov_base = two + 16;
    size_t got = fuse_answer(b->s, out, 3, in, 2);
    CHECK(got >= sizeof(struct fuse_out_header));
    if (at_once) {
        CHECK_EQ(written, got);
        CHECK(!memcmp(one, two, got));
    }
    b->len = got - 16;
    memcpy(b->reply, two + 16, b->len);
    return at_once;
}

TEST(fuse_at_once_says_what_the_pool_would)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    struct fuse_getattr_in get = {0};
    if (!local(b))
        SKIP("/tmp is no local file system");
    board_file(b, "a", "some text");
    CHECK(mkdir(board_path(b, "d"), 0755) == 0 && symlink("a", board_path(b, "s")) == 0);
    CHECK_EQ(ask(b, FUSE_LOOKUP, 1, NULL, 0, "a", 2), 1); /* just made: in the host's cache, and new to us */
    CHECK_EQ(ask(b, FUSE_LOOKUP, 1, NULL, 0, "a", 2), 1);
    CHECK_EQ(ask(b, FUSE_LOOKUP, 1, NULL, 0, "s", 2), 1); /* the link, not what it leads to */
    CHECK_EQ(ask(b, FUSE_LOOKUP, 1, NULL, 0, "..", 3), 1);
    uint64_t a = board_node(b, 1, "a");
    CHECK_EQ(ask(b, FUSE_GETATTR, a, &get, sizeof get, NULL, 0), 1);
    CHECK_EQ(ask(b, FUSE_GETATTR, 1, &get, sizeof get, NULL, 0), 1);
    CHECK_EQ(ask(b, FUSE_GETATTR, 999, &get, sizeof get, NULL, 0), 1); /* ESTALE */
    CHECK_EQ(ask(b, FUSE_LOOKUP, a, NULL, 0, "x", 2), 1);              /* ENOTDIR */
    CHECK_EQ(board_open(b, a, O_RDONLY, &o), 0);
    for (unsigned at = 0; at < 12; at += 3)
        for (unsigned n = 0; n < 20; n += 5) {
            struct fuse_read_in in = {.fh = o.fh, .offset = at, .size = n};
            ask(b, FUSE_READ, a, &in, sizeof in, NULL, 0); /* at once or not, as the file system has it */
            CHECK_EQ(b->len, at >= 9 || !n ? 0 : 9 - at < n ? 9 - at : n);
        }
    /* gone on the host: at once too, for it is the host's cache that says so */
    CHECK(unlink(board_path(b, "a")) == 0);
    struct fuse_entry_out e;
    CHECK_EQ(board_lookup(b, 1, "a", &e), -ENOENT);
    CHECK_EQ(board_lookup(b, 1, "a", &e), -ENOENT);
    board_free(b);
}

TEST(fuse_at_once_is_only_what_changes_nothing)
{
    struct board *b = board_new(NULL);
    uint8_t arg[256] = {0};
    unsigned quick = 0;
    for (uint32_t op = 0; op < 60; op++) {
        struct fuse_in_header h = {.len = sizeof h + 64, .opcode = op, .nodeid = 1};
        uint8_t reply[ROOM];
        memcpy(arg, &h, sizeof h);
        memcpy(arg + 56, "made", 5);
        struct iovec out = {arg, h.len}, in = {reply, ROOM};
        size_t written;
        if (fuse_answer_at_once(b->s, &out, 1, &in, 1, &written)) {
            CHECK(op == FUSE_LOOKUP || op == FUSE_GETATTR || op == FUSE_READ);
            quick++;
        }
    }
    CHECK_EQ(quick, 3);                   /* of wrong length */
    CHECK(rmdir(board_path(b, "")) == 0); /* nothing was made */
    /* less than a header, no room for the reply, too many pieces: the pool's to say */
    struct fuse_in_header h = {.len = sizeof h, .opcode = FUSE_LOOKUP, .nodeid = 1};
    struct iovec out[30] =
        {
            {&h, 39}
    },
                 in[30] = {{arg, 15}};
    size_t written;
    CHECK(!fuse_answer_at_once(b->s, out, 0, in, 1, &written));
    CHECK(!fuse_answer_at_once(b->s, out, 1, in, 1, &written));
    out[0].iov_len = 40;
    CHECK(!fuse_answer_at_once(b->s, out, 1, in, 1, &written));
    CHECK(!fuse_answer_at_once(b->s, out, 1, in, 0, &written));
    in[0].iov_len = 200;
    CHECK(!fuse_answer_at_once(b->s, out, 30, in, 1, &written));
    CHECK(!fuse_answer_at_once(b->s, out, 1, in, 30, &written));
    board_free(b);
}

TEST(fuse_at_once_leaves_other_file_systems_and_handles_to_the_pool)
{
    struct fuse_config config = {.path = "/", .name = "fs0"};
    struct fuse_getattr_in get = {0};
    char err[256];
    struct board *b = calloc(1, sizeof *b);
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s && board_init(b, 0) > 0);
    uint64_t proc = board_node(b, 1, "proc");
    CHECK_EQ(ask(b, FUSE_GETATTR, proc, &get, sizeof get, NULL, 0), 0);
    CHECK_EQ(ask(b, FUSE_LOOKUP, proc, NULL, 0, "self", 5), 0);
    CHECK_EQ(ask(b, FUSE_LOOKUP, 1, NULL, 0, "proc", 5), 0); /* another mount */
    fuse_free(b->s);
    free(b);

    b = board_new(NULL);
    fuse_fds_set_most(4);
    for (char name[8] = "a"; *name < 'k'; ++*name) {
        struct fuse_entry_out e;
        board_file(b, name, "x");
        if (board_lookup(b, 1, name, &e) == -ENFILE) {
            fuse_fds_set_most(0);
            board_free(b);
            SKIP("no file handles here");
        }
        uint64_t id = board_node(b, 1, name);
        int at_once = ask(b, FUSE_GETATTR, id, &get, sizeof get, NULL, 0);
        CHECK(!at_once || *name < 'd');
        at_once = ask(b, FUSE_LOOKUP, 1, NULL, 0, name, 2);
        CHECK(!at_once || *name < 'd');
    }
    fuse_fds_set_most(0);
    board_free(b);
}

TEST(fuse_at_once_reads_no_more_than_64_kib)
{
    struct board *b = board_new(NULL);
    struct fuse_open_out o;
    static uint8_t bytes[1 << 17];
    board_file(b, "a", "");
    CHECK(truncate(board_path(b, "a"), 1 << 20) == 0);
    uint64_t a = board_node(b, 1, "a");
    CHECK_EQ(board_open(b, a, O_RDONLY, &o), 0);
    CHECK_EQ(board_read(b, o.fh, 0, 100000), 100000);
    struct {
        struct fuse_in_header h;
        struct fuse_read_in in;
    } req = {
        {.len = sizeof req, .opcode = FUSE_READ, .nodeid = a},
        {.fh = o.fh,                 .size = 1 << 16                          }
    };
    struct iovec out = {&req, sizeof req}, in = {bytes, sizeof bytes};
    size_t written = 0;
    if (fuse_answer_at_once(b->s, &out, 1, &in, 1, &written))
        CHECK_EQ(written, (1 << 16) + 16);
    req.in.size++;
    CHECK(!fuse_answer_at_once(b->s, &out, 1, &in, 1, &written));
    req.in.size = 100;
    board_free(b);
}
