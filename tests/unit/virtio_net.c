// SPDX-License-Identifier: MIT
/* virtio-net between a driver written from the specification and a port that the test holds the other end of. */
#include "virtio_net_board.h"

TEST(vnet_configuration)
{
    card("mac=02:00:00:00:00:09");
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x10411af4);
    CHECK_EQ(c_read(C_NUMQ, 2), 3);
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + i, 1), i == 0 ? 2 : i == 5 ? 9 : 0);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 6, 2), 1);
}

TEST(vnet_sends_from_guest_memory)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1);
    from_guest(TX, 0, 60, 0xaa);
    CHECK_EQ(host.n, 1);
    CHECK_EQ(host.len, 60);
    CHECK_EQ(host.frame[59], 0xaa);
    CHECK_EQ(host.frame[30], 30);
    CHECK(vq_used(TX, &id, &len) && id == 0 && len == 0);
}

TEST(vnet_a_busy_peer_gets_every_frame_in_order)
{
    uint32_t id, len;
    struct device *dev = card(NULL);
    vdev_start(F_VERSION_1);
    host.room = 1;
    from_guest(TX, 0, 60, 1);
    from_guest(TX, 2, 60, 2); /* the same bytes in memory: what is sent later is what stands there then */
    CHECK_EQ(host.n, 1);
    CHECK(vq_used(TX, &id, &len) && !vq_used(TX, &id, &len));
    host.room = 5;
    port_ready(&host.port);
    vd_run();
    CHECK_EQ(host.n, 2);
    CHECK_EQ(host.frame[59], 2);
    CHECK(vq_used(TX, &id, &len) && id == 2);
    (void)dev;
}

TEST(vnet_segmentation_travels_with_the_frame)
{
    card(NULL);
    port_accept(&host.port, PORT_ACCEPT_ALL);
    vdev_start(F_VERSION_1 | F_BIT(NF_CSUM) | F_BIT(NF_HOST_TSO4));
    static const uint8_t header[HEADER] = {1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0};
    for (unsigned i = 0; i < HEADER; i++)
        g_write(VQ_BUFFERS + i, header[i], 1);
    g_fill(VQ_BUFFERS + HEADER, 7, 4000);
    vq_add(TX,
           (struct vq_buf[]){
               {VQ_BUFFERS, HEADER + 4000, 0}
    },
           1, 0);
    vq_kick(TX);
    CHECK_EQ(host.n, 1);
    CHECK_EQ(host.len, 4000);
    CHECK_EQ(host.meta.gso_type, PORT_GSO_TCPV4);
    CHECK_EQ(host.meta.gso_size, 1460);
    CHECK_EQ(host.meta.csum_start, 34);
    CHECK_EQ(host.meta.flags, PORT_NEEDS_CSUM);
}

/* UDP's segmentation has no flag of the port's for each version of IP: with one
 * of the two the driver gets single datagrams. */
