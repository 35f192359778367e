// SPDX-License-Identifier: MIT
/* Loss, disorder, duplication and delay between the card and the stack, over seeded random runs: every byte arrives once,
 * in order, both ways, and so do both ends of the streams; afterwards nothing is left. The guest is a TCP of this file's own,
 * as simple as can be: go-back-N, an ACK a segment, pieces that come too early are remembered. 20,000 segments in `make
 * test`, a million in `make soak`. TEST_SEED=n runs one seed and prints what it is. */
#include "net_tcp.h"

enum {
    CONNS = 4,
    HEAP = 1 << 15,
    HOLES = 32,
};

/* Places in the streams, in 64 bits: SYN is 0, byte i is i + 1, FIN is total + 1. */
struct guest {
    int fd;
    uint16_t port, mss;
    uint32_t iss, irs, sock_window;
    bool established;
    uint64_t total, una, nxt, max, edge; /* to the stack */
    uint64_t timer, rto;
    unsigned dups;
    uint64_t far_total, rcv, read, buffer; /* from it: rcv is the next, read what the program has taken */
    bool got_fin;
    struct hole {
        uint64_t from, to;
    } early[HOLES];
    int n_early;
    uint64_t told; /* the window's edge that the stack knows */
};

struct frame {
    uint64_t at, order;
    bool to_guest;
    int who;
    struct seg s;
};

static struct world w_;
static struct guest g_[CONNS];
static struct frame heap[HEAP];
static unsigned heap_n;
static uint64_t rnd, order, segments;
static unsigned loss, dup, jitter, busy_rate; /* of 1000; us */

static bool chance(unsigned of1000)
{
    return test_rand(&rnd) % 1000 < of1000;
}
static uint64_t between(uint64_t a, uint64_t b)
{
    return a + test_rand(&rnd) % (b - a + 1);
}

/* --- the wire */

