// SPDX-License-Identifier: MIT
/* What the guest is sent, and time: see include/net/tcp.h and the theory in tcp.c.
 *
 * conn_turn() is the only place that sends for a connection. It does what is noted in conn_flags and what the sequence
 * numbers say is due, in this order: RST; SYN; bytes that the guest has acknowledged are taken out of the socket; a segment
 * that was lost; new bytes, with FIN where the host's end has come; an ACK, if nothing has carried it. Each step is
 * noted as done only when it was sent, so that PORT_BUSY can stop it anywhere and the next turn goes on there.
 *
 * Time: each connection has one timer of the loop, armed no later than the first thing that may be due, and looked at
 * again when it fires. Deadlines that only move away (as the retransmission's does with each ACK) so cost nothing. */
#include "net/tcp_conn.h"

#include <errno.h>
#include <string.h>

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* --- the window that the guest is offered */

void conn_look_for_room(struct tcp_conn *c)
{
    struct tcp *t = c->t;
    uint32_t used = 0, size = 0;
    if (c->fd < 0 || t->host->room(t->cfg.host_ctx, c->fd, &used, &size))
        return;
    uint32_t room = size > used ? size - used : 0;
    if (room < used / 2 && !(c->flags & HOST_FULL)) {
        /* the kernel's own idea of full: only now EPOLLOUT can be had */
        if (!t->host->writable(t->cfg.host_ctx, c->fd))
            c->flags |= HOST_FULL;
        else if (!t->host->room(t->cfg.host_ctx, c->fd, &used, &size))
            room = size > used ? size - used : 0;
    }
    c->room = c->room_top = room - room / 4;
}

/* RFC 9293, 3.8.6.2.2: the edge moves by a segment or half of the room at least, and never back. */
static uint32_t window(const struct tcp_conn *c)
{
    uint32_t now = c->rcv_edge - c->rcv_nxt, limit = UINT32_C(65535) << c->rcv_scale;
    uint32_t room = c->room < limit ? c->room : limit;
    uint32_t step = c->mss < c->room_top / 2 ? c->mss : c->room_top / 2;
    return room > now && room - now >= step ? room : now;
}

/* A guest that has little left to send into does not know yet that there is much more. */
static bool window_wants_telling(const struct tcp_conn *c)
{
    uint32_t now = c->rcv_edge - c->rcv_nxt, next = window(c);
    uint32_t little = 16u * c->mss < c->room_top / 4 ? 16u * c->mss : c->room_top / 4;
    return now < little && next / 2 >= now && next > now && !(c->flags & FIN_IN);
}

/* --- segments */

/* false: PORT_BUSY, and nothing has changed. */
static bool send_segment(struct tcp_conn *c, uint32_t seq, uint8_t flags, void *data, uint32_t len)
{
    struct tcp *t = c->t;
    uint8_t h[TCP_HEADER + 8] = {0};
    struct iovec iov = {data, len};
    uint32_t wnd = 0, header = TCP_HEADER, scale = flags & SYN ? 0 : c->rcv_scale;
    if (c->flags & SYN_IN && !(flags & RST)) {
        wnd = window(c) >> scale;
        wnd = wnd < 65535 ? wnd : 65535;
    }
    if (flags & SYN) {
        uint16_t mss = t->cfg.ops->mss(t->cfg.ctx, !ip_is4(&c->ends.guest));
        h[header++] = 2; /* RFC 9293, 3.7.1 */
        h[header++] = 4;
        put16(h + header, mss);
        header += 2;
        if (!(c->flags & SYN_IN) || c->rcv_scale) { /* RFC 7323, 2.2: only in answer to one, or first */
            h[header++] = 1;
            h[header++] = 3;
            h[header++] = 3;
            h[header++] = TCP_WSCALE;
        }
    }
    put16(h, c->ends.peer_port);
    put16(h + 2, c->ends.guest_port);
    put32(h + 4, seq);
    put32(h + 8, flags & ACK ? c->rcv_nxt : 0);
    h[12] = (uint8_t)(header / 4 << 4);
    h[13] = flags;
    put16(h + 14, wnd);
    struct ip_out o = {.src = c->ends.peer,
                       .dst = c->ends.guest,
                       .proto = IP_TCP,
                       .header = h,
                       .hlen = header,
                       .iov = &iov,
                       .n = len ? 1 : 0,
                       .gso_size = len > c->mss ? c->mss : 0};
    if (t->cfg.ops->send(t->cfg.ctx, &o) == PORT_BUSY)
        return false;
    t->counters[TCP_SEGMENTS_OUT]++;
    if (flags & ACK && !(flags & RST)) {
        c->rcv_acked = c->rcv_nxt;
        /* RFC 7323, 2.4: rounding may seem to move it back, but what was offered once is taken */
        if (seq_diff(c->rcv_nxt + (wnd << scale), c->rcv_edge) > 0)
            c->rcv_edge = c->rcv_nxt + (wnd << scale);
        c->ack_at = LOOP_NEVER;
        c->flags &= ~(uint32_t)SEND_ACK;
    }
    return true;
}

