/* SPDX-License-Identifier: MIT
 *
 * Who wants the guest to stand still: its user (`vmlet pause`), gdb. It runs when none of them does. And the guest's time, which
 * stands with it: devices that count by it (board.guest) lose nothing while the guest is held.
 *
 * Loop thread, but for hold_now(), which any thread may call whose guest is not held.
 */
#ifndef GUEST_HOLD_H
#define GUEST_HOLD_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct vcpus;

enum holder {
    HOLD_USER = 1 << 0,
    HOLD_GDB = 1 << 1,
};

/* Embedded in the machine; loop and vcpus are set before the first call (hold_now() needs the loop alone). */
struct hold {
    struct loop *loop;
    struct vcpus *vcpus;
    unsigned by;             /* enum holder */
    uint64_t held_ns, since; /* loop's clock; since 0: not held */
    /* For what works on guest memory without a vCPU: after the last one stopped, before the first goes on. NULL: nothing. */
    void (*changed)(void *ctx, bool held);
    void *ctx;
};

/* false: it was already so. When the first one takes, no vCPU runs any more on return. */
bool hold_take(struct hold *h, enum holder who);
bool hold_release(struct hold *h, enum holder who);
/* Monotonic time less the time held, ns. */
uint64_t hold_now(const struct hold *h);

#endif
