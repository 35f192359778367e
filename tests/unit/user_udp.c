// SPDX-License-Identifier: MIT
/* UDP flows, fragments, DNS and forwards of the user network, against real sockets on the host's loopback (whose
 * delivery is synchronous) and a fake clock; rows U4, U7, U10, U11, T6, T8. */
#include "user_net.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/flow.h"

/* Takes one datagram; answers with `answer`. -1: none is there. */
static ssize_t host_take(int fd, void *to, size_t room, struct sockaddr_in *from)
{
    socklen_t len = sizeof *from;
    return recvfrom(fd, to, room, 0, (struct sockaddr *)from, &len);
}
static void host_say(int fd, const struct sockaddr_in *to, const void *data, size_t len)
{
    CHECK_EQ(sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof *to), len);
}

TEST(udp_goes_to_the_hosts_loopback_by_the_gateway_and_back)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    uint8_t got[2000];
    struct sockaddr_in from;
    send_udp4(b, 5555, HOST, port, "hello", 5);
    CHECK_EQ(host_take(fd, got, sizeof got, &from), 5);
    CHECK(!memcmp(got, "hello", 5));
    host_say(fd, &from, "world!", 6);
    host_say(fd, &from, "", 0);
    bed_run(b);
    CHECK_EQ(b->got, 2);
    uint8_t *ip = b->frames[0].frame + 14;
    CHECK(!memcmp(ip + 12, HOST, 4) && !memcmp(ip + 16, GUEST, 4));
    CHECK(get16(ip + 20) == port && get16(ip + 22) == 5555 && get16(ip + 24) == 14 &&
          !memcmp(ip + 28, "world!", 6));
    struct ip_addr src = ip_addr4(HOST), dst = ip_addr4(GUEST);
    CHECK_EQ(ip_sum_add(sum_of(ip + 20, 14), ip_pseudo_sum(&src, &dst, IP_UDP, 14)), 0xffff);
    CHECK_EQ(get16(last_l4(b) + 4), 8);
    CHECK_EQ(b->user->flows->n, 1);
    close(fd);
    bed_free(b);
}

TEST(udp_nobody_is_there_is_told_by_icmp)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    close(host_socket(SOCK_DGRAM, &port));
    send_udp4(b, 5555, HOST, port, "hello", 5);
    bed_run(b);
    CHECK(last_is_error(b, 3, 3));
    uint8_t *q = last_l4(b) + 8;
    CHECK(q[9] == IP_UDP && !memcmp(q + 16, HOST, 4) && get16(q + 20) == 5555 && get16(q + 22) == port);
    CHECK(!memcmp(last_frame(b) + 26, HOST, 4));
    b->got = 0;
    send_udp4(b, 5555, HOST, port, "again", 5); /* the flow lives, and tells again */
    bed_run(b);
    CHECK_EQ(b->got, 1);
    CHECK(last_is_error(b, 3, 3));
    bed_free(b);
}

TEST(udp_what_policy_refuses_is_told_by_icmp)
{
    struct bed *b = bed_new(NULL);
    send_udp4(b, 5555, (const uint8_t[]){169, 254, 169, 254}, 80, "x", 1);
    CHECK(last_is_error(b, 3, 13));
    send_udp4(b, 5555, (const uint8_t[]){127, 0, 0, 1}, 80, "x", 1);
    CHECK(last_is_error(b, 3, 13));
    send_udp4(b, 5555, (const uint8_t[]){10, 0, 2, 99}, 80, "x", 1);
    CHECK(last_is_error(b, 3, 1));
    send_udp4(b, 5555, DNS, 80, "x", 1);
    CHECK(last_is_error(b, 3, 3));
    b->got = 0;
    send_udp4(b, 5555, (const uint8_t[]){255, 255, 255, 255}, 80, "x", 1);
    send_udp4(b, 5555, (const uint8_t[]){224, 0, 0, 251}, 5353, "x", 1);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_MULTICAST], 2);
    CHECK_EQ(b->user->flows->n, 0);
    bed_free(b);
}

TEST(udp_flows_end_after_their_time_and_then_nothing_wakes)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    struct sockaddr_in from;
    char got[10];
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    send_udp4(b, 5555, HOST, port, "a", 1);
    send_udp4(b, 5556, HOST, port, "b", 1);
    CHECK_EQ(host_take(fd, got, 10, &from), 1);
    host_say(fd, &from, "x", 1);
    bed_run(b);
    bed_wait(b, 31000000000);
    CHECK_EQ(b->user->flows->n, 1); /* that one was answered */
    bed_wait(b, 180000000000);
    CHECK_EQ(b->user->flows->n, 0);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    close(fd);
    bed_free(b);
}

