/* SPDX-License-Identifier: MIT
 *
 * What hangs on the e1000's serial wires: a Microwire EEPROM of 64 words (317453-006, chapter 5; the protocol is that of a
 * 93C46 in words of 16 bits), and the PHY, a Marvell 88E1000, behind MDIC (13.4.8, chapter 14). And the link, which is the
 * PHY's to have and the MAC's to believe (CTRL.SLU).
 *
 * The partner at the other end of the cable can do everything up to 1000BASE-T full duplex, without PAUSE; it takes 10 ms to
 * come to terms with. Speed is a number that the guest reads: nothing here is slowed down by it.
 */
#include "e1000_priv.h"

enum {
    EECD_SK = 1u << 0, /* 13.4.4 */
    EECD_CS = 1u << 1,
    EECD_DI = 1u << 2,
    EECD_DO = 1u << 3,
    EECD_REQ = 1u << 6,
    EECD_GNT = 1u << 7,
    EECD_PRES = 1u << 8,
    EECD_WRITABLE = 0x77, /* SK, CS, DI, FWE, REQ */

    EERD_START = 1u << 0, /* 13.4.5 */
    EERD_DONE = 1u << 4,

    WIRE_READ = 2, /* opcodes after the start bit */
    WIRE_WRITE = 1,
    WIRE_ERASE = 3,
    WIRE_OTHER = 0, /* the address' upper bits say what */
    WIRE_EWDS = 0,
    WIRE_WRAL = 1,
    WIRE_ERAL = 2,
    WIRE_EWEN = 3,
    WIRE_COMMAND = 1u << 9, /* the marker's place: start bit, opcode and address are in, */
    WIRE_DATA = 1u << 25,   /* and a word behind them */

    MDIC_WRITE = 1, /* 13.4.8 */
    MDIC_READ = 2,
    MDIC_R = 1u << 28,
    MDIC_I = 1u << 29,
    MDIC_E = 1u << 30,
    PHY_ADDRESS = 1,

    PCTRL = 0, /* chapter 14, by their numbers */
    PSTATUS = 1,
    ANA = 4,
    LPA = 5,
    ANE = 6,
    GCON = 9,
    GSTATUS = 10,
    PSCON = 16,
    PSSTAT = 17,
    PINTS = 19,

    PCTRL_RESET = 1 << 15,
    PCTRL_LOOPBACK = 1 << 14,
    PCTRL_SPEED_LSB = 1 << 13,
    PCTRL_AN_ENABLE = 1 << 12,
    PCTRL_POWER_DOWN = 1 << 11,
    PCTRL_AN_RESTART = 1 << 9,
    PCTRL_DUPLEX = 1 << 8,
    PCTRL_SPEED_MSB = 1 << 6,
    PSTATUS_AN_COMPLETE = 1 << 5,
    PSTATUS_LINK = 1 << 2,
    PINTS_LINK = 1 << 10,
    PINTS_AN_COMPLETE = 1 << 11,

    SPEED_1000 = 2, /* as CTRL, STATUS and PSSTAT have it */
    NEGOTIATION_NS = 10000000,
};

/* --- EEPROM */

/* 5.6: address, identity, and the checksum that makes all of it 0xBABA. */
void e1000_eeprom_init(struct e1000 *e, const uint8_t mac[6])
{
    uint16_t sum = 0xbaba;
    memset(e->eeprom, 0xff, sizeof e->eeprom);
    for (int i = 0; i < 3; i++)
        e->eeprom[i] = (uint16_t)(mac[2 * i] | mac[2 * i + 1] << 8);
    e->eeprom[0x03] = 0;
    e->eeprom[0x0a] = 0x4403; /* signature 01b; identities are loaded */
    e->eeprom[0x0b] = pci_get16(e->pci.config + PCI_SUBSYSTEM_ID);
    e->eeprom[0x0c] = pci_get16(e->pci.config + PCI_SUBSYSTEM_VENDOR_ID);
    e->eeprom[0x0d] = pci_get16(e->pci.config + PCI_DEVICE_ID);
    e->eeprom[0x0e] = pci_get16(e->pci.config + PCI_VENDOR_ID);
    e->eeprom[0x0f] = 0x3040; /* PAUSE both ways is advertised */
    e->eeprom[0x10] = e->eeprom[0x11] = e->eeprom[0x20] = e->eeprom[0x21] = 0;
    e->eeprom[0x24] = 0; /* no wake-up */
    for (int i = 0; i < 0x3f; i++)
        sum = (uint16_t)(sum - e->eeprom[i]);
    e->eeprom[0x3f] = sum;
}

static void wire_program(struct e1000 *e, unsigned first, unsigned n, uint16_t value)
{
    for (unsigned i = first; e->wire_write && i < first + n; i++)
        e->eeprom[i] = value;
}

