// SPDX-License-Identifier: MIT
/* Spaces and listeners: publishing views, telling what changed. See include/mem/view.h.
 *
 * Theory: both views are sorted and disjoint, so one pass over the two, like a merge, finds what is gone, what is new and
 * what stayed. Deletions are told first, all of them, while the old view is still published: the host's state never has
 * two things at one address, and what a listener drains on a deletion still finds its way. ioeventfds and zones are
 * sorted lists of their own, compared in the same way. */
#include "mem/view.h"

#include "kvm/host/log.h"
#include "mem/ram.h"

#include <assert.h>
#include <string.h>

enum {
    CACHE_SLOTS = 4, /* as in access.c */
    WARNINGS = 10,   /* a guest can move its BARs as often as it likes */
};

static const struct view empty_view = {.generation = UINT64_MAX}; /* 0 is what an unused cache entry has */
static struct space *spaces;
static uint32_t n_spaces;
static unsigned global_users;
bool listeners_running;

#define TELL(l, callback, ...)                                                                               \
    do {                                                                                                     \
        if ((l)->ops->callback)                                                                              \
            (l)->ops->callback((l), ##__VA_ARGS__);                                                          \
    } while (0)
#define EACH(l, s)                                                                                           \
    struct listener *l = (s)->first_listener;                                                                \
    l;                                                                                                       \
    l = l->next
#define EACH_REVERSE(l, s)                                                                                   \
    struct listener *l = (s)->last_listener;                                                                 \
    l;                                                                                                       \
    l = l->prev

/* --- publishing */

static const struct view *current(const struct space *s)
{
    return atomic_load_explicit(&s->view, memory_order_relaxed); /* writers hold the topology lock */
}

static void publish(struct space *s, const struct view *v)
{
    atomic_store_explicit(&s->view, v, memory_order_seq_cst); /* pairs with the load after epoch_enter() */
    for (struct space *f = s->followers; f; f = f->next_follower)
        if (f->master)
            atomic_store_explicit(&f->view, v, memory_order_seq_cst);
}

static void free_retired(struct epoch_item *item)
{
    view_free((struct view *)((char *)item - offsetof(struct view, retired)));
}

static void retire(const struct view *v)
{
    if (v != &empty_view)
        epoch_retire((struct epoch_item *)&v->retired, free_retired);
}

/* --- differences */

static int compare_ranges(const struct range *a, const struct range *b)
{
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a->last == b->last && a->region == b->region && a->offset == b->offset &&
                   a->readonly == b->readonly
               ? 0
               : 1;
}

static bool same_eventfd(const struct view_eventfd *a, const struct view_eventfd *b)
{
    return a->addr == b->addr && a->region == b->region && a->e.size == b->e.size &&
           a->e.match == b->e.match && a->e.value == b->e.value && a->e.fd == b->e.fd;
}

static bool same_zone(const struct view_zone *a, const struct view_zone *b)
{
    return a->first == b->first && a->last == b->last && a->region == b->region;
}

/* For the sorted lists of eventfds and zones, which are short (a few dozen): is this one in that view? */
static bool has_eventfd(const struct view *v, const struct view_eventfd *e)
{
    uint32_t lo = 0, hi = v->n_eventfds;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->eventfds[mid].addr < e->addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < v->n_eventfds && v->eventfds[lo].addr == e->addr; lo++)
        if (same_eventfd(&v->eventfds[lo], e))
            return true;
    return false;
}

static bool has_zone(const struct view *v, const struct view_zone *z)
{
    uint32_t lo = 0, hi = v->n_zones;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->zones[mid].first < z->first)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < v->n_zones && v->zones[lo].first == z->first; lo++)
        if (same_zone(&v->zones[lo], z))
            return true;
    return false;
}

static bool tell_hooks_gone(struct space *s, const struct view *old, const struct view *new)
{
    bool fds_gone = false;
    for (uint32_t i = 0; i < old->n_zones; i++)
        if (!has_zone(new, &old->zones[i]))
            for (EACH_REVERSE(l, s))
                TELL(l, coalesced_del, &old->zones[i]);
    for (uint32_t i = 0; i < old->n_eventfds; i++)
        if (!has_eventfd(new, &old->eventfds[i])) {
            fds_gone = true;
            for (EACH_REVERSE(l, s))
                TELL(l, eventfd_del, &old->eventfds[i]);
        }
    return fds_gone;
}

static void tell_hooks_new(struct space *s, const struct view *old, const struct view *new)
{
    for (uint32_t i = 0; i < new->n_eventfds; i++)
        if (!has_eventfd(old, &new->eventfds[i]))
            for (EACH(l, s))
                TELL(l, eventfd_add, &new->eventfds[i]);
    for (uint32_t i = 0; i < new->n_zones; i++)
        if (!has_zone(old, &new->zones[i]))
            for (EACH(l, s))
                TELL(l, coalesced_add, &new->zones[i]);
}