TEST(udp_from_the_host_waits_while_the_card_has_no_room)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    struct sockaddr_in from[2];
    char got[10];
    for (int i = 0; i < 2; i++) {
        send_udp4(b, (uint16_t)(5555 + i), HOST, port, "a", 1);
        CHECK_EQ(host_take(fd, got, 10, &from[i]), 1);
    }
    b->full = true;
    for (uint8_t i = 0; i < 40; i++) {
        host_say(fd, &from[i & 1], &i, 1);
        bed_run(b); /* and nobody spins */
    }
    CHECK_EQ(b->got, 0);
    b->full = false;
    port_ready(&b->card);
    bed_run(b);
    CHECK_EQ(b->got, 40);
    uint8_t next[2] = {0, 1};
    for (int i = 0; i < 40; i++) { /* each flow's in order */
        uint8_t *l4 = b->frames[i].frame + 34;
        int which = get16(l4 + 2) - 5555;
        CHECK_EQ(l4[8], next[which]);
        next[which] = (uint8_t)(next[which] + 2);
    }
    close(fd);
    bed_free(b);
}

TEST(U7_udp_lengths_and_ports_that_lie)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    uint8_t l4[28] = {0x15, 0xb3, (uint8_t)(port >> 8), (uint8_t)port, 0, 28};
    uint8_t got[100];
    struct sockaddr_in from;
    unsigned n = 0;
    for (size_t len = 0; len < 8; len++, n++)
        send4(b, IP_UDP, GUEST, HOST, l4, len);
    static const uint16_t lengths[] = {0, 1, 7, 29, 65535};
    for (int i = 0; i < 5; i++, n++) {
        set16(l4 + 4, lengths[i]);
        send4(b, IP_UDP, GUEST, HOST, l4, sizeof l4);
    }
    set16(l4 + 4, 28);
    set16(l4, 0);
    send4(b, IP_UDP, GUEST, HOST, l4, sizeof l4);
    set16(l4, 5555);
    set16(l4 + 2, 0);
    send4(b, IP_UDP, GUEST, HOST, l4, sizeof l4);
    CHECK_EQ(b->user->drops[USER_DROP_UDP], n + 2);
    CHECK_EQ(b->user->flows->n, 0);
    set16(l4 + 2, port);
    uint8_t f[100];
    size_t len = make4(f, IP_UDP, GUEST, HOST, l4, sizeof l4);
    f[50] ^= 1;
    bed_send(b, f, len);
    CHECK_EQ(b->user->drops[USER_DROP_CHECKSUM], 1);
    /* shorter than IP says: the rest is not data (its checksum is 0: none) */
    set16(l4 + 4, 12);
    len = make4(f, IP_UDP, GUEST, HOST, l4, sizeof l4);
    memset(f + 40, 0, 2);
    bed_send(b, f, len);
    CHECK_EQ(host_take(fd, got, sizeof got, &from), 4);
    close(fd);
    bed_free(b);
}

/* --- fragments */

static void send_fragment(struct bed *b, uint16_t id, const uint8_t *l4, size_t at, size_t len, bool more)
{
    uint8_t f[1600];
    size_t n = make4(f, 200, GUEST, HOST, l4 + at, len); /* 200: the checksum field is left alone */
    memcpy(f + 34, l4 + at, len);
    f[23] = IP_UDP;
    set16(f + 18, id);
    set16(f + 20, (uint32_t)(at / 8 | (more ? IP4_MF : 0)));
    memset(f + 24, 0, 2);
    uint16_t sum = (uint16_t)~sum_of(f + 14, 20);
    memcpy(f + 24, &sum, 2);
    bed_send(b, f, n);
}

/* A UDP datagram of `len` bytes in all, without a checksum. */
static uint8_t *datagram(uint16_t port, size_t len)
{
    static uint8_t l4[65536 + 200];
    set16(l4, 5555);
    set16(l4 + 2, port);
    set16(l4 + 4, (uint32_t)len);
    set16(l4 + 6, 0);
    for (size_t i = 8; i < len; i++)
        l4[i] = (uint8_t)(i * 11 + (i >> 8));
    return l4;
}

