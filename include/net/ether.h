/* SPDX-License-Identifier: MIT
 *
 * Ethernet addresses and headers, as far as cards and backends both look at them. Pure functions.
 */
#ifndef NET_ETHER_H
#define NET_ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
    ETHER_ADDRESS = 6,
    ETHER_HEADER = 14,
    ETHER_TAGGED = 18, /* with one VLAN tag */
    ETHER_TYPE_VLAN = 0x8100,
};

/* "02:00:00:00:00:01": six bytes in hexadecimal, neither all zero nor a group's. */
bool ether_address(const char *text, uint8_t mac[ETHER_ADDRESS]) __attribute__((warn_unused_result));

/* The first bytes of a frame, for who looks at its headers: at most size, and how many they are. */
size_t ether_head(const struct iovec *iov, int n, void *head, size_t size);

#endif
