// SPDX-License-Identifier: MIT
/* What routers and far hosts say to the user network's flows: in a network namespace of its own a tun device leads to
 * 198.51.100.0/24, and the test is all that is there. So UDP, ping sockets and raw ones are the host's own. Needs root. */
#include "user_net.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/route.h>
#include <sys/syscall.h>

#include "net/flow.h"

static const uint8_t OURS[4] = {192, 0, 2, 1}, ROUTER[4] = {192, 0, 2, 77}, FAR[4] = {198, 51, 100, 7};

static void set_in(struct sockaddr *to, const uint8_t *addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, addr, 4);
    memcpy(to, &in, sizeof in);
}

/* -1: not to be had */
static int tun(void)
{
    static int fd = -1;
    if (fd >= 0 || !isolate() || (fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK)) < 0)
        return fd;
    struct ifreq r = {.ifr_name = "t0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    struct rtentry route = {.rt_flags = RTF_UP, .rt_dev = r.ifr_name};
    bool ok = ioctl(fd, TUNSETIFF, &r) == 0;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    set_in(&r.ifr_addr, OURS);
    ok = ok && ioctl(s, SIOCSIFADDR, &r) == 0;
    set_in(&r.ifr_netmask, (const uint8_t[]){255, 255, 255, 0});
    ok = ok && ioctl(s, SIOCSIFNETMASK, &r) == 0;
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    ok = ok && ioctl(s, SIOCSIFFLAGS, &r) == 0;
    set_in(&route.rt_dst, (const uint8_t[]){198, 51, 100, 0});
    set_in(&route.rt_genmask, (const uint8_t[]){255, 255, 255, 0});
    ok = ok && ioctl(s, SIOCADDRT, &route) == 0;
    close(s);
    if (!ok) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Who may open ping sockets; raw ones are root's. false: this kernel does not let us say. */
static bool ping_sockets(bool allowed)
{
    const char *range = allowed ? "0 2147483647" : "1 0";
    int fd = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);
    bool ok = fd >= 0 && write(fd, range, strlen(range)) == (ssize_t)strlen(range);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* The IPv4 packet that went out last, and nothing else did. */
static size_t went_out(int fd, uint8_t *packet)
{
    size_t len = 0;
    uint8_t buf[2048];
    for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
        if (buf[0] == 0x45 && !memcmp(buf + 16, FAR, 4)) { /* not the kernel's own IPv6 */
            CHECK_EQ(len, 0);
            len = (size_t)n;
            memcpy(packet, buf, len);
        }
    return len;
}

static void comes_in(int fd, uint8_t proto, const uint8_t *from, const void *l4, size_t len)
{
    uint8_t f[2048];
    size_t n = make4(f, proto, from, OURS, l4, len);
    CHECK_EQ(write(fd, f + ETH_HEADER, n - ETH_HEADER), (ssize_t)(n - ETH_HEADER));
}

/* An ICMP error of the router's about the packet. */
static void error_comes(struct bed *b, int fd, uint8_t type, uint8_t code, const uint8_t *packet)
{
    uint8_t l4[8 + 28] = {type, code};
    memcpy(l4 + 8, packet, 28);
    comes_in(fd, IP_ICMP, ROUTER, l4, sizeof l4);
    bed_run(b);
}

/* A packet of the guest's with this hop limit. */
static void send_hops(struct bed *b, uint8_t proto, uint8_t hops, const void *l4, size_t len)
{
    uint8_t f[200];
    size_t n = make4(f, proto, GUEST, FAR, l4, len);
    f[22] = hops;
    memset(f + 24, 0, 2);
    set16(f + 24, 0);
    uint16_t sum = (uint16_t)~sum_of(f + 14, 20);
    memcpy(f + 24, &sum, 2);
    bed_send(b, f, n);
}

/* The last frame is that error, from there, about what the guest sent: its ports or identifier and number. */
static void told(struct bed *b, uint8_t type, uint8_t code, const uint8_t *from, uint8_t proto, uint16_t a,
                 uint16_t c)
{
    CHECK(last_is_error(b, type, code));
    CHECK(!memcmp(last_frame(b) + 26, from, 4));
    uint8_t *q = last_l4(b) + 8;
    CHECK(q[9] == proto && !memcmp(q + 12, GUEST, 4) && !memcmp(q + 16, FAR, 4));
    CHECK_EQ(get16(q + 20 + (proto == IP_UDP ? 0 : 4)), a);
    CHECK_EQ(get16(q + 20 + (proto == IP_UDP ? 2 : 6)), c);
}

TEST(traceroute_by_udp_hears_from_each_router)
{
    uint8_t packet[2048], udp[12] = {0x15, 0xb3, 0x82, 0x9a, 0, 12};
    int fd = tun();
    if (fd < 0)
        SKIP("no tun device in a network namespace here");
    struct bed *b = bed_new(NULL);
    for (unsigned hops = 2; hops < 6; hops++) {
        send_hops(b, IP_UDP, (uint8_t)hops, udp, sizeof udp);
        CHECK_EQ(went_out(fd, packet), 32);
        CHECK_EQ(packet[8], hops - 1);
        b->got = 0;
        error_comes(b, fd, 11, 0, packet);
        CHECK_EQ(b->got, 1);
        told(b, 11, 0, ROUTER, IP_UDP, 0x15b3, 0x829a);
    }
    /* the far end itself; and a hop limit that no traceroute has is the host's own */
    send_hops(b, IP_UDP, 64, udp, sizeof udp);
    CHECK_EQ(went_out(fd, packet), 32);
    CHECK_EQ(packet[8], 64);
    error_comes(b, fd, 3, 3, packet);
    told(b, 3, 3, FAR, IP_UDP, 0x15b3, 0x829a);
    bed_free(b);
}

static void pings(bool raw)
{
    uint8_t packet[2048], echo[24] = {8, 0, 0, 0, 0x12, 0x34, 0, 7, 'd', 'a', 't', 'a'};
    int fd = tun();
    if (fd < 0 || !ping_sockets(!raw))
        SKIP("no tun device in a network namespace here");
    struct bed *b = bed_new(NULL);
    send_hops(b, IP_ICMP, 64, echo, sizeof echo);
    CHECK_EQ(went_out(fd, packet), 44);
    CHECK(b->user->flows->n == 1 && b->user->flows->ends.newer->raw == raw);
    CHECK(packet[20] == 8 && get16(packet + 26) == 7 && !memcmp(packet + 28, "data", 4));
    CHECK_EQ(sum_of(packet + 20, 24), 0xffff);
    /* somebody else's answer is not ours; ours is, under the guest's identifier */
    packet[20] = 0;
    packet[24] ^= 1;
    comes_in(fd, IP_ICMP, FAR, packet + 20, 24);
    bed_run(b);
    CHECK_EQ(b->got, 0);
    packet[24] ^= 1;
    comes_in(fd, IP_ICMP, ROUTER, packet + 20, 24); /* nor what another host says */
    bed_run(b);
    CHECK_EQ(b->got, 0);
    comes_in(fd, IP_ICMP, FAR, packet + 20, 24);
    bed_run(b);
    CHECK_EQ(b->got, 1);
    uint8_t *l4 = last_l4(b);
    CHECK(l4[0] == 0 && get16(l4 + 4) == 0x1234 && get16(l4 + 6) == 7 && !memcmp(l4 + 8, "data", 4));
    CHECK(!memcmp(last_frame(b) + 26, FAR, 4) && sum_of(l4, 24) == 0xffff);
    /* traceroute -I, and the errors of a path that ends */
    static const uint8_t errors[][2] = {
        {11, 0 },
        {3,  0 },
        {3,  1 },
        {3,  13}
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        set16(echo + 6, (uint32_t)(20 + i));
        b->got = 0;
        send_hops(b, IP_ICMP, 3, echo, sizeof echo);
        CHECK_EQ(went_out(fd, packet), 44);
        CHECK_EQ(packet[8], 2);
        error_comes(b, fd, errors[i][0], errors[i][1], packet);
        CHECK_EQ(b->got, 1);
        told(b, errors[i][0], errors[i][1], errors[i][0] == 11 ? ROUTER : FAR, IP_ICMP, 0x1234,
             (uint16_t)(20 + i));
    }
    /* a dead host is dead */
    b->got = 0;
    send_hops(b, IP_ICMP, 64, echo, sizeof echo);
    CHECK_EQ(went_out(fd, packet), 44);
    bed_wait(b, 11000000000);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->flows->n, 0);
    bed_free(b);
}