TEST(fragments_in_any_order_are_one_datagram)
{
    struct bed *b = bed_new(NULL);
    static uint8_t got[70000];
    struct sockaddr_in from;
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    uint64_t seed = 7;
    size_t lens[] = {1481, 3000, 20000, 65515};
    for (unsigned round = 0; round < 12; round++) {
        size_t len = lens[round % 4];
        uint8_t *l4 = datagram(port, len);
        unsigned n = (unsigned)((len + 1479) / 1480), order[64];
        for (unsigned i = 0; i < n; i++)
            order[i] = i;
        for (unsigned i = n; i > 1; i--) {
            unsigned k = (unsigned)(test_rand(&seed) % i), t = order[i - 1];
            order[i - 1] = order[k];
            order[k] = t;
        }
        for (unsigned i = 0; i < n; i++) {
            size_t at = order[i] * 1480u, part = len - at < 1480 ? len - at : 1480;
            send_fragment(b, (uint16_t)round, l4, at, part, at + part < len);
            if (test_rand(&seed) % 4 == 0 && i + 1 < n)
                send_fragment(b, (uint16_t)round, l4, at, part, at + part < len); /* twice */
        }
        CHECK_EQ(host_take(fd, got, sizeof got, &from), len - 8);
        CHECK(!memcmp(got, l4 + 8, len - 8));
    }
    bed_wait(b, 60000000000);
    CHECK_EQ(b->user->drops[USER_DROP_FRAGMENT_TIME], 0);
    close(fd);
    bed_free(b);
}

TEST(U4_fragments_that_overlap_lie_or_never_finish)
{
    struct bed *b = bed_new(NULL);
    struct sockaddr_in from;
    uint8_t got[100];
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    uint8_t *l4 = datagram(port, 3000);
    /* overlap in part */
    send_fragment(b, 1, l4, 0, 1480, true);
    send_fragment(b, 1, l4, 1472, 1480, true);
    CHECK_EQ(b->user->drops[USER_DROP_FRAGMENT], 1);
    send_fragment(b, 1, l4, 1480, 1520, false); /* the rest finds nothing any more */
    /* the end before what came, two ends, beyond the end */
    send_fragment(b, 2, l4, 1480, 16, true);
    send_fragment(b, 2, l4, 8, 100, false);
    send_fragment(b, 3, l4, 1480, 20, false);
    send_fragment(b, 3, l4, 2960, 40, false);
    send_fragment(b, 4, l4, 1480, 20, false);
    send_fragment(b, 4, l4, 2960, 40, true);
    CHECK_EQ(b->user->drops[USER_DROP_FRAGMENT], 4);
    /* not a multiple of 8; none at all; beyond 64 KiB */
    send_fragment(b, 5, l4, 0, 1479, true);
    send_fragment(b, 5, l4, 0, 0, true);
    send_fragment(b, 5, l4, 65528, 100, false);
    send_fragment(b, 5, l4, 65512, 24, false);
    CHECK_EQ(b->user->drops[USER_DROP_FRAGMENT], 8);
    CHECK_EQ(host_take(fd, got, sizeof got, &from), -1);
    CHECK_EQ(b->got, 0);
    /* 10^5 that never finish: sixteen wait, and the sender of those that began is told */
    for (unsigned i = 0; i < 100000; i++)
        send_fragment(b, (uint16_t)(1000 + i), l4, i & 1 ? 0 : 1480, 1480, true);
    uint64_t room = b->user->drops[USER_DROP_FRAGMENT_ROOM];
    CHECK(room >= 100000 - 16 && room <= 100000);
    bed_wait(b, 31000000000);
    CHECK_EQ(b->user->drops[USER_DROP_FRAGMENT_TIME], 16);
    CHECK_EQ(b->got, 8);
    CHECK(last_is_error(b, 11, 1));
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    /* and the same id again works */
    send_fragment(b, 1000, l4, 1480, 1520, false);
    send_fragment(b, 1000, l4, 0, 1480, true);
    CHECK_EQ(host_take(fd, got, sizeof got, &from), 100);
    close(fd);
    bed_free(b);
}

