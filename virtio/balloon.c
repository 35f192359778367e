// SPDX-License-Identifier: MIT
/* virtio-balloon: see include/virtio/balloon.h. A list of pages of any length is worked off in turns; between two of them it is
 * back in its queue, as in virtio/console.c, so that nothing is under way. The buffer of the statistics stays in its queue
 * likewise: it is read when it comes, and used to ask for the next. */
#include "virtio/balloon.h"

#include <inttypes.h>
#include <string.h>

#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "mem/ram.h"
#include "mem/watch.h"
#include "virtio/pci.h"

enum {
    QUEUE_SIZE = 128,
    ROOM = QUEUE_SIZE + VIRTQ_SPARE,
    PAGE_SHIFT = 12, /* of the device, whatever the guest's pages are */
    BATCH = 512,     /* page numbers read at a time */
    TURN_PAGES = 4096,
    TURN_REPORTS = 8, /* Linux: 32 pieces of 4 MiB each */

    INFLATE = 0, /* queues, 5.5.2 */
    DEFLATE = 1,
    STATS = 2,
    QUEUES = 5,

    BALLOON_F_STATS_VQ = 1, /* features, 5.5.3 */
    BALLOON_F_DEFLATE_ON_OOM = 2,
    BALLOON_F_REPORTING = 5,

    STAT_SIZE = 10,
    STATS_MOST = 64, /* entries of a buffer */
};
#define STATS_FRESH    UINT64_C(200000000) /* ns */
#define STATS_PATIENCE SECOND

enum {
    DROP_NOT_RAM,
    DROP_PART,
};
static const char *const balloon_drops[] = {
    "pages that are no RAM",
    "pages that the host cannot take back (parts of larger ones, or a file without holes)", NULL};

/* 5.5.6.4, by tag */
static const struct {
    const char *name;
    bool bytes;
} stat_names[] = {
    {"swapped in",              true },
    {"swapped out",             true },
    {"major faults",            false},
    {"minor faults",            false},
    {"free",                    true },
    {"total",                   true },
    {"available",               true },
    {"caches",                  true },
    {"huge pages allocated",    false},
    {"huge pages refused",      false},
    {"killed for memory",       false},
    {"allocations that waited", false},
};
enum {
    STATS_KNOWN = sizeof stat_names / sizeof *stat_names,
};

struct balloon {
    struct virtio_device v; /* first */
    bool noreporting;
    uint32_t num_pages, actual;
    /* page numbers of the list at the head of the queue that are worked off: inflate, deflate */
    uint32_t done[2];
    uint64_t stats[STATS_KNOWN];
    uint32_t stats_there;            /* set of 1 << tag */
    uint64_t stats_at, stats_asked;  /* loop's time; 0: never, not waited for */
    uint64_t freed, reported, lists; /* for stats */
    struct iovec iov[ROOM];
    uint32_t pages[BATCH];
};

static uint64_t now(const struct balloon *b)
{
    return loop_now(b->v.pci.dev.board->loop);
}

/* --- pages */

static uint64_t discard(struct balloon *b, const struct iovec *iov, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t done = ram_discard(iov[i].iov_base, iov[i].iov_len);
        if (done < iov[i].iov_len)
            device_drop(&b->v.pci.dev, DROP_PART);
        sum += done;
    }
    return sum;
}

/* Pages first … last of the guest. */
static void free_run(struct balloon *b, uint32_t first, uint32_t last)
{
    struct iovec iov[4];
    uint64_t gpa = (uint64_t)first << PAGE_SHIFT, len = (uint64_t)(last - first + 1) << PAGE_SHIFT;
    int n = dma_iov(&b->v.pci.dma, gpa, len, true, iov, 4);
    if (n > 0) {
        b->freed += discard(b, iov, (unsigned)n);
        return;
    }
    if (first < last) { /* some of them may be RAM */
        for (uint64_t page = first; page <= last; page++)
            free_run(b, (uint32_t)page, (uint32_t)page);
        return;
    }
    device_drop(&b->v.pci.dev, DROP_NOT_RAM);
    guest_bug("%s: page %u for the balloon is no RAM", b->v.pci.dev.id, first);
}

/* Neighbours go together, rising or falling: Linux hands out both. */
static void free_pages(struct balloon *b, const uint32_t *pages, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        uint32_t low = pages[i], high = low;
        for (i++; i < n; i++) {
            if (high != UINT32_MAX && pages[i] == high + 1)
                high++;
            else if (low && pages[i] == low - 1)
                low--;
            else
                break;
        }
        free_run(b, low, high);
    }
}

