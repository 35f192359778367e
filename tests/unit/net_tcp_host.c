// SPDX-License-Identifier: MIT
/* TCP of the user-mode network on the kernel's own sockets, over loopback: what net_tcp.h's fake host claims of peeking,
 * discarding, room and edges is true of Linux. With SO_PEEK_OFF, where this kernel has it, and without. */
#include "net_tcp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct world w_;
static struct ip_sock target;
static struct tcp_host counted;
static uint64_t calls;
static int peeked; /* the descriptor */

static enum ip_error to_target(void *ctx, const struct ip_addr *dst, uint16_t port, struct ip_sock *to)
{
    (void)ctx, (void)dst, (void)port;
    *to = target;
    return IP_OK;
}
static const struct tcp_ops ops = {.send = w_ip_send, .refuse = w_refuse, .policy = to_target, .mss = w_mss};

static bool without_peek_off(void *ctx, int fd, uint32_t *buffer)
{
    static const int off = -1;
    tcp_host_kernel.prepare(ctx, fd, buffer);
    setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off);
    return false;
}
static ssize_t count_peek(void *ctx, int fd, void *to, size_t len)
{
    calls++;
    peeked = fd;
    return tcp_host_kernel.peek(ctx, fd, to, len);
}
static ssize_t count_discard(void *ctx, int fd, size_t len)
{
    calls++;
    return tcp_host_kernel.discard(ctx, fd, len);
}
static ssize_t count_send(void *ctx, int fd, const struct iovec *iov, int n)
{
    calls++;
    return tcp_host_kernel.send(ctx, fd, iov, n);
}
static int count_room(void *ctx, int fd, uint32_t *used, uint32_t *size)
{
    calls++;
    return tcp_host_kernel.room(ctx, fd, used, size);
}

static struct world *world(bool peek_off)
{
    char err[100];
    struct world *w = &w_;
    memset(w, 0, sizeof *w);
    w->now = 1000000000000;
    w->clock = (struct clock){w_clock, w};
    w->loop = loop_new(&w->clock);
    w->mss = 1460;
    counted = tcp_host_kernel;
    counted.peek = count_peek;
    counted.discard = count_discard;
    counted.send = count_send;
    counted.room = count_room;
    if (!peek_off)
        counted.prepare = without_peek_off;
    w->t = tcp_new(&(struct tcp_config){.loop = w->loop, .ops = &ops, .ctx = w, .seed = 9, .host = &counted},
                   err, sizeof err);
    CHECK(w->t);
    return w;
}

static void world_end(struct world *w)
{
    tcp_free(w->t);
    loop_free(w->loop);
}

static int listen_here(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    target = (struct ip_sock){
        .len = sizeof target.in, .in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}
    };
    CHECK(!bind(fd, &target.sa, target.len) && !listen(fd, 10));
    CHECK(!getsockname(fd, &target.sa, &target.len));
    return fd;
}

/* The far end's socket of a connection that the guest has made; numbers are the next ones. */
static int connect_guest(struct world *w, int lfd, uint32_t *seq, uint32_t *ack)
{
    w_in(w, &(struct seg){.seq = 0, .flags = F_SYN, .wnd = 65535, .options = opt_usual, .options_len = 8});
    for (int i = 0; i < 1000 && !w->out_n; i++) {
        usleep(i ? 1000 : 0);
        w_run(w);
    }
    struct seg s = w_out(w);
    CHECK_EQ(s.flags, F_SYN | F_ACK);
    *seq = 1;
    *ack = s.seq + 1;
    w_in(w, &(struct seg){.seq = *seq, .ack = *ack, .flags = F_ACK, .wnd = 8000});
    int fd = accept(lfd, NULL, NULL);
    CHECK(fd >= 0 && !fcntl(fd, F_SETFL, O_NONBLOCK));
    return fd;
}

enum {
    BYTES = 8 << 20,
};
static uint32_t got_next;
static uint64_t got_bytes;
static bool got_fin;

static void take(struct world *w, const struct seg *s, const uint8_t *data)
{
    (void)w;
    if (!s->len && !(s->flags & F_FIN))
        return;
    CHECK_EQ(s->seq, got_next);
    for (uint32_t i = 0; i < s->len; i++)
        if (data[i] != far_byte(5, got_bytes + i))
            CHECK(!"the byte that belongs there");
    got_bytes += s->len;
    got_next += s->len + !!(s->flags & F_FIN);
    got_fin |= s->flags & F_FIN;
}

