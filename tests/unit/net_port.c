// SPDX-License-Identifier: MIT
/* Ports: nothing is lost, nothing overtakes, nobody is called in a circle or with a lock too many, and ready() comes
 * once. The ends here check on every call that they are allowed to be called. */
#include "test.h"

#include <pthread.h>

#include "net/offload.h"
#include "net/port.h"

enum {
    SEEN = 8192
};

/* An end: a card when it is guarded, else a backend. Frames are numbered in their first four bytes. */
struct end {
    struct port port;
    bool locked;      /* a card's device lock */
    int inside;       /* calls of ours on the stack */
    int room;         /* frames that it takes before it says BUSY; -1: any */
    bool answers;     /* sends a frame back for each that it gets */
    bool drains;      /* in ready(): sends what waits in `kept` */
    bool busy;        /* told BUSY, keeps a frame */
    bool deep;        /* calls it is a mistake to see */
    unsigned ready;   /* calls */
    unsigned refused; /* frames it said BUSY to */
    uint32_t seen[SEEN], n_seen;
    uint32_t next, last; /* frames to send from ready() */
    size_t last_len;
    struct port_meta last_meta;
    struct end *older;
};

static struct loop *loop;
static struct net net;
static int locks; /* device locks held by this thread */

static enum port_result end_send(struct end *e, uint32_t number, size_t len)
{
    static uint8_t frame[PORT_FRAME_MAX];
    static const struct port_meta none;
    memcpy(frame, &number, 4);
    struct iovec iov[2] = {
        {frame,      10      },
        {frame + 10, len - 10}
    };
    return port_send(&e->port, iov, 2, &none);
}

static enum port_result end_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    struct end *e = (struct end *)port;
    uint32_t number;
    e->deep |=
        e->inside > 0 || locks > 1 || (port->enter && !e->locked) || offload_length(iov, n) < PORT_HEADER;
    if (e->room == 0) {
        e->refused++;
        return PORT_BUSY;
    }
    e->inside++;
    if (e->room > 0)
        e->room--;
    uint8_t first[4];
    size_t have = 0;
    for (int i = 0; i < n && have < 4; i++)
        for (size_t k = 0; k < iov[i].iov_len && have < 4; k++)
            first[have++] = ((uint8_t *)iov[i].iov_base)[k];
    memcpy(&number, first, 4);
    e->seen[e->n_seen++ % SEEN] = number;
    e->last_len = offload_length(iov, n);
    e->last_meta = *meta;
    if (e->answers && end_send(e, number, 64) == PORT_BUSY)
        e->busy = true;
    e->inside--;
    return PORT_SENT;
}

static void end_ready(struct port *port)
{
    struct end *e = (struct end *)port;
    e->deep |= e->inside > 0 || locks > 1 || (port->enter && !e->locked);
    e->inside++;
    e->ready++;
    e->busy = false;
    while (e->drains && e->next < e->last && !e->busy) {
        if (end_send(e, e->next, 64) == PORT_BUSY)
            e->busy = true;
        else
            e->next++;
    }
    e->inside--;
}

static const struct port_ops end_ops = {.receive = end_receive, .ready = end_ready};

static void lock(void *arg)
{
    struct end *e = arg;
    e->deep |= e->locked;
    e->locked = true;
    locks++;
}
static void unlock(void *arg)
{
    struct end *e = arg;
    e->locked = false;
    locks--;
}

static struct end *ends;

static void finish(void)
{
    while (ends) {
        struct end *e = ends;
        ends = e->older;
        port_free(&e->port);
        free(e);
    }
    if (loop)
        loop_free(loop);
    loop = NULL;
}

static void start(void)
{
    static bool again;
    if (!again)
        atexit(finish);
    again = true;
    finish();
    loop = loop_new(NULL);
    net_init(&net, loop);
    locks = 0;
}

static struct end *end_new(const char *name, bool card)
{
    struct end *e = calloc(1, sizeof *e);
    CHECK(e && port_init(&e->port, &net, name, &end_ops));
    e->room = -1;
    e->older = ends;
    ends = e;
    if (card)
        port_guard(&e->port, lock, unlock, e);
    return e;
}

