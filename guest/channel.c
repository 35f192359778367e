// SPDX-License-Identifier: MIT
/* The host's end of the line to the in-guest init: include/guest/channel.h says what it does for its caller,
 * include/guest/init_proto.h what goes over the line.
 *
 * Theory: a frame is taken whole into frame_rx and then handed on. An output frame goes to the caller first
 * and what the caller leaves goes into that stream's ring, which is as large as the window, so a guest that
 * keeps to its credit never finds it full. If a frame does not fit it stays where it is, nothing more is
 * read, and the guest waits in its own UART. Towards the guest, requests are kept as state (bits, a size, a
 * sum of credit), not as a queue, and turned into frames one at a time when the UART has room: so they cannot
 * pile up. */
#include "guest/channel.h"

#include "guest/init_proto.h"
#include "kvm/host/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    CREDIT_STEP = OUTPUT_WINDOW / 4
};

struct ring {
    uint8_t *bytes;
    uint32_t size, head, used; /* head: the oldest byte */
};

struct output {
    struct ring ring;
    uint32_t owed; /* passed on, not yet given back as credit */
    bool closed, tell_closed;
};

struct channel {
    const struct channel_ops *ops;
    void *ctx;

    struct frame_rx rx;
    bool whole; /* rx holds a frame that waits for room */
    bool hello, status, damaged;
    uint64_t garbage_then, gaps_then; /* rx's counts at hello */
    struct output out[2];

    struct ring in; /* stdin, taken from the caller, not yet framed */
    uint32_t in_credit;
    bool in_end, in_end_sent;
    bool winsize_set, stop_set;
    struct frame_winsize winsize;
    uint32_t stop_ms;
    uint64_t signals; /* bit n - 1 */

    uint8_t tx[FRAME_HEAD + FRAME_MAX]; /* the frame that is on its way */
    uint32_t tx_at, tx_end;
    uint8_t tx_seq;
    bool tx_told;
    uint8_t space[2 * OUTPUT_WINDOW + STDIN_WINDOW];
};

static uint32_t ring_free(const struct ring *r)
{
    return r->size - r->used;
}

static void ring_put(struct ring *r, const uint8_t *bytes, uint32_t n)
{
    uint32_t at = (r->head + r->used) % r->size;
    uint32_t first = n < r->size - at ? n : r->size - at;
    memcpy(r->bytes + at, bytes, first);
    memcpy(r->bytes, bytes + first, n - first);
    r->used += n;
}

/* The oldest bytes that lie in one piece. */
static uint32_t ring_peek(const struct ring *r, const uint8_t **bytes)
{
    *bytes = r->bytes + r->head;
    return r->used < r->size - r->head ? r->used : r->size - r->head;
}

static void ring_drop(struct ring *r, uint32_t n)
{
    r->head = (r->head + n) % r->size;
    r->used -= n;
}

struct channel *channel_new(const struct channel_ops *ops, void *ctx)
{
    struct channel *ch = calloc(1, sizeof *ch);
    if (!ch)
        return NULL;
    ch->ops = ops;
    ch->ctx = ctx;
    ch->out[0].ring = (struct ring){.bytes = ch->space, .size = OUTPUT_WINDOW};
    ch->out[1].ring = (struct ring){.bytes = ch->space + OUTPUT_WINDOW, .size = OUTPUT_WINDOW};
    ch->in = (struct ring){.bytes = ch->space + 2 * OUTPUT_WINDOW, .size = STDIN_WINDOW};
    return ch;
}

void channel_free(struct channel *ch)
{
    free(ch);
}

bool channel_tx_pending(const struct channel *ch)
{
    if (!ch->hello)
        return false;
    if (ch->tx_at < ch->tx_end || ch->stop_set || ch->signals || ch->winsize_set || ch->in.used ||
        (ch->in_end && !ch->in_end_sent))
        return true;
    for (int s = 0; s < 2; s++)
        if (ch->out[s].tell_closed || ch->out[s].owed >= CREDIT_STEP)
            return true;
    return false;
}

static void tell_tx(struct channel *ch)
{
    if (!ch->tx_told && channel_tx_pending(ch)) {
        ch->tx_told = true;
        ch->ops->tx_ready(ch->ctx);
    }
}

/* Copies a guest's text, cut, without anything that could play with a terminal. */
static void text_copy(char *out, size_t size, const uint8_t *text, size_t n)
{
    if (n > size - 1)
        n = size - 1;
    memcpy(out, text, n);
    log_clean(out, n);
    out[n] = 0;
}

static void output_pass(struct channel *ch, enum channel_stream s)
{
    struct output *o = &ch->out[s];
    while (o->ring.used && !o->closed) {
        const uint8_t *bytes;
        uint32_t n = ring_peek(&o->ring, &bytes);
        size_t taken = ch->ops->output(ch->ctx, s, bytes, n);
        ring_drop(&o->ring, (uint32_t)taken);
        o->owed += (uint32_t)taken;
        if (taken < n)
            break;
    }
}

