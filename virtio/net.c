// SPDX-License-Identifier: MIT
/* virtio-net, the way of a frame: see include/virtio/net.h. Nothing is allocated and, but for the peer's own, no system call
 * is made for a frame. */
#include "virtio/net_priv.h"

#include <string.h>

#include "mem/watch.h"
#include "net/offload.h"

/* 5.1.6, little-endian as the host is */
struct net_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == VIRTIO_NET_HEADER, "5.1.6");

static const char *const net_drops[] = {
    [NET_DROP_NO_DRIVER] = "rx drop: no driver is running",
    [NET_DROP_FILTER] = "rx drop: the driver's filter",
    [NET_DROP_VLAN] = "rx drop: the driver's VLAN filter",
    [NET_DROP_SMALL_BUFFER] = "rx drop: the buffer is too small for it",
    [NET_DROP_SHORT_QUEUE] = "rx drop: all buffers together are too small for it",
    [NET_DROP_TX_SHORT] = "tx drop: shorter than the header",
    [NET_DROP_TX_WRITABLE] = "tx drop: a buffer to be written",
    NULL,
};

/* ---- flows: a pair for what is received, from what was sent */

/* The same for both directions: addresses and ports are added, not ordered. Any number will do for what is not IP. */
static unsigned flow_of(const struct iovec *iov, int n)
{
    uint8_t b[ETHER_HEADER + 40 + 4] = {0};
    ether_head(iov, n, b, sizeof b);
    uint32_t sum = 0, word;
    unsigned from, to;
    if (b[12] == 0x08 && b[13] == 0) { /* IPv4: addresses, then the ports if there are no options */
        from = 26, to = b[14] == 0x45 ? 38 : 34;
    } else if (b[12] == 0x86 && b[13] == 0xdd) {
        from = 22, to = 58;
    } else {
        return 0;
    }
    for (unsigned i = from; i + 4 <= to; i += 4) {
        memcpy(&word, b + i, 4);
        sum += i + 4 == to && to != 34 ? (word & 0xffff) + (word >> 16) : word;
    }
    return (sum * 0x9e3779b1u) >> 24;
}

/* ---- guest -> port */

/* That a frame was sent is no news for a driver that will hear of its answer: as it looks for the answer it looks for
 * what was sent as well, and an interrupt for that alone would have been one too many of two (Linux's
 * virtnet_poll_cleantx()). So a few small frames are shown at once, and the question of an interrupt waits: for
 * VIRTIO_NET_QUIET, for more of them, or for a big one, whose sender may wait for the buffer. Without the event index a
 * driver that has looked cannot be told from one that has not. */
static void net_sent(struct virtio_net *n, struct virtq *q, unsigned pair, uint64_t bytes)
{
    unsigned most = q->size / 8 < NET_QUIET_FRAMES ? q->size / 8 : NET_QUIET_FRAMES;
    uint16_t before = q->used_idx;
    unsigned unseen = virtq_show(q);
    uint16_t fresh = (uint16_t)(q->used_idx - before);
    if (!unseen)
        return;
    if (!q->event_idx || bytes > NET_QUIET_BYTES || unseen > most) {
        virtio_signal(&n->v, q);
        return;
    }
    uint64_t now = loop_now(n->v.pci.dev.board->loop);
    if (unseen <= fresh && !(n->quiet & ~(1u << pair))) /* all before were seen */
        n->quiet_at = now;
    if (!n->quiet)
        device_timer_set(&n->quiet_end, now + VIRTIO_NET_QUIET);
    n->quiet |= (uint8_t)(1u << pair);
}

static void net_quiet_end(struct device *dev)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    uint64_t end = n->quiet_at + VIRTIO_NET_QUIET;
    if (loop_now(dev->board->loop) < end) {
        device_timer_set(&n->quiet_end, end);
        return;
    }
    for (; n->quiet; n->quiet &= (uint8_t)(n->quiet - 1))
        virtio_signal(&n->v, net_tx_queue(n, (unsigned)__builtin_ctz(n->quiet)));
}

