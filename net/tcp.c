// SPDX-License-Identifier: MIT
/* TCP of the user-mode network: see include/net/tcp.h.
 *
 * Two connections stand back to back: the guest's, which ends in this code, and the host's, which ends in a socket.
 * The idea is that neither needs a buffer here, because the kernel has both already:
 *
 *   host -> guest   Bytes are peeked from the socket (MSG_PEEK) behind those that are on their way, sent, and taken out
 *                   of the socket (MSG_TRUNC) once the guest has acknowledged them. So the socket's receive queue is
 *                   the retransmission queue, a segment that is lost is peeked again, and a guest that does not read
 *                   fills that queue, which closes the window of the real sender. Kernels from 6.9 on have SO_PEEK_OFF
 *                   for TCP; on others a peek copies what is on its way once more. There it is made only while that
 *                   is at most half of the window: so each byte is copied twice at worst.
 *   guest -> host   A segment is written to the socket out of the frame that brought it. What the socket takes is
 *                   acknowledged, what it does not take was never received. The window offered is what the send
 *                   buffer has free, less a quarter for the kernel's own overhead; when it gets tight, EPOLLOUT
 *                   tells of room.
 *
 * What is acknowledged to the guest is thus in the host's kernel, not at the other end; as with any router in between
 * that speaks for somebody, an end that breaks later is told by RST.
 *
 * Turns. Events of sockets, segments and timers only note what has happened, and put the connection on a list; a task
 * of the loop gives each a turn (tcp_out.c) that takes out, peeks, sends and acknowledges at most once. So a batch of
 * segments makes one ACK, nothing is sent while the card is on the stack, and PORT_BUSY simply ends the run: the
 * list waits for tcp_ready(). An idle connection has no timer but keepalive's, every two hours.
 *
 * What this wire is, and so what is left out. Between the guest's card and this code nothing is lost but by the guest
 * itself, and nothing is overtaken.
 *   - A segment behind a gap is dropped and answered with a duplicate ACK at once (RFC 5681, 4.2). To keep it would need
 *     the buffers that this design avoids, for a case that a virtual wire does not have. Then SACK has nothing to say.
 *     (And Linux counts plain duplicate ACKs only where SACK was not agreed on, see conn_flags.NOT_TAKEN.)
 *   - No timestamps: old duplicates cannot turn up, so PAWS protects nobody, and a round trip is timed as well by a clock
 *     here (RFC 6298). 12 bytes a segment less.
 *   - No congestion window but after the retransmission timer has fired, when the guest has shown that it loses
 *     frames (cwnd): the window is the guest's own, its card's backpressure does the rest.
 *   - TIME_WAIT lasts a second, since it only has to answer a repeated FIN; the oldest goes first when an entry is
 *     wanted.
 *
 * Entries come from one array, so that memory is bounded from the start; beyond it SYNs are answered with RST. At most half of
 * them wait for a host's connect(), so that a flood of SYNs to nowhere leaves room for connections that work; and at most
 * half for a guest that does not answer what a forward brings, so that those who come by it leave the guest its own. */
#include "net/tcp_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- the table */

/* The guest chooses what goes in, so the seed keeps it from choosing the chain. */
static uint32_t hash(const struct tcp *t, const struct tcp_ends *ends)
{
    uint64_t w[4], h = t->seed[0] ^ ((uint64_t)ends->guest_port << 16 | ends->peer_port);
    memcpy(w, ends->guest.b, 16);
    memcpy(w + 2, ends->peer.b, 16);
    for (int i = 0; i < 4; i++) {
        h = (h ^ w[i]) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }
    h = (h ^ t->seed[1]) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(h >> 32);
}

static bool same_ends(const struct tcp_ends *a, const struct tcp_ends *b)
{
    return a->guest_port == b->guest_port && a->peer_port == b->peer_port && ip_same(&a->peer, &b->peer) &&
           ip_same(&a->guest, &b->guest);
}

