// SPDX-License-Identifier: MIT
/* How a tap is opened: by name, anew or as a descriptor; configured where it is ours to configure. lkvm's rules: an interface
 * that somebody named is left as it is; one that this makes is given the host's address and brought up, unless a script does it. */
#include "net/tap.h"

#include "kvm/host/ns.h"
#include "kvm/host/program.h"
#include "net/tap_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct opening {
    struct tap *t;
    const struct tap_options *o;
    char *err;
    size_t err_size;
};

static bool fail(const struct opening *op, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(const struct opening *op, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(op->err, op->err_size, "%s: tap \"%s\": %s", op->o->name,
             op->t->ifname[0] ? op->t->ifname
             : op->o->ifname  ? op->o->ifname
                              : "(new)",
             text);
    return false;
}

/* ---- by name */

static int open_device(const struct opening *op)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        fail(op, "/dev/net/tun: %s (%s)", strerror(errno),
             errno == ENOENT || errno == ENODEV || errno == ENXIO
                 ? "the host's kernel has no tun driver: modprobe tun"
                 : "run as root, or pass an open tap with fd=");
    return fd;
}

static const char *remedy(int error)
{
    switch (error) {
    case EPERM:
    case EACCES:
        return "run as root, make it yours with `ip tuntap add NAME mode tap user YOU`, or pass fd=";
    case EBUSY:
        return "another program has it open: use another tapif=";
    case EINVAL:
        return "there is an interface of that name which is no tap, or which has another kind of queues: use "
               "another "
               "tapif=";
    default:
        return "the host's kernel says no more";
    }
}

static bool open_queue(struct opening *op, unsigned flags)
{
    struct tap *t = op->t;
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
    const char *name = t->ifname[0] ? t->ifname : op->o->ifname ? op->o->ifname : "tap%d";
    int fd = open_device(op);
    if (fd < 0)
        return false;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(fd, TUNSETIFF, &request)) {
        int error = errno;
        close(fd);
        fail(op, "TUNSETIFF: %s (%s)", strerror(error), remedy(error));
        errno = error;
        return false;
    }
    memcpy(t->ifname, request.ifr_name, sizeof t->ifname);
    t->ifname[sizeof t->ifname - 1] = 0;
    t->fds[t->queues++] = fd;
    return true;
}

static bool open_named(struct opening *op)
{
    struct tap *t = op->t;
    unsigned queues = op->o->queues ? op->o->queues : 1, flags = queues > 1 ? IFF_MULTI_QUEUE : 0;
    bool ok = open_queue(op, flags);
    if (!ok && errno == EINVAL && !flags) /* one that was made with several queues is opened as such */
        ok = open_queue(op, flags = IFF_MULTI_QUEUE);
    t->multi = flags;
    while (ok && t->queues < queues)
        ok = open_queue(op, flags) && tap_queue_attach(t, t->queues - 1, false);
    t->vnet = true;
    return ok;
}

bool tap_queue_attach(struct tap *t, unsigned queue, bool attached)
{
    struct ifreq request = {.ifr_flags = attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};
    return queue && queue < t->queues && ioctl(t->fds[queue], TUNSETQUEUE, &request) == 0;
}

/* ---- as a descriptor */

static bool open_given(struct opening *op)
{
    struct tap *t = op->t;
    struct ifreq request = {0};
    int fd = op->o->fd, flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return fail(op, "fd=%d: %s (pass the descriptor of an open tap)", fd, strerror(errno));
    if (ioctl(fd, TUNGETIFF, &request))
        return fail(op, "fd=%d: is no tap (%s)", fd, strerror(errno));
    memcpy(t->ifname, request.ifr_name, sizeof t->ifname);
    t->ifname[sizeof t->ifname - 1] = 0;
    if (!(request.ifr_flags & IFF_TAP)) /* (IFF_NO_PI cannot be asked: IFF_NOFILTER is the same bit) */
        return fail(
            op, "fd=%d: is a tun, whose packets have no Ethernet header (open it with IFF_TAP | IFF_NO_PI)",
            fd);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
        return fail(op, "fd=%d: %s", fd, strerror(errno));
    t->vnet = request.ifr_flags & IFF_VNET_HDR;
    t->multi = request.ifr_flags & IFF_MULTI_QUEUE;
    t->fds[t->queues++] = fd;
    return true;
}

