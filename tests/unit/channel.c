// SPDX-License-Identifier: MIT
/* The host's end of the line against frames made by hand: good ones in pieces of every size, hostile ones, and noise. */
#include "test.h"

#include "guest/channel.h"
#include "guest/init_proto.h"
#include "kvm/host/log.h"

enum {
    KEEP = 1 << 20
};

struct host {
    uint8_t text[2][KEEP];
    size_t bytes[2], limit[2]; /* limit: takes that much in all */
    unsigned hellos, statuses, messages, tx_ready, stdin_room;
    struct channel_status status;
    char message[512];
    struct channel *close_in_output;
};

static struct host h;
static uint8_t wire[KEEP];
static size_t wire_size;
static uint8_t seq;

static size_t on_output(void *ctx, enum channel_stream s, const void *bytes, size_t n)
{
    CHECK(ctx == &h);
    size_t room = h.limit[s] - h.bytes[s];
    n = n < room ? n : room;
    memcpy(h.text[s] + h.bytes[s], bytes, n);
    h.bytes[s] += n;
    if (h.close_in_output)
        channel_close_output(h.close_in_output, s);
    return n;
}

static void on_hello(void *ctx)
{
    (void)ctx;
    h.hellos++;
}

static void on_status(void *ctx, const struct channel_status *status)
{
    (void)ctx;
    h.status = *status;
    h.statuses++;
}

static void on_message(void *ctx, const char *text)
{
    (void)ctx;
    h.messages++;
    snprintf(h.message, sizeof h.message, "%s", text);
}

static void on_tx_ready(void *ctx)
{
    (void)ctx;
    h.tx_ready++;
}

static void on_stdin_room(void *ctx)
{
    (void)ctx;
    h.stdin_room++;
}

static const struct channel_ops ops = {on_output,  on_hello,    on_status,
                                       on_message, on_tx_ready, on_stdin_room};

static struct channel *start(void)
{
    memset(&h, 0, sizeof h);
    h.limit[0] = h.limit[1] = KEEP;
    wire_size = 0;
    seq = 0;
    log_set_level(LOG_LEVEL_ERROR);
    struct channel *ch = channel_new(&ops, &h);
    CHECK(ch);
    return ch;
}

static void frame(uint8_t type, const void *payload, size_t n)
{
    frame_head_put(wire + wire_size, type, seq++, (uint16_t)n);
    if (n)
        memcpy(wire + wire_size + FRAME_HEAD, payload, n);
    wire_size += FRAME_HEAD + n;
}

static void hello(void)
{
    frame(FRAME_HELLO, &(struct frame_hello){INIT_PROTO_VERSION, 0}, sizeof(struct frame_hello));
}

static void status(uint32_t reason, uint32_t value, const char *text)
{
    uint8_t bytes[300];
    memcpy(bytes, &(struct frame_status){reason, value}, 8);
    memcpy(bytes + 8, text, strlen(text));
    frame(FRAME_STATUS, bytes, 8 + strlen(text));
}

static void noise(const char *text)
{
    memcpy(wire + wire_size, text, strlen(text));
    wire_size += strlen(text);
}

static void send_all(struct channel *ch)
{
    CHECK_EQ(channel_rx(ch, wire, wire_size), wire_size);
    wire_size = 0;
}

/* The frames that come out, checked for their form; a summary as text: type:length,… */
static uint8_t tx_seq;
static const char *sent(struct channel *ch)
{
    static char text[4096];
    static uint8_t bytes[256 * 1024];
    struct frame_rx rx = {0};
    size_t n = 0, part;
    *text = 0;
    while ((part = channel_tx(ch, bytes + n, 7))) /* in small pieces */
        n += part;
    CHECK(!channel_tx_pending(ch));
    for (size_t i = 0; i < n;) {
        bool whole;
        i += frame_rx_feed(&rx, bytes + i, n - i, &whole);
        if (!whole)
            break;
        CHECK_EQ(rx.bytes[3], tx_seq);
        tx_seq++;
        uint32_t word = 0;
        memcpy(&word, rx.bytes + FRAME_HEAD + (rx.length >= 8 ? 4 : 0), rx.length >= 4 ? 4 : 0);
        if (rx.bytes[2] == FRAME_STDIN)
            word = rx.bytes[FRAME_HEAD];
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%u/%u=%u", at ? " " : "", rx.bytes[2], rx.length, word);
        frame_rx_done(&rx);
    }
    CHECK_EQ(rx.garbage, 0);
    CHECK_EQ(rx.have, 0);
    return text;
}

