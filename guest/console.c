// SPDX-License-Identifier: MIT
/*
 * Ports and standard streams: see include/guest/console.h.
 *
 * Output: a port's backend or the channel offers bytes to a sink, which takes what its stream takes; when the stream has room
 * again, sink_room() lets both go on. Input: bytes from stdin wait in `input` until COM1 or the channel takes them.
 */
#include "guest/console.h"

#include "devices/serial.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"
#include "kvm/host/patient.h"
#include "kvm/host/stream.h"
#include "kvm/host/term.h"
#include "virtio/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OUTPUT_BYTES = 1 << 16,
    INPUT_BYTES = 4096,
};

enum {
    SINK_OUT = CHANNEL_STDOUT,
    SINK_ERR = CHANNEL_STDERR,
    SINK_FILE,
    SINKS
};

struct sink {
    struct console *console;
    struct stream_out *stream; /* NULL: not in use */
    const char *name;
    int fd;
};

struct console {
    struct console_config config;
    struct serial_backend com1, com2;
    struct channel *channel; /* NULL without a command */
    struct watch watch, hvc_watch;
    struct sink sinks[SINKS];
    struct sink *log; /* where COM1 goes; NULL: nowhere */
    struct sink *hvc; /* where hvc's output goes; NULL: nowhere */

    struct stream_in *in; /* NULL: stdin is not for the guest */
    bool has_stdin;
    uint8_t input[INPUT_BYTES];
    size_t input_len;
    bool input_ended;
    struct loop_timer foreground; /* looks whether the terminal is ours by now */
    uint8_t frames[1024];         /* on the way to COM2 */
    size_t frames_at, frames_end;
    bool com1_open; /* RTS was seen */
    struct term_escape escape;

    struct loop_task check;     /* of drained */
    void (*drained)(void *ctx); /* NULL: not asked for, or told */
    char failed[128];
};

#define CONSOLE_OF(backend, member) ((struct console *)((char *)(backend)-offsetof(struct console, member)))

/* ---- output */

/* Any lock may be held. */
static void wake(void *arg)
{
    loop_task_post(&((struct console *)arg)->check);
}

static bool idle(struct console *c)
{
    if (!serial_tx_idle(c->config.com1) || !serial_tx_idle(c->config.com2))
        return false;
    if (c->channel && !channel_drained(c->channel))
        return false;
    for (struct device *dev = c->config.board ? c->config.board->devices : NULL; dev; dev = dev->next)
        if (dev->class == &vconsole_class && !virtio_console_drained(dev, wake, c))
            return false;
    for (int i = 0; i < SINKS; i++)
        if (c->sinks[i].stream && !stream_out_is_empty(c->sinks[i].stream))
            return false;
    return true;
}

static void check_drained(void *arg)
{
    struct console *c = arg;
    void (*drained)(void *) = c->drained;
    if (!drained)
        return;
    if (idle(c)) {
        c->drained = NULL;
        drained(c->config.ctx);
        return;
    }
    for (int i = 0; i < SINKS; i++)
        if (c->sinks[i].stream && !stream_out_is_empty(c->sinks[i].stream))
            stream_out_notify_empty(c->sinks[i].stream);
}

static size_t sink_write(struct sink *s, const void *data, size_t n)
{
    if (s->console->drained)
        loop_task_post(&s->console->check);
    return stream_out_write(s->stream, data, n);
}

static void sink_room(void *arg)
{
    struct sink *s = arg;
    struct console *c = s->console;
    if (c->channel && s != &c->sinks[SINK_FILE]) {
        channel_resume(c->channel, (enum channel_stream)(s - c->sinks));
        serial_tx_ready(c->config.com2);
    }
    if (c->log == s)
        serial_tx_ready(c->config.com1);
    if (c->hvc == s)
        virtio_console_tx_ready(c->config.hvc, 0);
    loop_task_post(&c->check);
}

static void sink_empty(void *arg)
{
    wake(((struct sink *)arg)->console);
}

