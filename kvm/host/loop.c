// SPDX-License-Identifier: MIT
/* The event loop of include/kvm/host/loop.h.
 *
 * One lock (rank LOCK_LOOP) guards the timer heap, the task queue and `asleep`; it is never held over a
 * callback or a system call. A poster that finds `asleep` set clears it and writes the eventfd, so of many
 * posters one pays, and none when the loop is awake. The eventfd is watched edge-triggered and therefore
 * never read.
 *
 * What is due, or posted, when a pass begins is first moved to a list of that pass and then run one by one, so a callback
 * that arms itself again for now waits for the next pass, and a cancel finds its object wherever it is. */
#include "timer_heap.h"
#include "kvm/host/loop.h"
#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 32, /* events taken by one system call */
};

enum timer_state {
    TIMER_IDLE,
    TIMER_HEAP, /* in the heap */
    TIMER_DUE,  /* in the list of this pass: next_, prev_ */
};

struct loop {
    struct clock clock;
    int epoll_fd;
    int wake_fd;
    _Atomic bool stop;
    bool no_pwait2;   /* a host kernel before 5.11 */
    atomic_bool busy; /* a thread is in loop_run() or loop_step(): `thread` */
    pthread_t thread;

    struct lock lock;
    bool asleep;
    struct loop_timer *heap;
    struct loop_timer *due; /* oldest deadline first */
    struct loop_task *tasks, **tasks_tail;
    struct loop_task *turn; /* tasks of this pass */

    /* The loop thread's own. */
    struct loop_fd *always;
    struct loop_fd *always_next; /* where the walk over `always` goes on */
    struct epoll_event batch[BATCH];
    int n_batch;
};

static uint64_t monotonic_now(void *ctx)
{
    (void)ctx;
    return ns_on(CLOCK_MONOTONIC);
}

struct loop *loop_new(const struct clock *clock)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->clock = clock ? *clock : (struct clock){monotonic_now, NULL};
    lock_init(&loop->lock, LOCK_LOOP, "loop");
    loop->tasks_tail = &loop->tasks;
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        goto fail;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        goto fail;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0)
        goto fail;
    return loop;
fail:;
    int saved = errno;
    loop_free(loop);
    errno = saved;
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop);
}

uint64_t loop_now(const struct loop *loop)
{
    return loop->clock.now(loop->clock.ctx);
}

bool loop_here(const struct loop *loop)
{
    return !atomic_load_explicit(&loop->busy, memory_order_acquire) ||
           pthread_equal(loop->thread, pthread_self());
}

static void enter(struct loop *loop)
{
    assert(!atomic_load_explicit(&loop->busy,
                                 memory_order_relaxed)); /* not from a callback, not from two threads */
    loop->thread = pthread_self();
    atomic_store_explicit(&loop->busy, true, memory_order_release); /* pairs with loop_here() */
}

static void leave(struct loop *loop)
{
    atomic_store_explicit(&loop->busy, false, memory_order_release);
}

/* Called with the lock held; returns whether the caller must write the eventfd once it has dropped the lock. */
static bool must_wake(struct loop *loop)
{
    bool asleep = loop->asleep;
    loop->asleep = false;
    return asleep;
}

static void wake(struct loop *loop)
{
    uint64_t one = 1;
    int saved = errno;
    if (write(loop->wake_fd, &one, sizeof one) < 0) {
        /* EAGAIN after 2^64 wake-ups: the loop has one to see anyhow */
    }
    errno = saved;
}

void loop_stop(struct loop *loop)
{
    lock_take(&loop->lock);
    atomic_store_explicit(&loop->stop, true, memory_order_relaxed);
    bool w = must_wake(loop);
    lock_drop(&loop->lock);
    if (w)
        wake(loop);
}

/* --- Descriptors */

static struct epoll_event event_for(struct loop_fd *f)
{
    /* The kernel adds EPOLLERR and EPOLLHUP to every mask. Edge-triggered, an unwanted hang-up wakes us once
     * only. */
    return (struct epoll_event){.events = f->events ? f->events : (uint32_t)EPOLLET, .data.ptr = f};
}

bool loop_fd_add(struct loop *loop, struct loop_fd *f, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
    assert(loop_here(loop));
    *f = (struct loop_fd){.fn = fn, .arg = arg, .events = events, .fd = fd};
    struct epoll_event ev = event_for(f);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        if (errno != EPERM)
            return false;
        f->always = true;
        f->next_ = loop->always;
        f->pprev_ = &loop->always;
        if (f->next_)
            f->next_->pprev_ = &f->next_;
        loop->always = f;
    }
    f->loop = loop;
    return true;
}

void loop_fd_events(struct loop_fd *f, uint32_t events)
{
    if (!f->loop || f->events == events)
        return;
    assert(loop_here(f->loop));
    f->events = events;
    if (f->always)
        return;
    struct epoll_event ev = event_for(f);
    if (epoll_ctl(f->loop->epoll_fd, EPOLL_CTL_MOD, f->fd, &ev) < 0)
        warn("loop: descriptor %d: epoll_ctl: %s", f->fd,
             strerror(errno)); /* only if it was closed before its removal */
}

