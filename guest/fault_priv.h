/* SPDX-License-Identifier: MIT
 *
 * What guest/fault.c (faults at work) and guest/fault_spec.c (what they are) share.
 */
#ifndef GUEST_FAULT_PRIV_H
#define GUEST_FAULT_PRIV_H

#include "guest/fault.h"
#include "mem/watch.h"
#include "pci/device.h"

enum fault_event {
    FAULT_READ,
    FAULT_WRITE,
    FAULT_LOOK,
    FAULT_BAR,
    FAULT_DMA,
    FAULT_IRQ,
    FAULT_LINK,
};
enum fault_action {
    FAULT_DROP,
    FAULT_DOUBLE,
    FAULT_SPURIOUS,
    FAULT_ONES,
    FAULT_FAIL,
    FAULT_DELAY,
    FAULT_CABLE, /* flap */
    FAULT_COUNT, /* k is 0: it never comes */
};

struct fault {
    const char *spec;
    struct faults *all;
    struct device *dev;
    struct pci_device *pci; /* NULL: it is none */
    enum fault_event event;
    enum fault_action action;
    bool has_arg;
    uint64_t k, count;
    const struct reg_map *row; /* look: the last access was a read there */
    uint64_t row_offset;
    /* the argument */
    struct reg_map *map; /* of the register or BAR */
    uint64_t first, last;
    const struct region *region;
    bool write;
    unsigned vec;
    /* at work */
    bool armed;   /* spurious, with irq: at the next lower */
    bool pending; /* delay: something comes later */
    unsigned late_vec;
    void *late; /* bytes */
    uint64_t late_at, late_len;
    struct loop_timer timer;
    struct loop_task task;
};

/* The bank is the BAR that the fault is about, or stands in it beside others. */
bool fault_in_bar(const struct fault *f, const struct reg_map *map);

/* Fills in what the text says. NULL, or a sentence (which lives as long as the process). */
const char *fault_parse(struct fault *f, struct board *board, const char *spec);

#endif