static void net_transmit(struct virtio_net *n, struct virtq *q, unsigned pair)
{
    struct virtq_chain c = {.iov = n->tx_iov, .room = VIRTIO_NET_QUEUE + VIRTQ_SPARE};
    uint64_t bytes = 0;
    n->tx_waits &= (uint8_t) ~(1u << pair);
    while (virtq_pop(q, &c)) {
        struct net_header h;
        struct iovec *iov = c.iov;
        uint16_t pieces = c.out_n;
        if (virtq_copy_out(&c, 0, &h, net_header_size(n)) < net_header_size(n) || c.in_n) {
            device_drop(&n->v.pci.dev, c.in_n ? NET_DROP_TX_WRITABLE : NET_DROP_TX_SHORT);
            virtq_push(q, &c, 0);
            continue;
        }
        virtq_skip(&iov, &pieces, net_header_size(n));
        struct port_meta meta = {.flags = h.flags & PORT_NEEDS_CSUM,
                                 .gso_type = h.gso_type,
                                 .hdr_len = h.hdr_len,
                                 .gso_size = h.gso_size,
                                 .csum_start = h.csum_start,
                                 .csum_offset = h.csum_offset};
        if (port_send(&n->port, iov, pieces, &meta) == PORT_BUSY) {
            const struct virtq_chain *back = &c;
            virtq_unpop(q, &back, 1);
            n->tx_waits |= (uint8_t)(1u << pair);
            break;
        }
        if (n->pairs > 1)
            n->flows[flow_of(iov, pieces)] = (uint8_t)pair;
        virtq_push(q, &c, 0);
        bytes += c.out_len;
    }
    net_sent(n, q, pair, bytes);
}

static void net_ready(struct port *port)
{
    struct virtio_net *n = (struct virtio_net *)((char *)port - offsetof(struct virtio_net, port));
    for (unsigned pair = 0; pair < n->max_pairs; pair++)
        if (n->tx_waits >> pair & 1)
            net_transmit(n, net_tx_queue(n, pair), pair);
}

/* ---- port -> guest */

/* Fills the chain with what comes from byte `at` of the pieces on; how much that was. */
static uint32_t put(const struct virtq_chain *c, const struct iovec *iov, int n, size_t at)
{
    uint32_t done = 0;
    for (int i = 0; i < n && done < c->in_len; i++) {
        if (at >= iov[i].iov_len) {
            at -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - at < c->in_len - done ? iov[i].iov_len - at : c->in_len - done;
        virtq_copy_in(c, done, (const char *)iov[i].iov_base + at, part);
        done += (uint32_t)part;
        at = 0;
    }
    return done;
}

/* Takes buffers for `need` bytes into n->rx. 0: there are not enough, and none is taken. */
static unsigned take(struct virtio_net *n, struct virtq *q, size_t need, bool *some)
{
    bool merge = virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF);
    const struct virtq_chain *back[VIRTIO_NET_QUEUE];
    unsigned used = 0, count = 0;
    size_t have = 0;
    while (count < VIRTIO_NET_QUEUE && used <= VIRTIO_NET_QUEUE + VIRTQ_SPARE) {
        struct virtq_chain *c = &n->rx[count];
        *c = (struct virtq_chain){.iov = n->rx_iov + used, .room = VIRTIO_NET_QUEUE + VIRTQ_SPARE};
        if (!virtq_pop(q, c))
            break;
        back[count++] = c;
        used += c->out_n + c->in_n;
        have += c->in_len;
        if (have >= need || !merge)
            break;
    }
    *some = count;
    if (have >= need)
        return count;
    virtq_unpop(q, back, count);
    return 0;
}

static enum port_result starve(struct virtio_net *n, struct virtq *q, bool some)
{
    if (virtq_more(q)) /* they came while we looked */
        virtio_turn(&n->v, q);
    n->starved = (uint16_t)(q->index + 1);
    if (some)
        device_timer_set(&n->patience, loop_now(n->v.pci.dev.board->loop) + VIRTIO_NET_PATIENCE);
    return PORT_BUSY;
}

