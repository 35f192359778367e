// SPDX-License-Identifier: MIT
/* A tap at run time: see include/net/tap.h. How one is opened is net/tap_open.c. */
#include "net/tap.h"

#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/program.h"
#include "net/offload.h"
#include "net/tap_priv.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- offloads */

int tap_offload(struct tap *t, uint8_t accepts)
{
    static const struct {
        uint8_t port;
        unsigned tun;
    } bits[] = {
        {PORT_ACCEPT_CSUM, TUN_F_CSUM         },
        {PORT_ACCEPT_TSO4, TUN_F_TSO4         },
        {PORT_ACCEPT_TSO6, TUN_F_TSO6         },
        {PORT_ACCEPT_ECN,  TUN_F_TSO_ECN      },
        {PORT_ACCEPT_USO,  TAP_F_USO4_AND_USO6},
    };
    unsigned flags = 0;
    if (!t->vnet)
        return accepts ? -EOPNOTSUPP : 0;
    if (!(accepts & PORT_ACCEPT_CSUM)) /* needed for all others */
        accepts = 0;
    if (!(accepts & (PORT_ACCEPT_TSO4 | PORT_ACCEPT_TSO6)))
        accepts &= (uint8_t)~PORT_ACCEPT_ECN; /* the kernel refuses it alone */
    if (!t->uso)
        accepts &= (uint8_t)~PORT_ACCEPT_USO;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (accepts & bits[i].port)
            flags |= bits[i].tun;
    return ioctl(t->fds[0], TUNSETOFFLOAD, flags) ? -errno : 0;
}

/* All of it, whatever the peer takes: a frame of many segments is one read, and the port cuts it up where it must, for about
 * what the kernel's own cutting costs. A kernel that refuses finishes its frames itself. */
static void accept_all(struct tap *t)
{
    (void)tap_offload(t, PORT_ACCEPT_ALL);
}

/* ---- from the host */

static void arm(struct tap *t)
{
    if (!t->dead)
        loop_fd_events(&t->watch,
                       (t->given || t->held ? 0 : EPOLLIN) | (t->full && !t->given ? EPOLLOUT : 0));
}

/* The frame that was read last. false: the peer has no room, and it stays. */
static bool give(struct tap *t)
{
    struct port_meta meta = {0};
    struct iovec iov = {t->frame, t->len};
    if (t->vnet)
        meta = (struct port_meta){
            .flags = t->header.flags & (PORT_NEEDS_CSUM | PORT_DATA_VALID),
            .gso_type = t->header.gso_type,
            .hdr_len = t->header.hdr_len,
            .gso_size = t->header.gso_size,
            .csum_start = t->header.csum_start,
            .csum_offset = t->header.csum_offset,
        };
    t->held = port_send(&t->port, &iov, 1, &meta) == PORT_BUSY;
    return !t->held;
}

static void pull(struct tap *t)
{
    struct iovec iov[2] = {
        {&t->header, sizeof t->header},
        {t->frame,   sizeof t->frame },
    };
    size_t skip = t->vnet ? sizeof t->header : 0;
    unsigned i;
    for (i = 0; i < t->burst; i++) {
        ssize_t n = readv(t->fds[0], iov + !t->vnet, 1 + t->vnet);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            t->burst = i ? i : 1;
            return;
        }
        if (n <= 0) {
            tap_gone(t, n < 0 && errno != EBADFD ? strerror(errno) : "it was deleted");
            return;
        }
        if ((size_t)n < skip)
            continue; /* no kernel does that */
        t->len = (size_t)n - skip;
        if (!give(t)) {
            arm(t);
            return;
        }
    }
    t->burst = t->burst * 2 < TAP_BUDGET ? t->burst * 2 : TAP_BUDGET;
}

static void on_fd(void *arg, uint32_t events)
{
    struct tap *t = arg;
    if (events & EPOLLOUT && t->full) {
        t->full = false;
        arm(t);
        port_ready(&t->port);
    }
    if (events & ~(uint32_t)EPOLLOUT && !t->held && !t->given)
        pull(t);
}

static void tap_ready(struct port *port)
{
    struct tap *t = (struct tap *)port;
    if (t->held && give(t))
        arm(t);
}

/* ---- to the host */