TEST(channel_streams_and_status_in_pieces_of_any_size)
{
    for (size_t piece = 1; piece < 40; piece++) {
        struct channel *ch = start();
        hello();
        frame(FRAME_STDOUT, "one ", 4);
        frame(FRAME_STDERR, "bad", 3);
        frame(FRAME_STDOUT, "two\0\xff", 5);
        frame(FRAME_STDOUT, "", 0);
        status(STATUS_EXITED, 42, "");
        for (size_t i = 0; i < wire_size; i += piece) {
            size_t n = piece < wire_size - i ? piece : wire_size - i;
            CHECK(channel_room(ch) >= 1);
            CHECK_EQ(channel_rx(ch, wire + i, n), n);
        }
        CHECK_EQ(h.hellos, 1);
        CHECK_EQ(h.bytes[0], 9);
        CHECK(!memcmp(h.text[0], "one two\0\xff", 9));
        CHECK_EQ(h.bytes[1], 3);
        CHECK_EQ(h.statuses, 1);
        CHECK_EQ(h.status.status, 42);
        CHECK(channel_status_seen(ch) && channel_drained(ch) && !channel_damaged(ch));
        CHECK_EQ(h.messages, 0);
        channel_free(ch);
    }
}

TEST(channel_status_forms)
{
    static const struct {
        uint32_t reason, value;
        unsigned statuses, status;
    } rows[] = {
        {0,          0,   1, 0  },
        {0,          255, 1, 255},
        {0,          256, 0, 0  },
        {1,          9,   1, 137},
        {1,          0,   0, 0  },
        {1,          128, 0, 0  },
        {2,          127, 1, 127},
        {2,          126, 1, 126},
        {2,          125, 1, 125},
        {2,          0,   0, 0  },
        {3,          0,   0, 0  },
        {0xffffffff, 0,   0, 0  },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct channel *ch = start();
        hello();
        status(rows[i].reason, rows[i].value, "why \x1b[2J\n");
        send_all(ch);
        CHECK_EQ(h.statuses, rows[i].statuses);
        CHECK_EQ(h.status.status, rows[i].status);
        if (h.statuses)
            CHECK_STR(h.status.text, "why ?[2J?"); /* nothing that a terminal would obey */
        channel_free(ch);
    }
}

TEST(channel_second_status_is_ignored)
{
    struct channel *ch = start();
    hello();
    status(STATUS_EXITED, 3, "");
    status(STATUS_EXITED, 0, "");
    frame(FRAME_STDOUT, "late", 4);
    send_all(ch);
    CHECK_EQ(h.statuses, 1);
    CHECK_EQ(h.status.status, 3);
    CHECK_EQ(h.bytes[0], 0);
    channel_free(ch);
}

TEST(channel_nothing_before_hello)
{
    struct channel *ch = start();
    frame(FRAME_STDOUT, "x", 1);
    status(STATUS_EXITED, 0, "");
    frame(FRAME_HELLO, &(struct frame_hello){INIT_PROTO_VERSION + 1, 0}, sizeof(struct frame_hello));
    frame(FRAME_HELLO, "", 0);
    send_all(ch);
    CHECK_EQ(h.hellos + h.bytes[0] + h.statuses, 0);
    channel_winsize(ch, 1, 2, 0, 0);
    channel_winsize(ch, 3, 4, 0, 0);
    channel_signal(ch, 10);
    channel_signal(ch, 10);
    channel_signal(ch, 0);
    channel_signal(ch, 65);
    channel_stop(ch, 77);
    channel_stdin_end(ch);
    CHECK_EQ(channel_stdin_room(ch), 0);
    CHECK_EQ(channel_stdin(ch, "x", 1), 0);
    CHECK(!channel_tx_pending(ch));
    CHECK_EQ(channel_tx(ch, wire, 100), 0);
    tx_seq = 0;
    hello();
    send_all(ch);
    CHECK(h.tx_ready >= 1);
    CHECK_STR(sent(ch), "21/4=77 20/4=10 19/8=0 17/0=0");
    channel_free(ch);
}

