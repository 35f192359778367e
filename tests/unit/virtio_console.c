// SPDX-License-Identifier: MIT
/* virtio-console against virtio 1.2, 5.3: a terminal alone, named ports with their control messages, both directions with ends
 * that are slow, ends made by options. */
#include "vconsole_board.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- a terminal */

TEST(console_is_one_port_that_all_drivers_know)
{
    terminal(0);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10431af4);
    CHECK_EQ(vd_features() & 7, F_BIT(F_SIZE) | F_BIT(F_EMERG));
    CHECK_EQ(c_read(C_NUMQ, 2), 2);
    vdev_start(F_VERSION_1);
    settle();
    CHECK(say(TX, "hello"));
    CHECK(say(TX, " world"));
    CHECK_EQ(host.n, 11);
    CHECK(!memcmp(host.got, "hello world", 11));
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 0); /* no buffers yet */
    CHECK_EQ(host.readies, 0);
    give(RX, 0, 2, 16);
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 3);
    CHECK_STR(heard(RX), "abc");
    CHECK_EQ(virtio_console_rx(host.dev, 0, "0123456789abcdefXYZ", 19), 16);
    CHECK_STR(heard(RX), "0123456789abcdef");
    CHECK_EQ(host.readies, 1);
    give(RX, 2, 1, 16);
    CHECK_EQ(host.readies, 2);
}

TEST(console_input_before_the_driver_waits)
{
    terminal(0);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 0);
    vdev_start(F_VERSION_1);
    give(RX, 0, 1, 16);
    CHECK_EQ(host.readies, 0); /* a driver in its set-up would throw it away */
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 0);
    vd_now_ns += 1900000000;
    CHECK(say(TX, "console enabled"));
    CHECK_EQ(host.readies, 0);
    vd_now_ns += 99000000;
    vd_run();
    CHECK_EQ(host.readies, 0);
    vd_now_ns += 1000000; /* two seconds are enough, even for one who goes on printing */
    vd_run();
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 3);
    CHECK_STR(heard(RX), "abc");
}

TEST(console_input_waits_until_a_new_driver_is_quiet)
{
    terminal(0);
    vdev_start(F_VERSION_1);
    give(RX, 0, 1, 16);
    CHECK(say(TX, "console enabled"));
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 0);
    vd_now_ns += 200000000;
    vd_run();
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(virtio_console_rx(host.dev, 0, "abc", 3), 3);
    CHECK(loop_next(m->board.loop) == LOOP_NEVER); /* idle: nothing ticks */
}

TEST(console_output_waits_for_its_reader)
{
    terminal(F_VERSION_1);
    host.room = 3;
    CHECK(!say(TX, "abcdef"));
    CHECK_EQ(host.n, 3);
    vq_kick(TX); /* asking again does not help */
    CHECK_EQ(host.writes, 1);
    host.room = 1;
    virtio_console_tx_ready(host.dev, 0);
    vd_run();
    CHECK_EQ(host.n, 4);
    CHECK_EQ(vq_used_idx(TX), 0);
    host.room = SIZE_MAX;
    virtio_console_tx_ready(host.dev, 0);
    vd_run();
    CHECK_EQ(vq_used_idx(TX), 1);
    CHECK(!memcmp(host.got, "abcdef", 6));
    CHECK(virtio_console_drained(host.dev, NULL, NULL));
}

TEST(console_size_and_its_change)
{
    terminal(0);
    virtio_console_set_size(host.dev, 80, 25);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 2), 80);
    vdev_start(F_VERSION_1 | F_BIT(F_SIZE));
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1) & 2, 2); /* Linux looks when it is told to */
    unsigned generation = (unsigned)c_read(C_GENERATION, 1);
    virtio_console_set_size(host.dev, 132, 50);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 2), 132);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 2, 2), 50);
    CHECK(c_read(C_GENERATION, 1) != generation);
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1) & 2, 2);
    virtio_console_set_size(host.dev, 132, 50);
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1) & 2, 0);
    g_write(vd.cap[CAP_DEVICE], 7, 2);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 2), 132);
}

