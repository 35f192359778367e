/* SPDX-License-Identifier: MIT
 *
 * Places in guest RAM against an oracle that marks every 256-byte cell.
 */
#include "test.h"

#include "guest/place.h"

enum {
    CELL = 256,
    RAM = 0x180000, /* holes and 0.5 MiB above them */
    CELLS = RAM / CELL,
};

static bool used[CELLS];
static struct place place;

static void oracle_init(void)
{
    place_init(&place, RAM);
    for (unsigned i = 0; i < CELLS; i++)
        used[i] = i * CELL >= 0x9fc00 && i * CELL < 0x100000;
}

static bool oracle_free(uint64_t gpa, uint64_t size)
{
    for (uint64_t c = gpa / CELL; c < (gpa + size) / CELL; c++) {
        if (c >= CELLS || used[c])
            return false;
    }
    return true;
}

static void oracle_take(uint64_t gpa, uint64_t size)
{
    for (uint64_t c = gpa / CELL; c < (gpa + size) / CELL; c++)
        used[c] = true;
}

TEST(place_against_oracle)
{
    uint64_t seed = 7, full = 0;
    for (unsigned long round = 0; round < test_scale(200); round++) {
        oracle_init();
        for (unsigned n = 0; n < PLACE_MAX; n++) {
            uint64_t r = test_rand(&seed);
            uint64_t size = CELL * (1 + (r & 0xffff) % (r & 0x10000 ? 16 : 1500));
            if (r & 0x20000) {
                uint64_t gpa = CELL * ((r >> 32) % (CELLS + 10));
                bool free = oracle_free(gpa, size);
                CHECK_EQ(place_claim(&place, gpa, size) == PLACE_OK, free);
                if (free)
                    oracle_take(gpa, size);
                continue;
            }
            uint64_t align = CELL << (r >> 18) % 6, min = CELL * ((r >> 24 & 0xffff) % CELLS),
                     limit = CELL * ((r >> 40) % (CELLS + 10)), gpa, best = ~0ull;
            for (uint64_t at = min + (-min & (align - 1)); at + size <= limit; at += align) {
                if (oracle_free(at, size))
                    best = at;
            }
            CHECK_EQ(place_find(&place, size, align, min, limit, &gpa), best != ~0ull);
            if (best == ~0ull) {
                full++;
                continue;
            }
            CHECK_EQ(gpa, best);
            oracle_take(gpa, size);
        }
    }
    CHECK(full > 100);
}

TEST(place_edges)
{
    uint64_t gpa;
    oracle_init();
    CHECK_EQ(place_claim(&place, 0, 0), PLACE_OK);
    CHECK_EQ(place_claim(&place, ~0ull, 0), PLACE_OK);
    CHECK_EQ(place_claim(&place, ~0ull, 1), PLACE_NOT_RAM);
    CHECK_EQ(place_claim(&place, 0x1000, ~0ull), PLACE_NOT_RAM);
    CHECK_EQ(place_claim(&place, 0x9f000, 0xc00), PLACE_OK);
    CHECK_EQ(place_claim(&place, 0x9fbff, 1), PLACE_TAKEN);
    CHECK_EQ(place_claim(&place, 0x9fc00, 1), PLACE_NOT_RAM);
    CHECK_EQ(place_claim(&place, RAM - 1, 1), PLACE_OK);
    CHECK_EQ(place_claim(&place, RAM - 1, 2), PLACE_NOT_RAM);
    CHECK(!place_find(&place, 0, 1, 0, ~0ull, &gpa));
    CHECK(!place_find(&place, ~0ull, 1, 0, ~0ull, &gpa));
    CHECK(!place_find(&place, 1, 1, 0x9fc00, 0x100000, &gpa));
    CHECK(place_find(&place, 1, 1, 0, ~0ull, &gpa) && gpa == RAM - 2);
    oracle_init();
    for (unsigned i = 0; i < PLACE_MAX; i++)
        CHECK_EQ(place_claim(&place, i, 1), PLACE_OK);
    CHECK_EQ(place_claim(&place, PLACE_MAX, 1), PLACE_FULL);
    CHECK(!place_find(&place, 1, 1, 0, ~0ull, &gpa));
}
