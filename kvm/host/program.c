// SPDX-License-Identifier: MIT
/* A program and a limit: see include/kvm/host/program.h. The wait is on a pidfd, in slices, since the signals
 * that should cut it short are blocked and read elsewhere. */
#include "kvm/host/ns.h"
#include "kvm/host/program.h"

#include "kvm/host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SLICE_MS = 100,
    SLICE_MS_BLIND = 10, /* without a pidfd: Linux before 5.3 */
};

/* in < 0: /dev/null; out < 0: our standard error, else it gets /dev/null for its own. */
static int start(const char *const *words, bool search, int in, int out, pid_t *pid)
{
    char *const *argv = (char *const *)(uintptr_t)words;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    if (in < 0)
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    else
        posix_spawn_file_actions_adddup2(&files, in, 0);
    posix_spawn_file_actions_adddup2(&files, out < 0 ? 2 : out, 1);
    if (out >= 0)
        posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = (search ? posix_spawnp : posix_spawn)(pid, argv[0], &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

/* Waits for what start() began; error: what start() returned. */
static bool finish(int error, pid_t pid, uint64_t limit_ns, char *why, size_t size)
{
    int status = 0;
    uint64_t end = ns_on(CLOCK_MONOTONIC) + limit_ns;
    if (error) {
        snprintf(why, size, "%s", strerror(error));
        return false;
    }
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    bool cut = false;
    while (!cut && waitpid(pid, &status, WNOHANG) == 0) {
        poll(&p, 1, p.fd < 0 ? SLICE_MS_BLIND : SLICE_MS);
        cut = signals_pending() || ns_on(CLOCK_MONOTONIC) >= end;
    }
    if (p.fd >= 0)
        close(p.fd);
    if (cut) {
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (signals_pending())
            snprintf(why, size, "killed, since a signal ends the run");
        else
            snprintf(why, size, "killed, for it took longer than %.3g s", (double)limit_ns / 1e9);
        return false;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status))
        snprintf(why, size, "was killed: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(why, size, "ended with status %d", WEXITSTATUS(status));
    return false;
}

bool program_run(const char *path, const char *argument, uint64_t limit_ns, char *why, size_t size)
{
    pid_t pid = 0;
    int error = start((const char *const[]){path, argument, NULL}, false, -1, -1, &pid);
    return finish(error, pid, limit_ns, why, size);
}

bool program_filter(const char *const *argv, int in, int out, uint64_t limit_ns, char *why, size_t size)
{
    pid_t pid = 0;
    int error = start(argv, true, in, out, &pid);
    return finish(error, pid, limit_ns, why, size);
}
