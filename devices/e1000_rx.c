/* SPDX-License-Identifier: MIT
 *
 * The e1000's receiver: 317453-006, 3.2, and the filters of 13.5. A frame comes on the loop, from the port or from the
 * transmitter in loopback; its first bytes are copied once, and what they say is decided on the copy. Then: who may have it
 * (filters), how it looks in memory (tag stripped, FCS behind it), which descriptors it takes (all of them at once, or none:
 * the sender is told BUSY and tries again when there is room), and last the bytes, the descriptors and the interrupt.
 *
 * The port accepts finished frames alone: a driver that is told that a checksum is right may send the frame on, and
 * nothing then would put it in.
 */
#include "e1000_priv.h"

#include "net/offload.h"

enum {
    HEAD = 128, /* tag, SNAP, IPv4 with options, and the beginning of TCP */
    ETH_TYPE = 12,
    TAG = 4,
    SNAP = 8,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    LENGTH_MAX = 1500, /* below it is no type */
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    PROTO_TCP = 6,
    PROTO_UDP = 17,
    PAUSE_OPCODE = 1,
    DESCRIPTORS = E1000_FRAME_LONG / 256 + 1, /* of a frame, with the smallest buffers */
    BATCH = 16,
    REFILL_NS = 20 * 1000 * 1000, /* what it may take a driver to refill half of its ring */
};

struct frame {
    const struct iovec *iov;
    int n;
    uint32_t len; /* without FCS; as it goes to memory */
    uint8_t head[HEAD + TAG];
    uint16_t vlan; /* the tag that was stripped */
    uint8_t status, errors;
    uint16_t checksum;
    bool summed;        /* nobody can have changed it since its checksum was put in; */
    uint32_t summed_at; /* and that is over all from there on. 0: who knows */
};

