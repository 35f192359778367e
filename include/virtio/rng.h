/* SPDX-License-Identifier: MIT
 *
 * virtio-rng, random bytes from the host: a device class (mem/device.h), and nothing else to call. The theory is in
 * virtio/rng.c.
 *
 * Thread: the loop's, under the device's lock. Source: virtio 1.2, 5.4.
 */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "mem/device.h"

extern const struct device_class rng_class;

#endif