static void sink_error(void *arg, int error)
{
    struct sink *s = arg;
    struct console *c = s->console;
    if (error != EPIPE) {
        warn("%s: %s: what the guest writes there is lost", s->name, strerror(error));
        snprintf(c->failed, sizeof c->failed, "%.96s: %s", s->name, strerror(error));
    }
    if (c->channel && s != &c->sinks[SINK_FILE])
        channel_close_output(c->channel, (enum channel_stream)(s - c->sinks));
    sink_room(s);
}

static const struct stream_out_ops sink_ops = {.room = sink_room, .empty = sink_empty, .error = sink_error};

static bool sink_open(struct console *c, int i, int fd, const char *name)
{
    struct sink *s = &c->sinks[i];
    if (s->stream)
        return true;
    *s = (struct sink){.console = c, .name = name, .fd = fd};
    s->stream = stream_out_new(c->config.loop, fd, OUTPUT_BYTES, &sink_ops, s);
    return s->stream != NULL;
}

static size_t com1_write(struct serial_backend *b, const uint8_t *data, size_t len)
{
    struct console *c = CONSOLE_OF(b, com1);
    size_t n = c->log ? sink_write(c->log, data, len) : len;
    watch_feed(&c->watch, data, n);
    if (c->drained)
        loop_task_post(&c->check);
    return n;
}

/* The device's lock is held. */
static size_t hvc_write(void *ctx, const void *data, size_t len)
{
    struct console *c = ctx;
    size_t n = c->hvc ? sink_write(c->hvc, data, len) : len;
    watch_feed(&c->hvc_watch, data, n);
    return n;
}

static size_t com2_write(struct serial_backend *b, const uint8_t *data, size_t len)
{
    struct console *c = CONSOLE_OF(b, com2);
    if (c->drained)
        loop_task_post(&c->check);
    return channel_rx(c->channel, data, len);
}

static size_t on_output(void *ctx, enum channel_stream stream, const void *bytes, size_t n)
{
    struct console *c = ctx;
    size_t taken = sink_write(&c->sinks[stream], bytes, n);
    if (c->config.output)
        c->config.output(c->config.ctx, stream == CHANNEL_STDOUT, bytes, taken);
    return taken;
}

static void on_message(void *ctx, const char *text)
{
    (void)ctx;
    guest_note(LOG_LEVEL_WARNING, "init: %s", text);
}

/* ---- input */

/* Hands over what waits in input, as far as the guest takes it. */
static void input_push(struct console *c)
{
    size_t n = 0;
    if (c->channel)
        n = channel_stdin(c->channel, c->input, c->input_len);
    else if (c->config.hvc)
        n = virtio_console_rx(c->config.hvc, 0, c->input, c->input_len);
    else if (c->com1_open)
        n = serial_rx(c->config.com1, c->input, c->input_len);
    c->input_len -= n;
    memmove(c->input, c->input + n, c->input_len);
    if (c->channel && c->input_ended && !c->input_len)
        channel_stdin_end(c->channel);
}

static void input_ready(void *arg)
{
    struct console *c = arg;
    bool quit = false;
    for (;;) {
        uint8_t keys[256];
        uint8_t *to = c->input + c->input_len;
        size_t room = sizeof c->input - c->input_len, n;
        if (!room) {
            if (!c->config.terminal)
                return; /* input_push() makes room, and then comes here */
            to = keys;
            room = sizeof keys;
        }
        n = stream_in_read(c->in, to, room);
        if (!n)
            break;
        if (c->config.terminal)
            n = term_escape_filter(&c->escape, to, n, &quit);
        if (to != keys)
            c->input_len += n;
        input_push(c);
    }
    if (stream_in_ended(c->in)) {
        c->input_ended = true;
        input_push(c);
    }
    if (quit)
        c->config.escape(c->config.ctx);
}

/* `vmlet run … &`: whoever reads a terminal that belongs to another job is stopped. The guest runs instead, and hears nothing
 * until the job is brought to the foreground, which nobody tells a process that was running. */
