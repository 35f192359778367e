// SPDX-License-Identifier: MIT
/* The DNS forwarder: what the guest asks 10.0.2.3 by UDP goes to the host's resolvers, and their answer back (RFC 1035,
 * 5452). Questions by TCP are an ordinary connection, which the policy leads to the resolver.
 *
 * Each query has a socket of its own, connected, and a random identifier: so whoever wants to forge an answer has
 * to hit the resolver's address (the kernel looks at that), port and number, and repeat the question. The guest's own number is
 * put back. Nothing else of a message is read: names, pointers and records are between the guest and the resolver.
 *
 * Fail-over: the resolver that answered last is asked first; after TRY, at once when it is unreachable, or when
 * it says that it cannot (SERVFAIL, NOTIMP, REFUSED), the next one is, in all TRIES times at most and every one once at
 * least. Then the guest is told SERVFAIL, or what the last one said. QUERIES at a time; who is beyond is told SERVFAIL too.
 * The timer runs while a query waits. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "net/flow.h"

enum {
    DNS_HEADER = 12,
    DNS_QR = 0x80, /* of byte 2 */
    DNS_RA = 0x80, /* of byte 3 */
    DNS_NAME_MAX = 255,
    DNS_LABEL_MAX = 63,
    SERVFAIL = 2,
    NOTIMP = 4,
    REFUSED = 5,

    QUERIES = 128,
    QUERY_MAX = 1232, /* RFC 9715's size for UDP */
    ANSWER_MAX = 65536,
    TRIES = 4,
};
#define TRY (1500ull * 1000 * 1000)

struct query {
    struct user *u;
    struct loop_fd fd;
    bool used;
    struct ip_addr guest, server;
    uint16_t port, guest_id;
    uint64_t deadline;
    int tries, resolver;
    size_t len, question; /* of the query; end of its question */
    uint8_t b[QUERY_MAX];
};

struct dns {
    struct user *u;
    struct loop_timer timer;
    uint64_t asked, answered, failed_over, failed;
    uint8_t answer[ANSWER_MAX];
    struct query queries[QUERIES];
};

static void ask(struct query *q);

static void close_socket(struct query *q)
{
    if (!q->fd.loop)
        return;
    int fd = q->fd.fd;
    loop_fd_remove(&q->fd);
    close(fd);
}

static void finish(struct query *q)
{
    close_socket(q);
    q->used = false;
}

static void reply(struct query *q, uint8_t *message, size_t len)
{
    struct iovec iov = {message, len};
    set16(message, q->guest_id);
    if (ip_send_udp(q->u, &q->server, 53, &q->guest, q->port, &iov, 1) == PORT_BUSY)
        user_drop(q->u, USER_DROP_BUSY);
}

/* The guest's own question, with a code that says why not. */
static void say_no(struct query *q, uint8_t code)
{
    q->b[2] |= DNS_QR;
    q->b[3] = DNS_RA | code;
    memset(q->b + 6, 0, 6); /* no records */
    reply(q, q->b, q->question);
    q->u->dns->failed++;
}

static void next_resolver(struct query *q)
{
    struct resolv *r = &q->u->resolv;
    close_socket(q);
    if (q->tries >= (r->n > TRIES ? r->n : TRIES)) {
        say_no(q, SERVFAIL);
        finish(q);
        return;
    }
    q->u->dns->failed_over += r->n > 1;
    q->resolver = (q->resolver + 1) % r->n;
    ask(q);
}

/* It repeats the question; only who could not make anything of it may leave it out (RFC 1035, 4.1.1: format error, not
 * implemented, refused), which is an answer nevertheless. */
static bool is_answer(const struct query *q, const uint8_t *a, size_t len)
{
    if (len < DNS_HEADER || memcmp(a, q->b, 2) || !(a[2] & DNS_QR))
        return false;
    if (len == DNS_HEADER && !get16(a + 4))
        return a[3] & 15;
    return len >= q->question && !memcmp(a + 4, q->b + 4, 2) &&
           !memcmp(a + DNS_HEADER, q->b + DNS_HEADER, q->question - DNS_HEADER);
}

static void readable(void *arg, uint32_t events)
{
    struct query *q = arg;
    struct dns *d = q->u->dns;
    ssize_t n = recv(q->fd.fd, d->answer, sizeof d->answer, MSG_DONTWAIT);
    (void)events;
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            next_resolver(q); /* refused, unreachable */
        return;
    }
    if (!is_answer(q, d->answer, (size_t)n)) {
        user_drop(q->u, USER_DROP_DNS_ANSWER);
        return;
    }
    uint8_t code = d->answer[3] & 15;
    if ((code == SERVFAIL || code == NOTIMP || code == REFUSED) && q->tries < q->u->resolv.n) {
        next_resolver(q);
        return;
    }
    if (q->resolver < q->u->resolv.n)
        q->u->resolv.first = q->resolver;
    d->answered++;
    reply(q, d->answer, (size_t)n);
    finish(q);
}

/* As early as q wants it. What is over by then costs one look. */
static void want_timer(struct dns *d, const struct query *q)
{
    if (!loop_timer_armed(&d->timer) || q->deadline < d->timer.deadline)
        loop_timer_set(&d->timer, q->deadline);
}

