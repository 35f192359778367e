// SPDX-License-Identifier: MIT
/* virtio-fs: a folder of the host (virtio/fuse.h) for the guest.
 *
 * A request is taken off its queue on the loop, answered in the work pool, which may block and takes no lock (or at once, when
 * it is alone and needs no waiting), and given back on the loop. It needs a slot, which holds its pieces until then; there
 * are fewer slots than entries in the queues, because more than the pool has threads are of no use: who finds none waits in
 * its ring, and is taken when one comes back. So what is under way is bounded and nothing grows. Requests complete in any
 * order; a FORGET has no reply, and is given back empty. What a request says is the server's to judge; what is no request at
 * all (too short, no room for the answer) is given back empty too, and the queue goes on.
 *
 * A reset waits for what is under way, whose buffers are the guest's again then, and for the server to forget the guest's
 * handles: that may block as well, and is a job of the pool.
 *
 * The queues: number 0 is for requests that must not wait behind others (FORGET, INTERRUPT); the rest are alike.
 *
 * Source: virtio 1.2, 5.11. */
#include "virtio/fs.h"

#include <stdlib.h>
#include <string.h>

#include "kvm/host/log.h"
#include "kvm/host/work.h"
#include "virtio/fuse.h"
#include "virtio/pci.h"

enum {
    HIPRIO_SIZE = 128,
    QUEUE_SIZE = 512, /* the driver's requests have as many pages, less a few: 1 MiB and more (5.11.6.1) */
    ROOM = QUEUE_SIZE + VIRTQ_SPARE,
    QUEUES_MAX = 8,
    SLOTS = 32,
};

struct fs_slot {
    struct work_job job;
    struct fs *fs;
    struct virtq *q;
    struct fs_slot *next; /* free */
    size_t written;
    struct virtq_chain chain;
    struct iovec iov[ROOM];  /* as the ring has them */
    struct iovec room[ROOM]; /* for the reply, for the server to use up */
};

struct fs {
    struct virtio_device v; /* first */
    const char *dir, *tag;
    bool ro;
    int cache;
    uint32_t n_queues;
    struct { /* 5.11.4 */
        char tag[FS_TAG_BYTES];
        uint32_t num_request_queues;
    } config;
    struct fuse_server *server;
    struct fs_slot *slots, *free;
    unsigned under_way;
    bool starved;         /* somebody may wait for a slot */
    bool used;            /* since the last reset */
    struct work_job wipe; /* the server's part of a reset */
    uint64_t requests;
};

/* --- requests: the pool */

static void fs_run(void *arg)
{
    struct fs_slot *s = arg;
    const struct virtq_chain *c = &s->chain;
    memcpy(s->room, c->iov + c->out_n, c->in_n * sizeof *s->room);
    s->written = fuse_answer(s->fs->server, c->iov, c->out_n, s->room, c->in_n);
}

/* --- and the loop */

static void wipe(struct fs *f)
{
    work_submit(f->v.pci.dev.board->work, &f->wipe);
}

static void fs_done(void *arg)
{
    struct fs_slot *s = arg;
    struct fs *f = s->fs;
    struct virtq *q = s->q;
    device_enter(&f->v.pci.dev);
    virtq_push(q, &s->chain, s->written < UINT32_MAX ? (uint32_t)s->written : UINT32_MAX);
    s->next = f->free;
    f->free = s;
    f->under_way--;
    if (f->v.resetting) {
        if (!f->under_way)
            wipe(f);
    } else {
        virtio_flush(&f->v, q);
        if (f->starved) {
            f->starved = false;
            for (unsigned i = 0; i < f->v.n_queues; i++)
                virtio_turn(&f->v, virtio_queue(&f->v, i));
        }
    }
    lock_drop(&f->v.pci.dev.lock);
}

/* To the pool and back are two changes of threads, more than most requests need themselves. So what needs no waiting is
 * answered here, if there is nothing else to do: of several, the pool does some at a time. */
static bool fs_at_once(struct fs *f, struct virtq *q, struct fs_slot *s)
{
    const struct virtq_chain *c = &s->chain;
    return !f->under_way && !virtq_ready(q) &&
           fuse_answer_at_once(f->server, c->iov, c->out_n, c->iov + c->out_n, c->in_n, &s->written);
}

static void fs_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct fs *f = (struct fs *)v;
    struct fs_slot *s;
    while ((s = f->free)) {
        s->chain.iov = s->iov;
        s->chain.room = ROOM;
        if (!virtq_pop(q, &s->chain))
            return;
        f->requests++;
        f->used = true;
        if (fs_at_once(f, q, s)) {
            virtq_push(q, &s->chain, (uint32_t)s->written);
            continue;
        }
        f->free = s->next;
        f->under_way++;
        s->q = q;
        work_submit(v->pci.dev.board->work, &s->job);
    }
    f->starved = true;
}

/* --- reset */

static void wipe_run(void *arg)
{
    fuse_reset(((struct fs *)arg)->server);
}

