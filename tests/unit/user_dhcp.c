// SPDX-License-Identifier: MIT
/* The user network's DHCP server; row U8. */
#include "user_net.h"

static const uint8_t NOBODY[4], ALL[4] = {255, 255, 255, 255};
enum {
    DISCOVER = 1,
    OFFER,
    REQUEST,
    DECLINE,
    ACK,
    NAK,
    RELEASE,
    INFORM
};

struct ask {
    uint8_t type;
    uint8_t mac; /* the last byte */
    const uint8_t *requested, *server, *ciaddr;
    bool broadcast;
};

static size_t make_ask(uint8_t *m, const struct ask *a)
{
    memset(m, 0, 300);
    memcpy(m, (uint8_t[]){1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef}, 8);
    m[10] = a->broadcast ? 0x80 : 0;
    if (a->ciaddr)
        memcpy(m + 12, a->ciaddr, 4);
    memcpy(m + 28, guest_mac, 5);
    m[33] = a->mac;
    set32(m + 236, 0x63825363);
    uint8_t *o = m + 240;
    memcpy(o, (uint8_t[]){0, 53, 1, a->type, 55, 3, 1, 3, 6}, 9);
    o += 9;
    if (a->requested) {
        o[0] = 50, o[1] = 4;
        memcpy(o + 2, a->requested, 4);
        o += 6;
    }
    if (a->server) {
        o[0] = 54, o[1] = 4;
        memcpy(o + 2, a->server, 4);
        o += 6;
    }
    *o++ = 255;
    return (size_t)(o - m);
}

static void send_raw(struct bed *b, const uint8_t *src, const uint8_t *dst, const uint8_t *m, size_t len)
{
    uint8_t l4[2000] = {0, 68, 0, 67};
    set16(l4 + 4, (uint32_t)len + 8);
    memcpy(l4 + 8, m, len);
    send4(b, IP_UDP, src, dst, l4, len + 8);
}

/* Asks, and returns the answer's message type; 0: none came. */
static uint8_t ask(struct bed *b, struct ask a)
{
    uint8_t m[400];
    size_t len = make_ask(m, &a);
    b->got = 0;
    send_raw(b, a.ciaddr ? a.ciaddr : NOBODY, a.ciaddr ? HOST : ALL, m, len);
    if (!b->got)
        return 0;
    CHECK_EQ(b->got, 1);
    CHECK(get16(last_l4(b)) == 67 && get16(last_l4(b) + 2) == 68);
    CHECK(!memcmp(last_l4(b) + 12, "\xde\xad\xbe\xef", 4));
    return last_l4(b)[8 + 242];
}

static const uint8_t *option(struct bed *b, uint8_t which, size_t len)
{
    const uint8_t *o = last_l4(b) + 8 + 240, *end = last_l4(b) + last_l4_len(b);
    while (o < end && *o != 255) {
        if (*o == which) {
            CHECK_EQ(o[1], len);
            return o + 2;
        }
        o += 2 + o[1];
    }
    return (const uint8_t *)"?????????????????";
}

static const uint8_t *yiaddr(struct bed *b)
{
    return last_l4(b) + 8 + 16;
}

TEST(dhcp_gives_address_router_dns_mtu_and_name)
{
    struct user_options o = {.host_name = "box", .mtu = 1400};
    struct bed *b = bed_new(&o);
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 5}), OFFER);
    CHECK(!memcmp(yiaddr(b), GUEST, 4) && !memcmp(last_frame(b) + 30, GUEST, 4) &&
          !memcmp(last_frame(b), guest_mac, 6));
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 5, .broadcast = true}), OFFER);
    CHECK(!memcmp(last_frame(b) + 30, ALL, 4) && last_frame(b)[0] == 0xff);
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .requested = GUEST, .server = HOST}), ACK);
    CHECK(!memcmp(yiaddr(b), GUEST, 4));
    CHECK(!memcmp(option(b, 1, 4), "\xff\xff\xff\0", 4));
    CHECK(!memcmp(option(b, 3, 4), HOST, 4));
    CHECK(!memcmp(option(b, 6, 4), DNS, 4));
    CHECK(!memcmp(option(b, 54, 4), HOST, 4));
    CHECK_EQ(get16(option(b, 26, 2)), 1400);
    CHECK(!memcmp(option(b, 12, 3), "box", 3));
    CHECK_EQ(get32(option(b, 51, 4)), 86400);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    bed_free(b);
}

