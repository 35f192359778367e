// SPDX-License-Identifier: MIT
/* A share and two processors of a hostile guest at once: one programs the device, kicks, resets it in the middle of what it
 * asked for and spoils its rings; the other turns over bytes of the requests while the pool's threads read them. The server is the
 * real one. Nothing outside of the folder changes, no descriptor is lost, and the device works when the driver behaves. */
#include "virtio/fs.h"
#include "kvm/host/work.h"
#include "files.h"
#include "virtio_board.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    QUEUES = 3, /* number 0 for FORGET */
    SIZE = 16,  /* two descriptors a request */
    HEADS = SIZE / 2,
    ROOM = 0x800,
    IDS = 64,
    PARTS_MOST = 200, /* of a request's argument */
};

static char dir[64];
static _Atomic bool over;
static _Atomic uint64_t starts, kicks;
static unsigned under_way[QUEUES];
static unsigned to_begin; /* sessions begin with INIT: so many of them are still to be asked for */
static uint8_t *ram;

/* Guest memory is everybody's at any moment: that race is meant. */
__attribute__((no_sanitize("thread"))) static void put(uint64_t gpa, uint64_t value, unsigned size)
{
    volatile uint8_t *at = ram + gpa;
    if (size == 8)
        *(volatile uint64_t *)at = value;
    else if (size == 4)
        *(volatile uint32_t *)at = (uint32_t)value;
    else if (size == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else
        *at = (uint8_t)value;
}
__attribute__((no_sanitize("thread"))) static uint64_t get64(uint64_t gpa)
{
    volatile uint32_t *at = (volatile uint32_t *)(ram + gpa);
    return at[0] | (uint64_t)at[1] << 32;
}
__attribute__((no_sanitize("thread"))) static uint16_t used_idx(const struct vq_driver *q)
{
    return *(volatile uint16_t *)(ram + q->used + 2);
}
__attribute__((no_sanitize("thread"))) static void copy(uint64_t gpa, const void *from, size_t n)
{
    volatile uint8_t *at = ram + gpa;
    for (size_t i = 0; i < n; i++)
        at[i] = ((const volatile uint8_t *)from)[i];
}

struct forgets {
    struct fuse_batch_forget_in in;
    struct fuse_forget_one one[3];
};

static uint64_t request_at(unsigned n, unsigned i)
{
    return VQ_BUFFERS + (n * HEADS + i) * 2ull * ROOM;
}

static void descriptors(unsigned n, unsigned i)
{
    struct vq_driver *q = &vd.q[n];
    uint64_t at = q->desc + 32ull * i;
    put(at, request_at(n, i), 8);
    put(at + 8, sizeof(struct fuse_in_header), 4);
    put(at + 12, n ? F_NEXT : 0, 2);
    put(at + 14, 2 * i + 1, 2);
    put(at + 16, request_at(n, i) + ROOM, 8);
    put(at + 24, ROOM, 4);
    put(at + 28, F_WRITE, 2);
}

static void set_up(uint64_t r)
{
    c_write(C_STATUS, 0, 1);
    for (unsigned i = 0; r & 3 && i < 100000 && vd_status() && !over; i++)
        sched_yield(); /* as drivers do; or not */
    c_write(C_STATUS, ST_ACK | ST_DRIVER, 1);
    vd_accept(F_VERSION_1 | (r & 8 ? F_EVENT : 0));
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK, 1);
    for (unsigned n = 0; n < QUEUES; n++) {
        struct vq_driver *q = &vd.q[n];
        uint64_t base = VQ_BASE + (2 * n + (r >> n & 1)) * 0x1000; /* now here, now there */
        *q = (struct vq_driver){.size = SIZE, .desc = base, .avail = base + 0x400, .used = base + 0x800};
        for (unsigned at = 0; at < 0x1000; at += 8)
            put(base + at, 0, 8);
        for (unsigned i = 0; i < HEADS; i++)
            descriptors(n, i);
        for (unsigned i = 0; i < SIZE; i++)
            put(q->avail + 4 + 2 * i, 2 * (i % HEADS), 2);
        vq_program(n);
        c_write(C_ENABLE, 1, 2);
    }
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK, 1);
    to_begin = 3;
    memset(under_way, 0, sizeof under_way);
    starts += vd_status() == (ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
}

