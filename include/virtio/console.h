/* SPDX-License-Identifier: MIT
 *
 * virtio-console: terminals and named byte channels ("ports") between the guest and the host. Each port has a host's end,
 * which is a few functions: the machine's console (guest/console.c), or what an option names (virtio/console_end.h: a file, a
 * standard stream, a Unix socket).
 *
 *   terminal alone       One port, as all drivers know it: Linux's hvc0. Its size is in the configuration space.
 *   with port=NAME=END   MULTIPORT: control queues say which ports there are. Port 0 is the terminal, if there is one
 *                        (console=END); named ports count from 1: /dev/vport0p1, /sys/class/virtio-ports/vport0p1/name.
 *
 * Guest to host: bytes are offered to the end's write() as they come. What it does not take stays in the guest's buffer, which
 * is not given back before the rest is taken, so a guest that writes faster than its reader waits, and nothing is kept here.
 * (Linux's hvc waits with the CPU: a terminal whose user has stopped the output stops that CPU, too.) An end with nobody
 * there takes and drops; that is counted.
 *
 * Host to guest: virtio_console_rx() copies into buffers that the guest has made available, and takes no more than they hold;
 * rx_ready() follows when there are more. A named port takes nothing before a program in the guest has opened it, since
 * drivers throw away what comes before; a terminal alone nothing before its driver has settled (virtio/console.c).
 *
 * Control messages to the guest are kept as state, a bit a message and port, not as a queue: they cannot pile up, whatever the
 * guest asks for and however rarely it takes them.
 *
 * EMERG_WRITE: a byte written to emerg_wr goes to port 0 with no queue, even before a driver runs; a few are kept until the
 * loop takes them, the rest is dropped and counted.
 *
 * Lock: the device's. Source: virtio 1.2, 5.3 (5.3.4 configuration, 5.3.6 operation, 5.3.6.2 control messages).
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/device.h"

enum {
    CONSOLE_PORTS = 16, /* of a device, the terminal included */
};

extern const struct device_class vconsole_class;

/* The host's end of a port. All run on the loop. */
struct console_end_ops {
    /* Takes up to n bytes from the guest and returns how many; after fewer, virtio_console_tx_ready(), and write() is not
     * called before. The device's lock is held: it must not call back into the device, nor block. */
    size_t (*write)(void *ctx, const void *data, size_t n);
    /* virtio_console_rx() took less than it was given, and now there is room. No lock held. NULL: nothing comes from here. */
    void (*rx_ready)(void *ctx);
    /* Everything that write() took is out? If not, virtio_console_drained_again() when it is. No lock held. NULL: what is
     * on its way to this end is not waited for. */
    bool (*drained)(void *ctx);
};

/* Joins port 0 of a device made with the option `terminal` (the others have their own ends). Set-up. */
void virtio_console_attach(struct device *dev, const struct console_end_ops *ops, void *ctx);

/* --- for ends, on the loop, no lock held */
/* Gives the guest bytes; returns how many were taken. After fewer than n: rx_ready(). */
size_t virtio_console_rx(struct device *dev, unsigned port, const void *data, size_t n);
/* The end takes bytes again. */
void virtio_console_tx_ready(struct device *dev, unsigned port);
/* Somebody is there, or has gone: named ports tell the guest. At first: yes. */
void virtio_console_set_open(struct device *dev, unsigned port, bool open);
/* Bytes of the guest's that nobody was there to take. In write(): lock held. */
void virtio_console_dropped(struct device *dev, unsigned port, size_t n);

/* The terminal's size; 0: unknown. Loop thread, no lock held. */
void virtio_console_set_size(struct device *dev, uint16_t columns, uint16_t rows);

/* For the end of a run, when the vCPUs have stopped: all that the guest has written is out (that an end nobody reads from
 * need not get: sockets). False: asks the ends to hurry; again(ctx) on the loop, perhaps with the device's lock held, when it is
 * worth asking again. */
bool virtio_console_drained(struct device *dev, void (*again)(void *ctx), void *ctx);
/* Nothing goes in or out any more, and what the ends made (sockets) is gone. Loop thread, no lock held. */
void virtio_console_close(struct device *dev);
void virtio_console_drained_again(struct device *dev); /* an end's answer */

#endif
