// SPDX-License-Identifier: MIT
/* Many runs: see include/guest/runs.h. Starting is a task of the loop's, so that a start that fails at once, a thousand times,
 * does not nest a thousand times. */
#include "guest/runs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

void run_clear(struct run *run)
{
    free(run->report);
    free(run->tail);
    run->report = run->tail = NULL;
}

static void fill(void *arg)
{
    struct runs *runs = arg;
    struct run *run = NULL;
    if (!runs->stopping && runs->running < runs->jobs && (run = runs->ops->next(runs->ctx))) {
        run->state = RUN_RUNNING;
        run->began = loop_now(runs->loop);
        run->next_ = runs->list;
        runs->list = run;
        runs->running++;
        if (!runs->ops->start(runs->ctx, run)) {
            run->status = 125;
            runs_ended(runs, run);
        }
        loop_task_post(&runs->fill);
    } else if (!runs->running) {
        runs->ops->idle(runs->ctx);
    }
}

static void signal_all(struct runs *runs, int sig)
{
    for (struct run *r = runs->list; r; r = r->next_) {
        r->stopped = true;
        runs->ops->signal(runs->ctx, r, sig);
    }
}

static void on_grace(void *arg)
{
    signal_all(arg, SIGKILL);
}

void runs_init(struct runs *runs, struct loop *loop, unsigned jobs, const struct runs_ops *ops, void *ctx)
{
    *runs = (struct runs){.loop = loop, .ops = ops, .ctx = ctx, .jobs = jobs};
    loop_task_init(loop, &runs->fill, fill, runs);
    loop_timer_init(loop, &runs->grace, on_grace, runs);
}

void runs_go(struct runs *runs)
{
    loop_task_post(&runs->fill);
}

void runs_ended(struct runs *runs, struct run *run)
{
    struct run **at = &runs->list;
    while (*at != run)
        at = &(*at)->next_;
    *at = run->next_;
    runs->running--;
    run->state = RUN_ENDED;
    run->ns = loop_now(runs->loop) - run->began;
    runs->ops->done(runs->ctx, run);
    loop_task_post(&runs->fill);
}

void runs_stop(struct runs *runs, int sig)
{
    bool again = loop_timer_armed(&runs->grace);
    runs->stopping = true;
    loop_task_post(&runs->fill);
    if (!sig)
        return;
    signal_all(runs, again ? SIGKILL : sig);
    loop_timer_after(&runs->grace, RUNS_GRACE);
}

void runs_free(struct runs *runs)
{
    loop_timer_cancel(&runs->grace);
    loop_task_cancel(&runs->fill);
}