/* ---- its configuration */

static bool parse_address(const char *text, struct in_addr *address, struct in_addr *mask)
{
    char copy[INET_ADDRSTRLEN + 4];
    unsigned bits = 24;
    char *slash, end;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
        return false;
    if ((slash = strchr(copy, '/'))) {
        *slash++ = 0;
        if (sscanf(slash, "%2u%c", &bits, &end) != 1 || bits < 1 || bits > 32)
            return false;
    }
    mask->s_addr = htonl(0xffffffffu << (32 - bits));
    return inet_pton(AF_INET, copy, address) == 1;
}

static bool set_address(int s, const char *ifname, unsigned long what, struct in_addr in)
{
    struct ifreq request = {0};
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = in};
    memcpy(request.ifr_name, ifname, IFNAMSIZ);
    memcpy(&request.ifr_addr, &sin, sizeof sin);
    return ioctl(s, what, &request) == 0;
}

static bool bring_up(int s, const char *ifname)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, ifname, IFNAMSIZ);
    if (ioctl(s, SIOCGIFFLAGS, &request))
        return false;
    request.ifr_flags |= IFF_UP;
    return ioctl(s, SIOCSIFFLAGS, &request) == 0;
}

static bool configure(struct opening *op)
{
    const char *ifname = op->t->ifname;
    struct in_addr address = {0}, mask = {0};
    if (op->o->address && !parse_address(op->o->address, &address, &mask))
        return fail(op, "host_ip=%s: is no IPv4 address", op->o->address);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = s >= 0;
    if (ok && op->o->address)
        ok = set_address(s, ifname, SIOCSIFADDR, address) && set_address(s, ifname, SIOCSIFNETMASK, mask);
    ok = ok && bring_up(s, ifname);
    int error = errno;
    if (s >= 0)
        close(s);
    return ok || fail(op, "cannot be configured: %s (run as root, or name one with tapif= that is set up)",
                      strerror(error));
}

static bool open_tap(struct opening *op)
{
    const struct tap_options *o = op->o;
    struct tap *t = op->t;
    char why[128];
    bool fresh = o->fd < 0 && (!o->ifname || !if_nametoindex(o->ifname));
    int header = TAP_VNET_HEADER;
    if (!(o->fd >= 0 ? open_given(op) : open_named(op)))
        return false;
    if (t->vnet && ioctl(t->fds[0], TUNSETVNETHDRSZ, &header))
        return fail(op, "TUNSETVNETHDRSZ: %s (Linux 2.6.35 or later is needed)", strerror(errno));
    t->uso = t->vnet && !ioctl(t->fds[0], TUNSETOFFLOAD, TUN_F_CSUM | TAP_F_USO4_AND_USO6);
    if (((fresh && !o->script) || (o->address && o->fd < 0)) && !configure(op))
        return false;
    if (o->script && !program_run(o->script, t->ifname, TAP_SCRIPT_SECONDS * SECOND, why, sizeof why))
        return fail(op, "script %s: %s", o->script, why);
    t->downscript = o->downscript;
    return true;
}

struct tap *tap_new(struct net *net, const struct tap_options *o, char *err, size_t err_size)
{
    struct tap *t = calloc(1, sizeof *t);
    struct opening op = {t, o, err, err_size};
    if (!t) {
        snprintf(err, err_size, "%s: tap: out of memory", o->name);
        return NULL;
    }
    t->name = o->name;
    t->on_gone = o->gone;
    t->gone_ctx = o->gone_ctx;
    bool ok = open_tap(&op);
    if (ok && !(ok = tap_start(t, net)))
        fail(&op, "%s", strerror(errno ? errno : ENOMEM));
    if (!ok) {
        tap_free(t);
        return NULL;
    }
    return t;
}
