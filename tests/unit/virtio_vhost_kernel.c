// SPDX-License-Identifier: MIT
/* vhost with the host's own kernel and a tap of its own: what tests/unit/virtio_vhost.c says to a kernel that writes down, said to
 * one that moves frames; and drivers that do to it what they should not. Skipped where there is no /dev/vhost-net, or no right to a
 * tap: tests/linux/76-vhost.sh runs it where both are. */
#include "virtio_board.h"

#include "mem/view.h"
#include "virtio/net.h"
#include "virtio/vhost.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RX = 0,
    TX = 1,
    HEADER = 12,
    OURS = 0x88b5, /* an EtherType for experiments */
    LEN = 200,
    NF_MRG = 15,
    NF_CTRL = 17,
    ENTRY_DATA = 8,
    ENTRY_CONTROL = 12,
    BUFFERS = 32,
    BUFFER = 0x800,
    RX_AT = VQ_BUFFERS,
    TX_AT = 0xc0000,
    RAM_END = 1 << 20,
};
#define NF (F_BIT(NF_MRG) | F_BIT(NF_CTRL) | F_VERSION_1)

static int tap = -1, wire = -1;
static struct vhost *vh;

static bool take_attach(void *ctx, unsigned pair, bool on)
{
    (void)ctx, (void)pair, (void)on;
    return true;
}
static void take_offload(void *ctx, uint8_t accepts)
{
    (void)ctx, (void)accepts;
}

/* A tap that is up, and a socket on its other side. */
static bool tap_new(void)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int size = HEADER, quiet;
    char path[100];
    close(tap), close(wire);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "vhk%%d");
    tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr) || ioctl(tap, TUNSETVNETHDRSZ, &size))
        return false;
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifr.ifr_name);
    if ((quiet = open(path, O_WRONLY | O_CLOEXEC)) >= 0) {
        CHECK(write(quiet, "1", 1) == 1);
        close(quiet);
    }
    wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(OURS));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(OURS),
                             .sll_ifindex = (int)if_nametoindex(ifr.ifr_name)};
    ifr.ifr_flags = IFF_UP; /* first: bound to one that is down the socket has an error waiting */
    return wire >= 0 && ioctl(wire, SIOCSIFFLAGS, &ifr) == 0 &&
           bind(wire, (struct sockaddr *)&at, sizeof at) == 0;
}

static const char *card(void)
{
    char err[256];
    static struct device *before;
    if (before)
        CHECK(virtio_net_set_vhost(before, NULL));
    before = NULL;
    if (access("/dev/vhost-net", R_OK | W_OK))
        return "no /dev/vhost-net here";
    if (!tap_new())
        return "no tap to be had here";
    struct vhost_options o = {
        .name = "net0", .pairs = 1, .tap = {tap}, .offload = take_offload, .attach = take_attach};
    struct device *dev = vdev_new(&virtio_net_class, NULL);
    vh = vhost_new(&o, err, sizeof err);
    if (!vh)
        printf("%s\n", err);
    CHECK(vh);
    CHECK(virtio_net_set_vhost(dev, vh));
    before = dev;
    return NULL;
}
#define CARD()                                                                                               \
    do {                                                                                                     \
        const char *missing_ = card();                                                                       \
        if (missing_)                                                                                        \
            SKIP(missing_);                                                                                  \
    } while (0)

/* The kernel's worker is a thread of its own: some seconds, at most. */
#define UNTIL(cond)                                                                                          \
    ({                                                                                                       \
        uint64_t end_ = vd_real_ms() + 10000;                                                                \
        bool done_ = false;                                                                                  \
        do {                                                                                                 \
            vd_run();                                                                                        \
            if (!(done_ = (cond)))                                                                           \
                usleep(100);                                                                                 \
        } while (!done_ && vd_real_ms() < end_);                                                             \
        done_;                                                                                               \
    })

static void master(bool on)
{
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0), 2);
}
static void entry(unsigned vec, unsigned field, uint32_t value)
{
    g_write((cf8(0, vd.pci->devfn, 0x14, 4) & ~15u) + 16 * vec + field, value, 4);
}
static bool broken(void)
{
    return vd_status() & ST_NEEDS_RESET;
}

/* --- frames: a number, and bytes that follow from it */

