/* SPDX-License-Identifier: MIT
 *
 * A 16550A. The registers and what the guest sees of them follow the data sheet; the wire is infinitely fast, so nothing
 * here waits for bit times. Two rings stand between the guest, whose accesses come under the device's lock from vCPU
 * threads, and the backend on the loop thread; neither ever waits for the other.
 *
 * Two liberties, both of a kind that a slow wire would give too:
 *   - The THRE interrupt comes after a FIFO's worth of bytes, or as soon as the guest looks at a status register, or when
 *     the ring is drained; not after every byte. An edge-triggered line that falls and rises for each of 16 bytes costs 32
 *     system calls and gains nothing.
 *   - Received bytes are "still on the wire" (in the ring) until the guest listens: it enables the receive interrupt, or
 *     polls LSR. A FIFO reset puts unread bytes back there. So a driver that clears the FIFOs when it opens the port, as
 *     Linux does, loses nothing of what was piped in before.
 */
#include "devices/serial.h"

#include <assert.h>
#include <string.h>

#include "devices/serial_bits.h"
#include "kvm/host/opts.h"
#include "kvm/irq.h"
#include "mem/device.h"
#include "mem/ram.h"
#include "mem/watch.h"

enum {
    FIFO = 16,
    SERIAL_DROP_TX = 0,   /* in .drops: the guest wrote without looking */
    TX_RING = 8192,       /* bytes; powers of two */
    RX_RING = 2048,       /* characters */
    POLLS_TO_LISTEN = 16, /* reads of LSR in a row that make a polling guest */
    /* from a first byte to the backend: so that bytes gather, and cost one wake together */
    TX_DELAY_NS = 1000000,
    ERROR_BREAK = 0x100, /* in a character of the receive side */
};

struct serial {
    struct device dev;
    uint32_t number; /* option index= */
    bool has_shadow; /* option shadow */
    struct serial_backend *backend;
    struct irq_line irq;
    struct loop_timer tx_timer;
    struct loop_task rx_task, lines_task;
    struct ram *shadow; /* NULL: none */
    struct region shadow_region;

    uint8_t dll, dlm, ier, fcr, lcr, mcr, msr, scr;
    uint8_t errors;   /* OE and BI as LSR will show them once */
    uint8_t modem_in; /* MSR's upper half as the backend has it */
    uint8_t thri;     /* the THRE interrupt is pending */
    uint8_t tx_since; /* bytes written since it last became pending */
    uint8_t listening;
    uint8_t polls;

    uint8_t tx_armed;                            /* the drain is on its way: 1 soon, 2 at once */
    uint8_t tx_blocked;                          /* the backend took less than it was given */
    uint8_t rx_refused;                          /* serial_rx() took less than it was given */
    uint32_t tx_head, tx_tail, rx_head, rx_tail; /* free running */

    uint32_t fifo_count;
    uint16_t fifo[FIFO]; /* [0] is next */
    uint16_t rx[RX_RING];
    uint8_t tx[TX_RING];
};

const struct serial_place serial_places[SERIAL_PORTS] = {
    {0x3f8, 4},
    {0x2f8, 3},
    {0x3e8, 4},
    {0x2e8, 3}
};

static struct serial *to_serial(struct device *dev)
{
    return (struct serial *)dev;
}

static bool fifos_on(const struct serial *s)
{
    return s->fcr & FCR_ENABLE;
}

static bool looped(const struct serial *s)
{
    return s->mcr & MCR_LOOP;
}

/* ---- interrupts: PC16550D table II ---- */

static unsigned trigger(const struct serial *s)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return fifos_on(s) ? levels[s->fcr >> 6] : 1;
}