/* A card sends with its lock held, on the loop. */
static enum port_result card_send(struct end *e, uint32_t number, size_t len)
{
    lock(e);
    enum port_result r = end_send(e, number, len);
    unlock(e);
    return r;
}

static void settle(void)
{
    for (int i = 0; i < 1000 && loop_step(loop); i++)
        ;
}

static void in_order(const struct end *e, uint32_t n)
{
    CHECK_EQ(e->n_seen, n);
    for (uint32_t i = 0; i < n; i++)
        CHECK_EQ(e->seen[i], i);
    CHECK(!e->deep);
}

TEST(port_card_to_backend_is_straight)
{
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false);
    port_connect(&card->port, &tap->port);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(card_send(card, i, 60 + i), PORT_SENT);
        CHECK_EQ(tap->n_seen, i + 1); /* at once */
        CHECK_EQ(tap->last_len, 60 + i);
    }
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(end_send(tap, i, 60), PORT_SENT);
        CHECK_EQ(card->n_seen, i + 1);
    }
    in_order(card, 100);
    in_order(tap, 100);
    CHECK_EQ(card->port.frames, 100);
    CHECK_EQ(tap->port.bytes, 6000);
    CHECK_EQ(card->ready + tap->ready, 0);
}

TEST(port_busy_is_answered_by_one_ready)
{
    for (int card_receives = 0; card_receives < 2; card_receives++) {
        start();
        struct end *from = end_new("from", !card_receives), *to = end_new("to", card_receives);
        port_connect(&from->port, &to->port);
        to->room = 3;
        for (uint32_t i = 0; i < 3; i++)
            CHECK_EQ((from->port.enter ? card_send : end_send)(from, i, 60), PORT_SENT);
        for (int i = 0; i < 5; i++) /* keeps trying: told the same, and the receiver is left alone */
            CHECK_EQ((from->port.enter ? card_send : end_send)(from, 3, 60), PORT_BUSY);
        CHECK_EQ(to->refused, 1);
        settle();
        CHECK_EQ(from->ready, 0); /* no room yet */
        to->room = 1;
        port_ready(&to->port);
        CHECK_EQ(from->ready, 0); /* not from inside the call */
        settle();
        CHECK_EQ(from->ready, 1);
        port_ready(&to->port); /* nobody waits now */
        settle();
        CHECK_EQ(from->ready, 1);
        CHECK_EQ((from->port.enter ? card_send : end_send)(from, 3, 60), PORT_SENT);
        in_order(to, 4);
        CHECK(!from->deep);
        CHECK_EQ(from->port.busy, 5);
    }
}

TEST(port_sender_drains_from_ready)
{
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false);
    port_connect(&card->port, &tap->port);
    card->drains = true;
    card->last = 500;
    tap->room = 0;
    CHECK_EQ(card_send(card, 0, 64), PORT_BUSY);
    for (int i = 0; i < 1000 && card->next < 500; i++) {
        tap->room = 7;
        port_ready(&tap->port);
        settle();
    }
    in_order(tap, 500);
    CHECK(!card->deep);
    CHECK_EQ(card->ready, 72); /* 500 / 7, rounded up: one for each BUSY */
}

TEST(port_two_cards_never_hold_two_locks)
{
    start();
    struct end *a = end_new("a", true), *b = end_new("b", true);
    port_connect(&a->port, &b->port);
    for (uint32_t i = 0; i < 200; i++)
        CHECK_EQ(card_send(a, i, 64), PORT_SENT);
    CHECK_EQ(b->n_seen, 0); /* put off */
    settle();
    in_order(b, 200);
    CHECK(!a->deep && locks == 0);
    CHECK_EQ(a->ready, 0);
}

TEST(port_ring_is_bounded_and_keeps_the_order)
{
    start();
    struct end *a = end_new("a", true), *b = end_new("b", true);
    port_connect(&a->port, &b->port);
    a->drains = true;
    a->last = 3000;
    b->room = 0;
    while (a->next < a->last && card_send(a, a->next, 1000) == PORT_SENT)
        a->next++;
    CHECK(a->next > 200 && a->next < 300); /* PORT_RING_BYTES of them */
    settle();
    CHECK_EQ(b->refused, 1);
    CHECK_EQ(a->ready, 0);
    for (int i = 0; i < 3000 && b->n_seen < 3000; i++) {
        b->room = 11;
        port_ready(&b->port);
        settle();
    }
    in_order(b, 3000);
    CHECK(!a->deep);
}

