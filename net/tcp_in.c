// SPDX-License-Identifier: MIT
/* What the guest sends: see include/net/tcp.h and the theory in tcp.c.
 *
 * The order of checks is RFC 9293's, 3.10.7: sequence number, RST, SYN, ACK, data, FIN, with RFC 5961's answers to
 * what may be forged. The header is copied once and decided on; the payload is looked at by the kernel alone. Urgent
 * data is ordinary data (RFC 6093), so its pointer is never used. Nothing is sent here, but for RST to what belongs to no
 * connection: what is due is noted, and the connection's turn comes.
 *
 * Options are read in SYNs alone, where the two that matter live. */
#include "net/tcp_conn.h"

#include <errno.h>
#include <string.h>

struct segment {
    uint32_t seq, ack, wnd; /* wnd as it stands in the header */
    uint8_t flags;
    uint32_t data, len; /* the payload, within the message */
    const uint8_t *options;
    uint32_t options_len;
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void count(struct tcp *t, enum tcp_counter which)
{
    t->counters[which]++;
}

static void acknowledge(struct tcp_conn *c)
{
    c->flags |= SEND_ACK;
    conn_work(c);
}

/* An ACK in answer to what is not valid; not too many of them (RFC 5961, 7), for the other end may find these as invalid and
 * answer in turn. */
static void challenge(struct tcp_conn *c, enum tcp_counter why)
{
    count(c->t, why);
    if (c->heard_at - c->challenged_at < TCP_CHALLENGE_EVERY)
        return;
    c->challenged_at = c->heard_at;
    acknowledge(c);
}

/* --- SYN */

enum {
    OPT_END = 0,
    OPT_NOP = 1,
    OPT_MSS = 2,
    OPT_WSCALE = 3,
    WSCALE_MAX = 14, /* RFC 7323, 2.3 */
};

/* RFC 9293, 3.1 and 3.2. An option that runs past the end, or whose length cannot be, ends the list. */
static void read_options(struct tcp_conn *c, const struct segment *s)
{
    const uint8_t *o = s->options;
    uint32_t left = s->options_len;
    bool v6 = !ip_is4(&c->ends.guest);
    uint16_t ours = c->t->cfg.ops->mss(c->t->cfg.ctx, v6), mss = v6 ? 1220 : 536;
    c->snd_scale = c->rcv_scale = 0;
    while (left && *o != OPT_END) {
        uint8_t len = *o == OPT_NOP ? 1 : left > 1 ? o[1] : 0;
        if (!len || len > left || (*o != OPT_NOP && len < 2))
            break;
        if (*o == OPT_MSS && len == 4)
            mss = get16(o + 2);
        if (*o == OPT_WSCALE && len == 3) {
            c->snd_scale = o[2] > WSCALE_MAX ? WSCALE_MAX : o[2];
            c->rcv_scale = TCP_WSCALE;
        }
        o += len;
        left -= len;
    }
    mss = mss < ours ? mss : ours;
    c->mss = mss < TCP_MSS_MIN ? TCP_MSS_MIN : mss;
}

/* The guest's SYN: its numbers, its window (never scaled), its options. */
static void take_syn(struct tcp_conn *c, const struct segment *s)
{
    read_options(c, s);
    c->flags |= SYN_IN;
    c->rcv_nxt = c->rcv_edge = c->rcv_acked = s->seq + 1;
    c->snd_wnd = c->max_wnd = s->wnd;
    c->snd_wl1 = s->seq;
    c->snd_wl2 = c->snd_una;
}

static void open_connection(struct tcp *t, const struct tcp_ends *ends, const struct segment *s,
                            const struct ip_packet *p)
{
    struct ip_sock to;
    enum ip_error e = t->cfg.ops->policy(t->cfg.ctx, &ends->peer, ends->peer_port, &to);
    int fd = -1;
    enum tcp_counter why = TCP_REFUSED_POLICY;
    if (e == IP_OK) {
        e = IP_NO_PORT;
        why = TCP_REFUSED_FULL;
        struct tcp_conn *c = t->connecting < (t->limit + 1) / 2 ? conn_new(t, ends) : NULL;
        if (c) {
            why = TCP_REFUSED_HOST;
            take_syn(c, s);
            fd = t->host->connect(t->cfg.host_ctx, &to.sa, to.len);
            c->fd = fd < 0 ? -1 : fd;
            if (fd >= 0 && conn_watch(c)) {
                c->flags |= CONNECTING;
                t->connecting++;
                count(t, TCP_CONNECTS);
                return;
            }
            conn_free(c, true);
            if (fd == -ENETUNREACH || fd == -EHOSTUNREACH || fd == -EACCES || fd == -EPERM)
                e = ip_error_of(-fd);
        }
    }
    count(t, why);
    if (e != IP_NO_PORT)
        t->cfg.ops->refuse(t->cfg.ctx, p, e);
    tcp_send_reset(t, ends, 0, s->seq + s->len + 1, RST | ACK);
}

void conn_connected(struct tcp_conn *c)
{
    struct tcp *t = c->t;
    t->connecting--;
    c->flags &= ~(uint32_t)CONNECTING;
    c->flags |= SYN_OUT | SEND_SYN;
    conn_prepare(c);
    conn_look_for_room(c);
    conn_work(c);
}

/* RFC 9293, 3.10.7.3: our SYN was sent on behalf of a connection that the host accepted. */
static void syn_sent(struct tcp_conn *c, const struct segment *s)
{
    struct tcp *t = c->t;
    bool acked = s->flags & ACK && s->ack == c->snd_max && c->snd_max != c->snd_una;
    if (s->flags & ACK && !acked) {
        count(t, TCP_BAD_ACK);
        if (!(s->flags & RST))
            tcp_send_reset(t, &c->ends, s->ack, 0, RST);
        return;
    }
    if (s->flags & RST) {
        if (acked) {
            count(t, TCP_RESETS_IN);
            conn_free(c, true);
        }
        return;
    }
    if (!(s->flags & SYN) || s->flags & FIN)
        return;
    take_syn(c, s);
    c->retries = 0;
    if (acked) {
        c->snd_una = c->snd_nxt = c->snd_wl2 = s->ack;
        conn_answered(c);
        c->flags |= SYN_ACKED | READABLE;
        c->flags &= ~(uint32_t)SEND_SYN;
        c->rto_at = LOOP_NEVER;
        c->flags |= SEND_ACK;
    } else {
        c->flags |= SEND_SYN; /* both at once: ours again, now with an ACK */
    }
    conn_work(c);
}

/* --- ACK */

static void sample_rtt(struct tcp_conn *c, uint64_t now)
{
    uint64_t us = (now - c->rtt_at) / 1000 + 1;
    uint32_t r = us > 60000000 ? 60000000 : (uint32_t)us;
    c->rtt_at = 0;
    if (!c->srtt) { /* RFC 6298, 2.2 and 2.3 */
        c->srtt = r;
        c->rttvar = r / 2;
    } else {
        uint32_t d = r > c->srtt ? r - c->srtt : c->srtt - r;
        c->rttvar = c->rttvar - c->rttvar / 4 + d / 4;
        c->srtt = c->srtt - c->srtt / 8 + r / 8;
    }
    uint64_t rto = ((uint64_t)c->srtt + 4 * (uint64_t)c->rttvar) * 1000;
    c->rto = rto < TCP_RTO_MIN ? TCP_RTO_MIN : rto > TCP_RTO_MAX ? TCP_RTO_MAX : rto;
}

static void advance(struct tcp_conn *c, uint32_t ack, uint64_t now)
{
    uint32_t n = ack - c->snd_una;
    c->snd_una = ack;
    if (seq_diff(c->snd_nxt, ack) < 0)
        c->snd_nxt = ack; /* more had arrived than was thought when the timer fired */
    c->dupacks = 0;
    c->retries = 0;
    c->cwnd = n > TCP_FLIGHT - c->cwnd ? TCP_FLIGHT : c->cwnd + n;
    if (c->rtt_at && seq_diff(ack, c->rtt_seq) >= 0)
        sample_rtt(c, now);
    if (c->flags & FIN_OUT && ack == c->fin_seq + 1)
        c->flags |= FIN_ACKED;
    if (c->flags & RECOVERY) {
        if (seq_diff(ack, c->recover) < 0)
            c->flags |= SEND_AGAIN; /* RFC 6582, 3.2: a partial one, so the next is missing too */
        else
            c->flags &= ~(uint32_t)RECOVERY;
    }
    c->rto_at = c->snd_una == c->snd_max ? LOOP_NEVER : now + c->rto;
}

/* RFC 5681, 3.2 and RFC 6582, 3.2. */
static void duplicate(struct tcp_conn *c)
{
    if (c->dupacks < TCP_DUPACKS && ++c->dupacks == TCP_DUPACKS && !(c->flags & RECOVERY) &&
        seq_diff(c->snd_una, c->recover) >= 0) {
        c->recover = c->snd_max;
        c->flags |= RECOVERY | SEND_AGAIN;
        c->rtt_at = 0;
    }
}

/* false: the segment ends here. RFC 9293, 3.10.7.4, fifth; RFC 5961, 5.2. */
static bool take_ack(struct tcp_conn *c, const struct segment *s, uint64_t now)
{
    int32_t news = seq_diff(s->ack, c->snd_una);
    if (seq_diff(s->ack, c->snd_max) > 0 || news < -(int64_t)c->max_wnd) {
        challenge(c, TCP_BAD_ACK);
        return false;
    }
    uint32_t wnd = s->wnd << c->snd_scale;
    c->unanswered = 0;
    if (news > 0)
        advance(c, s->ack, now);
    else if (!news && !s->len && !(s->flags & FIN) && c->snd_una != c->snd_max && wnd == c->snd_wnd)
        duplicate(c);
    int32_t age = seq_diff(c->snd_wl1, s->seq);
    /* and, beyond the RFC, what acknowledges something new: else its edge would move by a window that is older */
    if (news > 0 || (!news && (age < 0 || (!age && seq_diff(c->snd_wl2, s->ack) <= 0)))) {
        c->snd_wnd = wnd;
        c->snd_wl1 = s->seq;
        c->snd_wl2 = s->ack;
        if (wnd > c->max_wnd)
            c->max_wnd = wnd;
    }
    return true;
}

/* --- data */

/* How much of it the socket took; less than 0: it is broken. */
static ssize_t write_out(struct tcp_conn *c, const struct ip_packet *p, uint32_t from, uint32_t len)
{
    struct tcp *t = c->t;
    struct iovec iov[PORT_IOV_MAX];
    int n = ip_slice(p->iov, p->n, from, len, iov, PORT_IOV_MAX);
    ssize_t sent = n < 0 ? 0 : t->host->send(t->cfg.host_ctx, c->fd, iov, n);
    if (sent == -EAGAIN || sent == -EINTR || sent == -ENOBUFS || sent == -ENOMEM)
        sent = 0;
    if (sent < 0)
        return sent;
    c->rcv_nxt += (uint32_t)sent;
    c->bytes_in += (uint64_t)sent;
    t->counters[TCP_BYTES_IN] += (uint64_t)sent;
    c->room = (uint32_t)sent > c->room ? 0 : c->room - (uint32_t)sent;
    if ((uint32_t)sent < len) {
        /* EPOLLOUT follows by itself: the socket has refused something */
        count(t, TCP_NOT_TAKEN);
        c->room = 0;
        c->flags |= HOST_FULL | NOT_TAKEN;
    }
    return sent;
}

/* Text and FIN of a segment that has something in the window. false: the connection is broken off. */
static bool take_text(struct tcp_conn *c, const struct segment *s, const struct ip_packet *p)
{
    struct tcp *t = c->t;
    int32_t gap = seq_diff(s->seq, c->rcv_nxt);
    if (gap > 0) {
        count(t, TCP_OUT_OF_ORDER);
        acknowledge(c);
        return true;
    }
    /* acceptable() has seen to it that something of it is new */
    uint32_t known = (uint32_t)-gap, window = c->rcv_edge - c->rcv_nxt;
    uint32_t len = s->len - known;
    bool fin = s->flags & FIN;
    if (known)
        acknowledge(c); /* RFC 5681, 4.2: it may have been repeated since our ACK was lost */
    if (len > window) {
        count(t, TCP_OUT_OF_WINDOW);
        acknowledge(c);
        len = window;
        fin = false;
    }
    if (len) {
        ssize_t taken = write_out(c, p, s->data + known, len);
        if (taken < 0) {
            conn_abort(c);
            return false;
        }
        if ((uint32_t)taken < len) {
            acknowledge(c);
            fin = false;
        }
    }
    if (fin) {
        c->rcv_nxt++;
        if (seq_diff(c->rcv_nxt, c->rcv_edge) > 0)
            c->rcv_edge = c->rcv_nxt; /* it needs no room */
        c->flags |= FIN_IN;
        t->host->shutdown(t->cfg.host_ctx, c->fd);
        acknowledge(c);
    }
    return true;
}

/* --- a segment of a connection */

/* RFC 9293, 3.10.7.4, first. Wider in one place: what begins at the window's far edge passes, for there stand the ACKs of
 * a guest that has filled it; take_text() cuts what lies beyond. */
static bool acceptable(const struct tcp_conn *c, const struct segment *s)
{
    uint32_t len = s->len + (s->flags & FIN ? 1 : 0);
    return s->seq - c->rcv_nxt <= c->rcv_edge - c->rcv_nxt ||
           (seq_diff(s->seq, c->rcv_nxt) < 0 && seq_diff(s->seq + len, c->rcv_nxt) > 0);
}

static void time_waiting(struct tcp_conn *c, const struct segment *s)
{
    if (s->flags & RST) {
        if (s->seq == c->rcv_nxt)
            conn_free(c, false);
        return;
    }
    acknowledge(c); /* a repeated FIN; of all else it does no harm */
}

static void synchronized(struct tcp_conn *c, const struct segment *s, const struct ip_packet *p)
{
    struct tcp *t = c->t;
    uint64_t now = tcp_now(t);
    c->heard_at = now;
    if (!acceptable(c, s)) {
        bool syn_again = s->flags & SYN && !(c->flags & (SYN_ACKED | FORWARDED)) && s->seq == c->rcv_nxt - 1;
        if (s->flags & RST) {
            count(t, TCP_OUT_OF_WINDOW);
        } else if (syn_again) {
            c->flags |= SEND_SYN; /* our SYN-ACK was lost */
            conn_work(c);
        } else if (s->len || s->flags & FIN) {
            count(t, TCP_OUT_OF_WINDOW);
            acknowledge(c);
        } else {
            challenge(c, TCP_OUT_OF_WINDOW);
        }
        return;
    }
    if (s->flags & RST && s->seq == c->rcv_nxt) {
        count(t, TCP_RESETS_IN);
        conn_free(c, true);
        return;
    }
    if (s->flags & (RST | SYN)) {
        challenge(c, TCP_CHALLENGED);
        return;
    }
    if (!(s->flags & ACK))
        return;
    if (!(c->flags & SYN_ACKED)) {
        if (s->ack != c->snd_max || c->snd_max == c->snd_una) {
            count(t, TCP_BAD_ACK);
            tcp_send_reset(t, &c->ends, s->ack, 0, RST);
            return;
        }
        c->snd_una = c->snd_nxt = s->ack;
        conn_answered(c);
        c->flags |= SYN_ACKED | READABLE;
        c->flags &= ~(uint32_t)SEND_SYN;
        c->retries = 0;
        c->rto_at = LOOP_NEVER;
        c->snd_wnd = c->max_wnd = s->wnd << c->snd_scale;
        c->snd_wl1 = s->seq;
        c->snd_wl2 = s->ack;
    } else if (!take_ack(c, s, now)) {
        return;
    }
    if (s->len || s->flags & FIN) {
        if (c->flags & FIN_IN)
            acknowledge(c); /* nothing can follow a FIN */
        else if (!take_text(c, s, p))
            return;
    }
    conn_work(c);
}

void tcp_input(struct tcp *t, const struct ip_packet *p)
{
    uint8_t h[TCP_HEADER_MAX];
    struct segment s;
    count(t, TCP_SEGMENTS_IN);
    size_t n = ip_copy(p, 0, h, sizeof h);
    uint32_t header = n < TCP_HEADER ? 0 : (uint32_t)(h[12] >> 4) * 4;
    if (header < TCP_HEADER || header > n) {
        count(t, TCP_BAD_HEADER);
        return;
    }
    if (!p->csum_ok && !ip_checksum_ok(p)) {
        count(t, TCP_BAD_CHECKSUM);
        return;
    }
    struct tcp_ends ends = {p->src, p->dst, get16(h), get16(h + 2)};
    if (!ends.guest_port || !ends.peer_port) {
        count(t, TCP_BAD_ADDRESS);
        return;
    }
    s.seq = get32(h + 4);
    s.ack = get32(h + 8);
    s.flags = h[13];
    s.wnd = get16(h + 14);
    s.data = header;
    s.len = (uint32_t)p->len - header;
    s.options = h + TCP_HEADER;
    s.options_len = header - TCP_HEADER;

    struct tcp_conn *c = conn_find(t, &ends);
    if (c && c->flags & TIME_WAITING && (s.flags & (SYN | ACK | RST | FIN)) == SYN &&
        seq_diff(s.seq, c->rcv_nxt) > 0) {
        conn_free(c, false); /* RFC 9293, 3.10.7.4: the same ends again */
        c = NULL;
    }
    if (!c) {
        if (s.flags & RST)
            return;
        if ((s.flags & (SYN | ACK | FIN)) == SYN) {
            open_connection(t, &ends, &s, p);
            return;
        }
        count(t, TCP_NO_CONNECTION);
        if (s.flags & ACK)
            tcp_send_reset(t, &ends, s.ack, 0, RST);
        else
            tcp_send_reset(t, &ends, 0, s.seq + s.len + (s.flags & SYN ? 1 : 0) + (s.flags & FIN ? 1 : 0),
                           RST | ACK);
    } else if (c->flags & SEND_RST) {
        return; /* it will hear */
    } else if (c->flags & TIME_WAITING) {
        time_waiting(c, &s);
    } else if (c->flags & CONNECTING) {
        if (s.flags & RST && s.seq == c->rcv_nxt)
            conn_free(c, true); /* the guest has given up */
        else if ((s.flags & (SYN | ACK | FIN)) == SYN)
            take_syn(c, &s); /* again, perhaps by another that uses the same port */
    } else if (!(c->flags & SYN_IN)) {
        syn_sent(c, &s);
    } else {
        synchronized(c, &s, p);
    }
}
