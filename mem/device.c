/* SPDX-License-Identifier: MIT
 *
 * Device instances: made from a class and an option string, kept in a list on the board, reset, dumped; and the wrappers
 * that run a device's timers and tasks on the loop with its lock held.
 */
#include "mem/device.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/host/opts.h"
#include "mem/ioevent.h"
#include "mem/region.h"
#include "mem/watch.h"

/* ---- classes ---- */

const struct device_class *device_class_find(const struct device_class *const *list, const char *name)
{
    for (; *list; list++)
        if (!strcmp((*list)->name, name))
            return *list;
    return NULL;
}

void device_class_print(const struct device_class *const *list, FILE *out)
{
    for (; *list; list++)
        if (!(*list)->internal)
            fprintf(out, "  %-16s %s\n", (*list)->name, (*list)->help);
}

void device_class_help(const struct device_class *class, FILE *out)
{
    fprintf(out, "%s: %s\n", class->name, class->help);
    fprintf(out, "  %-16s %s\n", "id=ID", "name in messages, traces and `vmlet info`");
    if (class->bus)
        opts_sub_help(out, class->bus->options);
    if (class->options)
        opts_sub_help(out, class->options);
}

/* ---- instances ---- */

struct common {
    const char *id;
};
static const struct opt common_options[] = {
    OPT_STRING(struct common, id, "id", 0, "ID", "name of the device"), OPT_END};

struct device *device_find(struct board *board, const char *id)
{
    for (struct device *d = board->devices; d; d = d->next)
        if (!strcmp(d->id, id))
            return d;
    return NULL;
}

struct device *device_of_class(struct board *board, const struct device_class *class)
{
    for (struct device *d = board->devices; d; d = d->next)
        if (d->class == class)
            return d;
    return NULL;
}

static unsigned class_count(struct board *board, const struct device_class *class)
{
    unsigned n = 0;
    for (struct device *d = board->devices; d; d = d->next)
        n += d->class == class;
    return n;
}

static __attribute__((format(printf, 3, 4))) struct device *fail(char *err, size_t errlen, const char *fmt,
                                                                 ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, errlen, fmt, ap);
    va_end(ap);
    return NULL;
}

/* What an id may be: it becomes part of commands, file names and trace lines. */
static bool id_good(const char *id, size_t size)
{
    size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n && !id[n] && n < size;
}

static void device_free(struct device *dev)
{
    if (dev->leave)
        dev->leave(dev);
    for (struct device_timer *t = dev->timers; t; t = t->next)
        loop_timer_cancel(&t->timer);
    for (struct device_task *t = dev->tasks; t; t = t->next)
        loop_task_cancel(&t->task);
    for (unsigned i = 0; i < dev->n_maps; i++)
        reg_map_free(&dev->maps[i]);
    jobs_free(dev);
    free(dev->maps);
    watch_free(dev);
    free(dev);
}

static unsigned class_banks(const struct device_class *class)
{
    unsigned n = 0;
    while (class->banks && class->banks[n])
        n++;
    return n;
}

struct reg_map *device_add_bank(struct device *dev, const struct reg_bank *bank)
{
    struct reg_map *map = &dev->maps[dev->n_maps];
    assert(dev->n_maps <= class_banks(dev->class));
    if (!reg_map_init(map, dev, bank, dev->class->size))
        return NULL;
    regs_reset(map, true);
    dev->n_maps++;
    return map;
}

static bool device_make_maps(struct device *dev)
{
    unsigned n = class_banks(dev->class);

    dev->maps = calloc(n + 1, sizeof(*dev->maps)); /* one for device_add_bank() */
    if (!dev->maps)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!device_add_bank(dev, dev->class->banks[i]))
            return false;
    return true;
}

