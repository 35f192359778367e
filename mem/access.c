// SPDX-License-Identifier: MIT
/* Accesses: see include/mem/access.h.
 *
 * Theory: the way of a register write is lookup, lock, op. The lookup is a per-thread copy of the range that was hit
 * last in the space, valid while the published view has the generation it was copied from; else a binary search. What
 * is used after the epoch is left is a copy: regions and RAM outlive every view. */
#include "mem/access.h"

#include "kvm/host/lock.h"
#include "mem/ram.h"
#include "mem/watch.h"

#include <string.h>
#include <unistd.h>

enum {
    CACHE_SLOTS = 4, /* spaces that hit each other's slot only lose time */
};

struct hit {
    uint64_t generation;
    struct range range;
};
static _Thread_local struct hit cache[CACHE_SLOTS];

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* In the epoch: fills the cache entry, or returns NULL. */
static __attribute__((noinline)) const struct range *search(const struct view *v, struct hit *h,
                                                            uint64_t addr)
{
    const struct range *r = view_find(v, addr);
    if (!r)
        return NULL;
    h->generation = v->generation;
    h->range = *r;
    return &h->range;
}

/* The result is this thread's; the next find() may overwrite it. */
static inline const struct range *find(const struct space *s, uint64_t addr)
{
    epoch_enter();
    /* seq_cst: see epoch_enter() */
    const struct view *v = atomic_load_explicit(&s->view, memory_order_seq_cst);
    struct hit *h = &cache[v->slot % CACHE_SLOTS];
    const struct range *r = &h->range;
    if (unlikely(h->generation != v->generation || addr - r->first > r->last - r->first))
        r = search(v, h, addr);
    epoch_leave();
    return r;
}

/* --- bytes */

typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;

/* Guest memory may be written by a vCPU at the same time, or by another device: races that belong to the guest, so the
 * thread sanitizer does not look here. Sizes of registers and indices go in one piece: nobody sees half a value. */
#if defined(__SANITIZE_THREAD__)
#define RACES_ARE_THE_GUESTS __attribute__((no_sanitize("thread"), noinline))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACES_ARE_THE_GUESTS __attribute__((no_sanitize("thread"), noinline))
#endif
#endif

#ifdef RACES_ARE_THE_GUESTS
RACES_ARE_THE_GUESTS static void copy(void *to, const void *from, size_t len)
{
    for (size_t i = 0; i < len; i++) /* memcpy() itself is watched */
        ((volatile uint8_t *)to)[i] = ((const volatile uint8_t *)from)[i];
}
#else
#define RACES_ARE_THE_GUESTS inline
#define copy                 memcpy
#endif

RACES_ARE_THE_GUESTS static void move(void *to, const void *from, size_t len)
{
    switch (len) {
    case 1:
        *(volatile uint8_t *)to = *(const volatile uint8_t *)from;
        break;
    case 2:
        *(volatile any16 *)to = *(const volatile any16 *)from;
        break;
    case 4:
        *(volatile any32 *)to = *(const volatile any32 *)from;
        break;
    case 8:
        *(volatile any64 *)to = *(const volatile any64 *)from;
        break;
    default:
        copy(to, from, len);
    }
}

static inline bool load(const void *data, unsigned len, uint64_t *value)
{
    switch (len) {
    case 1:
        *value = *(const uint8_t *)data;
        return true;
    case 2:
        *value = *(const any16 *)data;
        return true;
    case 4:
        *value = *(const any32 *)data;
        return true;
    case 8:
        *value = *(const any64 *)data;
        return true;
    default:
        return false;
    }
}

static inline bool register_size(unsigned len)
{
    return len == 1 || len == 2 || len == 4 || len == 8;
}

static __attribute__((noinline)) bool refuse(struct region *r)
{
    atomic_fetch_add_explicit(&r->refused, 1, memory_order_relaxed);
    return false;
}

static bool refuse_read(struct region *r, void *data, unsigned len)
{
    memset(data, 0xff, len);
    return refuse(r);
}

/* --- I/O regions */

static inline void region_lock(const struct region *r)
{
    if (likely(r->lock != NULL))
        lock_take(r->lock);
}

static inline void region_unlock(const struct region *r)
{
    if (likely(r->lock != NULL))
        lock_drop(r->lock);
}