static void tell_gone(struct space *s, const struct view *old, const struct view *new)
{
    uint32_t i = 0, j = 0;
    while (i < old->n) {
        int order = j < new->n ? compare_ranges(&old->ranges[i], &new->ranges[j]) : -1;
        if (order == 0) {
            i++, j++;
        } else if (j < new->n &&new->ranges[j].first < old->ranges[i].first) {
            j++;
        } else {
            for (EACH_REVERSE(l, s))
                TELL(l, region_del, &old->ranges[i]);
            i++;
        }
    }
}

static void tell_log(struct space *s, const struct range *r, uint8_t was)
{
    if (r->log & ~was)
        for (EACH(l, s))
            TELL(l, log_start, r, was, r->log);
    if (was & ~r->log)
        for (EACH_REVERSE(l, s))
            TELL(l, log_stop, r, was, r->log);
}

static void tell_new(struct space *s, const struct view *old, const struct view *new)
{
    uint32_t i = 0, j = 0;
    while (j < new->n) {
        int order = i < old->n ? compare_ranges(&old->ranges[i], &new->ranges[j]) : 1;
        const struct range *r = &new->ranges[j];
        if (order == 0) {
            for (EACH(l, s))
                TELL(l, region_nop, r);
            tell_log(s, r, old->ranges[i].log);
            i++, j++;
        } else if (i < old->n && old->ranges[i].first < r->first) {
            i++;
        } else {
            for (EACH(l, s))
                TELL(l, region_add, r);
            tell_log(s, r, 0);
            j++;
        }
    }
}

/* What is told while the old view is still the published one, and what after the new one is; to the space's own listeners. */
static bool tell_before(struct space *s, const struct view *old, const struct view *new)
{
    listeners_running = true;
    for (EACH(l, s))
        TELL(l, begin);
    bool fds_gone = tell_hooks_gone(s, old, new);
    tell_gone(s, old, new);
    listeners_running = false;
    return fds_gone;
}

static void tell_after(struct space *s, const struct view *old, const struct view *new)
{
    listeners_running = true;
    tell_new(s, old, new);
    tell_hooks_new(s, old, new);
    for (EACH(l, s))
        TELL(l, commit);
    listeners_running = false;
}

/* Bus masters that see this space and have listeners of their own (vhost). */
static struct space *listening(struct space *f)
{
    while (f && !(f->master && f->first_listener))
        f = f->next_follower;
    return f;
}
#define EACH_LISTENING(f, s)                                                                                 \
    struct space *f = listening((s)->followers);                                                             \
    f;                                                                                                       \
    f = listening(f->next_follower)

static void update(struct space *s)
{
    const struct view *old = current(s);
    struct view *new = view_render(s->root);
    if (!new) {
        static unsigned told;
        if (told++ < WARNINGS)
            warn("space %s: no memory for a new view; the map stays as it was", s->name);
        return; /* still marked: the next commit tries again */
    }
    s->changed = false;
    new->slot = old->slot;
    bool fds_gone = tell_before(s, old, new);
    for (EACH_LISTENING(f, s))
        tell_before(f, old, new);
    publish(s, new);
    tell_after(s, old, new);
    for (EACH_LISTENING(f, s))
        tell_after(f, old, new);
    retire(old);
    if (fds_gone)
        epoch_wait(); /* their owners may close them now: no write to them is under way */
}

void space_mark_changed(struct space *s)
{
    s->changed = true;
}

void space_update_changed(void)
{
    for (struct space *s = spaces; s; s = s->next)
        if (s->changed)
            update(s);
}

/* --- spaces */

static void init(struct space *s, const char *name)
{
    memset(s, 0, sizeof *s);
    s->name = name;
    atomic_store_explicit(&s->view, &empty_view, memory_order_relaxed);
    struct space **at = &spaces;
    while (*at)
        at = &(*at)->next;
    *at = s;
}

void space_init(struct space *s, struct region *root, const char *name)
{
    transaction_begin();
    init(s, name);
    s->root = root;
    s->next_same_root = root->spaces;
    root->spaces = s;
    struct view *v = view_render(root);
    if (!v)
        die("space %s: no memory for its view", name);
    v->slot = n_spaces++ % CACHE_SLOTS;
    publish(s, v);
    transaction_commit();
}

void space_init_bus_master(struct space *s, struct space *memory, const char *name)
{
    transaction_begin();
    init(s, name);
    s->memory = memory;
    s->next_follower = memory->followers;
    memory->followers = s;
    transaction_commit();
}

void space_set_master(struct space *s, bool on)
{
    topology_take();
    const struct view *old = current(s), *new = on ? current(s->memory) : &empty_view;
    if (old != new)
        tell_before(s, old, new);
    s->master = on;
    atomic_store_explicit(&s->view, new, memory_order_seq_cst);
    if (old != new)
        tell_after(s, old, new);
    topology_drop();
}

void space_free(struct space *s)
{
    transaction_begin();
    while (s->first_listener)
        listener_unregister(s->first_listener);
    for (struct space *f = s->followers; f; f = f->next_follower)
        f->memory = NULL;
    struct space **at = &spaces;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->root) {
        for (at = &s->root->spaces; *at != s;)
            at = &(*at)->next_same_root;
        *at = s->next_same_root;
        const struct view *v = current(s);
        publish(s, &empty_view);
        retire(v);
    } else if (s->memory) {
        for (at = &s->memory->followers; *at != s;)
            at = &(*at)->next_follower;
        *at = s->next_follower;
    }
    transaction_commit();
}

