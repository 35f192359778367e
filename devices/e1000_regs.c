/* SPDX-License-Identifier: MIT
 *
 * The 82540EM's registers as a table (317453-006, chapter 13), with their bits' names for traces. What is stored, masked,
 * cleared by reading and reset stands here; the callbacks are one line each and lead to who does the work. Masks are those
 * that Intel's own self-test expects (ethtool -t). Registers take 4 bytes, aligned (13.2); everything else is refused.
 */
#include "e1000_priv.h"

/* --- callbacks */

static uint64_t status_read(struct device *dev, unsigned index)
{
    (void)index;
    return e1000_status(e1000_of(dev));
}

static void ctrl_write(struct device *dev, unsigned index, uint64_t value)
{
    enum {
        PHY_RST = 1u << 31,
    };
    struct e1000 *e = e1000_of(dev);
    bool link = e1000_link(e);
    uint32_t old = e->ctrl;
    (void)index;
    e->ctrl = (uint32_t)value & ~(CTRL_RST | PHY_RST); /* both clear themselves */
    if (value & CTRL_RST) {
        e1000_mac_reset(e);
        device_was_reset(dev);
    } else if (value & PHY_RST) {
        e1000_phy_reset(e);
    } else if ((old ^ value) & CTRL_SLU && link != e1000_link(e)) {
        e1000_link_changed(e);
    }
}

static void ctrl_ext_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index;
    if (value & CTRL_EXT_EE_RST) { /* reads the EEPROM again: of what is kept there, the address matters */
        e->ra[0] = e->eeprom[0] | (uint32_t)e->eeprom[1] << 16;
        e->ra[1] = e->eeprom[2] | RAH_AV;
    }
}

/* 13.4.14: the transmitter gets what the receiver leaves of 64 KiB. */
static void pba_write(struct device *dev, unsigned index, uint64_t value)
{
    uint32_t rx = (uint32_t)value & 0x3f;
    (void)index;
    e1000_of(dev)->pba = (64 - rx) << 16 | rx;
}

static uint64_t icr_read(struct device *dev, unsigned index)
{
    struct e1000 *e = e1000_of(dev);
    uint32_t icr = e->icr;
    (void)index;
    e->icr = 0;
    if (icr)
        e1000_irq_update(e);
    return icr;
}
/* Linux's self-test writes it, to see that nothing comes of it: no misuse. */
static void status_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)dev, (void)index, (void)value;
}
static void icr_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value;
    e1000_irq_update(e1000_of(dev));
}
static void ics_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    e1000_cause(e1000_of(dev), (uint32_t)value & ICR_BITS);
}
static void ims_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    e1000_of(dev)->ims |= (uint32_t)value & ICR_BITS;
    e1000_irq_update(e1000_of(dev));
}
static void imc_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    e1000_of(dev)->ims &= ~(uint32_t)value;
    e1000_irq_update(e1000_of(dev));
}

static void itr_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value;
    e1000_irq_update(e1000_of(dev)); /* an interrupt that is held may be due */
}

static void rxcsum_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index, (void)value;
    e1000_lint(e, LINT_RXCSUM, e->rctl & RCTL_EN);
}

/* Rings are judged where a unit takes one up, not where they are written: Linux's self-test writes patterns into one that
 * nobody uses. The bits that a register has not are kept for that. */
static void ring_lint(struct e1000 *e, const struct ring *r, bool on)
{
    if (!on || r->head == r->tail)
        return;
    e1000_lint(e, LINT_RING_BASE, r->cut_base);
    e1000_lint(e, LINT_RING_LENGTH, !r->len || r->cut_len);
    e1000_lint(e, LINT_TAIL, r->tail && r->tail >= ring_size(r)); /* 0 tidies a ring that is none */
}
static void base_write(struct ring *r, uint64_t value)
{
    r->cut_base = (uint32_t)value & 15;
}
static void length_write(struct ring *r, uint64_t value)
{
    r->cut_len = (uint32_t)value & ~0xfff80u;
}
#define OF_RING(name_, ring_, write_)                                                                        \
    static void name_(struct device *dev, unsigned index, uint64_t value)                                    \
    {                                                                                                        \
        (void)index;                                                                                         \
        write_(&e1000_of(dev)->ring_, value);                                                                \
    }