/* Bytes of a wide access to byte-wide ports, under one hold of the lock. */
static __attribute__((noinline)) bool split_write(struct region *r, uint64_t offset, unsigned len,
                                                  const uint8_t *data)
{
    region_lock(r);
    for (unsigned i = 0; i < len && i <= region_last(r) - offset; i++)
        r->ops->write(r->opaque, offset + i, data[i], 1);
    region_unlock(r);
    return true;
}

static __attribute__((noinline)) bool split_read(struct region *r, uint64_t offset, unsigned len,
                                                 uint8_t *data)
{
    memset(data, 0xff, len);
    region_lock(r);
    for (unsigned i = 0; i < len && i <= region_last(r) - offset; i++)
        data[i] = (uint8_t)r->ops->read(r->opaque, offset + i, 1);
    region_unlock(r);
    return true;
}

static inline bool io_write(struct region *r, uint64_t offset, unsigned len, const void *data)
{
    const struct region_ops *ops = r->ops;
    uint64_t value;
    if (unlikely(!load(data, len, &value)))
        return refuse(r);
    if (unlikely(!ops->write))
        return true;
    if (unlikely(!(ops->sizes & len)))
        return ops->flags & REGION_SPLIT ? split_write(r, offset, len, data) : refuse(r);
    region_lock(r);
    ops->write(r->opaque, offset, value, len);
    region_unlock(r);
    return true;
}

static inline bool io_read(struct region *r, uint64_t offset, unsigned len, void *data)
{
    const struct region_ops *ops = r->ops;
    if (unlikely(!register_size(len)))
        return refuse_read(r, data, len);
    if (unlikely(!ops->read)) {
        memset(data, 0xff, len);
        return true;
    }
    if (unlikely(!(ops->sizes & len)))
        return ops->flags & REGION_SPLIT ? split_read(r, offset, len, data) : refuse_read(r, data, len);
    region_lock(r);
    uint64_t value = ops->read(r->opaque, offset, len);
    region_unlock(r);
    move(data, &value, len); /* little endian, like the guest */
    return true;
}

/* Signals the ioeventfd that this write matches. Inside the epoch, which makes region_ioeventfd_remove() wait for us
 * before its caller closes the fd; a write to an eventfd that is not full does not block, and a full one has been
 * signalled. */
static __attribute__((noinline)) bool signal_eventfd(const struct space *s, uint64_t addr, unsigned len,
                                                     const void *data)
{
    uint64_t value = 0, one = 1;
    bool known = load(data, len, &value), signalled = false;
    epoch_enter();
    const struct view *v = atomic_load_explicit(&s->view, memory_order_seq_cst);
    uint32_t lo = 0, hi = v->n_eventfds;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->eventfds[mid].addr < addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < v->n_eventfds && v->eventfds[lo].addr == addr; lo++) {
        const struct region_eventfd *e = &v->eventfds[lo].e;
        if (e->size != 0 && (e->size != len || !known))
            continue;
        if (e->match && e->value != value)
            continue;
        if (write(e->fd, &one, sizeof one) < 0) {
            /* EAGAIN: full, so it is signalled already */
        }
        signalled = true;
    }
    epoch_leave();
    return signalled;
}

/* --- RAM */

static __attribute__((noinline)) bool memory_write(struct region *r, uint64_t offset, unsigned len,
                                                   const void *data)
{
    uint64_t room = r->size - offset;
    size_t n = len < room ? len : room;
    move(r->host + offset, data, n);
    ram_dirty(r->ram, r->ram_offset + offset, n);
    return true;
}

static __attribute__((noinline)) bool memory_read(struct region *r, uint64_t offset, unsigned len, void *data)
{
    uint64_t room = r->size - offset;
    size_t n = len < room ? len : room;
    move(data, r->host + offset, n);
    memset((char *)data + n, 0xff, len - n);
    return true;
}

/* --- the vCPU's side */

