// SPDX-License-Identifier: MIT
/* The user network's lower half: Ethernet, ARP, IPv4, echo, the policy; rows U1, U2, U3, U6 and T7. */
#include "user_net.h"

#include <ifaddrs.h>
#include <unistd.h>

#include "net/flow.h"

static void send_arp(struct bed *b, uint16_t op, const uint8_t *sender, const uint8_t *target, size_t cut)
{
    uint8_t f[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    memcpy(f + 6, guest_mac, 6);
    set16(f + 12, ETH_ARP);
    memcpy(f + 14, (uint8_t[]){0, 1, 8, 0, 6, 4}, 6);
    set16(f + 20, op);
    memcpy(f + 22, guest_mac, 6);
    memcpy(f + 28, sender, 4);
    memcpy(f + 38, target, 4);
    bed_send(b, f, sizeof f - cut);
}

TEST(arp_answers_for_the_gateway_and_the_dns_server_only)
{
    struct bed *b = bed_new(NULL);
    send_arp(b, 1, GUEST, HOST, 0);
    CHECK_EQ(b->got, 1);
    uint8_t *a = last_frame(b) + 14;
    CHECK_EQ(get16(a + 6), 2);
    CHECK(!memcmp(last_frame(b), guest_mac, 6) && !memcmp(a + 18, guest_mac, 6));
    CHECK(!memcmp(a + 14, HOST, 4) && !memcmp(a + 24, GUEST, 4) && !memcmp(a + 8, last_frame(b) + 6, 6));
    send_arp(b, 1, GUEST, DNS, 0);
    CHECK_EQ(b->got, 2);
    send_arp(b, 1, GUEST, GUEST, 0);                           /* is my address free? */
    send_arp(b, 1, GUEST, (const uint8_t[]){10, 0, 2, 77}, 0); /* nobody */
    CHECK_EQ(b->got, 2);
    bed_free(b);
}

TEST(U2_arp_truncated_or_wrong_lengths_or_claims_of_our_addresses)
{
    struct bed *b = bed_new(NULL);
    for (size_t cut = 1; cut <= 28; cut++)
        send_arp(b, 1, GUEST, HOST, cut);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_ARP], 28);
    send_arp(b, 2, HOST, HOST, 0); /* "I am the gateway" */
    send_arp(b, 2, DNS, HOST, 0);
    CHECK_EQ(b->user->drops[USER_DROP_SOURCE], 2);
    struct ip_addr host = ip_addr4(HOST);
    CHECK(!neigh_find(b->user, &host));
    /* 10^5 sender addresses: the table is as large as it was, and still works */
    uint8_t sender[4] = {10, 0, 2, 0};
    for (unsigned i = 0; i < 100000; i++) {
        sender[3] = (uint8_t)i;
        send_arp(b, 2, sender, HOST, 0);
    }
    b->got = 0;
    send_arp(b, 1, GUEST, HOST, 0);
    CHECK_EQ(b->got, 1);
    struct ip_addr guest = ip_addr4(GUEST);
    CHECK(neigh_find(b->user, &guest));
    bed_free(b);
}

static void ping(struct bed *b, const uint8_t *dst, size_t data)
{
    uint8_t *l4 = malloc(8 + data);
    memcpy(l4, (uint8_t[]){8, 0, 0, 0, 0x12, 0x34, 0, 7}, 8);
    for (size_t i = 0; i < data; i++)
        l4[8 + i] = (uint8_t)(i * 7);
    send4(b, IP_ICMP, GUEST, dst, l4, 8 + data);
    free(l4);
}

TEST(ping_of_the_gateway_and_the_dns_server_is_answered_here)
{
    struct bed *b = bed_new(NULL);
    const uint8_t *dst[2] = {HOST, DNS};
    for (int i = 0; i < 2; i++) {
        ping(b, dst[i], 56);
        CHECK_EQ(b->got, i + 1);
        CHECK_EQ(last_l4_len(b), 64);
        uint8_t *l4 = last_l4(b);
        CHECK(l4[0] == 0 && l4[1] == 0 && get16(l4 + 4) == 0x1234 && get16(l4 + 6) == 7 &&
              l4[8 + 55] == (uint8_t)(55 * 7));
        CHECK_EQ(sum_of(l4, 64), 0xffff);
        CHECK_EQ(sum_of(last_frame(b) + 14, 20), 0xffff);
        CHECK(!memcmp(last_frame(b) + 26, dst[i], 4) && !memcmp(last_frame(b) + 30, GUEST, 4));
    }
    bed_free(b);
}

