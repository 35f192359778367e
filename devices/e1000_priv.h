/* SPDX-License-Identifier: MIT
 *
 * What the files of the e1000 share: the instance, registers and bits spelled as in Intel's manual (317453-006, chapter
 * 13), descriptor layouts (chapter 3). e1000.c has the device and its interrupts, e1000_regs.c the register table,
 * e1000_tx.c and e1000_rx.c the two rings, e1000_phy.c what hangs on serial wires: EEPROM and PHY.
 * Everything here runs with the device's lock held.
 */
#ifndef DEVICES_E1000_PRIV_H
#define DEVICES_E1000_PRIV_H

#include "devices/e1000.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/watch.h"
#include "net/port.h"
#include "pci/device.h"

#include <assert.h>
#include <string.h>

enum {
    CTRL_FD = 1u << 0, /* 13.4.1 */
    CTRL_SLU = 1u << 6,
    CTRL_SPEED_SHIFT = 8,
    CTRL_FRCSPD = 1u << 11,
    CTRL_FRCDPX = 1u << 12,
    CTRL_RST = 1u << 26,
    CTRL_RFCE = 1u << 27,
    CTRL_VME = 1u << 30,

    STATUS_FD = 1u << 0, /* 13.4.2 */
    STATUS_LU = 1u << 1,
    STATUS_SPEED_SHIFT = 6,
    STATUS_ASDV_SHIFT = 8,

    CTRL_EXT_EE_RST = 1u << 13, /* 13.4.6 */

    ICR_TXDW = 1u << 0, /* 13.4.17; the same in ICS, IMS, IMC */
    ICR_TXQE = 1u << 1,
    ICR_LSC = 1u << 2,
    ICR_RXDMT0 = 1u << 4,
    ICR_RXO = 1u << 6,
    ICR_RXT0 = 1u << 7,
    ICR_MDAC = 1u << 9,
    ICR_TXD_LOW = 1u << 15,
    ICR_SRPD = 1u << 16,
    ICR_BITS = 0x1ffff, /* ICS sets the reserved ones as well: the self-test asks for it */

    RCTL_EN = 1u << 1, /* 13.4.22 */
    RCTL_UPE = 1u << 3,
    RCTL_MPE = 1u << 4,
    RCTL_LPE = 1u << 5,
    RCTL_LBM = 3u << 6,
    RCTL_RDMTS_SHIFT = 8,
    RCTL_MO_SHIFT = 12,
    RCTL_BAM = 1u << 15,
    RCTL_BSIZE_SHIFT = 16,
    RCTL_VFE = 1u << 18,
    RCTL_CFIEN = 1u << 19,
    RCTL_CFI = 1u << 20,
    RCTL_DPF = 1u << 22,
    RCTL_PMCF = 1u << 23,
    RCTL_BSEX = 1u << 25,
    RCTL_SECRC = 1u << 26,

    TCTL_EN = 1u << 1, /* 13.4.33 */
    TCTL_PSP = 1u << 3,

    RAH_AS_SHIFT = 16, /* 13.5.3 */
    RAH_AV = 1u << 31,

    RXCSUM_PCSS = 0xff, /* 13.4.32 */
    RXCSUM_IPOFLD = 1u << 8,
    RXCSUM_TUOFLD = 1u << 9,

    DELAY_UNIT_NS = 1024, /* of RDTR, RADV, TIDV, TADV */
    ITR_UNIT_NS = 256,
};

/* Receive descriptors: 3.2.3. */
enum {
    RXD_STAT_DD = 1 << 0,
    RXD_STAT_EOP = 1 << 1,
    RXD_STAT_IXSM = 1 << 2,
    RXD_STAT_VP = 1 << 3,
    RXD_STAT_TCPCS = 1 << 5,
    RXD_STAT_IPCS = 1 << 6,
    RXD_STAT_PIF = 1 << 7,
    RXD_ERR_TCPE = 1 << 5,
    RXD_ERR_IPE = 1 << 6,
    RXD_ERR_RXE = 1 << 7,
};
struct rx_desc_tail { /* after the 8 bytes of the buffer's address */
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};
static_assert(sizeof(struct rx_desc_tail) == 8, "3.2.3");

