// SPDX-License-Identifier: MIT
/* MSI and MSI-X: messages, masks, pending bits, and guests that write nonsense into them. Also power management and
 * PCI Express, which are a capability each. */
#include "test.h"

#include "pci_board.h"

enum {
    DEV = 0x08, /* the toy's devfn */
    MASTER = PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY,
    ADDR = 0xfee01000,
};

static struct toy *toy;
static unsigned cap;   /* of the capability under test */
static uint64_t table; /* of the MSI-X BAR */

static void with(const char *options, uint8_t id)
{
    machine_new();
    toy = toy_new(options);
    CHECK(toy && placed());
    CHECK(cf8(0, DEV, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES);
    unsigned n = 0;
    for (cap = cf8(0, DEV, PCI_CAPABILITIES, 1); cap && cf8(0, DEV, cap, 1) != id && n < 16; n++)
        cap = cf8(0, DEV, cap + 1, 1);
    CHECK(cap >= 0x40 && n < 16);
    table = cf8(0, DEV, PCI_BAR0 + 20, 4) & ~0xfu;
    cf8_write(DEV, PCI_COMMAND, MASTER, 2);
}

static void raise(unsigned vec)
{
    lock_take(&toy->pci.dev.lock);
    pci_raise(&toy->pci, vec);
    lock_drop(&toy->pci.dev.lock);
}

static void lower(void)
{
    lock_take(&toy->pci.dev.lock);
    pci_lower(&toy->pci);
    lock_drop(&toy->pci.dev.lock);
}

/* How many messages there were since the last call; the newest is *data at ADDR. */
static unsigned messages(uint32_t *data)
{
    static unsigned before;
    static struct machine *of;
    if (of != m)
        before = 0;
    of = m;
    unsigned n = m->fake.sent - before;
    before = m->fake.sent;
    if (n) {
        CHECK_EQ(m->fake.log[(m->fake.sent - 1) % FAKE_IRQ_LOG].addr, ADDR);
        *data = m->fake.log[(m->fake.sent - 1) % FAKE_IRQ_LOG].data;
    }
    return n;
}
#define SENT(data_)                                                                                          \
    do {                                                                                                     \
        uint32_t got_ = 0;                                                                                   \
        CHECK_EQ(messages(&got_), 1);                                                                        \
        CHECK_EQ(got_, data_);                                                                               \
    } while (0)
#define NOT_SENT()                                                                                           \
    do {                                                                                                     \
        uint32_t got_;                                                                                       \
        CHECK_EQ(messages(&got_), 0);                                                                        \
    } while (0)

static void msi_setup(unsigned log2, uint16_t data)
{
    cf8_write(DEV, cap + PCI_MSI_ADDRESS, ADDR, 4);
    cf8_write(DEV, cap + PCI_MSI_ADDRESS + 4, 0, 4);
    cf8_write(DEV, cap + PCI_MSI_DATA, data, 2);
    cf8_write(DEV, cap + PCI_MSI_CONTROL, PCI_MSI_ENABLE | log2 << 4, 2);
}

TEST(msi_sends_at_each_raise_and_intx_is_off)
{
    with("pin=1,msi=1", PCI_CAP_MSI);
    unsigned gsi = pci_intx_gsi(1, 1);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_CONTROL, 2), 0x180);
    raise(0);
    CHECK(m->fake.level[gsi]);
    NOT_SENT();
    msi_setup(0, 0x31);
    CHECK(!m->fake.level[gsi]); /* P10: an asserted line goes when messages come on */
    lower();
    raise(0);
    SENT(0x31);
    raise(0);
    SENT(0x31);
    CHECK(!m->fake.level[gsi]);
    CHECK(!(cf8(0, DEV, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT));
    raise(77); /* one vector stands for all */
    SENT(0x31);
    cf8_write(DEV, cap + PCI_MSI_DATA, 0x32, 2);
    raise(0);
    SENT(0x32);
    cf8_write(DEV, cap + PCI_MSI_CONTROL, 0, 2);
    raise(0);
    NOT_SENT();
    CHECK(m->fake.level[gsi]);
    CHECK_EQ(toy->pci.irq_sent, 4);
}

TEST(msi_vectors_are_the_low_bits_of_the_data)
{
    with("msi=8", PCI_CAP_MSI);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_CONTROL, 2), 0x186);
    for (unsigned log2 = 0; log2 < 8; log2++) {
        unsigned n = log2 < 3 ? 1u << log2 : 8; /* more than were offered are not given */
        msi_setup(log2, 0x4f);
        for (unsigned vec = 0; vec < 10; vec++) {
            raise(vec);
            SENT((0x4fu & ~(n - 1)) | (vec & (n - 1)));
        }
    }
}

