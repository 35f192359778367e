// SPDX-License-Identifier: MIT
/* Test results in output: what kselftest and KUnit print, what is missing, and output that means harm. */
#include "test.h"

#include "guest/ktap.h"

#include <stdlib.h>
#include <string.h>

static struct ktap *k;
static struct ktap_reader r;

static void read_text(const char *text)
{
    ktap_free(k);
    k = ktap_new();
    CHECK(k);
    ktap_reader_init(&r, k);
    ktap_feed(&r, text, strlen(text));
    ktap_end(&r);
}

static bool counts(unsigned passed, unsigned failed, unsigned skipped)
{
    unsigned p = ktap_count(k, KTAP_PASSED), f = ktap_count(k, KTAP_FAILED), s = ktap_count(k, KTAP_SKIPPED);
    if (p != passed || f != failed || s != skipped)
        printf("passed %u, failed %u, skipped %u\n", p, f, s);
    return p == passed && f == failed && s == skipped;
}

/* The result with that path and name; NULL: none. */
static const struct ktap_result *find(const char *path, const char *name)
{
    for (uint32_t i = 0; i < ktap_listed(k); i++) {
        const struct ktap_result *x = ktap_result(k, i);
        if (!strcmp(ktap_text(k, x->path), path) && !strcmp(ktap_text(k, x->name), name))
            return x;
    }
    return NULL;
}

TEST(ktap_flat)
{
    read_text("noise\nTAP version 13\n1..4\nok 1 selftests: net: a.sh\n# why b fails\nnot ok 2 - b # exit=1\n"
              "ok 3 c # SKIP no root\r\nok 4\n");
    CHECK(counts(2, 1, 1));
    const struct ktap_result *b = find("", "b");
    CHECK(b && b->status == KTAP_FAILED);
    CHECK(!strcmp(ktap_text(k, b->log), "# why b fails\n"));
    CHECK(!strcmp(ktap_text(k, b->reason), "exit=1"));
    CHECK(!strcmp(ktap_text(k, find("", "c")->reason), "no root"));
    CHECK(find("", "selftests: net: a.sh"));
}

TEST(ktap_of_kunit)
{
    read_text("KTAP version 1\n"
              "1..2\n"
              "    KTAP version 1\n"
              "    # Subtest: list\n"
              "    1..2\n"
              "    ok 1 list_add\n"
              "        KTAP version 1\n"
              "        # Subtest: params\n"
              "        ok 1 one\n"
              "        not ok 2 two\n"
              "    not ok 2 params\n"
              "# list: pass:1 fail:1 skip:0 total:2\n"
              "not ok 1 list\n"
              "ok 2 empty\n");
    CHECK(counts(3, 1, 0));
    CHECK(find("list", "list_add"));
    CHECK(find("list/params", "two"));
    CHECK(find("list/params", "two")->leaf && !find("list", "params")->leaf && !find("", "list")->leaf);
    CHECK(find("", "empty"));
}

TEST(ktap_a_parent_that_fails_alone_counts)
{
    read_text("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\nnot ok 1 s\n");
    CHECK(counts(1, 1, 0));
    CHECK(find("", "s")->leaf);
}

TEST(ktap_what_is_missing_failed)
{
    read_text("KTAP version 1\n1..3\nok 1 a\n");
    CHECK(counts(1, 1, 0));
    CHECK(!strcmp(ktap_text(k, find("", "(end)")->reason), "2 of 3 results are missing"));
    read_text("KTAP version 1\n");
    CHECK(counts(0, 1, 0));
    read_text("KTAP version 1\n1..1\n    # Subtest: s\n    1..2\n    ok 1 a\nBUG: it crashed\n");
    CHECK(counts(1, 2, 0));
    CHECK(find("s", "(end)"));
    read_text("KTAP version 1\n1..0\n");
    CHECK(counts(0, 0, 0));
}

/* A program that skips itself, alone and below others; a suite without a case. */
TEST(ktap_skipped_as_a_whole)
{
    read_text("TAP version 13\n1..0 # SKIP nothing here\n");
    CHECK(counts(0, 0, 1));
    CHECK(!strcmp(ktap_text(k, find("", "(all)")->reason), "nothing here"));
    read_text(
        "TAP version 13\n1..3\n    TAP version 13\n    1..0 # SKIP nothing here\nok 1 one # SKIP\n"
        "    # Subtest: two\n    1..0\nok 2 two\n    # Subtest: three\n    1..1\n    ok 1 x\nok 3 three\n");
    CHECK(counts(2, 0, 1)); /* one, two, x */
    CHECK(find("", "one") && find("", "two") && find("three", "x"));
    read_text("TAP version 13\n1..1\n    1..1\n        1..0\n    ok 1 inner # SKIP\nok 1 outer\n");
    CHECK(counts(0, 0, 1));
}

