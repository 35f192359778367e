// SPDX-License-Identifier: MIT
/* virtio-vsock, the host's side: Unix sockets that listen, greet, connect and take bytes. See include/virtio/vsock.h.
 * Nothing here blocks: sockets are non-blocking from their first moment, and a local connect() is done or refused at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/ring.h"
#include "virtio/vsock_priv.h"

enum {
    BACKLOG = 32,
    PORT_DIGITS = 11, /* "_4294967295" */
};
#define ACCEPT_AGAIN SECOND             /* after a lack of descriptors */
#define CALL_AGAIN   UINT64_C(20000000) /* ns: what a guest can make of it is a few thousand calls a second */

static uint64_t now(const struct vsock *vs)
{
    return loop_now(vs->v.pci.dev.board->loop);
}

static void on_conn(void *arg, uint32_t events);

/* c has this socket from here on; false: it is closed. */
static bool watch(struct vsock_conn *c, int fd)
{
    if (!loop_fd_add(c->vs->v.pci.dev.board->loop, &c->watch, fd, 0, on_conn, c)) {
        close(fd);
        return false;
    }
    c->fd = fd;
    return true;
}

/* --- patience */

static void set_timer(struct vsock *vs)
{
    uint64_t first = vs->accept_again;
    for (struct vsock_conn *c = vs->conns; c < vs->conns + VSOCK_CONNS; c++)
        if (c->deadline < first)
            first = c->deadline;
    device_timer_set(&vs->patience, first);
}

void vsock_deadline(struct vsock_conn *c, uint64_t ns)
{
    c->deadline = ns == LOOP_NEVER ? LOOP_NEVER : now(c->vs) + ns;
    if (c->deadline < c->vs->patience.deadline) /* what comes too early finds nobody, and sets it anew */
        device_timer_set(&c->vs->patience, c->deadline);
}

/* A connect that may wait does so while the listener's queue is full; ours must not, and calls again. */
static void call_again(struct vsock_conn *c)
{
    struct vsock *vs = c->vs;
    int fd = vsock_connect(vs, c->host_port);
    if (fd < 0 && errno == EAGAIN && --c->calls) {
        vsock_deadline(c, CALL_AGAIN);
    } else if (fd < 0 || !watch(c, fd)) {
        vsock_reset_conn(c);
    } else {
        c->state = VSOCK_OPEN;
        c->deadline = LOOP_NEVER;
        vsock_say(c, VSOCK_SAY_RESPONSE);
        vsock_arm(c);
    }
}

void vsock_impatient(struct device *dev)
{
    struct vsock *vs = (struct vsock *)dev;
    uint64_t t = now(vs);
    if (vs->accept_again <= t) {
        vs->accept_again = LOOP_NEVER;
        if (vs->n_conns < VSOCK_CONNS)
            loop_fd_events(&vs->watch, EPOLLIN);
    }
    for (struct vsock_conn *c = vs->conns; c < vs->conns + VSOCK_CONNS; c++)
        if (c->deadline <= t) {
            if (c->state == VSOCK_GREETING)
                vsock_release(c);
            else if (c->state == VSOCK_CALLING)
                call_again(c);
            else
                vsock_reset_conn(c);
        }
    set_timer(vs);
    vsock_pump(vs);
}

/* --- connections */

void vsock_arm(struct vsock_conn *c)
{
    uint32_t events = 0;
    if (c->fd < 0)
        return;
    if (c->state == VSOCK_GREETING)
        events = EPOLLIN;
    if (c->state == VSOCK_OPEN && !c->eof && !(c->say & VSOCK_SAY_DATA) && vsock_credit(c))
        events |= EPOLLIN;
    if (c->state == VSOCK_OPEN && c->used)
        events |= EPOLLOUT;
    loop_fd_events(&c->watch, events);
}

