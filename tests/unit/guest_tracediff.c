// SPDX-License-Identifier: MIT
/* Where two traces diverge: include/guest/tracediff.h. */
#include "test.h"
#include "said.h"
#include "guest/tracediff.h"
#include "kvm/host/log.h"

#include <fcntl.h>
#include <unistd.h>

static char name_a[64], name_b[64], said[4 * TRACE_DIFF_LINE], warned[1024];

/* Shorthand into lines: "S1" reads register S as 1, "=S1" writes it, "i" an interrupt, anything in {…} is a line as it is; each is
 * another ns, vCPU and place. */
static void expand(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    unsigned t = (unsigned)strlen(text);
    CHECK(f);
    for (const char *p = text; *p; p++, t += 7) {
        if (*p == ' ')
            continue;
        if (*p == '{') {
            size_t n = strcspn(p, "\n");
            fprintf(f, "%.*s\n", (int)n, p);
            p += n - (p[n] == 0);
            continue;
        }
        fprintf(f, "{\"t\":%u,\"cpu\":%u,\"pc\":\"0x%x\",\"dev\":\"edu0\",", t, t % 3, t * 3);
        if (*p == 'i')
            fprintf(f, "\"op\":\"irq\",\"up\":true,\"led\":\"MSI vector 33\"}\n");
        else if (*p == '=')
            p += 2,
                fprintf(f,
                        "\"op\":\"W\",\"reg\":\"%c\",\"size\":4,\"value\":\"0x%c\",\"bits\":{\"RUN\":1}}\n",
                        p[-1], *p);
        else
            p++, fprintf(f,
                         "\"op\":\"R\",\"reg\":\"%c\",\"size\":4,\"value\":\"0x%c\",\"bits\":{\"RUN\":1}}\n",
                         p[-1], *p);
    }
    fclose(f);
}

static int diff_files(void)
{
    said_begin();
    memset(said, 0, sizeof said);
    FILE *out = fmemopen(said, sizeof said, "w");
    int status = trace_diff(name_a, name_b, out);
    fclose(out);
    said_end(warned, sizeof warned);
    return status;
}

static int diff(const char *a, const char *b)
{
    snprintf(name_a, sizeof name_a, "/tmp/vmlet-diff-%d-a", getpid());
    snprintf(name_b, sizeof name_b, "/tmp/vmlet-diff-%d-b", getpid());
    expand(name_a, a);
    expand(name_b, b);
    int status = diff_files();
    unlink(name_a);
    unlink(name_b);
    return status;
}

TEST(traces_that_are_the_same)
{
    CHECK_EQ(diff("", ""), 0);
    CHECK_EQ(diff("S1", "S1"), 0);
    CHECK_EQ(diff("S1=A2iS3", "S1 =A2 i S3"), 0);
    CHECK_STR(said, "");
    CHECK_STR(warned, "");
    /* the order of blanks and what is ignored do not count */
    CHECK_EQ(
        diff("{\"t\":1,\"op\":\"mem\",\"text\":\"x\"}", "{ \"op\" :\"mem\", \"text\": \"x\",\"t\":9e9 }"), 0);
}

TEST(polling_does_not_count)
{
    CHECK_EQ(diff("=A1 S1 S0 i", "=A1 S1 S1 S1 S1 S1 S1 S1 S0 i"), 0);
    CHECK_EQ(diff("S1 T1 S1 T1 S1 T1 S0 =A2", "S1 T1 S0 =A2"), 0); /* two in turn */
    CHECK_EQ(diff("S1T1U1V1S1T1U1V1S1T1U1V1 i", "S1T1U1V1 i"), 0); /* four */
    CHECK_EQ(diff("=A1 S0 i", "=A1 S1 S1 S1 S0 i"), 0); /* one was quick enough not to see it busy */
    CHECK_EQ(diff("=A1 S1 S2 S3 S0 i", "=A1 S2 S0 i"), 0);
    CHECK_EQ(diff("S1 S2 S1 S2 S1 S2 S0", "S1 S2 S0"), 0);
    char many[4000] = "";
    for (int i = 0; i < 999; i++)
        strcat(many, i % 7 ? "S1 " : "S2 ");
    strcat(many, "S0 i");
    CHECK_EQ(diff(many, "S2 S1 S0 i"), 0);
}

TEST(writes_and_what_devices_do_count)
{
    CHECK_EQ(diff("=A1 =A1", "=A1"), 1); /* a write is not a poll */
    CHECK_EQ(diff("i i", "i"), 1);
    CHECK_EQ(diff("S1 i S1", "S1 S1 i"), 1);
    CHECK_EQ(diff("S1 S2 S3", "S1 S4 S3"), 1); /* a FIFO's words */
    CHECK_EQ(diff("S1 T1", "S1 T2"), 1);
    CHECK_EQ(diff("S1 T1", "T1 S1"), 1);
    CHECK_EQ(diff("=A1", "=B1"), 1);
    CHECK_EQ(diff("=A1", "=A2"), 1);
    CHECK_EQ(diff("=A1", "A1"), 1);
}

