// SPDX-License-Identifier: MIT
/* Frames per second of a card, as its guest sees them: one static program for both sides.
 *
 *   frames send IF SECONDS SIZE        raw frames of SIZE bytes (14 to 1514), as many as go
 *   frames tso IF SECONDS on|off       TCP segments of 64 KiB, cut up by the card, or by the kernel
 *   frames count IF SECONDS            those that come in
 *   frames feed SIZE COMMAND...        beside the VMM: it has a socket of datagrams as descriptor 3, on which frames of SIZE
 *                                      bytes wait for it at all times, and what it sends is thrown away
 *
 * Prints frames (tso: segments as on the wire) and payload in the guest: `send 60: 12345 frames/s 0.7 MB/s`.
 *
 * tso uses AF_PACKET's header of offloads (PACKET_VNET_HDR), so that neither a TCP connection nor its far end is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MSS = 1448,
    SEGMENTS = 45,
    HEADERS = 14 + 20 + 32,
    ETHERTYPE = 0x88b5, /* for experiments: no kernel takes it further than it must */
};

static uint8_t frame[HEADERS + SEGMENTS * MSS];

static void fail(const char *what)
{
    printf("frames: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(const char *what, double frames, double bytes, double seconds)
{
    printf("%s: %.0f frames/s %.2f MB/s\n", what, frames / seconds, bytes / seconds / 1e6);
}

static void put16(unsigned at, unsigned value)
{
    frame[at] = (uint8_t)(value >> 8);
    frame[at + 1] = (uint8_t)value;
}

static uint32_t sum(unsigned at, unsigned n)
{
    uint32_t s = 0;
    for (unsigned i = 0; i < n; i += 2)
        s += (uint32_t)frame[at + i] << 8 | frame[at + i + 1];
    return s;
}

static uint16_t fold(uint32_t s)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

/* To nobody, by a card's address that is nobody's. */
static void ethernet(unsigned type)
{
    memcpy(frame, "\x02\0\0\0\0\x02\x02\0\0\0\0\x01", 12);
    put16(12, type);
}

/* 10.0.0.1 to 10.0.0.2, port 9 to 9; the checksums as who asks for offloads leaves them. */
static void tcp(unsigned payload)
{
    ethernet(ETH_P_IP);
    frame[14] = 0x45;
    put16(16, 20 + 32 + payload);
    frame[22] = 64, frame[23] = 6;
    memcpy(frame + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
    put16(24, (uint16_t)~fold(sum(14, 20)));
    put16(34, 9), put16(36, 9);
    frame[46] = 0x80, frame[47] = 0x10;
    put16(48, 1000);
    put16(50, fold(sum(26, 8) + 6 + 32 + payload));
}

static int packet_socket(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0)
        fail(name);
    return fd;
}

static uint64_t statistic(const char *name, const char *what)
{
    char path[128], text[32] = "";
    snprintf(path, sizeof path, "/sys/class/net/%s/statistics/%s", name, what);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        fail(path);
    close(fd);
    return strtoull(text, NULL, 10);
}

static void do_send(const char *name, double seconds, size_t size)
{
    char what[32];
    int fd = packet_socket(name);
    uint64_t sent = 0;
    double start = now(), t;
    ethernet(ETHERTYPE);
    do {
        for (int i = 0; i < 16; i++)
            if (write(fd, frame, size) < 0 && errno != ENOBUFS)
                fail("write");
        sent += 16;
    } while ((t = now() - start) < seconds);
    snprintf(what, sizeof what, "send %zu", size);
    say(what, (double)sent, (double)sent * (double)size, t);
}

static void set_tso(const char *name, bool on)
{
    struct ethtool_value v = {.cmd = ETHTOOL_STSO, .data = on};
    struct ifreq r = {.ifr_data = (void *)&v};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    if (ioctl(fd, SIOCETHTOOL, &r) < 0)
        fail("ETHTOOL_STSO");
    close(fd);
}

static void do_tso(const char *name, double seconds, bool on)
{
    static uint8_t buf[sizeof(struct virtio_net_hdr) + sizeof frame];
    struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                               .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                               .hdr_len = HEADERS,
                               .gso_size = MSS,
                               .csum_start = 34,
                               .csum_offset = 16};
    int fd = packet_socket(name), one = 1;
    set_tso(name, on);
    if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0)
        fail("PACKET_VNET_HDR");
    tcp(SEGMENTS * MSS);
    memcpy(buf, &h, sizeof h);
    memcpy(buf + sizeof h, frame, sizeof frame);
    uint64_t packets = statistic(name, "tx_packets"), sent = 0;
    double start = now(), t;
    do {
        if (write(fd, buf, sizeof buf) < 0 && errno != ENOBUFS)
            fail("write");
        sent++;
    } while ((t = now() - start) < seconds);
    packets = statistic(name, "tx_packets") - packets;
    /* nearly as many as were given: else the kernel, or the driver, threw them away */
    if ((double)packets < 0.9 * (double)(sent - 20) * SEGMENTS)
        printf("frames: only %llu of %llu\n", (unsigned long long)packets,
               (unsigned long long)sent * SEGMENTS);
    say(on ? "tso on" : "tso off", (double)sent * SEGMENTS, (double)sent * SEGMENTS * MSS, t);
}