static void frame(uint8_t *f, uint32_t number)
{
    memset(f, 0xff, 6);
    memset(f + 6, 2, 6);
    f[12] = OURS >> 8, f[13] = OURS & 0xff;
    memcpy(f + 14, &number, 4);
    for (unsigned i = 18; i < LEN; i++)
        f[i] = (uint8_t)(number * 5 + i);
}
static bool host_send(uint32_t number)
{
    uint8_t f[LEN];
    frame(f, number);
    return send(wire, f, LEN, 0) == LEN;
}
static bool host_hears(uint32_t number)
{
    uint8_t want[LEN], got[2048];
    struct sockaddr_ll from;
    frame(want, number);
    for (;;) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(wire, got, sizeof got, 0, (struct sockaddr *)&from, &len);
        if (n < 0)
            return false;
        if (from.sll_pkttype != PACKET_OUTGOING && n == LEN && !memcmp(got, want, LEN))
            return true;
    }
}

static void rx_give(unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++)
        vq_add(RX, &(struct vq_buf){RX_AT + i % BUFFERS * BUFFER, BUFFER, F_WRITE}, 1, i % BUFFERS);
    vq_kick(RX);
}
/* The next received frame: its number; -1: none. What is in it is checked, and the buffer goes back. */
static int64_t rx_take(void)
{
    uint32_t id, len, number;
    uint8_t want[LEN];
    if (!vq_used(RX, &id, &len))
        return -1;
    CHECK(id < BUFFERS && len == HEADER + LEN);
    const uint8_t *got = ram_host(m->ram, RX_AT + id * BUFFER, BUFFER);
    memcpy(&number, got + HEADER + 14, 4);
    frame(want, number);
    CHECK(!memcmp(got + HEADER, want, LEN));
    rx_give(id, 1);
    return number;
}
static void guest_send(uint32_t number, unsigned head)
{
    uint8_t f[LEN];
    frame(f, number);
    memset(ram_host(m->ram, TX_AT, HEADER), 0, HEADER);
    memcpy(ram_host(m->ram, TX_AT + HEADER, LEN), f, LEN);
    vq_add(TX,
           (struct vq_buf[]){
               {TX_AT,          HEADER, 0},
               {TX_AT + HEADER, LEN,    0}
    },
           2, head);
    vq_kick(TX);
}
static void start(void)
{
    vdev_start(NF);
    rx_give(0, BUFFERS);
}
/* A frame each way. */
static void works(uint32_t number)
{
    uint32_t id, len;
    int64_t got = -1;
    CHECK(host_send(number));
    CHECK(UNTIL((got = rx_take()) == number)); /* those of a flood may come before it */
    guest_send(number, 0);
    CHECK(UNTIL(host_hears(number)));
    CHECK(UNTIL(vq_used(TX, &id, &len)));
    CHECK(!broken());
}

/* Somebody who sends without end. */
static pthread_t flooder;
static _Atomic bool flooding;
static void *flood(void *arg)
{
    (void)arg;
    for (uint32_t n = 1u << 31; flooding; n++) {
        host_send(n);
        if (n % 16 == 0)
            usleep(200);
    }
    return NULL;
}
static void flood_on(void)
{
    flooding = true;
    CHECK(pthread_create(&flooder, NULL, flood, NULL) == 0);
}
static void flood_off(void)
{
    flooding = false;
    pthread_join(flooder, NULL);
}

TEST(vhost_kernel_moves_frames)
{
    CARD();
    start();
    for (uint32_t i = 0; i < 3 * BUFFERS; i++)
        works(i);
}

/* --- interrupts */

static unsigned interrupts(void) /* since the last time */
{
    static unsigned sent;
    uint64_t count = 0;
    int fd = m->fake.fds[vd.pci->routes[0] - IRQ_LINES];
    if (fd > 0 && read(fd, &count, sizeof count) < 0)
        count = 0;
    count += m->fake.sent - sent;
    sent = m->fake.sent;
    return (unsigned)count;
}
static bool pending(void)
{
    return vd.pci->msix_pending[0] & 1;
}
static void start_with_vectors(void)
{
    vdev_negotiate(NF);
    cf8_write(vd.pci->devfn, vd.pci->msix + 2u, 0x8000, 2);
    for (unsigned i = 0; i < 3; i++) {
        vq_place(i, 64);
        vq_program(i);
        c_write(C_VECTOR, i, 2);
        c_write(C_ENABLE, 1, 2);
    }
    entry(0, 0, 0xfee00000);
    entry(0, ENTRY_DATA, 0x41);
    entry(0, ENTRY_CONTROL, 0);
    vdev_driver_ok();
    vd_run();
    rx_give(0, BUFFERS);
}

