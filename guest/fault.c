// SPDX-License-Identifier: MIT
/* Faults at work: see include/guest/fault.h. A watcher for each device that has some; it is asked before things happen, counts,
 * and answers what is to become of them. */
#include "guest/fault_priv.h"

#include "kvm/host/log.h"
#include "mem/access.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct patient {            /* a device with faults */
    struct watcher watcher; /* first */
    struct faults *all;
    struct device *dev;
    struct pci_device *pci;
    bool gone;     /* pulled out */
    bool spurious; /* the line is up for nothing */
};

struct faults {
    struct fault_config config;
    size_t n, n_patients;
    struct fault *list;
    struct patient *patients;
};

/* --- what comes later: the loop */

static void late_dma(struct fault *f)
{
    struct space *bm = &f->pci->dma;
    struct device *watch = bm->watch;
    bm->watch = NULL; /* it was counted when it was made */
    bool ok = dma_write(bm, f->late_at, f->late, f->late_len);
    bm->watch = watch;
    free(f->late);
    f->late = NULL;
    watch_tell(f->dev, &(struct watch_event){.kind = WATCH_DMA,
                                             .write = true,
                                             .offset = f->late_at,
                                             .len = f->late_len,
                                             .text = ok ? NULL : "late, and refused by now"});
}

/* Pulled out meanwhile: then nothing comes of it any more. */
static bool is_gone(const struct fault *f)
{
    const struct faults *all = f->all;
    for (size_t i = 0; i < all->n_patients; i++)
        if (all->patients[i].dev == f->dev)
            return all->patients[i].gone;
    return false;
}

static void on_late(void *arg)
{
    struct fault *f = arg;
    if (f->event == FAULT_LINK) {
        f->all->config.link(f->all->config.ctx, f->dev->id, "up");
        return;
    }
    device_enter(f->dev);
    if (f->pending) {
        f->pending = false;
        if (is_gone(f))
            free(f->late), f->late = NULL;
        else if (f->event == FAULT_IRQ)
            pci_raise_anyway(f->pci, f->late_vec);
        else
            late_dma(f);
    }
    lock_drop(&f->dev->lock);
}

static void on_link(void *arg)
{
    struct fault *f = arg;
    const struct fault_config *c = &f->all->config;
    const char *error = c->link ? c->link(c->ctx, f->dev->id, "down") : "no such card";
    if (error)
        warn("fault: %s: %s", f->spec, error);
    else if (f->action == FAULT_CABLE)
        loop_timer_after(&f->timer, FAULT_FLAP);
}

/* --- what is counted: device's lock held */

/* Whether a read begins a row; a write ends it. What devices do by themselves does not: it has a time of its own. */
static bool new_row(struct fault *f, const struct watch_event *e)
{
    bool same = f->row == e->map && f->row_offset == e->offset;
    if (e->kind != WATCH_REG)
        return false;
    f->row = e->write ? NULL : e->map;
    f->row_offset = e->offset;
    return !e->write && !same;
}

static bool matches(struct fault *f, const struct watch_event *e)
{
    switch (f->event) {
    case FAULT_READ:
    case FAULT_WRITE:
        return e->kind == WATCH_REG && e->write == (f->event == FAULT_WRITE) &&
               (!f->has_arg || (e->map == f->map && e->offset >= f->first && e->offset <= f->last));
    case FAULT_LOOK:
        return new_row(f, e);
    case FAULT_BAR:
        return e->kind == WATCH_REG && fault_in_bar(f, e->map);
    case FAULT_LINK:
        return e->kind == WATCH_REG;
    case FAULT_DMA:
        return e->kind == WATCH_DMA && (!f->has_arg || e->write == f->write);
    case FAULT_IRQ:
        return e->kind == WATCH_IRQ && (!f->has_arg || e->index == f->vec);
    }
    return false;
}

static void read_ones(struct watch_event *e)
{
    if (!e->write)
        e->value = e->size >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * e->size) - 1;
}

static enum watch_verdict removed(struct watch_event *e)
{
    read_ones(e);
    return e->kind == WATCH_DMA ? WATCH_FAIL : WATCH_SKIP;
}

