// SPDX-License-Identifier: MIT
/* IPv6 and neighbour discovery of the user network; row U5. */
#include "user_net.h"

static struct ip_addr addr(const char *text)
{
    struct ip_addr a;
    CHECK(ip_parse(text, &a));
    return a;
}

static const char LINK[] = "fe80::1:2ff:fe03:405", GLOBAL[] = "fd76:6d6c:6574::aa";

/* `chain`: extension headers, of which the first is of type `first`, in front of the payload. */
static size_t make6(uint8_t *f, const char *src, const char *dst, uint8_t hops, uint8_t first,
                    const void *chain, size_t chain_len, uint8_t proto, const void *l4, size_t len)
{
    struct ip_out o = {.src = addr(src), .dst = addr(dst), .proto = first, .ttl = hops};
    memcpy(f, "\x52\x55\x0a\0\x02\x02", 6);
    memcpy(f + 6, guest_mac, 6);
    set16(f + 12, ETH_IPV6);
    ip6_header(f + 14, &o, chain_len + len, 0, 0, false, false);
    memcpy(f + 54, chain, chain_len);
    uint8_t *to = f + 54 + chain_len;
    memcpy(to, l4, len);
    int at = proto == IP_TCP ? 16 : proto == IP_UDP ? 6 : 2;
    if (len >= (size_t)at + 2) {
        memset(to + at, 0, 2);
        uint16_t sum = (uint16_t)~ip_sum_add(sum_of(to, len), ip_pseudo_sum(&o.src, &o.dst, proto, len));
        memcpy(to + at, &sum, 2);
    }
    return 54 + chain_len + len;
}

static void send6(struct bed *b, const char *src, const char *dst, uint8_t hops, uint8_t proto,
                  const void *l4, size_t len)
{
    uint8_t f[2000];
    bed_send(b, f, make6(f, src, dst, hops, proto, "", 0, proto, l4, len));
}

static uint8_t *last6(struct bed *b)
{
    uint8_t *f = last_frame(b);
    struct ip_addr src = ip_addr6(f + 22), dst = ip_addr6(f + 38);
    size_t len = get16(f + 18);
    CHECK_EQ(get16(f + 12), ETH_IPV6);
    CHECK_EQ(b->frames[b->got - 1].len, 54 + len);
    CHECK_EQ(ip_sum_add(sum_of(f + 54, len), ip_pseudo_sum(&src, &dst, f[20], len)), 0xffff);
    return f + 54;
}

TEST(ipv6_router_is_advertised_when_asked_for)
{
    struct bed *b = bed_new(NULL);
    send6(b, "::", "ff02::2", 255, IP_ICMP6, (uint8_t[8]){133}, 8);
    CHECK_EQ(b->got, 1);
    uint8_t *m = last6(b);
    CHECK(m[0] == 134 && get16(m + 6) == 65535 && last_frame(b)[21] == 255 && last_frame(b)[0] == 0x33);
    CHECK(m[16] == 1 && !memcmp(m + 18, b->user->mac, 6));
    CHECK(m[24] == 3 && m[26] == 64 && m[27] == 0xc0 && !memcmp(m + 40, b->user->net6.b, 16));
    CHECK(m[56] == 5 && get32(m + 60) == 1500 && m[64] == 25 && !memcmp(m + 72, b->user->dns6.b, 16));
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER); /* no timer */
    b->now += 10ull * 3600 * 1000000000;      /* ten hours later the guest looks for its gateway */
    uint8_t ns[24] = {135};
    memcpy(ns + 8, b->user->host6.b, 16);
    send6(b, GLOBAL, "ff02::1:ff00:2", 255, IP_ICMP6, ns, 24);
    CHECK_EQ(b->got, 3);
    CHECK_EQ(b->frames[1].frame[54], 136);
    CHECK_EQ(last6(b)[0], 134); /* and is told again */
    bed_free(b);
}

TEST(ipv6_second_network_has_a_prefix_of_its_own)
{
    static const struct user_options second = {.subnet6 = 1};
    static const char GUEST6[] = "fd76:6d6c:6574:1::aa", GATEWAY6[] = "fd76:6d6c:6574:1::2";
    struct bed *b = bed_new(&second);
    struct ip_addr gateway;
    send6(b, "::", "ff02::2", 255, IP_ICMP6, (uint8_t[8]){133}, 8);
    CHECK_EQ(b->got, 1);
    uint8_t *m = last6(b);
    CHECK(ip_parse(GATEWAY6, &gateway));
    CHECK(m[24] == 3 && m[26] == 64 && !memcmp(m + 40, gateway.b, 8));
    CHECK(m[64] == 25 && !memcmp(m + 72, gateway.b, 8) && m[72 + 15] == 3);
    uint8_t echo[16] = {128, 0, 0, 0, 0, 1, 0, 1};
    b->got = 0;
    send6(b, GUEST6, GATEWAY6, 64, IP_ICMP6, echo, sizeof echo);
    CHECK_EQ(b->got, 1);
    CHECK_EQ(last6(b)[0], 129);
    bed_free(b);
}

