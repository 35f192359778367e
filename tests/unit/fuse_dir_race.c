// SPDX-License-Identifier: MIT
/* Two listings of one open folder at the same moment. What one call to the host gave, and the place behind it, belong to the
 * open folder: one thread's leftover must never become another's answer, nor outlive the handle. The functions below stand in
 * front of libc's and are a folder whose cookies stay good whatever is made or removed; between two of its names a test may have
 * another thread do something, so that what seldom happens happens each time. */
#include "fuse_board.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>

#include "virtio/fuse_priv.h"

enum {
    NAMES = 2500, /* three calls to the host */
    FDS = 1024,
};

static struct {
    _Atomic bool on, there[NAMES];
    void (*midway)(void); /* once, by a thread of its own, as a call to the host is under way */
    /* not atomic: who has the handle to himself needs no more, and a sanitizer of threads sees who has not */
    unsigned at[FDS];
} fake;

static bool is_fake(int fd)
{
    struct stat st;
    return fake.on && fd >= 0 && fd < FDS && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static void *midway(void *fn)
{
    (*(void (**)(void))fn)();
    return NULL;
}

ssize_t getdents64(int fd, void *buf, size_t room)
{
    static ssize_t (*_Atomic real)(int, void *, size_t);
    if (!real)
        real = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "getdents64");
    if (!is_fake(fd))
        return real(fd, buf, room);
    size_t n = 0;
    for (unsigned i; (i = fake.at[fd]) < NAMES; fake.at[fd] = i + 1) {
        const size_t len = 32;
        if (!fake.there[i])
            continue;
        if (room - n < len)
            break;
        struct dirent64 *d = (struct dirent64 *)((char *)buf + n);
        d->d_ino = i + 100;
        d->d_off = i + 1;
        d->d_reclen = len;
        d->d_type = DT_REG;
        snprintf(d->d_name, 8, "f%04u", i);
        n += len;
        if (fake.midway && i % 100 == 50) {
            void (*fn)(void) = fake.midway;
            pthread_t t;
            fake.midway = NULL;
            if (pthread_create(&t, NULL, midway, &fn) == 0)
                pthread_join(t, NULL);
        }
    }
    return (ssize_t)n;
}

off_t lseek(int fd, off_t to, int whence)
{
    static off_t (*_Atomic real)(int, off_t, int);
    if (!real)
        real = (off_t(*)(int, off_t, int))dlsym(RTLD_NEXT, "lseek");
    if (!is_fake(fd))
        return real(fd, to, whence);
    if (whence != SEEK_SET || to < 0) {
        errno = EINVAL;
        return -1;
    }
    fake.at[fd] = (unsigned)to;
    return to;
}

int close(int fd)
{
    static int (*_Atomic real)(int);
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (is_fake(fd))
        fake.at[fd] = 0;
    return real(fd);
}

static struct board *fake_board(void)
{
    struct board *b = board_new(NULL);
    for (unsigned i = 0; i < NAMES; i++)
        fake.there[i] = true;
    fake.midway = NULL;
    fake.on = true;
    return b;
}

/* Nothing of what was listed is left. */
static void fake_end(struct board *b, struct fuse_stats before)
{
    struct fuse_stats now = board_stats(b);
    CHECK_EQ(b->s->listed, 0);
    CHECK_EQ(now.files, before.files);
    CHECK_EQ(now.descriptors, before.descriptors);
    fake.on = false;
    board_free(b);
}

static uint64_t open_root(struct board *b)
{
    struct fuse_open_out o;
    int rc = board_open(b, FUSE_ROOT_ID, O_DIRECTORY, &o);
    return rc < 0 ? 0 : o.fh;
}

/* One processor of the guest, that lists: its own requests and replies, and what it has seen since the beginning. */
struct lister {
    struct board b;
    uint64_t at;
    unsigned seen[NAMES], order[NAMES], n;
    const char *wrong;
};

static struct lister *lister_new(const struct board *b)
{
    struct lister *l = calloc(1, sizeof *l);
    if (l)
        l->b.s = b->s;
    return l;
}

