// SPDX-License-Identifier: MIT
/* This very program as its own child: the body_ tests are what the children do, and nothing when run as tests. */
#include "test.h"

#include "kvm/host/child.h"
#include "kvm/host/ns.h"
#include "kvm/host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct child child;
static char output[65536 * 4];
static size_t n_output;
static int ended, status;
static struct loop_timer limit;

static void on_output(void *arg, const void *bytes, size_t n)
{
    (void)arg;
    size_t room = sizeof output - 1 - n_output;
    memcpy(output + n_output, bytes, n < room ? n : room);
    n_output += n < room ? n : room;
    output[n_output] = 0;
}

static void on_ended(void *arg, int s)
{
    (void)arg;
    ended++;
    status = s;
    loop_stop(loop);
}

static void on_limit(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static const struct child_ops ops = {on_output, on_ended};

static bool start(const char *body, int keep)
{
    char *argv[] = {(char *)(uintptr_t) "child", (char *)(uintptr_t)body, NULL};
    if (!loop)
        loop = loop_new(NULL);
    n_output = 0;
    ended = 0;
    setenv("CHILD", "1", 1);
    bool ok = child_start(&child, loop, argv, keep, &ops, NULL);
    unsetenv("CHILD");
    return ok;
}

/* Until it has ended, or for that long. */
static void run(uint64_t ms)
{
    loop_timer_init(loop, &limit, on_limit, NULL);
    loop_timer_after(&limit, ms * MS);
    loop_run(loop);
    loop_timer_cancel(&limit);
}

static bool is_child(void)
{
    return getenv("CHILD") != NULL;
}

static void say(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

TEST(body_speaks)
{
    char byte;
    if (!is_child())
        return;
    say("out ");
    if (write(STDERR_FILENO, "err ", 4) != 4 || read(STDIN_FILENO, &byte, 1) != 0 || getpgrp() != getpid())
        _exit(1);
    _exit(7);
}

TEST(body_floods)
{
    static char much[200000];
    if (!is_child())
        return;
    memset(much, 'x', sizeof much - 1);
    say(much);
    _exit(0);
}

TEST(body_keeps)
{
    if (!is_child())
        return;
    _exit(write(99, "kept", 4) == 4 ? 0 : 1);
}

TEST(body_has_a_child_and_waits)
{
    if (!is_child())
        return;
    if (fork() == 0)
        say("grandchild ");
    else
        say("child ");
    for (;;)
        pause();
}

TEST(body_leaves_a_child)
{
    if (!is_child())
        return;
    if (fork() == 0)
        for (;;)
            pause();
    _exit(0);
}

TEST(child_output_and_status)
{
    CHECK(start("body_speaks", -1));
    run(20000);
    CHECK_EQ(ended, 1);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
    CHECK_STR(output, "out err ");
    CHECK_EQ(child.pid, 0);
    CHECK(start("body_speaks", -1)); /* the struct is free again */
    run(20000);
    CHECK_EQ(ended, 1);
}

TEST(child_more_than_a_pipe_holds)
{
    CHECK(start("body_floods", -1));
    run(20000);
    CHECK_EQ(ended, 1);
    CHECK_EQ(n_output, 199999);
}

TEST(child_keeps_one_descriptor)
{
    int p[2];
    char text[8] = "";
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    CHECK(dup3(p[1], 99, O_CLOEXEC) == 99);
    close(p[1]);
    CHECK(start("body_keeps", 99));
    close(99);
    run(20000);
    CHECK(ended && status == 0);
    CHECK_EQ(read(p[0], text, sizeof text), 4);
    CHECK_EQ(read(p[0], text, sizeof text), 0); /* nobody else has it */
    CHECK_STR(text, "kept");
    close(p[0]);
}

static void until(const char *word)
{
    for (int i = 0; i < 2000 && !strstr(output, word); i++)
        run(10);
    CHECK(strstr(output, word));
}

static bool group_gone(pid_t group)
{
    for (int i = 0; i < 2000; i++) {
        if (kill(-group, 0) < 0 && errno == ESRCH)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

TEST(child_signal_reaches_the_whole_group)
{
    CHECK(start("body_has_a_child_and_waits", -1));
    pid_t group = child.pid;
    until("grandchild");
    until(" "); /* both have spoken, or one */
    child_signal(&child, SIGTERM);
    run(20000);
    CHECK(ended && WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGTERM);
    CHECK(group_gone(group));
    child_signal(&child, SIGTERM); /* nobody's */
}

TEST(child_end_takes_what_it_left)
{
    CHECK(start("body_leaves_a_child", -1));
    pid_t group = child.pid;
    run(20000);
    CHECK(ended && status == 0);
    CHECK(group_gone(group));
}

TEST(child_ends_with_its_parent)
{
    int p[2];
    pid_t group = 0;
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        loop = NULL; /* not that of its parent */
        bool ok = start("body_has_a_child_and_waits", -1);
        group = child.pid;
        if (ok && write(p[1], &group, sizeof group) == sizeof group)
            run(60000);
        _exit(1);
    }
    CHECK_EQ(read(p[0], &group, sizeof group), sizeof group);
    kill(middle, SIGKILL);
    CHECK(waitpid(middle, NULL, 0) == middle);
    for (int i = 0; i < 2000 && kill(group, 0) == 0; i++)
        poll(NULL, 0, 10);
    CHECK(kill(group, 0) < 0);
    kill(-group, SIGKILL); /* its own child, which only vmlet's end would take along */
    close(p[0]);
    close(p[1]);
}
