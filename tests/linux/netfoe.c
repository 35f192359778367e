// SPDX-License-Identifier: MIT
/* Peers that nobody wants, for tests of a network: one program for both ends, without needs.
 *
 *   netfoe serve ADDR PORT       for ever, a TCP server that does what the client's first byte says (enum role),
 *                              and a UDP echo
 *   netfoe dns ADDR              for ever, a resolver that says a dozen wrong things before each right one (192.0.2.5)
 *   netfoe play ADDR PORT        a client of `serve`, all roles; a line `ok ROLE` each. Status 0: all were as they should be
 *   netfoe raw GUEST HOST DNS    root: packets that no stack would send, by a raw socket; says how many it has sent
 *   netfoe flood ADDR PORT N     connects N times and goes, in every way there is
 *
 * Sources: RFC 791 (fragments), 9293 (TCP), 1035 (DNS). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum role {
    ECHO = 'e',    /* gives every byte back */
    DEAF = 'n',    /* reads nothing, ever */
    RESET = 'r',   /* sends half of what it has, and RST */
    DRIP = 'b',    /* a byte at a time */
    HALF = 'h',    /* FIN at once, then takes all */
    URGENT = 'o',  /* urgent data among the rest */
    ENDLESS = 'g', /* sends for ever */
    ABRUPT = 'a',  /* RST before anything */
};
enum {
    DRIPS = 500,
    PART = 100000,
};

static const char urgent[] = "before!after";

static void die_of(const char *what)
{
    printf("netfoe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in at(const char *addr, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, addr, &a.sin_addr) != 1)
        die_of(addr);
    return a;
}

static void reset(int fd)
{
    static const struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* --- the server: a process a connection */

static void act(int fd, char role)
{
    static char buf[PART];
    ssize_t n;
    switch (role) {
    case ECHO:
        while ((n = read(fd, buf, sizeof buf)) > 0)
            for (ssize_t done = 0, w; done < n; done += w)
                if ((w = write(fd, buf + done, (size_t)(n - done))) <= 0)
                    exit(0);
        break;
    case DEAF:
        pause();
        break;
    case RESET:
        (void)!write(fd, buf, sizeof buf);
        /* fall through */
    case ABRUPT:
        reset(fd);
        exit(0);
    case DRIP:
        for (int i = 0; i < DRIPS; i++) {
            buf[0] = (char)i;
            if (write(fd, buf, 1) != 1)
                exit(0);
        }
        break;
    case HALF:
        shutdown(fd, SHUT_WR);
        while (read(fd, buf, sizeof buf) > 0)
            ;
        break;
    case URGENT:
        send(fd, urgent, 6, 0);
        send(fd, urgent + 6, 1, MSG_OOB);
        send(fd, urgent + 7, sizeof urgent - 7, 0);
        break;
    case ENDLESS:
        while (write(fd, buf, sizeof buf) > 0)
            ;
    }
    exit(0);
}

static void echo_datagrams(struct sockaddr_in a)
{
    static char buf[65536];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a))
        die_of("bind");
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &len);
        if (n >= 0)
            sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
}

static void serve(const char *addr, int port)
{
    struct sockaddr_in a = at(addr, port);
    if (!fork()) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        echo_datagrams(a);
    }
    int on = 1, lfd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(lfd, (struct sockaddr *)&a, sizeof a) || listen(lfd, 64))
        die_of("listen");
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(lfd, NULL, NULL);
        char role;
        if (fd >= 0 && !fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* also those that wait for ever */
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
            if (read(fd, &role, 1) == 1)
                act(fd, role);
            exit(0);
        }
        close(fd);
    }
}

/* --- the resolver */

