// SPDX-License-Identifier: MIT
/* The transitional device under a driver of virtio 0.9.5: written from the Legacy Interface sections of virtio 1.2 (4.1.4.10, 2.7.2:
 * rings in one piece, the used ring on a page of its own). */
#include <sys/mman.h>
#include "guest/fault.h"
#include "guest/gate.h"
#include "guest/lint.h"
#include "guest/trace.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "virtio_board.h"

static uint16_t io;
enum {
    L_FEATURES = 0,
    L_ACCEPT = 4,
    L_ADDRESS = 8,
    L_SIZE = 12,
    L_SELECT = 14,
    L_NOTIFY = 16,
    L_STATUS = 18,
    L_ISR = 19,
    RING = 0x20000,
    BUF = VQ_BUFFERS,
};

static struct device *legacy_device(const struct device_class *class, const char *options, uint16_t id,
                                    uint16_t subsystem)
{
    struct device *dev = vdev_new(class, options);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), (uint32_t)id << 16 | 0x1af4);
    CHECK_EQ(cf8(0, vd.pci->devfn, 8, 1), 0); /* revision */
    CHECK_EQ(cf8(0, vd.pci->devfn, 0x2c, 4), (uint32_t)subsystem << 16 | 0x1af4);
    uint32_t bar = cf8(0, vd.pci->devfn, 0x10, 4);
    CHECK_EQ(bar & 3, 1);
    io = (uint16_t)(bar & ~3u);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return dev;
}
static void legacy_new(void)
{
    legacy_device(&rng_class, "legacy", 0x1005, 4);
}

static void legacy_begin(uint32_t features)
{
    out(io + L_STATUS, 0, 1);
    out(io + L_STATUS, ST_ACK, 1);
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    out(io + L_ACCEPT, features, 4);
    vd.event_idx = features >> 29 & 1;
}

/* The driver's rings; the helpers of virtio_board.h find them there. */
static void legacy_queue(unsigned index, uint32_t ring)
{
    out(io + L_SELECT, index, 2);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    unsigned size = in(io + L_SIZE, 2);
    CHECK(size && !(size & (size - 1)));
    struct vq_driver *q = &vd.q[index];
    *q = (struct vq_driver){.size = (uint16_t)size, .desc = ring};
    q->avail = ring + 16 * size;
    q->used = (q->avail + 2 * (3 + size) + 4095) / 4096 * 4096;
    g_fill(ring, 0, 0x4000);
    out(io + L_ADDRESS, ring / 4096, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), ring / 4096);
}

static void legacy_go(void)
{
    out(io + L_STATUS, ST_ACK | ST_DRIVER | ST_DRIVER_OK, 1);
    vd_run();
    CHECK_EQ(in(io + L_STATUS, 1), ST_ACK | ST_DRIVER | ST_DRIVER_OK);
}

static void legacy_start(uint32_t features)
{
    legacy_begin(features);
    legacy_queue(0, RING);
    legacy_go();
}

static void ask(unsigned head)
{
    uint32_t id, len;
    g_fill(BUF, 0, 64);
    vq_add(0,
           (struct vq_buf[]){
               {BUF, 64, F_WRITE}
    },
           1, head);
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    CHECK(vq_used(0, &id, &len));
    CHECK_EQ(id, head);
    CHECK_EQ(len, 64);
    CHECK(g_read(BUF, 8) != 0);
}

TEST(legacy_driver_is_served)
{
    legacy_new();
    CHECK_EQ(in(io + L_FEATURES, 4), 3u << 28);
    legacy_start(0);
    for (unsigned i = 0; i < 200; i++)
        ask(i % 64);
    CHECK(vd_line());
    CHECK_EQ(in(io + L_ISR, 1), 1);
    CHECK(!vd_line());
    legacy_start(1u << 29);
    ask(0);
    ask(1);
    /* and a modern one finds the same device modern */
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    vq_add(0,
           (struct vq_buf[]){
               {BUF, 64, F_WRITE}
    },
           1, 0);
    vq_kick(0);
    CHECK(vq_used(0, &id, &len));
}