TEST(kernel_sockets_to_the_guest)
{
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world(mode);
        static uint8_t chunk[100000];
        uint32_t seq, ack;
        int lfd = listen_here(), far = connect_guest(w, lfd, &seq, &ack);
        uint64_t sent = 0;
        got_next = ack;
        got_bytes = got_fin = 0;
        calls = 0;
        w->hook = take;
        for (int idle = 0; !got_fin; idle++) {
            CHECK(idle < 100000);
            while (sent < BYTES) {
                size_t n = BYTES - sent < sizeof chunk ? BYTES - sent : sizeof chunk;
                for (size_t i = 0; i < n; i++)
                    chunk[i] = far_byte(5, sent + i);
                ssize_t r = write(far, chunk, n);
                if (r <= 0)
                    break;
                sent += (uint64_t)r;
            }
            if (sent == BYTES)
                shutdown(far, SHUT_WR);
            w->now += 1000000;
            w_run(w);
            w_in(w, &(struct seg){.seq = seq, .ack = got_next, .flags = F_ACK, .wnd = 8000});
        }
        CHECK_EQ(got_bytes, BYTES);
        CHECK_EQ(tcp_counter(w->t, TCP_RETRANSMITS), 0);
        printf("# to the guest, %s SO_PEEK_OFF: %.1f calls a MB\n", mode ? "with" : "without",
               (double)calls / (BYTES >> 20));
        CHECK(calls / (BYTES >> 20) < 100);
        /* and the end */
        w_in(w, &(struct seg){.seq = seq, .ack = got_next, .flags = F_ACK | F_FIN, .wnd = 8000});
        char c;
        CHECK_EQ(read(far, &c, 1), 0); /* FIN, not RST */
        w_wait(w, 2000000000);
        CHECK_EQ(tcp_connections(w->t), 0);
        close(far);
        close(lfd);
        world_end(w);
    }
}

static uint32_t acked, edge;
static void note_ack(struct world *w, const struct seg *s, const uint8_t *data)
{
    (void)w, (void)data;
    if (seq_left(acked, s->ack) > 0)
        acked = s->ack;
    if (seq_left(edge, s->ack + ((uint32_t)s->wnd << 7)) > 0)
        edge = s->ack + ((uint32_t)s->wnd << 7);
}

/* The far end reads in fits and starts: what the window offers is always taken, and nothing hangs. */
TEST(kernel_sockets_from_the_guest)
{
    struct world *w = world(true);
    static uint8_t chunk[200000];
    uint32_t seq, ack;
    uint64_t rnd = 5, sent = 0, got = 0;
    int lfd = listen_here(), far = connect_guest(w, lfd, &seq, &ack), size = 60000;
    setsockopt(far, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    acked = edge = seq;
    w->hook = note_ack;
    w_in(w, &(struct seg){.seq = seq - 1, .ack = ack, .flags = F_ACK, .wnd = 8000}); /* asks for an ACK */
    calls = 0;
    for (int idle = 0; got < BYTES; idle++) {
        CHECK(idle < 100000);
        while (sent < BYTES) {
            uint32_t room = (uint32_t)seq_left(seq + (uint32_t)sent, edge),
                     len = test_rand(&rnd) % 4 ? 60000 : 1460;
            len = len < room ? len : room;
            len = len < BYTES - sent ? len : (uint32_t)(BYTES - sent);
            if (!len)
                break;
            w_in(w, &(struct seg){.seq = seq + (uint32_t)sent,
                                  .ack = ack,
                                  .flags = F_ACK,
                                  .wnd = 8000,
                                  .len = len,
                                  .from = sent});
            sent += len;
        }
        if (idle % 7 == 0) {
            ssize_t n = read(far, chunk, 1 + test_rand(&rnd) % sizeof chunk);
            for (ssize_t i = 0; i < n; i++)
                if (chunk[i] != guest_byte(0, got + (uint64_t)i))
                    CHECK(!"the byte that belongs there");
            got += n > 0 ? (uint64_t)n : 0;
        }
        w->now += 1000000;
        w_run(w);
    }
    CHECK_EQ(tcp_counter(w->t, TCP_NOT_TAKEN), 0);
    CHECK_EQ(acked, seq + BYTES);
    printf("# from the guest: %.1f calls a MB\n", (double)calls / (BYTES >> 20));
    CHECK(calls / (BYTES >> 20) < 200);
    close(far);
    close(lfd);
    world_end(w);
}

/* Each small message is a buffer of its own in the socket's queue, and every peek walks past those that the guest has long had. */
TEST(kernel_sockets_keep_little_of_a_dialogue)
{
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world(mode);
        uint32_t seq, ack;
        int lfd = listen_here(), far = connect_guest(w, lfd, &seq, &ack), most = 0;
        calls = 0;
        for (int i = 0; i < 400; i++) {
            char c = (char)i;
            int left = 0;
            w_in(w, &(struct seg){.seq = seq++, .ack = ack, .flags = F_ACK | F_PSH, .wnd = 8000, .len = 1});
            w_run(w);
            CHECK_EQ(read(far, &c, 1), 1);
            CHECK_EQ(write(far, &c, 1), 1);
            for (int tries = 0; tries < 1000 && !w->out_n; tries++) {
                usleep(tries ? 1000 : 0);
                w_run(w);
            }
            struct seg s = w_out(w);
            CHECK_EQ(s.len, 1);
            CHECK_EQ(s.seq, ack++);
            CHECK(!ioctl(peeked, FIONREAD, &left));
            most = left > most ? left : most;
        }
        CHECK(most > 1 && most <= 16); /* not one call a message, and not all of them */
        printf("# %d: %llu system calls\n", mode, (unsigned long long)calls);
        CHECK(calls < 400 * 3);
        close(far);
        close(lfd);
        world_end(w);
    }
}

