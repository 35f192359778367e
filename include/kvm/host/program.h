/* SPDX-License-Identifier: MIT
 *
 * Runs a small program of the user's (a tap's script) and waits for its end, but not for ever. No shell is between: the
 * path is executed as it is, with one argument (program_run). Its standard input is /dev/null, its standard output our
 * standard error, so that no byte of it gets among the guest's. It has a process group of its own, which is killed when the
 * time is up, or when a signal that ends the run is pending.
 *
 * Set-up thread, or the loop's after the run: it blocks.
 */
#ifndef KVM_HOST_PROGRAM_H
#define KVM_HOST_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* false: it could not be started, ended with another status than 0, or not in time: why, without the path. */
bool program_run(const char *path, const char *argument, uint64_t limit_ns, char *why, size_t size)
    __attribute__((warn_unused_result));

/* The same, found in PATH, from in to out (neither is 0, 1 or 2 itself); argv ends with NULL.
 * What it says on its standard error is dropped: ours has one sentence. */
bool program_filter(const char *const *argv, int in, int out, uint64_t limit_ns, char *why, size_t size)
    __attribute__((warn_unused_result));

#endif
