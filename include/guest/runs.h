/* SPDX-License-Identifier: MIT
 *
 * Many runs, some at a time: what comes next, when it may start, how all of them end. Knows no process: the ops start
 * things and say that they have ended, so that a test is its own processes.
 *
 *     next() gives a run -> start() -> … runs_ended() -> done(), and so on, `jobs` of them at a time, until next() gives none and
 *     none is left: idle().
 *
 * runs_stop(): no further one is started; with a signal the running ones get it, and SIGKILL after RUNS_GRACE. A second call
 * kills at once. They end as others do, with run->stopped set.
 *
 * Loop thread. A run is the caller's: from next() to done() it is lent.
 */
#ifndef GUEST_RUNS_H
#define GUEST_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kvm/host/loop.h"

#define RUNS_GRACE UINT64_C(5000000000) /* ns: vmlet takes a second to get a guest's output out */

enum run_state {
    RUN_WAITING,
    RUN_RUNNING,
    RUN_ENDED,
};

struct run {
    unsigned number; /* in the order of a table */
    /* what it is called: "list:7", "boot 3"; its log too, with what a file name may have */
    const char *where;
    char *const *words; /* of the command line, after "vmlet run"; NULL ends them */
    int n_words;
    const char *name;    /* of the guest, where the words give none; NULL: vmlet's own choice */
    char *const *before; /* further ones before these, the same way; may be NULL */

    enum run_state state;
    bool stopped;       /* by runs_stop() */
    bool failed;        /* for whoever looks at the whole */
    int status;         /* as a shell says it; of one that could not be started 125 */
    char reason[24];    /* as in the result file; "" where there was none */
    char detail[512];   /* one line */
    uint64_t began, ns; /* loop's clock; how long it took */
    char *report;       /* what it wrote as its result; may be NULL */
    char *tail;         /* the last of its output, with a 0 behind; may be NULL */
    bool log_lost;      /* --logs: it could not be written, which was told */

    struct run *next_; /* the running ones */
};

void run_clear(struct run *run); /* frees what its end left in it */

struct runs_ops {
    struct run *(*next)(void *ctx);            /* NULL: none now; asked again after each end */
    bool (*start)(void *ctx, struct run *run); /* false: it did not begin; detail says why */
    void (*signal)(void *ctx, struct run *run, int sig);
    void (*done)(void *ctx, struct run *run);
    void (*idle)(void *ctx);
};

struct runs {
    struct loop *loop;
    const struct runs_ops *ops;
    void *ctx;
    unsigned jobs, running;
    bool stopping;
    struct run *list;
    struct loop_task fill;
    struct loop_timer grace;
};

void runs_init(struct runs *runs, struct loop *loop, unsigned jobs, const struct runs_ops *ops, void *ctx);
void runs_go(struct runs *runs);                     /* returns at once */
void runs_ended(struct runs *runs, struct run *run); /* by who started it */
void runs_stop(struct runs *runs, int sig);          /* 0: the running ones may come to their end */
void runs_free(struct runs *runs);                   /* timers only; none runs any more */

#endif