TEST(kernel_refuses_and_resets)
{
    struct world *w = world(true);
    int lfd = listen_here();
    uint32_t seq, ack;
    int far = connect_guest(w, lfd, &seq, &ack);
    struct linger at_once = {1, 0};
    setsockopt(far, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(far);
    w_run(w);
    struct seg s = w_out(w);
    CHECK_EQ(s.flags, F_RST | F_ACK);
    CHECK_EQ(s.seq, ack);
    CHECK_EQ(tcp_connections(w->t), 0);

    /* the guest's RST */
    far = connect_guest(w, lfd, &seq, &ack);
    w_in(w, &(struct seg){.seq = seq, .flags = F_RST});
    char c;
    CHECK(read(far, &c, 1) < 0 && errno == ECONNRESET);
    close(far);

    /* nobody listens */
    close(lfd);
    w_in(w, &(struct seg){.seq = 0, .flags = F_SYN, .wnd = 1000});
    for (int i = 0; i < 1000 && !w->out_n; i++) {
        usleep(i ? 1000 : 0);
        w_run(w);
    }
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    CHECK_EQ(tcp_connections(w->t), 0);
    world_end(w);
}

static char urgent_got[64];
static void take_text(struct world *w, const struct seg *s, const uint8_t *data)
{
    (void)w;
    if (!s->len && !(s->flags & F_FIN))
        return;
    if (s->seq != got_next) /* sent again */
        return;
    CHECK(s->len <= sizeof urgent_got - 1 - got_bytes);
    if (s->len)
        memcpy(urgent_got + got_bytes, data, s->len);
    got_bytes += s->len;
    got_next += s->len + !!(s->flags & F_FIN);
    got_fin |= s->flags & F_FIN;
}

/* The kernel's reads end where urgent data begins. To the guest it is ordinary data (RFC 6093), and none of what follows is lost or
 * late; whether all was there at once or came by and by, and whether the guest answers each segment or all of them. */
TEST(T2_kernel_urgent_data_from_the_far_end)
{
    static const struct {
        const char *bytes;
        int flags;
    } parts[] = {
        {"before", 0      },
        {"!",      MSG_OOB},
        {"after",  0      },
        {"twice?", MSG_OOB},
        {"end",    0      }
    };
    for (unsigned round = 0; round < 16; round++) {
        struct world *w = world(round & 1);
        uint32_t seq, ack;
        int lfd = listen_here(), far = connect_guest(w, lfd, &seq, &ack);
        bool at_once = round & 2, ends = round & 4, lazy = round & 8;
        got_next = ack;
        got_bytes = got_fin = 0;
        memset(urgent_got, 0, sizeof urgent_got);
        w->hook = take_text;
        for (unsigned i = 0; i < 60; i++) {
            for (; i < 5; i++) {
                CHECK(send(far, parts[i].bytes, strlen(parts[i].bytes), parts[i].flags) > 0);
                if (!at_once)
                    break;
            }
            if (i == 5 && ends)
                shutdown(far, SHUT_WR);
            w_run(w);
            w->now += 1000000;
            if (!lazy || i % 8 == 7)
                w_in(w, &(struct seg){.seq = seq, .ack = got_next, .flags = F_ACK, .wnd = 8000});
        }
        CHECK_STR(urgent_got, "before!aftertwice?end");
        CHECK_EQ(got_fin, ends);
        uint64_t out = tcp_counter(w->t, TCP_SEGMENTS_OUT);
        CHECK(out < 20); /* and no turn leads to another for nothing */
        close(far);
        close(lfd);
        world_end(w);
    }
}