static ssize_t put(struct tap *t, struct iovec *out, const struct iovec *iov, int n)
{
    if (n < IOV_MAX) {
        memcpy(out + t->vnet, iov, (size_t)n * sizeof *iov);
        return writev(t->fds[0], out, n + t->vnet);
    }
    /* as many pieces as a frame may have, and the header would be one too many */
    size_t at = 0;
    for (int i = 0; i < n && iov[i].iov_len <= sizeof t->whole - at; i++) {
        memcpy(t->whole + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    out[t->vnet] = (struct iovec){t->whole, at};
    return writev(t->fds[0], out, 1 + t->vnet);
}

static enum port_result tap_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    struct tap *t = (struct tap *)port;
    struct iovec out[PORT_IOV_MAX + 1];
    struct tap_header header = {
        .flags = meta->flags,
        .gso_type = meta->gso_type,
        .hdr_len = meta->hdr_len,
        .gso_size = meta->gso_size,
        .csum_start = meta->csum_start,
        .csum_offset = meta->csum_offset,
    };
    if (t->dead || t->given) {
        port_drop(port);
        return PORT_SENT;
    }
    out[0] = (struct iovec){&header, sizeof header};
    while (put(t, out, iov, n) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN) {
            t->full = true;
            arm(t);
            return PORT_BUSY;
        }
        if (errno == EBADFD)
            tap_gone(t, "it was deleted");
        else if (errno == EIO && !t->down_said)
            warn("%s: tap \"%s\": is down (ip link set %s up)", t->name, t->ifname, t->ifname);
        t->down_said |= errno == EIO;
        t->refused++;
        port_drop(port);
        return PORT_SENT;
    }
    t->down_said = false;
    return PORT_SENT;
}

static const struct port_ops tap_ops = {.receive = tap_receive, .ready = tap_ready};

/* ---- the rest */

bool tap_start(struct tap *t, struct net *net)
{
    t->burst = 1;
    tap_gone_init(t, net->loop);
    if (!port_init(&t->port, net, t->ifname, &tap_ops))
        return false;
    if (t->vnet)
        port_accept(&t->port, (uint8_t)(PORT_ACCEPT_ALL & ~(t->uso ? 0 : PORT_ACCEPT_USO)));
    accept_all(t);
    if (!loop_fd_add(net->loop, &t->watch, t->fds[0], EPOLLIN, on_fd, t)) {
        port_free(&t->port);
        return false;
    }
    return true;
}

struct port *tap_port(struct tap *t)
{
    return &t->port;
}

const char *tap_ifname(const struct tap *t)
{
    return t->ifname;
}

int tap_fd(const struct tap *t, unsigned queue)
{
    return queue < t->queues ? t->fds[queue] : -1;
}

bool tap_is_gone(const struct tap *t)
{
    return t->dead;
}

bool tap_has_vnet_header(const struct tap *t)
{
    return t->vnet;
}

bool tap_has_uso(const struct tap *t)
{
    return t->uso;
}

void tap_hand_over(struct tap *t, bool given)
{
    t->given = given;
    tap_gone_listen(t, given);
    if (given)
        t->held = t->full = false;
    else
        accept_all(t); /* vhost's driver may have set anything */
    arm(t);
    if (!given)
        port_ready(&t->port);
}

void tap_print(struct tap *t, FILE *out)
{
    fprintf(out, "  tap %s: %s, %u queue%s%s%s%s\n", t->ifname, t->vnet ? "vnet header" : "no vnet header",
            t->queues, t->queues == 1 ? "" : "s", t->given ? ", with vhost" : "", t->dead ? ", gone" : "",
            t->held ? ", waits for the card" : "");
    if (t->refused)
        fprintf(out, "    refused by the host's kernel: %llu frames\n", (unsigned long long)t->refused);
}

void tap_free(struct tap *t)
{
    char why[128];
    if (!t)
        return;
    if (t->downscript && !program_run(t->downscript, t->ifname, TAP_SCRIPT_SECONDS * SECOND, why, sizeof why))
        warn("%s: down script %s %s: %s", t->name, t->downscript, t->ifname, why);
    loop_fd_remove(&t->watch);
    tap_gone_fini(t);
    if (t->port.net)
        port_free(&t->port);
    for (unsigned i = 0; i < t->queues; i++)
        close(t->fds[i]);
    free(t);
}