uint32_t vsock_credit(const struct vsock_conn *c)
{
    uint32_t under_way = c->sent - c->peer_fwd; /* modulo 2^32, both (5.10.6.3) */
    return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

struct vsock_conn *vsock_take(struct vsock *vs, int fd, enum vsock_state state)
{
    struct vsock_conn *c = vs->conns;
    while (c < vs->conns + VSOCK_CONNS && c->state != VSOCK_FREE)
        c++;
    if (c == vs->conns + VSOCK_CONNS) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    c->fd = -1;
    if (fd >= 0 && !watch(c, fd))
        return NULL;
    c->state = state;
    c->deadline = LOOP_NEVER;
    c->guest_port = c->host_port = 0;
    c->peer_alloc = c->peer_fwd = c->sent = c->got = c->fwd = c->told = 0;
    c->head = c->used = c->say = 0; /* it may be in the list still, from its last life */
    c->eof = c->hup = false;
    c->closed = c->n_hello = 0;
    if (++vs->n_conns == VSOCK_CONNS)
        loop_fd_events(&vs->watch, 0);
    if (state == VSOCK_CALLING) {
        c->calls = VSOCK_PATIENCE / CALL_AGAIN;
        vsock_deadline(c, CALL_AGAIN);
    }
    vsock_arm(c);
    return c;
}

static void close_socket(struct vsock_conn *c)
{
    c->deadline = LOOP_NEVER;
    if (c->fd < 0)
        return;
    loop_fd_remove(&c->watch);
    close(c->fd);
    c->fd = -1;
    c->used = 0;
}

void vsock_release(struct vsock_conn *c)
{
    struct vsock *vs = c->vs;
    close_socket(c);
    c->state = VSOCK_FREE;
    c->say = 0;
    if (vs->n_conns-- == VSOCK_CONNS && vs->listener.open)
        loop_fd_events(&vs->watch, EPOLLIN);
}

void vsock_reset_conn(struct vsock_conn *c)
{
    close_socket(c);
    c->say = 0;
    vsock_say(c, VSOCK_SAY_RST);
}

/* --- bytes from the guest */

static uint32_t send_some(struct vsock_conn *c, struct iovec *iov, int n, bool *dead)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    ssize_t sent = n ? sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    *dead = sent < 0 && errno != EAGAIN && errno != EINTR;
    if (sent <= 0)
        return 0;
    c->fwd += (uint32_t)sent;
    if (c->fwd - c->told >= VSOCK_BUFFER / 2)
        vsock_say(c, VSOCK_SAY_CREDIT);
    return (uint32_t)sent;
}

static void append(struct vsock_conn *c, const char *p, uint32_t len)
{
    ring_put(c->ring, VSOCK_BUFFER, (c->head + c->used) % VSOCK_BUFFER, p, len);
    c->used += len;
}

bool vsock_write(struct vsock_conn *c, const struct iovec *from, int n, uint32_t len)
{
    struct iovec *iov = c->vs->iov;
    uint32_t left = len, sent = 0;
    bool dead = false;
    int pieces = 0;
    for (; pieces < n && left; pieces++) {
        iov[pieces] = from[pieces];
        if (iov[pieces].iov_len > left)
            iov[pieces].iov_len = left;
        left -= (uint32_t)iov[pieces].iov_len;
    }
    if (!c->used)
        sent = send_some(c, iov, pieces, &dead);
    for (int i = 0; i < pieces && !dead; i++) {
        uint32_t part = (uint32_t)iov[i].iov_len, skip = sent < part ? sent : part;
        append(c, (const char *)iov[i].iov_base + skip, part - skip);
        sent -= skip;
    }
    return !dead;
}

static void flush(struct vsock_conn *c)
{
    uint32_t first = VSOCK_BUFFER - c->head;
    bool dead;
    struct iovec iov[2] = {
        {c->ring + c->head, c->used < first ? c->used : first    },
        {c->ring,           c->used < first ? 0 : c->used - first},
    };
    uint32_t sent = send_some(c, iov, 2, &dead);
    c->head = (c->head + sent) % VSOCK_BUFFER;
    c->used -= sent;
    if (dead || (!c->used && c->closed == (VSOCK_SHUTDOWN_RCV | VSOCK_SHUTDOWN_SEND)))
        vsock_reset_conn(c);
    else if (!c->used && c->closed & VSOCK_SHUTDOWN_SEND)
        shutdown(c->fd, SHUT_WR);
}

/* --- "CONNECT PORT\n" */

static bool parse_hello(const char *text, uint32_t *port)
{
    static const char word[] = "CONNECT ";
    uint64_t value = 0;
    if (strncmp(text, word, sizeof word - 1))
        return false;
    text += sizeof word - 1;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9' && value <= UINT32_MAX; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    *port = (uint32_t)value;
    return value < UINT32_MAX && (*text == '\n' || (*text == '\r' && text[1] == '\n'));
}

