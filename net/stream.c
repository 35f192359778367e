// SPDX-License-Identifier: MIT
/* A socket as a network: see include/net/stream.h. The connection's life is in the lower half, frames in the upper. */
#include "net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "kvm/host/unix_listener.h"

enum {
    SAID_ALOUD = 5,
    IN_BYTES = 2 * (PORT_FRAME_MAX + STREAM_LENGTH), /* a whole frame always fits behind a part of one */
};

enum state {
    APART, /* no peer: listening, or about to connect again */
    CONNECTED,
    GONE, /* a descriptor's peer, for ever */
};

struct stream {
    struct port port; /* first */
    const char *name, *path;
    bool listens;
    bool packets, sequence; /* SOCK_DGRAM or SOCK_SEQPACKET; the latter */
    enum state state;
    int fd;
    struct unix_listener listener;
    struct loop_fd watch, listen_watch;
    struct loop_timer retry;
    struct loop_task again;
    uint64_t wait;            /* before the next try */
    uint64_t tried;           /* the last one */
    bool said;                /* that there is nobody */
    uint64_t times, bad, cut; /* connections; lengths that were absurd; packets that were too long */

    bool held;         /* the peer port has no room for the first frame of in[] */
    bool full;         /* told the peer port BUSY */
    size_t head, fill; /* in[head..fill): not yet sent on */
    size_t rest, at;   /* out[at..rest): of a frame that the socket took in part */
    uint8_t in[IN_BYTES];
    uint8_t out[STREAM_LENGTH + PORT_FRAME_MAX];
};

static void apart(struct stream *s, const char *why);

/* A peer that comes and goes all day is not worth a warning each time. */
static void (*say(const struct stream *s))(const char *fmt, ...)
{
    return s->times < SAID_ALOUD ? warn : info;
}

static void arm(struct stream *s)
{
    if (s->state == CONNECTED)
        loop_fd_events(&s->watch, (s->held ? 0 : EPOLLIN | EPOLLRDHUP) | (s->rest || s->full ? EPOLLOUT : 0));
}

/* ---- from the socket */

/* false: BUSY, and it stays. */
static bool give(struct stream *s, uint8_t *frame, size_t len)
{
    static const struct port_meta finished;
    struct iovec iov = {frame, len};
    s->held = port_send(&s->port, &iov, 1, &finished) == PORT_BUSY;
    return !s->held;
}

/* Sends on the whole frames in the buffer. false: stopped by BUSY, or the budget is used up, or the peer lies. */
static bool parse(struct stream *s, unsigned *budget)
{
    while (s->fill - s->head >= STREAM_LENGTH) {
        uint32_t len;
        memcpy(&len, s->in + s->head, sizeof len);
        len = ntohl(len);
        if (len > PORT_FRAME_MAX) {
            s->bad++;
            apart(s, "sent a frame of an absurd length");
            return false;
        }
        if (len > s->fill - s->head - STREAM_LENGTH)
            break;
        if (!*budget || !give(s, s->in + s->head + STREAM_LENGTH, len))
            return false;
        --*budget;
        s->head += STREAM_LENGTH + len;
    }
    if (s->head == s->fill)
        s->head = s->fill = 0;
    return true;
}

static void pull_stream(struct stream *s)
{
    unsigned budget = STREAM_BUDGET;
    bool more = true;
    while (parse(s, &budget) && more) {
        if (sizeof s->in - s->fill < PORT_FRAME_MAX + STREAM_LENGTH) {
            memmove(s->in, s->in + s->head, s->fill - s->head);
            s->fill -= s->head;
            s->head = 0;
        }
        size_t room = sizeof s->in - s->fill;
        ssize_t n = recv(s->fd, s->in + s->fill, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            apart(s, n ? strerror(errno) : "closed the connection");
            return;
        }
        s->fill += (size_t)n;
        more = (size_t)n == room; /* else there is mostly no more: spare the call that would say so */
    }
    if (!budget) /* whole frames may be left in the buffer, of which epoll knows nothing */
        loop_task_post(&s->again);
    arm(s);
}

static void pull_packets(struct stream *s)
{
    for (unsigned i = 0; i < STREAM_BUDGET; i++) {
        ssize_t n = recv(s->fd, s->in, sizeof s->in, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ECONNREFUSED)) /* a datagram peer that is not there now */
            return;
        if (n < 0 || (n == 0 && s->sequence)) {
            apart(s, n ? strerror(errno) : "closed the connection");
            return;
        }
        if ((size_t)n > PORT_FRAME_MAX) {
            s->cut++;
            continue;
        }
        s->head = 0;
        s->fill = (size_t)n;
        if (!give(s, s->in, s->fill)) {
            arm(s);
            return;
        }
    }
}

static void pull(struct stream *s)
{
    if (s->packets)
        pull_packets(s);
    else
        pull_stream(s);
}

static void on_again(void *arg)
{
    struct stream *s = arg;
    if (s->state == CONNECTED && !s->held)
        pull(s);
}

