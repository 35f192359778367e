/* SPDX-License-Identifier: MIT
 *
 * An Intel 82540EM: registers, EEPROM, PHY and two rings of descriptors, for Linux's e1000 driver and others' (include/
 * devices/e1000.h names the manual). Theory:
 *
 *   A write to a tail, or to whatever else can set a ring going, posts a task; the task walks the ring on the loop, a bounded
 *   number of descriptors at a time. Nothing is walked inside a vCPU's exit, and nothing that a ring holds can make the card
 *   call itself: descriptors and buffers are reached by dma_ functions, which know RAM alone.
 *   Frames leave as pieces of guest memory, with their checksum and segmentation requests in port_meta. A peer that is BUSY
 *   leaves the head where it is; its ready() posts the task. The other way round a frame for which the driver has no
 *   descriptors is told BUSY, until the tail moves: the packet FIFO of the real card, without its end.
 *   What is not in the registers is little (struct e1000, "state"); STATUS, the PHY's view of the link, who may receive and
 *   what is looped are worked out when asked.
 *   Whatever is dropped or held has a reason in the list below, counted.
 *
 * Where it differs from the manual: wake-up, management, the packet buffer's memory and flash are absent; PAUSE frames are
 * filtered and counted, but hold nothing up; the FCS behind a frame (RCTL.SECRC=0) is zero unless fcs is given; a packet's
 * descriptors are taken when all of it, up to EOP, is there. Segmentation reads the headers themselves and not the offsets
 * of the context (net/offload.h): what they disagree on is dropped.
 */
#include "e1000_priv.h"

#include "net/ether.h"

/* --- what does not come through, and what drivers should not do: mem/watch.h */

static const char *const drops[E1000_DROPS + 1] = {
    [RX_DISABLED] = "rx drop: RCTL.EN=0",
    [RX_LINK] = "rx drop: link down",
    [RX_SLU] = "rx drop: CTRL.SLU=0, so the MAC has no link",
    [RX_MASTER] = "rx drop: bus master off",
    [RX_LONG] = "rx drop: longer than RCTL.LPE allows",
    [RX_FILTER] = "rx drop: no address filter passes it (RAL/RAH, MTA, RCTL)",
    [RX_VLAN] = "rx drop: VLAN not in VFTA",
    [RX_CFI] = "rx drop: VLAN tag's CFI is not RCTL.CFI",
    [RX_PAUSE] = "rx drop: PAUSE frame (RCTL.DPF)",
    [RX_CONTROL] = "rx drop: MAC control frame (RCTL.PMCF=0)",
    [RX_RING] = "rx drop: RDLEN is 0, or RDH or RDT beyond it",
    [RX_RING_DMA] = "rx drop: descriptor not in RAM",
    [RX_RING_SMALL] = "rx drop: frame larger than all the buffers that RDLEN allows",
    [RX_BUFFER_DMA] = "rx drop: buffer not in RAM",
    [RX_OVERRUN] = "rx drop: no descriptors (in loopback nothing waits)",
    [TX_LINK] = "tx drop: link down",
    [TX_SLU] = "tx drop: CTRL.SLU=0, so the MAC has no link",
    [TX_MASTER] = "tx held: bus master off",
    [TX_RING] = "tx held: TDLEN is 0, or TDH or TDT beyond it",
    [TX_RING_DMA] = "tx held: descriptor not in RAM",
    [TX_BUFFER_DMA] = "tx drop: buffer not in RAM",
    [TX_SHORT] = "tx drop: shorter than an Ethernet header",
    [TX_LONG] = "tx drop: longer than a packet may be",
    [TX_PIECES] = "tx drop: no EOP within 1000 pieces, or within the ring",
    [TX_MIXED] = "tx drop: context or legacy descriptor inside a packet",
    [TX_DTYP] = "tx drop: descriptor of a reserved type",
    [TX_FCS] = "tx drop: IFCS=0 and the frame does not end with its FCS",
    [TX_HDRLEN] = "tx drop: TSE with HDRLEN 0, above 240 or beyond the packet",
    [TX_MSS] = "tx drop: TSE with MSS 0",
    [TX_TSO_HEADERS] = "tx drop: TSE and the context's offsets are no headers",
    [TX_CSUM] = "tx checksum not inserted: its offsets are outside the packet",
    [IRQ_MASKED] = "irq held: not in IMS",
    [IRQ_THROTTLED] = "irq held: ITR",
};
/* Those that no driver should make happen are said aloud. */
static const uint64_t bugs =
    1ull << RX_RING | 1ull << RX_RING_DMA | 1ull << RX_RING_SMALL | 1ull << RX_BUFFER_DMA |
    1ull << TX_MASTER | 1ull << TX_RING | 1ull << TX_RING_DMA | 1ull << TX_BUFFER_DMA | 1ull << TX_SHORT |
    1ull << TX_LONG | 1ull << TX_PIECES | 1ull << TX_MIXED | 1ull << TX_DTYP | 1ull << TX_FCS |
    1ull << TX_HDRLEN | 1ull << TX_MSS | 1ull << TX_TSO_HEADERS | 1ull << TX_CSUM;

