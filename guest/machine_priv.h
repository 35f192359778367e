/* SPDX-License-Identifier: MIT
 *
 * What the files of the machine share: machine.c (from options to a run), machine_board.c (what the guest finds) and
 * machine_end.c (how a run ends, and what is left to do then).
 */
#ifndef GUEST_MACHINE_PRIV_H
#define GUEST_MACHINE_PRIV_H

#include "guest/console.h"
#include "guest/gate.h"
#include "guest/hold.h"
#include "guest/machine.h"
#include "guest/naming.h"
#include "guest/result.h"
#include "devices/serial.h"
#include "kvm/host/lock.h"
#include "kvm/host/loop.h"
#include "kvm/host/ns.h"
#include "kvm/host/signals.h"
#include "kvm/vcpu.h"
#include "mem/device.h"
#include "mem/kvm.h"
#include "mem/region.h"
#include "mem/view.h"
#include "net/port.h"

#define MIB (UINT64_C(1) << 20)

#define FLUSH_GRACE SECOND /* for output that nobody reads, when the run was ended from outside */

struct payload;

struct machine {
    const struct machine_options *options;
    uint64_t began; /* loop's clock, ns */

    struct loop *loop;
    struct work *work;
    struct vm *vm;
    struct vcpus *vcpus;
    struct irqs *irqs;
    struct ram *ram;
    struct region memory_root, io_root;
    struct space memory, io;
    struct slots *slots;
    struct kvm_link link;
    struct net net;
    struct board board;
    struct device *serial[SERIAL_PORTS], *pm;
    struct console *console;
    struct control *control;
    struct seeing *seeing;
    struct debugger *debugger; /* NULL without --gdb */
    struct hold hold;
    struct gate gate;
    struct verdict *verdict;
    struct network *network;
    struct {
        bool is_linux, archive;  /* with an initramfs of vmlet's */
        const char *path, *name; /* for people: the release, or the file's name */
        char release[128];
    } kernel;
    struct symbols *symbols; /* NULL without --symbols */

    struct lock end_lock; /* guards result until the loop has stopped */
    struct result result;
    struct loop_task ended;
    struct loop_timer timeout, panic_grace, halt_check, stop_grace, flush_limit;
    uint64_t halt_wait;
    int signal;   /* the last that came */
    bool hello;   /* the guest's init speaks */
    bool heard;   /* of the command's output */
    bool drained; /* the guest's output is out */
};

/* --- machine_board.c: set-up; die() for what is wrong */
unsigned machine_cpus(const struct machine_options *o, struct vm *vm);
struct ram *machine_ram(const struct machine_options *o, unsigned cpus);
void machine_build_board(struct machine *m, unsigned cpus, unsigned phys_bits);

/* --- machine_postmortem.c */
void machine_note_kernel(struct machine *m, const struct payload *payload);
/* Says why a guest may have died before its init called. After the run, with the result's reason and last line. */
void machine_postmortem(struct machine *m);

/* --- machine_end.c */
extern const struct signals_ops machine_signals;
/* Timers, tasks and hooks of the ends; then the ends' own: the console's events, the gate's, a vCPU that stops. */
void machine_ends_init(struct machine *m);
void machine_end(struct machine *m, enum end_reason reason, int status, const char *detail); /* any thread */
void machine_on_board_end(void *ctx, enum board_end why, int status);
void machine_on_stopped(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop);
struct verdict *machine_verdict(struct machine *m);
void machine_on_caught(void *ctx, const char *sentence);
void machine_watch_console(struct machine *m, struct console_config *config);
/* When --timeout is over, on the loop's clock. */
uint64_t machine_deadline(const struct machine *m);
/* How long somebody may be waited for who is to read a FIFO. */
uint64_t machine_patience(const struct machine *m);
/* The vCPUs have stopped: gets the guest's output out. */
void machine_flush(struct machine *m);
/* Says how it ended, as a file and as a status; or dies of the signal that ended it. */
int machine_finish(struct machine *m);

#endif