TEST(vnet_udp_segmentation_both_ways)
{
    enum {
        GUEST_USO4 = 54,
        GUEST_USO6,
        HOST_USO,
        UDP_L4 = 5
    };
    struct port *port = virtio_net_port(card(NULL));
    uint32_t id, len;
    CHECK_EQ(vd_features() >> GUEST_USO4 & 7, 7);
    port_accept(&host.port, PORT_ACCEPT_ALL);
    vdev_start(F_VERSION_1 | F_BIT(NF_CSUM) | F_BIT(HOST_USO) | F_BIT(NF_GUEST_CSUM) | F_BIT(GUEST_USO4));
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM);
    vdev_start(F_VERSION_1 | F_BIT(NF_CSUM) | F_BIT(HOST_USO) | F_BIT(NF_GUEST_CSUM) | F_BIT(GUEST_USO4) |
               F_BIT(GUEST_USO6) | F_BIT(NF_MRG) | F_BIT(NF_CTRL) | F_BIT(NF_CTRL_OFFLOADS));
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM | PORT_ACCEPT_USO);
    static const uint8_t header[HEADER] = {1, UDP_L4, 42, 0, 0xe8, 3, 34, 0, 6, 0};
    for (unsigned i = 0; i < HEADER; i++)
        g_write(VQ_BUFFERS + i, header[i], 1);
    g_fill(VQ_BUFFERS + HEADER, 7, 4000);
    vq_add(TX, &(struct vq_buf){VQ_BUFFERS, HEADER + 4000, 0}, 1, 0);
    vq_kick(TX);
    CHECK(host.n == 1 && host.len == 4000);
    CHECK(host.meta.gso_type == UDP_L4 && host.meta.gso_size == 1000 && host.meta.hdr_len == 42);
    struct port_meta meta = {
        .flags = PORT_NEEDS_CSUM, .gso_type = UDP_L4, .gso_size = 1000, .csum_start = 34, .csum_offset = 6};
    rx_buffers(0, 4, 1500);
    CHECK_EQ(to_guest(2, 4000, 1, &meta), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
    CHECK_EQ(g_read(RX_AT(0) + 1, 1), UDP_L4);
    CHECK_EQ(g_read(RX_AT(0) + 4, 2), 1000);
    CHECK_EQ(g_read(RX_AT(0) + 10, 2), 3); /* buffers */
    uint64_t want = F_BIT(NF_GUEST_CSUM) | F_BIT(GUEST_USO4);
    CHECK_EQ(control(5, 0, &want, 8), 0);
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM);
}

TEST(vnet_receives_into_one_buffer)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1);
    rx_buffers(0, 4, 1526);
    CHECK_EQ(to_guest(2, 100, 0x5a, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
    CHECK_EQ(len, 112);
    CHECK_EQ(g_read(RX_AT(0) + 10, 2), 1); /* num_buffers */
    CHECK_EQ(g_read(RX_AT(0) + HEADER + 30, 1), 30);
    CHECK_EQ(g_read(RX_AT(0) + HEADER + 99, 1), 0x5a);
    CHECK(vd_line());
}

TEST(vnet_merges_buffers)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    rx_buffers(0, 8, 500);
    CHECK_EQ(to_guest(2, 1400, 0x5a, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len) && id == 0 && len == 500);
    CHECK(vq_used(RX, &id, &len) && id == 1 && len == 500);
    CHECK(vq_used(RX, &id, &len) && id == 2 && len == 412);
    CHECK(!vq_used(RX, &id, &len));
    CHECK_EQ(g_read(RX_AT(0) + 10, 2), 3);
    CHECK_EQ(g_read(RX_AT(1), 1), (500 - HEADER) & 0xff);
    CHECK_EQ(g_read(RX_AT(2) + 411, 1), 0x5a);
}

TEST(N4_N7_vnet_without_buffers_the_peer_waits_and_nothing_runs)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_BUSY);
    CHECK_EQ(host.readies, 0);
    CHECK(!loop_step(m->board.loop));
    CHECK_EQ(loop_next(m->board.loop), LOOP_NEVER);
    rx_buffers(0, 1, 1500);
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(to_guest(2, 100, 2, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
    CHECK_EQ(g_read(RX_AT(0) + HEADER + 99, 1), 2);
    CHECK_EQ(to_guest(2, 100, 3, NULL), PORT_BUSY);
    rx_buffers(1, 1, 1500);
    CHECK_EQ(host.readies, 2);
}

/* Buffers are there, but out of reach for a while: the cable is not blocked for ever. */
TEST(P11_vnet_receives_again_when_bus_mastering_is_back)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    rx_buffers(0, 2, 1500);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_BUSY);
    unsigned readies = host.readies;
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vd_run();
    CHECK_EQ(host.readies, readies + 1);
    CHECK_EQ(to_guest(2, 100, 2, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
}

/* A frame larger than all the driver has does not block the cable for ever. */
TEST(vnet_a_queue_too_short_for_a_frame)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_MRG));
    rx_buffers(0, 2, 200);
    CHECK_EQ(to_guest(2, 1000, 1, NULL), PORT_BUSY);
    CHECK(!vq_used(RX, &id, &len));
    vd_now_ns += VIRTIO_NET_PATIENCE - 1;
    vd_run();
    CHECK_EQ(host.readies, 0);
    vd_now_ns += 1;
    vd_run();
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(to_guest(2, 1000, 1, NULL), PORT_SENT); /* dropped */
    CHECK(!vq_used(RX, &id, &len));
    CHECK_EQ(host.port.drops[PORT_DROP_RECEIVER], 1);
    CHECK_EQ(to_guest(2, 100, 9, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len) && len == 112);
}

