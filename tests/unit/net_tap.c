// SPDX-License-Identifier: MIT
/* The tap backend against the host's real tun driver, in a network namespace of the test's own: a packet socket on the
 * interface is the host's side. Needs root. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kvm/host/program.h"
#include "net/offload.h"
#include "net/tap.h"

enum {
    ETHERTYPE = 0x88b5 /* IEEE 802, local experiments */
};

/* A card: counts what it gets, and may have no room. */
struct card {
    struct port port; /* first */
    unsigned got, ready;
    bool busy, tcp; /* has no room; wants TCP in place of the test's own type */
    size_t len;
    uint8_t frame[PORT_FRAME_MAX];
    struct port_meta meta;
};

static struct loop *loop;
static struct net net;
static struct card card;
static struct tap *tap;
static char err[512];

static enum port_result card_receive(struct port *port, const struct iovec *iov, int n,
                                     const struct port_meta *meta)
{
    struct card *c = (struct card *)port;
    size_t at = 0;
    if (c->busy)
        return PORT_BUSY;
    for (int i = 0; i < n; at += iov[i++].iov_len)
        memcpy(c->frame + at, iov[i].iov_base, iov[i].iov_len);
    unsigned type = c->frame[12] << 8 | c->frame[13];
    if (at < PORT_HEADER || type != (c->tcp ? 0x0800 : ETHERTYPE))
        return PORT_SENT; /* the host's own talk */
    c->len = at;
    c->meta = *meta;
    c->got++;
    return PORT_SENT;
}

static void card_ready(struct port *port)
{
    ((struct card *)port)->ready++;
}

static const struct port_ops card_ops = {.receive = card_receive, .ready = card_ready};

static void own_namespace(void)
{
    static bool done;
    if (done)
        return;
    if (access("/dev/net/tun", R_OK | W_OK))
        SKIP("no /dev/net/tun that we may open");
    if (unshare(CLONE_NEWNET))
        SKIP("no network namespace of our own (not root)");
    int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
    if (fd >= 0) {
        CHECK(write(fd, "1", 1) == 1);
        close(fd);
    }
    done = true;
}

static void set_up(const struct tap_options *o)
{
    own_namespace();
    loop = loop_new(NULL);
    CHECK(loop);
    net_init(&net, loop);
    memset(&card, 0, sizeof card);
    CHECK(port_init(&card.port, &net, "net0", &card_ops));
    tap = tap_new(&net, o, err, sizeof err);
    if (!tap)
        printf("%s\n", err);
    CHECK(tap);
    port_connect(&card.port, tap_port(tap));
}

static void tear_down(void)
{
    tap_free(tap);
    port_free(&card.port);
    loop_free(loop);
}

static const struct tap_options anew = {.name = "net0", .fd = -1, .ifname = "vm0"};

static void steps(void)
{
    while (loop_step(loop))
        ;
}

static int host_socket(const char *ifname)
{
    int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETHERTYPE));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETHERTYPE),
                             .sll_ifindex = (int)if_nametoindex(ifname)};
    CHECK(s >= 0 && !bind(s, (struct sockaddr *)&at, sizeof at));
    return s;
}

static void make_frame(uint8_t *frame, uint32_t number)
{
    memset(frame, 0xff, 12);
    frame[12] = ETHERTYPE >> 8;
    frame[13] = ETHERTYPE & 0xff;
    memcpy(frame + 14, &number, 4);
}

static enum port_result card_send(uint32_t number, size_t len)
{
    static uint8_t frame[PORT_FRAME_MAX];
    static const struct port_meta none;
    make_frame(frame, number);
    struct iovec iov[2] = {
        {frame,      14      },
        {frame + 14, len - 14}
    };
    return port_send(&card.port, iov, 2, &none);
}

static void host_send(int s, uint32_t number, size_t len)
{
    static uint8_t frame[2000];
    make_frame(frame, number);
    CHECK(send(s, frame, len, 0) == (ssize_t)len);
}

