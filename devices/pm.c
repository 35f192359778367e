/* SPDX-License-Identifier: MIT
 *
 * ACPI's fixed hardware (ACPI 6.4, 4.8.3.1-4.8.3.3): PM1 event and control registers, the PM timer, the SCI; and the reset
 * register of Intel's chipsets at 0xcf9. The timer is computed when it is read. Its carry (TMR_STS: bit 31 changed) is found
 * at reads of PM1_STS, and only a guest that enabled its interrupt makes a timer run.
 */
#include "devices/pm.h"

#include <stdlib.h>

#include "kvm/host/log.h"
#include "kvm/irq.h"
#include "mem/device.h"

enum {
    PM1_STS = 0,
    PM1_EN = 2,
    PM1_CNT = 4,
    PM_TMR = 8,

    TMR_STS = 1 << 0,
    BM_STS = 1 << 4,
    GBL_STS = 1 << 5,
    PWRBTN_STS = 1 << 8,
    SLPBTN_STS = 1 << 9,
    RTC_STS = 1 << 10,
    WAK_STS = 1 << 15,
    PM1_STS_ALL = TMR_STS | BM_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS | WAK_STS,
    /* each enables the status bit of its place */
    PM1_EN_ALL = TMR_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS,

    SCI_EN = 1 << 0,
    BM_RLD = 1 << 1,
    SLP_TYP = 7 << 10,
    SLP_EN = 1 << 13,

    SYS_RST = 1 << 1,
    RST_CPU = 1 << 2,
    FULL_RST = 1 << 3,

    CARRY_LEAST_NS = 50000000, /* of the ten minutes between two carries */
};

struct pm {
    struct device dev;
    struct irq_line sci;
    struct device_timer carry;
    uint16_t sts, en, cnt;
    /* changes of the timer's bit 31 up to the last one that is in TMR_STS or was cleared */
    uint64_t carries_seen;
};

static struct pm *to_pm(struct device *dev)
{
    return (struct pm *)dev;
}

static uint64_t ticks(struct pm *pm)
{
    return (uint64_t)((unsigned __int128)board_guest_time(pm->dev.board) * PM_TIMER_HZ / 1000000000);
}

static void pm_update(struct pm *pm)
{
    uint64_t now = ticks(pm);

    if (now >> 31 != pm->carries_seen) {
        pm->carries_seen = now >> 31;
        pm->sts |= TMR_STS;
    }
    bool level = pm->sts & pm->en & PM1_EN_ALL;
    if (level != pm->sci.level)
        irq_line_set(&pm->sci, level);
    if ((pm->en & TMR_STS) && !(pm->sts & TMR_STS)) {
        uint64_t left = (((now >> 31) + 1) << 31) - now;
        uint64_t ns = (uint64_t)((unsigned __int128)left * 1000000000 / PM_TIMER_HZ) + 1;
        /* no sooner: guest time stands still while paused, and the last moment before a carry must not become a spin */
        device_timer_set(&pm->carry,
                         loop_now(pm->dev.board->loop) + (ns < CARRY_LEAST_NS ? CARRY_LEAST_NS : ns));
    } else {
        device_timer_cancel(&pm->carry);
    }
}

static void carry_due(struct device *dev)
{
    pm_update(to_pm(dev)); /* early, when the guest was paused meanwhile: armed again there */
}

static uint64_t sts_read(struct device *dev, unsigned index)
{
    (void)index;
    pm_update(to_pm(dev));
    return to_pm(dev)->sts;
}

static void sts_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    if (value & TMR_STS) /* cleared by the table: with it all carries until now */
        to_pm(dev)->carries_seen = ticks(to_pm(dev)) >> 31;
    pm_update(to_pm(dev));
}

static void en_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index, (void)value; /* stored by the table */
    pm_update(to_pm(dev));
}

static void cnt_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    if (!(value & SLP_EN))
        return;
    if ((value & SLP_TYP) >> 10 == PM_SLP_TYP_S5)
        board_end(dev->board, BOARD_POWEROFF, 0);
    else
        guest_bug("%s: PM1_CNT: sleep type %u: there is only %u, power off", dev->id,
                  (unsigned)(value & SLP_TYP) >> 10, PM_SLP_TYP_S5);
}

static uint64_t tmr_read(struct device *dev, unsigned index)
{
    (void)index;
    return ticks(to_pm(dev)) & UINT32_MAX;
}

/* clang-format off */
static const struct reg_bits sts_bits[] = {
    {"TMR", 0, 1}, {"BM", 4, 1}, {"GBL", 5, 1}, {"PWRBTN", 8, 1}, {"SLPBTN", 9, 1}, {"RTC", 10, 1}, {"WAK", 15, 1},
    {0}};
