// SPDX-License-Identifier: MIT
/* Disk, console, balloon and vsock between a driver on another thread, which changes rings and buffers while they are read,
 * resets the device in the middle, switches bus mastering and writes to whatever register, and a host's side that comes and goes.
 * At the end a driver that behaves is served. */
#include "virtio_board.h"

#include "kvm/host/work.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/vsock.h"

#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SIZE = 16,
    CELL = 64,
    CELLS = (0x100000 - VQ_BUFFERS) / CELL,
};

static _Atomic bool over;
static _Atomic unsigned starts;
static unsigned queues;
static uint64_t features;
static void (*cell)(uint64_t *words, uint64_t r); /* what a buffer of this device may begin with */

/* The races are the point: not seen by the thread sanitizer. */
__attribute__((no_sanitize("thread"))) static void put(uint64_t gpa, uint64_t value, unsigned size)
{
    volatile uint8_t *p = (volatile uint8_t *)ram_host(m->ram, gpa, 8);
    if (size == 8)
        *(volatile uint64_t *)p = value;
    else if (size == 4)
        *(volatile uint32_t *)p = (uint32_t)value;
    else
        *(volatile uint16_t *)p = (uint16_t)value;
}

static void fill_cell(uint64_t *seed)
{
    uint64_t words[6] = {0}, r = test_rand(seed);
    cell(words, test_rand(seed));
    for (unsigned i = 0; i < 6; i++)
        put(VQ_BUFFERS + r % CELLS * CELL + 8 * i, words[i], 8);
}

static void descriptor(unsigned q, uint64_t r)
{
    static const uint32_t lengths[] = {1, 8, 16, 20, 44, 64, 512, 4096, 0, 0xffffffff};
    uint64_t at = vd.q[q].desc + 16 * (r % SIZE), gpa = VQ_BUFFERS + (r >> 8) % CELLS * CELL;
    put(at, r >> 63 ? r >> 20 : gpa, 8);
    put(at + 8, lengths[(r >> 24) % (r >> 62 & 1 ? 10 : 8)], 4);
    put(at + 12, (r >> 32 & 3) | (r >> 40 & 63 ? 0 : F_INDIRECT), 2);
    put(at + 14, (r >> 48) % (SIZE + (r >> 61 & 1)), 2);
}

static bool set_up(uint64_t want)
{
    c_write(C_STATUS, 0, 1);
    for (unsigned i = 0; vd_status(); i++) {
        if (over && i > 1000000)
            return false;
        sched_yield();
    }
    c_write(C_STATUS, ST_ACK | ST_DRIVER, 1);
    vd_accept(want);
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK, 1);
    for (unsigned q = 0; q < queues; q++) {
        vd.q[q] = (struct vq_driver){.size = SIZE, .desc = VQ_BASE + (uint64_t)q * VQ_AREA};
        vd.q[q].avail = vd.q[q].desc + 16 * SIZE;
        vd.q[q].used = vd.q[q].avail + 0x40;
        for (unsigned i = 0; i < 0x400; i += 8)
            put(vd.q[q].desc + i, 0, 8);
        vq_program(q);
        c_write(C_ENABLE, 1, 2);
    }
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK, 1);
    starts++;
    return true;
}

