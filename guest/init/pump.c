// SPDX-License-Identifier: MIT
/* Between the line and the command, in one poll loop that never blocks anywhere else. What comes from the
 * line is always taken (stdin has a window, so it fits into the ring here); output is read from the pipes
 * only when there is credit and room for it, so a full stdout on the host stops the command and nothing else.
 * The command's end is told when what it had written by then is on its way: a child in the background that
 * keeps its pipes open holds nothing up. */
#include "sys.h"

#include <asm/ioctls.h>

enum {
    /* a pty hands data over from a kernel thread; its end is an EIO, unless it is still held */
    PTY_DRAIN_MS = 250,
    POWER_OFF_MS = 5000, /* vmlet ends the machine on the status; without it, we do */
    SIG_CONT = 18,
    SIG_HUP = 1,
};

struct stream {
    int fd; /* -1: closed or at its end */
    uint8_t type;
    uint32_t credit;
    int left; /* after the command's end: bytes that still are to be sent */
};

static struct {
    struct child *child;
    const struct command *cmd;
    int line_fd;
    bool in_guest; /* process 1: else a test, which must not shoot at all processes or power off */
    struct frame_rx rx;
    bool rx_damaged;

    uint8_t in[STDIN_WINDOW];
    uint32_t in_head, in_used, in_owed;
    int in_fd;
    bool in_end;

    struct stream out[2];
    bool ended, told;
    int status; /* of wait4 */
    uint64_t drain_by, kill_at, off_at;
} pump;

/* ---- towards the command ---- */

static void in_close(void)
{
    if (pump.in_fd >= 0 && !pump.child->pty)
        SYS(close, pump.in_fd);
    pump.in_fd = -1;
    pump.in_used = 0;
}

static void in_write(void)
{
    while (pump.in_fd >= 0 && pump.in_used) {
        uint32_t n = sizeof pump.in - pump.in_head;
        n = n < pump.in_used ? n : pump.in_used;
        long done = SYS(write, pump.in_fd, pump.in + pump.in_head, n);
        if (done == -EAGAIN || done == -EINTR)
            return;
        if (done <= 0) {
            in_close(); /* nobody reads: no credit any more, so vmlet leaves the rest where it is */
            return;
        }
        pump.in_head = (pump.in_head + (uint32_t)done) % sizeof pump.in;
        pump.in_used -= (uint32_t)done;
        pump.in_owed += (uint32_t)done;
    }
    if (pump.in_fd >= 0 && pump.in_end) {
        static const char eof = 4; /* VEOF: a terminal has no other end */
        if (pump.child->pty)
            SYS(write, pump.in_fd, &eof, 1);
        in_close();
    }
}

static void in_credit(void)
{
    struct frame_credit credit = {FRAME_STDIN, pump.in_owed};
    if (pump.in_owed >= STDIN_WINDOW / 2 && line_control(FRAME_CREDIT, &credit, sizeof credit))
        pump.in_owed = 0;
}

static void send_signal(uint32_t signal)
{
    int group = 0;
    if (!pump.child->pid || pump.ended || signal > 64)
        return;
    if (!pump.child->pty || SYS(ioctl, pump.child->out_fd, TIOCGPGRP, &group) < 0 || group <= 1)
        group = (int)pump.child->pid;
    SYS(kill, -group, signal);
}

static void stop(uint32_t grace_ms)
{
    send_signal(pump.cmd->argc ? SIG_TERM : SIG_HUP);
    send_signal(SIG_CONT);
    pump.kill_at = now_ms() + grace_ms;
}

/* ---- from the line ---- */

static void out_close(struct stream *s)
{
    if (s->fd < 0)
        return;
    if (s->fd == pump.in_fd)
        pump.in_fd = -1;
    SYS(close, s->fd);
    s->fd = -1;
}

static void on_stdin(const uint8_t *bytes, uint32_t n)
{
    if (pump.in_fd < 0 || n > sizeof pump.in - pump.in_used)
        return;
    for (uint32_t i = 0; i < n; i++)
        pump.in[(pump.in_head + pump.in_used + i) % sizeof pump.in] = bytes[i];
    pump.in_used += n;
}

static void on_frame(void)
{
    const uint8_t *p = pump.rx.bytes + FRAME_HEAD;
    uint32_t n = pump.rx.length, word = 0;
    struct frame_credit credit;
    if (n >= sizeof word)
        memcpy(&word, p, sizeof word);
    switch (pump.rx.bytes[2]) {
    case FRAME_STDIN:
        on_stdin(p, n);
        break;
    case FRAME_STDIN_END:
        pump.in_end = true;
        break;
    case FRAME_CREDIT:
        if (n != sizeof credit)
            break;
        memcpy(&credit, p, sizeof credit);
        for (int i = 0; i < 2; i++)
            if (pump.out[i].type == credit.stream && credit.bytes <= OUTPUT_WINDOW - pump.out[i].credit)
                pump.out[i].credit += credit.bytes;
        break;
    case FRAME_CLOSED:
        for (int i = 0; i < 2; i++)
            if (pump.out[i].type == word)
                out_close(&pump.out[i]);
        break;
    case FRAME_WINSIZE:
        if (n != sizeof(struct frame_winsize))
            break;
        if (pump.child->pty && pump.out[0].fd >= 0)
            SYS(ioctl, pump.out[0].fd, TIOCSWINSZ, p);
        else if (!pump.cmd->argc)
            SYS(ioctl, 0, TIOCSWINSZ, p);
        break;
    case FRAME_SIGNAL:
        send_signal(word);
        break;
    case FRAME_STOP:
        stop(word);
        break;
    }
}