/* One list; false: it has to go on in another turn. */
static bool take_list(struct balloon *b, const struct virtq_chain *chain, bool inflate, unsigned *left)
{
    uint32_t n = chain->out_len / (uint32_t)sizeof *b->pages, *done = &b->done[!inflate];
    if (!inflate)
        return true; /* the pages are used again as the guest touches them */
    while (*done < n) {
        unsigned part = n - *done < BATCH ? n - *done : BATCH;
        if (part > *left)
            return false;
        size_t got =
            virtq_copy_out(chain, (size_t)*done * sizeof *b->pages, b->pages, part * sizeof *b->pages);
        free_pages(b, b->pages, (unsigned)(got / sizeof *b->pages));
        *done += part;
        *left -= part;
    }
    return true;
}

static void take_lists(struct balloon *b, struct virtq *q)
{
    struct virtq_chain chain = {.iov = b->iov, .room = ROOM};
    const struct virtq_chain *back = &chain;
    bool inflate = q->index == INFLATE;
    unsigned left = TURN_PAGES;
    while (left && virtq_pop(q, &chain)) {
        if (!take_list(b, &chain, inflate, &left)) {
            virtq_unpop(q, &back, 1);
            break;
        }
        if (chain.out_len % sizeof *b->pages || !chain.out_len)
            guest_bug("%s: a list of pages of %u bytes", b->v.pci.dev.id, chain.out_len);
        b->done[!inflate] = 0;
        b->lists++;
        virtq_push(q, &chain, 0);
    }
    if (virtq_waiting(q) && !q->again) /* else whoever adds more kicks */
        virtio_turn(&b->v, q);
}

static void take_reports(struct balloon *b, struct virtq *q)
{
    struct virtq_chain chain = {.iov = b->iov, .room = ROOM};
    unsigned n = 0;
    while (n++ < TURN_REPORTS && virtq_pop(q, &chain)) {
        b->reported += discard(b, chain.iov + chain.out_n, chain.in_n);
        virtq_push(q, &chain, 0);
    }
    if (n > TURN_REPORTS)
        virtio_turn(&b->v, q);
}

/* --- statistics */

static void read_stats(struct balloon *b, const struct virtq_chain *chain)
{
    b->stats_there = 0;
    for (unsigned i = 0; i < STATS_MOST; i++) {
        uint8_t entry[STAT_SIZE];
        uint16_t tag;
        if (virtq_copy_out(chain, (size_t)i * STAT_SIZE, entry, STAT_SIZE) < STAT_SIZE)
            break;
        memcpy(&tag, entry, sizeof tag);
        if (tag >= STATS_KNOWN)
            continue;
        memcpy(&b->stats[tag], entry + sizeof tag, sizeof b->stats[tag]);
        b->stats_there |= 1u << tag;
    }
    b->stats_at = now(b);
    b->stats_asked = 0;
}

static void take_stats(struct balloon *b, struct virtq *q)
{
    struct virtq_chain chain = {.iov = b->iov, .room = ROOM};
    const struct virtq_chain *back = &chain;
    if (!virtq_pop(q, &chain))
        return;
    read_stats(b, &chain);
    virtq_unpop(q, &back, 1);
}

/* The buffer goes back, and the driver sends another with numbers of now. */
static void ask_for_stats(struct balloon *b)
{
    struct virtq *q = virtio_queue(&b->v, STATS);
    struct virtq_chain chain = {.iov = b->iov, .room = ROOM};
    b->stats_asked = now(b);
    if (!virtio_is_live(&b->v) || !virtio_has(&b->v, BALLOON_F_STATS_VQ) || !virtq_pop(q, &chain))
        return;
    virtq_push(q, &chain, 0);
    virtio_flush(&b->v, q);
    if (virtq_ready(q)) /* else kicks are on */
        virtio_turn(&b->v, q);
}

bool virtio_balloon_stats(struct device *dev, uint64_t *age)
{
    struct balloon *b = (struct balloon *)dev;
    device_enter(dev);
    uint64_t t = now(b);
    bool known = b->stats_at || b->stats_there, fresh = known && t - b->stats_at < STATS_FRESH;
    bool late = b->stats_asked && t - b->stats_asked >= STATS_PATIENCE;
    *age = known ? t - b->stats_at : UINT64_MAX;
    bool told = fresh || late || !virtio_is_live(&b->v);
    if (told)
        b->stats_asked = 0;
    else if (!b->stats_asked)
        ask_for_stats(b);
    lock_drop(&dev->lock);
    return told;
}

