// SPDX-License-Identifier: MIT
/* The virtio-fs device against virtio 1.2, 5.11, with a server of the test's own in place of virtio/fuse.c: one that echoes,
 * keeps a request until it is told to let it go, or says nothing. What the real server answers is tests/unit/fuse*.c. */
#include "virtio/fs.h"
#include "kvm/host/work.h"
#include "virtio/fuse.h"
#include "virtio/pci.h"
#include "virtio_board.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    HIPRIO = 0,
    REQUEST = 1,
    IN = VQ_BUFFERS,
    OUT = VQ_BUFFERS + 0x4000,
    SLOTS = 32, /* of the device */

    OP_ECHO = 1, /* first byte of a request */
    OP_KEEP = 2, /* echoes when released is set */
    OP_FORGET = 3,
    OP_QUICK = 4, /* echoes, at once if it is asked to */
};

/* --- the server */

struct fuse_server {
    int dummy;
};
static struct fuse_server the_server;
static atomic_uint answered, keeping, resets, most, at_once, asked_at_once;
static pthread_t loop_thread;
static atomic_bool released;
static struct fuse_config given;
static const char *refuse;

struct fuse_server *fuse_new(const struct fuse_config *config, char *err, size_t errlen)
{
    if (refuse)
        snprintf(err, errlen, "%s", refuse);
    given = *config;
    return refuse ? NULL : &the_server;
}
void fuse_free(struct fuse_server *s)
{
    (void)s;
}
void fuse_reset(struct fuse_server *s)
{
    (void)s;
    CHECK_EQ(atomic_load(&keeping), 0);
    atomic_fetch_add(&resets, 1);
}
void fuse_stats(struct fuse_server *s, struct fuse_stats *stats)
{
    (void)s;
    *stats = (struct fuse_stats){.requests = answered};
}

