// SPDX-License-Identifier: MIT
#include "guest/watch.h"
#include "test.h"

static char seen[1024];

static void note(void *arg, enum watch_event event, const char *line)
{
    (void)arg;
    (void)line;
    strcat(seen, event == WATCH_PANIC       ? "P"
                 : event == WATCH_PANIC_END ? "E"
                 : event == WATCH_HALTED    ? "H"
                                            : ".");
}

static const char *feed(const char *text, size_t chunk)
{
    struct watch w = {.event = note};
    seen[0] = 0;
    for (size_t n = strlen(text); n;) {
        size_t part = n < chunk ? n : chunk;
        watch_feed(&w, text, part);
        text += part;
        n -= part;
    }
    return seen;
}

TEST(watch_finds_the_kernels_own_words)
{
    static const char log[] = "[    0.1] ok\r\n"
                              "[    1.234567] Kernel panic - not syncing: Attempted to kill init!\r\n"
                              "[    1.3][    T1] ---[ end Kernel panic - not syncing: x ]---\r\n"
                              "<0>[    2.0] reboot: System halted\n"
                              "reboot: System halted\n";
    for (size_t chunk = 1; chunk < sizeof log; chunk++)
        CHECK_STR(feed(log, chunk), ".PEHH");
}

TEST(watch_is_not_fooled_by_a_program_that_quotes_them)
{
    CHECK_STR(feed("he said Kernel panic - not syncing\n# echo reboot: System halted\n[x] Kernel panic - not "
                   "syncing\n",
                   7),
              "...");
}

TEST(watch_finds_a_message_behind_a_prompt)
{
    CHECK_STR(feed("debian login: [   34.123456] Kernel panic - not syncing: sysrq\n", 9), "P");
    CHECK_STR(feed("# [x] [ 134.123456][   T1] ---[ end Kernel panic - not syncing: x ]---\n", 70), "E");
    CHECK_STR(feed("[1.2] [    3.000001] fine [    3.000002] reboot: System halted\n", 3), "H");
    CHECK_STR(feed("Nov 22 08:00:00 host kernel: [   34.123456] Kernel panic - not syncing: old\n"
                   "$ [34.12345] Kernel panic - not syncing\n"
                   "$ [.123456] Kernel panic - not syncing\n"
                   "$ [   34.123456] he said Kernel panic - not syncing\n[[[[[\n[\n[ 1.123456]",
                   5),
              "......");
}

static char text[WATCH_LINE + 1];

static void keep(void *arg, enum watch_event event, const char *line)
{
    (void)arg, (void)event;
    strcpy(text, line);
}

static const char *line_of(const char *bytes)
{
    struct watch w = {.event = keep};
    text[0] = 0;
    watch_feed(&w, bytes, strlen(bytes));
    watch_end(&w);
    watch_end(&w);
    return text;
}

/* For who reads the log for warnings, as for the panic. */
TEST(watch_gives_the_message_behind_a_prompt)
{
    CHECK_STR(line_of("login: [   34.123456][  T12] WARNING: CPU: 0\n"), "WARNING: CPU: 0");
    CHECK_STR(line_of("[    1.000000] a driver: [    0.123456] said\n"), "a driver: [    0.123456] said");
    CHECK_STR(line_of("Nov 22 kernel: [   34.123456] BUG: old\n"), "Nov 22 kernel: [   34.123456] BUG: old");
}

TEST(watch_line_that_the_end_cuts)
{
    CHECK_STR(line_of("[    1.000000] one\n[    2.000000] not ok 1"), "not ok 1");
    CHECK_STR(line_of("whole\n"), "whole");
}

TEST(watch_line_without_end_stays_bounded)
{
    struct watch w = {.event = note};
    seen[0] = 0;
    for (int i = 0; i < 100000; i++)
        watch_feed(&w, i ? "xxxxxxx" : "Kernel panic - not syncing", 7);
    CHECK(w.len <= WATCH_LINE);
    watch_feed(&w, "\n<", 2);
    watch_feed(&w, "\n<5\n<>\n[\n", 9);
    CHECK_STR(seen, ".....");
}
