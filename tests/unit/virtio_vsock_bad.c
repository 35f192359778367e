// SPDX-License-Identifier: MIT
/* virtio-vsock with a guest, or programs of the host's, that do what they should not. */
#include "vsock_driver.h"

TEST(vsock_greetings_that_are_none)
{
    static const char *const bad[] = {"HELLO 5\n",
                                      "CONNECT\n",
                                      "CONNECT x\n",
                                      "CONNECT 4294967295\n",
                                      "CONNECT -1\n",
                                      "CONNECT 99999999999\n",
                                      "CONNECT 5 6\n",
                                      "\n",
                                      "CONNECT 00000000000000000000000000000000000000000000\n"};
    char byte;
    start();
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = unix_socket(path, false);
        CHECK(write(fd, bad[i], strlen(bad[i])) > 0);
        CHECK(silence());
        ssize_t n = read(fd, &byte, 1);
        CHECK(n == 0 || (n < 0 && errno == ECONNRESET)); /* it had more than was read */
        close(fd);
    }
    /* one that says nothing, and a guest that never answers */
    int fd = unix_socket(path, false), other = unix_socket(path, false);
    struct packet p;
    CHECK(write(other, "CONNECT 5\r\n", 11) == 11);
    CHECK(hear_op(REQUEST, &p));
    vd_now_ns += VSOCK_PATIENCE - 1;
    CHECK(silence());
    CHECK(read(fd, &byte, 1) < 0);
    vd_now_ns += 1;
    CHECK(hear_op(RST, &p));
    CHECK_EQ(p.dst_port, 5);
    CHECK(read(fd, &byte, 1) == 0);
    CHECK(read(other, &byte, 1) == 0);
    close(fd);
    close(other);
}

TEST(vsock_more_than_the_credit)
{
    struct packet p = {0};
    start();
    int fd = from_guest(1000);
    bool over = false;
    for (unsigned i = 0; i < 2000 && !over; i++) {
        say_data(1000, 7, 1000);
        while (hear(&p))
            over |= p.op == RST;
    }
    CHECK(over);
    say_data(1000, 7, 10); /* what is on its way still */
    CHECK(hear_op(RST, &p));
    CHECK(silence());
    close(fd);
    /* in one piece */
    fd = from_guest(1001);
    say_data(1001, 7, BUFFER + 1);
    CHECK(hear_op(RST, &p));
    close(fd);
}

/* No receive buffers: nothing is read from sockets, nothing is lost, the loop does not spin; resets wait in a bounded ring. */
TEST(vsock_guest_without_receive_buffers)
{
    struct packet p;
    start();
    int fd = from_guest(1000);
    vdev_start(F_VERSION_1); /* no buffers given */
    char byte;
    CHECK(read(fd, &byte, 1) == 0); /* and a reset closes all */
    close(fd);
    int server = unix_socket(listening, true);
    say(REQUEST, 1000, 7);
    fd = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    CHECK(fd >= 0);
    CHECK(write(fd, "data", 4) == 4);
    vd_run();
    CHECK_EQ(loop_step(m->board.loop), 0);
    for (unsigned i = 0; i < VSOCK_RESETS; i++) /* strangers */
        say(RW, 5000 + i, 1);
    uint32_t id, len;
    struct packet more = packet(RW, 9999, 1);
    memcpy(ram_host(m->ram, TX_AT, HEAD), &more, HEAD);
    vq_add(TX, &(struct vq_buf){TX_AT, HEAD, 0}, 1, 0);
    vq_kick(TX);
    CHECK(!vq_used(TX, &id, &len)); /* it waits */
    CHECK_EQ(loop_step(m->board.loop), 0);
    give_rx(RX_N);
    unsigned resets = 0, others = 0;
    while (hear(&p))
        *(p.op == RST ? &resets : &others) += 1;
    CHECK_EQ(resets, VSOCK_RESETS + 1);
    CHECK_EQ(others, 2);
    CHECK(vq_used(TX, &id, &len));
    close(fd);
    close(server);
    unlink(listening);
}

