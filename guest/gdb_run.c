// SPDX-License-Identifier: MIT
/* Stopping and going on. From running to stopped lead Ctrl-C, an event of a vCPU that is gdb's business, and the
 * machine's end.
 *
 * Events come from vCPUs' threads: each vCPU has room for one, because it stands still after it. The loop stops the
 * others, and then looks at what there is. An int3 that is none of ours goes back to the guest. Of several real events
 * one is told; a breakpoint that was not told will be met again, since its instruction has not run yet; a data
 * watchpoint will not, and is kept until the next resume. */
#include "gdb_priv.h"
#include "kvm/vm.h"

#include <string.h>

enum {
    SIGNAL_INT = 2,
    SIGNAL_TRAP = 5,
};

static void stopped(struct gdb *gdb, unsigned cpu, unsigned signal, const char *why)
{
    gdb->running = false;
    gdb->cpu = cpu;
    snprintf(gdb->last_stop, sizeof gdb->last_stop, "T%02xthread:%x;%s", signal, cpu + 1, why);
    gdb_reply(gdb, gdb->last_stop);
}

/* --- events */

static bool is_watchpoint(const struct gdb *gdb, const struct gdb_cpu *c)
{
    return c->event.what == VCPU_DEBUG_HARD && gdb->breaks.hard[c->event.slot].z > '1';
}

/* Tells gdb of the vCPU's event. */
static void report(struct gdb *gdb, unsigned cpu)
{
    static const char *const words[] = {"watch:", "rwatch:", "awatch:"};
    struct gdb_cpu *c = &gdb->cpus[cpu];
    const struct gdb_hard *h = &gdb->breaks.hard[c->event.slot];
    char why[64] = "";
    c->kept = false;
    if (is_watchpoint(gdb, c))
        snprintf(why, sizeof why, "%s%llx;", words[h->z - '2'], (unsigned long long)h->addr);
    else if (c->event.what == VCPU_DEBUG_SOFT && gdb->says_soft)
        snprintf(why, sizeof why, "swbreak:;");
    else if (c->event.what == VCPU_DEBUG_HARD && gdb->says_hard)
        snprintf(why, sizeof why, "hwbreak:;");
    stopped(gdb, cpu, SIGNAL_TRAP, why);
}

/* Whether gdb wants to know of it. The guest's own int3 is given back to it. */
static bool is_ours(struct gdb *gdb, unsigned cpu)
{
    const struct gdb_cpu *c = &gdb->cpus[cpu];
    switch (c->event.what) {
    case VCPU_DEBUG_STEP:
        return c->plan == GDB_STEP;
    case VCPU_DEBUG_HARD:
        return gdb->breaks.hard[c->event.slot].z != 0;
    case VCPU_DEBUG_SOFT:
        break;
    }
    if (gdb_break_at(gdb, cpu, c->event.pc))
        return true;
    (void)!gdb->target->inject(gdb->ctx, cpu);
    return false;
}

/* All vCPUs stand, so no event is on its way: takes those that there are. Returns the vCPU whose event is to be told, or
 * n_cpus. */
static unsigned collect(struct gdb *gdb)
{
    unsigned told = gdb->n_cpus;
    for (unsigned n = 0; n < gdb->n_cpus; n++) {
        unsigned i = (gdb->cpu + n) % gdb->n_cpus; /* who was told of last is looked at first */
        struct gdb_cpu *c = &gdb->cpus[i];
        if (!atomic_exchange(&c->happened, false) || !is_ours(gdb, i))
            continue;
        if (told == gdb->n_cpus)
            told = i;
        else
            c->kept = is_watchpoint(gdb, c);
    }
    return told;
}

void gdb_event(struct gdb *gdb, unsigned cpu, const struct vcpu_debug_event *event)
{
    gdb->cpus[cpu].event = *event;
    atomic_store(&gdb->cpus[cpu].happened, true);
}

/* --- going on */

static bool arm(struct gdb *gdb, unsigned cpu, const struct vcpu_debug *want)
{
    struct gdb_cpu *c = &gdb->cpus[cpu];
    if (!memcmp(&c->armed, want, sizeof *want))
        return true;
    if (!gdb->target->arm(gdb->ctx, cpu, want))
        return false;
    c->armed = *want;
    return true;
}

