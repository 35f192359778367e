// SPDX-License-Identifier: MIT
/* virtio-console: ports, their queues, control messages. See include/virtio/console.h.
 *
 * A buffer whose bytes the host's end has not all taken goes back to the queue's head (virtq_unpop()), and `sent` says how far
 * it was: so nothing is under way between two turns, and a reset or a saved state has nothing to wait for. */
#include "virtio/console.h"

#include <string.h>

#include "kvm/host/log.h"
#include "mem/watch.h"
#include "virtio/console_end.h"
#include "virtio/pci.h"

enum {
    QUEUE_SIZE = 64,
    ROOM = QUEUE_SIZE + VIRTQ_SPARE,
    BOUNCE = 16 << 10, /* the guest may change its bytes while they are looked at: everybody sees this copy */
    TURN_BYTES = 256 << 10, /* of one queue in a pass of the loop */
    EMERG_BYTES = 64,

    RX_CONTROL = 2, /* queues, 5.3.2 */
    TX_CONTROL = 3,

    CONSOLE_F_SIZE = 0, /* features, 5.3.3 */
    CONSOLE_F_MULTIPORT = 1,
    CONSOLE_F_EMERG_WRITE = 2,

    DEVICE_READY = 0, /* control messages, 5.3.6.2 */
    PORT_ADD = 1,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    RESIZE = 5,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

struct control { /* 5.3.6.2 */
    uint32_t id;
    uint16_t event, value;
};
_Static_assert(sizeof(struct control) == 8, "virtio 1.2, 5.3.6.2");

#define SETTLE_QUIET UINT64_C(200000000)  /* ns */
#define SETTLE_MOST  UINT64_C(2000000000) /* from DRIVER_OK on */

enum {
    DROP_NOBODY,
    DROP_EMERG,
};
static const char *const console_drops[] = {"tx drop: nobody at the host's end",
                                            "emergency write drop: faster than it is taken", NULL};

struct console_port {
    const struct console_end_ops *ops; /* NULL: no such port, or nothing at its end */
    void *ctx;
    struct console_end *end; /* made by an option */
    const char *name;        /* NULL: none */
    size_t name_len;
    uint8_t there;      /* the host has such a port */
    uint8_t host_open;  /* somebody is at the host's end */
    uint8_t ready;      /* the driver has made it */
    uint8_t guest_open; /* somebody in the guest has it open */
    uint8_t pending;    /* 1 << message: to be told */
    uint8_t blocked;    /* write() took less than it was given */
    uint8_t rx_wanted;  /* virtio_console_rx() took less than it was given */
    uint64_t sent;      /* of the buffer at the head of its transmit queue */
    uint64_t to_host, to_guest, dropped;
};

struct vconsole {
    struct virtio_device v; /* first */
    const char *console_end;
    struct opt_list specs;
    bool terminal;
    uint16_t cols, rows;
    uint32_t max_nr_ports;
    struct console_port ports[CONSOLE_PORTS];
    struct loop_task rx_task; /* calls ends, and so holds no lock */
    struct device_task emerg_task;
    struct device_timer settle;
    uint64_t settle_most; /* loop's time */
    uint8_t settled;
    uint8_t emerg[EMERG_BYTES];
    uint8_t n_emerg;
    void (*again)(void *ctx); /* NULL: nobody asked whether all is out */
    void *again_ctx;
    struct iovec iov[ROOM];
    uint8_t bounce[BOUNCE];
};

static struct vconsole *vconsole_of(struct virtio_device *v)
{
    return (struct vconsole *)v;
}

static bool multiport(const struct vconsole *c)
{
    return virtio_has(&c->v, CONSOLE_F_MULTIPORT);
}

static struct virtq *rx_queue(struct vconsole *c, unsigned port)
{
    return virtio_queue(&c->v, port ? 2 + 2 * port : 0);
}

static struct virtq *tx_queue(struct vconsole *c, unsigned port)
{
    return virtio_queue(&c->v, port ? 3 + 2 * port : 1);
}

/* --- when input may come
 *
 * A driver without MULTIPORT does not say when its terminal is ready, and Linux's throws away what comes between the first
 * buffer that it makes available and the end of its own set-up. The last that it does before is to print (the console gets
 * going); so input waits until the guest has been quiet for a moment, once after each start of the driver. */

static void settle_more(struct vconsole *c)
{
    if (c->settled || !virtio_is_live(&c->v))
        return;
    uint64_t quiet = loop_now(c->v.pci.dev.board->loop) + SETTLE_QUIET;
    device_timer_set(&c->settle, quiet < c->settle_most ? quiet : c->settle_most);
}

static void settle_start(struct vconsole *c)
{
    c->settle_most = loop_now(c->v.pci.dev.board->loop) + SETTLE_MOST;
    device_timer_set(&c->settle, c->settle_most);
}

/* --- guest to host */

static size_t offer(struct vconsole *c, struct console_port *p, const uint8_t *data, size_t n)
{
    size_t taken = n;
    if (p->ops)
        taken = p->ops->write(p->ctx, data, n);
    else
        virtio_console_dropped(&c->v.pci.dev, (unsigned)(p - c->ports), n);
    p->to_host += taken;
    settle_more(c);
    p->blocked = taken < n;
    return taken;
}

/* False: the buffer has to wait, for the end or for the next turn. */
static bool send_chain(struct vconsole *c, struct console_port *p, const struct virtq_chain *chain,
                       size_t *left)
{
    while (p->sent < chain->out_len) {
        size_t most = *left < sizeof c->bounce ? *left : sizeof c->bounce;
        size_t n = virtq_copy_out(chain, p->sent, c->bounce, most);
        size_t taken = n ? offer(c, p, c->bounce, n) : 0;
        p->sent += taken;
        *left -= taken;
        if (taken < n || !*left)
            return p->sent >= chain->out_len && !p->blocked;
    }
    return true;
}

static void transmit(struct vconsole *c, struct console_port *p, struct virtq *q)
{
    struct virtq_chain chain = {.iov = c->iov, .room = ROOM};
    const struct virtq_chain *back = &chain;
    size_t left = TURN_BYTES;
    while (!p->blocked && virtq_pop(q, &chain)) {
        if (!send_chain(c, p, &chain, &left)) {
            virtq_unpop(q, &back, 1);
            if (!p->blocked)
                virtio_turn(&c->v, q);
            return;
        }
        p->sent = 0;
        virtq_push(q, &chain, 0);
        if (!left) {
            virtio_turn(&c->v, q);
            return;
        }
    }
}

void virtio_console_dropped(struct device *dev, unsigned port, size_t n)
{
    struct vconsole *c = (struct vconsole *)dev;
    c->ports[port].dropped += n;
    device_drop(dev, DROP_NOBODY);
}

void virtio_console_tx_ready(struct device *dev, unsigned port)
{
    struct vconsole *c = (struct vconsole *)dev;
    device_enter(dev);
    c->ports[port].blocked = false;
    virtio_turn(&c->v, tx_queue(c, port));
    if (!port)
        device_task_post(&c->emerg_task);
    lock_drop(&dev->lock);
}

static void emerg_out(struct device *dev)
{
    struct vconsole *c = (struct vconsole *)dev;
    struct console_port *p = &c->ports[0];
    size_t n = c->n_emerg && !p->blocked ? offer(c, p, c->emerg, c->n_emerg) : 0;
    c->n_emerg -= (uint8_t)n;
    memmove(c->emerg, c->emerg + n, c->n_emerg);
}

static void emerg_write(struct device *dev, unsigned index, uint64_t value)
{
    struct vconsole *c = (struct vconsole *)dev;
    (void)index;
    if (c->n_emerg == sizeof c->emerg) {
        device_drop(dev, DROP_EMERG);
        return;
    }
    c->emerg[c->n_emerg++] = (uint8_t)value;
    device_task_post(&c->emerg_task);
}

/* --- host to guest */

static bool guest_listens(const struct vconsole *c, const struct console_port *p)
{
    if (!virtio_is_live(&c->v))
        return false;
    return multiport(c) ? p->guest_open : p == c->ports && c->settled;
}

size_t virtio_console_rx(struct device *dev, unsigned port, const void *data, size_t n)
{
    struct vconsole *c = (struct vconsole *)dev;
    struct console_port *p = &c->ports[port];
    struct virtq_chain chain = {.iov = c->iov, .room = ROOM};
    size_t done = 0;
    device_enter(dev);
    struct virtq *q = rx_queue(c, port);
    unsigned buffers =
        guest_listens(c, p) ? q->size : 0; /* they may be empty, and come faster than we take them */
    while (done < n && buffers && virtq_pop(q, &chain)) {
        size_t part = virtq_copy_in(&chain, 0, (const char *)data + done, n - done);
        virtq_push(q, &chain, (uint32_t)part);
        done += part;
        buffers--;
    }
    p->to_guest += done;
    p->rx_wanted = done < n;
    if (p->rx_wanted && !buffers && guest_listens(c, p))
        virtio_turn(&c->v, q);
    virtio_flush(&c->v, q);
    lock_drop(&dev->lock);
    return done;
}

static void rx_ends(void *arg)
{
    struct vconsole *c = arg;
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_port *p = &c->ports[i];
        device_enter(&c->v.pci.dev);
        bool call = p->rx_wanted && guest_listens(c, p);
        if (call)
            p->rx_wanted = false;
        lock_drop(&c->v.pci.dev.lock);
        if (call && p->ops && p->ops->rx_ready)
            p->ops->rx_ready(p->ctx);
    }
}