TEST(vsock_packets_that_no_driver_sends)
{
    struct packet p, bad;
    start();
    int fd = from_guest(1000);
    for (unsigned op = 0; op < 12; op++) { /* for nobody */
        say(op, 4000, 4000);
        CHECK(op == RST ? silence() : hear_op(RST, &p));
    }
    bad = packet(RW, 1000, 7); /* from another guest */
    bad.src_cid = GUEST + 1;
    say_packet(&bad, NULL, 0);
    CHECK(silence());
    bad = packet(RW, 1000, 7); /* to another */
    bad.dst_cid = GUEST;
    say_packet(&bad, NULL, 0);
    CHECK(hear(&p));
    bad = packet(RW, 1000, 7); /* of a kind that is not offered */
    bad.type = 2;
    say_packet(&bad, NULL, 0);
    CHECK(hear_op(RST, &p));
    CHECK_EQ(p.type, 2);
    static const uint32_t lengths[] = {1, 5, 0x7fffffff, 0x80000000, UINT32_MAX, UINT32_MAX - 43};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) { /* more than is there */
        bad = packet(RW, 1000, 7);
        bad.len = lengths[i];
        say_packet(&bad, NULL, 0);
        CHECK(silence());
    }
    for (unsigned len = 1; len < HEAD; len++) { /* shorter than a header; in pieces; writable */
        uint32_t id, used;
        vq_add(TX, &(struct vq_buf){TX_AT, len, 0}, 1, 0);
        vq_kick(TX);
        CHECK(vq_used(TX, &id, &used));
    }
    uint32_t id, used;
    vq_add(TX,
           (struct vq_buf[]){
               {TX_AT,       HEAD, 0      },
               {TX_AT + 100, 10,   F_WRITE}
    },
           2, 0);
    vq_kick(TX);
    CHECK(vq_used(TX, &id, &used));
    say_data(1000, 7, 3); /* the connection lives */
    char buf[8];
    CHECK(read(fd, buf, sizeof buf) == 3);
    say(REQUEST, 1000, 7); /* a second time */
    CHECK(hear_op(RST, &p));
    CHECK(read(fd, buf, sizeof buf) == 0);
    close(fd);
}

TEST(vsock_receive_buffers_too_small)
{
    start();
    int fd = from_guest(1000);
    vdev_start(F_VERSION_1);
    say(RW, 1, 1);
    vq_add(RX, &(struct vq_buf){RX_AT, HEAD, F_WRITE}, 1, 0);
    vq_kick(RX);
    CHECK(vd_status() & ST_NEEDS_RESET);
    close(fd);
}

TEST(vsock_as_many_connections_as_there_are)
{
    struct packet p;
    int fds[VSOCK_CONNS + 2];
    start();
    int server = unix_socket(listening, true);
    for (unsigned i = 0; i < VSOCK_CONNS; i++) {
        say(REQUEST, 1000 + i, 7);
        CHECK(hear_op(RESPONSE, &p));
        fds[i] = accept4(server, NULL, NULL, SOCK_NONBLOCK);
        CHECK(fds[i] >= 0);
    }
    say(REQUEST, 5000, 7);
    CHECK(hear_op(RST, &p));
    int fd = unix_socket(path, false); /* waits in the backlog */
    CHECK(write(fd, "CONNECT 5\n", 10) == 10);
    CHECK(silence());
    say(RST, 1000, 7);
    CHECK(hear_op(REQUEST, &p));
    CHECK_EQ(p.dst_port, 5);
    for (unsigned i = 0; i < VSOCK_CONNS; i++)
        close(fds[i]);
    close(fd);
    close(server);
    unlink(listening);
}