/* Transmit descriptors: 3.3.3 legacy, 3.3.6 context, 3.3.7 data. Their third dword's upper bytes are alike. */
enum {
    TXD_EOP = 1u << 24,
    TXD_IFCS = 1u << 25,
    TXD_IC = 1u << 26,  /* legacy */
    TXD_TSE = 1u << 26, /* extended */
    TXD_RS = 1u << 27,
    TXD_DEXT = 1u << 29,
    TXD_VLE = 1u << 30,
    TXD_IDE = 1u << 31,
    TXD_DTYP_SHIFT = 20, /* 0 context, 1 data */
    TXD_DTALEN = 0xfffff,
    TXD_TUCMD_TCP = 1u << 24, /* context */
    TXD_TUCMD_IP = 1u << 25,
    TXD_STA_DD = 1u << 0,     /* fourth dword */
    TXD_POPTS_IXSM = 1u << 8, /* data */
    TXD_POPTS_TXSM = 1u << 9,
};
struct tx_desc {
    uint64_t addr;
    uint32_t lower, upper;
};
static_assert(sizeof(struct tx_desc) == 16, "3.3.3");
struct tx_context {
    uint8_t ipcss, ipcso;
    uint16_t ipcse;
    uint8_t tucss, tucso;
    uint16_t tucse;
    uint32_t lower; /* PAYLEN, DTYP, TUCMD */
    uint8_t sta, hdrlen;
    uint16_t mss;
};
static_assert(sizeof(struct tx_context) == 16, "3.3.6");

enum {
    E1000_BAR_SIZE = 0x20000,
    E1000_IO_SIZE = 8,
    E1000_MTA = 128,
    E1000_RA = 16,
    E1000_STATS = 0x4000, /* first statistics register */
    E1000_STATS_END = 0x4100,
    E1000_EEPROM = 64, /* words */
    E1000_PHY = 32,
    E1000_FRAME_MIN = 60, /* without FCS */
    E1000_FCS = 4,
    E1000_FRAME_STD = 1522,   /* all with FCS: the longest without LPE, */
    E1000_FRAME_LONG = 16384, /* and with */
    E1000_HDRLEN_MAX = 240,   /* 3.5.9 */
    E1000_PIECES = 1000,      /* of guest memory in one packet: less than PORT_IOV_MAX */
};

/* Statistics, by their offset (13.7). */
enum {
    STAT_MPC = 0x4010,
    STAT_XONRXC = 0x4048,
    STAT_XOFFRXC = 0x4050,
    STAT_FCRUC = 0x4058,
    STAT_PRC64 = 0x405c,
    STAT_GPRC = 0x4074,
    STAT_BPRC = 0x4078,
    STAT_MPRC = 0x407c,
    STAT_GPTC = 0x4080,
    STAT_GORCL = 0x4088,
    STAT_GOTCL = 0x4090,
    STAT_RNBC = 0x40a0,
    STAT_RUC = 0x40a4,
    STAT_ROC = 0x40ac,
    STAT_TORL = 0x40c0,
    STAT_TOTL = 0x40c8,
    STAT_TPR = 0x40d0,
    STAT_TPT = 0x40d4,
    STAT_PTC64 = 0x40d8,
    STAT_MPTC = 0x40f0,
    STAT_BPTC = 0x40f4,
    STAT_TSCTC = 0x40f8,
    STAT_TSCTFC = 0x40fc,
};

/* Why something did not come through; names in e1000.c. */
enum e1000_drop {
    RX_DISABLED,
    RX_LINK,
    RX_SLU,
    RX_MASTER,
    RX_LONG,
    RX_FILTER,
    RX_VLAN,
    RX_CFI,
    RX_PAUSE,
    RX_CONTROL,
    RX_RING,
    RX_RING_DMA,
    RX_RING_SMALL,
    RX_BUFFER_DMA,
    RX_OVERRUN,
    TX_LINK,
    TX_SLU,
    TX_MASTER,
    TX_RING,
    TX_RING_DMA,
    TX_BUFFER_DMA,
    TX_SHORT,
    TX_LONG,
    TX_PIECES,
    TX_MIXED,
    TX_DTYP,
    TX_FCS,
    TX_HDRLEN,
    TX_MSS,
    TX_TSO_HEADERS,
    TX_CSUM,
    IRQ_MASKED,
    IRQ_THROTTLED,
    E1000_DROPS,
};
enum e1000_lint {
    LINT_RING_LENGTH,
    LINT_RING_BASE,
    LINT_TAIL,
    LINT_HEAD,
    LINT_MDIC,
    LINT_RXCSUM,
    LINT_BSIZE,
    LINT_VLE,
    E1000_LINTS,
};