static bool takes(const struct virtio_net *n, const struct virtq *q)
{
    return virtio_is_live(&n->v) && q->enabled && !q->broken;
}

static bool net_closed(struct port *port)
{
    struct virtio_net *n = (struct virtio_net *)((char *)port - offsetof(struct virtio_net, port));
    for (unsigned pair = 0; pair < n->pairs; pair++)
        if (takes(n, net_rx_queue(n, pair)))
            return false;
    device_drop(&n->v.pci.dev, NET_DROP_NO_DRIVER);
    port_drop(port);
    return true;
}

static enum port_result net_receive(struct port *port, const struct iovec *iov, int n_iov,
                                    const struct port_meta *meta)
{
    struct virtio_net *n = (struct virtio_net *)((char *)port - offsetof(struct virtio_net, port));
    struct device *dev = &n->v.pci.dev;
    size_t len = offload_length(iov, n_iov);
    unsigned pair = n->pairs > 1 ? n->flows[flow_of(iov, n_iov)] : 0;
    struct virtq *q = net_rx_queue(n, pair < n->pairs ? pair : 0);
    bool some;

    if (!takes(n, q)) {
        device_drop(dev, NET_DROP_NO_DRIVER);
        port_drop(port);
        return PORT_SENT;
    }
    if (!net_wanted(n, iov, n_iov)) {
        port_drop(port);
        return PORT_SENT;
    }
    unsigned count = take(n, q, net_header_size(n) + len, &some);
    if (!count) {
        enum net_drop why = NET_DROP_SHORT_QUEUE;
        if (some && !virtio_has(&n->v, VIRTIO_NET_F_MRG_RXBUF))
            why = NET_DROP_SMALL_BUFFER;
        else if (!n->give_up || !some)
            return q->broken ? PORT_SENT : starve(n, q, some);
        n->give_up = false;
        device_drop(dev, why);
        port_drop(port);
        return PORT_SENT;
    }
    struct net_header h = {.flags = meta->flags,
                           .gso_type = meta->gso_type,
                           .hdr_len = meta->hdr_len,
                           .gso_size = meta->gso_size,
                           .csum_start = meta->csum_start,
                           .csum_offset = meta->csum_offset,
                           .num_buffers = (uint16_t)count};
    struct iovec whole[PORT_IOV_MAX + 2]; /* port.h: one more than a frame was sent in */
    whole[0] = (struct iovec){&h, net_header_size(n)};
    memcpy(whole + 1, iov, (size_t)n_iov * sizeof *iov);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t written = put(&n->rx[i], whole, n_iov + 1, at);
        virtq_push(q, &n->rx[i], written);
        at += written;
    }
    n->give_up = false;
    n->to_flush |= 1u << q->index;
    device_task_post(&n->flush);
    return PORT_SENT;
}

/* The end of the loop's pass, or of a burst: the driver hears of all that came. */
static void net_flush(struct device *dev)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    for (; n->to_flush; n->to_flush &= n->to_flush - 1)
        virtio_flush(&n->v, virtio_queue(&n->v, (unsigned)__builtin_ctz(n->to_flush)));
}

void net_fed(struct virtio_net *n)
{
    if (!n->starved)
        return;
    n->starved = 0;
    device_timer_cancel(&n->patience);
    port_ready(&n->port);
}

static void net_out_of_patience(struct device *dev)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    if (!n->starved)
        return;
    n->starved = 0;
    n->give_up = true;
    port_ready(&n->port);
}

static const struct port_ops net_port_ops = {
    .receive = net_receive, .ready = net_ready, .closed = net_closed};

/* ---- the device */

static void net_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct virtio_net *n = (struct virtio_net *)v;
    if (q == net_control_queue(n)) {
        net_control(n, q);
    } else if (n->vhost) {
        vhost_update(n->vhost);
    } else if (q->index & 1) {
        net_transmit(n, q, q->index / 2);
    } else if (n->starved == q->index + 1 && virtq_ready(q)) {
        net_fed(n);
    }
}

