// SPDX-License-Identifier: MIT
/* Which places a sweep tries. */
#include "test.h"

#include "guest/sweep.h"

TEST(sweep_picks_all_or_some)
{
    uint64_t n;
    sweep_pick(0, 100, 0, &n);
    CHECK_EQ(n, 0);
    for (uint64_t i = 0; i < 7; i++)
        CHECK_EQ(sweep_pick(7, 7, i, &n), i + 1);
    CHECK_EQ(n, 7);
    CHECK_EQ(sweep_pick(9, 1, 0, &n), 1);
    CHECK_EQ(n, 1);
}

/* Rising, from the first to the last, for counts of any size. */
TEST(sweep_picks_evenly)
{
    static const uint64_t counts[] = {3, 101, 1000, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (uint32_t max = 2; max <= 200 && max < counts[c]; max++) {
            uint64_t n, last = 0;
            sweep_pick(counts[c], max, 0, &n);
            CHECK_EQ(n, max);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t k = sweep_pick(counts[c], max, i, &n);
                CHECK(k > last);
                last = k;
            }
            CHECK_EQ(sweep_pick(counts[c], max, 0, &n), 1);
            CHECK_EQ(last, counts[c]);
        }
}
