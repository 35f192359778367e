// SPDX-License-Identifier: MIT
/* virtio-net's control queue: a command is a class and a number, what goes with it, and one byte for the answer. Commands
 * are one table; each reads what it needs from the driver's pieces, once. Source: virtio 1.2, 5.1.6.5. */
#include "virtio/net_priv.h"

#include <string.h>

#include "kvm/host/log.h"
#include "mem/watch.h"

enum {
    VIRTIO_NET_OK = 0,
    VIRTIO_NET_ERR = 1,

    CTRL_RX = 0, /* classes */
    CTRL_MAC = 1,
    CTRL_VLAN = 2,
    CTRL_ANNOUNCE = 3,
    CTRL_MQ = 4,
    CTRL_GUEST_OFFLOADS = 5,

    HEADER = 2,
};

/* ---- filters */

void net_filter_reset(struct virtio_net *n)
{
    memset(&n->filter, 0, sizeof n->filter);
    n->filter.promisc = 1; /* until the driver says what it wants */
}

static bool listed(const uint8_t (*table)[ETHER_ADDRESS], unsigned n, const uint8_t *address)
{
    while (n--)
        if (!memcmp(table[n], address, ETHER_ADDRESS))
            return true;
    return false;
}

static bool address_wanted(const struct virtio_net *n, const uint8_t *to)
{
    static const uint8_t everybody[ETHER_ADDRESS] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct net_filter *f = &n->filter;
    if (f->promisc)
        return true;
    if (!memcmp(to, everybody, sizeof everybody))
        return !f->nobcast;
    if (to[0] & 1)
        return !f->nomulti && (f->allmulti || f->multi_all || listed(f->multi, f->n_multi, to));
    return !f->nouni &&
           (f->alluni || f->uni_all || !memcmp(to, n->mac, sizeof n->mac) || listed(f->uni, f->n_uni, to));
}

bool net_wanted(struct virtio_net *n, const struct iovec *iov, int n_iov)
{
    uint8_t head[ETHER_TAGGED] = {0};
    ether_head(iov, n_iov, head, sizeof head);
    if (!address_wanted(n, head)) {
        device_drop(&n->v.pci.dev, NET_DROP_FILTER);
        return false;
    }
    unsigned vlan = (head[14] & 15u) << 8 | head[15];
    if (virtio_has(&n->v, VIRTIO_NET_F_CTRL_VLAN) && !n->filter.promisc &&
        (head[12] << 8 | head[13]) == ETHER_TYPE_VLAN && !(n->filter.vlans[vlan / 64] >> vlan % 64 & 1)) {
        device_drop(&n->v.pci.dev, NET_DROP_VLAN);
        return false;
    }
    return true;
}

void net_accept(struct virtio_net *n)
{
    static const struct {
        uint64_t features;
        uint8_t port;
    } bits[] = {
        {1ull << VIRTIO_NET_F_GUEST_CSUM,                                   PORT_ACCEPT_CSUM},
        {1ull << VIRTIO_NET_F_GUEST_TSO4,                                   PORT_ACCEPT_TSO4},
        {1ull << VIRTIO_NET_F_GUEST_TSO6,                                   PORT_ACCEPT_TSO6},
        {1ull << VIRTIO_NET_F_GUEST_ECN,                                    PORT_ACCEPT_ECN },
        {1ull << VIRTIO_NET_F_GUEST_USO4 | 1ull << VIRTIO_NET_F_GUEST_USO6, PORT_ACCEPT_USO },
    };
    unsigned accepts = 0;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if ((n->offloads & bits[i].features) == bits[i].features)
            accepts |= bits[i].port;
    accepts = accepts & PORT_ACCEPT_CSUM ? accepts : 0;
    port_accept(&n->port, (uint8_t)accepts);
    if (n->vhost)
        vhost_offload(n->vhost, (uint8_t)accepts);
}

/* ---- commands: false is VIRTIO_NET_ERR. c: the whole command, two bytes of header included. */

static bool rx_mode(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    uint8_t *const flags[] = {&n->filter.promisc, &n->filter.allmulti, &n->filter.alluni,
                              &n->filter.nomulti, &n->filter.nouni,    &n->filter.nobcast};
    uint8_t on;
    if (c->out_len != HEADER + sizeof on || virtq_copy_out(c, HEADER, &on, sizeof on) != sizeof on)
        return false;
    *flags[number] = on != 0;
    return true;
}