static bool before(const struct frame *a, const struct frame *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct frame f)
{
    CHECK(heap_n < HEAP);
    f.order = order++;
    unsigned i = heap_n++;
    for (; i && before(&f, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = f;
}

static struct frame pop(void)
{
    struct frame top = heap[0], f = heap[--heap_n];
    unsigned i = 0, c;
    while ((c = 2 * i + 1) < heap_n) {
        c += c + 1 < heap_n && before(&heap[c + 1], &heap[c]);
        if (!before(&heap[c], &f))
            break;
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = f;
    return top;
}

static void wire(bool to_guest, int who, const struct seg *s)
{
    segments++;
    for (int copies = chance(dup) ? 2 : 1; copies; copies--) {
        if (chance(loss))
            continue;
        uint64_t late = 20000 + between(0, jitter) * 1000;
        if (jitter && chance(20))
            late += between(0, 300) * 1000000;
        push((struct frame){
            .at = w_.now + (jitter ? late : 20000), .to_guest = to_guest, .who = who, .s = *s});
    }
}

/* What the stack sends: checked byte by byte at once, cut as a card's port would, and put on the wire. */
static void from_stack(struct world *w, const struct seg *all, const uint8_t *data)
{
    int who = all->guest_port - G_PORT;
    CHECK(who >= 0 && who < CONNS);
    struct guest *g = &g_[who];
    CHECK_EQ(all->peer_port, P_PORT);
    if (all->flags & F_SYN)
        g->irs = all->seq;
    uint64_t v = g->rcv + (uint64_t)(int64_t)(int32_t)(all->seq - (g->irs + (uint32_t)g->rcv));
    for (uint32_t i = 0; i < all->len; i++) {
        CHECK(v + i - 1 < g->far_total);
        if (data[i] != far_byte((uint32_t)g->fd, v + i - 1))
            CHECK(!"the byte that belongs there");
    }
    if (all->len)
        CHECK(v + all->len <= g->told + 1); /* within the window */
    uint32_t cut = all->gso_size ? all->gso_size : all->len;
    CHECK(cut <= g->mss);
    uint32_t done = 0;
    do {
        struct seg s = *all;
        s.seq += done;
        s.len = all->len - done < cut ? all->len - done : cut;
        done += s.len;
        if (done < all->len)
            s.flags &= (uint8_t) ~(F_FIN | F_PSH);
        wire(true, who, &s);
    } while (done < all->len);
    w->busy = chance(busy_rate);
}

/* --- the guest */

static uint64_t window(const struct guest *g)
{
    uint64_t used = g->rcv - g->read;
    return g->buffer - used;
}

static void guest_send(int who, uint8_t flags, uint64_t v, uint32_t len)
{
    struct guest *g = &g_[who];
    uint16_t wnd = (uint16_t)(window(g) >> 7);
    if (flags & F_SYN)
        wnd = (uint16_t)(window(g) < 65535 ? window(g) : 65535);
    else if (g->rcv + ((uint64_t)wnd << 7) > g->told)
        g->told = g->rcv + ((uint64_t)wnd << 7);
    struct seg s = {.guest_port = (uint16_t)(G_PORT + who),
                    .seq = g->iss + (uint32_t)v,
                    .ack = g->irs + (uint32_t)g->rcv,
                    .flags = flags,
                    .wnd = wnd,
                    .len = len,
                    .from = v - 1,
                    .stream = (uint32_t)g->fd};
    static uint8_t options[CONNS][8];
    if (flags & F_SYN) {
        uint8_t o[8] = {2, 4, (uint8_t)(g->mss >> 8), (uint8_t)g->mss, 1, 3, 3, 7};
        memcpy(options[who], o, 8);
        s.options = options[who];
        s.options_len = 8;
        s.wnd = (uint16_t)(window(g) < 65535 ? window(g) : 65535);
        g->told = 1 + s.wnd;
    }
    wire(false, who, &s);
}

static void guest_push(int who, bool probe)
{
    struct guest *g = &g_[who];
    uint64_t end = g->total + 2; /* behind the FIN */
    while (g->established && g->nxt < end) {
        uint64_t room = g->edge > g->nxt ? g->edge - g->nxt : 0;
        uint64_t left = g->total + 1 - g->nxt, most = chance(300) ? 20 * g->mss : g->mss;
        uint64_t len = left < most ? left : most;
        if (len > room)
            len = room;
        if (probe && !room)
            len = left ? 1 : 0;
        else if (!room)
            break;
        bool fin = g->nxt + len == g->total + 1;
        guest_send(who, fin ? F_ACK | F_FIN : F_ACK, g->nxt, (uint32_t)len);
        g->nxt += len + fin;
        g->max = g->nxt > g->max ? g->nxt : g->max;
        probe = false;
    }
    if (g->timer == LOOP_NEVER && g->una < end)
        g->timer = w_.now + g->rto;
}

static void guest_timer(int who)
{
    struct guest *g = &g_[who];
    g->timer = LOOP_NEVER;
    g->rto = g->rto < 8000000000 ? g->rto * 2 : g->rto;
    g->nxt = g->una;
    if (g->established) {
        guest_push(who, true);
    } else {
        guest_send(who, F_SYN, 0, 0);
        g->timer = w_.now + g->rto;
    }
}

static void early(struct guest *g, uint64_t from, uint64_t to)
{
    if (from > g->rcv) {
        if (g->n_early < HOLES)
            g->early[g->n_early++] = (struct hole){from, to};
        return;
    }
    g->rcv = to > g->rcv ? to : g->rcv;
    for (int i = 0; i < g->n_early; i++) {
        if (g->early[i].from > g->rcv)
            continue;
        g->rcv = g->early[i].to > g->rcv ? g->early[i].to : g->rcv;
        g->early[i] = g->early[--g->n_early];
        i = -1;
    }
}

static bool guest_done(const struct guest *g)
{
    return g->got_fin && g->una == g->total + 2;
}

static void guest_receive(int who, const struct seg *s)
{
    struct guest *g = &g_[who];
    if (s->flags & F_RST) {
        /* What was late or doubled finds no connection any more; nor does a FIN whose ACKs were all lost for longer than
         * TIME_WAIT. In both cases the socket has had all of it. */
        CHECK(guest_done(g) || (g->got_fin && w_.socks[g->fd].shut && !w_.socks[g->fd].open));
        g->una = g->total + 2;
        return;
    }
    if (s->flags & F_SYN) {
        if (!g->established) {
            CHECK_EQ(s->ack, g->iss + 1);
            g->established = true;
            g->rcv = 1;
            g->una = g->nxt = g->max = 1;
            g->edge = 1 + s->wnd;
            g->timer = LOOP_NEVER;
            g->rto = 300000000;
        }
        guest_send(who, F_ACK, g->max, 0);
        guest_push(who, false);
        return;
    }
    if (!g->established)
        return;
    uint64_t ack = g->una + (uint64_t)(int64_t)(int32_t)(s->ack - (g->iss + (uint32_t)g->una));
    CHECK(ack <= g->max || ack > g->max + (1u << 30)); /* never of what was not sent */
    if (ack > g->una && ack <= g->max) {
        g->una = ack;
        g->nxt = g->nxt < ack ? ack : g->nxt;
        g->dups = 0;
        g->rto = 300000000;
        g->timer = LOOP_NEVER;
    } else if (ack == g->una && !s->len && g->una < g->max && ++g->dups == 3) {
        g->nxt = g->una;
    }
    if (ack == g->una && ack + ((uint64_t)s->wnd << 7) > g->edge)
        g->edge = ack + ((uint64_t)s->wnd << 7);

    uint64_t v = g->rcv + (uint64_t)(int64_t)(int32_t)(s->seq - (g->irs + (uint32_t)g->rcv));
    if (s->len || s->flags & F_FIN) {
        early(g, v, v + s->len + (s->flags & F_FIN ? 1 : 0));
        if (g->rcv == g->far_total + 2)
            g->got_fin = true;
        guest_send(who, F_ACK, g->max, 0);
    } else if (s->seq != g->irs + (uint32_t)g->rcv && v < g->rcv) {
        guest_send(who, F_ACK, g->max, 0); /* a probe */
    }
    guest_push(who, false);
}

/* --- a run */

static void far_end(struct guest *g)
{
    struct sock *s = g->fd >= 0 ? &w_.socks[g->fd] : NULL;
    if (!s || !s->open)
        return;
    if (s->connecting) {
        s->connecting = false;
        w_event(&w_, g->fd, EPOLLOUT);
        return;
    }
    if (s->arrived < g->far_total) {
        uint64_t n = between(1, chance(100) ? 200000 : 3000), left = g->far_total - s->arrived;
        if (s->arrived - s->taken < 600000) { /* its receive buffer */
            s->arrived += n < left ? n : left;
            w_event(&w_, g->fd, EPOLLIN | EPOLLOUT);
        }
    } else if (!s->eof && chance(300)) {
        s->eof = true;
        w_event(&w_, g->fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
    }
    if (s->open && s->written > s->drained) {
        s->drained += between(1, s->written - s->drained);
        uint64_t used = s->written - s->drained;
        if (s->tight && s->size - used >= used / 2) {
            s->tight = false;
            w_event(&w_, g->fd, EPOLLOUT);
        }
    }
}

static void guest_program(int who)
{
    struct guest *g = &g_[who];
    if (g->rcv - g->read && chance(500)) {
        bool shut = window(g) < g->buffer / 4;
        g->read += between(1, g->rcv - g->read);
        if (shut && window(g) >= g->buffer / 4 && g->established)
            guest_send(who, F_ACK, g->max, 0);
    }
}

static void one_run(uint64_t seed)
{
    struct world *w = &w_;
    memset(w, 0, sizeof *w);
    memset(g_, 0, sizeof g_);
    rnd = seed;
    heap_n = 0;
    loss = chance(300) ? 0 : (unsigned)between(0, 80);
    dup = (unsigned)between(0, 40);
    jitter = chance(300) ? 0 : (unsigned)between(0, 4000);
    busy_rate = (unsigned)between(0, 60);
    w->no_peek_off = chance(500);
    w->v6 = chance(300);
    w->send_buffer = (uint32_t)between(5000, 300000);
    w->mss = 1460;
    w->hook = from_stack;
    w_open(w, 4 * CONNS);
    for (int i = 0; i < CONNS; i++) {
        struct guest *g = &g_[i];
        g->fd = -1;
        g->iss = (uint32_t)test_rand(&rnd) | 0xfff00000u; /* it wraps */
        g->mss = (uint16_t)between(100, 1440);
        g->total = between(0, chance(200) ? 300000 : 30000);
        g->far_total = between(0, chance(200) ? 500000 : 50000);
        g->buffer = chance(200) ? between(300, 4000) : between(10000, 500000);
        g->rto = 300000000;
        g->timer = w->now + between(0, 1000) * 1000000;
        g->read = 1;
    }
    uint64_t tick = w->now, start = w->now;
    for (;;) {
        bool done = !heap_n;
        uint64_t next = tick;
        for (int i = 0; i < CONNS; i++) {
            done &= guest_done(&g_[i]);
            next = g_[i].timer < next ? g_[i].timer : next;
        }
        if (done && !tcp_connections(w->t))
            break;
        uint64_t timer = loop_next(w->loop);
        next = timer < next ? timer : next;
        if (heap_n)
            next = heap[0].at < next ? heap[0].at : next;
        w->now = next > w->now ? next : w->now;
        CHECK(w->now - start < UINT64_C(3000) * 1000000000); /* it hangs */
        while (heap_n && heap[0].at <= w->now) {
            struct frame f = pop();
            if (f.to_guest) {
                guest_receive(f.who, &f.s);
            } else {
                if (f.s.flags & F_SYN && guest_done(&g_[f.who])) {
                    /* so old that it would open another connection; that is not what is tested */
                } else if (f.s.flags & F_SYN && g_[f.who].fd < 0) {
                    w_put(w, &f.s);
                    CHECK(w->opened);
                    g_[f.who].fd = w->opened - 1;
                } else {
                    f.s.stream = (uint32_t)g_[f.who].fd;
                    w_put(w, &f.s);
                }
            }
            if (chance(700))
                break; /* else several in one turn */
        }
        for (int i = 0; i < CONNS; i++) {
            if (g_[i].timer <= w->now && !guest_done(&g_[i]))
                guest_timer(i);
            else if (g_[i].timer <= w->now)
                g_[i].timer = LOOP_NEVER;
        }
        if (tick <= w->now) {
            for (int i = 0; i < CONNS; i++) {
                far_end(&g_[i]);
                guest_program(i);
            }
            if (w->busy && chance(300)) {
                w->busy = false;
                tcp_ready(w->t);
            }
            tick = w->now + between(10, 2000) * 1000;
        }
        w_run(w);
    }
    for (int i = 0; i < CONNS; i++) {
        struct sock *s = &w->socks[g_[i].fd];
        CHECK(!s->open && !s->reset && s->shut);
        CHECK_EQ(s->written, g_[i].total);
        CHECK_EQ(s->taken, g_[i].far_total);
    }
    w_close_all(w);
}

TEST(bytes_arrive_intact_through_loss_disorder_and_delay)
{
    const char *one = getenv("TEST_SEED");
    uint64_t goal = test_scale(20000), seed = one ? strtoull(one, NULL, 0) : 1;
    segments = 0;
    do {
        if (one || getenv("TEST_VERBOSE"))
            printf("seed %" PRIu64 "\n", seed);
        one_run(seed++);
    } while (segments < goal && !one);
}