static void rx_room(struct vconsole *c, const struct console_port *p)
{
    if (p->rx_wanted && guest_listens(c, p))
        loop_task_post(&c->rx_task);
}

static void settled(struct device *dev)
{
    struct vconsole *c = (struct vconsole *)dev;
    c->settled = true;
    rx_room(c, c->ports);
}

/* --- control messages */

/* The next for this port, or 0. Before it is ready, only that it is there. */
static unsigned next_message(const struct console_port *p)
{
    unsigned tell = p->pending & (p->ready ? ~0u : 1u << PORT_ADD);
    return tell ? (unsigned)__builtin_ctz(tell) : 0;
}

static size_t write_message(const struct vconsole *c, const struct console_port *p, unsigned event,
                            uint8_t *to)
{
    struct control m = {.id = (uint32_t)(p - c->ports), .event = (uint16_t)event};
    uint16_t size[2] = {c->cols, c->rows};
    m.value = event == PORT_OPEN ? p->host_open : event == CONSOLE_PORT;
    memcpy(to, &m, sizeof m);
    if (event == RESIZE) {
        memcpy(to + sizeof m, size, sizeof size);
        return sizeof m + sizeof size;
    }
    if (event == PORT_NAME) {
        memcpy(to + sizeof m, p->name, p->name_len);
        return sizeof m + p->name_len;
    }
    return sizeof m;
}