static void dns(const char *addr)
{
    struct sockaddr_in a = at(addr, 53), elsewhere = at(addr, 5353), from;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) ||
        bind(other, (struct sockaddr *)&elsewhere, sizeof elsewhere))
        die_of("bind");
    for (;;) {
        static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 5};
        uint8_t q[512], m[1024];
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_len);
        if (n < 17)
            continue;
        size_t len = (size_t)n, end = 12; /* of the question; what follows it (EDNS) is left out */
        while (end < len && q[end])
            end += 1u + q[end];
        end += 5;
        if (end > len)
            continue;
        memcpy(m, q, end);
        bool a4 = q[end - 4] == 0 && q[end - 3] == 1;
        m[2] |= 0x80;
        m[3] = 0x80;
        memset(m + 6, 0, 6);
        m[7] = a4;
        memcpy(m + end, record, sizeof record);
        size_t whole = end + (a4 ? sizeof record : 0);
        static const struct {
            int where;
            uint8_t flip;
            uint16_t cut;
        } wrong[] = {
            {0,  1,    0 },
            {1,  0x80, 0 },
            {2,  0x80, 0 },
            {4,  0xff, 0 },
            {5,  0xfe, 0 },
            {12, 0xc0, 0 },
            {13, 0x20, 0 },
            {2,  0,    12},
            {2,  0,    1 },
            {2,  0,    20},
        };
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            m[wrong[i].where] ^= wrong[i].flip;
            sendto(fd, m, wrong[i].cut ? wrong[i].cut : whole, 0, (struct sockaddr *)&from, from_len);
            m[wrong[i].where] ^= wrong[i].flip;
        }
        m[whole - 1] = 66; /* right in all, but for who says it */
        sendto(other, m, whole, 0, (struct sockaddr *)&from, from_len);
        m[whole - 1] = a4 ? 5 : q[end - 1];
        usleep(50000); /* so that the wrong ones are there first */
        sendto(fd, m, whole, 0, (struct sockaddr *)&from, from_len);
    }
}

/* --- the client */

static struct sockaddr_in server;

static int dial(char role)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) || write(fd, &role, 1) != 1)
        die_of("connect");
    return fd;
}

/* Reads to the end: how many bytes, or -errno. */
static ssize_t drain(int fd, char *buf, size_t size)
{
    size_t done = 0;
    for (;;) {
        ssize_t n = read(fd, buf + done, size - done);
        if (n <= 0)
            return n < 0 ? -errno : (ssize_t)done;
        done += (size_t)n;
        if (done == size)
            return (ssize_t)done;
    }
}

/* Everything there, and everything back as it was. */
static bool echoes(const char *bytes, size_t len, int flags)
{
    static char back[PART];
    int fd = dial(ECHO);
    bool ok = send(fd, bytes, len - 1, 0) == (ssize_t)len - 1 && send(fd, bytes + len - 1, 1, flags) == 1;
    shutdown(fd, SHUT_WR);
    ok = ok && drain(fd, back, sizeof back) == (ssize_t)len && !memcmp(back, bytes, len);
    close(fd);
    return ok;
}

static bool is_up(void)
{
    return echoes("well?", 5, 0);
}

/* T5: what other stacks rewrite */
static bool rewritten(void)
{
    static const char *const lines[] = {
        "1234,5678\r\n",
        "PORT 10,0,2,15,4,1\r\n",
        "EPRT |1|10.0.2.15|1025|\r\n",
        "227 Entering Passive Mode (10,0,2,15,4,1)\r\n",
        "PRIVMSG you :\001DCC CHAT chat 167772687 1025\001\r\n",
        "PRIVMSG you :\001DCC SEND f 4294967295 65536 99999999999999999999\001\r\n",
        "\0\0001026\0",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!echoes(lines[i], i == 6 ? 7 : strlen(lines[i]), 0))
            return false;
    return true;
}

/* T2: urgent data is ordinary data (RFC 6093), both ways */
static bool urgent_there(void)
{
    return echoes("abc!", 4, MSG_OOB) && echoes("!", 1, MSG_OOB);
}
static bool urgent_here(void)
{
    char buf[64];
    int fd = dial(URGENT), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    bool ok = drain(fd, buf, sizeof buf) == sizeof urgent && !memcmp(buf, urgent, sizeof urgent);
    close(fd);
    return ok;
}

/* T4: a peer that never reads: the window closes, and stays so; the rest goes on */
static bool deaf(void)
{
    static char buf[65536];
    int fd = dial(DEAF);
    long sent = 0;
    struct pollfd p = {fd, POLLOUT, 0};
    while (poll(&p, 1, 3000) > 0) {
        ssize_t n = send(fd, buf, sizeof buf, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        sent += n > 0 ? n : 0;
        if (sent > 256 << 20)
            return false; /* nobody has so much room */
    }
    bool ok = is_up();
    close(fd);
    return ok && sent > 0;
}

/* … and a guest that never reads what has no end; a small buffer, so that its window is silly */
static bool endless(void)
{
    int fds[8], size = 2048;
    char c;
    for (int i = 0; i < 8; i++) {
        fds[i] = dial(ENDLESS);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    sleep(3);
    bool ok = is_up();
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 100; k++) /* a byte at a time opens it a byte at a time */
            ok = ok && read(fds[i], &c, 1) == 1;
        reset(fds[i]);
    }
    return ok;
}

