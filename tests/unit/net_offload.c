// SPDX-License-Identifier: MIT
/* Checksums and segmentation, against a slow judge: a receiver that checks every byte of every packet and puts the
 * stream together again. */
#include "test.h"

#include "net/offload.h"

/* --- reference arithmetic: byte by byte, high byte first */

static uint32_t ref_add(uint32_t sum, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static unsigned be16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}
static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}
static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* --- frames */

struct shape {
    bool ipv6, udp;
    unsigned tags, ip_options, extensions, tcp_options;
    size_t payload;
};

struct frame {
    uint8_t bytes[PORT_FRAME_MAX];
    size_t len, l3, l4, header;
};

static struct frame frame, got;
static uint8_t stream[PORT_FRAME_MAX];

/* A train as a driver hands it over: lengths and checksums of the whole, the pseudo header's sum in the field. */
static struct port_meta build(struct frame *f, const struct shape *s, uint16_t gso_size, uint64_t *seed)
{
    uint8_t *b = f->bytes;
    memset(b, 0, 512);
    for (int i = 0; i < 12; i++)
        b[i] = (uint8_t)test_rand(seed);
    size_t at = 12;
    for (unsigned t = 0; t < s->tags; t++, at += 4)
        put16(b + at, t ? 0x8100 : s->tags == 2 ? 0x88a8 : 0x8100);
    put16(b + at, s->ipv6 ? 0x86dd : 0x0800);
    f->l3 = at + 2;
    unsigned proto = s->udp ? 17 : 6;
    uint8_t *ip = b + f->l3;
    if (s->ipv6) {
        ip[0] = 0x60;
        ip[7] = 64;
        for (int i = 8; i < 40; i++)
            ip[i] = (uint8_t)test_rand(seed);
        f->l4 = f->l3 + 40;
        ip[6] = (uint8_t)proto;
        static const uint8_t kinds[] = {0, 60, 43};
        uint8_t *next = &ip[6];
        for (unsigned e = 0; e < s->extensions; e++) {
            *next = kinds[e % 3];
            next = &b[f->l4];
            b[f->l4 + 1] = (uint8_t)(e % 2);
            f->l4 += 8 * (1 + e % 2);
        }
        *next = (uint8_t)proto;
    } else {
        unsigned ihl = 5 + s->ip_options;
        ip[0] = (uint8_t)(0x40 | ihl);
        put16(ip + 4, (unsigned)test_rand(seed) & 0xffff);
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = (uint8_t)proto;
        for (int i = 12; i < 20; i++)
            ip[i] = (uint8_t)test_rand(seed);
        for (unsigned i = 20; i < ihl * 4; i++)
            ip[i] = 1;
        f->l4 = f->l3 + ihl * 4;
    }
    uint8_t *l4 = b + f->l4;
    for (int i = 0; i < 4; i++)
        l4[i] = (uint8_t)test_rand(seed);
    size_t l4_header = 8;
    if (!s->udp) {
        l4_header = 20 + 4 * s->tcp_options;
        for (int i = 4; i < 12; i++)
            l4[i] = (uint8_t)test_rand(seed);
        l4[12] = (uint8_t)(l4_header / 4 << 4);
        l4[13] = 0x10 | 0x08 | 0x01 | 0x80; /* ACK PSH FIN CWR */
    }
    f->header = f->l4 + l4_header;
    f->len = f->header + s->payload;
    for (size_t i = 0; i < s->payload; i++)
        b[f->header + i] = (uint8_t)test_rand(seed);
    size_t l4_len = f->len - f->l4;
    if (s->udp)
        put16(l4 + 4, (unsigned)l4_len & 0xffff);
    uint8_t pseudo[4] = {0, (uint8_t)proto, (uint8_t)(l4_len >> 8), (uint8_t)l4_len};
    uint32_t sum = s->ipv6 ? ref_add(0, ip + 8, 32) : ref_add(0, ip + 12, 8);
    put16(l4 + (s->udp ? 6 : 16), ref_add(sum, pseudo, 4));
    return (struct port_meta){
        .flags = PORT_NEEDS_CSUM,
        .gso_type = s->udp    ? PORT_GSO_UDP_L4
                    : s->ipv6 ? PORT_GSO_TCPV6
                              : PORT_GSO_TCPV4,
        .hdr_len = (uint16_t)f->header,
        .gso_size = gso_size,
        .csum_start = (uint16_t)f->l4,
        .csum_offset = s->udp ? 6 : 16,
    };
}