TEST(console_emergency_write)
{
    terminal(0);
    for (const char *p = "help"; *p; p++)
        g_write(vd.cap[CAP_DEVICE] + 8, (uint8_t)*p | 0x100, 4);
    vd_run();
    CHECK_EQ(host.n, 4);
    CHECK(!memcmp(host.got, "help", 4));
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 8, 4), 0xffffffff); /* write-only */
    host.room = 0;
    for (unsigned i = 0; i < 1000; i++)
        g_write(vd.cap[CAP_DEVICE] + 8, 'x', 4);
    vd_run();
    CHECK_EQ(host.dev->drops[1], 1000 - 64);
    host.room = SIZE_MAX;
    virtio_console_tx_ready(host.dev, 0);
    vd_run();
    CHECK_EQ(host.n, 4 + 64);
}

/* --- named ports */

TEST(console_tells_of_its_ports)
{
    struct device *dev =
        ports(in_folder("console=file:%s/con,port=log.x=file:%s/log,port=chan=unix:%s/sock"));
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 4, 4), 3);
    CHECK_EQ(c_read(C_NUMQ, 2), 8);
    virtio_console_set_size(dev, 80, 24);
    CHECK_EQ(told(), ~0u);
    control(~0u, M_DEVICE_READY, 1);
    TOLD(0, M_PORT_ADD, 0);
    TOLD(1, M_PORT_ADD, 0);
    TOLD(2, M_PORT_ADD, 0);
    CHECK_EQ(told(), ~0u);
    control(1, M_PORT_READY, 1);
    TOLD(1, M_OPEN, 1);
    TOLD(1, M_NAME, 0);
    CHECK_STR(rest, "log.x");
    control(0, M_PORT_READY, 1);
    TOLD(0, M_CONSOLE, 1);
    TOLD(0, M_RESIZE, 0);
    CHECK(!memcmp(rest, "P\0\x18\0", 4)); /* columns, rows */
    TOLD(0, M_OPEN, 1);
    control(2, M_PORT_READY, 1);
    TOLD(2, M_OPEN, 0); /* nobody has called yet */
    TOLD(2, M_NAME, 0);
    CHECK_STR(rest, "chan");
    virtio_console_set_size(dev, 81, 24);
    TOLD(0, M_RESIZE, 0);
    CHECK_EQ(rest[0], 81);
    CHECK_EQ(told(), ~0u);
    devices_free(&m->board);
    CHECK(access(in_folder("%s/sock"), F_OK));
}

/* Without the feature there is port 0, and it works. */
TEST(console_with_ports_for_a_driver_that_knows_none)
{
    vdev_new(&vconsole_class, in_folder("console=file:%s/con,port=a=file:%s/a"));
    vdev_start(F_VERSION_1);
    CHECK(say(TX, "plain"));
    CHECK_EQ(vq_used_idx(CRX), 0);
    devices_free(&m->board);
}

static bool comes(bool (*fn)(void))
{
    return VD_UNTIL(fn());
}
static int peer = -1;
static char peer_got[1 << 16];
static size_t peer_n;
static bool peer_hears(void)
{
    ssize_t n = recv(peer, peer_got + peer_n, sizeof peer_got - peer_n, MSG_DONTWAIT);
    peer_n += n > 0 ? (size_t)n : 0;
    return n > 0;
}
static int call(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof at));
    vd_run();
    return fd;
}

