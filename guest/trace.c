// SPDX-License-Identifier: MIT
/* Traces: see include/guest/trace.h. One watcher for all devices (mem/watch.h); what it is told becomes a line on the stack of
 * whoever did it, and goes into the rings of the outputs under one lock, so that both have the same order. */
#include "guest/trace.h"

#include "guest/trace_line.h"
#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "kvm/host/patient.h"
#include "kvm/host/stream.h"
#include "kvm/irq.h"
#include "mem/region.h"
#include "mem/watch.h"
#include "pci/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct output {
    struct trace *trace;
    const char *name; /* for warnings */
    struct stream_out *stream;
    uint64_t lost, lost_told;
};

/* What a driver that polls would fill a terminal with: the last line of the text, and how often it came again. */
struct again {
    char line[TRACE_TEXT]; /* behind the time */
    size_t n;
    uint64_t times, time, told;
};

struct trace {
    struct watcher watcher; /* first */
    struct board *board;
    uint64_t start;
    bool (*where)(void *ctx, unsigned *cpu, uint64_t *pc);
    const char *(*name)(void *ctx, uint64_t pc, char *buf, size_t size);
    void *ctx;
    bool map, lines;
    struct lock lock; /* of the outputs */
    struct output text, json;
    struct again again;      /* of the text */
    bool brief;              /* a terminal reads it */
    struct loop_timer limit; /* of trace_drain() */
    bool late;
};

/* --- lines */

/* Lock held. */
static void out_line(struct output *o, const char *line, size_t n,
                     size_t (*lost)(uint64_t n, char *buf, size_t size))
{
    char gap[128];
    if (!o->stream)
        return;
    size_t room = stream_out_room(o->stream), gap_n = o->lost != o->lost_told ? sizeof gap : 0;
    if (room < n + gap_n) {
        o->lost++;
        return;
    }
    if (gap_n) {
        gap_n = lost(o->lost - o->lost_told, gap, sizeof gap);
        o->lost_told = o->lost;
        stream_out_write(o->stream, gap, gap_n);
    }
    stream_out_write(o->stream, line, n);
}

/* Lock held. */
static void tell_again(struct trace *t)
{
    char line[96];
    struct again *a = &t->again;
    if (!a->times)
        return;
    out_line(&t->text, line, trace_again_text(a->time, a->times, line, sizeof line), trace_lost_text);
    a->told = a->time;
    a->times = 0;
}

/* Lock held. A line that differs from the one before in its time alone is counted; once a second that is told. */
static void out_text(struct trace *t, uint64_t time, const char *line, size_t n)
{
    struct again *a = &t->again;
    size_t head = n < TRACE_TIME ? n : TRACE_TIME;
    if (!t->brief) {
        out_line(&t->text, line, n, trace_lost_text);
        return;
    }
    if (a->n == n - head && !memcmp(a->line, line + head, a->n)) {
        a->times++;
        a->time = time;
        if (time - a->told >= SECOND)
            tell_again(t);
        return;
    }
    tell_again(t);
    a->n = n - head;
    a->told = time;
    memcpy(a->line, line + head, a->n);
    out_line(&t->text, line, n, trace_lost_text);
}

static void emit(struct trace *t, struct trace_line *l)
{
    char text[TRACE_TEXT], json[TRACE_JSON], at[TRACE_NAME];
    size_t n_text = 0, n_json = 0;
    l->time = loop_now(t->board->loop) - t->start;
    l->has_cpu = t->where && t->where(t->ctx, &l->cpu, &l->pc);
    if (l->has_cpu && t->name)
        l->at = t->name(t->ctx, l->pc, at, sizeof at);
    if (t->text.stream)
        n_text = trace_text(l, text, sizeof text);
    if (t->json.stream)
        n_json = trace_json(l, json, sizeof json);
    lock_take(&t->lock);
    if (n_text)
        out_text(t, l->time, text, n_text);
    out_line(&t->json, json, n_json, trace_lost_json);
    lock_drop(&t->lock);
}

