// SPDX-License-Identifier: MIT
/* How many descriptors the process's FUSE servers may hold, together: what RLIMIT_NOFILE allows (the soft limit is raised to
 * the hard one first), less a reserve for all else in the process. Nodes may have three quarters, so that what the guest knows
 * does not keep it from opening anything; where there are handles, no more than what pins some 200 MiB of the host's kernel. */
#include "virtio/fuse_priv.h"

#include <sys/resource.h>

enum {
    RESERVE = 256,
    LEAST = 64,
    MOST = 1 << 19,
    EASY = 1 << 17,
};

static _Atomic unsigned used, most;

void fuse_fds_set_most(unsigned n)
{
    struct rlimit limit;
    if (!n && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        n = limit.rlim_cur > MOST              ? MOST
            : limit.rlim_cur > RESERVE + LEAST ? (unsigned)limit.rlim_cur - RESERVE
                                               : LEAST;
    atomic_store_explicit(&most, n, memory_order_relaxed);
}

void fuse_fds_init(void)
{
    struct rlimit limit;
    if (atomic_load_explicit(&most, memory_order_relaxed))
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* or what there is */
    }
    fuse_fds_set_most(0);
}

bool fuse_fds_take(enum fuse_fds_for what)
{
    unsigned limit = atomic_load_explicit(&most, memory_order_relaxed);
    if (what != FUSE_FDS_OPENS)
        limit -= limit / 4;
    if (what == FUSE_FDS_EASY && limit > EASY)
        limit = EASY;
    if (atomic_fetch_add_explicit(&used, 1, memory_order_relaxed) < limit)
        return true;
    fuse_fds_give();
    return false;
}

void fuse_fds_give(void)
{
    atomic_fetch_sub_explicit(&used, 1, memory_order_relaxed);
}

unsigned fuse_fds_used(void)
{
    return atomic_load_explicit(&used, memory_order_relaxed);
}

unsigned fuse_fds_most(void)
{
    return atomic_load_explicit(&most, memory_order_relaxed);
}
