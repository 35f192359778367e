/* SPDX-License-Identifier: MIT
 *
 * What is seen of many runs. On standard output: a line for each that ends (on a terminal only for those that failed), for a failed
 * one the last lines of its output and the command that repeats it; a table at the end. On a terminal, standard output or else
 * standard error, a bar besides: how many of how many, running, failed, time.
 *
 * A reader who does not read holds up nothing but the lines, which wait in memory. Text of a guest's is shown without its
 * control characters.
 *
 * Loop thread.
 */
#ifndef GUEST_RUNS_VIEW_H
#define GUEST_RUNS_VIEW_H

#include <stdbool.h>
#include <stdio.h>
#include "guest/runs.h"

struct runs_view;

/* total 0: not known, or no end. err: a sentence where NULL comes back. */
struct runs_view *runs_view_new(struct loop *loop, unsigned total, const char **err)
    __attribute__((warn_unused_result));

void runs_view_total(struct runs_view *v, unsigned total); /* known, or changed, by now */
void runs_view_started(struct runs_view *v, const struct run *run);
void runs_view_ended(struct runs_view *v, const struct run *run); /* its `failed` is set */
void runs_view_say(struct runs_view *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A row for each, and below those that failed the command; then how many of what. */
void runs_view_table(struct runs_view *v, struct run *const *runs, size_t n);

/* The command that repeats it, as a shell takes it, with a line end. */
void run_print_command(FILE *f, const struct run *run);

/* `panic: Kernel panic - not syncing: x`, `passed`, `stopped`. */
void run_describe(const struct run *run, char *out, size_t size);

/* drained() is called when all is written, or nothing more can be. */
void runs_view_drain(struct runs_view *v, void (*drained)(void *ctx), void *ctx);
bool runs_view_failed(const struct runs_view *v); /* standard output is lost */
void runs_view_free(struct runs_view *v);

#endif
