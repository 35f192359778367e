/* SPDX-License-Identifier: MIT
 *
 * Seeing a device: what it discards, and what its drivers do wrong, by name.
 *
 * Drops. Whatever a device discards (a packet, an interrupt, a transfer) has a reason with a name and a counter. The class
 * lists the names, an enum beside them numbers them:
 *
 *     enum { E1000_DROP_RX_OFF, E1000_DROP_IRQ_HELD, … };
 *     static const char *const e1000_drops[] = {"rx drop: RCTL.EN=0", "irq held: IMS=0", …, NULL};
 *     … .drops = e1000_drops …
 *     device_drop(dev, E1000_DROP_RX_OFF);
 *
 * The first of each is said once (at --loglevel info), each is in the trace, all are counted in `vmlet info NAME stats`. The
 * layers below count for themselves what they refuse: accesses in device->refused, interrupts in struct pci_device, DMA in
 * struct space.
 *
 * Misuse. Rules about drivers stand beside the device in the same way: .lints is a list of sentences, and the device's code
 * calls device_lint(dev, RULE) where it sees that a driver breaks one. It costs a call and a count; reported only with
 * --lint, once for each rule and device. Rules that hold for every device are in guest/lint.c.
 *
 * What an access leads to. .explain puts a few words behind a line of the trace, "TDH=2: 3 descriptors". It is called after
 * a read and before a write takes effect, so it sees the state that decides; with reg NULL for an interrupt: its cause,
 * "0x100" (unless the class names the field of its causes, pci/device.h: then the trace reads that). It writes to buf, which is
 * empty: what stays so is nothing to say. It must change nothing.
 *
 * Watchers. Traces, lint and fault injection see everything through one mechanism: a watcher is told of the events of the
 * devices that it was put on (device_watch()), of the kinds that it asked for. Where nobody watches, device->watch, ->hooks and
 * space->watch are NULL, and each hook point costs one predictable branch. The hook points:
 *
 *   registers       mem/regs.c, through device->hooks: accesses that took place, and those that were refused
 *   DMA             mem/access.c, through the device's bus-master space
 *   interrupts      pci/msi.c: raised, and what became of it; lowered
 *   configuration   pci/config.c
 *   MSI-X table     pci/msi.c, as registers
 *   drops, misuse, resets   here and mem/device.c
 *
 * A watcher may have a say before things happen (`before`): the event is skipped, done twice, or fails. Who acted so says so in
 * event->text, and all watchers are told in its place of a WATCH_FAULT.
 *
 * Locks. All of it runs with the device's lock held, on any thread. Watchers must not touch the device, nor block; they may
 * take LOCK_TRACE and what comes after it. They are put on at set-up.
 */
#ifndef MEM_WATCH_H
#define MEM_WATCH_H

#include "mem/device.h"

void device_drop(struct device *dev, unsigned reason);
void device_lint(struct device *dev, unsigned rule);
/* Called by device_reset(); by the device's code where its guest resets it in another way (CTRL.RST). */
void device_was_reset(struct device *dev);

/* `vmlet info NAME stats`, the device's part: counts that are not 0. Takes the lock. */
void device_stats(struct device *dev, FILE *out);

/* --- watchers */

enum watch_kind {
    WATCH_REG,     /* a register access: after a read, before a write takes effect */
    WATCH_REFUSED, /* one that did nothing: text is why */
    WATCH_DMA,     /* a transfer; text: why it was refused */
    WATCH_IRQ, /* vector `index`: raised (write), with what became of it in text, or lowered (text NULL: it was low) */
    WATCH_CONFIG, /* configuration space */
    WATCH_DROP,   /* device_drop() number `index`: text */
    WATCH_LINT,   /* device_lint() number `index`: text */
    WATCH_RESET,
    WATCH_FAULT, /* a watcher took something out of nature's hands: text; size 0: no access was it */
    WATCH_KINDS
};
#define WATCH_ALL ((1u << WATCH_KINDS) - 1)

enum watch_irq { /* the value of a WATCH_IRQ */
    WATCH_IRQ_DOWN,
    WATCH_IRQ_UP,
    WATCH_IRQ_HELD, /* masked: it may come later */
    WATCH_IRQ_LOST,
};

struct watch_event {
    enum watch_kind kind;
    bool write;    /* by the guest; DMA: to RAM */
    unsigned size; /* bytes, of registers and configuration */
    unsigned index;
    uint64_t offset; /* in the bank, or configuration space; DMA: guest address */
    uint64_t value;
    uint64_t len;           /* DMA: bytes */
    void *data;             /* DMA: to or from; NULL where pieces of RAM were handed out (dma_iov) */
    const struct reg *reg;  /* REG; CONFIG and REFUSED: or NULL */
    enum reg_fault refused; /* REFUSED */
    /* before() of REG: the bank. It is asked by offset, before the register is looked up */
    struct reg_map *map;
    const char *text;
};

enum watch_verdict {
    WATCH_GO,
    WATCH_SKIP, /* it does not take place, but looks as if: reads give event->value, DMA and interrupts get lost */
    WATCH_TWICE, /* REG, IRQ, DMA */
    WATCH_FAIL,  /* DMA: refused */
};

struct watcher;
struct watcher_ops {
    void (*event)(struct watcher *w, struct device *dev, const struct watch_event *e);
    enum watch_verdict (*before)(struct watcher *w, struct device *dev,
                                 struct watch_event *e); /* may be NULL */
};
struct watcher { /* embedded in its owner */
    const struct watcher_ops *ops;
};

enum {
    WATCHERS_MAX = 4, /* of one device */
};
struct watch { /* of one device */
    struct reg_hooks hooks;
    unsigned n;
    bool asks; /* somebody has a before() */
    struct {
        struct watcher *watcher;
        uint32_t kinds;
    } list[WATCHERS_MAX];
};

/* Puts the watcher on the device for these kinds (1 << enum watch_kind); again: for these as well. Set-up, no lock held.
 * The first one to come is the first to be told. false: no memory, or too many. */
bool device_watch(struct device *dev, struct watcher *w, uint32_t kinds) __attribute__((warn_unused_result));

/* No way past its registers any more: its ioeventfds and coalescing are taken away, for good. For watchers that must not miss an
 * access. Set-up, no lock held. */
void device_plain(struct device *dev);

/* --- for hook points: only where dev->watch is not NULL, with the lock held */
void watch_tell(struct device *dev, const struct watch_event *e);
enum watch_verdict watch_ask(struct device *dev, struct watch_event *e);

/* --- inside mem/ */
bool watch_counters(struct device *dev) __attribute__((warn_unused_result));
void watch_free(struct device *dev);

#endif
