// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static uint64_t fake_now(void *ctx)
{
    return *(uint64_t *)ctx;
}

static uint64_t cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* --- timers --- */

TEST(loop_timer_not_before_its_time)
{
    uint64_t now = 1000;
    struct loop *l = loop_new(&(struct clock){fake_now, &now});
    struct loop_timer t;
    int n = 0;
    loop_timer_init(l, &t, count, &n);
    CHECK_EQ(loop_next(l), LOOP_NEVER);
    loop_timer_set(&t, 2000);
    CHECK_EQ(loop_next(l), 2000);
    now = 1999;
    CHECK_EQ(loop_step(l), 0);
    now = 2000;
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(n, 1);
    CHECK(!loop_timer_armed(&t));
    CHECK_EQ(loop_step(l), 0);
    loop_timer_after(&t, 500);
    CHECK_EQ(loop_next(l), 2500);
    loop_timer_set(&t, 2100); /* replaced */
    CHECK_EQ(loop_next(l), 2100);
    CHECK(loop_timer_cancel(&t));
    CHECK(!loop_timer_cancel(&t));
    now = 9999;
    CHECK_EQ(loop_step(l), 0);
    loop_timer_set(&t, 5); /* in the past: next pass */
    CHECK_EQ(loop_step(l), 1);
    loop_timer_after(&t, UINT64_MAX); /* no wrap-around */
    CHECK(!loop_timer_armed(&t));
    loop_timer_set(&t, 10000);
    loop_timer_set(&t, LOOP_NEVER);
    CHECK_EQ(loop_next(l), LOOP_NEVER);
    loop_free(l);
}

/* Random sets, moves and cancels of many timers, against a plain array. */
struct timed {
    struct loop_timer t;
    uint64_t want; /* LOOP_NEVER: not armed */
    uint64_t *now;
    bool early, *disorder;
    uint64_t *last;
};

static void timed_fn(void *arg)
{
    struct timed *t = arg;
    t->early |= t->want > *t->now;
    if (t->want < *t->last)
        *t->disorder = true;
    *t->last = t->want;
    t->want = LOOP_NEVER;
}

TEST(loop_timer_heap_against_array)
{
    enum {
        N = 200
    };
    static struct timed t[N];
    uint64_t now = 1, seed = 7, last = 0;
    bool disorder = false;
    struct loop *l = loop_new(&(struct clock){fake_now, &now});
    for (int i = 0; i < N; i++) {
        t[i] = (struct timed){.want = LOOP_NEVER, .now = &now, .disorder = &disorder, .last = &last};
        loop_timer_init(l, &t[i].t, timed_fn, &t[i]);
    }
    for (unsigned long step = 0; step < test_scale(20000); step++) {
        struct timed *x = &t[test_rand(&seed) % N];
        uint64_t r = test_rand(&seed);
        if (r % 4 == 0) {
            CHECK_EQ(loop_timer_cancel(&x->t), x->want != LOOP_NEVER);
            x->want = LOOP_NEVER;
        } else {
            x->want = now + (r >> 8) % 1000;
            loop_timer_set(&x->t, x->want);
        }
        uint64_t min = LOOP_NEVER;
        for (int i = 0; i < N; i++)
            if (t[i].want < min)
                min = t[i].want;
        CHECK_EQ(loop_next(l), min);
        if (step % 5 == 0) {
            now += test_rand(&seed) % 40;
            last = 0;
            loop_step(l);
            for (int i = 0; i < N; i++) {
                CHECK(!t[i].early);
                CHECK(t[i].want > now); /* all that was due ran */
            }
            CHECK(!disorder);
        }
    }
    loop_free(l);
}

static struct loop_timer again_t;
static void again(void *arg)
{
    ++*(int *)arg;
    loop_timer_set(&again_t, 0);
}

struct killer {
    struct loop_timer *timer;
    struct loop_task *task;
    struct loop_fd *fd;
    int ran;
};

static void kill_all(void *arg)
{
    struct killer *k = arg;
    k->ran++;
    if (k->timer)
        loop_timer_cancel(k->timer);
    if (k->task)
        loop_task_cancel(k->task);
    if (k->fd)
        loop_fd_remove(k->fd);
}