/* false: the line is gone (a test closed it). */
static bool line_read(void)
{
    static uint8_t bytes[4096];
    long n = SYS(read, pump.line_fd, bytes, sizeof bytes);
    if (n <= 0)
        return n == -EAGAIN || n == -EINTR;
    for (size_t i = 0; i < (size_t)n;) {
        bool whole;
        i += frame_rx_feed(&pump.rx, bytes + i, (size_t)n - i, &whole);
        if (whole) {
            on_frame();
            frame_rx_done(&pump.rx);
        }
    }
    if ((pump.rx.garbage || pump.rx.gaps) && !pump.rx_damaged) {
        pump.rx_damaged = true;
        line_log("input was lost on the way into the guest");
    }
    in_write();
    return true;
}

/* ---- from the command ---- */

static bool is_pty(const struct stream *s)
{
    return pump.child->pty && s == &pump.out[0];
}

static void out_read(struct stream *s)
{
    uint32_t n = line_room();
    n = n < s->credit ? n : s->credit;
    if (pump.ended && !is_pty(s) && n > (uint32_t)s->left)
        n = (uint32_t)s->left;
    if (!n)
        return;
    long got = SYS(read, s->fd, line_payload(), n);
    if (got == -EINTR)
        return;
    if (got == -EAGAIN) {
        s->left = 0;
        return;
    }
    if (got <= 0) { /* 0: the last writer is gone; EIO: the same of a pty */
        out_close(s);
        return;
    }
    s->credit -= (uint32_t)got;
    s->left -= pump.ended ? (int)got : 0;
    line_data(s->type, (uint32_t)got);
}

static bool drained(void)
{
    for (int i = 0; i < 2; i++)
        if (pump.out[i].fd >= 0 && pump.out[i].left > 0)
            return false;
    return !pump.child->pty || pump.out[0].fd < 0 || (pump.out[0].credit && now_ms() >= pump.drain_by);
}

static void reap(void)
{
    long pid;
    int status;
    while ((pid = SYS(wait4, -1, &status, 1 /* WNOHANG */, NULL)) > 0) {
        if (pid != pump.child->pid || pump.ended)
            continue;
        pump.ended = true;
        pump.status = status;
        pump.drain_by = now_ms() + PTY_DRAIN_MS;
        in_close();
        for (int i = 0; i < 2; i++) {
            pump.out[i].left = 0;
            if (pump.out[i].fd >= 0)
                SYS(ioctl, pump.out[i].fd, FIONREAD, &pump.out[i].left);
        }
    }
}

static void tell_status(uint32_t reason, uint32_t value, const char *text)
{
    struct {
        struct frame_status head;
        char text[400];
    } status = {
        .head = {reason, value}
    };
    size_t n = text_join(status.text, sizeof status.text, text, NULL);
    if (pump.in_guest) {
        SYS(kill, -1, SIG_KILL); /* so that nobody makes anything dirty after the sync */
        SYS(sync);
    }
    pump.told = line_control(FRAME_STATUS, &status, sizeof status.head + (uint32_t)n);
    pump.off_at = now_ms() + POWER_OFF_MS;
    if (pump.told)
        for (int i = 0; i < 2; i++)
            out_close(&pump.out[i]);
}

static void tell_end(void)
{
    if (!pump.cmd->argc)
        setup_end(END_POWER_OFF);
    int signal = pump.status & 0x7f;
    if (!pump.status && pump.rx_damaged) /* no success of a command that did not get what it was given */
        tell_status(STATUS_FAILED, 125, "input was lost on the way into the guest");
    else if (signal)
        tell_status(STATUS_SIGNALED, (uint32_t)signal, pump.status & 0x80 ? "core dumped" : "");
    else
        tell_status(STATUS_EXITED, (uint32_t)(pump.status >> 8) & 0xff, "");
}

/* ---- the loop ---- */

static volatile enum ending asked_to_end;
static uint64_t blocked; /* signals, but in ppoll() */

static void on_signal(int signal)
{
    /* What busybox's and sysvinit's halt, poweroff and reboot send to process 1, and the kernel for Ctrl-Alt-Del. SIGCHLD has
     * done its work when ppoll() comes back. */
    static const enum ending endings[] = {[SIG_USR1] = END_HALT,
                                          [SIG_USR2] = END_POWER_OFF,
                                          [SIG_TERM] = END_RESTART,
                                          [SIG_INT] = END_RESTART,
                                          [SIG_CHLD] = 0};
    if (endings[signal])
        asked_to_end = endings[signal];
}

__asm__(".globl signal_return\n"
        "signal_return:\n"
        "    movl $15, %eax\n" /* rt_sigreturn */
        "    syscall\n");