/* As many as there are buffers for. The caller flushes. */
static void tell_guest(struct vconsole *c)
{
    struct virtq *q;
    struct virtq_chain chain = {.iov = c->iov, .room = ROOM};
    if (!virtio_is_live(&c->v) || !multiport(c))
        return;
    q = virtio_queue(&c->v, RX_CONTROL);
    unsigned buffers = q->size;
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_port *p = &c->ports[i];
        unsigned event;
        while ((event = next_message(p))) {
            uint8_t text[sizeof(struct control) + 256];
            size_t n = write_message(c, p, event, text);
            if (!buffers) {
                virtio_turn(&c->v, q);
                return;
            }
            if (!virtq_pop(q, &chain))
                return;
            buffers--;
            if (chain.in_len < n) {
                guest_bug("%s: a control buffer of %u bytes for a message of %zu", c->v.pci.dev.id,
                          chain.in_len, n);
                virtq_push(q, &chain, 0);
                continue;
            }
            virtq_push(q, &chain, (uint32_t)virtq_copy_in(&chain, 0, text, n));
            p->pending &= (uint8_t) ~(1u << event);
        }
    }
}

static void start_over(struct vconsole *c, bool announce)
{
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_port *p = &c->ports[i];
        p->ready = p->guest_open = false;
        p->pending = p->there && announce ? 1 << PORT_ADD : 0;
    }
}