/* 5.1.3.1: what needs what */
static bool net_features_ok(struct virtio_device *v, uint64_t features)
{
    static const struct {
        uint8_t bit, needs, or_else; /* or_else 0: nothing else will do */
    } rules[] = {
        {VIRTIO_NET_F_GUEST_TSO4,          VIRTIO_NET_F_GUEST_CSUM, 0                      },
        {VIRTIO_NET_F_GUEST_TSO6,          VIRTIO_NET_F_GUEST_CSUM, 0                      },
        {VIRTIO_NET_F_GUEST_USO4,          VIRTIO_NET_F_GUEST_CSUM, 0                      },
        {VIRTIO_NET_F_GUEST_USO6,          VIRTIO_NET_F_GUEST_CSUM, 0                      },
        {VIRTIO_NET_F_GUEST_ECN,           VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6},
        {VIRTIO_NET_F_HOST_TSO4,           VIRTIO_NET_F_CSUM,       0                      },
        {VIRTIO_NET_F_HOST_TSO6,           VIRTIO_NET_F_CSUM,       0                      },
        {VIRTIO_NET_F_HOST_USO,            VIRTIO_NET_F_CSUM,       0                      },
        {VIRTIO_NET_F_HOST_ECN,            VIRTIO_NET_F_HOST_TSO4,  VIRTIO_NET_F_HOST_TSO6 },
        {VIRTIO_NET_F_CTRL_RX,             VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_CTRL_RX_EXTRA,       VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_CTRL_VLAN,           VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_GUEST_ANNOUNCE,      VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_MQ,                  VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_CTRL_MAC_ADDR,       VIRTIO_NET_F_CTRL_VQ,    0                      },
        {VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ,    0                      },
    };
    (void)v;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (features >> rules[i].bit & 1 && !(features >> rules[i].needs & 1) &&
            !(rules[i].or_else && features >> rules[i].or_else & 1))
            return false;
    return true;
}

static void net_driver_ok(struct virtio_device *v)
{
    struct virtio_net *n = (struct virtio_net *)v;
    n->offloads = v->accepted;
    net_accept(n);
    if (n->vhost)
        vhost_driver_ok(n->vhost);
}

static bool net_reset(struct virtio_device *v)
{
    struct virtio_net *n = (struct virtio_net *)v;
    n->offloads = 0;
    net_accept(n);
    memcpy(n->mac, n->first_mac, sizeof n->mac); /* one that a driver has set was that driver's */
    net_filter_reset(n);
    net_set_pairs(n, 1);
    n->to_flush = 0;
    n->tx_waits = 0;
    n->starved = 0;
    n->give_up = false;
    n->status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
    device_timer_cancel(&n->announce);
    device_timer_cancel(&n->patience);
    n->quiet = 0;
    device_timer_cancel(&n->quiet_end);
    if (atomic_load_explicit(&n->port.blocked, memory_order_relaxed))
        port_ready(&n->port); /* what waited for buffers is dropped */
    return true;
}

/* 5.1.6.5.4. A driver told of it together with the link's coming up would announce itself into a queue that is still shut
 * (Linux sets its carrier after that), and one that is slow to wake would still do so: so it is asked a little later, and
 * more than once. */
static void net_announce(struct device *dev)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    if (!virtio_has(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
        return;
    n->status |= VIRTIO_NET_S_ANNOUNCE;
    virtio_config_changed(&n->v);
    if (--n->announcements)
        device_timer_set(&n->announce, loop_now(dev->board->loop) + VIRTIO_NET_ANNOUNCE);
}

#define BIT(name) (1ull << VIRTIO_NET_F_##name)
static const struct virtio_type net_type = {
    .id = 1,
    .legacy_id = 0x1000,
    .pci_class = 0x020000,
    .features = BIT(CSUM) | BIT(GUEST_CSUM) | BIT(CTRL_GUEST_OFFLOADS) | BIT(MAC) | BIT(GUEST_TSO4) |
                BIT(GUEST_TSO6) | BIT(GUEST_ECN) | BIT(HOST_TSO4) | BIT(HOST_TSO6) | BIT(HOST_ECN) |
                BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_RX_EXTRA) |
                BIT(CTRL_VLAN) | BIT(GUEST_ANNOUNCE) | BIT(CTRL_MAC_ADDR) | BIT(GUEST_USO4) |
                BIT(GUEST_USO6) | BIT(HOST_USO),
    .queue_ready = net_queue_ready,
    .features_ok = net_features_ok,
    .driver_ok = net_driver_ok,
    .reset = net_reset,
};

