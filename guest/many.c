// SPDX-License-Identifier: MIT
/* Many boots in one command: see include/guest/many.h. */
#include "guest/many.h"

#include "guest/junit.h"
#include "guest/report_file.h"
#include "guest/run_child.h"
#include "guest/runs_view.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct work { /* while it runs */
    struct many *many;
    struct runs runs;
    struct run_children children;
    uint64_t began;
};

static void keep(struct many *m, struct run *run)
{
    if (m->n_kept == m->size_kept) {
        size_t size = 2 * m->size_kept + 64;
        struct run **bigger = reallocarray(m->kept, size, sizeof *bigger);
        if (!bigger)
            die("many boots: out of memory");
        m->kept = bigger;
        m->size_kept = size;
    }
    m->kept[m->n_kept++] = run;
}

static void release(struct many *m, struct run *run)
{
    run_clear(run);
    if (m->config.free_runs)
        free(run);
}

/* ---- one run's way */

static struct run *on_next(void *ctx)
{
    struct work *w = ctx;
    return w->many->config.next(w->many->config.ctx);
}

static bool on_start(void *ctx, struct run *run)
{
    struct work *w = ctx;
    runs_view_started(w->many->view, run);
    return run_child_start(&w->children, run);
}

static void on_signal_run(void *ctx, struct run *run, int sig)
{
    struct work *w = ctx;
    run_child_signal(&w->children, run, sig);
}

static void on_ended(void *ctx, struct run *run)
{
    struct work *w = ctx;
    runs_ended(&w->runs, run);
}

static void on_done(void *ctx, struct run *run)
{
    struct work *w = ctx;
    struct many *m = w->many;
    const struct many_config *c = &m->config;
    run->failed = !run->stopped && (c->failed ? c->failed(c->ctx, run) : run->status != 0);
    m->trouble |= run->log_lost;
    m->stopped += run->stopped;
    m->failed += run->failed;
    m->passed += !run->failed && !run->stopped;
    runs_view_ended(m->view, run);
    if (!run->failed) {
        free(run->tail);
        run->tail = NULL;
    }
    if (run->failed && (!m->first || run->number < m->first->number)) {
        m->first = run;
        m->first_status = run->status;
    }
    if (run->failed && c->fail_fast && !w->runs.stopping)
        runs_stop(&w->runs, SIGTERM);
    if (c->all || c->junit || run->failed)
        keep(m, run);
    else
        release(m, run); /* and with it goes the run */
}

static void on_idle(void *ctx)
{
    struct work *w = ctx;
    loop_stop(w->many->loop);
}

static const struct runs_ops runs_ops = {on_next, on_start, on_signal_run, on_done, on_idle};

static void on_signal(void *arg, int sig)
{
    struct work *w = arg;
    if (w->runs.running)
        runs_view_say(w->many->view, "%s: ending what runs (%u)\n", strsignal(sig), w->runs.running);
    w->many->signal = sig;
    runs_stop(&w->runs, SIGTERM);
    if (!w->runs.running)
        loop_stop(w->many->loop);
}

static const struct signals_ops signals_ops = {.end = on_signal};

/* ---- what is told at the end */