struct ring {
    uint32_t bal, bah, len, head, tail;
    uint32_t cut_base, cut_len; /* what was written beside the registers' bits, for --lint */
};

struct e1000 {
    struct pci_device pci;
    struct port port;

    /* registers, in the order of chapter 13 */
    uint32_t ctrl, eecd, eerd, ctrl_ext, mdic;
    uint32_t fcal, fcah, fct, vet, fcttv, fcrtl, fcrth, txcw, pba, ledctl, tipg, ait, tctl;
    uint32_t icr, itr, ims;
    uint32_t rctl, rdtr, rxdctl, radv, rsrpd, rxcsum;
    uint32_t tidv, txdctl, tadv, tspmt, txdmac;
    struct ring rx, tx;
    uint32_t wuc, wufc, wus, manc, ipav, ip4at[4], ip6at[4], fflt[4], ffmt[128], ffvt[128];
    uint32_t mta[E1000_MTA], ra[2 * E1000_RA], vfta[E1000_MTA];
    uint32_t stats[(E1000_STATS_END - E1000_STATS) / 4];
    uint32_t ioaddr;

    /* state */
    uint16_t eeprom[E1000_EEPROM], phy[E1000_PHY];
    /* microwire: bits that came in since CS rose, below a marker; 0: deaf until CS falls */
    uint32_t wire_shift;
    uint16_t wire_out; /* bits still to go out, the next one highest */
    uint8_t wire_left;
    uint8_t wire_write; /* erase and write are enabled */
    uint8_t cable, negotiated, link_low;
    uint8_t irq_up;     /* told to the bus */
    uint8_t tx_discard; /* in the rest of a packet that is dropped */
    uint8_t tx_ide, rx_timed;
    struct tx_context context;

    /* not saved */
    bool rx_waits;                     /* receive() said BUSY */
    bool rx_eager;                     /* and has waited for REFILL_NS: the next buffer will do */
    uint32_t rx_had, rx_most;          /* buffers there were then, and at most since reset */
    bool tx_waits;                     /* the peer said BUSY */
    uint64_t irq_last;                 /* when it came up last, while ITR is set; 0: never */
    uint64_t tx_absolute, rx_absolute; /* deadlines of TADV, RADV, while tx_ide, rx_timed */
    struct device_task tx_task;
    struct device_timer itr_timer, tx_timer, rx_timer, link_timer, refill_timer;

    /* options */
    const char *mac;
    bool fcs;
};

static inline struct e1000 *e1000_of(struct device *dev)
{
    return (struct e1000 *)dev;
}

/* --- e1000.c */
void e1000_drop(struct e1000 *e, enum e1000_drop why);
static inline void e1000_lint(struct e1000 *e, enum e1000_lint rule, bool broken)
{
    if (broken)
        device_lint(&e->pci.dev, rule);
}
void e1000_cause(struct e1000 *e, uint32_t bits); /* sets them in ICR */
void e1000_irq_update(struct e1000 *e);           /* after ICR or IMS changed */
void e1000_mac_reset(struct e1000 *e);            /* CTRL.RST: all but PCI and the PHY */
uint64_t e1000_now(const struct e1000 *e);
uint32_t e1000_crc(uint32_t crc, const void *bytes,
                   size_t n); /* of the FCS: start with ~0, complement at the end */

