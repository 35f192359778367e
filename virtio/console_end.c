// SPDX-License-Identifier: MIT
/* The host's end of a virtio-console port: see include/virtio/console_end.h. Input waits in one buffer until the guest takes
 * it; while some waits, no more is read. */
#include "virtio/console_end.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "kvm/host/patient.h"
#include "kvm/host/stream.h"
#include "kvm/host/unix_listener.h"

enum {
    OUTPUT_BYTES = 64 << 10,
    INPUT_BYTES = 16 << 10,
};
#define ACCEPT_AGAIN UINT64_C(1000000000) /* ns after a lack of descriptors */

struct console_end {
    struct device *dev;
    unsigned port;
    const char *spec, *path; /* path: what follows the kind; "" for standard streams */
    struct stream_out *out;
    struct stream_in *in;
    struct unix_listener listener;
    int caller; /* -1: none */
    struct loop_fd listen_watch, watch;
    struct loop_timer accept_again;
    bool full;  /* the caller takes no more for now */
    bool ended; /* no more will come in */
    bool gone;  /* the caller hung up */
    bool has_stdin;
    size_t at, have; /* in input */
    uint8_t input[INPUT_BYTES];
};

/* --- in */

/* Hands over what waits; true: nothing is left. */
static bool push(struct console_end *e)
{
    if (e->have) {
        size_t n = virtio_console_rx(e->dev, e->port, e->input + e->at, e->have);
        e->at += n;
        e->have -= n;
    }
    return !e->have;
}

static void end_of_input(struct console_end *e)
{
    if (e->ended)
        return;
    e->ended = true;
    virtio_console_set_open(e->dev, e->port, false);
}

static void stream_ready(void *arg)
{
    struct console_end *e = arg;
    while (push(e)) {
        e->at = 0;
        e->have = stream_in_read(e->in, e->input, sizeof e->input);
        if (!e->have)
            break;
    }
    if (!e->have && stream_in_ended(e->in))
        end_of_input(e);
}

/* --- a socket's caller */

static void caller_left(struct console_end *e)
{
    loop_fd_remove(&e->watch);
    close(e->caller);
    e->caller = -1;
    e->full = false;
    loop_fd_events(&e->listen_watch, EPOLLIN);
    virtio_console_set_open(e->dev, e->port, false);
    virtio_console_tx_ready(e->dev, e->port);
}

/* What to wait for. A hang-up is told whatever is asked, unless nothing is: so not while it could not be acted upon. */
static void arm(struct console_end *e)
{
    uint32_t events = 0;
    if (e->caller < 0)
        return;
    if (!e->ended && !e->have)
        events |= EPOLLIN;
    if (!e->gone && e->full)
        events |= EPOLLOUT;
    if (!events && e->ended && !e->gone)
        events = EPOLLPRI; /* never comes: for the hang-up */
    loop_fd_events(&e->watch, events);
}

static void pull(struct console_end *e)
{
    if (push(e) && !e->ended) {
        ssize_t n = recv(e->caller, e->input, sizeof e->input, MSG_DONTWAIT);
        if (n > 0) {
            e->at = 0;
            e->have = (size_t)n;
            push(e);
        } else if (!n || (errno != EAGAIN && errno != EINTR)) {
            e->ended = true;
        }
    }
    if (e->gone && e->ended && !e->have)
        caller_left(e);
    else
        arm(e);
}

static void on_caller_event(void *arg, uint32_t events)
{
    struct console_end *e = arg;
    if (events & (EPOLLHUP | EPOLLERR))
        e->gone = true;
    if (e->full && (e->gone || events & EPOLLOUT)) {
        e->full = false;
        virtio_console_tx_ready(e->dev, e->port);
    }
    pull(e);
}

static void on_call(void *arg, uint32_t events)
{
    struct console_end *e = arg;
    (void)events;
    int fd = accept4(e->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) { /* it would be ready for ever */
            loop_fd_events(&e->listen_watch, 0);
            loop_timer_after(&e->accept_again, ACCEPT_AGAIN);
        }
        return;
    }
    e->ended = e->gone = e->full = false;
    e->at = e->have = 0;
    if (!loop_fd_add(e->dev->board->loop, &e->watch, fd, EPOLLIN, on_caller_event, e)) {
        warn("%s: %s: a caller: %s", e->dev->id, e->spec, strerror(errno));
        close(fd);
        return;
    }
    e->caller = fd;
    loop_fd_events(&e->listen_watch, 0); /* others wait until this one goes */
    virtio_console_set_open(e->dev, e->port, true);
}

static void call_again(void *arg)
{
    struct console_end *e = arg;
    if (e->caller < 0)
        loop_fd_events(&e->listen_watch, EPOLLIN);
}

/* --- the end of a port */