TEST(ping_larger_than_the_mtu_comes_back_in_fragments_that_add_up)
{
    struct bed *b = bed_new(NULL);
    ping(b, HOST, 20000); /* one frame: this card can */
    static uint8_t whole[20008];
    size_t seen = 0;
    for (unsigned i = 0; i < b->got; i++) {
        uint8_t *ip = b->frames[i].frame + 14;
        size_t at = (get16(ip + 6) & IP4_OFFSET) * 8u, len = get16(ip + 2) - 20u;
        CHECK(b->frames[i].len <= 1514 && at + len <= sizeof whole && sum_of(ip, 20) == 0xffff);
        CHECK_EQ(get16(ip + 6) & IP4_MF ? 1 : 0, i + 1 < b->got);
        memcpy(whole + at, ip + 20, len);
        seen += len;
    }
    CHECK_EQ(seen, sizeof whole);
    CHECK_EQ(sum_of(whole, sizeof whole), 0xffff);
    CHECK(whole[0] == 0 && whole[8 + 19999] == (uint8_t)(19999 * 7));
    bed_free(b);
}

TEST(U1_frames_too_short_for_what_they_say_they_are)
{
    struct bed *b = bed_new(NULL);
    uint8_t f[1600] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint16_t types[] = {0, 46, 0x05dc, 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0xffff};
    memcpy(f + 6, guest_mac, 6);
    for (size_t len = 0; len < 14; len++)
        bed_send(b, f, len); /* the port's business */
    CHECK_EQ(b->card.drops[PORT_DROP_SHORT], 14);
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t len = 14; len < 80; len++) {
            set16(f + 12, types[t]);
            bed_send(b, f, len);
        }
    CHECK_EQ(b->got, 0);
    uint64_t dropped = 0;
    for (int i = 0; i < USER_DROPS; i++)
        dropped += b->user->drops[i];
    CHECK_EQ(dropped, 66 * sizeof types / sizeof *types); /* each has a counter */
    bed_free(b);
}