TEST(vsock_sockets_file)
{
    struct stat st;
    char err[256], longest[120];
    struct device *dev = start();
    CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600);
    /* in use; no socket; too long; missing */
    char spec[160];
    snprintf(spec, sizeof spec, "cid=6,path=%s", path);
    CHECK(!device_new(&m->board, &vsock_class, NULL, spec, err, sizeof err));
    CHECK(strstr(err, "somebody listens there"));
    CHECK(!device_new(&m->board, &vsock_class, NULL, "cid=6,path=/dev/null", err, sizeof err));
    CHECK(strstr(err, "use another"));
    memset(longest, 'x', 110);
    longest[110] = 0;
    snprintf(spec, sizeof spec, "cid=6,path=%s", longest);
    CHECK(!device_new(&m->board, &vsock_class, NULL, spec, err, sizeof err));
    CHECK(strstr(err, "1 to 96 characters"));
    CHECK(!device_new(&m->board, &vsock_class, NULL, "cid=6", err, sizeof err) &&
          strstr(err, "path= is missing"));
    CHECK(!device_new(&m->board, &vsock_class, NULL, "path=x", err, sizeof err) &&
          strstr(err, "cid= is missing"));
    CHECK(!device_new(&m->board, &vsock_class, NULL, "cid=2,path=x", err, sizeof err));
    (void)dev;
    unix_listeners_end();
    CHECK(lstat(path, &st) < 0);
    /* one that a dead process left */
    close(unix_socket(path, true));
    start();
    int fd = unix_socket(path, false);
    close(fd);
    /* one that another has put there since is not ours to remove */
    unlink(path);
    fd = unix_socket(path, true);
    unix_listeners_end();
    CHECK(lstat(path, &st) == 0);
    close(fd);
    unlink(path);
}