/* A whole command is in. It goes on with a word out or in, or is over: deaf until CS falls. */
static void wire_command(struct e1000 *e)
{
    unsigned address = e->wire_shift % E1000_EEPROM;
    switch (e->wire_shift >> 6 & 3) {
    case WIRE_READ:
        e->wire_out = e->eeprom[address];
        e->wire_left = 16;
        return;
    case WIRE_WRITE:
        return;
    case WIRE_ERASE:
        wire_program(e, address, 1, 0xffff);
        break;
    case WIRE_OTHER:
        if (address >> 4 == WIRE_WRAL)
            return;
        if (address >> 4 == WIRE_ERAL)
            wire_program(e, 0, E1000_EEPROM, 0xffff);
        else
            e->wire_write = address >> 4 == WIRE_EWEN;
    }
    e->wire_shift = 0;
}

static void wire_data(struct e1000 *e)
{
    unsigned command = e->wire_shift >> 16, address = command % E1000_EEPROM;
    if ((command >> 6 & 3) == WIRE_WRITE)
        wire_program(e, address, 1, (uint16_t)e->wire_shift);
    else
        wire_program(e, 0, E1000_EEPROM, (uint16_t)e->wire_shift);
    e->wire_shift = 0;
}

/* SK rises. Bits before the start bit are nothing; a read goes on with the next word for as long as it is clocked. */
static void wire_clock(struct e1000 *e, bool in)
{
    if (e->wire_left) {
        e->eecd = (e->eecd & ~(uint32_t)EECD_DO) | (e->wire_out >> 15 ? EECD_DO : 0);
        e->wire_out = (uint16_t)(e->wire_out << 1);
        if (--e->wire_left == 0) {
            e->wire_shift = (e->wire_shift & ~(E1000_EEPROM - 1u)) | (e->wire_shift + 1) % E1000_EEPROM;
            e->wire_out = e->eeprom[e->wire_shift % E1000_EEPROM];
            e->wire_left = 16;
        }
        return;
    }
    if (!e->wire_shift || (e->wire_shift == 1 && !in))
        return;
    e->wire_shift = e->wire_shift << 1 | in;
    if (e->wire_shift >> 9 == 1 && e->wire_shift >= WIRE_COMMAND) {
        e->eecd &= ~(uint32_t)EECD_DO; /* the zero in front of a word */
        wire_command(e);
    } else if (e->wire_shift >= WIRE_DATA) {
        wire_data(e);
    }
}

uint64_t e1000_eecd_read(struct device *dev, unsigned index)
{
    uint32_t eecd = e1000_of(dev)->eecd;
    (void)index;
    return eecd | EECD_PRES | (eecd & EECD_REQ ? EECD_GNT : 0);
}

void e1000_eecd_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    uint32_t old = e->eecd, now = (uint32_t)value & EECD_WRITABLE;
    (void)index;
    e->eecd = now | (old & EECD_DO);
    if (!(now & EECD_CS)) {
        e->wire_shift = e->wire_left = 0;
    } else if (!(old & EECD_CS)) {
        e->wire_shift = 1; /* the marker: so many bits are in as are below it */
        e->wire_left = 0;
        e->eecd |= EECD_DO; /* ready: what was written is written */
    } else if (now & EECD_SK && !(old & EECD_SK)) {
        wire_clock(e, now & EECD_DI);
    }
}

void e1000_eerd_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    unsigned address = value >> 8 & 0xff;
    (void)index;
    e->eerd = (uint32_t)value & 0xff00;
    if (value & EERD_START)
        e->eerd |= EERD_DONE | (uint32_t)(address < E1000_EEPROM ? e->eeprom[address] : 0xffff) << 16;
}

/* --- the PHY's registers */

/* Reset values and writable bits; those not named read 0. */
static const struct {
    uint16_t reset, writable;
} phy_regs[E1000_PHY] = {
    [PCTRL] = {PCTRL_AN_ENABLE | PCTRL_DUPLEX | PCTRL_SPEED_MSB, 0x7dc0},
    [2] = {0x0141,                                           0     }, /* Marvell, */
    [3] = {0x0c20,                                           0     }, /* 88E1000 as the 82540EM has it */
    [ANA] = {0x0de1,                                           0xafe0},
    [7] = {0x2001,                                           0xb7ff},
    [GCON] = {0x0300,                                           0xff00},
    [15] = {0x3000,                                           0     },
    [PSCON] = {0x0068,                                           0xffff},
    [18] = {0,                                                0xffff},
    [20] = {0x0d60,                                           0xffff},
    [24] = {0x4100,                                           0xffff},
    [25] = {0,                                                0xffff},
    [26] = {0x000a,                                           0xffff},
    [29] = {0,                                                0xffff},
    [30] = {0,                                                0xffff},
};

/* What both ends agree on, or what was forced: speed as in STATUS, and full duplex. */
static unsigned phy_speed(const struct e1000 *e, bool *full)
{
    uint16_t control = e->phy[PCTRL];
    if (!(control & PCTRL_AN_ENABLE)) {
        unsigned speed = (control & PCTRL_SPEED_MSB ? 2u : 0) + (control & PCTRL_SPEED_LSB ? 1u : 0);
        *full = control & PCTRL_DUPLEX;
        return speed > SPEED_1000 ? SPEED_1000 : speed;
    }
    if (e->phy[GCON] & 0x0300) {
        *full = e->phy[GCON] & 0x0200;
        return SPEED_1000;
    }
    if (e->phy[ANA] & 0x0180) {
        *full = e->phy[ANA] & 0x0100;
        return 1;
    }
    *full = e->phy[ANA] & 0x0040;
    return 0;
}