void virtio_balloon_print(struct device *dev, FILE *out)
{
    struct balloon *b = (struct balloon *)dev;
    device_enter(dev);
    for (unsigned i = 0; i < STATS_KNOWN; i++)
        if (b->stats_there >> i & 1)
            fprintf(out, "         %-20s %" PRIu64 "%s\n", stat_names[i].name,
                    stat_names[i].bytes ? b->stats[i] >> 10 : b->stats[i], stat_names[i].bytes ? " KiB" : "");
    lock_drop(&dev->lock);
}

/* --- the device */

static void balloon_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct balloon *b = (struct balloon *)v;
    if (q->index <= DEFLATE)
        take_lists(b, q);
    else if (q->index == STATS && virtio_has(v, BALLOON_F_STATS_VQ))
        take_stats(b, q);
    else
        take_reports(b, q);
}

void virtio_balloon_set(struct device *dev, uint64_t bytes)
{
    struct balloon *b = (struct balloon *)dev;
    device_enter(dev);
    b->num_pages = (uint32_t)(bytes >> PAGE_SHIFT);
    virtio_config_changed(&b->v);
    lock_drop(&dev->lock);
}

void virtio_balloon_state(struct device *dev, struct balloon_state *state)
{
    struct balloon *b = (struct balloon *)dev;
    device_enter(dev);
    *state = (struct balloon_state){
        .wanted = (uint64_t)b->num_pages << PAGE_SHIFT,
        .actual = (uint64_t)b->actual << PAGE_SHIFT,
        .freed = b->freed,
        .reported = b->reported,
        .running = virtio_is_live(&b->v),
    };
    lock_drop(&dev->lock);
}

static bool balloon_reset(struct virtio_device *v)
{
    struct balloon *b = (struct balloon *)v;
    b->done[0] = b->done[1] = 0;
    b->actual = 0; /* the driver has taken all back, or its memory is another guest's start */
    b->stats_there = 0;
    b->stats_at = b->stats_asked = 0;
    return true;
}

static const struct virtio_type balloon_type = {
    .id = 5,
    .legacy_id = 0x1002,
    .pci_class = 0x00ff00,
    .queue_ready = balloon_queue_ready,
    .reset = balloon_reset,
};

static const char *balloon_init(struct device *dev, struct board *board)
{
    struct balloon *b = (struct balloon *)dev;
    b->v.offered = 1ull << BALLOON_F_STATS_VQ | 1ull << BALLOON_F_DEFLATE_ON_OOM;
    if (!b->noreporting)
        b->v.offered |= 1ull << BALLOON_F_REPORTING;
    for (unsigned i = 0; i < QUEUES; i++)
        virtio_add_queue(&b->v, QUEUE_SIZE);
    return virtio_init(&b->v, board, &balloon_type);
}

static void balloon_stats(struct device *dev, FILE *out)
{
    const struct balloon *b = (const struct balloon *)dev;
    fprintf(out, "  %" PRIu64 " KiB freed by %" PRIu64 " lists, %" PRIu64 " KiB reported free\n",
            b->freed >> 10, b->lists, b->reported >> 10);
}

/* 5.5.4 */
static const struct reg config_regs[] = {
    {"num_pages",                 0, 4, .sizes = 1 | 2 | 4, .flags = REG_RO | REG_KEEP, REG_FIELD(struct balloon, num_pages)},
    {"actual",                          4, 4, .sizes = 1 | 2 | 4, .writable = UINT32_MAX, REG_FIELD(struct balloon, actual)},
    {0},
};
static const struct reg_bank config_bank = {.name = "config", .size = 16, .regs = config_regs};

static const struct opt balloon_options[] = {
    OPT_FLAG(struct balloon, noreporting, "noreporting", 0, "the guest need not say what memory is free"),
    OPT_END,
};
static const struct state_field balloon_state[] = {VIRTIO_STATE, STATE_ARRAY(struct balloon, done), {0}};

const struct device_class balloon_class = {
    .name = "virtio-balloon",
    .help = "takes memory back from the guest (PCI 1af4:1045)",
    .size = sizeof(struct balloon),
    .options = balloon_options,
    .state = balloon_state,
    .drops = balloon_drops,
    .stats = balloon_stats,
    .single = true,
    .init = balloon_init,
    VIRTIO_CLASS(&config_bank),
};
