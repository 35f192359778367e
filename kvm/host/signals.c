// SPDX-License-Identifier: MIT
/* Signals: include/kvm/host/signals.h. All that can wait are blocked everywhere and read from a signalfd; only those that
 * say the process itself is broken have a handler, which puts the terminal right and lets the signal kill. */
#include "kvm/host/signals.h"
#include "kvm/host/log.h"
#include "kvm/host/term.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGXCPU};

enum {
    N_TAKEN = sizeof taken / sizeof taken[0],
    N_CRASHES = sizeof crashes / sizeof crashes[0],
};

static struct {
    struct loop_fd f;
    struct signals_ops ops;
    void *arg;
} watch;

static void taken_set(sigset_t *set)
{
    sigemptyset(set);
    for (int i = 0; i < N_TAKEN; i++)
        sigaddset(set, taken[i]);
}

static void on_crash(int sig)
{
    term_restore();
    /* SA_RESETHAND has set the default action: returning faults again, raise() is for those that were sent. */
    raise(sig);
}

void signals_block(void)
{
    sigset_t set;
    struct sigaction action;
    taken_set(&set);
    for (int i = 0; i < N_TAKEN; i++)
        if (!sigaction(taken[i], NULL, &action) && action.sa_handler == SIG_IGN && taken[i] != SIGCONT)
            sigdelset(
                &set,
                taken[i]); /* nohup: ignored it was, ignored it stays; blocked it would be queued for us */
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (int i = 0; i < N_CRASHES; i++)
        if (!sigaction(crashes[i], NULL, &action) &&
            action.sa_handler == SIG_DFL) /* a sanitizer's handler stays */
            sigaction(crashes[i], &crash, NULL);
    signal(SIGCHLD, SIG_DFL); /* ignored, as some launchers leave it, a child's status would be thrown away */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* `ulimit -f`: write() then says EFBIG, like any full disk */
}

/* Stops all threads as SIGTSTP would have, were it not blocked: not where nobody could continue us (an orphaned process
 * group), so SIGSTOP will not do. Comes back after SIGCONT, which is also read from the descriptor then. */
static void stop_here(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    term_restore();
    kill(getpid(), SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    term_continued();
}

static void signal_event(void *arg, uint32_t events)
{
    struct signalfd_siginfo info;
    (void)arg;
    (void)events;
    if (read(watch.f.fd, &info, sizeof info) != sizeof info)
        return;
    switch (info.ssi_signo) {
    case SIGWINCH:
        if (watch.ops.window_changed)
            watch.ops.window_changed(watch.arg);
        break;
    case SIGTSTP:
        stop_here();
        break;
    case SIGCONT:
        term_continued();
        if (watch.ops.window_changed)
            watch.ops.window_changed(watch.arg);
        break;
    default:
        watch.ops.end(watch.arg, (int)info.ssi_signo);
    }
}

bool signals_watch(struct loop *loop, const struct signals_ops *ops, void *arg)
{
    sigset_t set, blocked;
    taken_set(&set);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 0; i < N_TAKEN; i++)
        if (!sigismember(&blocked, taken[i]))
            sigdelset(&set, taken[i]);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return false;
    watch.ops = *ops;
    watch.arg = arg;
    if (loop_fd_add(loop, &watch.f, fd, EPOLLIN, signal_event, NULL))
        return true;
    int saved = errno;
    close(fd);
    errno = saved;
    return false;
}

void signals_unwatch(void)
{
    if (!watch.f.loop)
        return;
    int fd = watch.f.fd;
    loop_fd_remove(&watch.f);
    close(fd);
}

int signals_pending(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigpending(&set);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (sigismember(&set, ends[i]) == 1)
            return ends[i];
    return 0;
}

void signals_child(void)
{
    sigset_t none;
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    for (int i = 0; i < N_CRASHES; i++)
        signal(crashes[i], SIG_DFL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

void signal_die(int sig)
{
    sigset_t set;
    term_restore();
    signal(sig, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    kill(
        getpid(),
        sig); /* to the process: a signal raised for this thread alone could be overtaken by its unblocking */
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + sig); /* not reached, unless the signal does not kill */
}