struct space *space_first(void)
{
    return spaces;
}

/* --- listeners */

void listener_register(struct space *s, struct listener *l)
{
    topology_take();
    const struct view *v = current(s);
    l->space = s;
    struct listener *after = s->last_listener;
    while (after && after->priority > l->priority)
        after = after->prev;
    l->prev = after;
    l->next = after ? after->next : s->first_listener;
    *(l->prev ? &l->prev->next : &s->first_listener) = l;
    *(l->next ? &l->next->prev : &s->last_listener) = l;

    listeners_running = true;
    TELL(l, begin);
    if (global_users)
        TELL(l, log_global_start);
    for (uint32_t i = 0; i < v->n; i++) {
        TELL(l, region_add, &v->ranges[i]);
        if (v->ranges[i].log)
            TELL(l, log_start, &v->ranges[i], 0, v->ranges[i].log);
    }
    for (uint32_t i = 0; i < v->n_eventfds; i++)
        TELL(l, eventfd_add, &v->eventfds[i]);
    for (uint32_t i = 0; i < v->n_zones; i++)
        TELL(l, coalesced_add, &v->zones[i]);
    TELL(l, commit);
    listeners_running = false;
    topology_drop();
}

void listener_unregister(struct listener *l)
{
    struct space *s = l->space;
    topology_take();
    const struct view *v = current(s);
    listeners_running = true;
    TELL(l, begin);
    for (uint32_t i = 0; i < v->n_zones; i++)
        TELL(l, coalesced_del, &v->zones[i]);
    for (uint32_t i = 0; i < v->n_eventfds; i++)
        TELL(l, eventfd_del, &v->eventfds[i]);
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->ranges[i].log)
            TELL(l, log_stop, &v->ranges[i], v->ranges[i].log, 0);
        TELL(l, region_del, &v->ranges[i]);
    }
    if (global_users)
        TELL(l, log_global_stop);
    TELL(l, commit);
    listeners_running = false;
    *(l->prev ? &l->prev->next : &s->first_listener) = l->next;
    *(l->next ? &l->next->prev : &s->last_listener) = l->prev;
    l->space = NULL;
    topology_drop();
}

/* --- the dirty log, on demand */

/* Tells the listeners of all spaces of every range that shows the block's bytes [from, to), whichever region it is seen
 * through: what the guest writes through one is dirty for all. */
static void tell_showing(const struct ram *ram, uint64_t from, uint64_t to, bool clear)
{
    for (struct space *s = spaces; s; s = s->next) {
        const struct view *v = current(s);
        for (uint32_t i = 0; s->first_listener && i < v->n; i++) {
            struct range part = v->ranges[i];
            if (part.region->ram != ram)
                continue;
            uint64_t lo = part.region->ram_offset + part.offset, hi = lo + (part.last - part.first) + 1;
            if (lo >= to || hi <= from)
                continue;
            if (lo < from) {
                part.first += from - lo;
                part.offset += from - lo;
            }
            if (hi > to)
                part.last -= hi - to;
            for (EACH(l, s)) {
                if (clear)
                    TELL(l, log_clear, &part);
                else
                    TELL(l, log_sync, &part);
            }
        }
    }
}

uint64_t region_log_fetch(struct region *r, enum region_log client, uint64_t offset, uint64_t size,
                          uint64_t *bitmap)
{
    assert(r->ram && offset % RAM_PAGE == 0 && size % RAM_PAGE == 0 && r->ram_offset % RAM_PAGE == 0);
    assert(offset <= r->size && size <= r->size - offset);
    uint64_t from = r->ram_offset + offset;

    topology_take();
    tell_showing(r->ram, from, from + size, false);
    uint64_t n = ram_dirty_take(r->ram, client, from, size / RAM_PAGE, bitmap);
    /* What is written between the two is not lost: the caller reads the pages afterwards. */
    tell_showing(r->ram, from, from + size, true);
    topology_drop();
    return n;
}

bool log_global_start(void)
{
    bool done = true;
    topology_take();
    struct ram *ram = ram_first();
    for (; ram && done; ram = ram->next)
        done = ram_log(ram, REGION_LOG_GLOBAL, true);
    if (!done) {
        for (struct ram *undo = ram_first(); undo != ram; undo = undo->next)
            ram_log(undo, REGION_LOG_GLOBAL, false);
    } else if (global_users++ == 0) {
        for (struct space *s = spaces; s; s = s->next)
            for (EACH(l, s))
                TELL(l, log_global_start);
    }
    topology_drop();
    return done;
}

void log_global_stop(void)
{
    topology_take();
    if (global_users > 0) {
        for (struct ram *ram = ram_first(); ram; ram = ram->next)
            ram_log(ram, REGION_LOG_GLOBAL, false);
        if (--global_users == 0)
            for (struct space *s = spaces; s; s = s->next)
                for (EACH_REVERSE(l, s))
                    TELL(l, log_global_stop);
    }
    topology_drop();
}
