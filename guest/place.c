/* SPDX-License-Identifier: MIT
 *
 * Claims and free places in guest RAM; see guest/place.h.
 */
#include "guest/place.h"

void place_init(struct place *place, uint64_t ram_size)
{
    place->map_count = boot_e820(ram_size, place->map);
    place->taken_count = 0;
}

static const struct place_range *taken_over(const struct place *place, uint64_t first, uint64_t last)
{
    for (unsigned i = 0; i < place->taken_count; i++) {
        if (first <= place->taken[i].last && place->taken[i].first <= last)
            return &place->taken[i];
    }
    return NULL;
}

enum place_result place_claim(struct place *place, uint64_t gpa, uint64_t size)
{
    if (size == 0)
        return PLACE_OK;
    if (size - 1 > UINT64_MAX - gpa)
        return PLACE_NOT_RAM;
    uint64_t last = gpa + (size - 1);
    bool ram = false;
    for (unsigned i = 0; i < place->map_count; i++) {
        const struct boot_e820 *e = &place->map[i];
        ram |= e->type == BOOT_E820_RAM && gpa >= e->addr && last <= e->addr + (e->size - 1);
    }
    if (!ram)
        return PLACE_NOT_RAM;
    if (taken_over(place, gpa, last))
        return PLACE_TAKEN;
    if (place->taken_count == PLACE_MAX)
        return PLACE_FULL;
    place->taken[place->taken_count++] = (struct place_range){gpa, last};
    return PLACE_OK;
}

bool place_find(struct place *place, uint64_t size, uint64_t align, uint64_t min, uint64_t limit,
                uint64_t *gpa)
{
    for (unsigned i = place->map_count; i-- > 0;) {
        const struct boot_e820 *e = &place->map[i];
        if (e->type != BOOT_E820_RAM)
            continue;
        uint64_t low = e->addr > min ? e->addr : min;
        uint64_t high = e->addr + e->size < limit ? e->addr + e->size : limit; /* exclusive */
        while (size && high > low && size <= high - low) {
            uint64_t at = (high - size) & ~(align - 1);
            if (at < low)
                break;
            const struct place_range *t = taken_over(place, at, at + (size - 1));
            if (!t) {
                *gpa = at;
                return place_claim(place, at, size) == PLACE_OK;
            }
            high = t->first;
        }
    }
    return false;
}