void tcp_send_reset(struct tcp *t, const struct tcp_ends *ends, uint32_t seq, uint32_t ack, uint8_t flags)
{
    uint8_t h[TCP_HEADER] = {0};
    put16(h, ends->peer_port);
    put16(h + 2, ends->guest_port);
    put32(h + 4, seq);
    put32(h + 8, ack);
    h[12] = TCP_HEADER / 4 << 4;
    h[13] = flags;
    struct ip_out o = {.src = ends->peer, .dst = ends->guest, .proto = IP_TCP, .header = h, .hlen = sizeof h};
    if (t->cfg.ops->send(t->cfg.ctx, &o) == PORT_BUSY) {
        t->counters[TCP_BUSY]++; /* and tcp_ready() follows, which does no harm */
        return;
    }
    t->counters[TCP_SEGMENTS_OUT]++;
    t->counters[TCP_RESETS_OUT]++;
}

static bool turn_reset(struct tcp_conn *c)
{
    bool sent = c->flags & SYN_OUT ? send_segment(c, c->snd_max, c->flags & SYN_IN ? RST | ACK : RST, NULL, 0)
                                   : send_segment(c, 0, RST | ACK, NULL, 0);
    if (!sent)
        return false;
    c->t->counters[TCP_RESETS_OUT]++;
    conn_free(c, true);
    return true;
}

/* RFC 6298, 5.5: twice as long after each try; the next ACK of something new ends that, as a connection on a bad wire would
 * else wait a minute for each segment. */
static uint64_t rto(const struct tcp_conn *c)
{
    uint64_t ns = c->rto << (c->retries < 16 ? c->retries : 16);
    return ns < TCP_RTO_MAX ? ns : TCP_RTO_MAX;
}

/* What was just sent ends at `end`. */
static void sent_up_to(struct tcp_conn *c, uint32_t end)
{
    uint64_t now = c->t->now;
    if (seq_diff(end, c->snd_max) > 0) {
        if (!c->rtt_at &&
            c->snd_nxt == c->snd_max) { /* Karn: only what is sent for the first time is timed */
            c->rtt_at = now;
            c->rtt_seq = end;
        }
        if (c->snd_una == c->snd_max)
            c->retries = 0; /* of probes, if any */
        c->snd_max = end;
    } else {
        c->t->counters[TCP_RETRANSMITS]++;
    }
    c->snd_nxt = end;
    if (c->rto_at == LOOP_NEVER)
        c->rto_at = now + rto(c);
}

static bool turn_syn(struct tcp_conn *c)
{
    c->snd_nxt = c->snd_una;
    if (!send_segment(c, c->snd_una, c->flags & SYN_IN ? SYN | ACK : SYN, NULL, 0))
        return false;
    c->flags &= ~(uint32_t)SEND_SYN;
    sent_up_to(c, c->snd_una + 1);
    c->rtt_at = 0; /* the host's connect is in it, or a guest that boots */
    return true;
}

/* The last sequence number at which the guest takes a segment without data. */
static uint32_t acceptable_seq(const struct tcp_conn *c)
{
    uint32_t edge = c->snd_una + c->snd_wnd;
    return seq_diff(edge, c->snd_max) < 0 ? edge : c->snd_max;
}

static bool turn_ack(struct tcp_conn *c)
{
    bool again = c->flags & NOT_TAKEN && !(c->flags & HOST_FULL) && c->room >= c->mss;
    uint32_t seq = conn_established(c) ? acceptable_seq(c) : c->snd_max;
    if (!send_segment(c, seq, ACK, NULL, 0))
        return false;
    if (again) {
        /* The guest thinks that what the socket refused is on its way. Three duplicates, and it sends it again now, not when
         * its timer fires (RFC 5681, 3.2). */
        for (int i = 0; i < TCP_DUPACKS; i++)
            if (!send_segment(c, seq, ACK, NULL, 0))
                return false;
        c->flags &= ~(uint32_t)NOT_TAKEN;
    }
    return true;
}