static void *driver(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    while (!over) {
        uint64_t r = test_rand(&seed);
        unsigned n = (unsigned)(r >> 8) % queues;
        struct vq_driver *q = &vd.q[n];
        switch (r % 64) {
        case 0:
            set_up(r >> 16 & 1 ? features : (features & r) | F_VERSION_1);
            break;
        case 1:
            cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | (r >> 16 & 3 ? PCI_COMMAND_MASTER : 0),
                      2);
            break;
        case 2:
            g_write(vd.cap[CAP_DEVICE] + (r >> 16 & 63), r >> 24, 1u << (r >> 22 & 3));
            break;
        case 3:
            g_read(vd.cap[CAP_COMMON] + (r >> 16 & 63), 1u << (r >> 22 & 3));
            break;
        case 4:
            c_write(C_STATUS, 0, 1); /* and does not wait */
            break;
        default:
            for (unsigned i = 0; i < 6; i++)
                descriptor(n, test_rand(&seed));
            fill_cell(&seed);
            put(q->avail + 4 + 2 * (q->avail_idx % SIZE), (r >> 24) % (SIZE + !(r >> 30 & 63)), 2);
            put(q->avail + 2, q->avail_idx += (uint16_t)(r >> 36 & 63 ? 1 : r >> 42), 2);
            g_write(vd.cap[CAP_NOTIFY] + n * vd.multiplier, n, 2);
            if (vd_status() & ST_NEEDS_RESET)
                set_up(features);
        }
    }
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return NULL;
}

/* The rest of a test: the race, until the driver has had its turns, with the host's side between; then quiet. */
static void race(const struct device_class *class, uint64_t want, unsigned n,
                 void (*fill)(uint64_t *words, uint64_t r), void (*host)(uint64_t r))
{
    pthread_t thread;
    uint64_t seed = 99, r;
    features = want | F_VERSION_1;
    queues = n;
    cell = fill;
    over = false;
    starts = 0;
    signal(SIGPIPE, SIG_IGN);
    (void)class;
    for (unsigned i = 0; i < 4 * CELLS; i++)
        fill_cell(&seed);
    for (unsigned q = 0; q < queues; q++)
        vd.q[q] = (struct vq_driver){.size = SIZE, .desc = VQ_BASE, .avail = VQ_BASE + 0x800};
    CHECK(pthread_create(&thread, NULL, driver, (void *)(uintptr_t)n) == 0);
    for (uint64_t i = 0; i < test_scale(20000) || starts < 30; i++) {
        if (!loop_step(m->board.loop) && i % 16 == 0)
            sched_yield();
        if ((r = test_rand(&seed)) % 16 == 0)
            host(r);
        __atomic_fetch_add(&vd_now_ns, r >> 44, __ATOMIC_RELAXED);
    }
    over = true;
    for (unsigned i = 0; i < 100000; i++) /* a driver that waits for a reset gets it */
        if (!loop_step(m->board.loop))
            sched_yield();
    pthread_join(thread, NULL);
    vd_run();
    c_write(C_STATUS, 0, 1);
    CHECK(VD_UNTIL(vd_status() == 0));
}

/* --- the disk */

static void disk_cell(uint64_t *words, uint64_t r)
{
    static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 0, 1};
    words[0] = types[r & 7];
    words[1] = r >> 3 & 7 ? (r >> 8) % 70 : r;
    words[2] = r >> 6 & 1 ? (r >> 16) % 70 : ~0ull - (r >> 50);
    words[3] = (r >> 24) % 20;
}
static void nobody(uint64_t r)
{
    (void)r;
}
static void disk(const char *more)
{
    char path[] = "/tmp/vmlet-blk-XXXXXX", options[100];
    int file = mkstemp(path);
    CHECK(file >= 0 && ftruncate(file, 64 * 512) == 0);
    vdev_prepare();
    m->board.work = work_new(m->board.loop, 2);
    snprintf(options, sizeof options, "file=%s,queues=2%s", path, more);
    vdev_add(&blk_class, options);
    unlink(path);
    race(&blk_class, F_EVENT | F_INDIR | F_BIT(9) | F_BIT(13) | F_BIT(14), 2, disk_cell, nobody);
    CHECK(lseek(file, 0, SEEK_END) == 64 * 512); /* never beyond its end */
    close(file);
    vdev_start(F_VERSION_1);
    g_write(VQ_BUFFERS, 8, 4); /* GET_ID */
    vq_add(0,
           (struct vq_buf[]){
               {VQ_BUFFERS,         16, 0      },
               {VQ_BUFFERS + 0x100, 20, F_WRITE},
               {VQ_BUFFERS + 0x200, 1,  F_WRITE}
    },
           3, 0);
    vq_kick(0);
    uint32_t id, len;
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(len, 21);
    CHECK_EQ(g_read(VQ_BUFFERS + 0x200, 1), 0);
    CHECK(work_free(m->board.work, 60000000000));
    m->board.work = NULL;
}
TEST(V9_B5_a_disk_raced_by_its_driver)
{
    disk("");
    disk(",threads");
}

