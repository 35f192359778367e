// SPDX-License-Identifier: MIT
/* Starts the command in a session of its own, on pipes, a pty or the console. The child reports a failed exec
 * through a pipe that a successful one closes; its words and numbers are those of a shell: 127 not found, 126
 * found but not to be executed. */
#include "sys.h"

#include <asm/ioctls.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum {
    PATH_BYTES = 4096
};

struct failure {
    int value;
    char text[400];
};

static const char *env_get(char *const *envp, const char *name)
{
    size_t n = strlen(name);
    for (; *envp; envp++)
        if (!memcmp(*envp, name, n) && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

static bool has_slash(const char *s)
{
    while (*s && *s != '/')
        s++;
    return *s;
}

static bool exists(const char *path)
{
    return SYS(access, path, 0) == 0;
}

/* A text without #! is given to the shell, as execvp() and shells do. Comes back only if that fails too. */
static long exec_text(const char *path, char *const *argv, uint32_t argc, char *const *envp)
{
    char head[256];
    long fd = SYS(open, path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? fd : SYS(read, fd, head, sizeof head);
    for (long i = 0; i < n; i++)
        if (!head[i])
            return -ENOEXEC;
    if (n < 0)
        return -ENOEXEC;
    const char **list = (const char **)SYS(mmap, NULL, (argc + 3ul) * sizeof *list, 3, 0x22, -1, 0);
    if ((unsigned long)list > -4096ul)
        return -ENOMEM;
    list[0] = "/bin/sh";
    list[1] = path;
    for (uint32_t i = 1; i < argc; i++)
        list[i + 1] = argv[i];
    SYS(execve, "/bin/sh", list, envp);
    return -ENOEXEC;
}

static long exec_file(const char *path, const struct command *cmd)
{
    long error = SYS(execve, path, cmd->argv, cmd->envp);
    return error == -ENOEXEC ? exec_text(path, cmd->argv, cmd->argc, cmd->envp) : error;
}

/* Comes back only if nothing could be executed. */
static void exec_command(const struct command *cmd, struct failure *f)
{
    char path[PATH_BYTES];
    const char *name = cmd->argv[0], *shown = name;
    long error = -ENOENT;
    bool found = false;
    if (*cmd->program || has_slash(name)) {
        shown = *cmd->program ? cmd->program : name;
        error = exec_file(shown, cmd);
        found = exists(shown);
    } else if (*name) {
        const char *dirs = env_get(cmd->envp, "PATH");
        if (!dirs)
            dirs = DEFAULT_PATH;
        for (;;) {
            size_t n = 0;
            while (dirs[n] && dirs[n] != ':')
                n++;
            if (n + 1 + strlen(name) + 1 <= sizeof path) {
                memcpy(path, dirs, n);
                text_join(path + n, sizeof path - n, n ? "/" : "./", name, NULL);
                long e = exec_file(path, cmd);
                if (e != -ENOENT && e != -ENOTDIR)
                    error = e;
                if (!found && e == -ENOENT && exists(path)) {
                    found = true;
                    shown = "its interpreter";
                }
            }
            if (!dirs[n])
                break;
            dirs += n + 1;
        }
    }
    bool missing = error == -ENOENT || error == -ENOTDIR;
    f->value = missing ? 127 : 126;
    text_join(f->text, sizeof f->text, name, ": ",
              missing && found ? "the interpreter or loader that it names is not in the guest"
              : missing        ? "not found in the guest (not on the host either, or not in PATH; see --add)"
                               : text_error(error),
              NULL);
}

static long open_pty(struct child *child, const struct command *cmd)
{
    int zero = 0;
    unsigned number = 0;
    char path[40], digits[24];
    long master = SYS(open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0)
        return master;
    SYS(ioctl, master, TIOCSPTLCK, &zero);
    SYS(ioctl, master, TIOCGPTN, &number);
    text_join(path, sizeof path, "/dev/pts/", text_number(digits, number), NULL);
    long slave = SYS(open, path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) {
        SYS(close, master);
        return slave;
    }
    if (cmd->winsize.rows)
        SYS(ioctl, master, TIOCSWINSZ, &cmd->winsize);
    child->pty = true;
    child->in_fd = child->out_fd = (int)master;
    return slave;
}

/* The device behind /dev/console, which itself can be nobody's controlling terminal. */
static long open_console(const struct command *cmd)
{
    char name[64] = "ttyS0", path[80];
    long fd = SYS(open, "/sys/class/tty/console/active", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        long n = SYS(read, fd, name, sizeof name - 1);
        SYS(close, fd);
        while (n > 0 && (name[n - 1] == '\n' || name[n - 1] == ' '))
            n--;
        name[n > 0 ? n : 0] = 0;
    }
    const char *last = name;
    for (const char *p = name; *p; p++)
        if (*p == ' ')
            last = p + 1;
    text_join(path, sizeof path, "/dev/", *last ? last : "ttyS0", NULL);
    fd = SYS(open, path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        fd = SYS(open, "/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && cmd->winsize.rows)
        SYS(ioctl, fd, TIOCSWINSZ, &cmd->winsize);
    return fd;
}

static void become(const int fds[3], bool terminal, const struct command *cmd, int report)
{
    struct failure f = {.value = 125};
    static const uint64_t no_signals;
    struct {
        long handler, flags, restorer;
        uint64_t mask;
    } reset = {0};
    SYS(setsid);
    for (int i = 0; i < 3; i++)
        SYS(dup2, fds[i], i);
    if (terminal)
        SYS(ioctl, 0, TIOCSCTTY, 0);
    SYS(rt_sigaction, SIG_PIPE, &reset, NULL, sizeof reset.mask);
    SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, &no_signals, NULL, sizeof no_signals);
    long error = SYS(chdir, *cmd->folder ? cmd->folder : "/");
    if (error >= 0 && (cmd->uid || cmd->gid)) {
        SYS(setgroups, 0, NULL);
        error = SYS(setgid, cmd->gid);
        if (error >= 0)
            error = SYS(setuid, cmd->uid);
        if (error < 0)
            text_join(f.text, sizeof f.text, "user: ", text_error(error), NULL);
    } else if (error < 0) {
        text_join(f.text, sizeof f.text, "folder ", cmd->folder, ": ", text_error(error), NULL);
    }
    if (error >= 0)
        exec_command(cmd, &f);
    SYS(write, report, &f, sizeof f);
    SYS(exit_group, f.value);
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0)
            SYS(close, fds[i]);
}

/* Forks; the child's three standard descriptors are fds and are closed here. */
static int start_on(struct child *child, const int fds[3], bool terminal, const struct command *cmd,
                    char *text, size_t size)
{
    int report[2];
    struct failure f = {0};
    long error = SYS(pipe2, report, O_CLOEXEC);
    long pid = error < 0 ? error : SYS(fork);
    if (pid == 0)
        become(fds, terminal, cmd, report[1]);
    for (int i = 0; i < 3; i++)
        if ((i < 1 || fds[i] != fds[0]) && (i < 2 || fds[i] != fds[1]))
            SYS(close, fds[i]);
    if (error >= 0) {
        SYS(close, report[1]);
        long n = 0;
        if (pid > 0)
            do
                n = SYS(read, report[0], &f, sizeof f);
            while (n == -EINTR);
        SYS(close, report[0]);
        if (n == sizeof f) {
            int status;
            while (SYS(wait4, pid, &status, 0, NULL) == -EINTR)
                ;
            text_join(text, size, f.text, NULL);
            return f.value;
        }
    }
    if (pid < 0) {
        text_join(text, size, "fork: ", text_error(pid), NULL);
        return 125;
    }
    child->pid = pid;
    return 0;
}

int child_start(struct child *child, const struct command *cmd, char *text, size_t size)
{
    /* ours, the child's: stdin, stdout, stderr */
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    *child = (struct child){.in_fd = -1, .out_fd = -1, .err_fd = -1};
    if (cmd->flags & COMMAND_PTY) {
        long slave = open_pty(child, cmd);
        if (slave < 0)
            line_log("no pseudo terminal in this kernel: pipes are used");
        else
            in[0] = out[1] = (int)slave;
    }
    long error = 0;
    if (!child->pty) {
        error = SYS(pipe2, in, O_CLOEXEC);
        if (error >= 0)
            error = SYS(pipe2, out, O_CLOEXEC);
        child->in_fd = in[1];
        child->out_fd = out[0];
    }
    if (error >= 0 && child->pty && cmd->flags & COMMAND_PTY_STDERR)
        err[1] = in[0];
    else if (error >= 0)
        error = SYS(pipe2, err, O_CLOEXEC);
    child->err_fd = err[0];
    if (error < 0) {
        text_join(text, size, "pipe: ", text_error(error), NULL);
        return 125;
    }
    int ours[3] = {child->in_fd, child->out_fd, child->err_fd};
    for (int i = 0; i < 3; i++)
        if (ours[i] >= 0)
            SYS(fcntl, ours[i], F_SETFL, O_NONBLOCK);
    int value = start_on(child, (int[3]){in[0], out[1], err[1]}, child->pty, cmd, text, size);
    if (value) {
        close_all(ours, child->pty ? 1 : 3);
        *child = (struct child){.in_fd = -1, .out_fd = -1, .err_fd = -1};
    }
    return value;
}

int child_start_console(struct child *child, const struct command *cmd, char *text, size_t size)
{
    *child = (struct child){.in_fd = -1, .out_fd = -1, .err_fd = -1};
    long fd = open_console(cmd);
    if (fd < 0) {
        text_join(text, size, "console: ", text_error(fd), NULL);
        return 125;
    }
    return start_on(child, (int[3]){(int)fd, (int)fd, (int)fd}, true, cmd, text, size);
}

long child_run(const char *path, char *const *argv, char *const *envp)
{
    int status = 0;
    long pid = SYS(fork);
    if (pid < 0)
        return pid;
    if (pid == 0) {
        SYS(execve, path, argv, envp);
        SYS(exit_group, 127);
    }
    while (SYS(wait4, pid, &status, 0, NULL) == -EINTR)
        ;
    return status;
}