static void rewound(struct lister *l)
{
    memset(l->seen, 0, sizeof l->seen);
    l->at = 0;
    l->n = 0;
}

/* How many names the answer had, 0 at the end; -errno. */
static int piece(struct lister *l, uint64_t fh, uint32_t op, uint32_t size)
{
    struct fuse_read_in in = {.fh = fh, .offset = l->at, .size = size};
    int len = board_call(&l->b, op, FUSE_ROOT_ID, &in, sizeof in, NULL, 0), n = 0;
    for (int pos = 0; pos < len; n++) {
        struct fuse_dirent d;
        char name[8] = "";
        unsigned i;
        pos += op == FUSE_READDIRPLUS ? (int)sizeof(struct fuse_entry_out) : 0;
        memcpy(&d, l->b.reply + pos, sizeof d);
        if (!d.namelen || d.namelen >= sizeof name || len > (int)size) {
            l->wrong = "an answer out of form";
            return -EPROTO;
        }
        memcpy(name, l->b.reply + pos + FUSE_NAME_OFFSET, d.namelen);
        l->at = d.off;
        pos += (int)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
        if (sscanf(name, "f%u", &i) != 1)
            continue; /* dots, of a real folder */
        if (i >= NAMES || l->n == NAMES || l->seen[i]++)
            l->wrong = "a name that it was given before";
        else
            l->order[l->n++] = i;
    }
    return len < 0 ? len : n;
}

/* The rest of it, from where it is. */
static bool whole(struct lister *l, uint64_t fh)
{
    int n;
    while ((n = piece(l, fh, FUSE_READDIR, 4096)) > 0)
        ;
    return n == 0 && !l->wrong;
}

static struct {
    struct board *b;
    struct lister *other;
    uint64_t fh, another;
    int rc[8];
    struct fuse_stats before;
} race;

/* The one that is disturbed. */
static struct lister *race_begin(void)
{
    race.b = fake_board();
    struct lister *l = lister_new(race.b);
    race.other = lister_new(race.b);
    CHECK(l && race.other);
    race.before = board_stats(race.b);
    return l;
}

static void race_end(struct lister *l)
{
    free(l);
    free(race.other);
    fake_end(race.b, race.before);
}

static void list_it_too(void)
{
    struct lister *l = race.other;
    race.rc[0] = piece(l, race.fh, FUSE_READDIR, 4096);
    l->at = 0;
    race.rc[1] = piece(l, race.fh, FUSE_READDIRPLUS, 4096); /* wound back */
    l->at = 1700;
    race.rc[2] = piece(l, race.fh, FUSE_READDIR, 4096);
    rewound(l);
    race.rc[3] = whole(l, race.another); /* a handle of its own */
}

TEST(fuse_a_second_listing_by_a_handle_under_way_is_told_so_and_changes_nothing)
{
    struct lister *l = race_begin();
    struct board *b = race.b;
    race.fh = open_root(b);
    race.another = open_root(b);
    CHECK(race.fh && race.another);
    for (unsigned pass = 0; pass < 4; pass++) {
        rewound(l);
        rewound(race.other);
        for (unsigned i = 0; i < pass * 4; i++) /* so that it is the first call to the host, or a later one */
            CHECK(piece(l, race.fh, FUSE_READDIR, 4096) > 0);
        race.other->at = l->at;
        memset(race.rc, 0, sizeof race.rc);
        fake.midway = list_it_too;
        CHECK(whole(l, race.fh));
        CHECK(!fake.midway);
        for (unsigned i = 0; i < 3; i++)
            CHECK_EQ(race.rc[i], -EBUSY);
        CHECK_EQ(race.rc[3], 1);
        CHECK(l->n == NAMES && race.other->n == NAMES && !race.other->wrong);
        for (unsigned i = 0; i < NAMES; i++)
            CHECK(l->order[i] == i && race.other->order[i] == i);
    }
    rewound(race.other); /* and then it is heard */
    CHECK(whole(race.other, race.fh) && race.other->n == NAMES);
    CHECK_EQ(board_release(b, FUSE_ROOT_ID, race.fh, FUSE_RELEASEDIR), 0);
    CHECK_EQ(board_release(b, FUSE_ROOT_ID, race.another, FUSE_RELEASEDIR), 0);
    race_end(l);
}

