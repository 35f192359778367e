/* SPDX-License-Identifier: MIT
 *
 * A vsock driver written from virtio 1.2, 5.10, and the host's programs at the other end, for unit tests.
 */
#ifndef TESTS_UNIT_VSOCK_DRIVER_H
#define TESTS_UNIT_VSOCK_DRIVER_H

#include "virtio_board.h"

#include "kvm/host/unix_listener.h"

#include "virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    RX = 0,
    TX = 1,
    EVENT = 2,
    HEAD = 44,
    GUEST = 5,
    HOST = 2,
    STREAM = 1,
    REQUEST = 1,
    RESPONSE = 2,
    RST = 3,
    SHUTDOWN = 4,
    RW = 5,
    CREDIT = 6,
    ASK_CREDIT = 7,
    BUFFER = 64 * 1024,
    RX_SIZE = 4096,
    RX_N = 64,
    RX_AT = VQ_BUFFERS, /* RX_N buffers of RX_SIZE */
    TX_AT = 0xc0000,
};

struct packet {
    uint64_t src_cid, dst_cid;
    uint32_t src_port, dst_port, len;
    uint16_t type, op;
    uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static char path[64], listening[80];
static uint8_t sent_byte;
static uint32_t fwd; /* what the guest has taken, as it says */

static inline void give_rx(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        vq_add(RX,
               &(struct vq_buf){RX_AT + (uint64_t)(vd.q[RX].avail_idx % RX_N) * RX_SIZE, RX_SIZE, F_WRITE}, 1,
               vd.q[RX].avail_idx % RX_N);
    vq_kick(RX);
}

/* What the device says next; false: nothing. The buffer goes back to it. */
static uint8_t rx_data[RX_SIZE];
static inline bool hear(struct packet *p)
{
    uint32_t id, len;
    vd_run();
    if (!vq_used(RX, &id, &len))
        return false;
    CHECK(len >= HEAD && len <= RX_SIZE);
    uint8_t *at = ram_host(m->ram, RX_AT + (uint64_t)id * RX_SIZE, RX_SIZE);
    memcpy(p, at, HEAD);
    memcpy(rx_data, at + HEAD, len - HEAD);
    CHECK_EQ(p->len, len - HEAD);
    CHECK(p->op == RST || p->src_cid == HOST);
    CHECK_EQ(p->dst_cid, GUEST);
    CHECK(p->op == RST || p->type == STREAM);
    give_rx(1);
    return true;
}
static inline bool hear_op(unsigned op, struct packet *p)
{
    bool heard = hear(p);
    if (heard && p->op != op)
        printf("heard %u, not %u\n", p->op, op);
    return heard && p->op == op;
}
static inline bool silence(void)
{
    struct packet p;
    bool heard = hear(&p);
    if (heard)
        printf("heard %u\n", p.op);
    return !heard;
}

static inline void say_packet(const struct packet *p, const void *data, uint32_t len)
{
    uint32_t id, used;
    memcpy(ram_host(m->ram, TX_AT, HEAD), p, HEAD);
    if (len)
        memcpy(ram_host(m->ram, TX_AT + HEAD, len), data, len);
    vq_add(TX,
           (struct vq_buf[]){
               {TX_AT,        HEAD, 0},
               {TX_AT + HEAD, len,  0}
    },
           len ? 2 : 1, 0);
    vq_kick(TX);
    CHECK(vq_used(TX, &id, &used));
    CHECK_EQ(used, 0);
}
static inline struct packet packet(unsigned op, uint32_t from, uint32_t to)
{
    return (struct packet){.src_cid = GUEST,
                           .dst_cid = HOST,
                           .src_port = from,
                           .dst_port = to,
                           .type = STREAM,
                           .op = (uint16_t)op,
                           .buf_alloc = BUFFER,
                           .fwd_cnt = fwd};
}
static inline void say(unsigned op, uint32_t from, uint32_t to)
{
    struct packet p = packet(op, from, to);
    say_packet(&p, NULL, 0);
}
static inline void say_shutdown(uint32_t from, uint32_t to, uint32_t flags)
{
    struct packet p = packet(SHUTDOWN, from, to);
    p.flags = flags;
    say_packet(&p, NULL, 0);
}
static inline void say_data(uint32_t from, uint32_t to, uint32_t len)
{
    static uint8_t data[BUFFER * 2];
    struct packet p = packet(RW, from, to);
    for (uint32_t i = 0; i < len; i++)
        data[i] = sent_byte++;
    p.len = len;
    say_packet(&p, data, len);
}

static inline int unix_socket(const char *at, bool listens)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", at);
    CHECK(fd >= 0);
    if (listens) {
        CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 200) == 0);
    } else {
        CHECK(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    }
    return fd;
}

static inline struct device *start(void)
{
    static struct device *before;
    char option[96];
    if (before)
        before->class->fini(before);
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "/tmp/vmlet-vsock-%d", (int)getpid());
    snprintf(listening, sizeof listening, "%s_7", path);
    unlink(listening);
    snprintf(option, sizeof option, "cid=%d,path=%s", GUEST, path);
    sent_byte = 0;
    fwd = 0;
    struct device *dev = before = vdev_new(&vsock_class, option);
    vdev_start(F_VERSION_1);
    give_rx(RX_N);
    return dev;
}

/* A connection of the guest's to port 7, and the host's end of it. */
static inline int from_guest(uint32_t port)
{
    struct packet p;
    int server = unix_socket(listening, true);
    say(REQUEST, port, 7);
    CHECK(hear_op(RESPONSE, &p));
    CHECK(p.src_port == 7 && p.dst_port == port && p.buf_alloc == BUFFER);
    int fd = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fd >= 0);
    close(server);
    unlink(listening);
    return fd;
}

/* One of the host's to the guest's port 99; *port is the host's end. */
static inline int to_guest(uint32_t *port)
{
    struct packet p;
    char ok[32] = "", want[32];
    int fd = unix_socket(path, false);
    CHECK(write(fd, "CONN", 4) == 4); /* in two pieces */
    vd_run();
    CHECK(write(fd, "ECT 99\nrest", 11) == 11);
    CHECK(hear_op(REQUEST, &p));
    CHECK_EQ(p.dst_port, 99);
    CHECK(read(fd, ok, sizeof ok) < 0 && errno == EAGAIN);
    *port = p.src_port;
    say(RESPONSE, 99, *port);
    snprintf(want, sizeof want, "OK %u\n", *port);
    CHECK(read(fd, ok, sizeof ok - 1) == (ssize_t)strlen(want));
    CHECK_STR(ok, want);
    CHECK(hear_op(RW, &p)); /* what stood behind the line */
    CHECK(p.len == 4 && !memcmp(rx_data, "rest", 4));
    return fd;
}

#endif