OF_RING(rdbal_write, rx, base_write)
OF_RING(tdbal_write, tx, base_write)
OF_RING(rdlen_write, rx, length_write)
OF_RING(tdlen_write, tx, length_write)
static void rdh_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value;
    e1000_lint(e1000_of(dev), LINT_HEAD, e1000_of(dev)->rctl & RCTL_EN);
}
static void tdh_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value;
    e1000_lint(e1000_of(dev), LINT_HEAD, e1000_of(dev)->tctl & TCTL_EN);
}
static void rdt_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index, (void)value;
    ring_lint(e, &e->rx, e->rctl & RCTL_EN);
    e1000_rx_refilled(e);
}
static void tdt_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index, (void)value;
    ring_lint(e, &e->tx, e->tctl & TCTL_EN);
    e1000_tx_kick(e);
}
static void rctl_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index;
    e1000_lint(e, LINT_BSIZE, value & RCTL_BSEX && !(value >> RCTL_BSIZE_SHIFT & 3));
    ring_lint(e, &e->rx, e->rctl & RCTL_EN);
    e1000_rx_kick(e);
}
static void rdtr_write(struct device *dev, unsigned index, uint64_t value)
{
    enum {
        FPD = 1u << 31,
    };
    (void)index;
    if (value & FPD)
        e1000_rx_flush(e1000_of(dev));
}
static void tctl_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    (void)index, (void)value;
    ring_lint(e, &e->tx, e->tctl & TCTL_EN);
    e1000_tx_kick(e);
}

/* 13.7: two halves of a counter; reading the upper one clears both. */
static uint64_t stat_high(struct device *dev, unsigned low)
{
    uint32_t *s = &e1000_of(dev)->stats[(low - E1000_STATS) / 4];
    uint64_t high = s[1];
    s[0] = s[1] = 0;
    return high;
}
#define STAT_HIGH(fn_, low_)                                                                                 \
    static uint64_t fn_(struct device *dev, unsigned index)                                                  \
    {                                                                                                        \
        (void)index;                                                                                         \
        return stat_high(dev, low_);                                                                         \
    }
STAT_HIGH(gorch_read, STAT_GORCL)
STAT_HIGH(gotch_read, STAT_GOTCL)
STAT_HIGH(torh_read, STAT_TORL)
STAT_HIGH(toth_read, STAT_TOTL)

/* The I/O BAR: a window of one register (13.1.2). Offsets up to 0x1ffff are registers; the rest is nothing. */
static uint64_t iodata_read(struct device *dev, unsigned index)
{
    uint32_t at = e1000_of(dev)->ioaddr;
    (void)index;
    return at < E1000_BAR_SIZE ? regs_read(device_map(dev, 0), at, 4) : 0;
}
static void iodata_write(struct device *dev, unsigned index, uint64_t value)
{
    uint32_t at = e1000_of(dev)->ioaddr;
    (void)index;
    if (at < E1000_BAR_SIZE)
        regs_write(device_map(dev, 0), at, value, 4);
}

/* --- names of bits */

#define BITS(name_, ...) static const struct reg_bits name_[] = {__VA_ARGS__, {0}}
/* clang-format off */
BITS(ctrl_bits, {"FD", 0, 1}, {"LRST", 3, 1}, {"ASDE", 5, 1}, {"SLU", 6, 1}, {"ILOS", 7, 1}, {"SPEED", 8, 2},
     {"FRCSPD", 11, 1}, {"FRCDPLX", 12, 1}, {"SDP0_DATA", 18, 1}, {"SDP1_DATA", 19, 1}, {"ADVD3WUC", 20, 1},
     {"EN_PHY_PWR_MGMT", 21, 1}, {"SDP0_IODIR", 22, 1}, {"SDP1_IODIR", 23, 1}, {"RST", 26, 1}, {"RFCE", 27, 1},
     {"TFCE", 28, 1}, {"VME", 30, 1}, {"PHY_RST", 31, 1});
