// SPDX-License-Identifier: MIT
/* virtio-vsock, the guest's side: packets, credit, and who is whom. See include/virtio/vsock.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mem/watch.h"
#include "virtio/vsock_priv.h"

enum {
    RX,
    TX,
    EVENT,
    EVENT_QUEUE = 16,
    TRANSPORT_RESET = 0, /* 5.10.6.7 */
};

enum vsock_drop {
    DROP_SHORT,
    DROP_STRANGER,
    DROP_WRITABLE,
    DROP_CREDIT,
};
static const char *const vsock_drops[] = {
    [DROP_SHORT] = "tx drop: shorter than the header says",
    [DROP_STRANGER] = "tx drop: not from the guest's own CID",
    [DROP_WRITABLE] = "tx drop: a buffer to be written",
    [DROP_CREDIT] = "connection reset: more bytes than its credit",
    NULL,
};

struct vsock_conn *vsock_find(struct vsock *vs, uint32_t host_port, uint32_t guest_port)
{
    for (struct vsock_conn *c = vs->conns; c < vs->conns + VSOCK_CONNS; c++)
        if (c->state > VSOCK_GREETING && c->host_port == host_port && c->guest_port == guest_port)
            return c;
    return NULL;
}

/* --- to the guest */

void vsock_say(struct vsock_conn *c, unsigned what)
{
    struct vsock *vs = c->vs;
    c->say |= what;
    if (!c->say || c->queued)
        return;
    c->queued = true;
    c->next = NULL;
    *vs->last = c;
    vs->last = &c->next;
}

static struct vsock_conn *take_first(struct vsock *vs)
{
    struct vsock_conn *c = vs->first;
    if (!c)
        return NULL;
    vs->first = c->next;
    if (!vs->first)
        vs->last = &vs->first;
    c->queued = false;
    return c;
}

static void fill(struct vsock_conn *c, struct vsock_header *h, unsigned op)
{
    *h = (struct vsock_header){
        .src_cid = VSOCK_CID_HOST,
        .dst_cid = c->vs->cid,
        .src_port = c->host_port,
        .dst_port = c->guest_port,
        .type = VSOCK_TYPE_STREAM,
        .op = (uint16_t)op,
        .buf_alloc = VSOCK_BUFFER,
        .fwd_cnt = c->fwd,
    };
    c->told = c->fwd;
}