TEST(vnet_a_small_buffer_drops_without_merging)
{
    uint32_t id, len;
    card(NULL);
    vdev_start(F_VERSION_1);
    rx_buffers(0, 2, 100);
    CHECK_EQ(to_guest(2, 200, 1, NULL), PORT_SENT);
    CHECK(!vq_used(RX, &id, &len));
    CHECK_EQ(host.port.drops[PORT_DROP_RECEIVER], 1);
    CHECK_EQ(to_guest(2, 60, 1, NULL), PORT_SENT);
    CHECK(vq_used(RX, &id, &len) && id == 0);
}

TEST(vnet_no_driver_no_network)
{
    card(NULL);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_SENT);
    CHECK_EQ(host.port.drops[PORT_DROP_RECEIVER], 1);
    vdev_start(F_VERSION_1);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_BUSY);
    c_write(C_STATUS, 0, 1); /* reset lets go of who waits */
    vd_run();
    CHECK_EQ(host.readies, 1);
    CHECK_EQ(to_guest(2, 100, 1, NULL), PORT_SENT);
}

/* What the driver negotiated decides what comes unfinished. */
TEST(vnet_offers_the_port_what_was_negotiated)
{
    struct device *dev = card(NULL);
    struct port *port = virtio_net_port(dev);
    CHECK_EQ(port->accepts, 0);
    vdev_start(F_VERSION_1 | F_BIT(NF_GUEST_CSUM) | F_BIT(NF_GUEST_TSO4) | F_BIT(NF_CTRL) |
               F_BIT(NF_CTRL_OFFLOADS) | F_BIT(NF_MRG));
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM | PORT_ACCEPT_TSO4);
    uint64_t want = F_BIT(NF_GUEST_CSUM);
    CHECK_EQ(control(5, 0, &want, 8), 0);
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM);
    want = F_BIT(NF_GUEST_TSO6); /* was not negotiated */
    CHECK_EQ(control(5, 0, &want, 8), 1);
    CHECK_EQ(port->accepts, PORT_ACCEPT_CSUM);
    struct port_meta meta = {.flags = PORT_NEEDS_CSUM, .csum_start = 20, .csum_offset = 6};
    uint32_t id, len;
    rx_buffers(0, 4, 1500);
    CHECK_EQ(to_guest(2, 100, 1, &meta), PORT_SENT);
    CHECK(vq_used(RX, &id, &len));
    CHECK_EQ(g_read(RX_AT(0), 1), PORT_NEEDS_CSUM);
    CHECK_EQ(g_read(RX_AT(0) + 6, 2), 20);
    CHECK_EQ(g_read(RX_AT(0) + 8, 2), 6);
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK_EQ(port->accepts, 0);
}

/* 5.1.3.1 */
TEST(vnet_features_that_need_others)
{
    static const uint64_t bad[] = {
        F_BIT(NF_GUEST_TSO4),    F_BIT(NF_HOST_TSO4), F_BIT(NF_CTRL_RX),
        F_BIT(NF_ANNOUNCE),      F_BIT(NF_MAC_ADDR),  F_BIT(NF_GUEST_ECN) | F_BIT(NF_GUEST_CSUM),
        F_BIT(NF_CTRL_OFFLOADS), F_BIT(NF_CTRL_VLAN),
    };
    card(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vdev_negotiate(F_VERSION_1 | bad[i]);
        CHECK(!(vd_status() & ST_FEATURES_OK));
    }
    vdev_negotiate(F_VERSION_1 | F_BIT(NF_GUEST_ECN) | F_BIT(NF_GUEST_TSO6) | F_BIT(NF_GUEST_CSUM));
    CHECK(vd_status() & ST_FEATURES_OK);
}