/* false: no room, keep the frame. */
static bool output_frame(struct channel *ch, enum channel_stream s, const uint8_t *bytes, uint32_t n)
{
    struct output *o = &ch->out[s];
    if (o->closed) {
        o->owed += n;
        return true;
    }
    if (n > ring_free(&o->ring))
        return false;
    uint32_t taken = 0;
    if (!o->ring.used) {
        taken = (uint32_t)ch->ops->output(ch->ctx, s, bytes, n);
        o->owed += taken;
        if (o->closed) /* closed by the callback: the rest has no reader */
            return true;
    }
    ring_put(&o->ring, bytes + taken, n - taken);
    return true;
}

static void on_hello(struct channel *ch, const uint8_t *p, uint32_t n)
{
    struct frame_hello hello = {0};
    memcpy(&hello, p, n < sizeof hello ? n : sizeof hello);
    if (ch->hello || n < sizeof hello || hello.version != INIT_PROTO_VERSION) {
        guest_bug("init: hello: %s",
                  ch->hello ? "said twice" : "of another version (an init of another vmlet?)");
        return;
    }
    ch->hello = true;
    ch->garbage_then = ch->rx.garbage;
    ch->gaps_then = ch->rx.gaps;
    ch->in_credit = STDIN_WINDOW;
    ch->ops->hello(ch->ctx);
    if (!ch->in_end)
        ch->ops->stdin_room(ch->ctx);
}

static void on_credit(struct channel *ch, const uint8_t *p, uint32_t n)
{
    struct frame_credit credit = {0};
    if (n == sizeof credit)
        memcpy(&credit, p, n);
    if (credit.stream != FRAME_STDIN || credit.bytes > STDIN_WINDOW - ch->in_credit - ch->in.used) {
        guest_bug("init: credit of %u for stream %u: more than the window", credit.bytes, credit.stream);
        return;
    }
    ch->in_credit += credit.bytes;
    if (!ch->in_end)
        ch->ops->stdin_room(ch->ctx);
}

static void on_status(struct channel *ch, const uint8_t *p, uint32_t n)
{
    struct frame_status wire = {0};
    if (n < sizeof wire) {
        guest_bug("init: status of %u bytes", n);
        return;
    }
    memcpy(&wire, p, sizeof wire);
    static const struct {
        enum channel_reason reason;
        uint32_t low, high, add;
    } rules[] = {
        [STATUS_EXITED] = {CHANNEL_EXITED,   0,   255, 0  },
        [STATUS_SIGNALED] = {CHANNEL_SIGNALED, 1,   127, 128},
        [STATUS_FAILED] = {CHANNEL_FAILED,   125, 127, 0  },
    };
    if (wire.reason > STATUS_FAILED || wire.value < rules[wire.reason].low ||
        wire.value > rules[wire.reason].high) {
        guest_bug("init: status %u of reason %u", wire.value, wire.reason);
        return;
    }
    struct channel_status status = {
        .reason = rules[wire.reason].reason,
        .value = wire.value,
        .status = wire.value + rules[wire.reason].add,
    };
    text_copy(status.text, sizeof status.text, p + sizeof wire, n - sizeof wire);
    ch->status = true;
    ch->ops->status(ch->ctx, &status);
}

/* Hands the frame in rx on; false: it has to wait for room. */
static bool on_frame(struct channel *ch)
{
    uint8_t type = ch->rx.bytes[2];
    const uint8_t *p = ch->rx.bytes + FRAME_HEAD;
    uint32_t n = ch->rx.length;
    char text[512];

    if (!ch->hello && type != FRAME_HELLO) {
        guest_bug("init: frame of type %u before hello", type);
        return true;
    }
    if (ch->status) {
        guest_bug("init: frame of type %u after the status", type);
        return true;
    }
    switch (type) {
    case FRAME_STDOUT:
        return output_frame(ch, CHANNEL_STDOUT, p, n);
    case FRAME_STDERR:
        return output_frame(ch, CHANNEL_STDERR, p, n);
    case FRAME_HELLO:
        on_hello(ch, p, n);
        break;
    case FRAME_CREDIT:
        on_credit(ch, p, n);
        break;
    case FRAME_STATUS:
        on_status(ch, p, n);
        break;
    case FRAME_LOG:
        text_copy(text, sizeof text, p, n);
        ch->ops->message(ch->ctx, text);
        break;
    default:
        guest_bug("init: frame of unknown type %u", type);
    }
    return true;
}

/* Said once, after the frame that shows it. */
static void check_damage(struct channel *ch)
{
    if (!ch->hello || ch->damaged || (ch->rx.garbage == ch->garbage_then && ch->rx.gaps == ch->gaps_then))
        return;
    ch->damaged = true;
    ch->ops->message(ch->ctx,
                     "COM2: the line carries something that is not init's, output may be missing (take ttyS1 "
                     "out of the kernel parameters)");
}

size_t channel_room(const struct channel *ch)
{
    return ch->whole ? 0 : FRAME_HEAD + FRAME_MAX - ch->rx.have;
}

static void deliver(struct channel *ch)
{
    if (ch->whole && on_frame(ch)) {
        frame_rx_done(&ch->rx);
        ch->whole = false;
    }
    check_damage(ch);
}

