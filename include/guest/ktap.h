/* SPDX-License-Identifier: MIT
 *
 * Test results in a guest's output: KTAP, as kselftest prints it to stdout and KUnit to the kernel's log, and TAP 13 and 14
 * as far as they are the same. Bytes or lines go in; results, with the folder-like path of the tests above them, come out.
 *
 *   KTAP version 1
 *   1..2
 *     KTAP version 1              a test of tests: indented by two or more blanks, its own result line follows
 *     # Subtest: list             (KUnit tells its name before)
 *     1..1
 *     ok 1 list_add
 *   ok 1 list
 *   not ok 2 tree # SKIP no memory
 *
 * A reader is deaf until a version line has come, so that a program that prints "ok 1 x" reports nothing. Lines that
 * are none of the format's belong to the next result: they are kept for one that failed, the last KTAP_LOG bytes of them.
 *
 * Counted are the leaves; a test of tests counts only where it failed and none of its own did, or where it had none. A whole
 * program that is skipped ("1..0 # SKIP why") is one test, skipped. A plan that is not fulfilled when its level ends is a failure
 * by the name of what is missing, and so are "Bail out!" and a version line that nothing follows: a test that crashed is not a
 * test that passed.
 *
 * Bounds: KTAP_RESULTS results and KTAP_TEXT bytes of names and logs are kept; beyond that they are counted, not listed.
 * A line is judged by its first KTAP_LINE bytes, a level deeper than KTAP_LEVELS by its line alone.
 *
 * Thread: the loop's. No memory: nothing is recognised, and ktap_new() says so.
 * Source: Linux Documentation/dev-tools/ktap.rst; Test Anything Protocol 14.
 */
#ifndef GUEST_KTAP_H
#define GUEST_KTAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KTAP_LINE = 1024,
    KTAP_LEVELS = 8,
    KTAP_LOG = 2048,
    KTAP_RESULTS = 16384,
    KTAP_TEXT = 4 << 20,
};

enum ktap_status {
    KTAP_PASSED,
    KTAP_FAILED,
    KTAP_SKIPPED,
    KTAP_STATUSES,
};

struct ktap_result {
    uint32_t path, name; /* ktap_text(); path is "" at the top, else "suite/suite" */
    uint32_t reason;     /* what stands behind the directive, or what is missing; may be "" */
    uint32_t log;        /* of one that failed; may be "" */
    uint8_t status;      /* enum ktap_status */
    bool leaf;           /* counted */
};

struct ktap; /* all readers' results */

struct ktap_level {
    unsigned indent;
    uint32_t planned, seen; /* planned UINT32_MAX: no plan was seen */
    uint32_t first;         /* results from here on are below it */
    bool failed;            /* one of them */
    char name[128];         /* by "# Subtest:" */
};
struct ktap_reader {
    struct ktap *ktap;
    bool awake, bailed;
    unsigned levels; /* open ones; level[0] is the outermost */
    struct ktap_level level[KTAP_LEVELS];
    size_t used, log_used;
    char line[KTAP_LINE + 1], log[KTAP_LOG + 1];
};

struct ktap *ktap_new(void);
void ktap_free(struct ktap *ktap);

void ktap_reader_init(struct ktap_reader *r, struct ktap *ktap);
void ktap_feed(struct ktap_reader *r, const void *bytes, size_t n);
void ktap_line(struct ktap_reader *r, const char *line);
/* No more will come: what is missing now stays missing. */
void ktap_end(struct ktap_reader *r);

/* Whether there is anything to tell. */
bool ktap_any(const struct ktap *ktap);
uint32_t ktap_count(const struct ktap *ktap, enum ktap_status status);
uint32_t ktap_listed(const struct ktap *ktap);
const struct ktap_result *ktap_result(const struct ktap *ktap, uint32_t i); /* i < ktap_listed() */
const char *ktap_text(const struct ktap *ktap, uint32_t text);

#endif
