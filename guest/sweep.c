// SPDX-License-Identifier: MIT
/* Faults everywhere: see include/guest/sweep.h. */
#include "guest/sweep.h"

#include "guest/machine.h"
#include "guest/many.h"
#include "guest/repeat.h"
#include "guest/runs_view.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *event, *action, *what;
} kinds[] = {
    {"read", "drop", "register reads"                                       },
    {"look", "drop", "register reads, those of one register in a row as one"},
    {"dma",  "fail", "DMA transfers"                                        },
    {"irq",  "drop", "interrupts"                                           },
};
enum {
    READS = 0,
    LOOKS = 1, /* instead of reads, when these are too many */
    KINDS = sizeof kinds / sizeof *kinds,
    BEFORE = 16, /* words */
};

struct boot {
    struct run run; /* first */
    uint64_t k;     /* 0: the first boot */
    const char *before[BEFORE];
    char spec[KINDS][128];
};

struct sweep {
    const struct machine_options *o;
    char **words;
    int n_words;
    struct many many;
    bool begun, counted; /* the first boot */
    bool bad;            /* it failed */
    const char *timeout; /* of the others; NULL: the options' own */
    uint64_t count[KINDS];
    unsigned kind, number; /* what comes next: */
    uint64_t i;
    unsigned missed; /* not reached */
    char *first;     /* its report */
};

uint64_t sweep_pick(uint64_t count, uint32_t max, uint64_t i, uint64_t *n)
{
    *n = count < max ? count : max;
    if (*n < 2 || *n == count)
        return i + 1;
    /* (*n - 1) * (count - 1) may not fit: count is a guest's */
    return 1 + (uint64_t)((unsigned __int128)i * (count - 1) / (*n - 1));
}

static const char *in_seconds(uint64_t ns)
{
    return opts_time_text((ns + SECOND - 1) / SECOND * SECOND);
}

/* A boot with what the options leave open. */
static struct boot *boot_new(struct sweep *s, const char *timeout, size_t *n)
{
    struct boot *b = calloc(1, sizeof *b);
    if (!b)
        die("--probe-sweep: out of memory");
    *n = 0;
    if (!s->o->cpus) {
        b->before[(*n)++] = "-c";
        b->before[(*n)++] = "1";
    }
    if (!s->o->fail_on) {
        b->before[(*n)++] = "--fail-on";
        b->before[(*n)++] = SWEEP_GATE;
    }
    if (timeout) {
        b->before[(*n)++] = "--timeout";
        b->before[(*n)++] = timeout;
    }
    b->run = (struct run){.number = s->number++,
                          .where = b->spec[0],
                          .words = s->words,
                          .n_words = s->n_words,
                          .before = (char *const *)b->before};
    return b;
}

static struct run *first_boot(struct sweep *s)
{
    size_t n;
    struct boot *b = boot_new(s, s->o->timeout ? NULL : in_seconds(SWEEP_FIRST), &n);
    for (unsigned i = 0; i < KINDS; i++) {
        snprintf(b->spec[i], sizeof b->spec[i], "%s:%s:count", s->o->probe_sweep, kinds[i].event);
        b->before[n++] = "--fault";
        b->before[n++] = b->spec[i];
    }
    b->run.where = "no fault";
    return &b->run;
}

static uint32_t most(const struct sweep *s)
{
    return s->o->sweep_max ? s->o->sweep_max : SWEEP_MAX;
}

static struct run *next(void *ctx)
{
    struct sweep *s = ctx;
    uint64_t n = 0;
    if (!s->begun) {
        s->begun = true;
        return first_boot(s);
    }
    if (!s->counted || s->bad)
        return NULL;
    for (; s->kind < KINDS; s->kind++, s->i = 0) {
        uint64_t k = sweep_pick(s->count[s->kind], most(s), s->i, &n);
        if (s->i >= n)
            continue;
        size_t at;
        struct boot *b = boot_new(s, s->timeout, &at);
        b->k = k;
        snprintf(b->spec[0], sizeof b->spec[0], "%s:%s:%s@%" PRIu64, s->o->probe_sweep, kinds[s->kind].event,
                 kinds[s->kind].action, b->k);
        b->before[at++] = "--fault";
        b->before[at++] = b->spec[0];
        s->i++;
        return &b->run;
    }
    return NULL;
}