static void on_event(struct watcher *w, struct device *dev, const struct watch_event *e)
{
    struct trace *t = (struct trace *)w;
    char led[160];
    struct trace_line l = {.dev = dev, .e = e};
    if (e->kind == WATCH_IRQ && !e->text)
        return; /* lowered, and was low */
    if (e->kind == WATCH_IRQ && e->write && pci_causes(dev)) {
        snprintf(led, sizeof led, "0x%x", *pci_causes(dev));
        l.led = led;
    } else if (dev->class->explain && (e->kind == WATCH_REG || (e->kind == WATCH_IRQ && e->write))) {
        led[0] = 0;
        dev->class->explain(dev, e->kind == WATCH_REG ? e->reg : NULL, e->write, e->value, led, sizeof led);
        l.led = *led ? led : NULL;
    }
    emit(t, &l);
}

static const struct watcher_ops watcher_ops = {.event = on_event};

void trace_map(void *trace, const char *line)
{
    struct trace *t = trace;
    if (t && t->map)
        emit(t, &(struct trace_line){.op = "mem", .text = line});
}

static void on_line(void *ctx, const char *source, unsigned gsi, bool level)
{
    char text[80];
    snprintf(text, sizeof text, "%u %s (%.40s)", gsi, level ? "up" : "down", source);
    emit(ctx, &(struct trace_line){.op = "line", .text = text});
}

/* --- what is traced */

static const struct {
    const char *word;
    uint32_t kinds;
    bool lines, map;
} words[] = {
    {"pci", 1u << WATCH_CONFIG, false, false},
    {"irq", 1u << WATCH_IRQ,    true,  false},
    {"dma", 1u << WATCH_DMA,    false, false},
    {"mem", 0,                  false, true },
    {"all", WATCH_ALL,          true,  true },
};

/* The first round only looks whether the words are known: what is attached stays so. */
static bool watch(struct trace *t, struct device *dev, uint32_t kinds, bool attach)
{
    if (!attach)
        return true;
    if (kinds & (1u << WATCH_REG))
        device_plain(dev); /* every word is to be seen */
    return device_watch(dev, &t->watcher, kinds);
}

static const char no_memory[] = "--trace: out of memory";

static const char *add_word(struct trace *t, const char *word, bool attach, char *err, size_t errlen)
{
    bool found = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i].word))
            continue;
        t->lines |= words[i].lines;
        t->map |= words[i].map;
        for (struct device *d = t->board->devices; d; d = d->next)
            if (words[i].kinds && !watch(t, d, words[i].kinds, attach))
                return no_memory;
        return NULL;
    }
    for (struct device *d = t->board->devices; d; d = d->next) {
        if (strcmp(word, d->class->name) && strcmp(word, d->id))
            continue;
        found = true;
        if (!watch(t, d, WATCH_ALL & ~(1u << WATCH_CONFIG), attach))
            return no_memory;
    }
    if (found)
        return NULL;
    int n = snprintf(err, errlen, "--trace %.40s: no such device or kind (", word);
    for (struct device *d = t->board->devices; d && (size_t)n < errlen; d = d->next)
        n += snprintf(err + n, errlen - (size_t)n, "%s ", d->id);
    if ((size_t)n < errlen)
        snprintf(err + n, errlen - (size_t)n, "pci irq dma mem all)");
    return err;
}

static const char *add_list(struct trace *t, const char *list, bool attach, char *err, size_t errlen)
{
    char word[64];
    for (;;) {
        size_t n = strcspn(list, ",");
        if (n >= sizeof word || n == 0) {
            snprintf(err, errlen, "--trace: %s (a list such as edu,pci,irq)",
                     n ? "no name is that long" : "a name is empty");
            return err;
        }
        snprintf(word, sizeof word, "%.*s", (int)n, list);
        const char *error = add_word(t, word, attach, err, errlen);
        if (error || !list[n])
            return error;
        list += n + 1;
    }
}

/* --- outputs */

static bool is_drained(const struct output *o)
{
    return !o->stream || stream_out_error(o->stream) || stream_out_is_empty(o->stream);
}

static void on_empty(void *arg)
{
    const struct output *o = arg;
    if (is_drained(&o->trace->text) && is_drained(&o->trace->json))
        loop_stop(o->trace->board->loop); /* asked for by trace_drain() only */
}

static void on_error(void *arg, int error)
{
    const struct output *o = arg;
    warn("%s: %s (the rest of the trace is lost, the guest goes on)", o->name, strerror(error));
}

static const struct stream_out_ops stream_ops = {.error = on_error, .empty = on_empty};

