// SPDX-License-Identifier: MIT
/* What devices discard and what drivers do wrong: see include/mem/watch.h. */
#include "mem/watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "kvm/host/log.h"

static unsigned list_length(const char *const *list)
{
    unsigned n = 0;
    while (list && list[n])
        n++;
    return n;
}

bool watch_counters(struct device *dev)
{
    unsigned drops = list_length(dev->class->drops), lints = list_length(dev->class->lints);
    dev->drops = calloc(drops + lints + 1, sizeof *dev->drops);
    dev->lints = dev->drops ? dev->drops + drops : NULL;
    return dev->drops != NULL;
}

void watch_free(struct device *dev)
{
    free(dev->drops);
}

void device_drop(struct device *dev, unsigned reason)
{
    assert(reason < list_length(dev->class->drops));
    if (dev->drops[reason]++ == 0)
        info("%s: drop: %s", dev->id, dev->class->drops[reason]);
}

void device_lint(struct device *dev, unsigned rule)
{
    assert(rule < list_length(dev->class->lints));
    dev->lints[rule]++;
}

static void counts(FILE *out, const char *what, const char *const *names, const uint64_t *n)
{
    for (unsigned i = 0; names && names[i]; i++)
        if (n[i])
            fprintf(out, "  %s: %s: %" PRIu64 "\n", what, names[i], n[i]);
}

void device_stats(struct device *dev, FILE *out)
{
    static const char *const faults[] = {[REG_FAULT_HOLE] = "no register there",
                                         [REG_FAULT_SIZE] = "a size that it does not take",
                                         [REG_FAULT_DIRECTION] = "read-only or write-only",
                                         [REG_FAULTS] = NULL};
    device_enter(dev);
    fprintf(out, "%s:\n", dev->id);
    counts(out, "register refused", faults, dev->refused);
    counts(out, "drop", dev->class->drops, dev->drops);
    counts(out, "misuse", dev->class->lints, dev->lints);
    if (dev->class->stats)
        dev->class->stats(dev, out);
    lock_drop(&dev->lock);
}