TEST(legacy_queue_is_taken_away_by_page_0)
{
    legacy_new();
    legacy_start(0);
    ask(0);
    out(io + L_ADDRESS, 0, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    legacy_start(0);
    ask(0);
}

TEST(V12_V14_legacy_registers_at_every_offset_and_width)
{
    uint64_t seed = 5;
    legacy_new();
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t r = test_rand(&seed);
        uint16_t at = (uint16_t)(io + r % 140);
        unsigned size = 1u << (r >> 8) % 3;
        if (r >> 16 & 1)
            out(at, (uint32_t)(r >> 17 & 1 ? r >> 32 : r >> 32 & 0xff), size);
        else
            in(at, size);
        if (i % 64 == 0) { /* with MSI-X the vectors come between the header and the configuration */
            cf8_write(vd.pci->devfn, vd.pci->msix + PCI_MSIX_CONTROL, r >> 40 & 1 ? PCI_MSIX_ENABLE : 0, 2);
            vd_run();
        }
    }
    cf8_write(vd.pci->devfn, vd.pci->msix + PCI_MSIX_CONTROL, 0, 2);
    out(io + L_SELECT, 7, 2); /* no such queue */
    CHECK_EQ(in(io + L_SIZE, 2), 0);
    out(io + L_ADDRESS, 1, 4);
    CHECK_EQ(in(io + L_ADDRESS, 4), 0);
    out(io + L_NOTIFY, 7, 2);
    out(io + L_NOTIFY, 0xffff, 2);
    vd_run();
    legacy_start(0);
    ask(0);
    /* a ring that is not in RAM breaks the queue, and the guest can start anew */
    out(io + L_STATUS, 0, 1);
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    out(io + L_SELECT, 0, 2);
    out(io + L_ADDRESS, 0xfee00, 4);
    out(io + L_STATUS, ST_ACK | ST_DRIVER | ST_DRIVER_OK, 1);
    vd_run();
    CHECK(in(io + L_STATUS, 1) & ST_NEEDS_RESET);
    legacy_start(0);
    ask(0);
}

/* --- a card: 5.1.6.1, the header is two bytes shorter without merged buffers */

enum {
    NET_RX = 0,
    NET_TX = 1,
    NET_MAC = 1u << 5,
    NET_MRG = 1u << 15,
    L_CONFIG = 20, /* MSI-X off */
};

static struct {
    struct port port;
    unsigned n;
    size_t len;
    uint8_t frame[2048];
} far;

static enum port_result far_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    (void)port, (void)meta;
    far.n++;
    far.len = 0;
    for (int i = 0; i < n && iov[i].iov_len <= sizeof far.frame - far.len; far.len += iov[i++].iov_len)
        memcpy(far.frame + far.len, iov[i].iov_base, iov[i].iov_len);
    return PORT_SENT;
}

static void far_enter(void *dev)
{
    device_enter(dev);
}
static void far_leave(void *dev)
{
    lock_drop(&((struct device *)dev)->lock);
}

static void legacy_card(void)
{
    static const struct port_ops ops = {.receive = far_receive, .ready = NULL};
    struct device *dev = legacy_device(&virtio_net_class, "legacy,mac=02:00:00:00:00:09", 0x1000, 1);
    free(far.port.ring);
    memset(&far, 0, sizeof far);
    CHECK(port_init(&far.port, &vd_net, "far", &ops));
    port_guard(virtio_net_port(dev), far_enter, far_leave, dev);
    port_connect(virtio_net_port(dev), &far.port);
}

static void card_start(uint32_t features)
{
    legacy_begin(features);
    legacy_queue(NET_RX, RING);
    legacy_queue(NET_TX, RING + 0x8000);
    legacy_go();
}

/* One frame each way with a header of so many bytes. */
static void frames(unsigned header, unsigned head)
{
    static const struct port_meta none;
    uint8_t frame[100] = {2, 0, 0, 0, 0, 9};
    struct iovec iov = {frame, sizeof frame};
    uint32_t id, len;
    unsigned before = far.n;
    for (unsigned i = 6; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 3 + head);
    g_fill(BUF, 0, header);
    for (unsigned i = 0; i < sizeof frame; i++)
        g_write(BUF + header + i, frame[i], 1);
    vq_add(NET_TX,
           (struct vq_buf[]){
               {BUF,          header,       0},
               {BUF + header, sizeof frame, 0}
    },
           2, head);
    out(io + L_NOTIFY, NET_TX, 2);
    vd_run();
    CHECK(vq_used(NET_TX, &id, &len) && id == head);
    CHECK_EQ(far.n, before + 1);
    CHECK(far.len == sizeof frame && !memcmp(far.frame, frame, sizeof frame));

    g_fill(BUF + 4096, 0x77, 2048);
    vq_add(NET_RX,
           (struct vq_buf[]){
               {BUF + 4096, 1526, F_WRITE}
    },
           1, head);
    out(io + L_NOTIFY, NET_RX, 2);
    CHECK_EQ(port_send(&far.port, &iov, 1, &none), PORT_SENT);
    vd_run();
    CHECK(vq_used(NET_RX, &id, &len) && id == head);
    CHECK_EQ(len, header + sizeof frame);
    for (unsigned i = 0; i < sizeof frame; i++)
        CHECK_EQ(g_read(BUF + 4096 + header + i, 1), frame[i]);
    CHECK_EQ(g_read(BUF + 4096 + header + sizeof frame, 1), 0x77);
    if (header == 12)
        CHECK_EQ(g_read(BUF + 4096 + 10, 2), 1); /* buffers */
}

