// SPDX-License-Identifier: MIT
/* The gate on the kernel's log, tests in the output, silence: what a run is told of itself. */
#include "test.h"

#include "guest/gate.h"
#include "guest/machine.h"
#include "guest/result.h"
#include "guest/verdict.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"

#include <string.h>
#include <unistd.h>

static struct machine_options o;
static struct result r;
static struct verdict *v;
static struct loop *loop;
static struct gate gate;
static unsigned silences;

static uint64_t now_ns;
static uint64_t now(void *ctx)
{
    (void)ctx;
    return now_ns;
}
static void on_caught(void *ctx, const char *sentence)
{
    (void)ctx;
    result_caught(&r, sentence);
}
static void on_silent(void *ctx)
{
    (void)ctx;
    silences++;
}

static void begin(const char *fail_on)
{
    static const struct clock clock = {now, NULL};
    log_set_level(LOG_LEVEL_ERROR);
    silences = 0;
    loop = loop_new(&clock);
    r = (struct result){.command = true};
    gate = (struct gate){.caught = on_caught};
    if (fail_on)
        CHECK(!gate_parse(fail_on, &gate.on));
    CHECK(!verdict_check(&o));
    v = verdict_new(
        &(struct verdict_config){.loop = loop, .options = &o, .gate = &gate, .silent = on_silent});
    CHECK(v);
}

static int finish(void)
{
    result_end(&r, END_EXITED, 0, NULL);
    verdict_end(v, &r);
    result_gate(&r);
    CHECK(!verdict_report(v, &r, 0));
    verdict_free(v);
    loop_free(loop);
    return result_status(&r);
}

TEST(verdict_catches_what_it_is_asked_for)
{
    begin("warn");
    verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    CHECK_EQ(finish(), 123);
    CHECK(strstr(r.detail, "warn: WARNING: CPU: 0"));
    CHECK_EQ(r.warnings, 1);
    begin("bug,oops");
    verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    verdict_log(v, "the last words");
    CHECK_EQ(finish(), 0);
    CHECK_EQ(r.warnings, 1);
    CHECK(!strcmp(r.last_line, "the last words"));
}

TEST(verdict_allows_by_any_line_of_the_trace)
{
    o.allow = (struct opt_list){
        .v = (const char *[]){"^ known_[a-z]+", NULL},
            .n = 1
    };
    begin("warn");
    verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    verdict_log(v, " known_trouble+0x1/0x2");
    verdict_log(v, "---[ end trace 0 ]---");
    CHECK_EQ(finish(), 0);
    CHECK_EQ(r.warnings, 0);
    begin("warn");
    verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 known_trouble+0x1/0x2");
    CHECK_EQ(finish(), 123);
    o.allow.n = 0;
}

TEST(verdict_regular_expression_that_is_none)
{
    o.allow = (struct opt_list){
        .v = (const char *[]){"a(", NULL},
            .n = 1
    };
    CHECK(strstr(verdict_check(&o), "--allow a(: "));
    o.allow.n = 0;
}

