// SPDX-License-Identifier: MIT
/* The user network against a guest that sends anything: frames of 0 to 65,550 bytes, and valid packets of every protocol with
 * bytes changed, cut or moved, their checksums made right again or not. In a network namespace of its own, so that nothing
 * of it leaves. What must hold: no memory error (sanitizers), no memory taken, no descriptor left, no time
 * without end, and a good packet is answered as before. Every random number from TEST_SEED. */
#include "user_net.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "net/flow.h"
#include "net/tcp.h"

enum {
    PORT = 9009, /* of the host's, where something listens */
    FRAME = 65550,
    KINDS = 14
};

static size_t udp(uint8_t *f, uint16_t sport, const uint8_t *src, const uint8_t *dst, uint16_t dport,
                  const void *data, size_t len)
{
    static uint8_t l4[2000];
    set16(l4, sport);
    set16(l4 + 2, dport);
    set16(l4 + 4, (uint32_t)len + 8);
    memcpy(l4 + 8, data, len);
    return make4(f, IP_UDP, src, dst, l4, len + 8);
}

/* A valid frame of some kind. */
static size_t make_valid(uint8_t *f, unsigned kind, uint64_t r)
{
    static const uint8_t nobody[4], all[4] = {255, 255, 255, 255}, near[4] = {127, 0, 0, 1},
                                    far[4] = {192, 0, 2, 7};
    static const uint8_t dns[] = {0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 0, 0, 1, 0, 1};
    static const char rrq[] = "\0\001passwd\0octet\0blksize\0001024\0tsize\0000";
    const uint8_t *hosts[] = {HOST, DNS, near, far};
    const uint8_t *dst = hosts[r & 3];
    uint8_t m[1200] = {0};
    switch (kind) {
    case 0: /* ARP */
        memset(f, 0xff, 6);
        memcpy(f + 6, guest_mac, 6);
        memcpy(f + 12, (uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
        memcpy(f + 22, guest_mac, 6);
        memcpy(f + 28, GUEST, 4);
        memset(f + 32, 0, 10);
        memcpy(f + 38, dst, 4);
        return 42;
    case 1: /* echo */
    case 2:
        m[0] = 8;
        return make4(f, IP_ICMP, GUEST, dst, m, 8 + (r >> 8) % 1000);
    case 3:
        return udp(f, (uint16_t)(r >> 8 | 1), GUEST, dst, r >> 24 & 3 ? PORT : (uint16_t)(r >> 26 | 1), m,
                   (r >> 40) % 1000);
    case 4:
        return udp(f, (uint16_t)(r >> 8 | 1), GUEST, DNS, 53, dns, sizeof dns);
    case 5:
        return udp(f, (uint16_t)(r >> 8 | 1), GUEST, HOST, 69, rrq, sizeof rrq);
    case 6: /* an ACK or error of TFTP */
        m[1] = r & 16 ? 4 : 5;
        return udp(f, (uint16_t)(r >> 8 | 1), GUEST, HOST, (uint16_t)(1069 + r % 16), m, 4);
    case 7: /* DHCP */
        memcpy(m, (uint8_t[]){1, 1, 6, 0}, 4);
        memcpy(m + 28, guest_mac, 6);
        m[33] = (uint8_t)(r >> 8);
        set32(m + 236, 0x63825363);
        memcpy(m + 240,
               (uint8_t[]){53, 1, (uint8_t)(1 + r % 8), 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2, 255}, 16);
        return udp(f, 68, nobody, all, 67, m, 300);
    case 8: /* TCP */
    case 9:
        set16(m, (uint32_t)(r >> 8 | 1) & 0xff); /* often the same connection */
        set16(m + 2, PORT);
        set32(m + 4, (uint32_t)(r >> 30));
        set32(m + 8, (uint32_t)(r >> 20));
        m[12] = 0x50;
        m[13] = kind == 8 ? 2 : (uint8_t)(r >> 16 & 0x3f);
        set16(m + 14, 5000);
        return make4(f, IP_TCP, GUEST, dst, m, 20 + (kind == 8 ? 0 : (r >> 50) % 1000));
    case 10: /* a fragment */
    {
        size_t len = udp(f, 9, GUEST, HOST, PORT, m, 8 * ((r >> 8) % 100));
        set16(f + 18, (uint32_t)(r >> 20 & 15));
        set16(f + 20, (uint32_t)(r >> 30 & 0x3fff) >> (r >> 24 & 7));
        return len;
    }
    default: /* IPv6: echo, solicitations, UDP, with and without headers in between */
    {
        static const uint8_t chain[] = {44, 0, 1, 4, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 9};
        static const char *const src[] = {"fd76:6d6c:6574::aa", "fe80::aa", "::"}, *const to[] = {
                                                                                       "fd76:6d6c:6574::2",
                                                                                       "fd76:6d6c:6574::3",
                                                                                       "ff02::2",
                                                                                       "2001:db8::1"};
        struct ip_out o = {.ttl = 255};
        size_t chain_len = kind == 12 ? sizeof chain : 0, len = 8 + (r >> 8) % 64;
        CHECK(ip_parse(src[r % 3], &o.src) && ip_parse(to[(r >> 4) % 4], &o.dst));
        o.proto = kind == 12 ? 60 : kind == 11 ? IP_ICMP6 : IP_UDP;
        m[0] = kind == 13 ? 0 : (uint8_t)(r & 64 ? 128 : 133 + (r >> 7) % 5);
        if (kind == 13)
            memcpy(m, (uint8_t[]){9, 9, 0, 53, 0, (uint8_t)len}, 6);
        memcpy(f, "\x52\x55\x0a\0\x02\x02", 6);
        memcpy(f + 6, guest_mac, 6);
        set16(f + 12, ETH_IPV6);
        ip6_header(f + 14, &o, chain_len + len, 0, 0, false, false);
        memcpy(f + 54, chain, chain_len);
        memcpy(f + 54 + chain_len, m, len);
        return 54 + chain_len + len;
    }
    }
}

/* Makes the checksums right for whatever the headers now say, if they can be. */
static void mend(uint8_t *f, size_t len)
{
    if (len < 34 || get16(f + 12) != ETH_IPV4 || (f[14] & 15) < 5 || 14u + (f[14] & 15u) * 4 > len)
        return;
    size_t ihl = (f[14] & 15u) * 4, total = get16(f + 16);
    memset(f + 24, 0, 2);
    uint16_t sum = (uint16_t)~sum_of(f + 14, ihl);
    memcpy(f + 24, &sum, 2);
    if (total < ihl || total > len - 14)
        return;
    uint8_t *l4 = f + 14 + ihl;
    size_t n = total - ihl, at = f[23] == IP_TCP ? 16 : f[23] == IP_UDP ? 6 : f[23] == IP_ICMP ? 2 : 0;
    if (!at || n < at + 2)
        return;
    struct ip_addr src = ip_addr4(f + 26), dst = ip_addr4(f + 30);
    memset(l4 + at, 0, 2);
    sum = sum_of(l4, n);
    if (at != 2)
        sum = ip_sum_add(sum, ip_pseudo_sum(&src, &dst, f[23], n));
    sum = (uint16_t)~sum;
    memcpy(l4 + at, &sum, 2);
}

static size_t mutate(uint8_t *f, size_t len, uint64_t *seed)
{
    static const uint8_t edges[] = {0, 1, 4, 5, 7, 8, 15, 16, 60, 63, 64, 127, 128, 192, 254, 255};
    for (unsigned n = (unsigned)(test_rand(seed) % 5); n > 0 && len; n--) {
        uint64_t r = test_rand(seed);
        size_t at = (r >> 8) % (r & 1 ? len : len < 80 ? len : 80);
        switch (r >> 48 & 7) {
        case 0:
            len = at; /* cut */
            break;
        case 1: /* longer than it says */
            if (len + 40 < FRAME)
                len += (r >> 52) % 40;
            break;
        case 2:
            f[at] ^= (uint8_t)(1 << (r >> 56 & 7));
            break;
        case 3:
            memmove(f + at, f + len / 2, len - (at > len / 2 ? at : len / 2));
            break;
        default:
            f[at] = edges[r >> 56 & 15];
        }
    }
    return len;
}

static void send_as(struct bed *b, const uint8_t *f, size_t len, uint64_t r)
{
    struct port_meta meta = {0};
    uint8_t *copy = malloc(len ? len : 1); /* exactly as long */
    struct iovec iov[8];
    int n = 0;
    memcpy(copy, f, len);
    if ((r & 0xf) == 0) { /* unfinished frames, which cards hand over so */
        meta.flags = r >> 4 & 1 ? PORT_NEEDS_CSUM : PORT_DATA_VALID;
        meta.gso_type = r >> 5 & 1 ? PORT_GSO_TCPV4 : r >> 6 & 1 ? PORT_GSO_TCPV6 : 0;
        meta.gso_size = (uint16_t)(r >> 16);
        meta.csum_start = (uint16_t)(r >> 32 & 0xff);
        meta.csum_offset = 16;
    }
    for (size_t at = 0; at < len && n < 8; n++) { /* in pieces */
        size_t part = n == 7 ? len - at : (r >> (8 + n * 4) & 0x3f) + 1;
        if (part > len - at || (r & 0x30))
            part = len - at;
        iov[n] = (struct iovec){copy + at, part};
        at += part;
    }
    if (port_send(&b->card, iov, n, &meta) == PORT_BUSY)
        port_ready(user_port(b->user));
    free(copy);
    bed_run(b);
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 8192; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* The host's side of it: a UDP server and resolver that answers nonsense, and a TCP server that hangs up. */
static int udp_server, tcp_server;

static void serve(uint64_t r)
{
    static uint8_t m[9000];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(udp_server, m, sizeof m, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (n >= 0) {
        if (n > 3)
            m[2] |= 0x80; /* to look like an answer */
        if ((r & 3) == 0 && n > 0)
            m[(r >> 8) % (size_t)n] ^= (uint8_t)(r >> 20);
        if ((r & 12) == 0)
            n = (ssize_t)((r >> 30) % sizeof m);
        sendto(udp_server, m, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&from, from_len);
    }
    int fd = accept4(tcp_server, NULL, NULL, SOCK_NONBLOCK);
    if (fd >= 0) {
        if (r & 16)
            send(fd, m, 5000, MSG_NOSIGNAL);
        close(fd);
    }
}

static void servers(void)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    udp_server = socket(AF_INET, SOCK_DGRAM, 0);
    tcp_server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(bind(udp_server, (struct sockaddr *)&in, sizeof in) == 0);
    CHECK(bind(tcp_server, (struct sockaddr *)&in, sizeof in) == 0 && listen(tcp_server, 100) == 0);
}

TEST(fuzz_nothing_ends_it_and_nothing_grows)
{
    if (!isolate())
        SKIP("no network namespace may be made here, and its packets must not leave");
    static uint8_t f[FRAME + 64];
    uint64_t seed = getenv("TEST_SEED") ? strtoull(getenv("TEST_SEED"), NULL, 0) : 20;
    static const char *const forwards[] = {"udp::9010-:9", "tcp::9010-:9"};
    struct user_options o = {
        .tftp = "/etc", .hostfwd = forwards, .n_hostfwd = 2, .resolv_conf = "/dev/null", .dns_port = PORT};
    servers();
    struct bed *b = bed_new(&o);
    unsigned before = descriptors();
    size_t used = 0;
    unsigned long rounds = test_scale(200000);
    for (unsigned long i = 0; i < rounds; i++) {
        uint64_t r = test_rand(&seed);
        size_t len;
        memset(f, 0, 1400);
        if (i % 200 == 0) { /* of any length */
            len = r % (FRAME + 1);
            for (size_t k = 0; k < len; k += 8) {
                uint64_t v = test_rand(&seed);
                memcpy(f + k, &v, 8);
            }
            memset(f, 0xff, 6);
            f[6] &= 0xfe;
            static const uint16_t types[] = {ETH_IPV4, ETH_IPV6, ETH_ARP, 0x8100};
            set16(f + 12, types[r >> 20 & 3]);
            if ((r >> 20 & 3) == 0 && len > 34) { /* as far as IPv4's own checks let it */
                f[14] = 0x45;
                set16(f + 16, (uint32_t)(len - 14 > 65535 ? 65535 : len - 14));
                memcpy(f + 26, GUEST, 4);
            }
        } else {
            len = mutate(f, make_valid(f, (unsigned)(r >> 60) % KINDS, r), &seed);
        }
        if (r >> 33 & 3)
            mend(f, len);
        b->full = (r >> 35 & 31) == 0; /* sometimes it has no room for answers */
        b->got = 0;
        send_as(b, f, len, test_rand(&seed));
        if (b->full) {
            b->full = false;
            port_ready(&b->card);
            bed_run(b);
        }
        serve(r >> 7);
        bed_run(b);
        if (i % 64 == 0)
            b->now += r % 2000000000; /* some time goes by, and what is due is done */
        bed_run(b);
        if (i == rounds / 10)
            used = mallinfo2().uordblks;
    }
#ifdef SANITIZED
    (void)used; /* not counted there */
#else
    CHECK_EQ(mallinfo2().uordblks, used);
#endif
    CHECK(b->user->flows->n <= b->user->flows->max);
    uint64_t kinds = 0;
    for (int i = 0; i < USER_DROPS; i++)
        kinds += b->user->drops[i] > 0;
    CHECK(kinds >= 15); /* it went far and wide */
    b->got = 0;
    uint8_t echo[16] = {8};
    send4(b, IP_ICMP, GUEST, HOST, echo, sizeof echo);
    CHECK(b->got == 1 && last_l4(b)[0] == 0); /* and is as well as before */
    bed_wait(b, 3600ull * 1000000000);        /* everything that waits for something gives up */
    CHECK_EQ(b->user->flows->n, 0);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    CHECK_EQ(descriptors(), before);
    bed_free(b);
    close(udp_server);
    close(tcp_server);
}
