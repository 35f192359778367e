// SPDX-License-Identifier: MIT
/*
 * The composition root: see include/guest/machine.h. A machine comes to be in the order of machine_run(); each part is its own
 * unit's business.
 */
#include "guest/machine_priv.h"

#include "guest/boot.h"
#include "guest/control.h"
#include "guest/debugger.h"
#include "guest/network.h"
#include "guest/payload.h"
#include "guest/requested.h"
#include "guest/seeing.h"
#include "guest/verdict.h"
#include "kvm/host/log.h"
#include "kvm/host/work.h"
#include "kvm/irq.h"
#include "kvm/vm.h"
#include "mem/access.h"
#include "mem/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORK_THREADS 8 /* at most; they start when jobs come */

/* ---- what the control socket asks for */

struct slots *machine_slots(struct machine *m)
{
    return m->slots;
}

struct network *machine_network(struct machine *m)
{
    return m->network;
}

struct board *machine_board(struct machine *m)
{
    return &m->board;
}

struct hold *machine_hold(struct machine *m)
{
    return &m->hold;
}

const char *machine_command(struct machine *m, char *line, FILE *out)
{
    return m->control ? control_command(m->control, line, out) : "this guest has no control socket";
}

/* ---- what a vCPU leaves the kernel for: its own thread */

static void on_pio(void *ctx, struct vcpu *vcpu, uint16_t port, bool write, unsigned size, unsigned count,
                   void *data)
{
    struct machine *m = ctx;
    uint8_t *item = data;
    (void)vcpu;
    for (; count; count--, item += size) {
        if (write)
            space_write(&m->io, port, size, item);
        else
            space_read(&m->io, port, size, item);
    }
}

static void on_mmio(void *ctx, struct vcpu *vcpu, uint64_t gpa, bool write, unsigned size, void *data)
{
    struct machine *m = ctx;
    (void)vcpu;
    if (write)
        space_write(&m->memory, gpa, size, data);
    else
        space_read(&m->memory, gpa, size, data);
}

static bool on_read_mem(void *ctx, uint64_t gpa, void *data, unsigned size)
{
    struct machine *m = ctx;
    return dma_read(&m->memory, gpa, data, size);
}

static void on_debug(void *ctx, struct vcpu *vcpu, const struct vcpu_debug_event *event)
{
    struct machine *m = ctx;
    debugger_event(m->debugger, vcpu, event);
}

static const struct vcpu_ops vcpu_ops = {
    .debug = on_debug,
    .pio = on_pio,
    .mmio = on_mmio,
    .stopped = machine_on_stopped,
    .read_mem = on_read_mem,
};

static void boot_cpu(struct machine *m, const struct boot_state *s)
{
    struct vcpu_boot boot = {.mode = s->mode == BOOT_LONG64 ? VCPU_LONG64 : VCPU_PROTECTED32};
    boot.rip = s->rip, boot.rsp = s->rsp, boot.rflags = s->rflags;
    boot.rax = s->rax, boot.rbx = s->rbx, boot.rsi = s->rsi, boot.rdi = s->rdi;
    boot.cr0 = s->cr0, boot.cr3 = s->cr3, boot.cr4 = s->cr4, boot.efer = s->efer;
    boot.gdt_base = s->gdt_base, boot.gdt_limit = s->gdt_limit;
    boot.cs = BOOT_CS, boot.ds = BOOT_DS;
    int rc = vcpu_set_boot(vcpus_get(m->vcpus, 0), &boot);
    if (rc < 0)
        die("vCPU 0: initial registers: %s", strerror(-rc));
}

/* May wait for the reader of a FIFO. */
static struct console *open_console(struct machine *m, char *err, size_t err_size)
{
    const struct machine_options *o = m->options;
    struct console_config console = {
        .loop = m->loop,
        .com1 = m->serial[0],
        .com2 = m->serial[1],
        .command = o->command != NULL,
        .board = &m->board,
        .hvc = o->console == CONSOLE_VIRTIO ? device_find(&m->board, REQUESTED_HVC) : NULL,
        .interactive = o->console != CONSOLE_NONE,
        .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
        .kernel_log = o->kernel_log,
        .patience = machine_patience(m),
    };
    machine_watch_console(m, &console);
    return console_new(&console, err, err_size);
}

