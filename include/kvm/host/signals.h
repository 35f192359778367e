/* SPDX-License-Identifier: MIT
 *
 * Signals as events of the loop. signals_block() runs early in main(), before any thread, since threads inherit the
 * mask; then a signalfd on the loop takes SIGINT, SIGTERM, SIGHUP, SIGQUIT (which ask the process to end), SIGWINCH, SIGTSTP
 * and SIGCONT. SIGPIPE is ignored for good: a write says EPIPE. SIGTSTP restores the terminal and then stops the process;
 * SIGCONT makes it raw again. Signals that mean a crash (SIGSEGV, SIGABRT …) restore the terminal and then kill as ever.
 *
 * Children that are exec'ed need signals_child() between fork and exec.
 */
#ifndef KVM_HOST_SIGNALS_H
#define KVM_HOST_SIGNALS_H

#include <stdbool.h>
#include "kvm/host/loop.h"

struct signals_ops {
    void (*end)(void *arg, int sig);   /* SIGINT, SIGTERM, SIGHUP, SIGQUIT: clean up, then signal_die(sig) */
    void (*window_changed)(void *arg); /* SIGWINCH, and after SIGCONT */
};

/* Main thread, before others are made. A signal that was ignored when the process started (nohup) stays ignored. */
void signals_block(void);

/* Delivers them on the loop: one loop a process at a time. False and errno. */
bool signals_watch(struct loop *loop, const struct signals_ops *ops, void *arg)
    __attribute__((warn_unused_result));
void signals_unwatch(void);

/* The signal that would end the run and that waits to be delivered (the loop is not running), or 0. Any thread. */
int signals_pending(void);

/* In a child between fork and exec: default actions, nothing blocked. Async-signal-safe. */
void signals_child(void);

/* Ends the process by this signal, so that a shell sees it: terminal restored, default action, raised. No exit handlers run;
 * flush before. */
_Noreturn void signal_die(int sig);

#endif