TEST(channel_garbage_before_hello_is_harmless)
{
    struct channel *ch = start();
    noise("Booting...\r\n\xf5\xf5\xc1\xf5\xc1\x01");
    hello();
    frame(FRAME_STDOUT, "ok", 2);
    send_all(ch);
    CHECK_EQ(h.bytes[0], 2);
    CHECK(!channel_damaged(ch));
    channel_free(ch);
}

TEST(channel_garbage_after_hello_is_told_and_passed)
{
    struct channel *ch = start();
    hello();
    frame(FRAME_STDOUT, "a", 1);
    noise("[    1.0] kernel: hello\n\xf5\xc1");
    frame(FRAME_STDOUT, "b", 1);
    status(STATUS_EXITED, 4, "");
    send_all(ch);
    CHECK(!memcmp(h.text[0], "ab", 2));
    CHECK_EQ(h.status.status, 4);
    CHECK(channel_damaged(ch));
    CHECK_EQ(h.messages, 1);
    CHECK(strstr(h.message, "ttyS1"));
    channel_free(ch);
}

TEST(channel_lost_bytes_are_told)
{
    struct channel *ch = start();
    hello();
    frame(FRAME_STDOUT, "abcdef", 6);
    wire_size -= 2; /* two bytes are gone */
    frame(FRAME_STDOUT, "next", 4);
    frame(FRAME_STDOUT, "after", 5);
    status(STATUS_EXITED, 0, "");
    send_all(ch);
    CHECK(channel_damaged(ch));
    CHECK_EQ(h.statuses, 1);
    CHECK(h.bytes[0] >= 5 && !memcmp(h.text[0] + h.bytes[0] - 5, "after", 5));
    channel_free(ch);

    ch = start();
    hello();
    frame(FRAME_STDOUT, "one", 3);
    wire_size -= FRAME_HEAD + 3; /* a whole frame is gone */
    frame(FRAME_STDOUT, "two", 3);
    send_all(ch);
    CHECK(channel_damaged(ch));
    channel_free(ch);
}

TEST(channel_full_stdout_keeps_and_resumes)
{
    struct channel *ch = start();
    uint8_t block[FRAME_MAX];
    hello();
    send_all(ch);
    h.limit[0] = 1000;
    for (unsigned i = 0; i < OUTPUT_WINDOW / FRAME_MAX; i++) {
        for (unsigned k = 0; k < FRAME_MAX; k++)
            block[k] = (uint8_t)((i * FRAME_MAX + k) * 31 >> 3);
        frame(FRAME_STDOUT, block, FRAME_MAX);
        frame(FRAME_STDERR, "e", 1);
        send_all(ch);
    }
    CHECK(channel_room(ch) > 0); /* a guest within its window never waits */
    CHECK_EQ(h.bytes[0], 1000);
    CHECK_EQ(h.bytes[1], OUTPUT_WINDOW / FRAME_MAX);
    status(STATUS_EXITED, 0, "");
    send_all(ch);
    CHECK_EQ(h.statuses, 1);
    CHECK(!channel_drained(ch));
    for (size_t limit = 1000; !channel_drained(ch); limit += 777) {
        h.limit[0] = limit;
        channel_resume(ch, CHANNEL_STDOUT);
    }
    CHECK_EQ(h.bytes[0], OUTPUT_WINDOW);
    for (unsigned i = 0; i < OUTPUT_WINDOW; i++)
        CHECK(h.text[0][i] == (uint8_t)(i * 31 >> 3));
    tx_seq = 0;
    CHECK_STR(sent(ch), "6/8=65536"); /* the whole window, given back at once */
    channel_free(ch);
}

TEST(S2_channel_guest_overruns_its_window)
{
    struct channel *ch = start();
    static const uint8_t block[FRAME_MAX];
    size_t taken = 0;
    hello();
    send_all(ch);
    h.limit[0] = 0;
    for (unsigned i = 0; i < 2 * OUTPUT_WINDOW / FRAME_MAX; i++)
        frame(FRAME_STDOUT, block, FRAME_MAX);
    frame(FRAME_STDERR, "e", 1);
    taken = channel_rx(ch, wire, wire_size);
    CHECK(taken < wire_size);
    CHECK_EQ(channel_room(ch), 0);
    CHECK_EQ(channel_rx(ch, wire + taken, wire_size - taken), 0);
    h.limit[0] = 5000; /* makes room, and the rest is taken without a loss */
    channel_resume(ch, CHANNEL_STDOUT);
    CHECK(channel_room(ch) > 0);
    h.limit[0] = KEEP;
    channel_resume(ch, CHANNEL_STDOUT);
    while (taken < wire_size)
        taken += channel_rx(ch, wire + taken, wire_size - taken);
    CHECK_EQ(h.bytes[0], 2 * OUTPUT_WINDOW);
    CHECK_EQ(h.bytes[1], 1);
    CHECK(!channel_damaged(ch));
    channel_free(ch);
}

