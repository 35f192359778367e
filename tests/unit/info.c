// SPDX-License-Identifier: MIT
/* What `vmlet info` says of a board: devices, configuration space, registers, interrupts. On PCI's board of toys. */
#include "test.h"

#include "guest/info.h"
#include "pci_board.h"

extern const struct device_class edu_class;

static char *said;
static size_t said_size;

static const char *ask(const char *(*fn)(struct board *, int, char **, FILE *), const char *a, const char *b)
{
    char *argv[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};
    free(said);
    said = NULL;
    FILE *out = open_memstream(&said, &said_size);
    const char *error = fn(&m->board, b ? 2 : a ? 1 : 0, argv, out);
    fclose(out);
    return error;
}

static bool has(const char *text)
{
    bool found = strstr(said, text) != NULL;
    if (!found)
        printf("no `%s` in:\n%s\n", text, said);
    return found;
}

TEST(info_pci_decodes_every_kind_of_bar)
{
    machine_new();
    CHECK(toy_new("bars=i8+m12+w14+p20+r11,pin=1,power,express"));
    CHECK(placed());
    CHECK(!ask(info_pci, "toy0", NULL));
    CHECK(has("00:01.0 Class ff00: 1234:5678 (rev 03) toy0\n"));
    CHECK(has("\tControl: I/O+ Mem+ BusMaster- "));
    CHECK(has("\tInterrupt: pin A routed to IRQ 17 (line 17, quiet)\n"));
    CHECK(has("\tRegion 0: I/O ports at c000 [size=256] toy-bar\n"));
    CHECK(has("\tRegion 1: Memory at "));
    CHECK(has(" (32-bit, non-prefetchable) [size=4K] toy-bar\n"));
    CHECK(has("(64-bit, non-prefetchable) [size=16K]"));
    CHECK(has("\tRegion 4: Memory at c0000000 (64-bit, prefetchable) [size=1M]"));
    CHECK(has(" [disabled] [size=2K] toy-bar\n"));
    CHECK(has("Power Management version 3\n"));
    CHECK(has("Express (v2) Root Complex Integrated Endpoint"));
    CHECK(!strstr(said, "\n00:"));
    CHECK(!ask(info_pci, "-x", "toy0"));
    CHECK(has("\n00: 34 12 78 56 "));
    CHECK(has("\nff0: 00 ")); /* all of its 4 KiB */
}