/* --- the balloon */

static struct device *balloon;
static void balloon_cell(uint64_t *words, uint64_t r)
{
    for (unsigned i = 0; i < 6; i++) /* page numbers, and tags with values */
        words[i] = r >> i & 1 ? 0x80 + (r >> (8 + i)) % 0x90 : r >> i;
}
static void balloon_host(uint64_t r)
{
    struct balloon_state s;
    uint64_t age;
    if (r >> 8 & 1)
        virtio_balloon_set(balloon, r >> 20);
    else if (r >> 9 & 1)
        (void)!virtio_balloon_stats(balloon, &age);
    else
        virtio_balloon_state(balloon, &s);
}
TEST(V9_a_balloon_raced_by_its_driver)
{
    balloon = vdev_new(&balloon_class, NULL);
    race(&balloon_class, F_EVENT | F_INDIR | F_BIT(1) | F_BIT(2) | F_BIT(5), 5, balloon_cell, balloon_host);
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    struct balloon_state s;
    g_write(VQ_BUFFERS, 0xc0, 4);
    vq_add(0, &(struct vq_buf){VQ_BUFFERS, 4, 0}, 1, 0);
    virtio_balloon_state(balloon, &s);
    uint64_t before = s.freed;
    vq_kick(0);
    CHECK(vq_used(0, &id, &len));
    virtio_balloon_state(balloon, &s);
    CHECK_EQ(s.freed, before + 4096);
}

/* --- a console with a port on a socket, whose callers come, talk, listen or not, and go */

static char path[64];
static int callers[4];

static int call(const char *at)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", at);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        fd = -1;
    }
    return fd;
}
static void caller(uint64_t r, const char *first)
{
    static char bytes[20000];
    int *fd = &callers[r >> 8 & 3];
    if (*fd < 0) {
        *fd = call(path);
        if (*fd >= 0 && write(*fd, first, strlen(first)) < 0)
            return;
    } else if (r >> 10 & 3) {
        (void)!write(*fd, bytes, (r >> 20) % sizeof bytes);
        if (r >> 12 & 1)
            (void)!read(*fd, bytes, sizeof bytes);
    } else if (r >> 13 & 1) {
        shutdown(*fd, r >> 14 & 1 ? SHUT_WR : SHUT_RD);
    } else {
        close(*fd);
        *fd = -1;
    }
}
static void callers_new(const char *what)
{
    snprintf(path, sizeof path, "/tmp/vmlet-raced-%s-%d", what, (int)getpid());
    for (unsigned i = 0; i < 4; i++)
        callers[i] = -1;
}
static void callers_go(void)
{
    for (unsigned i = 0; i < 4; i++)
        if (callers[i] >= 0)
            close(callers[i]);
    for (unsigned i = 0; i < 100; i++)
        vd_run();
}