static const char *virtio_net_init(struct device *dev, struct board *board)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    static const uint8_t first[ETHER_ADDRESS] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    memcpy(n->mac, first, sizeof first);
    if (n->mac_text && !ether_address(n->mac_text, n->mac))
        return "mac= is no card's address (six bytes such as 02:00:00:00:00:01)";
    memcpy(n->first_mac, n->mac, sizeof n->mac);
    if (!board->net)
        return "this machine has no network";
    if (!port_init(&n->port, board->net, dev->id, &net_port_ops))
        return "no memory for its port";
    n->max_pairs = (uint16_t)(n->pairs_max ? n->pairs_max : 1);
    n->status = VIRTIO_NET_S_LINK_UP;
    n->pairs = 1;
    device_task_init(dev, &n->flush, net_flush);
    device_timer_init(dev, &n->patience, net_out_of_patience);
    device_timer_init(dev, &n->quiet_end, net_quiet_end);
    device_timer_init(dev, &n->announce, net_announce);
    for (unsigned i = 0; i < 2u * n->max_pairs; i++)
        virtio_add_queue(&n->v, VIRTIO_NET_QUEUE);
    virtio_add_queue(&n->v, VIRTIO_NET_CTRL_QUEUE);
    if (n->max_pairs > 1)
        n->v.offered = BIT(MQ);
    return virtio_init(&n->v, board, &net_type);
}

static void net_fini(struct device *dev)
{
    (void)!virtio_net_set_vhost(dev, NULL);
    port_free(&((struct virtio_net *)dev)->port);
    virtio_class_fini(dev);
}

static const char *net_loaded(struct device *dev)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    const char *error = virtio_class_loaded(dev);
    if (error)
        return error;
    if (n->pairs == 0 || n->pairs > n->max_pairs || n->filter.n_uni > NET_MAC_TABLE ||
        n->filter.n_multi > NET_MAC_TABLE)
        return "virtio-net: a count beyond its table";
    net_accept(n);
    if (n->vhost)
        vhost_set_pairs(n->vhost, n->pairs);
    for (unsigned pair = 0; pair < n->max_pairs; pair++) { /* what was owed then is not in the state */
        net_tx_queue(n, pair)->signalled -= NET_QUIET_FRAMES;
        n->quiet |= (uint8_t)(1u << pair);
    }
    n->quiet_at = loop_now(dev->board->loop);
    device_timer_set(&n->quiet_end, n->quiet_at + VIRTIO_NET_QUIET);
    return NULL;
}

struct port *virtio_net_port(struct device *dev)
{
    return &((struct virtio_net *)dev)->port;
}

void virtio_net_set_link(struct device *dev, bool up)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    device_enter(dev);
    n->status = up ? VIRTIO_NET_S_LINK_UP : 0;
    device_timer_cancel(&n->announce);
    n->announcements = NET_ANNOUNCEMENTS;
    if (up && virtio_has(&n->v, VIRTIO_NET_F_GUEST_ANNOUNCE))
        device_timer_set(&n->announce, loop_now(dev->board->loop) + VIRTIO_NET_ANNOUNCE);
    if (n->vhost)
        vhost_set_link(n->vhost, up);
    virtio_config_changed(&n->v);
    lock_drop(&dev->lock);
}

static void net_vectors(struct pci_device *pci)
{
    vhost_vectors(((struct virtio_net *)pci)->vhost);
}