TEST(msi_masked_vectors_are_pending)
{
    with("msi=4", PCI_CAP_MSI);
    msi_setup(2, 0x40);
    cf8_write(DEV, cap + PCI_MSI_MASK, UINT32_MAX, 4);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_MASK, 4), 0xf);
    raise(2);
    raise(2);
    raise(3);
    NOT_SENT();
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_PENDING, 4), 0xc);
    cf8_write(DEV, cap + PCI_MSI_PENDING, 0, 4); /* read-only */
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_PENDING, 4), 0xc);
    cf8_write(DEV, cap + PCI_MSI_MASK, 0x8, 4);
    SENT(0x42); /* once */
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSI_PENDING, 4), 0x8);
    cf8_write(DEV, cap + PCI_MSI_MASK, 0, 1);
    SENT(0x43);
    CHECK_EQ(toy->pci.irq_held, 3);
}

TEST(P11_messages_need_bus_mastering)
{
    with("msi=1", PCI_CAP_MSI);
    msi_setup(0, 0x31);
    cf8_write(DEV, PCI_COMMAND, 0, 2);
    raise(0);
    NOT_SENT();
    CHECK_EQ(toy->pci.irq_dropped, 1);
    cf8_write(DEV, PCI_COMMAND, MASTER, 2);
    NOT_SENT(); /* what was dropped does not come back */
    raise(0);
    SENT(0x31);
}

/* --- MSI-X */

static uint32_t entry_read(uint64_t offset, unsigned size)
{
    uint64_t v = 0;
    space_read(&m->memory, table + offset, size, &v);
    return (uint32_t)v;
}
static void entry_write(uint64_t offset, uint64_t v, unsigned size)
{
    space_write(&m->memory, table + offset, size, &v);
}
static void entry_set(unsigned vec, uint32_t data, uint32_t control)
{
    entry_write(vec * 16, ADDR, 4);
    entry_write(vec * 16 + 4, 0, 4);
    entry_write(vec * 16 + 8, data, 4);
    entry_write(vec * 16 + 12, control, 4);
}
static void msix_enable(unsigned bits)
{
    cf8_write(DEV, cap + PCI_MSIX_CONTROL, bits, 2);
}

TEST(msix_table_and_capability)
{
    with("pin=1,msix=5", PCI_CAP_MSIX);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSIX_CONTROL, 2), 4);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSIX_TABLE, 4), 5);
    CHECK_EQ(cf8(0, DEV, cap + PCI_MSIX_PBA, 4), 0x805);
    for (unsigned vec = 0; vec < 5; vec++)
        CHECK_EQ(entry_read(vec * 16 + 12, 4), 1); /* masked after reset */
    msix_enable(PCI_MSIX_ENABLE);
    for (unsigned vec = 0; vec < 5; vec++)
        entry_set(vec, 0x50 + vec, 0);
    for (unsigned vec = 0; vec < 5; vec++) {
        raise(vec);
        SENT(0x50 + vec);
    }
    entry_write(16 + 8, 0x99, 4); /* changed while it is live */
    raise(1);
    SENT(0x99);
    entry_write(32, (uint64_t)0 << 32 | ADDR, 8);
    entry_write(40, 1ull << 32 | 0x77, 8); /* data and mask in one */
    raise(2);
    NOT_SENT();
    CHECK_EQ(entry_read(0x800, 4), 4);
    entry_write(44, 0, 4);
    SENT(0x77);
    CHECK_EQ(entry_read(0x800, 4), 0);
    CHECK_EQ(m->fake.changes[pci_intx_gsi(1, 1)], 0);
}

TEST(msix_function_mask_holds_all_back)
{
    with("msix=70", PCI_CAP_MSIX);
    entry_set(0, 0x50, 0);
    entry_set(33, 0x51, 0);
    entry_set(69, 0x52, 1);
    msix_enable(PCI_MSIX_ENABLE | PCI_MSIX_MASKALL);
    raise(0);
    raise(33);
    raise(69);
    NOT_SENT();
    CHECK_EQ(entry_read(0x800, 4), 1);
    CHECK_EQ(entry_read(0x804, 4), 2);
    CHECK_EQ(entry_read(0x808, 4), 1 << 5);
    msix_enable(PCI_MSIX_ENABLE);
    uint32_t data;
    CHECK_EQ(messages(&data), 2);
    CHECK_EQ(data, 0x51);
    CHECK_EQ(entry_read(0x808, 4), 1 << 5);
    entry_write(69 * 16 + 12, 0, 4);
    SENT(0x52);
}

TEST(P5_P6_msix_bar_at_every_offset_and_width)
{
    with("msix=5", PCI_CAP_MSIX);
    for (unsigned vec = 0; vec < 5; vec++)
        entry_set(vec, 0x50 + vec, 1);
    for (uint64_t offset = 0; offset < 4096 + 16; offset++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            bool whole = size >= 4 && offset % size == 0 && offset < 4096;
            uint64_t v = 0, want;
            space_read(&m->memory, table + offset, size, &v);
            if (!whole) {
                CHECK_EQ(v, size == 8 ? UINT64_MAX : ones(size)); /* refused, or nobody's */
                entry_write(offset, UINT64_MAX, size);
                continue;
            }
            want = 0;
            for (unsigned i = 0; i < size; i += 4) {
                uint64_t at = offset + i, field = at / 4 % 4;
                uint32_t dword = at >= 80     ? 0
                                 : field == 0 ? ADDR
                                 : field == 2 ? 0x50 + (uint32_t)at / 16
                                              : field == 3;
                want |= (uint64_t)dword << 8 * i;
            }
            CHECK_EQ(v, want);
            if (offset >= 80)
                entry_write(offset, UINT64_MAX, size); /* past the last entry, and pending bits */
        }
    }
    CHECK_EQ(entry_read(0x800, 4), 0);
    for (unsigned vec = 0; vec < 5; vec++)
        CHECK_EQ(entry_read(vec * 16 + 8, 4), 0x50 + vec); /* nothing got in */
}

