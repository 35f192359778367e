// SPDX-License-Identifier: MIT
/* What is seen of many runs: see include/guest/runs_view.h. */
#include "guest/runs_view.h"

#include "guest/words.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/stream.h"
#include "kvm/host/term.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RING = 65536,
    TAIL_LINES = 20,
    BAR = 24, /* characters */
};

struct runs_view {
    struct loop *loop;
    uint64_t began;
    unsigned total, ended, failed, running;
    struct stream_out *out, *bar; /* bar: out, one of its own, or NULL */
    int bar_fd;
    bool bar_shown;
    struct loop_timer tick;
    char *waiting; /* text that did not fit yet */
    size_t n_waiting, size_waiting;
    void (*drained)(void *ctx);
    void *ctx;
};

/* ---- output that does not block */

static void push(struct runs_view *v)
{
    size_t n = stream_out_write(v->out, v->waiting, v->n_waiting);
    memmove(v->waiting, v->waiting + n, v->n_waiting - n);
    v->n_waiting -= n;
    if (v->drained && !v->n_waiting)
        stream_out_notify_empty(v->out);
}

static void on_room(void *arg)
{
    push(arg);
}

static void on_empty(void *arg)
{
    struct runs_view *v = arg;
    if (v->drained && !v->n_waiting)
        v->drained(v->ctx);
}

static void put(struct runs_view *v, const char *text, size_t n)
{
    if (!n || stream_out_error(v->out))
        return;
    if (n > v->size_waiting - v->n_waiting) {
        size_t size = 2 * (v->n_waiting + n);
        char *bigger = realloc(v->waiting, size);
        if (!bigger)
            return; /* what is told, not what is: the files and the status are still right */
        v->waiting = bigger;
        v->size_waiting = size;
    }
    memcpy(v->waiting + v->n_waiting, text, n);
    v->n_waiting += n;
    push(v);
}

/* ---- the bar */

static void bar_hide(struct runs_view *v)
{
    static const char wipe[] = "\r\033[K";
    if (!v->bar_shown)
        return;
    v->bar_shown = false;
    if (v->bar == v->out)
        put(v, wipe, sizeof wipe - 1);
    else
        stream_out_write(v->bar, wipe, sizeof wipe - 1);
}

static void bar_show(struct runs_view *v)
{
    char text[256], bar[BAR + 1] = "";
    uint16_t columns = 80, rows;
    if (!v->bar || v->n_waiting || stream_out_room(v->bar) < sizeof text)
        return; /* nobody reads: old news are not worth a queue */
    unsigned full = v->total ? (unsigned)((uint64_t)v->ended * BAR / v->total) : 0;
    uint64_t s = (loop_now(v->loop) - v->began) / SECOND;
    for (unsigned i = 0; i < BAR; i++)
        bar[i] = i < full ? '#' : '.';
    if (!term_size(v->bar_fd, &columns, &rows) || columns > sizeof text - 8)
        columns = 80;
    char of[32] = "";
    if (v->total)
        snprintf(of, sizeof of, " of %u", v->total);
    int n = snprintf(text, sizeof text, "\r%s%s%s%u%s, %u running, %u failed, %" PRIu64 ":%02" PRIu64,
                     v->total ? "[" : "", v->total ? bar : "", v->total ? "] " : "", v->ended, of, v->running,
                     v->failed, s / 60, s % 60);
    if (n > columns)
        n = columns; /* the carriage return is none of them: one column stays free */
    n += snprintf(text + n, sizeof text - (size_t)n, "\033[K");
    stream_out_write(v->bar, text, (size_t)n);
    v->bar_shown = true;
}

static void on_tick(void *arg)
{
    struct runs_view *v = arg;
    bar_show(v);
    loop_timer_after(&v->tick, SECOND);
}

/* ---- text */

void runs_view_say(struct runs_view *v, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    bar_hide(v);
    put(v, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    bar_show(v);
}

void run_describe(const struct run *run, char *out, size_t size)
{
    bool own = !run->reason[0] || !strcmp(run->reason, "exited");
    if (run->state == RUN_WAITING)
        snprintf(out, size, "not run");
    else if (run->state == RUN_RUNNING)
        snprintf(out, size, "running");
    else if (run->stopped)
        snprintf(out, size, "stopped");
    else if (!run->failed && own && !run->status)
        snprintf(out, size, "passed");
    else if (own && run->detail[0])
        snprintf(out, size, "%s", run->detail);
    else if (own)
        snprintf(out, size, "ended with status %d", run->status);
    else
        snprintf(out, size, "%s%s%s", run->reason, run->detail[0] ? ": " : "", run->detail);
}

void run_print_command(FILE *f, const struct run *run)
{
    int n = 0;
    while (run->before && run->before[n])
        n++;
    fputs("vmlet run ", f);
    words_print(f, run->before, n);
    if (n)
        fputc(' ', f);
    words_print(f, run->words, run->n_words);
    fputc('\n', f);
}

static void print_tail(FILE *f, const char *text)
{
    const char *end = text + strlen(text), *at = end;
    for (int lines = 0; at > text; at--)
        if (at[-1] == '\n' && at != end && ++lines == TAIL_LINES)
            break;
    while (at < end) {
        size_t n = strcspn(at, "\n");
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)n, at);
        size_t shown = strlen(line);
        if (shown && line[shown - 1] == '\r')
            line[--shown] = 0;
        log_clean(line, shown);
        fprintf(f, "    | %s\n", line);
        at += n + (at[n] == '\n');
    }
}

