/* SPDX-License-Identifier: MIT
 *
 * The e1000's transmitter: 317453-006, 3.3 to 3.5. The task walks the ring from TDH on. Descriptors are read in batches, each
 * once; a packet's are gathered up to its EOP as pieces of guest memory, which are handed on as they are: only headers that
 * change (VLAN tag, checksums inserted here, segmentation) are copied. Then the packet is sent, or dropped with a reason, or
 * the peer is BUSY and TDH stays; else DD is written where RS asks for it, and TDH moves on.
 *
 * Bounds: a run takes some hundred descriptors and is then put back into the queue; a packet has at most E1000_PIECES pieces
 * and descriptors, and one that is longer is thrown away up to its EOP (tx_discard). Nothing is walked twice but a packet
 * whose end is not there yet, or whose peer was BUSY.
 */
#include "e1000_priv.h"

#include "net/offload.h"

enum {
    BATCH = 64,             /* descriptors in a read */
    RUN_DESCRIPTORS = 256,  /* of a run of the task */
    RUN_BYTES = 256 * 1024, /* the same, for who sends 64 KiB at a time */
    HEAD_MAX = 264,         /* what one byte's worth of offset can reach, a checksum and a tag */
    TAG = 4,
    ETH_ADDRESSES = 12,

    IPV4_LENGTH = 2,
    IPV4_CSUM = 10,
    IPV4_HEADER = 20,
    IPV6_LENGTH = 4,
    IPV6_HEADER = 40,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CWR = 0x80,
    TCP_CSUM = 16,
    TCP_HEADER = 20,
    UDP_LENGTH = 4,
    UDP_CSUM = 6,
    UDP_HEADER = 8,
};

/* Descriptors that were read. */
struct window {
    uint32_t first, n;
    struct tx_desc d[BATCH];
};

struct packet {
    uint32_t used;   /* descriptors */
    uint32_t len;    /* bytes, without a tag that is to be inserted */
    int n;           /* pieces, from iov[1] on; iov[0] is for a header */
    bool ext, whole; /* kind of descriptor; EOP is there */
    bool has_head;   /* iov[0] is in use */
    enum e1000_drop bad;
    struct tx_desc first, last;
    unsigned n_rs;
    struct iovec iov[E1000_PIECES + 2];
    struct {
        uint32_t at, upper, lower;
    } rs[E1000_PIECES]; /* those that want DD */
    uint8_t head[HEAD_MAX + TAG];
};
#define FINE E1000_DROPS /* packet.bad: it is not */