struct plan {
    uint32_t n, buffer, end; /* descriptors, bytes in each, the head after them */
    uint32_t index[DESCRIPTORS];
    uint64_t addr[DESCRIPTORS];
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* --- filters */

/* 13.5.1: bits of the address that choose one of 4096. */
static bool in_mta(const struct e1000 *e, const uint8_t *to)
{
    static const uint8_t shift[] = {4, 3, 2, 0};
    unsigned hash = ((unsigned)(to[5] << 8 | to[4]) >> shift[e->rctl >> RCTL_MO_SHIFT & 3]) & 0xfff;
    return e->mta[hash >> 5] >> (hash & 31) & 1;
}

/* 13.5.3: AS says whether the destination or the source is compared. */
static bool in_ra(const struct e1000 *e, const uint8_t *frame)
{
    for (unsigned i = 0; i < E1000_RA; i++) {
        uint32_t low = e->ra[2 * i], high = e->ra[2 * i + 1], as = high >> RAH_AS_SHIFT & 3;
        const uint8_t *a = as == 1 ? frame + 6 : frame;
        uint32_t a_low;
        uint16_t a_high;
        memcpy(&a_low, a, 4);
        memcpy(&a_high, a + 4, 2);
        if (high & RAH_AV && as < 2 && low == a_low && (uint16_t)high == a_high)
            return true;
    }
    return false;
}

/* Whether an address filter passes it; sets PIF when that was not an exact one. */
static bool passes(const struct e1000 *e, struct frame *f)
{
    const uint8_t *to = f->head;
    bool group = to[0] & 1;
    if (in_ra(e, f->head) || (e->rctl & RCTL_BAM && !memcmp(to, "\xff\xff\xff\xff\xff\xff", 6)))
        return true;
    f->status |= RXD_STAT_PIF;
    return e->rctl & (group ? RCTL_MPE : RCTL_UPE) || (group && in_mta(e, to));
}

/* Flow control: 13.4.22, DPF and PMCF. */
static enum e1000_drop control_frame(struct e1000 *e, const struct frame *f)
{
    static const uint8_t pause_to[6] = {0x01, 0x80, 0xc2, 0, 0, 1};
    bool pause = e->ctrl & CTRL_RFCE && get16(f->head + PORT_HEADER) == PAUSE_OPCODE &&
                 (!memcmp(f->head, pause_to, 6) || in_ra(e, f->head));
    if (!pause)
        return e->rctl & RCTL_PMCF ? E1000_DROPS : RX_CONTROL;
    stat_add(e, get16(f->head + PORT_HEADER + 2) ? STAT_XOFFRXC : STAT_XONRXC, 1);
    return e->rctl & RCTL_DPF ? RX_PAUSE : E1000_DROPS;
}

/* 9.3: the VLAN filter. */
static enum e1000_drop vlan_filter(const struct e1000 *e, uint16_t tag)
{
    unsigned id = tag & 0xfff;
    if (!(e->rctl & RCTL_VFE))
        return E1000_DROPS;
    if (!(e->vfta[id >> 5] >> (id & 31) & 1))
        return RX_VLAN;
    if (e->rctl & RCTL_CFIEN && !(tag >> 12 & 1) != !(e->rctl & RCTL_CFI))
        return RX_CFI;
    return E1000_DROPS;
}

static enum e1000_drop filter(struct e1000 *e, struct frame *f)
{
    uint16_t type = get16(f->head + ETH_TYPE);
    enum e1000_drop why;
    if (type == 0x8808 && (why = control_frame(e, f)) != E1000_DROPS)
        return why;
    if (!passes(e, f)) /* a promiscuous card sees PAUSE too */
        return RX_FILTER;
    if (type == (uint16_t)e->vet && (why = vlan_filter(e, get16(f->head + PORT_HEADER))) != E1000_DROPS)
        return why;
    if (f->len + E1000_FCS > (e->rctl & RCTL_LPE ? E1000_FRAME_LONG : E1000_FRAME_STD)) {
        stat_add(e, STAT_ROC, 1);
        return RX_LONG;
    }
    return E1000_DROPS;
}

/* --- checksums (3.2.9) */

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint16_t head_sum(const struct frame *f, uint32_t from, uint32_t len)
{
    struct iovec head = {(void *)f->head, HEAD};
    return offload_sum(&head, 1, from, len);
}

/* TCP or UDP from l4 on, l4_len bytes long; `pseudo` is the sum of the addresses. `all` is that from PCSS to the end. */
static void check_l4(struct frame *f, uint32_t l4, uint32_t l4_len, uint8_t proto, uint64_t pseudo,
                     uint32_t pcss, uint16_t all)
{
    if (l4_len < 8 || l4 + 8 > HEAD || (proto == PROTO_UDP && get16(f->head + l4 + 6) == 0))
        return;
    f->status |= RXD_STAT_TCPCS;
    if (f->summed_at == l4 && l4 + l4_len == f->len)
        return;
    uint64_t sum = pseudo + __builtin_bswap16(proto) + __builtin_bswap16((uint16_t)l4_len);
    if (l4 + l4_len == f->len && pcss <= l4 && !((l4 - pcss) & 1)) /* most of it has been summed up already */
        sum += all + (uint16_t)~head_sum(f, pcss, l4 - pcss);
    else
        sum += offload_sum(f->iov, f->n, l4, l4_len);
    if (fold(sum) % 0xffff)
        f->errors |= RXD_ERR_TCPE;
}

static void check_ipv4(struct e1000 *e, struct frame *f, uint32_t l3, uint32_t pcss, uint16_t all)
{
    const uint8_t *ip = f->head + l3;
    uint32_t ihl = (ip[0] & 0xfu) * 4, len = get16(ip + 2);
    if (ip[0] >> 4 != 4 || ihl < IPV4_HEADER || l3 + ihl > HEAD || len < ihl || len > f->len - l3)
        return;
    if (e->rxcsum & RXCSUM_IPOFLD) {
        f->status |= RXD_STAT_IPCS;
        if (head_sum(f, l3, ihl) != 0xffff)
            f->errors |= RXD_ERR_IPE;
    }
    bool fragment = get16(ip + 6) & 0x3fff;
    if (e->rxcsum & RXCSUM_TUOFLD && !fragment && (ip[9] == PROTO_TCP || ip[9] == PROTO_UDP))
        check_l4(f, l3 + ihl, len - ihl, ip[9], head_sum(f, l3 + 12, 8), pcss, all);
}

static void check_ipv6(struct e1000 *e, struct frame *f, uint32_t l3, uint32_t pcss, uint16_t all)
{
    const uint8_t *ip = f->head + l3;
    uint32_t len = get16(ip + 4);
    if (ip[0] >> 4 != 6 || len > f->len - l3 - IPV6_HEADER)
        return;
    if (e->rxcsum & RXCSUM_TUOFLD && (ip[6] == PROTO_TCP || ip[6] == PROTO_UDP))
        check_l4(f, l3 + IPV6_HEADER, len, ip[6], head_sum(f, l3 + 8, 32), pcss, all);
}

/* From PCSS to the end, without looking at the text: with the addresses, protocol and length it adds up to nothing. Only for
 * headers as net/offload.h finds them. */
static bool sum_of_summed(struct frame *f, uint32_t pcss, uint16_t *all)
{
    const uint8_t *ip = f->head + PORT_HEADER;
    uint16_t type = get16(f->head + ETH_TYPE);
    bool v6 = type == TYPE_IPV6;
    if (!f->summed || (type != TYPE_IPV4 && !v6))
        return false;
    uint32_t l4 = PORT_HEADER + (v6 ? IPV6_HEADER : (ip[0] & 0xfu) * 4);
    uint8_t proto = v6 ? ip[6] : ip[9];
    uint32_t len = v6 ? IPV6_HEADER + get16(ip + 4) : get16(ip + 2);
    if (len != f->len - PORT_HEADER || pcss > l4 || (proto != PROTO_TCP && proto != PROTO_UDP))
        return false;
    uint64_t pseudo = v6 ? head_sum(f, PORT_HEADER + 8, 32) : head_sum(f, PORT_HEADER + 12, 8);
    pseudo += __builtin_bswap16(proto) + __builtin_bswap16((uint16_t)(f->len - l4));
    uint16_t text = (uint16_t)~fold(pseudo), in_head = head_sum(f, pcss, l4 - pcss);
    text = text ? text : 0xffff;
    f->summed_at = l4;
    *all = fold((uint64_t)in_head + ((l4 - pcss) & 1 ? __builtin_bswap16(text) : text));
    return true;
}

/* The packet checksum from PCSS on, always; IP's and TCP's or UDP's if asked for, through a tag and SNAP. */
static void checksums(struct e1000 *e, struct frame *f)
{
    uint32_t pcss = e->rxcsum & RXCSUM_PCSS, l3 = PORT_HEADER;
    uint16_t all = 0;
    if (pcss < f->len && !sum_of_summed(f, pcss, &all))
        all = offload_sum(f->iov, f->n, pcss, f->len - pcss);
    f->checksum = (uint16_t)~__builtin_bswap16(all);
    if (e->rxcsum & (RXCSUM_IPOFLD | RXCSUM_TUOFLD)) {
        uint16_t type = get16(f->head + ETH_TYPE);
        if (type == (uint16_t)e->vet) {
            type = get16(f->head + PORT_HEADER + 2);
            l3 += TAG;
        }
        if (type <= LENGTH_MAX && !memcmp(f->head + l3, "\xaa\xaa\x03\0\0\0", 6)) {
            type = get16(f->head + l3 + 6);
            l3 += SNAP;
        }
        if (type == TYPE_IPV4 && f->len >= l3 + IPV4_HEADER)
            check_ipv4(e, f, l3, pcss, all);
        else if (type == TYPE_IPV6 && f->len >= l3 + IPV6_HEADER)
            check_ipv6(e, f, l3, pcss, all);
    }
    if (!(f->status & (RXD_STAT_IPCS | RXD_STAT_TCPCS)))
        f->status |= RXD_STAT_IXSM;
}

/* --- memory */

static uint32_t buffer_size(const struct e1000 *e)
{
    unsigned code = e->rctl >> RCTL_BSIZE_SHIFT & 3;
    if (e->rctl & RCTL_BSEX && code) /* 13.4.22: 0 is reserved with it */
        return 32768u >> code;
    return 2048u >> code;
}

/* 3.2.6: descriptors without a buffer are given back empty. */
static void give_back_null(struct e1000 *e, uint32_t index)
{
    uint8_t status = RXD_STAT_DD;
    if (!dma_write(&e->pci.dma, ring_at(&e->rx, index) + 12, &status, 1))
        e1000_drop(e, RX_RING_DMA);
}

enum answer {
    ANSWER_YES,
    ANSWER_WAIT,
    ANSWER_DROP,
};

/* The descriptors for `bytes`. Those without a buffer are passed over. */
static enum answer plan(struct e1000 *e, uint32_t bytes, struct plan *p, enum e1000_drop *why)
{
    struct {
        uint64_t addr;
        struct rx_desc_tail tail;
    } d[BATCH];
    uint32_t size = ring_size(&e->rx);
    *why = RX_RING;
    if (!ring_sane(&e->rx))
        return ANSWER_DROP;
    p->buffer = buffer_size(e);
    uint32_t need = (bytes + p->buffer - 1) / p->buffer, owned = ring_owned(&e->rx), at = e->rx.head;
    *why = RX_RING_SMALL;
    if (need > size - 1)
        return ANSWER_DROP;
    *why = RX_RING_DMA;
    for (p->n = 0; p->n < need && owned;) {
        uint32_t chunk = need - p->n;
        chunk = chunk < owned ? chunk : owned;
        chunk = chunk < size - at ? chunk : size - at;
        chunk = chunk < BATCH ? chunk : BATCH;
        if (!dma_read(&e->pci.dma, ring_at(&e->rx, at), d, chunk * sizeof *d))
            return ANSWER_DROP;
        for (uint32_t i = 0; i < chunk; i++) {
            if (!d[i].addr)
                continue;
            p->index[p->n] = at + i;
            p->addr[p->n++] = d[i].addr;
        }
        at = ring_next(&e->rx, at, chunk);
        owned -= chunk;
    }
    p->end = at;
    if (p->n == need)
        return ANSWER_YES;
    if (!p->n) /* nothing but empty ones: they are done with */
        for (; e->rx.head != at; e->rx.head = ring_next(&e->rx, e->rx.head, 1))
            give_back_null(e, e->rx.head);
    return ANSWER_WAIT;
}

/* Where the next byte goes. */
struct writer {
    struct e1000 *e;
    const struct plan *plan;
    uint32_t d, offset;
    bool failed;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    while (len) {
        uint32_t room = w->plan->buffer - w->offset;
        size_t here = len < room ? len : room;
        uint64_t addr = w->plan->addr[w->d];
        if (addr > UINT64_MAX - w->offset || !dma_write(&w->e->pci.dma, addr + w->offset, from, here))
            w->failed = true;
        from += here;
        len -= here;
        w->offset += (uint32_t)here;
        if (w->offset == w->plan->buffer) {
            w->d++;
            w->offset = 0;
        }
    }
}

static void put_fcs(struct e1000 *e, struct writer *w, struct frame *f)
{
    uint32_t fcs = 0;
    if (e->fcs) {
        fcs = ~0u;
        for (int i = 0; i < f->n; i++)
            fcs = e1000_crc(fcs, f->iov[i].iov_base, f->iov[i].iov_len);
        fcs = ~fcs;
        /* the packet checksum has it in, where it is not stripped */
        struct iovec piece = {&fcs, sizeof fcs};
        uint16_t sum = offload_sum(&piece, 1, 0, sizeof fcs);
        bool odd = (f->len - (e->rxcsum & RXCSUM_PCSS)) & 1;
        sum = odd ? sum : __builtin_bswap16(sum);
        f->checksum = (uint16_t)~fold((uint64_t)(uint16_t)~f->checksum + sum);
    }
    put(w, &fcs, sizeof fcs);
}

/* Bytes, then descriptors, in their order, then RDH: who polls DD finds the packet behind it. */
static void deliver(struct e1000 *e, struct frame *f, const struct plan *p, bool fcs)
{
    struct writer w = {.e = e, .plan = p};
    uint32_t left = f->len + (fcs ? E1000_FCS : 0), next = 0;
    for (int i = 0; i < f->n; i++)
        put(&w, f->iov[i].iov_base, f->iov[i].iov_len);
    if (fcs)
        put_fcs(e, &w, f);
    if (w.failed) {
        e1000_drop(e, RX_BUFFER_DMA);
        f->errors |= RXD_ERR_RXE;
    }
    for (uint32_t at = e->rx.head; at != p->end; at = ring_next(&e->rx, at, 1)) {
        if (p->index[next] != at) {
            give_back_null(e, at);
            continue;
        }
        bool last = ++next == p->n;
        struct rx_desc_tail tail = {.length = (uint16_t)(last ? left : p->buffer), .status = RXD_STAT_DD};
        if (last) {
            tail.status |= RXD_STAT_EOP | f->status;
            tail.errors = f->errors;
            tail.checksum = f->checksum;
            tail.special = f->vlan;
        }
        left -= tail.length;
        if (!dma_write(&e->pci.dma, ring_at(&e->rx, at) + 8, &tail, sizeof tail))
            e1000_drop(e, RX_RING_DMA);
        if (last) /* all that comes behind it is the next packet's */
            break;
    }
    e->rx.head = p->end;
}

/* --- interrupts: 3.2.7, 13.4.30, 13.4.31 */

static void interrupt(struct e1000 *e, uint32_t owned_before, uint32_t len)
{
    uint32_t causes = 0, threshold = ring_size(&e->rx) >> (1 + (e->rctl >> RCTL_RDMTS_SHIFT & 3));
    if (owned_before > threshold && ring_owned(&e->rx) <= threshold)
        causes |= ICR_RXDMT0;
    if (len <= e->rsrpd)
        causes |= ICR_SRPD;
    if (!e->rdtr) {
        causes |= ICR_RXT0;
    } else {
        uint64_t now = e1000_now(e), at = now + (uint64_t)e->rdtr * DELAY_UNIT_NS;
        if (!e->rx_timed)
            e->rx_absolute = e->radv ? now + (uint64_t)e->radv * DELAY_UNIT_NS : UINT64_MAX;
        e->rx_timed = 1;
        device_timer_set(&e->rx_timer, at < e->rx_absolute ? at : e->rx_absolute);
    }
    if (causes)
        e1000_cause(e, causes);
}

void e1000_rx_delayed(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    e->rx_timed = 0;
    e1000_cause(e, ICR_RXT0);
}

void e1000_rx_flush(struct e1000 *e)
{
    if (!e->rx_timed)
        return;
    device_timer_cancel(&e->rx_timer);
    e1000_rx_delayed(&e->pci.dev);
}

/* --- the whole */

static enum port_result drop(struct e1000 *e, enum e1000_drop why)
{
    e1000_drop(e, why);
    return PORT_SENT;
}

static void count_received(struct e1000 *e, const struct frame *f, uint32_t len)
{
    stat_add(e, STAT_GPRC, 1);
    stat_add64(e, STAT_GORCL, len);
    stat_size(e, STAT_PRC64, len, 1);
    if (f->head[0] & 1)
        stat_add(e, memcmp(f->head, "\xff\xff\xff\xff\xff\xff", 6) ? STAT_MPRC : STAT_BPRC, 1);
}

/* 9.2: the tag goes from the frame into the descriptor. `out` has n + 1 pieces. */
static void strip(struct frame *f, struct iovec *out)
{
    size_t skip = ETH_TYPE + TAG;
    int n = 1;
    f->vlan = get16(f->head + PORT_HEADER);
    f->status |= RXD_STAT_VP;
    memmove(f->head + ETH_TYPE, f->head + ETH_TYPE + TAG, HEAD - ETH_TYPE);
    out[0] = (struct iovec){f->head, ETH_TYPE};
    for (int i = 0; i < f->n; i++) {
        size_t here = f->iov[i].iov_len;
        if (skip >= here) {
            skip -= here;
            continue;
        }
        out[n++] = (struct iovec){(uint8_t *)f->iov[i].iov_base + skip, here - skip};
        skip = 0;
    }
    f->iov = out;
    f->n = n;
    f->len -= TAG;
}

static void copy_head(struct frame *f)
{
    size_t got = 0;
    for (int i = 0; i < f->n && got < sizeof f->head; i++) {
        size_t room = sizeof f->head - got, here = f->iov[i].iov_len < room ? f->iov[i].iov_len : room;
        memcpy(f->head + got, f->iov[i].iov_base, here);
        got += here;
    }
    memset(f->head + got, 0, sizeof f->head - got);
}

enum e1000_drop e1000_rx_closed(const struct e1000 *e, bool looped)
{
    if (!looped && !e1000_link(e))
        return e1000_phy_link(e) ? RX_SLU : RX_LINK;
    if (!(e->rctl & RCTL_EN))
        return RX_DISABLED;
    return pci_is_master(&e->pci) ? E1000_DROPS : RX_MASTER;
}

enum port_result e1000_receive(struct e1000 *e, const struct iovec *iov, int n, bool looped, bool summed)
{
    struct frame f;
    uint8_t short_one[E1000_FRAME_MIN];
    struct iovec padded, stripped[PORT_IOV_MAX + 2];
    struct plan p;
    enum e1000_drop why;
    if ((why = e1000_rx_closed(e, looped)) != E1000_DROPS)
        return drop(e, why);