static void set_timer(struct dns *d)
{
    uint64_t first = LOOP_NEVER;
    for (int i = 0; i < QUERIES; i++)
        if (d->queries[i].used && d->queries[i].deadline < first)
            first = d->queries[i].deadline;
    loop_timer_set(&d->timer, first);
}

static void late(void *arg)
{
    struct dns *d = arg;
    uint64_t now = loop_now(d->u->loop);
    for (int i = 0; i < QUERIES; i++)
        if (d->queries[i].used && d->queries[i].deadline <= now)
            next_resolver(&d->queries[i]);
    set_timer(d);
}

/* Sends to q->resolver; when that cannot even be tried, time tells. */
static void ask(struct query *q)
{
    struct resolv *r = &q->u->resolv;
    struct ip_sock to = r->at[q->resolver < r->n ? q->resolver : 0];
    uint8_t id[2];
    q->tries++;
    q->deadline = loop_now(q->u->loop) + TRY;
    if (getrandom(id, 2, GRND_NONBLOCK) == 2)
        memcpy(q->b, id, 2);
    int fd = flow_socket(q->u, to.sa.sa_family, SOCK_DGRAM, 0);
    if (fd < 0) {
        user_drop(q->u, USER_DROP_SOCKETS);
    } else if (connect(fd, &to.sa, to.len) < 0 ||
               !loop_fd_add(q->u->loop, &q->fd, fd, EPOLLIN, readable, q)) {
        close(fd);
        q->deadline = loop_now(q->u->loop); /* the next one, by the timer */
    } else if (send(fd, q->b, q->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        q->deadline = loop_now(q->u->loop);
    }
    want_timer(q->u->dns, q);
}

/* The end of the question section: one question, its name of whole labels without pointers. 0: it is not so. */
static size_t question_end(const uint8_t *b, size_t len)
{
    size_t at = DNS_HEADER;
    if (len < DNS_HEADER || b[2] & DNS_QR || get16(b + 4) != 1)
        return 0;
    while (at < len && b[at]) {
        if (b[at] > DNS_LABEL_MAX || at + 1 + b[at] - DNS_HEADER > DNS_NAME_MAX)
            return 0;
        at += 1u + b[at];
    }
    return at < len && len - at >= 5 ? at + 5 : 0; /* the root, type and class */
}

static struct query *find(struct dns *d, const struct ip_packet *p, uint16_t port, uint16_t id, bool *is_new)
{
    struct query *room = NULL;
    *is_new = false;
    for (int i = 0; i < QUERIES; i++) {
        struct query *q = &d->queries[i];
        if (!q->used)
            room = room ? room : q;
        else if (q->port == port && q->guest_id == id && ip_same(&q->guest, &p->src))
            return q;
    }
    *is_new = true;
    return room;
}

void dns_input(struct user *u, const struct ip_packet *p, uint16_t sport)
{
    struct dns *d = u->dns;
    struct query full, *q;
    uint8_t b[QUERY_MAX];
    size_t len = ip_copy(p, UDP_HEADER, b, sizeof b), question = question_end(b, len);
    bool is_new;
    if (!question || p->len - UDP_HEADER > sizeof b || user_is_nobody(&p->src)) {
        user_drop(u, USER_DROP_DNS);
        return;
    }
    q = find(d, p, sport, get16(b), &is_new);
    if (q && !is_new)
        return; /* asked again: we are at it */
    if (!q || u->restricted) {
        user_drop(u, u->restricted ? USER_DROP_POLICY : USER_DROP_DNS_ROOM);
        q = &full;
    }
    *q = (struct query){.u = u,
                        .used = true,
                        .guest = p->src,
                        .server = p->dst,
                        .port = sport,
                        .guest_id = get16(b),
                        .len = len,
                        .question = question};
    memcpy(q->b, b, len);
    if (q == &full) {
        say_no(q, u->restricted ? REFUSED : SERVFAIL);
        return;
    }
    d->asked++;
    resolv_check(&u->resolv);
    q->resolver = u->resolv.first;
    ask(q);
}

struct dns *dns_new(struct user *u, const struct user_options *o)
{
    struct dns *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->u = u;
    loop_timer_init(u->loop, &d->timer, late, d);
    resolv_init(&u->resolv, o);
    return d;
}

void dns_free(struct dns *d)
{
    if (!d)
        return;
    for (int i = 0; i < QUERIES; i++)
        close_socket(&d->queries[i]);
    loop_timer_cancel(&d->timer);
    free(d);
}

void dns_print(struct user *u, FILE *out)
{
    const struct dns *d = u->dns;
    fprintf(out, "dns: %llu queries, %llu answered, %llu failed, %llu times another resolver; resolvers:",
            (unsigned long long)d->asked, (unsigned long long)d->answered, (unsigned long long)d->failed,
            (unsigned long long)d->failed_over);
    for (int i = 0; i < u->resolv.n; i++) {
        char text[IP_ADDR_TEXT];
        struct ip_addr a;
        uint16_t port;
        if (ip_of_sock(&u->resolv.at[i].sa, &a, &port))
            fprintf(out, " %s%s", ip_text(&a, text), i == u->resolv.first ? "*" : "");
    }
    fprintf(out, "\n");
}