TEST(ipv6_neighbours_are_ours_and_no_others)
{
    struct bed *b = bed_new(NULL);
    static const char *const ours[] = {"fd76:6d6c:6574::2", "fd76:6d6c:6574::3", "fe80::2"};
    uint8_t ns[32] = {135};
    ns[24] = 1, ns[25] = 1;
    for (int i = 0; i < 3; i++) {
        struct ip_addr a = addr(ours[i]);
        memcpy(ns + 8, a.b, 16);
        send6(b, LINK, "ff02::1:ff00:2", 255, IP_ICMP6, ns, 32);
        CHECK_EQ(b->got, i + 1);
        uint8_t *m = last6(b);
        CHECK(m[0] == 136 && (m[4] & 0x60) == 0x60 && !memcmp(m + 8, a.b, 16) && m[24] == 2 &&
              !memcmp(m + 26, b->user->mac, 6));
    }
    send6(b, "::", "ff02::1:ff00:2", 255, IP_ICMP6, ns, 24); /* somebody wants that address */
    CHECK_EQ(b->got, 4);
    CHECK(last6(b)[0] == 136 && !(last6(b)[4] & 0x40) && !memcmp(last_frame(b) + 38, addr("ff02::1").b, 16));
    /* for everything else: nothing is said, and nothing kept */
    uint64_t seed = 3;
    for (int i = 0; i < 10000; i++) {
        uint64_t r = test_rand(&seed) | 0x100;
        memcpy(ns + 16, &r, 8);
        send6(b, LINK, "ff02::1:ff00:2", 255, IP_ICMP6, ns, 24);
    }
    CHECK_EQ(b->got, 4);
    CHECK_EQ(b->user->drops[USER_DROP_NDP], 10000);
    bed_free(b);
}

TEST(ipv6_ping_and_udp_and_refusals)
{
    struct bed *b = bed_new(NULL);
    uint8_t echo[50] = {128, 0, 0, 0, 1, 2, 3, 4, 5};
    send6(b, GLOBAL, "fd76:6d6c:6574::2", 64, IP_ICMP6, echo, sizeof echo);
    CHECK(b->got == 1 && last6(b)[0] == 129 && last6(b)[8] == 5);
    send6(b, GLOBAL, "fd76:6d6c:6574::77", 64, IP_UDP, (uint8_t[]){0, 9, 0, 9, 0, 8, 0, 0}, 8);
    CHECK(b->got == 2 && last6(b)[0] == 1 && last6(b)[1] == 3);
    send6(b, GLOBAL, "fe80::9", 64, IP_UDP, (uint8_t[]){0, 9, 0, 9, 0, 8, 0, 0}, 8);
    CHECK(b->got == 3 && last6(b)[0] == 1 && last6(b)[1] == 1);
    send6(b, GLOBAL, "2001:db8::1", 1, IP_UDP, (uint8_t[]){0, 9, 0, 9, 0, 8, 0, 0}, 8);
    CHECK(b->got == 4 && last6(b)[0] == 3);
    send6(b, GLOBAL, "fd76:6d6c:6574::2", 64, 99, echo, 40);
    CHECK(b->got == 5 && last6(b)[0] == 4 && last6(b)[1] == 1);
    bed_free(b);
}

TEST(ipv6_extension_headers_are_walked_and_fragments_put_together)
{
    struct bed *b = bed_new(NULL);
    uint8_t f[2000], echo[64] = {128}, part[72];
    /* hop-by-hop with router alert, then destination options, then the echo */
    static const uint8_t chain[] = {60, 0, 5, 2, 0, 0, 1, 0, 58, 0, 1, 4, 0, 0, 0, 0};
    size_t len =
        make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 0, chain, sizeof chain, IP_ICMP6, echo, sizeof echo);
    bed_send(b, f, len);
    CHECK(b->got == 1 && last6(b)[0] == 129);
    /* the echo in two fragments, its checksum as a whole's */
    make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, IP_ICMP6, "", 0, IP_ICMP6, echo, sizeof echo);
    memcpy(echo, f + 54, sizeof echo);
    for (int i = 0; i < 2; i++) {
        memset(part, 0, 8);
        part[0] = 58;
        set16(part + 2, i ? 40 : 1);
        part[7] = 9;
        memcpy(part + 8, echo + i * 40, i ? 24 : 40);
        len = make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 44, part, i ? 32 : 48, 200, "", 0);
        bed_send(b, f, len);
    }
    CHECK(b->got == 2 && last6(b)[0] == 129 && get16(last_frame(b) + 18) == 64);
    /* a fragment that is all of it */
    memset(part, 0, 8);
    part[0] = 58;
    len = make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 44, part, 8, IP_ICMP6, echo, sizeof echo);
    bed_send(b, f, len);
    CHECK(b->got == 3 && last6(b)[0] == 129);
    bed_free(b);
}

