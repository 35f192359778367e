// SPDX-License-Identifier: MIT
/* The guest's side of the control socket: include/kvm/host/ctl.h. All on the loop. A client is in one of two states, sending
 * its line or taking its answer, each with a deadline, and there are CTL_CLIENTS of them at most: while all are taken, or the
 * process has no descriptor left, the listening socket is not watched and further clients wait in the kernel. */
#include "ctl_path.h"
#include "kvm/host/ctl.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/opts.h"
#include "kvm/host/unix_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    COMMANDS = 64
};
#define CLIENT_PATIENCE_NS (5 * SECOND)
#define ACCEPT_RETRY_NS    (100 * MS)
#define AGAIN_NS           (10 * MS)

struct command {
    const char *words, *help;
    ctl_fn *fn;
    void *arg;
};

const char ctl_later[] = "the guest has not answered yet";

struct client {
    struct ctl *ctl; /* NULL: free */
    struct loop_fd fd;
    struct loop_timer deadline, again;
    char *answer; /* NULL while the line is still coming */
    size_t answer_size, sent;
    size_t line_size;
    char line[CTL_LINE];
};

struct ctl {
    struct loop *loop;
    struct unix_listener listener;
    struct loop_fd listen;
    struct loop_timer retry;
    struct command commands[COMMANDS];
    unsigned n_commands;
    struct client clients[CTL_CLIENTS];
};

const char *ctl_say(const char *fmt, ...)
{
    static char text[512]; /* the loop thread's */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return text;
}

/* --- Commands ------------------------------------------------------------------------------------------------------ */

/* Splits line into words in place. NULL or an error. */
static const char *split_words(char *line, char **words, int *n)
{
    char *out = line;
    *n = 0;
    for (;;) {
        line += strspn(line, " \t\r");
        if (!*line)
            return NULL;
        if (*n == CTL_WORDS)
            return "too many words";
        words[(*n)++] = out;
        if (*line == '"') {
            for (line++; *line != '"'; *out++ = *line++) {
                if (*line == '\\' && line[1])
                    line++;
                if (!*line)
                    return "a quote is not closed";
            }
            line++;
            if (*line && !strchr(" \t\r", *line))
                return "a blank is missing after a quoted word";
        } else {
            size_t len = strcspn(line, " \t\r");
            memmove(out, line, len);
            out += len;
            line += len;
        }
        bool more = *line != 0; /* out may stand on it */
        *out++ = 0;
        if (!more)
            return NULL;
        line++;
    }
}

/* How many words of argv the command's name takes; 0: it is another. */
static int matches(const char *name, int argc, char **argv)
{
    for (int n = 0;; n++) {
        size_t len = strcspn(name, " ");
        if (n == argc || strlen(argv[n]) != len || memcmp(argv[n], name, len))
            return 0;
        if (!name[len])
            return n + 1;
        name += len + 1;
    }
}

static const char *help(void *arg, int argc, char **argv, FILE *out)
{
    const struct ctl *ctl = arg;
    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < ctl->n_commands; i++)
        fprintf(out, "%s %s\n", ctl->commands[i].words, ctl->commands[i].help);
    return NULL;
}

/* `info` has parts: which there are is said. */
static const char *unknown(const struct ctl *ctl, int argc, char **argv)
{
    char parts[128] = "";
    size_t len = strlen(argv[0]), n = 0;
    for (unsigned i = 0; i < ctl->n_commands; i++) {
        const char *words = ctl->commands[i].words;
        if (!strncmp(words, argv[0], len) && words[len] == ' ' && n < sizeof parts)
            n += (size_t)snprintf(parts + n, sizeof parts - n, "%s%s", n ? ", " : "", words + len + 1);
    }
    if (!n)
        return ctl_say("%.100s: no such command (try help)", argv[0]);
    return argc > 1 ? ctl_say("%.40s: there is no `%.60s` (there are %s)", argv[0], argv[1], parts)
                    : ctl_say("%.40s: what of it? (%s)", argv[0], parts);
}

