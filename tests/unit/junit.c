// SPDX-License-Identifier: MIT
/* JUnit XML: its form, and text that would break it. */
#include "test.h"

#include "guest/junit.h"

#include <stdlib.h>
#include <string.h>

static char *text;
static size_t size;

TEST(junit_of_three)
{
    FILE *f = open_memstream(&text, &size);
    junit_begin(f, "run", &(struct junit_totals){3, 1, 1, 1.5});
    junit_case(f, "net", "a", JUNIT_PASSED, "", "", -1);
    junit_case(f, "net", "b", JUNIT_FAILED, "why", "log", 0.25);
    junit_case(f, "net", "c", JUNIT_SKIPPED, "no root", "", -1);
    junit_end(f);
    fclose(f);
    CHECK(!strcmp(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
        "<testsuite name=\"run\" tests=\"3\" failures=\"1\" skipped=\"1\" errors=\"0\" time=\"1.500\">\n"
        "<testcase classname=\"net\" name=\"a\"/>\n"
        "<testcase classname=\"net\" name=\"b\" time=\"0.250\"><failure "
        "message=\"why\">log</failure></testcase>\n"
        "<testcase classname=\"net\" name=\"c\"><skipped message=\"no root\"></skipped></testcase>\n"
        "</testsuite>\n</testsuites>\n"));
    free(text);
}

TEST(junit_text_that_would_break_it)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a<b>&\"'",                             "a&#60;b&#62;&#38;&#34;'"             },
        {"\x1b[31mred\x01\x7f",                  "?[31mred?\x7f"                       },
        {"one\ntwo\t",                           "one&#10;two&#9;"                     },
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff\xc3",                             "??"                                  },
        {"\xed\xa0\x80",                         "???"                                 }, /* a surrogate */
        {"\xc0\xaf",                             "??"                                  }, /* overlong */
        {"\xef\xbf\xbf",                         "???"                                 }, /* U+FFFF */
        {"\xf4\x90\x80\x80",                     "????"                                }, /* beyond U+10FFFF */
        {"]]>",                                  "]]&#62;"                             },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FILE *f = open_memstream(&text, &size);
        junit_case(f, "g", cases[i].in, JUNIT_PASSED, "", "", -1);
        fclose(f);
        char want[200];
        snprintf(want, sizeof want, "<testcase classname=\"g\" name=\"%s\"/>\n", cases[i].out);
        CHECK(!strcmp(text, want));
        free(text);
    }
}