/* T6 */
static bool half(void)
{
    static char buf[PART];
    int fd = dial(HALF);
    bool ok = read(fd, buf, 1) == 0;
    for (int i = 0; i < 20; i++)
        ok = ok && write(fd, buf, sizeof buf) == sizeof buf;
    close(fd);
    return ok;
}
static bool drip(void)
{
    char buf[DRIPS + 1];
    int fd = dial(DRIP);
    bool ok = drain(fd, buf, sizeof buf) == DRIPS;
    for (int i = 0; ok && i < DRIPS; i++)
        ok = buf[i] == (char)i;
    close(fd);
    return ok;
}
static bool is_reset(char role)
{
    static char buf[PART + 1];
    int fd = dial(role);
    ssize_t n = drain(fd, buf, sizeof buf);
    close(fd);
    return n == -ECONNRESET;
}
static bool resets(void)
{
    for (int i = 0; i < 20; i++)
        if (!is_reset(i & 1 ? RESET : ABRUPT))
            return false;
    return true;
}

/* Of every size that is cut somewhere, and back. */
static bool datagrams(void)
{
    static const size_t sizes[] = {0, 1, 1472, 1473, 8000, 65507};
    static char out[65536], back[65536];
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 1 << 20;
    bool ok = !connect(fd, (struct sockaddr *)&server, sizeof server);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 31 >> 3);
    for (size_t i = 0; ok && i < sizeof sizes / sizeof *sizes; i++) {
        struct pollfd p = {fd, POLLIN, 0};
        ok = send(fd, out, sizes[i], 0) == (ssize_t)sizes[i] && poll(&p, 1, 10000) == 1 &&
             recv(fd, back, sizeof back, 0) == (ssize_t)sizes[i] && !memcmp(out, back, sizes[i]);
    }
    close(fd);
    return ok;
}

static int play(void)
{
    static const struct {
        const char *name;
        bool (*run)(void);
    } parts[] = {
        {"up",           is_up       },
        {"rewritten",    rewritten   },
        {"urgent-there", urgent_there},
        {"urgent-here",  urgent_here },
        {"half",         half        },
        {"drip",         drip        },
        {"resets",       resets      },
        {"deaf",         deaf        },
        {"endless",      endless     },
        {"datagrams",    datagrams   },
        {"up",           is_up       },
    };
    int bad = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        alarm(60);
        bool ok = parts[i].run();
        printf("%s %s\n", ok ? "ok" : "FAIL", parts[i].name);
        fflush(stdout);
        bad |= !ok;
    }
    return bad;
}

/* --- raw packets */

static int raw_fd;
static unsigned raw_sent;

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* The kernel fills in IPv4's checksum and length. */
static void raw(uint8_t proto, const char *src, const char *dst, unsigned id, unsigned fragment,
                const void *l4, size_t len)
{
    uint8_t p[2100] = {0x45};
    struct sockaddr_in to = at(dst, 0);
    put16(p + 2, (unsigned)len + 20);
    put16(p + 4, id);
    put16(p + 6, fragment);
    p[8] = 64;
    p[9] = proto;
    inet_pton(AF_INET, src, p + 12);
    inet_pton(AF_INET, dst, p + 16);
    memcpy(p + 20, l4, len);
    raw_sent += sendto(raw_fd, p, len + 20, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)len + 20;
}

