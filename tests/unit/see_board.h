/* SPDX-License-Identifier: MIT
 *
 * A board with a clock of the test's and an edu whose driver the test is: for edu itself, traces, lint, faults.
 */
#ifndef TESTS_UNIT_SEE_BOARD_H
#define TESTS_UNIT_SEE_BOARD_H

#include "kvm/host/log.h"
#include "mem/watch.h"
#include "pci_board.h"
#include "said.h"

extern const struct device_class edu_class;

static uint64_t now_ns;
static uint64_t test_now(void *ctx)
{
    (void)ctx;
    return now_ns;
}
static const struct clock test_clock = {test_now, NULL};

static struct pci_device *edu;
static uint64_t bar;

/* A machine with one edu more, named `id`, bus mastering on. */
static inline void edu_board(const char *id, const char *options)
{
    log_set_level(LOG_LEVEL_ERROR);
    now_ns = 1000000000;
    machine_new();
    loop_free(m->board.loop);
    m->board.loop = loop_new(&test_clock);
    edu = (struct pci_device *)device_new(&m->board, &edu_class, id, options, m->err, sizeof m->err);
    CHECK(edu);
    CHECK(placed());
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    bar = cf8(0, edu->devfn, 0x10, 4) & ~15u;
    CHECK(bar);
}
static inline void see_board(const char *id)
{
    edu_board(id, NULL);
}

static inline uint64_t rd(unsigned reg, unsigned size)
{
    uint64_t v = 0;
    space_read(&m->memory, bar + reg, size, &v);
    return v;
}
static inline void wr(unsigned reg, uint64_t v, unsigned size)
{
    space_write(&m->memory, bar + reg, size, &v);
}
static inline void pass(uint64_t ns)
{
    now_ns += ns;
    while (loop_step(m->board.loop))
        ;
}
static inline void dma(uint64_t src, uint64_t dst, uint64_t cnt, uint64_t cmd)
{
    wr(0x80, src, 8);
    wr(0x88, dst, 8);
    wr(0x90, cnt, 8);
    wr(0x98, cmd, 4);
}
/* MSI with that vector, or off. */
static inline void msi_on(unsigned vector)
{
    cf8_write(edu->devfn, edu->msi + PCI_MSI_ADDRESS, 0xfee00000, 4);
    cf8_write(edu->devfn, edu->msi + PCI_MSI_DATA, vector, 2);
    cf8_write(edu->devfn, edu->msi + PCI_MSI_CONTROL, vector ? PCI_MSI_ENABLE : 0, 2);
}

/* What fn puts on standard error. */
static inline char *said(void (*fn)(void))
{
    static char buf[8192];
    said_begin();
    fn();
    return said_end(buf, sizeof buf);
}

#endif
