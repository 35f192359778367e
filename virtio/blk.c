// SPDX-License-Identifier: MIT
/* virtio-blk: a disk (virtio/disk.h) for the guest, with a queue for each vCPU.
 *
 * A request is a header, data, and a status byte, in whatever pieces: the header is the first 16 bytes that the driver
 * wrote, the status the last byte that it left to us. It takes a slot, which holds its pieces until the disk is done; there are
 * as many slots as entries in the queues, so what is under way is bounded and nothing waits for a slot. Requests
 * complete in any order. Whatever is wrong with a request is answered in its status; one without room for a status is
 * returned with length 0; the queue goes on.
 *
 * A reset with requests under way is answered when they are done: their buffers are the guest's again then.
 *
 * Source: virtio 1.2, 5.2. */
#include "virtio/blk.h"

#include <stdlib.h>
#include <string.h>

#include "kvm/host/log.h"
#include "virtio/disk.h"
#include "virtio/pci.h"

enum {
    SECTOR = 512,
    QUEUE_SIZE = 256, /* a mebibyte in pages is one request */
    ROOM = QUEUE_SIZE + VIRTQ_SPARE,
    QUEUES_MAX = 16, /* more than the loop's one thread can feed */
    SERIAL_BYTES = 20,
    DISCARD_SECTORS = 1 << 22, /* of a request: 2 GiB */
    ZERO_SECTORS = 1 << 18,    /* 128 MiB: they may have to be written */

    BLK_F_SEG_MAX = 2, /* features, 5.2.3 */
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_TOPOLOGY = 10,
    BLK_F_MQ = 12,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,

    BLK_T_IN = 0, /* requests, 5.2.6 */
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,

    BLK_S_OK = 0,
    BLK_S_IOERR = 1,
    BLK_S_UNSUPP = 2,

    ZERO_F_UNMAP = 1,
};

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};
struct blk_segment { /* of discard and write zeroes */
    uint64_t sector;
    uint32_t sectors, flags;
};
_Static_assert(sizeof(struct blk_header) == 16 && sizeof(struct blk_segment) == 16, "virtio 1.2, 5.2.6");

struct blk_config { /* 5.2.4; what is not offered reads as zero */
    uint64_t capacity;
    uint32_t seg_max, blk_size;
    uint8_t physical_block_exp;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
};

struct blk_slot {
    struct disk_req req; /* first */
    struct blk *blk;
    struct virtq *q;
    struct blk_slot *next; /* free */
    uint8_t *status;
    uint32_t data_in; /* bytes before the status */
    struct virtq_chain chain;
    struct blk_pieces *pieces;
};

struct blk_pieces {
    struct iovec ring[ROOM]; /* as the ring has them */
    struct iovec left[ROOM]; /* of the data, for the disk to use up */
};

struct blk {
    struct virtio_device v; /* first */
    const char *file, *serial;
    bool ro, direct, no_uring;
    uint32_t n_queues;
    struct blk_config config;
    struct disk disk;
    struct blk_slot *slots, *free;
    struct blk_pieces *pieces; /* of all slots: 8 KiB each, which no memory stands for until they are used */
    unsigned under_way;
    uint64_t requests[5], refused; /* by enum disk_op; answered without the disk */
};

/* --- ends */

static void give_back(struct blk_slot *s, uint32_t len)
{
    struct blk *b = s->blk;
    virtq_push(s->q, &s->chain, len);
    s->next = b->free;
    b->free = s;
}

static void answer(struct blk_slot *s, uint8_t status, uint32_t data)
{
    *s->status = status;
    dma_written(&(struct iovec){s->status, 1}, 1, 1);
    /* the length counts from the beginning: a status after data that was not written is not in it */
    give_back(s, data == s->data_in ? data + 1 : data);
}

static void refuse(struct blk_slot *s, uint8_t status)
{
    s->blk->refused++;
    answer(s, status, 0);
}

static void blk_done(struct disk_req *req, int result)
{
    struct blk_slot *s = (struct blk_slot *)req;
    struct blk *b = s->blk;
    b->under_way--;
    answer(s, result < 0 ? BLK_S_IOERR : BLK_S_OK, result < 0 ? 0 : s->data_in);
    if (b->v.resetting && !b->under_way)
        virtio_reset_done(&b->v);
}

