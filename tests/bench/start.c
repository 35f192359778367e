// SPDX-License-Identifier: MIT
/*
 * start: time from exec to the first KVM_RUN. One source, built twice.
 *
 *   start SHIM COMMAND...    runs the command 21 times with SHIM preloaded and prints median, least and most, in ms
 *   SHIM (-shared -DSHIM)    its ioctl() ends the process at the first KVM_RUN, and tells the time since exec
 */
#include <err.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#ifdef SHIM
int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *arg = va_arg(list, void *);
    va_end(list);
    if (request == KVM_RUN) {
        uint64_t took = now() - strtoull(getenv("START_AT"), NULL, 10);
        if (write(atoi(getenv("START_FD")), &took, sizeof took) != sizeof took)
            _exit(1);
        _exit(0);
    }
    return (int)syscall(SYS_ioctl, fd, request, arg);
}
#else
enum {
    ROUNDS = 21
};

static int order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    uint64_t took[ROUNDS];
    int fds[2];
    char text[32];
    if (argc < 3)
        errx(125, "usage: start SHIM COMMAND...");
    if (pipe(fds) < 0)
        err(125, "pipe");
    snprintf(text, sizeof text, "%d", fds[1]);
    setenv("START_FD", text, 1);
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();
        if (pid < 0)
            err(125, "fork");
        if (pid == 0) {
            setenv("LD_PRELOAD", argv[1], 1);
            snprintf(text, sizeof text, "%llu", (unsigned long long)now());
            setenv("START_AT", text, 1);
            execvp(argv[2], argv + 2);
            err(127, "%s", argv[2]);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0)
            errx(125, "%s ended with 0x%x before KVM_RUN", argv[2], (unsigned)status);
        if (read(fds[0], &took[i], sizeof took[i]) != sizeof took[i])
            err(125, "pipe");
    }
    qsort(took, ROUNDS, sizeof *took, order);
    printf("%.1f ms (%.1f-%.1f)\n", (double)took[ROUNDS / 2] / 1e6, (double)took[0] / 1e6,
           (double)took[ROUNDS - 1] / 1e6);
    return 0;
}
#endif