/* The frame in random pieces, empty ones among them. */
static int cut(const struct frame *f, struct iovec *iov, int max, uint64_t *seed)
{
    size_t at = 0;
    int n = 0;
    while (at < f->len) {
        size_t left = f->len - at, here = left;
        if (n < max - 1)
            here = test_rand(seed) % 4 ? test_rand(seed) % (left < 97 ? left + 1 : 97)
                                       : test_rand(seed) % (left + 1);
        iov[n++] = (struct iovec){(uint8_t *)f->bytes + at, here};
        at += here;
    }
    return n;
}

/* Is this a packet that any host would take: lengths, IP checksum, TCP or UDP checksum. */
static void check_packet(const struct frame *f, const struct shape *s)
{
    const uint8_t *ip = f->bytes + f->l3, *l4 = f->bytes + f->l4;
    uint8_t pseudo[4] = {0, s->udp ? 17 : 6};
    uint32_t sum;
    put16(pseudo + 2, (unsigned)(f->len - f->l4));
    if (s->ipv6) {
        CHECK_EQ(be16(ip + 4), f->len - f->l3 - 40);
        sum = ref_add(0, ip + 8, 32);
    } else {
        CHECK_EQ(be16(ip + 2), f->len - f->l3);
        CHECK_EQ(ref_add(0, ip, f->l4 - f->l3), 0xffff);
        sum = ref_add(0, ip + 12, 8);
    }
    if (s->udp) {
        CHECK_EQ(be16(l4 + 4), f->len - f->l4);
        CHECK(be16(l4 + 6) != 0);
    }
    sum = ref_add(sum, pseudo, 4);
    CHECK_EQ(ref_add(sum, l4, f->len - f->l4), 0xffff);
}

static void check_train(const struct shape *s, uint16_t gso_size, uint64_t *seed)
{
    struct iovec iov[64], out[65];
    struct offload o;
    uint8_t header[OFFLOAD_HEADER_MAX];
    struct port_meta meta = build(&frame, s, gso_size, seed);
    int n = cut(&frame, iov, 64, seed);
    CHECK_EQ(offload_plan(&o, iov, n, &meta), PORT_DROP_NONE);
    CHECK_EQ(o.segments, s->payload ? (s->payload + gso_size - 1) / gso_size : 1);
    size_t have = 0;
    for (unsigned i = 0; i < o.segments; i++) {
        int pieces = offload_segment(&o, i, header, iov, n, out);
        CHECK(pieces > 0 && pieces <= n + 1);
        got = (struct frame){.len = 0, .l3 = frame.l3, .l4 = frame.l4, .header = frame.header};
        for (int p = 0; p < pieces; p++) {
            CHECK(out[p].iov_len <= sizeof got.bytes - got.len);
            memcpy(got.bytes + got.len, out[p].iov_base, out[p].iov_len);
            got.len += out[p].iov_len;
        }
        CHECK(got.len > frame.header || s->payload == 0);
        CHECK(got.len <= frame.header + gso_size);
        CHECK(i + 1 == o.segments || got.len == frame.header + gso_size);
        check_packet(&got, s);
        CHECK(!memcmp(got.bytes, frame.bytes, frame.l3)); /* addresses, tags, type */
        if (!s->ipv6)
            CHECK_EQ(be16(got.bytes + got.l3 + 4), (be16(frame.bytes + frame.l3 + 4) + i) & 0xffff);
        if (!s->udp) {
            bool first = i == 0, last = i + 1 == o.segments;
            const uint8_t *tcp = got.bytes + got.l4;
            CHECK_EQ(be32(tcp + 4), be32(frame.bytes + frame.l4 + 4) + (uint32_t)have);
            CHECK_EQ(tcp[13], 0x10 | (last ? 0x09 : 0) | (first ? 0x80 : 0));
            CHECK(!memcmp(tcp + 18, frame.bytes + frame.l4 + 18, frame.header - frame.l4 - 18)); /* options */
        }
        memcpy(stream + have, got.bytes + got.header, got.len - got.header);
        have += got.len - got.header;
    }
    CHECK_EQ(have, s->payload);
    CHECK(!memcmp(stream, frame.bytes + frame.header, have));
}

TEST(offload_sum_is_the_reference)
{
    uint64_t seed = 1;
    static uint8_t bytes[3000];
    for (unsigned long round = 0; round < test_scale(3000); round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = round % 7 ? (uint8_t)test_rand(&seed) : 0xff;
        size_t from = test_rand(&seed) % 300, len = test_rand(&seed) % 2700;
        struct iovec iov[9];
        size_t at = 0;
        int n = 0;
        for (; n < 8; n++) {
            size_t here = test_rand(&seed) % (test_rand(&seed) % 2 ? 5 : 400);
            iov[n] = (struct iovec){bytes + at, here};
            at += here;
        }
        if (at > 3000)
            continue;
        iov[n++] = (struct iovec){bytes + at, sizeof bytes - at};
        uint16_t sum = offload_sum(iov, n, from, len);
        CHECK_EQ(__builtin_bswap16(sum), ref_add(0, bytes + from, len));
    }
    CHECK_EQ(offload_sum(NULL, 0, 0, 0), 0);
}