void signal_return(void);

void pump_signals(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } handle = {on_signal, 0x04000000 /* SA_RESTORER */, signal_return, 0},
      ignore = {(void (*)(int))1, 0, NULL, 0};
    static const uint8_t handled[] = {SIG_CHLD, SIG_USR1, SIG_USR2, SIG_TERM, SIG_INT};
    for (size_t i = 0; i < (SYS(getpid) == 1 ? sizeof handled : 1); i++) {
        SYS(rt_sigaction, handled[i], &handle, NULL, sizeof handle.mask);
        blocked |= 1ull << (handled[i] - 1);
    }
    SYS(rt_sigaction, SIG_PIPE, &ignore, NULL, sizeof ignore.mask);
    SYS(rt_sigprocmask, 0 /* SIG_BLOCK */, &blocked, NULL, sizeof blocked);
}

/* `poweroff` as the command: its signal came before its end, but may not have been let in yet. */
static bool ends_the_machine(void)
{
    static const uint64_t none;
    SYS(rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, sizeof none);
    SYS(rt_sigprocmask, 2, &blocked, NULL, sizeof blocked);
    return asked_to_end;
}

/* The next moment at which something is to be done; what is past and still undone waits for credit, not for time. */
static int timeout_ms(void)
{
    uint64_t now = now_ms(), at = 0;
    if (pump.told)
        at = pump.off_at;
    else if (!pump.ended)
        at = pump.kill_at;
    else if (pump.child->pty && pump.drain_by > now)
        at = pump.drain_by;
    if (!at)
        return -1;
    return at > now ? (int)(at - now) : 0;
}

static void wait_for_work(struct pollfd fds[4])
{
    static const uint64_t no_signals;
    bool room = line_room() >= 256;
    fds[0] = (struct pollfd){pump.line_fd, (short)(POLL_IN | (line_busy() ? POLL_OUT : 0)), 0};
    fds[1] = (struct pollfd){pump.in_used || pump.in_end ? pump.in_fd : -1, POLL_OUT, 0};
    for (int i = 0; i < 2; i++) {
        const struct stream *s = &pump.out[i];
        bool wanted = room && s->credit && (!pump.ended || is_pty(s) || s->left > 0);
        fds[2 + i] = (struct pollfd){wanted ? s->fd : -1, POLL_IN, 0};
    }
    int ms = timeout_ms();
    long ts[2] = {ms / 1000, ms % 1000 * 1000000l};
    if (SYS(ppoll, fds, 4, ms < 0 ? NULL : ts, &no_signals, sizeof no_signals) < 0)
        for (int i = 0; i < 4; i++)
            fds[i].revents = 0;
}

static bool deadlines(void)
{
    if (pump.kill_at && !pump.ended && now_ms() >= pump.kill_at) {
        pump.kill_at = 0;
        if (!pump.cmd->argc && pump.in_guest)
            setup_end(END_POWER_OFF);
        send_signal(SIG_KILL);
        SYS(kill, -pump.child->pid, SIG_KILL);
    }
    if (pump.told && now_ms() >= pump.off_at) {
        if (pump.in_guest)
            setup_end(END_POWER_OFF);
        return false;
    }
    return true;
}

static void set_up(int line_fd, struct child *child, const struct command *cmd)
{
    pump.child = child;
    pump.cmd = cmd;
    pump.line_fd = line_fd;
    pump.in_guest = SYS(getpid) == 1;
    pump.in_fd = child->in_fd;
    pump.out[0] = (struct stream){child->out_fd, FRAME_STDOUT, OUTPUT_WINDOW, 0};
    pump.out[1] = (struct stream){child->err_fd, FRAME_STDERR, OUTPUT_WINDOW, 0};
}

static void run(void)
{
    for (;;) {
        struct pollfd fds[4];
        reap();
        bool over = pump.ended && !pump.told && drained();
        if (over ? ends_the_machine() : asked_to_end) {
            SYS(kill, -1, SIG_TERM);
            setup_end(asked_to_end);
        }
        if (over)
            tell_end();
        in_credit();
        if (!deadlines() || (pump.told && !pump.in_guest && !line_busy()))
            return;
        wait_for_work(fds);
        if (fds[0].revents & POLL_OUT)
            line_flush();
        if (fds[0].revents & (POLL_IN | POLL_ERR | POLL_HUP) && !line_read()) {
            if (!pump.in_guest)
                return;
            pump.line_fd = -1;
        }
        if (fds[1].revents)
            in_write();
        for (int i = 0; i < 2; i++)
            if (fds[2 + i].revents && pump.out[i].fd >= 0)
                out_read(&pump.out[i]);
    }
}

void pump_run(int line_fd, struct child *child, const struct command *cmd)
{
    set_up(line_fd, child, cmd);
    run();
}

void pump_failed(int line_fd, struct child *child, const struct command *cmd, uint32_t value,
                 const char *text)
{
    *child = (struct child){.in_fd = -1, .out_fd = -1, .err_fd = -1};
    set_up(line_fd, child, cmd);
    tell_status(STATUS_FAILED, value, text);
    run();
}
