// SPDX-License-Identifier: MIT
/* How a run ends: everything that may end it, from any thread, and the steps after it. See guest/machine_priv.h; what
 * counts when several things happen is guest/result.h. */
#include "guest/machine_priv.h"

#include "devices/pm.h"
#include "guest/control.h"
#include "guest/network.h"
#include "guest/verdict.h"
#include "kvm/host/log.h"
#include "kvm/host/patient.h"
#include "kvm/host/term.h"
#include "kvm/host/unix_listener.h"
#include "mem/ram.h"

#include <string.h>

#define PANIC_GRACE (3 * SECOND)  /* after the panic line, for the trace and the reset that follow */
#define STOP_GRACE  (10 * SECOND) /* for a guest that was asked to end */
#define KILL_GRACE  (7 * SECOND)  /* for the command in it; then init kills it, and has the rest to tell so */
#define HALT_FIRST  SECOND        /* see check_halted() */

static struct machine *the_machine; /* for hooks without an argument alone: one process, one guest */

/* ---- the end: any thread */

void machine_end(struct machine *m, enum end_reason reason, int status, const char *detail)
{
    lock_take(&m->end_lock);
    bool first = result_end(&m->result, reason, status, detail);
    lock_drop(&m->end_lock);
    if (first)
        loop_task_post(&m->ended);
}

void machine_on_caught(void *ctx, const char *sentence)
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

void machine_on_board_end(void *ctx, enum board_end why, int status)
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
    verdict_log(m->verdict, line);
    if (event == WATCH_PANIC || event == WATCH_PANIC_END)
        panicked(m, line); /* the end's line names it as well, for a log whose panic line was lost */
    if (event == WATCH_PANIC_END || event == WATCH_HALTED)
        machine_end(m, END_HALTED, 0, line);
}

/* For tests/bench: where the time goes. */
static void mark(const struct machine *m, const char *what)
{
    debug("%.2f ms: %s", (double)(loop_now(m->loop) - m->began) / (double)MS, what);
}

static void on_output(void *ctx, bool is_stdout, const void *bytes, size_t n)
{
    struct machine *m = ctx;
    if (!m->heard)
        mark(m, "the command's first output");
    m->heard = true;
    if (is_stdout)
        verdict_output(m->verdict, bytes, n);
    else
        verdict_heard(m->verdict);
}

static void on_silence(void *ctx)
{
    struct machine *m = ctx;
    char text[64];
    snprintf(text, sizeof text, "nothing came from the guest for %.10g s",
             (double)m->options->silence / (double)SECOND);
    machine_end(m, END_TIMEOUT, 0, text);
}

/* Where the kernel is, for --symbols. Loop thread, no lock held; after the run, too. */
static void on_learn(void *ctx)
{
    struct machine *m = ctx;
    naming_learn(m->symbols, vcpus_get(m->vcpus, 0));
}

struct verdict *machine_verdict(struct machine *m)
{
    return verdict_new(&(struct verdict_config){.loop = m->loop,
                                                .options = m->options,
                                                .gate = &m->gate,
                                                .symbols = m->symbols,
                                                .silent = on_silence,
                                                .learn = on_learn,
                                                .ctx = m});
}

static void on_timeout(void *arg)
{
    struct machine *m = arg;
    char text[64];
    snprintf(text, sizeof text, "the time was up after %.10g s",
             (double)m->options->timeout / (double)SECOND);
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

void machine_stop(struct machine *m, const char *detail)
{
    machine_end(m, END_STOPPED, 0, detail);
}

static void on_stop_grace(void *arg)
{
    machine_stop(arg, "vmlet stop: the guest was asked, and did not end");
}

/* Init is asked where it speaks, else whoever listens to the power button. */
static bool asked(struct machine *m)
{
    if (m->result.asked || m->hold.by)
        return false;
    lock_take(&m->end_lock);
    result_asked(&m->result);
    lock_drop(&m->end_lock);
    return (m->hello && console_stop(m->console, KILL_GRACE / MS)) || pm_power_button(m->pm);
}

void machine_ask_to_stop(struct machine *m)
{
    if (asked(m))
        loop_timer_after(&m->stop_grace, STOP_GRACE);
    else
        machine_stop(m, "vmlet stop");
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
    mark(m, "the command's status");
    if (st->text[0])
        warn("guest: %s", st->text);
    machine_end(m, st->reason == CHANNEL_SIGNALED ? END_SIGNALED : END_EXITED, (int)st->status, st->text);
}

static void on_hello(void *ctx)
{
    struct machine *m = ctx;
    m->hello = true;
    m->result.boot_ms = (loop_now(m->loop) - m->began) / MS;
    mark(m, "the guest's init speaks");
}

static void on_escape(void *ctx)
{
    machine_stop(ctx, "Ctrl-a x");
}

void machine_on_stopped(void *ctx, struct vcpu *vcpu, const struct vcpu_stop *stop)
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
    const char *truncated = stop->reason == VCPU_STOP_KVM_ERROR ? ram_truncated() : NULL;
    if (truncated) {
        warn("%s", truncated);
        machine_end(m, END_SETUP, 0, truncated);
        return;
    }
    char why[512];
    naming_learn(m->symbols, vcpu);
    naming_line(m->symbols, stop->why, why, sizeof why);
    lock_take(&m->end_lock);
    bool news = m->result.reason == END_NONE && !m->result.panicked;
    lock_drop(&m->end_lock);
    if (news && (stop->reason == VCPU_STOP_TRIPLE_FAULT || stop->reason == VCPU_STOP_KVM_ERROR)) {
        warn("%s", why);
        naming_warn(m->symbols, stop->dump);
    }
    machine_end(m, reasons[stop->reason], 0, why);
}

