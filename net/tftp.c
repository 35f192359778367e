// SPDX-License-Identifier: MIT
/* The TFTP server: files of one folder, read-only, for guests that boot from the network (RFC 1350, 2347, 2348, 2349). Off
 * unless a folder is named.
 *
 * TRANSFERS at a time, each with the block that waits to be acknowledged: it is read again when it has to be sent again.
 * That is after RETRY only, never in answer to an old acknowledgement (RFC 1123, 4.2.3.1). The oldest transfer gives way
 * when the table is full. What is not in memory is asked for (tftp_file.c), and sent at the next look. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/user_priv.h"

enum {
    TFTP_PORT = 69,
    FIRST_PORT = 1069, /* the server's end of transfer i is this + i */
    RRQ = 1,
    WRQ = 2,
    DATA = 3,
    ACK = 4,
    ERROR = 5,
    OACK = 6,

    NOT_FOUND = 1,
    NO_ACCESS = 2,
    ILLEGAL = 4,
    UNKNOWN_ID = 5,

    TRANSFERS = 16,
    BLOCK = 512,
    BLOCK_MIN = 8,
    REQUEST_MAX = 512,
    TRIES = 6,
    DISK_TRIES = 120,
};
#define RETRY     (1000ull * 1000 * 1000)
#define DISK_WAIT (5ull * 1000 * 1000)

struct transfer {
    bool used, waits_for_disk, last, oack;
    struct ip_addr guest;
    uint16_t port;
    int fd;
    uint64_t block; /* the one that waits for its ACK; 0: the OACK */
    size_t size;    /* of a block */
    uint64_t file_size, age, deadline;
    int tries;
    uint8_t options[64]; /* of the OACK */
    size_t options_len;
};

struct tftp {
    struct user *u;
    int folder;
    uint64_t age, served, refused;
    struct loop_timer timer;
    struct transfer all[TRANSFERS];
    uint8_t block[4 + 65536];
};

static void send_to(struct tftp *t, uint16_t sport, const struct ip_addr *guest, uint16_t port, uint8_t *m,
                    size_t len)
{
    struct iovec iov = {m, len};
    if (ip_send_udp(t->u, &t->u->host4, sport, guest, port, &iov, 1) == PORT_BUSY)
        user_drop(t->u, USER_DROP_BUSY);
}

static void send_error(struct tftp *t, uint16_t sport, const struct ip_addr *guest, uint16_t port,
                       uint16_t code, const char *why)
{
    uint8_t m[100];
    set16(m, ERROR);
    set16(m + 2, code);
    snprintf((char *)m + 4, sizeof m - 4, "%s", why);
    t->refused++;
    send_to(t, sport, guest, port, m, 4 + strlen(why) + 1);
}

static uint16_t port_of(const struct tftp *t, const struct transfer *x)
{
    return (uint16_t)(FIRST_PORT + (x - t->all));
}

static void end(struct transfer *x)
{
    close(x->fd);
    x->used = false;
}

static void set_timer(struct tftp *t)
{
    uint64_t first = LOOP_NEVER;
    for (int i = 0; i < TRANSFERS; i++)
        if (t->all[i].used && t->all[i].deadline < first)
            first = t->all[i].deadline;
    loop_timer_set(&t->timer, first);
}

