// SPDX-License-Identifier: MIT
/* What a driver of virtio-console may do wrong: section V of the bad inputs, and random drivers from a seed. */
#include "vconsole_board.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

/* --- what a driver may do wrong */

TEST(V17_console_buffers_of_the_wrong_direction)
{
    uint32_t id, len;
    terminal(F_VERSION_1);
    vq_add(TX,
           (struct vq_buf[]){
               {BUF, 16, F_WRITE}
    },
           1, 3); /* to be written, in a transmit queue */
    vq_kick(TX);
    CHECK(vq_used(TX, &id, &len) && id == 3 && len == 0);
    CHECK_EQ(host.n, 0);
    vq_add(RX,
           (struct vq_buf[]){
               {BUF, 16, 0}
    },
           1, 4); /* to be read, in a receive queue */
    vq_add(RX,
           (struct vq_buf[]){
               {BUF, 0, F_WRITE}
    },
           1, 5);
    give(RX, 6, 1, 16);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 3);
    CHECK(vq_used(RX, &id, &len) && id == 4 && len == 0);
    CHECK(vq_used(RX, &id, &len) && id == 5 && len == 0);
    CHECK_STR(heard(RX), "abc");
}

TEST(V4_console_empty_buffers)
{
    uint32_t id, len;
    terminal(F_VERSION_1);
    vq_add(TX,
           (struct vq_buf[]){
               {BUF, 0, 0}
    },
           1, 3);
    vq_kick(TX);
    CHECK(vq_used(TX, &id, &len) && id == 3 && len == 0);
    CHECK_EQ(host.writes, 0);
    for (unsigned i = 0; i < 64; i++) /* a whole ring of nothing */
        vq_add(RX,
               (struct vq_buf[]){
                   {BUF, 0, F_WRITE}
        },
               1, i);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 0);
    CHECK_EQ(vq_used_idx(RX), 64);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
}

/* V5: the same megabyte in 64 descriptors, and in every buffer of the ring: a turn of the loop stays short. */
TEST(V5_console_huge_buffers_take_bounded_time)
{
    struct vq_buf bufs[32];
    terminal(F_VERSION_1);
    for (unsigned i = 0; i < 32; i++)
        bufs[i] = (struct vq_buf){0, 1 << 20, 0};
    vq_add(TX, bufs, 32, 0);
    c_write(C_SELECT, TX, 2);
    g_write(vd.cap[CAP_NOTIFY] + c_read(C_NOFF, 2) * vd.multiplier, TX, 2);
    loop_step(m->board.loop);
    unsigned writes = host.writes;
    CHECK(writes && writes <= 2 * (256 << 10) / (16 << 10));
    vd_run();
    CHECK_EQ(host.writes, (32u << 20) / (16 << 10));
    CHECK_EQ(vq_used_idx(TX), 1);
}

TEST(V2_console_a_broken_ring_stops_it_and_a_reset_mends_it)
{
    terminal(F_VERSION_1);
    host.room = 2;
    CHECK(!say(TX, "abcdef")); /* in the middle of a buffer */
    vq_avail(RX, 9999);
    vq_kick(RX);
    virtio_console_rx(host.dev, 0, "abc", 3);
    CHECK(vd_status() & ST_NEEDS_RESET);
    host.room = SIZE_MAX;
    virtio_console_tx_ready(host.dev, 0);
    vdev_start(F_VERSION_1);
    CHECK(say(TX, "again")); /* whole: nothing is left of the buffer before */
    CHECK(!memcmp(host.got + host.n - 5, "again", 5));
}