/* A request that could be one, of numbers that the server gave: it writes them at the same places of its replies. */
static void compose(unsigned n, unsigned i, uint64_t *seed)
{
    static const uint8_t ops[] = {
        FUSE_LOOKUP,   FUSE_LOOKUP,  FUSE_LOOKUP,   FUSE_CREATE,      FUSE_CREATE,      FUSE_MKDIR,
        FUSE_GETATTR,  FUSE_SETATTR, FUSE_OPEN,     FUSE_OPENDIR,     FUSE_READDIRPLUS, FUSE_READ,
        FUSE_WRITE,    FUSE_RELEASE, FUSE_RENAME2,  FUSE_UNLINK,      FUSE_RMDIR,       FUSE_SYMLINK,
        FUSE_READLINK, FUSE_LINK,    FUSE_SETXATTR, FUSE_BATCH_FORGET};
    uint64_t r = test_rand(seed), from = request_at(1 + (r >> 8 & 1), r >> 9 & (HEADS - 1)) + ROOM + 16;
    struct fuse_in_header h = {.opcode = !n         ? FUSE_FORGET
                                         : to_begin ? FUSE_INIT
                                                    : ops[(r >> 16) % sizeof ops],
                               .unique = r,
                               .nodeid = r & 1 ? get64(from) : 1};
    uint8_t arg[PARTS_MOST] = {0};
    uint64_t fh = get64(from + (r & 2 ? sizeof(struct fuse_entry_out) : 0));
    char text[2 * NAME_MAX];
    size_t fixed = 0, n_text = (size_t)snprintf(text, sizeof text, "n%u", (unsigned)(r >> 24 & 7)) + 1;
    switch (h.opcode) {
#define ARG(...)                                                                                             \
    do {                                                                                                     \
        __typeof__(__VA_ARGS__) a_ = __VA_ARGS__;                                                            \
        memcpy(arg, &a_, fixed = sizeof a_);                                                                 \
    } while (0)
    case FUSE_INIT:
        ARG((struct fuse_init_in){.major = 7, .minor = 36, .flags = ~0u});
        n_text = 0;
        to_begin--;
        break;
    case FUSE_FORGET:
        ARG((struct fuse_forget_in){1 + (r >> 40 & 1)});
        n_text = 0;
        break;
    case FUSE_BATCH_FORGET:
        ARG((struct forgets){
            {.count = r >> 40 & 7},
            { {h.nodeid, 1}, {get64(from), ~0ull}, {3, 1}}
        });
        n_text = 0;
        break;
    case FUSE_CREATE:
        ARG((struct fuse_create_in){.flags = 0102 | (r >> 40 & 3), .mode = S_IFREG | 0644});
        break;
    case FUSE_MKDIR:
        ARG((struct fuse_mkdir_in){.mode = 0755});
        break;
    case FUSE_GETATTR:
        ARG((struct fuse_getattr_in){.fh = fh, .getattr_flags = r >> 41 & 1});
        n_text = 0;
        break;
    case FUSE_SETATTR:
        ARG((struct fuse_setattr_in){
            .valid = FATTR_SIZE | FATTR_MTIME | (r >> 41 & FATTR_FH), .fh = fh, .size = r >> 50});
        n_text = 0;
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        ARG((struct fuse_open_in){.flags = r >> 41 & 3});
        n_text = 0;
        break;
    case FUSE_READ:
    case FUSE_READDIRPLUS:
        ARG((struct fuse_read_in){.fh = fh, .size = ROOM - 16});
        n_text = 0;
        break;
    case FUSE_WRITE:
        ARG((struct fuse_write_in){.fh = fh, .offset = r >> 48, .size = (uint32_t)n_text});
        break;
    case FUSE_RELEASE:
        ARG((struct fuse_release_in){.fh = fh});
        n_text = 0;
        break;
    case FUSE_RENAME2:
        ARG((struct fuse_rename2_in){.newdir = r & 4 ? 1 : get64(from), .flags = r >> 41 & 3});
        n_text += (size_t)snprintf(text + n_text, 8, "n%u", (unsigned)(r >> 28 & 7)) + 1;
        break;
    case FUSE_LINK:
        ARG((struct fuse_link_in){get64(from)});
        break;
    case FUSE_SYMLINK:
        n_text += (size_t)snprintf(text + n_text, 8, "../..") + 1;
        break;
    case FUSE_SETXATTR:
        ARG((struct fuse_setxattr_in){.size = 3});
        fixed = sizeof(struct fuse_setxattr_in);
        n_text = (size_t)snprintf(text, sizeof text, "user.%c", 'a' + (char)(r >> 41 & 3)) + 1;
        memcpy(text + n_text, "abc", 3);
        n_text += 3;
        break;
    case FUSE_READLINK:
        n_text = 0;
        break;
    }
    h.len = (uint32_t)(sizeof h + fixed + n_text);
    uint64_t at = request_at(n, i);
    copy(at, &h, sizeof h);
    copy(at + sizeof h, arg, fixed);
    copy(at + sizeof h + fixed, text, n_text);
    put(vd.q[n].desc + 32ull * i + 8, h.len, 4);
}