static void port_ready(struct vconsole *c, struct console_port *p, bool ready)
{
    if (!ready) {
        guest_note(LOG_LEVEL_WARNING, "%s: the guest's driver could not make port %u", c->v.pci.dev.id,
                   (unsigned)(p - c->ports));
        return;
    }
    p->ready = true;
    p->pending = (uint8_t)((p == c->ports ? 1 << CONSOLE_PORT | (c->cols && c->rows ? 1 << RESIZE : 0) : 0) |
                           (p->name ? 1 << PORT_NAME : 0) | 1 << PORT_OPEN);
}

static void control_message(struct vconsole *c, const struct control *m)
{
    struct console_port *p = m->id < CONSOLE_PORTS && c->ports[m->id].there ? &c->ports[m->id] : NULL;
    if (m->event == DEVICE_READY) {
        if (!m->value)
            guest_note(LOG_LEVEL_WARNING, "%s: the guest's driver cannot use it", c->v.pci.dev.id);
        start_over(c, m->value);
    } else if (p && m->event == PORT_READY) {
        port_ready(c, p, m->value);
    } else if (p && m->event == PORT_OPEN) {
        p->guest_open = m->value != 0;
        rx_room(c, p);
    } else {
        guest_bug("%s: control message %u for port %u: there is no such %s", c->v.pci.dev.id, m->event, m->id,
                  p ? "message of a driver's" : "port");
    }
}

static void take_control(struct vconsole *c, struct virtq *q)
{
    struct virtq_chain chain = {.iov = c->iov, .room = ROOM};
    while (virtq_pop(q, &chain)) {
        struct control m;
        if (virtq_copy_out(&chain, 0, &m, sizeof m) == sizeof m)
            control_message(c, &m);
        else
            guest_bug("%s: a control message of %u bytes", c->v.pci.dev.id, chain.out_len);
        virtq_push(q, &chain, 0);
    }
    tell_guest(c);
    virtio_flush(&c->v, virtio_queue(&c->v, RX_CONTROL));
}

static void console_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct vconsole *c = vconsole_of(v);
    if (q->index == RX_CONTROL) {
        tell_guest(c);
        return;
    }
    if (q->index == TX_CONTROL) {
        take_control(c, q);
        return;
    }
    struct console_port *p = &c->ports[q->index < 2 ? 0 : q->index / 2 - 1];
    if (q->index % 2)
        transmit(c, p, q);
    else
        rx_room(c, p);
    if (c->again)
        virtio_console_drained_again(&v->pci.dev);
}

void virtio_console_set_open(struct device *dev, unsigned port, bool open)
{
    struct vconsole *c = (struct vconsole *)dev;
    device_enter(dev);
    c->ports[port].host_open = open;
    c->ports[port].pending |= 1 << PORT_OPEN;
    tell_guest(c);
    if (c->v.n_queues > RX_CONTROL)
        virtio_flush(&c->v, virtio_queue(&c->v, RX_CONTROL));
    lock_drop(&dev->lock);
}

void virtio_console_set_size(struct device *dev, uint16_t columns, uint16_t rows)
{
    struct vconsole *c = (struct vconsole *)dev;
    device_enter(dev);
    if (columns != c->cols || rows != c->rows) {
        c->cols = columns;
        c->rows = rows;
        virtio_config_changed(&c->v);
        if (c->ports[0].ready) {
            c->ports[0].pending |= 1 << RESIZE;
            tell_guest(c);
            virtio_flush(&c->v, virtio_queue(&c->v, RX_CONTROL));
        }
    }
    lock_drop(&dev->lock);
}

/* --- the end of a run */

void virtio_console_drained_again(struct device *dev)
{
    struct vconsole *c = (struct vconsole *)dev;
    if (c->again)
        c->again(c->again_ctx);
}

