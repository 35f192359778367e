// SPDX-License-Identifier: MIT
/* Ethernet addresses: see include/net/ether.h. */
#include "net/ether.h"

#include <string.h>

bool ether_address(const char *text, uint8_t mac[6])
{
    bool zero = true;
    for (unsigned i = 0; i < 6; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        unsigned byte = 0;
        for (unsigned k = 0; k < 2; k++) {
            const char *at = *text ? strchr(digits, *text++) : NULL;
            if (!at)
                return false;
            byte = byte << 4 | ((unsigned)(at - digits) & 15);
        }
        mac[i] = (uint8_t)byte;
        zero &= !byte;
        if (*text != (i < 5 ? ':' : 0))
            return false;
        text += i < 5;
    }
    return !zero && !(mac[0] & 1);
}

size_t ether_head(const struct iovec *iov, int n, void *head, size_t size)
{
    size_t have = 0;
    for (int i = 0; i < n && have < size; i++) {
        size_t part = iov[i].iov_len < size - have ? iov[i].iov_len : size - have;
        memcpy((uint8_t *)head + have, iov[i].iov_base, part);
        have += part;
    }
    return have;
}
