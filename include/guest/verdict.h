/* SPDX-License-Identifier: MIT
 *
 * What the guest's output says about the run: trouble in the kernel's log (guest/klog.h), test results there and in the
 * command's stdout (guest/ktap.h), silence. From it come the gate (--fail-on, --allow), the summary of tests, the counts of the
 * result file, and --junit. `--fail-on tests` catches a run that ended with 0 in which no test was seen at all, too: a
 * program that did not start its tests must not pass for one whose tests passed.
 *
 * A report of trouble whose text matches an --allow is none, whatever is asked for. One that the gate asks for is told
 * with its trace, unless the kernel's log is on standard error already and --symbols has no name to add; the run goes on to its
 * own end. With --symbols it is told from a task of the loop, where a vCPU may be asked for the kernel's place.
 *
 * Silence: with --silence-timeout a run that has given out nothing for that long (neither log nor a byte of the command's)
 * has its time up.
 *
 * Thread: the loop's. Nothing grows with what the guest prints, but for the bounded list of test results.
 */
#ifndef GUEST_VERDICT_H
#define GUEST_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gate;
struct loop;
struct machine_options;
struct result;
struct symbols;
struct verdict;

/* NULL, or what is wrong with --allow, --junit. Set-up. */
const char *verdict_check(const struct machine_options *o) __attribute__((warn_unused_result));

struct verdict_config {
    struct loop *loop;
    const struct machine_options *options;
    const struct gate *gate;
    struct symbols *symbols;   /* NULL: none */
    void (*silent)(void *ctx); /* nothing came for --silence-timeout */
    /* symbols are about to be used: find out where the kernel is. Not called without symbols */
    void (*learn)(void *ctx);
    void *ctx;
};
/* NULL: no memory. */
struct verdict *verdict_new(const struct verdict_config *config) __attribute__((warn_unused_result));

void verdict_log(struct verdict *v, const char *line);               /* of the kernel's, without its prefix */
void verdict_output(struct verdict *v, const void *bytes, size_t n); /* of the command's stdout */
void verdict_heard(struct verdict *v);                               /* something else came */

/* No more will come: what is open is closed, and the result gets its counts. */
void verdict_end(struct verdict *v, struct result *r);
/* After the result stands: says how the tests went, and writes --junit. NULL, or a sentence. */
const char *verdict_report(struct verdict *v, const struct result *r, uint64_t patience);
/* After verdict_end(). For tests: a process has one run. */
void verdict_free(struct verdict *v);

#endif
