/* SPDX-License-Identifier: MIT
 *
 * vmlet's side of the line to the in-guest init (include/guest/init_proto.h), without any I/O of its own:
 * bytes that the guest wrote to COM2 go in, bytes for it come out, and in between there are three streams, a
 * few requests and a status. machine.c joins it to the serial port and to the process's standard streams.
 *
 * Owner: the machine. Thread: all calls from one thread at a time (the loop); callbacks come from inside
 * channel_rx() and channel_resume() and may call everything here but those two. Memory: fixed, two windows of
 * output and one of input; nothing is allocated after channel_new(). Nothing that the guest sends makes it
 * grow or stop: what breaks the protocol is a guest_bug() and is skipped.
 *
 * Output: ops->output() takes what it can and says how much; the rest is kept here, up to the stream's
 * window, and channel_resume() offers it again. Each stream is held back for itself: a full stdout stops
 * neither stderr nor the status nor stdin. A guest that keeps to its windows is never made to wait on the
 * line; one that does not finds channel_room() at 0, so its UART stays full: no byte is dropped.
 *
 *     channel_rx(ch, bytes, n)        from COM2; returns how many were taken
 *     channel_tx(ch, buf, n)          for COM2: fills buf, returns how many
 *     channel_stdin(ch, bytes, n)     from vmlet's stdin; returns how many were taken (0: wait for
 *                                     ops->stdin_room)
 */
#ifndef GUEST_CHANNEL_H
#define GUEST_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel;

enum channel_stream {
    CHANNEL_STDOUT,
    CHANNEL_STDERR,
};

enum channel_reason {
    CHANNEL_EXITED,   /* value: exit code */
    CHANNEL_SIGNALED, /* value: signal number */
    CHANNEL_FAILED,   /* init could not run the command; value: 125, 126 or 127, text says why */
};

struct channel_status {
    enum channel_reason reason;
    unsigned value;  /* as sent, 0-255 */
    unsigned status; /* what `run` ends with: value, or 128 + signal */
    char text[256];  /* may be empty; control characters replaced */
};

struct channel_ops {
    /* Bytes of the command, in order. Returns how many were taken, 0..n. */
    size_t (*output)(void *ctx, enum channel_stream stream, const void *bytes, size_t n);
    /* init runs: the time to userspace. */
    void (*hello)(void *ctx);
    /* The command ended. Once at most. The run is over when channel_drained() holds as well. */
    void (*status)(void *ctx, const struct channel_status *status);
    /* A sentence of init's own, or about damage on the line; no newline, control characters replaced. */
    void (*message)(void *ctx, const char *text);
    /* There is something for channel_tx(). */
    void (*tx_ready)(void *ctx);
    /* channel_stdin() takes bytes again. */
    void (*stdin_room)(void *ctx);
};

/* ops stays valid as long as the channel; every member must be set. NULL: out of memory. */
struct channel *channel_new(const struct channel_ops *ops, void *ctx);
void channel_free(struct channel *ch);

/* From the guest. channel_room(): how many bytes channel_rx() is sure to take now: 0 only after a guest
 * overran a window, until channel_resume() made room; otherwise at least 1. */
size_t channel_room(const struct channel *ch);
size_t channel_rx(struct channel *ch, const void *bytes, size_t n);

/* To the guest: nothing before hello. */
bool channel_tx_pending(const struct channel *ch);
size_t channel_tx(struct channel *ch, void *buf, size_t n);

/* stdin. channel_stdin() takes 0 bytes before hello, and while the command does not read; after
 * channel_stdin_end() nothing is taken. The end may be said before hello, it is kept. */
size_t channel_stdin_room(const struct channel *ch);
size_t channel_stdin(struct channel *ch, const void *bytes, size_t n);
void channel_stdin_end(struct channel *ch);

/* ops->output() for this stream would take bytes again; offers what is kept. */
void channel_resume(struct channel *ch, enum channel_stream stream);

/* Nobody reads that stream any more (EPIPE): what is kept is dropped, and the command gets SIGPIPE when it
 * writes. */
void channel_close_output(struct channel *ch, enum channel_stream stream);

/* Requests; those made before hello are kept: the last size, each signal once, the stop. */
void channel_winsize(struct channel *ch, uint16_t rows, uint16_t cols, uint16_t xpixel, uint16_t ypixel);
void channel_signal(struct channel *ch, int signal); /* 1..64, others are ignored */
void channel_stop(struct channel *ch,
                  uint32_t grace_ms); /* SIGTERM, then SIGKILL after that time; status follows */

bool channel_status_seen(const struct channel *ch);
/* No output is kept here. */
bool channel_drained(const struct channel *ch);
/* Bytes that were no frame, or gaps, since hello: output may be missing or foreign bytes mixed in. */
bool channel_damaged(const struct channel *ch);

#endif