TEST(U3_ipv4_headers_that_lie)
{
    struct bed *b = bed_new(NULL);
    uint8_t f[200], good[200], echo[40] = {8, 0, 0, 0, 0, 1, 0, 1};
    size_t len = make4(good, IP_ICMP, GUEST, HOST, echo, sizeof echo);
    const struct {
        int at;
        uint8_t value;
        enum user_drop why;
    } rows[] = {
        {14, 0x44, USER_DROP_HEADER  }, /* ihl 4 */
        {14, 0x40, USER_DROP_HEADER  },
        {14, 0x4f, USER_DROP_CHECKSUM}, /* ihl 60: the sum is over other bytes */
        {14, 0x55, USER_DROP_HEADER  }, /* version 5 */
        {16, 0xff, USER_DROP_HEADER  }, /* total length beyond the frame */
        {17, 19,   USER_DROP_HEADER  }, /* … and less than the header */
        {17, 0,    USER_DROP_HEADER  },
        {22, 0,    USER_DROP_HEADER  }, /* TTL 0 */
        {26, 0,    USER_DROP_SOURCE  }, /* from 0/8 */
        {26, 127,  USER_DROP_SOURCE  },
        {26, 224,  USER_DROP_SOURCE  },
        {26, 255,  USER_DROP_SOURCE  },
        {26, 192,  USER_DROP_SOURCE  }, /* not our network */
        {29, 2,    USER_DROP_SOURCE  }, /* our own address */
        {29, 3,    USER_DROP_SOURCE  },
        {29, 0,    USER_DROP_SOURCE  }, /* the network's and the broadcast address */
        {29, 255,  USER_DROP_SOURCE  },
        {25, 1,    USER_DROP_CHECKSUM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(f, good, sizeof f);
        f[rows[i].at] = rows[i].value;
        if (rows[i].why != USER_DROP_CHECKSUM) {
            memset(f + 24, 0, 2);
            uint16_t sum = (uint16_t)~sum_of(f + 14, 20);
            memcpy(f + 24, &sum, 2);
        }
        uint64_t before = b->user->drops[rows[i].why];
        bed_send(b, f, len);
        if (b->user->drops[rows[i].why] != before + 1)
            printf("row %zu\n", i);
        CHECK_EQ(b->user->drops[rows[i].why], before + 1);
        CHECK_EQ(b->got, 0);
    }
    bed_send(b, good, len); /* and it was good */
    CHECK_EQ(b->got, 1);
    bed_free(b);
}

TEST(U3_ipv4_options_that_run_past_the_end_or_route)
{
    struct bed *b = bed_new(NULL);
    const struct {
        uint8_t options[8];
        bool good;
    } rows[] = {
        {{1, 1, 1, 1, 1, 1, 1, 1},     true },
        {{0, 255, 255, 255},           true }, /* END: the rest is not looked at */
        {{7, 7, 4, 0, 0, 0, 0, 0},     true }, /* record route: skipped */
        {{148, 4, 0, 0, 1, 1, 1, 1},   true }, /* router alert */
        {{7, 9, 4, 0, 0, 0, 0, 0},     false},
        {{7, 0, 4, 0, 0, 0, 0, 0},     false},
        {{7, 1, 4, 0, 0, 0, 0, 0},     false},
        {{1, 1, 1, 1, 1, 1, 1, 7},     false},
        {{131, 7, 4, 10, 0, 2, 2, 0},  false},
        {{137, 7, 4, 127, 0, 0, 1, 0}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t f[200], echo[40] = {8, 0, 0, 0, 0, 1, 0, 1};
        size_t len = make4(f, IP_ICMP, GUEST, HOST, echo, sizeof echo);
        memmove(f + 42, f + 34, len - 34);
        memcpy(f + 34, rows[i].options, 8);
        f[14] = 0x47;
        set16(f + 16, (uint32_t)(len + 8 - 14));
        memset(f + 24, 0, 2);
        uint16_t sum = (uint16_t)~sum_of(f + 14, 28);
        memcpy(f + 24, &sum, 2);
        b->got = 0;
        bed_send(b, f, len + 8);
        if (b->got != rows[i].good)
            printf("row %zu\n", i);
        CHECK_EQ(b->got, rows[i].good);
    }
    bed_free(b);
}

TEST(U6_icmp_that_is_short_or_odd_and_errors_about_errors)
{
    struct bed *b = bed_new(NULL);
    uint8_t l4[64] = {8};
    for (size_t len = 0; len < 8; len++)
        send4(b, IP_ICMP, GUEST, HOST, l4, len);
    for (unsigned type = 0; type < 256; type++)
        for (unsigned code = 0; code < 3; code++) {
            if (type == 8 && code == 0)
                continue;
            l4[0] = (uint8_t)type;
            l4[1] = (uint8_t)code;
            send4(b, IP_ICMP, GUEST, HOST, l4,
                  8 + type % 50); /* errors that quote short headers are among them */
        }
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_ICMP], 8 + 256 * 3 - 1);
    ping(b, HOST, 65507); /* the largest there is: answered in fragments */
    CHECK_EQ(b->got, 45);
    /* a flood of what cannot be had is told only so often */
    b->got = 0;
    for (int i = 0; i < 1000; i++)
        send4(b, 99, GUEST, HOST, l4, 8);
    CHECK(b->got <= 200);
    CHECK_EQ(b->got + b->user->drops[USER_DROP_ICMP_RATE], 1000);
    b->now += 2000000000;
    send4(b, 99, GUEST, HOST, l4, 8);
    CHECK(last_is_error(b, 3, 2));
    bed_free(b);
}

TEST(an_icmp_error_quotes_the_packet_it_is_about)
{
    struct bed *b = bed_new(NULL);
    uint8_t l4[600];
    for (size_t i = 0; i < sizeof l4; i++)
        l4[i] = (uint8_t)i;
    send4(b, 99, GUEST, HOST, l4, sizeof l4);
    CHECK(last_is_error(b, 3, 2));
    CHECK_EQ(b->frames[0].len, 14 + 576);
    CHECK_EQ(sum_of(last_l4(b), 576 - 20), 0xffff);
    uint8_t *q = last_l4(b) + 8;
    CHECK(q[0] == 0x45 && q[9] == 99 && !memcmp(q + 12, GUEST, 4) && !memcmp(q + 16, HOST, 4));
    CHECK_EQ(get16(q + 2), 620);
    CHECK_EQ(q[20 + 77], 77);
    bed_free(b);
}

TEST(hop_limit_one_ends_at_the_gateway)
{
    struct bed *b = bed_new(NULL);
    uint8_t f[100], echo[16] = {8, 0, 0, 0, 0, 1, 0, 1};
    size_t len = make4(f, IP_ICMP, GUEST, (const uint8_t[]){192, 0, 2, 77}, echo, sizeof echo);
    f[22] = 1;
    memset(f + 24, 0, 2);
    uint16_t sum = (uint16_t)~sum_of(f + 14, 20);
    memcpy(f + 24, &sum, 2);
    bed_send(b, f, len);
    CHECK(last_is_error(b, 11, 0));
    bed_free(b);
}