TEST(offload_trains_arrive_as_they_were)
{
    uint64_t seed = 2;
    for (unsigned long i = 0; i < test_scale(600); i++) {
        struct shape s = {
            .ipv6 = test_rand(&seed) & 1,
            .udp = test_rand(&seed) % 3 == 0,
            .tags = (unsigned)(test_rand(&seed) % 3),
            .ip_options = (unsigned)(test_rand(&seed) % 11),
            .extensions = (unsigned)(test_rand(&seed) % 4),
            .tcp_options = (unsigned)(test_rand(&seed) % 11),
            .payload = test_rand(&seed) % (test_rand(&seed) % 2 ? 3000 : 65000),
        };
        uint16_t gso = (uint16_t)(1 + test_rand(&seed) % (test_rand(&seed) % 2 ? 1500 : 60000));
        if (s.payload / gso >= OFFLOAD_SEGMENTS_MAX)
            gso = 100;
        check_train(&s, gso, &seed);
    }
}

TEST(offload_edges_of_a_train)
{
    uint64_t seed = 3;
    static const size_t payloads[] = {0, 1, 1447, 1448, 1449, 2896, 2897, 65483};
    for (size_t p = 0; p < sizeof payloads / sizeof *payloads; p++)
        for (int kind = 0; kind < 4; kind++)
            check_train(&(struct shape){.ipv6 = kind & 1, .udp = kind & 2, .payload = payloads[p]}, 1448,
                        &seed);
    check_train(&(struct shape){.payload = OFFLOAD_SEGMENTS_MAX - 1}, 1, &seed);
    check_train(&(struct shape){.payload = 65000}, 65000, &seed); /* one packet */
}

TEST(offload_checksum_anywhere_in_the_headers)
{
    uint64_t seed = 4;
    static const struct port_meta none;
    for (unsigned long i = 0; i < test_scale(4000); i++) {
        struct shape s = {
            .udp = test_rand(&seed) & 1, .ipv6 = test_rand(&seed) & 1, .payload = test_rand(&seed) % 1400};
        struct iovec iov[16], out[17];
        struct offload o;
        uint8_t header[OFFLOAD_HEADER_MAX];
        struct port_meta meta = build(&frame, &s, 0, &seed);
        int n = cut(&frame, iov, 16, &seed);
        meta.gso_type = PORT_GSO_NONE;
        CHECK(!offload_accepted(&meta, 0) && offload_accepted(&meta, PORT_ACCEPT_CSUM));
        CHECK_EQ(offload_plan(&o, iov, n, &meta), PORT_DROP_NONE);
        CHECK_EQ(o.segments, 1);
        int pieces = offload_segment(&o, 0, header, iov, n, out);
        size_t len = 0;
        got = frame;
        for (int p = 0; p < pieces; p++) {
            memcpy(got.bytes + len, out[p].iov_base, out[p].iov_len);
            len += out[p].iov_len;
        }
        CHECK_EQ(len, frame.len);
        size_t at = meta.csum_start + meta.csum_offset;
        CHECK(!memcmp(got.bytes, frame.bytes, at) &&
              !memcmp(got.bytes + at + 2, frame.bytes + at + 2, len - at - 2));
        uint32_t sum = ref_add(0, frame.bytes + frame.l4, len - frame.l4);
        CHECK_EQ(be16(got.bytes + at), (uint16_t)~sum ? (uint16_t)~sum : 0xffff);
    }
    CHECK(offload_accepted(&none, 0));
}