/* Descriptors in a ring, and whether it is one at all: head and tail inside, no wrap at 2^64. */
static inline uint32_t ring_size(const struct ring *r)
{
    return r->len / 16;
}
static inline uint64_t ring_at(const struct ring *r, uint32_t index)
{
    return ((uint64_t)r->bah << 32 | r->bal) + 16ull * index;
}
static inline bool ring_sane(const struct ring *r)
{
    return r->head < ring_size(r) && r->tail < ring_size(r) && ring_at(r, 0) <= UINT64_MAX - r->len;
}
/* Descriptors that are the card's: from head up to tail, which is not. */
static inline uint32_t ring_owned(const struct ring *r)
{
    return r->tail >= r->head ? r->tail - r->head : r->tail + ring_size(r) - r->head;
}
static inline uint32_t ring_next(const struct ring *r, uint32_t index, uint32_t n)
{
    index += n;
    return index >= ring_size(r) ? index - ring_size(r) : index;
}

/* --- statistics: they stick at their highest value (13.7) */
static inline void stat_add(struct e1000 *e, unsigned stat, uint32_t n)
{
    uint32_t *s = &e->stats[(stat - E1000_STATS) / 4];
    *s = n > UINT32_MAX - *s ? UINT32_MAX : *s + n;
}
static inline void stat_add64(struct e1000 *e, unsigned low, uint64_t n)
{
    uint32_t *s = &e->stats[(low - E1000_STATS) / 4];
    uint64_t v = s[0] | (uint64_t)s[1] << 32;
    v = n > UINT64_MAX - v ? UINT64_MAX : v + n;
    s[0] = (uint32_t)v;
    s[1] = (uint32_t)(v >> 32);
}
/* PRC64 … PRC1522, PTC64 …: by length with FCS. */
static inline void stat_size(struct e1000 *e, unsigned first, uint32_t len, uint32_t n)
{
    unsigned i = len <= 64 ? 0 : len <= 127 ? 1 : len <= 255 ? 2 : len <= 511 ? 3 : len <= 1023 ? 4 : 5;
    stat_add(e, first + 4 * i, n);
}

/* --- e1000_regs.c */
extern const struct reg_bank e1000_bank, e1000_io_bank;

/* --- e1000_phy.c */
void e1000_eeprom_init(struct e1000 *e, const uint8_t mac[6]);
void e1000_phy_reset(struct e1000 *e);
void e1000_negotiate(struct e1000 *e);     /* starts anew; the link is down meanwhile */
void e1000_negotiated(struct device *dev); /* and is up, perhaps */
bool e1000_phy_link(const struct e1000 *e);
bool e1000_link(const struct e1000 *e);   /* as STATUS.LU says it */
void e1000_link_changed(struct e1000 *e); /* tells the guest */
uint32_t e1000_status(const struct e1000 *e);
bool e1000_looped(const struct e1000 *e); /* what is sent comes back */
uint64_t e1000_eecd_read(struct device *dev, unsigned index);
void e1000_eecd_write(struct device *dev, unsigned index, uint64_t value);
void e1000_eerd_write(struct device *dev, unsigned index, uint64_t value);
void e1000_mdic_write(struct device *dev, unsigned index, uint64_t value);

/* --- e1000_tx.c */
void e1000_tx_kick(struct e1000 *e); /* something may be there to send */
void e1000_tx_run(struct device *dev);
void e1000_tx_delayed(struct device *dev); /* TIDV or TADV is over */

/* --- e1000_rx.c */
/* Whether it can receive at all; E1000_DROPS: it can. */
enum e1000_drop e1000_rx_closed(const struct e1000 *e, bool looped);
/* What came from the peer, or (looped) from the transmitter. BUSY only for the peer. summed: its TCP or UDP checksum is known to
 * be right (PORT_SUMMED). */
enum port_result e1000_receive(struct e1000 *e, const struct iovec *iov, int n, bool looped, bool summed);
void e1000_rx_refilled(struct e1000 *e);   /* RDT was written */
void e1000_rx_waited(struct device *dev);  /* refill_timer */
void e1000_rx_kick(struct e1000 *e);       /* there may be room now, or a reason not to wait */
void e1000_rx_delayed(struct device *dev); /* RDTR or RADV is over */
void e1000_rx_flush(struct e1000 *e);      /* RDTR.FPD */

#endif
