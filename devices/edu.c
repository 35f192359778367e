/* SPDX-License-Identifier: MIT
 *
 * edu: QEMU's teaching device (its docs/specs/edu). PCI 1234:11e8, one BAR of 1 MiB, INTA# or one MSI vector. A factorial
 * takes a millisecond, a transfer between RAM and the device's buffer 100 ms; both end with an interrupt if asked.
 *
 * n! modulo 2^32 is 0 from 34 on, so no factorial takes longer than that. A transfer whose device side is not wholly in the
 * buffer copies nothing. While a transfer runs its four registers are locked.
 */
#include "devices/edu.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "pci/device.h"

enum {
    EDU_STATUS_COMPUTING = 0x01,
    EDU_STATUS_IRQFACT = 0x80,
    EDU_CMD_RUN = 0x01,
    EDU_CMD_FROM_EDU = 0x02,
    EDU_CMD_IRQ = 0x04,
    EDU_CMD_BITS = 0x07,
    EDU_IRQ_FACT = 0x001,
    EDU_IRQ_DMA = 0x100,
    EDU_BUFFER = 0x40000, /* its address inside the device */
    EDU_BUFFER_SIZE = 4096,
    EDU_ZERO_FACTORIAL = 34,
};
#define EDU_FACT_NS  1000000u
#define EDU_DMA_NS   100000000u
#define EDU_DMA_MASK ((UINT64_C(1) << 28) - 1)

struct edu {
    struct pci_device pci;
    uint32_t id, live, fact, status, irq;
    uint64_t src, dst, cnt, cmd;
    uint64_t dma_mask; /* option */
    uint8_t buffer[EDU_BUFFER_SIZE];
    struct device_timer fact_timer, dma_timer;
};

static void edu_raise(struct edu *e, uint32_t cause)
{
    e->irq |= cause;
    if (e->irq)
        pci_raise(&e->pci, 0);
}

static void edu_live_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    ((struct edu *)dev)->live = ~(uint32_t)value;
}

static void edu_fact_write(struct device *dev, unsigned index, uint64_t value)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    if (e->status & EDU_STATUS_COMPUTING)
        return;
    e->fact = (uint32_t)value;
    e->status |= EDU_STATUS_COMPUTING;
    device_timer_set(&e->fact_timer, loop_now(dev->board->loop) + EDU_FACT_NS);
}

static void edu_fact_done(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    uint32_t result = e->fact < EDU_ZERO_FACTORIAL;
    for (uint32_t n = result ? e->fact : 0; n > 1; n--)
        result *= n;
    e->fact = result;
    e->status &= ~(uint32_t)EDU_STATUS_COMPUTING;
    if (e->status & EDU_STATUS_IRQFACT)
        edu_raise(e, EDU_IRQ_FACT);
}

static void edu_irq_raise_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    edu_raise((struct edu *)dev, (uint32_t)value);
}

static void edu_irq_ack_write(struct device *dev, unsigned index, uint64_t value)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    e->irq &= ~(uint32_t)value;
    if (!e->irq)
        pci_lower(&e->pci);
}

/* src, dst and cnt are locked while a transfer runs. */
static void edu_dma_set(struct edu *e, uint64_t *reg, uint64_t value)
{
    if (!(e->cmd & EDU_CMD_RUN))
        *reg = value;
}
static void edu_src_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    edu_dma_set((struct edu *)dev, &((struct edu *)dev)->src, value);
}
static void edu_dst_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    edu_dma_set((struct edu *)dev, &((struct edu *)dev)->dst, value);
}
static void edu_cnt_write(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    edu_dma_set((struct edu *)dev, &((struct edu *)dev)->cnt, value);
}
static void edu_cmd_write(struct device *dev, unsigned index, uint64_t value)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    if (!(value & EDU_CMD_RUN) || e->cmd & EDU_CMD_RUN)
        return;
    e->cmd = value & EDU_CMD_BITS;
    device_timer_set(&e->dma_timer, loop_now(dev->board->loop) + EDU_DMA_NS);
}

static void edu_dma_done(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    bool from_edu = e->cmd & EDU_CMD_FROM_EDU;
    uint64_t at = (from_edu ? e->src : e->dst) - EDU_BUFFER; /* wraps below it: then it is too large */
    uint64_t gpa = (from_edu ? e->dst : e->src) & e->dma_mask;
    if (e->cnt > EDU_BUFFER_SIZE || at > EDU_BUFFER_SIZE - e->cnt)
        guest_bug("%s: dma refused: %s 0x%llx with count %llu is not in the buffer (0x40000-0x40fff)",
                  dev->id, from_edu ? "source" : "destination", (unsigned long long)(at + EDU_BUFFER),
                  (unsigned long long)e->cnt);
    else if (!pci_is_master(&e->pci))
        guest_bug("%s: dma refused: bus master off (COMMAND bit 2)", dev->id);
    else if (!(from_edu ? dma_write(&e->pci.dma, gpa, e->buffer + at, e->cnt)
                        : dma_read(&e->pci.dma, gpa, e->buffer + at, e->cnt)))
        guest_bug("%s: dma refused: 0x%llx with count %llu is not in RAM", dev->id, (unsigned long long)gpa,
                  (unsigned long long)e->cnt);
    e->cmd &= ~(uint64_t)EDU_CMD_RUN;
    if (e->cmd & EDU_CMD_IRQ)
        edu_raise(e, EDU_IRQ_DMA);
}

