// SPDX-License-Identifier: MIT
/* The user network against who is after more than it gives: ways around the policy, a resolv.conf that is none, a resolver that talks
 * nonsense, a thousand connections that take nothing. In a network namespace of its own. */
#include "user_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tcp.h"

/* lo gets an address more, by an alias; a second one of the same network is "secondary" for the kernel. */
static void lo_address(const char *label, const char *address)
{
    struct ifreq r = {0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", label);
    CHECK_EQ(inet_pton(AF_INET, address, &in.sin_addr), 1);
    memcpy(&r.ifr_addr, &in, sizeof in);
    CHECK_EQ(ioctl(fd, SIOCSIFADDR, &r), 0);
    in.sin_addr.s_addr = htonl(0xffffff00);
    memcpy(&r.ifr_addr, &in, sizeof in);
    CHECK_EQ(ioctl(fd, SIOCSIFNETMASK, &r), 0);
    close(fd);
}

TEST(T7_our_own_ports_are_nobodys_at_any_address_of_the_host)
{
    if (!isolate())
        SKIP("no network namespace may be made here");
    lo_address("lo:1", "192.0.2.1");
    lo_address("lo:2", "192.0.2.2");
    struct bed *b = bed_new(NULL);
    static const struct {
        const char *at;
        enum ip_error verdict;
    } rows[] = {
        {"10.0.2.2",          IP_PROHIBITED},
        {"192.0.2.1",         IP_PROHIBITED},
        {"192.0.2.2",         IP_PROHIBITED}, /* which the kernel reaches from .1 */
        {"127.0.0.2",         IP_PROHIBITED},
        {"fd76:6d6c:6574::2", IP_PROHIBITED},
        {"192.0.2.3",         IP_PROHIBITED}, /* a network of lo is local as a whole */
        {"8.8.8.8",           IP_OK        },
    };
    user_own_port_add(IP_TCP, 1234);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_addr dst;
        struct ip_sock to;
        CHECK(ip_parse(rows[i].at, &dst));
        enum ip_error e = user_policy(b->user, IP_TCP, &dst, 1234, &to);
        if (e != rows[i].verdict)
            printf("%s\n", rows[i].at);
        CHECK_EQ(e, rows[i].verdict);
    }
    user_own_port_remove(IP_TCP, 1234);
    bed_free(b);
}

/* IPv4 in IPv6's clothes, on the wire: nothing answers, nobody is told, no socket is made. */
TEST(T7_mapped_addresses_on_the_wire_go_nowhere)
{
    static const char *const to[] = {"::ffff:127.0.0.1", "::ffff:10.0.2.2", "::ffff:8.8.8.8"};
    struct bed *b = bed_new(NULL);
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        for (unsigned from = 0; from < 2; from++) {
            uint8_t f[54 + 20] = {0};
            struct ip_out o = {.proto = IP_TCP};
            CHECK(ip_parse(from ? "::ffff:10.0.2.15" : "fd76:6d6c:6574::aa", &o.src) &&
                  ip_parse(to[i], &o.dst));
            memcpy(f, "\x52\x55\x0a\0\x02\x02", 6);
            memcpy(f + 6, guest_mac, 6);
            set16(f + 12, ETH_IPV6);
            ip6_header(f + 14, &o, 20, 0, 0, false, false);
            memcpy(f + 54, "\0\x09\0\x50\0\0\0\1\0\0\0\0\x50\2\x20\0\0\0\0\0", 20);
            bed_send(b, f, sizeof f);
        }
    CHECK_EQ(b->user->drops[USER_DROP_SOURCE], 6);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(tcp_connections(b->user->tcp), 0);
    bed_free(b);
}

/* --- resolv.conf */

static char path[64];

static void write_big(void)
{
    FILE *f = fopen(path, "w");
    fputs("nameserver 192.0.2.7\n", f);
    for (long n = 0; n < 10 << 20; n += 19)
        fputs("nameserver 10.10.10\n", f); /* which is none */
    fclose(f);
}
/* The bound cuts a line so that its beginning is another address. */
static void write_cut(void)
{
    FILE *f = fopen(path, "w");
    fputs("nameserver 192.0.2.7\n", f);
    for (int at = 21; at < 16 * 1024 - 20; at++)
        fputs("\n", f);
    fputs("nameserver 192.0.2.77\n", f); /* of these, 20 bytes */
    fclose(f);
}
static void make_fifo(void)
{
    CHECK_EQ(mkfifo(path, 0600), 0);
}
static void make_folder(void)
{
    CHECK_EQ(mkdir(path, 0700), 0);
}
static void make_endless(void)
{
    CHECK_EQ(symlink("/dev/zero", path), 0);
}
static void make_loop(void)
{
    CHECK_EQ(symlink(path, path), 0);
}
static void make_nothing(void) {}

TEST(U10_a_resolv_conf_that_is_none)
{
    static const struct {
        void (*make)(void);
        const char *first;
        int n;
    } rows[] = {
        {write_big,    "192.0.2.7", 1},
        {write_cut,    "192.0.2.7", 1},
        {make_fifo,    "127.0.0.1", 1},
        {make_folder,  "127.0.0.1", 1},
        {make_endless, "127.0.0.1", 1},
        {make_loop,    "127.0.0.1", 1},
        {make_nothing, "127.0.0.1", 1},
        {write_big,    "192.0.2.7", 1}, /* and it is a file again */
    };
    snprintf(path, sizeof path, "/tmp/vmlet-test-resolv-attack-%d", (int)getpid());
    struct bed *b = bed_new(&(struct user_options){.resolv_conf = path});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_addr at;
        uint16_t port;
        char text[IP_ADDR_TEXT];
        unlink(path);
        rmdir(path);
        rows[i].make();
        alarm(10); /* it must not wait for a writer */
        struct ip_sock s = resolv_first(&b->user->resolv);
        alarm(0);
        CHECK(ip_of_sock(&s.sa, &at, &port));
        CHECK_STR(ip_text(&at, text), rows[i].first);
        CHECK_EQ(b->user->resolv.n, rows[i].n);
    }
    unlink(path);
    bed_free(b);
}

