// SPDX-License-Identifier: MIT
/* The same boot again: see include/guest/repeat.h. */
#include "guest/repeat.h"

#include "guest/machine.h"
#include "guest/many.h"
#include "guest/report_file.h"
#include "guest/result.h"
#include "kvm/host/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE UINT64_C(5000000000) /* ns, for who is to read a FIFO */

struct boot {
    struct run run; /* first */
    char where[24];
};

struct repeat {
    const struct machine_options *o;
    char **words;
    int n_words;
    unsigned at;
    char *last; /* report of the last one that ended */
};

const char *repeat_check(const struct machine_options *o)
{
    bool many = o->repeat || o->until_fail || o->probe_sweep;
    if (o->probe_sweep && (o->repeat || o->until_fail))
        return "--probe-sweep goes without --repeat and --until-fail";
    if (o->sweep_max && !o->probe_sweep)
        return "--sweep-max: of what? (give --probe-sweep CLASS too)";
    if ((o->jobs || o->logs) && !many)
        return "--jobs and --logs are for many boots (--repeat N, --until-fail, --probe-sweep CLASS)";
    if (o->jobs > 1 && o->name)
        return "--jobs: several at a time cannot have one --name";
    return many && o->logs ? many_check(o->logs, NULL) : NULL;
}

void repeat_result(struct many *m, const struct machine_options *o, const char *text)
{
    const char *const files[] = {o->report, o->result};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!files[i])
            continue;
        struct result ended = {.reason = END_SIGNAL, .status = m->signal};
        if (m->signal)
            snprintf(ended.detail, sizeof ended.detail, "%s", strsignal(m->signal));
        const char *error = m->signal ? result_file_write(files[i], &ended, PATIENCE)
                            : text    ? report_file_write("--result", files[i], text, strlen(text), PATIENCE)
                                      : "--result: no boot reported one";
        if (!error)
            continue;
        warn("%s", error);
        m->trouble = true;
    }
}

static struct run *next(void *ctx)
{
    struct repeat *r = ctx;
    if (r->o->repeat && r->at == r->o->repeat)
        return NULL;
    struct boot *boot = calloc(1, sizeof *boot);
    if (!boot)
        die("--repeat: out of memory");
    snprintf(boot->where, sizeof boot->where, "boot %u", ++r->at);
    boot->run = (struct run){.number = r->at, .where = boot->where, .words = r->words, .n_words = r->n_words};
    return &boot->run;
}

static bool failed(void *ctx, struct run *run)
{
    struct repeat *r = ctx;
    free(r->last);
    r->last = run->report ? strdup(run->report) : NULL;
    return run->status != 0;
}

int repeat_run(const struct machine_options *o, int argc, char **argv)
{
    struct repeat r = {.o = o};
    struct many many;
    r.words = opts_inner(machine_option_table, argc, argv, &r.n_words);
    if (!r.words)
        die("--repeat: out of memory");
    many_run(&many, &(struct many_config){.title = o->name ? o->name : "repeat",
                                          .jobs = o->jobs ? o->jobs : 1,
                                          .total = o->repeat,
                                          .logs = o->logs,
                                          .junit = o->junit,
                                          .fail_fast = o->until_fail,
                                          .next = next,
                                          .failed = failed,
                                          .free_runs = true,
                                          .ctx = &r});
    repeat_result(&many, o, many.first ? many.first->report : r.last);
    free(r.last);
    return many_status(&many, many.first_status);
}
