/* SPDX-License-Identifier: MIT */
#ifndef VIRTIO_RNG_H
#define VIRTIO_RNG_H

#include "mem/device.h"

extern const struct device_class rng_class; /* virtio-rng: see virtio/rng.c */

#endif