TEST(channel_credit_for_output)
{
    struct channel *ch = start();
    static const uint8_t block[FRAME_MAX];
    hello();
    send_all(ch);
    tx_seq = 0;
    for (unsigned i = 0; i < 3; i++)
        frame(FRAME_STDERR, block, FRAME_MAX);
    send_all(ch);
    CHECK_STR(sent(ch), ""); /* not for each little thing */
    frame(FRAME_STDERR, block, FRAME_MAX);
    send_all(ch);
    CHECK_EQ(h.tx_ready, 1);
    CHECK_STR(sent(ch), "6/8=16384");
    channel_free(ch);
}

TEST(channel_stdin_within_its_window)
{
    struct channel *ch = start();
    static uint8_t block[2 * STDIN_WINDOW];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i / 4096);
    hello();
    send_all(ch);
    CHECK_EQ(h.stdin_room, 1);
    tx_seq = 0;
    CHECK_EQ(channel_stdin_room(ch), STDIN_WINDOW);
    CHECK_EQ(channel_stdin(ch, block, sizeof block), STDIN_WINDOW);
    CHECK_EQ(channel_stdin(ch, block, 1), 0);
    CHECK_STR(sent(ch), "16/4096=0 16/4096=1 16/4096=2 16/4096=3");
    CHECK_EQ(channel_stdin_room(ch), 0);
    frame(FRAME_CREDIT, &(struct frame_credit){FRAME_STDIN, 5000}, 8);
    send_all(ch);
    CHECK_EQ(h.stdin_room, 2);
    CHECK_EQ(channel_stdin(ch, block + STDIN_WINDOW, STDIN_WINDOW), 5000);
    channel_stdin_end(ch);
    CHECK_EQ(channel_stdin_room(ch), 0);
    CHECK_STR(sent(ch), "16/4096=4 16/904=5 17/0=0");
    channel_free(ch);
}

TEST(channel_bad_credit_gives_nothing)
{
    struct channel *ch = start();
    hello();
    frame(FRAME_CREDIT, &(struct frame_credit){FRAME_STDIN, 1}, 8); /* above the window */
    frame(FRAME_CREDIT, &(struct frame_credit){FRAME_STDIN, 0xffffffff}, 8);
    frame(FRAME_CREDIT, &(struct frame_credit){FRAME_STDOUT, 0}, 8);
    frame(FRAME_CREDIT, "abc", 3);
    send_all(ch);
    CHECK_EQ(channel_stdin_room(ch), STDIN_WINDOW);
    CHECK_EQ(channel_stdin(ch, "abc", 3), 3);
    frame(FRAME_CREDIT, &(struct frame_credit){FRAME_STDIN, 1}, 8); /* still unsent */
    send_all(ch);
    CHECK_EQ(channel_stdin_room(ch), STDIN_WINDOW - 3);
    channel_free(ch);
}

TEST(channel_closed_output)
{
    struct channel *ch = start();
    static const uint8_t block[FRAME_MAX];
    hello();
    send_all(ch);
    tx_seq = 0;
    h.limit[0] = 10;
    for (int i = 0; i < 5; i++)
        frame(FRAME_STDOUT, block, FRAME_MAX);
    send_all(ch);
    channel_close_output(ch, CHANNEL_STDOUT);
    channel_close_output(ch, CHANNEL_STDOUT);
    CHECK(channel_drained(ch));
    CHECK_STR(sent(ch), "18/4=2 6/8=20480");
    frame(FRAME_STDOUT, block, FRAME_MAX);
    send_all(ch);
    CHECK(channel_drained(ch));
    channel_free(ch);

    ch = start(); /* from inside the callback, as an EPIPE would */
    hello();
    send_all(ch);
    h.close_in_output = ch;
    h.limit[0] = 3;
    frame(FRAME_STDOUT, "abcdef", 6);
    send_all(ch);
    CHECK(channel_drained(ch));
    CHECK_EQ(h.bytes[0], 3);
    channel_free(ch);
}

