// SPDX-License-Identifier: MIT
/* The PCI bus as a guest sees it: both ways to configuration space, slots, capabilities, INTx. */
#include "test.h"

#include "pci_board.h"

/* --- both mechanisms */

TEST(pci_bridge_is_found)
{
    machine_new();
    /* Linux's check for mechanism 1 */
    out(0xcfb, 1, 1);
    uint32_t before = in(0xcf8, 4);
    out(0xcf8, 0x80000000, 4);
    CHECK_EQ(in(0xcf8, 4), 0x80000000);
    out(0xcf8, before, 4);

    CHECK_EQ(cf8(0, 0, PCI_VENDOR_ID, 4), 0x00081b36);
    CHECK_EQ(cf8(0, 0, PCI_CLASS_CODE + 1, 2), 0x0600);
    CHECK_EQ(cf8(0, 0, PCI_HEADER_TYPE, 1), 0);
    CHECK_EQ(cf8(0, 0, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    CHECK_EQ(cf8(0, 0, PCI_INTERRUPT_PIN, 1), 0);
    cf8_write(0, PCI_COMMAND, 0, 2);
    CHECK_EQ(cf8(0, 0, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

TEST(pci_both_mechanisms_give_the_same_bytes)
{
    machine_new();
    CHECK(toy_new("pin=1,bars=i5+m12+w16+r12,addr=3.0"));
    CHECK(toy_new("pin=2,bars=p20,addr=3.5"));
    CHECK(placed());
    unsigned seen = 0;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        for (unsigned reg = 0; reg < 256; reg++) {
            for (unsigned size = 1; size <= 4; size *= 2) {
                if ((reg & 3) + size > 4)
                    continue;
                CHECK_EQ(cf8(0, devfn, reg, size), ecam(0, devfn, reg, size));
                CHECK_EQ(cf8(1 + devfn % 255, devfn, reg, size), ones(size));
            }
        }
        seen += cf8(0, devfn, 0, 4) != UINT32_MAX;
    }
    CHECK_EQ(seen, 3);
    CHECK_EQ(ecam(0, 0x18, 0, 4), 0x56781234);
    CHECK_EQ(ecam(0, 0x1d, PCI_REVISION_ID, 1), 3);
    /* bytes written by the one are read by the other */
    cf8_write(0x18, PCI_INTERRUPT_LINE, 0x5a, 1);
    CHECK_EQ(ecam(0, 0x18, PCI_INTERRUPT_LINE, 1), 0x5a);
    ecam_write(0x18, PCI_CACHE_LINE_SIZE, 0x2010, 2);
    CHECK_EQ(cf8(0, 0x18, PCI_CACHE_LINE_SIZE, 2), 0x2010);
}

/* A reset register lies over 0xcf9, as in the machine. */
static uint64_t over_value;
static unsigned over_calls;
static void over_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    (void)opaque, (void)offset, (void)size;
    over_value = value;
    over_calls++;
}
static const struct region_ops over_ops = {.write = over_write, .sizes = 1};

TEST(P1_config_ports_at_every_offset_and_width)
{
    static struct region over;
    machine_new();
    CHECK(toy_new("pin=1,addr=2.0"));
    region_init_io(&over, "reset", 1, &over_ops, NULL, NULL, NULL);
    region_add(&m->io_root, &over, 0xcf9, 1);
    over_calls = 0;
    for (unsigned size = 1; size <= 4; size *= 2) {
        for (unsigned port = 0xcf8; port <= 0xcff; port++) {
            unsigned n = port & 3;
            bool inside = n + size <= 4;
            out(0xcf8, 0x8000103c, 4); /* 02.0, Interrupt Line */
            cf8_write(0x10, PCI_INTERRUPT_LINE, 0x77, 1);
            out((uint16_t)port, 0x11223344 & ones(size), size);
            if (port == 0xcf8 && size == 4)
                CHECK_EQ(in(0xcf8, 4), 0x11223344 & 0x8ffffffc);
            else
                CHECK_EQ(in(0xcf8, 4), 0x8000103c);
            out(0xcf8, 0x8000103c, 4);
            CHECK_EQ(in(0xcfc, 1), port >= 0xcfc && n == 0 ? 0x44 : 0x77);

            uint32_t got = in((uint16_t)port, size), want = ones(size);
            if (port == 0xcf8 && size == 4)
                want = 0x8000103c;
            if (port >= 0xcfc && inside)
                want = cf8(0, 0x10, 0x3c, 4) >> 8 * n & ones(size);
            CHECK_EQ(got, want);
        }
    }
    CHECK_EQ(over_calls, 1); /* the byte; a word at 0xcf9 is not the latch's either */
    CHECK_EQ(over_value, 0x44);
    /* without the enable bit the data port is nobody's */
    out(0xcf8, 0x00001000, 4);
    CHECK_EQ(in(0xcfc, 4), UINT32_MAX);
    out(0xcfc, 0, 4);
    /* ECAM: across a dword, 8 bytes, past the end of the function */
    CHECK_EQ(ecam(0, 0x10, 2, 4), UINT32_MAX);
    CHECK_EQ(ecam(0, 0x10, 3, 2), 0xffff);
    uint64_t wide = 0;
    CHECK(!space_read(&m->memory, ecam_addr(0, 0x10, 0), 8, &wide));
    CHECK_EQ(wide, UINT64_MAX);
    CHECK_EQ(ecam(0, 0x10, 0x100, 4), UINT32_MAX);
    CHECK_EQ(ecam(0, 0x10, 0xffc, 4), UINT32_MAX);
    ecam_write(0x10, 0xffc, 0, 4);
    /* latch bits 27:24 are the register's bits 11:8 */
    out(0xcf8, 0x81001000, 4);
    CHECK_EQ(in(0xcfc, 4), UINT32_MAX);
}

TEST(P2_all_ones_to_every_dword)
{
    machine_new();
    struct toy *toy = toy_new("pin=3,bars=i5+m12+w16+p30+r12,addr=1f.0");
    CHECK(toy);
    pci_capability(&toy->pci, 0x09, 12);
    CHECK(placed());
    for (unsigned way = 0; way < 4; way++) {
        for (unsigned devfn = 0; devfn < 256; devfn += 0xf8) {
            uint8_t before[256];
            for (unsigned r = 0; r < 256; r++)
                before[r] = (uint8_t)cf8(0, devfn, r, 1);
            for (unsigned r = 0; r < 256; r += 4) {
                if (way == 0)
                    cf8_write(devfn, r, UINT32_MAX, 4);
                else if (way == 1)
                    ecam_write(devfn, r, UINT32_MAX, 4);
                else
                    for (unsigned i = 0; i < 4; i += 4 - way)
                        cf8_write(devfn, r + i, UINT32_MAX, 4 - way);
            }
            static const uint8_t fixed[] = {PCI_VENDOR_ID,
                                            1,
                                            PCI_DEVICE_ID,
                                            3,
                                            PCI_REVISION_ID,
                                            9,
                                            10,
                                            11,
                                            PCI_HEADER_TYPE,
                                            15,
                                            0x28,
                                            0x2c,
                                            0x2d,
                                            0x2e,
                                            0x2f,
                                            PCI_CAPABILITIES,
                                            0x35,
                                            0x38,
                                            PCI_INTERRUPT_PIN,
                                            0x3e,
                                            0x3f,
                                            0x40,
                                            0x41,
                                            0x42,
                                            0x4b,
                                            0xff};
            for (size_t i = 0; i < sizeof fixed; i++)
                CHECK_EQ(cf8(0, devfn, fixed[i], 1), before[fixed[i]]);
            CHECK_EQ(cf8(0, devfn, PCI_STATUS, 2), devfn ? PCI_STATUS_CAPABILITIES : 0);
            if (devfn)
                CHECK_EQ(cf8(0, devfn, PCI_COMMAND, 2), 0x547);
        }
    }
    /* sizes, as a guest reads them back */
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0, 4), 0xffffffe1);
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0 + 4, 4), 0xfffff000);
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0 + 8, 4), 0xffff0004);
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0 + 12, 4), 0xffffffff);
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0 + 16, 4), 0xc000000c);
    CHECK_EQ(cf8(0, 0xf8, PCI_BAR0 + 20, 4), 0xffffffff);
    CHECK_EQ(cf8(0, 0xf8, PCI_ROM_BASE, 4), 0xfffff001);
    /* and put back, everything is where it was said to be */
    cf8_write(0xf8, PCI_BAR0 + 4, 0xf0004000, 4);
    CHECK_EQ(who(0xf0004ffe), BAR_OF(1, 0xf8));
}

