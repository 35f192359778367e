// SPDX-License-Identifier: MIT
/* view: what a look-up and a commit cost as the map grows. A root with N I/O regions of 64 KiB, each apart from the next;
 * look-ups at random addresses, half of them holes (random, so that the last-hit cache does not hide the search); a commit
 * moves one region there and back. The median of REPEATS rounds, with the range. Prints one line per N; the last column is
 * the cost beside that at a tenth of the regions: about 1 is logarithmic, 10 is linear. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mem/access.h"
#include "mem/view.h"

enum {
    REPEATS = 9,
    LOOKUPS = 200000,
    STEP = 0x20000,
    SIZE = 0x10000
};

static uint64_t zero_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    (void)offset;
    (void)size;
    return 0;
}
static const struct region_ops ops = {.read = zero_read, .sizes = 1 | 2 | 4 | 8};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double lookups(struct space *s, unsigned n)
{
    uint64_t seed = 1, addr[1024], data;
    for (unsigned i = 0; i < 1024; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        addr[i] = (seed >> 20) % ((uint64_t)n * STEP) & ~7ull;
    }
    double start = now_ns();
    for (unsigned i = 0; i < LOOKUPS; i++)
        space_read(s, addr[i % 1024], 4, &data);
    return (now_ns() - start) / LOOKUPS;
}

static double commits(struct region *r, uint64_t home, unsigned turns)
{
    double start = now_ns();
    for (unsigned i = 0; i < turns; i++)
        region_move(r, i % 2 ? home : home + SIZE / 2);
    return (now_ns() - start) / turns;
}

int main(void)
{
    double last[2] = {0};
    printf("%8s %28s %8s %34s %8s\n", "regions", "look-up ns (range)", "x", "commit us (range)", "x");
    for (unsigned n = 10; n <= 10000; n *= 10) {
        struct region *root = calloc(1, sizeof *root), *r = calloc(n, sizeof *r);
        struct space *s = calloc(1, sizeof *s);
        double look[REPEATS], commit[REPEATS];

        if (!root || !r || !s)
            return 1;
        region_init_container(root, "root", REGION_ALL);
        transaction_begin();
        for (unsigned i = 0; i < n; i++) {
            region_init_io(&r[i], "io", SIZE, &ops, NULL, NULL, NULL);
            if (!region_add(root, &r[i], (uint64_t)i * STEP, 0))
                return 1;
        }
        space_init(s, root, "bench");
        transaction_commit();
        for (unsigned i = 0; i < REPEATS; i++) {
            look[i] = lookups(s, n);
            commit[i] = commits(&r[n / 2], (uint64_t)(n / 2) * STEP, n >= 10000 ? 20 : 200) / 1000;
        }
        qsort(look, REPEATS, sizeof *look, by_value);
        qsort(commit, REPEATS, sizeof *commit, by_value);
        double l = look[REPEATS / 2], c = commit[REPEATS / 2];
        printf("%8u %10.1f (%.1f-%.1f) %8.2f %14.1f (%.1f-%.1f) %8.2f\n", n, l, look[0], look[REPEATS - 1],
               last[0] ? l / last[0] : 1, c, commit[0], commit[REPEATS - 1], last[1] ? c / last[1] : 1);
        last[0] = l;
        last[1] = c;
    }
    return 0;
}
