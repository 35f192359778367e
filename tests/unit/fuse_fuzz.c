// SPDX-License-Identifier: MIT
/* Requests by chance: well made ones with arguments drawn from what the server gave and from what it never did, the same with
 * bytes turned over, and noise. Whatever comes, the answer is one that a kernel can read, nothing beside the folder changes,
 * and after a reset nothing is held. And several threads at once, as the pool calls it. */
#include "fuse_board.h"

#include <pthread.h>
#include <stdatomic.h>

#include "virtio/fuse_priv.h"

enum {
    KNOWN = 64,
    ROOM = 8192
};

struct fuzz {
    struct fuse_server *s;
    uint64_t seed;
    uint64_t nodes[KNOWN], fhs[KNOWN];
    uint8_t req[ROOM], rep[ROOM];
    size_t len;
    unsigned bad; /* answers that are none */
    unsigned good;
};

static uint64_t below(struct fuzz *f, uint64_t n)
{
    return test_rand(&f->seed) % n;
}

static uint64_t pick(struct fuzz *f, const uint64_t *known)
{
    return below(f, 20) ? known[below(f, KNOWN)] : below(f, 2) ? test_rand(&f->seed) : below(f, 70);
}

static void add(struct fuzz *f, const void *p, size_t n)
{
    memcpy(f->req + f->len, p, n);
    f->len += n;
}

static void name(struct fuzz *f)
{
    static const char *const odd[] = {"", ".", "..", "../x", "a/b", "/", "\xff\xfe", "a\nb"};
    char text[300];
    if (below(f, 10))
        snprintf(text, sizeof text, "n%u", (unsigned)below(f, 12));
    else if (below(f, 3))
        snprintf(text, sizeof text, "%s", odd[below(f, sizeof odd / sizeof *odd)]);
    else {
        size_t n = below(f, 299);
        memset(text, 'y', n);
        text[n] = 0;
    }
    add(f, text, strlen(text) + 1);
}

static uint64_t some_offset(struct fuzz *f)
{
    return below(f, 8) ? below(f, 1 << 16) : test_rand(&f->seed);
}

