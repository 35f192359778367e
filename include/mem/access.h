/* SPDX-License-Identifier: MIT
 *
 * Accesses. space_read() and space_write() are what a vCPU's exit becomes, for memory and ports alike; the
 * dma_ functions are what devices use. Any thread; no locks but the owning device's around the ops of an I/O
 * region.
 *
 * space_ rules:
 *   - The first byte selects the region, and the whole access goes there. Ops can see offset + size past
 * their end.
 *   - A size that the ops do not allow (or that is not 1, 2, 4 or 8) reads all ones or is dropped, and is
 * counted in region->refused; REGION_SPLIT makes single bytes of it instead.
 *   - An access to nothing reads all ones or is dropped, and is counted in space->nowhere.
 *   - RAM and ROM take any length: bytes past the end of the region (not of the range) read all ones and are
 * dropped. A write to what is read-only is dropped and counted. Written pages are marked dirty. An access of
 * 1, 2, 4 or 8 bytes is done in one piece.
 *   - A write that matches an ioeventfd signals it and does not reach ops.
 *
 * Both return false when the access met nothing, or was refused; data then holds all ones. No device lock may
 * be held.
 */
#ifndef MEM_ACCESS_H
#define MEM_ACCESS_H

#include "mem/view.h"

#include <stddef.h>
#include <sys/uio.h>

bool space_read(struct space *s, uint64_t addr, unsigned len, void *data);
bool space_write(struct space *s, uint64_t addr, unsigned len, const void *data);

/* --- DMA: bm is the device's bus-master space (or the memory space, for what is not PCI). All check that bus
 * mastering is on, that gpa + len does not wrap, and that every byte is RAM (writable RAM for writes; ROM may
 * be read): I/O regions are refused, so no device can be made to call itself or another. All or nothing,
 * unless the guest changes the map meanwhile. len 0 is true anywhere. The device's lock may be held. */
bool dma_read(struct space *bm, uint64_t gpa, void *buf, size_t len) __attribute__((warn_unused_result));
bool dma_write(struct space *bm, uint64_t gpa, const void *buf, size_t len)
    __attribute__((warn_unused_result));

/* The same bytes as pieces of this process's memory, for readv() and the like. Returns the number of pieces
 * (one for nearly all), or -1: refused, or more than max. Pieces stay valid for the life of the VM. After
 * bytes were put into pieces of a `write` request, dma_written() marks the first `bytes` of them dirty. */
int dma_iov(struct space *bm, uint64_t gpa, size_t len, bool write, struct iovec *iov, int max)
    __attribute__((warn_unused_result));
void dma_written(const struct iovec *iov, int n, size_t bytes);

/* For who keeps pieces from one use to the next: another number whenever the map may have changed, or bus mastering.
 * Then the pieces are to be asked for again. DMA_NOTHING while the space shows nothing: bus mastering is off. */
#define DMA_NOTHING 0
uint64_t dma_generation(struct space *bm);

#endif