TEST(offload_zero_checksum_goes_out_as_ones)
{
    /* a UDP datagram whose sum is 0xffff: the field must not become 0, which means "none" */
    uint8_t f[64] = {0};
    struct iovec iov = {f, sizeof f}, out[2];
    struct offload o;
    uint8_t header[OFFLOAD_HEADER_MAX];
    f[40] = f[41] = 0xff;
    struct port_meta meta = {.flags = PORT_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
    CHECK_EQ(offload_plan(&o, &iov, 1, &meta), PORT_DROP_NONE);
    offload_segment(&o, 0, header, &iov, 1, out);
    CHECK_EQ(be16(header + 40), 0xffff);
}

/* --- what nobody should ask for */

TEST(N3_meta_nonsense_is_dropped_with_a_reason)
{
    uint64_t seed = 5;
    struct offload o;
    struct shape tcp = {.payload = 3000}, udp = {.udp = true, .payload = 3000};
    const struct port_meta good = build(&frame, &tcp, 1000, &seed);
    struct iovec iov = {frame.bytes, frame.len};
#define REFUSED(why_, ...)                                                                                   \
    do {                                                                                                     \
        struct port_meta meta = good;                                                                        \
        __VA_ARGS__;                                                                                         \
        CHECK_EQ(offload_plan(&o, &iov, 1, &meta), why_);                                                    \
    } while (0)
    REFUSED(PORT_DROP_NONE, meta.hdr_len = 0);
    REFUSED(PORT_DROP_NONE, meta.hdr_len = 65535);
    REFUSED(PORT_DROP_NONE, meta.gso_type |= PORT_GSO_ECN);
    REFUSED(PORT_DROP_NONE, meta.flags = 0); /* the checksum is made all the same */
    REFUSED(PORT_DROP_GSO_SIZE, meta.gso_size = 0);
    REFUSED(PORT_DROP_GSO_SIZE, meta.gso_size = 1);
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = PORT_GSO_TCPV6);
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = PORT_GSO_UDP_L4);
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = 2);
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = 3); /* UFO */
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = PORT_GSO_ECN);
    REFUSED(PORT_DROP_GSO_TYPE, meta.gso_type = 0xff);
    REFUSED(PORT_DROP_CSUM, meta.csum_start++);
    REFUSED(PORT_DROP_CSUM, meta.csum_start = 65535);
    REFUSED(PORT_DROP_CSUM, meta.csum_offset = 6);
    /* without segmentation: the field must lie in the frame */
    REFUSED(PORT_DROP_CSUM, meta.gso_type = 0, meta.csum_start = 65535, meta.csum_offset = 65535);
    REFUSED(PORT_DROP_CSUM, meta.gso_type = 0, meta.csum_start = 500, meta.csum_offset = 11);
    REFUSED(PORT_DROP_NONE, meta.gso_type = 0, meta.csum_start = 500, meta.csum_offset = 10);
    REFUSED(PORT_DROP_CSUM, meta.gso_type = 0, meta.csum_start = 13);
    iov.iov_len = 60;
    REFUSED(PORT_DROP_CSUM, meta.gso_type = 0, meta.csum_start = 34, meta.csum_offset = 25);
    REFUSED(PORT_DROP_NONE, meta.gso_type = 0, meta.csum_start = 34, meta.csum_offset = 24);
    iov.iov_len = 13;
    REFUSED(PORT_DROP_SHORT, meta.gso_type = 0);
    iov.iov_len = frame.len;

    (void)build(&frame, &udp, 1000, &seed);
    REFUSED(PORT_DROP_GSO_TYPE, (void)0);
}

/* E2, E3: headers that are cut off, lie about their lengths, or are larger than the frame. */
TEST(E2_E3_headers_are_believed_only_as_far_as_they_go)
{
    uint64_t seed = 6;
    struct offload o;
    for (int kind = 0; kind < 4; kind++) {
        struct shape s = {
            .ipv6 = kind & 1, .udp = kind & 2, .tags = 1, .extensions = 2, .tcp_options = 3, .payload = 100};
        struct port_meta meta = build(&frame, &s, 10, &seed);
        for (size_t len = 14; len <= frame.len; len++) {
            struct iovec iov = {frame.bytes, len};
            enum port_drop why = offload_plan(&o, &iov, 1, &meta);
            CHECK_EQ(why, len < frame.header ? PORT_DROP_HEADERS : PORT_DROP_NONE);
        }
    }
    struct shape s = {.payload = 100};
    struct port_meta meta = build(&frame, &s, 10, &seed);
    struct iovec iov = {frame.bytes, frame.len};
    uint8_t *ip = frame.bytes + frame.l3, *tcp = frame.bytes + frame.l4, keep;
#define BROKEN(byte_, value_)                                                                                \
    do {                                                                                                     \
        keep = (byte_);                                                                                      \
        (byte_) = (value_);                                                                                  \
        CHECK_EQ(offload_plan(&o, &iov, 1, &meta), PORT_DROP_HEADERS);                                       \
        (byte_) = keep;                                                                                      \
    } while (0)
    BROKEN(ip[0], 0x44); /* header of 16 bytes */
    BROKEN(ip[0], 0x65); /* version */
    BROKEN(ip[6], 0x20); /* a fragment */
    BROKEN(ip[7], 0x01);
    BROKEN(tcp[12], 0x40);             /* header of 16 bytes */
    BROKEN(frame.bytes[12], 0x08 + 1); /* not IP */
    frame.len = frame.header;
    iov.iov_len = frame.len;
    BROKEN(tcp[12], 0xf0); /* options past the end */
    /* extension headers without end */
    s = (struct shape){.ipv6 = true, .payload = 65000};
    meta = build(&frame, &s, 1000, &seed);
    memset(frame.bytes + frame.l3 + 40, 0, 65000); /* hop by hop, of 8 bytes, for ever */
    frame.bytes[frame.l3 + 6] = 0;
    iov.iov_len = frame.len;
    CHECK_EQ(offload_plan(&o, &iov, 1, &meta), PORT_DROP_HEADERS);
}