static size_t total(const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* Uses both arrays up, as the server may. */
size_t fuse_answer(struct fuse_server *s, struct iovec *req, int n_req, struct iovec *rep, int n_rep)
{
    (void)s;
    uint8_t op = n_req ? *(const uint8_t *)req->iov_base : 0;
    size_t room = total(rep, n_rep), n = 0;
    if (op == OP_KEEP) {
        unsigned now = atomic_fetch_add(&keeping, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        while (!atomic_load(&released))
            sched_yield();
        atomic_fetch_sub(&keeping, 1);
    }
    if (op == OP_ECHO || op == OP_KEEP || op == OP_QUICK)
        while (n_req && n_rep && n < room) {
            size_t part = req->iov_len < rep->iov_len ? req->iov_len : rep->iov_len;
            memcpy(rep->iov_base, req->iov_base, part);
            n += part;
            req->iov_base = (char *)req->iov_base + part;
            rep->iov_base = (char *)rep->iov_base + part;
            if (!(req->iov_len -= part))
                req++, n_req--;
            if (!(rep->iov_len -= part))
                rep++, n_rep--;
        }
    atomic_fetch_add(&answered, 1);
    return n;
}

bool fuse_answer_at_once(struct fuse_server *s, const struct iovec *req, int n_req, const struct iovec *rep,
                         int n_rep, size_t *written)
{
    struct iovec out[2], in[2];
    CHECK(pthread_equal(pthread_self(), loop_thread));
    atomic_fetch_add(&asked_at_once, 1);
    if (n_req != 1 || n_rep != 1 || *(const uint8_t *)req->iov_base != OP_QUICK)
        return false;
    out[0] = *req;
    in[0] = *rep;
    atomic_fetch_add(&at_once, 1);
    *written = fuse_answer(s, out, 1, in, 1);
    return true;
}

/* --- the board */

static struct work *work;

static struct device *fs_new(const char *options, uint64_t features)
{
    refuse = NULL;
    atomic_store(&released, false);
    atomic_store(&answered, 0);
    atomic_store(&resets, 0);
    atomic_store(&most, 0);
    atomic_store(&at_once, 0);
    atomic_store(&asked_at_once, 0);
    loop_thread = pthread_self();
    vdev_prepare();
    work = m->board.work = work_new(m->board.loop, 4);
    struct device *dev = vdev_add(&fs_class, options);
    vdev_start(features & (vd_features() | F_VERSION_1));
    return dev;
}

static void request(unsigned q, unsigned head, uint8_t op, uint32_t in, uint32_t out)
{
    struct vq_buf bufs[2] = {
        {IN + head * 64ull,  in,  0      },
        {OUT + head * 64ull, out, F_WRITE}
    };
    for (unsigned i = 0; i < in; i++)
        g_write(IN + head * 64ull + i, i ? i + head : op, 1);
    vq_add(q, bufs, out ? 2 : 1, head);
}

/* Runs until that many entries of the queue were used. */
static bool wait_used(unsigned q, unsigned used)
{
    return VD_UNTIL(vq_used_idx(q) == used);
}

static bool wait_for(atomic_uint *what, unsigned n)
{
    return VD_UNTIL(atomic_load(what) == n);
}

static bool echoed(unsigned head, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        if (g_read(OUT + head * 64ull + i, 1) != (uint8_t)(i ? i + head : g_read(IN + head * 64ull, 1)))
            return false;
    return true;
}

/* 2.4: the driver waits for 0 */
static bool reset(void)
{
    c_write(C_STATUS, 0, 1);
    return VD_UNTIL(!vd_status());
}

/* --- what the device is */

TEST(fs_configuration_and_features)
{
    fs_new("dir=/tmp,tag=some-tag,ro,cache=none,queues=3", F_VERSION_1 | F_EVENT | F_INDIR);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x105a1af4);
    CHECK(!(vd_features() & 1)); /* no notification queue */
    CHECK_EQ(c_read(C_NUMQ, 2), 4);
    CHECK_EQ(vd.cap_len[CAP_DEVICE], 40);
    char tag[37] = {0};
    for (unsigned i = 0; i < 36; i++)
        tag[i] = (char)g_read(vd.cap[CAP_DEVICE] + i, 1);
    CHECK(!strcmp(tag, "some-tag"));
    for (unsigned i = 8; i < 36; i++)
        CHECK_EQ(tag[i], 0);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 4), 0x656d6f73);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 2, 2), 0x656d);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 36, 4), 3);
    g_write(vd.cap[CAP_DEVICE], 0, 4); /* V14: read-only */
    g_write(vd.cap[CAP_DEVICE] + 36, 77, 4);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 1), 's');
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 36, 4), 3);
    CHECK(given.ro && given.no_cache && !strcmp(given.path, "/tmp") && !strcmp(given.name, "virtio-fs0"));
}

TEST(fs_tag_of_36_bytes_and_of_none)
{
    char err[200];
    fs_new("dir=/tmp,tag=123456789012345678901234567890123456", F_VERSION_1);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 35, 1), '6');
    CHECK(!device_new(&m->board, &fs_class, NULL, "dir=/tmp,tag=1234567890123456789012345678901234567", err,
                      sizeof err));
    CHECK(strstr(err, "1 to 36 bytes"));
    CHECK(!device_new(&m->board, &fs_class, NULL, "dir=/tmp,tag=", err, sizeof err));
    CHECK(!device_new(&m->board, &fs_class, NULL, "dir=/tmp", err, sizeof err));
    CHECK(strstr(err, "tag"));
    refuse = "/tmp: no such luck";
    CHECK(!device_new(&m->board, &fs_class, NULL, "dir=/tmp,tag=x", err, sizeof err));
    CHECK(strstr(err, "no such luck"));
}

/* --- requests */

TEST(fs_answers_on_every_queue)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x,queues=2", F_VERSION_1);
    for (unsigned q = 0; q < 3; q++) {
        request(q, 5, OP_ECHO, 40, 64);
        vq_kick(q);
        CHECK(wait_used(q, 1));
        CHECK(vq_used(q, &id, &len));
        CHECK_EQ(id, 5);
        CHECK_EQ(len, 40);
        CHECK(echoed(5, 40));
        CHECK(vd_line());
        CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 1);
    }
}