struct tcp_conn *conn_find(struct tcp *t, const struct tcp_ends *ends)
{
    if (t->last && same_ends(&t->last->ends, ends))
        return t->last;
    struct tcp_conn *c = t->table[hash(t, ends) & t->mask];
    while (c && !same_ends(&c->ends, ends))
        c = c->hash_next;
    if (c)
        t->last = c;
    return c;
}

struct tcp_conn *conn_new(struct tcp *t, const struct tcp_ends *ends)
{
    if (!t->free && t->fresh == t->limit && t->waiting)
        conn_free(t->waiting, false);
    struct tcp_conn *c = t->free;
    if (c)
        t->free = c->hash_next;
    else if (t->fresh < t->limit)
        c = &t->conns[t->fresh++];
    else
        return NULL;

    struct tcp_conn **slot = &t->table[hash(t, ends) & t->mask];
    *c = (struct tcp_conn){.t = t, .ends = *ends, .fd = -1, .hash_next = *slot};
    *slot = c;
    t->used++;
    c->mss = TCP_MSS_MIN;
    c->cwnd = TCP_FLIGHT;
    c->rto = TCP_RTO_FIRST;
    c->rto_at = c->ack_at = c->timer_at = LOOP_NEVER;
    c->heard_at = tcp_now(t);
    loop_timer_init(t->cfg.loop, &c->timer, conn_timer, c);
    /* RFC 6528: as hard to guess as the seed, and later ones are higher */
    c->head = hash(t, ends) * 0x85ebca6b + (uint32_t)t->seed[0] + (uint32_t)(c->heard_at / 4096);
    c->snd_una = c->snd_nxt = c->snd_max = c->recover = c->head++; /* the SYN has a number of its own */
    return c;
}

static void close_socket(struct tcp_conn *c, bool reset)
{
    struct tcp *t = c->t;
    if (c->flags & CONNECTING)
        t->connecting--;
    c->flags &= ~(uint32_t)CONNECTING;
    if (c->fd < 0)
        return;
    t->host->unwatch(t->cfg.host_ctx, &c->watch);
    t->host->close(t->cfg.host_ctx, c->fd, reset);
    c->fd = -1;
}

void conn_answered(struct tcp_conn *c)
{
    if ((c->flags & (FORWARDED | SYN_ACKED)) == FORWARDED)
        c->t->asking--;
}

static void work_remove(struct tcp_conn *c)
{
    if (!c->work_pprev)
        return;
    *c->work_pprev = c->work_next;
    if (c->work_next)
        c->work_next->work_pprev = c->work_pprev;
    else
        c->t->work_tail = c->work_pprev;
    c->work_pprev = NULL;
}

void conn_free(struct tcp_conn *c, bool reset)
{
    struct tcp *t = c->t;
    close_socket(c, reset);
    conn_answered(c);
    work_remove(c);
    if (c->wait_pprev) {
        *c->wait_pprev = c->wait_next;
        if (c->wait_next)
            c->wait_next->wait_pprev = c->wait_pprev;
        else
            t->waiting_tail = c->wait_pprev;
    }
    loop_timer_cancel(&c->timer);
    struct tcp_conn **p = &t->table[hash(t, &c->ends) & t->mask];
    while (*p != c)
        p = &(*p)->hash_next;
    *p = c->hash_next;
    if (t->last == c)
        t->last = NULL;
    c->t = NULL;
    c->hash_next = t->free;
    t->free = c;
    t->used--;
}

/* --- turns */

void conn_work(struct tcp_conn *c)
{
    struct tcp *t = c->t;
    if (c->work_pprev)
        return;
    c->work_next = NULL;
    c->work_pprev = t->work_tail;
    *t->work_tail = c;
    t->work_tail = &c->work_next;
    if (!t->busy)
        loop_task_post(&t->task);
}