static void compose(struct fuzz *f)
{
    static const uint8_t ops[] = {FUSE_LOOKUP,       FUSE_LOOKUP,      FUSE_LOOKUP,
                                  FUSE_FORGET,       FUSE_GETATTR,     FUSE_SETATTR,
                                  FUSE_READLINK,     FUSE_SYMLINK,     FUSE_MKNOD,
                                  FUSE_MKDIR,        FUSE_UNLINK,      FUSE_RMDIR,
                                  FUSE_RENAME,       FUSE_LINK,        FUSE_OPEN,
                                  FUSE_OPEN,         FUSE_READ,        FUSE_READ,
                                  FUSE_WRITE,        FUSE_WRITE,       FUSE_STATFS,
                                  FUSE_RELEASE,      FUSE_SETXATTR,    FUSE_GETXATTR,
                                  FUSE_LISTXATTR,    FUSE_REMOVEXATTR, FUSE_FLUSH,
                                  FUSE_OPENDIR,      FUSE_READDIR,     FUSE_RELEASEDIR,
                                  FUSE_ACCESS,       FUSE_CREATE,      FUSE_CREATE,
                                  FUSE_BATCH_FORGET, FUSE_FALLOCATE,   FUSE_READDIRPLUS,
                                  FUSE_RENAME2,      FUSE_LSEEK,       FUSE_COPY_FILE_RANGE,
                                  FUSE_TMPFILE,      FUSE_POLL,        FUSE_IOCTL};
    struct fuse_in_header h = {.opcode = ops[below(f, sizeof ops)],
                               .unique = test_rand(&f->seed),
                               .nodeid = pick(f, f->nodes),
                               .uid = below(f, 3) ? 0 : (uint32_t)below(f, 2000),
                               .gid = below(f, 3) ? 0 : (uint32_t)below(f, 2000)};
    uint64_t fh = pick(f, f->fhs);
    uint32_t flags = (uint32_t)below(f, 4) | (below(f, 4) ? 0 : (uint32_t)test_rand(&f->seed));
    uint32_t mode = (uint32_t)below(f, 07777) | 0600;
    size_t fill = 0;
    f->len = sizeof h;
    switch (h.opcode) {
#define ARG(...)                                                                                             \
    do {                                                                                                     \
        __typeof__(__VA_ARGS__) arg_ = __VA_ARGS__;                                                          \
        add(f, &arg_, sizeof arg_);                                                                          \
    } while (0)
    case FUSE_FORGET:
        ARG((struct fuse_forget_in){below(f, 3)});
        break;
    case FUSE_BATCH_FORGET:
        ARG((struct fuse_batch_forget_in){.count = (uint32_t)below(f, 5)});
        for (uint64_t i = below(f, 5); i; i--)
            ARG((struct fuse_forget_one){pick(f, f->nodes), below(f, 2)});
        break;
    case FUSE_GETATTR:
        ARG((struct fuse_getattr_in){.fh = fh});
        break;
    case FUSE_SETATTR:
        ARG((struct fuse_setattr_in){.valid = (uint32_t)test_rand(&f->seed) & (below(f, 3) ? 0x9f7 : ~0u),
                                     .fh = fh,
                                     .size = below(f, 10) ? below(f, 1 << 16) : test_rand(&f->seed),
                                     .mode = mode,
                                     .uid = (uint32_t)below(f, 2000),
                                     .mtimensec = (uint32_t)test_rand(&f->seed)});
        break;
    case FUSE_MKNOD:
        ARG((struct fuse_mknod_in){.mode = (below(f, 2) ? S_IFIFO : (uint32_t)below(f, 16) << 12) | mode,
                                   .rdev = 259});
        break;
    case FUSE_MKDIR:
        ARG((struct fuse_mkdir_in){.mode = mode | 0700});
        break;
    case FUSE_RENAME:
        ARG((struct fuse_rename_in){pick(f, f->nodes)});
        break;
    case FUSE_RENAME2:
        ARG((struct fuse_rename2_in){.newdir = pick(f, f->nodes), .flags = (uint32_t)below(f, 9)});
        break;
    case FUSE_LINK:
        ARG((struct fuse_link_in){pick(f, f->nodes)});
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        ARG((struct fuse_open_in){flags, (uint32_t)below(f, 2)});
        break;
    case FUSE_CREATE:
    case FUSE_TMPFILE:
        ARG((struct fuse_create_in){.flags = flags, .mode = mode, .umask = (uint32_t)below(f, 01000)});
        break;
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
        ARG((struct fuse_read_in){.fh = fh, .offset = some_offset(f), .size = (uint32_t)below(f, 9000)});
        break;
    case FUSE_WRITE:
        fill = below(f, 3000);
        ARG((struct fuse_write_in){
            .fh = fh, .offset = below(f, 1 << 16), .size = (uint32_t)fill, .write_flags = 4});
        break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        ARG((struct fuse_release_in){.fh = fh});
        break;
    case FUSE_FLUSH:
        ARG((struct fuse_flush_in){.fh = fh});
        break;
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
        ARG((struct fuse_getxattr_in){.size = (uint32_t)below(f, 300)});
        break;
    case FUSE_SETXATTR:
        fill = below(f, 300);
        ARG((struct fuse_setxattr_in){.size = (uint32_t)fill, .flags = (uint32_t)below(f, 3)});
        break;
    case FUSE_ACCESS:
        ARG((struct fuse_access_in){.mask = (uint32_t)below(f, 9)});
        break;
    case FUSE_FALLOCATE:
        ARG((struct fuse_fallocate_in){.fh = fh,
                                       .offset = below(f, 1 << 20),
                                       .length = below(f, 1 << 20),
                                       .mode = (uint32_t)below(f, 128)});
        break;
    case FUSE_LSEEK:
        ARG((struct fuse_lseek_in){.fh = fh, .offset = some_offset(f), .whence = (uint32_t)below(f, 7)});
        break;
    case FUSE_COPY_FILE_RANGE:
        ARG((struct fuse_copy_file_range_in){.fh_in = fh,
                                             .fh_out = pick(f, f->fhs),
                                             .off_in = below(f, 1 << 16),
                                             .off_out = below(f, 1 << 16),
                                             .len = below(f, 1 << 16),
                                             .flags = below(f, 20) == 0});
        break;
    default:
        break;
    }
    switch (h.opcode) {
    case FUSE_RENAME:
    case FUSE_RENAME2:
        name(f);
        name(f);
        break;
    case FUSE_SYMLINK:
        name(f);
        name(f);
        break;
    case FUSE_SETXATTR:
    case FUSE_GETXATTR:
    case FUSE_REMOVEXATTR:
        add(f, "user.q", 7);
        break;
    case FUSE_LOOKUP:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_LINK:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
        name(f);
        break;
    default:
        break;
    }
    memset(f->req + f->len, 'd', fill);
    f->len += fill;
    h.len = (uint32_t)f->len;
    memcpy(f->req, &h, sizeof h);
}

