/* SPDX-License-Identifier: MIT
 *
 * gdb's remote serial protocol: a stub for one gdb at a time, on the loop thread.
 *
 *   gdb.c         the session, commands         gdb_packet.c  packets and their checksums
 *   gdb_run.c     stopping and going on         gdb_regs.c    register tables, the target's description
 *   gdb_query.c   questions, threads, monitor   gdb_memory.c  memory by virtual address, breakpoints
 *   gdb_server.c  the socket                    debugger.c    the machine under it
 *
 * The session knows no KVM and no socket: it is given a const table of what it may do to the machine (struct gdb_target), bytes
 * from gdb, and events of vCPUs; it leaves bytes for gdb. So its unit test is a scripted client over a fake machine.
 *
 * The guest as gdb sees it: vCPU n is thread n + 1; a stop stops all of them (no non-stop mode); a resume lets run those that
 * gdb names and holds the others. The guest is stopped as soon as gdb speaks. When gdb detaches, dies or talks
 * nonsense, breakpoints are taken out of memory and processors, and the guest goes on as if nobody had been there; `kill` ends
 * the machine. While it is stopped, all that is not a vCPU works: the control socket, --timeout, the networks.
 *
 * Memory is that of the selected thread's page tables. Only RAM and ROM are read and only RAM is written: no register of a
 * device is touched by looking at it. Software breakpoints are int3 in RAM, at most GDB_SOFT_MAX; reads show what was
 * there before, and writes over one change what will be there after.
 *
 * Everything is bounded: packets of GDB_PACKET bytes, one answer in the making (no further packet is looked at before it is
 * gone), tables of fixed size; only the answer of `monitor` is allocated, and it is as large as the command's.
 *
 * Source: "Debugging with GDB", appendix E (Remote Serial Protocol) and G (Target Descriptions); Intel SDM 3B, 17.
 */
#ifndef GUEST_GDB_H
#define GUEST_GDB_H

#include "kvm/debug.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    GDB_PACKET = 16384, /* bytes of a packet's contents */
    GDB_SOFT_MAX = 1024,
};

/* What the session may do. All on the loop thread; false means that it could not be done. */
struct gdb_target {
    unsigned (*cpus)(void *ctx);
    /* The debugger's own reason to stop all vCPUs, beside others'; stop returns when none runs. */
    void (*stop)(void *ctx);
    void (*resume)(void *ctx);
    void (*hold)(void *ctx, unsigned cpu, bool on); /* stays where it is although others are resumed */
    bool (*regs_get)(void *ctx, unsigned cpu, struct vcpu_regs *regs);
    bool (*regs_set)(void *ctx, unsigned cpu, const struct vcpu_regs *regs);
    bool (*translate)(void *ctx, unsigned cpu, uint64_t va, uint64_t *gpa);
    bool (*read)(void *ctx, uint64_t gpa, void *data, size_t n); /* RAM and ROM only */
    bool (*write)(void *ctx, uint64_t gpa, const void *data, size_t n);
    bool (*arm)(void *ctx, unsigned cpu, const struct vcpu_debug *debug);
    bool (*inject)(void *ctx, unsigned cpu); /* the int3 is the guest's own */
    const char *(*state)(void *ctx, unsigned cpu);
    const char *(*monitor)(void *ctx, char *line, FILE *out); /* NULL, or a sentence */
    void (*kill)(void *ctx);
};

struct gdb;

/* wide: the program is a 64-bit one; else registers are described as i386's as long as no vCPU is in long mode. NULL: no
 * memory. */
struct gdb *gdb_new(const struct gdb_target *target, void *ctx, bool wide);
/* As gdb_close(). */
void gdb_free(struct gdb *gdb);

/* Somebody has come. The guest stops with the first good packet, which tells that it is a gdb. */
void gdb_open(struct gdb *gdb);
/* It has gone, by itself or not. */
void gdb_close(struct gdb *gdb);
/* Bytes from it. Returns how many were taken: all, but for those after a packet whose answer is still here. *ok false: what
 * came is no gdb's, hang up. */
size_t gdb_input(struct gdb *gdb, const char *data, size_t n, bool *ok);
/* Bytes for it: *n of them, 0: none. gdb_sent() takes them off. */
const char *gdb_output(struct gdb *gdb, size_t *n);
void gdb_sent(struct gdb *gdb, size_t n);
/* Detached or killed: hang up when all is sent. */
bool gdb_done(const struct gdb *gdb);

/* A vCPU has met something: any thread, the vCPU's own in practice, which stands still until it is let go. The loop then
 * calls gdb_events(). None comes before gdb_open() or after gdb_close(), since nothing is armed then. */
void gdb_event(struct gdb *gdb, unsigned cpu, const struct vcpu_debug_event *event);
void gdb_events(struct gdb *gdb);
/* The machine is over, with this status: gdb is told. */
void gdb_exited(struct gdb *gdb, int status);

/* --- the socket: 127.0.0.1:PORT, or the Unix socket of that path (a `where` with a slash in it). Made in set-up: NULL and a
 * sentence in err. One gdb at a time; others are turned away. */
struct loop;
struct gdb_server;
struct gdb_server *gdb_server_new(struct loop *loop, struct gdb *gdb, const char *where, char *err,
                                  size_t err_size) __attribute__((warn_unused_result));
/* gdb_events() and gdb_exited() may have left something to send. */
void gdb_server_send(struct gdb_server *server);
void gdb_server_free(struct gdb_server *server);

#endif