/* What the kernel does not print cannot be caught: that is said before, not taken for a clean log. */
TEST(verdict_a_gate_that_would_see_nothing)
{
    static const struct {
        const char *on, *params;
        bool blind;
    } cases[] = {
        {"warn",    "quiet",                 true },
        {"warn",    "a=b quiet panic=1",     true },
        {"lockdep", "loglevel=4",            true },
        {"taint",   "loglevel=5",            true },
        {"leak",    "loglevel=6",            true },
        {"kasan",   "loglevel=1",            true },
        {"warn",    "loglevel=7 quiet",      true },
        {"warn",    "quiet loglevel=5",      false},
        {"kasan",   "quiet",                 false},
        {"oops",    "quiet",                 false},
        {"tests",   "quiet",                 false},
        {"lint",    "loglevel=0",            false},
        {"warn",    "quiet ignore_loglevel", false},
        {"leak",    "quiet debug",           false},
        {"warn",    "quieter x.quiet=1",     false},
        {"warn",    "a -- quiet",            false},
        {"leak",    "",                      false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct machine_options one = {.params = cases[i].params};
        CHECK(!gate_parse(cases[i].on, &one.fail_on));
        const char *error = verdict_check(&one);
        CHECK(cases[i].blind ? error && strstr(error, "hides from the log") : !error);
    }
    struct machine_options none = {.console = CONSOLE_NONE, .fail_on = 1u << KLOG_WARN};
    CHECK(strstr(verdict_check(&none), "--console none"));
    none.params = "console=ttyS0";
    CHECK(!verdict_check(&none));
    none = (struct machine_options){.console = CONSOLE_NONE, .fail_on = 1u << GATE_LINT};
    CHECK(!verdict_check(&none));
}

TEST(verdict_words_that_are_none)
{
    uint32_t on = 0;
    CHECK(strstr(gate_parse("warn,bogus", &on), "bogus"));
    CHECK(gate_parse("", &on) && gate_parse("warn,", &on));
    CHECK(!gate_parse("warn,bug,oops,kasan,ubsan,kcsan,lockdep,hung,rcu,leak,taint,lint,tests", &on));
}

TEST(verdict_tests_from_log_and_output)
{
    static const char out[] = "TAP version 13\n1..2\nok 1 a\nnot ok 2 b\n";
    begin("tests");
    verdict_log(v, "KTAP version 1");
    verdict_log(v, "1..1");
    verdict_log(v, "    # Subtest: s");
    verdict_log(v, "    1..1");
    verdict_log(v, "    ok 1 c");
    verdict_log(v, "ok 1 s");
    verdict_output(v, out, 10); /* lines come in pieces */
    verdict_output(v, out + 10, sizeof out - 11);
    CHECK_EQ(finish(), 123);
    CHECK(r.tested && r.passed == 2 && r.failed == 1 && r.skipped == 0);
    CHECK(strstr(r.detail, "tests: 1 failed"));
    begin(NULL);
    verdict_output(v, out, sizeof out - 1);
    CHECK_EQ(finish(), 0); /* told, and not asked for */
    CHECK_EQ(r.failed, 1);
}

/* Who asks for tests is not to take their absence for success. */
TEST(verdict_no_test_was_seen)
{
    static const char *const none[] = {"", "ok 1 a\n", "TAP version 13\n1..0\n"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        begin("tests");
        verdict_output(v, none[i], strlen(none[i]));
        CHECK_EQ(finish(), 123);
        CHECK_EQ(r.reason, END_GATE);
        CHECK(strstr(r.detail, "no test was seen"));
        begin("warn"); /* not asked for */
        verdict_output(v, none[i], strlen(none[i]));
        CHECK_EQ(finish(), 0);
    }
    begin("tests"); /* skipped tests were seen */
    static const char skipped[] = "TAP version 13\n1..1\nok 1 a # SKIP no\n";
    verdict_output(v, skipped, sizeof skipped - 1);
    CHECK_EQ(finish(), 0);
    begin("tests"); /* what is worse stays */
    result_end(&r, END_TIMEOUT, 0, "the time was up");
    CHECK_EQ(finish(), 124);
    CHECK(!strcmp(r.detail, "the time was up"));
    begin("tests");
    result_end(&r, END_EXITED, 3, NULL);
    CHECK_EQ(finish(), 3);
    begin("tests,warn"); /* the first that was caught is what it died of */
    verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    CHECK_EQ(finish(), 123);
    CHECK(strstr(r.detail, "WARNING"));
}

TEST(verdict_junit)
{
    char path[] = "/tmp/verdict.XXXXXX", text[4096] = "";
    close(mkstemp(path));
    o.junit = path;
    begin("bug");
    verdict_log(v, "BUG: <markup> & more");
    verdict_output(v, "TAP version 13\n1..3\nok 1 a\nnot ok 2 b\nok 3 c # SKIP no\n", 55);
    CHECK_EQ(finish(), 123);
    FILE *f = fopen(path, "r");
    CHECK(f && fread(text, 1, sizeof text - 1, f));
    fclose(f);
    unlink(path);
    CHECK(strstr(text, "tests=\"5\" failures=\"3\" skipped=\"1\""));
    CHECK(strstr(text, "name=\"b\"><failure"));
    CHECK(strstr(text, "BUG: &#60;markup&#62; &#38; more"));
    CHECK(strstr(text, "status 123, gate"));
    o.junit = "/nonexistent-folder/x";
    CHECK(strstr(verdict_check(&o), "--junit /nonexistent-folder/x"));
    o.junit = NULL;
}

TEST(verdict_silence)
{
    o.silence = 1000;
    begin(NULL);
    now_ns += 900;
    verdict_log(v, "still here");
    now_ns += 900;
    while (loop_step(loop))
        ;
    CHECK_EQ(silences, 0);
    verdict_heard(v);
    now_ns += 999;
    while (loop_step(loop))
        ;
    CHECK_EQ(silences, 0);
    now_ns += 1;
    while (loop_step(loop))
        ;
    CHECK_EQ(silences, 1);
    finish();
    o.silence = 0;
}

/* A guest that warns without end: told sixteen times, counted always. */
TEST(verdict_a_flood_of_warnings)
{
    begin("warn");
    for (unsigned i = 0; i < 10000; i++)
        verdict_log(v, "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2");
    CHECK_EQ(finish(), 123);
    CHECK_EQ(r.warnings, 10000);
}
