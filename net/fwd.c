// SPDX-License-Identifier: MIT
/* Forwards: ports of the host that lead into the guest; QEMU's form, PROTO:[ADDR]:PORT-[ADDR]:PORT, either ADDR may be
 * missing (all of the host's IPv4 addresses; guest_ip), IPv6 addresses in brackets.
 *
 * A TCP connection is accepted here and becomes TCP's; the guest sees the peer's own address where it can answer to it,
 * else the gateway (policy.c). When the process has no descriptor left, accepting pauses for a second, since
 * the queue stays readable. A UDP forward is one socket for all its peers; each peer is a flow (flow.c) that answers
 * through it. Their ports are the process's own: no guest reaches them from inside (policy.c). */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/flow.h"

enum {
    ACCEPTS = 32, /* at once */
};
#define PAUSE (1000ull * 1000 * 1000)

struct fwd {
    struct user *u;
    bool used, paused;
    uint8_t proto;
    struct ip_addr host, guest;
    uint16_t hport, gport;
    struct loop_fd fd;
    uint64_t taken, refused;
};

struct fwds {
    struct user *u;
    struct loop_timer resume;
    struct fwd all[USER_FORWARDS_MAX];
};

/* --- the form */

static bool read_port(const char *text, uint16_t least, uint16_t *port)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long n = strtoul(text, &end, 10);
    *port = (uint16_t)n;
    return !*end && n >= least && n <= 65535;
}

/* "[ADDR]:PORT" to its two parts; an empty ADDR leaves *a as it is. */
static bool read_end(char *text, uint16_t least, struct ip_addr *a, uint16_t *port)
{
    char *addr = text, *colon;
    if (*text == '[') {
        char *close = strchr(text, ']');
        if (!close || close[1] != ':')
            return false;
        *close = 0;
        addr = text + 1;
        colon = close + 1;
        if (!ip_parse(addr, a) || ip_is4(a))
            return false;
    } else {
        colon = strchr(text, ':');
        if (!colon)
            return false;
        *colon = 0;
        if (*addr && (!ip_parse(addr, a) || !ip_is4(a)))
            return false;
    }
    return read_port(colon + 1, least, port);
}

struct spec {
    uint8_t proto;
    struct ip_addr host, guest;
    uint16_t hport, gport;
    bool whole; /* the guest's end was given */
};

static const char *parse(struct user *u, const char *text, struct spec *s)
{
    char copy[160];
    if (strlen(text) >= sizeof copy)
        return "too long";
    strcpy(copy, text);
    char *host = strchr(copy, ':');
    if (!host)
        return "not PROTO:[ADDR]:PORT-[ADDR]:PORT";
    *host++ = 0;
    *s = (struct spec){.guest = u->guest4, .host = ip_addr4((const uint8_t[4]){0})};
    if (!strcmp(copy, "udp"))
        s->proto = IP_UDP;
    else if (!strcmp(copy, "tcp") || !*copy)
        s->proto = IP_TCP;
    else
        return "the protocol is neither tcp nor udp";
    char *guest = strchr(host, '-');
    if (guest)
        *guest++ = 0;
    if (!read_end(host, 0, &s->host, &s->hport))
        return "the host's end is not [ADDR]:PORT, with a port of 0-65535 (0: any) and IPv6 addresses in "
               "brackets";
    if (guest && !read_end(guest, 1, &s->guest, &s->gport))
        return "the guest's end is not [ADDR]:PORT, with a port of 1-65535 and IPv6 addresses in brackets";
    s->whole = guest;
    return NULL;
}

static bool is_in_net(struct user *u, const struct ip_addr *a)
{
    return user_is_guest(u, a) && (ip_is4(a) || (u->ipv6 && ip_in(a, &u->net6, u->bits6)));
}

/* --- TCP */

static void resume(void *arg)
{
    struct fwds *fs = arg;
    for (int i = 0; i < USER_FORWARDS_MAX; i++)
        if (fs->all[i].paused) {
            fs->all[i].paused = false;
            loop_fd_events(&fs->all[i].fd, EPOLLIN);
        }
}

static void acceptable(void *arg, uint32_t events)
{
    struct fwd *f = arg;
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        struct ip_sock peer = {.len = sizeof peer.in6};
        struct ip_addr src;
        uint16_t port;
        int fd = accept4(f->fd.fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                user_drop(f->u, USER_DROP_SOCKETS);
                f->paused = true;
                loop_fd_events(&f->fd, 0);
                loop_timer_after(&f->u->fwds->resume, PAUSE);
            }
            return; /* else none is left, or that one is gone again */
        }
        user_peer(f->u, &f->guest, &peer.sa, &src, &port);
        if (user_tcp_forward(f->u, fd, &f->guest, f->gport, &src, port))
            f->taken++;
        else
            f->refused++;
    }
}

/* --- UDP */

static struct flow *flow_of(void *arg, const struct ip_sock *from, uint8_t *data, struct flow_datagram *d)
{
    struct fwd *f = arg;
    (void)data, (void)d;
    f->taken++;
    return udp_flow_forwarded(f->u, f, &f->guest, f->gport, from);
}

static void readable(void *arg, uint32_t events)
{
    struct fwd *f = arg;
    (void)events;
    flow_read(f->u, &f->fd, flow_of, f);
}

