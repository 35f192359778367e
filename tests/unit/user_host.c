// SPDX-License-Identifier: MIT
/* What the host's side does to the user network, in a network namespace of its own: paths with small MTUs, no route,
 * floods on a forward; rows T6 and U11's SYN part. */
#include "user_net.h"

#include <sys/resource.h>

#include "net/flow.h"
#include "net/tcp.h"

static void set_lo_mtu(int mtu)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_mtu = mtu};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_EQ(ioctl(fd, SIOCSIFMTU, &lo), 0);
    close(fd);
}

TEST(udp_too_big_for_the_path_is_told_with_the_size_that_fits)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    uint16_t port;
    static uint8_t data[1472], got[2000];
    int fd = host_socket(SOCK_DGRAM, &port);
    struct bed *b = bed_new(NULL);
    set_lo_mtu(1300);                                  /* not below 1280: IPv6 would leave */
    send_udp4(b, 5555, HOST, port, data, sizeof data); /* with DF, as make4() sets it */
    bed_run(b);
    CHECK(last_is_error(b, 3, 4));
    CHECK_EQ(get16(last_l4(b) + 6), 1300);
    CHECK_EQ(get32(last_l4(b) + 4), 1300); /* the upper half is unused, and 0 */
    CHECK_EQ(get16(last_l4(b) + 8 + 20), 5555);
    CHECK_EQ(recv(fd, got, sizeof got, 0), -1);
    send_udp4(b, 5555, HOST, port, data, 900);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 900);
    /* without DF the host cuts it */
    uint8_t f[1600], l4[1480] = {0x15, 0xb3, (uint8_t)(port >> 8), (uint8_t)port, 1480 >> 8, 1480 & 255};
    size_t len = make4(f, IP_UDP, GUEST, HOST, l4, sizeof l4);
    set16(f + 20, 0);
    memset(f + 24, 0, 2);
    uint16_t sum = (uint16_t)~sum_of(f + 14, 20);
    memcpy(f + 24, &sum, 2);
    bed_send(b, f, len);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 1472);
    set_lo_mtu(65536);
    close(fd);
    bed_free(b);
}

TEST(no_route_is_told_as_network_unreachable)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    struct bed *b = bed_new(NULL);
    send_udp4(b, 5555, (const uint8_t[]){198, 51, 100, 7}, 80, "x", 1);
    CHECK(last_is_error(b, 3, 0));
    uint8_t echo[20] = {8};
    b->got = 0;
    send4(b, IP_ICMP, GUEST, (const uint8_t[]){198, 51, 100, 7}, echo, sizeof echo);
    CHECK(last_is_error(b, 3, 0) || last_is_error(b, 3, 13)); /* … or ping is not allowed at all */
    CHECK_EQ(b->user->flows->n, 0);
    bed_free(b);
}

/* Gives this namespace's loopback one more address. */
static void add_address6(const char *text)
{
    struct {
        struct in6_addr addr;
        uint32_t prefix;
        int ifindex;
    } request = {.prefix = 128, .ifindex = (int)if_nametoindex("lo")};
    struct ip_addr a;
    CHECK(ip_parse(text, &a));
    memcpy(&request.addr, a.b, 16);
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    CHECK(fd >= 0 && ioctl(fd, SIOCSIFADDR, &request) == 0);
    close(fd);
    /* the kernel makes it usable in a work of its own: until a datagram gets there */
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(9999), .sin6_addr = request.addr};
    bool usable = false;
    for (int i = 0; i < 1000000 && !usable; i++) {
        char c;
        int to = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0),
            from = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        usable = bind(to, (struct sockaddr *)&in, sizeof in) == 0 &&
                 connect(from, (struct sockaddr *)&in, sizeof in) == 0 && send(from, "x", 1, 0) == 1 &&
                 recv(to, &c, 1, 0) == 1;
        close(to);
        close(from);
        sched_yield();
    }
    CHECK(usable);
}

static void send6(struct bed *b, uint8_t proto, const char *to, uint8_t *l4, size_t len)
{
    uint8_t f[2000];
    struct ip_out o = {.proto = proto};
    CHECK(ip_parse("fd76:6d6c:6574::aa", &o.src) && ip_parse(to, &o.dst));
    memcpy(f, "\x52\x55\x0a\0\x02\x02", 6);
    memcpy(f + 6, guest_mac, 6);
    set16(f + 12, ETH_IPV6);
    ip6_header(f + 14, &o, len, 0, 0, false, false);
    memcpy(f + 54, l4, len);
    uint16_t sum = (uint16_t)~ip_sum_add(sum_of(l4, len), ip_pseudo_sum(&o.src, &o.dst, proto, len));
    memcpy(f + 54 + (proto == IP_UDP ? 6 : 2), &sum, 2);
    bed_send(b, f, 54 + len);
}

