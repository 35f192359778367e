/* SPDX-License-Identifier: MIT
 *
 * Bytes into and out of a ring of `size` bytes, from place `at` on, around its end where that comes first. Who owns the ring
 * keeps the numbers and the lock; n <= size, at < size.
 */
#ifndef KVM_HOST_RING_H
#define KVM_HOST_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void ring_put(uint8_t *ring, size_t size, size_t at, const void *from, size_t n)
{
    size_t first = n < size - at ? n : size - at;
    memcpy(ring + at, from, first);
    memcpy(ring, (const uint8_t *)from + first, n - first);
}

static inline void ring_get(const uint8_t *ring, size_t size, size_t at, void *to, size_t n)
{
    size_t first = n < size - at ? n : size - at;
    memcpy(to, ring + at, first);
    memcpy((uint8_t *)to + first, ring, n - first);
}

#endif