/* Cuts a buffer in pieces by chance, some empty. */
static int cut(struct fuzz *f, uint8_t *p, size_t n, struct iovec *iov, int most)
{
    int k = 0;
    while (n && k < most - 1) {
        size_t part = below(f, 3) ? below(f, n + 1) : below(f, n < 20 ? n + 1 : 20);
        iov[k++] = (struct iovec){p, part};
        p += part;
        n -= part;
    }
    iov[k++] = (struct iovec){p, n};
    return k;
}

static void answer(struct fuzz *f)
{
    struct iovec req[8], rep[8];
    size_t room = below(f, 8) ? ROOM : below(f, 300);
    int n_req = cut(f, f->req, f->len, req, 8), n_rep = cut(f, f->rep, room, rep, 8);
    memset(f->rep, 0xa5, ROOM);
    struct fuse_in_header h = {0};
    memcpy(&h, f->req, f->len < sizeof h ? f->len : sizeof h);
    size_t got;
    if (below(f, 2) || !fuse_answer_at_once(f->s, req, n_req, rep, n_rep, &got))
        got = fuse_answer(f->s, req, n_req, rep, n_rep);
    struct fuse_out_header out;
    if (!got)
        return;
    memcpy(&out, f->rep, sizeof out);
    if (got > room || got < sizeof out || out.len != got || out.unique != h.unique || out.error > 0 ||
        out.error < -600 || (out.error && got != sizeof out)) {
        f->bad++;
        return;
    }
    if (out.error)
        return;
    f->good++;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    const uint8_t *at = f->rep + sizeof out;
    size_t left = got - sizeof out;
    switch (h.opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKDIR:
    case FUSE_MKNOD:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
        f->bad += left < sizeof e;
        memcpy(&e, at, sizeof e);
        if (e.nodeid)
            f->nodes[below(f, KNOWN - 8) + 8] = e.nodeid; /* the first stay the folder itself */
        at += sizeof e;
        if (h.opcode != FUSE_CREATE && h.opcode != FUSE_TMPFILE)
            break;
        /* fall through */
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        memcpy(&o, at, sizeof o);
        f->fhs[below(f, KNOWN)] = o.fh;
        break;
    default:
        break;
    }
}

static struct fuzz *fuzz_new(struct fuse_server *s, uint64_t seed)
{
    struct fuzz *f = calloc(1, sizeof *f);
    f->s = s;
    f->seed = seed;
    for (int i = 0; i < KNOWN; i++)
        f->nodes[i] = 1;
    return f;
}

static void turn(struct fuzz *f)
{
    compose(f);
    uint64_t how = below(f, 10);
    uint32_t op;
    memcpy(&op, f->req + 4, 4);
    /* Lengths that were turned over could fill the disk. */
    if (how == 0 && op != FUSE_FALLOCATE && op != FUSE_COPY_FILE_RANGE)
        for (uint64_t i = below(f, 4); i; i--)
            f->req[below(f, 2) ? 8 + below(f, f->len - 8) : 40 % f->len] ^= (uint8_t)(1u << below(f, 8));
    if (how == 1)
        f->len = below(f, f->len + 1);
    answer(f);
}