void loop_fd_remove(struct loop_fd *f)
{
    struct loop *loop = f->loop;
    if (!loop)
        return;
    assert(loop_here(loop));
    if (f->always) {
        if (loop->always_next == f)
            loop->always_next = f->next_;
        *f->pprev_ = f->next_;
        if (f->next_)
            f->next_->pprev_ = f->pprev_;
    } else {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, f->fd, NULL);
        for (int i = 0; i < loop->n_batch;
             i++) /* its memory may go: the rest of the batch must not know it */
            if (loop->batch[i].data.ptr == f)
                loop->batch[i].data.ptr = NULL;
    }
    f->loop = NULL;
}

static unsigned run_fds(struct loop *loop)
{
    unsigned ran = 0;
    for (int i = 0; i < loop->n_batch; i++) {
        struct loop_fd *f = loop->batch[i].data.ptr;
        if (!f ||
            !f->events) /* the eventfd, a removed one, one that was told to be quiet earlier in this batch */
            continue;
        uint32_t ready = loop->batch[i].events & (f->events | EPOLLERR | EPOLLHUP);
        if (!ready)
            continue;
        f->fn(f->arg, ready);
        ran++;
    }
    loop->n_batch = 0;
    for (struct loop_fd *f = loop->always; f; f = loop->always_next) {
        loop->always_next = f->next_;
        uint32_t ready = f->events & (EPOLLIN | EPOLLOUT);
        if (!ready)
            continue;
        f->fn(f->arg, ready);
        ran++;
    }
    loop->always_next = NULL;
    return ran;
}

static bool always_wanted(const struct loop *loop)
{
    for (const struct loop_fd *f = loop->always; f; f = f->next_)
        if (f->events & (EPOLLIN | EPOLLOUT))
            return true;
    return false;
}

/* Lock held, before and after. */
static void call_out(struct loop *loop, loop_fn *fn, void *arg)
{
    lock_drop(&loop->lock);
    fn(arg);
    lock_take(&loop->lock);
}

/* --- Timers: a pairing heap */

/* Takes t out of whatever it is in. */
static void timer_unlink(struct loop *loop, struct loop_timer *t)
{
    if (t->state_ == TIMER_DUE) {
        if (t->prev_)
            t->prev_->next_ = t->next_;
        else
            loop->due = t->next_;
        if (t->next_)
            t->next_->prev_ = t->prev_;
    } else if (t->state_ == TIMER_HEAP) {
        timer_heap_take(&loop->heap, t);
    }
    t->state_ = TIMER_IDLE;
    t->next_ = t->prev_ = NULL;
}

void loop_timer_init(struct loop *loop, struct loop_timer *t, loop_fn *fn, void *arg)
{
    *t = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline)
{
    struct loop *loop = t->loop;
    bool w = false;
    lock_take(&loop->lock);
    if (t->state_ != TIMER_HEAP || t->deadline != deadline) {
        timer_unlink(loop, t);
        if (deadline != LOOP_NEVER) {
            t->deadline = deadline;
            t->state_ = TIMER_HEAP;
            timer_heap_put(&loop->heap, t);
            /* Only a new earliest deadline shortens the sleep; a later one may leave a wake-up too many, not
             * too few. */
            if (loop->heap == t)
                w = must_wake(loop);
        }
    }
    lock_drop(&loop->lock);
    if (w)
        wake(loop);
}

void loop_timer_after(struct loop_timer *t, uint64_t ns)
{
    uint64_t now = loop_now(t->loop);
    loop_timer_set(t, ns > LOOP_NEVER - now ? LOOP_NEVER : now + ns);
}

bool loop_timer_cancel(struct loop_timer *t)
{
    if (!t->loop)
        return false;
    lock_take(&t->loop->lock);
    bool armed = t->state_ != TIMER_IDLE;
    timer_unlink(t->loop, t);
    lock_drop(&t->loop->lock);
    return armed;
}

bool loop_timer_armed(const struct loop_timer *t)
{
    struct loop *loop = t->loop;
    if (!loop)
        return false;
    lock_take(&loop->lock);
    bool armed = t->state_ != TIMER_IDLE;
    lock_drop(&loop->lock);
    return armed;
}

uint64_t loop_next(struct loop *loop)
{
    lock_take(&loop->lock);
    uint64_t next = loop->heap ? loop->heap->deadline : LOOP_NEVER;
    lock_drop(&loop->lock);
    return next;
}

