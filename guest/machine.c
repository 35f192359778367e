// SPDX-License-Identifier: MIT
/*
 * The composition root: see include/guest/machine.h. What a machine consists of is written down here once, in
 * platform[] and in the order of machine_build(); each part is its own unit's business.
 */
#include "guest/acpi.h"
#include "guest/machine.h"

#include "devices/platform.h"
#include "devices/pm.h"
#include "devices/serial.h"
#include "guest/boot.h"
#include "guest/console.h"
#include "guest/control.h"
#include "guest/debugger.h"
#include "guest/hold.h"
#include "guest/gate.h"
#include "guest/network.h"
#include "guest/payload.h"
#include "guest/requested.h"
#include "guest/result.h"
#include "guest/seeing.h"
#include "kvm/debug.h"
#include "kvm/host/lock.h"
#include "kvm/host/log.h"
#include "kvm/host/loop.h"
#include "kvm/host/patient.h"
#include "kvm/host/signals.h"
#include "kvm/host/term.h"
#include "kvm/host/work.h"
#include "kvm/irq.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "mem/access.h"
#include "mem/device.h"
#include "mem/kvm.h"
#include "mem/ram.h"
#include "mem/slots.h"
#include "net/port.h"
#include "pci/bus.h"
#include "pci/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define MIB    (UINT64_C(1) << 20)
#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

#define PANIC_GRACE (3 * SECOND) /* after the panic line, for the trace and the reset that follow */
#define FLUSH_GRACE SECOND       /* for output that nobody reads, when the run was ended from outside */
#define HALT_FIRST  SECOND       /* see check_halted() */

#define WORK_THREADS 8 /* at most; they start when jobs come */

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
    struct network *network;

    struct lock end_lock; /* guards result until the loop has stopped */
    struct result result;
    struct loop_task ended;
    struct loop_timer timeout, panic_grace, halt_check, flush_limit;
    uint64_t halt_wait;
    int signal;   /* the last that came */
    bool drained; /* the guest's output is out */
};

static struct machine *the_machine; /* for hooks without an argument alone: one process, one guest */

/* ---- the end: any thread */

static void machine_end(struct machine *m, enum end_reason reason, int status, const char *detail)
{
    lock_take(&m->end_lock);
    bool first = result_end(&m->result, reason, status, detail);
    lock_drop(&m->end_lock);
    if (first)
        loop_task_post(&m->ended);
}

static void on_caught(void *ctx, const char *sentence)
{
    struct machine *m = ctx;
    lock_take(&m->end_lock);
    result_caught(&m->result, sentence);
    lock_drop(&m->end_lock);
}

static void on_ended(void *arg)
{
    struct machine *m = arg;
    vcpus_stop(m->vcpus);
    loop_stop(m->loop);
}

/* The guest's kernel is dead, and in the middle of its last words: let it finish them. It has that long from the first word
 * on: who goes on saying that he is dead buys no time by it. */
static void panicked(struct machine *m, const char *line)
{
    lock_take(&m->end_lock);
    bool news = result_panic(&m->result, line);
    lock_drop(&m->end_lock);
    if (news)
        loop_timer_after(&m->panic_grace, PANIC_GRACE);
}

static void on_board_end(void *ctx, enum board_end why, int status)
{
    static const enum end_reason reasons[] = {
        [BOARD_POWEROFF] = END_POWEROFF,
        [BOARD_REBOOT] = END_REBOOT,
        [BOARD_EXIT] = END_EXITED,
    };
    struct machine *m = ctx;
    if (why != BOARD_PANIC) {
        machine_end(m, reasons[why], status, NULL);
        return;
    }
    panicked(m, "the guest's kernel reported a panic (pvpanic)");
}

static void on_panic_grace(void *arg)
{
    struct machine *m = arg;
    machine_end(m, END_HALTED, 0, NULL); /* which a panic noted before turns into END_PANIC */
}