/* Decoding is switched off, and what is printed follows. */
TEST(info_pci_follows_the_guest)
{
    machine_new();
    CHECK(toy_new("bars=m12,pin=2"));
    CHECK(placed());
    ecam_write(8, PCI_BAR0, 0xd0000000, 4);
    CHECK(!ask(info_pci, "toy0", NULL));
    CHECK(has("Region 0: Memory at d0000000 (32-bit, non-prefetchable) [size=4K]"));
    ecam_write(8, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    CHECK(!ask(info_pci, "toy0", NULL));
    CHECK(has("Mem- BusMaster+"));
    CHECK(has("(32-bit, non-prefetchable) [disabled] [size=4K]"));
}

/* P: a list of capabilities that runs in a circle, or to the end of the space, is printed to an end. */
TEST(info_pci_bad_lists_of_capabilities)
{
    machine_new();
    struct toy *toy = toy_new("bars=m12,msi=4,power,express");
    CHECK(toy && placed());
    for (unsigned seed = 0; seed < 2000; seed++) {
        uint64_t r = seed;
        for (unsigned i = 0; i < PCI_CONFIG_SIZE_EXPRESS; i++)
            toy->pci.config[i] = (uint8_t)test_rand(&r);
        toy->pci.config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
        CHECK(!ask(info_pci, "toy0", NULL));
        CHECK(!ask(info_irq, NULL, NULL));
        CHECK(said_size < 65536);
    }
}

TEST(info_irq_lines_and_vectors)
{
    machine_new();
    struct toy *toy = toy_new("bars=m12,pin=1,msix=3");
    CHECK(toy && placed());
    lock_take(&toy->pci.dev.lock);
    pci_raise(&toy->pci, 0);
    lock_drop(&toy->pci.dev.lock);
    CHECK(!ask(info_irq, NULL, NULL));
    CHECK(has("  17      1  1           toy0 (1, 1)\n"));
    CHECK(has("toy0 at 00:01.0: 0 messages sent, 0 held by masks, 0 dropped (no bus master now)\n"));
    CHECK(has("  INTA  line 17, asserted\n"));
    CHECK(has("  MSI-X off, 3 vectors\n"));

    unsigned cap = cf8(0, 8, PCI_CAPABILITIES, 1);
    uint64_t table = cf8(0, 8, PCI_BAR0 + 20, 4) & ~0xfu;
    static const uint32_t entry[4] = {0xfee01000, 0, 0x4031, 0};
    for (unsigned i = 0; i < 4; i++)
        space_write(&m->memory, table + 16 + 4 * i, 4, &entry[i]);
    cf8_write(8, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 2);
    cf8_write(8, cap + PCI_MSIX_CONTROL, PCI_MSIX_ENABLE, 2);
    lock_take(&toy->pci.dev.lock);
    pci_raise(&toy->pci, 1);
    pci_raise(&toy->pci, 1);
    pci_raise(&toy->pci, 2); /* masked since reset */
    lock_drop(&toy->pci.dev.lock);
    CHECK(!ask(info_irq, NULL, NULL));
    CHECK(has("messages: 2 sent, 0 dropped, 0 that were none; 3 routes, GSI 24 up\n"));
    CHECK(has("toy0 at 00:01.0: 2 messages sent, 1 held by masks, 0 dropped\n"));
    CHECK(
        has("  MSI-X   1  GSI 25   address 00000000fee01000 data 00004031 (vector 49)  sent 2, dropped 0\n"));
    CHECK(has(
        "  MSI-X   2  GSI 26   address 0000000000000000 data 00000000 (vector 0) masked pending  sent 0"));
}

TEST(info_qtree_and_regs)
{
    machine_new();
    CHECK(device_new(&m->board, &edu_class, NULL, "dma_mask=0xffff,addr=5.0", m->err, sizeof m->err));
    CHECK(toy_new("bars=i8,addr=5.1,power"));
    CHECK(placed());
    CHECK(!ask(info_qtree, NULL, NULL));
    CHECK(has("bus: board\n  dev: pci-host, id \"pci\", addr 00.0\n"));
    CHECK(has("    bus: pci\n      dev: edu, id \"edu0\", addr 05.0\n        dma_mask = 65535 (0xffff)\n"));
    CHECK(has("        bar 0: mem at 0xc0000000 [0xc00fffff] edu0.regs\n"));
    CHECK(has("      dev: toy, id \"toy0\", addr 05.1\n        bars = i8\n"));
    CHECK(has("        power = on\n        express = off\n"));
    CHECK(has("        bar 0: i/o at 0xc000 [0xc0ff] toy-bar\n"));
    CHECK(!ask(info_regs, "edu0", NULL));
    CHECK(has("00000 ID           0x010000ed\n"));
}

TEST(info_refuses)
{
    machine_new();
    CHECK(device_new(&m->board, &edu_class, NULL, NULL, m->err, sizeof m->err));
    CHECK(placed());
    CHECK_STR(ask(info_regs, "nono", NULL), "nono: no such device (there are pci edu0)");
    CHECK(strstr(ask(info_regs, NULL, NULL), "takes the id"));
    CHECK(strstr(ask(info_regs, "edu0", "edu0"), "takes the id"));
    CHECK(strstr(ask(info_pci, "nono", NULL), "no such device"));
    CHECK(strstr(ask(info_pci, "-y", NULL), "takes -x"));
    CHECK(strstr(ask(info_pci, "edu0", "edu0"), "takes -x"));
    CHECK(strstr(ask(info_irq, "x", NULL), "no further words"));
    CHECK(strstr(ask(info_qtree, "x", NULL), "no further words"));
}
