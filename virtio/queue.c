// SPDX-License-Identifier: MIT
/* Split virtqueues: see include/virtio/queue.h.
 *
 * Theory: the rings are looked up once for each change of the memory map, by its generation, asked for at the start of a
 * batch. Within a batch a stale place may be read or written: it is still the guest's own RAM, as with DMA that was under way
 * in a machine of metal. The ordering is that of 2.7.13: the index of a ring is read with acquire and written
 * with release; a full fence stands between publishing an index and reading what the driver says about suppression, and
 * between allowing kicks and looking at the index again. */
#include "virtio/queue.h"

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
    RING_HEADER = 4, /* flags, idx */
    EVENT = 2,       /* used_event or avail_event at the end */
};

/* --- guest memory: each value in one piece, read and written once */

static inline uint16_t load16(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline struct virtq_desc load_desc(const struct virtq_desc *p)
{
    const uint64_t *half = (const uint64_t *)(const void *)p;
    uint64_t low = __atomic_load_n(&half[0], __ATOMIC_RELAXED);
    uint64_t high = __atomic_load_n(&half[1], __ATOMIC_RELAXED);
    return (struct virtq_desc){low, (uint32_t)high, (uint16_t)(high >> 32), (uint16_t)(high >> 48)};
}

static inline uint16_t *used_flags(const struct virtq *q)
{
    return q->used_ring.iov_base;
}

static inline uint16_t *avail_event(const struct virtq *q)
{
    return (uint16_t *)((char *)q->used_ring.iov_base + RING_HEADER +
                        sizeof(struct virtq_used_elem) * q->size);
}

/* --- set-up */

void virtq_init(struct virtq *q, unsigned index, unsigned max, struct space *dma, void *owner,
                void (*broke)(struct virtq *q, const char *why))
{
    assert(max && max <= VIRTQ_MAX && !(max & (max - 1)));
    *q = (struct virtq){.index = (uint16_t)index,
                        .max = (uint16_t)max,
                        .dma = dma,
                        .owner = owner,
                        .broke = broke,
                        .budget = UINT32_MAX};
    virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
    q->desc = q->avail = q->used = 0;
    q->size = q->max;
    q->enabled = q->broken = 0;
    q->vector = 0xffff;
    q->last_avail = q->used_idx = q->avail_idx = q->used_next = q->signalled = q->inflight = 0;
    q->event_idx = q->indirect = q->mapped = q->quiet = q->again = false;
    memset(q->busy, 0, sizeof q->busy);
}

static size_t desc_size(const struct virtq *q)
{
    return sizeof(struct virtq_desc) * q->size;
}

static size_t avail_size(const struct virtq *q)
{
    return RING_HEADER + sizeof(uint16_t) * q->size + (q->event_idx ? EVENT : 0);
}

static size_t used_size(const struct virtq *q)
{
    return RING_HEADER + sizeof(struct virtq_used_elem) * q->size + (q->event_idx ? EVENT : 0);
}

static bool overlap(uint64_t a, size_t a_size, uint64_t b, size_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

const char *virtq_enable(struct virtq *q)
{
    if (!q->size || q->size & (q->size - 1) || q->size > q->max)
        return "its size is not a power of two up to the largest";
    if (q->desc % VIRTQ_DESC_ALIGN || q->avail % VIRTQ_AVAIL_ALIGN || q->used % VIRTQ_USED_ALIGN)
        return "a ring is not aligned";
    if (desc_size(q) - 1 > UINT64_MAX - q->desc || avail_size(q) - 1 > UINT64_MAX - q->avail ||
        used_size(q) - 1 > UINT64_MAX - q->used)
        return "a ring runs past the end of the address space";
    if (overlap(q->desc, desc_size(q), q->used, used_size(q)) ||
        overlap(q->desc, desc_size(q), q->avail, avail_size(q)) ||
        overlap(q->avail, avail_size(q), q->used, used_size(q)))
        return "its rings lie over each other (or were never given)";
    q->enabled = 1;
    return NULL;
}

void virtq_break(struct virtq *q, const char *why)
{
    if (q->broken)
        return;
    q->broken = 1;
    q->broke(q, why);
}

/* --- where the rings are */

static bool one(struct virtq *q, uint64_t gpa, size_t size, bool write, struct iovec *iov)
{
    return dma_iov(q->dma, gpa, size, write, iov, 1) == 1;
}

static __attribute__((noinline)) bool map(struct virtq *q, uint64_t generation)
{
    struct iovec desc, avail;
    q->mapped = one(q, q->desc, desc_size(q), false, &desc) &&
                one(q, q->avail, avail_size(q), false, &avail) &&
                one(q, q->used, used_size(q), true, &q->used_ring);
    q->generation = generation;
    if (q->mapped) {
        q->desc_ring = desc.iov_base;
        q->avail_ring = avail.iov_base;
    } else if (generation != DMA_NOTHING) { /* with bus mastering off it is no fault of the rings */
        virtq_break(q, "its rings are not in RAM");
    }
    return q->mapped;
}

static inline bool reach(struct virtq *q)
{
    uint64_t generation = dma_generation(q->dma);
    return likely(q->mapped && q->generation == generation) || map(q, generation);
}

/* --- what the driver made available */

static void used_ring_written(struct virtq *q)
{
    dma_written(&q->used_ring, 1, q->used_ring.iov_len);
}

/* No kicks, while there is work anyway. The event index needs nothing: the index named there has gone by. */
static inline void hush(struct virtq *q)
{
    if (q->event_idx || q->quiet)
        return;
    q->quiet = true;
    store16(used_flags(q), VIRTQ_USED_F_NO_NOTIFY);
}

/* A kick, please, when entry `index` is there. */
static void listen(struct virtq *q, uint16_t index)
{
    if (q->event_idx) {
        store16(avail_event(q), index);
    } else {
        q->quiet = false;
        store16(used_flags(q), 0);
    }
    used_ring_written(q);
    atomic_thread_fence(memory_order_seq_cst); /* the driver: index, fence, then our flags or event */
}

static bool read_avail_idx(struct virtq *q)
{
    q->avail_idx = __atomic_load_n(&q->avail_ring[1], __ATOMIC_ACQUIRE);
    if (unlikely((uint16_t)(q->avail_idx - q->last_avail) > q->size)) {
        virtq_break(q, "the available index is further ahead than the queue is long");
        return false;
    }
    return true;
}

bool virtq_ready(struct virtq *q)
{
    if (unlikely(!q->enabled || q->broken))
        return false;
    if (!reach(q))
        return false;
    if (q->avail_idx != q->last_avail)
        return true;
    if (!read_avail_idx(q))
        return false;
    if (q->avail_idx == q->last_avail) {
        listen(q, q->last_avail);
        if (!read_avail_idx(q) || q->avail_idx == q->last_avail)
            return false;
    }
    hush(q);
    return true;
}

bool virtq_more(struct virtq *q)
{
    if (!q->enabled || q->broken || !reach(q))
        return false;
    uint16_t seen = q->avail_idx;
    listen(q, seen);
    return read_avail_idx(q) && q->avail_idx != seen;
}

unsigned virtq_waiting(struct virtq *q)
{
    if (!q->enabled || q->broken || !reach(q) || !read_avail_idx(q))
        return 0;
    return (uint16_t)(q->avail_idx - q->last_avail);
}

/* --- chains */

static bool head_is_busy(const struct virtq *q, unsigned head)
{
    return q->busy[head / 64] >> head % 64 & 1;
}

static void head_flip(struct virtq *q, unsigned head)
{
    q->busy[head / 64] ^= 1ull << head % 64;
}

/* A list of descriptors: the queue's own, or an indirect one. */
struct table {
    const struct virtq_desc *host; /* NULL: in several pieces of RAM */
    uint64_t gpa;
    uint32_t n, most;
    bool indirect;
};

static const char *enter_table(struct virtq *q, struct table *t, const struct virtq_desc *d)
{
    struct iovec iov;
    if (t->indirect)
        return "an indirect table points to another";
    if (!q->indirect)
        return "an indirect table that was not negotiated";
    if (d->flags & VIRTQ_DESC_F_NEXT)
        return "an indirect table with a next descriptor";
    if (!d->len || d->len % sizeof *d)
        return "an indirect table whose length is not that of descriptors";
    *t = (struct table){.gpa = d->addr, .n = d->len / sizeof *d, .most = q->max, .indirect = true};
    int n = dma_iov(q->dma, d->addr, d->len, false, &iov, 1);
    if (n == 1 && (uintptr_t)iov.iov_base % _Alignof(struct virtq_desc) == 0)
        t->host = iov.iov_base;
    return NULL;
}

static inline const char *read_desc(struct virtq *q, const struct table *t, unsigned i, struct virtq_desc *d)
{
    if (likely(t->host != NULL)) {
        *d = load_desc(&t->host[i]);
        return NULL;
    }
    uint64_t at = (uint64_t)i * sizeof *d;
    if (at > UINT64_MAX - t->gpa || !dma_read(q->dma, t->gpa + at, d, sizeof *d))
        return "an indirect table is not in RAM";
    return NULL;
}

static inline const char *add_piece(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *d)
{
    bool in = d->flags & VIRTQ_DESC_F_WRITE;
    if (!d->len)
        return NULL;
    if (unlikely(!in && c->in_n))
        return "a readable descriptor after a writable one";
    if (unlikely(d->len > UINT32_MAX - c->out_len - c->in_len))
        return "a chain of 4 GiB or more";
    unsigned at = c->out_n + c->in_n;
    int n = dma_iov(q->dma, d->addr, d->len, in, c->iov + at, c->room - (int)at);
    if (unlikely(n < 0))
        return at >= c->room ? "a chain in too many pieces" : "a buffer is not in RAM";
    *(in ? &c->in_n : &c->out_n) += (uint16_t)n;
    *(in ? &c->in_len : &c->out_len) += d->len;
    return NULL;
}

static const char *walk(struct virtq *q, struct virtq_chain *c)
{
    struct table t = {.host = q->desc_ring, .n = q->size, .most = q->size};
    unsigned i = c->head;
    const char *why;
    for (unsigned n = 0;; n++) { /* of this table */
        struct virtq_desc d;
        if (unlikely(i >= t.n))
            return "a descriptor's next is beyond the table";
        if (unlikely(n >= t.most))
            return "a chain is longer than the queue";
        if (unlikely((why = read_desc(q, &t, i, &d))))
            return why;
        if (d.flags & VIRTQ_DESC_F_INDIRECT) {
            if ((why = enter_table(q, &t, &d)))
                return why;
            i = 0;
            n = UINT_MAX; /* the descriptor that points to the table is none of its entries */
            continue;
        }
        if (unlikely((why = add_piece(q, c, &d))))
            return why;
        if (!(d.flags & VIRTQ_DESC_F_NEXT))
            return NULL;
        i = d.next;
    }
}

bool virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
    if (!virtq_ready(q))
        return false;
    if (!q->budget) {
        q->again = true;
        return false;
    }
    unsigned head = load16(&q->avail_ring[RING_HEADER / 2 + (q->last_avail & (q->size - 1))]);
    const char *why = NULL;
    if (unlikely(head >= q->size))
        why = "an available head is beyond the queue";
    else if (unlikely(head_is_busy(q, head)))
        why = "a descriptor is made available twice";
    chain->head = (uint16_t)head;
    chain->out_n = chain->in_n = 0;
    chain->out_len = chain->in_len = 0;
    if (unlikely(why || (why = walk(q, chain)))) {
        if (dma_generation(q->dma) != DMA_NOTHING) /* else it was cut off in the middle of it */
            virtq_break(q, why);
        return false;
    }
    head_flip(q, head);
    q->last_avail++;
    q->inflight++;
    q->budget -= q->budget != UINT32_MAX;
    return true;
}

void virtq_unpop(struct virtq *q, const struct virtq_chain *const *chains, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        head_flip(q, chains[i]->head);
    q->last_avail -= (uint16_t)n;
    q->inflight -= (uint16_t)n;
}

/* --- what was used */

void virtq_push(struct virtq *q, const struct virtq_chain *chain, uint32_t len)
{
    if (!q->enabled || !head_is_busy(q, chain->head))
        return;
    head_flip(q, chain->head);
    q->inflight--;
    if (len > chain->in_len)
        len = chain->in_len;
    if (len)
        dma_written(chain->iov + chain->out_n, chain->in_n, len);
    if (q->used_next == q->used_idx && unlikely(!reach(q)))
        return;
    if (unlikely(!q->mapped))
        return;
    struct virtq_used_elem *ring = (struct virtq_used_elem *)(used_flags(q) + RING_HEADER / 2);
    ring[q->used_next++ & (q->size - 1)] = (struct virtq_used_elem){chain->head, len};
}

/* The driver: its event or flags, fence, then our index. */
static bool show(struct virtq *q)
{
    if (q->used_next == q->used_idx || !q->mapped)
        return false;
    q->used_idx = q->used_next;
    __atomic_store_n(used_flags(q) + 1, q->used_idx, __ATOMIC_RELEASE);
    used_ring_written(q);
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

/* How many of the shown ones, the last ones of them, the driver wants an interrupt for. */
static unsigned wanted(const struct virtq *q)
{
    uint16_t unsignalled = (uint16_t)(q->used_idx - q->signalled);
    if (q->event_idx) {
        uint16_t event = load16(&q->avail_ring[RING_HEADER / 2 + q->size]);
        uint16_t from_event = (uint16_t)(q->used_idx - event);
        return (uint16_t)(from_event - 1) < unsignalled ? from_event : 0;
    }
    return load16(&q->avail_ring[0]) & VIRTQ_AVAIL_F_NO_INTERRUPT ? 0 : unsignalled;
}

static bool decide(struct virtq *q)
{
    bool interrupt = wanted(q);
    q->signalled = q->used_idx;
    q->interrupts += interrupt;
    return interrupt;
}

bool virtq_publish(struct virtq *q)
{
    return show(q) && decide(q);
}

unsigned virtq_show(struct virtq *q)
{
    if (!show(q))
        return 0;
    unsigned n = wanted(q);
    q->signalled = (uint16_t)(q->used_idx -
                              n); /* the rest is decided: the window never grows round the ring's numbers */
    return n;
}

bool virtq_signal(struct virtq *q)
{
    return q->enabled && q->signalled != q->used_idx && reach(q) && decide(q);
}

/* --- bytes */

static size_t copy(const struct iovec *iov, unsigned n, size_t skip, void *buf, size_t len, bool to_guest)
{
    size_t done = 0;
    for (unsigned i = 0; i < n && done < len; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - skip;
        if (part > len - done)
            part = len - done;
        if (to_guest)
            memcpy((char *)iov[i].iov_base + skip, (char *)buf + done, part);
        else
            memcpy((char *)buf + done, (char *)iov[i].iov_base + skip, part);
        done += part;
        skip = 0;
    }
    return done;
}

size_t virtq_copy_out(const struct virtq_chain *chain, size_t skip, void *buf, size_t len)
{
    return copy(chain->iov, chain->out_n, skip, buf, len, false);
}

size_t virtq_copy_in(const struct virtq_chain *chain, size_t skip, const void *buf, size_t len)
{
    return copy(chain->iov + chain->out_n, chain->in_n, skip, (void *)(uintptr_t)buf, len, true);
}

size_t virtq_skip(struct iovec **iov, uint16_t *n_iov, size_t n)
{
    size_t done = 0;
    while (*n_iov && n - done >= (*iov)->iov_len) {
        done += (*iov)->iov_len;
        (*iov)++;
        (*n_iov)--;
    }
    if (*n_iov && done < n) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + (n - done);
        (*iov)->iov_len -= n - done;
        done = n;
    }
    return done;
}
