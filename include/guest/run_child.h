/* SPDX-License-Identifier: MIT
 *
 * A run as a child: `vmlet run` with the run's words, its output kept, its result read.
 *
 * The result comes through a file in memory that the child inherits (--report /proc/self/fd/N), so whatever the words say
 * of --result stays theirs. The last RUN_TAIL bytes of the output are kept in memory. With a folder for logs all of it goes
 * to WHERE.log there, up to RUN_LOG_MAX; then what was left out is said and the tail follows. A log that cannot be written
 * is told once a run, and noted in it; the run goes on.
 *
 * Loop thread.
 */
#ifndef GUEST_RUN_CHILD_H
#define GUEST_RUN_CHILD_H

#include "guest/runs.h"
#include "kvm/host/child.h"

#define RUN_TAIL    16384
#define RUN_LOG_MAX (UINT64_C(64) << 20)

struct run_child {
    struct run *run; /* NULL: free */
    struct child child;
    int report, log;   /* descriptors; -1: none */
    uint64_t written;  /* bytes of output so far */
    uint64_t left_out; /* of them not in the log */
    uint8_t ring[RUN_TAIL];
    struct run_children *all;
};

struct run_children {
    struct loop *loop;
    const char *logs; /* a folder, or NULL */
    void (*ended)(void *ctx, struct run *run);
    void *ctx;
    unsigned n;
    struct run_child *list; /* as many as may run at a time */
};

/* False: no memory. */
bool run_children_init(struct run_children *all, unsigned n) __attribute__((warn_unused_result));
void run_children_free(struct run_children *all); /* none runs any more */

/* Makes the folder if it is not there. NULL, or a sentence. Set-up. */
const char *run_logs_check(const char *dir) __attribute__((warn_unused_result));

/* False: run->detail says why. ended() follows otherwise, with all of the run's fields about its end set. */
bool run_child_start(struct run_children *all, struct run *run) __attribute__((warn_unused_result));
void run_child_signal(struct run_children *all, struct run *run, int sig);

#endif
