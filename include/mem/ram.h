/* SPDX-License-Identifier: MIT
 *
 * RAM blocks: host memory that guests see through RAM and ROM regions. The machine's RAM is one block, shown
 * below 3 GiB and above 4 GiB by two aliases. Blocks live as long as the VM.
 *
 * A block starts at a multiple of 2 MiB in this process (of the huge page size on hugetlbfs) and is advised
 * to use huge pages, so that host address and guest address are the same modulo 2 MiB in both halves and KVM
 * can map 2 MiB at a time. It is left out of core dumps, and has unmapped pages before and behind it.
 *
 * Dirty pages: one bitmap per block and client, one bit per 4 KiB, set by whoever writes (space_write,
 * dma_write, dma_written, and listeners in log_sync), from any thread, without locks.
 */
#ifndef MEM_RAM_H
#define MEM_RAM_H

#include "mem/region.h"

#include <stddef.h>

#define RAM_LOW_END    0xc0000000ull  /* RAM lies from 0 up to here, */
#define RAM_HIGH_START 0x100000000ull /* and the rest from here */

enum {
    RAM_PAGE = 4096,
    RAM_PAGE_SHIFT = 12,
    RAM_HUGE = 2 << 20,
};

enum ram_kind {
    RAM_ANON,      /* private memory */
    RAM_MEMFD,     /* shared memory, for those who are given its descriptor */
    RAM_FILE,      /* path: a file, created or extended to size; shared */
    RAM_HUGETLBFS, /* path: where a hugetlbfs is mounted */
};

struct ram_opts {
    const char *name; /* in messages and listings; NULL: "memory" */
    uint64_t size;    /* multiple of 4 KiB (of the huge page size on hugetlbfs), not 0 */
    enum ram_kind kind;
    const char *path;
    bool prealloc; /* have all of it now */
};

struct ram {
    const char *name;
    uint8_t *host;
    uint64_t size;
    int fd; /* -1: anonymous */
    enum ram_kind kind;
    uint64_t page_size;      /* host's, for this block */
    struct region region;    /* the whole block, named name; shown through aliases */
    struct region low, high; /* those of ram_map() */
    void *reserved;          /* with the guards */
    size_t reserved_size;
    _Atomic uint8_t log; /* set of 1 << enum region_log: those whose bitmaps are kept */
    _Atomic(_Atomic uint64_t *) dirty[REGION_LOG_CLIENTS];
    unsigned log_users[REGION_LOG_CLIENTS]; /* topology lock */
    char truncated[256], no_room[256];      /* what to say on SIGBUS, made ready beforehand */
    struct ram *next;
};

/* NULL: err has one sentence that names size, kind and reason. Set-up. */
struct ram *ram_new(const struct ram_opts *opts, char *err, size_t err_size)
    __attribute__((warn_unused_result));
void ram_free(struct ram *ram); /* its regions are in no tree any more; for tests and the end */

/* Puts the block into the memory root: [0, 3 GiB) and from 4 GiB up. Set-up. */
void ram_map(struct ram *ram, struct region *memory_root);

/* --- by guest address of a block that ram_map() mapped, whatever lies over it; for loaders, before vCPUs
 * run. NULL or false unless all of [gpa, gpa + len) is RAM and, for ram_host, in one piece. Not marked dirty.
 */
void *ram_host(const struct ram *ram, uint64_t gpa, uint64_t len) __attribute__((warn_unused_result));
bool ram_read(const struct ram *ram, uint64_t gpa, void *buf, uint64_t len)
    __attribute__((warn_unused_result));
bool ram_write(struct ram *ram, uint64_t gpa, const void *buf, uint64_t len)
    __attribute__((warn_unused_result));

/* Gives memory that nobody needs the contents of back to the host: whole pages of the host's among these len bytes of a block
 * (others are left alone). They read as zeros then, in the guest as well, and are marked dirty. Returns how many bytes went; less
 * than len where the kind of the memory does not allow it. No lock; a system call, short but for a file on a slow disk. */
uint64_t ram_discard(const void *host, uint64_t len);

/* --- dirty pages; offsets in the block */
void ram_dirty_mark(struct ram *ram, uint64_t offset, uint64_t len);
static inline void ram_dirty(struct ram *ram, uint64_t offset, uint64_t len)
{
    if (__builtin_expect(atomic_load_explicit(&ram->log, memory_order_relaxed) != 0, 0))
        ram_dirty_mark(ram, offset, len);
}
/* ORs in a bitmap of pages whose bit 0 is the page at offset (a multiple of 4 KiB). */
void ram_dirty_merge(struct ram *ram, uint64_t offset, const uint64_t *bitmap, uint64_t pages);
/* Takes a client's bits out; returns how many there were. */
uint64_t ram_dirty_take(struct ram *ram, enum region_log client, uint64_t offset, uint64_t pages,
                        uint64_t *bitmap);
/* Topology lock held; counts users. false: no memory. */
bool ram_log(struct ram *ram, enum region_log client, bool on);

/* The block that holds this byte of the process, and its offset in it, or NULL. Lock-free. */
struct ram *ram_of(const void *host, uint64_t *offset);
struct ram *ram_first(void);

/* --- a file under RAM that somebody truncates. The process then gets SIGBUS (or KVM_RUN fails with EFAULT),
 * and cannot go on: ram_new() installs a handler that says so in one sentence, calls the hook with it, and
 * ends with 125. The hook runs in a signal handler: async-signal-safe calls only. A SIGBUS elsewhere ends the
 * process as ever. */
void ram_set_bus_hook(void (*hook)(const char *sentence));
/* For the vCPU whose KVM_RUN said EFAULT: the sentence, when some block's file has become too short, else
 * NULL. */
const char *ram_truncated(void);

#endif
