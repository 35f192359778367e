/* SPDX-License-Identifier: MIT
 *
 * edu: QEMU's teaching device (its docs/specs/edu). PCI 1234:11e8, one BAR of 1 MiB, INTA# or one MSI vector. A factorial
 * takes a millisecond, a transfer between RAM and the device's buffer 100 ms; both end with an interrupt if asked.
 *
 * n! modulo 2^32 is 0 from 34 on, so no factorial takes longer than that. A transfer whose device side is not wholly in the
 * buffer copies nothing. While one runs its registers are locked.
 */
#include "devices/edu.h"
#include "kvm/host/log.h"
#include "mem/access.h"
#include "mem/watch.h"
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
    EDU_FACT_NS = 1000000,
    EDU_DMA_NS = 100000000,
    EDU_DMA_MASK = (1 << 28) - 1,
};

enum {
    EDU_DROP_RANGE,
    EDU_LINT_MASK = 0,
};
static const char *const edu_drops[] = {"dma drop: not in the buffer (0x40000-0x40fff)", NULL};
static const char *const edu_lints[] = {"DMA address with bits that dma_mask has not: they are cut off",
                                        NULL};

struct edu {
    struct pci_device pci;
    uint32_t id, live, fact, status, irq;
    uint64_t src, dst, cnt, cmd;
    uint64_t dma_mask; /* option */
    uint8_t buffer[EDU_BUFFER_SIZE];
    struct device_timer fact_timer, dma_timer;
};

static bool edu_is_computing(const struct device *dev)
{
    return ((const struct edu *)dev)->status & EDU_STATUS_COMPUTING;
}
static bool edu_is_running(const struct device *dev)
{
    return ((const struct edu *)dev)->cmd & EDU_CMD_RUN;
}

/* What is under way; after a load it starts over. */
static const char *edu_go_on(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    if (edu_is_computing(dev))
        device_timer_after(&e->fact_timer, EDU_FACT_NS);
    if (edu_is_running(dev))
        device_timer_after(&e->dma_timer, EDU_DMA_NS);
    return NULL;
}

static void edu_raise(struct device *dev, unsigned index, uint64_t causes)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    if (e->irq |= (uint32_t)causes)
        pci_raise(&e->pci, 0);
}

static void edu_ack(struct device *dev, unsigned index, uint64_t causes)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    if (!(e->irq &= ~(uint32_t)causes))
        pci_lower(&e->pci);
}

static void edu_live(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    ((struct edu *)dev)->live = ~(uint32_t)value;
}

static void edu_fact(struct device *dev, unsigned index, uint64_t value)
{
    struct edu *e = (struct edu *)dev;
    (void)index, (void)value;
    e->status |= EDU_STATUS_COMPUTING;
    device_timer_after(&e->fact_timer, EDU_FACT_NS);
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
        edu_raise(dev, 0, EDU_IRQ_FACT);
}

static void edu_cmd(struct device *dev, unsigned index, uint64_t value)
{
    struct edu *e = (struct edu *)dev;
    (void)index;
    if (!(value & EDU_CMD_RUN))
        return;
    e->cmd = value & EDU_CMD_BITS;
    device_timer_after(&e->dma_timer, EDU_DMA_NS);
}

static void edu_dma_done(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    bool from_edu = e->cmd & EDU_CMD_FROM_EDU;
    uint64_t at = (from_edu ? e->src : e->dst) - EDU_BUFFER; /* wraps below it: then it is too large */
    uint64_t gpa = (from_edu ? e->dst : e->src) & e->dma_mask;
    const char *why = NULL;
    if (e->cnt > EDU_BUFFER_SIZE || at > EDU_BUFFER_SIZE - e->cnt)
        device_drop(dev, EDU_DROP_RANGE), why = "not in the buffer (0x40000-0x40fff)";
    else if (!(from_edu ? dma_write(&e->pci.dma, gpa, e->buffer + at, e->cnt)
                        : dma_read(&e->pci.dma, gpa, e->buffer + at, e->cnt)))
        why = pci_is_master(&e->pci) ? "not in RAM" : "bus master off (COMMAND bit 2)";
    if (gpa != (from_edu ? e->dst : e->src))
        device_lint(dev, EDU_LINT_MASK);
    if (why)
        guest_bug("%s: dma refused: %s: 0x%llx in the device, 0x%llx in memory, count %llu", dev->id, why,
                  at + EDU_BUFFER + 0ull, gpa + 0ull, e->cnt + 0ull);
    e->cmd &= ~(uint64_t)EDU_CMD_RUN;
    if (e->cmd & EDU_CMD_IRQ)
        edu_raise(dev, 0, EDU_IRQ_DMA);
}