static size_t end_write(void *ctx, const void *data, size_t n)
{
    struct console_end *e = ctx;
    if (e->out)
        return stream_out_write(e->out, data, n);
    ssize_t done = -1;
    errno = EPIPE;
    while (e->caller >= 0 && !e->gone && (done = send(e->caller, data, n, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 &&
           errno == EINTR)
        ;
    if (done < 0 && errno == EAGAIN)
        done = 0;
    if (done < 0) {
        virtio_console_dropped(e->dev, e->port, n);
        return n;
    }
    if ((size_t)done < n) {
        e->full = true;
        arm(e);
    }
    return (size_t)done;
}

static void end_rx_ready(void *ctx)
{
    struct console_end *e = ctx;
    if (e->in)
        stream_ready(e);
    else if (e->caller >= 0)
        pull(e);
}

static bool end_drained(void *ctx)
{
    struct console_end *e = ctx;
    if (!e->out || stream_out_is_empty(e->out))
        return true;
    stream_out_notify_empty(e->out);
    return false;
}

const struct console_end_ops console_end_ops = {
    .write = end_write, .rx_ready = end_rx_ready, .drained = end_drained};

static void out_room(void *arg)
{
    struct console_end *e = arg;
    virtio_console_tx_ready(e->dev, e->port);
}

static void out_empty(void *arg)
{
    struct console_end *e = arg;
    virtio_console_drained_again(e->dev);
}

static void out_error(void *arg, int error)
{
    struct console_end *e = arg;
    warn("%s: %s: %s: what the guest writes there is lost", e->dev->id, e->spec, strerror(error));
    out_room(e);
    out_empty(e);
}

/* --- set-up */

static const struct stream_out_ops out_ops = {.room = out_room, .empty = out_empty, .error = out_error};

static bool open_out(struct console_end *e, int fd)
{
    e->out = stream_out_new(e->dev->board->loop, fd, OUTPUT_BYTES, &out_ops, e);
    return e->out;
}

static bool open_in(struct console_end *e, int fd)
{
    e->in = stream_in_new(e->dev->board->loop, fd, INPUT_BYTES, stream_ready, e);
    if (e->in)
        stream_in_start(e->in);
    return e->in;
}

static bool open_std(struct console_end *e)
{
    return open_out(e, !strcmp(e->spec, "stderr") ? STDERR_FILENO : STDOUT_FILENO);
}

static bool open_stdin(struct console_end *e)
{
    errno = EBUSY;
    e->has_stdin = stream_claim_stdin();
    return e->has_stdin && open_in(e, STDIN_FILENO);
}

static bool open_file(struct console_end *e)
{
    int fd = patient_open(e->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, PATIENT_FOREVER);
    bool ok = fd >= 0 && patient_blocking(fd) && open_out(e, fd); /* duplicated */
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

static bool open_input(struct console_end *e)
{
    /* Not waiting for a FIFO's writer: its first byte is waited for, by the stream. */
    int fd = open(e->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool ok = fd >= 0 && patient_blocking(fd) && open_in(e, fd);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

static bool open_unix(struct console_end *e)
{
    loop_timer_init(e->dev->board->loop, &e->accept_again, call_again, e);
    return unix_listener_open(&e->listener, e->path, 4) &&
           loop_fd_add(e->dev->board->loop, &e->listen_watch, e->listener.fd, EPOLLIN, on_call, e);
}

static const struct {
    const char *name; /* with a colon: a path follows */
    bool (*open)(struct console_end *e);
    bool called; /* nobody is there at first */
} kinds[] = {
    {"stdin",  open_stdin, false},
    {"stdout", open_std,   false},
    {"stderr", open_std,   false},
    {"file:",  open_file,  false},
    {"input:", open_input, false},
    {"unix:",  open_unix,  true },
};

struct console_end *console_end_new(struct device *dev, unsigned port, const char *spec, bool *open,
                                    char *err, size_t err_size)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].name);
        bool pathed = kinds[i].name[n - 1] == ':';
        if (strncmp(spec, kinds[i].name, n) || (pathed ? !spec[n] : spec[n]))
            continue;
        struct console_end *e = calloc(1, sizeof *e);
        if (!e) {
            snprintf(err, err_size, "out of memory");
            return NULL;
        }
        *e = (struct console_end){.dev = dev, .port = port, .spec = spec, .path = spec + n, .caller = -1};
        *open = !kinds[i].called;
        if (kinds[i].open(e))
            return e;
        snprintf(err, err_size, "%.100s: %s", spec,
                 errno == EBUSY ? "it is read by the console or another port already" : strerror(errno));
        console_end_free(e);
        return NULL;
    }
    snprintf(err, err_size, "%.60s: it is stdin, stdout, stderr, file:PATH, input:PATH or unix:PATH", spec);
    return NULL;
}

void console_end_free(struct console_end *e)
{
    if (!e)
        return;
    loop_fd_remove(&e->watch);
    if (e->listen_watch.loop)
        loop_timer_cancel(&e->accept_again);
    loop_fd_remove(&e->listen_watch);
    if (e->caller >= 0)
        close(e->caller);
    unix_listener_close(&e->listener);
    stream_out_free(e->out);
    stream_in_free(e->in);
    if (e->has_stdin)
        stream_release_stdin();
    free(e);
}