TEST(loop_timer_rearmed_for_now_starves_nobody)
{
    uint64_t now = 10;
    int n = 0, m = 0;
    struct loop *l = loop_new(&(struct clock){fake_now, &now});
    struct loop_task task;
    loop_timer_init(l, &again_t, again, &n);
    loop_task_init(l, &task, count, &m);
    loop_timer_set(&again_t, 1);
    loop_task_post(&task);
    CHECK_EQ(loop_step(l), 2);
    CHECK_EQ(n, 1);
    CHECK_EQ(m, 1);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(n, 2);
    loop_free(l);
}

TEST(loop_cancel_within_the_pass_holds)
{
    uint64_t now = 10;
    int n = 0;
    struct loop *l = loop_new(&(struct clock){fake_now, &now});
    struct loop_timer t[3];
    struct loop_task task[2];
    struct killer k1 = {.timer = &t[2], .task = &task[1]}, k2 = {.timer = NULL};
    loop_timer_init(l, &t[0], kill_all, &k1);
    loop_timer_init(l, &t[1], kill_all, &k2);
    loop_timer_init(l, &t[2], count, &n);
    loop_task_init(l, &task[0], kill_all, &k2);
    loop_task_init(l, &task[1], count, &n);
    loop_timer_set(&t[0], 1);
    loop_timer_set(&t[1], 2);
    loop_timer_set(&t[2], 3);
    loop_task_post(&task[0]);
    loop_task_post(&task[1]);
    loop_task_post(&task[1]);
    CHECK_EQ(loop_step(l), 3);
    CHECK_EQ(k1.ran, 1);
    CHECK_EQ(k2.ran, 2);
    CHECK_EQ(n, 0);
    /* A task that cancels the next one of its turn, which is also the last. */
    struct killer k3 = {.task = &task[1]};
    loop_task_init(l, &task[0], kill_all, &k3);
    loop_task_post(&task[0]);
    loop_task_post(&task[1]);
    CHECK_EQ(loop_step(l), 1);
    loop_task_post(&task[1]);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(n, 1);
    CHECK(!loop_task_cancel(&task[1]));
    loop_free(l);
}

/* --- tasks --- */

static struct loop_task self_task;
static int self_runs;
static void self_post(void *arg)
{
    (void)arg;
    self_runs++;
    loop_task_post(&self_task);
}

TEST(loop_task_coalesced_and_reposted)
{
    struct loop *l = loop_new(NULL);
    struct loop_task t;
    int n = 0;
    loop_task_init(l, &t, count, &n);
    for (int i = 0; i < 5; i++)
        loop_task_post(&t);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(n, 1);
    self_runs = 0;
    loop_task_init(l, &self_task, self_post, NULL);
    loop_task_post(&self_task);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(self_runs, 1); /* the second time belongs to the next pass */
    CHECK_EQ(loop_step(l), 1);
    CHECK(loop_task_cancel(&self_task));
    CHECK_EQ(loop_step(l), 0);
    loop_free(l);
}

/* --- descriptors --- */

struct reader {
    struct loop_fd f;
    int calls;
    uint32_t events;
    size_t bytes;
    struct loop_fd *remove;
};

static void reader_fn(void *arg, uint32_t events)
{
    struct reader *r = arg;
    char buf[64];
    r->calls++;
    r->events = events;
    if (events & EPOLLIN) {
        ssize_t n = read(r->f.fd, buf, sizeof buf);
        if (n > 0)
            r->bytes += (size_t)n;
    }
    if (r->remove)
        loop_fd_remove(r->remove);
}

