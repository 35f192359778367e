// SPDX-License-Identifier: MIT
/* Interrupts of PCI functions: INTx, MSI and MSI-X behind one pci_raise(): see include/pci/device.h. What is enabled and masked
 * is read from the configuration bytes and the MSI-X table at each call. A vector's route (kvm/irq.h) is taken once
 * and given its address and data when the vector becomes live, or changes while it is; so rewriting and masking
 * cost nothing that could run out.
 *
 * Everything here runs with the device's lock held, but for the set-up functions at the end.
 *
 * Source: PCI Local Bus 3.0, 6.8 (MSI: 6.8.1, MSI-X: 6.8.2); 6.2.4 for INTx. */
#include <assert.h>

#include "kvm/host/log.h"
#include "mem/watch.h"
#include "pci/device.h"

#define watched(pci) __builtin_expect((pci)->dev.watch != NULL, 0)

static uint16_t msi_control(const struct pci_device *pci)
{
    return pci->msi ? pci_get16(pci->config + pci->msi + PCI_MSI_CONTROL) : 0;
}

static uint16_t msix_control(const struct pci_device *pci)
{
    return pci->msix ? pci_get16(pci->config + pci->msix + PCI_MSIX_CONTROL) : 0;
}

/* Vectors that the guest lets us use: Multiple Message Enable; never more than were offered. */
static unsigned msi_enabled_vectors(const struct pci_device *pci)
{
    unsigned n = 1u << (msi_control(pci) >> 4 & 7);
    return n < pci->n_msi ? n : pci->n_msi;
}

