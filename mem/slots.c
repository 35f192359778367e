// SPDX-License-Identifier: MIT
/* KVM memory slots: see include/mem/slots.h.
 *
 * Theory: `table` is what KVM has, sorted by guest address. Between begin and commit only lists are made: slots to go,
 * slots to come, and ranges whose logging changed. commit pairs equal ones off (the same memory at the same place under
 * another region), looks whether an old and a new one overlap, and applies the rest. How a range is cut into slots
 * depends on the range alone, so a deletion finds exactly the slots that the addition made. */
#include "mem/slots.h"

#include "kvm/host/log.h"
#include "mem/ram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WARNINGS = 10, /* of a kind; a guest can move its BARs as often as it likes */
};

struct slot {
    uint64_t gpa, size;
    uint8_t *host;
    struct ram *ram;
    uint64_t ram_offset;
    uint32_t id;
    uint32_t flags;   /* enum slot_flag */
    uint8_t log;      /* clients of the range; log_global wants SLOT_LOG besides */
    uint64_t *bitmap; /* SLOT_LOG: what dirty_get said last */
};

struct list {
    struct slot *items;
    uint32_t n, room;
};

struct slots {
    struct listener listener;
    const struct slots_ops *ops;
    void *ctx;
    struct slots_limits limits;
    struct list table;            /* by gpa */
    struct list dels, adds, logs; /* of the open transaction */
    uint32_t *free_ids;
    uint32_t n_free_ids, free_room, next_id;
    bool log_global;
    bool missing; /* some range got no slot, because KVM or the host refused: */
    bool retry;   /* the next commit tries again */
    struct slots_stats stats;
};

static struct slots *slots_of(struct listener *l)
{
    return (struct slots *)l; /* its first member */
}

static bool reserve(struct list *l, uint32_t n)
{
    if (n <= l->room)
        return true;
    uint32_t room = l->room ? l->room : 16;
    while (room < n)
        room *= 2;
    struct slot *grown = realloc(l->items, room * sizeof *grown);
    if (!grown)
        return false;
    l->items = grown;
    l->room = room;
    return true;
}

static bool append(struct list *l, const struct slot *s)
{
    if (!reserve(l, l->n + 1))
        return false;
    l->items[l->n++] = *s;
    return true;
}

/* --- the table */