static bool port_drained(struct vconsole *c, unsigned i)
{
    struct console_port *p = &c->ports[i];
    if (!p->ops || !p->ops->drained)
        return true;
    device_enter(&c->v.pci.dev);
    struct virtq *q = tx_queue(c, i);
    bool waits = virtio_is_live(&c->v) && virtq_waiting(q);
    if (waits && !p->blocked)
        virtio_turn(&c->v, q);
    waits |= !i && c->n_emerg;
    lock_drop(&c->v.pci.dev.lock);
    return p->ops->drained(p->ctx) && !waits;
}

bool virtio_console_drained(struct device *dev, void (*again)(void *ctx), void *ctx)
{
    struct vconsole *c = (struct vconsole *)dev;
    bool all = true;
    c->again = again;
    c->again_ctx = ctx;
    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        if (c->ports[i].there)
            all &= port_drained(c, i);
    return all;
}

/* --- the device */

/* Linux looks at the size when it is told that it changed, and not before. */
static void console_driver_ok(struct virtio_device *v)
{
    struct vconsole *c = vconsole_of(v);
    if (c->cols && c->rows)
        virtio_config_changed(v);
    settle_start(c);
}

static bool console_reset(struct virtio_device *v)
{
    struct vconsole *c = vconsole_of(v);
    start_over(c, false);
    c->settled = false;
    device_timer_cancel(&c->settle);
    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        c->ports[i].sent = 0;
    return true;
}

static const char *console_loaded(struct virtio_device *v)
{
    struct vconsole *c = vconsole_of(v);
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_port *p = &c->ports[i];
        if (!p->there && (p->pending || p->ready || p->guest_open))
            return "a port that this machine does not have";
        if (p->pending & 1 << PORT_NAME && !p->name)
            return "the name of a port that has none";
        p->pending |= p->ready ? 1 << PORT_OPEN : 0; /* the host's ends are others now */
    }
    if (virtio_is_live(v) && !c->settled)
        settle_start(c);
    return NULL;
}

void virtio_console_close(struct device *dev)
{
    struct vconsole *c = (struct vconsole *)dev;
    loop_task_cancel(&c->rx_task);
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_end *end = c->ports[i].end;
        device_enter(dev);
        c->ports[i].ops = NULL;
        c->ports[i].end = NULL;
        lock_drop(&dev->lock);
        console_end_free(end);
    }
}

static void console_fini(struct virtio_device *v)
{
    virtio_console_close(&v->pci.dev);
}

static const struct virtio_type console_type = {
    .id = 3,
    .legacy_id = 0x1003,
    .pci_class = 0x078000,
    .features = 1ull << CONSOLE_F_SIZE | 1ull << CONSOLE_F_EMERG_WRITE,
    .queue_ready = console_queue_ready,
    .driver_ok = console_driver_ok,
    .reset = console_reset,
    .loaded = console_loaded,
    .fini = console_fini,
};

void virtio_console_attach(struct device *dev, const struct console_end_ops *ops, void *ctx)
{
    struct vconsole *c = (struct vconsole *)dev;
    c->ports[0].ops = ops;
    c->ports[0].ctx = ctx;
}

static const char *join(struct vconsole *c, unsigned i, const char *spec)
{
    struct device *dev = &c->v.pci.dev;
    struct console_port *p = &c->ports[i];
    bool open = true;
    p->there = true;
    p->end = console_end_new(dev, i, spec, &open, dev->error, sizeof dev->error);
    if (!p->end)
        return dev->error;
    p->ops = &console_end_ops;
    p->ctx = p->end;
    p->host_open = open;
    return NULL;
}

static const char *add_named(struct vconsole *c, unsigned i, const char *spec)
{
    struct console_port *p = &c->ports[i];
    const char *end = strchr(spec, '=');
    if (!end || end == spec || end - spec > 128)
        return "port=NAME=END: a name, and what is at the host's end (file:PATH, unix:PATH, stdout …)";
    p->name = spec;
    p->name_len = (size_t)(end - spec);
    return join(c, i, end + 1);
}