TEST(udp_larger_than_the_mtu_reaches_the_guest_in_fragments)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port);
    static uint8_t big[9000], whole[9008];
    struct sockaddr_in from;
    send_udp4(b, 5555, HOST, port, "x", 1);
    CHECK_EQ(host_take(fd, big, 10, &from), 1);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 3);
    host_say(fd, &from, big, sizeof big);
    bed_run(b);
    CHECK_EQ(b->got, 7);
    for (unsigned i = 0; i < b->got; i++) {
        uint8_t *ip = b->frames[i].frame + 14;
        size_t at = (get16(ip + 6) & IP4_OFFSET) * 8u, len = get16(ip + 2) - 20u;
        CHECK(at + len <= sizeof whole);
        memcpy(whole + at, ip + 20, len);
    }
    CHECK(!memcmp(whole + 8, big, sizeof big));
    struct ip_addr src = ip_addr4(HOST), dst = ip_addr4(GUEST);
    CHECK_EQ(ip_sum_add(sum_of(whole, sizeof whole), ip_pseudo_sum(&src, &dst, IP_UDP, sizeof whole)),
             0xffff);
    close(fd);
    bed_free(b);
}

TEST(U11_65k_flows_and_no_descriptors)
{
    struct rlimit old, few = {64, 64};
    struct bed *b;
    uint16_t port;
    int fd = host_socket(SOCK_DGRAM, &port), first = dup(fd);
    close(first);
    b = bed_new(NULL); /* which raises the limit */
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few.rlim_max = old.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    int filler[64], n = 0; /* other parts of the process took the rest */
    while (n < 64 && (filler[n] = dup(fd)) >= 0)
        n++;
    close(filler[--n]);
    close(filler[--n]);
    char got[10];
    struct sockaddr_in from;
    for (unsigned i = 1; i < 65536; i++) {
        send_udp4(b, (uint16_t)i, HOST, port, "x", 1);
        CHECK_EQ(host_take(fd, got, sizeof got, &from), 1);
        CHECK(b->user->flows->n <= 2);
    }
    CHECK_EQ(b->user->flows->n, 2);
    CHECK_EQ(b->user->drops[USER_DROP_FLOW_ROOM], 65535 - 2);
    while (n > 0)
        close(filler[--n]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (unsigned i = 1; i <= b->user->flows->max + 100; i++) {
        send_udp4(b, (uint16_t)i, HOST, port, "x", 1);
        host_take(fd, got, sizeof got, &from);
    }
    CHECK_EQ(b->user->flows->n, b->user->flows->max);
    bed_free(b);
    int next = dup(fd); /* nothing leaked */
    CHECK(next <= first);
    close(next);
    close(fd);
}

/* --- DNS */

struct dns_bed {
    struct bed *b;
    int fd[2];
    char path[64];
};

/* Two resolvers, 127.0.0.1 and 127.0.0.2, on the same port. */
static struct dns_bed dns_bed(bool restricted)
{
    struct dns_bed d;
    uint16_t port;
    d.fd[0] = host_socket(SOCK_DGRAM, &port);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000002)}};
    d.fd[1] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(bind(d.fd[1], (struct sockaddr *)&in, sizeof in), 0);
    snprintf(d.path, sizeof d.path, "/tmp/vmlet-test-resolv-%d", (int)getpid());
    FILE *f = fopen(d.path, "w");
    fputs("# a comment\nsearch example.org\nnameserver 127.0.0.1\nnameserver\t127.0.0.2 \nnameserver "
          "nonsense\n",
          f);
    fclose(f);
    struct user_options o = {.resolv_conf = d.path, .dns_port = port, .restricted = restricted};
    d.b = bed_new(&o);
    return d;
}

static void dns_bed_free(struct dns_bed *d)
{
    bed_free(d->b);
    close(d->fd[0]);
    close(d->fd[1]);
    unlink(d->path);
}

static const uint8_t question[] = {0xab, 0xcd, 1,   0,   0, 1,   0,   0, 0, 0, 0, 0,
                                   3,    'w',  'w', 'w', 2, 'd', 'e', 0, 0, 1, 0, 1};