/* The transfer's block, or its OACK. */
static void send_block(struct tftp *t, struct transfer *x)
{
    uint64_t now = loop_now(t->u->loop);
    if (x->block == 0) {
        uint8_t m[2 + sizeof x->options];
        set16(m, OACK);
        memcpy(m + 2, x->options, x->options_len);
        send_to(t, port_of(t, x), &x->guest, x->port, m, 2 + x->options_len);
        x->deadline = now + RETRY;
        return;
    }
    uint64_t at = (x->block - 1) * x->size;
    ssize_t n = tftp_read(x->fd, at, t->block + 4, x->size, x->file_size);
    if (n < 0 && errno == EAGAIN && x->tries < DISK_TRIES) {
        x->waits_for_disk = true;
        x->tries++;
        x->deadline = now + DISK_WAIT;
        return;
    }
    if (n < 0) { /* it cannot be read, or not in time, or became shorter */
        send_error(t, port_of(t, x), &x->guest, x->port, 0, "cannot read the file");
        end(x);
        return;
    }
    if (x->waits_for_disk)
        x->tries = 0;
    x->waits_for_disk = false;
    x->last = (size_t)n < x->size;
    set16(t->block, DATA);
    set16(t->block + 2, (uint16_t)x->block);
    send_to(t, port_of(t, x), &x->guest, x->port, t->block, 4 + (size_t)n);
    x->deadline = now + RETRY;
}

static void late(void *arg)
{
    struct tftp *t = arg;
    uint64_t now = loop_now(t->u->loop);
    for (int i = 0; i < TRANSFERS; i++) {
        struct transfer *x = &t->all[i];
        if (!x->used || x->deadline > now)
            continue;
        if (!x->waits_for_disk && ++x->tries >= TRIES)
            end(x);
        else
            send_block(t, x);
    }
    set_timer(t);
}

/* --- requests */

/* The next string of the request; NULL: it does not end. */
static const char *next_string(const char **at, const char *end_)
{
    const char *s = *at, *nul = memchr(s, 0, (size_t)(end_ - s));
    if (!nul)
        return NULL;
    *at = nul + 1;
    return s;
}

static struct transfer *new_transfer(struct tftp *t, const struct ip_addr *guest, uint16_t port)
{
    struct transfer *x = &t->all[0];
    for (int i = 0; i < TRANSFERS; i++) {
        struct transfer *o = &t->all[i];
        if (o->used && o->port == port && ip_same(&o->guest, guest)) {
            x = o; /* it begins again */
            break;
        }
        if (x->used && (!o->used || o->age < x->age))
            x = o;
    }
    if (x->used)
        end(x);
    *x = (struct transfer){
        .used = true, .guest = *guest, .port = port, .size = BLOCK, .age = ++t->age, .fd = -1};
    return x;
}

static void add_option(struct transfer *x, const char *name, uint64_t value)
{
    char text[40];
    int n = snprintf(text, sizeof text, "%s%c%llu", name, 0, (unsigned long long)value) + 1;
    if ((size_t)n > sizeof x->options - x->options_len)
        return;
    memcpy(x->options + x->options_len, text, (size_t)n);
    x->options_len += (size_t)n;
    x->oack = true;
}

static bool read_number(const char *text, unsigned long *n)
{
    char *rest;
    *n = strtoul(text, &rest, 10);
    return text[0] >= '0' && text[0] <= '9' && !*rest;
}

/* Options that are known and make sense are answered, others are as if not there (RFC 2347). */
static void read_options(struct tftp *t, struct transfer *x, const char *at, const char *end_)
{
    unsigned long most = t->u->mtu - IP4_HEADER - UDP_HEADER - 4u, n;
    bool seen_size = false, seen_block = false;
    while (at < end_) {
        const char *name = next_string(&at, end_), *value = name ? next_string(&at, end_) : NULL;
        if (!value)
            return;
        if (!read_number(value, &n))
            continue;
        if (!strcasecmp(name, "blksize") && n >= BLOCK_MIN && !seen_block) {
            seen_block = true;
            x->size = n < most ? n : most;
            add_option(x, "blksize", x->size);
        } else if (!strcasecmp(name, "tsize") && !seen_size) {
            seen_size = true;
            add_option(x, "tsize", x->file_size);
        }
    }
}