TEST(fs_request_in_many_pieces)
{
    uint32_t id, len;
    struct vq_buf bufs[64];
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    for (unsigned i = 0; i < 32; i++) {
        bufs[i] = (struct vq_buf){IN + 3 * i, 3, 0};
        bufs[32 + i] = (struct vq_buf){OUT + 4 * i, 4, F_WRITE};
        for (unsigned j = 0; j < 3; j++)
            g_write(IN + 3 * i + j, i + j ? 3 * i + j : OP_ECHO, 1);
    }
    vq_add(REQUEST, bufs, 64, 0);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 1) && vq_used(REQUEST, &id, &len));
    CHECK_EQ(len, 96);
    for (unsigned i = 1; i < 96; i++)
        CHECK_EQ(g_read(OUT + i, 1), i);
}

TEST(fs_forget_is_given_back_empty)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    for (unsigned i = 0; i < 100; i++)
        request(HIPRIO, i, OP_FORGET, 40, 0);
    vq_kick(HIPRIO);
    CHECK(wait_used(HIPRIO, 100));
    for (unsigned i = 0; i < 100; i++) {
        CHECK(vq_used(HIPRIO, &id, &len));
        CHECK_EQ(len, 0);
    }
    CHECK_EQ(atomic_load(&answered), 100);
}

TEST(V4_fs_chain_without_bytes)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    vq_add(REQUEST,
           (struct vq_buf[]){
               {0, 0, 0}
    },
           1, 7);
    request(REQUEST, 9, OP_ECHO, 10, 10);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 2));
    unsigned heads = 0;
    while (vq_used(REQUEST, &id, &len)) {
        heads += id;
        CHECK_EQ(len, id == 9 ? 10 : 0);
    }
    CHECK_EQ(heads, 16);
    CHECK(!(vd_status() & ST_NEEDS_RESET));
}

/* --- what needs no waiting */

TEST(fs_alone_and_quick_is_answered_without_the_pool)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    for (unsigned i = 0; i < 1000; i++) { /* each slot more than once: none is lost */
        request(REQUEST, i & 63, OP_QUICK, 30, 40);
        vq_kick(REQUEST);
        CHECK(vq_used(REQUEST, &id, &len)); /* there already */
        CHECK_EQ(id, i & 63);
        CHECK_EQ(len, 30);
        CHECK(echoed(i & 63, 30));
        CHECK(vd_line());
        CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 1);
    }
    CHECK_EQ(atomic_load(&at_once), 1000);
    CHECK_EQ(work_pending(work), 0);
    CHECK(reset() && atomic_load(&resets) == 1); /* the server knows of them */
}

TEST(fs_of_several_none_is_answered_on_the_loop_while_others_wait)
{
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    uint32_t id, len;
    for (unsigned i = 0; i < 20; i++)
        request(REQUEST, 2 * i, OP_QUICK, 30, 40);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 20));
    CHECK(atomic_load(&at_once) <= 1); /* the last, if all others were done by then */
    while (vq_used(REQUEST, &id, &len)) {
        CHECK_EQ(len, 30);
        CHECK(id % 2 == 0 && echoed(id, 30));
    }
    atomic_store(&at_once, 0);
    request(REQUEST, 0, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 1));
    request(REQUEST, 2, OP_QUICK, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 21));
    CHECK_EQ(atomic_load(&at_once), 0);
    atomic_store(&released, true);
    CHECK(wait_used(REQUEST, 22));
}

/* --- what blocks */

TEST(fs_a_request_that_blocks_stops_no_other)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    request(REQUEST, 0, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 1));
    request(REQUEST, 2, OP_ECHO, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 1));
    request(HIPRIO, 4, OP_ECHO, 20, 20);
    vq_kick(HIPRIO);
    CHECK(wait_used(HIPRIO, 1));
    CHECK(vq_used(REQUEST, &id, &len));
    CHECK_EQ(id, 2);
    atomic_store(&released, true);
    CHECK(wait_used(REQUEST, 2));
    CHECK(vq_used(REQUEST, &id, &len));
    CHECK_EQ(id, 0);
    CHECK(echoed(0, 20));
}

