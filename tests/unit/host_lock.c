// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(lock_order_kept)
{
    struct lock topology, device, irq, log = LOCK_INITIALIZER(LOCK_LOG, "log");
    lock_init(&topology, LOCK_TOPOLOGY, "topology");
    lock_init(&device, LOCK_DEVICE, "edu0");
    lock_init(&irq, LOCK_IRQ, "irq");
    lock_take(&topology);
    lock_take(&device);
    lock_drop(&topology); /* in any order */
    lock_take(&irq);
    lock_take(&log);
    CHECK(lock_held(&device));
    lock_drop(&device);
    lock_drop(&irq);
    lock_drop(&log);
#ifdef DEBUG
    CHECK(!lock_held(&device) && !lock_held(&topology) && !lock_held(&irq) && !lock_held(&log));
#endif
    lock_take(&topology); /* and again from the start */
    lock_drop(&topology);
    lock_assert_below(LOCK_TOPOLOGY, "nothing is held");
}

#ifdef DEBUG
static struct lock a, b, c;

static void take_down(void)
{
    lock_take(&b);
    lock_take(&a);
}
static void take_two_devices(void)
{
    lock_take(&b);
    lock_take(&c);
}
static void take_twice(void)
{
    lock_take(&a);
    lock_take(&a);
}
static void drop_unheld(void)
{
    lock_drop(&a);
}
static void take_raw(void)
{
    struct lock raw = {.name = "raw"};
    lock_take(&raw);
}
static void transaction_in_device(void)
{
    lock_take(&b);
    lock_assert_below(LOCK_DEVICE, "transaction_begin");
}
static void wait_under_more(void)
{
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    lock_take(&a);
    lock_take(&b);
    lock_wait(&b, &cond);
}

/* Whether fn abort()s, and with which message. */
static bool aborts(void (*fn)(void), char *message, size_t size)
{
    int p[2];
    CHECK(pipe(p) == 0);
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        dup2(p[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t r; n < size - 1 && (r = read(p[0], message + n, size - 1 - n)) > 0;)
        n += (size_t)r;
    message[n] = 0;
    close(p[0]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
#endif

TEST(lock_disorder_aborts)
{
#ifndef DEBUG
    SKIP("only debug builds check");
#else
    char m[4096];
    lock_init(&a, LOCK_TOPOLOGY, "topology");
    lock_init(&b, LOCK_DEVICE, "edu0");
    lock_init(&c, LOCK_DEVICE, "net0");
    CHECK(aborts(take_down, m, sizeof m));
    CHECK(strstr(m, "take of \"topology\" with \"edu0\" held"));
    CHECK(aborts(take_two_devices, m, sizeof m));
    CHECK(strstr(m, "\"net0\" with \"edu0\""));
    CHECK(aborts(take_twice, m, sizeof m));
    CHECK(strstr(m, "second take"));
    CHECK(aborts(drop_unheld, m, sizeof m));
    CHECK(aborts(take_raw, m, sizeof m));
    CHECK(strstr(m, "never initialised"));
    CHECK(aborts(transaction_in_device, m, sizeof m));
    CHECK(strstr(m, "transaction_begin"));
    CHECK(aborts(wait_under_more, m, sizeof m));
#endif
}

static struct lock turn = LOCK_INITIALIZER(LOCK_LOOP, "turn");
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int whose, rounds;

static void *player(void *arg)
{
    int me = *(int *)arg;
    for (int i = 0; i < 500; i++) {
        lock_take(&turn);
        while (whose != me)
            lock_wait(&turn, &turned);
        whose = !me;
        rounds++;
        pthread_cond_broadcast(&turned);
        lock_drop(&turn);
    }
    return NULL;
}

TEST(lock_wait_wakes)
{
    pthread_t t[2];
    int id[2] = {0, 1};
    rounds = whose = 0;
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&t[i], NULL, player, &id[i]));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK_EQ(rounds, 1000);
}