TEST(console_port_on_a_socket)
{
    struct device *dev = ports(in_folder("port=chan=unix:%s/sock"));
    control(~0u, M_DEVICE_READY, 1);
    TOLD(1, M_PORT_ADD, 0);
    control(1, M_PORT_READY, 1);
    TOLD(1, M_OPEN, 0);
    TOLD(1, M_NAME, 0);
    CHECK(say(TX1, "nobody")); /* dropped, not kept */
    CHECK_EQ(dev->drops[0], 1);
    peer = call(in_folder("%s/sock"));
    TOLD(1, M_OPEN, 1);
    CHECK(say(TX1, "to you"));
    peer_n = 0;
    CHECK(comes(peer_hears));
    CHECK(peer_n == 6 && !memcmp(peer_got, "to you", 6));
    /* nothing goes to a port that no program has open: its driver would throw it away */
    CHECK_EQ(write(peer, "early", 5), 5);
    give(RX1, 0, 4, 0x100);
    vd_run();
    CHECK_STR(heard(RX1), "(none)");
    control(1, M_OPEN, 1);
    vd_run();
    CHECK_STR(heard(RX1), "early");
    /* a second caller waits; what the first said before he left arrives, then the guest is told */
    CHECK_EQ(write(peer, "last", 4), 4);
    int second = call(in_folder("%s/sock"));
    close(peer);
    vd_run();
    CHECK_STR(heard(RX1), "last");
    TOLD(1, M_OPEN, 0);
    TOLD(1, M_OPEN, 1);
    peer = second;
    /* half closed: he still hears */
    CHECK_EQ(write(peer, "half", 4), 4);
    shutdown(peer, SHUT_WR);
    vd_run();
    CHECK_STR(heard(RX1), "half");
    CHECK_EQ(told(), ~0u);
    CHECK(say(TX1, "still"));
    CHECK(comes(peer_hears));
    close(peer);
    vd_run();
    TOLD(1, M_OPEN, 0);
    CHECK_EQ(loop_step(m->board.loop), 0); /* and nothing spins */
    devices_free(&m->board);
}

/* S2: a caller that sends without end, and a guest that reads nothing. */
TEST(V18_console_a_guest_that_never_reads_does_not_make_us_grow)
{
    ports(in_folder("port=chan=unix:%s/sock"));
    control(~0u, M_DEVICE_READY, 1);
    control(1, M_PORT_READY, 1);
    control(1, M_OPEN, 1);
    peer = call(in_folder("%s/sock"));
    static char block[4096];
    uint64_t sent = 0;
    for (unsigned i = 0; i < 5000; i++) {
        ssize_t n = send(peer, block, sizeof block, MSG_DONTWAIT);
        sent += n > 0 ? (uint64_t)n : 0;
        vd_run();
    }
    CHECK(sent < 1 << 20); /* the kernel's buffer, and ours */
    CHECK_EQ(loop_step(m->board.loop), 0);
    /* then it reads, and has all of it */
    uint64_t came = 0;
    for (unsigned round = 0; round < 100000 && came < sent; round++) {
        uint32_t id, len;
        give(RX1, round % 32, 1, 0x200);
        while (vq_used(RX1, &id, &len))
            came += len;
    }
    CHECK_EQ(came, sent);
    close(peer);
    devices_free(&m->board);
}

/* ... and the other way: a caller that reads nothing makes the guest wait, and loses nothing. */
TEST(V18_console_a_caller_that_never_reads_holds_the_guest)
{
    ports(in_folder("port=chan=unix:%s/sock"));
    control(~0u, M_DEVICE_READY, 1);
    control(1, M_PORT_READY, 1);
    peer = call(in_folder("%s/sock"));
    uint64_t said = 0;
    uint32_t id, len;
    unsigned out = 0;
    for (unsigned i = 0; i < 2000 && out < 8; i++) { /* until eight buffers are out and none comes back */
        vq_add(TX1,
               (struct vq_buf[]){
                   {BUF + 0x8000, 0x4000, 0}
        },
               1, i % 32);
        vq_kick(TX1);
        said += 0x4000;
        out++;
        while (vq_used(TX1, &id, &len))
            out--;
    }
    CHECK_EQ(out, 8);
    CHECK_EQ(loop_step(m->board.loop), 0);
    uint64_t came = 0;
    for (unsigned i = 0; i < 100000 && came < said; i++) {
        peer_n = 0;
        if (peer_hears())
            came += peer_n;
        vd_run();
    }
    CHECK_EQ(came, said);
    CHECK_EQ((uint16_t)(vq_used_idx(TX1) - vd.q[TX1].avail_idx), 0);
    close(peer);
    devices_free(&m->board);
}