TEST(port_loopback_gives_everything_back)
{
    struct port lo;
    start();
    struct end *card = end_new("card", true);
    CHECK(port_loopback(&lo, &net));
    port_connect(&card->port, &lo);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(card_send(card, i, 64 + i), PORT_SENT);
    CHECK_EQ(card->n_seen, 0); /* never from inside its own send */
    settle();
    in_order(card, 100);

    /* a card without buffers: its own ring fills, then it is told BUSY, and readied when it has received */
    card->n_seen = 0;
    card->room = 0;
    card->drains = true;
    card->last = 2000;
    while (card->next < card->last && card_send(card, card->next, 1000) == PORT_SENT)
        card->next++;
    CHECK(card->next > 200 && card->next < 300);
    for (int i = 0; i < 2000 && card->n_seen < 2000; i++) {
        card->room = 50;
        port_ready(&card->port);
        settle();
    }
    in_order(card, 2000);
    port_free(&lo);
}

TEST(port_answers_are_put_off)
{
    /* a backend that answers each frame at once, as ARP does, to a card that is still sending */
    start();
    struct end *card = end_new("card", true), *user = end_new("user", false);
    port_connect(&card->port, &user->port);
    user->answers = true;
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(card_send(card, i, 64), PORT_SENT);
    CHECK_EQ(card->n_seen, 0);
    in_order(user, 100);
    settle();
    in_order(card, 100);
    /* and a card that transmits while it receives */
    user->answers = false;
    user->n_seen = card->n_seen = 0;
    card->answers = true;
    for (uint32_t i = 0; i < 10; i++)
        CHECK_EQ(end_send(user, i, 64), PORT_SENT);
    CHECK_EQ(user->n_seen, 0);
    settle();
    in_order(card, 10);
    in_order(user, 10);
}

TEST(port_null_takes_all)
{
    struct port null;
    start();
    struct end *card = end_new("card", true);
    CHECK(port_null(&null, &net));
    port_connect(&card->port, &null);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK_EQ(card_send(card, i, PORT_FRAME_MAX), PORT_SENT);
    CHECK_EQ(loop_step(loop), 0); /* nothing is left to do */
    CHECK_EQ(card->port.frames, 1000);
    port_free(&null);
}

TEST(E12_frames_of_odd_lengths_are_dropped_and_counted)
{
    static uint8_t bytes[PORT_FRAME_MAX + 1];
    static struct iovec many[PORT_IOV_MAX + 1];
    static const struct port_meta none;
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false);
    port_connect(&card->port, &tap->port);
    for (size_t len = 0; len <= 15; len++) {
        struct iovec iov = {bytes, len};
        CHECK_EQ(port_send(&tap->port, &iov, 1, &none), PORT_SENT);
    }
    CHECK_EQ(card->n_seen, 2);
    CHECK_EQ(tap->port.drops[PORT_DROP_SHORT], 14);
    struct iovec iov = {bytes, PORT_FRAME_MAX};
    CHECK_EQ(port_send(&tap->port, &iov, 1, &none), PORT_SENT);
    CHECK_EQ(card->n_seen, 3);
    iov.iov_len++;
    CHECK_EQ(port_send(&tap->port, &iov, 1, &none), PORT_SENT);
    iov.iov_len = SIZE_MAX;
    CHECK_EQ(port_send(&tap->port, &iov, 1, &none), PORT_SENT);
    CHECK_EQ(port_send(&tap->port, &iov, -1, &none), PORT_SENT);
    many[0] = (struct iovec){bytes, 100};
    CHECK_EQ(port_send(&tap->port, many, PORT_IOV_MAX + 1, &none), PORT_SENT);
    CHECK_EQ(tap->port.drops[PORT_DROP_LONG], 4);
    CHECK_EQ(card->n_seen, 3);
    CHECK_EQ(port_send(&tap->port, many, PORT_IOV_MAX, &none), PORT_SENT);
    CHECK_EQ(card->n_seen, 4);
    port_disconnect(&card->port);
    CHECK_EQ(end_send(tap, 1, 64), PORT_SENT);
    CHECK_EQ(tap->port.drops[PORT_DROP_UNPLUGGED], 1);
    for (enum port_drop d = PORT_DROP_NONE; d < PORT_DROPS; d++)
        CHECK(strlen(port_drop_name(d)) > 3);
}

