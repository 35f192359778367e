/* SPDX-License-Identifier: MIT
 *
 * pci-testdev: QEMU's device for testing the ways in (its docs/specs/pci-testdev). PCI 1b36:0005, BAR0 4 KiB of memory, BAR1
 * 256 ports. Writing a number to TEST starts that test of that BAR, and the header then says what to write where, and
 * counts the writes that were right: `no-eventfd` by an exit, `wildcard-eventfd` by an ioeventfd for any value,
 * `datamatch-eventfd` by one for DATA alone.
 *
 * The ioeventfds hang on their offsets from set-up on, whichever test runs: no device changes the map, and a BAR that moves
 * takes them along. The eventfd is the counter; COUNT adds what it holds to what came by exits (all of it, where a watcher
 * has the ioeventfds taken away). QEMU counts only the latter; programs accept both.
 */
#include "pci/device.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    MEM_SIZE = 4096,
    MEM_HIT = MEM_SIZE / 2, /* a byte for each test; the port BAR's follow on */
    PORTS = 256,
    PORTS_HIT = PORTS / 2 + 3,
    TESTS = 3, /* of each BAR */
    DATA_MATCH = 0xfa,
    DATA_ANY = 0xce,
    NAME_SIZE = 32,
};

struct pci_testdev {
    struct pci_device pci;
    uint32_t current; /* test + 1, those of BAR1 after those of BAR0; 0: none */
    uint32_t count;
    int fds[2 * TESTS];
};

static const char *const test_names[2 * TESTS] = {
    "mmio-no-eventfd",   "mmio-wildcard-eventfd",   "mmio-datamatch-eventfd",
    "portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd",
};

static bool test_matches(unsigned test)
{
    return test % TESTS != 1;
}

/* What the kernel, or space_write() on the slow way, has counted since the last call. */
static uint32_t testdev_drain(struct pci_testdev *t, unsigned test)
{
    uint64_t n = 0;
    if (t->fds[test] >= 0 && read(t->fds[test], &n, sizeof n) != sizeof n)
        n = 0; /* EAGAIN: none */
    return (uint32_t)n;
}

static void testdev_start(struct pci_testdev *t, unsigned first, uint64_t test)
{
    t->current = test < TESTS ? first + (unsigned)test + 1 : 0;
    t->count = 0;
    if (t->current)
        (void)testdev_drain(t, t->current - 1);
}
static void testdev_start_mem(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    testdev_start((struct pci_testdev *)dev, 0, value);
}
static void testdev_start_ports(struct device *dev, unsigned index, uint64_t value)
{
    (void)index;
    testdev_start((struct pci_testdev *)dev, TESTS, value);
}

static void testdev_hit(struct pci_testdev *t, unsigned test, uint64_t value)
{
    if (t->current == test + 1 && (!test_matches(test) || value == DATA_MATCH))
        t->count++;
}
static void testdev_hit_mem(struct device *dev, unsigned index, uint64_t value)
{
    testdev_hit((struct pci_testdev *)dev, index, value);
}
static void testdev_hit_ports(struct device *dev, unsigned index, uint64_t value)
{
    testdev_hit((struct pci_testdev *)dev, TESTS + index, value);
}

/* The header is 0 while no test runs. */
static uint64_t testdev_test(struct device *dev, unsigned index)
{
    struct pci_testdev *t = (struct pci_testdev *)dev;
    (void)index;
    return t->current ? t->current - 1 : 0;
}
static uint64_t testdev_width(struct device *dev, unsigned index)
{
    (void)index;
    return ((struct pci_testdev *)dev)->current != 0;
}
static uint64_t testdev_offset(struct device *dev, unsigned index)
{
    uint32_t current = ((struct pci_testdev *)dev)->current;
    (void)index;
    return !current ? 0 : current > TESTS ? PORTS_HIT + current - 1 - TESTS : MEM_HIT + current - 1;
}
static uint64_t testdev_data(struct device *dev, unsigned index)
{
    uint32_t current = ((struct pci_testdev *)dev)->current;
    (void)index;
    return !current ? 0 : test_matches(current - 1) ? DATA_MATCH : DATA_ANY;
}
static uint64_t testdev_count(struct device *dev, unsigned index)
{
    struct pci_testdev *t = (struct pci_testdev *)dev;
    (void)index;
    if (t->current)
        t->count += testdev_drain(t, t->current - 1);
    return t->count;
}
static uint64_t testdev_name(struct device *dev, unsigned index)
{
    uint32_t current = ((struct pci_testdev *)dev)->current;
    return current && index < strlen(test_names[current - 1]) ? (uint8_t)test_names[current - 1][index] : 0;
}