TEST(the_first_difference_is_shown)
{
    char want[512];
    CHECK_EQ(diff("=A1 S1 S1 S0 i =B2", "=A1 S1 S0 i =B3"), 1);
    snprintf(
        want, sizeof want,
        "the first difference, after 4 events in common:\n"
        "%s:6: {\"t\":53,\"cpu\":2,\"pc\":\"0x9f\",\"dev\":\"edu0\",\"op\":\"W\",\"reg\":\"B\",\"size\":4,"
        "\"value\":\"0x2\",\"bits\":{\"RUN\":1}}\n",
        name_a);
    CHECK(strstr(said, ":6: {\"t\":") && strstr(said, "\"value\":\"0x2\""));
    CHECK(strstr(said, ":5: {\"t\":") && strstr(said, "\"value\":\"0x3\""));
    CHECK(!strncmp(said, want, 48));
    CHECK_EQ(diff("=A1 =A2", "=A1"), 1);
    snprintf(want, sizeof want, "%s: ends\n", name_b);
    CHECK(strstr(said, want));
    CHECK_EQ(diff("", "i"), 1);
    CHECK(strstr(said, "after 0 events"));
}

TEST(trouble_is_no_difference)
{
    static const char *const bad[] = {
        "{",
        "{\"a\"",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1}}",
        "{\"a\":\"x}",
        "{\"a\":\"x\\",
        "{a:1}",
        "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":1}}}}}}",
        "{\"a\":[1]}",
        "{\"a\":\"\x01\"}",
        "{\"lost\":5}",
        "{\"t\":1,\"lost\":5}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(diff(bad[i], "i"), 2);
        CHECK(strstr(warned, "-a:1: "));
        CHECK_EQ(diff("i", bad[i]), 2);
        CHECK(strstr(warned, "-b:1: "));
    }
    CHECK_EQ(diff("=A1 =A2 {\"lost\":3}", "=A1 =A3"), 1); /* it was found before */
    CHECK_EQ(diff("=A1 {\"lost\":3}", "=A1 =A3"), 2);
    strcpy(name_a, "/nowhere/a");
    CHECK_EQ(diff_files(), 2);
    CHECK_STR(warned, "vmlet: trace-diff: /nowhere/a: No such file or directory\n");
    strcpy(name_a, "/");
    CHECK_EQ(diff_files(), 2);
}

/* Who is to see where the traces diverge sees nothing. */
TEST(a_difference_that_cannot_be_written_is_trouble)
{
    CHECK_EQ(diff("=A1", "=A2"), 1);
    expand(name_a, "=A1");
    expand(name_b, "=A2");
    FILE *full = fopen("/dev/full", "we");
    CHECK(full);
    CHECK_EQ(trace_diff(name_a, name_a, full), 0);
    said_begin();
    int status = trace_diff(name_a, name_b, full);
    said_end(warned, sizeof warned);
    CHECK_EQ(status, 2);
    CHECK_STR(warned, "vmlet: trace-diff: standard output: No space left on device\n");
    fclose(full);
    unlink(name_a);
    unlink(name_b);
}

static void raw(const char *name, const char *data, size_t n)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(write(fd, data, n) == (ssize_t)n);
    close(fd);
}

TEST(hostile_traces)
{
    static char big[3 * TRACE_DIFF_LINE];
    diff("i", "i");
    raw(name_b, "{}\n", 3);
    raw(name_a, "{}", 2);
    CHECK_EQ(diff_files(), 2);
    CHECK(strstr(warned, "the line has no end"));
    memset(big, 'x', sizeof big);
    memcpy(big, "{\"a\":\"", 6);
    memcpy(big + sizeof big - 3, "\"}\n", 3);
    raw(name_a, big, sizeof big);
    CHECK_EQ(diff_files(), 2);
    CHECK(strstr(warned, "too long"));
    raw(name_a, "{\"a\":\"b\0c\"}\n", 12);
    CHECK_EQ(diff_files(), 2);
    uint64_t seed = 3;
    for (unsigned long n = test_scale(2000); n; n--) { /* whatever it is, it ends */
        char line[64] = "{\"t\":1,\"op\":\"R\",\"b\":{\"x\":1}}\n{\"op\":\"R\"}\n";
        size_t len = strlen(line);
        for (int i = 0; i < 3; i++)
            line[test_rand(&seed) % len] = (char)test_rand(&seed);
        raw(name_a, line, len);
        int status = diff_files();
        CHECK(status >= 0 && status <= 2);
    }
    unlink(name_a);
    unlink(name_b);
}