const char *ctl_command(struct ctl *ctl, char *line, FILE *out)
{
    char *argv[CTL_WORDS + 1];
    int argc, best = 0;
    const struct command *command = NULL;
    const char *error = split_words(line, argv, &argc);
    if (error)
        return error;
    argv[argc] = NULL;
    if (!argc)
        return "no command (try help)";
    for (unsigned i = 0; i < ctl->n_commands; i++) {
        int n = matches(ctl->commands[i].words, argc, argv);
        if (n > best) {
            best = n;
            command = &ctl->commands[i];
        }
    }
    if (!command)
        return unknown(ctl, argc, argv);
    return command->fn(command->arg, argc - best, argv + best, out);
}

void ctl_add(struct ctl *ctl, const char *command, const char *help_text, ctl_fn *fn, void *arg)
{
    if (ctl->n_commands == COMMANDS)
        die("control socket: more than %d commands", COMMANDS);
    ctl->commands[ctl->n_commands++] = (struct command){command, help_text, fn, arg};
}

/* --- Clients ------------------------------------------------------------------------------------------------------- */

static void client_close(struct client *c)
{
    struct ctl *ctl = c->ctl;
    int fd = c->fd.fd;
    loop_fd_remove(&c->fd);
    close(fd);
    loop_timer_cancel(&c->deadline);
    loop_timer_cancel(&c->again);
    free(c->answer);
    c->answer = NULL;
    c->ctl = NULL;
    if (!loop_timer_armed(&ctl->retry))
        loop_fd_events(&ctl->listen, EPOLLIN);
}

static void client_late(void *arg)
{
    client_close(arg);
}

static void client_send(struct client *c)
{
    while (c->sent < c->answer_size) {
        ssize_t n = send(c->fd.fd, c->answer + c->sent, c->answer_size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            loop_fd_events(&c->fd, EPOLLOUT);
            return;
        }
        if (n < 0)
            break; /* it has gone: its own affair */
        c->sent += (size_t)n;
        loop_timer_after(&c->deadline, CLIENT_PATIENCE_NS);
    }
    client_close(c);
}

static void client_answer(struct client *c, const char *error)
{
    FILE *out = open_memstream(&c->answer, &c->answer_size);
    if (!out) {
        client_close(c);
        return;
    }
    if (!error) {
        char line[CTL_LINE]; /* cut into words: perhaps not for the last time */
        memcpy(line, c->line, sizeof line);
        error = ctl_command(c->ctl, line, out);
    }
    if (error == ctl_later) {
        fclose(out);
        free(c->answer);
        c->answer = NULL;
        loop_fd_events(&c->fd, 0);
        loop_timer_after(&c->again, AGAIN_NS);
        return;
    }
    fflush(out);
    if (c->answer_size && c->answer[c->answer_size - 1] != '\n')
        fputc('\n', out);
    if (error) {
        /* One line, whatever is in it: the last line is the verdict. */
        fputs("error: ", out);
        for (; *error; error++)
            fputc((unsigned char)*error < ' ' ? '?' : *error, out);
        fputc('\n', out);
    } else {
        fputs("ok\n", out);
    }
    bool good = !ferror(out);
    if (fclose(out) || !good || !c->answer) {
        client_close(c);
        return;
    }
    c->sent = 0;
    client_send(c);
}

static void client_again(void *arg)
{
    client_answer(arg, NULL);
}

static void client_receive(struct client *c)
{
    ssize_t n = recv(c->fd.fd, c->line + c->line_size, sizeof c->line - c->line_size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(c); /* a line without an end is no command */
        return;
    }
    char *end = memchr(c->line + c->line_size, '\n', (size_t)n);
    c->line_size += (size_t)n;
    if (!end && c->line_size == sizeof c->line) {
        client_answer(c, "the line is too long");
        return;
    }
    if (!end)
        return;
    *end = 0;
    client_answer(c, strlen(c->line) != (size_t)(end - c->line) ? "a zero byte in the line" : NULL);
}