TEST(ktap_bail_out)
{
    read_text("TAP version 13\n1..9\nok 1 a\nBail out! no disk\nBail out! again\n");
    CHECK(counts(1, 1, 0));
    CHECK(!strcmp(ktap_text(k, find("", "Bail out!")->reason), "no disk"));
}

TEST(ktap_several_runs)
{
    read_text("TAP version 13\n1..1\nok 1 a\nother output\nTAP version 13\n1..2\nok 1 b\nok 2 c\n");
    CHECK(counts(3, 0, 0));
}

TEST(ktap_deaf_without_a_version)
{
    read_text("ok 1 a\nnot ok 2 b\n1..5\nBail out!\n");
    CHECK(!ktap_any(k));
    CHECK(counts(0, 0, 0));
}

TEST(ktap_lines_that_only_look_like_it)
{
    read_text("TAP version 13\n1..1\nokay 1 a\nok\nok then\nnot okay\n1..x\n1.. 2\n1..-1\nok 1x y\nok 1 a\n");
    CHECK(counts(1, 0, 0));
}

TEST(ktap_known_failures_are_no_verdict)
{
    read_text("TAP version 13\n1..2\nnot ok 1 a # TODO later\nnot ok 2 b # XFAIL known\n");
    CHECK(counts(0, 0, 2));
}

/* A log of any length keeps its end, by whole lines. */
TEST(ktap_log_keeps_the_last_lines)
{
    ktap_free(k);
    k = ktap_new();
    ktap_reader_init(&r, k);
    ktap_line(&r, "TAP version 13");
    char line[80];
    for (int i = 0; i < 1000; i++) {
        snprintf(line, sizeof line, "# line %d", i);
        ktap_line(&r, line);
    }
    ktap_line(&r, "not ok 1 a");
    ktap_end(&r);
    const char *log = ktap_text(k, find("", "a")->log);
    CHECK(strlen(log) <= KTAP_LOG && strlen(log) > KTAP_LOG - 80);
    CHECK(!strncmp(log, "# line ", 7) && strstr(log, "# line 999\n"));
}

/* More results, deeper levels, longer lines than anybody has: counted, bounded, never a crash. */
TEST(ktap_hostile_output)
{
    ktap_free(k);
    k = ktap_new();
    ktap_reader_init(&r, k);
    ktap_line(&r, "KTAP version 1");
    static char line[4096];
    for (unsigned i = 0; i < 3 * KTAP_RESULTS; i++) {
        snprintf(line, sizeof line, "ok %u t%u", i, i);
        ktap_line(&r, line);
    }
    CHECK_EQ(ktap_count(k, KTAP_PASSED), 3 * KTAP_RESULTS);
    CHECK(ktap_listed(k) <= KTAP_RESULTS);
    for (unsigned i = 0; i < 200; i++) {
        memset(line, ' ', i * 2);
        snprintf(line + i * 2, sizeof line - i * 2, "ok 1 deep");
        ktap_line(&r, line);
    }
    for (unsigned i = 200; i-- > 0;) {
        memset(line, ' ', i * 2);
        snprintf(line + i * 2, sizeof line - i * 2, "not ok 1 back");
        ktap_line(&r, line);
    }
    memset(line, 'x', sizeof line);
    for (unsigned i = 0; i < 100; i++)
        ktap_feed(&r, line, sizeof line);
    ktap_end(&r);

    unsigned seed = 1;
    for (unsigned round = 0; round < 2000; round++) {
        static const char *const pieces[] = {
            "ok 1 ", "not ok 2 ",  "  ",           "    ", "KTAP version 1", "1..3",      "\n",
            "\n",    "# SKIP",     "# Subtest: s", "x",    "\r\n",           "Bail out!", " - ",
            "# ",    "4294967295", "1..4294967295"};
        char text[600] = "KTAP version 1\n";
        for (unsigned i = 0; i < 30; i++) {
            seed = seed * 1103515245 + 12345;
            strcat(text, pieces[(seed >> 16) % (sizeof pieces / sizeof pieces[0])]);
        }
        read_text(text);
        for (uint32_t i = 0; i < ktap_listed(k); i++)
            CHECK(ktap_text(k, ktap_result(k, i)->path) && ktap_result(k, i)->status < KTAP_STATUSES);
    }
    ktap_free(k);
    k = NULL;
}
