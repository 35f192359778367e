// SPDX-License-Identifier: MIT
/* JUnit XML: see include/guest/junit.h. */
#include "guest/junit.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the UTF-8 sequence at s that XML may hold; 0: none. */
static size_t sequence(const uint8_t *s)
{
    uint32_t c = *s, min;
    size_t n;
    if (c < 0x80)
        return c >= 0x20 || c == '\n' || c == '\t';
    if (c >= 0xf0 && c < 0xf5) {
        n = 4, min = 0x10000, c &= 7;
    } else if (c >= 0xe0 && c < 0xf0) {
        n = 3, min = 0x800, c &= 15;
    } else if (c >= 0xc2 && c < 0xe0) {
        n = 2, min = 0x80, c &= 31;
    } else {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the text's end too */
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    return c < min || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c == 0xfffe || c == 0xffff ? 0 : n;
}

static void put(FILE *out, const char *text)
{
    for (const uint8_t *s = (const uint8_t *)text; *s;) {
        size_t n = sequence(s);
        if (!n)
            fputc('?', out);
        else if (strchr("&<>\"\n\t", *s) && n == 1)
            fprintf(out, "&#%u;", *s);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
}

static void attribute(FILE *out, const char *name, const char *value)
{
    fprintf(out, " %s=\"", name);
    put(out, value);
    fputc('"', out);
}

void junit_begin(FILE *out, const char *suite, const struct junit_totals *t)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite", out);
    attribute(out, "name", suite);
    fprintf(out, " tests=\"%lu\" failures=\"%lu\" skipped=\"%lu\" errors=\"0\" time=\"%.3f\">\n", t->tests,
            t->failures, t->skipped, t->seconds);
}

void junit_case(FILE *out, const char *group, const char *name, enum junit_status status, const char *message,
                const char *text, double seconds)
{
    static const char *const words[] = {[JUNIT_FAILED] = "failure", [JUNIT_SKIPPED] = "skipped"};
    fputs("<testcase", out);
    attribute(out, "classname", group);
    attribute(out, "name", name);
    if (seconds >= 0)
        fprintf(out, " time=\"%.3f\"", seconds);
    if (status == JUNIT_PASSED) {
        fputs("/>\n", out);
        return;
    }
    fprintf(out, "><%s", words[status]);
    attribute(out, "message", message);
    fputc('>', out);
    put(out, text);
    fprintf(out, "</%s></testcase>\n", words[status]);
}

void junit_end(FILE *out)
{
    fputs("</testsuite>\n</testsuites>\n", out);
}