static int by_number(const void *a, const void *b)
{
    const struct run *x = *(struct run *const *)a, *y = *(struct run *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

static void summary(const struct many *m, uint64_t ns)
{
    char more[128] = "";
    int n = 0;
    if (m->stopped)
        n = snprintf(more, sizeof more, ", %u stopped", m->stopped);
    if (m->not_run)
        snprintf(more + n, sizeof more - (size_t)n, ", %u not run", m->not_run);
    runs_view_say(m->view, "%u passed, %u failed%s, %.1f s\n", m->passed, m->failed, more,
                  (double)ns / (double)SECOND);
}

static void junit_runs(const struct many *m, FILE *f)
{
    for (size_t i = 0; i < m->n_kept; i++) {
        const struct run *run = m->kept[i];
        enum junit_status status = run->failed                               ? JUNIT_FAILED
                                   : run->state != RUN_ENDED || run->stopped ? JUNIT_SKIPPED
                                                                             : JUNIT_PASSED;
        char why[640], message[704], *text = NULL;
        size_t size;
        FILE *more = run->failed ? open_memstream(&text, &size) : NULL;
        if (more) {
            run_print_command(more, run);
            fputs(run->tail ? run->tail : "", more);
            fclose(more);
        }
        run_describe(run, why, sizeof why);
        snprintf(message, sizeof message, "status %d: %s", run->status, why);
        junit_case(f, m->config.title, run->where, status, run->failed ? message : why, text ? text : "",
                   run->state == RUN_ENDED ? (double)run->ns / (double)SECOND : -1);
        free(text);
    }
}

static const char *write_junit(const struct many *m, uint64_t ns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return "--junit: out of memory";
    struct junit_totals totals = {.tests = m->n_kept,
                                  .failures = m->failed,
                                  .skipped = m->stopped + m->not_run,
                                  .seconds = (double)ns / (double)SECOND};
    junit_begin(f, m->config.title, &totals);
    junit_runs(m, f);
    junit_end(f);
    const char *error = fclose(f) ? "--junit: out of memory"
                                  : report_file_write("--junit", m->config.junit, text, size, 5 * SECOND);
    free(text);
    return error;
}

const char *many_check(const char *logs, const char *junit)
{
    const char *error = logs ? run_logs_check(logs) : NULL;
    return error || !junit ? error : report_file_check("--junit", junit);
}

static void on_drained(void *ctx)
{
    struct many *m = ctx;
    m->drained = true;
    loop_stop(m->loop);
}

static void on_late(void *arg)
{
    on_drained(arg);
}

/* All that was said is out; a second is enough where a signal has come. */
static void drain(struct many *m)
{
    struct loop_timer late;
    loop_timer_init(m->loop, &late, on_late, m);
    runs_view_drain(m->view, on_drained, m);
    while (!m->drained) {
        if (m->signal && !loop_timer_armed(&late))
            loop_timer_after(&late, SECOND);
        loop_run(m->loop);
    }
    loop_timer_cancel(&late);
}

static void tell(struct many *m, uint64_t began)
{
    uint64_t ns = loop_now(m->loop) - began;
    struct run *run;
    while (m->config.all && (run = m->config.next(m->config.ctx))) {
        m->not_run++;
        keep(m, run);
    }
    if (m->n_kept)
        qsort(m->kept, m->n_kept, sizeof *m->kept, by_number);
    if (m->config.junit) {
        const char *error = write_junit(m, ns);
        if (error)
            warn("%s", error);
        m->trouble |= error != NULL;
    }
    size_t n = 0; /* those for the table come first */
    struct run **rows = calloc(m->n_kept + 1, sizeof *rows);
    for (size_t i = 0; rows && i < m->n_kept; i++)
        if (m->config.all || m->kept[i]->failed)
            rows[n++] = m->kept[i];
    runs_view_table(m->view, rows, n);
    free(rows);
    summary(m, ns);
}

void many_run(struct many *m, const struct many_config *config)
{
    struct work w = {.many = m};
    const char *error;
    *m = (struct many){.config = *config};
    if (!(m->loop = loop_new(NULL)))
        die("event loop: %s", strerror(errno));
    if (!(m->view = runs_view_new(m->loop, config->total, &error)))
        die("standard output: %s", error);
    w.began = loop_now(m->loop);
    w.children = (struct run_children){.loop = m->loop, .logs = config->logs, .ended = on_ended, .ctx = &w};
    if (!run_children_init(&w.children, config->jobs))
        die("many boots: out of memory");
    if (!signals_watch(m->loop, &signals_ops, &w))
        die("signals: %s", strerror(errno));
    runs_init(&w.runs, m->loop, config->jobs, &runs_ops, &w);
    runs_go(&w.runs);
    loop_run(m->loop);
    tell(m, w.began);
    drain(m);
    runs_free(&w.runs);
    run_children_free(&w.children);
}

int many_status(struct many *m, int failed)
{
    if (runs_view_failed(m->view)) {
        warn("standard output: cannot be written");
        m->trouble = true;
    }
    runs_view_free(m->view);
    for (size_t i = 0; i < m->n_kept; i++)
        release(m, m->kept[i]);
    free(m->kept);
    if (m->signal)
        signal_die(m->signal);
    return m->failed ? failed : m->trouble ? STATUS_SETUP : 0;
}
