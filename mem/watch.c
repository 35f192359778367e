// SPDX-License-Identifier: MIT
/* What devices discard and what drivers do wrong: see include/mem/watch.h. */
#include "mem/watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "kvm/host/log.h"
#include "mem/view.h"

static unsigned list_length(const char *const *list)
{
    unsigned n = 0;
    while (list && list[n])
        n++;
    return n;
}

bool watch_counters(struct device *dev)
{
    unsigned drops = list_length(dev->class->drops), lints = list_length(dev->class->lints);
    dev->drops = calloc(drops + lints + 1, sizeof *dev->drops);
    dev->lints = dev->drops ? dev->drops + drops : NULL;
    return dev->drops != NULL;
}

void watch_free(struct device *dev)
{
    for (struct space *s = space_first(); dev->watch && s; s = s->next)
        if (s->watch == dev)
            s->watch = NULL;
    free(dev->drops);
    free(dev->watch);
}

/* --- watchers */

void watch_tell(struct device *dev, const struct watch_event *e)
{
    const struct watch *watch = dev->watch;
    for (unsigned i = 0; i < watch->n; i++)
        if (watch->list[i].kinds >> e->kind & 1 && watch->list[i].watcher->ops->event)
            watch->list[i].watcher->ops->event(watch->list[i].watcher, dev, e);
}

static unsigned element(const struct reg *reg, uint64_t offset)
{
    uint32_t stride = reg->stride ? reg->stride : reg->width;
    return reg->count > 1 ? (unsigned)((offset - reg->offset) / stride) : 0;
}

/* The first that does not let it go decides. */
enum watch_verdict watch_ask(struct device *dev, struct watch_event *e)
{
    struct watch *watch = dev->watch;
    for (unsigned i = 0; watch->asks && i < watch->n; i++) {
        struct watcher *w = watch->list[i].watcher;
        if (!w->ops->before)
            continue;
        enum watch_verdict verdict = w->ops->before(w, dev, e);
        if (e->text) {
            struct watch_event fault = *e;
            fault.kind = WATCH_FAULT;
            if (!e->write && verdict != WATCH_SKIP)
                fault.size = 0; /* what will be read is not known yet */
            fault.reg = e->map ? regs_meant(e->map, e->offset) : NULL;
            fault.index = fault.reg ? element(fault.reg, e->offset) : e->index;
            watch_tell(dev, &fault);
            e->text = NULL;
        }
        if (verdict != WATCH_GO)
            return verdict;
    }
    return WATCH_GO;
}

static void on_access(void *ctx, struct device *dev, const struct reg *reg, unsigned index, bool write,
                      uint64_t offset, unsigned size, uint64_t value)
{
    (void)ctx;
    watch_tell(dev, &(struct watch_event){.kind = WATCH_REG,
                                          .write = write,
                                          .size = size,
                                          .index = index,
                                          .offset = offset,
                                          .value = value,
                                          .reg = reg});
}

static const char *const faults[] = {[REG_FAULT_HOLE] = "no register there",
                                     [REG_FAULT_SIZE] = "a size that it does not take",
                                     [REG_FAULT_DIRECTION] = "read-only or write-only",
                                     [REG_FAULT_LOCKED] = "locked while the device is busy",
                                     [REG_FAULTS] = NULL};

static void on_refused(void *ctx, struct device *dev, enum reg_fault why, const struct reg *reg, bool write,
                       uint64_t offset, unsigned size, uint64_t value)
{
    (void)ctx;
    watch_tell(dev, &(struct watch_event){.kind = WATCH_REFUSED,
                                          .write = write,
                                          .size = size,
                                          .index = reg ? element(reg, offset) : 0,
                                          .offset = offset,
                                          .value = value,
                                          .reg = reg,
                                          .refused = why,
                                          .text = why == REG_FAULT_DIRECTION
                                                      ? write ? "it is read-only" : "it is write-only"
                                                      : faults[why]});
}