/* How many of the frames with these first bytes come through. */
static unsigned received(const uint8_t *firsts, unsigned n)
{
    uint32_t id, len;
    unsigned got = 0;
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(to_guest(firsts[i], 100, 1, NULL), PORT_SENT);
    while (vq_used(RX, &id, &len))
        got++;
    return got;
}

TEST(vnet_filters)
{
    static const uint8_t kinds[] = {0xff, 0x01, 0x04, 0x02}; /* everybody, a group, a stranger, us */
    uint8_t off = 0, on = 1, ours[6] = {2, 2, 2, 2, 2, 2};
    card(NULL);
    vdev_start(CTRL_FEATURES);
    rx_buffers(0, 60, 500);
    CHECK_EQ(received(kinds, 4), 4); /* everything, until told otherwise */
    CHECK_EQ(control(0, 0, &off, 1), 0);
    CHECK_EQ(received(kinds, 4), 1); /* the broadcast */
    CHECK_EQ(control(1, 1, ours, 6), 0);
    CHECK_EQ(received(kinds, 4), 2);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE], 1), 2);
    CHECK_EQ(control(0, 1, &on, 1), 0);
    CHECK_EQ(received(kinds, 4), 3);
    CHECK_EQ(control(0, 1, &off, 1), 0);
    struct __attribute__((packed)) {
        uint32_t n_uni;
        uint8_t uni[6];
        uint32_t n_multi;
        uint8_t multi[6];
    } table = {
        1, {4, 4, 4, 4, 4, 4},
         1, {1, 1, 1, 1, 1, 1}
    };
    CHECK_EQ(control(1, 0, &table, sizeof table), 0);
    CHECK_EQ(received(kinds, 4), 4);
    table.n_uni = table.n_multi = 0;
    CHECK_EQ(control(1, 0, &table, sizeof table), 1); /* lengths that do not add up change nothing */
    CHECK_EQ(received(kinds, 4), 4);
    CHECK_EQ(control(0, 2, &on, 1), 1); /* RX_EXTRA was not negotiated */
}

TEST(vnet_a_full_table_means_all)
{
    static const uint8_t kinds[] = {0x01, 0x04};
    static uint8_t table[8 + 65 * 6];
    uint8_t off = 0;
    card(NULL);
    vdev_start(CTRL_FEATURES);
    rx_buffers(0, 20, 500);
    CHECK_EQ(control(0, 0, &off, 1), 0);
    memset(table, 0, sizeof table);
    table[4] = 65; /* no unicast, 65 groups */
    CHECK_EQ(control(1, 0, table, sizeof table), 0);
    CHECK_EQ(received(kinds, 2), 1);
}

TEST(vnet_vlan_filter)
{
    uint8_t frame[64] = {[12] = 0x81, [14] = 0x10, [15] = 0x05}, off = 0, ours[6] = {0};
    uint16_t id = 0x005, wrong = 4096;
    uint32_t head, len;
    static const struct port_meta none;
    struct iovec iov = {frame, sizeof frame};
    ours[0] = frame[0] = 2;
    card(NULL);
    vdev_start(CTRL_FEATURES);
    rx_buffers(0, 20, 500);
    CHECK_EQ(control(0, 0, &off, 1), 0);
    CHECK_EQ(control(1, 1, ours, 6), 0);
    CHECK_EQ(port_send(&host.port, &iov, 1, &none), PORT_SENT);
    vd_run();
    CHECK(!vq_used(RX, &head, &len));
    CHECK_EQ(control(2, 0, &id, 2), 0);
    CHECK_EQ(port_send(&host.port, &iov, 1, &none), PORT_SENT); /* the priority bits do not count */
    vd_run();
    CHECK(vq_used(RX, &head, &len));
    CHECK_EQ(control(2, 1, &id, 2), 0);
    CHECK_EQ(port_send(&host.port, &iov, 1, &none), PORT_SENT);
    vd_run();
    CHECK(!vq_used(RX, &head, &len));
    CHECK_EQ(control(2, 0, &wrong, 2), 1);
}

static unsigned link_status(void)
{
    return (unsigned)g_read(vd.cap[CAP_DEVICE] + 6, 2);
}
static void announcement_due(void)
{
    vd_now_ns += VIRTIO_NET_ANNOUNCE;
    vd_run();
}

