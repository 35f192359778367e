// SPDX-License-Identifier: MIT
/* One program, one argument, a limit: see include/kvm/host/program.h. The wait is on a pidfd, in slices, since the signals
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

static int start(const char *path, const char *argument, pid_t *pid)
{
    char *argv[] = {(char *)(uintptr_t)path, (char *)(uintptr_t)argument, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, 2, 1);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawn(pid, path, &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return error;
}

bool program_run(const char *path, const char *argument, uint64_t limit_ns, char *why, size_t size)
{
    pid_t pid;
    int status = 0, error = start(path, argument, &pid);
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