static void client_event(void *arg, uint32_t events)
{
    struct client *c = arg;
    if (c->answer)
        client_send(c);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        client_receive(c);
}

static struct client *client_free(struct ctl *ctl)
{
    for (int i = 0; i < CTL_CLIENTS; i++)
        if (!ctl->clients[i].ctl)
            return &ctl->clients[i];
    return NULL;
}

static void client_new(struct ctl *ctl, struct client *c, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    /* The folder keeps others out already, unless its mode is changed under us. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        close(fd);
        return;
    }
    if (!loop_fd_add(ctl->loop, &c->fd, fd, EPOLLIN, client_event, c)) {
        warn("control socket: epoll_ctl: %s", strerror(errno));
        close(fd);
        return;
    }
    c->ctl = ctl;
    c->line_size = 0;
    loop_timer_init(ctl->loop, &c->deadline, client_late, c);
    loop_timer_init(ctl->loop, &c->again, client_again, c);
    loop_timer_after(&c->deadline, CLIENT_PATIENCE_NS);
}

static void listen_event(void *arg, uint32_t events)
{
    struct ctl *ctl = arg;
    (void)events;
    struct client *c = client_free(ctl);
    if (!c) {
        loop_fd_events(&ctl->listen, 0);
        return;
    }
    int fd = accept4(ctl->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        client_new(ctl, c, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        /* The client is still in the queue and would wake us for ever. */
        loop_fd_events(&ctl->listen, 0);
        loop_timer_after(&ctl->retry, ACCEPT_RETRY_NS);
    }
}

static void listen_again(void *arg)
{
    struct ctl *ctl = arg;
    loop_fd_events(&ctl->listen, EPOLLIN);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

/* Makes the socket. The folder is ours alone, so nobody can exchange it on the way. */
static const char *claim(struct ctl *ctl, const char *dir_path, const char *name)
{
    struct sockaddr_un address;
    const char *error = ctl_address(dir_path, name, &address);
    if (error || unix_listener_open(&ctl->listener, address.sun_path, CTL_CLIENTS))
        return error;
    if (errno == EADDRINUSE)
        return opts_say("name \"%s\": a guest of that name is running (choose another --name)", name);
    if (errno == EEXIST)
        return opts_say("control socket %s: is there already and is no socket (remove it)", address.sun_path);
    return opts_say("control socket %s: %s", address.sun_path, strerror(errno));
}

struct ctl *ctl_new(struct loop *loop, const char *name, const char **error)
{
    const char *dir_path;
    *error = ctl_name_error(name);
    if (*error)
        return NULL;
    struct ctl *ctl = calloc(1, sizeof *ctl);
    if (!ctl) {
        *error = "control socket: out of memory";
        return NULL;
    }
    ctl->loop = loop;
    int dir = ctl_dir_open(true, &dir_path, error);
    if (dir >= 0) {
        *error = claim(ctl, dir_path, name);
        close(dir);
    }
    if (!*error && !loop_fd_add(loop, &ctl->listen, ctl->listener.fd, EPOLLIN, listen_event, ctl))
        *error = opts_say("control socket: epoll_ctl: %s", strerror(errno));
    if (*error) {
        ctl_free(ctl);
        return NULL;
    }
    loop_timer_init(loop, &ctl->retry, listen_again, ctl);
    ctl_add(ctl, "help", "this list", help, ctl);
    return ctl;
}

void ctl_free(struct ctl *ctl)
{
    if (!ctl)
        return;
    for (int i = 0; i < CTL_CLIENTS; i++)
        if (ctl->clients[i].ctl)
            client_close(&ctl->clients[i]);
    loop_timer_cancel(&ctl->retry);
    loop_fd_remove(&ctl->listen);
    unix_listener_close(&ctl->listener);
    free(ctl);
}