/* E4: every checksum start and offset on three sizes; whatever is accepted stays inside the frame. */
TEST(E4_checksum_grid)
{
    uint64_t seed = 7;
    static const size_t sizes[] = {14, 60, 200};
    for (size_t k = 0; k < 3; k++) {
        uint8_t *bytes = malloc(sizes[k]); /* exactly, so that the sanitizer sees a byte too far */
        for (size_t i = 0; i < sizes[k]; i++)
            bytes[i] = (uint8_t)test_rand(&seed);
        struct iovec iov = {bytes, sizes[k]}, out[2];
        for (unsigned start = 0; start < 256; start++) {
            for (unsigned offset = 0; offset < 256; offset++) {
                struct offload o;
                uint8_t header[OFFLOAD_HEADER_MAX];
                struct port_meta meta = {
                    .flags = PORT_NEEDS_CSUM, .csum_start = (uint16_t)start, .csum_offset = (uint16_t)offset};
                enum port_drop why = offload_plan(&o, &iov, 1, &meta);
                CHECK_EQ(why,
                         start >= 14 && start + offset + 2 <= sizes[k] ? PORT_DROP_NONE : PORT_DROP_CSUM);
                if (why)
                    continue;
                int n = offload_segment(&o, 0, header, &iov, 1, out);
                CHECK_EQ(offload_length(out, n), sizes[k]);
            }
        }
        free(bytes);
    }
}

/* Random bytes and random requests: no sanitizer speaks, and the sum of what comes out is bounded. */
TEST(N3_random_frames_and_requests)
{
    uint64_t seed = 8;
    unsigned good = 0;
    for (unsigned long i = 0; i < test_scale(20000); i++) {
        struct shape s = {
            .ipv6 = test_rand(&seed) & 1, .udp = test_rand(&seed) & 1, .payload = test_rand(&seed) % 300};
        struct port_meta meta = build(&frame, &s, (uint16_t)(1 + test_rand(&seed) % 200), &seed);
        for (unsigned hits = (unsigned)(test_rand(&seed) % 3); hits; hits--)
            frame.bytes[test_rand(&seed) % frame.header] = (uint8_t)test_rand(&seed);
        for (unsigned hits = (unsigned)(test_rand(&seed) % 3); hits; hits--)
            ((uint8_t *)&meta)[test_rand(&seed) % sizeof meta] = (uint8_t)test_rand(&seed);
        struct iovec iov[8], out[9];
        struct offload o;
        uint8_t header[OFFLOAD_HEADER_MAX];
        frame.len = 14 + test_rand(&seed) % (frame.len - 13);
        int n = cut(&frame, iov, 8, &seed);
        if (offload_plan(&o, iov, n, &meta))
            continue;
        good++;
        CHECK(o.segments >= 1 && o.segments <= OFFLOAD_SEGMENTS_MAX);
        size_t total = 0;
        for (unsigned k = 0; k < o.segments; k++)
            total += offload_length(out, offload_segment(&o, k, header, iov, n, out));
        CHECK(total <= frame.len + (size_t)(o.segments - 1) * OFFLOAD_HEADER_MAX);
    }
    CHECK(good > test_scale(20000) / 20);
}

TEST(E12_frame_lengths)
{
    static uint8_t bytes[PORT_FRAME_MAX + 1];
    struct iovec two[2] = {
        {bytes, PORT_FRAME_MAX},
        {bytes, 1             }
    };
    CHECK_EQ(offload_length(two, 1), PORT_FRAME_MAX);
    CHECK_EQ(offload_length(two, 2), SIZE_MAX);
    two[1].iov_len = SIZE_MAX; /* wraps */
    CHECK_EQ(offload_length(two, 2), SIZE_MAX);
    CHECK_EQ(offload_length(NULL, 0), 0);
}
