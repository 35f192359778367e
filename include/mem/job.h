/* SPDX-License-Identifier: MIT
 *
 * Jobs: what keeps a device busy for a while, as const data. A job runs while a bit in a field of the device is set, and
 * there is no other state: who reads that register sees it, a saved device has it, and a job in a state that is loaded
 * begins anew. When its time is over the bit is cleared and done() is called, under the device's lock on the loop. Reset ends
 * it without done().
 *
 *     static const struct job edu_dma = {JOB(struct edu, cmd), EDU_CMD_RUN, 100 * 1000000, edu_dma_done};
 *
 * A device has the jobs that its registers name, and for each a timer that it needs not know of (mem/regs.h):
 *     .job = &edu_dma                         takes no writes while it runs
 *     .job = &edu_dma, .flags = REG_START     and a write starts it. Where the bit is in this very register, it is a write of
 *                                             that bit that does; other writes of it are nothing
 */
#ifndef MEM_JOB_H
#define MEM_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;

struct job {
    /* where the bit is that says that it runs: in 32 bits of the device, or the low ones of 64 */
    uint32_t field;
    uint32_t busy;
    uint64_t ns;
    void (*done)(struct device *dev);
};
#define JOB(type_, field_) offsetof(type_, field_)

typedef uint32_t __attribute__((may_alias)) job_word;

static inline bool job_runs(const struct device *dev, const struct job *job)
{
    return *(const job_word *)((const char *)dev + job->field) & job->busy;
}
void job_start(struct device *dev, const struct job *job); /* lock held */

/* --- inside mem/, for all of a device's jobs */
void job_over(struct device *dev, const struct job *job);               /* clears its bit */
bool jobs_init(struct device *dev) __attribute__((warn_unused_result)); /* false: no memory */
void jobs_free(struct device *dev);                                     /* their timers are off the loop */
void jobs_reset(struct device *dev);                                    /* lock held, as below */
void jobs_loaded(struct device *dev); /* begins those anew whose bit came with the state */

#endif
