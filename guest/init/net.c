// SPDX-License-Identifier: MIT
/* The network, before the command starts: every Ethernet card is brought up, and asked about with DHCP where vmlet said that
 * somebody may answer (COMMAND_DHCP). IPv6 is the kernel's own business once a card is up (router advertisements).
 *
 * Time. All cards are asked at once, over UDP sockets bound to their card: packet sockets are a module in Debian's kernels.
 * A guest whose network says nothing starts its command after WAIT_MS, one whose only card has no cable at all after
 * CARRIER_MS; when one card has its address, the others have SECOND_MS more, or the whole time where a server has offered
 * one. The user network answers in a few milliseconds.
 *
 * A lease that ends is renewed by a process of its own (keep_leases(), asleep until half of its time is over), for init itself
 * serves the command. Nothing here can fail the run: a command without a network finds that out itself. */
#include "dhcp.h"
#include "sys.h"

#include <asm/ioctls.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/in.h>
#include <linux/route.h>
#include <linux/sockios.h>

enum {
    WAIT_MS = 4000,
    CARRIER_MS = 2500,
    SECOND_MS = 1000,
    AGAIN_MS = 300, /* first retransmission; then twice the time as before */
    LOOK_MS = 20,   /* between two looks at a card without a carrier */
    CARDS_MAX = 8,
    INDEX_MAX = 64,
    RENEW_AGAIN_S = 60,

    NET_INET = 2,
    NET_DGRAM = 2,
    LEVEL_SOCKET = 1,
    OPTION_REUSEADDR = 2,
    OPTION_BROADCAST = 6,
    OPTION_BINDTODEVICE = 25,
};

struct card {
    char name[IFNAMSIZ];
    uint8_t mac[6];
    long fd;
    bool carrier, done;
    uint32_t xid;
    struct dhcp_lease lease; /* type 0: none; DHCP_OFFER: asked for; DHCP_ACK: ours */
    unsigned tries;
    uint64_t next; /* when to say it again */
};

static struct card cards[CARDS_MAX];
static unsigned n_cards;
static long control = -1; /* a socket for ioctl() */
static bool hosts_root;

/* ---- interfaces */

static bool request(const struct card *c, unsigned what, struct ifreq *r)
{
    memcpy(r->ifr_name, c->name, IFNAMSIZ);
    return SYS(ioctl, control, what, r) >= 0;
}

static bool set_address(const struct card *c, unsigned what, uint32_t address)
{
    struct ifreq r = {0};
    struct sockaddr_in in = {.sin_family = NET_INET, .sin_addr = {address}};
    memcpy(&r.ifr_addr, &in, sizeof in);
    return request(c, what, &r);
}

static bool bring_up(const struct card *c)
{
    struct ifreq r = {0};
    if (!request(c, SIOCGIFFLAGS, &r))
        return false;
    r.ifr_flags |= IFF_UP;
    return request(c, SIOCSIFFLAGS, &r);
}

/* IFF_RUNNING alone is set at first, until the kernel has looked. */
static bool has_carrier(const struct card *c)
{
    struct ifreq r = {0};
    uint32_t link[2] = {0x0a /* ETHTOOL_GLINK */, 0}; /* struct ethtool_value */
    r.ifr_data = (char *)link;
    if (request(c, SIOCETHTOOL, &r))
        return link[1];
    return request(c, SIOCGIFFLAGS, &r) && r.ifr_flags & IFF_RUNNING;
}

static void find_cards(void)
{
    for (int i = 1; i <= INDEX_MAX && n_cards < CARDS_MAX; i++) {
        struct card *c = &cards[n_cards];
        struct ifreq r = {.ifr_ifindex = i};
        if (SYS(ioctl, control, SIOCGIFNAME, &r) < 0)
            continue;
        *c = (struct card){.fd = -1};
        memcpy(c->name, r.ifr_name, IFNAMSIZ);
        if (!request(c, SIOCGIFHWADDR, &r) || r.ifr_hwaddr.sa_family != ARPHRD_ETHER)
            continue;
        memcpy(c->mac, r.ifr_hwaddr.sa_data, 6);
        n_cards += bring_up(c);
    }
}