TEST(dhcp_renews_releases_and_says_no)
{
    static const uint8_t foreign[4] = {192, 168, 1, 50}, other[4] = {10, 0, 2, 77}, next[4] = {10, 0, 2, 16};
    struct bed *b = bed_new(NULL);
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .requested = foreign}),
             NAK); /* after a move: start again */
    CHECK(!memcmp(last_frame(b) + 30, ALL, 4));
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .requested = HOST}), NAK);
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .requested = other}),
             ACK); /* it had that before we began */
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .requested = GUEST}), NAK); /* but now has one */
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 5, .ciaddr = other}), ACK);    /* renewal, unicast */
    CHECK(!memcmp(last_frame(b) + 30, other, 4));
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 6, .requested = other}), NAK); /* somebody else's */
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 6}), OFFER);
    CHECK(!memcmp(yiaddr(b), GUEST, 4));
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 6, .requested = GUEST, .server = other}),
             0); /* took another server's */
    CHECK_EQ(ask(b, (struct ask){.type = REQUEST, .mac = 6, .requested = GUEST, .server = HOST}), ACK);
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 7}), OFFER);
    CHECK(!memcmp(yiaddr(b), next, 4));
    CHECK_EQ(ask(b, (struct ask){.type = DECLINE, .mac = 7, .requested = next, .server = HOST}), 0);
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 7}), OFFER);
    CHECK_EQ(yiaddr(b)[3], 17);
    CHECK_EQ(ask(b, (struct ask){.type = RELEASE, .mac = 6, .ciaddr = GUEST, .server = HOST}), 0);
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 6}), OFFER); /* the same again */
    CHECK(!memcmp(yiaddr(b), GUEST, 4));
    CHECK_EQ(ask(b, (struct ask){.type = INFORM, .mac = 9, .ciaddr = other}), ACK);
    CHECK(!memcmp(yiaddr(b), NOBODY, 4) && !memcmp(option(b, 6, 4), DNS, 4));
    bed_free(b);
}

TEST(dhcp_says_how_to_boot_from_the_network)
{
    struct user_options o = {.bootfile = "pxelinux.0"};
    struct bed *b = bed_new(&o);
    CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 5}), OFFER);
    CHECK(!memcmp(last_l4(b) + 8 + 20, HOST, 4));
    CHECK(!strcmp((char *)last_l4(b) + 8 + 108, "pxelinux.0"));
    CHECK(!memcmp(option(b, 67, 10), "pxelinux.0", 10) && !memcmp(option(b, 66, 8), "10.0.2.2", 8));
    bed_free(b);
}