static void on_watch(void *ctx, enum watch_event event, const char *line)
{
    struct machine *m = ctx;
    if (event == WATCH_PANIC || event == WATCH_PANIC_END)
        panicked(m, line); /* the end's line names it as well, for a log whose panic line was lost */
    if (event == WATCH_PANIC_END || event == WATCH_HALTED)
        machine_end(m, END_HALTED, 0, line);
}

static void on_timeout(void *arg)
{
    struct machine *m = arg;
    char text[64];
    snprintf(text, sizeof text, "the time was up after %.3g s", (double)m->options->timeout / (double)SECOND);
    machine_end(m, END_TIMEOUT, 0, text);
}

/* Guests that halt with interrupts off for good make no exit that would tell. So vCPUs that have not left the kernel
 * since the last look are looked at, first after a second, then after twice the time as before: a busy guest pays a glance
 * at counters now and then, an idle one is disturbed ever more rarely, no one is disturbed for ever. */
static void check_halted(void *arg)
{
    struct machine *m = arg;
    if (!vcpus_paused(m->vcpus) && vcpus_all_halted(m->vcpus)) {
        machine_end(m, END_HALTED, 0, "all CPUs are halted with interrupts off");
        return;
    }
    m->halt_wait *= 2;
    loop_timer_after(&m->halt_check, m->halt_wait);
}

static void on_signal(void *ctx, int signal)
{
    struct machine *m = ctx;
    m->signal = signal;
    machine_end(m, END_SIGNAL, signal, strsignal(signal));
    loop_stop(m->loop); /* it may be the flush that is waited for */
}

static void on_window(void *ctx)
{
    struct machine *m = ctx;
    if (m->console)
        console_window_changed(m->console);
}

static void on_status(void *ctx, const struct channel_status *st)
{
    struct machine *m = ctx;
    if (st->text[0])
        warn("guest: %s", st->text);
    machine_end(m, st->reason == CHANNEL_SIGNALED ? END_SIGNALED : END_EXITED, (int)st->status, st->text);
}

static void on_hello(void *ctx)
{
    struct machine *m = ctx;
    m->result.boot_ms = (loop_now(m->loop) - m->began) / MS;
}

static void on_escape(void *ctx)
{
    machine_end(ctx, END_STOPPED, 0, "Ctrl-a x");
}

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