/* Two tables, unicast and multicast: a count and as many addresses. Nothing changes unless both are whole. */
static bool mac_table_set(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    struct net_filter f = n->filter;
    struct {
        uint8_t (*table)[ETHER_ADDRESS];
        uint8_t *n, *all;
    } const parts[] = {
        {f.uni,   &f.n_uni,   &f.uni_all  },
        {f.multi, &f.n_multi, &f.multi_all},
    };
    uint64_t at = HEADER;
    (void)number;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t count;
        if (virtq_copy_out(c, at, &count, sizeof count) != sizeof count)
            return false;
        at += sizeof count;
        if ((uint64_t)count * ETHER_ADDRESS > c->out_len - at)
            return false;
        uint32_t kept = count <= NET_MAC_TABLE ? count : 0;
        *parts[i].all = count > NET_MAC_TABLE;
        *parts[i].n = (uint8_t)kept;
        virtq_copy_out(c, at, parts[i].table, kept * ETHER_ADDRESS);
        at += (uint64_t)count * ETHER_ADDRESS;
    }
    if (at != c->out_len)
        return false;
    n->filter = f;
    return true;
}

static bool mac_address_set(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    uint8_t mac[ETHER_ADDRESS];
    (void)number;
    if (c->out_len != HEADER + sizeof mac || virtq_copy_out(c, HEADER, mac, sizeof mac) != sizeof mac)
        return false;
    memcpy(n->mac, mac, sizeof mac);
    return true;
}

static bool vlan(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    uint16_t id;
    if (c->out_len != HEADER + sizeof id || virtq_copy_out(c, HEADER, &id, sizeof id) != sizeof id ||
        id >= NET_VLANS)
        return false;
    if (number == 0)
        n->filter.vlans[id / 64] |= 1ull << id % 64;
    else
        n->filter.vlans[id / 64] &= ~(1ull << id % 64);
    return true;
}

static bool announced(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    (void)c, (void)number;
    n->status &= (uint16_t)~VIRTIO_NET_S_ANNOUNCE;
    return true;
}

void net_set_pairs(struct virtio_net *n, uint16_t pairs)
{
    n->pairs = pairs;
    memset(n->flows, 0, sizeof n->flows);
    net_fed(n); /* whoever waits for buffers on a pair that is not used any more would wait for ever */
    if (n->vhost)
        vhost_set_pairs(n->vhost, pairs);
}

static bool pairs_set(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    uint16_t pairs;
    (void)number;
    if (c->out_len != HEADER + sizeof pairs ||
        virtq_copy_out(c, HEADER, &pairs, sizeof pairs) != sizeof pairs || pairs == 0 || pairs > n->max_pairs)
        return false;
    net_set_pairs(n, pairs);
    return true;
}

static bool offloads_set(struct virtio_net *n, const struct virtq_chain *c, unsigned number)
{
    static const uint64_t known = 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
                                  1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN |
                                  1ull << VIRTIO_NET_F_GUEST_USO4 | 1ull << VIRTIO_NET_F_GUEST_USO6;
    uint64_t want;
    (void)number;
    if (c->out_len != HEADER + sizeof want || virtq_copy_out(c, HEADER, &want, sizeof want) != sizeof want ||
        want & ~(known & n->v.accepted))
        return false;
    n->offloads = want;
    net_accept(n);
    return true;
}

static const struct command {
    uint8_t class, first, last, feature;
    bool (*run)(struct virtio_net *n, const struct virtq_chain *c, unsigned number);
} commands[] = {
    {CTRL_RX,             0, 1, VIRTIO_NET_F_CTRL_RX,             rx_mode        },
    {CTRL_RX,             2, 5, VIRTIO_NET_F_CTRL_RX_EXTRA,       rx_mode        },
    {CTRL_MAC,            0, 0, VIRTIO_NET_F_CTRL_RX,             mac_table_set  },
    {CTRL_MAC,            1, 1, VIRTIO_NET_F_CTRL_MAC_ADDR,       mac_address_set},
    {CTRL_VLAN,           0, 1, VIRTIO_NET_F_CTRL_VLAN,           vlan           },
    {CTRL_ANNOUNCE,       0, 0, VIRTIO_NET_F_GUEST_ANNOUNCE,      announced      },
    {CTRL_MQ,             0, 0, VIRTIO_NET_F_MQ,                  pairs_set      },
    {CTRL_GUEST_OFFLOADS, 0, 0, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, offloads_set   },
};

static bool run(struct virtio_net *n, const struct virtq_chain *c)
{
    uint8_t head[HEADER];
    if (virtq_copy_out(c, 0, head, sizeof head) != sizeof head)
        return false;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].class == head[0] && head[1] >= commands[i].first && head[1] <= commands[i].last &&
            virtio_has(&n->v, commands[i].feature))
            return commands[i].run(n, c, head[1]);
    return false;
}

void net_control(struct virtio_net *n, struct virtq *q)
{
    struct virtq_chain c = {.iov = n->tx_iov, .room = VIRTIO_NET_QUEUE + VIRTQ_SPARE};
    while (virtq_pop(q, &c)) {
        uint8_t answer = run(n, &c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
        if (!c.in_len)
            guest_bug("%s: a command without room for its answer", n->v.pci.dev.id);
        virtq_push(q, &c, (uint32_t)virtq_copy_in(&c, 0, &answer, sizeof answer));
    }
}
