// SPDX-License-Identifier: MIT
/* virtio-vsock between a driver written from the specification and Unix sockets of the test's own. */
#include "vsock_driver.h"

TEST(vsock_has_the_guests_cid)
{
    start();
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 8), GUEST);
    CHECK_EQ(cf8(0, vd.pci->devfn, 2, 2), 0x1040 + 19);
    CHECK_EQ(vd_features() & 7, 1);
}

TEST(vsock_guest_to_host_and_back)
{
    struct packet p;
    uint8_t got[100];
    start();
    int fd = from_guest(1000);
    say_data(1000, 7, 100);
    CHECK(read(fd, got, sizeof got) == 100 && got[0] == 0 && got[99] == 99);
    CHECK(write(fd, "hello", 5) == 5);
    CHECK(hear_op(RW, &p));
    CHECK(p.len == 5 && !memcmp(rx_data, "hello", 5) && p.fwd_cnt == 100);
    say(ASK_CREDIT, 1000, 7);
    CHECK(hear_op(CREDIT, &p));
    CHECK(p.fwd_cnt == 100 && p.buf_alloc == BUFFER);
    CHECK(silence());
    close(fd);
}

TEST(vsock_host_to_guest)
{
    uint32_t port, second;
    uint8_t got[10];
    start();
    int fd = to_guest(&port);
    say_data(99, port, 10);
    CHECK(read(fd, got, sizeof got) == 10);
    int other = to_guest(&second);
    CHECK(port != second);
    close(fd);
    close(other);
}

TEST(vsock_nobody_listens)
{
    struct packet p;
    char byte;
    start();
    say(REQUEST, 1000, 8); /* on the host */
    CHECK(hear_op(RST, &p));
    CHECK(p.src_port == 8 && p.dst_port == 1000);
    int fd = unix_socket(path, false); /* in the guest */
    CHECK(write(fd, "CONNECT 5\n", 10) == 10);
    CHECK(hear_op(REQUEST, &p));
    say(RST, 5, p.src_port);
    CHECK(read(fd, &byte, 1) == 0);
    CHECK(silence());
    close(fd);
}

/* A listener whose queue is full, as a burst of connects makes it: the guest waits for it, as it would at home. */
TEST(vsock_waits_for_a_busy_listener)
{
    struct packet p;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    uint8_t got[8];
    start();
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", listening);
    CHECK(bind(server, (struct sockaddr *)&a, sizeof a) == 0 && listen(server, 0) == 0);
    int before = unix_socket(listening, false);
    say(REQUEST, 1000, 7);
    say(REQUEST, 1001, 7);
    CHECK(silence());
    vd_now_ns += 1000000000;
    CHECK(silence());
    close(accept(server, NULL, NULL)); /* room for one */
    vd_now_ns += 20000000;
    CHECK(hear_op(RESPONSE, &p));
    CHECK(p.src_port == 7 && p.buf_alloc == BUFFER);
    uint32_t first = p.dst_port;
    CHECK(silence());
    int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    say_data(first, 7, 8);
    CHECK(read(fd, got, sizeof got) == 8);
    vd_now_ns += 20000000;
    CHECK(hear_op(RESPONSE, &p));
    CHECK_EQ(p.dst_port, 2001 - first);
    /* a guest that has waited long enough, and one that goes before */
    say(REQUEST, 1002, 7);
    say(REQUEST, 1003, 7);
    say(REQUEST, 1004, 7);
    say(RST, 1003, 7);
    say_data(1004, 7, 5); /* nothing is open yet */
    CHECK(hear_op(RST, &p));
    CHECK_EQ(p.dst_port, 1004);
    unsigned calls = 0;
    for (; calls < 1000 && !hear(&p); calls++)
        vd_now_ns += 20000000;
    CHECK_EQ(calls, VSOCK_PATIENCE / 20000000);
    CHECK_EQ(p.op, RST);
    CHECK_EQ(p.dst_port, 1002);
    CHECK(silence());
    close(fd);
    close(before);
    close(server);
    unlink(listening);
}

/* The host's program does not read: the guest may send its credit and not a byte more. */
TEST(vsock_credit_of_the_guest)
{
    struct packet p = {0};
    uint8_t expect = 0, buf[4096];
    uint32_t sent = 0, taken = 0, credit = BUFFER, got = 0;
    start();
    int fd = from_guest(1000);
    for (; credit >= 1000; credit = BUFFER - (sent - taken)) { /* until both are full */
        say_data(1000, 7, 1000);
        sent += 1000;
        while (hear(&p)) {
            CHECK_EQ(p.op, CREDIT);
            taken = p.fwd_cnt;
        }
    }
    CHECK(sent > BUFFER);
    for (ssize_t n; got < sent; got += (uint32_t)n) {
        n = read(fd, buf, sizeof buf);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK(buf[i] == expect++);
        while (hear(&p))
            CHECK_EQ(p.op, CREDIT);
    }
    CHECK(p.fwd_cnt - taken >= BUFFER / 2 || p.fwd_cnt == sent);
    CHECK(read(fd, buf, 1) < 0 && errno == EAGAIN);
    close(fd);
}