void machine_stop(struct machine *m, const char *detail)
{
    machine_end(m, END_STOPPED, 0, detail);
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

static void on_stopped(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop)
{
    static const enum end_reason reasons[] = {
        [VCPU_STOP_TRIPLE_FAULT] = END_TRIPLE_FAULT,
        [VCPU_STOP_KVM_ERROR] = END_KVM_ERROR,
        [VCPU_STOP_HALTED] = END_HALTED,
        [VCPU_STOP_SHUTDOWN] = END_POWEROFF,
        [VCPU_STOP_RESET] = END_REBOOT,
        [VCPU_STOP_CRASH] = END_PANIC,
    };
    struct machine *m = ctx;
    (void)vcpu;
    const char *truncated = stop->reason == VCPU_STOP_KVM_ERROR ? ram_truncated() : NULL;
    if (truncated) {
        warn("%s", truncated);
        machine_end(m, END_SETUP, 0, truncated);
        return;
    }
    lock_take(&m->end_lock);
    bool news = m->result.reason == END_NONE && !m->result.panicked;
    lock_drop(&m->end_lock);
    if (news && (stop->reason == VCPU_STOP_TRIPLE_FAULT || stop->reason == VCPU_STOP_KVM_ERROR)) {
        warn("%s", stop->why);
        for (const char *line = stop->dump; *line;) {
            int len = (int)strcspn(line, "\n");
            warn("  %.*s", len, line);
            line += len + (line[len] == '\n');
        }
    }
    machine_end(m, reasons[stop->reason], 0, stop->why);
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
    .stopped = on_stopped,
    .read_mem = on_read_mem,
};

/* ---- the board */

static uint64_t wall_now(void *ctx)
{
    struct timespec ts;
    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static uint64_t guest_now(void *ctx)
{
    return hold_now(ctx);
}

static uint64_t default_mem(unsigned cpus)
{
    struct sysinfo si;
    uint64_t want = 64 * MIB * (cpus + 3);
    if (sysinfo(&si) == 0) {
        uint64_t most = (uint64_t)si.totalram * si.mem_unit / 5 * 4;
        if (want > most)
            want = most & ~(MIB - 1);
    }
    return want;
}

static struct ram *build_ram(const struct machine_options *o, unsigned cpus)
{
    char err[512];
    struct ram_opts opts = {
        .size = (o->mem ? o->mem : default_mem(cpus)) & ~(uint64_t)(RAM_PAGE - 1),
        .kind = o->hugetlbfs    ? RAM_HUGETLBFS
                : o->mem_file   ? RAM_FILE
                : o->mem_shared ? RAM_MEMFD
                                : RAM_ANON,
        .path = o->hugetlbfs ? o->hugetlbfs : o->mem_file,
        .prealloc = o->mem_prealloc,
    };
    struct ram *ram = ram_new(&opts, err, sizeof err);
    if (!ram)
        die("%s", err);
    return ram;
}

static struct device *device_or_die(struct machine *m, const struct device_class *class, const char *options)
{
    char err[512];
    struct device *dev = device_new(&m->board, class, NULL, options, err, sizeof err);
    if (!dev)
        die("%s", err);
    return dev;
}

static void build_devices(struct machine *m)
{
    static const char *const serial_index[SERIAL_PORTS] = {"index=0,shadow", "index=1", "index=2", "index=3"};
    char err[512];
    for (unsigned i = 0; i < SERIAL_PORTS; i++)
        m->serial[i] = device_or_die(m, &serial_class, serial_index[i]);
    device_or_die(m, &pci_host_class, NULL);
    if (!requested_build(m->options, &m->board, err, sizeof err) ||
        !network_build(m->network, &m->board, err, sizeof err))
        die("%s", err);
    if (!device_of_class(&m->board, &rtc_class)) /* --device rtc,base=… */
        device_or_die(m, &rtc_class, NULL);
    device_or_die(m, &i8042_class, NULL);
    m->pm = device_or_die(m, &pm_class, NULL);
    device_or_die(m, &reset_class, NULL);
    device_or_die(m, &pvpanic_class, NULL);
}

static void build_board(struct machine *m, unsigned cpus, unsigned phys_bits)
{
    char err[512];
    region_init_container(&m->memory_root, "system", REGION_ALL);
    region_init_container(&m->io_root, "io", 0x10000);
    space_init(&m->memory, &m->memory_root, "memory");
    space_init(&m->io, &m->io_root, "I/O");
    m->board = (struct board){
        .memory = &m->memory,
        .io = &m->io,
        .mem_root = &m->memory_root,
        .io_root = &m->io_root,
        .irqs = m->irqs,
        .loop = m->loop,
        .net = &m->net,
        .work = m->work,
        .cpus = cpus,
        .wall = {wall_now,  NULL    },
        .guest = {guest_now, &m->hold},
        .end = on_board_end,
        .end_ctx = m,
        .devices_tail = &m->board.devices,
    };
    transaction_begin();
    ram_map(m->ram, &m->memory_root);
    build_devices(m);
    if (!pci_bus_place(m->board.pci, m->ram->size, phys_bits, err, sizeof err))
        die("%s", err);
    transaction_commit();
    if (m->memory.changed || m->io.changed) /* a commit that found no memory, and would try again */
        die("the guest's memory map: out of memory");
}

/* ---- the run */

static bool ended_from_outside(const struct machine *m)
{
    enum end_reason reason = m->result.reason;
    return reason == END_TIMEOUT || reason == END_SIGNAL || reason == END_STOPPED || reason == END_SETUP;
}

/* When --timeout is over, on the loop's clock; a time beyond the clock's end is none. */
static uint64_t deadline(const struct machine *m)
{
    uint64_t timeout = m->options->timeout;
    return !timeout || timeout > LOOP_NEVER - m->began ? LOOP_NEVER : m->began + timeout;
}

/* How long somebody may be waited for who is to read a FIFO. */
static uint64_t patience(const struct machine *m)
{
    uint64_t end = deadline(m), now = loop_now(m->loop);
    if (ended_from_outside(m))
        return FLUSH_GRACE;
    if (end == LOOP_NEVER)
        return PATIENT_FOREVER;
    return end > now && end - now > FLUSH_GRACE ? end - now : FLUSH_GRACE;
}

static void write_result(struct machine *m, uint64_t wait)
{
    m->result.time_ms = (loop_now(m->loop) - m->began) / MS;
    if (m->options->result) {
        const char *error = result_file_write(m->options->result, &m->result, wait);
        if (error)
            warn("%s", error);
    }
}

static void on_die(int status, const char *message)
{
    struct machine *m = the_machine;
    if (!m || m->result.reason != END_NONE)
        return;
    result_end(&m->result, END_SETUP, status, message);
    write_result(m, FLUSH_GRACE);
}

/* In a signal handler, just before the process ends with 125: RAM lies on a file that somebody made shorter. No lock, since
 * its holder may be the very thread; nothing here allocates. */
static void on_bus_error(const char *sentence)
{
    struct machine *m = the_machine;
    if (!m || m->result.reason != END_NONE)
        return;
    result_end(&m->result, END_SETUP, 0, sentence);
    write_result(m, 0);
    term_restore();
}

static void on_drained(void *ctx)
{
    struct machine *m = ctx;
    m->drained = true;
    loop_stop(m->loop);
}

static void on_flush_limit(void *arg)
{
    struct machine *m = arg;
    loop_stop(m->loop);
}

/* The end is known, but not all of the output is out: what cut it short is the end then. */
static void cut_short(struct machine *m)
{
    m->result.reason = m->signal ? END_SIGNAL : END_TIMEOUT;
    m->result.status = m->signal;
    snprintf(m->result.detail, sizeof m->result.detail, "%s while the output waited for its reader",
             m->signal ? strsignal(m->signal) : "the time was up");
}

/* Runs the loop until the guest's output is out. A command's bytes are waited for as long as somebody may take them (and
 * the time is not up); where the run was ended from outside, that is a second. */
static void flush(struct machine *m)
{
    bool forced = ended_from_outside(m);
    console_drain(m->console, on_drained);
    loop_timer_init(m->loop, &m->flush_limit, on_flush_limit, m);
    if (forced || m->signal)
        loop_timer_after(&m->flush_limit, FLUSH_GRACE);
    else
        loop_timer_set(&m->flush_limit, deadline(m));
    loop_run(m->loop);
    loop_timer_cancel(&m->flush_limit);
    if (!m->drained && !forced)
        cut_short(m);
    const char *failed = console_failed(m->console);
    if (failed && m->result.reason == END_EXITED && m->result.status == 0) {
        m->result.reason = END_SETUP; /* success is not the truth when the command's output is lost */
        snprintf(m->result.detail, sizeof m->result.detail, "%s", failed);
    }
}

/* Says how it ended, as a file and as a status; or dies of the signal that ended it. */
static int finish(struct machine *m)
{
    result_gate(&m->result);
    network_stop(m->network);
    write_result(m, patience(m));
    if (m->result.reason == END_SIGNAL)
        signal_die(m->result.status);
    return result_status(&m->result);
}

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

static void debugger_start(struct machine *m, bool wide)
{
    char err[512];
    const struct debugger_config config = {m->loop, m->vcpus, &m->memory, m, m->options->gdb, wide};
    if (!vm_can_debug(m->vm))
        die("--gdb: KVM here cannot debug guests (KVM_CAP_SET_GUEST_DEBUG)");
    if (!(m->debugger = debugger_new(&config, err, sizeof err)))
        die("%s", err);
    if (m->options->gdb_wait)
        hold_take(&m->hold, HOLD_GDB); /* until a gdb lets it go */
}

static unsigned cpu_count(const struct machine_options *o, struct vm *vm)
{
    unsigned most = vm_max_vcpus(vm);
    if (most > ACPI_MAX_CPUS) /* no guest finds more than the tables tell of */
        most = ACPI_MAX_CPUS;
    if (o->cpus > most)
        die("--cpus %u: KVM here gives a guest at most %u", o->cpus, most);
    if (o->cpus)
        return o->cpus;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (unsigned long)online > most ? most : (unsigned)online;
}

static const struct signals_ops signals_ops = {.end = on_signal, .window_changed = on_window};

int machine_run(const struct machine_options *o)
{
    static struct machine machine;
    struct machine *m = &machine;
    char err[512];

    *m = (struct machine){.options = o, .result = {.command = o->command != NULL}, .halt_wait = HALT_FIRST};
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
    the_machine = m;
    log_set_die_hook(on_die);
    if (!signals_watch(m->loop, &signals_ops, m))
        die("signals: %s", strerror(errno));

    struct payload payload;
    payload_open(&payload, o);
    m->vm = vm_open(o->dev, err, sizeof err);
    if (!m->vm)
        die("%s", err);
    unsigned cpus = cpu_count(o, m->vm);
    ram_set_bus_hook(on_bus_error);
    m->ram = build_ram(o, cpus);
    m->irqs = irqs_kvm(m->vm);
    if (!m->irqs)
        die("interrupts: out of memory");
    loop_task_init(m->loop, &m->ended, on_ended, m);
    loop_timer_init(m->loop, &m->timeout, on_timeout, m);
    loop_timer_init(m->loop, &m->panic_grace, on_panic_grace, m);
    loop_timer_init(m->loop, &m->halt_check, check_halted, m);
    net_init(&m->net, m->loop);
    m->network = network_new(o, &m->net, boot_info(payload.boot)->is_linux, err, sizeof err);
    if (!m->network)
        die("%s", err);
    unsigned phys_bits = payload.narrow ? 32 : vm_phys_bits(m->vm);
    build_board(m, cpus, phys_bits);
    m->link.vm = m->vm;
    m->slots = slots_new_kvm(&m->memory, &m->link);
    m->link.vcpus = m->hold.vcpus = m->vcpus = vcpus_new(m->vm, cpus, &vcpu_ops, m, err, sizeof err);
    if (!m->vcpus)
        die("%s", err);
    ioevents_new_kvm(&m->memory, &m->io, &m->link);
    if (slots_stats(m->slots).failures)
        die("the guest's memory: KVM did not take all of it");
    m->gate = (struct gate){o->fail_on, on_caught, m};
    m->seeing = seeing_new(&m->board, m->network, o, &m->gate, patience(m));
    struct boot_state start;
    bool wide = !payload.is_32bit;
    payload_load(&payload, m->ram, cpus, phys_bits, &start);
    boot_cpu(m, &start);

    m->console = console_new(
        &(struct console_config){
            .loop = m->loop,
            .com1 = m->serial[0],
            .com2 = m->serial[1],
            .command = o->command != NULL,
            .serial = o->console == CONSOLE_SERIAL,
            .terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
            .kernel_log = o->kernel_log,
            .patience = patience(m),
            .watch = on_watch,
            .hello = on_hello,
            .status = on_status,
            .escape = on_escape,
            .ctx = m,
        },
        err, sizeof err);
    if (!m->console && signals_pending()) { /* while a FIFO's reader was waited for */
        machine_end(m, END_SIGNAL, signals_pending(), strsignal(signals_pending()));
        return finish(m);
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
    if (o->gdb)
        debugger_start(m, wide);
    if (o->timeout)
        loop_timer_set(&m->timeout, deadline(m));
    loop_timer_after(&m->halt_check, m->halt_wait);
    debug("%.2f ms from the start to the first vCPU", (double)(loop_now(m->loop) - m->began) / (double)MS);
    if (!vcpus_start(m->vcpus, err, sizeof err))
        die("%s", err);

    loop_run(m->loop);

    vcpus_join(m->vcpus);
    debugger_end(m->debugger, result_status(&m->result));
    if (m->control)
        control_free(m->control);
    flush(m);
    seeing_end(m->seeing, FLUSH_GRACE);
    console_free(m->console);
    return finish(m);
}
