/* SPDX-License-Identifier: MIT
 *
 * The machine under the gdb stub (guest/gdb.h): --gdb PORT|PATH. It joins vCPUs, guest memory and the control commands to the
 * stub's target, and brings the vCPUs' events to the loop.
 *
 * Loop thread, but for debugger_event().
 */
#ifndef GUEST_DEBUGGER_H
#define GUEST_DEBUGGER_H

#include <stdbool.h>
#include <stddef.h>

struct debugger;
struct loop;
struct machine;
struct space;
struct vcpu;
struct vcpu_debug_event;
struct vcpus;

struct debugger_config {
    struct loop *loop;
    struct vcpus *vcpus;
    struct space *memory;
    struct machine *machine;
    const char *where; /* --gdb */
    bool wide;         /* the kernel is a 64-bit one */
};
/* NULL: a sentence in err. vCPUs are there, but not started. */
struct debugger *debugger_new(const struct debugger_config *config, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* The run is over, with that status; gdb is told, and the socket goes. vCPUs are still there, their threads need not be. NULL is
 * fine. */
void debugger_end(struct debugger *d, int status);

/* vcpu_ops.debug: the vCPU's thread. */
void debugger_event(struct debugger *d, struct vcpu *vcpu, const struct vcpu_debug_event *event);

#endif