TEST(P11_decode_off_master_off_and_absent_functions)
{
    uint8_t byte = 0;
    machine_new();
    struct toy *toy = toy_new("bars=m12+i5,addr=4.0");
    CHECK(toy && placed());
    uint32_t addr = cf8(0, 0x20, PCI_BAR0, 4) & ~0xfu, port = cf8(0, 0x20, PCI_BAR0 + 4, 4) & ~3u;
    CHECK_EQ(who(addr), BAR_OF(0, 0x20));
    CHECK_EQ(who_io(port), BAR_OF(1, 0x20));
    cf8_write(0x20, PCI_COMMAND, PCI_COMMAND_IO, 2);
    CHECK_EQ(who(addr), NOBODY);
    CHECK_EQ(who_io(port), BAR_OF(1, 0x20));
    cf8_write(0x20, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK_EQ(who(addr), BAR_OF(0, 0x20));
    CHECK_EQ(who_io(port), NOBODY);

    CHECK(!dma_read(&toy->pci.dma, 0x1000, &byte, 1));
    CHECK(!dma_write(&toy->pci.dma, 0x1000, &byte, 1));
    cf8_write(0x20, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    CHECK(dma_write(&toy->pci.dma, 0x1000, &byte, 1));
    CHECK(!dma_read(&toy->pci.dma, addr, &byte, 1)); /* its own BAR */
    cf8_write(0x20, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    CHECK(!dma_read(&toy->pci.dma, 0x1000, &byte, 1));

    CHECK_EQ(cf8(0, 0xff, 0, 4), UINT32_MAX);
    CHECK_EQ(cf8(255, 0xff, 0xfc, 4), UINT32_MAX);
    CHECK_EQ(ecam(255, 0xff, 0xfff, 1), 0xff);
    cf8_write(0xff, 0, 0, 4);
    ecam_write(0xff, 0xfff, 0, 1);
}

/* --- set-up */

TEST(pci_slots_are_dealt_and_given)
{
    machine_new();
    for (unsigned i = 1; i <= 7; i++) {
        struct toy *toy = toy_new("pin=1");
        CHECK(toy);
        CHECK_EQ(toy->pci.devfn, i * 8);
        CHECK_EQ(cf8(0, i * 8, PCI_INTERRUPT_LINE, 1), 16 + i);
    }
    struct toy *eighth = toy_new("pin=1"); /* line 16 is unused */
    CHECK_EQ(pci_slot(&eighth->pci) & 7, 0);
    CHECK(toy_new("pin=2,addr=1f.7"));
    CHECK_EQ(cf8(0, 0xff, PCI_INTERRUPT_LINE, 1), pci_intx_gsi(31, 2));
    CHECK(!toy_new("addr=1.0"));
    CHECK(strstr(m->err, "taken by toy0"));
    static const char *const bad[] = {"addr=20",    "addr= 5", "addr=1.8",
                                      "addr=",      "addr=x",  "addr=-1",
                                      "addr=1.0.0", "addr=1.", "addr=100000000000000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!toy_new(bad[i]));
        CHECK(strstr(m->err, "addr"));
    }
    CHECK(!placed()); /* 1f.7 has no function 0 */
    CHECK(strstr(m->err, "function 0"));
    CHECK(toy_new("addr=1f.0"));
    CHECK(placed());
    for (unsigned i = 0; i < 40; i++)
        if (!toy_new(NULL))
            break;
    CHECK(strstr(m->err, "all 31 PCI slots are taken"));
}

TEST(pci_multifunction_is_told_by_every_function)
{
    machine_new();
    CHECK(toy_new("addr=5.0") && toy_new("addr=6.3"));
    CHECK_EQ(cf8(0, 0x28, PCI_HEADER_TYPE, 1), 0);
    CHECK(toy_new("addr=5.7") && toy_new("addr=6.0"));
    CHECK_EQ(cf8(0, 0x28, PCI_HEADER_TYPE, 1), 0x80);
    CHECK_EQ(cf8(0, 0x2f, PCI_HEADER_TYPE, 1), 0x80);
    CHECK_EQ(cf8(0, 0x30, PCI_HEADER_TYPE, 1), 0x80);
    CHECK_EQ(cf8(0, 0, PCI_HEADER_TYPE, 1), 0);
}

TEST(pci_no_bus_no_device)
{
    machine_new();
    m->board.pci = NULL;
    CHECK(!toy_new(NULL));
    CHECK(strstr(m->err, "no PCI bus"));
}

TEST(pci_capabilities_are_a_list)
{
    machine_new();
    struct toy *toy = toy_new("addr=1");
    CHECK_EQ(cf8(0, 8, PCI_CAPABILITIES, 1), 0);
    CHECK_EQ(pci_capability(&toy->pci, 0x01, 8), 0x40);
    CHECK_EQ(pci_capability(&toy->pci, 0x09, 5), 0x48);
    CHECK_EQ(pci_capability(&toy->pci, 0x05, 14), 0x50); /* on a dword */
    CHECK(cf8(0, 8, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES);
    unsigned at = cf8(0, 8, PCI_CAPABILITIES, 1), ids = 0, n = 0;
    for (; at && n < 8; at = cf8(0, 8, at + 1, 1), n++)
        ids = ids << 8 | cf8(0, 8, at, 1);
    CHECK_EQ(ids, 0x050901);
}

/* --- INTx */

static void raise(struct toy *toy, bool level)
{
    lock_take(&toy->pci.dev.lock);
    if (level)
        pci_raise(&toy->pci, 0);
    else
        pci_lower(&toy->pci);
    lock_drop(&toy->pci.dev.lock);
}

TEST(P10_intx_is_shared_masked_and_shown)
{
    machine_new();
    struct toy *a = toy_new("pin=1,addr=1"), *b = toy_new("pin=1,addr=9"), *none = toy_new("addr=2");
    unsigned gsi = pci_intx_gsi(1, 1);
    CHECK(a && b && none && placed());
    CHECK_EQ(gsi, pci_intx_gsi(9, 1));
    raise(a, true);
    CHECK(m->fake.level[gsi]);
    CHECK(cf8(0, 0x08, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    raise(b, true);
    raise(a, false);
    CHECK(m->fake.level[gsi]); /* the other one still holds it */
    CHECK(!(cf8(0, 0x08, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT));
    cf8_write(0x48, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
    CHECK(!m->fake.level[gsi]);
    CHECK(cf8(0, 0x48, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT); /* pending all the same */
    cf8_write(0x48, PCI_COMMAND, 0, 2);
    CHECK(m->fake.level[gsi]);
    raise(b, true); /* again: no change */
    raise(b, false);
    raise(b, false);
    CHECK(!m->fake.level[gsi]);
    CHECK_EQ(m->fake.changes[gsi], 4);
    raise(none, true); /* no pin, no line */
    for (unsigned i = 0; i < IRQ_LINES; i++)
        CHECK(!m->fake.level[i]);
}
