/* SPDX-License-Identifier: MIT
 *
 * Where things go in guest RAM before it runs. The image says where it must be (place_claim); what may be
 * anywhere takes the highest free place under its limit (place_find). So no table can lie under an image,
 * wherever that is linked, and two things that want the same bytes are an error instead of a surprise.
 *
 * Usable is what the e820 map calls RAM. No allocation; bounded by PLACE_MAX things.
 */
#ifndef GUEST_PLACE_H
#define GUEST_PLACE_H

#include "guest/boot.h"

enum {
    PLACE_MAX = 160,
};

struct place {
    struct boot_e820 map[BOOT_E820_MAX];
    unsigned map_count;
    struct place_range {
        uint64_t first, last; /* inclusive, so that the end of the address space needs no care */
    } taken[PLACE_MAX];
    unsigned taken_count;
};

enum place_result {
    PLACE_OK,
    PLACE_NOT_RAM, /* part of it is no usable RAM, or it wraps */
    PLACE_TAKEN,   /* something else is there already */
    PLACE_FULL,    /* more than PLACE_MAX things */
};

void place_init(struct place *place, uint64_t ram_size);

enum place_result place_claim(struct place *place, uint64_t gpa, uint64_t size)
    __attribute__((warn_unused_result));

/* The highest multiple of align (a power of two) in [min, limit) with size free bytes below limit; claims
 * it. */
bool place_find(struct place *place, uint64_t size, uint64_t align, uint64_t min, uint64_t limit,
                uint64_t *gpa) __attribute__((warn_unused_result));

#endif
