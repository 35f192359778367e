// SPDX-License-Identifier: MIT
/* The pool of include/kvm/host/work.h: a queue of jobs, threads that are started when a job finds none idle, and a list of
 * finished jobs that one task of the loop takes at a time. */
#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "kvm/host/thread.h"
#include "kvm/host/work.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum job_state {
    JOB_IDLE,
    JOB_QUEUED,
    JOB_RUNNING,
    JOB_FINISHED, /* done() is owed */
};

struct job_list {
    struct work_job *first, **tail;
};

struct work {
    struct loop *loop;
    struct lock lock;
    pthread_cond_t more;  /* for the threads */
    pthread_cond_t fewer; /* for work_free(): a thread ended */
    struct job_list queue, finished;
    unsigned limit, threads, idle, pending;
    /* jobs that nobody has begun; an idle thread that was woken for one may still be waking up */
    unsigned queued;
    bool freed, abandoned;
    struct loop_task task;     /* calls done() */
    struct loop_task fallback; /* runs the queue when there is no thread at all */
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->tail = &list->first;
}

static void list_put(struct job_list *list, struct work_job *job)
{
    job->next_ = NULL;
    *list->tail = job;
    list->tail = &job->next_;
}

static struct work_job *list_take(struct job_list *list)
{
    struct work_job *job = list->first;
    if (job && !(list->first = job->next_))
        list->tail = &list->first;
    return job;
}

static void work_release(struct work *work)
{
    pthread_cond_destroy(&work->more);
    pthread_cond_destroy(&work->fewer);
    free(work);
}

/* Lock held; runs the first job of the queue, if any, with the lock dropped. */
static bool run_one(struct work *work)
{
    struct work_job *job = list_take(&work->queue);
    if (!job)
        return false;
    work->queued--;
    job->state_ = JOB_RUNNING;
    lock_drop(&work->lock);
    job->run(job->arg);
    lock_take(&work->lock);
    job->state_ = JOB_FINISHED;
    list_put(&work->finished, job);
    if (!work->freed)
        loop_task_post(&work->task);
    return true;
}

static void *work_thread(void *arg)
{
    struct work *work = arg;
    lock_take(&work->lock);
    while (!work->freed) {
        if (run_one(work))
            continue;
        work->idle++;
        lock_wait(&work->lock, &work->more);
        work->idle--;
    }
    work->threads--;
    pthread_cond_signal(&work->fewer);
    bool last = work->abandoned && !work->threads;
    lock_drop(&work->lock);
    if (last)
        work_release(work);
    return NULL;
}

static void run_done(void *arg)
{
    struct work *work = arg;
    lock_take(&work->lock);
    struct job_list batch =
        work->finished; /* what is submitted again and ends at once waits for the next pass */
    if (!batch.first)
        batch.tail = &batch.first;
    list_init(&work->finished);
    for (struct work_job *job; (job = list_take(&batch));) {
        job->state_ = JOB_IDLE;
        void (*done)(void *) = job->done;
        void *job_arg = job->arg;
        lock_drop(&work->lock);
        if (done)
            done(job_arg); /* job may be gone after this */
        lock_take(&work->lock);
        work->pending--;
    }
    lock_drop(&work->lock);
}

static void run_fallback(void *arg)
{
    struct work *work = arg;
    lock_take(&work->lock);
    while (!work->threads && run_one(work))
        ;
    lock_drop(&work->lock);
}

struct work *work_new(struct loop *loop, unsigned threads)
{
    struct work *work = calloc(1, sizeof *work);
    if (!work)
        return NULL;
    work->loop = loop;
    work->limit = threads ? threads : 1;
    lock_init(&work->lock, LOCK_QUEUE, "work pool");
    lock_cond_init(&work->more);
    lock_cond_init(&work->fewer);
    list_init(&work->queue);
    list_init(&work->finished);
    loop_task_init(loop, &work->task, run_done, work);
    loop_task_init(loop, &work->fallback, run_fallback, work);
    return work;
}

void work_submit(struct work *work, struct work_job *job)
{
    lock_take(&work->lock);
    assert(job->state_ == JOB_IDLE);
    job->state_ = JOB_QUEUED;
    list_put(&work->queue, job);
    work->pending++;
    if (++work->queued <= work->idle) {
        pthread_cond_signal(&work->more);
    } else if (work->threads < work->limit) {
        pthread_t thread;
        int error = thread_start(&thread, "work", work_thread, work);
        if (!error) {
            pthread_detach(thread);
            work->threads++;
        } else if (!work->threads) {
            warn("work pool: pthread_create: %s (jobs run on the event loop)", strerror(error));
            loop_task_post(&work->fallback);
        }
    }
    lock_drop(&work->lock);
}

unsigned work_pending(struct work *work)
{
    lock_take(&work->lock);
    unsigned n = work->pending;
    lock_drop(&work->lock);
    return n;
}

bool work_free(struct work *work, uint64_t timeout_ns)
{
    if (!work)
        return true;
    uint64_t now = ns_on(CLOCK_MONOTONIC);
    uint64_t end = timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;

    lock_take(&work->lock);
    work->freed = true;
    loop_task_cancel(&work->task); /* under the lock: nobody posts once freed is seen */
    loop_task_cancel(&work->fallback);
    for (struct work_job *job; (job = list_take(&work->queue));)
        job->state_ = JOB_IDLE;
    work->queued = 0;
    pthread_cond_broadcast(&work->more);
    while (work->threads && now < end) {
        lock_wait_until(&work->lock, &work->fewer, end);
        now = ns_on(CLOCK_MONOTONIC);
    }
    work->abandoned = work->threads != 0; /* the last of them frees the pool */
    bool ended = !work->abandoned;
    lock_drop(&work->lock);
    if (ended)
        work_release(work);
    return ended;
}
