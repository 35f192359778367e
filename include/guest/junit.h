/* SPDX-License-Identifier: MIT
 *
 * JUnit XML, the form that CI servers read. Text of a guest's is made what XML 1.0 can hold: markup is escaped, control
 * characters and bytes that are no UTF-8 become '?', so that no output of a test can break the file.
 *
 * Thread: any, one at a time for a file. Errors are the file's (ferror()).
 * Source: the schema of Jenkins' xUnit plugin, junit-10.xsd; XML 1.0, 2.2 (characters).
 */
#ifndef GUEST_JUNIT_H
#define GUEST_JUNIT_H

#include <stddef.h>
#include <stdio.h>

struct junit_totals {
    unsigned long tests, failures, skipped;
    double seconds;
};

enum junit_status {
    JUNIT_PASSED,
    JUNIT_FAILED,
    JUNIT_SKIPPED,
};

void junit_begin(FILE *out, const char *suite, const struct junit_totals *totals);
/* message: why it failed or was skipped; text: more of it, may be "". seconds < 0: not known. */
void junit_case(FILE *out, const char *group, const char *name, enum junit_status status, const char *message,
                const char *text, double seconds);
void junit_end(FILE *out);

#endif