static void release_it(void)
{
    struct lister *l = race.other;
    race.rc[0] = board_release(&l->b, FUSE_ROOT_ID, race.fh, FUSE_RELEASEDIR);
    race.rc[1] = board_release(&l->b, FUSE_ROOT_ID, race.fh, FUSE_RELEASEDIR);
    race.rc[2] = piece(l, race.fh, FUSE_READDIR, 4096);
    race.another = open_root(&l->b); /* not in its place yet */
    race.rc[3] = whole(l, race.another);
}

static void reset_it(void)
{
    fuse_reset(race.b->s);
}

TEST(fuse_a_folder_released_as_it_is_listed_is_answered_and_leaves_nothing)
{
    struct lister *l = race_begin();
    struct board *b = race.b;
    for (unsigned pass = 0; pass < 3; pass++) {
        rewound(l);
        rewound(race.other);
        race.fh = open_root(b);
        CHECK(race.fh);
        for (unsigned i = 0; i < pass * 5; i++)
            CHECK(piece(l, race.fh, FUSE_READDIRPLUS, 4096) > 0);
        fake.midway = release_it;
        int n;
        while ((n = piece(l, race.fh, FUSE_READDIR, 4096)) > 0)
            ;
        CHECK(!fake.midway && !l->wrong);
        CHECK_EQ(n, -EBADF); /* the one behind it */
        for (unsigned i = 0; i < l->n; i++)
            CHECK_EQ(l->order[i], i);
        CHECK(l->n > 100);
        CHECK(race.rc[0] == 0 && race.rc[1] == -EBADF && race.rc[2] == -EBADF && race.rc[3] == 1);
        CHECK(race.another && (uint32_t)race.another != (uint32_t)race.fh);
        CHECK_EQ(race.other->n, NAMES);
        CHECK_EQ(board_release(b, FUSE_ROOT_ID, race.another, FUSE_RELEASEDIR), 0);
        CHECK_EQ(b->s->listed, 0);
    }
    rewound(l);
    race.fh = open_root(b);
    fake.midway = reset_it;
    CHECK(piece(l, race.fh, FUSE_READDIR, 4096) > 100 && !fake.midway);
    CHECK_EQ(piece(l, race.fh, FUSE_READDIR, 4096), -EIO); /* it was not started again */
    CHECK_EQ(b->s->listed, 0);
    CHECK_EQ(board_init(b, 0), sizeof(struct fuse_init_out));
    CHECK_EQ(piece(l, race.fh, FUSE_READDIR, 4096), -EBADF);
    race_end(l);
}

/* ---- threads that are not told when */

static struct {
    _Atomic uint64_t fh;
    _Atomic unsigned listing; /* threads still at it */
    bool changes, real;
    unsigned rank[NAMES], names;
} field;

enum {
    PASSES = 12,
    RELEASES = 60,
};

/* Whole listings in pieces of several sizes; now and then from the beginning again, or from the middle. */
static void *lists(void *arg)
{
    struct lister *l = arg;
    uint64_t seed = l->at, fh = field.fh;
    unsigned pass = 0;
    rewound(l);
    while (pass < PASSES && !l->wrong) {
        uint64_t r = test_rand(&seed);
        int n = piece(l, fh, r & 1 ? FUSE_READDIR : FUSE_READDIRPLUS, 300 + (uint32_t)(r >> 8) % 8000);
        if (n == -EBUSY) {
            sched_yield();
        } else if (n == -EBADF && fh != field.fh) { /* cookies of one are nothing to another */
            fh = field.fh;
            rewound(l);
        } else if (n < 0) {
            l->wrong = "an error";
        } else if (n == 0) {
            for (unsigned i = 0; i < NAMES && !field.real; i++)
                if (l->seen[i] != 1 && (i % 2 == 0 || !field.changes))
                    l->wrong = "a name that was there all the time is missing";
            for (unsigned i = 1; i < l->n; i++)
                if (field.rank[l->order[i]] <= field.rank[l->order[i - 1]])
                    l->wrong = "names out of order";
            if (field.real && l->n != field.names)
                l->wrong = "not as many names as there are";
            pass++;
            rewound(l);
        } else if (r >> 40 & 63) {
            continue;
        } else {
            rewound(l);
        }
    }
    field.listing--;
    return NULL;
}