static uint8_t pending(const struct serial *s)
{
    if ((s->ier & IER_ELSI) && s->errors)
        return IIR_RLS;
    if ((s->ier & IER_ERBFI) && s->fifo_count)
        return s->fifo_count >= trigger(s) ? IIR_RDA : IIR_TIMEOUT;
    if ((s->ier & IER_ETBEI) && s->thri)
        return IIR_THRE;
    if ((s->ier & IER_EDSSI) && (s->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct serial *s)
{
    /* On a PC, OUT2 opens the gate to the interrupt line; loopback turns OUT2 off. */
    bool level = (s->mcr & MCR_OUT2) && !looped(s) && pending(s) != IIR_NONE;

    if (level != s->irq.level)
        irq_line_set(&s->irq, level);
}

/* ---- transmit ---- */

static bool tx_room(const struct serial *s)
{
    return TX_RING - (s->tx_head - s->tx_tail) >= FIFO;
}

/* The LSR that the guest reads from memory. */
static void shadow_update(struct serial *s)
{
    if (s->shadow)
        __atomic_store_n(&s->shadow->host[LSR], tx_room(s) ? LSR_THRE | LSR_TEMT : 0, __ATOMIC_RELAXED);
}

/* THRE as the guest may now see it: what was written since has left the FIFO. */
static void tx_settle(struct serial *s)
{
    if (s->tx_since && tx_room(s)) {
        s->tx_since = 0;
        s->thri = 1;
    }
}

static void fifo_put(struct serial *s, uint16_t c);

static void thr_write(struct device *dev, unsigned index, uint64_t value)
{
    struct serial *s = to_serial(dev);
    (void)index;

    s->polls = 0;
    s->thri = 0;
    s->tx_since += s->tx_since < FIFO;
    if (looped(s)) {
        fifo_put(s, (uint16_t)value);
    } else if (s->backend) {
        if (s->tx_head - s->tx_tail < TX_RING)
            s->tx[s->tx_head++ % TX_RING] = (uint8_t)value;
        else
            device_drop(dev, SERIAL_DROP_TX);
        uint8_t want = s->tx_head - s->tx_tail >= TX_RING / 2 ? 2 : 1;
        shadow_update(s);
        if (s->tx_armed < want && !s->tx_blocked) {
            s->tx_armed = want;
            loop_timer_set(&s->tx_timer, want == 2 ? 0 : loop_now(s->dev.board->loop) + TX_DELAY_NS);
        }
    }
    if (!fifos_on(s))
        update_irq(s); /* it falls: each byte's interrupt is an edge, also where nobody read IIR */
    if (s->tx_since >= (fifos_on(s) ? FIFO : 1) || !s->backend)
        tx_settle(s);
    update_irq(s);
}

/* Loop thread, no lock. The bytes from tail to head stay as they are without the lock: guests only add at the head, and
 * only this thread moves the tail. */
static void tx_drain(void *arg)
{
    struct serial *s = arg;
    size_t n, taken;

    lock_take(&s->dev.lock);
    s->tx_armed = 0;
    while ((n = s->tx_head - s->tx_tail) && !s->tx_blocked) {
        uint32_t at = s->tx_tail % TX_RING;
        n = n < TX_RING - at ? n : TX_RING - at;
        lock_drop(&s->dev.lock);
        taken = s->backend->ops->write(s->backend, s->tx + at, n);
        assert(taken <= n);
        lock_take(&s->dev.lock);
        s->tx_tail += (uint32_t)taken;
        s->tx_blocked = taken < n;
        if (s->tx_tail == s->tx_head)
            s->tx_tail = s->tx_head = 0; /* begin again in memory that is warm */
    }
    tx_settle(s);
    shadow_update(s);
    update_irq(s);
    lock_drop(&s->dev.lock);
}

void serial_tx_ready(struct device *serial)
{
    struct serial *s = to_serial(serial);

    lock_take(&s->dev.lock);
    s->tx_blocked = 0;
    lock_drop(&s->dev.lock);
    tx_drain(s);
}

bool serial_tx_idle(struct device *serial)
{
    struct serial *s = to_serial(serial);

    lock_take(&s->dev.lock);
    bool idle = s->tx_head == s->tx_tail;
    lock_drop(&s->dev.lock);
    return idle;
}

/* ---- receive ---- */

static uint32_t rx_used(const struct serial *s)
{
    return s->rx_tail - s->rx_head;
}

/* A character comes to the FIFO's top: now LSR shows its error. */
static void fifo_top(struct serial *s)
{
    if (s->fifo_count && (s->fifo[0] & ERROR_BREAK)) {
        s->fifo[0] &= 0xff;
        s->errors |= LSR_BI;
    }
}

static void fifo_put(struct serial *s, uint16_t c)
{
    if (s->fifo_count == (fifos_on(s) ? FIFO : 1)) {
        s->errors |= LSR_OE;
        if (fifos_on(s))
            return; /* the shift register is overwritten, not the FIFO */
        s->fifo_count = 0;
    }
    s->fifo[s->fifo_count++] = c;
    if (s->fifo_count == 1)
        fifo_top(s);
}

static void rx_pump(struct serial *s)
{
    unsigned room = fifos_on(s) ? FIFO : 1;

    if (!s->listening || looped(s) || s->fifo_count)
        return;
    while (s->fifo_count < room && rx_used(s))
        fifo_put(s, s->rx[s->rx_head++ % RX_RING]);
    if (s->rx_refused && rx_used(s) <= RX_RING / 2) {
        s->rx_refused = 0;
        loop_task_post(&s->rx_task);
    }
}

/* Unread characters go back to the head of the ring, for which serial_rx_room() keeps a FIFO's worth free. In loopback
 * they are the guest's own, and are dropped. */
static void rx_unread(struct serial *s)
{
    while (s->fifo_count) {
        s->fifo_count--;
        if (!looped(s))
            s->rx[--s->rx_head % RX_RING] = s->fifo[s->fifo_count];
    }
    s->listening = 0;
    s->polls = 0;
}

static void rx_listen(struct serial *s)
{
    s->listening = 1;
    rx_pump(s);
}

static uint64_t rbr_read(struct device *dev, unsigned index)
{
    struct serial *s = to_serial(dev);
    (void)index;

    if (!s->fifo_count)
        return 0;
    uint8_t c = (uint8_t)s->fifo[0];
    s->fifo_count--;
    memmove(s->fifo, s->fifo + 1, s->fifo_count * sizeof(s->fifo[0]));
    fifo_top(s);
    if (!fifos_on(s))
        update_irq(s); /* it falls: each character's interrupt is an edge */
    rx_pump(s);
    update_irq(s);
    return c;
}

static void rx_ready(void *arg)
{
    struct serial *s = arg;
    s->backend->ops->rx_ready(s->backend);
}

static size_t rx_room(const struct serial *s)
{
    return rx_used(s) < RX_RING - FIFO ? RX_RING - FIFO - rx_used(s) : 0;
}

size_t serial_rx_room(struct device *serial)
{
    struct serial *s = to_serial(serial);

    lock_take(&s->dev.lock);
    size_t room = rx_room(s);
    lock_drop(&s->dev.lock);
    return room;
}

size_t serial_rx(struct device *serial, const void *data, size_t len)
{
    struct serial *s = to_serial(serial);
    const uint8_t *p = data;
    size_t n;

    lock_take(&s->dev.lock);
    n = rx_room(s);
    if (n < len)
        s->rx_refused = s->backend && s->backend->ops->rx_ready;
    else
        n = len;
    for (size_t i = 0; i < n; i++)
        s->rx[s->rx_tail++ % RX_RING] = p[i];
    rx_pump(s);
    update_irq(s);
    lock_drop(&s->dev.lock);
    return n;
}

void serial_break(struct device *serial)
{
    struct serial *s = to_serial(serial);

    lock_take(&s->dev.lock);
    if (rx_room(s))
        s->rx[s->rx_tail++ % RX_RING] = ERROR_BREAK;
    rx_pump(s);
    update_irq(s);
    lock_drop(&s->dev.lock);
}

/* ---- modem lines ---- */

static void update_msr(struct serial *s)
{
    uint8_t now = s->modem_in, was = s->msr & 0xf0, changed;

    if (looped(s)) /* RTS -> CTS, DTR -> DSR, OUT1 -> RI, OUT2 -> DCD */
        now = (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                        (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
    changed = now ^ was;
    if (!(was & MSR_RI))
        changed &= (uint8_t)~MSR_RI; /* TERI: the trailing edge only */
    s->msr = now | (s->msr & MSR_DELTAS) | changed >> 4;
}

void serial_modem(struct device *serial, uint8_t lines)
{
    struct serial *s = to_serial(serial);

    lock_take(&s->dev.lock);
    s->modem_in = lines & 0xf0;
    update_msr(s);
    update_irq(s);
    lock_drop(&s->dev.lock);
}

static void tell_lines(void *arg)
{
    struct serial *s = arg;

    lock_take(&s->dev.lock);
    uint8_t mcr = looped(s) ? 0 : s->mcr; /* loopback turns the outputs off */
    bool brk = s->lcr & LCR_BREAK;
    lock_drop(&s->dev.lock);
    s->backend->ops->lines(s->backend, mcr & MCR_DTR, mcr & MCR_RTS, brk);
}

static void lines_changed(struct serial *s)
{
    if (s->backend && s->backend->ops->lines)
        loop_task_post(&s->lines_task);
}

/* ---- registers ---- */

static void ier_write(struct device *dev, unsigned index, uint64_t value)
{
    struct serial *s = to_serial(dev);
    uint8_t rise = (uint8_t)value & 0x0f & ~s->ier;
    (void)index;

    s->ier = value & 0x0f;
    /* THRE is sampled anew when its interrupt is switched on: drivers rely on it, and Linux tests for it. */
    if ((rise & IER_ETBEI) && tx_room(s)) {
        s->thri = 1;
        s->tx_since = 0;
    }
    if (rise & IER_ERBFI)
        rx_listen(s);
    update_irq(s);
}

static uint64_t iir_read(struct device *dev, unsigned index)
{
    struct serial *s = to_serial(dev);
    uint8_t id;
    (void)index;

    tx_settle(s);
    id = pending(s);
    if (id == IIR_THRE)
        s->thri = 0;
    update_irq(s);
    return id | (fifos_on(s) ? IIR_FIFOS : 0);
}

static void fcr_write(struct device *dev, unsigned index, uint64_t value)
{
    struct serial *s = to_serial(dev);
    bool toggled = (value ^ s->fcr) & FCR_ENABLE;
    (void)index;

    /* The transmit FIFO is always empty: what is in our ring is on the wire. */
    if (toggled || ((value & FCR_ENABLE) && (value & FCR_RX_RESET))) {
        rx_unread(s);
        s->errors &= (uint8_t)~LSR_BI;
    }
    /* Without bit 0 the others are not programmed. */
    s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    if (s->ier & IER_ERBFI)
        rx_listen(s);
    update_irq(s);
}

static void lcr_write(struct device *dev, unsigned index, uint64_t value)
{
    struct serial *s = to_serial(dev);
    bool brk = (value ^ s->lcr) & LCR_BREAK;
    (void)index;

    s->lcr = (uint8_t)value;
    if (brk)
        lines_changed(s);
}

static void mcr_write(struct device *dev, unsigned index, uint64_t value)
{
    struct serial *s = to_serial(dev);
    bool lines = (value ^ s->mcr) & (MCR_DTR | MCR_RTS | MCR_LOOP);
    bool loop = (value ^ s->mcr) & MCR_LOOP;
    (void)index;

    if (loop && s->listening) { /* the host's bytes out of the way, or the guest's own forgotten */
        rx_unread(s);
        s->mcr = value & 0x1f;
        rx_listen(s);
    } else if (loop) {
        rx_unread(s);
    }
    s->mcr = value & 0x1f;
    update_msr(s);
    update_irq(s);
    if (lines)
        lines_changed(s);
}

static uint64_t lsr_read(struct device *dev, unsigned index)
{
    struct serial *s = to_serial(dev);
    uint8_t lsr;
    (void)index;

    tx_settle(s);
    if (!s->listening && ++s->polls >= POLLS_TO_LISTEN)
        rx_listen(s);
    lsr = s->errors;
    if (s->fifo_count)
        lsr |= LSR_DR;
    if (tx_room(s))
        lsr |= LSR_THRE | LSR_TEMT;
    for (unsigned i = 0; fifos_on(s) && i < s->fifo_count; i++)
        if (s->fifo[i] & ERROR_BREAK || s->errors & LSR_BI)
            lsr |= LSR_FIFO_ERROR;
    s->errors = 0;
    update_irq(s);
    return lsr;
}

static uint64_t msr_read(struct device *dev, unsigned index)
{
    struct serial *s = to_serial(dev);
    uint8_t msr = s->msr;
    (void)index;

    s->msr &= (uint8_t)~MSR_DELTAS;
    update_irq(s);
    return msr;
}

static unsigned serial_page(struct device *dev)
{
    return to_serial(dev)->lcr & LCR_DLAB ? 1 : 0;
}

/* clang-format off */
/* 12: 9600 baud. Linux's early console takes the divisor as it finds it, and divides by it. */
static const struct reg serial_regs[] = {
    {"RBR", RBR, 1, .flags = REG_RO, .read = rbr_read},
    {"THR", RBR, 1, .flags = REG_WO, .write = thr_write},
    {"DLL", RBR, 1, .page = 1, .reset = 12, .writable = 0xff, REG_FIELD(struct serial, dll)},
    {"DLM", IER, 1, .page = 1, .writable = 0xff, REG_FIELD(struct serial, dlm)},
    {"IER", IER, 1, .write = ier_write, .bits = ier_bits, REG_FIELD(struct serial, ier)},
    {"IIR", IIR, 1, .page = REG_ANY_PAGE, .flags = REG_RO, .read = iir_read, .bits = iir_bits},
    {"FCR", IIR, 1, .page = REG_ANY_PAGE, .flags = REG_WO, .write = fcr_write, .bits = fcr_bits,
     REG_FIELD(struct serial, fcr)},
    {"LCR", LCR, 1, .page = REG_ANY_PAGE, .write = lcr_write, .bits = lcr_bits, REG_FIELD(struct serial, lcr)},
    {"MCR", MCR, 1, .page = REG_ANY_PAGE, .write = mcr_write, .bits = mcr_bits, REG_FIELD(struct serial, mcr)},
    {"LSR", LSR, 1, .page = REG_ANY_PAGE, .read = lsr_read, .bits = lsr_bits},
    {"MSR", MSR, 1, .page = REG_ANY_PAGE, .read = msr_read, .bits = msr_bits, REG_FIELD(struct serial, msr)},
    {"SCR", SCR, 1, .page = REG_ANY_PAGE, .writable = 0xff, REG_FIELD(struct serial, scr)},
    {0},
};
/* clang-format on */
static const struct reg_bank serial_bank = {
    .name = "regs",
    .size = SERIAL_LEN,
    .regs = serial_regs,
    .hole = UINT64_MAX,
    .region_flags = REGION_SPLIT,
    .region_sizes = 1,
    .pages = 2,
    .page = serial_page,
};

/* ---- the shadow ---- */

static void shadow_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    (void)size;
    if (offset == RBR && !looped(opaque)) /* no register but THR is there; nor is a loop */
        thr_write(opaque, 0, value & 0xff);
}

static const char *shadow_init(struct serial *s)
{
    static const struct region_ops ops = {.write = shadow_write, .sizes = 1};

    s->shadow = ram_new(&(struct ram_opts){.name = "serial0.shadow", .size = RAM_PAGE}, s->dev.error,
                        sizeof(s->dev.error));
    if (!s->shadow)
        return s->dev.error;
    region_init_rom_io(&s->shadow_region, "serial0.shadow", s->shadow, 0, RAM_PAGE, &ops, s, &s->dev.lock,
                       &s->dev);
    shadow_update(s);
    /* over what the board lays there to keep PCI out */
    return region_add(s->dev.board->mem_root, &s->shadow_region, SERIAL_SHADOW, 1)
               ? NULL
               : "the shadow cannot be mapped";
}

/* ---- class ---- */

static const char *serial_init(struct device *dev, struct board *board)
{
    struct serial *s = to_serial(dev);
    const struct serial_place *place = &serial_places[s->number];

    s->modem_in = MSR_CTS | MSR_DSR | MSR_DCD;
    irq_line_init(&s->irq, board->irqs, place->gsi, dev->id);
    loop_timer_init(board->loop, &s->tx_timer, tx_drain, s);
    loop_task_init(board->loop, &s->rx_task, rx_ready, s);
    loop_task_init(board->loop, &s->lines_task, tell_lines, s);
    device_map_ports(dev, 0, place->port);
    return s->has_shadow ? shadow_init(s) : NULL;
}

/* What is in the rings is on the wire: a reset does not touch it. */
static void serial_reset(struct device *dev)
{
    struct serial *s = to_serial(dev);

    rx_unread(s);
    s->errors = s->tx_since = 0;
    s->thri = 0;
    s->msr = s->modem_in;
    update_irq(s);
    lines_changed(s);
}

static const char *serial_loaded(struct device *dev)
{
    struct serial *s = to_serial(dev);

    if (s->fifo_count > (fifos_on(s) ? FIFO : 1) || rx_used(s) > RX_RING - s->fifo_count ||
        s->tx_head - s->tx_tail > TX_RING)
        return "saved state of a serial port has more bytes than fit";
    update_irq(s);
    lines_changed(s);
    if (s->backend && s->tx_head != s->tx_tail) {
        s->tx_armed = 2;
        loop_timer_set(&s->tx_timer, 0);
    }
    return NULL;
}

static void serial_fini(struct device *dev)
{
    struct serial *s = to_serial(dev);

    loop_timer_cancel(&s->tx_timer);
    loop_task_cancel(&s->rx_task);
    loop_task_cancel(&s->lines_task);
    if (s->shadow) {
        region_free(&s->shadow_region);
        ram_free(s->shadow);
    }
}

void serial_attach(struct device *serial, struct serial_backend *backend)
{
    struct serial *s = to_serial(serial);

    backend->port = serial;
    lock_take(&s->dev.lock);
    s->backend = backend;
    lock_drop(&s->dev.lock);
}

static const struct opt serial_options[] = {
    OPT_U32(struct serial, number, "index", 0, "N", "0 to 3: COM1 to COM4", .max = SERIAL_PORTS - 1),
    OPT_FLAG(struct serial, has_shadow, "shadow", 0, "show it in memory as well, for early consoles"),
    OPT_END};

static const struct state_field serial_state[] = {
    STATE(struct serial, errors),     STATE(struct serial, thri),
    STATE(struct serial, tx_since),   STATE(struct serial, listening),
    STATE(struct serial, polls),      STATE(struct serial, fifo_count),
    STATE_ARRAY(struct serial, fifo), STATE(struct serial, rx_head),
    STATE(struct serial, rx_tail),    STATE_ARRAY(struct serial, rx),
    STATE(struct serial, tx_head),    STATE(struct serial, tx_tail),
    STATE_ARRAY(struct serial, tx),   {0},
};

const struct device_class serial_class = {
    .name = "serial",
    .help = "16550A serial port",
    .size = sizeof(struct serial),
    .options = serial_options,
    .banks = (const struct reg_bank *const[]){&serial_bank,                             NULL},
    .state = serial_state,
    .drops = (const char *const[]){[SERIAL_DROP_TX] = "tx drop: LSR.THRE=0", NULL},
    .internal = true,
    .init = serial_init,
    .reset = serial_reset,
    .loaded = serial_loaded,
    .fini = serial_fini,
};