static bool add_route(const struct card *c, uint32_t to, uint32_t mask, uint32_t router)
{
    struct rtentry r = {.rt_flags =
                            RTF_UP | (router ? RTF_GATEWAY : 0) | (mask == 0xffffffff ? RTF_HOST : 0)};
    struct sockaddr_in in = {.sin_family = NET_INET, .sin_addr = {to}};
    char name[IFNAMSIZ];
    memcpy(&r.rt_dst, &in, sizeof in);
    in.sin_addr.s_addr = mask;
    memcpy(&r.rt_genmask, &in, sizeof in);
    in.sin_addr.s_addr = router;
    memcpy(&r.rt_gateway, &in, sizeof in);
    memcpy(name, c->name, sizeof name);
    r.rt_dev = name;
    return SYS(ioctl, control, SIOCADDRT, &r) >= 0;
}

/* ---- what a lease leads to */

static size_t put_address(char *out, size_t size, const char *before, uint32_t address)
{
    char n[4][24];
    return text_join(out, size, before, text_number(n[0], address & 0xff), ".",
                     text_number(n[1], address >> 8 & 0xff), ".", text_number(n[2], address >> 16 & 0xff),
                     ".", text_number(n[3], address >> 24), "\n", NULL);
}

/* In place of the link to the kernel's own (/proc/net/pnp) that the archive has, or of the host's, whose servers are not ours;
 * a file that the user brought is left. */
