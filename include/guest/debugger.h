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

struct debugger;
struct loop;
struct machine;
struct space;
struct vcpu;
struct vcpu_debug_event;
struct vcpus;
struct vm;

struct debugger_config {
    struct loop *loop;
    struct vm *vm;
    struct vcpus *vcpus;
    struct space *memory;
    struct machine *machine;
    const char *where; /* --gdb */
    bool wait;         /* --gdb-wait: holds the guest until a gdb lets it go */
    bool wide;         /* the kernel is a 64-bit one */
};
/* Set-up, vCPUs not started yet; die()s when it cannot be. */
struct debugger *debugger_start(const struct debugger_config *config);
/* The run is over, with that status; gdb is told, and the socket goes. vCPUs are still there, their threads need not be. NULL is
 * fine. */
void debugger_end(struct debugger *d, int status);

/* vcpu_ops.debug: the vCPU's thread. */
void debugger_event(struct debugger *d, struct vcpu *vcpu, const struct vcpu_debug_event *event);

#endif
