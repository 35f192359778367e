/* SPDX-License-Identifier: MIT
 *
 * `vmlet trace-diff A B`: the first place where two traces (--trace-file, guest/trace.h) tell of different conversations.
 *
 * Not compared: time, vCPU, program counter; how often something was polled. So
 *   - reads that repeat (up to TRACE_DIFF_PERIOD registers in turn, with the same values) count once;
 *   - a poll that saw a state more on its way is the same poll: where the one side reads the register once more, the reads before
 *     the value that both have are passed over.
 * All else is, in its order: what happens on the loop (DMA, interrupts) may come between other reads in the next run; that is a
 * difference.
 *
 * Where a trace lost lines the comparison ends in trouble. Files are read once, line by line; nothing grows with them.
 */
#ifndef GUEST_TRACEDIFF_H
#define GUEST_TRACEDIFF_H

#include <stdio.h>

enum {
    TRACE_DIFF_PERIOD = 8,
    TRACE_DIFF_LINE = 8192, /* bytes of a line */

    TRACE_DIFF_SAME = 0,
    TRACE_DIFF_DIFFERENT = 1,
    TRACE_DIFF_TROUBLE = 2, /* what it was is on standard error */
};

/* The status, and what there is to say on `out`. */
int trace_diff(const char *a, const char *b, FILE *out);

#endif