TEST(loop_fd_in_and_out_and_removal)
{
    struct loop *l = loop_new(NULL);
    int a[2], b[2];
    CHECK(!pipe(a) && !pipe(b));
    struct reader ra = {.remove = NULL}, rb = {.remove = NULL};
    CHECK(loop_fd_add(l, &ra.f, a[0], EPOLLIN, reader_fn, &ra));
    CHECK(loop_fd_add(l, &rb.f, b[0], EPOLLIN, reader_fn, &rb));
    struct loop_fd twice = {.loop = NULL};
    CHECK(!loop_fd_add(l, &twice, a[0], EPOLLIN, reader_fn, &ra) && errno == EEXIST);
    CHECK(!loop_fd_add(l, &twice, 9999, EPOLLIN, reader_fn, &ra) && errno == EBADF);
    loop_fd_remove(&twice);
    CHECK_EQ(loop_step(l), 0);
    CHECK(write(a[1], "12345", 5) == 5);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(ra.bytes, 5);
    /* Both are ready, and whichever comes first removes the other: that one must not be called. */
    ra.remove = &rb.f;
    rb.remove = &ra.f;
    ra.calls = rb.calls = 0;
    CHECK(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(ra.calls + rb.calls, 1);
    loop_fd_remove(&ra.f);
    loop_fd_remove(&rb.f); /* once of these is a second removal */
    CHECK_EQ(loop_step(l), 0);
    for (int i = 0; i < 2; i++)
        close(a[i]), close(b[i]);
    loop_free(l);
}

TEST(loop_fd_quiet_while_nothing_is_asked)
{
    struct loop *l = loop_new(NULL);
    int p[2];
    CHECK(!pipe(p));
    struct reader r = {.remove = NULL};
    CHECK(loop_fd_add(l, &r.f, p[0], EPOLLIN, reader_fn, &r));
    CHECK(write(p[1], "x", 1) == 1);
    loop_fd_events(&r.f, 0);
    close(p[1]); /* hung up */
    for (int i = 0; i < 5; i++)
        CHECK_EQ(loop_step(l), 0);
    /* Nor does the loop wake for it again and again. */
    struct loop_timer t;
    uint64_t cpu = cpu_ns();
    loop_timer_init(l, &t, stop_loop, l);
    loop_timer_after(&t, 100 * 1000 * 1000);
    loop_run(l);
    CHECK(cpu_ns() - cpu < 50 * 1000 * 1000);
    CHECK_EQ(r.calls, 0);
    loop_fd_events(&r.f, EPOLLIN);
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(r.bytes, 1);
    CHECK(r.events & EPOLLHUP);
    loop_fd_remove(&r.f);
    close(p[0]);
    loop_free(l);
}

TEST(loop_fd_files_are_always_ready)
{
    struct loop *l = loop_new(NULL);
    char path[] = "/tmp/vmlet-unit-XXXXXX";
    int fd = mkstemp(path), null = open("/dev/null", O_RDWR);
    CHECK(fd >= 0 && null >= 0);
    unlink(path);
    CHECK(write(fd, "hello", 5) == 5 && lseek(fd, 0, SEEK_SET) == 0);
    int flags = fcntl(fd, F_GETFL);
    struct reader r = {.remove = NULL}, w = {.remove = NULL};
    CHECK(loop_fd_add(l, &r.f, fd, EPOLLIN, reader_fn, &r));
    CHECK(loop_fd_add(l, &w.f, null, EPOLLOUT, reader_fn, &w));
    CHECK_EQ(loop_step(l), 2);
    CHECK_EQ(r.bytes, 5);
    CHECK_EQ(r.events, EPOLLIN);
    CHECK_EQ(w.events, EPOLLOUT);
    CHECK_EQ(loop_step(l), 2); /* the end of a file is ready too */
    loop_fd_events(&r.f, 0);
    CHECK_EQ(loop_step(l), 1);
    w.remove = &w.f; /* itself, from its own callback */
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(loop_step(l), 0);
    /* One removes the other, in both orders of the list. */
    struct reader x = {.remove = NULL}, y = {.remove = NULL};
    loop_fd_remove(&r.f);
    CHECK(loop_fd_add(l, &x.f, fd, EPOLLIN, reader_fn, &x));
    CHECK(loop_fd_add(l, &y.f, null, EPOLLIN, reader_fn, &y));
    x.remove = &y.f;
    y.remove = &x.f;
    CHECK_EQ(loop_step(l), 1);
    CHECK_EQ(x.calls + y.calls, 1);
    CHECK_EQ(fcntl(fd, F_GETFL), flags);
    loop_fd_remove(&x.f);
    loop_fd_remove(&y.f);
    close(fd);
    close(null);
    loop_free(l);
}

/* --- threads --- */

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct poster {
    struct loop *loop;
    struct loop_task task;
    struct loop_timer timer;
    _Atomic unsigned given;
    unsigned seen, fired;
};

static void poster_task(void *arg)
{
    struct poster *p = arg;
    p->seen = atomic_load_explicit(&p->given, memory_order_relaxed);
}

static void poster_timer(void *arg)
{
    ((struct poster *)arg)->fired++;
}

static void *poster_run(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 1; i <= 20000; i++) {
        atomic_store_explicit(&p->given, i, memory_order_relaxed);
        loop_task_post(&p->task);
        if (i % 16 == 0)
            loop_timer_after(&p->timer, (i % 64) * 1000);
        if (i % 64 == 0)
            loop_timer_cancel(&p->timer);
    }
    return NULL;
}

