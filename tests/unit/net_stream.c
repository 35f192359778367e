// SPDX-License-Identifier: MIT
/* The socket backends, with the test as the other end of a socketpair or of a path: framing, a peer that lies, waiting both ways,
 * coming back. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/stream.h"

enum {
    SEEN = 8192
};

struct card {
    struct port port; /* first */
    int room;         /* frames that it takes; -1: any */
    unsigned ready;
    uint32_t seen[SEEN], n;
    size_t len;
};

static uint64_t now;
static struct loop *loop;
static struct net net;
static struct card cards[2];
static struct stream *stream, *other;
static int peer;
static char err[512], folder[32], path[64];

static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return now;
}

static enum port_result card_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    struct card *c = (struct card *)port;
    (void)n, (void)meta;
    if (!c->room)
        return PORT_BUSY;
    c->room -= c->room > 0;
    c->len = iov[0].iov_len;
    memcpy(&c->seen[c->n++ % SEEN], iov[0].iov_base, 4);
    return PORT_SENT;
}

static void card_ready(struct port *port)
{
    ((struct card *)port)->ready++;
}

static const struct port_ops card_ops = {.receive = card_receive, .ready = card_ready};

static void begin(void)
{
    now = 1000000000;
    loop = loop_new(&(struct clock){fake_now, NULL});
    net_init(&net, loop);
    stream = other = NULL;
    peer = -1;
    for (unsigned i = 0; i < 2; i++) {
        cards[i] = (struct card){.room = -1};
        CHECK(port_init(&cards[i].port, &net, "card", &card_ops));
        cards[i].room = -1;
    }
    snprintf(folder, sizeof folder, "/tmp/stream-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
}

static struct stream *make(unsigned card, const struct stream_options *o)
{
    struct stream *s = stream_new(&net, o, err, sizeof err);
    if (s)
        port_connect(&cards[card].port, stream_port(s));
    return s;
}

static void begin_with_socket(int type)
{
    int pair[2];
    begin();
    CHECK(!socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair));
    peer = pair[1];
    stream = make(0, &(struct stream_options){.name = "net0", .fd = pair[0]});
    CHECK(stream);
}

static void end(void)
{
    stream_free(stream);
    stream_free(other);
    port_free(&cards[0].port);
    port_free(&cards[1].port);
    loop_free(loop);
    if (peer >= 0)
        close(peer);
    unlink(path);
    rmdir(folder);
}

static void steps(void)
{
    while (loop_step(loop))
        ;
}

static enum port_result card_send(unsigned card, uint32_t number, size_t len)
{
    static uint8_t frame[PORT_FRAME_MAX];
    static const struct port_meta none;
    memcpy(frame, &number, 4);
    struct iovec iov[2] = {
        {frame,      10      },
        {frame + 10, len - 10}
    };
    return port_send(&cards[card].port, iov, 2, &none);
}

/* A frame as it is on the stream; returns its bytes. */
static size_t wire(uint8_t *out, uint32_t number, uint32_t len)
{
    uint32_t be = htonl(len);
    memcpy(out, &be, 4);
    memset(out + 4, 0, len);
    if (len >= 4)
        memcpy(out + 4, &number, 4);
    return 4 + len;
}