TEST(ipv6_udp_and_ping_go_out_and_come_back)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    if (access("/proc/net/if_inet6", R_OK) < 0)
        SKIP("this host has no IPv6");
    add_address6("fd99::1");
    struct bed *b = bed_new(NULL);
    struct sockaddr_in6 in = {.sin6_family = AF_INET6}, from;
    socklen_t len = sizeof in, from_len = sizeof from;
    uint8_t l4[20] = {0x15, 0xb3, 0, 0, 0, 13, 0, 0, 'h', 'e', 'l', 'l', 'o'}, got[100];
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(bind(fd, (struct sockaddr *)&in, sizeof in) == 0 &&
          getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    memcpy(l4 + 2, &in.sin6_port, 2);
    send6(b, IP_UDP, "fd99::1", l4, 13);
    CHECK_EQ(recvfrom(fd, got, sizeof got, 0, (struct sockaddr *)&from, &from_len), 5);
    CHECK_EQ(sendto(fd, "back", 4, 0, (struct sockaddr *)&from, from_len), 4);
    bed_run(b);
    CHECK_EQ(b->got, 1);
    CHECK(get16(last_frame(b) + 12) == ETH_IPV6 && !memcmp(last_frame(b) + 62, "back", 4));
    send6(b, IP_UDP, "fd76:6d6c:6574::2", l4, 13); /* by the gateway: ::1 */
    CHECK_EQ(recvfrom(fd, got, sizeof got, 0, (struct sockaddr *)&from, &from_len), 5);
    CHECK(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
    close(fd);
    bed_wait(b, 1000000);
    b->got = 0;
    send6(b, IP_UDP, "fd99::1", l4, 13); /* nobody any more */
    bed_run(b);
    CHECK(b->got == 1 && last_frame(b)[20] == IP_ICMP6 && last_frame(b)[54] == 1 && last_frame(b)[55] == 4);
    b->got = 0;
    uint8_t echo[24] = {128, 0, 0, 0, 0x12, 0x34, 0, 1, 'x'};
    send6(b, IP_ICMP6, "fd99::1", echo, sizeof echo);
    bed_run(b);
    CHECK_EQ(b->got, 1);
    if (last_frame(b)[54] == 1)
        SKIP("neither ping sockets nor raw sockets are allowed");
    CHECK(last_frame(b)[54] == 129 && get16(last_frame(b) + 58) == 0x1234 && last_frame(b)[62] == 'x');
    bed_free(b);
}

TEST(T6_a_forward_flooded_by_ten_thousand_connections)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    struct bed *b = bed_new(NULL);
    char err[300], spec[60];
    uint16_t port;
    close(host_socket(SOCK_STREAM, &port));
    snprintf(spec, sizeof spec, "tcp:127.0.0.1:%u-:22", port);
    CHECK(user_forward_add(b->user, spec, err, sizeof err));
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    unsigned most = 0, passed = 0;
    for (unsigned i = 0; i < 10000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(fd >= 0);
        connect(fd, (struct sockaddr *)&in, sizeof in);
        bed_run(b);
        if (i % 3)
            b->now += 1000000;
        if (tcp_connections(b->user->tcp) > most)
            most = tcp_connections(b->user->tcp);
        struct linger reset = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        passed += close(fd) == 0; /* rudely, while the guest has not even answered */
    }
    CHECK_EQ(passed, 10000);
    CHECK(most <= TCP_CONNECTIONS);
    bed_wait(b, 600000000000);
    CHECK_EQ(tcp_connections(b->user->tcp), 0);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    bed_free(b);
}

TEST(T6_no_descriptor_for_who_comes_in_does_not_spin)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    struct bed *b = bed_new(NULL);
    struct rlimit old, few;
    char err[300], spec[60];
    uint16_t port;
    close(host_socket(SOCK_STREAM, &port));
    snprintf(spec, sizeof spec, "tcp:127.0.0.1:%u-:22", port);
    CHECK(user_forward_add(b->user, spec, err, sizeof err));
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){(rlim_t)fd + 1, old.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    connect(fd, (struct sockaddr *)&in, sizeof in);
    unsigned passes = 0;
    while (loop_step(b->loop) && passes < 1000)
        passes++;
    CHECK(passes < 10);
    CHECK(b->user->drops[USER_DROP_SOCKETS] == 1);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    bed_wait(b, 1100000000); /* a second later it is tried again */
    CHECK_EQ(tcp_connections(b->user->tcp), 1);
    close(fd);
    bed_free(b);
}

TEST(U11_ten_times_ten_thousand_syns)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    struct bed *b = bed_new(NULL);
    uint8_t l4[20] = {0};
    uint16_t port;
    int fd = host_socket(SOCK_STREAM, &port);
    CHECK_EQ(listen(fd, 16), 0);
    l4[12] = 0x50;
    l4[13] = 2;
    set16(l4 + 2, port);
    for (unsigned i = 0; i < 100000; i++) {
        set16(l4, 1 + i % 65535);
        set32(l4 + 4, i * 7919);
        send4(b, IP_TCP, GUEST, HOST, l4, sizeof l4);
        if (i % 1000 == 0)
            while (close(accept(fd, NULL, NULL)) == 0)
                ;
    }
    CHECK(tcp_connections(b->user->tcp) <= TCP_CONNECTIONS);
    close(fd);
    bed_free(b);
}