void e1000_drop(struct e1000 *e, enum e1000_drop why)
{
    device_drop(&e->pci.dev, why);
    if (bugs >> why & 1)
        guest_bug("%s: %s", e->pci.dev.id, drops[why]);
}

static const char *const lints[E1000_LINTS + 1] = {
    [LINT_RING_LENGTH] = "ring length is no multiple of 128, or 0 (RDLEN, TDLEN)",
    [LINT_RING_BASE] = "ring base is not aligned to 16 bytes (RDBAL, TDBAL)",
    [LINT_TAIL] = "tail beyond the ring (RDT, TDT)",
    [LINT_HEAD] = "head written while the unit is enabled (RDH, TDH)",
    [LINT_MDIC] = "MDIC access to a PHY that is not there (PHYADD is not 1)",
    [LINT_RXCSUM] = "RXCSUM written while the receiver is enabled",
    [LINT_BSIZE] = "RCTL.BSIZE of 0 is reserved with BSEX",
    [LINT_VLE] = "VLE in a descriptor, but not CTRL.VME",
};

/* The words behind a line of the trace. */
static void e1000_explain(struct device *dev, const struct reg *reg, bool write, uint64_t value, char *buf,
                          size_t size)
{
    struct e1000 *e = e1000_of(dev);
    if (!reg) {
        snprintf(buf, size, "ICR=0x%x", e->icr);
        return;
    }
    bool rx = !strcmp(reg->name, "RDT");
    if (!write || (!rx && strcmp(reg->name, "TDT") != 0))
        return;
    struct ring ring = rx ? e->rx : e->tx;
    ring.tail = (uint32_t)value;
    if (!ring_sane(&ring))
        snprintf(buf, size, "beyond the ring of %u", ring_size(&ring));
    else
        snprintf(buf, size, "%s=%u: %u descriptors", rx ? "RDH" : "TDH", ring.head, ring_owned(&ring));
}

uint64_t e1000_now(const struct e1000 *e)
{
    return loop_now(e->pci.dev.board->loop);
}

uint32_t e1000_crc(uint32_t crc, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return crc;
}

/* --- interrupts (13.4.17 on): the line is up while ICR & IMS, but comes up no earlier than ITR after the last time. With MSI
 * each time that it comes up is a message. */

void e1000_irq_update(struct e1000 *e)
{
    if (!(e->icr & e->ims)) {
        if (e->irq_up)
            pci_lower(&e->pci);
        e->irq_up = 0;
        return;
    }
    if (e->irq_up)
        return;
    if (e->itr) {
        uint64_t now = e1000_now(e), next = e->irq_last + (uint64_t)e->itr * ITR_UNIT_NS;
        if (e->irq_last && now < next) {
            if (e->itr_timer.deadline == DEVICE_TIMER_OFF)
                e1000_drop(e, IRQ_THROTTLED);
            if (e->itr_timer.deadline != next)
                device_timer_set(&e->itr_timer, next);
            return;
        }
        e->irq_last = now;
    }
    device_timer_cancel(&e->itr_timer);
    e->irq_up = 1;
    pci_raise(&e->pci, 0);
}

