// SPDX-License-Identifier: MIT
/* Helper threads: include/kvm/host/thread.h. */
#include "kvm/host/thread.h"

#include <signal.h>

enum {
    STACK = 256 * 1024
}; /* address space; only what is touched is memory */

int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t all, old;
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    pthread_attr_setstacksize(&attr, STACK);
    sigfillset(&all);
    sigdelset(&all, SIGTTIN);
    sigdelset(&all, SIGTTOU);
    /* Crashes of the thread itself are never held back. */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* inherited by the new thread */
    error = pthread_create(thread, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (!error)
        pthread_setname_np(*thread, name);
    return error;
}
