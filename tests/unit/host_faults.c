// SPDX-License-Identifier: MIT
/* X7: each call to the host fails once. The functions below stand in front of libc's; while `armed` the n-th call of the chosen
 * one fails with the chosen errno. What is checked: no crash, no hang, a sentence where something could not be set up, no
 * descriptor lost, and that the next try, with the host well again, succeeds. */
#include "test.h"
#include "kvm/host/ctl.h"
#include "kvm/host/opts.h"
#include "kvm/host/signals.h"
#include "kvm/host/stream.h"
#include "kvm/host/thread.h"
#include "kvm/host/work.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static const char *victim;
static int victim_errno;
static atomic_int countdown; /* 0: nothing fails */
static atomic_bool armed;

static bool fails(const char *name)
{
    if (!atomic_load(&armed) || !victim || strcmp(name, victim) != 0)
        return false;
    int left = atomic_load(&countdown);
    if (!left || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    errno = victim_errno;
    return true;
}

#define FRONT(type_, name_, params_, args_)                                                                  \
    type_ name_ params_;                                                                                     \
    type_ name_ params_                                                                                      \
    {                                                                                                        \
        static type_(*real) params_;                                                                         \
        if (fails(#name_))                                                                                   \
            return -1;                                                                                       \
        if (!real)                                                                                           \
            *(void **)&real = dlsym(RTLD_NEXT, #name_);                                                      \
        return real args_;                                                                                   \
    }

FRONT(int, epoll_create1, (int flags), (flags))
FRONT(int, eventfd, (unsigned initial, int flags), (initial, flags))
FRONT(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *e), (epfd, op, fd, e))
FRONT(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FRONT(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
FRONT(int, listen, (int fd, int n), (fd, n))
FRONT(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
FRONT(ssize_t, recv, (int fd, void *data, size_t n, int flags), (fd, data, n, flags))
FRONT(ssize_t, send, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags))
FRONT(ssize_t, read, (int fd, void *data, size_t n), (fd, data, n))
FRONT(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
FRONT(int, flock, (int fd, int op), (fd, op))
FRONT(int, mkdir, (const char *path, mode_t mode), (path, mode))
FRONT(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))

/* Stands in for kvm/host/thread.c, which the linker then leaves out. */
int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg)
{
    (void)name;
    return fails("thread_start") ? victim_errno : pthread_create(thread, NULL, fn, arg);
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void arm(const char *name, int error, int nth)
{
    victim = name;
    victim_errno = error;
    atomic_store(&countdown, nth);
}

/* --- the control socket --- */

static char base[64];

static const char *echo(void *arg, int argc, char **argv, FILE *out)
{
    (void)arg;
    fprintf(out, "[%s]\n", argc ? argv[0] : "");
    return NULL;
}

static void settle(struct loop *loop)
{
    atomic_store(&armed, true);
    for (int quiet = 0; quiet < 3;)
        quiet = loop_step(loop) ? 0 : quiet + 1;
    atomic_store(&armed, false);
}

/* One command; whether it was answered. */
static bool ask(struct loop *loop)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/vmlet/g.sock", base);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(!connect(fd, (struct sockaddr *)&a, sizeof a));
    CHECK(send(fd, "echo x\n", 7, MSG_NOSIGNAL) == 7);
    settle(loop);
    char text[64] = "";
    bool good = recv(fd, text, sizeof text - 1, 0) == 7 && !strcmp(text, "[x]\nok\n");
    close(fd);
    settle(loop);
    return good;
}

static uint64_t now;
static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return now;
}

TEST(X7_ctl_each_call_fails_once)
{
    static const struct {
        const char *name;
        int errors[4];
    } calls[] = {
        {"epoll_create1", {EMFILE, ENOMEM}                     },
        {"eventfd",       {EMFILE, ENOMEM}                     },
        {"epoll_ctl",     {ENOMEM, ENOSPC}                     },
        {"socket",        {EMFILE, ENOBUFS}                    },
        {"bind",          {ENOSPC, EADDRINUSE, EROFS}          },
        {"listen",        {EADDRINUSE}                         },
        {"accept4",       {EMFILE, ENOMEM, EINTR, ECONNABORTED}},
        {"recv",          {EINTR, EAGAIN, ECONNRESET}          },
        {"send",          {EINTR, EPIPE, ECONNRESET, ENOBUFS}  },
        {"flock",         {EINTR, ENOLCK}                      },
        {"mkdir",         {ENOSPC, EACCES, EROFS}              },
    };
    unsigned refused = 0, unanswered = 0;
    strcpy(base, "/tmp/vmlet-unit-XXXXXX");
    CHECK(mkdtemp(base));
    setenv("XDG_RUNTIME_DIR", base, 1);
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int e = 0; e < 4 && calls[i].errors[e]; e++)
            for (int nth = 1; nth <= 4; nth++) {
                char folder[80];
                const char *error = NULL;
                snprintf(folder, sizeof folder, "%s/vmlet", base);
                rmdir(folder);
                arm(calls[i].name, calls[i].errors[e], nth);
                atomic_store(&armed, true);
                struct loop *loop = loop_new(&(struct clock){fake_now, NULL});
                int loop_error = errno;
                struct ctl *ctl = loop ? ctl_new(loop, "g", &error) : NULL;
                atomic_store(&armed, false);
                if (!loop)
                    CHECK_EQ(loop_error, calls[i].errors[e]);
                CHECK(!loop || ctl || (error && strlen(error) > 10));
                refused += !ctl;
                if (ctl) {
                    ctl_add(ctl, "echo", "", echo, NULL);
                    unanswered += !ask(loop);
                    unanswered += !ask(loop);
                    arm(NULL, 0, 0);
                    now += 10000000000ull; /* every patience ends */
                    settle(loop);
                    CHECK(ask(loop));
                }
                ctl_free(ctl);
                loop_free(loop);
                CHECK_EQ(open_descriptors(), before);
                opts_release();
            }
    CHECK(refused > 15 && unanswered > 10); /* the failures did arrive */
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", base);
    CHECK(!system(cmd));
    unsetenv("XDG_RUNTIME_DIR");
}

/* --- streams, pool, signals --- */

static struct loop *loop;
static int stream_error;

static void on_empty(void *arg)
{
    (void)arg;
    loop_stop(loop);
}
static void on_error(void *arg, int error)
{
    (void)arg;
    stream_error = error;
}

TEST(X7_stream_out_each_call_fails_once)
{
    static const struct stream_out_ops ops = {NULL, on_empty, on_error};
    static const int errors[] = {EINTR, EAGAIN, EIO, ENOSPC, EPIPE};
    loop = loop_new(NULL);
    for (size_t e = 0; e < sizeof errors / sizeof errors[0] + 1; e++) {
        int p[2], error = e < sizeof errors / sizeof errors[0] ? errors[e] : EAGAIN;
        bool thread = e == sizeof errors / sizeof errors[0],
             fatal = thread || (error != EINTR && error != EAGAIN);
        char text[64] = "";
        CHECK(!pipe(p));
        stream_error = 0;
        struct stream_out *s = stream_out_new(loop, p[1], 100, &ops, NULL);
        arm(thread ? "thread_start" : "write", error, 1);
        atomic_store(&armed, true);
        CHECK_EQ(stream_out_write(s, "hello", 5), 5);
        while (!stream_error &&
               !stream_out_is_empty(s)) /* no stop by task: its eventfd write may be the victim */
            loop_step(loop);
        atomic_store(&armed, false);
        stream_out_notify_empty(s);
        loop_run(loop);
        CHECK_EQ(stream_error, fatal ? error : 0);
        stream_out_free(s);
        close(p[1]);
        CHECK_EQ(read(p[0], text, sizeof text), fatal ? 0 : 5);
        close(p[0]);
    }
    loop_free(loop);
}

static void on_ready(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

TEST(X7_stream_in_each_call_fails_once)
{
    static const int errors[] = {EINTR, EAGAIN, EIO};
    loop = loop_new(NULL);
    for (size_t e = 0; e < 4; e++) {
        int p[2];
        char text[64];
        CHECK(!pipe(p) && write(p[1], "hello", 5) == 5);
        struct stream_in *s = stream_in_new(loop, p[0], 100, on_ready, NULL);
        arm(e == 3 ? "thread_start" : "read", e == 3 ? EAGAIN : errors[e], 1);
        atomic_store(&armed, true);
        stream_in_start(s);
        loop_run(loop);
        atomic_store(&armed, false);
        if (e < 2)
            CHECK_EQ(stream_in_read(s, text, sizeof text), 5);
        else
            CHECK(stream_in_ended(s) && stream_in_error(s) == (e == 3 ? EAGAIN : EIO));
        stream_in_free(s);
        close(p[0]), close(p[1]);
    }
    loop_free(loop);
}

static int runs, dones;
static void job_run(void *arg)
{
    (void)arg;
    runs++;
}
static void job_done(void *arg)
{
    (void)arg;
    dones++;
}

TEST(X7_work_without_threads_runs_on_the_loop)
{
    struct work_job a = {.run = job_run, .done = job_done}, b = a;
    loop = loop_new(NULL);
    struct work *work = work_new(loop, 2);
    runs = dones = 0;
    arm("thread_start", EAGAIN, 1);
    atomic_store(&armed, true);
    work_submit(work, &a);
    CHECK_EQ(work_pending(work), 1);
    while (work_pending(work))
        CHECK(loop_step(loop));
    CHECK_EQ(runs, 1);
    CHECK_EQ(dones, 1);
    atomic_store(&armed, false);
    work_submit(work, &b); /* threads can be had again */
    while (work_pending(work))
        loop_step(loop);
    CHECK_EQ(dones, 2);
    CHECK(work_free(work, 60000000000ull));
    loop_free(loop);
}

static void on_end(void *arg, int sig)
{
    (void)arg;
    (void)sig;
}

TEST(X7_signals_watch_fails)
{
    static const struct signals_ops ops = {on_end, NULL};
    int before = open_descriptors();
    loop = loop_new(NULL);
    for (int i = 0; i < 2; i++) {
        arm(i ? "epoll_ctl" : "signalfd", i ? ENOSPC : EMFILE, 1);
        atomic_store(&armed, true);
        CHECK(!signals_watch(loop, &ops, NULL));
        CHECK_EQ(errno, i ? ENOSPC : EMFILE);
        atomic_store(&armed, false);
    }
    signals_unwatch();
    loop_free(loop);
    CHECK_EQ(open_descriptors(), before);
}