static void count(const char *name, double seconds)
{
    int fd = packet_socket(name);
    ethernet(ETHERTYPE);
    if (write(fd, frame, 60) < 0) /* the other side begins when it has this */
        fail("write");
    close(fd);
    while (statistic(name, "rx_packets") < 1000)
        usleep(10000);
    uint64_t packets = statistic(name, "rx_packets"), bytes = statistic(name, "rx_bytes");
    double start = now();
    usleep((useconds_t)(seconds * 1e6));
    packets = statistic(name, "rx_packets") - packets;
    bytes = statistic(name, "rx_bytes") - bytes;
    char what[32];
    snprintf(what, sizeof what, "receive %llu", (unsigned long long)(packets ? bytes / packets : 0));
    say(what, (double)packets, (double)bytes, now() - start);
}

static int feed(size_t size, char **command)
{
    int fds[2], status;
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) < 0)
        fail("socketpair");
    pid_t pid = fork();
    if (!pid) {
        if (fds[0] != 3) /* else it goes with the next line */
            close(fds[0]);
        dup2(fds[1], 3);
        execvp(*command, command);
        _exit(127);
    }
    close(fds[1]);
    struct pollfd ready = {fds[0], POLLIN,
                           0}; /* a card that is not up yet would only have to throw frames away */
    while (poll(&ready, 1, 200) == 0 && waitpid(pid, &status, WNOHANG) == 0) {
    }
    pid_t taker = fork(); /* what the guest says is thrown away */
    if (!taker) {
        static uint8_t any[70000];
        while (read(fds[0], any, sizeof any) > 0) {
        }
        _exit(0);
    }
    ethernet(ETHERTYPE);
    memset(frame, 0xff, 6); /* to everybody: the card's own address is not known here */
    signal(SIGPIPE, SIG_IGN);
    while (waitpid(pid, &status, WNOHANG) == 0)
        for (int i = 0; i < 256; i++)
            if (write(fds[0], frame, size) < 0)
                break;
    kill(taker, SIGKILL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 3 && !strcmp(argv[1], "feed"))
        return feed(strtoul(argv[2], NULL, 10), argv + 3);
    if (argc == 4 && !strcmp(argv[1], "count")) {
        count(argv[2], atof(argv[3]));
    } else if (argc == 5 && !strcmp(argv[1], "send")) {
        size_t n = strtoul(argv[4], NULL, 10);
        if (n < 14 || n > 1514)
            return 125;
        do_send(argv[2], atof(argv[3]), n);
    } else if (argc == 5 && !strcmp(argv[1], "tso")) {
        do_tso(argv[2], atof(argv[3]), !strcmp(argv[4], "on"));
    } else {
        return 125;
    }
    return 0;
}
