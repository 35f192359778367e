// SPDX-License-Identifier: MIT
/* This program as a child: see include/kvm/host/child.h. */
#include "kvm/host/child.h"

#include "kvm/host/ns.h"
#include "kvm/host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_NS (20 * MS) /* without a pidfd */

enum {
    CHUNK = 16384,
    /* after its end: more than a pipe holds, should somebody else hold it too and go on writing */
    LAST_CHUNKS = 64,
};

/* Between fork and exec: nothing but system calls. */
_Noreturn static void become(char *const *argv, int null, int out, int keep, pid_t parent)
{
    static const char failed[] = "vmlet: /proc/self/exe cannot be executed\n";
    static const char too_long[] = "vmlet: a word of the command is longer than the kernel hands on\n";
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* it died before that */
        _exit(125);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (keep >= 0)
        fcntl(keep, F_SETFD, 0);
    signals_child();
    execv("/proc/self/exe", argv);
    bool long_word = errno == E2BIG;
    if (write(STDERR_FILENO, long_word ? too_long : failed,
              (long_word ? sizeof too_long : sizeof failed) - 1) < 0)
        _exit(125); /* unheard */
    _exit(125);
}

/* One piece of its output: false when there is none now, or no more ever. */
static bool take(struct child *c)
{
    char bytes[CHUNK];
    ssize_t n = read(c->output.fd, bytes, sizeof bytes);
    if (n > 0)
        c->ops->output(c->arg, bytes, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        loop_fd_events(&c->output, 0);
    return n > 0;
}

static void on_output(void *arg, uint32_t events)
{
    (void)events;
    take(arg);
}

static void close_fd(struct loop_fd *f)
{
    int fd = f->fd;
    if (!f->loop)
        return;
    loop_fd_remove(f);
    close(fd);
}

static void look(struct child *c)
{
    siginfo_t info = {0};
    int status = 0;
    if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
        return;
    kill(-c->pid, SIGKILL); /* what it left behind, while the number is still its own: a tap's script, say */
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < LAST_CHUNKS && take(c); i++)
        ;
    c->pid = 0;
    close_fd(&c->output);
    close_fd(&c->end);
    loop_timer_cancel(&c->look);
    c->ops->ended(c->arg, status);
}

static void on_end(void *arg, uint32_t events)
{
    (void)events;
    look(arg);
}

static void on_look(void *arg)
{
    struct child *c = arg;
    loop_timer_after(&c->look, LOOK_NS);
    look(c);
}

bool child_start(struct child *c, struct loop *loop, char *const *argv, int keep, const struct child_ops *ops,
                 void *arg)
{
    int pipes[2] = {-1, -1}, null = open("/dev/null", O_RDWR | O_CLOEXEC), error;
    pid_t parent = getpid();
    *c = (struct child){.loop = loop, .ops = ops, .arg = arg};
    loop_timer_init(loop, &c->look, on_look, c);
    if (null < 0 || pipe2(pipes, O_CLOEXEC) < 0 || fcntl(pipes[0], F_SETFL, O_NONBLOCK) < 0 ||
        !loop_fd_add(loop, &c->output, pipes[0], EPOLLIN, on_output, c) || (c->pid = fork()) < 0)
        goto failed;
    if (c->pid == 0)
        become(argv, null, pipes[1], keep, parent);
    setpgid(c->pid, c->pid); /* whoever comes first: it has to be there before a signal is sent to it */
    close(null);
    close(pipes[1]);
    int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (fd < 0 || !loop_fd_add(loop, &c->end, fd, EPOLLIN, on_end, c)) {
        if (fd >= 0)
            close(fd);
        loop_timer_after(&c->look, LOOK_NS);
    }
    return true;
failed:
    error = errno;
    c->pid = 0;
    loop_fd_remove(&c->output);
    for (int i = 0; i < 2; i++)
        if (pipes[i] >= 0)
            close(pipes[i]);
    if (null >= 0)
        close(null);
    errno = error;
    return false;
}

void child_signal(struct child *c, int sig)
{
    if (c->pid > 0)
        kill(-c->pid, sig);
}