/* Noise on every field, with sockets that come, talk and go. */
TEST(vsock_fuzz)
{
    uint64_t seed = getenv("TEST_SEED") ? strtoull(getenv("TEST_SEED"), NULL, 0) : 42;
    /* mostly what a connection lives with */
    static const uint8_t ops[32] = {
        REQUEST,    REQUEST, REQUEST, REQUEST, RESPONSE, RESPONSE, RESPONSE, RST, SHUTDOWN, 0,  ASK_CREDIT,
        ASK_CREDIT, CREDIT,  CREDIT,  CREDIT,  CREDIT,   CREDIT,   CREDIT,   RW,  RW,       RW, RW,
        RW,         RW,      RW,      RW,      RW,       RW,       RW,       RW,  RW,       RW};
    unsigned heard[8] = {0};
    int fds[8];
    struct packet p;
    start();
    int server = unix_socket(listening, true);
    for (unsigned i = 0; i < 8; i++)
        fds[i] = -1;
    for (unsigned round = 0; round < test_scale(40000); round++) {
        uint64_t r = test_rand(&seed), x = test_rand(&seed);
        int *fd = &fds[r & 7];
        struct packet q = packet(x & 15 ? ops[x >> 4 & 31] : (unsigned)(x >> 4 & 0xffff),
                                 1000 + (x >> 20 & 3), x & 1 << 23 ? 7 : (1u << 30) + (x >> 24 & 31));
        static uint8_t data[4096];
        switch (r >> 8 & 7) {
        case 0:
        case 1:
        case 2: {
            uint32_t len = x >> 30 & 0xfff;
            q.len = x >> 42 & 15 ? len : (uint32_t)test_rand(&seed);
            q.flags = x >> 46 & 7;
            if (!(x >> 49 & 15))
                q.buf_alloc = (uint32_t)test_rand(&seed), q.fwd_cnt = (uint32_t)test_rand(&seed);
            if (!(x >> 53 & 31))
                q.dst_cid = test_rand(&seed);
            if (!(x >> 58 & 31))
                q.src_cid = test_rand(&seed);
            if (q.op == REQUEST)
                q.dst_port = 7;
            say_packet(&q, data, len);
            break;
        }
        case 3:
            if (*fd >= 0)
                (void)!write(*fd, data, x & 0xfff);
            else if (x & 1)
                *fd = accept4(server, NULL, NULL, SOCK_NONBLOCK);
            else if ((*fd = unix_socket(path, false)) >= 0)
                (void)!write(*fd, "CONNECT 1001\n", x & 2 ? 13 : x % 13);
            break;
        case 4:
            if (*fd >= 0 && !(x & 7)) {
                close(*fd);
                *fd = -1;
            }
            break;
        case 5:
            if (*fd >= 0)
                (void)!read(*fd, data, sizeof data);
            break;
        case 6:
            vd_now_ns += x & 1 ? VSOCK_PATIENCE / 3 : 1;
            vd_run();
            break;
        default:
            if (!(x & 255)) {
                vdev_start(F_VERSION_1);
                give_rx(RX_N);
            }
            while (hear(&p)) {
                heard[p.op & 7]++;
                if (!(x & 2))
                    break;
            }
        }
        /* The last that the guest has opened: those before it wait no longer, and are hung up on, if they are not dead. */
        for (int next; *fd < 0 || r >> 11 & 1;) {
            if ((next = accept4(server, NULL, NULL, SOCK_NONBLOCK)) < 0)
                break;
            if (*fd >= 0)
                close(*fd);
            *fd = next;
        }
    }
    for (unsigned i = 0; i < 8; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    close(server);
    unlink(listening);
    for (unsigned op = REQUEST; op <= CREDIT; op++)
        if (!heard[op])
            printf("never heard %u\n", op);
    CHECK(heard[REQUEST] && heard[RESPONSE] && heard[RST] > 100 && heard[RW] && heard[SHUTDOWN]);
    vdev_start(F_VERSION_1); /* and it works */
    give_rx(RX_N);
    int fd = from_guest(1000);
    say_data(1000, 7, 100);
    CHECK(read(fd, rx_data, 200) == 100);
    close(fd);
}

/* What the guest says of its own credit: backwards, ahead of all that was sent, without end. It gets what the numbers allow and in
 * order; nobody else gains or loses by it. */
TEST(V7_vsock_credit_that_lies)
{
    static uint8_t data[100000];
    struct packet p;
    uint32_t heard = 0;
    start();
    int fd = from_guest(1000);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 >> 3);
    CHECK(write(fd, data, sizeof data) == sizeof data);
#define TAKE()                                                                                               \
    while (hear(&p)) {                                                                                       \
        CHECK_EQ(p.op, RW);                                                                                  \
        CHECK(!memcmp(rx_data, data + heard, p.len));                                                        \
        heard += p.len;                                                                                      \
    }
    TAKE();
    CHECK_EQ(heard, BUFFER);
    fwd = 1000;
    say(CREDIT, 1000, 7);
    TAKE();
    CHECK_EQ(heard, BUFFER + 1000);
    fwd = 0; /* and it has taken them back */
    say(CREDIT, 1000, 7);
    CHECK(silence());
    fwd = heard + 5; /* more than there was */
    say(CREDIT, 1000, 7);
    CHECK(silence());
    struct packet lie = packet(CREDIT, 1000, 7);
    lie.buf_alloc = 0;
    lie.fwd_cnt = 0x80000000;
    say_packet(&lie, NULL, 0);
    CHECK(silence());
    CHECK_EQ(loop_step(m->board.loop), 0);
    lie.buf_alloc = UINT32_MAX;
    lie.fwd_cnt = 0;
    say_packet(&lie, NULL, 0);
    TAKE();
#undef TAKE
    CHECK_EQ(heard, sizeof data);
    say_data(1000, 7, 3); /* the other way nothing has changed */
    CHECK(read(fd, data, sizeof data) == 3);
    close(fd);
}

/* As many ports as there are: nobody listens, and nothing stays of it. */
TEST(V18_vsock_thousands_of_ports)
{
    struct packet p;
    start();
    int first = dup(0);
    close(first);
    for (unsigned i = 0; i < test_scale(3000); i++) {
        say(REQUEST, 1000 + i, 20 + i * 7919);
        CHECK(hear_op(RST, &p));
        CHECK(p.src_port == 20 + i * 7919 && p.dst_port == 1000 + i);
    }
    int last = dup(0);
    CHECK_EQ(last, first);
    close(last);
    int fd = from_guest(9);
    close(fd);
}