static int open_file(const char *path, uint64_t patience)
{
    int fd = patient_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, patience);
    if (fd >= 0 && !patient_blocking(fd)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static const char *open_outputs(struct trace *t, const struct trace_config *c, char *err, size_t errlen)
{
    size_t ring = c->ring ? c->ring : TRACE_RING;
    t->text.trace = t->json.trace = t;
    t->text.name = "--trace on standard error";
    t->brief = c->text_fd >= 0 && isatty(c->text_fd);
    t->json.name = opts_say("--trace-file %s", c->file ? c->file : "");
    if (c->text_fd >= 0 &&
        !(t->text.stream = stream_out_new(c->board->loop, c->text_fd, ring, &stream_ops, &t->text)))
        return no_memory;
    if (!c->file)
        return NULL;
    int fd = open_file(c->file, c->patience);
    if (fd < 0 && errno == EINTR)
        return NULL; /* a signal is pending: the loop will end the run by it at once */
    if (fd < 0) {
        snprintf(err, errlen, "--trace-file %.200s: %s", c->file,
                 errno == ETIMEDOUT ? "nobody opened the FIFO for reading" : strerror(errno));
        return err;
    }
    t->json.stream = stream_out_new(c->board->loop, fd, ring, &stream_ops, &t->json);
    close(fd); /* the stream has its own */
    return t->json.stream ? NULL : no_memory;
}

static void free_all(struct trace *t)
{
    stream_out_free(t->text.stream);
    stream_out_free(t->json.stream);
    free(t);
}

struct trace *trace_new(const struct trace_config *c, char *err, size_t errlen)
{
    struct trace *t = calloc(1, sizeof *t);
    const char *error = t ? NULL : no_memory;
    if (t) {
        t->watcher.ops = &watcher_ops;
        t->board = c->board;
        t->start = loop_now(c->board->loop);
        t->where = c->where;
        t->name = c->name;
        t->ctx = c->ctx;
        lock_init(&t->lock, LOCK_TRACE, "trace");
        for (size_t i = 0; !error && i < c->list->n; i++)
            error = add_list(t, c->list->v[i], false, err, errlen);
        if (!error)
            error = open_outputs(t, c, err, errlen);
        if (error)
            free_all(t);
        for (size_t i = 0; !error && i < c->list->n; i++) /* without memory for a watcher it is leaked */
            error = add_list(t, c->list->v[i], true, err, errlen);
    }
    if (error) {
        if (error != err)
            snprintf(err, errlen, "%s", error);
        return NULL;
    }
    if (t->lines)
        irqs_watch(c->board->irqs, on_line, t);
    return t;
}

static void on_late(void *arg)
{
    struct trace *t = arg;
    t->late = true;
    loop_stop(t->board->loop);
}

void trace_drain(struct trace *t, uint64_t ns)
{
    char none[1];
    loop_timer_init(t->board->loop, &t->limit, on_late, t);
    loop_timer_after(&t->limit, ns);
    lock_take(&t->lock);
    tell_again(t);
    lock_drop(&t->lock);
    for (int round = 0; round < 2; round++) { /* the second: a last line about those that were lost */
        struct output *outs[] = {&t->text, &t->json};
        for (int i = 0; i < 2; i++)
            if (!is_drained(outs[i]))
                stream_out_notify_empty(outs[i]->stream);
        while (!t->late && !(is_drained(&t->text) && is_drained(&t->json)))
            loop_run(t->board->loop);
        lock_take(&t->lock);
        if (round == 0 && t->text.lost != t->text.lost_told)
            out_line(&t->text, none, 0, trace_lost_text);
        if (round == 0 && t->json.lost != t->json.lost_told)
            out_line(&t->json, none, 0, trace_lost_json);
        lock_drop(&t->lock);
    }
    loop_timer_cancel(&t->limit);
    if (t->text.lost + t->json.lost)
        warn("--trace: %llu lines were lost, since nobody took them in time",
             (unsigned long long)(t->text.lost + t->json.lost));
}

uint64_t trace_lost(struct trace *t)
{
    lock_take(&t->lock);
    uint64_t n = t->text.lost + t->json.lost;
    lock_drop(&t->lock);
    return n;
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    if (t->lines)
        irqs_watch(t->board->irqs, NULL, NULL);
    free_all(t);
}
