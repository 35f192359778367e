// SPDX-License-Identifier: MIT
/* Misuse by drivers: see include/guest/lint.h. A watcher for each device keeps what the rules need to remember. */
#include "guest/lint.h"

#include "guest/gate.h"
#include "guest/trace_line.h"
#include "kvm/host/log.h"
#include "mem/watch.h"
#include "pci/device.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum rule {
    RULE_HOLE,
    RULE_SIZE,
    RULE_READ_ONLY,
    RULE_WRITE_ONLY,
    RULE_LOCKED,
    RULE_DMA_RAM,
    RULE_DMA_MASTER,
    RULE_START_MASTER,
    RULE_START_RESET,
    RULE_IRQ_MASTER,
    RULE_IRQ_ACK,
    RULES,
};
static const char *const rules[RULES + 1] = {
    [RULE_HOLE] = "an access to no register",
    [RULE_SIZE] = "a register access of a size that it does not take",
    [RULE_READ_ONLY] = "a write to a read-only register",
    [RULE_WRITE_ONLY] = "a read of a write-only register",
    [RULE_LOCKED] = "a write to a register while the device is busy",
    [RULE_DMA_RAM] = "DMA outside RAM",
    [RULE_DMA_MASTER] = "DMA with bus mastering off",
    [RULE_START_MASTER] = "DMA is started with bus mastering off",
    [RULE_START_RESET] = "DMA is started after a reset, before anything was set up",
    [RULE_IRQ_MASTER] = "an interrupt message with bus mastering off",
    [RULE_IRQ_ACK] = "an interrupt that nobody acknowledges",
};

struct lint_device {
    struct watcher watcher; /* first */
    struct lint *lint;
    struct device *dev;
    uint64_t counts[RULES];
    uint64_t told_lints; /* of the class's rules, the first 64 */
    bool fresh;          /* reset, and no register written since but such that start DMA */
    bool waiting;        /* for an acknowledgement */
    uint64_t raised_at;
    struct loop_timer ack;
};

struct lint {
    struct lint_config config;
    unsigned n;
    struct lint_device devices[];
};

static struct lint *the_lint; /* for lint_stats() */

/* --- reports */

static void report(struct lint_device *l, const char *sentence, const char *detail)
{
    const struct lint_config *c = &l->lint->config;
    char text[384], at[192] = "", name[96] = "";
    unsigned cpu;
    uint64_t pc;
    if (c->where && c->where(c->ctx, &cpu, &pc)) {
        if (c->name)
            (void)c->name(c->ctx, pc, name, sizeof name);
        snprintf(at, sizeof at, ", at 0x%" PRIx64 "%s%s%s on cpu%u", pc, *name ? " (" : "", name,
                 *name ? ")" : "", cpu);
    }
    snprintf(text, sizeof text, "lint: %s: %s%s%s%s", l->dev->id, sentence, *detail ? ": " : "", detail, at);
    warn("%s", text);
    gate_catch(c->gate, GATE_LINT, text);
}

/* The words of the trace about it, without its head. */
static const char *words(const struct lint_device *l, const struct watch_event *e, char *buf, size_t size)
{
    char line[TRACE_TEXT];
    size_t n = trace_text(&(struct trace_line){.dev = l->dev, .e = e}, line, sizeof line);
    const char *from = strstr(line, l->dev->id);
    if (n)
        line[n - 1] = 0;
    snprintf(buf, size, "%s", from ? from + strlen(l->dev->id) + 1 : "");
    char *refused = strstr(buf, " refused: "); /* the rule says that */
    if (refused)
        *refused = 0;
    return buf;
}

static void broken(struct lint_device *l, enum rule rule, const struct watch_event *e)
{
    char detail[160] = "";
    if (l->counts[rule]++ == 0)
        report(l, rules[rule], e ? words(l, e, detail, sizeof detail) : detail);
}

/* --- rules */

static void check_register(struct lint_device *l, const struct watch_event *e)
{
    struct pci_device *pci = pci_device_of(l->dev);
    if (!e->write || !e->reg)
        return;
    if (e->reg->flags & REG_DMA) {
        if (pci && !pci_is_master(pci))
            broken(l, RULE_START_MASTER, e);
        if (l->fresh)
            broken(l, RULE_START_RESET, e);
    }
    l->fresh = false;
}

static void check_refused(struct lint_device *l, const struct watch_event *e)
{
    static const enum rule by_fault[REG_FAULTS] = {
        [REG_FAULT_HOLE] = RULE_HOLE,
        [REG_FAULT_SIZE] = RULE_SIZE,
        [REG_FAULT_DIRECTION] = RULE_WRITE_ONLY,
        [REG_FAULT_LOCKED] = RULE_LOCKED,
    };
    bool read_only = e->refused == REG_FAULT_DIRECTION && e->write;
    broken(l, read_only ? RULE_READ_ONLY : by_fault[e->refused], e);
}