static bool sends_messages(const struct pci_device *pci)
{
    return (pci->msi && pci->config[pci->msi + PCI_MSI_CONTROL] & PCI_MSI_ENABLE) ||
           (pci->msix && pci_get16(pci->config + pci->msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE);
}

static void spurious(struct patient *p)
{
    p->spurious = !sends_messages(p->pci);
    pci_spurious(p->pci, true);
}

static enum watch_verdict delay(struct fault *f, const struct watch_event *e)
{
    if (f->event == FAULT_DMA) {
        f->late = e->data ? malloc(e->len) : NULL;
        if (!f->late)
            return WATCH_GO;
        memcpy(f->late, e->data, e->len);
        f->late_at = e->offset;
        f->late_len = e->len;
    }
    f->late_vec = e->index;
    f->pending = true;
    loop_timer_after(&f->timer, FAULT_LATE);
    return WATCH_SKIP;
}

static enum watch_verdict act(struct patient *p, struct fault *f, struct watch_event *e)
{
    if (f->count == f->k) {
        e->text = f->spec;
        info("fault: %s", f->spec);
    }
    switch (f->action) {
    case FAULT_DROP:
        if (f->event == FAULT_LINK)
            break;
        read_ones(e);
        return WATCH_SKIP;
    case FAULT_DOUBLE:
        return WATCH_TWICE;
    case FAULT_SPURIOUS:
        if (f->event == FAULT_IRQ && !sends_messages(p->pci))
            f->armed = true;
        else
            spurious(p);
        return WATCH_GO;
    case FAULT_ONES:
        if (!(f->event == FAULT_READ && f->has_arg)) {
            p->gone = true;
            pci_spurious(p->pci, false);
            pci_lower(p->pci);
        }
        return removed(e);
    case FAULT_FAIL:
        return WATCH_FAIL;
    case FAULT_DELAY:
        return delay(f, e);
    case FAULT_CABLE:
        break;
    case FAULT_COUNT: /* its turn never comes */
        return WATCH_GO;
    }
    loop_task_post(&f->task);
    return WATCH_GO;
}

/* Spurious interrupts that fit none of these: a message has gone, a line is down again after the next read. */
static enum watch_verdict on_before(struct watcher *w, struct device *dev, struct watch_event *e)
{
    struct patient *p = (struct patient *)w;
    enum watch_verdict verdict = WATCH_GO;
    if (p->gone)
        return removed(e);
    if (p->spurious && e->kind == WATCH_REG && !e->write) {
        p->spurious = false;
        pci_spurious(p->pci, false);
    }
    for (size_t i = 0; i < p->all->n; i++) {
        struct fault *f = &p->all->list[i];
        if (f->dev != dev || !matches(f, e))
            continue;
        f->count++;
        if (f->count == f->k || (f->count > f->k && f->action == FAULT_ONES)) {
            enum watch_verdict v = act(p, f, e);
            verdict = v == WATCH_GO ? verdict : v;
        }
    }
    return verdict;
}

static void on_event(struct watcher *w, struct device *dev, const struct watch_event *e)
{
    struct patient *p = (struct patient *)w;
    if (e->kind != WATCH_IRQ || e->value != WATCH_IRQ_DOWN || p->gone)
        return;
    for (size_t i = 0; i < p->all->n; i++) {
        struct fault *f = &p->all->list[i];
        if (f->dev != dev || f->event != FAULT_IRQ)
            continue;
        if (f->armed) {
            f->armed = false;
            spurious(p);
        }
        if (f->pending && !sends_messages(p->pci)) { /* the cause is gone: there is nothing left to be late */
            f->pending = false;
            loop_timer_cancel(&f->timer);
        }
    }
}

static const struct watcher_ops watcher_ops = {.event = on_event, .before = on_before};

/* --- set-up and end */

static struct patient *patient_of(struct faults *all, struct fault *f)
{
    for (size_t i = 0; i < all->n_patients; i++)
        if (all->patients[i].dev == f->dev)
            return &all->patients[i];
    struct patient *p = &all->patients[all->n_patients++];
    *p = (struct patient){.watcher = {&watcher_ops}, .all = all, .dev = f->dev, .pci = f->pci};
    return p;
}

struct faults *faults_new(const struct fault_config *c, char *err, size_t errlen)
{
    struct faults *all = calloc(1, sizeof *all);
    struct loop *loop = c->board->loop;
    const char *error = NULL;
    if (all) {
        all->config = *c;
        all->list = calloc(c->specs->n, sizeof *all->list);
        all->patients = calloc(c->specs->n, sizeof *all->patients);
    }
    if (!all || !all->list || !all->patients)
        error = "--fault: out of memory";
    for (size_t i = 0; !error && i < c->specs->n; i++) {
        struct fault *f = &all->list[all->n++];
        f->all = all;
        error = fault_parse(f, c->board, c->specs->v[i]);
        loop_timer_init(loop, &f->timer, on_late, f);
        loop_task_init(loop, &f->task, on_link, f);
    }
    for (size_t i = 0; !error && i < all->n; i++) {
        device_plain(all->list[i].dev); /* what goes past the registers is neither counted nor lost */
        if (!device_watch(all->list[i].dev, &patient_of(all, &all->list[i])->watcher, WATCH_ALL))
            error = "--fault: out of memory"; /* and what is watched by now keeps the rest */
    }
    if (!error)
        return all;
    snprintf(err, errlen, "%s", error);
    if (all && !all->n_patients)
        faults_free(all);
    return NULL;
}

void faults_counts(const struct faults *all, char *out, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < all->n; i++) {
        int n =
            snprintf(out + at, size - at, "fault=%s %" PRIu64 "\n", all->list[i].spec, all->list[i].count);
        if (n < 0 || (size_t)n >= size - at) {
            out[at] = 0;
            return;
        }
        at += (size_t)n;
    }
}

void faults_end(struct faults *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->list[i].action == FAULT_COUNT)
            warn("fault: %s: %" PRIu64 " such events", all->list[i].spec, all->list[i].count);
        else if (all->list[i].count < all->list[i].k)
            warn("fault: %s: it did not come to that (%" PRIu64 " such events)", all->list[i].spec,
                 all->list[i].count);
}

void faults_free(struct faults *all)
{
    for (size_t i = 0; all && i < all->n; i++) {
        if (all->list[i].all) {
            loop_timer_cancel(&all->list[i].timer);
            loop_task_cancel(&all->list[i].task);
        }
        free(all->list[i].late);
    }
    if (all) {
        free(all->list);
        free(all->patients);
    }
    free(all);
}