/* One more request, in a place that the device has done with; now and then in one that it has not. */
static void ask(unsigned n, unsigned i, uint64_t r, uint64_t *seed)
{
    struct vq_driver *q = &vd.q[n];
    for (; q->used_seen != used_idx(q); q->used_seen++)
        under_way[n] &= ~(1u << (get64(q->used + 4 + 8 * (q->used_seen & (SIZE - 1))) / 2 & (HEADS - 1)));
    if (under_way[n] >> i & 1 && r & 255) {
        sched_yield();
        return;
    }
    under_way[n] |= 1u << i;
    descriptors(n, i);
    compose(n, i, seed);
    put(q->avail + 4 + 2 * (q->avail_idx & (SIZE - 1)), 2 * i, 2);
    put(q->avail + 2, ++q->avail_idx, 2);
    g_write(vd.cap[CAP_NOTIFY] + n * vd.multiplier, n, 2);
    kicks++;
}

static void *driver(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    while (!over) {
        uint64_t r = test_rand(&seed);
        unsigned n = (r >> 8) % QUEUES, i = r >> 16 & (HEADS - 1);
        struct vq_driver *q = &vd.q[n];
        switch (r & 1023) {
        case 0:
            set_up(r >> 16);
            break;
        case 1:
            cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | (r >> 20 & 3 ? PCI_COMMAND_MASTER : 0),
                      2);
            break;
        case 2: /* out of RAM; where replies go to each other's places no sanitizer of threads can tell that it is meant */
            put(q->desc + 32ull * i, r >> 20 | 1ull << 40, 8);
            break;
        case 3:
            put(q->desc + 32ull * i + 24, (uint32_t)(r >> 32), 4);
            break;
        case 4: /* an index far ahead, or back */
            put(q->avail + 2, r >> 16, 2);
            break;
        case 5: /* half of a set-up */
            c_write(C_STATUS, 0, 1);
            break;
        case 6: /* what is under way again */
            put(q->avail + 4 + 2 * (r >> 24 & (SIZE - 1)), r >> 32 & (SIZE - 1), 2);
            break;
        case 7:
            c_write(C_SELECT, n, 2);
            c_write(C_ENABLE, 0, 2);
            c_write(C_DESC, r >> 16, 4);
            break;
        case 8:
#ifndef __SANITIZE_THREAD__ /* replies over the rings, and over requests */
            put(q->desc + 32ull * i + 16, VQ_BASE + (r >> 32 & 0xf0f8), 8);
#endif
            break;
        default:
            if (q->size)
                ask(n, i, r >> 20, &seed);
            if (vd_status() & ST_NEEDS_RESET || !vd_status())
                set_up(r >> 16);
        }
    }
    return NULL;
}