int machine_run(const struct machine_options *o)
{
    static struct machine machine;
    struct machine *m = &machine;
    char err[512];

    *m = (struct machine){.options = o, .result = {.command = o->command != NULL}};
    lock_init(&m->end_lock, LOCK_LOOP, "end");
    m->loop = loop_new(NULL);
    if (!m->loop)
        die("event loop: %s", strerror(errno));
    m->work = work_new(m->loop, WORK_THREADS);
    if (!m->work)
        die("work pool: out of memory");
    m->began = loop_now(m->loop);
    m->hold.loop = m->loop;
    if (o->result) {
        const char *error = result_file_check(o->result);
        if (error)
            die("%s", error);
    }
    machine_ends_init(m);
    m->symbols = naming_open(o);
    if (!signals_watch(m->loop, &machine_signals, m))
        die("signals: %s", strerror(errno));

    struct payload payload;
    payload_open(&payload, o);
    machine_note_kernel(m, &payload);
    m->vm = vm_open(o->dev, err, sizeof err);
    if (!m->vm)
        die("%s", err);
    unsigned cpus = machine_cpus(o, m->vm);
    m->ram = machine_ram(o, cpus);
    m->irqs = irqs_kvm(m->vm);
    if (!m->irqs)
        die("interrupts: out of memory");
    net_init(&m->net, m->loop);
    m->network = network_new(o, &m->net, boot_info(payload.boot)->is_linux, err, sizeof err);
    if (!m->network)
        die("%s", err);
    unsigned phys_bits = payload.narrow ? 32 : vm_phys_bits(m->vm);
    machine_build_board(m, cpus, phys_bits);
    m->link.vm = m->vm;
    m->slots = slots_new_kvm(&m->memory, &m->link);
    m->link.vcpus = m->hold.vcpus = m->vcpus = vcpus_new(m->vm, cpus, &vcpu_ops, m, err, sizeof err);
    if (!m->vcpus)
        die("%s", err);
    ioevents_new_kvm(&m->memory, &m->io, &m->link);
    if (slots_stats(m->slots).failures)
        die("the guest's memory: KVM did not take all of it");
    m->gate = (struct gate){o->fail_on, machine_on_caught, m};
    m->verdict = machine_verdict(m);
    if (!m->verdict)
        die("the guest's output: out of memory");
    m->seeing = seeing_new(&m->board, m->network, o, &m->gate, m->symbols, machine_patience(m));
    struct boot_state start;
    bool wide = !payload.is_32bit;
    payload_load(&payload, m->ram, cpus, phys_bits, &start);
    boot_cpu(m, &start);

    m->console = open_console(m, err, sizeof err);
    if (!m->console && signals_pending()) { /* while a FIFO's reader was waited for */
        machine_end(m, END_SIGNAL, signals_pending(), strsignal(signals_pending()));
        return machine_finish(m);
    }
    if (!m->console)
        die("%s", err);
    m->control = control_new(m, m->loop, o->name, err, sizeof err);
    if (!m->control && o->name)
        die("%s", err);
    if (!m->control) /* nobody named it, so nobody means to call it */
        warn("%s: this guest cannot be reached by `vmlet info` and the like", err);
    if (!network_plug(m->network, err, sizeof err))
        die("%s", err);
    m->hold.changed = network_hold;
    m->hold.ctx = m->network;
    if (o->gdb)
        m->debugger = debugger_start(
            &(struct debugger_config){m->loop, m->vm, m->vcpus, &m->memory, m, o->gdb, o->gdb_wait, wide});
    if (o->timeout)
        loop_timer_set(&m->timeout, machine_deadline(m));
    loop_timer_after(&m->halt_check, m->halt_wait);
    debug("%.2f ms: the first vCPU starts", (double)(loop_now(m->loop) - m->began) / (double)MS);
    if (!vcpus_start(m->vcpus, err, sizeof err))
        die("%s", err);

    loop_run(m->loop);

    vcpus_join(m->vcpus);
    debugger_end(m->debugger, result_status(&m->result));
    if (m->control)
        control_free(m->control);
    machine_flush(m);
    seeing_end(m->seeing, FLUSH_GRACE);
    seeing_counts(m->seeing, m->result.faults, sizeof m->result.faults);
    console_free(m->console);
    return machine_finish(m);
}