/* Linux sends what it is asked for in the status before it looks whether the link is up: by then it must have seen that. */
TEST(vnet_link_and_then_the_announcement)
{
    struct device *dev = card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_STATUS) | F_BIT(NF_CTRL) | F_BIT(NF_ANNOUNCE));
    virtio_net_set_link(dev, false);
    CHECK_EQ(link_status(), 0);
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 2);
    announcement_due();
    CHECK_EQ(link_status(), 0);
    virtio_net_set_link(dev, true);
    CHECK_EQ(link_status(), 1);
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 2);
    vd_now_ns += VIRTIO_NET_ANNOUNCE - 1;
    vd_run();
    CHECK_EQ(link_status(), 1);
    for (unsigned i = 0; i < 3; i++) {
        announcement_due();
        CHECK_EQ(link_status(), 3);
        CHECK_EQ(g_read(vd.cap[CAP_ISR], 1) & 2, 2);
        CHECK_EQ(control(3, 0, NULL, 0), 0);
        CHECK_EQ(link_status(), 1);
        (void)g_read(vd.cap[CAP_ISR], 1);
    }
    announcement_due();
    CHECK_EQ(link_status(), 1); /* and an idle guest is left alone */
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 0);
}

TEST(vnet_no_announcement_is_due_where_nobody_waits_for_it)
{
    struct device *dev = card(NULL);
    vdev_start(F_VERSION_1 | F_BIT(NF_STATUS) | F_BIT(NF_CTRL) | F_BIT(NF_ANNOUNCE));
    virtio_net_set_link(dev, true);
    virtio_net_set_link(dev, false); /* it flaps */
    announcement_due();
    CHECK_EQ(link_status(), 0);
    virtio_net_set_link(dev, true);
    c_write(C_STATUS, 0, 1); /* another driver: it announces itself as it starts, or not */
    announcement_due();
    CHECK_EQ(link_status(), 1);
    vdev_start(F_VERSION_1 | F_BIT(NF_STATUS) | F_BIT(NF_CTRL)); /* and one that knows of none */
    virtio_net_set_link(dev, false);
    virtio_net_set_link(dev, true);
    announcement_due();
    CHECK_EQ(link_status(), 1);
}

/* `ip link set address`, and then another driver (rmmod, kexec): it reads the card's own again. */
TEST(vnet_address_is_the_cards_own_after_a_reset)
{
    uint8_t mac[6] = {2, 0, 0, 0, 0, 5};
    card("mac=02:00:00:00:00:09");
    vdev_start_sized(F_VERSION_1 | F_BIT(NF_CTRL) | F_BIT(NF_MAC_ADDR), 64);
    CHECK_EQ(control(1, 1, mac, 6), 0);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 5, 1), 5);
    c_write(C_STATUS, 0, 1);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 5, 1), 9);
}