enum outcome {
    DONE, /* TDH moves on by used */
    WAIT, /* for EOP, for the peer, or for ever */
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static void set16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* --- the ring */

/* Descriptor `at`, of which `owned` from there on are the card's. NULL: not in RAM. */
static const struct tx_desc *window_get(struct e1000 *e, struct window *w, uint32_t at, uint32_t owned)
{
    if (at - w->first >= w->n) {
        uint32_t n = owned < BATCH ? owned : BATCH, end = ring_size(&e->tx) - at;
        if (n > end)
            n = end;
        w->n = 0;
        if (!dma_read(&e->pci.dma, ring_at(&e->tx, at), w->d, n * sizeof *w->d))
            return NULL;
        w->first = at;
        w->n = n;
    }
    return &w->d[at - w->first];
}

/* 3.3.3.2, 3.4.3: DD where RS asks for it. Returns the causes of it. */
static uint32_t write_back(struct e1000 *e, uint32_t at, uint32_t lower, uint32_t upper)
{
    upper |= TXD_STA_DD;
    if (!dma_write(&e->pci.dma, ring_at(&e->tx, at) + offsetof(struct tx_desc, upper), &upper, sizeof upper))
        e1000_drop(e, TX_RING_DMA);
    if (!(lower & TXD_IDE))
        return ICR_TXDW;
    e->tx_ide |= 2; /* the timer is started when the run is over */
    return 0;
}

/* --- gathering */

static void packet_add(struct e1000 *e, struct packet *p, const struct tx_desc *d)
{
    uint32_t length = d->lower & (p->ext ? TXD_DTALEN : 0xffff);
    uint32_t most = p->ext && p->first.lower & TXD_TSE ? PORT_FRAME_MAX - TAG : E1000_FRAME_LONG - E1000_FCS;
    if (!length || !d->addr) /* 3.3.3.1, note 3: no data */
        return;
    if (length > most - p->len) {
        p->bad = TX_LONG;
        return;
    }
    if (p->n == E1000_PIECES) {
        p->bad = TX_PIECES;
        return;
    }
    int n = dma_iov(&e->pci.dma, d->addr, length, false, &p->iov[p->n + 1], E1000_PIECES - p->n);
    if (n < 0) {
        p->bad = TX_BUFFER_DMA;
        return;
    }
    p->n += n;
    p->len += length;
}

/* Walks to the end of the packet, or of what is there. A context descriptor in front of it is a packet of its own. */
static enum outcome gather(struct e1000 *e, struct window *w, struct packet *p)
{
    uint32_t owned = ring_owned(&e->tx), at = e->tx.head;
    p->used = p->len = p->n_rs = 0;
    p->n = 0;
    p->whole = p->has_head = false;
    p->bad = FINE;
    for (; p->used < owned && p->used < E1000_PIECES; at = ring_next(&e->tx, at, 1)) {
        const struct tx_desc *d = window_get(e, w, at, owned - p->used);
        if (!d) {
            e1000_drop(e, TX_RING_DMA);
            return WAIT;
        }
        bool ext = d->lower & TXD_DEXT;
        unsigned type = ext ? d->lower >> TXD_DTYP_SHIFT & 0xf : 1;
        if (d->lower & TXD_RS) {
            p->rs[p->n_rs].at = at;
            p->rs[p->n_rs].lower = d->lower;
            p->rs[p->n_rs++].upper = d->upper;
        }
        if (p->used++ == 0) {
            if (ext && type == 0) {
                memcpy(&e->context, d, sizeof e->context);
                return DONE;
            }
            p->ext = ext;
            p->first = *d;
        }
        if (ext && type > 1)
            p->bad = TX_DTYP;
        else if (ext != p->ext || type == 0)
            p->bad = TX_MIXED;
        if (p->bad == FINE)
            packet_add(e, p, d);
        if (d->lower & TXD_EOP && type != 0) {
            p->last = *d;
            p->whole = true;
            return DONE;
        }
    }
    if (p->used == owned && owned < ring_size(&e->tx) - 1)
        return WAIT; /* the rest may come */
    p->bad = TX_PIECES;
    return DONE;
}

/* --- headers that change */

/* The first n bytes as a copy in iov[0]. */
static void take_head(struct packet *p, uint32_t n)
{
    uint32_t done = 0;
    int skip = 1;
    while (done < n) {
        struct iovec *piece = &p->iov[skip];
        size_t here = piece->iov_len < n - done ? piece->iov_len : n - done;
        memcpy(p->head + done, piece->iov_base, here);
        done += (uint32_t)here;
        piece->iov_base = (uint8_t *)piece->iov_base + here;
        piece->iov_len -= here;
        skip += piece->iov_len == 0;
    }
    if (skip > 1) {
        p->n -= skip - 1;
        memmove(&p->iov[1], &p->iov[skip], (size_t)p->n * sizeof p->iov[0]);
    }
    p->iov[0] = (struct iovec){p->head, n};
    p->has_head = true;
}

static struct iovec *pieces(struct packet *p, int *n)
{
    *n = p->n + p->has_head;
    return p->iov + !p->has_head;
}

/* A checksum over bytes css to cse (0: to the end), put at cso; its old value is part of the sum. */
static void insert_checksum(struct e1000 *e, struct packet *p, uint32_t css, uint32_t cso, uint32_t cse)
{
    int n;
    if (cse == 0 || cse >= p->len)
        cse = p->len - 1;
    if (css >= p->len || cso >= p->len - 1 || cse < css) { /* 3.3.3.1, IC */
        e1000_drop(e, TX_CSUM);
        return;
    }
    if (!p->has_head)
        take_head(p, p->len < HEAD_MAX ? p->len : HEAD_MAX);
    const struct iovec *iov = pieces(p, &n);
    uint16_t sum = (uint16_t)~offload_sum(iov, n, css, cse - css + 1);
    memcpy(p->head + cso, &sum, 2);
}

/* The same, left to who sends it, where that can be said. */
static void ask_checksum(struct e1000 *e, struct packet *p, struct port_meta *meta, uint32_t css,
                         uint32_t cso, uint32_t cse)
{
    if ((cse != 0 && cse < p->len - 1) || css < PORT_HEADER || cso < css || cso >= p->len - 1) {
        insert_checksum(e, p, css, cso, cse);
        return;
    }
    meta->flags = PORT_NEEDS_CSUM;
    meta->csum_start = (uint16_t)css;
    meta->csum_offset = (uint16_t)(cso - css);
}

/* 3.5: headers as one long packet has them, and the rest as a request. False: p->bad says why not. */
static bool segment(struct e1000 *e, struct packet *p, struct port_meta *meta)
{
    const struct tx_context *c = &e->context;
    uint32_t hdrlen = c->hdrlen, l3 = c->ipcss, l4 = c->tucss;
    bool tcp = c->lower & TXD_TUCMD_TCP, ipv4 = c->lower & TXD_TUCMD_IP;
    p->bad = TX_HDRLEN;
    if (hdrlen == 0 || hdrlen > E1000_HDRLEN_MAX || hdrlen > p->len)
        return false;
    p->bad = TX_MSS;
    if (c->mss == 0)
        return false;
    p->bad = TX_TSO_HEADERS;
    if (l3 < PORT_HEADER || l4 < l3 + (ipv4 ? IPV4_HEADER : IPV6_HEADER) ||
        hdrlen < l4 + (tcp ? TCP_HEADER : UDP_HEADER) || c->tucso != l4 + (tcp ? TCP_CSUM : UDP_CSUM) ||
        p->len - l3 > 65535)
        return false;

    take_head(p, hdrlen);
    uint8_t *h = p->head;
    if (hdrlen != l4 + (tcp ? (h[l4 + TCP_OFFSET] >> 4) * 4u : UDP_HEADER))
        return false;
    if (ipv4) {
        set16(h + l3 + IPV4_LENGTH, p->len - l3);
        if (p->first.upper & TXD_POPTS_IXSM) {
            struct iovec head = {h, hdrlen};
            set16(h + l3 + IPV4_CSUM, 0);
            uint16_t sum = (uint16_t)~offload_sum(&head, 1, l3, l4 - l3);
            memcpy(h + l3 + IPV4_CSUM, &sum, 2);
        }
    } else {
        set16(h + l3 + IPV6_LENGTH, p->len - l3 - IPV6_HEADER);
    }
    if (!tcp)
        set16(h + l4 + UDP_LENGTH, p->len - l4);
    /* the driver's sum of the pseudo header lacks the length, which differs from segment to segment (3.5.7) */
    uint32_t sum = get16(h + c->tucso) + (p->len - l4);
    set16(h + c->tucso, (sum & 0xffff) + (sum >> 16));

    meta->flags = PORT_NEEDS_CSUM;
    meta->gso_type = tcp ? (ipv4 ? PORT_GSO_TCPV4 : PORT_GSO_TCPV6) : PORT_GSO_UDP_L4;
    if (tcp && h[l4 + TCP_FLAGS] & TCP_CWR)
        meta->gso_type |= PORT_GSO_ECN;
    meta->gso_size = c->mss;
    meta->hdr_len = (uint16_t)hdrlen;
    meta->csum_start = (uint16_t)l4;
    meta->csum_offset = (uint16_t)(c->tucso - l4);
    p->bad = FINE;
    return true;
}

/* IFCS=0: the driver has put the FCS behind the frame itself; peers get frames without. */
static bool strip_fcs(struct packet *p)
{
    uint32_t crc = ~0u, left = p->len - E1000_FCS, fcs = 0;
    unsigned got = 0;
    p->bad = p->len < PORT_HEADER + E1000_FCS ? TX_SHORT : TX_FCS;
    if (p->bad == TX_SHORT)
        return false;
    for (int i = 1; i <= p->n; i++) {
        const uint8_t *bytes = p->iov[i].iov_base;
        size_t here = p->iov[i].iov_len < left ? p->iov[i].iov_len : left, all = p->iov[i].iov_len;
        crc = e1000_crc(crc, bytes, here);
        left -= (uint32_t)here;
        p->iov[i].iov_len = here;
        for (; here < all; here++)
            fcs |= (uint32_t)bytes[here] << 8 * got++;
    }
    if (~crc != fcs)
        return false;
    while (p->n && !p->iov[p->n].iov_len)
        p->n--;
    p->len -= E1000_FCS;
    p->bad = FINE;
    return true;
}

/* Everything that the descriptors ask for. False: p->bad says why not. */
static bool finish(struct e1000 *e, struct packet *p, struct port_meta *meta)
{
    const struct tx_context *c = &e->context;
    bool tse = p->ext && p->first.lower & TXD_TSE;
    const struct tx_desc *vlan = tse ? &p->first : &p->last; /* 3.3.7.1, note */
    bool tag = vlan->lower & TXD_VLE && e->ctrl & CTRL_VME;
    e1000_lint(e, LINT_VLE, vlan->lower & TXD_VLE && !tag);
    if (p->len < PORT_HEADER) {
        p->bad = TX_SHORT;
        return false;
    }
    if (!(p->last.lower & TXD_IFCS) && !tag && !tse && !strip_fcs(p))
        return false;
    if (tse) {
        stat_add(e, STAT_TSCTC, 1);
        if (!segment(e, p, meta)) {
            stat_add(e, STAT_TSCTFC, 1);
            return false;
        }
    } else if (p->ext) {
        if (p->first.upper & TXD_POPTS_IXSM)
            insert_checksum(e, p, c->ipcss, c->ipcso, c->ipcse);
        if (p->first.upper & TXD_POPTS_TXSM)
            ask_checksum(e, p, meta, c->tucss, c->tucso, c->tucse);
    } else if (p->last.lower & TXD_IC) {
        ask_checksum(e, p, meta, p->first.upper >> 8 & 0xff, p->last.lower >> 16 & 0xff, 0);
    }
    if (tag) {
        if (!p->has_head)
            take_head(p, ETH_ADDRESSES);
        memmove(p->head + ETH_ADDRESSES + TAG, p->head + ETH_ADDRESSES, p->iov[0].iov_len - ETH_ADDRESSES);
        set16(p->head + ETH_ADDRESSES, e->vet);
        set16(p->head + ETH_ADDRESSES + 2, vlan->upper >> 16);
        p->iov[0].iov_len += TAG;
        p->len += TAG;
        if (meta->flags)
            meta->csum_start = (uint16_t)(meta->csum_start + TAG);
        if (meta->gso_type)
            meta->hdr_len = (uint16_t)(meta->hdr_len + TAG);
    }
    if (p->len < E1000_FRAME_MIN && e->tctl & TCTL_PSP) {
        static uint8_t zeros[E1000_FRAME_MIN];
        p->iov[++p->n] = (struct iovec){zeros, E1000_FRAME_MIN - p->len};
        p->len = E1000_FRAME_MIN;
    }
    return true;
}

/* --- sending */

/* RCTL.LBM, or the PHY's loopback: the receiver has it at once, and its transmitter is not entered by that. */
static void loop(struct e1000 *e, const struct iovec *iov, int n, const struct port_meta *meta)
{
    struct offload o;
    uint8_t header[OFFLOAD_HEADER_MAX];
    struct iovec out[PORT_IOV_MAX + 1];
    if (offload_plan(&o, iov, n, meta) != PORT_DROP_NONE) {
        e1000_drop(e, TX_TSO_HEADERS);
        return;
    }
    for (unsigned i = 0; i < o.segments; i++) {
        int parts = offload_segment(&o, i, header, iov, n, out);
        (void)e1000_receive(e, out, parts, true, false);
    }
}

/* Segments are packets of their own here too. */
static void count_sent(struct e1000 *e, const struct packet *p, const struct port_meta *meta)
{
    uint32_t one = p->len + E1000_FCS, full = 0, n = 1;
    if (meta->gso_type && p->len > (uint32_t)meta->hdr_len + meta->gso_size) {
        uint32_t payload = p->len - meta->hdr_len;
        full = (payload - 1) / meta->gso_size;
        n = full + 1;
        one = payload - full * meta->gso_size + meta->hdr_len + E1000_FCS;
        stat_size(e, STAT_PTC64, (uint32_t)meta->hdr_len + meta->gso_size + E1000_FCS, full);
    }
    stat_size(e, STAT_PTC64, one, 1);
    stat_add(e, STAT_GPTC, n);
    stat_add(e, STAT_TPT, n);
    uint64_t bytes = p->len + (uint64_t)full * meta->hdr_len + (uint64_t)n * E1000_FCS;
    stat_add64(e, STAT_GOTCL, bytes);
    stat_add64(e, STAT_TOTL, bytes);
}

static void count_cast(struct e1000 *e, const struct iovec *iov)
{
    const uint8_t *to = iov->iov_base;
    if (!(to[0] & 1))
        return;
    /* one that begins with less than its address in one piece is counted as multicast */
    bool all = iov->iov_len >= 6 && !memcmp(to, "\xff\xff\xff\xff\xff\xff", 6);
    stat_add(e, all ? STAT_BPTC : STAT_MPTC, 1);
}

/* A whole packet. WAIT: the peer is BUSY. */
static enum outcome send(struct e1000 *e, struct packet *p)
{
    struct port_meta meta = {0};
    bool looped = e1000_looped(e);
    if (!looped && !e1000_link(e))
        p->bad = e1000_phy_link(e) ? TX_SLU : TX_LINK;
    if (p->bad != FINE || !finish(e, p, &meta)) {
        e1000_drop(e, p->bad);
        return DONE;
    }
    int n;
    struct iovec *iov = pieces(p, &n);
    if (looped) {
        loop(e, iov, n, &meta);
    } else if (port_send(&e->port, iov, n, &meta) == PORT_BUSY) {
        e->tx_waits = true;
        return WAIT;
    }
    count_cast(e, iov);
    count_sent(e, p, &meta);
    return DONE;
}

/* In the rest of a packet that was too long. */
static void discard(struct e1000 *e, struct window *w, struct packet *p)
{
    uint32_t owned = ring_owned(&e->tx), at = e->tx.head;
    p->n_rs = p->used = 0;
    while (e->tx_discard && p->used < owned && p->used < E1000_PIECES) {
        const struct tx_desc *d = window_get(e, w, at, owned - p->used);
        if (!d)
            return;
        if (d->lower & TXD_RS) {
            p->rs[p->n_rs].at = at;
            p->rs[p->n_rs].lower = d->lower;
            p->rs[p->n_rs++].upper = d->upper;
        }
        e->tx_discard = !(d->lower & TXD_EOP);
        at = ring_next(&e->tx, at, 1);
        p->used++;
    }
}

static enum outcome packet(struct e1000 *e, struct window *w, struct packet *p)
{
    if (e->tx_discard) {
        discard(e, w, p);
        return p->used ? DONE : WAIT;
    }
    enum outcome outcome = gather(e, w, p);
    if (outcome == DONE && p->whole)
        return send(e, p);
    if (outcome == DONE && p->bad != FINE) {
        e1000_drop(e, p->bad);
        e->tx_discard = 1;
    }
    return outcome;
}

/* 3.4.3.1, 13.4.44 to 13.4.46: TXDW at once, or when TIDV has passed since the last packet or TADV since the first. */
static uint32_t delay(struct e1000 *e, uint32_t causes)
{
    if (causes & ICR_TXDW || (e->tx_ide && !e->tidv)) {
        e->tx_ide = 0;
        device_timer_cancel(&e->tx_timer);
        return causes | ICR_TXDW;
    }
    if (e->tx_ide & 2) {
        uint64_t now = e1000_now(e), at = now + (uint64_t)e->tidv * DELAY_UNIT_NS;
        if (e->tx_ide == 2)
            e->tx_absolute = e->tadv ? now + (uint64_t)e->tadv * DELAY_UNIT_NS : UINT64_MAX;
        e->tx_ide = 1;
        device_timer_set(&e->tx_timer, at < e->tx_absolute ? at : e->tx_absolute);
    }
    return causes;
}

void e1000_tx_delayed(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    e->tx_ide = 0;
    e1000_cause(e, ICR_TXDW);
}

static bool may_run(struct e1000 *e)
{
    if (!(e->tctl & TCTL_EN) || e->tx.head == e->tx.tail)
        return false;
    if (!ring_sane(&e->tx))
        e1000_drop(e, TX_RING);
    else if (!pci_is_master(&e->pci))
        e1000_drop(e, TX_MASTER);
    else
        return true;
    return false;
}

void e1000_tx_run(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    struct window w;
    struct packet p;
    uint32_t descriptors = 0, bytes = 0, causes = 0;
    if (!may_run(e))
        return;
    w.n = w.first = 0;
    uint32_t low = (e->txdctl >> 25) * 8, before = ring_owned(&e->tx);
    while (e->tx.head != e->tx.tail) {
        if (descriptors >= RUN_DESCRIPTORS || bytes >= RUN_BYTES) {
            device_task_post(&e->tx_task);
            break;
        }
        p.len = 0;
        if (packet(e, &w, &p) == WAIT)
            break;
        for (unsigned i = 0; i < p.n_rs; i++)
            causes |= write_back(e, p.rs[i].at, p.rs[i].lower, p.rs[i].upper);
        e->tx.head = ring_next(&e->tx, e->tx.head, p.used);
        descriptors += p.used;
        bytes += p.len;
    }
    if (!descriptors)
        return;
    uint32_t after = ring_owned(&e->tx);
    if (after == 0)
        causes |= ICR_TXQE;
    if (low && before > low && after <= low)
        causes |= ICR_TXD_LOW;
    causes = delay(e, causes);
    if (causes)
        e1000_cause(e, causes);
}

void e1000_tx_kick(struct e1000 *e)
{
    if (!(e->tctl & TCTL_EN) || e->tx.head == e->tx.tail)
        return;
    if (e->tx_waits && e1000_link(e) && !e1000_looped(e))
        return; /* the peer will say when */
    device_task_post(&e->tx_task);
}