static void listen(void *arg)
{
    struct console *c = arg;
    if (term_is_anothers(STDIN_FILENO)) {
        loop_timer_after(&c->foreground, SECOND / 2);
        return;
    }
    if (c->config.terminal)
        term_raw(STDIN_FILENO);
    stream_in_start(c->in);
}

static void input_resume(struct console *c)
{
    if (!c->in)
        return;
    input_push(c);
    input_ready(c);
}

static void com1_rx_ready(struct serial_backend *b)
{
    input_resume(CONSOLE_OF(b, com1));
}

static void hvc_rx_ready(void *ctx)
{
    input_resume(ctx);
}

static bool hvc_drained(void *ctx)
{
    (void)ctx; /* what it took is in a sink */
    return true;
}

static void com1_lines(struct serial_backend *b, bool dtr, bool rts, bool brk)
{
    struct console *c = CONSOLE_OF(b, com1);
    (void)dtr, (void)brk;
    if (!rts || c->com1_open)
        return;
    c->com1_open = true;
    input_resume(c);
}

static void on_stdin_room(void *ctx)
{
    input_resume(ctx);
}

/* Frames for COM2, as many bytes as its receiver takes; the others wait in `frames`. */
static void com2_pump(struct console *c)
{
    for (;;) {
        if (c->frames_at == c->frames_end) {
            c->frames_at = 0;
            c->frames_end = channel_tx(c->channel, c->frames, sizeof c->frames);
        }
        if (c->frames_at == c->frames_end)
            return;
        /* More than fits is offered on purpose: only then does the port say when it has room again. */
        c->frames_at += serial_rx(c->config.com2, c->frames + c->frames_at, c->frames_end - c->frames_at);
        if (c->frames_at < c->frames_end)
            return;
    }
}

static void com2_rx_ready(struct serial_backend *b)
{
    com2_pump(CONSOLE_OF(b, com2));
}

static void on_tx_ready(void *ctx)
{
    com2_pump(ctx);
}

static void on_hello(void *ctx)
{
    struct console *c = ctx;
    c->config.hello(c->config.ctx);
    console_window_changed(c);
}

static void on_status(void *ctx, const struct channel_status *status)
{
    struct console *c = ctx;
    c->config.status(c->config.ctx, status);
}

/* ---- set-up and end */

static const struct serial_backend_ops com1_ops = {
    .write = com1_write, .rx_ready = com1_rx_ready, .lines = com1_lines};
static const struct serial_backend_ops com2_ops = {.write = com2_write, .rx_ready = com2_rx_ready};
static const struct console_end_ops hvc_ops = {
    .write = hvc_write, .rx_ready = hvc_rx_ready, .drained = hvc_drained};
static const struct channel_ops channel_ops = {
    .output = on_output,
    .hello = on_hello,
    .status = on_status,
    .message = on_message,
    .tx_ready = on_tx_ready,
    .stdin_room = on_stdin_room,
};

static bool open_log(struct console *c, char *err, size_t err_size)
{
    const char *to = c->config.kernel_log;
    if (!to)
        to = c->config.command ? "stderr" : c->config.interactive ? "stdout" : "none";
    if (!strcmp(to, "none"))
        return true;
    int i = !strcmp(to, "stdout") ? SINK_OUT : !strcmp(to, "stderr") ? SINK_ERR : SINK_FILE;
    int fd = i == SINK_OUT ? STDOUT_FILENO : STDERR_FILENO;
    if (i == SINK_FILE) {
        fd = patient_open(to, O_WRONLY | O_CREAT | O_TRUNC, c->config.patience);
        if (fd < 0 || !patient_blocking(fd)) {
            snprintf(err, err_size, "--kernel-log %s: %s", *to ? to : "\"\"",
                     errno == ETIMEDOUT ? "nobody reads it" : strerror(errno));
            return false;
        }
    }
    c->log = &c->sinks[i];
    return sink_open(c, i, fd, i == SINK_FILE ? to : i == SINK_OUT ? "standard output" : "standard error");
}