TEST(V18_fs_more_requests_than_slots_wait_in_the_ring)
{
    uint32_t id, len;
    uint8_t seen[256] = {0};
    fs_new("dir=/tmp,tag=x,queues=1", F_VERSION_1);
    for (unsigned i = 0; i < 100; i++)
        request(REQUEST, 2 * i, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 4)); /* the pool's threads */
    CHECK_EQ(virtio_queue((struct virtio_device *)vd.pci, REQUEST)->inflight, SLOTS);
    request(HIPRIO, 101, OP_ECHO, 20, 20); /* who comes now has no slot, on no queue */
    vq_kick(HIPRIO);
    CHECK_EQ(vq_used_idx(HIPRIO), 0);
    atomic_store(&released, true);
    CHECK(wait_used(REQUEST, 100) && wait_used(HIPRIO, 1));
    CHECK(atomic_load(&most) <= 4);
    while (vq_used(REQUEST, &id, &len)) {
        CHECK(id < 200 && id % 2 == 0 && !seen[id]);
        seen[id] = 1;
        CHECK_EQ(len, 20);
        CHECK(echoed(id, 20));
    }
    CHECK_EQ(virtio_queue((struct virtio_device *)vd.pci, REQUEST)->inflight, 0);
}

/* --- ends */

TEST(V15_fs_reset_waits_for_what_is_under_way)
{
    uint32_t id, len;
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    request(REQUEST, 0, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 1));
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK(vd_status() != 0); /* 2.4: not before the buffers are the driver's again */
    unsigned used = vq_used_idx(REQUEST);
    atomic_store(&released, true);
    CHECK(reset());
    CHECK_EQ(atomic_load(&resets), 1);
    CHECK_EQ(vq_used_idx(REQUEST), used); /* the ring of then was left alone */
    vdev_start(F_VERSION_1);
    request(REQUEST, 0, OP_ECHO, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 1) && vq_used(REQUEST, &id, &len));
    CHECK_EQ(len, 20);
}

TEST(fs_reset_forgets_the_session)
{
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    CHECK_EQ(atomic_load(&resets), 0); /* nothing to forget */
    request(REQUEST, 0, OP_ECHO, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 1));
    CHECK(reset());
    CHECK_EQ(atomic_load(&resets), 1);
}

TEST(V19_fs_broken_ring_needs_a_reset_and_gets_one)
{
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    request(REQUEST, 0, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 1));
    vq_desc(REQUEST, 4, IN, 20, F_NEXT, 4); /* V1: a loop */
    vq_avail(REQUEST, 4);
    vq_kick(REQUEST);
    CHECK(vd_status() & ST_NEEDS_RESET);
    request(HIPRIO, 0, OP_ECHO, 20, 20); /* the other queue goes on */
    vq_kick(HIPRIO);
    CHECK(wait_used(HIPRIO, 1));
    atomic_store(&released, true);
    CHECK(wait_used(REQUEST, 1)); /* what was under way comes back */
    CHECK(reset());
    vdev_start(F_VERSION_1);
    request(REQUEST, 0, OP_ECHO, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_used(REQUEST, 1));
}

TEST(fs_state_of_a_mounted_share_is_refused)
{
    uint8_t state[16384];
    struct device *dev = fs_new("dir=/tmp,tag=x", F_VERSION_1);
    size_t n = device_save(dev, state, sizeof state);
    CHECK(n && n <= sizeof state);
    const char *why = device_load(dev, state, n);
    CHECK(why && strstr(why, "open files"));
    CHECK(reset());
    n = device_save(dev, state, sizeof state);
    CHECK(!device_load(dev, state, n));
}

TEST(V8_fs_head_made_available_twice)
{
    fs_new("dir=/tmp,tag=x", F_VERSION_1);
    request(REQUEST, 0, OP_KEEP, 20, 20);
    vq_avail(REQUEST, 0);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 1));
    CHECK(vd_status() & ST_NEEDS_RESET);
    atomic_store(&released, true);
    CHECK(wait_for(&answered, 1));
}

TEST(B5_fs_end_of_the_machine_with_requests_under_way)
{
    struct device *dev = fs_new("dir=/tmp,tag=x", F_VERSION_1);
    (void)dev;
    for (unsigned i = 0; i < 20; i++)
        request(REQUEST, 2 * i, OP_KEEP, 20, 20);
    vq_kick(REQUEST);
    CHECK(wait_for(&keeping, 4));
    atomic_store(&released, true);
    CHECK(work_free(work, 60000000000)); /* what runs ends, the rest is dropped */
    m->board.work = NULL;
    devices_free(&m->board);
}
