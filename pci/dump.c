// SPDX-License-Identifier: MIT
/* Configuration space in words: see include/pci/dump.h. Works on a copy of the bytes, so that what is printed is of one
 * moment; capabilities are walked in the bytes, as a guest does, and decoded by a table. */
#include "pci/dump.h"

#include <stdlib.h>

#include "pci/bus.h"
#include "pci/device.h"

/* What is copied. */
struct snapshot {
    const struct pci_device *pci;
    uint8_t config[PCI_CONFIG_SIZE_EXPRESS];
    uint32_t msix_table[PCI_MSIX_MAX][4];
    uint32_t msix_pending[PCI_MSIX_MAX / 32];
    uint64_t sent, held, dropped;
    bool intx, awake;
};

static struct snapshot *take(struct pci_device *pci)
{
    struct snapshot *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    s->pci = pci;
    lock_take(&pci->dev.lock);
    memcpy(s->config, pci->config, sizeof s->config);
    memcpy(s->msix_table, pci->msix_table, sizeof s->msix_table);
    memcpy(s->msix_pending, pci->msix_pending, sizeof s->msix_pending);
    s->sent = pci->irq_sent, s->held = pci->irq_held, s->dropped = pci->irq_dropped;
    s->intx = pci->intx;
    s->awake = pci_is_awake(pci);
    lock_drop(&pci->dev.lock);
    return s;
}

/* "Mem+ BusMaster-": the bits that have a name, NULL where there is none. */
static void flags(FILE *out, const char *label, uint32_t value, const char *const *names, unsigned n)
{
    fprintf(out, "\t%s:", label);
    for (unsigned i = 0; i < n; i++)
        if (names[i])
            fprintf(out, " %s%c", names[i], value >> i & 1 ? '+' : '-');
    fputc('\n', out);
}
#define FLAGS(out, label, value, names) flags(out, label, value, names, sizeof(names) / sizeof *(names))

static const char *size_text(uint64_t size, char *text, size_t room)
{
    static const char units[] = "BKMGTP";
    unsigned u = 0;
    while (size >= 1024 && size % 1024 == 0 && units[u + 1])
        size /= 1024, u++;
    snprintf(text, room, u ? "%llu%c" : "%llu", (unsigned long long)size, units[u]);
    return text;
}

/* --- the header */

static void header(const struct snapshot *s, FILE *out)
{
    static const char *const control[] = {"I/O",     "Mem",      "BusMaster", "SpecCycle",
                                          "MemWINV", "VGASnoop", "ParErr",    "Stepping",
                                          "SERR",    "FastB2B",  "DisINTx"};
    static const char *const status[] = {
        [3] = "INTx",     [4] = "Cap",      [5] = "66MHz",    [6] = "UDF",    [7] = "FastB2B", [8] = "ParErr",
        [11] = ">TAbort", [12] = "<TAbort", [13] = "<MAbort", [14] = ">SERR", [15] = "<PERR"};
    const uint8_t *c = s->config;
    FLAGS(out, "Control", pci_get16(c + PCI_COMMAND), control);
    FLAGS(out, "Status", pci_get16(c + PCI_STATUS), status);
    fprintf(out, "\tLatency: %u, Cache Line Size: %u bytes\n", (unsigned)c[PCI_LATENCY_TIMER],
            c[PCI_CACHE_LINE_SIZE] * 4u);
    if (c[PCI_INTERRUPT_PIN])
        fprintf(out, "\tInterrupt: pin %c routed to IRQ %u (line %u, %s)\n", 'A' + c[PCI_INTERRUPT_PIN] - 1,
                c[PCI_INTERRUPT_LINE], s->pci->line.gsi, s->intx ? "asserted" : "quiet");
}

static void region_line(const struct snapshot *s, unsigned number, FILE *out)
{
    static const char *const kinds[] = {
        [PCI_BAR_MEM32] = "32-bit, non-prefetchable",
        [PCI_BAR_MEM64] = "64-bit, non-prefetchable",
        [PCI_BAR_MEM64_PREFETCH] = "64-bit, prefetchable",
    };
    const struct pci_bar *bar = &s->pci->bars[number];
    const uint8_t *reg = s->config + (number == PCI_ROM ? PCI_ROM_BASE : PCI_BAR0 + 4 * number);
    uint64_t addr = pci_get32(reg);
    char size[32];
    size_text(bar->size, size, sizeof size);
    if (bar->kind == PCI_BAR_IO) {
        fprintf(out, "\tRegion %u: I/O ports at %04x", number, (unsigned)addr & ~3u);
    } else if (bar->kind == PCI_BAR_ROM) {
        fprintf(out, "\tExpansion ROM at %08x", (unsigned)addr & ~0x7ffu);
    } else {
        if (bar->kind != PCI_BAR_MEM32)
            addr |= (uint64_t)pci_get32(reg + 4) << 32;
        fprintf(out, "\tRegion %u: Memory at %08llx (%s)", number, (unsigned long long)addr & ~0xfull,
                kinds[bar->kind]);
    }
    fprintf(out, "%s [size=%s] %s\n", bar->region->enabled ? "" : " [disabled]", size, bar->region->name);
}