size_t channel_rx(struct channel *ch, const void *bytes, size_t n)
{
    size_t i = 0;
    while (i < n && !ch->whole) {
        i += frame_rx_feed(&ch->rx, (const uint8_t *)bytes + i, n - i, &ch->whole);
        deliver(ch);
    }
    tell_tx(ch);
    return i;
}

void channel_resume(struct channel *ch, enum channel_stream s)
{
    output_pass(ch, s);
    deliver(ch);
    tell_tx(ch);
}

void channel_close_output(struct channel *ch, enum channel_stream s)
{
    struct output *o = &ch->out[s];
    if (o->closed)
        return;
    o->closed = o->tell_closed = true;
    o->owed += o->ring.used;
    o->ring.used = 0;
    tell_tx(ch);
}

static void frame_set(struct channel *ch, uint8_t type, const void *payload, uint32_t n)
{
    frame_head_put(ch->tx, type, ch->tx_seq++, (uint16_t)n);
    if (payload)
        memcpy(ch->tx + FRAME_HEAD, payload, n);
    ch->tx_at = 0;
    ch->tx_end = FRAME_HEAD + n;
}

/* What is most urgent becomes the next frame; false: there is nothing. */
static bool frame_next(struct channel *ch)
{
    static const uint32_t stream_type[2] = {FRAME_STDOUT, FRAME_STDERR};
    if (ch->stop_set) {
        ch->stop_set = false;
        frame_set(ch, FRAME_STOP, &ch->stop_ms, sizeof ch->stop_ms);
        return true;
    }
    if (ch->signals) {
        uint32_t bit = (uint32_t)__builtin_ctzll(ch->signals), signal = bit + 1;
        ch->signals &= ch->signals - 1;
        frame_set(ch, FRAME_SIGNAL, &signal, sizeof signal);
        return true;
    }
    if (ch->winsize_set) {
        ch->winsize_set = false;
        frame_set(ch, FRAME_WINSIZE, &ch->winsize, sizeof ch->winsize);
        return true;
    }
    for (int s = 0; s < 2; s++) {
        struct output *o = &ch->out[s];
        if (o->tell_closed) {
            o->tell_closed = false;
            frame_set(ch, FRAME_CLOSED, &stream_type[s], sizeof stream_type[s]);
            return true;
        }
        if (o->owed >= CREDIT_STEP) {
            struct frame_credit credit = {stream_type[s], o->owed};
            o->owed = 0;
            frame_set(ch, FRAME_CREDIT, &credit, sizeof credit);
            return true;
        }
    }
    if (ch->in.used) {
        const uint8_t *bytes;
        uint32_t n = ring_peek(&ch->in, &bytes);
        n = n < FRAME_MAX ? n : FRAME_MAX;
        frame_set(ch, FRAME_STDIN, bytes, n);
        ring_drop(&ch->in, n);
        return true;
    }
    if (ch->in_end && !ch->in_end_sent) {
        ch->in_end_sent = true;
        frame_set(ch, FRAME_STDIN_END, NULL, 0);
        return true;
    }
    return false;
}

size_t channel_tx(struct channel *ch, void *buf, size_t n)
{
    size_t i = 0;
    while (i < n && ch->hello && (ch->tx_at < ch->tx_end || frame_next(ch))) {
        size_t part = ch->tx_end - ch->tx_at;
        part = part < n - i ? part : n - i;
        memcpy((uint8_t *)buf + i, ch->tx + ch->tx_at, part);
        ch->tx_at += (uint32_t)part;
        i += part;
    }
    ch->tx_told = channel_tx_pending(ch);
    return i;
}

size_t channel_stdin_room(const struct channel *ch)
{
    return ch->in_end ? 0
                      : ch->in_credit; /* credit and what is queued never exceed the ring: see on_credit() */
}

size_t channel_stdin(struct channel *ch, const void *bytes, size_t n)
{
    size_t room = channel_stdin_room(ch);
    n = n < room ? n : room;
    ring_put(&ch->in, bytes, (uint32_t)n);
    ch->in_credit -= (uint32_t)n;
    tell_tx(ch);
    return n;
}

void channel_stdin_end(struct channel *ch)
{
    ch->in_end = true;
    tell_tx(ch);
}

void channel_winsize(struct channel *ch, uint16_t rows, uint16_t cols, uint16_t xpixel, uint16_t ypixel)
{
    ch->winsize = (struct frame_winsize){rows, cols, xpixel, ypixel};
    ch->winsize_set = true;
    tell_tx(ch);
}

void channel_signal(struct channel *ch, int signal)
{
    if (signal < 1 || signal > 64)
        return;
    ch->signals |= 1ull << (signal - 1);
    tell_tx(ch);
}

void channel_stop(struct channel *ch, uint32_t grace_ms)
{
    ch->stop_ms = grace_ms;
    ch->stop_set = true;
    tell_tx(ch);
}

bool channel_status_seen(const struct channel *ch)
{
    return ch->status;
}

bool channel_drained(const struct channel *ch)
{
    return !ch->out[0].ring.used && !ch->out[1].ring.used;
}

bool channel_damaged(const struct channel *ch)
{
    return ch->damaged;
}
