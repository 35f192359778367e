/* SPDX-License-Identifier: MIT
 *
 * The event loop: file descriptors, timers and tasks of one thread. One pass waits in one epoll call
 * (nanosecond time-out taken from the earliest timer, so that timers cost no system call), then runs, in this
 * order: ready descriptors, due timers, posted tasks. What a callback posts or arms for "now" runs in the
 * same pass if its turn is still to come, else in the next one: nothing that re-arms itself can starve the
 * rest.
 *
 * Everything is embedded in its owner and linked, so that nothing here allocates or fails after loop_new()
 * and loop_fd_add(). An object must be removed or cancelled, on the loop thread, before its memory goes;
 * after that its callback does not run any more, not even when it was due in the current pass. Callbacks may
 * remove anything, themselves included. They are called without any lock.
 *
 * Threads: "loop" = the thread that is in loop_run() or loop_step() (before the first of these: the thread
 * that sets up). "any" = any thread, with any lock below LOCK_LOOP held. Times are nanoseconds of the loop's
 * clock.
 *
 * Idle costs nothing: without a due timer the loop sleeps for ever. A post from another thread costs one
 * eventfd write if the loop sleeps, and none if it is awake or was woken already.
 */
#ifndef KVM_HOST_LOOP_H
#define KVM_HOST_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;

/* Injected in tests: with a clock of one's own, loop_step() runs what that clock says is due. */
struct clock {
    uint64_t (*now)(void *ctx);
    void *ctx;
};

#define LOOP_NEVER UINT64_MAX /* a deadline that does not come */

/* clock NULL: CLOCK_MONOTONIC. NULL and errno on failure (EMFILE, ENOMEM). The clock's ctx must outlive the
 * loop. */
struct loop *loop_new(const struct clock *clock);

/* Loop thread, outside of loop_run(). What is still registered is forgotten, not called. */
void loop_free(struct loop *loop);

/* Runs until loop_stop(). With an injected clock it still sleeps in real time: tests use loop_step(). */
void loop_run(struct loop *loop);

/* Any thread. loop_run() returns after the current pass; a stop that comes first is not lost. */
void loop_stop(struct loop *loop);

/* One pass that does not sleep. Returns how many callbacks ran: `while (loop_step(l)) ;` runs the loop
 * dry. */
unsigned loop_step(struct loop *loop);

/* Any thread: the clock now; the earliest deadline (LOOP_NEVER: none), for tests that move their clock
 * there. */
uint64_t loop_now(const struct loop *loop);
uint64_t loop_next(struct loop *loop);

/* Whether the caller is the loop thread: for assert(). */
bool loop_here(const struct loop *loop);

/* --- Descriptors: loop thread only */

typedef void loop_fd_fn(void *arg, uint32_t events);

struct loop_fd {
    struct loop *loop; /* NULL: not registered */
    loop_fd_fn *fn;
    void *arg;
    uint32_t events;
    int fd;
    bool always;                     /* epoll refused it: a file, /dev/null … */
    struct loop_fd *next_, **pprev_; /* the list of those */
};

/* Watches fd for events (EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI or 0). Level-triggered; EPOLLERR and
 * EPOLLHUP come unasked, but not while events is 0, so a consumer that has no room cannot be made to spin by
 * a peer that hung up. A descriptor that epoll refuses (EPERM) counts as ready for what is asked, every pass,
 * while something is asked. Never changes the descriptor's flags; it is inherited, perhaps, and its
 * O_NONBLOCK would be everybody's. False and errno (ENOSPC: fs.epoll.max_user_watches, ENOMEM, EBADF, EEXIST:
 * registered already). */
bool loop_fd_add(struct loop *loop, struct loop_fd *f, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
    __attribute__((warn_unused_result));

/* Changes what is asked; free when nothing changes. */
void loop_fd_events(struct loop_fd *f, uint32_t events);

/* Before close(fd). Harmless on one that is zero-initialised or removed already. */
void loop_fd_remove(struct loop_fd *f);

/* --- Timers and tasks */

typedef void loop_fn(void *arg);

struct loop_timer {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    uint64_t deadline;
    uint8_t state_;
    struct loop_timer *child_, *next_, *prev_;
};

void loop_timer_init(struct loop *loop, struct loop_timer *t, loop_fn *fn, void *arg);

/* Any thread: fn runs once on the loop at `deadline` or as soon after it as possible (not before; a deadline
 * in the past means: next). Replaces what was set. LOOP_NEVER cancels. The host kernel's timer slack (50 us)
 * applies. */
void loop_timer_set(struct loop_timer *t, uint64_t deadline);
void loop_timer_after(struct loop_timer *t, uint64_t ns);

/* Any thread: true when it was armed. On the loop thread fn will not run any more; elsewhere it may be
 * running now. */
bool loop_timer_cancel(struct loop_timer *t);

/* Any thread; a snapshot. */
bool loop_timer_armed(const struct loop_timer *t);

struct loop_task {
    struct loop *loop;
    loop_fn *fn;
    void *arg;
    struct loop_task *next_, **pprev_;
};

void loop_task_init(struct loop *loop, struct loop_task *t, loop_fn *fn, void *arg);

/* Any thread: fn runs once on the loop, however often it was posted before that. A post from within fn runs
 * fn again in the next pass. What the poster wrote before the post is seen by fn. */
void loop_task_post(struct loop_task *t);

/* As loop_timer_cancel(). */
bool loop_task_cancel(struct loop_task *t);

#endif