static unsigned run_timers(struct loop *loop)
{
    unsigned ran = 0;
    lock_take(&loop->lock);
    if (loop->heap) {
        uint64_t now = loop_now(loop);
        struct loop_timer *last = NULL;
        while (loop->heap && loop->heap->deadline <= now) {
            struct loop_timer *t = loop->heap;
            timer_unlink(loop, t);
            t->state_ = TIMER_DUE;
            t->prev_ = last;
            if (last)
                last->next_ = t;
            else
                loop->due = t;
            last = t;
        }
    }
    while (loop->due) {
        struct loop_timer *t = loop->due;
        timer_unlink(loop, t);
        call_out(loop, t->fn, t->arg); /* t may be gone after this */
        ran++;
    }
    lock_drop(&loop->lock);
    return ran;
}

/* --- Tasks */

void loop_task_init(struct loop *loop, struct loop_task *t, loop_fn *fn, void *arg)
{
    *t = (struct loop_task){.loop = loop, .fn = fn, .arg = arg};
}

void loop_task_post(struct loop_task *t)
{
    struct loop *loop = t->loop;
    bool w = false;
    lock_take(&loop->lock);
    if (!t->pprev_) {
        t->next_ = NULL;
        t->pprev_ = loop->tasks_tail;
        *loop->tasks_tail = t;
        loop->tasks_tail = &t->next_;
        w = must_wake(loop);
    }
    lock_drop(&loop->lock);
    if (w)
        wake(loop);
}

static void task_unlink(struct loop *loop, struct loop_task *t)
{
    *t->pprev_ = t->next_;
    if (t->next_)
        t->next_->pprev_ = t->pprev_;
    else if (loop->tasks_tail == &t->next_)
        loop->tasks_tail = t->pprev_;
    t->pprev_ = NULL;
    t->next_ = NULL;
}

bool loop_task_cancel(struct loop_task *t)
{
    if (!t->loop)
        return false;
    lock_take(&t->loop->lock);
    bool posted = t->pprev_ != NULL;
    if (posted)
        task_unlink(t->loop, t);
    lock_drop(&t->loop->lock);
    return posted;
}

static unsigned run_tasks(struct loop *loop)
{
    unsigned ran = 0;
    lock_take(&loop->lock);
    if (loop->tasks) {
        loop->turn = loop->tasks;
        loop->turn->pprev_ = &loop->turn;
        loop->tasks = NULL;
        loop->tasks_tail = &loop->tasks;
    }
    while (loop->turn) {
        struct loop_task *t = loop->turn;
        task_unlink(loop, t);
        call_out(loop, t->fn, t->arg); /* t may be gone after this */
        ran++;
    }
    lock_drop(&loop->lock);
    return ran;
}

/* --- Passes */

/* epoll_wait with a time-out in ns (LOOP_NEVER: none). */
static int epoll_sleep(struct loop *loop, uint64_t ns)
{
#ifdef SYS_epoll_pwait2
    if (!loop->no_pwait2) {
        struct timespec ts = ns_timespec(ns);
        int n = (int)syscall(SYS_epoll_pwait2, loop->epoll_fd, loop->batch, BATCH,
                             ns == LOOP_NEVER ? NULL : &ts, NULL, (size_t)8);
        if (n >= 0 || errno != ENOSYS)
            return n;
        loop->no_pwait2 = true;
    }
#endif
    uint64_t ms =
        ns == LOOP_NEVER ? 0 : ns / 1000000u + (ns % 1000000u != 0); /* up: never before the deadline */
    return epoll_wait(loop->epoll_fd, loop->batch, BATCH,
                      ns == LOOP_NEVER ? -1
                      : ms > 3600000   ? 3600000
                                       : (int)ms);
}

/* How long to sleep, with `asleep` set when that is not 0. */
static uint64_t prepare(struct loop *loop)
{
    uint64_t ns = LOOP_NEVER;
    if (always_wanted(loop))
        ns = 0;
    lock_take(&loop->lock);
    if (loop->tasks || atomic_load_explicit(&loop->stop, memory_order_relaxed)) {
        ns = 0;
    } else if (ns && loop->heap) {
        uint64_t now = loop_now(loop), deadline = loop->heap->deadline;
        ns = deadline > now ? deadline - now : 0;
    }
    loop->asleep = ns != 0;
    lock_drop(&loop->lock);
    return ns;
}

static unsigned pass(struct loop *loop, uint64_t sleep_ns)
{
    int n = epoll_sleep(loop, sleep_ns);
    if (sleep_ns) {
        lock_take(&loop->lock);
        loop->asleep = false;
        lock_drop(&loop->lock);
    }
    if (n < 0) {
        if (errno != EINTR)
            warn("loop: epoll_wait: %s", strerror(errno));
        n = 0;
    }
    loop->n_batch = n;
    unsigned ran = run_fds(loop);
    ran += run_timers(loop);
    return ran + run_tasks(loop);
}

unsigned loop_step(struct loop *loop)
{
    enter(loop);
    unsigned ran = pass(loop, 0);
    leave(loop);
    return ran;
}

void loop_run(struct loop *loop)
{
    enter(loop);
    while (!atomic_exchange_explicit(&loop->stop, false, memory_order_relaxed))
        pass(loop, prepare(loop));
    leave(loop);
}