static void wipe_done(void *arg)
{
    struct fs *f = arg;
    device_enter(&f->v.pci.dev);
    f->used = false;
    virtio_reset_done(&f->v);
    lock_drop(&f->v.pci.dev.lock);
}

static bool fs_reset(struct virtio_device *v)
{
    struct fs *f = (struct fs *)v;
    f->starved = false;
    if (!f->used)
        return true;
    if (!f->under_way)
        wipe(f);
    return false;
}

/* --- the device */

/* What the guest knows by number is known to the server that was, alone. */
static const char *fs_loaded(struct virtio_device *v)
{
    return v->status & VIRTIO_STATUS_DRIVER_OK ? "the guest's open files are not in a saved state" : NULL;
}

static void fs_fini(struct virtio_device *v)
{
    struct fs *f = (struct fs *)v;
    fuse_free(f->server);
    free(f->slots);
}

static const struct virtio_type fs_type = {
    .id = 26,
    .pci_class = 0x018000,
    .queue_ready = fs_queue_ready,
    .reset = fs_reset,
    .loaded = fs_loaded,
    .fini = fs_fini,
};

static const char *fs_init(struct device *dev, struct board *board)
{
    struct fs *f = (struct fs *)dev;
    size_t n = f->tag ? strlen(f->tag) : 0;
    if (!board->work)
        return "there is no pool for what blocks";
    if (!n || n > FS_TAG_BYTES)
        return "tag: 1 to 36 bytes";
    memcpy(f->config.tag, f->tag, n);
    f->config.num_request_queues = f->n_queues;
    struct fuse_config config = {
        .path = f->dir,
        .name = dev->id,
        .ro = f->ro,
        .no_cache = f->cache == FS_CACHE_NONE,
    };
    f->server = fuse_new(&config, dev->error, sizeof dev->error);
    if (!f->server)
        return dev->error;
    f->slots = calloc(SLOTS, sizeof *f->slots);
    if (!f->slots)
        return "out of memory";
    for (unsigned i = SLOTS; i-- > 0;) {
        struct fs_slot *s = &f->slots[i];
        s->fs = f;
        s->job = (struct work_job){.run = fs_run, .done = fs_done, .arg = s};
        s->next = f->free;
        f->free = s;
    }
    f->wipe = (struct work_job){.run = wipe_run, .done = wipe_done, .arg = f};
    virtio_add_queue(&f->v, HIPRIO_SIZE);
    for (unsigned i = 0; i < f->n_queues; i++)
        virtio_add_queue(&f->v, QUEUE_SIZE);
    return virtio_init(&f->v, board, &fs_type);
}

static void fs_stats(struct device *dev, FILE *out)
{
    const struct fs *f = (const struct fs *)dev;
    struct fuse_stats st;
    fuse_stats(f->server, &st);
    fprintf(out, "  requests %llu (errors %llu), under way %u, files known %u, open %u, descriptors %u\n",
            (unsigned long long)f->requests, (unsigned long long)st.errors, f->under_way, st.nodes, st.files,
            st.descriptors);
}

static const struct opt_word caches[] = {
    {"auto", FS_CACHE_AUTO, NULL},
    {"none",  FS_CACHE_NONE, NULL},
    {0},
};

static const struct opt fs_options[] = {
    OPT_STRING(struct fs, dir, "dir", 0, "DIR", "the folder", .flags = OPT_NEEDED),
    OPT_STRING(struct fs, tag, "tag", 0, "NAME", "what the guest mounts it by, 36 bytes at most",
               .flags = OPT_NEEDED),
    OPT_FLAG(struct fs, ro, "ro", 0, "the guest cannot write to it"),
    OPT_ENUM(struct fs, cache, "cache", 0, caches,
             "none: the guest asks each time, and sees a change on the host at once",
             .dflt = "auto: it keeps names and attributes for a second"),
    OPT_U32(struct fs, n_queues, "queues", 0, "N", "request queues", .min = 1, .max = QUEUES_MAX, .dflt = "1",
            .flags = OPT_PRESET),
    OPT_END,
};

/* any size up to 4: drivers read the tag by bytes or words */
static const struct reg config_regs[] = {
    {"tag",                      0, .width = 4, .sizes = 7, .count = FS_TAG_BYTES / 4, .flags = REG_RO | REG_KEEP,
     REG_FIELD(struct fs, config.tag)},
    {"num_request_queues",                36, .width = 4, .sizes = 7, .flags = REG_RO | REG_KEEP,
     REG_FIELD(struct fs, config.num_request_queues)},
    {0},
};
static const struct reg_bank config_bank = {.name = "config", .size = 40, .regs = config_regs};
static const struct state_field fs_state[] = {VIRTIO_STATE, {0}};

const struct device_class fs_class = {
    .name = "virtio-fs",
    .help = "a folder of the host (PCI 1af4:105a)",
    .size = sizeof(struct fs),
    .options = fs_options,
    .state = fs_state,
    .init = fs_init,
    .stats = fs_stats,
    VIRTIO_CLASS(&config_bank),
};