void pci_intx_update(struct pci_device *pci)
{
    bool off = pci_get16(pci->config + PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE ||
               msi_control(pci) & PCI_MSI_ENABLE || msix_control(pci) & PCI_MSIX_ENABLE;
    if (pci->intx)
        pci->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    else
        pci->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    if (pci->config[PCI_INTERRUPT_PIN])
        irq_line_set(&pci->line, (pci->intx || pci->spurious) && !off);
}

/* The message as the guest wrote it. */
static uint64_t message_address(const struct pci_device *pci, unsigned vec)
{
    if (msix_control(pci) & PCI_MSIX_ENABLE)
        return pci->msix_table[vec][0] | (uint64_t)pci->msix_table[vec][1] << 32;
    const uint8_t *address = pci->config + pci->msi + PCI_MSI_ADDRESS;
    return pci_get32(address) | (uint64_t)pci_get32(address + 4) << 32;
}
static uint32_t message_data(const struct pci_device *pci, unsigned vec)
{
    if (msix_control(pci) & PCI_MSIX_ENABLE)
        return pci->msix_table[vec][2];
    /* the low bits of the data are the vector's number */
    return (pci_get16(pci->config + pci->msi + PCI_MSI_DATA) & ~(msi_enabled_vectors(pci) - 1)) | vec;
}

static const char *message_kind(const struct pci_device *pci)
{
    return msix_control(pci) & PCI_MSIX_ENABLE ? "MSI-X" : "MSI";
}

static void send(struct pci_device *pci, int route, unsigned vec)
{
    if (!pci_is_master(pci)) {
        pci->irq_dropped++;
        if (watched(pci))
            pci_watch_irq(pci, vec, WATCH_IRQ_LOST, "dropped: bus master off");
        return;
    }
    if (!irq_route_send(pci->dev.board->irqs, route)) {
        pci->irq_dropped++;
        guest_bug(
            "%s: %s vector %u: message to 0x%llx with data 0x%x: no MSI address, or a delivery mode that no "
            "device may use",
            pci->dev.id, message_kind(pci), vec, (unsigned long long)message_address(pci, vec),
            message_data(pci, vec));
        if (watched(pci))
            pci_watch_irq(pci, vec, WATCH_IRQ_LOST, "dropped: no MSI message");
        return;
    }
    pci->irq_sent++;
    if (watched(pci)) /* the vector at the local APIC: Intel SDM 3A, 11.11.2 */
        pci_watch_irq(pci, vec, WATCH_IRQ_UP, "%s vector %u", message_kind(pci),
                      message_data(pci, vec) & 0xff);
}

static void held(struct pci_device *pci, unsigned vec)
{
    pci->irq_held++;
    if (watched(pci))
        pci_watch_irq(pci, vec, WATCH_IRQ_HELD, "held: %s %u is masked", message_kind(pci), vec);
}

/* A message that is none is no fault before it is sent: Linux writes zeros over a vector without a mask bit when it lets go
 * of it, with MSI still on. */
static void set_route(struct pci_device *pci, int route, uint64_t addr, uint32_t data)
{
    (void)!irq_route_set(pci->dev.board->irqs, route, addr, data);
}

/* --- MSI */

static void msi_raise(struct pci_device *pci, unsigned vec)
{
    vec &= msi_enabled_vectors(pci) - 1;
    uint8_t *pending = pci->config + pci->msi + PCI_MSI_PENDING;
    if (pci_get32(pci->config + pci->msi + PCI_MSI_MASK) >> vec & 1) {
        pci_set32(pending, pci_get32(pending) | 1u << vec);
        held(pci, vec);
        return;
    }
    send(pci, pci->msi_routes[vec], vec);
}

/* Live vectors get the message as it stands now; one that was pending and is live goes out. */
static void msi_update(struct pci_device *pci)
{
    uint8_t *cap = pci->config + pci->msi;
    uint32_t mask = pci_get32(cap + PCI_MSI_MASK), pending = pci_get32(cap + PCI_MSI_PENDING);
    unsigned n = msi_enabled_vectors(pci);
    if (!(msi_control(pci) & PCI_MSI_ENABLE))
        return;
    for (unsigned vec = 0; vec < n; vec++) {
        if (mask >> vec & 1)
            continue;
        set_route(pci, pci->msi_routes[vec], message_address(pci, vec), message_data(pci, vec));
        if (pending >> vec & 1)
            send(pci, pci->msi_routes[vec], vec);
        pending &= ~(1u << vec);
    }
    pci_set32(cap + PCI_MSI_PENDING, pending);
}

/* --- MSI-X */

static bool msix_live(const struct pci_device *pci, unsigned vec)
{
    return (msix_control(pci) & (PCI_MSIX_ENABLE | PCI_MSIX_MASKALL)) == PCI_MSIX_ENABLE &&
           !(pci->msix_table[vec][3] & PCI_MSIX_ENTRY_MASK);
}

static void msix_raise(struct pci_device *pci, unsigned vec)
{
    if (vec >= pci->n_msix) { /* a device lets its guest choose vectors, or none */
        pci->irq_dropped++;
        if (watched(pci))
            pci_watch_irq(pci, vec, WATCH_IRQ_LOST, "dropped: MSI-X has no vector %u", vec);
        return;
    }
    if (msix_live(pci, vec)) {
        send(pci, pci->routes[vec], vec);
        return;
    }
    pci->msix_pending[vec / 32] |= 1u << vec % 32;
    held(pci, vec);
}

static void msix_update(struct pci_device *pci, unsigned vec)
{
    const uint32_t *entry = pci->msix_table[vec];
    if (!msix_live(pci, vec))
        return;
    set_route(pci, pci->routes[vec], entry[0] | (uint64_t)entry[1] << 32, entry[2]);
    if (pci->msix_pending[vec / 32] >> vec % 32 & 1)
        send(pci, pci->routes[vec], vec);
    pci->msix_pending[vec / 32] &= ~(1u << vec % 32);
}

static void vectors_changed(struct pci_device *pci)
{
    if (pci->vectors_hook)
        pci->vectors_hook(pci);
}

/* The BAR: entries of 16 bytes, and in its second half the pending bits. Dwords and quadwords, naturally aligned
 * (6.8.2.1); the bus gives others all ones, and so do the holes here. */
static uint64_t msix_half(const struct pci_device *pci)
{
    return pci->msix_region.size / 2;
}

static uint32_t *msix_dword(struct pci_device *pci, uint64_t offset)
{
    return offset < pci->n_msix * 16u ? &pci->msix_table[offset / 16][offset / 4 % 4] : NULL;
}

static uint32_t msix_read32(struct pci_device *pci, uint64_t offset)
{
    uint64_t half = msix_half(pci);
    if (offset >= half)
        return offset - half < (pci->n_msix + 63u) / 64 * 8 ? pci->msix_pending[(offset - half) / 4] : 0;
    const uint32_t *dword = msix_dword(pci, offset);
    return dword ? *dword : 0;
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *pci = opaque;
    if (offset % size)
        return UINT64_MAX;
    uint64_t value = msix_read32(pci, offset);
    if (size == 8)
        value |= (uint64_t)msix_read32(pci, offset + 4) << 32;
    if (watched(pci))
        pci_watch_msix(pci, false, offset, size, value);
    return value;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *pci = opaque;
    if (offset % size)
        return;
    if (watched(pci))
        pci_watch_msix(pci, true, offset, size, value);
    for (unsigned i = 0; i < size; i += 4) {
        uint32_t *dword = msix_dword(pci, offset + i), v = (uint32_t)(value >> 8 * i);
        if (dword)
            *dword = (offset + i) / 4 % 4 == 3 ? v & PCI_MSIX_ENTRY_MASK
                     : (offset + i) % 16 == 0  ? v & ~3u
                                               : v;
    }
    if (msix_dword(pci, offset)) {
        msix_update(pci, (unsigned)(offset / 16));
        vectors_changed(pci);
    }
}

static const struct region_ops msix_ops = {msix_read, msix_write, 4 | 8, 0};

/* --- both */

void pci_msi_written(struct pci_device *pci, unsigned reg, unsigned size)
{
    (void)size; /* an access stays inside a dword, and so does each field */
    if (pci->msi && reg >= pci->msi && reg < pci->msi + (unsigned)PCI_MSI_SIZE)
        msi_update(pci);
    if (pci->msix && reg >= pci->msix && reg < pci->msix + 4u) {
        for (unsigned vec = 0; vec < pci->n_msix; vec++)
            msix_update(pci, vec);
        vectors_changed(pci);
    }
}

int pci_vector_fd(struct pci_device *pci, unsigned vec)
{
    if (vec >= pci->n_msix || !msix_live(pci, vec) || !pci_is_master(pci) || watched(pci))
        return -1;
    struct irqs *irqs = pci->dev.board->irqs;
    if (!irq_route_set(irqs, pci->routes[vec], message_address(pci, vec), message_data(pci, vec)))
        return -1;
    int fd = irq_route_fd(irqs, pci->routes[vec]);
    return fd < 0 ? -1 : fd;
}

static void intx_raise(struct pci_device *pci)
{
    bool was = pci->intx;
    pci->intx = true;
    pci_intx_update(pci);
    if (watched(pci) && pci->config[PCI_INTERRUPT_PIN])
        pci_watch_irq(pci, 0, pci->line.level ? WATCH_IRQ_UP : WATCH_IRQ_HELD,
                      pci->line.level ? "INTx line %u%s" : "held: INTx is disabled", pci->line.gsi,
                      was ? ", up already" : "");
}

void pci_raise_anyway(struct pci_device *pci, unsigned vec)
{
    if (msix_control(pci) & PCI_MSIX_ENABLE)
        msix_raise(pci, vec);
    else if (msi_control(pci) & PCI_MSI_ENABLE)
        msi_raise(pci, vec);
    else
        intx_raise(pci);
}

void pci_raise(struct pci_device *pci, unsigned vec)
{
    if (watched(pci)) {
        struct watch_event e = {.kind = WATCH_IRQ, .write = true, .index = vec};
        switch (watch_ask(&pci->dev, &e)) {
        case WATCH_SKIP:
        case WATCH_FAIL:
            return;
        case WATCH_TWICE:
            pci_raise_anyway(pci, vec);
            break;
        case WATCH_GO:
            break;
        }
    }
    pci_raise_anyway(pci, vec);
}

void pci_lower(struct pci_device *pci)
{
    bool was = pci->intx;
    pci->intx = false;
    pci_intx_update(pci);
    if (watched(pci))
        pci_watch_irq(pci, 0, WATCH_IRQ_DOWN, was ? "INTx line %u down" : NULL, pci->line.gsi);
}

void pci_spurious(struct pci_device *pci, bool on)
{
    if (on && (msix_control(pci) & PCI_MSIX_ENABLE || msi_control(pci) & PCI_MSI_ENABLE)) {
        pci_raise_anyway(pci, 0);
        return;
    }
    pci->spurious = on;
    pci_intx_update(pci);
}

/* --- set-up */

static bool take_routes(struct pci_device *pci, int *routes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if ((routes[i] = irq_route_new(pci->dev.board->irqs)) < 0)
            return false;
    return true;
}

const char *pci_msi(struct pci_device *pci, unsigned vectors)
{
    assert(vectors >= 1 && vectors <= PCI_MSI_MAX && !(vectors & (vectors - 1)) && !pci->msi);
    if (!take_routes(pci, pci->msi_routes, vectors))
        return "no interrupt routes are left for MSI";
    unsigned at = pci_capability(pci, PCI_CAP_MSI, PCI_MSI_SIZE), log2 = (unsigned)__builtin_ctz(vectors);
    pci->n_msi = (uint8_t)vectors;
    pci_set16(pci->config + at + PCI_MSI_CONTROL, PCI_MSI_64 | PCI_MSI_MASKABLE | log2 << 1);
    pci_set16(pci->writable + at + PCI_MSI_CONTROL, PCI_MSI_ENABLE | 7 << 4);
    pci_set32(pci->writable + at + PCI_MSI_ADDRESS, ~3u);
    pci_set32(pci->writable + at + PCI_MSI_ADDRESS + 4, ~0u);
    pci_set16(pci->writable + at + PCI_MSI_DATA, 0xffff);
    pci_set32(pci->writable + at + PCI_MSI_MASK, (uint32_t)((1ull << vectors) - 1));
    pci->msi = (uint8_t)at;
    return NULL;
}

const char *pci_msi_unmaskable(struct pci_device *pci)
{
    const char *error = pci_msi(pci, 1);
    if (error)
        return error;
    pci_set16(pci->config + pci->msi + PCI_MSI_CONTROL, PCI_MSI_64);
    pci_set32(pci->writable + pci->msi + PCI_MSI_MASK, 0);
    return NULL;
}

const char *pci_msix(struct pci_device *pci, unsigned bar, unsigned vectors)
{
    assert(vectors >= 1 && vectors <= PCI_MSIX_MAX && !pci->msix);
    if (!take_routes(pci, pci->routes, vectors))
        return "no interrupt routes are left for MSI-X";
    unsigned at = pci_capability(pci, PCI_CAP_MSIX, PCI_MSIX_SIZE);
    pci->n_msix = (uint8_t)vectors;
    for (unsigned i = 0; i < vectors; i++)
        pci->msix_table[i][3] = PCI_MSIX_ENTRY_MASK;
    region_init_io(&pci->msix_region, "msix", 4096, &msix_ops, pci, &pci->dev.lock, &pci->dev);
    pci_bar(pci, bar, PCI_BAR_MEM32, &pci->msix_region);
    pci_set16(pci->config + at + PCI_MSIX_CONTROL, vectors - 1);
    pci_set16(pci->writable + at + PCI_MSIX_CONTROL, PCI_MSIX_ENABLE | PCI_MSIX_MASKALL);
    pci_set32(pci->config + at + PCI_MSIX_TABLE, bar);
    pci_set32(pci->config + at + PCI_MSIX_PBA, (uint32_t)msix_half(pci) | bar);
    pci->msix = (uint8_t)at;
    return NULL;
}

void pci_power(struct pci_device *pci)
{
    unsigned at = pci_capability(pci, PCI_CAP_POWER, 8);
    pci_set16(pci->config + at + 2, 3); /* version 1.2 of the specification; no D1, D2, PME */
    pci->config[at + PCI_POWER_CONTROL] = PCI_POWER_NO_RESET;
    pci->writable[at + PCI_POWER_CONTROL] = PCI_POWER_STATE;
    pci->power = (uint8_t)at;
}

void pci_express(struct pci_device *pci)
{
    enum {
        VERSION_2 = 2,
        ROOT_COMPLEX_ENDPOINT = 9 << 4, /* it has no link, so the link's registers are zero */
        DEVICE_CAP = 4,
        ROLE_BASED_ERRORS = 1 << 15,
        DEVICE_CONTROL = 8,
        SIZE = 60,
    };
    unsigned at = pci_capability(pci, PCI_CAP_EXPRESS, SIZE);
    pci_set16(pci->config + at + 2, VERSION_2 | ROOT_COMPLEX_ENDPOINT);
    pci_set32(pci->config + at + DEVICE_CAP, ROLE_BASED_ERRORS);
    pci_set16(pci->writable + at + DEVICE_CONTROL,
              0x781f); /* error reporting, relaxed order, no snoop, read size */
    pci_set16(pci->config + at + DEVICE_CONTROL, 0x2810);
    pci->config_size = PCI_CONFIG_SIZE_EXPRESS;
}