/* The guest does not take: no byte more than its credit; and lies about it hurt nobody. */
TEST(vsock_credit_of_the_host)
{
    static const uint32_t lies[][2] = {
        {0,          0         },
        {UINT32_MAX, 0         },
        {0,          UINT32_MAX},
        {10,         0x80000000},
        {BUFFER,     77        }
    };
    struct packet p, update;
    static uint8_t data[2 * BUFFER];
    uint32_t got = 0;
    start();
    int fd = from_guest(1000);
    CHECK(write(fd, data, sizeof data) > BUFFER);
    while (hear(&p)) {
        CHECK_EQ(p.op, RW);
        got += p.len;
    }
    CHECK_EQ(got, BUFFER);
    fwd = 100;
    say(CREDIT, 1000, 7);
    CHECK(hear_op(RW, &p));
    CHECK_EQ(p.len, 100);
    CHECK(silence());
    for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
        update = packet(CREDIT, 1000, 7);
        update.buf_alloc = lies[i][0];
        update.fwd_cnt = lies[i][1];
        say_packet(&update, NULL, 0);
        while (hear(&p))
            CHECK(p.op == RW);
    }
    close(fd);
}

TEST(vsock_halves_close_one_by_one)
{
    struct packet p;
    char buf[16];
    start();
    int fd = from_guest(1000);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(hear_op(SHUTDOWN, &p));
    CHECK_EQ(p.flags, 2);
    say_data(1000, 7, 5); /* the other half is open */
    CHECK(read(fd, buf, sizeof buf) == 5);
    say_shutdown(1000, 7, 2);
    CHECK(read(fd, buf, sizeof buf) == 0);
    say_shutdown(1000, 7, 3);
    CHECK(hear_op(RST, &p));
    CHECK(silence());
    close(fd);

    fd = from_guest(1001); /* the guest first */
    say_data(1001, 7, 5);
    say_shutdown(1001, 7, 2);
    CHECK(read(fd, buf, sizeof buf) == 5);
    CHECK(read(fd, buf, sizeof buf) == 0);
    CHECK(write(fd, "answer", 6) == 6);
    CHECK(hear_op(RW, &p));
    close(fd);
    CHECK(hear_op(SHUTDOWN, &p));
    CHECK_EQ(p.flags, 3);
    say(RST, 1001, 7);
    CHECK(silence());

    fd = from_guest(1002); /* all at once, by the host */
    CHECK(write(fd, "last", 4) == 4);
    close(fd);
    CHECK(hear_op(RW, &p));
    CHECK(hear_op(SHUTDOWN, &p));
    CHECK_EQ(p.flags, 3);
    vd_now_ns += VSOCK_PATIENCE; /* which the guest does not answer */
    CHECK(hear_op(RST, &p));
    CHECK(silence());

    fd = from_guest(1003); /* data to a program that is gone */
    close(fd);
    CHECK(hear_op(SHUTDOWN, &p));
    say_data(1003, 7, 5);
    CHECK(hear_op(RST, &p));
}

/* What the guest has sent before it closed goes to the program, however slowly that reads. */
TEST(vsock_closed_with_bytes_under_way)
{
    struct packet p;
    uint8_t buf[4096], expect = 0;
    uint32_t sent = 0, got = 0;
    start();
    int fd = from_guest(1000);
    for (uint32_t taken = 0; BUFFER - (sent - taken) >= 1000; sent += 1000) {
        say_data(1000, 7, 1000);
        while (hear(&p))
            taken = p.fwd_cnt;
    }
    say_shutdown(1000, 7, 3);
    CHECK(silence());
    for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0; got += (uint32_t)n) {
        for (ssize_t i = 0; i < n; i++)
            CHECK(buf[i] == expect++);
        vd_run();
    }
    CHECK_EQ(got, sent);
    bool over = false;
    while (hear(&p))
        over |= p.op == RST;
    CHECK(over);
    close(fd);
}

TEST(vsock_reset_closes_all)
{
    uint32_t port;
    char byte;
    start();
    int fd = to_guest(&port);
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK_EQ(vd_status(), 0);
    CHECK(read(fd, &byte, 1) == 0);
    close(fd);
    fd = unix_socket(path, false); /* no driver */
    CHECK(write(fd, "CONNECT 5\n", 10) == 10);
    vd_run();
    CHECK(read(fd, &byte, 1) == 0);
    close(fd);
    vdev_start(F_VERSION_1);
    give_rx(RX_N);
    fd = to_guest(&port);
    close(fd);
}

TEST(vsock_tells_of_a_load_by_the_event_queue)
{
    static uint8_t state[65536];
    uint32_t id, len;
    struct device *dev = start();
    vq_add(EVENT, &(struct vq_buf){TX_AT, 8, F_WRITE}, 1, 0);
    vq_kick(EVENT);
    CHECK(!vq_used(EVENT, &id, &len));
    size_t n = device_save(dev, state, sizeof state);
    CHECK(n && n <= sizeof state);
    g_fill(TX_AT, 0xff, 8);
    CHECK(!device_load(dev, state, n));
    vd_run();
    CHECK(vq_used(EVENT, &id, &len));
    CHECK_EQ(len, 4);
    CHECK_EQ(g_read(TX_AT, 4), 0);
}