TEST(dns_asks_the_first_resolver_and_gives_the_answer_back_under_the_guests_number)
{
    struct dns_bed d = dns_bed(false);
    uint8_t got[600];
    struct sockaddr_in from;
    send_udp4(d.b, 7777, DNS, 53, question, sizeof question);
    CHECK_EQ(host_take(d.fd[0], got, sizeof got, &from), sizeof question);
    CHECK(!memcmp(got + 2, question + 2, sizeof question - 2));
    got[2] |= 0x80;
    got[7] = 1;
    memcpy(got + sizeof question, "record", 6);
    host_say(d.fd[0], &from, got, sizeof question + 6);
    bed_run(d.b);
    CHECK_EQ(d.b->got, 1);
    uint8_t *l4 = last_l4(d.b);
    CHECK(get16(l4) == 53 && get16(l4 + 2) == 7777 && get16(l4 + 8) == 0xabcd && l4[10] & 0x80);
    CHECK(!memcmp(l4 + 8 + sizeof question, "record", 6) && !memcmp(last_frame(d.b) + 26, DNS, 4));
    CHECK_EQ(host_take(d.fd[1], got, sizeof got, &from), -1);
    bed_wait(d.b, 10000000000);
    CHECK_EQ(loop_next(d.b->loop), LOOP_NEVER);
    dns_bed_free(&d);
}

TEST(dns_goes_to_the_next_resolver_when_one_is_silent_or_gone_or_cannot)
{
    struct dns_bed d = dns_bed(false);
    uint8_t got[600];
    struct sockaddr_in from;
    send_udp4(d.b, 7777, DNS, 53, question, sizeof question);
    CHECK_EQ(host_take(d.fd[0], got, sizeof got, &from), sizeof question);
    bed_wait(d.b, 1600000000);
    CHECK_EQ(host_take(d.fd[1], got, sizeof got, &from), sizeof question); /* silent */
    got[2] |= 0x80;
    host_say(d.fd[1], &from, got, sizeof question);
    bed_run(d.b);
    CHECK_EQ(d.b->got, 1);
    send_udp4(d.b, 7778, DNS, 53, question, sizeof question); /* that one first now */
    CHECK_EQ(host_take(d.fd[1], got, sizeof got, &from), sizeof question);
    got[2] |= 0x80;
    got[3] = 2; /* SERVFAIL */
    host_say(d.fd[1], &from, got, sizeof question);
    bed_run(d.b);
    CHECK_EQ(host_take(d.fd[0], got, sizeof got, &from), sizeof question);
    got[2] |= 0x80;
    host_say(d.fd[0], &from, got, sizeof question);
    bed_run(d.b);
    CHECK_EQ(d.b->got, 2);
    CHECK_EQ(last_l4(d.b)[11] & 15, 0);
    close(d.fd[0]); /* gone: at once */
    d.fd[0] = open("/dev/null", O_RDONLY);
    send_udp4(d.b, 7779, DNS, 53, question, sizeof question);
    bed_run(d.b);
    CHECK_EQ(host_take(d.fd[1], got, sizeof got, &from), sizeof question);
    /* nobody at all: SERVFAIL in the end */
    d.b->got = 0;
    bed_wait(d.b, 20000000000);
    CHECK_EQ(d.b->got, 1);
    CHECK(last_l4(d.b)[10] & 0x80 && (last_l4(d.b)[11] & 15) == 2 && get16(last_l4(d.b) + 8) == 0xabcd);
    CHECK_EQ(loop_next(d.b->loop), LOOP_NEVER);
    dns_bed_free(&d);
}

TEST(dns_bare_header_is_an_answer_if_it_says_why)
{
    struct dns_bed d = dns_bed(false);
    uint8_t got[600];
    struct sockaddr_in from;
    send_udp4(d.b, 7777, DNS, 53, question, sizeof question);
    CHECK_EQ(host_take(d.fd[0], got, sizeof got, &from), sizeof question);
    got[2] |= 0x80;
    got[4] = got[5] = 0; /* no question */
    host_say(d.fd[0], &from, got, 12);
    bed_run(d.b);
    CHECK_EQ(d.b->got, 0);
    got[3] = 1; /* FORMERR: who knows no EDNS */
    host_say(d.fd[0], &from, got, 12);
    bed_run(d.b);
    CHECK_EQ(d.b->got, 1);
    CHECK_EQ(get16(last_l4(d.b) + 8), 0xabcd);
    CHECK_EQ(last_l4(d.b)[11] & 15, 1);
    CHECK_EQ(last_l4_len(d.b), 8 + 12);
    dns_bed_free(&d);
}

