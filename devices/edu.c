/* SPDX-License-Identifier: MIT
 *
 * edu: QEMU's teaching device (its docs/specs/edu). PCI 1234:11e8, one BAR of 1 MiB, INTA# or one MSI vector. A factorial
 * takes a millisecond, a transfer between RAM and the device's buffer 100 ms; both end with an interrupt if asked.
 *
 * n! modulo 2^32 is 0 from 34 on, so no factorial takes longer than that. A transfer whose device side is not wholly in the
 * buffer copies nothing.
 */
#include "kvm/host/log.h"
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
    EDU_DROP_RANGE = 0, /* in .drops */
    EDU_LINT_MASK = 0,  /* in .lints */
};

struct edu {
    struct pci_device pci;
    uint32_t live, fact, status, irq;
    uint64_t src, dst, cnt, cmd, dma_mask;
    uint8_t buffer[EDU_BUFFER_SIZE];
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

static void edu_fact_done(struct device *dev)
{
    uint32_t n = edu(dev)->fact, result = n < 34;
    for (; result && n > 1; n--)
        result *= n;
    edu(dev)->fact = result;
    if (edu(dev)->status & EDU_STATUS_IRQFACT)
        pci_causes_raise(dev, 0, EDU_IRQ_FACT);
}

static void edu_dma_done(struct device *dev)
{
    struct edu *e = edu(dev);
    bool from_edu = e->cmd & EDU_CMD_FROM_EDU;
    uint64_t at = (from_edu ? e->src : e->dst) - EDU_BUFFER; /* wraps below it: then it is too large */
    uint64_t gpa = from_edu ? e->dst : e->src;
    if (gpa & ~e->dma_mask)
        device_lint(dev, EDU_LINT_MASK);
    if (e->cnt <= EDU_BUFFER_SIZE && at <= EDU_BUFFER_SIZE - e->cnt) {
        pci_dma(&e->pci, from_edu, gpa & e->dma_mask, e->buffer + at, e->cnt);
    } else {
        device_drop(dev, EDU_DROP_RANGE);
        guest_bug("%s: dma refused: not in the buffer (0x40000-0x40fff): %llu bytes at 0x%llx", dev->id,
                  e->cnt + 0ull, at + EDU_BUFFER + 0ull);
    }
    if (e->cmd & EDU_CMD_IRQ)
        pci_causes_raise(dev, 0, EDU_IRQ_DMA);
}

static void edu_explain(struct device *dev, const struct reg *reg, bool write, uint64_t value, char *buf,
                        size_t size)
{
    const struct edu *e = edu(dev);
    if (write && reg->flags & REG_DMA && value & EDU_CMD_RUN)
        snprintf(buf, size, "%llu bytes 0x%llx -> 0x%llx, %s RAM", e->cnt + 0ull, e->src + 0ull,
                 e->dst + 0ull, value & EDU_CMD_FROM_EDU ? "to" : "from");
}

/* clang-format off */
static const struct job edu_fact = {JOB(struct edu, status), EDU_STATUS_COMPUTING, 1000000, edu_fact_done};
static const struct job edu_dma = {JOB(struct edu, cmd), EDU_CMD_RUN, 100000000, edu_dma_done};

#define IRQ_BITS .bits = REG_BITS({"FACT", 0, 1}, {"DMA", 8, 1})
#define DMA_REG  8, .sizes = 4 | 8, .job = &edu_dma, .writable = UINT64_MAX, .flags = REG_LOW
static const struct reg edu_regs[] = {
    {"ID",          0x00, 4, .flags = REG_RO, .reset = 0x010000ed},
    {"LIVENESS",    0x04, 4, .write = edu_live, REG_FIELD(struct edu, live)},
    {"FACTORIAL",   0x08, 4, .flags = REG_START, .job = &edu_fact, .writable = UINT32_MAX, REG_FIELD(struct edu, fact)},
    {"STATUS",      0x20, 4, .writable = EDU_STATUS_IRQFACT, REG_FIELD(struct edu, status), .bits = REG_BITS({"COMPUTING", 0, 1}, {"IRQFACT", 7, 1})},
    {"INTR_STATUS", 0x24, 4, .flags = REG_RO, REG_FIELD(struct edu, irq), IRQ_BITS},
    {"INTR_RAISE",  0x60, 4, .flags = REG_WO, .write = pci_causes_raise, IRQ_BITS},
    {"INTR_ACK",    0x64, 4, .flags = REG_WO, .write = pci_causes_ack, IRQ_BITS},
    {"DMA_SRC",     0x80, DMA_REG, REG_FIELD(struct edu, src)},
    {"DMA_DST",     0x88, DMA_REG, REG_FIELD(struct edu, dst)},
    {"DMA_CNT",     0x90, DMA_REG, REG_FIELD(struct edu, cnt)},
    {"DMA_CMD",     0x98, 8, .sizes = 4 | 8, .flags = REG_LOW | REG_DMA | REG_START, .job = &edu_dma, .writable = EDU_CMD_BITS, REG_FIELD(struct edu, cmd), .bits = REG_BITS({"RUN", 0, 1}, {"FROM_EDU", 1, 1}, {"IRQ", 2, 1})},
    {0},
};
static const struct reg_bank edu_bank = {"regs", 1 << 20, edu_regs, .hole = UINT64_MAX};

const struct device_class edu_class = {
    .name = "edu",
    .help = "QEMU's teaching device: factorials, DMA, INTx and MSI (PCI 1234:11e8)",
    .size = sizeof(struct edu),
    .options = (const struct opt[]){OPT_U64(struct edu, dma_mask, "dma_mask", 0, "MASK", "address bits that its DMA has", .dflt = "0xfffffff", .flags = OPT_PRESET), OPT_END},
    .bus = PCI_FUNCTION(.ids = {0x1234, 0x11e8, .class_code = 0x00ff00, .revision = 0x10, .pin = 1},
                        .bars = {{PCI_BAR_MEM32, .bank = 0}}, .msi_plain = true, .causes = offsetof(struct edu, irq)),
    .banks = (const struct reg_bank *const[]){&edu_bank, NULL},
    .state = (const struct state_field[]){STATE_ARRAY(struct edu, buffer), {0}},
    .drops = (const char *const[]){"dma drop: not in the buffer (0x40000-0x40fff)", NULL},
    .lints = (const char *const[]){"DMA address with bits that dma_mask has not: they are cut off", NULL},
    .explain = edu_explain,
};