/* NULL and, where err is still empty, errno. */
static struct console *build(const struct console_config *config, char *err, size_t err_size)
{
    struct console *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->config = *config;
    c->watch = (struct watch){.event = config->watch, .arg = config->ctx};
    loop_task_init(config->loop, &c->check, check_drained, c);
    c->com1.ops = &com1_ops;
    c->com2.ops = &com2_ops;
    serial_attach(config->com1, &c->com1);
    if (!open_log(c, err, err_size))
        return NULL;
    if (config->hvc) {
        c->hvc_watch = c->watch;
        c->hvc = config->command ? c->log : &c->sinks[SINK_OUT];
        if (c->hvc == &c->sinks[SINK_OUT] && !sink_open(c, SINK_OUT, STDOUT_FILENO, "standard output"))
            return NULL;
        virtio_console_attach(config->hvc, &hvc_ops, c);
    }
    if (config->command) {
        c->channel = channel_new(&channel_ops, c);
        if (!c->channel || !sink_open(c, SINK_OUT, STDOUT_FILENO, "standard output") ||
            !sink_open(c, SINK_ERR, STDERR_FILENO, "standard error"))
            return NULL;
        serial_attach(config->com2, &c->com2);
    }
    if (config->command || config->interactive) {
        c->has_stdin = stream_claim_stdin();
        if (!c->has_stdin) {
            snprintf(err, err_size,
                     "standard input: a port of virtio-console reads it already (use --console none)");
            return NULL;
        }
        c->in = stream_in_new(config->loop, STDIN_FILENO, INPUT_BYTES, input_ready, c);
        if (!c->in)
            return NULL;
        loop_timer_init(config->loop, &c->foreground, listen, c);
        listen(c);
    }
    console_window_changed(c);
    return c;
}

struct console *console_new(const struct console_config *config, char *err, size_t err_size)
{
    err[0] = 0;
    struct console *c = build(config, err, err_size);
    if (!c && !err[0])
        snprintf(err, err_size, "console: %s%s", strerror(errno),
                 errno == EMFILE ? " (raise `ulimit -n`)" : "");
    return c;
}

void console_window_changed(struct console *c)
{
    uint16_t columns, rows;
    if (!c->config.terminal || !term_size(STDIN_FILENO, &columns, &rows))
        return;
    if (c->channel)
        channel_winsize(c->channel, rows, columns, 0, 0);
    else if (c->config.hvc)
        virtio_console_set_size(c->config.hvc, columns, rows);
}

bool console_stop(struct console *c, uint32_t grace_ms)
{
    if (c->channel)
        channel_stop(c->channel, grace_ms);
    return c->channel;
}

void console_drain(struct console *c, void (*done)(void *ctx))
{
    c->drained = done;
    loop_task_post(&c->check);
}

const char *console_failed(const struct console *c)
{
    if (c->channel && channel_damaged(c->channel))
        return "COM2: bytes that were not init's came between the command's output, which may be damaged";
    return c->failed[0] ? c->failed : NULL;
}

void console_free(struct console *c)
{
    term_restore();
    if (c->in)
        loop_timer_cancel(&c->foreground);
    watch_end(&c->watch);
    watch_end(&c->hvc_watch);
    loop_task_cancel(&c->check);
    for (struct device *dev = c->config.board ? c->config.board->devices : NULL; dev; dev = dev->next)
        if (dev->class == &vconsole_class)
            virtio_console_close(dev);
    stream_in_free(c->in);
    if (c->has_stdin)
        stream_release_stdin();
    for (int i = 0; i < SINKS; i++)
        stream_out_free(c->sinks[i].stream);
    if (c->sinks[SINK_FILE].stream && close(c->sinks[SINK_FILE].fd) < 0)
        warn("--kernel-log %s: %s", c->sinks[SINK_FILE].name, strerror(errno));
    channel_free(c->channel);
    free(c);
}
