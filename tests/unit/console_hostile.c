// SPDX-License-Identifier: MIT
/* A guest that means harm, at the other end of COM1 and COM2: bytes that are no frames, frames that lie, output without
 * credit and without a look at LSR. vmlet goes on, says little, and can be ended at any time. The host is a child process,
 * since the console serves the process's own standard streams. */
#include "console_board.h"
#include "kvm/host/log.h"

enum {
    FRAMES = 3000,
    SECONDS = 100, /* a hang */
    LINES = 150,   /* messages: ten for each place that has some, in each WINDOW_S */
    WINDOW_S = 5,
};

static unsigned statuses, hellos, panics;
static bool polite;
static uint64_t seed;

static void put(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* the impatient guest writes on, after the host had a moment */
        for (int turns = 0; i % 16 == 0 && turns < (polite ? 1000 : 1) && !(inb(&fb, COM2 + 5) & LSR_THRE);
             turns++)
            board_pass(&fb, 1000000);
        outb(&fb, COM2, bytes[i]);
    }
}

static void frame(uint8_t type, const void *payload, size_t n)
{
    uint8_t bytes[FRAME_HEAD + FRAME_MAX];
    frame_head_put(bytes, type, guest_seq++, (uint16_t)n);
    memcpy(bytes + FRAME_HEAD, payload, n);
    put(bytes, FRAME_HEAD + n);
}

static void hello(void)
{
    frame(FRAME_HELLO, &(struct frame_hello){INIT_PROTO_VERSION, 0}, sizeof(struct frame_hello));
}

static void lie(void)
{
    static const uint8_t types[] = {FRAME_HELLO,
                                    FRAME_STDOUT,
                                    FRAME_STDERR,
                                    FRAME_LOG,
                                    FRAME_CREDIT,
                                    FRAME_STDIN,
                                    FRAME_CLOSED,
                                    FRAME_STDIN_END,
                                    FRAME_STOP,
                                    FRAME_WINSIZE,
                                    FRAME_SIGNAL,
                                    0,
                                    7,
                                    FRAME_STDOUT,
                                    255};
    uint8_t bytes[FRAME_HEAD + FRAME_MAX];
    uint64_t r = test_rand(&seed);
    size_t n = r >> 8 & 7 ? r >> 16 & 31 : (r >> 16) % (FRAME_MAX + 1);

    for (size_t i = 0; i < n; i++)
        bytes[FRAME_HEAD + i] = (uint8_t)test_rand(&seed);
    frame_head_put(bytes, types[r % sizeof types], (uint8_t)(r >> 32 & 3 ? guest_seq++ : r >> 40),
                   (uint16_t)n);
    switch (r >> 48 & 15) {
    case 0: /* a wrong check */
        bytes[6] ^= 1;
        break;
    case 1: /* more promised than allowed, or than comes */
        frame_head_put(bytes, types[r % sizeof types], guest_seq, (uint16_t)(r >> 20));
        break;
    case 2: /* cut short */
        n /= 2;
        break;
    case 3: /* no frame at all */
        memset(bytes, (int)(r >> 56), FRAME_HEAD);
        break;
    default:
        break;
    }
    put(bytes, FRAME_HEAD + n);
    inb(&fb, (uint16_t)(COM2 + (r >> 24 & 7))); /* now and then it even takes a byte */
}

static void on_watch(void *ctx, enum watch_event event, const char *line)
{
    (void)ctx, (void)line;
    panics += event == WATCH_PANIC;
}

static void on_hello(void *ctx)
{
    (void)ctx;
    hellos++;
}

static void on_status(void *ctx, const struct channel_status *status)
{
    (void)ctx;
    statuses++;
    for (const char *p = status->text; *p; p++)
        CHECK((unsigned char)*p >= 0x20);
}

/* drains: somebody takes stdout */
static int host(bool drains)
{
    struct console *c = console_on_board(on_watch, on_hello, on_status);
    if (!c)
        return 1;
    alarm(SECONDS);
    for (int i = 0; i < 50; i++)
        lie(); /* before hello */
    polite = true;
    for (int i = 0; i < FRAME_HEAD + FRAME_MAX; i++)
        put((const uint8_t *)"", 1); /* whatever was promised above has come */
    hello();
    hello();
    for (int i = 0; i < FRAMES; i++) {
        polite = i & 64 && drains;
        lie();
    }
    /* COM1: a line without end, and one that claims much */
    for (int i = 0; i < 100000; i++)
        outb(&fb, COM1, i % 7 ? 0x1b : 0xff);
    board_pass(&fb, 10000000);

    polite = drains;
    for (int i = 0; i < FRAME_HEAD + FRAME_MAX; i++)
        put((const uint8_t *)"", 1);
    for (int i = 0; i < 3; i++) { /* the status, with a long text; then again, and more after it */
        uint8_t status[FRAME_MAX] = {STATUS_FAILED, 0, 0, 0, 127};
        memset(status + 8, 0x1b, sizeof status - 8);
        frame(FRAME_STATUS, status, sizeof status);
        hello();
        for (int k = 0; k < 100; k++)
            lie();
    }
    board_pass(&fb, 10000000);
    console_drain(c, on_drained);
    time_t end = time(NULL) + SECONDS / 2;
    while (drains && !drained && console_moment(end))
        ;
    console_free(c); /* whatever waits: it does not */
    board_break(&fb);
    if (hellos != 1 || statuses > 1 || panics)
        return 2;
    return drains && (!drained || !statuses) ? 3 : 0;
}

static void attack(bool drains, uint64_t with)
{
    static char said[1 << 17];
    int out[2], err[2], status = -1;
    CHECK(!pipe(out) && !pipe(err));
    seed = with;
    time_t began = time(NULL);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(drains ? null : out[1], 1); /* a pipe that nobody reads fills up */
        dup2(err[1], 2);
        log_set_level(LOG_LEVEL_WARNING);
        _exit(host(drains));
    }
    close(err[1]);
    size_t n = 0;
    for (ssize_t r; n < sizeof said - 1 && (r = read(err[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)r;
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (status)
        printf("%.*s\n", (int)n, said);
    CHECK_EQ(status, 0);
    unsigned messages = 0;
    static const char sign[] = "vmlet: ";
    for (size_t i = 0; i + sizeof sign - 1 <= n; i++)
        messages += !memcmp(said + i, sign, sizeof sign - 1);
    CHECK(messages > 0);
    CHECK(messages <= LINES * (1 + (time(NULL) - began + 1) / WINDOW_S));
    close(err[0]);
    close(out[0]);
    close(out[1]);
}

TEST(X8_console_hostile_guest_says_little_and_hangs_nobody)
{
    for (uint64_t with = 1; with <= test_scale(2); with++)
        attack(true, with);
}

TEST(S3_console_hostile_guest_and_nobody_reads_its_output)
{
    for (uint64_t with = 100; with < 100 + test_scale(2); with++)
        attack(false, with);
}
