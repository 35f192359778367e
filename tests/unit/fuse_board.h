/* SPDX-License-Identifier: MIT
 *
 * A FUSE server over a fresh folder, and a guest's kernel that speaks to it in single requests. */
#ifndef TESTS_UNIT_FUSE_BOARD_H
#define TESTS_UNIT_FUSE_BOARD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "test.h"
#include "virtio/fuse.h"

struct board {
    struct fuse_server *s;
    char dir[64]; /* the folder shared is DIR/share */
    uint64_t unique;
    uint32_t uid, gid;
    uint8_t reply[1 << 17]; /* behind the header, of the last answer */
    size_t len;
};

static __attribute__((unused)) const char *board_path(const struct board *b, const char *name)
{
    static _Thread_local char path[4][512];
    static _Thread_local unsigned at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof path[0], "%s/share%s%s", b->dir, *name ? "/" : "", name);
    return p;
}

static __attribute__((unused)) void board_file(const struct board *b, const char *name, const char *text)
{
    FILE *f = fopen(board_path(b, name), "w");
    CHECK(f);
    CHECK(fputs(text, f) >= 0);
    CHECK(fclose(f) == 0);
}

/* One request of the bytes given, as it is: the reply's length. */
static size_t board_raw(struct board *b, const void *req, size_t n, void *rep, size_t room)
{
    struct iovec out[2] = {
        {(void *)(uintptr_t)req,      n < 40 ? n : 40    },
        {(char *)(uintptr_t)req + 40, n < 40 ? 0 : n - 40}
    };
    struct iovec in[2] = {
        {rep,              room < 16 ? room : 16    },
        {(char *)rep + 16, room < 16 ? 0 : room - 16}
    };
    size_t written; /* every other one as when it is alone */
    if (b->unique & 1 && fuse_answer_at_once(b->s, out, 2, in, 2, &written))
        return written;
    return fuse_answer(b->s, out, 2, in, 2);
}

/* 0 or more: the bytes in b->reply; else -errno. arg, and what comes behind it. */
static int board_call(struct board *b, uint32_t op, uint64_t node, const void *arg, size_t n,
                      const void *more, size_t n_more)
{
    static _Thread_local uint8_t req[1 << 17], rep[1 << 17];
    struct fuse_in_header h = {.len = (uint32_t)(sizeof h + n + n_more),
                               .opcode = op,
                               .unique = ++b->unique,
                               .nodeid = node,
                               .uid = b->uid,
                               .gid = b->gid};
    memcpy(req, &h, sizeof h);
    if (n)
        memcpy(req + sizeof h, arg, n);
    if (n_more)
        memcpy(req + sizeof h + n, more, n_more);
    size_t got = board_raw(b, req, h.len, rep, sizeof rep);
    b->len = 0;
    if (!got)
        return 0;
    struct fuse_out_header out;
    CHECK(got >= sizeof out);
    memcpy(&out, rep, sizeof out);
    CHECK_EQ(out.len, got);
    CHECK_EQ(out.unique, h.unique);
    CHECK(out.error <= 0 && out.error > -4096);
    if (out.error) {
        CHECK_EQ(got, sizeof out);
        return out.error;
    }
    b->len = got - sizeof out;
    memcpy(b->reply, rep + sizeof out, b->len);
    return (int)b->len;
}

static __attribute__((unused)) int board_name(struct board *b, uint32_t op, uint64_t node, const void *arg,
                                              size_t n, const char *name)
{
    return board_call(b, op, node, arg, n, name, strlen(name) + 1);
}

static __attribute__((unused)) int board_init(struct board *b, uint32_t flags)
{
    struct fuse_init_in in = {.major = 7, .minor = 38, .max_readahead = 1 << 17, .flags = flags};
    return board_call(b, FUSE_INIT, 0, &in, sizeof in, NULL, 0);
}

/* As current kernels ask. */
static void board_start(struct board *b, const struct fuse_config *with)
{
    char err[256];
    snprintf(b->dir, sizeof b->dir, "/tmp/vmlet-fuse-XXXXXX");
    CHECK(mkdtemp(b->dir));
    CHECK(mkdir(board_path(b, ""), 0755) == 0);
    struct fuse_config config = with ? *with : (struct fuse_config){0};
    config.path = board_path(b, "");
    config.name = "fs0";
    b->s = fuse_new(&config, err, sizeof err);
    CHECK(b->s);
    CHECK_EQ(board_init(b, ~0u & ~(1u << 31)), sizeof(struct fuse_init_out));
}