/* --- data */

static uint32_t acked_data(const struct tcp_conn *c)
{
    return c->snd_una - c->head - (c->flags & FIN_ACKED ? 1 : 0);
}

/* Takes out of the socket what the guest has; rests are left until it pays. false: the socket is broken. */
static bool give_back(struct tcp_conn *c, uint32_t least)
{
    struct tcp *t = c->t;
    uint32_t n = acked_data(c);
    if (!n || (n < least && c->looks < TCP_LAZY_LOOKS))
        return true;
    if (c->snd_una == c->snd_nxt)
        c->looks = 0;
    do {
        ssize_t r = t->host->discard(t->cfg.host_ctx, c->fd, n);
        if (r == -EINTR || r == -EAGAIN)
            return true;
        if (r <= 0)
            return false;
        c->head += (uint32_t)r;
        c->peek_at -= c->peek_at < (uint32_t)r ? c->peek_at : (uint32_t)r;
        n -= (uint32_t)r;
    } while (n && c->flags & URGENT);
    return true;
}

/* How many bytes from there on the buffer takes, which on an old kernel are behind all that are on their way. */
static uint32_t in_buffer(const struct tcp_conn *c, uint32_t seq)
{
    uint32_t offset = c->flags & PEEK_OFF ? 0 : seq - c->head;
    return offset < TCP_BUFFER ? TCP_BUFFER - offset : 0;
}

/* A rest of something large is not left in the socket: its last byte may hold a buffer of 64 KiB there, which closes the far end's
 * window, and where that is the loopback's, whose segments are as large, until its timer fires. */
static void count_look(struct tcp_conn *c, ssize_t n)
{
    if (n >= (ssize_t)c->mss)
        c->looks = TCP_LAZY_LOOKS;
    else
        c->looks += c->looks < TCP_LAZY_LOOKS;
}

/* Up to `want` <= in_buffer() bytes from sequence number `seq` on, at *data; 0 or more, or -errno. *end: there is nothing
 * behind them, and never will be. */
static ssize_t look(struct tcp_conn *c, uint32_t seq, uint32_t want, uint8_t **data, bool *end)
{
    struct tcp *t = c->t;
    uint32_t offset = seq - c->head;
    *data = t->buffer;
    *end = false;
    if (c->flags & PEEK_OFF) {
        int error = c->peek_at == offset ? 0 : t->host->peek_offset(t->cfg.host_ctx, c->fd, offset);
        if (error)
            return error;
        c->peek_at = offset;
        ssize_t n = t->host->peek(t->cfg.host_ctx, c->fd, t->buffer, want);
        *end = !n || (n > 0 && (uint32_t)n < want && c->flags & HOST_EOF);
        c->peek_at += n > 0 ? (uint32_t)n : 0;
        count_look(c, n);
        return n;
    }
    ssize_t n = t->host->peek(t->cfg.host_ctx, c->fd, t->buffer, offset + want);
    if (n < 0)
        return n;
    *data = t->buffer + offset;
    count_look(c, n - (ssize_t)offset);
    *end = !n || ((uint32_t)n < offset + want && c->flags & HOST_EOF);
    return (uint32_t)n > offset ? n - offset : 0;
}

static bool send_fin(struct tcp_conn *c, uint32_t seq, uint8_t *data, uint32_t len)
{
    if (!send_segment(c, seq, FIN | ACK | PSH, data, len))
        return false;
    if (!(c->flags & (FIN_OUT | FIN_IN)))
        c->flags |= CLOSED_FIRST;
    c->flags |= FIN_OUT;
    c->fin_seq = seq + len;
    return true;
}

/* The first segment that is not acknowledged, once more. */
static bool turn_again(struct tcp_conn *c)
{
    uint32_t flight = c->snd_max - c->snd_una;
    uint8_t *data;
    bool end;
    if (flight) {
        ssize_t n = look(c, c->snd_una, flight < c->mss ? flight : c->mss, &data, &end);
        if (n > 0 && !send_segment(c, c->snd_una, ACK | PSH, data, (uint32_t)n))
            return false;
        if (!n && c->flags & FIN_OUT && c->fin_seq == c->snd_una && !send_fin(c, c->snd_una, NULL, 0))
            return false;
        c->t->counters[TCP_RETRANSMITS]++;
        c->rto_at = c->t->now + rto(c);
    }
    c->flags &= ~(uint32_t)SEND_AGAIN;
    return true;
}