TEST(tap_frames_both_ways)
{
    set_up(&anew);
    uint8_t frame[2048];
    uint32_t number;
    int s = host_socket("vm0");
    CHECK(card_send(7, 200) == PORT_SENT);
    CHECK_EQ(recv(s, frame, sizeof frame, 0), 200);
    memcpy(&number, frame + 14, 4);
    CHECK_EQ(number, 7);
    host_send(s, 9, 1514);
    steps();
    CHECK_EQ(card.got, 1);
    CHECK_EQ(card.len, 1514);
    CHECK_EQ(card.frame[14], 9);
    close(s);
    tear_down();
}

/* N4, N7: the card has no room while the host floods. One frame is held, the descriptor is not asked any more, nothing
 * spins; when there is room again, it goes on where it was. */
TEST(N4_N7_tap_holds_one_frame_and_sleeps_while_the_card_is_busy)
{
    set_up(&anew);
    int s = host_socket("vm0");
    card.busy = true;
    for (uint32_t i = 0; i < 20; i++)
        host_send(s, i, 100);
    steps();
    CHECK_EQ(loop_step(loop), 0);
    CHECK_EQ(card.got, 0);
    card.busy = false;
    port_ready(&card.port);
    steps();
    CHECK_EQ(card.got, 20);
    CHECK_EQ(card.frame[14], 19);
    close(s);
    tear_down();
}

/* What the kernel lets be set: for vhost, which sets what its driver takes. */
TEST(tap_offloads_are_what_the_kernel_takes)
{
    set_up(&anew);
    CHECK(tap_has_vnet_header(tap));
    CHECK_EQ(tap_offload(tap, 0), 0);
    CHECK_EQ(tap_offload(tap, PORT_ACCEPT_ALL), 0);
    CHECK_EQ(tap_offload(tap, PORT_ACCEPT_ECN | PORT_ACCEPT_CSUM), 0);
    CHECK_EQ(tap_offload(tap, PORT_ACCEPT_TSO4), 0); /* without checksum: nothing */
    tear_down();
}

/* A peer that accepts nothing: the host's 5 segments are one frame of the tap, finished and cut by the port. */
TEST(tap_reads_a_train_at_once)
{
    enum {
        PAYLOAD = 5000,
        MSS = 1000,
        HEADERS = 14 + 20 + 20
    };
    static uint8_t out[10 + HEADERS + PAYLOAD];
    struct {
        uint8_t flags, gso_type;
        uint16_t hdr_len, gso_size, csum_start, csum_offset;
    } vnet = {PORT_NEEDS_CSUM, PORT_GSO_TCPV4, HEADERS, MSS, 34, 16};
    set_up(&anew);
    card.tcp = true;
    uint8_t *f = out + sizeof vnet;
    memcpy(out, &vnet, sizeof vnet);
    make_frame(f, 0);
    memcpy(f + 12, "\x08\x00\x45\x00", 4);
    f[16] = (HEADERS - 14 + PAYLOAD) >> 8;
    f[17] = (HEADERS - 14 + PAYLOAD) & 0xff;
    memset(f + 18, 0, 36);
    f[22] = 64;
    f[23] = 6;
    f[46] = 5 << 4;
    for (unsigned i = 0; i < PAYLOAD; i++)
        f[HEADERS + i] = (uint8_t)(i / MSS);
    /* the pseudo header's sum, addresses 0 */
    uint16_t pseudo = htons(6 + 20 + PAYLOAD);
    memcpy(f + 50, &pseudo, 2);
    int s = host_socket("vm0"), on = 1;
    CHECK(!setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on));
    uint64_t before = tap_port(tap)->frames;
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(0x0800), .sll_ifindex = (int)if_nametoindex("vm0")};
    CHECK_EQ(sendto(s, out, sizeof out, 0, (struct sockaddr *)&to, sizeof to), sizeof out);
    steps();
    CHECK_EQ(card.got, PAYLOAD / MSS);
    CHECK_EQ(tap_port(tap)->frames, before + 1);
    CHECK_EQ(card.len, HEADERS + MSS);
    CHECK_EQ(card.frame[HEADERS], 4);
    CHECK_EQ(card.meta.flags, 0);
    CHECK_EQ(card.meta.gso_type, 0);
    struct iovec iov = {card.frame, card.len};
    CHECK_EQ(offload_sum(&iov, 1, 14, 20), 0xffff);
    uint16_t head = htons(6 + 20 + MSS); /* with TCP's own: all ones */
    uint32_t sum = (uint32_t)head + offload_sum(&iov, 1, 34, 20 + MSS);
    CHECK_EQ((sum & 0xffff) + (sum >> 16), 0xffff);
    close(s);
    tear_down();
}