TEST(legacy_card_has_the_short_header_unless_buffers_are_merged)
{
    legacy_card();
    CHECK_EQ(in(io + L_FEATURES, 4) & (NET_MAC | NET_MRG), NET_MAC | NET_MRG);
    card_start(NET_MAC);
    for (unsigned i = 0; i < 10; i++)
        frames(10, 2 * i);
    card_start(NET_MAC | NET_MRG);
    for (unsigned i = 0; i < 10; i++)
        frames(12, 2 * i);
    /* the modern driver's is long in any case */
    vdev_start(F_VERSION_1);
    uint32_t id, len;
    g_fill(BUF, 0, 12 + 60);
    vq_add(NET_TX,
           (struct vq_buf[]){
               {BUF,      12, 0},
               {BUF + 12, 60, 0}
    },
           2, 0);
    vq_kick(NET_TX);
    CHECK(vq_used(NET_TX, &id, &len));
    CHECK_EQ(far.len, 60);
}

TEST(N2_legacy_frames_shorter_than_the_header)
{
    uint32_t id, used;
    legacy_card();
    card_start(NET_MAC);
    for (unsigned len = 1; len <= 10; len++) {
        vq_add(NET_TX,
               (struct vq_buf[]){
                   {BUF, len, 0}
        },
               1, 0);
        out(io + L_NOTIFY, NET_TX, 2);
        vd_run();
        CHECK(vq_used(NET_TX, &id, &used) && !used);
    }
    CHECK_EQ(far.n, 0);
    frames(10, 0);
}

/* 5.1.4.2: before there was a command for it */
TEST(legacy_card_has_its_address_written_by_no_other_driver)
{
    legacy_card();
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(in(io + L_CONFIG + i, 1), i == 0 ? 2 : i == 5 ? 9 : 0);
    card_start(NET_MAC);
    out(io + L_CONFIG + 5, 0x42, 1);
    CHECK_EQ(in(io + L_CONFIG + 5, 1), 0x42);
    vdev_start(F_VERSION_1); /* which resets: it has its own again */
    g_write(vd.cap[CAP_DEVICE] + 5, 0x43, 1);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 5, 1), 9);
}

/* Features by the one interface, status by the other: what was never offered is never in force. */
TEST(V16_legacy_features_by_the_other_interface)
{
    struct virtio_device *v;
    legacy_new();
    v = (struct virtio_device *)vd.pci;
    vd_accept(~0ull); /* no status yet: nobody has looked at them */
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    for (unsigned bit = 0; bit < 64; bit++)
        CHECK(!virtio_has(v, bit) || (bit < 32 && v->offered >> bit & 1));
    vd_accept(~0ull);
    out(io + L_STATUS, ST_ACK | ST_DRIVER | ST_DRIVER_OK, 1);
    for (unsigned bit = 0; bit < 64; bit++)
        CHECK(!virtio_has(v, bit) || (bit < 32 && v->offered >> bit & 1));
    c_write(C_STATUS, ST_ACK | ST_DRIVER | ST_FEATURES_OK, 1);
    CHECK(!(vd_status() & ST_FEATURES_OK));
    /* and a driver of virtio 1 does not become one of the old in the middle */
    vdev_start(F_VERSION_1);
    out(io + L_STATUS, ST_ACK | ST_DRIVER, 1);
    CHECK(!v->legacy);
    CHECK(virtio_has(v, VIRTIO_F_VERSION_1));
    out(io + L_STATUS, 0, 1); /* but a reset is one by either */
    vd_run();
    CHECK_EQ(vd_status(), 0);
    legacy_start(0);
    ask(0);
}

/* --- the header in a table: traces, lint, faults and `info regs` see its registers as they see any other's */

static char linted[1024];
static void on_lint(void *ctx, const char *sentence)
{
    (void)ctx;
    snprintf(linted + strlen(linted), sizeof linted - strlen(linted), "%s\n", sentence);
}