struct device *device_new(struct board *board, const struct device_class *class, const char *id,
                          const char *options, char *err, size_t errlen)
{
    struct common common = {.id = id};
    struct device *dev;
    const char *sentence;

    assert(class->size >= sizeof(struct device));
    if (class->single && class_count(board, class))
        return fail(err, errlen, "--device %s: there is one already (give it once)", class->name);
    dev = calloc(1, class->size);
    if (!dev)
        return fail(err, errlen, "--device %s: out of memory", class->name);
    dev->class = class;
    dev->board = board;

    struct opt_target targets[3] = {
        {common_options, &common}
    };
    size_t n_targets = 1;
    if (class->bus)
        targets[n_targets++] = (struct opt_target){class->bus->options, dev};
    if (class->options)
        targets[n_targets++] = (struct opt_target){class->options, dev};
    for (size_t i = 1; i < n_targets; i++)
        opts_preset(targets[i].table, dev);
    char label[80];
    snprintf(label, sizeof(label), "--device %s", class->name);
    sentence = opts_sub_into(targets, n_targets, label, options);
    if (sentence) {
        fail(err, errlen, "%s", sentence);
        device_free(dev);
        return NULL;
    }

    if (common.id && !id_good(common.id, sizeof(dev->id))) {
        fail(err, errlen, "--device %s: id=%.40s: not a name (letters, digits, . _ -, at most %zu of them)",
             class->name, common.id, sizeof(dev->id) - 1);
        device_free(dev);
        return NULL;
    }
    if (common.id) {
        snprintf(dev->id, sizeof(dev->id), "%s", common.id);
    } else if (class->single) {
        snprintf(dev->id, sizeof(dev->id), "%s", class->name);
    } else { /* the class's next index; past those that users took by name */
        unsigned i = class_count(board, class);
        do
            snprintf(dev->id, sizeof(dev->id), "%.20s%u", class->name, i++);
        while (device_find(board, dev->id));
    }
    if (device_find(board, dev->id)) {
        fail(err, errlen, "--device %s: id=%s: taken by another device (choose another)", class->name,
             dev->id);
        device_free(dev);
        return NULL;
    }

    lock_init(&dev->lock, LOCK_DEVICE, dev->id);
    if (!device_make_maps(dev) || !watch_counters(dev) || !jobs_init(dev)) {
        fail(err, errlen, "%s: out of memory", dev->id);
        device_free(dev);
        return NULL;
    }
    sentence = class->bus && class->bus->init ? class->bus->init(dev, board) : NULL;
    if (!sentence && class->init)
        sentence = class->init(dev, board);
    if (sentence) {
        fail(err, errlen, "%s: %s", dev->id, sentence);
        device_free(dev);
        return NULL;
    }
    if (class->reset) {
        lock_take(&dev->lock);
        class->reset(dev);
        lock_drop(&dev->lock);
    }
    if (!board->devices_tail)
        board->devices_tail = &board->devices;
    *board->devices_tail = dev;
    board->devices_tail = &dev->next;
    return dev;
}

struct device *device_add(struct board *board, const struct device_class *const *list, const char *spec,
                          char *err, size_t errlen)
{
    const char *rest, *name = opts_first(spec, &rest);
    const struct device_class *class = device_class_find(list, name);

    if (!class || class->internal)
        return fail(err, errlen, "--device %.60s: no such device (--device help lists them)", name);
    return device_new(board, class, NULL, rest, err, errlen);
}

void devices_free(struct board *board)
{
    /* Last made first: a device may lean on those before it. */
    while (board->devices) {
        struct device **last = &board->devices;
        while ((*last)->next)
            last = &(*last)->next;
        struct device *dev = *last;
        *last = NULL;
        if (dev->class->fini)
            dev->class->fini(dev);
        device_free(dev);
    }
    board->devices_tail = &board->devices;
}

void device_map_ports(struct device *dev, unsigned bank, uint16_t port)
{
    if (!region_add(dev->board->io_root, &dev->maps[bank].region, port, 0))
        abort(); /* a bank is added once, by init */
}

void device_enter(struct device *dev)
{
    ioevents_drain(); /* what the guest wrote before comes before */
    lock_take(&dev->lock);
}