static void blk_enter(void *ctx)
{
    device_enter(ctx);
}

static void blk_leave(void *ctx)
{
    struct blk *b = ctx;
    for (unsigned i = 0; i < b->v.n_queues; i++)
        virtio_flush(&b->v, virtio_queue(&b->v, i));
    lock_drop(&b->v.pci.dev.lock);
}

/* --- requests */

static void to_disk(struct blk_slot *s, enum disk_op op, uint64_t sector, uint64_t len)
{
    struct blk *b = s->blk;
    s->req.op = op;
    s->req.offset = sector * SECTOR;
    s->req.len = len;
    s->req.done = blk_done;
    s->req.through = !virtio_has(&b->v, BLK_F_FLUSH); /* 5.2.6.2: then nothing may be only cached */
    b->under_way++;
    b->requests[op]++;
    disk_start(&b->disk, &s->req);
}

static bool in_disk(const struct blk *b, uint64_t sector, uint64_t sectors)
{
    return sectors <= b->config.capacity && sector <= b->config.capacity - sectors;
}

/* Bytes of data as pieces for the disk. */
static void set_data(struct blk_slot *s, const struct iovec *iov, unsigned n, size_t skip, size_t len)
{
    memcpy(s->pieces->left, iov, n * sizeof *iov);
    s->req.iov = s->pieces->left;
    s->req.n_iov = (uint16_t)n;
    virtq_skip(&s->req.iov, &s->req.n_iov, skip);
    size_t sum = 0;
    for (unsigned i = 0; i < s->req.n_iov; i++) {
        if (s->req.iov[i].iov_len >= len - sum) {
            s->req.iov[i].iov_len = len - sum;
            s->req.n_iov = (uint16_t)(len > sum ? i + 1 : i);
            return;
        }
        sum += s->req.iov[i].iov_len;
    }
}

static void read_or_write(struct blk_slot *s, uint32_t type, uint64_t sector)
{
    struct blk *b = s->blk;
    const struct virtq_chain *c = &s->chain;
    bool in = type == BLK_T_IN;
    uint32_t len = in ? s->data_in : c->out_len - (uint32_t)sizeof(struct blk_header);
    if (len % SECTOR || !in_disk(b, sector, len / SECTOR) || (!in && b->ro)) {
        guest_bug("%s: %s of %u bytes at sector %llu: %s", b->v.pci.dev.id, in ? "read" : "write", len,
                  (unsigned long long)sector,
                  len % SECTOR   ? "no whole sectors"
                  : !in && b->ro ? "the disk is read-only"
                                 : "past the end of the disk");
        refuse(s, BLK_S_IOERR);
        return;
    }
    if (!len) {
        answer(s, BLK_S_OK, 0);
        return;
    }
    if (in)
        set_data(s, c->iov + c->out_n, c->in_n, 0, len);
    else
        set_data(s, c->iov, c->out_n, sizeof(struct blk_header), len);
    to_disk(s, in ? DISK_READ : DISK_WRITE, sector, len);
}

static void discard_or_zero(struct blk_slot *s, uint32_t type)
{
    struct blk *b = s->blk;
    struct blk_segment seg;
    bool zero = type == BLK_T_WRITE_ZEROES;
    if (b->ro) {
        refuse(s, BLK_S_IOERR);
        return;
    }
    if (s->chain.out_len !=
        sizeof(struct blk_header) + sizeof seg) { /* one segment, as the configuration says */
        refuse(s, BLK_S_UNSUPP);
        return;
    }
    virtq_copy_out(&s->chain, sizeof(struct blk_header), &seg, sizeof seg);
    if (seg.flags & ~(zero ? (uint32_t)ZERO_F_UNMAP : 0)) {
        refuse(s, BLK_S_UNSUPP);
        return;
    }
    if (seg.sectors > (zero ? ZERO_SECTORS : DISCARD_SECTORS) || !in_disk(b, seg.sector, seg.sectors)) {
        guest_bug("%s: %s of %u sectors at sector %llu: past the end of the disk, or too many",
                  b->v.pci.dev.id, zero ? "write zeroes" : "discard", seg.sectors,
                  (unsigned long long)seg.sector);
        refuse(s, BLK_S_IOERR);
        return;
    }
    s->req.unmap = seg.flags & ZERO_F_UNMAP;
    s->req.n_iov = 0;
    if (seg.sectors)
        to_disk(s, zero ? DISK_ZERO : DISK_DISCARD, seg.sector, (uint64_t)seg.sectors * SECTOR);
    else
        answer(s, BLK_S_OK, 0);
}