TEST(legacy_registers_are_traced_and_linted)
{
    static const struct gate gate = {1u << GATE_LINT, on_lint, NULL};
    static const char *words[] = {"virtio-rng"};
    struct opt_list list = {words, 1};
    char err[160], *said = NULL;
    size_t size;
    int fd = memfd_create("text", 0);
    legacy_new();
    struct lint *lint = lint_new(&(struct lint_config){.board = &m->board, .gate = &gate}, err, sizeof err);
    struct trace *trace =
        trace_new(&(struct trace_config){.board = &m->board, .list = &list, .text_fd = fd}, err, sizeof err);
    CHECK(lint && trace);
    linted[0] = 0;
    in(io + L_FEATURES, 4);
    legacy_start(0);
    ask(0);
    in(io + L_ISR, 1);
    CHECK_STR(linted, "");
    cf8_write(vd.pci->devfn, vd.pci->msix + PCI_MSIX_CONTROL, PCI_MSIX_ENABLE, 2);
    out(io + 22, 1, 2);
    CHECK_EQ(in(io + 22, 2), 1);
    cf8_write(vd.pci->devfn, vd.pci->msix + PCI_MSIX_CONTROL, 0, 2);
    out(io + L_SIZE, 8, 2);
    CHECK_EQ(in(io + L_STATUS, 2), 0xffff);
    CHECK(strstr(linted, "a write to a read-only register: W queue_num"));
    CHECK(strstr(linted, "a register access of a size that it does not take: R legacy_status/2"));
    trace_drain(trace, 60000000000);
    trace_free(trace);
    lint_free(lint);
    char text[8192];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    static const char *const lines[] = {
        "R host_features=0x30000000\n",
        "W guest_features=0\n",
        "W queue_pfn=0x20\n",
        "R queue_num=",
        "W legacy_status=7 ACKNOWLEDGE DRIVER DRIVER_OK\n",
        "W notify=0\n",
        "R isr=1 QUEUE\n",
        "W msi_queue_vector=1\n",
        "W queue_num=8 refused: it is read-only\n",
    };
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
        CHECK(strstr(text, lines[i]) || !fprintf(stderr, "no %s in\n%s", lines[i], text));

    FILE *f = open_memstream(&said, &size);
    device_dump(&vd.pci->dev, f);
    fclose(f);
    CHECK(strstr(said, "legacy:\n00000 host_features 0x30000000\n"));
    CHECK(strstr(said, "00008 queue_pfn    0x00000020\n"));
    CHECK(strstr(said, "00012 legacy_status 0x07  ACKNOWLEDGE DRIVER DRIVER_OK\n"));
    free(said);
}

TEST(legacy_registers_have_faults)
{
    static const char *spec[] = {"v:write.notify:drop@2", "v:read.queue_num:ones@2"};
    struct opt_list list = {spec, 2};
    char err[160];
    CHECK(legacy_device(&rng_class, "legacy", 0x1005, 4));
    snprintf(vd.pci->dev.id, sizeof vd.pci->dev.id, "v");
    struct faults *faults = faults_new(&(struct fault_config){&m->board, &list, NULL, NULL}, err, sizeof err);
    CHECK(faults);
    legacy_start(0);
    ask(0);
    vq_add(0,
           (struct vq_buf[]){
               {BUF, 64, F_WRITE}
    },
           1, 1);
    uint32_t id, len;
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    CHECK(!vq_used(0, &id, &len));
    out(io + L_NOTIFY, 0, 2);
    vd_run();
    CHECK(vq_used(0, &id, &len) && id == 1);
    CHECK_EQ(in(io + L_SIZE, 2), 0xffff);
    CHECK_EQ(in(io + L_SIZE, 2), 0xffff); /* it is gone from then on */
    faults_end(faults);
    faults_free(faults);
}

/* A device without `legacy` has no such registers, and the way through configuration space reaches the BAR's alone. */
TEST(legacy_registers_are_of_the_legacy_device)
{
    vdev_new(&rng_class, NULL);
    CHECK_EQ(vd.pci->dev.n_maps, 3);
    legacy_new();
    CHECK_EQ(vd.pci->dev.n_maps, 4);
    cf8_write(vd.pci->devfn, vd.access + 4, 4, 1);
    cf8_write(vd.pci->devfn, vd.access + 8, 0x3000, 4);
    cf8_write(vd.pci->devfn, vd.access + 12, 4, 4);
    cf8_write(vd.pci->devfn, vd.access + 16, 0x12345678, 4);
    CHECK_EQ(cf8(0, vd.pci->devfn, vd.access + 16, 4), 0x12345678); /* of nobody */
    /* one interface shows what the other selected */
    out(io + L_SELECT, 7, 2);
    uint32_t size = 1;
    space_read(&m->memory, vd.cap[CAP_COMMON] + C_SIZE, 2, &size);
    CHECK_EQ(size & 0xffff, 0);
}
