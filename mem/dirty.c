// SPDX-License-Identifier: MIT
/* Which pages of a RAM block were written: see include/mem/ram.h.
 *
 * A bitmap per block and client, made when its first user starts and kept until the block goes, so that those who mark
 * never meet one that is being freed. Marks are relaxed atomic ORs: who takes a bit reads the page afterwards, and what
 * is written later is marked later. `log` is set after the bitmap is there (release), and read before it (acquire). */
#include "mem/ram.h"

#include <stdlib.h>
#include <string.h>

static uint64_t words(const struct ram *ram)
{
    return (ram->size / RAM_PAGE + 63) / 64;
}

bool ram_log(struct ram *ram, enum region_log client, bool on)
{
    uint8_t bit = (uint8_t)(1u << client);
    if (!on) {
        if (ram->log_users[client] && --ram->log_users[client] == 0)
            atomic_fetch_and_explicit(&ram->log, (uint8_t)~bit, memory_order_relaxed);
        return true;
    }
    _Atomic uint64_t *map = atomic_load_explicit(&ram->dirty[client], memory_order_relaxed);
    if (!map) {
        map = calloc(words(ram), sizeof *map);
        if (!map)
            return false;
        atomic_store_explicit(&ram->dirty[client], map, memory_order_relaxed);
    }
    if (ram->log_users[client]++ == 0) {
        /* what an earlier use has left */
        for (uint64_t i = 0, n = words(ram); i < n; i++)
            if (atomic_load_explicit(&map[i], memory_order_relaxed))
                atomic_store_explicit(&map[i], 0, memory_order_relaxed);
        atomic_fetch_or_explicit(&ram->log, bit, memory_order_release);
    }
    return true;
}

void ram_dirty_mark(struct ram *ram, uint64_t offset, uint64_t len)
{
    uint8_t log = atomic_load_explicit(&ram->log, memory_order_acquire);
    if (len == 0)
        return;
    uint64_t first = offset >> RAM_PAGE_SHIFT, last = (offset + (len - 1)) >> RAM_PAGE_SHIFT;
    for (unsigned client = 0; client < REGION_LOG_CLIENTS; client++) {
        if (!(log >> client & 1))
            continue;
        _Atomic uint64_t *map = atomic_load_explicit(&ram->dirty[client], memory_order_relaxed);
        for (uint64_t page = first; page <= last; page++) {
            uint64_t bit = UINT64_C(1) << page % 64;
            if (!(atomic_load_explicit(&map[page / 64], memory_order_relaxed) & bit))
                atomic_fetch_or_explicit(&map[page / 64], bit, memory_order_relaxed);
        }
    }
}

void ram_dirty_merge(struct ram *ram, uint64_t offset, const uint64_t *bitmap, uint64_t pages)
{
    uint64_t base = offset >> RAM_PAGE_SHIFT;
    for (uint64_t i = 0; i < pages; i += 64) {
        uint64_t word = bitmap[i / 64];
        if (pages - i < 64)
            word &= (UINT64_C(1) << (pages - i)) - 1;
        for (; word; word &= word - 1)
            ram_dirty_mark(ram, (base + i + (unsigned)__builtin_ctzll(word)) << RAM_PAGE_SHIFT, 1);
    }
}

uint64_t ram_dirty_take(struct ram *ram, enum region_log client, uint64_t offset, uint64_t pages,
                        uint64_t *bitmap)
{
    _Atomic uint64_t *map = atomic_load_explicit(&ram->dirty[client], memory_order_relaxed);
    uint64_t base = offset >> RAM_PAGE_SHIFT, count = 0;
    memset(bitmap, 0, (pages + 63) / 64 * sizeof *bitmap);
    if (!map)
        return 0;
    for (uint64_t i = 0; i < pages;) {
        uint64_t at = base + i, n = 64 - at % 64; /* pages in this word of the map */
        if (n > pages - i)
            n = pages - i;
        uint64_t mask = (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << at % 64;
        uint64_t got = 0;
        if (atomic_load_explicit(&map[at / 64], memory_order_relaxed) & mask)
            got = (atomic_fetch_and_explicit(&map[at / 64], ~mask, memory_order_relaxed) & mask) >> at % 64;
        count += (unsigned)__builtin_popcountll(got);
        bitmap[i / 64] |= got << i % 64;
        if (i % 64 + n > 64)
            bitmap[i / 64 + 1] |= got >> (64 - i % 64);
        i += n;
    }
    return count;
}