static const char *console_init(struct device *dev, struct board *board)
{
    struct vconsole *c = (struct vconsole *)dev;
    const char *error = NULL;
    if (!c->terminal && !c->console_end && !c->specs.n)
        return "nothing is plugged in (port=NAME=END, console=END)";
    if (c->specs.n > CONSOLE_PORTS - 1)
        return "more ports than it has room for";
    loop_task_init(board->loop, &c->rx_task, rx_ends, c);
    device_task_init(dev, &c->emerg_task, emerg_out);
    device_timer_init(dev, &c->settle, settled);
    c->ports[0].there = c->ports[0].host_open = c->terminal;
    if (c->console_end)
        error = join(c, 0, c->console_end);
    for (size_t i = 0; i < c->specs.n && !error; i++)
        error = add_named(c, (unsigned)i + 1, c->specs.v[i]);
    if (error) {
        virtio_console_close(dev); /* the ends that were opened before it */
        return error;
    }
    c->max_nr_ports = (uint32_t)c->specs.n + 1;
    if (c->specs.n)
        c->v.offered |= 1ull << CONSOLE_F_MULTIPORT;
    unsigned queues = c->specs.n ? 2 * c->max_nr_ports + 2 : 2;
    for (unsigned i = 0; i < queues; i++)
        virtio_add_queue(&c->v, QUEUE_SIZE);
    return virtio_init(&c->v, board, &console_type);
}

static void console_stats(struct device *dev, FILE *out)
{
    const struct vconsole *c = (const struct vconsole *)dev;
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        const struct console_port *p = &c->ports[i];
        if (!p->there)
            continue;
        fprintf(out, "  port %u%s%.*s: %llu bytes from the guest, %llu to it", i, p->name ? " " : "",
                (int)p->name_len, p->name ? p->name : "", (unsigned long long)p->to_host,
                (unsigned long long)p->to_guest);
        if (p->dropped)
            fprintf(out, ", %llu dropped", (unsigned long long)p->dropped);
        fputs(p->blocked ? ", the host's end is full\n" : p->rx_wanted ? ", input waits\n" : "\n", out);
    }
}

/* 5.3.4 */
static const struct reg config_regs[] = {
    {"cols",                      0, 2, .sizes = 1 | 2, .flags = REG_RO | REG_KEEP, REG_FIELD(struct vconsole, cols)},
    {"rows",                          2, 2, .sizes = 1 | 2, .flags = REG_RO | REG_KEEP, REG_FIELD(struct vconsole, rows)},
    {"max_nr_ports", 4, 4, .sizes = 1 | 2 | 4, .flags = REG_RO | REG_KEEP,
     REG_FIELD(struct vconsole, max_nr_ports)},
    {"emerg_wr",                      8, 4, .sizes = 1 | 2 | 4, .flags = REG_WO, .write = emerg_write},
    {0                     },
};
static const struct reg_bank config_bank = {.name = "config", .size = 12, .regs = config_regs};

#define PORT_STATE(member_)                                                                                  \
    {                                                                                                        \
        .name = "port." #member_, .offset = offsetof(struct vconsole, ports[0].member_),                     \
        .width = sizeof(((struct console_port *)0)->member_), .count = CONSOLE_PORTS,                        \
        .stride = sizeof(struct console_port)                                                                \
    }
static const struct state_field console_state[] = {
    VIRTIO_STATE,
    PORT_STATE(ready),
    PORT_STATE(guest_open),
    PORT_STATE(pending),
    PORT_STATE(sent),
    STATE(struct vconsole, settled),
    {0},
};

static const struct opt console_options[] = {
    OPT_STRING(struct vconsole, console_end, "console", 0, "END", "a terminal (hvc) joined to END"),
    OPT_LIST(struct vconsole, specs, "port", 0, "NAME=END",
             "a named port; END is stdin, stdout, stderr, file:PATH, input:PATH or unix:PATH; repeatable"),
    OPT_FLAG(struct vconsole, terminal, "terminal", 0, "a terminal that is the machine's console",
             .flags = OPT_HIDDEN),
    OPT_END,
};

const struct device_class vconsole_class = {
    .name = "virtio-console",
    .help = "terminals and named byte channels (PCI 1af4:1043)",
    .size = sizeof(struct vconsole),
    .options = console_options,
    .state = console_state,
    .drops = console_drops,
    .stats = console_stats,
    .init = console_init,
    VIRTIO_CLASS(&config_bank),
};