static void stream_ready(struct port *port)
{
    struct stream *s = (struct stream *)port;
    if (!s->held || s->state != CONNECTED)
        return;
    if (s->packets && !give(s, s->in, s->fill))
        return;
    s->held = false;
    pull(s);
    arm(s);
}

/* ---- to the socket */

static ssize_t put(struct stream *s, struct iovec *iov, int n)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    ssize_t done;
    do
        done = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (done < 0 && errno == EINTR);
    return done;
}

/* Keeps what is behind the first `skip` bytes. */
static void keep(struct stream *s, const struct iovec *iov, int n, size_t skip)
{
    for (int i = 0; i < n; i++) {
        size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        memcpy(s->out + s->rest, (const uint8_t *)iov[i].iov_base + from, iov[i].iov_len - from);
        s->rest += iov[i].iov_len - from;
        skip -= from;
    }
}

static void flush_rest(struct stream *s)
{
    struct iovec iov = {s->out + s->at, s->rest - s->at};
    ssize_t n = s->rest ? put(s, &iov, 1) : 0;
    if (n < 0 && errno != EAGAIN && errno != ENOBUFS) {
        apart(s, strerror(errno));
        return;
    }
    s->at += n > 0 ? (size_t)n : 0;
    if (s->at < s->rest)
        return;
    s->at = s->rest = 0;
    if (s->full) {
        s->full = false;
        port_ready(&s->port);
    }
    arm(s);
}

static void try_again(struct stream *s);

static enum port_result stream_receive(struct port *port, const struct iovec *iov, int n,
                                       const struct port_meta *meta)
{
    struct stream *s = (struct stream *)port;
    struct iovec out[PORT_IOV_MAX + 2];
    (void)meta;
    if (s->state == APART && s->path && !s->listens &&
        loop_now(s->port.net->loop) - s->tried >= STREAM_RETRY_FIRST)
        try_again(s);
    if (s->state != CONNECTED) {
        port_drop(port);
        return PORT_SENT;
    }
    if (s->rest) {
        s->full = true;
        return PORT_BUSY;
    }
    uint32_t length = 0;
    for (int i = 0; i < n; i++)
        length += (uint32_t)iov[i].iov_len;
    length = htonl(length);
    out[0] = (struct iovec){&length, s->packets ? 0 : sizeof length};
    memcpy(out + 1, iov, (size_t)n * sizeof *iov);
    int pieces = n + 1;
    size_t whole = ntohl(length) + out[0].iov_len;
    if (pieces > IOV_MAX) { /* more than sendmsg() takes */
        keep(s, out, pieces, 0);
        out[0] = (struct iovec){s->out, whole};
        pieces = 1;
        s->rest = 0;
    }
    ssize_t done = put(s, out, pieces);
    if (done < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
        s->full = true;
        arm(s);
        return PORT_BUSY;
    }
    if (done < 0) {
        if (!s->packets || (errno != ECONNREFUSED && errno != EMSGSIZE))
            apart(s, strerror(errno));
        port_drop(port);
        return PORT_SENT;
    }
    if ((size_t)done < whole) {
        if (pieces == 1 && out[0].iov_base == s->out) {
            s->at = (size_t)done;
            s->rest = whole;
        } else {
            keep(s, out, pieces, (size_t)done);
        }
        arm(s);
    }
    return PORT_SENT;
}

static const struct port_ops stream_ops = {.receive = stream_receive, .ready = stream_ready};

/* ---- the connection */

static void on_fd(void *arg, uint32_t events)
{
    struct stream *s = arg;
    if (events & EPOLLOUT)
        flush_rest(s);
    if (s->state == CONNECTED && events & ~(uint32_t)EPOLLOUT && !s->held)
        pull(s);
}

static bool joined(struct stream *s, int fd)
{
    if (!loop_fd_add(s->port.net->loop, &s->watch, fd, EPOLLIN | EPOLLRDHUP, on_fd, s)) {
        close(fd);
        return false;
    }
    if (s->said)
        say(s)("%s: %s: a peer is there", s->name, s->path);
    s->fd = fd;
    s->state = CONNECTED;
    s->said = false;
    s->wait = STREAM_RETRY_FIRST;
    s->times++;
    loop_timer_cancel(&s->retry);
    return true;
}

/* The peer is gone: what was under way with it is lost. */
static void apart(struct stream *s, const char *why)
{
    if (s->state != CONNECTED)
        return;
    loop_fd_remove(&s->watch);
    close(s->fd);
    s->fd = -1;
    s->state = s->path ? APART : GONE;
    s->held = false;
    s->head = s->fill = s->at = s->rest = 0;
    say(s)("%s: %s: the peer %s (%s)", s->name, s->path ? s->path : "socket", why,
           !s->path     ? "the card has no network from now on"
           : s->listens ? "another may come"
                        : "trying again");
    s->said = true;
    if (s->listens)
        loop_fd_events(&s->listen_watch, EPOLLIN);
    else if (s->path)
        loop_timer_after(&s->retry, s->wait);
    if (s->full) {
        s->full = false;
        port_ready(&s->port);
    }
}

/* false: nobody there; errno. A full backlog counts as nobody: connect() never waits here. */
static bool join(struct stream *s)
{
    int fd = unix_connect(s->path);
    return fd >= 0 && joined(s, fd);
}