/* clang-format off */
#define DWORD 4, .sizes = 1 | 2 | 4, .flags = REG_RO | REG_PURE
#define HEADER(start)                                                                                        \
    {"TEST",   0x00, 1, .write = start, .read = testdev_test, .flags = REG_PURE},                            \
    {"WIDTH",  0x01, 1, .read = testdev_width, .flags = REG_RO | REG_PURE},                                  \
    {"OFFSET", 0x04, DWORD, .read = testdev_offset},                                                         \
    {"DATA",   0x08, DWORD, .read = testdev_data},                                                           \
    {"COUNT",  0x0c, 4, .sizes = 1 | 2 | 4, .flags = REG_RO, .read = testdev_count},                         \
    {"NAME",   0x10, 1, .count = NAME_SIZE, .read = testdev_name, .flags = REG_RO | REG_PURE}
static const struct reg mem_regs[] = {
    HEADER(testdev_start_mem),
    {"HIT", MEM_HIT, 1, .count = TESTS, .write = testdev_hit_mem, .flags = REG_WO},
    {0},
};
static const struct reg port_regs[] = {
    HEADER(testdev_start_ports),
    {"HIT", PORTS_HIT, 1, .count = TESTS, .write = testdev_hit_ports, .flags = REG_WO},
    {0},
};
/* clang-format on */
static const struct reg_bank mem_bank = {
    .name = "mem", .size = MEM_SIZE, .regs = mem_regs, .region_sizes = 1, .region_flags = REGION_SPLIT};
static const struct reg_bank port_bank = {
    .name = "ports", .size = PORTS, .regs = port_regs, .region_sizes = 1, .region_flags = REGION_SPLIT};

static const char *testdev_init(struct device *dev, struct board *board)
{
    struct pci_testdev *t = (struct pci_testdev *)dev;
    (void)board;
    memset(t->fds, -1, sizeof t->fds);
    for (unsigned test = 0; test < 2 * TESTS; test++) {
        if (test % TESTS == 0)
            continue;
        if ((t->fds[test] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
            snprintf(dev->error, sizeof dev->error, "eventfd: %s", strerror(errno));
            return dev->error;
        }
        bool ports = test >= TESTS;
        region_ioeventfd_add(&device_map(dev, ports)->region,
                             ports ? PORTS_HIT + test - TESTS : MEM_HIT + test, 1, test_matches(test),
                             DATA_MATCH, t->fds[test]);
    }
    return NULL;
}

static void testdev_fini(struct device *dev)
{
    struct pci_testdev *t = (struct pci_testdev *)dev;
    for (unsigned test = 0; test < 2 * TESTS; test++) {
        if (t->fds[test] < 0)
            continue;
        bool ports = test >= TESTS;
        region_ioeventfd_remove(&device_map(dev, ports)->region,
                                ports ? PORTS_HIT + test - TESTS : MEM_HIT + test, 1, test_matches(test),
                                DATA_MATCH, t->fds[test]);
        close(t->fds[test]);
    }
}

static const char *testdev_loaded(struct device *dev)
{
    return ((struct pci_testdev *)dev)->current > 2 * TESTS ? "current: no such test" : NULL;
}

static void testdev_reset(struct device *dev)
{
    testdev_start((struct pci_testdev *)dev, 0, TESTS);
}

/* clang-format off */
const struct device_class pci_testdev_class = {
    .name = "pci-testdev",
    .help = "QEMU's device for conformance programs: writes by exit and by ioeventfd (PCI 1b36:0005)",
    .size = sizeof(struct pci_testdev),
    .bus = PCI_FUNCTION(.ids = {.vendor = 0x1b36, .device = 0x0005, .class_code = 0x00ff00},
                        .bars = {{PCI_BAR_MEM32, .bank = 0}, {PCI_BAR_IO, .bank = 1}}),
    .banks = (const struct reg_bank *const[]){&mem_bank, &port_bank, NULL},
    .state = (const struct state_field[]){STATE(struct pci_testdev, current), STATE(struct pci_testdev, count), {0}},
    .init = testdev_init,
    .reset = testdev_reset,
    .loaded = testdev_loaded,
    .fini = testdev_fini,
};