/* Runs the vCPUs as their plans say. */
static void go(struct gdb *gdb)
{
    struct vcpu_debug debug;
    memset(&debug, 0, sizeof debug); /* compared as bytes */
    debug.soft = gdb->breaks.n_soft > 0;
    for (unsigned i = 0; i < VCPU_HARD; i++) {
        const struct gdb_hard *h = &gdb->breaks.hard[i];
        if (h->z) {
            debug.hard[i].kind = h->kind;
            debug.hard[i].size = h->size;
            debug.hard[i].addr = h->addr;
        }
    }
    for (unsigned i = 0; i < gdb->n_cpus; i++) {
        debug.step = gdb->cpus[i].plan == GDB_STEP;
        if (!arm(gdb, i, &debug)) {
            gdb->running = false;
            gdb_reply(gdb, "E16");
            return;
        }
    }
    for (unsigned i = 0; i < gdb->n_cpus; i++)
        gdb->target->hold(gdb->ctx, i, gdb->cpus[i].plan == GDB_HOLD);
    gdb->running = true;
    gdb->target->resume(gdb->ctx);
}

void gdb_resume(struct gdb *gdb)
{
    for (unsigned i = 0; i < gdb->n_cpus; i++) {
        struct gdb_cpu *c = &gdb->cpus[i];
        if (c->plan == GDB_HOLD || !c->kept)
            continue;
        if (is_watchpoint(gdb, c)) {
            report(gdb, i);
            return;
        }
        c->kept = false; /* it was taken away since */
    }
    go(gdb);
}

/* A plan for each vCPU: the first action that names it; who is not named is held. */
bool gdb_plans(struct gdb *gdb, const char *text)
{
    bool planned[VM_MAX_VCPUS] = {false};
    for (unsigned i = 0; i < gdb->n_cpus; i++)
        gdb->cpus[i].plan = GDB_HOLD;
    while (*text == ';') {
        char action = text[1];
        uint64_t id = GDB_ALL, ignored;
        if (!action || !strchr("cCsS", action))
            return false;
        text += 2;
        if ((action == 'C' || action == 'S') && !gdb_number(&text, &ignored))
            return false; /* a signal is nothing that could be delivered to a machine */
        if (*text == ':' && (text++, !gdb_thread_id(&text, &id)))
            return false;
        if (id != GDB_ALL && id - 1 >= gdb->n_cpus)
            return false;
        for (unsigned i = 0; i < gdb->n_cpus; i++) {
            if (planned[i] || (id != GDB_ALL && id - 1 != i))
                continue;
            planned[i] = true;
            gdb->cpus[i].plan = action == 's' || action == 'S' ? GDB_STEP : GDB_RUN;
        }
    }
    return !*text;
}

/* --- what ends the running */

void gdb_events(struct gdb *gdb)
{
    /* Whoever stands has been looked at: by gdb_leave(), or when all were stopped. */
    if (!gdb->open || !gdb->running)
        return;
    gdb->target->stop(gdb->ctx);
    unsigned told = collect(gdb);
    if (told < gdb->n_cpus)
        report(gdb, told);
    else
        go(gdb);
}

void gdb_interrupt(struct gdb *gdb)
{
    if (!gdb->running)
        return;
    gdb->target->stop(gdb->ctx);
    unsigned told = collect(gdb);
    if (told < gdb->n_cpus)
        report(gdb, told);
    else
        stopped(gdb, gdb->cpu, SIGNAL_INT, "");
}

void gdb_leave(struct gdb *gdb)
{
    static const struct vcpu_debug none;
    if (!gdb->open)
        return;
    if (gdb->running)
        gdb->target->stop(gdb->ctx);
    (void)collect(gdb); /* while we still know which int3 is ours */
    gdb->open = gdb->running = false;
    gdb_break_clear(gdb);
    for (unsigned i = 0; i < gdb->n_cpus; i++) {
        (void)!arm(gdb, i, &none);
        gdb->cpus[i].kept = false;
        gdb->target->hold(gdb->ctx, i, false);
    }
    gdb->target->resume(gdb->ctx);
}

void gdb_exited(struct gdb *gdb, int status)
{
    char text[8];
    snprintf(text, sizeof text, "W%02x", (unsigned)status & 0xff);
    if (gdb->open && gdb->running) /* else gdb expects no word now */
        gdb_reply(gdb, text);
}
