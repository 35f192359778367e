// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/log.h"
#include "kvm/host/signals.h"
#include "kvm/host/term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* --- escapes --- */

static struct term_escape esc;

/* Feeds text in pieces of n; returns what is for the guest, with `!` for the end. */
static const char *feed(const char *text, size_t n)
{
    static char out[64];
    size_t at = 0, len = strlen(text);
    bool quit = false;
    esc = (struct term_escape){0};
    for (size_t i = 0; i < len && !quit; i += n) {
        uint8_t piece[64];
        size_t m = len - i < n ? len - i : n;
        memcpy(piece, text + i, m);
        m = term_escape_filter(&esc, piece, m, &quit);
        memcpy(out + at, piece, m);
        at += m;
    }
    if (quit)
        out[at++] = '!';
    out[at] = 0;
    return out;
}

TEST(term_escapes)
{
    static const struct {
        const char *in, *out;
    } t[] = {
        {"abc",              "abc"     },
        {"\x01x",            "!"       },
        {"ab\x01xcd",        "ab!"     },
        {"\x01\x01",         "\x01"    },
        {"\x01\x01x",        "\x01x"   },
        {"\x01q",            "q"       },
        {"\x01X",            "X"       },
        {"\x01\x01\x01x",    "\x01!"   },
        {"x\x01",            "x"       },
        {"\x01q\x01xz",      "q!"      },
        {"\x01\x01\x01\x01", "\x01\x01"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        for (size_t n = 1; n < 5; n++)
            CHECK_STR(feed(t[i].in, n), t[i].out);
}

/* --- a terminal of our own --- */

static int master, slave;

static void open_pty(void)
{
    master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        SKIP("no terminals of one's own (/dev/ptmx, /dev/pts)");
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
}

static bool echoes(int fd)
{
    struct termios t;
    return !tcgetattr(fd, &t) && (t.c_lflag & ECHO) && (t.c_lflag & ICANON) && (t.c_lflag & ISIG) &&
           (t.c_oflag & OPOST);
}

TEST(term_raw_restore_and_size)
{
    uint16_t columns, rows;
    open_pty();
    CHECK(echoes(slave));
    CHECK(term_raw(slave) && term_raw(slave));
    struct termios t;
    CHECK(!tcgetattr(slave, &t));
    CHECK(!(t.c_lflag & (ECHO | ICANON | ISIG)) && !(t.c_iflag & ICRNL));
    CHECK(t.c_oflag & OPOST); /* our own messages need it */
    term_restore();
    CHECK(echoes(slave));
    term_restore(); /* twice is harmless */
    term_continued();
    CHECK(!echoes(slave));
    term_restore();
    CHECK(echoes(slave));
    CHECK(!term_size(slave, &columns, &rows)); /* 0 x 0: does not know */
    CHECK(!ioctl(master, TIOCSWINSZ, &(struct winsize){.ws_row = 24, .ws_col = 80}));
    CHECK(term_size(slave, &columns, &rows) && columns == 80 && rows == 24);
    close(master), close(slave);
    int null = open("/dev/null", O_RDWR);
    CHECK(!term_raw(null) && !term_size(null, &columns, &rows));
    close(null);
}

/* Runs fn in a child that is the foreground job of a session on the pty, under a leader that plays the shell. The leader
 * continues the job when it stops, after a look at the terminal. Returns the job's wait status, or -1 - line. */
static int report[2];
static int shell(void (*job)(void))
{
    int status = 0;
    pid_t leader, pid;
    fflush(stdout);
    leader = fork();
    CHECK(leader >= 0);
    if (!leader) {
        alarm(60);
        if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0 || !echoes(slave))
            _exit(201);
        signal(SIGTTOU, SIG_IGN);
        pid = fork();
        if (!pid) {
            signal(SIGTTOU, SIG_DFL);
            setpgid(0, 0);
            char c;
            if (read(report[0], &c, 1) != 1) /* until we are in the foreground */
                _exit(202);
            job();
            _exit(0);
        }
        setpgid(pid, pid);
        if (tcsetpgrp(slave, pid) < 0 || write(report[1], "g", 1) != 1)
            _exit(203);
        for (;;) {
            if (waitpid(pid, &status, WUNTRACED) != pid)
                _exit(204);
            if (!echoes(slave))
                _exit(205); /* whatever happened, the terminal is as it was */
            if (!WIFSTOPPED(status))
                _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
            if (tcsetpgrp(slave, getpgrp()) < 0 || tcsetpgrp(slave, pid) < 0)
                _exit(206);
            kill(pid, SIGCONT);
        }
    }
    CHECK(waitpid(leader, &status, 0) == leader);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct loop *loop;
static int windows, ended_by;

static void on_window(void *arg)
{
    (void)arg;
    windows++;
    loop_stop(loop);
}
static void on_end(void *arg, int sig)
{
    (void)arg;
    ended_by = sig;
    loop_stop(loop);
}

static void job_begin(void)
{
    static const struct signals_ops ops = {on_end, on_window};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signals_block();
    loop = loop_new(NULL);
    if (!loop || !signals_watch(loop, &ops, NULL) || !term_raw(slave) || echoes(slave))
        _exit(210);
}

static void job_stops(void)
{
    job_begin();
    kill(getpid(), SIGTSTP);
    while (!windows) /* after SIGCONT the size may be another */
        loop_run(loop);
    if (echoes(slave))
        _exit(211);          /* raw again */
    kill(getpid(), SIGSTOP); /* cannot be seen coming: the shell's own problem until SIGCONT */
    _exit(0);
}

static void job_window(void)
{
    job_begin();
    if (ioctl(slave, TIOCSWINSZ, &(struct winsize){.ws_row = 30, .ws_col = 90}) < 0)
        _exit(212);
    loop_run(loop);
    term_restore();
    _exit(windows == 1 ? 0 : 213);
}

static void job_terminated(void)
{
    job_begin();
    kill(getpid(), SIGTERM);
    loop_run(loop);
    if (ended_by != SIGTERM)
        _exit(214);
    signals_unwatch();
    signal_die(SIGTERM);
}

static void job_aborts(void)
{
    job_begin();
    abort();
}

static void job_dies(void)
{
    job_begin();
    dup2(report[1], STDERR_FILENO);
    die("set-up: failed");
}

static void job_killed_from_thread(void)
{
    job_begin();
    kill(getpid(), SIGSYS);
    pause();
}

TEST(X7_term_put_right_whatever_happens)
{
    open_pty();
    CHECK(!pipe(report));
    CHECK_EQ(shell(job_window), 0);
    CHECK_EQ(shell(job_terminated), 128 + SIGTERM);
    CHECK_EQ(shell(job_aborts), 128 + SIGABRT);
    CHECK_EQ(shell(job_killed_from_thread), 128 + SIGSYS);
    CHECK_EQ(shell(job_dies), 125);
    char text[64];
    CHECK(read(report[0], text, sizeof text) > 0);
    CHECK(!strncmp(text, "vmlet: set-up: failed\n", 22));
    close(master), close(slave);
    close(report[0]), close(report[1]);
}

TEST(X7_term_stop_and_continue)
{
    open_pty();
    CHECK(!pipe(report));
    /* 205: after SIGSTOP the terminal is raw still, as nobody can help; SIGTSTP before that left it as it was. */
    CHECK_EQ(shell(job_stops), 205);
    close(master), close(slave);
    close(report[0]), close(report[1]);
}

/* --- signals without a terminal --- */

static int in_child(void (*fn)(void))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        alarm(60);
        fn();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static const struct signals_ops quiet_ops = {on_end, NULL};

static void each_ends(void)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    setsid(); /* an orphaned group: nobody could continue us, so SIGTSTP must not stop */
    signals_block();
    loop = loop_new(NULL);
    if (!signals_watch(loop, &quiet_ops, NULL))
        _exit(1);
    for (int i = 0; i < 4; i++) {
        kill(getpid(), sigs[i]);
        loop_run(loop);
        if (ended_by != sigs[i])
            _exit(2);
    }
    kill(getpid(), SIGWINCH); /* nobody asked for it */
    kill(getpid(), SIGCONT);
    kill(getpid(), SIGPIPE);
    kill(getpid(), SIGTSTP);
    while (loop_step(loop))
        ;
    int p[2];
    if (pipe(p) || close(p[0]) || write(p[1], "x", 1) != -1 || errno != EPIPE)
        _exit(3);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal_die(SIGQUIT);
}

static void under_nohup(void)
{
    signal(SIGHUP, SIG_IGN);
    signals_block();
    loop = loop_new(NULL);
    if (!signals_watch(loop, &quiet_ops, NULL))
        _exit(1);
    kill(getpid(), SIGHUP);
    while (loop_step(loop))
        ;
    _exit(ended_by ? 2 : 0);
}

static void child_is_clean(void)
{
    signals_block();
    signals_child();
    kill(getpid(), SIGTERM);
    _exit(1);
}

TEST(X7_signals_on_the_loop)
{
    CHECK_EQ(in_child(each_ends), 128 + SIGQUIT);
    CHECK_EQ(in_child(under_nohup), 0);
    CHECK_EQ(in_child(child_is_clean), 128 + SIGTERM);
}