static void *changes(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    while (field.listing) {
        uint64_t r = test_rand(&seed);
        fake.there[r % NAMES | 1] = r >> 32 & 1;
        if (r >> 33 & 1)
            sched_yield();
    }
    return NULL;
}

static void *releases(void *arg)
{
    struct board *b = &((struct lister *)arg)->b;
    for (unsigned k = 0; k < RELEASES && field.listing; k++) {
        uint64_t old = field.fh, new = open_root(b);
        field.fh = new;
        if (board_release(b, FUSE_ROOT_ID, old, FUSE_RELEASEDIR) != 0 || !new)
            ((struct lister *)arg)->wrong = "no other handle to be had";
        for (unsigned i = 0; i < 20 && field.listing; i++)
            sched_yield();
    }
    return NULL;
}

static void together(struct board *b, bool other, bool handles)
{
    struct lister *l[3];
    pthread_t t[3], more;
    for (unsigned i = 0; i < 3; i++)
        CHECK((l[i] = lister_new(b)));
    l[0]->at = 1, l[1]->at = 2;
    field.fh = open_root(b);
    field.listing = 2;
    field.changes = other;
    CHECK(field.fh);
    for (unsigned i = 0; i < 2; i++)
        CHECK(pthread_create(&t[i], NULL, lists, l[i]) == 0);
    CHECK(!other || pthread_create(&more, NULL, changes, (void *)(uintptr_t)3) == 0);
    CHECK(!handles || pthread_create(&t[2], NULL, releases, l[2]) == 0);
    for (unsigned i = 0; i < 2u + handles; i++)
        pthread_join(t[i], NULL);
    if (other)
        pthread_join(more, NULL);
    for (unsigned i = 0; i < 3; i++) {
        if (l[i]->wrong)
            printf("%u: %s\n", i, l[i]->wrong);
        CHECK(!l[i]->wrong);
        free(l[i]);
    }
    CHECK_EQ(board_release(b, FUSE_ROOT_ID, field.fh, FUSE_RELEASEDIR), 0);
}

TEST(fuse_two_that_list_by_one_handle_have_the_whole_each)
{
    struct board *b = fake_board();
    struct fuse_stats before = board_stats(b);
    field.real = false;
    for (unsigned i = 0; i < NAMES; i++)
        field.rank[i] = i;
    together(b, false, false);
    together(b, true, false);
    together(b, true, true);
    fake_end(b, before);
}

/* The host's own folder, cookies and all. */
TEST(fuse_two_that_list_a_folder_of_the_hosts_have_the_whole_each)
{
    struct board *b = board_new(NULL);
    char name[16];
    fake.on = false;
    field.real = true;
    field.names = 400;
    for (unsigned i = 0; i < field.names; i++) {
        snprintf(name, sizeof name, "f%04u", i);
        board_file(b, name, "");
    }
    struct lister *l = lister_new(b);
    uint64_t fh = open_root(b);
    CHECK(l && fh && whole(l, fh) && l->n == field.names);
    for (unsigned i = 0; i < l->n; i++)
        field.rank[l->order[i]] = i;
    CHECK_EQ(board_release(b, FUSE_ROOT_ID, fh, FUSE_RELEASEDIR), 0);
    free(l);
    struct fuse_stats before = board_stats(b);
    together(b, false, false);
    together(b, false, true);
    CHECK_EQ(b->s->listed, 0);
    CHECK_EQ(board_stats(b).files, before.files);
    board_free(b);
}