static void try_again(struct stream *s)
{
    s->tried = loop_now(s->port.net->loop);
    if (join(s))
        return;
    loop_timer_after(&s->retry, s->wait);
    s->wait = s->wait * 2 < STREAM_RETRY_LAST ? s->wait * 2 : STREAM_RETRY_LAST;
}

static void on_retry(void *arg)
{
    struct stream *s = arg;
    if (s->state != APART)
        return;
    if (s->listens)
        loop_fd_events(&s->listen_watch, EPOLLIN);
    else
        try_again(s);
}

static void on_caller(void *arg, uint32_t events)
{
    struct stream *s = arg;
    (void)events;
    int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        loop_fd_events(&s->listen_watch, 0); /* no descriptors: it would be ready for ever */
        loop_timer_after(&s->retry, STREAM_RETRY_FIRST);
        return;
    }
    if (fd < 0 || !joined(s, fd))
        return;
    loop_fd_events(&s->listen_watch, 0); /* others wait until this one goes */
}

/* ---- set-up */

static bool fail(const struct stream_options *o, char *err, size_t size, const char *what)
{
    int error = errno;
    char fd[24];
    snprintf(fd, sizeof fd, "fd=%d", o->fd);
    snprintf(err, size, "%s: %s: %s%s%s", o->name, o->path ? o->path : fd, what, error ? ": " : "",
             error ? strerror(error) : "");
    return false;
}

static bool open_listener(struct stream *s, const struct stream_options *o, char *err, size_t size)
{
    static const struct {
        int error;
        const char *what;
    } taken[] = {
        {EEXIST,     "is no socket (name another path=, or remove it)"             },
        {EADDRINUSE, "somebody listens there already (leave out listen to join it)"},
    };
    if (unix_listener_open(&s->listener, o->path, 1))
        return loop_fd_add(s->port.net->loop, &s->listen_watch, s->listener.fd, EPOLLIN, on_caller, s) ||
               fail(o, err, size, "epoll");
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (errno == taken[i].error) {
            errno = 0;
            return fail(o, err, size, taken[i].what);
        }
    return fail(o, err, size, "cannot be made");
}

static bool open_given(struct stream *s, const struct stream_options *o, char *err, size_t size)
{
    int type = 0, accepting = 0;
    socklen_t len = sizeof type, len2 = sizeof accepting;
    if (getsockopt(o->fd, SOL_SOCKET, SO_TYPE, &type, &len))
        return fail(o, err, size, "is no open socket");
    errno = 0;
    if (!getsockopt(o->fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &len2) && accepting)
        return fail(o, err, size, "listens (pass a connected socket, or use mode=stream,path=,listen)");
    errno = 0;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return fail(o, err, size, "is a socket of a kind that carries no frames");
    fcntl(o->fd, F_SETFD, FD_CLOEXEC);
    s->packets = type != SOCK_STREAM;
    s->sequence = type == SOCK_SEQPACKET;
    return joined(s, o->fd) || fail(o, err, size, "epoll");
}

struct stream *stream_new(struct net *net, const struct stream_options *o, char *err, size_t err_size)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s || !port_init(&s->port, net, o->path ? o->path : "socket", &stream_ops)) {
        snprintf(err, err_size, "%s: out of memory", o->name);
        free(s);
        return NULL;
    }
    s->name = o->name;
    s->path = o->path;
    s->listens = o->listen;
    s->fd = -1;
    s->wait = STREAM_RETRY_FIRST;
    loop_timer_init(net->loop, &s->retry, on_retry, s);
    loop_task_init(net->loop, &s->again, on_again, s);
    if (!(s->path ? !s->listens || open_listener(s, o, err, err_size) : open_given(s, o, err, err_size))) {
        stream_free(s);
        return NULL;
    }
    if (s->path && !s->listens) {
        s->tried = loop_now(net->loop);
        if (!join(s)) {
            warn("%s: %s: %s (the guest starts without, and tries again)", s->name, s->path, strerror(errno));
            s->said = true;
            loop_timer_after(&s->retry, s->wait);
        }
    }
    return s;
}

struct port *stream_port(struct stream *s)
{
    return &s->port;
}

void stream_print(struct stream *s, FILE *out)
{
    static const char *const words[] = {[APART] = "nobody there", [CONNECTED] = "connected", [GONE] = "gone"};
    fprintf(out, "  socket %s: %s%s, %llu connections, %llu absurd lengths, %llu packets too long%s\n",
            s->path ? s->path : "handed in", s->listens ? "listening, " : "", words[s->state],
            (unsigned long long)s->times, (unsigned long long)s->bad, (unsigned long long)s->cut,
            s->held ? ", waits for the card" : "");
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    loop_timer_cancel(&s->retry);
    loop_task_cancel(&s->again);
    loop_fd_remove(&s->watch);
    loop_fd_remove(&s->listen_watch);
    if (s->fd >= 0)
        close(s->fd);
    unix_listener_close(&s->listener);
    port_free(&s->port);
    free(s);
}
