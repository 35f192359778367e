// SPDX-License-Identifier: MIT
/* Standard streams to a guest and back, over the console, the channel and a COM2 of a board without KVM. The guest's side is a
 * few lines here: it echoes its stdin to its stdout, as `cat` would. Each test's host is a child process, since the console
 * serves the process's own standard streams. */
#include "console_board.h"

#include <signal.h>

enum {
    INPUT = 100000,
    SECONDS = 100, /* a hang */
};

static struct frame_rx rx;
static bool status_seen;

static void guest_send(uint8_t type, const void *payload, size_t n)
{
    uint8_t bytes[FRAME_HEAD + FRAME_MAX];
    frame_head_put(bytes, type, guest_seq++, (uint16_t)n);
    if (n)
        memcpy(bytes + FRAME_HEAD, payload, n);
    for (size_t i = 0; i < FRAME_HEAD + n;) {
        while (!(inb(&fb, COM2 + 5) & LSR_THRE))
            board_pass(&fb, 1000000);
        for (int k = 0; k < 16 && i < FRAME_HEAD + n; k++)
            outb(&fb, COM2, bytes[i++]);
    }
}

/* One turn of the guest: takes what its FIFO holds; true when its stdin has ended. */
static bool guest_turn(void)
{
    bool ended = false;
    while (inb(&fb, COM2 + 5) & LSR_DR) {
        uint8_t byte = inb(&fb, COM2);
        bool whole;
        frame_rx_feed(&rx, &byte, 1, &whole);
        if (!whole)
            continue;
        if (rx.bytes[2] == FRAME_STDIN) {
            struct frame_credit credit = {FRAME_STDIN, rx.length};
            guest_send(FRAME_STDOUT, rx.bytes + FRAME_HEAD, rx.length);
            guest_send(FRAME_CREDIT, &credit, sizeof credit);
        }
        ended |= rx.bytes[2] == FRAME_STDIN_END;
        frame_rx_done(&rx);
    }
    return ended;
}

static void on_watch(void *ctx, enum watch_event event, const char *line)
{
    (void)ctx, (void)event, (void)line;
}

static void on_hello(void *ctx)
{
    (void)ctx;
}

static void on_status(void *ctx, const struct channel_status *status)
{
    (void)ctx;
    status_seen = status->status == 5;
}

/* The host: 0 when all went well. */
static int host(void)
{
    struct console *c = console_on_board(on_watch, on_hello, on_status);
    if (!c)
        return 1;
    outb(&fb, COM2 + 3, 0x03);
    outb(&fb, COM2 + 4, 0x0b);
    guest_send(FRAME_HELLO, &(struct frame_hello){INIT_PROTO_VERSION, 0}, sizeof(struct frame_hello));
    time_t end = time(NULL) + SECONDS;
    bool ended = false;
    while (!ended) {
        ended = guest_turn();
        if (!console_moment(end))
            return 2;
    }
    guest_send(FRAME_STATUS, &(struct frame_status){STATUS_EXITED, 5}, sizeof(struct frame_status));
    board_pass(&fb, 1000000);
    console_drain(c, on_drained);
    while (!drained)
        if (!console_moment(end))
            return 3;
    if (console_failed(c))
        return 5;
    console_free(c);
    board_break(&fb);
    return status_seen ? 0 : 4;
}

TEST(S2_console_stdin_larger_than_any_buffer)
{
    static uint8_t input[INPUT], output[INPUT + 1];
    char path[] = "/tmp/vmlet-console-XXXXXX";
    int in[2], out = mkstemp(path), status;
    uint64_t seed = 5;
    CHECK(out >= 0 && !pipe(in));
    unlink(path);
    for (size_t i = 0; i < INPUT; i++)
        input[i] = (uint8_t)test_rand(&seed);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        dup2(in[0], STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        close(in[1]);
        _exit(host());
    }
    close(in[0]);
    signal(SIGPIPE, SIG_IGN);
    for (size_t at = 0; at < INPUT;) {
        ssize_t n = write(in[1], input + at, INPUT - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(in[1]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(pread(out, output, sizeof output, 0), INPUT);
    CHECK(!memcmp(input, output, INPUT));
    close(out);
}

/* A command whose output was damaged has reported success: who asks the console whether all went well is told. */
static int damaged_host(void)
{
    struct console *c = console_on_board(on_watch, on_hello, on_status);
    time_t end = time(NULL) + SECONDS;
    if (!c)
        return 1;
    outb(&fb, COM2 + 3, 0x03);
    outb(&fb, COM2 + 4, 0x0b);
    guest_send(FRAME_HELLO, &(struct frame_hello){INIT_PROTO_VERSION, 0}, sizeof(struct frame_hello));
    guest_send(FRAME_STDOUT, "ab", 2);
    board_pass(&fb, 1000000);
    if (console_failed(c))
        return 2;
    for (const char *p = "[    1.0] the kernel's\n"; *p; p++)
        outb(&fb, COM2, (uint8_t)*p);
    guest_send(FRAME_STATUS, &(struct frame_status){STATUS_EXITED, 5}, sizeof(struct frame_status));
    board_pass(&fb, 1000000);
    console_drain(c, on_drained);
    while (!drained)
        if (!console_moment(end))
            return 3;
    const char *failed = console_failed(c);
    int status = !status_seen ? 4 : failed && strstr(failed, "COM2") ? 0 : 5;
    console_free(c);
    board_break(&fb);
    return status;
}

TEST(console_damaged_output_is_no_success)
{
    int null = open("/dev/null", O_RDWR), status;
    CHECK(null >= 0);
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        _exit(damaged_host());
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    close(null);
}