TEST(T7_policy_row_by_row)
{
    struct bed *b = bed_new(NULL);
    static const struct {
        const char *dst;
        uint16_t port;
        enum ip_error verdict;
        const char *to;
    } rows[] = {
        {"10.0.2.2",           80, IP_OK,         "127.0.0.1"       },
        {"fd76:6d6c:6574::2",  80, IP_OK,         "::1"             },
        {"10.0.2.3",           53, IP_OK,         NULL              },
        {"10.0.2.3",           80, IP_NO_PORT,    NULL              },
        {"10.0.2.77",          80, IP_NO_HOST,    NULL              },
        {"8.8.8.8",            80, IP_OK,         "8.8.8.8"         },
        {"192.168.7.7",        80, IP_OK,         "192.168.7.7"     },
        {"2001:db8::1",        80, IP_OK,         "2001:db8::1"     },
        {"0.0.0.0",            80, IP_PROHIBITED, NULL              },
        {"0.1.2.3",            80, IP_PROHIBITED, NULL              },
        {"127.0.0.1",          80, IP_PROHIBITED, NULL              },
        {"127.255.1.1",        80, IP_PROHIBITED, NULL              },
        {"169.254.169.254",    80, IP_PROHIBITED, NULL              },
        {"169.254.1.1",        80, IP_PROHIBITED, NULL              },
        {"100.100.100.200",    80, IP_PROHIBITED, NULL              },
        {"100.100.100.201",    80, IP_OK,         "100.100.100.201" },
        {"168.63.129.16",      80, IP_PROHIBITED, NULL              },
        {"192.0.0.192",        80, IP_PROHIBITED, NULL              },
        {"224.0.0.251",        80, IP_PROHIBITED, NULL              },
        {"255.255.255.255",    80, IP_PROHIBITED, NULL              },
        {"::1",                80, IP_PROHIBITED, NULL              },
        {"::",                 80, IP_PROHIBITED, NULL              },
        {"::127.0.0.1",        80, IP_PROHIBITED, NULL              },
        {"fe80::1",            80, IP_PROHIBITED, NULL              },
        {"febf::1",            80, IP_PROHIBITED, NULL              },
        {"ff02::1",            80, IP_PROHIBITED, NULL              },
        {"fd00:ec2::254",      80, IP_PROHIBITED, NULL              },
        {"fd20:ce::254",       80, IP_PROHIBITED, NULL              },
        {"64:ff9b::127.0.0.1", 80, IP_PROHIBITED, NULL              },
        {"64:ff9b::8.8.8.8",   80, IP_OK,         "64:ff9b::808:808"},
        {"64:ff9b:1::7f00:1",  80, IP_PROHIBITED, NULL              },
        {"2002:a9fe:a9fe::1",  80, IP_PROHIBITED, NULL              },
        {"2002:808:808::1",    80, IP_OK,         "2002:808:808::1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ip_addr dst, to_addr;
        struct ip_sock to;
        uint16_t port;
        char text[IP_ADDR_TEXT];
        CHECK(ip_parse(rows[i].dst, &dst));
        enum ip_error e = user_policy(b->user, IP_TCP, &dst, rows[i].port, &to);
        if (e != rows[i].verdict)
            printf("%s\n", rows[i].dst);
        CHECK_EQ(e, rows[i].verdict);
        if (!rows[i].to)
            continue;
        CHECK(ip_of_sock(&to.sa, &to_addr, &port));
        CHECK_EQ(port, rows[i].port);
        CHECK_STR(ip_text(&to_addr, text), rows[i].to);
    }
    bed_free(b);
}

TEST(T7_our_own_ports_are_nobodys_at_the_hosts_addresses)
{
    struct bed *b = bed_new(NULL);
    struct ip_addr gateway = ip_addr4(HOST), else_where = ip_addr4((const uint8_t[]){192, 0, 2, 200});
    struct ip_sock to;
    user_own_port_add(IP_TCP, 1234);
    CHECK_EQ(user_policy(b->user, IP_TCP, &gateway, 1234, &to), IP_PROHIBITED);
    CHECK_EQ(user_policy(b->user, IP_UDP, &gateway, 1234, &to), IP_OK);
    CHECK_EQ(user_policy(b->user, IP_TCP, &gateway, 1235, &to), IP_OK);
    CHECK_EQ(user_policy(b->user, IP_TCP, &else_where, 1234, &to), IP_OK);
    user_own_port_remove(IP_TCP, 1234);
    CHECK_EQ(user_policy(b->user, IP_TCP, &gateway, 1234, &to), IP_OK);
    bed_free(b);
}

TEST(T7_loopback_off_and_restrict_on)
{
    struct user_options closed = {.no_loopback = true}, restricted = {.restricted = true};
    struct ip_addr gateway = ip_addr4(HOST), dns = ip_addr4(DNS),
                   out = ip_addr4((const uint8_t[]){8, 8, 8, 8});
    struct ip_sock to;
    struct bed *b = bed_new(&closed);
    CHECK_EQ(user_policy(b->user, IP_TCP, &gateway, 80, &to), IP_PROHIBITED);
    CHECK_EQ(user_policy(b->user, IP_TCP, &out, 80, &to), IP_OK);
    CHECK_EQ(user_policy(b->user, IP_UDP, &dns, 53, &to), IP_OK);
    bed_free(b);
    b = bed_new(&restricted);
    CHECK_EQ(user_policy(b->user, IP_TCP, &gateway, 80, &to), IP_PROHIBITED);
    CHECK_EQ(user_policy(b->user, IP_TCP, &out, 80, &to), IP_PROHIBITED);
    CHECK_EQ(user_policy(b->user, IP_UDP, &dns, 53, &to), IP_PROHIBITED);
    bed_free(b);
}

TEST(options_that_make_no_network_are_refused_in_a_sentence)
{
    const struct user_options rows[] = {
        {.net = "10.0.2.0/33"},
        {.net = "10.0.2.0/30"},
        {.net = "10.0.2.0/7"},
        {.net = "10.0.2.0"},
        {.net = "fd00::/64"},
        {.net = "x/24"},
        {.guest_ip = "192.168.0.9"},
        {.guest_ip = "10.0.2.0"},
        {.guest_ip = "10.0.2.255"},
        {.guest_ip = "10.0.2.2"},
        {.host_ip = "::1"},
        {.host_ip = "nonsense"},
        {.mtu = 68},
    };
    struct loop *loop = loop_new(NULL);
    struct net net;
    net_init(&net, loop);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char err[200] = "";
        CHECK(!user_new(&net, loop, &rows[i], err, sizeof err));
        CHECK(strlen(err) > 10);
    }
    loop_free(loop);
}