bool fwd_send(struct fwd *f, const struct ip_sock *to, const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_name = (void *)&to->sa,
                       .msg_namelen = to->len,
                       .msg_iov = (struct iovec *)iov,
                       .msg_iovlen = (size_t)n};
    return sendmsg(f->fd.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void fwd_rearm(struct user *u)
{
    for (int i = 0; i < USER_FORWARDS_MAX; i++)
        if (u->fwds->all[i].used && u->fwds->all[i].proto == IP_UDP)
            loop_fd_events(&u->fwds->all[i].fd, EPOLLIN);
}

/* --- life */

/* A bound and listening socket, and its port; -1 and errno, *what was tried. */
static int open_socket(const struct spec *s, uint16_t *port, const char **what)
{
    struct ip_sock at = ip_sock(&s->host, s->hport);
    struct ip_addr bound;
    int on = 1, fd;
    *what = "socket";
    fd = socket(at.sa.sa_family,
                (s->proto == IP_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (s->proto == IP_TCP)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at.sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    *what = "bind";
    if (bind(fd, &at.sa, at.len) == 0 &&
        (*what = "listen", s->proto == IP_UDP || listen(fd, SOMAXCONN) == 0) &&
        (*what = "getsockname", getsockname(fd, &at.sa, &at.len) == 0) && ip_of_sock(&at.sa, &bound, port))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

bool user_forward_add(struct user *u, const char *text, char *err, size_t errlen)
{
    struct spec s;
    struct fwd *f = NULL;
    const char *why = parse(u, text, &s), *what;
    uint16_t port;
    if (!why && !s.whole)
        why = "where in the guest it leads to (-[ADDR]:PORT) is missing";
    if (!why && !is_in_net(u, &s.guest))
        why = "the guest's address is not one of the network's";
    for (int i = 0; !f && i < USER_FORWARDS_MAX; i++)
        if (!u->fwds->all[i].used)
            f = &u->fwds->all[i];
    if (!why && !f)
        why = "there are as many forwards as there can be";
    if (why) {
        snprintf(err, errlen, "%s: hostfwd=%s: %s", u->name, text, why);
        return false;
    }
    int fd = open_socket(&s, &port, &what);
    if (fd < 0) {
        snprintf(err, errlen, "%s: hostfwd=%s: %s: %s%s", u->name, text, what, strerror(errno),
                 errno == EADDRINUSE ? " (by another program or forward; choose another port)"
                 : errno == EACCES   ? " (ports below net.ipv4.ip_unprivileged_port_start are root's)"
                                     : "");
        return false;
    }
    *f = (struct fwd){
        .u = u, .proto = s.proto, .host = s.host, .hport = port, .guest = s.guest, .gport = s.gport};
    if (!loop_fd_add(u->loop, &f->fd, fd, EPOLLIN, s.proto == IP_TCP ? acceptable : readable, f)) {
        snprintf(err, errlen, "%s: hostfwd=%s: epoll: %s", u->name, text, strerror(errno));
        close(fd);
        return false;
    }
    f->used = true;
    user_own_port_add(f->proto, f->hport);
    return true;
}

static void close_forward(struct fwd *f)
{
    int fd = f->fd.fd;
    flow_free_forwarded(f->u, f);
    loop_fd_remove(&f->fd);
    close(fd);
    user_own_port_remove(f->proto, f->hport);
    f->used = f->paused = false;
}

bool user_forward_remove(struct user *u, const char *text, char *err, size_t errlen)
{
    struct spec s;
    const char *why = parse(u, text, &s);
    for (int i = 0; !why && i < USER_FORWARDS_MAX; i++) {
        struct fwd *f = &u->fwds->all[i];
        if (!f->used || f->proto != s.proto || f->hport != s.hport || !ip_same(&f->host, &s.host) ||
            (s.whole && (f->gport != s.gport || !ip_same(&f->guest, &s.guest))))
            continue;
        close_forward(f);
        return true;
    }
    snprintf(err, errlen, "%s: hostfwd=%s: %s", u->name, text, why ? why : "there is no such forward");
    return false;
}

struct fwds *fwds_new(struct user *u)
{
    struct fwds *fs = calloc(1, sizeof *fs);
    if (!fs)
        return NULL;
    fs->u = u;
    loop_timer_init(u->loop, &fs->resume, resume, fs);
    return fs;
}

void fwds_free(struct fwds *fs)
{
    if (!fs)
        return;
    for (int i = 0; i < USER_FORWARDS_MAX; i++)
        if (fs->all[i].used)
            close_forward(&fs->all[i]);
    loop_timer_cancel(&fs->resume);
    free(fs);
}

void fwds_print(struct user *u, FILE *out)
{
    char a[IP_ADDR_TEXT], b[IP_ADDR_TEXT];
    for (int i = 0; i < USER_FORWARDS_MAX; i++) {
        const struct fwd *f = &u->fwds->all[i];
        if (f->used)
            fprintf(out, "forward %s %s port %u to %s port %u: %llu %s, %llu refused\n",
                    f->proto == IP_TCP ? "tcp" : "udp", ip_text(&f->host, a), f->hport, ip_text(&f->guest, b),
                    f->gport, (unsigned long long)f->taken, f->proto == IP_TCP ? "connections" : "datagrams",
                    (unsigned long long)f->refused);
    }
}