/* N3: a vnet header that the kernel does not believe is a drop with a count, no more. */
TEST(N3_tap_drops_what_the_kernel_refuses)
{
    set_up(&anew);
    static uint8_t frame[200];
    static const struct port_meta bad[] = {
        {.flags = PORT_NEEDS_CSUM, .csum_start = 60000, .csum_offset = 60000      },
        {.flags = PORT_NEEDS_CSUM, .csum_start = 14,    .gso_type = PORT_GSO_TCPV4},
        {.flags = PORT_NEEDS_CSUM, .csum_start = 34,    .csum_offset = 16,          .gso_type = 0x77, .gso_size = 1},
        {.gso_type = PORT_GSO_TCPV6,           .gso_size = 100,                              .hdr_len = 65535                              },
    };
    make_frame(frame, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct iovec iov = {frame, sizeof frame};
        CHECK(port_send(&card.port, &iov, 1, &bad[i]) == PORT_SENT);
    }
    uint64_t dropped = 0;
    for (unsigned i = 0; i < PORT_DROPS; i++)
        dropped += card.port.drops[i];
    CHECK(dropped >= 3);
    CHECK(card_send(1, 60) == PORT_SENT && card_send(2, 14) == PORT_SENT);
    tear_down();
}

/* A frame in as many pieces as there may be: the header would be one more than writev() takes. */
TEST(tap_sends_frames_of_very_many_pieces)
{
    set_up(&anew);
    static uint8_t frame[PORT_IOV_MAX + 100];
    static struct iovec iov[PORT_IOV_MAX];
    static const struct port_meta none;
    int s = host_socket("vm0");
    make_frame(frame, 5);
    for (unsigned i = 0; i < PORT_IOV_MAX; i++)
        iov[i] = (struct iovec){frame + i, 1};
    iov[PORT_IOV_MAX - 1].iov_len = 100;
    CHECK(port_send(&card.port, iov, PORT_IOV_MAX, &none) == PORT_SENT);
    CHECK_EQ(recv(s, frame, sizeof frame, 0), PORT_IOV_MAX + 99);
    close(s);
    tear_down();
}

/* N6: link down, then deleted, while it is in use. */
TEST(N6_tap_down_and_deleted)
{
    set_up(&anew);
    CHECK(!system("ip link set vm0 down"));
    CHECK(card_send(1, 100) == PORT_SENT);
    CHECK_EQ(card.port.drops[PORT_DROP_RECEIVER], 1);
    CHECK(!system("ip link set vm0 up"));
    CHECK(card_send(2, 100) == PORT_SENT);
    CHECK_EQ(card.port.drops[PORT_DROP_RECEIVER], 1);
    CHECK(!system("ip link del vm0"));
    steps();
    CHECK_EQ(loop_step(loop), 0); /* nothing spins */
    CHECK(card_send(3, 100) == PORT_SENT);
    CHECK_EQ(card.port.drops[PORT_DROP_RECEIVER], 2);
    tear_down();
}

static unsigned told;
static void is_told(void *ctx)
{
    CHECK(ctx == &told);
    told++;
}