/* --- capabilities: s, where it is, how far it may reach */

static void cap_power(const struct snapshot *s, unsigned at, FILE *out)
{
    unsigned pmc = pci_get16(s->config + at + 2), control = pci_get16(s->config + at + PCI_POWER_CONTROL);
    fprintf(out, "Power Management version %u\n", pmc & 7);
    fprintf(out, "\t\tFlags: DSI%c D1%c D2%c PME(%02x)\n", pmc & 1 << 5 ? '+' : '-', pmc & 1 << 9 ? '+' : '-',
            pmc & 1 << 10 ? '+' : '-', pmc >> 11);
    fprintf(out, "\t\tStatus: D%u NoSoftRst%c PME-Enable%c PME%c\n", control & PCI_POWER_STATE,
            control & PCI_POWER_NO_RESET ? '+' : '-', control & 1 << 8 ? '+' : '-',
            control & 1 << 15 ? '+' : '-');
}

static void cap_msi(const struct snapshot *s, unsigned at, FILE *out)
{
    const uint8_t *c = s->config + at;
    unsigned control = pci_get16(c + PCI_MSI_CONTROL);
    fprintf(out, "MSI: Enable%c Count=%u/%u Maskable%c 64bit%c\n", control & PCI_MSI_ENABLE ? '+' : '-',
            1u << (control >> 4 & 7), 1u << (control >> 1 & 7), control & PCI_MSI_MASKABLE ? '+' : '-',
            control & PCI_MSI_64 ? '+' : '-');
    if (!(control & PCI_MSI_64) || at + PCI_MSI_SIZE > PCI_CONFIG_SIZE)
        return; /* none that pci_msi() made */
    fprintf(out, "\t\tAddress: %08x%08x  Data: %04x\n", pci_get32(c + PCI_MSI_ADDRESS + 4),
            pci_get32(c + PCI_MSI_ADDRESS), pci_get16(c + PCI_MSI_DATA));
    if (control & PCI_MSI_MASKABLE)
        fprintf(out, "\t\tMasking: %08x  Pending: %08x\n", pci_get32(c + PCI_MSI_MASK),
                pci_get32(c + PCI_MSI_PENDING));
}

static void cap_msix(const struct snapshot *s, unsigned at, FILE *out)
{
    const uint8_t *c = s->config + at;
    unsigned control = pci_get16(c + PCI_MSIX_CONTROL);
    uint32_t table = pci_get32(c + PCI_MSIX_TABLE), pba = pci_get32(c + PCI_MSIX_PBA);
    fprintf(out, "MSI-X: Enable%c Count=%u Masked%c\n", control & PCI_MSIX_ENABLE ? '+' : '-',
            (control & 0x7ff) + 1, control & PCI_MSIX_MASKALL ? '+' : '-');
    fprintf(out, "\t\tVector table: BAR=%u offset=%08x\n", table & 7, table & ~7u);
    fprintf(out, "\t\tPBA: BAR=%u offset=%08x\n", pba & 7, pba & ~7u);
}

static void cap_express(const struct snapshot *s, unsigned at, FILE *out)
{
    static const char *const types[16] = {"Endpoint",
                                          "Legacy Endpoint",
                                          [4] = "Root Port",
                                          [5] = "Upstream Port",
                                          [6] = "Downstream Port",
                                          [7] = "PCI-Express to PCI/PCI-X Bridge",
                                          [8] = "PCI/PCI-X to PCI-Express Bridge",
                                          [9] = "Root Complex Integrated Endpoint",
                                          [10] = "Root Complex Event Collector"};
    static const char *const control[] = {"CorrErr", "NonFatalErr", "FatalErr", "UnsupReq",
                                          "RlxdOrd", NULL,          NULL,       NULL,
                                          "ExtTag",  "PhantFunc",   "AuxPwr",   "NoSnoop"};
    const uint8_t *c = s->config + at;
    unsigned cap = pci_get16(c + 2), devctl = pci_get16(c + 8);
    const char *type = types[cap >> 4 & 15];
    fprintf(out, "Express (v%u) %s, MSI %02x\n", cap & 15, type ? type : "of an unknown type", cap >> 9 & 31);
    fprintf(out, "\t\tDevCap: MaxPayload %u bytes, PhantFunc %u\n", 128u << (pci_get32(c + 4) & 7),
            1u << (pci_get32(c + 4) >> 3 & 3));
    fputc('\t', out);
    FLAGS(out, "DevCtl", devctl, control);
    fprintf(out, "\t\t\tMaxPayload %u bytes, MaxReadReq %u bytes\n", 128u << (devctl >> 5 & 7),
            128u << (devctl >> 12 & 7));
}

