// SPDX-License-Identifier: MIT
/* Listings of a folder whose cookies count names, as those of tmpfs did before Linux 6.6 (libfs): a descriptor has a place in the
 * list that removals do not move, but to seek is to count from the first name still there. The functions below stand in front
 * of libc's and are that folder; the guest reads, removes what it has read, and reads on. */
#include "fuse_board.h"

#include <dlfcn.h>

#include "virtio/fuse_priv.h"

enum {
    NAMES = 3000,
    FDS = 1024
};

static struct {
    bool on, gone[NAMES];
    unsigned names, reads, seeks;
    struct cursor {
        unsigned next, pos; /* the name it stands before; how many it has passed, as it believes */
    } at[FDS];
} fake;

/* The only folders that are listed here. */
static bool is_fake(int fd)
{
    struct stat st;
    return fake.on && fd >= 0 && fd < FDS && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

ssize_t getdents64(int fd, void *buf, size_t room)
{
    static ssize_t (*next)(int, void *, size_t);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "getdents64");
    if (!is_fake(fd))
        return next(fd, buf, room);
    fake.reads++;
    struct cursor *at = &fake.at[fd];
    size_t n = 0;
    for (;;) {
        char name[16] = "..";
        name[1] = at->pos ? '.' : 0;
        while (at->pos >= 2 && at->next < fake.names && fake.gone[at->next])
            at->next++;
        if (at->next == fake.names)
            break;
        if (at->pos >= 2)
            snprintf(name, sizeof name, "f%u", at->next);
        size_t len = (offsetof(struct dirent64, d_name) + strlen(name) + 1 + 7) & ~(size_t)7;
        if (len > room - n) {
            errno = EINVAL;
            return n ? (ssize_t)n : -1;
        }
        struct dirent64 *d = (struct dirent64 *)((char *)buf + n);
        at->next += at->pos >= 2;
        d->d_ino = at->pos + 1;
        d->d_off = ++at->pos;
        d->d_reclen = (unsigned short)len;
        d->d_type = DT_REG;
        strcpy(d->d_name, name);
        n += len;
    }
    return (ssize_t)n;
}

off_t lseek(int fd, off_t to, int whence)
{
    static off_t (*next)(int, off_t, int);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "lseek");
    if (!is_fake(fd))
        return next(fd, to, whence);
    CHECK(whence == SEEK_SET && to >= 0);
    fake.seeks++;
    struct cursor *at = &fake.at[fd];
    if (to == (off_t)at->pos)
        return to;
    at->pos = (unsigned)to;
    at->next = 0;
    for (off_t left = to - 2; at->next < fake.names && left > 0; at->next++)
        left -= !fake.gone[at->next];
    return to;
}

int close(int fd)
{
    static int (*next)(int);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < FDS)
        fake.at[fd] = (struct cursor){0};
    return next(fd);
}

static struct board *fake_board(unsigned names)
{
    struct board *b = board_new(NULL);
    memset(&fake, 0, sizeof fake);
    fake.on = true;
    fake.names = names;
    return b;
}

static void fake_free(struct board *b)
{
    fake.on = false;
    board_free(b);
}

static uint64_t open_root(struct board *b)
{
    struct fuse_open_out o;
    CHECK_EQ(board_open(b, FUSE_ROOT_ID, O_DIRECTORY, &o), 0);
    return o.fh;
}

/* One request: of its answer at most `take` names, of which seen[] counts, are for the guest's caller; *at moves behind them.
 * How many. */
static unsigned piece(struct board *b, uint64_t fh, uint32_t op, uint32_t size, unsigned take, uint64_t *at,
                      uint8_t *seen)
{
    struct fuse_read_in in = {.fh = fh, .offset = *at, .size = size};
    int len = board_call(b, op, FUSE_ROOT_ID, &in, sizeof in, NULL, 0);
    CHECK(len >= 0 && len <= (int)size);
    unsigned n = 0, i;
    for (size_t pos = 0; pos < (size_t)len && n < take; n++) {
        struct fuse_dirent d;
        char name[16] = "";
        pos += op == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
        memcpy(&d, b->reply + pos, sizeof d);
        CHECK(d.namelen && d.namelen < sizeof name);
        memcpy(name, b->reply + pos + FUSE_NAME_OFFSET, d.namelen);
        if (sscanf(name, "f%u", &i) == 1) {
            CHECK(i < fake.names);
            seen[i]++;
        }
        *at = d.off;
        pos += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
    }
    return n;
}

