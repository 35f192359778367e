/* SPDX-License-Identifier: MIT
 *
 * How the process's helper threads (streams, the work pool) are started: with a small stack, a name for ps and debuggers,
 * and all signals blocked, so that they are taken by the loop's signalfd. SIGTTIN and SIGTTOU are not: a terminal read from
 * the background must stop the job, and would fail with EIO if they were blocked.
 */
#ifndef KVM_HOST_THREAD_H
#define KVM_HOST_THREAD_H

#include <pthread.h>

/* 0 or an errno (EAGAIN: no more threads). Any thread. */
int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg)
    __attribute__((warn_unused_result));

#endif