static bool is_drained(void)
{
    return virtio_console_drained(&vd.pci->dev, NULL, NULL);
}

TEST(console_ports_on_files)
{
    int fd = open(in_folder("%s/in"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, "from a file", 11) == 11);
    close(fd);
    ports(in_folder("port=log=file:%s/log,port=in=input:%s/in"));
    control(~0u, M_DEVICE_READY, 1);
    control(1, M_PORT_READY, 1);
    control(2, M_PORT_READY, 1);
    control(2, M_OPEN, 1);
    while (told() != ~0u)
        ;
    CHECK(say(TX1, "into a file"));
    give(6, 0, 1, 0x100);
    CHECK(VD_UNTIL(vq_used_idx(6)));
    CHECK_STR(heard(6), "from a file");
    unsigned message = ~0u;
    CHECK(VD_UNTIL((message = told()) != ~0u));
    CHECK_EQ(message, 2 << 16 | M_OPEN << 8); /* its end */
    CHECK(comes(is_drained));
    char text[16] = "";
    fd = open(in_folder("%s/log"), O_RDONLY);
    CHECK(read(fd, text, sizeof text) == 11 && !memcmp(text, "into a file", 11));
    close(fd);
    devices_free(&m->board);
}

/* --- what is refused at set-up */

static int call_listener(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&at, sizeof at) && !listen(fd, 1));
    return fd;
}

static bool refused(const char *options, const char *why)
{
    vdev_prepare();
    struct device *dev =
        device_new(&m->board, &vconsole_class, NULL, *options ? options : NULL, m->err, sizeof m->err);
    if (dev || !strstr(m->err, why))
        printf("%s: %s\n", options, dev ? "taken" : m->err);
    return !dev && strstr(m->err, why);
}

TEST(console_options_that_are_refused)
{
    CHECK(refused("", "nothing is plugged in"));
    CHECK(refused("port=x", "port=NAME=END"));
    CHECK(refused("port==stdout", "port=NAME=END"));
    CHECK(refused("port=x=stdoutt", "it is stdin"));
    CHECK(refused("port=x=file:", "it is stdin"));
    CHECK(refused("port=x=file:/nowhere/at/all", "No such file"));
    CHECK(refused("port=x=unix:/nowhere/at/all", "No such file"));
    CHECK(refused(in_folder("port=x=unix:%s/log"), "File exists")); /* a file is not removed */
    CHECK(refused("console=input:/dev/null,port=a=stdin,port=b=stdin", "already"));
    CHECK(refused(in_folder("port=a=unix:%s/left,port=b=bad"), "it is stdin"));
    CHECK(access(in_folder("%s/left"), F_OK)); /* nothing stays behind */
    char many[600] = "console=stdout";
    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        strcat(many, ",port=p=stdout");
    CHECK(refused(many, "more ports"));
    int fd = call_listener(in_folder("%s/taken"));
    CHECK(refused(in_folder("port=x=unix:%s/taken"), "in use"));
    close(fd);
}

TEST(console_state_goes_from_one_machine_to_another)
{
    static uint8_t saved[1 << 16];
    ports(in_folder("port=a=file:%s/a"));
    control(~0u, M_DEVICE_READY, 1);
    control(1, M_PORT_READY, 1);
    control(1, M_OPEN, 1);
    size_t n = device_save(&vd.pci->dev, saved, sizeof saved);
    CHECK(n && n <= sizeof saved);
    CHECK(!device_load(&vd.pci->dev, saved, n));
    vd_run();
    CHECK(say(TX1, "on it goes"));
    devices_free(&m->board);
    terminal(0); /* has no port 1 */
    CHECK(device_load(host.dev, saved, n));
}
