/* SPDX-License-Identifier: MIT
 *
 * Many boots in one command, each a child of this program (guest/run_child.h): what `batch`, --repeat and --probe-sweep have in
 * common. The loop, signals, so many at a time (guest/runs.h), what is seen (guest/runs_view.h), a table, --junit.
 *
 * SIGINT, SIGTERM, SIGHUP: the running ones are ended (a second signal kills them), the table says what was done, and the
 * process dies of the signal. No child is left behind in any case.
 *
 * Main thread; once a process.
 */
#ifndef GUEST_MANY_H
#define GUEST_MANY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "guest/result.h"
#include "guest/runs.h"

enum {
    MANY_FAILED = 1, /* exit status: one failed */
};

struct many_config {
    const char *title;    /* of the JUnit suite */
    unsigned jobs, total; /* total 0: not known */
    const char *logs, *junit;
    bool fail_fast; /* the first failure ends all */
    bool all;       /* the table shows all, those too that were not run; else those that failed */
    struct run *(*next)(void *ctx);
    /* Whether that end is a failure; NULL: by its status. What comes next may follow from it. */
    bool (*failed)(void *ctx, struct run *run);
    bool free_runs; /* each is malloc()'s (or begins what is), and goes when it is not needed any more */
    void *ctx;
};

struct many {
    unsigned passed, failed, stopped, not_run;
    int first_status;        /* of the failed one with the lowest number; 0: none */
    const struct run *first; /* that one */
    bool trouble;            /* of our own: a log, the JUnit file, standard output could not be written */
    int signal;              /* that ended it; 0: none */
    struct runs_view *view;  /* for what the caller has to say in next() and failed() */

    struct many_config config;
    struct loop *loop;
    bool drained;
    struct run **kept;
    size_t n_kept, size_kept;
};

/* NULL, or what is wrong with --logs and --junit. Set-up. */
const char *many_check(const char *logs, const char *junit) __attribute__((warn_unused_result));

/* To the end of all of them and of what is told of it. die()s where it cannot begin. */
void many_run(struct many *m, const struct many_config *config);

/* The exit status: `failed` where some failed, 125 for trouble of our own. Dies of the signal that ended it. What the runs hold is
 * given back before. */
int many_status(struct many *m, int failed);

#endif