/* How often the event of that spec came, as the boot reported it; false: it did not report. */
static bool events(const struct run *run, const char *spec, uint64_t *n)
{
    char line[160];
    size_t len = (size_t)snprintf(line, sizeof line, "fault=%s ", spec);
    const char *at = run->report ? strstr(run->report, line) : NULL;
    if (!at || len >= sizeof line)
        return false;
    *n = strtoull(at + len, NULL, 10);
    return true;
}

/* The first boot has to do well; then it is known what there is to do. */
static bool first_ended(struct sweep *s, const struct run *run)
{
    const struct boot *b = (const struct boot *)run;
    uint64_t boots = 1, n;
    s->counted = true;
    s->first = run->report ? strdup(run->report) : NULL;
    s->bad = run->status != 0;
    for (unsigned i = 0; i < KINDS; i++)
        s->bad |= !events(run, b->spec[i], &s->count[i]);
    if (s->bad)
        return true;
    s->count[s->count[READS] > most(s) ? READS : LOOKS] = 0;
    uint64_t patience = run->ns > UINT64_MAX / SWEEP_SLOWER ? run->ns : run->ns * SWEEP_SLOWER;
    if (!s->o->timeout)
        s->timeout = in_seconds(patience > SWEEP_LEAST ? patience : SWEEP_LEAST);
    for (unsigned i = 0; i < KINDS; i++) {
        sweep_pick(s->count[i], most(s), 0, &n);
        boots += n;
        if (!s->count[i] && i <= LOOKS)
            continue;
        runs_view_say(s->many.view, "%s: %" PRIu64 " %s%s\n", s->o->probe_sweep, s->count[i], kinds[i].what,
                      n < s->count[i] ? opts_say(", of which %" PRIu64 " are tried (--sweep-max)", n) : "");
    }
    runs_view_total(s->many.view, (unsigned)boots);
    return false;
}

static bool failed(void *ctx, struct run *run)
{
    static const char *const fine[] = {"exited", "signaled", "poweroff", "reboot"};
    struct sweep *s = ctx;
    const struct boot *b = (const struct boot *)run;
    uint64_t n;
    if (!b->k)
        return first_ended(s, run);
    if (events(run, b->spec[0], &n) && n < b->k)
        s->missed++;
    /* Without a command its status is 0; with one, a machine that goes off has left it without the status that it owed. */
    for (unsigned i = 0; i < (s->o->command ? 2 : 4); i++)
        if (!strcmp(run->reason, fine[i]))
            return false;
    return true;
}

int sweep_run(const struct machine_options *o, int argc, char **argv)
{
    struct sweep s = {.o = o};
    if (!*o->probe_sweep || strpbrk(o->probe_sweep, ":\n") || strlen(o->probe_sweep) > 64)
        die("--probe-sweep %.64s: not a device's class or id", o->probe_sweep);
    s.words = opts_inner(machine_option_table, argc, argv, &s.n_words);
    if (!s.words)
        die("--probe-sweep: out of memory");
    many_run(&s.many, &(struct many_config){.title = opts_say("probe-sweep %s", o->probe_sweep),
                                            .jobs = o->jobs ? o->jobs : 1,
                                            .logs = o->logs,
                                            .junit = o->junit,
                                            .next = next,
                                            .failed = failed,
                                            .free_runs = true,
                                            .ctx = &s});
    if (s.missed)
        warn("--probe-sweep: %u faults were not reached (the boot is not the same each time)", s.missed);
    if (s.bad)
        warn("--probe-sweep: the boot without a fault did not end with 0: nothing can be told from the "
             "others");
    repeat_result(&s.many, o, s.many.first ? s.many.first->report : s.first);
    free(s.first);
    return many_status(&s.many, s.bad ? STATUS_SETUP : MANY_FAILED);
}