TEST(channel_log_of_init)
{
    struct channel *ch = start();
    char big[FRAME_MAX];
    memset(big, 'm', sizeof big);
    hello();
    frame(FRAME_LOG, "a word\n\x1b", 8);
    send_all(ch);
    CHECK_STR(h.message, "a word??");
    frame(FRAME_LOG, big, sizeof big);
    send_all(ch);
    CHECK_EQ(strlen(h.message), 511);
    frame(FRAME_LOG, "a\0b\xc2\x9b.", 6);
    send_all(ch);
    CHECK_STR(h.message, "a?b?"
                         "?.");
    channel_free(ch);
}

/* Frames, broken frames and noise, with an output that takes what it likes: nothing grows, stops for good, or crashes. */
TEST(channel_fuzz)
{
    uint64_t seed = 1;
    for (unsigned long round = 0; round < test_scale(200); round++) {
        struct channel *ch = start();
        uint8_t payload[FRAME_MAX];
        if (round % 8)
            hello();
        for (int i = 0; i < 60; i++) {
            size_t n = test_rand(&seed) % 7 ? test_rand(&seed) % 40 : test_rand(&seed) % (FRAME_MAX + 1),
                   at = wire_size;
            for (size_t k = 0; k < n; k++)
                payload[k] = (uint8_t)(test_rand(&seed) % 3 ? test_rand(&seed) % 20 : test_rand(&seed));
            frame((uint8_t)(test_rand(&seed) % 4 ? 1 + test_rand(&seed) % 6 : test_rand(&seed)), payload, n);
            if (test_rand(&seed) % 3 == 0)
                wire[at + test_rand(&seed) % (FRAME_HEAD + n)] ^= (uint8_t)(1 << test_rand(&seed) % 8);
            if (test_rand(&seed) % 5 == 0)
                wire_size -= test_rand(&seed) % (FRAME_HEAD + n);
        }
        unsigned stuck = 0;
        for (size_t at = 0; at < wire_size && stuck < 1000;) {
            h.limit[0] = h.bytes[0] + test_rand(&seed) % 300;
            h.limit[1] = h.bytes[1] + test_rand(&seed) % 300;
            size_t room = channel_room(ch), want = 1 + test_rand(&seed) % 3000,
                   taken = channel_rx(ch, wire + at, want < wire_size - at ? want : wire_size - at);
            CHECK(taken >= (room < want ? room : want) || taken == wire_size - at);
            stuck = taken ? 0 : stuck + 1;
            at += taken;
            channel_resume(ch, (enum channel_stream)(test_rand(&seed) % 2));
            channel_stdin(ch, payload, test_rand(&seed) % sizeof payload);
            CHECK(channel_tx(ch, payload, test_rand(&seed) % 100) <= 100);
        }
        CHECK(stuck < 1000);
        CHECK(h.statuses <= 1 && h.hellos <= 1);
        channel_free(ch);
    }
}

TEST(frame_rx_finds_every_frame_after_noise)
{
    uint64_t seed = 2;
    for (unsigned long round = 0; round < test_scale(500); round++) {
        struct frame_rx rx = {0};
        seq = 0;
        wire_size = 0;
        unsigned frames = 0, got = 0;
        uint64_t junk = 0;
        while (frames < 10) {
            size_t n = test_rand(&seed) % 30;
            for (size_t k = 0; k < n; k++)
                wire[wire_size++] = (uint8_t)(test_rand(&seed) % 2 ? FRAME_MAGIC0 : test_rand(&seed) % 128);
            junk += n;
            frame(FRAME_STDOUT, "payload", 7);
            frames++;
        }
        for (size_t i = 0; i < wire_size;) {
            bool whole;
            i += frame_rx_feed(&rx, wire + i, 1 + test_rand(&seed) % (wire_size - i), &whole);
            if (whole) {
                CHECK(rx.length == 7 && !memcmp(rx.bytes + FRAME_HEAD, "payload", 7));
                frame_rx_done(&rx);
                got++;
            }
        }
        CHECK_EQ(got, frames);
        CHECK_EQ(rx.garbage, junk);
        CHECK_EQ(rx.gaps, 0);
    }
}