static void console_cell(uint64_t *words, uint64_t r)
{
    words[0] = (r >> 8) % 3 | (uint64_t)((r >> 16) % 9) << 32 | (uint64_t)(r >> 24 & 1) << 48;
    words[1] = r;
}
static struct device *console;
static void console_host(uint64_t r)
{
    if (r >> 16 & 7)
        caller(r, "hello");
    else
        virtio_console_set_size(console, (uint16_t)(r >> 20), (uint16_t)(r >> 40));
}
TEST(V9_a_console_raced_by_its_driver)
{
    char options[100];
    callers_new("console");
    snprintf(options, sizeof options, "port=chan=unix:%s", path);
    console = vdev_new(&vconsole_class, options);
    race(&vconsole_class, F_EVENT | F_INDIR | 3, 6, console_cell, console_host);
    callers_go();
    vdev_start(F_VERSION_1 | F_BIT(1));
    uint32_t id, len;
    vq_add(2, &(struct vq_buf){VQ_BUFFERS, 200, F_WRITE}, 1, 0);
    g_write(VQ_BUFFERS + 0x100, ~0u, 4);
    g_write(VQ_BUFFERS + 0x104, 1ull << 16, 4); /* DEVICE_READY */
    vq_add(3, &(struct vq_buf){VQ_BUFFERS + 0x100, 8, 0}, 1, 0);
    vq_kick(3);
    CHECK(vq_used(2, &id, &len));
    CHECK_EQ(g_read(VQ_BUFFERS, 4), 1); /* the port is there */
    devices_free(&m->board);
}

/* --- vsock */

static int server = -1;
static void vsock_cell(uint64_t *words, uint64_t r)
{
    words[0] = r >> 40 & 15 ? 5 : r; /* src_cid, dst_cid */
    words[1] = r >> 44 & 15 ? 2 : r;
    words[2] = (1000 + (r >> 8) % 3) | (r >> 12 & 1 ? 7ull : (1ull << 30) + (r >> 16) % 8)
                                           << 32; /* src_port, dst_port */
    words[3] = (r >> 20 & 3   ? 4
                : r >> 22 & 1 ? 0
                              : (uint32_t)r) |
               1ull << 32 | (r >> 24) % 9 << 48;                                    /* len, type, op */
    words[4] = (r >> 28 & 3) | (r >> 30 & 3 ? 65536 : (uint64_t)(uint32_t)r) << 32; /* flags, buf_alloc */
    words[5] = r >> 32 & 3 ? 0 : (uint32_t)r; /* fwd_cnt: forward, backward */
}
static void vsock_host(uint64_t r)
{
    static char bytes[5000];
    int fd = -1;
    if (r >> 16 & 3) {
        caller(r, "CONNECT 1001\n");
        return;
    }
    for (unsigned i = 0; i < 4; i++) /* what the guest opened: said something to, and closed */
        if ((fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
            (void)!write(fd, bytes, (r >> 20) % sizeof bytes);
            if (r >> (18 + i) & 1)
                (void)!read(fd, bytes, sizeof bytes);
            close(fd);
        }
}
TEST(V9_vsock_raced_by_its_driver)
{
    char options[100], listening[80];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    callers_new("vsock");
    snprintf(options, sizeof options, "cid=5,path=%s", path);
    snprintf(listening, sizeof listening, "%s_7", path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", listening);
    unlink(listening);
    server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(server >= 0 && bind(server, (struct sockaddr *)&a, sizeof a) == 0 && listen(server, 100) == 0);
    vdev_new(&vsock_class, options);
    race(&vsock_class, F_EVENT | F_INDIR | 1, 3, vsock_cell, vsock_host);
    callers_go();
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    uint64_t words[6] = {5, 2, 1000 | 7ull << 32, 1ull << 32 | 1ull << 48, 65536ull << 32, 0};
    for (unsigned i = 0; i < 6; i++)
        g_write(VQ_BUFFERS + 8 * i, words[i], 8);
    vq_add(0, &(struct vq_buf){VQ_BUFFERS + 0x1000, 4096, F_WRITE}, 1, 0);
    vq_add(1, &(struct vq_buf){VQ_BUFFERS, 44, 0}, 1, 0);
    vq_kick(1);
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(len, 44);
    CHECK_EQ(g_read(VQ_BUFFERS + 0x1000 + 30, 2), 2); /* RESPONSE */
    close(server);
    unlink(listening);
    devices_free(&m->board);
}