static void run(void *arg)
{
    struct tcp *t = arg;
    for (int budget = TCP_BUDGET; t->work && !t->busy; budget--) {
        if (!budget) {
            loop_task_post(&t->task); /* others want to run as well */
            return;
        }
        struct tcp_conn *c = t->work;
        work_remove(c);
        t->now = tcp_now(t);
        if (!conn_turn(c)) {
            t->busy = true; /* the first in the list is the next that is tried */
            t->counters[TCP_BUSY]++;
            work_remove(c);
            c->work_next = t->work;
            c->work_pprev = &t->work;
            if (t->work)
                t->work->work_pprev = &c->work_next;
            else
                t->work_tail = &c->work_next;
            t->work = c;
        }
    }
}

void tcp_ready(struct tcp *t)
{
    t->busy = false;
    if (t->work)
        loop_task_post(&t->task);
}

/* --- sockets */

static void host_event(void *arg, uint32_t events)
{
    struct tcp_conn *c = arg;
    struct tcp *t = c->t;
    if (c->flags & CONNECTING) {
        int error = events & (EPOLLOUT | EPOLLERR | EPOLLHUP) ? t->host->error(t->cfg.host_ctx, c->fd) : 0;
        if (error)
            conn_refuse(c, error == -ETIMEDOUT ? IP_OK : ip_error_of(-error));
        else if (events & EPOLLOUT)
            conn_connected(c);
        if (error || !(events & EPOLLOUT))
            return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->flags |= READABLE;
    if (events & EPOLLRDHUP)
        c->flags |= HOST_EOF;
    if (events & EPOLLERR)
        c->flags |= HOST_ERROR;
    if (events & EPOLLPRI)
        c->flags |= URGENT | READABLE;
    bool room = events & EPOLLOUT && c->flags & HOST_FULL;
    if (room) {
        c->flags &= ~(uint32_t)HOST_FULL;
        conn_look_for_room(c);
        if (c->flags & NOT_TAKEN)
            c->flags |= SEND_ACK;
    }
    if (room || events & ~(uint32_t)EPOLLOUT)
        conn_work(c);
}

bool conn_watch(struct tcp_conn *c)
{
    return c->t->host->watch(c->t->cfg.host_ctx, c->t->cfg.loop, &c->watch, c->fd, host_event, c);
}

/* What is left in the queue for laziness must never be what closes the far end's window: then no byte would come to end
 * it (hosts with a small tcp_rmem). */
void conn_prepare(struct tcp_conn *c)
{
    uint32_t buffer;
    bool peek_off = c->t->host->prepare(c->t->cfg.host_ctx, c->fd, &buffer);
    uint32_t most = peek_off ? TCP_LAZY : TCP_LAZY_COPIED;
    c->lazy = (uint16_t)(buffer / 8 < most ? buffer / 8 : most);
    c->flags |= peek_off ? PEEK_OFF : 0;
}

void conn_abort(struct tcp_conn *c)
{
    if (c->flags & TIME_WAITING)
        return;
    close_socket(c, true);
    c->flags |= SEND_RST;
    conn_work(c);
}

void conn_refuse(struct tcp_conn *c, enum ip_error e)
{
    struct tcp *t = c->t;
    if (e == IP_OK) { /* timed out: silence, of which the guest's own timer makes the same */
        conn_free(c, true);
        return;
    }
    if (e != IP_NO_PORT) {
        uint32_t seq = c->rcv_nxt - 1;
        uint8_t quoted[8] = {(uint8_t)(c->ends.guest_port >> 8),
                             (uint8_t)c->ends.guest_port,
                             (uint8_t)(c->ends.peer_port >> 8),
                             (uint8_t)c->ends.peer_port,
                             (uint8_t)(seq >> 24),
                             (uint8_t)(seq >> 16),
                             (uint8_t)(seq >> 8),
                             (uint8_t)seq};
        struct iovec iov = {quoted, sizeof quoted};
        struct ip_packet p = {.src = c->ends.guest,
                              .dst = c->ends.peer,
                              .v6 = !ip_is4(&c->ends.guest),
                              .proto = IP_TCP,
                              .ttl = 64,
                              .df = true,
                              .csum_ok = true,
                              .iov = &iov,
                              .n = 1,
                              .len = sizeof quoted};
        t->cfg.ops->refuse(t->cfg.ctx, &p, e);
    }
    conn_abort(c);
}

void conn_time_wait(struct tcp_conn *c)
{
    struct tcp *t = c->t;
    close_socket(c, false);
    c->flags |= TIME_WAITING;
    c->wait_next = NULL;
    c->wait_pprev = t->waiting_tail;
    *t->waiting_tail = c;
    t->waiting_tail = &c->wait_next;
}

bool tcp_forward(struct tcp *t, int fd, const struct tcp_ends *ends)
{
    struct tcp_ends e = *ends;
    uint64_t r = t->seed[1] ^ tcp_now(t);
    bool taken = !e.peer_port || conn_find(t, &e);
    for (int tries = 64; taken && tries; tries--) {
        r = r * UINT64_C(6364136223846793005) + 1442695040888963407;
        e.peer_port = (uint16_t)(32768 + (r >> 48) % 32768);
        taken = conn_find(t, &e) != NULL;
    }
    struct tcp_conn *c = taken || t->asking >= (t->limit + 1) / 2 ? NULL : conn_new(t, &e);
    if (!c) {
        t->counters[TCP_REFUSED_FULL]++;
        t->host->close(t->cfg.host_ctx, fd, true);
        return false;
    }
    c->fd = fd;
    c->flags |= FORWARDED | SYN_OUT | SEND_SYN;
    t->asking++;
    conn_prepare(c);
    if (!conn_watch(c)) {
        t->counters[TCP_REFUSED_HOST]++;
        conn_free(c, true);
        return false;
    }
    t->counters[TCP_FORWARDS]++;
    conn_look_for_room(c);
    conn_work(c);
    return true;
}

/* --- all of them */

void tcp_guest_reset(struct tcp *t)
{
    for (uint32_t i = 0; i < t->fresh; i++) {
        /* What the guest has ended the host's kernel still delivers; what it has not is no whole message, and the far end is
         * not to take it for one. */
        if (t->conns[i].t)
            conn_free(&t->conns[i], !(t->conns[i].flags & FIN_IN));
    }
}

static void raise_descriptors(uint32_t connections)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) || lim.rlim_cur == RLIM_INFINITY ||
        lim.rlim_cur >= connections + 1024u)
        return;
    lim.rlim_cur = lim.rlim_max < connections + 1024u ? lim.rlim_max : connections + 1024u;
    setrlimit(RLIMIT_NOFILE, &lim); /* without it: fewer connections, and EMFILE is told as refused */
}