TEST(V16_console_control_messages_of_no_sense)
{
    ports(in_folder("port=a=file:%s/a"));
    static const struct {
        uint32_t id;
        uint16_t event, value;
    } bad[] = {
        {1,          M_PORT_ADD,   0     },
        {0,          M_PORT_READY, 1     }, /* a device without a terminal has no port 0 */
        {2,          M_PORT_READY, 1     },
        {15,         M_OPEN,       1     },
        {16,         M_OPEN,       1     },
        {0xffffffff, M_OPEN,       1     },
        {0x80000000, M_PORT_READY, 0xffff},
        {1,          0xffff,       0     },
        {1,          M_NAME,       1     },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        control(bad[i].id, bad[i].event, bad[i].value);
    CHECK_EQ(told(), ~0u);
    uint32_t id, len;
    vq_add(CTX,
           (struct vq_buf[]){
               {BUF, 7, 0}
    },
           1, 0); /* short */
    vq_add(CTX,
           (struct vq_buf[]){
               {BUF, 0, 0}
    },
           1, 1);
    vq_kick(CTX);
    CHECK(vq_used(CTX, &id, &len) && vq_used(CTX, &id, &len));
    /* the same over and over: answered by state, so it does not pile up */
    for (unsigned i = 0; i < 1000; i++) {
        control(~0u, M_DEVICE_READY, 1);
        control(1, M_PORT_READY, 1);
        control(1, M_OPEN, i % 3);
    }
    unsigned messages = 0;
    while (told() != ~0u)
        messages++;
    CHECK(messages <= 16);
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
    devices_free(&m->board);
}

TEST(V17_console_control_buffers_too_small)
{
    uint32_t id, len;
    vdev_new(&vconsole_class, in_folder("port=a-name=file:%s/a"));
    vdev_start(MULTI);
    give(CRX, 0, 10, 4);
    control(~0u, M_DEVICE_READY, 1);
    for (unsigned i = 0; i < 10; i++)
        CHECK(vq_used(CRX, &id, &len) && len == 0);
    give(CRX, 10, 1, 8); /* enough for this one */
    CHECK(vq_used(CRX, &id, &len) && len == 8);
    control(1, M_PORT_READY, 1);
    give(CRX, 11, 3, 8); /* open; not for the name */
    CHECK(vq_used(CRX, &id, &len) && len == 8);
    CHECK(vq_used(CRX, &id, &len) && len == 0);
    CHECK(vq_used(CRX, &id, &len) && len == 0);
    give(CRX, 20, 1, 64);
    CHECK(vq_used(CRX, &id, &len) && len == 14);
    devices_free(&m->board);
}

/* Random drivers: registers, rings and messages from a seed; whatever they do, the device must come back after a reset. */
TEST(V15_console_random_drivers)
{
    uint64_t seed = 20260101;
    struct device *dev =
        vdev_new(&vconsole_class, in_folder("console=unix:%s/c,port=a=file:%s/a,port=b=unix:%s/b"));
    for (unsigned round = 0; round < 60; round++) {
        vdev_start_sized(round % 3 ? MULTI : F_VERSION_1, 16);
        for (unsigned step = 0; step < 60; step++) {
            uint64_t r = test_rand(&seed);
            unsigned q = (unsigned)(r % 8), head = (unsigned)(r >> 8) % 18;
            static const uint32_t lengths[] = {0, 1, 7, 8, 12, 64, 4096, 0xffffffff};
            g_write(BUF, (r >> 16) % 5, 4);
            g_write(BUF + 4, (r >> 24) % 9, 2);
            g_write(BUF + 6, (r >> 32) % 3, 2);
            vq_desc(q, head % 16, r & 1 << 13 ? BUF : r >> 20, lengths[(r >> 40) % 8], (r >> 44) % 4,
                    (unsigned)(r >> 48) % 17);
            vq_avail(q, head % 17);
            vq_kick(q);
            if (r >> 60 == 1)
                virtio_console_rx(dev, (unsigned)(r >> 5) % 3, "some input", 10);
            if (r >> 60 == 2)
                virtio_console_set_size(dev, (uint16_t)(r >> 30), (uint16_t)(r >> 40));
            if (r >> 60 == 3)
                g_write(vd.cap[CAP_DEVICE] + (r >> 10) % 16, r, 1 << (r >> 50) % 4);
        }
    }
    vdev_start(MULTI);
    give(CRX, 0, 8, 0x200);
    control(~0u, M_DEVICE_READY, 1);
    TOLD(0, M_PORT_ADD, 0);
    devices_free(&m->board);
}

/* A caller that cannot be accepted stays in the backlog, which would be readable for ever. */
TEST(X7_console_no_descriptor_for_a_caller)
{
    struct rlimit was, none;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    ports(in_folder("port=chan=unix:%s/sock7"));
    snprintf(at.sun_path, sizeof at.sun_path, "%s", in_folder("%s/sock7"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    none = (struct rlimit){0, was.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    vd_run();
    CHECK_EQ(loop_step(m->board.loop), 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    CHECK_EQ(loop_step(m->board.loop), 0);
    vd_now_ns += 1000000000;
    vd_run();
    control(~0u, M_DEVICE_READY, 1);
    TOLD(1, M_PORT_ADD, 0);
    control(1, M_PORT_READY, 1);
    TOLD(1, M_OPEN, 1); /* he is there */
    close(fd);
    devices_free(&m->board);
}