bool space_write(struct space *s, uint64_t addr, unsigned len, const void *data)
{
    const struct range *h = find(s, addr);
    if (unlikely(!h)) {
        atomic_fetch_add_explicit(&s->nowhere, 1, memory_order_relaxed);
        return false;
    }
    struct region *r = h->region;
    uint64_t offset = h->offset + (addr - h->first);
    if (unlikely(h->readonly)) /* region_init_rom_io() is the ROM that has ops */
        return r->ops && r->kind == REGION_ROM ? io_write(r, offset, len, data) : refuse(r);
    if (unlikely(h->has_eventfds) && signal_eventfd(s, addr, len, data))
        return true;
    if (likely(r->kind == REGION_IO))
        return io_write(r, offset, len, data);
    return memory_write(r, offset, len, data);
}

bool space_read(struct space *s, uint64_t addr, unsigned len, void *data)
{
    const struct range *h = find(s, addr);
    if (unlikely(!h)) {
        atomic_fetch_add_explicit(&s->nowhere, 1, memory_order_relaxed);
        memset(data, 0xff, len);
        return false;
    }
    struct region *r = h->region;
    uint64_t offset = h->offset + (addr - h->first);
    if (likely(r->kind == REGION_IO))
        return io_read(r, offset, len, data);
    return memory_read(r, offset, len, data);
}

/* --- the devices' side */

static inline bool wraps(uint64_t gpa, size_t len)
{
    return len - 1 > UINT64_MAX - gpa;
}

static inline bool usable(const struct range *r, bool write)
{
    return r->region->host != NULL && !(write && r->readonly);
}

/* Host address of a range's byte. The one place, with ram.c, where a guest address becomes a pointer. */
static inline uint8_t *host_of(const struct range *r, uint64_t gpa)
{
    return r->region->host + r->offset + (gpa - r->first);
}

/* The piece of a block that one range shows; false when it takes more than one, or is refused. */
static inline bool one_piece(struct space *bm, uint64_t gpa, size_t len, bool write, uint8_t **host,
                             struct region **region)
{
    const struct range *h = find(bm, gpa);
    if (unlikely(!h || !usable(h, write) || len - 1 > h->last - gpa))
        return false;
    *host = host_of(h, gpa);
    *region = h->region;
    return true;
}

static int pieces(struct space *bm, uint64_t gpa, size_t len, bool write, struct iovec *iov, int max)
{
    int n = 0;
    if (wraps(gpa, len))
        return -1;
    epoch_enter();
    const struct view *v = atomic_load_explicit(&bm->view, memory_order_seq_cst);
    const struct range *r = view_find(v, gpa);
    uint64_t at = gpa, last = gpa + (len - 1);
    for (;;) {
        if (!r || r->first > at || !usable(r, write)) {
            n = -1;
            break;
        }
        uint64_t stop = r->last < last ? r->last : last;
        uint8_t *host = host_of(r, at);
        size_t piece = (size_t)(stop - at) + 1;
        if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == host) {
            iov[n - 1].iov_len += piece;
        } else if (n == max) {
            n = -1;
            break;
        } else {
            iov[n++] = (struct iovec){host, piece};
        }
        if (stop == last)
            break;
        at = stop + 1;
        r = r + 1 < v->ranges + v->n ? r + 1 : NULL;
    }
    epoch_leave();
    return n;
}

void dma_written(const struct iovec *iov, int n, size_t bytes)
{
    for (int i = 0; i < n && bytes > 0; i++) {
        size_t len = iov[i].iov_len < bytes ? iov[i].iov_len : bytes;
        uint64_t offset;
        struct ram *ram = ram_of(iov[i].iov_base, &offset);
        if (ram)
            ram_dirty(ram, offset, len);
        bytes -= len;
    }
}

/* More than one range: the pieces are taken in portions, after a first round that only looks. */
static bool dma_pieces(struct space *bm, uint64_t gpa, uint8_t *buf, size_t len, bool write)
{
    struct iovec iov[16];
    enum {
        PORTION = 1 << 16,
        ROUNDS = 2,
    };
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t done = 0; done < len;) {
            size_t part = len - done < PORTION ? len - done : PORTION;
            /* 64 KiB in more than 16 pieces is RAM that the guest has cut up to less than 4 KiB: refused */
            int n = pieces(bm, gpa + done, part, write, iov, 16);
            if (n < 0)
                return false;
            uint8_t *at = buf + done;
            for (int i = 0; round == ROUNDS - 1 && i < n; i++) {
                if (write)
                    move(iov[i].iov_base, at, iov[i].iov_len);
                else
                    move(at, iov[i].iov_base, iov[i].iov_len);
                at += iov[i].iov_len;
            }
            if (round == ROUNDS - 1 && write)
                dma_written(iov, n, part);
            done += part;
        }
    }
    return true;
}

