// SPDX-License-Identifier: MIT
/* Jobs: see include/mem/job.h. */
#include "mem/job.h"

#include <stdlib.h>

#include "mem/device.h"

static job_word *flag(struct device *dev, const struct job *job)
{
    return (job_word *)((char *)dev + job->field);
}

/* Its timer, which is one of the device's; NULL: it has none yet. */
static struct device_timer *timer(struct device *dev, const struct job *job)
{
    struct device_timer *t = dev->timers;
    while (t && t->job != job)
        t = t->next;
    return t;
}

void job_start(struct device *dev, const struct job *job)
{
    *flag(dev, job) |= job->busy;
    device_timer_after(timer(dev, job), job->ns);
}

void job_over(struct device *dev, const struct job *job)
{
    *flag(dev, job) &= ~job->busy;
}

bool jobs_init(struct device *dev)
{
    for (unsigned i = 0; i < dev->n_maps; i++)
        for (const struct reg *r = dev->maps[i].bank->regs; r->name; r++) {
            if (!r->job || timer(dev, r->job))
                continue;
            struct device_timer *t = calloc(1, sizeof *t);
            if (!t)
                return false;
            device_timer_init(dev, t, r->job->done);
            t->job = r->job;
        }
    return true;
}

void jobs_free(struct device *dev)
{
    for (struct device_timer **at = &dev->timers; *at;) {
        struct device_timer *t = *at;
        if (t->job) {
            *at = t->next;
            free(t);
        } else {
            at = &t->next;
        }
    }
}

void jobs_reset(struct device *dev)
{
    for (struct device_timer *t = dev->timers; t; t = t->next)
        if (t->job) {
            device_timer_cancel(t);
            job_over(dev, t->job);
        }
}

void jobs_loaded(struct device *dev)
{
    for (struct device_timer *t = dev->timers; t; t = t->next)
        if (t->job && job_runs(dev, t->job))
            job_start(dev, t->job);
}