static __attribute__((unused)) struct board *board_new(const struct fuse_config *with)
{
    struct board *b = calloc(1, sizeof *b);
    CHECK(b);
    board_start(b, with);
    return b;
}

static __attribute__((unused)) void board_free(struct board *b)
{
    fuse_free(b->s);
    files_remove(b->dir);
    free(b);
}

/* --- what tests ask all the time */

static __attribute__((unused)) int board_lookup(struct board *b, uint64_t dir, const char *name,
                                                struct fuse_entry_out *e)
{
    int rc = board_name(b, FUSE_LOOKUP, dir, NULL, 0, name);
    if (rc >= 0)
        memcpy(e, b->reply, sizeof *e);
    return rc < 0 ? rc : e->nodeid ? 0 : -ENOENT;
}

static __attribute__((unused)) uint64_t board_node(struct board *b, uint64_t dir, const char *name)
{
    struct fuse_entry_out e;
    CHECK_EQ(board_lookup(b, dir, name, &e), 0);
    return e.nodeid;
}

static __attribute__((unused)) int board_getattr(struct board *b, uint64_t node, struct fuse_attr *attr)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;
    int rc = board_call(b, FUSE_GETATTR, node, &in, sizeof in, NULL, 0);
    if (rc < 0)
        return rc;
    memcpy(&out, b->reply, sizeof out);
    *attr = out.attr;
    return 0;
}

static __attribute__((unused)) int board_setattr(struct board *b, uint64_t node, struct fuse_setattr_in in)
{
    return board_call(b, FUSE_SETATTR, node, &in, sizeof in, NULL, 0);
}

static __attribute__((unused)) int board_open(struct board *b, uint64_t node, uint32_t flags,
                                              struct fuse_open_out *out)
{
    struct fuse_open_in in = {.flags = flags};
    int rc = board_call(b, flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, node, &in, sizeof in, NULL, 0);
    if (rc >= 0)
        memcpy(out, b->reply, sizeof *out);
    return rc < 0 ? rc : 0;
}

static __attribute__((unused)) int board_release(struct board *b, uint64_t node, uint64_t fh, uint32_t op)
{
    struct fuse_release_in in = {.fh = fh};
    return board_call(b, op, node, &in, sizeof in, NULL, 0);
}

static __attribute__((unused)) int board_create(struct board *b, uint64_t dir, const char *name,
                                                uint32_t flags, uint32_t mode, struct fuse_entry_out *e,
                                                struct fuse_open_out *o)
{
    struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | mode, .umask = 022};
    int rc = board_name(b, FUSE_CREATE, dir, &in, sizeof in, name);
    if (rc < 0)
        return rc;
    CHECK_EQ(rc, sizeof *e + sizeof *o);
    memcpy(e, b->reply, sizeof *e);
    memcpy(o, b->reply + sizeof *e, sizeof *o);
    return 0;
}

static __attribute__((unused)) int board_read(struct board *b, uint64_t fh, uint64_t offset, uint32_t size)
{
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};
    return board_call(b, FUSE_READ, 0, &in, sizeof in, NULL, 0);
}

static __attribute__((unused)) int board_write(struct board *b, uint64_t fh, uint64_t offset,
                                               const void *data, uint32_t size, uint32_t flags)
{
    struct fuse_write_in in = {.fh = fh, .offset = offset, .size = size, .write_flags = flags};
    struct fuse_write_out out;
    int rc = board_call(b, FUSE_WRITE, 0, &in, sizeof in, data, size);
    if (rc < 0)
        return rc;
    memcpy(&out, b->reply, sizeof out);
    return (int)out.size;
}

/* Forgets all the guest knows of it. */
static __attribute__((unused)) void board_forget(struct board *b, uint64_t node, uint64_t n)
{
    struct fuse_forget_in in = {n};
    CHECK_EQ(board_call(b, FUSE_FORGET, node, &in, sizeof in, NULL, 0), 0);
}

static __attribute__((unused)) struct fuse_stats board_stats(struct board *b)
{
    struct fuse_stats st;
    fuse_stats(b->s, &st);
    return st;
}

#endif
