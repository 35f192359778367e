/* SPDX-License-Identifier: MIT
 *
 * virtio-net: a card whose port (net/port.h) is its cable.
 *
 *   guest -> port   A frame is sent from the guest's own memory, with what it still needs (checksum, segments) in
 *                   port_meta. A peer that is BUSY leaves it in the queue; ready() goes on there. A few small frames that were sent are
 *                   shown at once, and interrupted for after VIRTIO_NET_QUIET, if the driver has not seen them by then: mostly it has,
 *                   as it took an answer.
 *   port -> guest   What the driver's features allow comes as it is (port_accept()), the rest is finished by the port. A frame
 *                   takes one buffer, or with MRG_RXBUF as many as it needs; without enough of them the peer is told BUSY and
 *                   asked again when the driver has added some. Interrupts wait for the end of the loop's pass.
 *
 * Never more than the driver gave: a frame that does not fit into the buffer it gets (without MRG_RXBUF) is dropped and
 * counted. So is one for which the driver's queue is too short altogether: known by no buffer being added for
 * VIRTIO_NET_PATIENCE although some are there, since it would block the cable for ever.
 *
 * While no driver runs the card takes every frame and drops it, as a card does that is not up.
 *
 * Filters (control queue): after reset everything is received, until the driver says otherwise; more addresses than fit
 * into a table mean all of that kind. Several queue pairs (queues=): received frames follow the pair on which the flow was
 * last sent.
 *
 * With vhost (virtio/vhost.h) the frames of the data queues pass the port by, between guest memory and a tap; filters are then
 * the driver's own affair, as 5.1.6.5.1 allows ("unwanted packets could still arrive").
 *
 * Lock: the device's; all but set-up on the loop. Source: virtio 1.2, 5.1.
 */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include <stdbool.h>

struct device;
struct device_class;
struct port;
struct vhost;

#define VIRTIO_NET_PATIENCE UINT64_C(100000000) /* ns */
#define VIRTIO_NET_QUIET    UINT64_C(2000000) /* ns until a driver hears of a few small frames that were sent */
#define VIRTIO_NET_ANNOUNCE UINT64_C(300000000) /* ns */

extern const struct device_class virtio_net_class;

struct port *virtio_net_port(struct device *dev);
/* The cable is in or out: the driver is told; once it is in, to announce its addresses too, each VIRTIO_NET_ANNOUNCE for a
 * few times. Loop thread, no lock held. */
void virtio_net_set_link(struct device *dev, bool up);
/* Set-up, after the card is made: its data queues are vhost's, and vhost is the card's. false: the host refused, and it
 * is said. NULL: at the end, before the tap is closed. */
bool virtio_net_set_vhost(struct device *dev, struct vhost *vhost) __attribute__((warn_unused_result));
/* The guest is held (paused), or goes on. Loop thread, no lock held. */
void virtio_net_hold(struct device *dev, bool held);

#endif
