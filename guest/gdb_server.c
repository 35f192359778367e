// SPDX-License-Identifier: MIT
/* The socket that gdb comes to. TCP on 127.0.0.1 alone, since who speaks here owns the guest; a Unix socket, mode 0600, keeps
 * other users of this machine out too. One connection at a time, and on it one packet: while an answer waits for room, nothing
 * is read. */
#include "guest/gdb.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"
#include "kvm/host/unix_listener.h"
#include "net/user.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct gdb_server {
    struct loop *loop;
    struct gdb *gdb;
    struct loop_fd listen, client;
    uint16_t port;             /* 0: a path */
    int listen_fd, client_fd;  /* -1: none */
    struct unix_listener file; /* where it is a path: listen_fd is its */
    size_t have, used;         /* of buffer */
    char buffer[4096];
};

static void hang_up(struct gdb_server *s)
{
    if (s->client_fd < 0)
        return;
    gdb_close(s->gdb);
    loop_fd_remove(&s->client);
    close(s->client_fd);
    s->client_fd = -1;
}

/* Sends what there is. false: the connection is over. */
static bool flush(struct gdb_server *s)
{
    size_t n;
    const char *data;
    while (data = gdb_output(s->gdb, &n), n) {
        ssize_t sent = send(s->client_fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            loop_fd_events(&s->client, EPOLLOUT);
            return true;
        }
        if (sent < 0)
            return false;
        gdb_sent(s->gdb, (size_t)sent);
    }
    loop_fd_events(&s->client, EPOLLIN);
    return !gdb_done(s->gdb);
}

/* Lets gdb take what has been read, and sends what it says to it, as far as both go. */
static bool serve(struct gdb_server *s)
{
    bool ok = true;
    for (;;) {
        size_t n;
        if (!flush(s))
            return false;
        (void)gdb_output(s->gdb, &n);
        if (n || s->used == s->have)
            return true;
        s->used += gdb_input(s->gdb, s->buffer + s->used, s->have - s->used, &ok);
        if (!ok) {
            info("gdb: what came is not gdb's protocol: hung up");
            return false;
        }
    }
}

static void on_client(void *arg, uint32_t events)
{
    struct gdb_server *s = arg;
    (void)events;
    if (s->used == s->have) {
        ssize_t n = recv(s->client_fd, s->buffer, sizeof s->buffer, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = -1;
        else if (n <= 0) {
            hang_up(s);
            return;
        }
        s->used = 0;
        s->have = n > 0 ? (size_t)n : 0;
    }
    if (!serve(s))
        hang_up(s);
}

static void on_listen(void *arg, uint32_t events)
{
    struct gdb_server *s = arg;
    int one = 1, fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    (void)events;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE) { /* it would be ready for ever */
            warn("gdb: %s: nobody is let in from now on", strerror(errno));
            loop_fd_events(&s->listen, 0);
        }
        return;
    }
    if (s->client_fd >= 0) {
        close(fd); /* one is enough */
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a Unix socket has none */
    s->client_fd = fd;
    s->have = s->used = 0;
    if (!loop_fd_add(s->loop, &s->client, fd, EPOLLIN, on_client, s)) {
        warn("gdb: %s", strerror(errno));
        close(fd);
        s->client_fd = -1;
        return;
    }
    gdb_open(s->gdb);
}

void gdb_server_send(struct gdb_server *s)
{
    if (s->client_fd >= 0 && !serve(s))
        hang_up(s);
}

/* --- set-up */

static int listen_tcp(struct gdb_server *s, const char *where, char *err, size_t err_size)
{
    char *end;
    unsigned long port = strtoul(where, &end, 10);
    if (where[strspn(where, "0123456789")] || !*where || port == 0 || port > 65535) {
        snprintf(err, err_size, "--gdb %.80s: not a port (1 to 65535) and no path (with a slash in it)",
                 where);
        return -1;
    }
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 1) < 0) {
        snprintf(err, err_size, "--gdb %s: 127.0.0.1: %s%s", where, strerror(errno),
                 errno == EADDRINUSE ? " (give another port, or a path)" : "");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    s->port = (uint16_t)port;
    user_own_port_add(IPPROTO_TCP, s->port); /* not for the guest itself, by its network */
    return fd;
}

static int listen_unix(struct gdb_server *s, const char *where, char *err, size_t err_size)
{
    if (unix_listener_open(&s->file, where, 1))
        return s->file.fd;
    if (errno == ENAMETOOLONG)
        snprintf(err, err_size, "--gdb %.80s...: a socket's path has at most %d characters", where,
                 UNIX_PATH - 1);
    else /* what stands there and is no socket is in use as well */
        snprintf(err, err_size, "--gdb %s: %s", where, strerror(errno == EEXIST ? EADDRINUSE : errno));
    return -1;
}

static void stop_listening(struct gdb_server *s)
{
    if (s->port)
        close(s->listen_fd);
    unix_listener_close(&s->file);
}

struct gdb_server *gdb_server_new(struct loop *loop, struct gdb *gdb, const char *where, char *err,
                                  size_t err_size)
{
    struct gdb_server *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(err, err_size, "--gdb: out of memory");
        return NULL;
    }
    s->loop = loop;
    s->gdb = gdb;
    s->client_fd = -1;
    s->listen_fd =
        strchr(where, '/') ? listen_unix(s, where, err, err_size) : listen_tcp(s, where, err, err_size);
    if (s->listen_fd >= 0 && loop_fd_add(loop, &s->listen, s->listen_fd, EPOLLIN, on_listen, s))
        return s;
    if (s->listen_fd >= 0) {
        snprintf(err, err_size, "--gdb %s: %s", where, strerror(errno));
        stop_listening(s);
    }
    free(s);
    return NULL;
}

void gdb_server_free(struct gdb_server *s)
{
    if (!s)
        return;
    hang_up(s);
    loop_fd_remove(&s->listen);
    stop_listening(s);
    if (s->port)
        user_own_port_remove(IPPROTO_TCP, s->port);
    free(s);
}
