/* SPDX-License-Identifier: MIT
 *
 * A unit test is a .c file here with TEST(name) { … } blocks and nothing else: they register themselves and test.h
 * brings main(). Each prints `ok NAME`, `FAIL NAME` (after the failed CHECK's line) or `SKIP NAME: why`; tests/unit/run
 * adds them up. With arguments only the named tests run. Every random test is seeded by TEST_SEED or a constant.
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*fn)(void);
    struct test *next;
};

static struct test *test_list, **test_tail = &test_list;
static jmp_buf test_end;
static const char *test_skipped;

#define TEST(name_)                                                                                          \
    static void test_fn_##name_(void);                                                                       \
    static struct test test_reg_##name_ = {.name = #name_, .fn = test_fn_##name_};                           \
    __attribute__((constructor)) static void test_add_##name_(void)                                          \
    {                                                                                                        \
        *test_tail = &test_reg_##name_;                                                                      \
        test_tail = &test_reg_##name_.next;                                                                  \
    }                                                                                                        \
    static void test_fn_##name_(void)

/* Both end the test at once; only the thread that runs the test may use them. */
#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #cond);                                  \
            longjmp(test_end, 1);                                                                            \
        }                                                                                                    \
    } while (0)

#define CHECK_EQ(a, b)                                                                                       \
    do {                                                                                                     \
        uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                                                     \
        if (a_ != b_) {                                                                                      \
            printf("%s:%d: %s is 0x%" PRIx64 ", not %s = 0x%" PRIx64 "\n", __FILE__, __LINE__, #a, a_, #b,   \
                   b_);                                                                                      \
            longjmp(test_end, 1);                                                                            \
        }                                                                                                    \
    } while (0)

#define CHECK_STR(a, b)                                                                                      \
    do {                                                                                                     \
        const char *a_ = (a), *b_ = (b);                                                                     \
        if (strcmp(a_, b_) != 0) {                                                                           \
            printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a, a_, b_);                     \
            longjmp(test_end, 1);                                                                            \
        }                                                                                                    \
    } while (0)

#define SKIP(why)                                                                                            \
    do {                                                                                                     \
        test_skipped = (why);                                                                                \
        longjmp(test_end, 1);                                                                                \
    } while (0)

/* splitmix64: a seeded stream for random tests; the same numbers everywhere. */
static inline uint64_t test_rand(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* `make soak` sets TEST_SCALE=50: counts in tests are multiplied by it. */
static inline unsigned long test_scale(unsigned long n)
{
    const char *s = getenv("TEST_SCALE");
#ifdef __SANITIZE_THREAD__
    n = n / 20 + 1; /* it takes that much longer */
#endif
    return n * (s && atoi(s) > 0 ? (unsigned long)atoi(s) : 1);
}

int main(int argc, char **argv)
{
    static int failed; /* static: longjmp leaves it alone */
    static struct test *t;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (t = test_list; t; t = t->next) {
        bool wanted = argc < 2;
        for (int i = 1; i < argc; i++)
            wanted |= !strcmp(argv[i], t->name);
        if (!wanted)
            continue;
        test_skipped = NULL;
        if (!setjmp(test_end)) {
            t->fn();
            printf("ok %s\n", t->name);
        } else if (test_skipped) {
            printf("SKIP %s: %s\n", t->name, test_skipped);
        } else {
            printf("FAIL %s\n", t->name);
            failed = 1;
        }
    }
    return failed;
}

#endif