/* The same while vhost has the descriptors, which nobody reads here: by name, and with the namespace that it was moved to. */
TEST(N6_tap_deleted_while_vhost_has_it)
{
    static const char *const ends[] = {
        "ip link del vm0",
        "n=vmlet-n6-$$; ip netns add $n 2>/dev/null && ip link set vm0 netns $n && ip netns del $n",
    };
    struct tap_options o = anew;
    o.gone = is_told;
    o.gone_ctx = &told;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        set_up(&o);
        told = 0;
        tap_hand_over(tap, true);
        CHECK(!system("ip link set vm0 down && ip link set vm0 up"));
        steps();
        CHECK(!told && !tap_is_gone(tap));
        if (system(ends[i])) {
            tear_down();
            SKIP("no named network namespaces here");
        }
        for (unsigned ms = 0; ms < 60000 && !told;
             ms++) { /* the kernel clears namespaces one after the other */
            steps();
            usleep(1000);
        }
        CHECK(tap_is_gone(tap));
        CHECK_EQ(told, 1);
        CHECK_EQ(loop_step(loop), 0);
        CHECK_EQ(loop_next(loop), LOOP_NEVER);
        tap_hand_over(tap, false);
        CHECK_EQ(loop_step(loop), 1); /* ready(), for who waited */
        CHECK(card_send(3, 100) == PORT_SENT);
        tear_down();
    }
}

static int open_tun(const char *ifname, int flags)
{
    struct ifreq request = {.ifr_flags = (short)flags};
    int fd = open("/dev/net/tun", O_RDWR);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", ifname);
    CHECK(fd >= 0 && !ioctl(fd, TUNSETIFF, &request));
    return fd;
}

TEST(tap_as_a_descriptor)
{
    own_namespace();
    int fd = open_tun("vm1", IFF_TAP | IFF_NO_PI);
    CHECK(!system("ip link set vm1 up"));
    set_up(&(struct tap_options){.name = "net0", .fd = fd});
    CHECK(!tap_has_vnet_header(tap));
    CHECK_STR(tap_ifname(tap), "vm1");
    CHECK_EQ(tap_offload(tap, PORT_ACCEPT_CSUM), (uint64_t)-EOPNOTSUPP);
    uint8_t frame[2048];
    int s = host_socket("vm1");
    CHECK(card_send(7, 200) == PORT_SENT);
    CHECK_EQ(recv(s, frame, sizeof frame, 0), 200);
    host_send(s, 9, 100);
    steps();
    CHECK_EQ(card.got, 1);
    close(s);
    tear_down();
}

TEST(tap_descriptors_that_are_none_are_refused)
{
    own_namespace();
    loop = loop_new(NULL);
    net_init(&net, loop);
    int tun = open_tun("tun7", IFF_TUN | IFF_NO_PI);
    int null = open("/dev/null", O_RDWR), bare = open("/dev/net/tun", O_RDWR);
    const struct {
        int fd;
        const char *why;
    } bad[] = {
        {tun,  "is a tun" },
        {null, "is no tap"},
        {bare, "is no tap"},
        {999,  "Bad file" }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tap *none =
            tap_new(&net, &(struct tap_options){.name = "net0", .fd = bad[i].fd}, err, sizeof err);
        if (none)
            printf("%zu was taken\n", i);
        CHECK(!none);
        CHECK(strstr(err, bad[i].why));
        CHECK(!strncmp(err, "net0: tap \"", 11));
    }
    close(tun), close(null), close(bare);
    loop_free(loop);
}

TEST(tap_names_that_cannot_be_are_refused_with_a_remedy)
{
    set_up(&anew);
    CHECK(!tap_new(&net, &anew, err, sizeof err)); /* in use */
    CHECK(strstr(err, "net0: tap \"vm0\": TUNSETIFF: Device or resource busy (another"));
    struct tap_options o = {.name = "net0", .fd = -1, .ifname = "lo"};
    CHECK(!tap_new(&net, &o, err, sizeof err));
    CHECK(strstr(err, "no tap"));
    o.ifname = "vm9";
    o.address = "1.2.3";
    CHECK(!tap_new(&net, &o, err, sizeof err));
    CHECK(strstr(err, "host_ip=1.2.3: is no IPv4"));
    tear_down();
}

