// SPDX-License-Identifier: MIT
/* Many runs, with children that are a line in a list and a clock that stands still. */
#include "test.h"

#include "guest/runs.h"

#include <signal.h>

enum {
    MOST = 3000,
};

static struct loop *loop;
static struct runs runs;
static struct run list[MOST];
static unsigned n, at, idles, most_running, done_order[MOST], n_done;
static int signals[MOST];
static bool refuse, held;
static uint64_t now;

static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return now;
}

static struct run *next(void *ctx)
{
    (void)ctx;
    return at < n && !held ? &list[at++] : NULL;
}

static bool start(void *ctx, struct run *run)
{
    (void)ctx;
    CHECK_EQ(run->state, RUN_RUNNING);
    if (runs.running > most_running)
        most_running = runs.running;
    return !refuse;
}

static void send(void *ctx, struct run *run, int sig)
{
    (void)ctx;
    signals[run - list] = sig;
}

static void done(void *ctx, struct run *run)
{
    (void)ctx;
    CHECK_EQ(run->state, RUN_ENDED);
    done_order[n_done++] = (unsigned)(run - list);
    if (held) /* the first one decides what comes next */
        held = false, n = 4;
}

static void idle(void *ctx)
{
    (void)ctx;
    idles++;
}

static const struct runs_ops ops = {next, start, send, done, idle};

static void settle(void)
{
    while (loop_step(loop))
        ;
}

static void begin(unsigned how_many, unsigned jobs)
{
    static const struct clock clock = {fake_now, NULL};
    memset(list, 0, sizeof list);
    memset(signals, 0, sizeof signals);
    n = how_many;
    at = idles = most_running = n_done = 0;
    refuse = held = false;
    now = 1;
    loop = loop_new(&clock);
    runs_init(&runs, loop, jobs, &ops, NULL);
    runs_go(&runs);
    settle();
}

static void end(void)
{
    runs_free(&runs);
    loop_free(loop);
}

TEST(runs_so_many_at_a_time_in_order)
{
    begin(5, 2);
    CHECK_EQ(at, 2);
    now = 11;
    runs_ended(&runs, &list[1]);
    settle();
    CHECK_EQ(at, 3);
    CHECK_EQ(list[1].ns, 10);
    CHECK_EQ(idles, 0);
    unsigned order[] = {0, 2, 4, 3};
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(list[order[i]].state, RUN_RUNNING);
        runs_ended(&runs, &list[order[i]]);
        settle();
    }
    CHECK_EQ(most_running, 2);
    CHECK_EQ(n_done, 5);
    CHECK_EQ(idles, 1);
    end();
}

TEST(runs_none_at_all)
{
    begin(0, 4);
    CHECK_EQ(idles, 1);
    end();
}

TEST(runs_that_never_start_do_not_nest)
{
    begin(0, 2);
    refuse = true;
    n = MOST;
    runs_go(&runs);
    settle();
    CHECK_EQ(n_done, MOST);
    CHECK_EQ(list[MOST - 1].status, 125);
    CHECK_EQ(runs.running, 0);
    end();
}

/* The next ones are only known when the first has ended. */
TEST(runs_that_wait_for_an_end)
{
    begin(1, 3);
    CHECK_EQ(at, 1);
    held = true;
    runs_ended(&runs, &list[0]);
    settle();
    CHECK_EQ(at, 4);
    CHECK_EQ(runs.running, 3);
    CHECK_EQ(idles, 0);
    end();
}

TEST(runs_stop_by_a_signal_then_by_force)
{
    begin(5, 2);
    runs_stop(&runs, SIGTERM);
    settle();
    CHECK(signals[0] == SIGTERM && signals[1] == SIGTERM && !signals[2]);
    CHECK(list[0].stopped && !list[2].stopped);
    runs_ended(&runs, &list[0]);
    settle();
    CHECK_EQ(at, 2); /* none follows */
    CHECK_EQ(idles, 0);
    now += RUNS_GRACE - 1;
    settle();
    CHECK_EQ(signals[1], SIGTERM);
    now += 1;
    settle();
    CHECK_EQ(signals[1], SIGKILL);
    CHECK_EQ(signals[0], SIGTERM); /* it is gone, and its number may be another's */
    runs_ended(&runs, &list[1]);
    settle();
    CHECK_EQ(idles, 1);
    end();
}

TEST(runs_stopped_twice_are_killed)
{
    begin(2, 2);
    runs_stop(&runs, SIGTERM);
    runs_stop(&runs, SIGTERM);
    CHECK_EQ(signals[1], SIGKILL);
    end();
}

TEST(runs_that_may_come_to_their_end)
{
    begin(3, 2);
    runs_stop(&runs, 0);
    settle();
    CHECK(!signals[0] && !list[0].stopped);
    runs_ended(&runs, &list[0]);
    runs_ended(&runs, &list[1]);
    settle();
    CHECK_EQ(at, 2);
    CHECK_EQ(idles, 1);
    end();
}