TEST(another_network_has_its_addresses_there)
{
    struct user_options o = {.net = "192.168.7.77/24", .host_ip = "192.168.7.3"};
    struct bed *b = bed_new(&o);
    char text[IP_ADDR_TEXT];
    CHECK_STR(ip_text(&b->user->guest4, text), "192.168.7.15");
    CHECK_STR(ip_text(&b->user->dns4, text), "192.168.7.4");
    CHECK_STR(ip_text(&b->user->broadcast4, text), "192.168.7.255");
    bed_free(b);
}

/* An address of this host's that is not loopback: it answers at once. */
static bool own_address(uint8_t a[4])
{
    struct ifaddrs *all;
    bool found = false;
    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        struct ip_addr addr;
        uint16_t port;
        found = i->ifa_addr && i->ifa_addr->sa_family == AF_INET && ip_of_sock(i->ifa_addr, &addr, &port) &&
                addr.b[12] != 127 && addr.b[12] != 169 && addr.b[12] != 10;
        if (found)
            memcpy(a, addr.b + 12, 4);
    }
    freeifaddrs(all);
    return found;
}

TEST(ping_of_others_is_a_real_ping)
{
    uint8_t who[4];
    int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    if (fd < 0)
        fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    if (fd < 0)
        SKIP("neither ping sockets nor raw sockets are allowed");
    close(fd);
    if (!own_address(who))
        SKIP("this host has no address but loopback");
    struct bed *b = bed_new(NULL);
    for (int i = 0; i < 3; i++) {
        b->got = 0;
        ping(b, who, 56);
        bed_run(b);
        CHECK_EQ(b->got, 1);
        uint8_t *l4 = last_l4(b);
        CHECK(l4[0] == 0 && get16(l4 + 4) == 0x1234 && get16(l4 + 6) == 7 && l4[8 + 55] == (uint8_t)(55 * 7));
        CHECK_EQ(sum_of(l4, 64), 0xffff);
        CHECK(!memcmp(last_frame(b) + 26, who, 4));
    }
    CHECK_EQ(b->user->flows->n, 1);
    bed_wait(b, 11000000000);
    CHECK_EQ(b->user->flows->n, 0);
    ping(b, (const uint8_t[]){127, 0, 0, 1}, 56);
    CHECK(last_is_error(b, 3, 13));
    bed_free(b);
}