TEST(ping_by_ping_sockets)
{
    pings(false);
}

TEST(ping_by_raw_sockets)
{
    pings(true);
}

/* This thread's effective right to raw sockets. */
static void raw_sockets(bool allowed)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    CHECK_EQ(syscall(SYS_capget, &head, data), 0);
    if (allowed)
        data[0].effective |= 1u << CAP_NET_RAW;
    else
        data[0].effective &= ~(1u << CAP_NET_RAW);
    CHECK_EQ(syscall(SYS_capset, &head, data), 0);
}

TEST(ping_that_the_host_does_not_allow_is_prohibited_and_said_once)
{
    uint8_t packet[2048], echo[24] = {8, 0, 0, 0, 0x12, 0x34, 0, 7};
    int fd = tun();
    if (fd < 0 || !ping_sockets(false))
        SKIP("no tun device in a network namespace here");
    struct bed *b = bed_new(NULL);
    raw_sockets(false);
    for (int i = 0; i < 3; i++) {
        b->got = 0;
        send_hops(b, IP_ICMP, 64, echo, sizeof echo);
        CHECK_EQ(b->got, 1);
        told(b, 3, 13, HOST, IP_ICMP, 0x1234, 7);
    }
    raw_sockets(true);
    CHECK(b->user->ping_told);
    CHECK_EQ(b->user->drops[USER_DROP_SOCKETS], 3);
    CHECK_EQ(went_out(fd, packet), 0);
    bed_free(b);
}
