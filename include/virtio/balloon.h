/* SPDX-License-Identifier: MIT
 *
 * virtio-balloon: memory goes from the guest back to the host while it runs, and to the guest again.
 *
 *   inflate    the host asks for pages (num_pages in the configuration); the driver names ones that it does not use, and
 *              the host frees them: they read as zeros, and take memory again when the guest touches them
 *   deflate    the driver takes pages back and says so; there is nothing to do for it. It does so unasked when its
 *              memory runs out (DEFLATE_ON_OOM), and `actual` then says less than was asked for
 *   reporting  the driver names free pages as it comes by them, without a balloon: memory that the guest once used and
 *              freed is the host's again after a few seconds (option noreporting: not)
 *   statistics the driver's numbers, when somebody asks (`vmlet stat NAME -m`), by no timer
 *
 * What a driver names is looked up like any DMA: only whole pages of RAM that the device may write to are freed, never a byte
 * beyond; all else is counted. Within a guest page of 4 KiB nothing smaller can be named, but a host page may be larger
 * (hugetlbfs): then only whole ones of those are freed.
 *
 * What else follows: freed pages are marked dirty, since their contents change. KVM's view follows the host's page tables.
 * vhost works with addresses of this process, so that nothing is to be told to it. A device that pins memory (VFIO) would need
 * to refuse the balloon, since what it pinned would no longer be what the guest sees.
 *
 * Queues: 0 inflate, 1 deflate, 2 statistics. FREE_PAGE_HINT (for migration) is not offered; the reporting queue is then number 4
 * in the specification, but 3 in Linux, which counts only the queues in use: reports are taken on both.
 *
 * Lock: the device's. Source: virtio 1.2, 5.5 (5.5.6 operation, 5.5.6.3 statistics, 5.5.6.7 reporting).
 */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "mem/device.h"

extern const struct device_class balloon_class;

/* How much of the guest's memory the host wants, bytes. Loop thread, no lock held. */
void virtio_balloon_set(struct device *dev, uint64_t bytes);

struct balloon_state {
    uint64_t wanted, actual;  /* bytes */
    uint64_t freed, reported; /* bytes given back to the host since the start, by inflation and by reports */
    bool running;             /* a driver is there */
};
void virtio_balloon_state(struct device *dev, struct balloon_state *state);

/* The guest's statistics, of now: false while they are asked for (ask again in a few ms). After a second without an answer true,
 * and *age is how old they are: ns, UINT64_MAX: there are none. Loop thread, no lock held. */
bool virtio_balloon_stats(struct device *dev, uint64_t *age) __attribute__((warn_unused_result));
void virtio_balloon_print(struct device *dev, FILE *out); /* those */

#endif