void device_reset_locked(struct device *dev)
{
    for (unsigned i = 0; i < dev->n_maps; i++)
        regs_reset(&dev->maps[i], false);
    jobs_reset(dev);
    if (dev->bus_reset)
        dev->bus_reset(dev);
    if (dev->class->reset)
        dev->class->reset(dev);
    device_was_reset(dev);
}

void device_reset(struct device *dev)
{
    device_enter(dev);
    device_reset_locked(dev);
    lock_drop(&dev->lock);
}

void devices_reset(struct board *board)
{
    for (struct device *d = board->devices; d; d = d->next)
        device_reset(d);
}

void device_dump(struct device *dev, FILE *out)
{
    device_enter(dev);
    for (unsigned i = 0; i < dev->n_maps; i++) {
        fprintf(out, "%s:\n", dev->maps[i].name);
        regs_dump(&dev->maps[i], out);
    }
    for (const struct state_field *f = dev->class->state; f && f->name; f++) {
        fprintf(out, "      %-12s", f->name);
        uint32_t n = f->count ? f->count : 1;
        for (uint32_t i = 0; i < n && i < 16; i++) {
            uint64_t v = 0;
            memcpy(&v, (char *)dev + f->offset + (size_t)i * (f->stride ? f->stride : f->width), f->width);
            fprintf(out, " 0x%" PRIx64, v);
        }
        fprintf(out, n > 16 ? " … (%" PRIu32 ")\n" : "\n", n);
    }
    fprintf(out,
            "refused: %" PRIu64 " at no register, %" PRIu64 " of a wrong size, %" PRIu64
            " in a wrong direction, %" PRIu64 " while locked\n",
            dev->refused[REG_FAULT_HOLE], dev->refused[REG_FAULT_SIZE], dev->refused[REG_FAULT_DIRECTION],
            dev->refused[REG_FAULT_LOCKED]);
    lock_drop(&dev->lock);
}

/* ---- timers and tasks ----
 * The loop may have taken a timer off its queue and be waiting for the device's lock when the device cancels or moves it.
 * So the deadline that counts is the device's own, under the lock; a run that comes too early does nothing, because the
 * loop's timer was armed again by whoever moved the deadline. */

static void timer_fired(void *arg)
{
    struct device_timer *t = arg;

    device_enter(t->dev);
    if (t->deadline != DEVICE_TIMER_OFF && t->deadline <= loop_now(t->dev->board->loop)) {
        t->deadline = DEVICE_TIMER_OFF;
        if (t->job)
            job_over(t->dev, t->job);
        t->fn(t->dev);
    }
    lock_drop(&t->dev->lock);
}

void device_timer_init(struct device *dev, struct device_timer *t, void (*fn)(struct device *dev))
{
    t->dev = dev;
    t->fn = fn;
    t->deadline = DEVICE_TIMER_OFF;
    t->next = dev->timers;
    dev->timers = t;
    loop_timer_init(dev->board->loop, &t->timer, timer_fired, t);
}

void device_timer_set(struct device_timer *t, uint64_t deadline_ns)
{
    t->deadline = deadline_ns;
    loop_timer_set(&t->timer, deadline_ns); /* DEVICE_TIMER_OFF is LOOP_NEVER: cancels */
}

void device_timer_after(struct device_timer *t, uint64_t ns)
{
    device_timer_set(t, loop_now(t->dev->board->loop) + ns);
}

void device_timer_cancel(struct device_timer *t)
{
    if (t->deadline == DEVICE_TIMER_OFF)
        return;
    t->deadline = DEVICE_TIMER_OFF;
    loop_timer_cancel(&t->timer);
}

static void task_runs(void *arg)
{
    struct device_task *t = arg;

    device_enter(t->dev);
    t->fn(t->dev);
    lock_drop(&t->dev->lock);
}

void device_task_init(struct device *dev, struct device_task *t, void (*fn)(struct device *dev))
{
    t->dev = dev;
    t->fn = fn;
    t->next = dev->tasks;
    dev->tasks = t;
    loop_task_init(dev->board->loop, &t->task, task_runs, t);
}

void device_task_post(struct device_task *t)
{
    loop_task_post(&t->task);
}