TEST(vhost_kernel_masked_vectors_are_pending)
{
    CARD();
    start_with_vectors();
    interrupts();
    for (uint32_t i = 0; i < 20; i++) {
        CHECK(host_send(i));
        CHECK(UNTIL(rx_take() == i));
        CHECK(UNTIL(interrupts())); /* by the vector's own eventfd */
        CHECK(!pending());
        entry(0, ENTRY_CONTROL, 1);
        CHECK(host_send(1000 + i));
        CHECK(UNTIL(rx_take() == 1000 + i));
        CHECK(UNTIL(pending()));
        CHECK_EQ(interrupts(), 0);
        entry(0, ENTRY_CONTROL, 0);
        CHECK_EQ(interrupts(), 1);
        CHECK(!pending());
    }
}

/* A driver that looks when it is interrupted and never else, while its vector is masked and unmasked under it. */
TEST(vhost_kernel_no_interrupt_is_lost_by_masking)
{
    uint64_t seed = 7;
    CARD();
    start_with_vectors();
    uint32_t seen = 0, sent = 0, frames = 1000;
    bool masked = false;
    interrupts();
    for (unsigned turn = 0; turn < 200000 && seen < frames; turn++) {
        if (sent < frames && sent - seen < BUFFERS / 2)
            CHECK(host_send(sent++));
        if (test_rand(&seed) % 8 == 0 || sent == frames) {
            masked = !masked && sent < frames;
            entry(0, ENTRY_CONTROL, masked);
        }
        vd_run();
        if (interrupts())
            for (int64_t got; (got = rx_take()) >= 0; seen++)
                CHECK_EQ(got, seen);
        else
            usleep(20);
    }
    CHECK_EQ(seen, frames);
}

/* --- the dirty log */

static uint64_t bits[RAM_END / RAM_PAGE / 64];
static unsigned fetch(void)
{
    return (unsigned)region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits);
}
static bool dirty(uint64_t gpa)
{
    return bits[gpa / RAM_PAGE / 64] >> gpa / RAM_PAGE % 64 & 1;
}

TEST(vhost_kernel_dirty_log_page_by_page)
{
    uint32_t id, len;
    CARD();
    start();
    CHECK(log_global_start());
    fetch();
    for (uint32_t i = 0; i < BUFFERS; i++) {
        CHECK(host_send(i));
        CHECK(UNTIL(vq_used(RX, &id, &len)));
        CHECK_EQ(id, i);
        CHECK(UNTIL(fetch() == 2)); /* the frame and the used ring, and nothing else */
        CHECK(dirty(RX_AT + id * BUFFER) && dirty(vd.q[RX].used));
        CHECK_EQ(fetch(), 0);
    }
    guest_send(1, 0);
    fetch(); /* what the driver wrote itself, and perhaps more */
    CHECK(UNTIL(vq_used(TX, &id, &len)));
    guest_send(2, 0);
    CHECK(UNTIL(vq_used(TX, &id, &len)));
    CHECK(UNTIL(fetch() && dirty(vd.q[TX].used)));
    log_global_stop();
    rx_give(0, BUFFERS);
    works(77);
}

/* Whatever page differs from a copy made before is in the log: with queues that stop and start, a log that comes and goes, a map
 * that changes. */
TEST(vhost_kernel_dirty_log_misses_nothing)
{
    static uint8_t copy[RAM_END];
    static struct region hole;
    static const struct region_ops nothing = {.sizes = 1 | 2 | 4 | 8};
    CARD();
    const uint8_t *ram = ram_host(m->ram, 0, RAM_END);
    start();
    region_init_io(&hole, "hole", 0x1000, &nothing, NULL, NULL, NULL);
    region_add(&m->mem_root, &hole, 0xf0000, 5);
    flood_on();
    for (unsigned round = 0; round < 12; round++) {
        virtio_net_hold(&vd.pci->dev, true);
        CHECK(log_global_start());
        memcpy(copy, ram, RAM_END);
        fetch();
        virtio_net_hold(&vd.pci->dev, false);
        unsigned seen = 0;
        CHECK(UNTIL(rx_take() >= 0 && ++seen > 10));
        if (round % 3 == 1)
            region_move(&hole, 0xe0000 + round * 0x1000);
        if (round % 3 == 2)
            master(false), master(true);
        seen = 0;
        CHECK(UNTIL(rx_take() >= 0 && ++seen > 10));
        virtio_net_hold(&vd.pci->dev, true);
        fetch();
        unsigned changed = 0;
        for (unsigned at = 0; at < RAM_END; at += RAM_PAGE)
            if ((at < 0xe0000 || at >= 0xf1000) && memcmp(ram + at, copy + at, RAM_PAGE)) {
                CHECK(dirty(at));
                changed++;
            }
        CHECK(changed >= 3);
        log_global_stop();
        virtio_net_hold(&vd.pci->dev, false);
    }
    flood_off();
    CHECK(!broken());
}