BITS(status_bits, {"FD", 0, 1}, {"LU", 1, 1}, {"FUNCTION_ID", 2, 2}, {"TXOFF", 4, 1}, {"TBIMODE", 5, 1},
     {"SPEED", 6, 2}, {"ASDV", 8, 2}, {"PCI66", 11, 1}, {"BUS64", 12, 1}, {"PCIX_MODE", 13, 1}, {"PCIXSPD", 14, 2});
BITS(eecd_bits, {"SK", 0, 1}, {"CS", 1, 1}, {"DI", 2, 1}, {"DO", 3, 1}, {"FWE", 4, 2}, {"EE_REQ", 6, 1},
     {"EE_GNT", 7, 1}, {"EE_PRES", 8, 1}, {"EE_SIZE", 9, 1});
BITS(eerd_bits, {"START", 0, 1}, {"DONE", 4, 1}, {"ADDR", 8, 8}, {"DATA", 16, 16});
BITS(ctrl_ext_bits, {"GPI_EN", 0, 4}, {"PHYINT", 5, 1}, {"SDP6_DATA", 6, 1}, {"SDP7_DATA", 7, 1}, {"SDP6_IODIR", 10, 1},
     {"SDP7_IODIR", 11, 1}, {"ASDCHK", 12, 1}, {"EE_RST", 13, 1}, {"SPD_BYPS", 15, 1}, {"RO_DIS", 17, 1},
     {"LINK_MODE", 22, 2});
BITS(mdic_bits, {"DATA", 0, 16}, {"REGADD", 16, 5}, {"PHYADD", 21, 5}, {"OP", 26, 2}, {"R", 28, 1}, {"I", 29, 1},
     {"E", 30, 1});
BITS(icr_bits, {"TXDW", 0, 1}, {"TXQE", 1, 1}, {"LSC", 2, 1}, {"RXSEQ", 3, 1}, {"RXDMT0", 4, 1}, {"RXO", 6, 1},
     {"RXT0", 7, 1}, {"MDAC", 9, 1}, {"RXCFG", 10, 1}, {"PHYINT", 12, 1}, {"GPI", 13, 2}, {"TXD_LOW", 15, 1},
     {"SRPD", 16, 1});
BITS(rctl_bits, {"EN", 1, 1}, {"SBP", 2, 1}, {"UPE", 3, 1}, {"MPE", 4, 1}, {"LPE", 5, 1}, {"LBM", 6, 2},
     {"RDMTS", 8, 2}, {"MO", 12, 2}, {"BAM", 15, 1}, {"BSIZE", 16, 2}, {"VFE", 18, 1}, {"CFIEN", 19, 1},
     {"CFI", 20, 1}, {"DPF", 22, 1}, {"PMCF", 23, 1}, {"BSEX", 25, 1}, {"SECRC", 26, 1});
BITS(tctl_bits, {"EN", 1, 1}, {"PSP", 3, 1}, {"CT", 4, 8}, {"COLD", 12, 10}, {"SWXOFF", 22, 1}, {"RTLC", 24, 1},
     {"NRTU", 25, 1});
BITS(txcw_bits, {"TxConfigWord", 0, 16}, {"TxConfig", 30, 1}, {"ANE", 31, 1});
BITS(tipg_bits, {"IPGT", 0, 10}, {"IPGR1", 10, 10}, {"IPGR2", 20, 10});
BITS(pba_bits, {"RXA", 0, 16}, {"TXA", 16, 16});
BITS(rdtr_bits, {"DELAY", 0, 16}, {"FPD", 31, 1});
BITS(fcrtl_bits, {"RTL", 3, 13}, {"XONE", 31, 1});
BITS(rxdctl_bits, {"PTHRESH", 0, 6}, {"HTHRESH", 8, 6}, {"WTHRESH", 16, 6}, {"GRAN", 24, 1});
BITS(txdctl_bits, {"PTHRESH", 0, 6}, {"HTHRESH", 8, 6}, {"WTHRESH", 16, 6}, {"GRAN", 24, 1}, {"LWTHRESH", 25, 7});
BITS(tspmt_bits, {"TSMT", 0, 16}, {"TSPBP", 16, 16});
BITS(rxcsum_bits, {"PCSS", 0, 8}, {"IPOFLD", 8, 1}, {"TUOFLD", 9, 1});
BITS(rah_bits, {"RAH", 0, 16}, {"AS", 16, 2}, {"AV", 31, 1});
BITS(wuc_bits, {"APME", 0, 1}, {"PME_En", 1, 1}, {"PME_Status", 2, 1}, {"APMPME", 3, 1});
BITS(wufc_bits, {"LNKC", 0, 1}, {"MAG", 1, 1}, {"EX", 2, 1}, {"MC", 3, 1}, {"BC", 4, 1}, {"ARP", 5, 1},
     {"IPv4", 6, 1}, {"IPv6", 7, 1}, {"FLX", 16, 4});
