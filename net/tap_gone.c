// SPDX-License-Identifier: MIT
/* The end of a tap: it was deleted under us, by name or with the network namespace that it was in. Its descriptor says so to who
 * reads or writes it, and to nobody else. While vhost does that for us nobody hears of it: vhost drops what the guest sends,
 * and says nothing (or reports an error of the ring, which then is none: tap_look() is for who hears that). So for that time
 * rtnetlink tells of the host's links, by a socket that is silent otherwise; what it says of which link does not matter, the
 * descriptor is asked (TUNGETIFF: EBADFD). A namespace that ends says so (RTM_DELNSID) some moments before its links do, and of
 * those nothing any more: hence the second look. A tap that somebody handed in from a namespace of which this one knows nothing
 * ends unheard.
 *
 * Source: Documentation/networking/tuntap.rst, rtnetlink(7), <linux/rtnetlink.h>. */
#include "net/tap_priv.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "kvm/host/ns.h"

enum {
    MESSAGES_MAX = 64, /* read in one go */
};

static void tell(void *arg)
{
    struct tap *t = arg;
    tap_gone_listen(t, false);
    if (t->on_gone)
        t->on_gone(t->gone_ctx);
}

void tap_gone(struct tap *t, const char *why)
{
    if (t->dead)
        return;
    t->dead = true;
    loop_fd_remove(&t->watch);
    warn("%s: tap \"%s\": %s (the card has no network from now on)", t->name, t->ifname, why);
    loop_task_post(&t->gone_task); /* a card may be on the stack, and its lock held */
}

bool tap_look(struct tap *t)
{
    struct ifreq request = {0};
    if (ioctl(t->fds[0], TUNGETIFF, &request) && errno == EBADFD)
        tap_gone(t, "it was deleted");
    return !t->dead;
}

static void look(void *arg)
{
    (void)tap_look(arg);
}

static void on_links(void *arg, uint32_t events)
{
    struct tap *t = arg;
    char some[64]; /* of a message; the rest of it is dropped */
    (void)events;
    for (unsigned i = 0; i < MESSAGES_MAX; i++)
        if (recv(t->links_fd, some, sizeof some, MSG_DONTWAIT) < 0 && errno != ENOBUFS)
            break;
    if (tap_look(t))
        loop_timer_after(&t->links_later, SECOND);
}

void tap_gone_init(struct tap *t, struct loop *loop)
{
    t->links_fd = -1;
    loop_task_init(loop, &t->gone_task, tell, t);
    loop_timer_init(loop, &t->links_later, look, t);
}

/* A host that gives no such socket has a card whose cable is cut in silence, and nothing worse. */
void tap_gone_listen(struct tap *t, bool on)
{
    struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    int namespaces = RTNLGRP_NSID;
    if (on == (t->links_fd >= 0) || (on && t->dead))
        return;
    if (!on) {
        loop_fd_remove(&t->links);
        loop_timer_cancel(&t->links_later);
        close(t->links_fd);
        t->links_fd = -1;
        return;
    }
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return;
    t->links_fd = fd;
    (void)!setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &namespaces, sizeof namespaces);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) ||
        !loop_fd_add(t->gone_task.loop, &t->links, fd, EPOLLIN, on_links, t)) {
        close(fd);
        t->links_fd = -1;
    }
}

void tap_gone_fini(struct tap *t)
{
    if (!t->gone_task.loop)
        return; /* it never started */
    tap_gone_listen(t, false);
    loop_task_cancel(&t->gone_task);
}