static void cap_vendor(const struct snapshot *s, unsigned at, FILE *out)
{
    static const char *const virtio[] = {
        NULL, "CommonCfg", "Notify", "ISR", "DeviceCfg", "PCI config access", NULL, NULL, "SharedMemory"};
    const uint8_t *c = s->config + at;
    enum {
        VIRTIO_VENDOR = 0x1af4,
        VIRTIO_CAP = 16,
    };
    unsigned len = c[2], n = len > PCI_CONFIG_SIZE - at ? PCI_CONFIG_SIZE - at : len;
    if (pci_get16(s->config + PCI_VENDOR_ID) == VIRTIO_VENDOR && n >= VIRTIO_CAP && c[3] < 9 &&
        virtio[c[3]]) {
        fprintf(out, "Vendor Specific Information: VirtIO: %s\n", virtio[c[3]]);
        fprintf(out, "\t\tBAR=%u offset=%08x size=%08x", c[4], pci_get32(c + 8), pci_get32(c + 12));
        if (c[3] == 2 && n >= VIRTIO_CAP + 4)
            fprintf(out, " multiplier=%08x", pci_get32(c + 16));
        fputc('\n', out);
        return;
    }
    fprintf(out, "Vendor Specific Information: Len=%02x", len);
    for (unsigned i = 3; i < n; i++)
        fprintf(out, "%s%02x", i == 3 ? ": " : " ", c[i]);
    fputc('\n', out);
}

static const struct {
    uint8_t id, size; /* what show() reads */
    void (*show)(const struct snapshot *s, unsigned at, FILE *out);
} capability_kinds[] = {
    {PCI_CAP_POWER,   8,             cap_power  },
    {PCI_CAP_MSI,     4,             cap_msi    },
    {PCI_CAP_VENDOR,  3,             cap_vendor },
    {PCI_CAP_EXPRESS, 10,            cap_express},
    {PCI_CAP_MSIX,    PCI_MSIX_SIZE, cap_msix   },
};

static void capability(const struct snapshot *s, unsigned at, FILE *out)
{
    fprintf(out, "\tCapabilities: [%02x] ", at);
    for (size_t i = 0; i < sizeof capability_kinds / sizeof *capability_kinds; i++)
        if (capability_kinds[i].id == s->config[at] && at + capability_kinds[i].size <= PCI_CONFIG_SIZE) {
            capability_kinds[i].show(s, at, out);
            return;
        }
    fprintf(out, "of kind %02x\n", s->config[at]);
}

/* Each capability takes four bytes at least, so a longer list than this runs in a circle. */
static void capabilities(const struct snapshot *s, FILE *out)
{
    unsigned at = s->config[PCI_CAPABILITIES] & ~3u, n = 0;
    for (; at >= PCI_HEADER_END && n < PCI_CONFIG_SIZE / 4; n++, at = s->config[at + 1] & ~3u)
        capability(s, at, out);
    if (s->pci->config_size <= PCI_CONFIG_SIZE)
        return;
    for (at = PCI_CONFIG_SIZE, n = 0; at >= PCI_CONFIG_SIZE && n < PCI_CONFIG_SIZE_EXPRESS / 8; n++) {
        uint32_t head = pci_get32(s->config + at);
        if (!head)
            break;
        fprintf(out, "\tCapabilities: [%03x v%u] of extended kind %04x\n", at, head >> 16 & 15,
                head & 0xffff);
        at = head >> 20 & ~3u;
    }
}

static void hex_dump(const struct snapshot *s, FILE *out)
{
    for (unsigned at = 0; at < s->pci->config_size; at++) {
        if (at % 16 == 0)
            fprintf(out, "%02x:", at);
        fprintf(out, at % 16 == 15 ? " %02x\n" : " %02x", s->config[at]);
    }
}