/* Received frames follow the pair on which their flow was last sent; the control queue is where 5.1.2 says. */
TEST(vnet_pairs)
{
    uint32_t id, len;
    static const uint16_t counts[] = {0, 5, 65535, 2};
    card("queues=4");
    CHECK_EQ(c_read(C_NUMQ, 2), 9);
    CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 8, 2), 4);
    vdev_start_sized(F_VERSION_1 | F_BIT(NF_CTRL) | F_BIT(NF_MAC_ADDR), 64);
    uint8_t mac[6] = {2, 0, 0, 0, 0, 5};
    CHECK_EQ(control(1, 1, mac, 6), 0); /* without MQ: queue 2 */

    vdev_negotiate(F_VERSION_1 | F_BIT(NF_CTRL) | F_BIT(NF_MQ));
    for (unsigned i = 0; i < 4; i++) {
        vq_place(i, 64);
        vq_program(i);
        c_write(C_ENABLE, 1, 2);
    }
    vq_place(7, 64); /* rings of our queue 7, as the device's queue 8 */
    c_write(C_SELECT, 8, 2);
    vd.q[7].size = 64;
    c_write(C_SIZE, 64, 2);
    c_write(C_DESC, vd.q[7].desc, 8);
    c_write(C_AVAIL, vd.q[7].avail, 8);
    c_write(C_USED, vd.q[7].used, 8);
    c_write(C_ENABLE, 1, 2);
    vdev_driver_ok();
    vd_run();
    for (unsigned pass = 0; pass < 4; pass++) {
        uint16_t n = counts[pass];
        g_write(VQ_BUFFERS, 4, 2);
        g_write(VQ_BUFFERS + 2, n, 2);
        vq_add(7,
               (struct vq_buf[]){
                   {VQ_BUFFERS,        4, 0      },
                   {VQ_BUFFERS + 8192, 1, F_WRITE}
        },
               2, 0);
        c_write(C_SELECT, 8, 2);
        g_write(vd.cap[CAP_NOTIFY] + c_read(C_NOFF, 2) * vd.multiplier, 8, 2);
        vd_run();
        CHECK(vq_used(7, &id, &len));
        CHECK_EQ(g_read(VQ_BUFFERS + 8192, 1), n == 0 || n > 4);
    }

    /* a TCP flow goes out by pair 1 and its answers come in there */
    void *back = flow_by_pair_1();
    CHECK_EQ(host.n, 1);
    for (unsigned q = 0; q < 4; q += 2) {
        vq_add(q,
               (struct vq_buf[]){
                   {VQ_BUFFERS + 0x10000 + 0x1000 * q, 500, F_WRITE}
        },
               1, 0);
        vq_kick(q);
    }
    static const struct port_meta none;
    struct iovec iov = {back, FLOW_LEN};
    CHECK_EQ(port_send(&host.port, &iov, 1, &none), PORT_SENT);
    vd_run();
    CHECK(vq_used(2, &id, &len));
    CHECK(!vq_used(0, &id, &len));
}

TEST(vnet_addresses_that_are_none)
{
    char err[256];
    vdev_new(&virtio_net_class, NULL);
    CHECK(!device_new(&m->board, &virtio_net_class, NULL, "mac=ff:ff:ff:ff:ff:ff", err, sizeof err));
    CHECK(strstr(err, "mac="));
}

static unsigned seed;
static unsigned dice(unsigned n)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % n;
}

/* Any command, any lengths, frames of any size into buffers of any size, resets in between. */
TEST(vnet_at_random)
{
    seed = 7;
    card("queues=2");
    for (unsigned round = 0; round < 300; round++) {
        uint64_t features = F_VERSION_1 | F_BIT(NF_CTRL);
        for (unsigned b = 0; b < 24; b++)
            if (dice(2))
                features |= F_BIT(b);
        vdev_negotiate(features & vd_features());
        if (!(vd_status() & ST_FEATURES_OK))
            continue;
        for (unsigned i = 0; i < 5; i++) {
            vq_place(i, 16);
            vq_program(i);
            c_write(C_ENABLE, 1, 2);
        }
        vdev_driver_ok();
        for (unsigned i = 0; i < 20; i++) {
            unsigned q = dice(5), head = dice(14);
            struct vq_buf bufs[2] = {
                {VQ_BUFFERS + dice(65536), dice(3000), dice(2) ? F_WRITE : 0},
                {VQ_BUFFERS + dice(65536), dice(3000), F_WRITE              },
            };
            for (unsigned k = 0; k < 8; k++)
                g_write(VQ_BUFFERS + dice(65536), dice(256), 1);
            g_write(bufs[0].gpa, dice(7) | dice(6) << 8, 2);
            vq_add_unclaimed(q, bufs, 1 + dice(2), head); /* chains run into each other, too */
            vq_kick(q);
            host.room = dice(3);
            port_ready(&host.port);
            struct port_meta meta = {.flags = dice(2),
                                     .gso_type = dice(2) ? dice(256) : 0,
                                     .gso_size = dice(2000),
                                     .csum_start = dice(200),
                                     .csum_offset = dice(30)};
            if (dice(2))
                (void)to_guest(dice(256), 30 + dice(5000), 1, &meta);
            vd_now_ns += dice(50) * 1000000;
        }
        vd_run();
    }
    c_write(C_STATUS, 0, 1);
    vd_run();
    CHECK_EQ(vd_status(), 0);
}