static void get_id(struct blk_slot *s)
{
    char id[SERIAL_BYTES] = {0};
    memcpy(id, s->blk->serial, strnlen(s->blk->serial, sizeof id));
    uint32_t n = s->data_in < sizeof id ? s->data_in : (uint32_t)sizeof id;
    virtq_copy_in(&s->chain, 0, id, n);
    answer(s, BLK_S_OK, n);
}

static void serve(struct blk_slot *s)
{
    struct virtq_chain *c = &s->chain;
    struct blk_header h;
    if (!c->in_len || virtq_copy_out(c, 0, &h, sizeof h) < sizeof h) {
        guest_bug("%s: a request %s", s->blk->v.pci.dev.id,
                  c->in_len ? "whose header is short" : "without room for its status");
        s->blk->refused++;
        if (!c->in_len) {
            give_back(s, 0);
            return;
        }
    }
    const struct iovec *last = &c->iov[c->out_n + c->in_n - 1];
    s->status = (uint8_t *)last->iov_base + last->iov_len - 1;
    s->data_in = c->in_len - 1;
    if (c->out_len < sizeof h) {
        answer(s, BLK_S_IOERR, 0);
        return;
    }
    switch (h.type) {
    case BLK_T_IN:
    case BLK_T_OUT:
        read_or_write(s, h.type, h.sector);
        break;
    case BLK_T_FLUSH:
        s->req.n_iov = 0;
        to_disk(s, DISK_FLUSH, 0, 0);
        break;
    case BLK_T_GET_ID:
        get_id(s);
        break;
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        if (virtio_has(&s->blk->v, h.type == BLK_T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES) ||
            s->blk->ro) {
            discard_or_zero(s, h.type);
            break;
        }
        refuse(s, BLK_S_UNSUPP);
        break;
    default:
        refuse(s, BLK_S_UNSUPP);
    }
}

static void blk_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct blk *b = (struct blk *)v;
    struct blk_slot *s;
    while ((s = b->free)) {
        s->chain.iov = s->pieces->ring;
        s->chain.room = ROOM;
        if (!virtq_pop(q, &s->chain))
            break;
        b->free = s->next;
        s->q = q;
        serve(s);
    }
    disk_submit(&b->disk);
}

static bool blk_reset(struct virtio_device *v)
{
    return !((struct blk *)v)->under_way;
}

/* --- the device */

static void blk_fini(struct virtio_device *v)
{
    struct blk *b = (struct blk *)v;
    disk_close(&b->disk);
    free(b->pieces);
    free(b->slots);
}

static const struct virtio_type blk_type = {
    .id = 2,
    .legacy_id = 0x1001,
    .pci_class = 0x010000,
    .queue_ready = blk_queue_ready,
    .reset = blk_reset,
    .fini = blk_fini,
    .features = 1ull << BLK_F_SEG_MAX | 1ull << BLK_F_BLK_SIZE | 1ull << BLK_F_FLUSH | 1ull << BLK_F_TOPOLOGY,
};

#define C(width_, member_)                                                                                   \
    .width = width_, .sizes = 2 * (width_)-1, .flags = REG_RO | REG_KEEP,                                    \
    REG_FIELD(struct blk, config.member_)
static const struct reg config_regs[] = {
    {"capacity",           0, C(8, capacity)},
    {"seg_max",                 12, C(4, seg_max)},
    {"blk_size",                    20, C(4, blk_size)},
    {"physical_block_exp",  24, C(1, physical_block_exp)},
    {"alignment_offset",            25, 1, .flags = REG_RO}, /* a disk begins where its blocks do */
    {"min_io_size",           26, C(2, min_io_size)},
    {"opt_io_size",                 28, C(4, opt_io_size)},
    {"num_queues",                    34, C(2, num_queues)},
    {"max_discard_sectors",                 36, C(4, max_discard_sectors)},
    {"max_discard_seg", 40, C(4, max_discard_seg)},
    {"discard_sector_alignment",   44, C(4, discard_sector_alignment)},
    {"max_write_zeroes_sectors",                   48, C(4, max_write_zeroes_sectors)},
    {"max_write_zeroes_seg",                    52, C(4, max_write_zeroes_seg)},
    {"write_zeroes_may_unmap",        56, C(1, write_zeroes_may_unmap)},
    {0       },
};
static const struct reg_bank config_bank = {.name = "config", .size = 60, .regs = config_regs};

