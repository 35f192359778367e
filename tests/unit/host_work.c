// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static struct loop *loop;
static struct work *work;

struct job {
    struct work_job j;
    pthread_t ran_on;
    _Atomic int runs, begun;
    int dones, again;
    bool on_loop;
    int gate[2]; /* run() waits for a byte if there is one */
};

static void job_run(void *arg)
{
    struct job *job = arg;
    char c;
    atomic_store(&job->begun, 1);
    if (job->gate[0] && read(job->gate[0], &c, 1) < 0)
        return;
    job->ran_on = pthread_self();
    atomic_fetch_add(&job->runs, 1);
}

static void job_done(void *arg)
{
    struct job *job = arg;
    job->dones++;
    job->on_loop = loop_here(loop);
    if (job->again-- > 0)
        work_submit(work, &job->j);
}

static void job_init(struct job *job)
{
    *job = (struct job){
        .j = {.run = job_run, .done = job_done, .arg = job}
    };
}

static void open_gate(struct job *job)
{
    CHECK(write(job->gate[1], "x", 1) == 1);
}

/* Runs the loop until nothing is pending: every pass is woken by a job's end. */
static void drain(void)
{
    while (work_pending(work))
        if (!loop_step(loop))
            sched_yield();
}

TEST(work_jobs_run_elsewhere_and_end_on_the_loop)
{
    enum {
        N = 500
    };
    static struct job jobs[N];
    loop = loop_new(NULL);
    work = work_new(loop, 3);
    for (int i = 0; i < N; i++) {
        job_init(&jobs[i]);
        jobs[i].again = i % 3;
        work_submit(work, &jobs[i].j);
    }
    drain();
    for (int i = 0; i < N; i++) {
        CHECK_EQ(jobs[i].runs, 1 + i % 3);
        CHECK_EQ(jobs[i].dones, 1 + i % 3);
        CHECK(jobs[i].on_loop);
        CHECK(!pthread_equal(jobs[i].ran_on, pthread_self()));
    }
    CHECK(work_free(work, 60000000000ull));
    loop_free(loop);
}

/* With one job stuck the other threads go on; there are no more threads than allowed. */
TEST(work_one_job_that_hangs_holds_up_nobody)
{
    struct job stuck[2], quick;
    loop = loop_new(NULL);
    work = work_new(loop, 2);
    job_init(&stuck[0]);
    job_init(&stuck[1]);
    job_init(&quick);
    CHECK(!pipe(stuck[0].gate) && !pipe(stuck[1].gate));
    work_submit(work, &stuck[0].j);
    work_submit(work, &quick.j);
    while (!quick.dones)
        loop_step(loop);
    CHECK_EQ(stuck[0].dones, 0);
    work_submit(work, &stuck[1].j);
    job_init(&quick);
    work_submit(work, &quick.j); /* both threads are taken now */
    for (int i = 0; i < 100; i++)
        CHECK_EQ(loop_step(loop), 0);
    CHECK_EQ(quick.runs, 0);
    open_gate(&stuck[0]);
    while (!quick.dones)
        loop_step(loop);
    open_gate(&stuck[1]);
    drain();
    CHECK(work_free(work, 60000000000ull));
    for (int i = 0; i < 2; i++)
        close(stuck[i].gate[0]), close(stuck[i].gate[1]);
    loop_free(loop);
}

/* Jobs that follow one another faster than a thread wakes up must not share it. */
TEST(work_jobs_do_not_wait_for_each_other)
{
    enum {
        N = 4
    };
    static struct job first, jobs[N];
    loop = loop_new(NULL);
    work = work_new(loop, N);
    for (int round = 0; round < 50; round++) {
        job_init(&first);
        work_submit(work, &first.j);
        drain(); /* a thread is idle, at least */
        int gate[2];
        CHECK(pipe(gate) == 0);
        for (int i = 0; i < N; i++) {
            job_init(&jobs[i]);
            memcpy(jobs[i].gate, gate, sizeof gate);
            work_submit(work, &jobs[i].j);
        }
        for (int i = 0; i < N; i++)
            for (long n = 0; !atomic_load(&jobs[i].begun); n++) {
                CHECK(n < 10000000);
                sched_yield();
            }
        for (int i = 0; i < N; i++)
            open_gate(&jobs[i]);
        drain();
        close(gate[0]);
        close(gate[1]);
    }
    CHECK(work_free(work, UINT64_MAX));
    loop_free(loop);
}

TEST(work_unused_starts_no_thread)
{
    loop = loop_new(NULL);
    work = work_new(loop, 4);
    CHECK_EQ(work_pending(work), 0);
    CHECK(work_free(work, 0)); /* a thread would take longer than nothing */
    CHECK(work_free(NULL, 0));
    loop_free(loop);
}

/* At the end: queued jobs are dropped, running ones waited for, hanging ones left. */
TEST(work_free_waits_drops_and_abandons)
{
    static struct job stuck, queued;
    for (int hang = 0; hang < 2; hang++) {
        loop = loop_new(NULL);
        work = work_new(loop, 1);
        job_init(&stuck);
        job_init(&queued);
        CHECK(!pipe(stuck.gate));
        work_submit(work, &stuck.j);
        work_submit(work, &queued.j);
        while (!atomic_load(&stuck.begun))
            sched_yield();
        if (!hang)
            open_gate(&stuck);
        CHECK_EQ(work_free(work, hang ? 1000000 : 60000000000ull), !hang);
        CHECK_EQ(stuck.dones, 0);
        CHECK_EQ(queued.dones, 0);
        if (hang) {
            /* The thread ends by itself, and frees the pool, when its job does. */
            CHECK_EQ(queued.runs, 0);
            CHECK_EQ(loop_step(loop), 0);
            open_gate(&stuck);
            while (!atomic_load(&stuck.runs))
                sched_yield();
        }
        CHECK_EQ(loop_step(loop), 0);
        loop_free(loop);
        close(stuck.gate[1]);
    }
}