/* `rm -r`: what is seen is removed before more is asked for. How many are left. */
static unsigned remove_all(struct board *b, uint32_t op, uint32_t size, unsigned take)
{
    static uint8_t seen[NAMES];
    uint64_t fh = open_root(b), at = 0;
    unsigned left = 0;
    memset(seen, 0, sizeof seen);
    memset(fake.gone, 0, sizeof fake.gone);
    while (piece(b, fh, op, size, take, &at, seen))
        for (unsigned i = 0; i < fake.names; i++)
            fake.gone[i] = seen[i];
    for (unsigned i = 0; i < fake.names; i++) {
        CHECK(seen[i] <= 1);
        left += !fake.gone[i];
    }
    CHECK_EQ(board_release(b, FUSE_ROOT_ID, fh, FUSE_RELEASEDIR), 0);
    return left;
}

TEST(fuse_what_is_removed_while_it_is_listed_leaves_nothing_behind)
{
    struct board *b = fake_board(NAMES);
    static const struct {
        uint32_t size;
        unsigned take;
    } ways[] = {
        {4096,  UINT_MAX},
        {4096,  20      },
        {65536, UINT_MAX},
        {65536, 300     },
        {1000,  3       },
        {400,   1       }
    };
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        CHECK_EQ(remove_all(b, FUSE_READDIR, ways[i].size, ways[i].take), 0);
        CHECK_EQ(remove_all(b, FUSE_READDIRPLUS, ways[i].size, ways[i].take), 0);
    }
    CHECK_EQ(fake.seeks, 0);
    CHECK_EQ(b->s->listed, 0);
    fake.reads = 0;
    CHECK_EQ(remove_all(b, FUSE_READDIRPLUS, 4096, UINT_MAX), 0);
    CHECK(fake.reads <= NAMES * 32 / 32768 + 2);
    fake_free(b);
}

TEST(fuse_a_listing_that_is_wound_back_is_read_anew)
{
    struct board *b = fake_board(1500);
    static uint8_t seen[NAMES];
    uint64_t fh = open_root(b), at = 0, early = 0;
    CHECK(piece(b, fh, FUSE_READDIR, 4096, UINT_MAX, &at, seen) == 128);
    early = at;
    for (unsigned i = 0; i < 10; i++) /* into what the second call gave */
        CHECK(piece(b, fh, FUSE_READDIR, 4096, UINT_MAX, &at, seen));
    CHECK(fake.reads == 2 && fake.seeks == 0);
    for (unsigned i = 0; i < 1000; i++)
        fake.gone[i] = true;
    fake.names = 1600;
    at = 0;
    memset(seen, 0, sizeof seen);
    while (piece(b, fh, FUSE_READDIR, 4096, UINT_MAX, &at, seen))
        ;
    CHECK_EQ(fake.seeks, 1);
    for (unsigned i = 0; i < 1600; i++)
        CHECK_EQ(seen[i], i >= 1000);
    memset(fake.gone, 0, sizeof fake.gone); /* and to a cookie of long ago */
    at = early;
    memset(seen, 0, sizeof seen);
    while (piece(b, fh, FUSE_READDIR, 4096, UINT_MAX, &at, seen))
        ;
    CHECK_EQ(fake.seeks, 2);
    for (unsigned i = 0; i < 1600; i++)
        CHECK_EQ(seen[i], i >= 126);
    fake_free(b);
}

/* More folders half read than there is memory for: none of them loses a name, and none of the memory stays. */
TEST(fuse_many_folders_half_listed_take_no_more_than_their_share)
{
    enum {
        FOLDERS = 160,
        EACH = 1200,
        MOST = 4 << 20
    };
    struct board *b = fake_board(EACH);
    static uint8_t seen[FOLDERS][NAMES];
    uint64_t fh[FOLDERS], at[FOLDERS] = {0};
    for (unsigned i = 0; i < FOLDERS; i++)
        fh[i] = open_root(b);
    uint32_t most = 0;
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < FOLDERS; i++) {
            more |= piece(b, fh[i], FUSE_READDIR, 4096, i % 2 ? 50 : 500, &at[i], seen[i]) != 0;
            CHECK(b->s->listed <= MOST);
            most = b->s->listed > most ? b->s->listed : most;
        }
    }
    CHECK(most > MOST - (64 << 10) && fake.seeks);
    for (unsigned i = 0; i < FOLDERS; i++)
        for (unsigned k = 0; k < EACH; k++)
            CHECK_EQ(seen[i][k], 1);
    CHECK_EQ(b->s->listed, 0);
    for (unsigned i = 0; i < FOLDERS; i++) {
        at[i] = 0;
        CHECK(piece(b, fh[i], FUSE_READDIR, 4096, 500, &at[i], seen[i]));
    }
    CHECK(b->s->listed);
    fuse_reset(b->s);
    CHECK_EQ(b->s->listed, 0);
    fake_free(b);
}
