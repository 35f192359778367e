/* SPDX-License-Identifier: MIT
 *
 * edu: QEMU's teaching device (its docs/specs/edu). PCI 1234:11e8, one BAR of 1 MiB, INTA# or one MSI vector. A factorial
 * takes a millisecond, a transfer between RAM and the device's buffer 100 ms; both end with an interrupt if asked.
 *
 * n! modulo 2^32 is 0 from 34 on, so no factorial takes longer than that. A transfer whose device side is not wholly in the
 * buffer copies nothing.
 */
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
};
enum edu_drop {
    EDU_DROP_RANGE
};
enum edu_lint {
    EDU_LINT_MASK
};

struct edu {
    struct pci_device pci;
    uint32_t live, fact, status, irq;
    uint64_t src, dst, cnt, cmd, dma_mask;
    uint8_t buffer[EDU_BUFFER_SIZE];
    struct device_timer fact_timer, dma_timer;
};

static struct edu *edu(struct device *dev)
{
    return (struct edu *)dev;
}

static void edu_live(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    edu(dev)->live = ~(uint32_t)value;
}

static void edu_raise(struct device *dev, unsigned index, uint64_t causes)
{
    (void)index;
    if ((edu(dev)->irq |= (uint32_t)causes))
        pci_raise(&edu(dev)->pci, 0);
}

static void edu_ack(struct device *dev, unsigned index, uint64_t causes)
{
    (void)index;
    if (!(edu(dev)->irq &= ~(uint32_t)causes))
        pci_lower(&edu(dev)->pci);
}

static void edu_fact_done(struct device *dev)
{
    struct edu *e = edu(dev);
    uint32_t result = e->fact < 34;
    for (uint32_t n = result ? e->fact : 0; n > 1; n--)
        result *= n;
    e->fact = result;
    if (e->status & EDU_STATUS_IRQFACT)
        edu_raise(dev, 0, EDU_IRQ_FACT);
}

static void edu_dma_done(struct device *dev)
{
    struct edu *e = edu(dev);
    bool from_edu = e->cmd & EDU_CMD_FROM_EDU;
    uint64_t at = (from_edu ? e->src : e->dst) - EDU_BUFFER; /* wraps below it: then it is too large */
    uint64_t wanted = from_edu ? e->dst : e->src, gpa = wanted & e->dma_mask;
    const char *why = NULL;
    if (gpa != wanted)
        device_lint(dev, EDU_LINT_MASK);
    if (e->cnt > EDU_BUFFER_SIZE || at > EDU_BUFFER_SIZE - e->cnt)
        device_drop(dev, EDU_DROP_RANGE), why = "not in the buffer (0x40000-0x40fff)";
    else if (!(from_edu ? dma_write(&e->pci.dma, gpa, e->buffer + at, e->cnt)
                        : dma_read(&e->pci.dma, gpa, e->buffer + at, e->cnt)))
        why = pci_is_master(&e->pci) ? "not in RAM" : "bus master off (COMMAND bit 2)";
    if (why)
        guest_bug("%s: dma refused: %s: 0x%llx in the device, 0x%llx in memory, count %llu", dev->id, why,
                  at + EDU_BUFFER + 0ull, gpa + 0ull, e->cnt + 0ull);
    if (e->cmd & EDU_CMD_IRQ)
        edu_raise(dev, 0, EDU_IRQ_DMA);
}

static void edu_explain(struct device *dev, const struct reg *reg, bool write, uint64_t value, char *buf,
                        size_t size)
{
    const struct edu *e = edu(dev);
    if (!reg)
        snprintf(buf, size, "0x%x", e->irq);
    else if (write && reg->flags & REG_DMA && value & EDU_CMD_RUN)
        snprintf(buf, size, "%llu bytes 0x%llx -> 0x%llx, %s RAM", e->cnt + 0ull, e->src + 0ull,
                 e->dst + 0ull, value & EDU_CMD_FROM_EDU ? "to" : "from");
}