/* RFC 1071, over RFC 9293's pseudo header and a segment; else it would be thrown away before anybody looks at it. */
static void tcp_checksum(const char *src, const char *dst, uint8_t *m, size_t len)
{
    uint8_t all[12 + 80] = {[9] = 6, [11] = (uint8_t)len};
    uint32_t sum = 0;
    inet_pton(AF_INET, src, all);
    inet_pton(AF_INET, dst, all + 4);
    put16(m + 16, 0);
    memcpy(all + 12, m, len);
    for (size_t i = 0; i < 12 + len; i += 2)
        sum += (uint32_t)(all[i] << 8 | all[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(m + 16, ~(sum + (sum >> 16)) & 0xffff);
}

static void raw_udp(const char *src, const char *dst, unsigned port, unsigned length, const void *data,
                    size_t len)
{
    uint8_t m[1400] = {0};
    put16(m, 7777);
    put16(m + 2, port);
    put16(m + 4, length);
    memcpy(m + 8, data, len); /* no checksum: allowed */
    raw(17, src, dst, 0, 0, m, len + 8);
}

static int raw_all(const char *guest, const char *host, const char *resolver)
{
    enum {
        MF = 0x2000
    };
    static uint8_t junk[2000];
    uint64_t r = 88172645463325252u;
    raw_fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (raw_fd < 0)
        die_of("a raw socket");
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (uint8_t)(i * 37 >> 2);
    /* U4: fragments that overlap, that lie, that never end */
    for (unsigned id = 1; id <= 50; id++) {
        raw(17, guest, host, id, MF, junk, 800);
        raw(17, guest, host, id, MF | 99, junk, 800);
        raw(17, guest, host, id, 50, junk, 100);
        raw(17, guest, host, id, 8191, junk, 1000);
    }
    for (unsigned id = 100; id < 1100; id++)
        raw(id & 1 ? 17 : 1, guest, host, id, MF | (id & 2 ? 0 : 60), junk, 480);
    /* U3, T7: sources that a guest cannot have, and places it may not reach */
    static const char *const odd[] = {"127.0.0.1",       "0.0.0.0",  "224.0.0.1",
                                      "255.255.255.255", "10.0.2.2", "169.254.169.254"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        raw_udp(odd[i], host, 9, 16, junk, 8);
        raw_udp(guest, odd[i], 9, 16, junk, 8);
    }
    /* and options that run past the end of a header, or name another way */
    for (unsigned kind = 0; kind < 256; kind++) {
        uint8_t p[60 + 8] = {0x4f, [8] = 64, [9] = 17, [20] = (uint8_t)kind, [21] = (uint8_t)(kind * 7)};
        struct sockaddr_in to = at(host, 0);
        inet_pton(AF_INET, guest, p + 12);
        inet_pton(AF_INET, host, p + 16);
        put16(p + 2, sizeof p);
        raw_sent += sendto(raw_fd, p, sizeof p, 0, (struct sockaddr *)&to, sizeof to) == sizeof p;
    }
    /* U7, U10, U8, U9: datagrams to the servers within */
    static const unsigned ports[] = {53, 67, 69, 1069, 0, 123};
    for (unsigned i = 0; i < 3000; i++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        uint8_t m[600];
        size_t len = r % 600;
        for (size_t k = 0; k < len; k++)
            m[k] = (uint8_t)(junk[k] ^ (r >> (k % 8 * 8) & (k < 12 ? 0xff : 0x3f)));
        if (len > 14 && i & 1) { /* nearly a question; its name points to itself */
            memcpy(m, "\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c", 14);
            m[12] = i & 2 ? 0xc0 : 63;
        }
        raw_udp(guest, i & 4 ? resolver : host, ports[i % 6],
                i % 5 ? (unsigned)len + 8 : (unsigned)(r >> 40 & 0xffff), m, len);
    }
    /* T1, T2, T3: segments of no connection, with every offset, flags and urgent pointer */
    for (unsigned i = 0; i < 3000; i++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        uint8_t m[80] = {0};
        put16(m, 1 + i % 200);
        put16(m + 2, i & 8 ? 9 : (unsigned)(r & 0xffff));
        memcpy(m + 4, &r, 8);
        m[12] = (uint8_t)(i << 4);
        m[13] = (uint8_t)(r >> 16);
        put16(m + 14, (unsigned)(r >> 30 & 0xffff));
        put16(m + 18, i & 1 ? 0xffff : (unsigned)(r >> 50));
        for (int k = 20; k < 60; k++)
            m[k] = (uint8_t)(r >> k % 7 * 8 & 7); /* options of the first few kinds, and lengths as few */
        size_t len = 20 + r % 60;
        memset(m + len, 0, sizeof m - len);
        tcp_checksum(guest, host, m, len);
        raw(6, guest, host, 0, 0, m, len);
    }
    printf("sent %u\n", raw_sent);
    return raw_sent < 7000;
}

/* --- many that come and go */

static int flood(unsigned n)
{
    unsigned came = 0;
    for (unsigned i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server)) {
            close(fd);
            continue;
        }
        came++;
        if (i % 4 == 1)
            (void)!write(fd, "x", 1);
        if (i % 4 < 2)
            reset(fd);
        else
            close(fd);
    }
    printf("flooded %u\n", came);
    return came == 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && !strcmp(argv[1], "serve"))
        serve(argv[2], atoi(argv[3]));
    if (argc == 3 && !strcmp(argv[1], "dns"))
        dns(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "raw"))
        return raw_all(argv[2], argv[3], argv[4]);
    if (argc < 4) {
        fprintf(stderr, "usage: at the head of netfoe.c\n");
        return 2;
    }
    server = at(argv[2], atoi(argv[3]));
    if (argc == 4 && !strcmp(argv[1], "play"))
        return play();
    if (argc == 5 && !strcmp(argv[1], "flood"))
        return flood((unsigned)atoi(argv[4]));
    return 2;
}