    f.iov = iov;
    f.n = n;
    f.len = (uint32_t)offload_length(iov, n);
    f.status = f.errors = 0;
    f.summed = summed;
    f.summed_at = 0;
    f.vlan = 0;
    copy_head(&f);
    if (f.len < E1000_FRAME_MIN) { /* on a wire it would have been padded */
        f.len = E1000_FRAME_MIN;
        padded = (struct iovec){f.head, f.len};
        f.iov = &padded;
        f.n = 1;
    }
    uint32_t wire = f.len + E1000_FCS;
    if ((why = filter(e, &f)) != E1000_DROPS)
        return drop(e, why);
    if (e->ctrl & CTRL_VME && get16(f.head + ETH_TYPE) == (uint16_t)e->vet) {
        if (f.iov == &padded) { /* it lies in the head, which is about to change */
            memcpy(short_one, f.head, sizeof short_one);
            padded.iov_base = short_one;
        }
        strip(&f, stripped);
    }
    bool fcs = !(e->rctl & RCTL_SECRC);
    switch (plan(e, f.len + (fcs ? E1000_FCS : 0), &p, &why)) {
    case ANSWER_DROP:
        return drop(e, why);
    case ANSWER_WAIT:
        if (!looped) {
            stat_add(e, STAT_RNBC, !e->rx_waits);
            e->rx_waits = true;
            e->rx_eager = false;
            e->rx_had = ring_owned(&e->rx);
            device_timer_set(&e->refill_timer, e1000_now(e) + REFILL_NS);
            return PORT_BUSY;
        }
        stat_add(e, STAT_MPC, 1);
        e1000_cause(e, ICR_RXO);
        return drop(e, RX_OVERRUN);
    case ANSWER_YES:
        break;
    }
    stat_add(e, STAT_TPR, 1);
    stat_add64(e, STAT_TORL, wire);
    checksums(e, &f);
    uint32_t owned = ring_owned(&e->rx);
    deliver(e, &f, &p, fcs);
    count_received(e, &f, wire);
    interrupt(e, owned, wire);
    return PORT_SENT;
}

/* Drivers give buffers back a few at a time (Linux: 16), and each would wake the loop for a handful of frames. Half of all that
 * this driver ever gave is worth it; with less they come when the time is up. A guest that gives none wakes nobody. */
void e1000_rx_refilled(struct e1000 *e)
{
    uint32_t owned = ring_owned(&e->rx);
    if (owned > e->rx_most)
        e->rx_most = owned;
    if (e->rx_waits && (e->rx_eager || owned >= e->rx_most / 2))
        e1000_rx_kick(e);
}

void e1000_rx_waited(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    e->rx_eager = true;
    if (ring_owned(&e->rx) != e->rx_had)
        e1000_rx_kick(e);
}

void e1000_rx_kick(struct e1000 *e)
{
    if (!e->rx_waits)
        return;
    e->rx_waits = false;
    device_timer_cancel(&e->refill_timer);
    port_ready(&e->port);
}