static const struct reg_bits cnt_bits[] = {
    {"SCI_EN", 0, 1}, {"BM_RLD", 1, 1}, {"SLP_TYP", 10, 3}, {"SLP_EN", 13, 1}, {0}};

/* SCI_EN is always on: without an SMI command port there is no other mode (ACPI 6.4, 4.8.3.2.1). */
static const struct reg pm_regs[] = {
    {"PM1_STS", PM1_STS, 2, .sizes = 1 | 2, .w1c = PM1_STS_ALL, .read = sts_read, .write = sts_write,
     .flags = REG_PURE, .bits = sts_bits, REG_FIELD(struct pm, sts)},
    {"PM1_EN", PM1_EN, 2, .sizes = 1 | 2, .writable = PM1_EN_ALL, .write = en_write, .bits = sts_bits,
     REG_FIELD(struct pm, en)},
    {"PM1_CNT", PM1_CNT, 2, .sizes = 1 | 2, .reset = SCI_EN, .writable = BM_RLD | SLP_TYP, .write = cnt_write,
     .bits = cnt_bits, REG_FIELD(struct pm, cnt)},
    {"PM_TMR", PM_TMR, 4, .sizes = 1 | 2 | 4, .flags = REG_PURE, .read = tmr_read},
    {0},
};
/* clang-format on */
static const struct reg_bank pm_bank = {.name = "regs", .size = PM_LEN, .regs = pm_regs, .hole = UINT64_MAX};

bool pm_power_button(struct device *dev)
{
    struct pm *pm = to_pm(dev);

    lock_take(&dev->lock);
    bool heard = pm->en & PWRBTN_STS;
    pm->sts |= PWRBTN_STS;
    pm_update(pm);
    lock_drop(&dev->lock);
    return heard;
}

static const char *pm_init(struct device *dev, struct board *board)
{
    struct pm *pm = to_pm(dev);

    irq_line_init(&pm->sci, board->irqs, PM_SCI, dev->id);
    device_timer_init(dev, &pm->carry, carry_due);
    device_map_ports(dev, 0, PM_BASE);
    return NULL;
}

static void pm_reset(struct device *dev)
{
    to_pm(dev)->carries_seen = ticks(to_pm(dev)) >> 31;
    pm_update(to_pm(dev));
}

static const char *pm_loaded(struct device *dev)
{
    to_pm(dev)->cnt |= SCI_EN;
    pm_update(to_pm(dev));
    return NULL;
}

static const struct state_field pm_state[] = {STATE(struct pm, carries_seen), {0}};

const struct device_class pm_class = {
    .name = "pm",
    .help = "ACPI power management: power button, power-off, timer",
    .size = sizeof(struct pm),
    .banks = (const struct reg_bank *const[]){&pm_bank, NULL},
    .state = pm_state,
    .internal = true,
    .single = true,
    .init = pm_init,
    .reset = pm_reset,
    .loaded = pm_loaded,
};

/* ---- 0xcf9 ---- */

struct reset {
    struct device dev;
    uint8_t control;
};

static void reset_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    if (value & RST_CPU)
        board_end(dev->board, BOARD_REBOOT, 0);
}

static const struct reg_bits reset_bits[] = {
    {"SYS_RST", 1, 1},
    {"RST_CPU",        2, 1},
    {"FULL_RST", 3, 1},
    {0       }
};
static const struct reg reset_regs[] = {
    {"RST_CNT", 0, 1, .writable = SYS_RST | FULL_RST, .write = reset_write, .bits = reset_bits,
     REG_FIELD(struct reset, control)},
    {0       }
};
/* Not split: words at 0xcf9 belong to nobody, and a dword at 0xcf8 begins in the configuration address's region, which
 * takes it whole. */
static const struct reg_bank reset_bank = {.name = "port", .size = 1, .regs = reset_regs, .hole = UINT64_MAX};

static const char *reset_init(struct device *dev, struct board *board)
{
    /* over the PCI host's configuration address, 0xcf8-0xcfb */
    return region_add(board->io_root, &device_map(dev, 0)->region, RESET_PORT, 1)
               ? NULL
               : "port 0xcf9: cannot be mapped";
}

const struct device_class reset_class = {
    .name = "reset",
    .help = "port 0xcf9: resets the machine",
    .size = sizeof(struct reset),
    .banks = (const struct reg_bank *const[]){&reset_bank, NULL},
    .internal = true,
    .single = true,
    .init = reset_init,
};