static void canary(const struct board *b, bool make)
{
    char path[128], text[16] = "";
    snprintf(path, sizeof path, "%s/canary", b->dir);
    FILE *file = fopen(path, make ? "w" : "r");
    CHECK(file);
    CHECK(make ? fputs("alive", file) >= 0 : fgets(text, sizeof text, file) && !strcmp(text, "alive"));
    fclose(file);
    CHECK_EQ(files_in(b->dir), 4);
}

static void fuzz_with(const struct fuse_config *config, uint64_t seed, unsigned long turns)
{
    struct board *b = board_new(config);
    canary(b, true);
    struct fuzz *f = fuzz_new(b->s, seed);
    for (unsigned long i = 0; i < turns; i++)
        turn(f);
    CHECK_EQ(f->bad, 0);
    CHECK(f->good > turns / 20);
    canary(b, false);
    struct fuse_stats st = board_stats(b);
    CHECK(!config || ((!config->max_nodes || st.nodes <= config->max_nodes) &&
                      (!config->max_files || st.files <= config->max_files)));
    fuse_reset(b->s);
    st = board_stats(b);
    CHECK(st.nodes == 1 && st.files == 0 && st.descriptors == 0);
    free(f);
    board_free(b);
}

TEST(fuse_fuzz_of_requests)
{
    fuzz_with(NULL, 1, test_scale(20000));
}

TEST(fuse_fuzz_with_small_tables_and_no_cache)
{
    struct fuse_config config = {.max_nodes = 30, .max_files = 10, .no_cache = true};
    fuzz_with(&config, 2, test_scale(10000));
}

TEST(fuse_fuzz_with_few_descriptors)
{
    fuse_fds_set_most(40);
    fuzz_with(NULL, 3, test_scale(10000));
    fuse_fds_set_most(0);
}

TEST(fuse_fuzz_of_noise)
{
    struct board *b = board_new(NULL);
    struct fuzz *f = fuzz_new(b->s, 4);
    for (unsigned long i = 0; i < test_scale(20000); i++) {
        f->len = below(f, 400);
        for (size_t k = 0; k < f->len; k++)
            f->req[k] = (uint8_t)test_rand(&f->seed);
        if (f->len >= 40 && below(f, 4)) { /* a header that holds, and noise behind it */
            uint32_t op = (uint32_t)below(f, 60);
            struct fuse_in_header h = {.len = (uint32_t)f->len,
                                       .opcode = op == FUSE_SYNCFS ? FUSE_LOOKUP : op,
                                       .nodeid = below(f, 3)};
            memcpy(f->req, &h, sizeof h);
        }
        answer(f);
        if (!board_stats(b).running)
            CHECK(board_init(b, 0) > 0);
    }
    CHECK_EQ(f->bad, 0);
    free(f);
    board_free(b);
}

/* --- threads */

static void *turns(void *arg)
{
    for (unsigned long i = 0; i < test_scale(4000); i++)
        turn(arg);
    return NULL;
}

TEST(fuse_several_threads_ask_at_once)
{
    struct board *b = board_new(NULL);
    struct fuzz *f[4];
    pthread_t t[4];
    canary(b, true);
    for (uint64_t i = 0; i < 4; i++) {
        f[i] = fuzz_new(b->s, 100 + i);
        CHECK(pthread_create(&t[i], NULL, turns, f[i]) == 0);
    }
    for (int i = 0; i < 20; i++) { /* and a guest that starts anew in the midst of it */
        usleep(2000);
        CHECK(board_init(b, FUSE_SETXATTR_EXT) > 0);
        board_stats(b);
    }
    unsigned bad = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        bad += f[i]->bad;
        free(f[i]);
    }
    CHECK_EQ(bad, 0);
    canary(b, false);
    fuse_reset(b->s);
    struct fuse_stats st = board_stats(b);
    CHECK(st.nodes == 1 && st.files == 0 && st.descriptors == 0);
    board_free(b);
}