/* A byte of some request for every kick, while it may be read. */
static void *scribbler(void *arg)
{
    uint64_t seed = (uintptr_t)arg, seen = 0;
    while (!over) {
        uint64_t r = test_rand(&seed), at = request_at(1 + (r & 1), r >> 1 & (HEADS - 1));
        unsigned where = (r >> 8) % 120;
        if (where / 4 != 1) /* the opcode stays: FALLOCATE of what there is would only be slow */
            put(at + where, r >> 16 & 1 ? '/' : r >> 17 & 1 ? '.' : r >> 32, 1);
        while (seen == kicks && !over)
            sched_yield();
        seen = kicks;
    }
    return NULL;
}

/* The driver behaves: a reset, and one request. */
static uint64_t init_after_reset(void)
{
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    c_write(C_STATUS, 0, 1);
    CHECK(VD_UNTIL(vd_status() == 0));
    set_up(0);
    struct {
        struct fuse_in_header h;
        struct fuse_init_in in;
    } init = {
        {.len = sizeof init, .opcode = FUSE_INIT},
        {.major = 7,         .minor = 36        }
    };
    copy(request_at(1, 0), &init, sizeof init);
    put(vd.q[1].desc + 8, sizeof init, 4);
    put(vd.q[1].avail + 2, 1, 2);
    g_write(vd.cap[CAP_NOTIFY] + vd.multiplier, 1, 2);
    CHECK(VD_UNTIL(used_idx(&vd.q[1]) == 1));
    return get64(request_at(1, 0) + ROOM);
}

TEST(V9_a_share_raced_by_its_driver_and_a_scribbler)
{
    struct rlimit small = {1 << 20, 1 << 20};
    char text[128], secret[80];
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0 && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    snprintf(dir, sizeof dir, "/tmp/vmlet-race-XXXXXX");
    CHECK(mkdtemp(dir));
    snprintf(secret, sizeof secret, "%s/secret", dir);
    snprintf(text, sizeof text, "%s/share", dir);
    FILE *f = fopen(secret, "w");
    CHECK(mkdir(text, 0755) == 0 && f && fputs("SECRET", f) >= 0 && fclose(f) == 0);

    vdev_prepare();
    struct work *work = m->board.work = work_new(m->board.loop, 4);
    snprintf(text, sizeof text, "dir=%s/share,tag=race,queues=2", dir);
    vdev_add(&fs_class, text);
    ram = ram_host(m->ram, 0, 1 << 20);
    over = false;
    init_after_reset();
    unsigned before = files_in("/proc/self/fd");

    pthread_t threads[2];
    starts = kicks = 0;
    CHECK(pthread_create(&threads[0], NULL, driver, (void *)(uintptr_t)11) == 0);
    CHECK(pthread_create(&threads[1], NULL, scribbler, (void *)(uintptr_t)12) == 0);
    while (kicks < test_scale(30000) || starts < 50)
        if (!loop_step(m->board.loop))
            sched_yield();
    over = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    over = false;

    CHECK_EQ(init_after_reset(), sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out));
    CHECK_EQ(files_in("/proc/self/fd"), before);
    struct stat st;
    CHECK(stat(secret, &st) == 0 && st.st_size == 6);
    CHECK_EQ(files_in(dir), 4);
    CHECK(work_free(work, 60000000000));
    files_remove(dir);
}
