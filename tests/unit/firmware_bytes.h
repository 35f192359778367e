/* SPDX-License-Identifier: MIT
 *
 * Bytes of a firmware table as a guest reads them.
 */
#ifndef TESTS_UNIT_FIRMWARE_BYTES_H
#define TESTS_UNIT_FIRMWARE_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t le(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

static inline uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;
    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

#endif
