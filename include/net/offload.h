/* SPDX-License-Identifier: MIT
 *
 * Checksums and segmentation in software, for a receiver that cannot be given a frame as it is. Pure functions: any
 * thread. The frame is guest memory, which may change meanwhile: headers are copied once and everything is decided
 * on the copy; a payload that changes harms nobody but who changes it.
 *
 * offload_plan() looks at a frame once; then offload_segment() makes the frames that are to be sent, one (checksum
 * only) or many. Each is a header in a buffer of the caller's, followed by pieces of the original frame.
 *
 * The headers are found by reading them, through up to two VLAN tags and IPv6's hop-by-hop, routing and destination
 * options; hdr_len is ignored, and csum_start must agree. What is asked for and cannot be done is dropped with a
 * reason; UDP fragmentation (UFO) is among it.
 *
 * Sources: RFC 1071 (checksum), 9293 (TCP), 791, 8200 (IP), 768 (UDP); virtio 1.2, 5.1.6.2; for the flags of
 * segments: RFC 3168 (CWR in the first only).
 */
#ifndef NET_OFFLOAD_H
#define NET_OFFLOAD_H

#include "net/port.h"

enum {
    OFFLOAD_HEADER_MAX = 512,    /* all headers of a frame that is to be changed */
    OFFLOAD_SEGMENTS_MAX = 2048, /* of a frame: smaller gso_sizes cost the host too much */
};

struct offload {
    unsigned segments; /* how many frames it makes */
    bool gso;          /* they are parts of it, each with a checksum over all of its text */
    /* the rest is offload.c's */
    uint8_t header[OFFLOAD_HEADER_MAX];
    uint32_t header_len; /* bytes of it that go in front of each frame */
    uint32_t payload;    /* bytes behind it, in the original */
    uint32_t gso_size;   /* of them in a segment */
    uint16_t l3, l4;     /* offsets of the IP and the TCP or UDP header */
    bool ipv6, udp;
};

/* Bytes of a frame; more than PORT_FRAME_MAX: SIZE_MAX. */
size_t offload_length(const struct iovec *iov, int n);

/* The RFC 1071 sum, folded but not complemented, in memory's byte order, over len bytes from offset on. */
uint16_t offload_sum(const struct iovec *iov, int n, size_t offset, size_t len);

/* Whether a frame with this meta can be given to who accepts this. */
bool offload_accepted(const struct port_meta *meta, uint8_t accepts);

/* PORT_DROP_NONE, or why the frame cannot be sent. */
enum port_drop offload_plan(struct offload *o, const struct iovec *iov, int n, const struct port_meta *meta);

/* Frame i < o->segments as out[0..return value): header, then pieces of iov. out has n + 1 elements. The result needs no
 * more treatment: its meta is zero. */
int offload_segment(const struct offload *o, unsigned i, uint8_t header[OFFLOAD_HEADER_MAX],
                    const struct iovec *iov, int n, struct iovec *out);

#endif