TEST(dns_reads_resolv_conf_again_when_it_changed)
{
    struct dns_bed d = dns_bed(false);
    uint8_t got[600];
    struct sockaddr_in from;
    char other[80];
    snprintf(other, sizeof other, "%s.new", d.path);
    FILE *f = fopen(other, "w");
    fputs("nameserver 127.0.0.2", f);
    fclose(f);
    CHECK_EQ(rename(other, d.path), 0);
    send_udp4(d.b, 7777, DNS, 53, question, sizeof question);
    CHECK_EQ(host_take(d.fd[1], got, sizeof got, &from), sizeof question);
    struct ip_addr dns = ip_addr4(DNS), to;
    struct ip_sock s;
    uint16_t port;
    CHECK_EQ(user_policy(d.b->user, IP_TCP, &dns, 53, &s), IP_OK); /* TCP goes there too */
    CHECK(ip_of_sock(&s.sa, &to, &port) && to.b[15] == 2);
    dns_bed_free(&d);
}

TEST(dns_under_restrict_is_refused_at_once)
{
    struct dns_bed d = dns_bed(true);
    send_udp4(d.b, 7777, DNS, 53, question, sizeof question);
    CHECK_EQ(d.b->got, 1);
    CHECK_EQ(last_l4(d.b)[11] & 15, 5);
    dns_bed_free(&d);
}

TEST(U10_dns_queries_and_answers_that_are_none)
{
    struct dns_bed d = dns_bed(false);
    struct bed *b = d.b;
    uint8_t m[2000] = {0}, got[600];
    struct sockaddr_in from;
    unsigned n = 0;
    for (size_t len = 0; len < sizeof question; len++, n++) /* 12 bytes only, names that do not end … */
        send_udp4(b, 7777, DNS, 53, question, len);
    static const struct {
        int at;
        uint8_t value;
    } rows[] = {
        {2,  0x81}, /* an answer */
        {4,  0xff}, /* qdcount */
        {5,  0   },
        {5,  2   },
        {12, 64  }, /* a label of 64 */
        {12, 0xc0}, /* a pointer, to itself */
        {12, 255 },
        {16, 200 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, n++) {
        memcpy(m, question, sizeof question);
        m[rows[i].at] = rows[i].value;
        if (rows[i].value == 0xc0)
            m[13] = 12;
        send_udp4(b, 7777, DNS, 53, m, sizeof question);
    }
    memcpy(m, question, 12);
    memset(m + 12, 63, 1000); /* a name of a thousand bytes */
    send_udp4(b, 7777, DNS, 53, m, 1100);
    send_udp4(b, 7777, DNS, 53, question, sizeof question); /* … and a good one */
    memcpy(m, question, sizeof question);
    send_udp4(b, 7778, DNS, 53, m, sizeof m); /* too long */
    CHECK_EQ(b->user->drops[USER_DROP_DNS], n + 2);
    CHECK_EQ(b->got, 0);
    /* answers with another number, another question, too short; from elsewhere */
    CHECK_EQ(host_take(d.fd[0], got, sizeof got, &from), sizeof question);
    got[2] |= 0x80;
    for (int at = 0; at < 24; at++) {
        if (at == 2 || at == 3 || (at >= 6 && at < 12))
            continue;
        got[at] ^= 1;
        host_say(d.fd[0], &from, got, sizeof question);
        got[at] ^= 1;
    }
    for (size_t len = 0; len < sizeof question; len++)
        host_say(d.fd[0], &from, got, len);
    got[2] &= 0x7f;
    host_say(d.fd[0], &from, got, sizeof question); /* a question back */
    got[2] |= 0x80;
    host_say(d.fd[1], &from, got,
             sizeof question); /* right, but from another address: the kernel refuses it */
    bed_run(b);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_DNS_ANSWER], 16 + 24 + 1);
    /* what is in the records is not read: it passes as it is, rdlength 65535 and all */
    memset(got + sizeof question, 0xff, 30);
    host_say(d.fd[0], &from, got, sizeof question + 30);
    bed_run(b);
    CHECK_EQ(b->got, 1);
    /* more than there is room for: told SERVFAIL */
    b->got = 0;
    for (unsigned i = 0; i < 1000; i++) {
        memcpy(m, question, sizeof question);
        set16(m, i);
        send_udp4(b, 7777, DNS, 53, m, sizeof question);
    }
    CHECK_EQ(b->user->drops[USER_DROP_DNS_ROOM], 1000 - 128);
    CHECK_EQ(b->got, 1000 - 128);
    CHECK_EQ(b->frames[GOT_MAX - 1].frame[34 + 11] & 15, 2);
    dns_bed_free(&d);
}

/* --- forwards */