/* --- resets and changes under traffic */

static uint64_t sum(void)
{
    const uint64_t *word = ram_host(m->ram, 0, RAM_END);
    uint64_t s = 0;
    for (unsigned i = 0; i < RAM_END / sizeof *word; i++)
        s = s * 31 + word[i];
    return s;
}

/* From the moment that the status reads 0 on not a byte is written: that memory is another driver's, or another kernel's. */
TEST(V15_vhost_kernel_reset_under_traffic)
{
    CARD();
    flood_on();
    for (unsigned i = 0; i < 40; i++) {
        unsigned seen = 0;
        start();
        CHECK(UNTIL(rx_take() >= 0 && ++seen > i % 8));
        if (i % 4 == 3)
            master(false); /* as kexec does it */
        else
            c_write(C_STATUS, 0, 1);
        CHECK(i % 4 == 3 || vd_status() == 0);
        uint64_t before = sum();
        for (unsigned k = 0; k < 5; k++) {
            usleep(500);
            CHECK_EQ(sum(), before);
        }
        master(true);
    }
    flood_off();
    start();
    works(5);
}

/* Paused, cut off and back: frames wait in the tap, and none is lost, doubled or overtaken. */
TEST(vhost_kernel_indices_survive_stops)
{
    uint64_t seed = 3;
    CARD();
    start();
    uint32_t seen = 0, sent = 0, frames = 600;
    for (unsigned turn = 0; turn < 200000 && seen < frames; turn++) {
        bool held = test_rand(&seed) % 8 == 0, off = test_rand(&seed) % 8 == 0;
        if (held)
            virtio_net_hold(&vd.pci->dev, true);
        if (off)
            master(false);
        for (unsigned i = 0; i < 8 && sent < frames && sent - seen < 200; i++)
            CHECK(host_send(sent++));
        if (off)
            master(true);
        if (held)
            virtio_net_hold(&vd.pci->dev, false);
        usleep(100);
        for (int64_t got; (got = rx_take()) >= 0; seen++)
            CHECK_EQ(got, seen);
    }
    CHECK_EQ(seen, frames);
    works(7);
}

/* Pages that go back to the host while the kernel writes to them. */
TEST(vhost_kernel_balloon_takes_pages_under_traffic)
{
    CARD();
    start();
    flood_on();
    for (unsigned i = 0; i < 100; i++) {
        unsigned seen = 0;
        CHECK_EQ(ram_discard(ram_host(m->ram, RX_AT, BUFFERS * BUFFER), BUFFERS * BUFFER), BUFFERS * BUFFER);
        uint32_t id, len;                                  /* what is in them now is frames or zeros */
        while (seen < BUFFERS && vq_used(RX, &id, &len)) { /* on one processor they would come for ever */
            CHECK(id < BUFFERS);
            rx_give(id, 1);
            seen++;
        }
        usleep(seen ? 0 : 200);
    }
    flood_off();
    CHECK(!broken());
    uint32_t id, len;
    CHECK(UNTIL(!vq_used(RX, &id, &len) || (rx_give(id, 1), false)));
    start();
    works(9);
}