TEST(U5_ipv6_lengths_and_header_chains_that_lie)
{
    struct bed *b = bed_new(NULL);
    uint8_t good[200], f[2000], echo[40] = {128};
    size_t len = make6(good, GLOBAL, "fd76:6d6c:6574::2", 64, IP_ICMP6, "", 0, IP_ICMP6, echo, sizeof echo);
    uint64_t header = 0;
    for (unsigned more = 1; more < 65536 - 40; more += 97, header++) {
        memcpy(f, good, len);
        set16(f + 18, 40 + more);
        bed_send(b, f, len);
    }
    for (size_t cut = 14; cut < 54; cut++, header++)
        bed_send(b, good, cut);
    static const char *const chains[] = {
        "\x3a\x01\0\0\0\0\0\0",                   /* longer than what is there (with no echo behind it) */
        "\x3a\xff\0\0\0\0\0\0",                   /* by far */
        "\x3a\0\x05\x05\0\0\0\0",                 /* an option past its header */
        "\x3a\0\x05\xff\0\0\0\0",                 /* by far */
        "\x3a\0\xc2\x04\0\x01\0\0",               /* a jumbo payload */
        "\x3a\0\x80\0\0\0\0\0",                   /* unknown, and to be dropped then */
        "\0\0\x01\x04\0\0\0\0\x3a\0\0\0\0\0\0\0", /* a second hop-by-hop header */
    };
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++, header++) {
        len = make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 0, chains[i], i == 6 ? 16 : 8, 200, "", 0);
        bed_send(b, f, len);
    }
    static const uint8_t routing[8] = {58, 0, 0, 1};
    bed_send(b, f, make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 43, routing, 8, IP_ICMP6, echo, sizeof echo));
    header++;
    uint8_t endless[1400]; /* options headers without end */
    for (size_t i = 0; i < sizeof endless; i += 8)
        memcpy(endless + i, (uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
    bed_send(b, f, make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 60, endless, sizeof endless, 200, "", 0));
    header++;
    bed_send(b, f, make6(f, GLOBAL, "fd76:6d6c:6574::2", 64, 59, "", 0, 200, "", 0)); /* nothing within */
    header++;
    CHECK_EQ(b->user->drops[USER_DROP_HEADER], header);
    CHECK_EQ(b->got, 0);
    static const char *const sources[] = {"ff02::1", "::1", "2001:db8::1", "fd76:6d6c:6574::2", "fe80::2"};
    for (int i = 0; i < 5; i++)
        send6(b, sources[i], "fd76:6d6c:6574::2", 64, IP_ICMP6, echo, sizeof echo);
    uint8_t g[200];
    memcpy(g, good, sizeof g);
    memcpy(g + 38, addr("1.2.3.4").b, 16); /* ::ffff:1.2.3.4 on the wire */
    bed_send(b, g, 94);
    memcpy(g, good, sizeof g);
    memcpy(g + 22, addr("10.0.2.15").b, 16);
    bed_send(b, g, 94);
    CHECK_EQ(b->user->drops[USER_DROP_SOURCE], 7);
    /* UDP and TCP from nobody; NDP from afar */
    send6(b, "::", "fd76:6d6c:6574::3", 64, IP_UDP, (uint8_t[]){0, 9, 0, 53, 0, 8, 0, 0}, 8);
    send6(b, "::", "2001:db8::1", 64, IP_TCP, (uint8_t[20]){0, 9, 0, 53, [12] = 0x50, 2}, 20);
    send6(b, "::", "fd76:6d6c:6574::2", 64, IP_ICMP6, echo, sizeof echo);
    send6(b, LINK, "ff02::2", 64, IP_ICMP6, (uint8_t[8]){133}, 8);
    send6(b, LINK, "ff02::2", 255, IP_ICMP6, (uint8_t[16]){133, [8] = 1, [9] = 0}, 16);
    send6(b, LINK, "ff02::2", 255, IP_ICMP6, (uint8_t[16]){133, [8] = 1, [9] = 2}, 16);
    CHECK_EQ(b->got, 0);
    bed_free(b);
}

TEST(ipv6_off_is_silent_and_counted)
{
    struct user_options o = {.no_ipv6 = true};
    struct bed *b = bed_new(&o);
    send6(b, "::", "ff02::2", 255, IP_ICMP6, (uint8_t[8]){133}, 8);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_IPV6_OFF], 1);
    bed_free(b);
}