TEST(tap_several_queues)
{
    set_up(&(struct tap_options){.name = "net0", .fd = -1, .ifname = "vm2", .queues = 4});
    CHECK(tap_fd(tap, 3) >= 0 && tap_fd(tap, 4) == -1);
    CHECK(tap_queue_attach(tap, 1, true));
    CHECK(tap_queue_attach(tap, 1, false));
    CHECK(!tap_queue_attach(tap, 4, true));
    CHECK(!tap_queue_attach(tap, 0, false));
    int s = host_socket("vm2");
    host_send(s, 3, 100);
    steps();
    CHECK_EQ(card.got, 1);
    tap_hand_over(tap, true); /* to vhost: it is no longer ours to read */
    host_send(s, 4, 100);
    steps();
    CHECK_EQ(card.got, 1);
    CHECK(card_send(1, 100) == PORT_SENT);
    CHECK_EQ(card.port.drops[PORT_DROP_RECEIVER], 1);
    tap_hand_over(tap, false);
    steps();
    CHECK_EQ(card.got, 2);
    close(s);
    tear_down();
}

/* A tap that was made for several queues is opened by a card with one. */
TEST(tap_made_with_several_queues_by_somebody_else)
{
    own_namespace();
    if (system("ip tuntap add vm3 mode tap multi_queue 2>/dev/null"))
        SKIP("no `ip tuntap` here");
    CHECK(!system("ip link set vm3 up"));
    set_up(&(struct tap_options){.name = "net0", .fd = -1, .ifname = "vm3"});
    tear_down();
    CHECK(!system("ip link del vm3"));
}

static const char *script(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/tap-script-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs(text, f);
    fclose(f);
    CHECK(!chmod(path, 0700));
    return path;
}

TEST(tap_scripts_run_with_its_name)
{
    char up[64];
    snprintf(up, sizeof up, "%s",
             script("#!/bin/sh\n[ $# = 1 ] && ip link set $1 up && ip link set $1 alias \"up: $0 $1\"\n"));
    set_up(&(struct tap_options){.name = "net0", .fd = -1, .ifname = "vm4", .script = up, .downscript = up});
    CHECK(!system("ip link show vm4 | grep -q 'alias up: .* vm4'"));
    CHECK(card_send(1, 100) == PORT_SENT);
    CHECK_EQ(card.port.drops[PORT_DROP_RECEIVER], 0);
    script("#!/bin/sh\necho $1 >$0.down\n");
    tear_down();
    char down[80];
    snprintf(down, sizeof down, "%s.down", up);
    CHECK(!access(down, R_OK));
    unlink(down);
    unlink(up);
}

TEST(tap_scripts_that_fail_are_named)
{
    own_namespace();
    loop = loop_new(NULL);
    net_init(&net, loop);
    struct tap_options o = {
        .name = "net0", .fd = -1, .ifname = "vm5", .script = script("#!/bin/sh\nexit 3\n")};
    CHECK(!tap_new(&net, &o, err, sizeof err));
    CHECK(strstr(err, "ended with status 3"));
    o.script = script("#!/bin/sh\nkill -9 $$\n");
    CHECK(!tap_new(&net, &o, err, sizeof err));
    CHECK(strstr(err, "was killed: Killed"));
    unlink(o.script);
    CHECK(!tap_new(&net, &o, err, sizeof err));
    CHECK(strstr(err, "No such file"));
    loop_free(loop);
}

/* It is killed with all that it started, and does not hold the start up for ever. */
TEST(program_takes_too_long)
{
    char why[128];
    struct timespec a, b;
    const char *path = script("#!/bin/sh\nsleep 60 & sleep 60\n");
    clock_gettime(CLOCK_MONOTONIC, &a);
    CHECK(!program_run(path, "x", 200000000, why, sizeof why));
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK(strstr(why, "longer than 0.2 s"));
    CHECK(b.tv_sec - a.tv_sec < 20);
    unlink(path);
}

TEST(program_says_how_it_ended)
{
    char why[128];
    CHECK(program_run("/bin/true", "x", 10000000000, why, sizeof why));
    CHECK(!program_run("/bin/false", "x", 10000000000, why, sizeof why));
    CHECK_STR(why, "ended with status 1");
}