/* The first slot that ends behind gpa. */
static uint32_t table_at(const struct slots *s, uint64_t gpa)
{
    uint32_t lo = 0, hi = s->table.n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct slot *x = &s->table.items[mid];
        if (x->gpa + (x->size - 1) < gpa)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct slot *table_find(const struct slots *s, uint64_t gpa, uint64_t size)
{
    uint32_t i = table_at(s, gpa);
    struct slot *x = &s->table.items[i];
    return i < s->table.n && x->gpa == gpa && x->size == size ? x : NULL;
}

/* Room for one more slot in all that a deletion will need, so that deletions never lack memory. */
static bool table_reserve(struct slots *s)
{
    uint32_t n = s->table.n + 1;
    if (!reserve(&s->table, n) || !reserve(&s->dels, n))
        return false;
    if (s->free_room < s->table.room) {
        uint32_t *grown = realloc(s->free_ids, s->table.room * sizeof *grown);
        if (!grown)
            return false;
        s->free_ids = grown;
        s->free_room = s->table.room;
    }
    return true;
}

static void table_insert(struct slots *s, const struct slot *x)
{
    uint32_t i = table_at(s, x->gpa);
    memmove(&s->table.items[i + 1], &s->table.items[i], (s->table.n - i) * sizeof *x);
    s->table.items[i] = *x;
    s->table.n++;
}

static void table_remove(struct slots *s, const struct slot *x)
{
    uint32_t i = (uint32_t)(x - s->table.items);
    s->free_ids[s->n_free_ids++] = x->id;
    s->table.n--;
    memmove(&s->table.items[i], &s->table.items[i + 1], (s->table.n - i) * sizeof *x);
}

/* --- a range as slots */

static bool next_piece(const struct slots *s, const struct range *r, uint64_t *at, struct slot *out)
{
    uint64_t first = (r->first + RAM_PAGE - 1) & ~(uint64_t)(RAM_PAGE - 1);
    if (!r->region->host || first < r->first || first > r->last || (r->readonly && !s->limits.readonly))
        return false;
    uint64_t size = (r->last - first + 1) & ~(uint64_t)(RAM_PAGE - 1);
    uint64_t offset = r->offset + (first - r->first);
    uint8_t *host = r->region->host + offset;
    if (*at >= size || ((uintptr_t)host & (RAM_PAGE - 1)))
        return false;
    uint64_t piece = size - *at < s->limits.max_size ? size - *at : s->limits.max_size;
    *out = (struct slot){.gpa = first + *at,
                         .size = piece,
                         .host = host + *at,
                         .ram = r->region->ram,
                         .ram_offset = r->region->ram_offset + offset + *at,
                         .flags = r->readonly ? SLOT_READONLY : 0,
                         .log = r->log};
    *at += piece;
    return true;
}

#define EACH_PIECE(s, r, x)                                                                                  \
    struct slot x = {0};                                                                                     \
    for (uint64_t at_ = 0; next_piece((s), (r), &at_, &x);)

/* --- KVM */

static void failed(struct slots *s, const char *what, const struct slot *x, int e)
{
    if (s->stats.failures++ >= WARNINGS)
        return;
    warn("KVM slot %u: %s 0x%llx bytes at 0x%llx: %s", x->id, what, (unsigned long long)x->size,
         (unsigned long long)x->gpa, strerror(-e));
}

static uint64_t pages(const struct slot *x)
{
    return x->size >> RAM_PAGE_SHIFT;
}

static void sync_slot(struct slots *s, struct slot *x)
{
    if (!(x->flags & SLOT_LOG))
        return;
    int e = s->ops->dirty_get(s->ctx, x->id, x->bitmap);
    if (e < 0) {
        /* what is not known to be clean is dirty */
        failed(s, "reading the dirty log of", x, e);
        memset(x->bitmap, 0xff, (pages(x) + 63) / 64 * sizeof *x->bitmap);
    }
    ram_dirty_merge(x->ram, x->ram_offset, x->bitmap, pages(x));
}

/* Switches logging in place. */
static void set_log(struct slots *s, struct slot *x)
{
    bool on = x->log || s->log_global, was = x->flags & SLOT_LOG;
    if (on == was || (x->flags & SLOT_READONLY))
        return;
    uint64_t *bitmap = on ? calloc((pages(x) + 63) / 64, sizeof *bitmap) : NULL;
    int e =
        on && !bitmap ? -ENOMEM : s->ops->set(s->ctx, x->id, x->flags ^ SLOT_LOG, x->gpa, x->size, x->host);
    if (e < 0) {
        free(bitmap);
        failed(s, "switching the dirty log of", x, e);
        return;
    }
    s->stats.flag_changes++;
    free(x->bitmap);
    x->bitmap = bitmap;
    x->flags ^= SLOT_LOG;
}

static void delete_slot(struct slots *s, struct slot *x)
{
    sync_slot(s, x);
    int e = s->ops->set(s->ctx, x->id, 0, x->gpa, 0, x->host);
    if (e < 0)
        failed(s, "deleting", x, e);
    s->stats.dels++;
    free(x->bitmap);
    table_remove(s, x);
}

static void add_slot(struct slots *s, struct slot *x)
{
    x->id = s->n_free_ids ? s->free_ids[s->n_free_ids - 1] : s->next_id;
    x->bitmap = NULL;
    if ((x->log || s->log_global) && !(x->flags & SLOT_READONLY)) {
        x->flags |= SLOT_LOG;
        x->bitmap = calloc((pages(x) + 63) / 64, sizeof *x->bitmap);
    }
    int e = 0;
    if (!table_reserve(s) || (x->flags & SLOT_LOG && !x->bitmap))
        e = -ENOMEM;
    else if (x->id >= s->limits.slots)
        e = -ENOSPC;
    else
        e = s->ops->set(s->ctx, x->id, x->flags, x->gpa, x->size, x->host);
    if (e < 0) { /* served by exits, which mark what they write */
        s->missing = true;
        free(x->bitmap);
        failed(s, "adding", x, e);
        return;
    }
    if (s->n_free_ids)
        s->n_free_ids--;
    else
        s->next_id++;
    s->stats.adds++;
    table_insert(s, x);
}

/* --- the listener */

static void on_begin(struct listener *l)
{
    struct slots *s = slots_of(l);
    s->dels.n = s->adds.n = s->logs.n = 0;
    s->retry = s->missing;
    s->missing = false;
}

static void on_del(struct listener *l, const struct range *r)
{
    struct slots *s = slots_of(l);
    EACH_PIECE(s, r, x)
    {
        const struct slot *have = table_find(s, x.gpa, x.size);
        if (have) /* no: KVM had refused it */
            append(&s->dels, have);
    }
}

static void on_add(struct listener *l, const struct range *r)
{
    struct slots *s = slots_of(l);
    EACH_PIECE(s, r, x)
    {
        if (!append(&s->adds, &x)) {
            s->missing = true;
            failed(s, "no memory for", &x, -ENOMEM);
        }
    }
}

static void on_nop(struct listener *l, const struct range *r)
{
    struct slots *s = slots_of(l);
    if (!s->retry)
        return;
    EACH_PIECE(s, r, x)
    {
        if (!table_find(s, x.gpa, x.size) && !append(&s->adds, &x))
            s->missing = true;
    }
}

static void on_log(struct listener *l, const struct range *r, uint8_t was, uint8_t is)
{
    struct slots *s = slots_of(l);
    (void)was;
    EACH_PIECE(s, r, x)
    {
        x.log = is;
        if (!append(&s->logs, &x))
            failed(s, "switching the dirty log of", &x, -ENOMEM);
    }
}

static int by_gpa(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;
    return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

static bool same_memory(const struct slot *a, const struct slot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           (a->flags & SLOT_READONLY) == (b->flags & SLOT_READONLY);
}

/* Takes pairs out of both sorted lists that change nothing but perhaps the logging. */
static void pair_off(struct slots *s)
{
    struct slot *d = s->dels.items, *a = s->adds.items;
    uint32_t i = 0, j = 0, n_dels = 0, n_adds = 0;
    while (i < s->dels.n || j < s->adds.n) {
        if (j == s->adds.n || (i < s->dels.n && d[i].gpa < a[j].gpa)) {
            d[n_dels++] = d[i++];
        } else if (i == s->dels.n || a[j].gpa < d[i].gpa) {
            a[n_adds++] = a[j++];
        } else if (same_memory(&d[i], &a[j])) {
            struct slot *x = table_find(s, a[j].gpa, a[j].size);
            x->log = a[j].log;
            set_log(s, x);
            i++, j++;
        } else {
            d[n_dels++] = d[i++];
            a[n_adds++] = a[j++];
        }
    }
    s->dels.n = n_dels;
    s->adds.n = n_adds;
}

/* Must vCPUs be out of KVM_RUN meanwhile? Lists are sorted, and each is disjoint in itself. */
static bool must_hold(const struct slots *s)
{
    const struct slot *d = s->dels.items, *a = s->adds.items;
    for (uint32_t i = 0; i < s->dels.n; i++)
        if (d[i].flags & SLOT_LOG) /* a write between the sync and the deletion would be lost */
            return true;
    for (uint32_t i = 0, j = 0; i < s->dels.n && j < s->adds.n;) {
        if (d[i].gpa + (d[i].size - 1) < a[j].gpa)
            i++;
        else if (a[j].gpa + (a[j].size - 1) < d[i].gpa)
            j++;
        else
            return true;
    }
    return false;
}

static void on_commit(struct listener *l)
{
    struct slots *s = slots_of(l);
    /* additions come in ascending order, deletions too: sorting is a formality that keeps pair_off() honest */
    if (s->dels.n)
        qsort(s->dels.items, s->dels.n, sizeof(struct slot), by_gpa);
    if (s->adds.n)
        qsort(s->adds.items, s->adds.n, sizeof(struct slot), by_gpa);
    pair_off(s);
    bool hold = must_hold(s);
    if (hold) {
        s->stats.holds++;
        if (s->ops->hold)
            s->ops->hold(s->ctx);
    }
    for (uint32_t i = 0; i < s->dels.n; i++)
        delete_slot(s, table_find(s, s->dels.items[i].gpa, s->dels.items[i].size));
    for (uint32_t i = 0; i < s->adds.n; i++)
        add_slot(s, &s->adds.items[i]);
    if (hold && s->ops->release)
        s->ops->release(s->ctx);
    for (uint32_t i = 0; i < s->logs.n; i++) {
        struct slot *x = table_find(s, s->logs.items[i].gpa, s->logs.items[i].size);
        if (x) {
            x->log = s->logs.items[i].log;
            set_log(s, x);
        }
    }
    s->dels.n = s->adds.n = s->logs.n = 0;
}

/* --- the dirty log */

static void on_log_sync(struct listener *l, const struct range *r)
{
    struct slots *s = slots_of(l);
    for (uint32_t i = table_at(s, r->first); i < s->table.n && s->table.items[i].gpa <= r->last; i++)
        sync_slot(s, &s->table.items[i]);
}

/* The pages [first, end) of the slot, as far as dirty_get reported them, are watched again. KVM wants whole words of 64
 * pages; bits outside stay 0. */
static void clear_pages(struct slots *s, struct slot *x, uint64_t first, uint64_t end)
{
    enum {
        WORDS = 512, /* 128 MiB of guest memory a call */
    };
    uint64_t words[WORDS];
    for (uint64_t w = first / 64; w * 64 < end; w += WORDS) {
        uint64_t some = 0, n = (pages(x) + 63) / 64 - w;
        n = n < WORDS ? n : WORDS;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t base = (w + i) * 64, mask = ~UINT64_C(0);
            if (base < first)
                mask = first - base < 64 ? mask << (first - base) : 0;
            if (base + 64 > end)
                mask = end > base ? mask & (~UINT64_C(0) >> (64 - (end - base))) : 0;
            words[i] = x->bitmap[w + i] & mask;
            x->bitmap[w + i] &= ~mask;
            some |= words[i];
        }
        uint64_t count = pages(x) - w * 64 < n * 64 ? pages(x) - w * 64 : n * 64;
        int e = some ? s->ops->dirty_clear(s->ctx, x->id, w * 64, (uint32_t)count, words) : 0;
        if (e < 0)
            failed(s, "clearing the dirty log of", x, e);
    }
}

static void on_log_clear(struct listener *l, const struct range *r)
{
    struct slots *s = slots_of(l);
    for (uint32_t i = table_at(s, r->first); i < s->table.n && s->table.items[i].gpa <= r->last; i++) {
        struct slot *x = &s->table.items[i];
        if (!(x->flags & SLOT_LOG) || !s->ops->dirty_clear)
            continue;
        uint64_t first = r->first > x->gpa ? (r->first - x->gpa) >> RAM_PAGE_SHIFT : 0;
        uint64_t last = x->gpa + (x->size - 1) < r->last ? x->size - 1 : r->last - x->gpa;
        clear_pages(s, x, first, (last >> RAM_PAGE_SHIFT) + 1);
    }
}

static void log_all(struct slots *s, bool on)
{
    s->log_global = on;
    for (uint32_t i = 0; i < s->table.n; i++)
        set_log(s, &s->table.items[i]);
}

static void on_log_global_start(struct listener *l)
{
    log_all(slots_of(l), true);
}

static void on_log_global_stop(struct listener *l)
{
    log_all(slots_of(l), false);
}

static const struct listener_ops listener_ops = {
    .begin = on_begin,
    .region_del = on_del,
    .region_add = on_add,
    .region_nop = on_nop,
    .log_start = on_log,
    .log_stop = on_log,
    .commit = on_commit,
    .log_sync = on_log_sync,
    .log_clear = on_log_clear,
    .log_global_start = on_log_global_start,
    .log_global_stop = on_log_global_stop,
};

/* --- */

struct slots *slots_new(struct space *memory, const struct slots_ops *ops, void *ctx,
                        const struct slots_limits *limits)
{
    const uint64_t kvm_max = ((UINT64_C(1) << 31) - 1) << RAM_PAGE_SHIFT, gib = UINT64_C(1) << 30;
    struct slots *s = calloc(1, sizeof *s);
    if (!s)
        die("KVM slots: no memory for their table");
    s->ops = ops;
    s->ctx = ctx;
    s->limits = *limits;
    if (s->limits.max_size == 0 || s->limits.max_size > kvm_max)
        s->limits.max_size = kvm_max;
    /* pieces stay aligned for the largest pages */
    s->limits.max_size &= ~((s->limits.max_size >= gib ? gib : (uint64_t)RAM_PAGE) - 1);
    s->listener.ops = &listener_ops;
    s->listener.priority = 10;
    listener_register(memory, &s->listener);
    return s;
}

void slots_free(struct slots *s)
{
    if (!s)
        return;
    if (s->listener.space)
        listener_unregister(&s->listener);
    free(s->table.items);
    free(s->dels.items);
    free(s->adds.items);
    free(s->logs.items);
    free(s->free_ids);
    free(s);
}

int slots_find(const struct slots *s, uint64_t gpa)
{
    uint32_t i = table_at(s, gpa);
    return i < s->table.n && s->table.items[i].gpa <= gpa ? (int)s->table.items[i].id : -1;
}

void slots_note(void *slots, FILE *out, const struct range *r)
{
    const struct slots *s = slots;
    unsigned n = 0;
    EACH_PIECE(s, r, x)
    {
        const struct slot *have = table_find(s, x.gpa, x.size);
        if (have)
            fprintf(out, n++ ? ", %u%s" : " KVM slot %u%s", have->id,
                    have->flags & SLOT_LOG ? " (dirty log)" : "");
    }
}

struct slots_stats slots_stats(const struct slots *s)
{
    return s->stats;
}