/* From the socket into the driver's buffers behind the header, as far as the guest's credit goes. 0: nothing to say. */
static uint32_t read_data(struct vsock_conn *c, const struct virtq_chain *chain, struct vsock_header *h)
{
    struct vsock *vs = c->vs;
    uint32_t credit = vsock_credit(c), room = chain->in_len - (uint32_t)sizeof *h, total = 0;
    struct iovec *iov = vs->iov;
    uint16_t n = chain->in_n;
    if (room > credit)
        room = credit;
    if (!room)
        return 0;
    memcpy(iov, chain->iov + chain->out_n, n * sizeof *iov);
    virtq_skip(&iov, &n, sizeof *h);
    for (uint16_t i = 0; i < n; i++) {
        if (iov[i].iov_len > room - total)
            iov[i].iov_len = room - total;
        total += (uint32_t)iov[i].iov_len;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    ssize_t got = recvmsg(c->fd, &msg, MSG_DONTWAIT);
    if (got > 0) {
        fill(c, h, VSOCK_OP_RW);
        h->len = (uint32_t)got;
        c->sent += (uint32_t)got;
        return (uint32_t)sizeof *h + h->len;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    c->eof = true;
    c->hup |= got < 0;
    vsock_say(c, VSOCK_SAY_SHUTDOWN);
    return 0;
}

/* The next packet of this connection into the chain: its bytes, or 0: it has nothing to say any more. */
static uint32_t next_packet(struct vsock_conn *c, const struct virtq_chain *chain, struct vsock_header *h)
{
    static const struct {
        unsigned say, op;
    } plain[] = {
        {VSOCK_SAY_REQUEST,  VSOCK_OP_REQUEST },
        {VSOCK_SAY_RESPONSE, VSOCK_OP_RESPONSE},
    };
    uint32_t len;
    if (c->say & VSOCK_SAY_RST) {
        fill(c, h, VSOCK_OP_RST);
        c->say = 0;
        vsock_release(c);
        return sizeof *h;
    }
    for (unsigned i = 0; i < 2; i++)
        if (c->say & plain[i].say) {
            c->say &= ~plain[i].say;
            fill(c, h, plain[i].op);
            return sizeof *h;
        }
    if (c->say & VSOCK_SAY_DATA) {
        if ((len = read_data(c, chain, h)))
            return len;
        c->say &= ~(unsigned)VSOCK_SAY_DATA;
        vsock_arm(c);
    }
    if (c->say & VSOCK_SAY_SHUTDOWN) {
        c->say &= ~(unsigned)VSOCK_SAY_SHUTDOWN;
        fill(c, h, VSOCK_OP_SHUTDOWN);
        h->flags = VSOCK_SHUTDOWN_SEND | (c->hup ? VSOCK_SHUTDOWN_RCV : 0);
        if (c->hup)
            vsock_deadline(c, VSOCK_PATIENCE);
        return sizeof *h;
    }
    if (c->say & VSOCK_SAY_CREDIT) {
        c->say &= ~(unsigned)VSOCK_SAY_CREDIT;
        fill(c, h, VSOCK_OP_CREDIT_UPDATE);
        return sizeof *h;
    }
    return 0;
}

/* The next packet of all, in turn. */
static uint32_t produce(struct vsock *vs, const struct virtq_chain *chain, struct vsock_header *h)
{
    if (vs->resets_used) {
        *h = vs->resets[vs->resets_head];
        vs->resets_head = (vs->resets_head + 1) % VSOCK_RESETS;
        vs->resets_used--;
        return sizeof *h;
    }
    for (struct vsock_conn *c; (c = take_first(vs));) {
        uint32_t len = next_packet(c, chain, h);
        if (c->say)
            vsock_say(c, 0);
        if (len)
            return len;
    }
    return 0;
}

void vsock_pump(struct vsock *vs)
{
    struct virtq *q = vsock_rx(vs);
    struct virtq_chain chain = {.iov = vs->rx_iov, .room = VSOCK_PIECES};
    unsigned n;
    if (!virtio_is_live(&vs->v))
        return;
    for (n = 0; n < VSOCK_QUEUE && (vs->first || vs->resets_used) && virtq_pop(q, &chain); n++) {
        struct vsock_header h;
        if (chain.in_len <= sizeof h || chain.out_n) {
            virtq_break(q, "a receive buffer that has no room for a packet");
            break;
        }
        uint32_t len = produce(vs, &chain, &h);
        if (!len) {
            const struct virtq_chain *back = &chain;
            virtq_unpop(q, &back, 1);
            break;
        }
        virtq_copy_in(&chain, 0, &h, sizeof h);
        virtq_push(q, &chain, len);
        vs->packets_out++;
    }
    virtio_flush(&vs->v, q);
    if (n == VSOCK_QUEUE) /* others want the loop, too */
        virtio_turn(&vs->v, q);
    if (vs->tx_waits && vs->resets_used < VSOCK_RESETS) {
        vs->tx_waits = false;
        virtio_turn(&vs->v, virtio_queue(&vs->v, TX));
    }
}

/* --- from the guest */

/* To a packet that belongs to nobody; never to a reset. */
static void refuse(struct vsock *vs, const struct vsock_header *in)
{
    if (in->op == VSOCK_OP_RST)
        return;
    vs->resets[(vs->resets_head + vs->resets_used++) % VSOCK_RESETS] = (struct vsock_header){
        .src_cid = in->dst_cid,
        .dst_cid = vs->cid,
        .src_port = in->dst_port,
        .dst_port = in->src_port,
        .type = in->type,
        .op = VSOCK_OP_RST,
    };
}

static void request(struct vsock *vs, const struct vsock_header *h)
{
    bool room = vs->n_conns < VSOCK_CONNS;
    int fd = room ? vsock_connect(vs, h->dst_port) : -1;
    bool busy = room && fd < 0 && errno == EAGAIN;
    struct vsock_conn *c = fd < 0 && !busy ? NULL : vsock_take(vs, fd, busy ? VSOCK_CALLING : VSOCK_OPEN);
    if (!c) {
        refuse(vs, h);
        return;
    }
    c->host_port = h->dst_port;
    c->guest_port = h->src_port;
    c->peer_alloc = h->buf_alloc;
    c->peer_fwd = h->fwd_cnt;
    if (busy)
        return;
    vsock_say(c, VSOCK_SAY_RESPONSE);
    vsock_arm(c);
}

static void data(struct vsock_conn *c, const struct vsock_header *h, struct iovec *iov, uint16_t n)
{
    if (h->len > VSOCK_BUFFER - (c->got - c->fwd)) {
        device_drop(&c->vs->v.pci.dev, DROP_CREDIT);
        vsock_reset_conn(c);
        return;
    }
    c->got += h->len;
    if (c->closed & VSOCK_SHUTDOWN_SEND || !vsock_write(c, iov, n, h->len))
        vsock_reset_conn(c);
}

static void shut(struct vsock_conn *c, uint32_t flags)
{
    c->closed |= (uint8_t)(flags & (VSOCK_SHUTDOWN_RCV | VSOCK_SHUTDOWN_SEND));
    if (c->closed & VSOCK_SHUTDOWN_RCV) {
        c->eof = true; /* nobody reads it */
        c->say &= ~(unsigned)VSOCK_SAY_DATA;
    }
    if (c->closed & VSOCK_SHUTDOWN_SEND && !c->used)
        shutdown(c->fd, SHUT_WR);
    if (c->closed == (VSOCK_SHUTDOWN_RCV | VSOCK_SHUTDOWN_SEND)) {
        if (!c->used)
            vsock_reset_conn(c); /* 5.10.6.6: so both know */
        else
            vsock_deadline(c, VSOCK_PATIENCE);
    }
    vsock_arm(c);
}

static void packet(struct vsock *vs, const struct vsock_header *h, struct iovec *iov, uint16_t n)
{
    struct vsock_conn *c = vsock_find(vs, h->dst_port, h->src_port);
    if (h->dst_cid != VSOCK_CID_HOST || h->type != VSOCK_TYPE_STREAM || (!c && h->op != VSOCK_OP_REQUEST)) {
        refuse(vs, h);
        return;
    }
    if (!c) {
        request(vs, h);
        return;
    }
    if (c->say & VSOCK_SAY_RST) /* it is over, and the guest hears of it */
        return;
    c->peer_alloc = h->buf_alloc;
    c->peer_fwd = h->fwd_cnt;
    if (h->op == VSOCK_OP_RST) {
        c->say = 0;
        vsock_release(c);
    } else if (c->state == VSOCK_ASKING || c->state == VSOCK_CALLING) {
        if (c->state == VSOCK_ASKING && h->op == VSOCK_OP_RESPONSE)
            vsock_opened(c);
        else
            vsock_reset_conn(c);
    } else if (h->op == VSOCK_OP_RW) {
        data(c, h, iov, n);
    } else if (h->op == VSOCK_OP_SHUTDOWN) {
        shut(c, h->flags);
    } else if (h->op == VSOCK_OP_CREDIT_REQUEST) {
        vsock_say(c, VSOCK_SAY_CREDIT);
    } else if (h->op != VSOCK_OP_CREDIT_UPDATE) {
        vsock_reset_conn(c);
    }
    if (c->state == VSOCK_OPEN)
        vsock_arm(c); /* its credit may be another */
}

static void transmit(struct vsock *vs, struct virtq *q)
{
    struct virtq_chain chain = {.iov = vs->tx_iov, .room = VSOCK_PIECES};
    struct device *dev = &vs->v.pci.dev;
    while (!(vs->tx_waits = vs->resets_used == VSOCK_RESETS) && virtq_pop(q, &chain)) {
        struct vsock_header h;
        struct iovec *iov = chain.iov;
        uint16_t n = chain.out_n;
        size_t got = virtq_copy_out(&chain, 0, &h, sizeof h);
        vs->packets_in++;
        if (chain.in_n) {
            device_drop(dev, DROP_WRITABLE);
        } else if (got < sizeof h || h.len > chain.out_len - sizeof h) {
            device_drop(dev, DROP_SHORT);
        } else if (h.src_cid != vs->cid) {
            device_drop(dev, DROP_STRANGER);
        } else {
            virtq_skip(&iov, &n, sizeof h);
            packet(vs, &h, iov, n);
        }
        virtq_push(q, &chain, 0);
    }
    vsock_pump(vs);
}

/* --- the device */

static void event(struct vsock *vs, struct virtq *q)
{
    static const uint32_t id = TRANSPORT_RESET;
    struct virtq_chain chain = {.iov = vs->rx_iov, .room = VSOCK_PIECES};
    if (!vs->told_reset || !virtq_pop(q, &chain))
        return;
    vs->told_reset = false;
    virtq_push(q, &chain, (uint32_t)virtq_copy_in(&chain, 0, &id, sizeof id));
}

static void vsock_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct vsock *vs = (struct vsock *)v;
    if (q->index == RX)
        vsock_pump(vs);
    else if (q->index == TX)
        transmit(vs, q);
    else
        event(vs, q);
}

static void forget(struct vsock *vs)
{
    for (unsigned i = 0; i < VSOCK_CONNS; i++)
        if (vs->conns[i].state != VSOCK_FREE)
            vsock_release(&vs->conns[i]);
    vs->resets_used = 0;
    vs->tx_waits = false;
}

static void vsock_clear(struct device *dev)
{
    struct vsock *vs = (struct vsock *)dev;
    forget(vs);
    if (vs->v.resetting)
        virtio_reset_done(&vs->v);
}

/* Sockets are closed on the loop, a reset is written by a vCPU. */
static bool vsock_reset(struct virtio_device *v)
{
    struct vsock *vs = (struct vsock *)v;
    vs->told_reset = false;
    vs->resets_used = 0;
    if (!vs->n_conns)
        return true;
    device_task_post(&vs->clear);
    return false;
}

static const char *vsock_loaded(struct virtio_device *v)
{
    struct vsock *vs = (struct vsock *)v;
    vs->told_reset = true;
    return NULL;
}

static void vsock_fini(struct virtio_device *v)
{
    struct vsock *vs = (struct vsock *)v;
    forget(vs);
    vsock_unlisten(vs);
    free(vs->rings);
}

static const struct virtio_type vsock_type = {
    .id = 19,
    .pci_class = 0x078000, /* communication, of no other kind */
    .features = 1,         /* VIRTIO_VSOCK_F_STREAM */
    .queue_ready = vsock_queue_ready,
    .reset = vsock_reset,
    .loaded = vsock_loaded,
    .fini = vsock_fini,
};

static const char *vsock_init(struct device *dev, struct board *board)
{
    struct vsock *vs = (struct vsock *)dev;
    vs->last = &vs->first;
    vs->next_port = VSOCK_FIRST_PORT;
    vs->cid = vs->cid_option;
    if (!vs->cid_option)
        return "cid= is missing (3 or higher: the guest's own number)";
    if (!vs->path)
        return "path= is missing (the Unix socket at which the host's programs reach it)";
    const char *error = vsock_listen(vs, dev->error, sizeof dev->error);
    if (error)
        return error;
    vs->rings = calloc(VSOCK_CONNS, VSOCK_BUFFER); /* touched as they are used */
    if (!vs->rings)
        return "no memory for its connections";
    device_task_init(dev, &vs->clear, vsock_clear);
    device_timer_init(dev, &vs->patience, vsock_impatient);
    for (unsigned i = 0; i < VSOCK_CONNS; i++)
        vs->conns[i] = (struct vsock_conn){
            .vs = vs, .fd = -1, .deadline = LOOP_NEVER, .ring = vs->rings + (size_t)i * VSOCK_BUFFER};
    virtio_add_queue(&vs->v, VSOCK_QUEUE);
    virtio_add_queue(&vs->v, VSOCK_QUEUE);
    virtio_add_queue(&vs->v, EVENT_QUEUE);
    return virtio_init(&vs->v, board, &vsock_type);
}

static void vsock_stats(struct device *dev, FILE *out)
{
    const struct vsock *vs = (const struct vsock *)dev;
    fprintf(out, "  vsock: cid %llu, %u connections, %llu packets from the guest, %llu to it\n",
            (unsigned long long)vs->cid, vs->n_conns, (unsigned long long)vs->packets_in,
            (unsigned long long)vs->packets_out);
}

static const struct opt vsock_options[] = {
    OPT_U32(struct vsock, cid_option, "cid", 0, "N", "the guest's number", .min = 3, .max = UINT32_MAX - 1),
    OPT_STRING(struct vsock, path, "path", 0, "SOCKET",
               "the host's programs connect there; the guest's connections go to SOCKET_PORT"),
    OPT_END,
};

static const struct reg vsock_config_regs[] = {
    {"guest_cid", 0, 8, .sizes = 4 | 8, .flags = REG_KEEP, REG_FIELD(struct vsock, cid)},
    {0         },
};
static const struct reg_bank vsock_config_bank = {.name = "config", .size = 8, .regs = vsock_config_regs};
static const struct state_field vsock_state[] = {VIRTIO_STATE, {0}};

const struct device_class vsock_class = {
    .name = "virtio-vsock",
    .help = "streams between the guest's programs and the host's (PCI 1af4:1053)",
    .size = sizeof(struct vsock),
    .options = vsock_options,
    .state = vsock_state,
    .drops = vsock_drops,
    .stats = vsock_stats,
    .init = vsock_init,
    VIRTIO_CLASS(&vsock_config_bank),
};