static const char *edu_explain(struct device *dev, const struct reg *reg, unsigned index, bool write,
                               uint64_t value, char *buf, size_t size)
{
    const struct edu *e = (struct edu *)dev;
    (void)index;
    if (!reg)
        snprintf(buf, size, "0x%x", e->irq);
    else if (write && reg->write == edu_cmd && value & EDU_CMD_RUN)
        snprintf(buf, size, "%llu bytes 0x%llx -> 0x%llx, %s RAM", e->cnt + 0ull, e->src + 0ull,
                 e->dst + 0ull, value & EDU_CMD_FROM_EDU ? "to" : "from");
    else
        return NULL;
    return buf;
}

#define IRQ_BITS .bits = REG_BITS({"FACT", 0, 1}, {"DMA", 8, 1})
#define DMA_REG  .width = 8, .sizes = 4 | 8, .locked = edu_is_running, .flags = REG_LOW
/* clang-format off */
static const struct reg edu_regs[] = {
    {"ID",          0x00, 4, .flags = REG_RO, .reset = 0x010000ed, REG_FIELD(struct edu, id)},
    {"LIVENESS",    0x04, 4, .write = edu_live, REG_FIELD(struct edu, live)},
    {"FACTORIAL",   0x08, 4, .writable = UINT32_MAX, .write = edu_fact, .locked = edu_is_computing, REG_FIELD(struct edu, fact)},
    {"STATUS",      0x20, 4, .writable = EDU_STATUS_IRQFACT, REG_FIELD(struct edu, status), .bits = REG_BITS({"COMPUTING", 0, 1}, {"IRQFACT", 7, 1})},
    {"INTR_STATUS", 0x24, 4, .flags = REG_RO, REG_FIELD(struct edu, irq), IRQ_BITS},
    {"INTR_RAISE",  0x60, 4, .flags = REG_WO, .write = edu_raise, IRQ_BITS},
    {"INTR_ACK",    0x64, 4, .flags = REG_WO, .write = edu_ack, IRQ_BITS},
    {"DMA_SRC",     0x80, DMA_REG, .writable = UINT64_MAX, REG_FIELD(struct edu, src)},
    {"DMA_DST",     0x88, DMA_REG, .writable = UINT64_MAX, REG_FIELD(struct edu, dst)},
    {"DMA_CNT",     0x90, DMA_REG, .writable = UINT64_MAX, REG_FIELD(struct edu, cnt)},
    {"DMA_CMD",     0x98, DMA_REG | REG_DMA, .write = edu_cmd, REG_FIELD(struct edu, cmd), .bits = REG_BITS({"RUN", 0, 1}, {"FROM_EDU", 1, 1}, {"IRQ", 2, 1})},
    {0},
};
/* clang-format on */
static const struct reg_bank edu_bank = {"regs", 1 << 20, edu_regs, .hole = UINT64_MAX};

static const char *edu_init(struct device *dev, struct board *board)
{
    static const struct pci_ids ids = {0x1234, 0x11e8, .class_code = 0x00ff00, .revision = 0x10, .pin = 1};
    struct edu *e = (struct edu *)dev;
    const char *error = pci_device_init(&e->pci, board, &ids);
    if (error)
        return error;
    if (!e->dma_mask)
        e->dma_mask = EDU_DMA_MASK;
    device_timer_init(dev, &e->fact_timer, edu_fact_done);
    device_timer_init(dev, &e->dma_timer, edu_dma_done);
    pci_bar(&e->pci, 0, PCI_BAR_MEM32, &device_map(dev, 0)->region);
    return pci_msi_unmaskable(&e->pci);
}

static void edu_reset(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    device_timer_cancel(&e->fact_timer);
    device_timer_cancel(&e->dma_timer);
    pci_lower(&e->pci);
}

static const struct opt edu_options[] = {
    OPT_U64(struct edu, dma_mask, "dma_mask", 0, "MASK", "address bits that its DMA has",
            .dflt = "0xfffffff"),
    OPT_END,
};

const struct device_class edu_class = {
    .name = "edu",
    .help = "QEMU's teaching device: factorials, DMA, INTx and MSI (PCI 1234:11e8)",
    .size = sizeof(struct edu),
    .options = edu_options,
    .bus_options = pci_bus_options,
    .banks = (const struct reg_bank *const[]){&edu_bank, NULL},
    .state = (const struct state_field[]){ STATE_ARRAY(struct edu,  buffer),  {0}},
    .init = edu_init,
    .reset = edu_reset,
    .loaded = edu_go_on,
    .drops = edu_drops,
    .lints = edu_lints,
    .explain = edu_explain,
};