TEST(loop_posts_from_threads_are_not_lost)
{
    struct loop *l = loop_new(NULL);
    static struct poster p[3];
    pthread_t t, pt[3];
    memset(p, 0, sizeof p);
    for (int i = 0; i < 3; i++) {
        loop_task_init(l, &p[i].task, poster_task, &p[i]);
        loop_timer_init(l, &p[i].timer, poster_timer, &p[i]);
    }
    CHECK(!pthread_create(&t, NULL, run_loop, l));
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&pt[i], NULL, poster_run, &p[i]));
    for (int i = 0; i < 3; i++)
        pthread_join(pt[i], NULL);
    loop_stop(l);
    pthread_join(t, NULL);
    while (loop_step(l))
        ;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(p[i].seen, 20000); /* the last post was seen, with what was written before it */
    loop_free(l);
}

struct pingpong {
    struct loop *loop;
    struct loop_task task;
    _Atomic unsigned n;
    struct pingpong *other;
};

static void pingpong_fn(void *arg)
{
    struct pingpong *p = arg;
    if (atomic_fetch_add(&p->n, 1) + 1 < 2000) {
        loop_task_post(&p->other->task);
    } else {
        loop_stop(p->loop);
        loop_stop(p->other->loop);
    }
}

/* Each post finds the other loop asleep or falling asleep: one lost wake-up and this never ends. */
TEST(loop_wakes_from_sleep)
{
    struct pingpong p[2] = {
        {.loop = loop_new(NULL), .other = &p[1]},
        {.loop = loop_new(NULL), .other = &p[0]}
    };
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        loop_task_init(p[i].loop, &p[i].task, pingpong_fn, &p[i]);
        CHECK(!pthread_create(&t[i], NULL, run_loop, p[i].loop));
    }
    loop_task_post(&p[0].task);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK_EQ(p[0].n, 2000);
    for (int i = 0; i < 2; i++)
        loop_free(p[i].loop);
}

TEST(loop_timer_set_elsewhere_shortens_the_sleep)
{
    struct loop *l = loop_new(NULL);
    struct loop_timer far, near;
    int n = 0;
    pthread_t t;
    loop_timer_init(l, &far, count, &n);
    loop_timer_init(l, &near, stop_loop, l);
    loop_timer_after(&far, 3600ull * 1000000000);
    CHECK(!pthread_create(&t, NULL, run_loop, l));
    uint64_t start = loop_now(l);
    loop_timer_after(&near, 20 * 1000 * 1000);
    pthread_join(t, NULL);
    uint64_t took = loop_now(l) - start;
    CHECK(took >= 20 * 1000 * 1000);
    CHECK(took < 5000000000ull);
    CHECK_EQ(n, 0);
    loop_timer_cancel(&far);
    loop_free(l);
}

TEST(loop_stop_before_run_is_not_lost)
{
    struct loop *l = loop_new(NULL);
    loop_stop(l);
    loop_run(l);
    loop_free(l);
}

/* --- the host's trouble --- */

static void on_alarm(int sig)
{
    (void)sig;
}

TEST(X7_loop_eintr_storm)
{
    struct sigaction sa = {.sa_handler = on_alarm}, old;
    struct itimerval it =
                         {
                             {0, 500},
                             {0, 500}
    },
                     off = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &sa, &old);
    struct loop *l = loop_new(NULL);
    struct loop_timer t;
    loop_timer_init(l, &t, stop_loop, l);
    uint64_t start = loop_now(l);
    loop_timer_after(&t, 30 * 1000 * 1000);
    setitimer(ITIMER_REAL, &it, NULL);
    loop_run(l);
    setitimer(ITIMER_REAL, &off, NULL);
    CHECK(loop_now(l) - start >= 30 * 1000 * 1000);
    sigaction(SIGALRM, &old, NULL);
    loop_free(l);
}

TEST(X7_loop_new_without_descriptors)
{
    struct rlimit old, none;
    getrlimit(RLIMIT_NOFILE, &old);
    int first = dup(0); /* tests/unit/run gives /dev/null */
    CHECK(first >= 0);
    close(first);
    for (int room = 0; room < 2; room++) { /* none for the epoll set, none for the eventfd */
        none = (struct rlimit){(rlim_t)(first + room), old.rlim_max};
        setrlimit(RLIMIT_NOFILE, &none);
        struct loop *l = loop_new(NULL);
        int e = errno;
        setrlimit(RLIMIT_NOFILE, &old);
        CHECK(!l && e == EMFILE);
    }
    int again = dup(0); /* nothing leaked: the number is free still */
    CHECK_EQ(again, first);
    close(again);
}