TEST(T8_forward_rules_that_are_none)
{
    struct bed *b = bed_new(NULL);
    static const char *const bad[] = {
        "",
        "tcp",
        "tcp:",
        "tcp::",
        "tcp::80",
        "tcp::80-",
        "tcp::80-:",
        "tcp::80-:0",
        "tcp::80-:65536",
        "tcp::65536-:80",
        "tcp::-1-:80",
        "tcp::80-:80x",
        "tcp:: 80-:80",
        "icmp::80-:80",
        "tcp:80-:80",
        "tcp:999.0.0.1:80-:80",
        "tcp:::1:80-:80",
        "tcp:[::1]80-:80",
        "tcp:[::1:80-:80",
        "tcp:[127.0.0.1]:80-:80",
        "tcp::80-8.8.8.8:80",
        "tcp::80-10.0.2.2:80",
        "tcp::80-[fd00::1]:80",
        "tcp::80-[::1]:80",
        "tcp::80-:80-:80",
        "tcp::"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0000000000"
        "000000000000000000000000000000000000000000000000000000000000000000000000080-:80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char err[400] = "";
        if (user_forward_add(b->user, bad[i], err, sizeof err))
            printf("%s\n", bad[i]);
        CHECK(strlen(err) > 20);
        CHECK(!user_forward_remove(b->user, bad[i], err, sizeof err));
    }
    bed_free(b);
}

TEST(T8_the_same_port_twice_and_as_many_as_there_can_be)
{
    struct bed *b = bed_new(NULL);
    char err[400] = "", spec[100];
    uint16_t port;
    close(host_socket(SOCK_DGRAM, &port));
    snprintf(spec, sizeof spec, "udp:127.0.0.1:%u-:7", port);
    CHECK(user_forward_add(b->user, spec, err, sizeof err));
    CHECK(!user_forward_add(b->user, spec, err, sizeof err));
    CHECK(strstr(err, "bind: Address already in use"));
    struct ip_addr gateway = ip_addr4(HOST);
    struct ip_sock to;
    CHECK_EQ(user_policy(b->user, IP_UDP, &gateway, port, &to), IP_PROHIBITED); /* not to itself */
    CHECK(user_forward_remove(b->user, spec, err, sizeof err));
    CHECK_EQ(user_policy(b->user, IP_UDP, &gateway, port, &to), IP_OK);
    CHECK(!user_forward_remove(b->user, spec, err, sizeof err));
    for (int i = 0; i < USER_FORWARDS_MAX; i++)
        CHECK(user_forward_add(b->user, "udp:127.0.0.1:0-:7", err, sizeof err));
    CHECK(!user_forward_add(b->user, "udp:127.0.0.1:0-:7", err, sizeof err));
    CHECK(strstr(err, "as many"));
    bed_free(b);
}

TEST(udp_forward_reaches_the_guest_and_its_answer_the_peer)
{
    struct bed *b = bed_new(NULL);
    char err[400];
    uint8_t got[100];
    uint16_t port, mine;
    struct sockaddr_in from, to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    close(host_socket(SOCK_DGRAM, &port));
    char spec[100];
    snprintf(spec, sizeof spec, "udp:127.0.0.1:%u-:7", port);
    CHECK(user_forward_add(b->user, spec, err, sizeof err));
    to.sin_port = htons(port);
    int fd = host_socket(SOCK_DGRAM, &mine);
    host_say(fd, &to, "knock", 5);
    bed_run(b);
    CHECK_EQ(b->got, 1); /* whose MAC is that? */
    CHECK_EQ(get16(last_frame(b) + 12), ETH_ARP);
    send_udp4(b, 1, (const uint8_t[]){10, 0, 2, 99}, 9, "here",
              4); /* the guest shows itself; what waited is sent */
    CHECK_EQ(b->got, 3);
    uint8_t *ip = b->frames[1].frame + 14;
    CHECK(!memcmp(ip + 12, HOST, 4) && get16(ip + 20) == mine && get16(ip + 22) == 7 &&
          !memcmp(ip + 28, "knock", 5));
    send_udp4(b, 7, HOST, mine, "who is there", 12);
    CHECK_EQ(host_take(fd, got, sizeof got, &from), 12);
    CHECK_EQ(from.sin_port, to.sin_port);
    CHECK_EQ(b->user->flows->n, 1);
    CHECK(user_forward_remove(b->user, spec, err, sizeof err));
    CHECK_EQ(b->user->flows->n, 0);
    close(fd);
    bed_free(b);
}