/* Bytes from the socket, as many as the guest's window and the buffer take. false: PORT_BUSY. */
static bool turn_data(struct tcp_conn *c)
{
    if (c->flags & FIN_OUT && c->snd_nxt == c->fin_seq + 1)
        c->flags &= ~(uint32_t)READABLE;
    /* Reset when its end had been told: nobody peeks any more, who would find that out; and the guest may only be waiting. */
    if ((c->flags & (HOST_ERROR | FIN_ACKED | FIN_IN)) == (HOST_ERROR | FIN_ACKED)) {
        conn_abort(c);
        return true;
    }
    if (!(c->flags & READABLE))
        return true;

    uint32_t most = c->flags & PEEK_OFF ? TCP_FLIGHT : TCP_BUFFER;
    uint32_t wnd = c->snd_wnd < c->cwnd ? c->snd_wnd : c->cwnd, flight = c->snd_nxt - c->snd_una;
    wnd = wnd < most ? wnd : most;
    if (flight >= wnd || (!(c->flags & PEEK_OFF) && flight > wnd / 2))
        return true;
    /* RFC 9293, 3.8.6.2.1 */
    uint32_t want = wnd - flight, decent = c->mss < c->max_wnd / 2 ? c->mss : c->max_wnd / 2;
    bool silly = want < decent && !(c->flags & SEND_SMALL);
    if (silly && flight)
        return true;
    want = want < in_buffer(c, c->snd_nxt) ? want : in_buffer(c, c->snd_nxt);
    if (want > c->mss)
        want -= want % c->mss;

    uint8_t *data;
    bool end;
    ssize_t n = look(c, c->snd_nxt, want, &data, &end);
    if (n < 0 && n != -EAGAIN && n != -EINTR)
        c->flags |= HOST_ERROR;
    uint32_t left = n > 0 ? (uint32_t)n : 0;
    /* tcp_recvmsg() ends where urgent data begins, and without SO_PEEK_OFF gets no further before all up to there was
     * taken out: only a queue that has nothing at its front is empty for sure. Until then the guest's ACK goes on with
     * it. */
    bool unsure = c->flags & URGENT && n >= 0 && (left || c->snd_nxt != c->head);
    bool drained = left < want && !unsure, broken = drained && c->flags & HOST_ERROR, some = left;
    end = end && !unsure;
    if (silly && !drained)
        return true; /* conn_timer() sends it after a while if the window stays as it is */
    uint32_t most_data = c->mss > 65475 ? c->mss : 65475 / c->mss * c->mss; /* in a packet of 64 KiB */
    while (left) {
        uint32_t len = left < most_data ? left : most_data;
        bool last = len == left;
        bool sent = last && end && !broken
                        ? send_fin(c, c->snd_nxt, data, len)
                        : send_segment(c, c->snd_nxt, last && drained ? ACK | PSH : ACK, data, len);
        if (!sent)
            return false;
        uint32_t next = c->snd_nxt + len;
        if (seq_diff(next, c->snd_max) > 0) {
            uint32_t fresh = next - c->snd_max < len ? next - c->snd_max : len;
            c->bytes_out += fresh;
            c->t->counters[TCP_BYTES_OUT] += fresh;
        }
        sent_up_to(c, next + (last && end && !broken));
        data += len;
        left -= len;
    }
    c->flags &= ~(uint32_t)SEND_SMALL;
    if (broken) {
        conn_abort(c);
    } else if (end && n <= 0) {
        if (!send_fin(c, c->snd_nxt, NULL, 0))
            return false;
        sent_up_to(c, c->snd_nxt + 1);
    }
    if (drained)
        c->flags &= ~(uint32_t)(READABLE | URGENT);
    else if (some)
        conn_work(c);
    return true;
}

/* --- time */

static void rearm(struct tcp_conn *c)
{
    uint64_t due = c->rto_at < c->ack_at ? c->rto_at : c->ack_at;
    if (conn_established(c) && !(c->flags & TIME_WAITING)) {
        /* Nothing runs, and no ACK is to come that would go on with it: the window is closed, or too small. */
        bool stuck = c->snd_una != c->snd_max || (c->flags & READABLE && !c->work_pprev);
        if (stuck && c->rto_at == LOOP_NEVER)
            due = c->rto_at = c->t->now + rto(c);
        uint64_t keepalive = c->heard_at + TCP_KEEPALIVE;
        if (c->rto_at == LOOP_NEVER)
            keepalive += c->unanswered * TCP_KEEPALIVE_PROBE;
        due = keepalive < due ? keepalive : due;
    }
    if (due < c->timer_at) {
        c->timer_at = due;
        loop_timer_set(&c->timer, due);
    }
}