static inline bool get(struct space *bm, uint64_t gpa, void *buf, size_t len)
{
    uint8_t *host;
    struct region *r;
    if (wraps(gpa, len))
        return false;
    if (unlikely(!one_piece(bm, gpa, len, false, &host, &r)))
        return dma_pieces(bm, gpa, buf, len, false);
    move(buf, host, len);
    return true;
}

static inline bool put(struct space *bm, uint64_t gpa, const void *buf, size_t len)
{
    uint8_t *host;
    struct region *r;
    if (wraps(gpa, len))
        return false;
    if (unlikely(!one_piece(bm, gpa, len, true, &host, &r)))
        return dma_pieces(bm, gpa, (uint8_t *)buf, len, true);
    move(host, buf, len);
    ram_dirty(r->ram, r->ram_offset + (uint64_t)(host - r->host), len);
    return true;
}

/* Why a transfer is refused, and its count. */
static __attribute__((noinline)) const char *refuse_dma(struct space *bm)
{
    bool off = bm->memory && !bm->master;
    atomic_fetch_add_explicit(off ? &bm->refused_off : &bm->refused_ram, 1, memory_order_relaxed);
    return off ? "bus master off" : "not in RAM";
}

/* Somebody watches the device. The bytes of a transfer that gets lost read as ones; pieces of RAM cannot get lost, so they
 * are refused. `n` is a dma_iov's. */
static __attribute__((noinline)) bool watched_dma(struct space *bm, uint64_t gpa, void *buf, size_t len,
                                                  bool write, struct iovec *iov, int *n)
{
    struct watch_event e = {.kind = WATCH_DMA, .write = write, .offset = gpa, .len = len, .data = buf};
    enum watch_verdict verdict = watch_ask(bm->watch, &e);
    bool ok = false;
    if (verdict == WATCH_FAIL || (verdict == WATCH_SKIP && iov))
        return false;
    if (verdict == WATCH_SKIP) {
        if (!write)
            memset(buf, 0xff, len);
        return true;
    }
    if (iov)
        ok = (*n = pieces(bm, gpa, len, write, iov, *n)) >= 0;
    for (int i = 0; !iov && i <= (verdict == WATCH_TWICE); i++)
        ok = write ? put(bm, gpa, buf, len) : get(bm, gpa, buf, len);
    e.text = ok ? NULL : refuse_dma(bm);
    watch_tell(bm->watch, &e);
    return ok;
}

int dma_iov(struct space *bm, uint64_t gpa, size_t len, bool write, struct iovec *iov, int max)
{
    int n = max;
    if (len == 0)
        return 0;
    if (unlikely(bm->watch))
        return watched_dma(bm, gpa, NULL, len, write, iov, &n) ? n : -1;
    uint8_t *host;
    struct region *r;
    if (likely(max > 0 && !wraps(gpa, len) && one_piece(bm, gpa, len, write, &host, &r))) {
        *iov = (struct iovec){host, len};
        return 1;
    }
    n = pieces(bm, gpa, len, write, iov, max);
    if (unlikely(n < 0))
        refuse_dma(bm);
    return n;
}

uint64_t dma_generation(struct space *bm)
{
    epoch_enter();
    const struct view *v = atomic_load_explicit(&bm->view, memory_order_seq_cst);
    uint64_t generation = v->n ? v->generation : DMA_NOTHING;
    epoch_leave();
    return generation;
}

bool dma_read(struct space *bm, uint64_t gpa, void *buf, size_t len)
{
    if (len == 0)
        return true;
    if (unlikely(bm->watch))
        return watched_dma(bm, gpa, buf, len, false, NULL, NULL);
    if (likely(get(bm, gpa, buf, len)))
        return true;
    refuse_dma(bm);
    return false;
}

bool dma_write(struct space *bm, uint64_t gpa, const void *buf, size_t len)
{
    if (len == 0)
        return true;
    if (unlikely(bm->watch))
        return watched_dma(bm, gpa, (void *)buf, len, true, NULL, NULL);
    if (likely(put(bm, gpa, buf, len)))
        return true;
    refuse_dma(bm);
    return false;
}