const struct signals_ops machine_signals = {.end = on_signal, .window_changed = on_window};

void machine_watch_console(struct machine *m, struct console_config *config)
{
    config->watch = on_watch;
    config->output = on_output;
    config->hello = on_hello;
    config->status = on_status;
    config->escape = on_escape;
    config->ctx = m;
}

/* ---- the last steps: the vCPUs have stopped */

static bool ended_from_outside(const struct machine *m)
{
    enum end_reason reason = m->result.reason;
    return reason == END_TIMEOUT || reason == END_SIGNAL || reason == END_STOPPED || reason == END_SETUP;
}

/* A time beyond the clock's end is none. */
uint64_t machine_deadline(const struct machine *m)
{
    uint64_t timeout = m->options->timeout;
    return !timeout || timeout > LOOP_NEVER - m->began ? LOOP_NEVER : m->began + timeout;
}

uint64_t machine_patience(const struct machine *m)
{
    uint64_t end = machine_deadline(m), now = loop_now(m->loop);
    if (ended_from_outside(m))
        return FLUSH_GRACE;
    if (end == LOOP_NEVER)
        return PATIENT_FOREVER;
    return end > now && end - now > FLUSH_GRACE ? end - now : FLUSH_GRACE;
}

/* False: a file that was asked for is lost. */
static bool write_result(struct machine *m, uint64_t wait)
{
    bool written = true;
    m->result.time_ms = (loop_now(m->loop) - m->began) / MS;
    const char *const files[] = {m->options->report, m->options->result};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *error = files[i] ? result_file_write(files[i], &m->result, wait) : NULL;
        if (error)
            warn("%s", error);
        written &= !error;
    }
    return written;
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
void machine_flush(struct machine *m)
{
    bool forced = ended_from_outside(m);
    console_drain(m->console, on_drained);
    loop_timer_init(m->loop, &m->flush_limit, on_flush_limit, m);
    if (forced || m->signal)
        loop_timer_after(&m->flush_limit, FLUSH_GRACE);
    else
        loop_timer_set(&m->flush_limit, machine_deadline(m));
    loop_run(m->loop);
    loop_timer_cancel(&m->flush_limit);
    if (!m->drained && !forced)
        cut_short(m);
    const char *failed = console_failed(m->console);
    if (failed && result_status(&m->result) == 0) {
        m->result.reason = END_SETUP; /* success is not the truth when what the guest said is lost */
        m->result.status = 0;
        snprintf(m->result.detail, sizeof m->result.detail, "%s", failed);
    }
}

int machine_finish(struct machine *m)
{
    if (m->verdict)
        verdict_end(m->verdict, &m->result);
    if (m->vcpus)
        machine_postmortem(m);
    result_gate(&m->result);
    network_stop(m->network);
    unix_listeners_end();
    bool written = write_result(m, machine_patience(m));
    const char *error = m->verdict ? verdict_report(m->verdict, &m->result, machine_patience(m)) : NULL;
    if (error)
        warn("%s", error);
    mark(m, "the end");
    if (m->result.reason == END_SIGNAL)
        signal_die(m->result.status);
    /* Nor is success the truth for those who read the report: an old file, or none. */
    int status = result_status(&m->result);
    return status || (written && !error) ? status : STATUS_SETUP;
}

void machine_ends_init(struct machine *m)
{
    the_machine = m;
    log_set_die_hook(on_die);
    ram_set_bus_hook(on_bus_error);
    loop_task_init(m->loop, &m->ended, on_ended, m);
    loop_timer_init(m->loop, &m->timeout, on_timeout, m);
    loop_timer_init(m->loop, &m->panic_grace, on_panic_grace, m);
    loop_timer_init(m->loop, &m->halt_check, check_halted, m);
    loop_timer_init(m->loop, &m->stop_grace, on_stop_grace, m);
    m->halt_wait = HALT_FIRST;
}
