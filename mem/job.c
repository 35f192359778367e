// SPDX-License-Identifier: MIT
/* Jobs: see include/mem/job.h. */
#include "mem/job.h"

#include "mem/device.h"

static job_word *flag(struct device *dev, const struct job *job)
{
    return (job_word *)((char *)dev + job->field);
}

static struct device_timer *timer(struct device *dev, const struct job *job)
{
    return (struct device_timer *)((char *)dev + job->timer);
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

void jobs_init(struct device *dev)
{
    for (const struct job *const *j = dev->class->jobs; j && *j; j++) {
        device_timer_init(dev, timer(dev, *j), (*j)->done);
        timer(dev, *j)->job = *j;
    }
}

void jobs_reset(struct device *dev)
{
    for (const struct job *const *j = dev->class->jobs; j && *j; j++) {
        device_timer_cancel(timer(dev, *j));
        job_over(dev, *j);
    }
}

void jobs_loaded(struct device *dev)
{
    for (const struct job *const *j = dev->class->jobs; j && *j; j++)
        if (job_runs(dev, *j))
            job_start(dev, *j);
}