/* --- treatment on the way */

static uint8_t train[14 + 20 + 20 + 10000];

static struct port_meta build_train(void)
{
    memset(train, 0, 54);
    train[12] = 0x08;
    train[14] = 0x45;
    train[23] = 6;
    train[46] = 0x50;
    return (struct port_meta){.flags = PORT_NEEDS_CSUM,
                              .gso_type = PORT_GSO_TCPV4,
                              .gso_size = 1000,
                              .csum_start = 34,
                              .csum_offset = 16};
}

TEST(port_does_what_the_receiver_does_not_accept)
{
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false);
    struct port_meta meta = build_train(), csum;
    struct iovec iov = {train, sizeof train};
    port_connect(&card->port, &tap->port);
    CHECK_EQ(port_send(&card->port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(tap->n_seen, 10);
    CHECK_EQ(tap->last_len, 1054);
    CHECK_EQ(tap->last_meta.flags | tap->last_meta.gso_type, 0);
    CHECK_EQ(card->port.frames, 1);

    port_accept(&tap->port, PORT_ACCEPT_CSUM);
    csum = meta;
    csum.gso_type = PORT_GSO_NONE;
    CHECK_EQ(port_send(&card->port, &iov, 1, &csum), PORT_SENT);
    CHECK_EQ(tap->last_meta.flags, PORT_NEEDS_CSUM);
    CHECK_EQ(tap->last_meta.csum_start, 34);
    tap->n_seen = 0;
    CHECK_EQ(port_send(&card->port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(tap->n_seen, 10);
    CHECK_EQ(tap->last_meta.flags, 0);

    port_accept(&tap->port, PORT_ACCEPT_CSUM | PORT_ACCEPT_TSO4);
    CHECK_EQ(port_send(&card->port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(tap->n_seen, 11);
    CHECK_EQ(tap->last_len, sizeof train);
    CHECK_EQ(tap->last_meta.gso_size, 1000);
    meta.gso_type |= PORT_GSO_ECN; /* not this one */
    CHECK_EQ(port_send(&card->port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(tap->n_seen, 21);

    /* a checksum that was verified is news for who understands it only */
    csum = (struct port_meta){.flags = PORT_DATA_VALID};
    CHECK_EQ(port_send(&card->port, &iov, 1, &csum), PORT_SENT);
    CHECK_EQ(tap->last_meta.flags, PORT_DATA_VALID);
    port_accept(&tap->port, 0);
    CHECK_EQ(port_send(&card->port, &iov, 1, &csum), PORT_SENT);
    CHECK_EQ(tap->last_meta.flags, 0);

    meta.gso_size = 0;
    CHECK_EQ(port_send(&card->port, &iov, 1, &meta), PORT_SENT);
    CHECK_EQ(card->port.drops[PORT_DROP_GSO_SIZE], 1);
}

TEST(port_train_stopped_in_the_middle_goes_on_where_it_was)
{
    for (int cards = 0; cards < 2; cards++) {
        start();
        struct end *from = end_new("from", true), *to = end_new("to", cards);
        struct port_meta meta = build_train();
        struct iovec iov = {train, sizeof train};
        port_connect(&from->port, &to->port);
        to->room = 4;
        CHECK_EQ(port_send(&from->port, &iov, 1, &meta), PORT_SENT); /* some of it is out: it is ours now */
        settle();
        CHECK_EQ(to->n_seen, 4);
        memset(train, 0xee, sizeof train); /* the guest uses its buffer for something else */
        if (!cards) {
            CHECK_EQ(end_send(from, 1, 64), PORT_BUSY); /* nothing overtakes it */
        }
        to->room = 3;
        port_ready(&to->port);
        settle();
        CHECK_EQ(to->n_seen, 7);
        CHECK_EQ(from->ready, 0);
        to->room = -1;
        port_ready(&to->port);
        settle();
        CHECK_EQ(to->n_seen, 10);
        CHECK_EQ(to->last_len, 1054);
        CHECK_EQ(from->ready, !cards);
        CHECK(!from->deep && !to->deep);
    }
}

TEST(port_unplugged_tells_who_waits)
{
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false), *other = end_new("other", false);
    port_connect(&card->port, &tap->port);
    card->room = 0;
    CHECK_EQ(end_send(tap, 0, 64), PORT_BUSY);
    port_connect(&card->port, &other->port);
    CHECK_EQ(tap->ready, 1);
    CHECK_EQ(end_send(tap, 0, 64), PORT_SENT);
    CHECK_EQ(tap->port.drops[PORT_DROP_UNPLUGGED], 1);
    card->room = 1;
    port_ready(&card->port);
    settle();
    CHECK_EQ(end_send(other, 0, 64), PORT_SENT);
    in_order(card, 1);
    port_free(&other->port);
    CHECK_EQ(card_send(card, 1, 64), PORT_SENT);
    port_free(&card->port);
    port_free(&tap->port); /* and once more at the end: harmless */
    CHECK_EQ(loop_step(loop), 0);
}

/* N4: a flood while there are no buffers loses nothing that was taken, and receiving goes on when some come. */
TEST(N4_flood_without_buffers)
{
    start();
    struct end *card = end_new("card", true), *tap = end_new("tap", false);
    uint32_t sent = 0;
    port_connect(&card->port, &tap->port);
    card->room = 16;
    for (int i = 0; i < 100000; i++)
        sent += end_send(tap, sent, 1500) == PORT_SENT;
    CHECK_EQ(sent, 16);
    CHECK_EQ(card->port.ring_used, 0); /* the source keeps them, not we */
    card->room = 5;
    port_ready(&card->port);
    settle();
    CHECK_EQ(tap->ready, 1);
    while (end_send(tap, sent, 1500) == PORT_SENT)
        sent++;
    in_order(card, 21);
}

/* --- port_ready() from a vCPU's thread, against a card that runs dry all the time */

static struct racer {
    struct port port;
    pthread_mutex_t lock;
    unsigned room, got;
    bool dry, stop;
} racer;

static enum port_result racer_receive(struct port *port, const struct iovec *iov, int n,
                                      const struct port_meta *meta)
{
    (void)port, (void)iov, (void)n, (void)meta;
    if (!racer.room) {
        racer.dry = true;
        return PORT_BUSY;
    }
    racer.room--;
    racer.got++;
    return PORT_SENT;
}

static void racer_enter(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&racer.lock);
}
static void racer_leave(void *arg)
{
    (void)arg;
    pthread_mutex_unlock(&racer.lock);
}

static void *racer_vcpu(void *arg)
{
    (void)arg;
    for (bool stop = false; !stop;) {
        pthread_mutex_lock(&racer.lock);
        if (racer.dry) {
            racer.dry = false;
            racer.room = 3;
            port_ready(&racer.port);
        }
        stop = racer.stop;
        pthread_mutex_unlock(&racer.lock);
        sched_yield();
    }
    return NULL;
}

TEST(port_ready_from_another_thread_is_never_lost)
{
    static const struct port_ops ops = {.receive = racer_receive};
    enum {
        FRAMES = 6000
    };
    pthread_t t;
    start();
    struct end *tap = end_new("tap", false);
    pthread_mutex_init(&racer.lock, NULL);
    CHECK(port_init(&racer.port, &net, "racer", &ops));
    port_guard(&racer.port, racer_enter, racer_leave, NULL);
    port_connect(&racer.port, &tap->port);
    tap->drains = true;
    tap->last = FRAMES;
    CHECK(!pthread_create(&t, NULL, racer_vcpu, NULL));
    CHECK_EQ(end_send(tap, 0, 64), PORT_BUSY);
    /* a lost wake-up would leave the loop with nothing to do for ever: the count of idle rounds bounds that */
    for (unsigned idle = 0; tap->next < FRAMES && idle < 20000000;)
        idle = loop_step(loop) ? 0 : idle + 1;
    racer_enter(NULL);
    racer.stop = true;
    racer_leave(NULL);
    pthread_join(t, NULL);
    CHECK_EQ(tap->next, FRAMES);
    CHECK_EQ(racer.got, FRAMES);
    port_free(&racer.port);
}