static void set_config(struct blk *b)
{
    unsigned per_block = b->disk.physical / SECTOR;
    b->config = (struct blk_config){
        .capacity = b->disk.size / SECTOR,
        .seg_max = QUEUE_SIZE - 2,
        .blk_size = SECTOR,
        .physical_block_exp = (uint8_t)__builtin_ctz(per_block),
        .min_io_size = (uint16_t)per_block,
        .num_queues = (uint16_t)b->n_queues,
    };
    if (b->n_queues > 1)
        b->v.offered |= 1ull << BLK_F_MQ;
    if (b->ro) {
        b->v.offered |= 1ull << BLK_F_RO;
        return;
    }
    b->v.offered |= 1ull << BLK_F_DISCARD | 1ull << BLK_F_WRITE_ZEROES;
    b->config.max_discard_sectors = DISCARD_SECTORS;
    b->config.max_discard_seg = 1;
    b->config.discard_sector_alignment = per_block;
    b->config.max_write_zeroes_sectors = ZERO_SECTORS;
    b->config.max_write_zeroes_seg = 1;
    b->config.write_zeroes_may_unmap = 1;
}

static const char *blk_init(struct device *dev, struct board *board)
{
    struct blk *b = (struct blk *)dev;
    if (!b->n_queues)
        b->n_queues = board->cpus ? board->cpus : 1;
    if (b->n_queues > QUEUES_MAX)
        b->n_queues = QUEUES_MAX;
    if (!b->serial)
        b->serial = dev->id;
    unsigned n = b->n_queues * QUEUE_SIZE;
    struct disk_config config = {
        .path = b->file,
        .name = dev->id,
        .ro = b->ro,
        .direct = b->direct,
        .no_uring = b->no_uring,
        .requests = n,
        .loop = board->loop,
        .work = board->work,
        .enter = blk_enter,
        .leave = blk_leave,
        .ctx = b,
    };
    const char *error = disk_open(&b->disk, &config, dev->error, sizeof dev->error);
    if (error)
        return error;
    b->slots = calloc(n, sizeof *b->slots);
    b->pieces = calloc(n, sizeof *b->pieces);
    if (!b->slots || !b->pieces)
        return "out of memory";
    for (unsigned i = n; i-- > 0;) {
        b->slots[i].blk = b;
        b->slots[i].pieces = &b->pieces[i];
        b->slots[i].next = b->free;
        b->free = &b->slots[i];
    }
    set_config(b);
    for (unsigned i = 0; i < b->n_queues; i++)
        virtio_add_queue(&b->v, QUEUE_SIZE);
    return virtio_init(&b->v, board, &blk_type);
}

static const struct opt blk_options[] = {
    OPT_STRING(struct blk, file, "file", 0, "FILE", "a raw file or a block device", .flags = OPT_NEEDED),
    OPT_FLAG(struct blk, ro, "ro", 0, "the guest cannot write to it"),
    OPT_FLAG(struct blk, direct, "direct", 0, "past the host's page cache (O_DIRECT)"),
    OPT_STRING(struct blk, serial, "serial", 0, "TEXT", "what the guest sees as its serial number, 20 bytes",
               .dflt = "the device's id"),
    OPT_U32(struct blk, n_queues, "queues", 0, "N", "request queues", .min = 1, .max = QUEUES_MAX,
            .dflt = "one a vCPU, 16 at most"),
    OPT_FLAG(struct blk, no_uring, "threads", 0, "blocking calls in threads instead of io_uring"),
    OPT_END,
};
static const struct state_field blk_state[] = {VIRTIO_STATE, {0}};

const struct device_class blk_class = {
    .name = "virtio-blk",
    .help = "a disk from a raw file or a block device (PCI 1af4:1042)",
    .size = sizeof(struct blk),
    .options = blk_options,
    .state = blk_state,
    .init = blk_init,
    VIRTIO_CLASS(&config_bank),
};
