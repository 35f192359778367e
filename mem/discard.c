// SPDX-License-Identifier: MIT
/* Memory that a guest does not need, back to the host: see ram_discard() in include/mem/ram.h. */
#include "mem/ram.h"

#include <fcntl.h>
#include <sys/mman.h>

uint64_t ram_discard(const void *host, uint64_t len)
{
    uint64_t offset;
    struct ram *ram = ram_of(host, &offset);
    if (!ram || len > ram->size - offset)
        return 0;
    uint64_t mask = ram->page_size - 1, first = (offset + mask) & ~mask, end = (offset + len) & ~mask;
    if (first >= end)
        return 0;
    int r = ram->fd < 0 ? madvise(ram->host + first, end - first, MADV_DONTNEED)
                        : fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first,
                                    (off_t)(end - first));
    if (r < 0)
        return 0;
    ram_dirty(ram, first, end - first);
    return end - first;
}