bool virtio_net_set_vhost(struct device *dev, struct vhost *vhost)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    if (!vhost) { /* at the end */
        vhost_free(n->vhost);
        n->vhost = NULL;
        n->v.pci.vectors_hook = NULL;
        return true;
    }
    n->vhost = vhost;
    n->v.offered = vhost_features(vhost, n->v.offered);
    if (!vhost_knows_uso(vhost)) /* nobody else is there to do it */
        n->v.offered &= ~(BIT(GUEST_USO4) | BIT(GUEST_USO6) | BIT(HOST_USO));
    n->v.pci.vectors_hook = net_vectors;
    return vhost_plug(vhost, &n->v);
}

void virtio_net_hold(struct device *dev, bool held)
{
    struct virtio_net *n = (struct virtio_net *)dev;
    lock_take(&dev->lock);
    if (n->vhost)
        vhost_set_held(n->vhost, held);
    lock_drop(&dev->lock);
}

static const struct reg_bits status_bits[] = {
    {"LINK_UP",  0, 1},
    {"ANNOUNCE",         1, 1},
    {0},
};
/* 5.1.4.2: only a driver of 0.9.5 may write it; the others have a command for that */
static bool mac_locked(const struct device *dev)
{
    return !((const struct virtio_device *)dev)->legacy;
}

/* 5.1.4 */
static const struct reg net_config_regs[] = {
    {"mac",                 0, 1, .count = ETHER_ADDRESS, .flags = REG_KEEP, .writable = 0xff, .locked = mac_locked,
     REG_FIELD(struct virtio_net, mac)},
    {"status",                    6, 2, .sizes = 1 | 2, .flags = REG_KEEP, REG_FIELD(struct virtio_net, status),
     .bits = status_bits},
    {"max_virtqueue_pairs",    8, 2, .sizes = 1 | 2, .flags = REG_KEEP, REG_FIELD(struct virtio_net, max_pairs)},
    {0},
};
static const struct reg_bank net_config_bank = {.name = "config", .size = 16, .regs = net_config_regs};

static const struct state_field net_state[] = {
    VIRTIO_STATE,
    STATE(struct virtio_net, pairs),
    STATE(struct virtio_net, offloads),
    STATE(struct virtio_net, filter.promisc),
    STATE(struct virtio_net, filter.allmulti),
    STATE(struct virtio_net, filter.alluni),
    STATE(struct virtio_net, filter.nomulti),
    STATE(struct virtio_net, filter.nouni),
    STATE(struct virtio_net, filter.nobcast),
    STATE(struct virtio_net, filter.uni_all),
    STATE(struct virtio_net, filter.multi_all),
    STATE(struct virtio_net, filter.n_uni),
    STATE(struct virtio_net, filter.n_multi),
    STATE_ARRAY(struct virtio_net, filter.vlans),
    {.name = "filter.uni",
                                       .offset = offsetof(struct virtio_net, filter.uni),
                                       .width = 1,
                                       .count = NET_MAC_TABLE * ETHER_ADDRESS},
    {.name = "filter.multi",
                                       .offset = offsetof(struct virtio_net, filter.multi),
                                       .width = 1,
                                       .count = NET_MAC_TABLE * ETHER_ADDRESS},
    STATE_ARRAY(struct virtio_net, flows),
    {0},
};

static const struct opt net_options[] = {
    OPT_STRING(struct virtio_net, mac_text, "mac", 0, "ADDRESS", "its Ethernet address",
               .dflt = "52:54:00:12:34:56"),
    OPT_U32(struct virtio_net, pairs_max, "queues", 0, "N", "pairs of queues", .min = 1,
            .max = VIRTIO_NET_PAIRS_MAX, .dflt = "1"),
    OPT_END,
};

const struct device_class virtio_net_class = {
    .name = "virtio-net",
    .help = "a network card (PCI 1af4:1041); -n plugs one into a network",
    .size = sizeof(struct virtio_net),
    .options = net_options,
    .bus = &virtio_bus,
    .banks = (const struct reg_bank *const[]){&virtio_common_bank, &virtio_isr_bank, &virtio_notify_bank,
                                              &net_config_bank, NULL},
    .state = net_state,
    .drops = net_drops,
    .init = virtio_net_init,
    .reset = virtio_class_reset,
    .loaded = net_loaded,
    .fini = net_fini,
};