struct tcp *tcp_new(const struct tcp_config *config, char *err, size_t n)
{
    struct tcp *t = calloc(1, sizeof *t);
    if (t) {
        t->cfg = *config;
        t->host = config->host ? config->host : &tcp_host_kernel;
        t->limit = config->connections ? config->connections : TCP_CONNECTIONS;
        uint32_t buckets = 1;
        while (buckets < t->limit)
            buckets *= 2;
        t->mask = buckets - 1;
        t->conns = calloc(t->limit, sizeof *t->conns); /* pages are real only once they are used */
        t->table = calloc(buckets, sizeof *t->table);
        t->buffer = malloc(TCP_BUFFER);
    }
    if (!t || !t->conns || !t->table || !t->buffer) {
        snprintf(err, n, "%s", strerror(ENOMEM));
        tcp_free(t);
        return NULL;
    }
    t->seed[0] = config->seed;
    t->seed[1] = ~config->seed;
    if (!config->seed && getrandom(t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed)
        t->seed[0] = tcp_now(t); /* so early after boot that nobody is there who could guess */
    t->work_tail = &t->work;
    t->waiting_tail = &t->waiting;
    loop_task_init(config->loop, &t->task, run, t);
    raise_descriptors(t->limit);
    return t;
}

void tcp_free(struct tcp *t)
{
    if (!t)
        return;
    if (t->conns && t->table && t->buffer) {
        tcp_guest_reset(t);
        loop_task_cancel(&t->task);
    }
    free(t->buffer);
    free(t->table);
    free(t->conns);
    free(t);
}