static const char *edu_init(struct device *dev, struct board *board)
{
    static const struct pci_ids ids = {0x1234, 0x11e8, .class_code = 0x00ff00, .revision = 0x10, .pin = 1};
    const char *error = pci_device_init(&edu(dev)->pci, board, &ids);
    if (error)
        return error;
    if (!edu(dev)->dma_mask)
        edu(dev)->dma_mask = (1 << 28) - 1;
    pci_bar(&edu(dev)->pci, 0, PCI_BAR_MEM32, &device_map(dev, 0)->region);
    return pci_msi_unmaskable(&edu(dev)->pci);
}

/* clang-format off */
static const struct job edu_fact = {JOB(struct edu, fact_timer, status), EDU_STATUS_COMPUTING, 1000000, edu_fact_done};
static const struct job edu_dma = {JOB(struct edu, dma_timer, cmd), EDU_CMD_RUN, 100000000, edu_dma_done};

#define IRQ_BITS .bits = REG_BITS({"FACT", 0, 1}, {"DMA", 8, 1})
#define DMA_REG  .width = 8, .sizes = 4 | 8, .job = &edu_dma
static const struct reg edu_regs[] = {
    {"ID",          0x00, 4, .flags = REG_RO, .reset = 0x010000ed},
    {"LIVENESS",    0x04, 4, .write = edu_live, REG_FIELD(struct edu, live)},
    {"FACTORIAL",   0x08, 4, .flags = REG_START, .job = &edu_fact, .writable = UINT32_MAX, REG_FIELD(struct edu, fact)},
    {"STATUS",      0x20, 4, .writable = EDU_STATUS_IRQFACT, REG_FIELD(struct edu, status), .bits = REG_BITS({"COMPUTING", 0, 1}, {"IRQFACT", 7, 1})},
    {"INTR_STATUS", 0x24, 4, .flags = REG_RO, REG_FIELD(struct edu, irq), IRQ_BITS},
    {"INTR_RAISE",  0x60, 4, .flags = REG_WO, .write = edu_raise, IRQ_BITS},
    {"INTR_ACK",    0x64, 4, .flags = REG_WO, .write = edu_ack, IRQ_BITS},
    {"DMA_SRC",     0x80, DMA_REG, .flags = REG_LOW, .writable = UINT64_MAX, REG_FIELD(struct edu, src)},
    {"DMA_DST",     0x88, DMA_REG, .flags = REG_LOW, .writable = UINT64_MAX, REG_FIELD(struct edu, dst)},
    {"DMA_CNT",     0x90, DMA_REG, .flags = REG_LOW, .writable = UINT64_MAX, REG_FIELD(struct edu, cnt)},
    {"DMA_CMD",     0x98, DMA_REG, .flags = REG_LOW | REG_DMA | REG_START, .writable = EDU_CMD_BITS, REG_FIELD(struct edu, cmd), .bits = REG_BITS({"RUN", 0, 1}, {"FROM_EDU", 1, 1}, {"IRQ", 2, 1})},
    {0},
};
static const struct reg_bank edu_bank = {"regs", 1 << 20, edu_regs, .hole = UINT64_MAX};

const struct device_class edu_class = {
    .name = "edu",
    .help = "QEMU's teaching device: factorials, DMA, INTx and MSI (PCI 1234:11e8)",
    .size = sizeof(struct edu),
    .options = (const struct opt[]){OPT_U64(struct edu, dma_mask, "dma_mask", 0, "MASK", "address bits that its DMA has", .dflt = "0xfffffff"), OPT_END},
    .bus_options = pci_bus_options,
    .banks = (const struct reg_bank *const[]){&edu_bank, NULL},
    .jobs = (const struct job *const[]){&edu_fact, &edu_dma, NULL},
    .state = (const struct state_field[]){STATE_ARRAY(struct edu, buffer), {0}},
    .init = edu_init,
    .drops = (const char *const[]){"dma drop: not in the buffer (0x40000-0x40fff)", NULL},
    .lints = (const char *const[]){"DMA address with bits that dma_mask has not: they are cut off", NULL},
    .explain = edu_explain,
};