static void peer_send(const void *bytes, size_t n)
{
    CHECK(send(peer, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

static ssize_t peer_take(uint8_t *buf, size_t size)
{
    size_t n = 0;
    ssize_t got;
    while (n < size && (got = recv(peer, buf + n, size - n, 0)) > 0)
        n += (size_t)got;
    return (ssize_t)n;
}

TEST(stream_frames_with_lengths_both_ways)
{
    uint8_t buf[4096];
    begin_with_socket(SOCK_STREAM);
    CHECK(card_send(0, 7, 60) == PORT_SENT);
    CHECK_EQ(peer_take(buf, sizeof buf), 64);
    CHECK(!memcmp(buf, "\0\0\0\x3c\x07\0\0\0", 8));
    size_t n = wire(buf, 1, 60);
    n += wire(buf + n, 2, 1514);
    peer_send(buf, n);
    steps();
    CHECK_EQ(cards[0].n, 2);
    CHECK_EQ(cards[0].seen[1], 2);
    CHECK_EQ(cards[0].len, 1514);
    end();
}

TEST(stream_lengths_and_frames_in_pieces)
{
    uint8_t buf[256];
    begin_with_socket(SOCK_STREAM);
    size_t n = wire(buf, 1, 60);
    n += wire(buf + n, 2, 64);
    for (size_t i = 0; i < n; i++) {
        peer_send(buf + i, 1);
        steps();
        CHECK_EQ(cards[0].n, i < 63 ? 0 : i < n - 1 ? 1 : 2);
    }
    end();
}

TEST(stream_largest_frames_and_many_in_one_read)
{
    static uint8_t buf[200000];
    int size = 1 << 20;
    begin_with_socket(SOCK_STREAM);
    setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    for (uint32_t i = 0; i < 20; i++) {
        size_t n = wire(buf, i, PORT_FRAME_MAX);
        peer_send(buf, n);
        steps();
        CHECK_EQ(cards[0].len, PORT_FRAME_MAX);
    }
    size_t n = 0;
    for (uint32_t i = 20; i < 1000; i++)
        n += wire(buf + n, i, 60);
    peer_send(buf, n);
    steps();
    CHECK_EQ(cards[0].n, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK_EQ(cards[0].seen[i], i);
    end();
}

/* Hostile lengths. 0 to 13 are frames that are dropped, and what follows still counts; beyond the largest frame nothing does. */
TEST(E12_stream_short_frames_are_dropped)
{
    uint8_t buf[1024];
    begin_with_socket(SOCK_STREAM);
    size_t n = 0;
    for (uint32_t len = 0; len < 14; len++)
        n += wire(buf + n, 99, len);
    n += wire(buf + n, 5, 14);
    peer_send(buf, n);
    steps();
    CHECK_EQ(cards[0].n, 1);
    CHECK_EQ(cards[0].seen[0], 5);
    CHECK_EQ(stream_port(stream)->drops[PORT_DROP_SHORT], 14);
    end();
}

TEST(E12_stream_absurd_lengths_end_the_connection)
{
    static const uint32_t lengths[] = {PORT_FRAME_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t be = htonl(lengths[i]);
        uint8_t byte;
        begin_with_socket(SOCK_STREAM);
        peer_send(&be, 4);
        peer_send("more", 4);
        steps();
        CHECK_EQ(recv(peer, &byte, 1, 0) <= 0 && errno != EAGAIN, 1);
        CHECK(card_send(0, 1, 60) == PORT_SENT);
        CHECK_EQ(cards[0].port.drops[PORT_DROP_RECEIVER], 1);
        CHECK_EQ(loop_next(loop), LOOP_NEVER); /* nothing is tried again */
        end();
    }
}

/* N4: the card has no room: what comes stays in the socket, in order, and goes on. */
TEST(N4_stream_waits_for_the_card)
{
    static uint8_t buf[100000];
    begin_with_socket(SOCK_STREAM);
    size_t n = 0;
    cards[0].room = 3;
    for (uint32_t i = 0; i < 500; i++)
        n += wire(buf + n, i, 100);
    peer_send(buf, n);
    steps();
    CHECK_EQ(cards[0].n, 3);
    CHECK_EQ(loop_step(loop), 0);
    while (cards[0].n < 500) {
        uint32_t was = cards[0].n;
        cards[0].room = 90;
        port_ready(&cards[0].port);
        steps();
        CHECK(cards[0].n > was);
    }
    for (uint32_t i = 0; i < 500; i++)
        CHECK_EQ(cards[0].seen[i], i);
    end();
}

/* The peer does not read: the card is told to wait, once, and nothing is lost or torn. */
TEST(stream_card_waits_for_the_peer)
{
    static uint8_t buf[8 << 20];
    uint32_t sent = 0, got = 0, at = 0, have = 0;
    begin_with_socket(SOCK_STREAM);
    while (sent < 2000) {
        if (card_send(0, sent, 1000 + sent % 7) == PORT_SENT) {
            sent++;
            continue;
        }
        CHECK_EQ(loop_step(loop), 0); /* no spinning */
        have += (uint32_t)peer_take(buf + have, sizeof buf - have);
        steps();
        CHECK_EQ(cards[0].ready, 1);
        cards[0].ready = 0;
    }
    do {
        have += (uint32_t)peer_take(buf + have, sizeof buf - have);
    } while (loop_step(loop));
    for (; at < have; got++) {
        uint32_t len, number;
        memcpy(&len, buf + at, 4);
        memcpy(&number, buf + at + 4, 4);
        CHECK_EQ(ntohl(len), 1000 + got % 7);
        CHECK_EQ(number, got);
        at += 4 + ntohl(len);
    }
    CHECK_EQ(got, 2000);
    CHECK_EQ(at, have);
    end();
}

TEST(stream_peer_that_goes_is_gone)
{
    begin_with_socket(SOCK_STREAM);
    close(peer);
    peer = -1;
    steps();
    CHECK_EQ(loop_step(loop), 0);
    CHECK(card_send(0, 1, 60) == PORT_SENT);
    CHECK_EQ(cards[0].port.drops[PORT_DROP_RECEIVER], 1);
    char text[400] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    stream_print(stream, f);
    fclose(f);
    CHECK(strstr(text, "handed in: gone"));
    end();
}

static void packets(int type)
{
    static uint8_t buf[80000];
    int size = 1 << 20;
    begin_with_socket(type);
    setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    CHECK(card_send(0, 7, 60) == PORT_SENT);
    CHECK_EQ(recv(peer, buf, sizeof buf, 0), 60);
    for (uint32_t i = 0; i < 8; i++) {
        memcpy(buf, &i, 4);
        peer_send(buf, i == 2 ? 70000 : i == 3 ? 5 : 100); /* too long, too short */
    }
    cards[0].room = 2;
    steps();
    CHECK_EQ(cards[0].n, 2);
    cards[0].room = -1;
    port_ready(&cards[0].port);
    steps();
    CHECK_EQ(cards[0].n, 6);
    CHECK_EQ(cards[0].seen[2], 4);
    unsigned busy = 0, sent = 0;
    while (!busy) { /* nobody reads */
        busy = card_send(0, sent, 5000) == PORT_BUSY;
        sent += !busy;
    }
    CHECK_EQ(loop_step(loop), 0);
    for (unsigned i = 0; i < sent; i++)
        CHECK_EQ(recv(peer, buf, sizeof buf, 0), 5000);
    steps();
    CHECK_EQ(cards[0].ready, 1);
    close(peer);
    peer = -1;
    steps();
    CHECK_EQ(loop_step(loop), 0);
    CHECK(card_send(0, 1, 60) == PORT_SENT);
    end();
}

TEST(stream_datagrams)
{
    packets(SOCK_DGRAM);
}

TEST(stream_sequenced_packets)
{
    packets(SOCK_SEQPACKET);
}

/* Two guests joined by a path; whichever goes comes back. */
TEST(stream_two_guests_and_a_path)
{
    begin();
    stream = make(0, &(struct stream_options){.name = "net0", .path = path});
    CHECK(stream); /* nobody there yet */
    CHECK(card_send(0, 0, 60) == PORT_SENT);
    CHECK_EQ(cards[0].port.drops[PORT_DROP_RECEIVER], 1);
    for (unsigned round = 0; round < 3; round++) {
        other = make(1, &(struct stream_options){.name = "net1", .path = path, .listen = true});
        CHECK(other);
        struct stat st;
        CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0600);
        CHECK(loop_next(loop) <= now + STREAM_RETRY_LAST);
        now += STREAM_RETRY_LAST;
        steps();
        cards[0].n = cards[1].n = 0;
        CHECK(card_send(0, 11, 60) == PORT_SENT);
        CHECK(card_send(1, 22, 80) == PORT_SENT);
        steps();
        CHECK(cards[1].n == 1 && cards[1].seen[0] == 11);
        CHECK(cards[0].n == 1 && cards[0].seen[0] == 22);
        CHECK_EQ(loop_next(loop), LOOP_NEVER); /* joined: nobody is woken */
        stream_free(other);
        other = NULL;
        CHECK(access(path, F_OK)); /* it took its socket away */
        steps();
        for (unsigned i = 0; i < 40; i++) { /* the tries become rarer */
            CHECK(loop_next(loop) > now && loop_next(loop) <= now + STREAM_RETRY_LAST);
            now = loop_next(loop);
            steps();
        }
        CHECK(loop_next(loop) == now + STREAM_RETRY_LAST);
    }
    end();
}

/* A frame of the guest's is a reason to look again before the time, but not at every frame. */
TEST(stream_guests_frames_bring_it_back_sooner)
{
    begin();
    stream = make(0, &(struct stream_options){.name = "net0", .path = path});
    for (unsigned i = 0; i < 20; i++) {
        now = loop_next(loop);
        steps();
    }
    other = make(1, &(struct stream_options){.name = "net1", .path = path, .listen = true});
    CHECK(card_send(0, 1, 60) == PORT_SENT);
    CHECK_EQ(cards[0].port.drops[PORT_DROP_RECEIVER], 1);
    now += STREAM_RETRY_FIRST;
    CHECK(card_send(0, 2, 60) == PORT_SENT);
    steps();
    CHECK_EQ(cards[1].n, 1);
    CHECK_EQ(cards[1].seen[0], 2);
    end();
}

TEST(stream_listener_takes_one_peer_at_a_time)
{
    begin();
    stream = make(0, &(struct stream_options){.name = "net0", .path = path, .listen = true});
    CHECK(stream);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int s[2];
    for (unsigned i = 0; i < 2; i++) {
        s[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(!connect(s[i], (struct sockaddr *)&at, sizeof at));
        uint8_t buf[100];
        CHECK(send(s[i], buf, wire(buf, i, 60), 0) == 64);
    }
    steps();
    CHECK_EQ(loop_step(loop), 0);
    CHECK_EQ(cards[0].n, 1);
    close(s[0]);
    steps();
    CHECK_EQ(cards[0].n, 2);
    CHECK_EQ(cards[0].seen[1], 1);
    close(s[1]);
    end();
}

/* A caller that cannot be accepted stays in the backlog, which would be readable for ever. */
TEST(X7_stream_no_descriptor_for_a_caller)
{
    struct rlimit was, none;
    begin();
    stream = make(0, &(struct stream_options){.name = "net0", .path = path, .listen = true});
    CHECK(stream);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    none = (struct rlimit){0, was.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    uint8_t buf[100];
    CHECK(send(fd, buf, wire(buf, 0, 60), 0) == 64);
    steps();
    CHECK_EQ(loop_step(loop), 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    steps();
    CHECK_EQ(cards[0].n, 0);
    now += STREAM_RETRY_FIRST;
    steps();
    CHECK_EQ(cards[0].n, 1);
    close(fd);
    end();
}

/* X5: what lies where the socket goes. */
TEST(X5_stream_places_that_are_taken)
{
    begin();
    struct stream_options listen = {.name = "net0", .path = path, .listen = true};
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    CHECK(!make(0, &listen) && strstr(err, "is no socket"));
    unlink(path);
    CHECK(!symlink("/etc/passwd", path));
    CHECK(!make(0, &listen) && strstr(err, "is no socket"));
    unlink(path);
    stream = make(0, &listen);
    CHECK(stream);
    CHECK(!make(1, &listen) && strstr(err, "somebody listens there"));
    stream_free(stream);
    struct sockaddr_un at = {.sun_family = AF_UNIX}; /* a dead one's */
    strcpy(at.sun_path, path);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(!bind(s, (struct sockaddr *)&at, sizeof at));
    close(s);
    stream = make(0, &listen);
    CHECK(stream);
    unlink(path); /* somebody else's file of that name is left */
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    stream_free(stream);
    stream = NULL;
    CHECK(!access(path, F_OK));
    end();
}

/* Debian's passt: an ARP question for its gateway's address is answered in the same framing. */
TEST(stream_speaks_with_passt)
{
    static const uint8_t ask[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,   9, 8, 6,
                                    0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,   0, 0, 9,
                                    192,  0,    2,    9,    0,    0,    0, 0, 0, 0, 192, 0, 2, 1};
    static const struct port_meta none;
    if (system("command -v passt >/dev/null 2>&1"))
        SKIP("no passt here");
    begin();
    CHECK(!chmod(folder, 0777)); /* it gives up being root */
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1), dup2(null, 2);
        execlp("passt", "passt", "--foreground", "--quiet", "--no-dhcp", "--address", "192.0.2.9",
               "--gateway", "192.0.2.1", "--socket", path, NULL);
        _exit(99);
    }
    for (unsigned i = 0; access(path, F_OK) && i < 400; i++)
        usleep(50000);
    bool there = !access(path, F_OK);
    if (there) {
        usleep(100000);
        stream = make(0, &(struct stream_options){.name = "net0", .path = path});
        CHECK(stream);
        for (unsigned i = 0; i < 1000 && !cards[0].n; i++) {
            struct iovec iov = {(void *)(uintptr_t)ask, sizeof ask};
            CHECK(port_send(&cards[0].port, &iov, 1, &none) == PORT_SENT);
            usleep(20000);
            now += STREAM_RETRY_FIRST;
            steps();
        }
    }
    unsigned n = cards[0].n;
    size_t len = cards[0].len;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    end();
    if (!there)
        SKIP("passt does not start here");
    CHECK(n >= 1 && len >= 42);
}

TEST(stream_descriptors_that_are_none_are_refused)
{
    begin();
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int listening = socket(AF_UNIX, SOCK_STREAM, 0), null = open("/dev/null", O_RDWR);
    CHECK(!bind(listening, (struct sockaddr *)&at, sizeof at) && !listen(listening, 1));
    CHECK(!make(0, &(struct stream_options){.name = "net0", .fd = listening}) && strstr(err, "listens"));
    CHECK(!make(0, &(struct stream_options){.name = "net0", .fd = null}) && strstr(err, "no open socket"));
    CHECK(!make(0, &(struct stream_options){.name = "net0", .fd = 999}) && strstr(err, "no open socket"));
    close(listening);
    close(null);
    end();
}