static void itr_fired(struct device *dev)
{
    e1000_irq_update(e1000_of(dev));
}

void e1000_cause(struct e1000 *e, uint32_t bits)
{
    e->icr |= bits;
    if (bits & ~e->ims)
        e1000_drop(e, IRQ_MASKED);
    if (bits & e->ims)
        e1000_irq_update(e);
}

/* --- the cable's end */

static struct e1000 *e1000_of_port(struct port *port)
{
    return (struct e1000 *)((char *)port - offsetof(struct e1000, port));
}

static void port_enter(void *ctx)
{
    device_enter(ctx);
}
static void port_leave(void *ctx)
{
    lock_drop(&((struct device *)ctx)->lock);
}

static enum port_result receive(struct port *port, const struct iovec *iov, int n,
                                const struct port_meta *meta)
{
    return e1000_receive(e1000_of_port(port), iov, n, false, meta->flags & PORT_SUMMED);
}

static void ready(struct port *port)
{
    struct e1000 *e = e1000_of_port(port);
    e->tx_waits = false;
    e1000_tx_kick(e);
}

static bool closed(struct port *port)
{
    struct e1000 *e = e1000_of_port(port);
    enum e1000_drop why = e1000_rx_closed(e, false);
    if (why != E1000_DROPS)
        e1000_drop(e, why);
    return why != E1000_DROPS;
}

static const struct port_ops port_ops = {.receive = receive, .ready = ready, .closed = closed};

struct port *e1000_port(struct device *dev)
{
    return &e1000_of(dev)->port;
}

void e1000_set_link(struct device *dev, bool up)
{
    struct e1000 *e = e1000_of(dev);
    device_enter(dev);
    if (e->cable != up) {
        bool was = e1000_link(e);
        e->cable = up;
        e->negotiated = 0;
        if (up)
            e1000_negotiate(e);
        else if (was)
            e1000_link_changed(e);
    }
    lock_drop(&dev->lock);
}

/* What a card cannot do without the bus it does when it has it again: what the tail offered meanwhile is sent, and a message that
 * was lost goes out after all. What came meanwhile had nowhere to go (RX_MASTER), as if the packet buffer had overflowed. */
static void master_on(struct pci_device *pci)
{
    struct e1000 *e = e1000_of(&pci->dev);
    e1000_tx_kick(e);
    if (e->irq_up)
        pci_raise(&e->pci, 0);
}

/* --- reset */

/* The state that is in no register goes with them; the cable, the EEPROM's words and the PHY stay. */
static void clear_state(struct e1000 *e)
{
    device_timer_cancel(&e->itr_timer);
    device_timer_cancel(&e->tx_timer);
    device_timer_cancel(&e->rx_timer);
    e->tx_ide = e->rx_timed = e->tx_discard = 0;
    e->irq_last = 0;
    e->rx_most = 0;
    e->context = (struct tx_context){0};
    e->wire_shift = e->wire_left = e->wire_write = 0;
    e1000_irq_update(e); /* ICR is 0: down */
    e->ra[0] = e->eeprom[0] | (uint32_t)e->eeprom[1] << 16;
    e->ra[1] = e->eeprom[2] | RAH_AV;
    e1000_rx_kick(e);
}

void e1000_mac_reset(struct e1000 *e)
{
    regs_reset(device_map(&e->pci.dev, 0), false);
    clear_state(e);
}

static void e1000_reset(struct device *dev)
{
    clear_state(e1000_of(dev));
    e1000_phy_reset(e1000_of(dev));
}

/* --- set-up */