static uint16_t phy_read(struct e1000 *e, unsigned reg)
{
    bool link = e1000_phy_link(e), full;
    unsigned speed = phy_speed(e, &full);
    uint16_t value = e->phy[reg];
    switch (reg) {
    case PSTATUS: /* a link that was lost shows once, even if it is back (14.2) */
        value = 0x7949;
        if (link && !e->link_low)
            value |= PSTATUS_LINK;
        if (link && e->phy[PCTRL] & PCTRL_AN_ENABLE)
            value |= PSTATUS_AN_COMPLETE;
        e->link_low = !link; /* and one that is down shows after it came up */
        break;
    case LPA:
        value = link ? 0x41e1 : 0;
        break;
    case ANE:
        value = link ? 5 : 4;
        break;
    case GSTATUS:
        value = link && speed == SPEED_1000 ? 0x7c00 : 0;
        break;
    case PSSTAT:
        value = (uint16_t)(link ? speed << 14 | (unsigned)full << 13 | 0x0c00 : 0);
        break;
    case PINTS:
        e->phy[PINTS] = 0;
    }
    return value;
}

static void phy_write(struct e1000 *e, unsigned reg, uint16_t value)
{
    bool was = e1000_link(e);
    e->phy[reg] = (uint16_t)((e->phy[reg] & ~phy_regs[reg].writable) | (value & phy_regs[reg].writable));
    if (reg != PCTRL)
        return;
    if (value & (PCTRL_RESET | PCTRL_AN_RESTART))
        e1000_negotiate(e);
    else if (was != e1000_link(e)) /* powered down, or up */
        e1000_link_changed(e);
}

void e1000_phy_reset(struct e1000 *e)
{
    for (unsigned i = 0; i < E1000_PHY; i++)
        e->phy[i] = phy_regs[i].reset;
    e1000_negotiate(e);
}

void e1000_mdic_write(struct device *dev, unsigned index, uint64_t value)
{
    struct e1000 *e = e1000_of(dev);
    unsigned reg = value >> 16 & 31, op = value >> 26 & 3;
    uint32_t mdic = (uint32_t)value & ~(uint32_t)(MDIC_E | 1u << 31);
    (void)index;
    e1000_lint(e, LINT_MDIC, (value >> 21 & 31) != PHY_ADDRESS);
    if ((value >> 21 & 31) != PHY_ADDRESS || (op != MDIC_WRITE && op != MDIC_READ))
        mdic |= MDIC_E; /* nobody answers */
    else if (op == MDIC_READ)
        mdic = (mdic & ~0xffffu) | phy_read(e, reg);
    else
        phy_write(e, reg, (uint16_t)value);
    e->mdic = mdic | MDIC_R;
    if (value & MDIC_I)
        e1000_cause(e, ICR_MDAC);
}

/* --- the link */

bool e1000_phy_link(const struct e1000 *e)
{
    return e->cable && e->negotiated && !(e->phy[PCTRL] & PCTRL_POWER_DOWN);
}

bool e1000_link(const struct e1000 *e)
{
    return e1000_phy_link(e) && e->ctrl & CTRL_SLU;
}

bool e1000_looped(const struct e1000 *e)
{
    return (e->rctl & RCTL_LBM) == 1u << 6 || (e->rctl & RCTL_LBM) == RCTL_LBM ||
           e->phy[PCTRL] & PCTRL_LOOPBACK;
}

uint32_t e1000_status(const struct e1000 *e)
{
    bool full;
    unsigned resolved = phy_speed(e, &full);
    unsigned speed = e->ctrl & CTRL_FRCSPD ? e->ctrl >> CTRL_SPEED_SHIFT & 3 : resolved;
    if (e->ctrl & CTRL_FRCDPX)
        full = e->ctrl & CTRL_FD;
    return (full ? STATUS_FD : 0) | (e1000_link(e) ? STATUS_LU : 0) | speed << STATUS_SPEED_SHIFT |
           resolved << STATUS_ASDV_SHIFT;
}

void e1000_link_changed(struct e1000 *e)
{
    if (!e1000_link(e))
        e->link_low = 1;
    e->phy[PINTS] |= PINTS_LINK;
    e1000_cause(e, ICR_LSC);
    e1000_tx_kick(e); /* who waited for the peer does not any more, with the link down */
    e1000_rx_kick(e);
}

void e1000_negotiate(struct e1000 *e)
{
    bool was = e1000_link(e);
    e->negotiated = 0;
    if (was)
        e1000_link_changed(e);
    device_timer_set(&e->link_timer, e1000_now(e) + NEGOTIATION_NS);
}

void e1000_negotiated(struct device *dev)
{
    struct e1000 *e = e1000_of(dev);
    e->negotiated = 1;
    e->phy[PINTS] |= PINTS_AN_COMPLETE;
    if (e1000_link(e))
        e1000_link_changed(e);
}
