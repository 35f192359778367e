/* SPDX-License-Identifier: MIT
 *
 * virtio-vsock: streams between programs in the guest (AF_VSOCK) and Unix sockets of the host, served in this process.
 *
 *   host -> guest   connect to PATH, say "CONNECT PORT\n", read "OK NUMBER\n": from there on it is the stream. No OK: nobody
 *                   listens at that port, and the connection is closed.
 *   guest -> host   a connect to CID 2, port P, becomes a connection to PATH_P (a program listens there, or the guest gets a
 *                   reset). A listener whose queue is full is called again, for VSOCK_PATIENCE, as a blocking connect would wait.
 *
 * The convention of Firecracker and cloud-hypervisor, so that their clients work.
 *
 * Bounds. VSOCK_CONNS connections; a stream keeps at most VSOCK_BUFFER bytes that the host's program has not taken, which is the
 * credit that the guest gets (5.10.6.3), and nothing at all the other way: bytes are read from the socket straight into the
 * driver's buffers, as many as the guest's credit and its buffers allow. What is to be said to the guest is a few bits for each
 * connection, and a ring of VSOCK_RESETS for packets that belong to none; while that ring is full the transmit queue
 * waits. A guest that sends more than its credit loses the connection; what it says of its own credit bounds nobody but itself.
 *
 * Time. The CONNECT line, the guest's answer to it, and the end of a connection that both sides have closed take VSOCK_PATIENCE
 * each at most; an open stream may be silent for ever.
 *
 * Ends. A half that is closed is said to the other side (SHUTDOWN, shutdown()); when both are, what is buffered still goes to
 * the host's program. A reset of the device closes all; after a load the guest is told that its connections are gone
 * (the event queue). PATH is ours while the machine lives and is removed at its end; one that a dead process left is replaced.
 *
 * STREAM only. Lock: the device's; all but reset is on the loop. Source: virtio 1.2, 5.10.
 */
#ifndef VIRTIO_VSOCK_H
#define VIRTIO_VSOCK_H

#include "kvm/host/ns.h"
#include "mem/device.h"

enum {
    VSOCK_CONNS = 128,
    VSOCK_BUFFER = 64 * 1024,
    VSOCK_RESETS = 64,
};
#define VSOCK_PATIENCE (10 * SECOND)

extern const struct device_class vsock_class; /* virtio-vsock */

#endif
