/* SPDX-License-Identifier: MIT
 *
 * Little-endian fields at any offset of a byte buffer: how file headers are read and guest tables are
 * written. Buffers and offset enums instead of structs laid over untrusted bytes: no alignment, no padding,
 * nothing to assert. The host is x86, so memcpy is the conversion.
 */
#ifndef GUEST_BYTES_H
#define GUEST_BYTES_H

#include <stdint.h>
#include <string.h>

#define BYTES_FIELD(bits)                                                                                    \
    static inline uint##bits##_t get##bits(const uint8_t *p)                                                 \
    {                                                                                                        \
        uint##bits##_t v;                                                                                    \
        memcpy(&v, p, sizeof(v));                                                                            \
        return v;                                                                                            \
    }                                                                                                        \
    static inline void put##bits(uint8_t *p, uint##bits##_t v)                                               \
    {                                                                                                        \
        memcpy(p, &v, sizeof(v));                                                                            \
    }
BYTES_FIELD(16)
BYTES_FIELD(32)
BYTES_FIELD(64)
#undef BYTES_FIELD

#endif