static const struct reg_bits edu_status_bits[] = {
    {"COMPUTING", 0, 1},
    {"IRQFACT",          7, 1},
    {0  }
};
static const struct reg_bits edu_irq_bits[] = {
    {"FACT", 0, 1},
    {"DMA",     8, 1},
    {0 }
};
static const struct reg_bits edu_cmd_bits[] = {
    {"RUN",      0, 1},
    {"FROM_EDU",         1, 1},
    {"IRQ", 2, 1},
    {0        }
};

#define DMA_REG .width = 8, .sizes = 4 | 8, .flags = REG_LOW
static const struct reg edu_regs[] = {
    {"ID",                     0x00, 4, .reset = 0x010000ed, .flags = REG_RO, REG_FIELD(struct edu, id)},
    {"LIVENESS",                       0x04, 4, .write = edu_live_write, REG_FIELD(struct edu, live)},
    {"FACTORIAL",         0x08, 4, .write = edu_fact_write, REG_FIELD(struct edu, fact)},
    {"STATUS",                     0x20, 4, .writable = EDU_STATUS_IRQFACT, .bits = edu_status_bits,
     REG_FIELD(struct edu, status)},
    {"INTR_STATUS",               0x24, 4, .flags = REG_RO, .bits = edu_irq_bits, REG_FIELD(struct edu, irq)},
    {"INTR_RAISE",                       0x60, 4, .flags = REG_WO, .write = edu_irq_raise_write, .bits = edu_irq_bits},
    {"INTR_ACK",    0x64, 4, .flags = REG_WO, .write = edu_irq_ack_write, .bits = edu_irq_bits},
    {"DMA_SRC",                        0x80, DMA_REG, .write = edu_src_write, REG_FIELD(struct edu, src)},
    {"DMA_DST",            0x88, DMA_REG, .write = edu_dst_write, REG_FIELD(struct edu, dst)},
    {"DMA_CNT", 0x90, DMA_REG, .write = edu_cnt_write, REG_FIELD(struct edu, cnt)},
    {"DMA_CMD",                   0x98, DMA_REG, .write = edu_cmd_write, .bits = edu_cmd_bits, REG_FIELD(struct edu, cmd)},
    {0                }
};
static const struct reg_bank edu_bank = {
    .name = "regs", .size = 1 << 20, .regs = edu_regs, .hole = UINT64_MAX};

static const char *edu_init(struct device *dev, struct board *board)
{
    static const struct pci_ids ids = {
        .vendor = 0x1234, .device = 0x11e8, .class_code = 0x00ff00, .revision = 0x10, .pin = 1};
    struct edu *e = (struct edu *)dev;
    const char *error = pci_device_init(&e->pci, board, &ids);
    if (error)
        return error;
    if (!e->dma_mask)
        e->dma_mask = EDU_DMA_MASK;
    device_timer_init(dev, &e->fact_timer, edu_fact_done);
    device_timer_init(dev, &e->dma_timer, edu_dma_done);
    pci_bar(&e->pci, 0, PCI_BAR_MEM32, &device_map(dev, 0)->region);
    return pci_msi(&e->pci, 1);
}

static void edu_reset(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    device_timer_cancel(&e->fact_timer);
    device_timer_cancel(&e->dma_timer);
    pci_lower(&e->pci);
}

/* What was under way starts over. */
static const char *edu_loaded(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    uint64_t now = loop_now(dev->board->loop);
    if (e->status & EDU_STATUS_COMPUTING)
        device_timer_set(&e->fact_timer, now + EDU_FACT_NS);
    if (e->cmd & EDU_CMD_RUN)
        device_timer_set(&e->dma_timer, now + EDU_DMA_NS);
    return NULL;
}

static const struct opt edu_options[] = {
    OPT_U64(struct edu, dma_mask, "dma_mask", 0, "MASK", "address bits that its DMA has",
            .dflt = "0xfffffff"),
    OPT_END,
};
static const struct state_field edu_state[] = {STATE_ARRAY(struct edu, buffer), {0}};

const struct device_class edu_class = {
    .name = "edu",
    .help = "QEMU's teaching device: factorials, DMA, INTx and MSI (PCI 1234:11e8)",
    .size = sizeof(struct edu),
    .options = edu_options,
    .bus_options = pci_bus_options,
    .banks = (const struct reg_bank *const[]){&edu_bank, NULL},
    .state = edu_state,
    .init = edu_init,
    .reset = edu_reset,
    .loaded = edu_loaded,
};