static void write_resolv_conf(const struct dhcp_lease *l)
{
    char text[512];
    size_t n = 0;
    if (!l->n_dns)
        return;
    if (l->domain[0])
        n = text_join(text, sizeof text, "search ", l->domain, "\n", NULL);
    for (unsigned i = 0; i < l->n_dns; i++)
        n += put_address(text + n, sizeof text - n, "nameserver ", l->dns[i]);
    char target[8];
    if (hosts_root || SYS(readlink, "/etc/resolv.conf", target, sizeof target) > 0)
        SYS(unlink, "/etc/resolv.conf");
    long fd = SYS(open, "/etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    SYS(write, fd, text, n);
    SYS(close, fd);
}

static void configure(struct card *c, bool first)
{
    const struct dhcp_lease *l = &c->lease;
    struct ifreq r = {.ifr_mtu = l->mtu};
    if (l->mtu >= 576) /* RFC 791's least */
        request(c, SIOCSIFMTU, &r);
    set_address(c, SIOCSIFADDR, l->address);
    set_address(c, SIOCSIFNETMASK, l->mask);
    if (l->router && first && !add_route(c, 0, 0, l->router)) {
        add_route(c, l->router, 0xffffffff, 0); /* it lies outside the network: reach it first */
        add_route(c, 0, 0, l->router);
    }
}

/* The first card with a lease has the default route and the servers of names, whoever answered first. */
static void configure_all(void)
{
    bool first = true;
    for (unsigned i = 0; i < n_cards; i++)
        if (cards[i].done) {
            configure(&cards[i], first);
            if (first)
                write_resolv_conf(&cards[i].lease);
            first = false;
        }
}

/* ---- asking */

static bool open_socket(struct card *c)
{
    int one = 1;
    struct sockaddr_in any = {.sin_family = NET_INET, .sin_port = __builtin_bswap16(DHCP_CLIENT_PORT)};
    c->fd = SYS(socket, NET_INET, NET_DGRAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (c->fd < 0)
        return false;
    SYS(setsockopt, c->fd, LEVEL_SOCKET, OPTION_REUSEADDR, &one, sizeof one);
    SYS(setsockopt, c->fd, LEVEL_SOCKET, OPTION_BROADCAST, &one, sizeof one);
    return SYS(setsockopt, c->fd, LEVEL_SOCKET, OPTION_BINDTODEVICE, c->name, IFNAMSIZ) >= 0 &&
           SYS(bind, c->fd, &any, sizeof any) >= 0;
}

static void say(struct card *c, uint32_t to, bool renew)
{
    uint8_t bytes[DHCP_SEND_MAX];
    struct sockaddr_in at = {
        .sin_family = NET_INET, .sin_port = __builtin_bswap16(DHCP_SERVER_PORT), .sin_addr = {to}};
    size_t n = dhcp_make(bytes, c->xid, c->mac, c->lease.type ? &c->lease : NULL, renew);
    SYS(sendto, c->fd, bytes, n, 0, &at, sizeof at);
}

/* From the beginning: any server, any address. */
static void discover(struct card *c, uint64_t now)
{
    c->lease.type = 0;
    c->tries = 0;
    c->next = now;
    if (SYS(getrandom, &c->xid, sizeof c->xid, 1 /* GRND_NONBLOCK */) != sizeof c->xid)
        c->xid = (uint32_t)now * 2654435761u ^ c->mac[5];
}

static void say_again(struct card *c, uint64_t now)
{
    if (c->lease.type == DHCP_OFFER && c->tries > 2) /* it was offered, but is not given */
        discover(c, now);
    say(c, 0xffffffff, false);
    c->next = now + ((uint64_t)AGAIN_MS << (c->tries < 4 ? c->tries : 4));
    c->tries++;
}

static void hear(struct card *c, uint64_t now)
{
    static uint8_t bytes[2048];
    struct dhcp_lease heard;
    for (;;) {
        long n = SYS(recvfrom, c->fd, bytes, sizeof bytes, 0, NULL, NULL);
        if (n < 0)
            return;
        if (c->done || !dhcp_read(bytes, (size_t)n, c->xid, c->mac, &heard))
            continue;
        if (heard.type == DHCP_OFFER && !c->lease.type) {
            c->lease = heard;
            c->tries = 0;
            say_again(c, now);
        } else if (heard.type == DHCP_ACK && c->lease.type == DHCP_OFFER) {
            c->lease = heard;
            c->done = true;
        } else if (heard.type == DHCP_NAK && c->lease.type == DHCP_OFFER) {
            discover(c, now + AGAIN_MS);
        }
    }
}

/* Asks with all cards until all have an address or the time is up. Returns how many have. Nothing is configured meanwhile: the
 * kernel would send what the other cards ask from an address that another network gave (RFC 2131, 4.1: from 0), and their
 * servers would not have it. */
static unsigned ask(void)
{
    uint64_t begun = now_ms(), end = begun + WAIT_MS;
    unsigned leases = 0;
    for (;;) {
        struct pollfd p[CARDS_MAX];
        uint64_t now = now_ms(), wake = UINT64_MAX, limit = end;
        unsigned waiting = 0;
        for (unsigned i = 0; i < n_cards; i++) {
            struct card *c = &cards[i];
            p[i] = (struct pollfd){.fd = c->done ? -1 : (int)c->fd, .events = POLL_IN};
            if (c->done || c->fd < 0)
                continue;
            if (!c->carrier && (c->carrier = has_carrier(c)))
                discover(c, now);
            if (!c->carrier && now - begun >= CARRIER_MS)
                continue;
            waiting++;
            if (c->lease.type == DHCP_OFFER)
                limit = begun + WAIT_MS;
            if (c->carrier && c->next <= now)
                say_again(c, now);
            uint64_t then = c->carrier ? c->next : now + LOOK_MS;
            wake = then < wake ? then : wake;
        }
        if (!waiting || now >= limit)
            return leases;
        wake = limit < wake ? limit : wake;
        SYS(poll, p, n_cards, (int)(wake > now ? wake - now : 0));
        now = now_ms();
        for (unsigned i = 0; i < n_cards; i++) {
            struct card *c = &cards[i];
            if (c->done || c->fd < 0)
                continue;
            hear(c, now);
            if (!c->done)
                continue;
            if (!leases++)
                end = now + SECOND_MS < end ? now + SECOND_MS : end;
        }
    }
}

/* ---- keeping */

static uint64_t half(const struct dhcp_lease *l)
{
    return l->seconds == UINT32_MAX ? UINT64_MAX : l->seconds < 2 ? 1 : l->seconds / 2;
}

/* RFC 2131, 4.4.5, with T1 alone: asked of all, not of the server, so that whoever knows answers; the address stays
 * meanwhile, for there is nobody else to give it to. */
static _Noreturn void keep_leases(void)
{
    for (uint64_t begun = now_ms();;) {
        uint64_t earliest = UINT64_MAX, now = (now_ms() - begun) / 1000;
        for (unsigned i = 0; i < n_cards; i++)
            if (cards[i].done && cards[i].next < earliest)
                earliest = cards[i].next;
        if (earliest == UINT64_MAX)
            SYS(exit_group, 0);
        if (earliest > now) {
            struct {
                long seconds, nanoseconds;
            } t = {(long)(earliest - now), 0};
            SYS(nanosleep, &t, NULL);
            continue;
        }
        for (unsigned i = 0; i < n_cards; i++) {
            struct card *c = &cards[i];
            struct pollfd p = {.fd = (int)c->fd, .events = POLL_IN};
            if (!c->done || c->next > now)
                continue;
            c->next = now + (half(&c->lease) < RENEW_AGAIN_S ? half(&c->lease) : RENEW_AGAIN_S);
            c->done = false;
            c->lease.type = DHCP_OFFER;
            say(c, 0xffffffff, true);
            while (!c->done && SYS(poll, &p, 1, 2000) > 0)
                hear(c, 0);
            if (c->done) {
                configure(c, false);
                c->next = now + half(&c->lease);
            }
            c->done = true;
        }
    }
}

/* As a child of init's, whose end nobody waits for but init's own reaping. */
static void keep(void)
{
    bool any = false;
    for (unsigned i = 0; i < n_cards; i++) {
        cards[i].next = half(&cards[i].lease);
        any |= cards[i].done && cards[i].next != UINT64_MAX;
    }
    if (any && SYS(fork) == 0)
        keep_leases();
}

/* A guest that the user gave no name. */
static void take_hostname(const struct command *cmd)
{
    if (memcmp(cmd->hostname, HOSTNAME_DEFAULT, sizeof HOSTNAME_DEFAULT))
        return;
    for (unsigned i = 0; i < n_cards; i++)
        if (cards[i].done && cards[i].lease.host[0]) {
            setup_hostname(cards[i].lease.host);
            return;
        }
}

/* What the user waited for in vain, or will look for. */
static void tell(const struct command *cmd, unsigned leases)
{
    char text[128];
    if (!n_cards && cmd->flags & COMMAND_CARDS)
        line_log("no network card came up: this kernel has no driver for it (another model=, or --module)");
    for (unsigned i = 0; !leases && i < n_cards; i++)
        if (cards[i].fd >= 0) {
            text_join(text, sizeof text, cards[i].name,
                      cards[i].carrier ? ": nobody gave it an address in time (--no-dhcp does not ask)"
                                       : ": has no carrier, so nobody was asked for an address",
                      NULL);
            line_log(text);
        }
}

void net_start(const struct command *cmd)
{
    control = SYS(socket, NET_INET, NET_DGRAM | O_CLOEXEC, 0);
    if (control < 0)
        return;
    find_cards();
    hosts_root = share_has_root(cmd);
    if (cmd->flags & COMMAND_DHCP) {
        for (unsigned i = 0; i < n_cards; i++)
            if (!open_socket(&cards[i]))
                cards[i].fd = -1;
        unsigned leases = ask();
        tell(cmd, leases);
        if (leases) {
            configure_all();
            take_hostname(cmd);
            keep();
        }
        for (unsigned i = 0; i < n_cards; i++)
            if (cards[i].fd >= 0)
                SYS(close, cards[i].fd);
    }
    SYS(close, control);
}