BITS(manc_bits, {"SMBUS_EN", 0, 1}, {"ASF_EN", 1, 1}, {"R_ON_FORCE", 2, 1}, {"RMCP_EN", 8, 1}, {"ARP_EN", 13, 1},
     {"NEIGHBOR_EN", 14, 1}, {"TCO_RESET", 16, 1}, {"REPORT_STATUS", 18, 1});

/* --- the tables */

#define F(member_) REG_FIELD(struct e1000, member_)
#define RW(name_, offset_, mask_, member_) {name_, offset_, 4, .writable = (mask_), F(member_)}
#define NOTHING(name_, offset_) {name_, offset_, 4, .flags = REG_RO} /* reads 0 */
#define STAT_FIELD(offset_) .flags = REG_RO, F(stats[((offset_) - E1000_STATS) / 4])
#define STAT(name_, offset_) {name_, offset_, 4, .clear_on_read = UINT32_MAX, STAT_FIELD(offset_)}
#define STAT64(name_, offset_, read_) \
    {name_ "L", offset_, 4, STAT_FIELD(offset_)}, {name_ "H", (offset_) + 4, 4, .read = (read_), STAT_FIELD((offset_) + 4)}

static const struct reg regs[] = {
    {"CTRL", 0x0000, 4, .reset = 0x201, .write = ctrl_write, .bits = ctrl_bits, F(ctrl)},
    {"STATUS", 0x0008, 4, .flags = REG_PURE, .read = status_read, .write = status_write, .bits = status_bits},
    {"EECD", 0x0010, 4, .read = e1000_eecd_read, .flags = REG_PURE, .write = e1000_eecd_write, .bits = eecd_bits, F(eecd)},
    {"EERD", 0x0014, 4, .write = e1000_eerd_write, .bits = eerd_bits, F(eerd)},
    {"CTRL_EXT", 0x0018, 4, .writable = 0x00e28fff, .write = ctrl_ext_write, .bits = ctrl_ext_bits, F(ctrl_ext)},
    {"MDIC", 0x0020, 4, .reset = 1u << 28, .write = e1000_mdic_write, .bits = mdic_bits, F(mdic)},
    RW("FCAL", 0x0028, UINT32_MAX, fcal),
    RW("FCAH", 0x002c, 0xffff, fcah),
    RW("FCT", 0x0030, 0xffff, fct),
    {"VET", 0x0038, 4, .reset = 0x8100, .writable = 0xffff, F(vet)},
    {"ICR", 0x00c0, 4, .read = icr_read, .w1c = ICR_BITS, .write = icr_write, .bits = icr_bits, F(icr)},
    {"ITR", 0x00c4, 4, .writable = 0xffff, .write = itr_write, F(itr)},
    {"ICS", 0x00c8, 4, .flags = REG_WO, .write = ics_write, .bits = icr_bits},
    {"IMS", 0x00d0, 4, .write = ims_write, .bits = icr_bits, F(ims)},
    {"IMC", 0x00d8, 4, .flags = REG_WO, .write = imc_write, .bits = icr_bits},
    {"RCTL", 0x0100, 4, .writable = 0x06dfb3fe, .write = rctl_write, .bits = rctl_bits, F(rctl)},
    RW("FCTTV", 0x0170, 0xffff, fcttv),
    {"TXCW", 0x0178, 4, .writable = 0xc000ffff, .bits = txcw_bits, F(txcw)},
    NOTHING("RXCW", 0x0180),
    {"TCTL", 0x0400, 4, .writable = 0x037ffffa, .write = tctl_write, .bits = tctl_bits, F(tctl)},
    {"TIPG", 0x0410, 4, .reset = 0x00602008, .writable = 0x3fffffff, .bits = tipg_bits, F(tipg)},
    RW("AIT", 0x0458, 0xffff, ait),
    {"LEDCTL", 0x0e00, 4, .reset = 0x07061302, .writable = 0xcfcfcfcf, F(ledctl)},
    {"PBA", 0x1000, 4, .reset = 0x00100030, .write = pba_write, .bits = pba_bits, F(pba)},
    {"FCRTL", 0x2160, 4, .writable = 0x8000fff8, .bits = fcrtl_bits, F(fcrtl)},
    RW("FCRTH", 0x2168, 0xfff8, fcrth),
    NOTHING("RDFH", 0x2410), NOTHING("RDFT", 0x2418), NOTHING("RDFHS", 0x2420), NOTHING("RDFTS", 0x2428),
    NOTHING("RDFPC", 0x2430),
    {"RDBAL", 0x2800, 4, .writable = 0xfffffff0, .write = rdbal_write, F(rx.bal)},
    RW("RDBAH", 0x2804, UINT32_MAX, rx.bah),
    {"RDLEN", 0x2808, 4, .writable = 0xfff80, .write = rdlen_write, F(rx.len)},
    {"RDH", 0x2810, 4, .writable = 0xffff, .write = rdh_write, F(rx.head)},
    {"RDT", 0x2818, 4, .writable = 0xffff, .write = rdt_write, .flags = REG_DMA, F(rx.tail)},
    {"RDTR", 0x2820, 4, .writable = 0xffff, .write = rdtr_write, .bits = rdtr_bits, F(rdtr)},
    {"RXDCTL", 0x2828, 4, .reset = 0x10000, .writable = 0x013f3f3f, .bits = rxdctl_bits, F(rxdctl)},
    RW("RADV", 0x282c, 0xffff, radv),
    RW("RSRPD", 0x2c00, 0xfff, rsrpd),
    RW("TXDMAC", 0x3000, 1, txdmac),
    NOTHING("TDFH", 0x3410), NOTHING("TDFT", 0x3418), NOTHING("TDFHS", 0x3420), NOTHING("TDFTS", 0x3428),
    NOTHING("TDFPC", 0x3430),
    {"TDBAL", 0x3800, 4, .writable = 0xfffffff0, .write = tdbal_write, F(tx.bal)},
    RW("TDBAH", 0x3804, UINT32_MAX, tx.bah),
    {"TDLEN", 0x3808, 4, .writable = 0xfff80, .write = tdlen_write, F(tx.len)},
    {"TDH", 0x3810, 4, .writable = 0xffff, .write = tdh_write, F(tx.head)},
    {"TDT", 0x3818, 4, .writable = 0xffff, .write = tdt_write, .flags = REG_DMA, F(tx.tail)},
    RW("TIDV", 0x3820, 0xffff, tidv),
    {"TXDCTL", 0x3828, 4, .writable = 0xff3f3f3f, .bits = txdctl_bits, F(txdctl)},
    RW("TADV", 0x382c, 0xffff, tadv),
    {"TSPMT", 0x3830, 4, .reset = 0x01000400, .writable = UINT32_MAX, .bits = tspmt_bits, F(tspmt)},

    STAT("CRCERRS", 0x4000), STAT("ALGNERRC", 0x4004), STAT("SYMERRS", 0x4008), STAT("RXERRC", 0x400c),
    STAT("MPC", STAT_MPC), STAT("SCC", 0x4014), STAT("ECOL", 0x4018), STAT("MCC", 0x401c), STAT("LATECOL", 0x4020),
    STAT("COLC", 0x4028), STAT("DC", 0x4030), STAT("TNCRS", 0x4034), STAT("SEC", 0x4038), STAT("CEXTERR", 0x403c),
    STAT("RLEC", 0x4040), STAT("XONRXC", STAT_XONRXC), STAT("XONTXC", 0x404c), STAT("XOFFRXC", STAT_XOFFRXC),
    STAT("XOFFTXC", 0x4054), STAT("FCRUC", STAT_FCRUC), STAT("PRC64", STAT_PRC64), STAT("PRC127", 0x4060),
    STAT("PRC255", 0x4064), STAT("PRC511", 0x4068), STAT("PRC1023", 0x406c), STAT("PRC1522", 0x4070),
    STAT("GPRC", STAT_GPRC), STAT("BPRC", STAT_BPRC), STAT("MPRC", STAT_MPRC), STAT("GPTC", STAT_GPTC),
    STAT64("GORC", STAT_GORCL, gorch_read), STAT64("GOTC", STAT_GOTCL, gotch_read),
    STAT("RNBC", STAT_RNBC), STAT("RUC", STAT_RUC), STAT("RFC", 0x40a8), STAT("ROC", STAT_ROC), STAT("RJC", 0x40b0),
    STAT("MGTPRC", 0x40b4), STAT("MGTPDC", 0x40b8), STAT("MGTPTC", 0x40bc),
    STAT64("TOR", STAT_TORL, torh_read), STAT64("TOT", STAT_TOTL, toth_read),
    STAT("TPR", STAT_TPR), STAT("TPT", STAT_TPT), STAT("PTC64", STAT_PTC64), STAT("PTC127", 0x40dc),
    STAT("PTC255", 0x40e0), STAT("PTC511", 0x40e4), STAT("PTC1023", 0x40e8), STAT("PTC1522", 0x40ec),
    STAT("MPTC", STAT_MPTC), STAT("BPTC", STAT_BPTC), STAT("TSCTC", STAT_TSCTC), STAT("TSCTFC", STAT_TSCTFC),

    {"RXCSUM", 0x5000, 4, .writable = 0x3ff, .write = rxcsum_write, .bits = rxcsum_bits, F(rxcsum)},
    {"MTA", 0x5200, 4, .count = E1000_MTA, .writable = UINT32_MAX, F(mta)},
    {"RAL", 0x5400, 4, .count = E1000_RA, .stride = 8, .field_stride = 8, .writable = UINT32_MAX, F(ra[0])},
    {"RAH", 0x5404, 4, .count = E1000_RA, .stride = 8, .field_stride = 8, .writable = 0x8003ffff, .bits = rah_bits, F(ra[1])},
    {"VFTA", 0x5600, 4, .count = E1000_MTA, .writable = UINT32_MAX, F(vfta)},
    {"WUC", 0x5800, 4, .writable = 0xb, .w1c = 4, .bits = wuc_bits, F(wuc)},
    {"WUFC", 0x5808, 4, .writable = 0xf80ff, .bits = wufc_bits, F(wufc)},
    {"WUS", 0x5810, 4, .w1c = 0xf00ff, .bits = wufc_bits, F(wus)},
    {"MANC", 0x5820, 4, .writable = UINT32_MAX, .bits = manc_bits, F(manc)},
    RW("IPAV", 0x5838, 0x1000f, ipav),
    {"IP4AT", 0x5840, 4, .count = 4, .stride = 8, .writable = UINT32_MAX, F(ip4at)},
    {"IP6AT", 0x5880, 4, .count = 4, .writable = UINT32_MAX, F(ip6at)},
    NOTHING("WUPL", 0x5900),
    {"WUPM", 0x5a00, 4, .count = 32, .flags = REG_RO},
    {"FFLT", 0x5f00, 4, .count = 4, .stride = 8, .writable = 0x7ff, F(fflt)},
    {"FFMT", 0x9000, 4, .count = 128, .stride = 8, .writable = 0xf, F(ffmt)},
    {"FFVT", 0x9800, 4, .count = 128, .stride = 8, .writable = UINT32_MAX, F(ffvt)},
    {0}
};

static const struct reg io_regs[] = {
    {"IOADDR", 0, 4, .writable = UINT32_MAX, F(ioaddr)},
    {"IODATA", 4, 4, .read = iodata_read, .write = iodata_write},
    {0}
};
/* clang-format on */

const struct reg_bank e1000_bank = {.name = "regs", .size = E1000_BAR_SIZE, .regs = regs};
const struct reg_bank e1000_io_bank = {.name = "io", .size = E1000_IO_SIZE, .regs = io_regs};