/* Something else lies over buffers, or over a ring: that queue needs a reset, the process and the other queue go on. */
TEST(V3_vhost_kernel_map_changes_over_buffers_and_rings)
{
    static struct region hole;
    static const struct region_ops nothing = {.sizes = 1 | 2 | 4 | 8};
    CARD();
    start();
    region_init_io(&hole, "hole", BUFFERS * BUFFER, &nothing, NULL, NULL, NULL);
    works(0);
    region_add(&m->mem_root, &hole, RX_AT, 5);
    uint64_t before = sum();
    CHECK(host_send(1));
    CHECK(UNTIL(broken()));
    CHECK_EQ(sum(), before);
    guest_send(2, 0);
    CHECK(UNTIL(host_hears(2)));
    region_enable(&hole, false);
    start();
    works(3);
    region_move(&hole, vd.q[TX].desc);
    region_enable(&hole, true);
    CHECK(broken());
    region_enable(&hole, false);
    start();
    works(4);
    CHECK(host_send(5)); /* under way while its memory goes and comes */
    for (unsigned i = 0; i < 50; i++) {
        region_move(&hole, 0xf0000 - i * 0x100);
        region_enable(&hole, i % 2);
    }
    region_enable(&hole, false);
}

/* --- drivers that lie */

static void wreck(unsigned how)
{
    struct vq_driver *q = &vd.q[TX];
    struct vq_buf bad[] = {
        {TX_AT,      HEADER, 0},
        {TX_AT + 64, LEN,    0}
    };
    unsigned head = 0;
    static const uint64_t nowhere[] = {RAM_END, 1ull << 40, UINT64_MAX - 100, 0xfee00000};
    if (how < 4)
        bad[1].gpa = nowhere[how];
    bad[1].flags = how == 4 ? F_WRITE : 0;
    if (how == 5)
        bad[0].len = HEADER - 1, bad[1].len = 0;
    if (how == 6)
        head = q->size; /* beyond the queue */
    if (how == 7)
        q->avail_idx += 1000; /* far ahead */
    for (unsigned i = 0; i < 2; i++)
        vq_desc(TX, i, bad[i].gpa, bad[i].len, bad[i].flags | (i ? 0 : F_NEXT), i + 1);
    if (how == 8)
        vq_desc(TX, 1, TX_AT, 10, F_NEXT, 0); /* a loop */
    if (how == 9)
        vq_desc(TX, 1, TX_AT, 10, F_NEXT, q->size);
    if (how == 10)
        vq_desc(TX, 0, TX_AT, 17, F_INDIRECT, 0); /* no whole descriptors */
    if (how == 11) {                              /* a table in a table */
        vq_desc(TX, 0, TX_AT, 16, F_INDIRECT, 0);
        vq_desc_at(TX_AT, 0, TX_AT, 16, F_INDIRECT, 0);
    }
    vq_avail(TX, head);
    vq_kick(TX);
}

TEST(V1_V2_V3_V6_V7_vhost_kernel_rings_that_lie)
{
    CARD();
    for (unsigned how = 0; how < 12; how++) {
        start();
        works(how);
        wreck(how);
        bool dropped = how == 5; /* what is shorter than its header, by the tap, without a word */
        CHECK(dropped || UNTIL(broken()));
        CHECK(host_send(1000 + how)); /* the other queue knows nothing of it */
        CHECK(UNTIL(rx_take() == 1000 + how));
        CHECK_EQ(broken(), !dropped);
    }
    start();
    works(99);
}

static _Atomic bool scribbling;
static void *scribble(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    volatile uint16_t *ram = ram_host(m->ram, 0, RAM_END);
    while (scribbling) {
        uint64_t r = test_rand(&seed);
        /* rings and buffers of the first two queues; small numbers now and then, since they go further */
        ram[(VQ_BASE + r % (2 * VQ_AREA)) / 2] = (uint16_t)(r >> 32 & (r >> 60 ? 0xffff : 0x1f));
    }
    return NULL;
}

TEST(V9_vhost_kernel_rings_that_change_while_it_works)
{
    pthread_t t;
    CARD();
    flood_on();
    for (unsigned i = 0; i < 20; i++) {
        start();
        scribbling = true;
        CHECK(pthread_create(&t, NULL, scribble, (void *)(uintptr_t)(i + 1)) == 0);
        for (unsigned k = 0; k < 50 && !broken(); k++) {
            g_write(vd.cap[CAP_NOTIFY] + (k & 1) * vd.multiplier, k & 1, 2);
            vd_run();
            usleep(100);
        }
        if (i % 2) /* a reset in the middle of it */
            c_write(C_STATUS, 0, 1);
        scribbling = false;
        pthread_join(t, NULL);
    }
    flood_off();
    start();
    works(11);
}
