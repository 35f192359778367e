/* SPDX-License-Identifier: MIT
 *
 * A fixed pool of threads for what blocks: disk and folder calls, name look-ups. Jobs are embedded in their owners, are
 * started in the order of submission, run in the pool without any lock and complete on the loop. Threads are started one by
 * one, as jobs find no idle one, up to the number given; so as many jobs as that run at once, and one waits for none but those
 * beyond it. Nothing is cancelled.
 */
#ifndef KVM_HOST_WORK_H
#define KVM_HOST_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include "kvm/host/loop.h"

struct work;

struct work_job {
    void (*run)(void *arg); /* in the pool */
    /* on the loop, after run(); may submit the job again, or free it. NULL: nothing to do */
    void (*done)(void *arg);
    void *arg;
    struct work_job *next_;
    uint8_t state_;
};

/* threads: 1 or more. NULL: ENOMEM. */
struct work *work_new(struct loop *loop, unsigned threads);

/* Any thread, with any lock below LOCK_LOOP held. The job must not be under way already (debug builds assert it), and stays
 * where it is until done(). Without any thread (EAGAIN) the job runs, late but surely, on the loop. */
void work_submit(struct work *work, struct work_job *job);

/* Any thread: jobs submitted of which done() did not yet return. */
unsigned work_pending(struct work *work);

/* Loop thread, the loop not running. Jobs not yet begun are dropped and no done() is called any more. Waits up to timeout_ns
 * for those that run. False: some still do (a file system that hangs); the pool's memory is left to them, and so must be
 * what they work on, until the process ends. */
bool work_free(struct work *work, uint64_t timeout_ns) __attribute__((warn_unused_result));

#endif
