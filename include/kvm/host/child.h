/* SPDX-License-Identifier: MIT
 *
 * This program again, as a child, on the loop: its output comes through a pipe, its end is an event.
 *
 * A child never stays behind. It has a process group of its own, which is killed as a whole; and when its parent dies
 * without having done that (kill -9), the kernel sends it SIGTERM (not where the program's file has capabilities: then the
 * kernel forgets that wish at exec). Its standard input is /dev/null, its standard output and error are the pipe: what is
 * not read holds the child back and grows nothing.
 *
 * Loop thread, which must be the process's first: the parent that the kernel watches is the thread that forked.
 */
#ifndef KVM_HOST_CHILD_H
#define KVM_HOST_CHILD_H

#include <stdbool.h>
#include <sys/types.h>
#include "kvm/host/loop.h"

struct child_ops {
    void (*output)(void *arg, const void *bytes, size_t n);
    /* It has ended (status as of waitpid()) and all that it wrote has come. The struct is free for the next. */
    void (*ended)(void *arg, int status);
};

struct child { /* zero-initialise; not to be moved while it runs */
    struct loop *loop;
    const struct child_ops *ops;
    void *arg;
    pid_t pid; /* 0: none runs */
    struct loop_fd output, end;
    struct loop_timer look; /* hosts without pidfds: Linux before 5.3 */
};

/* argv[0] is a name only: the program is /proc/self/exe. keep: a descriptor that stays open in it under the same number, or
 * -1. False and errno. A failing exec is an end with 125, and a sentence of the output. */
bool child_start(struct child *c, struct loop *loop, char *const *argv, int keep, const struct child_ops *ops,
                 void *arg) __attribute__((warn_unused_result));

/* To its whole group; nothing where none runs. */
void child_signal(struct child *c, int sig);

#endif