static void ask(struct vsock_conn *c, uint32_t port)
{
    struct vsock *vs = c->vs;
    if (!virtio_is_live(&vs->v)) {
        vsock_release(c);
        return;
    }
    do {
        c->host_port = vs->next_port++;
        if (vs->next_port == UINT32_MAX)
            vs->next_port = VSOCK_FIRST_PORT;
    } while (vsock_find(vs, c->host_port, port));
    c->guest_port = port;
    c->state = VSOCK_ASKING;
    vsock_deadline(c, VSOCK_PATIENCE);
    vsock_say(c, VSOCK_SAY_REQUEST);
}

/* The line may come in pieces; what comes behind it is the stream's: so it is looked at first, and the line alone taken. */
static void greet(struct vsock_conn *c)
{
    char *at = c->hello + c->n_hello;
    ssize_t n = recv(c->fd, at, sizeof c->hello - c->n_hello, MSG_PEEK | MSG_DONTWAIT);
    uint32_t port;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    const char *end = n > 0 ? memchr(at, '\n', (size_t)n) : NULL;
    size_t take = end ? (size_t)(end - at) + 1 : n > 0 ? (size_t)n : 0;
    if (!take || recv(c->fd, at, take, MSG_DONTWAIT) != (ssize_t)take) {
        vsock_release(c);
        return;
    }
    c->n_hello += (uint8_t)take;
    if (end && parse_hello(c->hello, &port))
        ask(c, port);
    else if (end || c->n_hello == sizeof c->hello)
        vsock_release(c);
}

void vsock_opened(struct vsock_conn *c)
{
    char text[32];
    int n = snprintf(text, sizeof text, "OK %u\n", c->host_port);
    c->state = VSOCK_OPEN;
    vsock_deadline(c, LOOP_NEVER);
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
        vsock_reset_conn(c);
    vsock_arm(c);
}

/* --- the loop */

static void on_conn(void *arg, uint32_t events)
{
    struct vsock_conn *c = arg;
    struct vsock *vs = c->vs;
    device_enter(&vs->v.pci.dev);
    if (events & EPOLLHUP)
        c->hup = true;
    if (c->state == VSOCK_GREETING) {
        greet(c);
    } else if (c->state == VSOCK_OPEN) {
        if (events & EPOLLOUT || (c->used && events & (EPOLLHUP | EPOLLERR)))
            flush(c);
        if (c->fd >= 0 && !c->eof && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            vsock_say(c, VSOCK_SAY_DATA);
    }
    vsock_arm(c);
    vsock_pump(vs);
    lock_drop(&vs->v.pci.dev.lock);
}

static void on_listener(void *arg, uint32_t events)
{
    struct vsock *vs = arg;
    (void)events;
    device_enter(&vs->v.pci.dev);
    int fd = accept4(vs->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct vsock_conn *c = fd < 0 ? NULL : vsock_take(vs, fd, VSOCK_GREETING);
    if (c) {
        vsock_deadline(c, VSOCK_PATIENCE);
    } else if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        vs->accept_again = now(vs) + ACCEPT_AGAIN; /* no descriptors: it would be ready for ever */
        loop_fd_events(&vs->watch, 0);
        set_timer(vs);
    }
    lock_drop(&vs->v.pci.dev.lock);
}

int vsock_connect(struct vsock *vs, uint32_t port)
{
    char path[UNIX_PATH];
    int n = snprintf(path, sizeof path, "%s_%u", vs->listener.path, port);
    return n > 0 && (size_t)n < sizeof path ? unix_connect(path) : -1;
}

/* --- the file */

const char *vsock_listen(struct vsock *vs, char *error, size_t size)
{
    size_t most = UNIX_PATH - 1 - PORT_DIGITS;
    vs->accept_again = LOOP_NEVER;
    if (!*vs->path || strlen(vs->path) > most) {
        snprintf(error, size, "path=: takes 1 to %zu characters (_PORT comes behind it)", most);
        return error;
    }
    if (!unix_listener_open(&vs->listener, vs->path, BACKLOG) ||
        !loop_fd_add(vs->v.pci.dev.board->loop, &vs->watch, vs->listener.fd, EPOLLIN, on_listener, vs)) {
        bool taken = errno == EADDRINUSE || errno == EEXIST;
        snprintf(error, size, "path=%.*s: %s%s", (int)most, vs->path, strerror(taken ? EADDRINUSE : errno),
                 taken ? " (somebody listens there, or it is no socket: use another)" : "");
        unix_listener_close(&vs->listener);
        return error;
    }
    return NULL;
}

void vsock_unlisten(struct vsock *vs)
{
    if (vs->listener.open)
        loop_fd_remove(&vs->watch);
    unix_listener_close(&vs->listener);
}