TEST(P7_vectors_beyond_the_table)
{
    with("msix=3", PCI_CAP_MSIX);
    msix_enable(PCI_MSIX_ENABLE);
    for (unsigned vec = 3; vec < 65536; vec++)
        raise(vec);
    raise(UINT32_MAX);
    NOT_SENT();
    CHECK_EQ(toy->pci.irq_dropped, 65536 - 3 + 1);
    CHECK_EQ(entry_read(0x800, 4), 0);
}

TEST(P8_rewriting_a_vector_leaks_no_route)
{
    struct irq_stats before, after;
    with("msi=4,msix=4", PCI_CAP_MSIX);
    msix_enable(PCI_MSIX_ENABLE);
    irq_stats(m->board.irqs, &before);
    for (unsigned long i = 0; i < test_scale(20000); i++) {
        entry_set(1, 0x40 + i % 64, i & 1);
        if (!(i & 1)) {
            raise(1);
            SENT(0x40 + i % 64);
        }
    }
    irq_stats(m->board.irqs, &after);
    CHECK_EQ(after.routes, before.routes);
    CHECK_EQ(before.routes, 8);
}

TEST(P9_messages_to_no_apic)
{
    uint64_t seed = 9;
    with("msix=1", PCI_CAP_MSIX);
    msix_enable(PCI_MSIX_ENABLE);
    entry_set(0, 0x50, 0);
    entry_write(0, 0x1000, 4);
    raise(0);
    NOT_SENT();
    entry_write(0, ADDR, 4);
    raise(0);
    SENT(0x50);
    entry_write(4, 1, 4); /* above 4 GiB */
    raise(0);
    NOT_SENT();
    for (unsigned i = 0; i < 20000; i++) {
        entry_write(test_rand(&seed) % 4 * 4, test_rand(&seed), 4);
        raise(0);
    }
    for (unsigned i = 0; i < m->fake.sent && i < FAKE_IRQ_LOG; i++) {
        CHECK_EQ(m->fake.log[i].addr >> 20, 0xfee);
        unsigned mode = m->fake.log[i].data >> 8 & 7;
        CHECK(mode != 2 && mode != 3); /* SMI, reserved */
    }
}

/* --- power management, PCI Express */

TEST(pci_power_state_shuts_the_function)
{
    uint8_t byte;
    with("power,bars=m12,msi=1", PCI_CAP_POWER);
    uint64_t bar = cf8(0, DEV, PCI_BAR0, 4);
    unsigned control = cap + PCI_POWER_CONTROL;
    CHECK_EQ(cf8(0, DEV, cap + 2, 2), 3);
    CHECK_EQ(cf8(0, DEV, control, 2), PCI_POWER_NO_RESET);
    CHECK(dma_read(&toy->pci.dma, 0x1000, &byte, 1));
    cf8_write(DEV, control, 3, 2);
    CHECK_EQ(who(bar), NOBODY);
    CHECK(!dma_read(&toy->pci.dma, 0x1000, &byte, 1));
    CHECK_EQ(cf8(0, DEV, 0, 4), 0x56781234);
    cf8_write(DEV, PCI_COMMAND, MASTER, 2); /* does not wake it */
    CHECK_EQ(who(bar), NOBODY);
    cf8_write(DEV, control, 0, 1);
    CHECK_EQ(who(bar), BAR_OF(0, DEV));
    CHECK(dma_read(&toy->pci.dma, 0x1000, &byte, 1));
    CHECK_EQ(cf8(0, DEV, PCI_BAR0, 4), bar); /* nothing was lost */
}

TEST(pci_express_has_the_large_space)
{
    with("express", PCI_CAP_EXPRESS);
    CHECK_EQ(cf8(0, DEV, cap + 2, 2), 0x92);
    CHECK_EQ(ecam(0, DEV, 0x100, 4), 0); /* no extended capabilities */
    CHECK_EQ(ecam(0, DEV, 0xffc, 4), 0);
    CHECK_EQ(ecam(0, DEV, 0xffe, 4), UINT32_MAX);
    out(0xcf8, 0x80000000 | DEV << 8 | 0xf << 24 | 0xfc, 4);
    CHECK_EQ(in(0xcfc, 4), 0);
    for (unsigned reg = 0x100; reg < 0x1000; reg += 4) {
        ecam_write(DEV, reg, UINT32_MAX, 4);
        CHECK_EQ(ecam(0, DEV, reg, 4), 0);
    }
}