static const char *e1000_init(struct device *dev, struct board *board)
{
    struct e1000 *e = e1000_of(dev);
    uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    for (struct device *d = board->devices; d; d = d->next)
        mac[5] += d->class == dev->class;
    if (e->mac && !ether_address(e->mac, mac)) {
        snprintf(dev->error, sizeof dev->error,
                 "mac=%.40s: not the address of a card (six times two digits: 52:54:00:12:34:56)", e->mac);
        return dev->error;
    }
    if (!board->net)
        return "this machine has no network";
    if (!port_init(&e->port, board->net, dev->id, &port_ops))
        return "out of memory";
    port_guard(&e->port, port_enter, port_leave, dev);
    port_accept(&e->port, PORT_ACCEPT_SUMMED); /* finished frames alone */
    device_task_init(dev, &e->tx_task, e1000_tx_run);
    device_timer_init(dev, &e->itr_timer, itr_fired);
    device_timer_init(dev, &e->tx_timer, e1000_tx_delayed);
    device_timer_init(dev, &e->rx_timer, e1000_rx_delayed);
    device_timer_init(dev, &e->link_timer, e1000_negotiated);
    device_timer_init(dev, &e->refill_timer, e1000_rx_waited);
    e1000_eeprom_init(e, mac);
    e->pci.master_hook = master_on;
    e->cable = 1;
    return NULL;
}

static const char *e1000_loaded(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    if (!e->negotiated)
        e1000_negotiate(e);
    if (e->tx_ide)
        device_timer_set(&e->tx_timer, e1000_now(e));
    if (e->rx_timed)
        device_timer_set(&e->rx_timer, e1000_now(e));
    e->irq_up = 0;
    e1000_irq_update(e);
    e1000_tx_kick(e);
    e1000_rx_kick(e);
    return NULL;
}

static void e1000_fini(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    if (e->port.ops) /* init may have failed before */
        port_free(&e->port);
}

static const struct opt e1000_options[] = {
    OPT_STRING(struct e1000, mac, "mac", 0, "ADDRESS", "its Ethernet address (52:54:00:12:34:56 and on)"),
    OPT_FLAG(struct e1000, fcs, "fcs", 0,
             "put the true FCS behind received frames (RCTL.SECRC=0), not zeros; slower"),
    OPT_END,
};
static const struct state_field e1000_state[] = {
    STATE_ARRAY(struct e1000, eeprom),
    STATE_ARRAY(struct e1000, phy),
    STATE(struct e1000, wire_shift),
    STATE(struct e1000, wire_out),
    STATE(struct e1000, wire_left),
    STATE(struct e1000, wire_write),
    STATE(struct e1000, cable),
    STATE(struct e1000, negotiated),
    STATE(struct e1000, link_low),
    STATE(struct e1000, tx_discard),
    STATE(struct e1000, tx_ide),
    STATE(struct e1000, rx_timed),
    {.name = "context", .offset = offsetof(struct e1000, context), .width = 8, .count = 2},
    {0        },
};

const struct device_class e1000_class = {
    .name = "e1000",
    .help = "Intel's 82540EM gigabit card (PCI 8086:100e)",
    .size = sizeof(struct e1000),
    .options = e1000_options,
    .bus = PCI_FUNCTION(.ids = {.vendor = 0x8086,
                                .device = 0x100e,
                                .subsystem_vendor = 0x8086,
                                .subsystem = 0x001e,
                                .class_code = 0x020000,
                                .revision = 2,
                                .pin = 1},
                        .bars = {[0] = {PCI_BAR_MEM32, .bank = 0},
                                [2] = {PCI_BAR_IO, .bank = 1}                }, /* 1 would be a flash memory: 4.1 */
                        .power = true, .msi_plain = true),
    .banks = (const struct reg_bank *const[]){&e1000_bank, &e1000_io_bank, NULL                  },
    .state = e1000_state,
    .init = e1000_init,
    .reset = e1000_reset,
    .loaded = e1000_loaded,
    .fini = e1000_fini,
    .drops = drops,
    .lints = lints,
    .explain = e1000_explain,
};