static void check_dma(struct lint_device *l, const struct watch_event *e)
{
    const struct pci_device *pci = pci_device_of(l->dev);
    if (e->text)
        broken(l, pci && !pci_is_master(pci) ? RULE_DMA_MASTER : RULE_DMA_RAM, e);
}

static uint64_t guest_now(const struct lint_device *l)
{
    const struct board *board = l->lint->config.board;
    return board->guest.now ? board_guest_time(board) : loop_now(board->loop);
}

static void check_irq(struct lint_device *l, const struct watch_event *e)
{
    const struct pci_device *pci = pci_device_of(l->dev);
    if (e->value == WATCH_IRQ_LOST && pci && !pci_is_master(pci))
        broken(l, RULE_IRQ_MASTER, e);
    if (e->value == WATCH_IRQ_DOWN && l->waiting) {
        l->waiting = false;
        loop_timer_cancel(&l->ack);
    }
    bool by_table =
        pci && pci->msix && pci_get16(pci->config + pci->msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE;
    if (e->value == WATCH_IRQ_UP && !l->waiting && !by_table && !l->counts[RULE_IRQ_ACK]) {
        l->waiting = true;
        l->raised_at = guest_now(l);
        loop_timer_after(&l->ack, LINT_ACK);
    }
}

/* Device's lock held. */
static bool is_late(struct lint_device *l)
{
    bool late = l->waiting && guest_now(l) - l->raised_at >= LINT_ACK;
    if (late) {
        l->waiting = false;
        broken(l, RULE_IRQ_ACK, NULL);
    }
    return late;
}

static void on_ack_time(void *arg)
{
    struct lint_device *l = arg;
    device_enter(l->dev);
    if (!is_late(l) && l->waiting) /* the guest was paused meanwhile, or it is another one */
        loop_timer_after(&l->ack, LINT_ACK);
    lock_drop(&l->dev->lock);
}

static void on_event(struct watcher *w, struct device *dev, const struct watch_event *e)
{
    struct lint_device *l = (struct lint_device *)w;
    (void)dev;
    switch (e->kind) {
    case WATCH_REG:
        check_register(l, e);
        break;
    case WATCH_REFUSED:
        check_refused(l, e);
        break;
    case WATCH_DMA:
        check_dma(l, e);
        break;
    case WATCH_IRQ:
        check_irq(l, e);
        break;
    case WATCH_RESET:
        l->fresh = true;
        break;
    case WATCH_LINT:
        if (e->index < 64 && !(l->told_lints >> e->index & 1)) {
            l->told_lints |= UINT64_C(1) << e->index;
            report(l, e->text, "");
        }
        break;
    default:
        break;
    }
}

static const struct watcher_ops watcher_ops = {.event = on_event};

/* --- set-up and end */

/* The platform's own devices are probed by every kernel in ways that no rule here would let pass. */
static bool is_linted(struct device *dev)
{
    return pci_device_of(dev) != NULL;
}

struct lint *lint_new(const struct lint_config *c, char *err, size_t errlen)
{
    unsigned n = 0;
    for (struct device *d = c->board->devices; d; d = d->next)
        n += is_linted(d);
    struct lint *lint = calloc(1, sizeof *lint + n * sizeof lint->devices[0]);
    if (!lint) {
        snprintf(err, errlen, "--lint: out of memory");
        return NULL;
    }
    lint->config = *c;
    the_lint = lint;
    for (struct device *d = c->board->devices; d; d = d->next) {
        if (!is_linted(d))
            continue;
        struct lint_device *l = &lint->devices[lint->n++];
        *l = (struct lint_device){.watcher = {&watcher_ops}, .lint = lint, .dev = d};
        loop_timer_init(c->board->loop, &l->ack, on_ack_time, l);
        if (!device_watch(d, &l->watcher, WATCH_ALL & ~(1u << WATCH_CONFIG))) {
            snprintf(err, errlen, "--lint: out of memory");
            return NULL;
        }
    }
    return lint;
}

void lint_end(struct lint *lint)
{
    for (unsigned i = 0; i < lint->n; i++) {
        struct lint_device *l = &lint->devices[i];
        lock_take(&l->dev->lock);
        is_late(l);
        lock_drop(&l->dev->lock);
    }
}

void lint_free(struct lint *lint)
{
    for (unsigned i = 0; lint && i < lint->n; i++)
        loop_timer_cancel(&lint->devices[i].ack);
    if (the_lint == lint)
        the_lint = NULL;
    free(lint);
}

void lint_stats(const struct device *dev, FILE *out)
{
    for (unsigned i = 0; the_lint && i < the_lint->n; i++) {
        const struct lint_device *l = &the_lint->devices[i];
        for (unsigned r = 0; l->dev == dev && r < RULES; r++)
            if (l->counts[r])
                fprintf(out, "  misuse: %s: %" PRIu64 "\n", rules[r], l->counts[r]);
    }
}