static bool on_intercept(void *ctx, struct reg_map *map, bool write, uint64_t offset, unsigned size,
                         uint64_t *value)
{
    struct device *dev = map->dev;
    struct watch_event e = {
        .kind = WATCH_REG, .write = write, .size = size, .offset = offset, .value = *value, .map = map};
    (void)ctx;
    switch (watch_ask(dev, &e)) {
    case WATCH_SKIP:
    case WATCH_FAIL:
        *value = e.value;
        return true;
    case WATCH_TWICE: /* once out of sight */
        dev->hooks = NULL;
        if (write)
            regs_write(map, offset, *value, size);
        else
            regs_read(map, offset, size);
        dev->hooks = &dev->watch->hooks;
        return false;
    case WATCH_GO:
        break;
    }
    return false;
}

bool device_watch(struct device *dev, struct watcher *w, uint32_t kinds)
{
    if (!dev->watch) {
        dev->watch = calloc(1, sizeof *dev->watch);
        if (!dev->watch)
            return false;
        dev->watch->hooks =
            (struct reg_hooks){.access = on_access, .refused = on_refused, .intercept = on_intercept};
        dev->hooks = &dev->watch->hooks;
        for (struct space *s = space_first(); s; s = s->next)
            if (s->dev == dev)
                s->watch = dev;
    }
    struct watch *watch = dev->watch;
    unsigned i = 0;
    while (i < watch->n && watch->list[i].watcher != w)
        i++;
    if (i == WATCHERS_MAX)
        return false;
    watch->n += i == watch->n;
    watch->list[i].watcher = w;
    watch->list[i].kinds |= kinds;
    watch->asks |= w->ops->before != NULL;
    return true;
}

static void make_plain(struct region *r, const struct device *dev)
{
    if (r->dev == dev && r->kind == REGION_IO)
        region_plain(r, true);
    for (uint32_t i = 0; i < r->n_children; i++)
        make_plain(r->children[i], dev);
}

void device_plain(struct device *dev)
{
    make_plain(dev->board->mem_root, dev);
    make_plain(dev->board->io_root, dev);
}

/* --- drops and misuse */

void device_drop(struct device *dev, unsigned reason)
{
    assert(reason < list_length(dev->class->drops));
    const char *text = dev->class->drops[reason];
    if (dev->drops[reason]++ == 0)
        info("%s: %s", dev->id, text);
    if (dev->watch)
        watch_tell(dev, &(struct watch_event){.kind = WATCH_DROP, .index = reason, .text = text});
}

void device_lint(struct device *dev, unsigned rule)
{
    assert(rule < list_length(dev->class->lints));
    dev->lints[rule]++;
    if (dev->watch)
        watch_tell(dev,
                   &(struct watch_event){.kind = WATCH_LINT, .index = rule, .text = dev->class->lints[rule]});
}

void device_was_reset(struct device *dev)
{
    if (dev->watch)
        watch_tell(dev, &(struct watch_event){.kind = WATCH_RESET});
}

static void counts(FILE *out, const char *what, const char *const *names, const uint64_t *n)
{
    for (unsigned i = 0; names && names[i]; i++)
        if (n[i])
            fprintf(out, "  %s%s%s: %" PRIu64 "\n", what ? what : "", what ? ": " : "", names[i], n[i]);
}

static void dma_counts(FILE *out, const struct space *s)
{
    static const char *const names[] = {"bus master off", "not in RAM", NULL};
    const uint64_t n[] = {atomic_load_explicit(&s->refused_off, memory_order_relaxed),
                          atomic_load_explicit(&s->refused_ram, memory_order_relaxed)};
    counts(out, "dma refused", names, n);
}

void device_stats(struct device *dev, FILE *out)
{
    device_enter(dev);
    fprintf(out, "%s:\n", dev->id);
    counts(out, "register refused", faults, dev->refused);
    for (const struct space *space = space_first(); space; space = space->next)
        if (space->dev == dev)
            dma_counts(out, space);
    counts(out, NULL, dev->class->drops, dev->drops);
    counts(out, "misuse", dev->class->lints, dev->lints);
    if (dev->class->stats)
        dev->class->stats(dev, out);
    lock_drop(&dev->lock);
}