/* RFC 6298, 5.4 to 5.6; RFC 9293, 3.8.3 and 3.8.6.1. */
static void timed_out(struct tcp_conn *c)
{
    bool syn = !(c->flags & SYN_ACKED);
    c->rto_at = LOOP_NEVER;
    if (c->t->busy) { /* a card without room, or a guest that is paused, is no reason to give up */
        c->rto_at = tcp_now(c->t) + rto(c);
        return;
    }
    bool probe = !syn && c->snd_max == c->snd_una; /* answered, it may go on for ever */
    c->retries += c->retries < UINT8_MAX;
    if ((probe ? ++c->unanswered : c->retries) > (syn ? TCP_SYN_RETRIES : TCP_RETRIES)) {
        conn_abort(c);
        return;
    }
    c->rtt_at = 0;
    if (syn) {
        c->flags |= SEND_SYN;
        return;
    }
    c->flags |= SEND_SMALL;
    if (!probe) {
        c->snd_nxt = c->snd_una;
        c->recover = c->snd_max;
        c->cwnd = c->mss;
        c->flags &= ~(uint32_t)(RECOVERY | SEND_AGAIN);
        c->flags |= READABLE;
    }
    if (probe || !c->snd_wnd)
        c->flags |= SEND_PROBE;
}

void conn_timer(void *arg)
{
    struct tcp_conn *c = arg;
    uint64_t now = tcp_now(c->t);
    c->timer_at = LOOP_NEVER;
    if (c->flags & TIME_WAITING && now >= c->rto_at) {
        conn_free(c, false);
        return;
    }
    if (c->flags & SEND_RST)
        return;
    bool keepalive = c->rto_at == LOOP_NEVER && conn_established(c) &&
                     now - c->heard_at >= TCP_KEEPALIVE + c->unanswered * TCP_KEEPALIVE_PROBE;
    if (c->flags & TIME_WAITING || (now < c->ack_at && now < c->rto_at && !keepalive)) {
        c->t->now = now;
        rearm(c); /* what it was armed for has come to pass in another way */
        return;
    }
    if (now >= c->ack_at)
        c->flags |= SEND_ACK;
    if (now >= c->rto_at) {
        timed_out(c);
    } else if (keepalive) {
        /* RFC 1122, 4.2.3.6 */
        if (c->unanswered++ == TCP_PROBES)
            conn_abort(c);
        else
            c->flags |= SEND_PROBE;
    }
    conn_work(c);
}

/* --- a turn */

static bool turn_established(struct tcp_conn *c)
{
    if (!give_back(c, c->flags & (FIN_ACKED | URGENT) ? 0 : c->lazy)) {
        conn_abort(c);
        return true;
    }
    if (c->room < c->room_top - c->room_top / 4)
        conn_look_for_room(c);
    if (c->flags & SEND_PROBE) {
        if (!send_segment(c, c->snd_una - 1, ACK, NULL, 0))
            return false;
        c->flags &= ~(uint32_t)SEND_PROBE;
    }
    return (!(c->flags & SEND_AGAIN) || turn_again(c)) && turn_data(c);
}

bool conn_turn(struct tcp_conn *c)
{
    uint64_t now = c->t->now;
    if (c->flags & SEND_RST)
        return turn_reset(c);
    if (c->flags & SEND_SYN && !turn_syn(c))
        return false;
    if (conn_established(c) && !(c->flags & TIME_WAITING) && !turn_established(c))
        return false;
    if (c->flags & SEND_RST)
        return true; /* found broken just now: another turn tells the guest */

    uint32_t unacked = c->rcv_nxt - c->rcv_acked, soon = 2u * c->mss;
    if (c->flags & SEND_ACK || unacked >= (soon < TCP_ACK_BYTES ? soon : TCP_ACK_BYTES) ||
        (conn_established(c) && window_wants_telling(c))) {
        if (!turn_ack(c))
            return false;
    } else if (unacked && c->ack_at == LOOP_NEVER) {
        c->ack_at = now + TCP_ACK_DELAY;
    }
    if ((c->flags & (FIN_IN | FIN_ACKED | TIME_WAITING)) == (FIN_IN | FIN_ACKED)) {
        if (!(c->flags & CLOSED_FIRST)) {
            conn_free(c, false);
            return true;
        }
        conn_time_wait(c);
        c->rto_at = now + TCP_TIME_WAIT;
    }
    rearm(c);
    return true;
}
