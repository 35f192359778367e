/* SPDX-License-Identifier: MIT
 *
 * A backend on a socket. Two kinds of socket, one unit:
 *
 *   stream    frames with a length in front, 32 bits in network order, as QEMU's stream netdev and passt speak it. By path
 *             (connect, or listen for one peer at a time) or as a descriptor.
 *   packets   SOCK_DGRAM or SOCK_SEQPACKET, a frame each. As a descriptor only.
 *
 * The peer is not believed. A length beyond PORT_FRAME_MAX means that nothing after it can be either: the connection is
 * closed, and made again by who made it. One below an Ethernet header's is a dropped frame. Nothing is allocated after set-up.
 *
 * Reconnection. Who connects tries again when the peer is not there (yet, or any more): after STREAM_RETRY_FIRST, then after
 * twice the time as before, up to STREAM_RETRY_LAST, and at once when the guest sends something and STREAM_RETRY_FIRST has
 * passed. Who listens waits. A descriptor that was handed in is all there is: when its peer is gone, it stays gone. Frames
 * meanwhile are dropped and counted.
 *
 * Backpressure: a socket that takes no more, or only part of a frame (the rest is kept), makes the card wait; a card that
 * takes no more leaves the rest in the socket. One recv() may bring many frames; what is left of one waits in the buffer.
 *
 * The flags of a descriptor that was handed in stay as they are (MSG_DONTWAIT is used). Set-up and loop thread.
 * Sources: QEMU's docs on -netdev stream; passt(1), "--socket".
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdio.h>

#include "net/port.h"

enum {
    STREAM_BUDGET = 64, /* frames in one go */
    STREAM_LENGTH = 4,  /* bytes of a length */
};
#define STREAM_RETRY_FIRST UINT64_C(250000000) /* ns */
#define STREAM_RETRY_LAST  UINT64_C(8000000000)

struct stream_options {
    const char *name; /* "net0" */
    const char *path; /* NULL: fd */
    bool listen;
    int fd; /* ours from then on */
};

struct stream;

/* NULL and a sentence. */
struct stream *stream_new(struct net *net, const struct stream_options *o, char *err, size_t err_size)
    __attribute__((warn_unused_result));
struct port *stream_port(struct stream *s);
void stream_print(struct stream *s, FILE *out);
/* Closes, and removes the socket that it listened at. NULL is fine. */
void stream_free(struct stream *s);

#endif