/* Text by stdio, into the queue. */
static void print_to(struct runs_view *v, void (*print)(FILE *f, const void *arg, size_t n), const void *arg,
                     size_t n)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return;
    print(f, arg, n);
    bar_hide(v);
    if (fclose(f) == 0)
        put(v, text, size);
    free(text);
    bar_show(v);
}

static double seconds(const struct run *run)
{
    return (double)run->ns / (double)SECOND;
}

static void print_ended(FILE *f, const void *arg, size_t n)
{
    const struct run *run = arg;
    char why[640];
    (void)n;
    run_describe(run, why, sizeof why);
    fprintf(f, "%-4s  %s  %.1f s",
            run->stopped  ? "stop"
            : run->failed ? "FAIL"
                          : "ok",
            run->where, seconds(run));
    if (!run->failed || run->stopped) {
        if (run->status && !run->stopped) /* which is right, as it seems */
            fprintf(f, "  %s", why);
        fputc('\n', f);
        return;
    }
    fprintf(f, "  %s", why);
    if (strncmp(why, "ended", 5))
        fprintf(f, " (status %d)", run->status);
    fputc('\n', f);
    fputs("    ", f);
    run_print_command(f, run);
    if (run->tail)
        print_tail(f, run->tail);
}

void runs_view_started(struct runs_view *v, const struct run *run)
{
    (void)run;
    v->running++;
    bar_show(v);
}

void runs_view_ended(struct runs_view *v, const struct run *run)
{
    v->running--;
    v->ended++;
    v->failed += run->failed && !run->stopped;
    if (run->failed || v->bar != v->out)
        print_to(v, print_ended, run, 1);
    else
        bar_show(v);
}

void runs_view_total(struct runs_view *v, unsigned total)
{
    v->total = total;
}

static void print_table(FILE *f, const void *arg, size_t n)
{
    struct run *const *runs = arg;
    size_t width = 4;
    for (size_t i = 0; i < n; i++)
        if (strlen(runs[i]->where) > width)
            width = strlen(runs[i]->where);
    fprintf(f, "%-*s  status    time  how it ended\n", (int)width, "run");
    for (size_t i = 0; i < n; i++) {
        const struct run *run = runs[i];
        char why[640], status[16] = "-", time[16] = "-";
        run_describe(run, why, sizeof why);
        if (run->state == RUN_ENDED) {
            snprintf(status, sizeof status, "%d", run->status);
            snprintf(time, sizeof time, "%.1f", seconds(run));
        }
        fprintf(f, "%-*s  %6s  %6s  %s\n", (int)width, run->where, status, time, why);
        if (run->state == RUN_ENDED && run->failed) {
            fputs("    ", f);
            run_print_command(f, run);
        }
    }
}

void runs_view_table(struct runs_view *v, struct run *const *runs, size_t n)
{
    loop_timer_cancel(&v->tick);
    bar_hide(v);
    if (v->bar != v->out)
        stream_out_free(v->bar);
    v->bar = NULL;
    if (n)
        print_to(v, print_table, runs, n);
}

/* ---- life */

struct runs_view *runs_view_new(struct loop *loop, unsigned total, const char **err)
{
    static const struct stream_out_ops ops = {.room = on_room, .empty = on_empty}, none = {0};
    struct runs_view *v = calloc(1, sizeof *v);
    *err = "out of memory";
    if (!v)
        return NULL;
    *v = (struct runs_view){.loop = loop, .began = loop_now(loop), .total = total};
    loop_timer_init(loop, &v->tick, on_tick, v);
    v->out = stream_out_new(loop, STDOUT_FILENO, RING, &ops, v);
    if (v->out && isatty(STDOUT_FILENO)) {
        v->bar = v->out;
        v->bar_fd = STDOUT_FILENO;
    } else if (v->out && isatty(STDERR_FILENO)) {
        v->bar = stream_out_new(loop, STDERR_FILENO, RING, &none, v);
        v->bar_fd = STDERR_FILENO;
    }
    if (!v->out) {
        free(v);
        return NULL;
    }
    if (v->bar)
        on_tick(v);
    return v;
}

void runs_view_drain(struct runs_view *v, void (*drained)(void *ctx), void *ctx)
{
    v->drained = drained;
    v->ctx = ctx;
    push(v);
}

bool runs_view_failed(const struct runs_view *v)
{
    return stream_out_error(v->out) != 0;
}

void runs_view_free(struct runs_view *v)
{
    loop_timer_cancel(&v->tick);
    if (v->bar && v->bar != v->out)
        stream_out_free(v->bar);
    stream_out_free(v->out);
    free(v->waiting);
    free(v);
}