TEST(U8_bootp_short_without_cookie_options_past_the_end_and_odd_addresses)
{
    struct bed *b = bed_new(NULL);
    uint8_t good[400], m[2000];
    struct ask a = {.type = DISCOVER, .mac = 5, .requested = GUEST, .server = HOST};
    size_t len = make_ask(good, &a);
    b->got = 0;
    unsigned n = 0;
    for (size_t cut = 0; cut < 244; cut++, n++) /* all that lose the type option, or more */
        send_raw(b, NOBODY, ALL, good, cut);
    static const struct {
        size_t at;
        uint8_t value;
    } rows[] = {
        {0,   2  }, /* a reply */
        {1,   6  },
        {2,   255}, /* hlen */
        {2,   0  },
        {28,  1  }, /* a multicast hardware address */
        {236, 0  },
        {242, 255}, /* lengths past the end */
        {242, 0  },
        {243, 0  }, /* types */
        {243, 9  },
        {243, 2  },
        {245, 255},
        {250, 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++, n++) {
        memcpy(m, good, len);
        m[rows[i].at] = rows[i].value;
        send_raw(b, NOBODY, ALL, m, len);
    }
    memset(m, 0, sizeof m);
    memcpy(m, good, 240);
    memset(m + 240, 255, 1000); /* END at once: no type */
    send_raw(b, NOBODY, ALL, m, 1240);
    memset(m + 240, 0, 1700);
    send_raw(b, NOBODY, ALL, m, 1900); /* endless padding */
    memcpy(m + 240, "\x35\x01\x01", 3);
    for (size_t at = 243; at + 2 < 1900; at += 2) /* endless empty options */
        m[at] = 55, m[at + 1] = 0;
    send_raw(b, NOBODY, ALL, m, 1900);
    CHECK_EQ(b->got, 0);
    CHECK_EQ(b->user->drops[USER_DROP_DHCP], n + 3);
    send_raw(b, NOBODY, ALL, good, len - 1); /* no END, but all options are whole: that is good enough */
    CHECK_EQ(b->got, 1);
    bed_free(b);
}

TEST(U8_ten_thousand_hardware_addresses)
{
    struct bed *b = bed_new(NULL);
    uint8_t m[400];
    struct ask a = {.type = DISCOVER, .mac = 5};
    size_t len = make_ask(m, &a);
    for (unsigned i = 0; i < 10000; i++) {
        set16(m + 32, i);
        b->got = 0;
        send_raw(b, NOBODY, ALL, m, len);
        CHECK_EQ(b->got, 1); /* each is offered one: of those that nobody took */
        CHECK(yiaddr(b)[3] >= 15 && yiaddr(b)[3] < 15 + 64);
        set16(last_l4(b), 0);
    }
    for (unsigned i = 0; i < 200; i++) { /* and takes it: until there are no more */
        uint8_t want[4];
        set16(m + 32, i);
        b->got = 0;
        send_raw(b, NOBODY, ALL, m, len);
        if (!b->got)
            break;
        memcpy(want, yiaddr(b), 4);
        uint8_t q[400];
        struct ask r = {.type = REQUEST, .mac = 0, .requested = want, .server = HOST};
        size_t qlen = make_ask(q, &r);
        set16(q + 32, i);
        send_raw(b, NOBODY, ALL, q, qlen);
        CHECK_EQ(last_l4(b)[8 + 242], ACK);
        CHECK(i < 64);
    }
    CHECK_EQ(b->got, 0);
    CHECK(b->user->drops[USER_DROP_DHCP] > 0);
    bed_free(b);
}

/* Containers in the guest that come and go, each with an address of its own making: none releases anything. */
TEST(U8_leases_that_ran_out_are_given_to_others)
{
    struct bed *b = bed_new(NULL);
    for (unsigned day = 0; day < 3; day++) {
        for (uint8_t i = 0; i < 64; i++) {
            struct ask a = {.type = DISCOVER, .mac = (uint8_t)(1 + day * 64 + i)};
            uint8_t want[4];
            CHECK_EQ(ask(b, a), OFFER);
            memcpy(want, yiaddr(b), 4);
            CHECK_EQ(ask(b, (struct ask){REQUEST, a.mac, want, HOST, NULL, false}), ACK);
            if (i == 0) /* finds somebody else there */
                CHECK_EQ(ask(b, (struct ask){DECLINE, a.mac, want, HOST, NULL, false}), 0);
        }
        CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 0}), 0); /* all are held */
        bed_wait(b, 24ull * 3600 * 1000000000);
        CHECK_EQ(ask(b, (struct ask){.type = DISCOVER, .mac = 0}), 0); /* to the last second */
        bed_wait(b, 1000000000);
    }
    bed_free(b);
}