void pci_dump(struct pci_device *pci, FILE *out, bool hex)
{
    struct snapshot *s = take(pci);
    if (!s)
        return;
    const uint8_t *c = s->config;
    fprintf(out, "00:%02x.%u Class %02x%02x: %04x:%04x (rev %02x) %s\n", pci_slot(pci), pci->devfn & 7u,
            c[PCI_CLASS_CODE + 2], c[PCI_CLASS_CODE + 1], pci_get16(c + PCI_VENDOR_ID),
            pci_get16(c + PCI_DEVICE_ID), c[PCI_REVISION_ID], pci->dev.id);
    fprintf(out, "\tSubsystem: %04x:%04x\n", pci_get16(c + PCI_SUBSYSTEM_VENDOR_ID),
            pci_get16(c + PCI_SUBSYSTEM_ID));
    header(s, out);
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (pci->bars[i].region)
            region_line(s, i, out);
    if (pci_get16(c + PCI_STATUS) & PCI_STATUS_CAPABILITIES)
        capabilities(s, out);
    if (hex)
        hex_dump(s, out);
    fputc('\n', out);
    free(s);
}

/* --- interrupts */

static void vector(const struct snapshot *s, FILE *out, const char *kind, unsigned vec, int gsi,
                   const uint32_t message[3], bool masked, bool pending)
{
    struct irq_route route = {0};
    if (!irq_route_get(s->pci->dev.board->irqs, gsi, &route))
        return;
    fprintf(out,
            "  %-5s %3u  GSI %-4d address %08x%08x data %08x (vector %u)%s%s  sent %llu, dropped %llu%s\n",
            kind, vec, gsi, message[1], message[0], message[2], message[2] & 0xff, masked ? " masked" : "",
            pending ? " pending" : "", (unsigned long long)route.sent, (unsigned long long)route.dropped,
            route.fd ? ", more by its eventfd" : "");
}

static void msi_vectors(const struct snapshot *s, FILE *out)
{
    const uint8_t *c = s->config + s->pci->msi;
    unsigned control = pci_get16(c + PCI_MSI_CONTROL);
    uint32_t mask = pci_get32(c + PCI_MSI_MASK), pending = pci_get32(c + PCI_MSI_PENDING);
    unsigned n = 1u << (control >> 4 & 7);
    if (n > s->pci->n_msi)
        n = s->pci->n_msi;
    fprintf(out, "  MSI   %s, %u of %u vectors\n", control & PCI_MSI_ENABLE ? "on" : "off", n, s->pci->n_msi);
    if (!(control & PCI_MSI_ENABLE))
        return;
    for (unsigned i = 0; i < n; i++) {
        const uint32_t message[3] = {pci_get32(c + PCI_MSI_ADDRESS), pci_get32(c + PCI_MSI_ADDRESS + 4),
                                     (pci_get16(c + PCI_MSI_DATA) & ~(n - 1)) | i};
        vector(s, out, "MSI", i, s->pci->msi_routes[i], message, mask >> i & 1, pending >> i & 1);
    }
}

static void msix_vectors(const struct snapshot *s, FILE *out)
{
    unsigned control = pci_get16(s->config + s->pci->msix + PCI_MSIX_CONTROL);
    fprintf(out, "  MSI-X %s, %u vectors%s\n", control & PCI_MSIX_ENABLE ? "on" : "off", s->pci->n_msix,
            control & PCI_MSIX_MASKALL ? ", all masked" : "");
    if (!(control & PCI_MSIX_ENABLE))
        return;
    for (unsigned i = 0; i < s->pci->n_msix; i++)
        vector(s, out, "MSI-X", i, s->pci->routes[i], s->msix_table[i],
               s->msix_table[i][3] & PCI_MSIX_ENTRY_MASK, s->msix_pending[i / 32] >> i % 32 & 1);
}

void pci_dump_irqs(struct pci_device *pci, FILE *out)
{
    struct snapshot *s = take(pci);
    if (s && (s->config[PCI_INTERRUPT_PIN] || pci->msi || pci->msix)) {
        fprintf(out, "%s at 00:%02x.%u: %llu messages sent, %llu held by masks, %llu dropped%s\n",
                pci->dev.id, pci_slot(pci), pci->devfn & 7u, (unsigned long long)s->sent,
                (unsigned long long)s->held, (unsigned long long)s->dropped,
                pci_get16(s->config + PCI_COMMAND) & PCI_COMMAND_MASTER ? "" : " (no bus master now)");
        if (s->config[PCI_INTERRUPT_PIN])
            fprintf(out, "  INT%c  line %u, %s%s\n", 'A' + s->config[PCI_INTERRUPT_PIN] - 1, pci->line.gsi,
                    s->intx ? "asserted" : "quiet",
                    pci_get16(s->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE ? ", disabled" : "");
        if (pci->msi)
            msi_vectors(s, out);
        if (pci->msix)
            msix_vectors(s, out);
    }
    free(s);
}