static void request(struct tftp *t, const struct ip_packet *p, uint16_t sport)
{
    char m[REQUEST_MAX];
    size_t len = ip_copy(p, UDP_HEADER, m, sizeof m);
    uint16_t op = len >= 2 ? get16(m) : 0;
    const char *at = m + 2, *end_ = m + len, *name, *mode;
    uint64_t size;
    if ((op != RRQ && op != WRQ) || p->len - UDP_HEADER > sizeof m || !(name = next_string(&at, end_)) ||
        !(mode = next_string(&at, end_))) {
        user_drop(t->u, USER_DROP_TFTP);
        return;
    }
    if (op == WRQ || strcasecmp(mode, "octet")) {
        user_drop(t->u, USER_DROP_TFTP);
        send_error(t, TFTP_PORT, &p->src, sport, op == WRQ ? NO_ACCESS : ILLEGAL,
                   op == WRQ ? "this server is read-only" : "mode: octet, please");
        return;
    }
    int fd = tftp_open(t->folder, name, &size);
    if (fd < 0) {
        bool none = errno == ENOENT || errno == ENOTDIR;
        user_drop(t->u, USER_DROP_TFTP);
        send_error(t, TFTP_PORT, &p->src, sport, none ? NOT_FOUND : NO_ACCESS,
                   none ? "no such file" : "not a file of the folder that is served");
        return;
    }
    struct transfer *x = new_transfer(t, &p->src, sport);
    x->fd = fd;
    x->file_size = size;
    read_options(t, x, at, end_);
    x->block = x->oack ? 0 : 1;
    t->served++;
    send_block(t, x);
    set_timer(t);
}

static void acknowledge(struct tftp *t, struct transfer *x, const struct ip_packet *p)
{
    uint8_t m[4];
    if (ip_copy(p, UDP_HEADER, m, sizeof m) < 4 || (get16(m) != ACK && get16(m) != ERROR)) {
        user_drop(t->u, USER_DROP_TFTP);
        return;
    }
    if (get16(m) == ERROR) {
        end(x); /* also the way to learn a tsize, and go */
        return;
    }
    if (get16(m + 2) != (uint16_t)x->block || x->waits_for_disk)
        return; /* an old one */
    if (x->last) {
        end(x);
        return;
    }
    x->block++;
    x->tries = 0;
    send_block(t, x);
    if (!loop_timer_armed(&t->timer) || x->deadline < t->timer.deadline)
        set_timer(t);
}

bool tftp_input(struct user *u, const struct ip_packet *p, uint16_t sport, uint16_t dport)
{
    struct tftp *t = u->tftp;
    if (!t || p->v6 || !ip_same(&p->dst, &u->host4))
        return false;
    if (dport == TFTP_PORT) {
        request(t, p, sport);
        return true;
    }
    if (dport < FIRST_PORT || dport >= FIRST_PORT + TRANSFERS)
        return false;
    struct transfer *x = &t->all[dport - FIRST_PORT];
    if (!x->used || x->port != sport || !ip_same(&x->guest, &p->src))
        return false; /* a port of the host's, for all we know */
    acknowledge(t, x, p);
    return true;
}

struct tftp *tftp_new(struct user *u, const char *folder, char *err, size_t errlen)
{
    struct tftp *t = calloc(1, sizeof *t);
    if (!t) {
        snprintf(err, errlen, "user network: no memory");
        return NULL;
    }
    t->u = u;
    t->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (t->folder < 0) {
        snprintf(err, errlen, "%s: tftp=%s: %s", u->name, folder, strerror(errno));
        free(t);
        return NULL;
    }
    loop_timer_init(u->loop, &t->timer, late, t);
    return t;
}

void tftp_free(struct tftp *t)
{
    if (!t)
        return;
    for (int i = 0; i < TRANSFERS; i++)
        if (t->all[i].used)
            end(&t->all[i]);
    loop_timer_cancel(&t->timer);
    close(t->folder);
    free(t);
}

void tftp_print(struct user *u, FILE *out)
{
    if (u->tftp)
        fprintf(out, "tftp: %llu files begun, %llu requests refused\n", (unsigned long long)u->tftp->served,
                (unsigned long long)u->tftp->refused);
}
