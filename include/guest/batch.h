/* SPDX-License-Identifier: MIT
 *
 * `vmlet batch FILE`: a run command a line (guest/words.h), each as a child, some at a time (guest/many.h).
 *
 * A line is [vmlet] run [options] [KERNEL] [-- COMMAND [ARG…]]. All lines are read, and their options checked, before the first one
 * runs: a mistake is told with FILE:LINE, and the status is 125. Status: 0 all passed, 1 some failed, 125 a file of our own
 * (--logs, --junit) could not be written; SIGINT and SIGTERM: the running ones are ended, and it dies of the signal.
 */
#ifndef GUEST_BATCH_H
#define GUEST_BATCH_H

#include "kvm/host/opts.h"

extern const struct opt batch_option_table[];

/* The words after `batch`. *error: they are wrong, a sentence. */
int batch_run(int argc, char **argv, const char **error);

#endif
