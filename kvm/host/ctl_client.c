// SPDX-License-Identifier: MIT
/* The other end of the control socket: include/kvm/host/ctl.h. Plain blocking calls with time-outs, for short-lived
 * processes. */
#include "ctl_path.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"
#include "kvm/host/unix_listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    ANSWER_SECONDS = 30
};

/* The words as one line, quoted where they must be. False: does not fit, or cannot be said. */
static bool put_line(char line[CTL_LINE], size_t *size, int argc, const char *const *argv)
{
    size_t n = 0;
    for (int i = 0; i < argc; i++) {
        bool quote = !*argv[i] || strpbrk(argv[i], " \t\r\"");
        if (strchr(argv[i], '\n') || 2 * strlen(argv[i]) + 4 > CTL_LINE - n)
            return false;
        if (i)
            line[n++] = ' ';
        if (quote)
            line[n++] = '"';
        for (const char *s = argv[i]; *s; s++) {
            if (quote && (*s == '"' || *s == '\\'))
                line[n++] = '\\';
            line[n++] = *s;
        }
        if (quote)
            line[n++] = '"';
    }
    line[n++] = '\n';
    *size = n;
    return true;
}

/* Copies lines as they come, but keeps the last one back. */
static const char *take_answer(const char *name, int fd, FILE *out)
{
    FILE *in = fdopen(fd, "r");
    char *line = NULL, *last = NULL;
    size_t size = 0, last_size = 0;
    const char *error;
    if (!in) {
        close(fd);
        return "out of memory";
    }
    for (ssize_t n; (n = getline(&line, &size, in)) >= 0;) {
        if (last)
            fputs(last, out);
        char *l = last;
        size_t s = last_size;
        last = line, last_size = size;
        line = l, size = s;
    }
    if (last && !strcmp(last, "ok\n"))
        error = NULL;
    else if (last && !strncmp(last, "error: ", 7))
        error = opts_say("%s: %.*s", name, (int)strcspn(last + 7, "\n"), last + 7);
    else if (ferror(in) && (errno == EAGAIN || errno == EWOULDBLOCK))
        error = opts_say("%s: no answer within %d s (is its process stopped?)", name, ANSWER_SECONDS);
    else
        error = opts_say("%s: the guest ended before it had answered", name);
    free(line);
    free(last);
    fclose(in);
    return error;
}

const char *ctl_call(const char *name, int argc, const char *const *argv, FILE *out)
{
    char line[CTL_LINE];
    size_t size;
    struct sockaddr_un address;
    const char *dir_path, *error = ctl_name_error(name);
    if (error)
        return error;
    if (!put_line(line, &size, argc, argv))
        return opts_say("%s: the command is too long, or has a line break in it", name);
    int dir = ctl_dir_open(false, &dir_path, &error), fd = -1;
    if (dir < 0)
        return error ? error : opts_say("%s: no such guest (vmlet list shows those that run)", name);
    error = ctl_address(dir_path, name, &address);
    if (!error) {
        fd = ctl_connect(dir, name, &address, true);
        if (fd < 0)
            error = errno == ENOENT || errno == ECONNREFUSED
                        ? opts_say("%s: no such guest (vmlet list shows those that run)", name)
                    : errno == EAGAIN ? opts_say("%s: does not answer (is its process stopped?)", name)
                                      : opts_say("%s: %s: %s", name, address.sun_path, strerror(errno));
    }
    close(dir);
    if (error)
        return error;
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, line + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* the answer, or its absence, says why */
        sent += (size_t)n;
    }
    return take_answer(name, fd, out);
}

/* --- List ---------------------------------------------------------------------------------------------------------- */

/* Whether a process is behind it; 1 also when it cannot be told. */
static bool alive(int dir, const char *name, const struct sockaddr_un *address, pid_t *pid)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof peer;
    int fd = ctl_connect(dir, name, address, false);
    if (fd < 0)
        return errno == EAGAIN;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    close(fd);
    *pid = peer.pid;
    return true;
}

static int socket_only(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 5 && n - 5 <= CTL_NAME && !strcmp(e->d_name + n - 5, ".sock");
}

const char *ctl_list(void (*each)(void *arg, const char *name, pid_t pid), void *arg)
{
    const char *dir_path, *error;
    struct dirent **entries;
    int dir = ctl_dir_open(false, &dir_path, &error);
    if (dir < 0)
        return error;
    int n = scandir(dir_path, &entries, socket_only, alphasort);
    if (n < 0) {
        error = opts_say("control folder %s: %s", dir_path, strerror(errno));
        close(dir);
        return error;
    }
    for (int i = 0; i < n; i++) {
        struct sockaddr_un address;
        char name[CTL_NAME + 1];
        pid_t pid = 0;
        snprintf(name, sizeof name, "%.*s", (int)strlen(entries[i]->d_name) - 5, entries[i]->d_name);
        if (!ctl_name_error(name) && !ctl_address(dir_path, name, &address)) {
            if (alive(dir, name, &address, &pid))
                each(arg, name, pid);
            else if (errno == ECONNREFUSED)
                unix_listener_clear(
                    address.sun_path); /* which asks again: a new guest may have taken the name */
        }
        free(entries[i]);
    }
    free(entries);
    close(dir);
    return NULL;
}