/* A resolver that sends ten thousand answers, none of which is: the guest hears a SERVFAIL when the time is up, and of nothing else. */
TEST(U10_a_resolver_that_talks_nonsense_for_ever)
{
    static const uint8_t question[] = {0xab, 0xcd, 1,   0,   0, 1,   0,   0, 0, 0, 0, 0,
                                       3,    'w',  'w', 'w', 2, 'd', 'e', 0, 0, 1, 0, 1};
    if (!isolate())
        SKIP("no network namespace may be made here");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, from;
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(!bind(fd, (struct sockaddr *)&in, len) && !getsockname(fd, (struct sockaddr *)&in, &len));
    struct bed *b =
        bed_new(&(struct user_options){.resolv_conf = "/nowhere", .dns_port = ntohs(in.sin_port)});
    send_udp4(b, 7777, DNS, 53, question, sizeof question);
    uint64_t seed = 4;
    unsigned asked = 0;
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t m[600];
        len = sizeof from;
        if (recvfrom(fd, m, sizeof m, 0, (struct sockaddr *)&from, &len) > 0)
            asked++;
        for (size_t k = 0; k < sizeof m; k++)
            m[k] = (uint8_t)(test_rand(&seed) >> 32);
        sendto(fd, m, test_rand(&seed) % sizeof m, MSG_DONTWAIT, (struct sockaddr *)&from, sizeof from);
        if (i % 8 == 0)
            bed_wait(b, 1000000);
    }
    bed_wait(b, 10000000000);
    CHECK_EQ(asked, 1); /* it is asked again at times, and was drowned by then */
    CHECK_EQ(b->got, 1);
    CHECK_EQ(last_l4(b)[11] & 15, 2);
    CHECK(b->user->drops[USER_DROP_DNS_ANSWER] > 1000);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    close(fd);
    bed_free(b);
}

/* --- TCP: connections that take nothing, for ever */

static void tcp_segment(struct bed *b, uint16_t sport, uint16_t dport, uint32_t seq, uint32_t ack,
                        uint8_t flags, uint16_t window)
{
    uint8_t h[20] = {[12] = 0x50};
    set16(h, sport);
    set16(h + 2, dport);
    set32(h + 4, seq);
    set32(h + 8, ack);
    h[13] = flags;
    set16(h + 14, window);
    send4(b, IP_TCP, GUEST, HOST, h, sizeof h);
}

static size_t resident(void)
{
    unsigned long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%lu %lu", &size, &pages) == 2);
    fclose(f);
    return pages * 4;
}

TEST(T4_T6_a_thousand_closed_windows_cost_a_probe_a_minute_each)
{
    enum {
        MANY = 1000
    };
    if (!isolate())
        SKIP("no network namespace may be made here");
    static uint8_t bytes[4096];
    static int far[MANY];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof in;
    int lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(!bind(lfd, (struct sockaddr *)&in, len) && !listen(lfd, MANY) &&
          !getsockname(lfd, (struct sockaddr *)&in, &len));
    struct bed *b = bed_new(NULL);
    for (unsigned i = 0; i < MANY; i++) {
        unsigned before = b->got = 0;
        tcp_segment(b, (uint16_t)(1024 + i), ntohs(in.sin_port), 100, 0, 2, 0);
        for (int tries = 0; b->got == before && tries < 100000; tries++) {
            usleep(tries ? 100 : 0);
            bed_run(b);
        }
        CHECK_EQ(last_l4(b)[13], 0x12);
        tcp_segment(b, (uint16_t)(1024 + i), ntohs(in.sin_port), 101, get32(last_l4(b) + 4) + 1, 0x10, 0);
        far[i] = accept(lfd, NULL, NULL);
        CHECK(far[i] >= 0);
        CHECK_EQ(send(far[i], bytes, sizeof bytes, MSG_DONTWAIT), sizeof bytes);
        bed_run(b);
    }
    bed_wait(b, 600ull * 1000000000); /* as far apart as they get */
    size_t before = resident();
    uint64_t out = tcp_counter(b->user->tcp, TCP_SEGMENTS_OUT);
    bed_wait(b, 600ull * 1000000000);
    out = tcp_counter(b->user->tcp, TCP_SEGMENTS_OUT) - out;
    /* ten minutes: nobody answers them, so they are given up one by one; until then a probe a minute */
    CHECK(out <= 11 * MANY);
    CHECK_EQ(tcp_counter(b->user->tcp, TCP_BYTES_OUT), 0);
#ifndef SANITIZED
    CHECK(resident() <= before + 256);
#else
    (void)before;
#endif
    bed_wait(b, 3600ull * 1000000000);
    CHECK_EQ(tcp_connections(b->user->tcp), 0);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    for (unsigned i = 0; i < MANY; i++)
        close(far[i]);
    close(lfd);
    bed_free(b);
}
